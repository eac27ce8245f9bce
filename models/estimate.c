/* estimate.c - the way of a prediction through models/:
 *
 *   ebm_query_resolve       user's words -> estimator and probabilities, once a request and model
 *   ebm_prediction_init     arrays of the answers, in the job's arena
 *   ebm_engine_predict      standardise x (in double: inputs may be large and close together), run the device,
 *                           mean and spread back into the target's units, judge how far to trust it
 *
 * The rule of trust is by convention and not yet measured against exact answers: see RELIABLE_* below. */
#include "models/estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RELIABLE_ESS_RATIO 0.05 /* effective samples of all samples, at least */
#define RELIABLE_MAX_WEIGHT 0.1 /* share of the largest weight, at most */
#define RELIABLE_MCSE_RATIO 0.1 /* Monte Carlo error of the mean in standard deviations, at most */

/* ---- queries ---- */

static enum ebm_status choose_estimator(enum ebm_choice choice, const struct ebm_net_desc *net,
                                        enum ebm_estimator *ret_estimator, struct ebm_error *reterr)
{
    bool has_proposal = net->K > 0;
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

enum ebm_status ebm_query_resolve(const struct ebm_query *query, const struct ebm_model *model, struct ebm_arena *arena,
                                  struct ebm_resolved_query *ret_resolved, struct ebm_error *reterr)
{
    struct ebm_resolved_query resolved = {.query = *query};
    enum ebm_status status = choose_estimator(query->choice, ebm_model_net(model), &resolved.spec.estimator, reterr);
    if (status != EBM_OK)
        return status;
    uint32_t n = query->outputs & EBM_OUTPUT(QUANTILES) ? query->n_quantiles : 0;
    bool wants_median = (query->outputs & EBM_OUTPUT(MEDIAN)) != 0;
    double *probabilities = EBM_ARENA_NEW(arena, double, n + 1);
    if (probabilities == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "quantiles", "no memory");
    if (n > 0)
        memcpy(probabilities, query->quantiles, n * sizeof *probabilities);
    probabilities[n] = 0.5;
    resolved.median_at = n;
    resolved.spec.probabilities = probabilities;
    resolved.spec.n_probabilities = n + (wants_median ? 1 : 0);
    *ret_resolved = resolved;
    return EBM_OK;
}

/* ---- predictions ---- */

static bool lay_out(struct ebm_prediction *p, const struct ebm_resolved_query *resolved, uint32_t D,
                    struct ebm_arena *arena)
{
    uint32_t outputs = resolved->query.outputs, Q = resolved->spec.n_probabilities;
    double *block = EBM_ARENA_NEW(arena, double, (size_t)(6 + Q) * D);
    if (block == NULL)
        return false;
    *p = (struct ebm_prediction){.estimator = resolved->spec.estimator};
    p->raw.mean = block;
    p->raw.variance = block + D;
    p->raw.mcse_mean = block + (size_t)2 * D;
    p->raw.quantiles = Q > 0 ? block + (size_t)6 * D : NULL;
    p->mean = outputs & EBM_OUTPUT(MEAN) ? p->raw.mean : NULL;
    p->std = outputs & EBM_OUTPUT(STD) ? block + (size_t)3 * D : NULL;
    p->variance = outputs & EBM_OUTPUT(VARIANCE) ? p->raw.variance : NULL;
    p->median = outputs & EBM_OUTPUT(MEDIAN) ? block + (size_t)4 * D : NULL;
    p->quantiles = outputs & EBM_OUTPUT(QUANTILES) ? p->raw.quantiles : NULL;
    p->mcse_mean = block + (size_t)5 * D;
    return true;
}

enum ebm_status ebm_prediction_init(struct ebm_prediction *predictions, uint32_t n,
                                    const struct ebm_resolved_query *resolved, const struct ebm_model *model,
                                    struct ebm_arena *arena)
{
    for (uint32_t i = 0; i < n; i++)
        if (!lay_out(&predictions[i], resolved, ebm_model_net(model)->D, arena))
            return EBM_NO_MEMORY;
    return EBM_OK;
}

/* Does everything that was asked for have a number, in the target's units? */
static bool is_finite(const struct ebm_prediction *p, uint32_t Q, uint32_t D)
{
    const double *arrays[] = {p->raw.mean, p->raw.variance, p->mcse_mean, p->std, p->median, p->quantiles};
    bool finite = p->raw.status == EBM_OK && isfinite(p->log_normalizer);
    for (size_t i = 0; i < EBM_COUNT_OF(arrays); i++)
        for (size_t j = 0; arrays[i] != NULL && j < (arrays[i] == p->quantiles ? (size_t)Q * D : D); j++)
            finite = finite && isfinite(arrays[i][j]);
    return finite;
}

/* p in the target's units; a ratio of errors is the same in any. */
static const char *doubt(const struct ebm_prediction *p, uint32_t Q, uint32_t D)
{
    if (!is_finite(p, Q, D))
        return "not_finite";
    if (p->estimator == EBM_ESTIMATE_MIXTURE)
        return NULL;
    if (p->ess < RELIABLE_ESS_RATIO * p->num_samples)
        return "low_ess";
    if (p->max_weight > RELIABLE_MAX_WEIGHT)
        return "dominant_weight";
    for (uint32_t d = 0; d < D; d++)
        if (p->mcse_mean[d] > RELIABLE_MCSE_RATIO * sqrt(p->raw.variance[d]))
            return "noisy_mean";
    return NULL;
}

/* Standardised numbers -> the target's units, in place where the arrays are shared. */
static void finish(struct ebm_prediction *p, const struct ebm_resolved_query *resolved,
                   const struct ebm_target_config *target)
{
    uint32_t D = target->dim, Q = resolved->query.n_quantiles;
    p->log_normalizer = p->raw.log_z;
    p->ess = p->raw.ess;
    p->max_weight = p->raw.max_weight;
    p->num_samples = p->estimator == EBM_ESTIMATE_IMPORTANCE ? resolved->query.num_samples : 0;
    for (uint32_t d = 0; d < D; d++) {
        double shift = target->mean[d], scale = target->std[d];
        if (p->median != NULL)
            p->median[d] = p->raw.quantiles[(size_t)resolved->median_at * D + d] * scale + shift;
        for (uint32_t q = 0; p->quantiles != NULL && q < Q; q++)
            p->quantiles[(size_t)q * D + d] = p->raw.quantiles[(size_t)q * D + d] * scale + shift;
        if (p->std != NULL)
            p->std[d] = sqrt(p->raw.variance[d]) * scale;
        p->mcse_mean[d] = p->raw.mcse_mean[d] * scale;
        p->raw.mean[d] = p->raw.mean[d] * scale + shift;
        p->raw.variance[d] *= scale * scale;
    }
    p->reason = doubt(p, Q, D);
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

struct ebm_ctx *ebm_engine_ctx(struct ebm_engine *engine)
{
    return engine->ctx;
}

void ebm_standardize(float *to, const double *from, const double *mean, const double *std, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)((from[i] - mean[i]) / std[i]);
}

static void stage(struct ebm_engine *engine, const struct ebm_config *config, const struct ebm_item *item, uint32_t i)
{
    const struct ebm_query *query = &item->resolved->query;
    size_t X = config->input.size;
    ebm_standardize(engine->x + i * X, item->x, config->input.mean, config->input.std, X);
    engine->tasks[i] = (struct ebm_task){
        .row = {.seed = query->seed, .row_in_request = item->row_in_request, .samples = query->num_samples},
        .spec = &item->resolved->spec,
        .out = &item->out->raw,
        .wanted = item->wanted,
        .who = item->who,
    };
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
            finish(items[i].out, items[i].resolved, &config->target);
    return status;
}

/* ---- log p(y|x) ---- */

/* log Z of row b of the last features, from `samples` draws. */
static enum ebm_status row_log_z(struct ebm_engine *engine, uint32_t b, const struct ebm_row *row, double *ret_log_z)
{
    static const struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_IMPORTANCE};
    struct ebm_estimate estimate = {.status = EBM_OK};
    enum ebm_status status = engine->ops->propose(engine->ctx, b, row, NULL);
    if (status == EBM_OK)
        status = engine->ops->score(engine->ctx, false);
    if (status == EBM_OK)
        status = engine->ops->estimate(engine->ctx, &spec, &estimate);
    *ret_log_z = estimate.log_z;
    return status;
}

static enum ebm_status row_log_prob(struct ebm_engine *engine, const struct ebm_model *model, uint32_t b,
                                    const struct ebm_row *row, const double *y, double *ret_log_prob)
{
    const struct ebm_target_config *target = &ebm_model_config(model)->target;
    bool has_energy = ebm_model_net(model)->has_energy;
    struct ebm_row one = {.samples = 1};
    float standardized[LIMIT_TARGET_DIM], value = NAN;
    double log_z = 0.0;
    ebm_standardize(standardized, y, target->mean, target->std, target->dim);
    enum ebm_status status = has_energy ? row_log_z(engine, b, row, &log_z) : EBM_OK;
    if (status == EBM_OK)
        status = engine->ops->propose(engine->ctx, b, &one, standardized);
    if (status == EBM_OK && has_energy)
        status = engine->ops->score(engine->ctx, false);
    if (status == EBM_OK)
        status = engine->ops->fetch(engine->ctx, has_energy ? EBM_FETCH_F : EBM_FETCH_LOG_Q, b, &value);
    if (status == EBM_OK)
        status = engine->ops->sync(engine->ctx);
    if (status != EBM_OK)
        return status;
    *ret_log_prob = (double)value - log_z;
    for (uint32_t d = 0; d < target->dim; d++)
        *ret_log_prob -= log(target->std[d]);
    return EBM_OK;
}

enum ebm_status ebm_engine_log_prob(struct ebm_engine *engine, const struct ebm_model *model,
                                    const struct ebm_plan *plan, const double *x, const double *y, uint32_t n,
                                    uint32_t samples, uint64_t seed, double *ret_log_prob)
{
    const struct ebm_config *config = ebm_model_config(model);
    size_t X = config->input.size, D = config->target.dim;
    enum ebm_status status = EBM_OK;
    for (uint32_t first = 0; status == EBM_OK && first < n; first += engine->limits.max_rows) {
        uint32_t B = n - first < engine->limits.max_rows ? n - first : engine->limits.max_rows;
        for (uint32_t b = 0; b < B; b++)
            ebm_standardize(engine->x + b * X, x + (first + b) * X, config->input.mean, config->input.std, X);
        status = engine->ops->features(engine->ctx, plan, engine->x, B);
        for (uint32_t b = 0; status == EBM_OK && b < B; b++) {
            struct ebm_row row = {.seed = seed, .row_in_request = first + b, .samples = samples};
            status = row_log_prob(engine, model, b, &row, y + (first + b) * D, &ret_log_prob[first + b]);
        }
    }
    return status;
}
