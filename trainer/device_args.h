/* device_args.h - where a command computes. */
#ifndef EBM_TRAINER_DEVICE_ARGS_H
#define EBM_TRAINER_DEVICE_ARGS_H

#include "core/device_plugin.h"
#include "trainer/args.h"

/* Rows of such a command's table. */
#define DEVICE_ARGS                                                                                                    \
    {.name = "device", .value = "NAME", .help = "cpu (default), cuda, cuda:N, or auto: a GPU where one answers"},      \
        {.name = "device-plugin", .value = "FILE", .help = "plug-in of --device cuda (default: the installed one)"},   \
    {                                                                                                                  \
        .name = "precision", .value = "WORD",                                                                          \
        .help = "of a GPU's matrix products over draws: fp32 (default), tf32, bf16"                                    \
    }

/* What they say; INVALID: they say what there is not. Borrows args. */
enum ebm_status device_choice_from_args(const struct args *args, struct ebm_device_choice *ret_choice,
                                        struct ebm_error *reterr) EBM_MUST_USE;

/* Opens what they say; a GPU is told of in one line on stderr, and so is what it was not found for by auto. Borrow:
 * static. */
enum ebm_status device_from_args(const struct args *args, const struct ebm_device_ops **ret_ops,
                                 struct ebm_error *reterr) EBM_MUST_USE;

#endif
