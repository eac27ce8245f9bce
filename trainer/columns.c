/* columns.c - the model's names, or the file's in their order, become a data set without a split.
 *
 * A model knows names when it was trained by this program. For one from elsewhere, a file with exactly as many columns
 * as inputs (and targets) is taken column by column; any other file is an error that says how many were expected. */
#include "trainer/columns.h"

#include <stdio.h>

static enum ebm_status load_in_order(const struct ebm_config *config, const char *path, uint32_t D, bool drop_missing,
                                     struct dataset **ret_data, struct ebm_error *reterr)
{
    EBM_AUTO(csv_freep) struct csv *csv = NULL;
    char *const *names;
    uint32_t X = config->input.size;
    enum ebm_status status = csv_open(path, &csv, reterr);
    if (status != EBM_OK)
        return status;
    uint32_t n = csv_names(csv, &names);
    if (n != X + D && (D > 0 || n < X))
        return ebm_error_set(reterr, EBM_INVALID, path,
                             "%u columns; the model has no names for its columns and takes %u inputs%s, in this order",
                             n, X, D > 0 ? " and its targets" : "");
    return dataset_load_columns(path, names, X, names + X, D, drop_missing, ret_data, reterr);
}

enum ebm_status columns_load(const struct ebm_config *config, const char *path, bool with_targets, bool drop_missing,
                             struct dataset **ret_data, struct ebm_error *reterr)
{
    uint32_t D = with_targets ? config->target.dim : 0;
    if (config->input.names == NULL || (with_targets && config->target.names == NULL))
        return load_in_order(config, path, D, drop_missing, ret_data, reterr);
    return dataset_load_columns(path, config->input.names, config->input.size, config->target.names, D, drop_missing,
                                ret_data, reterr);
}
