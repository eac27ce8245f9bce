/* test_estimate.c - queries, units, trust, and the bytes of a row in every place of a full batch through the entry that
 * a worker uses. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/estimate.h"

/* clang-format off */
#define NET(in, out, act) \
    "{\"type\": \"linear\", \"in\": " #in ", \"out\": " #out ", \"activation\": \"" act "\"}"
#define FEATURES "\"feature_net\": [" NET(2, 12, "relu") ", " NET(12, 12, "relu") "]"
#define ENERGY \
    "\"target_net\": [" NET(1, 8, "relu") "], " \
    "\"energy_net\": [" NET(20, 8, "relu") ", " NET(8, 1, "identity") "]"
#define PROPOSAL \
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 3, " \
    "\"mean_net\": [" NET(12, 3, "identity") "], " \
    "\"log_variance_net\": [" NET(12, 3, "identity") "], " \
    "\"weight_net\": [" NET(12, 3, "identity") "]}"
#define HEAD \
    "{\"format_version\": 1, \"name\": \"m\", " \
    "\"input\": {\"kind\": \"vector\", \"shape\": [2], \"mean\": [1e6, -3], \"std\": [10, 0.5]}, " \
    "\"target\": {\"dim\": 1, \"mean\": [100], \"std\": [20]}, "
/* clang-format on */

static const char full_text[] = HEAD FEATURES ", " ENERGY ", " PROPOSAL "}";
static const char mixture_text[] = HEAD FEATURES ", " PROPOSAL "}";
static const char energy_text[] = HEAD FEATURES ", " ENERGY "}";

/* Reproducible weights; those of the energy such that f falls on both sides of the target, so that exp f has an
 * integral. */
static float weight_of(const struct ebm_param *param, size_t j, double uniform)
{
    double value = 0.6 * uniform - 0.3;
    if (strcmp(param->name, "target_net.0.weight") == 0)
        value = j % 2 == 0 ? 0.8 + value : -0.8 - value;
    else if (strcmp(param->name, "energy_net.0.weight") == 0)
        value = fabs(value) + 0.1;
    else if (strcmp(param->name, "energy_net.1.weight") == 0)
        value = -fabs(value) - 0.1;
    return (float)value;
}

static struct ebm_model *make(const char *text)
{
    struct ebm_config *config = NULL;
    struct ebm_model *model = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    const struct ebm_param *params;
    size_t n = ebm_config_params(config, &params);
    float *values = calloc(config->net.n_params, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        size_t count = (size_t)params[i].rows * (params[i].columns > 0 ? params[i].columns : 1);
        for (size_t j = 0; j < count; j++) {
            uint32_t words[4];
            ebm_philox(11, (uint32_t)i, (uint32_t)j, EBM_STREAM_INIT, 0, words);
            values[params[i].offset + j] = weight_of(&params[i], j, ebm_uniform(words[0]));
        }
    }
    cr_assert_eq(ebm_model_new(config, values, &model, &error), EBM_OK, "%s", error.text);
    free(values);
    return model;
}

struct bench {
    struct ebm_model *model;
    struct ebm_plan *plan;
    struct ebm_engine *engine;
    struct ebm_arena arena;
};

enum { MOST_ROWS = 64 };

static struct bench start(const char *text)
{
    struct bench b = {.model = make(text)};
    struct ebm_error error = {0};
    struct ebm_ctx_limits limits = {MOST_ROWS, 4096, false};
    ebm_arena_init(&b.arena, 1 << 22);
    cr_assert_eq(ebm_device_cpu()->plan_new(ebm_model_net(b.model), ebm_model_params(b.model), 0, &b.plan, &error),
                 EBM_OK);
    cr_assert_eq(ebm_engine_new(ebm_device_cpu(), &limits, &b.engine, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ebm_engine_prepare(b.engine, b.model, b.plan, &error), EBM_OK, "%s", error.text);
    return b;
}

static void stop(struct bench *b)
{
    (void)ebm_engine_free(b->engine);
    (void)ebm_device_cpu()->plan_unref(b->plan);
    (void)ebm_model_unref(b->model);
    ebm_arena_done(&b->arena);
}

static const double wanted_quantiles[] = {0.05, 0.5, 0.95};

static struct ebm_query query_of(enum ebm_choice choice, uint32_t samples)
{
    return (struct ebm_query){.choice = choice,
                              .outputs = (1u << EBM_OUTPUTS) - 1,
                              .num_samples = samples,
                              .seed = 3,
                              .n_quantiles = 3,
                              .quantiles = wanted_quantiles,
                              .interval_level = 0.9,
                              .n_fair = 16};
}

static struct ebm_resolved_query *resolve(struct bench *b, struct ebm_query query)
{
    struct ebm_resolved_query *resolved = EBM_ARENA_NEW(&b->arena, struct ebm_resolved_query, 1);
    struct ebm_error error = {0};
    cr_assert_eq(ebm_query_resolve(&query, b->model, &b->arena, resolved, &error), EBM_OK, "%s", error.text);
    return resolved;
}

static void predict(struct bench *b, const struct ebm_resolved_query *resolved, const double *x, const uint32_t *rows,
                    uint32_t n, struct ebm_prediction *out)
{
    struct ebm_item items[MOST_ROWS] = {0};
    cr_assert_eq(ebm_prediction_init(out, n, resolved, b->model, &b->arena), EBM_OK);
    for (uint32_t i = 0; i < n; i++)
        items[i] = (struct ebm_item){.x = x + 2 * i, .row_in_request = rows[i], .resolved = resolved, .out = &out[i]};
    cr_assert_eq(ebm_engine_predict(b->engine, b->model, b->plan, items, n), EBM_OK);
}

/* log p at y (n) for one x, and where asked for log q. */
static void log_prob_at(struct bench *b, const double x[2], const double *y, uint32_t n, double *ret_log_prob,
                        double *ret_log_q)
{
    struct ebm_query query = {.outputs = EBM_OUTPUT(LOG_PROB) | EBM_OUTPUT(PROPOSAL_LOG_PROB),
                              .num_samples = 4096,
                              .seed = 1,
                              .n_targets = n};
    struct ebm_prediction p;
    struct ebm_item item = {.x = x, .targets = y, .resolved = resolve(b, query), .out = &p};
    cr_assert_eq(ebm_prediction_init(&p, 1, item.resolved, b->model, &b->arena), EBM_OK);
    cr_assert_eq(ebm_engine_predict(b->engine, b->model, b->plan, &item, 1), EBM_OK);
    memcpy(ret_log_prob, p.log_prob, n * sizeof *ret_log_prob);
    if (ret_log_q != NULL)
        memcpy(ret_log_q, p.proposal_log_prob, n * sizeof *ret_log_q);
}

Test(estimate, auto_takes_what_the_model_can_do)
{
    struct bench full = start(full_text), mixture = start(mixture_text);
    cr_assert_eq(resolve(&full, query_of(EBM_CHOICE_AUTO, 100))->spec.estimator,
                 ebm_estimator_auto(ebm_model_net(full.model)));
    cr_assert_neq(ebm_estimator_auto(ebm_model_net(full.model)), EBM_ESTIMATE_IMPORTANCE, "the target is one number");
    cr_assert_eq(resolve(&full, query_of(EBM_CHOICE_IMPORTANCE, 100))->spec.estimator, EBM_ESTIMATE_IMPORTANCE);
    cr_assert_eq(resolve(&full, query_of(EBM_CHOICE_MIXTURE, 100))->spec.estimator, EBM_ESTIMATE_MIXTURE);
    cr_assert_eq(resolve(&mixture, query_of(EBM_CHOICE_AUTO, 100))->spec.estimator, EBM_ESTIMATE_MIXTURE);
    stop(&full), stop(&mixture);
}

Test(estimate, what_the_model_cannot_do_is_said_in_a_sentence)
{
    struct bench mixture = start(mixture_text), energy = start(energy_text);
    struct ebm_resolved_query resolved;
    struct ebm_error error = {0};
    struct ebm_query query = query_of(EBM_CHOICE_IMPORTANCE, 100);
    cr_assert_eq(ebm_query_resolve(&query, mixture.model, &mixture.arena, &resolved, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "estimator");
    cr_assert_not_null(strstr(error.text, "no energy net"), "%s", error.text);
    cr_assert_eq(ebm_query_resolve(&query, energy.model, &energy.arena, &resolved, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "no proposal"), "%s", error.text);
    query.choice = EBM_CHOICE_AUTO;
    cr_assert_eq(ebm_query_resolve(&query, energy.model, &energy.arena, &resolved, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "this model has none"), "proposal_log_prob: %s", error.text);
    query.outputs &= ~EBM_OUTPUT(PROPOSAL_LOG_PROB);
    cr_assert_eq(ebm_query_resolve(&query, energy.model, &energy.arena, &resolved, &error), EBM_OK);
    query.choice = EBM_CHOICE_QUADRATURE;
    cr_assert_eq(ebm_query_resolve(&query, mixture.model, &mixture.arena, &resolved, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "this model has none"), "%s", error.text);
    stop(&mixture), stop(&energy);
}

Test(estimate, answers_are_in_the_targets_units_and_agree_with_each_other)
{
    struct bench b = start(full_text);
    double x[2] = {1e6 + 4.0, -2.7};
    uint32_t row = 0;
    struct ebm_prediction p;
    predict(&b, resolve(&b, query_of(EBM_CHOICE_IMPORTANCE, 4096)), x, &row, 1, &p);
    cr_assert(p.mean[0] > 60.0 && p.mean[0] < 140.0, "mean %g", p.mean[0]);
    cr_assert_float_eq(p.std[0] * p.std[0], p.variance[0], 1e-9 * p.variance[0]);
    cr_assert_eq(p.median[0], p.quantiles[1], "the median %g is the quantile at 0.5, %g", p.median[0], p.quantiles[1]);
    cr_assert(p.quantiles[0] < p.quantiles[1] && p.quantiles[1] < p.quantiles[2]);
    cr_assert(p.ess > 1.0 && p.ess <= 4096.0 && p.max_weight > 0.0 && p.max_weight < 0.1);
    cr_assert(p.mcse_mean[0] > 0.0 && p.mcse_mean[0] < 0.1 * p.std[0], "mcse %g of std %g", p.mcse_mean[0], p.std[0]);
    cr_assert(p.reliable && p.reason == NULL && p.num_samples == 4096);
    stop(&b);
}

Test(estimate, the_mixture_has_its_closed_form)
{
    struct bench b = start(mixture_text);
    double x[2] = {1e6 - 8.0, -3.1}, y[2001], log_prob[2001], log_q[2001], mass = 0.0, mean = 0.0, square = 0.0;
    uint32_t row = 0;
    struct ebm_prediction p;
    predict(&b, resolve(&b, query_of(EBM_CHOICE_AUTO, 100)), x, &row, 1, &p);
    for (int i = 0; i <= 2000; i++)
        y[i] = -100.0 + 0.2 * i;
    log_prob_at(&b, x, y, 2001, log_prob, log_q);
    for (int i = 0; i <= 2000; i++) {
        cr_assert_eq(log_prob[i], log_q[i], "the mixture is the density itself");
        mass += 0.2 * exp(log_prob[i]);
        mean += 0.2 * exp(log_prob[i]) * y[i];
        square += 0.2 * exp(log_prob[i]) * y[i] * y[i];
    }
    cr_assert_float_eq(mass, 1.0, 1e-5, "mass %g", mass);
    cr_assert_float_eq(mean, p.mean[0], 1e-3, "mean %g, not %g", p.mean[0], mean);
    cr_assert_float_eq(sqrt(square - mean * mean), p.std[0], 1e-3);
    cr_assert_eq(p.num_samples, 0);
    cr_assert_eq(p.log_normalizer, 0.0);
    stop(&b);
}

Test(estimate, importance_log_prob_integrates_to_one)
{
    struct bench b = start(full_text);
    enum { N = 1501 };
    double x[2] = {1e6 + 1.0, -2.5}, y[N], log_prob[N], mass = 0.0;
    for (int i = 0; i < N; i++)
        y[i] = -300.0 + 0.5 * i * 800.0 / 750.0;
    log_prob_at(&b, x, y, N, log_prob, NULL);
    for (int i = 0; i < N; i++)
        mass += (y[1] - y[0]) * exp(log_prob[i]);
    cr_assert_float_eq(mass, 1.0, 0.05, "mass %g", mass);
    stop(&b);
}

Test(estimate, weighted_and_fair_samples_have_the_moments_of_the_prediction)
{
    struct bench b = start(full_text);
    enum { N = 4096 };
    struct ebm_query query = query_of(EBM_CHOICE_IMPORTANCE, N);
    double x[2] = {1e6 + 4.0, -2.7}, weighted = 0.0, fair = 0.0, mass = 0.0;
    uint32_t row = 0;
    struct ebm_prediction p;
    query.weighted = true;
    predict(&b, resolve(&b, query), x, &row, 1, &p);
    for (int i = 0; i < N; i++) {
        mass += exp(p.log_weights[i]);
        weighted += exp(p.log_weights[i]) * p.samples[i];
    }
    cr_assert_float_eq(mass, 1.0, 1e-5);
    cr_assert_float_eq(weighted, p.mean[0], 1e-4 * p.std[0], "%g, predicted %g", weighted, p.mean[0]);
    query.weighted = false;
    query.n_fair = N;
    predict(&b, resolve(&b, query), x, &row, 1, &p);
    cr_assert_null(p.log_weights);
    for (int i = 0; i < N; i++)
        fair += p.samples[i] / N;
    cr_assert_float_eq(fair, p.mean[0], 5.0 * p.std[0] / sqrt(N), "%g, predicted %g +- %g", fair, p.mean[0], p.std[0]);
    query.choice = EBM_CHOICE_MIXTURE;
    predict(&b, resolve(&b, query), x, &row, 1, &p);
    for (fair = 0.0, row = 0; row < N; row++)
        fair += p.samples[row] / N;
    cr_assert_float_eq(fair, p.mean[0], 5.0 * p.std[0] / sqrt(N), "mixture: %g, predicted %g", fair, p.mean[0]);
    stop(&b);
}

Test(estimate, an_interval_is_a_pair_of_quantiles)
{
    struct bench b = start(full_text);
    double x[2] = {1e6 + 4.0, -2.7};
    uint32_t row = 0;
    struct ebm_prediction p;
    predict(&b, resolve(&b, query_of(EBM_CHOICE_AUTO, 1024)), x, &row, 1, &p);
    cr_assert_eq(p.intervals[0], p.quantiles[0], "%g, %g", p.intervals[0], p.quantiles[0]);
    cr_assert_eq(p.intervals[1], p.quantiles[2], "%g, %g", p.intervals[1], p.quantiles[2]);
    stop(&b);
}

Test(estimate, weighted_samples_need_weights)
{
    struct bench mixture = start(mixture_text);
    struct ebm_resolved_query resolved;
    struct ebm_error error = {0};
    struct ebm_query query = query_of(EBM_CHOICE_AUTO, 100);
    query.weighted = true;
    cr_assert_eq(ebm_query_resolve(&query, mixture.model, &mixture.arena, &resolved, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "resample");
    stop(&mixture);
}

static bool same(const struct ebm_prediction *a, const struct ebm_prediction *b)
{
    return memcmp(a->mean, b->mean, sizeof(double)) == 0 && memcmp(a->std, b->std, sizeof(double)) == 0 &&
           memcmp(a->median, b->median, sizeof(double)) == 0 &&
           memcmp(a->quantiles, b->quantiles, 3 * sizeof(double)) == 0 &&
           memcmp(a->samples, b->samples, 16 * sizeof(double)) == 0 &&
           memcmp(&a->log_normalizer, &b->log_normalizer, sizeof(double)) == 0 &&
           memcmp(&a->ess, &b->ess, sizeof(double)) == 0 && memcmp(a->mcse_mean, b->mcse_mean, sizeof(double)) == 0;
}

Test(estimate, a_row_has_the_same_bytes_in_every_place_of_a_full_batch)
{
    struct bench b = start(full_text);
    const struct ebm_resolved_query *resolved = resolve(&b, query_of(EBM_CHOICE_IMPORTANCE, 300));
    double x[2 * MOST_ROWS], probe[2] = {1e6 + 2.5, -2.9};
    uint32_t rows[MOST_ROWS], row = 7;
    struct ebm_prediction alone, many[MOST_ROWS];
    predict(&b, resolved, probe, &row, 1, &alone);
    for (uint32_t place = 0; place < MOST_ROWS; place++) {
        for (uint32_t i = 0; i < MOST_ROWS; i++) {
            x[2 * i] = i == place ? probe[0] : 1e6 + 0.3 * i;
            x[2 * i + 1] = i == place ? probe[1] : -3.0 + 0.01 * place;
            rows[i] = i == place ? row : 1000 + i;
        }
        predict(&b, resolved, x, rows, MOST_ROWS, many);
        cr_assert(same(&alone, &many[place]), "place %u: mean %.17g, alone %.17g", place, many[place].mean[0],
                  alone.mean[0]);
    }
    stop(&b);
}

Test(estimate, too_few_samples_and_numbers_that_are_not_finite_are_not_reliable)
{
    struct bench b = start(full_text);
    double x[4] = {1e6, -3.0, 1e300, -3.0};
    uint32_t rows[2] = {0, 1};
    struct ebm_prediction p[2];
    predict(&b, resolve(&b, query_of(EBM_CHOICE_IMPORTANCE, 4)), x, rows, 2, p);
    cr_assert(!p[0].reliable);
    cr_assert_str_eq(p[0].reason, "dominant_weight");
    cr_assert(!p[1].reliable);
    cr_assert_str_eq(p[1].reason, "not_finite");
    cr_assert(isnan(p[1].mean[0]) && isnan(p[1].std[0]) && isnan(p[1].quantiles[2]) && isnan(p[1].log_normalizer));
    stop(&b);
}
