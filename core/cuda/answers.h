/* answers.h - questions about rows whose draws lie in a slot of engine.h, and what the device answers.
 *
 * A question is one row's: its draws fill whole tiles one behind the other, of which the first M count. The numbers of
 * its answer are doubles of the slot's `answers`, at places that whoever asks has laid out; 0 where a number is not
 * wanted, so that the first place of all stays unused. Sums are doubles in an order that M alone gives. */
#ifndef EBM_CORE_CUDA_ANSWERS_H
#define EBM_CORE_CUDA_ANSWERS_H

#ifdef __cplusplus
extern "C" {
#endif

#include <stdint.h>

#define EBM_GPU_PARTS 8u              /* of a row's draws, summed apart: those of Sobol points */
#define EBM_GPU_MAX_PROBABILITIES 67u /* of a row */

struct ebm_gpu_question {
    uint64_t seed; /* of the fair draws */
    uint32_t row_in_request;
    uint32_t first_tile, M;
    uint32_t has_parts;                    /* M is a multiple of EBM_GPU_PARTS, whose sums are wanted */
    uint32_t most_tail;                    /* kernels->tail's `most`; 0: not wanted */
    uint32_t n_draws;                      /* fair ones */
    uint32_t probability, n_probabilities; /* the first of the slot's, and how many */
    /* where the answer lies: */
    uint32_t head;        /* EBM_GPU_HEAD numbers */
    uint32_t coordinates; /* (D, EBM_GPU_SUMS) */
    uint32_t covariance;  /* (D, D), of which the lower triangle is written */
    uint32_t quantiles;   /* (n_probabilities, D) */
    uint32_t tail, draws; /* floats: (n_tail), as they lie; (n_draws, D) */
};

/* Weights w are relative to exp(max), max the largest f - log q; NaN where there is none or a number is not finite, and
 * then nothing else is written. */
enum ebm_gpu_head {
    EBM_GPU_MAX,
    EBM_GPU_SUM,
    EBM_GPU_SQUARES,
    EBM_GPU_ENERGY, /* sum of w f */
    EBM_GPU_BEST,   /* the first draw of the highest f */
    EBM_GPU_N_TAIL, /* weights above the cutoff */
    EBM_GPU_CUTOFF,
    EBM_GPU_PART_SUMS = 8, /* (EBM_GPU_PARTS) sums of w over parts of consecutive draws */
    EBM_GPU_HEAD = EBM_GPU_PART_SUMS + (int)EBM_GPU_PARTS
};

/* Of one coordinate: mean, sum of w (y - mean)^2 over the sum of w, sum of w^2 (y - mean)^2 over its square, y of the
 * best draw; of each part the sum of w (y - mean). */
enum ebm_gpu_sums {
    EBM_GPU_MEAN,
    EBM_GPU_VARIANCE,
    EBM_GPU_SQUARED_ERROR,
    EBM_GPU_MODE,
    EBM_GPU_PART_MOMENTS,
    EBM_GPU_SUMS = EBM_GPU_PART_MOMENTS + (int)EBM_GPU_PARTS
};

/* Doubles that answers about so many tiles of draws may take: half of what the draws take. */
static inline uint32_t ebm_gpu_answer_room(uint32_t tiles, uint32_t D)
{
    return tiles * (128u / 4u) * (D + 2u);
}

#ifdef __cplusplus
}
#endif

#endif
