/* test_metrics.c - the text format letter by letter; requests, rows and reasons come out as they were counted. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "models/estimate.h"
#include "server/job.h"
#include "server/metrics_process.h"
#include "server/metrics_text.h"

static void expect_text(struct ebm_buf *buf, const char *expected)
{
    cr_assert_eq(buf->status, EBM_OK);
    cr_expect_str_eq(buf->bytes, expected);
    ebm_buf_clear(buf);
}

Test(metrics_text, writes_each_line_as_prometheus_reads_it)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 4096);
    metrics_text_family(&buf, "a_total", "counter", "line\nand \\ and \"");
    expect_text(&buf, "# HELP a_total line\\nand \\\\ and \"\n# TYPE a_total counter\n");
    metrics_text_count(&buf, "a_total", NULL, UINT64_MAX);
    expect_text(&buf, "a_total 18446744073709551615\n");
    metrics_text_count(&buf, "a", &(struct metrics_labels){{{"x", "\"q\" \\ \n\xc3\xbc"}, {"y", ""}}}, 0);
    expect_text(&buf, "a{x=\"\\\"q\\\" \\\\ \\n\xc3\xbc\",y=\"\"} 0\n");
    metrics_text_number(&buf, "a", &(struct metrics_labels){{{NULL, NULL}, {"z", "\\"}}}, 0.1);
    expect_text(&buf, "a{z=\"\\\\\"} 0.1\n");
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "a 0\n"},
                 {-2.5e-9, "a -2.5e-09\n"},
                 {1795643147.413802, "a 1795643147.413802\n"},
                 {(double)NAN, "a NaN\n"},
                 {(double)INFINITY, "a +Inf\n"},
                 {-(double)INFINITY, "a -Inf\n"}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        metrics_text_number(&buf, "a", NULL, cases[i].value);
        expect_text(&buf, cases[i].text);
    }
    ebm_buf_done(&buf);
}

Test(metrics_text, histograms_are_cumulative)
{
    static const double bounds[] = {0.00025, 1, 1024};
    static const uint64_t counts[] = {2, 0, 3, 4};
    struct metrics_histogram histogram = {3, bounds, counts, 12.5};
    struct ebm_buf buf;
    ebm_buf_init(&buf, 4096);
    metrics_text_histogram(&buf, "h", &(struct metrics_labels){{{"r", "/"}}}, &histogram);
    expect_text(&buf,
                "h_bucket{r=\"/\",le=\"0.00025\"} 2\nh_bucket{r=\"/\",le=\"1\"} 2\nh_bucket{r=\"/\",le=\"1024\"} 5\n"
                "h_bucket{r=\"/\",le=\"+Inf\"} 9\nh_sum{r=\"/\"} 12.5\nh_count{r=\"/\"} 9\n");
    metrics_text_histogram(&buf, "h", NULL, &(struct metrics_histogram){0, bounds, counts, 0});
    expect_text(&buf, "h_bucket{le=\"+Inf\"} 2\nh_sum 0\nh_count 2\n");
    ebm_buf_done(&buf);
}

/* ---- counting ---- */

static uint64_t now_us = 1000000;

static uint64_t clock_ns(void)
{
    return now_us * 1000;
}

static void expect_line(const struct metrics *metrics, const char *line)
{
    static const char *const routes[] = {"/predict", "/", "/v2/models/*"};
    struct metrics_now now = {.routes = routes, .n_routes = 3, .n_asked = 1, .queue_rows = 7, .in_flight_bytes = 99};
    char text[256];
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1u << 20);
    metrics_write(metrics, 1, &now, &buf);
    cr_assert_eq(buf.status, EBM_OK);
    bool is_there = line[0] != '!';
    (void)snprintf(text, sizeof text, "\n%s\n", line + !is_there);
    cr_expect_eq(strstr(buf.bytes, text) != NULL, is_there, "%s in\n%s", line, buf.bytes);
    ebm_buf_done(&buf);
}

Test(metrics, count_requests_by_route_and_status)
{
    static struct metrics metrics;
    ebm_clock_set(clock_ns);
    metrics_init(&metrics, 1);
    expect_line(&metrics, "ebm_http_requests_total{route=\"/predict\",status=\"200\"} 0");
    expect_line(&metrics, "!ebm_http_requests_total{route=\"/\",status=\"200\"} 0");
    static const struct {
        uint32_t route;
        int status;
    } requests[] = {{0, 200}, {0, 200}, {0, 429}, {1, 404}, {2, 0}, {METRICS_ROUTES, 404}};
    for (size_t i = 0; i < EBM_COUNT_OF(requests); i++) {
        metrics_begin(&metrics);
        metrics_end(&metrics, requests[i].route, requests[i].status, now_us - 250, NULL);
    }
    metrics_begin(&metrics);
    static const char *const lines[] = {
        "ebm_http_requests_total{route=\"/predict\",status=\"200\"} 2",
        "ebm_http_requests_total{route=\"/predict\",status=\"429\"} 1",
        "ebm_http_requests_total{route=\"/\",status=\"404\"} 1",
        "ebm_http_requests_total{route=\"/v2/models/*\",status=\"0\"} 1",
        "ebm_http_requests_total{route=\"other\",status=\"404\"} 1",
        "ebm_http_request_duration_seconds_bucket{route=\"/predict\",le=\"0.0001\"} 0",
        "ebm_http_request_duration_seconds_bucket{route=\"/predict\",le=\"0.00025\"} 3",
        "ebm_http_request_duration_seconds_sum{route=\"/predict\"} 0.00075",
        "ebm_http_request_duration_seconds_count{route=\"other\"} 1",
        "ebm_http_requests_in_flight 1",
        "ebm_http_in_flight_bytes 99",
        "ebm_queue_rows 7",
        "ebm_queue_duration_seconds_count 0",
        "ebm_models_ready 0",
    };
    for (size_t i = 0; i < EBM_COUNT_OF(lines); i++)
        expect_line(&metrics, lines[i]);
}

Test(metrics, loops_are_added_up)
{
    static struct metrics metrics[2];
    struct metrics_now now = {.n_routes = 0};
    struct ebm_buf buf;
    ebm_clock_set(clock_ns);
    metrics_init(metrics, 2);
    for (uint32_t loop = 0; loop < 2; loop++) {
        metrics_begin(&metrics[loop]);
        metrics_begin(&metrics[loop]);
        metrics_end(&metrics[loop], METRICS_ROUTES, 404, now_us - 250, NULL);
    }
    ebm_buf_init(&buf, 1u << 20);
    metrics_write(metrics, 2, &now, &buf);
    static const char *const lines[] = {
        "\nebm_http_requests_total{route=\"other\",status=\"404\"} 2\n",
        "\nebm_http_request_duration_seconds_sum{route=\"other\"} 0.0005\n",
        "\nebm_http_requests_in_flight 2\n",
    };
    for (size_t i = 0; i < EBM_COUNT_OF(lines); i++)
        cr_expect_not_null(strstr(buf.bytes, lines[i]), "%s in\n%s", lines[i], buf.bytes);
    ebm_buf_done(&buf);
}

/* A job that was accepted at 0, and the time of the end. */
static void end_job(struct metrics *metrics, int status, uint64_t started_us, bool is_done, uint64_t finished_us)
{
    struct ebm_buf body;
    ebm_buf_init(&body, 0);
    struct job *job = job_new(REQUEST_PREDICT, &body, 1024);
    job->accepted_us = now_us;
    job->model_name = "m";
    atomic_store(&job->started_us, started_us ? now_us + started_us : 0);
    job->finished_us = now_us + finished_us;
    if (is_done)
        cr_assert(job_start(job) && job_finish(job));
    now_us += 5000;
    metrics_begin(metrics);
    metrics_end(metrics, 0, status, now_us, job);
    now_us -= 5000;
    (void)job_unref(job);
}

Test(metrics, a_job_waits_and_is_computed)
{
    static struct metrics metrics;
    ebm_clock_set(clock_ns);
    metrics_init(&metrics, 1);
    end_job(&metrics, 200, 1000, true, 3000); /* waits 1 ms, takes 2 ms */
    end_job(&metrics, 504, 0, false, 0);      /* waits all of its 5 ms */
    end_job(&metrics, 0, 2000, false, 0);     /* 2 ms, then 3 ms until its client leaves */
    end_job(&metrics, 429, 0, false, 0);      /* never waited */
    expect_line(&metrics, "ebm_queue_duration_seconds_sum 0.008");
    expect_line(&metrics, "ebm_queue_duration_seconds_count 3");
    expect_line(&metrics, "ebm_compute_duration_seconds_sum 0.005");
    expect_line(&metrics, "ebm_compute_duration_seconds_count 2");
    expect_line(&metrics, "ebm_compute_duration_seconds_bucket{le=\"0.0025\"} 1");
}

Test(metrics, count_rows_and_why_they_are_not_reliable)
{
    static struct metrics metrics;
    static struct metrics_model model;
    char another_place[] = "low_ess";
    const char *const reasons[] = {NULL, "low_ess", "no_spread", another_place, NULL};
    struct ebm_prediction predictions[5] = {{.num_samples = 1}};
    struct ebm_item items[5] = {{.row_in_request = 0}};
    for (uint32_t i = 0; i < 5; i++) {
        predictions[i].reason = reasons[i];
        items[i].out = &predictions[i];
    }
    predictions[4].raw.status = EBM_CANCELLED;
    metrics_init(&metrics, 1);
    metrics_count_batch(&metrics, &model, &(struct metrics_batch){.items = items, .n = 5});
    metrics_count_batch(&metrics, &model, &(struct metrics_batch){.items = items, .n = 1});
    cr_expect_eq(model.rows, 5);
    cr_expect_str_eq(model.unreliable[0].word, "low_ess");
    cr_expect_eq(model.unreliable[0].rows, 2);
    cr_expect_str_eq(model.unreliable[1].word, "no_spread");
    cr_expect_eq(model.unreliable[1].rows, 1);
    cr_expect_null(model.unreliable[2].word);
    expect_line(&metrics, "ebm_batch_rows_bucket{le=\"1\"} 1");
    expect_line(&metrics, "ebm_batch_rows_bucket{le=\"4\"} 1");
    expect_line(&metrics, "ebm_batch_rows_bucket{le=\"8\"} 2");
    expect_line(&metrics, "ebm_batch_rows_sum 6");
}

static void expect_values(const struct metrics_model *model, enum metrics_value which, const uint64_t *counts,
                          uint64_t sum_millionths)
{
    for (uint32_t i = 0; i <= METRICS_BOUNDS; i++)
        cr_expect_eq(model->values[which].counts[i], counts[i], "%d, %u: %lu", (int)which, i,
                     (unsigned long)model->values[which].counts[i]);
    cr_expect_eq(model->values[which].sum_millionths, sum_millionths, "%d: %lu", (int)which,
                 (unsigned long)model->values[which].sum_millionths);
}

Test(metrics, distributions_of_rows_are_judged_by_what_they_have)
{
    static struct metrics metrics;
    static struct metrics_model model;
    double narrow[2] = {1, 0.5}, wide[2] = {1e9, 1}, broken[2] = {(double)NAN, 1}, target_std[2] = {10, 1};
    struct ebm_prediction predictions[] = {
        {.estimator = EBM_ESTIMATE_IMPORTANCE, .num_samples = 1000, .ess = 250, .pareto_k = 0.65, .std = narrow},
        {.estimator = EBM_ESTIMATE_IMPORTANCE, .num_samples = 100, .ess = 100, .pareto_k = -2, .std = wide},
        {.estimator = EBM_ESTIMATE_IMPORTANCE, .num_samples = 8, .ess = 0.004, .pareto_k = (double)NAN, .std = broken},
        {.estimator = EBM_ESTIMATE_IMPORTANCE, .num_samples = 8, .ess = 8, .pareto_k = (double)INFINITY},
        {.estimator = EBM_ESTIMATE_IMPORTANCE, .num_samples = 8, .ess = 8, .raw.status = EBM_CANCELLED},
        {.estimator = EBM_ESTIMATE_EXACT, .std = target_std},
    };
    enum { N = EBM_COUNT_OF(predictions) };
    struct ebm_item items[N] = {{.row_in_request = 0}};
    for (uint32_t i = 0; i < N; i++)
        items[i].out = &predictions[i];
    metrics_init(&metrics, 1);
    metrics_count_batch(&metrics, &model, &(struct metrics_batch){items, N, target_std, 2});
    expect_values(&model, METRICS_ESS_RATIO, (uint64_t[METRICS_BOUNDS + 1]){[0] = 1, [6] = 1, [13] = 2}, 2250500);
    expect_values(&model, METRICS_PARETO_K, (uint64_t[METRICS_BOUNDS + 1]){[0] = 1, [7] = 1, [14] = 1}, 1000650000);
    expect_values(&model, METRICS_RELATIVE_STD, (uint64_t[METRICS_BOUNDS + 1]){[5] = 1, [8] = 1, [14] = 1}, 1001300000);
}

Test(metrics, the_process_is_told_in_bytes_and_seconds)
{
    struct ebm_buf buf;
    unsigned long long bytes = 0, files = 0;
    ebm_buf_init(&buf, 1u << 16);
    metrics_process_write(1.5e9, &buf);
    cr_assert_eq(buf.status, EBM_OK);
    cr_expect_not_null(strstr(buf.bytes, "\nprocess_start_time_seconds 1500000000\n"));
    const char *at = strstr(buf.bytes, "\nprocess_resident_memory_bytes ");
    cr_assert_not_null(at);
    cr_assert_eq(sscanf(at, " process_resident_memory_bytes %llu", &bytes), 1);
    cr_expect_gt(bytes, 1u << 20);
    cr_assert_eq(sscanf(strstr(buf.bytes, "\nprocess_open_fds "), " process_open_fds %llu", &files), 1);
    cr_expect(files >= 3 && files < 1000, "%llu", files);
    ebm_buf_done(&buf);
}
