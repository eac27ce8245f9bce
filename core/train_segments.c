/* train_segments.c - ml_exact of a chunk of rows where the energy net is one hidden relu layer: the target net is gone
 * through once a chunk, not once a row.
 *
 *   log Z     every row adds what it gives each segment of the table (exact_segments.c); then, lanes being segments,
 *               u(tau) = W_g (g + (tau - 1/2) g'),  g and g' = dg/dtau at the middle of the segment
 *               dW_g  += v mass g^T + v moment g'^T,    dg = W_g^T (v mass),    dg' = W_g^T (v moment)
 *             and back through the target net: g as any output; g' by the same weights without biases, its units on
 *             where those of g are
 *   f(y_0)    the true targets of all rows together, lanes being rows
 *
 * A row with too many pieces goes the way of train_exact.c, node by node. */
#include <math.h>
#include <string.h>

#include "core/train_internal.h"

bool ebm_segments_apply(const struct ebm_plan *plan)
{
    const struct ebm_exact_table *table = ebm_plan_exact(plan);
    uint32_t lanes = table != NULL ? ebm_exact_lanes(table) : 0;
    return lanes > 0 && lanes <= EBM_SEGMENT_LANES;
}

/* The middle of the segments: what the target net makes of it, and its derivatives. */
struct middle {
    uint32_t lanes;
    float *y, *slope; /* (lanes) */
    struct ebm_tape values, slopes;
};

/* a' = on z' (+ in'), where `on` is a relu's. */
static void bend(const struct ebm_layer *layer, float *a, const float *z, const float *on, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] = (layer->activation != EBM_ACT_RELU || on[i] > 0.0f ? z[i] : 0.0f) + (layer->residual ? in[i] : 0.0f);
}

static void run_middle(const struct ebm_chunk *c, struct middle *m)
{
    const struct ebm_net *net = &c->plan->net.target;
    const float *in = m->slope;
    (void)ebm_net_run(c->plan, net, 0, m->y, m->lanes, &m->values, NULL, NULL);
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        float *a = m->slopes.a[i];
        c->ctx->kernels->linear(a, c->plan->params + layer->weight, layer->in, NULL, in, layer->out, layer->in,
                                m->lanes);
        bend(layer, a, a, m->values.z[i], in, (size_t)layer->out * m->lanes);
        in = a;
    }
}

/* The target net's part of dg', which is in space->da. */
static void slopes_backward(const struct ebm_chunk *c, const struct middle *m, struct ebm_backward_space *space)
{
    const struct ebm_net *net = &c->plan->net.target;
    const struct ebm_kernels *kernels = c->ctx->kernels;
    for (uint32_t i = net->n_layers; i-- > 0;) {
        const struct ebm_layer *layer = &net->layers[i];
        size_t n = (size_t)layer->out * m->lanes;
        kernels->activation_backward(layer->activation, space->dz, space->da, m->values.z[i], n);
        kernels->linear_backward_weight(c->grads + layer->weight, layer->in, NULL, space->dz,
                                        i > 0 ? m->slopes.a[i - 1] : m->slope, layer->out, layer->in, m->lanes);
        if (i == 0)
            return;
        kernels->linear_backward_input(space->dx, c->plan->params + layer->weight, layer->in, space->dz,
                                       layer->residual ? space->da : NULL, layer->out, layer->in, m->lanes);
        ebm_swap(&space->da, &space->dx);
    }
}

/* Mean of unit j's value over what it is active in, but for hx. */
static double mean_value(const float *u, const float *mass, const float *moment, uint32_t lanes)
{
    float sum = 0.0f;
    for (uint32_t l = 0; l + 1 < lanes; l++)
        sum += 0.5f * mass[l] * (u[l] + u[l + 1]) + moment[l] * (u[l + 1] - u[l]);
    return (double)sum;
}

/* dv of the last layer; the sums then become gradients of u. */
static void last_layer(const struct ebm_chunk *c, const struct ebm_exact_sums *sums, const float *u, uint32_t lanes)
{
    const struct ebm_layer *last = &c->plan->net.energy.layers[1];
    for (uint32_t j = 0; j < last->in; j++) {
        float *mass = sums->mass + (size_t)j * lanes, *moment = sums->moment + (size_t)j * lanes;
        float v = c->plan->params[last->weight + j];
        c->grads[last->weight + j] += (float)mean_value(u + (size_t)j * lanes, mass, moment, lanes);
        for (uint32_t l = 0; l < lanes; l++) {
            mass[l] *= v;
            moment[l] *= v;
        }
    }
}

static void lay_middle(struct middle *m, const struct ebm_chunk *c, const struct ebm_exact_table *table)
{
    m->lanes = ebm_exact_lanes(table);
    m->y = c->ctx->train.middle.p;
    m->slope = m->y + m->lanes;
    float *end = ebm_tape_lay(&m->values, &c->plan->net.target, m->slope + m->lanes, m->lanes);
    (void)ebm_tape_lay(&m->slopes, &c->plan->net.target, end, m->lanes);
    ebm_exact_lane_centres(table, m->y, m->slope);
}

static void segments_backward(const struct ebm_chunk *c, const struct ebm_exact_table *table,
                              const struct ebm_exact_sums *sums)
{
    const struct ebm_net_desc *net = &c->plan->net;
    const struct ebm_kernels *kernels = c->ctx->kernels;
    const struct ebm_layer *first = &net->energy.layers[0];
    const float *w = c->plan->params + first->weight + net->H;
    float *dw = c->grads + first->weight + net->H;
    struct ebm_train_space *train = &c->ctx->train;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    struct middle m;
    lay_middle(&m, c, table);
    last_layer(c, sums, ebm_exact_lane_values(table), m.lanes);
    run_middle(c, &m);
    kernels->linear_backward_weight(dw, first->in, NULL, sums->mass, ebm_tape_output(&m.values, &net->target, m.y),
                                    first->out, net->G, m.lanes);
    kernels->linear_backward_weight(dw, first->in, NULL, sums->moment,
                                    ebm_tape_output(&m.slopes, &net->target, m.slope), first->out, net->G, m.lanes);
    if (net->target.n_layers == 0)
        return;
    kernels->linear_backward_input(space.da, w, first->in, sums->mass, NULL, first->out, net->G, m.lanes);
    ebm_net_backward(c->plan, &net->target, 0, m.y, m.lanes, &m.values, c->grads, false, &space);
    kernels->linear_backward_input(space.da, w, first->in, sums->moment, NULL, first->out, net->G, m.lanes);
    slopes_backward(c, &m, &space);
}

/* ---- the true targets ---- */

/* f(x_b, y_b) of all rows, lanes being rows; those beyond the last are the last one's, too. */
static const float *run_truth(const struct ebm_chunk *c, struct ebm_spans *spans, const struct ebm_y_tile *tile)
{
    uint32_t B = c->rows->B;
    spans->n = B;
    for (uint32_t b = 0; b < c->lanes; b++)
        tile->y[b] = c->rows->h_y[b < B ? b : B - 1];
    for (uint32_t b = 0; b < B; b++)
        spans->span[b] = (struct ebm_span){.row = b, .first = b, .lanes = b + 1 < B ? 1 : c->lanes - b};
    return ebm_spans_run(c, spans, tile);
}

/* ---- rows ---- */

/* log Z of row b, its gradient in the sums and in its lane of dhx. Status as of bind. */
static enum ebm_status normalise(struct ebm_chunk *c, uint32_t b, const struct ebm_exact_table *table,
                                 const struct ebm_exact_sums *sums, double *ret_log_z)
{
    const struct ebm_layer *last = &c->plan->net.energy.layers[1];
    const float *hx = c->ctx->hx.p + (size_t)b * last->in;
    struct ebm_pieces *pieces;
    enum ebm_status status = ebm_exact_bind_pieces(table, hx, c->ctx->h.p + (size_t)b * c->plan->net.H, c->ctx->exact,
                                                   &pieces);
    if (status != EBM_OK)
        return status;
    if (!isfinite(pieces->log_z))
        return EBM_INVALID;
    ebm_exact_spread(table, hx, c->ctx->exact, c->spec->scale, sums);
    for (uint32_t j = 0; j < last->in; j++) {
        c->grads[last->weight + j] += hx[j] * sums->active[j];
        c->ctx->train.dhx.p[(size_t)j * c->lanes + b] = c->plan->params[last->weight + j] * sums->active[j];
    }
    *ret_log_z = pieces->log_z;
    return EBM_OK;
}

void ebm_segments_chunk(struct ebm_chunk *c, double *h_loss)
{
    const struct ebm_exact_table *table = ebm_plan_exact(c->plan);
    struct ebm_train_space *train = &c->ctx->train;
    size_t count = (size_t)c->plan->energy_out * ebm_exact_lanes(table);
    struct ebm_exact_sums sums = {train->sums_u.p, train->sums_u.p + count, train->sums_u.p + 2 * count};
    bool by_nodes[LIMIT_BATCH_ROWS];
    memset(sums.mass, 0, 2 * count * sizeof *sums.mass);
    for (uint32_t b = 0; b < c->rows->B; b++) {
        h_loss[b] = (double)NAN;
        by_nodes[b] = normalise(c, b, table, &sums, &h_loss[b]) == EBM_TOO_LARGE;
        if (by_nodes[b])
            ebm_exact_rows(c, b, 1, h_loss);
    }
    segments_backward(c, table, &sums);
    struct ebm_y_tile tile;
    struct ebm_spans spans;
    ebm_y_tile_lay(&tile, c, 0, c->lanes);
    const float *f = run_truth(c, &spans, &tile);
    for (uint32_t b = 0; b < c->lanes; b++) {
        bool is_taken = b < c->rows->B && !by_nodes[b] && isfinite(h_loss[b] - (double)f[b]);
        train->da.p[b] = is_taken ? (float)-c->spec->scale : 0.0f;
        if (b < c->rows->B && !by_nodes[b])
            h_loss[b] = is_taken ? h_loss[b] - (double)f[b] : (double)NAN;
    }
    ebm_spans_backward(c, &spans, &tile);
}
