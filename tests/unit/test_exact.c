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
