/* timeouts.c - deadlines lie in a list by time, and the timer aims at the first.
 *
 * A deadline that is removed leaves the timer as it is: it comes too early once, and looks again. So setting and
 * removing, which every request does, touch only the list. */
#include "server/timeouts.h"

#include "core/clock.h"

static void on_timer(uv_timer_t *timer);

static void arm(struct timeouts *timeouts)
{
    const struct deadline *first = deadline_first(&timeouts->list);
    if (!first || first->at_us >= timeouts->armed_us)
        return; /* the timer comes early enough */
    uint64_t now_us = ebm_clock_us();
    uint64_t wait_ms = first->at_us > now_us ? (first->at_us - now_us + 999) / 1000 : 0;
    uv_update_time(timeouts->timer.loop);
    (void)uv_timer_start(&timeouts->timer, on_timer, wait_ms, 0);
    timeouts->armed_us = first->at_us;
}

static void on_timer(uv_timer_t *timer)
{
    struct timeouts *timeouts = timer->data;
    uint64_t now_us = ebm_clock_us();
    struct deadline *first;
    while ((first = deadline_first(&timeouts->list)) != NULL && first->at_us <= now_us) {
        deadline_remove(first);
        timeouts->on_due(timeouts->user, first);
    }
    timeouts->armed_us = UINT64_MAX;
    arm(timeouts);
    timeouts->on_due(timeouts->user, NULL);
}

void timeouts_init(struct timeouts *timeouts, uv_loop_t *loop, timeouts_fn *on_due, void *user)
{
    deadline_list_init(&timeouts->list);
    (void)uv_timer_init(loop, &timeouts->timer);
    timeouts->timer.data = timeouts;
    timeouts->armed_us = UINT64_MAX;
    timeouts->on_due = on_due;
    timeouts->user = user;
}

void timeouts_set(struct timeouts *timeouts, struct deadline *deadline, uint64_t at_us)
{
    deadline_remove(deadline);
    deadline_add(&timeouts->list, deadline, at_us);
    arm(timeouts);
}

void timeouts_close(struct timeouts *timeouts, uv_close_cb on_closed)
{
    uv_close((uv_handle_t *)&timeouts->timer, on_closed);
}
