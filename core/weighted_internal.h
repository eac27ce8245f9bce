/* weighted_internal.h - what weighted.c and weighted_circle.c share. Private to core. */
#ifndef EBM_CORE_WEIGHTED_INTERNAL_H
#define EBM_CORE_WEIGHTED_INTERNAL_H

#include "core/weighted.h"

#define EBM_WEIGHTED_LEAST_PAIRS 1e-9 /* below, one draw has all the weight: there is no pair */

double ebm_weighted_value(const struct ebm_weighted *draws, uint32_t i);
/* The first draw whose cumulative weight is >= wanted; the last one if none. */
uint32_t ebm_weighted_reach(const struct ebm_weighted *draws, double wanted);
/* How many draws are <= y. */
uint32_t ebm_weighted_count_up_to(const struct ebm_weighted *draws, double y);

#endif
