/* device_importance.c - answers by self-normalised importance sampling: s = f - log q of the row last proposed and
 * scored; weights softmax(s), moments, quantiles, in double where they are sums. */
#include <math.h>

#include "core/device_internal.h"

void ebm_importance_log_weights(float *h_dst, const struct ebm_ctx *ctx)
{
    double max = -INFINITY, sum = 0.0;
    for (uint32_t m = 0; m < ctx->M; m++) {
        h_dst[m] = ctx->f.p[m] - ctx->log_q.p[m];
        max = fmax(max, (double)h_dst[m]);
    }
    for (uint32_t m = 0; m < ctx->M; m++)
        sum += exp((double)h_dst[m] - max);
    for (uint32_t m = 0; m < ctx->M; m++)
        h_dst[m] = (float)((double)h_dst[m] - max - log(sum));
}

/* n draws by weight, with replacement: the first whose cumulative weight passes a uniform number. */
static void choose_draws(float *dst, struct ebm_ctx *ctx, uint32_t n)
{
    double *cumulative = (double *)(void *)ctx->pairs, sum = 0.0;
    uint32_t D = ctx->plan->net.D;
    for (uint32_t m = 0; m < ctx->M; m++)
        cumulative[m] = sum += (double)ctx->w.p[m];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t words[4], low = 0, high = ctx->M - 1;
        ebm_philox(ctx->row.seed, ctx->row.row_in_request, i, EBM_STREAM_RESAMPLE, 0, words);
        double at = sum * ((double)(((uint64_t)words[0] << 32 | words[1]) >> 11) * 0x1p-53);
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (cumulative[middle] > at)
                high = middle;
            else
                low = middle + 1;
        }
        for (uint32_t d = 0; d < D; d++)
            dst[(size_t)i * D + d] = ctx->y.p[d * ctx->stride + low];
    }
}

/* After the weights ctx->w. */
static void give_draws(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    if (spec->draws == EBM_DRAWS_FAIR)
        choose_draws(out->draws, ctx, spec->n_draws);
    if (spec->draws == EBM_DRAWS_WEIGHTED) {
        ebm_row_copy(out->draws, ctx, ctx->y.p);
        ebm_importance_log_weights(out->log_weights, ctx);
    }
}

static void estimate_coordinate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out,
                                uint32_t d, uint32_t padded, double sum)
{
    uint32_t D = ctx->plan->net.D;
    const float *y = ctx->y.p + d * ctx->stride;
    double mean, variance, error;
    if (out->mean != NULL || out->variance != NULL || out->mcse_mean != NULL) {
        ctx->kernels->moments(y, ctx->w.p, padded, sum, &mean, &variance, &error);
        if (out->mean != NULL)
            out->mean[d] = mean;
        if (out->variance != NULL)
            out->variance[d] = variance;
        if (out->mcse_mean != NULL)
            out->mcse_mean[d] = sqrt(error);
    }
    if (out->quantiles != NULL)
        ebm_quantile_weighted(out->quantiles + d, D, spec->probabilities, spec->n_probabilities, y, ctx->w.p, ctx->M,
                              (struct ebm_sort_scratch){ctx->pairs, ctx->pairs + ctx->stride});
}

void ebm_importance_estimate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    uint32_t D = ctx->plan->net.D, padded = (uint32_t)ebm_round_up(ctx->M, EBM_LANES);
    double max, sum, squares;
    for (uint32_t m = 0; m < padded; m++)
        ctx->s.p[m] = m < ctx->M ? ctx->f.p[m] - ctx->log_q.p[m] : -INFINITY;
    ctx->kernels->softmax(ctx->w.p, ctx->s.p, padded, &max, &sum, &squares);
    if (isnan(max)) {
        ebm_estimate_invalid(ctx, spec, out);
        return;
    }
    for (uint32_t d = 0; d < D; d++)
        estimate_coordinate(ctx, spec, out, d, padded, sum);
    out->log_z = max + log(sum) - log((double)ctx->M);
    out->ess = sum * sum / squares;
    out->max_weight = 1.0 / sum;
    give_draws(ctx, spec, out);
    out->status = EBM_OK;
}
