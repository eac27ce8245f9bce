/* fuzz_split.c - files of splits, for a table of 1000 rows. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/dataset.h"

#define ROWS 1000u

static void read_line(const char *path, uint32_t line)
{
    static const struct dataset data = {.n_rows = ROWS - 10, .n_dropped = 10};
    struct ebm_error error = {.status = EBM_OK};
    bool *marks = NULL;
    uint32_t n = 0;
    enum ebm_status status = dataset_read_split(path, line, &data, &marks, &error);
    fuzz_check_error(status, &error);
    for (uint32_t i = 0; status == EBM_OK && i < ROWS; i++)
        n += marks[i];
    EBM_ASSERT(status != EBM_OK || n > 0);
    free(marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *path = fuzz_file(bytes, size);
    read_line(path, 0);
    read_line(path, 2);
    return 0;
}
