/* device_plan.c - the generic device's plan: a copy of the network and its weights, counted.
 *
 * Position self-test: a matrix product may give a row other bytes at another place of the same tile (OpenBLAS 0.3.21
 * does at some shapes; our kernels do not, as long as the compiler treats all lanes alike). plan_new therefore moves
 * one row through all places of an x tile and, where bytes differ, makes the tile small enough that they do not. A plan
 * for training skips it: there a chunk of rows always has the same shape.
 *
 * Training state: n_slots gradients, summed in slot order by reduce, so that the sum does not depend on which thread
 * filled which slot when. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_internal.h"
#include "core/quadrature.h"

static uint32_t widest_of(const struct ebm_net *net, uint32_t at_least)
{
    for (uint32_t i = 0; i < net->n_layers; i++) {
        at_least = net->layers[i].in > at_least ? net->layers[i].in : at_least;
        at_least = net->layers[i].out > at_least ? net->layers[i].out : at_least;
    }
    return at_least;
}

static void copy_layers(struct ebm_net *net, struct ebm_layer **next)
{
    if (net->n_layers > 0)
        memcpy(*next, net->layers, net->n_layers * sizeof **next);
    net->layers = *next;
    *next += net->n_layers;
}

static bool copy_net(struct ebm_plan *plan, const struct ebm_net_desc *net)
{
    size_t n = (size_t)net->feature.n_layers + net->target.n_layers + net->energy.n_layers + net->own.n_layers +
               net->mean.n_layers + net->log_variance.n_layers + net->weight.n_layers;
    plan->layers = calloc(n + 1, sizeof *plan->layers);
    if (plan->layers == NULL)
        return false;
    plan->net = *net;
    plan->support = calloc(net->D, sizeof *plan->support);
    if (plan->support == NULL)
        return false;
    for (uint32_t d = 0; d < net->D; d++)
        plan->support[d] = net->support != NULL ? net->support[d]
                                                : (struct ebm_support){EBM_SUPPORT_REAL, -INFINITY, INFINITY};
    plan->net.support = plan->support;
    plan->image_ops = calloc((size_t)net->trunk.n_ops + 1, sizeof *plan->image_ops);
    if (plan->image_ops == NULL)
        return false;
    if (net->trunk.n_ops > 0)
        memcpy(plan->image_ops, net->trunk.ops, net->trunk.n_ops * sizeof *plan->image_ops);
    plan->net.trunk.ops = plan->image_ops;
    struct ebm_layer *next = plan->layers;
    struct ebm_net *nets[] = {&plan->net.feature, &plan->net.target,       &plan->net.energy, &plan->net.own,
                              &plan->net.mean,    &plan->net.log_variance, &plan->net.weight};
    for (size_t i = 0; i < EBM_COUNT_OF(nets); i++)
        copy_layers(nets[i], &next);
    plan->energy_out = net->has_energy ? net->energy.layers[0].out : 0;
    uint32_t reach = ebm_net_reach(net);
    plan->widest_x = widest_of(&net->feature, reach > net->H ? reach : net->H);
    plan->widest_x = widest_of(&net->own, plan->widest_x);
    plan->widest_x = widest_of(&net->mean, plan->widest_x);
    plan->widest_x = widest_of(&net->log_variance, plan->widest_x);
    plan->widest_x = widest_of(&net->weight, plan->widest_x);
    plan->widest_x = plan->energy_out > plan->widest_x ? plan->energy_out : plan->widest_x;
    plan->widest_y = widest_of(&net->target, net->D);
    plan->widest_y = widest_of(&net->energy, plan->widest_y);
    plan->is_bounded = net->has_energy && ebm_quadrature_is_bounded(net);
    return true;
}

static bool allocate(struct ebm_plan *plan, uint32_t n_slots)
{
    size_t n = plan->net.n_params + 1, bytes = n * sizeof(float);
    plan->params = ebm_alloc_aligned(bytes);
    if (n_slots == 0)
        return plan->params != NULL;
    plan->n_slots = n_slots;
    plan->gradient = ebm_alloc_aligned(bytes + n_slots * ebm_plan_slot_count(plan) * sizeof(float));
    plan->slots = plan->gradient != NULL ? plan->gradient + ebm_plan_slot_count(plan) : NULL;
    plan->adam_m = ebm_alloc_aligned(bytes);
    plan->adam_v = ebm_alloc_aligned(bytes);
    return plan->params && plan->gradient && plan->adam_m && plan->adam_v;
}

/* What the x side makes of row `b`, appended to out. */
static size_t collect(struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t b, float *out)
{
    size_t DK = (size_t)plan->net.D * plan->net.K, n = 0;
    ebm_mixtures(ctx);
    const struct {
        const float *p;
        size_t count;
    } parts[] = {{ctx->h.p, plan->net.H},
                 {ctx->hx.p, plan->energy_out},
                 {ctx->mean.p, DK},
                 {ctx->log_variance.p, DK},
                 {ctx->log_weight.p, plan->net.K}};
    for (size_t i = 0; i < EBM_COUNT_OF(parts); i++) {
        if (parts[i].count > 0)
            memcpy(out + n, parts[i].p + b * parts[i].count, parts[i].count * sizeof(float));
        n += parts[i].count;
    }
    return n;
}

/* The first place of a tile where the probe's bytes differ from those at place 0; EBM_LANES when none does. */
static uint32_t first_moved_place(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, struct ebm_plan *plan,
                                  float *x, float *expected, float *got)
{
    size_t X = ebm_net_reach(&plan->net);
    for (uint32_t place = 0; place < EBM_LANES; place++) {
        for (uint32_t row = 0; row < EBM_LANES; row++) {
            for (uint32_t i = 0; i < X; i++) {
                uint32_t words[4], other = row == place ? 0 : 1 + place * EBM_LANES + row;
                ebm_philox(1, other, i, EBM_STREAM_INIT, 0, words);
                x[row * X + i] = (float)ebm_normal(words[0]);
            }
        }
        if (ops->features(ctx, plan, x, EBM_LANES) != EBM_OK)
            return 1;
        size_t n = collect(ctx, plan, place, place == 0 ? expected : got);
        if (place > 0 && memcmp(expected, got, n * sizeof(float)) != 0)
            return place;
    }
    return EBM_LANES;
}

static enum ebm_status choose_tile(const struct ebm_device_ops *ops, struct ebm_plan *plan, struct ebm_error *reterr)
{
    const struct ebm_net_desc *net = &plan->net;
    size_t n = net->H + plan->energy_out + (size_t)net->K * (2 * net->D + 1) + 1;
    EBM_AUTO(ebm_freep) float *x = calloc(EBM_LANES * (size_t)ebm_net_reach(net), sizeof *x);
    EBM_AUTO(ebm_freep) float *rows = calloc(2 * n, sizeof *rows);
    struct ebm_ctx_limits limits = {.max_rows = EBM_LANES, .max_samples = 1};
    struct ebm_ctx *ctx = NULL;
    if (x == NULL || rows == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "plan", "no memory for the self-test");
    enum ebm_status status = ops->ctx_new(&limits, &ctx, reterr);
    if (status == EBM_OK)
        status = ops->ctx_prepare(ctx, plan, reterr);
    if (status == EBM_OK) {
        uint32_t moved = first_moved_place(ops, ctx, plan, x, rows, rows + n);
        while (plan->x_tile > moved)
            plan->x_tile /= 2;
    }
    (void)ops->ctx_free(ctx);
    return status;
}

/* The table of kinks, where f is piecewise linear. Too many of them: there is none, quadrature answers. */
static enum ebm_status make_exact(struct ebm_plan *plan, struct ebm_error *reterr)
{
    if (!ebm_exact_applies(&plan->net))
        return EBM_OK;
    enum ebm_status status = ebm_exact_table_new(&plan->net, plan->params, EBM_PLAN_KNOTS, &plan->exact, reterr);
    if (status == EBM_OK)
        ebm_exact_use(plan->exact, plan->kernels);
    return status == EBM_TOO_LARGE ? EBM_OK : status;
}

enum ebm_status ebm_plan_refresh(struct ebm_plan *plan)
{
    if (plan->exact == NULL || !atomic_load(&plan->is_stale))
        return EBM_OK;
    enum ebm_status status = ebm_exact_table_update(plan->exact, plan->params);
    if (status == EBM_OK)
        atomic_store(&plan->is_stale, false);
    return status == EBM_TOO_LARGE ? EBM_OK : status;
}

const struct ebm_exact_table *ebm_plan_exact(const struct ebm_plan *plan)
{
    return plan->exact != NULL && !atomic_load_explicit(&plan->is_stale, memory_order_relaxed) ? plan->exact : NULL;
}

bool ebm_plan_falls(const struct ebm_plan *plan)
{
    const struct ebm_exact_table *exact = ebm_plan_exact(plan);
    return !plan->is_bounded && (exact == NULL || ebm_exact_tails(exact).is_proper);
}

bool ebm_plan_is_open(const struct ebm_plan *plan)
{
    const struct ebm_support *support = &plan->support[0];
    return support->kind == EBM_SUPPORT_REAL && !(isfinite(support->lower) && isfinite(support->upper));
}

enum ebm_status ebm_plan_new_with(const struct ebm_kernels *kernels, const struct ebm_device_ops *ops,
                                  const struct ebm_net_desc *net, const float *h_params, uint32_t n_slots,
                                  struct ebm_plan **ret_plan, struct ebm_error *reterr)
{
    EBM_ASSERT(net->has_energy || net->K > 0);
    struct ebm_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "plan", "no memory");
    atomic_init(&plan->references, 1);
    (void)pthread_mutex_init(&plan->trunk_mutex, NULL);
    plan->kernels = kernels;
    plan->x_tile = EBM_LANES;
    bool is_single = net->members <= 1;
    if (!copy_net(plan, net) || (is_single && !allocate(plan, n_slots))) {
        (void)ebm_plan_unref(plan);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "plan", "no memory for %zu parameters", net->n_params);
    }
    enum ebm_status status = EBM_OK;
    if (is_single)
        memcpy(plan->params, h_params, net->n_params * sizeof(float));
    if (is_single && n_slots == 0)
        status = choose_tile(ops, plan, reterr);
    else if (!is_single && n_slots == 0)
        status = ebm_ensemble_plan(plan, kernels, ops, net, h_params, reterr);
    else if (!is_single)
        status = ebm_error_set(reterr, EBM_INVALID, "members", "members of an ensemble are trained one by one");
    if (status == EBM_OK && is_single)
        status = make_exact(plan, reterr);
    if (status == EBM_OK && is_single)
        status = ebm_plan_trunk(plan, h_params, reterr); /* last: the self-test above is of what stands behind it */
    if (status != EBM_OK) {
        (void)ebm_plan_unref(plan);
        return status;
    }
    *ret_plan = plan;
    return EBM_OK;
}

struct ebm_plan *ebm_plan_ref(struct ebm_plan *plan)
{
    atomic_fetch_add_explicit(&plan->references, 1, memory_order_relaxed);
    return plan;
}

struct ebm_plan *ebm_plan_unref(struct ebm_plan *plan)
{
    if (plan == NULL || atomic_fetch_sub_explicit(&plan->references, 1, memory_order_acq_rel) != 1)
        return NULL;
    (void)ebm_exact_table_free(plan->exact);
    for (uint32_t i = 0; i < plan->n_members; i++)
        (void)ebm_plan_unref(plan->members[i]);
    if (plan->accelerated != NULL)
        plan->free_accelerated(plan->accelerated);
    free(plan->members);
    free(plan->layers);
    free(plan->support);
    free(plan->image_ops);
    (void)ebm_trunk_plan_free(plan->trunk);
    (void)ebm_trunk_batch_free(plan->trunk_batch);
    (void)ebm_trunk_train_free(plan->trunk_train);
    (void)ebm_trunk_still_free(plan->trunk_still);
    free(plan->params);
    free(plan->gradient);
    free(plan->adam_m);
    free(plan->adam_v);
    (void)pthread_mutex_destroy(&plan->trunk_mutex);
    free(plan);
    return NULL;
}

enum ebm_status ebm_plan_reduce(struct ebm_plan *plan, uint32_t n_slots, struct ebm_range range)
{
    EBM_ASSERT(n_slots <= plan->n_slots && range.first + range.count <= plan->net.n_params);
    size_t first = range.first, end = range.first + range.count, learned = plan->net.trunk.learned.count;
    first = first > learned ? first : learned;
    if (first >= end)
        return EBM_OK;
    float *restrict sum = plan->gradient + first;
    memset(sum, 0, (end - first) * sizeof *sum);
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        float *restrict from = ebm_plan_slot(plan, slot) + first;
        for (size_t i = 0; i < end - first; i++)
            sum[i] += from[i];
        memset(from, 0, (end - first) * sizeof *from);
    }
    return EBM_OK;
}

static void update_part(struct ebm_plan *plan, const struct ebm_adam *adam, enum ebm_part part, size_t first,
                        size_t end)
{
    double t = (double)adam->step[part];
    struct ebm_adam_step step = {.learning_rate = adam->learning_rate,
                                 .beta1 = adam->beta1,
                                 .beta2 = adam->beta2,
                                 .epsilon = adam->epsilon,
                                 .correction1 = 1.0 - pow(adam->beta1, t),
                                 .correction2 = 1.0 - pow(adam->beta2, t)};
    plan->kernels->adam(plan->params + first, plan->adam_m + first, plan->adam_v + first, plan->gradient + first,
                        end - first, &step);
}

enum ebm_status ebm_plan_update(struct ebm_plan *plan, const struct ebm_adam *adam, struct ebm_range range)
{
    EBM_ASSERT(plan->n_slots > 0 && range.first + range.count <= plan->net.n_params);
    atomic_store_explicit(&plan->is_stale, true, memory_order_relaxed);
    atomic_store_explicit(&plan->trunk_is_stale, true, memory_order_relaxed);
    if (adam->step[EBM_PART_FEATURE] > 0)
        atomic_store_explicit(&plan->still_is_stale, true, memory_order_relaxed);
    for (enum ebm_part part = 0; part < EBM_PARTS; part++) {
        const struct ebm_range *own = &plan->net.part[part];
        size_t first = own->first > range.first ? own->first : range.first;
        size_t own_end = own->first + own->count, end = range.first + range.count;
        end = own_end < end ? own_end : end;
        if (adam->step[part] > 0 && first < end)
            update_part(plan, adam, part, first, end);
    }
    return EBM_OK;
}

static float *state_of(const struct ebm_plan *plan, enum ebm_train_state what)
{
    switch (what) {
    case EBM_TRAIN_PARAMS:
        return plan->params;
    case EBM_TRAIN_ADAM_M:
        return plan->adam_m;
    case EBM_TRAIN_ADAM_V:
        return plan->adam_v;
    case EBM_TRAIN_GRADIENT:
        return plan->gradient;
    }
    return NULL;
}

enum ebm_status ebm_plan_params_read(const struct ebm_plan *plan, enum ebm_train_state what, float *h_dst)
{
    const float *from = state_of(plan, what);
    EBM_ASSERT(from != NULL);
    memcpy(h_dst, from, plan->net.n_params * sizeof *h_dst);
    return EBM_OK;
}

enum ebm_status ebm_plan_params_write(struct ebm_plan *plan, enum ebm_train_state what, const float *h_src)
{
    float *to = state_of(plan, what);
    EBM_ASSERT(to != NULL);
    memcpy(to, h_src, plan->net.n_params * sizeof *to);
    if (what == EBM_TRAIN_PARAMS) {
        atomic_store(&plan->is_stale, true);
        atomic_store(&plan->trunk_is_stale, true);
        atomic_store(&plan->still_is_stale, true);
    }
    return EBM_OK;
}
