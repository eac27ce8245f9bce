/* test_deadline.c - whatever the order of adding and removing, the first is the earliest. */
#include <criterion/criterion.h>

#include "core/rng.h"
#include "server/deadline.h"

enum { N = 300 };

Test(deadline, leave_in_the_order_of_their_times)
{
    static struct deadline deadlines[N];
    struct deadline_list list;
    deadline_list_init(&list);
    cr_assert_null(deadline_first(&list));
    for (uint32_t i = 0; i < N; i++) {
        uint32_t words[4];
        ebm_philox(1, i, 0, 0, 0, words);
        deadline_init(&deadlines[i]);
        deadline_add(&list, &deadlines[i], words[0] % 50); /* many are equal */
    }
    for (uint32_t i = 0; i < N; i += 3)
        deadline_remove(&deadlines[i]);
    deadline_remove(&deadlines[0]); /* twice is fine */
    uint64_t before_us = 0;
    uint32_t n = 0;
    for (struct deadline *first; (first = deadline_first(&list)) != NULL; n++) {
        cr_assert_geq(first->at_us, before_us, "%lu after %lu", (unsigned long)first->at_us, (unsigned long)before_us);
        before_us = first->at_us;
        deadline_remove(first);
    }
    cr_assert_eq(n, N - N / 3, "%u", n);
}

Test(deadline, equal_times_leave_in_the_order_of_adding)
{
    struct deadline a, b, c;
    struct deadline_list list;
    deadline_list_init(&list);
    deadline_add(&list, &a, 7);
    deadline_add(&list, &b, 7);
    deadline_add(&list, &c, 6);
    cr_assert_eq(deadline_first(&list), &c);
    deadline_remove(&c);
    cr_assert_eq(deadline_first(&list), &a);
    deadline_remove(&a);
    cr_assert_eq(deadline_first(&list), &b);
}
