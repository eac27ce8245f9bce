/* test_statistics.c - requests and batches of known times, and the JSON that tells them. */
#include <criterion/criterion.h>
#include <string.h>

#include "server/job.h"

static struct statistics statistics;
static struct statistics_requests loops[2];

static void end_one(uint32_t loop, bool is_success, uint64_t total_us)
{
    struct ebm_buf body;
    ebm_buf_init(&body, 0);
    struct job *job = job_new(REQUEST_PREDICT, &body, 1024);
    cr_assert(job);
    job->accepted_us = 1000;
    atomic_store(&job->started_us, 1040);
    job->input_us = 7;
    job->computed_us = 1100;
    job->finished_us = 1105;
    statistics_end(&loops[loop], is_success, total_us, job);
    (void)job_unref(job);
}

Test(statistics, parts_of_requests_and_batches)
{
    struct ebm_buf buf;
    struct statistics_requests sum = {.last_ms = 0};
    end_one(0, true, 200);
    end_one(1, true, 300);
    end_one(1, false, 50);
    statistics_batch(&statistics, 3, 10, 100);
    statistics_batch(&statistics, 3, 20, 200);
    statistics_batch(&statistics, LIMIT_BATCH_ROWS, 1, 2);
    statistics_output(&statistics, 3, 5);
    cr_assert_gt(loops[1].last_ms, 1600000000000);
    loops[0].last_ms = 9;
    loops[1].last_ms = 8;
    statistics_add(&sum, &loops[0]);
    statistics_add(&sum, &loops[1]);
    ebm_buf_init(&buf, 4096);
    statistics_write(&statistics, &sum, "m", 4, 1030, &buf);
    cr_assert_str_eq(
        buf.bytes,
        "{\"name\":\"m\",\"version\":\"4\",\"last_inference\":9,\"inference_count\":1030,\"execution_count\":3,"
        "\"inference_stats\":{\"success\":{\"count\":2,\"ns\":500000},\"fail\":{\"count\":1,\"ns\":50000},"
        "\"queue\":{\"count\":2,\"ns\":80000},\"compute_input\":{\"count\":2,\"ns\":14000},"
        "\"compute_infer\":{\"count\":2,\"ns\":120000},\"compute_output\":{\"count\":2,\"ns\":10000},"
        "\"cache_hit\":{\"count\":0,\"ns\":0},\"cache_miss\":{\"count\":0,\"ns\":0}},\"batch_stats\":["
        "{\"batch_size\":3,\"compute_input\":{\"count\":2,\"ns\":30},\"compute_infer\":{\"count\":2,\"ns\":300},"
        "\"compute_output\":{\"count\":2,\"ns\":5}},"
        "{\"batch_size\":1024,\"compute_input\":{\"count\":1,\"ns\":1},\"compute_infer\":{\"count\":1,\"ns\":2},"
        "\"compute_output\":{\"count\":1,\"ns\":0}}],\"response_stats\":{},\"memory_usage\":[]}",
        "%s", buf.bytes);
    ebm_buf_done(&buf);
}
