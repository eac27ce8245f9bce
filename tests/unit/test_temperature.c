/* test_temperature.c - densities that are too wide or too narrow by a known factor, against closed forms. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/options.h"
#include "trainer/temperature.h"

#define N 201u

/* y = 10 + 4 z. The mixture: z ~ N(0, e^bias). The energy: f = -a relu(z) - a relu(-z) = -a |z|, a Laplace density. */
#define HEAD(members)                                                                                                  \
    "{\"format_version\": 1, \"name\": \"m\", " members "\"input\": {\"kind\": \"vector\", \"shape\": [1]},"           \
    " \"target\": {\"dim\": 1, \"mean\": [10], \"std\": [4]},"
#define ONE "[{\"type\": \"linear\", \"in\": 1, \"out\": 1}]"
#define MIXTURE                                                                                                        \
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 1, \"mean_net\": " ONE                             \
    ", \"log_variance_net\": " ONE ", \"weight_net\": " ONE "}}"
#define ENERGY(activation)                                                                                             \
    "\"target_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 2, \"activation\": \"relu\"}],"                       \
    " \"energy_net\": [{\"type\": \"linear\", \"in\": 3, \"out\": 1" activation "}],"

static const char mixture_text[] = HEAD("") MIXTURE;
static const char laplace_text[] = HEAD("") ENERGY("") MIXTURE;
static const char ensemble_text[] = HEAD("\"members\": 2, ") ENERGY("") MIXTURE;
static const char tanh_text[] = HEAD("") ENERGY(", \"activation\": \"tanh\"") MIXTURE;

/* Every member with density a Laplace of scale 1 / a, or a Gaussian of log variance `bias`. */
static struct ebm_model *new_model(const char *text, float a, float bias)
{
    struct ebm_config *config = NULL;
    struct ebm_model *model = NULL;
    struct ebm_error error;
    enum ebm_status status = ebm_config_parse(text, strlen(text), NULL, &config, &error);
    cr_assert_eq(status, EBM_OK, "%s: %s", error.where, error.text);
    size_t P = config->net.n_params, all = ebm_net_all_params(&config->net);
    float *params = ebm_alloc_aligned(all * sizeof *params);
    memset(params, 0, all * sizeof *params);
    for (size_t first = 0; first < all; first += P) {
        if (config->net.has_energy) {
            const struct ebm_layer *target = &config->net.target.layers[0], *energy = &config->net.energy.layers[0];
            params[first + target->weight] = 1.0f;
            params[first + target->weight + 1] = -1.0f;
            params[first + energy->weight + 1] = params[first + energy->weight + 2] = -a;
        }
        params[first + config->net.log_variance.layers[0].bias] = bias;
    }
    cr_assert_eq(ebm_model_new(config, params, &model, &error), EBM_OK, "%s", error.text);
    free(params);
    return model;
}

/* Rows at x = 0 whose targets are symmetric about 10: z = spread * -1, ..., spread * 1. */
struct fixture {
    double x[N], y[N], mean_abs, mean_square; /* of z */
    uint32_t order[N];
    struct dataset data;
    struct temperature_rows rows;
};

static void make_rows(struct fixture *f, double spread)
{
    memset(f, 0, sizeof *f);
    for (uint32_t i = 0; i < N; i++) {
        double z = spread * (2.0 * i / (N - 1) - 1.0);
        f->order[i] = i;
        f->y[i] = 10.0 + 4.0 * z;
        f->mean_abs += fabs(z) / N;
        f->mean_square += z * z / N;
    }
    f->data = (struct dataset){.n_rows = N, .X = 1, .D = 1, .x = f->x, .y = f->y, .numbers = f->order};
    f->rows = (struct temperature_rows){
        .ops = ebm_device_cpu(), .n_threads = 2, .data = &f->data, .rows = f->order, .n = N, .samples = 64, .seed = 1};
}

static struct temperature find(const struct fixture *f, const struct ebm_model *model)
{
    struct temperature temperature;
    struct ebm_error error;
    cr_assert_eq(temperature_find(model, &f->rows, &temperature, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(temperature.rows, N);
    cr_assert_leq(temperature.nll_after, temperature.nll_before);
    return temperature;
}

/* Mean NLL of a / T: log(2 T / a) + a / T E|z|, least at T = a E|z|, there log(2 E|z|) + 1. */
Test(temperature, a_laplace_density_that_is_too_wide_or_too_narrow)
{
    static const float sharpness[] = {0.25f, 0.5f, 1.0f, 3.0f, 20.0f};
    struct fixture f;
    make_rows(&f, 2.0);
    for (size_t i = 0; i < EBM_COUNT_OF(sharpness); i++) {
        double a = (double)sharpness[i];
        struct ebm_model *model = new_model(laplace_text, sharpness[i], 2.0f);
        struct temperature found = find(&f, model);
        double before = log(2.0 / a) + a * f.mean_abs + log(4.0), after = log(2.0 * f.mean_abs) + 1.0 + log(4.0);
        cr_assert_float_eq(found.value / (a * f.mean_abs), 1.0, 2e-3, "a %g: T %.5f, expected %.5f", a, found.value,
                           a * f.mean_abs);
        cr_assert_float_eq(found.nll_before, before, 1e-3 * before, "%.5f, expected %.5f", found.nll_before, before);
        cr_assert_float_eq(found.nll_after, after, 1e-3 * after, "%.5f, expected %.5f", found.nll_after, after);
        (void)ebm_model_unref(model);
    }
}

/* Two members that are the same are one. */
Test(temperature, an_ensemble_has_one)
{
    struct fixture f;
    make_rows(&f, 2.0);
    struct ebm_model *model = new_model(ensemble_text, 3.0f, 2.0f);
    struct temperature found = find(&f, model);
    cr_assert_float_eq(found.value / (3.0 * f.mean_abs), 1.0, 5e-3, "%.5f", found.value);
    (void)ebm_model_unref(model);
}

/* Its variance becomes what the rows have: T = E z^2 / variance. */
Test(temperature, a_gaussian_gets_the_variance_of_the_rows)
{
    struct fixture f;
    make_rows(&f, 2.0);
    struct ebm_model *model = new_model(mixture_text, 0.0f, 2.0f);
    struct temperature found = find(&f, model);
    cr_assert_float_eq(found.value / (f.mean_square / exp(2.0)), 1.0, 2e-3, "%.5f", found.value);
    (void)ebm_model_unref(model);
}

Test(temperature, a_density_as_wide_as_the_rows_stays)
{
    struct fixture f;
    make_rows(&f, 2.0);
    struct ebm_model *model = new_model(laplace_text, (float)(1.0 / f.mean_abs), 2.0f);
    struct temperature found = find(&f, model);
    cr_assert_float_eq(found.value, 1.0, 2e-3, "%.5f", found.value);
    (void)ebm_model_unref(model);
}

/* Rows that the densities cannot be narrow enough for: the search ends at its bound. */
Test(temperature, the_search_ends_at_its_bounds)
{
    struct fixture f;
    make_rows(&f, 1e-6);
    struct ebm_model *model = new_model(laplace_text, 1.0f, 2.0f);
    struct temperature found = find(&f, model);
    cr_assert_float_eq(found.value / TEMPERATURE_LEAST, 1.0, 2e-3, "%.5f", found.value);
    (void)ebm_model_unref(model);
}

static void score(const struct fixture *f, const struct ebm_model *model, double *nll, struct score_target *targets)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_ctx_limits limits = {.max_rows = SCORE_ROWS, .max_samples = SCORE_TARGETS};
    struct score_spec spec = {.ops = ops, .config = ebm_model_config(model), .samples = 64, .seed = 1};
    const char *doubts[N];
    const struct score_rows out = {.nll = nll, .targets = targets, .doubts = doubts};
    struct pool *pool = NULL;
    struct ebm_error error;
    cr_assert_eq(ops->plan_new(ebm_model_net(model), ebm_model_params(model), 0, &spec.plan, &error), EBM_OK);
    cr_assert_eq(pool_new(ops, &limits, spec.plan, 1, &pool, &error), EBM_OK);
    cr_assert_eq(score_rows(pool, &spec, &f->data, f->order, N, &out), EBM_OK);
    (void)pool_free(pool);
    (void)ops->plan_unref(spec.plan);
}

/* What is written has the NLL that was promised, the mean of a symmetric density, the width of the rows, and a record.
 */
Test(temperature, the_model_is_what_was_found)
{
    struct fixture f;
    struct ebm_model *calibrated = NULL;
    struct ebm_error error;
    double nll[N], mean, unused;
    struct score_target targets[N];
    make_rows(&f, 2.0);
    struct ebm_model *model = new_model(laplace_text, 3.0f, 2.0f);
    struct temperature found = find(&f, model);
    cr_assert_eq(temperature_model(model, &found, &calibrated, &error), EBM_OK, "%s", error.text);
    score(&f, calibrated, nll, targets);
    score_mean(nll, N, &mean, &unused);
    cr_assert_float_eq(mean, found.nll_after, 1e-6, "%.7f, expected %.7f", mean, found.nll_after);
    cr_assert_float_eq(targets[0].mean, 10.0, 1e-6, "%.7f", targets[0].mean);
    cr_assert_float_eq(targets[0].std, 4.0 * sqrt(2.0) * f.mean_abs, 0.02, "%.5f", targets[0].std);
    const struct ebm_layer *log_variance = &ebm_model_net(model)->log_variance.layers[0];
    double moved = (double)(ebm_model_params(calibrated)[log_variance->bias] -
                            ebm_model_params(model)[log_variance->bias]);
    cr_assert_float_eq(moved, log(found.value), 1e-6, "the proposal goes along: %.7f", moved);
    const char *training = ebm_model_config(calibrated)->training;
    cr_assert_not_null(strstr(training, "\"calibration\": {\"temperature\": "), "%s", training);
    cr_assert_not_null(strstr(training, "\"rows\": 201"), "%s", training);
    (void)ebm_model_unref(model);
    (void)ebm_model_unref(calibrated);
}

Test(temperature, what_cannot_be_calibrated_is_refused)
{
    struct fixture f;
    struct temperature temperature;
    struct ebm_error error;
    make_rows(&f, 2.0);
    struct ebm_model *model = new_model(tanh_text, 1.0f, 2.0f);
    cr_assert_eq(temperature_find(model, &f.rows, &temperature, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "model.energy_net");
    (void)ebm_model_unref(model);
    model = new_model(laplace_text, 1.0f, 2.0f);
    f.rows.n = 0;
    cr_assert_eq(temperature_find(model, &f.rows, &temperature, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "no rows"), "%s", error.text);
    (void)ebm_model_unref(model);
}
