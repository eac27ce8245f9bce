/* test_failing.c - calls of CUDA that fail, under the plug-in: the check of the device must say so and leave nothing.
 *
 *   test_failing PLUGIN.so     of a simulated make; POINTS calls of all, alone and with all calls after them */
#include "core/device_check.h"
#include "core/device_plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { POINTS = 16 };

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
    if ((status != EBM_OK || may_be_silent(sticky && !is_last)) && left == 0)
        return 0;
    (void)printf("FAIL call %ld (%s), %s: %s, %ld left behind\n", at, failed(), sticky ? "and all after it" : "alone",
                 status == EBM_OK ? "nobody says so" : error.text, left);
    return 1;
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
    (void)printf("%ld calls, %d of them failed, alone and with all after them: %d faults\n", n, POINTS, failures);
    return failures > 0 ? 1 : 0;
}
