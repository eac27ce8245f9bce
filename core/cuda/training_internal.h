/* training_internal.h - what the .cu files of training share. */
#ifndef EBM_CORE_CUDA_TRAINING_INTERNAL_H
#define EBM_CORE_CUDA_TRAINING_INTERNAL_H

#include "core/cuda/engine_internal.h"
#include "core/cuda/training.h"

/* Rows of numbers, `ld` apart. */
struct gpu_rows {
    float *p;
    uint32_t ld;
};

struct ebm_gpu_trained {
    ebm_gpu_space *space;
    const ebm_net_desc *net;
    gpu_memory memory;
    size_t first, count; /* of the parameters */
    uint32_t n_slots;
    float *params, *m, *v, *gradient; /* (count) */
    float *slots;                     /* (n_slots, count) */
    cudaEvent_t ready;                /* after all that was enqueued here */
};

/* A chunk's stream waits for what the trained parameters' does. */
bool gpu_trained_wait(ebm_gpu_trained *trained, ebm_gpu_space *space);
/* Adds a chunk's gradient (count) to a slot, on the chunk's stream. */
bool gpu_trained_add(ebm_gpu_trained *trained, ebm_gpu_space *space, uint32_t slot, const float *gradient);

/* ---- losses.cu ---- */

/* Rows of one loss, by device memory. */
struct gpu_pass {
    uint32_t loss, rows, D, K, M, n, first_sample;
    float scale;
    const struct ebm_gpu_draw *draws; /* (rows) */
    const float *mixtures;            /* (rows), gpu_mixture_count apart */
    const float *y_0, *center, *label;
    const float *given_y, *given_log_q, *given_log_label; /* (rows, n, ...); NULL: not given */
    struct gpu_rows y;                                    /* (rows, n) of D */
    float *log_q, *log_label, *df, *dlog_q;               /* (rows, n) */
    const float *f;                                       /* (rows, n) */
    float *value;                                         /* (rows) */
};

/* mean, std, inv_std (D, K each), log_const, log_weight and below (K each). */
inline size_t gpu_mixture_count(uint32_t D, uint32_t K)
{
    return (3 * (size_t)D + 3) * K;
}

/* Mixtures of `rows` rows: of fixed noise around centers (rows, D); of what the proposal's nets gave. */
void gpu_bind_noise(cudaStream_t stream, float *mixtures, const float *noise, const float *center, uint32_t D,
                    uint32_t K, uint32_t rows);
void gpu_bind_proposal(cudaStream_t stream, float *mixtures, gpu_rows mean, gpu_rows log_variance, gpu_rows logits,
                       uint32_t D, uint32_t K, uint32_t rows);
/* y, log q and log label of all candidates; then, with f, value, df and dlog_q. */
void gpu_candidates(cudaStream_t stream, const gpu_pass *pass);
void gpu_losses(cudaStream_t stream, const gpu_pass *pass);
/* Gradient of each row's mixture, = (rows, D K) twice and (rows, K), from dlog_q. */
void gpu_mixture_gradient(cudaStream_t stream, const gpu_pass *pass, gpu_rows dmean, gpu_rows dlog_variance,
                          gpu_rows dlogits);

#endif
