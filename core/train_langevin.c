/* train_langevin.c - draws of p(y|x) by unadjusted Langevin dynamics, started at the true target (arXiv 2005.01698):
 *
 *   y <- y + (a^2 / 2) grad_y f(x, y) + a eps,      eps ~ N(0, 1),      langevin_steps times
 *
 * Chains stay inside: a step beyond a bound is reflected there, an angle wrapped. a is given in the target's units, so
 * each coordinate has its own in standardised ones. eps of step t and chain m is draw m of the row under a seed derived
 * for t: a function of (seed, row, m, t). No gradient runs through the chain; each tile of chains walks all its steps
 * before the next tile begins. */
#include <math.h>
#include <string.h>

#include "core/support.h"
#include "core/train_internal.h"

/* a eps of one step, as a mixture of one component. */
static bool bind_step(const struct ebm_chunk *c, struct ebm_mixture *ret_eps)
{
    uint32_t D = c->plan->net.D;
    float *mean = c->ctx->train.label.p, *log_variance = mean + D, *log_weight = log_variance + D;
    log_weight[0] = 0.0f;
    for (uint32_t d = 0; d < D; d++) {
        mean[d] = 0.0f;
        log_variance[d] = (float)(2.0 * log((double)c->spec->langevin_step[d]));
    }
    return ebm_mixture_bind(ret_eps, log_weight + 1, mean, log_variance, log_weight, NULL, D, 1);
}

static void walk(const struct ebm_chunk *c, uint32_t b, const struct ebm_y_tile *tile, const struct ebm_mixture *eps)
{
    const struct ebm_row *row = &c->rows->rows[b];
    float *moves = c->ctx->train.moves.p;
    for (uint32_t step = 0; step < c->spec->langevin_steps; step++) {
        (void)ebm_y_tile_run(c, b, tile);
        const float *gradient = ebm_y_tile_gradient(c, tile);
        c->ctx->kernels->draw(moves, tile->lanes, eps, ebm_seed_derive(row->seed, step), row->row_in_request,
                              row->first_sample + tile->at, tile->lanes);
        for (uint32_t d = 0; d < c->plan->net.D; d++) {
            float a = c->spec->langevin_step[d], half = 0.5f * a * a;
            for (size_t i = (size_t)d * tile->lanes; i < (size_t)(d + 1) * tile->lanes; i++)
                tile->y[i] += half * gradient[i] + moves[i];
        }
        ebm_support_return_all(c->plan->net.support, c->plan->net.D, tile->y, tile->lanes, tile->lanes);
    }
}

void ebm_langevin_run(struct ebm_chunk *c, uint32_t b)
{
    struct ebm_ctx *ctx = c->ctx;
    uint32_t chains = (uint32_t)ebm_round_up(c->M, EBM_LANES);
    struct ebm_mixture eps;
    bool finite = bind_step(c, &eps);
    EBM_ASSERT(finite);
    for (uint32_t at = 0; at < c->M; at += EBM_TILE) {
        struct ebm_y_tile t;
        ebm_y_tile_lay(&t, c, at, chains - at < EBM_TILE ? chains - at : EBM_TILE);
        uint32_t count = c->M - at < t.lanes ? c->M - at : t.lanes; /* behind them stands the true target */
        for (uint32_t d = 0; d < c->plan->net.D; d++)
            memcpy(t.y + (size_t)d * t.lanes, ctx->y.p + d * ctx->stride + at, t.lanes * sizeof(float));
        walk(c, b, &t, &eps);
        for (uint32_t d = 0; d < c->plan->net.D; d++)
            memcpy(ctx->y.p + d * ctx->stride + at, t.y + (size_t)d * t.lanes, count * sizeof(float));
    }
}
