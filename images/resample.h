/* resample.h - one plane of 8-bit pixels to another size. */
#ifndef EBM_IMAGES_RESAMPLE_H
#define EBM_IMAGES_RESAMPLE_H

#include "images/image.h"

/* The weights of one direction: output i is the sum of `count[i]` inputs from `first[i]` on. */
struct resample_taps {
    uint32_t *first, *count; /* (n) */
    int32_t *weights;        /* (n, width): 2^22 is 1 */
    uint32_t n, width;
};

/* Everything for one pair of sizes; runs any number of planes. Zeroed is fine for resampler_done. One thread at a time.
 */
struct resampler {
    struct resample_taps across, down;
    uint32_t from_height;
    uint8_t *rows; /* (from_height, across.n) */
};

/* Sides from 1 on. NO_MEMORY. */
enum ebm_status resampler_init(struct resampler *resampler, uint32_t from_width, uint32_t from_height,
                               uint32_t to_width, uint32_t to_height, enum image_resize how) EBM_MUST_USE;
void resampler_done(struct resampler *resampler);

/* from: pixel (y, x) at from[y * row_step + x * pixel_step]; to (to_height, to_width). */
void resampler_run(const struct resampler *resampler, const uint8_t *from, size_t row_step, size_t pixel_step,
                   uint8_t *to);

#endif
