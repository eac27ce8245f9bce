/* test_serving.c - what serving.json may say, what it may not, and what is told then; defaults in requests. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/serving.h"

static const struct request_limits limits = {4096, 8192, 1000, 30000, 30000000};

static struct serving *standard_settings(void)
{
    return serving_new(&(struct batcher_lane_limits){.max_rows = 64, .max_delay_us = 7}, 1);
}

static enum ebm_status parse(const char *text, struct serving **ret_serving, struct ebm_error *reterr)
{
    struct serving *standard = standard_settings();
    enum ebm_status status = serving_parse(text, strlen(text), standard, &limits, ret_serving, reterr);
    (void)serving_unref(standard);
    return status;
}

static struct serving *parse_good(const char *text)
{
    struct serving *serving = NULL;
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(parse(text, &serving, &error), EBM_OK, "%s: %s: %s", text, error.where, error.text);
    return serving;
}

Test(serving, says_nothing_by_default)
{
    struct serving *serving = parse_good(" {} ");
    cr_expect_eq(serving->lane.max_rows, 64);
    cr_expect_eq(serving->lane.max_delay_us, 7);
    cr_expect_eq(serving->policy, SERVING_BY_LATEST);
    cr_expect_eq(serving->defaults.seen, 0);
    (void)serving_unref(serving);
}

Test(serving, says_everything)
{
    struct serving *serving = parse_good(
        "{\"max_batch_size\": 16, \"max_queue_delay_microseconds\": 500, \"max_queue_size\": 100,"
        "\"priority_levels\": 3, \"instances\": 2, \"device\": \"cpu\", \"version_policy\": {\"latest\": 2},"
        "\"defaults\": {\"estimator\": \"importance\", \"num_samples\": 8192, \"timeout_ms\": 500,"
        "\"num_proposals\": 2048, \"draws\": \"independent\", \"weights\": \"smoothed\","
        "\"target_ess\": 100, \"max_samples\": 4096, \"priority\": 2}}");
    cr_expect_eq(serving->lane.max_rows, 16);
    cr_expect_eq(serving->lane.max_delay_us, 500);
    cr_expect_eq(serving->lane.max_tickets, 100);
    cr_expect_eq(serving->lane.n_priorities, 3);
    cr_expect_eq(serving->lane.max_batches, 2);
    cr_expect_eq(serving->n_latest, 2);
    cr_expect_eq(serving->defaults.estimator, REQUEST_ESTIMATOR_IMPORTANCE);
    cr_expect_eq(serving->defaults.num_samples, 8192);
    cr_expect_eq(serving->defaults.timeout_ms, 500);
    cr_expect_eq(serving->defaults.max_samples, 4096);
    (void)serving_unref(serving);
}

Test(serving, versions_by_policy)
{
    static const struct {
        const char *text;
        uint64_t version, n_available;
        bool wanted;
    } cases[] = {
        {"{}", 5, 0, true},
        {"{}", 5, 1, false},
        {"{\"version_policy\": \"all\"}", 5, 1000, true},
        {"{\"version_policy\": {\"latest\": 3}}", 5, 2, true},
        {"{\"version_policy\": {\"latest\": 3}}", 5, 3, false},
        {"{\"version_policy\": {\"specific\": [7, 5]}}", 5, 3, true},
        {"{\"version_policy\": {\"specific\": [7, 5]}}", 6, 0, false},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct serving *serving = parse_good(cases[i].text);
        cr_expect_eq(serving_wants(serving, cases[i].version, cases[i].n_available), cases[i].wanted, "case %zu", i);
        (void)serving_unref(serving);
    }
}

Test(serving, refuses_with_the_key_what_was_there_what_was_expected_and_a_way_out)
{
    static const struct {
        const char *text, *where, *fragment;
    } cases[] = {
        {"", "serving.json", "JSON"},
        {"{", "serving.json", "JSON"},
        {"[]", "serving.json", "expected an object"},
        {"{\"max_batch_size\": 1, \"max_batch_size\": 1}", "serving.json", "duplicate"},
        {"{\"max_batch_sise\": 1}", "serving.json: max_batch_sise", "unknown key, did you mean 'max_batch_size'?"},
        {"{\"colour\": 1}", "serving.json: colour", "expected one of: max_batch_size, max_queue_delay_microseconds"},
        {"{\"max_batch_size\": 0}", "serving.json: max_batch_size", "got 0, expected a whole number from 1 to 64"},
        {"{\"max_batch_size\": 65}", "serving.json: max_batch_size", "raise the server's --max-batch-size"},
        {"{\"max_batch_size\": \"8\"}", "serving.json: max_batch_size", "got \"8\", expected a whole number"},
        {"{\"max_batch_size\": 8.5}", "serving.json: max_batch_size", "got 8.5, expected a whole number"},
        {"{\"max_queue_delay_microseconds\": 1000001}", "serving.json: max_queue_delay_microseconds", "to 1000000"},
        {"{\"max_queue_size\": -1}", "serving.json: max_queue_size", "got -1, expected a whole number from 0"},
        {"{\"priority_levels\": 17}", "serving.json: priority_levels", "to 16: have fewer levels"},
        {"{\"instances\": null}", "serving.json: instances", "got null"},
        {"{\"device\": \"cuda\"}", "serving.json: device", "got \"cuda\", expected \"cpu\""},
        {"{\"device\": 0}", "serving.json: device", "got 0"},
        {"{\"defaults\": []}", "serving.json: defaults", "expected an object of fields of requests"},
        {"{\"defaults\": {\"seed\": 1}}", "serving.json: defaults.seed", "unknown field, expected one of: estimator"},
        {"{\"defaults\": {\"estimator\": \"magic\"}}", "serving.json: defaults.estimator", "unknown word 'magic'"},
        {"{\"defaults\": {\"num_samples\": 8193}}", "serving.json: defaults.num_samples", "8192"},
        {"{\"defaults\": {\"timeout_ms\": 30001}}", "serving.json: defaults.timeout_ms", "30000"},
        {"{\"defaults\": {\"max_samples\": 64}}", "serving.json: defaults.max_samples", "give target_ess too"},
        {"{\"defaults\": {\"priority\": 2}}", "serving.json: defaults.priority", "got 2, expected 0 to 1"},
        {"{\"priority_levels\": 2, \"defaults\": {\"priority\": 3}}", "serving.json: defaults.priority", "0 to 2"},
        {"{\"version_policy\": \"latest\"}", "serving.json: version_policy", "write \"all\", {\"latest\": 2}"},
        {"{\"version_policy\": {}}", "serving.json: version_policy", "got an object"},
        {"{\"version_policy\": {\"latest\": 0}}", "serving.json: version_policy", "whole numbers from 1 on"},
        {"{\"version_policy\": {\"specific\": []}}", "serving.json: version_policy", "whole numbers from 1 on"},
        {"{\"version_policy\": {\"specific\": [1, \"2\"]}}", "serving.json: version_policy", "whole numbers"},
        {"{\"version_policy\": {\"latest\": 1, \"specific\": [1]}}", "serving.json: version_policy", "whole numbers"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct serving *serving = NULL;
        struct ebm_error error = {.status = EBM_OK};
        cr_expect_eq(parse(cases[i].text, &serving, &error), EBM_INVALID, "%s", cases[i].text);
        cr_expect_null(serving, "%s", cases[i].text);
        cr_expect_eq(strncmp(error.where, cases[i].where, strlen(cases[i].where)), 0, "%s: where '%s'", cases[i].text,
                     error.where);
        cr_expect_not_null(strstr(error.text, cases[i].fragment), "%s: '%s'", cases[i].text, error.text);
        (void)serving_unref(serving);
    }
}

Test(serving, a_file_must_be_a_file_and_short)
{
    char root[] = "/tmp/ebm-serving-XXXXXX", path[64];
    struct serving *standard = standard_settings(), *serving = NULL;
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_not_null(mkdtemp(root));
    (void)snprintf(path, sizeof path, "%s/serving.json", root);
    cr_expect_eq(serving_read(path, standard, &limits, &serving, &error), EBM_INVALID);
    cr_expect_not_null(strstr(error.text, "No such file"), "%s", error.text);
    cr_assert_eq(mkfifo(path, 0600), 0); /* nothing may wait for a writer */
    cr_expect_eq(serving_read(path, standard, &limits, &serving, &error), EBM_INVALID);
    cr_expect_not_null(strstr(error.text, "not a file"), "%s", error.text);
    (void)unlink(path);
    FILE *file = fopen(path, "we");
    for (uint32_t i = 0; i <= LIMIT_OPTIONS_FILE_BYTES; i++)
        (void)fputc(' ', file);
    (void)fclose(file);
    cr_expect_eq(serving_read(path, standard, &limits, &serving, &error), EBM_INVALID);
    cr_expect_not_null(strstr(error.text, "at most 65536 bytes"), "%s", error.text);
    (void)unlink(path);
    (void)rmdir(root);
    (void)serving_unref(standard);
}

Test(serving, priorities_are_those_of_the_model)
{
    static const struct {
        uint64_t given;
        uint32_t expected; /* 0: refused */
    } cases[] = {{0, 3}, {1, 1}, {2, 2}, {3, 3}, {4, 0}, {16, 0}};
    struct serving *serving = parse_good("{\"priority_levels\": 3}");
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        uint32_t priority = 0;
        struct ebm_error error = {.status = EBM_OK};
        enum ebm_status status = serving_priority(serving, cases[i].given, &priority, &error);
        cr_expect_eq(status == EBM_OK, cases[i].expected > 0, "case %zu: %s", i, error.text);
        cr_expect_eq(priority, cases[i].expected, "case %zu: %u", i, priority);
    }
    (void)serving_unref(serving);
}

/* ---- defaults in requests ---- */

static struct request read_with(const struct serving *serving, enum request_kind kind, const char *body,
                                struct ebm_arena *arena)
{
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(request_read(kind, body, strlen(body), &limits, arena, &request, &error), EBM_OK, "%s: %s: %s", body,
                 error.where, error.text);
    request_defaults_apply(&serving->defaults, &request);
    return request;
}

Test(serving, a_default_holds_where_a_request_says_nothing)
{
    struct serving *serving = parse_good(
        "{\"priority_levels\": 2, \"defaults\": {\"estimator\": \"importance\", \"num_samples\": 4096,"
        "\"num_proposals\": 2048, \"timeout_ms\": 500, \"target_ess\": 100, \"max_samples\": 8192,"
        "\"draws\": \"independent\", \"weights\": \"smoothed\", \"priority\": 1}}");
    struct ebm_arena arena;
    ebm_arena_init(&arena, 1u << 20);
    struct request r = read_with(serving, REQUEST_PREDICT, "{\"inputs\": [[1]]}", &arena);
    cr_expect(r.estimator == REQUEST_ESTIMATOR_IMPORTANCE && r.num_draws == 4096 && r.timeout_ms == 500 &&
              r.target_ess == 100 && r.max_samples == 8192 && r.draws == REQUEST_DRAWS_INDEPENDENT &&
              r.weights == REQUEST_WEIGHTS_SMOOTHED && r.priority == 1);
    r = read_with(
        serving, REQUEST_PREDICT,
        "{\"inputs\": [[1]], \"estimator\": \"auto\", \"num_samples\": 10, \"timeout_ms\": 7, \"target_ess\": 5,"
        "\"draws\": \"sobol\", \"weights\": \"raw\", \"priority\": 2}",
        &arena);
    cr_expect(r.estimator == REQUEST_ESTIMATOR_AUTO && r.num_draws == 10 && r.timeout_ms == 7 && r.target_ess == 5 &&
              r.max_samples != 8192 + 1 && r.draws == REQUEST_DRAWS_SOBOL && r.weights == REQUEST_WEIGHTS_RAW &&
              r.priority == 2);
    r = read_with(serving, REQUEST_SAMPLE, "{\"inputs\": [[1]]}", &arena);
    cr_expect(r.num_draws == 2048 && r.num_samples == 100 && r.target_ess == 0, "%d draws, %d samples",
              (int)r.num_draws, (int)r.num_samples);
    r = read_with(serving, REQUEST_REFINE, "{\"inputs\": [[1]]}", &arena);
    cr_expect(r.num_draws == 4096 && r.estimator == 0 && r.timeout_ms == 500);
    ebm_arena_done(&arena);
    (void)serving_unref(serving);
}
