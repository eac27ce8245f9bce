/* dataset.h - inputs and targets, split and measured: a table of numbers, or images. Everything in the user's units. */
#ifndef EBM_TRAINER_DATASET_H
#define EBM_TRAINER_DATASET_H

#include "core/limits.h"
#include "core/status.h"
#include "images/image.h"
#include "trainer/augment.h"
#include "trainer/table.h"

#define DATASET_IMAGE_SCALE (1.0 / 255.0) /* when nothing is said */

/* Uniform jitter of width `step` on scalar targets that equal one of `values` (all targets when there are none). */
struct dataset_jitter {
    double step;    /* 0: none */
    double *values; /* (n_values) */
    uint32_t n_values;
};

/* What the training configuration says under "data". */
struct dataset_options {
    char *file;         /* where it lies: a CSV or an .npy */
    char *targets_file; /* a second .npy, of the targets; NULL: they are columns of the first */
    char **targets;     /* (n_targets) names; none: the last column, or all of targets_file */
    char **inputs;      /* (n_inputs) names; none: all columns that are no targets */
    uint32_t n_targets, n_inputs;
    double validation;   /* share of the training rows, in [0, 1) */
    uint64_t split_seed; /* chooses which */
    char *split_file;    /* NULL: no test rows. A line a split: 0-based numbers of its test rows */
    uint32_t split_index;
    bool standardize, drop_missing;
    struct dataset_jitter jitter;
    char *images;                   /* the kind of a data set of images, a word of image_set.h; NULL: numbers */
    char *image_column;             /* of the CSV that names images; NULL: its first */
    uint32_t max_bad_files;         /* so many images that cannot be read are left out, more are an error */
    struct image_shape image_shape; /* what images are brought to; channels 0: what the first one has */
    double image_scale;             /* a channel's mean and std are those of pixels times this */
    struct augment_options augment; /* of training rows */
};

struct dataset {
    uint32_t n_rows, X, D;
    char **input_names, **target_names;  /* (X), (D) */
    double *x, *y;                       /* (n_rows, X), (n_rows, D) */
    uint8_t *pixels;                     /* (n_rows, X) instead of x, of images; they have no input_names */
    double image_scale;                  /* what pixels are multiplied by before they are measured */
    struct image_shape image;            /* X as channels, height, width; channels 0: rows are numbers */
    uint32_t *numbers;                   /* (n_rows) 0-based number of the row in the file */
    uint32_t n_dropped;                  /* rows left out for a missing value, ... */
    uint32_t n_bad;                      /* ... and for an image that cannot be read */
    uint32_t *train, *validation, *test; /* rows of each part, ascending */
    uint32_t n_train, n_validation, n_test;
    double *input_mean, *input_std, *target_mean, *target_std; /* of the training rows; std 1 for a constant column. Of
                                                                * images (channels) */
};

/* Reads, splits and measures. New: dataset_free. */
enum ebm_status dataset_load(const struct dataset_options *options, struct dataset **ret_data, struct ebm_error *reterr)
    EBM_MUST_USE;
/* Reads the named columns alone: no split, no statistics. With n_targets 0 there is no y (D 0). New: dataset_free. */
enum ebm_status dataset_load_columns(const char *path, const char *targets_path, char *const *inputs, uint32_t n_inputs,
                                     char *const *targets, uint32_t n_targets, bool drop_missing,
                                     struct dataset **ret_data, struct ebm_error *reterr) EBM_MUST_USE;
/* Images alone: no split, no statistics. With n_targets 0 all that the kind is about. New: dataset_free. */
enum ebm_status dataset_load_images(const struct dataset_options *options, struct dataset **ret_data,
                                    struct ebm_error *reterr) EBM_MUST_USE;
struct dataset *dataset_free(struct dataset *data); /* NULL is fine; returns NULL */
void dataset_freep(struct dataset **data);

/* Input columns whose training rows are all equal; they keep scale 1. Returns their count; the first one in
 * *ret_first. */
uint32_t dataset_constant_inputs(const struct dataset *data, uint32_t *ret_first);

/* Mean and standard deviation of target d of the training rows, again: its numbers have changed. */
void dataset_measure_target(struct dataset *data, uint32_t d);

/* The inputs of a row as a network sees them, (v - mean) / std, into ret_x (X). */
void dataset_standardize(const struct dataset *data, uint32_t row, const double *mean, const double *std, float *ret_x);

/* Fills train and validation as dataset_load would by options->validation and split_seed. No split may be there. */
enum ebm_status dataset_hold_out(struct dataset *data, const struct dataset_options *options, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Keeps the rows whose number is marked. No split, no statistics may be there. */
void dataset_keep(struct dataset *data, const bool *marks);

/* A fingerprint of the numbers and of the split: equal for equal data. */
uint64_t dataset_fingerprint(const struct dataset *data);

/* Does `y` get jitter? */
bool dataset_is_jittered(const struct dataset_jitter *jitter, double y);

/* The rows listed in line `index` of a split file, as marks by row number of the data file, dropped rows included.
 * Numbers beyond that file are errors. `data`: with all rows that were read. New: free(). */
enum ebm_status dataset_read_split(const char *path, uint32_t index, const struct dataset *data, bool **ret_marks,
                                   struct ebm_error *reterr) EBM_MUST_USE;
/* Keeps those rows alone. NOT_FOUND, INVALID as above; INVALID when none is left. No split may be there. */
enum ebm_status dataset_keep_split(const char *path, uint32_t index, struct dataset *data, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
