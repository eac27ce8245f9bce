/* safetensors_header.h - the JSON header of a safetensors file, read from and written to memory. Private to core. */
#ifndef EBM_CORE_SAFETENSORS_HEADER_H
#define EBM_CORE_SAFETENSORS_HEADER_H

#include "core/buf.h"
#include "core/safetensors.h"

struct ebm_header_entry {
    struct ebm_tensor tensor; /* data is NULL: the header knows only where it lies */
    uint64_t begin, end;      /* in bytes from the start of the data section */
};

/* Names, keys and values point into the text that was parsed. */
struct ebm_header {
    struct ebm_header_entry *entries; /* by name, ascending */
    struct ebm_metadata *metadata;    /* by key, ascending */
    size_t n_entries, n_metadata;
    size_t entry_capacity, metadata_capacity;
};

/* Parses text (length bytes, then a 0), decoding its strings in place, and verifies that the tensors cover exactly
 * data_bytes. Borrows text as long as the header lives. DAMAGED, TOO_LARGE or NO_MEMORY. New: ebm_header_done. */
enum ebm_status ebm_header_parse(char *text, size_t length, uint64_t data_bytes, struct ebm_header *ret_header,
                                 struct ebm_error *reterr) EBM_MUST_USE;
void ebm_header_done(struct ebm_header *header); /* a zeroed one is fine */

/* Appends the header of tensors that lie one after the other in this order, padded so that data starts at a multiple of
 * 8 bytes; and tells how many bytes of data follow. */
enum ebm_status ebm_header_print(struct ebm_buf *buf, const struct ebm_metadata *metadata, size_t n_metadata,
                                 const struct ebm_tensor *const *tensors, size_t n_tensors, uint64_t *ret_data_bytes)
    EBM_MUST_USE;

#endif
