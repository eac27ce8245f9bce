/* test_dataset.c - reading CSVs, choosing columns, splitting, measuring, jitter. */
#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/dataset.h"

static char path[64], split_path[64];

/* Linked in place of realloc, so that it can fail. */
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
static bool no_memory;

void *__wrap_realloc(void *old, size_t size)
{
    return no_memory ? NULL : __real_realloc(old, size);
}

static void write_to(char *name, const char *pattern, const char *text, size_t size)
{
    (void)snprintf(name, sizeof path, "%s", pattern);
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, size), (ssize_t)size);
    (void)close(fd);
}

static void put(const char *text)
{
    write_to(path, "/tmp/ebm-test-data-XXXXXX", text, strlen(text));
}

static void remove_files(void)
{
    (void)unlink(path);
    (void)unlink(split_path);
}

static enum ebm_status load(const struct dataset_options *options, struct dataset **ret_data, struct ebm_error *error)
{
    struct dataset_options o = *options;
    o.file = path;
    o.split_seed = 7;
    *error = (struct ebm_error){.status = EBM_OK};
    return dataset_load(&o, ret_data, error);
}

TestSuite(dataset, .fini = remove_files);

Test(dataset, reads_quotes_crlf_marks_and_blanks)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    put("\xef\xbb\xbf\"a,\"\"1\"\"\", b ,y\r\n1,2.5,\"3\"\r\n\r\n-1e2, +.5 ,4");
    cr_assert_eq(load(&(struct dataset_options){.standardize = true}, &data, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    cr_assert_eq(data->n_rows, 2);
    cr_assert_eq(data->X, 2);
    cr_assert_str_eq(data->input_names[0], "a,\"1\"");
    cr_assert_str_eq(data->input_names[1], "b");
    cr_assert_str_eq(data->target_names[0], "y");
    const double x[] = {1.0, 2.5, -100.0, 0.5}, y[] = {3.0, 4.0};
    for (int i = 0; i < 4; i++)
        cr_assert_eq(data->x[i], x[i], "x[%d] %g, expected %g", i, data->x[i], x[i]);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(data->y[i], y[i], "y[%d] %g, expected %g", i, data->y[i], y[i]);
    (void)dataset_free(data);
}

Test(dataset, numbers_do_not_depend_on_the_locale)
{
    double value = 0.0;
    (void)setlocale(LC_ALL, "de_DE.UTF-8"); /* where it is not installed, this shows nothing */
    cr_assert(csv_number("1.5", 3, &value));
    cr_assert_eq(value, 1.5, "%g", value);
    const char *const wrong[] = {"", " ", "1,5", "0x10", "inf", "nan", "1e999", "1.5x", "--1", "1 2", "e5"};
    for (size_t i = 0; i < EBM_COUNT_OF(wrong); i++)
        cr_assert_not(csv_number(wrong[i], strlen(wrong[i]), &value), "'%s' was taken as %g", wrong[i], value);
}

Test(dataset, errors_name_line_and_column)
{
    static const struct {
        const char *text, *where, *says;
    } cases[] = {
        {"x,y\n1,2\n3,\n", "line 3", "'y' has no value"},
        {"x,y\n1,2\n,4\n", "line 3", "'x' has no value"},
        {"x,y\n1,NA\n", "line 2", "'y' has no value"},
        {"x,y\n1,2\nhello,4\n", "line 3", "'x' is 'hello'"},
        {"x,y\n1,1e999\n", "line 2", "'y' is '1e999'"},
        {"x,y\n1,2,3\n", "line 2", "3 fields, expected 2"},
        {"x,y\n1\n", "line 2", "1 fields, expected 2"},
        {"x,y\n\"1,2\n", "line 2", "quote is not closed"},
        {"x,y\n\"1\"2,3\n", "line 2", "quote is not closed"},
        {"x,x\n1,2\n", "line 1", "two columns are named 'x'"},
        {"x,\n1,2\n", "line 1", "column 2 of the header has no name"},
        {"x,y\n", "", "no rows below the header"},
        {"", "", "the file is empty"},
        {"\n\n", "line 1", "column 1 of the header has no name"},
        {"y\n1\n2\n", "data.inputs", "no column is left"},
        {"x,y\n1,2\n3,2\n", "data.targets", "nothing to learn"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct dataset *data = NULL;
        struct ebm_error error;
        put(cases[i].text);
        cr_assert_neq(load(&(struct dataset_options){.standardize = true}, &data, &error), EBM_OK, "case %zu", i);
        cr_assert_null(data);
        cr_assert(strstr(error.where, cases[i].where) != NULL, "case %zu: where '%s'", i, error.where);
        cr_assert(strstr(error.text, cases[i].says) != NULL, "case %zu: text '%s'", i, error.text);
        (void)unlink(path);
    }
}

Test(dataset, refuses_zero_bytes)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    write_to(path, "/tmp/ebm-test-data-XXXXXX", "x,y\n1,\0002\n", 10);
    cr_assert_eq(load(&(struct dataset_options){.validation = 0}, &data, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "zero byte") != NULL, "%s", error.text);
}

Test(dataset, drops_rows_with_missing_values_and_keeps_their_numbers)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    put("x,y\n1,10\n,20\n3,nan\n4,40\n5,50\n");
    cr_assert_eq(load(&(struct dataset_options){.drop_missing = true}, &data, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(data->n_rows, 3);
    cr_assert_eq(data->n_dropped, 2);
    const uint32_t numbers[] = {0, 3, 4};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(data->numbers[i], numbers[i], "row %d has number %u", i, data->numbers[i]);
    (void)dataset_free(data);
}

Test(dataset, chooses_columns_by_name_and_leaves_others_unread)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    char a[] = "a", b[] = "b", d[] = "d", bb[] = "bb";
    char *targets[] = {b, a}, *inputs[] = {d}, *typo[] = {bb};
    put("a,b,c,d\n1,2,text,4\n5,6,,9\n");
    struct dataset_options options = {.targets = targets, .n_targets = 2, .inputs = inputs, .n_inputs = 1};
    cr_assert_eq(load(&options, &data, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(data->D, 2);
    cr_assert_eq(data->y[0], 2.0, "%g", data->y[0]);
    cr_assert_eq(data->y[1], 1.0, "%g", data->y[1]);
    cr_assert_eq(data->x[1], 9.0, "%g", data->x[1]);
    (void)dataset_free(data);
    options = (struct dataset_options){.targets = typo, .n_targets = 1};
    cr_assert_eq(load(&options, &data, &error), EBM_NOT_FOUND);
    cr_assert(strstr(error.text, "no column 'bb', did you mean 'b'?") != NULL, "%s", error.text);
    options = (struct dataset_options){.targets = targets, .n_targets = 2, .inputs = targets, .n_inputs = 1};
    cr_assert_eq(load(&options, &data, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "an input and a target") != NULL, "%s", error.text);
}

static void put_rows(uint32_t n)
{
    char text[4096] = "x,y\n";
    for (uint32_t i = 0; i < n; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%u,%u\n", i, i * i);
    put(text);
}

Test(dataset, splits_by_seed_without_overlap)
{
    struct dataset *data[3] = {NULL};
    struct ebm_error error;
    put_rows(50);
    for (uint64_t seed = 0; seed < 3; seed++) {
        struct dataset_options options = {.file = path, .validation = 0.2};
        options.split_seed = seed / 2;
        cr_assert_eq(dataset_load(&options, &data[seed], &error), EBM_OK, "%s", error.text);
        cr_assert_eq(data[seed]->n_validation, 10);
        cr_assert_eq(data[seed]->n_train, 40);
        bool seen[50] = {false};
        for (uint32_t i = 0; i < 40; i++)
            seen[data[seed]->train[i]] = true;
        for (uint32_t i = 0; i < 10; i++) {
            cr_assert_not(seen[data[seed]->validation[i]], "row %u twice", data[seed]->validation[i]);
            seen[data[seed]->validation[i]] = true;
        }
        for (uint32_t i = 0; i < 50; i++)
            cr_assert(seen[i], "row %u nowhere", i);
    }
    cr_assert_eq(dataset_fingerprint(data[0]), dataset_fingerprint(data[1]));
    cr_assert_neq(dataset_fingerprint(data[0]), dataset_fingerprint(data[2]));
    for (int i = 0; i < 3; i++)
        (void)dataset_free(data[i]);
}

Test(dataset, holds_out_the_test_rows_of_a_split_file)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    put_rows(10);
    write_to(split_path, "/tmp/ebm-test-split-XXXXXX", "1 2\n0 9 4\n3 10\n5 x\n", 18);
    struct dataset_options options = {.split_file = split_path, .split_index = 1};
    cr_assert_eq(load(&options, &data, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(data->n_test, 3);
    const uint32_t test[] = {0, 4, 9};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(data->test[i], test[i], "test row %u", data->test[i]);
    cr_assert_eq(data->n_train, 7);
    (void)dataset_free(data);
    for (uint32_t index = 2; index < 5; index++) { /* a row that is not there, a word, a line that is not there */
        options.split_index = index;
        cr_assert_eq(load(&options, &data, &error), EBM_INVALID, "line %u", index + 1);
    }
}

Test(dataset, measures_the_training_rows_alone)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    uint32_t first = 99;
    put("c,x,y\n5,1,1\n5,3,2\n5,100,50\n6,5,3\n");
    write_to(split_path, "/tmp/ebm-test-split-XXXXXX", "2 3\n", 4);
    struct dataset_options options = {.split_file = split_path};
    cr_assert_eq(load(&options, &data, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(data->input_mean[1], 2.0, "%g", data->input_mean[1]);
    cr_assert_eq(data->input_std[1], 1.0, "%g", data->input_std[1]);
    cr_assert_eq(data->target_mean[0], 1.5, "%g", data->target_mean[0]);
    cr_assert_eq(data->target_std[0], 0.5, "%g", data->target_std[0]);
    cr_assert_eq(data->input_mean[0], 5.0, "a constant column keeps its mean, %g", data->input_mean[0]);
    cr_assert_eq(data->input_std[0], 1.0, "and scale 1, %g", data->input_std[0]);
    cr_assert_eq(dataset_constant_inputs(data, &first), 1);
    cr_assert_eq(first, 0, "%u", first);
    (void)dataset_free(data);
}

Test(dataset, jitters_the_values_asked_for)
{
    double values[] = {2.0, 4.0};
    struct dataset_jitter some = {.step = 0.1, .values = values, .n_values = 2}, all = {.step = 0.1},
                          none = {.step = 0};
    cr_assert(dataset_is_jittered(&some, 4.0));
    cr_assert_not(dataset_is_jittered(&some, 4.0167));
    cr_assert(dataset_is_jittered(&all, 4.0167));
    cr_assert_not(dataset_is_jittered(&none, 4.0));
}

Test(dataset, a_line_beyond_the_limit_is_refused)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    size_t size = LIMIT_LINE_BYTES + 16u;
    char *text = malloc(size);
    cr_assert_not_null(text);
    memset(text, '1', size);
    memcpy(text, "x,y\n", 4);
    write_to(path, "/tmp/ebm-test-data-XXXXXX", text, size);
    free(text);
    cr_assert_eq(load(&(struct dataset_options){.validation = 0}, &data, &error), EBM_TOO_LARGE);
    cr_assert(strstr(error.where, "line 2") != NULL, "%s", error.where);
}

Test(dataset, no_memory_for_a_line_is_not_a_line_too_long)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    put("x,y\n1,2\n3,4\n");
    no_memory = true;
    enum ebm_status status = load(&(struct dataset_options){.validation = 0}, &data, &error);
    no_memory = false;
    cr_assert_eq(status, EBM_NO_MEMORY, "%s: %s", ebm_status_name(status), error.text);
    cr_assert(strstr(error.text, "no memory") != NULL, "%s", error.text);
}

Test(dataset, a_column_too_large_to_measure_is_named)
{
    static const struct {
        const char *text, *where, *names;
    } cases[] = {
        {"a,b,y\n1,1e308,1\n2,-1e308,2\n3,1,3\n", "data.inputs", "'b'"},  /* the sum */
        {"a,b,y\n1,1e200,1\n2,2e200,2\n3,1,3\n", "data.inputs", "'b'"},   /* the squares */
        {"a,b,y\n1,1,1e200\n2,2,-1e200\n3,1,3\n", "data.targets", "'y'"}, /* of a target */
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct dataset *data = NULL;
        struct ebm_error error;
        put(cases[i].text);
        cr_assert_eq(load(&(struct dataset_options){.standardize = true}, &data, &error), EBM_INVALID, "case %zu", i);
        cr_assert_str_eq(error.where, cases[i].where);
        cr_assert(strstr(error.text, cases[i].names) != NULL, "case %zu: %s", i, error.text);
        (void)unlink(path);
    }
}

Test(dataset, a_split_row_beyond_the_file_is_refused_when_rows_were_dropped)
{
    struct dataset *data = NULL;
    struct ebm_error error;
    put("x,y\n1,10\n,20\n3,nan\n4,40\n5,50\n"); /* rows 0 to 4; 1 and 2 are dropped */
    write_to(split_path, "/tmp/ebm-test-split-XXXXXX", "1 4\n3 5\n3 6\n", 12);
    struct dataset_options options = {.split_file = split_path, .drop_missing = true};
    cr_assert_eq(load(&options, &data, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(data->n_test, 1, "%u", data->n_test);
    data = dataset_free(data);
    for (options.split_index = 1; options.split_index < 3; options.split_index++)
        cr_assert_eq(load(&options, &data, &error), EBM_INVALID, "line %u", options.split_index + 1);
    cr_assert(strstr(error.text, "row numbers") != NULL, "%s", error.text);
}
