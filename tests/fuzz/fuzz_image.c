/* fuzz_image.c - PNG and JPEG. The first byte says what is wanted: channels, size, way of resizing. What a header
 * promises and what is decoded are the same; what was decoded can be written and read again. */
#include <stdlib.h>
#include <string.h>

#include "images/image.h"
#include "tests/fuzz/fuzz.h"

#define PIXELS (1u << 18) /* most of an image: an input takes no longer than a moment */

static void read_back(const uint8_t *pixels, const struct image_shape *shape)
{
    uint8_t again[3 * 16 * 16];
    struct ebm_buf png;
    ebm_buf_init(&png, 1u << 16);
    EBM_ASSERT(image_encode_png(pixels, shape, &png, NULL) == EBM_OK);
    EBM_ASSERT(image_decode(png.bytes, png.size, PIXELS, shape, IMAGE_AREA, again, NULL) == EBM_OK);
    EBM_ASSERT(memcmp(pixels, again, image_size(shape)) == 0);
    ebm_buf_done(&png);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct image_header header;
    struct ebm_error error = {.status = EBM_OK};
    uint8_t pixels[3 * 16 * 16];
    if (size == 0)
        return -1;
    const struct image_shape shape = {bytes[0] & 1 ? 3 : 1, 1 + (bytes[0] >> 1) % 16u, 1 + (bytes[0] >> 4)};
    enum image_resize how = bytes[0] & 2 ? IMAGE_AREA : IMAGE_BILINEAR;
    enum ebm_status status = image_read_header(bytes + 1, size - 1, PIXELS, &header, &error);
    fuzz_check_error(status, &error);
    if (status != EBM_OK)
        return 0;
    EBM_ASSERT(header.width > 0 && header.height > 0 && (uint64_t)header.width * header.height <= PIXELS);
    status = image_decode(bytes + 1, size - 1, PIXELS, &shape, how, pixels, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        read_back(pixels, &shape);
    return 0;
}
