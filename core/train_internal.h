/* train_internal.h - what the files of the backward pass share. Private to core.
 *
 *   device_train.c     a chunk of rows: memory, x side, which loss takes which way
 *   train_row.c        one row: noise, candidates, sample side forward and backward
 *   train_langevin.c   candidates by a Langevin chain                              (ml_mcmc)
 *   train_score.c      losses of the gradient of f in y                            (sm, dsm)
 *   train_exact.c      likelihood of a scalar target, its normaliser integrated     (ml_exact)
 *   train_spans.c      tiles whose lanes belong to several rows
 *   train_segments.c   ml_exact of a chunk, where the energy net is one hidden relu layer
 *   tangents.c         layers with derivatives carried along a direction, and back */
#ifndef EBM_CORE_TRAIN_INTERNAL_H
#define EBM_CORE_TRAIN_INTERNAL_H

#include "core/device_internal.h"
#include "core/loss.h"

/* One call of backward: what its steps share. */
struct ebm_chunk {
    struct ebm_ctx *ctx;
    const struct ebm_plan *plan;
    const struct ebm_loss_spec *spec;
    const struct ebm_train_rows *rows;
    const float *x; /* (B, numbers that reach the feature net) */
    float *dx;      /* likewise, out: gradient in x; NULL: not wanted */
    float *grads;
    uint32_t lanes;            /* of the x side */
    struct ebm_x_tapes *tapes; /* of the context */
    const float *h;            /* (H, lanes) */
    const float *h_proposal;   /* (own_H or H, lanes): what the proposal reads */

    /* the loss at work: of spec, or the proposal's own beside it */
    enum ebm_loss loss;
    uint32_t M, n;         /* draws; candidates in whole lanes: the true target stands at M .. n - 1 */
    uint32_t first_sample; /* number of the first draw, beyond those of the row */
};

/* Lanes at .. at + lanes - 1 of a row's candidates: their targets, and tapes within the context's y_tape. */
struct ebm_y_tile {
    uint32_t at, lanes;
    float *y; /* (D, lanes) */
    struct ebm_tape target, energy;
};

/* Lanes of a tile at most. Narrow layers take more: their weights' gradients are summed up once a tile, which costs as
 * much as the products of a hundred lanes. So many lanes of ten units, twice, stay in L1. */
#define EBM_TRAIN_NARROW 64u /* units of the widest layer */
#define EBM_TRAIN_TILE_MOST (3u * EBM_TILE)
static inline uint32_t ebm_train_tile(const struct ebm_plan *plan)
{
    return plan->widest_y <= EBM_TRAIN_NARROW ? EBM_TRAIN_TILE_MOST : EBM_TILE;
}

/* Into `tile`, whose tapes take kilobytes: it is not copied about. */
void ebm_y_tile_lay(struct ebm_y_tile *tile, const struct ebm_chunk *c, uint32_t at, uint32_t lanes);
/* f (lanes) of row b at tile->y, everything kept on the tapes. Borrow: of the tapes. */
const float *ebm_y_tile_run(const struct ebm_chunk *c, uint32_t b, const struct ebm_y_tile *tile);
/* Gradient of f in y (D, lanes) after ebm_y_tile_run. Borrow: until the next use of the context's buffers. */
const float *ebm_y_tile_gradient(const struct ebm_chunk *c, const struct ebm_y_tile *tile);
/* What the target net makes of tile->y. Borrow: of the tile. */
const float *ebm_y_tile_g(const struct ebm_chunk *c, const struct ebm_y_tile *tile);

/* Lanes first .. first + lanes - 1 of a tile belong to this row of the chunk. */
struct ebm_span {
    uint32_t row, first, lanes;
};

/* All lanes of a tile, in order; a tile has at most LIMIT_BATCH_ROWS. */
struct ebm_spans {
    uint32_t n;
    struct ebm_span span[LIMIT_BATCH_ROWS];
};

/* f (lanes) at tile->y, everything kept on the tapes. Borrow: of the tapes. */
const float *ebm_spans_run(const struct ebm_chunk *c, const struct ebm_spans *spans, const struct ebm_y_tile *tile);
/* Adds the gradient of the sum of df times f, df (lanes) being in the context's train.da, to c->grads and to the rows'
 * lanes of train.dhx and train.dh. */
void ebm_spans_backward(const struct ebm_chunk *c, const struct ebm_spans *spans, const struct ebm_y_tile *tile);

/* Where a row's gradient in W_h h + b and, past a residual first layer, in h is summed: (energy_out), (H). Begin clears
 * them, end puts them into the x side's lanes. */
struct ebm_row_gradient {
    float *dhx, *dh;
};
struct ebm_row_gradient ebm_row_gradient_begin(const struct ebm_chunk *c);
void ebm_row_gradient_end(const struct ebm_chunk *c, uint32_t b, const struct ebm_row_gradient *g);

/* Loss of row b, its gradient added into c->grads; what the x side needs of it left in ctx->train. NaN when the network
 * gives no finite number. */
double ebm_train_row(struct ebm_chunk *c, uint32_t b);
/* Does the spec hold what its loss reads, and do context, plan and rows fit it? */
bool ebm_train_is_possible(const struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                           const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows);
/* A mixture of n_sigmas Gaussians of equal weight around `center` (D), every sigma (n_sigmas, D) times `factor`; its
 * arrays lie in `space`. False, as below: no finite density. */
bool ebm_train_bind_fixed(const struct ebm_chunk *c, const struct ebm_slab *space, const float *center,
                          const float *sigmas, uint32_t n_sigmas, double factor, struct ebm_mixture *ret_noise);
/* The true target as the loss sees it (D): nce_plus moves it by a draw of the narrowed noise, which is draw number M of
 * the row. `lanes` has room for (D, EBM_LANES). */
bool ebm_train_target(const struct ebm_chunk *c, uint32_t b, float *lanes, float *ret_y);
/* log N(y_m; y_0, sigma^2) of the candidates into train.log_label, for kld_is; true, too, of other losses. */
bool ebm_train_label_density(const struct ebm_chunk *c, uint32_t b);
/* The y of row b: draws of its noise at 0 .. M - 1, the true target behind them. False: no finite density. */
bool ebm_train_candidates(struct ebm_chunk *c, uint32_t b, struct ebm_mixture *ret_noise);

/* Are they images whose features the plan has? */
static inline bool ebm_train_is_of_batch(const struct ebm_train_rows *rows)
{
    return rows->h_x == NULL;
}

/* to (n) += from (n), which lie apart. */
static inline void ebm_add(float *restrict to, const float *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* Moves the first M candidates of row b along a Langevin chain. */
void ebm_langevin_run(struct ebm_chunk *c, uint32_t b);

/* sm and dsm: as ebm_train_row. */
double ebm_score_row(struct ebm_chunk *c, uint32_t b);
/* ml_exact of the rows of the chunk from `first` on, `count` of them: losses as ebm_train_row. */
void ebm_exact_rows(struct ebm_chunk *c, uint32_t first, uint32_t count, double *h_loss);
/* ml_exact of all rows of the chunk at once: losses as ebm_train_row; where it applies to the weights as they are. */
bool ebm_segments_apply(const struct ebm_plan *plan);
void ebm_segments_chunk(struct ebm_chunk *c, double *h_loss);

/* Has f a second derivative in y almost everywhere that says something: no relu on the target's way? */
bool ebm_score_is_smooth(const struct ebm_net_desc *net);

/* Tangents of one tile: tiles[0] holds values, run by ebm_y_tile_run; tiles[1] and, for order 2, tiles[2] take the
 * first and second derivatives of everything along a direction of y of each lane's own: tiles[1].y holds it, tiles[2].y
 * is 0. */
struct ebm_tangents {
    struct ebm_y_tile tiles[3];
    uint32_t order; /* 1 or 2 */
};
void ebm_tangents_lay(struct ebm_tangents *tangents, const struct ebm_chunk *c, uint32_t at, uint32_t lanes,
                      uint32_t order);
void ebm_tangents_run(const struct ebm_chunk *c, const struct ebm_tangents *tangents);
/* Derivative i of f (lanes). Borrow: of the tape. */
const float *ebm_tangents_f(const struct ebm_chunk *c, const struct ebm_tangents *tangents, uint32_t i);
/* Gradient of sum over lanes of df[1] (lanes) times the first derivative of f, and df[2] times the second, in all
 * parameters, added to c->grads and `row`. df[0] and, for order 1, df[2] are not read. */
void ebm_tangents_backward(const struct ebm_chunk *c, const struct ebm_tangents *tangents, const float *const df[3],
                           const struct ebm_row_gradient *row);

#endif
