/* compute.c - rows of a batch through an engine, and answers of the jobs that are complete.
 *
 *   batch -> rows that somebody wants -> ebm_engine_predict -> last row of a job -> JSON -> DONE -> done()
 *
 * Guarantees: a CPU that fails costs the jobs of that batch only. A GPU that fails does so for good, which is told, and
 * costs none while others compute.
 * Does not know: where batches come from, or where jobs go. */
#include "server/compute.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/clock.h"

struct compute {
    struct compute_config config; /* fixed */
    pthread_mutex_t mutex;        /* free but for a loader that makes a model ready */
    /* under mutex */
    struct ebm_engine *engine;
    struct ebm_item *items; /* (max_rows) */
};

enum ebm_status compute_new(const struct compute_config *config, struct compute **ret_compute, struct ebm_error *reterr)
{
    struct compute *compute = calloc(1, sizeof *compute);
    struct ebm_item *items = calloc(config->limits.max_rows, sizeof *items);
    if (!compute || !items) {
        free(compute);
        free(items);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "worker", "no memory");
    }
    compute->config = *config;
    compute->items = items;
    (void)pthread_mutex_init(&compute->mutex, NULL);
    enum ebm_status status = ebm_engine_new(config->devices->ops, &config->limits, &compute->engine, reterr);
    if (status == EBM_OK)
        *ret_compute = compute;
    else
        (void)compute_free(compute);
    return status;
}

struct compute *compute_free(struct compute *compute)
{
    if (!compute)
        return NULL;
    (void)ebm_engine_free(compute->engine);
    (void)pthread_mutex_destroy(&compute->mutex);
    free(compute->items);
    free(compute);
    return NULL;
}

static bool is_fit(const struct compute *compute)
{
    return devices_is_fit(compute->config.devices, compute->config.limits.device);
}

bool compute_is_over(const struct compute *compute)
{
    return !is_fit(compute) && devices_any_fit(compute->config.devices);
}

/* Under the mutex. */
static enum ebm_status prepare(struct compute *compute, const struct ebm_model *model, const struct ebm_plan *plan,
                               struct ebm_error *reterr)
{
    if (!is_fit(compute))
        return ebm_error_set(reterr, EBM_DEVICE, "worker", "its device has failed");
    enum ebm_status status = ebm_engine_prepare(compute->engine, model, plan, reterr);
    if (status == EBM_OK)
        status = ebm_engine_check(compute->engine, model, plan, reterr);
    if (status == EBM_DEVICE)
        devices_fail(compute->config.devices, compute->config.limits.device);
    return status;
}

enum ebm_status compute_prepare(struct compute *compute, const struct ebm_model *model, const struct ebm_plan *plan,
                                struct ebm_error *reterr)
{
    (void)pthread_mutex_lock(&compute->mutex);
    enum ebm_status status = prepare(compute, model, plan, reterr);
    (void)pthread_mutex_unlock(&compute->mutex);
    return status;
}

enum ebm_status compute_prepare_measured(struct compute *compute, struct model_store_entry *entry,
                                         struct ebm_error *reterr)
{
    ebm_device_thread_init();
    (void)pthread_mutex_lock(&compute->mutex);
    enum ebm_status status = prepare(compute, entry->model, entry->plan, reterr);
    if (status == EBM_OK) {
        cost_measure(&entry->cost, compute->engine, entry->model, entry->plan, compute->config.limits.max_rows);
        model_store_entry_size_batches(entry);
    }
    (void)pthread_mutex_unlock(&compute->mutex);
    return status;
}

/* ---- a batch ---- */

static void note_start(struct job *job)
{
    uint64_t none = 0;
    (void)atomic_compare_exchange_strong_explicit(&job->started_us, &none, ebm_clock_us(), memory_order_relaxed,
                                                  memory_order_relaxed);
}

/* The rows of a batch that somebody still wants. */
static uint32_t stage(struct compute *compute, const struct batcher_batch *batch)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < batch->n_parts; p++) {
        const struct batcher_part *part = &batch->parts[p];
        struct job *job = EBM_CONTAINER_OF(part->ticket, struct job, ticket);
        if (!job_start(job))
            continue;
        note_start(job);
        for (uint32_t i = 0; i < part->n_rows; i++)
            compute->items[n++] = operation_item(job, part->first_row + i);
    }
    return n;
}

/* The last row of the job is done. */
static void complete(const struct compute *compute, struct job *job, compute_done_fn *done, void *user)
{
    enum ebm_status failure = (enum ebm_status)atomic_load_explicit(&job->failure, memory_order_relaxed);
    if (job_is_wanted(job)) {
        job->computed_us = ebm_clock_us();
        if (failure == EBM_OK)
            operation_encode(compute->config.service, job);
        else
            (void)ebm_error_set(&job->error, failure, "", "the computation failed: %s", ebm_status_text(failure));
        job->finished_us = ebm_clock_us();
    }
    done(user, job, job_finish(job));
}

/* What the staged rows should cost, when all are of one estimator; 0: not known. */
static double expected_ns(const struct compute *compute, const struct cost *cost, uint32_t n)
{
    double sum_ns = 0.0;
    enum ebm_estimator first = compute->items[0].resolved->spec.estimator;
    for (uint32_t i = 0; i < n; i++) {
        const struct job *job = compute->items[i].who;
        if (job->resolved.spec.estimator != first)
            return 0.0;
        sum_ns += cost_of_row(cost, first, job->row_numbers);
    }
    return sum_ns + cost->batch_ns;
}

/* The staged rows, of which the batch began then. */
static enum ebm_status predict(struct compute *compute, struct model_store_entry *entry, uint32_t n, uint64_t began_ns)
{
    double expected = expected_ns(compute, &entry->cost, n);
    uint64_t staged_ns = ebm_clock_ns();
    enum ebm_status status = ebm_engine_predict(compute->engine, entry->model, entry->plan, compute->items, n);
    uint64_t took_ns = ebm_clock_ns() - staged_ns;
    if (status != EBM_OK)
        return status;
    cost_learn(&entry->cost, compute->items[0].resolved->spec.estimator, expected, (double)took_ns);
    const struct ebm_config *config = ebm_model_config(entry->model);
    metrics_count_batch(compute->config.metrics, entry->counts,
                        &(struct metrics_batch){compute->items, n, config->target.std, config->target.dim});
    statistics_batch(&entry->counts->statistics, n, staged_ns - began_ns, took_ns);
    return EBM_OK;
}

static void finish_parts(const struct compute *compute, const struct batcher_batch *batch, enum ebm_status status,
                         compute_done_fn *done, void *user)
{
    for (uint32_t p = 0; p < batch->n_parts; p++) {
        struct job *job = EBM_CONTAINER_OF(batch->parts[p].ticket, struct job, ticket);
        if (status != EBM_OK)
            atomic_store_explicit(&job->failure, (uint32_t)status, memory_order_relaxed);
        if (job_rows_done(job, batch->parts[p].n_rows))
            complete(compute, job, done, user);
    }
}

/* The device failed with these jobs. False: another one did before, with one of them at least. */
static bool is_first_failure(const struct compute *compute, const struct batcher_batch *batch)
{
    const uint32_t own = 1u << compute->config.limits.device;
    uint32_t all = own;
    for (uint32_t p = 0; p < batch->n_parts; p++) {
        struct job *job = EBM_CONTAINER_OF(batch->parts[p].ticket, struct job, ticket);
        all |= atomic_fetch_or_explicit(&job->failed_on, own, memory_order_relaxed);
    }
    return all == own;
}

/* Under the mutex. */
static bool run(struct compute *compute, const struct batcher_batch *batch, compute_done_fn *done, void *user)
{
    struct model_store_entry *entry = EBM_CONTAINER_OF(batch->lane, struct model_store_entry, lane);
    if (compute_is_over(compute))
        return false;
    struct metrics_model *counts = metrics_model_ref(entry->counts); /* the entry may go with its last job */
    uint64_t began_ns = ebm_clock_ns();
    uint32_t n = stage(compute, batch);
    enum ebm_status status = n == 0 ? EBM_OK : is_fit(compute) ? predict(compute, entry, n, began_ns) : EBM_DEVICE;
    uint64_t computed_ns = ebm_clock_ns();
    if (status == EBM_DEVICE)
        devices_fail(compute->config.devices, compute->config.limits.device);
    if (status == EBM_DEVICE && compute_is_over(compute) && is_first_failure(compute, batch)) {
        (void)metrics_model_unref(counts);
        return false;
    }
    if (compute->config.batcher)
        batcher_done(compute->config.batcher, batch->lane);
    finish_parts(compute, batch, status, done, user);
    if (n > 0 && status == EBM_OK)
        statistics_output(&counts->statistics, n, ebm_clock_ns() - computed_ns);
    (void)metrics_model_unref(counts);
    return true;
}

bool compute_batch(struct compute *compute, const struct batcher_batch *batch, compute_done_fn *done, void *user)
{
    (void)pthread_mutex_lock(&compute->mutex);
    bool is_done = run(compute, batch, done, user);
    (void)pthread_mutex_unlock(&compute->mutex);
    return is_done;
}

void compute_fail_batch(struct compute *compute, const struct batcher_batch *batch, compute_done_fn *done, void *user)
{
    if (compute->config.batcher)
        batcher_done(compute->config.batcher, batch->lane);
    finish_parts(compute, batch, EBM_DEVICE, done, user);
}

bool compute_batch_now(struct compute *compute, const struct batcher_batch *batch, compute_done_fn *done, void *user)
{
    if (pthread_mutex_trylock(&compute->mutex) != 0)
        return false;
    bool is_done = run(compute, batch, done, user);
    (void)pthread_mutex_unlock(&compute->mutex);
    return is_done;
}
