/* test_step.c - clipping and weight decay: what they make of gradient and parameters, for any number of threads. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/config.h"
#include "trainer/step.h"
#include "trainer/initial.h"

#define ROWS 24u
#define RATE 0.01

static const char text[] =
    "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"vector\", \"shape\": [2]}, "
    "\"target\": {\"dim\": 1}, "
    "\"feature_net\": [{\"type\": \"linear\", \"in\": 2, \"out\": 24, \"activation\": \"tanh\"}], "
    "\"energy_net\": [{\"type\": \"linear\", \"in\": 25, \"out\": 8, \"activation\": \"relu\"}, "
    "{\"type\": \"linear\", \"in\": 8, \"out\": 1}], "
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 2, "
    "\"mean_net\": [{\"type\": \"linear\", \"in\": 24, \"out\": 2}], "
    "\"log_variance_net\": [{\"type\": \"linear\", \"in\": 24, \"out\": 2}], "
    "\"weight_net\": [{\"type\": \"linear\", \"in\": 24, \"out\": 2}]}}";

/* A model before and after its first steps. */
struct result {
    size_t P;
    struct ebm_range part[EBM_PARTS];
    float *before, *after, *moment; /* (P) */
};

static void result_done(struct result *r)
{
    free(r->before);
    free(r->after);
    free(r->moment);
}

static void batch_of(float *x, float *y, struct ebm_row *rows)
{
    for (uint32_t b = 0; b < ROWS; b++) {
        uint32_t words[4];
        ebm_philox(5, b, 0, EBM_STREAM_GENERATE, 0, words);
        x[2 * b] = (float)ebm_normal(words[0]);
        x[2 * b + 1] = (float)ebm_normal(words[1]);
        y[b] = 20.0f * (float)ebm_normal(words[2]); /* far away: a long gradient */
        rows[b] = (struct ebm_row){.seed = 1, .row_in_request = b, .samples = 32};
    }
}

/* `steps` steps on one batch, the proposal alone or everything. */
static struct result run(double clip, double decay, bool proposal_alone, uint32_t n_threads, uint32_t steps)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_ctx_limits limits = {.training = true, .max_rows = 16, .max_samples = 64};
    struct method_phase phase = {
        .word = "",
        .loss = {.loss = proposal_alone ? EBM_LOSS_MDN_NLL : EBM_LOSS_NCE_KL, .samples = proposal_alone ? 0 : 32},
        .trains = {!proposal_alone, !proposal_alone, !proposal_alone, true}};
    float x[2 * ROWS], y[ROWS];
    double losses[ROWS];
    struct ebm_row rows[ROWS];
    struct ebm_config *config = NULL;
    struct pool *pool = NULL;
    struct ebm_plan *plan = NULL;
    struct ebm_error error;
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    size_t P = config->net.n_params;
    struct result r = {.P = P,
                       .before = calloc(P, sizeof(float)),
                       .after = calloc(P, sizeof(float)),
                       .moment = calloc(P, sizeof(float))};
    memcpy(r.part, config->net.part, sizeof r.part);
    initial_parameters(&config->net, 9, 1.0, r.before);
    batch_of(x, y, rows);
    cr_assert_eq(ops->plan_new(&config->net, r.before, STEP_CHUNKS, &plan, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(pool_new(ops, &limits, plan, n_threads, &pool, &error), EBM_OK, "%s", error.text);
    float *space = calloc(P, sizeof *space);
    struct step step = {.ops = ops,
                        .pool = pool,
                        .plan = plan,
                        .net = &config->net,
                        .learning_rate = RATE,
                        .weight_decay = decay,
                        .gradient_clip = clip,
                        .space = space};
    const struct step_batch batch = {.B = ROWS, .x = x, .y = y, .rows = rows, .losses = losses};
    for (uint32_t i = 0; i < steps; i++)
        cr_assert_eq(step_run(&step, &phase, &batch), EBM_OK);
    cr_assert_eq(ops->params_read(plan, EBM_TRAIN_PARAMS, r.after), EBM_OK);
    cr_assert_eq(ops->params_read(plan, EBM_TRAIN_ADAM_M, r.moment), EBM_OK);
    (void)pool_free(pool);
    (void)ops->plan_unref(plan);
    (void)ebm_config_free(config);
    free(space);
    return r;
}

/* Of the gradient of a first step: Adam's first moment is a tenth of it. */
static double norm_of(const struct result *r)
{
    double squares = 0.0;
    for (size_t i = 0; i < r->P; i++)
        squares += 100.0 * (double)r->moment[i] * (double)r->moment[i];
    return sqrt(squares);
}

Test(step, a_long_gradient_is_cut_to_its_direction)
{
    EBM_AUTO(result_done) struct result whole = run(0.0, 0.0, false, 2, 1);
    EBM_AUTO(result_done) struct result cut = run(0.5, 0.0, false, 2, 1);
    EBM_AUTO(result_done) struct result wide = run(1e8, 0.0, false, 2, 1);
    double norm = norm_of(&whole);
    printf("norm %g, cut %g\n", norm, norm_of(&cut));
    cr_assert_gt(norm, 1.0, "the test needs a long gradient");
    cr_assert_float_eq(norm_of(&cut), 0.5, 1e-5, "%g", norm_of(&cut));
    for (size_t i = 0; i < whole.P; i++)
        cr_assert_float_eq((double)cut.moment[i], (double)whole.moment[i] * 0.5 / norm,
                           1e-6 + 1e-4 * fabs((double)cut.moment[i]));
    cr_assert_arr_eq(wide.after, whole.after, whole.P * sizeof(float), "a short gradient is left alone");
}

Test(step, decay_shrinks_what_learns_apart_from_adam)
{
    EBM_AUTO(result_done) struct result plain = run(0.0, 0.0, true, 1, 1);
    EBM_AUTO(result_done) struct result decayed = run(0.0, 0.5, true, 1, 1);
    const struct ebm_range *own = &plain.part[EBM_PART_PROPOSAL];
    for (size_t i = 0; i < plain.P; i++) {
        bool learns = i >= own->first && i < own->first + own->count;
        double expected = (double)plain.after[i] - (learns ? RATE * 0.5 * (double)plain.before[i] : 0.0);
        cr_assert_float_eq((double)decayed.after[i], expected, 1e-7, "parameter %zu: %.9f, expected %.9f", i,
                           (double)decayed.after[i], expected);
    }
    cr_assert_arr_eq(decayed.moment, plain.moment, plain.P * sizeof(float), "the moments do not see it");
}

Test(step, the_same_bytes_for_any_number_of_threads)
{
    EBM_AUTO(result_done) struct result one = run(0.5, 0.1, false, 1, 5);
    for (uint32_t n = 2; n <= 4; n++) {
        EBM_AUTO(result_done) struct result several = run(0.5, 0.1, false, n, 5);
        cr_assert_arr_eq(several.after, one.after, one.P * sizeof(float), "%u threads", n);
    }
}
