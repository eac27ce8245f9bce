/* tangents.c - first and second derivatives of f along a direction of y, and the gradient of those in the parameters.
 *
 * Every lane has a direction v of its own, y(t) = y + t v. With dots for derivatives in t, a layer a = act(z) (+ in),
 * z = W in + b, carries
 *
 *   z'  = W in'         a'  = act'(z) z'                        (+ in')
 *   z'' = W in''        a'' = act'(z) z'' + act''(z) z'^2       (+ in'')
 *
 * and the reverse pass, with d for the adjoint of what follows it,
 *
 *   dz   = act' da + act'' (z' da' + z'' da'') + act''' z'^2 da''
 *   dz'  = act' da' + 2 act'' z' da''
 *   dz'' = act' da''
 *   dW  += dz in^T + dz' in'^T + dz'' in''^T,   db += dz,   din = W^T dz (+ da), and so for each derivative.
 *
 * x does not move: h, and with it W_h h + b, has no derivatives. The tapes are those of the values: what a layer need
 * not keep (relu, identity) is multiplied by derivatives that are 0. */
#include <string.h>

#include "core/train_internal.h"

/* Buffers for adjoints of values and derivatives, and the activation's derivatives, (widest, lanes) each. */
struct space {
    float *da[3], *dz[3], *dx[3], *curve[3];
};

static struct space space_of(const struct ebm_chunk *c)
{
    struct ebm_train_space *train = &c->ctx->train;
    size_t count = (size_t)c->plan->widest_y * EBM_TILE;
    struct space s = {.da = {train->da.p}, .dz = {train->dz.p}, .dx = {train->dx.p}};
    float *next = train->curve.p;
    for (uint32_t i = 0; i < 3; i++, next += count)
        s.curve[i] = next;
    for (uint32_t i = 1; i < 3; i++, next += 3 * count) {
        s.da[i] = next;
        s.dz[i] = next + count;
        s.dx[i] = next + 2 * count;
    }
    return s;
}

void ebm_tangents_lay(struct ebm_tangents *t, const struct ebm_chunk *c, uint32_t at, uint32_t lanes, uint32_t order)
{
    t->order = order;
    for (uint32_t i = 0; i <= order; i++)
        ebm_y_tile_lay(&t->tiles[i], c, i * EBM_TILE, lanes);
    t->tiles[0].at = at;
}

/* The tape of a net at each order. */
static void tapes_of(const struct ebm_tangents *t, bool energy, const struct ebm_tape *ret_tapes[3])
{
    for (uint32_t i = 0; i < 3; i++)
        ret_tapes[i] = energy ? &t->tiles[i].energy : &t->tiles[i].target;
}

/* ---- forward ---- */

/* a' and a'' (n) of one layer from z' and z'', all on the tapes. */
static void activate(const struct ebm_chunk *c, const struct ebm_layer *layer, const struct ebm_tape *const tapes[3],
                     uint32_t i, uint32_t order, size_t n)
{
    struct space s = space_of(c);
    const float *d1 = s.curve[0], *d2 = s.curve[1], *z1 = tapes[1]->z[i], *z2 = tapes[2]->z[i];
    float *a1 = tapes[1]->a[i], *a2 = tapes[2]->a[i];
    c->ctx->kernels->activation_curve(layer->activation, s.curve[0], s.curve[1], s.curve[2], tapes[0]->z[i], n);
    for (size_t j = 0; order == 2 && j < n; j++)
        a2[j] = d1[j] * z2[j] + d2[j] * z1[j] * z1[j];
    for (size_t j = 0; j < n; j++)
        a1[j] = d1[j] * z1[j];
}

static void run_layer(const struct ebm_chunk *c, const struct ebm_layer *layer, const struct ebm_tape *const tapes[3],
                      uint32_t i, const float *const in[3], uint32_t n_in, uint32_t lanes, uint32_t order)
{
    const float *weight = c->plan->params + layer->weight + (layer->in - n_in); /* past those of h */
    size_t skipped = (size_t)(layer->in - n_in) * lanes;
    for (uint32_t k = 1; k <= order; k++)
        c->ctx->kernels->linear(tapes[k]->z[i], weight, layer->in, NULL, in[k], layer->out, n_in, lanes);
    activate(c, layer, tapes, i, order, (size_t)layer->out * lanes);
    for (uint32_t k = 1; layer->residual && k <= order; k++)
        ebm_add(tapes[k]->a[i] + skipped, in[k], (size_t)n_in * lanes);
}

/* Layers of a net; `in` becomes what the last one gives. n_in: numbers of the first layer's input that move. */
static void run_net(const struct ebm_chunk *c, const struct ebm_tangents *t, const struct ebm_net *net, bool energy,
                    const float *in[3], uint32_t n_in)
{
    const struct ebm_tape *tapes[3];
    tapes_of(t, energy, tapes);
    for (uint32_t i = 0; i < net->n_layers; i++) {
        run_layer(c, &net->layers[i], tapes, i, in, i == 0 ? n_in : net->layers[i].in, t->tiles[0].lanes, t->order);
        for (uint32_t k = 0; k <= t->order; k++)
            in[k] = tapes[k]->a[i];
    }
}

void ebm_tangents_run(const struct ebm_chunk *c, const struct ebm_tangents *t)
{
    const struct ebm_net_desc *net = &c->plan->net;
    const float *in[3] = {t->tiles[0].y, t->tiles[1].y, t->tiles[2].y};
    run_net(c, t, &net->target, false, in, net->D);
    run_net(c, t, &net->energy, true, in, net->G);
}

const float *ebm_tangents_f(const struct ebm_chunk *c, const struct ebm_tangents *t, uint32_t i)
{
    return t->tiles[i].energy.a[c->plan->net.energy.n_layers - 1];
}

/* ---- backward ---- */

/* dz of one layer from da, both of every order. */
static void backward_activation(const struct ebm_chunk *c, const struct ebm_layer *layer,
                                const struct ebm_tape *const tapes[3], uint32_t i, uint32_t order, size_t n,
                                const struct space *s)
{
    const float *d1 = s->curve[0], *d2 = s->curve[1], *d3 = s->curve[2];
    const float *z1 = tapes[1]->z[i], *z2 = tapes[2]->z[i];
    const float *da0 = s->da[0], *da1 = s->da[1], *da2 = s->da[2];
    float *dz0 = s->dz[0], *dz1 = s->dz[1], *dz2 = s->dz[2];
    c->ctx->kernels->activation_curve(layer->activation, s->curve[0], s->curve[1], s->curve[2], tapes[0]->z[i], n);
    for (size_t j = 0; order == 1 && j < n; j++) {
        dz0[j] = d1[j] * da0[j] + d2[j] * z1[j] * da1[j];
        dz1[j] = d1[j] * da1[j];
    }
    for (size_t j = 0; order == 2 && j < n; j++) {
        dz0[j] = d1[j] * da0[j] + d2[j] * (z1[j] * da1[j] + z2[j] * da2[j]) + d3[j] * z1[j] * z1[j] * da2[j];
        dz1[j] = d1[j] * da1[j] + 2.0f * d2[j] * z1[j] * da2[j];
        dz2[j] = d1[j] * da2[j];
    }
}

/* From dz to the layer's weights (bias: where the values' sum goes) and to the gradient of the moving input, in da. */
static void backward_linear(const struct ebm_chunk *c, const struct ebm_layer *layer, const float *const in[3],
                            uint32_t n_in, float *bias, uint32_t lanes, uint32_t order, struct space *s)
{
    const struct ebm_kernels *kernels = c->ctx->kernels;
    size_t first = layer->weight + (layer->in - n_in), skipped = (size_t)(layer->in - n_in) * lanes;
    for (uint32_t k = 0; k <= order; k++) {
        kernels->linear_backward_weight(c->grads + first, layer->in, k == 0 ? bias : NULL, s->dz[k], in[k], layer->out,
                                        n_in, lanes);
        kernels->linear_backward_input(s->dx[k], c->plan->params + first, layer->in, s->dz[k],
                                       layer->residual ? s->da[k] + skipped : NULL, layer->out, n_in, lanes);
        ebm_swap(&s->da[k], &s->dx[k]);
    }
}

/* Layers n .. 0 of a net. `row`: of the energy net, whose first layer has h before its moving input; else NULL. */
static void backward_net(const struct ebm_chunk *c, const struct ebm_tangents *t, const struct ebm_net *net,
                         const float *const net_in[3], uint32_t n_in, const struct ebm_row_gradient *row,
                         struct space *s)
{
    const struct ebm_tape *tapes[3];
    uint32_t lanes = t->tiles[0].lanes, H = c->plan->net.H;
    tapes_of(t, row != NULL, tapes);
    for (uint32_t i = net->n_layers; i-- > 0;) {
        const struct ebm_layer *layer = &net->layers[i];
        const float *in[3] = {net_in[0], net_in[1], net_in[2]};
        for (uint32_t k = 0; i > 0 && k <= t->order; k++)
            in[k] = tapes[k]->a[i - 1];
        backward_activation(c, layer, tapes, i, t->order, (size_t)layer->out * lanes, s);
        bool meets_h = i == 0 && row != NULL;
        if (meets_h && layer->residual)
            ebm_add_lane_sums(row->dh, s->da[0], H, lanes);
        backward_linear(c, layer, in, i == 0 ? n_in : layer->in, meets_h ? row->dhx : c->grads + layer->bias, lanes,
                        t->order, s);
    }
}

void ebm_tangents_backward(const struct ebm_chunk *c, const struct ebm_tangents *t, const float *const df[3],
                           const struct ebm_row_gradient *row)
{
    const struct ebm_net_desc *net = &c->plan->net;
    const float *y[3], *g[3];
    struct space s = space_of(c);
    size_t bytes = t->tiles[0].lanes * sizeof(float);
    memset(s.da[0], 0, bytes);
    for (uint32_t k = 1; k <= t->order; k++)
        memcpy(s.da[k], df[k], bytes);
    for (uint32_t k = 0; k < 3; k++) {
        y[k] = t->tiles[k].y;
        g[k] = k <= t->order ? ebm_y_tile_g(c, &t->tiles[k]) : NULL;
    }
    backward_net(c, t, &net->energy, g, net->G, row, &s);
    backward_net(c, t, &net->target, y, net->D, NULL, &s);
}
