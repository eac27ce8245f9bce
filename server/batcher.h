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

/* All fields are the batcher's once a ticket was submitted. */
struct batcher_lane_limits {
    uint32_t max_rows;     /* of one batch */
    uint32_t max_tickets;  /* that wait; 0: as many as the batcher has room for */
    uint32_t max_batches;  /* taken and not done; 0: as many as there are threads */
    uint32_t n_priorities; /* 1 .. LIMIT_PRIORITIES; 0 is 1 */
    uint64_t max_delay_us; /* that a short batch waits for company, from its oldest ticket on; 0: none */
};

struct batcher_lane {
    struct ebm_list link;                      /* in the batcher's ready lanes, when rows > 0 */
    struct ebm_list waiting[LIMIT_PRIORITIES]; /* tickets, oldest first */
    uint64_t rows;                             /* of all waiting tickets, not yet taken */
    uint32_t n_tickets;                        /* that wait */
    uint32_t n_batches;                        /* taken and not done; counted with max_batches alone */
    struct batcher_lane_limits limits;
    uint64_t batch_ns; /* what a batch costs beside its rows, about; fixed once tickets come */
    uint64_t rows_ns;  /* what all waiting rows cost, about */
};

struct batcher_ticket {
    struct ebm_list link; /* in the lane, until its last row is taken */
    struct batcher_lane *lane;
    uint32_t n_rows, next_row; /* rows next_row .. n_rows - 1 wait */
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
    uint64_t calls; /* the batcher's: of batcher_call, that this thread knows; 0 at first */
};

struct batcher_limits {
    uint64_t max_rows; /* that wait, in all lanes together */
};

struct batcher_stats {
    uint64_t batches, rows; /* taken so far */
    uint64_t waiting_rows;  /* now, in all lanes */
};

/* New: batcher_free. */
enum ebm_status batcher_new(const struct batcher_limits *limits, struct batcher **ret_batcher) EBM_MUST_USE;
struct batcher *batcher_free(struct batcher *batcher); /* nothing waits any more; NULL is fine; returns NULL */

void batcher_lane_init(struct batcher_lane *lane, const struct batcher_lane_limits *limits);

/* Queues n_rows >= 1 rows in `lane`, before all of a priority that is a higher number: 1 .. n_priorities. The ticket is
 * borrowed until its last row was taken or withdrawn. BUSY, and nothing changed, when they do not fit or the batcher
 * was stopped. */
enum ebm_status batcher_submit(struct batcher *batcher, struct batcher_lane *lane, struct batcher_ticket *ticket,
                               uint32_t n_rows, uint32_t priority) EBM_MUST_USE;
/* The same of rows of which each costs about so much, by which batches are sized; 0: not known. */
enum ebm_status batcher_submit_weighed(struct batcher *batcher, struct batcher_lane *lane,
                                       struct batcher_ticket *ticket, uint32_t n_rows, uint32_t priority,
                                       uint64_t row_ns) EBM_MUST_USE;

/* Takes what still waits of a ticket that was submitted out of its lane; returns how many rows that were. */
uint32_t batcher_withdraw(struct batcher *batcher, struct batcher_ticket *ticket);

/* Waits for work: rows of one lane, in the order of priorities, then of tickets; or none, and no lane, once after each
 * batcher_call. False when the batcher is stopped and empty. */
bool batcher_take(struct batcher *batcher, struct batcher_batch *batch) EBM_MUST_USE;
/* What was taken is computed; before its tickets' owners may free the lane. */
void batcher_done(struct batcher *batcher, struct batcher_lane *lane);
/* Every thread that takes comes back from batcher_take soon, without rows. */
void batcher_call(struct batcher *batcher);

/* No more submissions; batcher_take empties the lanes and then answers false. */
void batcher_stop(struct batcher *batcher);

struct batcher_stats batcher_stats(struct batcher *batcher);
uint64_t batcher_lane_rows(struct batcher *batcher, const struct batcher_lane *lane);    /* that wait in it now */
uint32_t batcher_lane_tickets(struct batcher *batcher, const struct batcher_lane *lane); /* likewise */

#endif
