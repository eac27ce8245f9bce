/* fuzz_safetensors.c - whole safetensors files, byte by byte as they lie on a disk. */
#include <string.h>

#include "core/safetensors.h"
#include "tests/fuzz/fuzz.h"

#define FILE_BYTES (1u << 20)

static void check_tensor(const struct ebm_safetensors *file, const struct ebm_tensor *tensor)
{
    float values[64];
    struct ebm_error error = {.status = EBM_OK};
    EBM_ASSERT(ebm_safetensors_find(file, tensor->name) == tensor);
    EBM_ASSERT((uintptr_t)tensor->data % EBM_ALIGNMENT == 0);
    if (tensor->count > EBM_COUNT_OF(values) || !ebm_dtype_is_real(tensor->dtype))
        return;
    fuzz_check_error(ebm_tensor_to_f32(tensor, values, &error), &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ebm_safetensors *file = NULL;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = ebm_safetensors_open(fuzz_file(bytes, size), FILE_BYTES, &file, &error);
    fuzz_check_error(status, &error);
    for (size_t i = 0; status == EBM_OK && i < ebm_safetensors_count(file); i++)
        check_tensor(file, ebm_safetensors_at(file, i));
    if (status == EBM_OK)
        (void)ebm_safetensors_metadata(file, "format");
    (void)ebm_safetensors_free(file);
    return 0;
}
