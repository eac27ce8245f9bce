/* test_failing.c - calls of CUDA that fail, under the plug-in: the check of the device must say so and leave nothing.
 *
 *   test_failing PLUGIN.so     of a simulated make; POINTS calls of all, alone and with all calls after them
 *
 * The same of steps of training, for which memory is taken before the first of them. And memory that is not there for
 * one more network: others go on. And a step of a trunk, of which every call fails once. */
#include "core/device_check.h"
#include "core/device_plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum {
    POINTS = 7,
    TRAINING_POINTS = 24,
    MEMORY_POINTS = 70,
    SMALL_IMAGE = 9,
    PARAMS = 144,
    TRUNK_PARAMS = 128,
    IMAGES = 2,
    PIXELS = 16,
    CHANNELS = 2,
    GRAPHS_OF_A_CHUNK = 2
};

static void (*fail_at)(long, int);
static long (*calls)(void), (*alive)(void);
static const char *(*failed)(void);

static int find_hooks(const char *file)
{
    void *plugin = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        return -1;
    *(void **)&fail_at = dlsym(plugin, "gpu_sim_fail_at");
    *(void **)&calls = dlsym(plugin, "gpu_sim_calls");
    *(void **)&alive = dlsym(plugin, "gpu_sim_alive");
    *(void **)&failed = dlsym(plugin, "gpu_sim_failed");
    return fail_at != NULL && failed != NULL && calls != NULL && alive != NULL ? 0 : -1;
}

/* Waits and the choice of the device before memory is freed may fail unheard; so may the search for a product that
 * there is another way for. */
static bool may_be_silent(int sticky)
{
    const char *name = failed();
    return !sticky && name != NULL &&
           (strcmp(name, "cudaStreamSynchronize") == 0 || strcmp(name, "cudaSetDevice") == 0 ||
            strstr(name, "MatmulAlgo") != NULL);
}

/* Of `kept` objects the device keeps for itself. */
static int check_point(const struct ebm_device_ops *ops, long at, int sticky, int is_last, long kept)
{
    struct ebm_error error = {0};
    fail_at(at, sticky);
    enum ebm_status status = ebm_device_check(ops, NULL, &error);
    long left = alive() - kept;
    bool says_why = strstr(error.text, "the device failed") == NULL ||
                    strstr(error.text, "the device failed: ") != NULL;
    if ((status != EBM_OK || may_be_silent(sticky && !is_last)) && left == 0 && says_why)
        return 0;
    (void)printf("FAIL call %ld (%s), %s: %s, %ld left behind\n", at, failed(), sticky ? "and all after it" : "alone",
                 status == EBM_OK ? "nobody says so" : error.text, left);
    return 1;
}

/* Four units in every layer. */
static struct ebm_net_desc small_net(struct ebm_layer layers[4], enum ebm_activation activation)
{
    layers[0] = (struct ebm_layer){.in = 1, .out = 4, .activation = activation, .weight = 0, .bias = 16};
    layers[1] = (struct ebm_layer){.in = 1, .out = 4, .activation = activation, .weight = 32, .bias = 48};
    layers[2] = (struct ebm_layer){.in = 8, .out = 4, .activation = activation, .weight = 64, .bias = 96};
    layers[3] = (struct ebm_layer){.in = 4, .out = 1, .activation = EBM_ACT_IDENTITY, .weight = 112, .bias = 128};
    return (struct ebm_net_desc){.X = 1,
                                 .D = 1,
                                 .H = 4,
                                 .G = 4,
                                 .has_energy = true,
                                 .n_params = PARAMS,
                                 .feature = {.layers = &layers[0], .n_layers = 1},
                                 .target = {.layers = &layers[1], .n_layers = 1},
                                 .energy = {.layers = &layers[2], .n_layers = 2}};
}

/* ---- memory that is not there ---- */

/* The at-th call of making the second of two plans ready fails. Where it asked for memory, the first goes on, and there
 * is a second time. */
static int check_memory(const struct ebm_device_ops *ops, struct ebm_plan *const plans[2], long at)
{
    const struct ebm_ctx_limits limits = {.max_rows = 2, .max_samples = 128};
    const float x[2 * SMALL_IMAGE] = {0.5f, -1.0f};
    struct ebm_ctx *ctx = NULL;
    struct ebm_error error = {0};
    if (ops->ctx_new(&limits, &ctx, &error) != EBM_OK || ops->ctx_prepare(ctx, plans[0], &error) != EBM_OK)
        return 1;
    long before = alive();
    fail_at(at, 0);
    enum ebm_status status = ops->ctx_prepare(ctx, plans[1], &error);
    const char *name = failed() != NULL ? failed() : "nothing";
    bool is_memory = strcmp(name, "cudaMalloc") == 0 || strcmp(name, "cudaHostAlloc") == 0;
    fail_at(0, 0);
    bool goes_on = ops->features(ctx, plans[0], x, 2) == EBM_OK;
    bool is_right = goes_on == (status == EBM_OK || status == EBM_NO_MEMORY || status == EBM_INVALID);
    if (is_memory)
        is_right = is_right && status == EBM_NO_MEMORY && alive() == before &&
                   ops->ctx_prepare(ctx, plans[1], &error) == EBM_OK && ops->features(ctx, plans[1], x, 2) == EBM_OK;
    if (!is_right)
        (void)printf("FAIL one more network, call %ld (%s): %s\n", at, name, error.text);
    (void)ops->ctx_free(ctx);
    return is_right ? 0 : 1;
}

/* The second one reads images. */
static int check_all_memory(const struct ebm_device_ops *ops)
{
    struct ebm_layer layers[4];
    const struct ebm_image_op conv = {.kind = EBM_IMAGE_CONV,
                                      .add = EBM_IMAGE_NONE,
                                      .from = {1, 3, 3},
                                      .to = {1, 1, 1},
                                      .kernel = 3,
                                      .stride = 1,
                                      .weight = PARAMS,
                                      .bias = EBM_NO_TENSOR};
    struct ebm_net_desc nets[2] = {small_net(layers, EBM_ACT_TANH), small_net(layers, EBM_ACT_TANH)};
    nets[1].X = SMALL_IMAGE;
    nets[1].n_params = PARAMS + 16;
    nets[1].trunk = (struct ebm_trunk){.n_ops = 1, .ops = &conv, .in = conv.from, .out = 1};
    _Alignas(64) float params[PARAMS + 16];
    struct ebm_plan *plans[2] = {NULL, NULL};
    struct ebm_error error = {0};
    int failures = 0;
    for (uint32_t i = 0; i < PARAMS + 16; i++)
        params[i] = 0.25f;
    for (uint32_t i = 0; i < 2; i++)
        failures += ops->plan_new(&nets[i], params, 0, &plans[i], &error) != EBM_OK;
    for (long at = 1; failures == 0 && at <= MEMORY_POINTS; at++)
        failures += check_memory(ops, plans, at);
    for (uint32_t i = 0; i < 2; i++)
        (void)ops->plan_unref(plans[i]);
    return failures;
}

/* ---- trunks in training ---- */

/* A convolution with a norm, and a mean, before a linear f. */
static struct ebm_net_desc image_net(struct ebm_image_op ops[2], struct ebm_layer *layer)
{
    const struct ebm_shape in = {1, 4, 4}, to = {CHANNELS, 4, 4}, last = {CHANNELS, 1, 1};
    ops[0] = (struct ebm_image_op){.kind = EBM_IMAGE_CONV,
                                   .add = EBM_IMAGE_NONE,
                                   .has_norm = true,
                                   .has_relu = true,
                                   .from = in,
                                   .to = to,
                                   .kernel = 3,
                                   .stride = 1,
                                   .padding = 1,
                                   .weight = 0,
                                   .bias = EBM_NO_TENSOR,
                                   .scale = 32,
                                   .shift = 48,
                                   .mean = 96,
                                   .variance = 112};
    ops[1] = (struct ebm_image_op){.kind = EBM_IMAGE_MEAN, .in = 1, .add = EBM_IMAGE_NONE, .from = to, .to = last};
    *layer = (struct ebm_layer){.in = CHANNELS + 1, .out = 1, .activation = EBM_ACT_IDENTITY, .weight = 64, .bias = 80};
    return (struct ebm_net_desc){.X = PIXELS,
                                 .D = 1,
                                 .H = CHANNELS,
                                 .G = 1,
                                 .has_energy = true,
                                 .n_params = TRUNK_PARAMS,
                                 .trunk = {.n_ops = 2, .ops = ops, .in = in, .out = CHANNELS, .learned = {0, 64}},
                                 .energy = {.layers = layer, .n_layers = 1},
                                 .part = {{0, 64}, {64, 0}, {64, 32}, {96, 0}}};
}

/* A step of the trunk alone, twice: batches of a size come once and again. */
static enum ebm_status step_trunk(const struct ebm_device_ops *ops, struct ebm_plan *plan)
{
    const struct ebm_threads nobody = {0};
    float x[IMAGES * PIXELS], h[IMAGES * CHANNELS], gradient[TRUNK_PARAMS];
    struct ebm_error error;
    enum ebm_status status = ops->trunk_prepare(plan, IMAGES, &error);
    for (uint32_t i = 0; i < IMAGES * PIXELS; i++)
        x[i] = (float)(i * 7 % 5);
    for (uint32_t i = 0; i < 2 && status == EBM_OK; i++) {
        status = ops->trunk_forward(plan, &nobody, x, IMAGES, true);
        if (status == EBM_OK)
            status = ops->trunk_backward(plan, &nobody);
    }
    if (status == EBM_OK)
        status = ops->trunk_run(plan, &nobody, x, IMAGES, h);
    return status == EBM_OK ? ops->params_read(plan, EBM_TRAIN_GRADIENT, gradient) : status;
}

/* The at-th call fails; memory that is not there leaves the plan as it was. False: that many calls there are not. */
static bool check_trunk(const struct ebm_device_ops *ops, long at, long kept, int *failures)
{
    struct ebm_image_op image_ops[2];
    struct ebm_layer layer;
    const struct ebm_net_desc net = image_net(image_ops, &layer);
    _Alignas(64) float params[TRUNK_PARAMS];
    struct ebm_plan *plan = NULL;
    struct ebm_error error = {0};
    for (uint32_t i = 0; i < TRUNK_PARAMS; i++)
        params[i] = 0.25f + 0.01f * (float)i;
    bool is_made = ops->plan_new(&net, params, 1, &plan, &error) == EBM_OK;
    fail_at(at, 0);
    enum ebm_status status = is_made ? step_trunk(ops, plan) : EBM_DEVICE;
    bool has_failed = failed() != NULL, is_memory = has_failed && strcmp(failed(), "cudaMalloc") == 0;
    bool is_right = (status == EBM_OK) == !has_failed || may_be_silent(0);
    if (is_memory) {
        fail_at(0, 0);
        is_right = status == EBM_NO_MEMORY && step_trunk(ops, plan) == EBM_OK;
    }
    (void)ops->plan_unref(plan);
    if (!is_right || alive() != kept) {
        (void)printf("FAIL a trunk, call %ld (%s): %s, %ld left behind\n", at, has_failed ? failed() : "nothing",
                     ebm_status_text(status), alive() - kept);
        (*failures)++;
    }
    fail_at(0, 0);
    return has_failed;
}

/* ---- training ---- */

/* Two chunks, the second one by a graph, and what follows them in a step. The first status that is not OK. */
static enum ebm_status run_step(const struct ebm_device_ops *ops, struct ebm_plan *plan, struct ebm_ctx *ctx,
                                enum ebm_loss loss)
{
    const float x[2] = {0.5f, -1.0f}, y[2] = {0.25f, -0.5f}, sigma = 0.5f, step = 0.1f;
    const struct ebm_row draws[2] = {{.seed = 1, .samples = 3}, {.seed = 1, .row_in_request = 1, .samples = 3}};
    const struct ebm_loss_spec spec = {.loss = loss,
                                       .samples = 3,
                                       .n_sigmas = 1,
                                       .sigmas = &sigma,
                                       .langevin_steps = 2,
                                       .langevin_step = &step,
                                       .scale = 0.5};
    const struct ebm_train_rows rows = {.B = 2, .h_x = x, .h_y = y, .rows = draws};
    const struct ebm_adam adam = {.learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .step = {1}};
    const struct ebm_range all = {0, PARAMS};
    double losses[2];
    float params[PARAMS];
    enum ebm_status status = ops->refresh(plan);
    for (int i = 0; status == EBM_OK && i < 2; i++)
        status = ops->backward(ctx, plan, 0, &spec, &rows, losses);
    status = status == EBM_OK ? ops->reduce(plan, 1, all) : status;
    status = status == EBM_OK ? ops->update(plan, &adam, all) : status;
    return status == EBM_OK ? ops->params_read(plan, EBM_TRAIN_PARAMS, params) : status;
}

/* A plan in training and its context; what was made is the caller's after a failure, too. */
static enum ebm_status make_trained(const struct ebm_device_ops *ops, const struct ebm_net_desc *net,
                                    struct ebm_plan **ret_plan, struct ebm_ctx **ret_ctx, struct ebm_error *error)
{
    const struct ebm_ctx_limits limits = {.max_rows = 2, .max_samples = 128, .training = true};
    _Alignas(64) float params[PARAMS];
    for (uint32_t i = 0; i < PARAMS; i++)
        params[i] = i % 3 == 0 ? -0.25f : 0.5f;
    enum ebm_status status = ops->plan_new(net, params, 1, ret_plan, error);
    status = status == EBM_OK ? ops->ctx_new(&limits, ret_ctx, error) : status;
    return status == EBM_OK ? ops->ctx_prepare(*ret_ctx, *ret_plan, error) : status;
}

/* ret_calls: until all is given back */
static enum ebm_status train(const struct ebm_device_ops *ops, const struct ebm_net_desc *net, enum ebm_loss loss,
                             long *ret_calls)
{
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    struct ebm_error error = {0};
    enum ebm_status status = make_trained(ops, net, &plan, &ctx, &error);
    status = status == EBM_OK ? run_step(ops, plan, ctx, loss) : status;
    *ret_calls = calls();
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    return status;
}

/* A step of this loss with calls that fail, alone and with all after them. */
static int check_training(const struct ebm_device_ops *ops, enum ebm_activation activation, enum ebm_loss loss,
                          long kept)
{
    static const struct ebm_support support = {.kind = EBM_SUPPORT_REAL, .lower = -4.0, .upper = 4.0};
    struct ebm_layer layers[4];
    struct ebm_net_desc net = small_net(layers, activation);
    long n = 0, at;
    int failures = 0;
    net.support = &support;
    net.part[0] = (struct ebm_range){0, PARAMS};
    fail_at(0, 0);
    bool is_fine = train(ops, &net, loss, &n) == EBM_OK && alive() == kept;
    for (int sticky = 0; is_fine && sticky < 2; sticky++)
        for (long i = 0; i < TRAINING_POINTS; i++) {
            fail_at(1 + i * (n - 1) / (TRAINING_POINTS - 1), sticky);
            enum ebm_status status = train(ops, &net, loss, &at);
            if ((status != EBM_OK || may_be_silent(sticky)) && alive() == kept)
                continue;
            (void)printf("FAIL training by loss %d, %s%s: %s, %ld left behind\n", (int)loss, failed(),
                         sticky ? " and all after it" : "", status == EBM_OK ? "nobody says so" : "", alive() - kept);
            failures++;
        }
    fail_at(0, 0);
    (void)printf("%ld calls of training by loss %d\n", n, (int)loss);
    return failures + !is_fine;
}

/* The at-th call of taking a loss's memory fails, or none: then chunks take no more. False: there are fewer calls. */
static bool check_preparing(const struct ebm_device_ops *ops, const struct ebm_net_desc *net, enum ebm_loss loss,
                            long at, long kept, int *failures)
{
    const float sigma = 0.5f;
    const struct ebm_loss_spec spec = {.loss = loss, .samples = 3, .n_sigmas = 1, .sigmas = &sigma};
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    struct ebm_error error = {0};
    bool is_right = make_trained(ops, net, &plan, &ctx, &error) == EBM_OK;
    const long kinks = loss == EBM_LOSS_ML_EXACT ? 2 : 0; /* the plan's table, on both sides: other contexts share it */
    long before = alive();
    fail_at(at, 0);
    enum ebm_status status = ops->train_prepare(ctx, plan, &spec, 2, &error);
    const char *name = failed();
    bool is_memory = name != NULL && strcmp(name, "cudaMalloc") == 0;
    fail_at(0, 0);
    is_right = is_right && (status == EBM_OK) == (name == NULL);
    if (is_memory)
        is_right = is_right && status == EBM_NO_MEMORY && strstr(error.text, "the device has no memory for ") != NULL &&
                   alive() - before <= kinks && ops->train_prepare(ctx, plan, &spec, 2, &error) == EBM_OK;
    if (is_memory || name == NULL) {
        before = alive();
        is_right = is_right && run_step(ops, plan, ctx, loss) == EBM_OK && alive() - before <= GRAPHS_OF_A_CHUNK;
    }
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    if (!is_right || alive() != kept) {
        (void)printf("FAIL memory of loss %d, call %ld (%s): %s: %s\n", (int)loss, at, name != NULL ? name : "nothing",
                     ebm_status_text(status), error.text);
        (*failures)++;
    }
    return name != NULL;
}

static int check_all_preparing(const struct ebm_device_ops *ops, enum ebm_activation activation, enum ebm_loss loss,
                               long kept)
{
    static const struct ebm_support support = {.kind = EBM_SUPPORT_REAL, .lower = -4.0, .upper = 4.0};
    struct ebm_layer layers[4];
    struct ebm_net_desc net = small_net(layers, activation);
    int failures = 0;
    long at = 1;
    net.support = &support;
    net.part[0] = (struct ebm_range){0, PARAMS};
    while (check_preparing(ops, &net, loss, at, kept, &failures))
        at++;
    (void)printf("%ld calls take the memory of loss %d\n", at - 1, (int)loss);
    return failures + (at == 1);
}

int main(int argc, char **argv)
{
    const struct ebm_device_ops *ops = NULL;
    struct ebm_device_choice choice;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error = {0};
    int failures = 0;
    if (argc != 2 || find_hooks(argv[1]) != 0 || ebm_device_choose("cuda", "fp32", &choice, &error) != EBM_OK)
        return 2;
    choice.file = argv[1];
    if (ebm_device_open_unchecked(&choice, NULL, &ops, name, &error) != EBM_OK)
        return 2;
    long kept = alive();
    fail_at(0, 0);
    if (ebm_device_check(ops, NULL, &error) != EBM_OK || alive() != kept) {
        (void)printf("FAIL without a failure: %s, %ld left behind\n", error.text, alive() - kept);
        return 1;
    }
    long n = calls();
    for (int sticky = 0; sticky < 2; sticky++)
        for (long i = 0; i < POINTS; i++)
            failures += check_point(ops, 1 + i * (n - 1) / (POINTS - 1), sticky, i == POINTS - 1, kept);
    fail_at(0, 0);
    if (ebm_device_check(ops, NULL, &error) != EBM_OK) { /* on the same thread, whose last error nobody took */
        (void)printf("FAIL after calls that failed: %s\n", error.text);
        failures++;
    }
    failures += check_all_memory(ops) + check_training(ops, EBM_ACT_RELU, EBM_LOSS_ML_EXACT, kept) +
                check_training(ops, EBM_ACT_TANH, EBM_LOSS_NCE, kept) +
                check_training(ops, EBM_ACT_TANH, EBM_LOSS_SM, kept) +
                check_all_preparing(ops, EBM_ACT_RELU, EBM_LOSS_ML_EXACT, kept) +
                check_all_preparing(ops, EBM_ACT_TANH, EBM_LOSS_NCE, kept) +
                check_all_preparing(ops, EBM_ACT_TANH, EBM_LOSS_SM, kept);
    long trunk_calls = 1;
    while (check_trunk(ops, trunk_calls, kept, &failures))
        trunk_calls++;
    (void)printf("%ld calls, %d of them failed, alone and with all after them; %ld of a trunk: %d faults\n", n, POINTS,
                 trunk_calls - 1, failures);
    return failures > 0 ? 1 : 0;
}
