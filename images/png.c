/* png.c - PNG by libspng, both ways; the usual kind is read by png_plain.c. Grey of up to 8 bits stays grey; everything
 * else comes out as RGB of 8 bits, palettes resolved and alpha left out. Chunks beside the pixels (texts, profiles) may
 * take CHUNK_BYTES each. */
#include <spng.h>
#include <stdlib.h>
#include <string.h>

#include "images/image_internal.h"

#define CHUNK_BYTES (4u << 20)
#define CHUNKS_BYTES (8u << 20) /* of all that are kept */
#define FASTEST 1               /* zlib's level: a generated image is noise, which no level makes much smaller */

static void spng_freep(spng_ctx **png)
{
    spng_ctx_free(*png);
}

bool png_is_one(const uint8_t *bytes, size_t size)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    return size >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

static enum ebm_status failed(int code, const char *doing, struct ebm_error *reterr)
{
    if (code == SPNG_EMEM)
        return image_no_memory(reterr);
    return ebm_error_set(reterr, EBM_INVALID, "image", "%s: %s", doing,
                         code == SPNG_IO_EOF ? "it is cut off" : spng_strerror(code));
}

static int open_png(const uint8_t *bytes, size_t size, spng_ctx **ret_png, struct spng_ihdr *ret_header)
{
    *ret_png = spng_ctx_new(0);
    int code = *ret_png != NULL ? spng_set_png_buffer(*ret_png, bytes, size) : SPNG_EMEM;
    if (code == SPNG_OK)
        code = spng_set_chunk_limits(*ret_png, CHUNK_BYTES, CHUNKS_BYTES);
    return code == SPNG_OK ? spng_get_ihdr(*ret_png, ret_header) : code;
}

static bool is_grey(const struct spng_ihdr *ihdr)
{
    return ihdr->color_type == SPNG_COLOR_TYPE_GRAYSCALE || ihdr->color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA;
}

/* Is there a chunk acTL before the pixels, as APNG has it? */
static bool is_animated(const uint8_t *bytes, size_t size)
{
    const size_t signature = 8, frame = 12; /* length, name, checksum */
    for (size_t at = signature; at + frame <= size && memcmp(bytes + at + 4, "IDAT", 4) != 0;) {
        size_t length = (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 | (size_t)bytes[at + 2] << 8 |
                        bytes[at + 3];
        if (memcmp(bytes + at + 4, "acTL", 4) == 0)
            return true;
        if (length > size - at - frame)
            break;
        at += frame + length;
    }
    return false;
}

enum ebm_status png_read_header(const uint8_t *bytes, size_t size, struct image_header *ret_header,
                                struct ebm_error *reterr)
{
    EBM_AUTO(spng_freep) spng_ctx *png = NULL;
    struct spng_ihdr ihdr;
    int code = open_png(bytes, size, &png, &ihdr);
    if (code != SPNG_OK)
        return failed(code, "not the header of a PNG", reterr);
    if (is_animated(bytes, size))
        return ebm_error_set(reterr, EBM_INVALID, "image", "an animated PNG, which is several images; expected one");
    *ret_header = (struct image_header){
        .format = IMAGE_PNG, .width = ihdr.width, .height = ihdr.height, .channels = is_grey(&ihdr) ? 1 : 3};
    return EBM_OK;
}

static enum ebm_status decode_any(const uint8_t *bytes, size_t size, const struct image_header *header,
                                  struct pixels *ret_pixels, struct ebm_error *reterr)
{
    EBM_AUTO(spng_freep) spng_ctx *png = NULL;
    struct spng_ihdr ihdr;
    int code = open_png(bytes, size, &png, &ihdr);
    bool stays_grey = code == SPNG_OK && ihdr.color_type == SPNG_COLOR_TYPE_GRAYSCALE && ihdr.bit_depth <= 8;
    uint32_t channels = stays_grey ? 1 : 3;
    size_t n = (size_t)header->width * header->height * channels;
    EBM_AUTO(ebm_freep) uint8_t *at = code == SPNG_OK ? malloc(n) : NULL;
    if (code == SPNG_OK)
        code = at != NULL ? spng_decode_image(png, at, n, stays_grey ? SPNG_FMT_G8 : SPNG_FMT_RGB8, 0) : SPNG_EMEM;
    if (code == SPNG_OK)
        code = spng_decode_chunks(png); /* to the end: is it all there? */
    if (code != SPNG_OK)
        return failed(code, "not a whole PNG", reterr);
    *ret_pixels = (struct pixels){
        .at = EBM_TAKE_PTR(at), .channels = channels, .height = header->height, .width = header->width};
    return EBM_OK;
}

enum ebm_status png_decode(const uint8_t *bytes, size_t size, const struct image_header *header,
                           struct pixels *ret_pixels, struct ebm_error *reterr)
{
    enum ebm_status status = png_decode_plain(bytes, size, header, ret_pixels);
    if (status == EBM_INVALID)
        return decode_any(bytes, size, header, ret_pixels, reterr);
    return status == EBM_OK ? EBM_OK : image_no_memory(reterr);
}

/* ---- writing ---- */

/* (channels, height, width) -> (height, width, channels). */
static uint8_t *interleave(const uint8_t *pixels, const struct image_shape *shape)
{
    size_t plane = (size_t)shape->height * shape->width;
    uint8_t *mixed = malloc(image_size(shape));
    for (size_t i = 0; mixed != NULL && i < plane; i++)
        for (uint32_t c = 0; c < shape->channels; c++)
            mixed[i * shape->channels + c] = pixels[c * plane + i];
    return mixed;
}

static int encode(spng_ctx *png, const uint8_t *mixed, const struct image_shape *shape)
{
    struct spng_ihdr ihdr = {
        .width = shape->width,
        .height = shape->height,
        .bit_depth = 8,
        .color_type = shape->channels == 1 ? SPNG_COLOR_TYPE_GRAYSCALE : SPNG_COLOR_TYPE_TRUECOLOR,
    };
    int code = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (code == SPNG_OK)
        code = spng_set_option(png, SPNG_IMG_COMPRESSION_LEVEL, FASTEST);
    if (code == SPNG_OK)
        code = spng_set_ihdr(png, &ihdr);
    return code == SPNG_OK ? spng_encode_image(png, mixed, image_size(shape), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE)
                           : code;
}

enum ebm_status image_encode_png(const uint8_t *pixels, const struct image_shape *shape, struct ebm_buf *png,
                                 struct ebm_error *reterr)
{
    EBM_AUTO(spng_freep) spng_ctx *encoder = spng_ctx_new(SPNG_CTX_ENCODER);
    EBM_AUTO(ebm_freep) uint8_t *mixed = interleave(pixels, shape);
    EBM_AUTO(ebm_freep) void *bytes = NULL;
    size_t size = 0;
    if (encoder == NULL || mixed == NULL)
        return image_no_memory(reterr);
    int code = encode(encoder, mixed, shape);
    if (code == SPNG_OK)
        bytes = spng_get_png_buffer(encoder, &size, &code);
    if (code != SPNG_OK)
        return failed(code, "cannot write the PNG", reterr);
    if (ebm_buf_append(png, bytes, size) != EBM_OK)
        return ebm_error_set(reterr, png->status, "image", "the PNG has more than %zu bytes", png->max_bytes);
    return EBM_OK;
}
