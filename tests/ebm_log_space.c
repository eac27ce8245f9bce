/* ebm_log_space.c - golden models where doubles of exp would have overflowed long ago.
 *
 *   ebm-log-space DIR [DIR ...]
 *
 * Takes the model of each golden folder, multiplies the last energy layer by 1000, moves targets and samples 50
 * standard deviations out, and compares what the CPU device makes of it with a forward pass of its own in long double:
 * f, log q, log Z, ess and mean, and every loss that the model allows. An error is at most 1e-5 of the largest |f| or
 * |log q| that it is made of; sums of weights are compared in long double on the device's own f and log q. One line a
 * quantity, then `N passed, N failed`; exit status 1 on a failure. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/safetensors.h"
#include "models/model.h"

#define TOLERANCE 1e-5L
#define FAR 50.0f
#define STRETCH 1000.0f

typedef long double real;

static unsigned n_passed, n_failed;

static void check(const char *what, uint32_t row, real got, real want, real allowed)
{
    real error = fabsl(got - want);
    bool ok = error <= allowed; /* false for NaN */
    if (!ok || row == 0)
        printf("%-6s %-24s row %u: %.9Lg, long double %.9Lg, error %.1Le of %.1Le\n", ok ? "ok" : "FAIL", what, row,
               got, want, error, allowed);
    *(ok ? &n_passed : &n_failed) += 1;
}

static void *must(void *pointer)
{
    if (pointer == NULL) {
        fprintf(stderr, "ebm-log-space: out of memory\n");
        exit(2);
    }
    return pointer;
}

static void must_ok(enum ebm_status status, const struct ebm_error *error, const char *what)
{
    if (status == EBM_OK)
        return;
    fprintf(stderr, "ebm-log-space: %s: %s %s\n", what, ebm_status_text(status), error ? error->text : "");
    exit(2);
}

/* ---- the network in long double ---- */

static real activate(enum ebm_activation kind, real z)
{
    switch (kind) {
    case EBM_ACT_IDENTITY:
        return z;
    case EBM_ACT_RELU:
        return z > 0 ? z : 0;
    case EBM_ACT_TANH:
        return tanhl(z);
    case EBM_ACT_SILU:
        return z / (1 + expl(-z));
    case EBM_ACT_SOFTPLUS:
        return (z > 0 ? z : 0) + log1pl(expl(-fabsl(z)));
    }
    return z;
}

/* v is replaced by net(v); both have room for the widest layer. */
static void run(const struct ebm_net *net, const float *params, real *v, real *other)
{
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        for (uint32_t o = 0; o < layer->out; o++) {
            real sum = params[layer->bias + o];
            for (uint32_t j = 0; j < layer->in; j++)
                sum += (real)params[layer->weight + (size_t)o * layer->in + j] * v[j];
            other[o] = activate(layer->activation, sum) + (layer->residual ? v[o] : 0);
        }
        memcpy(v, other, layer->out * sizeof *v);
    }
}

struct truth {
    const struct ebm_net_desc *net;
    const float *params;
    real *h, *a, *b;                        /* features of the row; two buffers */
    real *mean, *log_variance, *log_weight; /* of the row's mixture */
};

static real log_sum_exp(const real *values, size_t n)
{
    real max = values[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        max = fmaxl(max, values[i]);
    for (size_t i = 0; i < n; i++)
        sum += expl(values[i] - max);
    return max + logl(sum);
}

static void head(struct truth *t, const struct ebm_net *net, size_t n, real *out)
{
    memcpy(t->a, t->h, t->net->H * sizeof *t->a);
    run(net, t->params, t->a, t->b);
    memcpy(out, t->a, n * sizeof *out);
}

static void truth_row(struct truth *t, const float *x)
{
    const struct ebm_net_desc *net = t->net;
    size_t DK = (size_t)net->D * net->K;
    for (uint32_t i = 0; i < net->X; i++)
        t->a[i] = x[i];
    run(&net->feature, t->params, t->a, t->b);
    memcpy(t->h, t->a, net->H * sizeof *t->h);
    if (net->K == 0)
        return;
    head(t, &net->mean, DK, t->mean);
    head(t, &net->log_variance, DK, t->log_variance);
    head(t, &net->weight, net->K, t->log_weight);
    real all = log_sum_exp(t->log_weight, net->K);
    for (uint32_t k = 0; k < net->K; k++)
        t->log_weight[k] -= all;
}

static real truth_f(struct truth *t, const float *y)
{
    const struct ebm_net_desc *net = t->net;
    for (uint32_t d = 0; d < net->D; d++)
        t->a[d] = y[d];
    run(&net->target, t->params, t->a, t->b);
    memmove(t->a + net->H, t->a, net->G * sizeof *t->a);
    memcpy(t->a, t->h, net->H * sizeof *t->a);
    run(&net->energy, t->params, t->a, t->b);
    return t->a[0];
}

static real truth_log_q(struct truth *t, const float *y)
{
    const struct ebm_net_desc *net = t->net;
    for (uint32_t k = 0; k < net->K; k++) {
        t->a[k] = t->log_weight[k];
        for (uint32_t d = 0; d < net->D; d++) {
            real z = (real)y[d] - t->mean[d * net->K + k], log_variance = t->log_variance[d * net->K + k];
            t->a[k] -= 0.5L * (z * z * expl(-log_variance) + log_variance + 1.837877066409345483560659L);
        }
    }
    return log_sum_exp(t->a, net->K);
}

/* ---- comparisons ---- */

struct scene {
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    struct truth truth;
    uint32_t B, M;
    float *x, *y, *samples;
    real *f, *log_q; /* (M + 1) of the row, the true target last */
};

/* f and log q of row b; the largest magnitude among them. */
static real compare_values(struct scene *s, uint32_t b)
{
    const struct ebm_net_desc *net = s->truth.net;
    const float *samples = s->samples + (size_t)b * s->M * net->D;
    float *f = must(calloc(s->M, sizeof *f)), *log_q = must(calloc(s->M, sizeof *log_q));
    struct ebm_row row = {.samples = s->M};
    real magnitude = 0, f_error = 0, q_error = 0, q_magnitude = 0;
    truth_row(&s->truth, s->x + (size_t)b * net->X);
    must_ok(s->ops->propose(s->ctx, b, &row, samples), NULL, "propose");
    if (net->has_energy) {
        must_ok(s->ops->score(s->ctx, false), NULL, "score");
        must_ok(s->ops->fetch(s->ctx, EBM_FETCH_F, b, f), NULL, "f");
    }
    if (net->K > 0)
        must_ok(s->ops->fetch(s->ctx, EBM_FETCH_LOG_Q, b, log_q), NULL, "log q");
    for (uint32_t m = 0; m <= s->M; m++) {
        const float *y = m < s->M ? samples + (size_t)m * net->D : s->y + (size_t)b * net->D;
        s->f[m] = net->has_energy ? truth_f(&s->truth, y) : 0;
        s->log_q[m] = net->K > 0 ? truth_log_q(&s->truth, y) : 0;
        magnitude = fmaxl(magnitude, fabsl(s->f[m]));
        q_magnitude = fmaxl(q_magnitude, fabsl(s->log_q[m]));
        if (m < s->M) {
            f_error = fmaxl(f_error, fabsl(s->f[m] - (real)f[m]));
            q_error = fmaxl(q_error, fabsl(s->log_q[m] - (real)log_q[m]));
        }
    }
    check("f, largest error", b, f_error, 0, TOLERANCE * magnitude);
    check("log q, largest error", b, q_error, 0, TOLERANCE * q_magnitude);
    free(f), free(log_q);
    return fmaxl(magnitude, q_magnitude);
}

/* log Z and ess: the device's sums on its own f and log q, again in long double. */
static void compare_weights(struct scene *s, uint32_t b)
{
    static const struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_IMPORTANCE};
    float *f = must(calloc(s->M, sizeof *f)), *log_q = must(calloc(s->M, sizeof *log_q));
    real *log_w = must(calloc(s->M, sizeof *log_w)), squares = 0;
    struct ebm_estimate out = {.status = EBM_OK};
    must_ok(s->ops->fetch(s->ctx, EBM_FETCH_F, b, f), NULL, "f");
    must_ok(s->ops->fetch(s->ctx, EBM_FETCH_LOG_Q, b, log_q), NULL, "log q");
    must_ok(s->ops->estimate(s->ctx, &spec, &out), NULL, "estimate");
    for (uint32_t m = 0; m < s->M; m++)
        log_w[m] = (real)(f[m] - log_q[m]); /* in float, as the score of a draw is kept */
    real all = log_sum_exp(log_w, s->M);
    for (uint32_t m = 0; m < s->M; m++)
        squares += expl(2 * (log_w[m] - all));
    check("log Z", b, out.log_z, all - logl(s->M), TOLERANCE * fmaxl(fabsl(all), 1));
    check("ess", b, out.ess, 1 / squares, TOLERANCE / squares);
    free(f), free(log_q), free(log_w);
}

static real true_loss(const struct scene *s, enum ebm_loss loss)
{
    real *draws = must(calloc(s->M + 1, sizeof *draws)), log_m = logl(s->M), value = 0;
    for (uint32_t m = 0; m <= s->M; m++)
        draws[m] = s->f[m] - s->log_q[m];
    real over_draws = log_sum_exp(draws, s->M), over_all = log_sum_exp(draws, s->M + 1);
    if (loss == EBM_LOSS_MDN_NLL)
        value = -s->log_q[s->M];
    if (loss == EBM_LOSS_NCE_KL)
        value = over_all - draws[s->M] + over_draws - log_m;
    if (loss == EBM_LOSS_JOINT)
        value = over_draws - log_m - s->f[s->M];
    if (loss == EBM_LOSS_KL_PROPOSAL)
        value = over_draws - log_m;
    free(draws);
    return value;
}

static void compare_loss(struct scene *s, enum ebm_loss loss, const char *word, uint32_t b, real magnitude)
{
    const struct ebm_net_desc *net = s->truth.net;
    struct ebm_loss_spec spec = {.loss = loss, .samples = s->M, .scale = 1.0};
    struct ebm_train_rows rows = {.B = 1,
                                  .h_x = s->x + (size_t)b * net->X,
                                  .h_y = s->y + (size_t)b * net->D,
                                  .h_samples = s->samples + (size_t)b * s->M * net->D};
    double value = 0.0;
    must_ok(s->ops->backward(s->ctx, s->plan, 0, &spec, &rows, &value), NULL, word);
    check(word, b, value, true_loss(s, loss), TOLERANCE * magnitude);
}

static void compare_row(struct scene *s, uint32_t b)
{
    const struct ebm_net_desc *net = s->truth.net;
    must_ok(s->ops->features(s->ctx, s->plan, s->x, s->B), NULL, "features");
    real magnitude = compare_values(s, b);
    if (net->K == 0)
        return;
    if (net->has_energy) {
        compare_weights(s, b);
        compare_loss(s, EBM_LOSS_NCE_KL, "nce_kl", b, magnitude);
        compare_loss(s, EBM_LOSS_JOINT, "joint", b, magnitude);
        compare_loss(s, EBM_LOSS_KL_PROPOSAL, "kl_proposal", b, magnitude);
    }
    compare_loss(s, EBM_LOSS_MDN_NLL, "mdn_nll", b, magnitude);
}

/* ---- a folder ---- */

static float *read_floats(struct ebm_safetensors *file, const char *name, uint32_t *ret_rows, uint32_t *ret_second)
{
    const struct ebm_tensor *t = ebm_safetensors_find(file, name);
    if (t == NULL || t->dtype != EBM_DTYPE_F64 || t->n_dims < 2) {
        fprintf(stderr, "ebm-log-space: %s must stand, F64 and of two dimensions at least\n", name);
        exit(2);
    }
    float *values = must(calloc(t->count + 1, sizeof *values));
    for (size_t i = 0; i < t->count; i++)
        values[i] = (float)((const double *)t->data)[i];
    *ret_rows = (uint32_t)t->shape[0];
    *ret_second = (uint32_t)t->shape[1];
    return values;
}

static void move_out(float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += y[i] < 0.0f ? -FAR : FAR;
}

static void folder(const char *path)
{
    char name[4096];
    struct ebm_error error = {0};
    struct ebm_model *model = NULL;
    struct ebm_safetensors *expected = NULL;
    (void)snprintf(name, sizeof name, "%s/model.safetensors", path);
    must_ok(ebm_model_load(name, LIMIT_FILE_BYTES, &model, &error), &error, name);
    (void)snprintf(name, sizeof name, "%s/expected.safetensors", path);
    must_ok(ebm_safetensors_open(name, LIMIT_FILE_BYTES, &expected, &error), &error, name);
    const struct ebm_net_desc *net = ebm_model_net(model);
    float *params = must(calloc(net->n_params + 1, sizeof *params));
    memcpy(params, ebm_model_params(model), net->n_params * sizeof *params);
    if (net->has_energy) {
        const struct ebm_layer *last = &net->energy.layers[net->energy.n_layers - 1];
        for (size_t i = 0; i < last->in; i++)
            params[last->weight + i] *= STRETCH;
        params[last->bias] *= STRETCH;
    }
    struct scene s = {.ops = ebm_device_cpu(), .truth = {.net = net, .params = params}};
    uint32_t unused;
    s.x = read_floats(expected, "x", &s.B, &unused);
    s.y = read_floats(expected, "y", &unused, &unused);
    s.samples = read_floats(expected, "y_samples", &unused, &s.M);
    move_out(s.y, (size_t)s.B * net->D);
    move_out(s.samples, (size_t)s.B * s.M * net->D);
    size_t room = 4096;
    real *space = must(calloc(6 * room + 2 * ((size_t)s.M + 1), sizeof *space));
    s.truth.h = space, s.truth.a = space + room, s.truth.b = space + 2 * room, s.truth.mean = space + 3 * room;
    s.truth.log_variance = space + 4 * room, s.truth.log_weight = space + 5 * room;
    s.f = space + 6 * room, s.log_q = s.f + s.M + 1;
    struct ebm_ctx_limits limits = {s.B, s.M, true};
    must_ok(s.ops->plan_new(net, params, 1, &s.plan, &error), &error, "plan");
    must_ok(s.ops->ctx_new(&limits, &s.ctx, &error), &error, "context");
    must_ok(s.ops->ctx_prepare(s.ctx, s.plan, &error), &error, "prepare");
    printf("== %s\n", path);
    for (uint32_t b = 0; b < s.B; b++)
        compare_row(&s, b);
    (void)s.ops->ctx_free(s.ctx);
    (void)s.ops->plan_unref(s.plan);
    (void)ebm_model_unref(model);
    (void)ebm_safetensors_free(expected);
    free(params), free(space), free(s.x), free(s.y), free(s.samples);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: ebm-log-space DIR [DIR ...]\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        folder(argv[i]);
    printf("%u passed, %u failed\n", n_passed, n_failed);
    return n_failed > 0 ? 1 : 0;
}
