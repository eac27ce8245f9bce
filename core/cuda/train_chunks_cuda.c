/* train_chunks_cuda.c - chunks of rows in training: which of them the device computes, what goes there of them and what
 * comes back. The others are the CPU's, whose gradient, and that in a trunk's features, goes where the batch's is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cuda/device_exact.h"
#include "core/cuda/train_internal.h"
#include "core/support.h"
#include "core/train_internal.h"

struct ebm_cuda_chunks {
    struct ebm_gpu_training *training;
    const struct ebm_gpu_trained *of;
    uint32_t max_rows, max_candidates, families;
};

/* ---- what runs there ---- */

/* The table is made anew before a step: all its chunks are told the same. */
static bool has_points(const struct ebm_plan *plan, const struct ebm_train_rows *rows)
{
    struct ebm_gpu_exact_table table;
    return cuda_exact_table(plan, &table) && ebm_gpu_points_fit(&plan->net) && rows->h_samples == NULL;
}

static bool reads_heads(const struct ebm_loss_spec *spec)
{
    return ebm_loss_noise(spec->loss) == EBM_NOISE_PROPOSAL || spec->proposal_beside;
}

/* Fixed noise within bounds or of a period is drawn here; a proposal that is, and chains, are not taken to the device.
 */
static bool runs_there(const struct ebm_plan *plan, const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows)
{
    return ebm_cuda_trained(plan) != NULL && (spec->loss != EBM_LOSS_ML_EXACT || has_points(plan, rows)) &&
           !((reads_heads(spec) || spec->loss == EBM_LOSS_ML_MCMC) &&
             ebm_support_is_confined(plan->net.support, plan->net.D));
}

static uint32_t candidates_of(uint32_t M)
{
    return (uint32_t)ebm_round_up(M + 1, EBM_LANES);
}

static struct ebm_gpu_chunk shape_of(const struct ebm_plan *plan, const struct ebm_loss_spec *spec,
                                     const struct ebm_train_rows *rows)
{
    const struct ebm_net_desc *net = &plan->net;
    bool is_fixed = ebm_loss_noise(spec->loss) == EBM_NOISE_FIXED;
    bool is_confined = is_fixed && ebm_support_is_confined(net->support, net->D);
    uint32_t M = ebm_loss_draws(spec->loss) ? spec->samples : 0;
    bool walks = spec->loss == EBM_LOSS_ML_MCMC && rows->h_samples == NULL;
    return (struct ebm_gpu_chunk){.B = rows->B,
                                  .M = M,
                                  .n = spec->loss == EBM_LOSS_SM ? net->D : candidates_of(M),
                                  .steps = walks ? spec->langevin_steps : 0,
                                  .loss = spec->loss,
                                  .beside = spec->proposal_beside ? candidates_of(spec->samples) : 0,
                                  .beside_M = spec->proposal_beside ? spec->samples : 0,
                                  .reads_heads = reads_heads(spec),
                                  .noise_K = is_fixed ? spec->n_sigmas : 0,
                                  .is_given = M > 0 && (rows->h_samples != NULL || is_confined),
                                  .has_density = is_confined,
                                  .wants_dx = ebm_train_is_of_batch(rows) && plan->trunk_batch->learns,
                                  .by_proposal = spec->proposal_trains_features,
                                  .scale = (float)spec->scale};
}

static uint32_t families_of(const struct ebm_gpu_chunk *shape)
{
    uint32_t given = shape->is_given ? EBM_GPU_GIVEN : 0;
    switch (shape->loss) {
    case EBM_LOSS_ML_EXACT:
        return given | EBM_GPU_BY_POINTS;
    case EBM_LOSS_DSM:
        return given | EBM_GPU_BY_SLOPES;
    case EBM_LOSS_SM:
        return given | EBM_GPU_BY_SLOPES | EBM_GPU_BY_CURVES;
    default:
        return given;
    }
}

/* ---- memory ---- */

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* The plan's part of it, which its chunks share. */
static enum ebm_status reserve_kinks(const struct ebm_plan *plan, struct ebm_error *reterr)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    struct ebm_gpu_exact_table table;
    if (!cuda_exact_table(plan, &table))
        return EBM_OK;
    (void)pthread_mutex_lock(&t->mutex);
    enum ebm_status status = ebm_gpu_trained_kinks_new(t->there, &table, reterr);
    (void)pthread_mutex_unlock(&t->mutex);
    return status;
}

/* Memory for chunks of such a shape, made anew where there is less. */
static enum ebm_status reserve(struct ebm_cuda_chunks **chunks, struct ebm_gpu_space *space,
                               const struct ebm_plan *plan, const struct ebm_gpu_chunk *shape, struct ebm_error *reterr)
{
    struct ebm_gpu_trained *there = ebm_cuda_trained(plan)->there;
    struct ebm_cuda_chunks *own = *chunks;
    const uint32_t n = larger(shape->n, shape->beside), families = families_of(shape);
    if (own == NULL)
        own = *chunks = calloc(1, sizeof *own);
    if (own == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory to train");
    if (own->training != NULL && own->of == there && own->max_rows >= shape->B && own->max_candidates >= n &&
        (own->families & families) == families)
        return EBM_OK;
    enum ebm_status status = shape->loss == EBM_LOSS_ML_EXACT ? reserve_kinks(plan, reterr) : EBM_OK;
    if (status != EBM_OK)
        return status;
    own->training = ebm_gpu_training_free(own->training);
    if (own->of != there)
        own->max_rows = own->max_candidates = own->families = 0;
    own->max_rows = larger(own->max_rows, shape->B);
    own->max_candidates = larger(own->max_candidates, n);
    own->families |= families;
    own->of = there;
    return ebm_gpu_training_new(space, there, own->max_rows, own->max_candidates, own->families, &own->training,
                                reterr);
}

enum ebm_status ebm_cuda_train_prepare(struct ebm_gpu_space *space, struct ebm_cuda_chunks **chunks,
                                       const struct ebm_plan *plan, const struct ebm_loss_spec *spec, uint32_t max_rows,
                                       struct ebm_error *reterr)
{
    static const float none;
    const struct ebm_train_rows rows = {.B = max_rows, .h_x = &none}; /* their shape alone */
    if (!runs_there(plan, spec, &rows))
        return EBM_OK;
    const struct ebm_gpu_chunk shape = shape_of(plan, spec, &rows);
    return reserve(chunks, space, plan, &shape, reterr);
}

struct ebm_cuda_chunks *ebm_cuda_chunks_free(struct ebm_cuda_chunks *chunks)
{
    if (chunks != NULL)
        (void)ebm_gpu_training_free(chunks->training);
    free(chunks);
    return NULL;
}

/* ---- what goes up and comes down ---- */

/* std, inv_std, log_const and below of the noise around 0, which are the same around any target of the line. */
static bool put_noise(const struct ebm_chunk *c, float *to)
{
    static const float zero[LIMIT_TARGET_DIM];
    const uint32_t D = c->plan->net.D, K = c->spec->n_sigmas;
    struct ebm_mixture noise;
    if (!ebm_train_bind_fixed(c, &c->ctx->train.noise, zero, c->spec->sigmas, K, 1.0, &noise))
        return false;
    memcpy(to, noise.std, (size_t)D * K * sizeof *to);
    memcpy(to + D * K, noise.inv_std, (size_t)D * K * sizeof *to);
    memcpy(to + 2 * D * K, noise.log_const, K * sizeof *to);
    memcpy(to + (2 * D + 1) * K, noise.below, K * sizeof *to);
    return true;
}

static bool put_label(const struct ebm_chunk *c, float *to)
{
    static const float zero[LIMIT_TARGET_DIM];
    const uint32_t D = c->plan->net.D;
    struct ebm_mixture label;
    if (!ebm_train_bind_fixed(c, &c->ctx->train.label, zero, c->spec->label_sigma, 1, 1.0, &label))
        return false;
    memcpy(to, label.inv_std, D * sizeof *to);
    to[D] = label.log_const[0];
    return true;
}

/* Candidates of row b, drawn or given here, with their densities where these are taken here too. */
static bool put_candidates(struct ebm_chunk *c, const struct ebm_gpu_chunk *shape, const struct ebm_gpu_rows *to,
                           uint32_t b)
{
    const struct ebm_ctx *ctx = c->ctx;
    const uint32_t D = c->plan->net.D;
    const size_t at = (size_t)b * shape->n;
    struct ebm_mixture noise;
    if (!shape->has_density) {
        memcpy(to->y + at * D, c->rows->h_samples + (size_t)b * shape->M * D, (size_t)shape->M * D * sizeof *to->y);
        return true;
    }
    if (!ebm_train_candidates(c, b, &noise) || !ebm_train_label_density(c, b))
        return false;
    for (uint32_t m = 0; m < shape->n; m++)
        for (uint32_t d = 0; d < D; d++)
            to->y[(at + m) * D + d] = ctx->y.p[d * ctx->stride + m];
    memcpy(to->log_q + at, ctx->log_q.p, shape->n * sizeof *to->log_q);
    if (c->loss == EBM_LOSS_KLD_IS)
        memcpy(to->log_label + at, ctx->train.log_label.p, shape->n * sizeof *to->log_label);
    return true;
}

/* False: no finite density. */
static bool put_rows(struct ebm_chunk *c, const struct ebm_gpu_chunk *shape, struct ebm_gpu_rows *to)
{
    const struct ebm_train_rows *rows = c->rows;
    const uint32_t D = c->plan->net.D;
    bool is_fine = (shape->noise_K == 0 || put_noise(c, to->noise)) &&
                   (c->loss != EBM_LOSS_KLD_IS || put_label(c, to->label));
    if (shape->steps > 0)
        memcpy(to->label, c->spec->langevin_step, D * sizeof *to->label);
    to->is_of_batch = ebm_train_is_of_batch(rows);
    to->first = rows->first;
    if (!to->is_of_batch)
        memcpy(to->x, rows->h_x, (size_t)rows->B * ebm_net_reach(&c->plan->net) * sizeof *to->x);
    memcpy(to->center, rows->h_y, (size_t)rows->B * D * sizeof *to->center);
    for (uint32_t b = 0; is_fine && b < rows->B; b++) {
        if (rows->rows != NULL)
            to->draws[b] = (struct ebm_gpu_draw){rows->rows[b].seed, rows->rows[b].row_in_request,
                                                 rows->rows[b].first_sample};
        is_fine = ebm_train_target(c, b, c->ctx->y.p, to->y_0 + (size_t)b * D) &&
                  (!shape->is_given || put_candidates(c, shape, to, b));
    }
    return is_fine;
}

static void take_out(const struct ebm_gpu_chunk *shape, const struct ebm_gpu_rows *from, double *h_loss)
{
    for (uint32_t b = 0; b < shape->B; b++)
        h_loss[b] = (double)from->loss[b] + (shape->beside > 0 ? (double)from->beside[b] : 0.0);
}

/* ---- a chunk ---- */

static enum ebm_status backward_here(struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                                     const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows,
                                     double *h_loss)
{
    if (!ebm_cuda_bring(plan, EBM_TRAIN_PARAMS) || !ebm_cuda_features_bring(plan, rows))
        return EBM_DEVICE;
    enum ebm_status status = ebm_device_cpu()->backward(ctx, plan, slot, spec, rows, h_loss);
    return status == EBM_OK && !ebm_cuda_features_learn(plan, rows) ? EBM_DEVICE : status;
}

/* A chunk that the CPU has to compute although the others of its batch may be there: its gradient goes there. */
static enum ebm_status run_here(const struct ebm_chunk *c, struct ebm_gpu_training *training, uint32_t slot,
                                double *h_loss)
{
    float *gradient = ebm_plan_slot(c->plan, slot);
    enum ebm_status status = backward_here(c->ctx, c->plan, slot, c->spec, c->rows, h_loss);
    if (status == EBM_OK && !ebm_gpu_training_add(training, gradient, slot))
        status = EBM_DEVICE;
    memset(gradient, 0, ebm_plan_slot_count(c->plan) * sizeof *gradient);
    return status;
}

/* The table of kinks, if the device has an older one. */
static bool take_kinks(const struct ebm_plan *plan)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    struct ebm_gpu_exact_table table;
    bool is_fine = true;
    if (!atomic_load(&t->kinks_are_stale))
        return true;
    (void)pthread_mutex_lock(&t->mutex);
    if (atomic_load(&t->kinks_are_stale)) {
        is_fine = cuda_exact_table(plan, &table) && ebm_gpu_trained_kinks(t->there, &table);
        atomic_store(&t->kinks_are_stale, !is_fine);
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return is_fine;
}

/* The candidates of ml_exact, where the chunk is of it. TOO_LARGE: there are too many. */
static enum ebm_status find_points(const struct ebm_chunk *c, struct ebm_gpu_training *training,
                                   struct ebm_gpu_chunk *shape)
{
    if (shape->loss != EBM_LOSS_ML_EXACT)
        return EBM_OK;
    return take_kinks(c->plan) ? ebm_gpu_training_points(training, shape) : EBM_DEVICE;
}

static enum ebm_status run_chunk(struct ebm_chunk *c, struct ebm_gpu_space *space, struct ebm_cuda_chunks **chunks,
                                 uint32_t slot, double *h_loss)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(c->plan);
    struct ebm_gpu_chunk shape = shape_of(c->plan, c->spec, c->rows);
    enum ebm_status status = reserve(chunks, space, c->plan, &shape, NULL);
    c->loss = c->spec->loss, c->M = shape.M, c->n = shape.n;
    c->ctx->plan = c->plan;
    c->ctx->B = c->ctx->M = 0; /* what features and propose left is gone */
    atomic_store(&t->gradient_is_there, true);
    if (status == EBM_OK && !ebm_cuda_take_all(c->plan))
        status = EBM_DEVICE;
    if (status != EBM_OK)
        return status;
    struct ebm_gpu_training *training = (*chunks)->training;
    struct ebm_gpu_rows *rows = ebm_gpu_training_rows(training);
    if (!put_rows(c, &shape, rows)) { /* as the CPU: no loss, no gradient */
        for (uint32_t b = 0; b < shape.B; b++)
            h_loss[b] = (double)NAN;
        return EBM_OK;
    }
    status = find_points(c, training, &shape);
    if (status == EBM_TOO_LARGE)
        return run_here(c, training, slot, h_loss);
    if (status != EBM_OK || !ebm_gpu_training_run(training, &shape, slot))
        return EBM_DEVICE;
    take_out(&shape, rows, h_loss);
    return EBM_OK;
}

enum ebm_status ebm_cuda_backward(struct ebm_ctx *ctx, struct ebm_gpu_space *space, struct ebm_cuda_chunks **chunks,
                                  const struct ebm_plan *plan, uint32_t slot, const struct ebm_loss_spec *spec,
                                  const struct ebm_train_rows *rows, double *h_loss)
{
    struct ebm_cuda_trained *t = ebm_cuda_trained(plan);
    if (!ebm_train_is_possible(ctx, plan, slot, spec, rows))
        return EBM_INVALID;
    if (runs_there(plan, spec, rows)) {
        struct ebm_chunk c = {.ctx = ctx, .plan = plan, .spec = spec, .rows = rows};
        return run_chunk(&c, space, chunks, slot, h_loss);
    }
    if (t != NULL)
        atomic_store(&t->gradient_is_there, false);
    return backward_here(ctx, plan, slot, spec, rows, h_loss);
}
