/* test_buf.c - growth, limit, the state after a failure, JSON pieces. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/rng.h"

Test(buf, appends_grow_and_stay_terminated)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1 << 20);
    for (int i = 0; i < 10000; i++)
        cr_assert_eq(ebm_buf_printf(&buf, "%d,", i % 10), EBM_OK);
    cr_assert_eq(buf.size, 20000, "%zu", buf.size);
    cr_assert_eq(strlen(buf.bytes), 20000);
    cr_assert_eq(memcmp(buf.bytes + 19996, "8,9,", 5), 0, "%s", buf.bytes + 19996);
    ebm_buf_done(&buf);
}

Test(buf, the_limit_is_exact)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 300);
    char block[300] = {0};
    cr_assert_eq(ebm_buf_append(&buf, block, 299), EBM_OK);
    cr_assert_eq(ebm_buf_text(&buf, "x"), EBM_OK);
    cr_assert_eq(buf.size, 300);
    cr_assert_leq(buf.capacity, 301, "%zu", buf.capacity);
    cr_assert_eq(ebm_buf_append(&buf, "", 0), EBM_OK);
    cr_assert_eq(ebm_buf_text(&buf, "y"), EBM_TOO_LARGE);
    ebm_buf_done(&buf);
}

Test(buf, room_is_given_up_to_the_maximum_and_failures_of_it_change_nothing)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 10);
    char *room = ebm_buf_room(&buf, 8);
    cr_assert_not_null(room);
    memcpy(room, "1234567", 8);
    ebm_buf_extend(&buf, 7);
    cr_assert_null(ebm_buf_room(&buf, 4));
    cr_assert_eq(buf.status, EBM_OK);
    room = ebm_buf_room(&buf, 3);
    cr_assert_not_null(room);
    memcpy(room, "890", 3);
    ebm_buf_extend(&buf, 3);
    cr_assert_str_eq(buf.bytes, "1234567890");
    cr_assert_eq(ebm_buf_text(&buf, "1"), EBM_TOO_LARGE);
    cr_assert_null(ebm_buf_room(&buf, 1), "nothing is left after a failure");
    ebm_buf_done(&buf);
}

Test(buf, a_failure_frees_and_sticks_until_cleared)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 10);
    cr_assert_eq(ebm_buf_text(&buf, "12345"), EBM_OK);
    cr_assert_eq(ebm_buf_printf(&buf, "%s", "678901"), EBM_TOO_LARGE);
    cr_assert_null(buf.bytes);
    cr_assert_eq(buf.size, 0);
    cr_assert_eq(ebm_buf_text(&buf, "1"), EBM_TOO_LARGE, "a later append that would fit must fail too");
    ebm_buf_clear(&buf);
    cr_assert_eq(ebm_buf_text(&buf, "1"), EBM_OK);
    cr_assert_str_eq(buf.bytes, "1");
    ebm_buf_done(&buf);
}

Test(buf, a_size_near_the_end_of_memory_is_too_large)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1000);
    cr_assert_eq(ebm_buf_text(&buf, "abc"), EBM_OK);
    cr_assert_eq(ebm_buf_append(&buf, "x", SIZE_MAX - 1), EBM_TOO_LARGE);
    ebm_buf_done(&buf);
}

Test(buf, clear_keeps_the_memory)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1000);
    cr_assert_eq(ebm_buf_text(&buf, "abc"), EBM_OK);
    const char *before = buf.bytes;
    ebm_buf_clear(&buf);
    cr_assert_eq(buf.bytes[0], 0);
    cr_assert_eq(ebm_buf_text(&buf, "d"), EBM_OK);
    cr_assert_eq(buf.bytes, before);
    cr_assert_str_eq(buf.bytes, "d");
    ebm_buf_done(&buf);
    ebm_buf_done(&buf);
}

Test(buf, json_text_is_escaped)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1000);
    cr_assert_eq(ebm_buf_json_text(&buf, "a\"b\\c\n\x01\x1f\x7fü"), EBM_OK);
    cr_assert_str_eq(buf.bytes, "\"a\\\"b\\\\c\\u000a\\u0001\\u001f\x7fü\"");
    ebm_buf_done(&buf);
}

Test(buf, json_numbers_are_short_and_exact)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {-0.0, "-0"},
                 {0.1, "0.1"},
                 {1e-3, "0.001"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1e300, "1e+300"},
                 {5e-324, "4.94065645841247e-324"},
                 {3, "3"}};
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1000);
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        ebm_buf_clear(&buf);
        cr_assert_eq(ebm_buf_json_number(&buf, cases[i].value), EBM_OK);
        cr_assert_str_eq(buf.bytes, cases[i].text);
        cr_assert_eq(strtod(buf.bytes, NULL), cases[i].value, "%s", buf.bytes);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t words[4];
        ebm_philox(1, i, 0, 0, 0, words);
        uint64_t bits = (uint64_t)words[0] << 32 | words[1];
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        ebm_buf_clear(&buf);
        cr_assert_eq(ebm_buf_json_number(&buf, value), EBM_OK);
        cr_assert_eq(strtod(buf.bytes, NULL), value, "%s is not %a", buf.bytes, value);
    }
    ebm_buf_done(&buf);
}
