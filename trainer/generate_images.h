/* generate_images.h - `generate cells` and its like: a folder of PNG with labels.csv, which data.images "folder" reads.
 */
#ifndef EBM_TRAINER_GENERATE_IMAGES_H
#define EBM_TRAINER_GENERATE_IMAGES_H

#include "trainer/args.h"
#include "trainer/picture.h"

/* --rows, --seed, --output FOLDER, and --digits FOLDER for what is made of digits. Files that are there already are
 * replaced. */
enum ebm_status generate_images(const struct picture_kind *kind, const struct args *args, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
