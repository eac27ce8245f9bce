/* image.h - PNG and JPEG as bytes <-> pixels of 8 bits. Nothing is kept between calls; any thread.
 *
 * The header is read first, and an image of too many pixels is refused by it before memory for them is taken. Pixels
 * come out as (channels, height, width), one plane a channel, row-major, in the image's own order red, green, blue.
 *
 * What is left aside: alpha and transparent colours (the colour below them counts), colour profiles and gamma, the
 * orientation of a camera (EXIF), the lower 8 of 16 bits. CMYK is refused: its colours are those of a printer. */
#ifndef EBM_IMAGES_IMAGE_H
#define EBM_IMAGES_IMAGE_H

#include "core/buf.h"
#include "core/limits.h"

enum image_format { IMAGE_PNG, IMAGE_JPEG };

struct image_header {
    enum image_format format;
    uint32_t width, height;
    uint32_t channels; /* 1 grey, 3 colours; alpha is not counted */
};

struct image_shape {
    uint32_t channels; /* 1 or 3 */
    uint32_t height, width;
};

/* How an image of another size is brought to the wanted one. Both are separable, with weights that sum to 1 in fixed
 * point of 22 bits, and round to 8 bits after each direction. */
enum image_resize {
    IMAGE_BILINEAR, /* a triangle; when it shrinks, as wide as two wanted pixels, so that every pixel counts */
    IMAGE_AREA,     /* the mean of what a wanted pixel covers; when it grows, the nearest pixel */
};

/* Numbers of such an image. */
size_t image_size(const struct image_shape *shape);

/* Reads the header alone. where = "image". INVALID: neither PNG nor JPEG, a damaged header, CMYK, an animated PNG.
 * TOO_LARGE: more than max_pixels (at most LIMIT_DECODED_PIXELS). */
enum ebm_status image_read_header(const void *bytes, size_t size, uint64_t max_pixels, struct image_header *ret_header,
                                  struct ebm_error *reterr) EBM_MUST_USE;

/* Decodes, makes grey of colours (0.299 R + 0.587 G + 0.114 B; of a JPEG its own luma) or three channels of grey, and
 * resizes to `shape` without keeping proportions. ret_pixels (image_size(shape)) may be written to on failure.
 * where = "image". INVALID: as image_read_header, the image is not whole, or a JPEG has more than 64 scans. TOO_LARGE,
 * NO_MEMORY. */
enum ebm_status image_decode(const void *bytes, size_t size, uint64_t max_pixels, const struct image_shape *shape,
                             enum image_resize how, uint8_t *ret_pixels, struct ebm_error *reterr) EBM_MUST_USE;

/* Pixels of 8 bits that lie in memory: channel c of pixel (y, x) is at[y * row_step + x * pixel_step + c * plane_step].
 */
struct image_view {
    const uint8_t *at; /* borrow */
    uint32_t channels, height, width;
    size_t row_step, pixel_step, plane_step;
};

/* Channels and size of `view` become those of `shape`; the same arithmetic as image_decode. NO_MEMORY. */
enum ebm_status image_convert(const struct image_view *view, const struct image_shape *shape, enum image_resize how,
                              uint8_t *ret_pixels, struct ebm_error *reterr) EBM_MUST_USE;

/* A PNG of the pixels, appended to png. A failure stays in png->status as well. */
enum ebm_status image_encode_png(const uint8_t *pixels, const struct image_shape *shape, struct ebm_buf *png,
                                 struct ebm_error *reterr) EBM_MUST_USE;

#endif
