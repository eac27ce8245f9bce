/* step.h - one training step on one batch: the same bytes for any number of threads. */
#ifndef EBM_TRAINER_STEP_H
#define EBM_TRAINER_STEP_H

#include "trainer/method.h"
#include "trainer/pool.h"

#define STEP_CHUNKS 8u /* most chunks of a batch, and gradient buffers of a plan */

/* A batch: rows in their order. */
struct step_batch {
    uint32_t B;
    const float *x;             /* (B, X) */
    const float *reach;         /* (B, trunk.out) of images whose features do not learn, in place of x; NULL: x */
    const float *y;             /* (B, D) */
    const struct ebm_row *rows; /* (B) */
    double *losses;             /* (B) out */
};

struct step {
    const struct ebm_device_ops *ops;
    struct pool *pool;              /* borrow */
    struct ebm_plan *plan;          /* borrow; has STEP_CHUNKS slots */
    const struct ebm_net_desc *net; /* borrow */
    double learning_rate;           /* of the next step */
    double weight_decay;            /* decoupled, 0: none */
    double gradient_clip;           /* longest gradient over all parameters that learn, 0: any */
    float *space;                   /* (P) where one of these two is not 0; borrow */
    uint64_t taken[EBM_PARTS];      /* Adam steps that each part has taken */
};

/* Rows of one chunk: depends on the batch and the loss alone. */
uint32_t step_chunk_rows(const struct ebm_loss_spec *loss, uint32_t B);

/* Losses, gradient and update; images go through the trunk first, whose plan was prepared for such a batch. Losses may
 * be NaN: then the parameters may be as well.
 * DEVICE when the device refuses. */
enum ebm_status step_run(struct step *step, const struct method_phase *phase, const struct step_batch *batch)
    EBM_MUST_USE;

#endif
