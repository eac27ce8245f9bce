/* cli_rows.c - a block of rows after the other:
 *
 *   --input ...  or  --image ...  or  CSV -> block -> request -> answer -> printed -> next block
 *
 * Only one block and its answer are in memory. A row's draws depend on the seed and on its number in its request, so
 * block k is asked with the first one's seed + k: no two rows share draws, and the first answer's seed and the size of
 * blocks repeat the whole run. */
#include "clients/cli_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli_csv.h"
#include "clients/cli_images.h"
#include "clients/cli_output.h"
#include "clients/cli_plot.h"
#include "clients/cli_request.h"
#include "clients/client_http.h"

#define BLOCK_ROWS 256u
#define MOST_BLOCK_ROWS 4096u /* of a server's request */
#define PLOT_ROWS 8u          /* that are drawn */
#define GRID_POINTS 128u
#define SEEDS (1ull << 53)

/* A run of one command. */
struct run {
    struct ebm_client *client;
    const struct cli_args *args;
    struct cli_request request;
    struct cli_output output;
    struct cli_csv *csv;       /* NULL: rows are those of --input or --image */
    double *block;             /* (block_rows, n_inputs) */
    struct cli_images *images; /* of the block; NULL: rows are numbers */
    uint64_t block_rows;
    size_t n_inputs, n_blocks;
};

/* ---- where rows come from ---- */

/* The name of the only model that is available, copied; with several the user must choose. */
static enum ebm_client_status only_model(struct ebm_client *client, char **ret_name, struct ebm_client_error *reterr)
{
    struct ebm_client_models models;
    const char *name = NULL;
    size_t n = 0;
    enum ebm_client_status status = ebm_client_list_models(client, &models, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    for (size_t i = 0; i < models.n_models; i++)
        if (models.models[i].available) {
            name = models.models[i].name;
            n++;
        }
    char *copy = n == 1 ? strdup(name) : NULL;
    ebm_client_models_done(&models);
    if (n != 1)
        return client_fail(reterr, EBM_CLIENT_INVALID, "model",
                           "the server has %zu models, expected --model NAME; 'ebm-client models' lists them", n);
    if (!copy)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "model", "no memory");
    *ret_name = copy;
    return EBM_CLIENT_OK;
}

static enum ebm_client_status open_data(struct run *run, struct ebm_client_error *reterr)
{
    const char *path = run->args->values[CLI_OPTION_DATA], *name = run->args->values[CLI_OPTION_MODEL];
    struct ebm_client_model model;
    char *only = NULL;
    enum ebm_client_status status = name ? EBM_CLIENT_OK : only_model(run->client, &only, reterr);
    if (status == EBM_CLIENT_OK)
        status = ebm_client_get_model(run->client, name ? name : only, &model, reterr);
    free(only);
    if (status != EBM_CLIENT_OK)
        return status;
    run->n_inputs = model.n_inputs;
    status = cli_csv_open(path, model.input_names, model.n_inputs, &run->csv, reterr);
    ebm_client_model_done(&model);
    return status;
}

static enum ebm_client_status take_block_memory(struct run *run, struct ebm_client_error *reterr)
{
    run->block = calloc(run->block_rows, run->n_inputs * sizeof *run->block);
    return run->block ? EBM_CLIENT_OK : client_fail(reterr, EBM_CLIENT_NO_MEMORY, "inputs", "no memory");
}

/* Row `at` of --input into row `to` of the block. */
static enum ebm_client_status read_input(struct run *run, size_t at, size_t to, struct ebm_client_error *reterr)
{
    double *numbers = NULL;
    size_t n = 0;
    enum ebm_client_status status = cli_numbers(run->args->inputs[at], CLI_OPTION_INPUT, &numbers, &n, reterr);
    if (status == EBM_CLIENT_OK && run->n_inputs == 0) {
        run->n_inputs = n;
        status = take_block_memory(run, reterr);
    }
    if (status == EBM_CLIENT_OK && n != run->n_inputs)
        status = client_fail(reterr, EBM_CLIENT_INVALID, "input", "'%.60s' has %zu numbers, expected %zu as the first",
                             run->args->inputs[at], n, run->n_inputs);
    if (status == EBM_CLIENT_OK)
        memcpy(run->block + to * n, numbers, n * sizeof *numbers);
    free(numbers);
    return status;
}

static enum ebm_client_status open_rows(struct run *run, struct ebm_client_error *reterr)
{
    const char *const *values = run->args->values;
    bool has_data = values[CLI_OPTION_DATA] != NULL, has_image = values[CLI_OPTION_IMAGE] != NULL;
    int kinds = has_data + has_image + (values[CLI_OPTION_INPUT] != NULL);
    if (kinds != 1)
        return client_fail(reterr, EBM_CLIENT_INVALID, "input", "expected %s",
                           kinds > 1 ? "--input, --image or --data, not both"
                                     : "rows: --input X1,X2,..., --image FILE or --data FILE");
    if (!has_data)
        return EBM_CLIENT_OK;
    enum ebm_client_status status = open_data(run, reterr);
    return status == EBM_CLIENT_OK ? take_block_memory(run, reterr) : status;
}

/* The next files; *ret_n = 0 behind the last one. */
static enum ebm_client_status next_images(struct run *run, size_t *ret_n, struct ebm_client_error *reterr)
{
    size_t first = run->output.n_rows, left = run->args->n_inputs - first;
    size_t n = left < run->block_rows ? left : run->block_rows;
    run->images = cli_images_free(run->images);
    enum ebm_client_status status = n > 0 ? cli_images_read(run->args->inputs + first, n, &run->images, reterr)
                                          : EBM_CLIENT_OK;
    *ret_n = n;
    return status;
}

/* The next rows into the block; *ret_n = 0 behind the last one. */
static enum ebm_client_status next_block(struct run *run, size_t *ret_n, struct ebm_client_error *reterr)
{
    size_t first = run->output.n_rows, n = 0;
    enum ebm_client_status status = EBM_CLIENT_OK;
    if (run->csv)
        return cli_csv_read(run->csv, run->block_rows, run->block, ret_n, reterr);
    if (run->args->values[CLI_OPTION_IMAGE])
        return next_images(run, ret_n, reterr);
    for (; n < run->block_rows && first + n < run->args->n_inputs && status == EBM_CLIENT_OK; n++)
        status = read_input(run, first + n, n, reterr);
    *ret_n = n;
    return status;
}

/* ---- what is asked of them ---- */

/* A grid of 4 standard deviations around the means of the first block, when neither targets nor grid were given. */
static enum ebm_client_status choose_grid(struct run *run, struct ebm_client_error *reterr)
{
    struct ebm_client_density_request *density = &run->request.density;
    struct ebm_client_predict_request predict = {.rows = run->request.rows};
    struct ebm_client_answer answer;
    if (run->request.kind != CLI_DENSITY || run->request.targets || density->grid_points > 0)
        return EBM_CLIENT_OK;
    enum ebm_client_status status = ebm_client_predict(run->client, &predict, &answer, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    double lower = (double)INFINITY, upper = (double)-INFINITY;
    for (size_t row = 0; answer.D == 1 && answer.mean && answer.std && row < answer.n_rows; row++) {
        lower = fmin(lower, answer.mean[row] - 4.0 * answer.std[row]);
        upper = fmax(upper, answer.mean[row] + 4.0 * answer.std[row]);
    }
    ebm_client_answer_done(&answer);
    if (!(lower < upper) || !isfinite(lower) || !isfinite(upper))
        return client_fail(reterr, EBM_CLIENT_INVALID, "targets",
                           "expected --targets, or --grid LOWER:UPPER:POINTS for a target of one dimension");
    density->grid_lower = lower;
    density->grid_upper = upper;
    density->grid_points = GRID_POINTS;
    return EBM_CLIENT_OK;
}

static enum ebm_client_status print_answer(struct run *run, const struct ebm_client_answer *answer,
                                           struct ebm_client_error *reterr)
{
    enum ebm_client_status status = EBM_CLIENT_OK;
    if (!run->args->values[CLI_OPTION_PLOT])
        return cli_output_add(&run->output, answer, reterr);
    for (size_t row = 0; row < answer->n_rows && status == EBM_CLIENT_OK; row++, run->output.n_rows++) {
        if (run->output.n_rows >= PLOT_ROWS)
            return client_fail(reterr, EBM_CLIENT_INVALID, "plot", "more than %u rows, and the first ones are drawn",
                               PLOT_ROWS);
        status = cli_plot(answer, row, run->output.n_rows, reterr);
    }
    return status;
}

static enum ebm_client_status run_block(struct run *run, size_t n_rows, struct ebm_client_error *reterr)
{
    struct ebm_client_rows *rows = &run->request.rows;
    struct ebm_client_answer answer;
    rows->inputs = run->block;
    rows->n_rows = n_rows;
    rows->n_inputs = run->n_inputs;
    rows->images = run->images ? run->images->images : NULL;
    enum ebm_client_status status = run->n_blocks == 0 ? choose_grid(run, reterr) : EBM_CLIENT_OK;
    if (status == EBM_CLIENT_OK)
        status = cli_request_send(run->client, &run->request, run->output.n_rows, &answer, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    run->n_blocks++;
    rows->has_seed = true;
    rows->seed = (answer.seed + 1) % SEEDS;
    status = print_answer(run, &answer, reterr);
    ebm_client_answer_done(&answer);
    return status;
}

static enum ebm_client_status run_blocks(struct run *run, struct ebm_client_error *reterr)
{
    enum ebm_client_status status = open_rows(run, reterr);
    for (size_t n = 1; n > 0 && status == EBM_CLIENT_OK;) {
        status = next_block(run, &n, reterr);
        if (status == EBM_CLIENT_OK && n > 0)
            status = run_block(run, n, reterr);
    }
    if (status == EBM_CLIENT_OK && run->n_blocks == 0)
        status = client_fail(reterr, EBM_CLIENT_INVALID, "data", "no rows below the header");
    return status;
}

enum ebm_client_status cli_rows_run(struct ebm_client *client, const struct cli_args *args,
                                    struct ebm_client_error *reterr)
{
    struct run run = {.client = client, .args = args, .block_rows = BLOCK_ROWS, .output.kind = args->command};
    enum ebm_client_status status = cli_output_format(args, &run.output.format, reterr);
    if (status == EBM_CLIENT_OK)
        status = cli_args_whole(args, CLI_OPTION_BLOCK_ROWS, 1, MOST_BLOCK_ROWS, &run.block_rows, reterr);
    if (status == EBM_CLIENT_OK && args->values[CLI_OPTION_PLOT] && args->values[CLI_OPTION_FORMAT])
        status = client_fail(reterr, EBM_CLIENT_INVALID, "plot", "expected --plot or --format, not both");
    if (status == EBM_CLIENT_OK)
        status = cli_request_read(args, &run.request, reterr);
    if (status == EBM_CLIENT_OK)
        status = run_blocks(&run, reterr);
    if (status == EBM_CLIENT_OK && !args->values[CLI_OPTION_PLOT])
        cli_output_end(&run.output);
    cli_request_done(&run.request);
    (void)cli_csv_free(run.csv);
    (void)cli_images_free(run.images);
    free(run.block);
    return status;
}
