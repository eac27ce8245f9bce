/* support.h - coordinates with bounds or a period: back into the support, truncated and wrapped normals. Pure; any
 * thread; double. In standardised units within core; models and trainer ask the functions of a support in the user's.
 *
 * A truncated normal is written around an anchor: its mean where that is inside, else the nearest bound. With t = (y -
 * anchor) / std and alpha = (anchor - mean) / std its density is exp(-(t^2 + 2 alpha t) / 2) / (std integral), numbers
 * of ordinary size however far outside the mean is. */
#ifndef EBM_CORE_SUPPORT_H
#define EBM_CORE_SUPPORT_H

#include "core/net_desc.h"

/* Inside, ends included? The line and a period hold every number. */
bool ebm_support_holds(const struct ebm_support *support, double y);

/* y moved into the support: reflected at bounds, wrapped into [lower, upper) by the period; the line leaves it. NaN
 * when y is not finite. */
double ebm_support_return(const struct ebm_support *support, double y);

/* The same for y (D, L), rows `stride` apart. Steps of a chain stay inside by it. */
void ebm_support_return_all(const struct ebm_support *support, uint32_t D, float *y, size_t stride, uint32_t L);

/* Some coordinate is no line. NULL: none. */
bool ebm_support_is_confined(const struct ebm_support *support, uint32_t D);

/* Mass of a standard normal between two numbers, by the side where erfc does not cancel. */
double ebm_normal_between(double from, double to);

struct ebm_truncated {
    double anchor, alpha, std;
    double from, to;      /* t at lower and upper */
    double integral;      /* of exp(-(t^2 + 2 alpha t) / 2) from `from` to `to` */
    double first, second; /* E t, E t^2 */
    double variance;      /* of t */
};

void ebm_truncated_init(struct ebm_truncated *ret, const struct ebm_support *support, double mean, double std);
/* The share of the mass between two t within [from, to]. */
double ebm_truncated_share(const struct ebm_truncated *truncated, double from, double to);
/* The t >= 0 below which a share u in (0, 1) of the mass within the bounds lies, for a mean far outside: alpha >= 35,
 * of the mass beyond the anchor `share` is within. Relative error 1e-6. */
double ebm_truncated_far(double alpha, double share, double u);

/* Images on each side of the nearest that a wrapped normal needs, for a relative error of its density below 1e-7: 1 up
 * to std = 0.23 periods, 3 up to 0.5. 0: above that its first harmonic, 2 exp(-2 pi^2 std^2 / period^2) cos, suffices.
 */
uint32_t ebm_wrapped_images(double period, double std);
double ebm_wrapped_harmonic(double period, double std); /* exp(-2 pi^2 std^2 / period^2) */
/* Mass of a wrapped normal between two y within one period of the support. */
double ebm_wrapped_share(const struct ebm_support *support, double mean, double std, double from, double to);

#endif
