/* protocol.c - f on a grid of targets, a row of x at a time, blocks of rows over the pool:
 *
 *   propose (the grid's targets) -> score -> fetch f, or log q of a mixture -> exp and sums in double
 *
 * The integral over y is the plain sum over the grid times its step, as published. */
#include "trainer/protocol.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/csv.h"

#define TINY 1e-30 /* added to the truth */
#define KL_LOWER -3.0
#define KL_UPPER 3.0

static double grid_target(const struct protocol_grid *grid, uint32_t i)
{
    return grid->lower + (grid->upper - grid->lower) * i / (grid->points - 1.0);
}

enum ebm_status protocol_grid_parse(const char *text, struct protocol_grid *ret_grid, struct ebm_error *reterr)
{
    double numbers[3];
    const char *at = text;
    bool good = true;
    for (uint32_t i = 0; good && i < 3; i++) {
        size_t length = strcspn(at, ",");
        good = csv_number(at, length, &numbers[i]) && (at[length] == ',') == (i < 2);
        at += length + (at[length] == ',');
    }
    if (!good || !(numbers[0] < numbers[1]) || numbers[2] != floor(numbers[2]) || numbers[2] < 2.0 ||
        numbers[2] > LIMIT_SAMPLES)
        return ebm_error_set(reterr, EBM_INVALID, "--grid",
                             "'%.60s', expected LOWER,UPPER,POINTS with LOWER < UPPER and 2 to %u points, as in "
                             "-12.5,12.5,8192",
                             text, LIMIT_SAMPLES);
    *ret_grid = (struct protocol_grid){numbers[0], numbers[1], (uint32_t)numbers[2]};
    return EBM_OK;
}

/* ---- f on a grid ---- */

struct job {
    const struct score_spec *spec;
    const struct protocol_grid *grid;
    const float *targets;           /* (points) standardised */
    const double *x;                /* (n, X) user's units */
    uint32_t n;                     /* rows of x */
    const struct generate_set *set; /* of a KL; else NULL */
    const double *y;                /* (n) true targets of an NLL; else NULL */
    double *out;                    /* (n) */
    _Atomic bool failed;
};

/* f of an ensemble is normalised member by member, which takes more than f on a grid. */
static enum ebm_status ensemble_energies(const struct score_spec *spec, struct ebm_ctx *ctx, const float *x,
                                         const float *targets, uint32_t n, float *ret_f)
{
    const struct ebm_estimate_spec how = {.estimator = score_estimator(&spec->config->net)};
    struct ebm_estimate estimate = {.status = EBM_OK};
    EBM_AUTO(ebm_freep) float *log_q = calloc(n, sizeof *log_q);
    if (log_q == NULL)
        return EBM_NO_MEMORY;
    const struct ebm_task task = {.row = {.samples = 1},
                                  .spec = &how,
                                  .out = &estimate,
                                  .n_y = n,
                                  .h_y = targets,
                                  .h_f = ret_f,
                                  .h_log_q = log_q};
    enum ebm_status status = spec->ops->predict(ctx, spec->plan, x, &task, 1);
    if (status == EBM_OK)
        status = spec->ops->sync(ctx);
    return status == EBM_OK ? estimate.status : status;
}

/* A row of a block: its place among the last features, and its input, standardised. */
struct place {
    uint32_t b;
    const float *x;
};

/* f at n standardised targets. */
static enum ebm_status energies(const struct score_spec *spec, struct ebm_ctx *ctx, const struct place *at,
                                const float *targets, uint32_t n, float *ret_f)
{
    struct ebm_row row = {.samples = n};
    bool by_energy = spec->config->net.has_energy;
    if (by_energy && spec->config->net.members > 1)
        return ensemble_energies(spec, ctx, at->x, targets, n, ret_f);
    enum ebm_status status = spec->ops->propose(ctx, at->b, &row, targets);
    if (status == EBM_OK && by_energy)
        status = spec->ops->score(ctx, false);
    if (status == EBM_OK)
        status = spec->ops->fetch(ctx, by_energy ? EBM_FETCH_F : EBM_FETCH_LOG_Q, at->b, ret_f);
    return status == EBM_OK ? spec->ops->sync(ctx) : status;
}

/* KL at one x from log densities of the model on the grid, not normalised. In log space: where log Z lies is nothing
 * that training fixes, and exp of it need not be a number. */
static double divergence(const struct job *job, double x, const float *f)
{
    uint32_t n = job->grid->points;
    double model_log_sum = score_log_mean_exp(f, n) + log(n), truth_sum = 0.0, kl = 0.0;
    for (uint32_t i = 0; i < n; i++)
        truth_sum += job->set->density(x, grid_target(job->grid, i)) + TINY;
    for (uint32_t i = 0; i < n; i++) {
        double g = (job->set->density(x, grid_target(job->grid, i)) + TINY) / truth_sum;
        kl += g * (log(g) - ((double)f[i] - model_log_sum));
    }
    return kl;
}

static enum ebm_status row_nll(const struct job *job, struct ebm_ctx *ctx, const struct place *place, uint32_t i,
                               const float *f)
{
    float points[SCORE_TARGETS], at[SCORE_TARGETS];
    double step = (job->grid->upper - job->grid->lower) / (job->grid->points - 1.0);
    double log_z = score_log_mean_exp(f, job->grid->points) + log(job->grid->points * step);
    uint32_t n = score_points(job->spec, &job->y[i], points);
    enum ebm_status status = energies(job->spec, ctx, place, points, n, at);
    if (status == EBM_OK)
        job->out[i] = log_z - score_log_mean_exp(at, n);
    return status;
}

static enum ebm_status run_row(const struct job *job, struct ebm_ctx *ctx, const struct place *place, uint32_t i,
                               float *f)
{
    enum ebm_status status = energies(job->spec, ctx, place, job->targets, job->grid->points, f);
    if (status != EBM_OK)
        return status;
    if (job->set == NULL)
        return row_nll(job, ctx, place, i, f);
    job->out[i] = divergence(job, (double)(float)job->x[i], f);
    return EBM_OK;
}

static void run_block(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    const struct ebm_input_config *input = &job->spec->config->input;
    uint32_t first = task * SCORE_ROWS, left = job->n - first, B = left < SCORE_ROWS ? left : SCORE_ROWS;
    size_t X = input->size;
    EBM_AUTO(ebm_freep) float *x = calloc(SCORE_ROWS * X, sizeof *x);
    EBM_AUTO(ebm_freep) float *f = calloc(job->grid->points, sizeof *f);
    enum ebm_status status = x != NULL && f != NULL ? EBM_OK : EBM_NO_MEMORY;
    for (uint32_t b = 0; status == EBM_OK && b < B; b++)
        ebm_standardize(x + b * X, job->x + (first + b) * X, input->mean, input->std, X);
    if (status == EBM_OK)
        status = job->spec->ops->features(ctx, job->spec->plan, x, B);
    for (uint32_t b = 0; status == EBM_OK && b < B; b++)
        status = run_row(job, ctx, &(struct place){b, x + b * X}, first + b, f);
    if (status != EBM_OK)
        atomic_store(&job->failed, true);
}

static enum ebm_status run(struct pool *pool, struct job *job)
{
    const struct ebm_target_config *target = &job->spec->config->target;
    EBM_AUTO(ebm_freep) float *targets = calloc(job->grid->points, sizeof *targets);
    if (targets == NULL)
        return EBM_NO_MEMORY;
    for (uint32_t i = 0; i < job->grid->points; i++) {
        double at = (double)(float)grid_target(job->grid, i);
        ebm_standardize(&targets[i], &at, target->mean, target->std, 1);
    }
    job->targets = targets;
    pool_run(pool, run_block, job, (job->n + SCORE_ROWS - 1) / SCORE_ROWS);
    return atomic_load(&job->failed) ? EBM_DEVICE : EBM_OK;
}

/* ---- the protocols ---- */

enum ebm_status protocol_kl(struct pool *pool, const struct score_spec *spec, const struct generate_set *set,
                            double *ret_kl)
{
    const struct protocol_grid grid = {KL_LOWER, KL_UPPER, PROTOCOL_KL_POINTS};
    double sum = 0.0;
    EBM_ASSERT(spec->config->input.size == 1 && spec->config->target.dim == 1);
    EBM_AUTO(ebm_freep) double *x = calloc(grid.points, sizeof *x);
    EBM_AUTO(ebm_freep) double *kl = calloc(grid.points, sizeof *kl);
    if (x == NULL || kl == NULL)
        return EBM_NO_MEMORY;
    for (uint32_t i = 0; i < grid.points; i++)
        x[i] = (double)(float)grid_target(&grid, i);
    struct job job = {.spec = spec, .grid = &grid, .x = x, .n = grid.points, .set = set, .out = kl};
    enum ebm_status status = run(pool, &job);
    if (status != EBM_OK)
        return status;
    for (uint32_t i = 0; i < grid.points; i++)
        sum += kl[i];
    *ret_kl = sum / grid.points;
    return EBM_OK;
}

enum ebm_status protocol_grid_nll(struct pool *pool, const struct score_spec *spec, const struct dataset *data,
                                  const struct protocol_grid *grid, double *ret_nll, uint32_t *ret_n_outside)
{
    EBM_ASSERT(data->X == spec->config->input.size && data->D == 1 && spec->config->target.dim == 1);
    struct job job = {.spec = spec, .grid = grid, .x = data->x, .n = data->n_rows, .y = data->y, .out = ret_nll};
    uint32_t outside = 0;
    for (uint32_t i = 0; i < data->n_rows; i++)
        outside += !(data->y[i] >= grid->lower && data->y[i] <= grid->upper);
    enum ebm_status status = run(pool, &job);
    if (status == EBM_OK)
        *ret_n_outside = outside;
    return status;
}
