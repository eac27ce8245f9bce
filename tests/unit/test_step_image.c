/* test_step_image.c - steps of a model that reads images: the same bytes for any number of threads, the gradient of the
 * whole network, heads alone, and running statistics, which weight decay leaves alone. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_internal.h"
#include "core/trunk.h"
#include "models/config.h"
#include "trainer/initial.h"
#include "trainer/kept.h"
#include "trainer/step.h"

#define ROWS 21u
#define SAMPLES 32u

static const char text[] =
    "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"image\", \"shape\": [1, 12, 10]}, "
    "\"target\": {\"dim\": 1}, "
    "\"feature_net\": [{\"type\": \"conv2d\", \"in\": 1, \"out\": 6, \"kernel\": 3, \"bias\": false}, "
    "{\"type\": \"batch_norm2d\", \"in\": 6}, {\"type\": \"relu\"}, {\"type\": \"conv2d\", \"in\": 6, \"out\": 8, "
    "\"kernel\": 3, \"stride\": 2}, {\"type\": \"relu\"}, {\"type\": \"global_avg_pool\"}, "
    "{\"type\": \"linear\", \"in\": 8, \"out\": 24, \"activation\": \"tanh\"}], "
    "\"energy_net\": [{\"type\": \"linear\", \"in\": 25, \"out\": 8, \"activation\": \"tanh\"}, "
    "{\"type\": \"linear\", \"in\": 8, \"out\": 1}], "
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 2, "
    "\"mean_net\": [{\"type\": \"linear\", \"in\": 24, \"out\": 2}], "
    "\"log_variance_net\": [{\"type\": \"linear\", \"in\": 24, \"out\": 2}], "
    "\"weight_net\": [{\"type\": \"linear\", \"in\": 24, \"out\": 2}]}}";

struct batch {
    float x[ROWS * 120], y[ROWS];
    double losses[ROWS];
    struct ebm_row rows[ROWS];
};

static void batch_fill(struct batch *batch)
{
    uint32_t words[4];
    for (uint32_t i = 0; i < ROWS * 120; i++) {
        ebm_philox(5, i / 4, 0, EBM_STREAM_GENERATE, 0, words);
        batch->x[i] = (float)ebm_normal(words[i % 4]);
    }
    for (uint32_t b = 0; b < ROWS; b++) {
        ebm_philox(6, b, 0, EBM_STREAM_GENERATE, 0, words);
        batch->y[b] = (float)ebm_normal(words[0]);
        batch->rows[b] = (struct ebm_row){.seed = 1, .row_in_request = b, .samples = SAMPLES};
    }
}

static struct ebm_config *config_new(void)
{
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    return config;
}

struct settings {
    enum ebm_loss loss;
    bool features_learn;
    double decay;
    uint32_t n_threads, steps;
    const float *params; /* to begin with; NULL: initial ones */
};

/* Owned: free both. */
struct result {
    double loss; /* of the last step, before it */
    float *params, *moment;
};

static struct result run(const struct ebm_config *config, const struct settings *s)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_ctx_limits limits = {.training = true, .max_rows = 16, .max_samples = 64};
    bool is_mixture = s->loss == EBM_LOSS_MDN_NLL;
    const struct method_phase phase = {.word = "",
                                       .loss = {.loss = s->loss,
                                                .samples = is_mixture ? 0 : SAMPLES,
                                                .proposal_trains_features = is_mixture && s->features_learn},
                                       .trains = {s->features_learn, !is_mixture, !is_mixture, true}};
    struct batch batch;
    struct ebm_plan *plan = NULL;
    struct pool *pool = NULL;
    size_t P = config->net.n_params;
    struct result r = {.params = calloc(P, sizeof(float)), .moment = calloc(P, sizeof(float))};
    float *space = calloc(P, sizeof *space);
    batch_fill(&batch);
    initial_parameters(&config->net, 9, 1.0, r.params);
    if (s->params != NULL)
        memcpy(r.params, s->params, P * sizeof *s->params);
    cr_assert_eq(ops->plan_new(&config->net, r.params, STEP_CHUNKS, &plan, NULL), EBM_OK);
    cr_assert_eq(ops->trunk_prepare(plan, ROWS, NULL), EBM_OK);
    cr_assert_eq(pool_new(ops, &limits, plan, s->n_threads, &pool, NULL), EBM_OK);
    struct step step = {.ops = ops,
                        .pool = pool,
                        .plan = plan,
                        .net = &config->net,
                        .learning_rate = 0.01,
                        .weight_decay = s->decay,
                        .space = space};
    const struct step_batch rows = {.B = ROWS, .x = batch.x, .y = batch.y, .rows = batch.rows, .losses = batch.losses};
    for (uint32_t i = 0; i < s->steps; i++)
        cr_assert_eq(step_run(&step, &phase, &rows), EBM_OK);
    for (uint32_t b = 0; b < ROWS; b++)
        r.loss += batch.losses[b] / ROWS;
    cr_assert_eq(ops->params_read(plan, EBM_TRAIN_PARAMS, r.params), EBM_OK);
    cr_assert_eq(ops->params_read(plan, EBM_TRAIN_ADAM_M, r.moment), EBM_OK);
    (void)pool_free(pool);
    (void)ops->plan_unref(plan);
    free(space);
    return r;
}

static void result_done(struct result *r)
{
    free(r->params), free(r->moment);
}

Test(step_image, threads_change_no_byte)
{
    struct ebm_config *config = config_new();
    struct settings settings = {.loss = EBM_LOSS_NCE_KL, .features_learn = true, .n_threads = 1, .steps = 5};
    EBM_AUTO(result_done) struct result one = run(config, &settings);
    settings.n_threads = 3;
    EBM_AUTO(result_done) struct result three = run(config, &settings);
    cr_assert_arr_eq(one.params, three.params, config->net.n_params * sizeof(float));
    ebm_config_free(config);
}

/* Of a first step Adam's first moment is a tenth of the gradient; mdn_nll draws nothing, so its loss is a function of
 * the parameters alone. */
Test(step_image, the_gradient_goes_through_heads_and_trunk)
{
    struct ebm_config *config = config_new();
    struct settings settings = {.loss = EBM_LOSS_MDN_NLL, .features_learn = true, .n_threads = 2, .steps = 1};
    EBM_AUTO(result_done) struct result at = run(config, &settings);
    float *params = calloc(config->net.n_params, sizeof *params);
    initial_parameters(&config->net, 9, 1.0, params);
    settings.params = params;
    for (size_t i = 0; i < config->n_params; i++) {
        const struct ebm_param *param = &config->params[i];
        if (param->part != EBM_PART_FEATURE)
            continue;
        size_t j = param->offset + ebm_param_count(param) / 2;
        float before = params[j];
        params[j] = before + 0.004f;
        EBM_AUTO(result_done) struct result above = run(config, &settings);
        params[j] = before - 0.004f;
        EBM_AUTO(result_done) struct result below = run(config, &settings);
        params[j] = before;
        double difference = (above.loss - below.loss) / 0.008, gradient = 10.0 * (double)at.moment[j];
        cr_assert_float_eq(gradient, difference, 2e-3 + 0.01 * fabs(difference), "%s: %g, by differences %g",
                           param->name, gradient, difference);
    }
    free(params);
    ebm_config_free(config);
}

Test(step_image, heads_alone_leave_the_trunk_but_its_statistics_move)
{
    struct ebm_config *config = config_new();
    const struct ebm_net_desc *net = &config->net;
    const struct ebm_image_op *norm = &net->trunk.ops[0];
    struct settings settings = {.loss = EBM_LOSS_NCE_KL, .decay = 0.5, .n_threads = 2, .steps = 40};
    EBM_AUTO(result_done) struct result r = run(config, &settings);
    float *params = calloc(net->n_params, sizeof *params);
    initial_parameters(net, 9, 1.0, params);
    cr_assert_arr_eq(r.params, params, net->part[EBM_PART_FEATURE].count * sizeof(float));
    cr_assert_neq(memcmp(r.params + net->part[EBM_PART_ENERGY].first, params + net->part[EBM_PART_ENERGY].first,
                         net->part[EBM_PART_ENERGY].count * sizeof(float)),
                  0, "the energy learns");
    /* inputs are standard normal, so an output of the first convolution has the variance of its 9 weights' squares */
    for (uint32_t c = 0; c < 6; c++) {
        double squares = 0.0;
        for (uint32_t i = 0; i < 9; i++)
            squares += pow((double)params[norm->weight + c * 9 + i], 2.0);
        cr_assert_float_eq(r.params[norm->variance + c], squares, 0.15 * squares, "%g, expected about %g",
                           (double)r.params[norm->variance + c], squares);
    }
    free(params);
    ebm_config_free(config);
}

Test(step_image, decay_shrinks_no_running_statistics)
{
    struct ebm_config *config = config_new();
    const struct ebm_image_op *norm = &config->net.trunk.ops[0];
    struct settings settings = {.loss = EBM_LOSS_NCE_KL, .features_learn = true, .n_threads = 2, .steps = 1};
    EBM_AUTO(result_done) struct result plain = run(config, &settings);
    settings.decay = 1.0;
    EBM_AUTO(result_done) struct result decayed = run(config, &settings);
    cr_assert_arr_eq(plain.params + norm->mean, decayed.params + norm->mean, 6 * sizeof(float));
    cr_assert_arr_eq(plain.params + norm->variance, decayed.params + norm->variance, 6 * sizeof(float));
    cr_assert_float_eq(decayed.params[norm->scale], (double)plain.params[norm->scale] - 0.01, 1e-5,
                       "1 shrinks by 0.01");
    ebm_config_free(config);
}

/* Rows are of the last batch, and only where that learns does the trunk. */
Test(step_image, features_that_no_batch_left_are_refused)
{
    struct ebm_config *config = config_new();
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_ctx_limits limits = {.training = true, .max_rows = 16, .max_samples = 64};
    const struct ebm_loss_spec spec = {.loss = EBM_LOSS_MDN_NLL, .scale = 1.0};
    float *params = calloc(config->net.n_params, sizeof *params);
    struct batch batch;
    struct ebm_plan *plan = NULL;
    struct pool *pool = NULL;
    batch_fill(&batch);
    initial_parameters(&config->net, 9, 1.0, params);
    cr_assert_eq(ops->plan_new(&config->net, params, 1, &plan, NULL), EBM_OK);
    cr_assert_eq(ops->trunk_prepare(plan, 8, NULL), EBM_OK);
    cr_assert_eq(pool_new(ops, &limits, plan, 2, &pool, NULL), EBM_OK);
    const struct ebm_threads threads = pool_threads(pool);
    struct ebm_train_rows rows = {.B = 4, .h_y = batch.y, .rows = batch.rows};
    cr_expect_eq(ops->backward(pool_ctx(pool), plan, 0, &spec, &rows, batch.losses), EBM_INVALID, "no batch");
    cr_expect_eq(ops->trunk_backward(plan, &threads), EBM_INVALID, "no batch");
    cr_expect_eq(ops->trunk_forward(plan, &threads, batch.x, 9, true), EBM_INVALID, "more than it is prepared for");
    cr_assert_eq(ops->trunk_forward(plan, &threads, batch.x, 7, true), EBM_OK);
    rows.first = 4;
    cr_expect_eq(ops->backward(pool_ctx(pool), plan, 0, &spec, &rows, batch.losses), EBM_INVALID, "row 7 of 7");
    rows.first = 3;
    cr_expect_eq(ops->backward(pool_ctx(pool), plan, 0, &spec, &rows, batch.losses), EBM_OK);
    cr_assert_eq(ops->trunk_forward(plan, &threads, batch.x, 8, false), EBM_OK);
    cr_expect_eq(ops->trunk_backward(plan, &threads), EBM_INVALID, "a trunk that stands still");
    (void)pool_free(pool);
    (void)ops->plan_unref(plan);
    free(params);
    ebm_config_free(config);
}

/* Kept features: those that the trunk computes by running statistics, which are the images' own by then. */
Test(step_image, what_is_kept_is_what_features_computes)
{
    struct ebm_config *config = config_new();
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_net_desc *net = &config->net;
    const struct ebm_image_op *norm = &net->trunk.ops[0];
    const struct ebm_ctx_limits limits = {.training = true, .max_rows = 16, .max_samples = 64};
    uint8_t pixels[ROWS * 120];
    uint32_t train[ROWS - 2];
    struct dataset data = {.n_rows = ROWS, .X = 120, .pixels = pixels, .train = train, .n_train = ROWS - 2};
    struct ebm_plan *plan = NULL;
    struct kept kept[2] = {{NULL}, {NULL}};
    float *params = calloc(net->n_params, sizeof *params), x[120], h[24];
    for (uint32_t i = 0; i < ROWS * 120; i++)
        pixels[i] = (uint8_t)((i * 7919u + i / 120 * 31u) % 251u);
    for (uint32_t i = 0; i < ROWS - 2; i++)
        train[i] = ROWS - 1 - i;
    initial_parameters(net, 9, 1.0, params);
    for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
        struct pool *pool = NULL;
        (void)ops->plan_unref(plan);
        cr_assert_eq(ops->plan_new(net, params, STEP_CHUNKS, &plan, NULL), EBM_OK);
        cr_assert_eq(ops->trunk_prepare(plan, 8, NULL), EBM_OK);
        cr_assert_eq(pool_new(ops, &limits, plan, n_threads, &pool, NULL), EBM_OK);
        const struct step step = {.ops = ops, .pool = pool, .plan = plan, .net = net};
        cr_assert_eq(kept_make(&step, &data, &config->input, 8, true, &kept[n_threads - 1], NULL), EBM_OK);
        dataset_standardize(&data, train[3], config->input.mean, config->input.std, x);
        cr_assert_eq(ops->features(pool_ctx(pool), plan, x, 1), EBM_OK);
        cr_assert_eq(ops->fetch(pool_ctx(pool), EBM_FETCH_FEATURES, 0, h), EBM_OK);
        (void)pool_free(pool);
    }
    cr_assert_arr_eq(kept[0].reach, kept[1].reach, ROWS * 8 * sizeof(float));
    cr_assert_eq(kept[0].reach[0], 0.0f, "row 0 is none of training");
    const struct ebm_layer *layer = &net->feature.layers[0];
    double z = (double)params[layer->bias];
    for (uint32_t i = 0; i < 8; i++)
        z += (double)params[layer->weight + i] * (double)kept[0].reach[train[3] * 8 + i];
    cr_assert_float_eq(h[0], tanh(z), 1e-5);
    cr_assert_eq(ops->params_read(plan, EBM_TRAIN_PARAMS, params), EBM_OK);
    cr_assert_gt(params[norm->variance], 100.0f, "measured: values are those of bytes");
    (void)ops->plan_unref(plan);
    kept_done(&kept[0]), kept_done(&kept[1]);
    free(params);
    ebm_config_free(config);
}

Test(step_image, a_batch_is_best_of_whole_tiles_where_there_are_tiles)
{
    struct ebm_config *config = config_new();
    const struct ebm_device_ops *const devices[] = {ebm_device_reference(), ebm_device_cpu()};
    float *params = calloc(config->net.n_params, sizeof *params);
    initial_parameters(&config->net, 9, 1.0, params);
    for (uint32_t i = 0; i < 2; i++) {
        struct ebm_plan *plan = NULL;
        cr_assert_eq(devices[i]->plan_new(&config->net, params, 0, &plan, NULL), EBM_OK);
        uint32_t group = devices[i]->plan_group(plan);
        cr_expect(group == 1 || (i == 1 && group == EBM_TRUNK_TILE), "%s: %u", devices[i]->name, group);
        (void)devices[i]->plan_unref(plan);
    }
    ebm_config_free(config);
    free(params);
}

static void free_nothing(void *accelerated)
{
    (void)accelerated;
}

static enum ebm_status reach_nothing(const struct ebm_plan *plan, const float *h_x, uint32_t B, float *reach)
{
    (void)plan, (void)h_x, (void)B, (void)reach;
    return EBM_INTERNAL;
}

/* Floats that a context takes for the plan's trunk. */
static size_t trunk_space(const struct ebm_device_ops *ops, const struct ebm_plan *plan)
{
    const struct ebm_ctx_limits limits = {.max_rows = 4, .max_samples = SAMPLES};
    struct ebm_ctx *ctx = NULL;
    cr_assert_eq(ops->ctx_new(&limits, &ctx, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_prepare(ctx, plan, NULL), EBM_OK);
    size_t count = ctx->trunk_space.count;
    (void)ops->ctx_free(ctx);
    return count;
}

Test(step_image, contexts_have_memory_for_a_trunk_only_where_the_cpu_runs_it)
{
    struct ebm_config *config = config_new();
    const struct ebm_device_ops *ops = ebm_device_cpu();
    float *params = calloc(config->net.n_params, sizeof *params), elsewhere = 0.0f;
    struct ebm_plan *served = NULL, *trained = NULL;
    cr_assert_eq(ops->plan_new(&config->net, params, 0, &served, NULL), EBM_OK);
    cr_assert_eq(ops->plan_new(&config->net, params, 1, &trained, NULL), EBM_OK);
    cr_expect_gt(trunk_space(ops, served), 0);
    cr_expect_gt(trunk_space(ops, trained), 0);
    served->accelerated = trained->accelerated = &elsewhere;
    served->free_accelerated = trained->free_accelerated = free_nothing;
    cr_expect_eq(trunk_space(ops, served), 0);
    cr_expect_gt(trunk_space(ops, trained), 0, "it trains there, but its trunk stays");
    trained->reach_there = reach_nothing;
    cr_expect_eq(trunk_space(ops, trained), 0);
    (void)ops->plan_unref(served);
    (void)ops->plan_unref(trained);
    ebm_config_free(config);
    free(params);
}
