/* evaluate.h - the command `evaluate`: how well a model predicts known rows, or a known density. */
#ifndef EBM_TRAINER_EVALUATE_H
#define EBM_TRAINER_EVALUATE_H

#include "models/config.h"
#include "trainer/args.h"
#include "trainer/pool.h"

#define EVALUATE_GRID 2048u /* points of the toy 1 protocol in x and in y: contexts need max_samples of this */

/* KL(true || model) of toy 1: both densities on a grid of 2048 x 2048 points over [-3, 3]^2, normalised to sum 1 over
 * y, 1e-30 added to the truth; mean over x. f in float as the networks give it; exp and sums in double: energies are
 * free up to a constant, and far below 0 a float would underflow. */
enum ebm_status evaluate_toy1(struct pool *pool, const struct ebm_device_ops *ops, const struct ebm_plan *plan,
                              const struct ebm_config *config, double *ret_kl) EBM_MUST_USE;

enum ebm_status evaluate_command(const struct args *args, struct ebm_error *reterr);

#endif
