/* test_cudnn.c - a plug-in beside a libcudnn of ours (fake/cudnn.cpp), which LD_LIBRARY_PATH finds.
 *
 *   test_cudnn PLUGIN.so LIBRARY
 *
 * Whatever cuDNN is like, the device's numbers are right; and its convolutions serve where it is right, always the same
 * and faster, and nowhere else. Where a call of it fails, our own convolutions serve, or the device says so. */
#include "core/device_check.h"
#include "core/device_plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS 3

static void (*fail_at)(long);
static long (*computed)(void), (*calls)(void), (*alive)(void), (*dnn_alive)(void);

static int find_hooks(const char *plugin, const char *library)
{
    void *sim = dlopen(plugin, RTLD_NOW | RTLD_LOCAL), *fake = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (sim == NULL || fake == NULL) {
        (void)printf("%s\n", dlerror());
        return -1;
    }
    *(void **)&computed = dlsym(fake, "fake_cudnn_computed");
    *(void **)&fail_at = dlsym(fake, "fake_cudnn_fail_at");
    *(void **)&calls = dlsym(fake, "fake_cudnn_calls");
    *(void **)&dnn_alive = dlsym(fake, "fake_cudnn_alive");
    *(void **)&alive = dlsym(sim, "gpu_sim_alive");
    return computed && fail_at && calls && alive && dnn_alive ? 0 : -1;
}

/* How many convolutions cuDNN computes in one check by that fake; -1: the numbers are wrong. */
static long check_with(const struct ebm_device_ops *ops, const char *mode)
{
    struct ebm_error error = {0};
    long before = computed();
    (void)setenv("FAKE_CUDNN", mode, 1);
    if (ebm_device_check(ops, NULL, &error) == EBM_OK)
        return computed() - before;
    (void)printf("FAIL %s: %s\n", mode, error.text);
    return -1;
}

/* A right one serves: more than the trials compute, which a slow one goes through, too; a wrong one fails in the first
 * of them, a moody one in the last, where more than one image goes at once. */
static int check_modes(const struct ebm_device_ops *ops)
{
    long none = check_with(ops, "none"), right = check_with(ops, "right"), slow = check_with(ops, "slow");
    long wrong = check_with(ops, "wrong"), moody = check_with(ops, "moody"), greedy = check_with(ops, "greedy");
    bool is_fine = none == 0 && greedy == 0 && wrong > 0 && moody > wrong && slow > wrong && right > moody &&
                   right > slow;
    (void)printf("%s computed by cuDNN: none %ld, greedy %ld, wrong %ld, moody %ld, slow %ld, right %ld\n",
                 is_fine ? "ok" : "FAIL", none, greedy, wrong, moody, slow, right);
    return is_fine ? 0 : 1;
}

/* One of its calls fails. */
static int check_failures(const struct ebm_device_ops *ops)
{
    struct ebm_error error = {0};
    long kept = alive();
    int failures = 0;
    fail_at(0);
    if (check_with(ops, "right") < 0)
        return 1;
    long n = calls();
    for (long i = 0; i < POINTS; i++) {
        fail_at(1 + i * (n - 1) / (POINTS - 1));
        if (ebm_device_check(ops, NULL, &error) != EBM_OK && strstr(error.text, "cuDNN") == NULL) {
            (void)printf("FAIL call %ld of cuDNN: %s\n", 1 + i * (n - 1) / (POINTS - 1), error.text);
            failures++;
        }
    }
    long left = alive() - kept + dnn_alive();
    (void)printf("%s %ld calls of cuDNN, %d of them failed: %ld left behind\n",
                 failures == 0 && left == 0 ? "ok" : "FAIL", n, POINTS, left);
    return failures == 0 && left == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct ebm_device_ops *ops = NULL;
    struct ebm_device_choice choice;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error = {0};
    if (argc != 3 || find_hooks(argv[1], argv[2]) != 0 || ebm_device_choose("cuda", "tf32", &choice, &error) != EBM_OK)
        return 2;
    choice.file = argv[1];
    if (ebm_device_open_unchecked(&choice, NULL, &ops, name, &error) != EBM_OK)
        return 2;
    return check_modes(ops) + check_failures(ops) > 0 ? 1 : 0;
}
