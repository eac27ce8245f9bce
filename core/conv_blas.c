/* conv_blas.c - convolutions as matrix products over copied windows (im2col), by OpenBLAS.
 *
 *   windows (P, K)      P = n to.height to.width places, K = (ky, kx, from.channels) numbers that a place reads
 *   forward             out (P, O)  = windows (P, K) weights (K, O)
 *   gradient of input   windows'    = dout (P, O) weights (O, K), then added back to where they were copied from
 *   gradient of weights dw (O, K)   = dout (P, O)^T windows (P, K)
 *
 * A convolution of 1 x 1 without stride and padding reads its input as it is. */
#include <stdlib.h>
#include <string.h>

#include "core/blas.h"
#include "core/conv.h"

struct ebm_conv {
    struct ebm_conv_spec spec;
    uint32_t P, K, O;
    bool is_plain; /* the input is the windows */
};

static enum ebm_status make(const struct ebm_conv_spec *spec, struct ebm_conv **ret_conv)
{
    struct ebm_conv *conv = calloc(1, sizeof *conv);
    if (conv == NULL)
        return EBM_NO_MEMORY;
    conv->spec = *spec;
    conv->P = spec->n * spec->to.height * spec->to.width;
    conv->K = spec->kernel * spec->kernel * spec->from.channels;
    conv->O = spec->to.channels;
    conv->is_plain = spec->kernel == 1 && spec->stride == 1 && spec->padding == 0;
    ebm_blas_init();
    *ret_conv = conv;
    return EBM_OK;
}

static struct ebm_conv *release(struct ebm_conv *conv)
{
    free(conv);
    return NULL;
}

static size_t packed_count(const struct ebm_conv *conv)
{
    return ebm_conv_weights(&conv->spec);
}

static size_t scratch_count(const struct ebm_conv *conv)
{
    return conv->is_plain ? 0 : (size_t)conv->P * conv->K;
}

/* Weight (o, i, ky, kx) lies at (k, o) for the forward pass, else at (o, k), k = (ky, kx, i); in a file at (o, i, ky,
 * kx).
 */
struct place {
    size_t packed, plain;
};

static struct place place_of(const struct ebm_conv *conv, size_t o, size_t k)
{
    size_t kernel = (size_t)conv->spec.kernel * conv->spec.kernel, channels = conv->spec.from.channels;
    size_t i = k % channels, tap = k / channels;
    return (struct place){conv->spec.pass == EBM_CONV_FORWARD ? k * conv->O + o : o * conv->K + k,
                          (o * channels + i) * kernel + tap};
}

static enum ebm_status pack(const struct ebm_conv *conv, float *packed, const float *weight)
{
    for (size_t o = 0; o < conv->O; o++)
        for (size_t k = 0; k < conv->K; k++) {
            struct place at = place_of(conv, o, k);
            packed[at.packed] = weight[at.plain];
        }
    return EBM_OK;
}

static enum ebm_status unpack(const struct ebm_conv *conv, float *weight, const float *packed)
{
    for (size_t o = 0; o < conv->O; o++)
        for (size_t k = 0; k < conv->K; k++) {
            struct place at = place_of(conv, o, k);
            weight[at.plain] = packed[at.packed];
        }
    return EBM_OK;
}

/* The part of an input row that weights (ky, 0 ..) of the place (y, x) read: false where it lies outside. */
static bool input_place(const struct ebm_conv_spec *s, uint32_t y, uint32_t x, uint32_t ky, uint32_t kx,
                        size_t *ret_place)
{
    uint32_t row = y * s->stride + ky - s->padding, column = x * s->stride + kx - s->padding; /* wraps when negative */
    if (row >= s->from.height || column >= s->from.width)
        return false;
    *ret_place = ((size_t)row * s->from.width + column) * s->from.channels;
    return true;
}

static void copy_windows(const struct ebm_conv_spec *s, uint32_t n, float *windows, const float *in)
{
    size_t C = s->from.channels;
    for (uint32_t i = 0; i < n; i++, in += ebm_shape_count(&s->from))
        for (uint32_t y = 0; y < s->to.height; y++)
            for (uint32_t x = 0; x < s->to.width; x++)
                for (uint32_t ky = 0; ky < s->kernel; ky++)
                    for (uint32_t kx = 0; kx < s->kernel; kx++, windows += C) {
                        size_t place;
                        if (input_place(s, y, x, ky, kx, &place))
                            memcpy(windows, in + place, C * sizeof *windows);
                        else
                            memset(windows, 0, C * sizeof *windows);
                    }
}

static void add_windows(const struct ebm_conv_spec *s, float *din, const float *windows)
{
    size_t C = s->from.channels, from = ebm_shape_count(&s->from);
    memset(din, 0, s->n * from * sizeof *din);
    for (uint32_t n = 0; n < s->n; n++, din += from)
        for (uint32_t y = 0; y < s->to.height; y++)
            for (uint32_t x = 0; x < s->to.width; x++)
                for (uint32_t ky = 0; ky < s->kernel; ky++)
                    for (uint32_t kx = 0; kx < s->kernel; kx++, windows += C) {
                        size_t place;
                        if (!input_place(s, y, x, ky, kx, &place))
                            continue;
                        for (size_t c = 0; c < C; c++)
                            din[place + c] += windows[c];
                    }
}

static const float *windows_of(const struct ebm_conv *conv, uint32_t n, const float *in, float *scratch)
{
    if (conv->is_plain)
        return in;
    copy_windows(&conv->spec, n, scratch, in);
    return scratch;
}

static enum ebm_status forward(const struct ebm_conv *conv, uint32_t n, float *out, const float *in,
                               const float *packed, const float *bias, float *scratch)
{
    size_t O = conv->O;
    const float *windows = windows_of(conv, n, in, scratch);
    const uint32_t P = conv->P / conv->spec.n * n;
    ebm_blas_nn(out, O, windows, conv->K, packed, O, P, conv->O, conv->K, conv->spec.adds ? 1.0f : 0.0f);
    for (size_t p = 0; p < P; p++, out += O)
        for (size_t o = 0; o < O; o++) {
            float value = out[o] + bias[o];
            out[o] = conv->spec.has_relu && value < 0.0f ? 0.0f : value;
        }
    return EBM_OK;
}

static enum ebm_status input(const struct ebm_conv *conv, float *din, const float *dout, const float *packed,
                             float *scratch)
{
    float *windows = conv->is_plain ? din : scratch;
    ebm_blas_nn(windows, conv->K, dout, conv->O, packed, conv->K, conv->P, conv->K, conv->O, 0.0f);
    if (!conv->is_plain)
        add_windows(&conv->spec, din, windows);
    return EBM_OK;
}

static enum ebm_status weight(const struct ebm_conv *conv, float *packed, const float *in, const float *dout,
                              float *scratch)
{
    ebm_blas_tn(packed, conv->K, dout, conv->O, windows_of(conv, conv->spec.n, in, scratch), conv->K, conv->O, conv->K,
                conv->P);
    return EBM_OK;
}

const struct ebm_conv_backend *ebm_conv_blas(void)
{
    static const struct ebm_conv_backend backend = {.name = "OpenBLAS",
                                                    .make = make,
                                                    .free = release,
                                                    .packed_count = packed_count,
                                                    .scratch_count = scratch_count,
                                                    .pack = pack,
                                                    .unpack = unpack,
                                                    .forward = forward,
                                                    .input = input,
                                                    .weight = weight};
    return &backend;
}
