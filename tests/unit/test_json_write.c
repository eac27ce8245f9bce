/* test_json_write.c - numbers that read back under any locale, null, texts of any bytes. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "proto/json_write.h"
#include "tests/unit/comma_locale.h"

static char *number(double value, int digits)
{
    static char text[64];
    struct ebm_buf buf;
    ebm_buf_init(&buf, 60);
    json_write_number(&buf, value, digits);
    cr_assert_eq(buf.status, EBM_OK);
    (void)snprintf(text, sizeof text, "%s", buf.bytes);
    ebm_buf_done(&buf);
    return text;
}

Test(json_write, nine_digits_give_every_float_back)
{
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t words[4];
        float value;
        ebm_philox(1, i, 0, 0, 0, words);
        memcpy(&value, words, sizeof value);
        if (!isfinite(value))
            continue;
        char *text = number((double)value, JSON_WRITE_FLOAT_DIGITS);
        float back = strtof(text, NULL);
        cr_assert(memcmp(&back, &value, sizeof back) == 0, "%s is not %a", text, (double)value);
    }
}

Test(json_write, what_is_not_finite_is_null)
{
    cr_assert_str_eq(number(NAN, 9), "null");
    cr_assert_str_eq(number(INFINITY, 9), "null");
    cr_assert_str_eq(number(-INFINITY, 9), "null");
    cr_assert_str_eq(number(-0.5, 9), "-0.5");
    cr_assert_str_eq(number(1e300, 17), "1.0000000000000001e+300");
}

Test(json_write, lists_and_lists_of_lists)
{
    static const double values[] = {1.5, -2.0, NAN, 1e-7};
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1000);
    json_write_numbers(&buf, values, 3, 9);
    json_write_vectors(&buf, values, 2, 2, 9);
    json_write_vectors(&buf, values, 3, 1, 9);
    json_write_numbers(&buf, values, 0, 9);
    json_write_vectors(&buf, values, 0, 2, 9);
    cr_assert_str_eq(buf.bytes, "[1.5,-2,null][[1.5,-2],[null,1e-07]][[1.5],[-2],[null]][][]");
    ebm_buf_done(&buf);
}

/* Numbers are written where there is room for the longest, but the last ones need no more than they are. */
Test(json_write, a_list_may_fill_its_buffer_to_the_last_byte)
{
    static const double values[] = {-0.015625, 1234567.0, INFINITY};
    const char *text = "[[-0.015625],[1234567],[null]]";
    for (size_t max_bytes = 1; max_bytes <= strlen(text); max_bytes++) {
        struct ebm_buf buf;
        ebm_buf_init(&buf, max_bytes);
        json_write_vectors(&buf, values, 3, 1, 9);
        cr_assert_eq(buf.status, max_bytes < strlen(text) ? EBM_TOO_LARGE : EBM_OK, "%zu bytes", max_bytes);
        cr_assert(buf.status != EBM_OK || strcmp(buf.bytes, text) == 0, "%s", buf.bytes);
        ebm_buf_done(&buf);
    }
}

Test(json_write, a_locale_with_a_comma_changes_nothing)
{
    set_comma_locale();
    cr_assert_str_eq(number(1234.5, 9), "1234.5");
    cr_assert_str_eq(number(1.5e-20, 9), "1.5e-20");
    cr_assert_str_eq(number(7, 9), "7");
}

Test(json_write, texts_of_any_bytes_become_valid_json)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"plain", "\"plain\""},
        {"\"q\"\\\n", "\"\\\"q\\\"\\\\\\u000a\""},
        {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
        {"\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"a\xff\xfe", "\"a??\""},
        {"cut\xe2\x82", "\"cut??\""},
        {"\xc0\xaf", "\"??\""},           /* overlong */
        {"\xed\xa0\x80", "\"???\""},      /* a surrogate */
        {"\xf4\x90\x80\x80", "\"????\""}, /* beyond Unicode */
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_buf buf;
        ebm_buf_init(&buf, 100);
        json_write_text(&buf, cases[i].text);
        cr_expect_str_eq(buf.bytes, cases[i].json, "case %zu: %s", i, buf.bytes);
        ebm_buf_done(&buf);
    }
}
