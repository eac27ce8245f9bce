/* conv_internal.h - what a trunk's operations are made of on the device: convolutions by windows, pools, means, and
 * the two ways in which numbers of images lie.
 *
 * Activations lie (image, height, width, channel), channels inner, as on the CPU. A place is one pixel of an
 * operation's output; places are counted through all images of a call. Its window is what a convolution reads for it:
 * kernel x kernel x channels numbers, in this order, channels inner. Weights lie the same way, a row an output. Rows of
 * both are gpu_window_ld apart, so that a convolution is one product:
 *
 *   out (place, outputs) = windows (place, numbers) weights^T (outputs, numbers)
 *
 * Windows are copied in pieces of at most EBM_GPU_WINDOWS; a kernel of 1 x 1 without stride and padding reads its
 * input itself. A place's numbers depend on its window alone, as far as products' do (engine_internal.h). */
#ifndef EBM_CORE_CUDA_CONV_INTERNAL_H
#define EBM_CORE_CUDA_CONV_INTERNAL_H

#include "core/cuda/engine_internal.h"

/* Numbers of a window, and of a row of windows or weights. */
inline uint32_t gpu_window_count(const ebm_image_op *op)
{
    return op->from.channels * op->kernel * op->kernel;
}

inline uint32_t gpu_window_ld(const ebm_image_op *op)
{
    return gpu_round_up(gpu_window_count(op), 4);
}

inline uint32_t gpu_plane(const ebm_shape *shape)
{
    return shape->height * shape->width;
}

/* Is an input its own windows? */
inline bool gpu_is_pointwise(const ebm_image_op *op)
{
    return op->kernel == 1 && op->stride == 1 && op->padding == 0;
}

/* Places whose windows lie in memory at once, of calls of at most n images. 0: not even one window fits. */
uint32_t gpu_window_places(const ebm_image_op *op, uint32_t n);

/* On the host: to (outputs, window_ld) of weights (outputs, channels, kernel, kernel), each output's times its factor
 * unless that is NULL. What fills rows up is 0. */
void gpu_pack_windows(float *to, const ebm_image_op *op, const float *weight, const float *factor);

/* Windows (count, window_ld) of places first .. first + count - 1 of `in`; 16-byte aligned. */
void gpu_windows(ebm_gpu_space *space, const ebm_image_op *op, float *windows, const float *in, size_t first,
                 uint32_t count);

/* out (n, to) = relu(conv(in (n, from)) + bias + out), each where it is said; by device memory. */
struct gpu_convolution {
    const ebm_image_op *op; /* of CONV */
    const float *weight;    /* as packed */
    const float *bias;      /* (to.channels) */
    const float *in;
    float *out;
    float *windows; /* EBM_GPU_WINDOWS, or as many as gpu_window_places(op, most) take; of pointwise ones none */
    uint32_t most;  /* images of a call, at most: what products are chosen for */
    bool adds, has_relu;
    bool by_dnn;        /* by cuDNN (cudnn_internal.h), which has won */
    const float *dense; /* weights for it: as packed, but for what fills rows up */
};
bool gpu_convolve(ebm_gpu_space *space, const gpu_convolution *c, uint32_t n);

/* Enqueued, of n images. (channels, height, width) <-> (height, width, channels). */
void gpu_to_inner(ebm_gpu_space *space, float *to, const float *from, const ebm_shape *shape, uint32_t n);
void gpu_to_outer(ebm_gpu_space *space, float *to, const float *from, const ebm_shape *shape, uint32_t n);
void gpu_max_pool(ebm_gpu_space *space, const ebm_image_op *op, float *out, const float *in, uint32_t n);
/* Sums in double, as on the CPU. */
void gpu_image_mean(ebm_gpu_space *space, const ebm_image_op *op, float *out, const float *in, uint32_t n);
/* a (n) = relu(factor z + offset + add), each where there is one; z may be a. factor NULL: 1 and 0. */
void gpu_lines(ebm_gpu_space *space, float *a, const float *z, const float *add, const float *factor,
               const float *offset, bool has_relu, uint32_t C, size_t n);

#endif
