/* reliable.c - cases for the rule of models/reliable.c: answers by importance whose error is known, and what their
 * diagnostics said. bench/reliable.py fits and judges the rule.
 *
 *   bench-reliable [TARGETS]
 *
 * A target is exp of a random network over D = 1, 2, 3 numbers between walls, with several modes. Its proposals, as
 * rows x of one network: a mixture fitted to the target by EM, and that mixture spoilt in the ways of KINDS. The truth
 * is quadrature's at D = 1, else the fitted mixture's with 2 x 65536 draws. A line a case: D, M, scheme, target, kind,
 * seed; errors of mean and std in standard deviations (the worst coordinate), of log Z; pareto_k, ess / M, max_weight,
 * mcse_mean / std, log_z_std_error. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "models/estimate.h"

#define KIND_MAP(X) X(fitted) X(narrow) X(very_narrow) X(shifted) X(far_shifted) X(no_heaviest) X(no_lightest) X(wide)
#define X(name) KIND_##name,
enum kind { KIND_MAP(X) KINDS };
#undef X

enum { MOST_D = 3, K = 3, UNITS = 10, EM_DRAWS = 8192, EM_STEPS = 25, TRUTH_DRAWS = 65536, SEEDS = 2 };

struct mixture {
    double mean[MOST_D][K], std[MOST_D][K], weight[K];
};

struct target {
    struct ebm_net_desc net;
    struct ebm_layer layers[5];
    float params[2048];
    uint64_t seed;
    uint32_t next; /* word */
    struct ebm_plan *plan;
    double mean[MOST_D], std[MOST_D], log_z; /* the truth */
};

static const struct ebm_device_ops *ops;
static struct ebm_ctx *ctx;

static void must(enum ebm_status status)
{
    if (status == EBM_OK)
        return;
    fprintf(stderr, "bench-reliable: %s\n", ebm_status_name(status));
    exit(1);
}

static double normal(struct target *t)
{
    uint32_t words[4];
    ebm_philox(t->seed, t->next++, 0, EBM_STREAM_GENERATE, 0, words);
    return ebm_normal(words[0]);
}

static struct ebm_layer *layer_at(struct target *t, struct ebm_net *net, uint32_t i, uint32_t in, uint32_t out,
                                  enum ebm_activation activation)
{
    struct ebm_layer *layer = &t->layers[i];
    *layer = (struct ebm_layer){.in = in, .out = out, .activation = activation, .weight = t->net.n_params};
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    t->net.n_params = layer->bias + ebm_round_up(out, 16);
    EBM_ASSERT(t->net.n_params <= EBM_COUNT_OF(t->params));
    if (net->n_layers++ == 0)
        net->layers = layer;
    return layer;
}

/* Random units, and walls at -2 and 2 that are steeper than they. */
static void make_energy(struct target *t, const struct ebm_layer *first, const struct ebm_layer *second)
{
    uint32_t D = t->net.D;
    double slope[MOST_D] = {0};
    for (uint32_t j = 0; j < UNITS; j++) {
        float a = (float)(1.5 * normal(t));
        t->params[second->weight + j] = a;
        t->params[first->bias + j] = (float)(2.0 * normal(t));
        for (uint32_t d = 0; d < D; d++) {
            float w = (float)(2.0 * normal(t) / sqrt(D));
            t->params[first->weight + (size_t)j * first->in + KINDS + d] = w;
            slope[d] += fabs((double)(a * w));
        }
    }
    for (uint32_t d = 0; d < D; d++) {
        for (uint32_t side = 0; side < 2; side++) {
            uint32_t j = UNITS + 2 * d + side;
            double steep = 1.0 + 1.2 * slope[d];
            t->params[first->weight + (size_t)j * first->in + KINDS + d] = (float)(side ? steep : -steep);
            t->params[first->bias + j] = (float)(-2.0 * steep);
            t->params[second->weight + j] = -1.0f;
        }
    }
}

static void make_target(struct target *t, uint32_t D, uint64_t seed)
{
    memset(t, 0, sizeof *t);
    t->seed = seed;
    struct ebm_net_desc *net = &t->net;
    *net = (struct ebm_net_desc){.X = KINDS, .D = D, .H = KINDS, .G = D, .K = K, .has_energy = true};
    struct ebm_layer *first = layer_at(t, &net->energy, 0, KINDS + D, UNITS + 2 * D, EBM_ACT_SOFTPLUS);
    struct ebm_layer *second = layer_at(t, &net->energy, 1, UNITS + 2 * D, 1, EBM_ACT_IDENTITY);
    net->part[EBM_PART_ENERGY] = (struct ebm_range){0, net->n_params};
    (void)layer_at(t, &net->mean, 2, KINDS, D * K, EBM_ACT_IDENTITY);
    (void)layer_at(t, &net->log_variance, 3, KINDS, D * K, EBM_ACT_IDENTITY);
    (void)layer_at(t, &net->weight, 4, KINDS, K, EBM_ACT_IDENTITY);
    net->part[EBM_PART_PROPOSAL] = (struct ebm_range){t->layers[2].weight, net->n_params - t->layers[2].weight};
    make_energy(t, first, second);
}

/* Row `kind` of the inputs gets this proposal. */
static void set_proposal(struct target *t, enum kind kind, const struct mixture *q)
{
    for (uint32_t k = 0; k < K; k++) {
        for (uint32_t d = 0; d < t->net.D; d++) {
            t->params[t->layers[2].weight + (size_t)(d * K + k) * KINDS + kind] = (float)q->mean[d][k];
            t->params[t->layers[3].weight + (size_t)(d * K + k) * KINDS + kind] = (float)(2.0 * log(q->std[d][k]));
        }
        t->params[t->layers[4].weight + (size_t)k * KINDS + kind] = (float)log(fmax(q->weight[k], 1e-6));
    }
}

static void plan(struct target *t)
{
    t->plan = ops->plan_unref(t->plan);
    must(ops->plan_new(&t->net, t->params, 0, &t->plan, NULL));
    must(ops->ctx_prepare(ctx, t->plan, NULL));
}

static void ask(const struct target *t, enum kind kind, const struct ebm_estimate_spec *spec, uint64_t seed,
                uint32_t samples, struct ebm_estimate *out)
{
    float x[KINDS] = {0};
    struct ebm_task task = {
        .row = {.seed = seed, .row_in_request = kind, .samples = samples}, .spec = spec, .out = out};
    x[kind] = 1.0f;
    must(ops->predict(ctx, t->plan, x, &task, 1));
    must(out->status);
}

/* One step of EM on weighted draws y (n, D). */
static void em_step(struct mixture *q, uint32_t D, const float *y, const float *log_w, uint32_t n)
{
    double total[K] = {0}, sum[MOST_D][K] = {{0}}, square[MOST_D][K] = {{0}};
    for (uint32_t i = 0; i < n; i++) {
        double p[K], all = 0.0;
        for (uint32_t k = 0; k < K; k++) {
            p[k] = q->weight[k];
            for (uint32_t d = 0; d < D; d++) {
                double z = ((double)y[i * D + d] - q->mean[d][k]) / q->std[d][k];
                p[k] *= exp(-0.5 * z * z) / q->std[d][k];
            }
            all += p[k];
        }
        for (uint32_t k = 0; k < K && all > 0.0; k++) {
            double share = exp((double)log_w[i]) * p[k] / all;
            total[k] += share;
            for (uint32_t d = 0; d < D; d++) {
                sum[d][k] += share * (double)y[i * D + d];
                square[d][k] += share * (double)y[i * D + d] * (double)y[i * D + d];
            }
        }
    }
    for (uint32_t k = 0; k < K; k++) {
        q->weight[k] = fmax(total[k], 1e-6);
        for (uint32_t d = 0; d < D && total[k] > 1e-6; d++) {
            q->mean[d][k] = sum[d][k] / total[k];
            q->std[d][k] = sqrt(fmax(square[d][k] / total[k] - q->mean[d][k] * q->mean[d][k], 1e-4));
        }
    }
}

static void fit(struct target *t, struct mixture *q)
{
    static const struct ebm_estimate_spec weighted = {
        .estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = EBM_SCHEME_SOBOL, .draws = EBM_DRAWS_WEIGHTED};
    static float y[EM_DRAWS * MOST_D], log_w[EM_DRAWS];
    struct ebm_estimate out = {.draws = y, .log_weights = log_w};
    struct mixture broad = {.weight = {1, 1, 1}};
    for (uint32_t d = 0; d < t->net.D; d++)
        for (uint32_t k = 0; k < K; k++)
            broad.std[d][k] = 1.5;
    set_proposal(t, KIND_fitted, &broad);
    plan(t);
    ask(t, KIND_fitted, &weighted, 1, EM_DRAWS, &out);
    *q = broad;
    for (uint32_t k = 0; k < K; k++)
        for (uint32_t d = 0; d < t->net.D; d++) {
            q->mean[d][k] = normal(t);
            q->std[d][k] = 0.7;
        }
    for (uint32_t step = 0; step < EM_STEPS; step++)
        em_step(q, t->net.D, y, log_w, EM_DRAWS);
}

static struct mixture spoilt(const struct mixture *q, enum kind kind, uint32_t D)
{
    static const double narrower[KINDS] = {[KIND_narrow] = 0.6, [KIND_very_narrow] = 0.35, [KIND_wide] = 1.8};
    static const double shift[KINDS] = {[KIND_shifted] = 0.75, [KIND_far_shifted] = 1.5};
    struct mixture s = *q;
    uint32_t heaviest = 0, lightest = 0;
    for (uint32_t k = 0; k < K; k++) {
        heaviest = q->weight[k] > q->weight[heaviest] ? k : heaviest;
        lightest = q->weight[k] < q->weight[lightest] ? k : lightest;
        for (uint32_t d = 0; d < D; d++) {
            s.mean[d][k] += shift[kind] * s.std[d][k];
            s.std[d][k] *= narrower[kind] > 0.0 ? narrower[kind] : 1.0;
        }
    }
    if (kind == KIND_no_heaviest)
        s.weight[heaviest] = 0.0;
    if (kind == KIND_no_lightest)
        s.weight[lightest] = 0.0;
    return s;
}

static void find_truth(struct target *t)
{
    struct ebm_estimate_spec spec = {.estimator = t->net.D == 1 ? EBM_ESTIMATE_QUADRATURE : EBM_ESTIMATE_IMPORTANCE,
                                     .scheme = EBM_SCHEME_SOBOL,
                                     .defensive = EBM_DEFENSIVE_SHARE};
    for (uint64_t seed = 100; seed < 102; seed++) {
        double mean[MOST_D], variance[MOST_D];
        struct ebm_estimate out = {.mean = mean, .variance = variance};
        ask(t, KIND_fitted, &spec, seed, TRUTH_DRAWS, &out);
        t->log_z += 0.5 * out.log_z;
        for (uint32_t d = 0; d < t->net.D; d++) {
            t->mean[d] += 0.5 * mean[d];
            t->std[d] += 0.5 * sqrt(variance[d]);
        }
    }
}

static void tell(const struct target *t, enum kind kind, const struct ebm_estimate_spec *spec, uint64_t seed,
                 uint32_t samples)
{
#define X(name) #name,
    static const char *const names[] = {KIND_MAP(X)};
#undef X
    double mean[MOST_D], variance[MOST_D], mcse[MOST_D], mean_off = 0.0, std_off = 0.0, noise = 0.0;
    struct ebm_estimate out = {.mean = mean, .variance = variance, .mcse_mean = mcse};
    ask(t, kind, spec, seed, samples, &out);
    for (uint32_t d = 0; d < t->net.D; d++) {
        mean_off = fmax(mean_off, fabs(mean[d] - t->mean[d]) / t->std[d]);
        std_off = fmax(std_off, fabs(sqrt(variance[d]) / t->std[d] - 1.0));
        noise = fmax(noise, mcse[d] / sqrt(variance[d]));
    }
    printf("%u,%u,%s,%llu,%s,%llu,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g\n", t->net.D, samples,
           spec->scheme == EBM_SCHEME_SOBOL ? "sobol" : "independent", (unsigned long long)t->seed, names[kind],
           (unsigned long long)seed, mean_off, std_off, fabs(out.log_z - t->log_z), out.pareto_k, out.ess / samples,
           out.max_weight, noise, out.log_z_std_error);
}

static void run(uint32_t D, uint64_t seed)
{
    static const struct ebm_estimate_spec specs[] = {
        {.estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = EBM_SCHEME_SOBOL, .defensive = EBM_DEFENSIVE_SHARE},
        {.estimator = EBM_ESTIMATE_IMPORTANCE}};
    static struct target t;
    struct mixture q;
    make_target(&t, D, seed);
    fit(&t, &q);
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct mixture s = spoilt(&q, kind, D);
        set_proposal(&t, kind, &s);
    }
    plan(&t);
    find_truth(&t);
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (uint32_t i = 0; i < EBM_COUNT_OF(specs); i++)
            for (uint64_t draws = 0; draws < SEEDS; draws++)
                for (uint32_t samples = 128; samples <= 1024; samples *= 8)
                    tell(&t, kind, &specs[i], draws, samples);
    t.plan = ops->plan_unref(t.plan);
}

int main(int argc, char **argv)
{
    uint32_t targets = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 60;
    struct ebm_ctx_limits limits = {.max_rows = 1, .max_samples = TRUTH_DRAWS};
    ops = ebm_device_cpu();
    ebm_device_thread_init();
    must(ops->ctx_new(&limits, &ctx, NULL));
    printf("D,M,scheme,target,kind,seed,mean,std,log_z,pareto_k,ess_ratio,max_weight,noise,log_z_error\n");
    for (uint32_t D = 1; D <= MOST_D; D++)
        for (uint64_t seed = 0; seed < targets; seed++)
            run(D, 1000 * D + seed);
    (void)ops->ctx_free(ctx);
    return 0;
}
