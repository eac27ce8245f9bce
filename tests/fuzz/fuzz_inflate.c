/* fuzz_inflate.c - compressed bodies. The first byte chooses the coding: g or d; at most MAX_BYTES may come out. */
#include "proto/inflate.h"
#include "tests/fuzz/fuzz.h"

#define MAX_BYTES (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ebm_buf body;
    struct ebm_error error = {.status = EBM_OK};
    if (size == 0 || (bytes[0] != 'g' && bytes[0] != 'd'))
        return -1; /* not kept */
    enum ebm_status status = inflate_read(bytes[0] == 'g' ? INFLATE_GZIP : INFLATE_DEFLATE, (const char *)bytes + 1,
                                          size - 1, MAX_BYTES, &body, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return 0;
    EBM_ASSERT(body.size <= MAX_BYTES);
    ebm_buf_done(&body);
    return 0;
}
