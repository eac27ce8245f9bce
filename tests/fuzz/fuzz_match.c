/* fuzz_match.c - tensors of other programs against the networks that the file's own metadata describe, by the names of
 * each layout: the header as text, a 0 byte, the tensors' data. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/match.h"

#define FILE_BYTES (1u << 20)
#define LIST_BYTES (1u << 22)

/* Every number that has a name in the layout was replaced by a finite one. */
static void check_taken(enum layout layout, const struct ebm_config *config, const float *params)
{
    char name[LIMIT_TENSOR_NAME_BYTES];
    for (size_t i = 0; i < config->n_params; i++) {
        const struct ebm_param *param = &config->params[i];
        for (size_t j = 0; layout_name(layout, config, param, name) && j < ebm_param_count(param); j++)
            EBM_ASSERT(isfinite(params[param->offset + j]));
    }
}

static void try_layout(enum layout layout, const struct ebm_safetensors *file, const struct ebm_config *config)
{
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = layout_check(layout, config, &error);
    size_t P = ebm_net_all_params(&config->net);
    fuzz_check_error(status, &error);
    if (status != EBM_OK || P > FILE_BYTES)
        return;
    EBM_AUTO(ebm_freep) float *params = malloc((P + 1) * sizeof *params);
    EBM_AUTO(ebm_buf_done) struct ebm_buf list;
    struct match_counts counts = {0};
    EBM_ASSERT(params != NULL);
    for (size_t i = 0; i < P; i++)
        params[i] = NAN;
    ebm_buf_init(&list, LIST_BYTES);
    status = match_tensors(file, layout, config, params, &counts, &list, &error);
    fuzz_check_error(status, &error);
    EBM_ASSERT((list.size > 0) == (strcmp(error.where, "tensors") == 0) || list.status != EBM_OK);
    if (status != EBM_OK)
        return;
    EBM_ASSERT(counts.n_taken + counts.n_left == config->n_params);
    check_taken(layout, config, params);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    EBM_AUTO(ebm_safetensors_freep) struct ebm_safetensors *file = NULL;
    EBM_AUTO(ebm_config_freep) struct ebm_config *config = NULL;
    const struct ebm_config_defaults defaults = {.name = "m"};
    if (ebm_safetensors_open(fuzz_safetensors_file(bytes, size), FILE_BYTES, &file, NULL) != EBM_OK)
        return 0;
    const char *text = ebm_safetensors_metadata(file, "config");
    if (text == NULL || ebm_config_parse(text, strlen(text), &defaults, &config, NULL) != EBM_OK)
        return 0;
    try_layout(LAYOUT_EBM, file, config);
    try_layout(LAYOUT_PROPOSALS, file, config);
    try_layout(LAYOUT_TORCHVISION, file, config);
    return 0;
}
