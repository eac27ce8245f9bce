/* trunk_internal.h - trunks of images that stand still, on the device: what engine.cu keeps of them in a net and in a
 * program.
 *
 *   trunk    weights of one network's trunk, norms folded into the convolutions; immutable, any thread
 *   images   one space's memory and graphs for a trunk
 *
 * Images go through some at once, as many as EBM_GPU_IMAGES hold of their values, a power of two: a piece. Values lie
 * in slots as on the CPU (trunk_layout.h). A graph for each power of two of images up to a piece; nothing is allocated
 * after they are made. */
#ifndef EBM_CORE_CUDA_TRUNK_INTERNAL_H
#define EBM_CORE_CUDA_TRUNK_INTERNAL_H

#include "core/cuda/engine_internal.h"

#ifndef EBM_GPU_IMAGES              /* tests have fewer */
#define EBM_GPU_IMAGES (256u << 20) /* bytes of the values of images at once */
#endif

struct ebm_gpu_trunk;
struct gpu_images;

/* From params (P) of a single network. New: free. TOO_LARGE, where not even one window of a convolution fits
 * (conv_internal.h). Any thread. */
enum ebm_status gpu_trunk_new(const ebm_trunk *trunk, const float *h_params, uint32_t device, ebm_gpu_trunk **ret_trunk,
                              ebm_error *reterr) EBM_MUST_USE;
ebm_gpu_trunk *gpu_trunk_free(ebm_gpu_trunk *trunk); /* NULL is fine; returns NULL */

/* For calls of at most max_rows images. False: the space's failure says why, and gpu_end_making whether it goes on;
 * what there is then is freed, too. Borrows both. New: free. */
bool gpu_images_new(ebm_gpu_space *space, const ebm_gpu_trunk *trunk, uint32_t max_rows, gpu_images **ret_images);
gpu_images *gpu_images_free(gpu_images *images); /* NULL is fine; returns NULL */

/* reach (B, trunk.out), device memory, of h_x (B, X), standardised; enqueued on the stream that computes, which waits
 * for the stream of uploads where it must. h_x has been read when it returns. */
bool gpu_images_enqueue(gpu_images *images, const float *h_x, uint32_t B, float *reach);

#endif
