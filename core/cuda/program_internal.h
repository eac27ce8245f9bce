/* program_internal.h - what one net has on one space: buffers, slots, graphs. */
#ifndef EBM_CORE_CUDA_PROGRAM_INTERNAL_H
#define EBM_CORE_CUDA_PROGRAM_INTERNAL_H

#include "core/cuda/answers_internal.h"
#include "core/cuda/exact_internal.h"
#include "core/cuda/trunk_internal.h"

#define GPU_POWERS 11u /* of two, 1 .. LIMIT_BATCH_ROWS */

struct gpu_device_slot {
    struct ebm_gpu_tile *tiles;
    float *mixtures, *y, *log_q, *f;
    gpu_answers answers;
    struct ebm_gpu_slot host;
    cudaEvent_t uploaded, computed, done;
    cudaGraphExec_t graphs[GPU_POWERS];
};

/* The x side's buffers: on the device, and what goes in and out in pinned memory. */
struct gpu_x_buffers {
    float *x, *h, *own, *hx, *mean, *log_variance, *logits, *a, *b;
    float *host_x, *host_out;
    cudaGraphExec_t graphs[GPU_POWERS];
};

struct gpu_program {
    uint64_t net;
    uint32_t x_rows; /* most rows of the x side: a power of two */
    struct gpu_x_buffers x;
    struct gpu_device_slot slots[EBM_GPU_SLOTS];
    gpu_exact exact;
    gpu_images *images; /* of nets with a trunk */
    gpu_memory memory;
};

/* ---- engine.cu ---- */

gpu_program *gpu_program_of(const ebm_gpu_space *space, const ebm_gpu_net *net); /* NULL: it is not prepared */

/* ---- x_side.cu ---- */

bool gpu_x_make(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own);
/* The x side of so many rows, of which x has as many. */
bool gpu_x_enqueue(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, uint32_t rows);

/* ---- samples.cu ---- */

/* A slot's first `tiles` tiles: drawn where they are not given, and f. */
bool gpu_samples_enqueue(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, gpu_device_slot *slot,
                         uint32_t tiles);
bool gpu_samples_multiply(const ebm_gpu_net *net); /* whether products of cublasLt are in it */

/* ---- slots.cu ---- */

bool gpu_slot_make(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, gpu_device_slot *slot);
void gpu_slot_free(gpu_device_slot *slot); /* its memory is the program's */

/* ---- both sides ---- */

/* Of two, at least n. */
inline uint32_t gpu_next_power(uint32_t n)
{
    uint32_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

/* Which one it is. */
inline uint32_t gpu_power_of(uint32_t n)
{
    uint32_t i = 0;
    while (1u << i < n)
        i++;
    return i;
}

inline void gpu_graphs_free(cudaGraphExec_t graphs[GPU_POWERS])
{
    for (uint32_t i = 0; i < GPU_POWERS; i++)
        if (graphs[i] != NULL)
            (void)cudaGraphExecDestroy(graphs[i]);
}

#endif
