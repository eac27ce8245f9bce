/* trunk.c - operations of a trunk, one after the other, over some images.
 *
 *   load   norm and bias of a convolution become its weights and its bias:
 *          scale (w * x + b - mean) / sigma + shift  =  (scale / sigma) w * x  +  shift + (b - mean) scale / sigma
 *   run    value 0 = the images, channels inner -> operation -> value 1 -> ... -> the last value, channels outer
 *
 * Values lie in a few slots: a slot is free again after the last operation that reads its value. What an operation adds
 * is already where its result goes, if nobody reads that value later; else it is copied there. */
#include "core/trunk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ready_op {
    struct ebm_image_op op;
    struct ebm_conv *conv;  /* of CONV */
    float *packed;          /* its weights */
    float *factor, *offset; /* (to.channels): of the norm, else 1 and the bias, or 0 */
    struct ebm_trunk_slots at;
};

struct ebm_trunk_plan {
    const struct ebm_conv_backend *backend;
    struct ebm_shape in;
    uint32_t n_ops, n_slots;
    uint32_t tile;        /* images at once, at most */
    size_t n_packed;      /* numbers of weights */
    struct ready_op *ops; /* (n_ops) */
    size_t slot, scratch; /* floats of one slot, of scratch memory */
    uint32_t image_slot;
};

/* ---- what training shares ---- */

void ebm_trunk_to_inner(float *to, const float *from, const struct ebm_shape *shape)
{
    size_t C = shape->channels, plane = (size_t)shape->height * shape->width;
    for (size_t c = 0; c < C; c++)
        for (size_t p = 0; p < plane; p++)
            to[p * C + c] = from[c * plane + p];
}

void ebm_trunk_to_outer(float *to, const float *from, const struct ebm_shape *shape)
{
    size_t C = shape->channels, plane = (size_t)shape->height * shape->width;
    for (size_t c = 0; c < C; c++)
        for (size_t p = 0; p < plane; p++)
            to[c * plane + p] = from[p * C + c];
}

void ebm_trunk_mean(const struct ebm_image_op *op, float *to, const float *from)
{
    size_t C = op->from.channels, plane = (size_t)op->from.height * op->from.width;
    for (size_t c = 0; c < C; c++) {
        double sum = 0.0;
        for (size_t p = 0; p < plane; p++)
            sum += (double)from[p * C + c];
        to[c] = (float)(sum / (double)plane);
    }
}

/* ---- making ---- */

static enum ebm_status make_slots(struct ebm_trunk_plan *plan, const struct ebm_trunk *trunk)
{
    EBM_AUTO(ebm_freep) struct ebm_trunk_slots *slots = calloc(trunk->n_ops, sizeof *slots);
    if (slots == NULL)
        return EBM_NO_MEMORY;
    enum ebm_status status = ebm_trunk_lay_slots(trunk, slots, &plan->image_slot, &plan->n_slots);
    if (status != EBM_OK)
        return status;
    for (uint32_t i = 0; i < trunk->n_ops; i++)
        plan->ops[i].at = slots[i];
    plan->slot = ebm_shape_count(&trunk->in);
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        size_t count = ebm_shape_count(&trunk->ops[i].to);
        plan->slot = count > plan->slot ? count : plan->slot;
    }
    size_t most = LIMIT_IMAGE_VALUES / plan->slot; /* large images: few at once */
    plan->tile = most >= plan->tile ? plan->tile : most > 0 ? (uint32_t)most : 1;
    plan->slot = ebm_round_up(plan->slot * plan->tile, EBM_ALIGNMENT / sizeof(float));
    return EBM_OK;
}

static enum ebm_status make_conv(struct ebm_trunk_plan *plan, struct ready_op *ready)
{
    const struct ebm_image_op *op = &ready->op;
    const struct ebm_conv_spec spec = {.from = op->from,
                                       .to = op->to,
                                       .kernel = op->kernel,
                                       .stride = op->stride,
                                       .padding = op->padding,
                                       .n = plan->tile,
                                       .adds = op->add != EBM_IMAGE_NONE,
                                       .has_relu = op->has_relu};
    enum ebm_status status = plan->backend->make(&spec, &ready->conv);
    if (status != EBM_OK)
        return status;
    size_t scratch = plan->backend->scratch_count(ready->conv);
    plan->scratch = scratch > plan->scratch ? scratch : plan->scratch;
    return EBM_OK;
}

static enum ebm_status make_op(struct ebm_trunk_plan *plan, struct ready_op *ready)
{
    const struct ebm_image_op *op = &ready->op;
    ready->factor = ebm_alloc_aligned(op->to.channels * sizeof(float));
    ready->offset = ebm_alloc_aligned(op->to.channels * sizeof(float));
    if (ready->factor == NULL || ready->offset == NULL)
        return EBM_NO_MEMORY;
    if (op->kind != EBM_IMAGE_CONV)
        return EBM_OK;
    enum ebm_status status = make_conv(plan, ready);
    if (status != EBM_OK)
        return status;
    size_t packed = plan->backend->packed_count(ready->conv);
    plan->n_packed += packed;
    if (plan->n_packed > LIMIT_IMAGE_PACKED)
        return EBM_TOO_LARGE;
    ready->packed = ebm_alloc_aligned(packed * sizeof(float));
    return ready->packed != NULL ? EBM_OK : EBM_NO_MEMORY;
}

static enum ebm_status make_plan(const struct ebm_trunk *trunk, const struct ebm_conv_backend *backend, uint32_t tile,
                                 struct ebm_trunk_plan **ret_plan)
{
    struct ebm_trunk_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return EBM_NO_MEMORY;
    *plan = (struct ebm_trunk_plan){.backend = backend, .in = trunk->in, .tile = tile};
    plan->ops = calloc(trunk->n_ops, sizeof *plan->ops);
    plan->n_ops = plan->ops != NULL ? trunk->n_ops : 0;
    for (uint32_t i = 0; i < plan->n_ops; i++)
        plan->ops[i].op = trunk->ops[i];
    enum ebm_status status = plan->ops != NULL ? make_slots(plan, trunk) : EBM_NO_MEMORY;
    for (uint32_t i = 0; i < plan->n_ops && status == EBM_OK; i++)
        status = make_op(plan, &plan->ops[i]);
    if (status != EBM_OK) {
        (void)ebm_trunk_plan_free(plan);
        return status;
    }
    *ret_plan = plan;
    return EBM_OK;
}

struct ebm_trunk_plan *ebm_trunk_plan_free(struct ebm_trunk_plan *plan)
{
    if (plan == NULL)
        return NULL;
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        (void)plan->backend->free(plan->ops[i].conv);
        free(plan->ops[i].packed);
        free(plan->ops[i].factor);
        free(plan->ops[i].offset);
    }
    free(plan->ops);
    free(plan);
    return NULL;
}

/* ---- parameters ---- */

static enum ebm_status load_weights(const struct ebm_trunk_plan *plan, struct ready_op *ready, const float *params)
{
    const struct ebm_image_op *op = &ready->op;
    size_t each = (size_t)op->from.channels * op->kernel * op->kernel;
    EBM_AUTO(ebm_freep) float *folded = ebm_alloc_aligned(op->to.channels * each * sizeof *folded);
    if (folded == NULL)
        return EBM_NO_MEMORY;
    for (size_t i = 0; i < op->to.channels * each; i++)
        folded[i] = params[op->weight + i] * ready->factor[i / each];
    return plan->backend->pack(ready->conv, ready->packed, folded);
}

enum ebm_status ebm_trunk_plan_load(struct ebm_trunk_plan *plan, const float *params)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; i < plan->n_ops && status == EBM_OK; i++) {
        ebm_trunk_fold(&plan->ops[i].op, params, plan->ops[i].factor, plan->ops[i].offset);
        if (plan->ops[i].op.kind == EBM_IMAGE_CONV)
            status = load_weights(plan, &plan->ops[i], params);
    }
    return status;
}

/* ---- running ---- */

uint32_t ebm_trunk_plan_tile(const struct ebm_trunk_plan *plan)
{
    return plan->tile;
}

size_t ebm_trunk_plan_space(const struct ebm_trunk_plan *plan)
{
    return plan->n_slots * plan->slot + plan->scratch;
}

/* norm, what is added (out holds it), relu: of what is no convolution. */
static void finish_pass(const struct ready_op *ready, float *out, const float *in, size_t n)
{
    size_t C = ready->op.to.channels;
    bool adds = ready->op.add != EBM_IMAGE_NONE;
    for (size_t i = 0; i < n; i++) {
        size_t c = i % C;
        float value = in[i] * ready->factor[c] + ready->offset[c] + (adds ? out[i] : 0.0f);
        out[i] = ready->op.has_relu && value < 0.0f ? 0.0f : value;
    }
}

static enum ebm_status run_op(const struct ebm_trunk_plan *plan, const struct ready_op *ready, uint32_t n, float *space)
{
    const struct ebm_image_op *op = &ready->op;
    size_t from = ebm_shape_count(&op->from), to = ebm_shape_count(&op->to);
    const float *in = space + ready->at.in * plan->slot;
    float *out = space + ready->at.out * plan->slot;
    if (ready->at.add != ready->at.out)
        memcpy(out, space + ready->at.add * plan->slot, n * to * sizeof *out);
    switch (op->kind) {
    case EBM_IMAGE_CONV:
        return plan->backend->forward(ready->conv, n, out, in, ready->packed, ready->offset,
                                      space + plan->n_slots * plan->slot);
    case EBM_IMAGE_MAX_POOL:
        for (size_t i = 0; i < n; i++)
            ebm_trunk_kernels(plan->backend)->max_pool(out + i * to, op, in + i * from, NULL);
        return EBM_OK;
    case EBM_IMAGE_MEAN:
        for (size_t i = 0; i < n; i++)
            ebm_trunk_mean(op, out + i * to, in + i * from);
        return EBM_OK;
    case EBM_IMAGE_PASS:
        finish_pass(ready, out, in, n * to);
        return EBM_OK;
    }
    return EBM_INTERNAL;
}

/* n images, at most a tile. Where a tile has to be full, zeros are the rest. */
static enum ebm_status run_tile(const struct ebm_trunk_plan *plan, const float *x, uint32_t n, float *h, float *space)
{
    size_t X = ebm_shape_count(&plan->in);
    float *images = space + plan->image_slot * plan->slot;
    const struct ready_op *last = &plan->ops[plan->n_ops - 1];
    size_t out = ebm_shape_count(&last->op.to);
    const uint32_t T = plan->backend->is_fixed ? plan->tile : n;
    for (uint32_t i = 0; i < n; i++)
        ebm_trunk_to_inner(images + i * X, x + i * X, &plan->in);
    memset(images + n * X, 0, (T - n) * X * sizeof *images);
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        enum ebm_status status = run_op(plan, &plan->ops[i], T, space);
        if (status != EBM_OK)
            return status;
    }
    for (uint32_t i = 0; i < n; i++)
        ebm_trunk_to_outer(h + i * out, space + last->at.out * plan->slot + i * out, &last->op.to);
    return EBM_OK;
}

enum ebm_status ebm_trunk_run(const struct ebm_trunk_plan *plan, const float *x, uint32_t B, float *h, float *space)
{
    size_t X = ebm_shape_count(&plan->in), out = ebm_shape_count(&plan->ops[plan->n_ops - 1].op.to);
    enum ebm_status status = EBM_OK;
    for (uint32_t first = 0, n; first < B && status == EBM_OK; first += n) {
        n = B - first < plan->tile ? B - first : plan->tile;
        status = run_tile(plan, x + first * X, n, h + first * out, space);
    }
    return status;
}

/* ---- a plan ---- */

enum ebm_status ebm_trunk_plan_new(const struct ebm_trunk *trunk, const float *params,
                                   const struct ebm_conv_backend *backend, uint32_t tile,
                                   struct ebm_trunk_plan **ret_plan, struct ebm_error *reterr)
{
    struct ebm_trunk_plan *plan = NULL;
    enum ebm_status status = make_plan(trunk, backend, tile, &plan);
    if (status == EBM_OK)
        status = ebm_trunk_plan_load(plan, params);
    if (status != EBM_OK) {
        (void)ebm_trunk_plan_free(plan);
        return ebm_error_set(reterr, status, "feature_net", "%s cannot make its convolutions ready: %s", backend->name,
                             status == EBM_TOO_LARGE ? "more than 2^30 numbers of weights as it wants them"
                                                     : ebm_status_text(status));
    }
    *ret_plan = plan;
    return EBM_OK;
}
