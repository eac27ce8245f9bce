/* score.h - how well a model tells the targets of known rows, row by row: log p(y|x), predicted mean, CRPS, and whether
 * intervals hold the target. */
#ifndef EBM_TRAINER_SCORE_H
#define EBM_TRAINER_SCORE_H

#include "models/estimate.h"
#include "trainer/dataset.h"
#include "trainer/pool.h"

#define SCORE_ROWS 16u /* rows of one task, and the least max_rows of a pool's contexts */

struct score_spec {
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    const struct ebm_config *config; /* units */
    const struct dataset_jitter
        *jitter;      /* rows that it moves are scored by the mean density of their bin; may be NULL */
    uint32_t samples; /* draws a row for log Z and the mean */
    uint64_t seed;
};

/* Most targets that one row is scored at: contexts need max_samples of max(this, samples). */
#define SCORE_TARGETS 64u

/* Equal-tailed intervals that are looked at: the middle 50 % and 90 %. */
#define SCORE_INTERVALS 2u
extern const double score_levels[SCORE_INTERVALS];

/* What is known of the rows afterwards, in the target's unit; the caller gives the arrays, NULL where it wants none. */
struct score_rows {
    double *nll;     /* (n) -log p(y|x), NaN when the network gave no finite number; always wanted */
    double *mean;    /* (n, D) */
    double *crps;    /* (n, D) of each target alone; wants inside as well */
    uint8_t *inside; /* (n, D, SCORE_INTERVALS) 1: the interval holds the target; wants crps as well */
};

/* Rows `rows` (n) of data. DEVICE when the device refuses. */
enum ebm_status score_rows(struct pool *pool, const struct score_spec *spec, const struct dataset *data,
                           const uint32_t *rows, uint32_t n, const struct score_rows *out) EBM_MUST_USE;

/* Mean of n numbers in order, and the standard error of that mean. */
void score_mean(const double *values, uint32_t n, double *ret_mean, double *ret_std_error);

#endif
