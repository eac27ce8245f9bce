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

/* out[o][lanes] = sum_i w[o * row + i * column] x[i][lanes] + bias[o] for n_out outputs of n_in inputs, L lanes a row;
 * then z keeps it, a is its relu or itself, plus residual. Bias, z and residual may be NULL. */
struct narrow {
    const float *w;
    size_t row, column;
    const float *bias, *x, *residual;
    float *a, *z;
    uint32_t n_out, n_in, L;
    bool is_relu;
};

static inline const float *advanced(const float *p, size_t n)
{
    return p != NULL ? p + n : NULL;
}

static inline __attribute__((always_inline)) void narrow_block(const struct narrow *t, int outs, int vecs)
{
    vec sum[NARROW_BLOCK][NARROW_VECTORS];
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < vecs; v++)
            sum[o][v] = vec_all(t->bias != NULL ? t->bias[o] : 0.0f);
    for (uint32_t i = 0; i < t->n_in; i++)
        for (int v = 0; v < vecs; v++) {
            vec lanes = vec_load(t->x + (size_t)i * t->L + v * WIDTH);
            for (int o = 0; o < outs; o++)
                sum[o][v] += t->w[(size_t)o * t->row + i * t->column] * lanes;
        }
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < vecs; v++) {
            size_t at = (size_t)o * t->L + (size_t)v * WIDTH;
            vec value = sum[o][v];
            if (t->z != NULL)
                vec_store(t->z + at, value);
            if (t->is_relu)
                value = vec_max(vec_all(0.0f), value); /* a NaN stays */
            if (t->residual != NULL)
                value += vec_load(t->residual + at);
            vec_store(t->a + at, value);
        }
}

/* All outputs for `vecs` vectors of lanes. */
static inline __attribute__((always_inline)) void narrow_strip(struct narrow t, int vecs)
{
    for (uint32_t left = t.n_out, outs; left > 0; left -= outs) {
        outs = left % 5 == 0 ? 5 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (outs == 5)
            narrow_block(&t, 5, vecs);
        else if (outs == 4)
            narrow_block(&t, 4, vecs);
        else if (outs == 2)
            narrow_block(&t, 2, vecs);
        else
            narrow_block(&t, 1, vecs);
        t.w += outs * t.row;
        t.bias = advanced(t.bias, outs);
        t.residual = advanced(t.residual, (size_t)outs * t.L);
        t.a += (size_t)outs * t.L;
        t.z = t.z != NULL ? t.z + (size_t)outs * t.L : NULL;
    }
}

static void narrow_run(struct narrow t)
{
    for (uint32_t l = 0, step; l < t.L; l += step) {
        step = t.L - l >= NARROW_VECTORS * WIDTH ? NARROW_VECTORS * WIDTH : WIDTH;
        if (step > WIDTH)
            narrow_strip(t, NARROW_VECTORS);
        else
            narrow_strip(t, 1);
        t.x += step;
        t.residual = advanced(t.residual, step);
        t.a += step;
        t.z = t.z != NULL ? t.z + step : NULL;
    }
}

#endif
