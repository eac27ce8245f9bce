/* device_ensemble.c - several networks of one shape that answer as one: the density is the mean of the members'.
 *
 *   plan      one plan a member; the ensemble's own has no parameters
 *   x side    row b of member i lies at i * max_rows + b
 *   proposal  the mixture of all members' components, each member's weights divided by their number: its draws and
 *             densities, and all answers of a plain mixture, are those of a single one with more components
 *   energy    f_i of every member at the same draws -> log Z_i of each ->
 *
 *                 f = log mean_i exp(f_i - log Z_i)
 *
 *             which is normalised by itself, up to the error of the log Z_i: log Z is about 0
 *
 * A scalar target: log Z_i of each member, exact where its f is piecewise linear, else by panels; then panels of f.
 *
 * While a member computes, ctx->plan and ctx->b are the member's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_internal.h"

#define NO_MASS (-36.0) /* log density, standardised: kinks below it need no panel */

/* ---- the plan ---- */

enum ebm_status ebm_ensemble_plan(struct ebm_plan *plan, const struct ebm_kernels *kernels,
                                  const struct ebm_device_ops *ops, const struct ebm_net_desc *net,
                                  const float *h_params, struct ebm_error *reterr)
{
    struct ebm_net_desc one = *net;
    enum ebm_status status = EBM_OK;
    one.members = 1;
    if ((uint64_t)net->K * net->members > LIMIT_COMPONENTS)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "members", "%u members of %u components are more than %u together",
                             net->members, net->K, LIMIT_COMPONENTS);
    plan->members = calloc(net->members, sizeof(struct ebm_plan *));
    if (plan->members == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "plan", "no memory");
    for (uint32_t i = 0; i < net->members && status == EBM_OK; i++) {
        status = ebm_plan_new_with(kernels, ops, &one, h_params + i * net->n_params, 0, &plan->members[i], reterr);
        plan->n_members += status == EBM_OK;
    }
    plan->net.K = net->K * net->members;
    return status;
}

/* ---- x side ---- */

uint32_t ebm_ensemble_row(const struct ebm_ctx *ctx, uint32_t i, uint32_t b)
{
    return i * ctx->limits.max_rows + b;
}

/* Component k of member i becomes number i K + k. */
struct ebm_row_mixture ebm_ensemble_mixture(struct ebm_ctx *ctx, uint32_t b)
{
    uint32_t n = ctx->plan->n_members, D = ctx->plan->net.D, all = ctx->plan->net.K, K = all / n;
    float *mean = ctx->joined.p, *log_variance = mean + (size_t)D * all, *log_weight = log_variance + (size_t)D * all;
    for (uint32_t i = 0; i < n; i++) {
        size_t row = ebm_ensemble_row(ctx, i, b);
        for (uint32_t d = 0; d < D; d++) {
            size_t from = (row * D + d) * K, to = (size_t)d * all + i * K;
            memcpy(mean + to, ctx->mean.p + from, K * sizeof *mean);
            memcpy(log_variance + to, ctx->log_variance.p + from, K * sizeof *mean);
        }
        for (uint32_t k = 0; k < K; k++)
            log_weight[i * K + k] = (float)((double)ctx->log_weight.p[row * K + k] - log(n));
    }
    return (struct ebm_row_mixture){mean, log_variance, log_weight};
}

/* ---- energies ---- */

/* As if the member alone were asked. */
static void enter_member(struct ebm_ctx *ctx, const struct ebm_plan *ensemble, uint32_t i, uint32_t b)
{
    ctx->plan = ensemble->members[i];
    ctx->b = ebm_ensemble_row(ctx, i, b);
}

void ebm_ensemble_score_lanes(struct ebm_ctx *ctx, size_t at, uint32_t lanes)
{
    const struct ebm_plan *ensemble = ctx->plan;
    uint32_t b = ctx->b;
    for (uint32_t i = 0; i < ensemble->n_members; i++) {
        enter_member(ctx, ensemble, i, b);
        for (uint32_t d = 0; d < ensemble->net.D; d++)
            memcpy(ctx->tile_y.p + (size_t)d * lanes, ctx->y.p + d * ctx->stride + at, lanes * sizeof(float));
        const float *f = ebm_row_run_lanes(ctx, lanes, NULL, NULL, NULL);
        memcpy(ctx->member_f.p + i * ctx->stride + at, f, lanes * sizeof *f);
    }
    ctx->plan = ensemble;
    ctx->b = b;
}

void ebm_ensemble_settle(struct ebm_ctx *ctx)
{
    uint32_t padded = (uint32_t)ebm_round_up(ctx->M, EBM_LANES);
    for (uint32_t i = 0; i < ctx->plan->n_members; i++) {
        const float *f = ctx->member_f.p + i * ctx->stride;
        double max, sum, squares;
        for (uint32_t m = 0; m < padded; m++)
            ctx->s.p[m] = m < ctx->M ? f[m] - ctx->log_q.p[m] : -INFINITY;
        ctx->kernels->softmax(ctx->w.p, ctx->s.p, padded, &max, &sum, &squares);
        ctx->member_log_z[i] = max + log(sum) - log((double)ctx->M);
    }
    ebm_ensemble_blend(ctx);
}

double ebm_ensemble_log_mean(const double *values, uint32_t n)
{
    double max = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        max = values[i] > max || isnan(values[i]) ? values[i] : max;
    if (!isfinite(max))
        return max;
    for (uint32_t i = 0; i < n; i++)
        sum += exp(values[i] - max);
    return max + log(sum / n);
}

void ebm_ensemble_blend(struct ebm_ctx *ctx)
{
    double values[LIMIT_MEMBERS];
    uint32_t n = ctx->plan->n_members;
    for (uint32_t m = 0; m < ctx->M; m++) {
        for (uint32_t i = 0; i < n; i++)
            values[i] = (double)ctx->member_f.p[i * ctx->stride + m] - ctx->member_log_z[i];
        ctx->f.p[m] = (float)ebm_ensemble_log_mean(values, n);
    }
}

/* ---- scalar targets ---- */

enum ebm_status ebm_ensemble_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan)
{
    enum ebm_status status = EBM_OK;
    bool has_table = false;
    for (uint32_t i = 0; i < plan->n_members && status == EBM_OK; i++) {
        status = ebm_scalar_prepare(ctx, plan->members[i]);
        has_table = has_table || plan->members[i]->exact != NULL;
    }
    if (status != EBM_OK || !has_table || plan->n_members <= ctx->n_lines)
        return status;
    free(ctx->lines);
    ctx->lines = calloc(plan->n_members, sizeof *ctx->lines);
    ctx->n_lines = ctx->lines != NULL ? plan->n_members : 0;
    return ctx->lines != NULL ? EBM_OK : EBM_NO_MEMORY;
}

static double line_at(const struct ebm_line *line, double y)
{
    uint32_t low = 0, high = line->n - 1;
    if (y <= line->y[0])
        return line->f[0] + line->left * (y - line->y[0]);
    if (y >= line->y[high])
        return line->f[high] + line->right * (y - line->y[high]);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (line->y[middle] <= y)
            low = middle;
        else
            high = middle;
    }
    double t = (y - line->y[low]) / (line->y[high] - line->y[low]);
    return line->f[low] + t * (line->f[high] - line->f[low]);
}

/* f_i of member i at y (n). */
static void member_f_at(struct ebm_ctx *ctx, const struct ebm_plan *ensemble, uint32_t i, uint32_t b, const double *y,
                        uint32_t n, double *ret_f)
{
    if (ctx->n_lines > i && ctx->lines[i].n > 0) {
        for (uint32_t p = 0; p < n; p++)
            ret_f[p] = line_at(&ctx->lines[i], y[p]);
        return;
    }
    enter_member(ctx, ensemble, i, b);
    ebm_scalar_f(ctx, y, n, ret_f);
}

static bool blended_f(void *user, const double *y, uint32_t n, double *ret_f)
{
    struct ebm_ctx *ctx = user;
    const struct ebm_plan *ensemble = ctx->plan;
    double f[LIMIT_MEMBERS][EBM_QUADRATURE_POINTS], values[LIMIT_MEMBERS];
    uint32_t b = ctx->b;
    for (uint32_t i = 0; i < ensemble->n_members; i++)
        member_f_at(ctx, ensemble, i, b, y, n, f[i]);
    ctx->plan = ensemble;
    ctx->b = b;
    for (uint32_t p = 0; p < n; p++) {
        for (uint32_t i = 0; i < ensemble->n_members; i++)
            values[i] = f[i][p] - ctx->member_log_z[i];
        ret_f[p] = ebm_ensemble_log_mean(values, ensemble->n_members);
    }
    return ctx->task == NULL || ebm_task_is_wanted(ctx->task);
}

/* By the table of the member's kinks: f as a line, log Z. TOO_LARGE: there is none, the row has too many, or no
 * integral. */
static enum ebm_status bind_line(struct ebm_ctx *ctx, uint32_t i, bool *ret_proper)
{
    const struct ebm_plan *plan = ctx->plan;
    const struct ebm_exact_table *table = ebm_plan_exact(plan);
    struct ebm_pieces *pieces = NULL;
    if (ctx->n_lines <= i)
        return EBM_TOO_LARGE;
    struct ebm_line *line = &ctx->lines[i];
    line->n = 0;
    enum ebm_status status = table == NULL
                                 ? EBM_TOO_LARGE
                                 : ebm_exact_bind_pieces(table, ctx->hx.p + (size_t)ctx->b * plan->energy_out,
                                                         ctx->h.p + (size_t)ctx->b * plan->net.H, ctx->exact, &pieces);
    if (status != EBM_OK)
        return status;
    if (!isfinite(pieces->log_z))
        return EBM_TOO_LARGE; /* no integral on the whole line: panels say how far they went, as for a single network */
    line->n = pieces->n;
    line->left = pieces->is_open[EBM_LEFT] ? pieces->slope[EBM_LEFT] : 0.0;
    line->right = pieces->is_open[EBM_RIGHT] ? pieces->slope[EBM_RIGHT] : 0.0;
    memcpy(line->y, pieces->y, pieces->n * sizeof *line->y);
    memcpy(line->f, pieces->f, pieces->n * sizeof *line->f);
    ctx->member_log_z[i] = pieces->log_z;
    *ret_proper = pieces->is_proper;
    return EBM_OK;
}

/* log Z of member i, whose plan and row the context has. */
static enum ebm_status bind_member(struct ebm_ctx *ctx, uint32_t i, bool *ret_proper)
{
    struct ebm_scalar_summary summary;
    enum ebm_status status = bind_line(ctx, i, ret_proper);
    if (status != EBM_TOO_LARGE)
        return status;
    status = ebm_scalar_bind_quadrature(ctx);
    if (status != EBM_OK)
        return status;
    ebm_panels_ops.summary(&ctx->panels, &summary);
    ctx->member_log_z[i] = summary.log_z;
    *ret_proper = summary.proper;
    return EBM_OK;
}

/* Kinks where a member has mass: there the panels end. Of too many every second, third, ... */
static uint32_t kinks(const struct ebm_ctx *ctx, double ret_splits[EBM_SCALAR_SPLITS])
{
    uint32_t n_members = ctx->n_lines < ctx->plan->n_members ? ctx->n_lines : ctx->plan->n_members, total = 0, n = 0;
    for (int pass = 0; pass < 2; pass++) {
        uint32_t each = total / EBM_SCALAR_SPLITS + 1, seen = 0;
        for (uint32_t i = 0; i < n_members; i++)
            for (uint32_t k = 0; k < ctx->lines[i].n; k++) {
                if (ctx->lines[i].f[k] - ctx->member_log_z[i] < NO_MASS)
                    continue;
                if (pass == 1 && seen % each == 0)
                    ret_splits[n++] = ctx->lines[i].y[k];
                seen++;
            }
        total = seen;
    }
    return n;
}

enum ebm_status ebm_ensemble_bind(struct ebm_ctx *ctx)
{
    const struct ebm_plan *ensemble = ctx->plan;
    double splits[EBM_SCALAR_SPLITS];
    uint32_t b = ctx->b;
    bool has_density = ctx->has_density, proper = true;
    enum ebm_status status = EBM_OK;
    ctx->has_density = false; /* the splits of the joined mixture are not those of a member */
    for (uint32_t i = 0; i < ensemble->n_members && status == EBM_OK; i++) {
        bool is_proper = true;
        enter_member(ctx, ensemble, i, b);
        status = bind_member(ctx, i, &is_proper);
        proper = proper && is_proper;
    }
    ctx->plan = ensemble;
    ctx->b = b;
    ctx->has_density = has_density;
    if (status == EBM_OK)
        status = ebm_scalar_bind_fn(ctx, blended_f, splits, kinks(ctx, splits));
    ctx->panels.proper = ctx->panels.proper && proper;
    return status;
}
