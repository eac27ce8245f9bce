/* predict.c - inputs from the command line, a CSV or images, through models/estimate, as text, picture and CSV.
 *
 *   rows -> ebm_engine_predict in blocks -> a paragraph a row (the first TOLD_ROWS) -> a picture with --draw
 *                                        \-> --output: a line a row
 *
 * The picture shows the shape of the density itself on a grid, not a histogram of the draws. */
#include "trainer/predict.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/log.h"
#include "models/estimate.h"
#include "models/target.h"
#include "trainer/columns.h"
#include "trainer/device_args.h"
#include "trainer/draw.h"
#include "trainer/model_file.h"

#define PREDICT_SAMPLES 4096u
#define PREDICT_ROWS 16u /* in one device call */
#define TOLD_ROWS 20u    /* rows that are written out */
#define DRAWN_ROWS 8u
#define PICTURE_BYTES 65536u
#define ARENA_BYTES (64u << 20)

static const double told_quantiles[] = {0.05, 0.5, 0.95, 0.002, 0.998};
enum { AT_LOW, AT_MEDIAN, AT_HIGH, AT_LEAST, AT_MOST, QUANTILES };
_Static_assert(EBM_COUNT_OF(told_quantiles) == QUANTILES, "a name for each quantile");

/* Everything of one call. */
struct oracle {
    struct ebm_model *model;
    const struct ebm_config *config; /* the model's */
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_engine *engine;
    struct ebm_arena arena;
    struct ebm_query query;
    struct ebm_resolved_query resolved;
    struct dataset *data; /* inputs, and targets where the file has them: data->y */
    double *numbers;      /* (PREDICT_ROWS, X) of images; NULL: data->x has them */
    FILE *output;         /* NULL: none */
    bool draws;
};

static void oracle_done(struct oracle *o)
{
    (void)ebm_engine_free(o->engine);
    if (o->plan != NULL)
        (void)o->ops->plan_unref(o->plan);
    (void)ebm_model_unref(o->model);
    (void)dataset_free(o->data);
    free(o->numbers);
    ebm_arena_done(&o->arena);
    if (o->output != NULL)
        (void)fclose(o->output);
}

/* ---- inputs ---- */

static enum ebm_status parse_input(const char *text, const struct ebm_config *config, struct dataset **ret_data,
                                   struct ebm_error *reterr)
{
    EBM_AUTO(dataset_freep) struct dataset *data = calloc(1, sizeof *data);
    uint32_t n = 0, X = config->input.size;
    if (data != NULL)
        data->x = calloc(X, sizeof *data->x);
    if (data == NULL || data->x == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--input", "no memory");
    for (const char *at = text; at != NULL; n++) {
        const char *comma = strchr(at, ',');
        size_t length = comma != NULL ? (size_t)(comma - at) : strlen(at);
        double value = 0.0;
        if (!csv_number(at, length, &value))
            return ebm_error_set(reterr, EBM_INVALID, "--input", "number %u is '%.*s', expected a finite number", n + 1,
                                 length < 40 ? (int)length : 40, at);
        if (n < X)
            data->x[n] = value;
        at = comma != NULL ? comma + 1 : NULL;
    }
    if (n != X)
        return ebm_error_set(reterr, EBM_INVALID, "--input", "%u number%s, the model takes %u", n, n == 1 ? "" : "s",
                             X);
    data->n_rows = 1;
    data->X = X;
    *ret_data = EBM_TAKE_PTR(data);
    return EBM_OK;
}

/* With the targets, where they are all there: what came true stands beside what was predicted. */
static enum ebm_status load_table(struct oracle *o, const char *file, struct ebm_error *reterr)
{
    const struct columns_files files = {.data = file};
    struct ebm_error error = {.status = EBM_OK};
    if (columns_have_targets(o->config, &files) &&
        columns_load(o->config, &files, true, false, &o->data, &error) == EBM_OK)
        return EBM_OK;
    enum ebm_status status = columns_load(o->config, &files, false, false, &o->data, reterr);
    if (status == EBM_OK && error.status != EBM_OK)
        ebm_log_warning("true values are not shown: %s: %s", error.where, error.text);
    return status;
}

/* A data set of images has targets. */
static enum ebm_status load_images(struct oracle *o, const struct args *args, struct ebm_error *reterr)
{
    uint64_t bad_files = 0;
    enum ebm_status status = args_number(args, "max-bad-files", 0, LIMIT_DATA_ROWS, &bad_files, reterr);
    const struct columns_files files = {
        .data = args_get(args, "data"), .images = args_get(args, "images"), .max_bad_files = (uint32_t)bad_files};
    return status == EBM_OK ? columns_load(o->config, &files, true, false, &o->data, reterr) : status;
}

static enum ebm_status load_inputs(struct oracle *o, const struct args *args, struct ebm_error *reterr)
{
    const char *input = args_get(args, "input"), *file = args_get(args, "data");
    if (!o->config->input.is_image)
        return input != NULL ? parse_input(input, o->config, &o->data, reterr) : load_table(o, file, reterr);
    o->numbers = calloc((size_t)PREDICT_ROWS * o->config->input.size, sizeof *o->numbers);
    if (o->numbers == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "predict", "no memory for images");
    return input != NULL ? columns_load_image(o->config, input, &o->data, reterr) : load_images(o, args, reterr);
}

/* The inputs of a row; of an image valid until one PREDICT_ROWS later. */
static const double *numbers_of(const struct oracle *o, uint32_t row)
{
    size_t X = o->config->input.size, first = (size_t)row * X;
    if (o->numbers == NULL)
        return o->data->x + first;
    double *to = o->numbers + row % PREDICT_ROWS * X;
    for (size_t i = 0; i < X; i++)
        to[i] = o->data->pixels[first + i];
    return to;
}

static enum ebm_status read_inputs(struct oracle *o, const struct args *args, struct ebm_error *reterr)
{
    const char *input = args_get(args, "input"), *file = args_get(args, "data");
    if ((input == NULL) == (file == NULL))
        return ebm_error_set(reterr, EBM_INVALID, "predict", "give either --input 'x1,x2,...' or --data FILE");
    enum ebm_status status = load_inputs(o, args, reterr);
    if (status != EBM_OK || !o->draws)
        return status;
    if (o->config->target.dim != 1)
        return ebm_error_set(reterr, EBM_INVALID, "--draw", "draws a scalar target, the model has %u",
                             o->config->target.dim);
    if (o->data->n_rows > DRAWN_ROWS)
        return ebm_error_set(reterr, EBM_INVALID, "--draw", "draws at most %u rows, there are %u", DRAWN_ROWS,
                             o->data->n_rows);
    return EBM_OK;
}

/* ---- words ---- */

static void tell_input(const struct oracle *o, uint32_t row)
{
    char space[32];
    uint32_t X = o->config->input.size, told = X < 6 ? X : 6;
    if (o->data->x == NULL) {
        (void)printf("image %u:\n", (o->data->numbers != NULL ? o->data->numbers[row] : row) + 1);
        return;
    }
    for (uint32_t i = 0; i < told; i++)
        (void)printf("%s%s %.6g", i == 0 ? "given " : ", ",
                     columns_name(o->config->input.names, i, "x", space, sizeof space),
                     o->data->x[(size_t)row * X + i]);
    (void)printf("%s:\n", told < X ? ", ..." : "");
}

static void tell_row(const struct oracle *o, uint32_t row, const struct ebm_prediction *p)
{
    char space[32];
    uint32_t D = o->config->target.dim;
    tell_input(o, row);
    for (uint32_t d = 0; d < D; d++) {
        (void)printf("  %s", columns_name(o->config->target.names, d, "y", space, sizeof space));
        if (o->data->D > 0)
            (void)printf("  true %.4g", o->data->y[(size_t)row * D + d]);
        (void)printf("  mean %.4g  std %.4g  quantiles 5 %%: %.4g  50 %%: %.4g  95 %%: %.4g\n", p->mean[d], p->std[d],
                     p->quantiles[AT_LOW * D + d], p->quantiles[AT_MEDIAN * D + d], p->quantiles[AT_HIGH * D + d]);
    }
    if (!p->reliable)
        (void)printf("  not reliable (%s): is the input far from the training data?\n", p->reason);
}

static void write_header(const struct oracle *o)
{
    static const char *const columns[] = {"mean", "std", "q05", "q50", "q95", "true"};
    size_t n = o->data->D > 0 ? EBM_COUNT_OF(columns) : EBM_COUNT_OF(columns) - 1;
    char space[32];
    for (uint32_t d = 0; d < o->config->target.dim; d++)
        for (size_t i = 0; i < n; i++)
            (void)fprintf(o->output, "%s_%s,", columns_name(o->config->target.names, d, "y", space, sizeof space),
                          columns[i]);
    (void)fputs("reliable\n", o->output);
}

static void write_row(const struct oracle *o, uint32_t row, const struct ebm_prediction *p)
{
    uint32_t D = o->config->target.dim;
    for (uint32_t d = 0; d < D; d++) {
        (void)fprintf(o->output, "%.9g,%.9g,%.9g,%.9g,%.9g,", p->mean[d], p->std[d], p->quantiles[AT_LOW * D + d],
                      p->quantiles[AT_MEDIAN * D + d], p->quantiles[AT_HIGH * D + d]);
        if (o->data->D > 0)
            (void)fprintf(o->output, "%.9g,", o->data->y[(size_t)row * D + d]);
    }
    (void)fprintf(o->output, "%d\n", p->reliable);
}

/* ---- the picture ---- */

/* The density at the middle of every column, averaged over a few points so that no narrow mode falls between. */
static enum ebm_status density_on_grid(struct oracle *o, uint32_t row, double lower, double upper, double *ret_density,
                                       struct ebm_error *reterr)
{
    enum { POINTS = 4, GRID = DRAW_COLUMNS * POINTS };
    struct ebm_query query = {.outputs = EBM_OUTPUT(UNNORMALIZED_LOG_PROB), .num_samples = 1, .n_targets = GRID};
    struct ebm_resolved_query resolved;
    struct ebm_prediction p;
    double y[GRID], highest = -INFINITY;
    for (uint32_t i = 0; i < GRID; i++)
        y[i] = lower + (upper - lower) * (i + 0.5) / GRID;
    enum ebm_status status = ebm_query_resolve(&query, o->model, &o->arena, &resolved, reterr);
    if (status != EBM_OK)
        return status;
    if (ebm_prediction_init(&p, 1, &resolved, o->model, &o->arena) != EBM_OK)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--draw", "no memory");
    struct ebm_item item = {
        .x = numbers_of(o, row), .targets = y, .row_in_request = row, .resolved = &resolved, .out = &p};
    if (ebm_engine_predict(o->engine, o->model, o->plan, &item, 1) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses the grid");
    for (uint32_t i = 0; i < GRID; i++)
        highest = fmax(highest, p.unnormalized_log_prob[i]);
    for (uint32_t i = 0; i < GRID; i++)
        ret_density[i / POINTS] += exp(p.unnormalized_log_prob[i] - highest);
    return EBM_OK;
}

static enum ebm_status draw_row(struct oracle *o, uint32_t row, const struct ebm_prediction *p,
                                struct ebm_error *reterr)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf text;
    double density[DRAW_COLUMNS] = {0.0};
    char space[32];
    struct draw_picture picture = {.name = columns_name(o->config->target.names, 0, "y", space, sizeof space),
                                   .density = density,
                                   .mean = p->mean[0],
                                   .low = p->quantiles[AT_LOW],
                                   .median = p->quantiles[AT_MEDIAN],
                                   .high = p->quantiles[AT_HIGH]};
    ebm_buf_init(&text, PICTURE_BYTES);
    if (p->raw.status != EBM_OK)
        return EBM_OK; /* tell_row has said so */
    draw_axis(p->quantiles[AT_LEAST], p->quantiles[AT_MOST], &picture.lower, &picture.upper);
    if (ebm_target_period(&o->config->target, 0) > 0.0) {
        picture.lower = o->config->target.lower[0];
        picture.upper = o->config->target.upper[0];
    }
    enum ebm_status status = density_on_grid(o, row, picture.lower, picture.upper, density, reterr);
    if (status != EBM_OK)
        return status;
    if (draw_density(&picture, &text) != EBM_OK)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--draw", "no memory");
    (void)printf("\n%s\n", text.bytes);
    return EBM_OK;
}

/* ---- the whole ---- */

static enum ebm_status predict_block(struct oracle *o, uint32_t first, uint32_t n, struct ebm_prediction *predictions,
                                     struct ebm_error *reterr)
{
    struct ebm_item items[PREDICT_ROWS];
    for (uint32_t i = 0; i < n; i++)
        items[i] = (struct ebm_item){.x = numbers_of(o, first + i),
                                     .row_in_request = first + i,
                                     .resolved = &o->resolved,
                                     .out = &predictions[i]};
    if (ebm_engine_predict(o->engine, o->model, o->plan, items, n) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses the rows");
    for (uint32_t i = 0; i < n; i++) {
        if (o->output != NULL)
            write_row(o, first + i, &predictions[i]);
        if (first + i < TOLD_ROWS)
            tell_row(o, first + i, &predictions[i]);
        enum ebm_status status = o->draws ? draw_row(o, first + i, &predictions[i], reterr) : EBM_OK;
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

static enum ebm_status predict_all(struct oracle *o, struct ebm_error *reterr)
{
    struct ebm_prediction predictions[PREDICT_ROWS];
    if (ebm_prediction_init(predictions, PREDICT_ROWS, &o->resolved, o->model, &o->arena) != EBM_OK)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "predict", "no memory");
    if (o->output != NULL)
        write_header(o);
    for (uint32_t first = 0; first < o->data->n_rows; first += PREDICT_ROWS) {
        uint32_t left = o->data->n_rows - first;
        enum ebm_status status = predict_block(o, first, left < PREDICT_ROWS ? left : PREDICT_ROWS, predictions,
                                               reterr);
        if (status != EBM_OK)
            return status;
    }
    if (o->data->n_rows > TOLD_ROWS)
        (void)printf("... %u rows in all%s\n", o->data->n_rows,
                     o->output == NULL ? "; --output FILE writes every one" : "");
    return EBM_OK;
}

static enum ebm_status open_engine(struct oracle *o, const char *path, struct ebm_error *reterr)
{
    enum { LEAST = 1024 }; /* the grid of a picture must fit */
    struct ebm_ctx_limits limits = {.max_rows = PREDICT_ROWS,
                                    .max_samples = o->query.num_samples > LEAST ? o->query.num_samples : LEAST};
    ebm_device_thread_init();
    enum ebm_status status = model_file_load(path, &o->model, reterr);
    if (status != EBM_OK)
        return status;
    o->config = ebm_model_config(o->model);
    status = o->ops->plan_new(ebm_model_net(o->model), ebm_model_params(o->model), 0, &o->plan, reterr);
    if (status == EBM_OK)
        status = ebm_engine_new(o->ops, &limits, &o->engine, reterr);
    if (status == EBM_OK)
        status = ebm_engine_prepare(o->engine, o->model, o->plan, reterr);
    if (status == EBM_OK)
        status = ebm_query_resolve(&o->query, o->model, &o->arena, &o->resolved, reterr);
    return status;
}

static enum ebm_status open_output(struct oracle *o, const char *path, struct ebm_error *reterr)
{
    if (path == NULL)
        return EBM_OK;
    o->output = fopen(path, "we");
    return o->output != NULL ? EBM_OK
                             : ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: %s", strerror(errno));
}

static enum ebm_status close_output(struct oracle *o, const char *path, struct ebm_error *reterr)
{
    if (o->output == NULL)
        return EBM_OK;
    bool failed = ferror(o->output) != 0;
    failed = fclose(o->output) != 0 || failed;
    o->output = NULL;
    return failed ? ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: is the disk full?") : EBM_OK;
}

enum ebm_status predict_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(oracle_done) struct oracle o = {.draws = args_get(args, "draw") != NULL};
    const char *model = NULL, *output = args_get(args, "output");
    uint64_t samples = PREDICT_SAMPLES, seed = 0;
    ebm_arena_init(&o.arena, ARENA_BYTES);
    enum ebm_status status = args_require(args, "model", &model, reterr);
    if (status == EBM_OK)
        status = args_number(args, "num-samples", 1, LIMIT_SAMPLES, &samples, reterr);
    if (status == EBM_OK)
        status = args_number(args, "seed", 0, (1ull << 53) - 1, &seed, reterr);
    o.query = (struct ebm_query){.outputs = EBM_OUTPUT(MEAN) | EBM_OUTPUT(STD) | EBM_OUTPUT(QUANTILES),
                                 .num_samples = (uint32_t)samples,
                                 .scheme = EBM_SCHEME_SOBOL,
                                 .seed = seed,
                                 .n_quantiles = QUANTILES,
                                 .quantiles = told_quantiles};
    if (status == EBM_OK)
        status = device_from_args(args, &o.ops, reterr);
    if (status == EBM_OK)
        status = open_engine(&o, model, reterr);
    if (status == EBM_OK)
        status = read_inputs(&o, args, reterr);
    if (status == EBM_OK)
        status = open_output(&o, output, reterr);
    if (status == EBM_OK)
        status = predict_all(&o, reterr);
    return status == EBM_OK ? close_output(&o, output, reterr) : status;
}
