/* protocol.h - yardsticks on a grid of targets, as the papers use them: no draws, no proposal needed. */
#ifndef EBM_TRAINER_PROTOCOL_H
#define EBM_TRAINER_PROTOCOL_H

#include "trainer/generate.h"
#include "trainer/score.h"

#define PROTOCOL_KL_POINTS 2048u /* of the KL protocols in x and in y */

/* Evenly spaced targets from lower to upper, both ends among them, in the target's unit. */
struct protocol_grid {
    double lower, upper;
    uint32_t points; /* 2 .. LIMIT_SAMPLES: contexts need max_samples of max(this, SCORE_TARGETS) */
};

/* "LOWER,UPPER,POINTS". INVALID with where = "--grid". */
enum ebm_status protocol_grid_parse(const char *text, struct protocol_grid *ret_grid, struct ebm_error *reterr)
    EBM_MUST_USE;

/* KL(true || model) of a set with known density, one input and one target: both on a grid of 2048 x 2048 points over
 * [-3, 3]^2, normalised to sum 1 over y, 1e-30 added to the truth; mean over x. f in float as the networks give it; exp
 * and sums in double: energies are free up to a constant, and far below 0 a float would underflow. */
enum ebm_status protocol_kl(struct pool *pool, const struct score_spec *spec, const struct generate_set *set,
                            double *ret_kl) EBM_MUST_USE;

/* NLL of every row of data, one target: log( step sum_j exp f(x, y_j) ) - f(x, y), y_j the grid. Rounded targets as
 * in score.h. ret_nll (n_rows); ret_n_outside: rows whose target lies outside of the grid. */
enum ebm_status protocol_grid_nll(struct pool *pool, const struct score_spec *spec, const struct dataset *data,
                                  const struct protocol_grid *grid, double *ret_nll, uint32_t *ret_n_outside)
    EBM_MUST_USE;

#endif
