/* quantile.c - weighted draws are sorted by radix (three passes of 11 bits over an order-preserving image of the float,
 * the weight carried along), then cumulated in double. A mixture's distribution function is monotone and cheap:
 * bisection needs no safeguards. */
#include "core/quantile.h"

#include <math.h>
#include <string.h>

#include "core/support.h"
#include "core/vecmath.h"

#define DIGIT_BITS 11
#define DIGITS (1u << DIGIT_BITS)
#define DIGIT_MASK (DIGITS - 1)
#define PASSES 3

/* Floats compare as their images do: negative ones are flipped, positive ones get the top bit. */
static uint32_t image(float value)
{
    uint32_t bits = vec_to_bits(value);
    return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
}

static float preimage(uint32_t bits)
{
    return vec_from_bits(bits ^ ((bits & 0x80000000u) ? 0x80000000u : 0xffffffffu));
}

static void count_digits(uint32_t counts[PASSES][DIGITS], const uint64_t *pairs, uint32_t n)
{
    memset(counts, 0, sizeof(uint32_t[PASSES][DIGITS]));
    for (uint32_t i = 0; i < n; i++)
        for (int pass = 0; pass < PASSES; pass++)
            counts[pass][(pairs[i] >> (32 + pass * DIGIT_BITS)) & DIGIT_MASK]++;
}

/* Sorts by the upper half of each pair; returns where the result lies. */
static const uint64_t *sort_pairs(struct ebm_sort_scratch scratch, uint32_t n)
{
    uint32_t counts[PASSES][DIGITS];
    uint64_t *from = scratch.pairs, *to = scratch.other;
    count_digits(counts, from, n);
    for (int pass = 0; pass < PASSES; pass++) {
        uint32_t at = 0;
        for (uint32_t digit = 0; digit < DIGITS; digit++) {
            uint32_t count = counts[pass][digit];
            counts[pass][digit] = at;
            at += count;
        }
        for (uint32_t i = 0; i < n; i++)
            to[counts[pass][(from[i] >> (32 + pass * DIGIT_BITS)) & DIGIT_MASK]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static double weight_of(uint64_t pair)
{
    return (double)vec_from_bits((uint32_t)pair);
}

void ebm_quantile_weighted(double *ret, size_t stride, const double *probabilities, uint32_t n_p, const float *y,
                           const float *w, uint32_t n, struct ebm_sort_scratch scratch)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (w[i] > 0.0f)
            scratch.pairs[kept++] = (uint64_t)image(y[i]) << 32 | vec_to_bits(w[i]);
    const uint64_t *sorted = sort_pairs(scratch, kept);
    double total = 0.0;
    for (uint32_t i = 0; i < kept; i++)
        total += weight_of(sorted[i]);
    for (uint32_t p = 0; p < n_p; p++) {
        double below = 0.0, wanted = probabilities[p] * total;
        uint32_t i = 0;
        while (i + 1 < kept && below + weight_of(sorted[i]) < wanted)
            below += weight_of(sorted[i++]);
        ret[p * stride] = (double)preimage((uint32_t)(sorted[i] >> 32));
    }
}

/* A component's mass below y (side -1) or above (side 1) within the support. */
static double confined_tail(const struct ebm_mixture *q, uint32_t d, uint32_t k, double y, double side)
{
    const struct ebm_support *support = &q->support[d];
    double mean = (double)q->mean[d * q->K + k], std = (double)q->std[d * q->K + k];
    if (support->kind == EBM_SUPPORT_PERIODIC)
        return side < 0.0 ? ebm_wrapped_share(support, mean, std, support->lower, y)
                          : ebm_wrapped_share(support, mean, std, y, support->upper);
    const struct ebm_confined *c = &q->confined[d * q->K + k];
    double z = (y - mean) / std;
    if (!c->is_far)
        return (side < 0.0 ? ebm_normal_between((support->lower - mean) / std, z)
                           : ebm_normal_between(z, (support->upper - mean) / std)) /
               c->mass;
    struct ebm_truncated t;
    ebm_truncated_init(&t, support, mean, std);
    double at = fmin(fmax((y - t.anchor) / std, t.from), t.to);
    return side < 0.0 ? ebm_truncated_share(&t, t.from, at) : ebm_truncated_share(&t, at, t.to);
}

/* The mass beyond y, below (side -1) or above (side 1), each without cancellation. The weights are floats: `total` is
 * what they sum to. */
static double mixture_tail(const struct ebm_mixture *q, uint32_t d, double y, double side, double total)
{
    double sum = 0.0;
    bool is_line = q->confined == NULL || q->support[d].kind == EBM_SUPPORT_REAL;
    for (uint32_t k = 0; k < q->K; k++) {
        double z = (y - (double)q->mean[d * q->K + k]) * (double)q->inv_std[d * q->K + k];
        sum += exp((double)q->log_weight[k]) *
               (is_line ? 0.5 * erfc(side * z * M_SQRT1_2) : confined_tail(q, d, k, y, side));
    }
    return sum / total;
}

static double mixture_quantile(const struct ebm_mixture *q, uint32_t d, double p, double low, double high, double total)
{
    bool is_upper = p > 0.5;
    for (int step = 0; step < 60; step++) {
        double middle = 0.5 * (low + high);
        bool is_below = is_upper ? mixture_tail(q, d, middle, 1.0, total) > 1.0 - p
                                 : mixture_tail(q, d, middle, -1.0, total) < p;
        if (is_below)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

void ebm_quantile_mixture(double *ret, size_t stride, const double *probabilities, uint32_t n_p,
                          const struct ebm_mixture *q, uint32_t d)
{
    double low = INFINITY, high = -INFINITY, total = 0.0;
    for (uint32_t k = 0; k < q->K; k++) { /* 40 standard deviations: beyond every double in (0, 1) */
        double mean = (double)q->mean[d * q->K + k], reach = 40.0 * (double)q->std[d * q->K + k];
        low = fmin(low, mean - reach);
        high = fmax(high, mean + reach);
        total += exp((double)q->log_weight[k]);
    }
    if (q->confined != NULL && q->support[d].kind != EBM_SUPPORT_REAL) {
        low = q->support[d].lower;
        high = q->support[d].upper;
    }
    for (uint32_t p = 0; p < n_p; p++)
        ret[p * stride] = mixture_quantile(q, d, probabilities[p], low, high, total);
}
