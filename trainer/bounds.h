/* bounds.h - the rows of a data set against the support that a model states for its targets. */
#ifndef EBM_TRAINER_BOUNDS_H
#define EBM_TRAINER_BOUNDS_H

#include "models/config.h"
#include "trainer/dataset.h"

/* Periodic targets are wrapped into [lower, upper), and what was measured of them is measured anew. A target beyond its
 * bounds is INVALID: the error names row, column and value; `path` is where the data are from. */
enum ebm_status bounds_apply(struct dataset *data, const struct ebm_target_config *target, const char *path,
                             struct ebm_error *reterr) EBM_MUST_USE;

/* Is a training row's target, which changes its sign when the image is mirrored, still between target.lower and
 * target.upper then? INVALID names one that is not. After bounds_apply. */
enum ebm_status bounds_check_mirrored(const struct dataset *data, const struct ebm_target_config *target,
                                      const struct augment_options *augment, struct ebm_error *reterr) EBM_MUST_USE;

#endif
