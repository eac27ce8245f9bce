/* estimate_units.c - what a device answered, in the target's units, and how far to trust it (reliable.h). */
#include <math.h>

#include "models/estimate_internal.h"
#include "models/reliable.h"
#include "models/target.h"

/* Standardised numbers -> the target's units, in place where the arrays are shared. */
static void finish_moments(struct ebm_prediction *p, const struct ebm_resolved_query *resolved,
                           const struct ebm_target_config *target)
{
    uint32_t D = target->dim, Q = resolved->spec.n_probabilities;
    for (uint32_t d = 0; d < D; d++) {
        double scale = target->std[d];
        for (uint32_t q = 0; q < Q; q++)
            p->raw.quantiles[(size_t)q * D + d] = ebm_target_unit(target, d, p->raw.quantiles[(size_t)q * D + d]);
        if (p->std != NULL)
            p->std[d] = sqrt(p->raw.variance[d]) * scale;
        p->mcse_mean[d] = p->raw.mcse_mean[d] * scale;
        p->raw.mean[d] = ebm_target_unit(target, d, p->raw.mean[d]);
        p->raw.variance[d] *= scale * scale;
    }
}

static void finish_shape(struct ebm_prediction *p, const struct ebm_resolved_query *resolved,
                         const struct ebm_target_config *target)
{
    uint32_t D = target->dim;
    for (size_t i = 0; p->covariance != NULL && i < (size_t)D * D; i++)
        p->covariance[i] *= target->std[i / D] * target->std[i % D];
    for (uint32_t d = 0; p->mode != NULL && d < D; d++)
        p->mode[d] = ebm_target_unit(target, d, p->mode[d]);
    for (uint32_t d = 0; p->entropy != NULL && d < D; d++)
        *p->entropy += log(target->std[d]);
    for (uint32_t i = 0; p->crps != NULL && i < resolved->query.n_crps; i++)
        p->crps[i] *= target->std[0];
    if (p->raw.region == NULL)
        return;
    p->n_intervals = p->raw.n_intervals;
    for (uint32_t i = 0; i < 2 * p->n_intervals; i++)
        p->intervals[i] = ebm_target_unit(target, 0, p->intervals[i]);
}

static void finish_samples(struct ebm_prediction *p, uint32_t n, const struct ebm_target_config *target)
{
    uint32_t D = target->dim;
    for (size_t i = 0; i < (size_t)n * D; i++)
        p->samples[i] = ebm_target_unit(target, (uint32_t)(i % D), (double)p->raw.draws[i]);
    for (size_t i = 0; p->log_weights != NULL && i < n; i++)
        p->log_weights[i] = (double)p->raw.log_weights[i];
}

/* f and log q -> densities per unit of the target, -inf outside of its bounds. A mixture stands for p itself: its f is
 * log q. */
static void finish_densities(struct ebm_prediction *p, uint32_t n, const struct ebm_target_config *target)
{
    const float *f = p->estimator == EBM_ESTIMATE_MIXTURE ? p->log_q : p->f;
    double log_scale = 0.0;
    for (uint32_t d = 0; d < target->dim; d++)
        log_scale += log(target->std[d]);
    for (uint32_t i = 0; i < n; i++) {
        if (p->unnormalized_log_prob != NULL)
            p->unnormalized_log_prob[i] = (double)f[i] - log_scale;
        if (p->log_prob != NULL)
            p->log_prob[i] = (double)f[i] - log_scale - p->log_normalizer;
        if (p->proposal_log_prob != NULL)
            p->proposal_log_prob[i] = (double)p->log_q[i] - log_scale;
    }
}

void ebm_prediction_finish(struct ebm_prediction *p, const struct ebm_resolved_query *resolved,
                           const struct ebm_target_config *target)
{
    if (ebm_query_climbs(&resolved->query)) {
        ebm_refinement_finish(&p->refinement, target);
        p->reason = isnan(p->refinement.mode[0]) ? "not_finite" : NULL;
        p->reliable = p->reason == NULL;
        return;
    }
    p->estimator = p->raw.used;
    p->acceptance = p->raw.acceptance;
    p->log_normalizer = p->raw.log_z;
    p->ess = p->raw.ess;
    p->max_weight = p->raw.max_weight;
    p->pareto_k = p->raw.pareto_k;
    p->num_samples = p->estimator == EBM_ESTIMATE_IMPORTANCE ? p->raw.samples : 0;
    p->log_normalizer_std_error = p->raw.log_z_std_error;
    p->pieces = p->raw.pieces;
    p->proper = p->raw.proper;
    for (int i = 0; i < 2; i++)
        p->support[i] = ebm_target_unit(target, 0, p->raw.support[i]);
    finish_moments(p, resolved, target);
    finish_shape(p, resolved, target);
    finish_samples(p, resolved->n_samples, target);
    finish_densities(p, resolved->query.n_targets, target);
    p->reason = ebm_doubt(p, resolved, target);
    p->reliable = p->reason == NULL;
}
