/* test_table.c - .npy files of every type that is taken, pairs of them, and files that are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/dataset.h"
#include "trainer/npy.h"

static char x_path[64], y_path[64];

static void remove_files(void)
{
    (void)unlink(x_path);
    (void)unlink(y_path);
}

TestSuite(table, .fini = remove_files);

/* An .npy of format 1.0, or 2.0, with this dict and these bytes. */
static void put(char *path, int version, const char *dict, const void *bytes, size_t n_bytes)
{
    unsigned char begin[12] = "\x93NUMPY";
    size_t length = strlen(dict), n = version == 1 ? 10 : 12;
    begin[6] = (unsigned char)version;
    begin[8] = (unsigned char)(length & 0xff);
    begin[9] = (unsigned char)(length >> 8);
    (void)snprintf(path, sizeof x_path, "/tmp/ebm-table-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, begin, n), (ssize_t)n);
    cr_assert_eq(write(fd, dict, length), (ssize_t)length);
    cr_assert_eq(write(fd, bytes, n_bytes), (ssize_t)n_bytes);
    (void)close(fd);
}

#define DICT(type, shape) "{'descr': '" type "', 'fortran_order': False, 'shape': " shape ", }\n"

static struct table *open_table(const char *targets)
{
    struct table *table = NULL;
    struct ebm_error error;
    cr_assert_eq(table_open(x_path, targets, &table, &error), EBM_OK, "%s: %s", error.where, error.text);
    return table;
}

Test(table, every_type_of_number)
{
    static const float singles[] = {1.5f, -2.25f};
    static const double doubles[] = {1e300, -0.1};
    static const int8_t i8[] = {-128, 127};
    static const int16_t i16[] = {-32768, 5};
    static const int32_t i32[] = {-2000000000, 7};
    static const int64_t i64[] = {-9007199254740991, 3};
    static const uint8_t u8[] = {255, 0}, b1[] = {1, 0};
    static const uint64_t u64[] = {1ull << 63, 1};
    static const struct {
        const char *dict;
        const void *bytes;
        size_t size;
        double first, second;
    } cases[] = {
        {DICT("<f4", "(2,)"), singles, sizeof singles, 1.5, -2.25},
        {DICT("<f8", "(2, 1)"), doubles, sizeof doubles, 1e300, -0.1},
        {DICT("|i1", "(2,)"), i8, sizeof i8, -128.0, 127.0},
        {DICT("<i2", "(2,)"), i16, sizeof i16, -32768.0, 5.0},
        {DICT("<i4", "(2,)"), i32, sizeof i32, -2e9, 7.0},
        {DICT("<i8", "(2,)"), i64, sizeof i64, -9007199254740991.0, 3.0},
        {DICT("|u1", "(2,)"), u8, sizeof u8, 255.0, 0.0},
        {DICT("<u1", "(2,)"), u8, sizeof u8, 255.0, 0.0},
        {DICT("<u8", "(2,)"), u64, sizeof u64, 0x1p63, 1.0},
        {DICT("|b1", "(2,)"), b1, sizeof b1, 1.0, 0.0},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct csv_table rows;
        struct ebm_error error;
        const uint32_t column = 0;
        put(x_path, 1 + (int)(i % 2), cases[i].dict, cases[i].bytes, cases[i].size);
        struct table *table = open_table(NULL);
        cr_assert_eq(table_read(table, &column, 1, false, &rows, &error), EBM_OK, "%s: %s", error.where, error.text);
        cr_assert_eq(rows.n_rows, 2);
        cr_assert_eq(rows.values[0], cases[i].first, "case %zu: %g", i, rows.values[0]);
        cr_assert_eq(rows.values[1], cases[i].second, "case %zu: %g", i, rows.values[1]);
        csv_table_done(&rows);
        (void)table_free(table);
        (void)unlink(x_path);
    }
}

Test(table, a_pair_has_inputs_and_targets)
{
    static const float x[] = {1, 2, 3, 4, 5, 6};
    static const double y[] = {10, 20, 30};
    struct dataset *data = NULL;
    struct ebm_error error;
    put(x_path, 1, DICT("<f4", "(3, 2)"), x, sizeof x);
    put(y_path, 1, DICT("<f8", "(3,)"), y, sizeof y);
    const struct dataset_options options = {.file = x_path, .targets_file = y_path, .standardize = true};
    cr_assert_eq(dataset_load(&options, &data, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(data->X, 2);
    cr_assert_eq(data->D, 1);
    cr_assert_str_eq(data->input_names[1], "x2");
    cr_assert_str_eq(data->target_names[0], "y1");
    cr_assert_eq(data->x[5], 6.0);
    cr_assert_eq(data->y[2], 30.0);
    (void)dataset_free(data);
}

Test(table, one_file_has_its_target_last)
{
    static const double numbers[] = {1, 2, 3, 4, (double)NAN, 6};
    struct dataset *data = NULL;
    struct ebm_error error;
    put(x_path, 1, DICT("<f8", "(2, 3)"), numbers, sizeof numbers);
    struct dataset_options options = {.file = x_path, .drop_missing = true};
    cr_assert_eq(dataset_load(&options, &data, &error), EBM_INVALID, "one row is left: a constant target");
    options.drop_missing = false;
    cr_assert_eq(dataset_load(&options, &data, &error), EBM_INVALID);
    cr_assert(strstr(error.where, "row 2") != NULL && strstr(error.text, "'column_2' has no value") != NULL, "%s: %s",
              error.where, error.text);
    char name[] = "column_1", *inputs[] = {name};
    options.inputs = inputs;
    options.n_inputs = 1;
    cr_assert_eq(dataset_load(&options, &data, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_str_eq(data->target_names[0], "column_3");
    cr_assert_eq(data->y[1], 6.0);
    (void)dataset_free(data);
}

Test(table, refuses_with_a_way_out)
{
    static const double one[] = {1.0, (double)INFINITY};
    static const struct {
        const char *dict;
        size_t size;
        enum ebm_status status;
        const char *says;
    } cases[] = {
        {DICT(">f8", "(1,)"), 8, EBM_INVALID, "big-endian numbers of the type '>f8', expected little-endian"},
        {DICT(">f8", "(1,)"), 8, EBM_INVALID, ".astype('<f8')"},
        {DICT("|f8", "(1,)"), 8, EBM_INVALID, "'|f8', expected little-endian"},
        {DICT("=i8", "(1,)"), 8, EBM_INVALID, ".astype('<i8')"},
        {DICT("<f2", "(4,)"), 8, EBM_INVALID, "float32, float64 or integers"},
        {DICT("<c8", "(1,)"), 8, EBM_INVALID, ".astype"},
        {DICT("|O", "(1,)"), 8, EBM_INVALID, ".astype"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 8, EBM_INVALID, "structured"},
        {"{'descr': '<f8', 'fortran_order': True, 'shape': (1, 1), }", 8, EBM_INVALID, "ascontiguousarray"},
        {"{'descr': '<f8', 'shape': (1, 1), }", 8, EBM_DAMAGED, "order"},
        {"{'descr': '<f8', 'fortran_order': False, }", 8, EBM_DAMAGED, "shape"},
        {DICT("<f8", "()"), 8, EBM_INVALID, "0 dimensions"},
        {DICT("<f8", "(1, 1, 1)"), 8, EBM_INVALID, "3 dimensions"},
        {DICT("<f8", "(2,)"), 8, EBM_DAMAGED, "cut short"},
        {DICT("<f8", "(1,)"), 16, EBM_DAMAGED, "written to twice"},
        {DICT("<f8", "(1, 0)"), 0, EBM_TOO_LARGE, "at most"},
        {DICT("<f8", "(1, 65537)"), 8, EBM_TOO_LARGE, "at most"},
        {DICT("<f8", "(99999999999999999999, 1)"), 8, EBM_DAMAGED, "whole numbers"},
        {DICT("<f8", "(1, -5)"), 8, EBM_DAMAGED, "whole numbers"},
        {DICT("<f8", "(1"), 8, EBM_DAMAGED, "whole numbers"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct table *table = NULL;
        struct ebm_error error = {.text = ""};
        put(x_path, 1, cases[i].dict, one, cases[i].size);
        enum ebm_status status = table_open(x_path, NULL, &table, &error);
        cr_assert_eq(status, cases[i].status, "case %zu: %s: %s", i, ebm_status_name(status), error.text);
        cr_assert_str_eq(error.where, x_path);
        cr_assert(strstr(error.text, cases[i].says) != NULL, "case %zu: %s", i, error.text);
        (void)unlink(x_path);
    }
}

Test(table, refuses_pairs_that_do_not_fit)
{
    static const double numbers[] = {1.0, (double)INFINITY};
    struct table *table = NULL;
    struct csv_table rows;
    struct ebm_error error;
    const uint32_t column = 0;
    put(x_path, 1, DICT("<f8", "(2,)"), numbers, 16);
    put(y_path, 1, DICT("<f8", "(1,)"), numbers, 8);
    cr_assert_eq(table_open(x_path, y_path, &table, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "1 rows, and the inputs have 2") != NULL, "%s", error.text);
    table = open_table(NULL);
    cr_assert_eq(table_read(table, &column, 1, true, &rows, &error), EBM_INVALID);
    cr_assert(strstr(error.where, "row 2") != NULL && strstr(error.text, "finite") != NULL, "%s", error.text);
    (void)table_free(table);
    FILE *csv = fopen(x_path, "we");
    cr_assert_not_null(csv);
    cr_assert_geq(fputs("x,y\n1,2\n", csv), 0);
    cr_assert_eq(fclose(csv), 0);
    cr_assert_eq(table_open(x_path, y_path, &table, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "no .npy file") != NULL, "%s", error.text);
}

Test(table, formats_to_come_are_refused)
{
    static const float x[] = {1, 2};
    struct table *table = NULL;
    struct ebm_error error;
    put(x_path, 4, DICT("<f4", "(2,)"), x, sizeof x);
    cr_assert_eq(table_open(x_path, NULL, &table, &error), EBM_INVALID);
    cr_assert(strstr(error.text, ".npy format 4.0, expected 1.0 to 3.0") != NULL, "%s", error.text);
}

/* Every prefix of a file is refused, or is the file. */
Test(table, refuses_every_cut)
{
    static const float x[] = {1, 2, 3, 4};
    char whole[256], cut[64];
    put(x_path, 1, DICT("<f4", "(2, 2)"), x, sizeof x);
    FILE *file = fopen(x_path, "re");
    cr_assert_not_null(file);
    size_t size = fread(whole, 1, sizeof whole, file);
    (void)fclose(file);
    for (size_t n = 0; n < size; n++) {
        struct npy npy;
        struct ebm_error error;
        (void)snprintf(cut, sizeof cut, "/tmp/ebm-table-XXXXXX");
        int fd = mkstemp(cut);
        cr_assert_eq(write(fd, whole, n), (ssize_t)n);
        (void)close(fd);
        cr_assert_neq(npy_open(cut, &npy, &error), EBM_OK, "%zu of %zu bytes were taken", n, size);
        (void)unlink(cut);
    }
}
