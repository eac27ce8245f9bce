/* pieces_crps.c - integral of F^2 left of y and of (1 - F)^2 right of it: piece by piece, the one that holds y in two.
 *
 * With G the distribution function inside a piece from its left end, m its share of the mass, I1 and I2 the integrals
 * of G and G^2 over [0, 1], F_a and S_b what lies left and right of the piece and L its length:
 *
 *   F^2         L (F_a^2 + 2 F_a m I1 + m^2 I2)
 *   (1 - F)^2   L (S_b^2 + 2 S_b m (1 - I1) + m^2 (1 - 2 I1 + I2))
 *
 * Heavier end left: I1 = 1 - psi, I2 = J; right: I1 = psi, I2 = 2 psi - 1 + J. Along a ray F or 1 - F is exponential.
 */
#include <math.h>

#include "core/pieces_internal.h"

/* A line of length L with f from f_a to f_b, a share m of all mass. */
struct line {
    double length, d, m;
};

static double left_square(const struct line *line, double before)
{
    double t = fabs(line->d), e = exp(-t), psi = piece_psi(t, e), square = piece_square(t, e), m = line->m;
    double one = line->d > 0.0 ? psi : 1.0 - psi, two = line->d > 0.0 ? 2.0 * psi - 1.0 + square : square;
    return line->length * (before * before + 2.0 * before * m * one + m * m * two);
}

/* The same seen from the other side. */
static double right_square(const struct line *line, double after)
{
    struct line mirrored = {.length = line->length, .d = -line->d, .m = line->m};
    return left_square(&mirrored, after);
}

static struct line line_of(const struct ebm_pieces *p, uint32_t i)
{
    return (struct line){.length = p->y[i] - p->y[i - 1], .d = p->f[i] - p->f[i - 1], .m = p->mass[i] / p->total};
}

/* Integral of F^2 over all of piece i, or of (1 - F)^2. A ray towards its own end only: the other is infinite. */
static double whole_left(const struct ebm_pieces *p, uint32_t i)
{
    double share = p->mass[i] / p->total;
    if (i == 0)
        return share > 0.0 ? share * share / (2.0 * ebm_pieces_rate(p, EBM_LEFT)) : 0.0;
    struct line line = line_of(p, i);
    return left_square(&line, p->below[i] / p->total);
}

static double whole_right(const struct ebm_pieces *p, uint32_t i)
{
    double share = p->mass[i] / p->total;
    if (i == p->n)
        return share > 0.0 ? share * share / (2.0 * ebm_pieces_rate(p, EBM_RIGHT)) : 0.0;
    struct line line = line_of(p, i);
    return right_square(&line, p->above[i + 1] / p->total);
}

/* The ray of that side holds y: both integrals over it. `out` lies outward of y, `in` in the whole ray. */
static double ray_split(const struct ebm_pieces *p, int side, double y)
{
    uint32_t piece = side == EBM_LEFT ? 0 : p->n;
    double rate = ebm_pieces_rate(p, side), knot = p->y[side == EBM_LEFT ? 0 : p->n - 1];
    double in = p->mass[piece] / p->total;
    double out = (side == EBM_LEFT ? ebm_pieces_left_part(p, 0, y) : ebm_pieces_right_part(p, piece, y)) / p->total;
    double outward = out * out / (2.0 * rate);
    return outward + fabs(knot - y) - 2.0 * (in - out) / rate + (in - out) * (in + out) / (2.0 * rate);
}

/* Piece i between two knots holds y. */
static double piece_split(const struct ebm_pieces *p, uint32_t i, double y)
{
    struct line line = line_of(p, i);
    double share = (y - p->y[i - 1]) / line.length;
    struct line left = {
        .length = share * line.length, .d = share * line.d, .m = ebm_pieces_left_part(p, i, y) / p->total};
    struct line right = {.length = (1.0 - share) * line.length,
                         .d = (1.0 - share) * line.d,
                         .m = ebm_pieces_right_part(p, i, y) / p->total};
    return left_square(&left, p->below[i] / p->total) + right_square(&right, p->above[i + 1] / p->total);
}

/* y lies beyond the last knot of a side without a ray: there F is 0 or 1. */
static double beyond(const struct ebm_pieces *p, double y)
{
    double left = p->y[0] - y, right = y - p->y[p->n - 1];
    return left > 0.0 && !p->is_open[EBM_LEFT] ? left : right > 0.0 && !p->is_open[EBM_RIGHT] ? right : 0.0;
}

double ebm_pieces_crps(const void *density, double y)
{
    const struct ebm_pieces *p = density;
    if (!isfinite(p->total) || isnan(y))
        return (double)NAN;
    double sum = beyond(p, y);
    for (uint32_t i = 0; i <= p->n; i++) {
        double a = i == 0 ? -(double)INFINITY : p->y[i - 1], b = i == p->n ? (double)INFINITY : p->y[i];
        if (!(p->mass[i] > 0.0) && (i == 0 || i == p->n || a == b))
            continue;
        if (b <= y)
            sum += whole_left(p, i);
        else if (a >= y)
            sum += whole_right(p, i);
        else
            sum += i == 0 ? ray_split(p, EBM_LEFT, y) : i == p->n ? ray_split(p, EBM_RIGHT, y) : piece_split(p, i, y);
    }
    return sum;
}
