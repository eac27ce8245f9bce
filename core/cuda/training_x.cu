/* training_x.cu - the x side of a chunk in training, all rows at once, there and back. */
#include "core/cuda/training_internal.h"

namespace
{

bool heads_forward(ebm_gpu_training *t, uint32_t B)
{
    const gpu_bias none = {NULL, 0, 1};
    t->reads = t->h;
    bool ok = t->net->own_H == 0 || gpu_net_run(t, &t->own, t->x, B, none, &t->reads);
    for (int i = 0; ok && i < 3; i++)
        ok = gpu_net_run(t, &t->heads[i], t->reads, B, none, &t->heads_out[i]);
    return ok;
}

bool heads_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    bool has_own = t->net->own_H > 0;
    way_back way = {c->B, 1, c->by_proposal || has_own, NULL, NULL};
    gpu_rows to = has_own ? t->down : t->dh, da = {};
    for (int i = 0; i < 3; i++) {
        if (!gpu_net_back(t, &t->heads[i], t->reads, t->dheads[i], &way, &da))
            return false;
        if (way.wants_input)
            gpu_rows_add(t, to, da, has_own ? t->net->own_H : t->net->H, c->B);
    }
    way.wants_input = false;
    return !has_own || gpu_net_back(t, &t->own, t->x, t->down, &way, &da);
}

/* The first energy layer's part that reads h, from dhx. */
bool joint_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const kept_layer joint = {&t->net->energy.layers[0], t->net->H, 0, {}, {}};
    const way_back way = {c->B, 1, true, NULL,
                          t->energy.layers.size() == 1 && gpu_idle_bias(t, c->loss) != NULL ? &joint : NULL};
    gpu_rows da = {t->da.p, gpu_ld_of(t->net->H)};
    gpu_bias_back(t, &joint, &way, true, t->dhx);
    if (!gpu_weight_back(t, &joint, true, &way, t->h, t->dhx) || !gpu_input_back(t, &joint, true, c->B, t->dhx, da))
        return false;
    gpu_rows_add(t, t->dh, da, t->net->H, c->B);
    return true;
}

bool trains_energy(const ebm_gpu_chunk *c)
{
    return c->loss != EBM_LOSS_MDN_NLL && c->loss != EBM_LOSS_KL_PROPOSAL;
}

} // namespace

bool gpu_x_forward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const gpu_bias none = {NULL, 0, 1};
    bool ok = gpu_net_run(t, &t->feature, t->x, c->B, none, &t->h);
    if (ok && t->net->has_energy) {
        const ebm_layer *l = &t->net->energy.layers[0];
        gpu_product p = {};
        p.a = {gpu_param(t, l->weight), t->net->H, l->out, l->in, true};
        p.b = {t->h.p, t->net->H, c->B, t->h.ld, false};
        p.d = t->hx.p;
        p.ld_d = t->hx.ld;
        p.is_exact = true;
        ok = gpu_multiply(t->space, &p);
        if (ok)
            gpu_bias_add(t, t->hx, {gpu_param(t, l->bias), 0, 1}, l->out, c->B);
    }
    return ok && (!c->reads_heads || heads_forward(t, c->B));
}

bool gpu_x_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const way_back way = {c->B, 1, c->wants_dx != 0, NULL, NULL};
    const uint32_t X = ebm_net_reach(t->net);
    const gpu_rows dx = {t->dx, X};
    gpu_rows da = {};
    bool reaches = trains_energy(c) || (c->by_proposal && t->net->own_H == 0);
    bool ok = (!trains_energy(c) || joint_backward(t, c)) && (!c->reads_heads || heads_backward(t, c)) &&
              (!reaches || gpu_net_back(t, &t->feature, t->x, t->dh, &way, &da)) &&
              (!c->wants_dx || gpu_clear(t, dx.p, (size_t)c->B * X));
    if (ok && reaches && c->wants_dx)
        gpu_rows_add(t, dx, da, X, c->B);
    return ok;
}
