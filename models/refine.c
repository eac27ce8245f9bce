/* refine.c - an ascent's way through models/: what the model allows, where to start, the best of all ends.
 *
 *   starts given         they all climb
 *   a proposal           the best `starts` of num_samples draws climb
 *   neither, and D = 1   the same of a grid over the support, which must be finite */
#include "models/refine.h"

#include <math.h>

#include "models/estimate.h"
#include "models/target.h"

static enum ebm_status spread_lengths(const struct ebm_refine_query *query, uint32_t D, struct ebm_arena *arena,
                                      struct ebm_moves *moves, struct ebm_error *reterr)
{
    const char *where = query->method == EBM_REFINE_LANGEVIN ? "refine.step_length" : "step_length";
    if (query->n_lengths != 1 && query->n_lengths != D)
        return ebm_error_set(reterr, EBM_INVALID, where, "expected one number%s, got %u",
                             D > 1 ? " or one for each number of the target" : "", query->n_lengths);
    double *lengths = EBM_ARENA_NEW(arena, double, D);
    if (lengths == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, where, "no memory");
    for (uint32_t d = 0; d < D; d++)
        lengths[d] = query->step_length[query->n_lengths > 1 ? d : 0];
    *moves = (struct ebm_moves){.steps = query->steps, .step_length = lengths, .decay = query->decay};
    return EBM_OK;
}

/* The middles of n equal parts of the support. */
static enum ebm_status lay_grid(struct ebm_refine *refine, const struct ebm_net_desc *net, uint32_t n,
                                struct ebm_arena *arena, struct ebm_error *reterr)
{
    const struct ebm_support *support = net->support;
    if (net->D != 1 || support == NULL || !isfinite(support->lower) || !isfinite(support->upper))
        return ebm_error_set(reterr, EBM_INVALID, "initial",
                             "missing: this model has no proposal to draw starts from%s, so give them",
                             net->D == 1 ? " and no finite support to lay a grid over" : "");
    float *grid = EBM_ARENA_NEW(arena, float, n);
    if (grid == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "num_samples", "no memory for a grid of %u points", n);
    for (uint32_t i = 0; i < n; i++)
        grid[i] = (float)(support->lower + (support->upper - support->lower) * ((i + 0.5) / n));
    refine->grid = grid;
    refine->n_candidates = n;
    return EBM_OK;
}

/* Where an ascent starts. */
static enum ebm_status find_starts(struct ebm_refine *refine, const struct ebm_refine_query *query,
                                   uint32_t num_samples, const struct ebm_net_desc *net, struct ebm_arena *arena,
                                   struct ebm_error *reterr)
{
    refine->n_starts = query->n_initial > 0 ? query->n_initial : query->starts;
    refine->n_candidates = query->n_initial;
    if (query->n_initial > 0)
        return EBM_OK;
    if (query->starts > num_samples)
        return ebm_error_set(reterr, EBM_INVALID, "starts",
                             "%u starts are to be chosen among %u draws: ask for fewer, or for more num_samples",
                             query->starts, num_samples);
    return net->K > 0 ? EBM_OK : lay_grid(refine, net, num_samples, arena, reterr);
}

enum ebm_status ebm_refine_resolve(const struct ebm_refine_query *query, uint32_t num_samples,
                                   const struct ebm_model *model, struct ebm_arena *arena,
                                   const struct ebm_refine **ret_refine, struct ebm_error *reterr)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    bool climbs = query->method == EBM_REFINE_ASCENT;
    if (!net->has_energy)
        return ebm_error_set(reterr, EBM_INVALID, climbs ? "model" : "refine",
                             climbs ? "this model has no energy net to climb on: ask /predict"
                                    : "this model has no energy net: its samples are independent draws as they are");
    if (net->members > 1)
        return ebm_error_set(reterr, EBM_INVALID, climbs ? "model" : "refine",
                             "not available in this version for an ensemble: this model has %u members", net->members);
    struct ebm_refine *refine = EBM_ARENA_NEW(arena, struct ebm_refine, 1);
    if (refine == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "refine", "no memory");
    *refine = (struct ebm_refine){.trajectory = query->trajectory};
    enum ebm_status status = spread_lengths(query, net->D, arena, &refine->moves, reterr);
    if (status == EBM_OK && climbs)
        status = find_starts(refine, query, num_samples, net, arena, reterr);
    if (status == EBM_OK)
        *ret_refine = refine;
    return status;
}

enum ebm_status ebm_refinement_init(struct ebm_refinement *refinement, const struct ebm_refine *refine, uint32_t D,
                                    struct ebm_arena *arena)
{
    size_t S = refine->n_starts, places = refine->moves.steps + (size_t)1, candidates = refine->n_candidates;
    struct ebm_refinement r = {.raw = {.moves = refine->moves, .n_starts = refine->n_starts}};
    r.mode = EBM_ARENA_NEW(arena, double, D);
    r.raw.h_y = EBM_ARENA_NEW(arena, float, S *D);
    r.raw.h_f = EBM_ARENA_NEW(arena, float, S);
    r.raw.steps = EBM_ARENA_NEW(arena, uint32_t, S);
    r.raw.converged = EBM_ARENA_NEW(arena, bool, S);
    bool ok = r.mode && r.raw.h_y && r.raw.h_f && r.raw.steps && r.raw.converged;
    if (refine->trajectory) {
        r.raw.h_path = EBM_ARENA_NEW(arena, float, S *places *D);
        r.trajectory = EBM_ARENA_NEW(arena, double, places *D);
        ok = ok && r.raw.h_path && r.trajectory;
    }
    if (refine->grid == NULL && candidates > 0) {
        r.candidates = EBM_ARENA_NEW(arena, float, candidates *D);
        ok = ok && r.candidates;
    }
    *refinement = r;
    return ok ? EBM_OK : EBM_NO_MEMORY;
}

void ebm_refinement_stage(struct ebm_refinement *refinement, const struct ebm_refine *refine,
                          const struct ebm_target_config *target, const double *targets, struct ebm_task *task)
{
    uint32_t D = target->dim;
    for (uint32_t i = 0; refinement->candidates != NULL && i < refine->n_candidates; i++)
        ebm_target_standardize(target, targets + (size_t)i * D, refinement->candidates + (size_t)i * D);
    task->ascent = &refinement->raw;
    task->n_y = refine->n_candidates;
    task->h_y = refine->grid != NULL ? refine->grid : refinement->candidates;
}

static void to_units(double *to, const float *from, size_t n, const struct ebm_target_config *target)
{
    for (size_t i = 0; i < n; i++)
        to[i] = ebm_target_unit(target, (uint32_t)(i % target->dim), (double)from[i]);
}

void ebm_refinement_finish(struct ebm_refinement *refinement, const struct ebm_target_config *target)
{
    const struct ebm_ascent *raw = &refinement->raw;
    uint32_t D = target->dim, best = 0;
    double log_scale = 0.0;
    for (uint32_t i = 1; i < raw->n_starts; i++)
        if (raw->h_f[i] > raw->h_f[best] || isnan(raw->h_f[best]))
            best = i;
    bool is_finite = !isnan(raw->h_f[best]);
    for (uint32_t d = 0; d < D; d++)
        log_scale += log(target->std[d]);
    to_units(refinement->mode, raw->h_y + (size_t)best * D, D, target);
    for (uint32_t d = 0; d < D && !is_finite; d++)
        refinement->mode[d] = (double)NAN;
    refinement->unnormalized_log_prob = (double)raw->h_f[best] - log_scale;
    refinement->converged = is_finite && raw->converged[best];
    refinement->steps = is_finite ? raw->steps[best] : 0;
    if (refinement->trajectory == NULL)
        return;
    size_t places = raw->moves.steps + (size_t)1;
    to_units(refinement->trajectory, raw->h_path + best * places * D, (refinement->steps + (size_t)1) * D, target);
    for (uint32_t d = 0; d < D && !is_finite; d++)
        refinement->trajectory[d] = (double)NAN;
}
