/* model.c - model files <-> a configuration and one block of parameters.
 *
 *   load   safetensors (verified bytes) -> metadata: format, version, config -> every tensor of the configuration, of
 *          the right shape, finite, made F32; no other tensor but parity.* -> parity values recomputed on the reference
 *          device
 *   save   the block's tensors by name + parity values + the configuration's text -> safetensors
 *
 * Guarantees: what was loaded is complete and finite, and its gaps between tensors are zero; a model never changes
 * after it was made, so any thread may read it while it holds a reference. A refused file leaves nothing behind. */
#include "models/model.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h"
#include "models/parity.h"

struct ebm_model {
    _Atomic uint32_t references;
    struct ebm_config *config;
    float *params;             /* (ebm_net_all_params(&config->net)) */
    struct ebm_parity *parity; /* NULL: the file has none */
};

/* ---- making ---- */

static enum ebm_status copy_finite(float *to, const float *from, const struct ebm_param *param,
                                   struct ebm_error *reterr)
{
    size_t count = ebm_param_count(param);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(from[i]))
            return ebm_error_set(reterr, EBM_DAMAGED, param->name, "number %zu is %g, expected finite numbers", i,
                                 (double)from[i]);
    memcpy(to + param->offset, from, count * sizeof *to);
    return EBM_OK;
}

/* A model with all parameters 0. Takes config on EBM_OK. */
static enum ebm_status new_empty(struct ebm_config *config, struct ebm_model **ret_model, struct ebm_error *reterr)
{
    struct ebm_model *model = calloc(1, sizeof *model);
    size_t n_params = ebm_net_all_params(&config->net);
    float *params = ebm_alloc_aligned(n_params * sizeof *params);
    if (!model || !params) {
        free(model);
        free(params);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no memory for %zu parameters", n_params);
    }
    atomic_init(&model->references, 1);
    model->config = config;
    model->params = params;
    *ret_model = model;
    return EBM_OK;
}

enum ebm_status ebm_model_new(struct ebm_config *config, const float *params, struct ebm_model **ret_model,
                              struct ebm_error *reterr)
{
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *model = NULL;
    enum ebm_status status = new_empty(config, &model, reterr);
    if (status != EBM_OK)
        return status;
    for (size_t i = 0; i < config->n_params && status == EBM_OK; i++)
        status = copy_finite(model->params, params + config->params[i].offset, &config->params[i], reterr);
    if (status != EBM_OK) {
        model->config = NULL; /* stays the caller's */
        return status;
    }
    *ret_model = EBM_TAKE_PTR(model);
    return EBM_OK;
}

struct ebm_model *ebm_model_ref(struct ebm_model *model)
{
    (void)atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

struct ebm_model *ebm_model_unref(struct ebm_model *model)
{
    if (!model || atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) > 1)
        return NULL;
    ebm_config_free(model->config);
    free(model->params);
    (void)ebm_parity_free(model->parity);
    free(model);
    return NULL;
}

void ebm_model_unrefp(struct ebm_model **model)
{
    *model = ebm_model_unref(*model);
}

const struct ebm_config *ebm_model_config(const struct ebm_model *model)
{
    return model->config;
}

const struct ebm_net_desc *ebm_model_net(const struct ebm_model *model)
{
    return &model->config->net;
}

const float *ebm_model_params(const struct ebm_model *model)
{
    return model->params;
}

const struct ebm_parity *ebm_model_parity(const struct ebm_model *model)
{
    return model->parity;
}

/* ---- parity ---- */

enum ebm_status ebm_model_read_parity(struct ebm_model *model, const struct ebm_safetensors *file,
                                      struct ebm_error *reterr)
{
    const struct ebm_net_desc *net = &model->config->net;
    enum ebm_status status = ebm_parity_read(file, net, &model->parity, reterr);
    return status == EBM_OK && model->parity ? ebm_parity_check_reference(model->parity, net, model->params, reterr)
                                             : status;
}

enum ebm_status ebm_model_compute_parity(struct ebm_model *model, const float *x, const float *y, uint32_t rows,
                                         struct ebm_error *reterr)
{
    return ebm_parity_compute(&model->config->net, model->params, x, y, rows, &model->parity, reterr);
}

/* ---- loading ---- */

static enum ebm_status expect_metadata(const struct ebm_safetensors *file, const char *key, const char *expected,
                                       struct ebm_error *reterr)
{
    const char *value = ebm_safetensors_metadata(file, key);
    if (!value)
        return ebm_error_set(reterr, EBM_INVALID, key, "__metadata__ lacks it: not a model file");
    if (strcmp(value, expected) != 0)
        return ebm_error_set(reterr, EBM_INVALID, key, "\"%.32s\", expected \"%s\"", value, expected);
    return EBM_OK;
}

static enum ebm_status read_config(const struct ebm_safetensors *file, struct ebm_config **ret_config,
                                   struct ebm_error *reterr)
{
    enum ebm_status status = expect_metadata(file, "format", "ebm-model", reterr);
    if (status == EBM_OK)
        status = expect_metadata(file, "format_version", "1", reterr);
    if (status != EBM_OK)
        return status;
    const char *text = ebm_safetensors_metadata(file, "config");
    if (!text)
        return ebm_error_set(reterr, EBM_INVALID, "config", "__metadata__ lacks it: not a model file");
    status = ebm_config_parse(text, strlen(text), NULL, ret_config, reterr);
    if (status != EBM_OK)
        (void)ebm_error_prefix(reterr, "config");
    return status;
}

static enum ebm_status check_tensor(const struct ebm_param *param, const struct ebm_tensor *tensor,
                                    struct ebm_error *reterr)
{
    uint64_t shape[4];
    uint32_t n_dims = ebm_param_shape(param, shape);
    char expected[EBM_SHAPE_TEXT_BYTES], got[EBM_SHAPE_TEXT_BYTES];
    ebm_shape_text(shape, n_dims, expected);
    if (!tensor)
        return ebm_error_set(reterr, EBM_DAMAGED, param->name, "is missing, expected F32 %s", expected);
    if (!ebm_dtype_is_real(tensor->dtype))
        return ebm_error_set(reterr, EBM_DAMAGED, param->name, "is %s, expected F32, F64, F16 or BF16",
                             ebm_dtype_name(tensor->dtype));
    if (tensor->n_dims != n_dims || memcmp(tensor->shape, shape, n_dims * sizeof *shape) != 0) {
        ebm_shape_text(tensor->shape, tensor->n_dims, got);
        return ebm_error_set(reterr, EBM_DAMAGED, param->name, "has the shape %s, expected %s", got, expected);
    }
    return EBM_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct ebm_param *const *)a)->name, (*(const struct ebm_param *const *)b)->name);
}

static int compare_name(const void *name, const void *param)
{
    return strcmp(name, (*(const struct ebm_param *const *)param)->name);
}

/* Every tensor of the file is one of the configuration's, or parity.* */
static enum ebm_status refuse_extra(const struct ebm_safetensors *file, const struct ebm_config *config,
                                    struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) const struct ebm_param **known = calloc(config->n_params + 1, sizeof *known);
    if (!known)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no memory");
    for (size_t i = 0; i < config->n_params; i++)
        known[i] = &config->params[i];
    qsort(known, config->n_params, sizeof *known, by_name);
    for (size_t i = 0; i < ebm_safetensors_count(file); i++) {
        const char *name = ebm_safetensors_at(file, i)->name;
        if (strncmp(name, "parity.", strlen("parity.")) != 0 &&
            !bsearch(name, known, config->n_params, sizeof *known, compare_name))
            return ebm_error_set(reterr, EBM_DAMAGED, name, "the configuration knows no such tensor");
    }
    return EBM_OK;
}

/* Before memory is taken for the parameters: they are all there, so they are not larger than the file. */
static enum ebm_status check_tensors(const struct ebm_safetensors *file, const struct ebm_config *config,
                                     struct ebm_error *reterr)
{
    for (size_t i = 0; i < config->n_params; i++) {
        const struct ebm_param *param = &config->params[i];
        enum ebm_status status = check_tensor(param, ebm_safetensors_find(file, param->name), reterr);
        if (status != EBM_OK)
            return status;
    }
    return refuse_extra(file, config, reterr);
}

static enum ebm_status read_params(const struct ebm_safetensors *file, struct ebm_model *model,
                                   struct ebm_error *reterr)
{
    const struct ebm_config *config = model->config;
    for (size_t i = 0; i < config->n_params; i++) {
        const struct ebm_param *param = &config->params[i];
        const struct ebm_tensor *tensor = ebm_safetensors_find(file, param->name);
        enum ebm_status status = ebm_tensor_to_f32(tensor, model->params + param->offset, reterr);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

enum ebm_status ebm_model_load(const char *path, uint64_t max_bytes, struct ebm_model **ret_model,
                               struct ebm_error *reterr)
{
    EBM_AUTO(ebm_safetensors_freep) struct ebm_safetensors *file = NULL;
    EBM_AUTO(ebm_config_freep) struct ebm_config *config = NULL;
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *model = NULL;
    enum ebm_status status = ebm_safetensors_open(path, max_bytes, &file, reterr);
    if (status == EBM_OK)
        status = read_config(file, &config, reterr);
    if (status == EBM_OK)
        status = check_tensors(file, config, reterr);
    if (status == EBM_OK)
        status = new_empty(config, &model, reterr);
    if (status != EBM_OK)
        return status;
    config = NULL; /* the model's */
    status = read_params(file, model, reterr);
    if (status == EBM_OK)
        status = ebm_model_read_parity(model, file, reterr);
    if (status != EBM_OK)
        return status;
    *ret_model = EBM_TAKE_PTR(model);
    return EBM_OK;
}

/* ---- saving ---- */

enum ebm_status ebm_model_save(const struct ebm_model *model, const char *path, struct ebm_error *reterr)
{
    const struct ebm_config *config = model->config;
    EBM_AUTO(ebm_freep) char *text = NULL;
    EBM_AUTO(ebm_freep) struct ebm_tensor *tensors = calloc(config->n_params + EBM_PARITY_TENSORS, sizeof *tensors);
    if (!tensors)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    enum ebm_status status = ebm_config_text(config, &text, reterr);
    if (status != EBM_OK)
        return status;
    for (size_t i = 0; i < config->n_params; i++) {
        const struct ebm_param *param = &config->params[i];
        tensors[i] = (struct ebm_tensor){.name = param->name,
                                         .dtype = EBM_DTYPE_F32,
                                         .count = ebm_param_count(param),
                                         .data = model->params + param->offset};
        tensors[i].n_dims = ebm_param_shape(param, tensors[i].shape);
    }
    size_t n_parity = model->parity ? ebm_parity_tensors(model->parity, tensors + config->n_params) : 0;
    const struct ebm_metadata metadata[] = {{"format", "ebm-model"}, {"format_version", "1"}, {"config", text}};
    return ebm_safetensors_write(path, metadata, EBM_COUNT_OF(metadata), tensors, config->n_params + n_parity, reterr);
}
