/* test_config.c - what a configuration means, its text, defaults, and errors as a table of edits.
 *
 * Texts are written with ' for " so that they can be read; an edit replaces the first place of one text by another. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "models/config.h"

#define LAYER(in, out, act) "{'type': 'linear', 'in': " #in ", 'out': " #out ", 'activation': '" act "'}"

/* X 3, D 2, H 8, G 4, K 5 */
/* clang-format off */
static const char full[] =
    "{'format_version': 1, 'name': 'cells', 'description': 'a \\u00e9 test',"
    " 'input': {'kind': 'vector', 'shape': [3], 'names': ['a', 'b', 'c'], 'mean': [1, 2.5, -3], 'std': [1, 0.1, 2]},"
    " 'target': {'dim': 2, 'names': ['u', 'v'], 'mean': [0.5, 1e3], 'std': [2, 0.25],"
    " 'support': ['real', 'real'], 'lower': [-1, 0], 'upper': [4, 5.5]},"
    " 'members': 1,"
    " 'feature_net': [" LAYER(3, 8, "relu") ", {'type': 'linear', 'in': 8, 'out': 8, 'residual': true}],"
    " 'target_net': [" LAYER(2, 4, "silu") "],"
    " 'energy_net': [" LAYER(12, 6, "tanh") ", " LAYER(6, 1, "identity") "],"
    " 'proposal': {'kind': 'gaussian_mixture', 'components': 5, 'trains_features': true,"
    " 'mean_net': [" LAYER(8, 10, "identity") "], 'log_variance_net': [" LAYER(8, 7, "softplus") ", "
    LAYER(7, 10, "identity") "], 'weight_net': [" LAYER(8, 5, "identity") "]},"
    " 'training': {'method': 'nce_kl', 'rate': 0.1, 'list': [1, null, true, 'x']},"
    " 'extensions': {'anything': {'goes': [1]}}}";
/* clang-format on */

/* `text` with the first `from` replaced by `to` (NULL: unchanged) and ' by ". New: free(). */
static char *json_of(const char *text, const char *from, const char *to)
{
    size_t size = strlen(text) + (to ? strlen(to) : 0) + 1;
    char *json = calloc(size, 1);
    cr_assert_not_null(json);
    const char *place = from ? strstr(text, from) : NULL;
    cr_assert(!from || place, "the text lacks: %s", from);
    if (place)
        (void)snprintf(json, size, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    else
        (void)snprintf(json, size, "%s", text);
    for (char *c = json; *c; c++)
        if (*c == '\'')
            *c = '"';
    return json;
}

static enum ebm_status parse(const char *text, const char *from, const char *to,
                             const struct ebm_config_defaults *defaults, struct ebm_config **ret_config,
                             struct ebm_error *reterr)
{
    char *json = json_of(text, from, to);
    enum ebm_status status = ebm_config_parse(json, strlen(json), defaults, ret_config, reterr);
    free(json);
    return status;
}

static struct ebm_config *parse_good(const char *text, const char *from, const char *to,
                                     const struct ebm_config_defaults *defaults)
{
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(parse(text, from, to, defaults, &config, &error), EBM_OK, "at '%s': %s", error.where, error.text);
    return config;
}

/* ---- meaning ---- */

Test(config, everything_is_read)
{
    struct ebm_config *config = parse_good(full, NULL, NULL, NULL);
    cr_assert_str_eq(config->name, "cells");
    cr_assert_str_eq(config->description, "a \u00e9 test");
    cr_assert_eq(config->input.size, 3);
    cr_assert_str_eq(config->input.names[2], "c");
    cr_assert_eq(config->input.mean[1], 2.5);
    cr_assert_eq(config->input.std[1], 0.1);
    cr_assert_eq(config->target.dim, 2);
    cr_assert_str_eq(config->target.names[1], "v");
    cr_assert_eq(config->target.mean[1], 1000);
    cr_assert_eq(config->target.std[1], 0.25);
    cr_assert_eq(config->target.lower[0], -1);
    cr_assert_eq(config->target.upper[1], 5.5);
    cr_assert_str_eq(config->training, "{\"method\": \"nce_kl\", \"rate\": 0.1, \"list\": [1, null, true, \"x\"]}");
    cr_assert_str_eq(config->extensions, "{\"anything\": {\"goes\": [1]}}");
    ebm_config_free(config);
}

Test(config, the_net_is_described)
{
    struct ebm_config *config = parse_good(full, NULL, NULL, NULL);
    const struct ebm_net_desc *net = &config->net;
    cr_assert_eq(net->X, 3);
    cr_assert_eq(net->D, 2);
    cr_assert_eq(net->H, 8);
    cr_assert_eq(net->G, 4);
    cr_assert_eq(net->K, 5);
    cr_assert(net->has_energy);
    cr_assert(net->trains_features);
    cr_assert_eq(net->feature.n_layers, 2);
    cr_assert_eq(net->feature.layers[0].activation, EBM_ACT_RELU);
    cr_assert_eq(net->feature.layers[1].activation, EBM_ACT_IDENTITY);
    cr_assert(net->feature.layers[1].residual);
    cr_assert_eq(net->target.layers[0].activation, EBM_ACT_SILU);
    cr_assert_eq(net->energy.layers[0].activation, EBM_ACT_TANH);
    cr_assert_eq(net->log_variance.n_layers, 2);
    cr_assert_eq(net->log_variance.layers[0].activation, EBM_ACT_SOFTPLUS);
    cr_assert_eq(net->weight.layers[0].out, 5);
    ebm_config_free(config);
}

Test(config, tensors_have_names_shapes_and_places)
{
    static const struct {
        const char *name;
        uint32_t rows, columns;
        enum ebm_part part;
    } expected[] = {
        {"feature_net.0.weight", 8, 3, EBM_PART_FEATURE},
        {"feature_net.0.bias", 8, 0, EBM_PART_FEATURE},
        {"feature_net.1.weight", 8, 8, EBM_PART_FEATURE},
        {"feature_net.1.bias", 8, 0, EBM_PART_FEATURE},
        {"target_net.0.weight", 4, 2, EBM_PART_TARGET},
        {"target_net.0.bias", 4, 0, EBM_PART_TARGET},
        {"energy_net.0.weight", 6, 12, EBM_PART_ENERGY},
        {"energy_net.0.bias", 6, 0, EBM_PART_ENERGY},
        {"energy_net.1.weight", 1, 6, EBM_PART_ENERGY},
        {"energy_net.1.bias", 1, 0, EBM_PART_ENERGY},
        {"proposal.mean_net.0.weight", 10, 8, EBM_PART_PROPOSAL},
        {"proposal.mean_net.0.bias", 10, 0, EBM_PART_PROPOSAL},
        {"proposal.log_variance_net.0.weight", 7, 8, EBM_PART_PROPOSAL},
        {"proposal.log_variance_net.0.bias", 7, 0, EBM_PART_PROPOSAL},
        {"proposal.log_variance_net.1.weight", 10, 7, EBM_PART_PROPOSAL},
        {"proposal.log_variance_net.1.bias", 10, 0, EBM_PART_PROPOSAL},
        {"proposal.weight_net.0.weight", 5, 8, EBM_PART_PROPOSAL},
        {"proposal.weight_net.0.bias", 5, 0, EBM_PART_PROPOSAL},
    };
    struct ebm_config *config = parse_good(full, NULL, NULL, NULL);
    const struct ebm_param *params;
    size_t n = ebm_config_params(config, &params), at = 0, part_end = 0;
    cr_assert_eq(n, EBM_COUNT_OF(expected), "%zu tensors", n);
    uint64_t learned = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(expected); i++)
        learned += expected[i].rows * (expected[i].columns > 0 ? expected[i].columns : 1);
    cr_assert_eq(ebm_config_learned(config), learned);
    for (size_t i = 0; i < n; i++) {
        cr_assert_str_eq(params[i].name, expected[i].name);
        cr_assert_eq(params[i].rows, expected[i].rows, "%s", params[i].name);
        cr_assert_eq(params[i].columns, expected[i].columns, "%s", params[i].name);
        cr_assert_eq(params[i].part, expected[i].part, "%s", params[i].name);
        cr_assert_eq(params[i].offset, at, "%s at %zu, expected %zu", params[i].name, params[i].offset, at);
        cr_assert_eq(at % 16, 0);
        at += ebm_round_up((size_t)expected[i].rows * (expected[i].columns ? expected[i].columns : 1), 16);
    }
    cr_assert_eq(config->net.n_params, at);
    cr_assert_eq(config->net.energy.layers[1].bias, params[9].offset);
    cr_assert_eq(config->net.log_variance.layers[1].weight, params[14].offset);
    for (int part = 0; part < EBM_PARTS; part++) {
        cr_assert_eq(config->net.part[part].first, part_end, "part %d", part);
        part_end += config->net.part[part].count;
    }
    cr_assert_eq(part_end, at);
    ebm_config_free(config);
}

static const char mixture_only[] =
    "{'format_version': 1, 'name': 'm', 'input': {'kind': 'vector', 'shape': [2]}, 'target': {'dim': 1},"
    " 'proposal': {'kind': 'gaussian_mixture', 'components': 1, 'mean_net': [{'type': 'linear', 'in': 2, 'out': 1}],"
    " 'log_variance_net': [{'type': 'linear', 'in': 2, 'out': 1}],"
    " 'weight_net': [{'type': 'linear', 'in': 2, 'out': 1}]}}";

static const char energy_only[] =
    "{'format_version': 1, 'name': 'e', 'input': {'kind': 'vector', 'shape': [2]}, 'target': {'dim': 3},"
    " 'energy_net': [{'type': 'linear', 'in': 5, 'out': 1}]}";

Test(config, absent_parts_and_their_defaults)
{
    struct ebm_config *config = parse_good(mixture_only, NULL, NULL, NULL);
    cr_assert_not(config->net.has_energy);
    cr_assert_not(config->net.trains_features);
    cr_assert_eq(config->net.energy.n_layers, 0);
    cr_assert_eq(config->net.H, 2, "without a feature net h is x");
    cr_assert_eq(config->net.part[EBM_PART_ENERGY].count, 0);
    cr_assert_eq(config->net.part[EBM_PART_PROPOSAL].count, 6 * 16);
    cr_assert_null(config->description);
    cr_assert_null(config->input.names);
    cr_assert_null(config->target.lower);
    cr_assert_null(config->training);
    cr_assert_eq(config->input.mean[1], 0);
    cr_assert_eq(config->input.std[1], 1);
    cr_assert_eq(config->target.std[0], 1);
    ebm_config_free(config);
    config = parse_good(energy_only, NULL, NULL, NULL);
    cr_assert_eq(config->net.G, 3, "without a target net g is y");
    cr_assert_eq(config->net.K, 0);
    cr_assert(config->net.has_energy);
    ebm_config_free(config);
}

Test(config, harmless_ways_to_say_the_default)
{
    static const char *const ways[][2] = {
        {"'support': ['real', 'real'],", "'support': 'real',"},
        {"'support': ['real', 'real'],", ""},
        {"'members': 1,", ""},
        {"'kind': 'vector',", "'kind': 'vector', 'scale': 1, 'resize': 'bilinear',"},
        {"'kind': 'vector',", "'kind': 'vector', 'scale': 1.0,"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(ways); i++)
        ebm_config_free(parse_good(full, ways[i][0], ways[i][1], NULL));
    ebm_config_free(parse_good(energy_only, "'energy_net'", "'feature_net': [], 'target_net': [], 'energy_net'", NULL));
}

static const char mixed[] = "['real', 'periodic'], 'lower': [null, -180], 'upper': [null, 180]";

Test(config, supports_are_kept_in_the_users_units_and_standardised)
{
    static const char from[] = "['real', 'real'], 'lower': [-1, 0], 'upper': [4, 5.5]";
    struct ebm_config *config = parse_good(full, from, mixed, NULL);
    cr_assert_eq(config->target.support[0], EBM_SUPPORT_REAL);
    cr_assert_eq(config->target.support[1], EBM_SUPPORT_PERIODIC);
    cr_assert(isinf(config->target.lower[0]) && isinf(config->target.upper[0]));
    cr_assert_eq(config->net.support[1].kind, EBM_SUPPORT_PERIODIC);
    cr_assert_eq(config->net.support[1].lower, (-180.0 - 1000.0) / 0.25);
    cr_assert_eq(config->net.support[1].upper, (180.0 - 1000.0) / 0.25);
    cr_assert(isinf(config->net.support[0].lower));
    char *text = NULL;
    cr_assert_eq(ebm_config_text(config, &text, NULL), EBM_OK);
    cr_assert(strstr(text, "\"support\": [\"real\", \"periodic\"], \"lower\": [null, -180], \"upper\": [null, 180]"),
              "%s", text);
    free(text);
    ebm_config_free(config);
    config = parse_good(full, "['real', 'real']", "'bounded'", NULL);
    cr_assert(config->target.support[0] == EBM_SUPPORT_BOUNDED && config->net.support[1].kind == EBM_SUPPORT_BOUNDED);
    ebm_config_free(config);
}

Test(config, statistics_of_an_angle_come_from_its_period)
{
    static const double mean[] = {3, 170}, std[] = {2, 20};
    const struct ebm_config_defaults defaults = {.D = 2, .target_mean = mean, .target_std = std};
    static const char from[] = "'mean': [0.5, 1e3], 'std': [2, 0.25], 'support': ['real', 'real'], 'lower': [-1, 0], "
                               "'upper': [4, 5.5]";
    static const char to[] = "'support': ['bounded', 'periodic'], 'lower': [0, 0], 'upper': [9, 360]";
    struct ebm_config *config = parse_good(full, from, to, &defaults);
    cr_assert(config->target.mean[0] == 3.0 && config->target.std[0] == 2.0);
    cr_assert(config->target.mean[1] == 180.0 && fabs(config->target.std[1] - 360.0 / sqrt(12.0)) < 1e-12);
    ebm_config_free(config);
}

/* ---- text ---- */

Test(config, its_text_reads_back_the_same)
{
    const char *const texts[] = {full, mixture_only, energy_only};
    for (size_t i = 0; i < EBM_COUNT_OF(texts); i++) {
        struct ebm_config *config = parse_good(texts[i], NULL, NULL, NULL);
        char *text = NULL, *text_again = NULL;
        struct ebm_config *again = NULL;
        struct ebm_error error = {0};
        cr_assert_eq(ebm_config_text(config, &text, &error), EBM_OK, "%s", error.text);
        cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &again, &error), EBM_OK, "%s %s in\n%s", error.where,
                     error.text, text);
        cr_assert_eq(ebm_config_text(again, &text_again, &error), EBM_OK, "%s", error.text);
        cr_assert_str_eq(text, text_again);
        cr_assert_eq(again->net.n_params, config->net.n_params);
        cr_assert_eq(again->net.trains_features, config->net.trains_features);
        cr_assert_eq(memcmp(again->target.std, config->target.std, config->target.dim * sizeof(double)), 0);
        cr_assert_eq(memcmp(again->params, config->params, config->n_params * sizeof *config->params), 0);
        free(text);
        free(text_again);
        ebm_config_free(config);
        ebm_config_free(again);
    }
}

Test(config, training_is_replaced_or_left_alone)
{
    struct ebm_config *config = parse_good(full, NULL, NULL, NULL);
    struct ebm_error error = {0};
    cr_assert_eq(ebm_config_set_training(config, "{\"a\": 1e-3}", &error), EBM_OK, "%s", error.text);
    cr_assert_str_eq(config->training, "{\"a\": 0.001}");
    static const char *const bad[] = {"", "[1]", "{", "{\"a\": 1, \"a\": 2}", "{} {}", "null"};
    for (size_t i = 0; i < EBM_COUNT_OF(bad); i++) {
        error = (struct ebm_error){0};
        cr_assert_eq(ebm_config_set_training(config, bad[i], &error), EBM_INVALID, "%s", bad[i]);
        cr_assert_str_eq(error.where, "training");
        cr_assert_neq(error.text[0], 0, "%s is refused without a text", bad[i]);
        cr_assert_eq(ebm_config_set_training(config, bad[i], NULL), EBM_INVALID, "%s", bad[i]);
        cr_assert_str_eq(config->training, "{\"a\": 0.001}");
    }
    ebm_config_free(config);
}

/* What ebm_config_parse would refuse is not written. */
Test(config, a_text_longer_than_the_parser_reads_is_refused)
{
    struct ebm_config *config = parse_good(full, NULL, NULL, NULL);
    struct ebm_error error = {0};
    char *text = NULL;
    free(config->description);
    config->description = calloc(LIMIT_CONFIG_BYTES + 1u, 1);
    cr_assert_not_null(config->description);
    memset(config->description, 'a', LIMIT_CONFIG_BYTES);
    cr_assert_eq(ebm_config_text(config, &text, &error), EBM_TOO_LARGE);
    cr_assert_null(text);
    cr_assert(strstr(error.text, "fewer columns, or shorter names") != NULL, "%s", error.text);
    ebm_config_free(config);
}

/* ---- errors ---- */

static const struct {
    const char *from, *to;
    enum ebm_status status;
    const char *where, *fragment;
} edits[] = {
    /* JSON */
    {"{'format", "'format", EBM_INVALID, "", "line 1, column"},
    {"'members': 1,", "'members': 1, 'members': 1,", EBM_INVALID, "", "duplicate object key"},
    {"'components': 5,", "'components': 5, 'components': 5,", EBM_INVALID, "", "duplicate object key"},
    {"'mean': [1, 2.5, -3]", "'mean': [1, NaN, -3]", EBM_INVALID, "", "line 1, column"},
    {"'mean': [1, 2.5, -3]", "'mean': [1, 1e999, -3]", EBM_INVALID, "", "line 1, column"},
    /* top level */
    {"'format_version': 1, ", "", EBM_INVALID, "format_version", "is missing"},
    {"'format_version': 1", "'format_version': 2", EBM_INVALID, "format_version", "2 is not available in this version"},
    {"'format_version': 1", "'format_version': '1'", EBM_INVALID, "format_version", "got a string"},
    {"'name': 'cells', ", "", EBM_INVALID, "name", "is missing"},
    {"'name': 'cells'", "'name': ''", EBM_INVALID, "name", "1 to 128 bytes"},
    {"'name': 'cells'", "'name': null", EBM_INVALID, "name", "expected a string, got null"},
    {"'name': 'cells'", "'name': 'c\\u0000d'", EBM_INVALID, "", "\\u0000"},
    {"'description': 'a \\u00e9 test'", "'description': 7", EBM_INVALID, "description", "expected a string"},
    {"'members'", "'standardize': true, 'members'", EBM_INVALID, "standardize", "unknown key"},
    {"'members': 1", "'members': 65", EBM_INVALID, "members", "expected a whole number from 1 to 64"},
    {"'members': 1", "'members': 0", EBM_INVALID, "members", "expected a whole number from 1 to 64"},
    {"'members': 1", "'members': 1.0", EBM_INVALID, "members", "expected a whole number from 1 to 64"},
    {"'extensions': {", "'extensions': [], 'x': {", EBM_INVALID, "x", "unknown key"},
    {"'extensions': {'anything': {'goes': [1]}}", "'extensions': []", EBM_INVALID, "extensions", "got an array"},
    {"'training': {", "'training': true, 'extension': {", EBM_INVALID, "extension", "unknown key"},
    /* input */
    {"'input': {'kind': 'vector', 'shape': [3], 'names': ['a', 'b', 'c'], 'mean': [1, 2.5, -3], 'std': [1, 0.1, 2]},",
     "", EBM_INVALID, "input", "is missing"},
    {"'kind': 'vector', ", "", EBM_INVALID, "input.kind", "is missing"},
    {"'kind': 'vector'", "'kind': 'image'", EBM_INVALID, "input.names", "an image has no names"},
    {"'kind': 'vector'", "'kind': 'sound'", EBM_INVALID, "input.kind", "\"sound\", expected \"vector\""},
    {"'shape': [3], ", "", EBM_INVALID, "input.shape", "is missing"},
    {"'shape': [3]", "'shape': [3, 64, 64]", EBM_INVALID, "input.shape", "array of one integer"},
    {"'shape': [3]", "'shape': 3", EBM_INVALID, "input.shape", "array of one integer"},
    {"'shape': [3]", "'shape': [0]", EBM_INVALID, "input.shape", "expected 1 to 65536"},
    {"'shape': [3]", "'shape': [-1]", EBM_INVALID, "input.shape", "expected 1 to 65536"},
    {"'shape': [3]", "'shape': [65537]", EBM_TOO_LARGE, "input.shape", "expected 1 to 65536"},
    {"'shape': [3]", "'shape': [4]", EBM_INVALID, "input.names", "has 3 names, expected 4"},
    {"['a', 'b', 'c']", "['a', 'b', 3]", EBM_INVALID, "input.names", "expected strings, got an integer"},
    {"['a', 'b', 'c']", "['a', 'b', '']", EBM_INVALID, "input.names", "1 to 128 bytes"},
    {"['a', 'b', 'c']", "'abc'", EBM_INVALID, "input.names", "expected an array of strings"},
    {"'mean': [1, 2.5, -3]", "'mean': [1, 2.5]", EBM_INVALID, "input.mean", "has 2 numbers, expected 3"},
    {"'mean': [1, 2.5, -3]", "'mean': 0", EBM_INVALID, "input.mean", "expected an array of numbers"},
    {"'mean': [1, 2.5, -3]", "'mean': [1, '2.5', -3]", EBM_INVALID, "input.mean", "expected numbers, got a string"},
    {"'std': [1, 0.1, 2]", "'std': [1, 0, 2]", EBM_INVALID, "input.std", "number 1 is 0, expected more than 0"},
    {"'std': [1, 0.1, 2]", "'std': [1, 0.1, -2]", EBM_INVALID, "input.std", "number 2 is -2"},
    {"'shape': [3],", "'shape': [3], 'scale': 0.5,", EBM_INVALID, "input.scale", "can only be 1"},
    {"'shape': [3],", "'shape': [3], 'resize': 'nearest',", EBM_INVALID, "input.resize", "can only be"},
    {"'shape': [3],", "'shape': [3], 'size': 3,", EBM_INVALID, "input.size", "unknown key"},
    /* target */
    {"'dim': 2, ", "", EBM_INVALID, "target.dim", "is missing"},
    {"'dim': 2", "'dim': 0", EBM_INVALID, "target.dim", "expected 1 to 64"},
    {"'dim': 2", "'dim': 65", EBM_TOO_LARGE, "target.dim", "expected 1 to 64"},
    {"'dim': 2", "'dim': 2.0", EBM_INVALID, "target.dim", "expected an integer, got a number"},
    {"'dim': 2", "'dim': 99999999999999999999", EBM_INVALID, "", "too big integer"},
    {"'lower': [-1, 0]", "'lower': [-1, 'x']", EBM_INVALID, "target.lower",
     "or null where there is none, got a string"},
    {"'lower': [-1, 0]", "'lower': [-1]", EBM_INVALID, "target.lower", "has 1 numbers, expected 2"},
    {"'lower': [-1, 0]", "'lower': [-1, null]", EBM_INVALID, "target.lower", "number 1 is null: lower and upper stand"},
    {"'lower': [-1, 0], 'upper': [4, 5.5]", "'lower': [0, -1e308], 'upper': [1, 1e308]", EBM_INVALID, "target.lower",
     "too far apart"},
    {"'lower': [-1, 0], 'upper': [4, 5.5]", "'lower': [0, 1e9], 'upper': [1, 1000000001]", EBM_INVALID, "target.lower",
     "cannot be told apart"},
    {"['real', 'real'], 'lower': [-1, 0], 'upper': [4, 5.5]", "['real', 'bounded']", EBM_INVALID, "target.lower",
     "dimension 1 is bounded: it needs numbers in lower and upper"},
    {"['real', 'real'], 'lower': [-1, 0], 'upper': [4, 5.5]",
     "['periodic', 'real'], 'lower': [0, 0], 'upper': [null, 1]", EBM_INVALID, "target.upper",
     "dimension 0 is periodic"},
    {"['real', 'real']", "['real']", EBM_INVALID, "target.support", "has 1 entries, expected 2"},
    {"['real', 'real']", "['real', 'whole']", EBM_INVALID, "target.support", "\"whole\", expected \"real\""},
    {"['real', 'real']", "[1, 2]", EBM_INVALID, "target.support", "expected a string, got an integer"},
    {"'lower': [-1, 0], ", "", EBM_INVALID, "target.lower", "stand together"},
    {", 'upper': [4, 5.5]", "", EBM_INVALID, "target.upper", "stand together"},
    {"'upper': [4, 5.5]", "'upper': [4, 0]", EBM_INVALID, "target.lower", "number 1 is 0, expected less than upper, 0"},
    {"'std': [2, 0.25]", "'std': [0, 0.25]", EBM_INVALID, "target.std", "number 0 is 0"},
    {"'dim': 2,", "'dim': 2, 'kind': 'x',", EBM_INVALID, "target.kind", "unknown key"},
    /* layers */
    {LAYER(3, 8, "relu"), "7", EBM_INVALID, "feature_net[0]", "expected an object, got an integer"},
    {LAYER(3, 8, "relu"), "{'in': 3, 'out': 8}", EBM_INVALID, "feature_net[0].type", "is missing"},
    {LAYER(3, 8, "relu"), "{'type': 'resnet', 'depth': 18, 'in': 3, 'width': 64}", EBM_INVALID, "feature_net[0].type",
     "\"resnet\" reads an image, and input.kind is \"vector\""},
    {LAYER(3, 8, "relu"), "{'type': 'lstm'}", EBM_INVALID, "feature_net[0].type", "unknown layer \"lstm\""},
    {LAYER(3, 8, "relu"), "{'type': 'linear', 'width': 3}", EBM_INVALID, "feature_net[0].width", "unknown key"},
    {LAYER(3, 8, "relu"), "{'type': 'linear', 'out': 8}", EBM_INVALID, "feature_net[0].in", "is missing, expected 3"},
    {LAYER(3, 8, "relu"), "{'type': 'linear', 'in': 3}", EBM_INVALID, "feature_net[0].out", "is missing"},
    {LAYER(3, 8, "relu"), LAYER(3, 8, "gelu"), EBM_INVALID, "feature_net[0].activation", "unknown activation \"gelu\""},
    {LAYER(3, 8, "relu"), LAYER(4, 8, "relu"), EBM_INVALID, "feature_net[0].in", "4, but 3 numbers reach this layer"},
    {LAYER(3, 8, "relu"), LAYER(3, 9, "relu"), EBM_INVALID, "feature_net[1].in", "8, but 9 numbers reach this layer"},
    {LAYER(3, 8, "relu"), LAYER(3, 70000, "relu"), EBM_TOO_LARGE, "feature_net[0].out", "expected 1 to 65536"},
    {"'out': 8, 'residual': true", "'out': 9, 'residual': true", EBM_INVALID, "feature_net[1]",
     "residual needs in = out, got 8 and 9"},
    {"'residual': true", "'residual': 1", EBM_INVALID, "feature_net[1].residual", "expected true or false"},
    {"'feature_net': [", "'feature_net': {}, 'extension': [", EBM_INVALID, "extension", "unknown key"},
    {"'target_net': [" LAYER(2, 4, "silu") "]", "'target_net': 'none'", EBM_INVALID, "target_net",
     "expected an array of layers"},
    {LAYER(2, 4, "silu"), LAYER(1, 4, "silu"), EBM_INVALID, "target_net[0].in", "1, but 2 numbers"},
    {LAYER(2, 4, "silu"), LAYER(2, 3, "silu"), EBM_INVALID, "energy_net[0].in", "12, but 11 numbers"},
    {LAYER(6, 1, "identity"), LAYER(6, 2, "identity"), EBM_INVALID, "energy_net[1].out",
     "2, but the net's last layer must give 1"},
    {"'energy_net': [" LAYER(12, 6, "tanh") ", " LAYER(6, 1, "identity") "]", "'energy_net': []", EBM_INVALID,
     "energy_net", "needs at least one layer"},
    {"'energy_net': [" LAYER(12, 6, "tanh") ", " LAYER(6, 1, "identity") "],", "", EBM_INVALID, "target_net",
     "no energy_net to read it"},
    /* proposal */
    {"'proposal': {", "'proposal': [], 'x': {", EBM_INVALID, "x", "unknown key"},
    {"'kind': 'gaussian_mixture', ", "", EBM_INVALID, "proposal.kind", "is missing"},
    {"'gaussian_mixture'", "'flow'", EBM_INVALID, "proposal.kind", "\"flow\", expected \"gaussian_mixture\""},
    {"'components': 5, ", "", EBM_INVALID, "proposal.components", "is missing"},
    {"'components': 5", "'components': 0", EBM_INVALID, "proposal.components", "expected 1 to 256"},
    {"'components': 5", "'components': 257", EBM_TOO_LARGE, "proposal.components", "expected 1 to 256"},
    {"'components': 5", "'components': 4", EBM_INVALID, "proposal.mean_net[0].out", "must give 8"},
    {"'trains_features': true", "'trains_features': 'yes'", EBM_INVALID, "proposal.trains_features",
     "expected true or false"},
    {"'mean_net': [" LAYER(8, 10, "identity") "], ", "", EBM_INVALID, "proposal.mean_net", "at least one layer"},
    {"'weight_net': [" LAYER(8, 5, "identity") "]", "'weight_net': []", EBM_INVALID, "proposal.weight_net",
     "at least one layer"},
    {LAYER(8, 5, "identity"), LAYER(8, 10, "identity"), EBM_INVALID, "proposal.weight_net[0].out", "must give 5"},
    {LAYER(7, 10, "identity"), LAYER(7, 5, "identity"), EBM_INVALID, "proposal.log_variance_net[1].out",
     "must give 10"},
    {"'components': 5,", "'components': 5, 'temperature': 2,", EBM_INVALID, "proposal.temperature", "unknown key"},
};

Test(config, errors_say_where_and_what)
{
    for (size_t i = 0; i < EBM_COUNT_OF(edits); i++) {
        struct ebm_config *untouched = (struct ebm_config *)(void *)&untouched, *config = untouched;
        struct ebm_error error = {0};
        enum ebm_status status = parse(full, edits[i].from, edits[i].to, NULL, &config, &error);
        cr_assert_eq(status, edits[i].status, "edit %zu (to %s): %s at '%s': %s", i, edits[i].to,
                     ebm_status_name(status), error.where, error.text);
        cr_assert_eq(error.status, status);
        cr_assert_eq(config, untouched);
        cr_assert_str_eq(error.where, edits[i].where, "edit %zu (to %s): where '%s', expected '%s' (%s)", i,
                         edits[i].to, error.where, edits[i].where, error.text);
        cr_assert_not_null(strstr(error.text, edits[i].fragment), "edit %zu: '%s' lacks '%s'", i, error.text,
                           edits[i].fragment);
        cr_assert_eq(parse(full, edits[i].from, edits[i].to, NULL, &config, NULL), status, "edit %zu, no reterr", i);
    }
}

Test(config, other_roots_and_empty_models)
{
    static const char *const texts[] = {"",
                                        "[]",
                                        "7",
                                        "{}",
                                        "{} x",
                                        "{'format_version': 1, 'name': 'm', 'input': {'kind': 'vector', 'shape': [2]},"
                                        " 'target': {'dim': 1}}"};
    for (size_t i = 0; i < EBM_COUNT_OF(texts); i++) {
        struct ebm_config *config = NULL;
        struct ebm_error error = {0};
        cr_assert_eq(parse(texts[i], NULL, NULL, NULL, &config, &error), EBM_INVALID, "%s", texts[i]);
        cr_assert(error.text[0]);
        if (i + 1 == EBM_COUNT_OF(texts))
            cr_assert_str_eq(error.text, "a model needs energy_net, proposal or both");
    }
}

/* Every text cut off somewhere is refused; none crashes. */
Test(config, every_truncation_is_refused)
{
    char *json = json_of(full, NULL, NULL);
    for (size_t length = 0; length < strlen(json); length++) {
        struct ebm_config *config = NULL;
        cr_assert_eq(ebm_config_parse(json, length, NULL, &config, NULL), EBM_INVALID, "%zu bytes", length);
    }
    free(json);
}

Test(config, limits)
{
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    size_t size = LIMIT_CONFIG_BYTES + 1;
    char *text = malloc(size + 1);
    cr_assert_not_null(text);
    memset(text, ' ', size);
    cr_assert_eq(ebm_config_parse(text, size, NULL, &config, &error), EBM_TOO_LARGE);
    memset(text, '[', size);
    cr_assert_eq(ebm_config_parse(text, size - 1, NULL, &config, &error), EBM_INVALID, "a million brackets");
    size_t at = (size_t)snprintf(text, size, "%s",
                                 "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": "
                                 "\"vector\", \"shape\": [2]}, \"target\": {\"dim\": 1}, "
                                 "\"feature_net\": [");
    for (int i = 0; i < 257; i++)
        at += (size_t)snprintf(text + at, size - at, "%s{\"type\": \"linear\", \"in\": 2, \"out\": 2}", i ? "," : "");
    at += (size_t)snprintf(text + at, size - at, "]}");
    cr_assert_eq(ebm_config_parse(text, at, NULL, &config, &error), EBM_TOO_LARGE);
    cr_assert_str_eq(error.text, "257 layers, the limit is 256");
    free(text);
    cr_assert_eq(parse(energy_only, "'energy_net': [{'type': 'linear', 'in': 5, 'out': 1}]",
                       "'energy_net': [{'type': 'linear', 'in': 5, 'out': 65536}, {'type': 'linear', 'in': 65536,"
                       " 'out': 65536}, {'type': 'linear', 'in': 65536, 'out': 1}]",
                       NULL, &config, &error),
                 EBM_TOO_LARGE);
    cr_assert_str_eq(error.where, "energy_net");
    cr_assert_str_eq(error.text, "more than 1073741824 parameters");
}

/* ---- training configurations ---- */

static const double means[3] = {1, 2, 3}, stds[3] = {4, 5, 6};
static char name_a[] = "a", name_b[] = "b", name_c[] = "c";
static char *const names[3] = {name_a, name_b, name_c};
static const struct ebm_config_defaults from_data = {.name = "run",
                                                     .X = 3,
                                                     .D = 2,
                                                     .input_names = names,
                                                     .target_names = names,
                                                     .input_mean = means,
                                                     .input_std = stds,
                                                     .target_mean = means + 1,
                                                     .target_std = stds + 1};

static const char sparse[] =
    "{'feature_net': [{'type': 'linear', 'out': 8, 'activation': 'relu'}, {'type': 'linear', 'out': 6}],"
    " 'energy_net': [{'type': 'linear', 'out': 7}, {'type': 'linear'}],"
    " 'proposal': {'kind': 'gaussian_mixture', 'components': 4, 'mean_net': [{'type': 'linear', 'out': 9},"
    " {'type': 'linear'}], 'log_variance_net': [{'type': 'linear'}], 'weight_net': [{'type': 'linear'}]}}";

Test(config, what_a_training_configuration_leaves_out_is_filled)
{
    struct ebm_config *config = parse_good(sparse, NULL, NULL, &from_data);
    cr_assert_str_eq(config->name, "run");
    cr_assert_eq(config->net.X, 3);
    cr_assert_eq(config->net.D, 2);
    cr_assert_eq(config->input.mean[2], 3);
    cr_assert_eq(config->input.std[0], 4);
    cr_assert_str_eq(config->input.names[2], "c");
    cr_assert_eq(config->target.mean[0], 2);
    cr_assert_eq(config->target.std[1], 6);
    cr_assert_str_eq(config->target.names[1], "b");
    cr_assert_eq(config->net.feature.layers[1].in, 8);
    cr_assert_eq(config->net.energy.layers[0].in, 6 + 2);
    cr_assert_eq(config->net.energy.layers[1].in, 7);
    cr_assert_eq(config->net.energy.layers[1].out, 1);
    cr_assert_eq(config->net.mean.layers[1].out, 8);
    cr_assert_eq(config->net.weight.layers[0].out, 4);
    char *text = NULL;
    struct ebm_config *complete = NULL;
    cr_assert_eq(ebm_config_text(config, &text, NULL), EBM_OK);
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &complete, NULL), EBM_OK, "its text is whole:\n%s", text);
    free(text);
    ebm_config_free(complete);
    ebm_config_free(config);
}

Test(config, what_a_training_configuration_says_wins_or_must_agree)
{
    struct ebm_config *config = parse_good(sparse, "{'feature_net'",
                                           "{'name': 'mine', 'input': {'mean': [7, 8, 9], 'shape': [3]}, 'target':"
                                           " {'std': [1, 1], 'names': ['u', 'v']}, 'feature_net'",
                                           &from_data);
    cr_assert_str_eq(config->name, "mine");
    cr_assert_eq(config->input.mean[0], 7);
    cr_assert_eq(config->input.std[0], 4);
    cr_assert_eq(config->target.std[1], 1);
    cr_assert_eq(config->target.mean[0], 2);
    cr_assert_str_eq(config->target.names[0], "u");
    ebm_config_free(config);
    struct ebm_error error = {0};
    enum ebm_status status = parse(sparse, "{'feature_net'", "{'input': {'shape': [4]}, 'feature_net'", &from_data,
                                   &config, &error);
    cr_assert_eq(status, EBM_INVALID);
    cr_assert_str_eq(error.where, "input.shape");
    cr_assert_str_eq(error.text, "4, but the data have 3 columns");
    cr_assert_eq(parse(sparse, "{'feature_net'", "{'target': {'dim': 1}, 'feature_net'", &from_data, &config, &error),
                 EBM_INVALID);
    cr_assert_str_eq(error.where, "target.dim");
    cr_assert_eq(parse(sparse, "'out': 8, ", "", &from_data, &config, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "feature_net[0].out");
    struct ebm_config_defaults nameless = from_data;
    nameless.name = NULL;
    cr_assert_eq(parse(sparse, NULL, NULL, &nameless, &config, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "name");
    struct ebm_config_defaults sizeless = {.name = "x"};
    cr_assert_eq(parse(sparse, NULL, NULL, &sizeless, &config, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "input.shape");
}

Test(config, names_of_a_repository)
{
    static const struct {
        const char *name;
        bool is_valid;
    } cases[] = {{"geyser", true}, {"a", true},    {"A-b_c.9", true}, {"", false},    {".hidden", false}, {"..", false},
                 {"a/b", false},   {"a b", false}, {"\u00e9", false}, {"a\n", false}, {"-", true}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++)
        cr_assert_eq(ebm_name_is_valid(cases[i].name), cases[i].is_valid, "'%s'", cases[i].name);
    char name[130];
    memset(name, 'n', sizeof name);
    name[128] = 0;
    cr_assert(ebm_name_is_valid(name));
    name[128] = 'n';
    name[129] = 0;
    cr_assert_not(ebm_name_is_valid(name));
}

Test(config, a_version_is_a_number_as_we_write_it)
{
    static const struct {
        const char *name;
        uint64_t version;
    } cases[] = {{"1", 1},
                 {"20", 20},
                 {"999999999999999", 999999999999999},
                 {"1000000000000000", 0},
                 {"", 0},
                 {"0", 0},
                 {"007", 0},
                 {"-1", 0},
                 {"+1", 0},
                 {" 1", 0},
                 {"1.5", 0},
                 {"v1", 0}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++)
        cr_assert_eq(ebm_model_version_of(cases[i].name), cases[i].version, "'%s'", cases[i].name);
}

Test(config, an_ensemble_has_every_tensor_once_a_member)
{
    struct ebm_config *one = parse_good(full, NULL, NULL, NULL);
    struct ebm_config *three = parse_good(full, "'members': 1", "'members': 3", NULL);
    size_t n = one->n_params, P = one->net.n_params;
    cr_assert_eq(three->net.members, 3);
    cr_assert_eq(three->net.n_params, P);
    cr_assert_eq(ebm_net_all_params(&three->net), 3 * P);
    cr_assert_eq(three->n_params, 3 * n);
    for (size_t i = 0; i < 3 * n; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "member.%zu.%.44s", i / n, one->params[i % n].name);
        cr_expect_str_eq(three->params[i].name, name);
        cr_expect_eq(three->params[i].offset, one->params[i % n].offset + i / n * P, "%s", name);
    }
    char *text = NULL;
    struct ebm_error error;
    cr_assert_eq(ebm_config_text(three, &text, &error), EBM_OK);
    cr_assert_not_null(strstr(text, "\"members\": 3"));
    free(text);
    (void)ebm_config_free(one);
    (void)ebm_config_free(three);
}
