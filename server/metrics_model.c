/* metrics_model.c - counting of one version of a model.
 *
 *   a batch         -> its size; rows, and those that are not reliable by the reason; what distributions were like
 *   a request's end -> its duration, what its job waited and took, why it failed
 *
 * Nothing here takes a lock or waits. Does not know: HTTP, texts. */
#include "server/metrics_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/estimate.h"
#include "server/job.h"
#include "server/reply.h"

#define LARGEST_VALUE 1000.0

/* seconds; the longest request has --timeout-ms, 30 s unless told otherwise */
const double metrics_time_bounds[METRICS_TIMES] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                   0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30,    60};
const double metrics_size_bounds[METRICS_SIZES] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
_Static_assert(1u << (METRICS_SIZES - 1) == LIMIT_BATCH_ROWS, "the last bound is the largest batch");

const double metrics_value_bounds[METRICS_VALUES][METRICS_BOUNDS] = {
    [METRICS_ESS_RATIO] = {0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1},
    [METRICS_PARETO_K] = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.5, 2, 3},
    [METRICS_RELATIVE_STD] = {0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10},
};

struct metrics_model *metrics_model_new(void)
{
    struct metrics_model *model = calloc(1, sizeof *model);
    if (model)
        atomic_init(&model->references, 1);
    return model;
}

struct metrics_model *metrics_model_ref(struct metrics_model *model)
{
    (void)atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

struct metrics_model *metrics_model_unref(struct metrics_model *model)
{
    if (model && atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) == 1)
        free(model);
    return NULL;
}

uint32_t metrics_bucket(double value, const double *bounds, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && value > bounds[i])
        i++;
    return i;
}

/* ---- rows ---- */

/* What one batch adds. */
struct tally {
    uint64_t rows;
    struct {
        uint32_t used; /* bits of the counts that are not 0 */
        uint32_t counts[METRICS_BOUNDS + 1];
        uint64_t sum_millionths;
    } values[METRICS_VALUES];
};

static void count_unreliable(struct metrics_model *model, const char *reason)
{
    for (uint32_t i = 0; i < METRICS_REASONS; i++) {
        const char *word = NULL;
        if (atomic_compare_exchange_strong(&model->unreliable[i].word, &word, reason) || strcmp(word, reason) == 0) {
            counter_add(&model->unreliable[i].rows, 1);
            return;
        }
    }
}

static void tally_value(struct tally *tally, enum metrics_value which, double value)
{
    if (isnan(value))
        return;
    value = value < 0 ? 0 : value > LARGEST_VALUE ? LARGEST_VALUE : value;
    uint32_t bucket = metrics_bucket(value, metrics_value_bounds[which], METRICS_BOUNDS);
    tally->values[which].used |= 1u << bucket;
    tally->values[which].counts[bucket]++;
    tally->values[which].sum_millionths += (uint64_t)(value * 1e6 + 0.5);
}

static double relative_std(const double *std, const struct metrics_batch *batch)
{
    double sum = 0.0;
    for (uint32_t d = 0; d < batch->D; d++)
        sum += std[d] / batch->target_std[d];
    return sum / batch->D;
}

static void tally_row(struct tally *tally, const struct metrics_batch *batch, const struct ebm_prediction *prediction)
{
    tally->rows++;
    if (prediction->estimator == EBM_ESTIMATE_IMPORTANCE && prediction->num_samples > 0) {
        tally_value(tally, METRICS_ESS_RATIO, prediction->ess / prediction->num_samples);
        tally_value(tally, METRICS_PARETO_K, prediction->pareto_k);
    }
    if (prediction->std)
        tally_value(tally, METRICS_RELATIVE_STD, relative_std(prediction->std, batch));
}

static void add_values(struct metrics_model *model, const struct tally *tally)
{
    for (uint32_t v = 0; v < METRICS_VALUES; v++) {
        if (tally->values[v].used == 0)
            continue;
        for (uint32_t left = tally->values[v].used; left != 0; left &= left - 1) {
            uint32_t i = (uint32_t)__builtin_ctz(left);
            counter_add(&model->values[v].counts[i], tally->values[v].counts[i]);
        }
        counter_add(&model->values[v].sum_millionths, tally->values[v].sum_millionths);
    }
}

void metrics_model_count_batch(struct metrics_model *model, const struct metrics_batch *batch)
{
    struct tally tally = {.rows = 0};
    for (uint32_t i = 0; i < batch->n; i++) {
        const struct ebm_prediction *prediction = batch->items[i].out;
        if (prediction->raw.status == EBM_CANCELLED)
            continue; /* nobody wanted it any more */
        tally_row(&tally, batch, prediction);
        if (prediction->reason)
            count_unreliable(model, prediction->reason);
    }
    counter_add(&model->rows, tally.rows);
    counter_add(&model->batches[metrics_bucket(batch->n, metrics_size_bounds, METRICS_SIZES)], 1);
    counter_add(&model->batch_rows, batch->n);
    add_values(model, &tally);
}

uint64_t metrics_model_batches(const struct metrics_model *model)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i <= METRICS_SIZES; i++)
        n += counter_get(&model->batches[i]);
    return n;
}

/* ---- requests ---- */

void metrics_observe(struct metrics_times *times, uint64_t us)
{
    counter_add_own(&times->counts[metrics_bucket((double)us / 1e6, metrics_time_bounds, METRICS_TIMES)], 1);
    counter_add_own(&times->sum_us, us);
}

void metrics_times_add(struct metrics_times *sum, const struct metrics_times *times)
{
    for (uint32_t i = 0; i <= METRICS_TIMES; i++)
        counter_add_own(&sum->counts[i], counter_get(&times->counts[i]));
    counter_add_own(&sum->sum_us, counter_get(&times->sum_us));
}

void metrics_observe_job(struct metrics_times *queue, struct metrics_times *compute, int status, const struct job *job,
                         uint64_t now_us)
{
    struct job_times times = job_times_of(job, now_us);
    bool was_given_up = status == 0 || status == reply_http_status(REPLY_TIMEOUT);
    if (times.has_begun || was_given_up)
        metrics_observe(queue, times.queue_us);
    if (times.has_begun)
        metrics_observe(compute, times.compute_us);
}

static void note_recent(struct metrics_recent *recent, uint64_t us)
{
    uint64_t n = atomic_fetch_add_explicit(&recent->n, 1, memory_order_relaxed);
    atomic_store_explicit(&recent->us[n % METRICS_RECENT], us < UINT32_MAX ? (uint32_t)us : UINT32_MAX,
                          memory_order_relaxed);
}

/* As Triton's scheduler has it: what did not fit or did not come in time is rejected. */
static enum metrics_failure failure_of(int status)
{
    if (status == 0)
        return METRICS_CANCELED;
    if (status == reply_http_status(REPLY_BUSY) || status == reply_http_status(REPLY_TIMEOUT))
        return METRICS_REJECTED;
    return status == reply_http_status(REPLY_INTERNAL) ? METRICS_BACKEND : METRICS_OTHER;
}

void metrics_model_end(struct metrics_model *model, uint32_t loop, int status, uint64_t total_us, const struct job *job,
                       uint64_t now_us)
{
    bool is_success = status == reply_http_status(REPLY_OK);
    struct metrics_requests *requests = &model->loops[loop];
    statistics_end(&requests->statistics, is_success, total_us, job);
    metrics_observe(&requests->request, total_us);
    metrics_observe_job(&requests->queue, &requests->compute, status, job, now_us);
    if (is_success)
        note_recent(&model->recent, total_us);
    else
        counter_add_own(&requests->failures[failure_of(status)], 1);
}

struct statistics_requests metrics_model_statistics(const struct metrics_model *model)
{
    struct statistics_requests sum = {.last_ms = 0};
    for (uint32_t i = 0; i < LIMIT_IO_THREADS; i++)
        statistics_add(&sum, &model->loops[i].statistics);
    return sum;
}
