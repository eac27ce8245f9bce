/* validate.h - the command `validate`: is this a configuration that `train` would take, with these data? */
#ifndef EBM_TRAINER_VALIDATE_H
#define EBM_TRAINER_VALIDATE_H

#include "trainer/args.h"

enum ebm_status validate_command(const struct args *args, struct ebm_error *reterr);

#endif
