/* metrics.c - counters, and their text.
 *
 *   a request's end -> routes[route]: its status, its duration;  queue, compute: what its job waited and took
 *   a batch         -> its size;  metrics_model.c: its model's
 *   GET /metrics    -> sums of all loops -> families in a fixed order, a function each
 *                      -> those of models, then of the process
 *
 * A new family is a function of write_families. Guarantees: a series that was there once is there at every later time,
 * with a value that is not lower, if it is a counter; nothing here takes a lock but the batcher's, or waits. A scrape
 * that runs beside workers may see a batch's rows before its size. Does not know: HTTP. */
#include "server/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/version.h"
#include "server/job.h"
#include "server/metrics_process.h"
#include "server/metrics_text.h"
#include "server/model_store.h"

void metrics_init(struct metrics *metrics, uint32_t n)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    memset(metrics, 0, n * sizeof *metrics);
    for (uint32_t i = 0; i < n; i++) {
        metrics[i].loop = i;
        metrics[i].start_time_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    }
}

/* ---- counting ---- */

/* The first kind that has this status. */
static uint32_t kind_of(int status)
{
    uint32_t kind = 0;
    while (kind < REPLY_KINDS && reply_http_status(kind) != status)
        kind++;
    return kind;
}

void metrics_begin(struct metrics *metrics)
{
    counter_add_own(&metrics->in_flight, 1);
}

void metrics_end(struct metrics *metrics, uint32_t route, int status, uint64_t started_us, const struct job *job)
{
    uint64_t now_us = ebm_clock_us();
    EBM_ASSERT(route <= METRICS_ROUTES && counter_get(&metrics->in_flight) > 0);
    counter_add_own(&metrics->in_flight, UINT64_MAX); /* one less */
    counter_add_own(&metrics->routes[route].by_kind[kind_of(status)], 1);
    metrics_observe(&metrics->routes[route].duration, now_us - started_us);
    if (job && job->model_name)
        metrics_observe_job(&metrics->queue, &metrics->compute, status, job, now_us);
    if (job && job->counts)
        metrics_model_end(job->counts, metrics->loop, status, now_us - started_us, job, now_us);
}

void metrics_count_batch(struct metrics *metrics, struct metrics_model *model, const struct metrics_batch *batch)
{
    metrics_model_count_batch(model, batch);
    counter_add(&metrics->batches[metrics_bucket(batch->n, metrics_size_bounds, METRICS_SIZES)], 1);
    counter_add(&metrics->batch_rows, batch->n);
}

uint64_t metrics_batches(const struct metrics *metrics, uint32_t n)
{
    uint64_t sum = 0;
    for (uint32_t loop = 0; loop < n; loop++)
        for (uint32_t i = 0; i <= METRICS_SIZES; i++)
            sum += counter_get(&metrics[loop].batches[i]);
    return sum;
}

uint64_t metrics_batch_rows(const struct metrics *metrics, uint32_t n)
{
    uint64_t sum = 0;
    for (uint32_t loop = 0; loop < n; loop++)
        sum += counter_get(&metrics[loop].batch_rows);
    return sum;
}

uint64_t metrics_size_bound(uint32_t i)
{
    return (uint64_t)metrics_size_bounds[i];
}

/* ---- sums of all loops ---- */

static void sum_routes(struct metrics *sum, const struct metrics *of)
{
    for (uint32_t i = 0; i <= METRICS_ROUTES; i++) {
        for (uint32_t kind = 0; kind <= REPLY_KINDS; kind++)
            counter_add_own(&sum->routes[i].by_kind[kind], counter_get(&of->routes[i].by_kind[kind]));
        metrics_times_add(&sum->routes[i].duration, &of->routes[i].duration);
    }
}

static void sum_all(struct metrics *ret_sum, const struct metrics *metrics, uint32_t n)
{
    memset(ret_sum, 0, sizeof *ret_sum);
    for (uint32_t loop = 0; loop < n; loop++) {
        const struct metrics *of = &metrics[loop];
        counter_add_own(&ret_sum->in_flight, counter_get(&of->in_flight));
        sum_routes(ret_sum, of);
        metrics_times_add(&ret_sum->queue, &of->queue);
        metrics_times_add(&ret_sum->compute, &of->compute);
        for (uint32_t i = 0; i <= METRICS_SIZES; i++)
            counter_add_own(&ret_sum->batches[i], counter_get(&of->batches[i]));
        counter_add_own(&ret_sum->batch_rows, counter_get(&of->batch_rows));
    }
}

/* ---- requests ---- */

struct writing {
    const struct metrics *metrics; /* the sum */
    const struct metrics_now *now;
    struct ebm_buf *buf;
};

static const char *route_name(const struct writing *w, uint32_t i)
{
    return i < w->now->n_routes ? w->now->routes[i] : "other";
}

/* The table's routes, then the one for all other paths. Returns n_routes + 1 at the end. */
static uint32_t counted_at(const struct writing *w, uint32_t i)
{
    return i < w->now->n_routes ? i : METRICS_ROUTES;
}

static void write_requests(const struct writing *w)
{
    static const char name[] = "ebm_http_requests_total";
    metrics_text_family(w->buf, name, "counter",
                        "Requests that are over, by route and HTTP status; status 0: the client left before its "
                        "answer");
    for (uint32_t i = 0; i <= w->now->n_routes; i++)
        for (uint32_t kind = 0; kind <= REPLY_KINDS; kind++) {
            char status[16];
            int number = kind < REPLY_KINDS ? reply_http_status(kind) : 0;
            uint64_t count = w->metrics->routes[counted_at(w, i)].by_kind[kind];
            if (kind_of(number) != kind || (count == 0 && i >= w->now->n_asked))
                continue;
            (void)snprintf(status, sizeof status, "%d", number);
            metrics_text_count(w->buf, name,
                               &(struct metrics_labels){{{"route", route_name(w, i)}, {"status", status}}}, count);
        }
}

static void write_times(const struct writing *w, const char *name, const struct metrics_labels *labels,
                        const struct metrics_times *times)
{
    uint64_t counts[METRICS_TIMES + 1];
    for (uint32_t i = 0; i <= METRICS_TIMES; i++)
        counts[i] = times->counts[i];
    struct metrics_histogram histogram = {METRICS_TIMES, metrics_time_bounds, counts, (double)times->sum_us / 1e6};
    metrics_text_histogram(w->buf, name, labels, &histogram);
}

static void write_durations(const struct writing *w)
{
    static const char name[] = "ebm_http_request_duration_seconds";
    metrics_text_family(w->buf, name, "histogram", "Headers read to answer sent");
    for (uint32_t i = 0; i <= w->now->n_routes; i++) {
        const struct metrics_times *times = &w->metrics->routes[counted_at(w, i)].duration;
        bool has_any = i < w->now->n_asked;
        for (uint32_t j = 0; j <= METRICS_TIMES; j++)
            has_any = has_any || times->counts[j] > 0;
        if (has_any)
            write_times(w, name, &(struct metrics_labels){{{"route", route_name(w, i)}}}, times);
    }
}

static void write_waits(const struct writing *w)
{
    static const char queue[] = "ebm_queue_duration_seconds", compute[] = "ebm_compute_duration_seconds";
    metrics_text_family(w->buf, queue, "histogram",
                        "Request accepted to its first row taken by a worker, or to its end when it was given up");
    write_times(w, queue, NULL, &w->metrics->queue);
    metrics_text_family(w->buf, compute, "histogram", "First row taken to answer written, of one request");
    write_times(w, compute, NULL, &w->metrics->compute);
}

/* ---- batches, and what became of files ---- */

static void write_batches(const struct writing *w)
{
    static const char name[] = "ebm_batch_rows";
    uint64_t counts[METRICS_SIZES + 1];
    for (uint32_t i = 0; i <= METRICS_SIZES; i++)
        counts[i] = counter_get(&w->metrics->batches[i]);
    struct metrics_histogram histogram = {METRICS_SIZES, metrics_size_bounds, counts,
                                          (double)counter_get(&w->metrics->batch_rows)};
    metrics_text_family(w->buf, name, "histogram", "Rows that were predicted together");
    metrics_text_histogram(w->buf, name, NULL, &histogram);
}

static void write_gauge(const struct writing *w, const char *name, uint64_t value, const char *help)
{
    metrics_text_family(w->buf, name, "gauge", help);
    metrics_text_count(w->buf, name, NULL, value);
}

static void write_model_events(const struct writing *w)
{
    static const char name[] = "ebm_model_events_total";
    static const char *const words[] = {
#define X(name, word) word,
        MODEL_EVENT_MAP(X)
#undef X
    };
    metrics_text_family(w->buf, name, "counter",
                        "Versions that were loaded, files that were refused, models that were unloaded");
    for (uint32_t i = 0; i < MODEL_EVENTS; i++)
        metrics_text_count(w->buf, name, &(struct metrics_labels){{{"event", words[i]}}},
                           w->now->model_events ? w->now->model_events[i] : 0);
}

/* Of what lies in the repository now. */
static void write_refused_files(const struct writing *w)
{
    static const char name[] = "ebm_model_file_refused";
    const struct model_list *models = w->now->models;
    metrics_text_family(w->buf, name, "gauge",
                        "1 for each version whose file, as it is now, was refused; the reason is in the log and in "
                        "POST /v2/repository/index");
    for (size_t i = 0; models && i < models->n; i++) {
        const struct model_store_entry *entry = models->entries[i];
        char version[24];
        const struct ebm_error *fault = model_store_entry_fault(entry);
        if (!fault)
            continue;
        (void)snprintf(version, sizeof version, "%" PRIu64, entry->version);
        metrics_text_count(
            w->buf, name,
            &(struct metrics_labels){
                {{"model", entry->name}, {"version", version}, {"status", ebm_status_name(fault->status)}}},
            1);
    }
}

/* ---- the whole ---- */

static void write_build(const struct writing *w)
{
    metrics_text_family(w->buf, "ebm_build_info", "gauge", "Always 1; the version that runs is its label");
    metrics_text_count(w->buf, "ebm_build_info", &(struct metrics_labels){{{"version", EBM_VERSION}}}, 1);
}

void metrics_write(const struct metrics *metrics, uint32_t n, const struct metrics_now *now, struct ebm_buf *buf)
{
    struct metrics sum;
    struct writing w = {&sum, now, buf};
    EBM_ASSERT(now->n_routes <= METRICS_ROUTES);
    sum_all(&sum, metrics, n);
    write_build(&w);
    write_requests(&w);
    write_durations(&w);
    write_gauge(&w, "ebm_http_requests_in_flight", sum.in_flight, "Requests whose headers are read, this one too");
    write_gauge(&w, "ebm_http_in_flight_bytes", now->in_flight_bytes,
                "Bytes of bodies, work and answers that count towards --max-inflight-bytes");
    write_waits(&w);
    write_gauge(&w, "ebm_queue_rows", now->queue_rows, "Rows that wait for a worker, as --max-queue-rows counts them");
    write_batches(&w);
    write_gauge(&w, "ebm_devices", now->devices, "GPUs that rows are computed on, or 1, the CPU");
    write_gauge(&w, "ebm_devices_failed", now->failed_devices, "Of them, those that have failed since the start");
    write_gauge(&w, "ebm_models_ready", now->ready && now->models ? now->models->n_available : 0,
                "Versions of models that can be asked");
    write_model_events(&w);
    write_refused_files(&w);
    metrics_models_write(now->models, buf);
    if (now->triton)
        metrics_models_write_triton(now->models, now->batcher, buf);
    metrics_process_write(metrics->start_time_s, buf);
}
