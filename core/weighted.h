/* weighted.h - what a weighted sample of one number says: quantiles, distribution function, CRPS, highest-density
 * region. Private to core and to whoever scores draws. */
#ifndef EBM_CORE_WEIGHTED_H
#define EBM_CORE_WEIGHTED_H

#include "core/base.h"

/* Arrays of n 64-bit words each; other and sums hold results until the next sort. */
struct ebm_sort_scratch {
    uint64_t *pairs, *other;
    double *sums; /* (2 n); only of ebm_weighted_sort */
};

/* Draws in ascending order; those of weight 0 are left out. Borrow: of the scratch. */
struct ebm_weighted {
    uint32_t n;
    const uint64_t *sorted; /* (n) value and weight */
    const double *weight;   /* (n) of draws up to this one */
    const double *moment;   /* (n) sum of weight times value, of the same */
    double pairs;           /* sum over i < j of w_i w_j (y_j - y_i), over the square of all weights */
    double squares;         /* sum of w_i^2, over the same */
};

/* y (n), w (n) >= 0, not normalised; some must be > 0. */
struct ebm_weighted ebm_weighted_sort(const float *y, const float *w, uint32_t n, struct ebm_sort_scratch scratch);

/* The smallest value whose cumulative weight is >= p of the whole. */
double ebm_weighted_quantile(const struct ebm_weighted *draws, double p);
/* The share of values <= y. */
double ebm_weighted_cdf(const struct ebm_weighted *draws, double y);
/* Continuous ranked probability score at y: E|Y - y| - E|Y - Y'| / 2, the smaller the better. */
double ebm_weighted_crps(const struct ebm_weighted *draws, double y);

/* The draws of highest f (n) that have `level` of the weight, as intervals (lower, upper) between neighbours of which
 * all belong to them: ret_ends (max, 2) ascending; where there are more, the smallest gaps are closed. Returns their
 * number; ret_meets: do the lowest and the highest draw with a weight belong to them? */
uint32_t ebm_weighted_region(const float *y, const float *w, const float *f, uint32_t n, double level, double *ret_ends,
                             uint32_t max, struct ebm_sort_scratch scratch, bool ret_meets[2]);

/* With a period, values in [lower, upper) of its support: circle.h. The smallest value, going up from the cut, whose
 * weight from there is >= p of the whole; the share of values from the cut up to y; the CRPS by the shorter way round.
 */
double ebm_weighted_cut_quantile(const struct ebm_weighted *draws, double p, double cut);
double ebm_weighted_cut_cdf(const struct ebm_weighted *draws, double y, double cut);
double ebm_weighted_circle_crps(const struct ebm_weighted *draws, double y, double period);

#endif
