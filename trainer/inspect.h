/* inspect.h - the command `inspect`: what a model file holds, for people. */
#ifndef EBM_TRAINER_INSPECT_H
#define EBM_TRAINER_INSPECT_H

#include "core/buf.h"
#include "models/config.h"
#include "trainer/args.h"

/* Columns with their units, a table of the layers, how it can be asked, how it came to be. */
void inspect_text(const struct ebm_config *config, struct ebm_buf *buf);

enum ebm_status inspect_command(const struct args *args, struct ebm_error *reterr);

#endif
