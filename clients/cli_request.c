/* cli_request.c - words and numbers of the command line into the library's structs.
 *
 * What a field may be is the server's to say, and its error is printed; here only what could not be sent is refused:
 * numbers that are none, lists of different lengths. */
#include "clients/cli_request.h"

#include <stdlib.h>
#include <string.h>

#include "clients/client_http.h"

#define MOST_WHOLE ((1ull << 53) - 1) /* JSON's whole numbers */

static enum ebm_client_status no_memory(struct ebm_client_error *reterr)
{
    return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "request", "no memory");
}

/* ---- what all kinds share ---- */

static enum ebm_client_status read_rows(const struct cli_args *args, struct ebm_client_rows *rows,
                                        struct ebm_client_error *reterr)
{
    static const enum cli_option wholes[] = {CLI_OPTION_VERSION,    CLI_OPTION_NUM_SAMPLES, CLI_OPTION_TIMEOUT_MS,
                                             CLI_OPTION_TARGET_ESS, CLI_OPTION_MAX_SAMPLES, CLI_OPTION_PRIORITY};
    uint64_t *const to[] = {&rows->version,    &rows->num_samples, &rows->timeout_ms,
                            &rows->target_ess, &rows->max_samples, &rows->priority};
    enum ebm_client_status status = cli_args_whole(args, CLI_OPTION_SEED, 0, MOST_WHOLE, &rows->seed, reterr);
    for (size_t i = 0; i < sizeof to / sizeof to[0] && status == EBM_CLIENT_OK; i++)
        status = cli_args_whole(args, wholes[i], 1, MOST_WHOLE, to[i], reterr);
    rows->has_seed = args->values[CLI_OPTION_SEED] != NULL;
    rows->model = args->values[CLI_OPTION_MODEL];
    rows->estimator = args->values[CLI_OPTION_ESTIMATOR];
    rows->draws = args->values[CLI_OPTION_DRAWS];
    rows->weights = args->values[CLI_OPTION_WEIGHTS];
    rows->id = args->values[CLI_OPTION_ID];
    return status;
}

/* --outputs a,b */
static enum ebm_client_status read_outputs(const struct cli_args *args, struct cli_request *request, size_t *ret_n,
                                           struct ebm_client_error *reterr)
{
    const char *text = args->values[CLI_OPTION_OUTPUTS];
    size_t most = 1, n = 0;
    if (!text)
        return EBM_CLIENT_OK;
    for (const char *c = text; *c; c++)
        most += *c == ',';
    request->words = strdup(text);
    request->outputs = calloc(most, sizeof *request->outputs);
    if (!request->words || !request->outputs)
        return no_memory(reterr);
    char *rest = request->words, *word;
    while ((word = strsep(&rest, ",")))
        request->outputs[n++] = word;
    *ret_n = n;
    return EBM_CLIENT_OK;
}

/* ---- kinds ---- */

static enum ebm_client_status read_predict(const struct cli_args *args, struct cli_request *request,
                                           struct ebm_client_error *reterr)
{
    struct ebm_client_predict_request *predict = &request->predict;
    const char *quantiles = args->values[CLI_OPTION_QUANTILES], *level = args->values[CLI_OPTION_INTERVAL_LEVEL];
    enum ebm_client_status status = read_outputs(args, request, &predict->n_outputs, reterr);
    if (status == EBM_CLIENT_OK && quantiles)
        status = cli_numbers(quantiles, CLI_OPTION_QUANTILES, &request->quantiles, &predict->n_quantiles, reterr);
    if (status == EBM_CLIENT_OK && args->values[CLI_OPTION_CDF])
        status = cli_numbers(args->values[CLI_OPTION_CDF], CLI_OPTION_CDF, &request->cdf, &predict->n_cdf, reterr);
    if (status == EBM_CLIENT_OK && args->values[CLI_OPTION_CRPS_AT])
        status = cli_numbers(args->values[CLI_OPTION_CRPS_AT], CLI_OPTION_CRPS_AT, &request->crps_at, &predict->n_crps,
                             reterr);
    if (status == EBM_CLIENT_OK && level && (!cli_number(level, &predict->interval_level)))
        return client_fail(reterr, EBM_CLIENT_INVALID, "interval-level",
                           "--interval-level is '%.40s', expected a number", level);
    predict->outputs = request->outputs;
    predict->quantiles = request->quantiles;
    predict->cdf = request->cdf;
    predict->crps_at = request->crps_at;
    predict->interval_kind = args->values[CLI_OPTION_INTERVAL_KIND];
    return status;
}

/* --steps and --step-length */
static enum ebm_client_status read_steps(const struct cli_args *args, struct cli_request *request, uint64_t *ret_steps,
                                         size_t *ret_n, struct ebm_client_error *reterr)
{
    const char *lengths = args->values[CLI_OPTION_STEP_LENGTH];
    enum ebm_client_status status = cli_args_whole(args, CLI_OPTION_STEPS, 1, MOST_WHOLE, ret_steps, reterr);
    if (status == EBM_CLIENT_OK && lengths)
        status = cli_numbers(lengths, CLI_OPTION_STEP_LENGTH, &request->step_lengths, ret_n, reterr);
    return status;
}

static enum ebm_client_status read_sample(const struct cli_args *args, struct cli_request *request,
                                          struct ebm_client_error *reterr)
{
    const char *resample = args->values[CLI_OPTION_RESAMPLE];
    if (resample && strcmp(resample, "true") != 0 && strcmp(resample, "false") != 0)
        return client_fail(reterr, EBM_CLIENT_INVALID, "resample", "--resample is '%.40s', expected true or false",
                           resample);
    struct ebm_client_sample_request *sample = &request->sample;
    enum ebm_client_status status = read_steps(args, request, &sample->steps, &sample->n_step_lengths, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    sample->step_lengths = request->step_lengths;
    sample->is_weighted = resample && strcmp(resample, "false") == 0;
    return cli_args_whole(args, CLI_OPTION_NUM_PROPOSALS, 1, MOST_WHOLE, &request->sample.num_proposals, reterr);
}

static enum ebm_client_status read_grid(const struct cli_args *args, struct ebm_client_density_request *density,
                                        struct ebm_client_error *reterr)
{
    const char *text = args->values[CLI_OPTION_GRID];
    char *copy = text ? strdup(text) : NULL, *rest = copy;
    double points = 0.0;
    if (!text)
        return EBM_CLIENT_OK;
    if (!copy)
        return no_memory(reterr);
    const char *lower = strsep(&rest, ":"), *upper = strsep(&rest, ":"), *last = rest;
    bool is_fine = upper && last && cli_number(lower, &density->grid_lower) &&
                   cli_number(upper, &density->grid_upper) && cli_number(last, &points) && points >= 1.0 &&
                   points <= 1e9;
    density->grid_points = is_fine ? (uint64_t)points : 0;
    free(copy);
    if (is_fine && !((double)density->grid_points < points))
        return EBM_CLIENT_OK;
    return client_fail(reterr, EBM_CLIENT_INVALID, "grid",
                       "--grid is '%.60s', expected LOWER:UPPER:POINTS as in 0:6:128", text);
}

/* --targets, or --initial */
static enum cli_option targets_option(const struct cli_request *request)
{
    return request->kind == CLI_REFINE ? CLI_OPTION_INITIAL : CLI_OPTION_TARGETS;
}

static const char *targets_name(const struct cli_request *request)
{
    return request->kind == CLI_REFINE ? "initial" : "targets";
}

/* One target "y1,y2" of list `list`, number t, into its place; the first one of all says how long they are. */
static enum ebm_client_status read_target(struct cli_request *request, const char *text, size_t list, size_t t,
                                          struct ebm_client_error *reterr)
{
    double *numbers = NULL;
    size_t n = 0;
    enum ebm_client_status status = cli_numbers(text, targets_option(request), &numbers, &n, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    if (!request->targets) {
        request->D = n;
        request->targets = calloc(request->n_target_lists * request->n_targets, n * sizeof *numbers);
    }
    if (!request->targets)
        status = no_memory(reterr);
    else if (n != request->D)
        status = client_fail(reterr, EBM_CLIENT_INVALID, targets_name(request),
                             "'%.60s' has %zu numbers, expected %zu as the first", text, n, request->D);
    else
        memcpy(request->targets + (list * request->n_targets + t) * n, numbers, n * sizeof *numbers);
    free(numbers);
    return status;
}

static enum ebm_client_status read_target_list(struct cli_request *request, const char *text, size_t list,
                                               struct ebm_client_error *reterr)
{
    size_t n = 1, t = 0;
    for (const char *c = text; *c; c++)
        n += *c == ';';
    if (list == 0)
        request->n_targets = n;
    if (n != request->n_targets)
        return client_fail(reterr, EBM_CLIENT_INVALID, targets_name(request),
                           "expected %zu targets in every --%s, got %zu", request->n_targets, targets_name(request), n);
    char *copy = strdup(text), *rest = copy, *target;
    enum ebm_client_status status = copy ? EBM_CLIENT_OK : no_memory(reterr);
    while (status == EBM_CLIENT_OK && (target = strsep(&rest, ";")))
        status = read_target(request, target, list, t++, reterr);
    free(copy);
    return status;
}

static enum ebm_client_status read_target_lists(const struct cli_args *args, struct cli_request *request,
                                                struct ebm_client_error *reterr)
{
    enum ebm_client_status status = EBM_CLIENT_OK;
    request->n_target_lists = args->n_targets;
    if (args->n_targets > 1 && args->n_targets != args->n_inputs)
        return client_fail(reterr, EBM_CLIENT_INVALID, targets_name(request),
                           "expected --%s once for all rows, or once for every --input or --image: %zu, got %zu",
                           targets_name(request), args->n_inputs, args->n_targets);
    for (size_t i = 0; i < args->n_targets && status == EBM_CLIENT_OK; i++)
        status = read_target_list(request, args->targets[i], i, reterr);
    return status;
}

static enum ebm_client_status read_density(const struct cli_args *args, struct cli_request *request,
                                           struct ebm_client_error *reterr)
{
    enum ebm_client_status status = read_outputs(args, request, &request->density.n_outputs, reterr);
    request->density.outputs = request->outputs;
    if (args->n_targets > 0 && args->values[CLI_OPTION_GRID])
        return client_fail(reterr, EBM_CLIENT_INVALID, "targets", "expected --targets or --grid, not both");
    if (status == EBM_CLIENT_OK)
        status = read_target_lists(args, request, reterr);
    request->density.n_targets = request->n_targets;
    request->density.D = request->D;
    return status == EBM_CLIENT_OK ? read_grid(args, &request->density, reterr) : status;
}

static enum ebm_client_status read_refine(const struct cli_args *args, struct cli_request *request,
                                          struct ebm_client_error *reterr)
{
    struct ebm_client_refine_request *refine = &request->refine;
    const char *decay = args->values[CLI_OPTION_DECAY], *format = args->values[CLI_OPTION_FORMAT];
    enum ebm_client_status status = read_steps(args, request, &refine->steps, &refine->n_step_lengths, reterr);
    if (status == EBM_CLIENT_OK)
        status = cli_args_whole(args, CLI_OPTION_STARTS, 1, MOST_WHOLE, &refine->starts, reterr);
    if (status == EBM_CLIENT_OK && decay && !cli_number(decay, &refine->decay))
        return client_fail(reterr, EBM_CLIENT_INVALID, "decay", "--decay is '%.40s', expected a number", decay);
    refine->with_trajectory = args->values[CLI_OPTION_TRAJECTORY] != NULL;
    if (refine->with_trajectory && (!format || strcmp(format, "json") != 0))
        return client_fail(reterr, EBM_CLIENT_INVALID, "trajectory", "expected --format json with --trajectory");
    if (status == EBM_CLIENT_OK)
        status = read_target_lists(args, request, reterr);
    refine->step_lengths = request->step_lengths;
    refine->n_initial = request->n_targets;
    refine->D = request->D;
    return status;
}

/* ---- the whole ---- */

enum ebm_client_status cli_request_read(const struct cli_args *args, struct cli_request *ret_request,
                                        struct ebm_client_error *reterr)
{
    struct cli_request request = {.kind = args->command};
    enum ebm_client_status status = read_rows(args, &request.rows, reterr);
    if (status == EBM_CLIENT_OK && args->command == CLI_PREDICT)
        status = read_predict(args, &request, reterr);
    else if (status == EBM_CLIENT_OK && args->command == CLI_SAMPLE)
        status = read_sample(args, &request, reterr);
    else if (status == EBM_CLIENT_OK && args->command == CLI_REFINE)
        status = read_refine(args, &request, reterr);
    else if (status == EBM_CLIENT_OK)
        status = read_density(args, &request, reterr);
    if (status == EBM_CLIENT_OK)
        *ret_request = request;
    else
        cli_request_done(&request);
    return status;
}

void cli_request_done(struct cli_request *request)
{
    free(request->targets);
    free(request->words);
    free(request->outputs);
    free(request->cdf);
    free(request->crps_at);
    free(request->quantiles);
    free(request->step_lengths);
    *request = (struct cli_request){.targets = NULL};
}

/* (n_rows, n_targets, D) of the rows from `first` on. New: free(). NULL: none were given, or no memory. */
static double *targets_of_block(const struct cli_request *request, size_t first)
{
    const size_t width = request->n_targets * request->D, n_rows = request->rows.n_rows;
    double *targets = request->targets ? calloc(n_rows, width * sizeof *targets) : NULL;
    for (size_t row = 0; targets && row < n_rows; row++) {
        size_t list = request->n_target_lists > 1 ? first + row : 0;
        memcpy(targets + row * width, request->targets + list * width, width * sizeof *targets);
    }
    return targets;
}

/* A density or a refinement, with the targets of its rows. */
static enum ebm_client_status send_with_targets(struct ebm_client *client, const struct cli_request *request,
                                                size_t first, struct ebm_client_answer *ret_answer,
                                                struct ebm_client_error *reterr)
{
    struct ebm_client_density_request density = request->density;
    struct ebm_client_refine_request refine = request->refine;
    double *targets = targets_of_block(request, first);
    enum ebm_client_status status;
    if (request->targets && !targets)
        return no_memory(reterr);
    density.rows = refine.rows = request->rows;
    density.targets = refine.initial = targets;
    if (request->kind == CLI_REFINE)
        status = ebm_client_refine(client, &refine, ret_answer, reterr);
    else
        status = ebm_client_density(client, &density, ret_answer, reterr);
    free(targets);
    return status;
}

enum ebm_client_status cli_request_send(struct ebm_client *client, const struct cli_request *request, size_t first,
                                        struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr)
{
    struct ebm_client_predict_request predict = request->predict;
    struct ebm_client_sample_request sample = request->sample;
    predict.rows = sample.rows = request->rows;
    if (request->kind == CLI_PREDICT)
        return ebm_client_predict(client, &predict, ret_answer, reterr);
    if (request->kind == CLI_SAMPLE)
        return ebm_client_sample(client, &sample, ret_answer, reterr);
    return send_with_targets(client, request, first, ret_answer, reterr);
}
