/* options.h - the training configuration: a JSON file plus "--set key=value" (docs/MODEL_FORMAT.md).
 *
 * Unknown keys are errors that name their path. The "model" object is passed on as text to ebm_config_parse. */
#ifndef EBM_TRAINER_OPTIONS_H
#define EBM_TRAINER_OPTIONS_H

#include "trainer/dataset.h"
#include "trainer/method.h"
#include "trainer/schedule.h"

struct options {
    struct dataset_options data;
    char *model; /* JSON text of the "model" object */
    char *method;
    uint32_t epochs, batch_size, samples, warmup_epochs, heads_only_epochs;
    double learning_rate;
    struct schedule schedule;
    double weight_decay;           /* decoupled: parameters shrink by this share of the learning rate a step */
    double gradient_clip;          /* longest gradient of a step, 0: any */
    uint32_t trials, trial_epochs; /* initial weights that are tried, each for so many epochs */
    bool keep_features;            /* of images, while only heads learn: computed once, by running statistics */
    double target_scale;           /* of the initial weights of target_net's first layer */
    char *initial;                 /* a model file whose parameters the run begins with; NULL: none */
    bool calibrate;                /* at the end, on the validation rows (temperature.h) */
    uint32_t patience;             /* stop after so many epochs without a better validation NLL, 0: never */
    double *support; /* (n_support): 0 numbers, or lower and upper end of what a scalar density is integrated over */
    uint32_t n_support;
    uint64_t seed;
    uint32_t validation_samples; /* draws a row for log Z of the validation NLL */
    uint32_t checkpoint_epochs;  /* a checkpoint every so many epochs, 0: never because of epochs */
    uint32_t checkpoint_seconds; /* and every so many seconds, 0: never because of time */
    double collapse_std;         /* stop when a component's std falls below this share of the target's; 0: never */
    struct method_value *values; /* (n_values) parameters of the method, all that it has */
    uint32_t n_values;
    char *recorded; /* JSON for the model's "training": effective values, files without their folders */
    char *run;      /* JSON of the whole effective configuration, files with absolute paths: for a checkpoint */
};

/* What the command line says of the data; NULL: nothing. Relative to the working directory. */
struct options_files {
    const char *data;    /* replaces data.file, and data.targets_file */
    const char *targets; /* replaces data.targets_file */
    bool says_bad_files;
    uint32_t max_bad_files; /* replaces data.max_bad_files when it was said */
};

/* Reads a configuration file; relative paths in it are relative to it. sets: "key.path=value" (value: JSON, else text).
 * files may be NULL. New: options_free. */
enum ebm_status options_load(const char *path, const char *const *sets, uint32_t n_sets,
                             const struct options_files *files, struct options **ret_options, struct ebm_error *reterr)
    EBM_MUST_USE;
/* The same from text; `folder` is what relative paths are relative to. `where` names the text in errors. */
enum ebm_status options_parse(const char *text, const char *where, const char *folder, const char *const *sets,
                              uint32_t n_sets, const struct options_files *files, struct options **ret_options,
                              struct ebm_error *reterr) EBM_MUST_USE;
/* The whole configuration for people, with every default, and `model` (JSON text) in place of what the file says of it;
 * without statistics that the file leaves to the data. New: free(). */
enum ebm_status options_complete(const struct options *options, const char *model, char **ret_text,
                                 struct ebm_error *reterr) EBM_MUST_USE;
/* JSON text on lines of a readable length. New: free(). */
enum ebm_status options_pretty(const char *text, char **ret_text, struct ebm_error *reterr) EBM_MUST_USE;
struct options *options_free(struct options *options); /* NULL is fine; returns NULL */
void options_freep(struct options **options);

/* data.images and data.image_column of a model's recorded "training" text, which may be NULL. NULL: it says none. New:
 * free(). */
enum ebm_status options_recorded_images(const char *training, char **ret_images, char **ret_column,
                                        struct ebm_error *reterr) EBM_MUST_USE;

/* data.validation and data.split_seed of it, 0 where it says none; did a split file leave rows out as well? `training`
 * may be NULL. */
enum ebm_status options_recorded_split(const char *training, double *ret_validation, uint64_t *ret_seed,
                                       bool *ret_has_test_rows, struct ebm_error *reterr) EBM_MUST_USE;

/* The text with what `temperature` tells under "calibration", in place of an earlier one; `training` may be NULL. New:
 * free(). */
struct temperature;
enum ebm_status options_record_temperature(const char *training, const struct temperature *temperature, char **ret_text,
                                           struct ebm_error *reterr) EBM_MUST_USE;

/* The jitter that a model's recorded "training" text tells of (step 0: none). `training` may be NULL.
 * New: ret_jitter->values, free(). */
enum ebm_status options_recorded_jitter(const char *training, struct dataset_jitter *ret_jitter,
                                        struct ebm_error *reterr) EBM_MUST_USE;

#endif
