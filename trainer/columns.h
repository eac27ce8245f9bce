/* columns.h - reads the columns that a model wants out of a CSV. */
#ifndef EBM_TRAINER_COLUMNS_H
#define EBM_TRAINER_COLUMNS_H

#include "models/config.h"
#include "trainer/dataset.h"

/* By the model's names; a model without names takes the columns in their order, inputs first. The targets only when
 * with_targets. New: dataset_free. */
enum ebm_status columns_load(const struct ebm_config *config, const char *path, bool with_targets, bool drop_missing,
                             struct dataset **ret_data, struct ebm_error *reterr) EBM_MUST_USE;

#endif
