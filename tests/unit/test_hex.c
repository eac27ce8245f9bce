/* test_hex.c - every digit there and back, and what is none. */
#include <criterion/criterion.h>

#include "core/hex.h"

Test(hex, digits_go_there_and_back)
{
    for (int i = 0; i < 16; i++)
        cr_assert_eq(ebm_hex_value(ebm_hex_digit((uint64_t)i)), i);
    cr_assert_eq(ebm_hex_digit(0xa7f), 'f');
    cr_assert_eq(ebm_hex_value('c'), 12);
}

Test(hex, others_are_none)
{
    for (const char *at = "/:`gAFG \n-"; *at; at++)
        cr_assert_eq(ebm_hex_value(*at), -1, "'%c'", *at);
    cr_assert_eq(ebm_hex_value(0), -1);
    cr_assert_eq(ebm_hex_value((char)0xff), -1);
}
