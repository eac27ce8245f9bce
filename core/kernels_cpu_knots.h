/* kernels_cpu_knots.h - the part of kernels_cpu_lanes.c that goes through the units of a relu layer, knots in lanes. */
#ifndef EBM_CORE_KERNELS_CPU_KNOTS_H
#define EBM_CORE_KERNELS_CPU_KNOTS_H

#include "core/kernels.h"
#include "core/lanes.h"

#define UNITS 8u /* whose products are summed as floats */

/* `units` of the layer at all knots; of a NaN relu is NaN. */
static inline __attribute__((always_inline)) void knots_of(double *f, uint16_t *crossings, const float *u,
                                                           const float *hx, const float *v, uint32_t units, uint32_t L)
{
    uint32_t n_blocks = L / EBM_LANES;
    for (uint32_t block = 0; block < n_blocks; block++) {
        vec sum[EBM_LANES / WIDTH] = {0};
        for (uint32_t j = 0; j < units; j++) {
            uint32_t positive = 0;
            for (uint32_t i = 0; i < EBM_LANES / WIDTH; i++) {
                vec z = vec_load(u + (size_t)j * L + block * EBM_LANES + i * WIDTH) + hx[j];
                positive |= vec_bits(vec_is_above(z, vec_all(0.0f))) << (i * WIDTH);
                sum[i] += v[j] * vec_max(vec_all(0.0f), z);
            }
            crossings[(size_t)j * n_blocks + block] = (uint16_t)((positive ^ positive >> 1) & 0x7fffu);
        }
        for (uint32_t l = 0; l < EBM_LANES; l++)
            f[block * EBM_LANES + l] += (double)sum[l / WIDTH][l % WIDTH];
    }
}

static void knots(double *f, uint16_t *crossings, const float *u, const float *hx, const float *v, uint32_t n,
                  uint32_t L)
{
    uint32_t j = 0;
    for (uint32_t l = 0; l < L; l++)
        f[l] = 0.0;
    for (; j + UNITS <= n; j += UNITS)
        knots_of(f, crossings + (size_t)j * (L / EBM_LANES), u + (size_t)j * L, hx + j, v + j, UNITS, L);
    for (; j < n; j++)
        knots_of(f, crossings + (size_t)j * (L / EBM_LANES), u + (size_t)j * L, hx + j, v + j, 1, L);
}

static void spread(float *sums0, float *sums1, float *active, const float *weight0, const float *weight1,
                   const float *u, const float *hx, uint32_t n, uint32_t L)
{
    const vec zero = vec_all(0.0f);
    for (uint32_t j = 0; j < n; j++) {
        vec sum = zero;
        for (uint32_t l = 0; l < L; l += WIDTH) {
            size_t at = (size_t)j * L + l;
            vec z = vec_load(u + at) + hx[j], next = vec_load(u + at + 1) + hx[j];
            vec_mask off = vec_is_above(zero, z) | vec_is_above(zero, next);
            vec_mask on = vec_is_above(z + next, zero) & (vec_mask)~off;
            vec weight = vec_select(on, vec_load(weight0 + l), zero),
                other = vec_select(on, vec_load(weight1 + l), zero);
            vec_store(sums0 + at, vec_load(sums0 + at) + weight);
            vec_store(sums1 + at, vec_load(sums1 + at) + other);
            sum += weight;
        }
        active[j] = vec_sum(sum);
    }
}

#endif
