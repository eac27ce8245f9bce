/* test_layout.c - names of tensors in the layouts of other programs, against what those programs write. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "trainer/layout.h"

static struct ebm_config *parse(const char *text)
{
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    return config;
}

static const char with_resnet[] =
    "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"image\", \"shape\": [3, 32, 32]},"
    "\"target\": {\"dim\": 1},"
    "\"feature_net\": [{\"type\": \"resnet\", \"depth\": 34, \"in\": 3, \"width\": 2},"
    "{\"type\": \"linear\", \"in\": 16, \"out\": 4}],"
    "\"target_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 2}, {\"type\": \"linear\", \"in\": 2, \"out\": 2}],"
    "\"energy_net\": [{\"type\": \"linear\", \"in\": 6, \"out\": 3}, {\"type\": \"linear\", \"in\": 3, \"out\": 1}],"
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 1,"
    "\"mean_net\": [{\"type\": \"linear\", \"in\": 4, \"out\": 1}],"
    "\"log_variance_net\": [{\"type\": \"linear\", \"in\": 4, \"out\": 1}],"
    "\"weight_net\": [{\"type\": \"linear\", \"in\": 4, \"out\": 1}]}}";

static const char with_conv[] =
    "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"image\", \"shape\": [1, 8, 8]},"
    "\"target\": {\"dim\": 1},"
    "\"feature_net\": [{\"type\": \"conv2d\", \"in\": 1, \"out\": 2, \"kernel\": 3}, {\"type\": \"global_avg_pool\"}],"
    "\"energy_net\": [{\"type\": \"linear\", \"in\": 3, \"out\": 1}]}";

static const char of_vectors[] =
    "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"vector\", \"shape\": [1]},"
    "\"target\": {\"dim\": 1},"
    "\"feature_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 2}, {\"type\": \"linear\", \"in\": 2, \"out\": 2}],"
    "\"energy_net\": [{\"type\": \"linear\", \"in\": 3, \"out\": 1}]%s}";

static const struct {
    const char *ours, *papers, *torchvision; /* NULL: no name */
} names[] = {
    {"feature_net.0.conv1.weight", "feature_net.resnet34.0.weight", "conv1.weight"},
    {"feature_net.0.bn1.running_var", "feature_net.resnet34.1.running_var", "bn1.running_var"},
    {"feature_net.0.layer1.0.conv1.weight", "feature_net.resnet34.4.0.conv1.weight", "layer1.0.conv1.weight"},
    {"feature_net.0.layer2.0.downsample.1.bias", "feature_net.resnet34.5.0.downsample.1.bias",
     "layer2.0.downsample.1.bias"},
    {"feature_net.0.layer3.5.bn2.running_mean", "feature_net.resnet34.6.5.bn2.running_mean",
     "layer3.5.bn2.running_mean"},
    {"feature_net.0.layer4.2.conv2.weight", "feature_net.resnet34.7.2.conv2.weight", "layer4.2.conv2.weight"},
    {"feature_net.1.weight", "feature_net.fc1_x.weight", NULL},
    {"target_net.0.weight", "predictor_net.fc1_y.weight", NULL},
    {"target_net.1.bias", "predictor_net.fc2_y.bias", NULL},
    {"energy_net.0.weight", "predictor_net.fc1_xy.weight", NULL},
    {"energy_net.1.bias", "predictor_net.fc2_xy.bias", NULL},
    {"proposal.mean_net.0.weight", "noise_net.fc1_mean.weight", NULL},
    {"proposal.log_variance_net.0.bias", "noise_net.fc1_sigma.bias", NULL},
    {"proposal.weight_net.0.weight", "noise_net.fc1_weight.weight", NULL},
};

static const struct ebm_param *param_of(const struct ebm_config *config, const char *name)
{
    size_t i = 0;
    while (i < config->n_params && strcmp(config->params[i].name, name) != 0)
        i++;
    cr_assert_lt(i, config->n_params, "the model has no %s", name);
    return &config->params[i];
}

static void expect_name(enum layout layout, const struct ebm_config *config, const char *ours, const char *expected)
{
    char name[LIMIT_TENSOR_NAME_BYTES] = "";
    bool has_one = layout_name(layout, config, param_of(config, ours), name);
    cr_assert_eq(has_one, expected != NULL, "%s in %s", ours, layout_word(layout));
    if (expected != NULL)
        cr_assert_str_eq(name, expected, "%s in %s: %s", ours, layout_word(layout), name);
}

Test(layout, names)
{
    struct ebm_config *config = parse(with_resnet);
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++) {
        expect_name(LAYOUT_EBM, config, names[i].ours, names[i].ours);
        expect_name(LAYOUT_PROPOSALS, config, names[i].ours, names[i].papers);
        expect_name(LAYOUT_TORCHVISION, config, names[i].ours, names[i].torchvision);
    }
    ebm_config_free(config);
}

/* No two tensors may have one name: import would take one twice. */
Test(layout, names_are_different)
{
    struct ebm_config *config = parse(with_resnet);
    for (size_t i = 0; i < config->n_params; i++)
        for (size_t j = 0; j < i; j++) {
            char one[LIMIT_TENSOR_NAME_BYTES], other[LIMIT_TENSOR_NAME_BYTES];
            cr_assert(layout_name(LAYOUT_PROPOSALS, config, &config->params[i], one));
            cr_assert(layout_name(LAYOUT_PROPOSALS, config, &config->params[j], other));
            cr_assert_str_neq(one, other, "%s and %s", config->params[i].name, config->params[j].name);
        }
    ebm_config_free(config);
}

Test(layout, linear_features_count_from_one)
{
    char text[1024];
    (void)snprintf(text, sizeof text, of_vectors, "");
    struct ebm_config *config = parse(text);
    expect_name(LAYOUT_PROPOSALS, config, "feature_net.1.bias", "feature_net.fc2_x.bias");
    ebm_config_free(config);
}

static void expect_check(const char *text, enum layout layout, const char *where, const char *fragment)
{
    struct ebm_config *config = parse(text);
    struct ebm_error error = {0};
    enum ebm_status status = layout_check(layout, config, &error);
    cr_assert_eq(status, where != NULL ? EBM_INVALID : EBM_OK, "%s: %s", error.where, error.text);
    if (where != NULL) {
        cr_assert_str_eq(error.where, where);
        cr_assert_not_null(strstr(error.text, fragment), "'%s' lacks '%s'", error.text, fragment);
    }
    ebm_config_free(config);
}

Test(layout, models_that_it_cannot_tell_of)
{
    char single[1024], ensemble[1024];
    (void)snprintf(single, sizeof single, of_vectors, "");
    (void)snprintf(ensemble, sizeof ensemble, of_vectors, ", \"members\": 2");
    expect_check(with_resnet, LAYOUT_PROPOSALS, NULL, NULL);
    expect_check(with_resnet, LAYOUT_TORCHVISION, NULL, NULL);
    expect_check(single, LAYOUT_PROPOSALS, NULL, NULL);
    expect_check(single, LAYOUT_TORCHVISION, "feature_net", "the model has none");
    expect_check(with_conv, LAYOUT_EBM, NULL, NULL);
    expect_check(with_conv, LAYOUT_PROPOSALS, "feature_net[0]", "only a resnet");
    expect_check(with_conv, LAYOUT_TORCHVISION, "feature_net[0]", "only a resnet");
    expect_check(ensemble, LAYOUT_EBM, NULL, NULL);
    expect_check(ensemble, LAYOUT_PROPOSALS, "members", "an ensemble of 2");
}

Test(layout, what_is_ignored)
{
    static const struct {
        const char *name;
        bool by_papers, by_torchvision;
    } cases[] = {
        {"bn1.num_batches_tracked", true, true},
        {"num_batches_tracked", true, true},
        {"bn1.xnum_batches_tracked", false, false},
        {"num_batches_tracked.weight", false, false},
        {"fc.weight", false, true},
        {"fc.bias", false, true},
        {"fc1.bias", false, false},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        cr_assert_eq(layout_ignores(LAYOUT_PROPOSALS, cases[i].name), cases[i].by_papers, "%s", cases[i].name);
        cr_assert_eq(layout_ignores(LAYOUT_TORCHVISION, cases[i].name), cases[i].by_torchvision, "%s", cases[i].name);
    }
}

Test(layout, words)
{
    struct ebm_error error = {0};
    enum layout layout = LAYOUT_EBM;
    cr_assert_eq(layout_of_word("torchvision", &layout, &error), EBM_OK);
    cr_assert_eq(layout, LAYOUT_TORCHVISION);
    cr_assert_eq(layout_of_word("Torchvision", &layout, &error), EBM_INVALID);
    cr_assert_str_eq(error.text, "'Torchvision', expected one of ebm, ebms_proposals, torchvision");
    cr_assert_eq(layout_of_word(NULL, &layout, &error), EBM_INVALID);
}
