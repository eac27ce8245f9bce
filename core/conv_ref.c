/* conv_ref.c - convolutions by plain loops, sums in double: what the fast ones are compared with.
 *
 * Packed weights are the weights. */
#include <stdlib.h>
#include <string.h>

#include "core/conv.h"

struct ebm_conv {
    struct ebm_conv_spec spec;
};

static enum ebm_status make(const struct ebm_conv_spec *spec, struct ebm_conv **ret_conv)
{
    struct ebm_conv *conv = calloc(1, sizeof *conv);
    if (conv == NULL)
        return EBM_NO_MEMORY;
    conv->spec = *spec;
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
    (void)conv;
    return 0;
}

static enum ebm_status copy(const struct ebm_conv *conv, float *to, const float *from)
{
    memcpy(to, from, packed_count(conv) * sizeof *to);
    return EBM_OK;
}

/* Where in the input the weight (ky, kx) of the output's place (y, x) reads; false: outside. */
static bool window(const struct ebm_conv_spec *s, uint32_t y, uint32_t x, uint32_t ky, uint32_t kx, size_t *ret_place)
{
    int64_t row = (int64_t)y * s->stride + ky - s->padding, column = (int64_t)x * s->stride + kx - s->padding;
    if (row < 0 || row >= (int64_t)s->from.height || column < 0 || column >= (int64_t)s->from.width)
        return false;
    *ret_place = ((size_t)row * s->from.width + (size_t)column) * s->from.channels;
    return true;
}

static size_t weight_at(const struct ebm_conv_spec *s, uint32_t o, uint32_t i, uint32_t ky, uint32_t kx)
{
    return (((size_t)o * s->from.channels + i) * s->kernel + ky) * s->kernel + kx;
}

static double correlate(const struct ebm_conv_spec *s, const float *in, const float *w, uint32_t y, uint32_t x,
                        uint32_t o)
{
    double sum = 0.0;
    for (uint32_t ky = 0; ky < s->kernel; ky++)
        for (uint32_t kx = 0; kx < s->kernel; kx++) {
            size_t place;
            if (!window(s, y, x, ky, kx, &place))
                continue;
            for (uint32_t i = 0; i < s->from.channels; i++)
                sum += (double)in[place + i] * (double)w[weight_at(s, o, i, ky, kx)];
        }
    return sum;
}

static enum ebm_status forward(const struct ebm_conv *conv, uint32_t n, float *out, const float *in,
                               const float *packed, const float *bias, float *scratch)
{
    const struct ebm_conv_spec *s = &conv->spec;
    (void)scratch;
    for (uint32_t i = 0; i < n; i++, in += ebm_shape_count(&s->from))
        for (uint32_t y = 0; y < s->to.height; y++)
            for (uint32_t x = 0; x < s->to.width; x++)
                for (uint32_t o = 0; o < s->to.channels; o++, out++) {
                    double value = correlate(s, in, packed, y, x, o) + (double)bias[o] + (s->adds ? (double)*out : 0.0);
                    *out = s->has_relu && value < 0.0 ? 0.0f : (float)value;
                }
    return EBM_OK;
}

/* Every product of an output's gradient and a weight, or an input, goes where it belongs. */
static void spread(const struct ebm_conv_spec *s, double *din, double *dw, const float *dout, const float *in,
                   const float *w)
{
    for (uint32_t y = 0; y < s->to.height; y++)
        for (uint32_t x = 0; x < s->to.width; x++, dout += s->to.channels)
            for (uint32_t ky = 0; ky < s->kernel; ky++)
                for (uint32_t kx = 0; kx < s->kernel; kx++) {
                    size_t place;
                    if (!window(s, y, x, ky, kx, &place))
                        continue;
                    for (uint32_t o = 0; o < s->to.channels; o++)
                        for (uint32_t i = 0; i < s->from.channels; i++) {
                            size_t at = weight_at(s, o, i, ky, kx);
                            if (din != NULL)
                                din[place + i] += (double)dout[o] * (double)w[at];
                            else
                                dw[at] += (double)dout[o] * (double)in[place + i];
                        }
                }
}

static void round_to(float *to, const double *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)from[i];
}

static enum ebm_status input(const struct ebm_conv *conv, float *din, const float *dout, const float *packed,
                             float *scratch)
{
    const struct ebm_conv_spec *s = &conv->spec;
    size_t from = ebm_shape_count(&s->from), to = ebm_shape_count(&s->to);
    EBM_AUTO(ebm_freep) double *sums = calloc(from, sizeof *sums);
    (void)scratch;
    if (sums == NULL)
        return EBM_NO_MEMORY;
    for (uint32_t n = 0; n < s->n; n++) {
        memset(sums, 0, from * sizeof *sums);
        spread(s, sums, NULL, dout + n * to, NULL, packed);
        round_to(din + n * from, sums, from);
    }
    return EBM_OK;
}

static enum ebm_status weight(const struct ebm_conv *conv, float *packed, const float *in, const float *dout,
                              float *scratch)
{
    const struct ebm_conv_spec *s = &conv->spec;
    size_t count = packed_count(conv);
    EBM_AUTO(ebm_freep) double *sums = calloc(count, sizeof *sums);
    (void)scratch;
    if (sums == NULL)
        return EBM_NO_MEMORY;
    for (uint32_t n = 0; n < s->n; n++)
        spread(s, NULL, sums, dout + n * ebm_shape_count(&s->to), in + n * ebm_shape_count(&s->from), NULL);
    round_to(packed, sums, count);
    return EBM_OK;
}

const struct ebm_conv_backend *ebm_conv_ref(void)
{
    static const struct ebm_conv_backend backend = {.name = "reference",
                                                    .make = make,
                                                    .free = release,
                                                    .packed_count = packed_count,
                                                    .scratch_count = scratch_count,
                                                    .pack = copy,
                                                    .unpack = copy,
                                                    .forward = forward,
                                                    .input = input,
                                                    .weight = weight};
    return &backend;
}
