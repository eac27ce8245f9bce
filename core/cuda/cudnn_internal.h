/* cudnn_internal.h - convolutions by cuDNN, where its library is, and the choice between it and our own.
 *
 * libcudnn.so.9 is opened when the first trunk is made ready, unless the environment has EBM_CUDNN=off; nothing links
 * it, and where it cannot be opened or refuses the device nobody hears of it. It computes in place and in the same
 * layout as conv.cu, by one algorithm, whose workspace has to fit into the space's, with TF32 unless the precision is
 * fp32. */
#ifndef EBM_CORE_CUDA_CUDNN_INTERNAL_H
#define EBM_CORE_CUDA_CUDNN_INTERNAL_H

#include "core/cuda/conv_internal.h"

/* With the device: reads EBM_CUDNN. INVALID: it is neither auto nor off. */
enum ebm_status gpu_dnn_open(ebm_error *reterr) EBM_MUST_USE;
void gpu_dnn_free(ebm_gpu_space *space); /* its handle, if there is one */

/* gpu_convolve by cuDNN, from c->dense; enqueued. False: ret_why, static; the space has not failed of it. */
bool gpu_dnn_convolve(ebm_gpu_space *space, const gpu_convolution *c, uint32_t n, const char **ret_why);

/* Should cuDNN do this convolution of calls of up to c->most images? Chosen once a process for a shape, so
 * that a model's bytes are the same whenever it is loaded. Asks the device: where all of this holds
 *   - an image's numbers are those of conv.cu but for rounding, wherever it stands among c->most images
 *   - and the same bytes wherever it stands, and for each power of two of images
 *   - c->most images and one image together take at most GPU_DNN_SHARE of our time, by events
 * Of a shape that it does already, more images than were tried before have to pass the first two, and else it is ours
 * from then on.
 * Overwrites in and out; waits. False, too, where cuDNN fails; the space fails where we do. Any thread with a space. */
#define GPU_DNN_SHARE 0.9f
bool gpu_dnn_wins(ebm_gpu_space *space, const gpu_convolution *c);

#endif
