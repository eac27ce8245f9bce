/* test_psis.c - the shape of the weights' tail and smoothed weights: ArviZ's values; exponential weights of a known
 * shape; what has no tail. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/psis.h"
#include "core/rng.h"
#include "tests/unit/psis_values.h"

#define MOST 1024u

static double psis(float *w, uint32_t n, bool smooth)
{
    static uint64_t pairs[MOST], other[MOST];
    cr_assert_leq(n, MOST);
    return ebm_psis(ebm_kernels_cpu(), w, n, smooth, (struct ebm_sort_scratch){pairs, other, NULL});
}

Test(psis, shape_and_smoothed_weights_are_those_of_arviz)
{
    for (uint32_t c = 0; c < EBM_COUNT_OF(psis_cases); c++) {
        float w[MOST];
        uint32_t n = psis_cases[c].n;
        double sum = 0.0, worst = 0.0;
        for (uint32_t i = 0; i < n; i++)
            w[i] = (float)psis_cases[c].w[i];
        double k = psis(w, n, true);
        for (uint32_t i = 0; i < n; i++)
            sum += (double)w[i];
        for (uint32_t i = 0; i < n; i++)
            if (psis_cases[c].smoothed != NULL && w[i] > 0.0f)
                worst = fmax(worst, fabs(log((double)w[i] / sum) - psis_cases[c].smoothed[i]));
        cr_log_info("%s: k %.8f, ArviZ %.8f; log weights differ by %.1e\n", psis_cases[c].name, k, psis_cases[c].k,
                    worst);
        cr_assert(isinf(k) ? isinf(psis_cases[c].k) : fabs(k - psis_cases[c].k) < 1e-8, "%s", psis_cases[c].name);
        cr_assert_lt(worst, 3e-7, "%s", psis_cases[c].name); /* the weights are floats */
    }
}

/* Weights u^-k have a tail of shape k; the prior draws towards 1/2. */
Test(psis, pareto_weights_have_their_shape)
{
    static const double shapes[] = {0.2, 0.5, 0.8, 1.2};
    for (uint32_t s = 0; s < EBM_COUNT_OF(shapes); s++) {
        double mean = 0.0;
        for (uint32_t seed = 0; seed < 50; seed++) {
            float w[MOST];
            for (uint32_t i = 0; i < MOST; i++) {
                uint32_t words[4];
                ebm_philox(seed, s, i, EBM_STREAM_DRAWS, 0, words);
                w[i] = (float)(1e-6 * pow(ebm_uniform(words[0]), -shapes[s]));
            }
            mean += psis(w, MOST, false) / 50.0;
        }
        cr_log_info("shape %.1f: mean of 50 estimates %.3f\n", shapes[s], mean);
        cr_assert_float_eq(mean, shapes[s], 0.12);
    }
}

Test(psis, without_smoothing_weights_stay)
{
    float w[100], before[100];
    for (uint32_t i = 0; i < 100; i++)
        before[i] = w[i] = (float)psis_cases[0].w[i];
    (void)psis(w, 100, false);
    cr_assert_eq(memcmp(w, before, sizeof w), 0);
    (void)psis(w, 100, true);
    cr_assert_neq(memcmp(w, before, sizeof w), 0);
}

Test(psis, weights_without_a_tail)
{
    float w[64];
    for (uint32_t i = 0; i < 64; i++)
        w[i] = 1.0f;
    cr_assert(isnan(psis(w, 64, true)), "equal weights");
    cr_assert(isnan(psis(w, 24, true)), "24 draws");
    for (uint32_t i = 1; i < 64; i++)
        w[i] = 0.0f;
    cr_assert_eq(psis(w, 64, true), INFINITY, "all the weight on one draw");
    cr_assert_eq(w[0], 1.0f);
}
