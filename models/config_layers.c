/* config_layers.c - lists of layers.
 *
 * Those of an image come first in the feature net, as they are in the text; config_trunk.c makes operations of them.
 * Fields of layers that have no such layer's type are unknown keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/names.h"
#include "models/config_reader.h"

static const char *const image_words[] = {
#define X(name, word) word,
    EBM_IMAGE_LAYER_MAP(X)
#undef X
};

const char *ebm_image_layer_word(enum ebm_image_layer_kind kind)
{
    return image_words[kind];
}

static enum ebm_status read_type(const struct ebm_reader *r, const json_t *object, const char **ret_type)
{
    if (!json_is_object(object))
        return ebm_reader_wrong_type(r, "", "an object", object);
    const char *type = NULL;
    enum ebm_status status = ebm_reader_word(r, object, "type", &type);
    if (status != EBM_OK)
        return status;
    if (!type)
        return ebm_reader_missing(r, "type");
    *ret_type = type;
    return EBM_OK;
}

/* ---- layers of an image ---- */

static bool find_image_word(const char *type, enum ebm_image_layer_kind *ret_kind)
{
    size_t kind = ebm_names_find(type, image_words, EBM_COUNT_OF(image_words));
    if (kind == EBM_COUNT_OF(image_words))
        return false;
    *ret_kind = (enum ebm_image_layer_kind)kind;
    return true;
}

static enum ebm_status read_resnet(const struct ebm_reader *r, json_t *object, struct ebm_image_layer *layer)
{
    static const char *const keys[] = {"type", "depth", "in", "width", NULL};
    layer->width = 64;
    enum ebm_status status = ebm_reader_keys(r, object, keys);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "depth", 1, 1000, &layer->depth);
    if (status == EBM_OK && layer->depth == 0)
        return ebm_reader_missing(r, "depth");
    if (status == EBM_OK && layer->depth != 18 && layer->depth != 34)
        return ebm_error_set(r->reterr, EBM_INVALID, "depth", "%u, expected 18 or 34", layer->depth);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "in", 1, LIMIT_IMAGE_CHANNELS, &layer->in);
    return status == EBM_OK ? ebm_reader_unsigned(r, object, "width", 1, LIMIT_RESNET_WIDTH, &layer->width) : status;
}

static enum ebm_status read_conv2d(const struct ebm_reader *r, json_t *object, struct ebm_image_layer *layer)
{
    static const char *const keys[] = {"type", "in", "out", "kernel", "stride", "padding", "bias", NULL};
    layer->stride = 1;
    layer->has_bias = true;
    enum ebm_status status = ebm_reader_keys(r, object, keys);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "in", 1, LIMIT_WIDTH, &layer->in);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "out", 1, LIMIT_WIDTH, &layer->out);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "kernel", 1, LIMIT_IMAGE_KERNEL, &layer->kernel);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "stride", 1, LIMIT_IMAGE_KERNEL, &layer->stride);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "padding", 0, LIMIT_IMAGE_KERNEL, &layer->padding);
    if (status == EBM_OK)
        status = ebm_reader_bool(r, object, "bias", &layer->has_bias);
    if (status == EBM_OK && (layer->out == 0 || layer->kernel == 0))
        return ebm_reader_missing(r, layer->out == 0 ? "out" : "kernel");
    return status;
}

static enum ebm_status read_max_pool2d(const struct ebm_reader *r, json_t *object, struct ebm_image_layer *layer)
{
    static const char *const keys[] = {"type", "kernel", "stride", "padding", NULL};
    enum ebm_status status = ebm_reader_keys(r, object, keys);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "kernel", 1, LIMIT_IMAGE_KERNEL, &layer->kernel);
    if (status == EBM_OK && layer->kernel == 0)
        return ebm_reader_missing(r, "kernel");
    layer->stride = layer->kernel;
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "stride", 1, LIMIT_IMAGE_KERNEL, &layer->stride);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "padding", 0, LIMIT_IMAGE_KERNEL, &layer->padding);
    if (status == EBM_OK && layer->padding > layer->kernel / 2)
        return ebm_error_set(r->reterr, EBM_INVALID, "padding", "%u, expected at most half of the kernel, %u",
                             layer->padding, layer->kernel / 2);
    return status;
}

static enum ebm_status read_image_layer(const struct ebm_reader *r, json_t *object, struct ebm_image_layer *layer)
{
    static const char *const none[] = {"type", NULL}, *const norm[] = {"type", "in", NULL};
    switch (layer->kind) {
    case EBM_IMAGE_LAYER_RESNET:
        return read_resnet(r, object, layer);
    case EBM_IMAGE_LAYER_CONV2D:
        return read_conv2d(r, object, layer);
    case EBM_IMAGE_LAYER_MAX_POOL2D:
        return read_max_pool2d(r, object, layer);
    case EBM_IMAGE_LAYER_BATCH_NORM2D: {
        enum ebm_status status = ebm_reader_keys(r, object, norm);
        return status == EBM_OK ? ebm_reader_unsigned(r, object, "in", 1, LIMIT_WIDTH, &layer->in) : status;
    }
    case EBM_IMAGE_LAYER_RELU:
    case EBM_IMAGE_LAYER_GLOBAL_AVG_POOL:
    case EBM_IMAGE_LAYER_FLATTEN:
        return ebm_reader_keys(r, object, none);
    }
    return EBM_OK;
}

/* After a layer of this kind there are numbers, no image. */
bool ebm_image_layer_ends(enum ebm_image_layer_kind kind)
{
    return kind == EBM_IMAGE_LAYER_RESNET || kind == EBM_IMAGE_LAYER_GLOBAL_AVG_POOL || kind == EBM_IMAGE_LAYER_FLATTEN;
}

/* Does the list so far leave an image, so that one more layer of it may follow? */
static bool is_still_image(const struct ebm_config *config, uint32_t n_linear)
{
    uint32_t n = config->n_image_layers;
    return config->input.is_image && n_linear == 0 &&
           (n == 0 || !ebm_image_layer_ends(config->image_layers[n - 1].kind));
}

/* ---- linear layers ---- */

static enum ebm_status read_activation(const struct ebm_reader *r, const json_t *object,
                                       enum ebm_activation *ret_activation)
{
    static const char *const words[] = {
#define X(name, word) word,
        EBM_ACTIVATION_MAP(X)
#undef X
    };
    const char *word = NULL;
    enum ebm_status status = ebm_reader_word(r, object, "activation", &word);
    if (status != EBM_OK || !word)
        return status;
    size_t activation = ebm_names_find(word, words, EBM_COUNT_OF(words));
    if (activation == EBM_COUNT_OF(words))
        return ebm_error_set(r->reterr, EBM_INVALID, "activation",
                             "unknown activation \"%.32s\", expected identity, relu, tanh, silu or softplus", word);
    *ret_activation = (enum ebm_activation)activation;
    return EBM_OK;
}

static enum ebm_status read_linear(const struct ebm_reader *r, json_t *object, struct ebm_layer *layer)
{
    static const char *const keys[] = {"type", "in", "out", "activation", "residual", NULL};
    enum ebm_status status = ebm_reader_keys(r, object, keys);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "in", 1, LIMIT_WIDTH, &layer->in);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "out", 1, LIMIT_WIDTH, &layer->out);
    if (status == EBM_OK)
        status = read_activation(r, object, &layer->activation);
    if (status == EBM_OK)
        status = ebm_reader_bool(r, object, "residual", &layer->residual);
    return status;
}

/* ---- lists ---- */

static enum ebm_status wrong_place(const struct ebm_reader *r, const char *type, enum ebm_net_index index)
{
    if (index != EBM_NET_FEATURE)
        return ebm_error_set(r->reterr, EBM_INVALID, "type", "\"%s\" reads an image: it belongs into feature_net",
                             type);
    return ebm_error_set(r->reterr, EBM_INVALID, "type", "\"%s\" reads an image, and %s", type,
                         r->config->input.is_image ? "here there is none any more" : "input.kind is \"vector\"");
}

/* One layer; an image's counts itself, a linear one is counted in *n_linear. */
static enum ebm_status read_layer(const struct ebm_reader *r, json_t *object, enum ebm_net_index index,
                                  uint32_t *n_linear)
{
    struct ebm_config *config = r->config;
    enum ebm_image_layer_kind kind;
    const char *type = "";
    enum ebm_status status = read_type(r, object, &type);
    if (status != EBM_OK)
        return status;
    if (strcmp(type, "linear") == 0)
        return read_linear(r, object, &config->layers[index][(*n_linear)++]);
    if (!find_image_word(type, &kind))
        return ebm_error_set(r->reterr, EBM_INVALID, "type",
                             "unknown layer \"%.32s\", expected linear, resnet, conv2d, batch_norm2d, relu, "
                             "max_pool2d, global_avg_pool or flatten",
                             type);
    if (index != EBM_NET_FEATURE || !is_still_image(config, *n_linear))
        return wrong_place(r, type, index);
    struct ebm_image_layer *layer = &config->image_layers[config->n_image_layers++];
    layer->kind = kind;
    return read_image_layer(r, object, layer);
}

enum ebm_status ebm_read_net(const struct ebm_reader *r, const json_t *object, const char *key,
                             enum ebm_net_index index)
{
    struct ebm_config *config = r->config;
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_array(json))
        return ebm_reader_wrong_type(r, key, "an array of layers", json);
    size_t n = json_array_size(json);
    if (n > LIMIT_LAYERS)
        return ebm_error_set(r->reterr, EBM_TOO_LARGE, key, "%zu layers, the limit is %u", n, LIMIT_LAYERS);
    config->layers[index] = calloc(n + 1, sizeof *config->layers[index]);
    if (index == EBM_NET_FEATURE)
        config->image_layers = calloc(n + 1, sizeof *config->image_layers);
    if (!config->layers[index] || (index == EBM_NET_FEATURE && !config->image_layers))
        return ebm_reader_no_memory(r);
    uint32_t n_linear = 0;
    for (size_t i = 0; i < n; i++) {
        enum ebm_status status = read_layer(r, json_array_get(json, i), index, &n_linear);
        if (status != EBM_OK) {
            char where[64];
            (void)snprintf(where, sizeof where, "%s[%zu]", key, i);
            return ebm_reader_within(r, where, status);
        }
    }
    ebm_net_of(&config->net, index)->n_layers = n_linear;
    return EBM_OK;
}
