/* test_oip.c - bodies of the Open Inference Protocol: malformed ones with where and what, JSON and binary data that
 * mean the same, answers byte by byte. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/json_read.h"
#include "proto/oip.h"

static const struct request_limits limits = {
    .max_rows = 4096, .max_samples = 65536, .max_steps = 10000, .max_timeout_ms = 30000, .max_timeout_us = 30000000};

static struct ebm_arena arena;
static struct request request;
static struct oip_wanted wanted;
static struct ebm_error error;

static void set_up(void)
{
    ebm_arena_init(&arena, 64 << 20);
}

static void tear_down(void)
{
    ebm_arena_done(&arena);
}

TestSuite(oip, .init = set_up, .fini = tear_down);

static enum ebm_status read_json(const char *json)
{
    struct oip_body body = {json, strlen(json), false, 0};
    return oip_read(&body, &limits, &arena, &request, &wanted, &error);
}

/* JSON, then these bytes. */
static enum ebm_status read_binary(const char *json, const char *bytes, size_t size)
{
    char text[2048];
    size_t json_bytes = strlen(json);
    memcpy(text, json, json_bytes);
    if (size > 0)
        memcpy(text + json_bytes, bytes, size);
    struct oip_body body = {text, json_bytes + size, true, json_bytes};
    return oip_read(&body, &limits, &arena, &request, &wanted, &error);
}

Test(oip, lengths_are_digits)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t length;
    } cases[] = {
        {"0", true, 0},
        {"7", true, 7},
        {"007", true, 7},
        {"9007199254740991", true, (1ull << 53) - 1},
        {"9007199254740992", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.5", false, 0},
        {"0x10", false, 0},
        {"1, 2", false, 0},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        uint64_t length = 0;
        cr_assert_eq(oip_read_length(cases[i].text, &length), cases[i].good, "'%s'", cases[i].text);
        if (cases[i].good)
            cr_assert_eq(length, cases[i].length, "'%s'", cases[i].text);
    }
}

#define X_OF(shape, rest) "{\"inputs\":[{\"name\":\"x\",\"shape\":" shape ",\"datatype\":\"FP32\"," rest "}]}"
#define X_AND(rest) "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,1],\"datatype\":\"FP32\",\"data\":[1]}" rest "}"
#define X_AND_INPUT(name, shape, data)                                                                                 \
    X_AND(",{\"name\":\"" name "\",\"shape\":" shape ",\"datatype\":\"FP64\",\"data\":" data "}]")
#define TYPE_OF(type, data)                                                                                            \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,1],\"datatype\":\"" type "\",\"data\":" data "}]}"

struct malformed {
    const char *body, *where, *fragment;
};

static void expect_refused(const struct malformed *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum ebm_status status = read_json(cases[i].body);
        cr_expect_eq(status, EBM_INVALID, "case %zu: %s", i, cases[i].body);
        cr_expect(strncmp(error.where, cases[i].where, strlen(cases[i].where)) == 0, "case %zu: %s: where '%s'", i,
                  cases[i].body, error.where);
        cr_expect(strstr(error.text, cases[i].fragment), "case %zu: %s: text '%s'", i, cases[i].body, error.text);
    }
}

Test(oip, malformed_inputs_are_refused_with_where_and_what)
{
    static const struct malformed cases[] = {
        {"", "body", ""},
        {"[]", "body", "expected an object"},
        {"{}", "inputs", "missing"},
        {"{\"input\":[]}", "body", "unknown member 'input'"},
        {"{\"inputs\":[]}", "inputs", "got 0"},
        {"{\"inputs\":[7]}", "inputs[0]", "expected an object"},
        {"{\"inputs\":[{}]}", "inputs[0]", "has no name"},
        {"{\"inputs\":[{\"name\":\"x\"}]}", "inputs[0]", "has no shape"},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1,1]}]}", "inputs[0]", "has no datatype"},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1,1],\"datatype\":\"FP32\"}]}", "inputs[0]", "either data or"},
        {"{\"inputs\":[{\"name\":\"y\",\"shape\":[1,1],\"datatype\":\"FP32\",\"data\":[1]}]}", "inputs[0]",
         "unknown input 'y'"},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1,1],\"datatype\":\"FP32\",\"data\":[1],\"dat\":1}]}", "inputs[0]",
         "unknown member 'dat'"},
        {X_AND(",{\"name\":\"x\",\"shape\":[1,1],\"datatype\":\"FP32\",\"data\":[1]}]"), "inputs[1]", "twice"},
        {X_OF("[]", "\"data\":[]"), "inputs[0].shape", "got 0"},
        {X_OF("[1,1,1,1,1]", "\"data\":[1]"), "inputs[0].shape", "1 to 4"},
        {X_OF("[1,1,1]", "\"data\":[1]"), "inputs[0].shape", "of images [rows, channels, height, width]"},
        {X_OF("[-1,1]", "\"data\":[1]"), "inputs[0].shape", "got -1"},
        {X_OF("[1.5,1]", "\"data\":[1]"), "inputs[0].shape", "got 1.5"},
        {X_OF("[1,\"1\"]", "\"data\":[1]"), "inputs[0].shape", "got a text"},
        {X_OF("[9007199254740991,9007199254740991]", "\"data\":[1]"), "inputs[0]", "more numbers than"},
        {X_OF("[9007199254740991,9007199254740992]", "\"data\":[1]"), "inputs[0].shape", "got 9.00719"},
        {X_OF("[1048577,1]", "\"data\":[1]"), "inputs[0]", "at most 1048576 in JSON"},
        {X_OF("[2,2]", "\"data\":[1,2,3]"), "inputs[0]", "4 numbers"},
        {X_OF("[2,2]", "\"data\":[[1,2],[3]]"), "inputs[0]", "2 values"},
        {X_OF("[2,2]", "\"data\":[[1,2],3]"), "inputs[0]", "got a number"},
        {X_OF("[2,2]", "\"data\":[[1,2],[3,[4]]]"), "inputs[0].data", "element 3"},
        {X_OF("[2]", "\"data\":[[1,2]]"), "inputs[0]", "2 values"},
        {X_OF("[1,2]", "\"data\":[1,null]"), "inputs[0].data", "element 1"},
        {X_OF("[1,2]", "\"data\":[1,\"2\"]"), "inputs[0].data", "element 1"},
        {X_OF("[1,1]", "\"data\":[1e39]"), "inputs[0].data", "range of FP32"},
        {X_OF("[1,1]", "\"data\":7"), "inputs[0]", "got a number"},
        {X_OF("[0,1]", "\"data\":[]"), "inputs[0].shape", "1 to 4096 rows"},
        {X_OF("[1,0]", "\"data\":[]"), "inputs[0].shape", "expected [rows"},
        {X_OF("[1]", "\"data\":[1]"), "inputs[0].shape", "expected [rows"},
        {X_OF("[1,1,1]", "\"data\":[1]"), "inputs[0].shape", "expected [rows"},
        {X_OF("[1,1]", "\"data\":[1],\"parameters\":{\"binary_data_size\":4}"), "inputs[0]", "got both"},
        {X_OF("[1,1]", "\"parameters\":{\"binary_data_size\":4}"), "inputs[0]", "the body has 0 more"},
        {X_OF("[1,1]", "\"parameters\":{\"binary_data_size\":-4}"), "inputs[0]", "got -4"},
        {X_OF("[1,1]", "\"parameters\":{\"binary_data_size\":\"4\"}"), "inputs[0]", "got a text"},
        {X_OF("[1,1]", "\"parameters\":{\"shared_memory_region\":\"a\"}"), "inputs[0]", "unknown member 'shared"},
        {TYPE_OF("FP16", "[1]"), "inputs[0].datatype", "'FP16' is not"},
        {TYPE_OF("BYTES", "[\"1\"]"), "inputs[0].datatype", "'BYTES' is not"},
        {TYPE_OF("BOOL", "[true]"), "inputs[0].datatype", "'BOOL' is not"},
        {TYPE_OF("UINT8", "[256]"), "inputs[0].data", "range of UINT8"},
        {TYPE_OF("INT32", "[0.5]"), "inputs[0].data", "whole number"},
        {TYPE_OF("INT64", "[9007199254740993]"), "inputs[0].data", "below 2^53"},
        {X_AND_INPUT("quantiles", "[1,1]", "[0.5]"), "inputs[1].shape", "[n]"},
        {X_AND_INPUT("quantiles", "[1]", "[1]"), "quantiles", "between 0 and 1"},
        {X_AND_INPUT("targets", "[1]", "[1]"), "inputs[1].shape", "[rows, targets"},
        {X_AND_INPUT("targets", "[2,1,1]", "[1,2]"), "inputs[1].shape", "as many rows as x"},
        {X_AND_INPUT("targets", "[1,0,1]", "[]"), "inputs[1].shape", "[rows, targets"},
        {X_AND_INPUT("targets", "[1,1,65]", "[]"), "inputs[1]", "65 numbers"},
        {X_AND_INPUT("cdf", "[2,1]", "[1,2]"), "inputs[1].shape", "as many rows"},
        {X_AND_INPUT("crps_at", "[1,1,1]", "[1]"), "inputs[1].shape", "for all rows"},
    };
    expect_refused(cases, EBM_COUNT_OF(cases));
}

Test(oip, malformed_outputs_and_parameters_are_refused_with_where_and_what)
{
    static const struct malformed cases[] = {
        {X_AND("],\"outputs\":7"), "outputs", "got a number"},
        {X_AND("],\"outputs\":[7]"), "outputs[0]", "expected an object"},
        {X_AND("],\"outputs\":[{}]"), "outputs[0]", "has no name"},
        {X_AND("],\"outputs\":[{\"name\":\"men\"}]"), "outputs[0]", "unknown output 'men', expected one of: mean, std"},
        {X_AND("],\"outputs\":[{\"name\":\"std\"},{\"name\":\"std\"}]"), "outputs[1]", "twice"},
        {X_AND("],\"outputs\":[{\"name\":\"std\",\"parameters\":{\"classification\":2}}]"), "outputs[0]",
         "unknown member 'classification'"},
        {X_AND("],\"outputs\":[{\"name\":\"std\",\"parameters\":{\"binary_data\":1}}]"), "outputs[0]", "true or false"},
        {X_AND("],\"outputs\":[{\"name\":\"log_prob\"}]"), "inputs", "missing 'targets'"},
        {X_AND("],\"outputs\":[{\"name\":\"cdf\"}]"), "inputs", "missing 'cdf'"},
        {X_AND(",{\"name\":\"targets\",\"shape\":[1,1],\"datatype\":\"FP32\",\"data\":[1]}],\"outputs\":[{\"name\":"
               "\"std\"}]"),
         "inputs", "'targets' is there"},
        {X_AND("],\"parameters\":[]"), "parameters", "expected an object"},
        {X_AND("],\"parameters\":{\"sede\":1}"), "parameters.sede", "unknown field"},
        {X_AND("],\"parameters\":{\"seed\":-1}"), "parameters.seed", "got -1"},
        {X_AND("],\"parameters\":{\"estimator\":\"best\"}"), "parameters.estimator", "unknown word"},
        {X_AND("],\"parameters\":{\"num_samples\":0}"), "parameters.num_samples", "got 0"},
        {X_AND("],\"parameters\":{\"num_samples\":65537}"), "parameters.num_samples", "got 65537"},
        {X_AND("],\"parameters\":{\"num_proposals\":5}"), "parameters.num_proposals", "goes with"},
        {X_AND("],\"outputs\":[{\"name\":\"log_weights\"}],\"parameters\":{\"target_ess\":5}"), "parameters.target_ess",
         "does not go with"},
        {X_AND("],\"parameters\":{\"max_samples\":5}"), "parameters.max_samples", "target_ess"},
        {X_AND("],\"parameters\":{\"timeout\":30000001}"), "parameters.timeout", "to 30000000, got 30000001"},
        {X_AND("],\"parameters\":{\"priority\":-1}"), "parameters.priority", "got -1"},
        {X_AND("],\"parameters\":{\"sequence_id\":1}"), "parameters.sequence_id", "unknown field"},
        {X_AND("],\"id\":7"), "id", "expected a text"},
        {X_AND("],\"id\":\"a\",\"id\":\"b\""), "byte", "duplicate"},
    };
    expect_refused(cases, EBM_COUNT_OF(cases));
}

#define BINARY_X(shape, size) X_OF(shape, "\"parameters\":{\"binary_data_size\":" size "}")

Test(oip, malformed_binary_bodies_are_refused)
{
    static const char numbers[] = "\0\0\xc0\x3f\0\0\0\xc0", infinite[] = "\0\0\xc0\x3f\0\0\x80\x7f";
    static const struct {
        const char *json, *bytes;
        size_t size;
        const char *where, *fragment;
    } cases[] = {
        {BINARY_X("[1,2]", "8"), numbers, 7, "inputs[0]", "the body has 7 more bytes"},
        {BINARY_X("[1,2]", "8"), numbers, 9, "body", "1 bytes follow"},
        {BINARY_X("[1,2]", "7"), numbers, 7, "inputs[0]", "make 8"},
        {BINARY_X("[1,2]", "9007199254740991"), numbers, 8, "inputs[0]", "make 8"},
        {BINARY_X("[4611686018427387,2]", "8"), numbers, 8, "inputs[0]", "its shape and datatype make"},
        {BINARY_X("[1,2]", "8"), infinite, 8, "inputs[0].data", "element 1: expected a finite"},
        {X_OF("[1,1]", "\"data\":[1]"), numbers, 4, "body", "4 bytes follow"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        cr_expect_eq(read_binary(cases[i].json, cases[i].bytes, cases[i].size), EBM_INVALID, "case %zu", i);
        cr_expect_str_eq(error.where, cases[i].where, "case %zu: '%s'", i, error.where);
        cr_expect(strstr(error.text, cases[i].fragment), "case %zu: '%s'", i, error.text);
    }
    struct oip_body body = {"{}", 2, true, 3};
    cr_assert_eq(oip_read(&body, &limits, &arena, &request, &wanted, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "Inference-Header-Content-Length");
    body = (struct oip_body){numbers, 0, true, 0};
    cr_assert_eq(oip_read(&body, &limits, &arena, &request, &wanted, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "the numbers of one row, got 0 bytes"), "%s", error.text);
}

static void expect_two_rows(const char *what)
{
    static const double expected[] = {1.5, -2, 0.25, 3};
    cr_assert_eq(request.inputs.n, 2, "%s", what);
    cr_assert_eq(request.inputs.X, 2, "%s", what);
    cr_assert_arr_eq(request.inputs.numbers, expected, sizeof expected, "%s", what);
    cr_assert_eq(request.kind, REQUEST_INFER);
}

Test(oip, flat_nested_and_binary_data_are_the_same)
{
    static const char bytes[] = "\0\0\xc0\x3f\0\0\0\xc0\0\0\x80\x3e\0\0\x40\x40";
    cr_assert_eq(read_json(X_OF("[2,2]", "\"data\":[1.5,-2,0.25,3]")), EBM_OK, "%s %s", error.where, error.text);
    expect_two_rows("flat");
    cr_assert_eq(read_json(X_OF("[2,2]", "\"data\":[[1.5,-2],[0.25,3]]")), EBM_OK, "%s", error.text);
    expect_two_rows("nested");
    cr_assert_eq(read_binary(BINARY_X("[2,2]", "16"), bytes, 16), EBM_OK, "%s", error.text);
    expect_two_rows("binary");
}

Test(oip, a_float_of_json_is_the_float_of_binary_data)
{
    cr_assert_eq(read_json(X_OF("[1,1]", "\"data\":[0.1]")), EBM_OK);
    double from_json = request.inputs.numbers[0];
    cr_assert_eq(read_binary(BINARY_X("[1,1]", "4"), "\xcd\xcc\xcc\x3d", 4), EBM_OK);
    cr_assert_eq(from_json, request.inputs.numbers[0]);
    cr_assert_eq(read_json(TYPE_OF("FP64", "[0.1]")), EBM_OK);
    cr_assert_eq(request.inputs.numbers[0], 0.1);
}

Test(oip, a_raw_body_is_one_row_and_answered_in_binary)
{
    struct oip_body body = {"\0\0\xc0\x3f\0\0\0\xc0", 8, true, 0};
    cr_assert_eq(oip_read(&body, &limits, &arena, &request, &wanted, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(request.inputs.n, 1);
    cr_assert_eq(request.inputs.X, 8, "bytes, until a model says what they are");
    cr_assert_arr_eq(request.inputs.bytes, body.bytes, 8);
    cr_assert(wanted.is_raw);
    cr_assert_eq(wanted.n_outputs, 3);
    for (uint32_t i = 0; i < wanted.n_outputs; i++)
        cr_assert(wanted.outputs[i].binary);
    cr_assert_eq(request.num_draws, 1024);
}

Test(oip, floats_of_a_raw_body)
{
    struct field_rows rows = {.n = 1, .X = 8, .bytes = (const uint8_t *)"\0\0\xc0\x3f\0\0\0\xc0"};
    cr_assert_eq(oip_raw_floats(&rows, &arena, &error), EBM_OK, "%s", error.text);
    cr_assert(rows.n == 1 && rows.X == 2 && rows.bytes == NULL && rows.numbers[0] == 1.5 && rows.numbers[1] == -2);
    rows = (struct field_rows){.n = 1, .X = 8, .bytes = (const uint8_t *)"\0\0\xc0\x3f\0\0\x80\x7f"};
    cr_assert_eq(oip_raw_floats(&rows, &arena, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "element 1: expected a finite number"), "%s", error.text);
}

Test(oip, bytes_of_x_stay_bytes_and_images_have_a_shape)
{
    cr_assert_eq(read_binary("{\"inputs\":[{\"name\":\"x\",\"shape\":[2,3,1,1],\"datatype\":\"UINT8\",\"parameters\":{"
                             "\"binary_data_size\":6}}]}",
                             "\0\1\xff\2\3\4", 6),
                 EBM_OK, "%s: %s", error.where, error.text);
    cr_assert(request.inputs.n == 2 && request.inputs.X == 3 && request.inputs.numbers == NULL);
    cr_assert(request.inputs.dims[0] == 3 && request.inputs.dims[1] == 1 && request.inputs.dims[2] == 1);
    cr_assert_arr_eq(request.inputs.bytes, "\0\1\xff\2\3\4", 6);
    cr_assert_eq(read_json("{\"inputs\":[{\"name\":\"x\",\"shape\":[1,1,2,2],\"datatype\":\"UINT8\","
                           "\"data\":[[[[1,2],[3,255]]]]}]}"),
                 EBM_OK, "%s: %s", error.where, error.text);
    cr_assert(request.inputs.X == 4 && request.inputs.bytes == NULL && request.inputs.numbers[3] == 255);
}

Test(oip, without_names_outputs_are_the_standard_ones_and_those_of_the_inputs)
{
    cr_assert_eq(read_json(X_AND("]")), EBM_OK);
    cr_assert_eq(request.outputs, OIP_STANDARD_OUTPUTS);
    cr_assert_eq(wanted.n_outputs, 3);
    cr_assert_eq(read_json(X_AND_INPUT("targets", "[1,2]", "[3,4]")), EBM_OK, "%s", error.text);
    cr_assert_eq(request.outputs, OIP_STANDARD_OUTPUTS | 1u << OIP_LOG_PROB | 1u << OIP_UNNORMALIZED_LOG_PROB);
    cr_assert_eq(request.targets.n, 2);
    cr_assert_eq(request.targets.D, 1);
    cr_assert_eq(read_json(X_AND_INPUT("cdf", "[2]", "[3,4]")), EBM_OK, "%s", error.text);
    cr_assert_eq(request.cdf.rows, 0);
    cr_assert_eq(request.cdf.n, 2);
    cr_assert_eq(read_json(X_AND_INPUT("quantiles", "[1]", "[0.25]")), EBM_OK, "%s", error.text);
    cr_assert_eq(request.quantiles.n, 1);
    cr_assert_eq(request.quantiles.numbers[0], 0.25);
    cr_assert_eq(read_json(X_AND("],\"outputs\":[]")), EBM_OK);
    cr_assert_eq(wanted.n_outputs, 3);
}

Test(oip, parameters_are_the_fields_of_the_other_routes)
{
    cr_assert_eq(read_json(X_AND("],\"id\":\"a\",\"model_name\":\"m\",\"outputs\":[{\"name\":\"std\"},{\"name\":"
                                 "\"mean\",\"parameters\":{\"binary_data\":true}}],\"parameters\":{\"seed\":7,"
                                 "\"estimator\":\"importance\",\"num_samples\":64,\"draws\":\"independent\","
                                 "\"timeout\":1500,\"priority\":1,\"target_ess\":9,\"max_samples\":128}")),
                 EBM_OK, "%s: %s", error.where, error.text);
    cr_assert(request.has_seed);
    cr_assert_eq(request.seed, 7);
    cr_assert_eq(request.estimator, REQUEST_ESTIMATOR_IMPORTANCE);
    cr_assert_eq(request.num_draws, 64);
    cr_assert_eq(request.draws, REQUEST_DRAWS_INDEPENDENT);
    cr_assert_eq(request.timeout_ms, 2, "rounded up");
    cr_assert_eq(request.target_ess, 9);
    cr_assert_eq(request.max_samples, 128);
    cr_assert_str_eq(request.id, "a");
    cr_assert_eq(wanted.n_outputs, 2);
    cr_assert_eq(wanted.outputs[0].output, OIP_STD);
    cr_assert_not(wanted.outputs[0].binary);
    cr_assert(wanted.outputs[1].binary);
}

Test(oip, with_samples_the_two_numbers_are_those_of_sample)
{
    cr_assert_eq(read_json(X_AND("],\"outputs\":[{\"name\":\"samples\"}],\"parameters\":{\"num_samples\":7}")), EBM_OK);
    cr_assert_eq(request.num_samples, 7);
    cr_assert_eq(request.num_draws, 1024);
    cr_assert(request.resample);
    cr_assert_eq(read_json(X_AND("],\"outputs\":[{\"name\":\"log_weights\"}],\"parameters\":{\"num_proposals\":9}")),
                 EBM_OK);
    cr_assert_eq(request.num_samples, 100);
    cr_assert_eq(request.num_draws, 9);
    cr_assert_not(request.resample);
}

/* ---- answers ---- */

static bool two_rows(const void *who, uint32_t row, struct answer_row *ret_row)
{
    static const double means[] = {1.5, -2, NAN, 4}, entropy = 0.5;
    (void)who;
    *ret_row = (struct answer_row){
        .mean = means + 2 * row, .entropy = &entropy, .ess = 12, .drew = row == 0, .reliable = row == 1};
    return true;
}

static const struct answer head = {.model = "m", .version = 3, .id = "a\"b", .seed = 7, .D = 2, .digits = 9};

static size_t answer(const struct answer *of, const struct oip_wanted *what, struct ebm_buf *buf)
{
    size_t json_bytes = 1;
    ebm_buf_init(buf, 4096);
    cr_assert_eq(oip_answer(buf, of, what, 2, two_rows, NULL, &json_bytes), EBM_OK);
    cr_assert_leq(buf->size, oip_answer_bound(of, what, 2));
    return json_bytes;
}

Test(oip, an_answer_in_json)
{
    struct ebm_buf buf;
    struct oip_wanted what = {
        4, {{OIP_MEAN, false}, {OIP_ESS, false}, {OIP_RELIABLE, false}, {OIP_ENTROPY, false}}, false};
    cr_assert_eq(answer(&head, &what, &buf), 0);
    cr_assert_str_eq(buf.bytes,
                     "{\"model_name\":\"m\",\"model_version\":\"3\",\"id\":\"a\\\"b\",\"parameters\":{\"seed\":7},"
                     "\"outputs\":[{\"name\":\"mean\",\"datatype\":\"FP32\",\"shape\":[2,2],\"data\":[1.5,-2,null,4]},"
                     "{\"name\":\"ess\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[12,null]},"
                     "{\"name\":\"reliable\",\"datatype\":\"BOOL\",\"shape\":[2],\"data\":[false,true]},"
                     "{\"name\":\"entropy\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[0.5,0.5]}]}",
                     "%s", buf.bytes);
    ebm_buf_done(&buf);
}

Test(oip, an_answer_of_json_and_binary_data)
{
    static const char bytes[] = "\0\0\xc0\x3f\0\0\0\xc0\0\0\xc0\x7f\0\0\x80\x40\0\1";
    struct ebm_buf buf;
    struct oip_wanted what = {3, {{OIP_MEAN, true}, {OIP_ENTROPY, false}, {OIP_RELIABLE, true}}, false};
    size_t json_bytes = answer(&head, &what, &buf);
    cr_assert_eq(buf.size, json_bytes + 18);
    cr_assert_arr_eq(buf.bytes + json_bytes, bytes, 18);
    buf.bytes[json_bytes] = 0;
    cr_assert(strstr(buf.bytes, "{\"name\":\"mean\",\"datatype\":\"FP32\",\"shape\":[2,2],\"parameters\":{"
                                "\"binary_data_size\":16}}"),
              "%s", buf.bytes);
    cr_assert(strstr(buf.bytes, "\"binary_data_size\":2}}]}"), "%s", buf.bytes);
    ebm_buf_done(&buf);
}

Test(oip, numbers_that_need_more_digits_than_a_float_are_doubles)
{
    struct ebm_buf buf;
    struct answer of = head;
    struct oip_wanted what = {2, {{OIP_MEAN, true}, {OIP_ENTROPY, true}}, false};
    of.digits = 12;
    size_t json_bytes = answer(&of, &what, &buf);
    cr_assert_eq(buf.size, json_bytes + 4 * 8 + 2 * 4);
    cr_assert_arr_eq(buf.bytes + json_bytes, "\0\0\0\0\0\0\xf8\x3f", 8);
    ebm_buf_done(&buf);
}
