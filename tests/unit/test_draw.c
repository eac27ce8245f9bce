/* test_draw.c - the picture: where columns and marks stand. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "trainer/draw.h"

Test(draw, the_axis_holds_the_range_and_ends_at_round_numbers)
{
    static const double ranges[][2] = {{1.6, 5.1}, {-0.003, 0.002}, {1000.0, 1001.0},
                                       {0.0, 0.0}, {5.0, 5.0},      {-1e9, 1e9}};
    for (size_t i = 0; i < EBM_COUNT_OF(ranges); i++) {
        double lower, upper;
        draw_axis(ranges[i][0], ranges[i][1], &lower, &upper);
        cr_assert_lt(lower, upper);
        cr_assert(lower <= ranges[i][0] && upper >= ranges[i][1], "%g .. %g", lower, upper);
        cr_assert_leq(upper - lower, 1.8 * (ranges[i][1] - ranges[i][0]) + fabs(ranges[i][0]) * 0.5 + 1e-5, "%g .. %g",
                      lower, upper);
    }
}

/* The line that holds the marks, and a character's place in it. */
static long place(const char *text, char mark)
{
    const char *last = strstr(text, "^ mean"), *line;
    cr_assert_not_null(last);
    for (line = last - 4; line[-1] != '\n'; line--)
        continue;
    const char *at = memchr(line, mark, (size_t)(last - line));
    return at != NULL ? at - line - 2 : -1;
}

Test(draw, marks_and_columns_stand_where_they_belong)
{
    double density[DRAW_COLUMNS] = {0.0};
    struct ebm_buf text;
    density[0] = 1.0;
    density[DRAW_COLUMNS - 1] = 0.5;
    struct draw_picture picture = {.name = "minutes",
                                   .lower = 0.0,
                                   .upper = 64.0,
                                   .density = density,
                                   .mean = 32.5,
                                   .low = 0.5,
                                   .median = 40.5,
                                   .high = 63.5};
    ebm_buf_init(&text, 65536);
    cr_assert_eq(draw_density(&picture, &text), EBM_OK);
    cr_assert_eq(place(text.bytes, '['), 0, "%s", text.bytes);
    cr_assert_eq(place(text.bytes, '^'), 32, "%s", text.bytes);
    cr_assert_eq(place(text.bytes, '|'), 40, "%s", text.bytes);
    cr_assert_eq(place(text.bytes, ']'), 63, "%s", text.bytes);
    cr_assert_not_null(strstr(text.bytes, "minutes"));
    uint32_t blocks = 0;
    for (const char *at = strstr(text.bytes, "█"); at != NULL; at = strstr(at + 1, "█"))
        blocks++;
    cr_assert_eq(blocks, DRAW_ROWS + DRAW_ROWS / 2, "%u full blocks:\n%s", blocks, text.bytes);
    ebm_buf_done(&text);
}

Test(draw, a_flat_zero_density_draws_nothing_and_does_not_fail)
{
    double density[DRAW_COLUMNS] = {0.0};
    struct ebm_buf text;
    struct draw_picture picture = {
        .name = "y", .lower = -1.0, .upper = 1.0, .density = density, .low = -1e300, .median = 0.0, .high = 1e300};
    ebm_buf_init(&text, 65536);
    cr_assert_eq(draw_density(&picture, &text), EBM_OK);
    cr_assert_null(strstr(text.bytes, "█"));
    ebm_buf_done(&text);
}

Test(draw, a_label_at_the_end_is_whole)
{
    double density[DRAW_COLUMNS] = {1.0};
    struct ebm_buf text;
    const struct draw_picture picture = {.name = "count",
                                         .lower = 50.0,
                                         .upper = 140.0,
                                         .density = density,
                                         .mean = 60.0,
                                         .low = 55.0,
                                         .median = 60.0,
                                         .high = 70.0};
    ebm_buf_init(&text, 65536);
    cr_assert_eq(draw_density(&picture, &text), EBM_OK);
    cr_assert_not_null(strstr(text.bytes, "120           140 count\n"), "%s", text.bytes);
    ebm_buf_done(&text);
}
