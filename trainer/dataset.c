/* dataset.c - from a table to rows with a role.
 *
 *   columns   of a table: targets by name (else the last, or those of the second file), inputs by name (else the rest)
 *   split     test rows by a split file; of the others a share `validation`, chosen by the seed
 *   measure   mean and standard deviation of the training rows; a constant column keeps scale 1
 *
 * Row numbers are those of the file, so that a split file means the same rows when rows with missing values are
 * dropped. Guarantees: at least one training row; the same file, options and seed give the same rows in the same
 * order. */
#include "trainer/dataset.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/rng.h"
#include "trainer/dataset_internal.h"

#define SPLIT_BYTES (256 << 20) /* most of a split file */

struct dataset *dataset_free(struct dataset *data)
{
    if (data == NULL)
        return NULL;
    for (uint32_t i = 0; data->input_names != NULL && i < data->X; i++)
        free(data->input_names[i]);
    for (uint32_t i = 0; data->target_names != NULL && i < data->D; i++)
        free(data->target_names[i]);
    void *arrays[] = {data->input_names, data->target_names, data->x,          data->y,    data->pixels,
                      data->numbers,     data->train,        data->validation, data->test, data->input_mean,
                      data->input_std,   data->target_mean,  data->target_std};
    for (size_t i = 0; i < EBM_COUNT_OF(arrays); i++)
        free(arrays[i]);
    free(data);
    return NULL;
}

void dataset_freep(struct dataset **data)
{
    *data = dataset_free(*data);
}

enum ebm_status dataset_no_memory(struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_NO_MEMORY, "data", "no memory for the data set");
}

/* ---- columns ---- */

/* Which columns of the file are inputs (first X) and targets (then D). */
struct selection {
    uint32_t *columns; /* (X + D) */
    uint32_t X, D;
};

static bool is_among(uint32_t column, const uint32_t *columns, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (columns[i] == column)
            return true;
    return false;
}

static enum ebm_status find_columns(const struct table *table, char *const *names, uint32_t n, const char *key,
                                    uint32_t *ret_columns, struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < n; i++) {
        enum ebm_status status = table_column(table, names[i], &ret_columns[i], reterr);
        if (status != EBM_OK)
            return status;
        if (is_among(ret_columns[i], ret_columns, i))
            return ebm_error_set(reterr, EBM_INVALID, key, "column '%.64s' is named twice", names[i]);
    }
    return EBM_OK;
}

static enum ebm_status select_columns(const struct table *table, const struct dataset_options *options,
                                      struct selection *s, struct ebm_error *reterr)
{
    char *const *names;
    uint32_t n = table_names(table, &names);
    s->D = options->n_targets > 0 ? options->n_targets : n - table_first_target(table);
    if (s->D > LIMIT_TARGET_DIM)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "data.targets", "%u targets, at most %u", s->D, LIMIT_TARGET_DIM);
    uint32_t *targets = calloc(s->D, sizeof *targets);
    s->columns = calloc((size_t)n + options->n_inputs + s->D, sizeof *s->columns);
    enum ebm_status status = targets != NULL && s->columns != NULL ? EBM_OK : dataset_no_memory(reterr);
    for (uint32_t i = 0; status == EBM_OK && options->n_targets == 0 && i < s->D; i++)
        targets[i] = table_first_target(table) + i;
    if (status == EBM_OK && options->n_targets > 0)
        status = find_columns(table, options->targets, s->D, "data.targets", targets, reterr);
    if (status == EBM_OK && options->n_inputs > 0) {
        s->X = options->n_inputs;
        status = find_columns(table, options->inputs, s->X, "data.inputs", s->columns, reterr);
    }
    for (uint32_t i = 0; status == EBM_OK && options->n_inputs == 0 && i < n; i++)
        if (!is_among(i, targets, s->D))
            s->columns[s->X++] = i;
    for (uint32_t i = 0; status == EBM_OK && i < s->D; i++)
        if (is_among(targets[i], s->columns, s->X))
            status = ebm_error_set(reterr, EBM_INVALID, "data.inputs", "column '%.64s' is an input and a target",
                                   names[targets[i]]);
    if (status == EBM_OK && s->X == 0)
        status = ebm_error_set(reterr, EBM_INVALID, "data.inputs", "no column is left for the inputs");
    if (status == EBM_OK)
        memcpy(s->columns + s->X, targets, s->D * sizeof *targets);
    free(targets);
    return status;
}

static char **copy_names(const struct table *table, const uint32_t *columns, uint32_t n)
{
    char *const *names;
    (void)table_names(table, &names);
    char **copies = calloc((size_t)n + 1, sizeof *copies);
    for (uint32_t i = 0; copies != NULL && i < n; i++) {
        copies[i] = strdup(names[columns[i]]);
        if (copies[i] == NULL) {
            while (i > 0)
                free(copies[--i]);
            free(copies);
            return NULL;
        }
    }
    return copies;
}

/* The chosen columns become x, y and names. Takes rows->numbers. */
static enum ebm_status fill(struct dataset *data, const struct table *table, const struct selection *s,
                            struct csv_table *rows, struct ebm_error *reterr)
{
    size_t n = rows->n_rows, width = (size_t)s->X + s->D;
    data->input_names = copy_names(table, s->columns, s->X);
    data->X = s->X;
    data->target_names = copy_names(table, s->columns + s->X, s->D);
    data->D = s->D;
    data->x = calloc(n * s->X + 1, sizeof *data->x);
    data->y = calloc(n * s->D + 1, sizeof *data->y);
    if (data->input_names == NULL || data->target_names == NULL || data->x == NULL || data->y == NULL)
        return dataset_no_memory(reterr);
    for (size_t i = 0; i < n; i++) {
        memcpy(data->x + i * s->X, rows->values + i * width, s->X * sizeof(double));
        memcpy(data->y + i * s->D, rows->values + i * width + s->X, s->D * sizeof(double));
    }
    data->n_rows = rows->n_rows;
    data->n_dropped = rows->n_dropped;
    data->numbers = EBM_TAKE_PTR(rows->numbers);
    return EBM_OK;
}

static enum ebm_status load(struct table *table, const struct selection *s, bool drop_missing, const char *path,
                            struct dataset **ret_data, struct ebm_error *reterr)
{
    EBM_AUTO(csv_table_done) struct csv_table rows = {.n_rows = 0};
    EBM_AUTO(dataset_freep) struct dataset *data = calloc(1, sizeof *data);
    if (data == NULL)
        return dataset_no_memory(reterr);
    enum ebm_status status = table_read(table, s->columns, s->X + s->D, drop_missing, &rows, reterr);
    if (status == EBM_OK && rows.n_rows == 0)
        status = ebm_error_set(reterr, EBM_INVALID, path, "no rows%s",
                               rows.n_dropped > 0 ? " are left: each of them misses a value" : " below the header");
    if (status == EBM_OK)
        status = fill(data, table, s, &rows, reterr);
    if (status == EBM_OK)
        *ret_data = EBM_TAKE_PTR(data);
    return status;
}

/* ---- split ---- */

static enum ebm_status bad_split(const char *path, uint32_t index, struct ebm_error *reterr, const char *text)
{
    char where[sizeof reterr->where];
    (void)snprintf(where, sizeof where, "%.60s, line %u", path, index + 1);
    return ebm_error_set(reterr, EBM_INVALID, where, "%s", text);
}

static enum ebm_status mark_rows(char *line, const char *path, uint32_t index, uint32_t n_marks, bool *marks,
                                 struct ebm_error *reterr)
{
    uint32_t n = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t\r\n", &rest); word != NULL; word = strtok_r(NULL, " \t\r\n", &rest)) {
        double number = -1.0;
        if (!csv_number(word, strlen(word), &number) || number < 0.0 || number >= n_marks || number != floor(number))
            return bad_split(path, index, reterr, "expected 0-based row numbers of the data file, with blanks between");
        marks[(uint32_t)number] = true;
        n++;
    }
    return n > 0 ? EBM_OK : bad_split(path, index, reterr, "the line has no row numbers");
}

enum ebm_status dataset_read_split(const char *path, uint32_t index, const struct dataset *data, bool **ret_marks,
                                   struct ebm_error *reterr)
{
    uint32_t n_marks = data->n_rows + data->n_dropped + data->n_bad;
    size_t capacity = 0;
    char *line = NULL;
    struct stat info;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "cannot open the split file: %s", strerror(errno));
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > SPLIT_BYTES) {
        (void)fclose(file);
        return ebm_error_set(reterr, EBM_TOO_LARGE, path, "no regular file of at most %d MiB", SPLIT_BYTES >> 20);
    }
    ssize_t length = 0;
    for (uint32_t i = 0; i <= index && length >= 0; i++)
        length = getline(&line, &capacity, file);
    (void)fclose(file);
    bool *marks = calloc((size_t)n_marks + 1, sizeof *marks);
    enum ebm_status status = marks != NULL ? EBM_OK : dataset_no_memory(reterr);
    if (status == EBM_OK && length < 0)
        status = bad_split(path, index, reterr, "the file has fewer lines than data.split_index asks for");
    if (status == EBM_OK)
        status = mark_rows(line, path, index, n_marks, marks, reterr);
    free(line);
    if (status == EBM_OK)
        *ret_marks = EBM_TAKE_PTR(marks);
    free(marks);
    return status;
}

enum role { ROLE_TRAIN, ROLE_VALIDATION, ROLE_TEST };

/* Of the rows that are not tested, the first round(share) of a shuffled order are for validation. */
static enum ebm_status choose_validation(const struct dataset_options *options, uint8_t *roles, uint32_t n_rows,
                                         struct ebm_error *reterr)
{
    uint32_t *rest = calloc((size_t)n_rows + 1, sizeof *rest), *order = calloc((size_t)n_rows + 1, sizeof *order);
    uint32_t n = 0;
    enum ebm_status status = rest != NULL && order != NULL ? EBM_OK : dataset_no_memory(reterr);
    for (uint32_t i = 0; status == EBM_OK && i < n_rows; i++)
        if (roles[i] == ROLE_TRAIN)
            rest[n++] = i;
    uint32_t n_validation = (uint32_t)llround(options->validation * n);
    if (status == EBM_OK && n == 0)
        status = ebm_error_set(reterr, EBM_INVALID, "data.split_file",
                               "every row is a test row: none is left to train on");
    else if (status == EBM_OK && n_validation >= n)
        status = ebm_error_set(reterr, EBM_INVALID, "data.validation", "%u of %u rows leave none to train on",
                               n_validation, n);
    if (status == EBM_OK)
        ebm_shuffle(options->split_seed, EBM_STREAM_SPLIT, order, n);
    for (uint32_t i = 0; status == EBM_OK && i < n_validation; i++)
        roles[rest[order[i]]] = ROLE_VALIDATION;
    free(rest);
    free(order);
    return status;
}

static uint32_t *rows_of(const uint8_t *roles, uint32_t n_rows, enum role role, uint32_t *ret_n)
{
    uint32_t n = 0;
    uint32_t *rows = calloc((size_t)n_rows + 1, sizeof *rows);
    for (uint32_t i = 0; rows != NULL && i < n_rows; i++)
        if (roles[i] == role)
            rows[n++] = i;
    *ret_n = n;
    return rows;
}

static enum ebm_status mark_test(struct dataset *data, const struct dataset_options *options, uint8_t *roles,
                                 struct ebm_error *reterr)
{
    bool *marks = NULL;
    enum ebm_status status = dataset_read_split(options->split_file, options->split_index, data, &marks, reterr);
    for (uint32_t i = 0; status == EBM_OK && i < data->n_rows; i++)
        if (marks[data->numbers[i]])
            roles[i] = ROLE_TEST;
    free(marks);
    return status;
}

static enum ebm_status split(struct dataset *data, const struct dataset_options *options, struct ebm_error *reterr)
{
    uint8_t *roles = calloc(data->n_rows, sizeof *roles);
    enum ebm_status status = roles != NULL ? EBM_OK : dataset_no_memory(reterr);
    if (status == EBM_OK && options->split_file != NULL)
        status = mark_test(data, options, roles, reterr);
    if (status == EBM_OK)
        status = choose_validation(options, roles, data->n_rows, reterr);
    if (status == EBM_OK) {
        data->train = rows_of(roles, data->n_rows, ROLE_TRAIN, &data->n_train);
        data->validation = rows_of(roles, data->n_rows, ROLE_VALIDATION, &data->n_validation);
        data->test = rows_of(roles, data->n_rows, ROLE_TEST, &data->n_test);
        if (data->train == NULL || data->validation == NULL || data->test == NULL)
            status = dataset_no_memory(reterr);
    }
    free(roles);
    return status;
}

enum ebm_status dataset_hold_out(struct dataset *data, const struct dataset_options *options, struct ebm_error *reterr)
{
    const struct dataset_options alone = {.validation = options->validation, .split_seed = options->split_seed};
    return split(data, &alone, reterr);
}

enum ebm_status dataset_keep_split(const char *path, uint32_t index, struct dataset *data, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) bool *marks = NULL;
    enum ebm_status status = dataset_read_split(path, index, data, &marks, reterr);
    if (status == EBM_OK)
        dataset_keep(data, marks);
    if (status == EBM_OK && data->n_rows == 0)
        return ebm_error_set(reterr, EBM_INVALID, path, "none of its rows is left in the data");
    return status;
}

/* ---- measure ---- */

static void measure_column(const double *values, uint32_t width, uint32_t column, const uint32_t *rows, uint32_t n,
                           double *ret_mean, double *ret_std)
{
    double first = values[(size_t)rows[0] * width + column], sum = 0.0, squares = 0.0;
    bool is_constant = true;
    for (uint32_t i = 0; i < n; i++) {
        double v = values[(size_t)rows[i] * width + column];
        is_constant = is_constant && v == first;
        sum += v - first;
    }
    double mean = first + sum / n;
    for (uint32_t i = 0; i < n; i++) {
        double off = values[(size_t)rows[i] * width + column] - mean;
        squares += off * off;
    }
    *ret_mean = is_constant ? first : mean;
    *ret_std = is_constant || squares <= 0.0 ? 1.0 : sqrt(squares / n);
}

/* So large are the column's values that their mean or scale is no number. */
static enum ebm_status check_measured(const char *key, const char *name, double mean, double std,
                                      struct ebm_error *reterr)
{
    if (isfinite(mean) && isfinite(std))
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, key,
                         "the values of column '%.64s' are too large: their %s overflows. Change the column's unit",
                         name, isfinite(mean) ? "standard deviation" : "mean");
}

static bool is_constant(const struct dataset *data, const double *values, uint32_t width, uint32_t column)
{
    for (uint32_t i = 1; i < data->n_train; i++)
        if (values[(size_t)data->train[i] * width + column] != values[(size_t)data->train[0] * width + column])
            return false;
    return true;
}

void dataset_measure_target(struct dataset *data, uint32_t d)
{
    measure_column(data->y, data->D, d, data->train, data->n_train, &data->target_mean[d], &data->target_std[d]);
}

static enum ebm_status measure_inputs(struct dataset *data, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < data->X; i++) {
        measure_column(data->x, data->X, i, data->train, data->n_train, &data->input_mean[i], &data->input_std[i]);
        status = check_measured("data.inputs", data->input_names[i], data->input_mean[i], data->input_std[i], reterr);
    }
    return status;
}

static enum ebm_status measure(struct dataset *data, struct ebm_error *reterr)
{
    bool are_images = data->pixels != NULL;
    size_t n_inputs = are_images ? data->image.channels : data->X;
    data->input_mean = calloc(n_inputs, sizeof(double));
    data->input_std = calloc(n_inputs, sizeof(double));
    data->target_mean = calloc(data->D, sizeof(double));
    data->target_std = calloc(data->D, sizeof(double));
    if (!data->input_mean || !data->input_std || !data->target_mean || !data->target_std)
        return dataset_no_memory(reterr);
    enum ebm_status status = EBM_OK;
    if (are_images)
        dataset_measure_images(data);
    else
        status = measure_inputs(data, reterr);
    for (uint32_t i = 0; status == EBM_OK && i < data->D; i++) {
        if (is_constant(data, data->y, data->D, i))
            return ebm_error_set(reterr, EBM_INVALID, "data.targets",
                                 "target '%.64s' is %g in every training row: there is nothing to learn",
                                 data->target_names[i], data->y[(size_t)data->train[0] * data->D + i]);
        dataset_measure_target(data, i);
        status = check_measured("data.targets", data->target_names[i], data->target_mean[i], data->target_std[i],
                                reterr);
    }
    return status;
}

uint32_t dataset_constant_inputs(const struct dataset *data, uint32_t *ret_first)
{
    uint32_t n = 0;
    for (uint32_t i = data->pixels != NULL ? 0 : data->X; i-- > 0;)
        if (is_constant(data, data->x, data->X, i)) {
            *ret_first = i;
            n++;
        }
    return n;
}

/* ---- the whole ---- */

static enum ebm_status load_table(const struct dataset_options *options, struct dataset **ret_data,
                                  struct ebm_error *reterr)
{
    EBM_AUTO(table_freep) struct table *table = NULL;
    struct selection s = {.columns = NULL};
    enum ebm_status status = table_open(options->file, options->targets_file, &table, reterr);
    if (status == EBM_OK)
        status = select_columns(table, options, &s, reterr);
    if (status == EBM_OK)
        status = load(table, &s, options->drop_missing, options->file, ret_data, reterr);
    free(s.columns);
    return status;
}

enum ebm_status dataset_load(const struct dataset_options *options, struct dataset **ret_data, struct ebm_error *reterr)
{
    EBM_AUTO(dataset_freep) struct dataset *data = NULL;
    enum ebm_status status = options->images != NULL ? dataset_load_images(options, &data, reterr)
                                                     : load_table(options, &data, reterr);
    if (status == EBM_OK)
        status = augment_check(&options->augment, data->target_names, data->D, reterr);
    if (status == EBM_OK && augment_is_on(&options->augment) && options->images == NULL)
        status = ebm_error_set(reterr, EBM_INVALID, "data.augment", "is for images, and the data are numbers");
    if (status == EBM_OK && options->jitter.step > 0.0 && data->D != 1)
        status = ebm_error_set(reterr, EBM_INVALID, "data.dequantize", "needs a scalar target, there are %u", data->D);
    if (status == EBM_OK)
        status = split(data, options, reterr);
    if (status == EBM_OK)
        status = measure(data, reterr);
    if (status == EBM_OK)
        *ret_data = EBM_TAKE_PTR(data);
    return status;
}

enum ebm_status dataset_load_columns(const char *path, const char *targets_path, char *const *inputs, uint32_t n_inputs,
                                     char *const *targets, uint32_t n_targets, bool drop_missing,
                                     struct dataset **ret_data, struct ebm_error *reterr)
{
    EBM_AUTO(table_freep) struct table *table = NULL;
    struct selection s = {.X = n_inputs, .D = n_targets};
    enum ebm_status status = table_open(path, targets_path, &table, reterr);
    if (status != EBM_OK)
        return status;
    s.columns = calloc((size_t)n_inputs + n_targets, sizeof *s.columns);
    status = s.columns != NULL ? EBM_OK : dataset_no_memory(reterr);
    if (status == EBM_OK)
        status = find_columns(table, inputs, n_inputs, "inputs", s.columns, reterr);
    if (status == EBM_OK)
        status = find_columns(table, targets, n_targets, "targets", s.columns + n_inputs, reterr);
    if (status == EBM_OK)
        status = load(table, &s, drop_missing, path, ret_data, reterr);
    free(s.columns);
    return status;
}

/* ---- rows ---- */

void dataset_standardize(const struct dataset *data, uint32_t row, const double *mean, const double *std, float *ret_x)
{
    size_t first = (size_t)row * data->X;
    for (size_t i = 0; i < data->X; i++) {
        double v = data->pixels != NULL ? data->pixels[first + i] : data->x[first + i];
        ret_x[i] = (float)((v - mean[i]) / std[i]);
    }
}

void dataset_keep(struct dataset *data, const bool *marks)
{
    size_t X = data->X, D = data->D, kept = 0;
    EBM_ASSERT(data->train == NULL);
    for (size_t i = 0; i < data->n_rows; i++) {
        if (!marks[data->numbers[i]])
            continue;
        if (data->pixels != NULL)
            memmove(data->pixels + kept * X, data->pixels + i * X, X);
        else
            memmove(data->x + kept * X, data->x + i * X, X * sizeof *data->x);
        memmove(data->y + kept * D, data->y + i * D, D * sizeof *data->y);
        data->numbers[kept++] = data->numbers[i];
    }
    data->n_rows = (uint32_t)kept;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ at[i]) * 0x100000001b3ull;
    return hash;
}

uint64_t dataset_fingerprint(const struct dataset *data)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    uint32_t sizes[] = {data->n_rows, data->X, data->D, data->n_train, data->n_validation};
    hash = mix(hash, sizes, sizeof sizes);
    if (data->pixels != NULL)
        hash = mix(hash, data->pixels, (size_t)data->n_rows * data->X);
    else
        hash = mix(hash, data->x, (size_t)data->n_rows * data->X * sizeof *data->x);
    hash = mix(hash, data->y, (size_t)data->n_rows * data->D * sizeof *data->y);
    hash = mix(hash, data->train, data->n_train * sizeof *data->train);
    return mix(hash, data->validation, data->n_validation * sizeof *data->validation);
}

bool dataset_is_jittered(const struct dataset_jitter *jitter, double y)
{
    if (jitter->step <= 0.0)
        return false;
    for (uint32_t i = 0; i < jitter->n_values; i++)
        if (fabs(y - jitter->values[i]) <= 1e-9 * fmax(1.0, fabs(y)))
            return true;
    return jitter->n_values == 0;
}
