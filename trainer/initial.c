/* initial.c - how steep is an energy in y before the first step?
 *
 * A density of standard deviation s has slopes of 1/s and a curvature of 1/s^2, in units of the targets' spread; with
 * layers as they are usually begun, both are about 1, and many steps go by before they have grown. A larger scale of
 * target_net's first layer begins nearer to sharp densities. With relu the kinks stay where they are: only what bends
 * there grows.
 *
 * A convolution before a norm begins as in He et al. 2015, N(0, 2 / (out kernel^2)); others as linear layers. Norms
 * begin as the identity on what has mean 0 and variance 1. */
#include "trainer/initial.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "trainer/model_file.h"

/* Number `at` of params, uniform in -1 .. 1 or normal. */
static double number(uint64_t seed, size_t at, bool is_normal)
{
    uint32_t words[4];
    ebm_philox(seed, (uint32_t)(at / 4), 0, EBM_STREAM_INIT, 0, words);
    return is_normal ? ebm_normal(words[at % 4]) : 2.0 * ebm_uniform(words[at % 4]) - 1.0;
}

static void initialize(uint64_t seed, size_t first, size_t n, double width, bool is_normal, float *params)
{
    for (size_t at = first; at < first + n; at++)
        params[at] = (float)(width * number(seed, at, is_normal));
}

static void initialize_layers(const struct ebm_net *net, uint64_t seed, float *params)
{
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        double bound = 1.0 / sqrt(layer->in);
        initialize(seed, layer->weight, (size_t)layer->out * layer->in, bound, false, params);
        initialize(seed, layer->bias, layer->out, bound, false, params);
    }
}

static void initialize_trunk(const struct ebm_trunk *trunk, uint64_t seed, float *params)
{
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        const struct ebm_image_op *op = &trunk->ops[i];
        size_t C = op->to.channels, window = (size_t)op->kernel * op->kernel, reads = op->from.channels * window;
        double bound = 1.0 / sqrt((double)reads), deviation = sqrt(2.0 / (double)(C * window));
        if (op->kind == EBM_IMAGE_CONV)
            initialize(seed, op->weight, C * reads, op->has_norm ? deviation : bound, op->has_norm, params);
        if (op->kind == EBM_IMAGE_CONV && op->bias != EBM_NO_TENSOR)
            initialize(seed, op->bias, C, bound, false, params);
        for (size_t c = 0; op->has_norm && c < C; c++)
            params[op->scale + c] = params[op->variance + c] = 1.0f;
    }
}

static void scale_layer(const struct ebm_layer *layer, double scale, float *params)
{
    size_t n_weights = (size_t)layer->out * layer->in;
    for (size_t j = 0; j < n_weights; j++)
        params[layer->weight + j] = (float)(scale * (double)params[layer->weight + j]);
    for (size_t j = 0; j < layer->out; j++)
        params[layer->bias + j] = (float)(scale * (double)params[layer->bias + j]);
}

void initial_parameters(const struct ebm_net_desc *net, uint64_t seed, double target_scale, float *ret_params)
{
    const struct ebm_net *nets[] = {&net->feature, &net->target,       &net->energy, &net->own,
                                    &net->mean,    &net->log_variance, &net->weight};
    memset(ret_params, 0, net->n_params * sizeof *ret_params);
    initialize_trunk(&net->trunk, seed, ret_params);
    for (size_t i = 0; i < EBM_COUNT_OF(nets); i++)
        initialize_layers(nets[i], seed, ret_params);
    if (net->target.n_layers > 0)
        scale_layer(&net->target.layers[0], target_scale, ret_params);
}

static const struct ebm_param *find_param(const struct ebm_config *config, const char *name)
{
    const struct ebm_param *params;
    size_t n = ebm_config_params(config, &params);
    for (size_t i = 0; i < n; i++)
        if (strcmp(params[i].name, name) == 0)
            return &params[i];
    return NULL;
}

enum ebm_status initial_from_model(const struct options *options, const struct ebm_config *config, float *params,
                                   uint32_t *ret_taken, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *model = NULL;
    uint32_t taken = 0;
    if (options->initial == NULL)
        return EBM_OK;
    enum ebm_status status = model_file_load(options->initial, &model, reterr);
    if (status != EBM_OK)
        return status;
    for (size_t i = 0; i < config->n_params; i++) {
        const struct ebm_param *to = &config->params[i], *from = find_param(ebm_model_config(model), to->name);
        if (from == NULL || from->rows != to->rows || from->columns != to->columns || from->kernel != to->kernel)
            continue;
        if (params != NULL)
            memcpy(params + to->offset, ebm_model_params(model) + from->offset, ebm_param_count(to) * sizeof *params);
        taken++;
    }
    if (taken == 0)
        return ebm_error_set(reterr, EBM_INVALID, "training.initial",
                             "%.120s has no tensor of the same name and shape as one of the model", options->initial);
    *ret_taken = taken;
    return EBM_OK;
}

enum ebm_status initial_check(const struct ebm_net_desc *net, const struct options *options, struct ebm_error *reterr)
{
    if (options->target_scale != 1.0 && net->target.n_layers == 0)
        return ebm_error_set(reterr, EBM_INVALID, "training.target_scale",
                             "it scales target_net's first layer, and the model has no target_net: leave it out");
    if (options->initial != NULL && options->trials > 1)
        return ebm_error_set(reterr, EBM_INVALID, "training.initial",
                             "trials try other initial weights: leave one of the two out");
    return EBM_OK;
}
