/* publish.h - puts a model file into a repository: REPOSITORY/NAME/<next version>/model.safetensors. */
#ifndef EBM_TRAINER_PUBLISH_H
#define EBM_TRAINER_PUBLISH_H

#include "trainer/args.h"

/* Checks the file as a model, then publishes it as the next version of `destination` ("REPOSITORY/NAME"); prints where
 * and how to serve it. Never overwrites. */
enum ebm_status publish_model(const char *path, const char *destination, uint64_t *ret_version,
                              struct ebm_error *reterr) EBM_MUST_USE;

/* Is this a destination that publish_model would accept, and can a version follow those that are there? For commands
 * that publish after long work. */
enum ebm_status publish_check(const char *destination, struct ebm_error *reterr) EBM_MUST_USE;

enum ebm_status publish_command(const struct args *args, struct ebm_error *reterr);

#endif
