/* fuzz_query.c - arguments of a URL. The first byte chooses the kind of request: p, s, d or r; then a line each for a
 * name and its value in turn. What is written is JSON, and read without harm. */
#include <string.h>

#include "proto/query.h"
#include "tests/fuzz/check_request.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_BYTES (16u << 20)
#define JSON_BYTES (64u << 10)
#define TEXT_BYTES 4096u

/* Lines of `text`, which loses its ends of lines. */
static void add_pairs(struct query *query, char *text)
{
    char *line[2];
    uint32_t n = 0;
    for (char *rest = text; rest;) {
        line[n++] = strsep(&rest, "\n");
        if (n == 2 && !query_add(query, line[0], line[1]))
            return;
        n %= 2;
    }
}

static void read_back(enum request_kind kind, const struct ebm_buf *json)
{
    static const double number = 1.0;
    static const struct field_rows rows = {.n = 1, .X = 1, .numbers = &number};
    struct ebm_arena arena;
    struct request request;
    struct ebm_error error = {.status = EBM_OK};
    ebm_arena_init(&arena, ARENA_BYTES);
    enum ebm_status status = request_read_rows(kind, &rows, json->bytes, json->size, &check_request_limits, &arena,
                                               &request, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        check_request(&request);
    ebm_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char kinds[] = "psdr";
    char text[TEXT_BYTES];
    const char *kind = size > 0 && size <= sizeof text && bytes[0] ? strchr(kinds, bytes[0]) : NULL;
    if (!kind)
        return -1; /* not kept */
    struct query query = {.n = 0};
    struct ebm_buf json;
    memcpy(text, bytes + 1, size - 1);
    text[size - 1] = 0;
    add_pairs(&query, text);
    ebm_buf_init(&json, JSON_BYTES);
    query_write(&query, (enum request_kind)(kind - kinds), &json);
    if (json.status == EBM_OK) {
        fuzz_check_json(json.bytes, json.size);
        read_back((enum request_kind)(kind - kinds), &json);
    }
    ebm_buf_done(&json);
    return 0;
}
