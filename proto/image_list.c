/* image_list.c - one object of one text an image; the text is base64 without breaks.
 *
 * Guarantees: no more memory than three quarters of the texts. */
#include "proto/image_list.h"

#include <stdio.h>
#include <string.h>

#include "proto/base64.h"

#define WHERE_BYTES 96

bool image_list_is_one(const struct json_t *list)
{
    return json_read_is_list(list) && json_read_length(list) > 0 && json_read_is_object(json_read_at(list, 0));
}

/* What people send by mistake, by its first character that is no letter. */
static enum ebm_status fail_text(const char *where, const char *text, size_t length, size_t at,
                                 struct ebm_error *reterr)
{
    if (at == length)
        return ebm_error_set(
            reterr, EBM_INVALID, where,
            "expected base64, four characters for three bytes, got %zu: it is cut off, or lacks its =", length);
    if (strncmp(text, "data:", 5) == 0)
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "expected base64 alone, without \"data:image/png;base64,\" before it");
    if (text[at] == '\n' || text[at] == '\r')
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "expected base64 without line breaks, got one at character %zu", at);
    return ebm_error_set(reterr, EBM_INVALID, where,
                         "character %zu does not belong to base64: letters, digits, + and /, = at the end", at);
}

static enum ebm_status read_text(const char *text, const char *where, struct ebm_arena *arena,
                                 struct field_image *ret_image, struct ebm_error *reterr)
{
    size_t length = strlen(text), size;
    uint8_t *bytes = EBM_ARENA_NEW(arena, uint8_t, base64_bytes(length));
    if (!bytes)
        return ebm_error_set(reterr, EBM_NO_MEMORY, where, "no memory for the image");
    if (!base64_read(text, length, bytes, &size))
        return fail_text(where, text, length, size, reterr);
    *ret_image = (struct field_image){bytes, size};
    return EBM_OK;
}

static enum ebm_status read_image(struct json_t *value, const char *where, struct ebm_arena *arena,
                                  struct field_image *ret_image, struct ebm_error *reterr)
{
    char member[WHERE_BYTES];
    const char *text;
    if (!json_read_is_object(value))
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "expected an image as before it, {\"" IMAGE_LIST_MEMBER "\": \"...\"}, got %s",
                             json_read_kind(value));
    void *first = json_read_first(value);
    if (!first || strcmp(json_read_key(first), IMAGE_LIST_MEMBER) != 0 || json_read_next(value, first))
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "expected one member: {\"" IMAGE_LIST_MEMBER "\": \"a PNG or JPEG in base64\"}");
    (void)snprintf(member, sizeof member, "%.80s." IMAGE_LIST_MEMBER, where);
    enum ebm_status status = json_read_text(json_read_value(first), member, SIZE_MAX, &text, reterr);
    return status == EBM_OK ? read_text(text, member, arena, ret_image, reterr) : status;
}

enum ebm_status image_list_read(const struct json_t *list, const char *where, uint64_t max_rows,
                                struct ebm_arena *arena, struct field_rows *ret_rows, struct ebm_error *reterr)
{
    size_t n;
    enum ebm_status status = json_read_list(list, where, 1, max_rows, "images", &n, reterr);
    if (status != EBM_OK)
        return status;
    struct field_image *images = EBM_ARENA_NEW(arena, struct field_image, n);
    if (!images)
        return ebm_error_set(reterr, EBM_NO_MEMORY, where, "no memory");
    for (size_t i = 0; status == EBM_OK && i < n; i++) {
        char at[WHERE_BYTES];
        (void)snprintf(at, sizeof at, "%.60s[%zu]", where, i);
        status = read_image(json_read_at(list, i), at, arena, &images[i], reterr);
    }
    if (status == EBM_OK)
        *ret_rows = (struct field_rows){.n = (uint32_t)n, .images = images};
    return status;
}
