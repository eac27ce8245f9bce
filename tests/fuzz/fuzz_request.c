/* fuzz_request.c - bodies of requests. The first byte chooses the kind: p, s, d or r; the rest is the body. */
#include <string.h>

#include "tests/fuzz/check_request.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_BYTES (16u << 20)

static void read_rows(const struct request *request)
{
    for (uint32_t row = 0; row < request->inputs.n; row++) {
        (void)request_targets(request, row);
        (void)request_initial(request, row);
        (void)request_points(&request->cdf, row);
        (void)request_points(&request->crps_at, row);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char kinds[] = "psdr";
    const char *kind = size > 0 && bytes[0] ? strchr(kinds, bytes[0]) : NULL;
    if (!kind)
        return -1; /* not kept */
    struct ebm_arena arena;
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    ebm_arena_init(&arena, ARENA_BYTES);
    enum ebm_status status = request_read((enum request_kind)(kind - kinds), (const char *)bytes + 1, size - 1,
                                          &check_request_limits, &arena, &request, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK) {
        check_request(&request);
        read_rows(&request);
    }
    ebm_arena_done(&arena);
    return 0;
}
