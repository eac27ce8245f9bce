/* answers_internal.h - a slot's questions and answers on the device, between slots.cu and answers.cu. */
#ifndef EBM_CORE_CUDA_ANSWERS_INTERNAL_H
#define EBM_CORE_CUDA_ANSWERS_INTERNAL_H

#include "core/cuda/engine_internal.h"

/* Device memory of one slot. */
struct gpu_answers {
    struct ebm_gpu_question *questions;
    double *probabilities, *answers, *cumulative;
    float *weights;
};

/* Memory for rows of so many tiles in all, the slot's own part of it into `host`. */
bool gpu_answers_make(ebm_gpu_space *space, gpu_memory *memory, uint32_t tiles, uint32_t D, gpu_answers *own,
                      struct ebm_gpu_slot *host);
/* Copies on `stream`; between them the kernels, on the stream that computes, behind y (tile, D, EBM_GPU_TILE), log q
 * and f of the slot. */
bool gpu_answers_upload(ebm_gpu_space *space, cudaStream_t stream, const gpu_answers *own,
                        const struct ebm_gpu_slot *host, const struct ebm_gpu_load *load);
bool gpu_answers_enqueue(ebm_gpu_space *space, const gpu_answers *own, const struct ebm_gpu_slot *host,
                         const struct ebm_gpu_load *load, uint32_t D, const float *y, const float *log_q,
                         const float *f);
bool gpu_answers_download(ebm_gpu_space *space, cudaStream_t stream, const gpu_answers *own,
                          const struct ebm_gpu_slot *host, const struct ebm_gpu_load *load);

#endif
