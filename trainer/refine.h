/* refine.h - ebm-trainer refine: the most likely target of each row, by gradient ascent (models/refine.h). */
#ifndef EBM_TRAINER_REFINE_H
#define EBM_TRAINER_REFINE_H

#include "trainer/args.h"

enum ebm_status refine_command(const struct args *args, struct ebm_error *reterr);

#endif
