/* test_batcher.c - the batcher's promises, alone and with many threads.
 *
 * Every row of every ticket is marked when it is taken: no row is lost, taken twice, or taken out of its lane; no batch
 * is larger than its lane allows; rows of a lane leave in the order of submission. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "core/rng.h"
#include "server/batcher.h"
#include "tests/threads/check.h"

enum { LANES = 3, SUBMITTERS = 2, TAKERS = 3, TICKETS = 1500, MAX_ROWS = 150 };
static const uint32_t lane_max[LANES] = {64, 7, 1};

struct request {
    struct batcher_ticket ticket;
    uint32_t lane, n_rows, order;
    _Atomic uint32_t n_taken;       /* and not withdrawn */
    _Atomic uint8_t seen[MAX_ROWS]; /* by row */
};

static struct batcher *batcher;
static struct batcher_lane lanes[LANES];

static enum ebm_status submit_weighed(struct batcher_lane *lane, struct batcher_ticket *ticket, uint32_t n_rows,
                                      uint32_t priority, uint64_t row_ns)
{
    struct batcher_work work = {.n_rows = n_rows, .priority = priority, .row_ns = row_ns};
    return batcher_submit(batcher, lane, ticket, &work, NULL);
}

static enum ebm_status submit(struct batcher_lane *lane, struct batcher_ticket *ticket, uint32_t n_rows,
                              uint32_t priority)
{
    return submit_weighed(lane, ticket, n_rows, priority, 0);
}

/* ---- one thread ---- */

static void set_up(uint64_t max_rows, uint64_t max_delay_us)
{
    struct batcher_limits limits = {max_rows};
    CHECK_EQ(batcher_new(&limits, &batcher), EBM_OK);
    for (uint32_t i = 0; i < LANES; i++)
        batcher_lane_init(&lanes[i],
                          &(struct batcher_lane_limits){.max_rows = lane_max[i], .max_delay_us = max_delay_us});
}

static void tear_down(void)
{
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    batcher_stop(batcher);
    CHECK(!batcher_take(batcher, &batch));
    batcher = batcher_free(batcher);
}

static void test_full_is_refused_and_the_bound_is_exact(void)
{
    struct batcher_ticket a, b, c;
    set_up(100, 0);
    CHECK_EQ(submit(&lanes[0], &a, 101, 1), EBM_BUSY);
    CHECK_EQ(submit(&lanes[0], &a, 60, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[1], &b, 41, 1), EBM_BUSY); /* the bound is of all lanes together */
    CHECK_EQ(submit(&lanes[1], &b, 40, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[2], &c, 1, 1), EBM_BUSY);
    CHECK_EQ(batcher_withdraw(batcher, &b), 40);
    CHECK_EQ(batcher_withdraw(batcher, &b), 0);
    CHECK_EQ(submit(&lanes[2], &c, 40, 1), EBM_OK);
    CHECK_EQ(batcher_withdraw(batcher, &c), 40);
    CHECK_EQ(batcher_withdraw(batcher, &a), 60);
    batcher_stop(batcher);
    CHECK_EQ(submit(&lanes[0], &a, 1, 1), EBM_BUSY);
    tear_down();
}

static void test_a_request_spans_batches_in_order(void)
{
    struct batcher_ticket a, b;
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up(1000, 0);
    CHECK_EQ(submit(&lanes[0], &a, 100, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[0], &b, 10, 1), EBM_OK);
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_rows, 64);
    CHECK_EQ(batch.n_parts, 1);
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_rows, 46);
    CHECK_EQ(batch.n_parts, 2);
    CHECK(parts[0].ticket == &a && parts[1].ticket == &b);
    CHECK_EQ(parts[0].first_row, 64);
    CHECK_EQ(parts[0].n_rows, 36);
    CHECK_EQ(parts[1].first_row, 0);
    CHECK_EQ(parts[1].n_rows, 10);
    struct batcher_stats stats = batcher_stats(batcher);
    CHECK_EQ(stats.batches, 2);
    CHECK_EQ(stats.rows, 110);
    tear_down();
}

static void test_withdrawn_in_the_middle(void)
{
    struct batcher_ticket a, b;
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up(1000, 0);
    CHECK_EQ(submit(&lanes[1], &a, 20, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[1], &b, 3, 1), EBM_OK);
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_rows, 7);
    CHECK_EQ(batcher_withdraw(batcher, &a), 13);
    CHECK(batcher_take(batcher, &batch));
    CHECK(parts[0].ticket == &b);
    CHECK_EQ(batch.n_rows, 3);
    tear_down();
}

/* By what rows cost: 40 times what a batch does is enough, dear rows make small batches, cheap ones large ones. */
static void test_a_batch_has_what_pays_and_no_more(void)
{
    struct batcher_ticket dear, cheap;
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up(1000, 0);
    lanes[0].batch_ns = 100;
    CHECK_EQ(submit_weighed(&lanes[0], &dear, 10, 1, 1000), EBM_OK);
    CHECK_EQ(submit_weighed(&lanes[0], &cheap, 100, 1, 10), EBM_OK);
    CHECK_EQ(batcher_lane_rows(batcher, &lanes[0]), 110);
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_rows, 4);
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_rows, 4);
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_rows, 64); /* the lane's most */
    CHECK_EQ(parts[0].n_rows, 2);
    CHECK_EQ(batcher_withdraw(batcher, &cheap), 38);
    CHECK_EQ(lanes[0].rows_ns, 0);
    tear_down();
}

/* Half a group by itself is done as soon by its rows one by one; more than that is best with a whole one. */
static void test_rows_leave_in_whole_groups(void)
{
    enum { ROW_NS = 1000 };
    static const struct {
        uint32_t wait, enough, want; /* rows: that are there, that pay, that leave */
    } cases[] = {{1, 20, 1},   {4, 20, 4},    {5, 20, 5},    {7, 20, 7},    {8, 20, 8},  {11, 20, 8}, {12, 20, 8},
                 {13, 20, 13}, {100, 20, 16}, {100, 21, 24}, {100, 64, 64}, {100, 4, 4}, {100, 5, 8}};
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct batcher_ticket tickets[100];
        set_up(1000, 0);
        lanes[0].group = 8;
        lanes[0].batch_ns = cases[i].enough * ROW_NS / 40;
        for (uint32_t row = 0; row < cases[i].wait; row++)
            CHECK_EQ(submit_weighed(&lanes[0], &tickets[row], 1, 1, ROW_NS), EBM_OK);
        CHECK(batcher_take(batcher, &batch));
        CHECK_EQ(batch.n_rows, cases[i].want);
        for (uint32_t row = 0; row < cases[i].wait; row++)
            (void)batcher_withdraw(batcher, &tickets[row]);
        tear_down();
    }
}

/* Rows of one lane may cost very differently: groups are rounded from what rows cost in their order. */
static void test_groups_are_of_the_rows_that_pay(void)
{
    enum { ENOUGH_NS = 4000, DEAR_NS = 1000 };
    static const struct {
        uint32_t dear, cheap; /* rows that wait */
        bool cheap_first;
        uint32_t want;
    } cases[] = {{10, 90, false, 4}, {20, 20, true, 24}, {7, 3, false, 4}};
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct batcher_ticket dear, cheap;
        set_up(1000, 0);
        lanes[0].group = 8;
        lanes[0].batch_ns = ENOUGH_NS / 40;
        if (cases[i].cheap_first)
            CHECK_EQ(submit_weighed(&lanes[0], &cheap, cases[i].cheap, 1, 1), EBM_OK);
        CHECK_EQ(submit_weighed(&lanes[0], &dear, cases[i].dear, 1, DEAR_NS), EBM_OK);
        if (!cases[i].cheap_first)
            CHECK_EQ(submit_weighed(&lanes[0], &cheap, cases[i].cheap, 1, 1), EBM_OK);
        CHECK(batcher_take(batcher, &batch));
        CHECK_EQ(batch.n_rows, cases[i].want);
        (void)batcher_withdraw(batcher, &dear);
        (void)batcher_withdraw(batcher, &cheap);
        tear_down();
    }
}

/* Of lanes whose batches cost the same each has its turn. */
static void test_lanes_take_turns(void)
{
    struct batcher_ticket busy, quiet;
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up(100000, 0);
    CHECK_EQ(submit_weighed(&lanes[0], &busy, 10000, 1, 700), EBM_OK);
    CHECK_EQ(submit_weighed(&lanes[1], &quiet, 14, 1, 6400), EBM_OK);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK(batcher_take(batcher, &batch));
        CHECK(batch.lane == &lanes[i % 2]);
    }
    CHECK_EQ(batcher_withdraw(batcher, &busy), 10000 - 128);
    tear_down();
}

/* A cheap model and a dear one that both have work all the time are served as much, to a batch, and not as often. */
static void test_lanes_are_served_by_what_they_cost(void)
{
    enum { CHEAP_NS = 1000, DEAR_NS = 100000, BATCH_NS = 5000, TURNS = 2000 };
    struct batcher_ticket tickets[2];
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    uint64_t served_ns[2] = {0}, n_batches[2] = {0};
    set_up(1 << 20, 0);
    lanes[0].batch_ns = lanes[1].batch_ns = BATCH_NS;
    CHECK_EQ(submit_weighed(&lanes[0], &tickets[0], 500000, 1, CHEAP_NS), EBM_OK);
    CHECK_EQ(submit_weighed(&lanes[1], &tickets[1], 500000, 1, DEAR_NS), EBM_OK);
    for (uint32_t i = 0; i < TURNS; i++) {
        CHECK(batcher_take(batcher, &batch));
        uint32_t lane = batch.lane == &lanes[1];
        served_ns[lane] += batch.n_rows * (lane ? DEAR_NS : CHEAP_NS) + BATCH_NS;
        n_batches[lane]++;
        uint64_t apart_ns = served_ns[0] > served_ns[1] ? served_ns[0] - served_ns[1] : served_ns[1] - served_ns[0];
        CHECK(apart_ns <= 2 * DEAR_NS + BATCH_NS); /* 200 us is what a batch of the dear one costs: 40 times BATCH_NS */
    }
    CHECK_EQ(n_batches[0] + n_batches[1], TURNS);
    CHECK(n_batches[0] > 2 * n_batches[1]);
    CHECK(batcher_withdraw(batcher, &tickets[0]) > 0 && batcher_withdraw(batcher, &tickets[1]) > 0);
    CHECK_EQ(lanes[0].rows_ns + lanes[1].rows_ns, 0);
    tear_down();
}

/* Who comes late has the next batch, and no more than that for the time that it was away. */
static void test_a_lane_saves_up_no_turns(void)
{
    struct batcher_ticket busy, late;
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up(100000, 0);
    CHECK_EQ(submit_weighed(&lanes[0], &busy, 10000, 1, 700), EBM_OK);
    for (uint32_t i = 0; i < 50; i++)
        CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(submit_weighed(&lanes[1], &late, 700, 1, 6400), EBM_OK);
    for (uint32_t i = 0; i < 10; i++) {
        CHECK(batcher_take(batcher, &batch));
        CHECK(batch.lane == &lanes[(i + 1) % 2]);
    }
    CHECK(batcher_withdraw(batcher, &busy) > 0 && batcher_withdraw(batcher, &late) > 0);
    tear_down();
}

/* By what waits before it: of its own lane, and as much of every other, over the threads. */
static void test_who_would_wait_too_long_is_refused_and_told_how_long(void)
{
    struct batcher_ticket a, b, c;
    struct batcher_work work = {.n_rows = 1, .priority = 1, .row_ns = 1000, .patience_ns = 74999};
    struct batcher_verdict verdict = {.wait_ns = 0};
    set_up(1000, 0);
    batcher = batcher_free(batcher);
    CHECK_EQ(batcher_new(&(struct batcher_limits){.max_rows = 1000, .n_threads = 2}, &batcher), EBM_OK);
    CHECK_EQ(submit_weighed(&lanes[0], &a, 100, 1, 1000), EBM_OK);
    CHECK_EQ(submit_weighed(&lanes[1], &b, 50, 1, 1000), EBM_OK);
    CHECK_EQ(batcher_submit(batcher, &lanes[0], &c, &work, &verdict), EBM_BUSY);
    CHECK_EQ(verdict.refusal, BATCHER_TOO_LONG);
    CHECK_EQ(verdict.wait_ns, (100000 + 50000) / 2);
    work.patience_ns = 49999;
    CHECK_EQ(batcher_submit(batcher, &lanes[1], &c, &work, &verdict), EBM_BUSY);
    CHECK_EQ(verdict.wait_ns, (50000 + 50000) / 2); /* not behind all of the longer queue */
    work.patience_ns = 1;
    CHECK_EQ(batcher_submit(batcher, &lanes[2], &c, &work, &verdict), EBM_OK); /* nothing is before it */
    CHECK_EQ(batcher_withdraw(batcher, &c), 1);
    work = (struct batcher_work){.n_rows = 851, .priority = 1};
    CHECK_EQ(batcher_submit(batcher, &lanes[0], &c, &work, &verdict), EBM_BUSY);
    CHECK_EQ(verdict.refusal, BATCHER_FULL);
    CHECK_EQ(verdict.wait_ns, 75000);
    CHECK_EQ(batcher_withdraw(batcher, &a) + batcher_withdraw(batcher, &b), 150);
    tear_down();
}

static void test_a_short_batch_waits_for_company_and_a_full_one_does_not(void)
{
    struct batcher_ticket a, b;
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up(1000, 3600000000u); /* an hour */
    CHECK_EQ(submit(&lanes[0], &a, 5, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[1], &b, 7, 1), EBM_OK);
    CHECK(batcher_take(batcher, &batch)); /* the short one waits, the full one goes at once */
    CHECK(batch.lane == &lanes[1]);
    CHECK_EQ(batcher_withdraw(batcher, &a), 5);
    tear_down();
    set_up(1000, 30000);
    CHECK_EQ(submit(&lanes[0], &a, 5, 1), EBM_OK);
    CHECK(batcher_take(batcher, &batch));
    CHECK(batch.lane == &lanes[0]);
    CHECK(ebm_clock_us() - a.queued_us >= 30000);
    tear_down();
}

/* Lane 0 under limits of its own, in a batcher of 1000 rows. */
static void set_up_lane(const struct batcher_lane_limits *limits)
{
    set_up(1000, 0);
    batcher_lane_init(&lanes[0], limits);
}

static void test_the_highest_priority_leaves_first_and_the_older_one_among_equals(void)
{
    struct batcher_ticket tickets[5];
    static const uint32_t priorities[5] = {3, 1, 2, 1, 3}, expected[5] = {1, 3, 2, 0, 4};
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up_lane(&(struct batcher_lane_limits){.max_rows = 64, .n_priorities = 3});
    for (uint32_t i = 0; i < 5; i++)
        CHECK_EQ(submit(&lanes[0], &tickets[i], 5, priorities[i]), EBM_OK);
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_parts, 5);
    for (uint32_t i = 0; i < batch.n_parts; i++)
        CHECK(parts[i].ticket == &tickets[expected[i]]);
    tear_down();
}

static void test_a_lane_refuses_more_tickets_than_it_may_hold(void)
{
    struct batcher_ticket tickets[3];
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up_lane(&(struct batcher_lane_limits){.max_rows = 64, .max_tickets = 2});
    CHECK_EQ(submit(&lanes[0], &tickets[0], 100, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[0], &tickets[1], 1, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[0], &tickets[2], 1, 1), EBM_BUSY);
    CHECK(batcher_take(batcher, &batch)); /* a part of the first: it still waits */
    CHECK_EQ(submit(&lanes[0], &tickets[2], 1, 1), EBM_BUSY);
    CHECK_EQ(batcher_withdraw(batcher, &tickets[1]), 1);
    CHECK_EQ(submit(&lanes[0], &tickets[2], 1, 1), EBM_OK);
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_rows, 37);
    tear_down();
}

/* What waits for company goes as one batch when its oldest ticket, of whatever priority, is due. True: it left before
 * the younger one was due, unless this thread did not run for long. */
static bool leave_with_the_oldest(void)
{
    struct batcher_ticket low, high;
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    set_up_lane(&(struct batcher_lane_limits){.max_rows = 64, .n_priorities = 2, .max_delay_us = 200000});
    CHECK_EQ(submit(&lanes[0], &low, 3, 2), EBM_OK);
    (void)nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
    CHECK_EQ(submit(&lanes[0], &high, 5, 1), EBM_OK);
    CHECK(batcher_take(batcher, &batch));
    uint64_t now_us = ebm_clock_us();
    CHECK(now_us - low.queued_us >= 200000);
    CHECK_EQ(batch.n_rows, 8);
    CHECK(parts[0].ticket == &high);
    tear_down();
    return now_us - high.queued_us < 200000;
}

static void test_a_lane_waits_by_its_own_delay(void)
{
    bool is_early = false;
    for (uint32_t i = 0; i < 20 && !is_early; i++)
        is_early = leave_with_the_oldest();
    CHECK(is_early);
}

/* Only what leaves before it counts; a lane that may have one batch out has one thread. */
static void test_the_wait_is_that_of_a_priority_and_of_a_lanes_threads(void)
{
    struct batcher_ticket low, high, other;
    struct batcher_work work = {.n_rows = 1, .priority = 1, .row_ns = 1000, .patience_ns = 30000};
    struct batcher_verdict verdict = {.wait_ns = 0};
    set_up_lane(&(struct batcher_lane_limits){.max_rows = 64, .n_priorities = 2, .max_batches = 1});
    batcher = batcher_free(batcher);
    CHECK_EQ(batcher_new(&(struct batcher_limits){.max_rows = 1000, .n_threads = 4}, &batcher), EBM_OK);
    CHECK_EQ(submit_weighed(&lanes[0], &low, 100, 2, 1000), EBM_OK);
    CHECK_EQ(submit_weighed(&lanes[0], &high, 10, 1, 1000), EBM_OK);
    CHECK_EQ(batcher_submit(batcher, &lanes[0], &other, &work, &verdict), EBM_OK);
    CHECK_EQ(batcher_withdraw(batcher, &other), 1);
    work.priority = 2;
    CHECK_EQ(batcher_submit(batcher, &lanes[0], &other, &work, &verdict), EBM_BUSY);
    CHECK_EQ(verdict.wait_ns, 110000);
    CHECK_EQ(batcher_withdraw(batcher, &low) + batcher_withdraw(batcher, &high), 110);
    tear_down();
}

static void *take_one(void *argument)
{
    struct batcher_batch *batch = argument;
    CHECK(batcher_take(batcher, batch));
    return NULL;
}

static void test_a_lane_has_no_more_batches_out_than_it_may(void)
{
    struct batcher_ticket a, b;
    struct batcher_part parts[64], others[64];
    struct batcher_batch first = {.parts = parts}, second = {.parts = others};
    pthread_t thread;
    set_up_lane(&(struct batcher_lane_limits){.max_rows = 64, .max_batches = 1});
    CHECK_EQ(submit(&lanes[0], &a, 100, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[1], &b, 5, 1), EBM_OK);
    CHECK(batcher_take(batcher, &first));
    CHECK_EQ(first.n_rows, 64);
    CHECK(batcher_take(batcher, &second)); /* the other lane's: the first has its batch out */
    CHECK(second.lane == &lanes[1]);
    batcher_done(batcher, second.lane);
    CHECK_EQ(pthread_create(&thread, NULL, take_one, &second), 0);
    (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    batcher_done(batcher, first.lane);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(second.lane == &lanes[0]);
    CHECK_EQ(second.n_rows, 36);
    batcher_done(batcher, second.lane);
    tear_down();
}

static void test_a_call_brings_every_thread_back_once(void)
{
    struct batcher_ticket a;
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts}, other = {.parts = parts};
    pthread_t thread;
    set_up(1000, 0);
    CHECK_EQ(pthread_create(&thread, NULL, take_one, &other), 0);
    (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    batcher_call(batcher);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(other.lane == NULL && other.n_rows == 0);
    CHECK_EQ(submit(&lanes[0], &a, 5, 1), EBM_OK);
    CHECK(batcher_take(batcher, &batch));
    CHECK(batch.lane == NULL); /* not told before */
    CHECK(batcher_take(batcher, &batch));
    CHECK_EQ(batch.n_rows, 5);
    batcher_stop(batcher);
    CHECK(!batcher_take(batcher, &batch));
    batcher = batcher_free(batcher);
}

static void test_a_batch_that_is_returned_stays_one_and_goes_first(void)
{
    struct batcher_ticket a, b;
    struct batcher_part parts[64], others[64];
    struct batcher_batch first = {.parts = parts}, second = {.parts = others};
    set_up_lane(&(struct batcher_lane_limits){.max_rows = 64, .max_batches = 1});
    CHECK_EQ(submit(&lanes[0], &a, 100, 1), EBM_OK);
    CHECK_EQ(submit(&lanes[1], &b, 5, 1), EBM_OK);
    CHECK(batcher_take(batcher, &first));
    CHECK(batcher_return(batcher, &first));
    batcher_leave(batcher);
    CHECK(batcher_take(batcher, &second));
    CHECK(second.lane == NULL); /* somebody left */
    CHECK(batcher_take(batcher, &second));
    CHECK(second.lane == &lanes[0] && second.n_parts == 1 && others[0].ticket == &a);
    CHECK_EQ(others[0].first_row, 0);
    CHECK_EQ(others[0].n_rows, 64);
    CHECK(batcher_take(batcher, &first) && first.lane == NULL);
    CHECK(batcher_take(batcher, &first)); /* the other lane's: the first still has its batch out */
    CHECK(first.lane == &lanes[1]);
    batcher_stop(batcher);
    CHECK(!batcher_return(batcher, &first));
    batcher_done(batcher, &lanes[1]);
    batcher_done(batcher, &lanes[0]);
    CHECK(batcher_take(batcher, &second));
    CHECK_EQ(others[0].first_row, 64);
    CHECK_EQ(others[0].n_rows, 36);
    batcher_done(batcher, &lanes[0]);
    CHECK(!batcher_take(batcher, &second));
    batcher = batcher_free(batcher);
}

/* ---- many threads ---- */

static struct request requests[SUBMITTERS][TICKETS];
static _Atomic uint32_t n_finished, n_refused, n_withdrawn;
static _Atomic uint64_t taken_rows;

static void submit_one(struct request *request)
{
    while (submit(&lanes[request->lane], &request->ticket, request->n_rows, 1) != EBM_OK) {
        (void)atomic_fetch_add(&n_refused, 1);
        (void)nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

static void *submit_all(void *argument)
{
    struct request *mine = argument;
    for (uint32_t i = 0; i < TICKETS; i++) {
        submit_one(&mine[i]);
        if (i % 5 == 4) { /* a client leaves: some of its rows may be on their way already */
            uint32_t withdrawn = batcher_withdraw(batcher, &mine[i - 1].ticket);
            uint32_t before = atomic_fetch_add(&mine[i - 1].n_taken, withdrawn);
            (void)atomic_fetch_add(&n_withdrawn, withdrawn);
            if (withdrawn > 0 && before + withdrawn == mine[i - 1].n_rows)
                (void)atomic_fetch_add(&n_finished, 1);
        }
    }
    return NULL;
}

static void check_part(const struct batcher_batch *batch, const struct batcher_part *part)
{
    struct request *request = EBM_CONTAINER_OF(part->ticket, struct request, ticket);
    CHECK(batch->lane == &lanes[request->lane]);
    CHECK(part->n_rows > 0 && part->first_row + part->n_rows <= request->n_rows);
    for (uint32_t row = part->first_row; row < part->first_row + part->n_rows; row++)
        CHECK_EQ(atomic_exchange(&request->seen[row], 1), 0);
    uint32_t before = atomic_fetch_add(&request->n_taken, part->n_rows);
    if (before + part->n_rows == request->n_rows)
        (void)atomic_fetch_add(&n_finished, 1);
}

struct taker {
    struct batcher_part parts[64];
    struct batcher_batch batch;
    uint32_t left; /* batches until it returns one and leaves */
};

static void *take_all(void *argument)
{
    struct taker *taker = argument;
    struct batcher_part *parts = taker->parts;
    struct batcher_batch *own = &taker->batch;
    *own = (struct batcher_batch){.parts = parts};
    while (batcher_take(batcher, own)) {
        const struct batcher_batch batch = *own;
        if (batch.lane == NULL)
            continue; /* another one left */
        if (taker->left-- == 0 && batcher_return(batcher, own)) {
            batcher_leave(batcher);
            break;
        }
        uint32_t sum = 0;
        for (uint32_t p = 0; p < batch.n_parts; p++) {
            check_part(&batch, &parts[p]);
            sum += parts[p].n_rows;
        }
        CHECK_EQ(sum, batch.n_rows);
        CHECK(batch.n_rows >= 1 && batch.n_rows <= batch.lane->limits.max_rows);
        (void)atomic_fetch_add(&taken_rows, sum);
    }
    return NULL;
}

static uint64_t draw_requests(uint64_t seed)
{
    uint64_t rows = 0;
    for (uint32_t s = 0; s < SUBMITTERS; s++)
        for (uint32_t i = 0; i < TICKETS; i++) {
            uint32_t words[4];
            ebm_philox(seed, s, i, 0, 0, words);
            struct request *request = &requests[s][i];
            *request = (struct request){.lane = words[0] % LANES};
            request->n_rows = words[1] % 4 ? 1 + words[2] % 3 : 1 + words[2] % MAX_ROWS;
            rows += request->n_rows;
        }
    return rows;
}

static void test_no_row_is_lost_or_crossed(uint64_t seed, uint64_t max_delay_us)
{
    static struct taker all[TAKERS]; /* the first stays */
    pthread_t submitters[SUBMITTERS], takers[TAKERS];
    uint64_t rows = draw_requests(seed);
    n_finished = n_withdrawn = 0;
    taken_rows = 0;
    set_up(500, max_delay_us);
    for (uint32_t t = 0; t < TAKERS; t++) {
        all[t].left = t == 0 ? UINT32_MAX : 500 * t;
        CHECK_EQ(pthread_create(&takers[t], NULL, take_all, &all[t]), 0);
    }
    for (uint32_t s = 0; s < SUBMITTERS; s++)
        CHECK_EQ(pthread_create(&submitters[s], NULL, submit_all, requests[s]), 0);
    for (uint32_t s = 0; s < SUBMITTERS; s++)
        CHECK_EQ(pthread_join(submitters[s], NULL), 0);
    batcher_stop(batcher);
    for (uint32_t t = 0; t < TAKERS; t++)
        CHECK_EQ(pthread_join(takers[t], NULL), 0);
    CHECK_EQ(n_finished, SUBMITTERS * TICKETS);
    CHECK_EQ(taken_rows + n_withdrawn, rows);
    struct batcher_stats stats = batcher_stats(batcher);
    CHECK_EQ(stats.rows, taken_rows);
    (void)printf("rows %" PRIu64 ", batches %" PRIu64 ", withdrawn %" PRIu32 ", refused and tried again %" PRIu32 "\n",
                 stats.rows, stats.batches, n_withdrawn, n_refused);
    batcher = batcher_free(batcher);
}

/* One taker: the order in which rows leave a lane is the order of submission. */
static void test_fifo_in_each_lane(void)
{
    struct batcher_part parts[64];
    struct batcher_batch batch = {.parts = parts};
    uint32_t next_order[LANES] = {0}, next_row[LANES] = {0}, submitted[LANES] = {0};
    uint64_t rows = draw_requests(3);
    uint64_t taken = 0;
    set_up(UINT32_MAX, 0);
    for (uint32_t i = 0; i < TICKETS; i++) {
        requests[0][i].order = submitted[requests[0][i].lane]++;
        submit_one(&requests[0][i]);
    }
    batcher_stop(batcher);
    while (batcher_take(batcher, &batch))
        for (uint32_t p = 0; p < batch.n_parts; p++) {
            struct request *request = EBM_CONTAINER_OF(parts[p].ticket, struct request, ticket);
            uint32_t lane = request->lane;
            CHECK_EQ(request->order, next_order[lane]);
            CHECK_EQ(parts[p].first_row, next_row[lane]);
            next_row[lane] += parts[p].n_rows;
            taken += parts[p].n_rows;
            if (next_row[lane] == request->n_rows) {
                next_order[lane]++;
                next_row[lane] = 0;
            }
        }
    for (uint32_t i = 0; i < TICKETS; i++)
        rows -= requests[1][i].n_rows; /* not submitted here */
    CHECK_EQ(taken, rows);
    batcher = batcher_free(batcher);
}

int main(void)
{
    test_full_is_refused_and_the_bound_is_exact();
    test_a_request_spans_batches_in_order();
    test_withdrawn_in_the_middle();
    test_a_batch_has_what_pays_and_no_more();
    test_rows_leave_in_whole_groups();
    test_groups_are_of_the_rows_that_pay();
    test_lanes_take_turns();
    test_lanes_are_served_by_what_they_cost();
    test_a_lane_saves_up_no_turns();
    test_who_would_wait_too_long_is_refused_and_told_how_long();
    test_a_short_batch_waits_for_company_and_a_full_one_does_not();
    test_the_highest_priority_leaves_first_and_the_older_one_among_equals();
    test_a_lane_refuses_more_tickets_than_it_may_hold();
    test_the_wait_is_that_of_a_priority_and_of_a_lanes_threads();
    test_a_lane_waits_by_its_own_delay();
    test_a_lane_has_no_more_batches_out_than_it_may();
    test_a_call_brings_every_thread_back_once();
    test_a_batch_that_is_returned_stays_one_and_goes_first();
    test_fifo_in_each_lane();
    test_no_row_is_lost_or_crossed(1, 0);
    test_no_row_is_lost_or_crossed(2, 200);
    return check_result("batcher");
}
