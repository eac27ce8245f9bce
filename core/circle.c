/* circle.c - a density on a circle by questions to the same density between the ends of its support.
 *
 *   lower ----- cut ------------- upper      F from the cut:  F(y) - F(cut), 1 more where y lies below the cut
 *
 * CRPS = E d(Y, y) - E d(Y, Y') / 2 with d the shorter way round. Half circles (t, t + period / 2) separate two places
 * on a share 2 d / period of all t. With H(t) = F(t + period / 2) - F(t), the mass of one, therefore
 *
 *   CRPS = integral over half a period of ([y lies in it] - H(t))^2
 *
 * by 5-point Gauss-Legendre between quantiles, halved until halves agree. */
#include "core/circle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/order.h"
#include "core/support.h"

#define LEAST_LENGTH 0x1p-53
#define SLICES 16u     /* of the CRPS: between quantiles */
#define TOLERANCE 1e-9 /* of a slice, in periods */
#define MOST_HALVINGS 16

/* ---- mean and spread ---- */

struct ebm_circular ebm_circular_of(const struct ebm_support *support, double cosine, double sine)
{
    double period = support->upper - support->lower, turn = 2.0 * M_PI / period;
    double length = fmin(hypot(cosine, sine), 1.0), mean = support->lower + atan2(sine, cosine) / turn;
    struct ebm_circular c = {.turn = turn, .length = isnan(cosine + sine) ? (double)NAN : length};
    c.mean = ebm_support_return(support, mean);
    c.cut = ebm_support_return(support, mean + 0.5 * period);
    c.variance = isnan(c.length) ? (double)NAN : -2.0 * log(fmax(length, LEAST_LENGTH)) / (turn * turn);
    c.variance = c.variance == 0.0 ? 0.0 : c.variance; /* no -0 */
    return c;
}

double ebm_circular_sine(const struct ebm_circular *circular, double y)
{
    return sin(circular->turn * (y - circular->mean));
}

double ebm_circular_scale(const struct ebm_circular *circular, double square)
{
    return square > 0.0 ? sqrt(circular->variance / square) : 0.0;
}

double ebm_circular_way(double from, double to, double period)
{
    return remainder(to - from, period);
}

/* ---- a density ---- */

void ebm_circle_bind(struct ebm_circle *circle, const struct ebm_scalar *scalar, const struct ebm_support *support,
                     bool has_cdf)
{
    double turn = 2.0 * M_PI / (support->upper - support->lower), resultant[2];
    scalar->ops->resultant(scalar->density, support->lower, turn, resultant);
    *circle = (struct ebm_circle){
        .scalar = *scalar, .support = support, .circular = ebm_circular_of(support, resultant[0], resultant[1])};
    if (has_cdf)
        circle->below = scalar->ops->cdf(scalar->density, circle->circular.cut);
}

static void summary(const void *density, struct ebm_scalar_summary *ret_summary)
{
    const struct ebm_circle *circle = density;
    circle->scalar.ops->summary(circle->scalar.density, ret_summary);
    ret_summary->mean = circle->circular.mean;
    ret_summary->variance = circle->circular.variance;
}

static double log_density(const void *density, double y)
{
    const struct ebm_circle *circle = density;
    return circle->scalar.ops->log_density(circle->scalar.density, ebm_support_return(circle->support, y));
}

static double cdf(const void *density, double y)
{
    const struct ebm_circle *circle = density;
    double at = ebm_support_return(circle->support, y);
    double share = circle->scalar.ops->cdf(circle->scalar.density, at) - circle->below;
    return fmin(fmax(at < circle->circular.cut ? share + 1.0 : share, 0.0), 1.0);
}

static double quantile(const void *density, double p)
{
    const struct ebm_circle *circle = density;
    double at = circle->below + p;
    at = fmin(fmax(at > 1.0 ? at - 1.0 : at, 0x1p-1000), 1.0 - 0x1p-53);
    return circle->scalar.ops->quantile(circle->scalar.density, at);
}

static void resultant(const void *density, double origin, double turn, double ret_resultant[2])
{
    const struct ebm_circle *circle = density;
    circle->scalar.ops->resultant(circle->scalar.density, origin, turn, ret_resultant);
}

/* ---- the highest-density region ---- */

uint32_t ebm_circle_join(double *ends, uint32_t n)
{
    double upper = ends[1];
    if (n < 2)
        return n;
    memmove(ends, ends + 2, (size_t)(n - 1) * 2 * sizeof *ends);
    ends[2 * (n - 2) + 1] = upper;
    return n - 1;
}

static uint32_t region(const void *density, double level, double *ret_ends, uint32_t max)
{
    const struct ebm_circle *circle = density;
    double width = circle->support->upper - circle->support->lower, touch = 1e-9 * width;
    uint32_t n = circle->scalar.ops->region(circle->scalar.density, level, ret_ends, max);
    bool joins = n > 1 && ret_ends[0] <= circle->support->lower + touch &&
                 ret_ends[2 * n - 1] >= circle->support->upper - touch;
    return joins ? ebm_circle_join(ret_ends, n) : n;
}

/* ---- the CRPS ---- */

struct halves {
    const struct ebm_circle *circle;
    double y; /* in [lower, upper) */
};

/* ([y lies in the half circle from t on] - H(t))^2, t in the lower half of the support. */
static double integrand(const struct halves *h, double t)
{
    const struct ebm_scalar *scalar = &h->circle->scalar;
    double half = 0.5 * (h->circle->support->upper - h->circle->support->lower);
    double mass = scalar->ops->cdf(scalar->density, t + half) - scalar->ops->cdf(scalar->density, t);
    double off = (h->y >= t && h->y < t + half ? 1.0 : 0.0) - mass;
    return off * off;
}

static double rule(const struct halves *h, double low, double high)
{
    static const double nodes[] = {0.0, 0.53846931010568309104, 0.90617984593866399280};
    static const double weights[] = {0.56888888888888888889, 0.47862867049936646804, 0.23692688505618908751};
    double middle = 0.5 * (low + high), reach = 0.5 * (high - low), sum = weights[0] * integrand(h, middle);
    for (size_t i = 1; i < EBM_COUNT_OF(nodes); i++)
        sum += weights[i] * (integrand(h, middle - reach * nodes[i]) + integrand(h, middle + reach * nodes[i]));
    return reach * sum;
}

static double integrate(const struct halves *h, double low, double high, double whole, double tolerance, int halvings)
{
    double middle = 0.5 * (low + high), left = rule(h, low, middle), right = rule(h, middle, high);
    if (halvings == 0 || fabs(left + right - whole) <= tolerance)
        return left + right;
    return integrate(h, low, middle, left, tolerance, halvings - 1) +
           integrate(h, middle, high, right, tolerance, halvings - 1);
}

static double crps(const void *density, double y)
{
    const struct ebm_circle *circle = density;
    const struct ebm_scalar *scalar = &circle->scalar;
    double lower = circle->support->lower, period = circle->support->upper - lower, half = 0.5 * period;
    double breaks[SLICES + 2], sum = 0.0;
    const struct halves h = {circle, ebm_support_return(circle->support, y)};
    if (isnan(circle->circular.length) || isnan(h.y))
        return (double)NAN;
    for (uint32_t i = 0; i < SLICES; i++)
        breaks[i] = i == 0 ? h.y : scalar->ops->quantile(scalar->density, (double)i / SLICES);
    for (uint32_t i = 0; i < SLICES; i++)
        breaks[i] = fmin(fmax(breaks[i] < lower + half ? breaks[i] : breaks[i] - half, lower), lower + half);
    breaks[SLICES] = lower;
    breaks[SLICES + 1] = lower + half;
    qsort(breaks, SLICES + 2, sizeof *breaks, ebm_order_doubles);
    for (uint32_t i = 0; i <= SLICES; i++)
        if (breaks[i + 1] > breaks[i])
            sum += integrate(&h, breaks[i], breaks[i + 1], rule(&h, breaks[i], breaks[i + 1]), TOLERANCE * period,
                             MOST_HALVINGS);
    return sum;
}

const struct ebm_scalar_ops ebm_circle_ops = {
    .summary = summary,
    .log_density = log_density,
    .cdf = cdf,
    .quantile = quantile,
    .region = region,
    .crps = crps,
    .resultant = resultant,
};
