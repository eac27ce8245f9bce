/* quantile.c - a mixture's distribution function is monotone and cheap: bisection needs no safeguards. */
#include "core/quantile.h"

#include <math.h>

#include "core/circle.h"
#include "core/support.h"

bool ebm_mixture_is_periodic(const struct ebm_mixture *q, uint32_t d)
{
    return q->confined != NULL && q->support[d].kind == EBM_SUPPORT_PERIODIC;
}

struct ebm_circular ebm_mixture_circular(const struct ebm_mixture *q, uint32_t d)
{
    const struct ebm_support *support = &q->support[d];
    double period = support->upper - support->lower, cosine = 0.0, sine = 0.0, total = 0.0;
    for (uint32_t k = 0; k < q->K; k++) {
        double angle = 2.0 * M_PI * ((double)q->mean[d * q->K + k] - support->lower) / period;
        double weight = exp((double)q->log_weight[k]), rho = ebm_wrapped_harmonic(period, (double)q->std[d * q->K + k]);
        cosine += weight * rho * cos(angle);
        sine += weight * rho * sin(angle);
        total += weight;
    }
    return ebm_circular_of(support, cosine / total, sine / total);
}

/* Where the distribution function of coordinate d is 0 and 1. */
struct ends {
    double lower, upper;
};

/* A component's mass between y and the end below (side -1) or above (side 1). */
static double confined_tail(const struct ebm_mixture *q, uint32_t d, uint32_t k, double y, double side,
                            struct ends ends)
{
    const struct ebm_support *support = &q->support[d];
    double mean = (double)q->mean[d * q->K + k], std = (double)q->std[d * q->K + k];
    if (support->kind == EBM_SUPPORT_PERIODIC)
        return side < 0.0 ? ebm_wrapped_share(support, mean, std, ends.lower, y)
                          : ebm_wrapped_share(support, mean, std, y, ends.upper);
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
static double mixture_tail(const struct ebm_mixture *q, uint32_t d, double y, double side, struct ends ends,
                           double total)
{
    double sum = 0.0;
    bool is_line = q->confined == NULL || q->support[d].kind == EBM_SUPPORT_REAL;
    for (uint32_t k = 0; k < q->K; k++) {
        double z = (y - (double)q->mean[d * q->K + k]) * (double)q->inv_std[d * q->K + k];
        sum += exp((double)q->log_weight[k]) *
               (is_line ? 0.5 * erfc(side * z * M_SQRT1_2) : confined_tail(q, d, k, y, side, ends));
    }
    return sum / total;
}

static double mixture_quantile(const struct ebm_mixture *q, uint32_t d, double p, struct ends ends, double total)
{
    double low = ends.lower, high = ends.upper;
    bool is_upper = p > 0.5;
    for (int step = 0; step < 60; step++) {
        double middle = 0.5 * (low + high);
        bool is_below = is_upper ? mixture_tail(q, d, middle, 1.0, ends, total) > 1.0 - p
                                 : mixture_tail(q, d, middle, -1.0, ends, total) < p;
        if (is_below)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* Of the line: 40 standard deviations, beyond every double in (0, 1). */
static struct ends ends_of(const struct ebm_mixture *q, uint32_t d)
{
    struct ends ends = {INFINITY, -INFINITY};
    if (ebm_mixture_is_periodic(q, d)) {
        double cut = ebm_mixture_circular(q, d).cut;
        return (struct ends){cut, cut + (q->support[d].upper - q->support[d].lower)};
    }
    if (q->confined != NULL && q->support[d].kind != EBM_SUPPORT_REAL)
        return (struct ends){q->support[d].lower, q->support[d].upper};
    for (uint32_t k = 0; k < q->K; k++) {
        double mean = (double)q->mean[d * q->K + k], reach = 40.0 * (double)q->std[d * q->K + k];
        ends.lower = fmin(ends.lower, mean - reach);
        ends.upper = fmax(ends.upper, mean + reach);
    }
    return ends;
}

void ebm_quantile_mixture(double *ret, size_t stride, const double *probabilities, uint32_t n_p,
                          const struct ebm_mixture *q, uint32_t d)
{
    struct ends ends = ends_of(q, d);
    double total = 0.0;
    for (uint32_t k = 0; k < q->K; k++)
        total += exp((double)q->log_weight[k]);
    for (uint32_t p = 0; p < n_p; p++) {
        double y = mixture_quantile(q, d, probabilities[p], ends, total);
        ret[p * stride] = ebm_mixture_is_periodic(q, d) ? ebm_support_return(&q->support[d], y) : y;
    }
}

double ebm_mixture_cdf(const struct ebm_mixture *q, uint32_t d, double y)
{
    struct ends ends = ends_of(q, d);
    double total = 0.0;
    bool is_confined = q->confined != NULL && q->support[d].kind != EBM_SUPPORT_REAL;
    if (ebm_mixture_is_periodic(q, d))
        y = ebm_support_return(&(struct ebm_support){EBM_SUPPORT_PERIODIC, ends.lower, ends.upper}, y);
    if (is_confined && (y <= ends.lower || y >= ends.upper))
        return y >= ends.upper ? 1.0 : 0.0;
    for (uint32_t k = 0; k < q->K; k++)
        total += exp((double)q->log_weight[k]);
    return fmin(mixture_tail(q, d, y, -1.0, ends, total), 1.0);
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
