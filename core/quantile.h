/* quantile.h - quantiles of weighted draws and of Gaussian mixtures. Private to core. */
#ifndef EBM_CORE_QUANTILE_H
#define EBM_CORE_QUANTILE_H

#include "core/kernels.h"

/* Two arrays of n 64-bit words each. */
struct ebm_sort_scratch {
    uint64_t *pairs, *other;
};

/* ret (n_p), `stride` apart: for each probability the smallest y of y (n) whose cumulative weight is >= p of the whole.
 * w (n) >= 0, not normalised; some must be > 0. Draws of weight 0 are never an answer. */
void ebm_quantile_weighted(double *ret, size_t stride, const double *probabilities, uint32_t n_p, const float *y,
                           const float *w, uint32_t n, struct ebm_sort_scratch scratch);

/* The same of coordinate d of a mixture, to 1e-12 of its spread, by bisection on the distribution function. */
void ebm_quantile_mixture(double *ret, size_t stride, const double *probabilities, uint32_t n_p,
                          const struct ebm_mixture *q, uint32_t d);

#endif
