/* dataset_internal.h - what dataset.c (tables, splits) and dataset_images.c share. Private to them. */
#ifndef EBM_TRAINER_DATASET_INTERNAL_H
#define EBM_TRAINER_DATASET_INTERNAL_H

#include "trainer/dataset.h"

/* Mean and standard deviation of each channel over the training rows; std 1 for a constant one. */
void dataset_measure_images(struct dataset *data);

enum ebm_status dataset_no_memory(struct ebm_error *reterr);

#endif
