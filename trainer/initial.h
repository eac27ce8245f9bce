/* initial.h - parameters before the first step. */
#ifndef EBM_TRAINER_INITIAL_H
#define EBM_TRAINER_INITIAL_H

#include "models/config.h"
#include "trainer/options.h"

/* Initial parameters (net->n_params): linear layers U(-1/sqrt(in), 1/sqrt(in)), weights and biases, by `seed`; those of
 * target_net's first layer times `target_scale`. Convolutions before a norm N(0, 2 / (out kernel^2)), others as linear
 * layers; norms 1 and 0, their running statistics 0 and 1. */
void initial_parameters(const struct ebm_net_desc *net, uint64_t seed, double target_scale, float *ret_params);

/* Of options->initial, a model file, replaces in params, which are those of `config`, the tensors that both have, by
 * name and shape; the others stay. params NULL: only looks, as before a run. Nothing is done when none is named. Tells
 * how many were taken; INVALID: not one. */
enum ebm_status initial_from_model(const struct options *options, const struct ebm_config *config, float *params,
                                   uint32_t *ret_taken, struct ebm_error *reterr) EBM_MUST_USE;

/* INVALID: a training.target_scale for a model without target_net. Or
 * training.initial beside trials. */
enum ebm_status initial_check(const struct ebm_net_desc *net, const struct options *options, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
