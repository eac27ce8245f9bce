/* test_initial.c - parameters before the first step: their ranges, and the scale of target_net's first layer alone. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "trainer/initial.h"

static const struct ebm_layer feature = {.in = 4, .out = 8, .activation = EBM_ACT_RELU, .weight = 0, .bias = 32};
static const struct ebm_layer target[] = {
    {.in = 1, .out = 8, .activation = EBM_ACT_RELU, .weight = 48, .bias = 64},
    {.in = 8, .out = 8, .activation = EBM_ACT_RELU, .weight = 80, .bias = 144},
};
static const struct ebm_layer energy = {.in = 16, .out = 1, .weight = 160, .bias = 176};
#define P 192u

static struct ebm_net_desc desc_of(uint32_t n_target)
{
    return (struct ebm_net_desc){
        .n_params = P, .feature = {1, &feature}, .target = {n_target, target}, .energy = {1, &energy}};
}

Test(initial, within_the_bounds_of_the_fan_in)
{
    float params[P], again[P], other[P], most = 0.0f;
    struct ebm_net_desc net = desc_of(2);
    initial_parameters(&net, 7, 1.0, params);
    initial_parameters(&net, 7, 1.0, again);
    initial_parameters(&net, 8, 1.0, other);
    cr_assert(memcmp(params, again, sizeof params) == 0);
    cr_assert(memcmp(params, other, sizeof params) != 0);
    for (uint32_t i = 0; i < 40; i++)
        most = fmaxf(most, fabsf(params[i]));
    cr_assert(most <= 0.5f && most > 0.4f, "%g", (double)most);
    for (uint32_t i = 40; i < 48; i++)
        cr_assert_eq(params[i], 0.0f, "the gap stays zero");
}

Test(initial, scale_of_the_targets_first_layer)
{
    float plain[P], scaled[P];
    struct ebm_net_desc net = desc_of(2);
    initial_parameters(&net, 7, 1.0, plain);
    initial_parameters(&net, 7, 6.0, scaled);
    for (uint32_t i = 0; i < P; i++) {
        bool is_first = i >= 48 && i < 72;
        cr_assert_eq(scaled[i], is_first ? 6.0f * plain[i] : plain[i], "parameter %u", i);
    }
}

Test(initial, a_scale_of_nothing_is_refused)
{
    struct ebm_error error;
    struct options options = {.target_scale = 6.0};
    struct ebm_net_desc net = desc_of(1), none = desc_of(0);
    cr_assert_eq(initial_check(&net, &options, &error), EBM_OK);
    cr_assert_eq(initial_check(&none, &options, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "training.target_scale");
    options.target_scale = 1.0;
    cr_assert_eq(initial_check(&none, &options, &error), EBM_OK);
}
