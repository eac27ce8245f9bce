/* device_check_images.c - trunks as rows of a table. */
#include <math.h>

#include "core/device_check_images.h"
#include "core/rng.h"

#define NONE EBM_IMAGE_NONE

/* What is not said of an operation follows from what it reads. */
struct row {
    enum ebm_image_kind kind;
    uint32_t in, add, channels, kernel, stride, padding;
    bool has_bias, has_norm, has_relu;
};

struct table {
    struct ebm_shape in;
    uint32_t n;
    struct row rows[EBM_CHECK_IMAGE_OPS];
};

static const struct table tables[] = {
    [EBM_CHECK_RESIDUAL] = {{3, 12, 10},
                            8,
                            {{EBM_IMAGE_CONV, 0, NONE, 8, 5, 2, 2, false, true, true},
                             {EBM_IMAGE_MAX_POOL, 1, NONE, 8, 3, 2, 1, false, false, false},
                             {EBM_IMAGE_CONV, 2, NONE, 8, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 3, 2, 8, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 4, NONE, 12, 1, 2, 0, false, true, false},
                             {EBM_IMAGE_CONV, 4, NONE, 12, 3, 2, 1, false, true, true},
                             {EBM_IMAGE_CONV, 6, 5, 12, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_MEAN, 7, NONE, 12, 0, 0, 0, false, false, false}}},
    [EBM_CHECK_PLAIN] = {{2, 7, 6},
                         6,
                         {{EBM_IMAGE_CONV, 0, NONE, 6, 3, 1, 1, true, false, false},
                          {EBM_IMAGE_PASS, 1, NONE, 6, 0, 0, 0, false, true, true},
                          {EBM_IMAGE_CONV, 2, NONE, 8, 1, 1, 0, true, false, true},
                          {EBM_IMAGE_PASS, 3, 3, 8, 0, 0, 0, false, true, false},
                          {EBM_IMAGE_CONV, 4, NONE, 8, 1, 1, 0, false, true, true},
                          {EBM_IMAGE_CONV, 5, NONE, 5, 3, 2, 0, true, false, false}}},
    [EBM_CHECK_RESNET18] = {{3, 64, 64},
                            22,
                            {{EBM_IMAGE_CONV, 0, NONE, 64, 7, 2, 3, false, true, true},
                             {EBM_IMAGE_MAX_POOL, 1, NONE, 64, 3, 2, 1, false, false, false},
                             {EBM_IMAGE_CONV, 2, NONE, 64, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 3, 2, 64, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 4, NONE, 64, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 5, 4, 64, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 6, NONE, 128, 1, 2, 0, false, true, false},
                             {EBM_IMAGE_CONV, 6, NONE, 128, 3, 2, 1, false, true, true},
                             {EBM_IMAGE_CONV, 8, 7, 128, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 9, NONE, 128, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 10, 9, 128, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 11, NONE, 256, 1, 2, 0, false, true, false},
                             {EBM_IMAGE_CONV, 11, NONE, 256, 3, 2, 1, false, true, true},
                             {EBM_IMAGE_CONV, 13, 12, 256, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 14, NONE, 256, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 15, 14, 256, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 16, NONE, 512, 1, 2, 0, false, true, false},
                             {EBM_IMAGE_CONV, 16, NONE, 512, 3, 2, 1, false, true, true},
                             {EBM_IMAGE_CONV, 18, 17, 512, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 19, NONE, 512, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_CONV, 20, 19, 512, 3, 1, 1, false, true, true},
                             {EBM_IMAGE_MEAN, 21, NONE, 512, 0, 0, 0, false, false, false}}},
};

static size_t take(struct ebm_net_desc *net, size_t count)
{
    size_t at = net->n_params;
    net->n_params += ebm_round_up(count, 16);
    return at;
}

static struct ebm_shape shape_of(const struct row *row, const struct ebm_shape *from)
{
    if (row->kind == EBM_IMAGE_MEAN)
        return (struct ebm_shape){row->channels, 1, 1};
    if (row->kind == EBM_IMAGE_PASS)
        return *from;
    return (struct ebm_shape){row->channels, (from->height + 2 * row->padding - row->kernel) / row->stride + 1,
                              (from->width + 2 * row->padding - row->kernel) / row->stride + 1};
}

static void lay_op(struct ebm_net_desc *net, const struct row *row, struct ebm_image_op *op)
{
    *op = (struct ebm_image_op){.kind = row->kind,
                                .in = row->in,
                                .add = row->add,
                                .has_norm = row->has_norm,
                                .has_relu = row->has_relu,
                                .from = op->from,
                                .to = shape_of(row, &op->from),
                                .kernel = row->kernel,
                                .stride = row->stride,
                                .padding = row->padding,
                                .bias = EBM_NO_TENSOR};
    if (row->kind == EBM_IMAGE_CONV)
        op->weight = take(net, (size_t)op->to.channels * op->from.channels * op->kernel * op->kernel);
    if (row->has_bias)
        op->bias = take(net, op->to.channels);
    size_t *const of_norm[] = {&op->scale, &op->shift, &op->mean, &op->variance};
    for (size_t i = 0; row->has_norm && i < EBM_COUNT_OF(of_norm); i++)
        *of_norm[i] = take(net, op->to.channels);
}

void ebm_check_trunk(struct ebm_net_desc *net, enum ebm_check_images which, struct ebm_image_op *ops)
{
    const struct table *table = &tables[which];
    const size_t first = net->n_params;
    for (uint32_t i = 0; i < table->n; i++) {
        const struct row *row = &table->rows[i];
        ops[i].from = row->in > 0 ? ops[row->in - 1].to : table->in;
        lay_op(net, row, &ops[i]);
    }
    net->trunk = (struct ebm_trunk){.n_ops = table->n,
                                    .ops = ops,
                                    .in = table->in,
                                    .out = (uint32_t)ebm_shape_count(&ops[table->n - 1].to),
                                    .learned = {first, net->n_params - first}};
    net->X = (uint32_t)ebm_shape_count(&table->in);
}

/* count numbers of [at - by, at + by). */
static void fill(float *to, uint64_t seed, size_t first, size_t count, double at, double by)
{
    for (size_t i = first; i < first + count; i++) {
        uint32_t words[4];
        ebm_philox(seed, (uint32_t)i, 1, EBM_STREAM_INIT, 0, words);
        to[i] = (float)(at + by * (2.0 * ebm_uniform(words[0]) - 1.0));
    }
}

void ebm_check_trunk_fill(const struct ebm_net_desc *net, uint64_t seed, float *params)
{
    for (uint32_t i = 0; i < net->trunk.n_ops; i++) {
        const struct ebm_image_op *op = &net->trunk.ops[i];
        size_t C = op->to.channels, window = (size_t)op->from.channels * op->kernel * op->kernel;
        if (op->kind == EBM_IMAGE_CONV)
            fill(params, seed, op->weight, C * window, 0.0, sqrt(6.0 / (double)window));
        if (op->bias != EBM_NO_TENSOR)
            fill(params, seed, op->bias, C, 0.0, 0.5);
        if (op->has_norm) {
            fill(params, seed, op->scale, C, 0.0, 1.5);
            fill(params, seed, op->shift, C, 0.2, 0.5);
            fill(params, seed, op->mean, C, 0.0, 0.5);
            fill(params, seed, op->variance, C, 1.0, 0.5);
        }
    }
}
