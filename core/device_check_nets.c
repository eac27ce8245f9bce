/* device_check_nets.c - networks made of Philox's words. */
#include <math.h>
#include <stdlib.h>

#include "core/device_check_nets.h"
#include "core/device_plugin.h"

#define FIRST_SEED 11u
#define EXACT_SEED 23u /* f falls on both sides */

/* Layers whose outputs are as many as their inputs are residual. */
const struct ebm_check_shape ebm_check_shapes[EBM_DEVICE_CHECKS] = {
    {"narrow, smooth", 3, 3, 4, {12, 12}, {10, 10}, {22, 10, 1}, EBM_ACT_SILU},
    {"wide energy net", 5, 1, 3, {64}, {16, 40}, {320, 1}, EBM_ACT_RELU},
    {"wide throughout", 4, 2, 5, {60, 60}, {200}, {260, 200, 200, 1}, EBM_ACT_RELU},
    {"exact, deep", 3, 1, 3, {20}, {10, 10}, {40, 12, 12, 1}, EBM_ACT_RELU, .is_exact = true, .seed = EXACT_SEED},
    {"exact, bounded", 4, 1, 2, {24}, {12, 12}, {50, 1}, EBM_ACT_RELU, .is_exact = true, .is_bounded = true},
    /* one component: where there are several, rounding may choose another one */
    {"images, residual", 0, 1, 1, {16}, {10}, {26, 1}, EBM_ACT_TANH, .images = EBM_CHECK_RESIDUAL},
    {"images, plain", 0, 2, 1, {0}, {8}, {20, 1}, EBM_ACT_TANH, .images = EBM_CHECK_PLAIN},
};

/* Heads of the timed ones' mixtures have a hidden layer each, as the papers' have. */
const struct ebm_check_shape ebm_check_timed[EBM_DEVICE_TIMED_NETS] = {
    [EBM_DEVICE_TIMED_T] = {"T", 1, 1, 4, {10, 10}, {10, 10}, {10, 10, 1}, EBM_ACT_RELU, .head = 10},
    [EBM_DEVICE_TIMED_V] = {"V", 16, 1, 4, {512, 512}, {16, 32, 64, 128}, {512, 1}, EBM_ACT_RELU, .head = 512},
    [EBM_DEVICE_TIMED_C] =
        {"C", 0, 1, 4, {0}, {16, 32, 64, 128}, {512, 1}, EBM_ACT_RELU, .head = 512, .images = EBM_CHECK_RESNET18},
};

/* One component: where there are several, rounding may choose another one. */
const struct ebm_check_shape ebm_check_trained[EBM_DEVICE_TRAININGS] = {
    {"training", 3, 2, 1, {12}, {10}, {14, 1}, EBM_ACT_TANH, .head = 8},
    {"residual trunk", 0, 1, 1, {16}, {10}, {20, 1}, EBM_ACT_TANH, .images = EBM_CHECK_RESIDUAL},
    {"plain trunk", 0, 2, 1, {0}, {8}, {20, 1}, EBM_ACT_TANH, .images = EBM_CHECK_PLAIN},
};

static uint32_t add_layer(struct ebm_check_net *n, struct ebm_net *net, uint32_t in, uint32_t out,
                          enum ebm_activation kind)
{
    struct ebm_layer *layer = &n->layers[n->n_layers++];
    *layer = (struct ebm_layer){.in = in, .out = out, .activation = kind, .weight = n->desc.n_params};
    layer->residual = in == out;
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    n->desc.n_params = layer->bias + ebm_round_up(out, 16);
    if (net->n_layers++ == 0)
        net->layers = layer;
    return out;
}

static uint32_t add_layers(struct ebm_check_net *n, struct ebm_net *net, uint32_t in,
                           const uint32_t outs[EBM_CHECK_MOST_LAYERS], enum ebm_activation kind)
{
    for (uint32_t i = 0; i < EBM_CHECK_MOST_LAYERS && outs[i] > 0; i++)
        in = add_layer(n, net, in, outs[i], outs[i] == 1 ? EBM_ACT_IDENTITY : kind);
    return in;
}

static bool fill(struct ebm_check_net *n, uint64_t seed)
{
    n->params = ebm_alloc_aligned((n->desc.n_params + 1) * sizeof *n->params);
    for (uint32_t i = 0; n->params != NULL && i < n->n_layers; i++) {
        const struct ebm_layer *layer = &n->layers[i];
        for (size_t at = layer->weight; at < layer->bias + layer->out; at++) {
            uint32_t words[4];
            ebm_philox(seed, i, (uint32_t)at, EBM_STREAM_INIT, 0, words);
            n->params[at] = (float)((2.0 * ebm_uniform(words[0]) - 1.0) * sqrt(3.0 / layer->in));
        }
    }
    if (n->params != NULL)
        ebm_check_trunk_fill(&n->desc, seed, n->params);
    return n->params != NULL;
}

static void add_head(struct ebm_check_net *n, struct ebm_net *net, const struct ebm_check_shape *s, uint32_t out)
{
    uint32_t in = s->head > 0 ? add_layer(n, net, n->desc.H, s->head, s->activation) : n->desc.H;
    (void)add_layer(n, net, in, out, EBM_ACT_IDENTITY);
}

/* Of the tensors that were laid since the part before. */
static void end_part(struct ebm_net_desc *net, enum ebm_part part)
{
    size_t first = part > 0 ? net->part[part - 1].first + net->part[part - 1].count : 0;
    net->part[part] = (struct ebm_range){first, net->n_params - first};
}

bool ebm_check_net_init(struct ebm_check_net *n, const struct ebm_check_shape *s)
{
    struct ebm_net_desc *net = &n->desc;
    *n = (struct ebm_check_net){.desc = {.X = s->X, .D = s->D, .K = s->K, .has_energy = true}};
    if (s->images != EBM_CHECK_VECTORS)
        ebm_check_trunk(net, s->images, n->ops);
    net->H = add_layers(n, &net->feature, ebm_net_reach(net), s->feature, s->activation);
    end_part(net, EBM_PART_FEATURE);
    net->G = add_layers(n, &net->target, s->D, s->target, s->activation);
    end_part(net, EBM_PART_TARGET);
    (void)add_layers(n, &net->energy, net->H + net->G, s->energy, s->activation);
    end_part(net, EBM_PART_ENERGY);
    add_head(n, &net->mean, s, s->D * s->K);
    add_head(n, &net->log_variance, s, s->D * s->K);
    add_head(n, &net->weight, s, s->K);
    end_part(net, EBM_PART_PROPOSAL);
    n->support = (struct ebm_support){EBM_SUPPORT_BOUNDED, -3.0, 3.0};
    net->support = s->is_bounded ? &n->support : NULL;
    return fill(n, s->seed > 0 ? s->seed : FIRST_SEED);
}

void ebm_check_net_done(struct ebm_check_net *n)
{
    free(n->params);
}

enum ebm_status ebm_check_make_ready(const struct ebm_device_ops *ops, const struct ebm_check_net *n,
                                     const struct ebm_ctx_limits *limits, struct ebm_plan **ret_plan,
                                     struct ebm_ctx **ret_ctx, struct ebm_error *reterr)
{
    enum ebm_status status = ops->plan_new(&n->desc, n->params, 0, ret_plan, reterr);
    if (status == EBM_OK)
        status = ops->ctx_new(limits, ret_ctx, reterr);
    if (status == EBM_OK)
        status = ops->ctx_prepare(*ret_ctx, *ret_plan, reterr);
    return status;
}

enum ebm_status ebm_check_refused(const struct ebm_device_ops *ops, uint32_t device, enum ebm_status status,
                                  const char *what, struct ebm_error *reterr)
{
    char why[EBM_DEVICE_FAILURE_BYTES] = "";
    if (status == EBM_DEVICE)
        ebm_device_failure(device, why, sizeof why);
    return ebm_error_set(reterr, status, "device", "%s refuses to %s: %s%s%s", ops->name, what, ebm_status_text(status),
                         why[0] != 0 ? ": " : "", why);
}

void ebm_check_fill(float *to, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t words[4];
        ebm_philox(seed, (uint32_t)i, 0, EBM_STREAM_INIT, 0, words);
        to[i] = (float)ebm_normal(words[0]);
    }
}
