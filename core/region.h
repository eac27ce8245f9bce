/* region.h - a highest-density region as it is found from left to right: a bounded number of intervals. Private to
 * core. */
#ifndef EBM_CORE_REGION_H
#define EBM_CORE_REGION_H

#include "core/base.h"

struct ebm_region {
    double *ends; /* (max, 2), the caller's */
    uint32_t max, n;
};

/* Adds [lower, upper], right of all so far; what touches the last interval prolongs it. When there are too many, the
 * two with the smallest gap between them become one. */
void ebm_region_add(struct ebm_region *region, double lower, double upper);

#endif
