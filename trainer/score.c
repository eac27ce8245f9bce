/* score.c - blocks of rows over the pool, one call of the device's predict each:
 *
 *   one target        log Z, and where asked mean, std, mode, intervals, CRPS, PIT: by integration (a mixture: exact)
 *   several targets   the same by importance; CRPS and PIT from the weighted draws (a mixture: from its own)
 *   the true target   f, or log q -> log p = f - log Z - sum log std
 *
 * A target that is known to a bin only is scored at SCORE_TARGETS midpoints of the bin, whose densities are averaged:
 * a density cannot win by a spike narrower than the rounding. */
#include "trainer/score.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/exact.h"
#include "core/rng.h"
#include "core/sobol.h"
#include "core/weighted.h"
#include "models/target.h"

#define DRAW_BYTES (16u << 20) /* of a block's draws, about: fewer rows where they would take more */

const double score_levels[SCORE_LEVELS] = {0.5, 0.8, 0.9, 0.95};
static const double probabilities[] = {0.25, 0.75, 0.1, 0.9, 0.05, 0.95, 0.025, 0.975}; /* the ends of each interval */
#define ENDS EBM_COUNT_OF(probabilities)
#define NUMBERS (6 + ENDS) /* that are asked of a target: moments, their errors, mode, quantiles */
#define PLACES 3u          /* where the distribution function is asked: the target, the ends of its bin */
_Static_assert(ENDS == 2 * SCORE_LEVELS, "two ends an interval");

struct job {
    const struct score_spec *spec;
    const struct dataset *data;
    const uint32_t *rows;
    uint32_t n, block_rows;
    const struct score_rows *out;
    _Atomic bool failed;
};

uint32_t score_points(const struct score_spec *spec, const double *y, float *ret_y)
{
    const struct ebm_target_config *target = &spec->config->target;
    if (spec->jitter == NULL || target->dim != 1 || !dataset_is_jittered(spec->jitter, y[0])) {
        ebm_target_standardize(target, y, ret_y);
        return 1;
    }
    for (uint32_t i = 0; i < SCORE_TARGETS; i++) {
        double at = y[0] + spec->jitter->step * ((i + 0.5) / SCORE_TARGETS - 0.5);
        at = ebm_target_return(target, 0, at);
        ebm_target_standardize(target, &at, ret_y + i);
    }
    return SCORE_TARGETS;
}

double score_log_mean_exp(const float *values, uint32_t n)
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

enum ebm_estimator score_estimator(const struct ebm_net_desc *net)
{
    return ebm_estimator_auto(net);
}

bool score_is_possible(const struct ebm_net_desc *net)
{
    return net->K > 0 || score_estimator(net) != EBM_ESTIMATE_IMPORTANCE;
}

enum ebm_estimator score_chosen(const struct score_spec *spec)
{
    switch (spec->choice) {
    case EBM_CHOICE_AUTO:
        break;
    case EBM_CHOICE_EXACT:
        return EBM_ESTIMATE_EXACT;
    case EBM_CHOICE_QUADRATURE:
        return EBM_ESTIMATE_QUADRATURE;
    case EBM_CHOICE_IMPORTANCE:
        return EBM_ESTIMATE_IMPORTANCE;
    case EBM_CHOICE_MIXTURE:
        return EBM_ESTIMATE_MIXTURE;
    }
    return score_estimator(&spec->config->net);
}

/* What a block needs, each row its part. */
struct block {
    struct ebm_task tasks[SCORE_ROWS];
    struct ebm_prediction predictions[SCORE_ROWS]; /* raw: what the device writes into */
    struct ebm_resolved_query query;
    float points[SCORE_ROWS][SCORE_TARGETS > LIMIT_TARGET_DIM ? SCORE_TARGETS : LIMIT_TARGET_DIM];
    float f[SCORE_ROWS][SCORE_TARGETS], log_q[SCORE_ROWS][SCORE_TARGETS];
    double at[SCORE_ROWS][PLACES], cdf[SCORE_ROWS][PLACES], crps[SCORE_ROWS][PLACES]; /* standardised; D = 1 */
    double *numbers;                                                                  /* (B, NUMBERS, D) */
    float *sorted;             /* (2, M) values and weights; NULL: no draws are needed */
    uint64_t *pairs;           /* (2, M) */
    double *sums;              /* (2, M) */
    float *draws, *log_weight; /* (B, M, D), (B, M) */
    float *x;                  /* (B, X) */
};

static void block_free(struct block *block)
{
    if (block == NULL)
        return;
    free(block->numbers);
    free(block->sorted);
    free(block->pairs);
    free(block->sums);
    free(block->draws);
    free(block->log_weight);
    free(block->x);
    free(block);
}

static bool wants_targets(const struct job *job)
{
    return job->out->targets != NULL;
}

/* Distribution function and CRPS of coordinates by draws: the device has both for a scalar target. */
static bool needs_draws(const struct job *job)
{
    return wants_targets(job) && job->spec->config->target.dim > 1;
}

static struct block *block_new(const struct job *job, uint32_t B)
{
    const struct ebm_config *config = job->spec->config;
    size_t M = job->spec->samples, D = config->target.dim, draws = needs_draws(job) ? (size_t)B * M : 0;
    struct block *block = calloc(1, sizeof *block);
    if (block == NULL)
        return NULL;
    block->x = calloc((size_t)B * config->input.size, sizeof *block->x);
    block->numbers = calloc(B * NUMBERS * D, sizeof *block->numbers);
    if (draws > 0) {
        block->sorted = calloc(2 * M, sizeof *block->sorted);
        block->pairs = calloc(2 * M, sizeof *block->pairs);
        block->sums = calloc(2 * M, sizeof *block->sums);
        block->draws = calloc(draws * D, sizeof *block->draws);
        block->log_weight = calloc(draws, sizeof *block->log_weight);
    }
    bool whole = draws == 0 || (block->sorted && block->pairs && block->sums && block->draws && block->log_weight);
    if (block->x == NULL || block->numbers == NULL || !whole) {
        block_free(block);
        return NULL;
    }
    return block;
}

/* Half the width of the bin that is all that is known of the row's target, standardised; 0: it is known. */
static double half_bin(const struct score_spec *spec, double y)
{
    const struct ebm_target_config *target = &spec->config->target;
    bool is_known = spec->jitter == NULL || target->dim != 1 || !dataset_is_jittered(spec->jitter, y);
    return is_known ? 0.0 : 0.5 * spec->jitter->step / target->std[0];
}

/* Where the device writes what is asked of row b beyond log Z, and where the distribution function is asked. */
static void stage_answer(const struct job *job, struct block *block, uint32_t b, const double *y)
{
    const struct ebm_target_config *target = &job->spec->config->target;
    size_t D = target->dim, M = job->spec->samples;
    struct ebm_prediction *p = &block->predictions[b];
    double *numbers = block->numbers + b * NUMBERS * D, half = half_bin(job->spec, y[0]);
    p->raw.mean = numbers;
    p->raw.variance = numbers + D;
    p->raw.mcse_mean = numbers + 2 * D;
    p->std = numbers + 3 * D;
    p->mcse_mean = numbers + 4 * D;
    p->raw.mode = numbers + 5 * D;
    p->raw.quantiles = numbers + 6 * D;
    for (size_t d = 0; d < D; d++)
        p->raw.mode[d] = (double)NAN; /* not every estimator has one */
    if (needs_draws(job)) {
        p->raw.draws = block->draws + b * M * D;
        p->raw.log_weights = block->query.spec.draws == EBM_DRAWS_WEIGHTED ? block->log_weight + b * M : NULL;
        return;
    }
    double at = (y[0] - target->mean[0]) / target->std[0];
    const double places[PLACES] = {at, at - half, at + half};
    for (uint32_t i = 0; i < PLACES; i++)
        block->at[b][i] = places[i];
    p->raw.cdf = block->cdf[b];
    p->raw.crps = block->crps[b];
    block->tasks[b].h_at = block->at[b];
    block->tasks[b].n_at = half > 0.0 ? PLACES : 1;
}

static void stage_row(const struct job *job, struct block *block, uint32_t first, uint32_t b)
{
    const struct score_spec *spec = job->spec;
    const struct ebm_input_config *input = &spec->config->input;
    uint32_t row = job->rows[first + b], D = spec->config->target.dim;
    dataset_standardize(job->data, row, input->mean, input->std, block->x + (size_t)b * input->size);
    block->predictions[b] = (struct ebm_prediction){.estimator = block->query.spec.estimator};
    block->tasks[b] = (struct ebm_task){
        .row = {.seed = spec->seed, .row_in_request = job->data->numbers[row], .samples = spec->samples},
        .spec = &block->query.spec,
        .out = &block->predictions[b].raw,
        .n_y = score_points(spec, job->data->y + (size_t)row * D, block->points[b]),
        .h_y = block->points[b],
        .h_f = block->f[b],
        .h_log_q = block->log_q[b],
    };
    if (wants_targets(job))
        stage_answer(job, block, b, job->data->y + (size_t)row * D);
}

/* ---- one target of one row ---- */

/* A point between F at the ends of the bin, by (seed, row). A bin of angles that holds the place where F begins goes
 * from near 1 on to near 0. */
static double within_bin(const struct score_spec *spec, uint32_t number, double low, double high)
{
    uint32_t words[4];
    ebm_philox(spec->seed, number, 0, EBM_STREAM_DEQUANTIZE, 0, words);
    double at = low + (high < low ? high + 1.0 - low : high - low) * ebm_uniform(words[0]);
    return at > 1.0 ? at - 1.0 : at;
}

/* CRPS and PIT of target d by the row's draws, which are standardised as y is. */
static void finish_by_draws(const struct job *job, struct block *block, uint32_t b, uint32_t d, double y,
                            struct score_target *out)
{
    const struct ebm_estimate *raw = &block->predictions[b].raw;
    uint32_t D = job->spec->config->target.dim, M = job->spec->samples;
    float *values = block->sorted, *weights = block->sorted + M;
    for (uint32_t m = 0; m < M; m++) {
        values[m] = raw->draws[(size_t)m * D + d];
        weights[m] = raw->log_weights != NULL ? expf(raw->log_weights[m]) : 1.0f;
    }
    struct ebm_sort_scratch scratch = {block->pairs, block->pairs + M, block->sums};
    struct ebm_weighted draws = ebm_weighted_sort(values, weights, M, scratch);
    const struct ebm_target_config *target = &job->spec->config->target;
    double period = ebm_target_period(target, d) / target->std[d];
    if (period > 0.0) {
        double cut = ebm_target_return(target, d, out->mean + 0.5 * ebm_target_period(target, d));
        out->crps = ebm_weighted_circle_crps(&draws, y, period);
        out->pit = ebm_weighted_cut_cdf(&draws, y, (cut - target->mean[d]) / target->std[d]);
        return;
    }
    out->crps = ebm_weighted_crps(&draws, y);
    out->pit = ebm_weighted_cdf(&draws, y);
}

static void finish_by_device(const struct job *job, const struct block *block, uint32_t b, struct score_target *out)
{
    const double *cdf = block->cdf[b];
    bool is_binned = block->tasks[b].n_at == PLACES;
    out->crps = block->crps[b][0];
    out->pit = is_binned ? within_bin(job->spec, block->tasks[b].row.row_in_request, cdf[1], cdf[2]) : cdf[0];
}

/* From the answer in the target's unit. */
static void finish_target(const struct job *job, struct block *block, uint32_t first, uint32_t b, uint32_t d)
{
    const struct ebm_target_config *target = &job->spec->config->target;
    const struct ebm_prediction *p = &block->predictions[b];
    uint32_t D = target->dim, row = job->rows[first + b];
    struct score_target *out = &job->out->targets[(size_t)(first + b) * D + d];
    double y = job->data->y[(size_t)row * D + d];
    *out = (struct score_target){
        .mean = p->raw.mean[d], .std = p->std[d], .mode = p->raw.mode[d] * target->std[d] + target->mean[d]};
    if (needs_draws(job))
        finish_by_draws(job, block, b, d, (y - target->mean[d]) / target->std[d], out);
    else
        finish_by_device(job, block, b, out);
    out->crps *= target->std[d];
    for (uint32_t i = 0; i < SCORE_LEVELS; i++) {
        out->lower[i] = p->raw.quantiles[2 * i * D + d];
        out->upper[i] = p->raw.quantiles[(2 * i + 1) * D + d];
    }
}

static void finish_row(const struct job *job, struct block *block, uint32_t first, uint32_t b)
{
    const struct ebm_config *config = job->spec->config;
    const struct ebm_target_config *target = &config->target;
    struct ebm_prediction *p = &block->predictions[b];
    uint32_t i = first + b;
    const float *values = block->query.spec.estimator == EBM_ESTIMATE_MIXTURE ? block->log_q[b] : block->f[b];
    job->out->nll[i] = p->raw.log_z - score_log_mean_exp(values, block->tasks[b].n_y);
    for (uint32_t d = 0; d < target->dim; d++)
        job->out->nll[i] += log(target->std[d]);
    if (!wants_targets(job))
        return;
    ebm_prediction_finish(p, &block->query, target);
    job->out->doubts[i] = p->reason;
    for (uint32_t d = 0; d < target->dim; d++)
        finish_target(job, block, first, b, d);
}

/* ---- blocks ---- */

static struct ebm_resolved_query query_of(const struct job *job)
{
    struct ebm_resolved_query query = {.query = {.num_samples = job->spec->samples, .seed = job->spec->seed}};
    query.spec.estimator = score_chosen(job->spec);
    query.spec.or_importance = !job->spec->integrates_all && job->spec->choice == EBM_CHOICE_AUTO &&
                               job->spec->config->net.K > 0;
    query.spec.scheme = EBM_SCHEME_SOBOL;
    query.spec.defensive = EBM_DEFENSIVE_SHARE;
    if (!wants_targets(job))
        return query;
    query.spec.probabilities = probabilities;
    query.spec.n_probabilities = ENDS;
    query.spec.n_draws = job->spec->samples;
    if (needs_draws(job))
        query.spec.draws = query.spec.estimator == EBM_ESTIMATE_MIXTURE ? EBM_DRAWS_FAIR : EBM_DRAWS_WEIGHTED;
    return query;
}

static void score_block(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    const struct score_spec *spec = job->spec;
    uint32_t first = task * job->block_rows, left = job->n - first, B = left < job->block_rows ? left : job->block_rows;
    struct block *block = block_new(job, B);
    enum ebm_status status = block != NULL ? EBM_OK : EBM_NO_MEMORY;
    if (block != NULL)
        block->query = query_of(job);
    for (uint32_t b = 0; block != NULL && b < B; b++)
        stage_row(job, block, first, b);
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
static uint32_t rows_of_block(const struct job *job)
{
    const struct score_spec *spec = job->spec;
    size_t row_bytes = (size_t)spec->samples * spec->config->target.dim * sizeof(float);
    if (!needs_draws(job) || row_bytes * SCORE_ROWS <= DRAW_BYTES)
        return SCORE_ROWS;
    return row_bytes < DRAW_BYTES ? (uint32_t)(DRAW_BYTES / row_bytes) : 1;
}

enum ebm_status score_rows(struct pool *pool, const struct score_spec *spec, const struct dataset *data,
                           const uint32_t *rows, uint32_t n, const struct score_rows *out)
{
    struct score_spec whole = *spec;
    struct job job = {.spec = &whole, .data = data, .rows = rows, .n = n, .out = out};
    whole.samples = ebm_sobol_count(spec->samples);
    EBM_ASSERT(data->X == spec->config->input.size && data->D == spec->config->target.dim);
    EBM_ASSERT((out->targets == NULL) == (out->doubts == NULL));
    job.block_rows = rows_of_block(&job);
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
