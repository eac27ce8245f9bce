/* exact.h - a scalar target whose f is piecewise linear (core/exact.h), for many rows at once on the device.
 *
 * The table of kinks belongs to a net, is made by the CPU and copied. Rows are those of the last ebm_gpu_features. A
 * question's answer is doubles of `answers`, at places that whoever asks has laid out. */
#ifndef EBM_CORE_CUDA_EXACT_H
#define EBM_CORE_CUDA_EXACT_H

#ifdef __cplusplus
extern "C" {
#endif

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

#define EBM_GPU_EXACT_KNOTS 2048u /* most of a row's f; with more the CPU answers */
#define EBM_GPU_EXACT_DRAWS 256u  /* most of a row */
#define EBM_GPU_EXACT_LAYERS 8u

struct ebm_gpu_net;
struct ebm_gpu_space;

/* A layer of the energy net. */
struct ebm_gpu_exact_layer {
    const float *weight, *bias; /* (in, stride), (stride), transposed and padded; NULL of the first, which u has */
    uint32_t in, out, stride;
    uint32_t is_relu, is_residual;
};

/* struct ebm_exact_table in plain arrays: u (n, stride) at y (n), the outermost rows being slopes on open sides. */
struct ebm_gpu_exact_table {
    uint32_t n, stride, widest, n_layers;
    uint32_t is_open[2];
    double slope[2]; /* of f beyond the outermost knots */
    const double *y;
    const float *u;
    struct ebm_gpu_exact_layer layers[EBM_GPU_EXACT_LAYERS];
};

struct ebm_gpu_exact_question {
    uint64_t seed; /* of draws */
    uint32_t row_in_request;
    uint32_t row;                          /* of the x side */
    uint32_t probability, n_probabilities; /* the first one's number, and how many */
    uint32_t n_draws;
    uint32_t head;      /* EBM_GPU_EXACT_HEAD numbers */
    uint32_t quantiles; /* (n_probabilities) */
    uint32_t draws;     /* floats: (n_draws) */
};

enum ebm_gpu_exact_head {
    EBM_GPU_EXACT_N,     /* knots; 0: there are too many, and nothing else is written */
    EBM_GPU_EXACT_PEAK,  /* the highest f */
    EBM_GPU_EXACT_TOTAL, /* integral of exp(f - peak); NaN: f is not finite somewhere, and the rest may be anything */
    EBM_GPU_EXACT_MEAN,
    EBM_GPU_EXACT_VARIANCE,
    EBM_GPU_EXACT_F, /* mean of f - peak */
    EBM_GPU_EXACT_MODE,
    EBM_GPU_EXACT_HEAD
};

/* Pinned memory of one net on one space: as many questions as the space has rows, with EBM_GPU_MAX_PROBABILITIES and
 * EBM_GPU_EXACT_DRAWS each. */
struct ebm_gpu_exact_rows {
    struct ebm_gpu_exact_question *questions;
    double *probabilities, *answers;
};

/* Whether the device takes tables of energy nets of so many layers. */
static inline bool ebm_gpu_exact_takes(uint32_t n_layers, bool first_is_residual)
{
    return n_layers > 1 && n_layers <= EBM_GPU_EXACT_LAYERS && !first_is_residual;
}

/* Whether rows of such a table are answered by enough blocks at once in the memory that there is for them. */
bool ebm_gpu_exact_fits(uint32_t n_layers, uint32_t widest);
/* Copies a table that fits to the net's device; the net then has one. NO_MEMORY or DEVICE when it could not. */
enum ebm_status ebm_gpu_exact_load(struct ebm_gpu_net *net, const struct ebm_gpu_exact_table *table,
                                   struct ebm_error *reterr) EBM_MUST_USE;
/* NULL: the net has no table. Borrow. */
struct ebm_gpu_exact_rows *ebm_gpu_exact_rows(struct ebm_gpu_space *space, const struct ebm_gpu_net *net);
/* Asks, and returns at once; the rows are the device's until the wait. n_answers: doubles. */
bool ebm_gpu_exact_submit(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t n_questions,
                          uint32_t n_probabilities, uint32_t n_answers);
bool ebm_gpu_exact_wait(struct ebm_gpu_space *space);

#ifdef __cplusplus
}
#endif

#endif
