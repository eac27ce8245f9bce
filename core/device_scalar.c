/* device_scalar.c - answers for a scalar target without draws of the proposal: a density of core/scalar.h is bound for
 * the row, and every question is put to it.
 *
 *   exact        f piecewise linear: its kinks are found from the plan's table of them (exact.h)
 *   quadrature   f in whole tiles through the target and energy nets, as ebm_row_score_lanes does; panels are split at
 *                the means of the row's own proposal, where there is one, and around its narrow components
 *   mixture      log q by the kernels: what has no closed form for a mixture (device_mixture.c)
 *
 * Independent draws are quantiles of uniform numbers, functions of (seed, row, number) alone. */
#include <math.h>
#include <string.h>

#include "core/device_internal.h"
#include "core/quadrature.h"

#define EPSILON 0x1p-24     /* of f and of y: the networks' numbers are floats */
#define MOST_COMPONENTS 16u /* whose means are splits */
#define LEAST_WEIGHT 1e-3   /* of such a component */
#define NARROW 0.1          /* a standard deviation below: the component's sides are splits too */
#define SIDE 6.0            /* standard deviations */
#define MIXTURE_REACH 9.0   /* standard deviations: less than 1e-18 of the mass is beyond */

_Static_assert(EBM_QUADRATURE_POINTS <= EBM_TILE, "a round's points are one tile");
_Static_assert(EBM_QUADRATURE_POINTS % EBM_LANES == 0, "whole lanes");

enum ebm_status ebm_scalar_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan)
{
    enum ebm_status status = plan->net.D != 1 || ctx->panels.panel != NULL ? EBM_OK : ebm_panels_init(&ctx->panels);
    if (status == EBM_OK && plan->n_members > 0 && plan->net.D == 1)
        return ebm_ensemble_prepare(ctx, plan);
    if (status != EBM_OK || plan->exact == NULL)
        return status;
    if (ctx->exact == NULL)
        ctx->exact = ebm_exact_space_new();
    return ctx->exact != NULL ? ebm_exact_space_reserve(ctx->exact, plan->exact) : EBM_NO_MEMORY;
}

/* ---- f and log q at points ---- */

static bool is_wanted(const struct ebm_ctx *ctx)
{
    return ctx->task == NULL || ebm_task_is_wanted(ctx->task);
}

static void stage_points(struct ebm_ctx *ctx, const double *y, uint32_t n)
{
    for (uint32_t l = 0; l < EBM_TILE; l++)
        ctx->tile_y.p[l] = (float)y[l < n ? l : n - 1];
}

void ebm_scalar_f(struct ebm_ctx *ctx, const double *y, uint32_t n, double *ret_f)
{
    stage_points(ctx, y, n);
    const float *f = ebm_row_run_lanes(ctx, EBM_TILE, NULL, NULL, NULL);
    for (uint32_t i = 0; i < n; i++)
        ret_f[i] = (double)f[i];
}

static bool f_at(void *user, const double *y, uint32_t n, double *ret_f)
{
    struct ebm_ctx *ctx = user;
    ebm_scalar_f(ctx, y, n, ret_f);
    return is_wanted(ctx);
}

static bool log_q_at(void *user, const double *y, uint32_t n, double *ret_f)
{
    struct ebm_ctx *ctx = user;
    stage_points(ctx, y, n);
    ctx->kernels->mixture_log_density(ctx->tile_a.p, &ctx->mixture, ctx->tile_y.p, EBM_TILE, EBM_TILE);
    for (uint32_t i = 0; i < n; i++)
        ret_f[i] = (double)ctx->tile_a.p[i];
    return is_wanted(ctx);
}

/* ---- densities ---- */

/* Of the heaviest components, without sorting them: those that a falling threshold lets in. */
static uint32_t proposal_splits(const struct ebm_mixture *q, double *ret_splits)
{
    uint32_t n = 0, taken = 0;
    double above = INFINITY;
    for (double least = 0.5; least > LEAST_WEIGHT && taken < MOST_COMPONENTS; above = least, least *= 0.5)
        for (uint32_t k = 0; k < q->K && taken < MOST_COMPONENTS; k++) {
            double weight = exp((double)q->log_weight[k]), mean = (double)q->mean[k], std = (double)q->std[k];
            if (!(weight >= least && weight < above))
                continue;
            taken++;
            ret_splits[n++] = mean;
            for (double side = -SIDE; std < NARROW && side <= SIDE; side += 2.0 * SIDE)
                ret_splits[n++] = mean + side * std;
        }
    return n;
}

/* TOO_LARGE: there is no table of kinks, the row has too many, or the integral over a ray is infinite: quadrature then
 * says how far it went. */
static enum ebm_status bind_exact(struct ebm_ctx *ctx, struct ebm_scalar *ret_scalar)
{
    const struct ebm_plan *plan = ctx->plan;
    const struct ebm_exact_table *table = ebm_plan_exact(plan);
    if (table == NULL || (ebm_plan_is_open(plan) && !ebm_plan_falls(plan)))
        return EBM_TOO_LARGE;
    return ebm_exact_bind(table, ctx->hx.p + (size_t)ctx->b * plan->energy_out, ctx->h.p + (size_t)ctx->b * plan->net.H,
                          ctx->exact, ret_scalar);
}

enum ebm_status ebm_scalar_bind_fn(struct ebm_ctx *ctx, ebm_quadrature_fn *f, const double *more, uint32_t n)
{
    double splits[3 * MOST_COMPONENTS + EBM_SCALAR_SPLITS];
    uint32_t n_splits = ctx->plan->net.K > 0 && ctx->has_density ? proposal_splits(&ctx->mixture, splits) : 0;
    for (uint32_t i = 0; i < n; i++)
        splits[n_splits++] = more[i];
    struct ebm_quadrature quadrature = {
        .f = f,
        .user = ctx,
        .epsilon = EPSILON,
        .support = ctx->plan->support[0],
        .is_bounded = ctx->plan->is_bounded,
        .splits = splits,
        .n_splits = n_splits,
    };
    return ebm_quadrature_run(&quadrature, &ctx->panels);
}

/* Split at the kinks that the table knows, too, where there is one: f is straight between, for many x. */
enum ebm_status ebm_scalar_bind_quadrature(struct ebm_ctx *ctx)
{
    double knots[EBM_SCALAR_SPLITS];
    const struct ebm_exact_table *table = ebm_plan_exact(ctx->plan);
    return ebm_scalar_bind_fn(ctx, f_at, knots, table != NULL ? ebm_exact_knots(table, knots, EBM_SCALAR_SPLITS) : 0);
}

static enum ebm_status bind_mixture(struct ebm_ctx *ctx)
{
    const struct ebm_mixture *q = &ctx->mixture;
    double splits[3 * MOST_COMPONENTS];
    struct ebm_support range = ctx->plan->support[0];
    if (range.kind == EBM_SUPPORT_REAL)
        range = (struct ebm_support){EBM_SUPPORT_BOUNDED, INFINITY, -INFINITY};
    for (uint32_t k = 0; ctx->plan->support[0].kind == EBM_SUPPORT_REAL && k < q->K; k++) {
        range.lower = fmin(range.lower, (double)q->mean[k] - MIXTURE_REACH * (double)q->std[k]);
        range.upper = fmax(range.upper, (double)q->mean[k] + MIXTURE_REACH * (double)q->std[k]);
    }
    struct ebm_quadrature quadrature = {.f = log_q_at,
                                        .user = ctx,
                                        .epsilon = EPSILON,
                                        .support = range,
                                        .splits = splits,
                                        .n_splits = proposal_splits(q, splits)};
    return ebm_quadrature_run(&quadrature, &ctx->panels);
}

/* ---- questions ---- */

static void give_draws(const struct ebm_ctx *ctx, const struct ebm_scalar *scalar, uint32_t n, float *ret_draws)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t words[4];
        ebm_philox(ctx->row.seed, ctx->row.row_in_request, i, EBM_STREAM_RESAMPLE, 0, words);
        double u = ((double)(((uint64_t)words[0] << 32 | words[1]) >> 12) + 0.5) * 0x1p-52;
        ret_draws[i] = (float)scalar->ops->quantile(scalar->density, u);
    }
}

static void answer_shape(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec,
                         const struct ebm_scalar *scalar, struct ebm_estimate *out)
{
    const struct ebm_scalar_ops *ops = scalar->ops;
    uint32_t n_at = ctx->task != NULL ? ctx->task->n_at : 0;
    for (uint32_t i = 0; out->cdf != NULL && i < n_at; i++)
        out->cdf[i] = ops->cdf(scalar->density, ctx->task->h_at[i]);
    for (uint32_t i = 0; out->crps != NULL && i < n_at; i++)
        out->crps[i] = ops->crps(scalar->density, ctx->task->h_at[i]);
    if (out->region != NULL && spec->region_level > 0.0)
        out->n_intervals = ops->region(scalar->density, spec->region_level, out->region, EBM_MAX_INTERVALS);
}

static void answer_summary(const struct ebm_scalar_summary *s, struct ebm_estimate *out)
{
    double *const numbers[] = {out->mean, out->variance, out->covariance, out->mcse_mean, out->mode, out->entropy};
    const double values[] = {s->mean, s->variance, s->variance, 0.0, s->mode, s->entropy};
    for (size_t i = 0; i < EBM_COUNT_OF(numbers); i++)
        if (numbers[i] != NULL)
            *numbers[i] = values[i];
    out->log_z = s->log_z;
    out->pieces = s->pieces;
    out->proper = s->proper;
    out->support[0] = s->lower;
    out->support[1] = s->upper;
}

static void answer(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, const struct ebm_scalar *scalar,
                   struct ebm_estimate *out)
{
    struct ebm_scalar_summary s;
    scalar->ops->summary(scalar->density, &s);
    answer_summary(&s, out);
    for (uint32_t p = 0; out->quantiles != NULL && p < spec->n_probabilities; p++)
        out->quantiles[p] = scalar->ops->quantile(scalar->density, spec->probabilities[p]);
    answer_shape(ctx, spec, scalar, out);
    if (spec->draws == EBM_DRAWS_FAIR)
        give_draws(ctx, scalar, spec->n_draws, out->draws);
}

static bool asks_shape(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, const struct ebm_estimate *out)
{
    return spec->n_probabilities > 0 || spec->draws != EBM_DRAWS_NONE || spec->region_level > 0.0 ||
           (ctx->task != NULL && ctx->task->n_at > 0 && (out->cdf != NULL || out->crps != NULL));
}

/* A periodic target: the same density as a circle. */
static struct ebm_scalar close_circle(const struct ebm_ctx *ctx, const struct ebm_scalar *scalar, bool has_cdf,
                                      struct ebm_circle *circle)
{
    const struct ebm_support *support = &ctx->plan->support[0];
    if (support->kind != EBM_SUPPORT_PERIODIC)
        return *scalar;
    ebm_circle_bind(circle, scalar, support, has_cdf);
    return (struct ebm_scalar){&ebm_circle_ops, circle};
}

/* By an accelerator. False: the answer is to be found here. */
static bool answer_elsewhere(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    const struct ebm_accelerator *accelerator = ebm_ctx_accelerator(ctx);
    struct ebm_exact_answer found;
    if (accelerator == NULL || !accelerator->exact(ctx, &found))
        return false;
    answer_summary(&found.summary, out);
    if (out->quantiles != NULL)
        memcpy(out->quantiles, found.quantiles, spec->n_probabilities * sizeof *out->quantiles);
    if (spec->draws == EBM_DRAWS_FAIR)
        memcpy(out->draws, found.draws, spec->n_draws * sizeof *out->draws);
    out->log_z_std_error = 0.0;
    out->used = EBM_ESTIMATE_EXACT;
    out->status = EBM_OK;
    return true;
}

void ebm_scalar_estimate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    struct ebm_scalar scalar = {&ebm_panels_ops, &ctx->panels};
    struct ebm_circle circle;
    if (spec->estimator == EBM_ESTIMATE_EXACT && answer_elsewhere(ctx, spec, out))
        return;
    enum ebm_status status = spec->estimator == EBM_ESTIMATE_EXACT ? bind_exact(ctx, &scalar) : EBM_TOO_LARGE;
    out->used = status == EBM_TOO_LARGE ? EBM_ESTIMATE_QUADRATURE : EBM_ESTIMATE_EXACT;
    if (status == EBM_TOO_LARGE && !ctx->has_density)
        ebm_row_bind(ctx);
    if (status == EBM_TOO_LARGE)
        status = ctx->plan->n_members > 0 ? ebm_ensemble_bind(ctx) : ebm_scalar_bind_quadrature(ctx);
    out->status = status;
    if (status == EBM_INVALID)
        ebm_estimate_invalid(ctx, spec, out);
    if (status != EBM_OK)
        return;
    bool has_cdf = asks_shape(ctx, spec, out);
    if (out->used == EBM_ESTIMATE_QUADRATURE && has_cdf)
        ebm_panels_lay_cells(&ctx->panels);
    scalar = close_circle(ctx, &scalar, has_cdf, &circle);
    out->log_z_std_error = out->used == EBM_ESTIMATE_QUADRATURE ? ctx->panels.error : 0.0;
    answer(ctx, spec, &scalar, out);
}

/* What a mixture has in closed form. */
static void answer_closed(const struct ebm_ctx *ctx, struct ebm_estimate *out)
{
    uint32_t n_at = ctx->task != NULL ? ctx->task->n_at : 0;
    for (uint32_t i = 0; out->cdf != NULL && i < n_at; i++)
        out->cdf[i] = ebm_mixture_cdf(&ctx->mixture, 0, ctx->task->h_at[i]);
    for (uint32_t i = 0; ctx->plan->support[0].kind == EBM_SUPPORT_REAL && out->crps != NULL && i < n_at; i++)
        out->crps[i] = ebm_mixture_crps(&ctx->mixture, ctx->task->h_at[i]);
}

enum ebm_status ebm_scalar_mixture(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    struct ebm_scalar scalar = {&ebm_panels_ops, &ctx->panels};
    struct ebm_circle circle;
    struct ebm_scalar_summary s;
    bool has_cdf = asks_shape(ctx, spec, out);
    enum ebm_status status = bind_mixture(ctx);
    if (status != EBM_OK)
        return status;
    scalar.ops->summary(scalar.density, &s);
    if (out->mode != NULL)
        *out->mode = s.mode;
    if (out->entropy != NULL)
        *out->entropy = s.entropy;
    if (has_cdf)
        ebm_panels_lay_cells(&ctx->panels);
    scalar = close_circle(ctx, &scalar, has_cdf, &circle);
    answer_shape(ctx, spec, &scalar, out);
    answer_closed(ctx, out);
    return EBM_OK;
}
