/* status.c - names and sentences of the statuses, and the filling of struct ebm_error.
 *
 * Both tables come from EBM_STATUS_MAP, so they cannot fall out of step with the enum. An error is filled into the
 * caller's memory: nothing here allocates, so "out of memory" can be reported like anything else. Text that does not
 * fit is cut before a UTF-8 sequence, never inside one: the text may end up in a JSON answer. Any thread. */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
#define X(name, text) #name,
    EBM_STATUS_MAP(X)
#undef X
};

static const char *const texts[] = {
#define X(name, text) text,
    EBM_STATUS_MAP(X)
#undef X
};

const char *ebm_status_name(enum ebm_status status)
{
    return (size_t)status < EBM_COUNT_OF(names) ? names[status] : "UNKNOWN";
}

const char *ebm_status_text(enum ebm_status status)
{
    return (size_t)status < EBM_COUNT_OF(texts) ? texts[status] : "unknown status";
}

/* `text` was cut at its last byte: drops the sequence that the cut may have split. */
static void drop_split_sequence(char *text)
{
    size_t length = strlen(text);
    size_t start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0 || (unsigned char)text[start - 1] < 0xc0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t wanted = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (length - start < wanted)
        text[start - 1] = 0;
}

static void set_field(char *field, size_t field_bytes, const char *text)
{
    if (snprintf(field, field_bytes, "%s", text) >= (int)field_bytes)
        drop_split_sequence(field);
}

enum ebm_status ebm_error_set(struct ebm_error *error, enum ebm_status status, const char *where, const char *format,
                              ...)
{
    if (!error)
        return status;
    struct ebm_error filled = {.status = status}; /* the arguments may point into `error` */
    set_field(filled.where, sizeof filled.where, where ? where : "");
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(filled.text, sizeof filled.text, format, arguments) >= (int)sizeof filled.text)
        drop_split_sequence(filled.text);
    va_end(arguments);
    *error = filled;
    return status;
}

enum ebm_status ebm_error_prefix(struct ebm_error *error, const char *prefix)
{
    if (!error)
        return EBM_INTERNAL;
    if (!prefix[0])
        return error->status;
    char joined[2 * sizeof error->where];
    const char *between = error->where[0] == 0 || error->where[0] == '[' ? "" : ".";
    (void)snprintf(joined, sizeof joined, "%s%s%s", prefix, between, error->where);
    set_field(error->where, sizeof error->where, joined);
    return error->status;
}
