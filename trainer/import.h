/* import.h - the commands `import` and `export`: networks of other programs as model files, and back. */
#ifndef EBM_TRAINER_IMPORT_H
#define EBM_TRAINER_IMPORT_H

#include "trainer/args.h"

enum ebm_status import_command(const struct args *args, struct ebm_error *reterr);
enum ebm_status export_command(const struct args *args, struct ebm_error *reterr);

#endif
