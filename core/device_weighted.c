/* device_weighted.c - what weighted draws say beyond log Z and moments of coordinates: quantiles, covariance, mode,
 * entropy, and of a scalar target distribution function, CRPS and highest-density region. */
#include <math.h>

#include "core/device_internal.h"

static struct ebm_sort_scratch scratch_of(struct ebm_ctx *ctx)
{
    return (struct ebm_sort_scratch){ctx->pairs, ctx->pairs + ctx->stride,
                                     (double *)(void *)(ctx->pairs + 2 * ctx->stride)};
}

/* Quantiles, cdf and CRPS share one sort. */
static void answer_order(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out,
                         uint32_t d)
{
    const struct ebm_task *task = ctx->task;
    uint32_t D = ctx->plan->net.D, n_at = D == 1 && task != NULL ? task->n_at : 0;
    if (out->quantiles == NULL && (n_at == 0 || (out->cdf == NULL && out->crps == NULL)))
        return;
    struct ebm_weighted draws = ebm_weighted_sort(ctx->y.p + d * ctx->stride, ctx->w.p, ctx->M, scratch_of(ctx));
    for (uint32_t p = 0; out->quantiles != NULL && p < spec->n_probabilities; p++)
        out->quantiles[(size_t)p * D + d] = ebm_weighted_quantile(&draws, spec->probabilities[p]);
    for (uint32_t i = 0; out->cdf != NULL && i < n_at; i++)
        out->cdf[i] = ebm_weighted_cdf(&draws, task->h_at[i]);
    for (uint32_t i = 0; out->crps != NULL && i < n_at; i++)
        out->crps[i] = ebm_weighted_crps(&draws, task->h_at[i]);
}

static void answer_covariance(const struct ebm_ctx *ctx, double sum, double *ret_covariance)
{
    uint32_t D = ctx->plan->net.D;
    double mean[LIMIT_TARGET_DIM];
    for (uint32_t d = 0; d < D; d++) {
        double moment = 0.0;
        for (uint32_t m = 0; m < ctx->M; m++)
            moment += (double)ctx->w.p[m] * (double)ctx->y.p[d * ctx->stride + m];
        mean[d] = moment / sum;
    }
    for (uint32_t d = 0; d < D; d++)
        for (uint32_t e = 0; e <= d; e++) {
            double product = 0.0;
            for (uint32_t m = 0; m < ctx->M; m++)
                product += (double)ctx->w.p[m] * ((double)ctx->y.p[d * ctx->stride + m] - mean[d]) *
                           ((double)ctx->y.p[e * ctx->stride + m] - mean[e]);
            ret_covariance[(size_t)d * D + e] = ret_covariance[(size_t)e * D + d] = product / sum;
        }
}

static void answer_mode(const struct ebm_ctx *ctx, double *ret_mode)
{
    uint32_t best = 0;
    for (uint32_t m = 1; m < ctx->M; m++)
        best = ctx->f.p[m] > ctx->f.p[best] ? m : best;
    for (uint32_t d = 0; d < ctx->plan->net.D; d++)
        ret_mode[d] = (double)ctx->y.p[d * ctx->stride + best];
}

/* log Z - E f */
static double entropy_of(const struct ebm_ctx *ctx, double sum, double log_z)
{
    double energy = 0.0;
    for (uint32_t m = 0; m < ctx->M; m++)
        if (ctx->w.p[m] > 0.0f)
            energy += (double)ctx->w.p[m] * (double)ctx->f.p[m];
    return log_z - energy / sum;
}

void ebm_weighted_answer(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, double sum,
                         struct ebm_estimate *out)
{
    for (uint32_t d = 0; d < ctx->plan->net.D; d++)
        answer_order(ctx, spec, out, d);
    if (out->covariance != NULL)
        answer_covariance(ctx, sum, out->covariance);
    if (out->mode != NULL)
        answer_mode(ctx, out->mode);
    if (out->entropy != NULL)
        *out->entropy = entropy_of(ctx, sum, out->log_z);
    if (out->region != NULL && spec->region_level > 0.0)
        out->n_intervals = ebm_weighted_region(ctx->y.p, ctx->w.p, ctx->f.p, ctx->M, spec->region_level, out->region,
                                               EBM_MAX_INTERVALS, scratch_of(ctx));
}
