/* weighted.c - draws are sorted by radix (three passes of 11 bits over an order-preserving image of the float, the
 * weight or the place carried along), then cumulated in double.
 *
 * CRPS = E|Y - y| - E|Y - Y'| / 2 with Y, Y' independent draws of p (Gneiting & Raftery 2007), from a sample:
 *
 *   sum_i w_i |y_i - y|  -  sum_{i<j} w_i w_j |y_i - y_j| / (1 - sum_i w_i^2)
 *
 * The divisor leaves out the pairs of a draw with itself: with equal weights the estimate is unbiased for any number of
 * draws. In order of y both sums are differences of cumulated ones. */
#include "core/weighted.h"

#include <math.h>
#include <string.h>

#include "core/region.h"
#include "core/vecmath.h"
#include "core/weighted_internal.h"

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

static double value_of(uint64_t pair)
{
    return (double)preimage((uint32_t)(pair >> 32));
}

static double weight_of(uint64_t pair)
{
    return (double)vec_from_bits((uint32_t)pair);
}

struct ebm_weighted ebm_weighted_sort(const float *y, const float *w, uint32_t n, struct ebm_sort_scratch scratch)
{
    double *weight = scratch.sums, *moment = scratch.sums + n, below = 0.0, sum = 0.0, pairs = 0.0, squares = 0.0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (w[i] > 0.0f)
            scratch.pairs[kept++] = (uint64_t)image(y[i]) << 32 | vec_to_bits(w[i]);
    const uint64_t *sorted = sort_pairs(scratch, kept);
    for (uint32_t i = 0; i < kept; i++) {
        double value = value_of(sorted[i]), own = weight_of(sorted[i]);
        pairs += own * (value * below - sum);
        squares += own * own;
        weight[i] = below += own;
        moment[i] = sum += own * value;
    }
    return (struct ebm_weighted){kept, sorted, weight, moment, pairs / (below * below), squares / (below * below)};
}

double ebm_weighted_value(const struct ebm_weighted *draws, uint32_t i)
{
    return value_of(draws->sorted[i]);
}

uint32_t ebm_weighted_reach(const struct ebm_weighted *draws, double wanted)
{
    uint32_t low = 0, high = draws->n - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (draws->weight[middle] >= wanted)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint32_t ebm_weighted_count_up_to(const struct ebm_weighted *draws, double y)
{
    uint32_t low = 0, high = draws->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (value_of(draws->sorted[middle]) <= y)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

double ebm_weighted_quantile(const struct ebm_weighted *draws, double p)
{
    return value_of(draws->sorted[ebm_weighted_reach(draws, p * draws->weight[draws->n - 1])]);
}

double ebm_weighted_cdf(const struct ebm_weighted *draws, double y)
{
    uint32_t n = ebm_weighted_count_up_to(draws, y);
    return n > 0 ? draws->weight[n - 1] / draws->weight[draws->n - 1] : 0.0;
}

double ebm_weighted_crps(const struct ebm_weighted *draws, double y)
{
    uint32_t n = ebm_weighted_count_up_to(draws, y), last = draws->n - 1;
    double below = n > 0 ? draws->weight[n - 1] : 0.0, sum = n > 0 ? draws->moment[n - 1] : 0.0;
    double all = draws->weight[last];
    double off = (y * below - sum) + ((draws->moment[last] - sum) - y * (all - below));
    double pairs = 1.0 - draws->squares > EBM_WEIGHTED_LEAST_PAIRS ? draws->pairs / (1.0 - draws->squares) : 0.0;
    return off / all - pairs;
}

/* The highest image of f such that the draws at or above it have the wanted weight. */
static uint32_t level_of(const float *w, const float *f, uint32_t n, double wanted)
{
    uint32_t level = 0;
    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
        double above = 0.0;
        for (uint32_t i = 0; i < n; i++)
            above += image(f[i]) >= (level | bit) ? (double)w[i] : 0.0;
        if (above >= wanted)
            level |= bit;
    }
    return level;
}

uint32_t ebm_weighted_region(const float *y, const float *w, const float *f, uint32_t n, double level, double *ret_ends,
                             uint32_t max, struct ebm_sort_scratch scratch, bool ret_meets[2])
{
    struct ebm_region region = {.ends = ret_ends, .max = max};
    double total = 0.0, lower = 0.0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        total += (double)w[i];
        if (w[i] > 0.0f)
            scratch.pairs[kept++] = (uint64_t)image(y[i]) << 32 | i;
    }
    const uint64_t *sorted = sort_pairs(scratch, kept);
    uint32_t least = level_of(w, f, n, level * total);
    bool was_inside = false;
    for (uint32_t i = 0; i <= kept; i++) {
        bool is_inside = i < kept && image(f[(uint32_t)sorted[i]]) >= least;
        if (is_inside && !was_inside)
            lower = value_of(sorted[i]);
        if (!is_inside && was_inside)
            ebm_region_add(&region, lower, value_of(sorted[i - 1]));
        was_inside = is_inside;
    }
    ret_meets[0] = image(f[(uint32_t)sorted[0]]) >= least;
    ret_meets[1] = image(f[(uint32_t)sorted[kept - 1]]) >= least;
    return region.n;
}
