/* json_read.h - JSON text -> values, for messages that trust nothing. jansson stays behind this page.
 *
 * Numbers are doubles, whole numbers too: 7, 7.0 and 7e0 are one number. Any thread, one at a time a tree. */
#ifndef EBM_PROTO_JSON_READ_H
#define EBM_PROTO_JSON_READ_H

#include "core/status.h"

struct json_t; /* a value: jansson's own, opaque here */

struct json_read_limits {
    uint32_t max_depth; /* of nested lists and objects */
    size_t max_values;  /* of all lists and objects together: memory is about 100 bytes each */
};

/* Both limits are checked before any memory is taken. Duplicate keys, trailing bytes, NaN, infinities and numbers
 * beyond a double are refused with where = "byte N". New: json_read_free. */
enum ebm_status json_read_parse(const char *bytes, size_t size, const struct json_read_limits *limits,
                                struct json_t **ret_root, struct ebm_error *reterr) EBM_MUST_USE;
/* The limits alone, in one pass without memory; how many values the text has at most. */
enum ebm_status json_read_scan(const char *bytes, size_t size, const struct json_read_limits *limits,
                               size_t *ret_values, struct ebm_error *reterr) EBM_MUST_USE;
/* Behind the string that begins at `at`, a quote; `end` when it does not end. */
const char *json_read_skip_string(const char *at, const char *end);
struct json_t *json_read_free(struct json_t *root); /* NULL is fine; returns NULL */
void json_read_freep(struct json_t **root);         /* for EBM_AUTO */

/* "a number", "a list", ... Borrow: static. */
const char *json_read_kind(const struct json_t *value);
bool json_read_is_number(const struct json_t *value);
bool json_read_is_list(const struct json_t *value);
bool json_read_is_object(const struct json_t *value);
bool json_read_is_text(const struct json_t *value);
double json_read_double(const struct json_t *number); /* of a number */

/* A list's length and values; an object's members one after the other, NULL at the end. Borrow: as long as the root. */
size_t json_read_length(const struct json_t *list);
struct json_t *json_read_at(const struct json_t *list, size_t index);
struct json_t *json_read_member(const struct json_t *object, const char *name); /* NULL: none */
void *json_read_first(struct json_t *object);
void *json_read_next(struct json_t *object, void *member);
const char *json_read_key(void *member);
struct json_t *json_read_value(void *member);

/* Checked reading: INVALID with `where` and what was expected. The text is borrowed from the value. */
enum ebm_status json_read_object(const struct json_t *value, const char *where, struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status json_read_list(const struct json_t *value, const char *where, size_t min, size_t max, const char *of,
                               size_t *ret_length, struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status json_read_integer(const struct json_t *value, const char *where, uint64_t min, uint64_t max,
                                  uint64_t *ret_integer, struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status json_read_bool(const struct json_t *value, const char *where, bool *ret_flag, struct ebm_error *reterr)
    EBM_MUST_USE;
enum ebm_status json_read_text(const struct json_t *value, const char *where, size_t max_characters,
                               const char **ret_text, struct ebm_error *reterr) EBM_MUST_USE;

#endif
