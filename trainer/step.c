/* step.c - a batch in fixed chunks:
 *
 *   for ml_exact: the device's table of kinks is made anew
 *   of images: trunk forward, the whole batch, whose features stay on the device   (pool_run over its own chunks)
 *   chunk c of the batch -> backward on some thread -> gradient buffer c           (pool_run over chunks)
 *   of images, if features learn: trunk backward, the whole batch
 *   range r of the parameters: sum of the buffers in order 0, 1, ... -> Adam       (pool_run over ranges)
 *
 * With clipping or weight decay the sums are finished first; then, on the caller's thread and in the parameters' order,
 *
 *   g <- g min(1, clip / |g|)        |g| over all parameters that this phase trains, summed in double
 *   p <- p (1 - rate decay)          decoupled from Adam's moments (Loshchilov & Hutter 2019)
 *
 * What is added to what, and in which order, depends on the batch alone: never on the threads. Chunks have at least one
 * row; where no draws are made, a chunk fills the lanes of the x side, for there the x side is most of the work.
 * A part that the phase does not train is not updated, and its count of Adam steps stands still; a trunk that does not
 * learn goes by the statistics of each batch nevertheless, and the running ones move (arXiv 2110.11948). */
#include "trainer/step.h"

#include <math.h>
#include <stdatomic.h>

#define LANE_ROWS 16u           /* rows that the x side computes at once */
#define RANGE_PARAMETERS 65536u /* parameters a task of the update; a multiple of 16 */

struct job {
    const struct step *step;
    const struct step_batch *batch;
    struct ebm_loss_spec loss;
    struct ebm_adam adam;
    uint32_t chunk_rows, n_chunks;
    bool is_reduced; /* the chunks are summed already */
    const float *x; /* (B, numbers that reach the feature net); NULL: the plan has the features of the batch's images */
    _Atomic bool failed;
};

uint32_t step_chunk_rows(const struct ebm_loss_spec *loss, uint32_t B)
{
    uint32_t rows = (B + STEP_CHUNKS - 1) / STEP_CHUNKS;
    bool is_drawn = loss->samples > 0 && loss->loss != EBM_LOSS_ML_EXACT;
    return is_drawn ? rows : (uint32_t)ebm_round_up(rows, LANE_ROWS);
}

static void backward_chunk(void *user, uint32_t chunk, struct ebm_ctx *ctx)
{
    struct job *job = user;
    const struct step_batch *batch = job->batch;
    size_t D = job->step->net->D, reach = ebm_net_reach(job->step->net);
    uint32_t first = chunk * job->chunk_rows, left = batch->B - first;
    struct ebm_train_rows rows = {
        .B = left < job->chunk_rows ? left : job->chunk_rows,
        .h_x = job->x != NULL ? job->x + first * reach : NULL,
        .first = first,
        .h_y = batch->y + first * D,
        .rows = batch->rows + first,
    };
    if (job->step->ops->backward(ctx, job->step->plan, chunk, &job->loss, &rows, batch->losses + first) != EBM_OK)
        atomic_store(&job->failed, true);
}

static struct ebm_range range_of(const struct job *job, uint32_t task)
{
    size_t first = (size_t)task * RANGE_PARAMETERS, left = job->step->net->n_params - first;
    return (struct ebm_range){.first = first, .count = left < RANGE_PARAMETERS ? left : RANGE_PARAMETERS};
}

static void reduce_range(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    (void)ctx;
    if (job->step->ops->reduce(job->step->plan, job->n_chunks, range_of(job, task)) != EBM_OK)
        atomic_store(&job->failed, true);
}

static void update_range(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    if (!job->is_reduced)
        reduce_range(user, task, ctx);
    if (job->step->ops->update(job->step->plan, &job->adam, range_of(job, task)) != EBM_OK)
        atomic_store(&job->failed, true);
}

/* Multiplies what of `space` belongs to the parts that this step updates. */
static void scale_parts(const struct job *job, float *space, double factor)
{
    for (uint32_t part = 0; part < EBM_PARTS; part++) {
        const struct ebm_range *own = &job->step->net->part[part];
        for (size_t i = own->first; job->adam.step[part] > 0 && i < own->first + own->count; i++)
            space[i] = (float)((double)space[i] * factor);
    }
}

static double gradient_norm(const struct job *job, const float *gradient)
{
    double squares = 0.0;
    for (uint32_t part = 0; part < EBM_PARTS; part++) {
        const struct ebm_range *own = &job->step->net->part[part];
        for (size_t i = own->first; job->adam.step[part] > 0 && i < own->first + own->count; i++)
            squares += (double)gradient[i] * (double)gradient[i];
    }
    return sqrt(squares);
}

/* A norm that is no number is left alone: the loss is none either, and the loop stops for that. */
static enum ebm_status clip(const struct job *job)
{
    const struct step *step = job->step;
    enum ebm_status status = step->ops->params_read(step->plan, EBM_TRAIN_GRADIENT, step->space);
    double norm = status == EBM_OK ? gradient_norm(job, step->space) : 0.0;
    if (status != EBM_OK || !(norm > step->gradient_clip) || !isfinite(norm))
        return status;
    scale_parts(job, step->space, step->gradient_clip / norm);
    return step->ops->params_write(step->plan, EBM_TRAIN_GRADIENT, step->space);
}

static enum ebm_status decay(const struct job *job)
{
    const struct step *step = job->step;
    enum ebm_status status = step->ops->params_read(step->plan, EBM_TRAIN_PARAMS, step->space);
    if (status != EBM_OK)
        return status;
    scale_parts(job, step->space, 1.0 - step->learning_rate * step->weight_decay);
    return step->ops->params_write(step->plan, EBM_TRAIN_PARAMS, step->space);
}

/* Between the sums and Adam: what needs all of the gradient. */
static enum ebm_status regularize(struct job *job, uint32_t n_ranges)
{
    const struct step *step = job->step;
    enum ebm_status status = EBM_OK;
    if (step->gradient_clip <= 0.0 && step->weight_decay <= 0.0)
        return EBM_OK;
    pool_run(step->pool, reduce_range, job, n_ranges);
    job->is_reduced = true;
    if (step->gradient_clip > 0.0)
        status = clip(job);
    return status == EBM_OK && step->weight_decay > 0.0 ? decay(job) : status;
}

/* Losses and gradients of the whole batch: the chunks' in their buffers, the trunk's where it belongs. */
static enum ebm_status run_batch(struct job *job, bool features_learn)
{
    const struct step *step = job->step;
    const struct ebm_threads threads = pool_threads(step->pool);
    const struct step_batch *batch = job->batch;
    bool has_trunk = step->net->trunk.n_ops > 0, runs_trunk = has_trunk && batch->reach == NULL;
    enum ebm_status status = EBM_OK;
    EBM_ASSERT(runs_trunk || !has_trunk || !features_learn);
    job->x = runs_trunk ? NULL : has_trunk ? batch->reach : batch->x;
    if (runs_trunk)
        status = step->ops->trunk_forward(step->plan, &threads, batch->x, batch->B, features_learn);
    if (status == EBM_OK)
        pool_run(step->pool, backward_chunk, job, job->n_chunks);
    if (status == EBM_OK && runs_trunk && features_learn && !atomic_load(&job->failed))
        status = step->ops->trunk_backward(step->plan, &threads);
    return status;
}

enum ebm_status step_run(struct step *step, const struct method_phase *phase, const struct step_batch *batch)
{
    struct job job = {
        .step = step,
        .batch = batch,
        .loss = phase->loss,
        .adam = {.learning_rate = step->learning_rate, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8},
        .chunk_rows = step_chunk_rows(&phase->loss, batch->B),
    };
    job.loss.scale = 1.0 / batch->B;
    job.n_chunks = (batch->B + job.chunk_rows - 1) / job.chunk_rows;
    for (uint32_t part = 0; part < EBM_PARTS; part++)
        if (phase->trains[part])
            job.adam.step[part] = ++step->taken[part];
    if (job.loss.loss == EBM_LOSS_ML_EXACT && step->ops->refresh(step->plan) != EBM_OK)
        return EBM_DEVICE;
    if (run_batch(&job, phase->trains[EBM_PART_FEATURE]) != EBM_OK)
        return EBM_DEVICE;
    uint32_t n_ranges = (uint32_t)((step->net->n_params + RANGE_PARAMETERS - 1) / RANGE_PARAMETERS);
    if (regularize(&job, n_ranges) != EBM_OK)
        return EBM_DEVICE;
    pool_run(step->pool, update_range, &job, n_ranges);
    return atomic_load(&job.failed) ? EBM_DEVICE : EBM_OK;
}
