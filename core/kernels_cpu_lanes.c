/* kernels_cpu_lanes.c - the fine table with lanes in SIMD registers. Compiled once for each instruction set
 * (EBM_KERNEL_SET names it); kernels_cpu.c chooses at run time.
 *
 *   layers             our own register blocks: BLOCK outputs x PAIR vectors of lanes, weights broadcast; they beat
 *                      OpenBLAS up to about 1024 x 1024, where it takes over
 *   narrow layers      kernels_cpu_narrow.h: with their activation, in one pass
 *   weight gradients   kernels_cpu_outer.h, kernels_cpu_wide.h; of wide layers OpenBLAS (core/blas.h) without AVX-512
 *   draws, mixtures    kernels_cpu_draw.h, kernels_cpu_mixture.h, kernels_cpu_confined.h
 *   tails of weights   kernels_cpu_tail.h
 *   knots              kernels_cpu_knots.h
 *   rows               kernels_cpu_rows.h
 *   images             kernels_cpu_conv.h
 *   everything else    plain loops over lanes with vecmath.h, which the compiler turns into SIMD
 *
 * Every lane gets the same operations in the same order wherever it stands, so bytes do not depend on position. Sums
 * over lanes run in a fixed order. All counts of lanes are multiples of EBM_LANES. */
#include "core/blas.h"
#include "core/kernels.h"
#include "core/kernels_cpu_conv.h"
#include "core/kernels_cpu_draw.h"
#include "core/kernels_cpu_knots.h"
#include "core/kernels_cpu_mixture.h"
#include "core/kernels_cpu_narrow.h"
#include "core/kernels_cpu_outer.h"
#include "core/kernels_cpu_rows.h"
#include "core/kernels_cpu_tail.h"
#include "core/lanes.h"
#if WIDTH > 8
#include "core/kernels_cpu_wide.h"
#endif

#define BLOCK (WIDTH > 8 ? 8 : 4)              /* outputs a register block: as many as there are registers for */
#define PAIR 2                                 /* vectors of lanes a register block */
#define WIDE (WIDTH > 8 ? 1u << 20 : 1u << 19) /* weights of a layer; with more it is left to OpenBLAS */

/* Where the weights no longer stay in cache OpenBLAS's blocking wins (bench/kernels.c). Never on the x side, whose
 * tiles are EBM_LANES wide: a row's bytes must not depend on its place there. */
static bool is_wide(uint32_t n_out, uint32_t n_in, uint32_t L)
{
    return L > EBM_LANES && (uint64_t)n_out * n_in > WIDE;
}

/* out[o][lanes] = init[o] + sum_i w[o * row + i * column] x[i][lanes] for `outs` outputs and `vecs` vectors of lanes */
static inline __attribute__((always_inline)) void block(float *out, const float *w, size_t row, size_t column,
                                                        const float *bias, const float *x, uint32_t n, uint32_t L,
                                                        int outs, int vecs)
{
    vec sum[BLOCK][PAIR];
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < vecs; v++)
            sum[o][v] = (vec){0} + (bias ? bias[o] : 0.0f);
    for (uint32_t i = 0; i < n; i++) {
        for (int v = 0; v < vecs; v++) {
            vec lanes = vec_load(x + (size_t)i * L + v * WIDTH);
            for (int o = 0; o < outs; o++)
                sum[o][v] += w[(size_t)o * row + i * column] * lanes;
        }
    }
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < vecs; v++)
            vec_store(out + (size_t)o * L + v * WIDTH, sum[o][v]);
}

/* All outputs, for `vecs` vectors of lanes. */
static inline __attribute__((always_inline)) void strip(float *out, const float *w, size_t row, size_t column,
                                                        const float *bias, const float *x, uint32_t n_out, uint32_t n,
                                                        uint32_t L, int vecs)
{
    uint32_t o = 0;
    for (; o + BLOCK <= n_out; o += BLOCK)
        block(out + (size_t)o * L, w + o * row, row, column, bias ? bias + o : NULL, x, n, L, BLOCK, vecs);
    for (; BLOCK > 4 && o + 4 <= n_out; o += 4)
        block(out + (size_t)o * L, w + o * row, row, column, bias ? bias + o : NULL, x, n, L, 4, vecs);
    for (; o + 2 <= n_out; o += 2)
        block(out + (size_t)o * L, w + o * row, row, column, bias ? bias + o : NULL, x, n, L, 2, vecs);
    if (o < n_out)
        block(out + (size_t)o * L, w + o * row, row, column, bias ? bias + o : NULL, x, n, L, 1, vecs);
}

static void product(float *out, const float *w, size_t row, size_t column, const float *bias, const float *x,
                    uint32_t n_out, uint32_t n, uint32_t L)
{
    uint32_t l = 0;
    for (; l + PAIR * WIDTH <= L; l += PAIR * WIDTH)
        strip(out + l, w, row, column, bias, x + l, n_out, n, L, PAIR);
    for (; l < L; l += WIDTH)
        strip(out + l, w, row, column, bias, x + l, n_out, n, L, 1);
}

static void linear(float *out, const float *w, size_t ldw, const float *bias, const float *x, uint32_t n_out,
                   uint32_t n_in, uint32_t L)
{
    if (!is_wide(n_out, n_in, L)) {
        product(out, w, ldw, 1, bias, x, n_out, n_in, L);
        return;
    }
    for (uint32_t o = 0; o < n_out; o++)
        for (uint32_t l = 0; l < L; l++)
            out[(size_t)o * L + l] = bias ? bias[o] : 0.0f;
    ebm_blas_nn(out, L, w, ldw, x, L, n_out, L, n_in, 1.0f);
}

static void linear_backward_input(float *dx, const float *w, size_t ldw, const float *dz, const float *residual,
                                  uint32_t n_out, uint32_t n_in, uint32_t L)
{
    if (n_out <= NARROW && n_in <= NARROW) {
        narrow_run((struct narrow){.w = w,
                                   .row = 1,
                                   .column = ldw,
                                   .x = dz,
                                   .residual = residual,
                                   .a = dx,
                                   .n_out = n_in,
                                   .n_in = n_out,
                                   .L = L});
        return;
    }
    if (is_wide(n_out, n_in, L))
        ebm_blas_tn(dx, L, w, ldw, dz, L, n_in, L, n_out);
    else
        product(dx, w, 1, ldw, NULL, dz, n_in, n_out, L);
    for (size_t i = 0; residual != NULL && i < (size_t)n_in * L; i++)
        dx[i] += residual[i];
}

static void wide_gradient(float *dw, size_t ldw, const float *dz, const float *x, uint32_t n_out, uint32_t n_in,
                          uint32_t L)
{
#if WIDTH > 8
    if (n_out >= ROWS)
        outer_wide(dw, ldw, dz, x, n_out, n_in, L);
    else
        outer((struct outer){dw, ldw, dz, x, L, n_out, n_in, L});
#else
    ebm_blas_nt_add(dw, ldw, dz, L, x, L, n_out, n_in, L);
#endif
}

static void linear_backward_weight(float *dw, size_t ldw, float *db, const float *dz, const float *x, uint32_t n_out,
                                   uint32_t n_in, uint32_t L)
{
    if (n_out <= NARROW && n_in <= NARROW)
        outer((struct outer){dw, ldw, dz, x, L, n_out, n_in, L});
    else
        wide_gradient(dw, ldw, dz, x, n_out, n_in, L);
    if (db != NULL)
        add_row_sums(db, dz, n_out, L);
}

/* relu keeps a NaN: z < 0 is false for it */
static void activation(enum ebm_activation kind, float *a, const float *z, const float *residual, size_t n)
{
    switch (kind) {
    case EBM_ACT_IDENTITY:
        for (size_t i = 0; a != z && i < n; i++)
            a[i] = z[i];
        break;
    case EBM_ACT_RELU:
        for (size_t i = 0; i < n; i++)
            a[i] = z[i] < 0.0f ? 0.0f : z[i];
        break;
    case EBM_ACT_TANH:
        for (size_t i = 0; i < n; i++)
            a[i] = vec_tanh(z[i]);
        break;
    case EBM_ACT_SILU:
        for (size_t i = 0; i < n; i++)
            a[i] = z[i] * vec_sigmoid(z[i]);
        break;
    case EBM_ACT_SOFTPLUS:
        for (size_t i = 0; i < n; i++)
            a[i] = vec_softplus(z[i]);
        break;
    }
    for (size_t i = 0; residual != NULL && i < n; i++)
        a[i] += residual[i];
}

static void layer(enum ebm_activation kind, float *a, float *z, const struct ebm_linear *of, const float *x,
                  const float *residual, uint32_t L)
{
    bool is_straight = kind == EBM_ACT_RELU || kind == EBM_ACT_IDENTITY;
    if (is_straight && of->n_out <= NARROW && of->n_in <= NARROW) {
        narrow_run((struct narrow){.w = of->w,
                                   .row = of->ldw,
                                   .column = 1,
                                   .bias = of->bias,
                                   .x = x,
                                   .residual = residual,
                                   .a = a,
                                   .z = z == a ? NULL : z,
                                   .n_out = of->n_out,
                                   .n_in = of->n_in,
                                   .L = L,
                                   .is_relu = kind == EBM_ACT_RELU});
        return;
    }
    z = z != NULL ? z : a;
    linear(z, of->w, of->ldw, of->bias, x, of->n_out, of->n_in, L);
    activation(kind, a, z, residual, (size_t)of->n_out * L);
}

static void activation_backward(enum ebm_activation kind, float *dz, const float *da, const float *z, size_t n)
{
    switch (kind) {
    case EBM_ACT_IDENTITY:
        for (size_t i = 0; dz != da && i < n; i++)
            dz[i] = da[i];
        break;
    case EBM_ACT_RELU:
        for (size_t i = 0; i < n; i++)
            dz[i] = z[i] > 0.0f ? da[i] : 0.0f;
        break;
    case EBM_ACT_TANH:
        for (size_t i = 0; i < n; i++) {
            float t = vec_tanh(z[i]);
            dz[i] = da[i] * (1.0f - t * t);
        }
        break;
    case EBM_ACT_SILU:
        for (size_t i = 0; i < n; i++) {
            float s = vec_sigmoid(z[i]);
            dz[i] = da[i] * s * (1.0f + z[i] * (1.0f - s));
        }
        break;
    case EBM_ACT_SOFTPLUS:
        for (size_t i = 0; i < n; i++)
            dz[i] = da[i] * vec_sigmoid(z[i]);
        break;
    }
}

static void activation_curve(enum ebm_activation kind, float *d1, float *d2, float *d3, const float *z, size_t n)
{
    switch (kind) {
    case EBM_ACT_IDENTITY:
    case EBM_ACT_RELU:
        for (size_t i = 0; i < n; i++) {
            d1[i] = kind == EBM_ACT_IDENTITY || z[i] > 0.0f ? 1.0f : 0.0f;
            d2[i] = d3[i] = 0.0f;
        }
        break;
    case EBM_ACT_TANH:
        for (size_t i = 0; i < n; i++) {
            float t = vec_tanh(z[i]), first = 1.0f - t * t;
            d1[i] = first;
            d2[i] = -2.0f * t * first;
            d3[i] = first * (6.0f * t * t - 2.0f);
        }
        break;
    case EBM_ACT_SILU:
        for (size_t i = 0; i < n; i++) {
            float s = vec_sigmoid(z[i]), u = s * (1.0f - s), skew = 1.0f - 2.0f * s;
            d1[i] = s + z[i] * u;
            d2[i] = u * (2.0f + z[i] * skew);
            d3[i] = u * (3.0f * skew + z[i] * (skew * skew - 2.0f * u));
        }
        break;
    case EBM_ACT_SOFTPLUS:
        for (size_t i = 0; i < n; i++) {
            float s = vec_sigmoid(z[i]), u = s * (1.0f - s);
            d1[i] = s;
            d2[i] = u;
            d3[i] = u * (1.0f - 2.0f * s);
        }
        break;
    }
}

/* The largest of s; NaN when there is a NaN or +inf, or nothing above -inf. */
static float highest(const float *s, uint32_t n)
{
    vec max = vec_all(-INFINITY);
    vec_mask is_fine = vec_is_equal(max, max);
    float top = -INFINITY;
    for (uint32_t i = 0; i < n; i += WIDTH) {
        max = vec_max(vec_load(s + i), max);
        is_fine &= vec_is_above(vec_all(INFINITY), vec_load(s + i));
    }
    for (int l = 0; l < WIDTH; l++)
        top = max[l] > top ? max[l] : top;
    return vec_any(~is_fine) || !(top > -INFINITY) ? NAN : top;
}

static void softmax(float *w, const float *s, uint32_t n, double *ret_max, double *ret_sum, double *ret_sum_squares)
{
    const float top = highest(s, n);
    vec_doubles sum[2] = {0}, squares[2] = {0};
    for (uint32_t i = 0; i < n; i += WIDTH) {
        vec_store(w + i, lanes_exp(vec_load(s + i) - top));
        for (int part = 0; part < 2; part++) {
            vec_doubles weight = vec_load_doubles(w + i + part * WIDTH / 2);
            sum[part] += weight;
            squares[part] += weight * weight;
        }
    }
    *ret_max = (double)top;
    *ret_sum = vec_sum_doubles(sum);
    *ret_sum_squares = vec_sum_doubles(squares);
}

static void moments(const float *y, const float *w, uint32_t n, double sum, double *ret_mean, double *ret_variance,
                    double *ret_squared_error)
{
    vec_doubles first[2] = {0}, second[2] = {0}, error[2] = {0};
    for (uint32_t i = 0; i < n; i += WIDTH)
        for (int part = 0; part < 2; part++)
            first[part] += vec_load_doubles(w + i + part * WIDTH / 2) * vec_load_doubles(y + i + part * WIDTH / 2);
    double mean = vec_sum_doubles(first) / sum;
    for (uint32_t i = 0; i < n; i += WIDTH) {
        for (int part = 0; part < 2; part++) {
            vec_doubles difference = vec_load_doubles(y + i + part * WIDTH / 2) - mean;
            vec_doubles weighted = vec_load_doubles(w + i + part * WIDTH / 2) * difference;
            second[part] += weighted * difference;
            error[part] += weighted * weighted;
        }
    }
    *ret_mean = mean;
    *ret_variance = vec_sum_doubles(second) / sum;
    *ret_squared_error = vec_sum_doubles(error) / (sum * sum);
}

static void adam(float *p, float *m, float *v, const float *g, size_t n, const struct ebm_adam_step *step)
{
    const float beta1 = (float)step->beta1, beta2 = (float)step->beta2;
    const float rest1 = (float)(1.0 - step->beta1), rest2 = (float)(1.0 - step->beta2);
    const float rate = (float)(step->learning_rate / step->correction1);
    const float scale = (float)(1.0 / sqrt(step->correction2)), epsilon = (float)step->epsilon;
    for (size_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + rest1 * g[i];
        v[i] = beta2 * v[i] + rest2 * g[i] * g[i];
        p[i] -= rate * m[i] / (sqrtf(v[i]) * scale + epsilon);
    }
}

#define GLUE(a, b) a##b
#define ACCESSOR(set) GLUE(ebm_kernels_, set)
#define TEXT_OF(a) #a
#define TEXT(a) TEXT_OF(a)

const struct ebm_kernels *ACCESSOR(EBM_KERNEL_SET)(void);

const struct ebm_kernels *ACCESSOR(EBM_KERNEL_SET)(void)
{
    static const struct ebm_kernels kernels = EBM_KERNELS_TABLE(TEXT(EBM_KERNEL_SET));
    return &kernels;
}
