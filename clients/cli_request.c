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
    static const enum cli_option wholes[] = {CLI_OPTION_VERSION, CLI_OPTION_NUM_SAMPLES, CLI_OPTION_TIMEOUT_MS,
                                             CLI_OPTION_TARGET_ESS, CLI_OPTION_MAX_SAMPLES};
    uint64_t *const to[] = {&rows->version, &rows->num_samples, &rows->timeout_ms, &rows->target_ess,
                            &rows->max_samples};
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
    if (status == EBM_CLIENT_OK && level && (!cli_number(level, &predict->interval_level)))
        return client_fail(reterr, EBM_CLIENT_INVALID, "interval-level",
                           "--interval-level is '%.40s', expected a number", level);
    predict->outputs = request->outputs;
    predict->quantiles = request->quantiles;
    predict->interval_kind = args->values[CLI_OPTION_INTERVAL_KIND];
    return status;
}

static enum ebm_client_status read_sample(const struct cli_args *args, struct cli_request *request,
                                          struct ebm_client_error *reterr)
{
    const char *resample = args->values[CLI_OPTION_RESAMPLE];
    if (resample && strcmp(resample, "true") != 0 && strcmp(resample, "false") != 0)
        return client_fail(reterr, EBM_CLIENT_INVALID, "resample", "--resample is '%.40s', expected true or false",
                           resample);
    request->sample.is_weighted = resample && strcmp(resample, "false") == 0;
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

/* One target "y1,y2" of list `list`, number t, into its place; the first one of all says how long they are. */
static enum ebm_client_status read_target(struct cli_request *request, const char *text, size_t list, size_t t,
                                          struct ebm_client_error *reterr)
{
    struct ebm_client_density_request *density = &request->density;
    double *numbers = NULL;
    size_t n = 0;
    enum ebm_client_status status = cli_numbers(text, CLI_OPTION_TARGETS, &numbers, &n, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    if (!request->targets) {
        density->D = n;
        request->targets = calloc(request->n_target_lists * density->n_targets, n * sizeof *numbers);
    }
    if (!request->targets)
        status = no_memory(reterr);
    else if (n != density->D)
        status = client_fail(reterr, EBM_CLIENT_INVALID, "targets",
                             "'%.60s' has %zu numbers, expected %zu as the first", text, n, density->D);
    else
        memcpy(request->targets + (list * density->n_targets + t) * n, numbers, n * sizeof *numbers);
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
        request->density.n_targets = n;
    if (n != request->density.n_targets)
        return client_fail(reterr, EBM_CLIENT_INVALID, "targets", "expected %zu targets in every --targets, got %zu",
                           request->density.n_targets, n);
    char *copy = strdup(text), *rest = copy, *target;
    enum ebm_client_status status = copy ? EBM_CLIENT_OK : no_memory(reterr);
    while (status == EBM_CLIENT_OK && (target = strsep(&rest, ";")))
        status = read_target(request, target, list, t++, reterr);
    free(copy);
    return status;
}

static enum ebm_client_status read_density(const struct cli_args *args, struct cli_request *request,
                                           struct ebm_client_error *reterr)
{
    enum ebm_client_status status = read_outputs(args, request, &request->density.n_outputs, reterr);
    request->density.outputs = request->outputs;
    request->n_target_lists = args->n_targets;
    if (args->n_targets > 0 && args->values[CLI_OPTION_GRID])
        return client_fail(reterr, EBM_CLIENT_INVALID, "targets", "expected --targets or --grid, not both");
    if (args->n_targets > 1 && args->n_targets != args->n_inputs)
        return client_fail(reterr, EBM_CLIENT_INVALID, "targets",
                           "expected --targets once for all rows, or once for every --input: %zu, got %zu",
                           args->n_inputs, args->n_targets);
    for (size_t i = 0; i < args->n_targets && status == EBM_CLIENT_OK; i++)
        status = read_target_list(request, args->targets[i], i, reterr);
    return status == EBM_CLIENT_OK ? read_grid(args, &request->density, reterr) : status;
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
    free(request->quantiles);
    *request = (struct cli_request){.targets = NULL};
}

static enum ebm_client_status send_density(struct ebm_client *client, const struct cli_request *request, size_t first,
                                           struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr)
{
    struct ebm_client_density_request density = request->density;
    const size_t width = density.n_targets * density.D, n_rows = request->rows.n_rows;
    double *targets = NULL;
    density.rows = request->rows;
    if (request->targets) {
        targets = calloc(n_rows, width * sizeof *targets);
        if (!targets)
            return no_memory(reterr);
        for (size_t row = 0; row < n_rows; row++) {
            size_t list = request->n_target_lists > 1 ? first + row : 0;
            memcpy(targets + row * width, request->targets + list * width, width * sizeof *targets);
        }
    }
    density.targets = targets;
    enum ebm_client_status status = ebm_client_density(client, &density, ret_answer, reterr);
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
    return send_density(client, request, first, ret_answer, reterr);
}
