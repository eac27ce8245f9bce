/* crps.h - the continuous ranked probability score of a weighted sample. */
#ifndef EBM_TRAINER_CRPS_H
#define EBM_TRAINER_CRPS_H

#include "core/base.h"

struct crps_draw {
    double y, weight; /* weight >= 0; of all draws together 1 */
};

/* Of n draws at the true target y, in y's unit: E|Y - y| - E|Y - Y'| / 2, the smaller the better. Sorts `draws`. */
double crps_of_draws(struct crps_draw *draws, uint32_t n, double y);

#endif
