/* query.c - pairs of texts -> JSON, by the kind of the field that a name stands for.
 *
 *   name=value          "name": a text, a number, true, false, or a list of what stands between commas
 *   name.member=value   "name": {"member": ...} with all pairs that begin so
 *
 * Names are what names of fields are made of. What is not a number where one is expected stays a text, which the reader
 * of the field then refuses by name. */
#include "proto/query.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_write.h"

#define ITEM_BYTES 256u

/* "seed" and "seed", "interval" and "interval.level": no object has both. */
static bool is_same_place(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (*a == 0 || *a == '.') && (*b == 0 || *b == '.') && (*a == 0 || *b == 0);
}

bool query_add(struct query *query, const char *name, const char *value)
{
    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz_.")] != 0) {
        (void)ebm_error_set(&query->error, EBM_INVALID, name, "unknown field");
        return false;
    }
    for (uint32_t i = 0; i < query->n; i++)
        if (is_same_place(query->pairs[i].name, name)) {
            (void)ebm_error_set(&query->error, EBM_INVALID, name, "stands in the query twice");
            return false;
        }
    if (query->n == QUERY_PAIRS) {
        (void)ebm_error_set(&query->error, EBM_INVALID, "query", "more than %u fields", QUERY_PAIRS);
        return false;
    }
    query->pairs[query->n].name = name;
    query->pairs[query->n++].value = value ? value : "";
    return true;
}

/* ---- values ---- */

static size_t digits_at(const char *text)
{
    return strspn(text, "0123456789");
}

/* As JSON has numbers, and not beyond a double. */
static bool is_number(const char *text)
{
    const char *first = text;
    text += *text == '-';
    size_t n = digits_at(text);
    if (n == 0 || (n > 1 && text[0] == '0'))
        return false;
    text += n;
    if (*text == '.') {
        n = digits_at(text + 1);
        if (n == 0)
            return false;
        text += 1 + n;
    }
    if (*text == 'e' || *text == 'E') {
        text += text[1] == '+' || text[1] == '-' ? 2 : 1;
        n = digits_at(text);
        text += n;
    }
    return n > 0 && *text == 0 && isfinite(strtod(first, NULL));
}

static void write_plain(struct ebm_buf *buf, const char *value, bool is_word)
{
    if (is_word || !is_number(value))
        json_write_text(buf, value);
    else
        (void)ebm_buf_text(buf, value);
}

static void write_list(struct ebm_buf *buf, const char *value, bool is_word)
{
    char item[ITEM_BYTES];
    (void)ebm_buf_text(buf, "[");
    for (;; value++) {
        size_t n = strcspn(value, ","), kept = n < sizeof item ? n : sizeof item - 1;
        memcpy(item, value, kept);
        item[kept] = 0;
        write_plain(buf, item, is_word);
        value += n;
        if (*value == 0)
            break;
        (void)ebm_buf_text(buf, ",");
    }
    (void)ebm_buf_text(buf, "]");
}

static void write_value(struct ebm_buf *buf, enum field_kind kind, const char *value)
{
    switch (kind) {
    case FIELD_WHOLE:
    case FIELD_NUMBER:
    case FIELD_FRACTION:
        write_plain(buf, value, false);
        return;
    case FIELD_FLAG:
        if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
            (void)ebm_buf_text(buf, value);
        else
            json_write_text(buf, value);
        return;
    case FIELD_WORDS:
        write_list(buf, value, true);
        return;
    case FIELD_FRACTIONS:
    case FIELD_LENGTHS:
    case FIELD_POINTS:
        write_list(buf, value, false);
        return;
    case FIELD_TEXT:
    case FIELD_WORD:
    case FIELD_ROWS:
    case FIELD_TARGETS:
    case FIELD_OBJECT:
    case FIELD_LATER:
        json_write_text(buf, value);
        return;
    }
}

/* ---- names ---- */

static void write_member(struct ebm_buf *buf, const struct field *fields, uint32_t n, const char *name,
                         const char *value)
{
    const struct field *field = fields_find(fields, n, name, strlen(name));
    json_write_text(buf, name);
    (void)ebm_buf_text(buf, ":");
    write_value(buf, field ? field->kind : FIELD_TEXT, value);
}

/* "interval.level": the length of what stands before the point, if that is a field with members; else 0. */
static size_t prefix_of(const char *name, const struct field *fields, uint32_t n, const struct field **ret_field)
{
    size_t length = strcspn(name, ".");
    *ret_field = name[length] ? fields_find(fields, n, name, length) : NULL;
    return *ret_field && (*ret_field)->kind == FIELD_OBJECT ? length : 0;
}

static bool begins_so(const char *name, const char *other, size_t length)
{
    return strncmp(name, other, length + 1) == 0; /* with the point */
}

/* All pairs with the prefix of pair i; nothing when an earlier pair has it. False: nothing was written. */
static bool write_object(struct ebm_buf *buf, const struct query *query, uint32_t i, size_t length,
                         const struct field *field, const char *comma)
{
    const char *prefix = query->pairs[i].name;
    for (uint32_t j = 0; j < i; j++)
        if (begins_so(query->pairs[j].name, prefix, length))
            return false;
    (void)ebm_buf_printf(buf, "%s\"%s\":{", comma, field->name);
    for (uint32_t j = i; j < query->n; j++) {
        if (!begins_so(query->pairs[j].name, prefix, length))
            continue;
        (void)ebm_buf_text(buf, j > i ? "," : "");
        write_member(buf, field->members, field->n_members, query->pairs[j].name + length + 1, query->pairs[j].value);
    }
    (void)ebm_buf_text(buf, "}");
    return true;
}

void query_write(const struct query *query, enum request_kind kind, struct ebm_buf *buf)
{
    uint32_t n;
    const struct field *fields = request_fields(kind, &n), *field;
    const char *comma = "";
    (void)ebm_buf_text(buf, "{");
    for (uint32_t i = 0; i < query->n; i++) {
        size_t length = prefix_of(query->pairs[i].name, fields, n, &field);
        if (length > 0) {
            if (write_object(buf, query, i, length, field, comma))
                comma = ",";
            continue;
        }
        (void)ebm_buf_text(buf, comma);
        write_member(buf, fields, n, query->pairs[i].name, query->pairs[i].value);
        comma = ",";
    }
    (void)ebm_buf_text(buf, "}");
}
