/* device_importance.c - answers by self-normalised importance sampling.
 *
 *   draw      tiles of draws of the proposal, independent ones or scrambled Sobol points; a wide Gaussian may be mixed
 *             into the proposal first, so that no weight is boundless where the proposal is too narrow
 *   weigh     s = f - log q, weights softmax(s); the shape of their tail; where asked the tail is smoothed
 *   answer    log Z, moments, quantiles, draws, in double where they are sums; errors
 *
 * With a target_ess, draw and weigh are repeated with twice the draws, of which the first half are those that are
 * there, until the effective samples suffice. A row that is hurried makes do with those that are there. Errors of
 * independent draws are the usual ones; those of Sobol points come from the spread of EBM_SOBOL_PARTS parts of
 * consecutive points (sobol.h). */
#include <math.h>
#include <string.h>

#include "core/device_internal.h"
#include "core/psis.h"

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

/* The weights ctx->w, relative to exp(max). */
struct weights {
    double max, sum, squares, largest, pareto_k;
};

/* False: the network gave no finite number. */
static bool weigh(struct ebm_ctx *ctx, bool smooth, struct weights *ret)
{
    uint32_t padded = (uint32_t)ebm_round_up(ctx->M, EBM_LANES);
    if (ctx->plan->n_members > 0)
        ebm_ensemble_settle(ctx);
    for (uint32_t m = 0; m < padded; m++)
        ctx->s.p[m] = m < ctx->M ? ctx->f.p[m] - ctx->log_q.p[m] : -INFINITY;
    ctx->kernels->softmax(ctx->w.p, ctx->s.p, padded, &ret->max, &ret->sum, &ret->squares);
    if (isnan(ret->max))
        return false;
    ret->largest = 1.0;
    ret->pareto_k = ebm_psis(ctx->kernels, ctx->w.p, ctx->M, smooth,
                             (struct ebm_sort_scratch){ctx->pairs, ctx->pairs + ctx->stride, NULL});
    if (!smooth)
        return true;
    ret->sum = ret->squares = ret->largest = 0.0;
    for (uint32_t m = 0; m < ctx->M; m++) {
        double w = (double)ctx->w.p[m];
        ret->sum += w;
        ret->squares += w * w;
        ret->largest = fmax(ret->largest, w);
    }
    return true;
}

/* ---- answers ---- */

static void give_log_weights(float *dst, const struct ebm_ctx *ctx, const struct weights *weights)
{
    for (uint32_t m = 0; m < ctx->M; m++) {
        double w = (double)ctx->w.p[m], log_w = w > 0.0 ? log(w) : (double)ctx->s.p[m] - weights->max;
        dst[m] = (float)(log_w - log(weights->sum));
    }
}

static void give_draws(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, const struct weights *weights,
                       struct ebm_estimate *out)
{
    if (spec->draws == EBM_DRAWS_FAIR)
        choose_draws(out->draws, ctx, spec->n_draws);
    if (spec->draws != EBM_DRAWS_WEIGHTED)
        return;
    ebm_row_copy(out->draws, ctx, ctx->y.p);
    if (spec->smooth_weights)
        give_log_weights(out->log_weights, ctx, weights);
    else
        ebm_importance_log_weights(out->log_weights, ctx);
}

/* The standard error of the sum of parts, as if they were independent of each other. */
static double spread(const double parts[EBM_SOBOL_PARTS])
{
    double mean = 0.0, squares = 0.0;
    for (uint32_t i = 0; i < EBM_SOBOL_PARTS; i++)
        mean += parts[i] / EBM_SOBOL_PARTS;
    for (uint32_t i = 0; i < EBM_SOBOL_PARTS; i++)
        squares += (parts[i] - mean) * (parts[i] - mean);
    return sqrt(squares * EBM_SOBOL_PARTS / (EBM_SOBOL_PARTS - 1.0));
}

/* Of the weighted mean of y (M), to first order. */
static double spread_of_mean(const struct ebm_ctx *ctx, const float *y, double mean, double sum)
{
    double parts[EBM_SOBOL_PARTS] = {0};
    uint32_t n = ctx->M / EBM_SOBOL_PARTS;
    for (uint32_t m = 0; m < n; m++) /* the parts side by side: none waits for its own last sum */
        for (uint32_t i = 0; i < EBM_SOBOL_PARTS; i++)
            parts[i] += (double)ctx->w.p[i * n + m] * ((double)y[i * n + m] - mean);
    return spread(parts) / sum;
}

/* Of the log of the weights' mean, to first order: that mean's relative error. parts: the sums of weights of Sobol
 * points' parts. */
static double log_z_error(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec,
                          const struct weights *weights, const double parts[EBM_SOBOL_PARTS])
{
    if (spec->scheme == EBM_SCHEME_SOBOL)
        return spread(parts) / weights->sum;
    double excess = ctx->M * weights->squares / (weights->sum * weights->sum) - 1.0;
    return ctx->M > 1 ? sqrt(fmax(excess, 0.0) / (ctx->M - 1.0)) : (double)NAN;
}

static void sum_parts(const struct ebm_ctx *ctx, double ret_parts[EBM_SOBOL_PARTS])
{
    uint32_t n = ctx->M / EBM_SOBOL_PARTS;
    memset(ret_parts, 0, EBM_SOBOL_PARTS * sizeof *ret_parts);
    for (uint32_t m = 0; m < n; m++)
        for (uint32_t i = 0; i < EBM_SOBOL_PARTS; i++)
            ret_parts[i] += (double)ctx->w.p[i * n + m];
}

/* Of the circular mean, to first order: of the weighted mean of sines over R. */
static double circular_error(const struct ebm_ctx *ctx, const struct ebm_circular *circular, const float *y,
                             enum ebm_draw_scheme scheme, double sum)
{
    double parts[EBM_SOBOL_PARTS] = {0}, squares = 0.0;
    uint32_t n = ctx->M / EBM_SOBOL_PARTS;
    for (uint32_t m = 0; m < ctx->M; m++) {
        double part = (double)ctx->w.p[m] * ebm_circular_sine(circular, (double)y[m]);
        squares += part * part;
        if (scheme == EBM_SCHEME_SOBOL)
            parts[m / n] += part;
    }
    double error = scheme == EBM_SCHEME_SOBOL ? spread(parts) : sqrt(squares);
    return error / (sum * circular->length * circular->turn);
}

static void answer_angle(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out,
                         uint32_t d, double sum)
{
    const float *y = ctx->y.p + d * ctx->stride;
    struct ebm_circular circular = ebm_weighted_circular(ctx, d, sum);
    if (out->mean != NULL)
        out->mean[d] = circular.mean;
    if (out->variance != NULL)
        out->variance[d] = circular.variance;
    if (out->mcse_mean != NULL)
        out->mcse_mean[d] = circular_error(ctx, &circular, y, spec->scheme, sum);
}

static void answer_coordinate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out,
                              uint32_t d, double sum)
{
    uint32_t padded = (uint32_t)ebm_round_up(ctx->M, EBM_LANES);
    const float *y = ctx->y.p + d * ctx->stride;
    double mean, variance, error;
    if (out->mean != NULL || out->variance != NULL || out->mcse_mean != NULL) {
        ctx->kernels->moments(y, ctx->w.p, padded, sum, &mean, &variance, &error);
        if (out->mean != NULL)
            out->mean[d] = mean;
        if (out->variance != NULL)
            out->variance[d] = variance;
        if (out->mcse_mean != NULL)
            out->mcse_mean[d] = spec->scheme == EBM_SCHEME_SOBOL ? spread_of_mean(ctx, y, mean, sum) : sqrt(error);
    }
}

/* What the weights' sums say. */
static void answer_sums(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, const struct weights *weights,
                        const double parts[EBM_SOBOL_PARTS], struct ebm_estimate *out)
{
    out->log_z = weights->max + log(weights->sum) - log((double)ctx->M);
    out->log_z_std_error = log_z_error(ctx, spec, weights, parts);
    out->ess = weights->sum * weights->sum / weights->squares;
    out->max_weight = weights->largest / weights->sum;
    out->pareto_k = weights->pareto_k;
    out->samples = ctx->M;
    out->status = EBM_OK;
}

static void answer(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, const struct weights *weights,
                   struct ebm_estimate *out)
{
    double parts[EBM_SOBOL_PARTS] = {0};
    if (spec->scheme == EBM_SCHEME_SOBOL)
        sum_parts(ctx, parts);
    answer_sums(ctx, spec, weights, parts, out);
    for (uint32_t d = 0; d < ctx->plan->net.D; d++)
        if (ctx->plan->support[d].kind == EBM_SUPPORT_PERIODIC)
            answer_angle(ctx, spec, out, d, weights->sum);
        else
            answer_coordinate(ctx, spec, out, d, weights->sum);
    ebm_weighted_answer(ctx, spec, weights->sum, out);
    give_draws(ctx, spec, weights, out);
}

void ebm_importance_estimate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    struct weights weights;
    EBM_ASSERT(spec->scheme != EBM_SCHEME_SOBOL || ctx->M % EBM_SOBOL_PARTS == 0);
    if (weigh(ctx, spec->smooth_weights, &weights))
        answer(ctx, spec, &weights, out);
    else
        ebm_estimate_invalid(ctx, spec, out);
}

/* ---- sums from elsewhere ---- */

static void answer_coordinate_sums(const struct ebm_estimate_spec *spec, const struct ebm_row_sums *sums, uint32_t d,
                                   struct ebm_estimate *out)
{
    const double *of = sums->coordinates + (size_t)d * EBM_SUMS;
    if (out->mean != NULL)
        out->mean[d] = of[EBM_SUM_MEAN];
    if (out->variance != NULL)
        out->variance[d] = of[EBM_SUM_VARIANCE];
    if (out->mode != NULL)
        out->mode[d] = of[EBM_SUM_MODE];
    if (out->mcse_mean != NULL)
        out->mcse_mean[d] = spec->scheme == EBM_SCHEME_SOBOL ? spread(of + EBM_SUM_PARTS) / sums->sum
                                                             : sqrt(of[EBM_SUM_SQUARED_ERROR]);
}

static void answer_from_sums(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, const struct ebm_row_sums *sums,
                             struct ebm_estimate *out)
{
    uint32_t D = ctx->plan->net.D;
    double sigma;
    struct weights weights = {.max = sums->max, .sum = sums->sum, .squares = sums->squares, .largest = 1.0};
    if (isnan(sums->max)) {
        ebm_estimate_invalid(ctx, spec, out);
        return;
    }
    weights.pareto_k = ebm_psis_shape(ctx->kernels, ctx->M, sums->tail, sums->n_tail, sums->cutoff, &sigma);
    answer_sums(ctx, spec, &weights, sums->parts, out);
    for (uint32_t d = 0; d < D; d++)
        answer_coordinate_sums(spec, sums, d, out);
    for (uint32_t d = 0; out->covariance != NULL && d < D; d++)
        for (uint32_t e = 0; e <= d; e++)
            out->covariance[d * D + e] = out->covariance[e * D + d] = sums->covariance[d * D + e];
    if (out->quantiles != NULL)
        memcpy(out->quantiles, sums->quantiles, (size_t)spec->n_probabilities * D * sizeof *out->quantiles);
    if (out->entropy != NULL)
        *out->entropy = out->log_z - sums->energy / sums->sum;
    if (spec->draws == EBM_DRAWS_FAIR)
        memcpy(out->draws, sums->draws, (size_t)spec->n_draws * D * sizeof *out->draws);
}

/* ---- a row of a batch ---- */

static struct ebm_row row_of(const struct ebm_task *task)
{
    struct ebm_row row = task->row;
    if (task->spec->scheme == EBM_SCHEME_SOBOL)
        row.samples = ebm_sobol_count(row.samples);
    return row;
}

/* False: its draws are needed here. */
static bool answer_elsewhere(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    const struct ebm_row row = row_of(task);
    struct ebm_row_sums sums;
    ebm_row_begin_unbound(ctx, b, &row);
    if (!ctx->accelerator->sums(ctx, &sums))
        return false;
    ebm_estimate_begin(ctx, task->spec, task->out);
    answer_from_sums(ctx, task->spec, &sums, task->out);
    return true;
}

static void begin(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    const struct ebm_estimate_spec *spec = task->spec;
    const struct ebm_row row = row_of(task);
    ebm_row_begin(ctx, b, &row);
    if (spec->scheme == EBM_SCHEME_SOBOL)
        ebm_sobol_bind(&ctx->sobol, row.seed, row.row_in_request, ctx->plan->net.D + 1);
    if (spec->defensive > 0.0)
        ctx->has_density = ctx->has_density && ebm_row_defend(ctx, spec->defensive);
}

static void draw_tile(struct ebm_ctx *ctx, enum ebm_draw_scheme scheme, size_t at)
{
    const struct ebm_kernels *kernels = ctx->kernels;
    if (scheme == EBM_SCHEME_SOBOL) {
        kernels->sobol_words(ctx->words, EBM_TILE, &ctx->sobol, ctx->row.first_sample + (uint32_t)at, EBM_TILE);
        kernels->place(ctx->y.p + at, ctx->stride, &ctx->mixture, ctx->words, EBM_TILE, EBM_TILE);
    } else {
        kernels->draw(ctx->y.p + at, ctx->stride, &ctx->mixture, ctx->row.seed, ctx->row.row_in_request,
                      ctx->row.first_sample + (uint32_t)at, EBM_TILE);
    }
    kernels->mixture_log_density(ctx->log_q.p + at, &ctx->mixture, ctx->y.p + at, ctx->stride, EBM_TILE);
}

static bool is_hurried(const struct ebm_task *task)
{
    return task->hurried != NULL && task->hurried(task->who);
}

/* Of so many draws, at least EBM_TILE, those that a request could have asked for. */
static uint32_t count_of(enum ebm_draw_scheme scheme, size_t n)
{
    uint32_t count = EBM_TILE;
    while (scheme == EBM_SCHEME_SOBOL && 2 * count <= n)
        count *= 2;
    return scheme == EBM_SCHEME_SOBOL ? count : (uint32_t)n;
}

/* The same as `draw`, many tiles at a time. */
static bool draw_accelerated(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t from)
{
    bool wanted = ebm_task_is_wanted(task);
    for (size_t at = ebm_round_up(from, EBM_TILE), next = 0; wanted && at < ctx->M; at = next) {
        if (at > 0 && is_hurried(task)) {
            ctx->M = count_of(task->spec->scheme, at);
            break;
        }
        next = ctx->accelerator->score(ctx, task->spec->scheme, at, false);
        wanted = next > 0 && ebm_task_is_wanted(task);
    }
    ctx->is_scored = wanted;
    return wanted;
}

/* Draws and scores samples `from` .. M - 1. The tile that holds `from - 1` is whole already. Hurried it lowers M to
 * what is there. False: no longer wanted. */
static bool draw(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t from)
{
    if (ebm_ctx_accelerator(ctx) != NULL)
        return draw_accelerated(ctx, task, from);
    bool wanted = ebm_task_is_wanted(task);
    for (size_t at = ebm_round_up(from, EBM_TILE); wanted && at < ctx->M; at += EBM_TILE) {
        if (at > 0 && is_hurried(task)) {
            ctx->M = count_of(task->spec->scheme, at);
            break;
        }
        draw_tile(ctx, task->spec->scheme, at);
        ebm_row_score_tile(ctx, at, false);
        wanted = ebm_task_is_wanted(task);
    }
    ctx->is_scored = wanted;
    return wanted;
}

/* The number of draws after M: M when there are enough. */
static uint32_t next_count(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec,
                           const struct weights *weights)
{
    double ess = weights->sum * weights->sum / weights->squares;
    size_t most = spec->max_samples < ctx->stride ? spec->max_samples : ctx->stride, next = (size_t)ctx->M * 2;
    if (ess >= spec->target_ess || ctx->M >= most)
        return ctx->M;
    if (next > most)
        next = spec->scheme == EBM_SCHEME_SOBOL ? ctx->M : most;
    return (uint32_t)next;
}

bool ebm_importance_row(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    const struct ebm_estimate_spec *spec = task->spec;
    struct weights weights;
    bool finite = true;
    uint32_t done = 0;
    if (ebm_ctx_accelerator(ctx) != NULL && ebm_task_is_wanted(task) && answer_elsewhere(ctx, task, b))
        return true;
    begin(ctx, task, b);
    ebm_estimate_begin(ctx, spec, task->out);
    for (uint32_t next = ctx->M; finite && next > done;) {
        ctx->M = next;
        if (!draw(ctx, task, done))
            return false;
        finite = ctx->has_density && weigh(ctx, spec->smooth_weights, &weights);
        done = next;
        next = finite && ctx->M == next ? next_count(ctx, spec, &weights) : 0;
    }
    if (finite)
        answer(ctx, spec, &weights, task->out);
    else
        ebm_estimate_invalid(ctx, spec, task->out);
    return true;
}
