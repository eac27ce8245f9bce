/* draw.c - columns of eighths of a block, an axis with round numbers, and marks below it:
 *
 *        ▂█▅              ▃▆█▇▄
 *     ▁▃▇███▇▃▁▁▁▁▁▁▁▁▂▄▇█████████▅▂
 *     ┬──────────┬──────────┬──────────┬
 *     1          2          3          4   duration_min
 *         [          ^           |  ]
 *
 * Marks: '[' and ']' the 5 % and 95 % quantiles, '|' the median, '^' the mean. Marks that fall on one column are drawn
 * one over the other, the mean on top. */
#include "trainer/draw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MARGIN "  "
#define TICKS_MAX 12u

/* 1, 2 or 5 times a power of ten that divides `width` into about five. */
static double round_step(double width)
{
    double raw = width / 5.0, power = pow(10.0, floor(log10(raw))), ratio = raw / power;
    return power * (ratio < 1.5 ? 1.0 : ratio < 3.5 ? 2.0 : ratio < 7.5 ? 5.0 : 10.0);
}

void draw_axis(double lowest, double highest, double *ret_lower, double *ret_upper)
{
    double width = highest - lowest;
    if (!(width > 0.0)) {
        width = fmax(fabs(lowest) * 0.1, 1e-6);
        lowest -= 0.5 * width;
        highest += 0.5 * width;
    }
    double step = round_step(width * 1.1) / 2.0;
    *ret_lower = step * floor((lowest - 0.05 * width) / step);
    *ret_upper = step * ceil((highest + 0.05 * width) / step);
}

static int column_of(const struct draw_picture *p, double value)
{
    double at = floor((value - p->lower) / (p->upper - p->lower) * DRAW_COLUMNS);
    return (int)fmin(fmax(at, 0.0), DRAW_COLUMNS - 1.0);
}

static void draw_blocks(const struct draw_picture *p, struct ebm_buf *text)
{
    static const char *const eighths[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double highest = 0.0;
    for (uint32_t i = 0; i < DRAW_COLUMNS; i++)
        highest = fmax(highest, p->density[i]);
    for (uint32_t row = DRAW_ROWS; row-- > 0;) {
        (void)ebm_buf_text(text, MARGIN);
        for (uint32_t i = 0; i < DRAW_COLUMNS; i++) {
            double height = highest > 0.0 ? p->density[i] / highest * DRAW_ROWS * 8.0 - row * 8.0 : 0.0;
            (void)ebm_buf_text(text, eighths[(int)fmin(fmax(round(height), 0.0), 8.0)]);
        }
        (void)ebm_buf_text(text, "\n");
    }
}

static void draw_ticks(const struct draw_picture *p, struct ebm_buf *text)
{
    double step = round_step(p->upper - p->lower);
    double first = step * ceil(p->lower / step - 1e-9);
    char labels[DRAW_COLUMNS + 24];
    bool is_tick[DRAW_COLUMNS] = {false};
    memset(labels, ' ', sizeof labels);
    int free_from = 0;
    for (uint32_t i = 0; i < TICKS_MAX && first + i * step <= p->upper + 1e-9 * step; i++) {
        char label[16];
        double value = first + i * step;
        int at = column_of(p, value),
            length = snprintf(label, sizeof label, "%.6g", fabs(value) < 1e-9 * step ? 0.0 : value);
        int from = at - length / 2 > 0 ? at - length / 2 : 0;
        is_tick[at] = true;
        if (from < free_from || length >= (int)sizeof label)
            continue;
        memcpy(labels + from, label, (size_t)length);
        free_from = from + length + 1;
    }
    (void)ebm_buf_text(text, MARGIN);
    for (uint32_t i = 0; i < DRAW_COLUMNS; i++)
        (void)ebm_buf_text(text, is_tick[i] ? "┬" : "─");
    int end = free_from > (int)DRAW_COLUMNS ? free_from - 1 : (int)DRAW_COLUMNS; /* the last label may stick out */
    (void)ebm_buf_printf(text, "\n" MARGIN "%.*s %s\n", end, labels, p->name);
}

static void draw_marks(const struct draw_picture *p, struct ebm_buf *text)
{
    char marks[DRAW_COLUMNS + 1];
    memset(marks, ' ', DRAW_COLUMNS);
    marks[DRAW_COLUMNS] = '\0';
    marks[column_of(p, p->low)] = '[';
    marks[column_of(p, p->high)] = ']';
    marks[column_of(p, p->median)] = '|';
    marks[column_of(p, p->mean)] = '^';
    (void)ebm_buf_printf(text, MARGIN "%s\n", marks);
    (void)ebm_buf_printf(text, MARGIN "^ mean %.4g   | median %.4g   [ ] 9 times out of 10 between %.4g and %.4g\n",
                         p->mean, p->median, p->low, p->high);
}

enum ebm_status draw_density(const struct draw_picture *picture, struct ebm_buf *text)
{
    EBM_ASSERT(picture->upper > picture->lower);
    draw_blocks(picture, text);
    draw_ticks(picture, text);
    draw_marks(picture, text);
    return text->status;
}
