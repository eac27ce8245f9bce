/* test_html.c - nobody breaks out of a page, and numbers read well. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "trainer/html.h"
#include "trainer/plot.h"

Test(html, texts)
{
    static const struct {
        const char *text, *expected;
        size_t max_bytes;
    } cases[] = {
        {"plain", "plain", 80},
        {"<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;", 80},
        {"\"><svg onload=1>&amp;", "&quot;&gt;&lt;svg onload=1&gt;&amp;amp;", 80},
        {"]]><!--", "]]&gt;&lt;!--", 80},
        {"a\tb\nc\x01\x7f", "a?b?c??", 80},
        {"first\nsecond\t<", "first\nsecond?&lt;", HTML_WHOLE},
        {"gr\xc3\xb6\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xb6\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x98\x80",
         80},
        {"\xff\xfe", "??", 80},
        {"\xc3", "?", 80},
        {"\xc0\xbc"
         "script",
         "??script", 80},                 /* '<' in two bytes */
        {"\xe0\x80\xbc", "???", 80},      /* in three */
        {"\xed\xa0\x80", "???", 80},      /* half of a surrogate */
        {"\xef\xbf\xbf", "???", 80},      /* no character */
        {"\xf4\x90\x80\x80", "????", 80}, /* beyond the last one */
        {"\xc2\x85", "??", 80},           /* a control of C1 */
        {"a\xe2\x80\xae"
         "b",
         "a???b", 80}, /* turns round what follows */
        {"0123456789abcdef", "012345678\xe2\x80\xa6", 12},
        {"01234567\xc3\xb6yyy", "01234567\xe2\x80\xa6", 12}, /* no character is cut in two */
        {"0123456789ab", "0123456789ab", 12},
        {"", "", 80},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ebm_buf buf;
        ebm_buf_init(&buf, 4096);
        (void)ebm_buf_text(&buf, "");
        cr_assert_eq(html_text(&buf, cases[i].text, cases[i].max_bytes), EBM_OK);
        cr_assert_str_eq(buf.bytes, cases[i].expected, "case %zu: '%s', expected '%s'", i, buf.bytes,
                         cases[i].expected);
        ebm_buf_done(&buf);
    }
}

Test(html, numbers)
{
    static const struct {
        double value;
        const char *expected;
    } cases[] = {{0.0, "0.000"},         {1.0, "1.000"},
                 {-12.345678, "-12.35"}, {1234.56, "1235"},
                 {123456.0, "123456"},   {2.5e6, "2.5e+06"},
                 {0.012345, "0.01235"},  {1.5e-7, "1.5e-07"},
                 {999.96, "1000.0"},     {(double)NAN, "not a number"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char space[HTML_NUMBER_BYTES];
        cr_assert_str_eq(html_format(cases[i].value, space), cases[i].expected, "%s, expected %s", space,
                         cases[i].expected);
    }
}

/* A hostile name of a column in a chart; data outside of the frame, and none at all. */
Test(html, charts_escape_and_survive)
{
    struct ebm_buf buf;
    const double x[] = {0.0, (double)NAN, 1e9}, y[] = {1.0, 2.0, -(double)INFINITY};
    ebm_buf_init(&buf, 1u << 16);
    struct plot plot = {.buf = &buf,
                        .width = 400,
                        .height = 300,
                        .x_upper = 1.0,
                        .y_upper = 1.0,
                        .id = "t",
                        .title = "<b>",
                        .describe = "\"'&",
                        .x_name = "</svg><script>",
                        .y_name = "y"};
    plot_begin(&plot);
    plot_line(&plot, "line", x, y, 3);
    plot_dots(&plot, "dot", x, y, 3);
    plot_bar(&plot, "bar", 0.1, 0.0, 0.2, 1.0, "<i>");
    plot_label(&plot, 0.5, 0.5, "start", "</text>");
    plot_end(&plot);
    cr_assert_eq(buf.status, EBM_OK);
    cr_assert_null(strstr(buf.bytes, "<script"));
    cr_assert_null(strstr(buf.bytes, "<b>"));
    cr_assert_null(strstr(buf.bytes, "<i>"));
    cr_assert_null(strstr(buf.bytes, "nan"));
    cr_assert_null(strstr(buf.bytes, "inf"));
    cr_assert_not_null(strstr(buf.bytes, "&lt;/svg&gt;&lt;script&gt;"));
    ebm_buf_done(&buf);
}

/* Of labels and names all begin and end within the drawing, at the largest size of their letters. */
Test(html, labels_of_a_chart_have_room)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1u << 16);
    struct plot plot = {.buf = &buf,
                        .width = 760,
                        .height = 400,
                        .x_upper = 1.0,
                        .y_lower = -125000.0,
                        .y_upper = -105000.0,
                        .id = "t",
                        .title = "t",
                        .describe = "d",
                        .x_name = "x",
                        .y_name = "y",
                        .x_percent = true};
    plot_begin(&plot);
    plot_end(&plot);
    cr_assert_geq(plot.left, 7 * 0.6 * 20, "seven characters of 20 pixels: %g", plot.left);
    cr_assert_float_eq(plot_x(&plot, 0.0), plot.left, 1e-9);
    cr_assert_not_null(strstr(buf.bytes, "x=\"760.0\" y=\"370.0\" text-anchor=\"end\">100 %</text>"), "%s", buf.bytes);
    cr_assert_not_null(strstr(buf.bytes, "text-anchor=\"middle\">80 %</text>"), "%s", buf.bytes);
    ebm_buf_done(&buf);
}

Test(html, ranges_hold_what_they_must)
{
    static const double cases[][2] = {{0.0, 1.0}, {-3.1, 2.9}, {5.0, 5.0}, {0.0, 0.0}, {1e-9, 3e-9}, {-1e6, 1e6}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double lower, upper;
        plot_range(cases[i][0], cases[i][1], &lower, &upper);
        cr_assert(lower <= cases[i][0] && upper >= cases[i][1] && upper > lower, "case %zu: %g to %g", i, lower, upper);
        cr_assert_leq(upper - lower, 2.0 * (cases[i][1] - cases[i][0]) + 1.0, "case %zu: %g to %g", i, lower, upper);
    }
}
