/* plot.h - charts as SVG inside of a page: a frame with round numbers on its axes, and marks in data's units.
 *
 * Colours and fonts are the page's (page_style.c) by class, so that one drawing serves light, dark and paper.
 * Everything outside of the frame is cut off. Texts are escaped here. */
#ifndef EBM_TRAINER_PLOT_H
#define EBM_TRAINER_PLOT_H

#include "core/buf.h"

#define PLOT_TEXT_BYTES 64u /* of a name in a chart: as many as a wide one has room for */

struct plot {
    struct ebm_buf *buf;
    uint32_t width, height; /* of the drawing */
    double x_lower, x_upper, y_lower, y_upper;
    const char *id;               /* unique in the page: [a-z0-9-] */
    const char *title, *describe; /* what it shows, and what it says, for who does not see it */
    const char *x_name, *y_name;
    bool x_percent, y_percent; /* shares: labels in per cent */
    double left;               /* of the frame, behind the labels; plot_begin sets it */
};

/* Opens the drawing: title and description, grid, axes. plot_end closes it. */
void plot_begin(struct plot *plot);
void plot_end(const struct plot *plot);

/* Data to drawing. */
double plot_x(const struct plot *plot, double x);
double plot_y(const struct plot *plot, double y);

/* A line through n points; a point that is not finite breaks it. */
void plot_line(const struct plot *plot, const char *class, const double *x, const double *y, uint32_t n);
/* Round marks. */
void plot_dots(const struct plot *plot, const char *class, const double *x, const double *y, uint32_t n);
/* A bar between two corners, with a text for the pointer (NULL: none). */
void plot_bar(const struct plot *plot, const char *class, double x0, double y0, double x1, double y1, const char *hint);
/* The area between two lines over the same x. */
void plot_band(const struct plot *plot, const char *class, const double *x, const double *low, const double *high,
               uint32_t n);
/* A text beside a point; anchor: "start", "middle" or "end". */
void plot_label(const struct plot *plot, double x, double y, const char *anchor, const char *text);

/* Numbers of an axis that holds lowest .. highest: half round steps around them. */
void plot_range(double lowest, double highest, double *ret_lower, double *ret_upper);

#endif
