/* export.c - a model file as tensors for another program: what import.c reads, written back.
 *
 *   model.safetensors -> each tensor under its name in the layout -> OUT.safetensors, F32
 *
 * The configuration goes along in the metadata, so that `import` needs no other file. Parity values stay behind:
 * torch's load_state_dict refuses tensors that it does not know. */
#include <stdio.h>
#include <stdlib.h>

#include "core/safetensors.h"
#include "models/model.h"
#include "trainer/files.h"
#include "trainer/import.h"
#include "trainer/layout.h"
#include "trainer/model_file.h"

/* Owns its names: named_done. */
struct named {
    struct ebm_tensor *tensors; /* (n) */
    char (*names)[LIMIT_TENSOR_NAME_BYTES];
    size_t n;
};

static void named_done(struct named *named)
{
    free(named->tensors);
    free(named->names);
}

static enum ebm_status name_tensors(const struct ebm_model *model, enum layout layout, struct named *named,
                                    struct ebm_error *reterr)
{
    const struct ebm_config *config = ebm_model_config(model);
    const struct ebm_param *params;
    size_t n_params = ebm_config_params(config, &params);
    named->tensors = calloc(n_params + 1, sizeof *named->tensors);
    named->names = calloc(n_params + 1, sizeof *named->names);
    if (named->tensors == NULL || named->names == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "export", "no memory for %zu names", n_params);
    for (size_t i = 0; i < n_params; i++) {
        if (!layout_name(layout, config, &params[i], named->names[named->n]))
            continue;
        struct ebm_tensor *tensor = &named->tensors[named->n];
        *tensor = (struct ebm_tensor){.name = named->names[named->n],
                                      .dtype = EBM_DTYPE_F32,
                                      .count = ebm_param_count(&params[i]),
                                      .data = ebm_model_params(model) + params[i].offset};
        tensor->n_dims = ebm_param_shape(&params[i], tensor->shape);
        named->n++;
    }
    return EBM_OK;
}

static enum ebm_status write_tensors(const struct ebm_model *model, enum layout layout, const char *output,
                                     struct ebm_error *reterr)
{
    EBM_AUTO(named_done) struct named named = {.n = 0};
    EBM_AUTO(ebm_freep) char *text = NULL;
    enum ebm_status status = ebm_config_text(ebm_model_config(model), &text, reterr);
    if (status == EBM_OK)
        status = name_tensors(model, layout, &named, reterr);
    if (status != EBM_OK)
        return status;
    const struct ebm_metadata metadata[] = {{"format", "pt"}, {"config", text}};
    status = ebm_safetensors_write(output, metadata, EBM_COUNT_OF(metadata), named.tensors, named.n, reterr);
    if (status == EBM_OK)
        (void)printf("%zu of %zu tensors, layout %s, written to %s\n", named.n, ebm_model_config(model)->n_params,
                     layout_word(layout), output);
    return status;
}

enum ebm_status export_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *model = NULL;
    const char *path = NULL, *output = NULL;
    enum layout layout;
    enum ebm_status status = args_require(args, "model", &path, reterr);
    if (status == EBM_OK)
        status = layout_of_word(args_get(args, "layout"), &layout, reterr);
    if (status == EBM_OK)
        status = args_require(args, "output", &output, reterr);
    if (status == EBM_OK && files_exists(output))
        return ebm_error_set(reterr, EBM_INVALID, output, "is there already: choose another --output");
    if (status == EBM_OK)
        status = model_file_load(path, &model, reterr);
    if (status == EBM_OK)
        status = layout_check(layout, ebm_model_config(model), reterr);
    return status == EBM_OK ? write_tensors(model, layout, output, reterr) : status;
}
