/* test_config_image.c - configurations of models that read images: shapes, tensors, text, refusals.
 *
 * Texts are written with ' for " so that they can be read. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "models/config.h"

#define HEAD "{'format_version': 1, 'name': 'cells', 'target': {'dim': 1}, 'input': "
#define IMAGE "{'kind': 'image', 'shape': [3, 64, 64]}"
#define ENERGY "'energy_net': [{'type': 'linear', 'in': 65, 'out': 1}]"

static enum ebm_status parse(const char *input, const char *layers, const char *energy,
                             const struct ebm_config_defaults *defaults, struct ebm_config **ret_config,
                             struct ebm_error *reterr)
{
    char text[4096];
    int length = snprintf(text, sizeof text, HEAD "%s, 'feature_net': %s, %s}", input, layers, energy);
    for (char *c = text; *c; c++)
        if (*c == '\'')
            *c = '"';
    return ebm_config_parse(text, (size_t)length, defaults, ret_config, reterr);
}

static struct ebm_config *parse_good(const char *input, const char *layers, const char *energy)
{
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(parse(input, layers, energy, NULL, &config, &error), EBM_OK, "at '%s': %s", error.where, error.text);
    return config;
}

static const struct ebm_param *find(const struct ebm_config *config, const char *name)
{
    for (size_t i = 0; i < config->n_params; i++)
        if (strcmp(config->params[i].name, name) == 0)
            return &config->params[i];
    return NULL;
}

Test(config_image, statistics_are_spread_over_the_numbers_of_an_image)
{
    struct ebm_config *config = parse_good("{'kind': 'image', 'shape': [2, 3, 4], 'scale': 0.5, 'mean': [1, -2], "
                                           "'std': [2, 4], 'resize': 'bilinear'}",
                                           "[{'type': 'flatten'}]",
                                           "'energy_net': [{'type': 'linear', 'in': 25, 'out': 1}]");
    const struct ebm_input_config *input = &config->input;
    cr_assert(input->is_image);
    cr_assert_eq(input->size, 24);
    cr_assert_eq(config->net.X, 24);
    /* (0.5 v - 1) / 2 = (v - 2) / 4;  (0.5 v + 2) / 4 = (v + 4) / 8 */
    for (uint32_t i = 0; i < 24; i++) {
        cr_assert_eq(input->mean[i], i < 12 ? 2.0 : -4.0);
        cr_assert_eq(input->std[i], i < 12 ? 4.0 : 8.0);
    }
    cr_assert_eq(config->net.trunk.out, 24);
    cr_assert_eq(config->net.H, 24);
    ebm_config_free(config);
}

/* Tensors, shapes and number of parameters of torchvision's resnet18 and resnet34 without their last layer. */
Test(config_image, resnets_are_those_of_torchvision)
{
    static const struct {
        const char *layers;
        uint64_t learned;
        uint32_t n_ops;
    } cases[] = {{"[{'type': 'resnet', 'depth': 18, 'in': 3}]", 11176512, 22},
                 {"[{'type': 'resnet', 'depth': 34, 'in': 3, 'width': 64}]", 21284672, 38}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_config *config = parse_good(IMAGE, cases[i].layers,
                                               "'energy_net': [{'type': 'linear', 'in': 513, 'out': 1}]");
        const struct ebm_trunk *trunk = &config->net.trunk;
        cr_assert_eq(config->net.H, 512);
        cr_assert_eq(trunk->n_ops, cases[i].n_ops);
        cr_assert_eq(ebm_config_learned(config) - 514, cases[i].learned);
        const struct ebm_param *conv = find(config, "feature_net.0.layer3.0.downsample.0.weight");
        uint64_t shape[4];
        cr_assert_not_null(conv);
        cr_assert_eq(ebm_param_shape(conv, shape), 4);
        cr_assert(shape[0] == 256 && shape[1] == 128 && shape[2] == 1 && shape[3] == 1);
        conv = find(config, "feature_net.0.conv1.weight");
        cr_assert_eq(ebm_param_shape(conv, shape), 4);
        cr_assert(shape[0] == 64 && shape[1] == 3 && shape[2] == 7 && shape[3] == 7);
        cr_assert_not_null(find(config, "feature_net.0.layer4.1.bn2.running_var"));
        cr_assert_null(find(config, "feature_net.0.conv1.bias"));
        const struct ebm_image_op *last = &trunk->ops[trunk->n_ops - 2];
        cr_assert(last->to.channels == 512 && last->to.height == 2 && last->to.width == 2);
        cr_assert_eq(last->add, trunk->n_ops - 3, "the block's input is kept");
        ebm_config_free(config);
    }
}

Test(config_image, running_statistics_lie_behind_what_is_learned)
{
    struct ebm_config *config = parse_good(
        IMAGE, "[{'type': 'resnet', 'depth': 18, 'in': 3, 'width': 8}, {'type': 'linear', 'in': 64, 'out': 64}]",
        ENERGY);
    const struct ebm_net_desc *net = &config->net;
    size_t end = net->part[EBM_PART_PROPOSAL].first + net->part[EBM_PART_PROPOSAL].count, at = 0;
    cr_assert_eq(net->trunk.learned.first, 0);
    cr_assert_lt(net->trunk.learned.count, net->part[EBM_PART_FEATURE].count, "the linear layer comes behind");
    for (size_t i = 0; i < config->n_params; i++) {
        const struct ebm_param *param = &config->params[i];
        cr_assert_eq(param->offset, at, "%s", param->name);
        at += ebm_round_up(ebm_param_count(param), 16);
        cr_assert_eq(param->part == EBM_PARTS, strstr(param->name, "running_") != NULL);
        cr_assert_eq(param->offset >= end, param->part == EBM_PARTS, "%s", param->name);
    }
    cr_assert_eq(net->n_params, at);
    cr_assert_not_null(find(config, "feature_net.1.weight"));
    ebm_config_free(config);
}

static const char small[] =
    "[{'type': 'conv2d', 'in': 3, 'out': 5, 'kernel': 5, 'stride': 2, 'padding': 1, 'bias': false},"
    " {'type': 'batch_norm2d', 'in': 5}, {'type': 'relu'},"
    " {'type': 'max_pool2d', 'kernel': 3, 'stride': 2, 'padding': 1},"
    " {'type': 'conv2d', 'in': 5, 'out': 7, 'kernel': 1}, {'type': 'relu'}, {'type': 'global_avg_pool'},"
    " {'type': 'linear', 'in': 7, 'out': 64, 'activation': 'silu'}]";

Test(config_image, layers_in_a_row_become_one_operation)
{
    struct ebm_config *config = parse_good(IMAGE, small, ENERGY);
    const struct ebm_trunk *trunk = &config->net.trunk;
    cr_assert_eq(trunk->n_ops, 4);
    cr_assert(trunk->ops[0].kind == EBM_IMAGE_CONV && trunk->ops[0].has_norm && trunk->ops[0].has_relu);
    cr_assert(trunk->ops[0].to.height == 31 && trunk->ops[0].to.width == 31, "(64 + 2 - 5) / 2 + 1");
    cr_assert(trunk->ops[1].kind == EBM_IMAGE_MAX_POOL && trunk->ops[1].to.height == 16);
    cr_assert(trunk->ops[2].kind == EBM_IMAGE_CONV && !trunk->ops[2].has_norm && trunk->ops[2].has_relu);
    cr_assert_neq(trunk->ops[2].bias, EBM_NO_TENSOR);
    cr_assert_eq(trunk->ops[0].bias, EBM_NO_TENSOR);
    cr_assert_eq(trunk->ops[3].kind, EBM_IMAGE_MEAN);
    cr_assert_eq(trunk->out, 7);
    cr_assert_not_null(find(config, "feature_net.1.running_mean"));
    cr_assert_not_null(find(config, "feature_net.7.bias"));
    cr_assert_eq(config->net.feature.n_layers, 1);
    ebm_config_free(config);
}

Test(config_image, its_text_reads_back_the_same)
{
    struct ebm_config *config = parse_good("{'kind': 'image', 'shape': [3, 64, 64], 'scale': 0.00392156862745098, "
                                           "'mean': [0.1, 0.2, 0.3], 'std': [0.25, 0.5, 1]}",
                                           small, ENERGY),
                      *again = NULL;
    char *text = NULL, *text_again = NULL;
    cr_assert_eq(ebm_config_text(config, &text, NULL), EBM_OK);
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &again, NULL), EBM_OK, "%s", text);
    cr_assert_eq(ebm_config_text(again, &text_again, NULL), EBM_OK);
    cr_assert_str_eq(text, text_again);
    cr_assert_eq(again->n_image_layers, 7);
    cr_assert_eq(again->input.mean[0], config->input.mean[0]);
    free(text), free(text_again);
    ebm_config_free(again);
    ebm_config_free(config);
}

Test(config_image, the_data_may_say_what_is_left_out)
{
    static const double mean[] = {0.5, 0.25, 0}, std[] = {1, 2, 3};
    const struct ebm_config_defaults defaults = {.name = "n",
                                                 .X = 3 * 64 * 64,
                                                 .D = 1,
                                                 .image = {3, 64, 64},
                                                 .scale = 0.5,
                                                 .input_mean = mean,
                                                 .input_std = std};
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(parse("{}", "[{'type': 'resnet', 'depth': 18, 'width': 8}]", "'energy_net': [{'type': 'linear'}]",
                       &defaults, &config, &error),
                 EBM_OK, "at '%s': %s", error.where, error.text);
    cr_assert(config->input.is_image);
    cr_assert_eq(config->image_layers[0].in, 3);
    cr_assert_eq(config->input.mean[0], 1.0);
    cr_assert_eq(config->input.std[2 * 4096], 6.0);
    ebm_config_free(config);
}

Test(config_image, refusals_say_where)
{
    static const struct {
        const char *input, *layers, *where, *text;
    } cases[] = {
        {"{'kind': 'picture', 'shape': [3, 64, 64]}", "[]", "input.kind", "expected \"vector\" or \"image\""},
        {"{'kind': 'image', 'shape': [64]}", "[]", "input.shape", "channels, height and width"},
        {"{'kind': 'image', 'shape': [3, 0, 64]}", "[]", "input.shape", "number 1 is 0"},
        {"{'kind': 'image', 'shape': [3, 64, 100000]}", "[]", "input.shape", "expected 1 to 2048"},
        {"{'kind': 'image', 'shape': [16, 2048, 2048]}", "[]", "input.shape", "the limit is"},
        {"{'kind': 'image', 'shape': [3, 64, 64], 'names': ['a']}", "[]", "input.names", "no names"},
        {"{'kind': 'image', 'shape': [3, 64, 64], 'scale': 0}", "[]", "input.scale", "more than 0"},
        {"{'kind': 'image', 'shape': [3, 64, 64], 'resize': 'cubic'}", "[]", "input.resize", "bilinear"},
        {"{'kind': 'image', 'shape': [3, 64, 64], 'std': [1, 1]}", "[]", "input.std", "expected 3"},
        {IMAGE, "[]", "feature_net", "must become numbers"},
        {IMAGE, "[{'type': 'relu'}]", "feature_net", "must become numbers"},
        {IMAGE, "[{'type': 'linear', 'in': 12288, 'out': 64}]", "feature_net", "must become numbers"},
        {IMAGE, "[{'type': 'convolution'}]", "feature_net[0].type", "unknown layer"},
        {IMAGE, "[{'type': 'resnet', 'depth': 50, 'in': 3}]", "feature_net[0].depth", "expected 18 or 34"},
        {IMAGE, "[{'type': 'resnet', 'in': 3}]", "feature_net[0].depth", "missing"},
        {IMAGE, "[{'type': 'resnet', 'depth': 18, 'in': 1}]", "feature_net[0].in", "3 channels reach"},
        {IMAGE, "[{'type': 'resnet', 'depth': 18, 'in': 3, 'kernel': 3}]", "feature_net[0].kernel", "unknown key"},
        {IMAGE, "[{'type': 'resnet', 'depth': 18, 'in': 3}, {'type': 'flatten'}]", "feature_net[1].type",
         "none any more"},
        {IMAGE, "[{'type': 'conv2d', 'in': 3, 'out': 4}]", "feature_net[0].kernel", "missing"},
        {IMAGE, "[{'type': 'conv2d', 'in': 3, 'out': 4, 'kernel': 32}]", "feature_net[0].kernel", "1 to 31"},
        {"{'kind': 'image', 'shape': [3, 4, 64]}",
         "[{'type': 'conv2d', 'in': 3, 'out': 4, 'kernel': 5}, {'type': 'flatten'}]", "feature_net[0]", "kernel of 5"},
        {"{'kind': 'image', 'shape': [1, 2048, 2048]}",
         "[{'type': 'conv2d', 'in': 1, 'out': 1, 'kernel': 31, 'padding': 15}, {'type': 'global_avg_pool'}]",
         "feature_net[0]", "reads 4030726144 numbers an image, the limit is 268435456"},
        {"{'kind': 'image', 'shape': [1, 16, 16]}",
         "[{'type': 'conv2d', 'in': 1, 'out': 8192, 'kernel': 1}, "
         "{'type': 'conv2d', 'in': 8192, 'out': 1, 'kernel': 1, 'stride': 31, 'padding': 31}, "
         "{'type': 'global_avg_pool'}]",
         "feature_net[1]", "reads an image of 49840128 numbers with its padding, the limit is 16777216"},
        {IMAGE, "[{'type': 'max_pool2d', 'kernel': 3, 'padding': 2}]", "feature_net[0].padding", "half of the kernel"},
        {IMAGE, "[{'type': 'conv2d', 'in': 3, 'out': 64, 'kernel': 3}, {'type': 'flatten'}]", "feature_net",
         "numbers are left"},
        {"{'kind': 'vector', 'shape': [4]}", "[{'type': 'relu'}]", "feature_net[0].type", "input.kind is \"vector\""},
        {IMAGE, "[{'type': 'resnet', 'depth': 18, 'in': 3, 'width': 8}, {'type': 'linear', 'in': 63, 'out': 64}]",
         "feature_net[1].in", "64 numbers reach"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_config *config = NULL;
        struct ebm_error error = {0};
        cr_assert_neq(parse(cases[i].input, cases[i].layers, ENERGY, NULL, &config, &error), EBM_OK, "case %zu", i);
        cr_assert_str_eq(error.where, cases[i].where, "case %zu: %s", i, error.text);
        cr_assert_not_null(strstr(error.text, cases[i].text), "case %zu: %s", i, error.text);
    }
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    cr_assert_neq(parse(IMAGE, "[{'type': 'flatten'}]", "'energy_net': [{'type': 'relu'}]", NULL, &config, &error),
                  EBM_OK);
    cr_assert_not_null(strstr(error.text, "belongs into feature_net"), "%s", error.text);
}
