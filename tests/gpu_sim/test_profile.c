/* test_profile.c - what a device says of its launches (--gpu-selftest), beside what the simulator counts of them.
 *
 *   test_profile PLUGIN.so fp32|tf32|bf16 NETWORK ROWS [bytes]     GPU_SIM_COUNT=1
 *   test_profile PLUGIN.so failing
 *
 * With FAKE_CUDNN some convolutions are a cuDNN's. Of a batch every launch is named, and nothing else; each takes its
 * millisecond; FLOP are those of the network's shape. `bytes`, of kernels out of PTX: what a launch must move is what
 * it moves, within BYTES_OFF, of kernels that move much. failing: calls of a profile fail, one at a time; somebody says
 * so, and nothing is left behind. */
#include "core/device_check_nets.h"
#include "core/device_plugin.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 1024u
#define ROWS 64u /* most */
#define ROOM 80u
#define BYTES_OFF 0.05
#define MUCH 1e6 /* bytes */
#define MOST_D 3u
#define STEP 4L                          /* a launch has 7 or 9 calls, so that all kinds of them fail in turn */
#define OTHERS "work of another library" /* as the simulator counts it */

static void (*fail_at)(long, int);
static long (*counted)(const char *, double *), (*alive)(void);
static const char *(*failed)(void);
static int failures;

static void expect(bool holds, const char *what, const char *name, double got, double wanted)
{
    if (holds)
        return;
    (void)printf("FAIL %s of %s: %g, not %g\n", what, name, got, wanted);
    failures++;
}

static int find_hooks(const char *file)
{
    void *plugin = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        return -1;
    *(void **)&fail_at = dlsym(plugin, "gpu_sim_fail_at");
    *(void **)&counted = dlsym(plugin, "gpu_sim_counted");
    *(void **)&alive = dlsym(plugin, "gpu_sim_alive");
    *(void **)&failed = dlsym(plugin, "gpu_sim_failed");
    return fail_at != NULL && counted != NULL && alive != NULL && failed != NULL ? 0 : -1;
}

/* ---- a batch ---- */

struct batch {
    struct ebm_check_net net;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    uint32_t B;
    struct ebm_estimate_spec spec;
    struct ebm_estimate out[ROWS];
    double numbers[ROWS][5 * MOST_D]; /* mean, variance, quantiles */
    struct ebm_task tasks[ROWS];
    float *x;
};

/* done after either. */
static enum ebm_status batch_init(struct batch *b, const struct ebm_device_ops *ops, const struct ebm_check_shape *net,
                                  uint32_t B, struct ebm_error *reterr)
{
    static const double probabilities[3] = {0.05, 0.5, 0.95};
    const struct ebm_ctx_limits limits = {.max_rows = B, .max_samples = SAMPLES};
    b->B = B;
    b->plan = NULL;
    b->ctx = NULL;
    b->spec = (struct ebm_estimate_spec){
        .estimator = EBM_ESTIMATE_IMPORTANCE, .n_probabilities = 3, .probabilities = probabilities};
    b->x = NULL;
    if (ebm_check_net_init(&b->net, net))
        b->x = calloc((size_t)B * b->net.desc.X, sizeof *b->x);
    if (b->x == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "test", "no memory");
    ebm_check_fill(b->x, (size_t)B * b->net.desc.X, 5);
    for (uint32_t i = 0; i < B; i++) {
        b->out[i] = (struct ebm_estimate){
            .mean = b->numbers[i], .variance = b->numbers[i] + MOST_D, .quantiles = b->numbers[i] + 2 * MOST_D};
        b->tasks[i] = (struct ebm_task){.row = {.seed = i, .samples = SAMPLES}, .spec = &b->spec, .out = &b->out[i]};
    }
    return ebm_check_make_ready(ops, &b->net, &limits, &b->plan, &b->ctx, reterr);
}

static void batch_done(struct batch *b, const struct ebm_device_ops *ops)
{
    (void)ops->ctx_free(b->ctx);
    (void)ops->plan_unref(b->plan);
    ebm_check_net_done(&b->net);
    free(b->x);
}

static enum ebm_status profile(struct batch *b, const struct ebm_device_ops *ops, uint32_t runs,
                               struct ebm_launch_times times[ROOM], uint32_t *ret_n)
{
    return ops->profile(b->ctx, b->plan, b->x, b->tasks, b->B, runs, times, ROOM, ret_n);
}

/* ---- what is counted ---- */

static double weights_of(const struct ebm_net *net)
{
    double n = 0.0;
    for (uint32_t i = 0; i < net->n_layers; i++)
        n += (double)net->layers[i].in * net->layers[i].out;
    return n;
}

/* A multiplication and an addition for each weight of the networks of vectors: of the x side once a row, else once a
 * draw. */
static double flop_of(const struct batch *b)
{
    const struct ebm_net_desc *net = &b->net.desc;
    const double joint = (double)net->energy.layers[0].out * net->H;
    const double x = weights_of(&net->feature) + weights_of(&net->mean) + weights_of(&net->log_variance) +
                     weights_of(&net->weight) + joint;
    const double y = weights_of(&net->target) + weights_of(&net->energy) - joint;
    return 2.0 * b->B * (x + SAMPLES * y);
}

static bool is_of_weights(const char *name)
{
    return strstr(name, "product") != NULL || strcmp(name, "layers_k") == 0 || strcmp(name, "wide_k") == 0 ||
           strcmp(name, "dot_k") == 0;
}

/* Which the simulator knows by no name. */
static bool is_of_dnn(const struct ebm_launch_times *t)
{
    return strncmp(t->name, "cuDNN ", 6) == 0;
}

/* Of so many batches, of which the first is not timed. */
static void check_launches(const struct ebm_launch_times *t, uint32_t batches, long times, double bytes, bool has_bytes)
{
    if (is_of_dnn(t))
        return;
    const double seconds = batches > 1 ? 1e-3 * t->launches : 0.0, moved = bytes / batches;
    expect(times == (long)(t->launches * batches), "launches", t->name, (double)times, (double)t->launches * batches);
    expect(fabs(t->seconds - seconds) < 1e-9, "seconds", t->name, t->seconds, seconds);
    if (has_bytes && t->bytes > MUCH)
        expect(fabs(t->bytes - moved) <= BYTES_OFF * moved, "bytes", t->name, t->bytes, moved);
    if (t->kind == EBM_LAUNCH_COPY)
        expect(2.0 * t->bytes == moved, "bytes", t->name, 2.0 * t->bytes, moved);
}

static void check_batch(struct batch *b, const struct ebm_device_ops *ops, bool has_bytes)
{
    struct ebm_launch_times times[ROOM];
    double before[ROOM], bytes, unused, flop = 0.0;
    long calls[ROOM], all = 0, launches = 0, dnn = 0;
    const uint32_t batches = has_bytes ? 1 : 3; /* PTX takes its time */
    uint32_t n = 0, again = 0;
    expect(profile(b, ops, 0, times, &n) == EBM_OK, "a run", "a batch", 1.0, 0.0);
    for (uint32_t i = 0; i < n; i++)
        calls[i] = counted(times[i].name, &before[i]);
    long delays = counted("delay_k", &unused), first = counted("", &unused), others = counted(OTHERS, &unused);
    expect(profile(b, ops, batches - 1, times, &again) == EBM_OK && n == again, "names", "a batch", again, n);
    all = counted("", &unused) - first - (counted("delay_k", &unused) - delays);
    expect(strcmp(times[0].name, "nothing") == 0 && times[0].launches == 1, "launches", "nothing", times[0].launches,
           1.0);
    for (uint32_t i = 1; i < n; i++) {
        long called = counted(times[i].name, &bytes) - calls[i];
        check_launches(&times[i], batches, called, bytes - before[i], has_bytes);
        launches += times[i].launches;
        dnn += is_of_dnn(&times[i]) ? times[i].launches : 0;
        flop += is_of_weights(times[i].name) ? times[i].flop : 0.0;
    }
    expect(all == launches * (long)batches, "launches", "a batch", (double)all, (double)launches * batches);
    others = counted(OTHERS, &unused) - others;
    expect(others == dnn * (long)batches && (dnn > 0) == (getenv("FAKE_CUDNN") != NULL), "launches", "cuDNN",
           (double)others, (double)dnn * batches);
    if (b->net.desc.trunk.n_ops == 0)
        expect(flop >= flop_of(b) && flop < 1.02 * flop_of(b), "FLOP", "all weights", flop, flop_of(b));
}

/* ---- calls that fail ---- */

/* A search for a product that there is another way for may fail unheard. */
static bool may_be_silent(void)
{
    return failed() != NULL && strstr(failed(), "MatmulAlgo") != NULL;
}

/* The at-th call of a profile fails. False: there are not so many. */
static bool check_failing(const struct ebm_device_ops *ops, long at, long kept)
{
    static struct batch b;
    struct ebm_launch_times times[ROOM];
    struct ebm_error error = {0};
    char why[EBM_DEVICE_FAILURE_BYTES] = "";
    uint32_t n = 0;
    enum ebm_status status = batch_init(&b, ops, &ebm_check_timed[EBM_DEVICE_TIMED_T], 2, &error);
    expect(status == EBM_OK, "making ready", "T", (double)at, 0.0);
    fail_at(at, 0);
    status = profile(&b, ops, 1, times, &n);
    bool has_failed = failed() != NULL, is_said = status == EBM_DEVICE || may_be_silent();
    const char *call = has_failed ? failed() : "nothing";
    ebm_device_failure(0, why, sizeof why);
    fail_at(0, 0);
    if (has_failed)
        expect(is_said && (status == EBM_OK || why[0] != 0), "a failure", call, (double)at, 0.0);
    else
        expect(status == EBM_OK, "a profile", "no failure", (double)at, 0.0);
    batch_done(&b, ops);
    expect(alive() == kept, "what is left behind", call, (double)(alive() - kept), 0.0);
    return has_failed;
}

static int check_all_failing(const struct ebm_device_ops *ops)
{
    long kept = alive(), at = 1;
    while (check_failing(ops, at, kept))
        at += STEP;
    (void)printf("one in %ld of some %ld calls of a profile failed: %d faults\n", STEP, at, failures);
    return at < 100 || failures > 0 ? 1 : 0;
}

/* Of those that are measured, or compared. */
static const struct ebm_check_shape *find_network(const char *name)
{
    for (size_t i = 0; i < EBM_COUNT_OF(ebm_check_timed); i++)
        if (strcmp(ebm_check_timed[i].name, name) == 0)
            return &ebm_check_timed[i];
    for (size_t i = 0; i < EBM_COUNT_OF(ebm_check_shapes); i++)
        if (strcmp(ebm_check_shapes[i].name, name) == 0)
            return &ebm_check_shapes[i];
    return NULL;
}

static int check_network(const struct ebm_device_ops *ops, const char *name, const char *rows, bool has_bytes)
{
    static struct batch b;
    struct ebm_error error = {0};
    const struct ebm_check_shape *net = find_network(name);
    unsigned long B = strtoul(rows, NULL, 10);
    if (net == NULL || B < 1 || B > ROWS)
        return 2;
    if (batch_init(&b, ops, net, (uint32_t)B, &error) == EBM_OK)
        check_batch(&b, ops, has_bytes);
    else
        expect(false, error.text, name, 0.0, 0.0);
    batch_done(&b, ops);
    (void)printf("%s, %lu rows: %d faults\n", name, B, failures);
    return failures > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    const struct ebm_device_ops *ops = NULL;
    struct ebm_device_choice choice;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error = {0};
    bool is_failing = argc == 3 && strcmp(argv[2], "failing") == 0;
    if ((!is_failing && argc != 5 && argc != 6) || find_hooks(argv[1]) != 0 ||
        ebm_device_choose("cuda", is_failing ? "tf32" : argv[2], &choice, &error) != EBM_OK)
        return 2;
    choice.file = argv[1];
    if (ebm_device_open_unchecked(&choice, NULL, &ops, name, &error) != EBM_OK)
        return 2;
    return is_failing ? check_all_failing(ops) : check_network(ops, argv[3], argv[4], argc == 6);
}
