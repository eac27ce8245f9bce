/* test_refine.c - targets that move: ascents beside a plain implementation in double and against maxima known in closed
 * form; Langevin chains against densities known in closed form, with and without bounds and around a circle.
 *
 * The known energy is f(y) = -softplus(u) - softplus(-u), u = sharpness (y - x): exp f is the logistic density around
 * x up to a constant, with distribution function 1 / (1 + exp(-u)). */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "models/estimate.h"

/* ---- networks ---- */

enum { MOST_D = 3 };

struct logistic {
    struct ebm_net_desc net;
    struct ebm_layer layers[5];
    struct ebm_support support[MOST_D];
    float params[16 * 16];
};

static struct ebm_layer *layer_at(struct logistic *l, struct ebm_net *net, uint32_t i, uint32_t in, uint32_t out,
                                  enum ebm_activation activation)
{
    struct ebm_layer *layer = &l->layers[i];
    *layer = (struct ebm_layer){.in = in, .out = out, .activation = activation};
    layer->weight = l->net.n_params;
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    l->net.n_params = layer->bias + ebm_round_up(out, 16);
    cr_assert(l->net.n_params <= EBM_COUNT_OF(l->params));
    if (net->n_layers++ == 0)
        net->layers = layer;
    return layer;
}

/* x (1); D independent logistic coordinates around x; the proposal is N(x + 1, 1.5^2) in each. */
static struct logistic *logistic_new(uint32_t D, const double *sharpness)
{
    struct logistic *l = calloc(1, sizeof *l);
    struct ebm_net_desc *net = &l->net;
    *net = (struct ebm_net_desc){.X = 1, .D = D, .H = 1, .G = D, .K = 1, .has_energy = true};
    struct ebm_layer *first = layer_at(l, &net->energy, 0, 1 + D, 2 * D, EBM_ACT_SOFTPLUS);
    struct ebm_layer *second = layer_at(l, &net->energy, 1, 2 * D, 1, EBM_ACT_IDENTITY);
    net->part[EBM_PART_ENERGY] = (struct ebm_range){0, net->n_params};
    struct ebm_layer *mean = layer_at(l, &net->mean, 2, 1, D, EBM_ACT_IDENTITY);
    struct ebm_layer *variance = layer_at(l, &net->log_variance, 3, 1, D, EBM_ACT_IDENTITY);
    (void)layer_at(l, &net->weight, 4, 1, 1, EBM_ACT_IDENTITY);
    net->part[EBM_PART_PROPOSAL] = (struct ebm_range){mean->weight, net->n_params - mean->weight};
    for (uint32_t d = 0; d < D; d++) {
        for (uint32_t side = 0; side < 2; side++) {
            float *row = l->params + first->weight + (size_t)(2 * d + side) * (1 + D);
            row[0] = (float)(side ? sharpness[d] : -sharpness[d]);
            row[1 + d] = -row[0];
            l->params[second->weight + 2 * d + side] = -1.0f;
        }
        l->params[mean->weight + d] = 1.0f;
        l->params[mean->bias + d] = 1.0f;
        l->params[variance->bias + d] = 2.0f * logf(1.5f);
    }
    return l;
}

struct machine {
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
};

static struct machine start(const struct ebm_device_ops *ops, const struct ebm_net_desc *net, const float *params,
                            uint32_t samples)
{
    struct machine m = {.ops = ops};
    struct ebm_error error = {0};
    struct ebm_ctx_limits limits = {2, samples, false};
    cr_assert_eq(ops->plan_new(net, params, 0, &m.plan, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ops->ctx_new(&limits, &m.ctx, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ops->ctx_prepare(m.ctx, m.plan, &error), EBM_OK, "%s", error.text);
    return m;
}

static void stop(struct machine *m)
{
    m->ctx = m->ops->ctx_free(m->ctx);
    m->plan = m->ops->plan_unref(m->plan);
}

static const struct ebm_device_ops *device(int i)
{
    return i ? ebm_device_reference() : ebm_device_cpu();
}

static bool never(const void *who)
{
    (void)who;
    return false;
}

/* ---- ascents ---- */

enum { MOST_STARTS = 40, MOST_STEPS = 400 };

struct result {
    float y[MOST_STARTS * MOST_D], f[MOST_STARTS], path[MOST_STARTS * (MOST_STEPS + 1) * MOST_D];
    uint32_t steps[MOST_STARTS];
    bool converged[MOST_STARTS];
    struct ebm_estimate out;
};

/* From n_y targets y, or from draws when there are none. */
static void climb(const struct machine *m, float x, const struct ebm_moves *moves, const float *y, uint32_t n_y,
                  uint32_t n_starts, struct result *r)
{
    struct ebm_ascent ascent = {*moves, n_starts, r->y, r->f, r->steps, r->converged, r->path};
    struct ebm_task task = {
        .row = {.seed = 5, .samples = 1000}, .out = &r->out, .n_y = n_y, .h_y = y, .ascent = &ascent};
    cr_assert(n_starts <= MOST_STARTS && moves->steps <= MOST_STEPS);
    cr_assert_eq(m->ops->predict(m->ctx, m->plan, &x, &task, 1), EBM_OK);
}

Test(refine, ascents_reach_the_known_maximum)
{
    const double sharpness[MOST_D] = {1.0, 3.0, 0.5}, lengths[MOST_D] = {1.0, 0.2, 4.0};
    const float starts[] = {3, -2, 0, -1, 1, 1, 0.25f, 0.25f, 0.25f};
    const struct ebm_moves moves = {MOST_STEPS, lengths, 0.5};
    for (int i = 0; i < 2; i++) {
        struct logistic *l = logistic_new(3, sharpness);
        struct machine m = start(device(i), &l->net, l->params, 1024);
        static struct result r;
        climb(&m, 0.25f, &moves, starts, 3, 3, &r);
        cr_assert_eq(r.out.status, EBM_OK);
        for (uint32_t s = 0; s < 3; s++) {
            cr_assert(r.converged[s], "start %u took %u steps", s, r.steps[s]);
            cr_assert_float_eq(r.f[s], -6.0 * log(2.0), 1e-5, "%g", (double)r.f[s]);
            for (uint32_t d = 0; d < 3; d++) /* slope 1e-3 over the curvature sharpness^2 / 2 */
                cr_assert_float_eq(r.y[s * 3 + d], 0.25, 2.1e-3 / (sharpness[d] * sharpness[d]), "%g",
                                   (double)r.y[s * 3 + d]);
        }
        cr_assert_eq(r.steps[2], 0, "where it starts is the maximum");
        stop(&m);
        free(l);
    }
}

Test(refine, an_ascent_never_goes_down_and_shrinks_after_a_refusal)
{
    const double sharpness[] = {2.0}, length[] = {9.0}; /* too long: it jumps over the maximum */
    const struct ebm_moves moves = {60, length, 0.5};
    struct logistic *l = logistic_new(1, sharpness);
    struct machine m = start(ebm_device_cpu(), &l->net, l->params, 64);
    static struct result r;
    const float from[] = {1.5f, -4.0f};
    climb(&m, 0.0f, &moves, from, 2, 2, &r);
    bool refused = false;
    for (uint32_t s = 0; s < 2; s++) {
        double last = -INFINITY;
        for (uint32_t t = 0; t <= r.steps[s]; t++) {
            double u = 2.0 * (double)r.path[s * 61 + t], f = -log1p(exp(u)) - log1p(exp(-u));
            cr_assert(f >= last - 1e-6, "step %u of start %u: %g after %g", t, s, f, last);
            refused = refused || (t > 0 && r.path[s * 61 + t] == r.path[s * 61 + t - 1]);
            last = f;
        }
        cr_assert(r.converged[s] && fabsf(r.y[s]) < 1e-3f, "%g", (double)r.y[s]);
        cr_assert_eq(r.path[s * 61 + r.steps[s]], r.y[s]);
    }
    cr_assert(refused);
    stop(&m);
    free(l);
}

Test(refine, the_best_draws_start)
{
    const double sharpness[] = {2.0, 2.0}, length[] = {0.1, 0.1};
    const struct ebm_moves none = {0, length, 0.5};
    struct logistic *l = logistic_new(2, sharpness);
    struct machine m = start(ebm_device_cpu(), &l->net, l->params, 1024);
    static struct result r;
    climb(&m, 0.5f, &none, NULL, 0, 4, &r);
    float x = 0.5f, f[1000], y[2000];
    struct ebm_row row = {.seed = 5, .samples = 1000};
    cr_assert_eq(m.ops->features(m.ctx, m.plan, &x, 1), EBM_OK);
    cr_assert_eq(m.ops->propose(m.ctx, 0, &row, NULL), EBM_OK);
    cr_assert_eq(m.ops->score(m.ctx, false), EBM_OK);
    cr_assert_eq(m.ops->fetch(m.ctx, EBM_FETCH_F, 0, f), EBM_OK);
    cr_assert_eq(m.ops->fetch(m.ctx, EBM_FETCH_TARGETS, 0, y), EBM_OK);
    for (uint32_t s = 0; s < 4; s++) {
        uint32_t at = 0;
        for (uint32_t j = 1; j < 1000; j++)
            at = f[j] > f[at] ? j : at;
        cr_assert(r.y[2 * s] == y[2 * at] && r.y[2 * s + 1] == y[2 * at + 1], "start %u is not draw %u", s, at);
        f[at] = -INFINITY;
    }
    struct result given;
    climb(&m, 0.5f, &none, y, 1000, 4, &given);
    cr_assert_arr_eq(given.y, r.y, 8 * sizeof(float));
    stop(&m);
    free(l);
}

Test(refine, a_start_does_not_depend_on_the_others)
{
    const double sharpness[] = {1.5, 0.7}, length[] = {0.3, 0.3};
    const struct ebm_moves moves = {25, length, 0.5};
    struct logistic *l = logistic_new(2, sharpness);
    struct machine m = start(ebm_device_cpu(), &l->net, l->params, 64);
    static struct result all, one;
    float starts[2 * MOST_STARTS];
    for (uint32_t i = 0; i < 2 * MOST_STARTS; i++)
        starts[i] = 3.0f * sinf((float)(i * i));
    climb(&m, 0.5f, &moves, starts, MOST_STARTS, MOST_STARTS, &all);
    for (uint32_t s = 0; s < MOST_STARTS; s += 3) {
        climb(&m, 0.5f, &moves, starts + 2 * s, 1, 1, &one);
        cr_assert_arr_eq(one.y, all.y + 2 * s, 2 * sizeof(float), "start %u", s);
        cr_assert_eq(one.steps[0], all.steps[s]);
    }
    stop(&m);
    free(l);
}

Test(refine, bounds_hold_and_circles_close)
{
    const double sharpness[] = {2.0, 2.0}, length[] = {0.5, 0.5};
    const struct ebm_moves moves = {200, length, 0.5};
    struct logistic *l = logistic_new(2, sharpness);
    l->support[0] = (struct ebm_support){EBM_SUPPORT_BOUNDED, 0.5, 2.0}; /* the maximum 0 lies outside */
    l->support[1] = (struct ebm_support){EBM_SUPPORT_PERIODIC, -1.0, 1.0};
    l->net.support = l->support;
    struct machine m = start(ebm_device_cpu(), &l->net, l->params, 64);
    static struct result r;
    const float from[] = {1.5f, 0.5f, 9.0f, 2.75f};
    climb(&m, 0.0f, &moves, from, 2, 2, &r);
    for (uint32_t s = 0; s < 2; s++) {
        cr_assert(r.converged[s], "%u steps", r.steps[s]);
        cr_assert_eq(r.y[2 * s], 0.5f, "%g", (double)r.y[2 * s]);
        cr_assert(fabsf(r.y[2 * s + 1]) < 1e-3f, "%g", (double)r.y[2 * s + 1]);
        for (uint32_t t = 0; t <= r.steps[s]; t++) {
            const float *y = r.path + (s * 201 + t) * 2;
            cr_assert(y[0] >= 0.5f && y[0] <= 2.0f && y[1] >= -1.0f && y[1] < 1.0f, "%g, %g", (double)y[0],
                      (double)y[1]);
        }
    }
    cr_assert_eq(r.path[201 * 2], 2.0f);
    cr_assert_eq(r.path[201 * 2 + 1], 0.75f);
    stop(&m);
    free(l);
}

Test(refine, what_is_not_finite_goes_nowhere)
{
    const double sharpness[] = {2.0}, length[] = {0.5};
    const struct ebm_moves moves = {20, length, 0.5};
    struct logistic *l = logistic_new(1, sharpness);
    struct machine m = start(ebm_device_cpu(), &l->net, l->params, 64);
    static struct result r;
    const float from[] = {NAN, 1.0f};
    climb(&m, 0.0f, &moves, from, 2, 2, &r);
    cr_assert_eq(r.out.status, EBM_OK);
    cr_assert(isnan(r.f[0]) && !r.converged[0] && r.steps[0] == 0 && r.f[1] > -2.0f);
    climb(&m, 0.0f, &moves, from, 1, 1, &r);
    cr_assert_eq(r.out.status, EBM_INVALID);
    stop(&m);
    free(l);
}

Test(refine, who_is_not_wanted_stops)
{
    const double sharpness[] = {2.0}, length[] = {0.5};
    struct logistic *l = logistic_new(1, sharpness);
    struct machine m = start(ebm_device_cpu(), &l->net, l->params, 64);
    static struct result r;
    struct ebm_ascent ascent = {{20, length, 0.5}, 1, r.y, r.f, r.steps, r.converged, NULL};
    float x = 0.0f, from = 1.0f;
    struct ebm_task task = {
        .row = {.samples = 8}, .out = &r.out, .n_y = 1, .h_y = &from, .ascent = &ascent, .wanted = never};
    cr_assert_eq(m.ops->predict(m.ctx, m.plan, &x, &task, 1), EBM_OK);
    cr_assert_eq(r.out.status, EBM_CANCELLED);
    cr_assert_eq(r.steps[0], 1);
    l->net.has_energy = false;
    stop(&m);
    m = start(ebm_device_cpu(), &l->net, l->params, 64);
    cr_assert_eq(m.ops->predict(m.ctx, m.plan, &x, &task, 1), EBM_INVALID, "without an energy net");
    stop(&m);
    free(l);
}

/* ---- beside a plain implementation ---- */

static double activate(enum ebm_activation activation, double z)
{
    switch (activation) {
    case EBM_ACT_IDENTITY:
        return z;
    case EBM_ACT_RELU:
        return z > 0.0 ? z : 0.0;
    case EBM_ACT_TANH:
        return tanh(z);
    case EBM_ACT_SILU:
        return z / (1.0 + exp(-z));
    case EBM_ACT_SOFTPLUS:
        return z > 0.0 ? z + log1p(exp(-z)) : log1p(exp(z));
    }
    return NAN;
}

enum { MOST_WIDTH = 64 };

static void run(const struct ebm_net *net, const float *params, double *v)
{
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        double out[MOST_WIDTH];
        for (uint32_t o = 0; o < layer->out; o++) {
            double z = (double)params[layer->bias + o];
            for (uint32_t j = 0; j < layer->in; j++)
                z += (double)params[layer->weight + (size_t)o * layer->in + j] * v[j];
            out[o] = activate(layer->activation, z) + (layer->residual ? v[o] : 0.0);
        }
        memcpy(v, out, layer->out * sizeof *v);
    }
}

static double plain_f(const struct ebm_model *model, const float *x, const double *y)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    const float *params = ebm_model_params(model);
    double h[MOST_WIDTH], g[MOST_WIDTH];
    for (uint32_t i = 0; i < net->X; i++)
        h[i] = (double)x[i];
    memcpy(g, y, net->D * sizeof *y);
    run(&net->feature, params, h);
    run(&net->target, params, g);
    memcpy(h + net->H, g, net->G * sizeof *g);
    run(&net->energy, params, h);
    return h[0];
}

static void plain_gradient(const struct ebm_model *model, const float *x, const double *y, double *ret_gradient)
{
    for (uint32_t d = 0; d < ebm_model_net(model)->D; d++) {
        double moved[MOST_D];
        memcpy(moved, y, sizeof moved);
        moved[d] = y[d] + 1e-5;
        ret_gradient[d] = plain_f(model, x, moved);
        moved[d] = y[d] - 1e-5;
        ret_gradient[d] = (ret_gradient[d] - plain_f(model, x, moved)) / 2e-5;
    }
}

Test(refine, ascents_follow_a_plain_implementation)
{
    enum { STEPS = 12 };
    const char *root = getenv("EBM_SOURCE_ROOT");
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/golden/smooth_2d/model.safetensors", root ? root : ".");
    struct ebm_model *model = NULL;
    struct ebm_error error;
    cr_assert_eq(ebm_model_load(path, LIMIT_FILE_BYTES, &model, &error), EBM_OK, "%s: %s", error.where, error.text);
    const double lengths[] = {0.5, 2.0};
    const struct ebm_moves moves = {STEPS, lengths, 0.5};
    const float x[] = {0.3f, -0.8f}, from[] = {1.0f, -1.5f, -0.5f, 0.25f, 3.0f, 2.0f};
    for (int i = 0; i < 2; i++) {
        struct machine m = start(device(i), ebm_model_net(model), ebm_model_params(model), 64);
        static struct result r;
        struct ebm_ascent ascent = {moves, 3, r.y, r.f, r.steps, r.converged, r.path};
        struct ebm_task task = {.row = {.samples = 1}, .out = &r.out, .n_y = 3, .h_y = from, .ascent = &ascent};
        cr_assert_eq(m.ops->predict(m.ctx, m.plan, x, &task, 1), EBM_OK);
        for (uint32_t s = 0; s < 3; s++) {
            double y[MOST_D] = {(double)from[2 * s], (double)from[2 * s + 1]}, gradient[MOST_D], lambda = 1.0;
            for (uint32_t t = 0; t <= r.steps[s]; t++) {
                const float *got = r.path + (s * (STEPS + 1) + t) * 2;
                cr_assert(fabs((double)got[0] - y[0]) < 1e-4 && fabs((double)got[1] - y[1]) < 1e-4,
                          "step %u of start %u: %g, %g beside %g, %g", t, s, (double)got[0], (double)got[1], y[0],
                          y[1]);
                plain_gradient(model, x, y, gradient);
                double to[MOST_D] = {y[0] + lambda * 0.5 * gradient[0], y[1] + lambda * 2.0 * gradient[1]};
                if (plain_f(model, x, to) >= plain_f(model, x, y))
                    memcpy(y, to, sizeof y);
                else
                    lambda *= 0.5;
            }
        }
        stop(&m);
    }
    (void)ebm_model_unref(model);
}

/* ---- Langevin ---- */

static double logistic_cdf(double y, double sharpness)
{
    return 1.0 / (1.0 + exp(-sharpness * y));
}

/* Chains that begin at the mixture's draws, which are far from the target. Chi-square over 20 bins of equal mass of
 * coordinate d, whose density is the logistic one on (lower, upper). */
static double chi_square(const float *draws, uint32_t n, uint32_t D, uint32_t d, double sharpness, double lower,
                         double upper)
{
    enum { BINS = 20 };
    double counts[BINS] = {0}, from = logistic_cdf(lower, sharpness), to = logistic_cdf(upper, sharpness), sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        double u = (logistic_cdf((double)draws[i * D + d], sharpness) - from) / (to - from);
        cr_assert(u >= -1e-6 && u <= 1.0 + 1e-6, "draw %u of coordinate %u is outside", i, d);
        counts[(int)fmin(fmax(u * BINS, 0.0), BINS - 1.0)]++;
    }
    for (uint32_t b = 0; b < BINS; b++)
        sum += (counts[b] - (double)n / BINS) * (counts[b] - (double)n / BINS) / ((double)n / BINS);
    return sum;
}

static void wander(const struct machine *m, const struct ebm_moves *moves, uint32_t n, float *draws,
                   struct ebm_estimate *ret_out)
{
    struct ebm_estimate_spec spec = {
        .estimator = EBM_ESTIMATE_MIXTURE, .draws = EBM_DRAWS_FAIR, .n_draws = n, .langevin = moves};
    struct ebm_estimate out = {.draws = draws};
    struct ebm_task task = {.row = {.seed = 11, .samples = 1}, .spec = &spec, .out = &out};
    float x = 0.0f;
    cr_assert_eq(m->ops->predict(m->ctx, m->plan, &x, &task, 1), EBM_OK);
    cr_assert_eq(out.status, EBM_OK);
    *ret_out = out;
}

Test(refine, chains_end_in_the_known_density, .timeout = 60)
{
    enum { CHAINS = 8192 };
    const double sharpness[MOST_D] = {1.8, 1.8, 1.8}, length[MOST_D] = {1.1, 1.1, 1.1};
    struct logistic *l = logistic_new(3, sharpness);
    l->support[0] = (struct ebm_support){EBM_SUPPORT_REAL, -INFINITY, INFINITY};
    l->support[1] = (struct ebm_support){EBM_SUPPORT_BOUNDED, -0.5, 1.5};
    l->support[2] = (struct ebm_support){EBM_SUPPORT_PERIODIC, -1.0, 0.5};
    l->net.support = l->support;
    for (int i = 0; i < 2; i++) {
        uint32_t n = i ? CHAINS / 8 : CHAINS;
        struct machine m = start(device(i), &l->net, l->params, CHAINS);
        const struct ebm_moves moves = {i ? 60 : 150, length, 0.0};
        float *draws = calloc((size_t)CHAINS * MOST_D, sizeof *draws);
        struct ebm_estimate out;
        wander(&m, &moves, n, draws, &out);
        cr_assert(out.acceptance > 0.2 && out.acceptance < 0.9, "%g of the steps were taken", out.acceptance);
        for (uint32_t d = 0; d < 3; d++) { /* 19 degrees of freedom: 43.8 has a probability of 0.001 */
            double lower = d ? l->support[d].lower : -1e3, upper = d ? l->support[d].upper : 1e3;
            double chi = chi_square(draws, n, 3, d, sharpness[d], lower, upper);
            cr_assert(chi < 43.8, "%s, coordinate %u: chi-square %g", m.ops->name, d, chi);
        }
        free(draws);
        stop(&m);
    }
    free(l);
}

Test(refine, a_short_step_is_nearly_always_taken_and_bytes_repeat)
{
    const double sharpness[] = {1.0, 2.0}, length[] = {0.01, 0.01};
    struct logistic *l = logistic_new(2, sharpness);
    struct machine m = start(ebm_device_cpu(), &l->net, l->params, 512);
    const struct ebm_moves moves = {10, length, 0.0};
    float a[300 * 2], b[300 * 2], few[100 * 2];
    struct ebm_estimate out;
    wander(&m, &moves, 300, a, &out);
    cr_assert(out.acceptance > 0.99 && out.acceptance <= 1.0, "%g", out.acceptance);
    wander(&m, &moves, 300, b, &out);
    cr_assert_arr_eq(a, b, sizeof a);
    wander(&m, &moves, 100, few, &out);
    cr_assert_arr_eq(a, few, sizeof few, "draws depend on how many there are");
    stop(&m);
    free(l);
}

/* ---- models: the user's units ---- */

/* The logistic energy of sharpness 2 around the standardised x; targets are 10 + 4 y. */
static struct ebm_model *model_new(const char *proposal, const char *lower_upper)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"vector\", \"shape\": [1]},"
                   "\"target\": {\"dim\": 1, \"mean\": [10], \"std\": [4]%s},"
                   "\"energy_net\": [{\"type\": \"linear\", \"in\": 2, \"out\": 2, \"activation\": \"softplus\"},"
                   "{\"type\": \"linear\", \"in\": 2, \"out\": 1}]%s}",
                   lower_upper, proposal);
    struct ebm_config *config = NULL;
    struct ebm_model *model = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    float *params = calloc(config->net.n_params, sizeof *params);
    const float first[] = {-2, 2, 2, -2}, second[] = {-1, -1};
    memcpy(params + config->net.energy.layers[0].weight, first, sizeof first);
    memcpy(params + config->net.energy.layers[1].weight, second, sizeof second);
    cr_assert_eq(ebm_model_new(config, params, &model, &error), EBM_OK, "%s: %s", error.where, error.text);
    free(params);
    return model;
}

static const char proposal[] = ",\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 1,"
                               "\"mean_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 1}],"
                               "\"log_variance_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 1}],"
                               "\"weight_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 1}]}";
static const char support[] = ", \"lower\": [2], \"upper\": [22]";

static enum ebm_status resolve(const struct ebm_model *model, const struct ebm_query *query, struct ebm_arena *arena,
                               struct ebm_error *reterr)
{
    struct ebm_resolved_query resolved;
    return ebm_query_resolve(query, model, arena, &resolved, reterr);
}

/* At x = 0.5 the maximum is 12, where f = -2 log 2. */
static void refine_at_half(const struct ebm_model *model, const struct ebm_query *query, const double *initial,
                           struct ebm_arena *arena, struct ebm_refinement *ret_refinement)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_ctx_limits limits = {1, 512, false};
    struct ebm_engine *engine = NULL;
    struct ebm_plan *plan = NULL;
    struct ebm_resolved_query resolved;
    struct ebm_prediction *p = calloc(1, sizeof *p);
    struct ebm_error error = {0};
    const double x = 0.5;
    cr_assert_eq(ops->plan_new(ebm_model_net(model), ebm_model_params(model), 0, &plan, &error), EBM_OK);
    cr_assert_eq(ebm_engine_new(ops, &limits, &engine, &error), EBM_OK);
    cr_assert_eq(ebm_engine_prepare(engine, model, plan, &error), EBM_OK);
    cr_assert_eq(ebm_query_resolve(query, model, arena, &resolved, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(ebm_prediction_init(p, 1, &resolved, model, arena), EBM_OK);
    struct ebm_item item = {.x = &x, .targets = initial, .resolved = &resolved, .out = p};
    cr_assert_eq(ebm_engine_predict(engine, model, plan, &item, 1), EBM_OK);
    *ret_refinement = p->refinement;
    free(p);
    engine = ebm_engine_free(engine);
    plan = ops->plan_unref(plan);
}

Test(refine, answers_are_in_the_users_units)
{
    const double length = 0.4, initial[] = {3.0, 30.0};
    const struct {
        const char *proposal, *support;
        uint32_t n_initial;
    } cases[] = {{proposal, "", 0}, {proposal, "", 2}, {"", support, 0}, {"", "", 2}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_model *model = model_new(cases[i].proposal, cases[i].support);
        struct ebm_refine_query refine = {EBM_REFINE_ASCENT, 100, 1, &length, 0.5, 4, cases[i].n_initial, true};
        struct ebm_query query = {.num_samples = 200, .seed = 3, .refine = &refine};
        struct ebm_arena arena;
        struct ebm_refinement r;
        ebm_arena_init(&arena, 1 << 20);
        refine_at_half(model, &query, initial, &arena, &r);
        cr_assert(r.converged, "case %zu: %u steps", i, r.steps);
        cr_assert_float_eq(r.mode[0], 12.0, 4 * 6e-4, "case %zu: %.9g", i, r.mode[0]);
        cr_assert_float_eq(r.unnormalized_log_prob, -2.0 * log(2.0) - log(4.0), 1e-5, "%g", r.unnormalized_log_prob);
        cr_assert_eq(r.trajectory[r.steps], r.mode[0]);
        if (cases[i].n_initial > 0)
            cr_assert(r.trajectory[0] == 3.0 || r.trajectory[0] == 30.0, "%g", r.trajectory[0]);
        else
            cr_assert(fabs(r.trajectory[0] - 12.0) < 1.0, "%g", r.trajectory[0]);
        ebm_arena_done(&arena);
        model = ebm_model_unref(model);
    }
}

Test(refine, what_a_model_cannot_do_is_refused)
{
    const double lengths[] = {0.4, 0.4};
    const struct ebm_refine_query plain = {EBM_REFINE_ASCENT, 10, 1, lengths, 0.5, 4, 0, false},
                                  two = {EBM_REFINE_ASCENT, 10, 2, lengths, 0.5, 4, 0, false},
                                  many = {EBM_REFINE_ASCENT, 10, 1, lengths, 0.5, 101, 0, false},
                                  chain = {EBM_REFINE_LANGEVIN, 10, 1, lengths, 0.5, 0, 0, false},
                                  chain_two = {EBM_REFINE_LANGEVIN, 10, 2, lengths, 0.5, 0, 0, false};
    const struct {
        const char *proposal;
        const struct ebm_refine_query *refine;
        enum ebm_choice choice;
        bool weighted;
        const char *where, *text;
    } cases[] = {
        {"", &plain, EBM_CHOICE_AUTO, false, "initial", "no proposal to draw starts from and no finite support"},
        {proposal, &two, EBM_CHOICE_AUTO, false, "step_length", "expected one number, got 2"},
        {proposal, &many, EBM_CHOICE_AUTO, false, "starts", "101 starts are to be chosen among 100 draws"},
        {proposal, &chain_two, EBM_CHOICE_AUTO, false, "refine.step_length", "expected one number, got 2"},
        {proposal, &chain, EBM_CHOICE_MIXTURE, false, "refine", "leave out the estimator"},
        {proposal, &chain, EBM_CHOICE_AUTO, true, "refine", "weights do not belong"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_model *model = model_new(cases[i].proposal, "");
        struct ebm_query query = {.choice = cases[i].choice,
                                  .outputs = cases[i].refine->method == EBM_REFINE_LANGEVIN ? EBM_OUTPUT(SAMPLES) : 0,
                                  .num_samples = 100,
                                  .n_fair = 10,
                                  .weighted = cases[i].weighted,
                                  .refine = cases[i].refine};
        struct ebm_arena arena;
        struct ebm_error error = {0};
        ebm_arena_init(&arena, 1 << 20);
        cr_assert_eq(resolve(model, &query, &arena, &error), EBM_INVALID, "case %zu", i);
        cr_assert_str_eq(error.where, cases[i].where);
        cr_assert_not_null(strstr(error.text, cases[i].text), "case %zu: %s", i, error.text);
        ebm_arena_done(&arena);
        model = ebm_model_unref(model);
    }
}
