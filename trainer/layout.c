/* layout.c - names of tensors, translated piece by piece: net, number of the layer, the rest.
 *
 *   ours                              ebms_proposals                        torchvision
 *   feature_net.0.conv1.weight        feature_net.resnet18.0.weight         conv1.weight
 *   feature_net.0.bn1.bias            feature_net.resnet18.1.bias           bn1.bias
 *   feature_net.0.layer1.0.bn2.bias   feature_net.resnet18.4.0.bn2.bias     layer1.0.bn2.bias
 *   feature_net.1.weight              feature_net.fc2_x.weight
 *   target_net.0.weight               predictor_net.fc1_y.weight
 *   energy_net.0.weight               predictor_net.fc1_xy.weight
 *   proposal.mean_net.0.weight        noise_net.fc1_mean.weight
 *
 * The papers' resnet is a Sequential of torchvision's children, without the last two: conv1, bn1, relu and maxpool are
 * 0 to 3, layer1 to layer4 are 4 to 7. Its linear layers are counted from 1; behind a resnet, where the papers have
 * none, they are counted as if it were not there. */
#include "trainer/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"

static const char *const words[] = {
#define X(name, word) word,
    LAYOUT_MAP(X)
#undef X
};

const char *layout_word(enum layout layout)
{
    return words[layout];
}

enum ebm_status layout_of_word(const char *word, enum layout *ret_layout, struct ebm_error *reterr)
{
    char list[128] = "";
    size_t layout = ebm_names_find(word, words, EBM_COUNT_OF(words));
    if (layout < EBM_COUNT_OF(words)) {
        *ret_layout = (enum layout)layout;
        return EBM_OK;
    }
    for (size_t i = 0, at = 0; i < EBM_COUNT_OF(words); i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i > 0 ? ", " : "", words[i]);
    if (word == NULL)
        return ebm_error_set(reterr, EBM_INVALID, "--layout", "is missing: one of %s", list);
    return ebm_error_set(reterr, EBM_INVALID, "--layout", "'%.40s', expected one of %s", word, list);
}

/* ---- what a layout can tell of ---- */

static bool is_resnet(const struct ebm_config *config, uint32_t layer)
{
    return layer < config->n_image_layers && config->image_layers[layer].kind == EBM_IMAGE_LAYER_RESNET;
}

static enum ebm_status check_image_layers(enum layout layout, const struct ebm_config *config, struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < config->n_image_layers; i++) {
        enum ebm_image_layer_kind kind = config->image_layers[i].kind;
        char where[32];
        (void)snprintf(where, sizeof where, "feature_net[%u]", i);
        if (kind == EBM_IMAGE_LAYER_CONV2D || kind == EBM_IMAGE_LAYER_BATCH_NORM2D)
            return ebm_error_set(
                reterr, EBM_INVALID, where,
                "the layout %s knows no such layer, only a resnet: its tensors have no names. --layout "
                "ebm has names for all",
                words[layout]);
    }
    if (layout == LAYOUT_TORCHVISION && (config->n_image_layers == 0 || !is_resnet(config, config->n_image_layers - 1)))
        return ebm_error_set(reterr, EBM_INVALID, "feature_net",
                             "the layout torchvision is that of a resnet: the "
                             "model has none");
    return EBM_OK;
}

enum ebm_status layout_check(enum layout layout, const struct ebm_config *config, struct ebm_error *reterr)
{
    if (layout == LAYOUT_EBM)
        return EBM_OK;
    if (config->net.members > 1)
        return ebm_error_set(reterr, EBM_INVALID, "members",
                             "the layout %s is that of single models, this is an ensemble of %u: only --layout ebm has "
                             "names for its members",
                             words[layout], config->net.members);
    return check_image_layers(layout, config, reterr);
}

/* ---- names ---- */

/* "feature_net.0.conv1.weight" in pieces. */
struct pieces {
    enum ebm_net_index index;
    uint32_t layer;
    const char *rest; /* "conv1.weight" */
};

static struct pieces take_apart(const struct ebm_param *param)
{
    static const char *const nets[EBM_NETS] = {
#define X(name, member, word, part) word,
        EBM_NET_MAP(X)
#undef X
    };
    struct pieces pieces = {.rest = NULL};
    for (int i = 0; i < EBM_NETS; i++) {
        size_t length = strlen(nets[i]);
        if (strncmp(param->name, nets[i], length) != 0 || param->name[length] != '.')
            continue;
        char *end;
        pieces.index = (enum ebm_net_index)i;
        pieces.layer = (uint32_t)strtoul(param->name + length + 1, &end, 10);
        pieces.rest = end + 1;
    }
    EBM_ASSERT(pieces.rest != NULL); /* names are made of these nets by models/ */
    return pieces;
}

/* conv1 and bn1 of the stem are children 0 and 1, layer1 child 4. */
static void name_in_sequential(uint32_t depth, const char *rest, char *ret_name, size_t bytes)
{
    const char *behind = strchr(rest, '.');
    unsigned child = strncmp(rest, "layer", 5) == 0 ? (unsigned)(rest[5] - '0') + 3 : strncmp(rest, "bn1", 3) == 0;
    (void)snprintf(ret_name, bytes, "feature_net.resnet%u.%u%s", depth, child, behind);
}

static void name_of_paper(const struct ebm_config *config, const struct pieces *p, char *ret_name, size_t bytes)
{
    static const struct {
        const char *module, *branch;
    } of[EBM_NETS] = {
        [EBM_NET_FEATURE] = {"feature_net", "x"},        [EBM_NET_TARGET] = {"predictor_net", "y"},
        [EBM_NET_ENERGY] = {"predictor_net", "xy"},      [EBM_NET_MEAN] = {"noise_net", "mean"},
        [EBM_NET_LOG_VARIANCE] = {"noise_net", "sigma"}, [EBM_NET_WEIGHT] = {"noise_net", "weight"},
    };
    uint32_t first = p->index == EBM_NET_FEATURE ? config->n_image_layers : 0;
    if (p->layer < first)
        name_in_sequential(config->image_layers[p->layer].depth, p->rest, ret_name, bytes);
    else
        (void)snprintf(ret_name, bytes, "%s.fc%u_%s.%s", of[p->index].module, p->layer - first + 1, of[p->index].branch,
                       p->rest);
}

bool layout_name(enum layout layout, const struct ebm_config *config, const struct ebm_param *param,
                 char ret_name[LIMIT_TENSOR_NAME_BYTES])
{
    if (layout == LAYOUT_EBM) {
        (void)snprintf(ret_name, LIMIT_TENSOR_NAME_BYTES, "%s", param->name);
        return true;
    }
    struct pieces p = take_apart(param);
    if (layout == LAYOUT_PROPOSALS) {
        name_of_paper(config, &p, ret_name, LIMIT_TENSOR_NAME_BYTES);
        return true;
    }
    if (p.index != EBM_NET_FEATURE || !is_resnet(config, p.layer))
        return false;
    (void)snprintf(ret_name, LIMIT_TENSOR_NAME_BYTES, "%s", p.rest);
    return true;
}

bool layout_ignores(enum layout layout, const char *name)
{
    static const char counter[] = "num_batches_tracked";
    size_t length = strlen(name), end = strlen(counter);
    if (length >= end && strcmp(name + length - end, counter) == 0 && (length == end || name[length - end - 1] == '.'))
        return true;
    return layout == LAYOUT_TORCHVISION && (strcmp(name, "fc.weight") == 0 || strcmp(name, "fc.bias") == 0);
}
