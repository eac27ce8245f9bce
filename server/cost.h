/* cost.h - what rows of a model cost, in nanoseconds of one thread: measured when the model is made ready, and kept up
 * to date by every batch. It decides which requests are too little to be handed to a worker, and how many rows make a
 * batch. Any thread. */
#ifndef EBM_SERVER_COST_H
#define EBM_SERVER_COST_H

#include <stdatomic.h>

#include "models/estimate.h"

#define COST_ESTIMATORS (EBM_ESTIMATE_QUADRATURE + 1u)

struct cost {
    /* fixed once measured; 0: not measured, or the estimator is none of the model's */
    double row_ns[COST_ESTIMATORS];    /* a row without the numbers that it asks for */
    double number_ns[COST_ESTIMATORS]; /* a draw, or a target, sample, ... that is asked for, each coordinate */
    double batch_ns;                   /* a batch, beside its rows: of the estimator that `auto` is */
    /* how much longer real batches take than the above says, on the average of the last ones */
    _Atomic double factor[COST_ESTIMATORS];
};

void cost_init(struct cost *cost);                          /* nothing measured */
void cost_copy(struct cost *cost, const struct cost *from); /* of the same model */

/* One row of the estimator; 0: not known. */
double cost_of_row(const struct cost *cost, enum ebm_estimator estimator, uint64_t numbers);

/* Rows for which cost_of_row said `expected_ns` together took so long. */
void cost_learn(struct cost *cost, enum ebm_estimator estimator, double expected_ns, double took_ns);

/* Measures, by asking for a few rows: some milliseconds, or a few of the slowest rows. The model is prepared on the
 * engine, whose limits allow max_rows rows. What fails is left unmeasured. */
void cost_measure(struct cost *cost, struct ebm_engine *engine, const struct ebm_model *model,
                  const struct ebm_plan *plan, uint32_t max_rows);

#endif
