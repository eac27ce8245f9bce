/* test_pieces.c - closed forms against long double; whole densities, random and degenerate, against fine quadrature of
 * the same f by Gauss and Legendre, which knows nothing of exponentials of lines. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "core/piece_forms.h"
#include "core/pieces.h"
#include "core/rng.h"

/* ---- closed forms ---- */

struct forms {
    long double phi, psi, variance, square;
};

/* integral of u^k exp(-t u) over [0, 1], by its power series */
static long double power_moment(long double t, int k)
{
    long double term = 1.0L, sum = 0.0L;
    for (int n = 0; n < 60; n++) {
        sum += term / (n + k + 1);
        term *= -t / (n + 1);
    }
    return sum;
}

static long double square_by_simpson(long double t)
{
    long double sum = 0.0L, whole = t > 0.0L ? expm1l(-t) : 1.0L;
    const int n = 4000;
    for (int i = 0; i <= n; i++) {
        long double u = (long double)i / n, g = t > 0.0L ? expm1l(-t * u) / whole : u;
        sum += (i == 0 || i == n ? 1.0L : i % 2 == 1 ? 4.0L : 2.0L) * g * g;
    }
    return sum / (3.0L * n);
}

static struct forms forms_of(long double t)
{
    struct forms r;
    if (t < 2.0L) {
        long double m0 = power_moment(t, 0), m1 = power_moment(t, 1), m2 = power_moment(t, 2);
        r = (struct forms){m0, m1 / m0, m2 / m0 - m1 / m0 * (m1 / m0), square_by_simpson(t)};
        return r;
    }
    long double e = expl(-t), whole = -expm1l(-t);
    r = (struct forms){whole / t, 1 / t - e / whole, 1 / (t * t) - e / (whole * whole),
                       (1 - 2 * whole / t - expm1l(-2 * t) / (2 * t)) / (whole * whole)};
    return r;
}

static void assert_relative(const char *what, double t, double got, long double want, double tolerance)
{
    double error = (double)fabsl(((long double)got - want) / want);
    cr_assert(error <= tolerance, "%s at t = %g: %.17g, error %.2g", what, t, got, error);
}

Test(pieces, closed_forms_against_long_double)
{
    static const double at[] = {0.0,  1e-300, 1e-12, 1e-5, 1e-3, 0.02, 0.1,   0.3, 0.49999999, 0.5,  0.7,
                                0.99, 1.0,    1.5,   3.0,  10.0, 50.0, 700.0, 1e3, 1e5,        1e12, 1e300};
    for (size_t i = 0; i < EBM_COUNT_OF(at); i++) {
        double t = at[i], e = exp(-t);
        struct forms want = forms_of((long double)t);
        assert_relative("phi", t, piece_phi(t, e), want.phi, 1e-14);
        assert_relative("psi", t, piece_psi(t, e), want.psi, 1e-14);
        assert_relative("square", t, piece_square(t, e), want.square, 1e-13);
        if (t < 1e100) /* its square is a number */
            assert_relative("variance", t, piece_variance(t, e), want.variance, 1e-13);
    }
}

Test(pieces, a_point_of_a_piece_has_the_share_on_its_left)
{
    static const double slope[] = {0.0, 1e-300, 1e-12, 1e-3, 1.0, 30.0, 499.0, 501.0, 1e5};
    static const double share[] = {1e-9, 0.1, 0.5, 0.999};
    for (size_t i = 0; i < EBM_COUNT_OF(slope); i++)
        for (size_t k = 0; k < EBM_COUNT_OF(share); k++)
            for (int sign = -1; sign <= 1; sign += 2) {
                long double d = sign * (long double)slope[i],
                            u = (long double)piece_point((double)d, expm1((double)d), share[k]);
                long double below = d == 0.0L  ? u
                                    : d > 0.0L ? expl(d * (u - 1.0L)) * expm1l(-d * u) / expm1l(-d)
                                               : expm1l(d * u) / expm1l(d);
                double error = fabs((double)below / share[k] - 1.0); /* of u: an eps, times the slope */
                cr_assert(error <= 1e-14 + 1e-15 * slope[i], "d = %Lg, share %g: error %.2g", d, share[k], error);
            }
}

/* ---- densities ---- */

#define KNOTS 40u
#define STEPS 200u      /* quadrature intervals a piece */
#define RAY_STEPS 2000u /* of a ray, cut after 60 e-foldings */

struct density {
    struct ebm_pieces pieces;
    double space[(KNOTS + 2) * 9];
};

static double uniform(uint32_t at, uint32_t what)
{
    uint32_t words[4];
    ebm_philox(11, at, what, 98, 0, words);
    return ebm_uniform(words[0]);
}

/* Sides: 0 bounded, 1 left open, 2 right open, 3 the line. steep: how high f's differences are. */
static void random_density(struct density *d, uint32_t number, double steep)
{
    ebm_pieces_init(&d->pieces, KNOTS, d->space);
    struct ebm_pieces *p = &d->pieces;
    uint32_t sides = number % 4;
    p->n = 2 + (uint32_t)(uniform(number, 0) * (KNOTS - 2));
    p->n = sides == 3 && number % 16 == 3 ? 1 : p->n;
    double y = -3.0;
    for (uint32_t i = 0; i < p->n; i++) {
        p->y[i] = y;
        p->f[i] = steep * (uniform(number, 100 + i) - 0.5);
        double kind = uniform(number, 300 + i);
        y += kind < 0.2 ? 1e-3 : 0.5 * kind;
        if (i + 1 < p->n && (kind < 0.1 || kind > 0.9)) { /* two knots in one place, or a level piece */
            p->y[i + 1] = kind < 0.1 ? p->y[i] : y;
            p->f[i + 1] = p->f[i];
            y += kind < 0.1 ? 0.0 : 0.3;
            i++;
        }
    }
    p->is_open[EBM_LEFT] = (sides & 1u) != 0;
    p->is_open[EBM_RIGHT] = (sides & 2u) != 0;
    p->slope[EBM_LEFT] = 0.2 + 3.0 * uniform(number, 1);
    p->slope[EBM_RIGHT] = -0.2 - 3.0 * uniform(number, 2);
    p->is_proper = true;
    ebm_pieces_integrate(p);
    ebm_pieces_accumulate(p);
}

/* The same density by quadrature: points, and what lies left of each. */
struct dense {
    size_t n;
    double *y, *f, *below; /* (n) */
    double peak, total;
};

static double line_f(double a, double b, double f_a, double f_b, double y)
{
    return b > a ? f_a + (f_b - f_a) * ((y - a) / (b - a)) : f_a;
}

/* integral of g(y) exp(f - peak) over one interval, f linear; five points */
static double gauss(double a, double b, double f_a, double f_b, double peak, double (*g)(double, double), double about)
{
    static const double node[] = {0.0, 0.53846931010568309104, -0.53846931010568309104, 0.90617984593866399280,
                                  -0.90617984593866399280};
    static const double weight[] = {0.56888888888888888889, 0.47862867049936646804, 0.47862867049936646804,
                                    0.23692688505618908751, 0.23692688505618908751};
    double sum = 0.0;
    for (int i = 0; i < 5; i++) {
        double y = 0.5 * (a + b) + 0.5 * (b - a) * node[i];
        sum += weight[i] * g(y, about) * exp(line_f(a, b, f_a, f_b, y) - peak);
    }
    return 0.5 * (b - a) * sum;
}

static double one(double y, double about)
{
    (void)y, (void)about;
    return 1.0;
}

static double offset(double y, double about)
{
    return y - about;
}

static double offset_square(double y, double about)
{
    return (y - about) * (y - about);
}

static void dense_line(struct dense *q, double a, double b, double f_a, double f_b, size_t steps)
{
    for (size_t i = 0; i < steps; i++) {
        double share = (double)i / (double)steps;
        q->y[q->n] = a + share * (b - a);
        q->f[q->n++] = f_a + share * (f_b - f_a);
    }
}

static struct dense dense_new(const struct ebm_pieces *p)
{
    struct dense q = {.peak = p->peak};
    size_t most = p->n * (size_t)STEPS + 2 * RAY_STEPS + 1;
    double *space = calloc(3 * most, sizeof *space), r;
    q.y = space, q.f = space + most, q.below = space + 2 * most;
    if (p->is_open[EBM_LEFT]) {
        r = p->slope[EBM_LEFT];
        dense_line(&q, p->y[0] - 60.0 / r, p->y[0], p->f[0] - 60.0, p->f[0], RAY_STEPS);
    }
    for (uint32_t i = 1; i < p->n; i++)
        dense_line(&q, p->y[i - 1], p->y[i], p->f[i - 1], p->f[i], STEPS);
    q.y[q.n] = p->y[p->n - 1], q.f[q.n++] = p->f[p->n - 1];
    if (p->is_open[EBM_RIGHT]) {
        q.n--;
        r = -p->slope[EBM_RIGHT];
        dense_line(&q, p->y[p->n - 1], p->y[p->n - 1] + 60.0 / r, p->f[p->n - 1], p->f[p->n - 1] - 60.0, RAY_STEPS);
        q.y[q.n] = p->y[p->n - 1] + 60.0 / r, q.f[q.n++] = p->f[p->n - 1] - 60.0;
    }
    for (size_t i = 1; i < q.n; i++)
        q.below[i] = q.below[i - 1] + gauss(q.y[i - 1], q.y[i], q.f[i - 1], q.f[i], q.peak, one, 0.0);
    q.total = q.below[q.n - 1];
    return q;
}

static double dense_integral(const struct dense *q, double (*g)(double, double), double about)
{
    double sum = 0.0;
    for (size_t i = 1; i < q->n; i++)
        sum += gauss(q->y[i - 1], q->y[i], q->f[i - 1], q->f[i], q->peak, g, about);
    return sum / q->total;
}

/* integral of F^2 left of y0 and (1 - F)^2 right of it; y0 is a point of q. Simpson with F half way. */
static double dense_crps(const struct dense *q, double y0)
{
    double sum = 0.0;
    for (size_t i = 1; i < q->n; i++) {
        double a = q->y[i - 1], b = q->y[i], c = 0.5 * (a + b), f_c = line_f(a, b, q->f[i - 1], q->f[i], c), g[3];
        g[0] = q->below[i - 1];
        g[1] = g[0] + gauss(a, c, q->f[i - 1], f_c, q->peak, one, 0.0);
        g[2] = q->below[i];
        for (int k = 0; k < 3; k++) {
            g[k] /= q->total;
            g[k] = b <= y0 ? g[k] : 1.0 - g[k];
        }
        sum += (b - a) / 6.0 * (g[0] * g[0] + 4.0 * g[1] * g[1] + g[2] * g[2]);
    }
    return sum;
}

static double dense_entropy(const struct dense *q)
{
    double sum = 0.0;
    for (size_t i = 1; i < q->n; i++) {
        double a = q->y[i - 1], b = q->y[i], slope = b > a ? (q->f[i] - q->f[i - 1]) / (b - a) : 0.0;
        sum += (q->f[i - 1] - q->peak) * gauss(a, b, q->f[i - 1], q->f[i], q->peak, one, 0.0) +
               slope * gauss(a, b, q->f[i - 1], q->f[i], q->peak, offset, a);
    }
    return log(q->total) - sum / q->total;
}

static void check_moments(uint32_t number, const struct density *d, const struct dense *q)
{
    struct ebm_scalar_summary s;
    ebm_pieces_ops.summary(&d->pieces, &s);
    double mean = dense_integral(q, offset, 0.0), variance = dense_integral(q, offset_square, mean);
    double sd = sqrt(variance);
    cr_assert(fabs(s.log_z - q->peak - log(q->total)) < 1e-11, "%u: log Z %.15g", number, s.log_z);
    cr_assert(fabs(s.mean - mean) < 1e-10 * (1.0 + sd), "%u: mean %.15g, not %.15g", number, s.mean, mean);
    cr_assert(fabs(sqrt(s.variance) - sd) < 1e-9 * sd, "%u: std %.15g, not %.15g", number, sqrt(s.variance), sd);
    cr_assert(fabs(s.entropy - dense_entropy(q)) < 1e-9, "%u: entropy %.15g, not %.15g", number, s.entropy,
              dense_entropy(q));
    cr_assert(s.proper);
}

static void check_points(uint32_t number, const struct density *d, const struct dense *q)
{
    const struct ebm_pieces *p = &d->pieces;
    double before = 0.0;
    for (size_t i = 0; i < q->n; i++) {
        double got = ebm_pieces_ops.cdf(p, q->y[i]), want = q->below[i] / q->total;
        cr_assert(fabs(got - want) < 1e-11, "%u: cdf(%g) %.15g, not %.15g", number, q->y[i], got, want);
        cr_assert(got >= before - 1e-15, "%u: cdf falls at %g", number, q->y[i]);
        before = got;
        double f = ebm_pieces_ops.log_density(p, q->y[i]) + p->log_z;
        cr_assert(fabs(f - q->f[i]) < 1e-7 * (1.0 + fabs(q->f[i])), "%u: f(%g) %.15g, not %.15g", number, q->y[i], f,
                  q->f[i]);
        if (i % 97 == 0)
            cr_assert(fabs(ebm_pieces_ops.crps(p, q->y[i]) - dense_crps(q, q->y[i])) < 1e-7,
                      "%u: crps(%g) %.15g, not %.15g", number, q->y[i], ebm_pieces_ops.crps(p, q->y[i]),
                      dense_crps(q, q->y[i]));
    }
    static const double at[] = {1e-12, 1e-3, 0.05, 0.31, 0.5, 0.500001, 0.8, 0.975, 0.9999, 1.0 - 1e-12};
    for (size_t i = 0; i < EBM_COUNT_OF(at); i++) {
        double y = ebm_pieces_ops.quantile(p, at[i]), back = ebm_pieces_ops.cdf(p, y);
        double eps = 1e-15 * (1.0 + fabs(y)) * exp(ebm_pieces_ops.log_density(p, y)); /* of y itself */
        cr_assert(fabs(back - at[i]) < 1e-12 * at[i] + 2e-16 + eps, "%u: cdf(quantile(%g)) is %.17g", number, at[i],
                  back);
    }
}

/* Mass of the region is the level, by the distribution function and by quadrature; f at its inner ends is one height,
 * inside it is not lower, between the intervals not higher. */
static void check_region(uint32_t number, const struct density *d, const struct dense *q, double level)
{
    const struct ebm_pieces *p = &d->pieces;
    double ends[2 * (KNOTS + 2)], mass = 0.0, inside = (double)INFINITY, outside = -(double)INFINITY;
    uint32_t n = ebm_pieces_ops.region(p, level, ends, KNOTS + 2);
    for (uint32_t i = 0; i < n; i++) {
        cr_assert(ends[2 * i] <= ends[2 * i + 1] && (i == 0 || ends[2 * i - 1] < ends[2 * i]), "%u: order", number);
        mass += ebm_pieces_ops.cdf(p, ends[2 * i + 1]) - ebm_pieces_ops.cdf(p, ends[2 * i]);
    }
    cr_assert(fabs(mass - level) < 1e-12, "%u: the region of %g holds %.15g in %u", number, level, mass, n);
    for (size_t i = 0; i < q->n; i++) {
        bool is_in = false;
        for (uint32_t k = 0; k < n; k++)
            is_in = is_in || (q->y[i] >= ends[2 * k] && q->y[i] <= ends[2 * k + 1]);
        inside = is_in ? fmin(inside, q->f[i]) : inside;
        outside = is_in ? outside : fmax(outside, q->f[i]);
    }
    cr_assert(inside >= outside - 1e-7, "%u: f is %.12g inside and %.12g outside", number, inside, outside);
    double few[4];
    uint32_t m = ebm_pieces_ops.region(p, level, few, 2);
    cr_assert(m == (n < 2 ? n : 2) && few[0] == ends[0] && few[2 * m - 1] == ends[2 * n - 1], "%u: joined", number);
}

Test(pieces, random_densities_against_quadrature)
{
    static const double steep[] = {0.0, 1e-3, 1.0, 8.0, 60.0};
    for (uint32_t number = 0; number < 80; number++) {
        struct density d;
        random_density(&d, number, steep[number / 4 % EBM_COUNT_OF(steep)]);
        struct dense q = dense_new(&d.pieces);
        check_moments(number, &d, &q);
        check_points(number, &d, &q);
        check_region(number, &d, &q, 0.5);
        check_region(number, &d, &q, 0.9);
        check_region(number, &d, &q, 0.999);
        free(q.y);
    }
}

/* Kolmogorov and Smirnov: stratified uniforms through the quantile. */
Test(pieces, draws_by_the_quantile_have_the_distribution)
{
    for (uint32_t number = 0; number < 8; number++) {
        struct density d;
        random_density(&d, number, 6.0);
        double worst = 0.0, before = -(double)INFINITY;
        const int n = 5000;
        for (int i = 0; i < n; i++) {
            double y = ebm_pieces_ops.quantile(&d.pieces, (i + uniform((uint32_t)i, 900)) / n);
            double here = ebm_pieces_ops.cdf(&d.pieces, y);
            worst = fmax(worst, fmax(fabs(here - (double)i / n), fabs(here - (i + 1.0) / n)));
            cr_assert(y >= before, "quantiles fall at %d", i);
            before = y;
        }
        cr_assert(worst <= 1.0 / n + 1e-9, "%u: distance %.3g", number, worst);
    }
}

/* ---- degenerate ---- */

static void set(struct density *d, uint32_t n, const double *y, const double *f)
{
    ebm_pieces_init(&d->pieces, KNOTS, d->space);
    d->pieces.n = n;
    d->pieces.is_proper = true;
    for (uint32_t i = 0; i < n; i++) {
        d->pieces.y[i] = y[i];
        d->pieces.f[i] = f[i];
    }
    ebm_pieces_integrate(&d->pieces);
    ebm_pieces_accumulate(&d->pieces);
}

Test(pieces, one_level_piece_is_a_uniform_density)
{
    struct density d;
    set(&d, 2, (double[]){2.0, 4.0}, (double[]){-7.0, -7.0});
    struct ebm_scalar_summary s;
    ebm_pieces_ops.summary(&d.pieces, &s);
    cr_assert(fabs(s.log_z - (log(2.0) - 7.0)) < 1e-15 && s.mean == 3.0 && fabs(s.variance - 1.0 / 3.0) < 1e-15);
    cr_assert(fabs(s.entropy - log(2.0)) < 1e-15 && s.mode == 2.0 && s.pieces == 1 && s.lower == 2.0 && s.upper == 4.0);
    cr_assert(ebm_pieces_ops.cdf(&d.pieces, 2.5) == 0.25 && ebm_pieces_ops.quantile(&d.pieces, 0.75) == 3.5);
    cr_assert(ebm_pieces_ops.cdf(&d.pieces, 1.0) == 0.0 && ebm_pieces_ops.cdf(&d.pieces, 5.0) == 1.0);
    cr_assert(isinf(ebm_pieces_ops.log_density(&d.pieces, 4.1)) && isinf(ebm_pieces_ops.log_density(&d.pieces, 1.9)));
    cr_assert(fabs(ebm_pieces_ops.crps(&d.pieces, 3.0) - 2.0 * 0.125 / 3.0 * 2.0) < 1e-15);
    cr_assert(fabs(ebm_pieces_ops.crps(&d.pieces, 0.0) - (2.0 + 2.0 / 3.0)) < 1e-14, "%.17g",
              ebm_pieces_ops.crps(&d.pieces, 0.0));
    double ends[2];
    cr_assert(ebm_pieces_ops.region(&d.pieces, 0.5, ends, 1) == 1 && ends[0] == 2.0 && fabs(ends[1] - 3.0) < 1e-15);
}

Test(pieces, a_laplace_density_of_two_rays)
{
    struct density d;
    ebm_pieces_init(&d.pieces, KNOTS, d.space);
    struct ebm_pieces *p = &d.pieces;
    p->n = 1, p->y[0] = 1.0, p->f[0] = 5.0;
    p->is_open[0] = p->is_open[1] = p->is_proper = true;
    p->slope[0] = 2.0, p->slope[1] = -2.0;
    ebm_pieces_integrate(p);
    ebm_pieces_accumulate(p);
    struct ebm_scalar_summary s;
    ebm_pieces_ops.summary(p, &s);
    cr_assert(fabs(s.log_z - 5.0) < 1e-15 && s.mean == 1.0 && fabs(s.variance - 0.5) < 1e-15 && s.mode == 1.0);
    cr_assert(fabs(s.entropy - 1.0) < 1e-15, "%.17g", s.entropy); /* 1 + log(2 b), b = 1/2 */
    double low = ebm_pieces_ops.quantile(p, 1e-200), ends[2];     /* tails keep their digits */
    cr_assert(fabs(low - (1.0 + log(2e-200) / 2.0)) < 1e-11, "%.17g", low);
    cr_assert(fabs(ebm_pieces_ops.cdf(p, low) / 1e-200 - 1.0) < 1e-12);
    cr_assert(ebm_pieces_ops.region(p, 0.9, ends, 1) == 1);
    cr_assert(fabs(ends[1] - 1.0 - log(10.0) / 2.0) < 1e-14 && fabs(ends[0] + ends[1] - 2.0) < 1e-14);
}

Test(pieces, no_height_and_no_slope_overflows)
{
    struct density d;
    struct ebm_scalar_summary s;
    set(&d, 3, (double[]){-1.0, 0.0, 1.0}, (double[]){-1e4, 1e4, -1e4});
    ebm_pieces_ops.summary(&d.pieces, &s);
    cr_assert(fabs(s.log_z - (1e4 - log(1e4))) < 1e-9 && s.mean == 0.0 &&
              fabs(sqrt(s.variance) - sqrt(2.0) / 2e4) < 1e-12);
    set(&d, 3, (double[]){-1.0, 0.0, 1.0}, (double[]){-1e300, 1e300, 1e300});
    ebm_pieces_ops.summary(&d.pieces, &s);
    cr_assert(s.log_z == 1e300 && fabs(s.mean - 0.5) < 1e-15 && s.mode == 0.0);
}

Test(pieces, what_cannot_be_normalised_says_so)
{
    static const double slopes[][2] = {{-0.5, -1.0}, {1.0, 0.5}, {-1.0, 1.0}, {0.0, -1.0}, {1.0, 0.0}};
    struct ebm_scalar_summary s;
    double ends[2];
    for (size_t i = 0; i < EBM_COUNT_OF(slopes); i++) {
        struct density d;
        random_density(&d, 3, 1.0);
        struct ebm_pieces *p = &d.pieces;
        p->slope[0] = slopes[i][0], p->slope[1] = slopes[i][1];
        ebm_pieces_integrate(p);
        ebm_pieces_accumulate(p);
        ebm_pieces_ops.summary(p, &s);
        cr_assert(!s.proper && isinf(s.log_z) && isnan(s.mean) && isnan(s.variance) && isnan(s.mode), "case %zu", i);
        cr_assert(isnan(ebm_pieces_ops.cdf(p, 0.0)) && isnan(ebm_pieces_ops.quantile(p, 0.5)));
        cr_assert(isnan(ebm_pieces_ops.log_density(p, 0.0)) && isnan(ebm_pieces_ops.crps(p, 0.0)));
        cr_assert(ebm_pieces_ops.region(p, 0.5, ends, 1) == 0);
    }
    struct density d;
    set(&d, 3, (double[]){-1.0, 0.0, 1.0}, (double[]){0.0, NAN, 0.0});
    ebm_pieces_ops.summary(&d.pieces, &s);
    cr_assert(!s.proper && isnan(s.log_z) && isnan(s.mean));
}
