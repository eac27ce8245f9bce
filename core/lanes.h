/* lanes.h - one SIMD register of lanes: loads, choices, and exp, log and the normal quantile without a branch. Private
 * to kernels_cpu_lanes.c and its parts.
 *
 * vecmath.h has the same functions of one number, for long loops that the compiler turns into SIMD by itself. It does
 * not where a loop is as short as a register, as in kernels that keep many quantities of few lanes; hence these. */
#ifndef EBM_CORE_LANES_H
#define EBM_CORE_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/vecmath.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX2__)
#define WIDTH 8
#else
#define WIDTH 4
#endif

#if WIDTH == 16
#define VEC_NUMBERS                                                                                                    \
    {                                                                                                                  \
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15                                                           \
    }
#elif WIDTH == 8
#define VEC_NUMBERS                                                                                                    \
    {                                                                                                                  \
        0, 1, 2, 3, 4, 5, 6, 7                                                                                         \
    }
#else
#define VEC_NUMBERS                                                                                                    \
    {                                                                                                                  \
        0, 1, 2, 3                                                                                                     \
    }
#endif

/* may_alias and the alignment of a float: these are loads and stores of any float array */
typedef float vec __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef int32_t vec_ints __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef uint32_t vec_words __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
/* half the lanes, twice as wide */
typedef float vec_half __attribute__((vector_size(WIDTH * 2), aligned(4), may_alias));
typedef double vec_doubles __attribute__((vector_size(WIDTH * 4)));

static inline vec vec_load(const float *p)
{
    return *(const vec *)p;
}

static inline void vec_store(float *p, vec v)
{
    *(vec *)p = v;
}

static inline vec_words vec_load_words(const uint32_t *p)
{
    return *(const vec_words *)p;
}

static inline vec_doubles vec_load_doubles(const float *p)
{
    return __builtin_convertvector(*(const vec_half *)p, vec_doubles);
}

static inline vec vec_all(float value)
{
    return value - (vec){0}; /* plus 0 would be computed: it makes 0 of -0 */
}

static inline float vec_sum(vec v)
{
    float sum = 0.0f;
    for (int i = 0; i < WIDTH; i++)
        sum += v[i];
    return sum;
}

/* Of both halves. */
static inline double vec_sum_doubles(const vec_doubles sums[2])
{
    double sum = 0.0;
    for (int l = 0; l < WIDTH / 2; l++)
        sum += sums[0][l] + sums[1][l];
    return sum;
}

/* vec_max: a > b ? a : b, so b where either is no number. */
#if defined(__AVX512F__)

typedef __mmask16 vec_mask;

static inline vec_mask vec_is_above(vec a, vec b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
}

static inline vec_mask vec_is_equal(vec a, vec b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ);
}

static inline vec_mask vec_reaches(vec_words a, vec_words b)
{
    return _mm512_cmpge_epu32_mask((__m512i)a, (__m512i)b);
}

/* A bit for every lane. */
static inline uint32_t vec_bits(vec_mask mask)
{
    return mask;
}

static inline vec vec_select(vec_mask mask, vec a, vec b)
{
    return (vec)_mm512_mask_blend_ps(mask, (__m512)b, (__m512)a);
}

static inline vec vec_max(vec a, vec b)
{
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
}

static inline vec vec_root(vec a)
{
    return (vec)_mm512_sqrt_ps((__m512)a);
}

#else

typedef vec_ints vec_mask;

static inline vec_mask vec_is_above(vec a, vec b)
{
    return a > b;
}

static inline vec_mask vec_is_equal(vec a, vec b)
{
    return a == b;
}

static inline vec_mask vec_reaches(vec_words a, vec_words b)
{
    return a >= b;
}

static inline uint32_t vec_bits(vec_mask mask)
{
#if defined(__AVX2__)
    return (uint32_t)_mm256_movemask_ps((__m256)mask);
#else
    uint32_t bits = 0;
    for (uint32_t i = 0; i < WIDTH; i++)
        bits |= (uint32_t)(mask[i] & 1) << i;
    return bits;
#endif
}

static inline vec vec_select(vec_mask mask, vec a, vec b)
{
#if defined(__AVX2__)
    return (vec)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#else
    return (vec)(((vec_ints)a & mask) | ((vec_ints)b & ~mask));
#endif
}

static inline vec vec_max(vec a, vec b)
{
#if defined(__AVX2__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vec_select(a > b, a, b);
#endif
}

static inline vec vec_root(vec a)
{
#if defined(__AVX2__)
    return (vec)_mm256_sqrt_ps((__m256)a);
#else
    for (int i = 0; i < WIDTH; i++)
        a[i] = sqrtf(a[i]);
    return a;
#endif
}

#endif

static inline bool vec_any(vec_mask mask)
{
    return vec_bits(mask) != 0;
}

static inline uint32_t vec_count(vec_mask mask)
{
#if defined(__AVX2__)
    return (uint32_t)__builtin_popcount(vec_bits(mask));
#else /* no instruction counts bits */
    return (uint32_t) - (mask[0] + mask[1] + mask[2] + mask[3]);
#endif
}

/* Lanes of v where the mask is set, side by side from `to` on; the rest of WIDTH floats there is overwritten, too.
 * Returns their number. */
static inline uint32_t vec_keep(float *to, vec_mask mask, vec v)
{
#if defined(__AVX512F__)
    vec_store(to, (vec)_mm512_maskz_compress_ps(mask, (__m512)v));
    return vec_count(mask);
#else
    uint32_t n = 0;
    for (int i = 0; i < WIDTH; i++) {
        to[n] = v[i];
        n += mask[i] != 0;
    }
    return n;
#endif
}

/* p 2^n, n an integer in -126 .. 127, where x is not below `least`; 0 elsewhere. NaN in p stays. */
static inline vec vec_scale(vec p, vec n, vec x, float least)
{
#if defined(__AVX512F__)
    __mmask16 is_in = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(least), _CMP_NLT_UQ);
    return (vec)_mm512_maskz_scalef_ps(is_in, (__m512)p, (__m512)n);
#else
    vec_ints power = (__builtin_convertvector(n, vec_ints) + 127) << 23;
    return (vec)((vec_ints)(p * (vec)power) & ~(x < least));
#endif
}

VEC_FITS(lanes, vec)

/* exp(x) for x <= 88, relative error 1e-7; 0 below -87.3; NaN of NaN. */
static inline vec lanes_exp(vec x)
{
    vec n = vec_max(vec_all(-126.0f), x * 1.44269504f);
#if defined(__AVX512F__)
    n = (vec)_mm512_roundscale_ps((__m512)n, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    n = (n + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
#endif
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = lanes_exp_fit(r);
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return vec_scale(p, n, x, -87.3f);
}

/* log(x) for normal x > 0, relative error 2e-7. */
static inline vec lanes_log(vec x)
{
    vec_words word = (vec_words)x - 0x3f3504f3u; /* so that the mantissa lies in [sqrt(1/2), sqrt(2)) */
    vec e = __builtin_convertvector((vec_ints)word >> 23, vec);
    vec t = (vec)((word & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    vec p = lanes_log_fit(t);
    p = (p * t - 0.5f) * (t * t);
    return (p + e * -2.12194440e-4f) + t + e * 0.693359375f;
}

/* The standard normal quantile of random words: vec_normal of vecmath.h, whose two branches share their division. */
static inline vec lanes_normal(vec_words words)
{
    vec p = (__builtin_convertvector((vec_ints)(words & 0x7fffffffu), vec) + 0.5f) * 0x1p-32f;
    vec q = 0.5f - p, r = 0.180625f - q * q, t = vec_root(-lanes_log(p)) - 1.6f;
    vec_mask is_tail = vec_is_above(q, vec_all(0.425f));
    vec central = q * lanes_normal_central(r), below_central = lanes_normal_below_central(r);
    vec tail = lanes_normal_far(t), below_tail = lanes_normal_below_far(t);
    vec magnitude = vec_select(is_tail, tail, central) / vec_select(is_tail, below_tail, below_central);
    return (vec)((vec_words)magnitude ^ (~words & 0x80000000u));
}

#endif
