/* trials.h - several initial weights, each trained for a few epochs: the run begins with those that learn fastest. */
#ifndef EBM_TRAINER_TRIALS_H
#define EBM_TRAINER_TRIALS_H

#include "trainer/loop.h"

/* Where `training.trials` asks for more than one: tries them, and leaves the best initial weights in the plan and in
 * loop->state, as if the run had been started with them. Weights 0 are those in loop->state. For the losses that
 * setup_make lets through: likelihoods, so that they can be compared. CANCELLED: a signal came. */
enum ebm_status trials_run(const struct loop *loop, struct ebm_error *reterr) EBM_MUST_USE;

#endif
