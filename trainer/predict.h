/* predict.h - the command `predict`: what a model says about new inputs. */
#ifndef EBM_TRAINER_PREDICT_H
#define EBM_TRAINER_PREDICT_H

#include "trainer/args.h"

enum ebm_status predict_command(const struct args *args, struct ebm_error *reterr);

#endif
