/* engine.h - what CUDA does for a context, as plain C: the .cu files on one side, device_cuda.c on the other.
 *
 *   net     weights of one network on one device; immutable, any thread
 *   space   one thread's memory, streams and graphs for any number of nets of one device
 *
 * Rows of the x side are computed all at once and stay on the device. Samples go in tiles of EBM_GPU_TILE, all of one
 * row: a slot holds up to ebm_gpu_tiles of any rows, and is submitted, then waited for. While one slot computes,
 * the others can be filled and read. A tile's numbers depend on nothing but the tile.
 *
 * What fails sets a space's failure for good: an error of CUDA may come from anything before it. Only where there is no
 * memory to prepare one more net does the space go on without that net. */
#ifndef EBM_CORE_CUDA_ENGINE_H
#define EBM_CORE_CUDA_ENGINE_H

#ifdef __cplusplus
extern "C" {
#endif

#include "core/cuda/answers.h"
#include "core/cuda/exact.h"
#include "core/limits.h"
#include "core/net_desc.h"
#include "core/rng.h"
#include "core/status.h"

#define EBM_GPU_TILE 128u
#define EBM_GPU_TILES 128u /* most of a slot */
#define EBM_GPU_SLOTS 3u
#define EBM_GPU_SOBOL_WORDS (2u + 8u)
#define EBM_GPU_FAILURE_BYTES 256u

/* Of products on the sample side; sums, and all that is exponentiated, are float anyway. */
enum ebm_gpu_precision { EBM_GPU_FP32, EBM_GPU_TF32, EBM_GPU_BF16 };

struct ebm_gpu_net;
struct ebm_gpu_space;

/* One tile: samples first_sample .. + EBM_GPU_TILE - 1 of a row. */
struct ebm_gpu_tile {
    uint64_t seed;
    uint32_t row;     /* of the last ebm_gpu_features */
    uint32_t mixture; /* the slot's mixture of which it draws */
    uint32_t row_in_request, first_sample;
    uint32_t is_given; /* y and log q are there; else they are drawn of the mixture */
    uint32_t by_sobol; /* drawn by points of Sobol, scrambled as its mixture says; else by words of Philox */
};

/* A slot's host memory, pinned. Mixture i lies at mixtures + i * ebm_gpu_mixture_floats(D, K): K as a word, then mean,
 * std, inv_std (D, K each), log_const (K) and below (K words), as struct ebm_mixture has them; then for each of
 * D + 1 dimensions of Sobol's points EBM_GPU_SOBOL_WORDS: shift, factor, direction numbers of 16 bits (sobol.h). */
struct ebm_gpu_slot {
    struct ebm_gpu_tile *tiles;         /* (ebm_gpu_tiles) */
    float *mixtures;                    /* as many */
    float *y;                           /* (ebm_gpu_tiles, D, EBM_GPU_TILE) */
    float *log_q, *f;                   /* (ebm_gpu_tiles, EBM_GPU_TILE) */
    struct ebm_gpu_question *questions; /* (ebm_gpu_tiles) */
    double *probabilities;              /* as many times EBM_GPU_MAX_PROBABILITIES */
    double *answers;                    /* ebm_gpu_answer_room(ebm_gpu_tiles, D) */
};

/* What lies in a slot that is submitted, and what is to come back. */
struct ebm_gpu_load {
    uint32_t n_tiles, n_mixtures;
    uint32_t first_wanted, end_wanted;                /* tiles whose y, log q and f are */
    uint32_t n_questions, n_probabilities, n_answers; /* doubles of all answers */
    bool any_given;
};

/* K: the most components, with one more than the net's for a wide one. */
static inline uint32_t ebm_gpu_mixture_floats(uint32_t D, uint32_t K)
{
    return (3 * D + 2) * K + 4 + (D + 1) * EBM_GPU_SOBOL_WORDS;
}

/* Where the x side's numbers go: rows of the net's sizes, host memory. Logits are not normalised. */
struct ebm_gpu_x_side {
    float *h, *hx;              /* (B, H), (B, outputs of the first energy layer) */
    float *mean, *log_variance; /* (B, D, K) */
    float *logits;              /* (B, K) */
};

/* Once, before all else: the devices of these numbers (n), all that there are when n is 0; from then on they are 0 ..
 * *ret_n - 1. DEVICE with the reason when there is no driver, no such device, or it is too old; INVALID when they are
 * not alike, and would answer differently. ret_name: what they are called. */
enum ebm_status ebm_gpu_open(const uint32_t *numbers, uint32_t n, enum ebm_gpu_precision precision, uint32_t *ret_n,
                             char *ret_name, size_t bytes, struct ebm_error *reterr) EBM_MUST_USE;

/* A space of this device has failed, or somebody lost it. Any thread, as the next. */
bool ebm_gpu_is_lost(uint32_t device);
void ebm_gpu_lose(uint32_t device, const char *why); /* which ebm_gpu_failure then tells */

/* From params (P) of a single network. New: free. Any thread. */
enum ebm_status ebm_gpu_net_new(const struct ebm_net_desc *net, const float *h_params, uint32_t device,
                                struct ebm_gpu_net **ret_net, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_gpu_net *ebm_gpu_net_free(struct ebm_gpu_net *net); /* NULL is fine; returns NULL */

/* For at most max_rows rows of the x side and max_tiles tiles of all of them, on that device. New: free. */
enum ebm_status ebm_gpu_space_new(uint32_t max_rows, size_t max_tiles, uint32_t device,
                                  struct ebm_gpu_space **ret_space, struct ebm_error *reterr) EBM_MUST_USE;
/* All memory and graphs that this net, of the same device, will need; those of nets that are gone are dropped.
 * NO_MEMORY: the device has none left for it; nets prepared before it go on. */
enum ebm_status ebm_gpu_space_prepare(struct ebm_gpu_space *space, const struct ebm_gpu_net *net,
                                      struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_gpu_space *ebm_gpu_space_free(struct ebm_gpu_space *space); /* NULL is fine; returns NULL */

/* The x side of x (B, X), vectors or images; waits. False: it failed. */
bool ebm_gpu_features(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, const float *h_x, uint32_t B,
                      const struct ebm_gpu_x_side *out);

/* Of a net that space is prepared for: the tiles that one slot takes, and a slot. Borrow. */
uint32_t ebm_gpu_tiles(const struct ebm_gpu_space *space, const struct ebm_gpu_net *net);
struct ebm_gpu_slot *ebm_gpu_slot(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t slot);
/* Draws where tiles are not given, f of all, and answers; returns at once. The slot is the device's until the wait. */
bool ebm_gpu_submit(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t slot,
                    const struct ebm_gpu_load *load);
bool ebm_gpu_wait(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t slot);

/* What a device was lost by, or else what a space of it failed of, the latest time; "": none did. Any thread. */
void ebm_gpu_failure(uint32_t device, char *ret_text, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
