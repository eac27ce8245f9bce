/* plain_net.h - small networks of random numbers with a scalar target, a plain forward pass through them in double,
 * and log Z, moments and quantiles of exp f by bisection for the kinks: what tests of exact answers compare with.
 * Include after criterion. */
#ifndef EBM_TESTS_PLAIN_NET_H
#define EBM_TESTS_PLAIN_NET_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/net_desc.h"
#include "core/rng.h"

#define HELPER static __attribute__((unused))

#define MOST_LAYERS 6u
#define MOST_WIDTH 600u

/* ---- networks ---- */

struct shape {
    const char *name;
    uint32_t H;
    uint32_t target[MOST_LAYERS]; /* outputs of each layer, 0: the end */
    bool target_residual[MOST_LAYERS];
    uint32_t energy[MOST_LAYERS];
    bool energy_residual[MOST_LAYERS];
    uint32_t identity_target, identity_energy; /* bit i: layer i is linear */
};

struct network {
    struct ebm_net_desc desc;
    struct ebm_layer layers[2 * MOST_LAYERS];
    struct ebm_support support;
    float *params;
    float h[MOST_WIDTH], hx[MOST_WIDTH]; /* of a row, as the device gives them */
    double hx_plain[MOST_WIDTH];         /* the same for the forward pass */
    uint32_t number, counter;            /* of random numbers */
};

HELPER double uniform(struct network *n)
{
    uint32_t words[4];
    ebm_philox(12, n->number, n->counter++, 97, 0, words);
    return ebm_uniform(words[0]);
}

HELPER void add_layer(struct network *n, struct ebm_layer *layer, uint32_t in, uint32_t out, bool relu, bool residual)
{
    *layer = (struct ebm_layer){.in = in,
                                .out = out,
                                .activation = relu ? EBM_ACT_RELU : EBM_ACT_IDENTITY,
                                .residual = residual && in == out,
                                .weight = n->desc.n_params};
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    n->desc.n_params = layer->bias + ebm_round_up(out, 16);
}

HELPER void fill_layer(struct network *n, const struct ebm_layer *layer, double scale)
{
    double reach = scale / sqrt(layer->in);
    for (size_t i = 0; i < (size_t)layer->in * layer->out; i++)
        n->params[layer->weight + i] = (float)(reach * (2.0 * uniform(n) - 1.0));
    for (size_t i = 0; i < layer->out; i++)
        n->params[layer->bias + i] = (float)(reach * (2.0 * uniform(n) - 1.0));
}

/* hx = W_h h + b; rounded: the forward pass too has it as a float, as the device gives it. */
HELPER void find_hx(struct network *n, bool rounded)
{
    const struct ebm_layer *first = &n->desc.energy.layers[0];
    for (uint32_t o = 0; o < first->out; o++) {
        double sum = (double)n->params[first->bias + o];
        for (uint32_t i = 0; i < n->desc.H; i++)
            sum += (double)n->params[first->weight + (size_t)o * first->in + i] * (double)n->h[i];
        n->hx[o] = (float)sum;
        n->hx_plain[o] = rounded ? (double)n->hx[o] : sum;
    }
}

HELPER void network_init(struct network *n, const struct shape *s, uint32_t number, double scale, double lower,
                         double upper)
{
    *n = (struct network){.number = number};
    n->desc.D = 1;
    n->desc.has_energy = true;
    n->desc.H = n->desc.X = s->H;
    n->support = (struct ebm_support){EBM_SUPPORT_REAL, lower, upper};
    n->desc.support = &n->support;
    uint32_t in = 1, at = 0;
    for (uint32_t i = 0; i < MOST_LAYERS && s->target[i] > 0; in = s->target[i++])
        add_layer(n, &n->layers[at++], in, s->target[i], !(s->identity_target >> i & 1u), s->target_residual[i]);
    n->desc.target = (struct ebm_net){.n_layers = at, .layers = n->layers};
    n->desc.G = in;
    in += s->H;
    for (uint32_t i = 0; i < MOST_LAYERS && s->energy[i] > 0; in = s->energy[i++])
        add_layer(n, &n->layers[at++], in, s->energy[i], s->energy[i] > 1 && !(s->identity_energy >> i & 1u),
                  s->energy_residual[i]);
    n->desc.energy = (struct ebm_net){.n_layers = at - n->desc.target.n_layers,
                                      .layers = n->layers + n->desc.target.n_layers};
    n->params = calloc(n->desc.n_params, sizeof *n->params);
    for (uint32_t i = 0; i < at; i++)
        fill_layer(n, &n->layers[i], i + 1 < at ? 1.7 : scale);
    for (uint32_t i = 0; i < n->desc.H; i++)
        n->h[i] = (float)(3.0 * uniform(n) - 1.0);
    find_hx(n, true);
}

HELPER void network_done(struct network *n)
{
    free(n->params);
}

/* ---- the plain forward pass ---- */

HELPER double activate(enum ebm_activation kind, double z)
{
    return kind == EBM_ACT_TANH ? tanh(z) : kind == EBM_ACT_RELU && z < 0.0 ? 0.0 : z;
}

HELPER void through(const struct network *n, const struct ebm_layer *layer, double *a)
{
    static double out[MOST_WIDTH];
    for (uint32_t o = 0; o < layer->out; o++) {
        double z = (double)n->params[layer->bias + o];
        for (uint32_t i = 0; i < layer->in; i++)
            z += (double)n->params[layer->weight + (size_t)o * layer->in + i] * a[i];
        out[o] = activate(layer->activation, z);
    }
    for (uint32_t o = 0; o < layer->out; o++)
        a[o] = out[o] + (layer->residual ? a[o] : 0.0);
}

HELPER double plain_f(const struct network *n, double y)
{
    static double a[2 * MOST_WIDTH], z[MOST_WIDTH];
    const struct ebm_layer *first = &n->desc.energy.layers[0];
    uint32_t H = n->desc.H;
    a[0] = y;
    for (uint32_t i = 0; i < n->desc.target.n_layers; i++)
        through(n, &n->desc.target.layers[i], a);
    memmove(a + H, a, n->desc.G * sizeof *a);
    for (uint32_t i = 0; i < H; i++)
        a[i] = (double)n->h[i];
    for (uint32_t o = 0; o < first->out; o++) {
        z[o] = n->hx_plain[o];
        for (uint32_t i = H; i < first->in; i++)
            z[o] += (double)n->params[first->weight + (size_t)o * first->in + i] * a[i];
        z[o] = activate(first->activation, z[o]);
    }
    for (uint32_t o = 0; o < first->out; o++)
        a[o] = z[o] + (first->residual ? a[o] : 0.0);
    for (uint32_t i = 1; i < n->desc.energy.n_layers; i++)
        through(n, &n->desc.energy.layers[i], a);
    return a[0];
}

/* ---- quadrature ---- */

/* Points between which f is linear, as far as bisection can tell; masses by the plain formula. */
struct reference {
    uint32_t n, room;
    double *y, *f, *below; /* below: mass left of the point, over the whole */
    double log_z, mean, std;
};

HELPER void push(struct reference *r, double y, double f)
{
    if (r->n == r->room) {
        r->room = 2 * r->room + 1024;
        r->y = realloc(r->y, r->room * sizeof *r->y);
        r->f = realloc(r->f, r->room * sizeof *r->f);
    }
    r->y[r->n] = y;
    r->f[r->n++] = f;
}

/* Adds what lies in (a, b]. */
HELPER void bisect(struct reference *r, const struct network *n, double a, double f_a, double b, double f_b, int depth)
{
    static const double at[] = {0.5, 0.31, 0.77, 0.13, 0.93};
    bool is_linear = true;
    double scale = 1e-11 * (1.0 + fabs(f_a) + fabs(f_b));
    for (size_t i = 0; is_linear && i < EBM_COUNT_OF(at); i++)
        is_linear = fabs(plain_f(n, a + at[i] * (b - a)) - (f_a + at[i] * (f_b - f_a))) < scale;
    if (is_linear || depth == 0) {
        push(r, b, f_b);
        return;
    }
    double c = 0.5 * (a + b), f_c = plain_f(n, c);
    bisect(r, n, a, f_a, c, f_c, depth - 1);
    bisect(r, n, c, f_c, b, f_b, depth - 1);
}

/* integral of exp(f) over a line, and of y exp(f), from its lower end; peak is subtracted */
HELPER void line_integrals(double a, double b, double f_a, double f_b, double *ret_mass, double *ret_mean,
                           double *ret_square)
{
    static const double node[] = {0.18343464249564980494, 0.52553240991632898582, 0.79666647741362673959,
                                  0.96028985649753623168};
    static const double weight[] = {0.36268378337836198297, 0.31370664587788728734, 0.22238103445337447054,
                                    0.10122853629037625915};
    uint32_t parts = 1 + (uint32_t)fmin(fabs(f_b - f_a), 500.0);
    double m = 0.0, first = 0.0, second = 0.0;
    for (uint32_t k = 0; k < parts; k++)
        for (int i = 0; i < 8; i++) {
            double u = (k + 0.5 + 0.5 * (i < 4 ? node[i] : -node[i - 4])) / parts;
            double y = a + u * (b - a), p = 0.5 * weight[i % 4] / parts * (b - a) * exp(f_a + u * (f_b - f_a));
            m += p;
            first += p * y;
            second += p * y * y;
        }
    *ret_mass = m;
    *ret_mean = first;
    *ret_square = second;
}

HELPER void reference_sum(struct reference *r)
{
    double peak = -(double)INFINITY, m, first, second, sums[3] = {0.0, 0.0, 0.0};
    for (uint32_t i = 0; i < r->n; i++)
        peak = fmax(peak, r->f[i]);
    r->below = calloc(r->n, sizeof *r->below);
    for (uint32_t i = 1; i < r->n; i++) {
        line_integrals(r->y[i - 1], r->y[i], r->f[i - 1] - peak, r->f[i] - peak, &m, &first, &second);
        sums[0] += m, sums[1] += first, sums[2] += second;
        r->below[i] = sums[0];
    }
    for (uint32_t i = 0; i < r->n; i++)
        r->below[i] /= sums[0];
    r->log_z = peak + log(sums[0]);
    r->mean = sums[1] / sums[0];
    r->std = sqrt(sums[2] / sums[0] - r->mean * r->mean);
}

/* intervals at first, in which bisection looks for kinks */
#define GRID 400u
#define COARSE_GRID 100u

HELPER struct reference reference_of(const struct network *n, double lower, double upper, uint32_t grid)
{
    struct reference r = {.n = 0};
    push(&r, lower, plain_f(n, lower));
    for (uint32_t i = 1; i <= grid; i++) {
        double b = lower + (upper - lower) * i / grid;
        bisect(&r, n, r.y[r.n - 1], r.f[r.n - 1], b, plain_f(n, b), 34);
    }
    reference_sum(&r);
    return r;
}

HELPER void reference_done(struct reference *r)
{
    free(r->y);
    free(r->f);
    free(r->below);
}

/* By bisection in the interval that holds p. */
HELPER double reference_quantile(const struct reference *r, double p)
{
    uint32_t i = 1;
    while (i + 1 < r->n && r->below[i] < p)
        i++;
    double low = r->y[i - 1], high = r->y[i], slope = (r->f[i] - r->f[i - 1]) / (high - low), m, whole, unused;
    line_integrals(low, high, 0.0, r->f[i] - r->f[i - 1], &whole, &unused, &unused);
    double share = (p - r->below[i - 1]) / (r->below[i] - r->below[i - 1]), a = low;
    for (int k = 0; k < 60; k++) {
        double c = 0.5 * (low + high);
        line_integrals(a, c, 0.0, slope * (c - a), &m, &unused, &unused);
        if (m < share * whole)
            low = c;
        else
            high = c;
    }
    return 0.5 * (low + high);
}

__attribute__((unused)) static const struct shape shapes[] = {
    {"toy", 10, {10, 10}, {0}, {10, 10, 1}, {false, true}, 0, 0},
    {"one hidden layer", 6, {8, 16}, {0}, {40, 1}, {0}, 0, 0},
    {"three hidden layers", 8, {12, 8}, {0}, {20, 20, 20, 1}, {false, true, true}, 0, 0},
    {"residual target net", 5, {9, 9, 9}, {false, true, true}, {14, 14, 1}, {false, true}, 0, 0},
    {"residual first layer", 6, {10}, {0}, {16, 16, 1}, {true, true}, 0, 0},
    {"no target net", 4, {0}, {0}, {17, 9, 1}, {0}, 0, 0},
    {"linear layers between", 5, {7, 7, 5}, {0}, {12, 12, 12, 1}, {false, true, false}, 2, 2},
    {"one linear energy layer", 3, {11, 6}, {0}, {1}, {0}, 0, 0},
    {"plain, ever wider", 3, {3, 5}, {0}, {7, 33, 1}, {0}, 0, 0},
};

#endif
