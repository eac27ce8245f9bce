/* test_status.c - names, texts, cutting and prefixes of errors. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/status.h"

Test(status, every_status_has_a_name_and_a_text)
{
    cr_assert_str_eq(ebm_status_name(EBM_OK), "OK");
    cr_assert_str_eq(ebm_status_name(EBM_INTERNAL), "INTERNAL");
    cr_assert_str_eq(ebm_status_text(EBM_TIMEOUT), "the time is up");
    cr_assert_str_eq(ebm_status_name((enum ebm_status)1000), "UNKNOWN");
    cr_assert_str_eq(ebm_status_text((enum ebm_status)1000), "unknown status");
}

Test(status, an_error_says_where_and_what)
{
    struct ebm_error error = {0};
    enum ebm_status status = ebm_error_set(&error, EBM_INVALID, "inputs[3]", "expected %d numbers, got %d", 8, 7);
    cr_assert_eq(status, EBM_INVALID);
    cr_assert_eq(error.status, EBM_INVALID);
    cr_assert_str_eq(error.where, "inputs[3]");
    cr_assert_str_eq(error.text, "expected 8 numbers, got 7");
    cr_assert_eq(ebm_error_set(NULL, EBM_BUSY, "x", "%s", "y"), EBM_BUSY);
}

Test(status, arguments_may_lie_in_the_error_itself)
{
    struct ebm_error error = {.where = "inner", .text = "reason"};
    (void)ebm_error_set(&error, EBM_DAMAGED, error.where, "outer: %s", error.text);
    cr_assert_str_eq(error.where, "inner");
    cr_assert_str_eq(error.text, "outer: reason");
}

/* 4-byte sequences, cut at every place of one. */
Test(status, long_text_is_cut_between_characters)
{
    char text[400], expected[400];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        memset(text + shift, 0, sizeof text - shift);
        for (size_t at = shift; at + 4 < sizeof text; at += 4)
            memcpy(text + at, "\xf0\x9f\x98\x80", 4);
        struct ebm_error error;
        (void)ebm_error_set(&error, EBM_INVALID, text, "%s", text);
        size_t kept = shift + (sizeof error.text - 1 - shift) / 4 * 4;
        memcpy(expected, text, kept);
        expected[kept] = 0;
        cr_assert_str_eq(error.text, expected, "shift %zu: %zu bytes, expected %zu", shift, strlen(error.text), kept);
        cr_assert_eq((strlen(error.where) - shift) % 4, 0, "shift %zu: where has %zu bytes", shift,
                     strlen(error.where));
        cr_assert_gt(strlen(error.where), sizeof error.where - 5);
    }
}

Test(status, a_prefix_joins_with_a_dot_or_an_index)
{
    static const struct {
        const char *prefix, *where, *joined;
    } cases[] = {
        {"model", "energy_net", "model.energy_net"},
        {"inputs", "[3]", "inputs[3]"},
        {"config", "", "config"},
        {"", "name", "name"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_error error;
        (void)ebm_error_set(&error, EBM_INVALID, cases[i].where, "text");
        cr_assert_eq(ebm_error_prefix(&error, cases[i].prefix), EBM_INVALID);
        cr_assert_str_eq(error.where, cases[i].joined);
        cr_assert_str_eq(error.text, "text");
    }
}

Test(status, a_prefix_for_nobody_is_fine)
{
    cr_assert_eq(ebm_error_prefix(NULL, "model"), EBM_INTERNAL);
    cr_assert_eq(ebm_error_prefix(NULL, ""), EBM_INTERNAL);
}

Test(status, a_prefix_that_does_not_fit_is_cut)
{
    struct ebm_error error;
    char prefix[200];
    memset(prefix, 'p', sizeof prefix - 1);
    prefix[sizeof prefix - 1] = 0;
    (void)ebm_error_set(&error, EBM_INVALID, "where", "text");
    (void)ebm_error_prefix(&error, prefix);
    cr_assert_eq(strlen(error.where), sizeof error.where - 1);
}
