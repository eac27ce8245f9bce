/* kernels_cpu_images.h - the part of kernels_cpu_lanes.c for images in lanes: a number of each image of a group at the
 * same place side by side, so that padding is places that are not gone to, and nothing is ever shuffled.
 *
 * A convolution keeps the sums of WINDOW_OUTPUTS channels at one place, for WINDOW_VECTORS vectors of images, in
 * registers; weights are broadcast as they lie. */
#ifndef EBM_CORE_KERNELS_CPU_IMAGES_H
#define EBM_CORE_KERNELS_CPU_IMAGES_H

#include "core/kernels.h"
#include "core/lanes.h"

#define WINDOW_OUTPUTS (WIDTH > 8 ? 8 : 4)
#define WINDOW_VECTORS 2

/* One place of the output: what of the kernel falls on inputs there. */
struct window {
    const float *w, *in; /* of the first tap and the place that it falls on */
    size_t row, plane;   /* weights of an output, numbers of an input channel */
    size_t line;         /* numbers of an input row */
    uint32_t n_in, kernel, rows, columns, L;
};

static inline __attribute__((always_inline)) void window_block(float *out, size_t out_plane, const struct window *t,
                                                               int outs, int vecs)
{
    vec sum[WINDOW_OUTPUTS][WINDOW_VECTORS];
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < vecs; v++)
            sum[o][v] = (vec){0};
    for (uint32_t i = 0; i < t->n_in; i++)
        for (uint32_t ky = 0; ky < t->rows; ky++) {
            const float *w = t->w + ((size_t)i * t->kernel + ky) * t->kernel;
            const float *in = t->in + i * t->plane + ky * t->line;
            for (uint32_t kx = 0; kx < t->columns; kx++, w++, in += t->L)
                for (int v = 0; v < vecs; v++) {
                    vec lanes = vec_load(in + v * WIDTH);
                    for (int o = 0; o < outs; o++)
                        sum[o][v] += w[(size_t)o * t->row] * lanes;
                }
        }
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < vecs; v++)
            vec_store(out + (size_t)o * out_plane + v * WIDTH, sum[o][v]);
}

/* All lanes of one place, for `outs` channels. */
static inline __attribute__((always_inline)) void window_outs(float *out, size_t out_plane, struct window t, int outs)
{
    uint32_t l = 0;
    for (; l + WINDOW_VECTORS * WIDTH <= t.L; l += WINDOW_VECTORS * WIDTH, t.in += WINDOW_VECTORS * WIDTH)
        window_block(out + l, out_plane, &t, outs, WINDOW_VECTORS);
    for (; l < t.L; l += WIDTH, t.in += WIDTH)
        window_block(out + l, out_plane, &t, outs, 1);
}

static void convolve_outs(float *out, const struct ebm_image_op *op, const float *w, const float *in, uint32_t outs,
                          uint32_t L)
{
    size_t out_plane = (size_t)op->to.height * op->to.width * L, line = (size_t)op->from.width * L;
    struct window t = {.row = (size_t)op->from.channels * op->kernel * op->kernel,
                       .plane = op->from.height * line,
                       .line = line,
                       .n_in = op->from.channels,
                       .kernel = op->kernel,
                       .L = L};
    for (uint32_t y = 0; y < op->to.height; y++)
        for (uint32_t x = 0; x < op->to.width; x++, out += L) {
            struct ebm_taps down = ebm_taps_of(op, y, op->from.height), across = ebm_taps_of(op, x, op->from.width);
            t.w = w + (size_t)down.first * op->kernel + across.first;
            t.in = in + down.in * line + (size_t)across.in * L;
            t.rows = down.end - down.first;
            t.columns = across.end - across.first;
            if (outs == WINDOW_OUTPUTS)
                window_outs(out, out_plane, t, WINDOW_OUTPUTS);
            else
                window_outs(out, out_plane, t, 1);
        }
}

static void convolve(float *out, const struct ebm_image_op *op, const float *w, const float *in, uint32_t n_out,
                     uint32_t L)
{
    size_t weights = (size_t)op->from.channels * op->kernel * op->kernel;
    size_t plane = (size_t)op->to.height * op->to.width * L;
    for (uint32_t o = 0, outs; o < n_out; o += outs) {
        outs = n_out - o >= WINDOW_OUTPUTS ? WINDOW_OUTPUTS : 1;
        convolve_outs(out + o * plane, op, w + o * weights, in, outs, L);
    }
}

static void pool(float *out, const struct ebm_image_op *op, const float *in, uint32_t n, uint32_t L)
{
    size_t plane = (size_t)op->from.height * op->from.width * L;
    for (uint32_t c = 0; c < n; c++, in += plane)
        for (uint32_t y = 0; y < op->to.height; y++)
            for (uint32_t x = 0; x < op->to.width; x++, out += L) {
                struct ebm_taps down = ebm_taps_of(op, y, op->from.height), across = ebm_taps_of(op, x, op->from.width);
                for (uint32_t l = 0; l < L; l += WIDTH) {
                    vec largest = vec_all(-INFINITY);
                    for (uint32_t ky = 0; ky < down.end - down.first; ky++)
                        for (uint32_t kx = 0; kx < across.end - across.first; kx++) {
                            size_t row = down.in + ky, place = row * op->from.width + across.in + kx;
                            vec value = vec_load(in + place * L + l);
                            largest = vec_select(vec_is_equal(largest, largest), vec_max(largest, value), largest);
                        }
                    vec_store(out + l, largest);
                }
            }
}

/* B d, and A m, of one row or column (kernels.h). */
static inline void tile_mix(vec to[4], vec d0, vec d1, vec d2, vec d3)
{
    to[0] = d0 - d2;
    to[1] = d1 + d2;
    to[2] = d2 - d1;
    to[3] = d1 - d3;
}

static inline void tile_unmix(vec to[2], vec m0, vec m1, vec m2, vec m3)
{
    to[0] = m0 + m1 + m2;
    to[1] = m1 - m2 - m3;
}

/* The 4 x 4 that begin at row y and column x, which wrap where they are negative; 0 outside. */
static inline void tile_load(vec d[4][4], const float *in, const struct ebm_shape *shape, uint32_t y, uint32_t x,
                             uint32_t L)
{
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t j = 0; j < 4; j++) {
            bool is_inside = y + i < shape->height && x + j < shape->width;
            d[i][j] = is_inside ? vec_load(in + ((size_t)(y + i) * shape->width + (x + j)) * L) : (vec){0};
        }
}

static void tiles_in(float *v, const float *in, const struct ebm_shape *shape, const struct ebm_tiles *tiles,
                     uint32_t L)
{
    size_t points = (size_t)shape->channels * tiles->n * L, plane = (size_t)shape->height * shape->width * L;
    for (uint32_t c = 0; c < shape->channels; c++, in += plane)
        for (uint32_t t = 0; t < tiles->n; t++)
            for (uint32_t l = 0; l < L; l += WIDTH, v += WIDTH) {
                vec d[4][4], mixed[4][4];
                tile_load(d, in + l, shape, 2 * tiles->row - 1, 2 * (tiles->first + t) - 1, L);
                for (int i = 0; i < 4; i++)
                    tile_mix(mixed[i], d[i][0], d[i][1], d[i][2], d[i][3]);
                for (int j = 0; j < 4; j++) {
                    vec down[4];
                    tile_mix(down, mixed[0][j], mixed[1][j], mixed[2][j], mixed[3][j]);
                    for (size_t i = 0; i < 4; i++)
                        vec_store(v + (4 * i + (size_t)j) * points, down[i]);
                }
            }
}

static void tiles_out(float *out, const float *m, const struct ebm_shape *shape, const struct ebm_tiles *tiles,
                      uint32_t L)
{
    size_t points = (size_t)shape->channels * tiles->n * L, plane = (size_t)shape->height * shape->width * L;
    for (uint32_t c = 0; c < shape->channels; c++, out += plane)
        for (uint32_t t = 0; t < tiles->n; t++)
            for (uint32_t l = 0; l < L; l += WIDTH, m += WIDTH) {
                uint32_t y = 2 * tiles->row, x = 2 * (tiles->first + t);
                vec across[4][2], down[2][2];
                for (size_t i = 0; i < 4; i++)
                    tile_unmix(across[i], vec_load(m + 4 * i * points), vec_load(m + (4 * i + 1) * points),
                               vec_load(m + (4 * i + 2) * points), vec_load(m + (4 * i + 3) * points));
                for (int j = 0; j < 2; j++)
                    tile_unmix(down[j], across[0][j], across[1][j], across[2][j], across[3][j]);
                for (uint32_t k = 0; k < 4; k++)
                    if (y + k / 2 < shape->height && x + k % 2 < shape->width)
                        vec_store(out + ((size_t)(y + k / 2) * shape->width + x + k % 2) * L + l, down[k % 2][k / 2]);
            }
}

static void sum_places(double *sums, double *squares, const float *z, size_t places, uint32_t L)
{
    for (uint32_t l = 0; l < L; l += WIDTH / 2) {
        vec_doubles sum = {0}, square = {0};
        for (size_t p = 0; p < places; p++) {
            vec_doubles value = vec_load_doubles(z + p * L + l);
            sum += value;
            square += value * value;
        }
        for (uint32_t i = 0; i < WIDTH / 2; i++) {
            sums[l + i] = sum[i];
            squares[l + i] = square[i];
        }
    }
}

static void affine(float *a, const float *add, float factor, float offset, bool is_relu, size_t n)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        vec value = vec_load(a + i) * factor + offset;
        if (add != NULL)
            value += vec_load(add + i);
        vec_store(a + i, is_relu ? vec_max(vec_all(0.0f), value) : value);
    }
}

#endif
