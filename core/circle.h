/* circle.h - coordinates with a period: what a mean, a spread and a distribution function are on a circle. Private to
 * core and to whoever scores draws. Pure; any thread; double.
 *
 *   resultant   E exp(i angle), angle = 2 pi (y - lower) / period, of length R in [0, 1]
 *   mean        its direction (Mardia & Jupp 2000), in [lower, upper)
 *   variance    (period / 2 pi)^2 times -2 log R: that of a wrapped normal is the sigma^2 that was wrapped. R counts as
 *               2^-53 at least, so that the standard deviation is at most 1.37 periods
 *   cut         the place opposite the mean: distribution functions start there, upwards, and quantiles lie between it
 *               and its next turn. Neither moves with the seam of the support */
#ifndef EBM_CORE_CIRCLE_H
#define EBM_CORE_CIRCLE_H

#include "core/net_desc.h"
#include "core/scalar.h"

/* All NaN when the resultant is. */
struct ebm_circular {
    double mean, variance, cut; /* cut in [lower, upper) */
    double length;              /* R */
    double turn;                /* 2 pi / period */
};
struct ebm_circular ebm_circular_of(const struct ebm_support *support, double cosine, double sine);

/* The sine of y's angle from the mean: what covariances of an angle are made of. */
double ebm_circular_sine(const struct ebm_circular *circular, double y);
/* From the sine's mean product with another such number (or the distance of a coordinate of the line from its mean) to
 * a covariance: `variance` over `square`, the mean of the sine's square; 0 when that is 0. The correlation of sines
 * (Jammalamadaka & SenGupta 2001) then is the correlation, and the diagonal the variance. */
double ebm_circular_scale(const struct ebm_circular *circular, double square);

/* By the shorter way round: the signed distance from `from` to `to`, in [-period / 2, period / 2]. */
double ebm_circular_way(double from, double to, double period);

/* A density of one number on a circle, over the same density between the ends of its support: cdf, quantile and region
 * as above, the CRPS by the shorter way round (Grimit et al. 2006). Borrows the scalar and the support. */
struct ebm_circle {
    struct ebm_scalar scalar;
    const struct ebm_support *support;
    struct ebm_circular circular;
    double below; /* the scalar's distribution function at the cut */
};
/* has_cdf: questions beyond the summary will be asked, and the scalar is ready for them. */
void ebm_circle_bind(struct ebm_circle *circle, const struct ebm_scalar *scalar, const struct ebm_support *support,
                     bool has_cdf);

/* Over a struct ebm_circle. A region's interval that runs over the seam has lower > upper, and comes last. */
extern const struct ebm_scalar_ops ebm_circle_ops;

/* The ends of n ascending intervals, of which the first begins and the last ends at the seam, joined into one. Returns
 * their number. */
uint32_t ebm_circle_join(double *ends, uint32_t n);

#endif
