/* fuzz_header.c - the header of a safetensors file. The input: how many bytes of data the file has, as a decimal number
 * on a line of its own, then the header. What was read is written again and read back: the same tensors. */
#include <stdlib.h>
#include <string.h>

#include "core/safetensors_header.h"
#include "tests/fuzz/fuzz.h"

#define TENSORS 256u

static void check_entry(const struct ebm_header_entry *entry, uint64_t data_bytes)
{
    const struct ebm_tensor *tensor = &entry->tensor;
    uint64_t count = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        count *= tensor->shape[i];
    EBM_ASSERT(tensor->n_dims <= LIMIT_TENSOR_DIMS && count == tensor->count);
    EBM_ASSERT(entry->begin <= entry->end && entry->end <= data_bytes);
    EBM_ASSERT(entry->end - entry->begin == count * ebm_dtype_bytes(tensor->dtype));
    EBM_ASSERT(tensor->name[0] != 0 && strlen(tensor->name) <= LIMIT_TENSOR_NAME_BYTES);
}

static void check_same(const struct ebm_header *a, const struct ebm_header *b)
{
    EBM_ASSERT(a->n_entries == b->n_entries && a->n_metadata == b->n_metadata);
    for (size_t i = 0; i < a->n_entries; i++) {
        const struct ebm_tensor *left = &a->entries[i].tensor, *right = &b->entries[i].tensor;
        EBM_ASSERT(strcmp(left->name, right->name) == 0 && left->dtype == right->dtype);
        EBM_ASSERT(left->n_dims == right->n_dims && left->count == right->count);
        EBM_ASSERT(memcmp(left->shape, right->shape, left->n_dims * sizeof *left->shape) == 0);
    }
    for (size_t i = 0; i < a->n_metadata; i++) {
        EBM_ASSERT(strcmp(a->metadata[i].key, b->metadata[i].key) == 0);
        EBM_ASSERT(strcmp(a->metadata[i].value, b->metadata[i].value) == 0);
    }
}

static void write_and_read(const struct ebm_header *header)
{
    const struct ebm_tensor *tensors[TENSORS];
    struct ebm_header again = {0};
    struct ebm_error error;
    struct ebm_buf buf;
    uint64_t data_bytes = 0;
    if (header->n_entries > TENSORS || header->n_entries == 0)
        return;
    for (size_t i = 0; i < header->n_entries; i++)
        tensors[i] = &header->entries[i].tensor;
    ebm_buf_init(&buf, LIMIT_HEADER_BYTES);
    EBM_ASSERT(ebm_header_print(&buf, header->metadata, header->n_metadata, tensors, header->n_entries, &data_bytes) ==
               EBM_OK);
    EBM_ASSERT(ebm_header_parse(buf.bytes, buf.size, data_bytes, &again, &error) == EBM_OK);
    check_same(header, &again);
    ebm_header_done(&again);
    ebm_buf_done(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ebm_header header = {0};
    struct ebm_error error = {.status = EBM_OK};
    char *text = fuzz_text(bytes, size), *line_end = strchr(text, '\n');
    if (!line_end) {
        free(text);
        return -1;
    }
    uint64_t data_bytes = strtoull(text, NULL, 10);
    size_t length = size - (size_t)(line_end + 1 - text);
    char *header_text = fuzz_text(bytes + (size - length), length); /* of its own: a read beyond the end is seen */
    enum ebm_status status = ebm_header_parse(header_text, length, data_bytes, &header, &error);
    fuzz_check_error(status, &error);
    for (size_t i = 0; status == EBM_OK && i < header.n_entries; i++)
        check_entry(&header.entries[i], data_bytes);
    if (status == EBM_OK)
        write_and_read(&header);
    ebm_header_done(&header);
    free(header_text);
    free(text);
    return 0;
}
