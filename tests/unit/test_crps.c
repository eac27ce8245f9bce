/* test_crps.c - samples against closed forms. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "core/rng.h"
#include "trainer/crps.h"

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

Test(crps, by_hand)
{
    struct crps_draw one[] = {{3.0, 1.0}}, two[] = {{1.0, 0.5}, {0.0, 0.5}},
                     three[] = {{5.0, 0.25}, {1.0, 0.5}, {2.0, 0.25}};
    cr_assert_float_eq(crps_of_draws(one, 1, 5.0), 2.0, 1e-15);
    cr_assert_float_eq(crps_of_draws(two, 2, 0.0), 0.0, 1e-15, "0.5 - 0.25 / 0.5");
    /* off: 0.25 3 + 0.5 1 + 0.25 0; pairs: 0.125 4 + 0.0625 3 + 0.125 1; divisor 1 - 0.375 */
    cr_assert_float_eq(crps_of_draws(three, 3, 2.0), 1.25 - 0.8125 / 0.625, 1e-15);
}

Test(crps, all_weight_on_one_draw)
{
    struct crps_draw draws[] = {{1.0, 0.0}, {4.0, 1.0}, {9.0, 0.0}};
    cr_assert_float_eq(crps_of_draws(draws, 3, 1.0), 3.0, 1e-12);
}

Test(crps, draws_of_a_gaussian_have_its_closed_form)
{
    enum { DRAWS = 100000 };
    struct crps_draw *draws = calloc(DRAWS, sizeof *draws);
    for (double y = -2.5; y <= 3.0; y += 0.75) {
        for (uint32_t m = 0; m < DRAWS; m++)
            draws[m] = (struct crps_draw){7.0 + 3.0 * normal(0, m), 1.0 / DRAWS};
        double crps = crps_of_draws(draws, DRAWS, 7.0 + 3.0 * y), expected = 3.0 * gaussian(y);
        cr_assert_float_eq(crps, expected, 0.02, "z %g: %.5f, expected %.5f", y, crps, expected);
    }
    free(draws);
}

Test(crps, weighted_draws_of_another_gaussian_as_well)
{
    enum { DRAWS = 100000 };
    struct crps_draw *draws = calloc(DRAWS, sizeof *draws);
    double sum = 0.0;
    for (uint32_t m = 0; m < DRAWS; m++) {
        double wide = 2.0 * normal(1, m);
        draws[m] = (struct crps_draw){wide, exp(-0.5 * wide * wide + 0.125 * wide * wide)};
        sum += draws[m].weight;
    }
    for (uint32_t m = 0; m < DRAWS; m++)
        draws[m].weight /= sum;
    double crps = crps_of_draws(draws, DRAWS, 0.4);
    cr_assert_float_eq(crps, gaussian(0.4), 0.005, "%.5f, expected %.5f", crps, gaussian(0.4));
    free(draws);
}

/* Two draws are enough, on average. */
Test(crps, few_draws_are_not_biased)
{
    enum { TIMES = 200000 };
    double sum = 0.0;
    for (uint32_t i = 0; i < TIMES; i++) {
        struct crps_draw draws[] = {{normal(i, 0), 0.5}, {normal(i, 1), 0.5}};
        sum += crps_of_draws(draws, 2, 0.8);
    }
    cr_assert_float_eq(sum / TIMES, gaussian(0.8), 0.006, "%.5f, expected %.5f", sum / TIMES, gaussian(0.8));
}
