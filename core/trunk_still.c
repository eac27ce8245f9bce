/* trunk_still.c - a batch through a trunk that stands still.
 *
 *   images, channels inner -> operation by operation:
 *       convolution, pool, mean, or a copy; sums of its channels     a group of chunks a part, a thread's share
 *       -> mean and sigma of each channel -> norm, what is added, relu, in place         likewise
 *
 * A value lies in a slot; a slot is free again after the last operation that reads its value. Within a part an
 * operation computes as many images as stay in cache, and sums them while they are there. Sums are of chunks, in their
 * order, so that groups change no byte: our own convolutions give an image the same numbers in any company. */
#include "core/trunk_still.h"

#include <stdlib.h>
#include <string.h>

#include "core/trunk_internal.h"

#define CACHED_FLOATS (1u << 18) /* of a value that is computed and summed */

struct still_op {
    struct ebm_image_op op;
    struct ebm_conv *conv;
    float *packed;
    uint32_t in, add, out;  /* slots */
    float *bias;            /* (to.channels) of the convolution */
    float *factor, *offset; /* (to.channels) of the norm; 1 and 0 without one */
    bool is_late;           /* its norm and relu are left to the pool that alone reads it */
    struct still_op *late;  /* of such a pool: whose they are */
};

struct ebm_trunk_still {
    const struct ebm_conv_backend *backend;
    const struct ebm_kernels *kernels;
    struct ebm_shape in;
    uint32_t n_ops, n_slots, max_rows, most_channels;
    struct still_op *ops;
    float **slots;
    double *sums; /* (chunks, 2, most_channels) */
    size_t scratch;
    uint32_t image_slot;

    /* the work at hand */
    uint32_t B, n_chunks, n_groups;
    float *params;
    const float *weights; /* of load */
    const float *x;       /* (B, X) */
    float *h;             /* (B, out) */
    struct still_op *at;
    _Atomic int status; /* the first that failed */
};

/* ---- memory ---- */

/* It stays with the system until a batch comes this way. */
static float *untouched(size_t floats)
{
    return ebm_alloc_untouched(floats * sizeof(float));
}

static enum ebm_status lay_conv(struct ebm_trunk_still *t, struct still_op *still)
{
    const struct ebm_image_op *op = &still->op;
    const struct ebm_conv_spec spec = {.from = op->from,
                                       .to = op->to,
                                       .kernel = op->kernel,
                                       .stride = op->stride,
                                       .padding = op->padding,
                                       .n = t->max_rows};
    enum ebm_status status = t->backend->make(&spec, &still->conv);
    if (status != EBM_OK)
        return status;
    size_t scratch = t->backend->scratch_count(still->conv);
    t->scratch = scratch > t->scratch ? scratch : t->scratch;
    still->packed = untouched(t->backend->packed_count(still->conv));
    return still->packed != NULL ? EBM_OK : EBM_NO_MEMORY;
}

static enum ebm_status lay_op(struct ebm_trunk_still *t, struct still_op *still)
{
    const uint32_t C = still->op.to.channels;
    t->most_channels = C > t->most_channels ? C : t->most_channels;
    still->bias = calloc(3 * (size_t)C, sizeof *still->bias);
    if (still->bias == NULL)
        return EBM_NO_MEMORY;
    still->factor = still->bias + C;
    still->offset = still->factor + C;
    for (uint32_t c = 0; c < C; c++)
        still->factor[c] = 1.0f;
    return still->op.kind == EBM_IMAGE_CONV ? lay_conv(t, still) : EBM_OK;
}

/* Is the value of operation i read by a pool alone, which does nothing else? */
static bool has_pool_alone(const struct ebm_trunk *trunk, uint32_t i)
{
    const struct ebm_image_op *next = &trunk->ops[i + 1];
    if (i + 1 == trunk->n_ops || next->kind != EBM_IMAGE_MAX_POOL || next->in != i + 1 || next->has_norm ||
        next->has_relu || next->add != EBM_IMAGE_NONE)
        return false;
    for (uint32_t j = i + 2; j < trunk->n_ops; j++)
        if (trunk->ops[j].in == i + 1 || trunk->ops[j].add == i + 1)
            return false;
    return true;
}

static void find_late(struct ebm_trunk_still *t, const struct ebm_trunk *trunk)
{
    for (uint32_t i = 0; i < t->n_ops; i++)
        if (trunk->ops[i].add == EBM_IMAGE_NONE && has_pool_alone(trunk, i)) {
            t->ops[i].is_late = true;
            t->ops[i + 1].late = &t->ops[i];
        }
}

/* A slot whose value is not read by operation `now` or later ones; it is taken until `last`. */
static uint32_t take_slot(struct ebm_trunk_still *t, uint32_t *until, uint32_t now, uint32_t last)
{
    uint32_t slot = 0;
    while (slot < t->n_slots && until[slot] >= now)
        slot++;
    t->n_slots = slot < t->n_slots ? t->n_slots : slot + 1;
    until[slot] = last;
    return slot;
}

static enum ebm_status lay_slots(struct ebm_trunk_still *t, const struct ebm_trunk *trunk)
{
    size_t n = (size_t)trunk->n_ops + 1, largest = ebm_shape_count(&t->in);
    EBM_AUTO(ebm_freep) uint32_t *space = calloc(3 * n, sizeof *space);
    if (space == NULL)
        return EBM_NO_MEMORY;
    uint32_t *last = space, *until = space + n, *slot_of = space + 2 * n;
    ebm_trunk_last_reads(trunk, last);
    t->image_slot = slot_of[0] = take_slot(t, until, 0, last[0]);
    for (uint32_t i = 0; i < t->n_ops; i++) {
        struct still_op *still = &t->ops[i];
        size_t count = ebm_shape_count(&still->op.to);
        largest = count > largest ? count : largest;
        still->in = slot_of[still->op.in];
        still->out = slot_of[i + 1] = take_slot(t, until, i, last[i + 1]);
        still->add = still->op.add != EBM_IMAGE_NONE ? slot_of[still->op.add] : still->out;
    }
    t->slots = calloc(t->n_slots, sizeof *t->slots);
    for (uint32_t i = 0; t->slots != NULL && i < t->n_slots; i++) {
        t->slots[i] = untouched(largest * t->max_rows);
        if (t->slots[i] == NULL)
            return EBM_NO_MEMORY;
    }
    return t->slots != NULL ? EBM_OK : EBM_NO_MEMORY;
}

static enum ebm_status lay_all(struct ebm_trunk_still *t, const struct ebm_trunk *trunk)
{
    find_late(t, trunk);
    enum ebm_status status = lay_slots(t, trunk);
    for (uint32_t i = 0; status == EBM_OK && i < t->n_ops; i++)
        status = lay_op(t, &t->ops[i]);
    if (status != EBM_OK)
        return status;
    size_t chunks = (t->max_rows + EBM_TRUNK_CHUNK - 1) / EBM_TRUNK_CHUNK;
    t->sums = calloc(chunks * 2 * t->most_channels, sizeof *t->sums);
    return t->sums != NULL ? EBM_OK : EBM_NO_MEMORY;
}

enum ebm_status ebm_trunk_still_new(const struct ebm_trunk *trunk, uint32_t max_rows,
                                    struct ebm_trunk_still **ret_still, struct ebm_error *reterr)
{
    struct ebm_trunk_still *t = calloc(1, sizeof *t);
    struct still_op *ops = calloc(trunk->n_ops, sizeof *ops);
    if (t == NULL || ops == NULL) {
        free(t);
        free(ops);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "feature_net", "no memory for its training");
    }
    *t = (struct ebm_trunk_still){.backend = ebm_conv_own(),
                                  .kernels = ebm_kernels_cpu(),
                                  .in = trunk->in,
                                  .n_ops = trunk->n_ops,
                                  .ops = ops,
                                  .max_rows = max_rows};
    for (uint32_t i = 0; i < t->n_ops; i++)
        ops[i].op = trunk->ops[i];
    enum ebm_status status = lay_all(t, trunk);
    if (status != EBM_OK) {
        (void)ebm_trunk_still_free(t);
        return ebm_error_set(reterr, status, "feature_net", "no memory for batches of %u images", max_rows);
    }
    *ret_still = t;
    return EBM_OK;
}

struct ebm_trunk_still *ebm_trunk_still_free(struct ebm_trunk_still *t)
{
    if (t == NULL)
        return NULL;
    for (uint32_t i = 0; i < t->n_ops; i++) {
        (void)t->backend->free(t->ops[i].conv);
        free(t->ops[i].packed);
        free(t->ops[i].bias);
    }
    for (uint32_t i = 0; t->slots != NULL && i < t->n_slots; i++)
        free(t->slots[i]);
    free(t->ops);
    free(t->slots);
    free(t->sums);
    free(t);
    return NULL;
}

size_t ebm_trunk_still_scratch(const struct ebm_trunk_still *t)
{
    return t->scratch;
}

/* ---- weights ---- */

static void fail_with(struct ebm_trunk_still *t, enum ebm_status status)
{
    int none = EBM_OK;
    if (status != EBM_OK)
        (void)atomic_compare_exchange_strong(&t->status, &none, (int)status);
}

static void load_part(void *user, uint32_t i, float *scratch)
{
    struct ebm_trunk_still *t = user;
    struct still_op *still = &t->ops[i];
    (void)scratch;
    if (still->conv == NULL)
        return;
    if (still->op.bias != EBM_NO_TENSOR)
        memcpy(still->bias, t->weights + still->op.bias, still->op.to.channels * sizeof *still->bias);
    fail_with(t, t->backend->pack(still->conv, still->packed, t->weights + still->op.weight));
}

enum ebm_status ebm_trunk_still_load(struct ebm_trunk_still *t, const float *params,
                                     const struct ebm_trunk_threads *threads)
{
    t->weights = params;
    atomic_store(&t->status, (int)EBM_OK);
    threads->run(threads->who, load_part, t, t->n_ops);
    return (enum ebm_status)atomic_load(&t->status);
}

/* ---- groups ---- */

static float *value_of(const struct ebm_trunk_still *t, uint32_t slot, const struct ebm_shape *shape, size_t first)
{
    return t->slots[slot] + first * ebm_shape_count(shape);
}

/* Images of a group: whole chunks of the batch, but for the last one. */
struct images {
    uint32_t first, end;
};

static struct images images_of(const struct ebm_trunk_still *t, uint32_t group)
{
    uint32_t first = t->n_chunks * group / t->n_groups, end = t->n_chunks * (group + 1) / t->n_groups;
    struct images images = {first * EBM_TRUNK_CHUNK, end * EBM_TRUNK_CHUNK};
    images.end = images.end < t->B ? images.end : t->B;
    return images;
}

static void images_part(void *user, uint32_t group, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct images images = images_of(t, group);
    size_t X = ebm_shape_count(&t->in);
    (void)scratch;
    for (size_t i = images.first; i < images.end; i++)
        ebm_trunk_to_inner(value_of(t, t->image_slot, &t->in, i), t->x + i * X, &t->in);
}

static void give_part(void *user, uint32_t group, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct images images = images_of(t, group);
    const struct still_op *last = &t->ops[t->n_ops - 1];
    size_t out = ebm_shape_count(&last->op.to);
    (void)scratch;
    for (size_t i = images.first; i < images.end; i++)
        ebm_trunk_to_outer(t->h + i * out, value_of(t, last->out, &last->op.to, i), &last->op.to);
}

/* ---- operations ---- */

static void compute(struct ebm_trunk_still *t, const struct still_op *at, uint32_t first, uint32_t n, float *scratch)
{
    const struct ebm_image_op *op = &at->op;
    size_t from = ebm_shape_count(&op->from), to = ebm_shape_count(&op->to);
    const float *in = value_of(t, at->in, &op->from, first);
    float *out = value_of(t, at->out, &op->to, first);
    switch (op->kind) {
    case EBM_IMAGE_CONV:
        fail_with(t, t->backend->forward(at->conv, n, out, in, at->packed, at->bias, scratch));
        break;
    case EBM_IMAGE_MAX_POOL:
        for (uint32_t i = 0; i < n; i++)
            t->kernels->max_pool(out + i * to, op, in + i * from, at->late != NULL ? at->late->factor : NULL);
        break;
    case EBM_IMAGE_MEAN:
        for (uint32_t i = 0; i < n; i++)
            ebm_trunk_mean(op, out + i * to, in + i * from);
        break;
    case EBM_IMAGE_PASS:
        memcpy(out, in, n * to * sizeof *out);
        break;
    }
}

/* Adds images first .. end - 1 to the sums of their chunks. */
static void sum_images(const struct ebm_trunk_still *t, const struct still_op *at, uint32_t first, uint32_t end)
{
    const struct ebm_shape *shape = &at->op.to;
    for (uint32_t next; first < end; first = next) {
        uint32_t chunk = first / EBM_TRUNK_CHUNK;
        next = (chunk + 1) * EBM_TRUNK_CHUNK < end ? (chunk + 1) * EBM_TRUNK_CHUNK : end;
        double *sums = t->sums + chunk * 2 * t->most_channels;
        t->kernels->channel_sums(sums, sums + t->most_channels, value_of(t, at->out, shape, first),
                                 (size_t)(next - first) * shape->height * shape->width, shape->channels);
    }
}

static void compute_part(void *user, uint32_t group, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct still_op *at = t->at;
    const struct images images = images_of(t, group);
    size_t to = ebm_shape_count(&at->op.to);
    uint32_t most = to < CACHED_FLOATS ? (uint32_t)(CACHED_FLOATS / to) : 1;
    for (uint32_t first = images.first, n; first < images.end; first += n) {
        n = images.end - first < most ? images.end - first : most;
        compute(t, at, first, n, scratch);
        if (at->op.has_norm)
            sum_images(t, at, first, first + n);
    }
}

/* The norm of each channel over the batch. The convolution has added its bias. */
static void settle_norm(struct ebm_trunk_still *t)
{
    const struct ebm_image_op *op = &t->at->op;
    double n = (double)t->B * op->to.height * op->to.width;
    for (uint32_t c = 0; c < op->to.channels; c++) {
        double sum = 0.0, squares = 0.0;
        for (uint32_t chunk = 0; chunk < t->n_chunks; chunk++) {
            const double *sums = t->sums + (size_t)chunk * 2 * t->most_channels;
            sum += sums[c];
            squares += sums[t->most_channels + c];
        }
        struct ebm_norm_now now = ebm_norm_settle(t->params, op, c, sum, squares, n);
        double factor = (double)t->params[op->scale + c] * now.inverse;
        t->at->factor[c] = (float)factor;
        t->at->offset[c] = (float)((double)t->params[op->shift + c] - now.mean * factor);
    }
}

static void finish_part(void *user, uint32_t group, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct still_op *at = t->at;
    const struct ebm_shape *shape = &at->op.to;
    const struct images images = images_of(t, group);
    const struct still_op *whose = at->late != NULL ? at->late : at;
    const struct ebm_norm norm = {whose->factor, whose->offset, whose->op.has_relu};
    float *a = value_of(t, at->out, shape, images.first);
    const float *add = at->op.add != EBM_IMAGE_NONE ? value_of(t, at->add, shape, images.first) : NULL;
    (void)scratch;
    t->kernels->norm_places(a, a, add, &norm, (size_t)(images.end - images.first) * shape->height * shape->width,
                            shape->channels);
}

static bool needs_finish(const struct still_op *at)
{
    const struct ebm_image_op *op = &at->op;
    return at->late != NULL || (!at->is_late && (op->has_norm || op->has_relu || op->add != EBM_IMAGE_NONE));
}

enum ebm_status ebm_trunk_still_forward(struct ebm_trunk_still *t, float *params,
                                        const struct ebm_trunk_threads *threads, const float *x, uint32_t B, float *h)
{
    EBM_ASSERT(B >= 1 && B <= t->max_rows);
    t->params = params;
    t->x = x;
    t->B = B;
    t->h = h;
    t->n_chunks = (B + EBM_TRUNK_CHUNK - 1) / EBM_TRUNK_CHUNK;
    t->n_groups = threads->n < t->n_chunks ? threads->n : t->n_chunks;
    atomic_store(&t->status, (int)EBM_OK);
    threads->run(threads->who, images_part, t, t->n_groups);
    for (uint32_t i = 0; i < t->n_ops; i++) {
        t->at = &t->ops[i];
        memset(t->sums, 0, (size_t)t->n_chunks * 2 * t->most_channels * sizeof *t->sums);
        threads->run(threads->who, compute_part, t, t->n_groups);
        if (t->at->op.has_norm)
            settle_norm(t);
        if (needs_finish(t->at))
            threads->run(threads->who, finish_part, t, t->n_groups);
    }
    threads->run(threads->who, give_part, t, t->n_groups);
    return (enum ebm_status)atomic_load(&t->status);
}
