/* train.h - the command `train`: configuration, data, model, loop, and the files that come out. */
#ifndef EBM_TRAINER_TRAIN_H
#define EBM_TRAINER_TRAIN_H

#include "trainer/args.h"
#include "models/config.h"

/* Initial parameters (net->n_params): linear layers U(-1/sqrt(in), 1/sqrt(in)), weights and biases, by seed. */
void train_initialize(const struct ebm_net_desc *net, uint64_t seed, float *ret_params);

enum ebm_status train_command(const struct args *args, struct ebm_error *reterr);

#endif
