/* support.c - truncated normals by one quadrature, wrapped normals by images or their first harmonic.
 *
 *   truncated   Gauss-Legendre, 32 points, over the 45 e-folds next to the anchor (error below 1e-12): the same few
 *               lines hold for a box of any width, at any distance from the mean, where differences of erf cancel
 *   wrapped     images (mean + j period, std) while std <= period / 2, then (1 + h cos) / period
 *
 * Masses are differences of erfc on the side where they do not cancel. */
#include "core/support.h"

#include <math.h>

#define EFOLDS 45.0     /* what lies further below the largest density is left out: exp(-45) */
#define ONE_IMAGE 0.23  /* standard deviations in periods, up to which one image on each side is enough */
#define MOST_IMAGED 0.5 /* and three */
#define FAR_IMAGES 9.0  /* standard deviations beyond which an image has no mass */

static double period_of(const struct ebm_support *support)
{
    return support->upper - support->lower;
}

bool ebm_support_holds(const struct ebm_support *support, double y)
{
    return support->kind != EBM_SUPPORT_BOUNDED || (y >= support->lower && y <= support->upper);
}

double ebm_support_return(const struct ebm_support *support, double y)
{
    double lower = support->lower, upper = support->upper, width = upper - lower;
    if (support->kind == EBM_SUPPORT_REAL || (y >= lower && y < upper))
        return y;
    if (support->kind == EBM_SUPPORT_PERIODIC) {
        double wrapped = y - width * floor((y - lower) / width);
        return wrapped < upper ? fmax(wrapped, lower) : isnan(wrapped) ? wrapped : lower;
    }
    double off = fabs(fmod(y - lower, 2.0 * width));
    double reflected = lower + (off <= width ? off : 2.0 * width - off);
    return isnan(off) ? off : fmin(fmax(reflected, lower), upper);
}

void ebm_support_return_all(const struct ebm_support *support, uint32_t D, float *y, size_t stride, uint32_t L)
{
    for (uint32_t d = 0; d < D; d++)
        for (uint32_t l = 0; support[d].kind != EBM_SUPPORT_REAL && l < L; l++)
            y[d * stride + l] = (float)ebm_support_return(&support[d], (double)y[d * stride + l]);
}

bool ebm_support_is_confined(const struct ebm_support *support, uint32_t D)
{
    for (uint32_t d = 0; support != NULL && d < D; d++)
        if (support[d].kind != EBM_SUPPORT_REAL)
            return true;
    return false;
}

/* ---- truncated ---- */

/* Half of the points on [-1, 1] and their weights; the others mirror them. */
static const double points[16][2] = {
    {0.04830766568773831, 0.096540088514727812}, {0.14447196158279649, 0.095638720079274833},
    {0.23928736225213706, 0.093844399080804566}, {0.33186860228212767, 0.091173878695763863},
    {0.42135127613063533, 0.087652093004403908}, {0.50689990893222936, 0.083311924226946846},
    {0.5877157572407623, 0.078193895787070311},  {0.66304426693021523, 0.072345794108848449},
    {0.73218211874028971, 0.065822222776361752}, {0.79448379596794239, 0.058684093478535704},
    {0.84936761373256997, 0.050998059262376244}, {0.8963211557660522, 0.042835898022226426},
    {0.93490607593773967, 0.034273862913021626}, {0.96476225558750639, 0.025392065309262427},
    {0.98561151154526838, 0.016274394730905965}, {0.99726386184948157, 0.0070186100094692984}};

/* integral += of exp(-(t^2 + 2 alpha t) / 2) (t - center)^0, 1, 2 over t in [0, to], times side^0, 1, 2: side -1
 * mirrors t. alpha >= 0. */
static void integrate(double alpha, double to, double side, double center, double integral[3])
{
    double reach = 2.0 * EFOLDS / (alpha + sqrt(alpha * alpha + 2.0 * EFOLDS)), half = 0.5 * fmin(to, reach);
    for (int i = 0; i < 32; i++) {
        double t = half * (1.0 + (i < 16 ? points[i][0] : -points[i - 16][0]));
        double mass = half * points[i % 16][1] * exp(-t * (0.5 * t + alpha)), off = side * t - center;
        integral[0] += mass;
        integral[1] += mass * off;
        integral[2] += mass * off * off;
    }
}

/* Both sides of the anchor. */
static void integrate_all(const struct ebm_truncated *t, double center, double integral[3])
{
    integral[0] = integral[1] = integral[2] = 0.0;
    if (t->to > 0.0)
        integrate(t->alpha, t->to, 1.0, center, integral);
    if (t->from < 0.0)
        integrate(-t->alpha, -t->from, -1.0, center, integral);
}

void ebm_truncated_init(struct ebm_truncated *ret, const struct ebm_support *support, double mean, double std)
{
    double from = (support->lower - mean) / std, to = (support->upper - mean) / std, width = period_of(support) / std;
    double integral[3];
    *ret = (struct ebm_truncated){.anchor = mean, .std = std, .from = from, .to = to};
    if (from > 0.0)
        *ret = (struct ebm_truncated){.anchor = support->lower, .alpha = from, .std = std, .to = width};
    if (to < 0.0)
        *ret = (struct ebm_truncated){.anchor = support->upper, .alpha = to, .std = std, .from = -width};
    integrate_all(ret, 0.0, integral);
    ret->integral = integral[0];
    ret->first = integral[1] / integral[0];
    ret->second = integral[2] / integral[0];
    integrate_all(ret, ret->first, integral);
    ret->variance = integral[2] / integral[0];
}

double ebm_normal_between(double from, double to)
{
    double low = from > 0.0 ? -to : from, high = from > 0.0 ? -from : to;
    return 0.5 * (erfc(-high * M_SQRT1_2) - erfc(-low * M_SQRT1_2));
}

double ebm_truncated_share(const struct ebm_truncated *t, double from, double to)
{
    double part[3] = {0.0};
    if (!(to > from))
        return 0.0;
    if (t->alpha == 0.0)
        return fmin(ebm_normal_between(from, to) * sqrt(2.0 * M_PI) / t->integral, 1.0);
    double near = t->alpha > 0.0 ? from : -to, alpha = fabs(t->alpha);
    integrate(alpha + near, to - from, 1.0, 0.0, part);
    return fmin(exp(-near * (0.5 * near + alpha)) * part[0] / t->integral, 1.0);
}

/* exp(-(t^2 + 2 alpha t) / 2) falls as the tail's mass does, but for the ratio of Mills' ratios at alpha and alpha + t,
 * log1p(t / alpha) - (1 / alpha^2 - 1 / (alpha + t)^2) in its log. */
double ebm_truncated_far(double alpha, double share, double u)
{
    double fall = -log1p(-u * share), t = 2.0 * fall / (alpha + sqrt(alpha * alpha + 2.0 * fall));
    double z = alpha + t, rest = fall - log1p(t / alpha) + 1.0 / (alpha * alpha) - 1.0 / (z * z);
    return 2.0 * rest / (alpha + sqrt(alpha * alpha + 2.0 * rest));
}

/* ---- wrapped ---- */

uint32_t ebm_wrapped_images(double period, double std)
{
    if (std > MOST_IMAGED * period)
        return 0;
    return std > ONE_IMAGE * period ? 3 : 1;
}

double ebm_wrapped_harmonic(double period, double std)
{
    return exp(-2.0 * M_PI * M_PI * (std / period) * (std / period));
}

/* Images j first .. last have mass in [from, to]: those of the normal at mean - j period. */
static void image_range(double period, double mean, double std, double from, double to, int *ret_first, int *ret_last)
{
    *ret_first = (int)ceil((mean - to - FAR_IMAGES * std) / period);
    *ret_last = (int)floor((mean - from + FAR_IMAGES * std) / period);
}

double ebm_wrapped_share(const struct ebm_support *support, double mean, double std, double from, double to)
{
    double period = period_of(support), center = ebm_support_return(support, mean), sum = 0.0;
    if (ebm_wrapped_images(period, std) == 0) {
        double turn = 2.0 * M_PI / period, rho = ebm_wrapped_harmonic(period, std);
        return (to - from) / period + rho / M_PI * (sin(turn * (to - center)) - sin(turn * (from - center)));
    }
    int first, last;
    image_range(period, center, std, from, to, &first, &last);
    for (int j = first; j <= last; j++)
        sum += ebm_normal_between((from + j * period - center) / std, (to + j * period - center) / std);
    return sum;
}
