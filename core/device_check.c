/* device_check.c - networks made of Philox's words, run on a device and on the CPU side by side.
 *
 * Draws are functions of their seed, so that both devices give the same ones but for rounding, and all that is made of
 * them can be compared (device_check_answers.c).
 *
 * Seconds are of networks whose f has no finite integral: the answers are noise, which takes as long as others do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/device_check.h"
#include "core/device_check_answers.h"
#include "core/device_check_images.h"
#include "core/device_plugin.h"
#include "core/order.h"
#include "core/sobol.h"

#define ROWS EBM_CHECK_ROWS
#define TIMED_SAMPLES 1024u
#define MOST_LAYERS 4u
#define X_SIDE_ERROR 1e-4
#define DRAW_ERROR 1e-5
#define SCHEMES 2u
#define FIRST_SEED 11u
#define EXACT_SEED 23u    /* f falls on both sides */
#define TRUNK_SLACK 2.0   /* of a device's, once more for products behind products */
#define WEIGHT_ERROR 1e-4 /* of a device that multiplies floats; others add their slack */

struct shape {
    const char *name;
    uint32_t X, D, K, feature[MOST_LAYERS], target[MOST_LAYERS], energy[MOST_LAYERS];
    enum ebm_activation activation;
    uint32_t head; /* width of a hidden layer before each of the mixture's nets; 0: none */
    uint32_t seed; /* of the numbers */
    bool is_exact; /* answered exactly, else by importance */
    bool is_bounded;
    enum ebm_check_images images; /* then X is theirs, and errors of the trunk's products reach everything */
};

/* Layers whose outputs are as many as their inputs are residual. */
static const struct shape shapes[EBM_DEVICE_CHECKS] = {
    {"narrow, smooth", 3, 3, 4, {12, 12}, {10, 10}, {22, 10, 1}, EBM_ACT_SILU},
    {"wide energy net", 5, 1, 3, {64}, {16, 40}, {320, 1}, EBM_ACT_RELU},
    {"wide throughout", 4, 2, 5, {60, 60}, {200}, {260, 200, 200, 1}, EBM_ACT_RELU},
    {"exact, deep", 3, 1, 3, {20}, {10, 10}, {40, 12, 12, 1}, EBM_ACT_RELU, .is_exact = true, .seed = EXACT_SEED},
    {"exact, bounded", 4, 1, 2, {24}, {12, 12}, {50, 1}, EBM_ACT_RELU, .is_exact = true, .is_bounded = true},
    /* one component: where there are several, rounding may choose another one */
    {"images, residual", 0, 1, 1, {16}, {10}, {26, 1}, EBM_ACT_TANH, .images = EBM_CHECK_RESIDUAL},
    {"images, plain", 0, 2, 1, {0}, {8}, {20, 1}, EBM_ACT_TANH, .images = EBM_CHECK_PLAIN},
};

/* Heads of the timed ones' mixtures have a hidden layer each, as the papers' have. */
static const struct shape timed[EBM_DEVICE_TIMED_NETS] = {
    [EBM_DEVICE_TIMED_T] = {"T", 1, 1, 4, {10, 10}, {10, 10}, {10, 10, 1}, EBM_ACT_RELU, .head = 10},
    [EBM_DEVICE_TIMED_V] = {"V", 16, 1, 4, {512, 512}, {16, 32, 64, 128}, {512, 1}, EBM_ACT_RELU, .head = 512},
};

struct network {
    struct ebm_net_desc desc;
    struct ebm_support support;
    struct ebm_layer layers[7 * MOST_LAYERS];
    struct ebm_image_op ops[EBM_CHECK_IMAGE_OPS];
    uint32_t n_layers;
    float *params;
};

static uint32_t add_layer(struct network *n, struct ebm_net *net, uint32_t in, uint32_t out, enum ebm_activation kind)
{
    struct ebm_layer *layer = &n->layers[n->n_layers++];
    *layer = (struct ebm_layer){.in = in, .out = out, .activation = kind, .weight = n->desc.n_params};
    layer->residual = in == out;
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    n->desc.n_params = layer->bias + ebm_round_up(out, 16);
    if (net->n_layers++ == 0)
        net->layers = layer;
    return out;
}

static uint32_t add_layers(struct network *n, struct ebm_net *net, uint32_t in, const uint32_t outs[MOST_LAYERS],
                           enum ebm_activation kind)
{
    for (uint32_t i = 0; i < MOST_LAYERS && outs[i] > 0; i++)
        in = add_layer(n, net, in, outs[i], outs[i] == 1 ? EBM_ACT_IDENTITY : kind);
    return in;
}

static bool fill(struct network *n, uint64_t seed)
{
    n->params = ebm_alloc_aligned((n->desc.n_params + 1) * sizeof *n->params);
    for (uint32_t i = 0; n->params != NULL && i < n->n_layers; i++) {
        const struct ebm_layer *layer = &n->layers[i];
        for (size_t at = layer->weight; at < layer->bias + layer->out; at++) {
            uint32_t words[4];
            ebm_philox(seed, i, (uint32_t)at, EBM_STREAM_INIT, 0, words);
            n->params[at] = (float)((2.0 * ebm_uniform(words[0]) - 1.0) * sqrt(3.0 / layer->in));
        }
    }
    if (n->params != NULL)
        ebm_check_trunk_fill(&n->desc, seed, n->params);
    return n->params != NULL;
}

static void add_head(struct network *n, struct ebm_net *net, const struct shape *s, uint32_t out)
{
    uint32_t in = s->head > 0 ? add_layer(n, net, n->desc.H, s->head, s->activation) : n->desc.H;
    (void)add_layer(n, net, in, out, EBM_ACT_IDENTITY);
}

static bool make(struct network *n, const struct shape *s)
{
    struct ebm_net_desc *net = &n->desc;
    *n = (struct network){.desc = {.X = s->X, .D = s->D, .K = s->K, .has_energy = true}};
    if (s->images != EBM_CHECK_VECTORS)
        ebm_check_trunk(net, s->images, n->ops);
    net->H = add_layers(n, &net->feature, ebm_net_reach(net), s->feature, s->activation);
    net->G = add_layers(n, &net->target, s->D, s->target, s->activation);
    (void)add_layers(n, &net->energy, net->H + net->G, s->energy, s->activation);
    add_head(n, &net->mean, s, s->D * s->K);
    add_head(n, &net->log_variance, s, s->D * s->K);
    add_head(n, &net->weight, s, s->K);
    n->support = (struct ebm_support){EBM_SUPPORT_BOUNDED, -3.0, 3.0};
    net->support = s->is_bounded ? &n->support : NULL;
    return fill(n, s->seed > 0 ? s->seed : FIRST_SEED);
}

/* ---- one device ---- */

/* What it says of the rows. */
struct answers {
    size_t n_x; /* numbers of a row */
    float *x;
    struct ebm_check_answers by[SCHEMES]; /* independent draws, Sobol points */
};

static void answers_done(struct answers *a)
{
    for (uint32_t i = 0; i < SCHEMES; i++)
        ebm_check_answers_done(&a->by[i]);
    free(a->x);
}

static bool answers_init(struct answers *a, const struct ebm_net_desc *net)
{
    bool ok = true;
    *a = (struct answers){.n_x = net->H + (size_t)net->K * (2 * net->D + 1)};
    a->x = calloc(ROWS * a->n_x, sizeof(float));
    for (uint32_t i = 0; i < SCHEMES; i++)
        ok = ebm_check_answers_init(&a->by[i], net->D) && ok;
    return ok && a->x != NULL;
}

static enum ebm_status fetch_x(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_net_desc *net,
                               struct answers *a)
{
    size_t DK = (size_t)net->D * net->K;
    enum ebm_status status = EBM_OK;
    for (uint32_t b = 0; status == EBM_OK && b < ROWS; b++) {
        float *to = a->x + b * a->n_x;
        status = ops->fetch(ctx, EBM_FETCH_FEATURES, b, to);
        if (status == EBM_OK)
            status = ops->fetch(ctx, EBM_FETCH_MIXTURE_MEAN, b, to + net->H);
        if (status == EBM_OK)
            status = ops->fetch(ctx, EBM_FETCH_MIXTURE_LOG_VARIANCE, b, to + net->H + DK);
        if (status == EBM_OK)
            status = ops->fetch(ctx, EBM_FETCH_MIXTURE_LOG_WEIGHT, b, to + net->H + 2 * DK);
    }
    return status;
}

static enum ebm_status predict(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_plan *plan,
                               const struct ebm_net_desc *net, bool is_exact, struct answers *a)
{
    enum ebm_status status = EBM_OK;
    float x[ROWS * EBM_CHECK_IMAGE_NUMBERS];
    for (uint32_t i = 0; i < ROWS * net->X; i++) {
        uint32_t words[4];
        ebm_philox(12, i, 0, EBM_STREAM_INIT, 0, words);
        x[i] = (float)ebm_normal(words[0]);
    }
    if (is_exact)
        return ebm_check_exact_ask(ops, ctx, plan, x, &a->by[0]);
    for (uint32_t i = 0; status == EBM_OK && i < SCHEMES; i++)
        status = ebm_check_answers_ask(ops, ctx, plan, x, (enum ebm_draw_scheme)i,
                                       i == EBM_SCHEME_INDEPENDENT || ops == ebm_device_cpu(), &a->by[i]);
    return status;
}

/* A plan and a context of it; what was made is the caller's after a failure, too. */
static enum ebm_status make_ready(const struct ebm_device_ops *ops, const struct network *n,
                                  const struct ebm_ctx_limits *limits, struct ebm_plan **ret_plan,
                                  struct ebm_ctx **ret_ctx, struct ebm_error *reterr)
{
    enum ebm_status status = ops->plan_new(&n->desc, n->params, 0, ret_plan, reterr);
    if (status == EBM_OK)
        status = ops->ctx_new(limits, ret_ctx, reterr);
    if (status == EBM_OK)
        status = ops->ctx_prepare(*ret_ctx, *ret_plan, reterr);
    return status;
}

/* With what the device itself says, if it does. */
static void refuse(const struct ebm_device_ops *ops, enum ebm_status status, struct ebm_error *reterr)
{
    char why[EBM_DEVICE_FAILURE_BYTES] = "";
    if (status == EBM_DEVICE)
        ebm_device_failure(why, sizeof why);
    (void)ebm_error_set(reterr, status, "device", "%s refuses to predict: %s%s%s", ops->name, ebm_status_text(status),
                        why[0] != 0 ? ": " : "", why);
}

static enum ebm_status ask(const struct ebm_device_ops *ops, const struct network *n, bool is_exact, struct answers *a,
                           struct ebm_error *reterr)
{
    struct ebm_ctx_limits limits = {.max_rows = ROWS, .max_samples = ebm_sobol_count(EBM_CHECK_SAMPLES)};
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    enum ebm_status status = make_ready(ops, n, &limits, &plan, &ctx, reterr);
    if (status == EBM_OK) {
        status = predict(ops, ctx, plan, &n->desc, is_exact, a);
        if (status == EBM_OK)
            status = fetch_x(ops, ctx, &n->desc, a);
        if (status != EBM_OK)
            refuse(ops, status, reterr);
    }
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    return status;
}

/* ---- both ---- */

/* And at least 1. */
static double largest(const float *numbers, size_t n)
{
    double most = 1.0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)numbers[i]));
    return most;
}

/* Over the largest number that is expected; infinite where one is not finite. */
static double largest_error(const float *got, const float *expected, size_t n)
{
    double error = 0.0;
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)got[i] - (double)expected[i]);
        error = isfinite(off) ? fmax(error, off) : (double)INFINITY;
    }
    return error / largest(expected, n);
}

/* The larger one, should both be numbers. */
static void raise(double *error, double by)
{
    *error = isnan(by) ? (double)INFINITY : fmax(*error, by);
}

static void compare(const struct answers *got, const struct answers *expected, bool is_exact,
                    struct ebm_device_errors *errors)
{
    errors->x_side = largest_error(got->x, expected->x, ROWS * got->n_x);
    const struct ebm_check_answers *drawn = &got->by[EBM_SCHEME_INDEPENDENT],
                                   *by = &expected->by[EBM_SCHEME_INDEPENDENT];
    size_t n = ROWS * ebm_sobol_count(EBM_CHECK_SAMPLES);
    errors->draws = largest_error(drawn->draws, by->draws, n * by->D);
    errors->log_weights = largest_error(drawn->weights, by->weights, n);
    errors->log_z = errors->numbers = errors->ranks = 0.0;
    for (uint32_t row = 0; row < ROWS; row++)
        raise(&errors->log_z, fabs(drawn->log_z[row] - by->log_z[row]) / largest(by->weights, n));
    for (uint32_t i = 0; i < SCHEMES; i++) {
        const struct ebm_check_answers *a = &got->by[i], *b = &expected->by[i];
        double range = largest(b->weights, n), near = errors->allowed[1] * largest(b->draws, n * b->D);
        raise(&errors->numbers, ebm_check_numbers(a, b, is_exact) / range);
        raise(&errors->ranks, ebm_check_ranks(a, b, near) / range);
    }
}

static void errors_of(const struct shape *shape, const struct answers *got, const struct answers *expected,
                      bool is_exact, struct ebm_device_errors *errors)
{
    if (!shape->is_exact) {
        compare(got, expected, is_exact, errors);
        return;
    }
    errors->x_side = largest_error(got->x, expected->x, ROWS * got->n_x);
    raise(&errors->numbers, ebm_check_numbers(&got->by[0], &expected->by[0], is_exact));
    raise(&errors->ranks, ebm_check_points(&got->by[0], &expected->by[0]));
}

static enum ebm_status judge(const struct ebm_device_errors *e, struct ebm_error *reterr)
{
    const double errors[] = {e->x_side, e->draws, e->log_weights, e->log_z, e->numbers, e->ranks};
    static const char *const what[] = {"the x side", "draws", "log weights", "log Z", "moments", "ranks"};
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++)
        if (!(errors[i] <= e->allowed[i]))
            return ebm_error_set(reterr, EBM_DEVICE, "device",
                                 "self-test, %s: %s differ by %.2g, expected at most %.2g", e->name, what[i], errors[i],
                                 e->allowed[i]);
    return EBM_OK;
}

static enum ebm_status check_one(const struct ebm_device_ops *ops, const struct shape *shape,
                                 struct ebm_device_errors *ret_errors, struct ebm_error *reterr)
{
    struct network n;
    struct answers got = {0}, expected = {0};
    double trunk = shape->images != EBM_CHECK_VECTORS ? TRUNK_SLACK * ops->slack : 0.0;
    double weights = WEIGHT_ERROR + ops->slack + trunk, draws = shape->is_exact ? 0.0 : DRAW_ERROR + trunk,
           sampled = shape->is_exact ? 0.0 : weights;
    enum ebm_status status = EBM_OK;
    *ret_errors = (struct ebm_device_errors){
        .name = shape->name, .allowed = {X_SIDE_ERROR + trunk, draws, sampled, sampled, weights, weights}};
    if (!make(&n, shape) || !answers_init(&got, &n.desc) || !answers_init(&expected, &n.desc))
        status = ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for the self-test");
    if (status == EBM_OK)
        status = ask(ebm_device_cpu(), &n, shape->is_exact, &expected, reterr);
    if (status == EBM_OK)
        status = ask(ops, &n, shape->is_exact, &got, reterr);
    if (status == EBM_OK) {
        errors_of(shape, &got, &expected, ops->slack == 0.0, ret_errors);
        status = judge(ret_errors, reterr);
    }
    free(n.params);
    answers_done(&got);
    answers_done(&expected);
    return status;
}

enum ebm_status ebm_device_check(const struct ebm_device_ops *ops, struct ebm_device_errors *ret_errors,
                                 struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < EBM_DEVICE_CHECKS; i++) {
        struct ebm_device_errors errors;
        status = check_one(ops, &shapes[i], &errors, reterr);
        if (ret_errors != NULL)
            ret_errors[i] = errors;
    }
    return status;
}

/* ---- speed ---- */

struct timing {
    uint32_t B, repeats;
    float *x;
    struct ebm_task *tasks;
    struct ebm_estimate *out;
    double *numbers, *seconds;
};

static bool timing_init(struct timing *t, const struct ebm_net_desc *net, const struct ebm_estimate_spec *spec)
{
    t->x = calloc((size_t)t->B * net->X, sizeof *t->x);
    t->tasks = calloc(t->B, sizeof *t->tasks);
    t->out = calloc(t->B, sizeof *t->out);
    t->numbers = calloc((size_t)t->B * 2 * net->D, sizeof *t->numbers);
    t->seconds = calloc(t->repeats, sizeof *t->seconds);
    if (!t->x || !t->tasks || !t->out || !t->numbers || !t->seconds)
        return false;
    for (uint32_t b = 0; b < t->B; b++) {
        t->out[b].mean = t->numbers + (size_t)b * 2 * net->D;
        t->out[b].variance = t->out[b].mean + net->D;
        t->tasks[b] = (struct ebm_task){.row = {.seed = b, .samples = TIMED_SAMPLES}, .spec = spec, .out = &t->out[b]};
    }
    return true;
}

static void timing_done(struct timing *t)
{
    free(t->x), free(t->tasks), free(t->out), free(t->numbers), free(t->seconds);
}

static enum ebm_status run_timed(const struct ebm_device_ops *ops, const struct network *n, struct timing *t,
                                 struct ebm_error *reterr)
{
    struct ebm_ctx_limits limits = {.max_rows = t->B, .max_samples = TIMED_SAMPLES};
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    enum ebm_status status = make_ready(ops, n, &limits, &plan, &ctx, reterr);
    for (uint32_t i = 0; status == EBM_OK && i < t->repeats + 1; i++) {
        uint64_t began_ns = ebm_clock_ns();
        status = ops->predict(ctx, plan, t->x, t->tasks, t->B);
        if (i > 0)
            t->seconds[i - 1] = (double)(ebm_clock_ns() - began_ns) * 1e-9;
        if (status != EBM_OK)
            (void)ebm_error_set(reterr, status, "device", "%s refuses to predict", ops->name);
    }
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    return status;
}

void ebm_device_errors_print(const struct ebm_device_errors *e)
{
    const double errors[] = {e->x_side, e->draws, e->log_weights, e->log_z, e->numbers, e->ranks};
    static const char *const what[] = {"x side", "draws", "log weights", "log Z", "moments", "ranks"};
    (void)printf("%-16s", e->name);
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++)
        if (e->allowed[i] > 0.0)
            (void)printf("%s %s %.1e of %.1e", i > 0 ? "," : " ", what[i], errors[i], e->allowed[i]);
        else
            (void)printf(", %s -", what[i]);
    (void)printf("\n");
}

enum ebm_status ebm_device_time(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                uint32_t repeats, double *ret_seconds, struct ebm_error *reterr)
{
    const struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_IMPORTANCE};
    struct timing t = {.B = B, .repeats = repeats};
    struct network n;
    enum ebm_status status = EBM_OK;
    if (!make(&n, &timed[net]) || !timing_init(&t, &n.desc, &spec))
        status = ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory to measure");
    if (status == EBM_OK)
        status = run_timed(ops, &n, &t, reterr);
    if (status == EBM_OK) {
        qsort(t.seconds, repeats, sizeof *t.seconds, ebm_order_doubles);
        *ret_seconds = t.seconds[repeats / 2];
    }
    timing_done(&t);
    free(n.params);
    return status;
}
