/* test_circle.c - statistics of angles: wrapped normals in closed form, densities and weighted draws beside sums over
 * all pairs, and through the device: every estimator beside a fine grid, and unchanged when the seam moves. */
#include <complex.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/circle.h"
#include "core/device.h"
#include "core/pieces.h"
#include "core/support.h"
#include "core/weighted.h"

#define PERIOD 2.5
static const double probabilities[] = {0.001, 0.05, 0.25, 0.5, 0.9, 0.999};
static const double places[] = {0.1, 0.6, 1.2, 1.7, 2.3};
enum { QUANTILES = EBM_COUNT_OF(probabilities), PLACES = EBM_COUNT_OF(places) };

static struct ebm_support circle_at(double lower)
{
    return (struct ebm_support){EBM_SUPPORT_PERIODIC, lower, lower + PERIOD};
}

static double apart(double a, double b)
{
    return fabs(ebm_circular_way(a, b, PERIOD));
}

Test(circle, a_wrapped_normal_has_its_own_mean_and_sigma)
{
    for (double lower = -7.3; lower < 5.0; lower += 1.7)
        for (double sigma = 1e-3; sigma < 2.0; sigma *= 3.0) {
            const struct ebm_support s = circle_at(lower);
            double turn = 2.0 * M_PI / PERIOD, mean = 0.4, rho = exp(-0.5 * turn * turn * sigma * sigma);
            double angle = turn * (mean - lower);
            struct ebm_circular c = ebm_circular_of(&s, rho * cos(angle), rho * sin(angle));
            cr_assert_lt(apart(c.mean, mean), 1e-9);
            cr_assert_float_eq(sqrt(c.variance) / sigma, 1.0, 1e-9, "sigma %g: %.12g", sigma, sqrt(c.variance));
            cr_assert_float_eq(apart(c.cut, c.mean), 0.5 * PERIOD, 1e-12);
            cr_assert(c.mean >= lower && c.mean < lower + PERIOD && c.cut >= lower && c.cut < lower + PERIOD);
        }
}

Test(circle, what_has_no_direction_has_a_finite_spread)
{
    const struct ebm_support s = circle_at(0.0);
    struct ebm_circular c = ebm_circular_of(&s, 0.0, 0.0), none = ebm_circular_of(&s, (double)NAN, 0.0);
    cr_assert(sqrt(c.variance) < 1.37 * PERIOD && sqrt(c.variance) > 1.36 * PERIOD, "%g", sqrt(c.variance) / PERIOD);
    cr_assert(isnan(none.mean) && isnan(none.variance) && isnan(none.cut));
    c = ebm_circular_of(&s, 1.0 + 1e-16, 0.0);
    cr_assert(c.variance == 0.0 && c.mean == 0.0);
}

/* ---- weighted draws ---- */

enum { DRAWS = 301 };
static uint64_t pairs[4 * DRAWS];

static struct ebm_weighted some_draws(double lower, float *y, float *w)
{
    const struct ebm_support s = circle_at(lower);
    for (uint32_t m = 0; m < DRAWS; m++) {
        uint32_t words[4];
        ebm_philox(3, m, 0, EBM_STREAM_INIT, 0, words);
        double at = 2.2 + (m % 3 == 0 ? 1.3 : 0.2) * (ebm_uniform(words[0]) - 0.5);
        y[m] = (float)ebm_support_return(&s, at);
        w[m] = m % 7 == 0 ? 0.0f : (float)ebm_uniform(words[1]);
    }
    return ebm_weighted_sort(y, w, DRAWS,
                             (struct ebm_sort_scratch){pairs, pairs + DRAWS, (double *)(pairs + 2 * DRAWS)});
}

Test(circle, weighted_draws_are_counted_from_the_cut)
{
    float y[DRAWS], w[DRAWS];
    for (double lower = -3.1; lower < 2.0; lower += 0.83) {
        struct ebm_weighted draws = some_draws(lower, y, w);
        double cut = ebm_support_return(&(struct ebm_support){EBM_SUPPORT_PERIODIC, lower, lower + PERIOD}, 0.9);
        double all = 0.0;
        for (uint32_t m = 0; m < DRAWS; m++)
            all += (double)w[m];
        for (uint32_t i = 0; i < QUANTILES; i++) {
            double got = ebm_weighted_cut_quantile(&draws, probabilities[i], cut), below = 0.0, up_to = 0.0;
            double reach = got < cut ? got + PERIOD : got;
            for (uint32_t m = 0; m < DRAWS; m++) {
                double at = (double)y[m] < cut ? (double)y[m] + PERIOD : (double)y[m];
                below += at < reach ? (double)w[m] / all : 0.0;
                up_to += at <= reach ? (double)w[m] / all : 0.0;
            }
            cr_assert(below < probabilities[i] + 1e-12 && up_to >= probabilities[i] - 1e-12,
                      "%g: %g below, %g up to it", probabilities[i], below, up_to);
            cr_assert_float_eq(ebm_weighted_cut_cdf(&draws, got, cut), up_to, 1e-12);
        }
        cr_assert_eq(ebm_weighted_cut_cdf(&draws, nextafter(cut, -INFINITY), cut), 1.0);
    }
}

Test(circle, weighted_crps_is_by_the_shorter_way)
{
    float y[DRAWS], w[DRAWS];
    for (double lower = -3.1; lower < 2.0; lower += 0.83) {
        struct ebm_weighted draws = some_draws(lower, y, w);
        for (uint32_t i = 0; i < PLACES; i++) {
            double all = 0.0, own = 0.0, off = 0.0, off_pairs = 0.0;
            double at = ebm_support_return(&(struct ebm_support){EBM_SUPPORT_PERIODIC, lower, lower + PERIOD},
                                           places[i]);
            for (uint32_t m = 0; m < DRAWS; m++) {
                all += (double)w[m];
                own += (double)w[m] * (double)w[m];
                off += (double)w[m] * apart((double)y[m], at);
                for (uint32_t n = 0; n < m; n++)
                    off_pairs += (double)w[m] * (double)w[n] * apart((double)y[m], (double)y[n]);
            }
            double want = off / all - off_pairs / (all * all - own), got = ebm_weighted_circle_crps(&draws, at, PERIOD);
            cr_assert_float_eq(got, want, 1e-10, "at %g: %.12g, not %.12g", at, got, want);
        }
    }
}

/* ---- through the device: f(angle) linear between knots, repeated; a mixture of three ---- */

enum { KNOTS = 4, TURNS = 4, UNITS = KNOTS * 2 * TURNS, COMPONENTS = 3, MEMBERS_OF_GRID = 2000 };
static const double knot_at[KNOTS] = {0.1 * PERIOD, 0.3 * PERIOD, 0.62 * PERIOD, 0.8 * PERIOD};
static const double knot_f[KNOTS] = {2.0, -1.0, 1.4, -2.5};

static double f_of(double y)
{
    y -= PERIOD * floor((y - knot_at[0]) / PERIOD);
    for (int k = 0; k < KNOTS; k++) {
        double a = knot_at[k], b = k + 1 < KNOTS ? knot_at[k + 1] : knot_at[0] + PERIOD;
        if (y < b)
            return knot_f[k] + (knot_f[(k + 1) % KNOTS] - knot_f[k]) * (y - a) / (b - a);
    }
    return knot_f[0];
}

struct fixture {
    struct ebm_support support;
    struct ebm_layer layers[5];
    struct ebm_net_desc net;
    float params[512];
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
};

static const float component_mean[COMPONENTS] = {0.2f, 1.5f, 2.4f},
                   component_log_variance[COMPONENTS] = {-2.0f, -1.5f, 1.0f};
static const float component_log_weight[COMPONENTS] = {-0.5108256f, -1.2039728f, -2.3025851f}; /* .6 .3 .1 */

static void start(struct fixture *f, double lower, uint32_t samples)
{
    size_t at = 0;
    const uint32_t in[5] = {2, UNITS, 1, 1, 1}, out[5] = {UNITS, 1, COMPONENTS, COMPONENTS, COMPONENTS};
    const float *biases[3] = {component_mean, component_log_variance, component_log_weight};
    struct ebm_ctx_limits limits = {.max_rows = 1, .max_samples = samples};
    memset(f, 0, sizeof *f);
    f->support = circle_at(lower);
    for (int l = 0; l < 5; l++) {
        f->layers[l] = (struct ebm_layer){in[l], out[l], l == 0 ? EBM_ACT_RELU : EBM_ACT_IDENTITY, false, at, 0};
        at += ebm_round_up((size_t)in[l] * out[l], 16);
        f->layers[l].bias = at;
        at += ebm_round_up(out[l], 16);
    }
    double slope = 0.0, start_at = knot_at[0] - TURNS * PERIOD;
    for (uint32_t u = 0; u < UNITS; u++) { /* one bend a knot, from where the first stands */
        double knot = start_at + PERIOD * (u / KNOTS) + knot_at[u % KNOTS] - knot_at[0];
        double next = (f_of(knot + 1e-3) - f_of(knot)) / 1e-3;
        f->params[f->layers[0].weight + 2 * u + 1] = 1.0f;
        f->params[f->layers[0].bias + u] = (float)-knot;
        f->params[f->layers[1].weight + u] = (float)(next - slope);
        slope = next;
    }
    f->params[f->layers[1].bias] = (float)knot_f[0];
    for (int l = 0; l < 3; l++)
        memcpy(&f->params[f->layers[2 + l].bias], biases[l], COMPONENTS * sizeof(float));
    f->net = (struct ebm_net_desc){.X = 1,
                                   .D = 1,
                                   .H = 1,
                                   .G = 1,
                                   .K = COMPONENTS,
                                   .has_energy = true,
                                   .support = &f->support,
                                   .energy = {2, &f->layers[0]},
                                   .mean = {1, &f->layers[2]},
                                   .log_variance = {1, &f->layers[3]},
                                   .weight = {1, &f->layers[4]},
                                   .n_params = at,
                                   .part[EBM_PART_ENERGY] = {0, at}};
    cr_assert_eq(ebm_device_cpu()->plan_new(&f->net, f->params, 0, &f->plan, NULL), EBM_OK);
    cr_assert_eq(ebm_device_cpu()->ctx_new(&limits, &f->ctx, NULL), EBM_OK);
    cr_assert_eq(ebm_device_cpu()->ctx_prepare(f->ctx, f->plan, NULL), EBM_OK);
}

static void stop(struct fixture *f)
{
    (void)ebm_device_cpu()->ctx_free(f->ctx);
    (void)ebm_device_cpu()->plan_unref(f->plan);
}

struct answer {
    double mean, variance, covariance, mcse, entropy, mode, quantiles[QUANTILES], cdf[PLACES], crps[PLACES];
    double region[2 * EBM_MAX_INTERVALS];
    uint32_t n_intervals;
};

static struct answer ask(enum ebm_estimator estimator, double lower, uint32_t samples)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct answer a;
    struct ebm_estimate_spec spec = {.estimator = estimator,
                                     .n_probabilities = QUANTILES,
                                     .probabilities = probabilities,
                                     .region_level = 0.9,
                                     .scheme = EBM_SCHEME_SOBOL};
    struct ebm_estimate out = {.mean = &a.mean,
                               .variance = &a.variance,
                               .covariance = &a.covariance,
                               .mcse_mean = &a.mcse,
                               .entropy = &a.entropy,
                               .mode = &a.mode,
                               .quantiles = a.quantiles,
                               .cdf = a.cdf,
                               .crps = a.crps,
                               .region = a.region};
    double at[PLACES];
    float x = 0.0f;
    start(f, lower, samples);
    for (uint32_t i = 0; i < PLACES; i++)
        at[i] = ebm_support_return(&f->support, places[i]);
    struct ebm_task task = {
        .row = {.seed = 5, .samples = samples}, .spec = &spec, .out = &out, .n_at = PLACES, .h_at = at};
    cr_assert_eq(ebm_device_cpu()->predict(f->ctx, f->plan, &x, &task, 1), EBM_OK);
    cr_assert_eq(out.status, EBM_OK);
    cr_assert_eq(out.used, estimator);
    a.n_intervals = out.n_intervals;
    cr_assert_eq(a.variance, a.covariance);
    cr_assert(a.mean >= lower && a.mean < lower + PERIOD && a.mode >= lower && a.mode <= lower + PERIOD);
    stop(f);
    free(f);
    return a;
}

/* The same of a density given at the middles of cells, by sums over cells and pairs of them. */
struct truth {
    double y[MEMBERS_OF_GRID], mass[MEMBERS_OF_GRID], mean, std, cut, entropy;
};

static double density_of(enum ebm_estimator estimator, double y)
{
    double sum = 0.0;
    if (estimator != EBM_ESTIMATE_MIXTURE)
        return exp(f_of(y));
    for (int k = 0; k < COMPONENTS; k++)
        for (int j = -20; j <= 20; j++) {
            double std = exp(0.5 * (double)component_log_variance[k]),
                   z = (y - (double)component_mean[k] + j * PERIOD) / std;
            sum += exp((double)component_log_weight[k] - 0.5 * z * z) / std;
        }
    return sum;
}

static struct truth *truth_of(enum ebm_estimator estimator)
{
    struct truth *t = calloc(1, sizeof *t);
    double complex resultant = 0.0;
    double sum = 0.0;
    for (int i = 0; i < MEMBERS_OF_GRID; i++) {
        t->y[i] = PERIOD * (i + 0.5) / MEMBERS_OF_GRID;
        sum += t->mass[i] = density_of(estimator, t->y[i]);
    }
    for (int i = 0; i < MEMBERS_OF_GRID; i++) {
        t->mass[i] /= sum;
        t->entropy -= t->mass[i] * log(t->mass[i] * MEMBERS_OF_GRID / PERIOD);
        resultant += t->mass[i] * cexp(2.0 * M_PI * I * t->y[i] / PERIOD);
    }
    t->mean = carg(resultant) * PERIOD / (2.0 * M_PI);
    t->std = sqrt(-2.0 * log(cabs(resultant))) * PERIOD / (2.0 * M_PI);
    t->cut = t->mean - 0.5 * PERIOD;
    return t;
}

static double truth_cdf(const struct truth *t, double y)
{
    double sum = 0.0, cell = PERIOD / MEMBERS_OF_GRID, to = y - t->cut;
    to -= PERIOD * floor(to / PERIOD);
    for (int i = 0; i < MEMBERS_OF_GRID; i++) {
        double from = t->y[i] - 0.5 * cell - t->cut;
        from -= PERIOD * floor(from / PERIOD);
        if (from + cell > PERIOD) /* the cell of the cut */
            sum += t->mass[i] * fmin(to, from + cell - PERIOD) / cell + t->mass[i] * fmax(0.0, to - from) / cell;
        else
            sum += t->mass[i] * fmin(fmax((to - from) / cell, 0.0), 1.0);
    }
    return sum;
}

static double truth_crps(const struct truth *t, double y)
{
    double sum = 0.0;
    for (int i = 0; i < MEMBERS_OF_GRID; i++) {
        sum += t->mass[i] * apart(t->y[i], y);
        for (int j = 0; j < i; j++)
            sum -= t->mass[i] * t->mass[j] * apart(t->y[i], t->y[j]);
    }
    return sum;
}

static double mass_of_region(const struct truth *t, const struct answer *a)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < a->n_intervals; i++) {
        double width = a->region[2 * i + 1] - a->region[2 * i];
        width += width < 0.0 ? PERIOD : 0.0;
        for (int m = 0; m < MEMBERS_OF_GRID; m++) {
            double off = t->y[m] - a->region[2 * i];
            sum += off - PERIOD * floor(off / PERIOD) <= width ? t->mass[m] : 0.0;
        }
    }
    return sum;
}

static const struct {
    enum ebm_estimator estimator;
    double slack;
    const char *name;
} ways[] = {{EBM_ESTIMATE_EXACT, 1e-5, "exact"},
            {EBM_ESTIMATE_QUADRATURE, 1e-5, "quadrature"},
            {EBM_ESTIMATE_MIXTURE, 1e-5, "mixture"},
            {EBM_ESTIMATE_IMPORTANCE, 3e-3, "importance"}};

Test(circle, every_estimator_beside_a_grid)
{
    for (size_t way = 0; way < EBM_COUNT_OF(ways); way++) {
        double slack = ways[way].slack;
        struct answer a = ask(ways[way].estimator, -0.3, 16384);
        struct truth *t = truth_of(ways[way].estimator);
        printf("%s: mean %.6f (%.6f) std %.6f (%.6f), %u intervals\n", ways[way].name, a.mean, t->mean,
               sqrt(a.variance), t->std, a.n_intervals);
        cr_assert_lt(apart(a.mean, t->mean), slack, "%s: mean %g, not %g", ways[way].name, a.mean, t->mean);
        cr_assert_float_eq(sqrt(a.variance), t->std, slack);
        cr_assert_float_eq(a.entropy, t->entropy, 10.0 * slack, "%s: entropy %g, not %g", ways[way].name, a.entropy,
                           t->entropy);
        for (uint32_t i = 0; i < QUANTILES; i++)
            cr_assert_float_eq(truth_cdf(t, a.quantiles[i]), probabilities[i], slack, "%s: at %g %g", ways[way].name,
                               probabilities[i], a.quantiles[i]);
        for (uint32_t i = 0; i < PLACES; i++) {
            cr_assert_float_eq(a.cdf[i], truth_cdf(t, places[i]), slack, "%s: F(%g) %g, not %g", ways[way].name,
                               places[i], a.cdf[i], truth_cdf(t, places[i]));
            cr_assert_float_eq(a.crps[i], truth_crps(t, places[i]), slack, "%s: CRPS(%g) %g, not %g", ways[way].name,
                               places[i], a.crps[i], truth_crps(t, places[i]));
        }
        cr_assert_float_eq(mass_of_region(t, &a), 0.9, 0.01, "%s: the region has %g", ways[way].name,
                           mass_of_region(t, &a));
        cr_assert_lt(apart(a.mode, ways[way].estimator == EBM_ESTIMATE_MIXTURE ? a.mode : knot_at[0]), 1e-3);
        free(t);
    }
}

/* An interval of another answer that has this lower end. */
static bool has_interval(const struct answer *a, double lower, double upper, double slack)
{
    for (uint32_t i = 0; i < a->n_intervals; i++)
        if (apart(a->region[2 * i], lower) < slack && apart(a->region[2 * i + 1], upper) < slack)
            return true;
    return false;
}

Test(circle, answers_do_not_move_with_the_seam)
{
    static const double seams[] = {0.0, -0.1, 0.24, 0.251, 0.7, 1.0, 1.41421, 1.55, 2.0, 2.499, -2.5, 3.3};
    for (size_t way = 0; way < EBM_COUNT_OF(ways); way++) {
        struct answer first = ask(ways[way].estimator, -0.3, 4096);
        double slack = 5e-5; /* of floats and panels; the draws are the same points */
        uint32_t over = 0;
        for (size_t s = 0; s < EBM_COUNT_OF(seams); s++) {
            struct answer a = ask(ways[way].estimator, seams[s], 4096);
            cr_assert_lt(apart(a.mean, first.mean), slack, "%s, seam %g: %.9g, not %.9g", ways[way].name, seams[s],
                         a.mean, first.mean);
            cr_assert_float_eq(a.variance, first.variance, slack);
            cr_assert_float_eq(a.mcse, first.mcse, slack);
            cr_assert_float_eq(a.entropy, first.entropy, slack, "%s, seam %g: entropy %.9g, not %.9g", ways[way].name,
                               seams[s], a.entropy, first.entropy);
            for (uint32_t i = 0; i < QUANTILES; i++)
                cr_assert_lt(apart(a.quantiles[i], first.quantiles[i]), 10.0 * slack,
                             "%s, seam %g, quantile %g: %g, not %g", ways[way].name, seams[s], probabilities[i],
                             a.quantiles[i], first.quantiles[i]);
            for (uint32_t i = 0; i < PLACES; i++) {
                cr_assert_float_eq(a.cdf[i], first.cdf[i], slack);
                cr_assert_float_eq(a.crps[i], first.crps[i], slack);
            }
            cr_assert_eq(a.n_intervals, first.n_intervals, "%s, seam %g: %u intervals, not %u", ways[way].name,
                         seams[s], a.n_intervals, first.n_intervals);
            for (uint32_t i = 0; i < a.n_intervals; i++) {
                bool turns = a.region[2 * i] > a.region[2 * i + 1];
                cr_assert(!turns || i + 1 == a.n_intervals, "only the last one runs over the seam");
                over += turns;
                cr_assert(has_interval(&first, a.region[2 * i], a.region[2 * i + 1], 10.0 * slack));
            }
        }
        printf("%s: %u intervals over the seam\n", ways[way].name, over);
        cr_assert_gt(over, 2);
    }
}
