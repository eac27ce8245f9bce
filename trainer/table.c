/* table.c - one face for a CSV, an .npy, and a pair of .npy files with the same rows.
 *
 * A CSV does its own reading (csv.c); arrays are read here, a row at a time. Does not know which columns are inputs:
 * that is dataset.c. */
#include "trainer/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/names.h"
#include "trainer/npy.h"

struct table {
    char *path;
    struct csv *csv;      /* NULL: arrays */
    struct npy arrays[2]; /* inputs, targets; of one file the first alone */
    uint32_t n_arrays;
    char *const *names; /* (n_columns) the CSV's, or made_names */
    char **made_names;
    uint32_t n_columns;
};

struct table *table_free(struct table *table)
{
    if (table == NULL)
        return NULL;
    for (uint32_t i = 0; table->made_names != NULL && i < table->n_columns; i++)
        free(table->made_names[i]);
    free(table->made_names);
    (void)csv_free(table->csv);
    npy_done(&table->arrays[0]);
    npy_done(&table->arrays[1]);
    free(table->path);
    free(table);
    return NULL;
}

void table_freep(struct table **table)
{
    *table = table_free(*table);
}

/* ---- opening ---- */

static enum ebm_status make_names(struct table *table, struct ebm_error *reterr)
{
    uint32_t X = table->arrays[0].columns;
    table->n_columns = X + table->arrays[1].columns;
    table->made_names = calloc(table->n_columns, sizeof *table->made_names);
    if (table->made_names == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, table->path, "no memory");
    for (uint32_t i = 0; i < table->n_columns; i++) {
        const char *prefix = table->n_arrays == 1 ? "column_" : i < X ? "x" : "y";
        if (asprintf(&table->made_names[i], "%s%u", prefix, i < X ? i + 1 : i - X + 1) < 0) {
            table->made_names[i] = NULL;
            return ebm_error_set(reterr, EBM_NO_MEMORY, table->path, "no memory");
        }
    }
    table->names = table->made_names;
    return EBM_OK;
}

static enum ebm_status open_arrays(struct table *table, const char *targets_path, struct ebm_error *reterr)
{
    enum ebm_status status = npy_open(table->path, &table->arrays[0], reterr);
    table->n_arrays = targets_path != NULL ? 2 : 1;
    if (status == EBM_OK && targets_path != NULL)
        status = npy_open(targets_path, &table->arrays[1], reterr);
    if (status == EBM_OK && targets_path != NULL && table->arrays[0].rows != table->arrays[1].rows)
        status = ebm_error_set(
            reterr, EBM_INVALID, targets_path,
            "%u rows, and the inputs have %u: a row of one file belongs to the same row of the other",
            table->arrays[1].rows, table->arrays[0].rows);
    return status == EBM_OK ? make_names(table, reterr) : status;
}

enum ebm_status table_open(const char *path, const char *targets_path, struct table **ret_table,
                           struct ebm_error *reterr)
{
    EBM_AUTO(table_freep) struct table *table = calloc(1, sizeof *table);
    if (table != NULL)
        table->path = strdup(path);
    if (table == NULL || table->path == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    enum ebm_status status = EBM_OK;
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        status = ebm_error_set(reterr, EBM_INVALID, path,
                               "a folder; when it has images set data.images, as in \"folder\"");
    } else if (npy_is_one(path)) {
        status = open_arrays(table, targets_path, reterr);
    } else if (targets_path != NULL) {
        status = ebm_error_set(reterr, EBM_INVALID, path,
                               "no .npy file: a file of targets goes with an .npy of inputs; a CSV has its targets "
                               "among its columns");
    } else {
        status = csv_open(path, &table->csv, reterr);
        if (status == EBM_OK)
            table->n_columns = csv_names(table->csv, &table->names);
    }
    if (status == EBM_OK)
        *ret_table = EBM_TAKE_PTR(table);
    return status;
}

/* ---- columns ---- */

uint32_t table_names(const struct table *table, char *const **ret_names)
{
    *ret_names = table->names;
    return table->n_columns;
}

bool table_is_named(const struct table *table)
{
    return table->csv != NULL;
}

uint32_t table_first_target(const struct table *table)
{
    return table->n_arrays == 2 ? table->arrays[0].columns : table->n_columns - 1;
}

enum ebm_status table_column(const struct table *table, const char *name, uint32_t *ret_column,
                             struct ebm_error *reterr)
{
    const char *const *names = (const char *const *)table->names;
    char space[EBM_NAMES_HINT_BYTES];
    size_t column = ebm_names_find(name, names, table->n_columns);
    const char *otherwise = table->csv != NULL ? "; the first line names the columns"
                                               : "; columns of an .npy are called column_1, of two files x1 and y1";
    if (column == table->n_columns)
        return ebm_error_set(reterr, EBM_NOT_FOUND, table->path, "there is no column '%.64s'%s", name,
                             ebm_names_hint(name, names, table->n_columns, otherwise, space));
    *ret_column = (uint32_t)column;
    return EBM_OK;
}

/* ---- rows ---- */

static enum ebm_status bad_number(const struct table *table, uint32_t row, uint32_t column, double value,
                                  struct ebm_error *reterr)
{
    char where[sizeof reterr->where];
    (void)snprintf(where, sizeof where, "%.60s, row %u", table->path, row + 1);
    if (isnan(value))
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "column '%.64s' has no value; fill it in, or leave such rows out: data.missing \"drop\" "
                             "to train, --missing drop to evaluate",
                             table->names[column]);
    return ebm_error_set(reterr, EBM_INVALID, where, "column '%.64s' is %g, expected a finite number",
                         table->names[column], value);
}

static enum ebm_status read_row(const struct table *table, const uint32_t *columns, uint32_t n_columns, uint32_t row,
                                bool drop_missing, double *values, bool *ret_missing, struct ebm_error *reterr)
{
    *ret_missing = false;
    for (uint32_t i = 0; i < n_columns; i++) {
        bool second = columns[i] >= table->arrays[0].columns;
        values[i] = npy_number(&table->arrays[second], columns[i] - (second ? table->arrays[0].columns : 0));
        if (isnan(values[i]) && drop_missing)
            *ret_missing = true;
        else if (!isfinite(values[i]))
            return bad_number(table, row, columns[i], values[i], reterr);
    }
    return EBM_OK;
}

static enum ebm_status read_arrays(struct table *table, const uint32_t *columns, uint32_t n_columns, bool drop_missing,
                                   struct csv_table *rows, struct ebm_error *reterr)
{
    uint32_t n = table->arrays[0].rows;
    rows->n_columns = n_columns;
    rows->values = calloc((size_t)n * n_columns + 1, sizeof *rows->values);
    rows->numbers = calloc((size_t)n + 1, sizeof *rows->numbers);
    if (rows->values == NULL || rows->numbers == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, table->path, "no memory for %u rows", n);
    for (uint32_t row = 0; row < n; row++) {
        bool missing = false;
        enum ebm_status status = npy_next(&table->arrays[0], reterr);
        if (status == EBM_OK && table->n_arrays == 2)
            status = npy_next(&table->arrays[1], reterr);
        if (status == EBM_OK)
            status = read_row(table, columns, n_columns, row, drop_missing,
                              rows->values + (size_t)rows->n_rows * n_columns, &missing, reterr);
        if (status != EBM_OK)
            return status;
        rows->numbers[rows->n_rows] = row;
        rows->n_rows += missing ? 0 : 1;
        rows->n_dropped += missing ? 1 : 0;
    }
    return EBM_OK;
}

enum ebm_status table_read(struct table *table, const uint32_t *columns, uint32_t n_columns, bool drop_missing,
                           struct csv_table *ret_rows, struct ebm_error *reterr)
{
    EBM_AUTO(csv_table_done) struct csv_table rows = {.n_rows = 0};
    if (table->csv != NULL)
        return csv_read(table->csv, columns, n_columns, drop_missing, ret_rows, reterr);
    enum ebm_status status = read_arrays(table, columns, n_columns, drop_missing, &rows, reterr);
    if (status == EBM_OK) {
        *ret_rows = rows;
        rows = (struct csv_table){.n_rows = 0};
    }
    return status;
}
