/* match.c - two lists of names, sorted and compared, before any number is touched.
 *
 *   the file's tensors, "module." stripped, without what is ignored -> sorted
 *   each tensor of the model -> its name in the layout -> found there, of the same shape: taken
 *                                                      -> not found, or of another shape: a line in the list
 *   what nobody took: a line in the list
 *
 * A person who imports a network sees all that does not fit at once, and not one thing after another. */
#include "trainer/match.h"

#include <stdlib.h>
#include <string.h>

/* A tensor of the file. */
struct entry {
    const char *name; /* stripped */
    const struct ebm_tensor *tensor;
    bool is_taken;
};

struct match {
    enum layout layout;
    const struct ebm_config *config;
    struct entry *entries; /* (n) by name, ascending */
    size_t n;
    struct match_counts counts;
    uint32_t n_missing, n_unexpected, n_misshapen;
    struct ebm_buf *list;
};

static void match_done(struct match *match)
{
    free(match->entries);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int compare_name(const void *name, const void *entry)
{
    return strcmp(name, ((const struct entry *)entry)->name);
}

/* ---- the file's side ---- */

static const char *stripped(const char *name)
{
    static const char module[] = "module.";
    return strncmp(name, module, strlen(module)) == 0 ? name + strlen(module) : name;
}

static enum ebm_status list_entries(struct match *match, const struct ebm_safetensors *file, struct ebm_error *reterr)
{
    size_t n = ebm_safetensors_count(file);
    match->entries = calloc(n + 1, sizeof *match->entries);
    if (match->entries == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "import", "no memory for %zu names", n);
    for (size_t i = 0; i < n; i++) {
        const struct ebm_tensor *tensor = ebm_safetensors_at(file, i);
        const char *name = stripped(tensor->name);
        if (strncmp(tensor->name, "parity.", strlen("parity.")) == 0)
            continue;
        if (layout_ignores(match->layout, name))
            match->counts.n_ignored++;
        else
            match->entries[match->n++] = (struct entry){.name = name, .tensor = tensor};
    }
    qsort(match->entries, match->n, sizeof *match->entries, by_name);
    for (size_t i = 1; i < match->n; i++)
        if (strcmp(match->entries[i - 1].name, match->entries[i].name) == 0)
            return ebm_error_set(reterr, EBM_INVALID, match->entries[i].name,
                                 "stands in the file twice, with and without 'module.' before it");
    return EBM_OK;
}

/* ---- the model's side ---- */

static void put_problem(struct match *match, const char *what, const char *name, const char *found,
                        const char *expected)
{
    (void)ebm_buf_printf(match->list, "  %-10s  ", what);
    (void)ebm_buf_json_text(match->list, name); /* a stranger's text: escaped */
    if (found != NULL)
        (void)ebm_buf_printf(match->list, ", found %s", found);
    if (expected != NULL)
        (void)ebm_buf_printf(match->list, ", expected %s", expected);
}

/* What the tensor is for, where that is another name than its own. */
static void put_param(struct match *match, const struct ebm_param *param)
{
    (void)ebm_buf_printf(match->list, match->layout == LAYOUT_EBM ? "\n" : ", for %s\n", param->name);
}

static void compare_shape(struct match *match, const struct ebm_param *param, struct entry *entry)
{
    const struct ebm_tensor *tensor = entry->tensor;
    char expected[EBM_SHAPE_TEXT_BYTES], found[EBM_SHAPE_TEXT_BYTES];
    uint64_t shape[4];
    uint32_t n_dims = ebm_param_shape(param, shape);
    bool is_same = tensor->n_dims == n_dims && memcmp(tensor->shape, shape, n_dims * sizeof *shape) == 0;
    entry->is_taken = true;
    match->counts.n_taken++;
    if (is_same && ebm_dtype_is_real(tensor->dtype))
        return;
    match->n_misshapen++;
    ebm_shape_text(shape, n_dims, expected);
    ebm_shape_text(tensor->shape, tensor->n_dims, found);
    if (is_same)
        put_problem(match, "wrong type", entry->name, ebm_dtype_name(tensor->dtype), "F32, F64, F16 or BF16");
    else
        put_problem(match, "misshapen", entry->name, found, expected);
    put_param(match, param);
}

static void look_for(struct match *match, const struct ebm_param *param)
{
    char name[LIMIT_TENSOR_NAME_BYTES], expected[EBM_SHAPE_TEXT_BYTES];
    uint64_t shape[4];
    if (!layout_name(match->layout, match->config, param, name)) {
        match->counts.n_left++;
        return;
    }
    struct entry *entry = bsearch(name, match->entries, match->n, sizeof *entry, compare_name);
    if (entry != NULL) {
        compare_shape(match, param, entry);
        return;
    }
    match->n_missing++;
    ebm_shape_text(shape, ebm_param_shape(param, shape), expected);
    put_problem(match, "missing", name, NULL, expected);
    put_param(match, param);
}

static void put_unexpected(struct match *match)
{
    char found[EBM_SHAPE_TEXT_BYTES];
    for (size_t i = 0; i < match->n; i++) {
        const struct entry *entry = &match->entries[i];
        if (entry->is_taken)
            continue;
        match->n_unexpected++;
        ebm_shape_text(entry->tensor->shape, entry->tensor->n_dims, found);
        put_problem(match, "unexpected", entry->name, found, NULL);
        (void)ebm_buf_text(match->list, "\n");
    }
}

static enum ebm_status refuse_problems(const struct match *match, struct ebm_error *reterr)
{
    if (match->list->status != EBM_OK)
        return ebm_error_set(reterr, match->list->status, "import", "the list of what does not fit is too long");
    if (match->n_missing + match->n_unexpected + match->n_misshapen == 0)
        return EBM_OK;
    return ebm_error_set(
        reterr, EBM_INVALID, "tensors", "%u missing, %u unexpected, %u misshapen, %u that fit; nothing was written%s",
        match->n_missing, match->n_unexpected, match->n_misshapen, match->counts.n_taken - match->n_misshapen,
        match->counts.n_taken == 0 ? ". Is it another --layout?" : "");
}

/* ---- the whole ---- */

static enum ebm_status copy_numbers(const struct match *match, float *params, struct ebm_error *reterr)
{
    char name[LIMIT_TENSOR_NAME_BYTES];
    for (size_t i = 0; i < match->config->n_params; i++) {
        const struct ebm_param *param = &match->config->params[i];
        if (!layout_name(match->layout, match->config, param, name))
            continue;
        const struct entry *entry = bsearch(name, match->entries, match->n, sizeof *entry, compare_name);
        enum ebm_status status = ebm_tensor_to_f32(entry->tensor, params + param->offset, reterr);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

enum ebm_status match_tensors(const struct ebm_safetensors *file, enum layout layout, const struct ebm_config *config,
                              float *params, struct match_counts *ret_counts, struct ebm_buf *list,
                              struct ebm_error *reterr)
{
    EBM_AUTO(match_done) struct match match = {.layout = layout, .config = config, .list = list};
    enum ebm_status status = list_entries(&match, file, reterr);
    if (status != EBM_OK)
        return status;
    for (size_t i = 0; i < config->n_params; i++)
        look_for(&match, &config->params[i]);
    put_unexpected(&match);
    status = refuse_problems(&match, reterr);
    if (status == EBM_OK)
        status = copy_numbers(&match, params, reterr);
    if (status == EBM_OK)
        *ret_counts = match.counts;
    return status;
}
