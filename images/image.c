/* image.c - which format it is, and the way from a file's pixels to the wanted ones:
 *
 *   header -> within limits? -> all pixels (height, width, channels) -> grey where wanted -> each plane resized
 *          -> copies of a grey plane where three are wanted
 *
 * Knows no library; png.c and jpeg.c do. */
#include "images/image.h"

#include <stdlib.h>
#include <string.h>

#include "images/image_internal.h"
#include "images/resample.h"

enum ebm_status image_no_memory(struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_NO_MEMORY, "image", "no memory for the image");
}

size_t image_size(const struct image_shape *shape)
{
    return (size_t)shape->channels * shape->height * shape->width;
}

/* ---- reading ---- */

/* Neither of the two: what it is, where that is easily said. */
static enum ebm_status fail_format(const uint8_t *bytes, size_t size, struct ebm_error *reterr)
{
    static const struct {
        const char *name;
        size_t at, n;
        const char *mark; /* (n), from `at` on */
    } formats[] = {
        {"a GIF", 0, 4, "GIF8"},    {"WebP", 8, 4, "WEBP"},
        {"a BMP", 0, 2, "BM"},      {"a TIFF", 0, 4, "II*\0"},
        {"a TIFF", 0, 4, "MM\0*"},  {"AVIF", 4, 8, "ftypavif"},
        {"HEIC", 4, 8, "ftypheic"}, {"base64", 0, 10, "iVBORw0KGg"},
        {"base64", 0, 4, "/9j/"},   {"a PNG that lost bytes as a text (curl: --data-binary, not -d)", 0, 4, "\x89PNG"}};
    for (size_t i = 0; i < EBM_COUNT_OF(formats); i++)
        if (size >= formats[i].at + formats[i].n && memcmp(bytes + formats[i].at, formats[i].mark, formats[i].n) == 0)
            return ebm_error_set(reterr, EBM_INVALID, "image", "%s, expected a PNG or a JPEG", formats[i].name);
    return ebm_error_set(reterr, EBM_INVALID, "image", "neither a PNG nor a JPEG");
}

enum ebm_status image_read_header(const void *bytes, size_t size, uint64_t max_pixels, struct image_header *ret_header,
                                  struct ebm_error *reterr)
{
    struct image_header header = {.width = 0};
    enum ebm_status status;
    EBM_ASSERT(max_pixels <= LIMIT_DECODED_PIXELS);
    if (png_is_one(bytes, size))
        status = png_read_header(bytes, size, &header, reterr);
    else if (jpeg_is_one(bytes, size))
        status = jpeg_read_header(bytes, size, &header, reterr);
    else
        status = fail_format(bytes, size, reterr);
    if (status != EBM_OK)
        return status;
    if (header.width > LIMIT_DECODED_SIDE || header.height > LIMIT_DECODED_SIDE ||
        (uint64_t)header.width * header.height > max_pixels)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "image", "%u x %u pixels, at most %llu in all and %u a side",
                             header.width, header.height, (unsigned long long)max_pixels, LIMIT_DECODED_SIDE);
    *ret_header = header;
    return EBM_OK;
}

enum ebm_status image_decode(const void *bytes, size_t size, uint64_t max_pixels, const struct image_shape *shape,
                             enum image_resize how, uint8_t *ret_pixels, struct ebm_error *reterr)
{
    struct image_header header;
    struct pixels pixels = {.at = NULL};
    enum ebm_status status = image_read_header(bytes, size, max_pixels, &header, reterr);
    if (status == EBM_OK)
        status = header.format == IMAGE_PNG ? png_decode(bytes, size, &header, &pixels, reterr)
                                            : jpeg_decode(bytes, size, &header, shape->channels, &pixels, reterr);
    if (status != EBM_OK)
        return status;
    const struct image_view view = {.at = pixels.at,
                                    .channels = pixels.channels,
                                    .height = pixels.height,
                                    .width = pixels.width,
                                    .row_step = (size_t)pixels.width * pixels.channels,
                                    .pixel_step = pixels.channels,
                                    .plane_step = 1};
    status = image_convert(&view, shape, how, ret_pixels, reterr);
    free(pixels.at);
    return status;
}

/* ---- channels and size ---- */

/* The luma of ITU-R BT.601 in 16 bits; its weights sum to 2^16, so that grey stays what it is. */
static uint8_t luma(const uint8_t *pixel, size_t plane_step)
{
    const uint32_t red = 19595, green = 38470, blue = 7471;
    return (uint8_t)((red * pixel[0] + green * pixel[plane_step] + blue * pixel[2 * plane_step] + 0x8000) >> 16);
}

/* A grey view of colours. Its plane is new: free(); NULL: no memory. */
static uint8_t *make_grey(const struct image_view *view, struct image_view *ret_grey)
{
    uint8_t *grey = malloc((size_t)view->height * view->width), *to = grey;
    for (uint32_t y = 0; grey != NULL && y < view->height; y++)
        for (uint32_t x = 0; x < view->width; x++)
            *to++ = luma(view->at + y * view->row_step + x * view->pixel_step, view->plane_step);
    *ret_grey = (struct image_view){.at = grey,
                                    .channels = 1,
                                    .height = view->height,
                                    .width = view->width,
                                    .row_step = view->width,
                                    .pixel_step = 1};
    return grey;
}

static inline __attribute__((always_inline)) void copy_row(uint8_t *restrict to, const uint8_t *restrict from,
                                                           size_t step, size_t n)
{
    for (size_t x = 0; x < n; x++)
        to[x] = from[x * step];
}

/* A known step is four times as fast. */
static void copy_plane(const struct image_view *view, const uint8_t *from, uint8_t *to)
{
    for (uint32_t y = 0; y < view->height; y++, from += view->row_step, to += view->width) {
        if (view->pixel_step == 3)
            copy_row(to, from, 3, view->width);
        else
            copy_row(to, from, view->pixel_step, view->width);
    }
}

/* The planes that both have. */
static enum ebm_status fit_planes(const struct image_view *view, const struct image_shape *shape, enum image_resize how,
                                  uint8_t *ret_pixels)
{
    size_t plane = (size_t)shape->height * shape->width;
    uint32_t n = view->channels < shape->channels ? view->channels : shape->channels;
    bool is_same = view->width == shape->width && view->height == shape->height;
    struct resampler resampler;
    for (uint32_t c = 0; is_same && c < n; c++)
        copy_plane(view, view->at + c * view->plane_step, ret_pixels + c * plane);
    if (is_same)
        return EBM_OK;
    enum ebm_status status = resampler_init(&resampler, view->width, view->height, shape->width, shape->height, how);
    for (uint32_t c = 0; status == EBM_OK && c < n; c++)
        resampler_run(&resampler, view->at + c * view->plane_step, view->row_step, view->pixel_step,
                      ret_pixels + c * plane);
    resampler_done(&resampler);
    return status;
}

enum ebm_status image_convert(const struct image_view *view, const struct image_shape *shape, enum image_resize how,
                              uint8_t *ret_pixels, struct ebm_error *reterr)
{
    size_t plane = (size_t)shape->height * shape->width;
    struct image_view grey;
    EBM_AUTO(ebm_freep) uint8_t *space = NULL;
    EBM_ASSERT((view->channels == 1 || view->channels == 3) && (shape->channels == 1 || shape->channels == 3));
    if (view->channels > shape->channels) {
        space = make_grey(view, &grey);
        if (space == NULL)
            return image_no_memory(reterr);
        view = &grey;
    }
    if (fit_planes(view, shape, how, ret_pixels) != EBM_OK)
        return image_no_memory(reterr);
    for (uint32_t c = view->channels; c < shape->channels; c++)
        memcpy(ret_pixels + c * plane, ret_pixels, plane);
    return EBM_OK;
}
