/* quantile.h - quantiles and distribution functions of Gaussian mixtures. Private to core. */
#ifndef EBM_CORE_QUANTILE_H
#define EBM_CORE_QUANTILE_H

#include "core/circle.h"
#include "core/kernels.h"

/* Has coordinate d a period? Its mean, spread and cut. */
bool ebm_mixture_is_periodic(const struct ebm_mixture *q, uint32_t d);
struct ebm_circular ebm_mixture_circular(const struct ebm_mixture *q, uint32_t d);

/* ret (n_p), `stride` apart: for each probability the smallest y of coordinate d whose distribution function is >= p,
 * to 1e-12 of the mixture's spread, by bisection. With a period going up from the cut, and back in [lower, upper). */
void ebm_quantile_mixture(double *ret, size_t stride, const double *probabilities, uint32_t n_p,
                          const struct ebm_mixture *q, uint32_t d);

/* The distribution function of coordinate d at y; with a period from the cut on. */
double ebm_mixture_cdf(const struct ebm_mixture *q, uint32_t d, double y);

/* CRPS of the mixture of D = 1 at y, on the line (support REAL): closed form, Grimit et al. 2006. */
double ebm_mixture_crps(const struct ebm_mixture *q, double y);

#endif
