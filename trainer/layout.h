/* layout.h - what other programs call a model's tensors.
 *
 *   ebm              our own names: feature_net.0.weight, proposal.mean_net.1.bias,
 *                    feature_net.0.layer3.1.bn2.running_var
 *   ebms_proposals   the papers' networks: feature_net.fc1_x, feature_net.resnet18.4.0.conv1, predictor_net.fc1_y and
 *                    fc1_xy, noise_net.fc1_mean, fc1_sigma and fc1_weight
 *   torchvision      a bare resnet: conv1.weight, layer3.1.bn2.running_var; nothing else of the model has a name
 *
 * Pure; any thread. */
#ifndef EBM_TRAINER_LAYOUT_H
#define EBM_TRAINER_LAYOUT_H

#include "core/limits.h"
#include "models/config.h"

#define LAYOUT_MAP(X)                                                                                                  \
    X(EBM, "ebm")                                                                                                      \
    X(PROPOSALS, "ebms_proposals")                                                                                     \
    X(TORCHVISION, "torchvision")

enum layout {
#define X(name, word) LAYOUT_##name,
    LAYOUT_MAP(X)
#undef X
};

/* "torchvision". Borrow: static. */
const char *layout_word(enum layout layout);
/* The layout of that name; INVALID lists them, NULL too. */
enum ebm_status layout_of_word(const char *word, enum layout *ret_layout, struct ebm_error *reterr) EBM_MUST_USE;

/* Can the layout tell of this model? INVALID: an ensemble, layers without a name, no resnet where it is one. */
enum ebm_status layout_check(enum layout layout, const struct ebm_config *config, struct ebm_error *reterr)
    EBM_MUST_USE;

/* What it calls one of the config's tensors, which layout_check has let pass. False: it has no name for it. */
bool layout_name(enum layout layout, const struct ebm_config *config, const struct ebm_param *param,
                 char ret_name[LIMIT_TENSOR_NAME_BYTES]);

/* Is this a tensor that stands in such files, and that no model has? Batch norms' num_batches_tracked, the classifier
 * behind a resnet. */
bool layout_ignores(enum layout layout, const char *name);

#endif
