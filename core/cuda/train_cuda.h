/* train_cuda.h - entries of the table with CUDA that train: of plans in training, or the CPU's. Private to the plug-in.
 */
#ifndef EBM_CORE_CUDA_TRAIN_CUDA_H
#define EBM_CORE_CUDA_TRAIN_CUDA_H

#include "core/cuda/engine.h"
#include "core/device_internal.h"

struct ebm_cuda_chunks; /* what a context has for training; NULL: nothing yet */

/* Takes a plan in training to the device, where what it trains can be computed there. */
enum ebm_status ebm_cuda_train_plan(struct ebm_plan *plan, struct ebm_error *reterr) EBM_MUST_USE;
/* train_prepare and backward of the table, on a context with this space. */
enum ebm_status ebm_cuda_train_prepare(struct ebm_gpu_space *space, struct ebm_cuda_chunks **chunks,
                                       const struct ebm_plan *plan, const struct ebm_loss_spec *spec, uint32_t max_rows,
                                       struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status ebm_cuda_backward(struct ebm_ctx *ctx, struct ebm_gpu_space *space, struct ebm_cuda_chunks **chunks,
                                  const struct ebm_plan *plan, uint32_t slot, const struct ebm_loss_spec *spec,
                                  const struct ebm_train_rows *rows, double *h_loss);
struct ebm_cuda_chunks *ebm_cuda_chunks_free(struct ebm_cuda_chunks *chunks); /* NULL is fine; returns NULL */
/* The other entries: features, predict, refresh, reduce, update, params_read and params_write. */
void ebm_cuda_train_entries(struct ebm_device_ops *ops);

#endif
