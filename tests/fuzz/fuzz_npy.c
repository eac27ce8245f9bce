/* fuzz_npy.c - .npy files that clients send. */
#include "proto/npy.h"
#include "tests/fuzz/check_request.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ebm_arena arena;
    struct field_rows rows = {.n = 0};
    struct ebm_error error = {.status = EBM_OK};
    ebm_arena_init(&arena, ARENA_BYTES);
    enum ebm_status status = npy_read_rows((const char *)bytes, size, &check_request_limits, &arena, &rows, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        check_rows(&rows);
    ebm_arena_done(&arena);
    return 0;
}
