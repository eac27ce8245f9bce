/* train_spans.c - a tile whose lanes belong to several rows: forward, and backward.
 *
 * As ebm_y_tile_run and what follows it in train_row.c, but that hx, and h past a residual first layer, are of each
 * lane's own row. So the first energy layer is run without a bias, and hx is added span by span; what a row's hx and h
 * get is the sum over its span. */
#include <string.h>

#include "core/train_internal.h"

/* to (n, lanes) += from (rows, n), by each lane's row. */
static void add_rows(float *to, const float *from, uint32_t n, const struct ebm_spans *s, uint32_t lanes)
{
    for (uint32_t i = 0; i < s->n; i++) {
        const struct ebm_span *span = &s->span[i];
        for (uint32_t j = 0; j < n; j++) {
            float value = from[(size_t)span->row * n + j], *at = to + (size_t)j * lanes + span->first;
            for (uint32_t l = 0; l < span->lanes; l++)
                at[l] += value;
        }
    }
}

/* [h, g] in lanes, for a first energy layer that is residual */
static const float *join(const struct ebm_chunk *c, const struct ebm_spans *s, const struct ebm_y_tile *tile)
{
    const struct ebm_net_desc *net = &c->plan->net;
    float *joined = c->ctx->tile_residual.p;
    size_t count = (size_t)net->H * tile->lanes;
    memset(joined, 0, count * sizeof *joined);
    add_rows(joined, c->ctx->h.p, net->H, s, tile->lanes);
    memcpy(joined + count, ebm_y_tile_g(c, tile), (size_t)net->G * tile->lanes * sizeof *joined);
    return joined;
}

const float *ebm_spans_run(const struct ebm_chunk *c, const struct ebm_spans *s, const struct ebm_y_tile *tile)
{
    const struct ebm_net_desc *net = &c->plan->net;
    const struct ebm_layer *first = &net->energy.layers[0];
    const struct ebm_kernels *kernels = c->ctx->kernels;
    float *z = tile->energy.z[0], *a = tile->energy.a[0];
    (void)ebm_net_run(c->plan, &net->target, 0, tile->y, tile->lanes, &tile->target, NULL, NULL);
    kernels->linear(z, c->plan->params + first->weight + net->H, first->in, NULL, ebm_y_tile_g(c, tile), first->out,
                    net->G, tile->lanes);
    add_rows(z, c->ctx->hx.p, first->out, s, tile->lanes);
    kernels->activation(first->activation, a, z, first->residual ? join(c, s, tile) : NULL,
                        (size_t)first->out * tile->lanes);
    return ebm_net_run(c->plan, &net->energy, 1, a, tile->lanes, &tile->energy, NULL, NULL);
}

#define SUMS 8u /* side by side */

static float sum_of(const float *v, uint32_t n)
{
    float sums[SUMS] = {0.0f}, sum = 0.0f;
    uint32_t l = 0;
    for (; l + SUMS <= n; l += SUMS)
        for (uint32_t k = 0; k < SUMS; k++)
            sums[k] += v[l + k];
    for (; l < n; l++)
        sum += v[l];
    for (uint32_t k = 0; k < SUMS; k++)
        sum += sums[k];
    return sum;
}

/* to (n, rows in lanes) += sums over each span of from (n, lanes) */
static void add_span_sums(const struct ebm_chunk *c, float *to, const float *from, uint32_t n,
                          const struct ebm_spans *s, uint32_t lanes)
{
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t j = 0; j < n; j++)
            to[(size_t)j * c->lanes + s->span[i].row] += sum_of(from + (size_t)j * lanes + s->span[i].first,
                                                                s->span[i].lanes);
}

void ebm_spans_backward(const struct ebm_chunk *c, const struct ebm_spans *s, const struct ebm_y_tile *tile)
{
    const struct ebm_net_desc *net = &c->plan->net;
    const struct ebm_layer *first = &net->energy.layers[0];
    const struct ebm_kernels *kernels = c->ctx->kernels;
    const float *w = c->plan->params + first->weight + net->H, *g = ebm_y_tile_g(c, tile);
    struct ebm_train_space *train = &c->ctx->train;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    uint32_t lanes = tile->lanes;
    ebm_net_backward(c->plan, &net->energy, 1, tile->energy.a[0], lanes, &tile->energy, c->grads, true, &space);
    kernels->activation_backward(first->activation, space.dz, space.da, tile->energy.z[0], (size_t)first->out * lanes);
    add_span_sums(c, train->dhx.p, space.dz, first->out, s, lanes);
    if (first->residual)
        add_span_sums(c, train->dh.p, space.da, net->H, s, lanes);
    kernels->linear_backward_weight(c->grads + first->weight + net->H, first->in, NULL, space.dz, g, first->out, net->G,
                                    lanes);
    if (net->target.n_layers == 0)
        return;
    kernels->linear_backward_input(space.dx, w, first->in, space.dz,
                                   first->residual ? space.da + (size_t)net->H * lanes : NULL, first->out, net->G,
                                   lanes);
    ebm_swap(&space.da, &space.dx);
    ebm_net_backward(c->plan, &net->target, 0, tile->y, lanes, &tile->target, c->grads, false, &space);
}
