/* csv.h - numbers out of a CSV file with one header line.
 *
 * The header is read first, so that the caller chooses columns by name; other columns may hold anything. Fields may be
 * quoted ("" is a quote inside quotes), lines may end in CRLF, an UTF-8 mark at the start is skipped. Empty, NA and nan
 * are missing values. Numbers have a decimal point whatever the locale. One thread at a time. */
#ifndef EBM_TRAINER_CSV_H
#define EBM_TRAINER_CSV_H

#include "core/limits.h"
#include "core/status.h"

struct csv;

/* What csv_read made of the chosen columns. Owns its arrays: csv_table_done. */
struct csv_table {
    uint32_t n_rows, n_columns; /* chosen ones */
    double *values;             /* (n_rows, n_columns) */
    uint32_t *numbers;          /* (n_rows) 0-based number of each row in the file, dropped rows counted */
    uint32_t n_dropped;         /* rows left out for a missing value */
    char **texts;               /* (n_rows) the fields of the column that csv_keep_text named; NULL: none */
};

/* Opens the file and reads its header. New: csv_free. */
enum ebm_status csv_open(const char *path, struct csv **ret_csv, struct ebm_error *reterr) EBM_MUST_USE;
/* The same for a file whose columns are called `names` (n), whatever it says: a first line whose first field is
 * names[0] is its header, any other one is data. */
enum ebm_status csv_open_named(const char *path, const char *const *names, uint32_t n, struct csv **ret_csv,
                               struct ebm_error *reterr) EBM_MUST_USE;
struct csv *csv_free(struct csv *csv); /* NULL is fine; returns NULL */
void csv_freep(struct csv **csv);

/* Names of the columns. Borrow: valid until csv_free. */
uint32_t csv_names(const struct csv *csv, char *const **ret_names);
/* csv_read keeps the fields of this column as texts, too. */
void csv_keep_text(struct csv *csv, uint32_t column);
/* Reads all rows of the chosen columns, once. A missing value is an error that names line and column, or the row is
 * dropped and counted. */
enum ebm_status csv_read(struct csv *csv, const uint32_t *columns, uint32_t n_columns, bool drop_missing,
                         struct csv_table *ret_table, struct ebm_error *reterr) EBM_MUST_USE;
void csv_table_done(struct csv_table *table);

/* A finite decimal number that fills text (length) but for blanks around it. Locale-independent. Any thread. */
bool csv_number(const char *text, size_t length, double *ret_value);

#endif
