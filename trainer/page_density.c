/* page_density.c - p(y|x) over x as areas of equal density: every cell of the surface belongs to one of LEVELS shades,
 * and cells of one shade are one path, made of upright runs. That draws 28,000 cells in some tens of kilobytes.
 *
 * The shade grows with the square root of the density, up to the density that 3 in 1000 cells surpass: spikes of a few
 * cells would leave everything else pale. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/order.h"
#include "models/target.h"
#include "trainer/html.h"
#include "trainer/page.h"
#include "trainer/plot.h"

#define LEVELS 12u
#define DRAWN_ROWS 1200u
#define TOLD_COLUMNS 9u
#define TOP_SHARE 0.997

/* The density of the darkest shade; 0: no memory, or no density anywhere. */
static double darkest(const struct surface *s)
{
    size_t n = (size_t)s->n_x * s->n_y;
    EBM_AUTO(ebm_freep) float *sorted = calloc(n, sizeof *sorted);
    if (sorted == NULL)
        return 0.0;
    for (size_t i = 0; i < n; i++)
        sorted[i] = s->density[i];
    qsort(sorted, n, sizeof *sorted, ebm_order_floats);
    double top = (double)sorted[(size_t)(TOP_SHARE * (double)(n - 1))];
    return top > 0.0 ? top : (double)sorted[n - 1];
}

static uint32_t level_of(const struct surface *s, uint32_t i, uint32_t j, double top)
{
    double shade = sqrt((double)s->density[(size_t)i * s->n_y + j] / top) * LEVELS;
    return shade >= LEVELS ? LEVELS : (uint32_t)shade;
}

static void put_level(const struct plot *p, const struct surface *s, uint32_t level, double top)
{
    double width = (s->x_upper - s->x_lower) / s->n_x, height = (s->y_upper - s->y_lower) / s->n_y;
    double cell = plot_x(p, s->x_lower + width) - plot_x(p, s->x_lower);
    (void)ebm_buf_printf(p->buf, "<path class=\"cell\" fill-opacity=\"%.2f\" d=\"",
                         0.06 + 0.94 * (level - 1.0) / (LEVELS - 1.0));
    for (uint32_t i = 0; i < s->n_x; i++)
        for (uint32_t j = 0, end; j < s->n_y; j = end) {
            end = j + 1;
            if (level_of(s, i, j, top) != level)
                continue;
            while (end < s->n_y && level_of(s, i, end, top) == level)
                end++;
            (void)ebm_buf_printf(p->buf, "M%.1f %.1fh%.1fV%.1fh-%.1fz", plot_x(p, s->x_lower + i * width),
                                 plot_y(p, s->y_lower + j * height), cell + 0.05, plot_y(p, s->y_lower + end * height),
                                 cell + 0.05);
        }
    (void)ebm_buf_text(p->buf, "\"/>\n");
}

/* Rows evenly out of all of them. */
static void put_rows(const struct plot *p, const struct dataset *data)
{
    uint32_t n = data->n_rows < DRAWN_ROWS ? data->n_rows : DRAWN_ROWS;
    EBM_AUTO(ebm_freep) double *x = calloc(n, sizeof *x);
    EBM_AUTO(ebm_freep) double *y = calloc(n, sizeof *y);
    for (uint32_t i = 0; x != NULL && y != NULL && i < n; i++) {
        size_t row = (size_t)((uint64_t)i * data->n_rows / n);
        x[i] = data->x[row];
        y[i] = data->y[row];
    }
    if (x != NULL && y != NULL)
        plot_dots(p, "dot row", x, y, n);
}

/* A line of angles goes on at the other edge where it runs over the seam. */
static void put_line(const struct plot *p, const char *class, const double *x, const double *y, uint32_t n,
                     double period)
{
    for (uint32_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && (period == 0.0 || fabs(y[end] - y[end - 1]) <= 0.5 * period); end++)
            ;
        plot_line(p, class, x + first, y + first, end - first);
    }
}

static void put_quantiles(const struct plot *p, const struct surface *s, double period)
{
    static const char *const classes[SURFACE_QUANTILES] = {"line thin dash", "line thin", "line thin dash"};
    EBM_AUTO(ebm_freep) double *x = calloc(s->n_x, sizeof *x);
    EBM_AUTO(ebm_freep) double *y = calloc(s->n_x, sizeof *y);
    for (uint32_t q = 0; x != NULL && y != NULL && q < SURFACE_QUANTILES; q++) {
        for (uint32_t i = 0; i < s->n_x; i++) {
            x[i] = surface_x(s, i);
            y[i] = s->quantiles[i * SURFACE_QUANTILES + q];
        }
        put_line(p, classes[q], x, y, s->n_x, period);
    }
}

static void put_keys(const struct evaluation *e, double top, struct ebm_buf *html)
{
    char space[HTML_NUMBER_BYTES];
    uint32_t n = e->data->n_rows;
    (void)ebm_buf_text(html, "<ul class=\"keys\"><li><svg viewBox=\"0 0 96 12\" aria-hidden=\"true\">");
    for (uint32_t i = 0; i < LEVELS; i++)
        (void)ebm_buf_printf(html, "<rect class=\"cell\" x=\"%u\" width=\"8\" height=\"12\" fill-opacity=\"%.2f\"/>",
                             8 * i, 0.06 + 0.94 * i / (LEVELS - 1.0));
    (void)ebm_buf_printf(html, "</svg>density, from near 0 to %s and more</li>", html_format(top, space));
    (void)ebm_buf_text(html, "<li><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><path class=\"dot row\" "
                             "style=\"stroke-width:6\" d=\"M6 6h0\"/></svg>");
    if (n > DRAWN_ROWS)
        (void)ebm_buf_printf(html, "%u of the %u rows</li>", DRAWN_ROWS, n);
    else
        (void)ebm_buf_printf(html, "the %u rows</li>", n);
    (void)ebm_buf_text(html, "<li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\"><path class=\"line thin\" d=\"M1 "
                             "6h26\"/></svg>predicted median</li><li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\">"
                             "<path class=\"line thin dash\" d=\"M1 6h26\"/></svg>9 of 10 lie between</li></ul>\n");
}

static void put_table(const struct evaluation *e, struct ebm_buf *html)
{
    const struct surface *s = e->surface;
    (void)ebm_buf_text(html, "<details><summary>As a table</summary><div class=\"scroll\"><table><thead><tr><th>at</th>"
                             "<th>5 %</th><th>median</th><th>95 %</th></tr></thead><tbody>\n");
    for (uint32_t k = 0; k < TOLD_COLUMNS; k++) {
        uint32_t i = k * (s->n_x - 1) / (TOLD_COLUMNS - 1);
        (void)ebm_buf_text(html, "<tr><td>");
        (void)html_number(html, surface_x(s, i));
        for (uint32_t q = 0; q < SURFACE_QUANTILES; q++) {
            (void)ebm_buf_text(html, "</td><td>");
            (void)html_number(html, s->quantiles[i * SURFACE_QUANTILES + q]);
        }
        (void)ebm_buf_text(html, "</td></tr>\n");
    }
    (void)ebm_buf_text(html, "</tbody></table></div></details>");
}

void page_density(const struct evaluation *e, struct ebm_buf *html)
{
    const struct surface *s = e->surface;
    double top = darkest(s);
    char y_name[EVALUATION_NAME_BYTES], x_name[EVALUATION_NAME_BYTES];
    char *const *inputs = e->config->input.names != NULL ? e->config->input.names : e->data->input_names;
    struct plot plot = {.buf = html,
                        .width = 760,
                        .height = 400,
                        .x_lower = s->x_lower,
                        .x_upper = s->x_upper,
                        .y_lower = s->y_lower,
                        .y_upper = s->y_upper,
                        .id = "density",
                        .title = "Predicted density over the input",
                        .describe = "Shades of the predicted density of the target at each input, the rows as "
                                    "dots, the predicted median and the range that holds 9 of 10 targets as "
                                    "lines. The table below has the lines' numbers.",
                        .x_name = inputs != NULL ? html_clean(inputs[0], x_name, sizeof x_name) : "input",
                        .y_name = evaluation_name(e, 0, y_name)};
    if (top <= 0.0)
        return;
    (void)ebm_buf_text(html, "<h2>What the model says</h2>\n<figure class=\"card wide\"><figcaption><p>The predicted "
                             "distribution of the target at every input, and the rows it was judged on. Where the dots "
                             "are, the colour should be strong.</p></figcaption>\n");
    plot_begin(&plot);
    for (uint32_t level = 1; level <= LEVELS; level++)
        put_level(&plot, s, level, top);
    put_rows(&plot, e->data);
    put_quantiles(&plot, s, ebm_target_period(&e->config->target, 0));
    plot_end(&plot);
    put_keys(e, top, html);
    put_table(e, html);
    (void)ebm_buf_text(html, "</figure>\n");
}
