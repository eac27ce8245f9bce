/* page_charts.c - a card a chart: what it is, the drawing, and the same numbers as a table for who prefers or needs
 * one.
 *
 * Bands are where chance alone leaves 95 of 100 points of a calibrated model, each point taken by itself. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/order.h"
#include "trainer/html.h"
#include "trainer/page.h"
#include "trainer/plot.h"

#define WIDTH 420u
#define HEIGHT 290u
#define USUAL 1.96         /* standard errors of a band */
#define DRAWN_EPOCHS 400u  /* points of a line */
#define TOLD_EPOCHS 24u    /* rows of its table */
#define OPENING_SHARE 0.04 /* of the values may lie above the frame: the first epochs of a run */

static void open_card(struct ebm_buf *html, const char *title, const char *says)
{
    (void)ebm_buf_printf(html, "<figure class=\"card\"><figcaption><h3>%s</h3><p>%s</p></figcaption>\n", title, says);
}

/* The head of a card's table; columns separated by '|'. */
static void open_table(struct ebm_buf *html, const char *columns)
{
    (void)ebm_buf_text(html, "<details><summary>As a table</summary><div class=\"scroll\"><table><thead><tr><th>");
    for (const char *at = columns; *at != '\0'; at++)
        (void)(*at == '|' ? ebm_buf_text(html, "</th><th>") : ebm_buf_append(html, at, 1));
    (void)ebm_buf_text(html, "</th></tr></thead><tbody>\n");
}

static void close_card(struct ebm_buf *html)
{
    (void)ebm_buf_text(html, "</tbody></table></div></details></figure>\n");
}

/* ---- calibration ---- */

void page_calibration(const struct evaluation *e, uint32_t d, struct ebm_buf *html)
{
    const struct figures_target *t = &e->figures->targets[d];
    double level[FIGURES_LEVELS + 2], low[FIGURES_LEVELS + 2], high[FIGURES_LEVELS + 2], found[FIGURES_LEVELS + 2];
    char id[32];
    (void)snprintf(id, sizeof id, "calibration-%u", d);
    for (uint32_t i = 0; i < FIGURES_LEVELS + 2; i++) {
        level[i] = i / (FIGURES_LEVELS + 1.0);
        double error = USUAL * figures_share_error(level[i], e->figures->n);
        low[i] = fmax(level[i] - error, 0.0);
        high[i] = fmin(level[i] + error, 1.0);
        found[i] = i == 0 ? 0.0 : i > FIGURES_LEVELS ? 1.0 : t->curve[i - 1];
    }
    struct plot plot = {.buf = html,
                        .width = WIDTH,
                        .height = HEIGHT,
                        .x_upper = 1.0,
                        .y_upper = 1.0,
                        .id = id,
                        .title = "Calibration curve",
                        .describe = "Share of the rows whose target lies within the interval of each level, "
                                    "against the level. A calibrated model follows the diagonal.",
                        .x_name = "level of the interval",
                        .y_name = "targets within it",
                        .x_percent = true,
                        .y_percent = true};
    open_card(html, "Calibration: do intervals hold what they promise?",
              "Of the intervals of 90 %, nine in ten should hold the target. On the dashed line they do; below it the "
              "model is too sure, above it too unsure. Grey: what chance alone does.");
    plot_begin(&plot);
    plot_band(&plot, "band", level, low, high, FIGURES_LEVELS + 2);
    plot_line(&plot, "expect", level, level, FIGURES_LEVELS + 2);
    plot_line(&plot, "line", level, found, FIGURES_LEVELS + 2);
    plot_dots(&plot, "dot", level + 1, found + 1, FIGURES_LEVELS);
    plot_end(&plot);
    open_table(html, "level|within|grey band &#177;");
    for (uint32_t i = 1; i <= FIGURES_LEVELS; i++)
        (void)ebm_buf_printf(html, "<tr><td>%.0f %%</td><td>%.1f %%</td><td>%.1f %%</td></tr>\n", 100.0 * level[i],
                             100.0 * found[i], 100.0 * USUAL * figures_share_error(level[i], e->figures->n));
    close_card(html);
}

/* ---- PIT ---- */

void page_pit(const struct evaluation *e, uint32_t d, struct ebm_buf *html)
{
    const struct figures_target *t = &e->figures->targets[d];
    double expected = 1.0 / FIGURES_BINS, error = USUAL * figures_share_error(expected, e->figures->n);
    double ends[2] = {0.0, 1.0}, low[2], high[2], one[2] = {1.0, 1.0}, most = 1.0;
    char id[32], hint[96];
    (void)snprintf(id, sizeof id, "pit-%u", d);
    low[0] = low[1] = fmax(1.0 - error / expected, 0.0);
    high[0] = high[1] = 1.0 + error / expected;
    for (uint32_t i = 0; i < FIGURES_BINS; i++)
        most = fmax(most, (double)t->bins[i] / e->figures->n / expected);
    struct plot plot = {.buf = html,
                        .width = WIDTH,
                        .height = HEIGHT,
                        .x_upper = 1.0,
                        .id = id,
                        .title = "PIT histogram",
                        .describe = "How often the target falls into each twentieth of its predicted distribution, in "
                                    "multiples of the expected number. A calibrated model has bars of height 1.",
                        .x_name = "place in the predicted distribution (PIT)",
                        .y_name = "rows, 1 as expected"};
    plot_range(0.0, fmax(most, high[0]) * 1.02, &plot.y_lower, &plot.y_upper);
    open_card(html, "PIT: where in its distribution does the target fall?",
              "Flat is right: 19 of 20 bars in the grey band. High at both ends: too sure. High in the middle: too "
              "unsure. A slope: predictions are off to one side.");
    plot_begin(&plot);
    plot_band(&plot, "band", ends, low, high, 2);
    for (uint32_t i = 0; i < FIGURES_BINS; i++) {
        (void)snprintf(hint, sizeof hint, "%g to %g: %u rows, %.1f expected", i * expected, (i + 1) * expected,
                       t->bins[i], expected * e->figures->n);
        plot_bar(&plot, "bar", i * expected + 0.003, 0.0, (i + 1) * expected - 0.003,
                 (double)t->bins[i] / e->figures->n / expected, hint);
    }
    plot_line(&plot, "expect", ends, one, 2);
    plot_end(&plot);
    open_table(html, "PIT|rows|expected");
    for (uint32_t i = 0; i < FIGURES_BINS; i++)
        (void)ebm_buf_printf(html, "<tr><td>%.2f to %.2f</td><td>%u</td><td>%.1f</td></tr>\n", i * expected,
                             (i + 1) * expected, t->bins[i], expected * e->figures->n);
    close_card(html);
}

/* ---- spread ---- */

void page_spread(const struct evaluation *e, uint32_t d, struct ebm_buf *html)
{
    const struct figures_target *t = &e->figures->targets[d];
    double std[FIGURES_GROUPS], rmse[FIGURES_GROUPS], most = 0.0, ends[2], lower;
    char id[32];
    if (t->n_groups == 0)
        return;
    (void)snprintf(id, sizeof id, "spread-%u", d);
    for (uint32_t g = 0; g < t->n_groups; g++) {
        std[g] = t->groups[g].std;
        rmse[g] = t->groups[g].rmse;
        most = fmax(most, fmax(std[g], rmse[g]));
    }
    struct plot plot = {.buf = html,
                        .width = WIDTH,
                        .height = HEIGHT,
                        .id = id,
                        .title = "Error against predicted spread",
                        .describe = "Root mean square error of the predicted mean against the predicted standard "
                                    "deviation, in ten groups of rows. On the diagonal both agree.",
                        .x_name = "predicted standard deviation",
                        .y_name = "RMSE of these rows"};
    plot_range(0.0, most * 1.05, &lower, &plot.x_upper);
    plot.y_upper = plot.x_upper;
    ends[0] = 0.0;
    ends[1] = plot.x_upper;
    open_card(html, "Spread: does it know when it does not know?",
              "A tenth of the rows a dot, by their predicted spread. On the dashed line the error is what the spread "
              "announced. Dots far apart: the model tells easy rows from hard ones.");
    plot_begin(&plot);
    plot_line(&plot, "expect", ends, ends, 2);
    plot_line(&plot, "line", std, rmse, t->n_groups);
    plot_dots(&plot, "dot", std, rmse, t->n_groups);
    plot_end(&plot);
    open_table(html, "rows|predicted std|RMSE");
    for (uint32_t g = 0; g < t->n_groups; g++) {
        char space[2][HTML_NUMBER_BYTES];
        (void)ebm_buf_printf(html, "<tr><td>%u</td><td>%s</td><td>%s</td></tr>\n", t->groups[g].n_rows,
                             html_format(std[g], space[0]), html_format(rmse[g], space[1]));
    }
    close_card(html);
}

/* ---- sharpness ---- */

#define LINE_PIXELS 14.0 /* of a text */

/* Names left of both lines' first points, moved apart where they would cover each other. */
static void put_two_labels(const struct plot *plot, double own, double model)
{
    double middle = 0.5 * (own + model), gap = plot_y(plot, model) - plot_y(plot, own);
    double half = 0.5 * LINE_PIXELS * (plot->y_upper - plot->y_lower) /
                  (plot_y(plot, plot->y_lower) - plot_y(plot, plot->y_upper));
    double side = own >= model ? 1.0 : -1.0;
    if (fabs(gap) < LINE_PIXELS) {
        own = middle + side * half;
        model = middle - side * half;
    }
    plot_label(plot, score_levels[0] - 0.015, own, "end", "no inputs");
    plot_label(plot, score_levels[0] - 0.015, model, "end", "model");
}

void page_sharpness(const struct evaluation *e, uint32_t d, struct ebm_buf *html)
{
    const struct figures_target *t = &e->figures->targets[d];
    char id[32], space[2][HTML_NUMBER_BYTES];
    double most = 0.0;
    (void)snprintf(id, sizeof id, "sharpness-%u", d);
    for (uint32_t i = 0; i < SCORE_LEVELS; i++)
        most = fmax(most, fmax(t->mean_width[i], t->own_width[i]));
    struct plot plot = {.buf = html,
                        .width = WIDTH,
                        .height = 220,
                        .x_lower = 0.3,
                        .x_upper = 1.0,
                        .id = id,
                        .title = "Width of the intervals",
                        .describe = "Mean width of the intervals against their level, and the width that would be "
                                    "needed without the inputs. The table below has the numbers.",
                        .x_name = "level of the interval",
                        .y_name = "mean width",
                        .x_percent = true};
    plot_range(0.0, fmax(most, 1e-9) * 1.1, &plot.y_lower, &plot.y_upper);
    open_card(html, "Sharpness: how narrow are the intervals?",
              "The lower the blue line, the more the inputs tell. Without them one would need the orange one: the "
              "middle of these rows' own targets.");
    plot_begin(&plot);
    plot_line(&plot, "line other", score_levels, t->own_width, SCORE_LEVELS);
    plot_dots(&plot, "dot other", score_levels, t->own_width, SCORE_LEVELS);
    plot_line(&plot, "line", score_levels, t->mean_width, SCORE_LEVELS);
    plot_dots(&plot, "dot", score_levels, t->mean_width, SCORE_LEVELS);
    put_two_labels(&plot, t->own_width[0], t->mean_width[0]);
    plot_end(&plot);
    (void)ebm_buf_text(html, "<div class=\"scroll\"><table><thead><tr><th>interval</th><th>holds</th><th>by chance "
                             "&#177;</th><th>mean width</th><th>without inputs</th></tr></thead><tbody>\n");
    for (uint32_t i = 0; i < SCORE_LEVELS; i++)
        (void)ebm_buf_printf(html, "<tr><td>%.0f %%</td><td>%.1f %%</td><td>%.1f %%</td><td>%s</td><td>%s</td></tr>\n",
                             100.0 * score_levels[i], 100.0 * t->coverage[i],
                             100.0 * figures_share_error(score_levels[i], e->figures->n),
                             html_format(t->mean_width[i], space[0]), html_format(t->own_width[i], space[1]));
    (void)ebm_buf_printf(html,
                         "</tbody></table></div><p class=\"sub\">Mean predicted standard deviation %s.</p></figure>\n",
                         html_format(t->mean_std, space[0]));
}

/* ---- training ---- */

/* A line over the epochs, thinned out. */
struct line {
    double epoch[DRAWN_EPOCHS + 1], value[DRAWN_EPOCHS + 1];
    uint32_t n;
    double best, best_epoch;
};

/* Every so manyth epoch of the method's own phase, and the last one. A warm-up has another loss. */
static void make_line(const struct progress_point *points, uint32_t n, bool of_validation, struct line *line)
{
    uint32_t step = (n + DRAWN_EPOCHS - 1) / DRAWN_EPOCHS;
    *line = (struct line){.best = INFINITY};
    for (uint32_t i = 0; i < n; i++) {
        double value = of_validation ? points[i].validation_nll : points[i].loss;
        bool is_drawn = (i % step == 0 || i + 1 == n) && line->n <= DRAWN_EPOCHS;
        if (points[i].is_warm_up || !isfinite(value))
            continue;
        if (value < line->best) {
            line->best = value;
            line->best_epoch = points[i].epoch;
        }
        if (!is_drawn)
            continue;
        line->epoch[line->n] = points[i].epoch;
        line->value[line->n++] = value;
    }
}

/* The frame: all values but the highest few, which belong to the first epochs. */
static void frame(const struct line *line, struct plot *plot)
{
    double sorted[DRAWN_EPOCHS + 1];
    for (uint32_t i = 0; i < line->n; i++)
        sorted[i] = line->value[i];
    qsort(sorted, line->n, sizeof *sorted, ebm_order_doubles);
    uint32_t top = line->n - 1 - (uint32_t)(OPENING_SHARE * line->n);
    plot_range(fmin(line->best, sorted[0]), sorted[top], &plot->y_lower, &plot->y_upper);
    plot->x_lower = line->epoch[0];
    plot->x_upper = line->epoch[line->n - 1];
}

static void put_line_table(const struct line *line, const char *columns, struct ebm_buf *html)
{
    uint32_t step = (line->n + TOLD_EPOCHS - 1) / TOLD_EPOCHS;
    open_table(html, columns);
    for (uint32_t i = 0; i < line->n; i++)
        if (i % step == 0 || i + 1 == line->n)
            (void)ebm_buf_printf(html, "<tr><td>%.0f</td><td>%.4f</td></tr>\n", line->epoch[i], line->value[i]);
    close_card(html);
}

static void put_history(const struct line *line, bool of_validation, struct ebm_buf *html)
{
    struct plot plot = {.buf = html,
                        .width = WIDTH,
                        .height = HEIGHT,
                        .id = of_validation ? "validation" : "loss",
                        .title = of_validation ? "Validation NLL over the epochs" : "Training loss over the epochs",
                        .describe = "The table below has the numbers.",
                        .x_name = "epoch",
                        .y_name = of_validation ? "validation NLL" : "loss"};
    frame(line, &plot);
    if (of_validation)
        open_card(html, "Validation NLL",
                  "On rows held out while training; the marked epoch is the one that was kept. A rise after it: "
                  "the later epochs learned the training rows by heart.");
    else
        open_card(html, "Training loss",
                  "What was minimised. It may contain the mean of log Z and drift without harm: judge by the NLL.");
    plot_begin(&plot);
    plot_line(&plot, "line", line->epoch, line->value, line->n);
    if (of_validation)
        plot_dots(&plot, "dot best", &line->best_epoch, &line->best, 1);
    plot_end(&plot);
    put_line_table(line, of_validation ? "epoch|validation NLL" : "epoch|loss", html);
}

void page_history(const struct progress_point *points, uint32_t n, struct ebm_buf *html)
{
    struct line loss, validation;
    make_line(points, n, false, &loss);
    make_line(points, n, true, &validation);
    if (loss.n < 2)
        return;
    (void)ebm_buf_text(html, "<h2>How it was trained</h2>\n<div class=\"cards\">\n");
    if (validation.n >= 2)
        put_history(&validation, true, html);
    put_history(&loss, false, html);
    (void)ebm_buf_text(html, "</div>\n");
}
