/* batcher.h - rows of many requests wait here and leave together, up to a batch of one model at a time.
 *
 * A lane is one model's queue (or any other kind of work that must not be mixed). A ticket is one request's rows in a
 * lane; both are parts of their owners' structs. The batcher knows no HTTP, no JSON, no numbers. Any thread. */
#ifndef EBM_SERVER_BATCHER_H
#define EBM_SERVER_BATCHER_H

#include "core/limits.h"
#include "core/list.h"
#include "core/status.h"

struct batcher;

struct batcher_lane_limits {
    uint32_t max_rows;     /* of one batch */
    uint32_t max_tickets;  /* that wait; 0: as many as the batcher has room for */
    uint32_t max_batches;  /* taken and not done; 0: as many as there are threads */
    uint32_t n_priorities; /* 1 .. LIMIT_PRIORITIES; 0 is 1 */
    uint64_t max_delay_us; /* that a short batch waits for company, from its oldest ticket on; 0: none */
};

/* All fields of lanes and tickets are the batcher's once a ticket was submitted. */
struct batcher_lane {
    struct ebm_list link;                      /* in the batcher's ready lanes, when rows > 0 */
    struct ebm_list waiting[LIMIT_PRIORITIES]; /* tickets, oldest first */
    uint64_t rows;                             /* of all waiting tickets, not yet taken */
    uint32_t n_tickets;                        /* that wait */
    uint32_t n_batches;                        /* taken and not done; counted with max_batches alone */
    struct batcher_lane_limits limits;
    uint64_t batch_ns;                   /* what a batch costs beside its rows, about; fixed once tickets come */
    uint32_t group;                      /* rows that a batch is best a multiple of; fixed likewise */
    uint64_t rows_ns;                    /* what all waiting rows cost, about */
    uint64_t level_ns[LIMIT_PRIORITIES]; /* of that, the rows of each priority */
    uint64_t served_ns;                  /* what was taken costs, counted from where the others stood when it came */
};

struct batcher_ticket {
    struct ebm_list link; /* in the lane, until its last row is taken */
    struct batcher_lane *lane;
    uint32_t n_rows, next_row; /* rows next_row .. n_rows - 1 wait */
    uint32_t level;            /* priority - 1 */
    uint64_t row_ns;           /* what one costs, about */
    uint64_t queued_us;
};

/* Rows first_row .. first_row + n_rows - 1 of a ticket. */
struct batcher_part {
    struct batcher_ticket *ticket;
    uint32_t first_row, n_rows;
};

struct batcher_batch {
    struct batcher_lane *lane;
    struct batcher_part *parts; /* the caller's, with room for as many as a lane's max_rows */
    uint32_t n_parts, n_rows;
    uint64_t calls;       /* the batcher's: of batcher_call, that this thread knows; 0 at first */
    struct ebm_list link; /* the batcher's, once it was returned */
};

struct batcher_limits {
    uint64_t max_rows;  /* that wait, in all lanes together */
    uint32_t n_threads; /* that take, for estimates; 0 is 1 */
};

/* What is to be queued. */
struct batcher_work {
    uint32_t n_rows;      /* at least 1 */
    uint32_t priority;    /* 1 .. n_priorities; before all of a higher number */
    uint64_t row_ns;      /* what a row costs, about, by which batches are sized and lanes chosen; 0: not known */
    uint64_t patience_ns; /* it does not want to wait longer than so, by the estimate; 0: it waits any time */
};

/* Why it was not. */
enum batcher_refusal {
    BATCHER_FULL,     /* no room for its rows, no further ticket, or stopped */
    BATCHER_TOO_LONG, /* it would wait for more than its patience */
};

struct batcher_verdict {
    enum batcher_refusal refusal;
    uint64_t wait_ns; /* about so long until its first row could be taken, by what waits before it */
};

struct batcher_stats {
    uint64_t batches, rows; /* taken so far */
    uint64_t waiting_rows;  /* now, in all lanes */
};

/* New: batcher_free. */
enum ebm_status batcher_new(const struct batcher_limits *limits, struct batcher **ret_batcher) EBM_MUST_USE;
struct batcher *batcher_free(struct batcher *batcher); /* nothing waits any more; NULL is fine; returns NULL */

void batcher_lane_init(struct batcher_lane *lane, const struct batcher_lane_limits *limits);

/* Queues rows in `lane`. The ticket is borrowed until its last row was taken or withdrawn. BUSY, *ret_verdict says why,
 * and nothing changed, when they do not fit, would wait too long, or the batcher was stopped. ret_verdict may be NULL.
 */
enum ebm_status batcher_submit(struct batcher *batcher, struct batcher_lane *lane, struct batcher_ticket *ticket,
                               const struct batcher_work *work, struct batcher_verdict *ret_verdict) EBM_MUST_USE;

/* Takes what still waits of a ticket that was submitted out of its lane; returns how many rows that were. */
uint32_t batcher_withdraw(struct batcher *batcher, struct batcher_ticket *ticket);

/* Waits for work: rows of the lane that was served least, in the order of priorities, then of tickets; or none, and no
 * lane, once after each batcher_call. False when the batcher is stopped and empty. */
bool batcher_take(struct batcher *batcher, struct batcher_batch *batch) EBM_MUST_USE;
/* What was taken is computed; before its tickets' owners may free the lane. */
void batcher_done(struct batcher *batcher, struct batcher_lane *lane);
/* Instead of batcher_done: a batch that was taken and that whoever took it cannot compute, for the next thread that
 * takes. Borrowed, with its parts, until that is done: the thread leaves. False: the batcher is stopped, and there may
 * be no next one. */
bool batcher_return(struct batcher *batcher, struct batcher_batch *batch) EBM_MUST_USE;
/* The calling thread takes no more, others do. They come back once, as after batcher_call: whoever has the same reason
 * can leave, too. */
void batcher_leave(struct batcher *batcher);
/* Every thread that takes comes back from batcher_take soon, without rows. */
void batcher_call(struct batcher *batcher);

/* No more submissions; batcher_take empties the lanes and then answers false. */
void batcher_stop(struct batcher *batcher);

struct batcher_stats batcher_stats(struct batcher *batcher);
uint64_t batcher_lane_rows(struct batcher *batcher, const struct batcher_lane *lane);    /* that wait in it now */
uint32_t batcher_lane_tickets(struct batcher *batcher, const struct batcher_lane *lane); /* likewise */

#endif
