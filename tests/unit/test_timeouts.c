/* test_timeouts.c - one timer tells every deadline once, in order, none early; a removed one never; set again in time.
 */
#include <criterion/criterion.h>

#include "core/clock.h"
#include "server/timeouts.h"

enum { N = 40 };

struct watched {
    struct deadline deadline;
    uint32_t n_told, n_wanted;
};

static struct watched watched[N];
static uint64_t latest_us;
static uint32_t n_rounds;
static struct timeouts timeouts;

static void on_due(void *user, struct deadline *due)
{
    cr_assert_eq(user, &timeouts);
    if (!due) {
        n_rounds++;
        return;
    }
    struct watched *w = EBM_CONTAINER_OF(due, struct watched, deadline);
    uint64_t now_us = ebm_clock_us();
    cr_expect_leq(due->at_us, now_us, "told too early");
    cr_expect_leq(latest_us, due->at_us, "out of order");
    latest_us = due->at_us;
    if (++w->n_told < w->n_wanted)
        timeouts_set(&timeouts, due, now_us + 1000);
}

Test(timeouts, tell_each_deadline_in_its_order)
{
    uv_loop_t loop;
    cr_assert_eq(uv_loop_init(&loop), 0);
    timeouts_init(&timeouts, &loop, on_due, &timeouts);
    uint64_t now_us = ebm_clock_us();
    for (uint32_t i = 0; i < N; i++) {
        watched[i].n_wanted = i % 4;
        deadline_init(&watched[i].deadline);
        timeouts_set(&timeouts, &watched[i].deadline, now_us + 50000);
        timeouts_set(&timeouts, &watched[i].deadline, now_us + (i * 7 % N) * 500); /* earlier than the timer aims */
    }
    for (uint32_t i = 0; i < N; i += 4)
        deadline_remove(&watched[i].deadline);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0); /* until nothing is armed */
    for (uint32_t i = 0; i < N; i++)
        cr_expect_eq(watched[i].n_told, watched[i].n_wanted, "%u: %u times", i, watched[i].n_told);
    cr_expect_gt(n_rounds, 0);
    cr_expect_null(deadline_first(&timeouts.list));
    timeouts_close(&timeouts, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}
