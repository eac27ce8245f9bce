/* test_devices.c - several devices behind one table: each answers with the same bytes, from one thread in turn and from
 * threads of their own, and one that is lost takes nothing with it but its contexts.
 *
 *   test_devices PLUGIN.so     of a simulated make, with GPU_SIM_DEVICES=3 and GPU_SIM_LOST=FILE; with
 *                              GPU_SIM_UNLIKE=1, too: devices that are not alike are refused
 *
 * Opened are the devices 2 and 0, in that order. The simulator sees to it that nothing of one touches the other. */
#include "core/device_check_nets.h"
#include "core/device_plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEVICES = 2, ROWS = 3, SAMPLES = 150, NETS = 3, TURNS = 1, EXACT = 1, MEMORY_OF_EXACT = 3, PER_DEVICE = 2 };

struct answer {
    double mean[ROWS][LIMIT_TARGET_DIM], log_z[ROWS];
};

struct context {
    const struct ebm_device_ops *ops;
    struct ebm_plan *const *plans; /* (NETS) */
    struct ebm_ctx *ctx;
    struct answer answers[NETS];
    enum ebm_status status;
};

static const uint32_t shapes[NETS] = {1, 3, 6}; /* wide, exact, of images */
static struct ebm_check_net nets[NETS];
static int n_failed;
static void (*fail_at)(long, int), (*fail_only)(const char *);
static const char *(*failed)(void);

static bool find_hooks(const char *file)
{
    void *plugin = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        return false;
    *(void **)&fail_at = dlsym(plugin, "gpu_sim_fail_at");
    *(void **)&fail_only = dlsym(plugin, "gpu_sim_fail_only");
    *(void **)&failed = dlsym(plugin, "gpu_sim_failed");
    return fail_at != NULL && fail_only != NULL && failed != NULL;
}

static void expect(bool is_fine, const char *what)
{
    n_failed += !is_fine;
    (void)printf("%s %s\n", is_fine ? "ok  " : "FAIL", what);
}

static enum ebm_status ask(struct context *c, uint32_t net)
{
    static const struct ebm_estimate_spec specs[] = {{.estimator = EBM_ESTIMATE_IMPORTANCE},
                                                     {.estimator = EBM_ESTIMATE_EXACT}};
    float x[ROWS * EBM_CHECK_IMAGE_NUMBERS];
    struct ebm_estimate out[ROWS] = {{0}};
    struct ebm_task tasks[ROWS];
    struct answer *answer = &c->answers[net];
    ebm_check_fill(x, EBM_COUNT_OF(x), 7);
    memset(answer, 0, sizeof *answer);
    for (uint32_t b = 0; b < ROWS; b++) {
        out[b].mean = answer->mean[b];
        tasks[b] = (struct ebm_task){.row = {.seed = 3, .row_in_request = b, .samples = SAMPLES},
                                     .spec = &specs[ebm_check_shapes[shapes[net]].is_exact],
                                     .out = &out[b]};
    }
    enum ebm_status status = c->ops->predict(c->ctx, c->plans[net], x, tasks, ROWS);
    for (uint32_t b = 0; b < ROWS; b++)
        answer->log_z[b] = out[b].log_z;
    return status;
}

static void *ask_all(void *context)
{
    struct context *c = context;
    for (uint32_t turn = 0; c->status == EBM_OK && turn < TURNS; turn++)
        for (uint32_t net = 0; c->status == EBM_OK && net < NETS; net++)
            c->status = ask(c, net);
    return NULL;
}

static enum ebm_status context_init(struct context *c, const struct ebm_device_ops *ops, uint32_t device,
                                    struct ebm_plan *const plans[NETS], struct ebm_error *reterr)
{
    const struct ebm_ctx_limits limits = {.device = device, .max_rows = ROWS, .max_samples = SAMPLES};
    *c = (struct context){.ops = ops, .plans = plans};
    enum ebm_status status = ops->ctx_new(&limits, &c->ctx, reterr);
    for (uint32_t i = 0; status == EBM_OK && i < NETS; i++)
        status = ops->ctx_prepare(c->ctx, plans[i], reterr);
    return status;
}

static bool same(const struct context *a, const struct context *b)
{
    return memcmp(a->answers, b->answers, sizeof a->answers) == 0;
}

/* ---- what is shown ---- */

static void check_in_turn(struct context *contexts)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t net = 0; net < NETS; net++)
        for (uint32_t i = 0; status == EBM_OK && i < DEVICES * PER_DEVICE; i++)
            status = ask(&contexts[i], net);
    bool is_same = true;
    for (uint32_t i = 1; i < DEVICES * PER_DEVICE; i++)
        is_same = is_same && same(&contexts[0], &contexts[i]);
    expect(status == EBM_OK && is_same, "one thread, devices in turn: the same bytes");
}

static void check_at_once(struct context *contexts)
{
    pthread_t threads[DEVICES * PER_DEVICE];
    const struct context before = contexts[0];
    bool is_same = true;
    for (uint32_t i = 0; i < DEVICES * PER_DEVICE; i++)
        if (pthread_create(&threads[i], NULL, ask_all, &contexts[i]) != 0)
            exit(1);
    for (uint32_t i = 0; i < DEVICES * PER_DEVICE; i++) {
        (void)pthread_join(threads[i], NULL);
        is_same = is_same && contexts[i].status == EBM_OK && same(&before, &contexts[i]);
    }
    expect(is_same, "two threads a device: the same bytes");
}

static void lose(const char *which)
{
    FILE *file = fopen(getenv("GPU_SIM_LOST"), "w");
    if (file == NULL || fprintf(file, "%s", which) < 0 || fclose(file) != 0)
        exit(1);
}

/* Memory that is not there for a network costs the plan, and no device. */
static void check_memory(const struct ebm_device_ops *ops)
{
    struct ebm_error error;
    uint32_t n_failed_here = 0;
    bool is_right = true, has_failed = true;
    fail_only("cudaMalloc");
    for (long at = 1; has_failed; at++) {
        struct ebm_plan *plan = NULL;
        fail_at(at, 0);
        enum ebm_status status = ops->plan_new(&nets[EXACT].desc, nets[EXACT].params, 0, &plan, &error);
        has_failed = failed() != NULL;
        n_failed_here += has_failed;
        is_right = is_right && status == (has_failed ? EBM_NO_MEMORY : EBM_OK);
        (void)ops->plan_unref(plan);
    }
    fail_at(0, 0);
    fail_only(NULL);
    expect(is_right && n_failed_here == DEVICES * MEMORY_OF_EXACT, "no memory for a network: no device is lost of it");
}

/* The first of the table is number 2. */
static void check_losses(struct context *contexts, const struct ebm_device_ops *ops)
{
    char why[EBM_DEVICE_FAILURE_BYTES];
    const struct context before = contexts[PER_DEVICE];
    struct ebm_plan *plans[NETS] = {NULL};
    struct context later = {0}, again = {0};
    struct ebm_error error;
    lose("2");
    expect(ask(&contexts[0], 0) == EBM_DEVICE && ask(&contexts[1], 1) == EBM_DEVICE, "a device that is lost says so");
    ebm_device_failure(0, why, sizeof why);
    expect(strncmp(why, "device 2: ", 10) == 0, "by its number");
    (void)ask_all(&contexts[PER_DEVICE]);
    expect(contexts[PER_DEVICE].status == EBM_OK && same(&before, &contexts[PER_DEVICE]), "the other one goes on");
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < NETS; i++)
        status = ops->plan_new(&nets[i].desc, nets[i].params, 0, &plans[i], &error);
    expect(status == EBM_OK && context_init(&later, ops, 1, plans, &error) == EBM_OK && ask(&later, 0) == EBM_OK,
           "and takes a network more");
    expect(context_init(&again, ops, 0, plans, &error) == EBM_DEVICE, "which the lost one does not");
    lose("");
    expect(ask(&contexts[PER_DEVICE], 0) == EBM_DEVICE, "both are lost");
    (void)ops->ctx_free(later.ctx);
    (void)ops->ctx_free(again.ctx);
    for (uint32_t i = 0; i < NETS; i++)
        (void)ops->plan_unref(plans[i]);
    struct ebm_plan *none = NULL;
    expect(ops->plan_new(&nets[0].desc, nets[0].params, 0, &none, &error) == EBM_DEVICE, "and no network is taken");
}

static int run(const struct ebm_device_ops *ops)
{
    struct ebm_error error = {0};
    struct ebm_plan *plans[NETS] = {NULL};
    struct context contexts[DEVICES * PER_DEVICE] = {{0}};
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < NETS; i++)
        status = ebm_check_net_init(&nets[i], &ebm_check_shapes[shapes[i]])
                     ? ops->plan_new(&nets[i].desc, nets[i].params, 0, &plans[i], &error)
                     : EBM_NO_MEMORY;
    for (uint32_t i = 0; status == EBM_OK && i < DEVICES * PER_DEVICE; i++)
        status = context_init(&contexts[i], ops, i / PER_DEVICE, plans, &error);
    expect(status == EBM_OK, status == EBM_OK ? "two devices are ready" : error.text);
    if (status == EBM_OK) {
        check_in_turn(contexts);
        check_at_once(contexts);
        check_memory(ops);
        check_losses(contexts, ops);
    }
    for (uint32_t i = 0; i < DEVICES * PER_DEVICE; i++)
        (void)ops->ctx_free(contexts[i].ctx);
    for (uint32_t i = 0; i < NETS; i++) {
        (void)ops->plan_unref(plans[i]);
        ebm_check_net_done(&nets[i]);
    }
    return n_failed > 0;
}

/* The second is another kind. */
static int run_unlike(const char *plugin)
{
    struct ebm_device_choice choice;
    const struct ebm_device_ops *ops = NULL;
    struct ebm_error error = {0};
    char name[EBM_DEVICE_NAME_BYTES];
    if (ebm_device_choose("cuda:0,1", "tf32", &choice, &error) != EBM_OK)
        return 2;
    choice.file = plugin;
    enum ebm_status status = ebm_device_open_unchecked(&choice, NULL, &ops, name, &error);
    expect(status == EBM_INVALID &&
               strstr(error.text, "device 1 (another GPU on the CPU) is not like device 0") != NULL,
           error.text);
    return n_failed > 0;
}

int main(int argc, char **argv)
{
    struct ebm_device_choice choice;
    const struct ebm_device_ops *ops = NULL;
    struct ebm_error error = {0};
    char name[EBM_DEVICE_NAME_BYTES];
    if (argc != 2 || !find_hooks(argv[1]) || getenv("GPU_SIM_LOST") == NULL ||
        ebm_device_choose("cuda:2,0", "tf32", &choice, &error) != EBM_OK)
        return 2;
    (void)unlink(getenv("GPU_SIM_LOST"));
    if (getenv("GPU_SIM_UNLIKE") != NULL)
        return run_unlike(argv[1]);
    choice.file = argv[1];
    if (ebm_device_open_unchecked(&choice, NULL, &ops, name, &error) != EBM_OK) {
        (void)printf("FAIL %s\n", error.text);
        return 1;
    }
    expect(ops->n_devices == DEVICES && strncmp(name, "2 x ", 4) == 0, name);
    int status = run(ops);
    (void)unlink(getenv("GPU_SIM_LOST"));
    return status;
}
