/* device_check_training.c - a few steps of training, on a device and on the CPU side by side; of images with their
 * trunk, a whole batch before the chunk and after it.
 *
 * The first step of a chunk's shape runs as it comes on a device, the second one is recorded, the third one is that
 * graph again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_check_nets.h"

#define ROWS 24u
#define SAMPLES 200u
#define FEW 7u /* samples of a chunk after others */
#define STEPS 3u
#define ERROR_OF_FLOATS 1e-4
#define SLACKS 2.0       /* gradients are differences of what is rounded */
#define TRUNK_SLACKS 4.0 /* and norms divide by them */

/* What a device leaves. */
struct learned {
    double losses[STEPS * ROWS];
    float *gradient, *params; /* (P): of the first step, after the last one */
};

static bool learned_init(struct learned *l, size_t P)
{
    l->gradient = calloc(P, sizeof *l->gradient);
    l->params = calloc(P, sizeof *l->params);
    return l->gradient != NULL && l->params != NULL;
}

static void learned_done(struct learned *l)
{
    free(l->gradient), free(l->params);
}

struct trial {
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    size_t P;
    bool has_trunk;
    float x[ROWS * EBM_CHECK_IMAGE_NUMBERS], y[ROWS * 4]; /* (ROWS, X), (ROWS, D) */
    struct ebm_row draws[ROWS];
    struct ebm_train_rows rows;
};

/* One thread, whose context is the trial's. */
static void run_tasks(void *pool, void (*task)(void *user, uint32_t i, struct ebm_ctx *ctx), void *user, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        task(user, i, pool);
}

/* Losses and gradients of the rows, images and all. */
static enum ebm_status back(struct trial *t, uint32_t samples, double *losses)
{
    const struct ebm_loss_spec spec = {
        .loss = EBM_LOSS_NCE_KL, .samples = samples, .proposal_trains_features = true, .scale = 1.0 / ROWS};
    const struct ebm_threads threads = {run_tasks, t->ctx, 1};
    enum ebm_status status = EBM_OK;
    if (t->has_trunk)
        status = t->ops->trunk_forward(t->plan, &threads, t->x, ROWS, true);
    if (status == EBM_OK)
        status = t->ops->backward(t->ctx, t->plan, 0, &spec, &t->rows, losses);
    return status == EBM_OK && t->has_trunk ? t->ops->trunk_backward(t->plan, &threads) : status;
}

/* Number `n`, from 0 on. */
static enum ebm_status step(struct trial *t, uint32_t n, struct learned *to)
{
    const struct ebm_adam adam = {
        .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-4, .step = {n + 1, n + 1, n + 1, n + 1}};
    const struct ebm_range all = {0, t->P};
    enum ebm_status status = back(t, SAMPLES, to->losses + (size_t)n * ROWS);
    if (status == EBM_OK)
        status = t->ops->reduce(t->plan, 1, all);
    if (status == EBM_OK && n == 0)
        status = t->ops->params_read(t->plan, EBM_TRAIN_GRADIENT, to->gradient);
    return status == EBM_OK ? t->ops->update(t->plan, &adam, all) : status;
}

/* A plan, its trunk's memory, and then a context, which has some for it, too. trial_done after either. */
static enum ebm_status trial_init(struct trial *t, const struct ebm_device_ops *ops, const struct ebm_check_net *net,
                                  struct ebm_error *reterr)
{
    const struct ebm_ctx_limits limits = {.max_rows = ROWS, .max_samples = SAMPLES, .training = true};
    *t = (struct trial){.ops = ops, .P = net->desc.n_params, .has_trunk = net->desc.trunk.n_ops > 0};
    t->rows = (struct ebm_train_rows){.B = ROWS, .h_x = t->has_trunk ? NULL : t->x, .h_y = t->y, .rows = t->draws};
    ebm_check_fill(t->x, EBM_COUNT_OF(t->x), 13);
    ebm_check_fill(t->y, EBM_COUNT_OF(t->y), 14);
    for (uint32_t b = 0; b < ROWS; b++)
        t->draws[b] = (struct ebm_row){.seed = 15, .row_in_request = b, .samples = SAMPLES};
    enum ebm_status status = ops->plan_new(&net->desc, net->params, 1, &t->plan, reterr);
    if (status == EBM_OK && t->has_trunk)
        status = ops->trunk_prepare(t->plan, ROWS, reterr);
    if (status == EBM_OK)
        status = ops->ctx_new(&limits, &t->ctx, reterr);
    return status == EBM_OK ? ops->ctx_prepare(t->ctx, t->plan, reterr) : status;
}

static void trial_done(struct trial *t)
{
    (void)t->ops->ctx_free(t->ctx);
    (void)t->ops->plan_unref(t->plan);
}

static enum ebm_status train(const struct ebm_device_ops *ops, const struct ebm_check_net *net, struct learned *to,
                             struct ebm_error *reterr)
{
    struct trial t;
    enum ebm_status status = trial_init(&t, ops, net, reterr);
    for (uint32_t n = 0; status == EBM_OK && n < STEPS; n++)
        status = step(&t, n, to);
    if (status == EBM_OK)
        status = ops->params_read(t.plan, EBM_TRAIN_PARAMS, to->params);
    if (status != EBM_OK)
        status = ebm_check_refused(ops, 0, status, "train", reterr);
    trial_done(&t);
    return status;
}

/* The gradient (P) of few samples, after that of many or by itself. */
static enum ebm_status few_gradient(const struct ebm_device_ops *ops, const struct ebm_check_net *net, bool is_after,
                                    float *gradient, struct ebm_error *reterr)
{
    const struct ebm_range all = {0, net->desc.n_params};
    double losses[ROWS];
    struct trial t;
    enum ebm_status status = trial_init(&t, ops, net, reterr);
    if (status == EBM_OK && is_after)
        status = back(&t, SAMPLES, losses);
    if (status == EBM_OK && is_after)
        status = ops->reduce(t.plan, 1, all);
    if (status == EBM_OK)
        status = back(&t, FEW, losses);
    if (status == EBM_OK)
        status = ops->reduce(t.plan, 1, all);
    if (status == EBM_OK)
        status = ops->params_read(t.plan, EBM_TRAIN_GRADIENT, gradient);
    if (status != EBM_OK)
        status = ebm_check_refused(ops, 0, status, "train", reterr);
    trial_done(&t);
    return status;
}

/* A chunk has the same bytes whatever ran before it. */
static enum ebm_status check_history(const struct ebm_device_ops *ops, const struct ebm_check_net *net,
                                     struct ebm_error *reterr)
{
    const size_t P = net->desc.n_params;
    float *both = calloc(2 * P, sizeof *both);
    enum ebm_status status = both != NULL
                                 ? EBM_OK
                                 : ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for the self-test");
    if (status == EBM_OK)
        status = few_gradient(ops, net, false, both, reterr);
    if (status == EBM_OK)
        status = few_gradient(ops, net, true, both + P, reterr);
    if (status == EBM_OK && memcmp(both, both + P, P * sizeof *both) != 0)
        status = ebm_error_set(reterr, EBM_DEVICE, "device",
                               "self-test, training: a gradient is another one after other chunks");
    free(both);
    return status;
}

/* Over the largest number that is expected, and infinite where one is not finite. */
static double error_of(const float *got, const float *expected, size_t n)
{
    double most = 0.0, error = 0.0;
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)got[i] - (double)expected[i]);
        most = fmax(most, fabs((double)expected[i]));
        error = isfinite(off) ? fmax(error, off) : (double)INFINITY;
    }
    return most > 0.0 ? error / most : error;
}

static double error_of_losses(const double *got, const double *expected)
{
    double error = 0.0;
    for (uint32_t i = 0; i < STEPS * ROWS; i++) {
        double off = fabs(got[i] - expected[i]) / fmax(1.0, fabs(expected[i]));
        error = isfinite(off) ? fmax(error, off) : (double)INFINITY;
    }
    return error;
}

static enum ebm_status judge(const struct ebm_device_training_errors *e, struct ebm_error *reterr)
{
    const double errors[] = {e->losses, e->gradient, e->params};
    static const char *const what[] = {"losses", "gradients", "parameters"};
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++)
        if (!(errors[i] <= e->allowed))
            return ebm_error_set(reterr, EBM_DEVICE, "device",
                                 "self-test, %s: %s differ by %.2g, expected at most %.2g", e->name, what[i], errors[i],
                                 e->allowed);
    return EBM_OK;
}

void ebm_device_training_print(const struct ebm_device_training_errors *e)
{
    (void)printf("%-16s  losses %.1e, gradients %.1e, parameters %.1e of %.1e\n", e->name, e->losses, e->gradient,
                 e->params, e->allowed);
}

static enum ebm_status check_net(const struct ebm_device_ops *ops, const struct ebm_check_shape *shape,
                                 struct ebm_device_training_errors *ret_errors, struct ebm_error *reterr)
{
    struct ebm_check_net net;
    struct learned got = {0}, expected = {0};
    bool ok = ebm_check_net_init(&net, shape);
    ok = ok && learned_init(&got, net.desc.n_params) && learned_init(&expected, net.desc.n_params);
    enum ebm_status status = ok ? EBM_OK
                                : ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for the self-test");
    if (status == EBM_OK)
        status = train(ebm_device_cpu(), &net, &expected, reterr);
    if (status == EBM_OK)
        status = train(ops, &net, &got, reterr);
    if (status == EBM_OK) {
        *ret_errors = (struct ebm_device_training_errors){
            .name = shape->name,
            .losses = error_of_losses(got.losses, expected.losses),
            .gradient = error_of(got.gradient, expected.gradient, net.desc.n_params),
            .params = error_of(got.params, expected.params, net.desc.n_params),
            .allowed = ERROR_OF_FLOATS + (net.desc.trunk.n_ops > 0 ? TRUNK_SLACKS : SLACKS) * ops->slack};
        status = judge(ret_errors, reterr);
    }
    if (status == EBM_OK)
        status = check_history(ops, &net, reterr);
    learned_done(&got);
    learned_done(&expected);
    ebm_check_net_done(&net);
    return status;
}

enum ebm_status ebm_device_check_training(const struct ebm_device_ops *ops,
                                          struct ebm_device_training_errors *ret_errors, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < EBM_DEVICE_TRAININGS; i++)
        status = check_net(ops, &ebm_check_trained[i], &ret_errors[i], reterr);
    return status;
}
