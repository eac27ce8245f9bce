/* fuzz_table.c - what may be a table of data: .npy files, and CSV files that are taken for what they are. The first
 * byte is d to drop rows with missing values, t to give the same file as inputs and as targets. */
#include <math.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/table.h"

#define COLUMNS 8u

static void read_rows(struct table *table, bool drop_missing)
{
    uint32_t columns[COLUMNS], found = 0;
    char *const *names;
    struct csv_table rows;
    struct ebm_error error = {.status = EBM_OK};
    uint32_t n = table_names(table, &names), taken = n < COLUMNS ? n : COLUMNS;
    EBM_ASSERT(table_first_target(table) < n);
    EBM_ASSERT(table_column(table, names[n - 1], &found, &error) == EBM_OK && found == n - 1);
    for (uint32_t i = 0; i < taken; i++)
        columns[i] = n - 1 - i;
    enum ebm_status status = table_read(table, columns, taken, drop_missing, &rows, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return;
    for (size_t i = 0; i < (size_t)rows.n_rows * rows.n_columns; i++)
        EBM_ASSERT(isfinite(rows.values[i]));
    csv_table_done(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct table *table = NULL;
    struct ebm_error error = {.status = EBM_OK};
    if (size == 0)
        return -1;
    const char *path = fuzz_file(bytes + 1, size - 1);
    enum ebm_status status = table_open(path, bytes[0] == 't' ? path : NULL, &table, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        read_rows(table, bytes[0] == 'd');
    (void)table_free(table);
    return 0;
}
