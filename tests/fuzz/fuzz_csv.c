/* fuzz_csv.c - CSV files: d in front of the file drops rows with missing values, n says the columns' names, any other
 * byte refuses both. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/csv.h"

#define COLUMNS 8u

static void check_table(const struct csv_table *table)
{
    uint32_t rows = table->n_rows + table->n_dropped;
    for (uint32_t i = 0; i < table->n_rows; i++)
        EBM_ASSERT(table->numbers[i] < rows && (i == 0 || table->numbers[i] > table->numbers[i - 1]));
    for (size_t i = 0; i < (size_t)table->n_rows * table->n_columns; i++)
        EBM_ASSERT(isfinite(table->values[i]));
    for (uint32_t i = 0; i < table->n_rows; i++)
        EBM_ASSERT(strchr(table->texts[i], '\n') == NULL);
}

static void read_rows(struct csv *csv, bool drop_missing)
{
    uint32_t columns[COLUMNS], n;
    char *const *names;
    struct csv_table table;
    struct ebm_error error = {.status = EBM_OK};
    n = csv_names(csv, &names);
    EBM_ASSERT(n > 0 && names[n - 1][0] != 0);
    n = n < COLUMNS ? n : COLUMNS;
    for (uint32_t i = 0; i < n; i++)
        columns[i] = n - 1 - i;
    csv_keep_text(csv, n - 1);
    enum ebm_status status = csv_read(csv, columns, n, drop_missing, &table, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return;
    check_table(&table);
    csv_table_done(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct csv *csv = NULL;
    struct ebm_error error = {.status = EBM_OK};
    if (size == 0)
        return -1;
    static const char *const named[] = {"image", "y"};
    const char *path = fuzz_file(bytes + 1, size - 1);
    enum ebm_status status = bytes[0] == 'n' ? csv_open_named(path, named, EBM_COUNT_OF(named), &csv, &error)
                                             : csv_open(path, &csv, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        read_rows(csv, bytes[0] == 'd');
    (void)csv_free(csv);
    return 0;
}
