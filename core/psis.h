/* psis.h - Pareto smoothed importance sampling (Vehtari, Simpson, Gelman, Yao, Gabry: arXiv 1507.02646, version 7 and
 * later; as ArviZ computes it). Private to core.
 *
 * A generalised Pareto distribution is fitted to the largest of n weights, min(n / 5, 3 sqrt(n)) of them, by the
 * estimate of Zhang and Stephens (2009) with the paper's prior of ten observations of shape 1/2. Its shape k says how
 * heavy the tail is: the estimates of n draws get unreliable above min(1 - 1 / log10(n), 0.7). */
#ifndef EBM_CORE_PSIS_H
#define EBM_CORE_PSIS_H

#include "core/kernels.h"
#include "core/weighted.h"

#define EBM_PSIS_MIN_DRAWS 25u

/* The shape of the tail of w (n), finite and >= 0. NaN with fewer than EBM_PSIS_MIN_DRAWS or when no weight is above
 * the rest, infinite when fewer than five are. With `smooth` the weights of the tail become the quantiles of the fit,
 * in their order, at most as large as the largest was; when there is no fit they stay. */
double ebm_psis(const struct ebm_kernels *kernels, float *w, uint32_t n, bool smooth, struct ebm_sort_scratch scratch);

/* How many weights of n the tail has at most, and its shape from those above the cutoff (kernels->tail). ret_sigma: 0
 * where there is no fit. */
uint32_t ebm_psis_tail(uint32_t n);
double ebm_psis_shape(const struct ebm_kernels *kernels, uint32_t n, const float *tail, uint32_t n_tail, float cutoff,
                      double *ret_sigma);

#endif
