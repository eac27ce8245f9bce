/* generate.h - synthetic data with a known truth. */
#ifndef EBM_TRAINER_GENERATE_H
#define EBM_TRAINER_GENERATE_H

#include "trainer/args.h"

/* Row `row` of toy 1 drawn by `seed`: x uniform on [-3, 3]; x < 0: y ~ 0.8 N(sin x, 0.075^2) + 0.2 N(-sin x, 0.075^2);
 * x >= 0: log(y + 1) ~ N(0, 0.25^2). */
void generate_toy1(uint64_t seed, uint32_t row, double *ret_x, double *ret_y);
/* Its density. */
double generate_toy1_density(double x, double y);

enum ebm_status generate_command(const struct args *args, struct ebm_error *reterr);

#endif
