/* fuzz_serving.c - serving.json of a model; then, after a 0 byte, a request as fuzz_request.c has it, which gets the
 * defaults of the file and is within every limit afterwards too. */
#include <stdlib.h>
#include <string.h>

#include "server/serving.h"
#include "tests/fuzz/check_request.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_BYTES (1u << 20)
#define BATCH_ROWS 64u

static void check(const struct serving *serving)
{
    uint32_t priority;
    struct ebm_error error;
    EBM_ASSERT(serving->lane.max_rows >= 1 && serving->lane.max_rows <= BATCH_ROWS);
    EBM_ASSERT(serving->lane.n_priorities <= LIMIT_PRIORITIES && serving->n_specific <= SERVING_SPECIFIC);
    EBM_ASSERT(serving->policy == SERVING_BY_ALL || !serving_wants(serving, 0, 1000000));
    EBM_ASSERT(serving_priority(serving, serving->defaults.priority, &priority, &error) == EBM_OK && priority >= 1);
}

static void apply_defaults(const struct serving *serving, const char *kind_and_body, size_t size)
{
    static const char kinds[] = "psdr";
    const char *kind = size > 0 && kind_and_body[0] ? strchr(kinds, kind_and_body[0]) : NULL;
    struct ebm_arena arena;
    struct request request;
    if (!kind)
        return;
    ebm_arena_init(&arena, ARENA_BYTES);
    enum ebm_status status = request_read((enum request_kind)(kind - kinds), kind_and_body + 1, size - 1,
                                          &check_request_limits, &arena, &request, NULL);
    if (status == EBM_OK) {
        request_defaults_apply(&serving->defaults, &request);
        check_request(&request);
    }
    ebm_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct batcher_lane_limits lane = {.max_rows = BATCH_ROWS};
    struct serving *standard = serving_new(&lane, 1), *serving = NULL;
    struct ebm_error error = {.status = EBM_OK};
    EBM_ASSERT(standard != NULL);
    size_t length = size > 0 ? strnlen((const char *)bytes, size) : 0;
    enum ebm_status status = serving_parse((const char *)bytes, length, standard, &check_request_limits, &serving,
                                           &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK) {
        check(serving);
        if (length < size)
            apply_defaults(serving, (const char *)bytes + length + 1, size - length - 1);
    }
    (void)serving_unref(serving);
    (void)serving_unref(standard);
    return 0;
}
