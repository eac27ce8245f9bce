/* device_trunk.c - images: the trunk that stands before the x side.
 *
 *   serving    features: images -> ebm_reach -> numbers that the x side reads as it reads vectors
 *   training   trunk_forward of a batch -> plan->trunk_batch: features -> backward of chunks of rows, which leave their
 *              gradient there -> trunk_backward of the batch;
 *              heads alone: another trunk_forward, and nothing behind the chunks (trunk_still.h)
 *
 * The reference device convolves by plain loops, the CPU by conv_own.c. A plan in training serves too,
 * between steps (validation): its trunk is loaded anew by the first features after an update. */
#include "core/device_internal.h"

#include <stdlib.h>

static bool is_reference(const struct ebm_plan *plan)
{
    return plan->kernels == ebm_kernels_ref();
}

static const struct ebm_conv_backend *backend_of(const struct ebm_plan *plan)
{
    return is_reference(plan) ? ebm_conv_ref() : ebm_conv_own();
}

/* Plain loops gain nothing by many images at once. */
enum ebm_status ebm_plan_trunk(struct ebm_plan *plan, const float *h_params, struct ebm_error *reterr)
{
    if (plan->net.trunk.n_ops == 0)
        return EBM_OK;
    return ebm_trunk_plan_new(&plan->net.trunk, h_params, backend_of(plan), is_reference(plan) ? 1 : EBM_TRUNK_TILE,
                              &plan->trunk, reterr);
}

/* Members of an ensemble have trunks alike. */
uint32_t ebm_plan_group(const struct ebm_plan *plan)
{
    if (plan->n_members > 0)
        return ebm_plan_group(plan->members[0]);
    return plan->trunk != NULL ? ebm_trunk_plan_tile(plan->trunk) : 1;
}

size_t ebm_reach_space(const struct ebm_plan *plan)
{
    if (ebm_plan_is_served_there(plan) || plan->reach_there != NULL)
        return 0;
    size_t serving = plan->trunk != NULL ? ebm_trunk_plan_space(plan->trunk) : 0;
    size_t training = plan->trunk_train != NULL ? ebm_trunk_train_scratch(plan->trunk_train) : 0;
    for (uint32_t i = 0; i < plan->n_members; i++) {
        size_t member = ebm_reach_space(plan->members[i]);
        serving = member > serving ? member : serving;
    }
    size_t still = plan->trunk_still != NULL ? ebm_trunk_still_scratch(plan->trunk_still) : 0;
    training = still > training ? still : training;
    return serving > training ? serving : training;
}

/* A plan that serves never changes; one in training has its owner's word that nobody updates it meanwhile. */
static enum ebm_status load_again(struct ebm_plan *plan)
{
    enum ebm_status status = EBM_OK;
    (void)pthread_mutex_lock(&plan->trunk_mutex);
    if (atomic_load(&plan->trunk_is_stale))
        status = ebm_trunk_plan_load(plan->trunk, plan->params);
    if (status == EBM_OK)
        atomic_store(&plan->trunk_is_stale, false);
    (void)pthread_mutex_unlock(&plan->trunk_mutex);
    return status;
}

enum ebm_status ebm_reach(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x, uint32_t B,
                          const float **ret_reach)
{
    enum ebm_status status = EBM_OK;
    if (plan->trunk == NULL) {
        *ret_reach = h_x;
        return EBM_OK;
    }
    *ret_reach = ctx->reach.p;
    if (plan->reach_there != NULL)
        return plan->reach_there(plan, h_x, B, ctx->reach.p);
    if (atomic_load(&plan->trunk_is_stale))
        status = load_again((struct ebm_plan *)(uintptr_t)plan);
    if (status == EBM_OK)
        status = ebm_trunk_run(plan->trunk, h_x, B, ctx->reach.p, ctx->trunk_space.p);
    return status;
}

/* ---- training ---- */

enum ebm_status ebm_trunk_batch_new(struct ebm_plan *plan, uint32_t max_rows, struct ebm_error *reterr)
{
    if (plan->n_slots == 0 || plan->trunk == NULL || plan->trunk_batch != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "feature_net", "a plan to train a trunk, once");
    struct ebm_trunk_batch *batch = calloc(1, sizeof *batch);
    const size_t count = (size_t)max_rows * plan->net.trunk.out;
    if (batch != NULL) {
        *batch = (struct ebm_trunk_batch){.max_rows = max_rows,
                                          .h = ebm_alloc_aligned(count * sizeof(float)),
                                          .dh = ebm_alloc_aligned(count * sizeof(float))};
    }
    if (batch == NULL || batch->h == NULL || batch->dh == NULL) {
        (void)ebm_trunk_batch_free(batch);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "feature_net", "no memory for features of %u images", max_rows);
    }
    plan->trunk_batch = batch;
    return EBM_OK;
}

struct ebm_trunk_batch *ebm_trunk_batch_free(struct ebm_trunk_batch *batch)
{
    if (batch != NULL)
        free(batch->h), free(batch->dh);
    free(batch);
    return NULL;
}

enum ebm_status ebm_trunk_prepare(struct ebm_plan *plan, uint32_t max_rows, struct ebm_error *reterr)
{
    enum ebm_status status = ebm_trunk_batch_new(plan, max_rows, reterr);
    if (status == EBM_OK)
        status = ebm_trunk_train_new(&plan->net.trunk, backend_of(plan), max_rows, &plan->trunk_train, reterr);
    if (status != EBM_OK || is_reference(plan))
        return status;
    atomic_store(&plan->still_is_stale, true);
    return ebm_trunk_still_new(&plan->net.trunk, max_rows, &plan->trunk_still, reterr);
}

/* Parts of a trunk's work as tasks of a device's threads: a thread's memory is its context's. */
struct parts {
    const struct ebm_threads *threads;
    ebm_trunk_part_fn *fn;
    void *user;
};

static void run_part(void *user, uint32_t i, struct ebm_ctx *ctx)
{
    const struct parts *parts = user;
    parts->fn(parts->user, i, ctx->trunk_space.p);
}

static void run_parts(void *who, ebm_trunk_part_fn *fn, void *user, uint32_t n)
{
    struct parts parts = {.threads = who, .fn = fn, .user = user};
    parts.threads->run(parts.threads->pool, run_part, &parts, n);
}

static enum ebm_status still_forward(struct ebm_plan *plan, const struct ebm_trunk_threads *parts, const float *h_x,
                                     uint32_t B, float *h)
{
    enum ebm_status status = EBM_OK;
    if (atomic_exchange(&plan->still_is_stale, false))
        status = ebm_trunk_still_load(plan->trunk_still, plan->params, parts);
    if (status != EBM_OK)
        atomic_store(&plan->still_is_stale, true);
    return status != EBM_OK ? status : ebm_trunk_still_forward(plan->trunk_still, plan->params, parts, h_x, B, h);
}

enum ebm_status ebm_trunk_forward(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x,
                                  uint32_t B, bool learns)
{
    const struct ebm_trunk_threads parts = {run_parts, (void *)(uintptr_t)threads, threads->n};
    struct ebm_trunk_batch *batch = plan->trunk_batch;
    enum ebm_status status;
    if (plan->trunk_train == NULL || B < 1 || B > batch->max_rows)
        return EBM_INVALID;
    atomic_store_explicit(&plan->trunk_is_stale, true, memory_order_relaxed); /* running statistics move */
    if (learns || plan->trunk_still == NULL)
        status = ebm_trunk_train_forward(plan->trunk_train, plan->params, &parts, h_x, B, batch->h);
    else
        status = still_forward(plan, &parts, h_x, B, batch->h);
    batch->B = status == EBM_OK ? B : 0;
    batch->learns = learns;
    return status;
}

enum ebm_status ebm_trunk_backward(struct ebm_plan *plan, const struct ebm_threads *threads)
{
    const struct ebm_trunk_threads parts = {run_parts, (void *)(uintptr_t)threads, threads->n};
    const struct ebm_trunk_batch *batch = plan->trunk_batch;
    if (plan->trunk_train == NULL || batch->B == 0 || !batch->learns)
        return EBM_INVALID;
    return ebm_trunk_train_backward(plan->trunk_train, &parts, batch->dh, plan->gradient);
}

/* Images by the running statistics, a tile a task. */
struct images {
    struct ebm_plan *plan;
    const float *h_x;
    uint32_t B;
    float *h_out;
    _Atomic int status; /* the first that failed */
};

static void run_images(void *user, uint32_t i, struct ebm_ctx *ctx)
{
    struct images *images = user;
    const struct ebm_net_desc *net = &images->plan->net;
    uint32_t first = i * EBM_TRUNK_TILE, left = images->B - first, n = left < EBM_TRUNK_TILE ? left : EBM_TRUNK_TILE;
    enum ebm_status status = ebm_trunk_run(images->plan->trunk, images->h_x + (size_t)first * net->X, n,
                                           images->h_out + (size_t)first * net->trunk.out, ctx->trunk_space.p);
    int none = EBM_OK;
    if (status != EBM_OK)
        (void)atomic_compare_exchange_strong(&images->status, &none, (int)status);
}

enum ebm_status ebm_trunk_run_batch(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x,
                                    uint32_t B, float *h_out)
{
    struct images images = {.plan = plan, .h_x = h_x, .B = B, .h_out = h_out};
    enum ebm_status status = plan->trunk != NULL ? EBM_OK : EBM_INVALID;
    if (status == EBM_OK && atomic_load(&plan->trunk_is_stale))
        status = load_again(plan);
    if (status == EBM_OK)
        threads->run(threads->pool, run_images, &images, (B + EBM_TRUNK_TILE - 1) / EBM_TRUNK_TILE);
    return status == EBM_OK ? (enum ebm_status)atomic_load(&images.status) : status;
}
