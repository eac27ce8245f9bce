/* fuzz_model.c - model files: the header as text, a 0 byte, the tensors' data. */
#include <math.h>

#include "models/model.h"
#include "tests/fuzz/fuzz.h"

#define FILE_BYTES (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ebm_model *model = NULL;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = ebm_model_load(fuzz_safetensors_file(bytes, size), FILE_BYTES, &model, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return 0;
    size_t n_params = ebm_net_all_params(ebm_model_net(model));
    EBM_ASSERT(n_params * sizeof(float) <= FILE_BYTES * EBM_ALIGNMENT);
    for (size_t i = 0; i < n_params; i++)
        EBM_ASSERT(isfinite(ebm_model_params(model)[i]));
    (void)ebm_model_unref(model);
    return 0;
}
