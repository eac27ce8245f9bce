/* checkpoint.h - a training run in a file: enough to go on to the same bytes as if it had never stopped. */
#ifndef EBM_TRAINER_CHECKPOINT_H
#define EBM_TRAINER_CHECKPOINT_H

#include "core/limits.h"
#include "core/net_desc.h"
#include "core/status.h"

#define CHECKPOINT_FILE "checkpoint.safetensors"

/* Where a run stands. Everything random is a function of the seed and of this position. */
struct checkpoint_position {
    uint64_t fingerprint;      /* of the data */
    uint64_t epoch;            /* epochs finished */
    uint64_t step;             /* steps finished of the current epoch */
    uint64_t taken[EBM_PARTS]; /* Adam steps that each part has taken */
    uint64_t best_epoch;       /* 1-based; 0: none yet */
    uint64_t log_bytes;        /* of training.jsonl */
    double loss_sum;           /* over the rows of the finished steps of the current epoch */
    double best_nll;
};

/* Owns its arrays and its text: checkpoint_done. */
struct checkpoint {
    struct checkpoint_position position;
    char *run;                       /* the effective configuration */
    size_t n_params;                 /* P */
    float *params, *adam_m, *adam_v; /* (P) */
    float *best;                     /* (P), meaningful when best_epoch > 0 */
};

/* Arrays for P parameters, all zero. */
enum ebm_status checkpoint_init(struct checkpoint *checkpoint, size_t n_params, const char *run,
                                struct ebm_error *reterr) EBM_MUST_USE;
void checkpoint_done(struct checkpoint *checkpoint);

/* Replaces `path` atomically. */
enum ebm_status checkpoint_write(const struct checkpoint *checkpoint, const char *path, struct ebm_error *reterr)
    EBM_MUST_USE;
enum ebm_status checkpoint_read(const char *path, struct checkpoint *ret_checkpoint, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
