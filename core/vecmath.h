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

/* Fits over the reduced ranges, of one number here and of a register in lanes.h. Normal quantile: numerators and what
 * is below them, of Wichura's AS 241 (PPND7). */
#define VEC_FITS(of, number)                                                                                           \
    static inline number of##_exp_fit(number r)                                                                        \
    {                                                                                                                  \
        number p = 1.3814465e-3f * r + 8.3687808e-3f;                                                                  \
        p = p * r + 4.1668393e-2f;                                                                                     \
        p = p * r + 0.16666520f;                                                                                       \
        return p * r + 0.49999994f;                                                                                    \
    }                                                                                                                  \
    static inline number of##_log_fit(number t)                                                                        \
    {                                                                                                                  \
        number p = -7.6344296e-2f * t + 0.12761550f;                                                                   \
        p = p * t - 0.13160194f;                                                                                       \
        p = p * t + 0.14201762f;                                                                                       \
        p = p * t - 0.16623357f;                                                                                       \
        p = p * t + 0.20001227f;                                                                                       \
        p = p * t - 0.25000823f;                                                                                       \
        return p * t + 0.33333331f;                                                                                    \
    }                                                                                                                  \
    static inline number of##_normal_central(number r)                                                                 \
    {                                                                                                                  \
        return ((59.109374720f * r + 159.29113202f) * r + 50.434271938f) * r + 3.3871327179f;                          \
    }                                                                                                                  \
    static inline number of##_normal_below_central(number r)                                                           \
    {                                                                                                                  \
        return ((67.187563600f * r + 78.757757664f) * r + 17.895169469f) * r + 1.0f;                                   \
    }                                                                                                                  \
    static inline number of##_normal_far(number t)                                                                     \
    {                                                                                                                  \
        return ((0.17023821103f * t + 1.3067284816f) * t + 2.7568153900f) * t + 1.4234372777f;                         \
    }                                                                                                                  \
    static inline number of##_normal_below_far(number t)                                                               \
    {                                                                                                                  \
        return (0.12021132975f * t + 0.73700164250f) * t + 1.0f;                                                       \
    }
VEC_FITS(vec, float)

/* exp(x), relative error 1e-7; 0 below -87.3, infinity above 88.3; the result for NaN is not stated. */
static inline float vec_exp(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float c = x < -87.3f ? -87.3f : x;
    c = c > 88.3f ? 88.3f : c;
    float n = (c * 1.44269504f + shift) - shift;
    float r = c - n * 0.693359375f + n * 2.12194440e-4f;
    float p = vec_exp_fit(r);
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
    float p = vec_log_fit(t);
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
 * (0, 1/2]. Both branches computed. */
static inline float vec_normal(uint32_t word)
{
    float p = ((float)(int32_t)(word & 0x7fffffffu) + 0.5f) * 0x1p-32f;
    float q = 0.5f - p, r = 0.180625f - q * q;
    float central = q * vec_normal_central(r) / vec_normal_below_central(r);
    float t = sqrtf(-vec_log(p)) - 1.6f;
    float tail = vec_normal_far(t) / vec_normal_below_far(t);
    float magnitude = q <= 0.425f ? central : tail;
    return vec_from_bits(vec_to_bits(magnitude) ^ (~word & 0x80000000u));
}

/* log(x) for normal double x > 0, relative error 1e-15. */
static inline double vec_log_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits -= 0x3fe6a09e667f3bcdull; /* so that the mantissa lies in [sqrt(1/2), sqrt(2)) */
    double e = (double)((int32_t)(bits >> 32) >> 20), m;
    bits = (bits & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1.0) / (m + 1.0), z = s * s, p = 2.0 / 21.0; /* log m = 2 atanh(s), |s| < 0.172 */
    p = p * z + 2.0 / 19.0;
    p = p * z + 2.0 / 17.0;
    p = p * z + 2.0 / 15.0;
    p = p * z + 2.0 / 13.0;
    p = p * z + 2.0 / 11.0;
    p = p * z + 2.0 / 9.0;
    p = p * z + 2.0 / 7.0;
    p = p * z + 2.0 / 5.0;
    p = p * z + 2.0 / 3.0;
    return s * (2.0 + p * z) + e * 0.69314718055994530942;
}

/* c[0] + c[1] r + ... + c[7] r^7 */
static inline double vec_polynomial(const double c[8], double r)
{
    double p = c[7];
    for (int i = 6; i >= 0; i--)
        p = p * r + c[i];
    return p;
}

/* The z >= 0 beyond which a standard normal has the mass p, for p in [1e-300, 1/2]; relative error 1e-14. Wichura's
 * AS 241 (PPND16), all three ranges computed. */
static inline double vec_normal_tail(double p)
{
    static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3,
                                1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0,
                                4.2313330701600911252e+1,
                                6.8718700749205790830e+2,
                                5.3941960214247511077e+3,
                                2.1213794301586595867e+4,
                                3.9307895800092710610e+4,
                                2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                                3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0,
                                2.05319162663775882187e0,
                                1.67638483018380384940e0,
                                6.89767334985100004550e-1,
                                1.48103976427480074590e-1,
                                1.51986665636164571966e-2,
                                5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    static const double e[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
                                2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double f[8] = {1.0,
                                5.99832206555887937690e-1,
                                1.36929880922735805310e-1,
                                1.48753612908506148525e-2,
                                7.86869131145613259100e-4,
                                1.84631831751005468180e-5,
                                1.42151175831644588870e-7,
                                2.04426310338993978564e-15};
    double q = 0.5 - p, r = 0.180625 - q * q, t = sqrt(-vec_log_double(p));
    double central = q * vec_polynomial(a, r) / vec_polynomial(b, r);
    double tail = vec_polynomial(c, t - 1.6) / vec_polynomial(d, t - 1.6);
    double far = vec_polynomial(e, t - 5.0) / vec_polynomial(f, t - 5.0);
    double outer = t <= 5.0 ? tail : far;
    return q <= 0.425 ? central : outer;
}

/* sin(pi t) and cos(pi t) for t in [-1/2, 1/2], error 1e-7. */
static inline void vec_sin_cos_pi(float t, float *ret_sin, float *ret_cos)
{
    float x = 3.14159265f * t, z = x * x;
    float s = -2.3889859e-8f;
    s = s * z + 2.7525562e-6f;
    s = s * z - 1.9840874e-4f;
    s = s * z + 8.3333310e-3f;
    s = s * z - 0.16666667f;
    float c = -2.6051615e-7f;
    c = c * z + 2.4760495e-5f;
    c = c * z - 1.3888378e-3f;
    c = c * z + 4.1666638e-2f;
    c = c * z - 0.49999999f;
    *ret_sin = x + x * z * s;
    *ret_cos = 1.0f + z * c;
}

#endif
