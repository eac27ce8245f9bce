/* test_tensor.c - known bytes of every datatype, sizes that overflow, numbers that a double does not hold. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "proto/tensor.h"

Test(tensor, words_and_sizes)
{
    static const struct {
        const char *word;
        size_t bytes;
    } known[] = {{"BOOL", 1},  {"UINT8", 1}, {"UINT16", 2}, {"UINT32", 4}, {"UINT64", 8}, {"INT8", 1},
                 {"INT16", 2}, {"INT32", 4}, {"INT64", 8},  {"FP32", 4},   {"FP64", 8}};
    for (size_t i = 0; i < EBM_COUNT_OF(known); i++) {
        enum tensor_type type;
        cr_assert(tensor_type_find(known[i].word, &type), "%s", known[i].word);
        cr_assert_eq(tensor_type_bytes(type), known[i].bytes, "%s", known[i].word);
        cr_assert_str_eq(tensor_type_word(type), known[i].word);
    }
    static const char *const unknown[] = {"", "FP16", "BF16", "BYTES", "fp32", "FP321"};
    for (size_t i = 0; i < EBM_COUNT_OF(unknown); i++) {
        enum tensor_type type;
        cr_assert_not(tensor_type_find(unknown[i], &type), "%s", unknown[i]);
    }
}

Test(tensor, sizes_that_overflow)
{
    static const struct {
        struct tensor_shape shape;
        bool fits;
        size_t bytes;
    } cases[] = {
        {{0, {0}}, true, 4},
        {{1, {3}}, true, 12},
        {{3, {2, 3, 5}}, true, 120},
        {{2, {0, 7}}, true, 0},
        {{1, {SIZE_MAX}}, false, 0},
        {{2, {1ull << 32, 1ull << 30}}, false, 0},
        {{2, {1ull << 31, 1ull << 30}}, true, 1ull << 63},
        {{3, {1ull << 21, 1ull << 21, 1ull << 21}}, false, 0},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        size_t bytes = 0;
        cr_assert_eq(tensor_bytes(&cases[i].shape, 4, &bytes), cases[i].fits, "case %zu", i);
        cr_assert_eq(bytes, cases[i].bytes, "case %zu", i);
    }
}

Test(tensor, known_bytes_are_read)
{
    static const struct {
        enum tensor_type type;
        const char *bytes;
        double first, second;
    } cases[] = {
        {TENSOR_UINT8, "\x07\xff", 7, 255},
        {TENSOR_INT8, "\x07\xff", 7, -1},
        {TENSOR_UINT16, "\x01\x02\xfe\xff", 0x201, 0xfffe},
        {TENSOR_INT16, "\x01\x02\xfe\xff", 0x201, -2},
        {TENSOR_UINT32, "\x01\0\0\x80\x02\0\0\0", 0x80000001, 2},
        {TENSOR_INT32, "\x01\0\0\x80\x02\0\0\0", -0x7fffffff, 2},
        {TENSOR_UINT64, "\xff\xff\xff\xff\xff\xff\x1f\0\x02\0\0\0\0\0\0\0", 0x1p53 - 1, 2},
        {TENSOR_INT64, "\xfe\xff\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\0\0\0", -2, 2},
        {TENSOR_FP32, "\0\0\xc0\x3f\0\0\0\xc0", 1.5, -2},
        {TENSOR_FP64, "\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\xc0", 1.5, -2},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        double got[2] = {0, 0};
        cr_assert_eq(tensor_read(cases[i].type, cases[i].bytes, 2, got), 2, "case %zu", i);
        cr_assert_eq(got[0], cases[i].first, "case %zu: %g", i, got[0]);
        cr_assert_eq(got[1], cases[i].second, "case %zu: %g", i, got[1]);
    }
}

Test(tensor, what_a_double_does_not_hold_is_found)
{
    double got[3];
    cr_assert_eq(tensor_read(TENSOR_FP32, "\0\0\xc0\x3f\0\0\x80\x7f", 2, got), 1, "infinite");
    cr_assert_eq(tensor_read(TENSOR_FP32, "\0\0\xc0\x7f", 1, got), 0, "NaN");
    cr_assert_eq(tensor_read(TENSOR_FP64, "\0\0\0\0\0\0\xf0\xff", 1, got), 0, "infinite");
    cr_assert_eq(tensor_read(TENSOR_INT64, "\x01\0\0\0\0\0\x20\0", 1, got), 0, "2^53 + 1");
    cr_assert_eq(tensor_read(TENSOR_UINT64, "\xff\xff\xff\xff\xff\xff\xff\xff", 1, got), 0, "2^64 - 1");
}

Test(tensor, numbers_of_json_as_their_type_has_them)
{
    static const struct {
        enum tensor_type type;
        double number, expected; /* NAN: refused */
    } cases[] = {
        {TENSOR_FP64, 0.1, 0.1},     {TENSOR_FP32, 0.1, 0.1f},        {TENSOR_FP32, 1e39, NAN},
        {TENSOR_INT8, -128, -128},   {TENSOR_INT8, 128, NAN},         {TENSOR_UINT8, -1, NAN},
        {TENSOR_UINT8, 255, 255},    {TENSOR_INT32, 1.5, NAN},        {TENSOR_UINT32, 4294967295., 4294967295.},
        {TENSOR_INT64, 0x1p53, NAN}, {TENSOR_UINT64, 0x1p52, 0x1p52}, {TENSOR_INT16, 40000, NAN},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        double got = NAN;
        bool ok = tensor_convert(cases[i].type, cases[i].number, &got);
        cr_assert_eq(ok, !isnan(cases[i].expected), "case %zu", i);
        if (ok)
            cr_assert_eq(got, cases[i].expected, "case %zu: %.17g", i, got);
    }
}

Test(tensor, elements_are_written)
{
    static const double values[] = {1.5, -2, NAN, 1e300};
    static const char floats[] = "\0\0\xc0\x3f\0\0\0\xc0\0\0\xc0\x7f\0\0\x80\x7f";
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1024);
    tensor_append(&buf, TENSOR_FP32, values, 4);
    cr_assert_eq(buf.size, 16);
    cr_assert_arr_eq(buf.bytes, floats, 16);
    ebm_buf_clear(&buf);
    tensor_append(&buf, TENSOR_FP64, values, 2);
    cr_assert_arr_eq(buf.bytes, "\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\xc0", 16);
    ebm_buf_clear(&buf);
    tensor_append(&buf, TENSOR_BOOL, (const double[]){1, 0}, 2);
    cr_assert_arr_eq(buf.bytes, "\1\0", 2);
    ebm_buf_clear(&buf);
    tensor_append_json(&buf, TENSOR_FP32, values, 4, 9);
    cr_assert_str_eq(buf.bytes, "1.5,-2,null,null", "%s", buf.bytes);
    ebm_buf_clear(&buf);
    tensor_append_json(&buf, TENSOR_BOOL, (const double[]){1, 0}, 2, 9);
    cr_assert_str_eq(buf.bytes, "true,false");
    ebm_buf_done(&buf);
}
