/* worker.c - takes batches, computes, sends finished jobs home.
 *
 *   batcher_take -> nothing:    somebody wants a further model made ready: contexts are each worker's own
 *                -> read lane:  body -> request -> admitted job            -> mailbox (the loop queues its rows)
 *                -> model lane: compute.c; jobs that are complete          -> mailbox
 *
 * Thread: each worker's own; a worker never touches a connection, and knows a job only while it holds its travelling
 * reference or rows of it. Worker i computes on device i modulo how many there are; when that fails, while others do
 * not, the batch goes back to the batcher as it is, and the worker goes home.
 *
 * Guarantees: a job comes back exactly once after its last row; one that was abandoned is dropped by whoever holds it
 * last; a device that fails costs nothing while another one computes, else the jobs, not the server. */
#include "server/worker.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/clock.h"
#include "server/quiet.h"

struct worker {
    struct worker_pool *pool;
    pthread_t thread;
    /* its own thread only */
    struct compute *compute;
    struct batcher_batch batch; /* the batcher's once it is returned; its parts (max_rows) stay until the pool goes */
    uint64_t n_called;          /* models that it was asked to prepare */
};

struct worker_pool {
    struct worker_config config; /* fixed */
    uint32_t n_started;          /* fixed after worker_pool_new */
    struct worker *workers;
    pthread_mutex_t mutex;
    pthread_cond_t prepared;
    /* under mutex */
    uint32_t n_working;            /* workers that have not gone home */
    uint32_t n_prepared;           /* of them, of the last call */
    struct ebm_error error;        /* of the first that could not prepare */
    uint64_t n_calls;              /* of worker_pool_prepare */
    const struct ebm_model *model; /* of the last call */
    const struct ebm_plan *plan;
};

/* ---- preparing ---- */

static enum ebm_status make_room(struct worker *worker, struct ebm_error *reterr)
{
    struct compute_config config = worker->pool->config.compute;
    config.limits.device = (uint32_t)(worker - worker->pool->workers) % config.devices->ops->n_devices;
    worker->batch.parts = calloc(config.limits.max_rows, sizeof *worker->batch.parts);
    if (!worker->batch.parts)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "worker", "no memory");
    return compute_new(&config, &worker->compute, reterr);
}

static void report(struct worker_pool *pool, const struct ebm_error *error)
{
    (void)pthread_mutex_lock(&pool->mutex);
    pool->n_prepared++;
    if (error->status != EBM_OK && pool->error.status == EBM_OK)
        pool->error = *error;
    (void)pthread_cond_signal(&pool->prepared);
    (void)pthread_mutex_unlock(&pool->mutex);
}

static bool report_prepared(struct worker *worker)
{
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = make_room(worker, &error);
    report(worker->pool, &error);
    return status == EBM_OK;
}

/* The batcher called: is there a model that this worker does not have yet? */
static void prepare_called(struct worker *worker)
{
    struct worker_pool *pool = worker->pool;
    struct ebm_error error = {.status = EBM_OK};
    (void)pthread_mutex_lock(&pool->mutex);
    bool is_new = worker->n_called != pool->n_calls;
    const struct ebm_model *model = pool->model;
    const struct ebm_plan *plan = pool->plan;
    worker->n_called = pool->n_calls;
    (void)pthread_mutex_unlock(&pool->mutex);
    if (!is_new)
        return;
    if (compute_prepare(worker->compute, model, plan, &error) == EBM_OK || compute_is_over(worker->compute))
        error.status = EBM_OK;
    report(pool, &error);
}

/* ---- working ---- */

static void send_home(void *user, struct job *job, bool is_wanted)
{
    (void)user;
    if (is_wanted)
        mailbox_post(job->home, &job->mail);
    else
        (void)job_unref(job);
}

static void read_job(struct worker *worker, struct job *job)
{
    const struct operation_service *service = worker->pool->config.compute.service;
    if (!job_rows_done(job, 1) || !job_start(job)) {
        (void)job_unref(job);
        return;
    }
    uint64_t began_us = ebm_clock_us();
    enum ebm_status status = job->is_read ? EBM_OK : operation_read(service, job);
    if (status == EBM_OK)
        status = operation_admit(service, job);
    job->input_us += ebm_clock_us() - began_us;
    send_home(worker, job, status == EBM_OK ? job_requeue(job) : job_finish(job));
}

/* False: the batch is the batcher's again. */
static bool compute_rows(struct worker *worker)
{
    struct batcher *batcher = worker->pool->config.compute.batcher;
    if (compute_batch(worker->compute, &worker->batch, send_home, worker))
        return true;
    if (batcher_return(batcher, &worker->batch))
        return false;
    compute_fail_batch(worker->compute, &worker->batch, send_home, worker);
    return true;
}

/* Nobody waits for it any more. */
static void go_home(struct worker *worker)
{
    struct worker_pool *pool = worker->pool;
    (void)pthread_mutex_lock(&pool->mutex);
    pool->n_working--;
    pool->n_prepared -= worker->n_called == pool->n_calls;
    (void)pthread_cond_signal(&pool->prepared);
    (void)pthread_mutex_unlock(&pool->mutex);
    batcher_leave(pool->config.compute.batcher);
}

static void work(struct worker *worker)
{
    const struct worker_config *config = &worker->pool->config;
    struct batcher_batch *batch = &worker->batch;
    bool stays = true;
    while (stays && batcher_take(config->compute.batcher, batch)) {
        if (!batch->lane)
            prepare_called(worker);
        else if (batch->lane == config->read_lane)
            read_job(worker, EBM_CONTAINER_OF(batch->parts[0].ticket, struct job, ticket));
        else
            stays = compute_rows(worker);
        stays = stays && !compute_is_over(worker->compute);
    }
    if (!stays)
        go_home(worker);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    ebm_device_thread_init();
    if (report_prepared(worker))
        work(worker);
    worker->compute = compute_free(worker->compute);
    return NULL;
}

/* ---- the pool ---- */

static void start_threads(struct worker_pool *pool)
{
    sigset_t before;
    quiet_begin(&before);
    for (uint32_t i = 0; i < pool->config.n_workers; i++) {
        pool->workers[i].pool = pool;
        if (pthread_create(&pool->workers[i].thread, NULL, run, &pool->workers[i]) != 0)
            break;
        pool->n_started++;
    }
    (void)pthread_mutex_lock(&pool->mutex);
    pool->n_working += pool->n_started;
    (void)pthread_mutex_unlock(&pool->mutex);
    quiet_end(&before);
}

static enum ebm_status wait_until_prepared(struct worker_pool *pool, struct ebm_error *reterr)
{
    (void)pthread_mutex_lock(&pool->mutex);
    while (pool->n_prepared < pool->n_working)
        (void)pthread_cond_wait(&pool->prepared, &pool->mutex);
    struct ebm_error error = pool->error;
    (void)pthread_mutex_unlock(&pool->mutex);
    if (pool->n_started < pool->config.n_workers)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--workers", "only %u of %u threads could be started",
                             pool->n_started, pool->config.n_workers);
    if (error.status != EBM_OK && reterr)
        *reterr = error;
    return error.status;
}

enum ebm_status worker_pool_new(const struct worker_config *config, struct worker_pool **ret_pool,
                                struct ebm_error *reterr)
{
    struct worker_pool *pool = calloc(1, sizeof *pool);
    struct worker *workers = calloc(config->n_workers, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "workers", "no memory");
    }
    pool->config = *config;
    pool->workers = workers;
    (void)pthread_mutex_init(&pool->mutex, NULL);
    (void)pthread_cond_init(&pool->prepared, NULL);
    start_threads(pool);
    enum ebm_status status = wait_until_prepared(pool, reterr);
    if (status != EBM_OK) {
        batcher_stop(config->compute.batcher);
        (void)worker_pool_free(pool);
        return status;
    }
    *ret_pool = pool;
    return EBM_OK;
}

enum ebm_status worker_pool_prepare(struct worker_pool *pool, const struct ebm_model *model,
                                    const struct ebm_plan *plan, struct ebm_error *reterr)
{
    (void)pthread_mutex_lock(&pool->mutex);
    pool->n_prepared = 0;
    pool->error.status = EBM_OK;
    pool->model = model;
    pool->plan = plan;
    pool->n_calls++;
    (void)pthread_mutex_unlock(&pool->mutex);
    batcher_call(pool->config.compute.batcher);
    return wait_until_prepared(pool, reterr);
}

struct worker_pool *worker_pool_free(struct worker_pool *pool)
{
    if (!pool)
        return NULL;
    for (uint32_t i = 0; i < pool->n_started; i++)
        (void)pthread_join(pool->workers[i].thread, NULL);
    for (uint32_t i = 0; i < pool->n_started; i++)
        free(pool->workers[i].batch.parts);
    (void)pthread_cond_destroy(&pool->prepared);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
    return NULL;
}
