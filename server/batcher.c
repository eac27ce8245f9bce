/* batcher.c - one mutex, one condition, lanes taken by what they had.
 *
 *   submit -> lane.waiting of its priority (FIFO) -> lane joins `ready` at the end
 *   take   <- the lane of `ready` that is due and was served least: by priority, oldest tickets first, up to a batch;
 *             with rows left it goes to the end
 *
 * Served is counted in the cost of what was taken, so that a lane of cheap rows leaves as much work as one of dear rows
 * while both have some. A lane that had none starts from where the last one taken stood: nobody saves up turns. (Start-
 * time fair queueing: Goyal, Vin, Cheng 1996.) A row's wait is estimated likewise: of every lane as much is served
 * before it as waits before it in its own, or all that there is.
 *
 * A lane is due at once unless its max_delay_us is set, its rows do not fill a batch, and its oldest ticket has not
 * waited that long; and never while max_batches of it are out. When other workers are idle, a worker leaves them their
 * share of the lane by its cost, but takes at least rows that cost as much as a batch does beside its rows; and never
 * more than ENOUGH_BATCHES times that, since the first rows' answers would wait for those of the last. Where rows are
 * computed in groups, more than half of one becomes as many whole ones as are nearest: rows left over wait for company.
 *
 * Guarantees: every accepted row is taken or withdrawn exactly once; rows of a lane leave in the order of priority,
 * then of submission; no batch exceeds its lane's max_rows or mixes lanes; a lane that gets work waits for at most one
 * batch of each other lane; lanes with work that is due differ in what they were served by a batch at most; at most
 * max_rows wait. A ticket may span batches, on several threads at once; a batch that is returned stays one. Does not:
 * know what a row is, compute, call back. */
#include "server/batcher.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"

#define BATCH_NS 20000u    /* of a batch's way to a worker and back, when nothing better is known */
#define SHARE_ROWS 16u     /* that cost as much as that, of a row whose cost is not known */
#define ENOUGH_BATCHES 40u /* more than so many batches' cost in rows would only wait for one another */

struct batcher {
    struct batcher_limits limits; /* fixed */
    pthread_mutex_t mutex;
    pthread_cond_t work; /* rows came, or the batcher stops */
    /* under mutex */
    struct ebm_list ready;    /* lanes with rows */
    struct ebm_list returned; /* batches, which go first */
    uint32_t n_threads;       /* that take */
    uint64_t rows;            /* that wait */
    uint64_t served_ns;       /* where the lane last taken stood before */
    uint32_t n_idle;          /* threads in batcher_take that wait */
    uint64_t calls;
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
    ebm_list_init(&batcher->returned);
    batcher->n_threads = limits->n_threads > 0 ? limits->n_threads : 1;
    *ret_batcher = batcher;
    return EBM_OK;
}

struct batcher *batcher_free(struct batcher *batcher)
{
    if (!batcher)
        return NULL;
    EBM_ASSERT(batcher->rows == 0 && ebm_list_is_empty(&batcher->returned));
    (void)pthread_cond_destroy(&batcher->work);
    (void)pthread_mutex_destroy(&batcher->mutex);
    free(batcher);
    return NULL;
}

void batcher_lane_init(struct batcher_lane *lane, const struct batcher_lane_limits *limits)
{
    *lane = (struct batcher_lane){.limits = *limits, .group = 1, .batch_ns = BATCH_NS};
    ebm_list_init(&lane->link);
    for (uint32_t i = 0; i < LIMIT_PRIORITIES; i++)
        ebm_list_init(&lane->waiting[i]);
}

/* ---- submitters ---- */

static bool fits(const struct batcher *batcher, const struct batcher_lane *lane, uint32_t n_rows)
{
    uint32_t max_tickets = lane->limits.max_tickets;
    return !batcher->stopping && n_rows <= batcher->limits.max_rows - batcher->rows &&
           (max_tickets == 0 || lane->n_tickets < max_tickets);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Until the next ticket of this priority could have its first row taken; batches that are out do not count. */
static uint64_t wait_of(const struct batcher *batcher, const struct batcher_lane *lane, uint32_t priority)
{
    uint64_t own_ns = 0, all_ns = 0;
    for (uint32_t i = 0; i < priority; i++)
        own_ns += lane->level_ns[i];
    for (struct ebm_list *link = batcher->ready.next; own_ns > 0 && link != &batcher->ready; link = link->next)
        all_ns += smaller(EBM_CONTAINER_OF(link, struct batcher_lane, link)->rows_ns, own_ns);
    uint64_t wait_ns = all_ns / batcher->n_threads;
    if (lane->limits.max_batches > 0 && own_ns / lane->limits.max_batches > wait_ns)
        wait_ns = own_ns / lane->limits.max_batches;
    return wait_ns;
}

/* At the end of its level; a lane that had no rows joins those that are ready. */
static void append(struct batcher *batcher, struct batcher_lane *lane, struct batcher_ticket *ticket)
{
    uint64_t ns = ticket->n_rows * ticket->row_ns;
    ebm_list_append(&lane->waiting[ticket->level], &ticket->link);
    lane->n_tickets++;
    if (lane->rows == 0) {
        ebm_list_append(&batcher->ready, &lane->link);
        if (lane->served_ns < batcher->served_ns)
            lane->served_ns = batcher->served_ns;
    }
    lane->rows += ticket->n_rows;
    lane->rows_ns += ns;
    lane->level_ns[ticket->level] += ns;
    batcher->rows += ticket->n_rows;
}

enum ebm_status batcher_submit(struct batcher *batcher, struct batcher_lane *lane, struct batcher_ticket *ticket,
                               const struct batcher_work *work, struct batcher_verdict *ret_verdict)
{
    EBM_ASSERT(work->n_rows > 0 && work->priority >= 1 && work->priority <= LIMIT_PRIORITIES);
    struct batcher_ticket new = {.lane = lane, .n_rows = work->n_rows, .level = work->priority - 1};
    struct batcher_verdict verdict = {.refusal = BATCHER_FULL};
    (void)pthread_mutex_lock(&batcher->mutex);
    bool is_taken = fits(batcher, lane, work->n_rows);
    if (!is_taken || work->patience_ns > 0)
        verdict.wait_ns = wait_of(batcher, lane, work->priority);
    if (is_taken && work->patience_ns > 0 && verdict.wait_ns > work->patience_ns) {
        verdict.refusal = BATCHER_TOO_LONG;
        is_taken = false;
    }
    if (is_taken) {
        *ticket = new;
        ticket->queued_us = ebm_clock_us();
        ticket->row_ns = work->row_ns > 0 ? work->row_ns : lane->batch_ns / SHARE_ROWS;
        append(batcher, lane, ticket);
        (void)pthread_cond_signal(&batcher->work);
    }
    (void)pthread_mutex_unlock(&batcher->mutex);
    if (!is_taken && ret_verdict)
        *ret_verdict = verdict;
    return is_taken ? EBM_OK : EBM_BUSY;
}

/* n rows of the ticket wait no longer. */
static void forget_rows(struct batcher *batcher, const struct batcher_ticket *ticket, uint32_t n)
{
    struct batcher_lane *lane = ticket->lane;
    uint64_t ns = n * ticket->row_ns;
    lane->rows -= n;
    lane->rows_ns -= ns;
    lane->level_ns[ticket->level] -= ns;
    batcher->rows -= n;
    if (lane->rows == 0)
        ebm_list_remove(&lane->link);
    if (batcher->stopping && batcher->rows == 0)
        (void)pthread_cond_broadcast(&batcher->work); /* whoever waited for a lane's turn goes home */
}

/* The ticket has no row that waits. */
static void forget_ticket(struct batcher_ticket *ticket)
{
    ebm_list_remove(&ticket->link);
    ticket->lane->n_tickets--;
}

uint32_t batcher_withdraw(struct batcher *batcher, struct batcher_ticket *ticket)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    uint32_t n = ticket->n_rows - ticket->next_row;
    if (n > 0) {
        ticket->next_row = ticket->n_rows;
        forget_ticket(ticket);
        forget_rows(batcher, ticket, n);
    }
    (void)pthread_mutex_unlock(&batcher->mutex);
    return n;
}

void batcher_done(struct batcher *batcher, struct batcher_lane *lane)
{
    if (lane->limits.max_batches == 0)
        return;
    (void)pthread_mutex_lock(&batcher->mutex);
    lane->n_batches--;
    if (lane->rows > 0)
        (void)pthread_cond_signal(&batcher->work);
    (void)pthread_mutex_unlock(&batcher->mutex);
}

bool batcher_return(struct batcher *batcher, struct batcher_batch *batch)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    bool is_taken = !batcher->stopping;
    if (is_taken) {
        ebm_list_append(&batcher->returned, &batch->link);
        (void)pthread_cond_signal(&batcher->work);
    }
    (void)pthread_mutex_unlock(&batcher->mutex);
    return is_taken;
}

void batcher_call(struct batcher *batcher)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    batcher->calls++;
    (void)pthread_cond_broadcast(&batcher->work);
    (void)pthread_mutex_unlock(&batcher->mutex);
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

uint64_t batcher_lane_rows(struct batcher *batcher, const struct batcher_lane *lane)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    uint64_t rows = lane->rows;
    (void)pthread_mutex_unlock(&batcher->mutex);
    return rows;
}

uint32_t batcher_lane_tickets(struct batcher *batcher, const struct batcher_lane *lane)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    uint32_t tickets = lane->n_tickets;
    (void)pthread_mutex_unlock(&batcher->mutex);
    return tickets;
}

/* ---- takers, all under the mutex ---- */

static uint32_t count_priorities(const struct batcher_lane *lane)
{
    return lane->limits.n_priorities > 0 ? lane->limits.n_priorities : 1;
}

static struct batcher_ticket *first_of(const struct batcher_lane *lane, uint32_t level)
{
    return EBM_CONTAINER_OF(lane->waiting[level].next, struct batcher_ticket, link);
}

/* When the ticket that waits longest came. */
static uint64_t oldest_us(const struct batcher_lane *lane)
{
    uint64_t oldest_us = UINT64_MAX;
    for (uint32_t i = 0; i < count_priorities(lane); i++)
        if (!ebm_list_is_empty(&lane->waiting[i]) && first_of(lane, i)->queued_us < oldest_us)
            oldest_us = first_of(lane, i)->queued_us;
    return oldest_us;
}

/* When this lane's rows may leave; UINT64_MAX: when a batch of it is done. */
static uint64_t lane_due_us(const struct batcher *batcher, const struct batcher_lane *lane)
{
    const struct batcher_lane_limits *limits = &lane->limits;
    if (limits->max_batches > 0 && lane->n_batches >= limits->max_batches)
        return UINT64_MAX;
    if (limits->max_delay_us == 0 || batcher->stopping || lane->rows >= limits->max_rows)
        return 0;
    return oldest_us(lane) + limits->max_delay_us;
}

/* Of the lanes that are due the one that was served least, of equals the first; NULL and the earliest time when one
 * will be (UINT64_MAX: nobody knows). */
static struct batcher_lane *choose_lane(const struct batcher *batcher, uint64_t *ret_next_us)
{
    struct batcher_lane *best = NULL;
    uint64_t now_us = 0, next_us = UINT64_MAX;
    for (struct ebm_list *link = batcher->ready.next; link != &batcher->ready; link = link->next) {
        struct batcher_lane *lane = EBM_CONTAINER_OF(link, struct batcher_lane, link);
        uint64_t due_us = lane_due_us(batcher, lane);
        if (due_us > 0 && due_us < UINT64_MAX && now_us == 0)
            now_us = ebm_clock_us();
        if (due_us > now_us)
            next_us = smaller(due_us, next_us);
        else if (!best || lane->served_ns < best->served_ns)
            best = lane;
    }
    *ret_next_us = next_us;
    return best;
}

static void wait_for_work(struct batcher *batcher, uint64_t until_us)
{
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000 * 1000)};
    batcher->n_idle++;
    if (until_us < UINT64_MAX)
        (void)pthread_cond_timedwait(&batcher->work, &batcher->mutex, &until);
    else
        (void)pthread_cond_wait(&batcher->work, &batcher->mutex);
    batcher->n_idle--;
}

/* What the rows to take of a lane may cost: all that waited for company leave together. */
static uint64_t share_of(const struct batcher *batcher, const struct batcher_lane *lane)
{
    if (lane->limits.max_delay_us > 0)
        return UINT64_MAX;
    uint64_t share_ns = lane->rows_ns / (batcher->n_idle + 1), enough_ns = lane->batch_ns * ENOUGH_BATCHES;
    share_ns = share_ns < lane->batch_ns ? lane->batch_ns : share_ns;
    return smaller(share_ns, enough_ns);
}

/* Rows of the ticket that still go into a batch of so much room; at least one, if there is any. */
static uint32_t rows_that_fit(const struct batcher_ticket *ticket, uint32_t left_rows, uint64_t left_ns)
{
    uint64_t n = ticket->n_rows - ticket->next_row, by_cost = left_ns / ticket->row_ns + (left_ns % ticket->row_ns > 0);
    n = n < left_rows ? n : left_rows;
    return (uint32_t)(n < by_cost ? n : by_cost);
}

/* Rows of a batch that may cost so much; at least one, if any waits. */
static uint32_t rows_by_cost(const struct batcher_lane *lane, uint64_t share_ns)
{
    uint32_t n = 0;
    uint64_t taken_ns = 0;
    for (uint32_t level = 0; level < count_priorities(lane); level++)
        for (struct ebm_list *link = lane->waiting[level].next; link != &lane->waiting[level]; link = link->next) {
            const struct batcher_ticket *ticket = EBM_CONTAINER_OF(link, struct batcher_ticket, link);
            uint32_t more = rows_that_fit(ticket, lane->limits.max_rows - n, share_ns - taken_ns);
            n += more;
            taken_ns += more * ticket->row_ns;
            if (n == lane->limits.max_rows || taken_ns >= share_ns)
                return n;
        }
    return n;
}

static uint32_t whole_groups(const struct batcher_lane *lane, uint32_t n)
{
    uint32_t group = lane->group;
    return n <= group / 2 ? n : n < group ? group : (n + (group - 1) / 2) / group * group;
}

/* A batch of the lane leaves, whose rows cost so much. */
static void charge(struct batcher *batcher, struct batcher_lane *lane, uint64_t taken_ns)
{
    if (batcher->served_ns < lane->served_ns)
        batcher->served_ns = lane->served_ns;
    lane->served_ns += taken_ns + lane->batch_ns;
    if (lane->rows > 0) {
        ebm_list_remove(&lane->link);
        ebm_list_append(&batcher->ready, &lane->link);
    }
}

static void fill(struct batcher *batcher, struct batcher_lane *lane, struct batcher_batch *batch)
{
    uint32_t left_rows = lane->limits.max_rows, level = 0;
    uint64_t left_ns = share_of(batcher, lane), taken_ns = 0;
    batch->lane = lane;
    if (lane->group > 1 && left_ns < UINT64_MAX) {
        left_rows = (uint32_t)smaller(left_rows, whole_groups(lane, rows_by_cost(lane, left_ns)));
        left_ns = UINT64_MAX;
    }
    while (left_rows > 0 && left_ns > taken_ns && level < count_priorities(lane)) {
        if (ebm_list_is_empty(&lane->waiting[level])) {
            level++;
            continue;
        }
        struct batcher_ticket *ticket = first_of(lane, level);
        uint32_t n = rows_that_fit(ticket, left_rows, left_ns - taken_ns);
        batch->parts[batch->n_parts++] = (struct batcher_part){ticket, ticket->next_row, n};
        batch->n_rows += n;
        left_rows -= n;
        taken_ns += n * ticket->row_ns;
        ticket->next_row += n;
        forget_rows(batcher, ticket, n);
        if (ticket->next_row == ticket->n_rows)
            forget_ticket(ticket);
    }
    lane->n_batches += lane->limits.max_batches > 0;
    charge(batcher, lane, taken_ns);
    batcher->stats.batches++;
    batcher->stats.rows += batch->n_rows;
}

/* The same batch, as this thread's. */
static void take_returned(struct batcher_batch *batch, struct ebm_list *link)
{
    const struct batcher_batch *from = EBM_CONTAINER_OF(link, struct batcher_batch, link);
    batch->lane = from->lane;
    batch->n_parts = from->n_parts;
    batch->n_rows = from->n_rows;
    memcpy(batch->parts, from->parts, from->n_parts * sizeof *from->parts);
}

bool batcher_take(struct batcher *batcher, struct batcher_batch *batch)
{
    struct batcher_lane *lane = NULL;
    struct ebm_list *returned = NULL;
    bool is_called = false;
    (void)pthread_mutex_lock(&batcher->mutex);
    for (;;) {
        uint64_t next_us = UINT64_MAX;
        is_called = batch->calls != batcher->calls;
        returned = is_called ? NULL : ebm_list_pop(&batcher->returned);
        lane = is_called || returned ? NULL : choose_lane(batcher, &next_us);
        if (is_called || returned || lane || (batcher->stopping && batcher->rows == 0))
            break;
        wait_for_work(batcher, next_us);
    }
    batch->calls = batcher->calls;
    batch->lane = NULL;
    batch->n_parts = batch->n_rows = 0;
    if (returned)
        take_returned(batch, returned);
    else if (lane)
        fill(batcher, lane, batch);
    if (batcher->rows > 0 || !ebm_list_is_empty(&batcher->returned))
        (void)pthread_cond_signal(&batcher->work); /* more than this thread took */
    (void)pthread_mutex_unlock(&batcher->mutex);
    return batch->lane != NULL || is_called;
}

void batcher_leave(struct batcher *batcher)
{
    (void)pthread_mutex_lock(&batcher->mutex);
    batcher->n_threads -= batcher->n_threads > 1;
    batcher->calls++;
    (void)pthread_cond_broadcast(&batcher->work);
    (void)pthread_mutex_unlock(&batcher->mutex);
}
