/* device_args.c - opens the device that a command line names. */
#include "trainer/device_args.h"

#include <stdio.h>

enum ebm_status device_choice_from_args(const struct args *args, struct ebm_device_choice *ret_choice,
                                        struct ebm_error *reterr)
{
    const char *device = args_get(args, "device"), *precision = args_get(args, "precision");
    enum ebm_status status = ebm_device_choose(device != NULL ? device : "cpu", precision != NULL ? precision : "fp32",
                                               ret_choice, reterr);
    ret_choice->file = args_get(args, "device-plugin");
    if (status == EBM_OK && ret_choice->by_plugin && ret_choice->n_devices != 1)
        return ebm_error_set(reterr, EBM_INVALID, "--device", "one GPU at a time: expected cuda or cuda:N, got '%.40s'",
                             device);
    return status;
}

enum ebm_status device_from_args(const struct args *args, const struct ebm_device_ops **ret_ops,
                                 struct ebm_error *reterr)
{
    struct ebm_device_choice choice;
    struct ebm_error why;
    char name[EBM_DEVICE_NAME_BYTES];
    *ret_ops = ebm_device_cpu();
    enum ebm_status status = device_choice_from_args(args, &choice, reterr);
    if (status != EBM_OK || !choice.by_plugin)
        return status;
    status = ebm_device_open(&choice, EBM_CUDA_DRIVER, ret_ops, name, &why);
    if (status == EBM_OK) {
        (void)fprintf(stderr, "device: %s: %s\n", (*ret_ops)->name, name);
        return EBM_OK;
    }
    *ret_ops = ebm_device_cpu();
    if (!choice.may_fail)
        return ebm_error_set(reterr, status, "--device", "%s", why.text);
    (void)fprintf(stderr, "no GPU, computing on the CPU: %s\n", why.text);
    return EBM_OK;
}
