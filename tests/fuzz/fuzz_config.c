/* fuzz_config.c - a model's configuration as it stands in a model file. What was read is written as text, and that text
 * is read to the same text. */
#include <stdlib.h>
#include <string.h>

#include "models/config.h"
#include "tests/fuzz/fuzz.h"

static void check_params(const struct ebm_config *config)
{
    const struct ebm_param *params;
    size_t n = ebm_config_params(config, &params), end = ebm_net_all_params(&config->net);
    for (size_t i = 0; i < n; i++) {
        size_t count = (size_t)params[i].rows * (params[i].columns ? params[i].columns : 1);
        EBM_ASSERT(params[i].name != NULL && params[i].offset + count <= end);
    }
    EBM_ASSERT(ebm_config_learned(config) <= end);
}

static void write_and_read(const struct ebm_config *config)
{
    struct ebm_config *again = NULL;
    struct ebm_error error = {.status = EBM_OK};
    char *text = NULL, *same = NULL;
    enum ebm_status status = ebm_config_text(config, &text, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return;
    EBM_ASSERT(ebm_config_parse(text, strlen(text), NULL, &again, &error) == EBM_OK);
    EBM_ASSERT(ebm_config_text(again, &same, &error) == EBM_OK && strcmp(text, same) == 0);
    (void)ebm_config_free(again);
    free(same);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ebm_config *config = NULL;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = ebm_config_parse((const char *)bytes, size, NULL, &config, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK) {
        check_params(config);
        write_and_read(config);
    }
    (void)ebm_config_free(config);
    return 0;
}
