/* plot.c - the frame, and marks clipped to it:
 *
 *      y name
 *     |______________         labels left and below, a hairline at each round number
 *     |______________
 *     |______________
 *      0     1     2  x name */
#include "trainer/plot.h"

#include <math.h>
#include <stdio.h>

#include "trainer/html.h"

#define LEFT 50.0
#define RIGHT 14.0
#define TOP 26.0
#define BOTTOM 40.0
#define TICKS_MAX 16u

double plot_x(const struct plot *p, double x)
{
    return LEFT + (p->width - LEFT - RIGHT) * (x - p->x_lower) / (p->x_upper - p->x_lower);
}

double plot_y(const struct plot *p, double y)
{
    return p->height - BOTTOM - (p->height - TOP - BOTTOM) * (y - p->y_lower) / (p->y_upper - p->y_lower);
}

/* 1, 2 or 5 times a power of ten that divides `width` into about five. */
static double round_step(double width)
{
    double raw = width / 5.0, power = pow(10.0, floor(log10(raw))), ratio = raw / power;
    return power * (ratio < 1.5 ? 1.0 : ratio < 3.5 ? 2.0 : ratio < 7.5 ? 5.0 : 10.0);
}

void plot_range(double lowest, double highest, double *ret_lower, double *ret_upper)
{
    double width = highest - lowest;
    if (!(width > 1e-12 * fmax(fabs(lowest), fabs(highest)))) {
        width = fmax(fabs(lowest) * 0.1, 1e-6);
        lowest -= 0.5 * width;
        highest += 0.5 * width;
    }
    double half = 0.5 * round_step(width);
    *ret_lower = half * floor(lowest / half + 1e-9);
    *ret_upper = half * ceil(highest / half - 1e-9);
}

static void put_tick_text(const struct plot *p, double value, bool percent)
{
    if (percent)
        (void)ebm_buf_printf(p->buf, "%.0f %%</text>", 100.0 * value);
    else
        (void)ebm_buf_printf(p->buf, "%.6g</text>", value);
}

static void put_ticks(const struct plot *p, bool across)
{
    double lower = across ? p->x_lower : p->y_lower, upper = across ? p->x_upper : p->y_upper;
    double step = round_step(upper - lower), first = step * ceil(lower / step - 1e-9);
    for (uint32_t i = 0; i < TICKS_MAX && first + i * step <= upper + 1e-9 * step; i++) {
        double value = first + i * step;
        value = fabs(value) < 1e-9 * step ? 0.0 : value;
        double x = across ? plot_x(p, value) : LEFT, y = across ? p->height - BOTTOM : plot_y(p, value);
        const char *odd = i % 2 == 1 ? " odd" : "";
        if (across)
            (void)ebm_buf_printf(p->buf, "<text class=\"tick%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", odd, x,
                                 y + 16.0);
        else
            (void)ebm_buf_printf(p->buf,
                                 "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>"
                                 "<text class=\"tick%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">",
                                 x, y, p->width - RIGHT, odd, x - 7.0, y + 4.0);
        put_tick_text(p, value, across ? p->x_percent : p->y_percent);
    }
}

static void put_names(const struct plot *p)
{
    (void)ebm_buf_printf(p->buf, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", p->width - RIGHT,
                         p->height - 7.0);
    (void)html_text(p->buf, p->x_name, PLOT_TEXT_BYTES);
    (void)ebm_buf_text(p->buf, "</text><text class=\"name\" x=\"4\" y=\"13\">");
    (void)html_text(p->buf, p->y_name, PLOT_TEXT_BYTES);
    (void)ebm_buf_text(p->buf, "</text>");
}

void plot_begin(const struct plot *p)
{
    EBM_ASSERT(p->x_upper > p->x_lower && p->y_upper > p->y_lower);
    (void)ebm_buf_printf(p->buf,
                         "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 %u %u\" "
                         "aria-labelledby=\"%s-title %s-text\">\n<title id=\"%s-title\">",
                         p->width, p->height, p->id, p->id, p->id);
    (void)html_text(p->buf, p->title, 200);
    (void)ebm_buf_printf(p->buf, "</title><desc id=\"%s-text\">", p->id);
    (void)html_text(p->buf, p->describe, 1000);
    (void)ebm_buf_text(p->buf, "</desc>\n");
    put_ticks(p, false);
    put_ticks(p, true);
    (void)ebm_buf_printf(p->buf, "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>", LEFT, p->height - BOTTOM,
                         p->width - RIGHT);
    put_names(p);
    (void)ebm_buf_printf(p->buf,
                         "\n<clipPath id=\"%s-clip\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
                         "</clipPath><g clip-path=\"url(#%s-clip)\">\n",
                         p->id, LEFT - 1.0, TOP - 5.0, p->width - LEFT - RIGHT + 6.0, p->height - TOP - BOTTOM + 6.0,
                         p->id);
}

void plot_end(const struct plot *p)
{
    (void)ebm_buf_text(p->buf, "</g></svg>\n");
}

void plot_line(const struct plot *p, const char *class, const double *x, const double *y, uint32_t n)
{
    const char *pen = "M";
    (void)ebm_buf_printf(p->buf, "<path class=\"%s\" d=\"", class);
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i])) {
            pen = "M";
            continue;
        }
        (void)ebm_buf_printf(p->buf, "%s%.1f %.1f", pen, plot_x(p, x[i]), plot_y(p, y[i]));
        pen = "L";
    }
    (void)ebm_buf_text(p->buf, "\"/>\n");
}

void plot_dots(const struct plot *p, const char *class, const double *x, const double *y, uint32_t n)
{
    (void)ebm_buf_printf(p->buf, "<path class=\"%s\" d=\"", class);
    for (uint32_t i = 0; i < n; i++)
        if (isfinite(x[i]) && isfinite(y[i]))
            (void)ebm_buf_printf(p->buf, "M%.1f %.1fh0", plot_x(p, x[i]), plot_y(p, y[i]));
    (void)ebm_buf_text(p->buf, "\"/>\n");
}

void plot_bar(const struct plot *p, const char *class, double x0, double y0, double x1, double y1, const char *hint)
{
    double left = plot_x(p, x0), right = plot_x(p, x1), low = plot_y(p, y0), high = plot_y(p, y1);
    (void)ebm_buf_printf(p->buf, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"", class,
                         fmin(left, right), fmin(low, high), fabs(right - left), fabs(low - high));
    if (hint != NULL) {
        (void)ebm_buf_text(p->buf, "><title>");
        (void)html_text(p->buf, hint, 200);
        (void)ebm_buf_text(p->buf, "</title></rect>\n");
    } else
        (void)ebm_buf_text(p->buf, "/>\n");
}

void plot_band(const struct plot *p, const char *class, const double *x, const double *low, const double *high,
               uint32_t n)
{
    (void)ebm_buf_printf(p->buf, "<path class=\"%s\" d=\"", class);
    for (uint32_t i = 0; i < n; i++)
        (void)ebm_buf_printf(p->buf, "%s%.1f %.1f", i == 0 ? "M" : "L", plot_x(p, x[i]), plot_y(p, low[i]));
    for (uint32_t i = n; i-- > 0;)
        (void)ebm_buf_printf(p->buf, "L%.1f %.1f", plot_x(p, x[i]), plot_y(p, high[i]));
    (void)ebm_buf_text(p->buf, "Z\"/>\n");
}

void plot_label(const struct plot *p, double x, double y, const char *anchor, const char *text)
{
    (void)ebm_buf_printf(p->buf, "<text class=\"label\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", plot_x(p, x),
                         plot_y(p, y), anchor);
    (void)html_text(p->buf, text, PLOT_TEXT_BYTES);
    (void)ebm_buf_text(p->buf, "</text>\n");
}
