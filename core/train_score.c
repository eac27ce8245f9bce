/* train_score.c - score matching (Hyvarinen 2005) and denoising score matching (Vincent 2011), as arXiv 2005.01698 uses
 * them: losses of grad_y f, which never see Z and need no draws of a noise to compare with.
 *
 *   sm    sum_d d2f/dy_d^2 + |grad_y f|^2 / 2 at the true y
 *   dsm   mean over draws of | grad_y f(y_m) + (y_m - y) / sigma^2 |^2,   y_m ~ N(y, sigma^2)
 *
 * sm: one tile whose lane d moves along coordinate d; each lane gives one term of both sums.
 * dsm: d |r|^2 = 2 r . d(grad_y f) with r = grad_y f + (y_m - y) / sigma^2 is the gradient of f's derivative along the
 * fixed direction 2 r. So one backward pass in y gives r, and one tangent, whatever D is, carries its gradient. */
#include <math.h>
#include <string.h>

#include "core/train_internal.h"

static bool is_smooth(const struct ebm_net *net)
{
    for (uint32_t i = 0; i < net->n_layers; i++)
        if (net->layers[i].activation == EBM_ACT_RELU)
            return false;
    return true;
}

bool ebm_score_is_smooth(const struct ebm_net_desc *net)
{
    return is_smooth(&net->target) && is_smooth(&net->energy);
}

static double sm_row(struct ebm_chunk *c, uint32_t b)
{
    struct ebm_train_space *train = &c->ctx->train;
    uint32_t D = c->plan->net.D, lanes = (uint32_t)ebm_round_up(D, EBM_LANES);
    struct ebm_tangents t;
    ebm_tangents_lay(&t, c, 0, lanes, 2);
    for (uint32_t d = 0; d < D; d++)
        for (uint32_t l = 0; l < lanes; l++) {
            t.tiles[0].y[(size_t)d * lanes + l] = c->rows->h_y[(size_t)b * D + d];
            t.tiles[1].y[(size_t)d * lanes + l] = l == d ? 1.0f : 0.0f;
            t.tiles[2].y[(size_t)d * lanes + l] = 0.0f;
        }
    (void)ebm_y_tile_run(c, b, &t.tiles[0]);
    ebm_tangents_run(c, &t);
    const float *first = ebm_tangents_f(c, &t, 1), *second = ebm_tangents_f(c, &t, 2);
    double value = 0.0, scale = c->spec->scale;
    for (uint32_t l = 0; l < lanes; l++) {
        value += l < D ? (double)second[l] + 0.5 * (double)first[l] * (double)first[l] : 0.0;
        train->df.p[l] = l < D ? (float)(scale * (double)first[l]) : 0.0f;
        train->scratch.p[l] = l < D ? (float)scale : 0.0f;
    }
    const float *df[3] = {NULL, train->df.p, train->scratch.p};
    struct ebm_row_gradient row = ebm_row_gradient_begin(c);
    ebm_tangents_backward(c, &t, df, &row);
    ebm_row_gradient_end(c, b, &row);
    return value;
}

/* Fills the directions 2 r of one tile and returns the sum of |r|^2 over its draws. */
static double residuals(const struct ebm_chunk *c, uint32_t b, const struct ebm_tangents *t, uint32_t draws)
{
    const struct ebm_y_tile *at = &t->tiles[0];
    const float *gradient = ebm_y_tile_gradient(c, at);
    double sum = 0.0;
    for (uint32_t d = 0; d < c->plan->net.D; d++) {
        double y_0 = (double)c->rows->h_y[(size_t)b * c->plan->net.D + d], sigma = (double)c->spec->sigmas[d];
        for (uint32_t l = 0; l < at->lanes; l++) {
            size_t i = (size_t)d * at->lanes + l;
            double r = l < draws ? (double)gradient[i] + ((double)at->y[i] - y_0) / (sigma * sigma) : 0.0;
            t->tiles[1].y[i] = (float)(2.0 * r);
            sum += r * r;
        }
    }
    return sum;
}

static double dsm_row(struct ebm_chunk *c, uint32_t b)
{
    struct ebm_ctx *ctx = c->ctx;
    struct ebm_mixture noise;
    double sum = 0.0;
    if (!ebm_train_candidates(c, b, &noise))
        return (double)NAN;
    struct ebm_row_gradient row = ebm_row_gradient_begin(c);
    for (uint32_t at = 0; at < c->M; at += EBM_TILE) {
        uint32_t lanes = c->n - at < EBM_TILE ? c->n - at : EBM_TILE, draws = c->M - at < lanes ? c->M - at : lanes;
        struct ebm_tangents t;
        ebm_tangents_lay(&t, c, at, lanes, 1);
        for (uint32_t d = 0; d < c->plan->net.D; d++)
            memcpy(t.tiles[0].y + (size_t)d * lanes, ctx->y.p + d * ctx->stride + at, lanes * sizeof(float));
        (void)ebm_y_tile_run(c, b, &t.tiles[0]);
        sum += residuals(c, b, &t, draws);
        ebm_tangents_run(c, &t);
        for (uint32_t l = 0; l < lanes; l++)
            ctx->train.df.p[l] = l < draws ? (float)(c->spec->scale / c->M) : 0.0f;
        const float *df[3] = {NULL, ctx->train.df.p, NULL};
        ebm_tangents_backward(c, &t, df, &row);
    }
    ebm_row_gradient_end(c, b, &row);
    return sum / c->M;
}

double ebm_score_row(struct ebm_chunk *c, uint32_t b)
{
    double value = c->loss == EBM_LOSS_SM ? sm_row(c, b) : dsm_row(c, b);
    return isfinite(value) ? value : (double)NAN;
}
