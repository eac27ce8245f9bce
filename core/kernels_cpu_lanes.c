/* kernels_cpu_lanes.c - the fine table with lanes in SIMD registers. Compiled once for each instruction set
 * (EBM_KERNEL_SET names it); kernels_cpu.c chooses at run time.
 *
 *   layers             our own register blocks: BLOCK outputs x PAIR vectors of lanes, weights broadcast; they beat
 *                      OpenBLAS up to about 1024 x 1024, where it takes over
 *   weight gradients   OpenBLAS (core/blas.h): a reduction over lanes, which it does better at every size
 *   everything else    plain loops over lanes with vecmath.h, which the compiler turns into SIMD
 *
 * Every lane gets the same operations in the same order wherever it stands, so bytes do not depend on position. Sums
 * over lanes run in a fixed order. All counts of lanes are multiples of EBM_LANES. */
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "core/blas.h"
#include "core/kernels.h"
#include "core/kernels_cpu_confined.h"
#include "core/limits.h"
#include "core/vecmath.h"

#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX2__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define BLOCK 4 /* outputs a register block */
#define PAIR 2  /* vectors of lanes a register block */

/* may_alias and the alignment of a float: these are loads and stores of any float array */
typedef float vec __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

static inline vec vec_load(const float *p)
{
    return *(const vec *)p;
}

static inline void vec_store(float *p, vec v)
{
    *(vec *)p = v;
}

static inline float vec_sum(vec v)
{
    float sum = 0.0f;
    for (int i = 0; i < WIDTH; i++)
        sum += v[i];
    return sum;
}

/* Where the weights no longer stay in cache OpenBLAS's blocking wins (bench/kernels.c). Never on the x side, whose
 * tiles are EBM_LANES wide: a row's bytes must not depend on its place there. */
static bool is_wide(uint32_t n_out, uint32_t n_in, uint32_t L)
{
    return L > EBM_LANES && (uint64_t)n_out * n_in > (1u << 19);
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

static void linear_backward_input(float *dx, const float *w, size_t ldw, const float *dz, uint32_t n_out, uint32_t n_in,
                                  uint32_t L)
{
    if (is_wide(n_out, n_in, L))
        ebm_blas_tn(dx, L, w, ldw, dz, L, n_in, L, n_out);
    else
        product(dx, w, 1, ldw, NULL, dz, n_in, n_out, L);
}

static void linear_backward_weight(float *dw, size_t ldw, float *db, const float *dz, const float *x, uint32_t n_out,
                                   uint32_t n_in, uint32_t L)
{
    ebm_blas_nt_add(dw, ldw, dz, L, x, L, n_out, n_in, L);
    for (uint32_t o = 0; db != NULL && o < n_out; o++) {
        vec sum = {0};
        for (uint32_t l = 0; l < L; l += WIDTH)
            sum += vec_load(dz + (size_t)o * L + l);
        db[o] += vec_sum(sum);
    }
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

/* Lanes of 64 bits, of which the products use the lower 32 and the rest may hold anything. */
typedef uint64_t wide __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t half __attribute__((vector_size(WIDTH * 2), aligned(4), may_alias));
#define WIDE_LANES (WIDTH / 2)

static inline wide product_of_low_halves(wide a, uint32_t b)
{
#if defined(__AVX512F__)
    return (wide)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__)
    return (wide)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#else
    return (a & 0xffffffffu) * b;
#endif
}

/* Philox 4x32-10 for EBM_LANES samples; the same words as ebm_philox. */
static void philox_lanes(uint32_t words[4][EBM_LANES], uint64_t seed, uint32_t row, uint32_t first, uint32_t block_no)
{
    for (uint32_t at = 0; at < EBM_LANES; at += WIDE_LANES) {
        uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
        wide w0, w1 = (wide){0} + row, w2 = (wide){0} + EBM_STREAM_DRAWS, w3 = (wide){0} + block_no;
        for (uint32_t l = 0; l < WIDE_LANES; l++)
            w0[l] = first + at + l;
        for (int round = 0; round < 10; round++) {
            wide p0 = product_of_low_halves(w0, 0xD2511F53u), p1 = product_of_low_halves(w2, 0xCD9E8D57u);
            w0 = (p1 >> 32) ^ w1 ^ key0;
            w1 = p1;
            w2 = (p0 >> 32) ^ w3 ^ key1;
            w3 = p0;
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        *(half *)&words[0][at] = __builtin_convertvector(w0, half);
        *(half *)&words[1][at] = __builtin_convertvector(w1, half);
        *(half *)&words[2][at] = __builtin_convertvector(w2, half);
        *(half *)&words[3][at] = __builtin_convertvector(w3, half);
    }
}

/* Coordinate d of 16 draws on the line: mean and std of each lane's component, plus its normal number. */
static inline void draw_line(float *y, const struct ebm_mixture *q, uint32_t d, const float *u, const uint32_t *words)
{
    float mean[EBM_LANES], std[EBM_LANES];
    const float *means = q->mean + (size_t)d * q->K, *stds = q->std + (size_t)d * q->K;
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        mean[l] = means[0];
        std[l] = stds[0];
    }
    for (uint32_t k = 1; k < q->K; k++) {
        float below = q->cumulative[k - 1], m = means[k], s = stds[k];
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            mean[l] = u[l] >= below ? m : mean[l];
            std[l] = u[l] >= below ? s : std[l];
        }
    }
    for (uint32_t l = 0; l < EBM_LANES; l++)
        y[l] = mean[l] + std[l] * vec_normal(words[l]);
}

static inline void draw_coordinate(float *y, const struct ebm_mixture *q, uint32_t d, const float *u,
                                   const uint32_t *words, bool is_confined)
{
    if (is_confined && q->support[d].kind != EBM_SUPPORT_REAL)
        draw_confined(y, q, d, u, words);
    else
        draw_line(y, q, d, u, words);
}

/* Compiled twice: is_confined is a constant where this is used. */
static inline __attribute__((always_inline)) void draw_samples(float *y, size_t stride, const struct ebm_mixture *q,
                                                               uint64_t seed, uint32_t row, uint32_t first, uint32_t L,
                                                               bool is_confined)
{
    for (uint32_t at = 0; at < L; at += EBM_LANES) {
        uint32_t words[4][EBM_LANES];
        float u[EBM_LANES];
        philox_lanes(words, seed, row, first + at, 0);
        for (uint32_t l = 0; l < EBM_LANES; l++)
            u[l] = (float)(((double)words[0][l] + 0.5) * 0x1p-32);
        for (uint32_t d = 0; d < q->D; d++) {
            if ((d + 1) % 4 == 0)
                philox_lanes(words, seed, row, first + at, (d + 1) / 4);
            draw_coordinate(y + d * stride + at, q, d, u, words[(d + 1) % 4], is_confined);
        }
    }
}

static void draw(float *y, size_t stride, const struct ebm_mixture *q, uint64_t seed, uint32_t row, uint32_t first,
                 uint32_t L)
{
    if (q->confined != NULL)
        draw_samples(y, stride, q, seed, row, first, L, true);
    else
        draw_samples(y, stride, q, seed, row, first, L, false);
}

static void place(float *y, size_t stride, const struct ebm_mixture *q, const uint32_t *words, size_t word_stride,
                  uint32_t L)
{
    for (uint32_t at = 0; at < L; at += EBM_LANES) {
        float u[EBM_LANES];
        for (uint32_t l = 0; l < EBM_LANES; l++)
            u[l] = (float)(((double)words[at + l] + 0.5) * 0x1p-32);
        for (uint32_t d = 0; d < q->D; d++)
            draw_coordinate(y + d * stride + at, q, d, u, words + (d + 1) * word_stride + at, q->confined != NULL);
    }
}

/* Dimension d of 16 samples from `first` on, whose indices differ in the lowest four bits. */
static inline void sobol_lanes(uint32_t *words, const struct ebm_sobol *set, uint32_t d, uint32_t first)
{
    const uint16_t *v = ebm_sobol_directions[d];
    uint32_t digits[EBM_LANES], high = 0;
    for (uint32_t bit = 4; first >> bit != 0; bit++)
        high ^= first >> bit & 1u ? v[bit] : 0u;
    for (uint32_t l = 0; l < EBM_LANES; l++)
        digits[l] = high ^ (l & 1 ? v[0] : 0u) ^ (l & 2 ? v[1] : 0u) ^ (l & 4 ? v[2] : 0u) ^ (l & 8 ? v[3] : 0u);
    for (uint32_t l = 0; l < EBM_LANES; l++)
        words[l] = ebm_sobol_scramble(digits[l], set->shift[d], set->factor[d]);
}
_Static_assert(EBM_LANES == 16, "four bits of an index");

static void sobol_words(uint32_t *words, size_t word_stride, const struct ebm_sobol *set, uint32_t first, uint32_t L)
{
    for (uint32_t d = 0; d < set->dims; d++)
        for (uint32_t at = 0; at < L; at += EBM_LANES)
            sobol_lanes(words + d * word_stride + at, set, d, first + at);
}

/* t (K, EBM_LANES): log of each component's weighted density at 16 targets */
static inline void components(float t[][EBM_LANES], const struct ebm_mixture *q, const float *y, size_t stride)
{
    for (uint32_t k = 0; k < q->K; k++) {
        float sum[EBM_LANES];
        for (uint32_t l = 0; l < EBM_LANES; l++)
            sum[l] = 0.0f;
        for (uint32_t d = 0; d < q->D; d++) {
            float mean = q->mean[d * q->K + k], inv_std = q->inv_std[d * q->K + k];
            for (uint32_t l = 0; l < EBM_LANES; l++) {
                float z = (y[d * stride + l] - mean) * inv_std;
                sum[l] += z * z;
            }
        }
        for (uint32_t l = 0; l < EBM_LANES; l++)
            t[k][l] = q->log_const[k] - 0.5f * sum[l];
    }
}

static void mixture_log_density(float *log_q, const struct ebm_mixture *q, const float *y, size_t stride, uint32_t L)
{
    float t[LIMIT_COMPONENTS + 1][EBM_LANES]; /* a wide one may be added */
    for (uint32_t at = 0; at < L; at += EBM_LANES) {
        float max[EBM_LANES], sum[EBM_LANES];
        if (q->confined != NULL)
            components_confined(t, q, y + at, stride);
        else
            components(t, q, y + at, stride);
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            max[l] = t[0][l];
            sum[l] = 0.0f;
        }
        for (uint32_t k = 1; k < q->K; k++)
            for (uint32_t l = 0; l < EBM_LANES; l++)
                max[l] = t[k][l] > max[l] ? t[k][l] : max[l];
        for (uint32_t k = 0; k < q->K; k++)
            for (uint32_t l = 0; l < EBM_LANES; l++)
                sum[l] += vec_exp(t[k][l] - max[l]);
        for (uint32_t l = 0; l < EBM_LANES; l++) { /* vec_log sees bits, not numbers: a NaN must stay one */
            float value = sum[l] >= 0.0f ? max[l] + vec_log(sum[l]) : NAN;
            log_q[at + l] = max[l] == -INFINITY ? -INFINITY : value;
        }
    }
}

/* Sums of component k's gradient, lane by lane. */
struct component_sums {
    float logit[EBM_LANES], mean[LIMIT_TARGET_DIM][EBM_LANES], log_variance[LIMIT_TARGET_DIM][EBM_LANES];
};

/* Adds 16 targets: g = dlog_q x the component's responsibility. */
static inline void component_backward(struct component_sums *sums, const struct ebm_mixture *q, const float *y,
                                      size_t stride, uint32_t k, const float *log_q, const float *dlog_q)
{
    float z[LIMIT_TARGET_DIM][EBM_LANES], g[EBM_LANES];
    for (uint32_t l = 0; l < EBM_LANES; l++)
        g[l] = 0.0f;
    for (uint32_t d = 0; d < q->D; d++) {
        float mean = q->mean[d * q->K + k], inv_std = q->inv_std[d * q->K + k];
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            z[d][l] = (y[d * stride + l] - mean) * inv_std;
            g[l] += z[d][l] * z[d][l];
        }
    }
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        float r = dlog_q[l] * vec_exp(q->log_const[k] - 0.5f * g[l] - log_q[l]);
        g[l] = dlog_q[l] == 0.0f ? 0.0f : r;
        sums->logit[l] += g[l];
    }
    for (uint32_t d = 0; d < q->D; d++) {
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            sums->mean[d][l] += g[l] * z[d][l];
            sums->log_variance[d][l] += g[l] * 0.5f * (z[d][l] * z[d][l] - 1.0f);
        }
    }
}

/* The same where coordinates are no lines: z and z^2 - 1 become the scores of each coordinate. */
static EBM_APART void confined_backward(struct component_sums *sums, const struct ebm_mixture *q, const float *y,
                                        size_t stride, uint32_t k, const float *log_q, const float *dlog_q)
{
    float mean[LIMIT_TARGET_DIM][EBM_LANES], spread[LIMIT_TARGET_DIM][EBM_LANES], g[EBM_LANES];
    for (uint32_t l = 0; l < EBM_LANES; l++)
        g[l] = 0.0f;
    for (uint32_t d = 0; d < q->D; d++)
        score_coordinate(g, mean[d], spread[d], q, y + d * stride, d, k);
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        float r = dlog_q[l] * vec_exp(q->log_const[k] - 0.5f * g[l] - log_q[l]);
        g[l] = dlog_q[l] == 0.0f ? 0.0f : r;
        sums->logit[l] += g[l];
    }
    for (uint32_t d = 0; d < q->D; d++) {
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            sums->mean[d][l] += g[l] * mean[d][l];
            sums->log_variance[d][l] += g[l] * 0.5f * spread[d][l];
        }
    }
}

static double sum_floats(const float *lanes)
{
    double sum = 0.0;
    for (uint32_t l = 0; l < EBM_LANES; l++)
        sum += (double)lanes[l];
    return sum;
}

static void mixture_backward(struct ebm_mixture_grad *grad, const struct ebm_mixture *q, const float *y, size_t stride,
                             const float *log_q, const float *dlog_q, uint32_t L)
{
    double total = 0.0;
    for (uint32_t l = 0; l < L; l++)
        total += (double)dlog_q[l];
    for (uint32_t k = 0; k < q->K; k++) {
        struct component_sums sums;
        memset(sums.logit, 0, sizeof sums.logit);
        memset(sums.mean, 0, q->D * sizeof sums.mean[0]);
        memset(sums.log_variance, 0, q->D * sizeof sums.log_variance[0]);
        for (uint32_t at = 0; q->confined == NULL && at < L; at += EBM_LANES)
            component_backward(&sums, q, y + at, stride, k, log_q + at, dlog_q + at);
        for (uint32_t at = 0; q->confined != NULL && at < L; at += EBM_LANES)
            confined_backward(&sums, q, y + at, stride, k, log_q + at, dlog_q + at);
        grad->dlogit[k] += sum_floats(sums.logit) - total * exp((double)q->log_weight[k]);
        for (uint32_t d = 0; d < q->D; d++) {
            size_t to = (size_t)d * q->K + k;
            grad->dmean[to] += sum_floats(sums.mean[d]) * (double)q->inv_std[to];
            grad->dlog_variance[to] += sum_floats(sums.log_variance[d]);
        }
    }
}

static double sum_lanes(const double *lanes)
{
    double sum = 0.0;
    for (uint32_t l = 0; l < EBM_LANES; l++)
        sum += lanes[l];
    return sum;
}

static void softmax(float *w, const float *s, uint32_t n, double *ret_max, double *ret_sum, double *ret_sum_squares)
{
    float max[EBM_LANES], top = -INFINITY;
    double sum[EBM_LANES] = {0}, squares[EBM_LANES] = {0};
    int bad[EBM_LANES] = {0}, any_bad = 0;
    for (uint32_t l = 0; l < EBM_LANES; l++)
        max[l] = -INFINITY;
    for (uint32_t i = 0; i < n; i += EBM_LANES) {
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            bad[l] |= !(s[i + l] < INFINITY);
            max[l] = s[i + l] > max[l] ? s[i + l] : max[l];
        }
    }
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        top = max[l] > top ? max[l] : top;
        any_bad |= bad[l];
    }
    for (uint32_t i = 0; i < n; i += EBM_LANES) {
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            w[i + l] = vec_exp(s[i + l] - top);
            sum[l] += (double)w[i + l];
            squares[l] += (double)w[i + l] * (double)w[i + l];
        }
    }
    *ret_max = any_bad || !(top > -INFINITY) ? (double)NAN : (double)top;
    *ret_sum = sum_lanes(sum);
    *ret_sum_squares = sum_lanes(squares);
}

static void moments(const float *y, const float *w, uint32_t n, double sum, double *ret_mean, double *ret_variance,
                    double *ret_squared_error)
{
    double first[EBM_LANES] = {0}, second[EBM_LANES] = {0}, error[EBM_LANES] = {0};
    for (uint32_t i = 0; i < n; i += EBM_LANES)
        for (uint32_t l = 0; l < EBM_LANES; l++)
            first[l] += (double)w[i + l] * (double)y[i + l];
    double mean = sum_lanes(first) / sum;
    for (uint32_t i = 0; i < n; i += EBM_LANES) {
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            double difference = (double)y[i + l] - mean, weighted = (double)w[i + l] * difference;
            second[l] += weighted * difference;
            error[l] += weighted * weighted;
        }
    }
    *ret_mean = mean;
    *ret_variance = sum_lanes(second) / sum;
    *ret_squared_error = sum_lanes(error) / (sum * sum);
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
