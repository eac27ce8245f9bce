/* device_cuda.c - the coarse table with CUDA: the CPU's device, whose contexts have an accelerator.
 *
 *   on the device   trunks of images and the x side; draws on the line, their log q; f at draws and at given targets;
 *                   what is made of them where a task asks for no more than device_answers.c says; exact answers
 *                   (device_exact.c); in training: train_cuda.c
 *   on the CPU      bounded and periodic draws; ensembles; gradients in y of what is asked (ascents, chains);
 *                   quadrature; and all else that is made of f and log q, by the code of every other device
 *
 * A batch's rows are known when it begins. Their tiles are put into two slots in turn, as many rows as fit, and come
 * back in the same order: while the CPU answers the rows of one slot, the device computes the other. A third slot is
 * for what was not expected: more draws of one row, given targets. */
#include <stdlib.h>
#include <string.h>

#include "core/cuda/device_answers.h"
#include "core/cuda/device_exact.h"
#include "core/cuda/profile.h"
#include "core/cuda/train_cuda.h"
#include "core/device_plugin.h"

/* Of log weights beside their largest: ten times what rounding an input to 11 or 8 bits does to a number. */
#define TF32_SLACK 5e-3
#define BF16_SLACK 4e-2
#define IN_TURN 2u /* slots that expected rows go through; the next one is for the rest */

_Static_assert(EBM_GPU_TILE == EBM_TILE, "tiles of both sides");
_Static_assert(EBM_GPU_SLOTS == IN_TURN + 1, "one slot more");
_Static_assert((int)EBM_GPU_FP32 == (int)EBM_PRECISION_FP32 && (int)EBM_GPU_TF32 == (int)EBM_PRECISION_TF32 &&
                   (int)EBM_GPU_BF16 == (int)EBM_PRECISION_BF16,
               "words");

/* Tiles of expected rows on their way. */
struct sent {
    uint32_t n, read; /* tiles in the slot, and those that somebody has read or passed over */
    bool is_there;    /* waited for */
    struct {
        uint32_t b;
        uint32_t question; /* about the row, and 1; 0: none, its draws are there */
        size_t at;         /* the row's sample */
    } tiles[EBM_GPU_TILES];
};

static struct ebm_device_ops ops; /* made by `open`, once */

/* A plan's weights: a net for each device that was not lost before. */
struct nets {
    struct ebm_gpu_net *of[LIMIT_DEVICES];
};

struct accelerator {
    struct ebm_accelerator base;
    uint32_t device;
    struct ebm_gpu_space *space;
    const struct ebm_task *tasks; /* expected */
    uint32_t B, b;                /* rows, and the first whose tiles are not all sent */
    size_t at;                    /* its first sample that is not */
    struct sent sent[IN_TURN];
    uint32_t oldest;
    struct cuda_exact exact;
    struct ebm_slab mixture_space, wide; /* of row b, while it is sent */
    struct ebm_mixture mixture;
    struct ebm_sobol sobol;
    uint32_t words[EBM_SOBOL_DIMS * EBM_TILE];
    struct ebm_cuda_chunks *chunks; /* of training */
};

static struct accelerator *of(struct ebm_ctx *ctx)
{
    return (struct accelerator *)(void *)ctx->accelerator;
}

/* Of a plan for serving; NULL: the context's device was lost before the plan came. */
static const struct ebm_gpu_net *net_there(struct ebm_ctx *ctx, const struct ebm_plan *plan)
{
    const struct nets *nets = plan->accelerated;
    return nets->of[of(ctx)->device];
}

/* Of the plan that the context computes. */
static const struct ebm_gpu_net *net_of(struct ebm_ctx *ctx)
{
    return net_there(ctx, ctx->plan);
}

/* ---- the x side ---- */

static bool features(struct ebm_ctx *ctx, const float *h_x, uint32_t B)
{
    const struct ebm_net_desc *net = &ctx->plan->net;
    struct accelerator *own = of(ctx);
    const struct ebm_gpu_x_side out = {ctx->h.p, ctx->hx.p, ctx->mean.p, ctx->log_variance.p, ctx->log_weight.p};
    if (!ebm_gpu_features(own->space, net_of(ctx), h_x, B, &out))
        own->base.has_failed = true;
    for (uint32_t b = 0; net->K > 0 && b < B; b++)
        ebm_log_softmax(ctx->log_weight.p + (size_t)b * net->K, ctx->log_weight.p + (size_t)b * net->K, 1, net->K);
    return !own->base.has_failed;
}

/* ---- tiles ---- */

/* Where a row's targets come from. */
struct source {
    const struct ebm_mixture *q;
    const struct ebm_sobol *sobol; /* NULL: independent draws */
    const struct ebm_row *row;
    uint32_t b;
};

static bool draws_there(const struct source *source)
{
    return source->q->confined == NULL;
}

static void put_sobol(float *to, const struct ebm_sobol *sobol)
{
    const size_t bytes = sizeof ebm_sobol_directions[0];
    _Static_assert(sizeof ebm_sobol_directions[0] == (EBM_GPU_SOBOL_WORDS - 2) * sizeof(float), "a dimension");
    for (uint32_t d = 0; d < sobol->dims; d++, to += EBM_GPU_SOBOL_WORDS) {
        memcpy(to, &sobol->shift[d], sizeof *to);
        memcpy(to + 1, &sobol->factor[d], sizeof *to);
        memcpy(to + 2, ebm_sobol_directions[d], bytes);
    }
}

/* sobol NULL: draws are independent. */
static void put_mixture(float *to, const struct ebm_mixture *q, const struct ebm_sobol *sobol)
{
    size_t DK = (size_t)q->D * q->K;
    const struct {
        const void *from;
        size_t count;
    } parts[] = {{q->mean, DK}, {q->std, DK}, {q->inv_std, DK}, {q->log_const, q->K}, {q->below, q->K}};
    memcpy(to, &q->K, sizeof q->K);
    to += 4;
    for (size_t i = 0; i < EBM_COUNT_OF(parts); i++) {
        memcpy(to, parts[i].from, parts[i].count * sizeof *to);
        to += parts[i].count;
    }
    if (sobol != NULL)
        put_sobol(to, sobol);
}

/* Targets and log q of one tile, drawn here. */
static void draw_here(struct ebm_ctx *ctx, const struct source *source, uint32_t first, float *y, float *log_q)
{
    struct accelerator *own = of(ctx);
    const struct ebm_kernels *kernels = ctx->kernels;
    if (source->sobol != NULL) {
        kernels->sobol_words(own->words, EBM_TILE, source->sobol, first, EBM_TILE);
        kernels->place(y, EBM_TILE, source->q, own->words, EBM_TILE, EBM_TILE);
    } else {
        kernels->draw(y, EBM_TILE, source->q, source->row->seed, source->row->row_in_request, first, EBM_TILE);
    }
    kernels->mixture_log_density(log_q, source->q, y, EBM_TILE, EBM_TILE);
}

/* Tile i of a slot: samples from `at` on of the source's row. */
static void put_tile(struct ebm_ctx *ctx, struct ebm_gpu_slot *slot, uint32_t i, uint32_t mixture,
                     const struct source *source, size_t at)
{
    uint32_t first = source->row->first_sample + (uint32_t)at;
    bool is_given = !draws_there(source);
    slot->tiles[i] = (struct ebm_gpu_tile){
        source->row->seed, source->b, mixture, source->row->row_in_request, first, is_given, source->sobol != NULL};
    if (is_given)
        draw_here(ctx, source, first, slot->y + (size_t)i * ctx->plan->net.D * EBM_TILE,
                  slot->log_q + (size_t)i * EBM_TILE);
}

/* Out of a slot into the row begun. */
static void take_tile(struct ebm_ctx *ctx, const struct ebm_gpu_slot *slot, uint32_t i, size_t at, bool f_alone)
{
    uint32_t D = ctx->plan->net.D;
    memcpy(ctx->f.p + at, slot->f + (size_t)i * EBM_TILE, EBM_TILE * sizeof(float));
    if (f_alone)
        return;
    memcpy(ctx->log_q.p + at, slot->log_q + (size_t)i * EBM_TILE, EBM_TILE * sizeof(float));
    for (uint32_t d = 0; d < D; d++)
        memcpy(ctx->y.p + d * ctx->stride + at, slot->y + ((size_t)i * D + d) * EBM_TILE, EBM_TILE * sizeof(float));
}

static float *mixture_of(const struct ebm_ctx *ctx, const struct ebm_gpu_slot *slot, uint32_t number)
{
    return slot->mixtures + (size_t)number * ebm_gpu_mixture_floats(ctx->plan->net.D, ctx->plan->net.K + 1);
}

static bool check(struct accelerator *own, bool is_fine)
{
    own->base.has_failed = own->base.has_failed || !is_fine;
    return is_fine;
}

/* ---- rows that are expected ---- */

static uint32_t samples_of(const struct ebm_task *task)
{
    uint32_t samples = task->row.samples;
    return task->spec->scheme == EBM_SCHEME_SOBOL ? ebm_sobol_count(samples) : samples;
}

static bool is_expected(const struct ebm_task *task)
{
    return task->ascent == NULL && task->spec->estimator == EBM_ESTIMATE_IMPORTANCE;
}

/* The proposal of expected row b. False: it has no finite density. */
static bool bind(struct ebm_ctx *ctx, uint32_t b)
{
    struct accelerator *own = of(ctx);
    const struct ebm_net_desc *net = &ctx->plan->net;
    const struct ebm_task *task = &own->tasks[b];
    struct ebm_row_mixture row = ebm_row_mixture(ctx, b);
    if (task->spec->scheme == EBM_SCHEME_SOBOL)
        ebm_sobol_bind(&own->sobol, task->row.seed, task->row.row_in_request, net->D + 1);
    if (!ebm_mixture_bind(&own->mixture, own->mixture_space.p, row.mean, row.log_variance, row.log_weight, net->support,
                          net->D, net->K))
        return false;
    return task->spec->defensive <= 0.0 ||
           ebm_mixture_defend(&own->mixture, own->mixture_space.p, own->wide.p, row.mean, row.log_variance,
                              row.log_weight, net->support, net->D, net->K, task->spec->defensive);
}

/* As many tiles of row own->b as fit behind those that the slot has. */
static void put_row(struct ebm_ctx *ctx, struct ebm_gpu_slot *slot, struct sent *sent, uint32_t most,
                    struct ebm_gpu_load *load, bool is_asked)
{
    struct accelerator *own = of(ctx);
    const struct ebm_task *task = &own->tasks[own->b];
    struct source source = {&own->mixture, task->spec->scheme == EBM_SCHEME_SOBOL ? &own->sobol : NULL, &task->row,
                            own->b};
    uint32_t samples = samples_of(task), n = load->n_tiles, mixture = load->n_mixtures++;
    put_mixture(mixture_of(ctx, slot, mixture), &own->mixture, source.sobol);
    if (is_asked)
        cuda_ask(slot, load, ctx->plan->net.D, task, samples, n);
    for (; n < most && own->at < samples; n++, own->at += EBM_TILE) {
        put_tile(ctx, slot, n, mixture, &source, own->at);
        sent->tiles[n].b = own->b;
        sent->tiles[n].question = is_asked ? load->n_questions : 0;
        sent->tiles[n].at = own->at;
    }
    if (!is_asked && load->end_wanted == 0)
        load->first_wanted = load->n_tiles;
    if (!is_asked)
        load->end_wanted = n;
    load->n_tiles = n;
    load->any_given = load->any_given || !draws_there(&source);
}

/* The next tiles into slot number `turn`, which is free. A row that is answered there has all its tiles in one slot. */
static void send(struct ebm_ctx *ctx, uint32_t turn)
{
    struct accelerator *own = of(ctx);
    const struct ebm_gpu_net *net = net_of(ctx);
    struct ebm_gpu_slot *slot = ebm_gpu_slot(own->space, net, turn);
    struct sent *sent = &own->sent[turn];
    struct ebm_gpu_load load = {0};
    uint32_t most = ebm_gpu_tiles(own->space, net);
    sent->n = sent->read = 0;
    sent->is_there = false;
    while (load.n_tiles < most && own->b < own->B) {
        const struct ebm_task *task = &own->tasks[own->b];
        if (is_expected(task) && bind(ctx, own->b)) {
            uint32_t tiles = (samples_of(task) + EBM_TILE - 1) / EBM_TILE;
            bool is_asked = tiles <= most && cuda_can_answer(ctx->plan, task, samples_of(task));
            if (is_asked && load.n_tiles + tiles > most)
                break;
            put_row(ctx, slot, sent, most, &load, is_asked);
            if (own->at < samples_of(task))
                break;
        }
        own->b++;
        own->at = 0;
    }
    if (load.n_tiles > 0 && check(own, ebm_gpu_submit(own->space, net, turn, &load)))
        sent->n = load.n_tiles;
}

static void expect(struct ebm_ctx *ctx, const struct ebm_task *tasks, uint32_t B)
{
    struct accelerator *own = of(ctx);
    for (uint32_t i = 0; i < IN_TURN; i++) { /* what nobody came for */
        if (own->sent[i].n > 0 && !own->sent[i].is_there)
            (void)check(own, ebm_gpu_wait(own->space, net_of(ctx), i));
        own->sent[i].n = own->sent[i].read = 0;
    }
    own->tasks = tasks;
    own->B = B;
    own->b = 0;
    own->at = 0;
    own->oldest = 0;
    (void)check(own, cuda_exact_ask(&own->exact, own->space, net_of(ctx), tasks, B));
    for (uint32_t i = 0; B > 0 && i < IN_TURN; i++)
        send(ctx, i);
}

static bool exact(struct ebm_ctx *ctx, struct ebm_exact_answer *ret_answer)
{
    struct accelerator *own = of(ctx);
    enum ebm_status status = cuda_exact_answer(&own->exact, ctx, own->space, net_of(ctx), ret_answer);
    (void)check(own, status != EBM_DEVICE);
    return status == EBM_OK;
}

/* The next expected tile in order, passing over rows before the one begun; NULL when there is none. */
static struct sent *next_sent(struct ebm_ctx *ctx)
{
    struct accelerator *own = of(ctx);
    for (;;) {
        struct sent *sent = &own->sent[own->oldest];
        if (sent->n == 0 || own->base.has_failed)
            return NULL;
        if (!sent->is_there && !check(own, ebm_gpu_wait(own->space, net_of(ctx), own->oldest)))
            return NULL;
        sent->is_there = true;
        while (sent->read < sent->n && sent->tiles[sent->read].b < ctx->b)
            sent->read++;
        if (sent->read < sent->n)
            return sent;
        send(ctx, own->oldest);
        own->oldest = (own->oldest + 1) % IN_TURN;
    }
}

/* The row's tiles from `at` on out of the oldest slot; 0: they are not what is expected. */
static size_t take_expected(struct ebm_ctx *ctx, size_t at)
{
    struct accelerator *own = of(ctx);
    if (own->tasks == NULL || ctx->task != &own->tasks[ctx->b] || !is_expected(ctx->task))
        return 0;
    struct sent *sent = next_sent(ctx);
    const struct ebm_gpu_slot *slot = ebm_gpu_slot(own->space, net_of(ctx), own->oldest);
    size_t end = at;
    while (sent != NULL && sent->read < sent->n && sent->tiles[sent->read].b == ctx->b &&
           sent->tiles[sent->read].at == end) {
        take_tile(ctx, slot, sent->read++, end, false);
        end += EBM_TILE;
    }
    return end > at ? end : 0;
}

/* The answer about the row begun, out of the oldest slot. */
static bool sums(struct ebm_ctx *ctx, struct ebm_row_sums *ret_sums)
{
    struct accelerator *own = of(ctx);
    if (own->tasks == NULL || ctx->task != &own->tasks[ctx->b] || !is_expected(ctx->task))
        return false;
    struct sent *sent = next_sent(ctx);
    if (sent == NULL || sent->tiles[sent->read].b != ctx->b || sent->tiles[sent->read].question == 0)
        return false;
    *ret_sums = cuda_answer(ebm_gpu_slot(own->space, net_of(ctx), own->oldest), sent->tiles[sent->read].question - 1);
    while (sent->read < sent->n && sent->tiles[sent->read].b == ctx->b)
        sent->read++;
    return true;
}

/* ---- what was not ---- */

/* Given targets, as they lie in the context. */
static void put_given(struct ebm_ctx *ctx, struct ebm_gpu_slot *slot, uint32_t i, size_t at)
{
    uint32_t D = ctx->plan->net.D;
    slot->tiles[i] = (struct ebm_gpu_tile){.row = ctx->b, .is_given = 1};
    for (uint32_t d = 0; d < D; d++)
        memcpy(slot->y + ((size_t)i * D + d) * EBM_TILE, ctx->y.p + d * ctx->stride + at, EBM_TILE * sizeof(float));
}

static size_t compute_now(struct ebm_ctx *ctx, enum ebm_draw_scheme scheme, size_t at, bool is_given)
{
    struct accelerator *own = of(ctx);
    const struct ebm_gpu_net *net = net_of(ctx);
    struct ebm_gpu_slot *slot = ebm_gpu_slot(own->space, net, IN_TURN);
    size_t left = (ctx->M - at + EBM_TILE - 1) / EBM_TILE;
    uint32_t most = ebm_gpu_tiles(own->space, net), n = left < most ? (uint32_t)left : most;
    struct source source = {&ctx->mixture, scheme == EBM_SCHEME_SOBOL ? &ctx->sobol : NULL, &ctx->row, ctx->b};
    bool is_drawn_there = !is_given && draws_there(&source);
    if (is_drawn_there)
        put_mixture(slot->mixtures, &ctx->mixture, source.sobol);
    for (uint32_t i = 0; i < n; i++)
        if (is_given)
            put_given(ctx, slot, i, at + (size_t)i * EBM_TILE);
        else
            put_tile(ctx, slot, i, 0, &source, at + (size_t)i * EBM_TILE);
    const struct ebm_gpu_load load = {
        .n_tiles = n, .n_mixtures = is_drawn_there, .end_wanted = n, .any_given = !is_drawn_there};
    if (!check(own, ebm_gpu_submit(own->space, net, IN_TURN, &load)) ||
        !check(own, ebm_gpu_wait(own->space, net, IN_TURN)))
        return 0;
    for (uint32_t i = 0; i < n; i++)
        take_tile(ctx, slot, i, at + (size_t)i * EBM_TILE, is_given);
    return at + (size_t)n * EBM_TILE;
}

static size_t score(struct ebm_ctx *ctx, enum ebm_draw_scheme scheme, size_t at, bool is_given)
{
    size_t end = is_given ? 0 : take_expected(ctx, at);
    if (end > 0 || of(ctx)->base.has_failed)
        return end;
    return compute_now(ctx, scheme, at, is_given);
}

static enum ebm_status train_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan, const struct ebm_loss_spec *spec,
                                     uint32_t max_rows, struct ebm_error *reterr)
{
    struct accelerator *own = of(ctx);
    enum ebm_status status = ebm_device_cpu()->train_prepare(ctx, plan, spec, max_rows, reterr);
    return status == EBM_OK ? ebm_cuda_train_prepare(own->space, &own->chunks, plan, spec, max_rows, reterr) : status;
}

static enum ebm_status backward(struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                                const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows, double *h_loss)
{
    struct accelerator *own = of(ctx);
    if (own->base.has_failed)
        return EBM_DEVICE;
    enum ebm_status status = ebm_cuda_backward(ctx, own->space, &own->chunks, plan, slot, spec, rows, h_loss);
    (void)check(own, status != EBM_DEVICE);
    return status;
}

/* ---- launches ---- */

static enum ebm_status profile(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                               const struct ebm_task *tasks, uint32_t B, uint32_t runs,
                               struct ebm_launch_times *ret_times, uint32_t room, uint32_t *ret_n)
{
    struct accelerator *own = of(ctx);
    enum ebm_status status = check(own, ebm_gpu_profile_begin(own->space)) ? EBM_OK : EBM_DEVICE;
    for (uint32_t run = 0; status == EBM_OK && run <= runs; run++) {
        if (check(own, ebm_gpu_profile_run(own->space)))
            status = ebm_device_cpu()->predict(ctx, plan, h_x, tasks, B);
        if (status == EBM_OK && !check(own, ebm_gpu_profile_ran(own->space, run > 0)))
            status = EBM_DEVICE;
    }
    enum ebm_status summed = ebm_gpu_profile_end(own->space, ret_times, room, ret_n);
    return status == EBM_OK ? summed : status;
}

/* ---- plans ---- */

static void nets_free(void *accelerated)
{
    struct nets *nets = accelerated;
    for (uint32_t i = 0; i < EBM_COUNT_OF(nets->of); i++)
        (void)ebm_gpu_net_free(nets->of[i]);
    free(nets);
}

static enum ebm_status new_net(const struct ebm_plan *plan, const float *h_params, uint32_t device,
                               struct ebm_gpu_net **ret_net, struct ebm_error *reterr)
{
    enum ebm_status status = ebm_gpu_net_new(&plan->net, h_params, device, ret_net, reterr);
    if (status == EBM_OK)
        status = cuda_exact_load(plan, *ret_net, reterr);
    if (status != EBM_OK)
        *ret_net = ebm_gpu_net_free(*ret_net);
    return status;
}

/* Of several devices those that fail are done without; a single one is asked again. */
static enum ebm_status accelerate_serving(struct ebm_plan *plan, const float *h_params, struct ebm_error *reterr)
{
    struct nets *nets = calloc(1, sizeof *nets);
    struct ebm_error error = {EBM_DEVICE, "device", "every device has failed"};
    bool is_anywhere = false;
    if (nets == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for a network");
    plan->accelerated = nets;
    plan->free_accelerated = nets_free;
    for (uint32_t i = 0; i < ops.n_devices; i++) {
        if (ops.n_devices > 1 && ebm_gpu_is_lost(i))
            continue;
        enum ebm_status status = new_net(plan, h_params, i, &nets->of[i], &error);
        if (status != EBM_OK && (status != EBM_DEVICE || ops.n_devices == 1))
            return ebm_error_set(reterr, status, error.where, "%s", error.text);
        if (status == EBM_DEVICE)
            ebm_gpu_lose(i, error.text);
        is_anywhere = is_anywhere || status == EBM_OK;
    }
    return is_anywhere ? EBM_OK : ebm_error_set(reterr, EBM_DEVICE, error.where, "%s", error.text);
}

/* The plan of an ensemble is the CPU's. */
static enum ebm_status plan_new(const struct ebm_net_desc *net, const float *h_params, uint32_t n_slots,
                                struct ebm_plan **ret_plan, struct ebm_error *reterr)
{
    struct ebm_plan *plan = NULL;
    enum ebm_status status = ebm_device_cpu()->plan_new(net, h_params, n_slots, &plan, reterr);
    if (status == EBM_OK && n_slots == 0 && net->members <= 1)
        status = accelerate_serving(plan, h_params, reterr);
    else if (status == EBM_OK && n_slots > 0)
        status = ebm_cuda_train_plan(plan, reterr);
    if (status != EBM_OK) {
        (void)ebm_plan_unref(plan);
        return status;
    }
    *ret_plan = plan;
    return EBM_OK;
}

/* ---- contexts ---- */

static void accelerator_free(struct accelerator *own)
{
    if (own == NULL)
        return;
    (void)ebm_cuda_chunks_free(own->chunks);
    (void)ebm_gpu_space_free(own->space);
    free(own->mixture_space.p);
    free(own->wide.p);
    free(own);
}

static struct ebm_ctx *ctx_free(struct ebm_ctx *ctx)
{
    if (ctx != NULL)
        accelerator_free(of(ctx));
    return ebm_device_cpu()->ctx_free(ctx);
}

static enum ebm_status ctx_new(const struct ebm_ctx_limits *limits, struct ebm_ctx **ret_ctx, struct ebm_error *reterr)
{
    struct ebm_ctx *ctx = NULL;
    enum ebm_status status = ebm_device_cpu()->ctx_new(limits, &ctx, reterr);
    if (status != EBM_OK)
        return status;
    struct accelerator *own = calloc(1, sizeof *own);
    if (own == NULL)
        status = ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for a context");
    if (status == EBM_OK) {
        own->base = (struct ebm_accelerator){
            .features = features, .expect = expect, .score = score, .sums = sums, .exact = exact};
        own->device = limits->device;
        ctx->accelerator = &own->base;
        status = ebm_gpu_space_new(limits->max_rows, limits->max_rows * (ctx->stride / EBM_TILE), own->device,
                                   &own->space, reterr);
    }
    if (status != EBM_OK) {
        (void)ctx_free(ctx);
        return status;
    }
    *ret_ctx = ctx;
    return EBM_OK;
}

static enum ebm_status ctx_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan, struct ebm_error *reterr)
{
    const struct ebm_net_desc *net = &plan->net;
    enum ebm_status status = ebm_device_cpu()->ctx_prepare(ctx, plan, reterr);
    if (status != EBM_OK || plan->accelerated == NULL || plan->n_slots > 0)
        return status;
    if (net_there(ctx, plan) == NULL)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the context's device has failed");
    if (!ebm_slab_reserve(&of(ctx)->mixture_space, ebm_mixture_count(net->D, net->K + 1)) ||
        !ebm_slab_reserve(&of(ctx)->wide, ((size_t)2 * net->D + 1) * (net->K + 1)))
        return ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for a context");
    return ebm_gpu_space_prepare(of(ctx)->space, net_there(ctx, plan), reterr);
}

/* ---- the table ---- */

static enum ebm_status open_devices(const uint32_t *numbers, uint32_t n, enum ebm_precision precision,
                                    const struct ebm_device_ops **ret_ops, char ret_name[EBM_DEVICE_NAME_BYTES],
                                    struct ebm_error *reterr)
{
    uint32_t n_devices = 0;
    static const double slack[] = {
        [EBM_PRECISION_FP32] = 0.0, [EBM_PRECISION_TF32] = TF32_SLACK, [EBM_PRECISION_BF16] = BF16_SLACK};
    enum ebm_status status = ebm_gpu_open(numbers, n, (enum ebm_gpu_precision)precision, &n_devices, ret_name,
                                          EBM_DEVICE_NAME_BYTES, reterr);
    if (status != EBM_OK)
        return status;
    ops = *ebm_device_cpu();
    ops.name = "cuda";
    ops.n_devices = n_devices;
    for (uint32_t i = 0; i < n_devices; i++)
        ops.device_numbers[i] = n > 0 ? numbers[i] : i;
    ops.slack = slack[precision];
    ops.plan_new = plan_new;
    ops.ctx_new = ctx_new;
    ops.ctx_prepare = ctx_prepare;
    ops.ctx_free = ctx_free;
    ops.train_prepare = train_prepare;
    ops.profile = profile;
    ops.backward = backward;
    ebm_cuda_train_entries(&ops);
    *ret_ops = &ops;
    return EBM_OK;
}

__attribute__((visibility("default"))) const struct ebm_device_plugin *ebm_device_plugin(void);
__attribute__((visibility("default"))) ebm_device_failure_fn ebm_device_plugin_failure;

void ebm_device_plugin_failure(uint32_t device, char *ret_text, size_t bytes)
{
    ebm_gpu_failure(device, ret_text, bytes);
}

const struct ebm_device_plugin *ebm_device_plugin(void)
{
    static const struct ebm_device_plugin plugin = {EBM_DEVICE_ABI, sizeof(struct ebm_device_ops), open_devices};
    return &plugin;
}
