/* image_rows.c - headers of all images, then pixels of one after the other, each straight into its row.
 *
 * Guarantees: besides the rows there is memory for one image at a time; what its header says is known by then. */
#include "server/image_rows.h"

#include <inttypes.h>
#include <stdio.h>

/* The reader of images says "image": where that is. */
static enum ebm_status fail_at(const struct image_rows *how, uint32_t i, enum ebm_status status,
                               struct ebm_error *reterr)
{
    if (reterr && how->is_body)
        (void)snprintf(reterr->where, sizeof reterr->where, "body");
    else if (reterr)
        (void)snprintf(reterr->where, sizeof reterr->where, "inputs[%" PRIu32 "]", i);
    return status;
}

/* Between both directions of resizing it has its own height and the row's width: a strip of 1 x 65535 becomes large
 * there. */
static uint64_t most_pixels(const struct image_header *header, const struct image_shape *shape)
{
    uint64_t own = (uint64_t)header->width * header->height, row = (uint64_t)shape->height * shape->width;
    uint64_t between = (uint64_t)header->height * shape->width;
    uint64_t most = own > row ? own : row;
    return most > between ? most : between;
}

static enum ebm_status count_pixels(const struct image_rows *how, const struct field_rows *rows,
                                    struct ebm_error *reterr)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct field_image *image = &rows->images[i];
        struct image_header header;
        enum ebm_status status = image_read_header(image->bytes, image->size, how->max_pixels, &header, reterr);
        if (status != EBM_OK)
            return fail_at(how, i, status, reterr);
        total += most_pixels(&header, &how->shape);
        if (total > how->max_pixels)
            return ebm_error_set(reterr, EBM_TOO_LARGE, how->is_body ? "body" : "inputs",
                                 "%" PRIu32 " images of %" PRIu64 " pixels so far, at most %" PRIu64
                                 " together, see --max-image-pixels: ask for fewer",
                                 i + 1, total, how->max_pixels);
    }
    return EBM_OK;
}

enum ebm_status image_rows_decode(const struct image_rows *how, struct field_rows *rows, struct ebm_arena *arena,
                                  struct ebm_error *reterr)
{
    size_t X = image_size(&how->shape);
    enum ebm_status status = count_pixels(how, rows, reterr);
    if (status != EBM_OK)
        return status;
    uint8_t *bytes = ebm_arena_alloc(arena, rows->n, X);
    if (!bytes)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "inputs", "no memory for %" PRIu32 " images", rows->n);
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct field_image *image = &rows->images[i];
        if (!how->wanted(how->who))
            return ebm_error_set(reterr, EBM_CANCELLED, "inputs", "no longer wanted");
        status = image_decode(image->bytes, image->size, how->max_pixels, &how->shape, IMAGE_BILINEAR, bytes + i * X,
                              reterr);
        if (status != EBM_OK)
            return fail_at(how, i, status, reterr);
    }
    *rows = (struct field_rows){.n = rows->n,
                                .X = (uint32_t)X,
                                .bytes = bytes,
                                .dims = {how->shape.channels, how->shape.height, how->shape.width}};
    return EBM_OK;
}
