/* test_confined.c - mixtures with bounded and periodic coordinates in every set of kernels: densities against long
 * double and against their integral, gradients against differences, draws against the distribution function. */
#include <complex.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_internal.h"
#include "core/kernels.h"
#include "core/order.h"
#include "core/support.h"

const struct ebm_kernels *ebm_kernels_generic(void);
#if defined(__x86_64__)
const struct ebm_kernels *ebm_kernels_avx2(void);
const struct ebm_kernels *ebm_kernels_avx512(void);
#endif

static size_t all_sets(const struct ebm_kernels *sets[4])
{
    size_t n = 0;
    sets[n++] = ebm_kernels_ref();
    sets[n++] = ebm_kernels_generic();
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        sets[n++] = ebm_kernels_avx2();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        sets[n++] = ebm_kernels_avx512();
#endif
    return n;
}

#define EACH_SET(set)                                                                                                  \
    const struct ebm_kernels *sets_[4], *set;                                                                          \
    size_t n_sets_ = all_sets(sets_);                                                                                  \
    for (size_t i_ = 0; i_ < n_sets_ && (set = sets_[i_]) != NULL; i_++)

/* A mixture of three coordinates, a line, a box and a circle, with what it is made of. */
enum { D = 3, K = 5, DK = D * K, PERIOD = 3 };
static const struct ebm_support support[D] = {
    {EBM_SUPPORT_REAL, -INFINITY, INFINITY}, {EBM_SUPPORT_BOUNDED, -0.5, 1.0}, {EBM_SUPPORT_PERIODIC, -1.0, 2.0}};

struct parts {
    float mean[DK], log_variance[DK], log_weight[K], space[2048];
    struct ebm_mixture q;
};

/* Components in the middle, at the seam, broad, narrow, and far outside of the box. */
static void make(struct parts *p)
{
    static const float means[DK] = {0.0f,   0.5f,  -1.0f, 2.0f, 0.1f,   0.2f, 0.9f, 7.0f,
                                    -30.0f, 40.0f, 0.4f,  1.9f, -0.95f, 7.3f, 0.0f};
    static const float stds[DK] = {1.0f, 0.5f,   2.0f, 0.3f, 1.0f, 0.3f, 0.05f, 0.9f,
                                   0.2f, 700.0f, 0.2f, 0.5f, 1.0f, 1.7f, 6.0f};
    static const float weights[K] = {0.3f, 0.2f, 0.15f, 0.25f, 0.1f};
    for (int i = 0; i < DK; i++) {
        p->mean[i] = means[i];
        p->log_variance[i] = 2.0f * logf(stds[i]);
    }
    for (int k = 0; k < K; k++)
        p->log_weight[k] = logf(weights[k]);
    cr_assert(ebm_mixture_count(D, K) <= EBM_COUNT_OF(p->space));
    cr_assert(ebm_mixture_bind(&p->q, p->space, p->mean, p->log_variance, p->log_weight, support, D, K));
}

/* log of the density of one component on coordinate d at y */
static long double log_truth(const struct parts *p, int d, int k, long double y)
{
    long double mean = (long double)p->mean[d * K + k], std = expl(0.5L * (long double)p->log_variance[d * K + k]);
    long double z = (y - mean) / std, constant = -logl(std) - 0.5L * logl(2.0L * acosl(-1.0L));
    if (d == 0)
        return constant - 0.5L * z * z;
    if (d == 1) {
        long double a = (-0.5L - mean) / std, b = (1.0L - mean) / std, root = sqrtl(2.0L);
        long double mass = a > 0.0L ? 0.5L * (erfcl(a / root) - erfcl(b / root))
                                    : 0.5L * (erfcl(-b / root) - erfcl(-a / root));
        return constant - 0.5L * z * z - logl(mass);
    }
    long double sum = 0.0L, off = fmodl(y - mean, 3.0L);
    for (int j = -60; j <= 60; j++)
        sum += expl(-0.5L * (off + j * 3.0L) * (off + j * 3.0L) / (std * std));
    return constant + logl(sum);
}

static long double log_density_truth(const struct parts *p, const float *y, size_t stride)
{
    long double sum = 0.0L;
    for (int k = 0; k < K; k++) {
        long double t = (long double)p->log_weight[k];
        for (int d = 0; d < D; d++)
            t += log_truth(p, d, k, (long double)y[(size_t)d * stride]);
        sum += expl(t);
    }
    return logl(sum);
}

/* y (D, n): a line of points through the support, ends of the box included */
static void fill(float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        double at = (double)i / (n - 1), other = fmod(at * 37.0, 1.0);
        y[i] = (float)(-2.0 + 4.0 * other);
        y[n + i] = (float)(-0.5 + 1.5 * at);
        y[2 * n + i] = (float)(-1.0 + 3.0 * fmod(at * 11.0, 1.0));
    }
}

Test(confined, log_densities_are_those_of_long_double)
{
    enum { L = 256 };
    float y[D * L], log_q[L];
    struct parts p;
    make(&p);
    fill(y, L);
    EACH_SET (set) {
        set->mixture_log_density(log_q, &p.q, y, L, L);
        for (uint32_t l = 0; l < L; l++) {
            double want = (double)log_density_truth(&p, y + l, L);
            cr_assert_float_eq((double)log_q[l], want, 3e-6 * fmax(1.0, fabs(want)), "set %s, lane %u: %.9g, not %.9g",
                               set->name, l, (double)log_q[l], want);
        }
    }
}

/* One coordinate alone: the others are at fixed numbers. Components one by one, over the box and over the period. */
Test(confined, densities_integrate_to_one)
{
    enum { L = 32768 };
    float *y = calloc(L, sizeof *y), *log_q = calloc(L, sizeof *log_q), log_weight = 0.0f, space[256];
    struct parts p;
    make(&p);
    EACH_SET (set) {
        for (int d = 1; d < D; d++)
            for (int k = 0; k < K; k++) {
                struct ebm_mixture q;
                double width = support[d].upper - support[d].lower, sum = 0.0;
                cr_assert(ebm_mixture_bind(&q, space, &p.mean[d * K + k], &p.log_variance[d * K + k], &log_weight,
                                           &support[d], 1, 1));
                for (uint32_t l = 0; l < L; l++)
                    y[l] = (float)(support[d].lower + width * (l + 0.5) / L);
                set->mixture_log_density(log_q, &q, y, L, L);
                for (uint32_t l = 0; l < L; l++)
                    sum += exp((double)log_q[l]) * width / L;
                cr_assert_float_eq(sum, 1.0, 1e-4, "set %s coordinate %d component %d: %g", set->name, d, k, sum);
            }
    }
    free(y), free(log_q);
}

/* sum_l g_l log q(y_l) as a function of the parts, in long double */
static long double objective(const struct parts *p, const float *y, const float *g, uint32_t L)
{
    long double sum = 0.0L, norm = 0.0L;
    struct parts moved = *p;
    for (int k = 0; k < K; k++)
        norm += expl((long double)p->log_weight[k]);
    for (uint32_t l = 0; l < L; l++)
        sum += (long double)g[l] * (log_density_truth(&moved, y + l, L) - logl(norm));
    return sum;
}

static double difference(struct parts *p, float *part, const float *y, const float *g, uint32_t L)
{
    float kept = *part, step = 1e-3f * fmaxf(fabsf(kept), 0.3f);
    volatile float up = kept + step, down = kept - step;
    *part = up;
    long double high = objective(p, y, g, L);
    *part = down;
    long double low = objective(p, y, g, L);
    *part = kept;
    return (double)((high - low) / ((long double)up - (long double)down));
}

Test(confined, gradients_are_differences)
{
    enum { L = 32 };
    float y[D * L], log_q[L], g[L];
    struct parts p;
    make(&p);
    fill(y, L);
    for (uint32_t l = 0; l < L; l++)
        g[l] = (float)sin(l * 1.7 + 0.3);
    EACH_SET (set) {
        double sums[2 * DK + K] = {0.0};
        struct ebm_mixture_grad grad = {sums, sums + DK, sums + 2 * DK};
        set->mixture_log_density(log_q, &p.q, y, L, L);
        set->mixture_backward(&grad, &p.q, y, L, log_q, g, L);
        for (int i = 0; i < DK; i++) {
            double mean = difference(&p, &p.mean[i], y, g, L), spread = difference(&p, &p.log_variance[i], y, g, L);
            cr_assert_float_eq(grad.dmean[i], mean, 2e-4 * fmax(0.1, fabs(mean)), "set %s mean %d: %.7g, not %.7g",
                               set->name, i, grad.dmean[i], mean);
            cr_assert_float_eq(grad.dlog_variance[i], spread, 2e-4 * fmax(0.1, fabs(spread)),
                               "set %s log variance %d: %.7g, not %.7g", set->name, i, grad.dlog_variance[i], spread);
        }
        for (int k = 0; k < K; k++) {
            double logit = difference(&p, &p.log_weight[k], y, g, L);
            cr_assert_float_eq(grad.dlogit[k], logit, 2e-4 * fmax(0.1, fabs(logit)), "set %s logit %d: %g, not %g",
                               set->name, k, grad.dlogit[k], logit);
        }
    }
}

/* Distribution function of coordinate d of the mixture, from `from` on where that has a period. */
static double share_from(const struct parts *p, int d, double from, double y)
{
    double sum = 0.0, total = 0.0;
    for (int k = 0; k < K; k++) {
        double weight = exp((double)p->log_weight[k]), mean = (double)p->mean[d * K + k];
        double std = exp(0.5 * (double)p->log_variance[d * K + k]);
        struct ebm_truncated t;
        total += weight;
        if (d == 2) {
            sum += weight * ebm_wrapped_share(&support[d], mean, std, from, y);
            continue;
        }
        ebm_truncated_init(&t, &support[d], mean, std);
        sum += weight * ebm_truncated_share(&t, t.from, fmin((y - t.anchor) / std, t.to));
    }
    return sum / total;
}

static double share_below(const struct parts *p, int d, double y)
{
    return share_from(p, d, support[d].lower, y);
}

Test(confined, draws_have_the_distribution_function)
{
    enum { L = 16384 };
    float *y = calloc(D * L, sizeof *y);
    struct parts p;
    make(&p);
    EACH_SET (set) {
        set->draw(y, L, &p.q, 11, 3, 0, L);
        for (int d = 1; d < D; d++) {
            float *coordinate = y + (size_t)d * L;
            double worst = 0.0;
            qsort(coordinate, L, sizeof *coordinate, ebm_order_floats);
            cr_assert((double)coordinate[0] >= support[d].lower - 1e-7 && (double)coordinate[L - 1] <= support[d].upper,
                      "set %s coordinate %d: %g .. %g", set->name, d, (double)coordinate[0], (double)coordinate[L - 1]);
            for (uint32_t l = 0; l < L; l++)
                worst = fmax(worst, fabs(share_below(&p, d, (double)coordinate[l]) - (l + 0.5) / L));
            cr_assert_lt(worst, 1.63 / sqrt(L), "set %s coordinate %d: Kolmogorov-Smirnov %g", set->name, d, worst);
        }
    }
    free(y);
}

/* Evenly spaced words of one bounded component: each draw lies at its share, for boxes and means of all sorts. */
Test(confined, bounded_draws_invert_the_distribution_function)
{
    static const double normals[][2] = {{0.3, 0.2},  {1.0, 0.05},   {-0.7, 0.1}, {-2.5, 0.1}, {4.4, 0.1},   {4.6, 0.1},
                                        {90.0, 0.1}, {0.5, 3000.0}, {40.0, 5e3}, {-9e4, 9e2}, {9e3, 1.5e2}, {0.0, 1e4}};
    enum { L = 256 };
    float log_weight = 0.0f, y[L], space[256];
    uint32_t words[2 * L];
    for (uint32_t l = 0; l < L; l++) {
        words[l] = 0;
        words[L + l] = l * (1u << 24) + (1u << 23);
    }
    EACH_SET (set) {
        for (size_t i = 0; i < EBM_COUNT_OF(normals); i++) {
            float mean = (float)normals[i][0], log_variance = (float)(2.0 * log(normals[i][1]));
            struct ebm_mixture q;
            struct ebm_truncated t;
            cr_assert(ebm_mixture_bind(&q, space, &mean, &log_variance, &log_weight, &support[1], 1, 1));
            set->place(y, L, &q, words, L, L);
            ebm_truncated_init(&t, &support[1], (double)mean, exp(0.5 * (double)log_variance));
            for (uint32_t l = 0; l < L; l++) {
                double at = ((double)y[l] - t.anchor) / t.std, got = ebm_truncated_share(&t, t.from, at);
                double slack = 2e-5 + 1e-7 / (t.std * sqrt(t.variance)); /* y is a float */
                cr_assert_float_eq(got, (l + 0.5) / L, slack, "set %s case %zu lane %u: y %.9g share %g, not %g",
                                   set->name, i, l, (double)y[l], got, (l + 0.5) / L);
            }
        }
    }
}

/* ---- through the device ---- */

/* The mixture of make() for whatever input: three layers of weight 0. */
static void make_net(const struct parts *p, struct ebm_net_desc *net, struct ebm_layer layers[3], float *params)
{
    const float *biases[3] = {p->mean, p->log_variance, p->log_weight};
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        uint32_t out = i < 2 ? DK : K;
        layers[i] = (struct ebm_layer){.in = 1, .out = out, .weight = at, .bias = at + 16};
        memcpy(params + at + 16, biases[i], out * sizeof *params);
        at += 32;
    }
    *net = (struct ebm_net_desc){.X = 1,
                                 .D = D,
                                 .H = 1,
                                 .G = D,
                                 .K = K,
                                 .support = support,
                                 .mean = {1, &layers[0]},
                                 .log_variance = {1, &layers[1]},
                                 .weight = {1, &layers[2]},
                                 .n_params = at,
                                 .part[EBM_PART_PROPOSAL] = {0, at}};
}

/* Mean and variance of a coordinate by a sum over its density, which is the mixture's of that coordinate alone; with a
 * period from E exp(i angle). */
static void sum_moments(const struct parts *p, int d, double *ret_mean, double *ret_variance)
{
    enum { L = 32768 };
    float *y = calloc(L, sizeof *y), *log_q = calloc(L, sizeof *log_q), space[1024];
    struct ebm_mixture q;
    double lower = d == 0 ? -12.0 : support[d].lower, width = d == 0 ? 24.0 : support[d].upper - lower, sum[3] = {0.0};
    double complex resultant = 0.0;
    cr_assert(ebm_mixture_bind(&q, space, p->mean + d * K, p->log_variance + d * K, p->log_weight, &support[d], 1, K));
    for (uint32_t l = 0; l < L; l++)
        y[l] = (float)(lower + width * (l + 0.5) / L);
    ebm_kernels_ref()->mixture_log_density(log_q, &q, y, L, L);
    for (uint32_t l = 0; l < L; l++) {
        double mass = exp((double)log_q[l]) * width / L;
        sum[0] += mass, sum[1] += mass * (double)y[l], sum[2] += mass * (double)y[l] * (double)y[l];
        resultant += mass * cexp(I * 2.0 * M_PI * (double)y[l] / width);
    }
    *ret_mean = d == 2 ? ebm_support_return(&support[d], carg(resultant) * width / (2.0 * M_PI)) : sum[1];
    *ret_variance = d == 2 ? -2.0 * log(cabs(resultant)) * pow(width / (2.0 * M_PI), 2.0) : sum[2] - sum[1] * sum[1];
    free(y), free(log_q);
}

Test(confined, a_device_answers_by_the_mixture_inside_its_support)
{
    enum { M = 4096 };
    static const double probabilities[] = {1e-6, 0.05, 0.5, 0.95, 1.0 - 1e-6};
    const struct ebm_device_ops *ops = ebm_device_cpu();
    struct ebm_ctx_limits limits = {.max_rows = 1, .max_samples = M};
    struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_MIXTURE,
                                     .n_probabilities = 5,
                                     .probabilities = probabilities,
                                     .draws = EBM_DRAWS_FAIR,
                                     .n_draws = M};
    float params[96] = {0.0f}, x = 0.5f, *draws = calloc((size_t)M * D, sizeof *draws), log_q[M];
    double mean[D], variance[D], covariance[D * D], quantiles[5 * D], mode[D];
    float y[D + 1][M];
    struct ebm_estimate out = {.mean = mean,
                               .variance = variance,
                               .covariance = covariance,
                               .quantiles = quantiles,
                               .mode = mode,
                               .draws = draws};
    struct ebm_task task = {.row = {.seed = 3, .samples = 1}, .spec = &spec, .out = &out};
    struct ebm_layer layers[3];
    struct ebm_net_desc net;
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    struct parts p;
    make(&p);
    make_net(&p, &net, layers, params);
    cr_assert_eq(ops->plan_new(&net, params, 0, &plan, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_new(&limits, &ctx, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_prepare(ctx, plan, NULL), EBM_OK);
    cr_assert_eq(ops->predict(ctx, plan, &x, &task, 1), EBM_OK);
    cr_assert_eq(out.status, EBM_OK);
    for (int d = 0; d < D; d++) {
        double want_mean, want_variance;
        sum_moments(&p, d, &want_mean, &want_variance);
        cr_assert_float_eq(mean[d], want_mean, 1e-4, "mean %d: %g, not %g", d, mean[d], want_mean);
        cr_assert_float_eq(variance[d], want_variance, 3e-4, "variance %d: %g, not %g", d, variance[d], want_variance);
        cr_assert_float_eq(covariance[d * D + d], variance[d], 1e-12);
        double width = support[d].upper - support[d].lower, cut = mean[d] - 0.5 * width;
        for (int i = 0; d > 0 && i < 5; i++) {
            double at = quantiles[i * D + d], turned = d == 2 && at < cut ? at + width : at;
            turned = d == 2 && turned >= cut + width ? turned - width : turned;
            cr_assert_float_eq(share_from(&p, d, cut, turned), probabilities[i], 1e-8, "coordinate %d at %g: %g", d,
                               probabilities[i], at);
        }
        cr_assert(ebm_support_holds(&support[d], mode[d]) && ebm_support_holds(&support[d], mean[d]));
    }
    for (uint32_t m = 0; m < M; m++) /* no draw is likelier than the mode, which is the last of them here */
        for (int d = 0; d < D; d++)
            y[d][m] = m + 1 < M ? draws[(size_t)m * D + (size_t)d] : (float)mode[d];
    ebm_kernels_ref()->mixture_log_density(log_q, &p.q, y[0], M, M);
    for (uint32_t m = 0; m < M; m++)
        cr_assert_leq(log_q[m], log_q[M - 1] + 1e-3f, "draw %u: %g, at the mode %g", m, (double)log_q[m],
                      (double)log_q[M - 1]);
    ctx = ops->ctx_free(ctx);
    plan = ops->plan_unref(plan);
    free(draws);
}
