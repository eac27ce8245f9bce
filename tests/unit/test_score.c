/* test_score.c - log densities and the KL of toy 1 against what a Gaussian must give. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/evaluate.h"
#include "trainer/generate.h"
#include "trainer/score.h"

/* q(y|x) = N(0, 1) in standardised units when every parameter is 0; y = 10 + 4 z */
#define HEAD                                                                                                           \
    "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"vector\", \"shape\": [1]},"                      \
    " \"target\": {\"dim\": 1, \"mean\": [10], \"std\": [4]},"
#define ONE "[{\"type\": \"linear\", \"in\": 1, \"out\": 1}]"
#define MIXTURE                                                                                                        \
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 1, \"mean_net\": " ONE                             \
    ", \"log_variance_net\": " ONE ", \"weight_net\": " ONE "}}"
static const char mixture_text[] = HEAD MIXTURE;
/* the same with f = -relu(y) - relu(-y) = -|y| (a Laplace density), log Z = log 2, and a wider proposal */
static const char laplace_text[] = HEAD
    "\"target_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 2, \"activation\": \"relu\"}],"
    " \"energy_net\": [{\"type\": \"linear\", \"in\": 3, \"out\": 1}]," MIXTURE;

struct fixture {
    struct ebm_config *config;
    float *params;
    struct ebm_plan *plan;
    struct pool *pool;
};

static void open_fixture(struct fixture *f, const char *text, bool laplace)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_ctx_limits limits = {.max_rows = SCORE_ROWS, .max_samples = 20000};
    struct ebm_error error;
    enum ebm_status status = ebm_config_parse(text, strlen(text), NULL, &f->config, &error);
    cr_assert_eq(status, EBM_OK, "%s: %s", error.where, error.text);
    f->params = calloc(f->config->net.n_params, sizeof *f->params);
    if (laplace) {
        const struct ebm_layer *target = &f->config->net.target.layers[0], *energy = &f->config->net.energy.layers[0];
        f->params[target->weight] = 1.0f;
        f->params[target->weight + 1] = -1.0f;
        f->params[energy->weight + 1] = f->params[energy->weight + 2] = -1.0f;
        f->params[f->config->net.log_variance.layers[0].bias] = 2.1972246f; /* std 3: as wide as the tails */
    }
    cr_assert_eq(ops->plan_new(&f->config->net, f->params, 0, &f->plan, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(pool_new(ops, &limits, f->plan, 2, &f->pool, &error), EBM_OK, "%s", error.text);
}

static void close_fixture(struct fixture *f)
{
    (void)pool_free(f->pool);
    (void)ebm_device_cpu()->plan_unref(f->plan);
    (void)ebm_config_free(f->config);
    free(f->params);
}

/* Scores y = first, first + 1, ... at x = 0 */
static void score_from(struct fixture *f, double first, const struct dataset_jitter *jitter, uint32_t samples,
                       uint32_t n, const struct score_rows *out)
{
    double x[40] = {0.0}, y[40];
    uint32_t rows[40];
    cr_assert_leq(n, 40);
    for (uint32_t i = 0; i < n; i++) {
        y[i] = first + i;
        rows[i] = i;
    }
    struct dataset data = {.n_rows = n, .X = 1, .D = 1, .x = x, .y = y, .numbers = rows};
    struct score_spec spec = {
        .ops = ebm_device_cpu(), .plan = f->plan, .config = f->config, .jitter = jitter, .samples = samples, .seed = 3};
    cr_assert_eq(score_rows(f->pool, &spec, &data, rows, n, out), EBM_OK);
}

static void score(struct fixture *f, const struct dataset_jitter *jitter, uint32_t samples, uint32_t n, double *nll,
                  double *mean)
{
    const struct score_rows out = {.nll = nll, .mean = mean};
    score_from(f, 8.0, jitter, samples, n, &out);
}

Test(score, a_mixture_has_the_density_of_its_units)
{
    struct fixture f;
    double nll[40], mean[40];
    open_fixture(&f, mixture_text, false);
    score(&f, NULL, 1, 40, nll, mean);
    for (uint32_t i = 0; i < 40; i++) {
        double z = (8.0 + i - 10.0) / 4.0, expected = 0.5 * z * z + 0.5 * log(2.0 * M_PI) + log(4.0);
        cr_assert_float_eq(nll[i], expected, 1e-5 * expected, "y %u: %.7f, expected %.7f", 8 + i, nll[i], expected);
        cr_assert_float_eq(mean[i], 10.0, 1e-6, "mean %.7f", mean[i]);
    }
    close_fixture(&f);
}

Test(score, a_jittered_target_has_the_mean_density_of_its_bin)
{
    struct fixture f;
    double nll[5], values[] = {10.0}, plain = 0.5 * log(2.0 * M_PI) + log(4.0);
    struct dataset_jitter jitter = {.step = 8.0, .values = values, .n_values = 1};
    open_fixture(&f, mixture_text, false);
    score(&f, &jitter, 1, 5, nll, NULL);
    double expected = -log(erf(1.0 / sqrt(2.0)) / 8.0); /* from one standard deviation below to one above */
    cr_assert_float_eq(nll[2], expected, 1e-4, "%.7f, expected %.7f", nll[2], expected);
    cr_assert_float_eq(nll[3], plain + 0.5 / 16.0, 1e-5, "others are scored at the point: %.7f", nll[3]);
    close_fixture(&f);
}

Test(score, an_energy_is_normalised_by_its_draws)
{
    struct fixture f;
    double nll[3], mean[3];
    open_fixture(&f, laplace_text, true);
    score(&f, NULL, 20000, 3, nll, mean);
    for (uint32_t i = 0; i < 3; i++) { /* a few per cent of noise */
        double z = fabs(8.0 + i - 10.0) / 4.0, expected = z + log(2.0) + log(4.0);
        cr_assert_float_eq(nll[i], expected, 0.05, "y %u: %.5f, expected %.5f", 8 + i, nll[i], expected);
        cr_assert_float_eq(mean[i], 10.0, 0.3, "mean %.4f", mean[i]);
    }
    close_fixture(&f);
}

/* N(10, 4): z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi), and intervals with ends at 0.6745 and 1.6449 deviations. */
Test(score, crps_and_intervals_of_a_gaussian)
{
    enum { ROWS = 20 };
    struct fixture f;
    double nll[ROWS], crps[ROWS];
    uint8_t inside[ROWS * SCORE_INTERVALS];
    const struct score_rows out = {.nll = nll, .crps = crps, .inside = inside};
    open_fixture(&f, mixture_text, false);
    score_from(&f, 1.0, NULL, 19000, ROWS, &out);
    for (uint32_t i = 0; i < ROWS; i++) {
        double z = (1.0 + i - 10.0) / 4.0, below = 0.5 * erfc(-z / sqrt(2.0));
        double expected = 4.0 *
                          (z * (2.0 * below - 1.0) + 2.0 * exp(-0.5 * z * z) / sqrt(2.0 * M_PI) - 1.0 / sqrt(M_PI));
        cr_assert_float_eq(crps[i], expected, 0.1, "y %u: %.5f, expected %.5f", 1 + i, crps[i], expected);
        cr_assert_eq(inside[2 * i], fabs(z) < 0.6745, "y %u, 50 %%: %u", 1 + i, inside[2 * i]);
        cr_assert_eq(inside[2 * i + 1], fabs(z) < 1.6449, "y %u, 90 %%: %u", 1 + i, inside[2 * i + 1]);
    }
    close_fixture(&f);
}

/* Density exp(-|z|) / 2: CRPS |z| + exp(-|z|) - 3 / 4, ends at log 2 and log 10; from weighted draws. */
Test(score, crps_and_intervals_of_an_energy)
{
    enum { ROWS = 24 };
    struct fixture f;
    double nll[ROWS], crps[ROWS];
    uint8_t inside[ROWS * SCORE_INTERVALS];
    const struct score_rows out = {.nll = nll, .crps = crps, .inside = inside};
    open_fixture(&f, laplace_text, true);
    score_from(&f, -2.0, NULL, 20000, ROWS, &out);
    for (uint32_t i = 0; i < ROWS; i++) {
        double z = fabs(-2.0 + i - 10.0) / 4.0, expected = 4.0 * (z + exp(-z) - 0.75);
        cr_assert_float_eq(crps[i], expected, 0.15, "row %u: %.5f, expected %.5f", i, crps[i], expected);
        cr_assert_eq(inside[2 * i], z < log(2.0), "row %u, 50 %%: %u", i, inside[2 * i]);
        cr_assert_eq(inside[2 * i + 1], z < log(10.0), "row %u, 90 %%: %u", i, inside[2 * i + 1]);
    }
    close_fixture(&f);
}

Test(score, mean_and_its_standard_error)
{
    const double values[] = {1.0, 2.0, 3.0, 6.0};
    double mean, error;
    score_mean(values, 4, &mean, &error);
    cr_assert_float_eq(mean, 3.0, 1e-15);
    cr_assert_float_eq(error, sqrt(14.0 / 3.0 / 4.0), 1e-15);
}

/* The protocol on a model that is N(10, 4) everywhere, summed here in another way. */
Test(score, toy_1_kl_follows_the_protocol)
{
    struct fixture f;
    double kl = 0.0, expected = 0.0;
    open_fixture(&f, mixture_text, false);
    cr_assert_eq(evaluate_toy1(f.pool, ebm_device_cpu(), f.plan, f.config, &kl), EBM_OK);
    for (int i = 0; i < 2048; i++) {
        double truth = 0.0, model = 0.0, cross = 0.0;
        float x = (float)(-3.0 + 6.0 * i / 2047.0);
        for (int j = 0; j < 2048; j++) {
            double y = -3.0 + 6.0 * j / 2047.0, z = (y - 10.0) / 4.0, log_model = -0.5 * z * z;
            double g = generate_toy1_density((double)x, y) + 1e-30;
            truth += g;
            model += exp(log_model);
            cross += g * (log(g) - log_model);
        }
        expected += (cross / truth - log(truth) + log(model)) / 2048.0;
    }
    cr_assert_float_eq(kl, expected, 1e-5, "%.8f, expected %.8f", kl, expected);
    close_fixture(&f);
}
