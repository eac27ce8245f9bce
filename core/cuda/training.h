/* training.h - a plan in training on the device, as plain C: adam.cu and training.cu on one side, train_cuda.c on the
 * other.
 *
 *   trained    what all threads share: parameters, Adam's moments and gradients, laid out as the CPU's
 *   training   one thread's memory and graphs, on the stream of a space
 *
 * A chunk of rows goes through all of it in one graph: x side, draws, f, losses and the way back. Its gradient is added
 * to a slot. What fails sets a space's failure for good. */
#ifndef EBM_CORE_CUDA_TRAINING_H
#define EBM_CORE_CUDA_TRAINING_H

#ifdef __cplusplus
extern "C" {
#endif

#include "core/cuda/engine.h"
#include "core/device.h"

struct ebm_gpu_trained;
struct ebm_gpu_training;

/* Borrows net until it is freed. Everything is 0 before it is put. New: free. */
enum ebm_status ebm_gpu_trained_new(const struct ebm_net_desc *net, uint32_t n_slots,
                                    struct ebm_gpu_trained **ret_trained, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_gpu_trained *ebm_gpu_trained_free(struct ebm_gpu_trained *trained); /* NULL is fine; returns NULL */
/* A block (P) from the host, and what of it lies in `range` to the same place there; waits. One caller at a time, and
 * false: it failed, as all below. */
bool ebm_gpu_trained_put(struct ebm_gpu_trained *trained, enum ebm_train_state what, const float *h_from);
bool ebm_gpu_trained_get(struct ebm_gpu_trained *trained, enum ebm_train_state what, struct ebm_range range,
                         float *h_to);
/* As the table's reduce and update; chunks that begin later see it. */
bool ebm_gpu_trained_reduce(struct ebm_gpu_trained *trained, uint32_t n_slots, struct ebm_range range);
bool ebm_gpu_trained_update(struct ebm_gpu_trained *trained, const struct ebm_adam *adam, struct ebm_range range);

/* Memory of the table of kinks, once; what tables of the same network need later, too. NO_MEMORY as below. */
enum ebm_status ebm_gpu_trained_kinks_new(struct ebm_gpu_trained *trained, const struct ebm_gpu_exact_table *table,
                                          struct ebm_error *reterr) EBM_MUST_USE;
/* The table of kinks of the parameters as they are, for chunks of ml_exact that begin later; no chunk is on its way.
 * Waits. */
bool ebm_gpu_trained_kinks(struct ebm_gpu_trained *trained, const struct ebm_gpu_exact_table *table);
/* Whether enough rows of ml_exact run at once in the memory that there is for the table's rows. */
bool ebm_gpu_points_fit(const struct ebm_net_desc *net);

/* Rows, and what is computed of them: chunks that are equal in all of it share a graph. No gaps between members. */
struct ebm_gpu_chunk {
    uint32_t B, M, n;     /* rows; draws of a row, and its candidates: the true target stands at M .. n - 1 */
    uint32_t loss;        /* enum ebm_loss */
    uint32_t beside;      /* kl_proposal as well, so many candidates, whose draws' numbers begin there; 0: it is not */
    uint32_t beside_M;    /* its draws */
    uint32_t steps;       /* of chains that begin at the true target; 0: none */
    uint32_t reads_heads; /* the proposal's nets are run: it is drawn of, or it learns */
    uint32_t noise_K;     /* components of fixed noise; 0: draws are of the proposal, or there are none */
    uint32_t is_given;    /* rows have y in place of draws */
    uint32_t has_density; /* and log_q and log_label */
    uint32_t wants_dx;    /* the gradient in x, which is of the batch */
    uint32_t by_proposal; /* the proposal's gradient reaches what it reads */
    float scale;          /* of the gradient */
};

struct ebm_gpu_draw {
    uint64_t seed;
    uint32_t row_in_request, first_sample;
};

/* A training's host memory, pinned: what a chunk needs, and what it gives. */
struct ebm_gpu_rows {
    bool is_of_batch; /* x is what the trunk left of its last batch, from row `first` on; dx goes back there */
    uint32_t first;
    float *x;                   /* (B, numbers that reach the feature net); not read where it is of the batch */
    struct ebm_gpu_draw *draws; /* (B) */
    float *y_0, *center;        /* (B, D): the true target as the loss sees it; where fixed noise stands */
    float *noise;               /* std, inv_std (D, noise_K each), log_const, below (noise_K each) */
    float *label;               /* of kld_is: inv_std (D), log_const; of ml_mcmc: step sizes (D) */
    float *y;                   /* (B, n, D) */
    float *log_q, *log_label;   /* (B, n) */
    float *loss, *beside;       /* out (B) */
};

/* What losses need besides candidates: a bit each. */
enum ebm_gpu_family {
    EBM_GPU_BY_POINTS = 1, /* ml_exact */
    EBM_GPU_BY_SLOPES = 2, /* dsm, and sm */
    EBM_GPU_BY_CURVES = 4, /* sm */
    EBM_GPU_GIVEN = 8      /* any, of rows that have y in place of draws */
};

/* For chunks of at most max_rows rows of at most max_candidates each, of losses of these families; NO_MEMORY where the
 * device has less, and nothing else is harmed. Borrows space and trained. New: free, before both. */
enum ebm_status ebm_gpu_training_new(struct ebm_gpu_space *space, struct ebm_gpu_trained *trained, uint32_t max_rows,
                                     uint32_t max_candidates, uint32_t families, struct ebm_gpu_training **ret_training,
                                     struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_gpu_training *ebm_gpu_training_free(struct ebm_gpu_training *training); /* NULL is fine; returns NULL */
struct ebm_gpu_rows *ebm_gpu_training_rows(struct ebm_gpu_training *training);     /* borrow */
/* Of ml_exact, before the run: finds the points of the chunk's rows, and with them its M and n. Waits. TOO_LARGE: some
 * row has more than there is memory for; DEVICE: it failed. */
enum ebm_status ebm_gpu_training_points(struct ebm_gpu_training *training, struct ebm_gpu_chunk *chunk) EBM_MUST_USE;
/* Computes the chunk whose rows lie in there and adds its gradient to the slot; waits. */
bool ebm_gpu_training_run(struct ebm_gpu_training *training, const struct ebm_gpu_chunk *chunk, uint32_t slot);
/* Adds a chunk's gradient that was made elsewhere, a slot's numbers, to the slot; waits. */
bool ebm_gpu_training_add(struct ebm_gpu_training *training, const float *h_gradient, uint32_t slot);

#ifdef __cplusplus
}
#endif

#endif
