/* target.c - units of targets. All of it is core/support.h in the user's units, where numbers are doubles: an angle of
 * a million turns, or a target a rounding beyond its bound, would be lost as a standardised float. */
#include "models/target.h"

#include <math.h>

#include "core/circle.h"
#include "core/support.h"

static struct ebm_support support_of(const struct ebm_target_config *target, uint32_t d)
{
    return target->lower != NULL ? (struct ebm_support){target->support[d], target->lower[d], target->upper[d]}
                                 : (struct ebm_support){EBM_SUPPORT_REAL, -INFINITY, INFINITY};
}

void ebm_target_standardize(const struct ebm_target_config *target, const double *y, float *ret_y)
{
    for (uint32_t d = 0; d < target->dim; d++) {
        bool is_periodic = target->support[d] == EBM_SUPPORT_PERIODIC;
        double inside = is_periodic ? ebm_target_return(target, d, y[d]) : y[d];
        ret_y[d] = (float)((inside - target->mean[d]) / target->std[d]);
    }
}

double ebm_target_unit(const struct ebm_target_config *target, uint32_t d, double y)
{
    double value = y * target->std[d] + target->mean[d];
    if (target->support[d] == EBM_SUPPORT_REAL || isnan(value))
        return value;
    return fmin(fmax(value, target->lower[d]), target->upper[d]);
}

uint32_t ebm_target_outside(const struct ebm_target_config *target, const double *y)
{
    uint32_t d = 0;
    for (struct ebm_support support; d < target->dim; d++) {
        support = support_of(target, d);
        if (!ebm_support_holds(&support, y[d]))
            break;
    }
    return d;
}

double ebm_target_return(const struct ebm_target_config *target, uint32_t d, double y)
{
    struct ebm_support support = support_of(target, d);
    return ebm_support_return(&support, y);
}

double ebm_target_period(const struct ebm_target_config *target, uint32_t d)
{
    return target->support[d] == EBM_SUPPORT_PERIODIC ? target->upper[d] - target->lower[d] : 0.0;
}

double ebm_target_way(const struct ebm_target_config *target, uint32_t d, double from, double to)
{
    double period = ebm_target_period(target, d);
    return period > 0.0 ? ebm_circular_way(from, to, period) : to - from;
}

double ebm_target_rise(const struct ebm_target_config *target, uint32_t d, double from, double to)
{
    double period = ebm_target_period(target, d);
    return period > 0.0 && to < from ? to - from + period : to - from;
}
