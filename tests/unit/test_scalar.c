/* test_scalar.c - scalar targets through the device: quadrature beside Gauss panels in double, exact beside quadrature
 * beside importance, every answer beside the density that it is about; draws, bytes, and what falls back to what. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/order.h"
#include "core/weighted.h"

#define MAX_LAYERS 8
enum { ROWS = 5, POINTS = 9, DRAWS = 4000 };

/* x (2) -> h; y -> g; energy; a mixture of two, wide enough. */
struct fixture {
    struct ebm_net_desc net;
    struct ebm_layer layers[MAX_LAYERS + 3];
    struct ebm_support support;
    uint32_t n_layers;
    float *params;
    enum ebm_activation activation;
};

static void add_layer(struct fixture *f, struct ebm_net *net, uint32_t in, uint32_t out, enum ebm_activation act,
                      bool residual)
{
    struct ebm_layer *layer = &f->layers[f->n_layers++];
    *layer = (struct ebm_layer){in, out, act, residual, f->net.n_params, 0};
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    f->net.n_params = layer->bias + ebm_round_up(out, 16);
    if (net->n_layers++ == 0)
        net->layers = layer;
}

static double uniform(uint32_t layer, size_t i)
{
    uint32_t words[4];
    ebm_philox(17, layer, (uint32_t)i, EBM_STREAM_INIT, 0, words);
    return 2.0 * ebm_uniform(words[0]) - 1.0;
}

/* Weights such that f falls on both sides of the target where the activation allows it. */
static void fill(struct fixture *f)
{
    const struct ebm_layer *target = &f->net.target.layers[0], *last = &f->net.energy.layers[1];
    f->params = ebm_alloc_aligned((f->net.n_params + 1) * sizeof(float));
    for (uint32_t l = 0; l < f->n_layers; l++) {
        const struct ebm_layer *layer = &f->layers[l];
        size_t n = (size_t)layer->in * layer->out;
        for (size_t i = 0; i < n; i++)
            f->params[layer->weight + i] = (float)(uniform(l, i) * 1.5 / sqrt(layer->in));
        for (size_t i = 0; i < layer->out; i++)
            f->params[layer->bias + i] = (float)uniform(l, n + i);
    }
    for (size_t i = 0; i < target->out; i++)
        f->params[target->weight + i] = (float)((i % 2 == 0 ? 1.0 : -1.0) * (0.7 + 0.5 * fabs(uniform(90, i))));
    for (size_t i = 0; i < f->net.energy.layers[0].out; i++) {
        f->params[last->weight + i] = (float)(-0.8 - fabs(uniform(91, i)));
        for (size_t g = 0; g < f->net.G; g++) {
            float *w = &f->params[f->net.energy.layers[0].weight + i * (f->net.H + f->net.G) + f->net.H + g];
            *w = fabsf(*w) + 0.05f;
        }
    }
}

static struct fixture *make(enum ebm_activation act, bool has_proposal, double lower, double upper)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ebm_net_desc *net = &f->net;
    f->activation = act;
    f->support = (struct ebm_support){EBM_SUPPORT_REAL, lower, upper};
    *net = (struct ebm_net_desc){.X = 2, .D = 1, .K = has_proposal ? 2 : 0, .H = 6, .G = 10, .has_energy = true};
    net->support = &f->support;
    add_layer(f, &net->feature, 2, 6, EBM_ACT_TANH, false);
    add_layer(f, &net->target, 1, 10, act, false);
    add_layer(f, &net->energy, 16, 12, act, false);
    add_layer(f, &net->energy, 12, 1, EBM_ACT_IDENTITY, false);
    if (has_proposal) {
        add_layer(f, &net->mean, 6, 2, EBM_ACT_IDENTITY, false);
        add_layer(f, &net->log_variance, 6, 2, EBM_ACT_IDENTITY, false);
        add_layer(f, &net->weight, 6, 2, EBM_ACT_IDENTITY, false);
    }
    fill(f);
    return f;
}

struct machine {
    struct fixture *f;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    float x[ROWS * 2];
};

static const struct ebm_device_ops *ops(void)
{
    return ebm_device_cpu();
}

static struct machine start(struct fixture *f, uint32_t samples)
{
    struct machine m = {.f = f};
    struct ebm_error error = {0};
    struct ebm_ctx_limits limits = {ROWS, samples, false};
    cr_assert_eq(ops()->plan_new(&f->net, f->params, 0, &m.plan, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ops()->ctx_new(&limits, &m.ctx, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ops()->ctx_prepare(m.ctx, m.plan, &error), EBM_OK, "%s", error.text);
    for (uint32_t i = 0; i < 2 * ROWS; i++)
        m.x[i] = (float)uniform(77, i);
    return m;
}

static void stop(struct machine *m)
{
    (void)ops()->ctx_free(m->ctx);
    (void)ops()->plan_unref(m->plan);
    free(m->f->params);
    free(m->f);
}

static const double probabilities[] = {0.025, 0.25, 0.5, 0.75, 0.975};
enum { QUANTILES = EBM_COUNT_OF(probabilities) };

struct answer {
    struct ebm_estimate out;
    double mean, variance, covariance, mcse, mode, entropy, quantiles[QUANTILES], region[2 * EBM_MAX_INTERVALS];
    double cdf[POINTS], crps[POINTS];
    float draws[DRAWS];
};

static const double at[POINTS] = {-3.1, -1.7, -0.9, -0.3, 0.05, 0.4, 1.1, 1.9, 2.8};

static void ask(struct machine *m, enum ebm_estimator estimator, uint32_t samples, bool draws, struct answer *answers)
{
    struct ebm_estimate_spec spec = {.estimator = estimator,
                                     .n_probabilities = QUANTILES,
                                     .probabilities = probabilities,
                                     .region_level = 0.8,
                                     .draws = draws ? EBM_DRAWS_FAIR : EBM_DRAWS_NONE,
                                     .n_draws = DRAWS};
    struct ebm_task tasks[ROWS];
    memset(answers, 0, ROWS * sizeof *answers);
    for (uint32_t b = 0; b < ROWS; b++) {
        struct answer *a = &answers[b];
        a->out = (struct ebm_estimate){.mean = &a->mean,
                                       .variance = &a->variance,
                                       .covariance = &a->covariance,
                                       .mcse_mean = &a->mcse,
                                       .mode = &a->mode,
                                       .entropy = &a->entropy,
                                       .quantiles = a->quantiles,
                                       .region = a->region,
                                       .cdf = a->cdf,
                                       .crps = a->crps,
                                       .draws = a->draws};
        tasks[b] = (struct ebm_task){.row = {.seed = 5, .row_in_request = b, .samples = samples},
                                     .spec = &spec,
                                     .out = &a->out,
                                     .n_at = POINTS,
                                     .h_at = at};
    }
    cr_assert_eq(ops()->predict(m->ctx, m->plan, m->x, tasks, ROWS), EBM_OK);
    for (uint32_t b = 0; b < ROWS; b++)
        cr_assert_eq(answers[b].out.status, EBM_OK);
}

/* ---- the plain forward pass in double ---- */

static double act(enum ebm_activation kind, double z)
{
    switch (kind) {
    case EBM_ACT_RELU:
        return fmax(z, 0.0);
    case EBM_ACT_TANH:
        return tanh(z);
    case EBM_ACT_SILU:
        return z / (1.0 + exp(-z));
    case EBM_ACT_SOFTPLUS:
        return log1p(exp(-fabs(z))) + fmax(z, 0.0);
    case EBM_ACT_IDENTITY:
        break;
    }
    return z;
}

static void layer_of(const struct fixture *f, const struct ebm_layer *layer, const double *in, double *out)
{
    for (uint32_t o = 0; o < layer->out; o++) {
        double z = (double)f->params[layer->bias + o];
        for (uint32_t i = 0; i < layer->in; i++)
            z += (double)f->params[layer->weight + (size_t)o * layer->in + i] * in[i];
        out[o] = act(layer->activation, z);
    }
}

static double energy(const struct machine *m, uint32_t b, double y)
{
    const struct fixture *f = m->f;
    double joined[16], hidden[12], out, x[2] = {(double)m->x[2 * b], (double)m->x[2 * b + 1]};
    layer_of(f, &f->net.feature.layers[0], x, joined);
    layer_of(f, &f->net.target.layers[0], &y, joined + f->net.H);
    layer_of(f, &f->net.energy.layers[0], joined, hidden);
    layer_of(f, &f->net.energy.layers[1], hidden, &out);
    return out;
}

/* 16-point Gauss-Legendre in 4096 panels. */
struct dense {
    double log_z, mean, variance, entropy, crps[POINTS], cdf[POINTS];
};

static struct dense integrate(const struct machine *m, uint32_t b, double lower, double upper)
{
    static const double x[8] = {0.0950125098376374402, 0.2816035507792589132, 0.4580167776572273863,
                                0.6178762444026437484, 0.7554044083550030339, 0.8656312023878317439,
                                0.9445750230732325761, 0.9894009349916499326};
    static const double w[8] = {0.1894506104550684963, 0.1826034150449235888, 0.1691565193950025382,
                                0.1495959888165767321, 0.1246289712555338720, 0.0951585116824927848,
                                0.0622535239386478929, 0.0271524594117540948};
    enum { PANELS = 4096 };
    double z = 0.0, first = 0.0, second = 0.0, f_mean = 0.0, half = 0.5 * (upper - lower) / PANELS;
    struct dense d = {0};
    for (int pass = 0; pass < 2; pass++) {
        double below = 0.0;
        for (int p = 0; p < PANELS; p++) {
            double start = lower + 2.0 * half * p, mass = 0.0;
            for (int i = 0; i < 16; i++) {
                double y = start + half * (1.0 + (i < 8 ? -x[7 - i] : x[i - 8]));
                double value = energy(m, b, y), part = half * w[i < 8 ? 7 - i : i - 8] * exp(value);
                mass += part;
                if (pass == 0) {
                    z += part, first += part * y, second += part * y * y, f_mean += part * value;
                    for (int q = 0; q < POINTS; q++)
                        d.cdf[q] += y <= at[q] ? part : 0.0;
                }
            }
            double F = pass == 1 ? (below + 0.5 * mass) / z : 0.0, middle = start + half;
            for (int q = 0; pass == 1 && q < POINTS; q++)
                d.crps[q] += 2.0 * half * (middle < at[q] ? F * F : (1.0 - F) * (1.0 - F));
            below += mass;
        }
    }
    d.log_z = log(z);
    d.mean = first / z;
    d.variance = second / z - d.mean * d.mean;
    d.entropy = d.log_z - f_mean / z;
    for (int q = 0; q < POINTS; q++)
        d.cdf[q] /= z;
    return d;
}

static void compare_dense(const struct machine *m, const struct answer *answers, double lower, double upper,
                          double tolerance, const char *what)
{
    for (uint32_t b = 0; b < ROWS; b++) {
        const struct answer *a = &answers[b];
        struct dense d = integrate(m, b, lower, upper);
        double std = sqrt(d.variance);
        printf("%s row %u: %u pieces; log z %.1e, mean %.1e sd, sd %.1e, entropy %.1e off\n", what, b, a->out.pieces,
               a->out.log_z - d.log_z, (a->mean - d.mean) / std, sqrt(a->variance) / std - 1.0, a->entropy - d.entropy);
        cr_assert_float_eq(a->out.log_z, d.log_z, tolerance);
        cr_assert_float_eq(a->mean, d.mean, tolerance * std);
        cr_assert_float_eq(a->variance, d.variance, 2.0 * tolerance * d.variance);
        cr_assert_eq(a->covariance, a->variance);
        cr_assert_float_eq(a->entropy, d.entropy, 10.0 * tolerance);
        for (int q = 0; q < POINTS; q++) {
            cr_assert_float_eq(a->cdf[q], d.cdf[q], 1e-3, "row %u at %g: %.6f, not %.6f", b, at[q], a->cdf[q],
                               d.cdf[q]);
            cr_assert_float_eq(a->crps[q], d.crps[q], 3e-3, "row %u at %g: %.6f, not %.6f", b, at[q], a->crps[q],
                               d.crps[q]); /* a panel of the sum is cut at y */
        }
    }
}

Test(scalar, quadrature_of_smooth_networks_beside_gauss_panels_in_double)
{
    static const enum ebm_activation kinds[] = {EBM_ACT_TANH, EBM_ACT_SILU, EBM_ACT_SOFTPLUS};
    static const char *const words[] = {"tanh", "silu", "softplus"};
    static struct answer answers[ROWS];
    for (int k = 0; k < 3; k++) {
        struct machine m = start(make(kinds[k], k == 1, -4.0, 5.0), 1);
        ask(&m, EBM_ESTIMATE_QUADRATURE, 1, false, answers);
        compare_dense(&m, answers, -4.0, 5.0, 3e-6, words[k]);
        for (uint32_t b = 0; b < ROWS; b++) {
            cr_assert_eq(answers[b].out.used, EBM_ESTIMATE_QUADRATURE);
            cr_assert_eq(answers[b].out.proper, kinds[k] != EBM_ACT_TANH, "tanh is bounded far out, the others fall");
            cr_assert_eq(answers[b].out.support[0], -4.0);
        }
        stop(&m);
    }
}

Test(scalar, exact_beside_gauss_panels_and_quadrature)
{
    static struct answer exact[ROWS], panels[ROWS];
    struct machine m = start(make(EBM_ACT_RELU, false, -4.0, 5.0), 1);
    ask(&m, EBM_ESTIMATE_EXACT, 1, false, exact);
    compare_dense(&m, exact, -4.0, 5.0, 3e-6, "exact");
    ask(&m, EBM_ESTIMATE_QUADRATURE, 1, false, panels);
    for (uint32_t b = 0; b < ROWS; b++) {
        double std = sqrt(exact[b].variance);
        cr_assert_eq(exact[b].out.used, EBM_ESTIMATE_EXACT);
        cr_assert_float_eq(exact[b].out.log_z, panels[b].out.log_z, 1e-5);
        cr_assert_float_eq(exact[b].mode, panels[b].mode, 1e-2 * std);
        cr_assert_eq(exact[b].out.n_intervals, panels[b].out.n_intervals);
        for (uint32_t q = 0; q < QUANTILES; q++)
            cr_assert_float_eq(exact[b].quantiles[q], panels[b].quantiles[q], 1e-4 * std);
        for (uint32_t i = 0; i < 2 * exact[b].out.n_intervals; i++)
            cr_assert_float_eq(exact[b].region[i], panels[b].region[i], 1e-3 * std);
        for (uint32_t i = 0; i < POINTS; i++) {
            cr_assert_float_eq(exact[b].cdf[i], panels[b].cdf[i], 1e-5);
            cr_assert_float_eq(exact[b].crps[i], panels[b].crps[i], 1e-5 * std);
        }
    }
    stop(&m);
}

Test(scalar, importance_says_the_same_with_many_draws)
{
    enum { M = 65536 };
    static struct answer truth[ROWS], drawn[ROWS];
    struct machine m = start(make(EBM_ACT_RELU, true, -INFINITY, INFINITY), M);
    ask(&m, EBM_ESTIMATE_EXACT, 1, false, truth);
    ask(&m, EBM_ESTIMATE_IMPORTANCE, M, false, drawn);
    for (uint32_t b = 0; b < ROWS; b++) {
        const struct answer *t = &truth[b], *d = &drawn[b];
        double std = sqrt(t->variance), share = 5.0 * sqrt(0.25 / d->out.ess);
        printf("row %u: ess %.0f, mean %.2f standard errors off\n", b, d->out.ess, (d->mean - t->mean) / d->mcse);
        cr_assert(t->out.proper && d->out.proper);
        cr_assert_float_eq(d->mean, t->mean, 5.0 * d->mcse);
        cr_assert_float_eq(d->out.log_z, t->out.log_z, 5.0 * d->out.log_z_std_error);
        cr_assert_float_eq(d->variance, t->variance, 0.05 * t->variance);
        cr_assert_eq(d->variance > 0.0 && fabs(d->covariance / d->variance - 1.0) < 1e-9, true);
        cr_assert_float_eq(d->entropy, t->entropy, 0.05);
        cr_assert_float_eq(d->mode, t->mode, 0.05 * std);
        for (uint32_t i = 0; i < POINTS; i++) {
            cr_assert_float_eq(d->cdf[i], t->cdf[i], share);
            cr_assert_float_eq(d->crps[i], t->crps[i], 0.05 * std);
        }
        for (uint32_t i = 0; d->out.n_intervals == t->out.n_intervals && i < 2 * t->out.n_intervals; i++)
            cr_assert_float_eq(d->region[i], t->region[i], 0.1 * std);
    }
    stop(&m);
}

/* Kolmogorov-Smirnov, and the region's mass, by the answers themselves. */
static void check_draws(struct machine *m, enum ebm_estimator estimator)
{
    static struct answer answers[ROWS], again[ROWS];
    ask(m, estimator, 1, true, answers);
    ask(m, estimator, 1, true, again);
    for (uint32_t b = 0; b < ROWS; b++) {
        struct answer *a = &answers[b];
        double worst = 0.0, mean = 0.0, inside = 0.0;
        cr_assert_eq(memcmp(a->draws, again[b].draws, sizeof a->draws), 0, "same seed, same bytes");
        for (uint32_t i = 0; i < DRAWS; i++) {
            mean += (double)a->draws[i] / DRAWS;
            for (uint32_t j = 0; j < a->out.n_intervals; j++)
                inside += (double)a->draws[i] >= a->region[2 * j] && (double)a->draws[i] <= a->region[2 * j + 1];
        }
        cr_assert_float_eq(mean, a->mean, 5.0 * sqrt(a->variance / DRAWS));
        cr_assert_float_eq(inside / DRAWS, 0.8, 5.0 * sqrt(0.16 / DRAWS), "row %u: %g in the region", b,
                           inside / DRAWS);
        static float ones[DRAWS];
        static uint64_t pairs[2 * DRAWS];
        static double sums[2 * DRAWS];
        for (uint32_t i = 0; i < DRAWS; i++)
            ones[i] = 1.0f;
        struct ebm_weighted drawn = ebm_weighted_sort(a->draws, ones, DRAWS,
                                                      (struct ebm_sort_scratch){pairs, pairs + DRAWS, sums});
        for (uint32_t i = 0; i < POINTS; i++)
            cr_assert_float_eq(a->crps[i], ebm_weighted_crps(&drawn, at[i]), 0.1 * sqrt(a->variance));
        qsort(a->draws, DRAWS, sizeof *a->draws, ebm_order_floats);
        for (uint32_t i = 0; i < POINTS; i++) {
            uint32_t n = 0;
            while (n < DRAWS && (double)a->draws[n] <= at[i])
                n++;
            worst = fmax(worst, fabs((double)n / DRAWS - a->cdf[i]));
        }
        cr_assert_lt(worst * sqrt(DRAWS), 2.0, "row %u: Kolmogorov-Smirnov %.3f", b, worst * sqrt(DRAWS));
    }
}

Test(scalar, draws_have_the_distribution_without_a_proposal)
{
    struct machine exact = start(make(EBM_ACT_RELU, false, -INFINITY, INFINITY), 1);
    check_draws(&exact, EBM_ESTIMATE_EXACT);
    check_draws(&exact, EBM_ESTIMATE_QUADRATURE);
    stop(&exact);
    struct machine smooth = start(make(EBM_ACT_SILU, true, -6.0, 6.0), DRAWS);
    check_draws(&smooth, EBM_ESTIMATE_QUADRATURE);
    check_draws(&smooth, EBM_ESTIMATE_MIXTURE);
    stop(&smooth);
}

Test(scalar, without_an_integral_auto_draws)
{
    static struct answer answers[ROWS];
    struct machine m = start(make(EBM_ACT_TANH, true, -INFINITY, INFINITY), 1024);
    struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_QUADRATURE, .or_importance = true};
    double mean;
    struct ebm_estimate out = {.mean = &mean};
    struct ebm_task task = {.row = {.seed = 1, .samples = 512}, .spec = &spec, .out = &out};
    cr_assert_eq(ops()->predict(m.ctx, m.plan, m.x, &task, 1), EBM_OK);
    cr_assert_eq(out.used, EBM_ESTIMATE_IMPORTANCE);
    cr_assert(!out.proper && out.samples == 512 && out.ess > 1.0);
    ask(&m, EBM_ESTIMATE_QUADRATURE, 1, false, answers);
    cr_assert(!answers[0].out.proper && answers[0].out.used == EBM_ESTIMATE_QUADRATURE);
    cr_assert_eq(answers[0].out.support[1], 512.0, "how far it went");
    stop(&m);
}

static bool never(const void *who)
{
    (void)who;
    return false;
}

Test(scalar, nobody_waits_and_nothing_is_asked_that_cannot_be)
{
    struct machine m = start(make(EBM_ACT_SILU, false, -4.0, 4.0), 1);
    struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_QUADRATURE};
    struct ebm_estimate out = {.status = EBM_OK};
    struct ebm_task task = {.row = {.samples = 1}, .spec = &spec, .out = &out, .wanted = never};
    cr_assert_eq(ops()->predict(m.ctx, m.plan, m.x, &task, 1), EBM_OK);
    cr_assert_eq(out.status, EBM_CANCELLED);
    static const enum ebm_estimator others[] = {EBM_ESTIMATE_IMPORTANCE, EBM_ESTIMATE_MIXTURE};
    for (int i = 0; i < 2; i++) {
        spec.estimator = others[i];
        cr_assert_eq(ops()->predict(m.ctx, m.plan, m.x, &task, 1), EBM_INVALID, "there is no proposal");
    }
    stop(&m);
}
