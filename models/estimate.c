/* estimate.c - the way of a prediction through models/:
 *
 *   ebm_query_resolve       estimate_query.c: user's words -> estimator and probabilities, once a request and model
 *   ebm_prediction_init     arrays of the answers, in the job's arena
 *   ebm_engine_predict      standardise x and targets (in double: they may be large and close together), run the
 *                           device; estimate_units.c: everything back into the target's units, how far to trust it */
#include "models/estimate.h"

#include <stdlib.h>
#include <string.h>

#include "models/estimate_internal.h"
#include "models/parity.h"
#include "models/target.h"

/* ---- predictions ---- */

static bool lay_out_moments(struct ebm_prediction *p, const struct ebm_resolved_query *resolved, uint32_t D,
                            struct ebm_arena *arena)
{
    uint32_t outputs = resolved->query.outputs, Q = resolved->spec.n_probabilities;
    double *block = EBM_ARENA_NEW(arena, double, (size_t)(5 + Q) * D), *quantiles = block + (size_t)5 * D;
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
    if (outputs & EBM_OUTPUT(INTERVAL) && !resolved->query.highest_density) {
        p->intervals = quantiles + (size_t)resolved->interval_at * D;
        p->n_intervals = 1;
    }
    p->mcse_mean = block + (size_t)4 * D;
    return true;
}

/* n numbers when `asked`, else none. False: no memory. */
static bool lay_out(double **ret, bool asked, size_t n, struct ebm_arena *arena)
{
    *ret = asked && n > 0 ? EBM_ARENA_NEW(arena, double, n) : NULL;
    return *ret != NULL || !asked || n == 0;
}

static bool lay_out_shape(struct ebm_prediction *p, const struct ebm_resolved_query *resolved, uint32_t D,
                          struct ebm_arena *arena)
{
    const struct ebm_query *query = &resolved->query;
    uint32_t outputs = query->outputs;
    size_t n_at = (size_t)query->n_cdf + query->n_crps;
    bool by_height = outputs & EBM_OUTPUT(INTERVAL) && query->highest_density;
    bool ok = lay_out(&p->covariance, (outputs & EBM_OUTPUT(COVARIANCE)) != 0, (size_t)D * D, arena) &&
              lay_out(&p->mode, (outputs & EBM_OUTPUT(MODE)) != 0, D, arena) &&
              lay_out(&p->entropy, (outputs & EBM_OUTPUT(ENTROPY)) != 0, 1, arena) &&
              lay_out(&p->cdf, query->n_cdf > 0, n_at, arena) && lay_out(&p->at, true, n_at, arena) &&
              lay_out(&p->raw.crps, query->n_crps > 0, n_at, arena);
    if (ok && by_height)
        ok = lay_out(&p->intervals, true, (size_t)EBM_MAX_INTERVALS * 2, arena);
    p->raw.covariance = p->covariance;
    p->raw.mode = p->mode;
    p->raw.entropy = p->entropy;
    p->raw.cdf = p->cdf;
    p->crps = p->raw.crps != NULL ? p->raw.crps + query->n_cdf : NULL;
    p->raw.region = by_height ? p->intervals : NULL;
    return ok;
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
        if (ebm_query_climbs(&resolved->query)) {
            if (ebm_refinement_init(&predictions[i].refinement, resolved->refine, D, arena) != EBM_OK)
                return EBM_NO_MEMORY;
            continue;
        }
        if (!lay_out_moments(&predictions[i], resolved, D, arena) ||
            !lay_out_shape(&predictions[i], resolved, D, arena) ||
            !lay_out_samples(&predictions[i], resolved, D, arena) ||
            !lay_out_densities(&predictions[i], resolved, D, arena))
            return EBM_NO_MEMORY;
    }
    return EBM_OK;
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

enum ebm_status ebm_engine_check(struct ebm_engine *engine, const struct ebm_model *model, const struct ebm_plan *plan,
                                 struct ebm_error *reterr)
{
    const struct ebm_parity *parity = ebm_model_parity(model);
    if (parity == NULL)
        return EBM_OK;
    return ebm_parity_check(parity, engine->ops, engine->ctx, plan, engine->limits.max_samples, reterr);
}

void ebm_standardize(float *to, const double *from, const double *mean, const double *std, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)((from[i] - mean[i]) / std[i]);
}

void ebm_standardize_bytes(float *to, const uint8_t *from, const double *mean, const double *std, size_t n)
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
    if (item->x != NULL)
        ebm_standardize(engine->x + i * X, item->x, config->input.mean, config->input.std, X);
    else
        ebm_standardize_bytes(engine->x + i * X, item->x_bytes, config->input.mean, config->input.std, X);
    for (uint32_t g = 0; g < query->n_targets; g++)
        ebm_target_standardize(target, item->targets + g * D, out->y + g * D);
    out->targets_outside = 0;
    for (uint32_t g = 0; g < query->n_targets; g++)
        out->targets_outside += ebm_target_outside(target, item->targets + g * D) < D;
    for (uint32_t j = 0; j < query->n_cdf + query->n_crps; j++) {
        double at = j < query->n_cdf ? item->cdf[j] : item->crps[j - query->n_cdf];
        if (target->support[0] == EBM_SUPPORT_PERIODIC)
            at = ebm_target_return(target, 0, at);
        out->at[j] = (at - target->mean[0]) / target->std[0];
    }
    engine->tasks[i] = (struct ebm_task){
        .row = {.seed = query->seed, .row_in_request = item->row_in_request, .samples = query->num_samples},
        .spec = &item->resolved->spec,
        .out = &out->raw,
        .n_y = query->n_targets,
        .h_y = out->y,
        .h_f = out->f,
        .h_log_q = out->log_q,
        .n_at = query->n_cdf + query->n_crps,
        .h_at = out->at,
        .wanted = item->wanted,
        .hurried = item->hurried,
        .who = item->who,
    };
    if (ebm_query_climbs(query))
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
