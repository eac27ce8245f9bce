/* conv.h - one convolution and its gradients, by whoever does them best here. Private to core.
 *
 * Activations lie (n, height, width, channels), channels inner, n images of one call; weights as the backend wants
 * them: `pack` makes that of (to.channels, from.channels, kernel, kernel), `unpack` undoes it. A struct ebm_conv never
 * changes after it was made: any number of threads run it, each with scratch memory of its own. Nothing is allocated in
 * a call but by oneDNN itself, small handles.
 *
 *   conv_ref.c      plain loops, sums in double: the truth
 *   conv_own.c      register blocks and tiles of our own: forward, and what is like it; the rest by a library
 *   conv_blas.c     a matrix product over copied windows (im2col), by OpenBLAS: everywhere
 *   conv_onednn.c   oneDNN, opened when it is asked for: where its library is */
#ifndef EBM_CORE_CONV_H
#define EBM_CORE_CONV_H

#include "core/net_desc.h"
#include "core/status.h"

enum ebm_conv_pass {
    EBM_CONV_FORWARD,
    EBM_CONV_INPUT,  /* the gradient of the input, from that of the output */
    EBM_CONV_WEIGHT, /* the gradient of the weights */
};

struct ebm_conv_spec {
    struct ebm_shape from, to;
    uint32_t kernel, stride, padding;
    uint32_t n; /* images of one call, at most where it says how many */
    enum ebm_conv_pass pass;
    bool adds, has_relu; /* of FORWARD: out = relu(conv + bias + what out held), each where it is said */
};

struct ebm_conv;

struct ebm_conv_backend {
    const char *name;
    /* New: free. */
    enum ebm_status (*make)(const struct ebm_conv_spec *spec, struct ebm_conv **ret_conv);
    struct ebm_conv *(*free)(struct ebm_conv *conv); /* NULL is fine; returns NULL */
    /* Floats of packed weights (of WEIGHT: of their packed gradient) and of scratch memory. */
    size_t (*packed_count)(const struct ebm_conv *conv);
    size_t (*scratch_count)(const struct ebm_conv *conv);
    enum ebm_status (*pack)(const struct ebm_conv *conv, float *packed, const float *weight);
    enum ebm_status (*unpack)(const struct ebm_conv *conv, float *weight, const float *packed);
    /* out (n, to) of in (n, from); bias (to.channels); n at most spec.n, and spec.n itself where is_fixed. By
     * conv_ref.c and conv_own.c an image's numbers are the same whatever n is. */
    enum ebm_status (*forward)(const struct ebm_conv *conv, uint32_t n, float *out, const float *in,
                               const float *packed, const float *bias, float *scratch);
    bool is_fixed;
    /* din (n, from) of dout (n, to) */
    enum ebm_status (*input)(const struct ebm_conv *conv, float *din, const float *dout, const float *packed,
                             float *scratch);
    /* packed gradient of in (n, from) and dout (n, to) */
    enum ebm_status (*weight)(const struct ebm_conv *conv, float *packed, const float *in, const float *dout,
                              float *scratch);
};

/* Borrow: static. */
const struct ebm_conv_backend *ebm_conv_own(void);
const struct ebm_conv_backend *ebm_conv_ref(void);
const struct ebm_conv_backend *ebm_conv_blas(void);
const struct ebm_conv_backend *ebm_conv_onednn(void);  /* NULL: not built with it, or the library cannot be opened */
const struct ebm_conv_backend *ebm_conv_library(void); /* oneDNN, else OpenBLAS */

static inline size_t ebm_conv_weights(const struct ebm_conv_spec *spec)
{
    return (size_t)spec->to.channels * spec->from.channels * spec->kernel * spec->kernel;
}

#endif
