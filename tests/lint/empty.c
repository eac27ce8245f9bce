/* empty.c - the main of the arrow checks: linking is the test. */
int main(void);

int main(void)
{
    return 0;
}
