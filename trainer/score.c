/* score.c - tasks of SCORE_ROWS rows over the pool; for each row
 *
 *   draws of the proposal -> log Z and the mean, by importance      (a mixture model: its mean, log Z = 0)
 *   the true target       -> f, or log q -> log p = f - log Z - sum log std
 *
 * A target that is known to a bin only is scored at SCORE_TARGETS midpoints of the bin, whose densities are averaged:
 * a density cannot win by a spike narrower than the rounding. */
#include "trainer/score.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

struct job {
    const struct score_spec *spec;
    const struct dataset *data;
    const uint32_t *rows;
    uint32_t n;
    double *nll, *mean;
    _Atomic bool failed;
};

/* Targets at which row y is scored, standardised, into ret_y. */
static uint32_t targets_of(const struct score_spec *spec, const double *y, float *ret_y)
{
    const struct ebm_target_config *target = &spec->config->target;
    if (spec->jitter == NULL || target->dim != 1 || !dataset_is_jittered(spec->jitter, y[0])) {
        ebm_standardize(ret_y, y, target->mean, target->std, target->dim);
        return 1;
    }
    for (uint32_t i = 0; i < SCORE_TARGETS; i++) {
        double at = y[0] + spec->jitter->step * ((i + 0.5) / SCORE_TARGETS - 0.5);
        ebm_standardize(ret_y + i, &at, target->mean, target->std, 1);
    }
    return SCORE_TARGETS;
}

/* log of the mean of exp */
static double log_mean_exp(const float *values, uint32_t n)
{
    double max = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        max = fmax(max, (double)values[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)values[i] - max);
    return max + log(sum / n);
}

static enum ebm_status estimate_row(const struct score_spec *spec, struct ebm_ctx *ctx, uint32_t b, uint32_t number,
                                    struct ebm_estimate *ret_estimate)
{
    const struct ebm_device_ops *ops = spec->ops;
    bool by_energy = spec->config->net.has_energy;
    struct ebm_estimate_spec how = {.estimator = by_energy ? EBM_ESTIMATE_IMPORTANCE : EBM_ESTIMATE_MIXTURE};
    struct ebm_row row = {.seed = spec->seed, .row_in_request = number, .samples = by_energy ? spec->samples : 1};
    enum ebm_status status = ops->propose(ctx, b, &row, NULL);
    if (status == EBM_OK && by_energy)
        status = ops->score(ctx, false);
    return status == EBM_OK ? ops->estimate(ctx, &how, ret_estimate) : status;
}

static enum ebm_status score_target(const struct score_spec *spec, struct ebm_ctx *ctx, uint32_t b, const double *y,
                                    double *ret_log_p)
{
    const struct ebm_device_ops *ops = spec->ops;
    bool by_energy = spec->config->net.has_energy;
    float targets[SCORE_TARGETS > LIMIT_TARGET_DIM ? SCORE_TARGETS : LIMIT_TARGET_DIM], values[SCORE_TARGETS];
    struct ebm_row row = {.samples = targets_of(spec, y, targets)};
    enum ebm_status status = ops->propose(ctx, b, &row, targets);
    if (status == EBM_OK && by_energy)
        status = ops->score(ctx, false);
    if (status == EBM_OK)
        status = ops->fetch(ctx, by_energy ? EBM_FETCH_F : EBM_FETCH_LOG_Q, b, values);
    if (status == EBM_OK)
        status = ops->sync(ctx);
    if (status == EBM_OK)
        *ret_log_p = log_mean_exp(values, row.samples);
    return status;
}

static enum ebm_status score_row(const struct job *job, struct ebm_ctx *ctx, uint32_t b, uint32_t i)
{
    const struct score_spec *spec = job->spec;
    const struct ebm_target_config *target = &spec->config->target;
    uint32_t row = job->rows[i];
    double mean[LIMIT_TARGET_DIM], log_p = NAN;
    struct ebm_estimate estimate = {.mean = mean, .log_z = NAN};
    enum ebm_status status = estimate_row(spec, ctx, b, job->data->numbers[row], &estimate);
    if (status == EBM_OK)
        status = score_target(spec, ctx, b, job->data->y + (size_t)row * target->dim, &log_p);
    if (status != EBM_OK)
        return status;
    job->nll[i] = estimate.log_z - log_p;
    for (uint32_t d = 0; d < target->dim; d++) {
        job->nll[i] += log(target->std[d]);
        if (job->mean != NULL)
            job->mean[(size_t)i * target->dim + d] = mean[d] * target->std[d] + target->mean[d];
    }
    return EBM_OK;
}

static void score_block(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    const struct ebm_input_config *input = &job->spec->config->input;
    uint32_t first = task * SCORE_ROWS, left = job->n - first, B = left < SCORE_ROWS ? left : SCORE_ROWS;
    float *x = calloc((size_t)B * input->size, sizeof *x);
    enum ebm_status status = x != NULL ? EBM_OK : EBM_NO_MEMORY;
    for (uint32_t b = 0; x != NULL && b < B; b++)
        ebm_standardize(x + (size_t)b * input->size, job->data->x + (size_t)job->rows[first + b] * input->size,
                        input->mean, input->std, input->size);
    if (status == EBM_OK)
        status = job->spec->ops->features(ctx, job->spec->plan, x, B);
    for (uint32_t b = 0; status == EBM_OK && b < B; b++)
        status = score_row(job, ctx, b, first + b);
    if (status != EBM_OK)
        atomic_store(&job->failed, true);
    free(x);
}

enum ebm_status score_rows(struct pool *pool, const struct score_spec *spec, const struct dataset *data,
                           const uint32_t *rows, uint32_t n, double *ret_nll, double *ret_mean)
{
    struct job job = {.spec = spec, .data = data, .rows = rows, .n = n, .nll = ret_nll, .mean = ret_mean};
    EBM_ASSERT(data->X == spec->config->input.size && data->D == spec->config->target.dim);
    pool_run(pool, score_block, &job, (n + SCORE_ROWS - 1) / SCORE_ROWS);
    return atomic_load(&job.failed) ? EBM_DEVICE : EBM_OK;
}

void score_mean(const double *values, uint32_t n, double *ret_mean, double *ret_std_error)
{
    double sum = 0.0, squares = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += values[i];
    for (uint32_t i = 0; i < n; i++)
        squares += (values[i] - sum / n) * (values[i] - sum / n);
    *ret_mean = sum / n;
    *ret_std_error = n > 1 ? sqrt(squares / (n - 1) / n) : 0.0;
}
