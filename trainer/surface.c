/* surface.c - columns of a picture over the pool: one predict a block of columns, with all rows of the picture as the
 * targets at which the density is asked. Draws depend on the column's number alone. */
#include "trainer/surface.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/sobol.h"

static const double probabilities[SURFACE_QUANTILES] = {0.05, 0.5, 0.95};

struct job {
    const struct score_spec *spec;
    struct surface *surface;
    const float *targets; /* (n_y) standardised */
    _Atomic bool failed;
};

double surface_x(const struct surface *s, uint32_t i)
{
    return s->x_lower + (s->x_upper - s->x_lower) * (i + 0.5) / s->n_x;
}

double surface_y(const struct surface *s, uint32_t j)
{
    return s->y_lower + (s->y_upper - s->y_lower) * (j + 0.5) / s->n_y;
}

void surface_done(struct surface *surface)
{
    free(surface->density);
    free(surface->quantiles);
    surface->density = NULL;
    surface->quantiles = NULL;
}

static void finish_column(const struct job *job, uint32_t i, const struct ebm_estimate *estimate, const float *values)
{
    const struct ebm_target_config *target = &job->spec->config->target;
    struct surface *s = job->surface;
    for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
        s->quantiles[i * SURFACE_QUANTILES + q] = estimate->quantiles[q] * target->std[0] + target->mean[0];
    for (uint32_t j = 0; j < s->n_y; j++) {
        double density = exp((double)values[j] - estimate->log_z) / target->std[0];
        s->density[(size_t)i * s->n_y + j] = isfinite(density) ? (float)density : 0.0f;
    }
}

static void run_block(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    struct surface *s = job->surface;
    const struct ebm_input_config *input = &job->spec->config->input;
    const struct ebm_estimate_spec how = {.estimator = score_chosen(job->spec),
                                          .or_importance = job->spec->choice == EBM_CHOICE_AUTO &&
                                                           job->spec->config->net.K > 0,
                                          .n_probabilities = SURFACE_QUANTILES,
                                          .probabilities = probabilities,
                                          .scheme = EBM_SCHEME_SOBOL,
                                          .defensive = EBM_DEFENSIVE_SHARE};
    uint32_t first = task * SCORE_ROWS, B = s->n_x - first < SCORE_ROWS ? s->n_x - first : SCORE_ROWS;
    struct ebm_task tasks[SCORE_ROWS];
    struct ebm_estimate estimates[SCORE_ROWS];
    double quantiles[SCORE_ROWS][SURFACE_QUANTILES];
    float x[SCORE_ROWS];
    EBM_AUTO(ebm_freep) float *values = calloc((size_t)2 * SCORE_ROWS * s->n_y, sizeof *values);
    enum ebm_status status = values != NULL ? EBM_OK : EBM_NO_MEMORY;
    for (uint32_t b = 0; status == EBM_OK && b < B; b++) {
        double at = surface_x(s, first + b);
        ebm_standardize(&x[b], &at, input->mean, input->std, 1);
        estimates[b] = (struct ebm_estimate){.quantiles = quantiles[b]};
        tasks[b] = (struct ebm_task){.row = {.seed = job->spec->seed,
                                             .row_in_request = first + b,
                                             .samples = ebm_sobol_count(job->spec->samples)},
                                     .spec = &how,
                                     .out = &estimates[b],
                                     .n_y = s->n_y,
                                     .h_y = job->targets,
                                     .h_f = values + (size_t)2 * b * s->n_y,
                                     .h_log_q = values + (size_t)(2 * b + 1) * s->n_y};
    }
    if (status == EBM_OK)
        status = job->spec->ops->predict(ctx, job->spec->plan, x, tasks, B);
    if (status == EBM_OK)
        status = job->spec->ops->sync(ctx);
    for (uint32_t b = 0; status == EBM_OK && b < B; b++)
        finish_column(job, first + b, &estimates[b],
                      how.estimator == EBM_ESTIMATE_MIXTURE ? tasks[b].h_log_q : tasks[b].h_f);
    if (status != EBM_OK)
        atomic_store(&job->failed, true);
}

enum ebm_status surface_make(struct surface *surface, struct pool *pool, const struct score_spec *spec)
{
    const struct ebm_target_config *target = &spec->config->target;
    EBM_ASSERT(spec->config->input.size == 1 && target->dim == 1 && surface->n_x > 0 && surface->n_y > 0);
    EBM_AUTO(ebm_freep) float *targets = calloc(surface->n_y, sizeof *targets);
    surface->density = calloc((size_t)surface->n_x * surface->n_y, sizeof *surface->density);
    surface->quantiles = calloc((size_t)surface->n_x * SURFACE_QUANTILES, sizeof *surface->quantiles);
    if (targets == NULL || surface->density == NULL || surface->quantiles == NULL)
        return EBM_NO_MEMORY;
    for (uint32_t j = 0; j < surface->n_y; j++) {
        double at = surface_y(surface, j);
        ebm_standardize(&targets[j], &at, target->mean, target->std, 1);
    }
    struct job job = {.spec = spec, .surface = surface, .targets = targets};
    pool_run(pool, run_block, &job, (surface->n_x + SCORE_ROWS - 1) / SCORE_ROWS);
    return atomic_load(&job.failed) ? EBM_DEVICE : EBM_OK;
}
