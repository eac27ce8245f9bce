/* device_weighted.c - what weighted draws say beyond log Z and moments of coordinates: quantiles, covariance, mode,
 * entropy, and of a scalar target distribution function, CRPS and highest-density region. */
#include <math.h>

#include "core/device_internal.h"

static struct ebm_sort_scratch scratch_of(struct ebm_ctx *ctx)
{
    return (struct ebm_sort_scratch){ctx->pairs, ctx->pairs + ctx->stride,
                                     (double *)(void *)(ctx->pairs + 2 * ctx->stride)};
}

static bool is_periodic(const struct ebm_ctx *ctx, uint32_t d)
{
    return ctx->plan->support[d].kind == EBM_SUPPORT_PERIODIC;
}

struct ebm_circular ebm_weighted_circular(const struct ebm_ctx *ctx, uint32_t d, double sum)
{
    const struct ebm_support *support = &ctx->plan->support[d];
    const float *y = ctx->y.p + d * ctx->stride;
    double turn = 2.0 * M_PI / (support->upper - support->lower), cosine = 0.0, sine = 0.0;
    for (uint32_t m = 0; m < ctx->M; m++) {
        double angle = turn * ((double)y[m] - support->lower);
        cosine += (double)ctx->w.p[m] * cos(angle);
        sine += (double)ctx->w.p[m] * sin(angle);
    }
    return ebm_circular_of(support, cosine / sum, sine / sum);
}

/* The same questions to an angle. */
static void answer_round(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out,
                         uint32_t d, const struct ebm_weighted *draws, uint32_t n_at)
{
    const struct ebm_support *support = &ctx->plan->support[d];
    const double *at = n_at > 0 ? ctx->task->h_at : NULL;
    double cut = ebm_weighted_circular(ctx, d, draws->weight[draws->n - 1]).cut;
    for (uint32_t p = 0; out->quantiles != NULL && p < spec->n_probabilities; p++)
        out->quantiles[(size_t)p * ctx->plan->net.D + d] = ebm_weighted_cut_quantile(draws, spec->probabilities[p],
                                                                                     cut);
    for (uint32_t i = 0; out->cdf != NULL && i < n_at; i++)
        out->cdf[i] = ebm_weighted_cut_cdf(draws, at[i], cut);
    for (uint32_t i = 0; out->crps != NULL && i < n_at; i++)
        out->crps[i] = ebm_weighted_circle_crps(draws, at[i], support->upper - support->lower);
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
    if (is_periodic(ctx, d)) {
        answer_round(ctx, spec, out, d, &draws, n_at);
        return;
    }
    for (uint32_t p = 0; out->quantiles != NULL && p < spec->n_probabilities; p++)
        out->quantiles[(size_t)p * D + d] = ebm_weighted_quantile(&draws, spec->probabilities[p]);
    for (uint32_t i = 0; out->cdf != NULL && i < n_at; i++)
        out->cdf[i] = ebm_weighted_cdf(&draws, task->h_at[i]);
    for (uint32_t i = 0; out->crps != NULL && i < n_at; i++)
        out->crps[i] = ebm_weighted_crps(&draws, task->h_at[i]);
}

static double mean_of(const struct ebm_ctx *ctx, uint32_t d, double sum)
{
    double moment = 0.0;
    for (uint32_t m = 0; m < ctx->M; m++)
        moment += (double)ctx->w.p[m] * (double)ctx->y.p[d * ctx->stride + m];
    return moment / sum;
}

/* Mean of the products of two coordinates' distances from their means; of an angle the sine of it. Sines of coordinate
 * d lie in `sines` (M). */
static double product_of(const struct ebm_ctx *ctx, const double *mean, const struct ebm_circular *circular,
                         const double *sines, uint32_t d, uint32_t e, double sum)
{
    const float *w = ctx->w.p, *y = ctx->y.p + d * ctx->stride, *z = ctx->y.p + e * ctx->stride;
    double product = 0.0;
    if (is_periodic(ctx, e))
        for (uint32_t m = 0; m < ctx->M; m++)
            product += (double)w[m] * (is_periodic(ctx, d) ? sines[m] : (double)y[m] - mean[d]) *
                       ebm_circular_sine(&circular[e], (double)z[m]);
    else if (is_periodic(ctx, d))
        for (uint32_t m = 0; m < ctx->M; m++)
            product += (double)w[m] * sines[m] * ((double)z[m] - mean[e]);
    else
        for (uint32_t m = 0; m < ctx->M; m++)
            product += (double)w[m] * ((double)y[m] - mean[d]) * ((double)z[m] - mean[e]);
    return product / sum;
}

static void answer_covariance(struct ebm_ctx *ctx, double sum, double *ret_covariance)
{
    uint32_t D = ctx->plan->net.D;
    double mean[LIMIT_TARGET_DIM], scale[LIMIT_TARGET_DIM], *sines = (double *)(void *)ctx->pairs;
    struct ebm_circular circular[LIMIT_TARGET_DIM];
    for (uint32_t d = 0; d < D; d++) {
        scale[d] = 1.0;
        if (!is_periodic(ctx, d)) {
            mean[d] = mean_of(ctx, d, sum);
            continue;
        }
        circular[d] = ebm_weighted_circular(ctx, d, sum);
        mean[d] = circular[d].mean;
    }
    for (uint32_t d = 0; d < D; d++) {
        for (uint32_t m = 0; is_periodic(ctx, d) && m < ctx->M; m++)
            sines[m] = ebm_circular_sine(&circular[d], (double)ctx->y.p[d * ctx->stride + m]);
        if (is_periodic(ctx, d))
            scale[d] = ebm_circular_scale(&circular[d], product_of(ctx, mean, circular, sines, d, d, sum));
        for (uint32_t e = 0; e <= d; e++) {
            double product = product_of(ctx, mean, circular, sines, d, e, sum) * scale[d] * scale[e];
            ret_covariance[(size_t)d * D + e] = ret_covariance[(size_t)e * D + d] = product;
        }
        if (is_periodic(ctx, d))
            ret_covariance[(size_t)d * D + d] = circular[d].variance;
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

/* On a circle the lowest and the highest draw are neighbours. */
static void answer_region(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    bool meets[2];
    out->n_intervals = ebm_weighted_region(ctx->y.p, ctx->w.p, ctx->f.p, ctx->M, spec->region_level, out->region,
                                           EBM_MAX_INTERVALS, scratch_of(ctx), meets);
    if (is_periodic(ctx, 0) && meets[0] && meets[1])
        out->n_intervals = ebm_circle_join(out->region, out->n_intervals);
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
        answer_region(ctx, spec, out);
}
