/* step.c - a batch in fixed chunks:
 *
 *   chunk c of the batch -> backward on some thread -> gradient buffer c           (pool_run over chunks)
 *   range r of the parameters: sum of the buffers in order 0, 1, ... -> Adam       (pool_run over ranges)
 *
 * What is added to what, and in which order, depends on the batch alone: never on the threads. Chunks have at least one
 * row; where no draws are made, a chunk fills the lanes of the x side, for there the rows are all the work.
 * A part that the phase does not train is not updated, and its count of Adam steps stands still. */
#include "trainer/step.h"

#include <stdatomic.h>

#define LANE_ROWS 16u           /* rows that the x side computes at once */
#define RANGE_PARAMETERS 65536u /* parameters a task of the update; a multiple of 16 */

struct job {
    const struct step *step;
    const struct step_batch *batch;
    struct ebm_loss_spec loss;
    struct ebm_adam adam;
    uint32_t chunk_rows, n_chunks;
    _Atomic bool failed;
};

uint32_t step_chunk_rows(const struct ebm_loss_spec *loss, uint32_t B)
{
    uint32_t rows = (B + STEP_CHUNKS - 1) / STEP_CHUNKS;
    return loss->samples > 0 ? rows : (uint32_t)ebm_round_up(rows, LANE_ROWS);
}

static void backward_chunk(void *user, uint32_t chunk, struct ebm_ctx *ctx)
{
    struct job *job = user;
    const struct step_batch *batch = job->batch;
    size_t X = job->step->net->X, D = job->step->net->D;
    uint32_t first = chunk * job->chunk_rows, left = batch->B - first;
    struct ebm_train_rows rows = {
        .B = left < job->chunk_rows ? left : job->chunk_rows,
        .h_x = batch->x + first * X,
        .h_y = batch->y + first * D,
        .rows = batch->rows + first,
    };
    if (job->step->ops->backward(ctx, job->step->plan, chunk, &job->loss, &rows, batch->losses + first) != EBM_OK)
        atomic_store(&job->failed, true);
}

static void update_range(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    struct job *job = user;
    struct ebm_range range = {.first = (size_t)task * RANGE_PARAMETERS, .count = RANGE_PARAMETERS};
    size_t left = job->step->net->n_params - range.first;
    (void)ctx;
    range.count = left < range.count ? left : range.count;
    if (job->step->ops->reduce(job->step->plan, job->n_chunks, range) != EBM_OK ||
        job->step->ops->update(job->step->plan, &job->adam, range) != EBM_OK)
        atomic_store(&job->failed, true);
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
    pool_run(step->pool, backward_chunk, &job, job.n_chunks);
    size_t ranges = (step->net->n_params + RANGE_PARAMETERS - 1) / RANGE_PARAMETERS;
    pool_run(step->pool, update_range, &job, (uint32_t)ranges);
    return atomic_load(&job.failed) ? EBM_DEVICE : EBM_OK;
}
