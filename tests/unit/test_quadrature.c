/* test_quadrature.c - panels of densities that have closed forms: every answer of scalar.h against them; ranges that
 * are looked for, spikes, kinks, improper tails. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "core/quadrature.h"
#include "core/rng.h"

#define EPSILON 0x1p-52

struct gaussians {
    uint32_t n;
    double mean[4], std[4], weight[4];
};

static double log_gaussians(const struct gaussians *g, double y)
{
    double parts[4], max = -INFINITY, sum = 0.0;
    for (uint32_t k = 0; k < g->n; k++) {
        double z = (y - g->mean[k]) / g->std[k];
        parts[k] = log(g->weight[k] / g->std[k]) - 0.5 * z * z - 0.91893853320467274178;
        max = fmax(max, parts[k]);
    }
    for (uint32_t k = 0; k < g->n; k++)
        sum += exp(parts[k] - max);
    return max + log(sum);
}

static bool f_gaussians(void *user, const double *y, uint32_t n, double *ret_f)
{
    for (uint32_t i = 0; i < n; i++)
        ret_f[i] = 2.5 + log_gaussians(user, y[i]);
    return true;
}

static double cdf_gaussians(const struct gaussians *g, double y)
{
    double sum = 0.0;
    for (uint32_t k = 0; k < g->n; k++)
        sum += g->weight[k] * 0.5 * erfc((g->mean[k] - y) / g->std[k] * M_SQRT1_2);
    return sum;
}

/* E|N(mean, std) - y| */
static double mean_distance(double mean, double std)
{
    double z = mean / std;
    return mean * erf(z * M_SQRT1_2) + 2.0 * std * exp(-0.5 * z * z) * 0.39894228040143267794;
}

static double crps_gaussians(const struct gaussians *g, double y)
{
    double sum = 0.0;
    for (uint32_t k = 0; k < g->n; k++) {
        sum += g->weight[k] * mean_distance(y - g->mean[k], g->std[k]);
        for (uint32_t l = 0; l < g->n; l++)
            sum -= 0.5 * g->weight[k] * g->weight[l] *
                   mean_distance(g->mean[k] - g->mean[l], hypot(g->std[k], g->std[l]));
    }
    return sum;
}

static struct ebm_quadrature line(ebm_quadrature_fn *f, void *user)
{
    return (struct ebm_quadrature){
        .f = f, .user = user, .epsilon = EPSILON, .support = {EBM_SUPPORT_REAL, -INFINITY, INFINITY}};
}

/* Panels ready for questions; ebm_panels_done. */
static struct ebm_panels run(const struct ebm_quadrature *q)
{
    struct ebm_panels panels;
    cr_assert_eq(ebm_panels_init(&panels), EBM_OK);
    cr_assert_eq(ebm_quadrature_run(q, &panels), EBM_OK);
    ebm_panels_lay_cells(&panels);
    return panels;
}

static const struct gaussians cases[] = {
    {1, {0.3}, {0.7}, {1.0}},
    {2, {-1.5, 1.0}, {0.5, 0.2}, {0.3, 0.7}},
    {3, {-30.0, 0.0, 4.0}, {3.0, 1.0, 0.05}, {0.2, 0.5, 0.3}},
    {2, {0.25, 0.75}, {1e-2, 2e-3}, {0.5, 0.5}},
};

Test(quadrature, gaussians_have_their_closed_forms)
{
    for (size_t c = 0; c < EBM_COUNT_OF(cases); c++) {
        struct gaussians g = cases[c];
        struct ebm_quadrature q = line(f_gaussians, &g);
        q.splits = g.mean;
        q.n_splits = g.n;
        struct ebm_panels panels = run(&q);
        const struct ebm_scalar_ops *ops = &ebm_panels_ops;
        struct ebm_scalar_summary s;
        double mean = 0.0, variance = 0.0;
        ops->summary(&panels, &s);
        for (uint32_t k = 0; k < g.n; k++)
            mean += g.weight[k] * g.mean[k];
        for (uint32_t k = 0; k < g.n; k++)
            variance += g.weight[k] * (g.std[k] * g.std[k] + (g.mean[k] - mean) * (g.mean[k] - mean));
        printf("case %zu: %u panels [%g, %g], error %.1e; log z %.3e, mean %.3e, variance %.3e off\n", c, s.pieces,
               s.lower, s.upper, panels.error, s.log_z - 2.5, s.mean - mean, s.variance / variance - 1.0);
        cr_assert_float_eq(s.log_z, 2.5, 1e-8);
        cr_assert_float_eq(s.mean, mean, 1e-8 * sqrt(variance));
        cr_assert_float_eq(s.variance, variance, 1e-7 * variance);
        cr_assert(s.proper);
        for (double y = mean - 4.0 * sqrt(variance); y < mean + 4.0 * sqrt(variance); y += 0.11 * sqrt(variance)) {
            cr_assert_float_eq(ops->cdf(&panels, y), cdf_gaussians(&g, y), 1e-7, "case %zu at %g: %.10f %.10f", c, y,
                               ops->cdf(&panels, y), cdf_gaussians(&g, y));
            cr_assert_float_eq(ops->crps(&panels, y), crps_gaussians(&g, y), 1e-7 * sqrt(variance));
            double p = cdf_gaussians(&g, y);
            if (p > 1e-6 && p < 1.0 - 1e-6)
                cr_assert_float_eq(cdf_gaussians(&g, ops->quantile(&panels, p)), p, 1e-7);
        }
        ebm_panels_done(&panels);
    }
}

Test(quadrature, entropy_mode_and_region_of_a_gaussian)
{
    struct gaussians g = cases[0];
    struct ebm_quadrature q = line(f_gaussians, &g);
    struct ebm_panels panels = run(&q);
    struct ebm_scalar_summary s;
    double ends[8];
    ebm_panels_ops.summary(&panels, &s);
    cr_assert_float_eq(s.entropy, 0.5 + 0.91893853320467274178 + log(0.7), 1e-8);
    cr_assert_float_eq(s.mode, 0.3, 1e-6);
    cr_assert_eq(ebm_panels_ops.region(&panels, 0.9, ends, 4), 1);
    cr_assert_float_eq(ends[0], 0.3 - 0.7 * 1.6448536269514722, 1e-6);
    cr_assert_float_eq(ends[1], 0.3 + 0.7 * 1.6448536269514722, 1e-6);
    cr_assert_float_eq(ebm_panels_ops.log_density(&panels, 1.0), log_gaussians(&g, 1.0), 1e-8);
    ebm_panels_done(&panels);
}

Test(quadrature, a_region_has_its_mass_and_one_height_at_all_ends)
{
    struct gaussians g = cases[1];
    struct ebm_quadrature q = line(f_gaussians, &g);
    struct ebm_panels panels = run(&q);
    for (double level = 0.02; level < 1.0; level += 0.07) {
        double ends[8], mass = 0.0;
        uint32_t n = ebm_panels_ops.region(&panels, level, ends, 4);
        cr_assert(n == 1 || n == 2, "%u intervals", n);
        for (uint32_t i = 0; i < n; i++)
            mass += cdf_gaussians(&g, ends[2 * i + 1]) - cdf_gaussians(&g, ends[2 * i]);
        cr_assert_float_eq(mass, level, 1e-6, "level %g: mass %.9f in %u", level, mass, n);
        for (uint32_t i = 0; i < 2 * n; i++)
            cr_assert_float_eq(log_gaussians(&g, ends[i]), log_gaussians(&g, ends[0]), 1e-5);
    }
    ebm_panels_done(&panels);
}

/* ---- kinks, ends, spikes ---- */

static bool f_laplace(void *user, const double *y, uint32_t n, double *ret_f)
{
    double rate = *(const double *)user;
    for (uint32_t i = 0; i < n; i++)
        ret_f[i] = -rate * fabs(y[i] - 0.1);
    return true;
}

Test(quadrature, a_kink_is_found)
{
    double rate = 3.0;
    struct ebm_quadrature q = line(f_laplace, &rate);
    struct ebm_panels panels = run(&q);
    struct ebm_scalar_summary s;
    ebm_panels_ops.summary(&panels, &s);
    printf("%u panels [%g, %g]\n", s.pieces, s.lower, s.upper);
    cr_assert_float_eq(s.log_z, log(2.0 / rate), 1e-6);
    cr_assert_float_eq(s.mean, 0.1, 1e-6);
    cr_assert_float_eq(s.mode, 0.1, 1e-4);
    cr_assert_float_eq(ebm_panels_ops.cdf(&panels, 0.4), 1.0 - 0.5 * exp(-rate * 0.3), 1e-6);
    ebm_panels_done(&panels);
}

Test(quadrature, ends_are_looked_for)
{
    double rate = 0.5; /* 40 nats at 80: the range doubles to 128 */
    struct ebm_quadrature q = line(f_laplace, &rate);
    struct ebm_panels panels = run(&q);
    struct ebm_scalar_summary s;
    ebm_panels_ops.summary(&panels, &s);
    cr_assert_eq(s.lower, -128.0);
    cr_assert_eq(s.upper, 128.0);
    cr_assert(s.proper);
    cr_assert_float_eq(s.log_z, log(2.0 / rate), 1e-6);
    ebm_panels_done(&panels);
    q.support.lower = 0.1;
    panels = run(&q);
    ebm_panels_ops.summary(&panels, &s);
    cr_assert_eq(s.lower, 0.1);
    cr_assert_float_eq(s.log_z, log(1.0 / rate), 1e-6);
    cr_assert_float_eq(s.mode, 0.1, 1e-12);
    cr_assert_float_eq(ebm_panels_ops.quantile(&panels, 0.5), 0.1 + log(2.0) / rate, 1e-6);
    ebm_panels_done(&panels);
}

static bool f_flat(void *user, const double *y, uint32_t n, double *ret_f)
{
    for (uint32_t i = 0; i < n; i++)
        ret_f[i] = *(const double *)user * tanh(-y[i] * y[i]);
    return true;
}

Test(quadrature, tails_that_do_not_fall_are_improper_and_answered_within_the_range)
{
    double depth = 1.0;
    struct ebm_quadrature q = line(f_flat, &depth);
    struct ebm_panels panels = run(&q);
    struct ebm_scalar_summary s;
    ebm_panels_ops.summary(&panels, &s);
    cr_assert_not(s.proper);
    cr_assert_eq(s.upper, 512.0);
    cr_assert(isfinite(s.log_z));
    ebm_panels_done(&panels);
    q.support = (struct ebm_support){EBM_SUPPORT_BOUNDED, -1.0, 2.0};
    panels = run(&q);
    ebm_panels_ops.summary(&panels, &s);
    cr_assert(s.proper, "a support that is bounded is no recorded one");
    ebm_panels_done(&panels);
    depth = 60.0; /* low far out, and yet not 0 */
    q = line(f_flat, &depth);
    q.is_bounded = true;
    panels = run(&q);
    ebm_panels_ops.summary(&panels, &s);
    cr_assert_not(s.proper);
    ebm_panels_done(&panels);
}

Test(quadrature, a_spike_between_splits_is_seen)
{
    struct gaussians g = {2, {0.0, 1.2345}, {1.0, 1e-5}, {0.5, 0.5}};
    struct ebm_quadrature q = line(f_gaussians, &g);
    double splits[] = {1.2345, 1.2345 - 8e-5, 1.2345 + 8e-5};
    q.splits = splits;
    q.n_splits = 3;
    struct ebm_panels panels = run(&q);
    struct ebm_scalar_summary s;
    ebm_panels_ops.summary(&panels, &s);
    cr_assert_float_eq(s.log_z, 2.5, 1e-7, "%.9f", s.log_z);
    ebm_panels_done(&panels);
}

/* Thousands of kinks: more than there are panels. */
static bool f_saw(void *user, const double *y, uint32_t n, double *ret_f)
{
    (void)user;
    for (uint32_t i = 0; i < n; i++)
        ret_f[i] = 3.0 * fabs(fmod(fabs(y[i]) * 1000.0, 2.0) - 1.0);
    return true;
}

Test(quadrature, out_of_panels_the_answer_is_the_best_there_is)
{
    struct ebm_quadrature q = line(f_saw, NULL);
    q.support.lower = -3.0;
    q.support.upper = 3.0;
    struct ebm_panels panels = run(&q);
    struct ebm_scalar_summary s;
    ebm_panels_ops.summary(&panels, &s);
    printf("%u panels, error %.2e\n", s.pieces, panels.error);
    cr_assert_float_eq(s.log_z, log(6.0 * expm1(3.0) / 3.0), 0.05);
    cr_assert_gt(panels.error, 1e-4, "and says how bad it is");
    ebm_panels_done(&panels);
}

static bool f_broken(void *user, const double *y, uint32_t n, double *ret_f)
{
    for (uint32_t i = 0; i < n; i++)
        ret_f[i] = y[i] > 2.0 ? *(const double *)user : -y[i] * y[i];
    return true;
}

static bool f_unwanted(void *user, const double *y, uint32_t n, double *ret_f)
{
    int *left = user;
    for (uint32_t i = 0; i < n; i++)
        ret_f[i] = -y[i] * y[i];
    return (*left)-- > 0;
}

Test(quadrature, what_is_not_finite_or_not_wanted)
{
    struct ebm_panels panels;
    double values[] = {NAN, INFINITY, -INFINITY};
    int left = 1;
    cr_assert_eq(ebm_panels_init(&panels), EBM_OK);
    for (int i = 0; i < 3; i++) {
        struct ebm_quadrature q = line(f_broken, &values[i]);
        cr_assert_eq(ebm_quadrature_run(&q, &panels), i < 2 ? EBM_INVALID : EBM_OK);
    }
    struct ebm_quadrature q = line(f_unwanted, &left);
    cr_assert_eq(ebm_quadrature_run(&q, &panels), EBM_CANCELLED);
    ebm_panels_done(&panels);
}

Test(quadrature, cdf_rises_and_quantiles_undo_it)
{
    struct gaussians g = cases[2];
    struct ebm_quadrature q = line(f_gaussians, &g);
    struct ebm_panels panels = run(&q);
    double before = 0.0;
    for (int i = 0; i <= 20000; i++) {
        double y = -70.0 + i * 0.006, p = ebm_panels_ops.cdf(&panels, y);
        cr_assert(p >= before && p <= 1.0, "at %g: %.17g after %.17g", y, p, before);
        before = p;
    }
    for (double p = 1e-9; p < 1.0; p += 1e-3)
        cr_assert_float_eq(ebm_panels_ops.cdf(&panels, ebm_panels_ops.quantile(&panels, p)), p, 1e-12);
    ebm_panels_done(&panels);
}
