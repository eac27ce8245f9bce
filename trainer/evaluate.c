/* evaluate.c - two yardsticks:
 *
 *   rows       mean NLL with its standard error, RMSE and MAE of the predicted mean, CRPS, in the target's unit; how
 *              often the equal-tailed intervals of 50 % and 90 % hold the target; the density of targets that the
 *              training jittered is the mean of their bin's (score.h)
 *   toy 1      KL divergence from the density that made the data, by the published protocol
 *
 * Both print a line or two for people, and JSON on request. */
#include "trainer/evaluate.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "trainer/model_file.h"
#include "trainer/columns.h"
#include "trainer/files.h"
#include "trainer/generate.h"
#include "trainer/options.h"
#include "trainer/score.h"

#define EVALUATE_SAMPLES 16384u
#define EVALUATE_JSON_BYTES 65536u
#define TINY 1e-30 /* added to the truth */

/* A model ready to be evaluated. */
struct subject {
    const struct ebm_device_ops *ops;
    struct ebm_model *model;
    const struct ebm_config *config; /* the model's */
    struct ebm_plan *plan;
    struct pool *pool;
};

static void subject_done(struct subject *s)
{
    (void)pool_free(s->pool);
    if (s->plan != NULL)
        (void)s->ops->plan_unref(s->plan);
    (void)ebm_model_unref(s->model);
}

static enum ebm_status subject_init(struct subject *s, const char *path, uint32_t max_samples, uint32_t n_threads,
                                    struct ebm_error *reterr)
{
    struct ebm_ctx_limits limits = {.max_rows = SCORE_ROWS, .max_samples = max_samples};
    *s = (struct subject){.ops = ebm_device_cpu()};
    enum ebm_status status = model_file_load(path, &s->model, reterr);
    if (status != EBM_OK)
        return status;
    s->config = ebm_model_config(s->model);
    if (s->config->net.K == 0)
        return ebm_error_set(reterr, EBM_INVALID, path,
                             "the model has no proposal: scoring it exactly is not available in this version");
    status = s->ops->plan_new(ebm_model_net(s->model), ebm_model_params(s->model), 0, &s->plan, reterr);
    if (status == EBM_OK)
        status = pool_new(s->ops, &limits, s->plan, n_threads, &s->pool, reterr);
    return status;
}

/* ---- toy 1 ---- */

struct grid_job {
    const struct ebm_device_ops *ops;
    const struct ebm_plan *plan;
    const struct ebm_config *config;
    float *y;   /* (EVALUATE_GRID) standardised */
    double *kl; /* (EVALUATE_GRID) of each x */
    _Atomic bool failed;
};

static double grid_point(uint32_t i)
{
    return -3.0 + 6.0 * i / (EVALUATE_GRID - 1);
}

/* KL at one x from log densities, not normalised, of the model on the grid. */
static double divergence(float x, const float *log_density)
{
    double model[EVALUATE_GRID], truth[EVALUATE_GRID], model_sum = 0.0, truth_sum = 0.0, kl = 0.0;
    for (uint32_t i = 0; i < EVALUATE_GRID; i++) {
        model[i] = exp((double)log_density[i]);
        truth[i] = generate_toy1_density((double)x, grid_point(i)) + TINY;
        model_sum += model[i];
        truth_sum += truth[i];
    }
    bool is_flat = !(model_sum > 1e-40);
    for (uint32_t i = 0; i < EVALUATE_GRID; i++) {
        double p = is_flat ? 1.0 / EVALUATE_GRID : model[i] / model_sum, g = truth[i] / truth_sum;
        kl += g * log(g / p);
    }
    return kl;
}

static enum ebm_status grid_row(const struct grid_job *job, struct ebm_ctx *ctx, uint32_t b, uint32_t i)
{
    float values[EVALUATE_GRID];
    struct ebm_row row = {.samples = EVALUATE_GRID};
    bool by_energy = job->config->net.has_energy;
    enum ebm_status status = job->ops->propose(ctx, b, &row, job->y);
    if (status == EBM_OK && by_energy)
        status = job->ops->score(ctx, false);
    if (status == EBM_OK)
        status = job->ops->fetch(ctx, by_energy ? EBM_FETCH_F : EBM_FETCH_LOG_Q, b, values);
    if (status == EBM_OK)
        status = job->ops->sync(ctx);
    if (status == EBM_OK)
        job->kl[i] = divergence((float)grid_point(i), values);
    return status;
}

static void grid_block(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct grid_job *job = user;
    const struct ebm_input_config *input = &job->config->input;
    float x[SCORE_ROWS];
    for (uint32_t b = 0; b < SCORE_ROWS; b++) {
        double at = (double)(float)grid_point(task * SCORE_ROWS + b);
        ebm_standardize(&x[b], &at, input->mean, input->std, 1);
    }
    enum ebm_status status = job->ops->features(ctx, job->plan, x, SCORE_ROWS);
    for (uint32_t b = 0; status == EBM_OK && b < SCORE_ROWS; b++)
        status = grid_row(job, ctx, b, task * SCORE_ROWS + b);
    if (status != EBM_OK)
        atomic_store(&job->failed, true);
}

_Static_assert(EVALUATE_GRID % SCORE_ROWS == 0, "blocks of x cover the grid");

enum ebm_status evaluate_toy1(struct pool *pool, const struct ebm_device_ops *ops, const struct ebm_plan *plan,
                              const struct ebm_config *config, double *ret_kl)
{
    EBM_ASSERT(config->input.size == 1 && config->target.dim == 1);
    EBM_AUTO(ebm_freep) float *y = calloc(EVALUATE_GRID, sizeof *y);
    EBM_AUTO(ebm_freep) double *kl = calloc(EVALUATE_GRID, sizeof *kl);
    if (y == NULL || kl == NULL)
        return EBM_NO_MEMORY;
    for (uint32_t i = 0; i < EVALUATE_GRID; i++) {
        double at = (double)(float)grid_point(i);
        ebm_standardize(&y[i], &at, config->target.mean, config->target.std, 1);
    }
    struct grid_job job = {.ops = ops, .plan = plan, .config = config, .y = y, .kl = kl};
    pool_run(pool, grid_block, &job, EVALUATE_GRID / SCORE_ROWS);
    if (atomic_load(&job.failed))
        return EBM_DEVICE;
    double sum = 0.0;
    for (uint32_t i = 0; i < EVALUATE_GRID; i++)
        sum += kl[i];
    *ret_kl = sum / EVALUATE_GRID;
    return EBM_OK;
}

static enum ebm_status run_toy1(const char *path, uint32_t n_threads, struct ebm_buf *json, struct ebm_error *reterr)
{
    EBM_AUTO(subject_done) struct subject s = {.model = NULL};
    double kl = 0.0;
    enum ebm_status status = subject_init(&s, path, EVALUATE_GRID, n_threads, reterr);
    if (status == EBM_OK && (s.config->input.size != 1 || s.config->target.dim != 1))
        status = ebm_error_set(reterr, EBM_INVALID, path, "toy 1 has one input and one target, the model %u and %u",
                               s.config->input.size, s.config->target.dim);
    if (status == EBM_OK && evaluate_toy1(s.pool, s.ops, s.plan, s.config, &kl) != EBM_OK)
        status = ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses the grid");
    if (status != EBM_OK)
        return status;
    (void)printf("KL(true || model) of toy 1: %.6f nats (mean over %u x, %u y each)\n", kl, EVALUATE_GRID,
                 EVALUATE_GRID);
    return ebm_buf_printf(json, "{\"protocol\": \"toy1\", \"kl\": %.17g}\n", kl);
}

/* ---- rows ---- */

/* Numbers of one evaluation; arrays (n, D) and (n). */
struct figures {
    uint32_t n, D;
    double nll, nll_error;
    double rmse[LIMIT_TARGET_DIM], mae[LIMIT_TARGET_DIM], crps[LIMIT_TARGET_DIM];
    double coverage[SCORE_INTERVALS][LIMIT_TARGET_DIM]; /* share of the rows */
};

static void measure_target(struct figures *f, const struct dataset *data, const struct score_rows *rows, uint32_t d)
{
    double squares = 0.0, sum = 0.0, crps = 0.0, inside[SCORE_INTERVALS] = {0.0};
    for (size_t i = 0; i < f->n; i++) {
        size_t at = i * f->D + d;
        double off = rows->mean[at] - data->y[at];
        squares += off * off;
        sum += fabs(off);
        crps += rows->crps[at];
        for (uint32_t level = 0; level < SCORE_INTERVALS; level++)
            inside[level] += rows->inside[at * SCORE_INTERVALS + level];
    }
    f->rmse[d] = sqrt(squares / f->n);
    f->mae[d] = sum / f->n;
    f->crps[d] = crps / f->n;
    for (uint32_t level = 0; level < SCORE_INTERVALS; level++)
        f->coverage[level][d] = inside[level] / f->n;
}

static void measure(struct figures *f, const struct dataset *data, const struct score_rows *rows)
{
    f->n = data->n_rows;
    f->D = data->D;
    score_mean(rows->nll, f->n, &f->nll, &f->nll_error);
    for (uint32_t d = 0; d < f->D; d++)
        measure_target(f, data, rows, d);
}

static void numbers_json(struct ebm_buf *json, const char *key, const double *values, uint32_t n)
{
    (void)ebm_buf_printf(json, ", \"%s\": [", key);
    for (uint32_t i = 0; i < n; i++)
        (void)ebm_buf_printf(json, "%s%.17g", i > 0 ? ", " : "", values[i]);
    (void)ebm_buf_text(json, "]");
}

/* Beside each share what it should be, and by how much chance alone moves it on so many rows. */
static void tell_target(const struct figures *f, uint32_t d, const char *name)
{
    (void)printf("RMSE  %.5g   MAE  %.5g   of the mean of %s\nCRPS  %.5g   inside the middle", f->rmse[d], f->mae[d],
                 name, f->crps[d]);
    for (uint32_t i = 0; i < SCORE_INTERVALS; i++)
        (void)printf("%s %.0f %%: %.1f %% (+- %.1f by chance)", i > 0 ? "," : "", 100.0 * score_levels[i],
                     100.0 * f->coverage[i][d], 100.0 * sqrt(score_levels[i] * (1.0 - score_levels[i]) / f->n));
    (void)printf("\n");
}

static enum ebm_status tell(const struct figures *f, const struct dataset *data, const struct score_spec *spec,
                            struct ebm_buf *json)
{
    bool by_energy = spec->config->net.has_energy;
    (void)printf("%u rows\nNLL   %.4f +- %.4f nats a row, in the target's unit", f->n, f->nll, f->nll_error);
    if (by_energy)
        (void)printf(" (%u draws a row)", spec->samples);
    (void)printf("\n");
    for (uint32_t d = 0; d < f->D; d++)
        tell_target(f, d, data->target_names[d]);
    if (spec->jitter->step > 0.0)
        (void)printf("rounded targets are scored by the mean density of their bin of %g\n", spec->jitter->step);
    (void)ebm_buf_printf(json, "{\"rows\": %u, \"num_samples\": %u, \"nll\": %.17g, \"nll_std_error\": %.17g", f->n,
                         by_energy ? spec->samples : 0, f->nll, f->nll_error);
    numbers_json(json, "rmse", f->rmse, f->D);
    numbers_json(json, "mae", f->mae, f->D);
    numbers_json(json, "crps", f->crps, f->D);
    for (uint32_t i = 0; i < SCORE_INTERVALS; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "coverage_%.0f", 100.0 * score_levels[i]);
        numbers_json(json, key, f->coverage[i], f->D);
    }
    return ebm_buf_text(json, "}\n");
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

static enum ebm_status check_finite(const struct dataset *data, const double *nll, struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < data->n_rows; i++)
        if (!isfinite(nll[i]))
            return ebm_error_set(
                reterr, EBM_INVALID, "evaluate",
                "the network gives no finite density at data row %u: is it far from the training data?",
                data->numbers[i] + 1);
    return EBM_OK;
}

/* Keeps the rows that a split file lists. */
static enum ebm_status keep_split(struct dataset *data, const struct args *args, struct ebm_error *reterr)
{
    uint64_t index = 0;
    uint32_t kept = 0;
    const char *path = args_get(args, "split-file");
    EBM_AUTO(ebm_freep) bool *marks = NULL;
    enum ebm_status status = args_number(args, "split-index", 0, 1000000, &index, reterr);
    if (status != EBM_OK || path == NULL)
        return status;
    status = dataset_read_split(path, (uint32_t)index, data, &marks, reterr);
    for (uint32_t i = 0; status == EBM_OK && i < data->n_rows; i++)
        if (marks[data->numbers[i]]) {
            memmove(data->x + (size_t)kept * data->X, data->x + (size_t)i * data->X, data->X * sizeof *data->x);
            memmove(data->y + (size_t)kept * data->D, data->y + (size_t)i * data->D, data->D * sizeof *data->y);
            data->numbers[kept++] = data->numbers[i];
        }
    if (status == EBM_OK && kept == 0)
        return ebm_error_set(reterr, EBM_INVALID, path, "none of its rows is left in the data");
    data->n_rows = status == EBM_OK ? kept : data->n_rows;
    return status;
}

static enum ebm_status score_data(struct subject *s, struct score_spec *spec, const struct dataset *data,
                                  const char *row_nll, struct ebm_buf *json, struct ebm_error *reterr)
{
    struct figures figures;
    EBM_AUTO(ebm_freep) uint32_t *rows = calloc(data->n_rows, sizeof *rows);
    EBM_AUTO(ebm_freep) double *nll = calloc(data->n_rows, sizeof *nll);
    size_t numbers = (size_t)data->n_rows * data->D;
    EBM_AUTO(ebm_freep) double *mean = calloc(numbers, sizeof *mean);
    EBM_AUTO(ebm_freep) double *crps = calloc(numbers, sizeof *crps);
    EBM_AUTO(ebm_freep) uint8_t *inside = calloc(numbers, SCORE_INTERVALS);
    const struct score_rows out = {.nll = nll, .mean = mean, .crps = crps, .inside = inside};
    if (rows == NULL || nll == NULL || mean == NULL || crps == NULL || inside == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "evaluate", "no memory");
    for (uint32_t i = 0; i < data->n_rows; i++)
        rows[i] = i;
    if (score_rows(s->pool, spec, data, rows, data->n_rows, &out) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses to score the rows");
    enum ebm_status status = check_finite(data, nll, reterr);
    if (status == EBM_OK && row_nll != NULL)
        status = write_row_nll(row_nll, data, nll, reterr);
    if (status != EBM_OK)
        return status;
    measure(&figures, data, &out);
    return tell(&figures, data, spec, json);
}

static enum ebm_status run_rows(const struct args *args, const char *path, uint32_t n_threads, struct ebm_buf *json,
                                struct ebm_error *reterr)
{
    EBM_AUTO(subject_done) struct subject s = {.model = NULL};
    EBM_AUTO(dataset_freep) struct dataset *data = NULL;
    struct dataset_jitter jitter = {.step = 0.0};
    uint64_t samples = EVALUATE_SAMPLES, seed = 0;
    const char *file = NULL, *missing = args_get(args, "missing");
    bool drop = missing != NULL && strcmp(missing, "drop") == 0;
    enum ebm_status status = args_require(args, "data", &file, reterr);
    if (status == EBM_OK && missing != NULL && !drop && strcmp(missing, "error") != 0)
        status = ebm_error_set(reterr, EBM_INVALID, "evaluate", "--missing is '%.20s', expected drop or error",
                               missing);
    if (status == EBM_OK)
        status = args_number(args, "num-samples", SCORE_TARGETS, LIMIT_SAMPLES, &samples, reterr);
    if (status == EBM_OK)
        status = args_number(args, "seed", 0, (1ull << 53) - 1, &seed, reterr);
    if (status == EBM_OK)
        status = subject_init(&s, path, (uint32_t)samples, n_threads, reterr);
    if (status == EBM_OK)
        status = columns_load(s.config, &(struct columns_files){file, args_get(args, "targets")}, true, drop, &data,
                              reterr);
    if (status == EBM_OK)
        status = keep_split(data, args, reterr);
    if (status == EBM_OK)
        status = options_recorded_jitter(s.config->training, &jitter, reterr);
    struct score_spec spec = {.ops = s.ops,
                              .plan = s.plan,
                              .config = s.config,
                              .jitter = &jitter,
                              .samples = (uint32_t)samples,
                              .seed = seed};
    if (status == EBM_OK)
        status = score_data(&s, &spec, data, args_get(args, "row-nll"), json, reterr);
    free(jitter.values);
    return status;
}

enum ebm_status evaluate_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf json;
    const char *model = NULL, *protocol = args_get(args, "protocol"), *output = args_get(args, "output");
    uint64_t n_threads = pool_default_threads();
    ebm_buf_init(&json, EVALUATE_JSON_BYTES);
    enum ebm_status status = args_require(args, "model", &model, reterr);
    if (status == EBM_OK)
        status = args_number(args, "threads", 1, POOL_THREADS, &n_threads, reterr);
    if (status == EBM_OK && protocol != NULL && strcmp(protocol, "toy1") != 0)
        status = ebm_error_set(reterr, EBM_INVALID, "evaluate", "unknown protocol '%.40s'; there is toy1", protocol);
    if (status == EBM_OK)
        status = protocol != NULL ? run_toy1(model, (uint32_t)n_threads, &json, reterr)
                                  : run_rows(args, model, (uint32_t)n_threads, &json, reterr);
    if (status == EBM_OK && output != NULL)
        status = files_write_text(output, json.bytes, reterr);
    return status;
}
