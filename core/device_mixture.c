/* device_mixture.c - answers by the row's mixture itself: moments of coordinates in closed form, quantiles by
 * bisection; for a scalar target what has no closed form (mode, entropy, region) by panels of log q.
 *
 * With more dimensions the mode is climbed to from the best means by the fixed point of the gradient (Carreira-Perpinan
 * 2000): y_d = sum_k r_k mean_kd / var_kd / sum_k r_k / var_kd, r_k the components' shares of the density at y. */
#include <math.h>

#include "core/device_internal.h"

#define CLIMBS 4u /* the means with the highest density */
#define CLIMB_STEPS 200
#define CLIMB_END 1e-12 /* of a standard deviation */

static double weight_of(const struct ebm_mixture *q, uint32_t k)
{
    return exp((double)q->log_weight[k]);
}

static double mean_of(const struct ebm_mixture *q, uint32_t d)
{
    double mean = 0.0;
    for (uint32_t k = 0; k < q->K; k++)
        mean += weight_of(q, k) * (double)q->mean[d * q->K + k];
    return mean;
}

static double covariance_of(const struct ebm_mixture *q, uint32_t d, uint32_t e, double mean_d, double mean_e)
{
    double sum = 0.0;
    for (uint32_t k = 0; k < q->K; k++) {
        double std = (double)q->std[d * q->K + k];
        double off = ((double)q->mean[d * q->K + k] - mean_d) * ((double)q->mean[e * q->K + k] - mean_e);
        sum += weight_of(q, k) * (off + (d == e ? std * std : 0.0));
    }
    return sum;
}

static void answer_moments(const struct ebm_mixture *q, struct ebm_estimate *out)
{
    double mean[LIMIT_TARGET_DIM];
    for (uint32_t d = 0; d < q->D; d++) {
        mean[d] = mean_of(q, d);
        if (out->mean != NULL)
            out->mean[d] = mean[d];
        if (out->variance != NULL)
            out->variance[d] = covariance_of(q, d, d, mean[d], mean[d]);
    }
    for (uint32_t d = 0; out->covariance != NULL && d < q->D; d++)
        for (uint32_t e = 0; e <= d; e++)
            out->covariance[(size_t)d * q->D + e] = out->covariance[(size_t)e * q->D + d] = covariance_of(
                q, d, e, mean[d], mean[e]);
}

/* ---- the mode ---- */

/* log q at y (D) and, unless NULL, the components' shares of it (K). */
static double density_at(const struct ebm_mixture *q, const double *y, double *ret_shares)
{
    double parts[LIMIT_COMPONENTS], max = -INFINITY, sum = 0.0;
    for (uint32_t k = 0; k < q->K; k++) {
        parts[k] = (double)q->log_const[k];
        for (uint32_t d = 0; d < q->D; d++) {
            double z = (y[d] - (double)q->mean[d * q->K + k]) * (double)q->inv_std[d * q->K + k];
            parts[k] -= 0.5 * z * z;
        }
        max = fmax(max, parts[k]);
    }
    for (uint32_t k = 0; k < q->K; k++)
        sum += exp(parts[k] - max);
    for (uint32_t k = 0; ret_shares != NULL && k < q->K; k++)
        ret_shares[k] = exp(parts[k] - max) / sum;
    return max + log(sum);
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
                double precision = (double)q->inv_std[d * q->K + k] * (double)q->inv_std[d * q->K + k];
                above += shares[k] * precision * (double)q->mean[d * q->K + k];
                below += shares[k] * precision;
            }
            moved = fmax(moved, fabs(above / below - y[d]) * sqrt(below));
            y[d] = above / below;
        }
    }
}

static void mean_vector(const struct ebm_mixture *q, uint32_t k, double *ret_y)
{
    for (uint32_t d = 0; d < q->D; d++)
        ret_y[d] = (double)q->mean[d * q->K + k];
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
