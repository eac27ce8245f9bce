/* target.h - a target between the user's units and what networks see: standardised, wrapped by its period, within its
 * bounds. Pure; any thread. Shapes: D numbers. */
#ifndef EBM_MODELS_TARGET_H
#define EBM_MODELS_TARGET_H

#include "models/config.h"

/* y (D) -> (y - mean) / std (D); periodic dimensions are wrapped into [lower, upper) first, in double. */
void ebm_target_standardize(const struct ebm_target_config *target, const double *y, float *ret_y);
/* Dimension d of something standardised -> the user's units, never beyond the bounds by a rounding. */
double ebm_target_unit(const struct ebm_target_config *target, uint32_t d, double y);

/* The first dimension whose bounds do not hold y (D), D when there is none: then a density is there. */
uint32_t ebm_target_outside(const struct ebm_target_config *target, const double *y);
/* Dimension d of a target moved into its support: wrapped, reflected at bounds, or as it is. */
double ebm_target_return(const struct ebm_target_config *target, uint32_t d, double y);
/* The period of dimension d; 0: none. */
double ebm_target_period(const struct ebm_target_config *target, uint32_t d);
/* From `from` to `to` of dimension d: by the shorter way round where it has a period, and then signed. */
double ebm_target_way(const struct ebm_target_config *target, uint32_t d, double from, double to);
/* The same upwards: with a period in [0, period), over the seam where `to` lies below. */
double ebm_target_rise(const struct ebm_target_config *target, uint32_t d, double from, double to);

#endif
