/* test_exact.c - f(x, .) as a piecewise linear function against a plain forward pass in double: at the knots and
 * between them, and its integrals against quadrature of that forward pass, which finds the kinks by bisection or not at
 * all. Parameters are floats on both sides; the exact side computes rows of them in float, so it agrees to its
 * rounding. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/exact.h"
#include "core/limits.h"
#include "core/rng.h"

#define MOST_LAYERS 6u
#define MOST_WIDTH 600u
#define MOST_KNOTS 8192u

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
    float h[MOST_WIDTH], hx[MOST_WIDTH];
    uint32_t number, counter; /* of random numbers */
};

static double uniform(struct network *n)
{
    uint32_t words[4];
    ebm_philox(12, n->number, n->counter++, 97, 0, words);
    return ebm_uniform(words[0]);
}

static void add_layer(struct network *n, struct ebm_layer *layer, uint32_t in, uint32_t out, bool relu, bool residual)
{
    *layer = (struct ebm_layer){.in = in,
                                .out = out,
                                .activation = relu ? EBM_ACT_RELU : EBM_ACT_IDENTITY,
                                .residual = residual && in == out,
                                .weight = n->desc.n_params};
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    n->desc.n_params = layer->bias + ebm_round_up(out, 16);
}

static void fill_layer(struct network *n, const struct ebm_layer *layer, double scale)
{
    double reach = scale / sqrt(layer->in);
    for (size_t i = 0; i < (size_t)layer->in * layer->out; i++)
        n->params[layer->weight + i] = (float)(reach * (2.0 * uniform(n) - 1.0));
    for (size_t i = 0; i < layer->out; i++)
        n->params[layer->bias + i] = (float)(reach * (2.0 * uniform(n) - 1.0));
}

/* hx = W_h h + b, as the device gives it: in floats. */
static void make_row(struct network *n)
{
    const struct ebm_layer *first = &n->desc.energy.layers[0];
    for (uint32_t i = 0; i < n->desc.H; i++)
        n->h[i] = (float)(3.0 * uniform(n) - 1.0);
    for (uint32_t o = 0; o < first->out; o++) {
        double sum = (double)n->params[first->bias + o];
        for (uint32_t i = 0; i < n->desc.H; i++)
            sum += (double)n->params[first->weight + (size_t)o * first->in + i] * (double)n->h[i];
        n->hx[o] = (float)sum;
    }
}

static void network_init(struct network *n, const struct shape *s, uint32_t number, double scale, double lower,
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
    make_row(n);
}

static void network_done(struct network *n)
{
    free(n->params);
}

/* ---- the plain forward pass ---- */

static void through(const struct network *n, const struct ebm_layer *layer, double *a)
{
    static double out[MOST_WIDTH];
    for (uint32_t o = 0; o < layer->out; o++) {
        double z = (double)n->params[layer->bias + o];
        for (uint32_t i = 0; i < layer->in; i++)
            z += (double)n->params[layer->weight + (size_t)o * layer->in + i] * a[i];
        out[o] = layer->activation == EBM_ACT_RELU && z < 0.0 ? 0.0 : z;
    }
    for (uint32_t o = 0; o < layer->out; o++)
        a[o] = out[o] + (layer->residual ? a[o] : 0.0);
}

static double plain_f(const struct network *n, double y)
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
        z[o] = (double)n->hx[o];
        for (uint32_t i = H; i < first->in; i++)
            z[o] += (double)n->params[first->weight + (size_t)o * first->in + i] * a[i];
        z[o] = first->activation == EBM_ACT_RELU && z[o] < 0.0 ? 0.0 : z[o];
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

static void push(struct reference *r, double y, double f)
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
static void bisect(struct reference *r, const struct network *n, double a, double f_a, double b, double f_b, int depth)
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
static void line_integrals(double a, double b, double f_a, double f_b, double *ret_mass, double *ret_mean,
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

static void reference_sum(struct reference *r)
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

#define GRID 400u

static struct reference reference_of(const struct network *n, double lower, double upper)
{
    struct reference r = {.n = 0};
    push(&r, lower, plain_f(n, lower));
    for (uint32_t i = 1; i <= GRID; i++) {
        double b = lower + (upper - lower) * i / GRID;
        bisect(&r, n, r.y[r.n - 1], r.f[r.n - 1], b, plain_f(n, b), 34);
    }
    reference_sum(&r);
    return r;
}

static void reference_done(struct reference *r)
{
    free(r->y);
    free(r->f);
    free(r->below);
}

/* By bisection in the interval that holds p. */
static double reference_quantile(const struct reference *r, double p)
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

/* ---- comparison ---- */

struct exact {
    struct ebm_exact_table *table;
    struct ebm_exact_space *space;
    struct ebm_scalar scalar;
};

static enum ebm_status exact_init(struct exact *e, const struct network *n, uint32_t max_knots)
{
    *e = (struct exact){.space = ebm_exact_space_new()};
    struct ebm_error error;
    cr_assert(ebm_exact_applies(&n->desc));
    enum ebm_status status = ebm_exact_table_new(&n->desc, n->params, max_knots, &e->table, &error);
    if (status == EBM_OK)
        status = ebm_exact_space_reserve(e->space, e->table);
    return status == EBM_OK ? ebm_exact_bind(e->table, n->hx, n->h, e->space, &e->scalar) : status;
}

static void exact_done(struct exact *e)
{
    (void)ebm_exact_table_free(e->table);
    (void)ebm_exact_space_free(e->space);
}

struct worst {
    double f, log_z, mean, std, quantile;
};

static double largest_f(const struct ebm_pieces *p)
{
    double largest = 1.0;
    for (uint32_t i = 0; i < p->n; i++)
        if (p->f[i] > p->peak - 40.0)
            largest = fmax(largest, fabs(p->f[i]));
    return largest;
}

/* Errors, in units of the largest |f| where there is mass (float's rounding is relative to that). */
static void compare(const struct network *n, const struct exact *e, const struct reference *r, struct worst *worst)
{
    const struct ebm_pieces *p = e->scalar.density;
    double scale = largest_f(p);
    for (uint32_t i = 0; i < p->n; i++) {
        cr_assert(i == 0 || p->y[i] >= p->y[i - 1], "knots out of order");
        double next = i + 1 < p->n ? p->y[i + 1] : p->y[i], mid = 0.5 * (p->y[i] + next);
        if (p->f[i] < p->peak - 40.0)
            continue;
        worst->f = fmax(worst->f, fabs(p->f[i] - plain_f(n, p->y[i])) / scale);
        double line = e->scalar.ops->log_density(p, mid) + p->log_z;
        worst->f = fmax(worst->f, fabs(line - plain_f(n, mid)) / scale);
    }
    struct ebm_scalar_summary s;
    e->scalar.ops->summary(p, &s);
    worst->log_z = fmax(worst->log_z, fabs(s.log_z - r->log_z) / scale);
    worst->mean = fmax(worst->mean, fabs(s.mean - r->mean) / r->std / scale);
    worst->std = fmax(worst->std, fabs(sqrt(s.variance) / r->std - 1.0) / scale);
    static const double at[] = {0.025, 0.25, 0.5, 0.75, 0.975};
    for (size_t i = 0; i < EBM_COUNT_OF(at); i++)
        worst->quantile = fmax(worst->quantile,
                               fabs(e->scalar.ops->quantile(p, at[i]) - reference_quantile(r, at[i])) / r->std / scale);
}

static const struct shape shapes[] = {
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

/* A network whose f falls on both sides of the line, if its numbers allow that. */
static bool make_proper(struct network *n, struct exact *e)
{
    struct ebm_exact_tails tails = ebm_exact_tails(e->table);
    if (tails.is_proper)
        return true;
    if (!(tails.slope[0] < 0.0 && tails.slope[1] > 0.0))
        return false;
    const struct ebm_layer *last = &n->desc.energy.layers[n->desc.energy.n_layers - 1];
    for (uint32_t i = 0; i < last->in; i++)
        n->params[last->weight + i] *= -1.0f;
    if (n->desc.energy.n_layers == 1)
        make_row(n);
    exact_done(e);
    return exact_init(e, n, MOST_KNOTS) == EBM_OK && ebm_exact_tails(e->table).is_proper;
}

/* How far out f has fallen by 45. */
static double reach(const struct exact *e, int side)
{
    const struct ebm_pieces *p = e->scalar.density;
    double knot = side == 0 ? p->y[0] : p->y[p->n - 1], f = side == 0 ? p->f[0] : p->f[p->n - 1];
    double out = fmax(0.0, 45.0 - (p->peak - f)) / fabs(p->slope[side]);
    return side == 0 ? knot - out : knot + out;
}

static void check_worst(const char *what, const struct worst *worst, double tolerance)
{
    printf("%s: f %.2g, log Z %.2g, mean %.2g, std %.2g, quantiles %.2g\n", what, worst->f, worst->log_z, worst->mean,
           worst->std, worst->quantile);
    cr_assert(worst->f < tolerance && worst->log_z < tolerance && worst->mean < tolerance && worst->std < tolerance &&
                  worst->quantile < 3.0 * tolerance,
              "%s: f %.2g, log Z %.2g, mean %.2g, std %.2g, quantiles %.2g", what, worst->f, worst->log_z, worst->mean,
              worst->std, worst->quantile);
}

Test(exact, random_networks_on_a_bounded_range)
{
    struct worst worst = {0};
    for (uint32_t number = 0; number < 600; number++) {
        static const double scales[] = {1.0, 4.0, 15.0, 60.0};
        struct network n;
        struct exact e;
        network_init(&n, &shapes[number % EBM_COUNT_OF(shapes)], number, scales[number / 9 % 4], -3.0, 2.5);
        cr_assert_eq(exact_init(&e, &n, MOST_KNOTS), EBM_OK);
        struct reference r = reference_of(&n, -3.0, 2.5);
        compare(&n, &e, &r, &worst);
        reference_done(&r);
        exact_done(&e);
        network_done(&n);
    }
    check_worst("bounded", &worst, 3e-6);
}

Test(exact, random_networks_on_the_line_and_on_half_of_it)
{
    struct worst worst = {0};
    uint32_t compared = 0;
    for (uint32_t number = 0; number < 400; number++) {
        uint32_t side = number / EBM_COUNT_OF(shapes) % 3; /* open: both, left, right */
        double lower = side == 2 ? -1.5 : -(double)INFINITY, upper = side == 1 ? 2.0 : (double)INFINITY;
        struct network n;
        struct exact e;
        network_init(&n, &shapes[number % EBM_COUNT_OF(shapes)], 5000 + number, number % 2 == 0 ? 3.0 : 12.0, lower,
                     upper);
        cr_assert_eq(exact_init(&e, &n, MOST_KNOTS), EBM_OK);
        if (make_proper(&n, &e)) {
            lower = side == 2 ? lower : reach(&e, EBM_LEFT);
            upper = side == 1 ? upper : reach(&e, EBM_RIGHT);
            struct reference r = reference_of(&n, lower, upper);
            compare(&n, &e, &r, &worst);
            reference_done(&r);
            compared++;
        }
        exact_done(&e);
        network_done(&n);
    }
    cr_assert(compared > 200, "only %u networks were proper", compared);
    check_worst("line", &worst, 3e-6);
}
