/* test_json_lists.c - lists of numbers that are read straight out of the text are those that jansson's tree has, and
 * what jansson refuses is refused: known texts, and many that were made and then damaged. EBM_FUZZ=N makes N times as
 * many. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "proto/json_lists.h"
#include "proto/request.h"

#define TEXTS 40000u
#define TEXT_BYTES 4000u

static const struct json_read_limits limits = {20, 1000};
static const char *const names[] = {"inputs", "targets"};

struct case_lists {
    const char *text;
    uint32_t n_lists, n_levels; /* of the first */
    size_t sizes[JSON_LIST_LEVELS];
};

Test(json_lists, shapes_are_found)
{
    static const struct case_lists cases[] = {
        {"{\"inputs\": [1, 2.5, -3e2]}", 1, 1, {3, 1, 1}},
        {"{\"a\":{\"inputs\":[1]},\"inputs\" :\n[ [1,2] , [3,4], [5,6] ],\"b\":\"[\\\"\"}", 1, 2, {3, 2, 1}},
        {"{\"targets\":[[[1],[2]]],\"inputs\":[0]}", 2, 3, {1, 2, 1}},
        {"{\"model\":\"inputs\",\"id\":\"\\\\\"}", 0, 0, {0}},
        {"[\"inputs\"]", 0, 0, {0}},
        {"{\"inputs\":{\"inputs\":[1]}}", 0, 0, {0}},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_arena arena;
        struct json_lists lists;
        struct json_t *root = NULL;
        ebm_arena_init(&arena, 1u << 20);
        enum ebm_status status = json_lists_parse(cases[i].text, strlen(cases[i].text), &limits, names, 2, &arena,
                                                  &lists, &root);
        cr_assert_eq(status, EBM_OK, "%s", cases[i].text);
        cr_expect_eq(lists.n, cases[i].n_lists, "%s: %u", cases[i].text, lists.n);
        for (uint32_t level = 0; lists.n > 0 && level < JSON_LIST_LEVELS; level++)
            cr_expect_eq(lists.lists[0].sizes[level], cases[i].sizes[level], "%s", cases[i].text);
        cr_expect(lists.n == 0 || lists.lists[0].n_levels == cases[i].n_levels, "%s", cases[i].text);
        (void)json_read_free(root);
        ebm_arena_done(&arena);
    }
}

Test(json_lists, what_is_not_simple_is_left_to_others)
{
    static const char *const texts[] = {
        "{\"inputs\":[]}",
        "{\"inputs\":[[1],[]]}",
        "{\"inputs\":[[1],[2,3]]}",
        "{\"inputs\":[1,[2]]}",
        "{\"inputs\":[[1],2]}",
        "{\"inputs\":[[[[1]]]]}",
        "{\"inputs\":[1,]}",
        "{\"inputs\":[,1]}",
        "{\"inputs\":[1 2]}",
        "{\"inputs\":[NaN]}",
        "{\"inputs\":[1e999]}",
        "{\"inputs\":[01]}",
        "{\"inputs\":[\"1\"]}",
        "{\"inputs\":[null]}",
        "{\"inputs\":[1",
        "{\"inputs\":[1]",
        "{\"inputs\":[1]}}",
        "{\"inputs\":[1],\"inputs\":[2]}",
        "{\"inputs\":[1]:2}",
        "{\"inputs\" \"x\":[1]}",
        "\"inputs\":[1]",
        "[\"inputs\":[1]]",
        "{\"inputs\":[1] \"a\":2}",
        "{\"inputs\":[1]/**/}",
        "{\"inputs\":[1]}\\u0000",
        "{\"inputs\":[1],\"x\":\"\xff\"}",
        "",
        NULL, /* a body that never came */
    };
    for (size_t i = 0; i < EBM_COUNT_OF(texts); i++) {
        struct ebm_arena arena;
        struct json_lists lists;
        struct json_t *root = NULL;
        ebm_arena_init(&arena, 1u << 20);
        cr_expect_neq(
            json_lists_parse(texts[i], texts[i] ? strlen(texts[i]) : 0, &limits, names, 2, &arena, &lists, &root),
            EBM_OK, "%s", texts[i] ? texts[i] : "no text");
        ebm_arena_done(&arena);
    }
}

/* ---- beside jansson ---- */

struct maker {
    uint64_t seed;
    uint32_t count;
    char text[TEXT_BYTES];
    size_t size;
};

static uint32_t any(struct maker *maker, uint32_t below)
{
    uint32_t words[4];
    ebm_philox(maker->seed, maker->count++, 0, 0, 0, words);
    return words[0] % below;
}

static void put(struct maker *maker, const char *text)
{
    size_t size = strlen(text);
    if (maker->size + size < TEXT_BYTES) {
        memcpy(maker->text + maker->size, text, size);
        maker->size += size;
    }
}

static void put_number(struct maker *maker)
{
    static const char *const odd[] = {"0",    "-0",  "1e5",   "1E-3", "0.1e+2",          "12345678901234567890",
                                      "1e80", "0.0", "1e-90", "-1",   "9007199254740993"};
    char text[40];
    double value = (double)(int32_t)(any(maker, 1u << 30) - (1u << 29)) / (1 + any(maker, 1u << 20));
    (void)snprintf(text, sizeof text, "%.*g", 1 + (int)any(maker, 18), value);
    put(maker, any(maker, 10) == 0 ? odd[any(maker, EBM_COUNT_OF(odd))] : text);
}

static void put_list(struct maker *maker, uint32_t levels)
{
    uint32_t n = 1 + any(maker, 4);
    for (uint32_t i = 0; i < n; i++) {
        put(maker, i ? "," : "[");
        put(maker, any(maker, 6) ? "" : " \n");
        if (levels > 1)
            put_list(maker, levels - (any(maker, 40) == 0 ? 2 : 1));
        else
            put_number(maker);
    }
    put(maker, any(maker, 6) ? "]" : "\t]");
}

/* A body as clients send them, and often a byte of it changed, lost or doubled. */
static void make(struct maker *maker)
{
    static const char *const starts[] = {"{\"inputs\":", "{\"id\":\"a\\\"b\",\"targets\":", "{ \"inputs\" : ", "{"};
    static const char bytes[] = "[]{},:\"\\0123456789eE+-. nulltrue\n\x80";
    maker->size = 0;
    put(maker, starts[any(maker, 3)]);
    put_list(maker, 1 + any(maker, 3));
    if (any(maker, 2)) {
        put(maker, ",\"targets\": ");
        put_list(maker, 1 + any(maker, 3));
    }
    put(maker, any(maker, 2) ? ",\"seed\":7}" : "}");
    for (uint32_t damage = any(maker, 3); damage > 0; damage--) {
        size_t at = any(maker, (uint32_t)maker->size);
        uint32_t what = any(maker, 3);
        if (what == 0)
            maker->text[at] = bytes[any(maker, sizeof bytes - 1)];
        else
            memmove(maker->text + at + (what == 2), maker->text + at + (what == 1), maker->size - at - (what == 1));
        maker->size += what == 2 ? 1 : what == 1 ? (size_t)-1 : 0;
    }
}

static void compare_list(const struct json_t *tree, const struct json_list *list, uint32_t level, const double **number)
{
    if (level == list->n_levels) {
        double value = json_read_double(tree);
        cr_assert(json_read_is_number(tree) && memcmp(&value, *number, sizeof value) == 0, "%a is not %a", **number,
                  value);
        (*number)++;
        return;
    }
    cr_assert(level < JSON_LIST_LEVELS && json_read_is_list(tree));
    cr_assert_eq(json_read_length(tree), list->sizes[level]);
    for (size_t i = 0; i < list->sizes[level]; i++)
        compare_list(json_read_at(tree, i), list, level + 1, number);
}

static uint64_t n_texts(void)
{
    const char *times = getenv("EBM_FUZZ");
    return TEXTS * (times ? strtoull(times, NULL, 10) : 1);
}

Test(json_lists, what_is_read_here_is_what_jansson_reads)
{
    static struct maker maker;
    uint64_t n_read = 0, n_good = 0;
    for (uint64_t i = 0; i < n_texts(); i++) {
        struct ebm_arena arena;
        struct json_lists lists;
        struct json_t *rest = NULL, *tree = NULL;
        maker.seed = i;
        maker.count = 0;
        make(&maker);
        ebm_arena_init(&arena, 1u << 20);
        bool is_read = json_lists_parse(maker.text, maker.size, &limits, names, 2, &arena, &lists, &rest) == EBM_OK;
        bool is_good = json_read_parse(maker.text, maker.size, &limits, &tree, NULL) == EBM_OK;
        cr_assert(!is_read || is_good, "refused by jansson: %.*s", (int)maker.size, maker.text);
        for (uint32_t j = 0; is_read && j < 2; j++) {
            const struct json_t *value = json_read_member(rest, names[j]);
            const struct json_list *list = value ? json_lists_find(&lists, value) : NULL;
            const double *number = list ? list->numbers : NULL;
            if (list)
                compare_list(json_read_member(tree, names[j]), list, 0, &number);
        }
        n_read += is_read && lists.n > 0;
        n_good += is_good;
        (void)json_read_free(rest);
        (void)json_read_free(tree);
        ebm_arena_done(&arena);
    }
    cr_expect_gt(n_good, n_texts() / 4, "%lu", n_good);
    cr_expect_gt(n_read, n_good / 4, "%lu", n_read);
}

/* ---- whole requests ---- */

/* The same body with a letter of its list's name written as an escape, which keeps it from the fast way. */
static enum ebm_status read_request(enum request_kind kind, const char *format, bool is_plain, struct ebm_arena *arena,
                                    struct request *request, struct ebm_error *error)
{
    static const struct request_limits bounds = {8, 64, 10, 1000};
    char text[400];
    (void)snprintf(text, sizeof text, format, is_plain ? "\\u0069nputs" : "inputs",
                   is_plain ? "\\u0074argets" : "targets", is_plain ? "c\\u0064f" : "cdf");
    return request_read(kind, text, strlen(text), &bounds, arena, request, error);
}

Test(json_lists, requests_are_the_same_by_both_ways)
{
    static const struct {
        enum request_kind kind;
        const char *text; /* %1$s inputs, %2$s targets, %3$s cdf */
    } cases[] = {
        {REQUEST_PREDICT, "{\"%1$s\":[1,2]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[[1,2],[3,4]],\"%3$s\":[1,2,3]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[[1,2],[3,4]],\"%3$s\":[[1],[2]]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[[1,2],[3,4]],\"%3$s\":[[1],[2],[3]]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[1],\"%3$s\":[[[1]]]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[[[1]]]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[[1],[2,3]]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[1,2,3,4,5,6,7,8,9]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[]}"},
        {REQUEST_PREDICT, "{\"%1$s\":[1],\"sed\":1}"},
        {REQUEST_PREDICT, "{\"%1$s\":[1],\"interval\":{\"level\":2}}"},
        {REQUEST_DENSITY, "{\"%1$s\":[1,2],\"%2$s\":[[1,2],[3,4]]}"},
        {REQUEST_DENSITY, "{\"%1$s\":[1],\"%2$s\":[[[1,2],[3,4],[5,6]]]}"},
        {REQUEST_DENSITY, "{\"%1$s\":[1],\"%2$s\":[1]}"},
        {REQUEST_DENSITY, "{\"%1$s\":[1,2],\"%2$s\":[[1,2]]}"},
        {REQUEST_DENSITY, "{\"%2$s\":[[1,2]]}"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_arena arena;
        struct request fast = {0}, plain = {0};
        struct ebm_error fast_error = {0}, plain_error = {0};
        ebm_arena_init(&arena, 1u << 20);
        enum ebm_status status = read_request(cases[i].kind, cases[i].text, false, &arena, &fast, &fast_error);
        cr_assert_eq(read_request(cases[i].kind, cases[i].text, true, &arena, &plain, &plain_error), status);
        cr_expect_str_eq(fast_error.where, plain_error.where, "%s", cases[i].text);
        cr_expect_str_eq(fast_error.text, plain_error.text, "%s", cases[i].text);
        size_t n = (size_t)plain.inputs.n * plain.inputs.X;
        cr_expect(fast.inputs.n == plain.inputs.n && fast.inputs.X == plain.inputs.X);
        cr_expect(n == 0 || memcmp(fast.inputs.numbers, plain.inputs.numbers, n * sizeof(double)) == 0);
        const struct field_targets *a = plain.cdf.n ? &fast.cdf : &fast.targets,
                                   *b = plain.cdf.n ? &plain.cdf : &plain.targets;
        n = (size_t)(b->rows ? b->rows : 1) * b->n * b->D;
        cr_expect(a->rows == b->rows && a->n == b->n && a->D == b->D, "%s", cases[i].text);
        cr_expect(n == 0 || memcmp(a->numbers, b->numbers, n * sizeof(double)) == 0, "%s", cases[i].text);
        ebm_arena_done(&arena);
    }
}
