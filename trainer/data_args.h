/* data_args.h - what the options of `train` and `validate` say of the data. */
#ifndef EBM_TRAINER_DATA_ARGS_H
#define EBM_TRAINER_DATA_ARGS_H

#include "trainer/args.h"
#include "trainer/options.h"

/* --data, --targets and --max-bad-files. Borrows argv. */
enum ebm_status data_args_read(const struct args *args, struct options_files *ret_files, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
