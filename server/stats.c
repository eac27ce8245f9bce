/* stats.c - what decides how a model's rows are computed, and what came of it.
 *
 *   entry -> cost by estimator (server/cost.h) -> lane: rows that wait, rows of a batch -> counts: batches by size,
 *            quantiles of the latest requests' times
 *
 * Times are microseconds, as in the access log. Does not know: HTTP. */
#include "server/stats.h"

#include <inttypes.h>
#include <stdlib.h>

#include "models/estimate.h"
#include "proto/json_write.h"

#define DIGITS 6

static void write_number(struct ebm_buf *buf, const char *name, double value)
{
    (void)ebm_buf_text(buf, name);
    json_write_number(buf, value, DIGITS);
}

static void write_whole(struct ebm_buf *buf, const char *name, uint64_t value)
{
    (void)ebm_buf_text(buf, name);
    (void)ebm_buf_whole(buf, value);
}

/* ---- cost ---- */

static void write_cost(struct ebm_buf *buf, const struct model_store_entry *entry)
{
    const char *comma = "";
    (void)ebm_buf_text(buf, ",\"cost\":{");
    for (uint32_t i = 0; i < COST_ESTIMATORS; i++) {
        double factor = atomic_load_explicit(&entry->cost.factor[i], memory_order_relaxed);
        if (!(entry->cost.row_ns[i] > 0.0))
            continue;
        (void)ebm_buf_printf(buf, "%s\"%s\":{", comma, ebm_estimator_word((enum ebm_estimator)i));
        write_number(buf, "\"row_us\":", entry->cost.row_ns[i] * factor / 1e3);
        write_number(buf, ",\"number_us\":", entry->cost.number_ns[i] * factor / 1e3);
        write_number(buf, ",\"factor\":", factor);
        (void)ebm_buf_text(buf, "}");
        comma = ",";
    }
    write_number(buf, "},\"batch_us\":", entry->cost.batch_ns / 1e3);
    write_whole(buf, ",\"max_batch_rows\":", entry->lane.limits.max_rows);
}

/* ---- what came of it ---- */

static void write_batches(struct ebm_buf *buf, const struct metrics_model *counts)
{
    const char *comma = "";
    write_whole(buf, ",\"rows\":", counter_get(&counts->rows));
    write_whole(buf, ",\"batches\":", metrics_model_batches(counts));
    (void)ebm_buf_text(buf, ",\"batch_sizes\":[");
    for (uint32_t i = 0; i < METRICS_SIZES; i++) {
        uint64_t batches = counter_get(&counts->batches[i]);
        if (batches == 0)
            continue;
        (void)ebm_buf_text(buf, comma);
        write_whole(buf, "{\"up_to\":", metrics_size_bound(i));
        write_whole(buf, ",\"batches\":", batches);
        (void)ebm_buf_text(buf, "}");
        comma = ",";
    }
    (void)ebm_buf_text(buf, "]");
}

static int compare_times(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static void write_latency(struct ebm_buf *buf, const struct metrics_recent *recent)
{
    static const struct {
        const char *name;
        double p;
    } quantiles[] = {{",\"p50_us\":", 0.5}, {",\"p90_us\":", 0.9}, {",\"p99_us\":", 0.99}, {",\"max_us\":", 1.0}};
    uint32_t sorted[METRICS_RECENT];
    uint64_t n_ever = counter_get(&recent->n);
    uint32_t n = n_ever < METRICS_RECENT ? (uint32_t)n_ever : METRICS_RECENT;
    for (uint32_t i = 0; i < n; i++)
        sorted[i] = atomic_load_explicit(&recent->us[i], memory_order_relaxed);
    qsort(sorted, n, sizeof *sorted, compare_times);
    write_whole(buf, ",\"recent\":{\"requests\":", n);
    for (size_t i = 0; n > 0 && i < EBM_COUNT_OF(quantiles); i++)
        write_whole(buf, quantiles[i].name, sorted[(uint32_t)(quantiles[i].p * (n - 1))]);
    (void)ebm_buf_text(buf, "}");
}

void stats_write(struct ebm_buf *buf, const struct model_list *models, struct batcher *batcher)
{
    const char *comma = "";
    (void)ebm_buf_text(buf, "{\"models\":[");
    for (size_t i = 0; models && i < models->n; i++) {
        struct model_store_entry *entry = models->entries[i];
        if (!entry->model)
            continue;
        (void)ebm_buf_text(buf, comma);
        (void)ebm_buf_text(buf, "{\"name\":");
        (void)ebm_buf_json_text(buf, entry->name);
        write_whole(buf, ",\"version\":", entry->version);
        write_cost(buf, entry);
        write_whole(buf, ",\"queue_rows\":", batcher_lane_rows(batcher, &entry->lane));
        write_batches(buf, entry->counts);
        write_latency(buf, &entry->counts->recent);
        (void)ebm_buf_text(buf, "}");
        comma = ",";
    }
    write_whole(buf, "],\"queue_rows\":", batcher_stats(batcher).waiting_rows);
    (void)ebm_buf_text(buf, "}\n");
}
