/* test_json_read.c - what is refused before jansson, what jansson refuses, typed reading. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_read.h"

static const struct json_read_limits limits = {100, 1000};

static enum ebm_status parse(const char *text, struct json_t **ret_root, struct ebm_error *reterr)
{
    return json_read_parse(text, strlen(text), &limits, ret_root, reterr);
}

Test(json_read, refuses_with_a_place_and_a_reason)
{
    static const struct {
        const char *text, *where, *fragment;
    } cases[] = {
        {"", "body", "empty"},
        {"\x89PNG\r\n", "body", "Content-Type: image/png"},
        {"\xff\xd8\xff\xe0", "body", "Content-Type: image/jpeg"},
        {"\x93NUMPY", "body", "Content-Type: application/x-npy"},
        {"\x89PN", "byte", "not valid JSON"},
        {"{", "byte 1", "not valid JSON"},
        {"{\"a\":1,\"a\":2}", "byte", "duplicate"},
        {"[1] 2", "byte 5", "not valid JSON"},
        {"[NaN]", "byte", "NaN"},
        {"[-Infinity]", "byte", "not valid JSON"},
        {"[1e400]", "byte", "overflow"},
        {"[01]", "byte", "not valid JSON"},
        {"[1,]", "byte", "not valid JSON"},
        {"{\"a\":\"\xff\"}", "byte", "not valid JSON"},
        {"{\"a\":\"\\ud800\"}", "byte", "not valid JSON"},
        {"{\"a\":\"\\u0000\"}", "byte", "not allowed in a text"},
        {"\"open", "byte", "not valid JSON"},
        {"\"open\\", "byte", "not valid JSON"},
        {"nul", "byte", "not valid JSON"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct json_t *root = NULL;
        struct ebm_error error = {.status = EBM_OK};
        cr_expect_eq(parse(cases[i].text, &root, &error), EBM_INVALID, "%s", cases[i].text);
        cr_expect_null(root);
        cr_expect(strncmp(error.where, cases[i].where, strlen(cases[i].where)) == 0, "%s: where '%s'", cases[i].text,
                  error.where);
        cr_expect_not_null(strstr(error.text, cases[i].fragment), "%s: '%s'", cases[i].text, error.text);
    }
}

Test(json_read, depth_and_values_are_counted_before_any_memory)
{
    static char text[3 << 20];
    struct json_t *root = NULL;
    struct ebm_error error;
    memset(text, '[', sizeof text);
    cr_expect_eq(json_read_parse(text, sizeof text, &limits, &root, &error), EBM_INVALID);
    cr_expect_str_eq(error.where, "byte 100", "%s", error.where);
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "0,", 2);
    text[0] = '[';
    cr_expect_eq(json_read_parse(text, sizeof text, &limits, &root, &error), EBM_INVALID);
    cr_expect_not_null(strstr(error.text, "more than 1000 values"), "%s", error.text);
    memset(text, '{', 100); /* inside a string, brackets and commas are letters */
    memset(text, ',', 4000);
    text[0] = text[3999] = '"';
    cr_expect_eq(json_read_parse(text, 4000, &limits, &root, &error), EBM_OK, "%s", error.text);
    root = json_read_free(root);
    cr_expect_null(root);
}

Test(json_read, the_deepest_allowed_passes)
{
    char text[201];
    memset(text, '[', 100);
    memset(text + 100, ']', 100);
    text[200] = 0;
    struct json_t *root = NULL;
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(parse(text, &root, &error), EBM_OK, "%s: %s", error.where, error.text);
    json_read_freep(&root);
    cr_assert_null(root);
}

Test(json_read, integers_are_whole_numbers_within_bounds)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"7", true, 7},      {"7.0", true, 7},    {"7e0", true, 7},   {"9007199254740991", true, (1ull << 53) - 1},
        {"6", false, 0},     {"7.5", false, 0},   {"-7", false, 0},   {"9007199254740992", false, 0},
        {"1e300", false, 0}, {"\"7\"", false, 0}, {"null", false, 0}, {"true", false, 0},
        {"[7]", false, 0},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct json_t *root = NULL;
        struct ebm_error error = {.status = EBM_OK};
        uint64_t value = 99;
        cr_assert_eq(parse(cases[i].text, &root, &error), EBM_OK, "%s", error.text);
        enum ebm_status status = json_read_integer(root, "n", 7, (1ull << 53) - 1, &value, &error);
        cr_expect_eq(status, cases[i].ok ? EBM_OK : EBM_INVALID, "%s", cases[i].text);
        cr_expect_eq(value, cases[i].ok ? cases[i].value : 99, "%s: %llu", cases[i].text, (unsigned long long)value);
        if (!cases[i].ok)
            cr_expect_not_null(strstr(error.text, "from 7 to 9007199254740991"), "%s", error.text);
        json_read_freep(&root);
    }
}

Test(json_read, members_texts_and_lists)
{
    struct json_t *root = NULL;
    struct ebm_error error;
    const char *text = NULL;
    size_t length = 99;
    cr_assert_eq(parse("{\"a\":\"long text\",\"b\":[1,2]}", &root, &error), EBM_OK);
    cr_assert_eq(json_read_object(root, "body", &error), EBM_OK);
    void *member = json_read_first(root);
    cr_assert_str_eq(json_read_key(member), "a");
    cr_assert_eq(json_read_text(json_read_value(member), "a", 8, &text, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "at most 8 characters, got 9"), "%s", error.text);
    cr_assert_eq(json_read_text(json_read_value(member), "a", 9, &text, &error), EBM_OK);
    cr_assert_str_eq(text, "long text");
    cr_assert_eq(json_read_object(json_read_value(member), "a", &error), EBM_INVALID);
    member = json_read_next(root, member);
    cr_assert_eq(json_read_list(json_read_value(member), "b", 3, 4, "numbers", &length, &error), EBM_INVALID);
    cr_assert_eq(length, 99);
    cr_assert_not_null(strstr(error.text, "3 to 4 numbers, got 2"), "%s", error.text);
    cr_assert_eq(json_read_list(json_read_value(member), "b", 1, 2, "numbers", &length, &error), EBM_OK);
    cr_assert_eq(length, 2);
    cr_assert_eq(json_read_double(json_read_at(json_read_value(member), 1)), 2.0);
    cr_assert_null(json_read_next(root, member));
    json_read_freep(&root);
}
