/* vecmath.h - exp, log, tanh and the normal quantile in float, without branches or calls, so that loops over lanes
 * become SIMD on any machine. Private to kernels_cpu_lanes.c; accuracy tested in tests/unit/test_kernels.c.
 * Polynomials are minimax fits of our own over the reduced ranges. */
#ifndef EBM_CORE_VECMATH_H
#define EBM_CORE_VECMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float vec_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t vec_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* exp(x), relative error 1e-7; 0 below -87.3, infinity above 88.3; the result for NaN is not stated. */
static inline float vec_exp(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float c = x < -87.3f ? -87.3f : x;
    c = c > 88.3f ? 88.3f : c;
    float n = (c * 1.44269504f + shift) - shift;
    float r = c - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.3814465e-3f;
    p = p * r + 8.3687808e-3f;
    p = p * r + 4.1668393e-2f;
    p = p * r + 0.16666520f;
    p = p * r + 0.49999994f;
    p = p * r * r + r + 1.0f;
    p *= vec_from_bits((uint32_t)((int32_t)n + 127) << 23);
    p = x < -87.3f ? 0.0f : p;
    return x > 88.3f ? INFINITY : p;
}

/* log(x) for normal x > 0, relative error 2e-7. */
static inline float vec_log(float x)
{
    uint32_t bits = vec_to_bits(x) - 0x3f3504f3u; /* so that the mantissa lies in [sqrt(1/2), sqrt(2)) */
    float e = (float)((int32_t)bits >> 23);
    float t = vec_from_bits((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = -7.6344296e-2f;
    p = p * t + 0.12761550f;
    p = p * t - 0.13160194f;
    p = p * t + 0.14201762f;
    p = p * t - 0.16623357f;
    p = p * t + 0.20001227f;
    p = p * t - 0.25000823f;
    p = p * t + 0.33333331f;
    p = p * t * t * t - 0.5f * t * t;
    return (p + e * -2.12194440e-4f) + t + e * 0.693359375f;
}

/* 1 / (1 + exp(-x)) */
static inline float vec_sigmoid(float x)
{
    return 1.0f / (1.0f + vec_exp(-x));
}

/* tanh(x), relative error 3e-7 */
static inline float vec_tanh(float x)
{
    float z = x * x, p = -5.7170368e-3f;
    p = p * z + 2.0650579e-2f;
    p = p * z - 5.3743497e-2f;
    p = p * z + 0.13331491f;
    p = p * z - 0.33333284f;
    float small = p * z * x + x;
    float large = 1.0f - 2.0f / (vec_exp(2.0f * fabsf(x)) + 1.0f);
    large = x < 0.0f ? -large : large;
    return fabsf(x) < 0.625f ? small : large;
}

/* log(1 + exp(x)) */
static inline float vec_softplus(float x)
{
    float e = vec_exp(-fabsf(x)), s = e / (2.0f + e), z = s * s;
    /* log1p(e) = 2 atanh(e / (2 + e)); e <= 1, so s <= 1/3 */
    float p = 2.0f / 11.0f;
    p = p * z + 2.0f / 9.0f;
    p = p * z + 2.0f / 7.0f;
    p = p * z + 2.0f / 5.0f;
    p = p * z + 2.0f / 3.0f;
    p = p * z * s + 2.0f * s;
    return (x < 0.0f ? 0.0f : x) + p;
}

/* The standard normal quantile of a random word, as ebm_normal: top bit the sign, the other 31 a tail probability in
 * (0, 1/2]. Wichura's AS 241 (PPND7), both branches computed. */
static inline float vec_normal(uint32_t word)
{
    float p = ((float)(int32_t)(word & 0x7fffffffu) + 0.5f) * 0x1p-32f;
    float q = 0.5f - p, r = 0.180625f - q * q;
    float central = q * (((59.109374720f * r + 159.29113202f) * r + 50.434271938f) * r + 3.3871327179f) /
                    (((67.187563600f * r + 78.757757664f) * r + 17.895169469f) * r + 1.0f);
    float t = sqrtf(-vec_log(p)) - 1.6f;
    float tail = (((0.17023821103f * t + 1.3067284816f) * t + 2.7568153900f) * t + 1.4234372777f) /
                 ((0.12021132975f * t + 0.73700164250f) * t + 1.0f);
    float magnitude = q <= 0.425f ? central : tail;
    return vec_from_bits(vec_to_bits(magnitude) ^ (~word & 0x80000000u));
}

#endif
