/* range.h - over which targets a scalar density is integrated: training.support, target.lower and target.upper. */
#ifndef EBM_TRAINER_RANGE_H
#define EBM_TRAINER_RANGE_H

#include "models/config.h"
#include "trainer/options.h"

/* Lower and upper end for a model that states none, in the user's unit: what training.support says; else, for a method
 * that integrates, the training targets' range widened on both sides by 0.7 times its width. False: neither. */
bool range_choose(const struct options *options, const struct dataset *data, double ret_ends[2]);

/* After the model is complete: does it agree with training.support, and does the range of ml_exact hold every training
 * target? INVALID names key or row. */
enum ebm_status range_check(const struct options *options, const struct dataset *data,
                            const struct ebm_target_config *target, struct ebm_error *reterr) EBM_MUST_USE;

#endif
