/* kernels_cpu_mixture.h - log density of a mixture and its gradient, EBM_LANES targets at a time. A part of
 * kernels_cpu_lanes.c: included there and nowhere else, so that it is compiled for each instruction set. */
#ifndef EBM_CORE_KERNELS_CPU_MIXTURE_H
#define EBM_CORE_KERNELS_CPU_MIXTURE_H

#include <float.h>

#include "core/kernels.h"
#include "core/kernels_cpu_confined.h"
#include "core/lanes.h"
#include "core/limits.h"

/* t (K, EBM_LANES): log of each component's weighted density at EBM_LANES targets */
static inline void components(float t[][EBM_LANES], const struct ebm_mixture *q, const float *y, size_t stride)
{
    for (uint32_t k = 0; k < q->K; k++) {
        for (uint32_t at = 0; at < EBM_LANES; at += WIDTH) {
            vec sum = {0};
            for (uint32_t d = 0; d < q->D; d++) {
                vec z = (vec_load(y + d * stride + at) - q->mean[d * q->K + k]) * q->inv_std[d * q->K + k];
                sum += z * z;
            }
            vec_store(&t[k][at], q->log_const[k] - 0.5f * sum);
        }
    }
}

/* log of the sum over components of exp t, for WIDTH lanes of t; NaN where one is NaN, -inf where all are. */
static inline vec log_sum(float t[][EBM_LANES], uint32_t K, uint32_t at)
{
    vec max = vec_all(-FLT_MAX), sum = {0};
    for (uint32_t k = 0; k < K; k++)
        max = vec_max(vec_load(&t[k][at]), max);
    for (uint32_t k = 0; k < K; k++)
        sum += lanes_exp(vec_load(&t[k][at]) - max);
    return vec_select(vec_is_above(sum, (vec){0}), max + lanes_log(sum), sum - INFINITY);
}

static void mixture_log_density(float *log_q, const struct ebm_mixture *q, const float *y, size_t stride, uint32_t L)
{
    float t[LIMIT_COMPONENTS + 1][EBM_LANES]; /* a wide one may be added */
    for (uint32_t at = 0; at < L; at += EBM_LANES) {
        if (q->confined != NULL)
            components_confined(t, q, y + at, stride);
        else
            components(t, q, y + at, stride);
        for (uint32_t l = 0; l < EBM_LANES; l += WIDTH)
            vec_store(log_q + at + l, log_sum(t, q->K, l));
    }
}

/* Sums of component k's gradient, lane by lane. */
struct component_sums {
    float logit[EBM_LANES], mean[LIMIT_TARGET_DIM][EBM_LANES], log_variance[LIMIT_TARGET_DIM][EBM_LANES];
};

static inline void add_to(float *sum, vec v)
{
    vec_store(sum, vec_load(sum) + v);
}

/* dlog_q times the component's responsibility, from -2 (log density - log_const). */
static inline vec responsibility(const struct ebm_mixture *q, uint32_t k, vec square, vec log_q, vec dlog_q)
{
    vec r = dlog_q * lanes_exp(q->log_const[k] - 0.5f * square - log_q);
    return vec_select(vec_is_equal(dlog_q, (vec){0}), (vec){0}, r);
}

/* Adds WIDTH targets. */
static inline void component_backward(struct component_sums *sums, const struct ebm_mixture *q, const float *y,
                                      size_t stride, uint32_t k, const float *log_q, const float *dlog_q, uint32_t at)
{
    vec z[LIMIT_TARGET_DIM], square = {0};
    for (uint32_t d = 0; d < q->D; d++) {
        z[d] = (vec_load(y + d * stride) - q->mean[d * q->K + k]) * q->inv_std[d * q->K + k];
        square += z[d] * z[d];
    }
    vec g = responsibility(q, k, square, vec_load(log_q), vec_load(dlog_q));
    add_to(sums->logit + at, g);
    for (uint32_t d = 0; d < q->D; d++) {
        add_to(sums->mean[d] + at, g * z[d]);
        add_to(sums->log_variance[d] + at, g * (0.5f * z[d] * z[d] - 0.5f));
    }
}

/* All L targets of one coordinate on a line: the sums stay in registers. */
static void line_backward(struct component_sums *sums, const struct ebm_mixture *q, const float *y, uint32_t k,
                          const float *log_q, const float *dlog_q, uint32_t L)
{
    vec logit = {0}, mean = {0}, log_variance = {0};
    for (uint32_t l = 0; l < L; l += WIDTH) {
        vec z = (vec_load(y + l) - q->mean[k]) * q->inv_std[k];
        vec g = responsibility(q, k, z * z, vec_load(log_q + l), vec_load(dlog_q + l));
        logit += g;
        mean += g * z;
        log_variance += g * (0.5f * z * z - 0.5f);
    }
    vec_store(sums->logit, logit);
    vec_store(sums->mean[0], mean);
    vec_store(sums->log_variance[0], log_variance);
}

/* As component_backward, EBM_LANES targets, where coordinates are no lines: z and z^2 - 1 become the scores of each
 * coordinate. */
static EBM_APART void confined_backward(struct component_sums *sums, const struct ebm_mixture *q, const float *y,
                                        size_t stride, uint32_t k, const float *log_q, const float *dlog_q)
{
    float mean[LIMIT_TARGET_DIM][EBM_LANES], spread[LIMIT_TARGET_DIM][EBM_LANES], square[EBM_LANES] = {0.0f};
    for (uint32_t d = 0; d < q->D; d++)
        score_coordinate(square, mean[d], spread[d], q, y + d * stride, d, k);
    for (uint32_t at = 0; at < EBM_LANES; at += WIDTH) {
        vec g = responsibility(q, k, vec_load(square + at), vec_load(log_q + at), vec_load(dlog_q + at));
        add_to(sums->logit + at, g);
        for (uint32_t d = 0; d < q->D; d++) {
            add_to(sums->mean[d] + at, g * vec_load(mean[d] + at));
            add_to(sums->log_variance[d] + at, 0.5f * g * vec_load(spread[d] + at));
        }
    }
}

static double sum_lanes(const float *lanes, uint32_t n)
{
    vec_doubles sums[2] = {0};
    for (uint32_t l = 0; l < n; l += WIDTH)
        for (int part = 0; part < 2; part++)
            sums[part] += vec_load_doubles(lanes + l + part * WIDTH / 2);
    return vec_sum_doubles(sums);
}

static void mixture_backward(struct ebm_mixture_grad *grad, const struct ebm_mixture *q, const float *y, size_t stride,
                             const float *log_q, const float *dlog_q, uint32_t L)
{
    const double total = sum_lanes(dlog_q, L);
    const bool is_line = q->confined == NULL && q->D == 1;
    for (uint32_t k = 0; k < q->K; k++) {
        struct component_sums sums;
        memset(sums.logit, 0, sizeof sums.logit);
        memset(sums.mean, 0, q->D * sizeof sums.mean[0]);
        memset(sums.log_variance, 0, q->D * sizeof sums.log_variance[0]);
        if (is_line)
            line_backward(&sums, q, y, k, log_q, dlog_q, L);
        for (uint32_t l = 0; q->confined == NULL && !is_line && l < L; l += WIDTH)
            component_backward(&sums, q, y + l, stride, k, log_q + l, dlog_q + l, l % EBM_LANES);
        for (uint32_t l = 0; q->confined != NULL && l < L; l += EBM_LANES)
            confined_backward(&sums, q, y + l, stride, k, log_q + l, dlog_q + l);
        grad->dlogit[k] += sum_lanes(sums.logit, EBM_LANES) - total * exp((double)q->log_weight[k]);
        for (uint32_t d = 0; d < q->D; d++) {
            size_t to = (size_t)d * q->K + k;
            grad->dmean[to] += sum_lanes(sums.mean[d], EBM_LANES) * (double)q->inv_std[to];
            grad->dlog_variance[to] += sum_lanes(sums.log_variance[d], EBM_LANES);
        }
    }
}

#endif
