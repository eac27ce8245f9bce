/* batcher.h - rows of many requests wait here and leave together, up to a batch of one model at a time.
 *
 * A lane is one model's queue (or any other kind of work that must not be mixed). A ticket is one request's rows in a
 * lane; both are parts of their owners' structs. The batcher knows no HTTP, no JSON, no numbers. Any thread. */
#ifndef EBM_SERVER_BATCHER_H
#define EBM_SERVER_BATCHER_H

#include "core/list.h"
#include "core/status.h"

struct batcher;

/* All fields are the batcher's once a ticket was submitted. */
struct batcher_lane_limits {
    uint32_t max_rows; /* of one batch */
};

struct batcher_lane {
    struct ebm_list link;    /* in the batcher's ready lanes, when rows > 0 */
    struct ebm_list waiting; /* tickets, oldest first */
    uint64_t rows;           /* of all waiting tickets, not yet taken */
    struct batcher_lane_limits limits;
};

struct batcher_ticket {
    struct ebm_list link; /* in the lane, until its last row is taken */
    struct batcher_lane *lane;
    uint32_t n_rows, next_row; /* rows next_row .. n_rows - 1 wait */
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
};

struct batcher_limits {
    uint64_t max_rows;     /* that wait, in all lanes together */
    uint64_t max_delay_us; /* that a short batch waits for company while there is nothing else to do; 0: none */
};

struct batcher_stats {
    uint64_t batches, rows; /* taken so far */
    uint64_t waiting_rows;  /* now, in all lanes */
};

/* New: batcher_free. */
enum ebm_status batcher_new(const struct batcher_limits *limits, struct batcher **ret_batcher) EBM_MUST_USE;
struct batcher *batcher_free(struct batcher *batcher); /* nothing waits any more; NULL is fine; returns NULL */

void batcher_lane_init(struct batcher_lane *lane, const struct batcher_lane_limits *limits);

/* Queues n_rows >= 1 rows in `lane`. The ticket is borrowed until its last row was taken or withdrawn. BUSY, and
 * nothing changed, when they do not fit or the batcher was stopped. */
enum ebm_status batcher_submit(struct batcher *batcher, struct batcher_lane *lane, struct batcher_ticket *ticket,
                               uint32_t n_rows) EBM_MUST_USE;

/* Takes what still waits of a ticket that was submitted out of its lane; returns how many rows that were. */
uint32_t batcher_withdraw(struct batcher *batcher, struct batcher_ticket *ticket);

/* Waits for work: rows of one lane, in the order of their tickets. False when the batcher is stopped and empty. */
bool batcher_take(struct batcher *batcher, struct batcher_batch *batch) EBM_MUST_USE;

/* No more submissions; batcher_take empties the lanes and then answers false. */
void batcher_stop(struct batcher *batcher);

struct batcher_stats batcher_stats(struct batcher *batcher);

#endif
