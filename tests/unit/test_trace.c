/* test_trace.c - the examples of the specification, and everything that it calls invalid. */
#include <criterion/criterion.h>
#include <string.h>

#include "server/trace.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

Test(trace, a_valid_one_is_gone_on_with)
{
    static const struct {
        const char *text, *flags;
    } cases[] = {{"00-" ID "-" PARENT "-01", "01"},
                 {"00-" ID "-" PARENT "-00", "00"},
                 {"00-" ID "-" PARENT "-ff", "01"},
                 {"cc-" ID "-" PARENT "-01", "01"},
                 {"cc-" ID "-" PARENT "-01-what the future brings", "01"}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct trace trace;
        char text[TRACE_TEXT_BYTES];
        cr_assert(trace_read(cases[i].text, 7, &trace), "%s", cases[i].text);
        cr_expect_str_eq(trace.id, ID);
        cr_expect_str_eq(trace.parent, PARENT);
        trace_write(&trace, text);
        cr_expect_eq(strlen(text), TRACE_TEXT_BYTES - 1);
        cr_expect_eq(memcmp(text, "00-" ID "-", 36), 0, "%s", text);
        cr_expect_eq(memcmp(text + 36, trace.span, 16), 0, "%s", text);
        cr_expect_str_eq(text + 53, cases[i].flags);
        cr_expect_str_neq(trace.span, PARENT);
    }
}

Test(trace, spans_are_those_of_splitmix64)
{
    struct trace trace;
    cr_assert(trace_read("00-" ID "-" PARENT "-01", 0, &trace));
    cr_expect_str_eq(trace.span, "e220a8397b1dcdaf");
    cr_assert(trace_read("00-" ID "-" PARENT "-01", 1, &trace));
    cr_expect_str_eq(trace.span, "910a2dec89025cc1");
}

Test(trace, all_others_are_none)
{
    static const char *const cases[] = {
        "",
        "00",
        "00-" ID "-" PARENT,
        "00-" ID "-" PARENT "-",
        "00-" ID "-" PARENT "-0",
        "00-" ID "-" PARENT "-0g",
        "00-" ID "-" PARENT "-01-",
        "00-" ID "-" PARENT "-01-more",
        "00-" ID "-" PARENT "-01 ",
        " 00-" ID "-" PARENT "-01",
        "ff-" ID "-" PARENT "-01",
        "0g-" ID "-" PARENT "-01",
        "cc-" ID "-" PARENT "-01.more",
        "cc-" ID "-" PARENT "-012",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" ID "-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
        "00-" ID "-00F067AA0BA902B7-01",
        "00_" ID "-" PARENT "-01",
        "00-" ID "_" PARENT "-01",
        "00-" ID "-" PARENT "_01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" PARENT "-001",
        "00-4bf92f3577b34da6a3ce929d0e0e473\xc3-" PARENT "-01",
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct trace trace = {.id = "before"};
        cr_expect_not(trace_read(cases[i], 1, &trace), "%s", cases[i]);
        cr_expect_str_eq(trace.id, "before");
    }
}
