/* augment.h - a training image and its targets, changed a little anew in every epoch.
 *
 * In this order, each where it is asked for: mirrored left to right with probability 1/2, and the targets that `negate`
 * names change their sign; turned upside down with probability 1/2; brought to a size out of `scales`, all equally
 * likely, of which as much as the image's own size is kept: a window at a random place of a larger one, black to the
 * right of and below a smaller one; brightness times a factor from [1 - brightness, 1 + brightness]. Flip, scale and
 * window are those of arXiv 2110.11948 on head poses, but the data set itself is never changed. */
#ifndef EBM_TRAINER_AUGMENT_H
#define EBM_TRAINER_AUGMENT_H

#include "core/status.h"
#include "images/image.h"

#define AUGMENT_SCALES 64u

/* What the training configuration says under "data.augment". */
struct augment_options {
    bool flip, flip_vertical;
    char **negate; /* (n_negate) names of targets */
    uint32_t n_negate;
    double *scales; /* (n_scales), at most AUGMENT_SCALES, from 0.1 to 10; none: the size stays */
    uint32_t n_scales;
    double brightness; /* from 0 to 1 */
};

/* Is anything asked for? */
bool augment_is_on(const struct augment_options *options);
/* Does the target of this name change its sign when the image is mirrored? */
bool augment_negates(const struct augment_options *options, const char *name);
/* Are the numbers within their bounds, and the names those of targets (D)? Errors under "data.augment". */
enum ebm_status augment_check(const struct augment_options *options, char *const *target_names, uint32_t D,
                              struct ebm_error *reterr) EBM_MUST_USE;

/* Works on images of one shape; one thread at a time. */
struct augment;

/* Borrows options. New: augment_free. NO_MEMORY. */
enum ebm_status augment_new(const struct augment_options *options, const struct image_shape *shape,
                            char *const *target_names, uint32_t D, struct augment **ret_augment) EBM_MUST_USE;
struct augment *augment_free(struct augment *augment); /* NULL is fine; returns NULL */

/* A copy of pixels (channels, height, width) and y (D), changed as (seed, number) say and by nothing else. */
void augment_row(struct augment *augment, uint64_t seed, uint32_t number, const uint8_t *pixels, const double *y,
                 uint8_t *ret_pixels, double *ret_y);

#endif
