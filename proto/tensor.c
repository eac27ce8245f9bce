/* tensor.c - elements <-> doubles, one function for each datatype, made by the table of types.
 *
 * Guarantees: no size is computed without a look at overflow; what is read is finite and exact. */
#include "proto/tensor.h"

#include <math.h>
#include <string.h>

#include "proto/json_write.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are copied as they lie in memory");

#define EXACT_WHOLE 0x1p53 /* up to here a double holds every whole number */

#define X(name, type) {#name, sizeof(type)},
static const struct {
    const char *word;
    size_t bytes;
} types[TENSOR_TYPES] = {TENSOR_TYPE_MAP(X)};
#undef X

const char *tensor_type_word(enum tensor_type type)
{
    return types[type].word;
}

size_t tensor_type_bytes(enum tensor_type type)
{
    return types[type].bytes;
}

bool tensor_type_find(const char *word, enum tensor_type *ret_type)
{
    for (uint32_t i = 0; i < TENSOR_TYPES; i++)
        if (strcmp(types[i].word, word) == 0) {
            *ret_type = i;
            return true;
        }
    return false;
}

bool tensor_bytes(const struct tensor_shape *shape, size_t element_bytes, size_t *ret_bytes)
{
    size_t bytes = element_bytes;
    for (uint32_t i = 0; i < shape->n_dims; i++)
        if (__builtin_mul_overflow(bytes, shape->dims[i], &bytes))
            return false;
    *ret_bytes = bytes;
    return true;
}

/* ---- reading ---- */

#define X(name, type)                                                                                                  \
    static size_t read_##name(const char *bytes, size_t n, double *ret_numbers)                                        \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            type element;                                                                                              \
            memcpy(&element, bytes + i * sizeof element, sizeof element);                                              \
            double number = (double)element;                                                                           \
            bool is_wide_whole = TENSOR_##name == TENSOR_INT64 || TENSOR_##name == TENSOR_UINT64;                      \
            if (!isfinite(number) || (is_wide_whole && fabs(number) >= EXACT_WHOLE))                                   \
                return i;                                                                                              \
            ret_numbers[i] = number;                                                                                   \
        }                                                                                                              \
        return n;                                                                                                      \
    }
TENSOR_TYPE_MAP(X)
#undef X

size_t tensor_read(enum tensor_type type, const char *bytes, size_t n, double *ret_numbers)
{
    typedef size_t read_fn(const char *bytes, size_t n, double *ret_numbers);
#define X(name, type) read_##name,
    static read_fn *const readers[TENSOR_TYPES] = {TENSOR_TYPE_MAP(X)};
#undef X
    return readers[type](bytes, n, ret_numbers);
}

bool tensor_convert(enum tensor_type type, double number, double *ret_number)
{
    static const struct {
        double min, max;
    } ranges[TENSOR_FP32] = {
        [TENSOR_BOOL] = {0, 1},
        [TENSOR_UINT8] = {0, UINT8_MAX},
        [TENSOR_UINT16] = {0, UINT16_MAX},
        [TENSOR_UINT32] = {0, UINT32_MAX},
        [TENSOR_UINT64] = {0, EXACT_WHOLE - 1},
        [TENSOR_INT8] = {INT8_MIN, INT8_MAX},
        [TENSOR_INT16] = {INT16_MIN, INT16_MAX},
        [TENSOR_INT32] = {INT32_MIN, INT32_MAX},
        [TENSOR_INT64] = {1 - EXACT_WHOLE, EXACT_WHOLE - 1},
    };
    if (type == TENSOR_FP32)
        number = (double)(float)number;
    else if (type < TENSOR_FP32 &&
             (number < ranges[type].min || number > ranges[type].max || number != nearbyint(number)))
        return false;
    *ret_number = number;
    return isfinite(number);
}

/* ---- writing ---- */

void tensor_append(struct ebm_buf *buf, enum tensor_type type, const double *values, size_t n)
{
    if (type == TENSOR_FP64) {
        (void)ebm_buf_append(buf, values, n * sizeof *values);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        float as_float = (float)values[i];
        uint8_t as_flag = values[i] != 0.0;
        if (type == TENSOR_FP32)
            (void)ebm_buf_append(buf, &as_float, sizeof as_float);
        else
            (void)ebm_buf_append(buf, &as_flag, sizeof as_flag);
    }
}

void tensor_append_json(struct ebm_buf *buf, enum tensor_type type, const double *values, size_t n, int digits)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            (void)ebm_buf_append(buf, ",", 1);
        if (type == TENSOR_BOOL)
            (void)ebm_buf_text(buf, values[i] != 0.0 ? "true" : "false");
        else
            json_write_number(buf, type == TENSOR_FP32 ? (double)(float)values[i] : values[i], digits);
    }
}
