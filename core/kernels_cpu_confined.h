/* kernels_cpu_confined.h - draws, log density and gradient of a mixture that has bounded or periodic coordinates, 16
 * lanes at a time. A part of kernels_cpu_lanes.c: included there and nowhere else, so that it is compiled for each
 * instruction set. What kind a coordinate is of is asked once for 16 lanes, never in a lane; mixtures of lines do not
 * come here at all. */
#ifndef EBM_CORE_KERNELS_CPU_CONFINED_H
#define EBM_CORE_KERNELS_CPU_CONFINED_H

#include "core/kernels.h"
#include "core/limits.h"
#include "core/vecmath.h"

/* Never inlined: what mixtures of lines run through keeps its registers. */
#define EBM_APART __attribute__((noinline))

/* The component of each lane, by its word. */
static inline void choose_components(uint32_t *k, const struct ebm_mixture *q, const uint32_t *picks)
{
    for (uint32_t l = 0; l < EBM_LANES; l++)
        k[l] = 0;
    for (uint32_t i = 0; i + 1 < q->K; i++)
        for (uint32_t l = 0; l < EBM_LANES; l++)
            k[l] += picks[l] >= q->below[i];
}

/* By the tail in which the number lies: the smaller one of two sums of positive masses. */
static void draw_bounded(float *y, const struct ebm_mixture *q, uint32_t d, const uint32_t *k, const uint32_t *words)
{
    const struct ebm_confined *components = q->confined + (size_t)d * q->K;
    const struct ebm_support *support = &q->support[d];
    double mean[EBM_LANES], std[EBM_LANES], below[EBM_LANES], mass[EBM_LANES], above[EBM_LANES];
    bool any_far = false;
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        const struct ebm_confined *c = &components[k[l]];
        mean[l] = c->mean;
        std[l] = c->std;
        below[l] = c->below;
        mass[l] = c->mass;
        above[l] = c->above;
        any_far = any_far || c->is_far;
    }
    double lower = support->lower, upper = support->upper;
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        double u = ((double)words[l] + 0.5) * 0x1p-32;
        double low = below[l] + u * mass[l], high = above[l] + (1.0 - u) * mass[l];
        double z = vec_normal_tail(low < high ? low : high);
        double value = mean[l] + std[l] * (low < high ? -z : z);
        value = value < lower ? lower : value;
        y[l] = (float)(value > upper ? upper : value);
    }
    for (uint32_t l = 0; any_far && l < EBM_LANES; l++)
        if (components[k[l]].is_far)
            y[l] = ebm_confined_far(&components[k[l]], support, words[l]);
}

static void draw_periodic(float *y, const struct ebm_mixture *q, uint32_t d, const uint32_t *k, const uint32_t *words)
{
    const float *means = q->mean + (size_t)d * q->K, *stds = q->std + (size_t)d * q->K;
    const float lower = (float)q->support[d].lower, upper = (float)q->support[d].upper;
    const float period = (float)(q->support[d].upper - q->support[d].lower), turns = 1.0f / period;
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float mean[EBM_LANES], std[EBM_LANES];
    for (uint32_t l = 0; l < EBM_LANES;
         l++) { /* from one period on the angle is uniform: more spread is only rounding */
        mean[l] = means[k[l]];
        std[l] = stds[k[l]] < period ? stds[k[l]] : period;
    }
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        float value = mean[l] + std[l] * vec_normal(words[l]);
        float whole = (((value - lower) * turns - 0.5f) + shift) - shift;
        value -= whole * period;
        value = value >= upper ? value - period : value;
        value = value < lower ? lower : value;
        y[l] = value >= upper ? lower : value;
    }
}

static EBM_APART void draw_confined(float *y, const struct ebm_mixture *q, uint32_t d, const uint32_t *picks,
                                    const uint32_t *words)
{
    uint32_t k[EBM_LANES];
    choose_components(k, q, picks);
    if (q->support[d].kind == EBM_SUPPORT_BOUNDED)
        draw_bounded(y, q, d, k, words);
    else
        draw_periodic(y, q, d, k, words);
}

/* What the terms of one component's coordinate need. */
struct lane_terms {
    float mean, inv_std;
    const struct ebm_confined *c;
    float period, turns; /* and periods of one number */
};

static inline struct lane_terms lane_terms_of(const struct ebm_mixture *q, uint32_t d, uint32_t k)
{
    size_t at = (size_t)d * q->K + k;
    const struct ebm_support *support = &q->support[d];
    float period = support->kind == EBM_SUPPORT_PERIODIC ? (float)(support->upper - support->lower) : 1.0f;
    return (struct lane_terms){q->mean[at], q->inv_std[at], &q->confined[at], period, 1.0f / period};
}

/* y - mean of the nearest image, at most half a period. */
static inline float nearest(float y, const struct lane_terms *t)
{
    const float shift = 12582912.0f;
    float off = y - t->mean;
    return off - ((off * t->turns + shift) - shift) * t->period;
}

/* Log densities, but for constants, times -2: sum (EBM_LANES) +=. */
static inline void add_images(float *sum, const float *y, const struct lane_terms *t)
{
    float z[EBM_LANES], all[EBM_LANES];
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        z[l] = nearest(y[l], t) * t->inv_std;
        all[l] = 1.0f;
    }
    for (uint32_t j = 1; j <= t->c->images; j++) {
        float p = (float)j * t->c->ratio;
        for (uint32_t l = 0; l < EBM_LANES; l++)
            all[l] += vec_exp(-0.5f * p * (p + 2.0f * z[l])) + vec_exp(-0.5f * p * (p - 2.0f * z[l]));
    }
    for (uint32_t l = 0; l < EBM_LANES; l++)
        sum[l] += z[l] * z[l] - 2.0f * vec_log(all[l]);
}

static inline void add_harmonic(float *sum, const float *y, const struct lane_terms *t)
{
    float harmonic = t->c->harmonic;
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        float s, c;
        vec_sin_cos_pi(nearest(y[l], t) * t->turns, &s, &c);
        sum[l] -= 2.0f * vec_log(1.0f + harmonic * (1.0f - 2.0f * s * s));
    }
}

static inline void add_coordinate(float *sum, const struct ebm_mixture *q, const float *y, uint32_t d, uint32_t k)
{
    const struct lane_terms t = lane_terms_of(q, d, k);
    if (q->support[d].kind == EBM_SUPPORT_PERIODIC) {
        if (t.c->images > 0)
            add_images(sum, y, &t);
        else
            add_harmonic(sum, y, &t);
        return;
    }
    bool is_bounded = q->support[d].kind == EBM_SUPPORT_BOUNDED;
    float anchor = is_bounded ? t.c->anchor : t.mean, slope = is_bounded ? t.c->slope : 0.0f;
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        float z = (y[l] - anchor) * t.inv_std;
        sum[l] += z * (z + slope);
    }
}

static EBM_APART void components_confined(float out[][EBM_LANES], const struct ebm_mixture *q, const float *y,
                                          size_t stride)
{
    for (uint32_t k = 0; k < q->K; k++) {
        float sum[EBM_LANES];
        for (uint32_t l = 0; l < EBM_LANES; l++)
            sum[l] = 0.0f;
        for (uint32_t d = 0; d < q->D; d++)
            add_coordinate(sum, q, y + d * stride, d, k);
        for (uint32_t l = 0; l < EBM_LANES; l++)
            out[k][l] = q->log_const[k] - 0.5f * sum[l];
    }
}

/* The gradient of one component's log density: std d/d mean in `mean`, 2 d/d log variance in `spread`; and sum as
 * above. */
static inline void image_scores(float *sum, float *mean, float *spread, const float *y, const struct lane_terms *t)
{
    float z[EBM_LANES], all[EBM_LANES];
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        z[l] = nearest(y[l], t) * t->inv_std;
        all[l] = 1.0f;
        mean[l] = z[l];
        spread[l] = z[l] * z[l];
    }
    for (uint32_t j = 1; j <= t->c->images; j++) {
        float p = (float)j * t->c->ratio;
        for (uint32_t l = 0; l < EBM_LANES; l++) {
            float up = vec_exp(-0.5f * p * (p + 2.0f * z[l])), down = vec_exp(-0.5f * p * (p - 2.0f * z[l]));
            all[l] += up + down;
            mean[l] += up * (z[l] + p) + down * (z[l] - p);
            spread[l] += up * (z[l] + p) * (z[l] + p) + down * (z[l] - p) * (z[l] - p);
        }
    }
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        sum[l] += z[l] * z[l] - 2.0f * vec_log(all[l]);
        mean[l] = mean[l] / all[l];
        spread[l] = spread[l] / all[l] - 1.0f;
    }
}

static inline void harmonic_scores(float *sum, float *mean, float *spread, const float *y, const struct lane_terms *t)
{
    float harmonic = t->c->harmonic, turn = 6.28318531f / t->c->ratio;
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        float s, c;
        vec_sin_cos_pi(nearest(y[l], t) * t->turns, &s, &c);
        float cosine = 1.0f - 2.0f * s * s, all = 1.0f + harmonic * cosine;
        sum[l] -= 2.0f * vec_log(all);
        mean[l] = harmonic * turn * 2.0f * s * c / all;
        spread[l] = -harmonic * turn * turn * cosine / all;
    }
}

static inline void score_coordinate(float *sum, float *mean, float *spread, const struct ebm_mixture *q, const float *y,
                                    uint32_t d, uint32_t k)
{
    const struct lane_terms t = lane_terms_of(q, d, k);
    if (q->support[d].kind == EBM_SUPPORT_PERIODIC) {
        if (t.c->images > 0)
            image_scores(sum, mean, spread, y, &t);
        else
            harmonic_scores(sum, mean, spread, y, &t);
        return;
    }
    bool is_bounded = q->support[d].kind == EBM_SUPPORT_BOUNDED;
    float anchor = is_bounded ? t.c->anchor : t.mean, slope = is_bounded ? t.c->slope : 0.0f;
    float first = is_bounded ? t.c->first : 0.0f, second = is_bounded ? t.c->second : 1.0f;
    for (uint32_t l = 0; l < EBM_LANES; l++) {
        float z = (y[l] - anchor) * t.inv_std, square = z * (z + slope);
        sum[l] += square;
        mean[l] = z - first;
        spread[l] = square - second;
    }
}

#endif
