/* ebm_device_check.c - compares a plug-in's device with the CPU.
 *
 *   ebm-device-check PLUGIN [fp32|tf32|bf16 [T|V ROWS]]
 *
 * With a network's name it predicts so many rows twice instead (docs/GPU.md), for GPU_SIM_COUNT.
 * A line for each network: largest errors and what is allowed. Exit status 1 where they differ, 77 where the plug-in
 * has no device to run on. */
#include <stdio.h>
#include <stdlib.h>

#include "core/device_check.h"
#include "core/device_plugin.h"
#include "core/names.h"

#define SKIPPED 77

static int tell(const struct ebm_error *error, int exit_status)
{
    (void)fprintf(stderr, "ebm-device-check: %s: %s\n", error->where, error->text);
    return exit_status;
}

static int predict_rows(const struct ebm_device_ops *ops, const char *name, const char *rows)
{
#define X(word) #word,
    static const char *const names[] = {EBM_DEVICE_TIMED_MAP(X)};
#undef X
    struct ebm_error error;
    double seconds;
    size_t net = ebm_names_find(name, names, EBM_COUNT_OF(names));
    unsigned long B = strtoul(rows, NULL, 10);
    if (net == EBM_COUNT_OF(names) || B < 1 || B > 1024)
        return 2;
    enum ebm_status status = ebm_device_time(ops, (enum ebm_device_timed)net, (uint32_t)B, 1, &seconds, &error);
    return status == EBM_OK ? 0 : tell(&error, 1);
}

int main(int argc, char **argv)
{
    struct ebm_device_errors errors[EBM_DEVICE_CHECKS] = {{0}};
    struct ebm_device_choice choice;
    const struct ebm_device_ops *ops = NULL;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error;
    if (argc < 2 || argc == 4 || argc > 5) {
        (void)fprintf(stderr, "usage: ebm-device-check PLUGIN [fp32|tf32|bf16 [T|V ROWS]]\n");
        return 2;
    }
    if (ebm_device_choose("cuda", argc > 2 ? argv[2] : "fp32", &choice, &error) != EBM_OK)
        return tell(&error, 2);
    choice.file = argv[1];
    enum ebm_status status = ebm_device_open_unchecked(&choice, NULL, &ops, name, &error);
    if (status != EBM_OK)
        return tell(&error, status == EBM_DEVICE ? SKIPPED : 1);
    (void)printf("%s: %s\n", ops->name, name);
    if (argc == 5)
        return predict_rows(ops, argv[3], argv[4]);
    status = ebm_device_check(ops, errors, &error);
    for (uint32_t i = 0; i < EBM_DEVICE_CHECKS && errors[i].name != NULL; i++)
        ebm_device_errors_print(&errors[i]);
    return status == EBM_OK ? 0 : tell(&error, 1);
}
