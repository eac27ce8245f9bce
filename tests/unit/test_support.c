/* test_support.c - truncated and wrapped normals against long double sums, from boxes as narrow as a millionth of the
 * standard deviation to means a hundred of them outside; the way back into a support. */
#include <criterion/criterion.h>
#include <math.h>

#include "core/support.h"

static struct ebm_support box(double lower, double upper)
{
    return (struct ebm_support){EBM_SUPPORT_BOUNDED, lower, upper};
}

static struct ebm_support period(double lower, double upper)
{
    return (struct ebm_support){EBM_SUPPORT_PERIODIC, lower, upper};
}

/* Mass, mean and variance of exp(-(z^2 - reference^2) / 2) over [a, b] by Simpson's rule in long double. */
static void truth(long double a, long double b, long double reference, long double *ret_mass, long double *ret_mean,
                  long double *ret_variance)
{
    enum { N = 20000 };
    long double depth = fminl(fabsl(a), fabsl(b)), reach = a * b < 0.0L ? 12.0L : 120.0L / (depth + sqrtl(120.0L));
    long double low = a > 0.0L ? a : fmaxl(a, a * b < 0.0L ? -reach : b - reach);
    long double high = a > 0.0L ? fminl(b, a + reach) : fminl(b, a * b < 0.0L ? reach : b);
    long double origin = reference, sum[3] = {0.0L};
    for (int i = 0; i <= N; i++) {
        long double z = low + (high - low) * i / N, t = z - origin;
        long double w = (i == 0 || i == N ? 1.0L : i % 2 ? 4.0L : 2.0L) * (high - low) / N / 3.0L;
        long double mass = w * expl(-0.5L * t * (t + 2.0L * origin));
        sum[0] += mass;
        sum[1] += mass * t;
        sum[2] += mass * t * t;
    }
    *ret_mass = sum[0];
    *ret_mean = sum[1] / sum[0];
    *ret_variance = sum[2] / sum[0] - *ret_mean * *ret_mean;
}

static const double normals[][2] = {{0.3, 0.2},  {0.0, 1.0},   {1.0, 0.05}, {-0.5, 0.3}, {1.7, 0.1},  {-3.0, 0.1},
                                    {11.0, 0.1}, {0.5, 300.0}, {40.0, 5e3}, {-9e4, 9e2}, {0.4, 1e-4}, {-4e3, 9e4}};

Test(support, truncated_normals_are_those_of_long_double)
{
    const struct ebm_support unit = box(0.0, 1.0);
    for (size_t i = 0; i < EBM_COUNT_OF(normals); i++) {
        double mean = normals[i][0], std = normals[i][1];
        long double a = (0.0L - (long double)mean) / (long double)std,
                    b = (1.0L - (long double)mean) / (long double)std;
        long double reference = a > 0.0L ? a : b < 0.0L ? b : 0.0L, mass, first, variance;
        struct ebm_truncated t;
        truth(a, b, reference, &mass, &first, &variance);
        ebm_truncated_init(&t, &unit, mean, std);
        cr_assert_float_eq(t.integral / (double)mass, 1.0, 1e-9, "mean %g std %g: %.12g, not %.12Lg", mean, std,
                           t.integral, mass);
        cr_assert_float_eq(t.first, (double)first, 1e-9 * fabs((double)first) + 1e-15, "mean %g std %g: %.12g %.12Lg",
                           mean, std, t.first, first);
        cr_assert_float_eq(t.variance / (double)variance, 1.0, 1e-7, "mean %g std %g: %.12g %.12Lg", mean, std,
                           t.variance, variance);
        cr_assert_float_eq(t.second, (double)(variance + first * first), 1e-9 * t.second);
    }
}

Test(support, shares_of_a_truncated_normal_add_up_and_match)
{
    const struct ebm_support unit = box(0.0, 1.0);
    for (size_t i = 0; i < EBM_COUNT_OF(normals); i++) {
        struct ebm_truncated t;
        long double mass, part, first, variance;
        ebm_truncated_init(&t, &unit, normals[i][0], normals[i][1]);
        cr_assert_float_eq(ebm_truncated_share(&t, t.from, t.to), 1.0, 1e-12);
        truth((long double)t.alpha + (long double)t.from, (long double)t.alpha + (long double)t.to,
              (long double)t.alpha, &mass, &first, &variance);
        for (double at = 0.01; at < 1.0; at += 0.14) {
            double middle = t.from + (t.to - t.from) * at;
            double low = ebm_truncated_share(&t, t.from, middle), high = ebm_truncated_share(&t, middle, t.to);
            cr_assert_float_eq(low + high, 1.0, 1e-9, "case %zu at %g: %.12g and %.12g", i, at, low, high);
            truth((long double)t.alpha + (long double)t.from, (long double)t.alpha + (long double)middle,
                  (long double)t.alpha, &part, &first, &variance);
            cr_assert_float_eq(low, (double)(part / mass), 1e-8, "case %zu at %g: %.12g, not %.12Lg", i, at, low,
                               part / mass);
        }
    }
}

Test(support, far_draws_invert_the_share)
{
    static const double alphas[] = {35.0, 100.0, 1e4}, widths[] = {1e-6, 1e-3, 0.02, 1.0, 50.0};
    for (size_t i = 0; i < EBM_COUNT_OF(alphas); i++)
        for (size_t j = 0; j < EBM_COUNT_OF(widths); j++) {
            struct ebm_support s = box(0.0, widths[j]);
            struct ebm_truncated t;
            double z = alphas[i], inverse = 1.0 / (z * z);
            ebm_truncated_init(&t, &s, -z, 1.0);
            double share = fmin(t.integral * z / (1.0 - inverse + 3.0 * inverse * inverse), 1.0);
            for (double u = 0.001; u < 1.0; u += 0.0333) {
                double at = ebm_truncated_far(z, share, u), got = ebm_truncated_share(&t, 0.0, at);
                cr_assert_float_eq(got, u, 3e-6, "alpha %g width %g: %.9g, not %.9g", z, widths[j], got, u);
            }
        }
}

/* Density of a wrapped normal from as many images as there can be. */
static long double wrapped_density(long double off, long double std, long double width)
{
    long double sum = 0.0L;
    for (int j = -30; j <= 30; j++) {
        long double z = (off + j * width) / std;
        sum += expl(-0.5L * z * z);
    }
    return sum / (std * sqrtl(2.0L * acosl(-1.0L)));
}

Test(support, wrapped_normals_are_sums_over_images)
{
    static const double stds[] = {0.02, 0.3, 0.68, 0.7, 1.0, 1.49, 1.51, 2.5, 9.0};
    const struct ebm_support s = period(-1.0, 2.0);
    enum { N = 2400 };
    for (size_t i = 0; i < EBM_COUNT_OF(stds); i++)
        for (double mean = -4.2; mean < 4.0; mean += 1.3) {
            long double mass = 0.0L;
            for (int n = 0; n < N; n++) {
                long double y = -1.0L + 3.0L * ((long double)n + 0.5L) / N;
                long double w = wrapped_density(y - (long double)mean, (long double)stds[i], 3.0L) * 3.0L / N;
                mass += w;
                if (n % 240 == 239)
                    cr_assert_float_eq(ebm_wrapped_share(&s, mean, stds[i], -1.0, -1.0 + 3.0 * (n + 1.0) / N),
                                       (double)mass, 2e-5, "std %g mean %g", stds[i], mean);
            }
            cr_assert_float_eq(ebm_wrapped_share(&s, mean, stds[i], -1.0, 2.0), 1.0, 1e-9);
        }
}

Test(support, numbers_come_back_by_reflection_or_by_whole_periods)
{
    const struct ebm_support b = box(1.0, 3.0), p = period(1.0, 3.0), r = {EBM_SUPPORT_REAL, 1.0, 3.0};
    static const double cases[][3] = {{2.0, 2.0, 2.0},    {3.0, 3.0, 1.0}, {1.0, 1.0, 1.0},  {3.5, 2.5, 1.5},
                                      {0.75, 1.25, 2.75}, {5.5, 1.5, 1.5}, {-1.5, 2.5, 2.5}, {7.25, 2.75, 1.25}};
    float y[2][16];
    const struct ebm_support both[2] = {b, p};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        cr_assert_float_eq(ebm_support_return(&b, cases[i][0]), cases[i][1], 1e-12, "%g reflected", cases[i][0]);
        cr_assert_float_eq(ebm_support_return(&p, cases[i][0]), cases[i][2], 1e-12, "%g wrapped", cases[i][0]);
        cr_assert_eq(ebm_support_return(&r, cases[i][0]), cases[i][0]);
        for (uint32_t l = 0; l < 16; l++)
            y[0][l] = y[1][l] = (float)cases[i][0];
        ebm_support_return_all(both, 2, y[0], 16, 16);
        cr_assert_float_eq((double)y[0][7], cases[i][1], 1e-6);
        cr_assert_float_eq((double)y[1][9], cases[i][2], 1e-6);
    }
    cr_assert(isnan(ebm_support_return(&b, (double)NAN)) && isnan(ebm_support_return(&p, (double)INFINITY)));
    double last = ebm_support_return(&p, nextafter(1.0, 0.0));
    cr_assert(last >= 1.0 && last < 3.0, "%.17g", last);
    cr_assert(ebm_support_holds(&b, 3.0) && !ebm_support_holds(&b, 3.0001) && !ebm_support_holds(&b, (double)NAN));
    cr_assert(ebm_support_holds(&p, 99.0) && ebm_support_holds(&r, 99.0));
}
