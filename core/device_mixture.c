/* device_mixture.c - answers by the row's mixture itself: moments of coordinates in closed form, quantiles by
 * bisection (of angles: circle.h); for a scalar target what has no closed form (mode, entropy, region) by panels of log
 * q.
 *
 * With more dimensions the mode is climbed to from the best means by the fixed point of the gradient (Carreira-Perpinan
 * 2000): y_d += sum_k r_k / std_kd (-z_kd) / sum_k r_k / var_kd, r_k the components' shares of the density at y, z_kd
 * the pull of the component's own slope: (y_d - mean_kd) / std_kd on the line and within bounds. */
#include <math.h>

#include "core/device_internal.h"
#include "core/support.h"

#define CLIMBS 4u /* the means with the highest density */
#define CLIMB_STEPS 200
#define CLIMB_END 1e-12 /* of a standard deviation */

static double weight_of(const struct ebm_mixture *q, uint32_t k)
{
    return exp((double)q->log_weight[k]);
}

/* A component's own moments on a coordinate. */
struct component {
    double mean, variance;
};

/* E sin = rho sin(off) and E sin^2 = (1 - rho^4 cos(2 off)) / 2 of a normal that is wrapped `off` from the mean. */
static struct component sine_of(const struct ebm_circular *circular, double mean, double std)
{
    double off = circular->turn * (mean - circular->mean), rho = exp(-0.5 * pow(circular->turn * std, 2.0));
    double first = rho * sin(off), second = 0.5 * (1.0 - pow(rho, 4.0) * cos(2.0 * off));
    return (struct component){first, second - first * first};
}

/* Of y on the line, or within the bounds. */
static struct component component_of(const struct ebm_mixture *q, uint32_t d, uint32_t k)
{
    double mean = (double)q->mean[d * q->K + k], std = (double)q->std[d * q->K + k];
    struct component c = {mean, std * std};
    if (q->confined == NULL || q->support[d].kind != EBM_SUPPORT_BOUNDED)
        return c;
    struct ebm_truncated t;
    ebm_truncated_init(&t, &q->support[d], mean, std);
    return (struct component){t.anchor + std * t.first, std * std * t.variance};
}

static double mean_of(const struct ebm_mixture *q, uint32_t d)
{
    double mean = 0.0;
    for (uint32_t k = 0; k < q->K; k++)
        mean += weight_of(q, k) * component_of(q, d, k).mean;
    return mean;
}

/* What covariances are products of: y - mean, or the sine of an angle from its mean, times scale. */
struct distance {
    bool is_periodic;
    double mean, scale; /* scale: of the sine */
    struct ebm_circular circular;
};

static struct component distance_from(const struct ebm_mixture *q, const struct distance *distance, uint32_t d,
                                      uint32_t k)
{
    struct component c;
    if (distance->is_periodic)
        return sine_of(&distance->circular, (double)q->mean[d * q->K + k], (double)q->std[d * q->K + k]);
    c = component_of(q, d, k);
    c.mean -= distance->mean;
    return c;
}

static double product_of(const struct ebm_mixture *q, const struct distance *distances, uint32_t d, uint32_t e)
{
    double sum = 0.0;
    for (uint32_t k = 0; k < q->K; k++) {
        struct component one = distance_from(q, &distances[d], d, k);
        struct component other = d == e ? one : distance_from(q, &distances[e], e, k);
        sum += weight_of(q, k) * (one.mean * other.mean + (d == e ? one.variance : 0.0));
    }
    return sum;
}

static double covariance_of(const struct ebm_mixture *q, const struct distance *distances, uint32_t d, uint32_t e)
{
    if (d == e && distances[d].is_periodic)
        return distances[d].circular.variance;
    return product_of(q, distances, d, e) * distances[d].scale * distances[e].scale;
}

static void answer_moments(const struct ebm_mixture *q, struct ebm_estimate *out)
{
    struct distance distances[LIMIT_TARGET_DIM];
    for (uint32_t d = 0; d < q->D; d++) {
        struct distance *own = &distances[d];
        *own = (struct distance){.is_periodic = ebm_mixture_is_periodic(q, d), .scale = 1.0};
        if (own->is_periodic) {
            own->circular = ebm_mixture_circular(q, d);
            own->scale = ebm_circular_scale(&own->circular, product_of(q, distances, d, d));
        }
        own->mean = own->is_periodic ? own->circular.mean : mean_of(q, d);
        if (out->mean != NULL)
            out->mean[d] = own->mean;
        if (out->variance != NULL)
            out->variance[d] = covariance_of(q, distances, d, d);
    }
    for (uint32_t d = 0; out->covariance != NULL && d < q->D; d++)
        for (uint32_t e = 0; e <= d; e++)
            out->covariance[(size_t)d * q->D + e] = out->covariance[(size_t)e * q->D + d] = covariance_of(q, distances,
                                                                                                          d, e);
}

/* ---- the mode ---- */

/* log q at y (D) and, unless NULL, the components' shares of it (K). */
static double density_at(const struct ebm_mixture *q, const double *y, double *ret_shares)
{
    double parts[LIMIT_COMPONENTS], max = -INFINITY, sum = 0.0;
    for (uint32_t k = 0; k < q->K; k++) {
        parts[k] = (double)q->log_const[k];
        for (uint32_t d = 0; d < q->D; d++)
            parts[k] += ebm_mixture_score(q, d, k, y[d]).log_density;
        max = fmax(max, parts[k]);
    }
    for (uint32_t k = 0; k < q->K; k++)
        sum += exp(parts[k] - max);
    for (uint32_t k = 0; ret_shares != NULL && k < q->K; k++)
        ret_shares[k] = exp(parts[k] - max) / sum;
    return max + log(sum);
}

/* The nearest place within the support. */
static double inside(const struct ebm_mixture *q, uint32_t d, double y)
{
    if (q->confined == NULL || q->support[d].kind == EBM_SUPPORT_REAL)
        return y;
    if (q->support[d].kind == EBM_SUPPORT_PERIODIC)
        return ebm_support_return(&q->support[d], y);
    return fmin(fmax(y, q->support[d].lower), q->support[d].upper);
}

static void climb(const struct ebm_mixture *q, double *y)
{
    double shares[LIMIT_COMPONENTS], moved = INFINITY;
    for (int step = 0; step < CLIMB_STEPS && moved > CLIMB_END; step++) {
        (void)density_at(q, y, shares);
        moved = 0.0;
        for (uint32_t d = 0; d < q->D; d++) {
            double above = 0.0, below = 0.0;
            for (uint32_t k = 0; k < q->K; k++) {
                double inv_std = (double)q->inv_std[d * q->K + k];
                above -= shares[k] * inv_std * ebm_mixture_score(q, d, k, y[d]).pull;
                below += shares[k] * inv_std * inv_std;
            }
            double to = inside(q, d, y[d] + above / below);
            moved = fmax(moved, fabs(to - y[d]) * sqrt(below));
            y[d] = to;
        }
    }
}

static void mean_vector(const struct ebm_mixture *q, uint32_t k, double *ret_y)
{
    for (uint32_t d = 0; d < q->D; d++)
        ret_y[d] = inside(q, d, (double)q->mean[d * q->K + k]);
}

static void answer_mode(const struct ebm_mixture *q, double *ret_mode)
{
    double heights[LIMIT_COMPONENTS], y[LIMIT_TARGET_DIM], best = -INFINITY;
    for (uint32_t k = 0; k < q->K; k++) {
        mean_vector(q, k, y);
        heights[k] = density_at(q, y, NULL);
    }
    for (uint32_t i = 0; i < CLIMBS && i < q->K; i++) {
        uint32_t highest = 0;
        for (uint32_t k = 1; k < q->K; k++)
            highest = heights[k] > heights[highest] ? k : highest;
        mean_vector(q, highest, y);
        heights[highest] = -INFINITY;
        climb(q, y);
        double height = density_at(q, y, NULL);
        for (uint32_t d = 0; height > best && d < q->D; d++)
            ret_mode[d] = y[d];
        best = fmax(best, height);
    }
}

/* ---- the whole ---- */

void ebm_mixture_estimate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    const struct ebm_mixture *q = &ctx->mixture;
    bool asks_points = ctx->task != NULL && ctx->task->n_at > 0 && (out->cdf != NULL || out->crps != NULL);
    out->status = EBM_OK;
    answer_moments(q, out);
    for (uint32_t d = 0; out->quantiles != NULL && d < q->D; d++)
        ebm_quantile_mixture(out->quantiles + d, q->D, spec->probabilities, spec->n_probabilities, q, d);
    if (q->D > 1 && out->mode != NULL)
        answer_mode(q, out->mode);
    if (q->D == 1 && (out->mode != NULL || out->entropy != NULL || spec->region_level > 0.0 || asks_points))
        out->status = ebm_scalar_mixture(ctx, spec, out);
    if (out->status == EBM_INVALID)
        ebm_estimate_invalid(ctx, spec, out);
    else if (spec->draws != EBM_DRAWS_NONE)
        ebm_row_copy(out->draws, ctx, ctx->y.p);
}
