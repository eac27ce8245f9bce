/* timeouts.h - one timer of the loop for many deadlines. Loop thread only. */
#ifndef EBM_SERVER_TIMEOUTS_H
#define EBM_SERVER_TIMEOUTS_H

#include <uv.h>

#include "server/deadline.h"

/* `due` has left the list; it may be set again. NULL: all that were due have been told. */
typedef void timeouts_fn(void *user, struct deadline *due);

struct timeouts {
    struct deadline_list list;
    uv_timer_t timer;  /* its data is this struct */
    uint64_t armed_us; /* the time that the timer aims at; UINT64_MAX: none */
    timeouts_fn *on_due;
    void *user;
};

void timeouts_init(struct timeouts *timeouts, uv_loop_t *loop, timeouts_fn *on_due, void *user);
/* Wherever the deadline was before. deadline_remove takes it out again. */
void timeouts_set(struct timeouts *timeouts, struct deadline *deadline, uint64_t at_us);
/* The struct is the loop's until on_closed. */
void timeouts_close(struct timeouts *timeouts, uv_close_cb on_closed);

#endif
