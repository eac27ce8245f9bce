/* fuzz_json.c - JSON of any kind through the reader of messages: within its limits, numbers finite, every value of a
 * known kind; lists that are cut out of the text hold the tree's numbers. */
#include <math.h>
#include <string.h>

#include "core/limits.h"
#include "proto/json_lists.h"
#include "tests/fuzz/fuzz.h"

static const struct json_read_limits limits = {.max_depth = 20, .max_values = 1000};

/* How many values there are; at most `depth` levels. */
static size_t count_values(struct json_t *value, uint32_t depth)
{
    size_t n = 1;
    struct ebm_error error;
    const char *kind = json_read_kind(value);
    EBM_ASSERT(kind[0] == 'a' || kind[0] == 't' || kind[0] == 'f' || kind[0] == 'n');
    if (json_read_is_number(value))
        EBM_ASSERT(isfinite(json_read_double(value)));
    if (json_read_is_list(value)) {
        EBM_ASSERT(depth > 0);
        for (size_t i = 0; i < json_read_length(value); i++)
            n += count_values(json_read_at(value, i), depth - 1);
    } else if (json_read_object(value, "value", &error) == EBM_OK) {
        EBM_ASSERT(depth > 0);
        for (void *member = json_read_first(value); member; member = json_read_next(value, member))
            n += count_values(json_read_value(member), depth - 1);
    }
    return n;
}

/* The numbers of a list and of the same list as a tree; returns those after it. */
static const double *compare(const struct json_t *tree, const struct json_list *list, uint32_t level,
                             const double *numbers)
{
    if (level == list->n_levels) {
        double number = json_read_double(tree);
        EBM_ASSERT(json_read_is_number(tree) && memcmp(&number, numbers, sizeof number) == 0);
        return numbers + 1;
    }
    EBM_ASSERT(level < JSON_LIST_LEVELS && json_read_is_list(tree) && json_read_length(tree) == list->sizes[level]);
    for (size_t i = 0; i < json_read_length(tree); i++)
        numbers = compare(json_read_at(tree, i), list, level + 1, numbers);
    return numbers;
}

/* `tree`: what jansson makes of the whole; NULL: it refused it. */
static void check_lists(const char *bytes, size_t size, const struct json_t *tree)
{
    static const char *const names[] = {"inputs", "targets", "a", ""};
    struct ebm_arena arena;
    struct json_lists lists;
    struct json_t *rest = NULL;
    ebm_arena_init(&arena, 1u << 20);
    enum ebm_status status = json_lists_parse(bytes, size, &limits, names, EBM_COUNT_OF(names), &arena, &lists, &rest);
    EBM_ASSERT(status != EBM_OK || tree);
    for (size_t i = 0; status == EBM_OK && i < EBM_COUNT_OF(names); i++) {
        const struct json_t *value = json_read_member(rest, names[i]);
        const struct json_list *list = value ? json_lists_find(&lists, value) : NULL;
        if (list)
            (void)compare(json_read_member(tree, names[i]), list, 0, list->numbers);
    }
    (void)json_read_free(rest);
    ebm_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct json_t *root = NULL;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = json_read_parse((const char *)bytes, size, &limits, &root, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        EBM_ASSERT(count_values(root, limits.max_depth) <= limits.max_values);
    check_lists((const char *)bytes, size, root);
    (void)json_read_free(root);
    return 0;
}
