/* safetensors_f32.c - F64, F16 and BF16 become F32, the one type that networks compute in.
 *
 *   F16    1 sign, 5 exponent, 10 fraction: every value is an F32       BF16   the upper half of an F32
 *   F64    rounded to the nearest F32, ties to even; small ones become 0
 *
 * Guarantees: NaN, infinity, and an F64 beyond the range of F32 are refused with the tensor's name and the number's
 * place; then nothing was written. */
#include <math.h>
#include <string.h>

#include "core/safetensors.h"

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 0x1fu, fraction = half & 0x3ffu;
    if (exponent == 0) /* 0, or a number below the normal ones: fraction times 2^-24 */
        return sign != 0 ? -(float)fraction * 0x1p-24f : (float)fraction * 0x1p-24f;
    if (exponent == 0x1fu)
        return from_bits(sign | 0x7f800000u | fraction << 13);
    return from_bits(sign | (exponent + 112u) << 23 | fraction << 13);
}

static float number_at(const struct ebm_tensor *tensor, size_t i)
{
    if (tensor->dtype == EBM_DTYPE_F64)
        return (float)((const double *)tensor->data)[i];
    if (tensor->dtype == EBM_DTYPE_F16)
        return from_f16(((const uint16_t *)tensor->data)[i]);
    if (tensor->dtype == EBM_DTYPE_BF16)
        return from_bits((uint32_t)((const uint16_t *)tensor->data)[i] << 16);
    return ((const float *)tensor->data)[i];
}

static enum ebm_status refuse(const struct ebm_tensor *tensor, size_t i, struct ebm_error *reterr)
{
    double value = tensor->dtype == EBM_DTYPE_F64 ? ((const double *)tensor->data)[i] : (double)number_at(tensor, i);
    if (isfinite(value))
        return ebm_error_set(reterr, EBM_DAMAGED, tensor->name,
                             "number %zu is %g, beyond the range of F32 (3.4e38), in which networks compute", i, value);
    return ebm_error_set(reterr, EBM_DAMAGED, tensor->name, "number %zu is %g, expected finite numbers", i, value);
}

bool ebm_dtype_is_real(enum ebm_dtype dtype)
{
    return dtype == EBM_DTYPE_F32 || dtype == EBM_DTYPE_F64 || dtype == EBM_DTYPE_F16 || dtype == EBM_DTYPE_BF16;
}

enum ebm_status ebm_tensor_to_f32(const struct ebm_tensor *tensor, float *ret_values, struct ebm_error *reterr)
{
    EBM_ASSERT(ebm_dtype_is_real(tensor->dtype));
    for (size_t i = 0; i < tensor->count; i++)
        if (!isfinite(number_at(tensor, i)))
            return refuse(tensor, i, reterr);
    if (tensor->dtype == EBM_DTYPE_F32) {
        memcpy(ret_values, tensor->data, tensor->count * sizeof *ret_values);
        return EBM_OK;
    }
    for (size_t i = 0; i < tensor->count; i++)
        ret_values[i] = number_at(tensor, i);
    return EBM_OK;
}
