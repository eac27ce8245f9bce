/* job.c - references and the one atomic state of a job; the picture stands in job.h.
 *
 * Every change of state is a compare-and-swap from a state in which the caller may act, so that a worker that finishes
 * and a loop that gives up at the same moment agree on who came first. Writes before job_finish are visible to whoever
 * sees DONE, writes to predictions before job_rows_done to whoever finishes the last row. */
#include "server/job.h"

#include <stdlib.h>

struct job *job_new(enum request_kind kind, struct ebm_buf *body, size_t max_arena_bytes)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    atomic_init(&job->references, 1);
    atomic_init(&job->state, JOB_QUEUED);
    ebm_arena_init(&job->arena, max_arena_bytes);
    ebm_buf_init(&job->answer, 0);
    ebm_list_init(&job->mail);
    ebm_list_init(&job->ticket.link);
    deadline_init(&job->deadline);
    job->kind = kind;
    job->body = *body;
    ebm_buf_init(body, 0);
    return job;
}

struct job *job_ref(struct job *job)
{
    (void)atomic_fetch_add_explicit(&job->references, 1, memory_order_relaxed);
    return job;
}

struct job *job_unref(struct job *job)
{
    if (!job || atomic_fetch_sub_explicit(&job->references, 1, memory_order_acq_rel) != 1)
        return NULL;
    ebm_arena_done(&job->arena);
    ebm_buf_done(&job->body);
    ebm_buf_done(&job->answer);
    (void)model_store_entry_unref(job->model);
    free(job);
    return NULL;
}

enum job_state job_state(const struct job *job)
{
    return (enum job_state)atomic_load_explicit(&job->state, memory_order_acquire);
}

static bool change(struct job *job, enum job_state from, enum job_state to)
{
    uint32_t expected = from;
    return atomic_compare_exchange_strong_explicit(&job->state, &expected, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

bool job_start(struct job *job)
{
    return change(job, JOB_QUEUED, JOB_RUNNING) || job_state(job) == JOB_RUNNING;
}

bool job_requeue(struct job *job)
{
    return change(job, JOB_RUNNING, JOB_QUEUED);
}

bool job_finish(struct job *job)
{
    return change(job, JOB_RUNNING, JOB_DONE);
}

bool job_abandon(struct job *job)
{
    for (;;) {
        if (change(job, JOB_QUEUED, JOB_ABANDONED) || change(job, JOB_RUNNING, JOB_ABANDONED))
            return true;
        enum job_state state = job_state(job);
        if (state == JOB_DONE || state == JOB_ABANDONED)
            return false;
    }
}

bool job_hurry(struct job *job)
{
    if (atomic_load_explicit(&job->started_us, memory_order_relaxed) == 0)
        return false;
    atomic_store_explicit(&job->is_hurried, true, memory_order_relaxed);
    return true;
}

bool job_is_hurried(const void *who)
{
    const struct job *job = who;
    return atomic_load_explicit(&job->is_hurried, memory_order_relaxed);
}

bool job_is_wanted(const void *who)
{
    const struct job *job = who;
    return atomic_load_explicit(&job->state, memory_order_relaxed) != JOB_ABANDONED;
}

bool job_rows_done(struct job *job, uint32_t n)
{
    return atomic_fetch_sub_explicit(&job->rows_left, n, memory_order_acq_rel) == n;
}

/* Only what is the loop's, or any thread's: a job that is not done may still be a worker's. */
struct job_times job_times_of(const struct job *job, uint64_t now_us)
{
    uint64_t started_us = atomic_load_explicit(&job->started_us, memory_order_relaxed);
    uint64_t ended_us = job_state(job) == JOB_DONE ? job->finished_us : now_us;
    struct job_times times = {.has_begun = started_us > 0};
    times.queue_us = (times.has_begun ? started_us : now_us) - job->accepted_us;
    if (times.has_begun && ended_us > started_us)
        times.compute_us = ended_us - started_us;
    return times;
}
