/* kernels_cpu_wide.h - weight gradients of wide layers, where there are 32 registers of 16 lanes; with fewer OpenBLAS
 * is faster. A part of kernels_cpu_lanes.c.
 *
 *   dw += dz x^T    for 2 WIDTH inputs and PANEL lanes at a time, x is turned over into a panel that stays in the first
 *                   cache, inputs inner; then blocks of ROWS outputs run through it, a register for WIDTH weights,
 *                   dz broadcast
 *
 * Sums over lanes run in their order within a panel, panels in theirs. */
#ifndef EBM_CORE_KERNELS_CPU_WIDE_H
#define EBM_CORE_KERNELS_CPU_WIDE_H

#include "core/kernels_cpu_outer.h"

#define PANEL 128
#define PANEL_INPUTS (2 * WIDTH)
#define ROWS 8

/* rows[i], lane l, and rows[l], lane i, change places. */
static inline __attribute__((always_inline)) void transpose(vec rows[WIDTH])
{
#pragma GCC unroll 4
    for (int n = WIDTH / 2; n > 0; n /= 2) {
        vec_ints upper, lower;
#pragma GCC unroll 16
        for (int l = 0; l < WIDTH; l++) {
            upper[l] = (l & n) != 0 ? l - n + WIDTH : l;
            lower[l] = (l & n) != 0 ? l + WIDTH : l + n;
        }
#pragma GCC unroll 16
        for (int i = 0; i < WIDTH; i++) {
            if ((i & n) != 0)
                continue;
            vec a = rows[i], b = rows[i + n];
            rows[i] = vec_shuffle(a, b, upper);
            rows[i + n] = vec_shuffle(a, b, lower);
        }
    }
}

/* panel (lanes, PANEL_INPUTS) of x (n_in, L), zeros beyond the last input; lanes a multiple of WIDTH. */
static void fill_panel(float *panel, const float *x, uint32_t n_in, uint32_t L, uint32_t lanes)
{
    for (uint32_t first = 0; first < PANEL_INPUTS; first += WIDTH)
        for (uint32_t l = 0; l < lanes; l += WIDTH) {
            vec rows[WIDTH];
            for (uint32_t i = 0; i < WIDTH; i++)
                rows[i] = first + i < n_in ? vec_load(x + (size_t)(first + i) * L + l) : vec_all(0.0f);
            transpose(rows);
            for (uint32_t i = 0; i < WIDTH; i++)
                vec_store(panel + (size_t)(l + i) * PANEL_INPUTS + first, rows[i]);
        }
}

/* dw (rows, n_in) += for `rows` outputs; n_in at most PANEL_INPUTS. */
static inline __attribute__((always_inline)) void panel_block(float *dw, size_t ldw, const float *dz, size_t L,
                                                              const float *panel, uint32_t lanes, uint32_t n_in,
                                                              int rows)
{
    vec sum[ROWS][2] = {{{0}}};
    for (uint32_t l = 0; l < lanes; l++) {
        vec x0 = vec_load(panel + (size_t)l * PANEL_INPUTS), x1 = vec_load(panel + (size_t)l * PANEL_INPUTS + WIDTH);
        for (int o = 0; o < rows; o++) {
            sum[o][0] += dz[(size_t)o * L + l] * x0;
            sum[o][1] += dz[(size_t)o * L + l] * x1;
        }
    }
    for (int o = 0; o < rows; o++) {
        float *to = dw + (size_t)o * ldw, last[PANEL_INPUTS];
        if (n_in == PANEL_INPUTS) {
            vec_store(to, vec_load(to) + sum[o][0]);
            vec_store(to + WIDTH, vec_load(to + WIDTH) + sum[o][1]);
            continue;
        }
        vec_store(last, sum[o][0]);
        vec_store(last + WIDTH, sum[o][1]);
        for (uint32_t i = 0; i < n_in; i++)
            to[i] += last[i];
    }
}

/* dw (n_out, n_in; stride ldw) += dz x^T */
static void outer_wide(float *dw, size_t ldw, const float *dz, const float *x, uint32_t n_out, uint32_t n_in,
                       uint32_t L)
{
    float panel[PANEL * PANEL_INPUTS];
    for (uint32_t i = 0; i < n_in; i += PANEL_INPUTS)
        for (uint32_t l = 0; l < L; l += PANEL) {
            uint32_t lanes = L - l < PANEL ? L - l : PANEL, inputs = n_in - i < PANEL_INPUTS ? n_in - i : PANEL_INPUTS;
            uint32_t o = 0;
            fill_panel(panel, x + (size_t)i * L + l, inputs, L, lanes);
            for (; o + ROWS <= n_out; o += ROWS)
                panel_block(dw + o * ldw + i, ldw, dz + (size_t)o * L + l, L, panel, lanes, inputs, ROWS);
            for (; o < n_out; o++)
                panel_block(dw + o * ldw + i, ldw, dz + (size_t)o * L + l, L, panel, lanes, inputs, 1);
        }
}

#endif
