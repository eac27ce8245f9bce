/* device_check.h - does a device compute what the CPU computes? Small networks of random numbers, a few rows each, of
 * vectors and of images,
 * between them every way that an accelerator's predictions can go: the x side, draws, log q, f, what is made of them,
 * and exact answers. Training is not compared. */
#ifndef EBM_CORE_DEVICE_CHECK_H
#define EBM_CORE_DEVICE_CHECK_H

#include "core/device.h"

#define EBM_DEVICE_CHECKS 7u

/* Largest errors of one network's rows: of h and mixtures, relative to their largest number; of draws, relative to
 * theirs; and relative to the range of the log weights: of normalised log weights, of log Z, of moments and their like
 * (where they are above 1 over them), of the cumulative weight up to quantiles and fair draws. Of exact answers moments
 * and their like, and as ranks quantiles and draws, as they are. */
struct ebm_device_errors {
    const char *name;
    double x_side, draws, log_weights, log_z, numbers, ranks;
    double allowed[6]; /* of each; 0: it is not compared */
};

/* DEVICE, with the first number that is too far off, or the device's own failure. ret_errors (EBM_DEVICE_CHECKS):
 * NULL when not wanted; those after a failure are not filled. */
enum ebm_status ebm_device_check(const struct ebm_device_ops *ops, struct ebm_device_errors *ret_errors,
                                 struct ebm_error *reterr) EBM_MUST_USE;

/* A line on stdout: each error and what is allowed, `-` where it is not compared. */
void ebm_device_errors_print(const struct ebm_device_errors *errors);

/* Networks whose speed is measured, of random numbers: T, widths of 10, and V, widths of 512 (docs/GPU.md). */
#define EBM_DEVICE_TIMED_MAP(X) X(T) X(V)

enum ebm_device_timed {
#define X(name) EBM_DEVICE_TIMED_##name,
    EBM_DEVICE_TIMED_MAP(X)
#undef X
        EBM_DEVICE_TIMED_NETS
};

/* Median seconds of a prediction of B rows, 1024 draws each, out of `repeats` after one that does not count. Mean,
 * variance and log Z are asked for. */
enum ebm_status ebm_device_time(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                uint32_t repeats, double *ret_seconds, struct ebm_error *reterr) EBM_MUST_USE;

#endif
