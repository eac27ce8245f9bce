/* test_trunk.c - trunks of images: served features against the training ones' formulas, gradients against differences,
 * fast convolutions against plain ones, the same bytes wherever an image stands and whoever computes. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/trunk.h"
#include "core/trunk_still.h"
#include "core/trunk_train.h"
#include "models/config.h"

#define SIDE 17u

static const char mixed[] =
    "[{'type': 'conv2d', 'in': 2, 'out': 6, 'kernel': 5, 'stride': 2, 'padding': 1}, {'type': 'batch_norm2d', 'in': 6},"
    " {'type': 'relu'}, {'type': 'max_pool2d', 'kernel': 3, 'stride': 2, 'padding': 1},"
    " {'type': 'batch_norm2d', 'in': 6}, {'type': 'conv2d', 'in': 6, 'out': 5, 'kernel': 2}, {'type': 'relu'},"
    " {'type': 'flatten'}]";
static const char resnet[] = "[{'type': 'resnet', 'depth': 18, 'in': 2, 'width': 4}]";
static const char even[] = "[{'type': 'conv2d', 'in': 2, 'out': 3, 'kernel': 2, 'padding': 24}, {'type': 'resnet', "
                           "'depth': 18, 'in': 3, 'width': 4}]";

static struct ebm_config *config_of(const char *layers, uint32_t features)
{
    char text[2048];
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    int length = snprintf(
        text, sizeof text,
        "{'format_version': 1, 'name': 'n', 'target': {'dim': 1}, 'input': {'kind': 'image', 'shape': "
        "[2, %u, %u]}, 'feature_net': %s, 'energy_net': [{'type': 'linear', 'in': %u, 'out': 1}]}",
        SIDE, SIDE, layers, features + 1);
    for (char *c = text; *c; c++)
        if (*c == '\'')
            *c = '"';
    cr_assert_eq(ebm_config_parse(text, (size_t)length, NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    return config;
}

static double number(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (double)*seed / 0x1p32 - 0.5;
}

static float *numbers(size_t n, uint32_t seed)
{
    float *values = ebm_alloc_aligned((n + 1) * sizeof *values);
    cr_assert_not_null(values);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(2.0 * number(&seed));
    return values;
}

/* Parameters as they might be: variances above 0, scales about 1. */
static float *params_of(const struct ebm_config *config)
{
    const struct ebm_param *params;
    float *values = numbers(config->net.n_params, 1);
    for (size_t i = ebm_config_params(config, &params); i-- > 0;) {
        bool is_variance = strstr(params[i].name, "running_var") != NULL;
        double fan_in = params[i].columns > 0 ? sqrt(3.0 / params[i].columns) : 1.0;
        for (size_t j = params[i].offset; j < params[i].offset + ebm_param_count(&params[i]); j++)
            values[j] = is_variance ? fabsf(values[j]) + 0.1f : (float)((double)values[j] * fan_in);
    }
    return values;
}

static struct ebm_trunk_plan *plan_of(const struct ebm_config *config, const float *params,
                                      const struct ebm_conv_backend *backend, uint32_t tile)
{
    struct ebm_trunk_plan *plan = NULL;
    cr_assert_eq(ebm_trunk_plan_new(&config->net.trunk, params, backend, tile, &plan, NULL), EBM_OK);
    return plan;
}

static float *features_of(const struct ebm_config *config, const float *params, const struct ebm_conv_backend *backend,
                          uint32_t tile, const float *x, uint32_t B)
{
    struct ebm_trunk_plan *plan = plan_of(config, params, backend, tile);
    float *space = numbers(ebm_trunk_plan_space(plan), 2), *h = numbers((size_t)B * config->net.trunk.out, 3);
    cr_assert_eq(ebm_trunk_run(plan, x, B, h, space), EBM_OK);
    (void)ebm_trunk_plan_free(plan);
    free(space);
    return h;
}

static size_t fast_backends(const struct ebm_conv_backend *ret_backends[3])
{
    ret_backends[0] = ebm_conv_own();
    ret_backends[1] = ebm_conv_blas();
    ret_backends[2] = ebm_conv_onednn();
    return ret_backends[2] != NULL ? 3 : 2;
}

static void assert_close(const float *got, const float *expected, size_t n, double tolerance, const char *what)
{
    double largest = 0.0, error = 0.0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)expected[i]));
        error = fmax(error, fabs((double)expected[i] - (double)got[i]));
    }
    cr_assert_leq(error, tolerance * largest, "%s: %g of %g", what, error, largest);
}

/* ---- serving ---- */

Test(trunk, a_small_one_by_hand)
{
    /* one channel in, two out: 2 x 2 means of everything after norm and relu, with numbers that are exact */
    static const char layers[] =
        "[{'type': 'conv2d', 'in': 2, 'out': 1, 'kernel': 1}, {'type': 'batch_norm2d', 'in': 1},"
        " {'type': 'relu'}, {'type': 'global_avg_pool'}]";
    struct ebm_config *config = config_of(layers, 1);
    const struct ebm_image_op *op = &config->net.trunk.ops[0];
    float *params = numbers(config->net.n_params, 1), *x = calloc(2 * SIDE * SIDE, sizeof *x);
    params[op->weight] = 2.0f, params[op->weight + 1] = -1.0f, params[op->bias] = 0.5f;
    params[op->scale] = 3.0f, params[op->shift] = -1.0f;
    params[op->mean] = 1.5f, params[op->variance] = 4.0f - 1e-5f;
    x[0] = 5.0f;           /* z = 2 * 5 - 0 + 0.5 = 10.5, norm 3 (10.5 - 1.5) / 2 - 1 = 12.5 */
    x[SIDE * SIDE] = 1.0f; /* the same place: z = 9.5, norm 11 */
    /* elsewhere z = 0.5, norm -2.5, relu 0 */
    float *h = features_of(config, params, ebm_conv_ref(), 1, x, 1);
    cr_assert_float_eq(h[0], 11.0 / (SIDE * SIDE), 1e-6);
    free(h), free(x), free(params);
    ebm_config_free(config);
}

Test(trunk, fast_convolutions_give_the_same_features)
{
    const char *const layers[] = {mixed, resnet};
    const struct ebm_conv_backend *fast[3];
    for (size_t i = 0; i < EBM_COUNT_OF(layers); i++) {
        struct ebm_config *config = config_of(layers[i], i == 0 ? 45 : 32);
        float *params = params_of(config), *x = numbers(5ul * config->net.X, 4);
        float *expected = features_of(config, params, ebm_conv_ref(), 2, x, 5);
        for (size_t j = fast_backends(fast); j-- > 0;) {
            float *got = features_of(config, params, fast[j], 4, x, 5);
            assert_close(got, expected, 5ul * config->net.trunk.out, 1e-5, fast[j]->name);
            free(got);
        }
        free(params), free(x), free(expected);
        ebm_config_free(config);
    }
}

/* The first trunk has images of 9, 5, 3, 2 and 1 places a line, the second those of 16, 8, 4 and 2. */
Test(trunk, bytes_do_not_depend_on_place_and_number)
{
    struct ebm_config *configs[] = {config_of(resnet, 32), config_of(even, 32)};
    for (size_t i = 0; i < EBM_COUNT_OF(configs); i++) {
        size_t X = configs[i]->net.X, out = configs[i]->net.trunk.out;
        float *params = params_of(configs[i]), *x = numbers(41 * X, 5);
        float *all = features_of(configs[i], params, ebm_conv_own(), 16, x, 41);
        for (uint32_t first = 0, n = 1; first + n <= 41; first += n, n++) {
            float *some = features_of(configs[i], params, ebm_conv_own(), 16, x + first * X, n);
            cr_assert_arr_eq(some, all + first * out, n * out * sizeof *all, "%u from %u", n, first);
            free(some);
        }
        free(all), free(params), free(x);
        ebm_config_free(configs[i]);
    }
}

/* ---- training ---- */

static void run_in_order(void *who, ebm_trunk_part_fn *fn, void *user, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        fn(user, i, who);
}

struct share {
    ebm_trunk_part_fn *fn;
    void *user;
    uint32_t first, n, step;
    float *scratch;
};

static void *run_share(void *argument)
{
    const struct share *share = argument;
    for (uint32_t i = share->first; i < share->n; i += share->step)
        share->fn(share->user, share->n - 1 - i, share->scratch);
    return NULL;
}

/* Backwards, by three threads. `who`: three times scratch memory, its size in front. */
static void run_in_threads(void *who, ebm_trunk_part_fn *fn, void *user, uint32_t n)
{
    pthread_t threads[3];
    struct share shares[3];
    float *const *scratch = who;
    for (uint32_t i = 0; i < 3; i++) {
        shares[i] = (struct share){fn, user, i, n, 3, scratch[i]};
        cr_assert_eq(pthread_create(&threads[i], NULL, run_share, &shares[i]), 0);
    }
    for (uint32_t i = 0; i < 3; i++)
        (void)pthread_join(threads[i], NULL);
}

/* A batch forward and backward. Owns its arrays. */
struct result {
    float *params, *h, *gradient; /* params after the running statistics moved */
};

static void result_done(struct result *r)
{
    free(r->params), free(r->h), free(r->gradient);
}

static struct result train(const struct ebm_config *config, const struct ebm_conv_backend *backend, const float *params,
                           const float *x, const float *dh, uint32_t B, bool in_threads)
{
    const struct ebm_net_desc *net = &config->net;
    struct ebm_trunk_train *t = NULL;
    cr_assert_eq(ebm_trunk_train_new(&net->trunk, backend, B + 2, &t, NULL), EBM_OK);
    float *scratch[3];
    for (size_t i = 0; i < 3; i++)
        scratch[i] = numbers(ebm_trunk_train_scratch(t), 6);
    const struct ebm_trunk_threads threads = {in_threads ? run_in_threads : run_in_order,
                                              in_threads ? (void *)scratch : (void *)scratch[0], in_threads ? 3 : 1};
    struct result r = {.params = numbers(net->n_params, 7),
                       .h = numbers((size_t)B * net->trunk.out, 8),
                       .gradient = calloc(net->n_params, sizeof *r.gradient)};
    memcpy(r.params, params, net->n_params * sizeof *params);
    for (int again = 0; again < 2;
         again++) { /* a batch leaves nothing behind for the next one but running statistics */
        cr_assert_eq(ebm_trunk_train_forward(t, r.params, &threads, x, B, r.h), EBM_OK);
        cr_assert_eq(ebm_trunk_train_backward(t, &threads, dh, r.gradient), EBM_OK);
    }
    for (size_t i = 0; i < 3; i++)
        free(scratch[i]);
    (void)ebm_trunk_train_free(t);
    return r;
}

Test(trunk, a_norm_is_by_the_batch_and_moves_what_runs)
{
    static const char layers[] = "[{'type': 'batch_norm2d', 'in': 2}, {'type': 'flatten'}]";
    struct ebm_config *config = config_of(layers, 2 * SIDE * SIDE);
    const struct ebm_image_op *op = &config->net.trunk.ops[0];
    const uint32_t B = 3, plane = SIDE * SIDE;
    float *params = params_of(config), *x = numbers((size_t)B * config->net.X, 9);
    float *dh = calloc((size_t)B * config->net.X, sizeof *dh);
    struct result r = train(config, ebm_conv_ref(), params, x, dh, B, false);
    for (uint32_t c = 0; c < 2; c++) {
        double sum = 0.0, squares = 0.0, n = B * plane;
        for (uint32_t i = 0; i < B * plane; i++)
            sum += (double)x[(i / plane * 2 + c) * plane + i % plane] / n;
        for (uint32_t i = 0; i < B * plane; i++)
            squares += pow((double)x[(i / plane * 2 + c) * plane + i % plane] - sum, 2.0);
        double after = 0.9 * (0.9 * (double)params[op->mean + c] + 0.1 * sum) + 0.1 * sum;
        cr_assert_float_eq(r.params[op->mean + c], after, 1e-6);
        double unbiased = squares / (n - 1);
        after = 0.9 * (0.9 * (double)params[op->variance + c] + 0.1 * unbiased) + 0.1 * unbiased;
        cr_assert_float_eq(r.params[op->variance + c], after, 1e-6);
        double first = (double)params[op->scale + c] * ((double)x[c * plane] - sum) / sqrt(squares / n + 1e-5) +
                       (double)params[op->shift + c];
        cr_assert_float_eq(r.h[c * plane], first, 1e-5);
    }
    result_done(&r);
    free(params), free(x), free(dh);
    ebm_config_free(config);
}

/* sum h c, h in training, after a parameter has moved. */
static double objective(const struct ebm_config *config, float *params, size_t at, double by, const float *x,
                        const float *c, uint32_t B)
{
    float before = params[at];
    params[at] = (float)((double)before + by);
    struct result r = train(config, ebm_conv_ref(), params, x, c, B, false);
    params[at] = before;
    double sum = 0.0;
    for (size_t i = 0; i < (size_t)B * config->net.trunk.out; i++)
        sum += (double)r.h[i] * (double)c[i];
    result_done(&r);
    return sum;
}

Test(trunk, gradients_are_those_of_the_features)
{
    const char *const layers[] = {mixed, resnet};
    for (size_t i = 0; i < EBM_COUNT_OF(layers); i++) {
        struct ebm_config *config = config_of(layers[i], i == 0 ? 45 : 32);
        const uint32_t B = 8;
        float *params = params_of(config), *x = numbers((size_t)B * config->net.X, 10);
        float *c = numbers((size_t)B * config->net.trunk.out, 11);
        struct result r = train(config, ebm_conv_ref(), params, x, c, B, false);
        double largest = 0.0;
        for (size_t j = 0; j < config->net.trunk.learned.count; j++)
            largest = fmax(largest, fabs((double)r.gradient[j]));
        for (size_t j = 0; j < config->n_params; j++) {
            const struct ebm_param *param = &config->params[j];
            if (param->offset >= config->net.trunk.learned.count)
                continue;
            size_t at = param->offset + ebm_param_count(param) / 3;
            double step = 1e-4, difference = (objective(config, params, at, step, x, c, B) -
                                              objective(config, params, at, -step, x, c, B)) /
                                             (2.0 * step);
            cr_assert_float_eq(r.gradient[at], difference, 0.02 * largest, "%s: %g, by differences %g", param->name,
                               (double)r.gradient[at], difference);
        }
        result_done(&r);
        free(params), free(x), free(c);
        ebm_config_free(config);
    }
}

Test(trunk, fast_convolutions_give_the_same_gradients)
{
    const struct ebm_conv_backend *fast[3];
    struct ebm_config *config = config_of(mixed, 45);
    const uint32_t B = 11;
    float *params = params_of(config), *x = numbers((size_t)B * config->net.X, 12);
    float *dh = numbers((size_t)B * config->net.trunk.out, 13);
    struct result expected = train(config, ebm_conv_ref(), params, x, dh, B, false);
    for (size_t j = fast_backends(fast); j-- > 0;) {
        struct result got = train(config, fast[j], params, x, dh, B, false);
        assert_close(got.h, expected.h, (size_t)B * config->net.trunk.out, 1e-5, fast[j]->name);
        assert_close(got.gradient, expected.gradient, config->net.trunk.learned.count, 1e-5, fast[j]->name);
        assert_close(got.params, expected.params, config->net.n_params, 1e-5, fast[j]->name);
        result_done(&got);
    }
    result_done(&expected);
    free(params), free(x), free(dh);
    ebm_config_free(config);
}

/* A convolution to (4, 3, 3); two more, the second with stride, whose result gets added what a third makes of the first
 * one's; a mean. Backwards: the mean's value, that of the sum; then beside it what is added, and what is read. */
Test(trunk, gradients_share_what_memory_is_free)
{
    const struct ebm_shape wide = {4, 3, 3}, narrow = {4, 2, 2}, mean = {4, 1, 1};
    struct ebm_image_op ops[] = {{.in = 0, .add = EBM_IMAGE_NONE, .to = wide},
                                 {.in = 1, .add = EBM_IMAGE_NONE, .to = wide},
                                 {.in = 1, .add = EBM_IMAGE_NONE, .to = narrow},
                                 {.in = 2, .add = 3, .to = narrow},
                                 {.in = 4, .add = EBM_IMAGE_NONE, .to = mean}};
    const struct ebm_trunk trunk = {.n_ops = 5, .ops = ops};
    const uint32_t expected[] = {EBM_IMAGE_NONE, 1, 2, 0, 1, 0};
    uint32_t of[6], n;
    size_t counts[6];
    cr_assert_eq(ebm_trunk_lay_gradients(&trunk, of, counts, &n), EBM_OK);
    for (uint32_t value = 0; value < 6; value++)
        cr_expect_eq(of[value], expected[value], "value %u: slot %u, expected %u", value, of[value], expected[value]);
    cr_assert_eq(n, 3);
    cr_expect_eq(counts[0], 16, "%zu", counts[0]);
    cr_expect_eq(counts[1], 36, "%zu", counts[1]);
    cr_expect_eq(counts[2], 36, "%zu", counts[2]);
}

Test(trunk, threads_change_no_byte)
{
    const struct ebm_conv_backend *fast[3];
    struct ebm_config *config = config_of(resnet, 32);
    const uint32_t B = 19;
    float *params = params_of(config), *x = numbers((size_t)B * config->net.X, 14);
    float *dh = numbers((size_t)B * config->net.trunk.out, 15);
    for (size_t j = fast_backends(fast); j-- > 0;) {
        struct result one = train(config, fast[j], params, x, dh, B, false);
        struct result three = train(config, fast[j], params, x, dh, B, true);
        cr_assert_eq(memcmp(one.gradient, three.gradient, config->net.n_params * sizeof(float)), 0, "%s",
                     fast[j]->name);
        cr_assert_eq(memcmp(one.params, three.params, config->net.n_params * sizeof(float)), 0, "%s", fast[j]->name);
        cr_assert_eq(memcmp(one.h, three.h, (size_t)B * config->net.trunk.out * sizeof(float)), 0);
        result_done(&one);
        result_done(&three);
    }
    free(params), free(x), free(dh);
    ebm_config_free(config);
}

/* ---- a trunk that stands still ---- */

/* The second of two batches; its gradient is NULL. */
static struct result still(const struct ebm_config *config, const float *params, const float *x, uint32_t B,
                           bool in_threads)
{
    const struct ebm_net_desc *net = &config->net;
    struct ebm_trunk_still *t = NULL;
    cr_assert_eq(ebm_trunk_still_new(&net->trunk, B + 2, &t, NULL), EBM_OK);
    float *scratch[3];
    for (size_t i = 0; i < 3; i++)
        scratch[i] = numbers(ebm_trunk_still_scratch(t), 6);
    const struct ebm_trunk_threads threads = {in_threads ? run_in_threads : run_in_order,
                                              in_threads ? (void *)scratch : (void *)scratch[0], in_threads ? 3 : 1};
    struct result r = {.params = numbers(net->n_params, 7), .h = numbers((size_t)B * net->trunk.out, 8)};
    memcpy(r.params, params, net->n_params * sizeof *params);
    cr_assert_eq(ebm_trunk_still_load(t, r.params, &threads), EBM_OK);
    for (int again = 0; again < 2; again++)
        cr_assert_eq(ebm_trunk_still_forward(t, r.params, &threads, x, B, r.h), EBM_OK);
    for (size_t i = 0; i < 3; i++)
        free(scratch[i]);
    (void)ebm_trunk_still_free(t);
    return r;
}

/* Batches that are whole chunks, and that are not; by windows and by tiles. */
Test(trunk, standing_still_it_gives_what_it_gives_learning)
{
    static const char wide[] =
        "[{'type': 'conv2d', 'in': 2, 'out': 9, 'kernel': 3, 'padding': 1}, {'type': 'batch_norm2d', 'in': 9},"
        " {'type': 'conv2d', 'in': 9, 'out': 35, 'kernel': 3, 'padding': 1, 'bias': false}, {'type': 'relu'},"
        " {'type': 'max_pool2d', 'kernel': 3, 'stride': 2}, {'type': 'global_avg_pool'}]";
    static const struct {
        const char *layers;
        uint32_t features, B;
    } cases[] = {{mixed, 45, 5}, {mixed, 45, 33}, {resnet, 32, 16}, {resnet, 32, 50}, {wide, 35, 3}, {wide, 35, 32}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        const uint32_t B = cases[i].B;
        struct ebm_config *config = config_of(cases[i].layers, cases[i].features);
        size_t n = (size_t)B * config->net.trunk.out;
        float *params = params_of(config), *x = numbers((size_t)B * config->net.X, 14), *dh = numbers(n, 15);
        struct result expected = train(config, ebm_conv_ref(), params, x, dh, B, false);
        struct result got = still(config, params, x, B, false), other = still(config, params, x, B, true);
        assert_close(got.h, expected.h, n, 2e-5, "features");
        assert_close(got.params, expected.params, config->net.n_params, 1e-5, "running statistics");
        cr_assert_arr_eq(got.h, other.h, n * sizeof(float), "threads change bytes");
        cr_assert_arr_eq(got.params, other.params, config->net.n_params * sizeof(float), "threads change bytes");
        result_done(&expected), result_done(&got), result_done(&other);
        free(params), free(x), free(dh);
        ebm_config_free(config);
    }
}
