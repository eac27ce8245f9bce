/* test_cudnn.c - a plug-in beside a libcudnn of ours (fake/cudnn.cpp), which LD_LIBRARY_PATH finds.
 *
 *   test_cudnn PLUGIN.so LIBRARY
 *
 * Whatever cuDNN is like, the device's numbers are right; and its convolutions serve where it is right, always the same
 * and faster, and nowhere else. Where a call of it fails, our own convolutions serve, or the device says so. What was
 * chosen for a shape stays chosen while the process lives: hence a process for each case. */
#include "core/device_check_nets.h"
#include "core/device_plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POINTS 2
#define MOST 64 /* numbers of an image's features */

static const char *plugin, *library;

/* ---- the device, and a process for it ---- */

static void (*fail_at)(long);
static long (*computed)(void), (*calls)(void), (*alive)(void), (*dnn_alive)(void);

static bool find_hooks(void)
{
    void *sim = dlopen(plugin, RTLD_NOW | RTLD_LOCAL), *fake = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (sim == NULL || fake == NULL) {
        (void)printf("%s\n", dlerror());
        return false;
    }
    *(void **)&computed = dlsym(fake, "fake_cudnn_computed");
    *(void **)&fail_at = dlsym(fake, "fake_cudnn_fail_at");
    *(void **)&calls = dlsym(fake, "fake_cudnn_calls");
    *(void **)&dnn_alive = dlsym(fake, "fake_cudnn_alive");
    *(void **)&alive = dlsym(sim, "gpu_sim_alive");
    return computed && fail_at && calls && alive && dnn_alive;
}

/* NULL: it does not open. */
static const struct ebm_device_ops *open_device(struct ebm_error *error)
{
    const struct ebm_device_ops *ops = NULL;
    struct ebm_device_choice choice;
    char name[EBM_DEVICE_NAME_BYTES];
    if (!find_hooks() || ebm_device_choose("cuda", "tf32", &choice, error) != EBM_OK)
        return NULL;
    choice.file = plugin;
    return ebm_device_open_unchecked(&choice, NULL, &ops, name, error) == EBM_OK ? ops : NULL;
}

/* What fn gives in a process of its own; -1: that ended. */
static long in_process(long (*fn)(const char *mode), const char *mode)
{
    long found = -1;
    int ends[2];
    (void)fflush(stdout);
    if (pipe(ends) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        found = fn(mode);
        (void)fflush(stdout);
        _exit(write(ends[1], &found, sizeof found) == sizeof found ? 0 : 1);
    }
    (void)close(ends[1]);
    if (child < 0 || read(ends[0], &found, sizeof found) != sizeof found)
        found = -1;
    (void)close(ends[0]);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    return found;
}

/* ---- what cuDNN is like ---- */

/* How many convolutions cuDNN computes in one check by that fake; -1: the numbers are wrong. */
static long check_with(const char *mode)
{
    struct ebm_error error = {0};
    const struct ebm_device_ops *ops = open_device(&error);
    (void)setenv("FAKE_CUDNN", mode, 1);
    if (ops != NULL && ebm_device_check(ops, NULL, &error) == EBM_OK)
        return computed();
    (void)printf("FAIL %s: %s\n", mode, error.text);
    return -1;
}

/* A right one serves: more than the trials compute, which a slow one goes through, too; a wrong one fails in the first
 * of them, a moody one in the last, where more than one image goes at once. */
static int check_modes(void)
{
    long none = in_process(check_with, "none"), right = in_process(check_with, "right");
    long slow = in_process(check_with, "slow"), wrong = in_process(check_with, "wrong");
    long moody = in_process(check_with, "moody"), greedy = in_process(check_with, "greedy");
    bool is_fine = none == 0 && greedy == 0 && wrong > 0 && moody > wrong && slow > wrong && right > moody &&
                   right > slow;
    (void)printf("%s computed by cuDNN: none %ld, greedy %ld, wrong %ld, moody %ld, slow %ld, right %ld\n",
                 is_fine ? "ok" : "FAIL", none, greedy, wrong, moody, slow, right);
    return is_fine ? 0 : 1;
}

/* ---- calls that fail ---- */

/* Of a check, by a right one. */
static long count_calls(const char *mode)
{
    return check_with(mode) >= 0 ? calls() : -1;
}

/* That call fails: 0 where it is as it should be. */
static long check_failure(const char *call)
{
    struct ebm_error error = {0};
    const struct ebm_device_ops *ops = open_device(&error);
    if (ops == NULL)
        return -1;
    long kept = alive();
    (void)setenv("FAKE_CUDNN", "right", 1);
    fail_at(strtol(call, NULL, 10));
    enum ebm_status status = ebm_device_check(ops, NULL, &error);
    long left = alive() - kept + dnn_alive();
    if (left == 0 && (status == EBM_OK || strstr(error.text, "cuDNN") != NULL))
        return 0;
    (void)printf("FAIL call %s of cuDNN: %ld left behind, %s\n", call, left, error.text);
    return 1;
}

static int check_failures(void)
{
    long n = in_process(count_calls, "right"), failures = n < POINTS;
    for (long i = 0; n >= POINTS && i < POINTS; i++) {
        char call[32];
        (void)snprintf(call, sizeof call, "%ld", 1 + i * (n - 1) / (POINTS - 1));
        failures += in_process(check_failure, call) != 0;
    }
    (void)printf("%s %ld calls of cuDNN, %d of them failed\n", failures == 0 ? "ok" : "FAIL", n, POINTS);
    return failures == 0 ? 0 : 1;
}

/* ---- what stays chosen ---- */

/* A model is loaded, and asked for the features of one image by a context of so many. How many convolutions cuDNN
 * computes for it; -1: it failed. */
static long serve(const struct ebm_device_ops *ops, uint32_t seed, uint32_t max_rows, float ret_features[MOST])
{
    struct ebm_check_shape shape = ebm_check_shapes[EBM_DEVICE_CHECKS - 1];
    const struct ebm_ctx_limits limits = {.max_rows = max_rows, .max_samples = 128};
    struct ebm_check_net net;
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    struct ebm_error error = {0};
    float x[EBM_CHECK_IMAGE_NUMBERS];
    shape.seed = seed;
    memset(ret_features, 0, MOST * sizeof *ret_features);
    bool ok = ebm_check_net_init(&net, &shape) && net.desc.H <= MOST &&
              ebm_check_make_ready(ops, &net, &limits, &plan, &ctx, &error) == EBM_OK;
    ebm_check_fill(x, EBM_CHECK_IMAGE_NUMBERS, 3);
    long before = computed();
    ok = ok && ops->features(ctx, plan, x, 1) == EBM_OK && ops->sync(ctx) == EBM_OK &&
         ops->fetch(ctx, EBM_FETCH_FEATURES, 0, ret_features) == EBM_OK;
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    ebm_check_net_done(&net);
    return ok ? computed() - before : -1;
}

/* Where cuDNN won it serves on, though it is slow by now: a model loaded again, another version of it, one whose
 * contexts take more images; and a model's bytes stay. */
static long check_won(const char *mode)
{
    struct ebm_error error = {0};
    const struct ebm_device_ops *ops = open_device(&error);
    float first[MOST], again[MOST], other[MOST], more[MOST];
    (void)setenv("FAKE_CUDNN", mode, 1);
    long by_first = ops != NULL ? serve(ops, 5, 1, first) : -1;
    (void)setenv("FAKE_CUDNN", "slow", 1);
    if (by_first < 1 || serve(ops, 5, 1, again) != by_first || serve(ops, 6, 1, other) != by_first ||
        serve(ops, 5, 4, more) != by_first)
        return 1;
    return memcmp(first, again, sizeof first) == 0 && memcmp(first, more, sizeof first) == 0 &&
                   memcmp(first, other, sizeof first) != 0
               ? 0
               : 2;
}

/* Where it lost it does not serve later, though it is right and fast by now. */
static long check_lost(const char *mode)
{
    struct ebm_error error = {0};
    const struct ebm_device_ops *ops = open_device(&error);
    float first[MOST], again[MOST];
    (void)setenv("FAKE_CUDNN", mode, 1);
    long by_first = ops != NULL ? serve(ops, 5, 4, first) : -1;
    (void)setenv("FAKE_CUDNN", "right", 1);
    return by_first == 0 && serve(ops, 5, 4, again) == 0 && memcmp(first, again, sizeof first) == 0 ? 0 : 1;
}

/* Where it won for one image, it does not serve contexts of more in which an image's bytes are others. */
static long check_more(const char *mode)
{
    struct ebm_error error = {0};
    const struct ebm_device_ops *ops = open_device(&error);
    float numbers[MOST];
    (void)setenv("FAKE_CUDNN", "right", 1);
    long by_first = ops != NULL ? serve(ops, 5, 1, numbers) : -1;
    (void)setenv("FAKE_CUDNN", mode, 1);
    return by_first > 0 && serve(ops, 5, 4, numbers) == 0 && serve(ops, 5, 1, numbers) == 0 ? 0 : 1;
}

static int check_choices(void)
{
    const struct {
        const char *what, *mode;
        long (*check)(const char *mode);
    } cases[] = {{"won", "right", check_won},
                 {"lost by time", "slow", check_lost},
                 {"lost by numbers", "wrong", check_lost},
                 {"lost for want of a handle", "none", check_lost},
                 {"won for one image, lost for two", "moody", check_more}};
    int failures = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        long wrong = in_process(cases[i].check, cases[i].mode);
        (void)printf("%s once chosen, it stays so: %s\n", wrong == 0 ? "ok" : "FAIL", cases[i].what);
        failures += wrong != 0;
    }
    return failures;
}

/* ---- EBM_CUDNN ---- */

static long check_off(const char *word)
{
    float numbers[MOST];
    struct ebm_error error = {0};
    (void)setenv("EBM_CUDNN", word, 1);
    (void)setenv("FAKE_CUDNN", "right", 1);
    const struct ebm_device_ops *ops = open_device(&error);
    if (ops == NULL)
        return strstr(error.text, "auto or off") != NULL ? -2 : -1;
    return serve(ops, 5, 4, numbers);
}

static int check_words(void)
{
    long automatic = in_process(check_off, "auto"), empty = in_process(check_off, ""),
         off = in_process(check_off, "off"), other = in_process(check_off, "on");
    bool is_fine = automatic > 0 && empty == automatic && off == 0 && other == -2;
    (void)printf("%s EBM_CUDNN: auto %ld, empty %ld, off %ld, another word %ld\n", is_fine ? "ok" : "FAIL", automatic,
                 empty, off, other);
    return is_fine ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    plugin = argv[1], library = argv[2];
    (void)unsetenv("EBM_CUDNN");
    return check_modes() + check_failures() + check_choices() + check_words() > 0 ? 1 : 0;
}
