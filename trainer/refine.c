/* refine.c - a table's rows, and where their ascents start, through models/ to a line a row.
 *
 *   inputs by the model's columns, starts from further columns (--initial) or from the proposal (--starts)
 *   -> ebm_engine_predict in blocks -> CSV: the refined targets, log f, converged, steps */
#include "trainer/refine.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/estimate.h"
#include "trainer/columns.h"
#include "trainer/model_file.h"

#define REFINE_ROWS 16u /* in one device call */
#define ARENA_BYTES (64u << 20)
#define MAX_SEED ((1ull << 53) - 1)

/* Everything of one call. */
struct climber {
    struct ebm_model *model;
    const struct ebm_config *config; /* the model's */
    struct ebm_plan *plan;
    struct ebm_engine *engine;
    struct ebm_arena arena;
    double lengths[LIMIT_TARGET_DIM];
    struct ebm_refine_query refine;
    struct ebm_query query;
    struct ebm_resolved_query resolved;
    struct dataset *data;     /* inputs alone */
    struct csv_table initial; /* (rows, D); no rows: the proposal's draws start */
    FILE *output;
};

static void climber_done(struct climber *c)
{
    (void)ebm_engine_free(c->engine);
    if (c->plan != NULL)
        (void)ebm_device_cpu()->plan_unref(c->plan);
    (void)ebm_model_unref(c->model);
    (void)dataset_free(c->data);
    csv_table_done(&c->initial);
    ebm_arena_done(&c->arena);
    if (c->output != NULL && c->output != stdout)
        (void)fclose(c->output);
}

/* ---- options ---- */

/* Calls `each` for the parts of a list between commas; stops at the first failure. */
typedef enum ebm_status part_fn(struct climber *c, uint32_t i, const char *part, size_t length, void *user,
                                struct ebm_error *reterr);

static enum ebm_status split(struct climber *c, const char *list, part_fn *each, void *user, uint32_t *ret_n,
                             struct ebm_error *reterr)
{
    uint32_t n = 0;
    for (const char *at = list; at != NULL; n++) {
        const char *comma = strchr(at, ',');
        size_t length = comma != NULL ? (size_t)(comma - at) : strlen(at);
        enum ebm_status status = each(c, n, at, length, user, reterr);
        if (status != EBM_OK)
            return status;
        at = comma != NULL ? comma + 1 : NULL;
    }
    *ret_n = n;
    return EBM_OK;
}

static enum ebm_status take_length(struct climber *c, uint32_t i, const char *part, size_t length, void *user,
                                   struct ebm_error *reterr)
{
    (void)user;
    if (i >= EBM_COUNT_OF(c->lengths))
        return ebm_error_set(reterr, EBM_INVALID, "--step-length", "more than %u numbers", LIMIT_TARGET_DIM);
    if (!csv_number(part, length, &c->lengths[i]) || c->lengths[i] <= 0.0)
        return ebm_error_set(reterr, EBM_INVALID, "--step-length", "number %u is '%.*s', expected one above 0", i + 1,
                             length < 40 ? (int)length : 40, part);
    return EBM_OK;
}

static enum ebm_status read_decay(const struct args *args, double *ret_decay, struct ebm_error *reterr)
{
    const char *text = args_get(args, "decay");
    *ret_decay = 0.5;
    if (text != NULL && (!csv_number(text, strlen(text), ret_decay) || *ret_decay <= 0.0 || *ret_decay >= 1.0))
        return ebm_error_set(reterr, EBM_INVALID, "--decay", "'%.40s', expected a number between 0 and 1", text);
    return EBM_OK;
}

static enum ebm_status read_options(struct climber *c, const struct args *args, struct ebm_error *reterr)
{
    const char *lengths = args_get(args, "step-length");
    uint64_t starts = 4, steps = 10, samples = 1024, seed = 0;
    struct ebm_refine_query refine = {.method = EBM_REFINE_ASCENT, .step_length = c->lengths};
    enum ebm_status status = args_number(args, "starts", 1, LIMIT_STARTS, &starts, reterr);
    if (status == EBM_OK)
        status = args_number(args, "steps", 1, LIMIT_STEPS, &steps, reterr);
    if (status == EBM_OK)
        status = args_number(args, "num-samples", 1, LIMIT_SAMPLES, &samples, reterr);
    if (status == EBM_OK)
        status = args_number(args, "seed", 0, MAX_SEED, &seed, reterr);
    if (status == EBM_OK)
        status = split(c, lengths != NULL ? lengths : "0.01", take_length, NULL, &refine.n_lengths, reterr);
    if (status == EBM_OK)
        status = read_decay(args, &refine.decay, reterr);
    if (status == EBM_OK && args_get(args, "initial") != NULL && args_get(args, "starts") != NULL)
        status = ebm_error_set(reterr, EBM_INVALID, "--starts", "give either --initial or --starts");
    refine.starts = (uint32_t)(starts < samples ? starts : samples);
    refine.steps = (uint32_t)steps;
    c->refine = refine;
    c->query = (struct ebm_query){.num_samples = (uint32_t)samples, .seed = seed, .refine = &c->refine};
    return status;
}

/* ---- starts ---- */

struct initial_columns {
    const struct table *table;
    uint32_t columns[LIMIT_TARGET_DIM];
};

static enum ebm_status take_column(struct climber *c, uint32_t i, const char *part, size_t length, void *user,
                                   struct ebm_error *reterr)
{
    struct initial_columns *initial = user;
    (void)c;
    if (i >= EBM_COUNT_OF(initial->columns))
        return ebm_error_set(reterr, EBM_INVALID, "--initial", "more than %u columns", LIMIT_TARGET_DIM);
    char *name = strndup(part, length);
    if (name == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--initial", "no memory");
    enum ebm_status status = table_column(initial->table, name, &initial->columns[i], reterr);
    free(name);
    return status;
}

static enum ebm_status read_initial(struct climber *c, const char *file, const char *names, struct ebm_error *reterr)
{
    EBM_AUTO(table_freep) struct table *table = NULL;
    struct initial_columns initial;
    uint32_t n = 0, D = c->config->target.dim;
    enum ebm_status status = table_open(file, NULL, &table, reterr);
    initial.table = table;
    if (status == EBM_OK)
        status = split(c, names, take_column, &initial, &n, reterr);
    if (status == EBM_OK && n != D)
        status = ebm_error_set(reterr, EBM_INVALID, "--initial", "%u column%s, the model's target has %u number%s", n,
                               n == 1 ? "" : "s", D, D == 1 ? "" : "s");
    return status == EBM_OK ? table_read(table, initial.columns, n, false, &c->initial, reterr) : status;
}

/* ---- lines ---- */

static void write_header(const struct climber *c)
{
    char space[32];
    for (uint32_t d = 0; d < c->config->target.dim; d++)
        (void)fprintf(c->output, "%s,", columns_name(c->config->target.names, d, "y", space, sizeof space));
    (void)fputs("unnormalized_log_prob,converged,steps\n", c->output);
}

static void write_row(const struct climber *c, const struct ebm_refinement *r)
{
    for (uint32_t d = 0; d < c->config->target.dim; d++)
        (void)fprintf(c->output, "%.9g,", r->mode[d]);
    (void)fprintf(c->output, "%.9g,%d,%u\n", r->unnormalized_log_prob, r->converged, r->steps);
}

static enum ebm_status refine_all(struct climber *c, struct ebm_error *reterr)
{
    struct ebm_prediction predictions[REFINE_ROWS];
    uint32_t n_rows = c->data->n_rows, n_converged = 0, X = c->config->input.size, D = c->config->target.dim;
    if (ebm_prediction_init(predictions, REFINE_ROWS, &c->resolved, c->model, &c->arena) != EBM_OK)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "refine", "no memory");
    write_header(c);
    for (uint32_t first = 0; first < n_rows; first += REFINE_ROWS) {
        struct ebm_item items[REFINE_ROWS];
        uint32_t n = n_rows - first < REFINE_ROWS ? n_rows - first : REFINE_ROWS;
        for (uint32_t i = 0; i < n; i++)
            items[i] = (struct ebm_item){.x = c->data->x + (size_t)(first + i) * X,
                                         .targets = c->initial.n_rows > 0 ? c->initial.values + (size_t)(first + i) * D
                                                                          : NULL,
                                         .row_in_request = first + i,
                                         .resolved = &c->resolved,
                                         .out = &predictions[i]};
        if (ebm_engine_predict(c->engine, c->model, c->plan, items, n) != EBM_OK)
            return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses the rows");
        for (uint32_t i = 0; i < n; i++) {
            write_row(c, &predictions[i].refinement);
            n_converged += predictions[i].refinement.converged;
        }
    }
    (void)fprintf(stderr, "%u of %u rows converged%s\n", n_converged, n_rows,
                  n_converged < n_rows ? "; more --steps or another --step-length bring the others further" : "");
    return EBM_OK;
}

/* ---- the whole ---- */

static enum ebm_status open_engine(struct climber *c, struct ebm_error *reterr)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    struct ebm_ctx_limits limits = {.max_rows = REFINE_ROWS, .max_samples = c->query.num_samples};
    ebm_device_thread_init();
    enum ebm_status status = ops->plan_new(ebm_model_net(c->model), ebm_model_params(c->model), 0, &c->plan, reterr);
    if (status == EBM_OK)
        status = ebm_engine_new(ops, &limits, &c->engine, reterr);
    if (status == EBM_OK)
        status = ebm_engine_prepare(c->engine, c->model, c->plan, reterr);
    c->refine.n_initial = c->initial.n_rows > 0 ? 1 : 0;
    if (status == EBM_OK)
        status = ebm_query_resolve(&c->query, c->model, &c->arena, &c->resolved, reterr);
    return status;
}

static enum ebm_status read_rows(struct climber *c, const struct args *args, struct ebm_error *reterr)
{
    const char *file = NULL, *initial = args_get(args, "initial");
    enum ebm_status status = args_require(args, "data", &file, reterr);
    if (status == EBM_OK)
        status = columns_load(c->config, &(struct columns_files){.data = file}, false, false, &c->data, reterr);
    return status == EBM_OK && initial != NULL ? read_initial(c, file, initial, reterr) : status;
}

static enum ebm_status write_all(struct climber *c, const char *path, struct ebm_error *reterr)
{
    c->output = path != NULL ? fopen(path, "we") : stdout;
    if (c->output == NULL)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: %s", strerror(errno));
    enum ebm_status status = refine_all(c, reterr);
    bool failed = fflush(c->output) != 0 || ferror(c->output) != 0;
    return status == EBM_OK && failed ? ebm_error_set(reterr, EBM_INVALID, path != NULL ? path : "standard output",
                                                      "cannot write: is the disk full?")
                                      : status;
}

enum ebm_status refine_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(climber_done) struct climber c = {.output = NULL};
    const char *model = NULL;
    ebm_arena_init(&c.arena, ARENA_BYTES);
    enum ebm_status status = args_require(args, "model", &model, reterr);
    if (status == EBM_OK)
        status = read_options(&c, args, reterr);
    if (status == EBM_OK)
        status = model_file_load(model, &c.model, reterr);
    if (status != EBM_OK)
        return status;
    c.config = ebm_model_config(c.model);
    status = read_rows(&c, args, reterr);
    if (status == EBM_OK)
        status = open_engine(&c, reterr);
    return status == EBM_OK ? write_all(&c, args_get(args, "output"), reterr) : status;
}
