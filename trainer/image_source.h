/* image_source.h - one face for images in files and images in an array: how many, what is known of each, and the pixels
 * of one of them. Private to image_set.c and image_source.c. */
#ifndef EBM_TRAINER_IMAGE_SOURCE_H
#define EBM_TRAINER_IMAGE_SOURCE_H

#include "trainer/array.h"
#include "trainer/image_files.h"
#include "trainer/image_set.h"

/* Owns what it holds: image_source_done. Zeroed is fine. */
struct image_source {
    struct image_files files; /* of an array there are no paths */
    uint32_t n_targets;       /* columns of files.values, from the first on, that are targets when nothing is said */
    struct array array;       /* of 8-bit numbers; no bytes: the images are files */
    struct image_view view;
    size_t image_bytes; /* from one image of the array to the next */
    const char *path;   /* borrow */
};

enum ebm_status image_source_open(const struct image_set_options *options, struct image_source *ret_source,
                                  struct ebm_error *reterr) EBM_MUST_USE;
void image_source_done(struct image_source *source);

/* What row i looks like before anything is done to it. As image_source_read. */
enum ebm_status image_source_shape(const struct image_source *source, uint32_t i, struct image_shape *ret_shape,
                                   struct ebm_error *reterr) EBM_MUST_USE;
/* Row i as `shape`. NO_MEMORY, or why the image cannot be read, where = its file. Any thread. */
enum ebm_status image_source_read(const struct image_source *source, uint32_t i, const struct image_shape *shape,
                                  uint8_t *ret_pixels, struct ebm_error *reterr) EBM_MUST_USE;

#endif
