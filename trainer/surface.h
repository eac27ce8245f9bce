/* surface.h - p(y|x) of one input and one target over a rectangle: what a picture of a model is made of. */
#ifndef EBM_TRAINER_SURFACE_H
#define EBM_TRAINER_SURFACE_H

#include "trainer/score.h"

#define SURFACE_QUANTILES 3u /* 5, 50 and 95 % */

/* n_x columns and n_y rows of cells; a cell's value belongs to its middle. User's units. */
struct surface {
    double x_lower, x_upper, y_lower, y_upper;
    uint32_t n_x, n_y; /* contexts need max_samples of max(n_y, samples) */
    float *density;    /* (n_x, n_y) */
    double *quantiles; /* (n_x, SURFACE_QUANTILES) */
};

/* Allocates and computes by the estimator of score.h; a cell without a finite density is 0. The caller has set the
 * bounds and the counts. DEVICE when the device refuses. */
enum ebm_status surface_make(struct surface *surface, struct pool *pool, const struct score_spec *spec) EBM_MUST_USE;
void surface_done(struct surface *surface); /* zeroed is fine */

/* The middle of column i, of row j. */
double surface_x(const struct surface *surface, uint32_t i);
double surface_y(const struct surface *surface, uint32_t j);

#endif
