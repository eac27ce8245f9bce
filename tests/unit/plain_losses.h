/* plain_losses.h - the training losses a second time, for tests: plain double, the formulas of docs/MATHEMATICS.md one
 * after the other, on networks with a few rows to train on. Derivatives in y by differences. */
#ifndef EBM_TESTS_PLAIN_LOSSES_H
#define EBM_TESTS_PLAIN_LOSSES_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "trainer/teacher.h"
#include "trainer/initial.h"

enum { B = 2, M = 6, X = 2, MOST_D = 2, MOST_K = 3, WIDEST = 16 };

/* ---- networks ---- */

#define LINEAR(out, act) "{\"type\": \"linear\", \"out\": " out ", \"activation\": \"" act "\"}"
#define AGAIN(out, act) "{\"type\": \"linear\", \"out\": " out ", \"activation\": \"" act "\", \"residual\": true}"
#define HEAD "[" LINEAR("3", "tanh") ", {\"type\": \"linear\"}]"
#define PROPOSAL                                                                                                       \
    ", \"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 3, \"mean_net\": " HEAD                          \
    ", \"log_variance_net\": " HEAD ", \"weight_net\": " HEAD "}"
#define BEGIN "{\"format_version\": 1, \"input\": {\"kind\": \"vector\"}, \"target\": {}, "
#define FEATURES "\"feature_net\": [" LINEAR("4", "tanh") "]"
#define ENERGY(act) "\"energy_net\": [" AGAIN("8", act) ", " LINEAR("5", act) ", {\"type\": \"linear\"}]"
#define TARGETS(act) "\"target_net\": [" LINEAR("4", act) ", " AGAIN("4", act) "]"
#define WHOLE(act) BEGIN FEATURES ", " TARGETS(act) ", " ENERGY(act) PROPOSAL "}"

static const char *const smooth[] = {WHOLE("tanh"), WHOLE("softplus"), WHOLE("silu"),
                                     BEGIN "\"energy_net\": [" LINEAR("7", "tanh") ", {\"type\": \"linear\"}]" PROPOSAL
                                                                                   "}"};
static const char kinked[] = WHOLE("relu");
static const char mixture_alone[] = BEGIN FEATURES PROPOSAL "}";
static const char teacher_nets[] = "{\"feature_net\": [" LINEAR("3", "silu") "], " TARGETS(
    "tanh") ", \"energy_net\": [" LINEAR("6", "softplus") ", {\"type\": \"linear\"}]}";

/* A network with its parameters, and rows to train on. */
struct fixture {
    struct ebm_config *config;
    struct teacher teacher;
    const struct ebm_net_desc *net;
    float *params;
    float x[B * X], y[B * MOST_D], samples[B * M * MOST_D], moved[B * MOST_D];
    float sigmas[2 * MOST_D], label_sigma[MOST_D], step[MOST_D];
};

static float number(uint32_t row, uint32_t column)
{
    uint32_t words[4];
    ebm_philox(21, row, column, EBM_STREAM_GENERATE, 0, words);
    return (float)ebm_normal(words[0]);
}

static struct fixture *open_net(const char *text, const char *nets, uint32_t D)
{
    const struct ebm_config_defaults defaults = {.name = "t", .X = X, .D = D};
    struct fixture *f = calloc(1, sizeof *f);
    struct ebm_error error;
    cr_assert_eq(ebm_config_parse(text, strlen(text), &defaults, &f->config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    f->net = &f->config->net;
    if (nets != NULL) {
        cr_assert_eq(teacher_make(f->config, nets, &f->teacher, &error), EBM_OK, "%s: %s", error.where, error.text);
        f->net = &f->teacher.net;
    }
    f->params = calloc(f->net->n_params, sizeof *f->params);
    initial_parameters(f->net, 3, 1.0, f->params);
    for (uint32_t i = 0; i < B * X; i++)
        f->x[i] = number(i, 0);
    for (uint32_t i = 0; i < B * D; i++) {
        f->y[i] = number(i, 1);
        f->moved[i] = 0.2f * number(i, 2);
    }
    for (uint32_t i = 0; i < B * M * D; i++)
        f->samples[i] = f->y[i / (M * D) * D + i % D] + 0.7f * number(i, 3);
    for (uint32_t d = 0; d < D; d++) {
        f->sigmas[d] = 0.5f + 0.1f * (float)d;
        f->sigmas[D + d] = 1.3f - 0.2f * (float)d;
        f->label_sigma[d] = 0.4f + 0.05f * (float)d;
        f->step[d] = 0.1f + 0.02f * (float)d;
    }
    return f;
}

static void close_net(struct fixture *f)
{
    teacher_done(&f->teacher);
    (void)ebm_config_free(f->config);
    free(f->params);
    free(f);
}

static struct ebm_loss_spec spec_of(const struct fixture *f, enum ebm_loss loss, bool beside)
{
    return (struct ebm_loss_spec){.loss = loss,
                                  .samples = M,
                                  .n_sigmas = loss == EBM_LOSS_DSM ? 1 : 2,
                                  .sigmas = f->sigmas,
                                  .label_sigma = f->label_sigma,
                                  .beta = 0.5,
                                  .langevin_steps = 3,
                                  .langevin_step = f->step,
                                  .proposal_beside = beside,
                                  .scale = 1.0 / B};
}

/* ---- the second implementation ---- */

/* live: what the gradient is taken in; still: the same numbers, which it does not see. */
struct twin {
    const struct fixture *f;
    const double *live, *still;
};

static double activate(enum ebm_activation kind, double z)
{
    switch (kind) {
    case EBM_ACT_RELU:
        return fmax(z, 0.0);
    case EBM_ACT_TANH:
        return tanh(z);
    case EBM_ACT_SILU:
        return z / (1.0 + exp(-z));
    case EBM_ACT_SOFTPLUS:
        return log1p(exp(z));
    case EBM_ACT_IDENTITY:
        return z;
    }
    return z;
}

static void run(const struct ebm_net *net, const double *params, const double *in, uint32_t n_in, double *out)
{
    double v[WIDEST];
    memcpy(v, in, n_in * sizeof *v);
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        double next[WIDEST];
        for (uint32_t o = 0; o < layer->out; o++) {
            double z = params[layer->bias + o];
            for (uint32_t k = 0; k < layer->in; k++)
                z += params[layer->weight + (size_t)o * layer->in + k] * v[k];
            next[o] = activate(layer->activation, z) + (layer->residual ? v[o] : 0.0);
        }
        memcpy(v, next, layer->out * sizeof *v);
        n_in = layer->out;
    }
    memcpy(out, v, n_in * sizeof *v);
}

static void input_of(const struct fixture *f, uint32_t b, double *ret_x)
{
    for (uint32_t i = 0; i < X; i++)
        ret_x[i] = (double)f->x[b * X + i];
}

static double energy(const struct fixture *f, const double *params, uint32_t b, const double *y)
{
    const struct ebm_net_desc *net = f->net;
    double x[X], joined[WIDEST], out[WIDEST];
    input_of(f, b, x);
    run(&net->feature, params, x, X, joined);
    run(&net->target, params, y, net->D, joined + net->H);
    run(&net->energy, params, joined, net->H + net->G, out);
    return out[0];
}

static double log_mixture(uint32_t D, uint32_t K, const double *y, const double *mean, const double *log_variance,
                          const double *log_weight)
{
    double max = -INFINITY, sum = 0.0, part[MOST_K];
    for (uint32_t k = 0; k < K; k++) {
        part[k] = log_weight[k];
        for (uint32_t d = 0; d < D; d++) {
            double z = y[d] - mean[d * K + k];
            part[k] -= 0.5 * (z * z * exp(-log_variance[d * K + k]) + log_variance[d * K + k] +
                              log(2.0 * 3.14159265358979323846));
        }
        max = fmax(max, part[k]);
    }
    for (uint32_t k = 0; k < K; k++)
        sum += exp(part[k] - max);
    return max + log(sum);
}

/* log q of the proposal, which reads features of its own, or those of `features`. */
static double log_proposal(const struct fixture *f, const double *params, const double *features, uint32_t b,
                           const double *y)
{
    const struct ebm_net_desc *net = f->net;
    double x[X], h[WIDEST], mean[WIDEST], log_variance[WIDEST], logits[WIDEST], sum = 0.0;
    input_of(f, b, x);
    if (net->own_H > 0)
        run(&net->own, params, x, X, h);
    else
        run(&net->feature, features, x, X, h);
    uint32_t n = net->own_H > 0 ? net->own_H : net->H;
    run(&net->mean, params, h, n, mean);
    run(&net->log_variance, params, h, n, log_variance);
    run(&net->weight, params, h, n, logits);
    for (uint32_t k = 0; k < net->K; k++)
        sum += exp(logits[k]);
    for (uint32_t k = 0; k < net->K; k++)
        logits[k] -= log(sum);
    return log_mixture(net->D, net->K, y, mean, log_variance, logits);
}

static double log_fixed(const struct fixture *f, uint32_t b, const double *y, const float *sigmas, uint32_t K)
{
    double mean[WIDEST] = {0}, log_variance[WIDEST] = {0}, log_weight[MOST_K];
    uint32_t D = f->net->D;
    for (uint32_t k = 0; k < K; k++) {
        log_weight[k] = -log((double)K);
        for (uint32_t d = 0; d < D; d++) {
            mean[d * K + k] = (double)f->y[b * D + d];
            log_variance[d * K + k] = 2.0 * log((double)sigmas[k * D + d]);
        }
    }
    return log_mixture(D, K, y, mean, log_variance, log_weight);
}

static double log_sum_exp(const double *v, uint32_t n)
{
    double max = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        max = fmax(max, v[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += exp(v[i] - max);
    return max + log(sum);
}

static void target_of(const struct fixture *f, enum ebm_loss loss, uint32_t b, uint32_t m, double *ret_y)
{
    uint32_t D = f->net->D;
    for (uint32_t d = 0; d < D; d++)
        ret_y[d] = m < M ? (double)f->samples[(b * M + m) * D + d]
                         : (double)f->y[b * D + d] + (loss == EBM_LOSS_NCE_PLUS ? (double)f->moved[b * D + d] : 0.0);
}

/* Sums over candidates of f (from params p) - log q (of params q). */
static double nce(const struct twin *t, enum ebm_loss loss, uint32_t b, bool fixed)
{
    double s[M + 1], y[MOST_D];
    for (uint32_t m = 0; m <= M; m++) {
        target_of(t->f, loss, b, m, y);
        s[m] = energy(t->f, t->live, b, y) -
               (fixed ? log_fixed(t->f, b, y, t->f->sigmas, 2) : log_proposal(t->f, t->still, t->still, b, y));
    }
    return log_sum_exp(s, M + 1) - s[M];
}

static double kl_proposal(const struct twin *t, uint32_t b)
{
    double s[M], y[MOST_D];
    for (uint32_t m = 0; m < M; m++) {
        target_of(t->f, EBM_LOSS_KL_PROPOSAL, b, m, y);
        s[m] = energy(t->f, t->still, b, y) - log_proposal(t->f, t->live, t->still, b, y);
    }
    return log_sum_exp(s, M) - log((double)M);
}

static double mdn_nll(const struct twin *t, uint32_t b)
{
    double y[MOST_D];
    target_of(t->f, EBM_LOSS_MDN_NLL, b, M, y);
    return -log_proposal(t->f, t->live, t->still, b, y);
}

static double likelihood(const struct twin *t, enum ebm_loss loss, uint32_t b)
{
    double s[M], y[MOST_D], labels = 0.0;
    for (uint32_t m = 0; m < M; m++) {
        target_of(t->f, loss, b, m, y);
        double f = energy(t->f, t->live, b, y), noise = log_fixed(t->f, b, y, t->f->sigmas, 2);
        s[m] = f - (loss == EBM_LOSS_JOINT ? log_proposal(t->f, t->live, t->still, b, y) : noise);
        labels += f * exp(log_fixed(t->f, b, y, t->f->label_sigma, 1) - noise) / M;
    }
    target_of(t->f, loss, b, M, y);
    return log_sum_exp(s, M) - log((double)M) - (loss == EBM_LOSS_KLD_IS ? labels : energy(t->f, t->live, b, y));
}

static double ml_mcmc(const struct twin *t, uint32_t b)
{
    double y[MOST_D], mean = 0.0;
    for (uint32_t m = 0; m < M; m++) {
        target_of(t->f, EBM_LOSS_ML_MCMC, b, m, y);
        mean += energy(t->f, t->live, b, y) / M;
    }
    target_of(t->f, EBM_LOSS_ML_MCMC, b, M, y);
    return mean - energy(t->f, t->live, b, y);
}

/* The first and the second derivative of f in y_d, by differences of the fourth order. */
static void derivatives(const struct twin *t, uint32_t b, const double *y, uint32_t d, double side, double *ret_first,
                        double *ret_second)
{
    double f[5], at[MOST_D];
    for (int i = 0; i < 5; i++) {
        memcpy(at, y, sizeof at);
        at[d] += (i - 2) * side;
        f[i] = energy(t->f, t->live, b, at);
    }
    *ret_first = (f[0] - 8.0 * f[1] + 8.0 * f[3] - f[4]) / (12.0 * side);
    *ret_second = (-f[0] + 16.0 * f[1] - 30.0 * f[2] + 16.0 * f[3] - f[4]) / (12.0 * side * side);
}

static double score(const struct twin *t, enum ebm_loss loss, uint32_t b)
{
    double sum = 0.0, y[MOST_D], y_0[MOST_D], first, second;
    uint32_t D = t->f->net->D;
    target_of(t->f, loss, b, M, y_0);
    for (uint32_t d = 0; loss == EBM_LOSS_SM && d < D; d++) {
        derivatives(t, b, y_0, d, 1e-2, &first, &second);
        sum += second + 0.5 * first * first;
    }
    for (uint32_t m = 0; loss == EBM_LOSS_DSM && m < M; m++) {
        target_of(t->f, loss, b, m, y);
        for (uint32_t d = 0; d < D; d++) {
            double sigma = (double)t->f->sigmas[d];
            derivatives(t, b, y, d, 1e-3, &first, &second);
            sum += pow(first + (y[d] - y_0[d]) / (sigma * sigma), 2.0) / M;
        }
    }
    return sum;
}

static double row_loss(const struct twin *t, enum ebm_loss loss, uint32_t b)
{
    switch (loss) {
    case EBM_LOSS_NCE:
    case EBM_LOSS_NCE_PLUS:
        return nce(t, loss, b, true);
    case EBM_LOSS_NCE_KL:
        return nce(t, loss, b, false) + kl_proposal(t, b);
    case EBM_LOSS_MDN_KL_TEACHER:
        return nce(t, loss, b, false) + 0.5 * kl_proposal(t, b) + 0.5 * mdn_nll(t, b);
    case EBM_LOSS_KL_PROPOSAL:
        return kl_proposal(t, b);
    case EBM_LOSS_MDN_NLL:
        return mdn_nll(t, b);
    case EBM_LOSS_ML_MCMC:
        return ml_mcmc(t, b);
    case EBM_LOSS_SM:
    case EBM_LOSS_DSM:
        return score(t, loss, b);
    default:
        return likelihood(t, loss, b);
    }
}

static double whole_loss(const struct twin *t, enum ebm_loss loss, bool beside)
{
    double sum = 0.0;
    for (uint32_t b = 0; b < B; b++)
        sum += (row_loss(t, loss, b) + (beside ? kl_proposal(t, b) : 0.0)) / B;
    return sum;
}

#endif
