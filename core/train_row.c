/* train_row.c - one row of a chunk: its candidates and the sample side, forward and backward.
 *
 *   noise -> targets: M draws, the true one behind them -> log q, f, activations kept -> loss.c: loss, df, dlog_q
 *         -> target net and energy net backward; dhx, dh and the mixture's gradient for the x side
 *
 * A row's numbers depend on the row alone. Everything of size M x width lies in one buffer, y_tape, tile by tile. */
#include <math.h>
#include <string.h>

#include "core/support.h"
#include "core/train_internal.h"

/* ---- candidates ---- */

bool ebm_train_bind_fixed(const struct ebm_chunk *c, const struct ebm_slab *space, const float *center,
                          const float *sigmas, uint32_t n_sigmas, double factor, struct ebm_mixture *ret_noise)
{
    uint32_t D = c->plan->net.D, K = n_sigmas;
    float *mean = space->p, *log_variance = mean + (size_t)D * K, *log_weight = log_variance + (size_t)D * K;
    for (uint32_t k = 0; k < K; k++) {
        log_weight[k] = (float)-log((double)K);
        for (uint32_t d = 0; d < D; d++) {
            mean[d * K + k] = center[d];
            log_variance[d * K + k] = (float)(2.0 * log(factor * (double)sigmas[(size_t)k * D + d]));
        }
    }
    return ebm_mixture_bind(ret_noise, log_weight + K, mean, log_variance, log_weight, c->plan->net.support, D, K);
}

/* The noise of row b as a mixture: the proposal, or fixed noise centred at the true target. */
static bool bind_noise(const struct ebm_chunk *c, uint32_t b, struct ebm_mixture *ret_noise)
{
    const struct ebm_net_desc *net = &c->plan->net;
    const struct ebm_loss_spec *spec = c->spec;
    size_t DK = (size_t)net->D * net->K;
    if (ebm_loss_noise(c->loss) == EBM_NOISE_FIXED)
        return ebm_train_bind_fixed(c, &c->ctx->train.noise, c->rows->h_y + (size_t)b * net->D, spec->sigmas,
                                    spec->n_sigmas, 1.0, ret_noise);
    return ebm_mixture_bind(ret_noise, c->ctx->mixture_space.p, c->ctx->mean.p + b * DK,
                            c->ctx->log_variance.p + b * DK, c->ctx->log_weight.p + (size_t)b * net->K, net->support,
                            net->D, net->K);
}

bool ebm_train_target(const struct ebm_chunk *c, uint32_t b, float *lanes, float *ret_y)
{
    uint32_t D = c->plan->net.D;
    const struct ebm_train_rows *rows = c->rows;
    const float *y = rows->h_y + (size_t)b * D;
    struct ebm_mixture noise;
    memcpy(ret_y, y, D * sizeof *ret_y);
    if (c->loss != EBM_LOSS_NCE_PLUS)
        return true;
    for (uint32_t d = 0; rows->h_label_noise != NULL && d < D; d++)
        ret_y[d] = (float)ebm_support_return(&c->plan->net.support[d],
                                             (double)(y[d] + rows->h_label_noise[(size_t)b * D + d]));
    if (rows->h_label_noise != NULL)
        return true;
    if (!ebm_train_bind_fixed(c, &c->ctx->train.label, y, c->spec->sigmas, c->spec->n_sigmas, c->spec->beta, &noise))
        return false;
    c->ctx->kernels->draw(lanes, EBM_LANES, &noise, rows->rows[b].seed, rows->rows[b].row_in_request,
                          rows->rows[b].first_sample + c->M, EBM_LANES);
    for (uint32_t d = 0; d < D; d++)
        ret_y[d] = lanes[d * EBM_LANES];
    return true;
}

bool ebm_train_candidates(struct ebm_chunk *c, uint32_t b, struct ebm_mixture *ret_noise)
{
    struct ebm_ctx *ctx = c->ctx;
    const struct ebm_train_rows *rows = c->rows;
    uint32_t D = c->plan->net.D;
    bool has_noise = ebm_loss_noise(c->loss) != EBM_NOISE_NONE;
    float y_0[LIMIT_TARGET_DIM];
    if ((has_noise && !bind_noise(c, b, ret_noise)) || !ebm_train_target(c, b, ctx->y.p, y_0))
        return false;
    if (has_noise && rows->h_samples == NULL && c->M > 0)
        ctx->kernels->draw(ctx->y.p, ctx->stride, ret_noise, rows->rows[b].seed, rows->rows[b].row_in_request,
                           rows->rows[b].first_sample + c->first_sample, (uint32_t)ebm_round_up(c->M, EBM_LANES));
    for (uint32_t d = 0; d < D; d++) {
        float *y = ctx->y.p + d * ctx->stride;
        for (uint32_t m = 0; rows->h_samples != NULL && m < c->M; m++)
            y[m] = rows->h_samples[((size_t)b * c->M + m) * D + d];
        for (uint32_t m = has_noise || rows->h_samples != NULL ? c->M : 0; m < c->n; m++)
            y[m] = y_0[d];
    }
    if (has_noise)
        ctx->kernels->mixture_log_density(ctx->log_q.p, ret_noise, ctx->y.p, ctx->stride, c->n);
    return true;
}

bool ebm_train_label_density(const struct ebm_chunk *c, uint32_t b)
{
    struct ebm_mixture label;
    if (c->loss != EBM_LOSS_KLD_IS)
        return true;
    if (!ebm_train_bind_fixed(c, &c->ctx->train.label, c->rows->h_y + (size_t)b * c->plan->net.D, c->spec->label_sigma,
                              1, 1.0, &label))
        return false;
    c->ctx->kernels->mixture_log_density(c->ctx->train.log_label.p, &label, c->ctx->y.p, c->ctx->stride, c->n);
    return true;
}

/* ---- one tile ---- */

void ebm_y_tile_lay(struct ebm_y_tile *t, const struct ebm_chunk *c, uint32_t at, uint32_t lanes)
{
    const struct ebm_net_desc *net = &c->plan->net;
    t->at = at;
    t->lanes = lanes;
    size_t per_lane = ebm_tape_count(&net->target) + ebm_tape_count(&net->energy) + net->D;
    t->y = c->ctx->train.y_tape.p + per_lane * at;
    float *end = ebm_tape_lay(&t->target, &net->target, t->y + (size_t)net->D * lanes, lanes);
    (void)ebm_tape_lay(&t->energy, &net->energy, end, lanes);
}

const float *ebm_y_tile_g(const struct ebm_chunk *c, const struct ebm_y_tile *tile)
{
    return ebm_tape_output(&tile->target, &c->plan->net.target, tile->y);
}

const float *ebm_y_tile_run(const struct ebm_chunk *c, uint32_t b, const struct ebm_y_tile *tile)
{
    struct ebm_ctx *ctx = c->ctx;
    const struct ebm_net_desc *net = &c->plan->net;
    (void)ebm_net_run(c->plan, &net->target, 0, tile->y, tile->lanes, &tile->target, NULL, NULL);
    return ebm_energy_run(c->plan, ctx->hx.p + (size_t)b * c->plan->energy_out, ctx->h.p + (size_t)b * net->H,
                          ebm_y_tile_g(c, tile), tile->lanes, &tile->energy, NULL, NULL, ctx->tile_residual.p);
}

const float *ebm_y_tile_gradient(const struct ebm_chunk *c, const struct ebm_y_tile *tile)
{
    struct ebm_train_space *train = &c->ctx->train;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    for (uint32_t l = 0; l < tile->lanes; l++)
        space.da[l] = 1.0f;
    ebm_energy_backward(c->plan, ebm_y_tile_g(c, tile), tile->lanes, &tile->energy, NULL, NULL, NULL, &space);
    ebm_net_backward(c->plan, &c->plan->net.target, 0, tile->y, tile->lanes, &tile->target, NULL, true, &space);
    return space.da;
}

/* ---- all tiles ---- */

/* Lanes of a tile: candidates are cut into tiles of one size, but for the last. */
static uint32_t lanes_of_tile(const struct ebm_chunk *c)
{
    uint32_t most = ebm_train_tile(c->plan), tiles = (c->n + most - 1) / most;
    return (uint32_t)ebm_round_up((c->n + tiles - 1) / tiles, EBM_LANES);
}

static void candidates_tile(struct ebm_y_tile *t, const struct ebm_chunk *c, uint32_t at, uint32_t lanes)
{
    ebm_y_tile_lay(t, c, at, c->n - at < lanes ? c->n - at : lanes);
}

static void y_forward(struct ebm_chunk *c, uint32_t b)
{
    struct ebm_ctx *ctx = c->ctx;
    struct ebm_y_tile t;
    for (uint32_t at = 0, lanes = lanes_of_tile(c); at < c->n; at += lanes) {
        candidates_tile(&t, c, at, lanes);
        for (uint32_t d = 0; d < c->plan->net.D; d++)
            memcpy(t.y + (size_t)d * t.lanes, ctx->y.p + d * ctx->stride + at, t.lanes * sizeof(float));
        memcpy(ctx->f.p + at, ebm_y_tile_run(c, b, &t), t.lanes * sizeof(float));
    }
}

struct ebm_row_gradient ebm_row_gradient_begin(const struct ebm_chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    uint32_t E = c->plan->energy_out, H = c->plan->net.H;
    struct ebm_row_gradient g = {train->dhx.p + (size_t)E * c->lanes, train->dh.p + (size_t)H * c->lanes};
    memset(g.dhx, 0, E * sizeof *g.dhx);
    memset(g.dh, 0, H * sizeof *g.dh);
    return g;
}

void ebm_row_gradient_end(const struct ebm_chunk *c, uint32_t b, const struct ebm_row_gradient *g)
{
    struct ebm_train_space *train = &c->ctx->train;
    for (uint32_t i = 0; i < c->plan->energy_out; i++)
        train->dhx.p[(size_t)i * c->lanes + b] = g->dhx[i];
    for (uint32_t i = 0; i < c->plan->net.H; i++)
        train->dh.p[(size_t)i * c->lanes + b] = g->dh[i];
}

static void y_backward(struct ebm_chunk *c, uint32_t b)
{
    struct ebm_train_space *train = &c->ctx->train;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    struct ebm_row_gradient row = ebm_row_gradient_begin(c);
    struct ebm_y_tile t;
    for (uint32_t at = 0, lanes = lanes_of_tile(c); at < c->n; at += lanes) {
        candidates_tile(&t, c, at, lanes);
        memcpy(space.da, train->df.p + at, t.lanes * sizeof(float));
        ebm_energy_backward(c->plan, ebm_y_tile_g(c, &t), t.lanes, &t.energy, c->grads, row.dhx, row.dh, &space);
        ebm_net_backward(c->plan, &c->plan->net.target, 0, t.y, t.lanes, &t.target, c->grads, false, &space);
    }
    ebm_row_gradient_end(c, b, &row);
}

static void proposal_backward(struct ebm_chunk *c, uint32_t b, const struct ebm_mixture *q)
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

double ebm_train_row(struct ebm_chunk *c, uint32_t b)
{
    struct ebm_ctx *ctx = c->ctx;
    struct ebm_mixture noise;
    if (c->loss == EBM_LOSS_SM || c->loss == EBM_LOSS_DSM)
        return ebm_score_row(c, b);
    if (!ebm_train_candidates(c, b, &noise) || !ebm_train_label_density(c, b))
        return (double)NAN;
    if (c->loss == EBM_LOSS_ML_MCMC && c->rows->h_samples == NULL)
        ebm_langevin_run(c, b);
    if (ebm_loss_uses_energy(c->loss))
        y_forward(c, b);
    struct ebm_loss_row row = {.M = c->M,
                               .f = ctx->f.p,
                               .log_q = ctx->log_q.p,
                               .log_label = ctx->train.log_label.p,
                               .df = ctx->train.df.p,
                               .dlog_q = ctx->train.dlog_q.p,
                               .scratch = ctx->train.scratch.p};
    double value = ebm_loss_row(c->loss, ctx->kernels, &row, c->spec->scale);
    if (isnan(value))
        return value;
    if (ebm_loss_trains_energy(c->loss))
        y_backward(c, b);
    if (ebm_loss_trains_proposal(c->loss))
        proposal_backward(c, b, &noise);
    return value;
}
