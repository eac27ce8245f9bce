/* range.c - a range that is too wide makes energies hard to fit: at first the mass lies far from the targets, and units
 * die while it moves. One that is too narrow cuts tails off. Between the data and its ends the fit is as free as any
 * likelihood is where there are no data. Measured on one-dimensional sets: half to three quarters of the targets' width
 * on either side serve. */
#include "trainer/range.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDENED 0.7

static bool integrates(const struct options *options)
{
    return strcmp(options->method, "ml_exact") == 0;
}

bool range_choose(const struct options *options, const struct dataset *data, double ret_ends[2])
{
    if (data->D != 1 || (options->n_support == 0 && !integrates(options)))
        return false;
    if (options->n_support > 0) {
        memcpy(ret_ends, options->support, 2 * sizeof *ret_ends);
        return true;
    }
    double lower = INFINITY, upper = -INFINITY;
    for (uint32_t i = 0; i < data->n_train; i++) {
        lower = fmin(lower, data->y[data->train[i]]);
        upper = fmax(upper, data->y[data->train[i]]);
    }
    double width = upper - lower, step = pow(10.0, floor(log10(width)) - 2.0); /* ends of few digits */
    if (!(width > 0.0) || !isfinite(width) || !isnormal(step))
        return false;
    ret_ends[0] = step * floor((lower - WIDENED * width) / step);
    ret_ends[1] = step * ceil((upper + WIDENED * width) / step);
    return isfinite(ret_ends[1] - ret_ends[0]);
}

static enum ebm_status check_said(const struct options *options, const struct ebm_target_config *target,
                                  struct ebm_error *reterr)
{
    if (target->dim != 1)
        return ebm_error_set(reterr, EBM_INVALID, "training.support",
                             "a range to integrate over is for one target, and there are %u: leave it out",
                             target->dim);
    if (target->lower[0] == options->support[0] && target->upper[0] == options->support[1])
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "training.support",
                         "[%g, %g], but model.target.lower and upper are %g and %g: leave one of them out",
                         options->support[0], options->support[1], target->lower[0], target->upper[0]);
}

enum ebm_status range_check(const struct options *options, const struct dataset *data,
                            const struct ebm_target_config *target, struct ebm_error *reterr)
{
    if (options->n_support > 0) {
        enum ebm_status status = check_said(options, target, reterr);
        if (status != EBM_OK)
            return status;
    }
    if (target->dim != 1 || target->support[0] != EBM_SUPPORT_REAL || !integrates(options))
        return EBM_OK;
    for (uint32_t i = 0; target->lower != NULL && i < data->n_train; i++) {
        double y = data->y[data->train[i]];
        if (y >= target->lower[0] && y <= target->upper[0])
            continue;
        char where[sizeof reterr->where];
        (void)snprintf(where, sizeof where, "%.60s, data row %u", options->data.file,
                       data->numbers[data->train[i]] + 1);
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "the target is %.9g, outside of what ml_exact integrates over, [%g, %g]: widen "
                             "training.support (or target.lower and upper), or leave them out",
                             y, target->lower[0], target->upper[0]);
    }
    return EBM_OK;
}
