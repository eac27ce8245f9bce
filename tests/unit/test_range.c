/* test_range.c - the range that a scalar density is integrated over: chosen, said, contradicted; and what is told of
 * the tails beyond it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "trainer/range.h"
#include "trainer/tails.h"

static double targets[] = {9.0, -1.2, 0.3, 1.28, 50.0};
static uint32_t rows[] = {1, 2, 3}; /* of the training: neither 9 nor 50 */
static uint32_t numbers[] = {0, 1, 2, 3, 4};

static struct dataset data_of(uint32_t D)
{
    return (struct dataset){
        .D = D, .X = 1, .n_rows = 5, .y = targets, .x = targets, .train = rows, .n_train = 3, .numbers = numbers};
}

static struct options options_of(const char *method, double *support)
{
    struct options options = {.method = (char *)(uintptr_t)method, .support = support, .n_support = support ? 2 : 0};
    options.data.file = (char *)(uintptr_t) "rows.csv";
    return options;
}

Test(range, chosen_where_nothing_is_said)
{
    double ends[2], said[] = {-2.0, 7.5};
    struct dataset data = data_of(1), plane = data_of(2);
    struct options options = options_of("ml_exact", NULL);
    cr_assert(range_choose(&options, &data, ends));
    cr_assert(fabs(ends[0] + 2.94) < 1e-12 && fabs(ends[1] - 3.02) < 1e-12, "[%.17g, %.17g]", ends[0], ends[1]);
    cr_assert(!range_choose(&options, &plane, ends));
    options = options_of("nce_kl", NULL);
    cr_assert(!range_choose(&options, &data, ends));
    options = options_of("nce_kl", said);
    cr_assert(range_choose(&options, &data, ends) && ends[0] == -2.0 && ends[1] == 7.5);
}

Test(range, contradictions_are_told)
{
    double said[] = {-2.0, 7.5}, narrow[] = {-1.0, 2.0}, lower[] = {-2.0}, upper[] = {7.5}, more[] = {8.0},
           low[] = {-1.0}, high[] = {2.0};
    enum ebm_support_kind real[] = {EBM_SUPPORT_REAL, EBM_SUPPORT_REAL}, bounded[] = {EBM_SUPPORT_BOUNDED};
    const struct {
        double *support;
        struct ebm_target_config target;
        const char *where, *says; /* NULL: fine */
    } cases[] = {
        {said, {.dim = 1, .support = real, .lower = lower, .upper = upper}, NULL, NULL},
        {NULL, {.dim = 1, .support = real, .lower = lower, .upper = upper}, NULL, NULL},
        {NULL, {.dim = 1, .support = bounded, .lower = low, .upper = high}, NULL, NULL}, /* bounds_apply's business */
        {said, {.dim = 1, .support = real, .lower = lower, .upper = more}, "training.support", "leave one of them out"},
        {said, {.dim = 2, .support = real}, "training.support", "for one target"},
        {narrow,
         {.dim = 1, .support = real, .lower = low, .upper = high},
         "rows.csv, data row 2",
         "the target is -1.2"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct dataset data = data_of(cases[i].target.dim);
        struct options options = options_of("ml_exact", cases[i].support);
        struct ebm_error error = {.status = EBM_OK};
        enum ebm_status status = range_check(&options, &data, &cases[i].target, &error);
        cr_assert_eq(status, cases[i].where != NULL ? EBM_INVALID : EBM_OK, "case %zu: %s", i, error.text);
        if (cases[i].where == NULL)
            continue;
        cr_assert_str_eq(error.where, cases[i].where, "case %zu", i);
        cr_assert(strstr(error.text, cases[i].says) != NULL, "case %zu: '%s'", i, error.text);
    }
}

/* f = -a relu(z) - b relu(-z), z = (y - 1) / 2: a Laplace density with two rates. */
static const char laplace[] =
    "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"vector\", \"shape\": [1]}, "
    "\"target\": {\"dim\": 1, \"mean\": [1], \"std\": [2], \"lower\": [-3], \"upper\": [4]}, "
    "\"target_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 2, \"activation\": \"relu\"}], "
    "\"energy_net\": [{\"type\": \"linear\", \"in\": 3, \"out\": 1}]}";

static struct tails tails_of(const struct ebm_config *config, double a, double b)
{
    float *params = ebm_alloc_aligned(config->net.n_params * sizeof *params);
    const struct ebm_layer *target = config->net.target.layers, *energy = config->net.energy.layers;
    params[target->weight] = 1.0f;
    params[target->weight + 1] = -1.0f;
    params[energy->weight] = 0.3f; /* of h: f moves up and down, no more */
    params[energy->weight + 1] = (float)-a;
    params[energy->weight + 2] = (float)-b;
    struct dataset data = data_of(1);
    struct tails tails;
    struct ebm_error error;
    cr_assert_eq(tails_find(config, params, &data, &tails, &error), EBM_OK, "%s", error.text);
    tails_print(config, &tails);
    free(params);
    return tails;
}

Test(range, tails_of_a_laplace_density)
{
    EBM_AUTO(ebm_config_freep) struct ebm_config *config = NULL;
    struct ebm_error error;
    cr_assert_eq(ebm_config_parse(laplace, strlen(laplace), NULL, &config, &error), EBM_OK, "%s", error.text);
    cr_assert(tails_apply(config));
    struct tails tails = tails_of(config, 4.0, 2.0);
    double outside = (exp(-2.0 * 2.0) / 2.0 + exp(-4.0 * 1.5) / 4.0) / (1.0 / 2.0 + 1.0 / 4.0);
    cr_assert(tails.is_proper && tails.slope[0] == 1.0 && tails.slope[1] == -2.0);
    cr_assert(fabs(tails.outside - outside) < 1e-9, "%.12g, not %.12g", tails.outside, outside);
    tails = tails_of(config, -1.0, 2.0);
    cr_assert(!tails.is_proper && tails.slope[0] == 1.0 && tails.slope[1] == 0.5 && isnan(tails.outside));
    tails = tails_of(config, 1.0, 0.0); /* level below */
    cr_assert(!tails.is_proper && tails.slope[0] == 0.0 && isnan(tails.outside));
}
