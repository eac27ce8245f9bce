/* methods.h - the command `methods`: what can be trained, by which loss, with which parameters. */
#ifndef EBM_TRAINER_METHODS_H
#define EBM_TRAINER_METHODS_H

#include "core/buf.h"
#include "trainer/args.h"

/* Every method with its parameters, or that of `name` alone; INVALID when there is none of that name. */
enum ebm_status methods_text(const char *name, struct ebm_buf *buf, struct ebm_error *reterr) EBM_MUST_USE;

enum ebm_status methods_command(const struct args *args, struct ebm_error *reterr);

#endif
