/* test_predict_msg.c - bad bodies with where and what; good bodies whole; answers as documented. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/json_read.h"
#include "proto/predict_msg.h"

static const struct predict_limits limits = {.max_rows = 4096, .max_samples = 65536, .max_timeout_ms = 30000};

static struct ebm_arena arena;

static void set_up(void)
{
    ebm_arena_init(&arena, 64 << 20);
}

static void tear_down(void)
{
    ebm_arena_done(&arena);
}

TestSuite(predict_msg, .init = set_up, .fini = tear_down);

static enum ebm_status read(const char *body, struct predict_request *ret_request, struct ebm_error *reterr)
{
    return predict_msg_read(body, strlen(body), &limits, &arena, ret_request, reterr);
}

Test(predict_msg, bad_bodies_are_refused_with_where_and_what)
{
    static const struct {
        const char *body, *where, *fragment;
    } cases[] = {
        {"[]", "body", "expected an object, got a list"},
        {"7", "body", "expected an object, got a number"},
        {"{}", "inputs", "missing"},
        {"{\"inputs\":[]}", "inputs", "1 to 4096 rows, got 0"},
        {"{\"inputs\":5}", "inputs", "got a number"},
        {"{\"inputs\":{}}", "inputs", "got an object"},
        {"{\"inputs\":[[]]}", "inputs[0]", "empty list"},
        {"{\"inputs\":[[1],[]]}", "inputs[1]", "expected 1 numbers as in inputs[0], got 0"},
        {"{\"inputs\":[[1],[1],[1,2]]}", "inputs[2]", "got 2"},
        {"{\"inputs\":[[1,2],3]}", "inputs[1]", "expected 2 numbers"},
        {"{\"inputs\":[[1],\"2\"]}", "inputs[1]", "got a text"},
        {"{\"inputs\":[[1,2],[3,null]]}", "inputs[1][1]", "got null"},
        {"{\"inputs\":[[[1]]]}", "inputs[0][0]", "got a list"},
        {"{\"inputs\":[[true]]}", "inputs[0][0]", "got true or false"},
        {"{\"inputs\":[[1]],\"inputs\":[[2]]}", "byte", "duplicate"},
        {"{\"inputs\":[[1e999]]}", "byte", "overflow"},
        {"{\"inputs\":[[NaN]]}", "byte", "not valid JSON"},
        {"{\"inputs\":[[1]],\"num_sample\":5}", "num_sample", "unknown field, expected one of: inputs, model"},
        {"{\"inputs\":[[1]],\"num_samples\":0}", "num_samples", "from 1 to 65536, got 0"},
        {"{\"inputs\":[[1]],\"num_samples\":1e9}", "num_samples", "got 1000000000"},
        {"{\"inputs\":[[1]],\"num_samples\":1.5}", "num_samples", "got 1.5"},
        {"{\"inputs\":[[1]],\"num_samples\":\"5\"}", "num_samples", "got a text"},
        {"{\"inputs\":[[1]],\"seed\":-1}", "seed", "got -1"},
        {"{\"inputs\":[[1]],\"seed\":9007199254740992}", "seed", "to 9007199254740991"},
        {"{\"inputs\":[[1]],\"version\":0}", "version", "from 1"},
        {"{\"inputs\":[[1]],\"version\":\"1\"}", "version", "got a text"},
        {"{\"inputs\":[[1]],\"timeout_ms\":30001}", "timeout_ms", "from 1 to 30000"},
        {"{\"inputs\":[[1]],\"model\":7}", "model", "expected a text"},
        {"{\"inputs\":[[1]],\"id\":null}", "id", "got null"},
        {"{\"inputs\":[[1]],\"outputs\":[]}", "outputs", "got 0"},
        {"{\"inputs\":[[1]],\"outputs\":\"mean\"}", "outputs", "expected a list"},
        {"{\"inputs\":[[1]],\"outputs\":[\"mean\",7]}", "outputs[1]", "expected a text"},
        {"{\"inputs\":[[1]],\"outputs\":[\"men\"]}", "outputs[0]",
         "unknown word 'men', expected one of: mean, std, variance, median, quantiles, log_normalizer"},
        {"{\"inputs\":[[1]],\"outputs\":[\"covariance\"]}", "outputs[0]",
         "'covariance' is not available in this version"},
        {"{\"inputs\":[[1]],\"outputs\":[\"mode\"]}", "outputs[0]", "'mode' is not available in this version"},
        {"{\"inputs\":[[1]],\"outputs\":[\"interval\"]}", "outputs[0]", "not available in this version"},
        {"{\"inputs\":[[1]],\"outputs\":[\"entropy\"]}", "outputs[0]", "not available in this version"},
        {"{\"inputs\":[[1]],\"outputs\":[\"cdf\"]}", "outputs[0]", "not available in this version"},
        {"{\"inputs\":[[1]],\"outputs\":[\"crps\"]}", "outputs[0]", "not available in this version"},
        {"{\"inputs\":[[1]],\"estimator\":\"exact\"}", "estimator", "'exact' is not available in this version"},
        {"{\"inputs\":[[1]],\"estimator\":\"quadrature\"}", "estimator", "not available in this version"},
        {"{\"inputs\":[[1]],\"estimator\":\"best\"}", "estimator", "expected one of: auto, importance, mixture"},
        {"{\"inputs\":[[1]],\"draws\":\"sobol\"}", "draws", "'sobol' is not available in this version"},
        {"{\"inputs\":[[1]],\"draws\":\"halton\"}", "draws", "expected one of: independent"},
        {"{\"inputs\":[[1]],\"interval\":{\"level\":0.9}}", "interval", "not available in this version"},
        {"{\"inputs\":[[1]],\"cdf\":[1]}", "cdf", "not available in this version"},
        {"{\"inputs\":[[1]],\"crps_at\":[1]}", "crps_at", "not available in this version"},
        {"{\"inputs\":[[1]],\"target_ess\":100}", "target_ess", "not available in this version"},
        {"{\"inputs\":[[1]],\"max_samples\":100}", "max_samples", "not available in this version"},
        {"{\"inputs\":[[1]],\"quantiles\":[]}", "quantiles", "got 0"},
        {"{\"inputs\":[[1]],\"quantiles\":[0.5,1]}", "quantiles[1]", "between 0 and 1"},
        {"{\"inputs\":[[1]],\"quantiles\":[0]}", "quantiles[0]", "between 0 and 1"},
        {"{\"inputs\":[[1]],\"quantiles\":[\"0.5\"]}", "quantiles[0]", "between 0 and 1"},
        {"{\"inputs\":[[1]],\"quantiles\":0.5}", "quantiles", "got a number"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct predict_request request = {.rows = 77};
        struct ebm_error error = {.status = EBM_OK};
        cr_expect_eq(read(cases[i].body, &request, &error), EBM_INVALID, "%s", cases[i].body);
        cr_expect_eq(request.rows, 77, "%s: the output was touched", cases[i].body);
        bool is_byte = strcmp(cases[i].where, "byte") == 0;
        cr_expect(is_byte ? strncmp(error.where, "byte ", 5) == 0 : strcmp(error.where, cases[i].where) == 0,
                  "%s: where '%s'", cases[i].body, error.where);
        cr_expect_not_null(strstr(error.text, cases[i].fragment), "%s: '%s'", cases[i].body, error.text);
    }
}

Test(predict_msg, more_rows_than_allowed_are_refused)
{
    struct predict_limits few = {.max_rows = 2, .max_samples = 100, .max_timeout_ms = 1000};
    struct predict_request request;
    struct ebm_error error;
    const char *body = "{\"inputs\":[1,2,3]}";
    cr_assert_eq(predict_msg_read(body, strlen(body), &few, &arena, &request, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "1 to 2 rows, got 3"), "%s", error.text);
    body = "{\"inputs\":[1,2],\"num_samples\":101}";
    cr_assert_eq(predict_msg_read(body, strlen(body), &few, &arena, &request, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "from 1 to 100"), "%s", error.text);
    body = "{\"inputs\":[1,2]}";
    cr_assert_eq(predict_msg_read(body, strlen(body), &few, &arena, &request, &error), EBM_OK);
    cr_assert_eq(request.num_samples, 100, "%lu", (unsigned long)request.num_samples);
}

Test(predict_msg, without_memory_nothing_is_returned)
{
    struct ebm_arena small;
    struct predict_request request;
    struct ebm_error error;
    ebm_arena_init(&small, 8);
    cr_assert_eq(predict_msg_read("{\"inputs\":[1]}", 14, &limits, &small, &request, &error), EBM_NO_MEMORY);
    cr_assert_str_eq(error.where, "inputs");
    ebm_arena_done(&small);
}

Test(predict_msg, defaults)
{
    struct predict_request request;
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(read("{\"inputs\":[[0.25]]}", &request, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_null(request.model);
    cr_assert_null(request.id);
    cr_assert_eq(request.version, 0);
    cr_assert_eq(request.rows, 1);
    cr_assert_eq(request.X, 1);
    cr_assert_eq(request.inputs[0], 0.25);
    cr_assert_eq(request.outputs, PREDICT_OUTPUT(MEAN) | PREDICT_OUTPUT(STD), "%x", request.outputs);
    cr_assert_eq(request.estimator, PREDICT_ESTIMATOR_AUTO);
    cr_assert_eq(request.draws, PREDICT_DRAWS_INDEPENDENT);
    cr_assert_eq(request.num_samples, 1024);
    cr_assert(!request.has_num_samples && !request.has_seed);
    cr_assert_eq(request.n_quantiles, 0);
    cr_assert_eq(request.timeout_ms, 0);
}

Test(predict_msg, everything_given)
{
    struct predict_request request;
    struct ebm_error error = {.status = EBM_OK};
    const char *body =
        "{\"model\":\"geyser\",\"version\":2,\"inputs\":[[80,1],[50,-2e3]],\"outputs\":[\"median\"],"
        "\"estimator\":\"importance\",\"num_samples\":65536,\"draws\":\"independent\","
        "\"seed\":9007199254740991,\"quantiles\":[0.25],\"timeout_ms\":250,\"id\":\"gr\xc3\xbc\xc3\x9f\"}";
    cr_assert_eq(read(body, &request, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_str_eq(request.model, "geyser");
    cr_assert_str_eq(request.id, "gr\xc3\xbc\xc3\x9f");
    cr_assert_eq(request.version, 2);
    cr_assert_eq(request.rows, 2);
    cr_assert_eq(request.X, 2);
    cr_assert_eq(request.inputs[3], -2000.0, "%g", request.inputs[3]);
    cr_assert_eq(request.outputs, PREDICT_OUTPUT(MEDIAN) | PREDICT_OUTPUT(QUANTILES), "%x", request.outputs);
    cr_assert_eq(request.estimator, PREDICT_ESTIMATOR_IMPORTANCE);
    cr_assert_eq(request.num_samples, 65536);
    cr_assert(request.has_num_samples && request.has_seed);
    cr_assert_eq(request.seed, (1ull << 53) - 1);
    cr_assert_eq(request.n_quantiles, 1);
    cr_assert_eq(request.quantiles[0], 0.25);
    cr_assert_eq(request.timeout_ms, 250);
}

Test(predict_msg, quantiles_by_name_have_a_default)
{
    struct predict_request request;
    struct ebm_error error;
    cr_assert_eq(read("{\"inputs\":[1,[2],3],\"outputs\":[\"quantiles\"]}", &request, &error), EBM_OK);
    cr_assert_eq(request.rows, 3);
    cr_assert_eq(request.inputs[1], 2.0);
    cr_assert_eq(request.n_quantiles, 3);
    cr_assert_eq(request.quantiles[2], 0.95);
    cr_assert_eq(request.outputs, PREDICT_OUTPUT(QUANTILES));
}

/* ---- answers ---- */

static const double two[] = {1.5, -2}, quantile_values[] = {1, 2, 3, NAN}, probabilities[] = {0.05, 0.5};

static const struct predict_answer answer = {.model = "m",
                                             .version = 3,
                                             .id = "a\"b",
                                             .seed = 7,
                                             .D = 2,
                                             .n_quantiles = 2,
                                             .quantiles = probabilities,
                                             .digits = 9};

static char *write_one(const struct predict_answer *head, const struct predict_row *row)
{
    static char text[4096];
    struct ebm_buf buf;
    ebm_buf_init(&buf, sizeof text - 1);
    predict_msg_begin(&buf, head);
    predict_msg_row(&buf, head, row, 0);
    cr_assert_eq(predict_msg_end(&buf), EBM_OK);
    (void)snprintf(text, sizeof text, "%s", buf.bytes);
    ebm_buf_done(&buf);
    return text;
}

Test(predict_msg, an_importance_answer_as_documented)
{
    struct predict_row row = {.mean = two,
                              .std = two,
                              .variance = two,
                              .median = two,
                              .quantile_values = quantile_values,
                              .has_log_normalizer = true,
                              .log_normalizer = -0.25,
                              .drew = true,
                              .num_samples = 1024,
                              .ess = 512,
                              .max_weight = 0.125,
                              .mcse_mean = two,
                              .reliable = false,
                              .reason = "low_ess"};
    const char *expected =
        "{\"model\":\"m\",\"version\":3,\"id\":\"a\\\"b\",\"seed\":7,\"predictions\":[{\"mean\":[1.5,-2],"
        "\"std\":[1.5,-2],\"variance\":[1.5,-2],\"median\":[1.5,-2],"
        "\"quantiles\":[{\"probability\":0.05,\"value\":[1,2]},{\"probability\":0.5,\"value\":[3,null]}],"
        "\"log_normalizer\":-0.25,\"diagnostics\":{\"estimator\":\"importance\","
        "\"num_samples\":1024,\"ess\":512,\"ess_ratio\":0.5,\"max_weight\":0.125,\"mcse_mean\":[1.5,-2],"
        "\"reliable\":false,\"reason\":\"low_ess\"}}]}\n";
    char *text = write_one(&answer, &row);
    cr_assert_str_eq(text, expected, "%s", text);
}

Test(predict_msg, a_mixture_answer_says_what_it_ignored)
{
    struct predict_row row = {.mean = two, .reliable = true};
    struct predict_answer head = answer;
    head.id = NULL;
    char *text = write_one(&head, &row);
    cr_assert_str_eq(text,
                     "{\"model\":\"m\",\"version\":3,\"seed\":7,\"predictions\":[{\"mean\":[1.5,-2],\"diagnostics\":"
                     "{\"estimator\":\"mixture\",\"reliable\":true,\"reason\":null}}]}\n",
                     "%s", text);
    head.num_samples_ignored = true;
    text = write_one(&head, &row);
    cr_assert_not_null(strstr(text, "\"mixture\",\"num_samples_ignored\":true,"), "%s", text);
}

Test(predict_msg, the_bound_holds_for_the_longest_numbers)
{
    enum { ROWS = 3, D = LIMIT_TARGET_DIM, Q = LIMIT_QUANTILES };
    static double numbers[Q * D], p[Q];
    for (size_t i = 0; i < EBM_COUNT_OF(numbers); i++)
        numbers[i] = -1.2345678901234567e-300;
    for (size_t q = 0; q < Q; q++)
        p[q] = 0.12345678901234567 + 1e-9 * (double)q;
    struct predict_request request = {.rows = ROWS, .n_quantiles = Q};
    struct predict_answer head = {.model = "m",
                                  .version = PREDICT_MAX_SEED,
                                  .seed = PREDICT_MAX_SEED,
                                  .D = D,
                                  .n_quantiles = Q,
                                  .quantiles = p,
                                  .digits = 17};
    struct predict_row row = {.mean = numbers,
                              .std = numbers,
                              .variance = numbers,
                              .median = numbers,
                              .quantile_values = numbers,
                              .has_log_normalizer = true,
                              .log_normalizer = numbers[0],
                              .drew = true,
                              .num_samples = LIMIT_SAMPLES,
                              .ess = 1.0 / 3,
                              .max_weight = 1.0 / 3,
                              .mcse_mean = numbers,
                              .reason = "dominant_weight"};
    struct ebm_buf buf;
    ebm_buf_init(&buf, 64 << 20);
    predict_msg_begin(&buf, &head);
    for (uint32_t i = 0; i < ROWS; i++)
        predict_msg_row(&buf, &head, &row, i);
    cr_assert_eq(predict_msg_end(&buf), EBM_OK);
    cr_assert_leq(buf.size, predict_msg_bound(&request, D), "%zu bytes, bound %zu", buf.size,
                  predict_msg_bound(&request, D));
    struct json_t *root = NULL;
    cr_assert_eq(json_read_parse(buf.bytes, buf.size, &(struct json_read_limits){100, 1 << 20}, &root, NULL), EBM_OK);
    json_read_freep(&root);
    ebm_buf_done(&buf);
}
