/* score.c - blocks of SCORE_ROWS rows over the pool, one call of the device's predict each:
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
    if (max == -INFINITY)
        return max;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)values[i] - max);
    return max + log(sum / n);
}

/* What a block needs, each row its part. */
struct block {
    struct ebm_task tasks[SCORE_ROWS];
    struct ebm_estimate estimates[SCORE_ROWS];
    double means[SCORE_ROWS][LIMIT_TARGET_DIM];
    float targets[SCORE_ROWS][SCORE_TARGETS > LIMIT_TARGET_DIM ? SCORE_TARGETS : LIMIT_TARGET_DIM];
    float f[SCORE_ROWS][SCORE_TARGETS], log_q[SCORE_ROWS][SCORE_TARGETS];
    float x[]; /* (B, X) */
};

static void stage_row(const struct job *job, const struct ebm_estimate_spec *how, struct block *block, uint32_t first,
                      uint32_t b)
{
    const struct score_spec *spec = job->spec;
    const struct ebm_input_config *input = &spec->config->input;
    uint32_t row = job->rows[first + b], D = spec->config->target.dim;
    ebm_standardize(block->x + (size_t)b * input->size, job->data->x + (size_t)row * input->size, input->mean,
                    input->std, input->size);
    block->estimates[b] = (struct ebm_estimate){.mean = block->means[b]};
    block->tasks[b] = (struct ebm_task){
        .row = {.seed = spec->seed, .row_in_request = job->data->numbers[row], .samples = spec->samples},
        .spec = how,
        .out = &block->estimates[b],
        .n_y = targets_of(spec, job->data->y + (size_t)row * D, block->targets[b]),
        .h_y = block->targets[b],
        .h_f = block->f[b],
        .h_log_q = block->log_q[b],
    };
}

static void finish_row(const struct job *job, const struct block *block, uint32_t first, uint32_t b)
{
    const struct ebm_config *config = job->spec->config;
    const struct ebm_target_config *target = &config->target;
    uint32_t i = first + b;
    const float *values = config->net.has_energy ? block->f[b] : block->log_q[b];
    job->nll[i] = block->estimates[b].log_z - log_mean_exp(values, block->tasks[b].n_y);
    for (uint32_t d = 0; d < target->dim; d++) {
        job->nll[i] += log(target->std[d]);
        if (job->mean != NULL)
            job->mean[(size_t)i * target->dim + d] = block->means[b][d] * target->std[d] + target->mean[d];
    }
}

static void score_block(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    const struct score_spec *spec = job->spec;
    struct ebm_estimate_spec how = {.estimator = spec->config->net.has_energy ? EBM_ESTIMATE_IMPORTANCE
                                                                              : EBM_ESTIMATE_MIXTURE};
    uint32_t first = task * SCORE_ROWS, left = job->n - first, B = left < SCORE_ROWS ? left : SCORE_ROWS;
    struct block *block = calloc(1, sizeof *block + (size_t)B * spec->config->input.size * sizeof *block->x);
    enum ebm_status status = block != NULL ? EBM_OK : EBM_NO_MEMORY;
    for (uint32_t b = 0; block != NULL && b < B; b++)
        stage_row(job, &how, block, first, b);
    if (status == EBM_OK)
        status = spec->ops->predict(ctx, spec->plan, block->x, block->tasks, B);
    if (status == EBM_OK)
        status = spec->ops->sync(ctx);
    for (uint32_t b = 0; status == EBM_OK && b < B; b++)
        finish_row(job, block, first, b);
    if (status != EBM_OK)
        atomic_store(&job->failed, true);
    free(block);
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
