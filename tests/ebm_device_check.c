/* ebm_device_check.c - compares a plug-in's device with the CPU.
 *
 *   ebm-device-check PLUGIN [fp32|tf32|bf16]
 *
 * A line for each network: largest errors and what is allowed. Exit status 1 where they differ, 77 where the plug-in
 * has no device to run on. */
#include <stdio.h>

#include "core/device_check.h"
#include "core/device_plugin.h"

#define SKIPPED 77

static int tell(const struct ebm_error *error, int exit_status)
{
    (void)fprintf(stderr, "ebm-device-check: %s: %s\n", error->where, error->text);
    return exit_status;
}

static void show(const struct ebm_device_errors *e)
{
    const double errors[] = {e->x_side, e->draws, e->log_weights, e->log_z, e->numbers, e->ranks};
    static const char *const what[] = {"x side", "draws", "log weights", "log Z", "moments", "ranks"};
    (void)printf("%-16s", e->name);
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++)
        (void)printf("%s %s %.1e of %.1e", i > 0 ? "," : " ", what[i], errors[i], e->allowed[i]);
    (void)printf("\n");
}

int main(int argc, char **argv)
{
    struct ebm_device_errors errors[EBM_DEVICE_CHECKS] = {{0}};
    struct ebm_device_choice choice;
    const struct ebm_device_ops *ops = NULL;
    char name[EBM_DEVICE_NAME_BYTES];
    struct ebm_error error;
    if (argc < 2 || argc > 3) {
        (void)fprintf(stderr, "usage: ebm-device-check PLUGIN [fp32|tf32|bf16]\n");
        return 2;
    }
    if (ebm_device_choose("cuda", argc == 3 ? argv[2] : "fp32", &choice, &error) != EBM_OK)
        return tell(&error, 2);
    choice.file = argv[1];
    enum ebm_status status = ebm_device_open_unchecked(&choice, NULL, &ops, name, &error);
    if (status != EBM_OK)
        return tell(&error, status == EBM_DEVICE ? SKIPPED : 1);
    (void)printf("%s: %s\n", ops->name, name);
    status = ebm_device_check(ops, errors, &error);
    for (uint32_t i = 0; i < EBM_DEVICE_CHECKS && errors[i].name != NULL; i++)
        show(&errors[i]);
    return status == EBM_OK ? 0 : tell(&error, 1);
}
