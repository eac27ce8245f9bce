/* training.h - a model in training on rows of random numbers, on one thread: steps as the trainer takes them, for
 * programs that measure. Whatever fails ends the program. */
#ifndef EBM_BENCH_TRAINING_H
#define EBM_BENCH_TRAINING_H

#include <stdio.h>
#include <stdlib.h>

#include "models/model.h"
#include "trainer/step.h"

#define TRAINING_MOST_ROWS 64u
#define TRAINING_IMAGES 32u /* most rows of a step with images: a smaller one takes as long */

struct training {
    struct method_plan method;
    struct ebm_plan *plan;
    struct pool *pool;
    struct step step;
    float *reach;      /* (TRAINING_IMAGES, trunk.out): room for `kept` */
    const float *kept; /* what the trunk made of the rows, (B, trunk.out), and the heads alone learn; NULL: x is read */
    struct ebm_row rows[TRAINING_MOST_ROWS];
    double losses[TRAINING_MOST_ROWS];
};

static inline void training_must(enum ebm_status status, const struct ebm_error *error, const char *what)
{
    if (status == EBM_OK)
        return;
    fprintf(stderr, "%s: %s %s %s\n", what, ebm_status_name(status), error->where, error->text);
    exit(1);
}

/* (n) uniform in (-1, 1), by the position alone. */
static inline void random_numbers(float *to, size_t n, uint32_t stream)
{
    uint32_t words[4];
    for (size_t i = 0; i < n; i++) {
        ebm_philox(3, (uint32_t)i, 0, stream, 0, words);
        to[i] = (float)(2.0 * ebm_uniform(words[0]) - 1.0);
    }
}

/* A loss without draws leaves a proposal alone when samples are 0: ml_exact needs none. Else it is trained beside. */
static inline struct training *training_new(const struct ebm_model *model, const char *method_name, uint32_t samples)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    const struct ebm_device_ops *ops = ebm_device_cpu();
    struct ebm_ctx_limits limits = {
        .training = true, .max_rows = TRAINING_MOST_ROWS, .max_samples = samples > 0 ? samples : 1};
    struct method_settings settings = {.epochs = 1, .samples = samples};
    struct training *t = calloc(1, sizeof *t);
    const struct method *method = NULL;
    struct ebm_error error = {0};
    if (t == NULL)
        exit(1);
    training_must(method_find(method_name, &method, &error), &error, method_name);
    training_must(method_lay(method, net, &settings, &t->method, &error), &error, method_name);
    for (uint32_t i = 0; samples == 0 && i < t->method.n_phases; i++) {
        t->method.phases[i].loss.proposal_beside = false;
        t->method.phases[i].trains[EBM_PART_PROPOSAL] = false;
    }
    training_must(ops->plan_new(net, ebm_model_params(model), STEP_CHUNKS, &t->plan, &error), &error, "plan");
    if (net->trunk.n_ops > 0)
        training_must(ops->trunk_prepare(t->plan, TRAINING_IMAGES, &error), &error, "trunk");
    t->reach = ebm_alloc_aligned((size_t)TRAINING_IMAGES * net->trunk.out * sizeof *t->reach);
    if (t->reach == NULL)
        exit(1);
    training_must(pool_new(ops, &limits, t->plan, 1, &t->pool, &error), &error, "pool");
    t->step = (struct step){.ops = ops, .pool = t->pool, .plan = t->plan, .net = net, .learning_rate = 1e-3};
    return t;
}

/* x (B, X), y (B, D); every call draws anew. */
static inline void training_step(struct training *t, uint32_t B, const float *x, const float *y)
{
    const struct method_phase *phase = method_phase_at(&t->method, 0);
    struct step_batch batch = {.B = B, .x = x, .y = y, .reach = t->kept, .rows = t->rows, .losses = t->losses};
    EBM_ASSERT(B <= TRAINING_MOST_ROWS);
    for (uint32_t b = 0; b < B; b++)
        t->rows[b] = (struct ebm_row){.seed = t->rows[b].seed + 1, .row_in_request = b, .samples = phase->loss.samples};
    if (step_run(&t->step, phase, &batch) != EBM_OK)
        exit(1);
}

static inline void training_free(struct training *t)
{
    (void)pool_free(t->pool);
    (void)t->step.ops->plan_unref(t->plan);
    method_plan_done(&t->method);
    free(t->reach);
    free(t);
}

#endif
