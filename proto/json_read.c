/* json_read.c - a scan that counts, then jansson, then typed reading with errors that say where.
 *
 *   bytes -> scan (depth, values) -> json_loadb -> tree -> json_read_object / list / integer / text
 *
 * The scan knows only strings and brackets: it cannot tell good JSON from bad, but it bounds what jansson may allocate,
 * in one pass without memory. Guarantees: a text that passes costs at most max_values values; a text that fails leaves
 * nothing behind; every refusal says at which byte or field, what was there and what was expected.
 * It does not: know any message. */
#include "proto/json_read.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

const char *json_read_skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\' && at + 1 < end;
    return at < end ? at + 1 : end;
}

static enum ebm_status too_many(size_t at, const char *what, size_t limit, struct ebm_error *reterr)
{
    char where[32];
    (void)snprintf(where, sizeof where, "byte %zu", at);
    return ebm_error_set(reterr, EBM_INVALID, where, "more than %zu %s", limit, what);
}

enum ebm_status json_read_scan(const char *bytes, size_t size, const struct json_read_limits *limits,
                               size_t *ret_values, struct ebm_error *reterr)
{
    size_t depth = 0, values = 1;
    for (size_t at = 0; at < size;) {
        char c = bytes[at];
        if (c == '"') {
            at = (size_t)(json_read_skip_string(bytes + at, bytes + size) - bytes);
            continue;
        }
        if (c == '[' || c == '{') {
            values++;
            if (++depth > limits->max_depth)
                return too_many(at, "nested lists and objects", limits->max_depth, reterr);
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == ',') {
            values++;
        }
        if (values > limits->max_values)
            return too_many(at, "values", limits->max_values, reterr);
        at++;
    }
    *ret_values = values;
    return EBM_OK;
}

/* What the bytes begin like; NULL: nothing that is known. */
static const char *other_type(const char *bytes, size_t size)
{
    static const struct {
        const char *mark, *type;
    } types[] = {{"\x89PNG", "image/png"}, {"\xff\xd8\xff", "image/jpeg"}, {"\x93NUMPY", "application/x-npy"}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t n = strlen(types[i].mark);
        if (size >= n && memcmp(bytes, types[i].mark, n) == 0)
            return types[i].type;
    }
    return NULL;
}

enum ebm_status json_read_parse(const char *bytes, size_t size, const struct json_read_limits *limits,
                                struct json_t **ret_root, struct ebm_error *reterr)
{
    if (size == 0)
        return ebm_error_set(reterr, EBM_INVALID, "body", "empty, expected a JSON object");
    const char *type = other_type(bytes, size);
    if (type != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "body", "no JSON, send it with Content-Type: %s", type);
    size_t n_values;
    enum ebm_status status = json_read_scan(bytes, size, limits, &n_values, reterr);
    if (status != EBM_OK)
        return status;
    json_error_t error;
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, &error);
    if (!root) {
        char where[48];
        (void)snprintf(where, sizeof where, "byte %d", error.position);
        if (json_error_code(&error) == json_error_out_of_memory)
            return ebm_error_set(reterr, EBM_NO_MEMORY, where, "no memory for the JSON text");
        if (json_error_code(&error) == json_error_null_character)
            return ebm_error_set(reterr, EBM_INVALID, where, "\\u0000 is not allowed in a text");
        return ebm_error_set(reterr, EBM_INVALID, where, "not valid JSON: %s", error.text);
    }
    *ret_root = root;
    return EBM_OK;
}

struct json_t *json_read_free(struct json_t *root)
{
    json_decref(root);
    return NULL;
}

void json_read_freep(struct json_t **root)
{
    *root = json_read_free(*root);
}

/* ---- looking ---- */

const char *json_read_kind(const struct json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

bool json_read_is_number(const struct json_t *value)
{
    return json_is_number(value);
}

bool json_read_is_list(const struct json_t *value)
{
    return json_is_array(value);
}

bool json_read_is_object(const struct json_t *value)
{
    return json_is_object(value);
}

bool json_read_is_text(const struct json_t *value)
{
    return json_is_string(value);
}

double json_read_double(const struct json_t *number)
{
    return json_number_value(number);
}

size_t json_read_length(const struct json_t *list)
{
    return json_array_size(list);
}

struct json_t *json_read_at(const struct json_t *list, size_t index)
{
    return json_array_get(list, index);
}

struct json_t *json_read_member(const struct json_t *object, const char *name)
{
    return json_object_get(object, name);
}

void *json_read_first(struct json_t *object)
{
    return json_object_iter(object);
}

void *json_read_next(struct json_t *object, void *member)
{
    return json_object_iter_next(object, member);
}

const char *json_read_key(void *member)
{
    return json_object_iter_key(member);
}

struct json_t *json_read_value(void *member)
{
    return json_object_iter_value(member);
}

/* ---- checked reading ---- */

enum ebm_status json_read_object(const struct json_t *value, const char *where, struct ebm_error *reterr)
{
    if (!json_is_object(value))
        return ebm_error_set(reterr, EBM_INVALID, where, "expected an object, got %s", json_read_kind(value));
    return EBM_OK;
}

enum ebm_status json_read_list(const struct json_t *value, const char *where, size_t min, size_t max, const char *of,
                               size_t *ret_length, struct ebm_error *reterr)
{
    if (!json_is_array(value))
        return ebm_error_set(reterr, EBM_INVALID, where, "expected a list of %zu to %zu %s, got %s", min, max, of,
                             json_read_kind(value));
    size_t length = json_array_size(value);
    if (length < min || length > max)
        return ebm_error_set(reterr, EBM_INVALID, where, "expected a list of %zu to %zu %s, got %zu", min, max, of,
                             length);
    *ret_length = length;
    return EBM_OK;
}

enum ebm_status json_read_integer(const struct json_t *value, const char *where, uint64_t min, uint64_t max,
                                  uint64_t *ret_integer, struct ebm_error *reterr)
{
    if (!json_is_number(value))
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "expected a whole number from %" PRIu64 " to %" PRIu64 ", got %s", min, max,
                             json_read_kind(value));
    double number = json_number_value(value);
    if (!(number >= (double)min && number <= (double)max) || number != (double)(uint64_t)number)
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "expected a whole number from %" PRIu64 " to %" PRIu64 ", got %.15g", min, max, number);
    *ret_integer = (uint64_t)number;
    return EBM_OK;
}

enum ebm_status json_read_bool(const struct json_t *value, const char *where, bool *ret_flag, struct ebm_error *reterr)
{
    if (!json_is_boolean(value))
        return ebm_error_set(reterr, EBM_INVALID, where, "expected true or false, got %s", json_read_kind(value));
    *ret_flag = json_is_true(value);
    return EBM_OK;
}

/* Of UTF-8, which jansson has checked: every byte that continues nothing. */
static size_t count_characters(const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

enum ebm_status json_read_text(const struct json_t *value, const char *where, size_t max_characters,
                               const char **ret_text, struct ebm_error *reterr)
{
    if (!json_is_string(value))
        return ebm_error_set(reterr, EBM_INVALID, where, "expected a text, got %s", json_read_kind(value));
    size_t length = count_characters(json_string_value(value), json_string_length(value));
    if (length > max_characters)
        return ebm_error_set(reterr, EBM_INVALID, where, "expected at most %zu characters, got %zu", max_characters,
                             length);
    *ret_text = json_string_value(value);
    return EBM_OK;
}
