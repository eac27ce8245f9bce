/* training.cu - a chunk of rows in training, there and back, as one graph.
 *
 *   x side, all rows   x -> features -> h; W_h h + bias of the first energy layer; the proposal's nets  (training_x.cu)
 *                      of ml_exact a graph of its own, with exact_train.cu's lists of points behind it
 *   for pieces of the rows, which are as many as fit into EBM_GPU_PIECE bytes                     (training_samples.cu)
 *     losses.cu        noise, candidates                         (of ml_exact: exact_train.cu, of ml_mcmc:
 *                      langevin_train.cu; the way of sm and dsm from here to the x side: score_train.cu)
 *     sample side      all candidates of the piece -> target net -> energy net -> f
 *     losses.cu        losses, df, gradient of the mixtures      (the same)
 *     backward         energy net, target net; sums over a row's candidates are what the x side gets
 *   x side backward    the proposal's nets, the first energy layer's x part, the feature net
 *
 * Layers are those of layers.cu, the parts of whose samples are the rows of a piece. A chunk's shape is run as it comes
 * the first time, recorded the second time. */
#include <new>

#include "core/cuda/training_internal.h"

#define SHAPES 48u         /* of chunks whose graphs are kept */
#define RECORDED_STEPS 64u /* of chains, most: chunks of more are launched as they come, every time */
#define STEP_POINTS 64u    /* candidates of a row in ml_exact are a multiple, so that there are few shapes */

namespace
{

/* ---- what is enqueued ---- */

/* Of ml_exact, before its candidates are counted. */
bool is_first_part(const ebm_gpu_chunk *c)
{
    return c->loss == EBM_LOSS_ML_EXACT && c->n == 0;
}

bool enqueue_lists(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    bool ok = gpu_x_forward(t, c);
    gpu_points_list(t, c->B);
    return ok && gpu_fine(t->space, cudaGetLastError(), "training");
}

bool enqueue(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    if (is_first_part(c))
        return enqueue_lists(t, c);
    bool ok = gpu_clear(t, t->gradient, gpu_slot_count(t->trained)) && gpu_clear(t, t->dh.p, (size_t)c->B * t->dh.ld) &&
              gpu_clear(t, t->down.p, (size_t)c->B * t->down.ld) &&
              (c->loss == EBM_LOSS_ML_EXACT || gpu_x_forward(t, c)) && gpu_loss_run(t, c, c->loss) &&
              (c->beside == 0 || gpu_loss_run(t, c, EBM_LOSS_KL_PROPOSAL)) && gpu_x_backward(t, c);
    return ok && gpu_fine(t->space, cudaGetLastError(), "training");
}

/* ---- a chunk ---- */

/* As it comes, or by its graph. Steps of chains lie one behind the other in it. */
bool launch(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t most = c->steps <= RECORDED_STEPS ? SHAPES : 0;
    return gpu_run_shape(t->space, &t->graphs, most, *c, "training", [&] { return enqueue(t, c); });
}

bool up(ebm_gpu_training *t, void *to, const void *from, size_t bytes)
{
    return gpu_copy(t->space, t->space->compute, to, from, bytes, cudaMemcpyHostToDevice);
}

/* What a trunk made of a batch is there already. */
bool put_x(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t bytes = (size_t)c->B * t->x.ld * sizeof(float);
    if (!t->host.is_of_batch)
        return up(t, t->there.x, t->host.x, bytes);
    return gpu_copy(t->space, t->space->compute, t->there.x, t->trained->h + (size_t)t->host.first * t->x.ld, bytes,
                    cudaMemcpyDeviceToDevice);
}

/* Where the trunk looks for it; the host waits for the chunk before it goes on with the trunk. */
bool leave_dx(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t bytes = (size_t)c->B * t->x.ld * sizeof(float);
    return !c->wants_dx || gpu_copy(t->space, t->space->compute, t->trained->dh + (size_t)t->host.first * t->x.ld,
                                    t->dx, bytes, cudaMemcpyDeviceToDevice);
}

bool upload(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const struct ebm_gpu_rows *h = &t->host, *d = &t->there;
    const size_t one = sizeof(float), B = c->B, D = t->net->D, n = B * c->n;
    bool has_label = c->loss == EBM_LOSS_KLD_IS || c->steps > 0;
    return put_x(t, c) && up(t, d->draws, h->draws, B * sizeof *h->draws) && up(t, d->y_0, h->y_0, B * D * one) &&
           up(t, d->center, h->center, B * D * one) && up(t, d->noise, h->noise, (2 * D + 2) * c->noise_K * one) &&
           up(t, d->label, h->label, has_label ? (D + 1) * one : 0) &&
           up(t, d->y, h->y, c->is_given ? n * D * one : 0) &&
           up(t, d->log_q, h->log_q, c->has_density ? n * one : 0) &&
           up(t, d->log_label, h->log_label, c->has_density && has_label ? n * one : 0);
}

bool down(ebm_gpu_training *t, void *to, const void *from, size_t bytes)
{
    return gpu_copy(t->space, t->space->compute, to, from, bytes, cudaMemcpyDeviceToHost);
}

bool download(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t rows = c->B * sizeof(float);
    return down(t, t->host.loss, t->there.loss, rows) &&
           down(t, t->host.beside, t->there.beside, c->beside > 0 ? rows : 0) && gpu_sleep(t->space, "training");
}

} // namespace

bool gpu_clear(ebm_gpu_training *t, float *p, size_t count)
{
    return count == 0 ||
           gpu_fine(t->space, cudaMemsetAsync(p, 0, count * sizeof(float), t->space->compute), "a gradient");
}

bool ebm_gpu_training_run(struct ebm_gpu_training *t, const struct ebm_gpu_chunk *c, uint32_t slot)
{
    if (t->space->failed || !gpu_enter(t->space))
        return false;
    try {
        bool is_there = c->loss == EBM_LOSS_ML_EXACT; /* since its points were found */
        return gpu_trained_wait(t->trained, t->space) && (is_there || upload(t, c)) && launch(t, c) && leave_dx(t, c) &&
               gpu_trained_add(t->trained, t->space, slot, t->gradient) && download(t, c);
    } catch (const std::bad_alloc &) {
        return gpu_fine(t->space, cudaErrorMemoryAllocation, "training");
    }
}

/* The longest list of the chunk's rows. False: it failed. */
static bool find_points(ebm_gpu_training *t, const ebm_gpu_chunk *c, uint32_t *ret_most)
{
    bool ok = gpu_trained_wait(t->trained, t->space) && upload(t, c) && launch(t, c) &&
              down(t, t->point_counts, t->points.count, c->B * sizeof *t->point_counts) &&
              gpu_sleep(t->space, "points");
    *ret_most = 0;
    for (uint32_t b = 0; ok && b < c->B; b++)
        *ret_most = t->point_counts[b] > *ret_most ? t->point_counts[b] : *ret_most;
    return ok;
}

enum ebm_status ebm_gpu_training_points(struct ebm_gpu_training *t, struct ebm_gpu_chunk *c)
{
    uint32_t most;
    c->M = c->n = 0;
    if (t->space->failed || !gpu_enter(t->space))
        return EBM_DEVICE;
    try {
        if (!find_points(t, c, &most))
            return EBM_DEVICE;
    } catch (const std::bad_alloc &) {
        (void)gpu_fine(t->space, cudaErrorMemoryAllocation, "training");
        return EBM_DEVICE;
    }
    if (most >= EBM_GPU_POINTS)
        return EBM_TOO_LARGE;
    c->n = gpu_round_up(most + 1, STEP_POINTS);
    c->n = c->n > EBM_GPU_POINTS ? EBM_GPU_POINTS : c->n;
    c->M = c->n - 1;
    return EBM_OK;
}

bool ebm_gpu_training_add(struct ebm_gpu_training *t, const float *h_gradient, uint32_t slot)
{
    return !t->space->failed && gpu_enter(t->space) && gpu_trained_wait(t->trained, t->space) &&
           up(t, t->gradient, h_gradient, gpu_slot_count(t->trained) * sizeof(float)) &&
           gpu_trained_add(t->trained, t->space, slot, t->gradient) && gpu_sleep(t->space, "a gradient");
}
