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

#define LEAST_LEFT 50.0
#define RIGHT 14.0
#define TICKS_MAX 16u
#define TICK_BYTES 32u
#define WIDE 560u       /* drawings from here on are those of .wide in page_style.c */
#define CHARACTER 0.62  /* width of a digit, of the font's size: the widest of usual fonts */
#define BESIDE_TICK 7.0 /* between a label and its line */

/* The largest that page_style.c makes of it: a wide drawing shrinks most on a phone, so its letters are larger there.
 */
static double font_of(const struct plot *p)
{
    return p->width >= WIDE ? 20.0 : 14.0;
}

/* Above the frame one line of text, below it two. */
static double top_of(const struct plot *p)
{
    return font_of(p) + 12.0;
}

static double bottom_of(const struct plot *p)
{
    return p->height - 2.0 * font_of(p) - 12.0;
}

double plot_x(const struct plot *p, double x)
{
    return p->left + (p->width - p->left - RIGHT) * (x - p->x_lower) / (p->x_upper - p->x_lower);
}

double plot_y(const struct plot *p, double y)
{
    return bottom_of(p) - (bottom_of(p) - top_of(p)) * (y - p->y_lower) / (p->y_upper - p->y_lower);
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

/* Round numbers in a range. */
struct ticks {
    double first, step;
    uint32_t n;
};

static struct ticks ticks_of(double lower, double upper)
{
    struct ticks ticks = {.step = round_step(upper - lower)};
    ticks.first = ticks.step * ceil(lower / ticks.step - 1e-9);
    while (ticks.n < TICKS_MAX && ticks.first + ticks.n * ticks.step <= upper + 1e-9 * ticks.step)
        ticks.n++;
    return ticks;
}

static double tick_at(const struct ticks *ticks, uint32_t i)
{
    double value = ticks->first + i * ticks->step;
    return fabs(value) < 1e-9 * ticks->step ? 0.0 : value;
}

/* Returns its width. */
static double tick_text(const struct plot *p, double value, bool percent, char text[TICK_BYTES])
{
    int n = percent ? snprintf(text, TICK_BYTES, "%.0f %%", 100.0 * value) : snprintf(text, TICK_BYTES, "%.6g", value);
    return n * CHARACTER * font_of(p);
}

/* The widest label beside the frame stays within the drawing. */
static double left_of(const struct plot *p)
{
    const struct ticks ticks = ticks_of(p->y_lower, p->y_upper);
    double widest = 0.0;
    char text[TICK_BYTES];
    for (uint32_t i = 0; i < ticks.n; i++)
        widest = fmax(widest, tick_text(p, tick_at(&ticks, i), p->y_percent, text));
    return fmax(LEAST_LEFT, widest + BESIDE_TICK);
}

static const char *odd(uint32_t i)
{
    return i % 2 == 1 ? " odd" : "";
}

static void put_y_ticks(const struct plot *p)
{
    const struct ticks ticks = ticks_of(p->y_lower, p->y_upper);
    char text[TICK_BYTES];
    for (uint32_t i = 0; i < ticks.n; i++) {
        double value = tick_at(&ticks, i), y = plot_y(p, value);
        (void)tick_text(p, value, p->y_percent, text);
        (void)ebm_buf_printf(p->buf,
                             "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>"
                             "<text class=\"tick%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                             p->left, y, p->width - RIGHT, odd(i), p->left - BESIDE_TICK, y + 4.0, text);
    }
}

/* The last one ends where the drawing does. */
static void put_x_ticks(const struct plot *p)
{
    const struct ticks ticks = ticks_of(p->x_lower, p->x_upper);
    char text[TICK_BYTES];
    for (uint32_t i = 0; i < ticks.n; i++) {
        double value = tick_at(&ticks, i), x = plot_x(p, value), width = tick_text(p, value, p->x_percent, text);
        bool is_last = x + 0.5 * width > p->width;
        (void)ebm_buf_printf(p->buf, "<text class=\"tick%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>",
                             odd(i), is_last ? p->width : x, bottom_of(p) + font_of(p) + 2.0,
                             is_last ? "end" : "middle", text);
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

void plot_begin(struct plot *p)
{
    EBM_ASSERT(p->x_upper > p->x_lower && p->y_upper > p->y_lower);
    p->left = left_of(p);
    (void)ebm_buf_printf(p->buf,
                         "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 %u %u\" "
                         "aria-labelledby=\"%s-title %s-text\">\n<title id=\"%s-title\">",
                         p->width, p->height, p->id, p->id, p->id);
    (void)html_text(p->buf, p->title, 200);
    (void)ebm_buf_printf(p->buf, "</title><desc id=\"%s-text\">", p->id);
    (void)html_text(p->buf, p->describe, 1000);
    (void)ebm_buf_text(p->buf, "</desc>\n");
    put_y_ticks(p);
    put_x_ticks(p);
    (void)ebm_buf_printf(p->buf, "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>", p->left, bottom_of(p),
                         p->width - RIGHT);
    put_names(p);
    (void)ebm_buf_printf(p->buf,
                         "\n<clipPath id=\"%s-clip\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
                         "</clipPath><g clip-path=\"url(#%s-clip)\">\n",
                         p->id, p->left - 1.0, top_of(p) - 5.0, p->width - p->left - RIGHT + 6.0,
                         bottom_of(p) - top_of(p) + 6.0, p->id);
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
