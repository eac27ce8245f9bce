/* train_trunk_cuda.c - trunks in training: a batch of images goes to the device, and what the trunk makes of it stays
 * there for the chunks; so does the gradient that they leave in it, and that of the trunk's tensors. Chunks that the
 * CPU computes have their rows of it brought here, and what they leave taken there.
 *
 * Running statistics are parameters: they move on the device, and the CPU's are stale then. A trunk that stands still
 * goes the same way forward, and so do images in validation, by the running statistics. Where the device trains nothing
 * of a plan, the CPU's entries do it all. */
#include "core/cuda/train_internal.h"
#include "core/train_internal.h"

/* Any number of images, by the running statistics. */
static enum ebm_status run_there(const struct ebm_plan *plan, const float *h_x, uint32_t B, float *h_out)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    const uint32_t most = ebm_gpu_trunk_train_rows(t->trunk);
    bool is_fine = ebm_cuda_take(plan, EBM_TRAIN_PARAMS);
    (void)pthread_mutex_lock(&t->mutex);
    for (uint32_t first = 0, n; is_fine && first < B; first += n) {
        n = B - first < most ? B - first : most;
        is_fine = ebm_gpu_trunk_train_run(t->trunk, h_x + (size_t)first * plan->net.X, n,
                                          h_out + (size_t)first * plan->net.trunk.out);
    }
    plan->trunk_batch->B = 0; /* its numbers are gone */
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine ? EBM_OK : EBM_DEVICE;
}

static enum ebm_status trunk_prepare(struct ebm_plan *plan, uint32_t max_rows, struct ebm_error *reterr)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL)
        return ebm_device_cpu()->trunk_prepare(plan, max_rows, reterr);
    enum ebm_status status = ebm_trunk_batch_new(plan, max_rows, reterr);
    if (status != EBM_OK)
        return status;
    status = ebm_gpu_trunk_train_new(t->there, max_rows, &t->trunk, reterr);
    if (status == EBM_OK)
        plan->reach_there = run_there;
    else
        plan->trunk_batch = ebm_trunk_batch_free(plan->trunk_batch);
    return status;
}

static enum ebm_status trunk_forward(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x,
                                     uint32_t B, bool learns)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL)
        return ebm_device_cpu()->trunk_forward(plan, threads, h_x, B, learns);
    if (t->trunk == NULL || B < 1 || B > plan->trunk_batch->max_rows)
        return EBM_INVALID;
    if (!ebm_cuda_take(plan, EBM_TRAIN_PARAMS))
        return EBM_DEVICE;
    (void)pthread_mutex_lock(&t->mutex);
    bool is_fine = ebm_gpu_trunk_train_forward(t->trunk, h_x, B);
    plan->trunk_batch->B = is_fine ? B : 0;
    plan->trunk_batch->learns = learns;
    atomic_store(&t->here_is_stale[EBM_TRAIN_PARAMS], true);
    atomic_store(&plan->trunk_is_stale, true);
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine ? EBM_OK : EBM_DEVICE;
}

static enum ebm_status trunk_run(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x, uint32_t B,
                                 float *h_out)
{
    if (plan->reach_there != NULL)
        return run_there(plan, h_x, B, h_out);
    return ebm_cuda_bring(plan, EBM_TRAIN_PARAMS) ? ebm_device_cpu()->trunk_run(plan, threads, h_x, B, h_out)
                                                  : EBM_DEVICE;
}

/* Where the chunks' gradient is here, the trunk's comes here, too: whoever reduces and updates finds all of it. */
static enum ebm_status trunk_backward(struct ebm_plan *plan, const struct ebm_threads *threads)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL)
        return ebm_device_cpu()->trunk_backward(plan, threads);
    if (t->trunk == NULL || plan->trunk_batch->B == 0 || !plan->trunk_batch->learns)
        return EBM_INVALID;
    (void)pthread_mutex_lock(&t->mutex);
    bool is_fine = ebm_gpu_trunk_train_backward(t->trunk);
    if (is_fine && !atomic_load(&t->gradient_is_there))
        is_fine = ebm_gpu_trained_get(t->there, EBM_TRAIN_GRADIENT, plan->net.trunk.learned, plan->gradient);
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine ? EBM_OK : EBM_DEVICE;
}

bool ebm_cuda_features_bring(const struct ebm_plan *plan, const struct ebm_train_rows *rows)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL || !ebm_train_is_of_batch(rows))
        return true;
    (void)pthread_mutex_lock(&t->mutex);
    bool is_fine = ebm_gpu_trunk_train_get(t->trunk, rows->first, rows->B,
                                           plan->trunk_batch->h + (size_t)rows->first * plan->net.trunk.out);
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine;
}

bool ebm_cuda_features_learn(const struct ebm_plan *plan, const struct ebm_train_rows *rows)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL || !ebm_train_is_of_batch(rows) || !plan->trunk_batch->learns)
        return true;
    (void)pthread_mutex_lock(&t->mutex);
    bool is_fine = ebm_gpu_trunk_train_put(t->trunk, rows->first, rows->B,
                                           plan->trunk_batch->dh + (size_t)rows->first * plan->net.trunk.out);
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine;
}

void ebm_cuda_trunk_entries(struct ebm_device_ops *ops)
{
    ops->trunk_prepare = trunk_prepare;
    ops->trunk_forward = trunk_forward;
    ops->trunk_run = trunk_run;
    ops->trunk_backward = trunk_backward;
}
