/* ensemble.h - several models of one shape into one file, whose density is the mean of theirs. */
#ifndef EBM_TRAINER_ENSEMBLE_H
#define EBM_TRAINER_ENSEMBLE_H

#include "models/model.h"
#include "trainer/args.h"
#include "trainer/setup.h"

/* Joins the model files `paths` (n, 2 .. LIMIT_MEMBERS) and writes `output`. They must agree in all but their
 * parameters and how they came to be; INVALID names the first that does not. The first one's "training" is kept. */
enum ebm_status ensemble_join(const char *const *paths, uint32_t n, const char *output, struct ebm_error *reterr)
    EBM_MUST_USE;

/* `train` of a configuration with "members" above 1: a process a member, with the seeds training.seed, + 1, ..., into
 * OUTPUT/member-0, ..., then OUTPUT/model.safetensors. `setup` is that of the ensemble. */
enum ebm_status ensemble_train(const struct args *args, const struct setup *setup, const char *output,
                               struct ebm_error *reterr) EBM_MUST_USE;

/* The command `join`. */
enum ebm_status ensemble_command(const struct args *args, struct ebm_error *reterr);

#endif
