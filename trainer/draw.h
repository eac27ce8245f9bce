/* draw.h - a density as a picture of characters, for a terminal. */
#ifndef EBM_TRAINER_DRAW_H
#define EBM_TRAINER_DRAW_H

#include "core/buf.h"

#define DRAW_COLUMNS 64u
#define DRAW_ROWS 8u

struct draw_picture {
    const char *name;               /* of the target, below the axis */
    double lower, upper;            /* of the axis */
    const double *density;          /* (DRAW_COLUMNS) at the middles of the columns, >= 0 */
    double mean, low, median, high; /* marked; low, high: 5 % and 95 %, low > high over a seam */
};

/* A range for the axis that holds both numbers with some air, and ends at round ones. */
void draw_axis(double lowest, double highest, double *ret_lower, double *ret_upper);

/* Appends lines of text (UTF-8). */
enum ebm_status draw_density(const struct draw_picture *picture, struct ebm_buf *text);

#endif
