/* config_trunk.c - layers of an image -> operations of a trunk, and their tensors.
 *
 * conv2d, batch_norm2d and relu that follow each other are one operation. A resnet (He et al. 2015, basic blocks):
 *
 *   conv1 7x7/2, bn1, relu, max pool 3x3/2, layer1 .. layer4 of blocks, mean over the image
 *   block:   in --> downsample (1x1, norm), where the shape changes --+
 *            in --> conv1, bn1, relu --> conv2, bn2 ------------------+--> relu
 *
 * whose names are torchvision's. Guarantees: shapes connect, every value is within limits.h. Knows no JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "core/limits.h"
#include "models/config_internal.h"

#define RESNET_OPS 40u /* most operations of one */

/* Prefixes of tensor names of one operation. */
struct ebm_image_names {
    char conv[56], norm[56];
};

struct maker {
    struct ebm_config *config;
    uint32_t n_ops, value; /* value: the last one, which the next operation reads */
    struct ebm_shape shape;
    uint32_t layer;
    bool may_fill;
    struct ebm_error *reterr;
};

static enum ebm_status refuse(const struct maker *m, const char *key, uint32_t got, const char *what)
{
    char where[64];
    (void)snprintf(where, sizeof where, "feature_net[%u].%s", m->layer, key);
    return ebm_error_set(m->reterr, EBM_INVALID, where, "%u, but %s", got, what);
}

static enum ebm_status check_channels(const struct maker *m, uint32_t *in)
{
    char what[64];
    if (*in == 0 && m->may_fill)
        *in = m->shape.channels;
    (void)snprintf(what, sizeof what, "%u channels reach this layer", m->shape.channels);
    return *in == m->shape.channels ? EBM_OK : refuse(m, "in", *in, what);
}

/* The next operation, which reads `in` of the shape `from`. Borrow: of the config. */
static struct ebm_image_op *next_op(struct maker *m, enum ebm_image_kind kind, uint32_t in,
                                    const struct ebm_shape *from)
{
    struct ebm_image_op *op = &m->config->image_ops[m->n_ops++];
    *op = (struct ebm_image_op){.kind = kind, .in = in, .add = EBM_IMAGE_NONE, .from = *from, .to = *from};
    op->weight = op->bias = op->scale = op->shift = op->mean = op->variance = EBM_NO_TENSOR;
    m->value = m->n_ops;
    m->shape = op->to;
    return op;
}

static enum ebm_status set_window(struct maker *m, struct ebm_image_op *op, uint32_t kernel, uint32_t stride,
                                  uint32_t padding, uint32_t channels)
{
    char where[32];
    uint32_t height = op->from.height + 2 * padding, width = op->from.width + 2 * padding;
    (void)snprintf(where, sizeof where, "feature_net[%u]", m->layer);
    if (height < kernel || width < kernel)
        return ebm_error_set(m->reterr, EBM_INVALID, where, "a kernel of %u on an image of %u x %u with its padding",
                             kernel, height, width);
    size_t padded = (size_t)height * width * op->from.channels;
    if (padded > LIMIT_IMAGE_VALUES)
        return ebm_error_set(m->reterr, EBM_TOO_LARGE, where,
                             "reads an image of %zu numbers with its padding, the limit is %u", padded,
                             LIMIT_IMAGE_VALUES);
    op->kernel = kernel;
    op->stride = stride;
    op->padding = padding;
    op->to = m->shape = (struct ebm_shape){channels, (height - kernel) / stride + 1, (width - kernel) / stride + 1};
    if (ebm_shape_count(&op->to) > LIMIT_IMAGE_VALUES)
        return ebm_error_set(m->reterr, EBM_TOO_LARGE, where, "gives %zu numbers an image, the limit is %u",
                             ebm_shape_count(&op->to), LIMIT_IMAGE_VALUES);
    size_t read = (size_t)op->to.height * op->to.width * op->from.channels * kernel * kernel;
    if (op->kind == EBM_IMAGE_CONV &&
        read > LIMIT_IMAGE_WINDOWS) /* OpenBLAS copies them: a GiB for each thread that serves */
        return ebm_error_set(m->reterr, EBM_TOO_LARGE, where, "reads %zu numbers an image, the limit is %u", read,
                             LIMIT_IMAGE_WINDOWS);
    return EBM_OK;
}

/* ---- single layers ---- */

static struct ebm_image_names *names_of_last(const struct maker *m)
{
    return &m->config->image_names[m->n_ops - 1];
}

static enum ebm_status add_conv2d(struct maker *m, struct ebm_image_layer *layer)
{
    enum ebm_status status = check_channels(m, &layer->in);
    if (status != EBM_OK)
        return status;
    struct ebm_image_op *op = next_op(m, EBM_IMAGE_CONV, m->value, &m->shape);
    (void)snprintf(names_of_last(m)->conv, sizeof names_of_last(m)->conv, "feature_net.%u", m->layer);
    op->bias = layer->has_bias ? 0 : EBM_NO_TENSOR;
    return set_window(m, op, layer->kernel, layer->stride, layer->padding, layer->out);
}

/* The last operation when a norm, or a relu, may still become part of it, else a new one. */
static struct ebm_image_op *open_op(struct maker *m, bool for_norm)
{
    struct ebm_image_op *last = m->n_ops > 0 ? &m->config->image_ops[m->n_ops - 1] : NULL;
    bool takes = last && (last->kind == EBM_IMAGE_CONV || last->kind == EBM_IMAGE_PASS) && !last->has_relu;
    if (takes && !(for_norm && last->has_norm))
        return last;
    return next_op(m, EBM_IMAGE_PASS, m->value, &m->shape);
}

static enum ebm_status add_norm(struct maker *m, struct ebm_image_layer *layer)
{
    enum ebm_status status = check_channels(m, &layer->in);
    if (status != EBM_OK)
        return status;
    open_op(m, true)->has_norm = true;
    (void)snprintf(names_of_last(m)->norm, sizeof names_of_last(m)->norm, "feature_net.%u", m->layer);
    return EBM_OK;
}

static void add_mean(struct maker *m)
{
    struct ebm_image_op *op = next_op(m, EBM_IMAGE_MEAN, m->value, &m->shape);
    op->to.height = op->to.width = 1;
    m->shape = op->to;
}

/* ---- resnet ---- */

struct block {
    uint32_t stage, number, channels, stride; /* stage 1 .. 4 */
};

/* A convolution with a norm, whose tensors are feature_net.<layer>.<conv>.* and <norm>.* of the block. */
static enum ebm_status add_unit(struct maker *m, const struct block *b, const char *conv, const char *norm, uint32_t in,
                                const struct ebm_shape *from, uint32_t kernel, uint32_t stride)
{
    struct ebm_image_op *op = next_op(m, EBM_IMAGE_CONV, in, from);
    struct ebm_image_names *names = names_of_last(m);
    char place[32] = "";
    if (b->stage > 0)
        (void)snprintf(place, sizeof place, "layer%u.%u.", b->stage, b->number);
    (void)snprintf(names->conv, sizeof names->conv, "feature_net.%u.%s%s", m->layer, place, conv);
    (void)snprintf(names->norm, sizeof names->norm, "feature_net.%u.%s%s", m->layer, place, norm);
    op->has_norm = true;
    return set_window(m, op, kernel, stride, kernel / 2, b->channels);
}

static enum ebm_status add_block(struct maker *m, const struct block *b)
{
    const struct ebm_shape from = m->shape;
    uint32_t in = m->value, kept = in;
    enum ebm_status status = EBM_OK;
    if (b->stride != 1 || from.channels != b->channels) {
        status = add_unit(m, b, "downsample.0", "downsample.1", in, &from, 1, b->stride);
        kept = m->value;
    }
    if (status == EBM_OK)
        status = add_unit(m, b, "conv1", "bn1", in, &from, 3, b->stride);
    if (status != EBM_OK)
        return status;
    m->config->image_ops[m->n_ops - 1].has_relu = true;
    const struct ebm_shape middle = m->shape;
    status = add_unit(m, b, "conv2", "bn2", m->value, &middle, 3, 1);
    m->config->image_ops[m->n_ops - 1].has_relu = true;
    m->config->image_ops[m->n_ops - 1].add = kept;
    return status;
}

static enum ebm_status add_resnet(struct maker *m, struct ebm_image_layer *layer)
{
    static const uint32_t blocks[2][4] = {{2, 2, 2, 2}, {3, 4, 6, 3}};
    const struct block stem = {.channels = layer->width};
    enum ebm_status status = check_channels(m, &layer->in);
    const struct ebm_shape from = m->shape;
    if (status == EBM_OK)
        status = add_unit(m, &stem, "conv1", "bn1", m->value, &from, 7, 2);
    if (status != EBM_OK)
        return status;
    m->config->image_ops[m->n_ops - 1].has_relu = true;
    struct ebm_image_op *pool = next_op(m, EBM_IMAGE_MAX_POOL, m->value, &m->shape);
    status = set_window(m, pool, 3, 2, 1, layer->width);
    for (uint32_t stage = 1; stage <= 4; stage++)
        for (uint32_t i = 0; status == EBM_OK && i < blocks[layer->depth == 34][stage - 1]; i++) {
            const struct block b = {stage, i, layer->width << (stage - 1), stage > 1 && i == 0 ? 2 : 1};
            status = add_block(m, &b);
        }
    if (status == EBM_OK)
        add_mean(m);
    return status;
}

/* ---- the list ---- */

static enum ebm_status add_layer(struct maker *m, struct ebm_image_layer *layer)
{
    switch (layer->kind) {
    case EBM_IMAGE_LAYER_RESNET:
        return add_resnet(m, layer);
    case EBM_IMAGE_LAYER_CONV2D:
        return add_conv2d(m, layer);
    case EBM_IMAGE_LAYER_BATCH_NORM2D:
        return add_norm(m, layer);
    case EBM_IMAGE_LAYER_RELU:
        open_op(m, false)->has_relu = true;
        return EBM_OK;
    case EBM_IMAGE_LAYER_MAX_POOL2D: {
        struct ebm_image_op *pool = next_op(m, EBM_IMAGE_MAX_POOL, m->value, &m->shape);
        return set_window(m, pool, layer->kernel, layer->stride, layer->padding, pool->from.channels);
    }
    case EBM_IMAGE_LAYER_GLOBAL_AVG_POOL:
        add_mean(m);
        return EBM_OK;
    case EBM_IMAGE_LAYER_FLATTEN: /* values are numbers already */
        if (m->n_ops == 0)
            (void)next_op(m, EBM_IMAGE_PASS, m->value, &m->shape);
        return EBM_OK;
    }
    return EBM_OK;
}

enum ebm_status ebm_config_trunk(struct ebm_config *config, bool may_fill, struct ebm_error *reterr)
{
    struct ebm_trunk *trunk = &config->net.trunk;
    struct maker m = {.config = config, .shape = trunk->in, .may_fill = may_fill, .reterr = reterr};
    if (!config->input.is_image)
        return EBM_OK;
    uint32_t n = config->n_image_layers;
    if (n == 0 || !ebm_image_layer_ends(config->image_layers[n - 1].kind))
        return ebm_error_set(reterr, EBM_INVALID, "feature_net",
                             "an image must become numbers: end its layers with resnet, global_avg_pool or flatten");
    config->image_ops = calloc(n + RESNET_OPS, sizeof *config->image_ops);
    config->image_names = calloc(n + RESNET_OPS, sizeof *config->image_names);
    if (!config->image_ops || !config->image_names)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no memory for the configuration");
    for (; m.layer < n; m.layer++) {
        enum ebm_status status = add_layer(&m, &config->image_layers[m.layer]);
        if (status != EBM_OK)
            return status;
    }
    if (ebm_shape_count(&m.shape) > LIMIT_WIDTH)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "feature_net", "%zu numbers are left of an image, the limit is %u",
                             ebm_shape_count(&m.shape), LIMIT_WIDTH);
    trunk->n_ops = m.n_ops;
    trunk->ops = config->image_ops;
    trunk->out = (uint32_t)ebm_shape_count(&m.shape);
    return EBM_OK;
}

/* ---- places ---- */

size_t ebm_trunk_tensors(const struct ebm_config *config)
{
    return 6 * (size_t)config->net.trunk.n_ops;
}

static size_t place(struct ebm_config *config, size_t *at, bool learned, const char *prefix, const char *tensor,
                    uint32_t rows, uint32_t columns)
{
    struct ebm_param *param = ebm_config_place(config, at, learned ? EBM_PART_FEATURE : EBM_PARTS, rows, columns);
    (void)snprintf(param->name, sizeof param->name, "%s.%s", prefix, tensor);
    return param->offset;
}

static void place_learned(struct ebm_config *config, struct ebm_image_op *op, const struct ebm_image_names *names,
                          size_t *at)
{
    uint32_t C = op->to.channels;
    if (op->kind == EBM_IMAGE_CONV) {
        op->weight = place(config, at, true, names->conv, "weight", C, op->from.channels * op->kernel * op->kernel);
        config->params[config->n_params - 1].kernel = op->kernel;
    }
    if (op->kind == EBM_IMAGE_CONV && op->bias != EBM_NO_TENSOR)
        op->bias = place(config, at, true, names->conv, "bias", C, 0);
    if (!op->has_norm)
        return;
    op->scale = place(config, at, true, names->norm, "weight", C, 0);
    op->shift = place(config, at, true, names->norm, "bias", C, 0);
}

void ebm_trunk_place(struct ebm_config *config, bool learned, size_t *at)
{
    struct ebm_trunk *trunk = &config->net.trunk;
    size_t first = *at;
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        struct ebm_image_op *op = &config->image_ops[i];
        const struct ebm_image_names *names = &config->image_names[i];
        if (learned) {
            place_learned(config, op, names, at);
        } else if (op->has_norm) {
            op->mean = place(config, at, false, names->norm, "running_mean", op->to.channels, 0);
            op->variance = place(config, at, false, names->norm, "running_var", op->to.channels, 0);
        }
    }
    if (learned)
        trunk->learned = (struct ebm_range){first, *at - first};
}
