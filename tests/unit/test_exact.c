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
#include "tests/unit/plain_net.h"

#define MOST_KNOTS 8192u

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
        find_hx(n, true);
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
    for (uint32_t number = 0; number < 1000; number++) {
        static const double scales[] = {1.0, 4.0, 15.0, 60.0};
        struct network n;
        struct exact e;
        network_init(&n, &shapes[number % EBM_COUNT_OF(shapes)], number, scales[number / 9 % 4], -3.0, 2.5);
        cr_assert_eq(exact_init(&e, &n, MOST_KNOTS), EBM_OK);
        struct reference r = reference_of(&n, -3.0, 2.5, GRID);
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
            struct reference r = reference_of(&n, lower, upper, GRID);
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

/* ---- by a million points, without looking for kinks ---- */

#define POINTS 1000000

static void check_dense(const struct shape *shape, uint32_t number, double tolerance)
{
    struct network n;
    struct exact e;
    struct ebm_scalar_summary s;
    const double lower = -3.0, upper = 4.0, h = (upper - lower) / POINTS;
    static double f[POINTS + 1];
    double peak = -(double)INFINITY, mass = 0.0, mean = 0.0, variance = 0.0;
    network_init(&n, shape, number, 8.0, lower, upper);
    cr_assert_eq(exact_init(&e, &n, MOST_KNOTS), EBM_OK);
    e.scalar.ops->summary(e.scalar.density, &s);
    for (int i = 0; i <= POINTS; i++) {
        f[i] = plain_f(&n, lower + h * i);
        peak = fmax(peak, f[i]);
    }
    for (int i = 0; i <= POINTS; i++) {
        double p = (i == 0 || i == POINTS ? 0.5 : 1.0) * exp(f[i] - peak);
        mass += p;
        mean += p * (lower + h * i);
        variance += p * (lower + h * i) * (lower + h * i);
    }
    mean /= mass;
    variance = variance / mass - mean * mean;
    printf("%s: %u pieces, log Z off by %.1e, mean by %.1e std, std by %.1e\n", shape->name, s.pieces,
           s.log_z - peak - log(mass * h), (s.mean - mean) / sqrt(variance), sqrt(s.variance / variance) - 1.0);
    cr_assert(fabs(s.log_z - peak - log(mass * h)) < tolerance && fabs(s.mean - mean) < tolerance * sqrt(variance) &&
              fabs(sqrt(s.variance / variance) - 1.0) < tolerance);
    exact_done(&e);
    network_done(&n);
}

Test(exact, dense_quadrature_knows_nothing_of_kinks)
{
    check_dense(&shapes[0], 77, 3e-6);
    check_dense(&shapes[3], 78, 3e-6);
}

/* ---- degenerate networks ---- */

static struct ebm_layer *layer_of(struct network *n, bool of_energy, uint32_t i)
{
    return &n->layers[(of_energy ? n->desc.target.n_layers : 0) + i];
}

/* A unit whose weights and bias are all `value`. */
static void set_unit(struct network *n, const struct ebm_layer *layer, uint32_t unit, float value)
{
    for (uint32_t i = 0; i < layer->in; i++)
        n->params[layer->weight + (size_t)unit * layer->in + i] = value;
    n->params[layer->bias + unit] = value;
}

static void zero_units(struct network *n)
{
    set_unit(n, layer_of(n, false, 0), 0, 0.0f);
    set_unit(n, layer_of(n, false, 1), 3, 0.0f);
    set_unit(n, layer_of(n, true, 0), 2, 0.0f);
    set_unit(n, layer_of(n, true, 1), 1, 0.0f);
}

/* Two of each layer the same: kinks in one place. */
static void twins(struct network *n)
{
    for (uint32_t l = 0; l < 4; l++) {
        struct ebm_layer *layer = &n->layers[l];
        memcpy(&n->params[layer->weight], &n->params[layer->weight + layer->in], layer->in * sizeof(float));
        n->params[layer->bias] = n->params[layer->bias + 1];
    }
}

/* Kinks exactly at 0, at both bounds, and one above the other. */
static void kinks_in_places(struct network *n)
{
    struct ebm_layer *layer = layer_of(n, false, 0);
    static const float weights[] = {1.0f, -1.0f, 1.0f, 2.0f, 0.5f}, biases[] = {0.0f, 0.0f, 3.0f, -5.0f, 0.0f};
    for (uint32_t i = 0; i < EBM_COUNT_OF(weights); i++) {
        n->params[layer->weight + i] = weights[i];
        n->params[layer->bias + i] = biases[i];
    }
    layer = layer_of(n, false, 1); /* sees only y and -y: 0 at 0 */
    for (uint32_t i = 0; i < layer->in; i++)
        n->params[layer->weight + i] = i == 0 ? 1.0f : i == 1 ? -1.0f : 0.0f;
    n->params[layer->bias] = 0.0f;
}

/* f does not depend on y: one level piece, or as many. */
static void all_dead(struct network *n)
{
    for (uint32_t unit = 0; unit < layer_of(n, false, 1)->out; unit++)
        set_unit(n, layer_of(n, false, 1), unit, 0.0f);
}

static void steep(struct network *n)
{
    for (uint32_t i = 0; i < layer_of(n, true, 2)->in; i++)
        n->params[layer_of(n, true, 2)->weight + i] *= 3e4f;
}

static void far_below(struct network *n)
{
    n->params[layer_of(n, true, 2)->bias] = -1e4f;
}

static void (*const spoilers[])(struct network *n) = {zero_units, twins, kinks_in_places, all_dead, steep, far_below};

Test(exact, degenerate_networks)
{
    for (uint32_t number = 0; number < 30; number++) {
        struct network n;
        struct exact e;
        struct worst worst = {0};
        network_init(&n, &shapes[0], 300 + number, 3.0, -3.0, 2.5);
        spoilers[number % EBM_COUNT_OF(spoilers)](&n);
        find_hx(&n, true);
        cr_assert_eq(exact_init(&e, &n, MOST_KNOTS), EBM_OK, "network %u", number);
        struct reference r = reference_of(&n, -3.0, 2.5, GRID);
        compare(&n, &e, &r, &worst);
        cr_assert(worst.f < 5e-6 && worst.log_z < 5e-6 && worst.mean < 5e-6 && worst.std < 5e-6 &&
                      worst.quantile < 1e-5,
                  "network %u: f %.2g, log Z %.2g, mean %.2g, std %.2g, quantiles %.2g", number, worst.f, worst.log_z,
                  worst.mean, worst.std, worst.quantile);
        reference_done(&r);
        exact_done(&e);
        network_done(&n);
    }
}

/* ---- tails ---- */

/* f = a relu(y) + b relu(-y). */
static enum ebm_status bind_vee(double a, double b, const struct ebm_support *support, struct network *n,
                                struct exact *e)
{
    static const struct shape vee = {"vee", 1, {2}, {0}, {1}, {0}, 0, 0};
    network_init(n, &vee, 1, 1.0, support->lower, support->upper);
    n->support = *support;
    const struct ebm_layer *target = layer_of(n, false, 0), *energy = layer_of(n, true, 0);
    n->params[target->weight] = 1.0f;
    n->params[target->weight + 1] = -1.0f;
    n->params[target->bias] = n->params[target->bias + 1] = 0.0f;
    n->params[energy->weight + 1] = (float)a;
    n->params[energy->weight + 2] = (float)b;
    find_hx(n, true);
    return exact_init(e, n, 16);
}

Test(exact, tails_belong_to_the_weights)
{
    const double inf = (double)INFINITY;
    const struct {
        double a, b;
        struct ebm_support support;
        bool is_proper, is_finite;
    } cases[] = {
        {-1.0, -2.0, {EBM_SUPPORT_REAL, -inf, inf}, true, true},
        {1.0, -2.0, {EBM_SUPPORT_REAL, -inf, inf}, false, false},
        {-1.0, 2.0, {EBM_SUPPORT_REAL, -inf, inf}, false, false},
        {1.0, 1.0, {EBM_SUPPORT_REAL, -inf, inf}, false, false},
        {0.0, -2.0, {EBM_SUPPORT_REAL, -inf, inf}, false, false},
        {1.0, -2.0, {EBM_SUPPORT_REAL, -1.0, 2.0}, false, true},
        {-1.0, -2.0, {EBM_SUPPORT_REAL, -1.0, 2.0}, true, true},
        {1.0, -2.0, {EBM_SUPPORT_BOUNDED, -1.0, 2.0}, true, true},
        {1.0, 1.0, {EBM_SUPPORT_PERIODIC, -1.0, 2.0}, true, true},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct network n;
        struct exact e;
        struct ebm_scalar_summary s;
        cr_assert_eq(bind_vee(cases[i].a, cases[i].b, &cases[i].support, &n, &e), EBM_OK);
        struct ebm_exact_tails tails = ebm_exact_tails(e.table);
        e.scalar.ops->summary(e.scalar.density, &s);
        cr_assert(tails.slope[0] == -cases[i].b && tails.slope[1] == cases[i].a, "case %zu: %g, %g", i, tails.slope[0],
                  tails.slope[1]);
        cr_assert(s.proper == cases[i].is_proper && isfinite(s.log_z) == cases[i].is_finite, "case %zu: log Z %g", i,
                  s.log_z);
        if (i == 0)
            cr_assert(fabs(s.log_z - (double)n.hx[0] - log(1.5)) < 1e-6);
        exact_done(&e);
        network_done(&n);
    }
}

/* ---- limits, other weights, one space for several tables ---- */

Test(exact, too_many_knots_are_refused_not_cut)
{
    struct network n;
    struct exact e;
    network_init(&n, &shapes[2], 5, 2.0, -3.0, 3.0);
    cr_assert_eq(exact_init(&e, &n, MOST_KNOTS), EBM_OK);
    uint32_t knots = ((const struct ebm_pieces *)e.scalar.density)->n, rows = ebm_exact_tails(e.table).knots;
    cr_assert(knots > rows + 1 && rows > 4);
    exact_done(&e);
    cr_assert_eq(exact_init(&e, &n, knots), EBM_OK);
    exact_done(&e);
    cr_assert_eq(exact_init(&e, &n, knots - 1), EBM_TOO_LARGE);
    cr_assert(e.table != NULL, "its table fits");
    exact_done(&e);
    struct ebm_error error;
    struct ebm_exact_table *table = NULL;
    cr_assert_eq(ebm_exact_table_new(&n.desc, n.params, rows - 1, &table, &error), EBM_TOO_LARGE);
    cr_assert(table == NULL && strcmp(error.where, "target_net") == 0 && strstr(error.text, "kinks") != NULL);
    network_done(&n);
}

static double log_z_of(const struct exact *e)
{
    struct ebm_scalar_summary s;
    e->scalar.ops->summary(e->scalar.density, &s);
    return s.log_z;
}

Test(exact, a_table_updated_is_a_table_made_anew)
{
    struct network n, other;
    struct exact e, fresh;
    network_init(&n, &shapes[3], 8, 3.0, -3.0, 3.0);
    network_init(&other, &shapes[3], 9, 3.0, -3.0, 3.0);
    cr_assert_eq(exact_init(&e, &n, MOST_KNOTS), EBM_OK);
    cr_assert_eq(exact_init(&fresh, &other, MOST_KNOTS), EBM_OK);
    double before = log_z_of(&e), want = log_z_of(&fresh);
    cr_assert_eq(ebm_exact_table_update(e.table, other.params), EBM_OK);
    cr_assert_eq(ebm_exact_bind(e.table, other.hx, other.h, e.space, &e.scalar), EBM_OK);
    cr_assert(log_z_of(&e) == want && want != before);
    cr_assert_eq(ebm_exact_table_update(e.table, n.params), EBM_OK);
    cr_assert_eq(ebm_exact_bind(e.table, n.hx, n.h, fresh.space, &e.scalar), EBM_OK); /* in the other's space */
    cr_assert(log_z_of(&e) == before);
    exact_done(&e);
    exact_done(&fresh);
    network_done(&n);
    network_done(&other);
}

Test(exact, one_space_serves_tables_of_all_shapes)
{
    struct network n[EBM_COUNT_OF(shapes)];
    struct exact e[EBM_COUNT_OF(shapes)];
    struct ebm_exact_space *space = ebm_exact_space_new();
    double alone[EBM_COUNT_OF(shapes)];
    for (size_t i = 0; i < EBM_COUNT_OF(shapes); i++) {
        network_init(&n[i], &shapes[i], 60 + (uint32_t)i, 2.0, -3.0, 3.0);
        cr_assert_eq(exact_init(&e[i], &n[i], 1024 + (uint32_t)i), EBM_OK);
        alone[i] = log_z_of(&e[i]);
        cr_assert_eq(ebm_exact_space_reserve(space, e[i].table), EBM_OK);
    }
    for (size_t k = 0; k < 3 * EBM_COUNT_OF(shapes); k++) {
        size_t i = k % EBM_COUNT_OF(shapes);
        cr_assert_eq(ebm_exact_bind(e[i].table, n[i].hx, n[i].h, space, &e[i].scalar), EBM_OK);
        cr_assert(log_z_of(&e[i]) == alone[i], "%s: %.17g, not %.17g", shapes[i].name, log_z_of(&e[i]), alone[i]);
    }
    for (size_t i = 0; i < EBM_COUNT_OF(shapes); i++) {
        exact_done(&e[i]);
        network_done(&n[i]);
    }
    (void)ebm_exact_space_free(space);
}

Test(exact, numbers_that_are_none_are_said)
{
    struct network n;
    struct exact e;
    network_init(&n, &shapes[0], 4, 2.0, -3.0, 3.0);
    n.hx[3] = NAN;
    cr_assert_eq(exact_init(&e, &n, MOST_KNOTS), EBM_INVALID);
    exact_done(&e);
    n.hx[3] = INFINITY;
    cr_assert_neq(exact_init(&e, &n, MOST_KNOTS), EBM_OK);
    exact_done(&e);
    network_done(&n);
}

Test(exact, where_it_applies)
{
    struct network n;
    network_init(&n, &shapes[0], 4, 2.0, -3.0, 3.0);
    cr_assert(ebm_exact_applies(&n.desc));
    n.layers[3].activation = EBM_ACT_TANH;
    cr_assert(!ebm_exact_applies(&n.desc));
    n.layers[3].activation = EBM_ACT_RELU;
    n.layers[4].activation = EBM_ACT_RELU; /* the last layer bends */
    cr_assert(!ebm_exact_applies(&n.desc));
    n.layers[4].activation = EBM_ACT_IDENTITY;
    n.desc.D = 2;
    cr_assert(!ebm_exact_applies(&n.desc));
    network_done(&n);
}
