/* ensemble.c - members are trained apart, a process each with a seed of its own (children.c), and joined afterwards:
 *
 *   DIR/member-0 ... DIR/member-(n-1)  ->  their descriptions must agree  ->  parameters one after the other
 *                                      ->  DIR/model.safetensors, "members": n
 *
 * All members hold out the same rows, so that the joined model can be judged, and calibrated, on rows that none of them
 * was trained on.
 */
#include "trainer/ensemble.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "trainer/calibrate.h"
#include "trainer/children.h"
#include "trainer/device_args.h"
#include "trainer/files.h"
#include "trainer/model_file.h"
#include "trainer/pool.h"

struct members {
    struct ebm_model *all[LIMIT_MEMBERS];
    uint32_t n;
};

static void members_done(struct members *members)
{
    for (uint32_t i = 0; i < members->n; i++)
        (void)ebm_model_unref(members->all[i]);
}

/* What of a description must agree: all but how the model came to be. New: config_free. */
static enum ebm_status bare_config(const struct ebm_model *model, uint32_t n_members, bool keeps_training,
                                   struct ebm_config **ret_config, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *text = NULL;
    struct ebm_config copy = *ebm_model_config(model);
    copy.net.members = n_members;
    if (!keeps_training)
        copy.training = NULL;
    enum ebm_status status = ebm_config_text(&copy, &text, reterr);
    return status == EBM_OK ? ebm_config_parse(text, strlen(text), NULL, ret_config, reterr) : status;
}

static enum ebm_status check_same(const struct members *members, const char *const *paths, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *first = NULL;
    for (uint32_t i = 0; i < members->n; i++) {
        EBM_AUTO(ebm_config_freep) struct ebm_config *config = NULL;
        EBM_AUTO(ebm_freep) char *text = NULL;
        if (ebm_model_net(members->all[i])->members > 1)
            return ebm_error_set(reterr, EBM_INVALID, paths[i], "is an ensemble already: members are single models");
        enum ebm_status status = bare_config(members->all[i], 1, false, &config, reterr);
        if (status == EBM_OK)
            status = ebm_config_text(config, &text, reterr);
        if (status != EBM_OK)
            return status;
        if (first != NULL && strcmp(first, text) != 0)
            return ebm_error_set(reterr, EBM_INVALID, paths[i],
                                 "does not agree with %.60s: members have the same layers, columns, units and name; "
                                 "'ebm-trainer inspect' shows them",
                                 paths[0]);
        if (first == NULL)
            first = EBM_TAKE_PTR(text);
    }
    return EBM_OK;
}

static enum ebm_status load_all(const char *const *paths, uint32_t n, struct members *members, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; i < n && status == EBM_OK; i++) {
        status = model_file_load(paths[i], &members->all[i], reterr);
        members->n += status == EBM_OK;
    }
    return status;
}

static enum ebm_status write_joined(const struct members *members, const char *output, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_config_freep) struct ebm_config *config = NULL;
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *joined = NULL;
    size_t P = ebm_model_net(members->all[0])->n_params;
    EBM_AUTO(ebm_freep) float *params = ebm_alloc_aligned(members->n * P * sizeof *params);
    if (params == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, output, "no memory for %u members", members->n);
    for (uint32_t i = 0; i < members->n; i++)
        memcpy(params + i * P, ebm_model_params(members->all[i]), P * sizeof *params);
    enum ebm_status status = bare_config(members->all[0], members->n, true, &config, reterr);
    if (status == EBM_OK)
        status = ebm_model_new(config, params, &joined, reterr);
    if (status != EBM_OK)
        return status;
    config = NULL; /* the model's now */
    return ebm_model_save(joined, output, reterr);
}

enum ebm_status ensemble_join(const char *const *paths, uint32_t n, const char *output, struct ebm_error *reterr)
{
    EBM_AUTO(members_done) struct members members = {.n = 0};
    if (n < 2 || n > LIMIT_MEMBERS)
        return ebm_error_set(reterr, EBM_INVALID, "join", "%u model files, expected 2 to %u", n, LIMIT_MEMBERS);
    enum ebm_status status = load_all(paths, n, &members, reterr);
    if (status == EBM_OK)
        status = check_same(&members, paths, reterr);
    return status == EBM_OK ? write_joined(&members, output, reterr) : status;
}

/* ---- training ---- */

static enum ebm_status join_children(const struct children *children, const char *output, struct ebm_error *reterr)
{
    char *paths[LIMIT_MEMBERS] = {NULL};
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; i < children->n; i++) {
        paths[i] = files_join(children->all[i].folder, "model.safetensors");
        if (paths[i] == NULL)
            status = ebm_error_set(reterr, EBM_NO_MEMORY, "train", "no memory");
    }
    if (status == EBM_OK)
        status = ensemble_join((const char *const *)paths, children->n, output, reterr);
    for (uint32_t i = 0; i < children->n; i++)
        free(paths[i]);
    return status;
}

/* training.calibrate: of the whole, since the mean of several densities is wider than each. */
static enum ebm_status calibrate_joined(const struct args *args, const struct setup *setup, const char *path,
                                        struct ebm_error *reterr)
{
    const struct ebm_device_ops *ops = NULL;
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *model = NULL;
    uint64_t n_threads = pool_default_threads();
    enum ebm_status status = args_number(args, "threads", 1, POOL_THREADS, &n_threads, reterr);
    if (status == EBM_OK)
        status = device_from_args(args, &ops, reterr);
    if (status == EBM_OK)
        status = model_file_load(path, &model, reterr);
    if (status == EBM_OK)
        status = calibrate_written(setup, ops, (uint32_t)n_threads, path, &model, reterr);
    return status;
}

enum ebm_status ensemble_train(const struct args *args, const struct setup *setup, const char *output,
                               struct ebm_error *reterr)
{
    static const char *const alone[] = {"model.members=1", "training.calibrate=false", NULL};
    EBM_AUTO(children_done)
    struct children children = {
        .args = args, .what = "member", .extra_sets = alone, .split_seed = setup->options->data.split_seed};
    EBM_AUTO(ebm_freep) char *model = files_join(output, "model.safetensors");
    uint64_t seeds[LIMIT_MEMBERS];
    uint32_t n = setup->config->net.members;
    for (uint32_t i = 0; i < n; i++)
        seeds[i] = setup->options->seed + i;
    if (model == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "train", "no memory");
    enum ebm_status status = children_init(&children, output, seeds, n, reterr);
    if (status == EBM_OK)
        status = children_run(&children, output, reterr);
    if (status == EBM_OK)
        status = join_children(&children, model, reterr);
    if (status == EBM_OK && setup->options->calibrate)
        status = calibrate_joined(args, setup, model, reterr);
    if (status == EBM_OK)
        (void)printf("model of %u members written to %s\n", n, model);
    return status;
}

enum ebm_status ensemble_command(const struct args *args, struct ebm_error *reterr)
{
    const char *output = NULL;
    enum ebm_status status = args_require(args, "output", &output, reterr);
    if (status == EBM_OK && files_exists(output))
        return ebm_error_set(reterr, EBM_INVALID, output, "is there already: choose another --output");
    if (status == EBM_OK)
        status = ensemble_join(args->repeats, args->n_repeats, output, reterr);
    if (status == EBM_OK)
        (void)printf("model of %u members written to %s\n", args->n_repeats, output);
    return status;
}
