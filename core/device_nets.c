/* device_nets.c - runs the layers of a net over lanes, forward and backward, and lays out the memory for that.
 *
 * Without a tape a forward run uses two buffers in turn. With one, every layer's output stays, and z where the
 * derivative needs it (relu's is seen from the output, identity's needs nothing).
 *
 * The energy net's first layer is linear in [h, g]: W [h, g] = W_h h + W_g g. W_h h + bias comes in as hx, computed
 * once a row, and goes out as dhx, summed over a row's lanes; only W_g g is done per sample. */
#include <stdlib.h>
#include <string.h>

#include "core/device_internal.h"

bool ebm_slab_reserve(struct ebm_slab *slab, size_t count)
{
    if (slab->count >= count && slab->p != NULL)
        return true;
    float *p = ebm_alloc_aligned((count + 1) * sizeof *p);
    if (p == NULL)
        return false;
    free(slab->p);
    slab->p = p;
    slab->count = count;
    return true;
}

bool ebm_layer_keeps_z(const struct ebm_layer *layer)
{
    if (layer->activation == EBM_ACT_IDENTITY)
        return false;
    return layer->activation != EBM_ACT_RELU || layer->residual;
}

size_t ebm_tape_count(const struct ebm_net *net)
{
    size_t count = 0;
    for (uint32_t i = 0; i < net->n_layers; i++)
        count += (size_t)net->layers[i].out * (ebm_layer_keeps_z(&net->layers[i]) ? 2 : 1);
    return count;
}

float *ebm_tape_lay(struct ebm_tape *tape, const struct ebm_net *net, float *base, uint32_t lanes)
{
    for (uint32_t i = 0; i < net->n_layers; i++) {
        size_t count = (size_t)net->layers[i].out * lanes;
        tape->a[i] = base;
        base += count;
        tape->z[i] = tape->a[i];
        if (ebm_layer_keeps_z(&net->layers[i])) {
            tape->z[i] = base;
            base += count;
        }
    }
    return base;
}

/* Where layer i's z and output go. */
static void buffers_of(const struct ebm_tape *tape, uint32_t i, bool is_odd, float *a, float *b, float **ret_z,
                       float **ret_out)
{
    *ret_out = tape != NULL ? tape->a[i] : is_odd ? b : a;
    *ret_z = tape != NULL ? tape->z[i] : *ret_out;
}

const float *ebm_net_run(const struct ebm_plan *plan, const struct ebm_net *net, uint32_t first, const float *in,
                         uint32_t lanes, const struct ebm_tape *tape, float *a, float *b)
{
    for (uint32_t i = first; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        float *z, *out;
        buffers_of(tape, i, (i - first) % 2 != 0, a, b, &z, &out);
        struct ebm_linear linear = {plan->params + layer->weight, layer->in, plan->params + layer->bias, layer->out,
                                    layer->in};
        plan->kernels->layer(layer->activation, out, z, &linear, in, layer->residual ? in : NULL, lanes);
        in = out;
    }
    return in;
}

/* [h, g] in lanes, for a first energy layer that is residual */
static void join(float *joined, const float *h, uint32_t H, const float *g, uint32_t G, uint32_t lanes)
{
    for (uint32_t i = 0; i < H; i++)
        for (uint32_t l = 0; l < lanes; l++)
            joined[(size_t)i * lanes + l] = h[i];
    memcpy(joined + (size_t)H * lanes, g, (size_t)G * lanes * sizeof *g);
}

const float *ebm_energy_run(const struct ebm_plan *plan, const float *hx, const float *h, const float *g,
                            uint32_t lanes, const struct ebm_tape *tape, float *a, float *b, float *residual)
{
    const struct ebm_net_desc *net = &plan->net;
    const struct ebm_layer *layer = &net->energy.layers[0];
    float *z, *out;
    buffers_of(tape, 0, false, a, b, &z, &out);
    struct ebm_linear linear = {plan->params + layer->weight + net->H, layer->in, hx, layer->out, net->G};
    if (layer->residual)
        join(residual, h, net->H, g, net->G, lanes);
    plan->kernels->layer(layer->activation, out, z, &linear, g, layer->residual ? residual : NULL, lanes);
    return ebm_net_run(plan, &net->energy, 1, out, lanes, tape, b, a);
}

void ebm_net_backward(const struct ebm_plan *plan, const struct ebm_net *net, uint32_t first, const float *in,
                      uint32_t lanes, const struct ebm_tape *tape, float *grads, bool wants_input,
                      struct ebm_backward_space *space)
{
    const struct ebm_kernels *kernels = plan->kernels;
    for (uint32_t i = net->n_layers; i-- > first;) {
        const struct ebm_layer *layer = &net->layers[i];
        const float *layer_in = i == first ? in : tape->a[i - 1];
        kernels->activation_backward(layer->activation, space->dz, space->da, tape->z[i], (size_t)layer->out * lanes);
        if (grads != NULL)
            kernels->linear_backward_weight(grads + layer->weight, layer->in, grads + layer->bias, space->dz, layer_in,
                                            layer->out, layer->in, lanes);
        if (i == first && !wants_input)
            return;
        kernels->linear_backward_input(space->dx, plan->params + layer->weight, layer->in, space->dz,
                                       layer->residual ? space->da : NULL, layer->out, layer->in, lanes);
        ebm_swap(&space->da, &space->dx);
    }
}

void ebm_add_lane_sums(float *to, const float *lanes_of, uint32_t n, uint32_t lanes)
{
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (uint32_t l = 0; l < lanes; l++)
            sum += (double)lanes_of[(size_t)i * lanes + l];
        to[i] += (float)sum;
    }
}

void ebm_energy_backward(const struct ebm_plan *plan, const float *g, uint32_t lanes, const struct ebm_tape *tape,
                         float *grads, float *dhx, float *dh, struct ebm_backward_space *space)
{
    const struct ebm_net_desc *net = &plan->net;
    const struct ebm_kernels *kernels = plan->kernels;
    const struct ebm_layer *layer = &net->energy.layers[0];
    ebm_net_backward(plan, &net->energy, 1, tape->a[0], lanes, tape, grads, true, space);
    kernels->activation_backward(layer->activation, space->dz, space->da, tape->z[0], (size_t)layer->out * lanes);
    if (grads != NULL)
        kernels->linear_backward_weight(grads + layer->weight + net->H, layer->in, dhx, space->dz, g, layer->out,
                                        net->G, lanes);
    kernels->linear_backward_input(space->dx, plan->params + layer->weight + net->H, layer->in, space->dz,
                                   layer->residual ? space->da + (size_t)net->H * lanes : NULL, layer->out, net->G,
                                   lanes);
    if (layer->residual && dh != NULL)
        ebm_add_lane_sums(dh, space->da, net->H, lanes);
    ebm_swap(&space->da, &space->dx);
}
