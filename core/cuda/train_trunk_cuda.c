/* train_trunk_cuda.c - trunks in training: a batch of images goes to the device, and what the trunk makes of it comes
 * back; from the heads' gradient, that of the trunk's tensors, which stays where the chunks' gradients are.
 *
 * Running statistics are parameters: they move on the device, and the CPU's are stale then. A trunk that stands still
 * goes the same way forward, and so do images in validation, by the running statistics. Where the device trains nothing
 * of a plan, the CPU's entries do it all. */
#include "core/cuda/train_internal.h"

/* Any number of images, by the running statistics. */
static enum ebm_status run_there(const struct ebm_plan *plan, const float *h_x, uint32_t B, float *h_out)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    const uint32_t most = ebm_gpu_trunk_train_rows(t->trunk);
    bool is_fine = ebm_cuda_take(plan, EBM_TRAIN_PARAMS);
    (void)pthread_mutex_lock(&t->mutex);
    for (uint32_t first = 0, n; is_fine && first < B; first += n) {
        n = B - first < most ? B - first : most;
        is_fine = ebm_gpu_trunk_train_forward(t->trunk, EBM_GPU_NORMS_RUNNING, h_x + (size_t)first * plan->net.X, n,
                                              h_out + (size_t)first * plan->net.trunk.out);
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine ? EBM_OK : EBM_DEVICE;
}

static enum ebm_status trunk_prepare(struct ebm_plan *plan, uint32_t max_rows, struct ebm_error *reterr)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL)
        return ebm_device_cpu()->trunk_prepare(plan, max_rows, reterr);
    if (plan->trunk == NULL || t->trunk != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "feature_net", "a plan to train a trunk, once");
    enum ebm_status status = ebm_gpu_trunk_train_new(t->there, max_rows, &t->trunk, reterr);
    if (status == EBM_OK)
        plan->reach_there = run_there;
    return status;
}

static enum ebm_status trunk_forward(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x,
                                     uint32_t B, bool learns, float *h_out)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL)
        return ebm_device_cpu()->trunk_forward(plan, threads, h_x, B, learns, h_out);
    if (t->trunk == NULL)
        return EBM_INVALID;
    if (!ebm_cuda_take(plan, EBM_TRAIN_PARAMS))
        return EBM_DEVICE;
    (void)pthread_mutex_lock(&t->mutex);
    bool is_fine = ebm_gpu_trunk_train_forward(t->trunk, EBM_GPU_NORMS_OF_BATCH, h_x, B, h_out);
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
static enum ebm_status trunk_backward(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_dout)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL)
        return ebm_device_cpu()->trunk_backward(plan, threads, h_dout);
    if (t->trunk == NULL)
        return EBM_INVALID;
    (void)pthread_mutex_lock(&t->mutex);
    bool is_fine = ebm_gpu_trunk_train_backward(t->trunk, h_dout);
    if (is_fine && !atomic_load(&t->gradient_is_there))
        is_fine = ebm_gpu_trained_get(t->there, EBM_TRAIN_GRADIENT, plan->net.trunk.learned, plan->gradient);
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine ? EBM_OK : EBM_DEVICE;
}

void ebm_cuda_trunk_entries(struct ebm_device_ops *ops)
{
    ops->trunk_prepare = trunk_prepare;
    ops->trunk_forward = trunk_forward;
    ops->trunk_run = trunk_run;
    ops->trunk_backward = trunk_backward;
}
