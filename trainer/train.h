/* train.h - the command `train`: configuration, data, model, loop, and the files that come out. */
#ifndef EBM_TRAINER_TRAIN_H
#define EBM_TRAINER_TRAIN_H

#include "trainer/args.h"
#include "models/config.h"

enum ebm_status train_command(const struct args *args, struct ebm_error *reterr);

#endif
