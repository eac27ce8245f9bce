/* tails.c - the same network with the range taken away: its table of kinks knows the slopes at infinity, and the exact
 * distribution function on the whole line says what lies beyond the ends of the range. */
#include "trainer/tails.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/device.h"
#include "core/exact.h"
#include "models/estimate.h"

#define ROWS 256u
#define BLOCK 32u /* rows in one call of the device */
#define TABLE_KNOTS 16384u

bool tails_apply(const struct ebm_config *config)
{
    const struct ebm_net_desc *net = &config->net;
    return ebm_exact_applies(net) && net->support[0].kind == EBM_SUPPORT_REAL && isfinite(net->support[0].lower);
}

/* Slopes, in units of the target's std. */
static enum ebm_status find_slopes(const struct ebm_net_desc *line, const float *params, double std,
                                   struct tails *tails, struct ebm_error *reterr)
{
    struct ebm_exact_table *table;
    enum ebm_status status = ebm_exact_table_new(line, params, TABLE_KNOTS, &table, reterr);
    if (status != EBM_OK)
        return status;
    struct ebm_exact_tails found = ebm_exact_tails(table);
    tails->slope[0] = found.slope[0] / std + 0.0; /* no -0 */
    tails->slope[1] = found.slope[1] / std + 0.0;
    tails->is_proper = found.is_proper;
    (void)ebm_exact_table_free(table);
    return EBM_OK;
}

/* A look at `n` training rows. */
struct look {
    const struct ebm_config *config;
    const struct dataset *data;
    uint32_t n;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    float *x;   /* (BLOCK, X) */
    double sum; /* of the mass outside */
};

static enum ebm_status look_at(struct look *look, uint32_t first)
{
    const struct ebm_config *config = look->config;
    const struct dataset *data = look->data;
    uint32_t B = look->n - first < BLOCK ? look->n - first : BLOCK;
    const struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_EXACT};
    const double ends[] = {config->net.support[0].lower, config->net.support[0].upper};
    struct ebm_estimate out[BLOCK];
    struct ebm_task tasks[BLOCK];
    double cdf[BLOCK][2];
    for (uint32_t b = 0; b < B; b++) {
        uint32_t row = data->train[(uint64_t)(first + b) * data->n_train / look->n];
        dataset_standardize(data, row, config->input.mean, config->input.std, look->x + b * (size_t)config->input.size);
        out[b] = (struct ebm_estimate){.cdf = cdf[b]};
        tasks[b] = (struct ebm_task){.row = {.samples = 1}, .spec = &spec, .out = &out[b], .n_at = 2, .h_at = ends};
    }
    enum ebm_status status = ebm_device_cpu()->predict(look->ctx, look->plan, look->x, tasks, B);
    for (uint32_t b = 0; status == EBM_OK && b < B; b++)
        look->sum += out[b].status == EBM_OK ? cdf[b][0] + (1.0 - cdf[b][1]) : (double)NAN;
    return status;
}

static enum ebm_status find_outside(struct look *look, const struct ebm_net_desc *line, const float *params,
                                    struct ebm_error *reterr)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_ctx_limits limits = {.max_rows = BLOCK, .max_samples = 1};
    enum ebm_status status = ops->plan_new(line, params, 0, &look->plan, reterr);
    if (status == EBM_OK)
        status = ops->ctx_new(&limits, &look->ctx, reterr);
    if (status == EBM_OK)
        status = ops->ctx_prepare(look->ctx, look->plan, reterr);
    if (status != EBM_OK)
        return status;
    for (uint32_t first = 0; status == EBM_OK && first < look->n; first += BLOCK)
        status = look_at(look, first);
    return status == EBM_OK ? EBM_OK : ebm_error_set(reterr, status, "device", "the tails cannot be computed");
}

static enum ebm_status mean_outside(const struct ebm_config *config, const struct ebm_net_desc *line,
                                    const float *params, const struct dataset *data, double *ret_outside,
                                    struct ebm_error *reterr)
{
    struct look look = {.config = config,
                        .data = data,
                        .n = data->n_train < ROWS ? data->n_train : ROWS,
                        .x = calloc((size_t)BLOCK * config->input.size, sizeof(float))};
    enum ebm_status status = look.x != NULL ? find_outside(&look, line, params, reterr)
                                            : ebm_error_set(reterr, EBM_NO_MEMORY, "train", "no memory");
    (void)ebm_device_cpu()->ctx_free(look.ctx);
    (void)ebm_device_cpu()->plan_unref(look.plan);
    free(look.x);
    *ret_outside = look.sum / look.n;
    return status;
}

enum ebm_status tails_find(const struct ebm_config *config, const float *params, const struct dataset *data,
                           struct tails *ret_tails, struct ebm_error *reterr)
{
    const struct ebm_support whole = {EBM_SUPPORT_REAL, -INFINITY, INFINITY};
    struct ebm_net_desc line = config->net;
    struct tails tails = {.outside = NAN};
    line.support = &whole;
    enum ebm_status status = find_slopes(&line, params, config->target.std[0], &tails, reterr);
    if (status == EBM_OK && tails.is_proper)
        status = mean_outside(config, &line, params, data, &tails.outside, reterr);
    if (status == EBM_OK)
        *ret_tails = tails;
    return status;
}

void tails_print(const struct ebm_config *config, const struct tails *tails)
{
    const struct ebm_target_config *target = &config->target;
    (void)printf("beyond [%.6g, %.6g], which log Z is taken over, f has slope %.3g below and %.3g above: ",
                 target->lower[0], target->upper[0], tails->slope[0], tails->slope[1]);
    if (tails->is_proper)
        (void)printf("it falls on both sides, with %.1e of the mass outside\n", tails->outside);
    else
        (void)printf("it does not fall %s, so the density is one on that range alone (answers say proper: false)\n",
                     tails->slope[0] > 0.0   ? "above"
                     : tails->slope[1] < 0.0 ? "below"
                                             : "on either side");
}
