/* score.h - how well a model tells the targets of known rows, row by row: log p(y|x), and what it said of each target:
 * mean, spread, intervals, and where in its distribution the true target lies. */
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
        *jitter;            /* rows that it moves are scored by the mean density of their bin; may be NULL */
    uint32_t samples;       /* draws a row, where it is by draws; rounded up as Sobol points are */
    enum ebm_choice choice; /* of the estimator */
    bool integrates_all;    /* a density without an integral is integrated as far as its range goes, never answered by
                             * draws, which would flatter it: figures of different weights compare */
    uint64_t seed;
};

/* How densities of this network are normalised where nothing else is asked for: by integration where there is one
 * target, by draws where there are several. */
enum ebm_estimator score_estimator(const struct ebm_net_desc *net);
/* Is there a way at all? Not with several targets and no proposal. */
bool score_is_possible(const struct ebm_net_desc *net);
/* The estimator that rows of this spec are scored by. */
enum ebm_estimator score_chosen(const struct score_spec *spec);

/* Most targets that one row is scored at: contexts need max_samples of max(this, samples). */
#define SCORE_TARGETS 64u

/* Equal-tailed intervals that are looked at: the middle 50, 80, 90 and 95 %. */
#define SCORE_LEVELS 4u
extern const double score_levels[SCORE_LEVELS];

/* What is known of one target of one row afterwards, in the target's unit. */
struct score_target {
    double mean, std;
    double mode; /* NaN: the estimator gives none */
    double crps; /* of this target alone */
    /* F(y), the distribution function at the true target (of an angle from opposite the mean on): uniform on [0, 1]
     * over the rows of a calibrated model. Where
     * the target is known to a bin only, a point between F at its ends, drawn by (seed, row): F at any fixed point of
     * the bin would not be uniform even for the true distribution. */
    double pit;
    double lower[SCORE_LEVELS], upper[SCORE_LEVELS]; /* ends of the intervals; lower > upper: over a period's seam */
};

/* The caller gives the arrays. targets and doubts: both or none. */
struct score_rows {
    double *nll;                  /* (n) -log p(y|x), NaN when the network gave no finite number; always wanted */
    struct score_target *targets; /* (n, D) */
    const char **doubts;          /* (n) why the row's answer is not reliable: static words, or NULL */
};

/* Rows `rows` (n) of data. DEVICE when the device refuses. */
enum ebm_status score_rows(struct pool *pool, const struct score_spec *spec, const struct dataset *data,
                           const uint32_t *rows, uint32_t n, const struct score_rows *out) EBM_MUST_USE;

/* The targets at which a row is scored, standardised, into ret_y (SCORE_TARGETS or D): its own; or, where the jitter
 * moves y, midpoints of its bin, whose densities are to be averaged. Returns how many. */
uint32_t score_points(const struct score_spec *spec, const double *y, float *ret_y);
/* log of the mean of exp of n >= 1 numbers. */
double score_log_mean_exp(const float *values, uint32_t n);

/* Mean of n numbers in order, and the standard error of that mean. */
void score_mean(const double *values, uint32_t n, double *ret_mean, double *ret_std_error);

#endif
