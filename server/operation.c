/* operation.c - one job's way through proto/ and models/ and back.
 *
 *   operation_read   body -> request (proto)             any thread; slow for large bodies
 *   operation_admit  request -> model of the store, checks against it, estimator, seed, images decoded (input_rows.c),
 *                    arrays in the job's arena
 *   operation_item   a row for ebm_engine_predict
 *   operation_encode predictions -> JSON (proto)
 *
 * Guarantees: an admitted job's answer fits the limit on answers; its seed is fixed; every failure says where. */
#include "server/operation.h"

#include <inttypes.h>

#include "core/rng.h"
#include "proto/answer.h"
#include "proto/npy.h"
#include "proto/oip.h"
#include "server/body.h"
#include "server/infer.h"
#include "server/input_rows.h"

enum ebm_status operation_read(const struct operation_service *service, struct job *job)
{
    enum ebm_status status = body_read(&service->limits, job);
    if (status != EBM_OK || !job->request.inputs.images)
        ebm_buf_done(&job->body);
    job->is_read = true;
    return status;
}

/* ---- admitting ---- */

static enum ebm_choice choice_of(uint32_t estimator)
{
    switch ((enum request_estimator)estimator) {
    case REQUEST_ESTIMATOR_IMPORTANCE:
        return EBM_CHOICE_IMPORTANCE;
    case REQUEST_ESTIMATOR_MIXTURE:
        return EBM_CHOICE_MIXTURE;
    case REQUEST_ESTIMATOR_EXACT:
        return EBM_CHOICE_EXACT;
    case REQUEST_ESTIMATOR_QUADRATURE:
        return EBM_CHOICE_QUADRATURE;
    case REQUEST_ESTIMATOR_AUTO:
    case REQUEST_ESTIMATORS:
        break;
    }
    return EBM_CHOICE_AUTO;
}

/* What a kind of request may ask for, in the words of models/. */
#define PREDICT_OUTPUTS(X)                                                                                             \
    X(MEAN)                                                                                                            \
    X(STD) X(VARIANCE) X(MEDIAN) X(QUANTILES) X(INTERVAL) X(LOG_NORMALIZER) X(COVARIANCE) X(MODE) X(ENTROPY)
#define DENSITY_OUTPUTS(X) X(UNNORMALIZED_LOG_PROB) X(LOG_PROB) X(PROPOSAL_LOG_PROB) X(LOG_NORMALIZER)

static uint32_t outputs_of(const struct request *request, bool has_proposal)
{
    uint32_t outputs = 0;
    switch (request->kind) {
    case REQUEST_PREDICT:
#define X(name) outputs |= request->outputs & 1u << REQUEST_PREDICT_##name ? EBM_OUTPUT(name) : 0;
        PREDICT_OUTPUTS(X)
#undef X
        break;
    case REQUEST_SAMPLE:
        return EBM_OUTPUT(SAMPLES);
    case REQUEST_DENSITY:
#define X(name) outputs |= request->outputs & 1u << REQUEST_DENSITY_##name ? EBM_OUTPUT(name) : 0;
        DENSITY_OUTPUTS(X)
#undef X
        if (!request->has_outputs && !has_proposal)
            outputs &= ~EBM_OUTPUT(PROPOSAL_LOG_PROB); /* all that there are */
        break;
    case REQUEST_INFER:
        return infer_outputs(request->outputs);
    case REQUEST_REFINE: /* answered whole */
        break;
    }
    return outputs;
}

/* In the arena: as long as the query. NULL: no memory. */
static const struct ebm_refine_query *refine_of(const struct request *request, struct ebm_arena *arena)
{
    struct ebm_refine_query *refine = EBM_ARENA_NEW(arena, struct ebm_refine_query, 1);
    uint64_t starts = request->starts < request->num_draws ? request->starts : request->num_draws;
    if (refine)
        *refine = (struct ebm_refine_query){
            .method = request->kind == REQUEST_REFINE ? EBM_REFINE_ASCENT : EBM_REFINE_LANGEVIN,
            .steps = (uint32_t)request->steps,
            .n_lengths = request->step_length.n,
            .step_length = request->step_length.numbers,
            .decay = request->decay,
            .starts = (uint32_t)starts,
            .n_initial = request->initial.n,
            .trajectory = request->trajectory,
        };
    return refine;
}

static bool returns_samples(const struct request *request)
{
    return request->kind == REQUEST_SAMPLE || request->kind == REQUEST_INFER;
}

static struct ebm_query query_of(const struct request *request, const struct ebm_net_desc *net)
{
    return (struct ebm_query){
        .choice = choice_of(request->estimator),
        .outputs = outputs_of(request, net->K > 0),
        .num_samples = (uint32_t)request->num_draws,
        .scheme = request->draws == REQUEST_DRAWS_SOBOL ? EBM_SCHEME_SOBOL : EBM_SCHEME_INDEPENDENT,
        .target_ess = (double)request->target_ess,
        .max_samples = (uint32_t)request->max_samples,
        .smooth_weights = request->weights == REQUEST_WEIGHTS_SMOOTHED,
        .seed = request->seed,
        .n_quantiles = request->quantiles.n,
        .quantiles = request->quantiles.numbers,
        .interval_level = request->interval_level,
        .highest_density = request->interval_kind == REQUEST_INTERVAL_HIGHEST_DENSITY,
        .n_cdf = request->cdf.n,
        .n_crps = request->crps_at.n,
        .n_fair = (uint32_t)request->num_samples,
        .weighted = returns_samples(request) && !request->resample,
        .n_targets = request->targets.n,
    };
}

static enum ebm_status check_shapes(struct job *job)
{
    const struct request *request = &job->request;
    const struct ebm_net_desc *net = ebm_model_net(job->model->model);
    const char *name = job->model->name;
    if (request->kind == REQUEST_INFER)
        return infer_check_shapes(job);
    if (request->has_grid && net->D != 1)
        return ebm_error_set(&job->error, EBM_INVALID, "grid",
                             "needs a target of one number, those of model '%s' have %" PRIu32 ": give targets", name,
                             net->D);
    if (request->targets.numbers && request->targets.D != net->D)
        return ebm_error_set(&job->error, EBM_INVALID, "targets[0][0]",
                             "expected a list of %" PRIu32 " numbers, the target of model '%s', got %" PRIu32, net->D,
                             name, request->targets.D);
    if (request->initial.numbers && request->initial.D != net->D)
        return ebm_error_set(&job->error, EBM_INVALID, "initial[0][0]",
                             "expected a list of %" PRIu32 " numbers, the target of model '%s', got %" PRIu32, net->D,
                             name, request->initial.D);
    return EBM_OK;
}

/* A step of a moving target is a forward and a backward pass; ascents come in whole lanes. */
static uint64_t work_of_moves(const struct job *job)
{
    const struct ebm_refine_query *refine = job->resolved.query.refine;
    const uint64_t passes = 3, lanes = 16;
    if (!refine)
        return 0;
    uint64_t n = refine->method == EBM_REFINE_LANGEVIN ? job->resolved.n_samples
                                                       : ebm_round_up(job->resolved.refine->n_starts, lanes);
    return n * passes * refine->steps;
}

/* Points at which an estimator evaluates the network for one row, or does as much work otherwise. */
static uint64_t work_of_estimator(const struct job *job)
{
    const struct ebm_estimate_spec *spec = &job->resolved.spec;
    const uint64_t exact_points = 128, quadrature_points = 1024;
    if (job->request.initial.n > 0)
        return 0;
    switch (spec->estimator) {
    case EBM_ESTIMATE_EXACT:
        return exact_points;
    case EBM_ESTIMATE_QUADRATURE:
        return quadrature_points;
    case EBM_ESTIMATE_MIXTURE:
        return (uint64_t)spec->n_probabilities * ebm_model_net(job->model->model)->K; /* quantiles are searched for */
    case EBM_ESTIMATE_IMPORTANCE:
        break;
    }
    return request_draws(&job->request);
}

/* As cost.h counts them: what a row asks for beyond the estimator's own work. */
static uint64_t row_numbers(const struct job *job)
{
    const struct request *request = &job->request;
    uint64_t draws = job->resolved.spec.estimator == EBM_ESTIMATE_IMPORTANCE ? request_draws(request) : 0;
    uint64_t n = work_of_moves(job) + draws + job->resolved.n_samples + request->targets.n + request->cdf.n +
                 request->crps_at.n + job->resolved.spec.n_probabilities;
    return n * ebm_model_net(job->model->model)->D;
}

/* Numbers of a row that cost time: coordinates of draws, of samples and of targets, and of their moves. */
static uint64_t work_of_row(const struct job *job)
{
    const struct request *request = &job->request;
    uint64_t n = work_of_moves(job) + work_of_estimator(job) + job->resolved.n_samples + request->targets.n +
                 request->cdf.n + request->crps_at.n;
    return n * ebm_model_net(job->model->model)->D;
}

/* All starts keep theirs until it is known which came highest. */
static uint64_t path_bytes(const struct job *job)
{
    const struct request *request = &job->request;
    if (!request->trajectory)
        return 0;
    return (uint64_t)request->inputs.n * job->resolved.refine->n_starts * (request->steps + 1) *
           ebm_model_net(job->model->model)->D * sizeof(float);
}

/* ---- what all rows share ---- */

static const char *ignored_of(const struct request *request)
{
    if (!request->has_num_draws)
        return NULL;
    return request->kind == REQUEST_SAMPLE ? "num_proposals" : "num_samples";
}

static struct answer answer_of(const struct job *job)
{
    const struct request *request = &job->request;
    return (struct answer){
        .model = job->model->name,
        .version = job->model->version,
        .id = request->id,
        .seed = request->seed,
        .D = ebm_model_net(job->model->model)->D,
        .n_samples = job->resolved.n_samples,
        .n_targets = request->targets.n,
        .n_cdf = request->cdf.n,
        .n_crps = request->crps_at.n,
        .quantiles = request->quantiles,
        .interval_kind = request_interval_word(request->interval_kind),
        .interval_level = request->interval_level,
        .digits = job->model->digits,
        .ignored = ignored_of(request),
    };
}

static size_t bound_of(const struct job *job)
{
    struct answer answer = answer_of(job);
    if (job->form.wants_npy)
        return npy_bytes(&answer, npy_member(&job->request), job->request.inputs.n);
    return job->kind == REQUEST_INFER ? oip_answer_bound(&answer, job->wanted, job->request.inputs.n)
                                      : answer_bound(&job->request, answer.D, answer.digits);
}

static enum ebm_status check_size(const struct operation_service *service, struct job *job)
{
    const struct request *request = &job->request;
    uint64_t work = work_of_row(job);
    job->answer_bound = bound_of(job);
    job->row_numbers = row_numbers(job);
    if (work * request->inputs.n > service->max_work)
        return ebm_error_set(&job->error, EBM_INVALID, "inputs",
                             "%" PRIu32 " rows of %" PRIu64
                             " numbers in draws, samples, targets and their steps: at most %" PRIu64
                             " together, ask for fewer",
                             request->inputs.n, work, service->max_work);
    if (path_bytes(job) > service->max_response_bytes)
        return ebm_error_set(&job->error, EBM_INVALID, "trajectory",
                             "%" PRIu32 " rows of %" PRIu32 " starts of %" PRIu64
                             " steps: their ways may take %zu bytes together, ask for fewer",
                             request->inputs.n, job->resolved.refine->n_starts, request->steps,
                             service->max_response_bytes);
    if (job->answer_bound > service->max_response_bytes)
        return ebm_error_set(&job->error, EBM_INVALID, "inputs",
                             "the answer may take %zu bytes, at most %zu are allowed: ask for fewer rows or numbers",
                             job->answer_bound, service->max_response_bytes);
    return EBM_OK;
}

static enum ebm_status make_room(struct job *job)
{
    const struct ebm_model *model = job->model->model;
    uint32_t rows = job->request.inputs.n;
    job->predictions = EBM_ARENA_NEW(&job->arena, struct ebm_prediction, rows);
    if (job->predictions && ebm_prediction_init(job->predictions, rows, &job->resolved, model, &job->arena) == EBM_OK)
        return EBM_OK;
    return ebm_error_set(&job->error, EBM_NO_MEMORY, "inputs", "no memory for the answers of %" PRIu32 " rows", rows);
}

/* What the model's settings say where the request says nothing. */
static enum ebm_status apply_settings(struct job *job)
{
    const struct serving *serving = job->model->serving;
    if (job->kind == REQUEST_INFER && job->request.priority > serving->lane.n_priorities)
        job->request.priority = 0; /* as Triton takes it */
    request_defaults_apply(&serving->defaults, &job->request);
    return serving_priority(serving, job->request.priority, &job->priority, &job->error);
}

/* What is to be computed, in the words of models/. */
static enum ebm_status resolve(struct job *job)
{
    struct request *request = &job->request;
    if (!request->has_seed)
        request->seed = ebm_seed_random();
    struct ebm_query query = query_of(request, ebm_model_net(job->model->model));
    if (request->kind == REQUEST_REFINE || request->moves_samples) {
        query.refine = refine_of(request, &job->arena);
        if (!query.refine)
            return ebm_error_set(&job->error, EBM_NO_MEMORY, "refine", "no memory");
    }
    return ebm_query_resolve(&query, job->model->model, &job->arena, &job->resolved, &job->error);
}

enum ebm_status operation_admit(const struct operation_service *service, struct job *job)
{
    const struct request *request = &job->request;
    enum ebm_status status = model_store_find(service->store, request->model, request->version, &job->model,
                                              &job->error);
    if (status == EBM_OK)
        status = apply_settings(job);
    if (status == EBM_OK)
        status = input_rows_check(job);
    if (status == EBM_OK)
        status = check_shapes(job);
    if (status == EBM_OK)
        status = resolve(job);
    if (status == EBM_OK)
        status = check_size(service, job);
    if (status == EBM_OK)
        status = input_rows_decode(service->max_image_pixels, job); /* by far the dearest: last */
    return status == EBM_OK ? make_room(job) : status;
}

size_t operation_memory(const struct job *job)
{
    return job->answer_bound + job->arena.used_bytes;
}

/* ---- rows ---- */

struct ebm_item operation_item(struct job *job, uint32_t row)
{
    const struct field_rows *inputs = &job->request.inputs;
    return (struct ebm_item){
        .x = inputs->numbers ? inputs->numbers + (size_t)row * inputs->X : NULL,
        .x_bytes = inputs->bytes ? inputs->bytes + (size_t)row * inputs->X : NULL,
        .targets = job->kind == REQUEST_REFINE ? request_initial(&job->request, row)
                                               : request_targets(&job->request, row),
        .cdf = request_points(&job->request.cdf, row),
        .crps = request_points(&job->request.crps_at, row),
        .row_in_request = row,
        .resolved = &job->resolved,
        .out = &job->predictions[row],
        .wanted = job_is_wanted,
        .hurried = job->request.partial ? job_is_hurried : NULL,
        .who = job,
    };
}

/* ---- encoding ---- */

static struct answer_row refined_row_of(const struct ebm_refinement *r)
{
    return (struct answer_row){
        .mode = r->mode,
        .mode_log_prob = &r->unnormalized_log_prob,
        .converged = &r->converged,
        .steps = &r->steps,
        .trajectory = r->trajectory,
    };
}

static struct answer_row row_of(const struct job *job, uint32_t row)
{
    const struct ebm_prediction *p = &job->predictions[row];
    if (job->kind == REQUEST_REFINE)
        return refined_row_of(&p->refinement);
    uint32_t outputs = job->resolved.query.outputs;
    return (struct answer_row){
        .mean = p->mean,
        .std = p->std,
        .variance = p->variance,
        .median = p->median,
        .quantiles = p->quantiles,
        .interval = p->intervals,
        .n_intervals = p->n_intervals,
        .covariance = p->covariance,
        .entropy = p->entropy,
        .mode = p->mode,
        .cdf = p->cdf,
        .crps = p->crps,
        .samples = p->samples,
        .log_weights = p->log_weights,
        .targets = request_targets(&job->request, row),
        .unnormalized_log_prob = p->unnormalized_log_prob,
        .log_prob = p->log_prob,
        .proposal_log_prob = p->proposal_log_prob,
        .log_normalizer = outputs & EBM_OUTPUT(LOG_NORMALIZER) ? &p->log_normalizer : NULL,
        .log_normalizer_std_error = job->kind == REQUEST_DENSITY && outputs & EBM_OUTPUT(LOG_NORMALIZER)
                                        ? &p->log_normalizer_std_error
                                        : NULL,
        .estimator = ebm_estimator_word(p->estimator),
        .drew = p->estimator == EBM_ESTIMATE_IMPORTANCE,
        .integrated = p->estimator == EBM_ESTIMATE_EXACT || p->estimator == EBM_ESTIMATE_QUADRATURE,
        .proper = p->proper,
        .pieces = p->pieces,
        .support = {p->support[0], p->support[1]},
        .num_samples = p->num_samples,
        .ess = p->ess,
        .max_weight = p->max_weight,
        .pareto_k = p->pareto_k,
        .mcse_mean = p->mcse_mean,
        .acceptance_rate = job->request.moves_samples ? &p->acceptance : NULL,
        .targets_outside = p->targets_outside,
        .reliable = p->reliable,
        .reason = p->reason,
    };
}

static bool wanted_row(const void *who, uint32_t row, struct answer_row *ret_row)
{
    if (!job_is_wanted(who))
        return false;
    *ret_row = row_of(who, row);
    return true;
}

static enum ebm_status encode_json(struct job *job, struct answer *answer)
{
    const struct field_targets *targets = &job->request.targets;
    struct answer_row row;
    struct ebm_buf grid;
    ebm_buf_init(&grid, job->answer.max_bytes);
    if (job->request.has_grid) {
        answer_write_targets(&grid, targets->numbers, targets->n, targets->D);
        answer->shared_targets = grid.status == EBM_OK ? &grid : NULL;
    }
    answer_begin(&job->answer, answer);
    for (uint32_t i = 0; i < job->request.inputs.n && wanted_row(job, i, &row); i++)
        answer_add_row(&job->answer, answer, &row, i);
    ebm_buf_done(&grid);
    return answer_end(&job->answer);
}

static enum ebm_status encode_npy(struct job *job, const struct answer *answer)
{
    const struct answer_member *member = npy_member(&job->request);
    struct answer_row row;
    npy_begin(&job->answer, answer, member, job->request.inputs.n);
    for (uint32_t i = 0; i < job->request.inputs.n && wanted_row(job, i, &row); i++)
        npy_add_row(&job->answer, answer, member, &row);
    job->answer_type = NPY_TYPE;
    return job->answer.status;
}

static enum ebm_status encode_tensors(struct job *job, const struct answer *answer)
{
    enum ebm_status status = oip_answer(&job->answer, answer, job->wanted, job->request.inputs.n, wanted_row, job,
                                        &job->answer_json_bytes);
    if (job->answer_json_bytes > 0)
        job->answer_type = "application/octet-stream";
    return status;
}

static enum ebm_status encode(struct job *job, struct answer *answer)
{
    job->answer_type = "application/json";
    if (job->kind == REQUEST_INFER)
        return encode_tensors(job, answer);
    return job->form.wants_npy ? encode_npy(job, answer) : encode_json(job, answer);
}

void operation_encode(const struct operation_service *service, struct job *job)
{
    struct answer answer = answer_of(job);
    ebm_buf_init(&job->answer, service->max_response_bytes);
    enum ebm_status status = encode(job, &answer);
    if (status != EBM_OK)
        (void)ebm_error_set(&job->error, EBM_INTERNAL, "", "the answer could not be written: %s",
                            ebm_status_text(status));
    ebm_arena_done(&job->arena); /* the answer may wait long for a slow client */
    ebm_arena_init(&job->arena, 0);
    job->predictions = NULL;
}
