/* device_check_answers.h - answers of importance by one device, beside those of another. Private to device_check.c.
 *
 * Means, variances and the like are compared as they are. A quantile and a fair draw are one of the draws: where two of
 * them share a rank but for rounding, either is right. So they are judged by the other device's weights: how far is the
 * cumulative weight from where it should be? */
#ifndef EBM_CORE_DEVICE_CHECK_ANSWERS_H
#define EBM_CORE_DEVICE_CHECK_ANSWERS_H

#include "core/device.h"

#define EBM_CHECK_ROWS 5u
#define EBM_CHECK_SAMPLES 200u /* most of a row; others have 90 */

/* What a device says of the rows, drawn by one scheme. */
struct ebm_check_answers {
    uint32_t D, samples[EBM_CHECK_ROWS];
    float *draws, *weights, *fair; /* weighted draws and their log weights; fair draws */
    double *numbers, *quantiles;
    double log_z[EBM_CHECK_ROWS];
};

/* False: no memory; done all the same. */
bool ebm_check_answers_init(struct ebm_check_answers *a, uint32_t D);
void ebm_check_answers_done(struct ebm_check_answers *a);

/* Asks for all draws, unless they are not wanted, and then for what is made of them. */
enum ebm_status ebm_check_answers_ask(const struct ebm_device_ops *ops, struct ebm_ctx *ctx,
                                      const struct ebm_plan *plan, const float *x, enum ebm_draw_scheme scheme,
                                      bool with_draws, struct ebm_check_answers *a) EBM_MUST_USE;

/* The same without draws: exact answers of a scalar target. */
enum ebm_status ebm_check_exact_ask(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_plan *plan,
                                    const float *x, struct ebm_check_answers *a) EBM_MUST_USE;

/* The largest error of a number, over the larger of it and 1; the mode counts where f is exact, up to floats. */
double ebm_check_numbers(const struct ebm_check_answers *got, const struct ebm_check_answers *expected, bool with_mode);
/* The largest distance of a cumulative weight; infinite where a number is none of the draws, within `near`. */
double ebm_check_ranks(const struct ebm_check_answers *got, const struct ebm_check_answers *expected, double near);

/* To the last bit. */
bool ebm_check_same(const struct ebm_check_answers *a, const struct ebm_check_answers *b);

/* The largest error of an exact quantile or draw. */
double ebm_check_points(const struct ebm_check_answers *got, const struct ebm_check_answers *expected);

#endif
