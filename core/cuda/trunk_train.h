/* trunk_train.h - an image trunk in training on the device, as plain C: trunk_train.cu and trunk_backward.cu on one
 * side, train_trunk_cuda.c on the other.
 *
 * A whole batch goes forward, its numbers stay, chunks read what it gave and leave the gradient in it (training.h), and
 * from that the trunk's tensors get theirs.
 * Parameters and gradients are those of the plan in training (training.h), whose stream this runs on: steps that follow
 * see them. The same batch gives the same bytes. */
#ifndef EBM_CORE_CUDA_TRUNK_TRAIN_H
#define EBM_CORE_CUDA_TRUNK_TRAIN_H

#ifdef __cplusplus
extern "C" {
#endif

#include "core/cuda/training.h"

struct ebm_gpu_trunk_train;

/* All memory for batches of at most max_rows images; NO_MEMORY where the device has less, and nothing else is harmed.
 * Borrows trained, whose network has a trunk. New: free, before trained. */
enum ebm_status ebm_gpu_trunk_train_new(struct ebm_gpu_trained *trained, uint32_t max_rows,
                                        struct ebm_gpu_trunk_train **ret_train, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_gpu_trunk_train *
ebm_gpu_trunk_train_free(struct ebm_gpu_trunk_train *train);                /* NULL is fine; returns NULL */
uint32_t ebm_gpu_trunk_train_rows(const struct ebm_gpu_trunk_train *train); /* max_rows */

/* All below: one caller at a time, who calls nothing of trained meanwhile. False: it failed.
 *
 * h (B, trunk.out) of images x (B, X) in host memory by the batch's statistics, which move the running ones. Waits
 * until x has been read; chunks that begin later see h. */
bool ebm_gpu_trunk_train_forward(struct ebm_gpu_trunk_train *train, const float *h_x, uint32_t B);
/* The same by the running statistics, into host memory: waits. What the last forward left is gone. */
bool ebm_gpu_trunk_train_run(struct ebm_gpu_trunk_train *train, const float *h_x, uint32_t B, float *h_out);
/* From the gradient in h of the last forward, which chunks have left, and whose parameters are still the same: that of
 * the trunk's tensors, = into trained's gradient. Waits for nothing. */
bool ebm_gpu_trunk_train_backward(struct ebm_gpu_trunk_train *train);
/* Rows first .. first + n - 1 of h of the last forward into host memory; of the gradient in it, out of host memory.
 * Both wait. */
bool ebm_gpu_trunk_train_get(struct ebm_gpu_trunk_train *train, uint32_t first, uint32_t n, float *h_to);
bool ebm_gpu_trunk_train_put(struct ebm_gpu_trunk_train *train, uint32_t first, uint32_t n, const float *h_from);

#ifdef __cplusplus
}
#endif

#endif
