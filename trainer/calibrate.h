/* calibrate.h - how wide a model's densities should be is found on rows that it was not trained on. */
#ifndef EBM_TRAINER_CALIBRATE_H
#define EBM_TRAINER_CALIBRATE_H

#include "models/model.h"
#include "trainer/args.h"
#include "trainer/setup.h"

/* `training.calibrate` of a model that lies at `path`: replaces it, there and in *model, by itself at the temperature
 * that the validation rows of `setup` choose, and tells of it. Where none can be found the model stays, with a warning:
 * a training is not lost for that. */
enum ebm_status calibrate_written(const struct setup *setup, const struct ebm_device_ops *ops, uint32_t n_threads,
                                  const char *path, struct ebm_model **model, struct ebm_error *reterr) EBM_MUST_USE;

/* The command `calibrate`. */
enum ebm_status calibrate_command(const struct args *args, struct ebm_error *reterr);

#endif
