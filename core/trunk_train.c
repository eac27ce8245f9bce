/* trunk_train.c - memory for a batch in training, and its way forward.
 *
 *   forward     operation by operation:  z = conv(in) -> mean, variance of each channel over the batch
 *               -> a = relu(scale xhat + shift + add),  xhat = (z - mean) / sigma
 *
 * Kept for each operation: z, where there is a norm, and a. Gradients lie in a few slots in turn, all rows of a value
 * at once, those that only fill a chunk up with them. A value's gradient is written by the first operation that
 * has something to say of it, the last in order, and added to by the others. The gradient of weights is computed in
 * parts of the batch where weights are few beside places, else at once: beside the gradients of the chunks' inputs. */
#include "core/trunk_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/trunk_internal.h"

#define FEW_WEIGHTS 65536u /* of a convolution whose gradient is computed chunk by chunk */

/* ---- memory ---- */

static bool reserve(float **ret_floats, size_t count)
{
    *ret_floats = ebm_alloc_aligned(count * sizeof **ret_floats);
    return *ret_floats != NULL;
}

static enum ebm_status make_conv(struct ebm_trunk_train *t, const struct ebm_train_op *to, enum ebm_conv_pass pass,
                                 uint32_t n, struct ebm_conv **ret_conv)
{
    const struct ebm_image_op *op = &to->op;
    const struct ebm_conv_spec spec = {.from = op->from,
                                       .to = op->to,
                                       .kernel = op->kernel,
                                       .stride = op->stride,
                                       .padding = op->padding,
                                       .n = n,
                                       .pass = pass,
                                       .has_relu = pass == EBM_CONV_FORWARD && op->has_relu && !op->has_norm};
    enum ebm_status status = t->backend->make(&spec, ret_conv);
    if (status != EBM_OK)
        return status;
    size_t scratch = t->backend->scratch_count(*ret_conv);
    t->scratch = scratch > t->scratch ? scratch : t->scratch;
    return EBM_OK;
}

static enum ebm_status make_convs(struct ebm_trunk_train *t, struct ebm_train_op *op)
{
    size_t weights = (size_t)op->op.to.channels * op->op.from.channels * op->op.kernel * op->op.kernel;
    op->n_parts = weights <= FEW_WEIGHTS ? t->n_chunks : 1;
    enum ebm_status status = make_conv(t, op, EBM_CONV_FORWARD, EBM_TRUNK_CHUNK, &op->forward);
    if (status == EBM_OK)
        status = make_conv(t, op, EBM_CONV_WEIGHT, t->rows / op->n_parts, &op->weight);
    if (status == EBM_OK && op->needs_input)
        status = make_conv(t, op, EBM_CONV_INPUT, EBM_TRUNK_CHUNK, &op->input);
    if (status != EBM_OK)
        return status;
    op->gradient_count = ebm_round_up(t->backend->packed_count(op->weight), EBM_ALIGNMENT / sizeof(float));
    bool ok = reserve(&op->packed_forward, t->backend->packed_count(op->forward)) &&
              reserve(&op->packed_gradient, op->n_parts * op->gradient_count) &&
              (!op->needs_input || reserve(&op->packed_input, t->backend->packed_count(op->input)));
    return ok ? EBM_OK : EBM_NO_MEMORY;
}

static enum ebm_status make_op(struct ebm_trunk_train *t, struct ebm_train_op *op)
{
    size_t C = op->op.to.channels, count = t->rows * ebm_shape_count(&op->op.to);
    op->mean = calloc(4 * C, sizeof *op->mean);
    if (op->mean == NULL || !reserve(&op->a, count))
        return EBM_NO_MEMORY;
    op->inverse = op->mean + C;
    op->mean_ds = op->inverse + C;
    op->mean_ds_xhat = op->mean_ds + C;
    t->most_channels = C > t->most_channels ? C : t->most_channels;
    size_t chunk = EBM_TRUNK_CHUNK * ebm_shape_count(&op->op.from);
    t->temporary = chunk > t->temporary ? chunk : t->temporary;
    t->temporary = 4 * C > t->temporary ? 4 * C : t->temporary; /* numbers of a channel, of norms */
    if (op->op.kind != EBM_IMAGE_CONV)
        return EBM_OK;
    if (op->op.has_norm && !reserve(&op->z, count))
        return EBM_NO_MEMORY;
    return make_convs(t, op);
}

/* Memory of gradients that are never there at once is the same. */
static enum ebm_status make_gradients(struct ebm_trunk_train *t, const struct ebm_trunk *trunk)
{
    EBM_AUTO(ebm_freep) uint32_t *of = calloc((size_t)t->n_ops + 1, sizeof *of);
    EBM_AUTO(ebm_freep) size_t *counts = calloc((size_t)t->n_ops + 1, sizeof *counts);
    t->gradients = calloc((size_t)t->n_ops + 1, sizeof *t->gradients);
    if (of == NULL || counts == NULL || t->gradients == NULL)
        return EBM_NO_MEMORY;
    enum ebm_status status = ebm_trunk_lay_gradients(trunk, of, counts, &t->n_gradients);
    for (uint32_t i = 0; status == EBM_OK && i < t->n_gradients; i++)
        status = reserve(&t->gradients[i], t->rows * counts[i]) ? EBM_OK : EBM_NO_MEMORY;
    for (uint32_t i = 0; i < t->n_ops; i++)
        t->ops[i].da = t->gradients[of[i + 1]];
    return status;
}

static enum ebm_status make_all(struct ebm_trunk_train *t, const struct ebm_trunk *trunk)
{
    enum ebm_status status = make_gradients(t, trunk);
    for (uint32_t i = 0; i < t->n_ops && status == EBM_OK; i++)
        status = make_op(t, &t->ops[i]);
    if (status != EBM_OK)
        return status;
    t->scratch = ebm_round_up(t->scratch, EBM_ALIGNMENT / sizeof(float));
    t->sums = calloc(t->n_chunks * 2 * t->most_channels, sizeof *t->sums);
    return t->sums != NULL && reserve(&t->images, t->rows * ebm_shape_count(&t->in)) ? EBM_OK : EBM_NO_MEMORY;
}

enum ebm_status ebm_trunk_train_new(const struct ebm_trunk *trunk, const struct ebm_conv_backend *backend,
                                    uint32_t max_rows, struct ebm_trunk_train **ret_train, struct ebm_error *reterr)
{
    struct ebm_trunk_train *t = calloc(1, sizeof *t);
    struct ebm_train_op *ops = calloc(trunk->n_ops, sizeof *ops);
    if (t == NULL || ops == NULL) {
        free(t);
        free(ops);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "feature_net", "no memory for its training");
    }
    t->backend = backend;
    t->in = trunk->in;
    t->n_ops = trunk->n_ops;
    t->ops = ops;
    t->rows = (uint32_t)ebm_round_up(max_rows, EBM_TRUNK_CHUNK);
    t->n_chunks = t->rows / EBM_TRUNK_CHUNK;
    for (uint32_t i = 0; i < t->n_ops; i++) {
        ops[i].op = trunk->ops[i];
        ops[i].needs_input = trunk->ops[i].in > 0;
        ebm_trunk_first_words(trunk, i, &ops[i].is_first_in, &ops[i].is_first_add);
    }
    enum ebm_status status = make_all(t, trunk);
    if (status != EBM_OK) {
        (void)ebm_trunk_train_free(t);
        return ebm_error_set(reterr, status, "feature_net", "no training of %u images at once by %s: %s", max_rows,
                             backend->name, ebm_status_text(status));
    }
    *ret_train = t;
    return EBM_OK;
}

struct ebm_trunk_train *ebm_trunk_train_free(struct ebm_trunk_train *t)
{
    if (t == NULL)
        return NULL;
    for (uint32_t i = 0; i < t->n_ops; i++) {
        struct ebm_train_op *op = &t->ops[i];
        struct ebm_conv *convs[] = {op->forward, op->input, op->weight};
        float *arrays[] = {op->packed_forward, op->packed_input, op->packed_gradient, op->z, op->a};
        for (size_t j = 0; j < EBM_COUNT_OF(convs); j++)
            (void)t->backend->free(convs[j]);
        for (size_t j = 0; j < EBM_COUNT_OF(arrays); j++)
            free(arrays[j]);
        free(op->mean);
    }
    for (uint32_t i = 0; i < t->n_gradients; i++)
        free(t->gradients[i]);
    free(t->gradients);
    free(t->ops);
    free(t->images);
    free(t->sums);
    free(t);
    return NULL;
}

size_t ebm_trunk_train_scratch(const struct ebm_trunk_train *t)
{
    return t->scratch + t->temporary;
}

/* ---- forward ---- */

static void load_part(void *user, uint32_t i, float *scratch)
{
    struct ebm_trunk_train *t = user;
    struct ebm_train_op *op = &t->ops[i];
    (void)scratch;
    if (op->op.kind != EBM_IMAGE_CONV)
        return;
    ebm_trunk_fail_with(t, t->backend->pack(op->forward, op->packed_forward, t->params + op->op.weight));
    if (op->needs_input)
        ebm_trunk_fail_with(t, t->backend->pack(op->input, op->packed_input, t->params + op->op.weight));
}

static void images_part(void *user, uint32_t chunk, float *scratch)
{
    struct ebm_trunk_train *t = user;
    size_t X = ebm_shape_count(&t->in), first = (size_t)chunk * EBM_TRUNK_CHUNK, n = ebm_trunk_rows_of(t, chunk);
    (void)scratch;
    for (size_t i = first; i < first + n; i++)
        ebm_trunk_to_inner(t->images + i * X, t->x + i * X, &t->in);
    memset(t->images + (first + n) * X, 0, (EBM_TRUNK_CHUNK - n) * X * sizeof *t->images);
}

static void pass(const struct ebm_trunk_train *t, const struct ebm_train_op *op, size_t first)
{
    size_t count = EBM_TRUNK_CHUNK * ebm_shape_count(&op->op.to);
    const float *in = ebm_trunk_value_of(t, op->op.in, first);
    float *a = op->a + first * ebm_shape_count(&op->op.to);
    for (size_t i = 0; i < count; i++)
        a[i] = op->op.has_relu && in[i] < 0.0f ? 0.0f : in[i];
}

static enum ebm_status convolve(const struct ebm_trunk_train *t, const struct ebm_train_op *op, size_t first,
                                float *scratch)
{
    const struct ebm_image_op *o = &op->op;
    float *out = (op->z != NULL ? op->z : op->a) + first * ebm_shape_count(&o->to), *bias = scratch + t->scratch;
    if (o->bias != EBM_NO_TENSOR)
        memcpy(bias, t->params + o->bias, o->to.channels * sizeof *bias);
    else
        memset(bias, 0, o->to.channels * sizeof *bias);
    return t->backend->forward(op->forward, EBM_TRUNK_CHUNK, out, ebm_trunk_value_of(t, o->in, first),
                               op->packed_forward, bias, scratch);
}

/* The operation before its norm; and the norm's sums. */
static void compute_part(void *user, uint32_t chunk, float *scratch)
{
    struct ebm_trunk_train *t = user;
    const struct ebm_train_op *op = t->at;
    const struct ebm_image_op *o = &op->op;
    size_t first = (size_t)chunk * EBM_TRUNK_CHUNK, to = ebm_shape_count(&o->to);
    for (size_t n = first; n < first + EBM_TRUNK_CHUNK && o->kind == EBM_IMAGE_MAX_POOL; n++)
        ebm_trunk_kernels(t->backend)->max_pool(op->a + n * to, o, ebm_trunk_value_of(t, o->in, n), NULL);
    for (size_t n = first; n < first + EBM_TRUNK_CHUNK && o->kind == EBM_IMAGE_MEAN; n++)
        ebm_trunk_mean(o, op->a + n * to, ebm_trunk_value_of(t, o->in, n));
    if (o->kind == EBM_IMAGE_CONV)
        ebm_trunk_fail_with(t, convolve(t, op, first, scratch));
    if (o->kind == EBM_IMAGE_PASS && !o->has_norm)
        pass(t, op, first);
    double *sums = ebm_trunk_sums_of(t, chunk);
    if (!o->has_norm)
        return;
    memset(sums, 0, 2 * t->most_channels * sizeof *sums);
    ebm_trunk_kernels(t->backend)
        ->channel_sums(sums, sums + t->most_channels, ebm_trunk_z_of(t, op, first), ebm_trunk_places_of(t, op, chunk),
                       o->to.channels);
}

static float toward(float running, double now)
{
    return (float)((1.0 - EBM_NORM_MOMENTUM) * (double)running + EBM_NORM_MOMENTUM * now);
}

struct ebm_norm_now ebm_norm_settle(float *params, const struct ebm_image_op *op, size_t c, double sum, double squares,
                                    double n)
{
    double mean = sum / n, variance = fmax(squares / n - mean * mean, 0.0);
    params[op->mean + c] = toward(params[op->mean + c], mean);
    params[op->variance + c] = toward(params[op->variance + c], n > 1.0 ? variance * n / (n - 1.0) : variance);
    return (struct ebm_norm_now){mean, 1.0 / sqrt(variance + EBM_NORM_EPSILON)};
}

static void settle_norm(struct ebm_trunk_train *t)
{
    struct ebm_train_op *op = t->at;
    double n = (double)t->B * op->op.to.height * op->op.to.width;
    for (size_t c = 0; c < op->op.to.channels; c++) {
        struct ebm_norm_now now = ebm_norm_settle(t->params, &op->op, c, ebm_trunk_total(t, 0, c),
                                                  ebm_trunk_total(t, 1, c), n);
        op->mean[c] = now.mean;
        op->inverse[c] = now.inverse;
    }
}

static void norm_part(void *user, uint32_t chunk, float *scratch)
{
    struct ebm_trunk_train *t = user;
    const struct ebm_train_op *op = t->at;
    const struct ebm_image_op *o = &op->op;
    size_t first = (size_t)chunk * EBM_TRUNK_CHUNK, C = o->to.channels;
    size_t places = EBM_TRUNK_CHUNK * (size_t)o->to.height * o->to.width;
    const float *z = ebm_trunk_z_of(t, op, first),
                *add = o->add != EBM_IMAGE_NONE ? ebm_trunk_value_of(t, o->add, first) : NULL;
    float *a = op->a + first * ebm_shape_count(&o->to);
    float *factor = scratch + t->scratch, *offset = factor + C;
    for (size_t c = 0; c < C; c++) {
        double scale = (double)t->params[o->scale + c] * op->inverse[c];
        factor[c] = (float)scale;
        offset[c] = (float)((double)t->params[o->shift + c] - op->mean[c] * scale);
    }
    const struct ebm_norm norm = {factor, offset, o->has_relu};
    ebm_trunk_kernels(t->backend)->norm_places(a, z, add, &norm, places, (uint32_t)C);
}

static void give_part(void *user, uint32_t chunk, float *scratch)
{
    struct ebm_trunk_train *t = user;
    const struct ebm_shape *shape = &t->ops[t->n_ops - 1].op.to;
    size_t out = ebm_shape_count(shape), first = (size_t)chunk * EBM_TRUNK_CHUNK;
    (void)scratch;
    for (size_t i = first; i < first + ebm_trunk_rows_of(t, chunk); i++)
        ebm_trunk_to_outer(t->h + i * out, ebm_trunk_value_of(t, t->n_ops, i), shape);
}

enum ebm_status ebm_trunk_train_forward(struct ebm_trunk_train *t, float *params,
                                        const struct ebm_trunk_threads *threads, const float *x, uint32_t B, float *h)
{
    EBM_ASSERT(B >= 1 && B <= t->rows);
    t->params = params;
    t->x = x;
    t->B = B;
    t->h = h;
    atomic_store(&t->status, (int)EBM_OK);
    threads->run(threads->who, load_part, t, t->n_ops);
    threads->run(threads->who, images_part, t, t->n_chunks);
    for (uint32_t i = 0; i < t->n_ops && atomic_load(&t->status) == (int)EBM_OK; i++) {
        t->at = &t->ops[i];
        threads->run(threads->who, compute_part, t, t->n_chunks);
        if (!t->at->op.has_norm)
            continue;
        settle_norm(t);
        threads->run(threads->who, norm_part, t, t->n_chunks);
    }
    threads->run(threads->who, give_part, t, t->n_chunks);
    return (enum ebm_status)atomic_load(&t->status);
}
