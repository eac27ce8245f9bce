/* device_train.c - losses and gradients of a chunk of rows.
 *
 *   x side, all rows of the chunk in lanes, activations kept
 *   for each row:  targets (M draws and the true one) -> log q, f, activations kept -> loss, df, dlog_q
 *                  -> sample side backward: target net, energy net; dhx of this row; gradient of its mixture
 *   x side backward: first energy layer's x part, proposal nets, feature net
 *
 * Only one row's sample side is kept at a time: M x widths, never rows x M x widths. Gradients are added into the
 * slot's buffer in this fixed order; a slot belongs to one call at a time. The true target stands behind the draws, at
 * M. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_internal.h"
#include "core/loss.h"

static uint32_t lanes_of(uint32_t rows)
{
    return (uint32_t)ebm_round_up(rows, EBM_LANES);
}

static size_t x_tape_count(const struct ebm_net_desc *net)
{
    return ebm_tape_count(&net->feature) + ebm_tape_count(&net->mean) + ebm_tape_count(&net->log_variance) +
           ebm_tape_count(&net->weight);
}

enum ebm_status ebm_train_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan)
{
    if (!ctx->limits.training)
        return EBM_OK;
    const struct ebm_net_desc *net = &plan->net;
    struct ebm_train_space *t = &ctx->train;
    size_t lanes = lanes_of(ctx->limits.max_rows), DK = (size_t)net->D * net->K;
    size_t widest = plan->widest_x * lanes, y_widest = (size_t)plan->widest_y * EBM_TILE;
    widest = y_widest > widest ? y_widest : widest;
    const struct {
        struct ebm_slab *slab;
        size_t count;
    } wants[] = {
        {&ctx->x_lanes, net->X * lanes},
        {&t->x_tape, x_tape_count(net) * lanes},
        {&t->y_tape, (ebm_tape_count(&net->target) + ebm_tape_count(&net->energy) + net->D) * ctx->stride},
        {&t->dhx, plan->energy_out * (lanes + 1)},
        {&t->dh, net->H * (lanes + 1)},
        {&t->dmean, DK * lanes},
        {&t->dlog_variance, DK * lanes},
        {&t->dlogit, net->K * lanes},
        {&t->df, ctx->stride},
        {&t->dlog_q, ctx->stride},
        {&t->scratch, ctx->stride},
        {&t->da, widest},
        {&t->dz, widest},
        {&t->dx, widest},
        {&t->noise, ebm_mixture_count(net->D, LIMIT_COMPONENTS) + (size_t)(2 * net->D + 1) * LIMIT_COMPONENTS},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(wants); i++)
        if (!ebm_slab_reserve(wants[i].slab, wants[i].count))
            return EBM_NO_MEMORY;
    if (t->n_sums < 2 * DK + net->K + 1) {
        free(t->sums);
        t->n_sums = 2 * DK + net->K + 1;
        t->sums = calloc(t->n_sums, sizeof *t->sums);
    }
    return t->sums != NULL ? EBM_OK : EBM_NO_MEMORY;
}

void ebm_train_done(struct ebm_train_space *t)
{
    struct ebm_slab *slabs[] = {&t->x_tape, &t->y_tape, &t->dhx,    &t->dh,      &t->dmean, &t->dlog_variance,
                                &t->dlogit, &t->df,     &t->dlog_q, &t->scratch, &t->da,    &t->dz,
                                &t->dx,     &t->noise};
    for (size_t i = 0; i < EBM_COUNT_OF(slabs); i++)
        free(slabs[i]->p);
    free(t->sums);
}

/* One call of backward: what its steps share. */
struct chunk {
    struct ebm_ctx *ctx;
    const struct ebm_plan *plan;
    const struct ebm_loss_spec *spec;
    const struct ebm_train_rows *rows;
    float *grads;
    uint32_t lanes;
    struct ebm_tape feature, mean, log_variance, weight; /* x side */
    const float *h;                                      /* (H, lanes) */
    uint32_t M, n;                                       /* draws, candidates in whole lanes */
};

/* ---- x side, forward ---- */

static void rows_from_lanes(const struct chunk *c, float *rows, const float *lanes, size_t n)
{
    for (uint32_t b = 0; b < c->rows->B; b++)
        for (size_t i = 0; i < n; i++)
            rows[b * n + i] = lanes[i * c->lanes + b];
}

static void x_forward(struct chunk *c)
{
    struct ebm_ctx *ctx = c->ctx;
    const struct ebm_plan *plan = c->plan;
    const struct ebm_net_desc *net = &plan->net;
    size_t DK = (size_t)net->D * net->K;
    float *end = ebm_tape_lay(&c->feature, &net->feature, ctx->train.x_tape.p, c->lanes);
    end = ebm_tape_lay(&c->mean, &net->mean, end, c->lanes);
    end = ebm_tape_lay(&c->log_variance, &net->log_variance, end, c->lanes);
    (void)ebm_tape_lay(&c->weight, &net->weight, end, c->lanes);
    for (uint32_t i = 0; i < net->X; i++)
        for (uint32_t b = 0; b < c->lanes; b++)
            ctx->x_lanes.p[(size_t)i * c->lanes + b] = b < c->rows->B ? c->rows->h_x[(size_t)b * net->X + i] : 0.0f;
    c->h = ebm_net_run(plan, &net->feature, 0, ctx->x_lanes.p, c->lanes, &c->feature, NULL, NULL);
    rows_from_lanes(c, ctx->h.p, c->h, net->H);
    if (net->has_energy) {
        const struct ebm_layer *layer = &net->energy.layers[0];
        float *hx = ctx->train.da.p;
        plan->kernels->linear(hx, plan->params + layer->weight, layer->in, plan->params + layer->bias, c->h, layer->out,
                              net->H, c->lanes);
        rows_from_lanes(c, ctx->hx.p, hx, layer->out);
    }
    if (net->K == 0)
        return;
    rows_from_lanes(c, ctx->mean.p, ebm_net_run(plan, &net->mean, 0, c->h, c->lanes, &c->mean, NULL, NULL), DK);
    rows_from_lanes(c, ctx->log_variance.p,
                    ebm_net_run(plan, &net->log_variance, 0, c->h, c->lanes, &c->log_variance, NULL, NULL), DK);
    const float *logits = ebm_net_run(plan, &net->weight, 0, c->h, c->lanes, &c->weight, NULL, NULL);
    for (uint32_t b = 0; b < c->rows->B; b++)
        ebm_log_softmax(ctx->log_weight.p + (size_t)b * net->K, logits + b, c->lanes, net->K);
}

/* ---- one row: candidates ---- */

/* The noise of row b as a mixture: the proposal, or fixed noise centred at the true target. */
static bool bind_noise(struct chunk *c, uint32_t b, struct ebm_mixture *ret_noise)
{
    const struct ebm_net_desc *net = &c->plan->net;
    uint32_t D = net->D, K = c->spec->n_sigmas;
    size_t DK = (size_t)D * net->K;
    if (!ebm_loss_has_fixed_noise(c->spec->loss))
        return ebm_mixture_bind(ret_noise, c->ctx->mixture_space.p, c->ctx->mean.p + b * DK,
                                c->ctx->log_variance.p + b * DK, c->ctx->log_weight.p + (size_t)b * net->K,
                                net->support, D, net->K);
    float *mean = c->ctx->train.noise.p, *log_variance = mean + (size_t)D * K,
          *log_weight = log_variance + (size_t)D * K;
    for (uint32_t k = 0; k < K; k++) {
        log_weight[k] = (float)-log((double)K);
        for (uint32_t d = 0; d < D; d++) {
            mean[d * K + k] = c->rows->h_y[(size_t)b * D + d];
            log_variance[d * K + k] = (float)(2.0 * log((double)c->spec->sigmas[(size_t)k * D + d]));
        }
    }
    return ebm_mixture_bind(ret_noise, log_weight + K, mean, log_variance, log_weight, net->support, D, K);
}

/* y: draws 0 .. M - 1, the true target from M to the end of the lanes; and their log density under the noise. */
static void candidates(struct chunk *c, uint32_t b, const struct ebm_mixture *noise)
{
    struct ebm_ctx *ctx = c->ctx;
    uint32_t D = c->plan->net.D;
    if (c->rows->h_samples == NULL && c->M > 0)
        ctx->kernels->draw(ctx->y.p, ctx->stride, noise, c->rows->rows[b].seed, c->rows->rows[b].row_in_request,
                           c->rows->rows[b].first_sample, (uint32_t)ebm_round_up(c->M, EBM_LANES));
    for (uint32_t d = 0; d < D; d++) {
        float *y = ctx->y.p + d * ctx->stride;
        for (uint32_t m = 0; c->rows->h_samples != NULL && m < c->M; m++)
            y[m] = c->rows->h_samples[((size_t)b * c->M + m) * D + d];
        for (uint32_t m = c->M; m < c->n; m++)
            y[m] = c->rows->h_y[(size_t)b * D + d];
    }
    ctx->kernels->mixture_log_density(ctx->log_q.p, noise, ctx->y.p, ctx->stride, c->n);
}

/* ---- one row: sample side ---- */

/* Lanes at .. at + lanes - 1 of a row: its targets and tapes within y_tape. */
struct tile {
    uint32_t at, lanes;
    float *y; /* (D, lanes) */
    struct ebm_tape target, energy;
};

static struct tile lay_tile(const struct chunk *c, uint32_t at)
{
    const struct ebm_net_desc *net = &c->plan->net;
    struct tile t = {.at = at, .lanes = c->n - at < EBM_TILE ? c->n - at : EBM_TILE};
    size_t per_lane = ebm_tape_count(&net->target) + ebm_tape_count(&net->energy) + net->D;
    t.y = c->ctx->train.y_tape.p + per_lane * at;
    float *end = ebm_tape_lay(&t.target, &net->target, t.y + (size_t)net->D * t.lanes, t.lanes);
    (void)ebm_tape_lay(&t.energy, &net->energy, end, t.lanes);
    return t;
}

static const float *g_of(const struct chunk *c, const struct tile *t)
{
    uint32_t n = c->plan->net.target.n_layers;
    return n > 0 ? t->target.a[n - 1] : t->y;
}

static void y_forward(struct chunk *c, uint32_t b)
{
    struct ebm_ctx *ctx = c->ctx;
    const struct ebm_net_desc *net = &c->plan->net;
    for (uint32_t at = 0; at < c->n; at += EBM_TILE) {
        struct tile t = lay_tile(c, at);
        for (uint32_t d = 0; d < net->D; d++)
            memcpy(t.y + (size_t)d * t.lanes, ctx->y.p + d * ctx->stride + at, t.lanes * sizeof(float));
        (void)ebm_net_run(c->plan, &net->target, 0, t.y, t.lanes, &t.target, NULL, NULL);
        const float *f = ebm_energy_run(c->plan, ctx->hx.p + (size_t)b * c->plan->energy_out,
                                        ctx->h.p + (size_t)b * net->H, g_of(c, &t), t.lanes, &t.energy, NULL, NULL,
                                        ctx->tile_residual.p);
        memcpy(ctx->f.p + at, f, t.lanes * sizeof *f);
    }
}

static void y_backward(struct chunk *c, uint32_t b)
{
    struct ebm_train_space *train = &c->ctx->train;
    const struct ebm_net_desc *net = &c->plan->net;
    uint32_t E = c->plan->energy_out;
    float *dhx = train->dhx.p + (size_t)E * c->lanes, *dh = train->dh.p + (size_t)net->H * c->lanes;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    memset(dhx, 0, E * sizeof *dhx);
    memset(dh, 0, net->H * sizeof *dh);
    for (uint32_t at = 0; at < c->n; at += EBM_TILE) {
        struct tile t = lay_tile(c, at);
        memcpy(space.da, train->df.p + at, t.lanes * sizeof(float));
        ebm_energy_backward(c->plan, g_of(c, &t), t.lanes, &t.energy, c->grads, dhx, dh, &space);
        ebm_net_backward(c->plan, &net->target, 0, t.y, t.lanes, &t.target, c->grads, false, &space);
    }
    for (uint32_t i = 0; i < E; i++)
        train->dhx.p[(size_t)i * c->lanes + b] = dhx[i];
    for (uint32_t i = 0; i < net->H; i++)
        train->dh.p[(size_t)i * c->lanes + b] = dh[i];
}

static void proposal_backward(struct chunk *c, uint32_t b, const struct ebm_mixture *q)
{
    struct ebm_ctx *ctx = c->ctx;
    struct ebm_train_space *train = &ctx->train;
    uint32_t K = q->K;
    size_t DK = (size_t)q->D * K;
    struct ebm_mixture_grad grad = {train->sums, train->sums + DK, train->sums + 2 * DK};
    memset(train->sums, 0, (2 * DK + K) * sizeof *train->sums);
    ctx->kernels->mixture_backward(&grad, q, ctx->y.p, ctx->stride, ctx->log_q.p, train->dlog_q.p, c->n);
    for (size_t i = 0; i < DK; i++) {
        train->dmean.p[i * c->lanes + b] = (float)grad.dmean[i];
        train->dlog_variance.p[i * c->lanes + b] = (float)grad.dlog_variance[i];
    }
    for (uint32_t k = 0; k < K; k++)
        train->dlogit.p[(size_t)k * c->lanes + b] = (float)grad.dlogit[k];
}

static double row_backward(struct chunk *c, uint32_t b)
{
    struct ebm_ctx *ctx = c->ctx;
    enum ebm_loss loss = c->spec->loss;
    struct ebm_mixture noise;
    if (!bind_noise(c, b, &noise))
        return (double)NAN;
    candidates(c, b, &noise);
    if (ebm_loss_uses_energy(loss))
        y_forward(c, b);
    struct ebm_loss_row row = {.M = c->M,
                               .f = ctx->f.p,
                               .log_q = ctx->log_q.p,
                               .df = ctx->train.df.p,
                               .dlog_q = ctx->train.dlog_q.p,
                               .scratch = ctx->train.scratch.p};
    double value = ebm_loss_row(loss, ctx->kernels, &row, c->spec->scale);
    if (isnan(value))
        return value;
    if (ebm_loss_trains_energy(loss))
        y_backward(c, b);
    if (ebm_loss_uses_proposal(loss))
        proposal_backward(c, b, &noise);
    return value;
}

/* ---- x side, backward ---- */

static void add(float *restrict to, const float *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* One proposal net from its output's gradient; its dh is added when the features learn from it. */
static void head_backward(struct chunk *c, const struct ebm_net *net, const struct ebm_tape *tape, const float *dout,
                          size_t n)
{
    struct ebm_train_space *train = &c->ctx->train;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    bool wants_input = c->spec->proposal_trains_features;
    memcpy(space.da, dout, n * c->lanes * sizeof *dout);
    ebm_net_backward(c->plan, net, 0, c->h, c->lanes, tape, c->grads, wants_input, &space);
    if (wants_input)
        add(train->dh.p, space.da, (size_t)c->plan->net.H * c->lanes);
}

static void energy_x_backward(struct chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    const struct ebm_net_desc *net = &c->plan->net;
    const struct ebm_layer *layer = &net->energy.layers[0];
    const struct ebm_kernels *kernels = c->ctx->kernels;
    kernels->linear_backward_weight(c->grads + layer->weight, layer->in, c->grads + layer->bias, train->dhx.p, c->h,
                                    layer->out, net->H, c->lanes);
    kernels->linear_backward_input(train->da.p, c->plan->params + layer->weight, layer->in, train->dhx.p, layer->out,
                                   net->H, c->lanes);
    add(train->dh.p, train->da.p, (size_t)net->H * c->lanes);
}

static void x_backward(struct chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    const struct ebm_net_desc *net = &c->plan->net;
    size_t DK = (size_t)net->D * net->K;
    bool by_energy = ebm_loss_trains_energy(c->spec->loss), by_proposal = ebm_loss_uses_proposal(c->spec->loss);
    if (by_energy)
        energy_x_backward(c);
    if (by_proposal) {
        head_backward(c, &net->mean, &c->mean, train->dmean.p, DK);
        head_backward(c, &net->log_variance, &c->log_variance, train->dlog_variance.p, DK);
        head_backward(c, &net->weight, &c->weight, train->dlogit.p, net->K);
    }
    if (!by_energy && !c->spec->proposal_trains_features)
        return;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    memcpy(space.da, train->dh.p, (size_t)net->H * c->lanes * sizeof(float));
    ebm_net_backward(c->plan, &net->feature, 0, c->ctx->x_lanes.p, c->lanes, &c->feature, c->grads, false, &space);
}

static void clear_row_gradients(struct chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    const struct ebm_net_desc *net = &c->plan->net;
    size_t DK = (size_t)net->D * net->K, bytes = c->lanes * sizeof(float);
    memset(train->dhx.p, 0, c->plan->energy_out * bytes);
    memset(train->dh.p, 0, net->H * bytes);
    memset(train->dmean.p, 0, DK * bytes);
    memset(train->dlog_variance.p, 0, DK * bytes);
    memset(train->dlogit.p, 0, net->K * bytes);
}

/* Where the gradient of the energy's last bias lies. No loss changes when a constant is added to f, so it is exactly 0:
 * what rounding leaves of the sum would make Adam wander. NULL when that bias does more than shift f. */
static float *shift_gradient(const struct chunk *c)
{
    const struct ebm_net *energy = &c->plan->net.energy;
    if (energy->n_layers == 0 || energy->layers[energy->n_layers - 1].activation != EBM_ACT_IDENTITY)
        return NULL;
    return c->grads + energy->layers[energy->n_layers - 1].bias;
}

static bool is_possible(const struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                        const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows)
{
    bool fixed = ebm_loss_has_fixed_noise(spec->loss);
    if (ebm_loss_uses_energy(spec->loss) && !plan->net.has_energy)
        return false;
    if (fixed && (spec->n_sigmas == 0 || spec->n_sigmas > LIMIT_COMPONENTS || spec->sigmas == NULL))
        return false;
    if (!fixed && plan->net.K == 0)
        return false;
    bool draws = ebm_loss_uses_energy(spec->loss);
    if (draws && (spec->samples == 0 || spec->samples > ctx->limits.max_samples))
        return false;
    return ctx->limits.training && slot < plan->n_slots && rows->B >= 1 && rows->B <= ctx->limits.max_rows;
}

enum ebm_status ebm_train_backward(struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                                   const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows, double *h_loss)
{
    if (!is_possible(ctx, plan, slot, spec, rows))
        return EBM_INVALID;
    struct chunk c = {.ctx = ctx,
                      .plan = plan,
                      .spec = spec,
                      .rows = rows,
                      .grads = plan->slots + slot * plan->net.n_params,
                      .lanes = lanes_of(rows->B),
                      .M = ebm_loss_uses_energy(spec->loss) ? spec->samples : 0};
    c.n = lanes_of(c.M + 1);
    ctx->plan = plan;
    ctx->B = ctx->M = 0; /* what features and propose left is gone */
    float *constant = shift_gradient(&c), before = constant != NULL ? *constant : 0.0f;
    x_forward(&c);
    clear_row_gradients(&c);
    for (uint32_t b = 0; b < rows->B; b++)
        h_loss[b] = row_backward(&c, b);
    x_backward(&c);
    if (constant != NULL)
        *constant = before;
    return EBM_OK;
}
