/* metrics_model_text.c - the families of models.
 *
 *   a family -> its head, then a line, or a histogram, for each version that is loaded
 *
 * Triton's names and units (microseconds) are kept as they are, though Prometheus would name them otherwise. */
#include <inttypes.h>
#include <stdio.h>

#include "server/batcher.h"
#include "server/metrics_model.h"
#include "server/metrics_text.h"
#include "server/model_list.h"
#include "server/model_store_entry.h"

struct writing {
    const struct model_list *models; /* NULL: none */
    struct batcher *batcher;
    struct ebm_buf *buf;
};

/* A version that is loaded, and its labels. */
struct version {
    const struct model_store_entry *entry;
    const struct metrics_model *counts;
    char number[24];
};

/* The next one from *at on. False: none. */
static bool next(const struct writing *w, size_t *at, struct version *ret_version)
{
    size_t n = w->models ? w->models->n : 0;
    while (*at < n) {
        const struct model_store_entry *entry = w->models->entries[(*at)++];
        if (!entry->model)
            continue;
        ret_version->entry = entry;
        ret_version->counts = entry->counts;
        (void)snprintf(ret_version->number, sizeof ret_version->number, "%" PRIu64, entry->version);
        return true;
    }
    return false;
}

static struct metrics_labels labels_of(const struct version *version)
{
    return (struct metrics_labels){{{"model", version->entry->name}, {"version", version->number}}};
}

typedef uint64_t count_of_fn(const struct writing *w, const struct version *version);

static void write_counts(const struct writing *w, const char *name, const char *type, const char *help,
                         count_of_fn *count_of)
{
    struct version version;
    metrics_text_family(w->buf, name, type, help);
    for (size_t at = 0; next(w, &at, &version);) {
        struct metrics_labels labels = labels_of(&version);
        metrics_text_count(w->buf, name, &labels, count_of(w, &version));
    }
}

/* ---- rows ---- */

static uint64_t rows_of(const struct writing *w, const struct version *version)
{
    (void)w;
    return counter_get(&version->counts->rows);
}

static void write_unreliable_rows(const struct writing *w)
{
    static const char name[] = "ebm_model_unreliable_rows_total";
    struct version version;
    metrics_text_family(w->buf, name, "counter",
                        "Rows of ebm_model_rows_total whose diagnostics said reliable: false, by their reason");
    for (size_t at = 0; next(w, &at, &version);) {
        struct metrics_labels labels = labels_of(&version);
        labels.at[2].name = "reason";
        for (uint32_t i = 0; i < METRICS_REASONS; i++) {
            labels.at[2].value = atomic_load(&version.counts->unreliable[i].word);
            if (!labels.at[2].value)
                break;
            metrics_text_count(w->buf, name, &labels, counter_get(&version.counts->unreliable[i].rows));
        }
    }
}

/* ---- distributions ---- */

/* Nothing for a model that was never asked. */
static void write_histogram(const struct writing *w, const char *name, const struct version *version,
                            const struct metrics_histogram *histogram)
{
    struct metrics_labels labels = labels_of(version);
    bool has_any = false;
    for (uint32_t i = 0; i <= histogram->n; i++)
        has_any = has_any || histogram->counts[i] > 0;
    if (has_any)
        metrics_text_histogram(w->buf, name, &labels, histogram);
}

/* `member` of struct metrics_requests. */
static void write_times(const struct writing *w, const char *name, const char *help, size_t member)
{
    struct version version;
    metrics_text_family(w->buf, name, "histogram", help);
    for (size_t at = 0; next(w, &at, &version);) {
        struct metrics_times sum = {.sum_us = 0};
        uint64_t counts[METRICS_TIMES + 1];
        for (uint32_t i = 0; i < LIMIT_IO_THREADS; i++)
            metrics_times_add(&sum, (const void *)((const char *)&version.counts->loops[i] + member));
        for (uint32_t i = 0; i <= METRICS_TIMES; i++)
            counts[i] = sum.counts[i];
        write_histogram(
            w, name, &version,
            &(struct metrics_histogram){METRICS_TIMES, metrics_time_bounds, counts, (double)sum.sum_us / 1e6});
    }
}

static void write_batches(const struct writing *w)
{
    static const char name[] = "ebm_model_batch_rows";
    struct version version;
    metrics_text_family(w->buf, name, "histogram", "Rows of the model that were predicted together");
    for (size_t at = 0; next(w, &at, &version);) {
        uint64_t counts[METRICS_SIZES + 1];
        for (uint32_t i = 0; i <= METRICS_SIZES; i++)
            counts[i] = counter_get(&version.counts->batches[i]);
        write_histogram(w, name, &version,
                        &(struct metrics_histogram){METRICS_SIZES, metrics_size_bounds, counts,
                                                    (double)counter_get(&version.counts->batch_rows)});
    }
}

static void write_values(const struct writing *w, enum metrics_value which, const char *name, const char *help)
{
    struct version version;
    metrics_text_family(w->buf, name, "histogram", help);
    for (size_t at = 0; next(w, &at, &version);) {
        uint64_t counts[METRICS_BOUNDS + 1];
        for (uint32_t i = 0; i <= METRICS_BOUNDS; i++)
            counts[i] = counter_get(&version.counts->values[which].counts[i]);
        write_histogram(
            w, name, &version,
            &(struct metrics_histogram){METRICS_BOUNDS, metrics_value_bounds[which], counts,
                                        (double)counter_get(&version.counts->values[which].sum_millionths) / 1e6});
    }
}

/* ---- Triton's ---- */

/* A counter that stands at `at` in struct metrics_requests, of all loops together. */
static uint64_t sum_at(const struct version *version, size_t at)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LIMIT_IO_THREADS; i++)
        sum += counter_get((const void *)((const char *)&version->counts->loops[i] + at));
    return sum;
}

static uint64_t successes_of(const struct writing *w, const struct version *version)
{
    (void)w;
    return sum_at(version, offsetof(struct metrics_requests, statistics.parts[STATISTICS_SUCCESS].count));
}

static uint64_t batches_of(const struct writing *w, const struct version *version)
{
    (void)w;
    return metrics_model_batches(version->counts);
}

static uint64_t pending_of(const struct writing *w, const struct version *version)
{
    return batcher_lane_tickets(w->batcher, &version->entry->lane);
}

static void write_failures(const struct writing *w)
{
    static const char name[] = "nv_inference_request_failure";
    static const char *const words[] = {
#define X(name, word) word,
        METRICS_FAILURE_MAP(X)
#undef X
    };
    struct version version;
    metrics_text_family(w->buf, name, "counter", "Number of failed inference requests, by reason");
    for (size_t at = 0; next(w, &at, &version);)
        for (uint32_t i = 0; i < METRICS_FAILURES; i++) {
            struct metrics_labels labels = labels_of(&version);
            labels.at[2].name = "reason";
            labels.at[2].value = words[i];
            metrics_text_count(w->buf, name, &labels, sum_at(&version, offsetof(struct metrics_requests, failures[i])));
        }
}

static void write_triton_times(const struct writing *w)
{
    static const struct {
        enum statistics_part part;
        const char *name, *help;
    } sums[] = {
        {STATISTICS_SUCCESS, "nv_inference_request_duration_us", "Cumulative inference request duration"},
        {STATISTICS_QUEUE, "nv_inference_queue_duration_us", "Cumulative inference queuing duration"},
        {STATISTICS_INPUT, "nv_inference_compute_input_duration_us", "Cumulative compute input duration"},
        {STATISTICS_INFER, "nv_inference_compute_infer_duration_us", "Cumulative compute inference duration"},
        {STATISTICS_OUTPUT, "nv_inference_compute_output_duration_us", "Cumulative inference compute output duration"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(sums); i++) {
        struct version version;
        metrics_text_family(w->buf, sums[i].name, "counter", sums[i].help);
        for (size_t at = 0; next(w, &at, &version);) {
            struct metrics_labels labels = labels_of(&version);
            metrics_text_count(w->buf, sums[i].name, &labels,
                               sum_at(&version, offsetof(struct metrics_requests, statistics.parts[sums[i].part].us)));
        }
    }
}

void metrics_models_write_triton(const struct model_list *models, struct batcher *batcher, struct ebm_buf *buf)
{
    struct writing w = {models, batcher, buf};
    write_counts(&w, "nv_inference_request_success", "counter", "Number of successful inference requests",
                 successes_of);
    write_failures(&w);
    write_counts(&w, "nv_inference_count", "counter", "Number of inferences performed: rows", rows_of);
    write_counts(&w, "nv_inference_exec_count", "counter", "Number of model executions performed: batches", batches_of);
    write_counts(&w, "nv_inference_pending_request_count", "gauge", "Instantaneous number of requests that wait",
                 pending_of);
    write_triton_times(&w);
}

void metrics_models_write(const struct model_list *models, struct ebm_buf *buf)
{
    struct writing w = {.models = models, .buf = buf};
    write_counts(&w, "ebm_model_rows_total", "counter", "Rows that were predicted, by model and version", rows_of);
    write_unreliable_rows(&w);
    write_times(&w, "ebm_model_request_duration_seconds", "Headers read to answer sent, of requests on all routes",
                offsetof(struct metrics_requests, request));
    write_times(&w, "ebm_model_queue_duration_seconds", "As ebm_queue_duration_seconds, by model",
                offsetof(struct metrics_requests, queue));
    write_times(&w, "ebm_model_compute_duration_seconds", "As ebm_compute_duration_seconds, by model",
                offsetof(struct metrics_requests, compute));
    write_batches(&w);
#define X(which, name, help) write_values(&w, METRICS_##which, name, help);
    METRICS_VALUE_MAP(X)
#undef X
}
