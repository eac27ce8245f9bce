/* test_clock.c - real time goes on, replaced time stands. */
#include <criterion/criterion.h>

#include "core/clock.h"

static uint64_t fixed(void)
{
    return 1234567;
}

Test(clock, can_be_replaced_and_put_back)
{
    ebm_clock_set(fixed);
    cr_assert_eq(ebm_clock_ns(), 1234567);
    cr_assert_eq(ebm_clock_us(), 1234);
    ebm_clock_set(NULL);
    uint64_t first = ebm_clock_ns(), second = ebm_clock_ns();
    cr_assert_neq(first, 1234567);
    cr_assert_geq(second, first);
}
