/* psis.c - smooths the largest weights.
 *
 *   w -> cutoff: the largest weight that is not of the tail -> excesses over it -> k, sigma -> their quantiles */
#include "core/psis.h"

#include <math.h>

#include "core/pareto.h"
#include "core/vecmath.h"

/* Shell's sort: tails are short. */
static void sort(uint64_t *pairs, uint32_t n)
{
    static const uint32_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1};
    for (uint32_t g = 0; g < EBM_COUNT_OF(gaps); g++) {
        for (uint32_t i = gaps[g]; i < n; i++) {
            uint64_t pair = pairs[i];
            uint32_t at = i;
            for (; at >= gaps[g] && pairs[at - gaps[g]] > pair; at -= gaps[g])
                pairs[at] = pairs[at - gaps[g]];
            pairs[at] = pair;
        }
    }
}

/* The quantile of probability p of a generalised Pareto distribution. */
static double pareto_quantile(double p, double k, double sigma)
{
    double e = -log1p(-p);
    return sigma * (fabs(k) < 0x1p-52 ? e : expm1(k * e) / k);
}

/* The weights above the cutoff by rank; none above the largest that there was. */
static void replace_tail(float *w, uint32_t n, float cutoff, double k, double sigma, uint64_t *tail)
{
    uint32_t n_tail = 0;
    for (uint32_t i = 0; i < n; i++)
        if (w[i] > cutoff)
            tail[n_tail++] = (uint64_t)vec_to_bits(w[i]) << 32 | i;
    sort(tail, n_tail);
    double largest = (double)vec_from_bits((uint32_t)(tail[n_tail - 1] >> 32));
    for (uint32_t i = 0; i < n_tail; i++)
        w[(uint32_t)tail[i]] = (float)fmin((double)cutoff + pareto_quantile((i + 0.5) / n_tail, k, sigma), largest);
}

uint32_t ebm_psis_tail(uint32_t n)
{
    return (uint32_t)ceil(fmin(n / 5.0, 3.0 * sqrt(n)));
}

double ebm_psis_shape(const struct ebm_kernels *kernels, uint32_t n, const float *tail, uint32_t n_tail, float cutoff,
                      double *ret_sigma)
{
    *ret_sigma = 0.0;
    if (n < EBM_PSIS_MIN_DRAWS || n_tail == 0)
        return (double)NAN;
    return n_tail < 5 ? (double)INFINITY : kernels->pareto_fit(tail, n_tail, cutoff, ret_sigma);
}

double ebm_psis(const struct ebm_kernels *kernels, float *w, uint32_t n, bool smooth, struct ebm_sort_scratch scratch)
{
    if (n < EBM_PSIS_MIN_DRAWS)
        return (double)NAN;
    float *tail = (float *)(void *)scratch.other, cutoff;
    uint32_t n_tail = kernels->tail(tail, w, n, ebm_psis_tail(n), &cutoff);
    double sigma, k = ebm_psis_shape(kernels, n, tail, n_tail, cutoff, &sigma);
    if (smooth && isfinite(k) && sigma > 0.0)
        replace_tail(w, n, cutoff, k, sigma, scratch.pairs);
    return k;
}
