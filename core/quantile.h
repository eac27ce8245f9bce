/* quantile.h - quantiles and distribution functions of Gaussian mixtures. Private to core. */
#ifndef EBM_CORE_QUANTILE_H
#define EBM_CORE_QUANTILE_H

#include "core/kernels.h"

/* ret (n_p), `stride` apart: for each probability the smallest y of coordinate d whose distribution function is >= p,
 * to 1e-12 of the mixture's spread, by bisection. */
void ebm_quantile_mixture(double *ret, size_t stride, const double *probabilities, uint32_t n_p,
                          const struct ebm_mixture *q, uint32_t d);

/* The distribution function of coordinate d at y. */
double ebm_mixture_cdf(const struct ebm_mixture *q, uint32_t d, double y);

/* CRPS of the mixture of D = 1 at y, on the line (support REAL): closed form, Grimit et al. 2006. */
double ebm_mixture_crps(const struct ebm_mixture *q, double y);

#endif
