/* trunk_backward.c - gradients of a batch, from the last operation to the first:
 *
 *   ds = da [a > 0]                   which is also the gradient of what was added
 *   dscale = sum ds xhat, dshift = sum ds, over the batch
 *   dz = scale / sigma (ds - mean of ds - xhat mean of ds xhat)                      where ds was
 *   din (+)= the convolution's, chunk by chunk; dweight = the convolution's
 *
 * A bias before a norm has no gradient: the norm takes away whatever it adds. */
#include <math.h>
#include <string.h>

#include "core/trunk_internal.h"

static void take_part(void *user, uint32_t chunk, float *scratch)
{
    struct ebm_trunk_train *t = user;
    const struct ebm_shape *shape = &t->ops[t->n_ops - 1].op.to;
    size_t out = ebm_shape_count(shape), first = (size_t)chunk * EBM_TRUNK_CHUNK, n = ebm_trunk_rows_of(t, chunk);
    float *da = ebm_trunk_gradient_of(t, t->n_ops, first);
    (void)scratch;
    for (size_t i = 0; i < n; i++)
        ebm_trunk_to_inner(da + i * out, t->dh + (first + i) * out, shape);
    memset(da + n * out, 0, (EBM_TRUNK_CHUNK - n) * out * sizeof *da);
}

static void put_or_add(float *restrict to, const float *restrict from, size_t n, bool is_first)
{
    if (is_first)
        memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++)
            to[i] += from[i];
}

/* Sums of ds and ds xhat over places, a channel. */
static void sum_gradients(const struct ebm_train_op *op, double *sums, double *products, const float *ds,
                          const float *z, size_t places)
{
    size_t C = op->op.to.channels;
    for (size_t c = 0; c < C; c++)
        sums[c] = products[c] = 0.0;
    for (size_t p = 0; p < places; p++, ds += C, z += C)
        for (size_t c = 0; c < C; c++) {
            sums[c] += (double)ds[c];
            products[c] += (double)ds[c] * ((double)z[c] - op->mean[c]);
        }
    for (size_t c = 0; c < C; c++)
        products[c] *= op->inverse[c];
}

static void sum_bias(double *sums, const float *ds, size_t places, size_t C)
{
    for (size_t c = 0; c < C; c++)
        sums[c] = 0.0;
    for (size_t p = 0; p < places; p++, ds += C)
        for (size_t c = 0; c < C; c++)
            sums[c] += (double)ds[c];
}

/* ds where da was, into what was added, and its sums. */
static void relu_part(void *user, uint32_t chunk, float *scratch)
{
    struct ebm_trunk_train *t = user;
    const struct ebm_train_op *op = t->at;
    const struct ebm_image_op *o = &op->op;
    size_t first = (size_t)chunk * EBM_TRUNK_CHUNK, to = ebm_shape_count(&o->to), count = EBM_TRUNK_CHUNK * to;
    float *ds = op->da + first * to;
    const float *a = op->a + first * to;
    (void)scratch;
    for (size_t i = 0; i < count && o->has_relu; i++)
        ds[i] = a[i] > 0.0f ? ds[i] : 0.0f;
    if (o->add != EBM_IMAGE_NONE && o->add > 0)
        put_or_add(ebm_trunk_gradient_of(t, o->add, first), ds, count, op->is_first_add);
    double *sums = ebm_trunk_sums_of(t, chunk);
    size_t places = ebm_trunk_places_of(t, op, chunk);
    if (o->has_norm)
        sum_gradients(op, sums, sums + t->most_channels, ds, ebm_trunk_z_of(t, op, first), places);
    else if (o->bias != EBM_NO_TENSOR)
        sum_bias(sums, ds, places, o->to.channels);
}

static void settle_gradients(struct ebm_trunk_train *t)
{
    struct ebm_train_op *op = t->at;
    const struct ebm_image_op *o = &op->op;
    double n = (double)t->B * o->to.height * o->to.width;
    for (size_t c = 0; c < o->to.channels; c++) {
        double sum = o->has_norm || o->bias != EBM_NO_TENSOR ? ebm_trunk_total(t, 0, c) : 0.0;
        if (o->bias != EBM_NO_TENSOR)
            t->gradient[o->bias + c] = o->has_norm ? 0.0f : (float)sum;
        if (!o->has_norm)
            continue;
        double product = ebm_trunk_total(t, 1, c);
        t->gradient[o->scale + c] = (float)product;
        t->gradient[o->shift + c] = (float)sum;
        op->mean_ds[c] = sum / n;
        op->mean_ds_xhat[c] = product / n;
    }
}

/* dz where ds was: dz = ds k - z m - b, all three a channel's. */
static void norm_part(void *user, uint32_t chunk, float *scratch)
{
    struct ebm_trunk_train *t = user;
    const struct ebm_train_op *op = t->at;
    const struct ebm_image_op *o = &op->op;
    size_t first = (size_t)chunk * EBM_TRUNK_CHUNK, C = o->to.channels, to = ebm_shape_count(&o->to);
    size_t places = ebm_trunk_places_of(t, op, chunk);
    float *ds = op->da + first * to, *k = scratch + t->scratch, *m = k + C, *b = m + C;
    const float *z = ebm_trunk_z_of(t, op, first);
    for (size_t c = 0; c < C; c++) {
        double scale = (double)t->params[o->scale + c] * op->inverse[c];
        double slope = scale * op->mean_ds_xhat[c] * op->inverse[c];
        k[c] = (float)scale;
        m[c] = (float)slope;
        b[c] = (float)(scale * op->mean_ds[c] - slope * op->mean[c]);
    }
    for (size_t p = 0; p < places; p++, ds += C, z += C)
        for (size_t c = 0; c < C; c++)
            ds[c] = ds[c] * k[c] - (z[c] * m[c] + b[c]);
}

/* The gradient of the first largest number of each window goes to it. */
static void pool_backward(const struct ebm_image_op *op, float *din, const float *dout, const float *in,
                          const float *out)
{
    size_t C = op->to.channels;
    for (uint32_t y = 0; y < op->to.height; y++)
        for (uint32_t x = 0; x < op->to.width; x++, dout += C, out += C)
            for (size_t c = 0; c < C; c++) {
                bool is_given = false;
                for (uint32_t k = 0; k < op->kernel * op->kernel && !is_given; k++) {
                    uint32_t row = y * op->stride + k / op->kernel - op->padding;
                    uint32_t column = x * op->stride + k % op->kernel - op->padding;
                    size_t at = ((size_t)row * op->from.width + column) * C + c;
                    is_given = row < op->from.height && column < op->from.width && in[at] == out[c];
                    if (is_given)
                        din[at] += dout[c];
                }
            }
}

static void mean_backward(const struct ebm_image_op *op, float *din, const float *dout)
{
    size_t C = op->from.channels, plane = (size_t)op->from.height * op->from.width;
    for (size_t p = 0; p < plane; p++)
        for (size_t c = 0; c < C; c++)
            din[p * C + c] += dout[c] / (float)plane;
}

/* The gradient of the operation's input, of one chunk. */
static void input_of_chunk(struct ebm_trunk_train *t, uint32_t chunk, float *scratch)
{
    const struct ebm_train_op *op = t->at;
    const struct ebm_image_op *o = &op->op;
    size_t first = (size_t)chunk * EBM_TRUNK_CHUNK, from = ebm_shape_count(&o->from), to = ebm_shape_count(&o->to);
    float *din = ebm_trunk_gradient_of(t, o->in, first), *temporary = scratch + t->scratch;
    const float *dout = op->da + first * to, *in = ebm_trunk_value_of(t, o->in, first), *out = op->a + first * to;
    if (o->kind == EBM_IMAGE_CONV) {
        float *at = op->is_first_in ? din : temporary;
        ebm_trunk_fail_with(t, t->backend->input(op->input, at, dout, op->packed_input, scratch));
        if (!op->is_first_in)
            put_or_add(din, temporary, EBM_TRUNK_CHUNK * from, false);
        return;
    }
    if (o->kind == EBM_IMAGE_PASS) {
        put_or_add(din, dout, EBM_TRUNK_CHUNK * from, op->is_first_in);
        return;
    }
    if (op->is_first_in)
        memset(din, 0, EBM_TRUNK_CHUNK * from * sizeof *din);
    for (size_t n = 0; n < EBM_TRUNK_CHUNK; n++) {
        if (o->kind == EBM_IMAGE_MEAN)
            mean_backward(o, din + n * from, dout + n * to);
        else
            pool_backward(o, din + n * from, dout + n * to, in + n * from, out + n * to);
    }
}

/* Parts of the weights' gradient come first: they take longest. */
static void operation_part(void *user, uint32_t part, float *scratch)
{
    struct ebm_trunk_train *t = user;
    struct ebm_train_op *op = t->at;
    if (part >= op->n_parts) {
        input_of_chunk(t, part - op->n_parts, scratch);
        return;
    }
    size_t first = (size_t)part * (t->rows / op->n_parts);
    ebm_trunk_fail_with(t, t->backend->weight(op->weight, op->packed_gradient + part * op->gradient_count,
                                              ebm_trunk_value_of(t, op->op.in, first),
                                              op->da + first * ebm_shape_count(&op->op.to), scratch));
}

static void weights_part(void *user, uint32_t i, float *scratch)
{
    struct ebm_trunk_train *t = user;
    struct ebm_train_op *op = &t->ops[i];
    (void)scratch;
    if (op->op.kind != EBM_IMAGE_CONV)
        return;
    for (uint32_t part = 1; part < op->n_parts; part++)
        put_or_add(op->packed_gradient, op->packed_gradient + part * op->gradient_count, op->gradient_count, false);
    ebm_trunk_fail_with(t, t->backend->unpack(op->weight, t->gradient + op->op.weight, op->packed_gradient));
}

enum ebm_status ebm_trunk_train_backward(struct ebm_trunk_train *t, const struct ebm_trunk_threads *threads,
                                         const float *dh, float *gradient)
{
    t->dh = dh;
    t->gradient = gradient;
    atomic_store(&t->status, (int)EBM_OK);
    threads->run(threads->who, take_part, t, t->n_chunks);
    for (uint32_t i = t->n_ops; i-- > 0 && atomic_load(&t->status) == (int)EBM_OK;) {
        const struct ebm_image_op *op = &t->ops[i].op;
        t->at = &t->ops[i];
        threads->run(threads->who, relu_part, t, t->n_chunks);
        settle_gradients(t);
        if (op->has_norm)
            threads->run(threads->who, norm_part, t, t->n_chunks);
        threads->run(threads->who, operation_part, t, t->at->n_parts + (t->at->needs_input ? t->n_chunks : 0));
    }
    threads->run(threads->who, weights_part, t, t->n_ops);
    return (enum ebm_status)atomic_load(&t->status);
}
