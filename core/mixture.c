/* mixture.c - a row's mixture from what the proposal nets say: weights normalised and everything derived once, in
 * double, so that the kernels only multiply and add. */
#include <math.h>
#include <string.h>

#include "core/device_internal.h"

#define LOG_2_PI 1.8378770664093454836

size_t ebm_mixture_count(uint32_t D, uint32_t K)
{
    return ((size_t)4 * D + 3) * K;
}

void ebm_log_softmax(float *log_weight, const float *logits, size_t logit_stride, uint32_t K)
{
    double max = -INFINITY, sum = 0.0;
    for (uint32_t k = 0; k < K; k++)
        max = fmax(max, (double)logits[k * logit_stride]);
    for (uint32_t k = 0; k < K; k++)
        sum += exp((double)logits[k * logit_stride] - max);
    for (uint32_t k = 0; k < K; k++)
        log_weight[k] = (float)((double)logits[k * logit_stride] - max - log(sum));
}

bool ebm_mixture_bind(struct ebm_mixture *q, float *space, const float *mean, const float *log_variance,
                      const float *log_weight, const struct ebm_support *support, uint32_t D, uint32_t K)
{
    size_t DK = (size_t)D * K;
    float *own_mean = space, *std = own_mean + DK, *inv_std = std + DK, *own_log_weight = inv_std + DK;
    float *log_const = own_log_weight + K, *cumulative = log_const + K;
    bool finite = true;
    double below = 0.0;
    for (size_t i = 0; i < DK; i++) {
        own_mean[i] = mean[i];
        std[i] = (float)exp(0.5 * (double)log_variance[i]);
        inv_std[i] = (float)exp(-0.5 * (double)log_variance[i]);
        finite = finite && isfinite(mean[i]) && isfinite(std[i]) && isfinite(inv_std[i]);
    }
    for (uint32_t k = 0; k < K; k++) {
        double constant = (double)log_weight[k] - 0.5 * D * LOG_2_PI;
        for (uint32_t d = 0; d < D; d++)
            constant -= 0.5 * (double)log_variance[d * K + k];
        below += exp((double)log_weight[k]);
        own_log_weight[k] = log_weight[k];
        log_const[k] = (float)constant;
        cumulative[k] = k + 1 < K ? (float)below : 2.0f;
        finite = finite && !isnan(constant);
    }
    *q = (struct ebm_mixture){.D = D,
                              .K = K,
                              .mean = own_mean,
                              .inv_std = inv_std,
                              .std = std,
                              .log_weight = own_log_weight,
                              .log_const = log_const,
                              .cumulative = cumulative,
                              .support = support};
    return finite;
}

/* Mean and variance of coordinate d. */
static void moments(const float *mean, const float *log_variance, const float *log_weight, uint32_t d, uint32_t K,
                    double *ret_mean, double *ret_variance)
{
    double center = 0.0, variance = 0.0;
    for (uint32_t k = 0; k < K; k++)
        center += exp((double)log_weight[k]) * (double)mean[d * K + k];
    for (uint32_t k = 0; k < K; k++) {
        double off = (double)mean[d * K + k] - center;
        variance += exp((double)log_weight[k]) * (exp((double)log_variance[d * K + k]) + off * off);
    }
    *ret_mean = center;
    *ret_variance = variance;
}

bool ebm_mixture_defend(struct ebm_mixture *q, float *space, float *raw, const float *mean, const float *log_variance,
                        const float *log_weight, const struct ebm_support *support, uint32_t D, uint32_t K,
                        double share)
{
    uint32_t wider = K + 1;
    float *means = raw, *log_variances = means + (size_t)D * wider, *log_weights = log_variances + (size_t)D * wider;
    for (uint32_t d = 0; d < D; d++) {
        double center, variance;
        moments(mean, log_variance, log_weight, d, K, &center, &variance);
        memcpy(means + d * wider, mean + d * K, K * sizeof *means);
        memcpy(log_variances + d * wider, log_variance + d * K, K * sizeof *log_variances);
        means[d * wider + K] = (float)center;
        log_variances[d * wider + K] = (float)log(EBM_DEFENSIVE_WIDTH * EBM_DEFENSIVE_WIDTH * variance);
    }
    for (uint32_t k = 0; k < K; k++)
        log_weights[k] = (float)((double)log_weight[k] + log1p(-share));
    log_weights[K] = (float)log(share);
    return ebm_mixture_bind(q, space, means, log_variances, log_weights, support, D, wider);
}
