/* json_lists.c - lists of numbers are cut out of the text before jansson sees it.
 *
 *   {"model": "toy", "inputs": [[1, 2], [3, 4]]}   -->   numbers 1 2 3 4, sizes 2 2
 *                                                  -->   {"model": "toy", "inputs": []}   -->   tree
 *
 * What is cut is a whole value by JSON's grammar, in the place of a member of the outermost object; the rest keeps
 * every token, so that jansson refuses it exactly when it would have refused the whole. Everything unusual, from an
 * empty or uneven list to a number that needs strtod, is no case for this file: INVALID, and the plain way is taken.
 *
 * Guarantees: no more memory than 8 bytes for each value that the scan counted. Does not know: fields, errors. */
#include "proto/json_lists.h"

#include <string.h>

#include "core/decimal.h"

#define REST_BYTES 4096u /* of the text without the lists; a longer one is read the plain way */

struct cutter {
    const char *at, *end; /* what is still to be read */
    const char *kept;     /* up to where the text is in `rest` */
    const char *const *names;
    uint32_t n_names;
    double *free; /* where the next list's numbers go */
    struct json_lists lists;
    const char *names_at[JSON_LISTS]; /* of the lists */
    char rest[REST_BYTES];
    size_t rest_bytes;
};

/* ---- one list ---- */

struct list_reader {
    const char *at, *end;
    double *numbers;
    size_t n_numbers;
    struct json_list list;
};

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

static bool read_number(struct list_reader *reader)
{
    size_t bytes = ebm_decimal_read(reader->at, reader->end, &reader->numbers[reader->n_numbers]);
    reader->at += bytes;
    reader->n_numbers++;
    return bytes > 0;
}

static bool read_list(struct list_reader *reader, uint32_t level);

/* A number or a list: the same as all of its level. */
static bool read_element(struct list_reader *reader, uint32_t level)
{
    struct json_list *list = &reader->list;
    if (reader->at == reader->end)
        return false;
    bool is_list = *reader->at == '[';
    if (list->n_levels == 0 && !is_list)
        list->n_levels = level + 1;
    bool is_innermost = level + 1 == (list->n_levels ? list->n_levels : JSON_LIST_LEVELS);
    if (is_list == is_innermost)
        return false;
    return is_list ? read_list(reader, level + 1) : read_number(reader);
}

/* From its '[' to behind its ']'. */
static bool read_list(struct list_reader *reader, uint32_t level)
{
    size_t n = 0;
    do {
        reader->at = skip_space(reader->at + 1, reader->end); /* behind '[' or ',' */
        if (!read_element(reader, level))
            return false;
        n++;
        reader->at = skip_space(reader->at, reader->end);
        if (reader->at == reader->end)
            return false;
    } while (*reader->at == ',');
    bool is_whole = *reader->at++ == ']';
    size_t *size = &reader->list.sizes[level];
    *size = *size ? *size : n;
    return is_whole && *size == n;
}

/* ---- the text ---- */

/* The text up to `to` goes into the rest, and then `instead`. */
static bool keep(struct cutter *cutter, const char *to, const char *instead)
{
    size_t size = (size_t)(to - cutter->kept), more = strlen(instead);
    if (size + more > REST_BYTES - cutter->rest_bytes)
        return false;
    memcpy(cutter->rest + cutter->rest_bytes, cutter->kept, size);
    memcpy(cutter->rest + cutter->rest_bytes + size, instead, more);
    cutter->rest_bytes += size + more;
    return true;
}

/* The string from `quote` to `after`: one of the names? */
static const char *find_name(const struct cutter *cutter, const char *quote, const char *after)
{
    size_t length = (size_t)(after - quote) - 2;
    for (uint32_t i = 0; i < cutter->n_names; i++)
        if (strlen(cutter->names[i]) == length && memcmp(cutter->names[i], quote + 1, length) == 0)
            return cutter->names[i];
    return NULL;
}

/* The list that begins at `at`, a '[', is the member `name`. */
static bool cut_list(struct cutter *cutter, const char *at, const char *name)
{
    struct list_reader reader = {.at = at, .end = cutter->end, .numbers = cutter->free};
    uint32_t i = cutter->lists.n;
    if (i == JSON_LISTS || !read_list(&reader, 0))
        return false;
    for (uint32_t level = reader.list.n_levels; level < JSON_LIST_LEVELS; level++)
        reader.list.sizes[level] = 1;
    reader.list.numbers = cutter->free;
    cutter->free += reader.n_numbers;
    cutter->lists.lists[i] = reader.list;
    cutter->names_at[i] = name;
    cutter->lists.n = i + 1;
    bool fits = keep(cutter, at, "[]");
    cutter->at = cutter->kept = reader.at;
    return fits;
}

/* A string at depth 1; behind it a list that is cut out, if it is the name of one. */
static bool pass_member(struct cutter *cutter)
{
    const char *quote = cutter->at, *end = cutter->end;
    cutter->at = json_read_skip_string(quote, end);
    const char *name = find_name(cutter, quote, cutter->at);
    if (!name)
        return true;
    const char *value = skip_space(cutter->at, end);
    if (value == end || *value != ':')
        return true;
    value = skip_space(value + 1, end);
    return value == end || *value != '[' || cut_list(cutter, value, name);
}

static bool cut(struct cutter *cutter)
{
    uint32_t depth = 0;
    while (cutter->at < cutter->end) {
        char c = *cutter->at;
        if (c == '"' && depth == 1) {
            if (!pass_member(cutter))
                return false;
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= depth > 0 && (c == '}' || c == ']');
        cutter->at = c == '"' ? json_read_skip_string(cutter->at, cutter->end) : cutter->at + 1;
    }
    return keep(cutter, cutter->end, "");
}

enum ebm_status json_lists_parse(const char *bytes, size_t size, const struct json_read_limits *limits,
                                 const char *const *names, uint32_t n_names, struct ebm_arena *arena,
                                 struct json_lists *ret_lists, struct json_t **ret_root)
{
    struct cutter cutter; /* its text is not worth clearing */
    struct json_t *root;
    size_t n_values;
    if (size == 0)
        return EBM_INVALID; /* `bytes` may be NULL */
    enum ebm_status status = json_read_scan(bytes, size, limits, &n_values, NULL);
    if (status != EBM_OK)
        return status;
    cutter.at = cutter.kept = bytes;
    cutter.end = bytes + size;
    cutter.names = names;
    cutter.n_names = n_names;
    cutter.lists.n = 0;
    cutter.rest_bytes = 0;
    cutter.free = EBM_ARENA_NEW(arena, double, n_values);
    if (!cutter.free)
        return EBM_NO_MEMORY;
    if (!cut(&cutter))
        return EBM_INVALID;
    status = json_read_parse(cutter.rest, cutter.rest_bytes, limits, &root, NULL);
    if (status != EBM_OK)
        return status;
    for (uint32_t i = 0; i < cutter.lists.n; i++)
        cutter.lists.lists[i].value = json_read_member(root, cutter.names_at[i]);
    *ret_lists = cutter.lists;
    *ret_root = root;
    return EBM_OK;
}

const struct json_list *json_lists_find(const struct json_lists *lists, const struct json_t *value)
{
    for (uint32_t i = 0; i < lists->n; i++)
        if (lists->lists[i].value == value)
            return &lists->lists[i];
    return NULL;
}
