/* pretend.c - a plug-in without any hardware, for tests of how programs open one: the CPU's table under another name.
 * EBM_PRETEND says how it fails: "old" (another table), "none" (no such device), "wrong" (other numbers), "differs" (of
 * the second device alone), "breaks" (the device that has a batch whose first row has the seed 666, or the seed 667
 * when none is broken yet). Nothing: it does not. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_internal.h"
#include "core/device_plugin.h"

#define DEVICES 3u

static struct ebm_device_ops ops;
static _Atomic uint32_t broken; /* a bit for each */

static bool pretends(const char *word)
{
    const char *how = getenv("EBM_PRETEND");
    return how != NULL && strcmp(how, word) == 0;
}

static enum ebm_status predict(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                               const struct ebm_task *tasks, uint32_t B)
{
    const uint32_t own = 1u << ctx->limits.device;
    const uint64_t seed = tasks[0].row.seed;
    enum ebm_status status = ebm_device_cpu()->predict(ctx, plan, h_x, tasks, B);
    if (status == EBM_OK && (pretends("wrong") || (pretends("differs") && ctx->limits.device == 1)))
        tasks[0].out->log_z += 1.0;
    if (pretends("breaks") && (seed == 666 || (seed == 667 && atomic_load(&broken) == 0)))
        atomic_fetch_or(&broken, own);
    return atomic_load(&broken) & own ? EBM_DEVICE : status;
}

static enum ebm_status open_devices(const uint32_t *numbers, uint32_t n, enum ebm_precision precision,
                                    const struct ebm_device_ops **ret_ops, char ret_name[EBM_DEVICE_NAME_BYTES],
                                    struct ebm_error *reterr)
{
    (void)precision;
    for (uint32_t i = 0; i < n; i++)
        if (pretends("none") || numbers[i] >= DEVICES)
            return ebm_error_set(reterr, EBM_DEVICE, "pretend", "there is no device %u", numbers[i]);
    ops = *ebm_device_cpu();
    ops.name = "pretend";
    ops.n_devices = n > 0 ? n : DEVICES;
    for (uint32_t i = 0; i < ops.n_devices; i++)
        ops.device_numbers[i] = n > 0 ? numbers[i] : i;
    ops.predict = predict;
    (void)snprintf(ret_name, EBM_DEVICE_NAME_BYTES, "no hardware at all");
    *ret_ops = &ops;
    return EBM_OK;
}

__attribute__((visibility("default"))) const struct ebm_device_plugin *ebm_device_plugin(void);
__attribute__((visibility("default"))) ebm_device_failure_fn ebm_device_plugin_failure;

void ebm_device_plugin_failure(uint32_t device, char *ret_text, size_t bytes)
{
    (void)device;
    (void)snprintf(ret_text, bytes, "%s", pretends("breaks") ? "a batch: of seed 666" : "");
}

const struct ebm_device_plugin *ebm_device_plugin(void)
{
    static struct ebm_device_plugin plugin = {EBM_DEVICE_ABI, sizeof(struct ebm_device_ops), open_devices};
    plugin.abi = pretends("old") ? EBM_DEVICE_ABI - 1 : EBM_DEVICE_ABI;
    return &plugin;
}
