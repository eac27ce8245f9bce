/* device_answers.c - lays out what the device is asked about a row's draws, and reads what it says.
 *
 * An answer of a plain prediction is some hundred bytes, its draws are some thousand. Where a task asks for more than
 * sums, quantiles and a few draws (all draws, smoothed weights, draws until there are enough, a region, a distribution
 * function, a period), the draws come back and the CPU answers, as it does for every other device. */
#include "core/cuda/device_answers.h"

#include <math.h>

#include "core/psis.h"

_Static_assert(EBM_GPU_PARTS == EBM_SOBOL_PARTS, "parts of both sides");
_Static_assert(EBM_GPU_MAX_PROBABILITIES == EBM_MAX_PROBABILITIES, "probabilities of both sides");
_Static_assert((int)EBM_GPU_MEAN == (int)EBM_SUM_MEAN && (int)EBM_GPU_VARIANCE == (int)EBM_SUM_VARIANCE &&
                   (int)EBM_GPU_SQUARED_ERROR == (int)EBM_SUM_SQUARED_ERROR && (int)EBM_GPU_MODE == (int)EBM_SUM_MODE &&
                   (int)EBM_GPU_PART_MOMENTS == (int)EBM_SUM_PARTS && (int)EBM_GPU_SUMS == (int)EBM_SUMS,
               "sums of both sides");
_Static_assert(EBM_GPU_TILE / 4 == 32, "as ebm_gpu_answer_room counts");

/* ---- questions ---- */

static uint32_t take(uint32_t *end, size_t count)
{
    uint32_t at = *end;
    *end += (uint32_t)count;
    return at;
}

static size_t doubles(size_t floats)
{
    return (floats + 1) / 2;
}

/* Its places from `from` on; returns where they end. Number 0 of a slot stays unused. */
static uint32_t lay(struct ebm_gpu_question *q, const struct ebm_task *task, uint32_t D, uint32_t samples,
                    uint32_t from)
{
    const struct ebm_estimate_spec *spec = task->spec;
    const struct ebm_estimate *out = task->out;
    uint32_t end = from > 0 ? from : 1;
    *q = (struct ebm_gpu_question){.seed = task->row.seed,
                                   .row_in_request = task->row.row_in_request,
                                   .M = samples,
                                   .has_parts = spec->scheme == EBM_SCHEME_SOBOL,
                                   .most_tail = samples >= EBM_PSIS_MIN_DRAWS ? ebm_psis_tail(samples) : 0,
                                   .n_draws = spec->draws == EBM_DRAWS_FAIR ? spec->n_draws : 0,
                                   .n_probabilities = out->quantiles != NULL ? spec->n_probabilities : 0};
    q->head = take(&end, EBM_GPU_HEAD);
    q->coordinates = take(&end, (size_t)D * EBM_GPU_SUMS);
    q->covariance = out->covariance != NULL ? take(&end, (size_t)D * D) : 0;
    q->quantiles = take(&end, (size_t)q->n_probabilities * D);
    q->tail = take(&end, doubles(q->most_tail));
    q->draws = take(&end, doubles((size_t)q->n_draws * D));
    return end;
}

static bool is_periodic(const struct ebm_plan *plan)
{
    for (uint32_t d = 0; d < plan->net.D; d++)
        if (plan->support[d].kind == EBM_SUPPORT_PERIODIC)
            return true;
    return false;
}

static bool asks_more(const struct ebm_task *task)
{
    const struct ebm_estimate_spec *spec = task->spec;
    const struct ebm_estimate *out = task->out;
    return spec->draws == EBM_DRAWS_WEIGHTED || spec->smooth_weights || spec->target_ess > 0.0 ||
           spec->langevin != NULL || (out->region != NULL && spec->region_level > 0.0) ||
           (task->n_at > 0 && (out->cdf != NULL || out->crps != NULL));
}

bool cuda_can_answer(const struct ebm_plan *plan, const struct ebm_task *task, uint32_t samples)
{
    uint32_t D = plan->net.D, tiles = (samples + EBM_GPU_TILE - 1) / EBM_GPU_TILE;
    struct ebm_gpu_question q;
    if (asks_more(task) || is_periodic(plan) || (size_t)task->spec->n_draws * D > (size_t)samples * (D + 2))
        return false;
    return lay(&q, task, D, samples, 0) <= ebm_gpu_answer_room(tiles, D);
}

void cuda_ask(struct ebm_gpu_slot *slot, struct ebm_gpu_load *load, uint32_t D, const struct ebm_task *task,
              uint32_t samples, uint32_t first_tile)
{
    struct ebm_gpu_question *q = &slot->questions[load->n_questions++];
    load->n_answers = lay(q, task, D, samples, load->n_answers);
    q->first_tile = first_tile;
    q->probability = load->n_probabilities;
    for (uint32_t i = 0; i < q->n_probabilities; i++)
        slot->probabilities[load->n_probabilities++] = task->spec->probabilities[i];
}

/* ---- answers ---- */

struct ebm_row_sums cuda_answer(const struct ebm_gpu_slot *slot, uint32_t i)
{
    const struct ebm_gpu_question *q = &slot->questions[i];
    const double *head = slot->answers + q->head;
    struct ebm_row_sums sums = {.max = head[EBM_GPU_MAX]};
    if (isnan(sums.max))
        return sums;
    sums.sum = head[EBM_GPU_SUM];
    sums.squares = head[EBM_GPU_SQUARES];
    sums.energy = head[EBM_GPU_ENERGY];
    sums.parts = head + EBM_GPU_PART_SUMS;
    sums.coordinates = slot->answers + q->coordinates;
    sums.covariance = slot->answers + q->covariance;
    sums.quantiles = slot->answers + q->quantiles;
    sums.tail = (const float *)(const void *)(slot->answers + q->tail);
    sums.draws = (const float *)(const void *)(slot->answers + q->draws);
    sums.n_tail = (uint32_t)head[EBM_GPU_N_TAIL];
    sums.cutoff = (float)head[EBM_GPU_CUTOFF];
    return sums;
}
