/* kernels_cpu_conv.h - the part of kernels_cpu_lanes.c for images with channels inner: output channels in lanes.
 *
 * A product keeps the sums of CONV_ROWS rows and CONV_PANEL outputs in registers; a number of a row is broadcast. What
 * becomes of a row depends neither on how many there are nor on where it stands among them. */
#ifndef EBM_CORE_KERNELS_CPU_CONV_H
#define EBM_CORE_KERNELS_CPU_CONV_H

#include <string.h>

#include "core/kernels.h"
#include "core/lanes.h"

#if WIDTH == 16 || defined(__aarch64__)
#define CONV_ROWS 12u /* of 32 registers */
#else
#define CONV_ROWS 6u /* of 16 */
#endif
#define CONV_PANEL (2 * WIDTH)
#define LINE_FLOATS 16 /* of cache */

/* Weights come from a cache further away than what fetches ahead of itself looks: while rows go through one panel, the
 * next one is fetched, `step` numbers of it for each number of a row. */
struct ahead {
    const float *from;
    size_t step;
};

static inline __attribute__((always_inline)) void panel_rows(float *out, size_t ldo, const struct ebm_rows *of,
                                                             const float *a, const float *w, struct ahead ahead,
                                                             uint32_t rows)
{
    const size_t next = of->next;
    vec sums[CONV_ROWS][2];
    for (uint32_t r = 0; r < rows; r++)
        sums[r][0] = sums[r][1] = (vec){0};
    for (uint32_t run = 0; run < of->runs; run++, a += of->step)
        for (uint32_t i = 0; i < of->run; i++, w += CONV_PANEL) {
            __builtin_prefetch(ahead.from, 0, 2);
            __builtin_prefetch(ahead.from + LINE_FLOATS, 0, 2);
            ahead.from += ahead.step;
            vec first = vec_load(w), second = vec_load(w + WIDTH);
            for (uint32_t r = 0; r < rows; r++) {
                sums[r][0] += a[r * next + i] * first;
                sums[r][1] += a[r * next + i] * second;
            }
        }
    for (uint32_t r = 0; r < rows; r++) {
        vec_store(out + r * ldo, sums[r][0]);
        vec_store(out + r * ldo + WIDTH, sums[r][1]);
    }
}

static void panel_product(float *out, size_t ldo, const struct ebm_rows *of, const float *a, const float *w,
                          struct ahead ahead, uint32_t rows)
{
    switch (rows) {
#define ROWS_CASE(n)                                                                                                   \
    case n:                                                                                                            \
        panel_rows(out, ldo, of, a, w, ahead, n);                                                                      \
        break;
        ROWS_CASE(1)
        ROWS_CASE(2)
        ROWS_CASE(3)
        ROWS_CASE(4)
        ROWS_CASE(5)
        ROWS_CASE(6)
#if CONV_ROWS > 6
        ROWS_CASE(7)
        ROWS_CASE(8)
        ROWS_CASE(9)
        ROWS_CASE(10)
        ROWS_CASE(11)
        ROWS_CASE(12)
#endif
#undef ROWS_CASE
    default:
        break;
    }
}

/* Blocks of rows as equal as they can be: few rows leave registers, and the units that multiply, idle. */
static void panels_product(float *out, size_t ldo, const struct ebm_rows *rows, const float *w, uint32_t n_panels)
{
    const size_t panel = (size_t)rows->runs * rows->run * CONV_PANEL;
    const uint32_t blocks = (rows->n + CONV_ROWS - 1) / CONV_ROWS;
    for (uint32_t p = 0; p < n_panels; p++, w += panel, out += CONV_PANEL)
        for (uint32_t first = 0, block = 0, now; block < blocks; first += now, block++) {
            now = (rows->n - first + blocks - block - 1) / (blocks - block);
            const struct ahead ahead = {w + panel + panel / blocks * block, CONV_PANEL / blocks + 1};
            panel_product(out + first * ldo, ldo, rows, rows->first + first * rows->next, w, ahead, now);
        }
}

/* The first n, the rest 0. */
static inline __attribute__((always_inline)) vec load_some(const float *from, uint32_t n)
{
    vec v = {0};
    if (n == WIDTH)
        return vec_load(from);
    memcpy(&v, from, n * sizeof *from);
    return v;
}

static inline __attribute__((always_inline)) void store_some(float *to, vec v, uint32_t n)
{
    if (n == WIDTH)
        vec_store(to, v);
    else
        memcpy(to, &v, n * sizeof *to);
}

/* n numbers of a place, of channel c on. */
static inline __attribute__((always_inline)) void finish_some(float *out, vec z, const struct ebm_finish *finish,
                                                              uint32_t c, uint32_t n)
{
    z += load_some(finish->bias + c, n);
    if (finish->adds)
        z += load_some(out + c, n);
    store_some(out + c, finish->has_relu ? vec_max(vec_all(0.0f), z) : z, n);
}

static void finish_rows(float *out, const float *z, size_t ldz, const struct ebm_finish *finish, size_t n, uint32_t C)
{
    for (size_t i = 0; i < n; i++, out += C, z += ldz) {
        uint32_t c = 0;
        for (; c + WIDTH <= C; c += WIDTH)
            finish_some(out, vec_load(z + c), finish, c, WIDTH);
        if (c < C)
            finish_some(out, vec_load(z + c), finish, c, C - c);
    }
}

/* B d, A m and G w of kernels.h, of one line: numbers `step` apart. */
#define TILE_A 0.707106781f
#define TILE_B 1.41421356f

static inline __attribute__((always_inline)) void line_in(vec *to, const vec *d, size_t step, enum ebm_tile tile)
{
    if (tile == EBM_TILE_TWO) {
        vec second = d[step], third = d[2 * step];
        to[0] = d[0] - third;
        to[step] = second + third;
        to[2 * step] = third - second;
        to[3 * step] = second - d[3 * step];
    } else if (tile == EBM_TILE_FOUR) {
        vec e = d[4 * step] - 2.0f * d[2 * step], f = TILE_A * (d[3 * step] - 2.0f * d[step]);
        vec g = d[4 * step] - 0.5f * d[2 * step], h = TILE_B * (d[3 * step] - 0.5f * d[step]);
        vec first = d[0] - 2.5f * d[2 * step] + d[4 * step], last = d[step] - 2.5f * d[3 * step] + d[5 * step];
        to[0] = first;
        to[step] = e + f;
        to[2 * step] = e - f;
        to[3 * step] = g + h;
        to[4 * step] = g - h;
        to[5 * step] = last;
    } else {
        vec first = d[0], second = d[step];
        to[0] = first + second;
        to[step] = second;
        to[2 * step] = first;
    }
}

static inline __attribute__((always_inline)) void line_out(vec *y, const vec *m, size_t step, enum ebm_tile tile)
{
    if (tile == EBM_TILE_TWO) {
        y[0] = m[0] + m[step] + m[2 * step];
        y[step] = m[step] - m[2 * step] - m[3 * step];
    } else if (tile == EBM_TILE_FOUR) {
        vec s = m[step] + m[2 * step], u = TILE_A * (m[step] - m[2 * step]);
        vec t = m[3 * step] + m[4 * step], v = TILE_B * (m[3 * step] - m[4 * step]), last = m[5 * step];
        y[0] = m[0] + s + t;
        y[step] = u + v;
        y[2 * step] = 0.5f * s + 2.0f * t;
        y[3 * step] = 0.5f * u + 2.0f * v + last;
    } else {
        vec both = m[0];
        y[0] = both + m[step];
        y[step] = both + m[2 * step];
    }
}

static inline __attribute__((always_inline)) void line_weights(vec *to, const vec *w, size_t to_step, size_t step,
                                                               enum ebm_tile tile)
{
    vec first = w[0], second = w[step], third = w[2 * step];
    if (tile == EBM_TILE_TWO) {
        to[0] = first;
        to[to_step] = 0.5f * (first + second + third);
        to[2 * to_step] = 0.5f * (first - second + third);
        to[3 * to_step] = third;
    } else if (tile == EBM_TILE_FOUR) {
        vec near = (-2.0f / 3.0f) * (first + 0.5f * third), far = (1.0f / 6.0f) * (first + 2.0f * third);
        to[0] = first;
        to[to_step] = near - (TILE_A * 2.0f / 3.0f) * second;
        to[2 * to_step] = near + (TILE_A * 2.0f / 3.0f) * second;
        to[3 * to_step] = far + (TILE_B / 6.0f) * second;
        to[4 * to_step] = far - (TILE_B / 6.0f) * second;
        to[5 * to_step] = third;
    } else {
        to[0] = second;
        to[to_step] = third - second;
        to[2 * to_step] = first - second;
    }
}

/* f(..., tile) compiled for each kind of tile, whose sizes it then knows. */
#define FOR_TILE(tile, f, ...)                                                                                         \
    ((tile) == EBM_TILE_TWO    ? f(__VA_ARGS__, EBM_TILE_TWO)                                                          \
     : (tile) == EBM_TILE_FOUR ? f(__VA_ARGS__, EBM_TILE_FOUR)                                                         \
                               : f(__VA_ARGS__, EBM_TILE_WHOLE))

/* n channels from c on. */
static inline __attribute__((always_inline)) void tile_in_some(float *v, size_t stride, const float *const *at,
                                                               uint32_t c, uint32_t n, enum ebm_tile tile)
{
    const struct ebm_tile_size size = ebm_tile_size(tile);
    vec d[6 * 6], mixed[6 * 6];
    for (uint32_t i = 0; i < size.in; i++)
        for (uint32_t j = 0; j < size.in; j++)
            d[i * 6 + j] = load_some(at[i * size.in + j] + c, n);
    for (uint32_t i = 0; i < size.in; i++)
        line_in(mixed + i * 6, d + i * 6, 1, tile);
    for (uint32_t j = 0; j < size.points; j++)
        line_in(mixed + j, mixed + j, 6, tile);
    for (uint32_t i = 0; i < size.points; i++)
        for (uint32_t j = 0; j < size.points; j++)
            vec_store(v + (i * size.points + j) * stride + c, mixed[i * 6 + j]);
}

static inline __attribute__((always_inline)) void tile_in_of(float *v, size_t stride, const float *const *at,
                                                             uint32_t C, enum ebm_tile tile)
{
    uint32_t c = 0;
    for (; c + WIDTH <= C; c += WIDTH)
        tile_in_some(v, stride, at, c, WIDTH, tile);
    if (c < C)
        tile_in_some(v, stride, at, c, C - c, tile);
}

static void tile_in(float *v, size_t stride, const float *const *at, uint32_t C, enum ebm_tile tile)
{
    FOR_TILE(tile, tile_in_of, v, stride, at, C);
}

static inline __attribute__((always_inline)) void tile_out_some(float *const *to, const float *m, size_t stride,
                                                                const struct ebm_finish *finish, uint32_t c, uint32_t n,
                                                                enum ebm_tile tile)
{
    const struct ebm_tile_size size = ebm_tile_size(tile);
    vec mixed[6 * 6];
    for (uint32_t i = 0; i < size.points; i++)
        for (uint32_t j = 0; j < size.points; j++)
            mixed[i * 6 + j] = vec_load(m + (i * size.points + j) * stride + c);
    for (uint32_t i = 0; i < size.points; i++)
        line_out(mixed + i * 6, mixed + i * 6, 1, tile);
    for (uint32_t j = 0; j < size.out; j++)
        line_out(mixed + j, mixed + j, 6, tile);
    for (uint32_t i = 0; i < size.out; i++)
        for (uint32_t j = 0; j < size.out; j++)
            if (to[i * size.out + j] != NULL)
                finish_some(to[i * size.out + j], mixed[i * 6 + j], finish, c, n);
}

static inline __attribute__((always_inline)) void tile_out_of(float *const *to, const float *m, size_t stride,
                                                              const struct ebm_finish *finish, uint32_t C,
                                                              enum ebm_tile tile)
{
    uint32_t c = 0;
    for (; c + WIDTH <= C; c += WIDTH)
        tile_out_some(to, m, stride, finish, c, WIDTH, tile);
    if (c < C)
        tile_out_some(to, m, stride, finish, c, C - c, tile);
}

static void tile_out(float *const *to, const float *m, size_t stride, const struct ebm_finish *finish, uint32_t C,
                     enum ebm_tile tile)
{
    FOR_TILE(tile, tile_out_of, to, m, stride, finish, C);
}

/* WIDTH outputs of one input, of which n are there. */
static inline __attribute__((always_inline)) void weights_some(float *packed, size_t stride,
                                                               const struct ebm_filters *filters, const float *w,
                                                               uint32_t n, enum ebm_tile tile)
{
    const uint32_t points = ebm_tile_size(tile).points;
    vec taps[9], half[6 * 3], mixed[6 * 6];
    for (uint32_t k = 0; k < 9; k++) {
        const float *tap = w + (filters->is_turned ? 8 - k : k);
        float lanes[WIDTH] = {0};
        for (uint32_t l = 0; l < n; l++)
            lanes[l] = tap[l * filters->out];
        taps[k] = vec_load(lanes);
    }
    for (uint32_t j = 0; j < 3; j++)
        line_weights(half + j, taps + j, 3, 3, tile);
    for (uint32_t i = 0; i < points; i++)
        line_weights(mixed + 6 * i, half + 3 * i, 1, 1, tile);
    for (uint32_t i = 0; i < points; i++)
        for (uint32_t j = 0; j < points; j++)
            vec_store(packed + (i * points + j) * stride, mixed[6 * i + j]);
}

static void tile_weights(float *packed, size_t stride, const struct ebm_filters *filters, uint32_t n_out, uint32_t n_in,
                         enum ebm_tile tile)
{
    for (uint32_t i = 0; i < n_in; i++, packed += CONV_PANEL)
        for (uint32_t o = 0; o < CONV_PANEL; o += WIDTH) {
            uint32_t n = n_out > o + WIDTH ? WIDTH : n_out > o ? n_out - o : 0;
            const float *w = filters->w + i * filters->in + o * filters->out;
            FOR_TILE(tile, weights_some, packed + o, stride, filters, w, n);
        }
}

/* ---- pools and norms ---- */

static inline __attribute__((always_inline)) void pool_some(float *out, const struct ebm_image_op *op, const float *in,
                                                            const float *sign, struct ebm_taps down,
                                                            struct ebm_taps across, uint32_t n)
{
    const size_t C = op->to.channels;
    vec_words turn = {0}; /* the smallest is the largest of what is turned around 0 */
    if (sign != NULL)
        turn = (vec_words)load_some(sign, n) & 0x80000000u;
    vec largest = vec_all(-INFINITY);
    for (uint32_t ky = 0; ky < down.end - down.first; ky++)
        for (uint32_t kx = 0; kx < across.end - across.first; kx++) {
            size_t row = down.in + ky, place = row * op->from.width + across.in + kx;
            vec value = (vec)((vec_words)load_some(in + place * C, n) ^ turn);
            largest = vec_select(vec_is_equal(largest, largest), vec_max(largest, value), largest);
        }
    store_some(out, (vec)((vec_words)largest ^ turn), n);
}

static void max_pool(float *out, const struct ebm_image_op *op, const float *in, const float *sign)
{
    const uint32_t C = op->to.channels;
    for (uint32_t y = 0; y < op->to.height; y++)
        for (uint32_t x = 0; x < op->to.width; x++, out += C) {
            struct ebm_taps down = ebm_taps_of(op, y, op->from.height), across = ebm_taps_of(op, x, op->from.width);
            uint32_t c = 0;
            for (; c + WIDTH <= C; c += WIDTH)
                pool_some(out + c, op, in + c, sign != NULL ? sign + c : NULL, down, across, WIDTH);
            if (c < C)
                pool_some(out + c, op, in + c, sign != NULL ? sign + c : NULL, down, across, C - c);
        }
}

#define SUMMED 4 /* vectors of doubles at once */

static inline __attribute__((always_inline)) void sums_some(double *sums, double *squares, const float *z,
                                                            size_t places, uint32_t C, uint32_t vectors)
{
    vec_doubles sum[SUMMED], square[SUMMED];
    memcpy(sum, sums, vectors * sizeof *sum);
    memcpy(square, squares, vectors * sizeof *square);
    for (size_t p = 0; p < places; p++, z += C)
        for (uint32_t v = 0; v < vectors; v++) {
            vec_doubles value = vec_load_doubles(z + v * (WIDTH / 2));
            sum[v] += value;
            square[v] += value * value;
        }
    memcpy(sums, sum, vectors * sizeof *sum);
    memcpy(squares, square, vectors * sizeof *square);
}

static void channel_sums(double *sums, double *squares, const float *z, size_t places, uint32_t C)
{
    const uint32_t step = SUMMED * WIDTH / 2;
    uint32_t c = 0;
    for (; c + step <= C; c += step)
        sums_some(sums + c, squares + c, z + c, places, C, SUMMED);
    for (; c + WIDTH / 2 <= C; c += WIDTH / 2)
        sums_some(sums + c, squares + c, z + c, places, C, 1);
    for (; c < C; c++)
        for (size_t p = 0; p < places; p++) {
            double value = (double)z[p * C + c];
            sums[c] += value;
            squares[c] += value * value;
        }
}

static inline __attribute__((always_inline)) void norm_some(float *a, const float *z, const float *add, vec factor,
                                                            vec offset, bool has_relu, uint32_t n)
{
    vec value = load_some(z, n) * factor + offset;
    if (add != NULL)
        value += load_some(add, n);
    store_some(a, has_relu ? vec_max(vec_all(0.0f), value) : value, n);
}

static void norm_places(float *a, const float *z, const float *add, const struct ebm_norm *norm, size_t places,
                        uint32_t C)
{
    for (size_t p = 0; p < places; p++, a += C, z += C, add = add != NULL ? add + C : NULL) {
        uint32_t c = 0;
        for (; c + WIDTH <= C; c += WIDTH)
            norm_some(a + c, z + c, add != NULL ? add + c : NULL, vec_load(norm->factor + c),
                      vec_load(norm->offset + c), norm->has_relu, WIDTH);
        if (c < C)
            norm_some(a + c, z + c, add != NULL ? add + c : NULL, load_some(norm->factor + c, C - c),
                      load_some(norm->offset + c, C - c), norm->has_relu, C - c);
    }
}

#endif
