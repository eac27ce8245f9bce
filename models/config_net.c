/* config_net.c - how the nets of a model meet, and where their numbers lie.
 *
 *   x (X) -> trunk, of images -> feature -> h (H) --+--> energy [h, g] -> f (1)
 *   y (D) -> target  -> g (G) ----------------------+
 *            h (H) -> mean (D K), log_variance (D K), weight (K)
 *
 *   params:  | feature: trunk, layers | target | energy | proposal: mean, log_variance, weight | running statistics |
 *            each layer: weight (out, in), bias (out), each at a multiple of 16 floats
 *
 * Guarantees: after ebm_config_connect every layer's `in` is the `out` of what feeds it, every size is within limits.h,
 * parts are contiguous and cover what is learned. Knows no JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "core/limits.h"
#include "models/config_internal.h"

#define TENSOR_FLOATS (EBM_ALIGNMENT / sizeof(float)) /* a tensor starts at a multiple of this */

static const struct {
    const char *name;
    size_t member; /* offset in struct ebm_net_desc */
    enum ebm_part part;
} nets[EBM_NETS] = {
#define X(name, member, word, part) {word, offsetof(struct ebm_net_desc, member), part},
    EBM_NET_MAP(X)
#undef X
};

static const char *const activations[] = {
#define X(name, word) word,
    EBM_ACTIVATION_MAP(X)
#undef X
};

const char *ebm_net_name(enum ebm_net_index index)
{
    return nets[index].name;
}

const char *ebm_activation_name(enum ebm_activation activation)
{
    return activations[activation];
}

struct ebm_net *ebm_net_of(struct ebm_net_desc *desc, enum ebm_net_index index)
{
    return (struct ebm_net *)(void *)((char *)desc + nets[index].member);
}

/* ---- sizes ---- */

struct chain {
    struct ebm_config *config;
    bool may_fill;
    struct ebm_error *reterr;
};

/* `in` numbers reach the layer; `out` 0: it may give any number of them. `where` is completed by "in" or "out". */
static enum ebm_status connect_layer(const struct chain *chain, const char *where, struct ebm_layer *layer, uint32_t in,
                                     uint32_t out)
{
    char key[96];
    if (chain->may_fill && layer->in == 0)
        layer->in = in;
    if (chain->may_fill && layer->out == 0)
        layer->out = out;
    (void)snprintf(key, sizeof key, "%s.in", where);
    if (layer->in == 0)
        return ebm_error_set(chain->reterr, EBM_INVALID, key, "is missing, expected %u", in);
    if (layer->in != in)
        return ebm_error_set(chain->reterr, EBM_INVALID, key, "%u, but %u numbers reach this layer", layer->in, in);
    if (in > LIMIT_WIDTH)
        return ebm_error_set(chain->reterr, EBM_TOO_LARGE, key, "%u, the limit is %u", in, LIMIT_WIDTH);
    (void)snprintf(key, sizeof key, "%s.out", where);
    if (layer->out == 0)
        return ebm_error_set(chain->reterr, EBM_INVALID, key, "is missing");
    if (out != 0 && layer->out != out)
        return ebm_error_set(chain->reterr, EBM_INVALID, key, "%u, but the net's last layer must give %u", layer->out,
                             out);
    if (layer->residual && layer->in != layer->out)
        return ebm_error_set(chain->reterr, EBM_INVALID, where, "residual needs in = out, got %u and %u", layer->in,
                             layer->out);
    return EBM_OK;
}

/* How many layers of an image stand before the net's own. */
static uint32_t first_linear(const struct ebm_config *config, enum ebm_net_index index)
{
    return index == EBM_NET_FEATURE ? config->n_image_layers : 0;
}

/* Connects a net that `in` numbers reach; out as in connect_layer, of the last layer. */
static enum ebm_status connect_net(const struct chain *chain, enum ebm_net_index index, uint32_t in, uint32_t out,
                                   uint32_t *ret_out)
{
    struct ebm_layer *layers = chain->config->layers[index];
    uint32_t n = ebm_net_of(&chain->config->net, index)->n_layers, width = in;
    for (uint32_t i = 0; i < n; i++) {
        char where[64];
        (void)snprintf(where, sizeof where, "%s[%u]", nets[index].name, first_linear(chain->config, index) + i);
        enum ebm_status status = connect_layer(chain, where, &layers[i], width, i + 1 == n ? out : 0);
        if (status != EBM_OK)
            return status;
        width = layers[i].out;
    }
    if (ret_out)
        *ret_out = width;
    return EBM_OK;
}

static enum ebm_status connect_nets(const struct chain *chain)
{
    struct ebm_net_desc *net = &chain->config->net;
    enum ebm_status status = connect_net(chain, EBM_NET_FEATURE, ebm_net_reach(net), 0, &net->H);
    if (status == EBM_OK)
        status = connect_net(chain, EBM_NET_TARGET, net->D, 0, &net->G);
    if (status == EBM_OK)
        status = connect_net(chain, EBM_NET_ENERGY, net->H + net->G, 1, NULL);
    if (status == EBM_OK)
        status = connect_net(chain, EBM_NET_MEAN, net->H, net->D * net->K, NULL);
    if (status == EBM_OK)
        status = connect_net(chain, EBM_NET_LOG_VARIANCE, net->H, net->D * net->K, NULL);
    if (status == EBM_OK)
        status = connect_net(chain, EBM_NET_WEIGHT, net->H, net->K, NULL);
    return status;
}

/* ---- places ---- */

struct ebm_param *ebm_config_place(struct ebm_config *config, size_t *at, enum ebm_part part, uint32_t rows,
                                   uint32_t columns)
{
    struct ebm_param *param = &config->params[config->n_params++];
    *param = (struct ebm_param){.part = part, .rows = rows, .columns = columns, .offset = *at};
    *at += ebm_round_up(ebm_param_count(param), TENSOR_FLOATS);
    return param;
}

static size_t place(struct ebm_config *config, size_t *at, enum ebm_net_index index, uint32_t layer, const char *tensor,
                    uint32_t rows, uint32_t columns)
{
    struct ebm_param *param = ebm_config_place(config, at, nets[index].part, rows, columns);
    (void)snprintf(param->name, sizeof param->name, "%s.%u.%s", nets[index].name, layer, tensor);
    return param->offset;
}

static enum ebm_status place_net(struct ebm_config *config, enum ebm_net_index index, size_t *at,
                                 struct ebm_error *reterr)
{
    struct ebm_net *net = ebm_net_of(&config->net, index);
    if (index == EBM_NET_FEATURE)
        ebm_trunk_place(config, true, at);
    for (uint32_t i = 0; i < net->n_layers && *at <= LIMIT_PARAMETERS; i++) {
        struct ebm_layer *layer = &config->layers[index][i];
        uint32_t number = first_linear(config, index) + i;
        layer->weight = place(config, at, index, number, "weight", layer->out, layer->in);
        layer->bias = place(config, at, index, number, "bias", layer->out, 0);
    }
    if (*at > LIMIT_PARAMETERS)
        return ebm_error_set(reterr, EBM_TOO_LARGE, nets[index].name, "more than %u parameters", LIMIT_PARAMETERS);
    net->layers = config->layers[index];
    return EBM_OK;
}

/* Further members of an ensemble have the first one's tensors, P numbers on each. */
static enum ebm_status place_members(struct ebm_config *config, struct ebm_error *reterr)
{
    size_t n = config->n_params, P = config->net.n_params;
    uint32_t members = config->net.members;
    if (members <= 1)
        return EBM_OK;
    if (P > LIMIT_PARAMETERS / members)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "members", "%u of %zu parameters are more than %u", members, P,
                             LIMIT_PARAMETERS);
    for (size_t i = 0; i < n; i++) {
        const struct ebm_param first = config->params[i];
        for (uint32_t m = 0; m < members; m++) {
            struct ebm_param *param = &config->params[m * n + i];
            *param = first;
            param->offset += m * P;
            (void)snprintf(param->name, sizeof param->name, "member.%u.%.80s", m, first.name);
        }
    }
    config->n_params = members * n;
    return EBM_OK;
}

static enum ebm_status place_nets(struct ebm_config *config, struct ebm_error *reterr)
{
    struct ebm_net_desc *desc = &config->net;
    size_t n = ebm_trunk_tensors(config), at = 0;
    for (int i = 0; i < EBM_NETS; i++)
        n += 2 * (size_t)ebm_net_of(desc, (enum ebm_net_index)i)->n_layers;
    config->params = calloc(n * (desc->members > 1 ? desc->members : 1) + 1, sizeof *config->params);
    if (!config->params)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no memory for the list of tensors");
    for (int i = 0; i < EBM_NETS; i++) {
        struct ebm_range *part = &desc->part[nets[i].part];
        if (part->count == 0)
            part->first = at;
        enum ebm_status status = place_net(config, (enum ebm_net_index)i, &at, reterr);
        if (status != EBM_OK)
            return status;
        part->count = at - part->first;
    }
    ebm_trunk_place(config, false, &at);
    desc->n_params = at;
    return place_members(config, reterr);
}

enum ebm_status ebm_config_connect(struct ebm_config *config, bool may_fill, struct ebm_error *reterr)
{
    struct chain chain = {.config = config, .may_fill = may_fill, .reterr = reterr};
    enum ebm_status status = ebm_config_trunk(config, may_fill, reterr);
    if (status == EBM_OK)
        status = connect_nets(&chain);
    return status == EBM_OK ? place_nets(config, reterr) : status;
}

uint32_t ebm_param_shape(const struct ebm_param *param, uint64_t ret_shape[4])
{
    uint32_t k = param->kernel;
    ret_shape[0] = param->rows;
    ret_shape[1] = k > 0 ? param->columns / (k * k) : param->columns;
    ret_shape[2] = ret_shape[3] = k;
    return param->columns == 0 ? 1 : k == 0 ? 2 : 4;
}

size_t ebm_param_count(const struct ebm_param *param)
{
    return (size_t)param->rows * (param->columns > 0 ? param->columns : 1);
}

size_t ebm_config_params(const struct ebm_config *config, const struct ebm_param **ret_params)
{
    *ret_params = config->params;
    return config->n_params;
}

uint64_t ebm_config_learned(const struct ebm_config *config)
{
    const struct ebm_param *params;
    uint64_t total = 0;
    for (size_t i = ebm_config_params(config, &params); i-- > 0;)
        total += params[i].part != EBM_PARTS ? ebm_param_count(&params[i]) : 0;
    return total;
}
