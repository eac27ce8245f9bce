/* test_score.c - what is told of rows against closed forms of a Gaussian and of a Laplace density. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    enum ebm_choice choice;
};

static void open_fixture(struct fixture *f, const char *text, bool laplace)
{
    f->choice = EBM_CHOICE_AUTO;
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
    struct score_spec spec = {.ops = ebm_device_cpu(),
                              .plan = f->plan,
                              .config = f->config,
                              .jitter = jitter,
                              .samples = samples,
                              .seed = 3,
                              .choice = f->choice};
    cr_assert_eq(score_rows(f->pool, &spec, &data, rows, n, out), EBM_OK);
}

static void score(struct fixture *f, const struct dataset_jitter *jitter, uint32_t samples, uint32_t n, double *nll,
                  double *mean)
{
    struct score_target targets[40];
    const char *doubts[40];
    const struct score_rows out = {.nll = nll, .targets = targets, .doubts = doubts};
    score_from(f, 8.0, jitter, samples, n, &out);
    for (uint32_t i = 0; mean != NULL && i < n; i++)
        mean[i] = targets[i].mean;
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

static double below(double z)
{
    return 0.5 * erfc(-z / sqrt(2.0));
}

/* N(10, 4): CRPS 4 (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), PIT Phi(z); exact, since a mixture needs no draws. */
Test(score, all_of_a_gaussian)
{
    enum { ROWS = 20 };
    static const double ends[SCORE_LEVELS] = {0.6744897502, 1.2815515655, 1.6448536270, 1.9599639845};
    struct fixture f;
    double nll[ROWS];
    struct score_target targets[ROWS];
    const char *doubts[ROWS];
    const struct score_rows out = {.nll = nll, .targets = targets, .doubts = doubts};
    open_fixture(&f, mixture_text, false);
    score_from(&f, 1.0, NULL, 64, ROWS, &out);
    for (uint32_t i = 0; i < ROWS; i++) {
        double z = (1.0 + i - 10.0) / 4.0, density = exp(-0.5 * z * z) / sqrt(2.0 * M_PI);
        double expected = 4.0 * (z * (2.0 * below(z) - 1.0) + 2.0 * density - 1.0 / sqrt(M_PI));
        cr_assert_float_eq(targets[i].crps, expected, 1e-4, "y %u: %.7f, expected %.7f", 1 + i, targets[i].crps,
                           expected);
        cr_assert_float_eq(targets[i].pit, below(z), 1e-5, "PIT %.7f, expected %.7f", targets[i].pit, below(z));
        cr_assert_float_eq(targets[i].std, 4.0, 1e-5, "std %.7f", targets[i].std);
        cr_assert_float_eq(targets[i].mode, 10.0, 1e-2, "mode %.7f", targets[i].mode);
        cr_assert_null(doubts[i]);
        for (uint32_t k = 0; k < SCORE_LEVELS; k++) {
            cr_assert_float_eq(targets[i].lower[k], 10.0 - 4.0 * ends[k], 1e-4, "lower %.7f", targets[i].lower[k]);
            cr_assert_float_eq(targets[i].upper[k], 10.0 + 4.0 * ends[k], 1e-4, "upper %.7f", targets[i].upper[k]);
        }
    }
    close_fixture(&f);
}

/* Density exp(-|z|) / 2: CRPS |z| + exp(-|z|) - 3 / 4, intervals end at log 2, 5, 10, 20. By integration and by draws.
 */
static void check_laplace(enum ebm_choice choice, double tolerance)
{
    enum { ROWS = 24 };
    static const double tails[SCORE_LEVELS] = {2.0, 5.0, 10.0, 20.0};
    struct fixture f;
    double nll[ROWS];
    struct score_target targets[ROWS];
    const char *doubts[ROWS];
    const struct score_rows out = {.nll = nll, .targets = targets, .doubts = doubts};
    open_fixture(&f, laplace_text, true);
    f.choice = choice;
    score_from(&f, -2.0, NULL, 16384, ROWS, &out);
    for (uint32_t i = 0; i < ROWS; i++) {
        double z = (-2.0 + i - 10.0) / 4.0, size = fabs(z), expected = 4.0 * (size + exp(-size) - 0.75);
        double pit = z < 0.0 ? 0.5 * exp(z) : 1.0 - 0.5 * exp(-z), t = tolerance;
        cr_assert_float_eq(nll[i], size + log(2.0) + log(4.0), t, "row %u: NLL %.6f", i, nll[i]);
        cr_assert_float_eq(targets[i].crps, expected, t, "row %u: %.6f, expected %.6f", i, targets[i].crps, expected);
        cr_assert_float_eq(targets[i].pit, pit, t, "row %u: PIT %.6f, expected %.6f", i, targets[i].pit, pit);
        cr_assert_float_eq(targets[i].mean, 10.0, 3.0 * t, "mean %.6f", targets[i].mean);
        cr_assert_float_eq(targets[i].std, 4.0 * sqrt(2.0), 10.0 * t, "std %.6f", targets[i].std);
        for (uint32_t k = 0; k < SCORE_LEVELS; k++)
            cr_assert_float_eq(targets[i].upper[k], 10.0 + 4.0 * log(tails[k]), 3.0 * t * tails[k], "upper %.6f",
                               targets[i].upper[k]);
    }
    close_fixture(&f);
}

Test(score, all_of_an_energy_by_integration)
{
    check_laplace(EBM_CHOICE_AUTO, 1e-3);
}

Test(score, all_of_an_energy_by_draws)
{
    check_laplace(EBM_CHOICE_IMPORTANCE, 0.03);
}

/* A target known to a bin of 8 around 10 has a PIT between F(6) and F(14), spread evenly over the rows; the others
 * their own. */
Test(score, the_pit_of_a_bin_is_drawn_within_it)
{
    enum { ROWS = 400 };
    struct fixture f;
    static double x[ROWS], y[ROWS], nll[ROWS];
    static uint32_t rows[ROWS];
    static struct score_target targets[ROWS];
    static const char *doubts[ROWS];
    double values[] = {10.0}, low = below(-1.0), high = below(1.0), sum = 0.0;
    struct dataset_jitter jitter = {.step = 8.0, .values = values, .n_values = 1};
    open_fixture(&f, mixture_text, false);
    for (uint32_t i = 0; i < ROWS; i++) {
        rows[i] = i;
        y[i] = i == 0 ? 13.0 : 10.0;
    }
    struct dataset data = {.n_rows = ROWS, .X = 1, .D = 1, .x = x, .y = y, .numbers = rows};
    struct score_spec spec = {
        .ops = ebm_device_cpu(), .plan = f.plan, .config = f.config, .jitter = &jitter, .samples = 64, .seed = 3};
    const struct score_rows out = {.nll = nll, .targets = targets, .doubts = doubts};
    cr_assert_eq(score_rows(f.pool, &spec, &data, rows, ROWS, &out), EBM_OK);
    cr_assert_float_eq(targets[0].pit, below(0.75), 1e-5);
    for (uint32_t i = 1; i < ROWS; i++) {
        cr_assert(targets[i].pit >= low - 1e-6 && targets[i].pit <= high + 1e-6, "%.5f", targets[i].pit);
        sum += (targets[i].pit - low) / (high - low);
    }
    cr_assert_float_eq(sum / (ROWS - 1), 0.5, 0.05, "mean place in the bin %.4f", sum / (ROWS - 1));
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
