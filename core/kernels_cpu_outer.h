/* kernels_cpu_outer.h - weight gradients of narrow layers: sums over lanes of products of two rows. A part of
 * kernels_cpu_lanes.c: included there and nowhere else, so that it is compiled for each instruction set.
 *
 * A block of as many weights as a register has lanes is summed along the lanes, a register for each weight; the
 * registers are then added up crosswise, so that each lane of one register is one weight's sum. */
#ifndef EBM_CORE_KERNELS_CPU_OUTER_H
#define EBM_CORE_KERNELS_CPU_OUTER_H

#include "core/lanes.h"

#define OUTER_ROWS (WIDTH > 4 ? 4 : 2)
#define OUTER_COLUMNS (WIDTH / OUTER_ROWS)

/* Lane l: lane at[l] of a, or at[l] - WIDTH of b. */
static inline __attribute__((always_inline)) vec vec_shuffle(vec a, vec b, vec_ints at)
{
#if __has_builtin(__builtin_shuffle)
    return __builtin_shuffle(a, b, at);
#else /* clang: for the fuzzers, so slow is fine */
    vec to;
    for (int l = 0; l < WIDTH; l++)
        to[l] = at[l] < WIDTH ? a[at[l]] : b[at[l] - WIDTH];
    return to;
#endif
}

/* sums[i], i < n: lane l the sum of lanes l and l ^ n of sums[i] where l has not the bit n, else of sums[i + n]. */
static inline __attribute__((always_inline)) void fold(vec *sums, int n)
{
    vec_ints own, other;
#pragma GCC unroll 16
    for (int l = 0; l < WIDTH; l++) {
        int from_second = (l & n) != 0 ? WIDTH : 0;
        own[l] = l + from_second;
        other[l] = (l ^ n) + from_second;
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        sums[i] = vec_shuffle(sums[i], sums[i + n], own) + vec_shuffle(sums[i], sums[i + n], other);
}

/* Lane l: the sum of sums[l]. */
static inline __attribute__((always_inline)) vec sum_each(vec sums[WIDTH])
{
#if WIDTH > 8
    fold(sums, 8);
#endif
#if WIDTH > 4
    fold(sums, 4);
#endif
    fold(sums, 2);
    fold(sums, 1);
    return sums[0];
}

/* dw (rows, columns; stride ldw) += dz x^T, rows and columns at most those of a block. */
static inline void outer_block(float *dw, size_t ldw, const float *dz, const float *x, uint32_t rows, uint32_t columns,
                               uint32_t L)
{
    const float *row[OUTER_ROWS], *column[OUTER_COLUMNS]; /* what is beyond the last one is summed for nothing */
    vec sums[WIDTH] = {{0}};
    for (uint32_t a = 0; a < OUTER_ROWS; a++)
        row[a] = dz + (size_t)(a < rows ? a : 0) * L;
    for (uint32_t b = 0; b < OUTER_COLUMNS; b++)
        column[b] = x + (size_t)(b < columns ? b : 0) * L;
    for (uint32_t l = 0; l < L; l += WIDTH)
        for (int a = 0; a < OUTER_ROWS; a++)
            for (int b = 0; b < OUTER_COLUMNS; b++)
                sums[a * OUTER_COLUMNS + b] += vec_load(row[a] + l) * vec_load(column[b] + l);
    float each[WIDTH];
    vec_store(each, sum_each(sums));
    for (uint32_t a = 0; a < rows; a++)
        for (uint32_t b = 0; b < columns; b++)
            dw[a * ldw + b] += each[a * OUTER_COLUMNS + b];
}

static uint32_t at_most(uint32_t n, uint32_t most)
{
    return n < most ? n : most;
}

/* dw (n_out, n_in; stride ldw) += dz x^T */
static void outer(float *dw, size_t ldw, const float *dz, const float *x, uint32_t n_out, uint32_t n_in, uint32_t L)
{
    for (uint32_t o = 0; o < n_out; o += OUTER_ROWS)
        for (uint32_t i = 0; i < n_in; i += OUTER_COLUMNS)
            outer_block(dw + o * ldw + i, ldw, dz + (size_t)o * L, x + (size_t)i * L, at_most(n_out - o, OUTER_ROWS),
                        at_most(n_in - i, OUTER_COLUMNS), L);
}

/* db (n) += sums over lanes of dz (n, L) */
static void add_row_sums(float *db, const float *dz, uint32_t n, uint32_t L)
{
    for (uint32_t o = 0; o < n; o += WIDTH) {
        vec sums[WIDTH] = {{0}};
        float each[WIDTH];
        for (uint32_t j = 0; j < at_most(n - o, WIDTH); j++)
            for (uint32_t l = 0; l < L; l += WIDTH)
                sums[j] += vec_load(dz + (size_t)(o + j) * L + l);
        vec_store(each, sum_each(sums));
        for (uint32_t j = 0; j < at_most(n - o, WIDTH); j++)
            db[o + j] += each[j];
    }
}

#endif
