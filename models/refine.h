/* refine.h - the most likely target near given or proposed starts, in the user's units: POST /refine's words to a
 * device's ascent and back; and the moves of samples.
 *
 * Part of estimate.h, which calls it: a query that refines by ascent is answered by a struct ebm_refinement alone. */
#ifndef EBM_MODELS_REFINE_H
#define EBM_MODELS_REFINE_H

#include "core/arena.h"
#include "core/device.h"
#include "models/model.h"

enum ebm_refine_method {
    EBM_REFINE_ASCENT,   /* to a maximum of f: the whole answer */
    EBM_REFINE_LANGEVIN, /* samples move by a corrected Langevin chain */
};

/* Checked for bounds already. Lengths are standardised: a target's standard deviation in the training data is 1. */
struct ebm_refine_query {
    enum ebm_refine_method method;
    uint32_t steps;
    uint32_t n_lengths;        /* 1: the same for every coordinate; else D */
    const double *step_length; /* (n_lengths), > 0; borrow: as long as the query */
    /* of ascent */
    double decay;       /* in (0, 1) */
    uint32_t starts;    /* at most LIMIT_STARTS: the best of the query's num_samples draws; ignored with n_initial */
    uint32_t n_initial; /* starts given with every row, as its item's targets; 0: none */
    bool trajectory;
};

/* Made ready for one model. Lies in the arena of the query. */
struct ebm_refine {
    struct ebm_moves moves;
    uint32_t n_starts, n_candidates; /* n_candidates 0: draws */
    const float *grid; /* (n_candidates, 1) standardised, the same for all rows; NULL: the item's targets */
    bool trajectory;
};

/* One row's answer, in the user's units: of all starts the one that came highest. Arrays in the arena. */
struct ebm_refinement {
    double *mode;                 /* (D) NaN: the network gave no finite number from any start */
    double unnormalized_log_prob; /* f - sum log std at the mode */
    bool converged;
    uint32_t steps;     /* that its start took */
    double *trajectory; /* (steps + 1, D) from the start to the mode; NULL: not asked for */

    struct ebm_ascent raw;
    float *candidates; /* (n_candidates, D) of the item's targets */
};

/* INVALID with where = "model", "initial", "starts", "step_length" or "refine.step_length" and a sentence when the
 * model cannot do what is asked. Memory from `arena`; borrows the query's lengths when there are D. */
enum ebm_status ebm_refine_resolve(const struct ebm_refine_query *query, uint32_t num_samples,
                                   const struct ebm_model *model, struct ebm_arena *arena,
                                   const struct ebm_refine **ret_refine, struct ebm_error *reterr) EBM_MUST_USE;

/* Lays out a row's arrays. NO_MEMORY when they do not fit. */
enum ebm_status ebm_refinement_init(struct ebm_refinement *refinement, const struct ebm_refine *refine, uint32_t D,
                                    struct ebm_arena *arena) EBM_MUST_USE;

/* `targets` (n_candidates, D), user's units; NULL with a grid or draws. Fills task->ascent, n_y, h_y. */
void ebm_refinement_stage(struct ebm_refinement *refinement, const struct ebm_refine *refine,
                          const struct ebm_target_config *target, const double *targets, struct ebm_task *task);

/* What the device left, into the user's units. */
void ebm_refinement_finish(struct ebm_refinement *refinement, const struct ebm_target_config *target);

#endif
