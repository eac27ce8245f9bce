/* batcher.c - one mutex, one condition, lanes taken in turn.
 *
 *   submit -> lane.waiting (FIFO) -> lane joins `ready` at the end
 *   take   <- first lane of `ready` that is due: oldest tickets first, up to a batch; with rows left it goes to the end
 *
 * A lane is due at once unless max_delay_us is set, its rows do not fill a batch, and its oldest ticket has not waited
 * that long. When other workers are idle, a worker leaves them their share of the lane, but never takes less than
 * SHARE_ROWS: below that a row costs more.
 *
 * Guarantees: every accepted row is taken or withdrawn exactly once; rows of a lane leave in the order of submission;
 * no batch exceeds its lane's max_rows or mixes lanes; a lane with work waits for at most one batch of each other lane;
 * at most max_rows wait. A ticket may span batches, on several threads at once.
 * Does not: know what a row is, compute, call back. */
#include "server/batcher.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"

#define SHARE_ROWS 16u

struct batcher {
    struct batcher_limits limits; /* fixed */
    pthread_mutex_t mutex;
    pthread_cond_t work; /* rows came, or the batcher stops */
    /* under mutex */
    struct ebm_list ready; /* lanes with rows */
    uint64_t rows;         /* that wait */
    uint32_t n_idle;       /* threads in batcher_take that wait */
    bool stopping;
    struct batcher_stats stats;
};

enum ebm_status batcher_new(const struct batcher_limits *limits, struct batcher **ret_batcher)
{
    struct batcher *batcher = calloc(1, sizeof *batcher);
    if (!batcher)
        return EBM_NO_MEMORY;
    batcher->limits = *limits;
    (void)pthread_mutex_init(&batcher->mutex, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&batcher->work, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    ebm_list_init(&batcher->ready);
    *ret_batcher = batcher;
    return EBM_OK;
}

struct batcher *batcher_free(struct batcher *batcher)
{
    if (!batcher)
        return NULL;
    EBM_ASSERT(batcher->rows == 0);
    (void)pthread_cond_destroy(&batcher->work);
    (void)pthread_mutex_destroy(&batcher->mutex);
    free(batcher);
    return NULL;
}

void batcher_lane_init(struct batcher_lane *lane, const struct batcher_lane_limits *limits)
{
    *lane = (struct batcher_lane){.limits = *limits};
    ebm_list_init(&lane->link);
    ebm_list_init(&lane->waiting);
}

/* ---- submitters ---- */

enum ebm_status batcher_submit(struct batcher *batcher, struct batcher_lane *lane, struct batcher_ticket *ticket,
                               uint32_t n_rows)
{
    EBM_ASSERT(n_rows > 0);
    (void)pthread_mutex_lock(&batcher->mutex);
    bool fits = !batcher->stopping && n_rows <= batcher->limits.max_rows - batcher->rows;
    if (fits) {
        *ticket = (struct batcher_ticket){.lane = lane, .n_rows = n_rows, .queued_us = ebm_clock_us()};
        ebm_list_append(&lane->waiting, &ticket->link);
        if (lane->rows == 0)
            ebm_list_append(&batcher->ready, &lane->link);
        lane->rows += n_rows;
        batcher->rows += n_rows;
        (void)pthread_cond_signal(&batcher->work);
    }
    (void)pthread_mutex_unlock(&batcher->mutex);
    return fits ? EBM_OK : EBM_BUSY;
}

/* n rows of the lane wait no longer. */
static void forget_rows(struct batcher *batcher, struct batcher_lane *lane, uint32_t n)
{
    lane->rows -= n;
    batcher->rows -= n;
    if (lane->rows == 0)
        ebm_list_remove(&lane->link);
}

uint32_t batcher_withdraw(struct batcher *batcher, struct batcher_ticket *ticket)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    uint32_t n = ticket->n_rows - ticket->next_row;
    if (n > 0) {
        ticket->next_row = ticket->n_rows;
        ebm_list_remove(&ticket->link);
        forget_rows(batcher, ticket->lane, n);
    }
    (void)pthread_mutex_unlock(&batcher->mutex);
    return n;
}

void batcher_stop(struct batcher *batcher)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    batcher->stopping = true;
    (void)pthread_cond_broadcast(&batcher->work);
    (void)pthread_mutex_unlock(&batcher->mutex);
}

struct batcher_stats batcher_stats(struct batcher *batcher)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    struct batcher_stats stats = batcher->stats;
    stats.waiting_rows = batcher->rows;
    (void)pthread_mutex_unlock(&batcher->mutex);
    return stats;
}

/* ---- takers, all under the mutex ---- */

/* When this lane's rows may leave. */
static uint64_t lane_due_us(const struct batcher *batcher, const struct batcher_lane *lane)
{
    if (batcher->limits.max_delay_us == 0 || batcher->stopping || lane->rows >= lane->limits.max_rows)
        return 0;
    const struct batcher_ticket *oldest = EBM_CONTAINER_OF(lane->waiting.next, struct batcher_ticket, link);
    return oldest->queued_us + batcher->limits.max_delay_us;
}

/* The first lane that is due; NULL and the earliest time when one will be (0: nothing waits). */
static struct batcher_lane *choose_lane(const struct batcher *batcher, uint64_t *ret_next_us)
{
    uint64_t now_us = batcher->limits.max_delay_us ? ebm_clock_us() : 0, next_us = 0;
    for (struct ebm_list *link = batcher->ready.next; link != &batcher->ready; link = link->next) {
        struct batcher_lane *lane = EBM_CONTAINER_OF(link, struct batcher_lane, link);
        uint64_t due_us = lane_due_us(batcher, lane);
        if (due_us <= now_us)
            return lane;
        next_us = next_us == 0 || due_us < next_us ? due_us : next_us;
    }
    *ret_next_us = next_us;
    return NULL;
}

static void wait_for_work(struct batcher *batcher, uint64_t until_us)
{
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000 * 1000)};
    batcher->n_idle++;
    if (until_us > 0)
        (void)pthread_cond_timedwait(&batcher->work, &batcher->mutex, &until);
    else
        (void)pthread_cond_wait(&batcher->work, &batcher->mutex);
    batcher->n_idle--;
}

/* Rows to take of a lane. */
static uint32_t share_of(const struct batcher *batcher, const struct batcher_lane *lane)
{
    uint64_t share = (lane->rows + batcher->n_idle) / (batcher->n_idle + 1);
    share = share < SHARE_ROWS ? SHARE_ROWS : share;
    return share < lane->limits.max_rows ? (uint32_t)share : lane->limits.max_rows;
}

static void fill(struct batcher *batcher, struct batcher_lane *lane, struct batcher_batch *batch)
{
    uint32_t left = share_of(batcher, lane);
    batch->lane = lane;
    batch->n_parts = batch->n_rows = 0;
    while (left > 0 && !ebm_list_is_empty(&lane->waiting)) {
        struct batcher_ticket *ticket = EBM_CONTAINER_OF(lane->waiting.next, struct batcher_ticket, link);
        uint32_t n = ticket->n_rows - ticket->next_row;
        n = n < left ? n : left;
        batch->parts[batch->n_parts++] = (struct batcher_part){ticket, ticket->next_row, n};
        batch->n_rows += n;
        left -= n;
        ticket->next_row += n;
        if (ticket->next_row == ticket->n_rows)
            ebm_list_remove(&ticket->link);
    }
    forget_rows(batcher, lane, batch->n_rows);
    if (lane->rows > 0) {
        ebm_list_remove(&lane->link);
        ebm_list_append(&batcher->ready, &lane->link);
    }
    batcher->stats.batches++;
    batcher->stats.rows += batch->n_rows;
}

bool batcher_take(struct batcher *batcher, struct batcher_batch *batch)
{
    struct batcher_lane *lane = NULL;
    (void)pthread_mutex_lock(&batcher->mutex);
    for (;;) {
        uint64_t next_us = 0;
        lane = choose_lane(batcher, &next_us);
        if (lane || (batcher->stopping && batcher->rows == 0))
            break;
        wait_for_work(batcher, next_us);
    }
    if (lane)
        fill(batcher, lane, batch);
    if (batcher->rows > 0)
        (void)pthread_cond_signal(&batcher->work); /* more than this thread took */
    (void)pthread_mutex_unlock(&batcher->mutex);
    return lane != NULL;
}
