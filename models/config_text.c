/* config_text.c - a configuration as JSON text, keys in the order of the documentation.
 *
 * Defaults (support real, members 1, residual false) are left out; names and statistics always stand, so that the text
 * says what a served model does with its numbers. Guarantees: parsing the text gives the same configuration and the
 * same text again, never longer than the parser reads; numbers are the shortest that read back the same. Failed appends
 * are looked at once, at the end. */
#include <math.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/limits.h"
#include "models/config_internal.h"

static void put_key(struct ebm_buf *buf, const char *key)
{
    (void)ebm_buf_json_text(buf, key);
    (void)ebm_buf_text(buf, ": ");
}

static void put_text(struct ebm_buf *buf, const char *key, const char *value)
{
    put_key(buf, key);
    (void)ebm_buf_json_text(buf, value);
}

static void put_names(struct ebm_buf *buf, char *const *names, uint32_t n)
{
    if (!names)
        return;
    (void)ebm_buf_text(buf, ", \"names\": [");
    for (uint32_t i = 0; i < n; i++) {
        (void)ebm_buf_text(buf, i ? ", " : "");
        (void)ebm_buf_json_text(buf, names[i]);
    }
    (void)ebm_buf_text(buf, "]");
}

static void put_numbers(struct ebm_buf *buf, const char *key, const double *values, uint32_t n)
{
    if (!values)
        return;
    (void)ebm_buf_text(buf, ", ");
    put_key(buf, key);
    for (uint32_t i = 0; i < n; i++) {
        (void)ebm_buf_text(buf, i ? ", " : "[");
        if (isfinite(values[i]))
            (void)ebm_buf_json_number(buf, values[i]);
        else
            (void)ebm_buf_text(buf, "null"); /* of lower and upper: none */
    }
    (void)ebm_buf_text(buf, "]");
}

static void put_input(struct ebm_buf *buf, const struct ebm_input_config *input)
{
    const struct ebm_shape *shape = &input->shape;
    if (input->is_image) {
        (void)ebm_buf_printf(buf, ",\n  \"input\": {\"kind\": \"image\", \"shape\": [%u, %u, %u]", shape->channels,
                             shape->height, shape->width);
        put_numbers(buf, "mean", input->channel_mean, shape->channels);
        put_numbers(buf, "std", input->channel_std, shape->channels);
        (void)ebm_buf_text(buf, ", \"scale\": ");
        (void)ebm_buf_json_number(buf, input->scale);
        (void)ebm_buf_text(buf, ", \"resize\": \"bilinear\"}");
        return;
    }
    (void)ebm_buf_printf(buf, ",\n  \"input\": {\"kind\": \"vector\", \"shape\": [%u]", input->size);
    put_names(buf, input->names, input->size);
    put_numbers(buf, "mean", input->mean, input->size);
    put_numbers(buf, "std", input->std, input->size);
    (void)ebm_buf_text(buf, "}");
}

static void put_support(struct ebm_buf *buf, const struct ebm_target_config *target)
{
    bool is_real = true;
    for (uint32_t d = 0; d < target->dim; d++)
        is_real = is_real && target->support[d] == EBM_SUPPORT_REAL;
    for (uint32_t d = 0; !is_real && d < target->dim; d++)
        (void)ebm_buf_printf(buf, "%s\"%s\"%s", d ? ", " : ", \"support\": [", ebm_support_word(target->support[d]),
                             d + 1 == target->dim ? "]" : "");
}

static void put_target(struct ebm_buf *buf, const struct ebm_target_config *target)
{
    (void)ebm_buf_printf(buf, ",\n  \"target\": {\"dim\": %u", target->dim);
    put_names(buf, target->names, target->dim);
    put_numbers(buf, "mean", target->mean, target->dim);
    put_numbers(buf, "std", target->std, target->dim);
    put_support(buf, target);
    put_numbers(buf, "lower", target->lower, target->dim);
    put_numbers(buf, "upper", target->upper, target->dim);
    (void)ebm_buf_text(buf, "}");
}

static void put_image_layer(struct ebm_buf *buf, const struct ebm_image_layer *layer)
{
    const struct {
        const char *key;
        uint32_t value;
    } fields[] = {{"depth", layer->depth},    {"in", layer->in},         {"out", layer->out},
                  {"width", layer->width},    {"kernel", layer->kernel}, {"stride", layer->stride},
                  {"padding", layer->padding}};
    (void)ebm_buf_printf(buf, "{\"type\": \"%s\"", ebm_image_layer_word(layer->kind));
    for (size_t i = 0; i < EBM_COUNT_OF(fields); i++)
        if (fields[i].value > 0)
            (void)ebm_buf_printf(buf, ", \"%s\": %u", fields[i].key, fields[i].value);
    bool says_bias = layer->kind == EBM_IMAGE_LAYER_CONV2D && !layer->has_bias;
    (void)ebm_buf_text(buf, says_bias ? ", \"bias\": false}" : "}");
}

static void put_linear(struct ebm_buf *buf, const struct ebm_layer *layer)
{
    (void)ebm_buf_printf(buf, "{\"type\": \"linear\", \"in\": %u, \"out\": %u, \"activation\": \"%s\"%s}", layer->in,
                         layer->out, ebm_activation_name(layer->activation),
                         layer->residual ? ", \"residual\": true" : "");
}

/* `indent` starts the line of the key; n_images layers of an image come first. */
static void put_layers(struct ebm_buf *buf, const char *indent, const char *key, const struct ebm_net *net,
                       const struct ebm_image_layer *images, uint32_t n_images)
{
    if (n_images + net->n_layers == 0)
        return;
    (void)ebm_buf_printf(buf, ",\n%s", indent);
    put_key(buf, key);
    (void)ebm_buf_text(buf, "[");
    for (uint32_t i = 0; i < n_images + net->n_layers; i++) {
        (void)ebm_buf_printf(buf, "%s\n%s  ", i ? "," : "", indent);
        if (i < n_images)
            put_image_layer(buf, &images[i]);
        else
            put_linear(buf, &net->layers[i - n_images]);
    }
    (void)ebm_buf_text(buf, "]");
}

static void put_proposal(struct ebm_buf *buf, const struct ebm_net_desc *net)
{
    if (net->K == 0)
        return;
    (void)ebm_buf_printf(buf, ",\n  \"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": %u%s", net->K,
                         net->trains_features ? ", \"trains_features\": true" : "");
    put_layers(buf, "    ", "mean_net", &net->mean, NULL, 0);
    put_layers(buf, "    ", "log_variance_net", &net->log_variance, NULL, 0);
    put_layers(buf, "    ", "weight_net", &net->weight, NULL, 0);
    (void)ebm_buf_text(buf, "}");
}

static void put_json(struct ebm_buf *buf, const char *key, const char *json)
{
    if (!json)
        return;
    (void)ebm_buf_text(buf, ",\n  ");
    put_key(buf, key);
    (void)ebm_buf_text(buf, json);
}

static enum ebm_status too_long(const struct ebm_config *config, struct ebm_error *reterr)
{
    return ebm_error_set(
        reterr, EBM_TOO_LARGE, "config",
        "as JSON it takes more than the limit of %u bytes: the names and statistics of all inputs (%u) "
        "and targets (%u) stand in it. Use fewer columns, or shorter names",
        LIMIT_CONFIG_BYTES, config->input.size, config->target.dim);
}

enum ebm_status ebm_config_text(const struct ebm_config *config, char **ret_text, struct ebm_error *reterr)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, LIMIT_CONFIG_BYTES);
    (void)ebm_buf_text(&buf, "{\n  \"format_version\": 1,\n  ");
    put_text(&buf, "name", config->name);
    if (config->description) {
        (void)ebm_buf_text(&buf, ",\n  ");
        put_text(&buf, "description", config->description);
    }
    put_input(&buf, &config->input);
    put_target(&buf, &config->target);
    if (config->net.members > 1)
        (void)ebm_buf_printf(&buf, ",\n  \"members\": %u", config->net.members);
    put_layers(&buf, "  ", "feature_net", &config->net.feature, config->image_layers, config->n_image_layers);
    put_layers(&buf, "  ", "target_net", &config->net.target, NULL, 0);
    put_layers(&buf, "  ", "energy_net", &config->net.energy, NULL, 0);
    put_proposal(&buf, &config->net);
    put_json(&buf, "training", config->training);
    put_json(&buf, "extensions", config->extensions);
    (void)ebm_buf_text(&buf, "\n}\n");
    if (buf.status == EBM_TOO_LARGE)
        return too_long(config, reterr);
    if (buf.status != EBM_OK)
        return ebm_error_set(reterr, buf.status, "config", "no memory for its text");
    *ret_text = buf.bytes;
    return EBM_OK;
}
