/* safetensors.h - reads and writes the open safetensors layout: 8-byte little-endian header length, JSON header,
 * raw row-major little-endian tensors.
 *
 * The reader trusts nothing: it parses the header's JSON subset itself (object of objects of strings and arrays of
 * unsigned integers), checks every length against the bytes that are there, refuses duplicate names, overlaps, gaps and
 * trailing bytes, copies the tensors into aligned memory and closes the file (no mmap: a file changed in place must not
 * reach us). The writer writes a temporary beside the target, fsyncs, renames, fsyncs the folder. */
#ifndef EBM_CORE_SAFETENSORS_H
#define EBM_CORE_SAFETENSORS_H

#include "core/limits.h"
#include "core/status.h"

#define EBM_DTYPE_MAP(X)                                                                                               \
    X(F64, 8)                                                                                                          \
    X(F32, 4)                                                                                                          \
    X(F16, 2) X(BF16, 2) X(I64, 8) X(I32, 4) X(I16, 2) X(I8, 1) X(U64, 8) X(U32, 4) X(U16, 2) X(U8, 1) X(BOOL, 1)

enum ebm_dtype {
#define X(name, bytes) EBM_DTYPE_##name,
    EBM_DTYPE_MAP(X)
#undef X
};

const char *ebm_dtype_name(enum ebm_dtype dtype);
size_t ebm_dtype_bytes(enum ebm_dtype dtype);

struct ebm_tensor {
    const char *name;
    enum ebm_dtype dtype;
    uint32_t n_dims;
    uint64_t shape[LIMIT_TENSOR_DIMS];
    size_t count; /* product of shape, 1 for a scalar */
    const void *data;
};

/* F64, F32, F16 or BF16? */
bool ebm_dtype_is_real(enum ebm_dtype dtype);
/* The numbers of such a tensor as F32 (count). DAMAGED with the tensor's name when one is not finite, or beyond F32. */
enum ebm_status ebm_tensor_to_f32(const struct ebm_tensor *tensor, float *ret_values, struct ebm_error *reterr)
    EBM_MUST_USE;

#define EBM_SHAPE_TEXT_BYTES (LIMIT_TENSOR_DIMS * 22u + 3u) /* of the longest one */
/* A shape as Python has it: "(10, 20)", "(10)", "()". */
void ebm_shape_text(const uint64_t *shape, uint32_t n_dims, char ret_text[EBM_SHAPE_TEXT_BYTES]);

struct ebm_metadata {
    const char *key, *value; /* UTF-8, 0-terminated, no 0 inside */
};

struct ebm_safetensors;

/* Reads and verifies all of `path`; a file or header beyond max_bytes is TOO_LARGE, a malformed one DAMAGED with
 * where = the tensor's or key's name, a missing one NOT_FOUND. New: ebm_safetensors_free. */
enum ebm_status ebm_safetensors_open(const char *path, uint64_t max_bytes, struct ebm_safetensors **ret_file,
                                     struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_safetensors *ebm_safetensors_free(struct ebm_safetensors *file); /* NULL is fine; returns NULL */
void ebm_safetensors_freep(struct ebm_safetensors **file);                  /* for EBM_AUTO */

/* Borrow, valid until free. Tensor data is EBM_ALIGNMENT-aligned. */
size_t ebm_safetensors_count(const struct ebm_safetensors *file);
const struct ebm_tensor *ebm_safetensors_at(const struct ebm_safetensors *file, size_t index); /* by name, ascending */
const struct ebm_tensor *ebm_safetensors_find(const struct ebm_safetensors *file, const char *name);
const char *ebm_safetensors_metadata(const struct ebm_safetensors *file, const char *key); /* NULL: absent */

/* Replaces `path` atomically; a reader sees the old file or the new one. What open would refuse is INVALID and not
 * written. `data` of each tensor is count numbers of dtype. */
enum ebm_status ebm_safetensors_write(const char *path, const struct ebm_metadata *metadata, size_t n_metadata,
                                      const struct ebm_tensor *tensors, size_t n_tensors, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
