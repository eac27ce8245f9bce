/* mixture.c - a row's mixture from what the proposal nets say: weights normalised and everything derived once, in
 * double, so that the kernels only multiply and add.
 *
 *   space   | confined (D, K) | mean, std, inv_std (D, K each) | log_weight, log_const, below (K each) |
 *
 * Truncated components of a bounded coordinate differ from plain ones by constants alone, and these are made here. */
#include <math.h>
#include <string.h>

#include "core/device_internal.h"
#include "core/support.h"

#define LOG_2_PI 1.8378770664093454836
#define FAR 35.0 /* standard deviations outside of the bounds: from here tail masses are too small for a double */

#define CONFINED_FLOATS (sizeof(struct ebm_confined) / sizeof(float))

size_t ebm_mixture_count(uint32_t D, uint32_t K)
{
    return ((3 + CONFINED_FLOATS) * D + 3) * K + EBM_ALIGNMENT / sizeof(float);
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

/* Mass of a normal beyond z >= FAR standard deviations, times exp(z^2 / 2) sqrt(2 pi). */
static double far_mills(double z)
{
    double s = 1.0 / (z * z);
    return (1.0 - s * (1.0 - s * (3.0 - 15.0 * s))) / z;
}

/* The binders return the log of what the component's density is divided by. */
static double bind_bounded(struct ebm_confined *c, const struct ebm_support *support, double mean, double std)
{
    struct ebm_truncated t;
    ebm_truncated_init(&t, support, mean, std);
    double depth = fabs(t.alpha);
    *c = (struct ebm_confined){.anchor = (float)t.anchor,
                               .slope = (float)(2.0 * t.alpha),
                               .first = (float)t.first,
                               .second = (float)(t.second + 2.0 * t.alpha * t.first),
                               .is_far = depth > FAR,
                               .below = 0.5 * erfc((mean - support->lower) / std * M_SQRT1_2),
                               .mass = t.integral * exp(-0.5 * depth * depth - 0.5 * LOG_2_PI),
                               .above = 0.5 * erfc((support->upper - mean) / std * M_SQRT1_2),
                               .mean = mean,
                               .std = std,
                               .alpha = t.alpha};
    if (c->is_far)
        c->share = fmin(t.integral / far_mills(depth), 1.0);
    return log(std) + log(t.integral);
}

float ebm_confined_far(const struct ebm_confined *c, const struct ebm_support *support, uint32_t word)
{
    double u = ebm_uniform(word), from_anchor = c->alpha > 0.0 ? u : 1.0 - u;
    double t = c->std * ebm_truncated_far(fabs(c->alpha), c->share, from_anchor);
    double y = c->alpha > 0.0 ? support->lower + t : support->upper - t;
    return (float)fmin(fmax(y, support->lower), support->upper);
}

static double bind_periodic(struct ebm_confined *c, const struct ebm_support *support, double std)
{
    double period = support->upper - support->lower;
    *c = (struct ebm_confined){.ratio = (float)(period / std), .images = ebm_wrapped_images(period, std)};
    if (c->images > 0)
        return log(std) + 0.5 * LOG_2_PI;
    c->harmonic = (float)(2.0 * ebm_wrapped_harmonic(period, std));
    return log(period);
}

static double bind_coordinate(const struct ebm_support *support, float *mean, double log_variance,
                              struct ebm_confined *c)
{
    double std = exp(0.5 * log_variance);
    if (support == NULL || support->kind == EBM_SUPPORT_REAL)
        return 0.5 * log_variance + 0.5 * LOG_2_PI;
    if (support->kind == EBM_SUPPORT_BOUNDED)
        return bind_bounded(c, support, (double)*mean, std);
    *mean = (float)ebm_support_return(support, (double)*mean);
    return bind_periodic(c, support, std);
}

/* ---- one coordinate ---- */

static struct ebm_score bounded_score(const struct ebm_confined *c, double y, double inv_std)
{
    double t = (y - (double)c->anchor) * inv_std, square = t * (t + (double)c->slope);
    return (struct ebm_score){-0.5 * square, t + c->alpha, t - (double)c->first, square - (double)c->second};
}

static struct ebm_score harmonic_score(const struct ebm_confined *c, double turns)
{
    double turn = 2.0 * M_PI / (double)c->ratio, angle = 2.0 * M_PI * turns, h = (double)c->harmonic;
    double all = 1.0 + h * cos(angle), first = h * turn * sin(angle) / all;
    return (struct ebm_score){log(all), first, first, -h * turn * turn * cos(angle) / all};
}

static struct ebm_score periodic_score(const struct ebm_confined *c, const struct ebm_support *support, double off,
                                       double inv_std)
{
    double period = support->upper - support->lower, sum = 0.0, first = 0.0, second = 0.0;
    off -= period * round(off / period);
    if (c->images == 0)
        return harmonic_score(c, off / period);
    for (int j = -(int)c->images; j <= (int)c->images; j++) {
        double z = (off + j * period) * inv_std, mass = exp(-0.5 * (z * z - off * off * inv_std * inv_std));
        sum += mass;
        first += mass * z;
        second += mass * z * z;
    }
    return (struct ebm_score){log(sum) - 0.5 * off * off * inv_std * inv_std, first / sum, first / sum,
                              second / sum - 1.0};
}

struct ebm_score ebm_mixture_score(const struct ebm_mixture *q, uint32_t d, uint32_t k, double y)
{
    size_t at = (size_t)d * q->K + k;
    double inv_std = (double)q->inv_std[at], off = y - (double)q->mean[at], z = off * inv_std;
    if (q->confined != NULL && q->support[d].kind == EBM_SUPPORT_BOUNDED)
        return bounded_score(&q->confined[at], y, inv_std);
    if (q->confined != NULL && q->support[d].kind == EBM_SUPPORT_PERIODIC)
        return periodic_score(&q->confined[at], &q->support[d], off, inv_std);
    return (struct ebm_score){-0.5 * z * z, z, z, z * z - 1.0};
}

/* ---- the whole ---- */

bool ebm_mixture_bind(struct ebm_mixture *q, float *space, const float *mean, const float *log_variance,
                      const float *log_weight, const struct ebm_support *support, uint32_t D, uint32_t K)
{
    size_t DK = (size_t)D * K;
    bool finite = true, is_confined = ebm_support_is_confined(support, D);
    struct ebm_confined *confined = (void *)ebm_round_up((uintptr_t)space, EBM_ALIGNMENT);
    float *own_mean = is_confined ? (float *)(void *)(confined + DK) : space, *std = own_mean + DK;
    float *inv_std = std + DK, *own_log_weight = inv_std + DK;
    float *log_const = own_log_weight + K;
    uint32_t *below = (uint32_t *)(void *)(log_const + K);
    double cumulative = 0.0;
    for (size_t i = 0; i < DK; i++) {
        own_mean[i] = mean[i];
        std[i] = (float)exp(0.5 * (double)log_variance[i]);
        inv_std[i] = (float)exp(-0.5 * (double)log_variance[i]);
        finite = finite && isfinite(mean[i]) && isfinite(std[i]) && isfinite(inv_std[i]);
    }
    for (uint32_t k = 0; k < K; k++) {
        double constant = (double)log_weight[k];
        for (uint32_t d = 0; d < D; d++)
            constant -= bind_coordinate(support != NULL ? &support[d] : NULL, &own_mean[d * K + k],
                                        (double)log_variance[d * K + k], &confined[d * K + k]);
        cumulative += exp((double)log_weight[k]);
        own_log_weight[k] = log_weight[k];
        log_const[k] = (float)constant;
        below[k] = ebm_words_below(cumulative);
        finite = finite && !isnan(constant);
    }
    *q = (struct ebm_mixture){.D = D,
                              .K = K,
                              .mean = own_mean,
                              .inv_std = inv_std,
                              .std = std,
                              .log_weight = own_log_weight,
                              .log_const = log_const,
                              .below = below,
                              .support = support,
                              .confined = is_confined ? confined : NULL};
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
        if (support != NULL && support[d].kind != EBM_SUPPORT_REAL) { /* about uniform over what there is */
            double width = (support[d].upper - support[d].lower) / EBM_DEFENSIVE_WIDTH;
            center = 0.5 * (support[d].lower + support[d].upper);
            variance = width * width;
        }
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
