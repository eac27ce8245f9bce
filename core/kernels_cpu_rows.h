/* kernels_cpu_rows.h - the part of kernels_cpu_lanes.c for rows of units, which the knots of several energy layers are
 * (exact_rows.c): units in lanes here, for a row is the smallest that there is. */
#ifndef EBM_CORE_KERNELS_CPU_ROWS_H
#define EBM_CORE_KERNELS_CPU_ROWS_H

#include "core/kernels.h"
#include "core/lanes.h"

#define ROWS_AT_ONCE 4u
#define ROW_VECTORS (EBM_LANES / WIDTH)

/* EBM_LANES outputs of `rows` rows. */
static inline __attribute__((always_inline)) void rows_block(float *out, const float *w, const float *a, size_t lda,
                                                             uint32_t rows, uint32_t n_in, uint32_t O)
{
    vec sums[ROWS_AT_ONCE][ROW_VECTORS];
    for (uint32_t p = 0; p < rows; p++)
        for (uint32_t v = 0; v < ROW_VECTORS; v++)
            sums[p][v] = vec_load(out + (size_t)p * O + v * WIDTH);
    for (uint32_t i = 0; i < n_in; i++)
        for (uint32_t v = 0; v < ROW_VECTORS; v++) {
            vec weights = vec_load(w + (size_t)i * O + v * WIDTH);
            for (uint32_t p = 0; p < rows; p++)
                sums[p][v] += a[p * lda + i] * weights;
        }
    for (uint32_t p = 0; p < rows; p++)
        for (uint32_t v = 0; v < ROW_VECTORS; v++)
            vec_store(out + (size_t)p * O + v * WIDTH, sums[p][v]);
}

static void rows_product(float *out, const float *w, const float *a, size_t lda, uint32_t n, uint32_t n_in, uint32_t O)
{
    for (uint32_t p = 0, rows; p < n; p += rows) {
        rows = WIDTH > 4 && n - p >= ROWS_AT_ONCE ? ROWS_AT_ONCE : 1;
        for (uint32_t o = 0; o < O; o += EBM_LANES)
            if (rows > 1)
                rows_block(out + (size_t)p * O + o, w + o, a + p * lda, lda, ROWS_AT_ONCE, n_in, O);
            else
                rows_block(out + (size_t)p * O + o, w + o, a + p * lda, lda, 1, n_in, O);
    }
}

static void rows_signs(uint16_t *signs, const float *z, uint32_t n, uint32_t O)
{
    for (size_t i = 0; i < (size_t)(n - 1) * O; i += EBM_LANES) {
        uint32_t bits = 0;
        for (uint32_t v = 0; v < ROW_VECTORS; v++) {
            vec_words changed = (vec_words)vec_load(z + i + v * WIDTH) ^ (vec_words)vec_load(z + i + O + v * WIDTH);
            bits |= vec_bits(vec_reaches(changed, 0x80000000u - (vec_words){0})) << (v * WIDTH);
        }
        signs[i / EBM_LANES] = (uint16_t)bits;
    }
}

/* In pairs, so that few sums wait for each other. */
static inline double row_total(const vec_doubles sums[2])
{
    double total[WIDTH / 2];
    vec_doubles both = sums[0] + sums[1];
    memcpy(total, &both, sizeof total);
    for (uint32_t part = WIDTH / 4; part > 0; part /= 2)
        for (uint32_t i = 0; i < part; i++)
            total[i] += total[i + part];
    return total[0];
}

static void rows_output(double *f, const float *w, const float *z, const float *v, bool is_relu, uint32_t n, uint32_t O)
{
    for (uint32_t p = 0; p < n; p++, z += O) {
        vec_doubles sums[2] = {0};
        for (uint32_t o = 0; o < O; o += WIDTH) {
            vec a = vec_load(z + o);
            if (is_relu)
                a = vec_max(vec_all(0.0f), a); /* what is no number stays */
            if (v != NULL)
                a += vec_load(v + (size_t)p * O + o);
            a *= vec_load(w + o);
            float products[WIDTH];
            vec_store(products, a);
            for (int part = 0; part < 2; part++)
                sums[part] += vec_load_doubles(products + part * WIDTH / 2);
        }
        f[p] = row_total(sums);
    }
}

#endif
