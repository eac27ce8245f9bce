/* test_protocol.c - yardsticks on a grid against sums of another kind; numbers beside NumPy's. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/protocol.h"

/* q(y|x) = N(0, 1) in standardised units when every parameter is 0; y = 10 + 4 z, or y = z */
#define HEAD "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"vector\", \"shape\": [1]}, \"target\": {"
#define ONE "[{\"type\": \"linear\", \"in\": 1, \"out\": 1}]"
#define MIXTURE                                                                                                        \
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 1, \"mean_net\": " ONE                             \
    ", \"log_variance_net\": " ONE ", \"weight_net\": " ONE "}}"
static const char wide_text[] = HEAD "\"dim\": 1, \"mean\": [10], \"std\": [4]}," MIXTURE;
static const char far_text[] = HEAD "\"dim\": 1, \"mean\": [60], \"std\": [1]}," MIXTURE;
static const char plain_text[] = HEAD "\"dim\": 1}," MIXTURE;

struct fixture {
    struct ebm_config *config;
    float *params;
    struct pool *pool;
    struct score_spec spec;
};

static void open_fixture(struct fixture *f, const char *text)
{
    const struct ebm_ctx_limits limits = {.max_rows = SCORE_ROWS, .max_samples = 8192};
    struct ebm_error error;
    *f = (struct fixture){.spec = {.ops = ebm_device_cpu(), .samples = 64}};
    enum ebm_status status = ebm_config_parse(text, strlen(text), NULL, &f->config, &error);
    cr_assert_eq(status, EBM_OK, "%s: %s", error.where, error.text);
    f->params = calloc(f->config->net.n_params, sizeof *f->params);
    f->spec.config = f->config;
    cr_assert_eq(f->spec.ops->plan_new(&f->config->net, f->params, 0, &f->spec.plan, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(pool_new(f->spec.ops, &limits, f->spec.plan, 2, &f->pool, &error), EBM_OK, "%s", error.text);
}

static void close_fixture(struct fixture *f)
{
    (void)pool_free(f->pool);
    (void)f->spec.ops->plan_unref(f->spec.plan);
    (void)ebm_config_free(f->config);
    free(f->params);
}

/* The published protocol on a model that is one Gaussian everywhere, summed here in another way. */
static void check_definition(const char *text, const char *name, double mean, double std)
{
    struct fixture f;
    const struct generate_set *set = generate_find(name);
    double kl = 0.0, expected = 0.0, nearest = (3.0 - mean) / std;
    open_fixture(&f, text);
    cr_assert_eq(protocol_kl(f.pool, &f.spec, set, &kl), EBM_OK);
    for (int i = 0; i < 2048; i++) {
        double truth = 0.0, model = 0.0, cross = 0.0;
        float x = (float)(-3.0 + 6.0 * i / 2047.0);
        for (int j = 0; j < 2048; j++) {
            double y = -3.0 + 6.0 * j / 2047.0, z = (y - mean) / std, log_model = 0.5 * (nearest - z) * (nearest + z);
            double g = set->density((double)x, y) + 1e-30;
            truth += g;
            model += exp(log_model);
            cross += g * (log(g) - log_model);
        }
        expected += (cross / truth - log(truth) + log(model)) / 2048.0;
    }
    cr_assert_float_eq(kl, expected, 1e-5 * fmax(1.0, expected), "%s: %.8f, expected %.8f", name, kl, expected);
    close_fixture(&f);
}

Test(protocol, kl_follows_the_definition)
{
    check_definition(wide_text, "toy1", 10.0, 4.0);
    check_definition(wide_text, "set2", 10.0, 4.0);
}

/* On the whole grid exp of the log density is 0 in double. */
Test(protocol, kl_does_not_ask_where_log_z_lies)
{
    check_definition(far_text, "toy1", 60.0, 1.0);
}

/* The model N(0, 1); values of NumPy, float64:
 *   x = y = linspace(-3, 3, 2048); g = pdf(y | x) + 1e-30; g /= g.sum(); p = exp(-y**2 / 2); p /= p.sum()
 *   mean over x of sum(g * log(g / p)) */
Test(protocol, kl_of_a_standard_normal_as_numpy_has_it)
{
    static const struct {
        const char *name;
        double kl;
    } cases[] = {{"toy1", 1.39240785}, {"set2", 2.66790365}};
    struct fixture f;
    open_fixture(&f, plain_text);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double kl = 0.0;
        cr_assert_eq(protocol_kl(f.pool, &f.spec, generate_find(cases[i].name), &kl), EBM_OK);
        cr_assert_float_eq(kl, cases[i].kl, 2e-5, "%s: %.8f, NumPy %.8f", cases[i].name, kl, cases[i].kl);
    }
    close_fixture(&f);
}

/* A grid that holds all of N(0, 1) gives its NLL; one from -1 to 1 that of the density cut there. */
Test(protocol, nll_on_a_grid)
{
    static const struct {
        struct protocol_grid grid;
        double log_z;
        uint32_t outside;
    } cases[] = {{{-12.5, 12.5, 8192}, 0.0, 0}, {{-1.0, 1.0, 8001}, -0.38171514, 1}};
    double x[3] = {0.0}, y[3] = {0.0, 0.5, -2.0}, nll[3];
    uint32_t numbers[3] = {0, 1, 2}, outside = 99;
    struct dataset data = {.n_rows = 3, .X = 1, .D = 1, .x = x, .y = y, .numbers = numbers};
    struct fixture f;
    open_fixture(&f, plain_text);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        cr_assert_eq(protocol_grid_nll(f.pool, &f.spec, &data, &cases[c].grid, nll, &outside), EBM_OK);
        cr_assert_eq(outside, cases[c].outside);
        for (uint32_t i = 0; i < 3; i++) {
            double expected = 0.5 * y[i] * y[i] + 0.5 * log(2.0 * M_PI) + cases[c].log_z;
            cr_assert_float_eq(nll[i], expected, 2e-4, "y %g: %.7f, expected %.7f", y[i], nll[i], expected);
        }
    }
    close_fixture(&f);
}

Test(protocol, nll_on_a_grid_is_in_the_targets_unit_and_averages_a_bin)
{
    double x[2] = {0.0}, y[2] = {10.0, 14.0}, nll[2], values[] = {10.0};
    uint32_t numbers[2] = {0, 1}, outside = 0;
    struct dataset_jitter jitter = {.step = 8.0, .values = values, .n_values = 1};
    struct dataset data = {.n_rows = 2, .X = 1, .D = 1, .x = x, .y = y, .numbers = numbers};
    const struct protocol_grid grid = {-30.0, 50.0, 8001};
    struct fixture f;
    open_fixture(&f, wide_text);
    f.spec.jitter = &jitter;
    cr_assert_eq(protocol_grid_nll(f.pool, &f.spec, &data, &grid, nll, &outside), EBM_OK);
    cr_assert_float_eq(nll[0], -log(erf(1.0 / sqrt(2.0)) / 8.0), 1e-4, "%.7f", nll[0]);
    cr_assert_float_eq(nll[1], 0.5 + 0.5 * log(2.0 * M_PI) + log(4.0), 1e-4, "%.7f", nll[1]);
    close_fixture(&f);
}

Test(protocol, words_for_a_grid)
{
    static const char *const wrong[] = {"",      "1,2",     "1,2,3,4",   "2,1,10", "1,1,10",  "0,1,1",
                                        "0,1,x", "0,1,2.5", "0,1,65537", "a,1,10", "0,1,10,", "0,inf,10"};
    struct protocol_grid grid = {0.0, 0.0, 0};
    struct ebm_error error;
    cr_assert_eq(protocol_grid_parse("-12.5,12.5,8192", &grid, &error), EBM_OK);
    cr_assert(grid.lower == -12.5 && grid.upper == 12.5 && grid.points == 8192);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_eq(protocol_grid_parse(wrong[i], &grid, &error), EBM_INVALID, "'%s'", wrong[i]);
        cr_assert_eq(grid.points, 8192, "'%s' left its mark", wrong[i]);
    }
}
