/* table.h - rows and named columns of numbers, out of a CSV or of NumPy's .npy files. */
#ifndef EBM_TRAINER_TABLE_H
#define EBM_TRAINER_TABLE_H

#include "trainer/csv.h"

struct table;

/* Opens a CSV or an .npy, told apart by their first bytes. targets_path (may be NULL): a second .npy whose columns
 * stand behind those of the first one. An .npy has no names: its columns are called column_1, column_2, ...; of two
 * files x1, x2, ... and y1, y2, ... New: table_free. */
enum ebm_status table_open(const char *path, const char *targets_path, struct table **ret_table,
                           struct ebm_error *reterr) EBM_MUST_USE;
struct table *table_free(struct table *table); /* NULL is fine; returns NULL */
void table_freep(struct table **table);

/* Names of the columns. Borrow: valid until table_free. */
uint32_t table_names(const struct table *table, char *const **ret_names);
/* Did somebody choose these names? */
bool table_is_named(const struct table *table);
/* The first of the columns that are targets when nothing else is said: the last one, or those of the second file. */
uint32_t table_first_target(const struct table *table);
/* The column's number; NOT_FOUND with the nearest name. */
enum ebm_status table_column(const struct table *table, const char *name, uint32_t *ret_column,
                             struct ebm_error *reterr) EBM_MUST_USE;

/* Reads all rows of the chosen columns, once; see csv_read. In an .npy NaN is a missing value. */
enum ebm_status table_read(struct table *table, const uint32_t *columns, uint32_t n_columns, bool drop_missing,
                           struct csv_table *ret_rows, struct ebm_error *reterr) EBM_MUST_USE;

#endif
