/* statistics.c - sums and their JSON. Nothing here takes a lock or waits. */
#include "server/statistics.h"

#include <inttypes.h>
#include <time.h>

#include "server/job.h"

static void add(struct statistics_requests *requests, enum statistics_part part, uint64_t us)
{
    counter_add_own(&requests->parts[part].count, 1);
    counter_add_own(&requests->parts[part].us, us);
}

void statistics_end(struct statistics_requests *requests, bool is_success, uint64_t total_us, const struct job *job)
{
    add(requests, is_success ? STATISTICS_SUCCESS : STATISTICS_FAIL, total_us);
    if (!is_success)
        return;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t started_us = atomic_load_explicit(&job->started_us, memory_order_relaxed);
    counter_set(&requests->last_ms, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
    add(requests, STATISTICS_QUEUE, started_us - job->accepted_us);
    add(requests, STATISTICS_INPUT, job->input_us);
    add(requests, STATISTICS_INFER, job->computed_us - started_us);
    add(requests, STATISTICS_OUTPUT, job->finished_us - job->computed_us);
}

void statistics_add(struct statistics_requests *sum, const struct statistics_requests *requests)
{
    for (uint32_t i = 0; i < STATISTICS_PARTS; i++) {
        counter_add_own(&sum->parts[i].count, counter_get(&requests->parts[i].count));
        counter_add_own(&sum->parts[i].us, counter_get(&requests->parts[i].us));
    }
    uint64_t last_ms = counter_get(&requests->last_ms);
    if (last_ms > counter_get(&sum->last_ms))
        counter_set(&sum->last_ms, last_ms);
}

void statistics_batch(struct statistics *statistics, uint32_t rows, uint64_t input_ns, uint64_t infer_ns)
{
    counter_add(&statistics->batches[rows - 1].count, 1);
    counter_add(&statistics->batches[rows - 1].input_ns, input_ns);
    counter_add(&statistics->batches[rows - 1].infer_ns, infer_ns);
}

void statistics_output(struct statistics *statistics, uint32_t rows, uint64_t output_ns)
{
    counter_add(&statistics->batches[rows - 1].output_ns, output_ns);
}

/* ---- JSON ---- */

static void write_leaf(struct ebm_buf *buf, const char *comma, const char *name, uint64_t count, uint64_t ns)
{
    (void)ebm_buf_printf(buf, "%s\"%s\":{\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}", comma, name, count, ns);
}

static void write_batches(const struct statistics *statistics, struct ebm_buf *buf)
{
    const char *comma = "";
    for (uint32_t i = 0; i < LIMIT_BATCH_ROWS; i++) {
        uint64_t count = counter_get(&statistics->batches[i].count);
        if (count == 0)
            continue;
        (void)ebm_buf_printf(buf, "%s{\"batch_size\":%" PRIu32, comma, i + 1);
        write_leaf(buf, ",", "compute_input", count, counter_get(&statistics->batches[i].input_ns));
        write_leaf(buf, ",", "compute_infer", count, counter_get(&statistics->batches[i].infer_ns));
        write_leaf(buf, ",", "compute_output", count, counter_get(&statistics->batches[i].output_ns));
        (void)ebm_buf_text(buf, "}");
        comma = ",";
    }
}

void statistics_write(const struct statistics *statistics, const struct statistics_requests *requests,
                      const char *model, uint64_t version, uint64_t rows, struct ebm_buf *buf)
{
    static const char *const words[] = {
#define X(name, word) word,
        STATISTICS_MAP(X)
#undef X
    };
    uint64_t n_batches = 0;
    for (uint32_t i = 0; i < LIMIT_BATCH_ROWS; i++)
        n_batches += counter_get(&statistics->batches[i].count);
    (void)ebm_buf_text(buf, "{\"name\":");
    (void)ebm_buf_json_text(buf, model);
    (void)ebm_buf_printf(buf,
                         ",\"version\":\"%" PRIu64 "\",\"last_inference\":%" PRIu64 ",\"inference_count\":%" PRIu64
                         ",\"execution_count\":%" PRIu64 ",\"inference_stats\":{",
                         version, counter_get(&requests->last_ms), rows, n_batches);
    for (uint32_t i = 0; i < STATISTICS_PARTS; i++)
        write_leaf(buf, i ? "," : "", words[i], counter_get(&requests->parts[i].count),
                   counter_get(&requests->parts[i].us) * 1000);
    (void)ebm_buf_text(buf, "},\"batch_stats\":[");
    write_batches(statistics, buf);
    (void)ebm_buf_text(buf, "],\"response_stats\":{},\"memory_usage\":[]}");
}
