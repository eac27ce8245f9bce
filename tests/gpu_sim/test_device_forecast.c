/* test_device_forecast.c - what the trainer says that a training takes of a GPU, beside what the simulated one then
 * gave out: parameters, a trunk, and what a step's chunks take on a thread.
 *
 *   test_device_forecast PLUGIN.so     compiled with the plug-in's sizes of what is computed at once */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cuda/sizes.h"
#include "core/device_plugin.h"
#include "models/config.h"
#include "trainer/forecast_device.h"
#include "trainer/initial.h"
#include "trainer/step.h"

#define BATCH 24u
#define MOST_X 84u
#define SLACK 1.01

/* clang-format off */
#define LINEAR(out, activation) "{\"type\": \"linear\", \"out\": " out ", \"activation\": \"" activation "\"}"
#define LAST "[" LINEAR("3", "identity") "]"
#define ENERGY(second) " \"energy_net\": [" LINEAR("40", "silu") "," LINEAR("24", second) "," \
    LINEAR("1", "identity") "]"
#define PROPOSAL ", \"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 3, \"mean_net\": " LAST \
    ", \"log_variance_net\": " LAST ", \"weight_net\": " LAST "}}"
#define VECTOR "{\"format_version\": 1, \"input\": {\"kind\": \"vector\"}, "

static const char vector_text[] = VECTOR "\"target\": {},"
    " \"feature_net\": [" LINEAR("200", "relu") "," LINEAR("150", "tanh") "],"
    " \"target_net\": [" LINEAR("36", "tanh") "]," ENERGY("relu") PROPOSAL;
static const char smooth_text[] = VECTOR "\"target\": {},"
    " \"feature_net\": [" LINEAR("50", "relu") "]," ENERGY("tanh") PROPOSAL;
static const char exact_text[] = VECTOR "\"target\": {\"lower\": [-4], \"upper\": [4]},"
    " \"feature_net\": [" LINEAR("30", "relu") "],"
    " \"energy_net\": [" LINEAR("20", "relu") "," LINEAR("18", "relu") "," LINEAR("1", "identity") "]}";
static const char image_text[] =
    "{\"format_version\": 1, \"input\": {\"kind\": \"image\", \"shape\": [2, 7, 6]}, \"target\": {},"
    " \"feature_net\": [{\"type\": \"conv2d\", \"out\": 12, \"kernel\": 3, \"padding\": 1, \"bias\": false},"
    " {\"type\": \"batch_norm2d\"}, {\"type\": \"relu\"}, {\"type\": \"max_pool2d\", \"kernel\": 2},"
    " {\"type\": \"conv2d\", \"out\": 20, \"kernel\": 1}, {\"type\": \"relu\"}, {\"type\": \"flatten\"},"
    LINEAR("60", "tanh") "]," ENERGY("relu") PROPOSAL;
static const char refused_text[] = VECTOR "\"target\": {}, \"feature_net\": [" LINEAR("30", "tanh") "],"
    " \"energy_net\": [{\"type\": \"linear\", \"out\": 31, \"activation\": \"tanh\", \"residual\": true},"
    LINEAR("1", "identity") "]}";
/* clang-format on */

static const float sigmas[] = {0.2f, 0.5f};

static const struct one_case {
    const char *name, *text;
    enum ebm_loss loss;
    uint32_t n_sigmas;
    bool beside;
} cases[] = {
    {"nce_kl", vector_text, EBM_LOSS_NCE_KL, 0, false},
    {"ml_is, the proposal beside", vector_text, EBM_LOSS_ML_IS, 2, true},
    {"dsm", vector_text, EBM_LOSS_DSM, 1, false},
    {"sm", smooth_text, EBM_LOSS_SM, 0, false},
    {"ml_exact", exact_text, EBM_LOSS_ML_EXACT, 0, false},
    {"images, nce_kl", image_text, EBM_LOSS_NCE_KL, 0, false},
    {"what the device does not train", refused_text, EBM_LOSS_ML_IS, 2, false},
};

static int (*memory_info)(size_t *ret_free, size_t *ret_total);

static void fail(const char *what)
{
    (void)printf("FAIL %s\n", what);
    exit(1);
}

static size_t used(void)
{
    size_t there, all;
    if (memory_info(&there, &all) != 0)
        fail("cudaMemGetInfo");
    return all - there;
}

static int compare(const char *name, const char *what, uint64_t foreseen, size_t taken)
{
    bool is_fine = (double)foreseen * SLACK >= (double)taken && (double)foreseen <= SLACK * (double)taken;
    (void)printf("%s %s, %s: %llu bytes foreseen, %zu taken\n", is_fine ? "ok" : "FAIL", name, what,
                 (unsigned long long)foreseen, taken);
    return is_fine ? 0 : 1;
}

static void run_one_step(const struct ebm_device_ops *ops, const struct ebm_net_desc *net, struct ebm_plan *plan,
                         struct pool *pool, const struct method_phase *phase)
{
    static float x[BATCH * MOST_X], y[BATCH];
    static struct ebm_row rows[BATCH];
    double losses[BATCH];
    struct step step = {.ops = ops, .pool = pool, .plan = plan, .net = net, .learning_rate = 1e-4};
    for (uint32_t b = 0; b < BATCH; b++) {
        y[b] = 0.05f * (float)b;
        rows[b] = (struct ebm_row){.seed = 4, .row_in_request = b, .samples = phase->loss.samples};
    }
    for (uint32_t i = 0; i < BATCH * net->X; i++)
        x[i] = 0.01f * (float)(i % 97);
    const struct step_batch batch = {.B = BATCH, .x = x, .y = y, .rows = rows, .losses = losses};
    if (step_run(&step, phase, &batch) != EBM_OK)
        fail("step_run");
}

/* One thread has all chunks; several have as much each. */
static int check(const struct ebm_device_ops *ops, const struct one_case *c)
{
    struct ebm_error error = {0};
    struct ebm_config *config = NULL;
    struct ebm_plan *plan = NULL;
    struct pool *pool = NULL;
    struct method_plan method = {.n_phases = 1};
    method.phases[0] = (struct method_phase){.loss = {.loss = c->loss,
                                                      .samples = 20,
                                                      .n_sigmas = c->n_sigmas,
                                                      .sigmas = sigmas,
                                                      .proposal_beside = c->beside},
                                             .trains = {true, true, true, true}};
    struct ebm_config_defaults defaults = {.name = "model", .X = 5, .D = 1};
    const struct ebm_ctx_limits limits = {.max_rows = BATCH, .max_samples = 64, .training = true};
    if (c->text == image_text)
        defaults.image = (struct ebm_shape){2, 7, 6};
    if (ebm_config_parse(c->text, strlen(c->text), &defaults, &config, &error) != EBM_OK)
        fail(error.text);
    const struct ebm_net_desc *net = &config->net;
    float *params = calloc(net->n_params, sizeof *params);
    initial_parameters(net, 3, 1.0, params);
    struct forecast_device foreseen = forecast_device(net, &method, BATCH, 1);
    size_t before = used();
    if (ops->plan_new(net, params, STEP_CHUNKS, &plan, &error) != EBM_OK)
        fail(error.text);
    size_t with_plan = used();
    if (net->trunk.n_ops > 0 && ops->trunk_prepare(plan, BATCH, &error) != EBM_OK)
        fail(error.text);
    size_t with_trunk = used();
    if (pool_new(ops, &limits, plan, 1, &pool, &error) != EBM_OK)
        fail(error.text);
    run_one_step(ops, net, plan, pool, &method.phases[0]);
    int failures = 0;
    if (net->trunk.n_ops > 0)
        failures += compare(c->name, "trunk", foreseen.trunk, with_trunk - with_plan);
    const size_t spaces = (foreseen.parameters > 0 ? 2 : 1) * (size_t)GPU_WORKSPACE; /* the plan's, and a thread's */
    failures += compare(c->name, "all else", foreseen.parameters + foreseen.threads - spaces,
                        used() - (with_trunk - with_plan) - before - spaces);
    (void)pool_free(pool);
    (void)ops->plan_unref(plan);
    ebm_config_free(config);
    free(params);
    return failures;
}

int main(int argc, char **argv)
{
    const struct ebm_device_ops *ops = NULL;
    struct ebm_device_choice choice;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error = {0};
    void *plugin = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (plugin == NULL || ebm_device_choose("cuda", "fp32", &choice, &error) != EBM_OK)
        return 2;
    *(void **)&memory_info = dlsym(plugin, "cudaMemGetInfo");
    choice.file = argv[1];
    if (memory_info == NULL || ebm_device_open_unchecked(&choice, NULL, &ops, name, &error) != EBM_OK)
        return 2;
    int failures = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++)
        failures += check(ops, &cases[i]);
    (void)printf("%d faults\n", failures);
    return failures > 0 ? 1 : 0;
}
