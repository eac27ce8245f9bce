/* fuzz_checkpoint.c - checkpoints: the header as text, a 0 byte, the tensors' data. */
#include "tests/fuzz/fuzz.h"
#include "trainer/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct checkpoint checkpoint;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = checkpoint_read(fuzz_safetensors_file(bytes, size), &checkpoint, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return 0;
    EBM_ASSERT(checkpoint.run != NULL && checkpoint.n_params * 4 * sizeof(float) <= size);
    checkpoint_done(&checkpoint);
    return 0;
}
