/* fuzz_request.c - bodies of requests. The first byte chooses the kind: p, s, d or r; the rest is the body. */
#include <math.h>
#include <string.h>

#include "proto/request.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_BYTES (16u << 20)

static const struct request_limits limits = {
    .max_rows = 64, .max_samples = 4096, .max_steps = 100, .max_timeout_ms = 5000};

static void check_numbers(const double *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        EBM_ASSERT(isfinite(numbers[i]));
}

static void check_targets(const struct field_targets *targets)
{
    size_t rows = targets->rows ? targets->rows : 1;
    if (targets->numbers)
        check_numbers(targets->numbers, rows * targets->n * targets->D);
}

static void check(const struct request *request)
{
    EBM_ASSERT(request->inputs.n >= 1 && request->inputs.n <= limits.max_rows && request->inputs.X >= 1);
    check_numbers(request->inputs.numbers, (size_t)request->inputs.n * request->inputs.X);
    check_numbers(request->quantiles.numbers, request->quantiles.n);
    check_numbers(request->step_length.numbers, request->step_length.n);
    check_targets(&request->targets);
    check_targets(&request->initial);
    check_targets(&request->cdf);
    check_targets(&request->crps_at);
    EBM_ASSERT(request_draws(request) <= limits.max_samples);
    EBM_ASSERT(request->steps <= limits.max_steps && request->timeout_ms <= limits.max_timeout_ms);
    EBM_ASSERT(request->seed <= REQUEST_MAX_SEED);
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
    enum ebm_status status = request_read((enum request_kind)(kind - kinds), (const char *)bytes + 1, size - 1, &limits,
                                          &arena, &request, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        check(&request);
    ebm_arena_done(&arena);
    return 0;
}
