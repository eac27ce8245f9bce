/* model_file.h - loads a model file for a command; errors name the file. */
#ifndef EBM_TRAINER_MODEL_FILE_H
#define EBM_TRAINER_MODEL_FILE_H

#include "models/model.h"

/* ebm_model_load, with the file's name before what the error says of its inside. New: unref. */
enum ebm_status model_file_load(const char *path, struct ebm_model **ret_model, struct ebm_error *reterr) EBM_MUST_USE;
/* The file's name before `where` of an error about its inside, unless it stands there already. */
void model_file_name(const char *path, struct ebm_error *reterr);

#endif
