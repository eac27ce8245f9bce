/* pieces_region.c - the smallest set that holds a given mass, {y: exp(f - peak) > e} for the right e.
 *
 *   A(e) = mass of that set.  A piece whose heights are low and high contributes
 *   mass * (high - e) / (high - low), between all of it and nothing; a ray the same with low = 0.
 *
 * So A is linear in e between neighbouring heights of knots: the heights are searched, without sorting, for the two
 * neighbours around the wanted mass, and e follows by interpolation. Where a level stretch of f makes A jump, what is
 * missing is taken of such stretches from the left. */
#include <math.h>

#include "core/pieces_internal.h"
#include "core/region.h"

/* Heights at the ends of piece i. */
static void heights(const struct ebm_pieces *p, uint32_t i, double *ret_left, double *ret_right)
{
    *ret_left = i == 0 ? 0.0 : p->height[i - 1];
    *ret_right = i == p->n ? 0.0 : p->height[i];
}

static double mass_above(const struct ebm_pieces *p, double e)
{
    double sum = 0.0, left, right;
    for (uint32_t i = 0; i <= p->n; i++) {
        heights(p, i, &left, &right);
        double high = fmax(left, right), low = fmin(left, right);
        if (p->mass[i] > 0.0 && high > e)
            sum += e > low ? p->mass[i] * ((high - e) / (high - low)) : p->mass[i];
    }
    return sum;
}

/* A knot's height strictly between two: the middle one of them in the order of the knots. False: there is none. */
static bool height_between(const struct ebm_pieces *p, double low, double high, double *ret_height)
{
    uint32_t count = 0, at = 0;
    for (uint32_t i = 0; i < p->n; i++)
        count += p->height[i] > low && p->height[i] < high;
    for (uint32_t i = 0; i < p->n && count > 0; i++)
        if (p->height[i] > low && p->height[i] < high && at++ == count / 2) {
            *ret_height = p->height[i];
            return true;
        }
    return false;
}

/* The height above which `mass` lies, and how much of it the stretches exactly at that height must give. */
static double find_height(const struct ebm_pieces *p, double mass, double *ret_missing)
{
    double low = 0.0, high = 1.0, above_low = p->total, above_high = 0.0, middle;
    while (height_between(p, low, high, &middle)) {
        double above = mass_above(p, middle);
        if (above >= mass) {
            low = middle;
            above_low = above;
        } else {
            high = middle;
            above_high = above;
        }
    }
    /* just below `high` the stretches level at it are in the set too */
    double level = 0.0, left, right;
    for (uint32_t i = 1; i < p->n; i++) {
        heights(p, i, &left, &right);
        level += left == high && right == high ? p->mass[i] : 0.0;
    }
    *ret_missing = 0.0;
    if (above_high + level >= mass) {
        *ret_missing = mass - above_high;
        return high;
    }
    double share = (mass - above_high - level) / (above_low - above_high - level);
    return high - (high - low) * fmin(1.0, share);
}

/* How far from its heavier end a piece stays above e, as a share of t; of a ray in units of 1 / rate. */
static double fall_to(double height, double e)
{
    return log(height / e);
}

/* What of piece i lies above e. False: nothing. */
static bool part_above(const struct ebm_pieces *p, uint32_t i, double e, double *ret_lower, double *ret_upper)
{
    double left, right;
    heights(p, i, &left, &right);
    double high = fmax(left, right);
    if (!(p->mass[i] > 0.0) || !(high > e))
        return false;
    if (i == 0 || i == p->n) {
        double knot = p->y[i == 0 ? 0 : i - 1];
        double length = fall_to(high, e) / ebm_pieces_rate(p, i == 0 ? EBM_LEFT : EBM_RIGHT);
        *ret_lower = i == 0 ? knot - length : knot;
        *ret_upper = i == 0 ? knot : knot + length;
        return true;
    }
    struct piece piece = ebm_pieces_piece(p, i);
    double share = fmin(left, right) >= e ? 1.0 : fmin(1.0, fall_to(high, e) / piece.t);
    *ret_lower = piece.d > 0.0 ? piece.b - share * (piece.b - piece.a) : piece.a;
    *ret_upper = piece.d > 0.0 ? piece.b : piece.a + share * (piece.b - piece.a);
    return true;
}

uint32_t ebm_pieces_region(const void *density, double level, double *ret_ends, uint32_t max)
{
    const struct ebm_pieces *p = density;
    struct ebm_region region = {.ends = ret_ends, .max = max};
    if (!isfinite(p->total))
        return 0;
    double missing, left, right, e = find_height(p, level * p->total, &missing);
    for (uint32_t i = 0; i <= p->n; i++) {
        double lower, upper;
        heights(p, i, &left, &right);
        if (part_above(p, i, e, &lower, &upper)) {
            ebm_region_add(&region, lower, upper);
        } else if (missing > 0.0 && i > 0 && i < p->n && left == e && right == e && p->mass[i] > 0.0) {
            double share = fmin(1.0, missing / p->mass[i]);
            ebm_region_add(&region, p->y[i - 1], p->y[i - 1] + share * (p->y[i] - p->y[i - 1]));
            missing -= share * p->mass[i];
        }
    }
    return region.n;
}
