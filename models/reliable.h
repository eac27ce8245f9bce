/* reliable.h - how far to trust the numbers of one row. The rule was fitted to measured errors: bench/reliable.c,
 * docs/MATHEMATICS.md. */
#ifndef EBM_MODELS_RELIABLE_H
#define EBM_MODELS_RELIABLE_H

#include "models/estimate.h"

/* Why not: a static word, or NULL. p is finished but for `reliable` and `reason`: in the target's units. */
const char *ebm_doubt(const struct ebm_prediction *p, const struct ebm_resolved_query *resolved,
                      const struct ebm_target_config *target);

#endif
