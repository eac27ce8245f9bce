/* generate.h - synthetic data with a known truth. */
#ifndef EBM_TRAINER_GENERATE_H
#define EBM_TRAINER_GENERATE_H

#include "trainer/args.h"

/* toy1 (arXiv 2110.11948): x uniform on [-3, 3]; x < 0: y ~ 0.8 N(sin x, 0.075^2) + 0.2 N(-sin x, 0.075^2);
 *       x >= 0: log(y + 1) ~ N(0, 0.25^2).
 * toy2 (the same; Brando et al. 2019): x one of i / 3799, i = 0 .. 3799; four stretches of i:
 *       i < 800: y = 0.5 + 5 Beta(0.5, 1);  i < 1800: y ~ N(m, (m / 4)^2), m = 3 cos t - 2, t from 0 to 5;
 *       i < 2300: y uniform, its ends from (-2, -0.5) to (-4.5, 9);  else one of U(8, 8.5), U(1, 4), U(-4.5, -3).
 * set2 (arXiv 2005.01698): x uniform on [-3, 3]; y ~ N(sin x, (0.15 / (1 + exp(-x)))^2). */
struct generate_set {
    const char *name;
    /* Row `row` drawn by `seed`. */
    void (*row)(uint64_t seed, uint32_t row, double *ret_x, double *ret_y);
    /* Its density. */
    double (*density)(double x, double y);
};

/* NULL when there is none of that name. Borrow: static. */
const struct generate_set *generate_find(const char *name);

double generate_toy1_density(double x, double y);

enum ebm_status generate_command(const struct args *args, struct ebm_error *reterr);

#endif
