/* test_ensemble.c - an ensemble's density is the mean of its members' densities, whatever answers: a mixture, draws of
 * several dimensions, panels of a scalar target. The members alone are the truth. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "models/config.h"

/* clang-format off */
#define NET(in, out, act) \
    "{\"type\": \"linear\", \"in\": " #in ", \"out\": " #out ", \"activation\": \"" act "\"}"
#define HEAD1(members) \
    "{\"format_version\": 1, \"name\": \"m\", \"members\": " members ", " \
    "\"input\": {\"kind\": \"vector\", \"shape\": [2]}, " \
    "\"target\": {\"dim\": 1, \"lower\": [-3], \"upper\": [3]}, " \
    "\"feature_net\": [" NET(2, 6, "silu") "]"
#define PROPOSAL1 \
    ", \"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 3, \"mean_net\": [" NET(6, 3, "identity") "], " \
    "\"log_variance_net\": [" NET(6, 3, "identity") "], \"weight_net\": [" NET(6, 3, "identity") "]}"
#define PROPOSAL2 \
    ", \"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 3, \"mean_net\": [" NET(6, 6, "identity") "], " \
    "\"log_variance_net\": [" NET(6, 6, "identity") "], \"weight_net\": [" NET(6, 3, "identity") "]}"
#define ENERGY1 \
    ", \"target_net\": [" NET(1, 5, "relu") "], \"energy_net\": [" NET(11, 7, "relu") ", " NET(7, 1, "identity") "]"
#define ENERGY2 \
    ", \"target_net\": [" NET(2, 5, "tanh") "], \"energy_net\": [" NET(11, 7, "tanh") ", " NET(7, 1, "identity") "]"
#define HEAD2(members) \
    "{\"format_version\": 1, \"name\": \"m\", \"members\": " members ", " \
    "\"input\": {\"kind\": \"vector\", \"shape\": [2]}, \"target\": {\"dim\": 2}, " \
    "\"feature_net\": [" NET(2, 6, "silu") "]"
#define OPEN(members) \
    "{\"format_version\": 1, \"name\": \"m\", \"members\": " members ", " \
    "\"input\": {\"kind\": \"vector\", \"shape\": [2]}, \"target\": {\"dim\": 1}, " \
    "\"feature_net\": [" NET(2, 6, "silu") "]"
/* clang-format on */

enum { TARGETS = 40, SAMPLES = 16384 };

static const char *const mixture_text[] = {HEAD1("1") PROPOSAL1 "}", HEAD1("2") PROPOSAL1 "}"};
static const char *const scalar_text[] = {HEAD1("1") ENERGY1 "}", HEAD1("2") ENERGY1 "}"};
static const char *const plane_text[] = {HEAD2("1") ENERGY2 PROPOSAL2 "}", HEAD2("2") ENERGY2 PROPOSAL2 "}"};

/* Nothing bounds f here, and random weights let it grow: some members have no integral. */
static const char *const open_text[] = {OPEN("1") ENERGY1 "}", OPEN("2") ENERGY1 "}"};

/* Numbers of every tensor; member 1 of an ensemble has those of seed 1. */
static float *make_params(const struct ebm_config *config, uint64_t seed)
{
    size_t P = config->net.n_params;
    uint32_t members = config->net.members;
    float *params = calloc(members * P, sizeof *params);
    for (size_t i = 0; i < config->n_params; i++) {
        const struct ebm_param *param = &config->params[i];
        size_t count = (size_t)param->rows * (param->columns > 0 ? param->columns : 1);
        uint32_t member = (uint32_t)(param->offset / P), tensor = (uint32_t)(i % (config->n_params / members));
        for (size_t j = 0; j < count; j++) {
            uint32_t words[4];
            ebm_philox(seed + member, tensor, (uint32_t)j, EBM_STREAM_INIT, 0, words);
            params[param->offset + j] = (float)(1.6 * ebm_uniform(words[0]) - 0.8);
        }
    }
    return params;
}

struct answer {
    double mean[2], variance[2], quantiles[6], log_z;
    bool proper;
    float f[TARGETS], log_q[TARGETS];
};

static const double probabilities[] = {0.1, 0.5, 0.9};

/* What a model of `text` with the parameters of `seed` says of one row at y (TARGETS, D). */
static struct answer ask(const char *text, uint64_t seed, enum ebm_estimator estimator, const float *y)
{
    static const float x[2] = {0.4f, -0.9f};
    const struct ebm_device_ops *ops = ebm_device_cpu();
    struct ebm_ctx_limits limits = {3, SAMPLES, false};
    struct ebm_error error = {0};
    struct ebm_config *config = NULL;
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    struct answer answer;
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    for (uint32_t d = 0; config->net.D == 2 && d < 2; d++) /* a finite integral, whatever the weights */
        config->support[d] = (struct ebm_support){EBM_SUPPORT_BOUNDED, -3.0, 3.0};
    float *params = make_params(config, seed);
    cr_assert_eq(ops->plan_new(&config->net, params, 0, &plan, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ops->ctx_new(&limits, &ctx, &error), EBM_OK);
    cr_assert_eq(ops->ctx_prepare(ctx, plan, &error), EBM_OK);
    struct ebm_estimate_spec spec = {.estimator = estimator, .n_probabilities = 3, .probabilities = probabilities};
    struct ebm_estimate out = {.mean = answer.mean, .variance = answer.variance, .quantiles = answer.quantiles};
    struct ebm_task task = {.row = {.seed = 5, .samples = SAMPLES},
                            .spec = &spec,
                            .out = &out,
                            .n_y = TARGETS,
                            .h_y = y,
                            .h_f = answer.f,
                            .h_log_q = answer.log_q};
    struct ebm_task tasks[2] = {task, task};
    const float rows[4] = {1.0f, 1.0f, x[0], x[1]};
    tasks[0].n_y = 0;
    cr_assert_eq(ops->predict(ctx, plan, rows, tasks, 2), EBM_OK);
    cr_assert_eq(out.status, EBM_OK);
    answer.log_z = out.log_z;
    answer.proper = out.proper;
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    (void)ebm_config_free(config);
    free(params);
    return answer;
}

static double mean_density(double log_a, double log_b)
{
    return log(0.5 * (exp(log_a) + exp(log_b)));
}

static void targets_of(float *y, uint32_t D)
{
    for (uint32_t i = 0; i < TARGETS * D; i++)
        y[i] = (float)(-2.5 + 5.0 * ((i * 7) % (TARGETS * D)) / (TARGETS * D - 1.0));
}

Test(ensemble, mixtures_join_their_components)
{
    float y[TARGETS];
    targets_of(y, 1);
    struct answer a = ask(mixture_text[0], 1, EBM_ESTIMATE_MIXTURE, y);
    struct answer b = ask(mixture_text[0], 2, EBM_ESTIMATE_MIXTURE, y);
    struct answer both = ask(mixture_text[1], 1, EBM_ESTIMATE_MIXTURE, y);
    for (uint32_t i = 0; i < TARGETS; i++)
        cr_expect_float_eq(both.log_q[i], mean_density((double)a.log_q[i], (double)b.log_q[i]), 1e-5);
    double mean = 0.5 * (a.mean[0] + b.mean[0]), off_a = a.mean[0] - mean, off_b = b.mean[0] - mean;
    cr_expect_float_eq(both.mean[0], mean, 1e-6, "%g, not %g", both.mean[0], mean);
    cr_expect_float_eq(both.variance[0], 0.5 * (a.variance[0] + off_a * off_a + b.variance[0] + off_b * off_b), 1e-6);
}

Test(ensemble, the_mean_of_scalar_densities_is_one_density)
{
    float y[TARGETS];
    targets_of(y, 1);
    struct answer a = ask(scalar_text[0], 1, EBM_ESTIMATE_QUADRATURE, y);
    struct answer b = ask(scalar_text[0], 2, EBM_ESTIMATE_QUADRATURE, y);
    struct answer both = ask(scalar_text[1], 1, EBM_ESTIMATE_QUADRATURE, y);
    cr_expect_float_eq(both.log_z, 0.0, 1e-5, "log Z %g", both.log_z);
    for (uint32_t i = 0; i < TARGETS; i++) {
        double expected = mean_density((double)a.f[i] - a.log_z, (double)b.f[i] - b.log_z);
        cr_expect_float_eq((double)both.f[i] - both.log_z, expected, 1e-5, "y %g: %g, not %g", (double)y[i],
                           (double)both.f[i] - both.log_z, expected);
    }
    double mean = 0.5 * (a.mean[0] + b.mean[0]), off_a = a.mean[0] - mean, off_b = b.mean[0] - mean;
    cr_expect_float_eq(both.mean[0], mean, 1e-5, "%g, not %g", both.mean[0], mean);
    cr_expect_float_eq(both.variance[0], 0.5 * (a.variance[0] + off_a * off_a + b.variance[0] + off_b * off_b), 1e-5);
    cr_expect(both.quantiles[1] > fmin(a.quantiles[1], b.quantiles[1]) &&
              both.quantiles[1] < fmax(a.quantiles[1], b.quantiles[1]));
}

Test(ensemble, draws_of_all_members_weigh_the_mean_of_their_densities)
{
    float y[2 * TARGETS];
    targets_of(y, 2);
    struct answer a = ask(plane_text[0], 1, EBM_ESTIMATE_IMPORTANCE, y);
    struct answer b = ask(plane_text[0], 2, EBM_ESTIMATE_IMPORTANCE, y);
    struct answer both = ask(plane_text[1], 1, EBM_ESTIMATE_IMPORTANCE, y);
    cr_expect_float_eq(both.log_z, 0.0, 1e-4, "log Z %g", both.log_z);
    for (uint32_t i = 0; i < TARGETS; i++) {
        double expected = mean_density((double)a.f[i] - a.log_z, (double)b.f[i] - b.log_z);
        cr_expect_float_eq((double)both.f[i], expected, 0.05, "target %u: %g, not %g", i, (double)both.f[i], expected);
    }
}

Test(ensemble, a_member_without_an_integral_counts_as_far_as_panels_go)
{
    float y[TARGETS];
    uint32_t n_improper = 0;
    targets_of(y, 1);
    for (uint64_t seed = 1; seed < 9; seed++) {
        struct answer a = ask(open_text[0], seed, EBM_ESTIMATE_QUADRATURE, y);
        struct answer b = ask(open_text[0], seed + 1, EBM_ESTIMATE_QUADRATURE, y);
        struct answer both = ask(open_text[1], seed, EBM_ESTIMATE_QUADRATURE, y);
        cr_expect_eq(both.proper, a.proper && b.proper, "seed %u", (unsigned)seed);
        /* each member was integrated as far as its own panels went: not all of that need be in the others' reach */
        cr_expect(isfinite(both.log_z) && fabs(both.log_z) < 0.6, "seed %u: log Z %g", (unsigned)seed, both.log_z);
        n_improper += !both.proper;
    }
    cr_assert_gt(n_improper, 0);
}

Test(ensemble, is_not_trained_as_one)
{
    struct ebm_error error = {0};
    struct ebm_config *config = NULL;
    cr_assert_eq(ebm_config_parse(scalar_text[1], strlen(scalar_text[1]), NULL, &config, &error), EBM_OK);
    cr_assert_eq(config->net.members, 2);
    struct ebm_net_desc net = config->net;
    float *params = make_params(config, 1);
    struct ebm_plan *plan = NULL;
    cr_assert_eq(ebm_device_cpu()->plan_new(&net, params, 1, &plan, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "one by one"), "%s", error.text);
    cr_assert_eq(ebm_device_cpu()->plan_new(&net, params, 0, &plan, &error), EBM_OK);
    (void)ebm_device_cpu()->plan_unref(plan);
    (void)ebm_config_free(config);
    free(params);
}
