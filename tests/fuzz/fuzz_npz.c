/* fuzz_npz.c - zip archives of arrays: what is accepted has as many bytes as its shape says. */
#include <math.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/array.h"

static void check_array(const char *path, const char *name)
{
    struct array array = {.bytes = NULL};
    struct ebm_error error = {.status = EBM_OK};
    double sum = 0.0;
    enum ebm_status status = array_read_npz(path, name, &array, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return;
    uint64_t n = array_count(&array);
    EBM_ASSERT(n > 0 && array.n_dims <= ARRAY_DIMS && array.bytes != NULL);
    for (uint64_t i = 0; i < n; i++)
        sum += array_number(array.bytes + i * array.number_bytes, array.kind, array.number_bytes);
    EBM_ASSERT(array.kind == 'f' || isfinite(sum));
    array_done(&array);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *path = fuzz_file(bytes, size);
    check_array(path, "image");
    check_array(path, "pose");
    return 0;
}
