/* train_internal.h - a plan in training, on both sides: what the files of the plug-in's training share. */
#ifndef EBM_CORE_CUDA_TRAIN_INTERNAL_H
#define EBM_CORE_CUDA_TRAIN_INTERNAL_H

#include "core/cuda/train_cuda.h"
#include "core/cuda/training.h"
#include "core/cuda/trunk_train.h"

#define EBM_CUDA_STATES 3u /* parameters and two moments: enum ebm_train_state below EBM_TRAIN_GRADIENT */

struct ebm_cuda_trained {
    struct ebm_gpu_trained *there;
    struct ebm_gpu_trunk_train *trunk; /* after trunk_prepare; NULL: before it, or of vectors */
    pthread_mutex_t mutex;             /* held while `there` and `trunk` are called */
    _Atomic bool here_is_stale[EBM_CUDA_STATES], there_is_stale[EBM_CUDA_STATES]; /* changed under the mutex */
    _Atomic bool gradient_is_there;
    _Atomic bool kinks_are_stale; /* the table of kinks there is not that of the plan */
};

/* NULL: the plan does not train, or the CPU trains it. Borrow. */
static inline struct ebm_cuda_trained *ebm_cuda_trained(const struct ebm_plan *plan)
{
    return plan->n_slots > 0 ? plan->accelerated : NULL;
}

/* Brings what is newer on the device here, or takes what is newer here to the device. False: it failed. Any thread. */
bool ebm_cuda_bring(const struct ebm_plan *plan, enum ebm_train_state what);
bool ebm_cuda_take(const struct ebm_plan *plan, enum ebm_train_state what);
bool ebm_cuda_take_all(const struct ebm_plan *plan); /* all three */

/* ---- train_trunk_cuda.c ---- */

/* Entries of the table for trunks. */
void ebm_cuda_trunk_entries(struct ebm_device_ops *ops);
/* Around a chunk that the CPU computes of a batch whose trunk the device trains: its features here, and then the
 * gradient in them there. Other chunks need neither. False: it failed. Any thread. */
bool ebm_cuda_features_bring(const struct ebm_plan *plan, const struct ebm_train_rows *rows);
bool ebm_cuda_features_learn(const struct ebm_plan *plan, const struct ebm_train_rows *rows);

#endif
