/* test_safetensors.c - round trips, hostile headers as a table, every byte of a file changed, every length cut.
 *
 * A case gives the header's text; the file is built around it: length, header, `data_bytes` bytes of data. */
#include <criterion/criterion.h>
#include <math.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/safetensors.h"

#define MAX_BYTES (1u << 26)

static char folder[] = "/tmp/ebm-test-XXXXXX";
static char path[64];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/t.safetensors", folder);
}

static void remove_folder(void)
{
    (void)unlink(path);
    cr_assert_eq(rmdir(folder), 0, "%s holds files that nobody cleaned up", folder);
}

TestSuite(safetensors, .init = make_folder, .fini = remove_folder);

static void write_bytes(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

/* New: free(). */
static unsigned char *read_bytes(size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    unsigned char *bytes = malloc(1 << 20);
    cr_assert_not_null(bytes);
    *ret_size = fread(bytes, 1, 1 << 20, file);
    cr_assert_eq(fclose(file), 0);
    return bytes;
}

/* A file with `length` in its first 8 bytes, then header_bytes of header, then data_bytes of data. */
static void write_file(uint64_t length, const char *header, size_t header_bytes, size_t data_bytes)
{
    size_t size = 8 + header_bytes + data_bytes;
    unsigned char *bytes = calloc(size, 1);
    cr_assert_not_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, header_bytes);
    write_bytes(bytes, size);
    free(bytes);
}

/* ---- round trips ---- */

static const float seven[7] = {1, 2.5f, -3, 0, 1e-30f, 1e30f, 7};
static const double two[2] = {0.1, -0.2};
static const unsigned char bytes5[5] = {1, 2, 3, 4, 255};

static const struct ebm_tensor samples[] = {
    {.name = "z.bytes", .dtype = EBM_DTYPE_U8, .n_dims = 1, .shape = {5}, .count = 5, .data = bytes5},
    {.name = "b", .dtype = EBM_DTYPE_F32, .n_dims = 2, .shape = {7, 1}, .count = 7, .data = seven},
    {.name = "a", .dtype = EBM_DTYPE_F32, .n_dims = 0, .count = 1, .data = &seven[1]},
    {.name = "empty", .dtype = EBM_DTYPE_F32, .n_dims = 3, .shape = {4, 0, 2}, .count = 0, .data = NULL},
    {.name = "wide \"quoted\" \u00fc\n", .dtype = EBM_DTYPE_F64, .n_dims = 1, .shape = {2}, .count = 2, .data = two},
};
static const struct ebm_metadata notes[] = {
    {"format", "test"}, {"text", "line\nbreak \"quote\" back\\slash \x01 tab\t \u00e9 \U0001f600"}, {"k", ""}};

static void write_samples(void)
{
    struct ebm_error error = {0};
    cr_assert_eq(ebm_safetensors_write(path, notes, EBM_COUNT_OF(notes), samples, EBM_COUNT_OF(samples), &error),
                 EBM_OK, "%s: %s", error.where, error.text);
}

static struct ebm_safetensors *open_good(void)
{
    struct ebm_safetensors *file = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_safetensors_open(path, MAX_BYTES, &file, &error), EBM_OK, "%s: %s", error.where, error.text);
    return file;
}

Test(safetensors, what_was_written_is_read)
{
    write_samples();
    struct ebm_safetensors *file = open_good();
    cr_assert_eq(ebm_safetensors_count(file), EBM_COUNT_OF(samples));
    for (size_t i = 0; i < EBM_COUNT_OF(samples); i++) {
        const struct ebm_tensor *want = &samples[i], *got = ebm_safetensors_find(file, want->name);
        cr_assert_not_null(got, "%s", want->name);
        cr_assert_eq(got->dtype, want->dtype);
        cr_assert_eq(got->n_dims, want->n_dims);
        cr_assert_eq(got->count, want->count, "%s has %zu numbers", want->name, got->count);
        cr_assert_eq(memcmp(got->shape, want->shape, sizeof want->shape), 0);
        cr_assert_eq((uintptr_t)got->data % EBM_ALIGNMENT, 0, "%s lies at %p", want->name, got->data);
        if (want->count > 0)
            cr_assert_eq(memcmp(got->data, want->data, want->count * ebm_dtype_bytes(want->dtype)), 0);
    }
    for (size_t i = 1; i < ebm_safetensors_count(file); i++)
        cr_assert_lt(strcmp(ebm_safetensors_at(file, i - 1)->name, ebm_safetensors_at(file, i)->name), 0);
    for (size_t i = 0; i < EBM_COUNT_OF(notes); i++)
        cr_assert_str_eq(ebm_safetensors_metadata(file, notes[i].key), notes[i].value);
    cr_assert_null(ebm_safetensors_find(file, "absent"));
    cr_assert_null(ebm_safetensors_metadata(file, "absent"));
    ebm_safetensors_free(file);
}

Test(safetensors, the_same_content_in_any_order_gives_the_same_bytes)
{
    write_samples();
    size_t size, again_size;
    unsigned char *bytes = read_bytes(&size);
    struct ebm_tensor reversed[EBM_COUNT_OF(samples)];
    struct ebm_metadata reversed_notes[EBM_COUNT_OF(notes)];
    for (size_t i = 0; i < EBM_COUNT_OF(samples); i++)
        reversed[i] = samples[EBM_COUNT_OF(samples) - 1 - i];
    for (size_t i = 0; i < EBM_COUNT_OF(notes); i++)
        reversed_notes[i] = notes[EBM_COUNT_OF(notes) - 1 - i];
    enum ebm_status status = ebm_safetensors_write(path, reversed_notes, EBM_COUNT_OF(notes), reversed,
                                                   EBM_COUNT_OF(samples), NULL);
    cr_assert_eq(status, EBM_OK);
    unsigned char *again = read_bytes(&again_size);
    cr_assert_eq(size, again_size, "%zu and %zu bytes", size, again_size);
    cr_assert_eq(memcmp(bytes, again, size), 0);
    uint64_t length;
    memcpy(&length, bytes, 8);
    cr_assert_eq(length % 8, 0, "data start at byte %llu", (unsigned long long)(8 + length));
    free(bytes);
    free(again);
}

Test(safetensors, nothing_at_all_is_a_file_too)
{
    cr_assert_eq(ebm_safetensors_write(path, NULL, 0, NULL, 0, NULL), EBM_OK);
    struct ebm_safetensors *file = open_good();
    cr_assert_eq(ebm_safetensors_count(file), 0);
    cr_assert_null(ebm_safetensors_find(file, "x"));
    ebm_safetensors_free(file);
}

Test(safetensors, what_others_write_is_read)
{
    static const char *const headers[] = {
        "{}",
        "{ }      ",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
        " \n{\t\"a\" : { \"data_offsets\" : [ 0 , 4 ] , \"dtype\" : \"F32\" , \"shape\" : [ 1 , 1 ] } \r\n}  ",
        "{\"a\":{\"dtype\":\"BOOL\",\"shape\":[4],\"data_offsets\":[0,4]},\"__metadata__\":{}}",
        "{\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[2,4]},"
        "\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
        "\"c\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[2,2]}}",
        "{\"\\u0061\\ud83d\\ude00\\/\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
    };
    for (size_t i = 0; i < EBM_COUNT_OF(headers); i++) {
        size_t length = strlen(headers[i]);
        write_file(length, headers[i], length, i < 2 ? 0 : 4);
        struct ebm_safetensors *file = open_good();
        if (i == EBM_COUNT_OF(headers) - 1)
            cr_assert_str_eq(ebm_safetensors_at(file, 0)->name, "a\U0001f600/");
        ebm_safetensors_free(file);
    }
}

/* ---- hostile headers ---- */

#define T(rest) "{\"t\":{" rest "}}"
#define GOOD(name, from, to) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" #to "],\"data_offsets\":[" #from "," #to "]}"

static const struct {
    const char *header;
    size_t data_bytes;
    enum ebm_status status;
    const char *where, *fragment;
} hostile[] = {
    /* not the grammar */
    {"", 0, EBM_DAMAGED, "header", "expected '{'"},
    {"[]", 0, EBM_DAMAGED, "header", "expected '{'"},
    {"null", 0, EBM_DAMAGED, "header", "expected '{'"},
    {"{", 0, EBM_DAMAGED, "header", "expected a string at byte 1"},
    {"{\"t\"}", 0, EBM_DAMAGED, "t", "expected ':'"},
    {"{\"\":{}}", 0, EBM_DAMAGED, "header", "an empty name"},
    {"{\"__metadata__\":{\"\":\"\"}}", 0, EBM_DAMAGED, "__metadata__", "an empty name"},
    {"{\"t\":1}", 0, EBM_DAMAGED, "t", "expected '{'"},
    {"{\"t\":{}}", 0, EBM_DAMAGED, "t", "expected a string"},
    {"{\"t\":null}", 0, EBM_DAMAGED, "t", "expected '{'"},
    {"{} x", 0, EBM_DAMAGED, "header", "after the closing '}'"},
    {"{}{}", 0, EBM_DAMAGED, "header", "after the closing '}'"},
    {"{,}", 0, EBM_DAMAGED, "header", "expected a string"},
    {"{" GOOD("t", 0, 4) ",}", 4, EBM_DAMAGED, "header", "expected a string"},
    {"{" GOOD("t", 0, 4), 4, EBM_DAMAGED, "header", "expected ',' or '}'"},
    {"{" GOOD("t", 0, 4) ";}", 4, EBM_DAMAGED, "header", "expected ',' or '}'"},
    {"{'t':{}}", 0, EBM_DAMAGED, "header", "expected a string"},
    {"{\"t\":{\"dtype\":{\"a\":{\"a\":{}}}}}", 0, EBM_DAMAGED, "t", "expected a string"},
    {T("\"shape\":[[[[[[[[[[1]]]]]]]]]]"), 0, EBM_DAMAGED, "t", "expected an unsigned integer"},
    {T("\"shape\":1"), 0, EBM_DAMAGED, "t", "expected '['"},
    {T("\"shape\":[1"), 0, EBM_DAMAGED, "t", "expected ',' or ']'"},
    {T("\"shape\":[1,]"), 0, EBM_DAMAGED, "t", "expected an unsigned integer"},
    /* strings */
    {"{\"t", 0, EBM_DAMAGED, "header", "without an end"},
    {"{\"a\nb\":{}}", 0, EBM_DAMAGED, "header", "control character"},
    {"{\"a\\qb\":{}}", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"a\\", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"a\\u12\":{}}", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"a\\u12g4\":{}}", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"a\\u0000\":{}}", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"a\\ud800\":{}}", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"a\\udc00\\ud800\":{}}", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"a\\ud800\\ud800\":{}}", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"a\\ud800\\u", 0, EBM_DAMAGED, "header", "an escape that is not valid"},
    {"{\"\xff\":{}}", 0, EBM_DAMAGED, "header", "not UTF-8"},
    {"{\"\x80\":{}}", 0, EBM_DAMAGED, "header", "not UTF-8"},
    {"{\"\xc0\xaf\":{}}", 0, EBM_DAMAGED, "header", "not UTF-8"},
    {"{\"\xe0\x80\xaf\":{}}", 0, EBM_DAMAGED, "header", "not UTF-8"},
    {"{\"\xed\xa0\x80\":{}}", 0, EBM_DAMAGED, "header", "not UTF-8"},
    {"{\"\xf4\x90\x80\x80\":{}}", 0, EBM_DAMAGED, "header", "not UTF-8"},
    {"{\"\xf0\x9f\x98", 0, EBM_DAMAGED, "header", "not UTF-8"},
    /* numbers */
    {T("\"shape\":[-1]"), 0, EBM_DAMAGED, "t", "expected an unsigned integer"},
    {T("\"shape\":[1.0]"), 0, EBM_DAMAGED, "t", "fraction"},
    {T("\"shape\":[1e2]"), 0, EBM_DAMAGED, "t", "fraction or exponent"},
    {T("\"shape\":[01]"), 0, EBM_DAMAGED, "t", "expected an unsigned integer"},
    {T("\"shape\":[+1]"), 0, EBM_DAMAGED, "t", "expected an unsigned integer"},
    {T("\"shape\":[\"1\"]"), 0, EBM_DAMAGED, "t", "expected an unsigned integer"},
    {T("\"shape\":[18446744073709551616]"), 0, EBM_DAMAGED, "t", "beyond 64 bits"},
    {T("\"shape\":[99999999999999999999999]"), 0, EBM_DAMAGED, "t", "beyond 64 bits"},
    {T("\"shape\":[1,1,1,1,1,1,1,1,1]"), 0, EBM_DAMAGED, "t", "more numbers than allowed"},
    {T("\"data_offsets\":[0]"), 0, EBM_DAMAGED, "t", "two numbers"},
    {T("\"data_offsets\":[0,1,2]"), 0, EBM_DAMAGED, "t", "more numbers than allowed"},
    /* a tensor's keys */
    {T("\"dtype\":\"F31\""), 0, EBM_DAMAGED, "t", "unknown dtype \"F31\""},
    {T("\"dtype\":\"\""), 0, EBM_DAMAGED, "t", "unknown dtype"},
    {T("\"strides\":[1]"), 0, EBM_DAMAGED, "t", "unknown key \"strides\""},
    {T("\"dtype\":\"U8\",\"dtype\":\"U8\""), 0, EBM_DAMAGED, "t", "dtype stands twice"},
    {T("\"dtype\":\"U8\",\"shape\":[1]"), 1, EBM_DAMAGED, "t", "needs dtype, shape and data_offsets"},
    /* sizes and places */
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), 4, EBM_DAMAGED, "t", "want 8 bytes"},
    {T("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"), 4, EBM_DAMAGED, "t",
     "product is beyond 64 bits"},
    {T("\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]"), 0, EBM_DAMAGED, "t",
     "size is beyond 64 bits"},
    {T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 3, EBM_DAMAGED, "t", "do not lie within the 3 bytes"},
    {T("\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,3]"), 8, EBM_DAMAGED, "t", "do not lie within"},
    {T("\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[18446744073709551615,18446744073709551615]"), 8, EBM_DAMAGED,
     "t", "do not lie within"},
    {T("\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]"), 2, EBM_DAMAGED, "t", "a gap between tensors"},
    {"{" GOOD("t", 0, 4) "}", 5, EBM_DAMAGED, "header", "cover 4 bytes, the file has 5"},
    {"{}", 1, EBM_DAMAGED, "header", "cover 0 bytes, the file has 1"},
    {"{" GOOD("a", 0, 4) ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, EBM_DAMAGED, "b",
     "tensors overlap"},
    {"{" GOOD("a", 0, 4) ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, EBM_DAMAGED, NULL,
     "tensors overlap"},
    {"{" GOOD("a", 0, 4) ",\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[5,6]}}", 6, EBM_DAMAGED, "b",
     "a gap between tensors"},
    {"{" GOOD("a", 0, 4) ",\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}", 8, EBM_DAMAGED, "a",
     "two tensors have this name"},
    {"{" GOOD("a", 0, 4) ",\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}", 8, EBM_DAMAGED, "a",
     "two tensors have this name"},
    /* metadata */
    {"{\"__metadata__\":[]}", 0, EBM_DAMAGED, "__metadata__", "expected '{'"},
    {"{\"__metadata__\":{\"k\":1}}", 0, EBM_DAMAGED, "k", "expected a string"},
    {"{\"__metadata__\":{\"k\":{}}}", 0, EBM_DAMAGED, "k", "expected a string"},
    {"{\"__metadata__\":{\"k\"}}", 0, EBM_DAMAGED, "k", "expected ':'"},
    {"{\"__metadata__\":{\"k\":\"v\"", 0, EBM_DAMAGED, "k", "expected ',' or '}'"},
    {"{\"__metadata__\":{\"k\":\"v\",\"k\":\"w\"}}", 0, EBM_DAMAGED, "k", "this key twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, EBM_DAMAGED, "__metadata__", "a second __metadata__"},
};

/* Opening must fail, leave the output alone and say where and what. */
static void expect_refusal(size_t number, enum ebm_status status, const char *where, const char *fragment)
{
    struct ebm_safetensors *untouched = (struct ebm_safetensors *)path, *file = untouched;
    struct ebm_error error = {0};
    enum ebm_status got = ebm_safetensors_open(path, MAX_BYTES, &file, &error);
    cr_assert_eq(got, status, "case %zu (%s): %s, where '%s', text '%s'", number, fragment, ebm_status_name(got),
                 error.where, error.text);
    cr_assert_eq(error.status, status);
    cr_assert_eq(file, untouched);
    if (where)
        cr_assert_str_eq(error.where, where, "case %zu: where '%s', expected '%s' (%s)", number, error.where, where,
                         error.text);
    cr_assert_not_null(strstr(error.text, fragment), "case %zu: '%s' lacks '%s'", number, error.text, fragment);
    cr_assert_eq(ebm_safetensors_open(path, MAX_BYTES, &file, NULL), status, "case %zu without reterr", number);
}

Test(safetensors, hostile_headers_are_refused_with_a_reason)
{
    for (size_t i = 0; i < EBM_COUNT_OF(hostile); i++) {
        size_t length = strlen(hostile[i].header);
        write_file(length, hostile[i].header, length, hostile[i].data_bytes);
        expect_refusal(i, hostile[i].status, hostile[i].where, hostile[i].fragment);
    }
}

Test(safetensors, a_zero_byte_does_not_end_the_header)
{
    static const char header[] = "{\0\"t\":{}}";
    write_file(sizeof header - 1, header, sizeof header - 1, 0);
    expect_refusal(0, EBM_DAMAGED, "header", "expected a string");
    static const char in_string[] = "{\"t\0\":{}}";
    write_file(sizeof in_string - 1, in_string, sizeof in_string - 1, 0);
    expect_refusal(1, EBM_DAMAGED, "header", "control character");
    static const char after[] = "{}\0";
    write_file(sizeof after - 1, after, sizeof after - 1, 0);
    expect_refusal(2, EBM_DAMAGED, "header", "after the closing '}'");
}

Test(safetensors, lengths_that_lie)
{
    write_bytes("", 0);
    expect_refusal(0, EBM_DAMAGED, "header", "the file has 0 bytes");
    write_bytes("1234567", 7);
    expect_refusal(1, EBM_DAMAGED, "header", "the file has 7 bytes");
    write_file(3, "{}", 2, 0);
    expect_refusal(2, EBM_DAMAGED, "header", "wants 3 bytes, the file has 2 left");
    write_file(UINT64_MAX, "{}", 2, 0);
    expect_refusal(3, EBM_DAMAGED, "header", "wants 18446744073709551615 bytes");
    write_file(0, "", 0, 0);
    expect_refusal(4, EBM_DAMAGED, "header", "expected '{'");
    write_file(1, "{}", 2, 0);
    expect_refusal(5, EBM_DAMAGED, "header", "expected a string");
}

Test(safetensors, a_header_beyond_the_limit)
{
    size_t length = LIMIT_HEADER_BYTES + 1;
    char *header = malloc(length);
    cr_assert_not_null(header);
    memset(header, ' ', length);
    memcpy(header, "{}", 2);
    write_file(length, header, length, 0);
    expect_refusal(0, EBM_TOO_LARGE, "header", "the limit is 16777216");
    write_file(length - 1, header, length - 1, 0);
    ebm_safetensors_free(open_good());
    free(header);
}

Test(safetensors, more_tensors_than_the_limit)
{
    char *header = malloc(LIMIT_HEADER_BYTES);
    cr_assert_not_null(header);
    size_t at = 0;
    header[at++] = '{';
    for (uint32_t i = 0; i <= LIMIT_TENSORS; i++)
        at += (size_t)snprintf(header + at, 128, "%s\"%u\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                               i ? "," : "", i);
    header[at++] = '}';
    write_file(at, header, at, 0);
    expect_refusal(0, EBM_TOO_LARGE, "65536", "more than 65536 entries");
    free(header);
}

Test(safetensors, a_name_beyond_the_limit)
{
    char name[LIMIT_TENSOR_NAME_BYTES + 2], header[512];
    memset(name, 'n', sizeof name);
    for (int extra = 0; extra < 2; extra++) {
        name[LIMIT_TENSOR_NAME_BYTES + (size_t)extra] = 0;
        int length = snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
                              name);
        write_file((uint64_t)length, header, (size_t)length, 0);
        if (extra)
            expect_refusal(0, EBM_TOO_LARGE, NULL, "longer than 256 bytes");
        else
            ebm_safetensors_free(open_good());
        name[LIMIT_TENSOR_NAME_BYTES] = 'n';
    }
}

/* ---- things that are no files ---- */

Test(safetensors, what_is_not_a_regular_file_is_refused_at_once, .timeout = 20)
{
    struct ebm_safetensors *file = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_safetensors_open(path, MAX_BYTES, &file, &error), EBM_NOT_FOUND);
    cr_assert_str_eq(error.where, path);
    cr_assert_eq(ebm_safetensors_open(folder, MAX_BYTES, &file, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "not a regular file"), "%s", error.text);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(ebm_safetensors_open(path, MAX_BYTES, &file, &error), EBM_INVALID, "a FIFO without a writer");
    cr_assert_eq(ebm_safetensors_open("/dev/zero", MAX_BYTES, &file, &error), EBM_INVALID);
    cr_assert_null(file);
}

Test(safetensors, a_file_beyond_the_callers_limit)
{
    write_samples();
    size_t size;
    free(read_bytes(&size));
    struct ebm_safetensors *file = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_safetensors_open(path, size - 1, &file, &error), EBM_TOO_LARGE);
    cr_assert_eq(ebm_safetensors_open(path, size, &file, &error), EBM_OK, "%s", error.text);
    ebm_safetensors_free(file);
}

/* ---- damage everywhere ---- */

/* Opens whatever is at `path` and, when it opens, reads all of it. */
static bool opens(void)
{
    struct ebm_safetensors *file = NULL;
    struct ebm_error error = {0};
    enum ebm_status status = ebm_safetensors_open(path, MAX_BYTES, &file, &error);
    if (status != EBM_OK) {
        cr_assert(error.where[0] && error.text[0], "a refusal without words: '%s' '%s'", error.where, error.text);
        return false;
    }
    volatile unsigned sum = 0;
    for (size_t i = 0; i < ebm_safetensors_count(file); i++) {
        const struct ebm_tensor *tensor = ebm_safetensors_at(file, i);
        const unsigned char *data = tensor->data;
        for (size_t at = 0; at < tensor->count * ebm_dtype_bytes(tensor->dtype); at++)
            sum = sum + data[at];
    }
    ebm_safetensors_free(file);
    return true;
}

Test(safetensors, every_truncation_is_refused)
{
    write_samples();
    size_t size;
    unsigned char *bytes = read_bytes(&size);
    cr_assert(opens());
    for (size_t kept = 0; kept < size; kept++) {
        write_bytes(bytes, kept);
        cr_assert_not(opens(), "%zu of %zu bytes were accepted", kept, size);
    }
    free(bytes);
}

Test(safetensors, every_changed_byte_is_survived)
{
    static const unsigned char values[] = {0, 1, ' ', '"', '\\', '0', '9', '[', '}', 0x7f, 0x80, 0xff};
    write_samples();
    size_t size, accepted = 0, tried = 0;
    unsigned char *bytes = read_bytes(&size);
    for (size_t at = 0; at < size; at++) {
        unsigned char before = bytes[at];
        for (size_t v = 0; v < EBM_COUNT_OF(values) + 8; v++) {
            bytes[at] = (unsigned char)(v < 8 ? before ^ (1u << v) : values[v - 8]);
            write_bytes(bytes, size);
            accepted += opens();
            tried++;
        }
        bytes[at] = before;
    }
    cr_log_info("%zu of %zu changed files were accepted", accepted, tried);
    cr_assert_gt(accepted, 0, "changes of the data alone are fine");
    cr_assert_lt(accepted, tried / 2, "%zu of %zu", accepted, tried);
    free(bytes);
}

/* ---- writing ---- */

static size_t files_in_folder(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "ls -A %s | wc -l", folder);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t n = 99;
    cr_assert_eq(fscanf(pipe, "%zu", &n), 1);
    (void)pclose(pipe);
    return n;
}

Test(safetensors, what_the_reader_would_refuse_is_not_written)
{
    write_samples();
    size_t size, size_after;
    free(read_bytes(&size));
    struct ebm_tensor bad[2] = {samples[1], samples[1]};
    struct ebm_error error = {0};
    cr_assert_eq(ebm_safetensors_write(path, NULL, 0, bad, 2, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "two tensors have this name"), "%s", error.text);
    bad[0].name = "\xff";
    cr_assert_eq(ebm_safetensors_write(path, NULL, 0, bad, 2, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "not UTF-8"), "%s", error.text);
    bad[0].name = "x";
    bad[0].count = 6;
    cr_assert_eq(ebm_safetensors_write(path, NULL, 0, bad, 2, &error), EBM_INVALID);
    cr_assert_eq(error.status, EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "shape and dtype want 28 bytes"), "%s", error.text);
    const struct ebm_metadata twice[] = {{"k", "1"}, {"k", "2"}};
    cr_assert_eq(ebm_safetensors_write(path, twice, 2, NULL, 0, &error), EBM_INVALID);
    free(read_bytes(&size_after));
    cr_assert_eq(size, size_after, "the old file must stand");
    cr_assert_eq(files_in_folder(), 1, "%zu files", files_in_folder());
}

Test(safetensors, a_failed_write_leaves_the_old_file_and_no_temporary)
{
    struct ebm_error error = {0};
    char nowhere[80];
    (void)snprintf(nowhere, sizeof nowhere, "%s/no/t.safetensors", folder);
    cr_assert_eq(ebm_safetensors_write(nowhere, NULL, 0, NULL, 0, &error), EBM_NOT_FOUND, "%s", error.text);
    cr_assert_eq(mkdir(path, 0700), 0); /* a folder cannot be replaced by a file */
    cr_assert_neq(ebm_safetensors_write(path, NULL, 0, NULL, 0, &error), EBM_OK);
    cr_assert_str_eq(error.where, path);
    cr_assert_not_null(strstr(error.text, "cannot replace the file"), "%s", error.text);
    cr_assert_eq(files_in_folder(), 1, "%zu files", files_in_folder());
    cr_assert_eq(rmdir(path), 0);
}

Test(safetensors, a_reader_keeps_the_file_that_it_opened)
{
    write_samples();
    struct ebm_safetensors *before = open_good();
    cr_assert_eq(ebm_safetensors_write(path, NULL, 0, NULL, 0, NULL), EBM_OK);
    cr_assert_eq(memcmp(ebm_safetensors_find(before, "b")->data, seven, sizeof seven), 0);
    ebm_safetensors_free(before);
    struct stat about;
    cr_assert_eq(stat(path, &about), 0);
    mode_t mask = umask(0);
    (void)umask(mask);
    cr_assert_eq(about.st_mode & 0777, 0666 & ~mask, "mode %o: others may read models", about.st_mode & 0777);
}

Test(safetensors, a_file_of_the_current_folder_needs_no_slash)
{
    cr_assert_eq(chdir(folder), 0);
    cr_assert_eq(ebm_safetensors_write("t.safetensors", notes, 1, NULL, 0, NULL), EBM_OK);
    ebm_safetensors_free(open_good());
    cr_assert_eq(chdir("/"), 0);
}

/* ---- other types as F32 ---- */

static struct ebm_tensor tensor_of(enum ebm_dtype dtype, size_t n, const void *data)
{
    return (struct ebm_tensor){.name = "t", .dtype = dtype, .n_dims = 1, .shape = {n}, .count = n, .data = data};
}

/* sign, exponent, fraction as IEEE 754 says, in doubles */
static double half_by_definition(uint32_t bits)
{
    double fraction = (bits & 0x3ff) / 1024.0, sign = bits & 0x8000 ? -1.0 : 1.0;
    int exponent = (int)(bits >> 10 & 31);
    return sign * (exponent == 0 ? ldexp(fraction, -14) : ldexp(1.0 + fraction, exponent - 15));
}

/* The first of all 65536 that goes wrong; 65536 when none does. An assertion for each would take seconds. */
static uint32_t first_wrong(enum ebm_dtype dtype, bool (*is_right)(uint32_t bits, enum ebm_status status, float value))
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const uint16_t number = (uint16_t)bits;
        float value = 7.0f;
        struct ebm_tensor tensor = tensor_of(dtype, 1, &number);
        enum ebm_status status = ebm_tensor_to_f32(&tensor, &value, NULL);
        if (!is_right(bits, status, value))
            return bits;
    }
    return 65536;
}

static bool is_right_f16(uint32_t bits, enum ebm_status status, float value)
{
    if ((bits >> 10 & 31) == 31)
        return status == EBM_DAMAGED && value == 7.0f;
    return status == EBM_OK && (double)value == half_by_definition(bits) &&
           (signbit(value) != 0) == ((bits & 0x8000) != 0);
}

static bool is_right_bf16(uint32_t bits, enum ebm_status status, float value)
{
    uint32_t got;
    memcpy(&got, &value, sizeof got);
    if ((bits >> 7 & 255) == 255)
        return status == EBM_DAMAGED && value == 7.0f;
    return status == EBM_OK && got == bits << 16;
}

Test(safetensors, every_f16_becomes_its_f32)
{
    uint32_t wrong = first_wrong(EBM_DTYPE_F16, is_right_f16);
    cr_assert_eq(wrong, 65536, "0x%04x", wrong);
}

Test(safetensors, every_bf16_is_the_upper_half_of_its_f32)
{
    uint32_t wrong = first_wrong(EBM_DTYPE_BF16, is_right_bf16);
    cr_assert_eq(wrong, 65536, "0x%04x", wrong);
}

Test(safetensors, f64_is_rounded_to_nearest)
{
    static const double from[] = {0.1, 1.0 + 0x1p-24, 1.0 + 0x1.8p-23, 1.0 + 0x1.0001p-24, -1e-300, 0x1.fffffefp127};
    static const float to[] = {0.1f, 1.0f, 1.0f + 0x1p-22f, 1.0f + 0x1p-23f, -0.0f, 0x1.fffffep127f};
    float values[EBM_COUNT_OF(from)];
    struct ebm_error error;
    struct ebm_tensor tensor = tensor_of(EBM_DTYPE_F64, EBM_COUNT_OF(from), from);
    cr_assert_eq(ebm_tensor_to_f32(&tensor, values, &error), EBM_OK, "%s", error.text);
    for (size_t i = 0; i < EBM_COUNT_OF(from); i++)
        cr_assert_eq(values[i], to[i], "%a: %a, expected %a", from[i], (double)values[i], (double)to[i]);
    static const double beyond[] = {1.0, 0x1.ffffffp127};
    tensor = tensor_of(EBM_DTYPE_F64, 2, beyond);
    values[0] = 9.0f;
    cr_assert_eq(ebm_tensor_to_f32(&tensor, values, &error), EBM_DAMAGED);
    cr_assert_str_eq(error.where, "t");
    cr_assert_not_null(strstr(error.text, "number 1 is 3.40282e+38, beyond the range of F32"), "%s", error.text);
    cr_assert_eq(values[0], 9.0f, "nothing is written");
}
