/* ebm_device_check.c - compares a plug-in's device with the CPU.
 *
 *   ebm-device-check PLUGIN [fp32|tf32|bf16 [more | T|V|C ROWS [launches]]]
 *
 * `more`: beside it steps of training, and many rows of T, as ebm-server --gpu-selftest has them. With a network's name
 * it predicts so many rows twice instead (docs/GPU.md), for GPU_SIM_COUNT; with `launches` it says what that launches.
 * A line for each network: largest errors and what is allowed. Exit status 1 where they differ, 77 where the plug-in
 * has no device to run on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_check.h"
#include "core/device_plugin.h"
#include "core/names.h"

#define SKIPPED 77
#define MANY 96u /* rows, more than fit into all slots */
#define FEW 7u

static int tell(const struct ebm_error *error, int exit_status)
{
    (void)fprintf(stderr, "ebm-device-check: %s: %s\n", error->where, error->text);
    return exit_status;
}

static int predict_rows(const struct ebm_device_ops *ops, const char *name, const char *rows, bool by_launches)
{
#define X(word) #word,
    static const char *const names[] = {EBM_DEVICE_TIMED_MAP(X)};
#undef X
    struct ebm_error error;
    struct ebm_device_times times;
    struct ebm_device_profile profile;
    size_t net = ebm_names_find(name, names, EBM_COUNT_OF(names));
    unsigned long B = strtoul(rows, NULL, 10);
    if (net == EBM_COUNT_OF(names) || B < 1 || B > 1024)
        return 2;
    enum ebm_status status = EBM_OK;
    if (!by_launches)
        status = ebm_device_time(ops, (enum ebm_device_timed)net, (uint32_t)B, 1, &times, &error);
    else
        status = ebm_device_profile(ops, (enum ebm_device_timed)net, (uint32_t)B, 1, &profile, &error);
    if (status == EBM_OK && by_launches)
        ebm_device_profile_print(&profile);
    return status == EBM_OK ? 0 : tell(&error, 1);
}

static enum ebm_status check_more(const struct ebm_device_ops *ops, struct ebm_error *reterr)
{
    struct ebm_device_training_errors errors[EBM_DEVICE_TRAININGS] = {{0}};
    enum ebm_status status = ebm_device_check_training(ops, errors, reterr);
    for (uint32_t i = 0; i < EBM_DEVICE_TRAININGS && errors[i].name != NULL; i++)
        ebm_device_training_print(&errors[i]);
    return status == EBM_OK ? ebm_device_check_many(ops, EBM_DEVICE_TIMED_T, MANY, FEW, reterr) : status;
}

int main(int argc, char **argv)
{
    struct ebm_device_errors errors[EBM_DEVICE_CHECKS] = {{0}};
    struct ebm_device_choice choice;
    const struct ebm_device_ops *ops = NULL;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error;
    if (argc < 2 || argc > 6 || (argc == 4 && strcmp(argv[3], "more") != 0) ||
        (argc == 6 && strcmp(argv[5], "launches") != 0)) {
        (void)fprintf(stderr, "usage: ebm-device-check PLUGIN [fp32|tf32|bf16 [more | T|V|C ROWS [launches]]]\n");
        return 2;
    }
    if (ebm_device_choose("cuda:all", argc > 2 ? argv[2] : "fp32", &choice, &error) != EBM_OK)
        return tell(&error, 2);
    choice.file = argv[1];
    enum ebm_status status = ebm_device_open_unchecked(&choice, NULL, &ops, name, &error);
    if (status != EBM_OK)
        return tell(&error, status == EBM_DEVICE ? SKIPPED : 1);
    (void)printf("%s: %s\n", ops->name, name);
    if (argc >= 5)
        return predict_rows(ops, argv[3], argv[4], argc == 6);
    status = ebm_device_check(ops, errors, &error);
    for (uint32_t i = 0; i < EBM_DEVICE_CHECKS && errors[i].name != NULL; i++)
        ebm_device_errors_print(&errors[i]);
    if (status == EBM_OK && argc == 4)
        status = check_more(ops, &error);
    return status == EBM_OK ? 0 : tell(&error, 1);
}
