/* reliable.c - one doubt after the other; the first one stands in the answer.
 *
 * The limits on draws were fitted to answers whose error is known (bench/reliable.c, bench/reliable.py; what they miss
 * and what they doubt for nothing is in docs/MATHEMATICS.md). pareto_k is told and not judged: no fitted rule had use
 * for it. */
#include "models/reliable.h"

#include <math.h>

#define RELIABLE_ESS_RATIO 0.02   /* effective samples of all samples, at least */
#define RELIABLE_MAX_WEIGHT 0.1   /* share of the largest weight, at most */
#define RELIABLE_ENERGY_STEP 0.01 /* nats between one float and the next where the energies lie, at most */
#define RELIABLE_STD_STEPS 16.0   /* floats that a standard deviation spans, at least */
#define RELIABLE_MCSE_RATIO 0.12  /* Monte Carlo error of the mean in standard deviations, at most */
#define RELIABLE_QUADRATURE 1e-4  /* relative difference of the two rules, at most */

/* Does the row have all its numbers, in the target's units? A target far off may have none of its own: that says
 * nothing of the row. */
static bool is_finite(const struct ebm_prediction *p, const struct ebm_resolved_query *resolved, uint32_t D)
{
    const struct ebm_query *query = &resolved->query;
    size_t n_q = (size_t)resolved->spec.n_probabilities * D;
    const struct {
        const double *values;
        size_t n;
    } arrays[] = {{p->raw.mean, D},
                  {p->raw.variance, D},
                  {p->mcse_mean, D},
                  {p->std, D},
                  {p->raw.quantiles, n_q},
                  {p->covariance, (size_t)D * D},
                  {p->mode, D},
                  {p->entropy, 1},
                  {p->cdf, query->n_cdf},
                  {p->crps, query->n_crps},
                  {p->intervals, 2 * (size_t)p->n_intervals * D}};
    bool finite = p->raw.status == EBM_OK && isfinite(p->log_normalizer);
    for (size_t i = 0; i < EBM_COUNT_OF(arrays); i++)
        for (size_t j = 0; arrays[i].values != NULL && j < arrays[i].n; j++)
            finite = finite && isfinite(arrays[i].values[j]);
    return finite;
}

/* From one float to the next, where the networks see y. In the target's unit. */
static double float_step(double y, const struct ebm_target_config *target, uint32_t d)
{
    return fmax(fabs(y - target->mean[d]), target->std[d]) * 0x1p-24;
}

/* Of what was drawn; p in the target's units: a ratio of errors is the same in any. */
static const char *doubt_draws(const struct ebm_prediction *p, const struct ebm_target_config *target)
{
    if (p->ess < RELIABLE_ESS_RATIO * p->num_samples)
        return "low_ess";
    if (p->max_weight > RELIABLE_MAX_WEIGHT)
        return "dominant_weight";
    for (uint32_t d = 0; d < target->dim; d++)
        if (sqrt(p->raw.variance[d]) <= RELIABLE_STD_STEPS * float_step(p->raw.mean[d], target, d))
            return "no_spread";
    for (uint32_t d = 0; d < target->dim; d++)
        if (p->mcse_mean[d] > RELIABLE_MCSE_RATIO * sqrt(p->raw.variance[d]))
            return "noisy_mean";
    return NULL;
}

/* On a stated support the answer is that of the support; elsewhere there is none where the integral is infinite. */
static bool has_integral(const struct ebm_prediction *p, const struct ebm_target_config *target)
{
    for (uint32_t d = 0; d < target->dim && !p->proper; d++)
        if (target->lower == NULL || !isfinite(target->lower[d]) || !isfinite(target->upper[d]))
            return false;
    return true;
}

/* Of what was integrated. */
static const char *doubt_integral(const struct ebm_prediction *p, const struct ebm_target_config *target)
{
    if (p->estimator == EBM_ESTIMATE_EXACT)
        return NULL;
    if (p->log_normalizer_std_error > RELIABLE_QUADRATURE)
        return "not_converged";
    return sqrt(p->raw.variance[0]) <= RELIABLE_STD_STEPS * float_step(p->raw.mean[0], target, 0) ? "no_spread" : NULL;
}

const char *ebm_doubt(const struct ebm_prediction *p, const struct ebm_resolved_query *resolved,
                      const struct ebm_target_config *target)
{
    if (!is_finite(p, resolved, target->dim))
        return "not_finite";
    if (p->estimator == EBM_ESTIMATE_MIXTURE)
        return NULL;
    if (!has_integral(p, target))
        return "improper";
    if (fabs(p->log_normalizer) * 0x1p-24 > RELIABLE_ENERGY_STEP)
        return "coarse_energies";
    return p->estimator == EBM_ESTIMATE_IMPORTANCE ? doubt_draws(p, target) : doubt_integral(p, target);
}
