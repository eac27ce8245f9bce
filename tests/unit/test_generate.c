/* test_generate.c - toy 1: the rows follow the density, the density is one. */
#include <criterion/criterion.h>
#include <math.h>

#include "trainer/generate.h"

static double integral(double x, double from, double to)
{
    double sum = 0.0;
    const int n = 60000;
    for (int i = 0; i < n; i++)
        sum += generate_toy1_density(x, from + (to - from) * (i + 0.5) / n);
    return sum * (to - from) / n;
}

Test(generate, the_density_integrates_to_one)
{
    const double at[] = {-2.9, -1.0, -0.01, 0.0, 0.5, 2.0};
    for (size_t i = 0; i < EBM_COUNT_OF(at); i++)
        cr_assert_float_eq(integral(at[i], -3.0, 6.0), 1.0, 1e-6, "x %g: %.9f", at[i], integral(at[i], -3.0, 6.0));
}

Test(generate, known_values_of_the_density)
{
    /* 0.8 N(0; 0, 0.075^2) near the likely mode; lognormal at its median */
    double left = generate_toy1_density(-M_PI / 2, -1.0), right = generate_toy1_density(1.0, 0.0);
    cr_assert_float_eq(left, 0.8 * 5.319230405352436, 1e-9, "%.12f", left);
    cr_assert_float_eq(right, 1.595769121605731, 1e-9, "%.12f", right);
    cr_assert_eq(generate_toy1_density(1.0, -1.5), 0.0);
}

Test(generate, rows_are_functions_of_seed_and_number)
{
    double x, y, again_x, again_y, other_x, other_y;
    generate_toy1(3, 5, &x, &y);
    generate_toy1(3, 5, &again_x, &again_y);
    generate_toy1(4, 5, &other_x, &other_y);
    cr_assert_eq(x, again_x);
    cr_assert_eq(y, again_y);
    cr_assert_neq(x, other_x);
}

/* Shares of rows in regions whose probability is known. */
Test(generate, rows_follow_the_density)
{
    const uint32_t n = 200000;
    uint32_t left = 0, upper_mode = 0, below_median = 0;
    double log_sum = 0.0;
    for (uint32_t row = 0; row < n; row++) {
        double x, y;
        generate_toy1(11, row, &x, &y);
        cr_assert(x > -3.0 && x < 3.0, "x %g", x);
        left += x < 0.0;
        upper_mode += x < -1.0 && x > -2.0 && y > 0.0; /* the unlikely mode, 20 % of a sixth */
        below_median += x >= 0.0 && y < 0.0;
        log_sum += log(generate_toy1_density(x, y));
    }
    cr_assert_float_eq(left / (double)n, 0.5, 0.006, "left half %g", left / (double)n);
    cr_assert_float_eq(upper_mode / (double)n, 0.2 / 6.0, 0.002, "unlikely mode %g", upper_mode / (double)n);
    cr_assert_float_eq(below_median / (double)n, 0.25, 0.005, "below the median %g", below_median / (double)n);
    cr_assert_float_eq(-log_sum / n, -0.326, 0.01, "mean NLL under the density %g", -log_sum / n);
}
