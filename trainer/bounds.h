/* bounds.h - the rows of a data set against the support that a model states for its targets. */
#ifndef EBM_TRAINER_BOUNDS_H
#define EBM_TRAINER_BOUNDS_H

#include "models/config.h"
#include "trainer/dataset.h"

/* Periodic targets are wrapped into [lower, upper), and what was measured of them is measured anew. A target beyond its
 * bounds is INVALID: the error names row, column and value; `path` is where the data are from. */
enum ebm_status bounds_apply(struct dataset *data, const struct ebm_target_config *target, const char *path,
                             struct ebm_error *reterr) EBM_MUST_USE;

#endif
