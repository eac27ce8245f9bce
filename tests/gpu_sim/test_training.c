/* test_training.c - the same steps on the CPU and on a plug-in's device: losses, gradients, moments and parameters.
 *
 *   test_training PLUGIN.so [CASES [FIRST]]     so many cases, from the one of that name on, or all; 0: a step of that
 *                                               one, or of two, for slow runs; 77: no device
 *
 * A case is a model and what each of its steps trains by: losses that the device computes, and some that the CPU does,
 * in turn. Batches are full ones and a last one that is not, so that shapes come once and again. Beside the whole run
 * on either side there are runs that change sides in the middle with what a checkpoint holds, and one by three threads,
 * which must give the same bytes as one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_plugin.h"
#include "models/config.h"
#include "trainer/initial.h"
#include "trainer/step.h"
#include "trainer/teacher.h"

#define SKIPPED 77
#define ROWS 45u
#define BATCH 19u
#define STEPS 6u
#define SAMPLES 21u
#define MOST_X 84u
#define MOST_REACH 64u
#define RATE 0.01
#define SLOW_RATE 3e-5 /* of likelihoods by pieces */
#define SLIGHT 1e-3    /* of the largest gradient */

#define NET(text) "[" text "]"
#define LINEAR(out, activation) "{\"type\": \"linear\", \"out\": " out ", \"activation\": \"" activation "\"}"
#define RESIDUAL(out, activation)                                                                                      \
    "{\"type\": \"linear\", \"out\": " out ", \"activation\": \"" activation "\", \"residual\": true}"
#define MIXTURE(DK)                                                                                                    \
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 3,"                                                \
    " \"mean_net\": " NET(LINEAR("6", "relu") "," LINEAR(                                                              \
        DK, "identity")) ","                                                                                           \
                         " \"log_variance_net\": " NET(LINEAR(DK, "identity")) ", \"weight_net\": " NET(               \
                             LINEAR("3", "identity")) "}}"
#define HEAD "{\"format_version\": 1, \"input\": {\"kind\": \"vector\"}, "

/* clang-format off */
static const char plain_text[] = HEAD
    "\"target\": {}, \"feature_net\": " NET(LINEAR("9", "relu") "," LINEAR("9", "tanh")) ","
    " \"target_net\": " NET(LINEAR("7", "tanh")) ","
    " \"energy_net\": " NET(LINEAR("12", "silu") "," LINEAR("12", "tanh") "," LINEAR("1", "identity")) "," MIXTURE("6");
static const char bounded_text[] = HEAD
    "\"target\": {\"support\": [\"bounded\"], \"lower\": [-4], \"upper\": [4]},"
    " \"feature_net\": " NET(LINEAR("10", "relu")) ","
    " \"energy_net\": " NET(LINEAR("12", "softplus") "," LINEAR("1", "identity")) "}";
static const char mixture_text[] = HEAD "\"target\": {}, \"feature_net\": " NET(LINEAR("9", "silu")) "," MIXTURE("6");
static const char teacher_text[] = "{\"feature_net\": " NET(LINEAR("8", "tanh")) ","
    " \"energy_net\": " NET(LINEAR("11", "silu") "," LINEAR("1", "identity")) "}";
static const char image_text[] =
    "{\"format_version\": 1, \"input\": {\"kind\": \"image\", \"shape\": [1, 9, 9]}, \"target\": {},"
    " \"feature_net\": " NET("{\"type\": \"resnet\", \"depth\": 18, \"width\": 2}") ","
    " \"energy_net\": " NET(LINEAR("12", "tanh") "," LINEAR("1", "identity")) "," MIXTURE("3");
/* A norm of the image itself, pools, with equal numbers before one, a bias, a stride, a window without surroundings, a
 * last value of several places. */
static const char layers_text[] =
    "{\"format_version\": 1, \"input\": {\"kind\": \"image\", \"shape\": [2, 7, 6]},"
    " \"target\": {\"support\": [\"bounded\"], \"lower\": [-4], \"upper\": [4]},"
    " \"feature_net\": " NET("{\"type\": \"batch_norm2d\"}, {\"type\": \"max_pool2d\", \"kernel\": 2, \"stride\": 1},"
    " {\"type\": \"conv2d\", \"out\": 5, \"kernel\": 3, \"padding\": 1},"
    " {\"type\": \"relu\"}, {\"type\": \"max_pool2d\", \"kernel\": 2, \"stride\": 1},"
    " {\"type\": \"conv2d\", \"out\": 4, \"kernel\": 2, \"stride\": 2, \"bias\": false}, {\"type\": \"relu\"},"
    " {\"type\": \"batch_norm2d\"}, {\"type\": \"relu\"}, {\"type\": \"conv2d\", \"out\": 8, \"kernel\": 1},"
    " {\"type\": \"batch_norm2d\"}, {\"type\": \"relu\"}, {\"type\": \"flatten\"}, " LINEAR("9", "tanh")) ","
    " \"energy_net\": " NET(LINEAR("12", "tanh") "," LINEAR("1", "identity")) "," MIXTURE("3");
static const char smooth_text[] = HEAD
    "\"target\": {}, \"feature_net\": " NET(LINEAR("9", "tanh")) ","
    " \"target_net\": " NET(LINEAR("7", "softplus") "," RESIDUAL("7", "tanh")) ","
    " \"energy_net\": " NET(LINEAR("12", "silu") "," RESIDUAL("12", "silu") "," LINEAR("1", "identity")) ","
    MIXTURE("6");
/* Deep: kinks of two hidden layers. Shallow: the CPU goes by segments; many: more pieces than there is room for in
 * tests, in some chunks. */
static const char deep_text[] = HEAD
    "\"target\": {\"lower\": [-4], \"upper\": [4]}, \"feature_net\": " NET(LINEAR("9", "tanh")) ","
    " \"target_net\": " NET(LINEAR("7", "relu") "," LINEAR("7", "relu")) ","
    " \"energy_net\": " NET(LINEAR("12", "relu") "," RESIDUAL("12", "relu") "," LINEAR("1", "identity")) "}";
static const char shallow_text[] = HEAD
    "\"target\": {}, \"feature_net\": " NET(LINEAR("9", "relu")) ","
    " \"target_net\": " NET(LINEAR("6", "relu")) ","
    " \"energy_net\": " NET(LINEAR("14", "relu") "," LINEAR("1", "identity")) "," MIXTURE("3");
static const char many_text[] = HEAD
    "\"target\": {\"lower\": [-4], \"upper\": [4]}, \"feature_net\": " NET(LINEAR("9", "tanh")) ","
    " \"target_net\": " NET(LINEAR("20", "relu")) ","
    " \"energy_net\": " NET(LINEAR("30", "relu") "," LINEAR("1", "identity")) "}";
/* clang-format on */

static const float widths[] = {0.2f, 0.3f, 1.0f, 1.2f};

#define PHASE_OF(features, ...)                                                                                        \
    {                                                                                                                  \
        .word = "", .trains = {features, true, true, true}, .loss = {.samples = SAMPLES, __VA_ARGS__ }                 \
    }
#define PHASE(...) PHASE_OF(true, __VA_ARGS__)
#define STILL(...) PHASE_OF(false, __VA_ARGS__)
#define FIXED .n_sigmas = 2, .sigmas = widths
#define ONE .n_sigmas = 1, .sigmas = widths
#define CHAINS .langevin_steps = 3, .langevin_step = widths

struct one_case {
    const char *name, *model, *teacher; /* teacher: NULL without one */
    uint32_t X, D;
    struct ebm_shape image; /* of images, X numbers */
    bool has_ties;          /* inputs are multiples of a half */
    double clip, decay;
    struct method_phase phases[2]; /* in turn */
    double
        slack; /* of errors: 20 norms by few rows make them larger, the CPU's beside the reference device too; 0: 1 */
};

#define BOTH(...)                                                                                                      \
    {                                                                                                                  \
        PHASE(__VA_ARGS__), PHASE(__VA_ARGS__)                                                                         \
    }

static const struct one_case cases[] = {
    {.name = "nce_plus, nce_kl",
     .model = plain_text,
     .X = 3,
     .D = 2,
     .phases = {PHASE(.loss = EBM_LOSS_NCE_PLUS, FIXED, .beta = 0.5, .proposal_beside = true),
                PHASE(.loss = EBM_LOSS_NCE_KL)}},
    {.name = "ml_is beside, clipped",
     .model = plain_text,
     .X = 3,
     .D = 2,
     .clip = 0.5,
     .decay = 0.01,
     .phases = BOTH(.loss = EBM_LOSS_ML_IS, FIXED, .proposal_beside = true, .proposal_trains_features = true)},
    {.name = "images, nce_kl, features",
     .model = image_text,
     .X = 81,
     .D = 1,
     .image = {1, 9, 9},
     .phases = BOTH(.loss = EBM_LOSS_NCE_KL, .proposal_trains_features = true),
     .slack = 3.0},
    {.name = "layers, nce; nce_kl here",
     .model = layers_text,
     .X = 84,
     .D = 1,
     .image = {2, 7, 6},
     .has_ties = true,
     .clip = 0.5,
     .phases = {PHASE(.loss = EBM_LOSS_NCE, FIXED), PHASE(.loss = EBM_LOSS_NCE_KL, .proposal_trains_features = true)}},
    {.name = "layers, nce; a still trunk",
     .model = layers_text,
     .X = 84,
     .D = 1,
     .image = {2, 7, 6},
     .has_ties = true,
     .decay = 0.01,
     .phases = {PHASE(.loss = EBM_LOSS_NCE, FIXED), STILL(.loss = EBM_LOSS_NCE_PLUS, FIXED, .beta = 0.5)}},
    {.name = "mdn_kl_teacher",
     .model = mixture_text,
     .teacher = teacher_text,
     .X = 3,
     .D = 2,
     .phases = BOTH(.loss = EBM_LOSS_MDN_KL_TEACHER)},
    {.name = "kld_is",
     .model = plain_text,
     .X = 3,
     .D = 2,
     .phases = BOTH(.loss = EBM_LOSS_KLD_IS, FIXED, .label_sigma = widths)},
    {.name = "joint", .model = plain_text, .X = 3, .D = 2, .phases = BOTH(.loss = EBM_LOSS_JOINT)},
    {.name = "mdn_nll, kl_proposal",
     .model = plain_text,
     .X = 3,
     .D = 2,
     .phases = {PHASE(.loss = EBM_LOSS_MDN_NLL, .proposal_trains_features = true),
                PHASE(.loss = EBM_LOSS_KL_PROPOSAL)}},
    {.name = "nce, dsm",
     .model = plain_text,
     .X = 3,
     .D = 2,
     .phases = {PHASE(.loss = EBM_LOSS_NCE, FIXED), PHASE(.loss = EBM_LOSS_DSM, ONE)}},
    {.name = "bounded, nce, kld_is",
     .model = bounded_text,
     .X = 3,
     .D = 1,
     .phases = {PHASE(.loss = EBM_LOSS_NCE, FIXED), PHASE(.loss = EBM_LOSS_KLD_IS, FIXED, .label_sigma = widths)}},
    {.name = "ml_exact", .model = deep_text, .X = 3, .D = 1, .phases = BOTH(.loss = EBM_LOSS_ML_EXACT)},
    {.name = "sm beside, dsm",
     .model = smooth_text,
     .X = 3,
     .D = 2,
     .phases = {PHASE(.loss = EBM_LOSS_SM, .proposal_beside = true), PHASE(.loss = EBM_LOSS_DSM, ONE)}},
    {.name = "ml_mcmc, nce",
     .model = smooth_text,
     .X = 3,
     .D = 2,
     .phases = {PHASE(.loss = EBM_LOSS_ML_MCMC, CHAINS), PHASE(.loss = EBM_LOSS_NCE, FIXED)}},
    {.name = "dsm by relu", .model = deep_text, .X = 3, .D = 1, .phases = BOTH(.loss = EBM_LOSS_DSM, ONE)},
    {.name = "bounded, dsm; ml_mcmc here",
     .model = bounded_text,
     .X = 3,
     .D = 1,
     .phases = {PHASE(.loss = EBM_LOSS_DSM, ONE), PHASE(.loss = EBM_LOSS_ML_MCMC, CHAINS)}},
    {.name = "ml_exact beside, mdn_nll",
     .model = shallow_text,
     .X = 3,
     .D = 1,
     .phases = {PHASE(.loss = EBM_LOSS_ML_EXACT, .proposal_beside = true), PHASE(.loss = EBM_LOSS_MDN_NLL)}},
    {.name = "ml_exact, many pieces", .model = many_text, .X = 3, .D = 1, .phases = BOTH(.loss = EBM_LOSS_ML_EXACT)},
};

static const size_t slow[] = {0, 3}; /* of runs that have time for one step: one of vectors, one of images */

/* What a run leaves. */
struct run {
    double losses[STEPS][BATCH];
    float *state[4]; /* (P): enum ebm_train_state; the gradient is the first step's */
    size_t P;
    float h;                        /* a feature of the first row, as the plan's x side computes it */
    float reach[ROWS * MOST_REACH]; /* of images, by the running statistics */
};

static void fail(const char *what)
{
    (void)printf("FAILED %s\n", what);
    exit(1);
}

static float number(uint32_t row, uint32_t column)
{
    uint32_t words[4];
    ebm_philox(9, row, column, EBM_STREAM_GENERATE, 0, words);
    return 0.7f * (float)ebm_normal(words[0]);
}

/* A unit that is on wherever the density is does no more than shift f: its gradient is rounding's, and Adam divides by
 * its size. */
static bool is_by_pieces(const struct one_case *c)
{
    return c->phases[0].loss.loss == EBM_LOSS_ML_EXACT;
}

static double rate_of(const struct one_case *c)
{
    return is_by_pieces(c) ? SLOW_RATE : RATE;
}

/* f falls on both sides of the line: what it rises by in no unit it falls by in some. */
static void make_fall(const struct ebm_net_desc *net, float *params)
{
    const struct ebm_layer *last = &net->energy.layers[net->energy.n_layers - 1];
    for (uint32_t i = 0; i < last->in; i++)
        params[last->weight + i] = -fabsf(params[last->weight + i]);
}

static void run_init(struct run *r, const struct one_case *c, const struct ebm_net_desc *net)
{
    *r = (struct run){.P = net->n_params};
    for (uint32_t i = 0; i < 4; i++)
        if ((r->state[i] = calloc(r->P, sizeof(float))) == NULL)
            fail("no memory");
    initial_parameters(net, 1, 1.0, r->state[EBM_TRAIN_PARAMS]);
    if (is_by_pieces(c) && c->model == shallow_text)
        make_fall(net, r->state[EBM_TRAIN_PARAMS]);
}

static void run_done(struct run *r)
{
    for (uint32_t i = 0; i < 4; i++)
        free(r->state[i]);
}

static void read_states(const struct step *step, struct run *r)
{
    for (uint32_t what = 0; what < EBM_TRAIN_GRADIENT; what++)
        if (step->ops->params_read(step->plan, (enum ebm_train_state)what, r->state[what]) != EBM_OK)
            fail("params_read");
}

/* The table of a run, whose images are the caller's again, and no numbers any more, once its trunk has been called. */
static struct {
    struct ebm_device_ops ops;
    const struct ebm_device_ops *of;
    uint32_t X;
} spoiling;

static enum ebm_status forward_and_spoil(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x,
                                         uint32_t B, bool learns)
{
    enum ebm_status status = spoiling.of->trunk_forward(plan, threads, h_x, B, learns);
    memset((float *)(uintptr_t)h_x, 0xff, (size_t)B * spoiling.X * sizeof *h_x);
    return status;
}

static const struct ebm_device_ops *spoil(const struct ebm_device_ops *ops, uint32_t X)
{
    spoiling.ops = *ops;
    spoiling.ops.trunk_forward = forward_and_spoil;
    spoiling.of = ops;
    spoiling.X = X;
    return &spoiling.ops;
}

static void put_inputs(const struct one_case *c, float *x)
{
    for (uint32_t b = 0; b < ROWS; b++)
        for (uint32_t j = 0; j < c->X; j++)
            x[b * c->X + j] = c->has_ties ? 0.5f * roundf(2.0f * number(b, j)) : number(b, j);
}

static void one_step(const struct one_case *c, struct step *step, uint32_t i, bool is_last, struct run *r)
{
    static float x[ROWS * MOST_X], y[ROWS * 2];
    static struct ebm_row rows[ROWS];
    uint32_t first = i % 3 * BATCH, B = ROWS - first < BATCH ? ROWS - first : BATCH;
    put_inputs(c, x);
    for (uint32_t b = 0; b < ROWS; b++) {
        for (uint32_t d = 0; d < c->D; d++)
            y[b * c->D + d] = number(b, c->X + d);
        rows[b] = (struct ebm_row){.seed = 4, .row_in_request = b, .first_sample = 1000 * i, .samples = SAMPLES};
    }
    struct step_batch batch = {
        .B = B, .x = x + (size_t)first * c->X, .y = y + first * c->D, .rows = rows + first, .losses = r->losses[i]};
    if (step_run(step, &c->phases[i % 2], &batch) != EBM_OK)
        fail("step_run");
    if (i == 0 && step->ops->params_read(step->plan, EBM_TRAIN_GRADIENT, r->state[EBM_TRAIN_GRADIENT]) != EBM_OK)
        fail("the gradient");
    if (is_last) { /* once: whoever reads parameters waits for them */
        const struct ebm_threads threads = pool_threads(step->pool);
        float h[64];
        put_inputs(c, x);
        if (c->image.channels > 0 && step->ops->trunk_run(step->plan, &threads, x, ROWS, r->reach) != EBM_OK)
            fail("trunk_run");
        if (step->ops->features(pool_ctx(step->pool), step->plan, x, 1) != EBM_OK ||
            step->ops->fetch(pool_ctx(step->pool), EBM_FETCH_FEATURES, 0, h) != EBM_OK)
            fail("features");
        r->h = h[0];
    }
}

/* Steps first .. end - 1, from the states in r, to which it comes back. */
static void train(const struct ebm_device_ops *ops, const struct ebm_net_desc *net, const struct one_case *c,
                  uint32_t n_threads, uint32_t first, uint32_t end, struct run *r)
{
    const struct ebm_ctx_limits limits = {.max_rows = BATCH, .max_samples = 64, .training = true};
    struct ebm_error error;
    struct ebm_plan *plan = NULL;
    struct pool *pool = NULL;
    float *space = calloc(r->P, sizeof *space);
    if (space == NULL || ops->plan_new(net, r->state[EBM_TRAIN_PARAMS], STEP_CHUNKS, &plan, &error) != EBM_OK ||
        ops->params_write(plan, EBM_TRAIN_ADAM_M, r->state[EBM_TRAIN_ADAM_M]) != EBM_OK ||
        ops->params_write(plan, EBM_TRAIN_ADAM_V, r->state[EBM_TRAIN_ADAM_V]) != EBM_OK ||
        (c->image.channels > 0 && ops->trunk_prepare(plan, BATCH, &error) != EBM_OK) ||
        pool_new(ops, &limits, plan, n_threads, &pool, &error) != EBM_OK)
        fail("nothing to train with");
    struct step step = {.ops = spoil(ops, c->X),
                        .pool = pool,
                        .plan = plan,
                        .net = net,
                        .learning_rate = rate_of(c),
                        .gradient_clip = c->clip,
                        .weight_decay = c->decay,
                        .space = space};
    for (uint32_t i = 0; i < first; i++)
        for (uint32_t part = 0; part < EBM_PARTS; part++)
            step.taken[part] += c->phases[i % 2].trains[part];
    for (uint32_t i = first; i < end; i++)
        one_step(c, &step, i, i + 1 == end, r);
    read_states(&step, r);
    (void)pool_free(pool);
    (void)ops->plan_unref(plan);
    free(space);
}

/* ---- comparison ---- */

static double largest_off(const float *got, const float *expected, size_t n, double *ret_largest)
{
    double off = 0.0, largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)expected[i]);
        off = isfinite(d) ? fmax(off, d) : (double)INFINITY;
        largest = fmax(largest, fabs((double)expected[i]));
    }
    *ret_largest = largest;
    return off;
}

/* 0, or 1 and a line. */
static int check(const char *name, const char *run, const char *what, double off, double allowed)
{
    if (off <= allowed)
        return 0;
    (void)printf("FAIL %s, %s: %s differ by %.2g, expected at most %.2g\n", name, run, what, off, allowed);
    return 1;
}

/* Of parameters whose gradient is no more than slight, how far they moved is not compared. */
static double largest_moved_off(const struct run *got, const struct run *expected)
{
    const float *p = got->state[EBM_TRAIN_PARAMS], *q = expected->state[EBM_TRAIN_PARAMS],
                *m = expected->state[EBM_TRAIN_ADAM_M];
    double off = 0.0, largest = 0.0;
    for (size_t i = 0; i < got->P; i++)
        largest = fmax(largest, fabs((double)m[i]));
    for (size_t i = 0; i < got->P; i++)
        if (fabs((double)m[i]) > SLIGHT * largest)
            off = fmax(off, fabs((double)p[i] - (double)q[i]));
    return off;
}

/* Elsewhere no parameter may do no more than shift f: its gradient would be rounding's, and Adam divides by its size.
 */
static int compare(const struct one_case *c, const char *run, const struct run *got, const struct run *expected)
{
    const char *name = c->name;
    const double slack = c->slack > 0.0 ? c->slack : 1.0;
    double losses = 0.0, largest, off;
    int failures = 0;
    for (uint32_t i = 0; i < STEPS; i++)
        for (uint32_t b = 0; b < BATCH; b++) {
            off = fabs(got->losses[i][b] - expected->losses[i][b]);
            if (isnan(got->losses[i][b]) && isnan(expected->losses[i][b]))
                continue;
            off /= fmax(1.0, fabs(expected->losses[i][b]));
            losses = isfinite(off) ? fmax(losses, off) : (double)INFINITY;
        }
    failures += check(name, run, "losses", losses, 3e-5 * slack);
    off = largest_off(got->state[EBM_TRAIN_GRADIENT], expected->state[EBM_TRAIN_GRADIENT], got->P, &largest);
    failures += check(name, run, "gradients", off / largest, 3e-5 * slack);
    double gradient = off / largest;
    off = largest_off(got->state[EBM_TRAIN_ADAM_M], expected->state[EBM_TRAIN_ADAM_M], got->P, &largest);
    failures += check(name, run, "moments", off / largest, 1e-4 * slack);
    double moments = off / largest;
    off = largest_off(got->state[EBM_TRAIN_PARAMS], expected->state[EBM_TRAIN_PARAMS], got->P, &largest);
    if (is_by_pieces(c))
        off = largest_moved_off(got, expected);
    failures += check(name, run, "parameters", off, rate_of(c) / 100.0);
    failures += check(name, run, "features", fabs((double)got->h - (double)expected->h), 1e-3);
    failures += check(name, run, "trunks", largest_off(got->reach, expected->reach, ROWS * MOST_REACH, &largest), 1e-3);
    (void)printf("%-26s %-12s losses %.1e, gradients %.1e, moments %.1e, parameters %.1e\n", name, run, losses,
                 gradient, moments, off);
    return failures;
}

static int same_bytes(const char *name, const struct run *a, const struct run *b)
{
    bool same = memcmp(a->losses, b->losses, sizeof a->losses) == 0;
    for (uint32_t i = 0; i < 4; i++)
        same = same && memcmp(a->state[i], b->state[i], a->P * sizeof(float)) == 0;
    if (!same)
        (void)printf("FAIL %s: other bytes on three threads than on one\n", name);
    return !same;
}

static int run_once(const struct ebm_device_ops *ops, const struct one_case *c, const struct ebm_net_desc *net)
{
    struct run expected, got;
    run_init(&expected, c, net);
    run_init(&got, c, net);
    train(ebm_device_cpu(), net, c, 1, 0, 1, &expected);
    train(ops, net, c, 1, 0, 1, &got);
    int failures = compare(c, "one step", &got, &expected);
    run_done(&expected);
    run_done(&got);
    return failures;
}

static int run_net(const struct ebm_device_ops *ops, const struct one_case *c, const struct ebm_net_desc *net)
{
    const struct ebm_device_ops *cpu = ebm_device_cpu();
    struct run expected, whole, threads, there_first, here_first;
    struct run *all[] = {&expected, &whole, &threads, &there_first, &here_first};
    for (size_t i = 0; i < EBM_COUNT_OF(all); i++)
        run_init(all[i], c, net);
    train(cpu, net, c, 1, 0, STEPS, &expected);
    train(ops, net, c, 1, 0, STEPS, &whole);
    train(ops, net, c, 3, 0, STEPS, &threads);
    train(ops, net, c, 1, 0, STEPS / 2, &there_first);
    train(cpu, net, c, 1, STEPS / 2, STEPS, &there_first);
    train(cpu, net, c, 1, 0, STEPS / 2, &here_first);
    train(ops, net, c, 1, STEPS / 2, STEPS, &here_first);
    int failures = compare(c, "device", &whole, &expected) + same_bytes(c->name, &threads, &whole) +
                   compare(c, "device, CPU", &there_first, &expected) +
                   compare(c, "CPU, device", &here_first, &expected);
    for (size_t i = 0; i < EBM_COUNT_OF(all); i++)
        run_done(all[i]);
    return failures;
}

static int run_case(const struct ebm_device_ops *ops, const struct one_case *c, bool once)
{
    struct ebm_config_defaults defaults = {.name = "t", .X = c->X, .D = c->D};
    struct ebm_config *config = NULL;
    struct teacher teacher = {0};
    struct ebm_error error;
    defaults.image = c->image;
    if (ebm_config_parse(c->model, strlen(c->model), &defaults, &config, &error) != EBM_OK ||
        (c->teacher != NULL && teacher_make(config, c->teacher, &teacher, &error) != EBM_OK))
        fail(error.text);
    const struct ebm_net_desc *net = c->teacher != NULL ? &teacher.net : &config->net;
    int failures = once ? run_once(ops, c, net) : run_net(ops, c, net);
    teacher_done(&teacher);
    (void)ebm_config_free(config);
    return failures;
}

static size_t find_case(const char *name)
{
    size_t i = 0;
    while (i < EBM_COUNT_OF(cases) && strcmp(cases[i].name, name) != 0)
        i++;
    return i;
}

int main(int argc, char **argv)
{
    const struct ebm_device_ops *ops = NULL;
    struct ebm_device_choice choice;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error;
    int failures = 0;
    size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : EBM_COUNT_OF(cases), first = argc > 3 ? find_case(argv[3]) : 0;
    if (argc < 2 || first >= EBM_COUNT_OF(cases) || n > EBM_COUNT_OF(cases) - first)
        return 2;
    if (ebm_device_choose("cuda", "fp32", &choice, &error) != EBM_OK)
        return 2;
    choice.file = argv[1];
    if (ebm_device_open_unchecked(&choice, NULL, &ops, name, &error) != EBM_OK)
        return SKIPPED;
    for (size_t i = first; i < first + n; i++)
        failures += run_case(ops, &cases[i], false);
    for (size_t i = 0; n == 0 && argc < 4 && i < EBM_COUNT_OF(slow); i++)
        failures += run_case(ops, &cases[slow[i]], true);
    if (n == 0 && argc > 3)
        failures += run_case(ops, &cases[first], true);
    (void)printf("%d faults\n", failures);
    return failures > 0 ? 1 : 0;
}
