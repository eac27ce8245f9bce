/* tensor.h - tensors on the wire: datatypes, shapes, numbers as bytes (little-endian, row-major) and as JSON. Pure; any
 * thread. The datatypes are those of the Open Inference Protocol, as far as they are numbers that a double can hold. */
#ifndef EBM_PROTO_TENSOR_H
#define EBM_PROTO_TENSOR_H

#include "core/buf.h"

/* name, C type of an element */
#define TENSOR_TYPE_MAP(X)                                                                                             \
    X(BOOL, uint8_t)                                                                                                   \
    X(UINT8, uint8_t)                                                                                                  \
    X(UINT16, uint16_t)                                                                                                \
    X(UINT32, uint32_t)                                                                                                \
    X(UINT64, uint64_t)                                                                                                \
    X(INT8, int8_t)                                                                                                    \
    X(INT16, int16_t)                                                                                                  \
    X(INT32, int32_t)                                                                                                  \
    X(INT64, int64_t)                                                                                                  \
    X(FP32, float)                                                                                                     \
    X(FP64, double)

enum tensor_type {
#define X(name, type) TENSOR_##name,
    TENSOR_TYPE_MAP(X)
#undef X
        TENSOR_TYPES
};

#define TENSOR_DIMS 4u

struct tensor_shape {
    uint32_t n_dims;
    uint64_t dims[TENSOR_DIMS];
};

const char *tensor_type_word(enum tensor_type type); /* "FP32"; static */
size_t tensor_type_bytes(enum tensor_type type);     /* of one element */
/* False: no such word. */
bool tensor_type_find(const char *word, enum tensor_type *ret_type) EBM_MUST_USE;

/* The product of the dims times element_bytes. False: more than a size_t holds. */
bool tensor_bytes(const struct tensor_shape *shape, size_t element_bytes, size_t *ret_bytes) EBM_MUST_USE;

/* n numbers out of n elements. Returns n, or the index of the first that is not finite, or that a double does not hold
 * exactly; numbers after it are not set. Bytes need no alignment. */
size_t tensor_read(enum tensor_type type, const char *bytes, size_t n, double *ret_numbers) EBM_MUST_USE;
/* A number of JSON as an element of this type has it: rounded to a float; whole and within the type's range. False:
 * it is neither. */
bool tensor_convert(enum tensor_type type, double number, double *ret_number) EBM_MUST_USE;

/* FP32, FP64 and BOOL alone. Binary elements are bits of IEEE, NaN and infinities too; in JSON these are null, and
 * others have `digits` significant digits. A failure stays in buf->status. */
void tensor_append(struct ebm_buf *buf, enum tensor_type type, const double *values, size_t n);
void tensor_append_json(struct ebm_buf *buf, enum tensor_type type, const double *values, size_t n, int digits);

#endif
