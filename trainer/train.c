/* train.c - from a configuration file to DIR/model.safetensors:
 *
 *   setup.c: options, data, the model's description, the method's phases -> plan, threads
 *   new run: initial parameters         --resume: everything from DIR/checkpoint.safetensors
 *   loop -> best parameters (the last ones without validation) -> model.safetensors, read back -> the checkpoint goes
 *
 * DIR/checkpoint.safetensors exists exactly while a run is unfinished. A new run refuses a folder that has one, or a
 * model, unless --overwrite is given: then both go when everything is checked and the first epoch begins. */
#include "trainer/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "models/model.h"
#include "trainer/calibrate.h"
#include "trainer/data_args.h"
#include "trainer/device_args.h"
#include "trainer/ensemble.h"
#include "trainer/files.h"
#include "trainer/forecast.h"
#include "trainer/initial.h"
#include "trainer/loop.h"
#include "trainer/model_file.h"
#include "trainer/next.h"
#include "trainer/publish.h"
#include "trainer/report.h"
#include "trainer/seeds.h"
#include "trainer/setup.h"
#include "trainer/trials.h"
#include "trainer/tails.h"

#define PLAN_BYTES (1u << 20) /* most of what --dry-run says */

/* All that the command makes, in the order of making. */
struct training {
    struct checkpoint state;
    struct setup setup;
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct pool *pool;
    char *output, *checkpoint_path, *model_path;
    const struct args *args; /* NULL: resumed */
    uint32_t n_threads;
    bool publishes, overwrites;
};

static void training_done(struct training *t)
{
    checkpoint_done(&t->state);
    setup_done(&t->setup);
    (void)pool_free(t->pool);
    if (t->plan != NULL)
        (void)t->ops->plan_unref(t->plan);
    free(t->output);
    free(t->checkpoint_path);
    free(t->model_path);
}

/* ---- the run ---- */

/* By the seed; what training.initial has of the model, by that. */
static enum ebm_status begin_parameters(struct training *t, struct ebm_error *reterr)
{
    const struct options *options = t->setup.options;
    uint32_t taken = 0;
    initial_parameters(setup_net(&t->setup), options->seed, options->target_scale, t->state.params);
    enum ebm_status status = initial_from_model(options, t->setup.config,
                                                t->state.params + setup_model_first(&t->setup), &taken, reterr);
    if (taken > 0)
        (void)printf("%u of %zu tensors begin as in %s\n", taken, t->setup.config->n_params, options->initial);
    return status;
}

static enum ebm_status make_state(struct training *t, bool resumes, struct ebm_error *reterr)
{
    const struct options *options = t->setup.options;
    size_t P = setup_net(&t->setup)->n_params;
    uint64_t fingerprint = dataset_fingerprint(t->setup.data);
    if (resumes && t->state.position.fingerprint != fingerprint)
        return ebm_error_set(reterr, EBM_INVALID, options->data.file,
                             "the data are not those that the run started with: it cannot go on to the same result");
    if (resumes && t->state.n_params != P)
        return ebm_error_set(reterr, EBM_DAMAGED, t->checkpoint_path, "%zu parameters, the model has %zu",
                             t->state.n_params, P);
    if (resumes && t->state.position.epoch > options->epochs)
        return ebm_error_set(reterr, EBM_DAMAGED, t->checkpoint_path, "it stands behind the last epoch");
    if (resumes)
        return EBM_OK;
    enum ebm_status status = checkpoint_init(&t->state, P, options->run, reterr);
    if (status == EBM_OK) {
        t->state.position.fingerprint = fingerprint;
        status = begin_parameters(t, reterr);
    }
    return status;
}

/* Memory of all phases: a device that has too little of it says so before the first step. */
static enum ebm_status make_pool(struct training *t, struct ebm_error *reterr)
{
    const struct setup *setup = &t->setup;
    struct ebm_ctx_limits limits = forecast_limits(setup);
    enum ebm_status status = pool_new(t->ops, &limits, t->plan, t->n_threads, &t->pool, reterr);
    for (uint32_t i = 0; status == EBM_OK && i < setup->method.n_phases; i++) {
        const struct ebm_loss_spec *loss = &setup->method.phases[i].loss;
        status = pool_train_prepare(t->pool, t->plan, loss, step_chunk_rows(loss, setup->options->batch_size), reterr);
    }
    return status;
}

static enum ebm_status make_device(struct training *t, const struct args *args, uint32_t n_threads,
                                   struct ebm_error *reterr)
{
    enum ebm_status status = device_from_args(args, &t->ops, reterr);
    t->n_threads = n_threads;
    if (status == EBM_OK)
        status = t->ops->plan_new(setup_net(&t->setup), t->state.params, STEP_CHUNKS, &t->plan, reterr);
    if (status != EBM_OK)
        return status;
    if (t->ops->params_write(t->plan, EBM_TRAIN_ADAM_M, t->state.adam_m) != EBM_OK ||
        t->ops->params_write(t->plan, EBM_TRAIN_ADAM_V, t->state.adam_v) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the optimiser's state cannot be written");
    if (setup_net(&t->setup)->trunk.n_ops > 0)
        status = t->ops->trunk_prepare(t->plan, t->setup.options->batch_size, reterr);
    if (status != EBM_OK)
        return status;
    return make_pool(t, reterr);
}

/* The file is written by then: what cannot be found out is not told. */
static void tell_tails(const struct training *t, const struct ebm_model *model)
{
    const struct ebm_config *config = ebm_model_config(model);
    struct tails tails;
    if (tails_apply(config) && tails_find(config, ebm_model_params(model), t->setup.data, &tails, NULL) == EBM_OK)
        tails_print(config, &tails);
}

static void tell_best(const struct training *t)
{
    const struct checkpoint_position *at = &t->state.position;
    if (at->epoch < t->setup.options->epochs)
        (void)printf("stopped after epoch %u of %u: no better validation NLL in %u epochs (training.patience)\n",
                     (unsigned)at->epoch, t->setup.options->epochs, t->setup.options->patience);
    if (at->best_epoch > 0)
        (void)printf("best validation NLL %.4f, after epoch %u\n", at->best_nll, (unsigned)at->best_epoch);
}

static enum ebm_status write_model(struct training *t, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *model = NULL;
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *written = NULL;
    bool has_best = t->state.position.best_epoch > 0;
    const float *params = (has_best ? t->state.best : t->state.params) + setup_model_first(&t->setup);
    tell_best(t);
    enum ebm_status status = ebm_model_new(t->setup.config, params, &model, reterr);
    if (status != EBM_OK)
        return status;
    t->setup.config = NULL; /* the model's now */
    status = ebm_model_save(model, t->model_path, reterr);
    if (status == EBM_OK && t->setup.options->calibrate)
        status = calibrate_written(&t->setup, t->ops, t->n_threads, t->model_path, &model, reterr);
    if (status == EBM_OK)
        status = model_file_load(t->model_path, &written, reterr);
    if (status != EBM_OK)
        return status;
    (void)unlink(t->checkpoint_path); /* the file is whole: nothing is lost with it */
    tell_tails(t, written);
    (void)printf("model written to %s\n", t->model_path);
    if (t->state.position.epoch == t->setup.options->epochs)
        next_train_longer(t->args, t->output, (uint32_t)t->state.position.best_epoch, t->setup.options->epochs);
    const char *name = ebm_model_config(written)->name;
    next_after_training(t->model_path, ebm_name_is_valid(name) ? name : NULL, t->publishes);
    return EBM_OK;
}

static enum ebm_status train_members(struct training *t, const struct args *args, struct ebm_error *reterr)
{
    enum ebm_status status = ensemble_train(args, &t->setup, t->output, reterr);
    if (status == EBM_OK)
        next_after_training(t->model_path, ebm_name_is_valid(t->setup.config->name) ? t->setup.config->name : NULL,
                            t->publishes);
    return status;
}

/* The error says which settings to change; this says with which command. */
static void tell_way_on(const struct training *t)
{
    if (files_exists(t->checkpoint_path))
        ebm_log_warning(
            "--resume %s repeats this run as it was. To change a setting, start again with another --output, "
            "or remove %s first",
            t->output, t->checkpoint_path);
    else
        ebm_log_warning("no checkpoint was saved: start again, --output %s is free", t->output);
}

/* A single network, or each member of an ensemble in a process that comes here again for it alone. */
static enum ebm_status run(struct training *t, const struct args *args, uint32_t n_threads, struct ebm_error *reterr)
{
    bool resumes = args_get(args, "resume") != NULL;
    enum ebm_status status = setup_make(&t->setup, reterr);
    if (status == EBM_OK && t->setup.config->net.members > 1)
        return train_members(t, args, reterr);
    if (status == EBM_OK && args_get(args, "jobs") != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "train",
                             "--jobs is for --seeds and for ensembles (model.members); threads of one run: --threads");
    if (status == EBM_OK)
        status = make_state(t, resumes, reterr);
    if (status == EBM_OK)
        status = make_device(t, args, n_threads, reterr);
    if (status != EBM_OK)
        return status;
    struct loop loop = {.options = t->setup.options,
                        .data = t->setup.data,
                        .config = t->setup.config,
                        .method = &t->setup.method,
                        .step = {.ops = t->ops,
                                 .pool = t->pool,
                                 .plan = t->plan,
                                 .net = setup_net(&t->setup),
                                 .weight_decay = t->setup.options->weight_decay,
                                 .gradient_clip = t->setup.options->gradient_clip},
                        .state = &t->state,
                        .output = t->output};
    report_print(t->setup.data, &t->setup.options->data.jitter);
    if (resumes)
        (void)printf("going on in epoch %" PRIu64 ", after %" PRIu64 " of its steps\n", t->state.position.epoch + 1,
                     t->state.position.step);
    if (t->overwrites) { /* from here on the folder is this run's, and holds nothing of another */
        (void)unlink(t->checkpoint_path);
        (void)unlink(t->model_path);
    }
    loop_catch_signals();
    status = resumes ? EBM_OK : trials_run(&loop, reterr);
    if (status == EBM_OK)
        status = loop_run(&loop, reterr);
    if (loop.has_diverged)
        tell_way_on(t);
    return status == EBM_OK ? write_model(t, reterr) : status;
}

/* ---- the command line ---- */

static enum ebm_status set_output(struct training *t, const char *output, struct ebm_error *reterr)
{
    t->output = strdup(output);
    t->checkpoint_path = files_join(output, CHECKPOINT_FILE);
    t->model_path = files_join(output, "model.safetensors");
    if (t->output == NULL || t->checkpoint_path == NULL || t->model_path == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "train", "no memory");
    return EBM_OK;
}

/* A folder that holds a run is not taken for another one, unless that is asked for. */
static enum ebm_status check_output(const struct training *t, struct ebm_error *reterr)
{
    if (t->overwrites)
        return EBM_OK;
    if (files_exists(t->checkpoint_path))
        return ebm_error_set(
            reterr, EBM_INVALID, t->checkpoint_path,
            "an unfinished run lies there: go on as it was with --resume %s; for a change choose another --output, or "
            "start over with --overwrite",
            t->output);
    if (files_exists(t->model_path))
        return ebm_error_set(reterr, EBM_INVALID, t->model_path,
                             "a finished run lies there: choose another --output, or replace it with --overwrite");
    return EBM_OK;
}

static enum ebm_status read_options(struct training *t, const struct args *args, struct ebm_error *reterr)
{
    const char *config = NULL, *output = args_get(args, "output");
    struct options_files files;
    enum ebm_status status = args_require(args, "config", &config, reterr);
    if (status == EBM_OK)
        status = data_args_read(args, &files, reterr);
    if (status == EBM_OK)
        status = options_load(config, args->repeats, args->n_repeats, &files, &t->setup.options, reterr);
    return status == EBM_OK ? set_output(t, output != NULL ? output : "trained", reterr) : status;
}

static enum ebm_status open_new(struct training *t, const struct args *args, struct ebm_error *reterr)
{
    enum ebm_status status = read_options(t, args, reterr);
    if (status == EBM_OK)
        status = files_make_folder(t->output, reterr);
    return status == EBM_OK ? check_output(t, reterr) : status;
}

/* `--dry-run` and `--print-config`: as far as a run can be checked without writing or computing anything. */
static enum ebm_status preview(struct training *t, const struct args *args, uint32_t n_threads,
                               struct ebm_error *reterr)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf plan;
    EBM_AUTO(ebm_freep) char *model = NULL;
    EBM_AUTO(ebm_freep) char *complete = NULL;
    struct ebm_device_choice device = {0};
    uint32_t n_initial;
    ebm_buf_init(&plan, PLAN_BYTES);
    enum ebm_status status = read_options(t, args, reterr);
    if (status == EBM_OK && args_get(args, "dry-run") != NULL)
        status = check_output(t, reterr);
    if (status == EBM_OK)
        status = device_choice_from_args(args, &device, reterr);
    if (status == EBM_OK)
        status = setup_make(&t->setup, reterr);
    if (status == EBM_OK)
        status = initial_from_model(t->setup.options, t->setup.config, NULL, &n_initial, reterr);
    if (status != EBM_OK)
        return status;
    if (args_get(args, "dry-run") != NULL) {
        report_text(t->setup.data, &t->setup.options->data.jitter, &plan);
        enum forecast_where where = device.may_fail ? FORECAST_EITHER : device.by_plugin ? FORECAST_GPU : FORECAST_CPU;
        forecast_text(&t->setup, n_threads, where, t->output, &plan);
        (void)printf("%snothing was written: without --dry-run the training begins\n",
                     plan.bytes != NULL ? plan.bytes : "");
        return EBM_OK;
    }
    status = ebm_config_text(t->setup.config, &model, reterr);
    if (status == EBM_OK)
        status = options_complete(t->setup.options, model, &complete, reterr);
    if (status == EBM_OK)
        (void)fputs(complete, stdout);
    return status;
}

static enum ebm_status open_resumed(struct training *t, const struct args *args, const char *folder,
                                    struct ebm_error *reterr)
{
    static const char *const excluded[] = {"config", "set", "output", "dry-run", "print-config", "overwrite"};
    for (size_t i = 0; i < EBM_COUNT_OF(excluded); i++)
        if (args_get(args, excluded[i]) != NULL)
            return ebm_error_set(
                reterr, EBM_INVALID, "train",
                "--%s does not go with --resume, which goes on as it was; for a change start again with "
                "another --output",
                excluded[i]);
    struct options_files files;
    enum ebm_status status = set_output(t, folder, reterr);
    if (status == EBM_OK)
        status = data_args_read(args, &files, reterr);
    if (status == EBM_OK && !files_exists(t->checkpoint_path))
        return ebm_error_set(reterr, EBM_NOT_FOUND, t->checkpoint_path,
                             "no checkpoint: the run has finished (then %s is there), or never saved one",
                             files_base(t->model_path));
    if (status == EBM_OK)
        status = checkpoint_read(t->checkpoint_path, &t->state, reterr);
    if (status == EBM_OK)
        status = options_parse(t->state.run, t->checkpoint_path, ".", NULL, 0, &files, &t->setup.options, reterr);
    return status;
}

enum ebm_status train_command(const struct args *args, struct ebm_error *reterr)
{
    const char *destination = args_get(args, "publish"), *resume = args_get(args, "resume");
    EBM_AUTO(training_done)
    struct training t = {.args = resume == NULL ? args : NULL,
                         .publishes = destination != NULL,
                         .overwrites = args_get(args, "overwrite") != NULL};
    uint64_t n_threads = pool_default_threads();
    if (args_get(args, "seeds") != NULL)
        return seeds_command(args, reterr);
    enum ebm_status status = args_number(args, "threads", 1, POOL_THREADS, &n_threads, reterr);
    if (status == EBM_OK && destination != NULL)
        status = publish_check(destination, reterr);
    if (status == EBM_OK && resume == NULL && (args_get(args, "dry-run") || args_get(args, "print-config")))
        return preview(&t, args, (uint32_t)n_threads, reterr);
    if (status == EBM_OK)
        status = resume != NULL ? open_resumed(&t, args, resume, reterr) : open_new(&t, args, reterr);
    if (status == EBM_OK)
        status = run(&t, args, (uint32_t)n_threads, reterr);
    uint64_t version = 0;
    if (status == EBM_OK && destination != NULL)
        status = publish_model(t.model_path, destination, &version, reterr);
    return status;
}
