/* test_job.c - a worker that finishes and a loop that gives up at the same moment: one of them wins, the job is freed
 * once, rows that end on several threads have one last. ThreadSanitizer and AddressSanitizer look for the rest. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "server/job.h"
#include "tests/threads/check.h"

enum { JOBS = 20000, FINISHERS = 3 };

static struct job *job_of(const char *text)
{
    struct ebm_buf body;
    ebm_buf_init(&body, 100);
    CHECK_EQ(ebm_buf_text(&body, text), EBM_OK);
    struct job *job = job_new(REQUEST_PREDICT, &body, 1 << 20);
    CHECK(job != NULL && body.bytes == NULL);
    return job;
}

static void test_states_of_one_thread(void)
{
    struct job *job = job_of("{}");
    CHECK_EQ(strcmp(job->body.bytes, "{}"), 0);
    CHECK_EQ(job_state(job), JOB_QUEUED);
    CHECK(!job_finish(job)); /* not running */
    CHECK(!job_requeue(job));
    CHECK(job_start(job) && job_start(job)); /* by the second worker of a job that spans batches too */
    CHECK(job_requeue(job));
    CHECK_EQ(job_state(job), JOB_QUEUED);
    CHECK(job_start(job));
    CHECK(job_finish(job));
    CHECK(!job_abandon(job));
    CHECK_EQ(job_state(job), JOB_DONE);
    CHECK(job_is_wanted(job));
    CHECK(job_unref(job) == NULL);

    job = job_of("{}");
    CHECK(job_abandon(job));
    CHECK(!job_abandon(job));
    CHECK(!job_start(job));
    CHECK(!job_is_wanted(job));
    CHECK(job_unref(job_ref(job)) == NULL);
    CHECK(job_unref(job) == NULL);
    CHECK(job_unref(NULL) == NULL);
}

/* ---- races ---- */

static struct job *jobs[JOBS];
static uint32_t started[JOBS], finished[JOBS], abandoned[JOBS]; /* each written by one thread */
static _Atomic uint32_t n_last[JOBS];
static pthread_barrier_t barrier;
static _Atomic uint32_t place[2]; /* the job that each of the two has come to */

/* For what another thread does in a moment; asleep when it has no CPU for that: who yields over and over on a busy
 * machine is put behind everybody each time. */
static void wait_a_little(uint32_t *turns)
{
    if (++*turns > 5000)
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

/* Waits until the other has come to job i too, so that both act on it at the same moment. */
static void meet(uint32_t me, uint32_t i)
{
    uint32_t turns = 0;
    atomic_store_explicit(&place[me], i + 1, memory_order_relaxed);
    while (atomic_load_explicit(&place[1 - me], memory_order_relaxed) < i + 1)
        wait_a_little(&turns);
}

/* Three of four jobs are forced into an order, the fourth goes as it likes. */
enum order { FINISH_FIRST, ABANDON_QUEUED, ABANDON_RUNNING, RACE, ORDERS };

static void wait_for_state(const struct job *job, enum job_state state)
{
    uint32_t turns = 0;
    while (job_state(job) != state)
        wait_a_little(&turns);
}

/* A race is decided by nanoseconds: the worker, who comes last, spends more of them. */
static void spend(uint32_t rounds)
{
    for (volatile uint32_t i = 0; i < rounds; i++)
        continue;
}

static void *work(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; i < JOBS; i++) {
        struct job *job = jobs[i];
        meet(0, i);
        if (i % ORDERS == ABANDON_QUEUED)
            wait_for_state(job, JOB_ABANDONED);
        else if (i % ORDERS == RACE)
            spend(i / ORDERS % 509 * 8);
        started[i] = job_start(job);
        if (started[i]) {
            if (i % ORDERS == ABANDON_RUNNING)
                wait_for_state(job, JOB_ABANDONED);
            job->finished_us = i; /* the loop may read it once it sees DONE */
            finished[i] = job_finish(job);
        }
        (void)job_unref(job);
    }
    return NULL;
}

static void *give_up(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; i < JOBS; i++) {
        struct job *job = jobs[i];
        meet(1, i);
        if (i % ORDERS == FINISH_FIRST)
            wait_for_state(job, JOB_DONE);
        else if (i % ORDERS == ABANDON_RUNNING)
            wait_for_state(job, JOB_RUNNING);
        else if (i % ORDERS == RACE)
            spend(i / ORDERS % 1021);
        abandoned[i] = job_abandon(job);
        if (!abandoned[i]) {
            CHECK_EQ(job_state(job), JOB_DONE);
            CHECK_EQ(job->finished_us, i);
        }
        (void)job_unref(job);
    }
    return NULL;
}

static void test_finish_and_abandon_have_one_winner(void)
{
    pthread_t worker, loop;
    uint32_t n_finished = 0, n_running = 0, n_races_finished = 0;
    for (uint32_t i = 0; i < JOBS; i++)
        jobs[i] = job_ref(job_of("{}"));
    CHECK_EQ(pthread_create(&worker, NULL, work, NULL), 0);
    CHECK_EQ(pthread_create(&loop, NULL, give_up, NULL), 0);
    CHECK_EQ(pthread_join(worker, NULL), 0);
    CHECK_EQ(pthread_join(loop, NULL), 0);
    for (uint32_t i = 0; i < JOBS; i++) {
        CHECK_EQ(finished[i] + abandoned[i], 1);
        n_finished += finished[i];
        n_running += started[i] && abandoned[i];
        n_races_finished += i % ORDERS == RACE && finished[i];
    }
    CHECK(n_finished >= JOBS / ORDERS);
    CHECK(n_running >= JOBS / ORDERS);
    CHECK(JOBS - n_finished - n_running >= JOBS / ORDERS);
    (void)printf("of %d jobs %" PRIu32 " finished first, %" PRIu32 " were given up while they ran; of %d races %" PRIu32
                 " were finished first\n",
                 JOBS, n_finished, n_running, JOBS / ORDERS, n_races_finished);
}

static void *finish_rows(void *argument)
{
    uint32_t n = *(const uint32_t *)argument;
    (void)pthread_barrier_wait(&barrier);
    for (uint32_t i = 0; i < JOBS; i++)
        if (job_rows_done(jobs[i], n)) {
            (void)atomic_fetch_add(&n_last[i], 1);
            (void)job_unref(jobs[i]);
        }
    return NULL;
}

static void test_the_last_rows_come_once(void)
{
    static const uint32_t rows[FINISHERS] = {1, 64, 7};
    pthread_t threads[FINISHERS];
    for (uint32_t i = 0; i < JOBS; i++) {
        jobs[i] = job_of("{}");
        atomic_store(&jobs[i]->rows_left, 72);
    }
    (void)pthread_barrier_init(&barrier, NULL, FINISHERS);
    for (uint32_t t = 0; t < FINISHERS; t++)
        CHECK_EQ(pthread_create(&threads[t], NULL, finish_rows, (void *)&rows[t]), 0);
    for (uint32_t t = 0; t < FINISHERS; t++)
        CHECK_EQ(pthread_join(threads[t], NULL), 0);
    (void)pthread_barrier_destroy(&barrier);
    for (uint32_t i = 0; i < JOBS; i++)
        CHECK_EQ(n_last[i], 1);
}

int main(void)
{
    test_states_of_one_thread();
    test_finish_and_abandon_have_one_winner();
    test_the_last_rows_come_once();
    return check_result("job");
}
