/* bounds.c - every row, whatever its role: out of bounds is an error, an angle is brought into its period. A model
 * gives no density outside, so such a row could be neither trained on nor scored. The same of images that training
 * mirrors. */
#include "trainer/bounds.h"

#include <stdio.h>

#include "models/target.h"

static enum ebm_status outside(const struct dataset *data, const struct ebm_target_config *target, uint32_t row,
                               uint32_t d, const char *path, struct ebm_error *reterr)
{
    char where[sizeof reterr->where];
    (void)snprintf(where, sizeof where, "%.60s, data row %u", path, data->numbers[row] + 1);
    return ebm_error_set(reterr, EBM_INVALID, where,
                         "'%.64s' is %.9g, outside of the target's bounds, %.9g to %.9g. Widen target.lower and "
                         "target.upper, or leave the row out",
                         data->target_names[d], data->y[(size_t)row * data->D + d], target->lower[d], target->upper[d]);
}

enum ebm_status bounds_apply(struct dataset *data, const struct ebm_target_config *target, const char *path,
                             struct ebm_error *reterr)
{
    EBM_ASSERT(data->D == target->dim);
    for (uint32_t row = 0; row < data->n_rows; row++) {
        double *y = data->y + (size_t)row * data->D;
        uint32_t d = ebm_target_outside(target, y);
        if (d < data->D)
            return outside(data, target, row, d, path, reterr);
        for (d = 0; d < data->D; d++)
            if (target->support[d] == EBM_SUPPORT_PERIODIC)
                y[d] = ebm_target_return(target, d, y[d]);
    }
    for (uint32_t d = 0; data->target_mean != NULL && d < data->D; d++)
        if (target->support[d] == EBM_SUPPORT_PERIODIC)
            dataset_measure_target(data, d);
    return EBM_OK;
}

enum ebm_status bounds_check_mirrored(const struct dataset *data, const struct ebm_target_config *target,
                                      const struct augment_options *augment, struct ebm_error *reterr)
{
    for (uint32_t d = 0; target->lower != NULL && d < data->D; d++) {
        if (target->support[d] == EBM_SUPPORT_PERIODIC || !augment_negates(augment, data->target_names[d]))
            continue;
        for (uint32_t i = 0; i < data->n_train; i++) {
            double y = -data->y[(size_t)data->train[i] * data->D + d];
            if (y < target->lower[d] || y > target->upper[d])
                return ebm_error_set(reterr, EBM_INVALID, "data.augment.negate",
                                     "data row %u, mirrored, has %.9g for '%.64s', outside of %.9g to %.9g. Widen "
                                     "target.lower and target.upper, or leave the name out",
                                     data->numbers[data->train[i]] + 1, y, data->target_names[d], target->lower[d],
                                     target->upper[d]);
        }
    }
    return EBM_OK;
}
