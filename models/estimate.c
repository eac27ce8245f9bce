/* estimate.c - the way of a prediction through models/:
 *
 *   ebm_query_resolve       user's words -> estimator and probabilities, once a request and model
 *   ebm_prediction_init     arrays of the answers, in the job's arena
 *   ebm_engine_predict      standardise x and targets (in double: they may be large and close together), run the
 *                           device, everything back into the target's units, judge how far to trust it (reliable.h) */
#include "models/estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/sobol.h"
#include "models/reliable.h"
#include "models/target.h"

/* ---- queries ---- */

static enum ebm_status choose_estimator(const struct ebm_query *query, const struct ebm_net_desc *net,
                                        enum ebm_estimator *ret_estimator, struct ebm_error *reterr)
{
    enum ebm_choice choice = query->choice;
    bool has_proposal = net->K > 0;
    if (query->weighted && (choice == EBM_CHOICE_MIXTURE || !net->has_energy))
        return ebm_error_set(reterr, EBM_INVALID, "resample",
                             "false needs the estimator 'importance' and a model with an energy net: draws of the "
                             "mixture have no weights");
    if (choice == EBM_CHOICE_AUTO)
        choice = net->has_energy ? EBM_CHOICE_IMPORTANCE : EBM_CHOICE_MIXTURE;
    if (!has_proposal)
        return ebm_error_set(reterr, EBM_INVALID, "estimator",
                             "this model has no proposal to draw from: it needs the estimator 'exact' or 'quadrature', "
                             "not available in this version");
    if (choice == EBM_CHOICE_IMPORTANCE && !net->has_energy)
        return ebm_error_set(reterr, EBM_INVALID, "estimator",
                             "this model has no energy net: ask for 'mixture' or 'auto' instead of 'importance'");
    *ret_estimator = choice == EBM_CHOICE_IMPORTANCE ? EBM_ESTIMATE_IMPORTANCE : EBM_ESTIMATE_MIXTURE;
    return EBM_OK;
}

/* Quantiles, the median, the ends of the interval, in this order, as far as they are asked for. */
static bool lay_probabilities(const struct ebm_query *query, struct ebm_arena *arena,
                              struct ebm_resolved_query *resolved)
{
    uint32_t n = query->outputs & EBM_OUTPUT(QUANTILES) ? query->n_quantiles : 0;
    double *probabilities = EBM_ARENA_NEW(arena, double, n + 3);
    if (probabilities == NULL)
        return false;
    if (n > 0)
        memcpy(probabilities, query->quantiles, n * sizeof *probabilities);
    resolved->median_at = n;
    if (query->outputs & EBM_OUTPUT(MEDIAN))
        probabilities[n++] = 0.5;
    resolved->interval_at = n;
    if (query->outputs & EBM_OUTPUT(INTERVAL)) {
        probabilities[n++] = 0.5 - 0.5 * query->interval_level;
        probabilities[n++] = fmin(0.5 + 0.5 * query->interval_level, 1.0 - 0x1p-53);
    }
    resolved->spec.probabilities = probabilities;
    resolved->spec.n_probabilities = n;
    return true;
}

static void choose_draws(const struct ebm_query *query, struct ebm_resolved_query *resolved)
{
    if (!(query->outputs & EBM_OUTPUT(SAMPLES)))
        return;
    uint32_t n_weighted = query->scheme == EBM_SCHEME_SOBOL ? ebm_sobol_count(query->num_samples) : query->num_samples;
    resolved->n_samples = query->weighted ? n_weighted : query->n_fair;
    resolved->spec.draws = query->weighted ? EBM_DRAWS_WEIGHTED : EBM_DRAWS_FAIR;
    resolved->spec.n_draws = resolved->n_samples;
}

static void choose_weights(const struct ebm_query *query, struct ebm_estimate_spec *spec)
{
    spec->scheme = query->scheme;
    spec->defensive = query->scheme == EBM_SCHEME_SOBOL ? EBM_DEFENSIVE_SHARE : 0.0;
    spec->target_ess = query->target_ess;
    spec->max_samples = query->max_samples;
    spec->smooth_weights = query->smooth_weights;
}

static bool climbs(const struct ebm_query *query)
{
    return query->refine != NULL && query->refine->method == EBM_REFINE_ASCENT;
}

static enum ebm_status resolve_refine(const struct ebm_query *query, const struct ebm_model *model,
                                      struct ebm_arena *arena, struct ebm_resolved_query *resolved,
                                      struct ebm_error *reterr)
{
    if (query->refine == NULL)
        return EBM_OK;
    enum ebm_status status = ebm_refine_resolve(query->refine, query->num_samples, model, arena, &resolved->refine,
                                                reterr);
    if (status != EBM_OK || climbs(query))
        return status;
    if (query->weighted || resolved->spec.estimator == EBM_ESTIMATE_MIXTURE)
        return ebm_error_set(reterr, EBM_INVALID, "refine",
                             query->weighted
                                 ? "weights do not belong to samples that have moved: leave out 'resample' or 'refine'"
                                 : "moves samples of p(y given x), not of its proposal: leave out the estimator "
                                   "'mixture'");
    resolved->spec.langevin = &resolved->refine->moves;
    return EBM_OK;
}

enum ebm_status ebm_query_resolve(const struct ebm_query *query, const struct ebm_model *model, struct ebm_arena *arena,
                                  struct ebm_resolved_query *ret_resolved, struct ebm_error *reterr)
{
    struct ebm_resolved_query resolved = {.query = *query};
    enum ebm_status status = EBM_OK;
    if (!climbs(query))
        status = choose_estimator(query, ebm_model_net(model), &resolved.spec.estimator, reterr);
    if (status == EBM_OK)
        status = resolve_refine(query, model, arena, &resolved, reterr);
    if (status != EBM_OK)
        return status;
    choose_draws(query, &resolved);
    choose_weights(query, &resolved.spec);
    if (!lay_probabilities(query, arena, &resolved))
        return ebm_error_set(reterr, EBM_NO_MEMORY, "quantiles", "no memory");
    *ret_resolved = resolved;
    return EBM_OK;
}

/* ---- predictions ---- */

static bool lay_out_moments(struct ebm_prediction *p, const struct ebm_resolved_query *resolved, uint32_t D,
                            struct ebm_arena *arena)
{
    uint32_t outputs = resolved->query.outputs, Q = resolved->spec.n_probabilities;
    double *block = EBM_ARENA_NEW(arena, double, (size_t)(6 + Q) * D), *quantiles = block + (size_t)6 * D;
    if (block == NULL)
        return false;
    p->raw.mean = block;
    p->raw.variance = block + D;
    p->raw.mcse_mean = block + (size_t)2 * D;
    p->raw.quantiles = Q > 0 ? quantiles : NULL;
    p->mean = outputs & EBM_OUTPUT(MEAN) ? p->raw.mean : NULL;
    p->std = outputs & EBM_OUTPUT(STD) ? block + (size_t)3 * D : NULL;
    p->variance = outputs & EBM_OUTPUT(VARIANCE) ? p->raw.variance : NULL;
    p->median = outputs & EBM_OUTPUT(MEDIAN) ? quantiles + (size_t)resolved->median_at * D : NULL;
    p->quantiles = outputs & EBM_OUTPUT(QUANTILES) ? quantiles : NULL;
    p->interval = outputs & EBM_OUTPUT(INTERVAL) ? quantiles + (size_t)resolved->interval_at * D : NULL;
    p->mcse_mean = block + (size_t)5 * D;
    return true;
}

static bool lay_out_samples(struct ebm_prediction *p, const struct ebm_resolved_query *resolved, uint32_t D,
                            struct ebm_arena *arena)
{
    size_t n = resolved->n_samples;
    if (n == 0)
        return true;
    p->samples = EBM_ARENA_NEW(arena, double, n *D);
    p->raw.draws = EBM_ARENA_NEW(arena, float, n *D);
    if (resolved->query.weighted) {
        p->log_weights = EBM_ARENA_NEW(arena, double, n);
        p->raw.log_weights = EBM_ARENA_NEW(arena, float, n);
    }
    return p->samples && p->raw.draws && (!resolved->query.weighted || (p->log_weights && p->raw.log_weights));
}

static bool lay_out_densities(struct ebm_prediction *p, const struct ebm_resolved_query *resolved, uint32_t D,
                              struct ebm_arena *arena)
{
    uint32_t outputs = resolved->query.outputs;
    size_t n = resolved->query.n_targets;
    if (n == 0)
        return true;
    double *block = EBM_ARENA_NEW(arena, double, 3 * n);
    p->y = EBM_ARENA_NEW(arena, float, n *D);
    p->f = EBM_ARENA_NEW(arena, float, n);
    p->log_q = EBM_ARENA_NEW(arena, float, n);
    if (!block || !p->y || !p->f || !p->log_q)
        return false;
    p->unnormalized_log_prob = outputs & EBM_OUTPUT(UNNORMALIZED_LOG_PROB) ? block : NULL;
    p->log_prob = outputs & EBM_OUTPUT(LOG_PROB) ? block + n : NULL;
    p->proposal_log_prob = outputs & EBM_OUTPUT(PROPOSAL_LOG_PROB) ? block + 2 * n : NULL;
    return true;
}

enum ebm_status ebm_prediction_init(struct ebm_prediction *predictions, uint32_t n,
                                    const struct ebm_resolved_query *resolved, const struct ebm_model *model,
                                    struct ebm_arena *arena)
{
    uint32_t D = ebm_model_net(model)->D;
    for (uint32_t i = 0; i < n; i++) {
        predictions[i] = (struct ebm_prediction){.estimator = resolved->spec.estimator};
        if (climbs(&resolved->query)) {
            if (ebm_refinement_init(&predictions[i].refinement, resolved->refine, D, arena) != EBM_OK)
                return EBM_NO_MEMORY;
            continue;
        }
        if (!lay_out_moments(&predictions[i], resolved, D, arena) ||
            !lay_out_samples(&predictions[i], resolved, D, arena) ||
            !lay_out_densities(&predictions[i], resolved, D, arena))
            return EBM_NO_MEMORY;
    }
    return EBM_OK;
}

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
    if (climbs(&resolved->query)) {
        ebm_refinement_finish(&p->refinement, target);
        p->reason = isnan(p->refinement.mode[0]) ? "not_finite" : NULL;
        p->reliable = p->reason == NULL;
        return;
    }
    bool drew = p->estimator == EBM_ESTIMATE_IMPORTANCE;
    p->acceptance = p->raw.acceptance;
    p->log_normalizer = p->raw.log_z;
    p->ess = p->raw.ess;
    p->max_weight = p->raw.max_weight;
    p->pareto_k = p->raw.pareto_k;
    p->num_samples = drew ? p->raw.samples : 0;
    p->log_normalizer_std_error = p->raw.log_z_std_error;
    finish_moments(p, resolved, target);
    finish_samples(p, resolved->n_samples, target);
    finish_densities(p, resolved->query.n_targets, target);
    p->reason = ebm_doubt(p, resolved, target);
    p->reliable = p->reason == NULL;
}

/* ---- the engine ---- */

struct ebm_engine {
    const struct ebm_device_ops *ops;
    struct ebm_ctx *ctx;
    struct ebm_ctx_limits limits;
    struct ebm_task *tasks; /* (max_rows) */
    float *x;               /* (max_rows, x_size) */
    size_t x_size;
};

enum ebm_status ebm_engine_new(const struct ebm_device_ops *ops, const struct ebm_ctx_limits *limits,
                               struct ebm_engine **ret_engine, struct ebm_error *reterr)
{
    struct ebm_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "engine", "no memory");
    engine->ops = ops;
    engine->limits = *limits;
    enum ebm_status status = ops->ctx_new(limits, &engine->ctx, reterr);
    if (status == EBM_OK) {
        engine->tasks = calloc(limits->max_rows, sizeof *engine->tasks);
        if (engine->tasks == NULL)
            status = ebm_error_set(reterr, EBM_NO_MEMORY, "engine", "no memory for %u rows", limits->max_rows);
    }
    if (status != EBM_OK) {
        (void)ebm_engine_free(engine);
        return status;
    }
    *ret_engine = engine;
    return EBM_OK;
}

struct ebm_engine *ebm_engine_free(struct ebm_engine *engine)
{
    if (engine == NULL)
        return NULL;
    (void)engine->ops->ctx_free(engine->ctx);
    free(engine->tasks);
    free(engine->x);
    free(engine);
    return NULL;
}

enum ebm_status ebm_engine_prepare(struct ebm_engine *engine, const struct ebm_model *model,
                                   const struct ebm_plan *plan, struct ebm_error *reterr)
{
    size_t X = ebm_model_net(model)->X;
    if (X > engine->x_size) {
        float *x = calloc((size_t)engine->limits.max_rows * X, sizeof *x);
        if (x == NULL)
            return ebm_error_set(reterr, EBM_NO_MEMORY, "engine", "no memory for %u rows of %zu numbers",
                                 engine->limits.max_rows, X);
        free(engine->x);
        engine->x = x;
        engine->x_size = X;
    }
    return engine->ops->ctx_prepare(engine->ctx, plan, reterr);
}

void ebm_standardize(float *to, const double *from, const double *mean, const double *std, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)((from[i] - mean[i]) / std[i]);
}

static void stage(struct ebm_engine *engine, const struct ebm_config *config, const struct ebm_item *item, uint32_t i)
{
    const struct ebm_query *query = &item->resolved->query;
    const struct ebm_target_config *target = &config->target;
    struct ebm_prediction *out = item->out;
    size_t X = config->input.size, D = target->dim;
    ebm_standardize(engine->x + i * X, item->x, config->input.mean, config->input.std, X);
    for (uint32_t g = 0; g < query->n_targets; g++)
        ebm_target_standardize(target, item->targets + g * D, out->y + g * D);
    for (uint32_t g = 0; g < query->n_targets; g++)
        out->targets_outside += ebm_target_outside(target, item->targets + g * D) < D;
    engine->tasks[i] = (struct ebm_task){
        .row = {.seed = query->seed, .row_in_request = item->row_in_request, .samples = query->num_samples},
        .spec = &item->resolved->spec,
        .out = &out->raw,
        .n_y = query->n_targets,
        .h_y = out->y,
        .h_f = out->f,
        .h_log_q = out->log_q,
        .wanted = item->wanted,
        .who = item->who,
    };
    if (climbs(query))
        ebm_refinement_stage(&out->refinement, item->resolved->refine, target, item->targets, &engine->tasks[i]);
}

enum ebm_status ebm_engine_predict(struct ebm_engine *engine, const struct ebm_model *model,
                                   const struct ebm_plan *plan, const struct ebm_item *items, uint32_t n)
{
    const struct ebm_config *config = ebm_model_config(model);
    EBM_ASSERT(n >= 1 && n <= engine->limits.max_rows && config->input.size <= engine->x_size);
    for (uint32_t i = 0; i < n; i++)
        stage(engine, config, &items[i], i);
    enum ebm_status status = engine->ops->predict(engine->ctx, plan, engine->x, engine->tasks, n);
    if (status == EBM_OK)
        status = engine->ops->sync(engine->ctx);
    for (uint32_t i = 0; status == EBM_OK && i < n; i++)
        if (items[i].out->raw.status != EBM_CANCELLED)
            ebm_prediction_finish(items[i].out, items[i].resolved, &config->target);
    return status;
}
