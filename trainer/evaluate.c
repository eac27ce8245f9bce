/* evaluate.c - the command: a model, rows or a grid -> numbers -> a terminal, JSON, a page.
 *
 *   rows            score.c -> figures.c -> evaluate_tell.c, evaluate_json.c, page.c
 *   --protocol      toy1, set2: KL divergence from the density that made the data; toy2: NLL on the published grid
 *   --grid          NLL by a sum over a grid of targets */
#include "trainer/evaluate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/target.h"
#include "trainer/columns.h"
#include "trainer/device_args.h"
#include "trainer/files.h"
#include "trainer/model_file.h"
#include "trainer/options.h"
#include "trainer/page.h"
#include "trainer/protocol.h"

#define EVALUATE_SAMPLES 16384u
#define EVALUATE_JSON_BYTES (4u << 20)
#define EVALUATE_TEXT_BYTES (1u << 20)
#define SURFACE_COLUMNS 200u
#define SURFACE_ROWS 140u
#define TOY2_GRID "-12.5,12.5,8192"

/* What is evaluated, and on what. */
struct subject {
    struct score_spec spec;
    struct ebm_model *model;
    struct pool *pool;
    struct dataset *data;
    struct dataset_jitter jitter;
    const char *path, *data_path;
    uint32_t n_threads;
};

static void subject_done(struct subject *s)
{
    (void)pool_free(s->pool);
    if (s->spec.plan != NULL)
        (void)s->spec.ops->plan_unref(s->spec.plan);
    (void)ebm_model_unref(s->model);
    (void)dataset_free(s->data);
    free(s->jitter.values);
}

/* Can this model be asked that way? */
static enum ebm_status check_estimator(const struct score_spec *spec, const char *path, struct ebm_error *reterr)
{
    const struct ebm_net_desc *net = &spec->config->net;
    if (ebm_estimator_applies(net, score_chosen(spec)))
        return EBM_OK;
    if (spec->choice != EBM_CHOICE_AUTO)
        return ebm_error_set(reterr, EBM_INVALID, "--estimator",
                             "this model has not what '%s' needs: leave the option out",
                             ebm_estimator_word(score_chosen(spec)));
    return ebm_error_set(reterr, EBM_INVALID, path,
                         "the model has several targets and no proposal: nothing normalises its density");
}

static enum ebm_status read_estimator(const struct args *args, enum ebm_choice *ret_choice, struct ebm_error *reterr)
{
    static const struct {
        const char *word;
        enum ebm_choice choice;
    } choices[] = {{"auto", EBM_CHOICE_AUTO},
                   {"exact", EBM_CHOICE_EXACT},
                   {"quadrature", EBM_CHOICE_QUADRATURE},
                   {"importance", EBM_CHOICE_IMPORTANCE},
                   {"mixture", EBM_CHOICE_MIXTURE}};
    const char *word = args_get(args, "estimator");
    for (size_t i = 0; i < EBM_COUNT_OF(choices); i++)
        if (word == NULL || strcmp(word, choices[i].word) == 0) {
            *ret_choice = choices[i].choice;
            return EBM_OK;
        }
    return ebm_error_set(reterr, EBM_INVALID, "--estimator",
                         "'%.40s', expected auto, exact, quadrature, importance or mixture", word);
}

/* The model, and threads with room for max_samples targets of a row. */
static enum ebm_status open_model(struct subject *s, uint32_t max_samples, bool normalises, struct ebm_error *reterr)
{
    struct ebm_ctx_limits limits = {.max_rows = SCORE_ROWS,
                                    .max_samples = max_samples > SCORE_TARGETS ? max_samples : SCORE_TARGETS};
    enum ebm_status status = model_file_load(s->path, &s->model, reterr);
    if (status != EBM_OK)
        return status;
    s->spec.config = ebm_model_config(s->model);
    s->spec.jitter = &s->jitter;
    if (normalises)
        status = check_estimator(&s->spec, s->path, reterr);
    if (status != EBM_OK)
        return status;
    status = options_recorded_jitter(s->spec.config->training, &s->jitter, reterr);
    if (status == EBM_OK)
        status = s->spec.ops->plan_new(ebm_model_net(s->model), ebm_model_params(s->model), 0, &s->spec.plan, reterr);
    if (status == EBM_OK)
        status = pool_new(s->spec.ops, &limits, s->spec.plan, s->n_threads, &s->pool, reterr);
    return status;
}

/* ---- rows ---- */

/* Keeps the rows that a split file lists. */
static enum ebm_status keep_split(struct dataset *data, const struct args *args, struct ebm_error *reterr)
{
    uint64_t index = 0;
    const char *path = args_get(args, "split-file");
    enum ebm_status status = args_number(args, "split-index", 0, 1000000, &index, reterr);
    return status == EBM_OK && path != NULL ? dataset_keep_split(path, (uint32_t)index, data, reterr) : status;
}

static enum ebm_status open_data(struct subject *s, const struct args *args, struct ebm_error *reterr)
{
    const char *missing = args_get(args, "missing");
    bool drop = missing != NULL && strcmp(missing, "drop") == 0;
    enum ebm_status status = args_require(args, "data", &s->data_path, reterr);
    if (status == EBM_OK && missing != NULL && !drop && strcmp(missing, "error") != 0)
        return ebm_error_set(reterr, EBM_INVALID, "evaluate", "--missing is '%.20s', expected drop or error", missing);
    uint64_t bad_files = 0;
    if (status == EBM_OK)
        status = args_number(args, "max-bad-files", 0, LIMIT_DATA_ROWS, &bad_files, reterr);
    const struct columns_files files = {.data = s->data_path,
                                        .targets = args_get(args, "targets"),
                                        .images = args_get(args, "images"),
                                        .max_bad_files = (uint32_t)bad_files};
    if (status == EBM_OK)
        status = columns_load(s->spec.config, &files, true, drop, &s->data, reterr);
    return status == EBM_OK ? keep_split(s->data, args, reterr) : status;
}

/* One line a row: its number in the file and its NLL, for comparisons row by row. */
static enum ebm_status write_row_nll(const char *path, const struct dataset *data, const double *nll,
                                     struct ebm_error *reterr)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: %s", strerror(errno));
    bool failed = fputs("row,nll\n", file) == EOF;
    for (uint32_t i = 0; i < data->n_rows; i++)
        failed |= fprintf(file, "%u,%.17g\n", data->numbers[i], nll[i]) < 0;
    failed |= fclose(file) != 0;
    return failed ? ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: is the disk full?") : EBM_OK;
}

/* Every row has a density; the NLL of each goes where --row-nll says. */
static enum ebm_status finish_nll(const struct args *args, const struct dataset *data, const double *nll,
                                  struct ebm_error *reterr)
{
    const char *path = args_get(args, "row-nll");
    for (uint32_t i = 0; i < data->n_rows; i++)
        if (!isfinite(nll[i]))
            return ebm_error_set(
                reterr, EBM_INVALID, "evaluate",
                "the network gives no finite density at data row %u: is it far from the training data?",
                data->numbers[i] + 1);
    return path != NULL ? write_row_nll(path, data, nll, reterr) : EBM_OK;
}

/* The rectangle of the rows, a little wider; of an angle all of its period. */
static void frame(struct surface *surface, const struct dataset *data, const struct ebm_target_config *target)
{
    double low[2] = {data->x[0], data->y[0]}, high[2] = {data->x[0], data->y[0]};
    for (uint32_t i = 1; i < data->n_rows; i++) {
        low[0] = fmin(low[0], data->x[i]);
        high[0] = fmax(high[0], data->x[i]);
        low[1] = fmin(low[1], data->y[i]);
        high[1] = fmax(high[1], data->y[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        double width = high[i] - low[i], margin = width > 0.0 ? (i == 0 ? 0.02 : 0.08) * width : 0.5;
        low[i] -= margin;
        high[i] += margin;
    }
    if (ebm_target_period(target, 0) > 0.0) {
        low[1] = target->lower[0];
        high[1] = target->upper[0];
    }
    *surface = (struct surface){.x_lower = low[0],
                                .x_upper = high[0],
                                .y_lower = low[1],
                                .y_upper = high[1],
                                .n_x = SURFACE_COLUMNS,
                                .n_y = SURFACE_ROWS};
}

static enum ebm_status write_page(struct subject *s, struct evaluation *e, const char *path, struct ebm_error *reterr)
{
    EBM_AUTO(surface_done) struct surface surface = {.n_x = 0};
    EBM_AUTO(ebm_buf_done) struct ebm_buf html;
    ebm_buf_init(&html, PAGE_BYTES);
    if (s->data->X == 1 && s->data->D == 1) {
        frame(&surface, s->data, &s->spec.config->target);
        if (surface_make(&surface, s->pool, &s->spec) != EBM_OK)
            return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses to compute the density's picture");
        e->surface = &surface;
    }
    if (page_html(e, &html) != EBM_OK)
        return ebm_error_set(reterr, html.status, path, "the page would be larger than %u bytes", PAGE_BYTES);
    enum ebm_status status = files_write_text(path, html.bytes, reterr);
    if (status == EBM_OK)
        (void)printf("report written to %s\n", path);
    return status;
}

static enum ebm_status show(struct subject *s, struct evaluation *e, struct ebm_buf *json, struct ebm_error *reterr)
{
    const char *page = args_get(e->args, "report");
    EBM_AUTO(ebm_buf_done) struct ebm_buf text;
    ebm_buf_init(&text, EVALUATE_TEXT_BYTES);
    if (evaluate_tell(e, &text) == EBM_OK)
        (void)fputs(text.bytes, stdout);
    if (evaluate_json(e, json) != EBM_OK)
        return ebm_error_set(reterr, json->status, "--output", "the figures would be longer than %u bytes",
                             EVALUATE_JSON_BYTES);
    return page != NULL ? write_page(s, e, page, reterr) : EBM_OK;
}

static enum ebm_status score_data(struct subject *s, const struct args *args, struct ebm_buf *json,
                                  struct ebm_error *reterr)
{
    const struct dataset *data = s->data;
    EBM_AUTO(ebm_freep) uint32_t *order = calloc(data->n_rows, sizeof *order);
    EBM_AUTO(ebm_freep) double *nll = calloc(data->n_rows, sizeof *nll);
    EBM_AUTO(ebm_freep) struct score_target *targets = calloc((size_t)data->n_rows * data->D, sizeof *targets);
    EBM_AUTO(ebm_freep) const char **doubts = calloc(data->n_rows, sizeof *doubts);
    EBM_AUTO(ebm_freep) struct figures *figures = NULL;
    const struct score_rows rows = {.nll = nll, .targets = targets, .doubts = doubts};
    if (order == NULL || nll == NULL || targets == NULL || doubts == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "evaluate", "no memory for %u rows", data->n_rows);
    for (uint32_t i = 0; i < data->n_rows; i++)
        order[i] = i;
    if (score_rows(s->pool, &s->spec, data, order, data->n_rows, &rows) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses to score the rows");
    enum ebm_status status = finish_nll(args, data, nll, reterr);
    if (status != EBM_OK)
        return status;
    figures = figures_new(data, &rows, &s->spec.config->target);
    if (figures == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "evaluate", "no memory for the figures of %u rows", data->n_rows);
    struct evaluation e = {.args = args,
                           .model_path = s->path,
                           .data_path = s->data_path,
                           .config = s->spec.config,
                           .data = data,
                           .spec = &s->spec,
                           .rows = &rows,
                           .figures = figures};
    return show(s, &e, json, reterr);
}

static enum ebm_status run_rows(struct subject *s, const struct args *args, struct ebm_buf *json,
                                struct ebm_error *reterr)
{
    uint64_t samples = EVALUATE_SAMPLES, seed = 0;
    enum ebm_status status = args_number(args, "num-samples", SCORE_TARGETS, LIMIT_SAMPLES, &samples, reterr);
    if (status == EBM_OK)
        status = args_number(args, "seed", 0, (1ull << 53) - 1, &seed, reterr);
    if (status == EBM_OK)
        status = read_estimator(args, &s->spec.choice, reterr);
    s->spec.samples = (uint32_t)samples;
    s->spec.seed = seed;
    if (status == EBM_OK)
        status = open_model(s, samples > SURFACE_ROWS ? (uint32_t)samples : SURFACE_ROWS, true, reterr);
    if (status == EBM_OK)
        status = open_data(s, args, reterr);
    return status == EBM_OK ? score_data(s, args, json, reterr) : status;
}

/* ---- grids ---- */

static enum ebm_status run_kl(struct subject *s, const char *name, struct ebm_buf *json, struct ebm_error *reterr)
{
    double kl = 0.0;
    enum ebm_status status = open_model(s, PROTOCOL_KL_POINTS, false, reterr);
    if (status != EBM_OK)
        return status;
    const struct ebm_config *config = s->spec.config;
    if (config->input.size != 1 || config->target.dim != 1)
        return ebm_error_set(reterr, EBM_INVALID, s->path, "%s has one input and one target, the model %u and %u", name,
                             config->input.size, config->target.dim);
    if (protocol_kl(s->pool, &s->spec, generate_find(name), &kl) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses the grid");
    (void)printf("KL(true || model) of %s: %.6f nats (mean over %u x, %u y each)\n", name, kl, PROTOCOL_KL_POINTS,
                 PROTOCOL_KL_POINTS);
    (void)ebm_buf_printf(json, "{\"format_version\": 1, \"protocol\": \"%s\", \"kl\": ", name);
    if (isfinite(kl)) /* infinite where the model's density is 0 in a place that the truth reaches */
        (void)ebm_buf_json_number(json, kl);
    else
        (void)ebm_buf_text(json, "null");
    return ebm_buf_text(json, "}\n");
}

static enum ebm_status tell_grid(const struct protocol_grid *grid, const char *name, const struct dataset *data,
                                 const double *nll, uint32_t outside, struct ebm_buf *json)
{
    double mean, error;
    score_mean(nll, data->n_rows, &mean, &error);
    (void)printf("%u rows\nNLL   %.4f +- %.4f nats a row, on %u targets from %g to %g\n", data->n_rows, mean, error,
                 grid->points, grid->lower, grid->upper);
    if (outside > 0)
        (void)printf("%u row%s outside of the grid: choose a wider one\n", outside,
                     outside == 1 ? " has its target" : "s have their targets");
    return ebm_buf_printf(json,
                          "{\"format_version\": 1, \"protocol\": \"%s\", \"rows\": %u, \"nll\": %.17g, "
                          "\"nll_std_error\": %.17g, \"rows_outside\": %u, "
                          "\"grid\": {\"lower\": %.17g, \"upper\": %.17g, \"points\": %u}}\n",
                          name, data->n_rows, mean, error, outside, grid->lower, grid->upper, grid->points);
}

static enum ebm_status run_grid(struct subject *s, const struct args *args, const char *name, const char *text,
                                struct ebm_buf *json, struct ebm_error *reterr)
{
    struct protocol_grid grid;
    uint32_t outside = 0;
    enum ebm_status status = protocol_grid_parse(text, &grid, reterr);
    if (status == EBM_OK)
        status = open_model(s, grid.points, false, reterr);
    if (status == EBM_OK && s->spec.config->target.dim != 1)
        status = ebm_error_set(reterr, EBM_INVALID, s->path, "a grid needs one target, the model has %u",
                               s->spec.config->target.dim);
    if (status == EBM_OK)
        status = open_data(s, args, reterr);
    if (status != EBM_OK)
        return status;
    EBM_AUTO(ebm_freep) double *nll = calloc(s->data->n_rows, sizeof *nll);
    if (nll == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "evaluate", "no memory for %u rows", s->data->n_rows);
    if (protocol_grid_nll(s->pool, &s->spec, s->data, &grid, nll, &outside) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses the grid");
    status = finish_nll(args, s->data, nll, reterr);
    return status == EBM_OK ? tell_grid(&grid, name, s->data, nll, outside, json) : status;
}

/* ---- the command line ---- */

static enum ebm_status run(struct subject *s, const struct args *args, struct ebm_buf *json, struct ebm_error *reterr)
{
    const char *protocol = args_get(args, "protocol"), *grid = args_get(args, "grid");
    if ((protocol != NULL || grid != NULL) && args_get(args, "report") != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "evaluate",
                             "--report shows how a model does on rows: leave --protocol and --grid out");
    if (protocol != NULL && grid != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "evaluate", "a protocol has its own grid: leave --grid out");
    if (grid != NULL)
        return run_grid(s, args, "grid", grid, json, reterr);
    if (protocol == NULL)
        return run_rows(s, args, json, reterr);
    if (strcmp(protocol, "toy2") == 0)
        return run_grid(s, args, protocol, TOY2_GRID, json, reterr);
    if (strcmp(protocol, "toy1") == 0 || strcmp(protocol, "set2") == 0)
        return run_kl(s, protocol, json, reterr);
    return ebm_error_set(reterr, EBM_INVALID, "evaluate", "unknown protocol '%.40s'; there are toy1, toy2 and set2",
                         protocol);
}

enum ebm_status evaluate_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(subject_done) struct subject s = {.model = NULL};
    EBM_AUTO(ebm_buf_done) struct ebm_buf json;
    const char *output = args_get(args, "output");
    uint64_t n_threads = pool_default_threads();
    ebm_buf_init(&json, EVALUATE_JSON_BYTES);
    enum ebm_status status = args_require(args, "model", &s.path, reterr);
    if (status == EBM_OK)
        status = args_number(args, "threads", 1, POOL_THREADS, &n_threads, reterr);
    s.n_threads = (uint32_t)n_threads;
    if (status == EBM_OK)
        status = device_from_args(args, &s.spec.ops, reterr);
    if (status == EBM_OK)
        status = run(&s, args, &json, reterr);
    if (status == EBM_OK && output != NULL)
        status = files_write_text(output, json.bytes, reterr);
    return status;
}
