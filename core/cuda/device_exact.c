/* device_exact.c - the plan's table of kinks for the device, and a batch's exact rows: all of them are asked at once,
 * before the first is answered.
 *
 * Regions, distribution functions, circles, improper integrals, residual first layers, wide deep nets, rows of many
 * knots and all that is no exact answer stay the CPU's. */
#include "core/cuda/device_exact.h"

#include <math.h>

#include "core/exact_internal.h"

_Static_assert(EBM_LEFT == 0 && EBM_RIGHT == 1, "sides as the device has them");

/* ---- the table ---- */

static bool suits(const struct ebm_exact_table *table)
{
    return table != NULL && ebm_gpu_exact_takes(table->n_layers, table->layers[0].is_residual) &&
           table->n < EBM_GPU_EXACT_KNOTS;
}

bool cuda_exact_table(const struct ebm_plan *plan, struct ebm_gpu_exact_table *ret_table)
{
    const struct ebm_exact_table *from = ebm_plan_exact(plan);
    if (!suits(from))
        return false;
    *ret_table = (struct ebm_gpu_exact_table){.n = from->n,
                                              .stride = from->stride,
                                              .widest = from->widest,
                                              .n_layers = from->n_layers,
                                              .is_open = {from->is_open[EBM_LEFT], from->is_open[EBM_RIGHT]},
                                              .slope = {from->tails.slope[EBM_LEFT], from->tails.slope[EBM_RIGHT]},
                                              .y = from->y,
                                              .u = from->u};
    for (uint32_t l = 0; l < from->n_layers; l++) {
        const struct exact_layer *layer = &from->layers[l];
        ret_table->layers[l] = (struct ebm_gpu_exact_layer){
            layer->weight, layer->bias, layer->in, layer->out, layer->out_stride, layer->is_relu, layer->is_residual};
    }
    return true;
}

enum ebm_status cuda_exact_load(const struct ebm_plan *plan, struct ebm_gpu_net *net, struct ebm_error *reterr)
{
    struct ebm_gpu_exact_table table;
    bool is_asked = plan->support[0].kind != EBM_SUPPORT_PERIODIC && (!ebm_plan_is_open(plan) || ebm_plan_falls(plan));
    if (!is_asked || !cuda_exact_table(plan, &table) || !ebm_gpu_exact_fits(table.n_layers, table.widest))
        return EBM_OK;
    return ebm_gpu_exact_load(net, &table, reterr);
}

/* ---- questions ---- */

static bool can_answer(const struct ebm_task *task)
{
    const struct ebm_estimate_spec *spec = task->spec;
    const struct ebm_estimate *out = task->out;
    return task->ascent == NULL && spec->estimator == EBM_ESTIMATE_EXACT && spec->langevin == NULL &&
           !(spec->draws == EBM_DRAWS_FAIR && spec->n_draws > EBM_GPU_EXACT_DRAWS) &&
           !(out->region != NULL && spec->region_level > 0.0) &&
           !(task->n_at > 0 && (out->cdf != NULL || out->crps != NULL));
}

static void put(struct ebm_gpu_exact_rows *rows, const struct ebm_task *task, uint32_t b, uint32_t number,
                uint32_t *n_probabilities, uint32_t *n_answers)
{
    const struct ebm_estimate_spec *spec = task->spec;
    struct ebm_gpu_exact_question *q = &rows->questions[number];
    *q = (struct ebm_gpu_exact_question){.seed = task->row.seed,
                                         .row_in_request = task->row.row_in_request,
                                         .row = b,
                                         .probability = *n_probabilities,
                                         .n_probabilities = task->out->quantiles != NULL ? spec->n_probabilities : 0,
                                         .n_draws = spec->draws == EBM_DRAWS_FAIR ? spec->n_draws : 0,
                                         .head = *n_answers};
    q->quantiles = q->head + EBM_GPU_EXACT_HEAD;
    q->draws = q->quantiles + q->n_probabilities;
    *n_answers = q->draws + (q->n_draws + 1) / 2;
    for (uint32_t i = 0; i < q->n_probabilities; i++)
        rows->probabilities[(*n_probabilities)++] = spec->probabilities[i];
}

bool cuda_exact_ask(struct cuda_exact *exact, struct ebm_gpu_space *space, const struct ebm_gpu_net *net,
                    const struct ebm_task *tasks, uint32_t B)
{
    struct ebm_gpu_exact_rows *rows = B > 0 ? ebm_gpu_exact_rows(space, net) : NULL;
    uint32_t n = 0, n_probabilities = 0, n_answers = 0;
    exact->tasks = tasks;
    exact->is_there = false;
    for (uint32_t b = 0; b < B; b++) {
        exact->question[b] = rows != NULL && can_answer(&tasks[b]) ? n + 1 : 0;
        if (exact->question[b] > 0)
            put(rows, &tasks[b], b, n++, &n_probabilities, &n_answers);
    }
    return n == 0 || ebm_gpu_exact_submit(space, net, n, n_probabilities, n_answers);
}

/* ---- answers ---- */

static struct ebm_scalar_summary summary_of(const struct ebm_plan *plan, const double *head)
{
    const struct ebm_exact_table *table = ebm_plan_exact(plan);
    const bool *is_open = table->is_open;
    return (struct ebm_scalar_summary){
        .log_z = head[EBM_GPU_EXACT_PEAK] + log(head[EBM_GPU_EXACT_TOTAL]),
        .mean = head[EBM_GPU_EXACT_MEAN],
        .variance = head[EBM_GPU_EXACT_VARIANCE],
        .entropy = log(head[EBM_GPU_EXACT_TOTAL]) - head[EBM_GPU_EXACT_F],
        .mode = head[EBM_GPU_EXACT_MODE],
        .pieces = (uint32_t)head[EBM_GPU_EXACT_N] - 1 + is_open[EBM_LEFT] + is_open[EBM_RIGHT],
        .lower = is_open[EBM_LEFT] ? -(double)INFINITY : table->bound[EBM_LEFT],
        .upper = is_open[EBM_RIGHT] ? (double)INFINITY : table->bound[EBM_RIGHT],
        .proper = table->tails.is_proper,
    };
}

enum ebm_status cuda_exact_answer(struct cuda_exact *exact, struct ebm_ctx *ctx, struct ebm_gpu_space *space,
                                  const struct ebm_gpu_net *net, struct ebm_exact_answer *ret_answer)
{
    if (exact->tasks == NULL || ctx->task != &exact->tasks[ctx->b] || exact->question[ctx->b] == 0)
        return EBM_NOT_FOUND;
    if (!exact->is_there && !ebm_gpu_exact_wait(space))
        return EBM_DEVICE;
    exact->is_there = true;
    const struct ebm_gpu_exact_rows *rows = ebm_gpu_exact_rows(space, net);
    const struct ebm_gpu_exact_question *q = &rows->questions[exact->question[ctx->b] - 1];
    const double *head = rows->answers + q->head;
    if (!(head[EBM_GPU_EXACT_N] > 0.0) || !isfinite(head[EBM_GPU_EXACT_TOTAL]))
        return EBM_TOO_LARGE;
    *ret_answer = (struct ebm_exact_answer){.summary = summary_of(ctx->plan, head),
                                            .quantiles = rows->answers + q->quantiles,
                                            .draws = (const float *)(const void *)(rows->answers + q->draws)};
    return EBM_OK;
}
