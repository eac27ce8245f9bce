/* predict.c - from the words of POST /predict to models/ and back.
 *
 *   predict_read   body -> request (proto)             any thread; slow for large bodies
 *   predict_admit  request -> model of the store, checks against it, estimator, seed, arrays in the job's arena
 *   predict_item   a row for ebm_engine_predict
 *   predict_encode predictions -> JSON (proto)
 *
 * Guarantees: an admitted job's answer fits the limit on answers; its seed is fixed; every failure says where. */
#include "server/predict.h"

#include <inttypes.h>

#include "core/rng.h"

enum ebm_status predict_read(const struct predict_service *service, struct job *job)
{
    enum ebm_status status = predict_msg_read(job->body.bytes, job->body.size, &service->limits, &job->arena,
                                              &job->request, &job->error);
    ebm_buf_done(&job->body);
    job->is_read = true;
    return status;
}

static enum ebm_choice choice_of(uint32_t estimator)
{
    switch ((enum predict_estimator)estimator) {
    case PREDICT_ESTIMATOR_IMPORTANCE:
        return EBM_CHOICE_IMPORTANCE;
    case PREDICT_ESTIMATOR_MIXTURE:
        return EBM_CHOICE_MIXTURE;
    case PREDICT_ESTIMATOR_AUTO:
    case PREDICT_ESTIMATOR_EXACT:      /* refused by proto */
    case PREDICT_ESTIMATOR_QUADRATURE: /* refused by proto */
        return EBM_CHOICE_AUTO;
    }
    return EBM_CHOICE_AUTO;
}

static struct ebm_query query_of(const struct predict_request *request)
{
    struct ebm_query query = {
        .choice = choice_of(request->estimator),
        .num_samples = (uint32_t)request->num_samples,
        .seed = request->seed,
        .n_quantiles = request->n_quantiles,
        .quantiles = request->quantiles,
    };
#define X(name, word) query.outputs |= request->outputs & PREDICT_OUTPUT(name) ? EBM_OUTPUT(name) : 0;
    EBM_OUTPUT_MAP(X)
#undef X
    return query;
}

static enum ebm_status check_size(const struct predict_service *service, struct job *job)
{
    const struct ebm_net_desc *net = ebm_model_net(job->model->model);
    if (job->request.X != net->X)
        return ebm_error_set(&job->error, EBM_INVALID, "inputs[0]",
                             "expected a list of %" PRIu32 " numbers, the inputs of model '%s', got %" PRIu32, net->X,
                             job->model->name, job->request.X);
    size_t bytes = predict_msg_bound(&job->request, net->D);
    if (bytes > service->max_response_bytes)
        return ebm_error_set(&job->error, EBM_INVALID, "inputs",
                             "the answer may take %zu bytes, at most %zu are allowed: ask for fewer rows or quantiles",
                             bytes, service->max_response_bytes);
    return EBM_OK;
}

enum ebm_status predict_admit(const struct predict_service *service, struct job *job)
{
    struct predict_request *request = &job->request;
    enum ebm_status status = model_store_find(service->store, request->model, request->version, &job->model,
                                              &job->error);
    if (status == EBM_OK)
        status = check_size(service, job);
    if (status != EBM_OK)
        return status;
    if (!request->has_seed)
        request->seed = ebm_seed_random();
    struct ebm_query query = query_of(request);
    const struct ebm_model *model = job->model->model;
    status = ebm_query_resolve(&query, model, &job->arena, &job->resolved, &job->error);
    if (status != EBM_OK)
        return status;
    job->predictions = EBM_ARENA_NEW(&job->arena, struct ebm_prediction, request->rows);
    status = job->predictions ? ebm_prediction_init(job->predictions, request->rows, &job->resolved, model, &job->arena)
                              : EBM_NO_MEMORY;
    if (status != EBM_OK)
        return ebm_error_set(&job->error, status, "inputs", "no memory for the answers of %" PRIu32 " rows",
                             request->rows);
    return EBM_OK;
}

struct ebm_item predict_item(struct job *job, uint32_t row)
{
    return (struct ebm_item){
        .x = job->request.inputs + (size_t)row * job->request.X,
        .row_in_request = row,
        .resolved = &job->resolved,
        .out = &job->predictions[row],
        .wanted = job_is_wanted,
        .who = job,
    };
}

static struct predict_row row_of(const struct ebm_prediction *prediction, uint32_t outputs)
{
    return (struct predict_row){
        .mean = prediction->mean,
        .std = prediction->std,
        .variance = prediction->variance,
        .median = prediction->median,
        .quantile_values = prediction->quantiles,
        .has_log_normalizer = (outputs & PREDICT_OUTPUT(LOG_NORMALIZER)) != 0,
        .log_normalizer = prediction->log_normalizer,
        .drew = prediction->estimator == EBM_ESTIMATE_IMPORTANCE,
        .num_samples = prediction->num_samples,
        .ess = prediction->ess,
        .max_weight = prediction->max_weight,
        .mcse_mean = prediction->mcse_mean,
        .reliable = prediction->reliable,
        .reason = prediction->reason,
    };
}

void predict_encode(const struct predict_service *service, struct job *job)
{
    const struct predict_request *request = &job->request;
    struct predict_answer answer = {
        .model = job->model->name,
        .version = job->model->version,
        .id = request->id,
        .seed = request->seed,
        .D = ebm_model_net(job->model->model)->D,
        .n_quantiles = request->n_quantiles,
        .quantiles = request->quantiles,
        .num_samples_ignored = request->has_num_samples,
        .digits = job->model->digits,
    };
    ebm_buf_init(&job->answer, service->max_response_bytes);
    predict_msg_begin(&job->answer, &answer);
    for (uint32_t i = 0; i < request->rows; i++) {
        struct predict_row row = row_of(&job->predictions[i], request->outputs);
        predict_msg_row(&job->answer, &answer, &row, i);
    }
    enum ebm_status status = predict_msg_end(&job->answer);
    if (status != EBM_OK)
        (void)ebm_error_set(&job->error, EBM_INTERNAL, "", "the answer could not be written: %s",
                            ebm_status_text(status));
}
