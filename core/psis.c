/* psis.c - the tail by a radix selection of the weight below it, a fit, and where asked the fit's quantiles.
 *
 *   w -> cutoff: the largest weight that is not of the tail -> excesses over it, ascending -> k, sigma
 *
 * Sums of logarithms are logarithms of products: a fit takes 4000 factors at 1024 draws, and 100 logarithms. */
#include "core/psis.h"

#include <math.h>
#include <string.h>

#include "core/vecmath.h"

#define PRIOR_SCALE 3.0  /* Zhang and Stephens' prior: in quartiles of the excesses */
#define PRIOR_COUNT 10.0 /* observations of shape 1/2 that the prior on k stands for */
#define PRIOR_SHAPE 0.5
#define MOST_FACTORS 64u          /* of a product: none is below 1e-3, so that it stays a normal number */
#define MAX_TAIL (3u * 256u + 1u) /* 3 sqrt(LIMIT_SAMPLES), rounded up */
#define MAX_GRID (30u + 28u)      /* 30 + sqrt(MAX_TAIL) */

#define DIGIT_BITS 8
#define DIGITS (1u << DIGIT_BITS)

/* The weight with exactly `above` before it in descending order, as bits: of positive floats these order alike. Digit
 * by digit; `left` (n) holds those that may still be it. */
static uint32_t select_bits(const float *w, uint32_t n, uint32_t above, uint32_t *left)
{
    uint32_t found = 0;
    memcpy(left, w, n * sizeof *left);
    for (int shift = 32 - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        uint32_t counts[DIGITS] = {0}, digit = DIGITS - 1, kept = 0;
        for (uint32_t i = 0; i < n; i++)
            counts[left[i] >> shift & (DIGITS - 1)]++;
        for (; counts[digit] <= above; digit--)
            above -= counts[digit];
        found |= digit << shift;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t bits = left[i];
            left[kept] = bits;
            kept += (bits >> shift & (DIGITS - 1)) == digit;
        }
        n = kept;
    }
    return found;
}

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

/* So many factors 1 - b x that their product is finite, whichever they are; b[0] makes the largest. */
static uint32_t factors_of(double b, double largest_x)
{
    double most = 700.0 / log(fmax(1.0 - b * largest_x, 2.0));
    return most < MOST_FACTORS ? (uint32_t)most : MOST_FACTORS;
}

/* means (n_b): for each b the mean over x (n), ascending, of log(1 - b x), every factor > 0 */
static void mean_logs(double *means, const double *b, uint32_t n_b, const double *x, uint32_t n)
{
    double product[MAX_GRID];
    uint32_t factors = factors_of(b[0], x[n - 1]);
    memset(means, 0, n_b * sizeof *means);
    for (uint32_t i = 0; i < n; i += factors) {
        uint32_t end = n - i < factors ? n : i + factors;
        for (uint32_t j = 0; j < n_b; j++)
            product[j] = 1.0;
        for (uint32_t f = i; f < end; f++)
            for (uint32_t j = 0; j < n_b; j++)
                product[j] *= 1.0 - b[j] * x[f];
        for (uint32_t j = 0; j < n_b; j++)
            means[j] += log(product[j]);
    }
    for (uint32_t j = 0; j < n_b; j++)
        means[j] /= n;
}

/* Zhang and Stephens: the posterior mean of b = -k / sigma over a grid, weighted by the profile likelihood. x (n) > 0,
 * ascending. */
static double fit(const double *x, uint32_t n, double *ret_sigma)
{
    double b[MAX_GRID] = {0}, k[MAX_GRID], fitness[MAX_GRID], best = -INFINITY, sum = 0.0, mean_b = 0.0, shape;
    uint32_t grid = 30 + (uint32_t)sqrt(n), quartile = (uint32_t)(n / 4.0 + 0.5) - 1;
    for (uint32_t j = 0; j < grid; j++)
        b[j] = 1.0 / x[n - 1] + (1.0 - sqrt(grid / (j + 0.5))) / (PRIOR_SCALE * x[quartile]);
    mean_logs(k, b, grid, x, n);
    for (uint32_t j = 0; j < grid; j++) {
        fitness[j] = n * (log(-b[j] / k[j]) - k[j] - 1.0);
        best = fmax(best, fitness[j]);
    }
    for (uint32_t j = 0; j < grid; j++) {
        double weight = exp(fitness[j] - best);
        sum += weight;
        mean_b += weight * b[j];
    }
    mean_b /= sum;
    mean_logs(&shape, &mean_b, 1, x, n);
    *ret_sigma = -shape / mean_b;
    return (n * shape + PRIOR_COUNT * PRIOR_SHAPE) / (n + PRIOR_COUNT);
}

/* The quantile of probability p of a generalised Pareto distribution. */
static double pareto_quantile(double p, double k, double sigma)
{
    double e = -log1p(-p);
    return sigma * (fabs(k) < 0x1p-52 ? e : expm1(k * e) / k);
}

/* The tail's weights by rank; never above the largest, which the tail's last pair holds. */
static void replace_tail(float *w, const uint64_t *tail, uint32_t n, double cutoff, double k, double sigma)
{
    double largest = (double)vec_from_bits((uint32_t)(tail[n - 1] >> 32));
    for (uint32_t i = 0; i < n; i++)
        w[(uint32_t)tail[i]] = (float)fmin(cutoff + pareto_quantile((i + 0.5) / n, k, sigma), largest);
}

double ebm_psis(float *w, uint32_t n, bool smooth, struct ebm_sort_scratch scratch)
{
    if (n < EBM_PSIS_MIN_DRAWS)
        return (double)NAN;
    uint32_t cutoff_bits = select_bits(w, n, (uint32_t)ceil(fmin(n / 5.0, 3.0 * sqrt(n))),
                                       (uint32_t *)(void *)scratch.other),
             n_tail = 0;
    for (uint32_t i = 0; i < n; i++)
        if (vec_to_bits(w[i]) > cutoff_bits)
            scratch.pairs[n_tail++] = (uint64_t)vec_to_bits(w[i]) << 32 | i;
    if (n_tail < 5)
        return n_tail == 0 ? (double)NAN : (double)INFINITY;
    sort(scratch.pairs, n_tail);
    double cutoff = (double)vec_from_bits(cutoff_bits), excess[MAX_TAIL], sigma;
    for (uint32_t i = 0; i < n_tail; i++)
        excess[i] = (double)vec_from_bits((uint32_t)(scratch.pairs[i] >> 32)) - cutoff;
    double k = fit(excess, n_tail, &sigma);
    if (smooth && isfinite(k) && sigma > 0.0)
        replace_tail(w, scratch.pairs, n_tail, cutoff, k, sigma);
    return k;
}
