/* exact_internal.h - what nets and programs keep of exact.cu's. */
#ifndef EBM_CORE_CUDA_EXACT_INTERNAL_H
#define EBM_CORE_CUDA_EXACT_INTERNAL_H

#include "core/cuda/engine_internal.h"
#include "core/cuda/exact.h"

/* One net's memory on one space. */
struct gpu_exact {
    struct ebm_gpu_exact_rows host;
    struct ebm_gpu_exact_question *questions;
    double *probabilities, *answers;
    unsigned char *scratch; /* (blocks, block_bytes) */
    size_t block_bytes;
    uint32_t blocks;
};

/* Memory for so many rows, unless the net has no table. */
bool gpu_exact_make(ebm_gpu_space *space, gpu_memory *memory, const ebm_gpu_net *net, uint32_t rows, gpu_exact *own);
/* Of a program: its part, and hx of its rows. engine.cu */
gpu_exact *gpu_exact_of(ebm_gpu_space *space, const ebm_gpu_net *net, const float **ret_hx);

#endif
