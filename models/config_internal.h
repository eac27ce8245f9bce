/* config_internal.h - what config.c and config_net.c share. Private to models. */
#ifndef EBM_MODELS_CONFIG_INTERNAL_H
#define EBM_MODELS_CONFIG_INTERNAL_H

#include "models/config.h"

/* From X, D, K, has_energy and the layers (0 for an `in` or `out` that was left out): checks that the layers connect,
 * fills what was left out if `may_fill`, and sets H, G, all offsets, parts and config->params. */
enum ebm_status ebm_config_connect(struct ebm_config *config, bool may_fill, struct ebm_error *reterr) EBM_MUST_USE;

/* "proposal.mean_net". Borrow: static. */
const char *ebm_net_name(enum ebm_net_index index);
const char *ebm_activation_name(enum ebm_activation activation);
/* The net of `index` within a description. Borrow. */
struct ebm_net *ebm_net_of(struct ebm_net_desc *desc, enum ebm_net_index index);

#endif
