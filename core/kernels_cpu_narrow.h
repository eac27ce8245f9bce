/* kernels_cpu_narrow.h - a whole layer of relu or identity in one pass: the activation, and what a residual layer adds,
 * while the sums are still in registers. A part of kernels_cpu_lanes.c: included there and nowhere else, so that it is
 * compiled for each instruction set. It pays where a layer is narrow: there, passes over its outputs cost as much as
 * its products. */
#ifndef EBM_CORE_KERNELS_CPU_NARROW_H
#define EBM_CORE_KERNELS_CPU_NARROW_H

#include "core/kernels.h"
#include "core/lanes.h"

#define NARROW 64u       /* inputs and outputs, at most */
#define NARROW_BLOCK 5   /* outputs a register block */
#define NARROW_VECTORS 2 /* of lanes */

/* What is done to the sums of some outputs. Pointers at the first of them; z and residual may be NULL. */
struct narrow_end {
    float *a, *z;
    const float *residual;
    bool is_relu;
};

static inline __attribute__((always_inline)) void narrow_block(const struct narrow_end *end, const float *w, size_t ldw,
                                                               const float *bias, const float *x, uint32_t n_in,
                                                               uint32_t L, int outs, int vecs)
{
    vec sum[NARROW_BLOCK][NARROW_VECTORS];
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < vecs; v++)
            sum[o][v] = vec_all(bias != NULL ? bias[o] : 0.0f);
    for (uint32_t i = 0; i < n_in; i++)
        for (int v = 0; v < vecs; v++) {
            vec lanes = vec_load(x + (size_t)i * L + v * WIDTH);
            for (int o = 0; o < outs; o++)
                sum[o][v] += w[(size_t)o * ldw + i] * lanes;
        }
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < vecs; v++) {
            size_t at = (size_t)o * L + (size_t)v * WIDTH;
            if (end->z != NULL)
                vec_store(end->z + at, sum[o][v]);
            vec value = sum[o][v];
            if (end->is_relu)
                value = vec_max(vec_all(0.0f), value); /* a NaN stays */
            if (end->residual != NULL)
                value += vec_load(end->residual + at);
            vec_store(end->a + at, value);
        }
}

static inline __attribute__((always_inline)) void narrow_strip(struct narrow_end end, const struct ebm_linear *layer,
                                                               const float *x, uint32_t L, int vecs)
{
    uint32_t n = layer->n_in;
    for (uint32_t o = 0, outs = 0; o < layer->n_out; o += outs) {
        uint32_t left = layer->n_out - o;
        const float *w = layer->w + o * layer->ldw, *bias = layer->bias != NULL ? layer->bias + o : NULL;
        outs = left >= 5 && left != 8 ? 5 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (outs == 5)
            narrow_block(&end, w, layer->ldw, bias, x, n, L, 5, vecs);
        else if (outs == 4)
            narrow_block(&end, w, layer->ldw, bias, x, n, L, 4, vecs);
        else if (outs == 2)
            narrow_block(&end, w, layer->ldw, bias, x, n, L, 2, vecs);
        else
            narrow_block(&end, w, layer->ldw, bias, x, n, L, 1, vecs);
        end.a += (size_t)outs * L;
        end.z = end.z != NULL ? end.z + (size_t)outs * L : NULL;
        end.residual = end.residual != NULL ? end.residual + (size_t)outs * L : NULL;
    }
}

static void narrow_layer(const struct narrow_end *end, const struct ebm_linear *layer, const float *x, uint32_t L)
{
    struct narrow_end at = *end;
    for (uint32_t l = 0; l < L;) {
        uint32_t step = L - l >= NARROW_VECTORS * WIDTH ? NARROW_VECTORS * WIDTH : WIDTH;
        if (step == NARROW_VECTORS * WIDTH)
            narrow_strip(at, layer, x + l, L, NARROW_VECTORS);
        else
            narrow_strip(at, layer, x + l, L, 1);
        l += step;
        at.a += step;
        at.z = at.z != NULL ? at.z + step : NULL;
        at.residual = at.residual != NULL ? at.residual + step : NULL;
    }
}

#endif
