/* train_threads.c - the same steps on 1, 2, 3 and 8 threads: the same losses and parameters, bit by bit; and many short
 * rounds of a pool, each task done exactly once. A plain main: it runs under ThreadSanitizer. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/config.h"
#include "trainer/step.h"
#include "trainer/initial.h"

#define ROWS 45u /* a last batch that is not full */
#define BATCH 20u
#define STEPS 6u

#define NET(text) "[" text "]"
#define LINEAR(out, activation) "{\"type\": \"linear\", \"out\": " out ", \"activation\": \"" activation "\"}"

/* clang-format off */
static const char model_text[] =
    "{\"format_version\": 1, \"input\": {\"kind\": \"vector\"}, \"target\": {},"
    " \"feature_net\": " NET(LINEAR("20", "relu")) ", \"target_net\": " NET(LINEAR("8", "tanh")) ","
    " \"energy_net\": " NET(LINEAR("12", "silu") "," LINEAR("1", "identity")) ","
    " \"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 2,"
    " \"mean_net\": " NET(LINEAR("2", "identity")) ", \"log_variance_net\": " NET(LINEAR("2", "identity")) ","
    " \"weight_net\": " NET(LINEAR("2", "identity")) "}}";

/* One whose f is piecewise linear: all threads read one table of kinks. */
static const char kinked_text[] =
    "{\"format_version\": 1, \"input\": {\"kind\": \"vector\"}, \"target\": {\"lower\": [-6], \"upper\": [6]},"
    " \"feature_net\": " NET(LINEAR("20", "relu")) ", \"target_net\": " NET(LINEAR("8", "relu")) ","
    " \"energy_net\": " NET(LINEAR("12", "relu") "," LINEAR("12", "relu") "," LINEAR("1", "identity")) "}";

/* One of images: a batch goes through the trunk in chunks. */
static const char image_text[] =
    "{\"format_version\": 1, \"input\": {\"kind\": \"image\", \"shape\": [1, 9, 9]}, \"target\": {},"
    " \"feature_net\": " NET("{\"type\": \"resnet\", \"depth\": 18, \"width\": 2}") ","
    " \"energy_net\": " NET(LINEAR("12", "tanh") "," LINEAR("1", "identity")) ","
    " \"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 2,"
    " \"mean_net\": " NET(LINEAR("2", "identity")) ", \"log_variance_net\": " NET(LINEAR("2", "identity")) ","
    " \"weight_net\": " NET(LINEAR("2", "identity")) "}}";
/* clang-format on */

#define MOST_X 81u

static const float widths[] = {0.2f, 1.0f};

#define PHASE(...)                                                                                                     \
    {                                                                                                                  \
        .word = "", .trains = {true, true, true, true}, .loss = {.samples = 40, __VA_ARGS__ }                          \
    }
static const struct method_phase phases[] = {
    PHASE(.loss = EBM_LOSS_NCE_KL),
    PHASE(.loss = EBM_LOSS_NCE_PLUS, .n_sigmas = 2, .sigmas = widths, .beta = 0.5, .proposal_beside = true),
    PHASE(.loss = EBM_LOSS_ML_MCMC, .langevin_steps = 3, .langevin_step = widths),
    PHASE(.loss = EBM_LOSS_SM),
    PHASE(.loss = EBM_LOSS_DSM, .n_sigmas = 1, .sigmas = widths),
    PHASE(.loss = EBM_LOSS_ML_EXACT, .proposal_beside = true),
};
static const struct method_phase exact = PHASE(.loss = EBM_LOSS_ML_EXACT);

static void fail(const char *what)
{
    (void)printf("FAILED %s\n", what);
    (void)fflush(stdout);
    abort();
}

static float number(uint32_t row, uint32_t column)
{
    uint32_t words[4];
    ebm_philox(9, row, column, EBM_STREAM_GENERATE, 0, words);
    return (float)ebm_normal(words[0]);
}

/* Trains on n_threads and leaves the parameters and the losses of all rows. */
static void train(const struct ebm_config *config, const struct method_phase *phase, uint32_t n_threads,
                  float *ret_params, double *ret_losses)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_net_desc *net = &config->net;
    const struct ebm_ctx_limits limits = {.max_rows = BATCH, .max_samples = 64, .training = true};
    struct ebm_error error;
    struct ebm_plan *plan = NULL;
    struct pool *pool = NULL;
    static float x[ROWS * MOST_X];
    float y[ROWS];
    struct ebm_row rows[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) {
        for (uint32_t j = 0; j < net->X; j++)
            x[i * net->X + j] = number(i, j);
        y[i] = number(i, net->X);
        rows[i] = (struct ebm_row){.seed = 4, .row_in_request = i, .samples = 40};
    }
    initial_parameters(net, 1, 1.0, ret_params);
    if (ops->plan_new(net, ret_params, STEP_CHUNKS, &plan, &error) != EBM_OK ||
        (net->trunk.n_ops > 0 && ops->trunk_prepare(plan, BATCH, &error) != EBM_OK) ||
        pool_new(ops, &limits, plan, n_threads, &pool, &error) != EBM_OK)
        fail(error.text);
    struct step step = {.ops = ops, .pool = pool, .plan = plan, .net = net, .learning_rate = 0.01};
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t first = i % 3 * BATCH, B = ROWS - first < BATCH ? ROWS - first : BATCH;
        struct step_batch batch = {.B = B,
                                   .x = x + (size_t)first * net->X,
                                   .y = y + first,
                                   .rows = rows + first,
                                   .losses = ret_losses + first};
        if (step_run(&step, phase, &batch) != EBM_OK)
            fail("step_run");
    }
    if (ops->params_read(plan, EBM_TRAIN_PARAMS, ret_params) != EBM_OK)
        fail("params_read");
    (void)pool_free(pool);
    (void)ops->plan_unref(plan);
}

static void compare_threads(const struct ebm_config *config, const struct method_phase *phase)
{
    static const uint32_t threads[] = {1, 2, 3, 8};
    size_t P = config->net.n_params;
    float *first = calloc(P, sizeof *first), *other = calloc(P, sizeof *other), *initial = calloc(P, sizeof *initial);
    double first_losses[ROWS], other_losses[ROWS];
    if (first == NULL || other == NULL || initial == NULL)
        fail("no memory");
    train(config, phase, 1, first, first_losses);
    initial_parameters(&config->net, 1, 1.0, initial);
    if (memcmp(first, initial, P * sizeof *first) == 0)
        fail("training changes nothing");
    for (size_t i = 0; i < EBM_COUNT_OF(threads); i++) {
        train(config, phase, threads[i], other, other_losses);
        bool same = memcmp(first, other, P * sizeof *first) == 0 &&
                    memcmp(first_losses, other_losses, sizeof first_losses) == 0;
        (void)printf("loss %d, %u threads: loss of the last row %.17g, first weight %.9g\n", (int)phase->loss.loss,
                     threads[i], other_losses[ROWS - 1], (double)other[0]);
        if (!same)
            fail("other bytes than on one thread");
    }
    free(first);
    free(other);
    free(initial);
}

static void count_task(void *user, uint32_t task, struct ebm_ctx *ctx)
{
    _Atomic uint32_t *counts = user;
    (void)ctx;
    atomic_fetch_add(&counts[task], 1);
}

static void many_rounds(const struct ebm_config *config)
{
    const struct ebm_ctx_limits limits = {.max_rows = 1, .max_samples = 1};
    _Atomic uint32_t counts[17] = {0};
    struct ebm_plan *plan = NULL;
    struct pool *pool = NULL;
    float *params = calloc(config->net.n_params, sizeof *params);
    if (params == NULL || ebm_device_cpu()->plan_new(&config->net, params, 0, &plan, NULL) != EBM_OK ||
        pool_new(ebm_device_cpu(), &limits, plan, 4, &pool, NULL) != EBM_OK)
        fail("pool_new");
    for (uint32_t round = 0; round < 2000; round++)
        pool_run(pool, count_task, counts, round % 18);
    for (uint32_t task = 0; task < 17; task++) {
        uint32_t expected = 0;
        for (uint32_t round = 0; round < 2000; round++)
            expected += task < round % 18;
        if (atomic_load(&counts[task]) != expected) {
            (void)printf("task %u ran %u times, expected %u\n", task, atomic_load(&counts[task]), expected);
            fail("tasks of a pool");
        }
    }
    (void)pool_free(pool);
    (void)ebm_device_cpu()->plan_unref(plan);
    free(params);
}

int main(void)
{
    static const struct ebm_config_defaults as_in_training = {.name = "t", .X = 2, .D = 1};
    struct ebm_config *config = NULL;
    struct ebm_error error;
    if (ebm_config_parse(model_text, sizeof model_text - 1, &as_in_training, &config, &error) != EBM_OK)
        fail(error.text);
    for (size_t i = 0; i < EBM_COUNT_OF(phases); i++)
        compare_threads(config, &phases[i]);
    many_rounds(config);
    (void)ebm_config_free(config);
    if (ebm_config_parse(kinked_text, sizeof kinked_text - 1, &as_in_training, &config, &error) != EBM_OK)
        fail(error.text);
    compare_threads(config, &exact);
    (void)ebm_config_free(config);
    const struct ebm_config_defaults of_images = {.name = "t", .X = 81, .D = 1, .image = {1, 9, 9}};
    if (ebm_config_parse(image_text, sizeof image_text - 1, &of_images, &config, &error) != EBM_OK)
        fail(error.text);
    compare_threads(config, &phases[0]);
    (void)ebm_config_free(config);
    (void)printf("ok\n");
    return 0;
}
