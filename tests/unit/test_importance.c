/* test_importance.c - importance sampling beside answers known in closed form: it converges, its errors are what it
 * says they are, Sobol points need fewer draws, draws are added until they suffice, a wide component helps a narrow
 * proposal; the same bytes however rows are asked for.
 *
 * The energy is f(y) = sum over d of -softplus(u) - softplus(-u), u = S (y_d - x): exp f is the product of logistic
 * densities around x, divided by S each. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/sobol.h"

enum { MOST_D = 3, K = 2, SEEDS = 48, MOST_SAMPLES = 65536 };
#define S 4.0
#define STD (1.8137993642342178 / S) /* of one coordinate: pi / sqrt(3) / S */

struct logistic {
    struct ebm_net_desc net;
    struct ebm_layer layers[5];
    float params[1024];
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
};

static struct ebm_layer *layer_at(struct logistic *l, struct ebm_net *net, uint32_t i, uint32_t in, uint32_t out,
                                  enum ebm_activation activation)
{
    struct ebm_layer *layer = &l->layers[i];
    *layer = (struct ebm_layer){.in = in, .out = out, .activation = activation, .weight = l->net.n_params};
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    l->net.n_params = layer->bias + ebm_round_up(out, 16);
    cr_assert(l->net.n_params <= EBM_COUNT_OF(l->params));
    if (net->n_layers++ == 0)
        net->layers = layer;
    return layer;
}

/* x (1); the proposal has two components of standard deviation `width` at x - 0.15 and x + 0.2. */
static void start(struct logistic *l, const struct ebm_device_ops *ops, uint32_t D, double width, uint32_t max_samples)
{
    struct ebm_net_desc *net = &l->net;
    struct ebm_ctx_limits limits = {.max_rows = 4, .max_samples = max_samples};
    memset(l, 0, sizeof *l);
    *net = (struct ebm_net_desc){.X = 1, .D = D, .H = 1, .G = D, .K = K, .has_energy = true};
    struct ebm_layer *first = layer_at(l, &net->energy, 0, 1 + D, 2 * D, EBM_ACT_SOFTPLUS);
    struct ebm_layer *second = layer_at(l, &net->energy, 1, 2 * D, 1, EBM_ACT_IDENTITY);
    net->part[EBM_PART_ENERGY] = (struct ebm_range){0, net->n_params};
    struct ebm_layer *mean = layer_at(l, &net->mean, 2, 1, D * K, EBM_ACT_IDENTITY);
    struct ebm_layer *variance = layer_at(l, &net->log_variance, 3, 1, D * K, EBM_ACT_IDENTITY);
    struct ebm_layer *weight = layer_at(l, &net->weight, 4, 1, K, EBM_ACT_IDENTITY);
    l->params[weight->bias + 1] = 0.7f; /* shares of 1/3 and 2/3, about */
    net->part[EBM_PART_PROPOSAL] = (struct ebm_range){mean->weight, net->n_params - mean->weight};
    for (uint32_t d = 0; d < D; d++) {
        for (uint32_t side = 0; side < 2; side++) {
            float *row = l->params + first->weight + (size_t)(2 * d + side) * (1 + D);
            row[0] = side ? (float)S : -(float)S;
            row[1 + d] = -row[0];
            l->params[second->weight + 2 * d + side] = -1.0f;
        }
        for (uint32_t k = 0; k < K; k++) {
            l->params[mean->weight + d * K + k] = 1.0f;
            l->params[mean->bias + d * K + k] = k ? 0.2f : -0.15f;
            l->params[variance->bias + d * K + k] = (float)(2.0 * log(width));
        }
    }
    l->ops = ops;
    cr_assert_eq(ops->plan_new(net, l->params, 0, &l->plan, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_new(&limits, &l->ctx, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_prepare(l->ctx, l->plan, NULL), EBM_OK);
}

static void stop(struct logistic *l)
{
    l->ctx = l->ops->ctx_free(l->ctx);
    l->plan = l->ops->plan_unref(l->plan);
}

struct answer {
    double mean[MOST_D], variance[MOST_D], mcse[MOST_D];
    struct ebm_estimate out;
};

static struct ebm_task task_of(struct answer *a, const struct ebm_estimate_spec *spec, uint64_t seed, uint32_t samples)
{
    memset(a, 0, sizeof *a);
    a->out = (struct ebm_estimate){.mean = a->mean, .variance = a->variance, .mcse_mean = a->mcse};
    return (struct ebm_task){
        .row = {.seed = seed, .row_in_request = 3, .samples = samples}, .spec = spec, .out = &a->out};
}

static void ask(struct logistic *l, struct answer *a, const struct ebm_estimate_spec *spec, uint64_t seed,
                uint32_t samples)
{
    static const float x = 0.25f;
    struct ebm_task task = task_of(a, spec, seed, samples);
    cr_assert_eq(l->ops->predict(l->ctx, l->plan, &x, &task, 1), EBM_OK);
    cr_assert_eq(a->out.status, EBM_OK);
}

static const struct ebm_estimate_spec independent = {.estimator = EBM_ESTIMATE_IMPORTANCE};
static const struct ebm_estimate_spec sobol = {.estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = EBM_SCHEME_SOBOL};
static const struct ebm_estimate_spec defended = {
    .estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = EBM_SCHEME_SOBOL, .defensive = 0.1};

/* Root mean square over seeds: of the errors, and of what the answers say they are. */
struct errors {
    double mean, log_z, said_mean, said_log_z;
};

static struct errors errors_of(struct logistic *l, const struct ebm_estimate_spec *spec, uint32_t samples)
{
    struct errors e = {0};
    uint32_t D = l->net.D;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct answer a;
        ask(l, &a, spec, seed, samples);
        for (uint32_t d = 0; d < D; d++) {
            e.mean += pow(a.mean[d] - 0.25, 2) / (SEEDS * D);
            e.said_mean += a.mcse[d] * a.mcse[d] / (SEEDS * D);
        }
        e.log_z += pow(a.out.log_z + D * log(S), 2) / SEEDS;
        e.said_log_z += pow(a.out.log_z_std_error, 2) / SEEDS;
    }
    return (struct errors){sqrt(e.mean), sqrt(e.log_z), sqrt(e.said_mean), sqrt(e.said_log_z)};
}

static void say(const char *what, uint32_t D, uint32_t samples, struct errors e)
{
    cr_log_info("%s D %u M %u: mean %.2e (says %.2e) log Z %.2e (says %.2e)\n", what, D, samples, e.mean, e.said_mean,
                e.log_z, e.said_log_z);
}

Test(importance, converges_to_the_exact_answer)
{
    static const struct ebm_estimate_spec *const specs[] = {&independent, &sobol, &defended};
    static const char *const names[] = {"independent", "sobol", "defended"};
    static struct logistic l;
    for (uint32_t D = 1; D <= MOST_D; D++) {
        start(&l, ebm_device_cpu(), D, 0.6, 16384);
        for (uint32_t i = 0; i < EBM_COUNT_OF(specs); i++) {
            struct errors few = errors_of(&l, specs[i], 1024), many = errors_of(&l, specs[i], 16384);
            say(names[i], D, 1024, few);
            say(names[i], D, 16384, many);
            /* Independent draws have 4 by right. Bare Sobol points may draw a rare heavy weight, which their evenness
             * does not help against: they are held to their error alone. */
            double least = specs[i] == &sobol ? 1.0 : 2.5;
            cr_assert_gt(few.mean / many.mean, least, "%s D %u", names[i], D);
            cr_assert_gt(few.log_z / many.log_z, least, "%s D %u", names[i], D);
            cr_assert_lt(many.mean, 0.02 * STD);
            cr_assert_lt(many.log_z, 0.02);
        }
        stop(&l);
    }
}

Test(importance, errors_are_what_it_says)
{
    static struct logistic l;
    for (uint32_t D = 1; D <= 2; D++) {
        start(&l, ebm_device_cpu(), D, 0.5, 512);
        for (uint32_t i = 0; i < 2; i++) {
            struct errors e = errors_of(&l, i ? &defended : &independent, 512);
            say(i ? "defended" : "independent", D, 512, e);
            double most = i ? 6.0 : 1.4; /* Sobol points do better than their parts tell */
            cr_assert(e.said_mean / e.mean > 0.7 && e.said_mean / e.mean < most);
            cr_assert(e.said_log_z / e.log_z > 0.7 && e.said_log_z / e.log_z < most);
        }
        stop(&l);
    }
}

Test(importance, an_eighth_of_the_draws_suffices_by_sobol)
{
    static struct logistic l;
    for (uint32_t D = 1; D <= MOST_D; D++) {
        start(&l, ebm_device_cpu(), D, 0.5, 1024);
        struct errors all = errors_of(&l, &independent, 1024), eighth = errors_of(&l, &defended, 128);
        say("independent", D, 1024, all);
        say("defended", D, 128, eighth);
        cr_assert_lt(eighth.mean, all.mean);
        cr_assert_lt(eighth.log_z, all.log_z);
        stop(&l);
    }
}

Test(importance, a_wide_component_helps_a_narrow_proposal)
{
    static struct logistic l;
    start(&l, ebm_device_cpu(), 1, 0.25, 1024);
    struct errors bare = errors_of(&l, &sobol, 1024), wide = errors_of(&l, &defended, 1024);
    say("bare", 1, 1024, bare);
    say("defended", 1, 1024, wide);
    cr_assert_lt(wide.mean, 0.7 * bare.mean);
    cr_assert_lt(wide.log_z, 0.7 * bare.log_z);
    stop(&l);
}

Test(importance, cpu_answers_what_the_reference_answers)
{
    for (uint32_t D = 1; D <= MOST_D; D++) {
        static struct logistic cpu, ref;
        start(&cpu, ebm_device_cpu(), D, 0.5, 512);
        start(&ref, ebm_device_reference(), D, 0.5, 512);
        for (uint32_t smooth = 0; smooth < 2; smooth++) {
            struct ebm_estimate_spec spec = defended;
            struct answer a, b;
            spec.smooth_weights = smooth;
            ask(&cpu, &a, &spec, 5, 512);
            ask(&ref, &b, &spec, 5, 512);
            cr_assert_float_eq(a.out.log_z, b.out.log_z, 1e-5);
            cr_assert_float_eq(a.out.log_z_std_error, b.out.log_z_std_error, 1e-6);
            cr_assert_float_eq(a.out.pareto_k, b.out.pareto_k, 1e-3, "%g %g", a.out.pareto_k, b.out.pareto_k);
            cr_assert_float_eq(a.out.ess, b.out.ess, 1e-2);
            cr_assert_float_eq(a.out.max_weight, b.out.max_weight, 1e-6);
            for (uint32_t d = 0; d < D; d++) {
                cr_assert_float_eq(a.mean[d], b.mean[d], 1e-5);
                cr_assert_float_eq(a.mcse[d], b.mcse[d], 1e-6);
            }
        }
        stop(&cpu), stop(&ref);
    }
}

/* The arrays of two answers and what stands beside them. */
static bool is_same(const struct answer *a, const struct answer *b)
{
    return memcmp(a, b, offsetof(struct answer, out)) == 0 && a->out.log_z == b->out.log_z &&
           a->out.log_z_std_error == b->out.log_z_std_error && a->out.ess == b->out.ess &&
           a->out.samples == b->out.samples;
}

Test(importance, draws_are_added_until_they_suffice_and_asking_for_their_number_gives_the_same)
{
    static const struct {
        enum ebm_draw_scheme scheme;
        uint32_t samples, max_samples, want;
        double target_ess;
    } cases[] = {
        {EBM_SCHEME_SOBOL, 100, 2048, 128, 1.0},        {EBM_SCHEME_SOBOL, 8, 2048, 1024, 450.0},
        {EBM_SCHEME_SOBOL, 128, 2000, 1024, 1e9},       {EBM_SCHEME_INDEPENDENT, 100, 2000, 1600, 900.0},
        {EBM_SCHEME_INDEPENDENT, 100, 2000, 2000, 1e9}, {EBM_SCHEME_INDEPENDENT, 512, 256, 512, 1e9},
    };
    static struct logistic l;
    start(&l, ebm_device_cpu(), 2, 0.5, 2048);
    for (uint32_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = cases[i].scheme};
        struct answer grown, asked;
        spec.target_ess = cases[i].target_ess;
        spec.max_samples = cases[i].max_samples;
        ask(&l, &grown, &spec, 11, cases[i].samples);
        cr_assert_eq(grown.out.samples, cases[i].want, "case %u: %u samples, ess %g", i, grown.out.samples,
                     grown.out.ess);
        cr_assert(grown.out.ess >= spec.target_ess || 2 * grown.out.samples > cases[i].max_samples);
        spec.target_ess = 0.0;
        ask(&l, &asked, &spec, 11, grown.out.samples);
        cr_assert(is_same(&grown, &asked), "case %u", i);
    }
    stop(&l);
}

Test(importance, a_row_has_the_same_bytes_beside_others)
{
    static const float x[4] = {-1.0f, 0.25f, 0.5f, 2.0f};
    static struct logistic l;
    struct answer alone, a[4];
    struct ebm_task tasks[4];
    struct ebm_estimate_spec grows = defended;
    grows.target_ess = 1500.0;
    grows.max_samples = 4096;
    start(&l, ebm_device_cpu(), 3, 0.5, 4096);
    ask(&l, &alone, &defended, 21, 256);
    tasks[0] = task_of(&a[0], &independent, 1, 4096);
    tasks[1] = task_of(&a[1], &defended, 21, 256);
    tasks[2] = task_of(&a[2], &grows, 2, 8);
    tasks[3] = task_of(&a[3], &sobol, 21, 64);
    cr_assert_eq(l.ops->predict(l.ctx, l.plan, x, tasks, 4), EBM_OK);
    cr_assert(is_same(&alone, &a[1]));
    stop(&l);
}

Test(importance, weighted_draws_come_with_their_weights_and_targets_with_the_models_own_density)
{
    enum { M = 256, D = 2 };
    static struct logistic l;
    static float draws[M * D], log_weights[M], f[2], log_q[2];
    static const float x = 0.25f, y[2 * D] = {0.0f, 0.1f, 5.0f, 5.0f};
    start(&l, ebm_device_cpu(), D, 0.4, M);
    for (uint32_t smooth = 0; smooth < 2; smooth++) {
        struct ebm_estimate_spec spec = defended;
        struct answer a;
        double sum = 0.0, mean = 0.0, expected = 0.0;
        spec.draws = EBM_DRAWS_WEIGHTED;
        spec.smooth_weights = smooth;
        struct ebm_task task = task_of(&a, &spec, 5, 200);
        a.out.draws = draws;
        a.out.log_weights = log_weights;
        task.n_y = 2, task.h_y = y, task.h_f = f, task.h_log_q = log_q;
        cr_assert_eq(l.ops->predict(l.ctx, l.plan, &x, &task, 1), EBM_OK);
        cr_assert_eq(a.out.samples, M);
        for (uint32_t m = 0; m < M; m++) {
            sum += exp((double)log_weights[m]);
            mean += exp((double)log_weights[m]) * (double)draws[m * D + 1];
        }
        cr_assert_float_eq(sum, 1.0, 1e-5);
        cr_assert_float_eq(mean, a.mean[1], 1e-5);
        for (uint32_t k = 0; k < K; k++) {
            double z0 = (0.0 - 0.25 - (k ? 0.2 : -0.15)) / 0.4, z1 = (0.1 - 0.25 - (k ? 0.2 : -0.15)) / 0.4;
            expected += (k ? exp(0.7) : 1.0) / (1.0 + exp(0.7)) * exp(-0.5 * (z0 * z0 + z1 * z1)) /
                        (2.0 * M_PI * 0.4 * 0.4);
        }
        cr_assert_float_eq((double)log_q[0], log(expected), 1e-5);
        cr_assert_lt((double)log_q[1], -100.0, "a wide component would have more");
    }
    stop(&l);
}

static bool is_wanted_for_a_while(const void *who)
{
    uint32_t *left = *(uint32_t *const *)who;
    return (*left)-- > 0;
}

Test(importance, an_unwanted_row_stops_between_tiles)
{
    static const float x = 0.25f;
    static struct logistic l;
    uint32_t left = 5, *counter = &left;
    struct ebm_estimate_spec spec = defended;
    struct answer a;
    spec.target_ess = 1e9;
    spec.max_samples = MOST_SAMPLES;
    start(&l, ebm_device_cpu(), 1, 0.5, MOST_SAMPLES);
    struct ebm_task task = task_of(&a, &spec, 1, 256);
    task.wanted = is_wanted_for_a_while;
    task.who = &counter;
    cr_assert_eq(l.ops->predict(l.ctx, l.plan, &x, &task, 1), EBM_OK);
    cr_assert_eq(a.out.status, EBM_CANCELLED);
    stop(&l);
}

static bool is_hurried_after_a_while(const void *who)
{
    return !is_wanted_for_a_while(who);
}

/* A row that is hurried has whole tiles, of Sobol points a power of two, and the answer of that many. */
Test(importance, a_hurried_row_answers_by_the_draws_that_it_has)
{
    static const struct {
        enum ebm_draw_scheme scheme;
        uint32_t samples, tiles, want; /* tiles: after the first, until it is hurried */
        double target_ess;
    } cases[] = {
        {EBM_SCHEME_SOBOL, 4096, 0, 128, 0.0},       {EBM_SCHEME_SOBOL, 4096, 6, 512, 0.0},
        {EBM_SCHEME_SOBOL, 4096, 40, 4096, 0.0},     {EBM_SCHEME_SOBOL, 64, 0, 64, 0.0},
        {EBM_SCHEME_SOBOL, 8, 0, 128, 1e9},          {EBM_SCHEME_SOBOL, 128, 5, 512, 1e9},
        {EBM_SCHEME_INDEPENDENT, 4000, 6, 896, 0.0}, {EBM_SCHEME_INDEPENDENT, 100, 3, 512, 1e9},
        {EBM_SCHEME_INDEPENDENT, 100, 0, 100, 0.0},
    };
    static const float x = 0.25f;
    static struct logistic l;
    start(&l, ebm_device_cpu(), 2, 0.5, 4096);
    for (uint32_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = cases[i].scheme};
        struct answer cut, asked;
        uint32_t left = cases[i].tiles, *counter = &left;
        spec.target_ess = cases[i].target_ess;
        spec.max_samples = 4096;
        struct ebm_task task = task_of(&cut, &spec, 11, cases[i].samples);
        task.hurried = is_hurried_after_a_while;
        task.who = &counter;
        cr_assert_eq(l.ops->predict(l.ctx, l.plan, &x, &task, 1), EBM_OK);
        cr_assert_eq(cut.out.samples, cases[i].want, "case %u: %u samples", i, cut.out.samples);
        spec.target_ess = 0.0;
        ask(&l, &asked, &spec, 11, cut.out.samples);
        cr_assert(is_same(&cut, &asked), "case %u", i);
    }
    stop(&l);
}

/* Quadrature knows nothing of the proposal: its draws, truncated or wrapped, and the wide component with them. */
Test(importance, agrees_with_quadrature_within_bounds_and_on_a_circle)
{
    static const struct ebm_estimate_spec by_quadrature = {.estimator = EBM_ESTIMATE_QUADRATURE};
    static struct ebm_support supports[] = {{EBM_SUPPORT_BOUNDED, -0.4, 0.9}, {EBM_SUPPORT_PERIODIC, -1.0, 1.0}};
    for (uint32_t i = 0; i < EBM_COUNT_OF(supports); i++) {
        static struct logistic l;
        struct answer drawn, exact;
        start(&l, ebm_device_cpu(), 1, 0.5, 8192);
        l.net.support = &supports[i];
        l.plan = l.ops->plan_unref(l.plan);
        cr_assert_eq(l.ops->plan_new(&l.net, l.params, 0, &l.plan, NULL), EBM_OK);
        cr_assert_eq(l.ops->ctx_prepare(l.ctx, l.plan, NULL), EBM_OK);
        ask(&l, &drawn, &defended, 3, 8192);
        ask(&l, &exact, &by_quadrature, 3, 1);
        cr_log_info("log Z %.6f, %.6f; mean %.6f, %.6f; ess %.0f\n", drawn.out.log_z, exact.out.log_z, drawn.mean[0],
                    exact.mean[0], drawn.out.ess);
        cr_assert_float_eq(drawn.out.log_z, exact.out.log_z, 2e-3);
        if (i == 0)
            cr_assert_float_eq(drawn.mean[0], exact.mean[0], 2e-3);
        stop(&l);
    }
}
