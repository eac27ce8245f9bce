/* setup.c - options -> data set -> the model's description, its gaps filled from the data -> the method's phases.
 *
 * What a person can get wrong in a configuration shows here, before any memory is taken for a training. `train`,
 * `train --dry-run`, `train --print-config` and `validate` all begin with it. */
#include "trainer/setup.h"

#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "trainer/bounds.h"
#include "trainer/files.h"
#include "trainer/initial.h"
#include "trainer/range.h"
#include "trainer/score.h"
#include "trainer/temperature.h"

void setup_done(struct setup *setup)
{
    method_plan_done(&setup->method);
    teacher_done(&setup->teacher);
    (void)options_free(setup->options);
    (void)dataset_free(setup->data);
    (void)ebm_config_free(setup->config);
    *setup = (struct setup){.options = NULL};
}

/* ---- the model's description ---- */

static enum ebm_status check_names(const char *key, char *const *said, char *const *given, uint32_t n,
                                   struct ebm_error *reterr)
{
    for (uint32_t i = 0; said != NULL && i < n; i++)
        if (strcmp(said[i], given[i]) != 0)
            return ebm_error_set(reterr, EBM_INVALID, key,
                                 "'%.64s' stands here, but the data's column is '%.64s': leave "
                                 "the names out",
                                 said[i], given[i]);
    return EBM_OK;
}

/* A name for the model out of the data file's. */
static char *name_of_data(const char *path)
{
    char *name = strdup(files_base(path)), *dot = name != NULL ? strrchr(name, '.') : NULL;
    if (dot != NULL)
        *dot = '\0';
    if (name != NULL && !ebm_name_is_valid(name)) {
        free(name);
        name = strdup("model");
    }
    return name;
}

/* A model file says all this in its header: can that be read back? Asked before the training, not after it. */
static enum ebm_status check_description(const struct ebm_config *config, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *text = NULL;
    EBM_AUTO(ebm_config_freep) struct ebm_config *again = NULL;
    enum ebm_status status = ebm_config_text(config, &text, reterr);
    return status == EBM_OK ? ebm_config_parse(text, strlen(text), NULL, &again, reterr) : status;
}

static enum ebm_status make_config(struct setup *s, struct ebm_error *reterr)
{
    const struct dataset *data = s->data;
    bool measured = s->options->data.standardize;
    EBM_AUTO(ebm_freep) char *name = name_of_data(s->options->data.file);
    struct ebm_config_defaults defaults = {
        .name = name, .X = data->X, .D = data->D, .input_names = data->input_names, .target_names = data->target_names};
    if (data->pixels != NULL) {
        defaults.image = (struct ebm_shape){data->image.channels, data->image.height, data->image.width};
        defaults.scale = s->options->data.image_scale;
    }
    if (measured) {
        defaults.input_mean = data->input_mean;
        defaults.input_std = data->input_std;
        defaults.target_mean = data->target_mean;
        defaults.target_std = data->target_std;
    }
    double ends[2];
    if (range_choose(s->options, data, ends)) {
        defaults.target_lower = &ends[0];
        defaults.target_upper = &ends[1];
    }
    enum ebm_status status = ebm_config_parse(s->options->model, strlen(s->options->model), &defaults, &s->config,
                                              reterr);
    if (status != EBM_OK)
        return ebm_error_prefix(reterr, "model");
    status = check_names("model.input.names", s->config->input.names, data->input_names, data->X, reterr);
    if (status == EBM_OK)
        status = check_names("model.target.names", s->config->target.names, data->target_names, data->D, reterr);
    if (status == EBM_OK)
        status = range_check(s->options, data, &s->config->target, reterr);
    if (status == EBM_OK)
        status = bounds_apply(s->data, &s->config->target, s->options->data.file, reterr);
    if (status == EBM_OK)
        status = bounds_check_mirrored(s->data, &s->config->target, &s->options->data.augment, reterr);
    if (status != EBM_OK)
        return status;
    status = ebm_config_set_training(s->config, s->options->recorded, reterr);
    if (status == EBM_OK)
        status = check_description(s->config, reterr);
    return status == EBM_OK ? EBM_OK : ebm_error_prefix(reterr, "model");
}

const struct ebm_net_desc *setup_net(const struct setup *setup)
{
    return setup->teacher.config != NULL ? &setup->teacher.net : &setup->config->net;
}

size_t setup_model_first(const struct setup *setup)
{
    return setup->teacher.config != NULL ? setup->teacher.mixture.first : 0;
}

static enum ebm_status make_teacher(struct setup *s, const struct method *method, struct ebm_error *reterr)
{
    const struct method_value *said = method_said(s->options->values, s->options->n_values, "teacher");
    const char *nets = said != NULL ? said->object : method_parameter_of(method, "teacher")->nets;
    return teacher_make(s->config, nets, &s->teacher, reterr);
}

static enum ebm_status make_method(struct setup *s, struct ebm_error *reterr)
{
    const struct options *o = s->options;
    const struct method *method = NULL;
    const struct method_settings settings = {.epochs = o->epochs,
                                             .warmup_epochs = o->warmup_epochs,
                                             .heads_only_epochs = o->heads_only_epochs,
                                             .samples = o->samples,
                                             .values = o->values,
                                             .n_values = o->n_values,
                                             .target_std = s->config->target.std};
    enum ebm_status status = method_find(o->method, &method, reterr);
    if (status == EBM_OK && method->has_teacher)
        status = make_teacher(s, method, reterr);
    return status == EBM_OK ? method_lay(method, setup_net(s), &settings, &s->method, reterr) : status;
}

/* Losses of different initial weights are compared: they have to mean the same. */
static enum ebm_status check_trials(const struct setup *s, struct ebm_error *reterr)
{
    const struct options *o = s->options;
    const struct method_phase *last = &s->method.phases[s->method.n_phases - 1];
    if (o->trials <= 1)
        return EBM_OK;
    if (last->loss.loss != EBM_LOSS_ML_EXACT && last->loss.loss != EBM_LOSS_MDN_NLL)
        return ebm_error_set(
            reterr, EBM_INVALID, "training.trials",
            "%s cannot compare initial weights: only the losses of ml_exact and mdn_nll are likelihoods. "
            "Leave it out, or train with --seeds and compare the validation NLL",
            o->method);
    if (o->trial_epochs <= last->first_epoch || o->trial_epochs >= o->epochs)
        return ebm_error_set(reterr, EBM_INVALID, "training.trial_epochs",
                             "%u, expected more than the %u epochs of the warm-up and fewer than the %u of the run",
                             o->trial_epochs, last->first_epoch, o->epochs);
    return EBM_OK;
}

/* What concerns the rows and no method in particular. */
static enum ebm_status check_patience(const struct setup *s, struct ebm_error *reterr)
{
    if (s->options->patience == 0 || s->data->n_validation > 0)
        return EBM_OK;
    return ebm_error_set(
        reterr, EBM_INVALID, "training.patience",
        "it waits for a better validation NLL, and no rows are held out: set data.validation, as in 0.1");
}

/* An image that is augmented anew in every epoch has no features that could be kept. */
static enum ebm_status check_keeping(const struct setup *s, struct ebm_error *reterr)
{
    if (!s->options->keep_features)
        return EBM_OK;
    if (s->data->pixels == NULL)
        return ebm_error_set(reterr, EBM_INVALID, "training.keep_features", "it is of models that read images");
    if (augment_is_on(&s->options->data.augment))
        return ebm_error_set(reterr, EBM_INVALID, "training.keep_features",
                             "data.augment gives an image other features in every epoch: leave out one of them");
    return EBM_OK;
}

static enum ebm_status check_validation(const struct setup *s, struct ebm_error *reterr)
{
    if (s->data->n_validation == 0 || score_is_possible(&s->config->net))
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "data.validation",
                         "the NLL of held out rows needs log Z, which an energy over %u targets has only by a "
                         "proposal: add model.proposal, or set data.validation to 0",
                         s->config->net.D);
}

static enum ebm_status check_calibration(const struct setup *s, struct ebm_error *reterr)
{
    if (!s->options->calibrate)
        return EBM_OK;
    if (s->data->n_validation == 0)
        return ebm_error_set(reterr, EBM_INVALID, "training.calibrate",
                             "it is done on rows held out, and none are: set data.validation, as in 0.1");
    return temperature_check(&s->config->net, reterr);
}

enum ebm_status setup_make(struct setup *setup, struct ebm_error *reterr)
{
    enum ebm_status status = dataset_load(&setup->options->data, &setup->data, reterr);
    if (status == EBM_OK)
        status = check_patience(setup, reterr);
    if (status == EBM_OK)
        status = make_config(setup, reterr);
    if (status == EBM_OK)
        status = check_keeping(setup, reterr);
    if (status == EBM_OK)
        status = check_validation(setup, reterr);
    if (status == EBM_OK)
        status = check_calibration(setup, reterr);
    if (status == EBM_OK)
        status = make_method(setup, reterr);
    if (status == EBM_OK)
        status = initial_check(setup_net(setup), setup->options, reterr);
    return status == EBM_OK ? check_trials(setup, reterr) : status;
}
