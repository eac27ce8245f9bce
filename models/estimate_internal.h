/* estimate_internal.h - what the files of estimate.h share.
 *
 *   estimate_query.c   what a model can be asked, and how
 *   estimate.c         memory of answers, the engine
 *   estimate_units.c   numbers of the device into the target's units, and how far to trust them */
#ifndef EBM_MODELS_ESTIMATE_INTERNAL_H
#define EBM_MODELS_ESTIMATE_INTERNAL_H

#include "models/estimate.h"

/* Is the answer an ascent's, and nothing else? */
bool ebm_query_climbs(const struct ebm_query *query);

#endif
