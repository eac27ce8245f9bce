/* kernels_cpu_outer.h - weight gradients of narrow layers: sums over lanes of products of two rows. A part of
 * kernels_cpu_lanes.c: included there and nowhere else, so that it is compiled for each instruction set.
 *
 * A block of weights is summed along the lanes, a register for each weight; the registers are then added up crosswise,
 * so that each lane of one register is one weight's sum. */
#ifndef EBM_CORE_KERNELS_CPU_OUTER_H
#define EBM_CORE_KERNELS_CPU_OUTER_H

#include "core/lanes.h"

/* A block is one weight high or wide, or so many, whichever wastes the least: what is beyond the layer's last output or
 * input is summed for nothing. 25 sums fit into the 32 registers of AVX-512, 10 into the 16 of AVX2. */
#if WIDTH == 16
#define OUTER_ROWS 4
#define OUTER_MORE_ROWS 5
#define OUTER_COLUMNS 4
#define OUTER_MORE_COLUMNS 5
#elif WIDTH == 8
#define OUTER_ROWS 4
#define OUTER_MORE_ROWS 5
#define OUTER_COLUMNS 2
#define OUTER_MORE_COLUMNS 2
#else
#define OUTER_ROWS 2
#define OUTER_MORE_ROWS 3
#define OUTER_COLUMNS 2
#define OUTER_MORE_COLUMNS 2
#endif
#define ROW_SUMS 8    /* rows that are summed side by side, or half of them */
#define OUTER_MOST 32 /* sums, in whole registers */

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

/* sums[i], i < n: lane l the sum of lanes l and l ^ n of sums[i] where l has not the bit n, else of sums[i + n]; there
 * are `count` of them. */
static inline __attribute__((always_inline)) void fold(vec *sums, int n, int count)
{
    const vec_ints lane = VEC_NUMBERS, from_second = ((lane & n) != 0) & WIDTH;
    const vec_ints own = lane | from_second, other = (lane ^ n) | from_second;
#pragma GCC unroll 8
    for (int i = 0; i < n && i < count; i++) {
        vec second = i + n < count ? sums[i + n] : sums[i];
        sums[i] = vec_shuffle(sums[i], second, own) + vec_shuffle(sums[i], second, other);
    }
}

/* Lane l: the sum of sums[l], for l < count. */
static inline __attribute__((always_inline)) vec sum_each(vec *sums, int count)
{
#if WIDTH > 8
    fold(sums, 8, count);
#endif
#if WIDTH > 4
    fold(sums, 4, count);
#endif
    fold(sums, 2, count);
    fold(sums, 1, count);
    return sums[0];
}

/* Where a block lies. x_stride is L, or 0 where all inputs are the same row. */
struct outer {
    float *dw;
    size_t ldw;
    const float *dz, *x;
    size_t x_stride;
    uint32_t n_out, n_in, L;
};

/* dw (n_out, n_in; stride ldw) += dz x^T, n_out at most `rows` and n_in at most `columns`. */
static inline __attribute__((always_inline)) void outer_block(const struct outer *o, int rows, int columns)
{
    const float *row[OUTER_MORE_ROWS], *column[OUTER_MORE_COLUMNS];
    vec sums[OUTER_MOST];
    float each[OUTER_MOST];
    for (int a = 0; a < rows; a++)
        row[a] = o->dz + ((uint32_t)a < o->n_out ? (size_t)a : 0) * o->L;
    for (int b = 0; b < columns; b++)
        column[b] = o->x + ((uint32_t)b < o->n_in ? (size_t)b : 0) * o->x_stride;
#pragma GCC unroll 32
    for (int i = 0; i < rows * columns; i++)
        sums[i] = (vec){0};
    for (uint32_t l = 0; l < o->L; l += WIDTH)
        for (int a = 0; a < rows; a++)
            for (int b = 0; b < columns; b++)
                sums[a * columns + b] += vec_load(row[a] + l) * vec_load(column[b] + l);
#pragma GCC unroll 4
    for (int i = 0; i < rows * columns; i += WIDTH)
        vec_store(each + i, sum_each(sums + i, rows * columns - i < WIDTH ? rows * columns - i : WIDTH));
    for (uint32_t a = 0; a < (uint32_t)rows && a < o->n_out; a++)
        for (uint32_t b = 0; b < (uint32_t)columns && b < o->n_in; b++)
            o->dw[a * o->ldw + b] += each[a * (uint32_t)columns + b];
}

/* How many of n are done next. */
static uint32_t outer_step(uint32_t n, uint32_t usual, uint32_t more)
{
    return n == 1 ? 1 : n % more == 0 && n % usual != 0 ? more : usual;
}

/* All columns of some rows. */
static inline __attribute__((always_inline)) void outer_rows(struct outer o, int rows)
{
    for (uint32_t left = o.n_in, step; left > 0; left -= left < step ? left : step) {
        step = outer_step(left, OUTER_COLUMNS, OUTER_MORE_COLUMNS);
        o.n_in = left;
        if (step == 1)
            outer_block(&o, rows, 1);
        else if (step == OUTER_COLUMNS)
            outer_block(&o, rows, OUTER_COLUMNS);
        else
            outer_block(&o, rows, OUTER_MORE_COLUMNS);
        o.dw += step;
        o.x += step * o.x_stride;
    }
}

/* dw (n_out, n_in; stride ldw) += dz x^T */
static void outer(struct outer o)
{
    for (uint32_t left = o.n_out, step; left > 0; left -= left < step ? left : step) {
        step = outer_step(left, OUTER_ROWS, OUTER_MORE_ROWS);
        o.n_out = left;
        if (step == 1)
            outer_rows(o, 1);
        else if (step == OUTER_ROWS)
            outer_rows(o, OUTER_ROWS);
        else
            outer_rows(o, OUTER_MORE_ROWS);
        o.dw += step * o.ldw;
        o.dz += (size_t)step * o.L;
    }
}

/* db (n) += sums over lanes of dz (n, L), n at most `rows` */
static inline __attribute__((always_inline)) void row_sums_block(float *db, const float *dz, uint32_t n, uint32_t L,
                                                                 int rows)
{
    const float *row[ROW_SUMS];
    vec sums[ROW_SUMS];
    float each[ROW_SUMS < WIDTH ? WIDTH : ROW_SUMS];
    for (int a = 0; a < rows; a++)
        row[a] = dz + ((uint32_t)a < n ? (size_t)a : 0) * L;
#pragma GCC unroll 16
    for (int a = 0; a < rows; a++)
        sums[a] = (vec){0};
    for (uint32_t l = 0; l < L; l += WIDTH)
        for (int a = 0; a < rows; a++)
            sums[a] += vec_load(row[a] + l);
#pragma GCC unroll 4
    for (int a = 0; a < rows; a += WIDTH)
        vec_store(each + a, sum_each(sums + a, rows - a < WIDTH ? rows - a : WIDTH));
    for (uint32_t a = 0; a < n && a < (uint32_t)rows; a++)
        db[a] += each[a];
}

/* db (n) += sums over lanes of dz (n, L) */
static void add_row_sums(float *db, const float *dz, uint32_t n, uint32_t L)
{
    for (uint32_t o = 0, step; o < n; o += step) {
        step = n - o > ROW_SUMS / 2 ? ROW_SUMS : ROW_SUMS / 2;
        if (step == ROW_SUMS)
            row_sums_block(db + o, dz + (size_t)o * L, n - o, L, ROW_SUMS);
        else
            row_sums_block(db + o, dz + (size_t)o * L, n - o, L, ROW_SUMS / 2);
    }
}

#endif
