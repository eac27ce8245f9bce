/* trunk.c - operations of a trunk, one after the other, over a tile of images.
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

#include "core/rng.h"

/* A convolution over one image, and over a tile: weights are the same. */
enum form { ONE, TILE, FORMS };

struct ready_op {
    struct ebm_image_op op;
    struct ebm_conv *conv[FORMS]; /* of CONV; TILE NULL where images go one by one */
    float *packed;                /* its weights */
    float *factor, *offset;       /* (to.channels): of the norm, else 1 and the bias, or 0 */
    uint32_t in_slot, out_slot;   /* of values */
    uint32_t add_slot;            /* out_slot: what is added lies there already */
};

struct ebm_trunk_plan {
    const struct ebm_conv_backend *backend;
    struct ebm_shape in;
    uint32_t n_ops, n_slots;
    uint32_t tile;        /* images of the form TILE; 1: there is none */
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

/* What is no number wins. No branches: this runs along registers. */
static void take_larger(float *restrict to, const float *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (from[i] > to[i]) | isnan(from[i]) ? from[i] : to[i];
}

void ebm_trunk_max_pool(const struct ebm_image_op *op, float *to, const float *from)
{
    size_t C = op->to.channels;
    for (uint32_t y = 0; y < op->to.height; y++)
        for (uint32_t x = 0; x < op->to.width; x++, to += C) {
            for (size_t c = 0; c < C; c++)
                to[c] = -INFINITY;
            for (uint32_t ky = 0; ky < op->kernel; ky++)
                for (uint32_t kx = 0; kx < op->kernel; kx++) {
                    uint32_t row = y * op->stride + ky - op->padding, column = x * op->stride + kx - op->padding;
                    if (row < op->from.height && column < op->from.width) /* wraps when negative */
                        take_larger(to, from + ((size_t)row * op->from.width + column) * C, C);
                }
        }
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

/* The last operation that reads each value; the last value is read by who asked for it. */
static void find_last_reads(const struct ebm_trunk *trunk, uint32_t *ret_last)
{
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        ret_last[i] = i;
        ret_last[trunk->ops[i].in] = i;
        if (trunk->ops[i].add != EBM_IMAGE_NONE)
            ret_last[trunk->ops[i].add] = i;
    }
    ret_last[trunk->n_ops] = EBM_IMAGE_NONE;
}

static uint32_t take_slot(struct ebm_trunk_plan *plan, bool *taken)
{
    uint32_t slot = 0;
    while (taken[slot])
        slot++;
    taken[slot] = true;
    plan->n_slots = slot + 1 > plan->n_slots ? slot + 1 : plan->n_slots;
    return slot;
}

/* `slots` and `last` (n_ops + 1): of values. */
static void lay_slots(struct ebm_trunk_plan *plan, uint32_t *slots, const uint32_t *last, bool *taken)
{
    plan->image_slot = slots[0] = take_slot(plan, taken);
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        struct ready_op *ready = &plan->ops[i];
        uint32_t in = ready->op.in, add = ready->op.add;
        bool in_place = add != EBM_IMAGE_NONE && last[add] == i && add != in;
        ready->in_slot = slots[in];
        slots[i + 1] = ready->out_slot = in_place ? slots[add] : take_slot(plan, taken);
        ready->add_slot = add != EBM_IMAGE_NONE ? slots[add] : ready->out_slot;
        if (last[in] == i)
            taken[slots[in]] = false;
        if (add != EBM_IMAGE_NONE && last[add] == i && !in_place)
            taken[slots[add]] = false;
    }
}

static enum ebm_status make_slots(struct ebm_trunk_plan *plan, const struct ebm_trunk *trunk)
{
    size_t n = (size_t)trunk->n_ops + 1;
    EBM_AUTO(ebm_freep) uint32_t *slots = calloc(2 * n, sizeof *slots);
    EBM_AUTO(ebm_freep) bool *taken = calloc(n + 1, sizeof *taken);
    if (slots == NULL || taken == NULL)
        return EBM_NO_MEMORY;
    find_last_reads(trunk, slots + n);
    lay_slots(plan, slots, slots + n, taken);
    plan->slot = ebm_shape_count(&trunk->in);
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        size_t count = ebm_shape_count(&trunk->ops[i].to);
        plan->slot = count > plan->slot ? count : plan->slot;
    }
    plan->slot = ebm_round_up(plan->slot * plan->tile, EBM_ALIGNMENT / sizeof(float));
    return EBM_OK;
}

static enum ebm_status make_conv(struct ebm_trunk_plan *plan, struct ready_op *ready, enum form form)
{
    const struct ebm_image_op *op = &ready->op;
    const struct ebm_conv_spec spec = {.from = op->from,
                                       .to = op->to,
                                       .kernel = op->kernel,
                                       .stride = op->stride,
                                       .padding = op->padding,
                                       .n = form == ONE ? 1 : plan->tile,
                                       .adds = op->add != EBM_IMAGE_NONE,
                                       .has_relu = op->has_relu};
    enum ebm_status status = plan->backend->make(&spec, &ready->conv[form]);
    if (status != EBM_OK)
        return status;
    size_t scratch = plan->backend->scratch_count(ready->conv[form]);
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
    enum ebm_status status = make_conv(plan, ready, ONE);
    if (status == EBM_OK && plan->tile > 1)
        status = make_conv(plan, ready, TILE);
    if (status != EBM_OK)
        return status;
    ready->packed = ebm_alloc_aligned(plan->backend->packed_count(ready->conv[ONE]) * sizeof(float));
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
        (void)plan->backend->free(plan->ops[i].conv[ONE]);
        (void)plan->backend->free(plan->ops[i].conv[TILE]);
        free(plan->ops[i].packed);
        free(plan->ops[i].factor);
        free(plan->ops[i].offset);
    }
    free(plan->ops);
    free(plan);
    return NULL;
}

/* ---- parameters ---- */

static void load_norm(struct ready_op *ready, const float *params)
{
    const struct ebm_image_op *op = &ready->op;
    bool has_bias = op->kind == EBM_IMAGE_CONV && op->bias != EBM_NO_TENSOR;
    for (uint32_t c = 0; c < op->to.channels; c++) {
        double factor = 1.0, offset = has_bias ? (double)params[op->bias + c] : 0.0;
        if (op->has_norm) {
            factor = (double)params[op->scale + c] / sqrt((double)params[op->variance + c] + EBM_NORM_EPSILON);
            offset = (double)params[op->shift + c] + (offset - (double)params[op->mean + c]) * factor;
        }
        ready->factor[c] = (float)factor;
        ready->offset[c] = (float)offset;
    }
}

static enum ebm_status load_weights(const struct ebm_trunk_plan *plan, struct ready_op *ready, const float *params)
{
    const struct ebm_image_op *op = &ready->op;
    size_t each = (size_t)op->from.channels * op->kernel * op->kernel;
    EBM_AUTO(ebm_freep) float *folded = ebm_alloc_aligned(op->to.channels * each * sizeof *folded);
    if (folded == NULL)
        return EBM_NO_MEMORY;
    for (size_t i = 0; i < op->to.channels * each; i++)
        folded[i] = params[op->weight + i] * ready->factor[i / each];
    return plan->backend->pack(ready->conv[ONE], ready->packed, folded);
}

enum ebm_status ebm_trunk_plan_load(struct ebm_trunk_plan *plan, const float *params)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; i < plan->n_ops && status == EBM_OK; i++) {
        load_norm(&plan->ops[i], params);
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

static enum ebm_status run_op(const struct ebm_trunk_plan *plan, const struct ready_op *ready, enum form form,
                              float *space)
{
    const struct ebm_image_op *op = &ready->op;
    size_t from = ebm_shape_count(&op->from), to = ebm_shape_count(&op->to), T = form == ONE ? 1 : plan->tile;
    const float *in = space + ready->in_slot * plan->slot;
    float *out = space + ready->out_slot * plan->slot;
    if (ready->add_slot != ready->out_slot)
        memcpy(out, space + ready->add_slot * plan->slot, T * to * sizeof *out);
    switch (op->kind) {
    case EBM_IMAGE_CONV:
        return plan->backend->forward(ready->conv[form], out, in, ready->packed, ready->offset,
                                      space + plan->n_slots * plan->slot);
    case EBM_IMAGE_MAX_POOL:
        for (size_t n = 0; n < T; n++)
            ebm_trunk_max_pool(op, out + n * to, in + n * from);
        return EBM_OK;
    case EBM_IMAGE_MEAN:
        for (size_t n = 0; n < T; n++)
            ebm_trunk_mean(op, out + n * to, in + n * from);
        return EBM_OK;
    case EBM_IMAGE_PASS:
        finish_pass(ready, out, in, T * to);
        return EBM_OK;
    }
    return EBM_INTERNAL;
}

/* n images, at most those of the form. */
static enum ebm_status run_form(const struct ebm_trunk_plan *plan, enum form form, const float *x, uint32_t n, float *h,
                                float *space)
{
    size_t X = ebm_shape_count(&plan->in), T = form == ONE ? 1 : plan->tile;
    float *images = space + plan->image_slot * plan->slot;
    const struct ready_op *last = &plan->ops[plan->n_ops - 1];
    size_t out = ebm_shape_count(&last->op.to);
    for (uint32_t i = 0; i < n; i++)
        ebm_trunk_to_inner(images + i * X, x + i * X, &plan->in);
    memset(images + n * X, 0, (T - n) * X * sizeof *images);
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        enum ebm_status status = run_op(plan, &plan->ops[i], form, space);
        if (status != EBM_OK)
            return status;
    }
    for (uint32_t i = 0; i < n; i++)
        ebm_trunk_to_outer(h + i * out, space + last->out_slot * plan->slot + i * out, &last->op.to);
    return EBM_OK;
}

/* A tile takes as long as about half as many images by themselves. */
enum ebm_status ebm_trunk_run(const struct ebm_trunk_plan *plan, const float *x, uint32_t B, float *h, float *space)
{
    size_t X = ebm_shape_count(&plan->in), out = ebm_shape_count(&plan->ops[plan->n_ops - 1].op.to);
    enum ebm_status status = EBM_OK;
    for (uint32_t first = 0, n; first < B && status == EBM_OK; first += n) {
        enum form form = plan->tile > 1 && B - first > plan->tile / 2 ? TILE : ONE;
        n = form == ONE ? 1 : B - first < plan->tile ? B - first : plan->tile;
        status = run_form(plan, form, x + first * X, n, h + first * out, space);
    }
    return status;
}

/* ---- the self-test ---- */

static void make_probes(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t words[4];
        ebm_philox(1, (uint32_t)(i / 4), 0, EBM_STREAM_INIT, 0, words);
        x[i] = (float)ebm_normal(words[i % 4]);
    }
}

/* Do images get the same bytes in a tile, at one place and at the one opposite, as by themselves? */
static enum ebm_status try_tile(const struct ebm_trunk_plan *plan, bool *ret_is_same)
{
    size_t X = ebm_shape_count(&plan->in), out = ebm_shape_count(&plan->ops[plan->n_ops - 1].op.to), T = plan->tile;
    EBM_AUTO(ebm_freep) float *space = ebm_alloc_aligned(ebm_trunk_plan_space(plan) * sizeof *space);
    EBM_AUTO(ebm_freep) float *x = ebm_alloc_aligned(2 * T * X * sizeof *x);
    EBM_AUTO(ebm_freep) float *h = ebm_alloc_aligned(3 * T * out * sizeof *h);
    if (space == NULL || x == NULL || h == NULL)
        return EBM_NO_MEMORY;
    make_probes(x, T * X);
    for (size_t i = 0; i < T; i++)
        memcpy(x + (2 * T - 1 - i) * X, x + i * X, X * sizeof *x);
    enum ebm_status status = run_form(plan, TILE, x, (uint32_t)T, h, space);
    if (status == EBM_OK)
        status = run_form(plan, TILE, x + T * X, (uint32_t)T, h + T * out, space);
    *ret_is_same = true;
    for (size_t i = 0; i < T && status == EBM_OK; i++) {
        float *alone = h + (2 * T + i) * out;
        status = run_form(plan, ONE, x + i * X, 1, alone, space);
        *ret_is_same = *ret_is_same && memcmp(alone, h + i * out, out * sizeof *h) == 0 &&
                       memcmp(alone, h + (2 * T - 1 - i) * out, out * sizeof *h) == 0;
    }
    return status;
}

/* Do both forms of every convolution want the same of their weights? */
static bool packs_alike(const struct ebm_trunk_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        const struct ready_op *ready = &plan->ops[i];
        if (ready->op.kind == EBM_IMAGE_CONV &&
            plan->backend->packed_count(ready->conv[ONE]) != plan->backend->packed_count(ready->conv[TILE]))
            return false;
    }
    return true;
}

enum ebm_status ebm_trunk_plan_new(const struct ebm_trunk *trunk, const float *params,
                                   const struct ebm_conv_backend *backend, uint32_t tile,
                                   struct ebm_trunk_plan **ret_plan, struct ebm_error *reterr)
{
    struct ebm_trunk_plan *plan = NULL;
    bool is_same = true;
    enum ebm_status status = make_plan(trunk, backend, tile, &plan);
    if (status == EBM_OK)
        status = ebm_trunk_plan_load(plan, params);
    if (status == EBM_OK && tile > 1) {
        is_same = packs_alike(plan);
        status = is_same ? try_tile(plan, &is_same) : EBM_OK;
    }
    if (status != EBM_OK) {
        (void)ebm_trunk_plan_free(plan);
        return ebm_error_set(reterr, status, "feature_net", "%s refuses its convolutions: %s", backend->name,
                             ebm_status_text(status));
    }
    if (!is_same) {
        (void)ebm_trunk_plan_free(plan);
        return ebm_trunk_plan_new(trunk, params, backend, 1, ret_plan, reterr);
    }
    *ret_plan = plan;
    return EBM_OK;
}
