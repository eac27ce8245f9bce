/* test_cores.c - a mask of one processor counts as one; quotas are rounded up. */
#include <criterion/criterion.h>
#include <sched.h>

#include "core/cores.h"

Test(cores, the_mask_of_the_thread)
{
    cpu_set_t all, one;
    cr_assert(sched_getaffinity(0, sizeof all, &all) == 0);
    cr_assert_leq(ebm_cores(), (uint32_t)CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    cr_assert(sched_setaffinity(0, sizeof one, &one) == 0);
    cr_assert_eq(ebm_cores(), 1);
}

Test(cores, quotas_of_a_control_group)
{
    static const struct {
        const char *text;
        uint32_t cores;
    } cases[] = {
        {"max 100000\n", UINT32_MAX},
        {"100000 100000\n", 1},
        {"150000 100000\n", 2},
        {"1000 100000\n", 1},
        {"400000 100000", 4},
        {"18446744073709551615 1\n", UINT32_MAX},
        {"99999999999999999999 1\n", UINT32_MAX},
        {"0 100000\n", UINT32_MAX},
        {"100000 0\n", UINT32_MAX},
        {"100000", UINT32_MAX},
        {"100000 \n", UINT32_MAX},
        {"", UINT32_MAX},
        {"\n", UINT32_MAX},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++)
        cr_assert_eq(ebm_cores_of_quota(cases[i].text), cases[i].cores, "%s", cases[i].text);
}
