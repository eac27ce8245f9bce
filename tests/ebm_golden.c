/* ebm_golden.c - recomputes everything in golden folders and compares.
 *
 *   ebm-golden [--device cpu|reference | --plugin FILE] DIR [DIR ...]
 *
 * A folder holds model.safetensors and expected.safetensors, made by an independent implementation. For each expected
 * tensor one line: name, largest error, what was allowed. A tensor passes when its largest absolute error is at most
 * tolerance * max(its largest magnitude, 1e-3 * the largest gradient of the same loss, 1e-6); tolerance 1e-5 for
 * forward values, 1e-4 for gradients, ten times that of models that read images. Among the hundred thousand relus of
 * such a model some input may be within rounding of 0, and the gradient jumps there: what a gradient changes by on the
 * reference device when the images move by 1e-6 is allowed too, and such a tensor is marked `at a kink`. NaN, a wrong
 * shape, or a non-zero gradient without a tensor fails. What this version does not compute is listed as `not built` and
 * counted apart. Ends with `N passed, N failed`; exit status 1 on a failure. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/device_internal.h"
#include "core/device_plugin.h"
#include "core/kernels.h"
#include "core/safetensors.h"
#include "models/model.h"

#define FORWARD_TOLERANCE 1e-5
#define GRADIENT_TOLERANCE 1e-4
#define NUDGE 1e-6
#define NUDGES 8u

static unsigned n_passed, n_failed, n_not_built;
static double looseness; /* 10 for images: tens of convolutions stand behind each other */

struct golden {
    const struct ebm_device_ops *ops;
    struct ebm_model *model;
    const struct ebm_net_desc *net;
    struct ebm_safetensors *expected;
    struct ebm_plan *plan, *served; /* in training; as a server has it */
    struct ebm_ctx *ctx;
    uint32_t B, M;
    float *x, *y, *samples, *sigmas; /* (B, X), (B, D), (B, M, D), (n_sigmas, D) */
    uint32_t n_sigmas;
    float *label_noise;             /* (B, D) of nce_plus */
    float *label_sigma, *dsm_sigma; /* (D) */
    bool *is_done;                  /* one for each expected tensor */
};

static void *must(void *pointer)
{
    if (pointer == NULL) {
        fprintf(stderr, "ebm-golden: out of memory\n");
        exit(2);
    }
    return pointer;
}

static double number(const struct ebm_tensor *t, size_t i)
{
    if (t->dtype == EBM_DTYPE_F64)
        return ((const double *)t->data)[i];
    return (double)((const float *)t->data)[i];
}

static const struct ebm_tensor *find(struct golden *g, const char *name)
{
    const struct ebm_tensor *t = ebm_safetensors_find(g->expected, name);
    if (t == NULL)
        return NULL;
    if (t->dtype != EBM_DTYPE_F64 && t->dtype != EBM_DTYPE_F32) {
        fprintf(stderr, "ebm-golden: %s is neither F64 nor F32\n", name);
        exit(2);
    }
    for (size_t i = 0; i < ebm_safetensors_count(g->expected); i++)
        if (ebm_safetensors_at(g->expected, i) == t)
            g->is_done[i] = true;
    return t;
}

static float *floats(struct golden *g, const char *name, uint32_t *ret_rows, uint32_t *ret_second)
{
    const struct ebm_tensor *t = find(g, name);
    if (t == NULL)
        return NULL;
    float *values = must(calloc(t->count + 1, sizeof *values));
    for (size_t i = 0; i < t->count; i++)
        values[i] = (float)number(t, i);
    if (ret_rows != NULL)
        *ret_rows = (uint32_t)t->shape[0];
    if (ret_second != NULL)
        *ret_second = t->n_dims > 1 ? (uint32_t)t->shape[1] : 1;
    return values;
}

static double largest(const struct ebm_tensor *t)
{
    double max = 0.0;
    for (size_t i = 0; i < t->count; i++)
        max = fmax(max, fabs(number(t, i)));
    return max;
}

/* NaN counts as an infinite error; `jump`: what is allowed besides. */
static void check(const struct ebm_tensor *t, const double *got, size_t count, double tolerance, double floor_magnitude,
                  double jump)
{
    double error = 0.0, magnitude = fmax(fmax(largest(t), floor_magnitude), 1e-6);
    bool right_shape = t->count == count;
    for (size_t i = 0; right_shape && i < count; i++) {
        double difference = fabs(got[i] - number(t, i));
        error = isnan(difference) ? (double)INFINITY : fmax(error, difference);
    }
    double allowed = looseness * tolerance * magnitude;
    bool ok = right_shape && error <= allowed + jump;
    printf("%-6s %-52s error %.2e of %.2e%s\n", ok ? "ok" : "FAIL", t->name, error,
           ok && error > allowed ? allowed + jump : allowed,
           !right_shape            ? "  (wrong shape)"
           : ok && error > allowed ? "  (at a kink)"
                                   : "");
    *(ok ? &n_passed : &n_failed) += 1;
}

static void check_forward(struct golden *g, const char *name, const double *got, size_t count)
{
    const struct ebm_tensor *t = find(g, name);
    if (t != NULL)
        check(t, got, count, FORWARD_TOLERANCE, 0.0, 0.0);
}

static void must_ok(enum ebm_status status, const char *what)
{
    if (status != EBM_OK) {
        fprintf(stderr, "ebm-golden: %s: %s\n", what, ebm_status_text(status));
        exit(2);
    }
}

/* ---- forward ---- */

/* One tensor of n numbers a row, fetched row by row after `prepare`. */
struct rows {
    double *values;
    size_t n;
};

static struct rows rows_new(const struct golden *g, size_t n)
{
    return (struct rows){must(calloc(g->B * n + 1, sizeof(double))), n};
}

static void rows_fetch(struct golden *g, struct rows *rows, enum ebm_fetch what, uint32_t b)
{
    float *row = must(calloc(rows->n + 1, sizeof *row));
    must_ok(g->ops->fetch(g->ctx, what, b, row), "fetch");
    for (size_t i = 0; i < rows->n; i++)
        rows->values[b * rows->n + i] = (double)row[i];
    free(row);
}

static void rows_check(struct golden *g, const char *name, struct rows *rows)
{
    check_forward(g, name, rows->values, g->B * rows->n);
    free(rows->values);
}

static void forward_x(struct golden *g)
{
    size_t DK = (size_t)g->net->D * g->net->K;
    struct rows h = rows_new(g, g->net->H), mean = rows_new(g, DK), log_variance = rows_new(g, DK);
    struct rows log_weight = rows_new(g, g->net->K);
    must_ok(g->ops->features(g->ctx, g->served, g->x, g->B), "features");
    for (uint32_t b = 0; b < g->B; b++) {
        rows_fetch(g, &h, EBM_FETCH_FEATURES, b);
        rows_fetch(g, &mean, EBM_FETCH_MIXTURE_MEAN, b);
        rows_fetch(g, &log_variance, EBM_FETCH_MIXTURE_LOG_VARIANCE, b);
        rows_fetch(g, &log_weight, EBM_FETCH_MIXTURE_LOG_WEIGHT, b);
    }
    rows_check(g, "features", &h);
    rows_check(g, "mixture.mean", &mean);
    rows_check(g, "mixture.log_variance", &log_variance);
    rows_check(g, "mixture.log_weight", &log_weight);
}

/* f, log q and grad f at M given targets a row. */
static void forward_y(struct golden *g, const float *targets, uint32_t M, const char *f_name, const char *q_name,
                      const char *grad_name)
{
    struct rows f = rows_new(g, M), log_q = rows_new(g, M), grad = rows_new(g, (size_t)M * g->net->D);
    for (uint32_t b = 0; b < g->B; b++) {
        struct ebm_row row = {.samples = M};
        must_ok(g->ops->propose(g->ctx, b, &row, targets + (size_t)b * M * g->net->D), "propose");
        if (g->net->K > 0)
            rows_fetch(g, &log_q, EBM_FETCH_LOG_Q, b);
        if (!g->net->has_energy)
            continue;
        must_ok(g->ops->score(g->ctx, true), "score");
        rows_fetch(g, &f, EBM_FETCH_F, b);
        rows_fetch(g, &grad, EBM_FETCH_GRAD_Y, b);
    }
    rows_check(g, f_name, &f);
    rows_check(g, q_name, &log_q);
    rows_check(g, grad_name, &grad);
}

static void forward_snis(struct golden *g)
{
    uint32_t D = g->net->D;
    if (g->net->K == 0 || !g->net->has_energy)
        return;
    struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_IMPORTANCE};
    struct rows weights = rows_new(g, g->M), mean = rows_new(g, D), std = rows_new(g, D);
    struct rows ess = rows_new(g, 1), log_z = rows_new(g, 1);
    for (uint32_t b = 0; b < g->B; b++) {
        struct ebm_row row = {.samples = g->M};
        struct ebm_estimate out = {.mean = mean.values + (size_t)b * D, .variance = std.values + (size_t)b * D};
        must_ok(g->ops->propose(g->ctx, b, &row, g->samples + (size_t)b * g->M * D), "propose");
        must_ok(g->ops->score(g->ctx, false), "score");
        must_ok(g->ops->estimate(g->ctx, &spec, &out), "estimate");
        rows_fetch(g, &weights, EBM_FETCH_LOG_WEIGHTS, b);
        for (uint32_t d = 0; d < D; d++)
            std.values[b * D + d] = sqrt(std.values[b * D + d]);
        ess.values[b] = out.ess;
        log_z.values[b] = out.log_z;
    }
    for (size_t i = 0; i < (size_t)g->B * g->M; i++)
        weights.values[i] = exp(weights.values[i]);
    rows_check(g, "snis.weights", &weights);
    rows_check(g, "snis.mean", &mean);
    rows_check(g, "snis.std", &std);
    rows_check(g, "snis.ess", &ess);
    rows_check(g, "snis.log_partition", &log_z);
}

/* log density of M targets a row under the fixed noise around the row's true target, by the fine table. */
static void forward_noise(struct golden *g, const float *targets, uint32_t M, const char *name)
{
    uint32_t D = g->net->D, K = g->n_sigmas, lanes = (uint32_t)ebm_round_up(M, EBM_LANES);
    const struct ebm_kernels *kernels = g->ops == ebm_device_reference() ? ebm_kernels_ref() : ebm_kernels_cpu();
    float *space = must(calloc(ebm_mixture_count(D, K), sizeof *space));
    float *mean = must(calloc((size_t)D * K, sizeof *mean)), *log_variance = must(calloc((size_t)D * K, sizeof *mean));
    float *log_weight = must(calloc(K, sizeof *mean)), *lane_y = must(calloc((size_t)D * lanes, sizeof *mean));
    float *log_q = must(calloc(lanes, sizeof *mean));
    struct rows rows = rows_new(g, M);
    for (uint32_t b = 0; b < g->B; b++) {
        struct ebm_mixture q;
        for (uint32_t k = 0; k < K; k++) {
            log_weight[k] = (float)-log((double)K);
            for (uint32_t d = 0; d < D; d++) {
                mean[d * K + k] = g->y[b * D + d];
                log_variance[d * K + k] = (float)(2.0 * log((double)g->sigmas[k * D + d]));
            }
        }
        (void)ebm_mixture_bind(&q, space, mean, log_variance, log_weight, g->net->support, D, K);
        for (uint32_t m = 0; m < M; m++)
            for (uint32_t d = 0; d < D; d++)
                lane_y[(size_t)d * lanes + m] = targets[((size_t)b * M + m) * D + d];
        kernels->mixture_log_density(log_q, &q, lane_y, lanes, lanes);
        for (uint32_t m = 0; m < M; m++)
            rows.values[(size_t)b * M + m] = (double)log_q[m];
    }
    rows_check(g, name, &rows);
    free(space), free(mean), free(log_variance), free(log_weight), free(lane_y), free(log_q);
}

/* ---- losses ---- */

static double largest_gradient(struct golden *g, const char *word)
{
    char prefix[64];
    double max = 0.0;
    (void)snprintf(prefix, sizeof prefix, "grad.%s.", word);
    for (size_t i = 0; i < ebm_safetensors_count(g->expected); i++) {
        const struct ebm_tensor *t = ebm_safetensors_at(g->expected, i);
        if (strncmp(t->name, prefix, strlen(prefix)) == 0)
            max = fmax(max, largest(t));
    }
    return max;
}

/* jumps (P) at kinks; NULL: none */
static void check_gradients(struct golden *g, const char *word, const float *gradient, const float *jumps)
{
    const struct ebm_param *params;
    size_t n = ebm_config_params(ebm_model_config(g->model), &params);
    double floor_magnitude = 1e-3 * largest_gradient(g, word);
    for (size_t i = 0; i < n; i++) {
        char name[160];
        size_t count = ebm_param_count(&params[i]);
        double *got = must(calloc(count, sizeof *got)), max = 0.0, jump = 0.0;
        (void)snprintf(name, sizeof name, "grad.%s.%s", word, params[i].name);
        for (size_t j = 0; j < count; j++) {
            got[j] = (double)gradient[params[i].offset + j];
            max = isnan(got[j]) ? (double)INFINITY : fmax(max, fabs(got[j]));
            jump = jumps != NULL ? fmax(jump, (double)jumps[params[i].offset + j]) : 0.0;
        }
        const struct ebm_tensor *t = find(g, name);
        if (t != NULL) {
            check(t, got, count, GRADIENT_TOLERANCE, floor_magnitude, jump);
        } else if (max > looseness * GRADIENT_TOLERANCE * fmax(floor_magnitude, 1e-6)) {
            printf("FAIL   %-52s is %.2e where the loss does not reach\n", name, max);
            n_failed++;
        }
        free(got);
    }
}

/* What a loss of the folder's numbers is: ml_mcmc takes the given samples for the ends of its chains. */
static struct ebm_loss_spec spec_of(const struct golden *g, enum ebm_loss loss)
{
    return (struct ebm_loss_spec){
        .loss = loss,
        .samples = g->M,
        .n_sigmas = loss == EBM_LOSS_DSM ? 1 : g->n_sigmas,
        .sigmas = loss == EBM_LOSS_DSM ? g->dsm_sigma : g->sigmas,
        .label_sigma = g->label_sigma,
        .beta = 1.0,
        .langevin_steps = 1,
        .langevin_step = g->label_sigma,
        .proposal_trains_features = loss == EBM_LOSS_MDN_NLL || g->net->trains_features,
        .scale = 1.0 / g->B,
    };
}

/* The trace of the Hessian: what sm has besides half the squared gradient. */
static void check_laplacian(struct golden *g, const double *losses)
{
    uint32_t D = g->net->D;
    struct rows laplacian = rows_new(g, 1);
    float *gradient = must(calloc(D, sizeof *gradient));
    must_ok(g->ops->features(g->ctx, g->served, g->x, g->B), "features");
    for (uint32_t b = 0; b < g->B; b++) {
        struct ebm_row row = {.samples = 1};
        must_ok(g->ops->propose(g->ctx, b, &row, g->y + (size_t)b * D), "propose");
        must_ok(g->ops->score(g->ctx, true), "score");
        must_ok(g->ops->fetch(g->ctx, EBM_FETCH_GRAD_Y, b, gradient), "gradient");
        laplacian.values[b] = losses[b];
        for (uint32_t d = 0; d < D; d++)
            laplacian.values[b] -= 0.5 * (double)gradient[d] * (double)gradient[d];
    }
    rows_check(g, "laplacian_y_f", &laplacian);
    free(gradient);
}

/* Tasks one after the other on the folder's context. */
static void run_here(void *pool, void (*task)(void *user, uint32_t i, struct ebm_ctx *ctx), void *user, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        task(user, i, pool);
}

/* Losses (B) and the whole gradient (P); of images where the trunk does not learn, but for the trunk's. */
static void losses_and_gradient(struct golden *g, const struct ebm_loss_spec *spec, bool learns, double *losses,
                                float *gradient)
{
    const struct ebm_threads threads = {run_here, g->ctx, 1};
    struct ebm_train_rows rows = {
        .B = g->B, .h_x = g->x, .h_y = g->y, .h_samples = g->samples, .h_label_noise = g->label_noise};
    const bool has_trunk = g->net->trunk.n_ops > 0;
    if (has_trunk) {
        must_ok(g->ops->trunk_forward(g->plan, &threads, g->x, g->B, learns), "trunk");
        rows.h_x = NULL;
    }
    must_ok(g->ops->backward(g->ctx, g->plan, 0, spec, &rows, losses), "backward");
    if (has_trunk && learns)
        must_ok(g->ops->trunk_backward(g->plan, &threads), "trunk");
    must_ok(g->ops->reduce(g->plan, 1, (struct ebm_range){0, g->net->n_params}), "reduce");
    must_ok(g->ops->params_read(g->plan, EBM_TRAIN_GRADIENT, gradient), "gradient");
}

/* Plans and context of one device: to be asked, and for one training step. */
static void open_device(struct golden *g, struct ebm_error *error)
{
    const struct ebm_ctx_limits limits = {.training = true, .max_rows = g->B, .max_samples = g->M};
    must_ok(g->ops->plan_new(g->net, ebm_model_params(g->model), 0, &g->served, error), "plan");
    must_ok(g->ops->plan_new(g->net, ebm_model_params(g->model), 1, &g->plan, error), "plan");
    if (g->net->trunk.n_ops > 0)
        must_ok(g->ops->trunk_prepare(g->plan, g->B, error), "trunk");
    must_ok(g->ops->ctx_new(&limits, &g->ctx, error), "context");
    must_ok(g->ops->ctx_prepare(g->ctx, g->served, error), "prepare");
    must_ok(g->ops->ctx_prepare(g->ctx, g->plan, error), "prepare");
}

/* What the gradient changes by, on the reference device, when images move by NUDGE. New (P): free(); NULL of vectors.
 */
static float *find_jumps(const struct golden *g, const struct ebm_loss_spec *spec)
{
    size_t P = g->net->n_params, n = (size_t)g->B * g->net->X;
    struct ebm_error error = {0};
    struct golden moved = *g;
    if (g->net->trunk.n_ops == 0)
        return NULL;
    float *at = must(calloc(P, sizeof *at)), *near = must(calloc(P, sizeof *near)),
          *jumps = must(calloc(P, sizeof *at));
    double *losses = must(calloc(g->B, sizeof *losses));
    moved.x = must(calloc(n, sizeof *moved.x));
    moved.ops = ebm_device_reference();
    open_device(&moved, &error);
    for (uint32_t nudge = 0; nudge <= NUDGES; nudge++) {
        for (size_t i = 0; i < n; i++) {
            uint32_t words[4];
            ebm_philox(nudge, (uint32_t)i, 0, EBM_STREAM_INIT, 0, words);
            moved.x[i] = g->x[i] + (nudge > 0 ? (float)(NUDGE * ebm_normal(words[0])) : 0.0f);
        }
        losses_and_gradient(&moved, spec, true, losses, nudge > 0 ? near : at);
        for (size_t i = 0; nudge > 0 && i < P; i++)
            jumps[i] = fmaxf(jumps[i], fabsf(near[i] - at[i]));
    }
    (void)moved.ops->ctx_free(moved.ctx);
    (void)moved.ops->plan_unref(moved.plan);
    (void)moved.ops->plan_unref(moved.served);
    free(at), free(near), free(losses), free(moved.x);
    return jumps;
}

static void check_mean(struct golden *g, const struct ebm_tensor *t, enum ebm_loss loss, const double *losses)
{
    /* ml_mcmc is a difference of energies: what is left of them may be far smaller than they are */
    const struct ebm_tensor *f = loss == EBM_LOSS_ML_MCMC ? find(g, "f_samples") : NULL;
    double mean = 0.0;
    for (uint32_t b = 0; b < g->B; b++)
        mean += losses[b] / g->B;
    check(t, &mean, 1, FORWARD_TOLERANCE, f != NULL ? largest(f) : 0.0, 0.0);
}

static void check_loss(struct golden *g, enum ebm_loss loss, const char *word)
{
    char name[64];
    (void)snprintf(name, sizeof name, "loss.%s", word);
    const struct ebm_tensor *t = find(g, name);
    if (t == NULL)
        return;
    struct ebm_loss_spec spec = spec_of(g, loss);
    double *losses = must(calloc(g->B, sizeof *losses));
    float *gradient = must(calloc(g->net->n_params + 1, sizeof *gradient));
    float *jumps = find_jumps(g, &spec);
    /* of images also without learning of the trunk, which goes another way then */
    for (int learns = g->net->trunk.n_ops > 0 ? 0 : 1; learns < 2; learns++) {
        losses_and_gradient(g, &spec, learns == 1, losses, gradient);
        check_mean(g, t, loss, losses);
    }
    check_gradients(g, word, gradient, jumps);
    if (loss == EBM_LOSS_SM)
        check_laplacian(g, losses);
    free(losses);
    free(gradient);
    free(jumps);
}

/* ---- a folder ---- */

/* A number of the file for each coordinate. */
static float *for_each_coordinate(struct golden *g, const char *name)
{
    const struct ebm_tensor *t = find(g, name);
    float *values = must(calloc(g->net->D, sizeof *values));
    for (uint32_t d = 0; d < g->net->D; d++)
        values[d] = t != NULL ? (float)number(t, 0) : 1.0f;
    return values;
}

static void inputs(struct golden *g)
{
    uint32_t D = g->net->D;
    g->x = floats(g, "x", &g->B, NULL);
    g->y = floats(g, "y", NULL, NULL);
    g->samples = floats(g, "y_samples", NULL, &g->M);
    float *sigmas = floats(g, "fixed_noise.sigmas", &g->n_sigmas, NULL);
    if (g->x == NULL || g->y == NULL || g->samples == NULL) {
        fprintf(stderr, "ebm-golden: x, y and y_samples must stand\n");
        exit(2);
    }
    g->label_noise = floats(g, "nce_plus.annotation_noise", NULL, NULL);
    g->label_sigma = for_each_coordinate(g, "kld_is.sigma");
    g->dsm_sigma = for_each_coordinate(g, "dsm.sigma");
    g->sigmas = must(calloc((size_t)g->n_sigmas * D + 1, sizeof *g->sigmas));
    for (uint32_t k = 0; k < g->n_sigmas; k++)
        for (uint32_t d = 0; d < D; d++)
            g->sigmas[k * D + d] = sigmas[k];
    free(sigmas);
}

static void list_not_built(const struct golden *g)
{
    for (size_t i = 0; i < ebm_safetensors_count(g->expected); i++) {
        if (g->is_done[i])
            continue;
        printf("-      %-52s not built\n", ebm_safetensors_at(g->expected, i)->name);
        n_not_built++;
    }
}

static void compare(struct golden *g, struct ebm_error *error)
{
    inputs(g);
    looseness = g->net->trunk.n_ops > 0 ? 10.0 : 1.0;
    open_device(g, error);
    forward_x(g);
    forward_y(g, g->y, 1, "f", "log_q", "grad_y_f");
    forward_y(g, g->samples, g->M, "f_samples", "log_q_samples", "grad_y_f_samples");
    forward_snis(g);
    if (g->n_sigmas > 0) {
        forward_noise(g, g->y, 1, "fixed_noise.log_q");
        forward_noise(g, g->samples, g->M, "fixed_noise.log_q_samples");
    }
#define CHECK_LOSS(name, word, noise) check_loss(g, EBM_LOSS_##name, word);
    EBM_LOSS_MAP(CHECK_LOSS)
#undef CHECK_LOSS
}

/* Opens one file of the folder; exits when it cannot be read. */
static struct ebm_safetensors *open_expected(const char *folder)
{
    char path[4096];
    struct ebm_error error = {0};
    struct ebm_safetensors *file = NULL;
    (void)snprintf(path, sizeof path, "%s/expected.safetensors", folder);
    if (ebm_safetensors_open(path, LIMIT_FILE_BYTES, &file, &error) != EBM_OK) {
        fprintf(stderr, "ebm-golden: %s: %s\n", error.where, error.text);
        exit(2);
    }
    return file;
}

static void golden_folder(const char *folder, const struct ebm_device_ops *ops)
{
    char path[4096];
    struct ebm_error error = {0};
    struct golden g = {.ops = ops, .expected = open_expected(folder)};
    g.is_done = must(calloc(ebm_safetensors_count(g.expected) + 1, sizeof *g.is_done));
    printf("== %s (%s)\n", folder, ops->name);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    enum ebm_status status = ebm_model_load(path, LIMIT_FILE_BYTES, &g.model, &error);
    if (status == EBM_OK) {
        g.net = ebm_model_net(g.model);
        compare(&g, &error);
    } else if (strstr(error.text, "not available in this version") != NULL || status == EBM_NOT_FOUND) {
        printf("-      %s: %s: not built\n", error.where, error.text);
    } else {
        fprintf(stderr, "ebm-golden: %s: %s: %s\n", path, error.where, error.text);
        exit(2);
    }
    list_not_built(&g);
    (void)ops->ctx_free(g.ctx);
    (void)ops->plan_unref(g.plan);
    (void)ops->plan_unref(g.served);
    (void)ebm_model_unref(g.model);
    (void)ebm_safetensors_free(g.expected);
    free(g.is_done), free(g.x), free(g.y), free(g.samples), free(g.sigmas);
    free(g.label_noise), free(g.label_sigma), free(g.dsm_sigma);
}

/* A plug-in's device, in float. Without hardware for it there is nothing to compare: exit status 77. */
static const struct ebm_device_ops *plugin_ops(const char *file)
{
    const struct ebm_device_choice choice = {.by_plugin = true, .precision = EBM_PRECISION_FP32, .file = file};
    const struct ebm_device_ops *ops = NULL;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error;
    enum ebm_status status = ebm_device_open_unchecked(&choice, NULL, &ops, name, &error);
    if (status != EBM_OK) {
        fprintf(stderr, "ebm-golden: %s: %s\n", error.where, error.text);
        exit(status == EBM_DEVICE ? 77 : 2);
    }
    return ops;
}

int main(int argc, char **argv)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--device") == 0) {
        ops = strcmp(argv[2], "reference") == 0 ? ebm_device_reference() : ebm_device_cpu();
        first = 3;
    } else if (argc > 2 && strcmp(argv[1], "--plugin") == 0) {
        ops = plugin_ops(argv[2]);
        first = 3;
    }
    if (first >= argc) {
        fprintf(stderr, "usage: ebm-golden [--device cpu|reference | --plugin FILE] DIR [DIR ...]\n");
        return 2;
    }
    for (int i = first; i < argc; i++)
        golden_folder(argv[i], ops);
    if (n_not_built > 0)
        printf("%u not built\n", n_not_built);
    printf("%u passed, %u failed\n", n_passed, n_failed);
    return n_failed > 0 ? 1 : 0;
}
