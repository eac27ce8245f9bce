/* device_refine.c - targets that move on f(x, .) in lanes, by its gradient in y: uphill, or as a Markov chain.
 *
 *   ascent     y' = y + lambda a grad f(y)                  taken when f(y') >= f(y), else lambda shrinks
 *   Langevin   y' = y + a^2/2 grad f(y) + a z, z normal     taken with probability
 *                  min(1, exp(f(y') - f(y)) q(y | y') / q(y' | y)),   q(y' | y) = N(y'; y + a^2/2 grad f(y), a^2)
 *
 * A step tries its new places in the first lanes of the row's targets (ctx->y, f, grad_y), so one forward and one
 * backward pass do: where a try is taken, its f and gradient are kept for the next step. What a target does depends on
 * nothing but its own numbers: tiles are computed whole, ascents in tiles of EBM_LANES, chains of EBM_TILE.
 *
 * Langevin with bounds: no density outside, so a try there is refused. On a circle q takes the way that was gone, not
 * the shorter one: summed over all windings both sides of detailed balance stay equal, as f is the same after a turn.
 */
#include <math.h>
#include <string.h>

#include "core/device_internal.h"

/* Where the targets of a tile are; the trials of the next step lie in ctx. */
struct walk {
    struct ebm_ctx *ctx;
    const struct ebm_moves *moves;
    uint32_t n, lanes; /* targets, in so many lanes */
    float *y, *grad;   /* (D, EBM_TILE) */
    float *f;          /* (EBM_TILE) */
};

static struct walk walk_of(struct ebm_ctx *ctx, const struct ebm_moves *moves, uint32_t lanes)
{
    size_t size = (size_t)ctx->plan->net.D * EBM_TILE;
    float *base = ctx->walk.p;
    return (struct walk){
        .ctx = ctx, .moves = moves, .lanes = lanes, .y = base, .grad = base + size, .f = base + 2 * size};
}

static float *trial_of(const struct walk *walk, uint32_t d)
{
    return walk->ctx->y.p + d * walk->ctx->stride;
}

static void take_trial(struct walk *walk, uint32_t l)
{
    const struct ebm_ctx *ctx = walk->ctx;
    for (uint32_t d = 0; d < ctx->plan->net.D; d++) {
        walk->y[d * EBM_TILE + l] = ctx->y.p[d * ctx->stride + l];
        walk->grad[d * EBM_TILE + l] = ctx->grad_y.p[d * ctx->stride + l];
    }
    walk->f[l] = ctx->f.p[l];
}

/* f and gradient at the trials, and all of them taken. Lanes without a target repeat the first. */
static void begin(struct walk *walk)
{
    for (uint32_t d = 0; d < walk->ctx->plan->net.D; d++)
        for (uint32_t l = walk->n; l < walk->lanes; l++)
            trial_of(walk, d)[l] = trial_of(walk, d)[0];
    ebm_row_score_lanes(walk->ctx, 0, walk->lanes, true);
    for (uint32_t l = 0; l < walk->lanes; l++)
        take_trial(walk, l);
}

static double wrap(double y, const struct ebm_support *support)
{
    double period = support->upper - support->lower, turns = floor((y - support->lower) / period);
    return y - turns * period;
}

/* The nearest place where a target may be. */
static float inside(double y, const struct ebm_support *support)
{
    switch (support->kind) {
    case EBM_SUPPORT_REAL:
        break;
    case EBM_SUPPORT_BOUNDED:
        return (float)(y < support->lower ? support->lower : y > support->upper ? support->upper : y);
    case EBM_SUPPORT_PERIODIC:
        return (float)wrap(y, support);
    }
    return (float)y;
}

/* ---- ascent ---- */

/* A tile of starts on their way. */
struct climb {
    struct walk walk;
    const struct ebm_ascent *ascent;
    uint32_t first; /* number of the first start */
    double lambda[EBM_LANES];
    bool is_over[EBM_LANES];
};

/* No slope along any coordinate but one that presses against its bound? */
static bool is_flat(const struct walk *walk, uint32_t l)
{
    const struct ebm_net_desc *net = &walk->ctx->plan->net;
    for (uint32_t d = 0; d < net->D; d++) {
        const struct ebm_support *support = &net->support[d];
        double slope = (double)walk->grad[d * EBM_TILE + l], y = (double)walk->y[d * EBM_TILE + l];
        bool presses = support->kind == EBM_SUPPORT_BOUNDED && ((slope < 0.0 && y <= (double)(float)support->lower) ||
                                                                (slope > 0.0 && y >= (double)(float)support->upper));
        if (!presses && !(fabs(slope) <= EBM_ASCENT_TOLERANCE))
            return false;
    }
    return true;
}

static void note_path(const struct climb *climb, uint32_t l)
{
    const struct ebm_ascent *ascent = climb->ascent;
    uint32_t D = climb->walk.ctx->plan->net.D, start = climb->first + l;
    if (ascent->h_path == NULL)
        return;
    float *at = ascent->h_path + ((size_t)start * (ascent->moves.steps + 1) + ascent->steps[start]) * D;
    for (uint32_t d = 0; d < D; d++)
        at[d] = climb->walk.y[d * EBM_TILE + l];
}

/* The trials stand in ctx->y, none of them outside. */
static void begin_climb(struct climb *climb)
{
    begin(&climb->walk);
    for (uint32_t l = 0; l < climb->walk.n; l++) {
        uint32_t start = climb->first + l;
        bool is_finite = isfinite(climb->walk.f[l]) != 0;
        climb->lambda[l] = 1.0;
        climb->ascent->steps[start] = 0;
        climb->ascent->converged[start] = is_finite && is_flat(&climb->walk, l);
        climb->is_over[l] = !is_finite || climb->ascent->converged[start];
        if (!is_finite)
            climb->walk.f[l] = NAN;
        note_path(climb, l);
    }
}

/* Returns false when no start has further to go. */
static bool try_uphill(struct climb *climb)
{
    const struct walk *walk = &climb->walk;
    const struct ebm_net_desc *net = &walk->ctx->plan->net;
    bool goes_on = false;
    for (uint32_t l = 0; l < walk->n; l++)
        goes_on = goes_on || !climb->is_over[l];
    for (uint32_t d = 0; d < net->D; d++)
        for (uint32_t l = 0; l < walk->lanes; l++) {
            size_t at = d * EBM_TILE + l;
            bool moves = l < walk->n && !climb->is_over[l];
            double length = moves ? climb->lambda[l] * walk->moves->step_length[d] : 0.0;
            trial_of(walk, d)[l] = moves
                                       ? inside((double)walk->y[at] + length * (double)walk->grad[at], &net->support[d])
                                       : walk->y[at];
        }
    if (goes_on)
        ebm_row_score_lanes(walk->ctx, 0, walk->lanes, true);
    return goes_on;
}

/* Is no coordinate of the trial further away than the tolerance? */
static bool is_short(const struct walk *walk, uint32_t l)
{
    bool is = true;
    for (uint32_t d = 0; d < walk->ctx->plan->net.D; d++)
        is = is && fabs((double)trial_of(walk, d)[l] - (double)walk->y[d * EBM_TILE + l]) <= EBM_ASCENT_TOLERANCE;
    return is;
}

static void judge_climb(struct climb *climb)
{
    struct walk *walk = &climb->walk;
    for (uint32_t l = 0; l < walk->n; l++) {
        uint32_t start = climb->first + l;
        if (climb->is_over[l])
            continue;
        if (walk->ctx->f.p[l] >= walk->f[l] && isfinite(walk->ctx->f.p[l])) {
            take_trial(walk, l);
            climb->ascent->converged[start] = is_flat(walk, l);
        } else {
            climb->lambda[l] *= walk->moves->decay;
            climb->ascent->converged[start] = is_short(walk, l);
        }
        climb->is_over[l] = climb->ascent->converged[start];
        climb->ascent->steps[start]++;
        note_path(climb, l);
    }
}

/* False: no longer wanted. */
static bool climb_tile(struct climb *climb, const struct ebm_task *task)
{
    bool wanted = true;
    begin_climb(climb);
    for (uint32_t step = 0; wanted && step < climb->ascent->moves.steps && try_uphill(climb); step++) {
        judge_climb(climb);
        wanted = ebm_task_is_wanted(task);
    }
    uint32_t D = climb->walk.ctx->plan->net.D;
    for (uint32_t l = 0; l < climb->walk.n; l++) {
        for (uint32_t d = 0; d < D; d++)
            climb->ascent->h_y[(size_t)(climb->first + l) * D + d] = climb->walk.y[d * EBM_TILE + l];
        climb->ascent->h_f[climb->first + l] = climb->walk.f[l];
    }
    return wanted;
}

/* The numbers of the n candidates of highest f, best first; of equals the earlier one, NaN last. */
static void choose_best(uint32_t *best, uint32_t n, const float *f, uint32_t candidates)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < candidates; m++) {
        float height = isnan(f[m]) ? -INFINITY : f[m];
        uint32_t at = count < n ? count++ : n;
        for (; at > 0; at--) {
            float other = isnan(f[best[at - 1]]) ? -INFINITY : f[best[at - 1]];
            if (other >= height)
                break;
            if (at < n)
                best[at] = best[at - 1];
        }
        if (at < n)
            best[at] = m;
    }
}

/* Scores all candidates and leaves the best as starts in ascent->h_y. False: no longer wanted. */
static bool choose_starts(struct ebm_ctx *ctx, const struct ebm_task *task)
{
    const struct ebm_ascent *ascent = task->ascent;
    uint32_t D = ctx->plan->net.D, best[LIMIT_STARTS];
    EBM_ASSERT(ascent->n_starts <= LIMIT_STARTS && ascent->n_starts <= ctx->M);
    bool wanted = ebm_task_is_wanted(task);
    for (size_t at = 0; wanted && at < ctx->M; at += EBM_TILE) {
        ebm_row_propose_tile(ctx, &task->row, task->n_y > 0 ? task->h_y : NULL, at);
        ebm_row_score_tile(ctx, at, false);
        wanted = ebm_task_is_wanted(task);
    }
    if (!wanted)
        return false;
    choose_best(best, ascent->n_starts, ctx->f.p, ctx->M);
    for (uint32_t i = 0; i < ascent->n_starts; i++)
        for (uint32_t d = 0; d < D; d++)
            ascent->h_y[(size_t)i * D + d] = ctx->y.p[d * ctx->stride + best[i]];
    return true;
}

static void lay_starts(const struct climb *climb)
{
    const struct ebm_net_desc *net = &climb->walk.ctx->plan->net;
    for (uint32_t d = 0; d < net->D; d++)
        for (uint32_t l = 0; l < climb->walk.n; l++)
            trial_of(&climb->walk, d)[l] = inside((double)climb->ascent->h_y[(size_t)(climb->first + l) * net->D + d],
                                                  &net->support[d]);
}

bool ebm_ascent_row(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b)
{
    const struct ebm_ascent *ascent = task->ascent;
    struct ebm_row row = task->row;
    if (task->n_y > 0)
        row.samples = task->n_y;
    ebm_row_begin(ctx, b, &row);
    task->out->status = EBM_INVALID;
    if (task->n_y == 0 && !ctx->has_density) {
        for (uint32_t i = 0; i < ascent->n_starts; i++)
            ascent->h_f[i] = NAN;
        return true;
    }
    if (ascent->n_starts == task->n_y)
        memcpy(ascent->h_y, task->h_y, (size_t)task->n_y * ctx->plan->net.D * sizeof *ascent->h_y);
    else if (!choose_starts(ctx, task))
        return false;
    for (uint32_t first = 0; first < ascent->n_starts; first += EBM_LANES) {
        struct climb climb = {.walk = walk_of(ctx, &ascent->moves, EBM_LANES), .ascent = ascent, .first = first};
        climb.walk.n = ascent->n_starts - first < EBM_LANES ? ascent->n_starts - first : EBM_LANES;
        lay_starts(&climb);
        if (!climb_tile(&climb, task))
            return false;
    }
    for (uint32_t i = 0; i < ascent->n_starts; i++)
        if (!isnan(ascent->h_f[i]))
            task->out->status = EBM_OK;
    return true;
}

/* ---- Langevin ---- */

/* A tile of draws on their way. */
struct chain {
    struct walk walk;
    const struct ebm_row *row;
    uint32_t first, step;         /* numbers of the first draw and of the step under way */
    double log_uniform[EBM_TILE]; /* the coins of this step */
    double log_forward[EBM_TILE]; /* log q(y' | y) but for its constant */
    bool is_outside[EBM_TILE];
};

/* What the tries of a step went along coordinate d, before any wrapping. */
static float *way_of(const struct walk *walk, uint32_t d)
{
    return walk->f + (1 + (size_t)d) * EBM_TILE;
}

static void try_coordinate(struct chain *chain, uint32_t d, uint32_t l, uint32_t word)
{
    const struct walk *walk = &chain->walk;
    const struct ebm_support *support = &walk->ctx->plan->net.support[d];
    double a = walk->moves->step_length[d], y = (double)walk->y[d * EBM_TILE + l];
    double drift = 0.5 * a * a * (double)walk->grad[d * EBM_TILE + l], to = y + drift + a * ebm_normal(word);
    float trial = support->kind == EBM_SUPPORT_PERIODIC ? inside(to, support) : (float)to;
    double way = support->kind == EBM_SUPPORT_PERIODIC ? to - y : (double)trial - y, off = (way - drift) / a;
    trial_of(walk, d)[l] = trial;
    way_of(walk, d)[l] = (float)way;
    chain->log_forward[l] -= 0.5 * off * off;
    if (support->kind == EBM_SUPPORT_BOUNDED && !(to >= support->lower && to <= support->upper))
        chain->is_outside[l] = true;
}

/* Word 0 of a step is its coin, word 1 + d moves coordinate d; 4 words a block. */
static void try_move(struct chain *chain, uint32_t l)
{
    uint32_t D = chain->walk.ctx->plan->net.D, blocks = D / 4 + 1, words[4];
    chain->log_forward[l] = 0.0;
    chain->is_outside[l] = false;
    for (uint32_t i = 0; i <= D; i++) {
        if (i % 4 == 0)
            ebm_philox(chain->row->seed, chain->row->row_in_request, chain->first + l, EBM_STREAM_LANGEVIN,
                       chain->step * blocks + i / 4, words);
        if (i == 0)
            chain->log_uniform[l] = log(ebm_uniform(words[0]));
        else
            try_coordinate(chain, i - 1, l, words[i % 4]);
    }
}

/* Returns how many were taken. */
static uint32_t judge_moves(struct chain *chain)
{
    struct walk *walk = &chain->walk;
    const struct ebm_ctx *ctx = walk->ctx;
    uint32_t taken = 0;
    for (uint32_t l = 0; l < walk->n; l++) {
        double log_backward = 0.0;
        for (uint32_t d = 0; d < ctx->plan->net.D; d++) {
            double a = walk->moves->step_length[d], drift = 0.5 * a * a * (double)ctx->grad_y.p[d * ctx->stride + l];
            double off = (-(double)way_of(walk, d)[l] - drift) / a;
            log_backward -= 0.5 * off * off;
        }
        double log_ratio = (double)ctx->f.p[l] - (double)walk->f[l] + log_backward - chain->log_forward[l];
        if (!chain->is_outside[l] && log_ratio > chain->log_uniform[l]) { /* false for NaN */
            take_trial(walk, l);
            taken++;
        }
    }
    return taken;
}

/* Moves walk.n draws (n, D). False: no longer wanted. */
static bool run_chain(struct chain *chain, const struct ebm_task *task, float *draws, uint64_t *taken)
{
    const struct walk *walk = &chain->walk;
    uint32_t D = walk->ctx->plan->net.D;
    bool wanted = true;
    for (uint32_t d = 0; d < D; d++)
        for (uint32_t l = 0; l < walk->n; l++)
            trial_of(walk, d)[l] = inside((double)draws[(size_t)l * D + d], &walk->ctx->plan->net.support[d]);
    begin(&chain->walk);
    for (chain->step = 0; wanted && chain->step < walk->moves->steps; chain->step++) {
        for (uint32_t l = 0; l < walk->n; l++)
            try_move(chain, l);
        ebm_row_score_lanes(walk->ctx, 0, EBM_TILE, true);
        *taken += judge_moves(chain);
        wanted = ebm_task_is_wanted(task);
    }
    for (uint32_t d = 0; d < D; d++)
        for (uint32_t l = 0; l < walk->n; l++)
            draws[(size_t)l * D + d] = walk->y[d * EBM_TILE + l];
    return wanted;
}

bool ebm_langevin_draws(struct ebm_ctx *ctx, const struct ebm_task *task)
{
    const struct ebm_estimate_spec *spec = task->spec;
    uint64_t taken = 0;
    EBM_ASSERT(spec->draws == EBM_DRAWS_FAIR && ctx->plan->net.has_energy);
    for (uint32_t first = 0; first < spec->n_draws; first += EBM_TILE) {
        struct chain chain = {.walk = walk_of(ctx, spec->langevin, EBM_TILE), .row = &task->row, .first = first};
        chain.walk.n = spec->n_draws - first < EBM_TILE ? spec->n_draws - first : EBM_TILE;
        if (!run_chain(&chain, task, task->out->draws + (size_t)first * ctx->plan->net.D, &taken))
            return false;
    }
    task->out->acceptance = (double)taken / ((double)spec->n_draws * spec->langevin->steps);
    return true;
}
