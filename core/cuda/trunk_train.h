/* trunk_train.h - an image trunk in training on the device, as plain C: trunk_train.cu and trunk_backward.cu on one
 * side, train_trunk_cuda.c on the other.
 *
 * A whole batch goes forward, its numbers stay, and from the gradient in what it gave the trunk's tensors get theirs.
 * Parameters and gradients are those of the plan in training (training.h), whose stream this runs on: steps that follow
 * see them. The same batch gives the same bytes. */
#ifndef EBM_CORE_CUDA_TRUNK_TRAIN_H
#define EBM_CORE_CUDA_TRUNK_TRAIN_H

#ifdef __cplusplus
extern "C" {
#endif

#include "core/cuda/training.h"

struct ebm_gpu_trunk_train;

/* Norms by the statistics of the batch, which move the running ones; or by these. */
enum ebm_gpu_trunk_norms { EBM_GPU_NORMS_OF_BATCH, EBM_GPU_NORMS_RUNNING };

/* All memory for batches of at most max_rows images; NO_MEMORY where the device has less, and nothing else is harmed.
 * Borrows trained, whose network has a trunk. New: free, before trained. */
enum ebm_status ebm_gpu_trunk_train_new(struct ebm_gpu_trained *trained, uint32_t max_rows,
                                        struct ebm_gpu_trunk_train **ret_train, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_gpu_trunk_train *
ebm_gpu_trunk_train_free(struct ebm_gpu_trunk_train *train);                /* NULL is fine; returns NULL */
uint32_t ebm_gpu_trunk_train_rows(const struct ebm_gpu_trunk_train *train); /* max_rows */

/* h (B, trunk.out) of x (B, X) in host memory; waits. One caller at a time, who calls nothing of trained meanwhile.
 * False: it failed, as below. */
bool ebm_gpu_trunk_train_forward(struct ebm_gpu_trunk_train *train, enum ebm_gpu_trunk_norms norms, const float *h_x,
                                 uint32_t B, float *h_out);
/* From dh (B, trunk.out) of the last forward by the batch's statistics, whose parameters are still the same: gradient
 * of the trunk's tensors, = into trained's gradient. */
bool ebm_gpu_trunk_train_backward(struct ebm_gpu_trunk_train *train, const float *h_dout);

#ifdef __cplusplus
}
#endif

#endif
