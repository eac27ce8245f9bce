/* score.c - blocks of rows over the pool, one call of the device's predict each:
 *
 *   draws of the proposal -> log Z and the mean, by importance      (a mixture model: its mean, log Z = 0)
 *                         -> where asked: the draws with their weights -> CRPS; quantiles -> intervals
 *   the true target       -> f, or log q -> log p = f - log Z - sum log std
 *
 * A target that is known to a bin only is scored at SCORE_TARGETS midpoints of the bin, whose densities are averaged:
 * a density cannot win by a spike narrower than the rounding. */
#include "trainer/score.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "trainer/crps.h"

#define DRAW_BYTES (16u << 20) /* of a block's draws, about: fewer rows where they would take more */

const double score_levels[SCORE_INTERVALS] = {0.5, 0.9};
static const double probabilities[] = {0.25, 0.75, 0.05, 0.95}; /* the ends of each interval */
#define ENDS EBM_COUNT_OF(probabilities)
_Static_assert(ENDS == 2 * SCORE_INTERVALS, "two ends an interval");

struct job {
    const struct score_spec *spec;
    const struct dataset *data;
    const uint32_t *rows;
    uint32_t n, block_rows;
    const struct score_rows *out;
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
    double ends[SCORE_ROWS][ENDS * LIMIT_TARGET_DIM];
    float targets[SCORE_ROWS][SCORE_TARGETS > LIMIT_TARGET_DIM ? SCORE_TARGETS : LIMIT_TARGET_DIM];
    float f[SCORE_ROWS][SCORE_TARGETS], log_q[SCORE_ROWS][SCORE_TARGETS];
    struct crps_draw *sorted;  /* (M); NULL: no CRPS */
    float *draws, *log_weight; /* (B, M, D), (B, M) */
    float *x;                  /* (B, X) */
};

static void block_free(struct block *block)
{
    if (block == NULL)
        return;
    free(block->sorted);
    free(block->draws);
    free(block->log_weight);
    free(block->x);
    free(block);
}

static struct block *block_new(const struct job *job, uint32_t B)
{
    const struct ebm_config *config = job->spec->config;
    size_t M = job->spec->samples, draws = job->out->crps != NULL ? (size_t)B * M : 0;
    struct block *block = calloc(1, sizeof *block);
    if (block == NULL)
        return NULL;
    block->x = calloc((size_t)B * config->input.size, sizeof *block->x);
    if (draws > 0) {
        block->sorted = calloc(M, sizeof *block->sorted);
        block->draws = calloc(draws * config->target.dim, sizeof *block->draws);
        block->log_weight = calloc(draws, sizeof *block->log_weight);
    }
    if (block->x == NULL || (draws > 0 && (!block->sorted || !block->draws || !block->log_weight))) {
        block_free(block);
        return NULL;
    }
    return block;
}

static void stage_row(const struct job *job, const struct ebm_estimate_spec *how, struct block *block, uint32_t first,
                      uint32_t b)
{
    const struct score_spec *spec = job->spec;
    const struct ebm_input_config *input = &spec->config->input;
    uint32_t row = job->rows[first + b], D = spec->config->target.dim;
    size_t M = spec->samples;
    ebm_standardize(block->x + (size_t)b * input->size, job->data->x + (size_t)row * input->size, input->mean,
                    input->std, input->size);
    block->estimates[b] = (struct ebm_estimate){.mean = block->means[b]};
    if (block->sorted != NULL) {
        block->estimates[b].quantiles = block->ends[b];
        block->estimates[b].draws = block->draws + b * M * D;
        block->estimates[b].log_weights = how->draws == EBM_DRAWS_WEIGHTED ? block->log_weight + b * M : NULL;
    }
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

/* CRPS and intervals of target d: draws and quantiles against the target, all standardised. */
static void finish_target(const struct job *job, struct block *block, uint32_t first, uint32_t b, uint32_t d)
{
    const struct ebm_target_config *target = &job->spec->config->target;
    const struct ebm_estimate *estimate = &block->estimates[b];
    uint32_t D = target->dim, M = job->spec->samples;
    size_t at = (size_t)(first + b) * D + d;
    double y = (job->data->y[(size_t)job->rows[first + b] * D + d] - target->mean[d]) / target->std[d];
    for (uint32_t m = 0; m < M; m++)
        block->sorted[m] = (struct crps_draw){
            .y = (double)estimate->draws[(size_t)m * D + d],
            .weight = estimate->log_weights != NULL ? exp((double)estimate->log_weights[m]) : 1.0 / M};
    job->out->crps[at] = target->std[d] * crps_of_draws(block->sorted, M, y);
    for (uint32_t i = 0; i < SCORE_INTERVALS; i++)
        job->out->inside[at * SCORE_INTERVALS + i] = y >= block->ends[b][2 * i * D + d] &&
                                                     y <= block->ends[b][(2 * i + 1) * D + d];
}

static void finish_row(const struct job *job, struct block *block, uint32_t first, uint32_t b)
{
    const struct ebm_config *config = job->spec->config;
    const struct ebm_target_config *target = &config->target;
    uint32_t i = first + b;
    const float *values = config->net.has_energy ? block->f[b] : block->log_q[b];
    job->out->nll[i] = block->estimates[b].log_z - log_mean_exp(values, block->tasks[b].n_y);
    for (uint32_t d = 0; d < target->dim; d++) {
        job->out->nll[i] += log(target->std[d]);
        if (job->out->mean != NULL)
            job->out->mean[(size_t)i * target->dim + d] = block->means[b][d] * target->std[d] + target->mean[d];
        if (block->sorted != NULL)
            finish_target(job, block, first, b, d);
    }
}

static struct ebm_estimate_spec estimate_of(const struct job *job)
{
    bool has_energy = job->spec->config->net.has_energy;
    struct ebm_estimate_spec how = {.estimator = has_energy ? EBM_ESTIMATE_IMPORTANCE : EBM_ESTIMATE_MIXTURE};
    if (job->out->crps == NULL)
        return how;
    how.probabilities = probabilities;
    how.n_probabilities = ENDS;
    how.draws = has_energy ? EBM_DRAWS_WEIGHTED : EBM_DRAWS_FAIR;
    how.n_draws = job->spec->samples;
    return how;
}

static void score_block(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    const struct score_spec *spec = job->spec;
    struct ebm_estimate_spec how = estimate_of(job);
    uint32_t first = task * job->block_rows, left = job->n - first, B = left < job->block_rows ? left : job->block_rows;
    struct block *block = block_new(job, B);
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
    block_free(block);
}

/* Depends on the task alone; and a row's numbers do not depend on the rows beside it. */
static uint32_t rows_of_block(const struct score_spec *spec, const struct score_rows *out)
{
    size_t row_bytes = (size_t)spec->samples * spec->config->target.dim * sizeof(float);
    if (out->crps == NULL || row_bytes * SCORE_ROWS <= DRAW_BYTES)
        return SCORE_ROWS;
    return row_bytes < DRAW_BYTES ? (uint32_t)(DRAW_BYTES / row_bytes) : 1;
}

enum ebm_status score_rows(struct pool *pool, const struct score_spec *spec, const struct dataset *data,
                           const uint32_t *rows, uint32_t n, const struct score_rows *out)
{
    struct job job = {.spec = spec, .data = data, .rows = rows, .n = n, .out = out};
    EBM_ASSERT(data->X == spec->config->input.size && data->D == spec->config->target.dim);
    EBM_ASSERT((out->crps == NULL) == (out->inside == NULL));
    job.block_rows = rows_of_block(spec, out);
    pool_run(pool, score_block, &job, (n + job.block_rows - 1) / job.block_rows);
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
