/* test_report.c - what is said of rows that are ordinary, constant, repeated or rounded. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/report.h"

static char path[64];

static void remove_file(void)
{
    (void)unlink(path);
}

TestSuite(report, .fini = remove_file);

/* The report of rows i = 0 .. n - 1: a = i mod 150, b = i or constant, y(i). */
static void report(uint32_t n, bool b_is_constant, double (*y)(uint32_t), double step, struct ebm_buf *buf)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    (void)snprintf(path, sizeof path, "/tmp/ebm-report-XXXXXX");
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    cr_assert_not_null(file);
    (void)fputs("a,b,y\n", file);
    for (uint32_t i = 0; i < n; i++)
        (void)fprintf(file, "%u,%u,%.17g\n", i % 150, b_is_constant ? 7 : i, y(i));
    cr_assert_eq(fclose(file), 0);
    const struct dataset_options options = {.file = path, .standardize = true, .jitter = {.step = step}};
    cr_assert_eq(dataset_load(&options, &data, &error), EBM_OK, "%s: %s", error.where, error.text);
    ebm_buf_init(buf, 65536);
    report_text(data, &options.jitter, buf);
    cr_assert_eq(buf->status, EBM_OK);
    (void)dataset_free(data);
    (void)unlink(path);
}

static double smooth(uint32_t i)
{
    return (double)i * 1.25;
}

static double discrete(uint32_t i)
{
    return 0.5 * (i % 6);
}

static double rounded_in_places(uint32_t i)
{
    return i % 5 == 0 ? 2.0 : i % 5 == 1 ? 4.0 : (double)i * 0.001;
}

static double repeated(uint32_t i)
{
    return (double)(i % 150) * 1.5;
}

Test(report, ordinary_rows_have_ranges_and_no_remarks)
{
    struct ebm_buf buf;
    report(200, false, smooth, 0.0, &buf);
    cr_assert_not_null(strstr(buf.bytes, "200 training rows, 0 for validation; 2 inputs, 1 target\n"), "%s", buf.bytes);
    cr_assert_not_null(
        strstr(buf.bytes,
               "target   y                                       0       248.75       124.38       72.168       200\n"),
        "%s", buf.bytes);
    cr_assert_null(strstr(buf.bytes, "dequantize"), "%s", buf.bytes);
    cr_assert_null(strstr(buf.bytes, "constant"), "%s", buf.bytes);
    cr_assert_null(strstr(buf.bytes, "another"), "%s", buf.bytes);
    ebm_buf_done(&buf);
}

Test(report, odd_rows_are_remarked_upon)
{
    static const struct {
        bool b_is_constant;
        double (*y)(uint32_t);
        double step;
        const char *says, *says_not;
    } cases[] = {
        {true, smooth, 0.0, "1 input is the same in every training row, 'b' the first", "dequantize"},
        {true, repeated, 0.0, "50 rows are equal to another in every column", "dequantize"},
        {false, discrete, 0.0, "y has only 6 values: rounded, or discrete?", "values\": ["},
        {false, discrete, 0.0, "{\"step\": 0.5}", "share"},
        {false, discrete, 0.5, "200 training rows", "dequantize"},
        {false, rounded_in_places, 0.0, "40 % of the rows share 2 values of y", "only"},
        {false, rounded_in_places, 0.0, "\"values\": [2, 4]}", "..."},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_buf buf;
        report(200, cases[i].b_is_constant, cases[i].y, cases[i].step, &buf);
        cr_assert_not_null(strstr(buf.bytes, cases[i].says), "case %zu: '%s' is not in:\n%s", i, cases[i].says,
                           buf.bytes);
        cr_assert_null(strstr(buf.bytes, cases[i].says_not), "case %zu: '%s' is in:\n%s", i, cases[i].says_not,
                       buf.bytes);
        ebm_buf_done(&buf);
    }
}
