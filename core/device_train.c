/* device_train.c - losses and gradients of a chunk of rows.
 *
 *   x side, all rows of the chunk in lanes, activations kept
 *   for each row:  train_row.c: loss, gradient of the sample side, and what it leaves for the x side
 *                  (ml_exact: train_exact.c or, with one hidden energy layer, train_segments.c, for all rows)
 *   x side backward: first energy layer's x part, proposal nets, feature net
 *
 * Only one row's sample side is kept at a time: M x widths, never rows x M x widths. Gradients are added into the
 * slot's buffer in this fixed order; a slot belongs to one call at a time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/train_internal.h"

static uint32_t lanes_of(uint32_t rows)
{
    return (uint32_t)ebm_round_up(rows, EBM_LANES);
}

static size_t x_tape_count(const struct ebm_net_desc *net)
{
    return ebm_tape_count(&net->feature) + ebm_tape_count(&net->own) + ebm_tape_count(&net->mean) +
           ebm_tape_count(&net->log_variance) + ebm_tape_count(&net->weight);
}

static size_t widest_target(const struct ebm_net_desc *net)
{
    size_t widest = net->D;
    for (uint32_t i = 0; i < net->target.n_layers; i++)
        widest = net->target.layers[i].out > widest ? net->target.layers[i].out : widest;
    return widest;
}

enum ebm_status ebm_train_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan)
{
    if (!ctx->limits.training)
        return EBM_OK;
    const struct ebm_net_desc *net = &plan->net;
    struct ebm_train_space *t = &ctx->train;
    size_t lanes = lanes_of(ctx->limits.max_rows), DK = (size_t)net->D * net->K;
    size_t widest = plan->widest_x * lanes, y_widest = (size_t)plan->widest_y * ebm_train_tile(plan);
    size_t y_lanes = ctx->stride > 3 * EBM_TILE ? ctx->stride : 3 * EBM_TILE; /* values and two tangents of one tile */
    size_t mixture = ebm_mixture_count(net->D, LIMIT_COMPONENTS) + (size_t)(2 * net->D + 1) * LIMIT_COMPONENTS;
    bool by_segments = plan->exact != NULL && net->energy.n_layers == 2;
    size_t segments = by_segments ? EBM_SEGMENT_LANES : 0, targets = widest_target(net) * segments;
    widest = y_widest > widest ? y_widest : widest;
    widest = targets > widest ? targets : widest;
    y_lanes = lanes > y_lanes ? lanes : y_lanes;
    const struct {
        struct ebm_slab *slab;
        size_t count;
    } wants[] = {
        {&ctx->x_lanes, ebm_net_reach(net) * lanes},
        {&t->x_tape, x_tape_count(net) * lanes},
        {&t->y_tape, (ebm_tape_count(&net->target) + ebm_tape_count(&net->energy) + net->D) * y_lanes},
        {&t->dhx, plan->energy_out * (lanes + 1)},
        {&t->dh, net->H * (lanes + 1)},
        {&t->down, net->own_H * lanes},
        {&t->dmean, DK * lanes},
        {&t->dlog_variance, DK * lanes},
        {&t->dlogit, net->K * lanes},
        {&t->df, ctx->stride},
        {&t->dlog_q, ctx->stride},
        {&t->scratch, ctx->stride},
        {&t->da, widest},
        {&t->dz, widest},
        {&t->dx, widest},
        {&ctx->tile_residual, y_widest},
        {&t->noise, mixture},
        {&t->label, mixture},
        {&t->log_label, ctx->stride},
        {&t->moves, (size_t)net->D * EBM_TILE},
        {&t->sums_u, plan->energy_out * (2 * segments + 1)},
        {&t->middle, (2 * ebm_tape_count(&net->target) + 2) * segments},
        {&t->curve, EBM_TANGENT_BUFFERS * y_widest},
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
    struct ebm_slab *slabs[] = {
        &t->x_tape, &t->y_tape, &t->dhx,       &t->dh,      &t->down,  &t->dmean,  &t->dlog_variance,
        &t->dlogit, &t->df,     &t->dlog_q,    &t->scratch, &t->da,    &t->dz,     &t->dx,
        &t->noise,  &t->label,  &t->log_label, &t->moves,   &t->curve, &t->sums_u, &t->middle};
    for (size_t i = 0; i < EBM_COUNT_OF(slabs); i++)
        free(slabs[i]->p);
    free(t->sums);
}

/* ---- x side, forward ---- */

static void rows_from_lanes(const struct ebm_chunk *c, float *rows, const float *lanes, size_t n)
{
    ebm_lanes_to_rows(rows, lanes, n, c->rows->B, c->lanes);
}

static void proposal_forward(struct ebm_chunk *c)
{
    struct ebm_ctx *ctx = c->ctx;
    const struct ebm_plan *plan = c->plan;
    const struct ebm_net_desc *net = &plan->net;
    size_t DK = (size_t)net->D * net->K;
    c->h_proposal = c->h;
    if (net->own_H > 0)
        c->h_proposal = ebm_net_run(plan, &net->own, 0, ctx->x_lanes.p, c->lanes, &c->tapes->own, NULL, NULL);
    rows_from_lanes(c, ctx->mean.p,
                    ebm_net_run(plan, &net->mean, 0, c->h_proposal, c->lanes, &c->tapes->mean, NULL, NULL), DK);
    rows_from_lanes(
        c, ctx->log_variance.p,
        ebm_net_run(plan, &net->log_variance, 0, c->h_proposal, c->lanes, &c->tapes->log_variance, NULL, NULL), DK);
    const float *logits = ebm_net_run(plan, &net->weight, 0, c->h_proposal, c->lanes, &c->tapes->weight, NULL, NULL);
    for (uint32_t b = 0; b < c->rows->B; b++)
        ebm_log_softmax(ctx->log_weight.p + (size_t)b * net->K, logits + b, c->lanes, net->K);
}

static void x_forward(struct ebm_chunk *c)
{
    struct ebm_ctx *ctx = c->ctx;
    const struct ebm_plan *plan = c->plan;
    const struct ebm_net_desc *net = &plan->net;
    float *end = ebm_tape_lay(&c->tapes->feature, &net->feature, ctx->train.x_tape.p, c->lanes);
    end = ebm_tape_lay(&c->tapes->own, &net->own, end, c->lanes);
    end = ebm_tape_lay(&c->tapes->mean, &net->mean, end, c->lanes);
    end = ebm_tape_lay(&c->tapes->log_variance, &net->log_variance, end, c->lanes);
    (void)ebm_tape_lay(&c->tapes->weight, &net->weight, end, c->lanes);
    ebm_rows_to_lanes(ctx->x_lanes.p, c->x, ebm_net_reach(net), c->rows->B, c->lanes);
    c->h = ebm_net_run(plan, &net->feature, 0, ctx->x_lanes.p, c->lanes, &c->tapes->feature, NULL, NULL);
    rows_from_lanes(c, ctx->h.p, c->h, net->H);
    if (net->has_energy) {
        const struct ebm_layer *layer = &net->energy.layers[0];
        float *hx = ctx->train.da.p;
        plan->kernels->linear(hx, plan->params + layer->weight, layer->in, plan->params + layer->bias, c->h, layer->out,
                              net->H, c->lanes);
        rows_from_lanes(c, ctx->hx.p, hx, layer->out);
    }
    if (net->K > 0 && (ebm_loss_noise(c->spec->loss) == EBM_NOISE_PROPOSAL || c->spec->proposal_beside))
        proposal_forward(c);
}

/* ---- x side, backward ---- */

/* Does the proposal's gradient go on into the features that it reads? */
static bool reaches_features(const struct ebm_chunk *c)
{
    return c->spec->proposal_trains_features || c->plan->net.own_H > 0;
}

/* One proposal net from its output's gradient; its dh is added when the features learn from it. */
static void head_backward(struct ebm_chunk *c, const struct ebm_net *net, const struct ebm_tape *tape,
                          const float *dout, size_t n)
{
    struct ebm_train_space *train = &c->ctx->train;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    const struct ebm_net_desc *desc = &c->plan->net;
    bool wants_input = reaches_features(c);
    memcpy(space.da, dout, n * c->lanes * sizeof *dout);
    ebm_net_backward(c->plan, net, 0, c->h_proposal, c->lanes, tape, c->grads, wants_input, &space);
    if (wants_input && desc->own_H > 0)
        ebm_add(train->down.p, space.da, (size_t)desc->own_H * c->lanes);
    else if (wants_input)
        ebm_add(train->dh.p, space.da, (size_t)desc->H * c->lanes);
}

static void proposal_x_backward(struct ebm_chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    const struct ebm_net_desc *net = &c->plan->net;
    size_t DK = (size_t)net->D * net->K;
    head_backward(c, &net->mean, &c->tapes->mean, train->dmean.p, DK);
    head_backward(c, &net->log_variance, &c->tapes->log_variance, train->dlog_variance.p, DK);
    head_backward(c, &net->weight, &c->tapes->weight, train->dlogit.p, net->K);
    if (net->own_H == 0)
        return;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    memcpy(space.da, train->down.p, (size_t)net->own_H * c->lanes * sizeof(float));
    ebm_net_backward(c->plan, &net->own, 0, c->ctx->x_lanes.p, c->lanes, &c->tapes->own, c->grads, false, &space);
}

static void energy_x_backward(struct ebm_chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    const struct ebm_net_desc *net = &c->plan->net;
    const struct ebm_layer *layer = &net->energy.layers[0];
    const struct ebm_kernels *kernels = c->ctx->kernels;
    kernels->linear_backward_weight(c->grads + layer->weight, layer->in, c->grads + layer->bias, train->dhx.p, c->h,
                                    layer->out, net->H, c->lanes);
    kernels->linear_backward_input(train->da.p, c->plan->params + layer->weight, layer->in, train->dhx.p, NULL,
                                   layer->out, net->H, c->lanes);
    ebm_add(train->dh.p, train->da.p, (size_t)net->H * c->lanes);
}

static void x_backward(struct ebm_chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    const struct ebm_loss_spec *spec = c->spec;
    bool by_energy = ebm_loss_trains_energy(spec->loss);
    if (by_energy)
        energy_x_backward(c);
    if (ebm_loss_trains_proposal(spec->loss) || spec->proposal_beside)
        proposal_x_backward(c);
    if (!by_energy && (!spec->proposal_trains_features || c->plan->net.own_H > 0)) {
        if (c->dx != NULL)
            memset(c->dx, 0, (size_t)c->rows->B * ebm_net_reach(&c->plan->net) * sizeof(float));
        return;
    }
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    memcpy(space.da, train->dh.p, (size_t)c->plan->net.H * c->lanes * sizeof(float));
    ebm_net_backward(c->plan, &c->plan->net.feature, 0, c->ctx->x_lanes.p, c->lanes, &c->tapes->feature, c->grads,
                     c->dx != NULL, &space);
    if (c->dx != NULL)
        rows_from_lanes(c, c->dx, space.da, ebm_net_reach(&c->plan->net));
}

static void clear_row_gradients(struct ebm_chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    const struct ebm_net_desc *net = &c->plan->net;
    size_t DK = (size_t)net->D * net->K, bytes = c->lanes * sizeof(float);
    memset(train->dhx.p, 0, c->plan->energy_out * bytes);
    memset(train->dh.p, 0, net->H * bytes);
    memset(train->down.p, 0, net->own_H * bytes);
    memset(train->dmean.p, 0, DK * bytes);
    memset(train->dlog_variance.p, 0, DK * bytes);
    memset(train->dlogit.p, 0, net->K * bytes);
}

/* Where the gradient of the energy's last bias lies. No loss but kld_is changes when a constant is added to f, so it is
 * exactly 0: what rounding leaves of the sum would make Adam wander. NULL when that bias does more than shift f. */
static float *shift_gradient(const struct ebm_chunk *c)
{
    const struct ebm_net *energy = &c->plan->net.energy;
    if (energy->n_layers == 0 || energy->layers[energy->n_layers - 1].activation != EBM_ACT_IDENTITY ||
        c->spec->loss == EBM_LOSS_KLD_IS)
        return NULL;
    return c->grads + energy->layers[energy->n_layers - 1].bias;
}

/* Does the spec hold what its loss reads? */
static bool is_complete(const struct ebm_loss_spec *spec)
{
    bool fixed = ebm_loss_noise(spec->loss) == EBM_NOISE_FIXED;
    if (fixed && (spec->n_sigmas == 0 || spec->n_sigmas > LIMIT_COMPONENTS || spec->sigmas == NULL))
        return false;
    switch (spec->loss) {
    case EBM_LOSS_KLD_IS:
        return spec->label_sigma != NULL;
    case EBM_LOSS_NCE_PLUS:
        return spec->beta > 0.0;
    case EBM_LOSS_DSM:
        return spec->n_sigmas == 1;
    case EBM_LOSS_ML_MCMC:
        return spec->langevin_steps > 0 && spec->langevin_step != NULL;
    default:
        return true;
    }
}

/* Has the plan the features that the rows ask for? */
static bool has_features(const struct ebm_plan *plan, const struct ebm_train_rows *rows)
{
    const struct ebm_trunk_batch *batch = plan->trunk_batch;
    return !ebm_train_is_of_batch(rows) || (batch != NULL && rows->B <= batch->B && rows->first <= batch->B - rows->B);
}

bool ebm_train_is_possible(const struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                           const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows)
{
    bool by_proposal = ebm_loss_trains_proposal(spec->loss),
         draws = ebm_loss_draws(spec->loss) || spec->proposal_beside;
    if ((ebm_loss_uses_energy(spec->loss) && !plan->net.has_energy) || !is_complete(spec))
        return false;
    if ((by_proposal || spec->proposal_beside) && (plan->net.K == 0 || by_proposal == spec->proposal_beside))
        return false;
    if (draws && (spec->samples == 0 || spec->samples > ctx->limits.max_samples))
        return false;
    if ((spec->loss == EBM_LOSS_SM && !ebm_score_is_smooth(&plan->net)) ||
        (spec->loss == EBM_LOSS_ML_EXACT && plan->net.D != 1))
        return false;
    return ctx->limits.training && slot < plan->n_slots && rows->B >= 1 && rows->B <= ctx->limits.max_rows &&
           has_features(plan, rows);
}

static void take_loss(struct ebm_chunk *c, enum ebm_loss loss, uint32_t first_sample)
{
    c->loss = loss;
    c->M = ebm_loss_draws(loss) ? c->spec->samples : 0;
    c->n = lanes_of(c->M + 1);
    c->first_sample = first_sample;
}

/* The rows' losses, and those of a proposal beside, whose draws come behind those of the loss. */
static void all_losses(struct ebm_chunk *c, double *h_loss)
{
    take_loss(c, c->spec->loss, 0);
    if (c->loss == EBM_LOSS_ML_EXACT && ebm_segments_apply(c->plan))
        ebm_segments_chunk(c, h_loss);
    else if (c->loss == EBM_LOSS_ML_EXACT)
        ebm_exact_rows(c, 0, c->rows->B, h_loss);
    else
        for (uint32_t b = 0; b < c->rows->B; b++)
            h_loss[b] = ebm_train_row(c, b);
    if (!c->spec->proposal_beside)
        return;
    take_loss(c, EBM_LOSS_KL_PROPOSAL, lanes_of(c->spec->samples + 1));
    for (uint32_t b = 0; b < c->rows->B; b++)
        h_loss[b] += ebm_train_row(c, b);
}

enum ebm_status ebm_train_backward(struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                                   const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows, double *h_loss)
{
    if (!ebm_train_is_possible(ctx, plan, slot, spec, rows))
        return EBM_INVALID;
    struct ebm_chunk c = {.ctx = ctx,
                          .plan = plan,
                          .spec = spec,
                          .rows = rows,
                          .x = rows->h_x,
                          .grads = ebm_plan_slot(plan, slot),
                          .lanes = lanes_of(rows->B),
                          .tapes = &ctx->train.x_tapes};
    if (ebm_train_is_of_batch(rows)) {
        const size_t at = (size_t)rows->first * ebm_net_reach(&plan->net);
        c.x = plan->trunk_batch->h + at;
        c.dx = plan->trunk_batch->learns ? plan->trunk_batch->dh + at : NULL;
    }
    ctx->plan = plan;
    ctx->B = ctx->M = 0; /* what features and propose left is gone */
    float *constant = shift_gradient(&c), before = constant != NULL ? *constant : 0.0f;
    x_forward(&c);
    clear_row_gradients(&c);
    all_losses(&c, h_loss);
    x_backward(&c);
    if (constant != NULL)
        *constant = before;
    return EBM_OK;
}
