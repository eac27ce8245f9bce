/* test_small_file.c - what can be read, up to its limit, and what cannot. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/small_file.h"

static char path[] = "/tmp/ebm_small_file_XXXXXX";

static void write_file(const char *bytes, size_t size)
{
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    (void)close(fd);
}

static void remove_file(void)
{
    (void)unlink(path);
}

Test(small_file, a_file_up_to_its_limit, .fini = remove_file)
{
    char *bytes = NULL;
    size_t size = 0;
    write_file("ab\0\nc", 5);
    cr_assert_eq(small_file_read(path, 5, &bytes, &size), EBM_OK);
    cr_assert_eq(size, 5);
    cr_assert_eq(memcmp(bytes, "ab\0\nc", 5), 0);
    free(bytes);
    bytes = NULL;
    cr_assert_eq(small_file_read(path, 4, &bytes, &size), EBM_TOO_LARGE);
    cr_assert_null(bytes);
}

Test(small_file, what_cannot_be_read)
{
    char *bytes = NULL;
    size_t size = 7;
    cr_assert_eq(small_file_read("/nowhere/at/all", 5, &bytes, &size), EBM_NOT_FOUND);
    cr_assert_eq(errno, ENOENT);
    cr_assert_eq(small_file_read("/tmp", 5, &bytes, &size), EBM_DAMAGED);
    cr_assert_null(bytes);
    cr_assert_eq(size, 7);
}
