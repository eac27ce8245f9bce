/* test_npy.c - known .npy files byte by byte, malformed ones with a reason, arrays that go out. */
#include <criterion/criterion.h>
#include <string.h>

#include "proto/npy.h"

static const struct request_limits limits = {.max_rows = 100, .max_samples = 65536, .max_steps = 10};
static struct ebm_arena arena;
static struct field_rows rows;
static struct ebm_error error;

static void set_up(void)
{
    ebm_arena_init(&arena, 1 << 20);
}

static void tear_down(void)
{
    ebm_arena_done(&arena);
}

TestSuite(npy, .init = set_up, .fini = tear_down);

/* A file of format `major`.0 with this dictionary and these bytes. */
static enum ebm_status read(int major, const char *dictionary, const char *data, size_t data_bytes)
{
    char file[512] = "\x93NUMPY";
    size_t length = strlen(dictionary), at = 6;
    file[at++] = (char)major;
    file[at++] = 0;
    file[at++] = (char)length;
    file[at++] = 0;
    if (major > 1)
        at += 2;
    memcpy(file + at, dictionary, length);
    if (data_bytes > 0)
        memcpy(file + at + length, data, data_bytes);
    return npy_read_rows(file, at + length + data_bytes, &limits, &arena, &rows, &error);
}

static const char floats[] = "\0\0\xc0\x3f\0\0\0\xc0\0\0\x80\x3e\0\0\x40\x40",
                  doubles[] = "\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\xc0";

Test(npy, known_files)
{
    static const double expected[] = {1.5, -2, 0.25, 3};
    cr_assert_eq(read(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }       \n", floats, 16), EBM_OK,
                 "%s", error.text);
    cr_assert(rows.n == 2 && rows.X == 2);
    cr_assert_arr_eq(rows.numbers, expected, sizeof expected);
    cr_assert_eq(read(2, "{'descr':'<f8','fortran_order':False,'shape':(1,2)}", doubles, 16), EBM_OK, "%s", error.text);
    cr_assert(rows.n == 1 && rows.X == 2 && rows.numbers[1] == -2);
    cr_assert_eq(read(3, "{'shape': (2,), 'fortran_order': False, 'descr': '<f8'}", doubles, 16), EBM_OK, "%s",
                 error.text);
    cr_assert(rows.n == 2 && rows.X == 1 && rows.numbers[0] == 1.5);
}

Test(npy, bytes_and_images)
{
    cr_assert_eq(read(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3)}", "\0\1\xff\2\3\4", 6), EBM_OK,
                 "%s", error.text);
    cr_assert(rows.n == 2 && rows.X == 3 && rows.numbers == NULL && rows.dims[0] == 0);
    cr_assert_arr_eq(rows.bytes, "\0\1\xff\2\3\4", 6);
    cr_assert_eq(read(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3, 1, 2)}", "\0\1\xff\2\3\4", 6),
                 EBM_OK);
    cr_assert(rows.n == 1 && rows.X == 6 && rows.dims[0] == 3 && rows.dims[1] == 1 && rows.dims[2] == 2);
    cr_assert_eq(read(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2, 2)}", floats, 16), EBM_OK);
    cr_assert(rows.n == 1 && rows.X == 4 && rows.bytes == NULL && rows.numbers[2] == 0.25 && rows.dims[2] == 2);
}

#define F4(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': " shape ", }"

Test(npy, malformed_files_are_refused)
{
    static const struct {
        const char *dictionary;
        size_t data_bytes;
        const char *fragment;
    } cases[] = {
        {"", 16, "its header is not"},
        {"{}", 16, "its header is not"},
        {"{'descr': '<f4', 'fortran_order': False}", 16, "its header is not"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", 16, "its header is not"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), 'x': 1}", 16, "its header is not"},
        {F4("(2, 2)") "x", 16, "its header is not"},
        {F4("(2, 2"), 16, "its header is not"},
        {F4("(2 2)"), 16, "its header is not"},
        {F4("(4)"), 16, "its header is not"},
        {F4("(-2, 2)"), 16, "its header is not"},
        {F4("(1, 1, 1, 2, 2)"), 16, "its header is not"},
        {F4("(1, 0, 2, 2)"), 16, "(rows, channels, height, width)"},
        {F4("(1, 65536, 65536, 1)"), 16, "(rows, channels, height, width)"},
        {F4("(1, 1, 2, 1)"), 16, "does not take the 16 bytes"},
        {F4("(99999999999999999999, 2)"), 16, "its header is not"},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2)}", 16, "'<f4', '<f8' or '|u1'"},
        {"{'descr': '>f8', 'fortran_order': False, 'shape': (1, 2)}", 16, "x.astype('<f4')"},
        {"{'descr': '|f4', 'fortran_order': False, 'shape': (2, 2)}", 16, "'<f4', '<f8' or '|u1'"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2)}", 16, "'<f4', '<f8' or '|u1'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}", 16, "'<f4', '<f8' or '|u1'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2)}", 16, "'<f4', '<f8' or '|u1'"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", 16, "ascontiguousarray"},
        {F4("()"), 4, "shape (rows, inputs)"},
        {F4("(0, 2)"), 0, "shape (rows, inputs)"},
        {F4("(2, 0)"), 0, "shape (rows, inputs)"},
        {F4("(101, 1)"), 404, "1 to 100 rows"},
        {F4("(1, 2, 2)"), 16, "shape (rows, inputs)"},
        {F4("(2, 2)"), 15, "does not take the 15 bytes"},
        {F4("(2, 2)"), 12, "does not take the 12 bytes"},
        {F4("(2, 1)"), 16, "does not take the 16 bytes"},
        {F4("(4, 4294967295)"), 16, "does not take the 16 bytes"},
    };
    char data[512] = {0};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        if (cases[i].data_bytes > 300)
            continue;
        cr_expect_eq(read(1, cases[i].dictionary, data, cases[i].data_bytes), EBM_INVALID, "%s", cases[i].dictionary);
        cr_expect(strstr(error.text, cases[i].fragment), "%s: %s", cases[i].dictionary, error.text);
    }
}

Test(npy, what_is_no_such_file)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {{"", 0},
                 {"\x93NUMPY", 6},
                 {"\x93NUMPX\1\0\2\0{}", 12},
                 {"\x93NUMPY\0\0\2\0{}", 12},
                 {"\x93NUMPY\4\0\2\0{}", 12},
                 {"\x93NUMPY\1\0\3\0{}", 12},
                 {"\x93NUMPY\2\0\xff\xff\xff\xff{}", 14},
                 {"\x93NUMPY\2\0\0\0", 10}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        cr_expect_eq(npy_read_rows(cases[i].bytes, cases[i].size, &limits, &arena, &rows, &error), EBM_INVALID);
        cr_expect(strstr(error.text, "expected a .npy file"), "case %zu: %s", i, error.text);
    }
}

Test(npy, numbers_that_are_not_finite_have_a_place)
{
    cr_assert_eq(read(1, F4("(2, 2)"), "\0\0\xc0\x3f\0\0\0\xc0\0\0\x80\x7f\0\0\x40\x40", 16), EBM_INVALID);
    cr_assert_str_eq(error.where, "body[1][0]");
}

Test(npy, an_array_that_goes_out)
{
    static const char expected[] = "\x93NUMPY\1\0\x76\0{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }";
    static const double means[] = {1.5, -2};
    struct request request = {.kind = REQUEST_PREDICT, .outputs = 1u << REQUEST_PREDICT_MEAN};
    struct answer answer = {.D = 2};
    struct answer_row row = {.mean = means};
    const struct answer_member *member = npy_member(&request);
    struct ebm_buf buf;
    cr_assert(member);
    ebm_buf_init(&buf, 1024);
    npy_begin(&buf, &answer, member, 2);
    npy_add_row(&buf, &answer, member, &row);
    npy_add_row(&buf, &answer, member, &row);
    cr_assert_eq(buf.size, 128 + 32);
    cr_assert_eq(buf.size, npy_bytes(&answer, member, 2));
    cr_assert_arr_eq(buf.bytes, expected, sizeof expected - 1);
    cr_assert_eq(buf.bytes[127], '\n');
    cr_assert_arr_eq(buf.bytes + 128, doubles, 16);
    ebm_buf_done(&buf);
}

Test(npy, requests_for_one_array)
{
    static const struct {
        struct request request;
        const char *name;
    } cases[] = {
        {{.kind = REQUEST_PREDICT, .outputs = 1u << REQUEST_PREDICT_QUANTILES}, "quantiles"},
        {{.kind = REQUEST_PREDICT, .outputs = 1u << REQUEST_PREDICT_MEAN | 1u << REQUEST_PREDICT_STD}, NULL},
        {{.kind = REQUEST_PREDICT, .outputs = 1u << REQUEST_PREDICT_INTERVAL}, "interval"},
        {{.kind = REQUEST_PREDICT,
          .outputs = 1u << REQUEST_PREDICT_INTERVAL,
          .interval_kind = REQUEST_INTERVAL_HIGHEST_DENSITY},
         NULL},
        {{.kind = REQUEST_SAMPLE, .resample = true}, "samples"},
        {{.kind = REQUEST_SAMPLE}, NULL},
        {{.kind = REQUEST_DENSITY, .outputs = 1u << REQUEST_DENSITY_LOG_PROB}, "log_prob"},
        {{.kind = REQUEST_REFINE}, NULL},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        const struct answer_member *member = npy_member(&cases[i].request);
        cr_assert_eq(member != NULL, cases[i].name != NULL, "case %zu", i);
        if (member)
            cr_assert_str_eq(member->name, cases[i].name);
    }
}
