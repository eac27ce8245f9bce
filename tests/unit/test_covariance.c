/* test_covariance.c - covariance matrices through the device: correlated logistic targets in closed form, an angle that
 * leans on a number of the line beside a fine grid, and a mixture's closed form beside its own draws. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"

#define PERIOD 2.5
#define MOST_D 3
enum { KNOTS = 4, TURNS = 2, BENDS = KNOTS * 2 * TURNS, K = 2, MAX_LAYERS = 6 };

struct fixture {
    struct ebm_support support[MOST_D];
    struct ebm_layer layers[MAX_LAYERS];
    uint32_t n_layers;
    struct ebm_net_desc net;
    float params[2048];
};

/* Layer `number` of zeros, and where its weights are. */
static float *add_layer(struct fixture *f, struct ebm_net *net, uint32_t in, uint32_t out, enum ebm_activation act)
{
    struct ebm_layer *layer = &f->layers[f->n_layers++];
    size_t at = f->net.n_params;
    *layer = (struct ebm_layer){in, out, act, false, at, at + ebm_round_up((size_t)in * out, 16)};
    f->net.n_params = layer->bias + ebm_round_up(out, 16);
    cr_assert_leq(f->net.n_params, EBM_COUNT_OF(f->params));
    if (net->n_layers++ == 0)
        net->layers = layer;
    return f->params + at;
}

static float *bias_of(struct fixture *f)
{
    return f->params + f->layers[f->n_layers - 1].bias;
}

static void begin(struct fixture *f, uint32_t D)
{
    memset(f, 0, sizeof *f);
    f->net = (struct ebm_net_desc){.X = 1, .D = D, .H = 1, .G = D, .K = K, .support = f->support};
    for (uint32_t d = 0; d < D; d++)
        f->support[d] = (struct ebm_support){EBM_SUPPORT_REAL, -INFINITY, INFINITY};
}

/* A mixture that does not read x: mean, log variance (D, K), log weight (K). */
static void add_mixture(struct fixture *f, const float *mean, const float *log_variance, const float *log_weight)
{
    uint32_t DK = f->net.D * K;
    (void)add_layer(f, &f->net.mean, 1, DK, EBM_ACT_IDENTITY);
    memcpy(bias_of(f), mean, DK * sizeof *mean);
    (void)add_layer(f, &f->net.log_variance, 1, DK, EBM_ACT_IDENTITY);
    memcpy(bias_of(f), log_variance, DK * sizeof *mean);
    (void)add_layer(f, &f->net.weight, 1, K, EBM_ACT_IDENTITY);
    memcpy(bias_of(f), log_weight, K * sizeof *mean);
}

struct answer {
    double mean[MOST_D], variance[MOST_D], covariance[MOST_D * MOST_D];
};

static struct answer ask(const struct fixture *f, enum ebm_estimator estimator, uint32_t samples, float *draws)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    struct answer a;
    struct ebm_ctx_limits limits = {.max_rows = 1, .max_samples = samples};
    struct ebm_estimate_spec spec = {.estimator = estimator, .scheme = EBM_SCHEME_SOBOL, .defensive = 0.1};
    struct ebm_estimate out = {.mean = a.mean, .variance = a.variance, .covariance = a.covariance, .draws = draws};
    struct ebm_task task = {.row = {.seed = 5, .samples = samples}, .spec = &spec, .out = &out};
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    float x = 0.0f;
    if (draws != NULL) {
        spec.draws = EBM_DRAWS_FAIR;
        spec.n_draws = samples;
    }
    cr_assert_eq(ops->plan_new(&f->net, f->params, 0, &plan, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_new(&limits, &ctx, NULL), EBM_OK);
    cr_assert_eq(ops->ctx_prepare(ctx, plan, NULL), EBM_OK);
    cr_assert_eq(ops->predict(ctx, plan, &x, &task, 1), EBM_OK);
    cr_assert_eq(out.status, EBM_OK);
    ctx = ops->ctx_free(ctx);
    plan = ops->plan_unref(plan);
    for (uint32_t d = 0; d < f->net.D; d++) {
        cr_assert_float_eq(a.covariance[d * f->net.D + d] / a.variance[d], 1.0, 1e-6);
        for (uint32_t e = 0; e < d; e++)
            cr_assert_eq(a.covariance[d * f->net.D + e], a.covariance[e * f->net.D + d]);
    }
    return a;
}

/* z = A y, f = sum_i log of the logistic density of z_i: covariance A^-1 (pi^2 / 3) A^-T. */
Test(covariance, correlated_logistic_targets_in_closed_form)
{
    static const double A[2][2] = {{1.5, -0.9}, {0.4, 1.1}};
    static const float mean[] = {0.0f, 0.3f, 0.0f, -0.2f}, log_variance[] = {0.8f, 1.5f, 0.8f, 1.5f};
    static const float log_weight[] = {-0.6931472f, -0.6931472f};
    struct fixture f;
    begin(&f, 2);
    f.net.has_energy = true;
    float *w = add_layer(&f, &f.net.energy, 3, 4, EBM_ACT_SOFTPLUS);
    for (int i = 0; i < 4; i++)
        for (int d = 0; d < 2; d++)
            w[3 * i + 1 + d] = (float)((i % 2 == 0 ? 1.0 : -1.0) * A[i / 2][d]);
    w = add_layer(&f, &f.net.energy, 4, 1, EBM_ACT_IDENTITY);
    for (int i = 0; i < 4; i++)
        w[i] = -1.0f;
    add_mixture(&f, mean, log_variance, log_weight);
    struct answer a = ask(&f, EBM_ESTIMATE_IMPORTANCE, 65536, NULL);
    double det = A[0][0] * A[1][1] - A[0][1] * A[1][0], third = M_PI * M_PI / 3.0;
    const double inverse[2][2] = {{A[1][1] / det, -A[0][1] / det}, {-A[1][0] / det, A[0][0] / det}};
    for (int d = 0; d < 2; d++)
        for (int e = 0; e < 2; e++) {
            double want = third * (inverse[d][0] * inverse[e][0] + inverse[d][1] * inverse[e][1]);
            printf("logistic %d %d: %.5f, closed form %.5f\n", d, e, a.covariance[2 * d + e], want);
            cr_assert_float_eq(a.covariance[2 * d + e], want, 0.02);
        }
}

/* ---- an angle and a number: f = f_1(angle) - |y - g(angle)|, f_1 and g linear between knots ---- */

static const double knot_at[KNOTS] = {0.25, 0.75, 1.5, 2.0};
static const double f_at[KNOTS] = {1.0, -1.0, 0.8, -0.5}, g_at[KNOTS] = {1.5, 0.0, -2.0, 0.5};

static double between(const double *heights, double y)
{
    y -= PERIOD * floor((y - knot_at[0]) / PERIOD);
    for (int k = 0; k < KNOTS; k++) {
        double a = knot_at[k], b = k + 1 < KNOTS ? knot_at[k + 1] : knot_at[0] + PERIOD;
        if (y < b)
            return heights[k] + (heights[(k + 1) % KNOTS] - heights[k]) * (y - a) / (b - a);
    }
    return heights[0];
}

/* Weights (BENDS) times `factor` that make relu(angle - knot) a function that repeats, from the first knot on. */
static void bend(float *to, const double *heights, double factor)
{
    double slope = 0.0;
    for (uint32_t u = 0; u < BENDS; u++) {
        double knot = PERIOD * (u / KNOTS) - TURNS * PERIOD + knot_at[u % KNOTS];
        double next = (between(heights, knot + 1e-3) - between(heights, knot)) / 1e-3;
        to[u] = (float)(factor * (next - slope));
        slope = next;
    }
}

static void make_leaning(struct fixture *f, double lower)
{
    static const float mean[] = {0.3f, 1.6f, 0.0f, 0.0f}, log_variance[] = {-0.5f, -0.5f, 1.5f, 1.8f};
    static const float log_weight[] = {-0.6931472f, -0.6931472f};
    enum { FIRST = BENDS + 2, HIGH = 20 };
    begin(f, 2);
    f->support[0] = (struct ebm_support){EBM_SUPPORT_PERIODIC, lower, lower + PERIOD};
    f->net.has_energy = true;
    float *w = add_layer(f, &f->net.energy, 3, FIRST, EBM_ACT_RELU);
    for (uint32_t u = 0; u < BENDS; u++) {
        w[3 * u + 1] = 1.0f;
        bias_of(f)[u] = -(float)(PERIOD * (u / KNOTS) - TURNS * PERIOD + knot_at[u % KNOTS]);
    }
    w[3 * BENDS + 2] = 1.0f;
    w[3 * (BENDS + 1) + 2] = -1.0f;
    w = add_layer(f, &f->net.energy, FIRST, 3, EBM_ACT_RELU); /* y - g, g - y, f_1 + HIGH */
    bend(w, g_at, -1.0);
    bend(w + FIRST, g_at, 1.0);
    bend(w + 2 * FIRST, f_at, 1.0);
    w[BENDS] = w[FIRST + BENDS + 1] = 1.0f;
    w[BENDS + 1] = w[FIRST + BENDS] = -1.0f;
    bias_of(f)[0] = -(float)g_at[0];
    bias_of(f)[1] = (float)g_at[0];
    bias_of(f)[2] = (float)(f_at[0] + HIGH);
    w = add_layer(f, &f->net.energy, 3, 1, EBM_ACT_IDENTITY);
    w[0] = w[1] = -1.0f;
    w[2] = 1.0f;
    add_mixture(f, mean, log_variance, log_weight);
}

/* Given the angle, y has mean g and variance 2. */
static struct answer leaning_truth(double *ret_mean)
{
    enum { N = 20000 };
    const double turn = 2.0 * M_PI / PERIOD;
    double sum = 0.0, cosine = 0.0, sine = 0.0, g = 0.0, g_square = 0.0, square = 0.0, product = 0.0;
    struct answer a = {.mean = {0.0}};
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < N; i++) {
            double y = PERIOD * (i + 0.5) / N, mass = exp(between(f_at, y)) / (pass == 1 ? sum : 1.0);
            double at = between(g_at, y), off = pass == 1 ? sin(turn * (y - a.mean[0])) : 0.0;
            if (pass == 0) {
                sum += mass, cosine += mass * cos(turn * y), sine += mass * sin(turn * y);
                a.mean[0] = atan2(sine, cosine) / turn;
            } else {
                g += mass * at, g_square += mass * at * at, square += mass * off * off, product += mass * off * at;
            }
        }
    *ret_mean = a.mean[0];
    double variance = -2.0 * log(hypot(cosine, sine) / sum) / (turn * turn);
    double both = product * sqrt(variance / square); /* the sine's mean is 0 */
    return (struct answer){.covariance = {variance, both, both, 2.0 + g_square - g * g}};
}

Test(covariance, an_angle_and_a_number_beside_a_grid_wherever_the_seam_is)
{
    double mean;
    const struct answer want = leaning_truth(&mean);
    struct fixture f;
    for (double lower = -1.3; lower < 1.5; lower += 0.61) {
        make_leaning(&f, lower);
        struct answer a = ask(&f, EBM_ESTIMATE_IMPORTANCE, 65536, NULL);
        printf("seam %5.2f: mean %.4f (%.4f) covariance %.4f %.4f %.4f (%.4f %.4f %.4f)\n", lower, a.mean[0], mean,
               a.covariance[0], a.covariance[1], a.covariance[3], want.covariance[0], want.covariance[1],
               want.covariance[3]);
        cr_assert_lt(fabs(remainder(a.mean[0] - mean, PERIOD)), 0.005);
        for (int i = 0; i < 4; i++)
            cr_assert_float_eq(a.covariance[i], want.covariance[i], 0.02);
    }
}

/* ---- a mixture's closed form beside its draws, of every support ---- */

/* From the mean: on the line, or the sine of an angle. */
static double distance(const struct fixture *f, const struct answer *a, uint32_t d, double y)
{
    return f->support[d].kind == EBM_SUPPORT_PERIODIC ? sin(2.0 * M_PI / PERIOD * (y - a->mean[d])) : y - a->mean[d];
}

Test(covariance, a_mixture_of_every_support_beside_its_draws)
{
    enum { D = 3, M = 65536 };
    static const float mean[] = {-1.0f, 1.5f, 0.2f, 0.7f, -0.2f, 0.9f}, log_weight[] = {-0.5108256f, -0.9162907f};
    static const float log_variance[] = {-1.0f, 0.0f, -1.0f, -2.0f, -1.5f, -0.5f};
    static float draws[M * D];
    struct fixture f;
    begin(&f, D);
    f.support[1] = (struct ebm_support){EBM_SUPPORT_BOUNDED, 0.0, 1.0};
    f.support[2] = (struct ebm_support){EBM_SUPPORT_PERIODIC, -0.5, -0.5 + PERIOD};
    add_mixture(&f, mean, log_variance, log_weight);
    struct answer a = ask(&f, EBM_ESTIMATE_MIXTURE, M, draws);
    double sums[D][D] = {{0.0}};
    for (size_t m = 0; m < M; m++)
        for (uint32_t d = 0; d < D; d++)
            for (uint32_t e = 0; e < D; e++)
                sums[d][e] += distance(&f, &a, d, (double)draws[m * D + d]) *
                              distance(&f, &a, e, (double)draws[m * D + e]) / M;
    for (uint32_t d = 0; d < D; d++)
        for (uint32_t e = 0; e < D; e++) { /* correlations: an angle's variance is no mean of squares */
            double got = a.covariance[d * D + e] / sqrt(a.variance[d] * a.variance[e]);
            double want = sums[d][e] / sqrt(sums[d][d] * sums[e][e]);
            printf("mixture %u %u: correlation %.4f, of draws %.4f\n", d, e, got, want);
            cr_assert_float_eq(got, want, 0.015);
        }
    cr_assert_float_eq(a.variance[0], sums[0][0], 0.03);
    cr_assert_float_eq(a.variance[1], sums[1][1], 0.01);
}
