/* test_train_exact.c - the gradient of log Z - f(y_0) in every parameter, as the device has it, against central
 * differences of a forward pass in double integrated by bisection; by pieces and by panels, on a range and on the line.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/exact.h"
#include "tests/unit/plain_net.h"

#define SIMPSON 1000

/* log Z of a smooth f */
static double smooth_log_z(const struct network *n, double lower, double upper)
{
    static double f[SIMPSON + 1];
    double peak = -(double)INFINITY, sum = 0.0;
    for (int i = 0; i <= SIMPSON; i++) {
        f[i] = plain_f(n, lower + (upper - lower) * i / SIMPSON);
        peak = fmax(peak, f[i]);
    }
    for (int i = 0; i <= SIMPSON; i++)
        sum += (i == 0 || i == SIMPSON ? 1.0 : i % 2 == 1 ? 4.0 : 2.0) * exp(f[i] - peak);
    return peak + log(sum * (upper - lower) / (3.0 * SIMPSON));
}

static double plain_loss(struct network *n, const float *y_0, double lower, double upper)
{
    find_hx(n, false);
    double f = plain_f(n, (double)*y_0);
    if (!ebm_exact_applies(&n->desc))
        return smooth_log_z(n, lower, upper) - f;
    struct reference r = reference_of(n, lower, upper, COARSE_GRID);
    double loss = r.log_z - f;
    reference_done(&r);
    return loss;
}

struct device {
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    float *gradient;
    double loss;
};

static void device_init(struct device *d, const struct ebm_device_ops *ops, const struct network *n)
{
    const struct ebm_ctx_limits limits = {.max_rows = 32, .max_samples = 16, .training = true};
    *d = (struct device){.ops = ops, .gradient = calloc(n->desc.n_params, sizeof(float))};
    cr_assert_eq(ops->plan_new(&n->desc, n->params, 1, &d->plan, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_new(&limits, &d->ctx, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_prepare(d->ctx, d->plan, NULL), EBM_OK);
}

static void device_run(struct device *d, const struct network *n, const float *y_0)
{
    const struct ebm_loss_spec spec = {.loss = EBM_LOSS_ML_EXACT, .scale = 1.0};
    const struct ebm_row row = {.seed = 1};
    const struct ebm_train_rows rows = {.B = 1, .h_x = n->h, .h_y = y_0, .rows = &row};
    const struct ebm_range all = {.count = n->desc.n_params};
    cr_assert_eq(d->ops->backward(d->ctx, d->plan, 0, &spec, &rows, &d->loss), EBM_OK);
    cr_assert_eq(d->ops->reduce(d->plan, 1, all), EBM_OK);
    cr_assert_eq(d->ops->params_read(d->plan, EBM_TRAIN_GRADIENT, d->gradient), EBM_OK);
}

static void device_done(struct device *d)
{
    (void)d->ops->ctx_free(d->ctx);
    (void)d->ops->plan_unref(d->plan);
    free(d->gradient);
}

/* Largest difference over all parameters, relative to the largest derivative. */
static double worst_gradient(struct network *n, const float *gradient, const float *y_0, double lower, double upper)
{
    double worst = 0.0, largest = 0.0;
    const double h = 1e-4;
    for (uint32_t l = 0; l < n->desc.target.n_layers + n->desc.energy.n_layers; l++) {
        const struct ebm_layer *layer = &n->layers[l];
        size_t end = layer->bias + layer->out;
        for (size_t i = layer->weight; i < end; i++) {
            float kept = n->params[i];
            n->params[i] = (float)((double)kept + h);
            double up = (double)n->params[i], above = plain_loss(n, y_0, lower, upper);
            n->params[i] = (float)((double)kept - h);
            double down = (double)n->params[i], below = plain_loss(n, y_0, lower, upper);
            n->params[i] = kept;
            double slope = (above - below) / (up - down);
            worst = fmax(worst, fabs(slope - (double)gradient[i]));
            largest = fmax(largest, fabs(slope));
        }
    }
    return worst / largest;
}

static const struct shape small[] = {
    {"toy", 3, {4, 4}, {0}, {5, 5, 1}, {false, true}, 0, 0},
    {"one hidden layer", 2, {3, 4}, {0}, {9, 1}, {0}, 0, 0},
    {"residual target net", 2, {4, 4}, {false, true}, {5, 5, 1}, {0}, 0, 0},
    {"residual first layer", 3, {4}, {0}, {7, 7, 1}, {true, false}, 0, 0},
};

static void check(const char *what, struct device *d, struct network *n, double lower, double upper, double tolerance)
{
    float y_0 = 0.4f;
    device_run(d, n, &y_0);
    double loss = plain_loss(n, &y_0, lower, upper), worst = worst_gradient(n, d->gradient, &y_0, lower, upper);
    printf("%s: loss %.9g, off by %.2g; gradient off by %.2g\n", what, loss, d->loss - loss, worst);
    cr_assert(fabs(d->loss - loss) < tolerance, "%s: loss %.9g, not %.9g", what, d->loss, loss);
    cr_assert(worst < tolerance, "%s: gradient off by %.3g", what, worst);
}

Test(train_exact, the_gradient_of_pieces_on_a_range)
{
    const struct ebm_device_ops *devices[] = {ebm_device_cpu(), ebm_device_reference()};
    for (uint32_t number = 0; number < 5; number++) {
        struct network n;
        struct device d;
        network_init(&n, &small[number % EBM_COUNT_OF(small)], 900 + number, 4.0, -2.5, 3.0);
        device_init(&d, devices[number / 4], &n);
        check(small[number % 4].name, &d, &n, -2.5, 3.0, 3e-6);
        device_done(&d);
        network_done(&n);
    }
}

/* Those of their numbers that fall on both sides. */
Test(train_exact, the_gradient_on_the_line)
{
    uint32_t compared = 0;
    for (uint32_t number = 0; number < 40 && compared < 3; number++) {
        struct network n;
        struct device d;
        struct ebm_exact_table *table;
        network_init(&n, &small[number % EBM_COUNT_OF(small)], 700 + number, 6.0, -(double)INFINITY, (double)INFINITY);
        cr_assert_eq(ebm_exact_table_new(&n.desc, n.params, 256, &table, NULL), EBM_OK);
        struct ebm_exact_tails tails = ebm_exact_tails(table);
        if (tails.slope[0] > 0.5 && tails.slope[1] < -0.5) {
            device_init(&d, ebm_device_cpu(), &n);
            check(small[number % 4].name, &d, &n, -60.0, 60.0, 5e-6);
            device_done(&d);
            compared++;
        }
        (void)ebm_exact_table_free(table);
        network_done(&n);
    }
    cr_assert(compared == 3, "only %u fell on both sides", compared);
}

/* A table of older weights is not used; neither is it where a layer bends smoothly. */
Test(train_exact, the_gradient_of_panels)
{
    for (uint32_t number = 0; number < 4; number++) {
        bool is_smooth = number % 2 == 1;
        struct network n;
        struct device d;
        network_init(&n, &small[number / 2], 40 + number, 4.0, -2.5, 3.0);
        for (uint32_t l = 0; is_smooth && l < n.desc.target.n_layers + n.desc.energy.n_layers; l++)
            if (n.layers[l].activation == EBM_ACT_RELU)
                n.layers[l].activation = EBM_ACT_TANH;
        device_init(&d, ebm_device_cpu(), &n);
        cr_assert_eq(d.ops->params_write(d.plan, EBM_TRAIN_PARAMS, n.params), EBM_OK);
        check(is_smooth ? "smooth" : "stale", &d, &n, -2.5, 3.0, is_smooth ? 1e-5 : 1e-3);
        cr_assert_eq(d.ops->refresh(d.plan), EBM_OK);
        check(is_smooth ? "smooth" : "refreshed", &d, &n, -2.5, 3.0, is_smooth ? 1e-5 : 3e-6);
        device_done(&d);
        network_done(&n);
    }
}

static uint32_t count_pieces(const struct network *n)
{
    struct ebm_exact_table *table;
    struct ebm_exact_space *space = ebm_exact_space_new();
    struct ebm_pieces *pieces;
    cr_assert_eq(ebm_exact_table_new(&n->desc, n->params, 1024, &table, NULL), EBM_OK);
    cr_assert_eq(ebm_exact_space_reserve(space, table), EBM_OK);
    cr_assert_eq(ebm_exact_bind_pieces(table, n->hx, n->h, space, &pieces), EBM_OK);
    uint32_t count = pieces->n - 1;
    (void)ebm_exact_table_free(table);
    (void)ebm_exact_space_free(space);
    return count;
}

/* More pieces than a tile has lanes. */
Test(train_exact, many_pieces)
{
    const struct shape wide = {"wide", 2, {24, 24}, {0}, {400, 1}, {0}, 0, 0};
    struct network n;
    struct device d;
    float y_0 = -0.7f;
    network_init(&n, &wide, 3, 6.0, -4.0, 4.0);
    for (uint32_t l = 0; l < 2; l++) /* kinks all over the range */
        for (uint32_t i = 0; i < 24; i++)
            n.params[n.layers[l].bias + i] *= 4.0f;
    device_init(&d, ebm_device_cpu(), &n);
    device_run(&d, &n, &y_0);
    cr_assert(count_pieces(&n) > 128, "only %u pieces", count_pieces(&n));
    double loss = plain_loss(&n, &y_0, -4.0, 4.0);
    cr_assert(fabs(d.loss - loss) < 1e-5, "loss %.9g, not %.9g", d.loss, loss);
    const struct ebm_layer *layer = &n.layers[3]; /* the last one: its 400 weights */
    for (uint32_t i = 0; i < 400; i += 133) {
        float *p = &n.params[layer->weight + i], kept = *p;
        *p = (float)((double)kept + 1e-3);
        double up = (double)*p, above = plain_loss(&n, &y_0, -4.0, 4.0);
        *p = (float)((double)kept - 1e-3);
        double slope = (above - plain_loss(&n, &y_0, -4.0, 4.0)) / (up - (double)*p);
        *p = kept;
        cr_assert(fabs(slope - (double)d.gradient[layer->weight + i]) < 1e-5 * (1.0 + fabs(slope)),
                  "%u: %.9g, not %.9g", i, d.gradient[layer->weight + i], slope);
    }
    device_done(&d);
    network_done(&n);
}

/* ---- all rows of a chunk at once, where the energy net is one hidden layer ---- */

#define CHUNK 21u

static const struct shape shallow[] = {
    {"two layers", 3, {16, 24}, {0}, {70, 1}, {0}, 0, 0},
    {"residual target net", 4, {12, 12, 12}, {false, true, true}, {33, 1}, {0}, 0, 0},
    {"linear layer before", 2, {5, 9}, {0}, {40, 1}, {0}, 1, 0},
    {"no target net", 3, {0}, {0}, {50, 1}, {0}, 0, 0},
};

/* The same function with a last layer more, 1 f + 0: it goes node by node. */
static void with_one_more_layer(const struct network *n, struct network *ret)
{
    uint32_t at = n->desc.target.n_layers + n->desc.energy.n_layers;
    *ret = *n;
    add_layer(ret, &ret->layers[at], 1, 1, false, false);
    ret->desc.target.layers = ret->layers;
    ret->desc.energy.layers = ret->layers + n->desc.target.n_layers;
    ret->desc.energy.n_layers++;
    ret->desc.support = &ret->support;
    ret->params = calloc(ret->desc.n_params, sizeof *ret->params);
    memcpy(ret->params, n->params, n->desc.n_params * sizeof *ret->params);
    ret->params[ret->layers[at].weight] = 1.0f;
}

static void run_chunk(struct device *d, const struct network *n, double *ret_loss)
{
    const struct ebm_loss_spec spec = {.loss = EBM_LOSS_ML_EXACT, .scale = 1.0 / CHUNK};
    const struct ebm_range all = {.count = n->desc.n_params};
    float x[CHUNK * 4], y[CHUNK];
    struct network random = {.number = 77};
    for (uint32_t i = 0; i < CHUNK * n->desc.H; i++)
        x[i] = (float)(3.0 * uniform(&random) - 1.0);
    for (uint32_t i = 0; i < CHUNK; i++) /* some lie where nothing is integrated */
        y[i] = (float)(8.0 * uniform(&random) - 4.0);
    const struct ebm_train_rows rows = {.B = CHUNK, .h_x = x, .h_y = y};
    cr_assert_eq(d->ops->backward(d->ctx, d->plan, 0, &spec, &rows, ret_loss), EBM_OK);
    cr_assert_eq(d->ops->reduce(d->plan, 1, all), EBM_OK);
    cr_assert_eq(d->ops->params_read(d->plan, EBM_TRAIN_GRADIENT, d->gradient), EBM_OK);
}

static void compare_with_nodes(const char *what, const struct ebm_device_ops *ops, const struct network *n)
{
    struct network longer;
    struct device by_segments, by_nodes;
    double loss[CHUNK], loss_by_nodes[CHUNK], worst = 0.0, largest = 0.0;
    with_one_more_layer(n, &longer);
    device_init(&by_segments, ops, n);
    device_init(&by_nodes, ops, &longer);
    run_chunk(&by_segments, n, loss);
    run_chunk(&by_nodes, &longer, loss_by_nodes);
    for (uint32_t b = 0; b < CHUNK; b++)
        cr_assert(fabs(loss[b] - loss_by_nodes[b]) < 3e-6 * (1.0 + fabs(loss[b])), "%s, row %u: loss %.9g, not %.9g",
                  what, b, loss[b], loss_by_nodes[b]);
    size_t last_bias = n->desc.energy.layers[n->desc.energy.n_layers - 1].bias; /* 0 where it shifts f alone */
    for (size_t i = 0; i < last_bias; i++) {
        worst = fmax(worst, fabs((double)by_segments.gradient[i] - (double)by_nodes.gradient[i]));
        largest = fmax(largest, fabs((double)by_nodes.gradient[i]));
    }
    printf("%s, %s: gradient off by %.2g of %.2g\n", what, ops->name, worst, largest);
    cr_assert(worst < 3e-6 * largest, "%s, %s: gradient off by %.3g of %.3g", what, ops->name, worst, largest);
    device_done(&by_segments);
    device_done(&by_nodes);
    network_done(&longer);
}

static bool falls(const struct network *n)
{
    struct ebm_exact_table *table;
    cr_assert_eq(ebm_exact_table_new(&n->desc, n->params, 1024, &table, NULL), EBM_OK);
    bool is_proper = ebm_exact_tails(table).is_proper;
    (void)ebm_exact_table_free(table);
    return is_proper;
}

Test(train_exact, segments_give_what_nodes_give)
{
    const double ends[][2] = {{-2.5, 3.0}, {-(double)INFINITY, (double)INFINITY}, {-3.0, (double)INFINITY}};
    const struct ebm_device_ops *devices[] = {ebm_device_cpu(), ebm_device_reference()};
    for (uint32_t s = 0; s < EBM_COUNT_OF(shallow); s++)
        for (size_t e = 0; e < EBM_COUNT_OF(ends); e++) {
            struct network n;
            bool is_found = false;
            for (uint32_t number = 0; !is_found && number < 200; number++) {
                network_init(&n, &shallow[s], 3000 + 200 * s + number, 6.0, ends[e][0], ends[e][1]);
                is_found = e == 0 || falls(&n);
                if (!is_found)
                    network_done(&n);
            }
            cr_assert(is_found, "%s: none falls", shallow[s].name);
            compare_with_nodes(shallow[s].name, devices[(s + e) % 2], &n);
            network_done(&n);
        }
}
