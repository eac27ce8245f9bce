/* config_internal.h - what config.c and config_net.c share. Private to models. */
#ifndef EBM_MODELS_CONFIG_INTERNAL_H
#define EBM_MODELS_CONFIG_INTERNAL_H

#include "models/config.h"

/* From X, D, K, has_energy and the layers (0 for an `in` or `out` that was left out): checks that the layers connect,
 * fills what was left out if `may_fill`, and sets H, G, all offsets, parts and config->params. */
enum ebm_status ebm_config_connect(struct ebm_config *config, bool may_fill, struct ebm_error *reterr) EBM_MUST_USE;

/* The feature net's layers of an image as operations: config->image_ops and net.trunk, without places. */
enum ebm_status ebm_config_trunk(struct ebm_config *config, bool may_fill, struct ebm_error *reterr) EBM_MUST_USE;
/* Places of the trunk's learned tensors from *at on, and later of its running statistics; their entries go to
 * config->params, whose room is ebm_trunk_tensors. */
size_t ebm_trunk_tensors(const struct ebm_config *config);
void ebm_trunk_place(struct ebm_config *config, bool learned, size_t *at);
/* The next tensor of 64-byte aligned `rows * columns` numbers (columns 0: rows) at *at. Borrow: an entry of params. */
struct ebm_param *ebm_config_place(struct ebm_config *config, size_t *at, enum ebm_part part, uint32_t rows,
                                   uint32_t columns);

/* "conv2d". Borrow: static. */
const char *ebm_image_layer_word(enum ebm_image_layer_kind kind);
/* Are there numbers after it, and no image any more? */
bool ebm_image_layer_ends(enum ebm_image_layer_kind kind);
/* "proposal.mean_net". Borrow: static. */
const char *ebm_net_name(enum ebm_net_index index);
const char *ebm_activation_name(enum ebm_activation activation);
/* The net of `index` within a description. Borrow. */
struct ebm_net *ebm_net_of(struct ebm_net_desc *desc, enum ebm_net_index index);

#endif
