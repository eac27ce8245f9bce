/* calibrate.c - a model and rows that it was not trained on -> a temperature -> the model with it.
 *
 *   train, training.calibrate    the validation rows of the run, before the model is written
 *   the command                  all rows of a file, those that a split file lists, or those that training held out
 *
 * Validation rows have also chosen the epoch; one number more costs them little. */
#include "trainer/calibrate.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "trainer/columns.h"
#include "trainer/device_args.h"
#include "trainer/files.h"
#include "trainer/model_file.h"
#include "trainer/temperature.h"

#define CALIBRATE_SAMPLES 4096u

static enum ebm_status replace(struct ebm_model **model, const struct temperature_rows *rows, const char *which,
                               struct ebm_error *reterr)
{
    struct temperature temperature;
    struct ebm_model *calibrated = NULL;
    enum ebm_status status = temperature_find(*model, rows, &temperature, reterr);
    if (status == EBM_OK)
        status = temperature_model(*model, &temperature, &calibrated, reterr);
    if (status != EBM_OK)
        return status;
    (void)ebm_model_unref(*model);
    *model = calibrated;
    temperature_print(&temperature, which);
    return EBM_OK;
}

enum ebm_status calibrate_written(const struct setup *setup, const struct ebm_device_ops *ops, uint32_t n_threads,
                                  const char *path, struct ebm_model **model, struct ebm_error *reterr)
{
    const struct temperature_rows rows = {.ops = ops,
                                          .n_threads = n_threads,
                                          .data = setup->data,
                                          .rows = setup->data->validation,
                                          .n = setup->data->n_validation,
                                          .jitter = &setup->options->data.jitter,
                                          .samples = setup->options->validation_samples,
                                          .seed = setup->options->seed};
    struct ebm_error error = {.status = EBM_OK};
    if (replace(model, &rows, "validation rows", &error) == EBM_OK)
        return ebm_model_save(*model, path, reterr);
    ebm_log_warning("training.calibrate: %s: %s: the model stays as it was trained; `ebm-trainer calibrate` can follow",
                    error.where, error.text);
    return EBM_OK;
}

/* ---- the command ---- */

/* What the command line says. */
struct calibration {
    const char *model_path, *data_path, *output;
    struct ebm_model *model;
    struct dataset *data;
    struct dataset_jitter jitter;
    uint32_t *all; /* (n_rows) 0, 1, ... */
};

static void calibration_done(struct calibration *c)
{
    (void)ebm_model_unref(c->model);
    (void)dataset_free(c->data);
    free(c->jitter.values);
    free(c->all);
}

/* The rows that training held out: chosen again as it chose them. */
static enum ebm_status hold_out(struct calibration *c, struct ebm_error *reterr)
{
    struct dataset_options split = {.validation = 0.0};
    bool has_test_rows = false;
    enum ebm_status status = options_recorded_split(ebm_model_config(c->model)->training, &split.validation,
                                                    &split.split_seed, &has_test_rows, reterr);
    if (status == EBM_OK && split.validation <= 0.0)
        return ebm_error_set(reterr, EBM_INVALID, "--held-out",
                             "the model's record tells of no rows that its training held out (data.validation)");
    if (status == EBM_OK && has_test_rows)
        return ebm_error_set(reterr, EBM_INVALID, "--held-out",
                             "its training had a split file too: list the rows in one, for --split-file");
    return status == EBM_OK ? dataset_hold_out(c->data, &split, reterr) : status;
}

static enum ebm_status open_rows(struct calibration *c, const struct args *args, struct ebm_error *reterr)
{
    uint64_t bad_files = 0, index = 0;
    const char *split = args_get(args, "split-file");
    enum ebm_status status = args_number(args, "max-bad-files", 0, LIMIT_DATA_ROWS, &bad_files, reterr);
    if (status == EBM_OK)
        status = args_number(args, "split-index", 0, 1000000, &index, reterr);
    if (status == EBM_OK && split != NULL && args_get(args, "held-out") != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "calibrate",
                             "--held-out and --split-file both say which rows: leave one of them out");
    if (status == EBM_OK && split == NULL && args_get(args, "split-index") != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "calibrate",
                             "--split-index is a line of --split-file: say which file");
    const struct columns_files files = {.data = c->data_path,
                                        .targets = args_get(args, "targets"),
                                        .images = args_get(args, "images"),
                                        .max_bad_files = (uint32_t)bad_files};
    if (status == EBM_OK)
        status = columns_load(ebm_model_config(c->model), &files, true, true, &c->data, reterr);
    if (status == EBM_OK && split != NULL)
        status = dataset_keep_split(split, (uint32_t)index, c->data, reterr);
    if (status == EBM_OK && args_get(args, "held-out") != NULL)
        return hold_out(c, reterr);
    if (status != EBM_OK)
        return status;
    c->all = calloc((size_t)c->data->n_rows + 1, sizeof *c->all);
    for (uint32_t i = 0; c->all != NULL && i < c->data->n_rows; i++)
        c->all[i] = i;
    return c->all != NULL ? EBM_OK : ebm_error_set(reterr, EBM_NO_MEMORY, "calibrate", "no memory");
}

static enum ebm_status run(struct calibration *c, const struct args *args, struct ebm_error *reterr)
{
    uint64_t n_threads = pool_default_threads(), samples = CALIBRATE_SAMPLES, seed = 0;
    struct temperature_rows rows = {.jitter = &c->jitter};
    enum ebm_status status = args_number(args, "threads", 1, POOL_THREADS, &n_threads, reterr);
    if (status == EBM_OK)
        status = args_number(args, "num-samples", 1, LIMIT_SAMPLES - 1, &samples, reterr);
    if (status == EBM_OK)
        status = args_number(args, "seed", 0, UINT64_MAX, &seed, reterr);
    if (status == EBM_OK)
        status = device_from_args(args, &rows.ops, reterr);
    if (status == EBM_OK)
        status = model_file_load(c->model_path, &c->model, reterr);
    if (status == EBM_OK)
        status = options_recorded_jitter(ebm_model_config(c->model)->training, &c->jitter, reterr);
    if (status == EBM_OK)
        status = open_rows(c, args, reterr);
    if (status != EBM_OK)
        return status;
    rows.data = c->data;
    rows.rows = c->all != NULL ? c->all : c->data->validation;
    rows.n = c->all != NULL ? c->data->n_rows : c->data->n_validation;
    rows.n_threads = (uint32_t)n_threads;
    rows.samples = (uint32_t)samples;
    rows.seed = seed;
    status = replace(&c->model, &rows, c->all != NULL ? "rows" : "rows that training held out", reterr);
    if (status == EBM_OK)
        status = ebm_model_save(c->model, c->output, reterr);
    if (status == EBM_OK)
        (void)printf("model written to %s\n", c->output);
    return status;
}

enum ebm_status calibrate_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(calibration_done) struct calibration c = {.model = NULL};
    enum ebm_status status = args_require(args, "model", &c.model_path, reterr);
    if (status == EBM_OK)
        status = args_require(args, "data", &c.data_path, reterr);
    if (status == EBM_OK)
        status = args_require(args, "output", &c.output, reterr);
    if (status == EBM_OK && files_exists(c.output))
        return ebm_error_set(reterr, EBM_INVALID, c.output, "is there already: choose another --output");
    return status == EBM_OK ? run(&c, args, reterr) : status;
}
