/* quantile.c - a mixture's distribution function is monotone and cheap: bisection needs no safeguards. */
#include "core/quantile.h"

#include <math.h>

#include "core/support.h"

/* A component's mass below y (side -1) or above (side 1) within the support. */
static double confined_tail(const struct ebm_mixture *q, uint32_t d, uint32_t k, double y, double side)
{
    const struct ebm_support *support = &q->support[d];
    double mean = (double)q->mean[d * q->K + k], std = (double)q->std[d * q->K + k];
    if (support->kind == EBM_SUPPORT_PERIODIC)
        return side < 0.0 ? ebm_wrapped_share(support, mean, std, support->lower, y)
                          : ebm_wrapped_share(support, mean, std, y, support->upper);
    const struct ebm_confined *c = &q->confined[d * q->K + k];
    double z = (y - mean) / std;
    if (!c->is_far)
        return (side < 0.0 ? ebm_normal_between((support->lower - mean) / std, z)
                           : ebm_normal_between(z, (support->upper - mean) / std)) /
               c->mass;
    struct ebm_truncated t;
    ebm_truncated_init(&t, support, mean, std);
    double at = fmin(fmax((y - t.anchor) / std, t.from), t.to);
    return side < 0.0 ? ebm_truncated_share(&t, t.from, at) : ebm_truncated_share(&t, at, t.to);
}

/* The mass beyond y, below (side -1) or above (side 1), each without cancellation. The weights are floats: `total` is
 * what they sum to. */
static double mixture_tail(const struct ebm_mixture *q, uint32_t d, double y, double side, double total)
{
    double sum = 0.0;
    bool is_line = q->confined == NULL || q->support[d].kind == EBM_SUPPORT_REAL;
    for (uint32_t k = 0; k < q->K; k++) {
        double z = (y - (double)q->mean[d * q->K + k]) * (double)q->inv_std[d * q->K + k];
        sum += exp((double)q->log_weight[k]) *
               (is_line ? 0.5 * erfc(side * z * M_SQRT1_2) : confined_tail(q, d, k, y, side));
    }
    return sum / total;
}

static double mixture_quantile(const struct ebm_mixture *q, uint32_t d, double p, double low, double high, double total)
{
    bool is_upper = p > 0.5;
    for (int step = 0; step < 60; step++) {
        double middle = 0.5 * (low + high);
        bool is_below = is_upper ? mixture_tail(q, d, middle, 1.0, total) > 1.0 - p
                                 : mixture_tail(q, d, middle, -1.0, total) < p;
        if (is_below)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

void ebm_quantile_mixture(double *ret, size_t stride, const double *probabilities, uint32_t n_p,
                          const struct ebm_mixture *q, uint32_t d)
{
    double low = INFINITY, high = -INFINITY, total = 0.0;
    for (uint32_t k = 0; k < q->K; k++) { /* 40 standard deviations: beyond every double in (0, 1) */
        double mean = (double)q->mean[d * q->K + k], reach = 40.0 * (double)q->std[d * q->K + k];
        low = fmin(low, mean - reach);
        high = fmax(high, mean + reach);
        total += exp((double)q->log_weight[k]);
    }
    if (q->confined != NULL && q->support[d].kind != EBM_SUPPORT_REAL) {
        low = q->support[d].lower;
        high = q->support[d].upper;
    }
    for (uint32_t p = 0; p < n_p; p++)
        ret[p * stride] = mixture_quantile(q, d, probabilities[p], low, high, total);
}

double ebm_mixture_cdf(const struct ebm_mixture *q, uint32_t d, double y)
{
    double total = 0.0;
    bool is_confined = q->confined != NULL && q->support[d].kind != EBM_SUPPORT_REAL;
    if (is_confined && (y <= q->support[d].lower || y >= q->support[d].upper))
        return y >= q->support[d].upper ? 1.0 : 0.0;
    for (uint32_t k = 0; k < q->K; k++)
        total += exp((double)q->log_weight[k]);
    return fmin(mixture_tail(q, d, y, -1.0, total), 1.0);
}

/* E|N(mean, std^2)| */
static double mean_distance(double mean, double std)
{
    double z = mean / std;
    return mean * erf(z * M_SQRT1_2) + std * sqrt(2.0 / M_PI) * exp(-0.5 * z * z);
}

double ebm_mixture_crps(const struct ebm_mixture *q, double y)
{
    double sum = 0.0, total = 0.0;
    for (uint32_t k = 0; k < q->K; k++)
        total += exp((double)q->log_weight[k]);
    for (uint32_t k = 0; k < q->K; k++) {
        double weight = exp((double)q->log_weight[k]) / total, mean = (double)q->mean[k], std = (double)q->std[k];
        sum += weight * mean_distance(y - mean, std);
        for (uint32_t l = 0; l < q->K; l++)
            sum -= 0.5 * weight * exp((double)q->log_weight[l]) / total *
                   mean_distance(mean - (double)q->mean[l], hypot(std, (double)q->std[l]));
    }
    return sum;
}
