/* image_internal.h - what image.c, png.c, jpeg.c and resample.c share. Private to images/. */
#ifndef EBM_IMAGES_IMAGE_INTERNAL_H
#define EBM_IMAGES_IMAGE_INTERNAL_H

#include "images/image.h"

/* What a file decodes to: (height, width, channels), channels innermost. */
struct pixels {
    uint8_t *at; /* free() */
    uint32_t channels, height, width;
};

bool png_is_one(const uint8_t *bytes, size_t size);
bool jpeg_is_one(const uint8_t *bytes, size_t size);

enum ebm_status png_read_header(const uint8_t *bytes, size_t size, struct image_header *ret_header,
                                struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status jpeg_read_header(const uint8_t *bytes, size_t size, struct image_header *ret_header,
                                 struct ebm_error *reterr) EBM_MUST_USE;

/* All pixels of an image whose header was read and is within limits. May return more channels than wanted. */
enum ebm_status png_decode(const uint8_t *bytes, size_t size, const struct image_header *header,
                           struct pixels *ret_pixels, struct ebm_error *reterr) EBM_MUST_USE;
/* Likewise, of the usual kind of PNG alone. INVALID: another kind, or something in it is wrong, and nobody says what.
 */
enum ebm_status png_decode_plain(const uint8_t *bytes, size_t size, const struct image_header *header,
                                 struct pixels *ret_pixels) EBM_MUST_USE;
enum ebm_status jpeg_decode(const uint8_t *bytes, size_t size, const struct image_header *header,
                            uint32_t wanted_channels, struct pixels *ret_pixels, struct ebm_error *reterr) EBM_MUST_USE;

enum ebm_status image_no_memory(struct ebm_error *reterr);

#endif
