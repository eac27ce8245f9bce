/* train_cuda.c - training on the device: where a plan's numbers are, and the entries of the table but for chunks of
 * rows (train_chunks_cuda.c) and trunks (train_trunk_cuda.c).
 *
 *   on the device   x side, draws, points or chains, f, losses and their gradients; trunks (train_trunk_cuda.c); sums
 *                   over chunks; Adam
 *   on the CPU      the table of kinks; ml_exact by quadrature, and chunks with a row of too many pieces; draws of the
 *                   proposal and chains within bounds or of a period; validation
 *
 * Parameters and moments lie on both sides, and each side knows whether the other one's are newer: what is read is
 * copied first. So one step may be the device's and the next one the CPU's, and a checkpoint is the same of both. A
 * gradient is where the last chunks were. */
#include <stdlib.h>
#include <string.h>

#include "core/cuda/train_internal.h"

/* ---- both sides ---- */

static float *state_of(const struct ebm_plan *plan, enum ebm_train_state what)
{
    float *const states[] = {plan->params, plan->adam_m, plan->adam_v, plan->gradient};
    return states[what];
}

static struct ebm_range all_of(const struct ebm_plan *plan)
{
    return (struct ebm_range){0, plan->net.n_params};
}

bool ebm_cuda_bring(const struct ebm_plan *plan, enum ebm_train_state what)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    bool is_fine = true;
    if (t == NULL || !atomic_load(&t->here_is_stale[what]))
        return true;
    (void)pthread_mutex_lock(&t->mutex);
    if (atomic_load(&t->here_is_stale[what])) {
        is_fine = ebm_gpu_trained_get(t->there, what, all_of(plan), state_of(plan, what));
        atomic_store(&t->here_is_stale[what], !is_fine);
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine;
}

bool ebm_cuda_take(const struct ebm_plan *plan, enum ebm_train_state what)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    bool is_fine = true;
    if (!atomic_load(&t->there_is_stale[what]))
        return true;
    (void)pthread_mutex_lock(&t->mutex);
    if (atomic_load(&t->there_is_stale[what])) {
        is_fine = ebm_gpu_trained_put(t->there, what, state_of(plan, what));
        atomic_store(&t->there_is_stale[what], !is_fine);
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine;
}

static bool bring_all(const struct ebm_plan *plan)
{
    return ebm_cuda_bring(plan, EBM_TRAIN_PARAMS) && ebm_cuda_bring(plan, EBM_TRAIN_ADAM_M) &&
           ebm_cuda_bring(plan, EBM_TRAIN_ADAM_V);
}

bool ebm_cuda_take_all(const struct ebm_plan *plan)
{
    return ebm_cuda_take(plan, EBM_TRAIN_PARAMS) && ebm_cuda_take(plan, EBM_TRAIN_ADAM_M) &&
           ebm_cuda_take(plan, EBM_TRAIN_ADAM_V);
}

static void set_all(_Atomic bool *flags, bool value)
{
    for (uint32_t what = 0; what < EBM_CUDA_STATES; what++)
        atomic_store(&flags[what], value);
}

/* ---- plans ---- */

static void trained_free(void *accelerated)
{
    struct ebm_cuda_trained *t = accelerated;
    (void)ebm_gpu_trunk_train_free(t->trunk);
    (void)ebm_gpu_trained_free(t->there);
    (void)pthread_mutex_destroy(&t->mutex);
    free(t);
}

/* All but energy nets whose first layer adds what it reads: that would take h to every candidate. */
static bool can_train(const struct ebm_net_desc *net)
{
    return !net->has_energy || !net->energy.layers[0].residual;
}

enum ebm_status ebm_cuda_train_plan(struct ebm_plan *plan, struct ebm_error *reterr)
{
    if (!can_train(&plan->net))
        return EBM_OK;
    struct ebm_cuda_trained *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory to train");
    (void)pthread_mutex_init(&t->mutex, NULL);
    set_all(t->there_is_stale, true);
    atomic_store(&t->kinks_are_stale, true);
    plan->accelerated = t;
    plan->free_accelerated = trained_free;
    return ebm_gpu_trained_new(&plan->net, plan->n_slots, &t->there, reterr);
}

/* ---- entries of the table ---- */

static enum ebm_status features(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x, uint32_t B)
{
    return ebm_cuda_bring(plan, EBM_TRAIN_PARAMS) ? ebm_device_cpu()->features(ctx, plan, h_x, B) : EBM_DEVICE;
}

static enum ebm_status predict(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                               const struct ebm_task *tasks, uint32_t B)
{
    return ebm_cuda_bring(plan, EBM_TRAIN_PARAMS) ? ebm_device_cpu()->predict(ctx, plan, h_x, tasks, B) : EBM_DEVICE;
}

static enum ebm_status refresh(struct ebm_plan *plan)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t != NULL)
        atomic_store(&t->kinks_are_stale, true);
    return ebm_cuda_bring(plan, EBM_TRAIN_PARAMS) ? ebm_device_cpu()->refresh(plan) : EBM_DEVICE;
}

static bool gradient_is_there(const struct ebm_plan *plan)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    return t != NULL && atomic_load(&t->gradient_is_there);
}

static enum ebm_status reduce(struct ebm_plan *plan, uint32_t n_slots, struct ebm_range range)
{
    if (!gradient_is_there(plan))
        return ebm_device_cpu()->reduce(plan, n_slots, range);
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    (void)pthread_mutex_lock(&t->mutex);
    bool is_fine = ebm_gpu_trained_reduce(t->there, n_slots, range);
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine ? EBM_OK : EBM_DEVICE;
}

static enum ebm_status update_there(struct ebm_plan *plan, const struct ebm_adam *adam, struct ebm_range range)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    const struct ebm_range none = {range.first, 0};
    enum ebm_status status = ebm_device_cpu()->update(plan, adam, none); /* plans note it */
    (void)pthread_mutex_lock(&t->mutex);
    if (status == EBM_OK && !ebm_gpu_trained_update(t->there, adam, range))
        status = EBM_DEVICE;
    set_all(t->here_is_stale, true);
    (void)pthread_mutex_unlock(&t->mutex);
    return status;
}

static enum ebm_status update(struct ebm_plan *plan, const struct ebm_adam *adam, struct ebm_range range)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (t == NULL)
        return ebm_device_cpu()->update(plan, adam, range);
    if (gradient_is_there(plan))
        return ebm_cuda_take_all(plan) ? update_there(plan, adam, range) : EBM_DEVICE;
    if (!bring_all(plan))
        return EBM_DEVICE;
    set_all(t->there_is_stale, true);
    return ebm_device_cpu()->update(plan, adam, range);
}

static enum ebm_status params_read(const struct ebm_plan *plan, enum ebm_train_state what, float *h_dst)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    bool is_fine = true;
    if (what != EBM_TRAIN_GRADIENT)
        is_fine = ebm_cuda_bring(plan, what);
    else if (gradient_is_there(plan))
        is_fine = ebm_gpu_trained_get(t->there, what, all_of(plan), plan->gradient);
    return is_fine ? ebm_device_cpu()->params_read(plan, what, h_dst) : EBM_DEVICE;
}

static enum ebm_status params_write(struct ebm_plan *plan, enum ebm_train_state what, const float *h_src)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    enum ebm_status status = ebm_device_cpu()->params_write(plan, what, h_src);
    if (t == NULL || status != EBM_OK)
        return status;
    if (what == EBM_TRAIN_GRADIENT && gradient_is_there(plan))
        return ebm_gpu_trained_put(t->there, what, plan->gradient) ? EBM_OK : EBM_DEVICE;
    if (what != EBM_TRAIN_GRADIENT) {
        atomic_store(&t->here_is_stale[what], false);
        atomic_store(&t->there_is_stale[what], true);
    }
    return EBM_OK;
}

void ebm_cuda_train_entries(struct ebm_device_ops *ops)
{
    ops->features = features;
    ops->predict = predict;
    ops->refresh = refresh;
    ops->reduce = reduce;
    ops->update = update;
    ops->params_read = params_read;
    ops->params_write = params_write;
    ebm_cuda_trunk_entries(ops);
}
