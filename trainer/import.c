/* import.c - tensors of another program become a model file.
 *
 *   --config FILE, or `config` in the metadata of --from -> the networks, complete and checked
 *   initial parameters by --seed -> those that the layout has names for are replaced (match.c) -> model
 *   parity values: those of the file, checked; or of rows of --parity, computed -> model.safetensors
 *
 * Guarantees: nothing is written unless everything fits; a file that is there is not replaced; the file is only data,
 * nothing in it is executed. */
#include "trainer/import.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"
#include "models/target.h"
#include "trainer/columns.h"
#include "trainer/files.h"
#include "trainer/initial.h"
#include "trainer/match.h"
#include "trainer/model_file.h"
#include "trainer/next.h"

#define PARITY_ROWS 8u         /* that are computed: the reference device, which checks them at load, is slow */
#define LIST_BYTES (32u << 20) /* of what does not fit */

struct import {
    const char *from, *output;
    enum layout layout;
    uint64_t seed;
    struct ebm_safetensors *file;
    struct ebm_config *config; /* NULL: the model has it */
    struct ebm_model *model;
    struct match_counts counts;
    uint32_t n_parity; /* rows of --parity */
};

static void import_done(struct import *import)
{
    (void)ebm_safetensors_free(import->file);
    (void)ebm_config_free(import->config);
    (void)ebm_model_unref(import->model);
}

/* ---- what is asked ---- */

static enum ebm_status read_args(struct import *import, const struct args *args, struct ebm_error *reterr)
{
    enum ebm_status status = args_require(args, "from", &import->from, reterr);
    if (status == EBM_OK)
        status = layout_of_word(args_get(args, "layout"), &import->layout, reterr);
    if (status == EBM_OK)
        status = args_require(args, "output", &import->output, reterr);
    if (status == EBM_OK)
        status = args_number(args, "seed", 0, (1ull << 53) - 1, &import->seed, reterr);
    if (status == EBM_OK && files_exists(import->output))
        status = ebm_error_set(reterr, EBM_INVALID, import->output, "is there already: choose another --output");
    if (status == EBM_OK && args_get(args, "images") != NULL && args_get(args, "parity") == NULL)
        status = ebm_error_set(reterr, EBM_INVALID, "--images", "says of what kind the data of --parity are");
    return status;
}

static enum ebm_status open_file(struct import *import, struct ebm_error *reterr)
{
    enum ebm_status status = ebm_safetensors_open(import->from, LIMIT_FILE_BYTES, &import->file, reterr);
    if (status == EBM_OK)
        return status;
    model_file_name(import->from, reterr);
    size_t length = strlen(reterr->text);
    if (status == EBM_DAMAGED || status == EBM_TOO_LARGE) /* a .pth, most likely */
        (void)snprintf(reterr->text + length, sizeof reterr->text - length,
                       "; of a .pth make a safetensors file first: docs/import.md");
    return status;
}

/* What may be left out follows from the rest; the name is the file's. */
static enum ebm_status read_config(struct import *import, const char *path, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *text = NULL;
    EBM_AUTO(ebm_freep) char *name = strndup(files_base(import->from), LIMIT_NAME_BYTES);
    const struct ebm_config_defaults defaults = {.name = name};
    if (name == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "import", "no memory");
    char *dot = strrchr(name, '.');
    if (dot != NULL && dot != name)
        *dot = '\0';
    const char *inside = ebm_safetensors_metadata(import->file, "config");
    if (path == NULL && inside == NULL)
        return ebm_error_set(reterr, EBM_INVALID, "--config",
                             "is missing: a JSON file with the networks, as under 'model' of a training configuration");
    if (path != NULL) {
        enum ebm_status status = files_read_text(path, LIMIT_CONFIG_BYTES, &text, reterr);
        if (status != EBM_OK)
            return status;
    }
    const char *json = path != NULL ? text : inside;
    enum ebm_status status = ebm_config_parse(json, strlen(json), &defaults, &import->config, reterr);
    if (status != EBM_OK)
        model_file_name(path != NULL ? path : import->from, reterr);
    return status;
}

/* ---- the numbers ---- */

/* Of all members of an ensemble. */
static void begin_parameters(const struct import *import, float *ret_params)
{
    const struct ebm_net_desc *net = &import->config->net;
    for (uint32_t i = 0; i < net->members; i++)
        initial_parameters(net, import->seed + i, 1.0, ret_params + i * net->n_params);
}

static enum ebm_status make_model(struct import *import, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf list;
    EBM_AUTO(ebm_freep) float *params = ebm_alloc_aligned(ebm_net_all_params(&import->config->net) * sizeof *params);
    ebm_buf_init(&list, LIST_BYTES);
    if (params == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "import", "no memory for the parameters");
    begin_parameters(import, params);
    enum ebm_status status = match_tensors(import->file, import->layout, import->config, params, &import->counts, &list,
                                           reterr);
    if (status != EBM_OK) {
        if (list.bytes != NULL)
            (void)fputs(list.bytes, stderr);
        model_file_name(import->from, reterr);
        return status;
    }
    status = ebm_model_new(import->config, params, &import->model, reterr);
    if (status == EBM_OK)
        import->config = NULL;
    return status;
}

/* ---- parity values ---- */

static enum ebm_status compute_parity(struct import *import, const struct dataset *data, struct ebm_error *reterr)
{
    const struct ebm_config *config = ebm_model_config(import->model);
    size_t X = config->input.size, D = config->target.dim;
    uint32_t rows = data->n_rows < PARITY_ROWS ? data->n_rows : PARITY_ROWS;
    EBM_AUTO(ebm_freep) float *x = calloc(rows * X + 1, sizeof *x);
    EBM_AUTO(ebm_freep) float *y = calloc(rows * D + 1, sizeof *y);
    if (x == NULL || y == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--parity", "no memory");
    for (uint32_t row = 0; row < rows; row++) {
        dataset_standardize(data, row, config->input.mean, config->input.std, x + row * X);
        ebm_target_standardize(&config->target, data->y + row * D, y + row * D);
    }
    import->n_parity = rows;
    return ebm_model_compute_parity(import->model, x, y, rows, reterr);
}

static enum ebm_status take_parity(struct import *import, const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(dataset_freep) struct dataset *data = NULL;
    const struct columns_files files = {.data = args_get(args, "parity"), .images = args_get(args, "images")};
    enum ebm_status status = ebm_model_read_parity(import->model, import->file, reterr);
    if (status != EBM_OK) {
        model_file_name(import->from, reterr);
        return status;
    }
    if (files.data == NULL)
        return EBM_OK;
    if (ebm_model_parity(import->model) != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "--parity",
                             "%.80s has parity values of its own, which fit: leave it out", import->from);
    status = columns_load(ebm_model_config(import->model), &files, true, false, &data, reterr);
    return status == EBM_OK ? compute_parity(import, data, reterr) : status;
}

/* ---- the whole ---- */

static void tell(const struct import *import)
{
    const struct match_counts *counts = &import->counts;
    (void)printf("%u tensors of %s, layout %s", counts->n_taken, import->from, layout_word(import->layout));
    if (counts->n_ignored > 0)
        (void)printf("; %u left aside (%s)", counts->n_ignored,
                     import->layout == LAYOUT_TORCHVISION ? "counters of batches, the classifier fc"
                                                          : "counters of batches");
    (void)printf("\n");
    if (import->n_parity > 0)
        (void)printf("parity values of %u rows are in the file: whoever loads it computes them again\n",
                     import->n_parity);
    else if (ebm_model_parity(import->model) != NULL)
        (void)printf("its parity values were computed again, and are the same\n");
    if (counts->n_left > 0)
        (void)printf("%u tensors have no name in this layout and are new, by seed %" PRIu64
                     ": train the model before you ask it\n",
                     counts->n_left, import->seed);
    (void)printf("model written to %s\n", import->output);
    if (counts->n_left == 0) {
        const char *name = ebm_model_config(import->model)->name;
        next_after_training(import->output, ebm_name_is_valid(name) ? name : NULL, false);
    }
}

enum ebm_status import_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(import_done) struct import import = {.seed = 0};
    enum ebm_status status = read_args(&import, args, reterr);
    if (status == EBM_OK)
        status = open_file(&import, reterr);
    if (status == EBM_OK)
        status = read_config(&import, args_get(args, "config"), reterr);
    if (status == EBM_OK)
        status = layout_check(import.layout, import.config, reterr);
    if (status == EBM_OK)
        status = make_model(&import, reterr);
    if (status == EBM_OK)
        status = take_parity(&import, args, reterr);
    if (status == EBM_OK)
        status = ebm_model_save(import.model, import.output, reterr);
    if (status == EBM_OK)
        tell(&import);
    return status;
}
