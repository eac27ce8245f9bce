/* device_check.h - does a device compute what the CPU computes, and each of several the same? Small networks of random
 * numbers, a few rows each, of vectors and of images, between them every way that an accelerator's predictions can go:
 * the x side, draws, log q, f, what is made of them, and exact answers; apart from these, as nobody waits for them at a
 * start, steps of training and many rows. */
#ifndef EBM_CORE_DEVICE_CHECK_H
#define EBM_CORE_DEVICE_CHECK_H

#include "core/device.h"

#define EBM_DEVICE_CHECKS 7u
#define EBM_DEVICE_TRAININGS 3u

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

/* Networks whose speed is measured, of random numbers: T, widths of 10, V, widths of 512, and C, a ResNet-18 on images
 * of 3 x 64 x 64 before V's heads (docs/GPU.md). */
#define EBM_DEVICE_TIMED_MAP(X) X(T) X(V) X(C)

enum ebm_device_timed {
#define X(name) EBM_DEVICE_TIMED_##name,
    EBM_DEVICE_TIMED_MAP(X)
#undef X
        EBM_DEVICE_TIMED_NETS
};

/* Median seconds, out of `repeats` after one that does not count, of a prediction of B rows, 1024 draws each, and of
 * its x side alone; mean, variance, log Z and three quantiles are asked for. Bounds: what an H100's data sheet allows
 * for the x side, and for draws, f and answers, at the device's precision. */
struct ebm_device_times {
    double prediction, x_side, x_side_bound, draws_bound;
};

enum ebm_status ebm_device_time(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                uint32_t repeats, struct ebm_device_times *ret_times, struct ebm_error *reterr)
    EBM_MUST_USE;

/* What such a prediction launches, each by itself, `runs` times after one that does not count; of a device that has a
 * profile. */
#define EBM_DEVICE_LAUNCHES 80u /* names, most */
struct ebm_device_profile {
    uint32_t n;
    struct ebm_launch_times launches[EBM_DEVICE_LAUNCHES];
};
enum ebm_status ebm_device_profile(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                   uint32_t runs, struct ebm_device_profile *ret_profile, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Seconds that the same data sheet allows for so much; which of the two, or three, that is: a word. */
double ebm_launch_bound(const struct ebm_launch_times *launches, const char **ret_by);
/* On stdout, a line for each, and one for all. */
void ebm_device_profile_print(const struct ebm_device_profile *profile);

/* Has each of B rows the same bytes among all of them as among `few`? DEVICE where one has not. With more rows than a
 * device takes at once, what it computes them in is used again and again. */
enum ebm_status ebm_device_check_many(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                      uint32_t few, struct ebm_error *reterr) EBM_MUST_USE;

/* Largest errors of a few steps of training: of losses, over them where they are above 1; of the first gradient and of
 * the last parameters, over their largest. */
struct ebm_device_training_errors {
    const char *name;
    double losses, gradient, params, allowed;
};

void ebm_device_training_print(const struct ebm_device_training_errors *errors); /* a line on stdout */

/* Of a network of vectors and two of images, whose trunks learn. DEVICE as above; ret_errors (EBM_DEVICE_TRAININGS):
 * those after a failure are not filled. */
enum ebm_status ebm_device_check_training(const struct ebm_device_ops *ops,
                                          struct ebm_device_training_errors *ret_errors, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
