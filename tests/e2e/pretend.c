/* pretend.c - a plug-in without any hardware, for tests of how programs open one: the CPU's table under another name.
 * EBM_PRETEND says how it fails: "old" (another table), "none" (no such device), "wrong" (other numbers), "breaks" (a
 * batch whose first row has the seed 666). Nothing: it does not. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_plugin.h"

static struct ebm_device_ops ops;
static _Atomic bool is_wrong;

static bool pretends(const char *word)
{
    const char *how = getenv("EBM_PRETEND");
    return how != NULL && strcmp(how, word) == 0;
}

static enum ebm_status predict(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                               const struct ebm_task *tasks, uint32_t B)
{
    enum ebm_status status = ebm_device_cpu()->predict(ctx, plan, h_x, tasks, B);
    if (status == EBM_OK && is_wrong)
        tasks[0].out->log_z += 1.0;
    return pretends("breaks") && tasks[0].row.seed == 666 ? EBM_DEVICE : status;
}

static enum ebm_status open_device(uint32_t index, enum ebm_precision precision, const struct ebm_device_ops **ret_ops,
                                   char ret_name[EBM_DEVICE_NAME_BYTES], struct ebm_error *reterr)
{
    (void)precision;
    if (pretends("none") || index > 0)
        return ebm_error_set(reterr, EBM_DEVICE, "pretend", "there is no device %u", index);
    is_wrong = pretends("wrong");
    ops = *ebm_device_cpu();
    ops.name = "pretend";
    ops.predict = predict;
    (void)snprintf(ret_name, EBM_DEVICE_NAME_BYTES, "no hardware at all");
    *ret_ops = &ops;
    return EBM_OK;
}

__attribute__((visibility("default"))) const struct ebm_device_plugin *ebm_device_plugin(void);
__attribute__((visibility("default"))) ebm_device_failure_fn ebm_device_plugin_failure;

void ebm_device_plugin_failure(char *ret_text, size_t bytes)
{
    (void)snprintf(ret_text, bytes, "%s", pretends("breaks") ? "a batch: of seed 666" : "");
}

const struct ebm_device_plugin *ebm_device_plugin(void)
{
    static struct ebm_device_plugin plugin = {EBM_DEVICE_ABI, sizeof(struct ebm_device_ops), open_device};
    plugin.abi = pretends("old") ? EBM_DEVICE_ABI - 1 : EBM_DEVICE_ABI;
    return &plugin;
}
