/* json_lists.h - a JSON object whose long lists of numbers are read straight into arrays, in a tenth of the time and an
 * eighth of the memory that a tree of values takes. Any thread. */
#ifndef EBM_PROTO_JSON_LISTS_H
#define EBM_PROTO_JSON_LISTS_H

#include <stddef.h>

#include "core/arena.h"
#include "proto/json_read.h"

#define JSON_LISTS 4u       /* of one text at most */
#define JSON_LIST_LEVELS 3u /* of lists in lists */

/* A list of numbers (n_levels 1), of equally long lists of numbers (2), or of equally long lists of such (3). */
struct json_list {
    const struct json_t *value; /* what stands in its place in the tree: an empty list */
    uint32_t n_levels;
    size_t sizes[JSON_LIST_LEVELS]; /* each at least 1; 1 beyond n_levels */
    const double *numbers;          /* (sizes[0], sizes[1], sizes[2]), in the arena */
};

struct json_lists {
    uint32_t n;
    struct json_list lists[JSON_LISTS];
};

/* As json_read_parse, for a text that is an object: members named in `names` that are lists of numbers, as above, come
 * in `ret_lists`. Without words: INVALID says only that the text is not good, or not that simple; json_read_parse
 * decides. What is OK here is OK there, with the same numbers. New: json_read_free. */
enum ebm_status json_lists_parse(const char *bytes, size_t size, const struct json_read_limits *limits,
                                 const char *const *names, uint32_t n_names, struct ebm_arena *arena,
                                 struct json_lists *ret_lists, struct json_t **ret_root) EBM_MUST_USE;

/* The list in whose place `value` stands; NULL: it is none. Borrow. */
const struct json_list *json_lists_find(const struct json_lists *lists, const struct json_t *value);

#endif
