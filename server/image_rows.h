/* image_rows.h - images of a request -> rows of 8-bit numbers, as a model reads them. Pure; any thread, but slow: the
 * loop leaves it to workers. */
#ifndef EBM_SERVER_IMAGE_ROWS_H
#define EBM_SERVER_IMAGE_ROWS_H

#include "core/arena.h"
#include "images/image.h"
#include "proto/fields.h"

struct image_rows {
    struct image_shape shape; /* of a row, 1 or 3 channels */
    uint64_t max_pixels;      /* of all images together, each counted where it is largest: as it came, as it becomes,
                               * or between, with its own height and the row's width */
    bool is_body;             /* there is one image, which is the body: where = "body" instead of "inputs[i]" */
    bool (*wanted)(const void *who); /* asked before each image */
    const void *who;
};

/* rows->images -> rows->bytes (n, X) in the arena, X and dims; images are forgotten. All headers are read, and pixels
 * counted, before memory for any is taken. INVALID: no whole PNG or JPEG, CMYK, several images in one. TOO_LARGE: more
 * than max_pixels. CANCELLED: nobody wants it any more. NO_MEMORY. */
enum ebm_status image_rows_decode(const struct image_rows *how, struct field_rows *rows, struct ebm_arena *arena,
                                  struct ebm_error *reterr) EBM_MUST_USE;

#endif
