/* columns.h - reads the columns that a model wants out of a CSV or out of .npy files, or its images. */
#ifndef EBM_TRAINER_COLUMNS_H
#define EBM_TRAINER_COLUMNS_H

#include "models/config.h"
#include "trainer/dataset.h"

struct columns_files {
    const char *data;
    const char *targets; /* a second .npy; NULL: none */
    const char *images;  /* kind of a data set of images (image_set.h); NULL: what the model was trained on */
    uint32_t max_bad_files;
};

/* A model of images takes images, with their targets. Another one, by its names; a model or a file without names gives
 * the columns in their order, inputs first. The targets only when with_targets. New: dataset_free. */
enum ebm_status columns_load(const struct ebm_config *config, const struct columns_files *files, bool with_targets,
                             bool drop_missing, struct dataset **ret_data, struct ebm_error *reterr) EBM_MUST_USE;

/* One PNG or JPEG as a model of images takes it: a row without targets. New: dataset_free. */
enum ebm_status columns_load_image(const struct ebm_config *config, const char *path, struct dataset **ret_data,
                                   struct ebm_error *reterr) EBM_MUST_USE;

/* The name of column i: names[i], or when there are none `otherwise` and its number from 1, made in `space`. */
const char *columns_name(char *const *names, uint32_t i, const char *otherwise, char *space, size_t bytes);

/* Has the data a column for every target of the model? False when it cannot be read. */
bool columns_have_targets(const struct ebm_config *config, const struct columns_files *files);

#endif
