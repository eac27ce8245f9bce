/* device_generic.c - the coarse table built from a fine one, tile by tile: the CPU's device and the reference device.
 *
 *   features   rows of x, 16 lanes a tile -> h, the x part of the first energy layer (once a row, not once a sample),
 *              mixture parameters when they are first asked for; kept row by row
 *   propose    one row's targets, in lanes, and their log q
 *   score      tiles of EBM_TILE samples: target net, energy net -> f
 *   estimate   by importance: device_importance.c; by the mixture: device_mixture.c; of a scalar target without draws:
 *              device_scalar.c
 *
 * A tile is always computed whole (zero padded rows, further draws for samples), so that neither neighbours nor counts
 * change a number. Nothing is allocated outside ctx_prepare. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/blas.h"
#include "core/device_internal.h"

/* ---- memory ---- */

static enum ebm_status ctx_new_with(const struct ebm_kernels *kernels, const struct ebm_ctx_limits *limits,
                                    struct ebm_ctx **ret_ctx, struct ebm_error *reterr)
{
    if (limits->max_rows == 0 || limits->max_rows > LIMIT_BATCH_ROWS || limits->max_samples == 0 ||
        limits->max_samples > LIMIT_SAMPLES)
        return ebm_error_set(reterr, EBM_INVALID, "device", "rows %u or samples %u out of 1..%u, 1..%u",
                             limits->max_rows, limits->max_samples, LIMIT_BATCH_ROWS, LIMIT_SAMPLES);
    struct ebm_ctx *ctx = calloc(1, sizeof *ctx);
    if (ctx == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for a context");
    ctx->kernels = kernels;
    ctx->limits = *limits;
    uint32_t by_sobol = ebm_sobol_count(limits->max_samples), with_true = limits->max_samples + 1;
    ctx->stride = ebm_round_up(by_sobol > with_true ? by_sobol : with_true, EBM_TILE);
    *ret_ctx = ctx;
    return EBM_OK;
}

static enum ebm_status ctx_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan, struct ebm_error *reterr)
{
    const struct ebm_net_desc *net = &plan->net;
    size_t n = plan->n_members > 0 ? plan->n_members : 1, B = ctx->limits.max_rows, DK = (size_t)net->D * net->K;
    size_t x_tile = (size_t)plan->widest_x * EBM_LANES, y_tile = (size_t)plan->widest_y * EBM_TILE;
    size_t tape = (ebm_tape_count(&net->target) + ebm_tape_count(&net->energy)) * EBM_TILE;
    const struct {
        struct ebm_slab *slab;
        size_t count;
    } wants[] = {
        {&ctx->h, n * B * net->H},
        {&ctx->hx, n * B * plan->energy_out},
        {&ctx->mean, B * DK},
        {&ctx->log_variance, B * DK},
        {&ctx->log_weight, B * net->K},
        {&ctx->reach, net->trunk.n_ops > 0 && !ebm_plan_is_served_there(plan) ? B * net->trunk.out : 0},
        {&ctx->trunk_space, ebm_reach_space(plan)},
        {&ctx->x_lanes, x_tile},
        {&ctx->h_lanes, x_tile},
        {&ctx->x_a, x_tile},
        {&ctx->x_b, x_tile},
        {&ctx->mixture_space, ebm_mixture_count(net->D, net->K + 1)},
        {&ctx->wide, ((size_t)2 * net->D + 1) * (net->K + 1)},
        {&ctx->joined, plan->n_members > 0 ? ((size_t)2 * net->D + 1) * net->K : 0},
        {&ctx->member_f, plan->n_members * ctx->stride},
        {&ctx->y, net->D * ctx->stride},
        {&ctx->grad_y, net->D * ctx->stride},
        {&ctx->log_q, ctx->stride},
        {&ctx->f, ctx->stride},
        {&ctx->s, ctx->stride},
        {&ctx->w, ctx->stride},
        {&ctx->tile_y, y_tile},
        {&ctx->tile_a, y_tile},
        {&ctx->tile_b, y_tile},
        {&ctx->tile_residual, y_tile},
        {&ctx->tile_tape, tape},
        {&ctx->walk, (3 * (size_t)net->D + 1) * EBM_TILE},
    };
    bool ok = true;
    for (size_t i = 0; i < EBM_COUNT_OF(wants); i++)
        ok = ok && ebm_slab_reserve(wants[i].slab, wants[i].count);
    if (ok && ctx->pairs == NULL)
        ctx->pairs = ebm_alloc_aligned(4 * ctx->stride * sizeof *ctx->pairs);
    ok = ok && ctx->pairs != NULL && ebm_scalar_prepare(ctx, plan) == EBM_OK && ebm_train_prepare(ctx, plan) == EBM_OK;
    return ok ? EBM_OK
              : ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for %zu rows of %u samples", B,
                              ctx->limits.max_samples);
}

static struct ebm_ctx *ctx_free(struct ebm_ctx *ctx)
{
    if (ctx == NULL)
        return NULL;
    struct ebm_slab *slabs[] = {&ctx->h,          &ctx->hx,
                                &ctx->mean,       &ctx->log_variance,
                                &ctx->log_weight, &ctx->x_lanes,
                                &ctx->h_lanes,    &ctx->x_a,
                                &ctx->x_b,        &ctx->mixture_space,
                                &ctx->y,          &ctx->grad_y,
                                &ctx->log_q,      &ctx->f,
                                &ctx->s,          &ctx->w,
                                &ctx->tile_y,     &ctx->tile_a,
                                &ctx->tile_b,     &ctx->tile_residual,
                                &ctx->tile_tape,  &ctx->walk,
                                &ctx->wide,       &ctx->joined,
                                &ctx->member_f,   &ctx->reach,
                                &ctx->trunk_space};
    for (size_t i = 0; i < EBM_COUNT_OF(slabs); i++)
        free(slabs[i]->p);
    ebm_train_done(&ctx->train);
    ebm_panels_done(&ctx->panels);
    free(ctx->lines);
    (void)ebm_exact_space_free(ctx->exact);
    free(ctx->pairs);
    free(ctx);
    return NULL;
}

static enum ebm_status ctx_sync(struct ebm_ctx *ctx)
{
    (void)ctx;
    return EBM_OK;
}

/* ---- x side ---- */

static void proposal_of_tile(struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t first, uint32_t count)
{
    const struct ebm_net_desc *net = &plan->net;
    size_t DK = (size_t)net->D * net->K;
    const float *h = ctx->h_lanes.p;
    if (net->own_H > 0) {
        const float *own = ebm_net_run(plan, &net->own, 0, ctx->x_lanes.p, EBM_LANES, NULL, ctx->x_a.p, ctx->x_b.p);
        memcpy(ctx->h_lanes.p, own, (size_t)net->own_H * EBM_LANES * sizeof *own);
    }
    const float *out = ebm_net_run(plan, &net->mean, 0, h, EBM_LANES, NULL, ctx->x_a.p, ctx->x_b.p);
    ebm_lanes_to_rows(ctx->mean.p + first * DK, out, DK, count, EBM_LANES);
    out = ebm_net_run(plan, &net->log_variance, 0, h, EBM_LANES, NULL, ctx->x_a.p, ctx->x_b.p);
    ebm_lanes_to_rows(ctx->log_variance.p + first * DK, out, DK, count, EBM_LANES);
    out = ebm_net_run(plan, &net->weight, 0, h, EBM_LANES, NULL, ctx->x_a.p, ctx->x_b.p);
    for (uint32_t b = 0; b < count; b++)
        ebm_log_softmax(ctx->log_weight.p + (size_t)(first + b) * net->K, out + b, EBM_LANES, net->K);
}

/* Rows of reach (count, X or trunk.out), kept as the rows from `first` on. */
static void features_of_tile(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *reach, uint32_t first,
                             uint32_t count)
{
    const struct ebm_net_desc *net = &plan->net;
    ebm_rows_to_lanes(ctx->x_lanes.p, reach, ebm_net_reach(net), count, EBM_LANES);
    const float *h = ebm_net_run(plan, &net->feature, 0, ctx->x_lanes.p, EBM_LANES, NULL, ctx->x_a.p, ctx->x_b.p);
    memcpy(ctx->h_lanes.p, h, (size_t)net->H * EBM_LANES * sizeof *h);
    ebm_lanes_to_rows(ctx->h.p + (size_t)first * net->H, ctx->h_lanes.p, net->H, count, EBM_LANES);
    if (net->has_energy) {
        const struct ebm_layer *layer = &net->energy.layers[0];
        plan->kernels->linear(ctx->x_a.p, plan->params + layer->weight, layer->in, plan->params + layer->bias,
                              ctx->h_lanes.p, layer->out, net->H, EBM_LANES);
        ebm_lanes_to_rows(ctx->hx.p + (size_t)first * layer->out, ctx->x_a.p, layer->out, count, EBM_LANES);
    }
    if (ctx->has_mixtures && net->K > 0)
        proposal_of_tile(ctx, plan, first, count);
}

static enum ebm_status features_of_net(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x, uint32_t B,
                                       uint32_t base)
{
    const float *reach;
    if (ebm_ctx_accelerator(ctx) != NULL) {
        ctx->has_mixtures = true;
        return ctx->accelerator->features(ctx, h_x, B) ? EBM_OK : EBM_DEVICE;
    }
    enum ebm_status status = ebm_reach(ctx, plan, h_x, B, &reach);
    for (uint32_t first = 0; status == EBM_OK && first < B; first += plan->x_tile)
        features_of_tile(ctx, plan, reach + (size_t)first * ebm_net_reach(&plan->net), base + first,
                         B - first < plan->x_tile ? B - first : plan->x_tile);
    return status;
}

void ebm_mixtures(struct ebm_ctx *ctx)
{
    const struct ebm_plan *plan = ctx->plan;
    size_t H = plan->net.H;
    for (uint32_t first = 0; !ctx->has_mixtures && first < ctx->B; first += plan->x_tile) {
        uint32_t count = ctx->B - first < plan->x_tile ? ctx->B - first : plan->x_tile;
        ebm_rows_to_lanes(ctx->h_lanes.p, ctx->h.p + first * H, H, count, EBM_LANES);
        proposal_of_tile(ctx, plan, first, count);
    }
    ctx->has_mixtures = true;
}

/* The proposal's nets run when a mixture is first asked for, but for ensembles and where they read x themselves. */
static enum ebm_status features(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x, uint32_t B)
{
    EBM_ASSERT(B <= ctx->limits.max_rows && ctx->x_lanes.count >= (size_t)plan->widest_x * EBM_LANES);
    ctx->has_mixtures = plan->net.K == 0 || plan->n_members > 0 || plan->net.own_H > 0;
    ctx->plan = plan;
    ctx->B = B;
    ctx->M = 0;
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; i < plan->n_members && status == EBM_OK; i++)
        status = features_of_net(ctx, plan->members[i], h_x, B, ebm_ensemble_row(ctx, i, 0));
    return plan->n_members == 0 ? features_of_net(ctx, plan, h_x, B, 0) : status;
}

/* ---- sample side ---- */

struct ebm_row_mixture ebm_row_mixture(struct ebm_ctx *ctx, uint32_t b)
{
    const struct ebm_net_desc *net = &ctx->plan->net;
    size_t DK = (size_t)net->D * net->K;
    if (ctx->plan->n_members > 0)
        return ebm_ensemble_mixture(ctx, b);
    ebm_mixtures(ctx);
    return (struct ebm_row_mixture){ctx->mean.p + b * DK, ctx->log_variance.p + b * DK,
                                    ctx->log_weight.p + (size_t)b * net->K};
}

static bool bind_row(struct ebm_ctx *ctx, uint32_t b)
{
    const struct ebm_net_desc *net = &ctx->plan->net;
    struct ebm_row_mixture row = ebm_row_mixture(ctx, b);
    return ebm_mixture_bind(&ctx->mixture, ctx->mixture_space.p, row.mean, row.log_variance, row.log_weight,
                            net->support, net->D, net->K);
}

void ebm_row_begin_unbound(struct ebm_ctx *ctx, uint32_t b, const struct ebm_row *row)
{
    EBM_ASSERT(ctx->plan != NULL && b < ctx->B && row->samples >= 1 && row->samples <= ctx->stride);
    ctx->b = b;
    ctx->row = *row;
    ctx->M = row->samples;
    ctx->is_scored = ctx->has_gradient = ctx->has_density = false;
}

void ebm_row_bind(struct ebm_ctx *ctx)
{
    ctx->has_density = ctx->plan->net.K == 0 || bind_row(ctx, ctx->b);
}

/* Starts the targets of row b: `propose` without the draws. */
void ebm_row_begin(struct ebm_ctx *ctx, uint32_t b, const struct ebm_row *row)
{
    ebm_row_begin_unbound(ctx, b, row);
    ebm_row_bind(ctx);
}

bool ebm_row_defend(struct ebm_ctx *ctx, double share)
{
    const struct ebm_net_desc *net = &ctx->plan->net;
    struct ebm_row_mixture row = ebm_row_mixture(ctx, ctx->b);
    return ebm_mixture_defend(&ctx->mixture, ctx->mixture_space.p, ctx->wide.p, row.mean, row.log_variance,
                              row.log_weight, net->support, net->D, net->K, share);
}

void ebm_row_propose_tile(struct ebm_ctx *ctx, const struct ebm_row *row, const float *h_y, size_t at)
{
    uint32_t D = ctx->plan->net.D;
    if (h_y == NULL)
        ctx->kernels->draw(ctx->y.p + at, ctx->stride, &ctx->mixture, row->seed, row->row_in_request,
                           row->first_sample + (uint32_t)at, EBM_TILE);
    for (uint32_t d = 0; h_y != NULL && d < D; d++)
        for (size_t m = at; m < at + EBM_TILE; m++)
            ctx->y.p[d * ctx->stride + m] = m < ctx->M ? h_y[m * D + d] : 0.0f;
    if (ctx->plan->net.K > 0)
        ctx->kernels->mixture_log_density(ctx->log_q.p + at, &ctx->mixture, ctx->y.p + at, ctx->stride, EBM_TILE);
}

static enum ebm_status propose(struct ebm_ctx *ctx, uint32_t b, const struct ebm_row *row, const float *h_y)
{
    if (h_y == NULL && ctx->plan->net.K == 0)
        return EBM_INVALID;
    ebm_row_begin(ctx, b, row);
    for (size_t at = 0; at < ctx->M; at += EBM_TILE)
        ebm_row_propose_tile(ctx, row, h_y, at);
    return EBM_OK;
}

static void gradient_lanes(struct ebm_ctx *ctx, const struct ebm_tape *target, const struct ebm_tape *energy,
                           const float *g, size_t at, uint32_t lanes)
{
    const struct ebm_plan *plan = ctx->plan;
    struct ebm_backward_space space = {ctx->tile_a.p, ctx->tile_b.p, ctx->tile_residual.p};
    for (uint32_t l = 0; l < lanes; l++)
        space.da[l] = 1.0f;
    ebm_energy_backward(plan, g, lanes, energy, NULL, NULL, NULL, &space);
    ebm_net_backward(plan, &plan->net.target, 0, ctx->tile_y.p, lanes, target, NULL, true, &space);
    for (uint32_t d = 0; d < plan->net.D; d++)
        memcpy(ctx->grad_y.p + d * ctx->stride + at, space.da + (size_t)d * lanes, lanes * sizeof(float));
}

const float *ebm_row_run_lanes(struct ebm_ctx *ctx, uint32_t lanes, struct ebm_tape *target, struct ebm_tape *energy,
                               const float **ret_g)
{
    const struct ebm_plan *plan = ctx->plan;
    const struct ebm_net_desc *net = &plan->net;
    const float *g = ebm_net_run(plan, &net->target, 0, ctx->tile_y.p, lanes, target, ctx->tile_a.p, ctx->tile_b.p);
    float *next = g == ctx->tile_a.p ? ctx->tile_b.p : ctx->tile_a.p;
    float *after = g == ctx->tile_a.p ? ctx->tile_a.p : ctx->tile_b.p;
    if (ret_g != NULL)
        *ret_g = g;
    return ebm_energy_run(plan, ctx->hx.p + (size_t)ctx->b * plan->energy_out, ctx->h.p + (size_t)ctx->b * net->H, g,
                          lanes, energy, next, after, ctx->tile_residual.p);
}

void ebm_row_score_lanes(struct ebm_ctx *ctx, size_t at, uint32_t lanes, bool want_grad_y)
{
    const struct ebm_net_desc *net = &ctx->plan->net;
    struct ebm_tape target, energy;
    const float *g;
    if (ctx->plan->n_members > 0) {
        ebm_ensemble_score_lanes(ctx, at, lanes);
        return;
    }
    if (want_grad_y) {
        float *end = ebm_tape_lay(&target, &net->target, ctx->tile_tape.p, lanes);
        (void)ebm_tape_lay(&energy, &net->energy, end, lanes);
    }
    for (uint32_t d = 0; d < net->D; d++)
        memcpy(ctx->tile_y.p + (size_t)d * lanes, ctx->y.p + d * ctx->stride + at, lanes * sizeof(float));
    const float *f = ebm_row_run_lanes(ctx, lanes, want_grad_y ? &target : NULL, want_grad_y ? &energy : NULL, &g);
    memcpy(ctx->f.p + at, f, lanes * sizeof *f);
    if (want_grad_y)
        gradient_lanes(ctx, &target, &energy, g, at, lanes);
}

void ebm_row_score_tile(struct ebm_ctx *ctx, size_t at, bool want_grad_y)
{
    ebm_row_score_lanes(ctx, at, EBM_TILE, want_grad_y);
}

/* f of all M targets that lie in y. */
static void score_accelerated(struct ebm_ctx *ctx)
{
    size_t at = 0, next = 1;
    for (; next > 0 && at < ctx->M; at = next)
        next = ctx->accelerator->score(ctx, EBM_SCHEME_INDEPENDENT, at, true);
}

static enum ebm_status device_status(const struct ebm_ctx *ctx)
{
    return ctx->accelerator != NULL && ctx->accelerator->has_failed ? EBM_DEVICE : EBM_OK;
}

static enum ebm_status score(struct ebm_ctx *ctx, bool want_grad_y)
{
    EBM_ASSERT(ctx->M > 0);
    if (!ctx->plan->net.has_energy || ctx->plan->n_members > 0)
        return EBM_INVALID;
    if (!want_grad_y && ebm_ctx_accelerator(ctx) != NULL)
        score_accelerated(ctx);
    else
        for (size_t at = 0; at < ctx->M; at += EBM_TILE)
            ebm_row_score_tile(ctx, at, want_grad_y);
    ctx->is_scored = true;
    ctx->has_gradient = want_grad_y;
    return device_status(ctx);
}

/* ---- answers ---- */

void ebm_row_copy(float *dst, const struct ebm_ctx *ctx, const float *lanes)
{
    uint32_t D = ctx->plan->net.D;
    for (uint32_t m = 0; m < ctx->M; m++)
        for (uint32_t d = 0; d < D; d++)
            dst[(size_t)m * D + d] = lanes[d * ctx->stride + m];
}

void ebm_estimate_begin(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    const struct ebm_plan *plan = ctx->plan;
    out->used = spec->estimator;
    out->proper = true;
    for (uint32_t d = 0; spec->estimator != EBM_ESTIMATE_MIXTURE && d < plan->net.D; d++)
        out->proper = out->proper && (plan->support[d].kind != EBM_SUPPORT_REAL || ebm_plan_falls(plan));
    out->n_intervals = out->samples = out->pieces = 0;
    out->log_z = out->log_z_std_error = out->ess = out->max_weight = 0.0;
    out->pareto_k = (double)NAN;
    bool is_line = plan->net.D > 1 || plan->support[0].kind == EBM_SUPPORT_REAL;
    out->support[0] = is_line ? -INFINITY : plan->support[0].lower;
    out->support[1] = is_line ? INFINITY : plan->support[0].upper;
    for (uint32_t d = 0; out->mcse_mean != NULL && d < plan->net.D; d++)
        out->mcse_mean[d] = 0.0;
}

static void fill_nan(double *to, size_t n)
{
    for (size_t i = 0; to != NULL && i < n; i++)
        to[i] = (double)NAN;
}

void ebm_estimate_invalid(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    uint32_t D = ctx->plan->net.D, M = ctx->M, n_at = ctx->task != NULL ? ctx->task->n_at : 0;
    const struct {
        double *to;
        size_t n;
    } arrays[] = {{out->mean, D},      {out->variance, D},
                  {out->mcse_mean, D}, {out->covariance, (size_t)D * D},
                  {out->mode, D},      {out->quantiles, (size_t)spec->n_probabilities * D},
                  {out->entropy, 1},   {out->cdf, n_at},
                  {out->crps, n_at}};
    for (size_t i = 0; i < EBM_COUNT_OF(arrays); i++)
        fill_nan(arrays[i].to, arrays[i].n);
    size_t n_draws = spec->draws == EBM_DRAWS_FAIR ? spec->n_draws : spec->draws == EBM_DRAWS_WEIGHTED ? M : 0;
    for (size_t i = 0; i < n_draws * D; i++)
        out->draws[i] = NAN;
    for (size_t i = 0; spec->draws == EBM_DRAWS_WEIGHTED && i < M; i++)
        out->log_weights[i] = NAN;
    out->n_intervals = 0;
    out->log_z = out->log_z_std_error = out->ess = out->max_weight = out->pareto_k = (double)NAN;
    out->samples = spec->estimator == EBM_ESTIMATE_IMPORTANCE ? M : 0;
    out->status = EBM_INVALID;
}

static bool is_scalar(enum ebm_estimator estimator)
{
    return estimator == EBM_ESTIMATE_EXACT || estimator == EBM_ESTIMATE_QUADRATURE;
}

/* Can this network be asked that way? */
static bool applies(const struct ebm_net_desc *net, const struct ebm_estimate_spec *spec)
{
    switch (spec->estimator) {
    case EBM_ESTIMATE_IMPORTANCE:
        return net->has_energy && net->K > 0;
    case EBM_ESTIMATE_MIXTURE:
        return net->K > 0 && spec->draws != EBM_DRAWS_WEIGHTED;
    case EBM_ESTIMATE_EXACT:
    case EBM_ESTIMATE_QUADRATURE:
        return net->has_energy && net->D == 1 && spec->draws != EBM_DRAWS_WEIGHTED;
    }
    return false;
}

static enum ebm_status estimate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    EBM_ASSERT(ctx->M > 0 && spec->n_probabilities <= EBM_MAX_PROBABILITIES);
    if (!applies(&ctx->plan->net, spec))
        return EBM_INVALID;
    ebm_estimate_begin(ctx, spec, out);
    if (is_scalar(spec->estimator)) {
        ebm_scalar_estimate(ctx, spec, out);
        return EBM_OK;
    }
    EBM_ASSERT(ctx->is_scored || spec->estimator == EBM_ESTIMATE_MIXTURE);
    if (!ctx->has_density)
        ebm_estimate_invalid(ctx, spec, out);
    else if (spec->estimator == EBM_ESTIMATE_MIXTURE)
        ebm_mixture_estimate(ctx, spec, out);
    else
        ebm_importance_estimate(ctx, spec, out);
    return EBM_OK;
}

/* ---- a whole batch ---- */

bool ebm_task_is_wanted(const struct ebm_task *task)
{
    return task->wanted == NULL || task->wanted(task->who);
}

/* Draws of the mixture, where they are asked for. False: no longer wanted. */
static bool draw_mixture(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    struct ebm_row row = task->row;
    const struct ebm_estimate_spec *spec = task->spec;
    bool draws = spec->estimator == EBM_ESTIMATE_MIXTURE && spec->draws == EBM_DRAWS_FAIR;
    bool wanted = ebm_task_is_wanted(task);
    row.samples = draws ? spec->n_draws : 1;
    ebm_row_begin_unbound(ctx, b, &row);
    if (spec->estimator != EBM_ESTIMATE_EXACT)
        ebm_row_bind(ctx);
    for (size_t at = 0; wanted && draws && at < ctx->M; at += EBM_TILE) {
        ebm_row_propose_tile(ctx, &row, NULL, at);
        wanted = ebm_task_is_wanted(task);
    }
    return wanted;
}

/* No density outside of the bounds: f is only a network's output there. */
static bool is_inside(const struct ebm_net_desc *net, const float *y)
{
    for (uint32_t d = 0; d < net->D; d++) {
        const struct ebm_support *support = &net->support[d];
        if (support->kind == EBM_SUPPORT_BOUNDED && !(y[d] >= (float)support->lower && y[d] <= (float)support->upper))
            return false;
    }
    return true;
}

/* log q, where there is a proposal, and f, unless the mixture answers, at the task's targets. False: no longer wanted.
 */
static bool score_targets(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    struct ebm_row row = {.samples = task->n_y};
    bool wanted = true, by_energy = task->spec->estimator != EBM_ESTIMATE_MIXTURE;
    ebm_row_begin(ctx, b, &row);
    for (size_t at = 0; wanted && at < ctx->M; at += EBM_TILE) {
        ebm_row_propose_tile(ctx, &row, task->h_y, at);
        if (by_energy && ebm_ctx_accelerator(ctx) == NULL)
            ebm_row_score_tile(ctx, at, false);
        wanted = ebm_task_is_wanted(task);
    }
    if (wanted && by_energy && ebm_ctx_accelerator(ctx) != NULL)
        score_accelerated(ctx);
    if (by_energy && ctx->plan->n_members > 0)
        ebm_ensemble_blend(ctx);
    for (uint32_t m = 0; m < task->n_y; m++) {
        task->h_log_q[m] = ctx->has_density && ctx->plan->net.K > 0 ? ctx->log_q.p[m] : NAN;
        if (by_energy)
            task->h_f[m] = ctx->f.p[m];
        if (is_inside(&ctx->plan->net, task->h_y + (size_t)m * ctx->plan->net.D))
            continue;
        task->h_log_q[m] = ctx->plan->net.K > 0 ? -INFINITY : NAN;
        if (by_energy)
            task->h_f[m] = -INFINITY;
    }
    return wanted;
}

/* Of a density that has no integral the draws of the proposal still say what it is like where it was trained. */
static bool draw_improper(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    if (!ebm_importance_row(ctx, task, b))
        return false;
    task->out->used = EBM_ESTIMATE_IMPORTANCE;
    task->out->proper = false;
    return true;
}

static bool answer_row(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    const struct ebm_plan *plan = ctx->plan;
    bool may_draw = task->spec->or_importance && plan->net.K > 0 && ebm_plan_is_open(plan);
    if (task->spec->estimator == EBM_ESTIMATE_IMPORTANCE)
        return ebm_importance_row(ctx, task, b);
    if (is_scalar(task->spec->estimator) && may_draw && !ebm_plan_falls(plan))
        return draw_improper(ctx, task, b);
    if (!draw_mixture(ctx, task, b))
        return false;
    (void)estimate(ctx, task->spec, task->out);
    if (is_scalar(task->spec->estimator) && may_draw && !task->out->proper && task->out->status == EBM_OK)
        return draw_improper(ctx, task, b);
    return task->out->status != EBM_CANCELLED;
}

static bool estimate_row(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    if (!answer_row(ctx, task, b))
        return false;
    if (task->spec->langevin != NULL && task->out->status == EBM_OK && !ebm_langevin_draws(ctx, task))
        return false;
    return task->n_y == 0 || score_targets(ctx, task, b);
}

static void predict_row(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    ctx->task = task;
    bool wanted = task->ascent != NULL ? ebm_ascent_row(ctx, task, b) : estimate_row(ctx, task, b);
    ctx->task = NULL;
    if (!wanted)
        task->out->status = EBM_CANCELLED;
}

static bool can_do(const struct ebm_net_desc *net, const struct ebm_task *task)
{
    if (task->ascent != NULL)
        return net->has_energy && net->members <= 1 && (net->K > 0 || task->n_y > 0);
    return applies(net, task->spec) && ((net->has_energy && net->members <= 1) || task->spec->langevin == NULL);
}

static enum ebm_status predict(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                               const struct ebm_task *tasks, uint32_t B)
{
    for (uint32_t b = 0; b < B; b++)
        if (!can_do(&plan->net, &tasks[b]))
            return EBM_INVALID;
    enum ebm_status status = features(ctx, plan, h_x, B);
    struct ebm_accelerator *accelerator = ebm_ctx_accelerator(ctx);
    if (status == EBM_OK && accelerator != NULL)
        accelerator->expect(ctx, tasks, B);
    for (uint32_t b = 0; status == EBM_OK && b < B; b++) {
        predict_row(ctx, &tasks[b], b);
        status = device_status(ctx);
    }
    if (accelerator != NULL)
        accelerator->expect(ctx, NULL, 0);
    return status;
}

/* ---- results one by one ---- */

static enum ebm_status fetch(struct ebm_ctx *ctx, enum ebm_fetch what, uint32_t b, float *h_dst)
{
    const struct ebm_net_desc *net = &ctx->plan->net;
    size_t DK = (size_t)net->D * net->K;
    if (ctx->plan->n_members == 0)
        ebm_mixtures(ctx);
    switch (what) {
    case EBM_FETCH_FEATURES:
        memcpy(h_dst, ctx->h.p + (size_t)b * net->H, net->H * sizeof *h_dst);
        return EBM_OK;
    case EBM_FETCH_MIXTURE_MEAN:
        memcpy(h_dst, ctx->mean.p + b * DK, DK * sizeof *h_dst);
        return EBM_OK;
    case EBM_FETCH_MIXTURE_LOG_VARIANCE:
        memcpy(h_dst, ctx->log_variance.p + b * DK, DK * sizeof *h_dst);
        return EBM_OK;
    case EBM_FETCH_MIXTURE_LOG_WEIGHT:
        memcpy(h_dst, ctx->log_weight.p + (size_t)b * net->K, net->K * sizeof *h_dst);
        return EBM_OK;
    case EBM_FETCH_TARGETS:
        ebm_row_copy(h_dst, ctx, ctx->y.p);
        return EBM_OK;
    case EBM_FETCH_LOG_Q:
        memcpy(h_dst, ctx->log_q.p, ctx->M * sizeof *h_dst);
        return net->K > 0 ? EBM_OK : EBM_INVALID;
    case EBM_FETCH_F:
        memcpy(h_dst, ctx->f.p, ctx->M * sizeof *h_dst);
        return ctx->is_scored ? EBM_OK : EBM_INVALID;
    case EBM_FETCH_GRAD_Y:
        ebm_row_copy(h_dst, ctx, ctx->grad_y.p);
        return ctx->has_gradient ? EBM_OK : EBM_INVALID;
    case EBM_FETCH_LOG_WEIGHTS:
        if (!ctx->is_scored || net->K == 0)
            return EBM_INVALID;
        ebm_importance_log_weights(h_dst, ctx);
        return EBM_OK;
    }
    return EBM_INVALID;
}

/* ---- the two tables ---- */

static enum ebm_status cpu_plan_new(const struct ebm_net_desc *net, const float *h_params, uint32_t n_slots,
                                    struct ebm_plan **ret_plan, struct ebm_error *reterr)
{
    return ebm_plan_new_with(ebm_kernels_cpu(), ebm_device_cpu(), net, h_params, n_slots, ret_plan, reterr);
}

static enum ebm_status cpu_ctx_new(const struct ebm_ctx_limits *limits, struct ebm_ctx **ret_ctx,
                                   struct ebm_error *reterr)
{
    return ctx_new_with(ebm_kernels_cpu(), limits, ret_ctx, reterr);
}

static enum ebm_status ref_plan_new(const struct ebm_net_desc *net, const float *h_params, uint32_t n_slots,
                                    struct ebm_plan **ret_plan, struct ebm_error *reterr)
{
    return ebm_plan_new_with(ebm_kernels_ref(), ebm_device_reference(), net, h_params, n_slots, ret_plan, reterr);
}

static enum ebm_status ref_ctx_new(const struct ebm_ctx_limits *limits, struct ebm_ctx **ret_ctx,
                                   struct ebm_error *reterr)
{
    return ctx_new_with(ebm_kernels_ref(), limits, ret_ctx, reterr);
}

/* The context has it all. */
static enum ebm_status train_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan, const struct ebm_loss_spec *spec,
                                     uint32_t max_rows, struct ebm_error *reterr)
{
    (void)spec;
    if (ctx->limits.training && plan->n_slots > 0 && max_rows <= ctx->limits.max_rows)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "training", "a context to train %u rows at once and a plan to be trained",
                         max_rows);
}

#define GENERIC_OPS(device_name, plan_new_entry, ctx_new_entry)                                                        \
    {                                                                                                                  \
        .abi = EBM_DEVICE_ABI, .bytes = sizeof(struct ebm_device_ops), .name = device_name, .n_devices = 1,            \
        .plan_new = plan_new_entry, .plan_ref = ebm_plan_ref, .plan_unref = ebm_plan_unref,                            \
        .plan_group = ebm_plan_group, .ctx_new = ctx_new_entry, .ctx_prepare = ctx_prepare, .ctx_free = ctx_free,      \
        .sync = ctx_sync, .features = features, .propose = propose, .score = score, .estimate = estimate,              \
        .predict = predict, .fetch = fetch, .refresh = ebm_plan_refresh, .train_prepare = train_prepare,               \
        .backward = ebm_train_backward, .trunk_prepare = ebm_trunk_prepare, .trunk_forward = ebm_trunk_forward,        \
        .trunk_run = ebm_trunk_run_batch, .trunk_backward = ebm_trunk_backward, .reduce = ebm_plan_reduce,             \
        .update = ebm_plan_update, .params_read = ebm_plan_params_read, .params_write = ebm_plan_params_write,         \
    }

const struct ebm_device_ops *ebm_device_cpu(void)
{
    static const struct ebm_device_ops ops = GENERIC_OPS("cpu", cpu_plan_new, cpu_ctx_new);
    return &ops;
}

const struct ebm_device_ops *ebm_device_reference(void)
{
    static const struct ebm_device_ops ops = GENERIC_OPS("reference", ref_plan_new, ref_ctx_new);
    return &ops;
}

void ebm_device_thread_init(void)
{
    ebm_blas_init();
}
