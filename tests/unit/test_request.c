/* test_request.c - bad bodies with where and what; good bodies whole. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/request.h"

static const struct request_limits limits = {
    .max_rows = 4096, .max_samples = 65536, .max_steps = 10000, .max_timeout_ms = 30000};

static struct ebm_arena arena;

static void set_up(void)
{
    ebm_arena_init(&arena, 64 << 20);
}

static void tear_down(void)
{
    ebm_arena_done(&arena);
}

TestSuite(request, .init = set_up, .fini = tear_down);

static enum ebm_status read_as(enum request_kind kind, const char *body, struct request *ret_request,
                               struct ebm_error *reterr)
{
    return request_read(kind, body, strlen(body), &limits, &arena, ret_request, reterr);
}

static enum ebm_status read(const char *body, struct request *ret_request, struct ebm_error *reterr)
{
    return read_as(REQUEST_PREDICT, body, ret_request, reterr);
}

Test(request, bad_bodies_are_refused_with_where_and_what)
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
         "unknown word 'men', expected one of: mean, std, variance, median, quantiles, interval, log_normalizer"},
        {"{\"inputs\":[[1]],\"outputs\":[\"cdf\"]}", "cdf", "missing, expected the targets"},
        {"{\"inputs\":[[1]],\"outputs\":[\"crps\"]}", "crps_at", "missing, expected the targets"},
        {"{\"inputs\":[[1]],\"estimator\":\"best\"}", "estimator",
         "expected one of: auto, importance, mixture, exact, quadrature"},
        {"{\"inputs\":[[1]],\"draws\":\"halton\"}", "draws", "expected one of: sobol, independent"},
        {"{\"inputs\":[[1]],\"weights\":\"cut\"}", "weights", "expected one of: raw, smoothed"},
        {"{\"inputs\":[[1]],\"interval\":0.9}", "interval", "expected an object, got a number"},
        {"{\"inputs\":[[1]],\"interval\":{\"level\":1}}", "interval.level", "both excluded, got 1"},
        {"{\"inputs\":[[1]],\"interval\":{\"mass\":0.9}}", "interval.mass", "expected one of: kind, level"},
        {"{\"inputs\":[[1]],\"id\":\"a\\u0000b\"}", "byte", "not allowed in a text"},
        {"{\"inputs\":[[1]],\"cdf\":[]}", "cdf", "got 0"},
        {"{\"inputs\":[[1]],\"cdf\":1}", "cdf", "got a number"},
        {"{\"inputs\":[[1]],\"cdf\":[[]]}", "cdf[0]", "got 0"},
        {"{\"inputs\":[[1]],\"cdf\":[1,\"a\"]}", "cdf[1]", "expected a number, got a text"},
        {"{\"inputs\":[[1],[2]],\"cdf\":[[1,2],[3]]}", "cdf[1]", "expected 2 numbers as in cdf[0], got 1"},
        {"{\"inputs\":[[1],[2]],\"crps_at\":[[1,2]]}", "crps_at", "or 2 lists, one for each row of inputs; got 1"},
        {"{\"inputs\":[[1],[2]],\"crps_at\":[[1,3],2]}", "crps_at[1]", "expected 2 numbers"},
        {"{\"inputs\":[[1]],\"target_ess\":0}", "target_ess", "1"},
        {"{\"inputs\":[[1]],\"target_ess\":1,\"max_samples\":65537}", "max_samples", "65536"},
        {"{\"inputs\":[[1]],\"max_samples\":100}", "max_samples", "give target_ess too"},
        {"{\"inputs\":[[1]],\"quantiles\":[]}", "quantiles", "got 0"},
        {"{\"inputs\":[[1]],\"quantiles\":[0.5,1]}", "quantiles[1]", "between 0 and 1"},
        {"{\"inputs\":[[1]],\"quantiles\":[0]}", "quantiles[0]", "between 0 and 1"},
        {"{\"inputs\":[[1]],\"quantiles\":[\"0.5\"]}", "quantiles[0]", "got a text"},
        {"{\"inputs\":[[1]],\"quantiles\":0.5}", "quantiles", "got a number"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct request request = {.inputs.n = 77};
        struct ebm_error error = {.status = EBM_OK};
        cr_expect_eq(read(cases[i].body, &request, &error), EBM_INVALID, "%s", cases[i].body);
        cr_expect_eq(request.inputs.n, 77, "%s: the output was touched", cases[i].body);
        bool is_byte = strcmp(cases[i].where, "byte") == 0;
        cr_expect(is_byte ? strncmp(error.where, "byte ", 5) == 0 : strcmp(error.where, cases[i].where) == 0,
                  "%s: where '%s'", cases[i].body, error.where);
        cr_expect_not_null(strstr(error.text, cases[i].fragment), "%s: '%s'", cases[i].body, error.text);
    }
}

Test(request, more_rows_than_allowed_are_refused)
{
    struct request_limits few = {.max_rows = 2, .max_samples = 100, .max_timeout_ms = 1000};
    struct request request;
    struct ebm_error error;
    const char *body = "{\"inputs\":[1,2,3]}";
    cr_assert_eq(request_read(REQUEST_PREDICT, body, strlen(body), &few, &arena, &request, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "1 to 2 rows, got 3"), "%s", error.text);
    body = "{\"inputs\":[1,2],\"num_samples\":101}";
    cr_assert_eq(request_read(REQUEST_PREDICT, body, strlen(body), &few, &arena, &request, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "from 1 to 100"), "%s", error.text);
    body = "{\"inputs\":[1,2]}";
    cr_assert_eq(request_read(REQUEST_PREDICT, body, strlen(body), &few, &arena, &request, &error), EBM_OK);
    cr_assert_eq(request.num_draws, 100, "%lu", (unsigned long)request.num_draws);
}

Test(request, without_memory_nothing_is_returned)
{
    struct ebm_arena small;
    struct request request;
    struct ebm_error error;
    ebm_arena_init(&small, 8);
    cr_assert_eq(request_read(REQUEST_PREDICT, "{\"inputs\":[1]}", 14, &limits, &small, &request, &error),
                 EBM_NO_MEMORY);
    cr_assert_str_eq(error.where, "inputs");
    ebm_arena_done(&small);
}

Test(request, defaults)
{
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(read("{\"inputs\":[[0.25]]}", &request, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_null(request.model);
    cr_assert_null(request.id);
    cr_assert_eq(request.version, 0);
    cr_assert_eq(request.inputs.n, 1);
    cr_assert_eq(request.inputs.X, 1);
    cr_assert_eq(request.inputs.numbers[0], 0.25);
    cr_assert_eq(request.outputs, 1u << REQUEST_PREDICT_MEAN | 1u << REQUEST_PREDICT_STD, "%x", request.outputs);
    cr_assert_eq(request.estimator, REQUEST_ESTIMATOR_AUTO);
    cr_assert_eq(request.draws, REQUEST_DRAWS_SOBOL);
    cr_assert_eq(request.weights, REQUEST_WEIGHTS_RAW);
    cr_assert_eq(request.target_ess, 0);
    cr_assert_eq(request.max_samples, 16384);
    cr_assert_eq(request_draws(&request), 1024);
    cr_assert_eq(request.num_draws, 1024);
    cr_assert(!request.has_num_draws && !request.has_seed);
    cr_assert_eq(request.quantiles.n, 0);
    cr_assert_eq(request.timeout_ms, 0);
}

Test(request, everything_given)
{
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    const char *body =
        "{\"model\":\"geyser\",\"version\":2,\"inputs\":[[80,1],[50,-2e3]],\"outputs\":[\"median\"],"
        "\"estimator\":\"importance\",\"num_samples\":65536,\"draws\":\"independent\","
        "\"seed\":9007199254740991,\"quantiles\":[0.25],\"timeout_ms\":250,\"id\":\"gr\xc3\xbc\xc3\x9f\"}";
    cr_assert_eq(read(body, &request, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_str_eq(request.model, "geyser");
    cr_assert_str_eq(request.id, "gr\xc3\xbc\xc3\x9f");
    cr_assert_eq(request.version, 2);
    cr_assert_eq(request.inputs.n, 2);
    cr_assert_eq(request.inputs.X, 2);
    cr_assert_eq(request.inputs.numbers[3], -2000.0, "%g", request.inputs.numbers[3]);
    cr_assert_eq(request.outputs, 1u << REQUEST_PREDICT_MEDIAN | 1u << REQUEST_PREDICT_QUANTILES, "%x",
                 request.outputs);
    cr_assert_eq(request.estimator, REQUEST_ESTIMATOR_IMPORTANCE);
    cr_assert_eq(request.num_draws, 65536);
    cr_assert(request.has_num_draws && request.has_seed);
    cr_assert_eq(request.seed, (1ull << 53) - 1);
    cr_assert_eq(request.quantiles.n, 1);
    cr_assert_eq(request.quantiles.numbers[0], 0.25);
    cr_assert_eq(request.timeout_ms, 250);
}

Test(request, quantiles_by_name_have_a_default)
{
    struct request request;
    struct ebm_error error;
    cr_assert_eq(read("{\"inputs\":[1,[2],3],\"outputs\":[\"quantiles\"]}", &request, &error), EBM_OK);
    cr_assert_eq(request.inputs.n, 3);
    cr_assert_eq(request.inputs.numbers[1], 2.0);
    cr_assert_eq(request.quantiles.n, 3);
    cr_assert_eq(request.quantiles.numbers[2], 0.95);
    cr_assert_eq(request.outputs, 1u << REQUEST_PREDICT_QUANTILES);
}

Test(request, an_interval_has_a_default_level)
{
    struct request request;
    struct ebm_error error;
    cr_assert_eq(read("{\"inputs\":[1],\"outputs\":[\"interval\"]}", &request, &error), EBM_OK);
    cr_assert_eq(request.outputs, 1u << REQUEST_PREDICT_INTERVAL);
    cr_assert_eq(request.interval_level, 0.9);
    cr_assert_eq(read("{\"inputs\":[1],\"interval\":{\"level\":0.5}}", &request, &error), EBM_OK);
    cr_assert(request.outputs & 1u << REQUEST_PREDICT_INTERVAL);
    cr_assert_eq(request.interval_level, 0.5);
}

Test(request, an_id_is_counted_in_characters)
{
    struct request request;
    struct ebm_error error;
    char body[1100] = "{\"inputs\":[1],\"id\":\"";
    for (int i = 0; i < 256; i++)
        (void)strncat(body, "\xc3\xbc", 3);
    size_t length = strlen(body);
    (void)strncat(body, "\"}", 3);
    cr_assert_eq(read(body, &request, &error), EBM_OK, "%s", error.text);
    body[length] = 0;
    (void)strncat(body, "x\"}", 4);
    cr_assert_eq(read(body, &request, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "at most 256 characters, got 257"), "%s", error.text);
}

Test(request, a_first_row_that_is_too_long_is_not_multiplied_by_the_rows)
{
    static char body[1 << 17];
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    size_t used = (size_t)snprintf(body, sizeof body, "{\"inputs\":[[1");
    for (int i = 1; i < 20000; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, ",1");
    used += (size_t)snprintf(body + used, sizeof body - used, "]");
    for (int i = 1; i < 4000; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, ",1");
    (void)snprintf(body + used, sizeof body - used, "]}");
    struct ebm_arena small;
    ebm_arena_init(&small, 1 << 20);
    cr_assert_eq(request_read(REQUEST_PREDICT, body, strlen(body), &limits, &small, &request, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "inputs[1]", "%s: %s", error.where, error.text);
    ebm_arena_done(&small);
}

Test(request, samples)
{
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(read_as(REQUEST_SAMPLE, "{\"inputs\":[1]}", &request, &error), EBM_OK, "%s", error.text);
    cr_assert(request.resample && request.num_samples == 100 && request.num_draws == 1024 && !request.has_num_draws);
    const char *body = "{\"inputs\":[1],\"num_samples\":5,\"num_proposals\":7,\"resample\":false}";
    cr_assert_eq(read_as(REQUEST_SAMPLE, body, &request, &error), EBM_OK, "%s", error.text);
    cr_assert(!request.resample && request.num_samples == 5 && request.num_draws == 7 && request.has_num_draws);
}

Test(request, densities_at_targets_and_on_a_grid)
{
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    const char *body = "{\"inputs\":[[1],[2]],\"targets\":[[[1,2],[3,4],[5,6]],[[7,8],[9,10],[11,12]]]}";
    cr_assert_eq(read_as(REQUEST_DENSITY, body, &request, &error), EBM_OK, "%s", error.text);
    cr_assert(request.targets.rows == 2 && request.targets.n == 3 && request.targets.D == 2 && !request.has_grid);
    cr_assert_eq(request_targets(&request, 1)[5], 12.0);
    cr_assert_eq(request.outputs, (1u << REQUEST_DENSITY_OUTPUTS) - 1);
    body = "{\"inputs\":[1,2],\"grid\":{\"lower\":-1,\"upper\":1,\"points\":5}}";
    cr_assert_eq(read_as(REQUEST_DENSITY, body, &request, &error), EBM_OK, "%s", error.text);
    cr_assert(request.has_grid && request.targets.n == 5 && request.targets.D == 1);
    for (uint32_t row = 0; row < 2; row++)
        for (int i = 0; i < 5; i++)
            cr_assert_float_eq(request_targets(&request, row)[i], -1.0 + 0.5 * i, 1e-15);
    body = "{\"inputs\":[1],\"grid\":{\"lower\":60,\"upper\":110,\"points\":51}}";
    cr_assert_eq(read_as(REQUEST_DENSITY, body, &request, &error), EBM_OK, "%s", error.text);
    for (int i = 0; i < 51; i++)
        cr_assert_eq(request_targets(&request, 0)[i], 60.0 + i, "%d of whole numbers", i);
    body = "{\"inputs\":[1],\"grid\":{\"lower\":-1.7e308,\"upper\":1.7e308,\"points\":3}}";
    cr_assert_eq(read_as(REQUEST_DENSITY, body, &request, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(request_targets(&request, 0)[1], 0.0, "far ends overflow");
    body = "{\"inputs\":[1],\"grid\":{\"lower\":3,\"upper\":9,\"points\":1}}";
    cr_assert_eq(read_as(REQUEST_DENSITY, body, &request, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(request_targets(&request, 0)[0], 3.0);
}

Test(request, refinements)
{
    struct request request;
    struct ebm_error error;
    cr_assert_eq(read_as(REQUEST_REFINE, "{\"inputs\":[1]}", &request, &error), EBM_OK, "%s", error.text);
    cr_assert(request.steps == 10 && request.starts == 4 && request.num_draws == 1024 && !request.trajectory);
    cr_assert(request.step_length.n == 1 && request.step_length.numbers[0] == 0.01 && request.decay == 0.5);
    cr_assert_null(request_initial(&request, 0));
    const char *body =
        "{\"inputs\":[1,2],\"initial\":[[[1,2],[3,4]],[[5,6],[7,8]]],\"step_length\":[0.1,2],\"decay\":0.25,"
        "\"trajectory\":true}";
    cr_assert_eq(read_as(REQUEST_REFINE, body, &request, &error), EBM_OK, "%s", error.text);
    cr_assert(request.initial.n == 2 && request.initial.D == 2 && request_initial(&request, 1)[0] == 5.0);
    cr_assert(request.step_length.n == 2 && request.step_length.numbers[1] == 2.0 && request.decay == 0.25);
    cr_assert(request.trajectory);
    cr_assert_eq(read_as(REQUEST_SAMPLE, "{\"inputs\":[1],\"refine\":{}}", &request, &error), EBM_OK, "%s", error.text);
    cr_assert(request.moves_samples && request.steps == 10 && request.step_length.numbers[0] == 0.05);
    cr_assert_eq(read_as(REQUEST_SAMPLE, "{\"inputs\":[1]}", &request, &error), EBM_OK);
    cr_assert(!request.moves_samples);
}

Test(request, bad_samples_and_densities_are_refused)
{
    static const struct {
        enum request_kind kind;
        const char *members, *where, *fragment;
    } cases[] = {
        {REQUEST_SAMPLE, "\"num_samples\":0", "num_samples", "from 1 to 65536"},
        {REQUEST_SAMPLE, "\"num_proposals\":1e9", "num_proposals", "from 1 to 65536"},
        {REQUEST_SAMPLE, "\"resample\":1", "resample", "expected true or false, got a number"},
        {REQUEST_SAMPLE, "\"outputs\":[\"mean\"]", "outputs", "unknown field"},
        {REQUEST_SAMPLE, "\"refine\":1", "refine", "expected an object"},
        {REQUEST_SAMPLE, "\"refine\":{\"method\":\"ascent\"}", "refine.method", "expected one of: langevin"},
        {REQUEST_SAMPLE, "\"refine\":{\"steps\":0}", "refine.steps", "from 1 to 10000"},
        {REQUEST_SAMPLE, "\"refine\":{\"step_length\":0}", "refine.step_length", "expected a number above 0"},
        {REQUEST_SAMPLE, "\"refine\":{\"decay\":0.5}", "refine.decay", "unknown field"},
        {REQUEST_REFINE, "\"step_length\":[0.1,-1]", "step_length[1]", "expected a number above 0"},
        {REQUEST_REFINE, "\"step_length\":[]", "step_length", "got 0"},
        {REQUEST_REFINE, "\"step_length\":\"1\"", "step_length", "expected a number above 0"},
        {REQUEST_REFINE, "\"decay\":1", "decay", "between 0 and 1"},
        {REQUEST_REFINE, "\"starts\":129", "starts", "from 1 to 128"},
        {REQUEST_REFINE, "\"steps\":10001", "steps", "from 1 to 10000"},
        {REQUEST_REFINE, "\"estimator\":\"auto\"", "estimator", "unknown field"},
        {REQUEST_REFINE, "\"initial\":[[1]],\"starts\":1", "starts", "either initial or starts, got both"},
        {REQUEST_REFINE, "\"initial\":[[1],[2]]", "initial", "expected 1 rows as in inputs, got 2"},
        {REQUEST_REFINE, "\"initial\":[[[]]]", "initial[0][0]", "empty list"},
        {REQUEST_DENSITY, "\"seed\":1", "targets", "expected either targets or a grid"},
        {REQUEST_DENSITY, "\"targets\":[[1]],\"grid\":{\"lower\":0,\"upper\":1,\"points\":2}", "targets", "got both"},
        {REQUEST_DENSITY, "\"targets\":[[1],[2]]", "targets", "expected 1 rows as in inputs, got 2"},
        {REQUEST_DENSITY, "\"targets\":[]", "targets", "got 0"},
        {REQUEST_DENSITY, "\"targets\":[[]]", "targets[0]", "1 to 65536 targets, got 0"},
        {REQUEST_DENSITY, "\"targets\":[[[]]]", "targets[0][0]", "empty list"},
        {REQUEST_DENSITY, "\"targets\":[[[1],[2,3]]]", "targets[0][1]", "1 numbers as in targets[0][0], got 2"},
        {REQUEST_DENSITY, "\"targets\":[[1,2],[3]]", "targets[1]", "2 to 2 targets, got 1"},
        {REQUEST_DENSITY, "\"targets\":[[1,null]]", "targets[0][1]", "expected a list of numbers, got null"},
        {REQUEST_DENSITY, "\"targets\":[[[1,true]]]", "targets[0][0][1]", "got true or false"},
        {REQUEST_DENSITY, "\"targets\":[1]", "targets[0]", "expected a list"},
        {REQUEST_DENSITY, "\"grid\":\"0,1,5\"", "grid",
         "got a text; in a query each member stands by itself, as grid.lower="},
        {REQUEST_DENSITY, "\"grid\":{\"lower\":0,\"upper\":1}", "grid.points", "missing"},
        {REQUEST_DENSITY, "\"grid\":{\"lower\":\"0\",\"upper\":1,\"points\":2}", "grid.lower", "got a text"},
        {REQUEST_DENSITY, "\"grid\":{\"lower\":0,\"upper\":1,\"points\":65537}", "grid.points", "from 1 to 65536"},
        {REQUEST_DENSITY, "\"outputs\":[\"mean\"],\"targets\":[[1]]", "outputs[0]", "unnormalized_log_prob, log_prob"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct request request;
        struct ebm_error error = {.status = EBM_OK};
        char body[256];
        (void)snprintf(body, sizeof body, "{\"inputs\":[1],%s}", cases[i].members);
        cr_expect_eq(read_as(cases[i].kind, body, &request, &error), EBM_INVALID, "%s", body);
        cr_expect_str_eq(error.where, cases[i].where, "%s: where '%s'", body, error.where);
        cr_expect_not_null(strstr(error.text, cases[i].fragment), "%s: '%s'", body, error.text);
    }
}

/* The bound of work and of answers. */
Test(request, the_most_draws_are_what_sobol_or_the_target_makes_of_them)
{
    static const struct {
        const char *body;
        uint64_t most;
    } cases[] = {
        {"{\"inputs\":[[1]],\"num_samples\":1000}", 1024},
        {"{\"inputs\":[[1]],\"num_samples\":3}", 8},
        {"{\"inputs\":[[1]],\"num_samples\":1000,\"draws\":\"independent\"}", 1000},
        {"{\"inputs\":[[1]],\"target_ess\":50}", 16384},
        {"{\"inputs\":[[1]],\"target_ess\":50,\"max_samples\":2000}", 2048},
        {"{\"inputs\":[[1]],\"target_ess\":50,\"max_samples\":2000,\"draws\":\"independent\"}", 2000},
        {"{\"inputs\":[[1]],\"target_ess\":50,\"max_samples\":20,\"draws\":\"independent\"}", 1024},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct request request;
        struct ebm_error error = {.status = EBM_OK};
        cr_assert_eq(read(cases[i].body, &request, &error), EBM_OK, "%s: %s", cases[i].body, error.text);
        cr_assert_eq(request_draws(&request), cases[i].most, "%s: %llu", cases[i].body,
                     (unsigned long long)request_draws(&request));
    }
}
