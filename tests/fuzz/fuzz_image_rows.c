/* fuzz_image_rows.c - images that clients send, to rows. The first byte says how they come: 0, the rest is one image;
 * else it is a request's JSON. What is read is decoded with few pixels allowed; rows are whole, or a refusal says
 * where. */
#include <string.h>

#include "server/image_rows.h"
#include "tests/fuzz/check_request.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_BYTES (16u << 20)
#define PIXELS (1u << 16)

static bool is_wanted(const void *who)
{
    (void)who;
    return true;
}

static void decode(const struct field_rows *images, bool is_body, struct ebm_arena *arena)
{
    const struct image_rows how = {.shape = {3, 5, 4}, .max_pixels = PIXELS, .is_body = is_body, .wanted = is_wanted};
    struct field_rows rows = *images;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = image_rows_decode(&how, &rows, arena, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK) {
        EBM_ASSERT(strncmp(error.where, is_body ? "body" : "inputs", is_body ? 4 : 6) == 0);
        return;
    }
    EBM_ASSERT(rows.n == images->n && rows.X == image_size(&how.shape) && rows.bytes && !rows.images);
    check_rows(&rows);
}

static void read_json(const char *body, size_t size, struct ebm_arena *arena)
{
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = request_read(REQUEST_PREDICT, body, size, &check_request_limits, arena, &request, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return;
    check_request(&request);
    if (request.inputs.images)
        decode(&request.inputs, false, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ebm_arena arena;
    if (size == 0)
        return -1;
    ebm_arena_init(&arena, ARENA_BYTES);
    const struct field_image image = {bytes + 1, size - 1};
    if (bytes[0] == 0)
        decode(&(struct field_rows){.n = 1, .images = &image}, true, &arena);
    else
        read_json((const char *)bytes + 1, size - 1, &arena);
    ebm_arena_done(&arena);
    return 0;
}
