/* initial.c - how steep is an energy in y before the first step?
 *
 * A density of standard deviation s has slopes of 1/s and a curvature of 1/s^2, in units of the targets' spread; with
 * layers as they are usually begun, both are about 1, and many steps go by before they have grown. A larger scale of
 * target_net's first layer begins nearer to sharp densities. With relu the kinks stay where they are: only what bends
 * there grows. */
#include "trainer/initial.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"

static void initialize_layers(const struct ebm_net *net, uint64_t seed, float *params)
{
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        double bound = 1.0 / sqrt(layer->in);
        size_t n_weights = (size_t)layer->out * layer->in;
        for (size_t j = 0; j < n_weights + layer->out; j++) {
            size_t at = j < n_weights ? layer->weight + j : layer->bias + j - n_weights;
            uint32_t words[4];
            ebm_philox(seed, (uint32_t)(at / 4), 0, EBM_STREAM_INIT, 0, words);
            params[at] = (float)(bound * (2.0 * ebm_uniform(words[at % 4]) - 1.0));
        }
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
    for (size_t i = 0; i < EBM_COUNT_OF(nets); i++)
        initialize_layers(nets[i], seed, ret_params);
    if (net->target.n_layers > 0)
        scale_layer(&net->target.layers[0], target_scale, ret_params);
}

enum ebm_status initial_check(const struct ebm_net_desc *net, const struct options *options, struct ebm_error *reterr)
{
    if (options->target_scale == 1.0 || net->target.n_layers > 0)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "training.target_scale",
                         "it scales target_net's first layer, and the model has no target_net: leave it out");
}
