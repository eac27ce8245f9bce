/* test_weighted.c - weighted samples: quantiles, distribution function and regions against plain sorting, the CRPS
 * against closed forms. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/order.h"
#include "core/rng.h"
#include "core/weighted.h"

enum { MOST = 100000 };

static uint64_t pairs[MOST], other[MOST];
static double sums[2 * MOST];
static const struct ebm_sort_scratch scratch = {pairs, other, sums};

static double gaussian(double z)
{
    double density = exp(-0.5 * z * z) / sqrt(2.0 * M_PI), below = 0.5 * erfc(-z / sqrt(2.0));
    return z * (2.0 * below - 1.0) + 2.0 * density - 1.0 / sqrt(M_PI);
}

static double normal(uint32_t row, uint32_t m)
{
    uint32_t words[4];
    ebm_philox(8, row, m, EBM_STREAM_GENERATE, 0, words);
    return ebm_normal(words[0]);
}

static double crps(const float *y, const float *w, uint32_t n, double at)
{
    struct ebm_weighted draws = ebm_weighted_sort(y, w, n, scratch);
    return ebm_weighted_crps(&draws, at);
}

Test(weighted, quantile_is_the_smallest_y_that_reaches_p)
{
    enum { N = 1000 };
    float y[N], w[N], sorted[N];
    static const double p[] = {0.001, 0.05, 0.25, 0.5, 0.9, 0.999};
    for (uint32_t i = 0; i < N; i++) {
        y[i] = (float)normal(41, i);
        w[i] = 1.0f;
    }
    y[10] = -0.0f, y[11] = 0.0f, y[12] = -1e-40f;
    memcpy(sorted, y, sizeof sorted);
    qsort(sorted, N, sizeof *sorted, ebm_order_floats);
    struct ebm_weighted draws = ebm_weighted_sort(y, w, N, scratch);
    for (size_t i = 0; i < EBM_COUNT_OF(p); i++) {
        double got = ebm_weighted_quantile(&draws, p[i]);
        cr_assert_eq((float)got, sorted[(size_t)ceil(p[i] * N - 1e-9) - 1], "p %g: %g", p[i], got);
        cr_assert_geq(ebm_weighted_cdf(&draws, got), p[i]);
        cr_assert_lt(ebm_weighted_cdf(&draws, got - 1e-6), p[i]);
    }
    memset(w, 0, sizeof w); /* all the weight on one draw */
    w[123] = 1e-30f;
    draws = ebm_weighted_sort(y, w, N, scratch);
    for (size_t i = 0; i < EBM_COUNT_OF(p); i++)
        cr_assert_eq((float)ebm_weighted_quantile(&draws, p[i]), y[123]);
    cr_assert_eq(ebm_weighted_cdf(&draws, (double)y[123] - 1e-3), 0.0);
    cr_assert_eq(ebm_weighted_cdf(&draws, (double)y[123]), 1.0);
}

Test(weighted, crps_by_hand)
{
    const float one_y[] = {3}, one_w[] = {7}, two_y[] = {1, 0}, two_w[] = {2, 2}, three_y[] = {5, 1, 2, 100},
                three_w[] = {1, 2, 1, 0};
    cr_assert_float_eq(crps(one_y, one_w, 1, 5.0), 2.0, 1e-15);
    cr_assert_float_eq(crps(two_y, two_w, 2, 0.0), 0.0, 1e-15, "0.5 - 0.25 / 0.5");
    /* off: 0.25 3 + 0.5 1 + 0.25 0; pairs: 0.125 4 + 0.0625 3 + 0.125 1; divisor 1 - 0.375 */
    cr_assert_float_eq(crps(three_y, three_w, 4, 2.0), 1.25 - 0.8125 / 0.625, 1e-15);
}

Test(weighted, draws_of_a_gaussian_have_its_crps)
{
    float *y = calloc(MOST, sizeof *y), *w = calloc(MOST, sizeof *w);
    for (uint32_t m = 0; m < MOST; m++) {
        y[m] = (float)(7.0 + 3.0 * normal(0, m));
        w[m] = 1.0f;
    }
    for (double z = -2.5; z <= 3.0; z += 0.75) {
        double got = crps(y, w, MOST, 7.0 + 3.0 * z), expected = 3.0 * gaussian(z);
        cr_assert_float_eq(got, expected, 0.02, "z %g: %.5f, expected %.5f", z, got, expected);
    }
    for (uint32_t m = 0; m < MOST; m++) { /* and of a wider one, weighted */
        double wide = 2.0 * normal(1, m);
        y[m] = (float)wide;
        w[m] = (float)exp(-0.5 * wide * wide + 0.125 * wide * wide);
    }
    double got = crps(y, w, MOST, 0.4);
    cr_assert_float_eq(got, gaussian(0.4), 0.005, "%.5f, expected %.5f", got, gaussian(0.4));
    free(y), free(w);
}

/* Two draws are enough, on average. */
Test(weighted, few_draws_are_not_biased)
{
    enum { TIMES = 200000 };
    double sum = 0.0;
    for (uint32_t i = 0; i < TIMES; i++) {
        const float y[] = {(float)normal(i, 0), (float)normal(i, 1)}, w[] = {1, 1};
        sum += crps(y, w, 2, 0.8);
    }
    cr_assert_float_eq(sum / TIMES, gaussian(0.8), 0.006, "%.5f, expected %.5f", sum / TIMES, gaussian(0.8));
}

Test(weighted, a_region_is_where_f_is_high)
{
    enum { N = 20000 };
    float *y = calloc(N, sizeof *y), *w = calloc(N, sizeof *w), *f = calloc(N, sizeof *f);
    double ends[8];
    bool meets[2];
    for (uint32_t m = 0; m < N; m++) { /* two Gaussians, at -3 and 3 */
        y[m] = (float)(normal(2, m) + (m % 2 == 0 ? -3.0 : 3.0));
        w[m] = 0.5f;
        f[m] = (float)log(exp(-0.5 * (y[m] + 3.0) * (y[m] + 3.0)) + exp(-0.5 * (y[m] - 3.0) * (y[m] - 3.0)));
    }
    cr_assert_eq(ebm_weighted_region(y, w, f, N, 0.8, ends, 4, scratch, meets), 2);
    double reach = 1.2816; /* 80 % of each */
    const double expected[] = {-3.0 - reach, -3.0 + reach, 3.0 - reach, 3.0 + reach};
    for (int i = 0; i < 4; i++)
        cr_assert_float_eq(ends[i], expected[i], 0.05, "end %d: %g, expected %g", i, ends[i], expected[i]);
    cr_assert_eq(ebm_weighted_region(y, w, f, N, 0.8, ends, 1, scratch, meets), 1, "joined when there is no room");
    cr_assert_float_eq(ends[1], 3.0 + reach, 0.05);
    free(y), free(w), free(f);
}
