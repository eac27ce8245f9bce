/* png_plain.c - the PNG that is met most: 8 bits of grey or RGB, row after row, no chunk beside the pixels.
 *
 *   chunks, each with its checksum -> one inflate into all rows -> each row moved to its place and unfiltered there
 *
 * libspng has zlib inflate a row at a time, and for rows below 258 bytes zlib takes its slow way. Guarantees: takes
 * only what is right to the last byte, so that whatever it refuses is read by libspng, which alone knows what to say of
 * it.
 */
#define ZLIB_CONST /* it reads bytes that it does not change */

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/limits.h"
#include "images/image_internal.h"

#define SIGNATURE_BYTES 8u
#define FRAME_BYTES 12u /* of a chunk: length, name, checksum */
#define MOST_CHUNK_BYTES 0x7fffffffu

/* RGB, and a filter's number a row: zlib counts what it has room for in 32 bits. */
_Static_assert(3 * LIMIT_DECODED_PIXELS + LIMIT_DECODED_SIDE <= UINT32_MAX, "all rows are one piece");

struct chunk {
    const uint8_t *name, *data;
    uint32_t size; /* of the data */
};

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The one at *at, which moves behind it. False: it is not whole, or damaged. */
static bool next_chunk(const uint8_t *bytes, size_t size, size_t *at, struct chunk *ret_chunk)
{
    if (size - *at < FRAME_BYTES)
        return false;
    uint32_t n = big_endian(bytes + *at);
    if (n > MOST_CHUNK_BYTES || n > size - *at - FRAME_BYTES)
        return false;
    const uint8_t *name = bytes + *at + 4;
    if (crc32(0, name, n + 4) != big_endian(name + 4 + n))
        return false;
    *ret_chunk = (struct chunk){name, name + 4, n};
    *at += FRAME_BYTES + n;
    return true;
}

static bool is_named(const struct chunk *chunk, const char *name)
{
    return memcmp(chunk->name, name, 4) == 0;
}

/* Bytes of a pixel; 0: another kind of PNG. */
static uint32_t pixel_bytes(const struct chunk *chunk)
{
    static const uint8_t deflate_filters_rows[3] = {0, 0, 0};
    const size_t depth = 8, color = 9, methods = 10, all = 13;
    if (!is_named(chunk, "IHDR") || chunk->size != all || chunk->data[depth] != 8 ||
        memcmp(chunk->data + methods, deflate_filters_rows, sizeof deflate_filters_rows) != 0)
        return 0;
    return chunk->data[color] == 0 ? 1 : chunk->data[color] == 2 ? 3 : 0;
}

/* ---- rows ---- */

static uint8_t paeth(int left, int up, int corner)
{
    int by_left = abs(up - corner), by_up = abs(left - corner), by_corner = abs(left + up - 2 * corner);
    return (uint8_t)(by_left <= by_up && by_left <= by_corner ? left : by_up <= by_corner ? up : corner);
}

/* Of (n) bytes, whose row before is `up`. False: there is no such filter. */
static inline __attribute__((always_inline)) bool unfilter_row(uint8_t *restrict row, const uint8_t *restrict up,
                                                               size_t n, uint8_t filter, const size_t step)
{
    uint8_t left[3] = {0}, corner[3] = {0};
    switch (filter) {
    case 0:
        return true;
    case 1:
        for (size_t i = 0; i < n; i += step)
            for (size_t c = 0; c < step; c++)
                row[i + c] = left[c] = (uint8_t)(row[i + c] + left[c]);
        return true;
    case 2:
        for (size_t i = 0; i < n; i++)
            row[i] = (uint8_t)(row[i] + up[i]);
        return true;
    case 3:
        for (size_t i = 0; i < n; i += step)
            for (size_t c = 0; c < step; c++)
                row[i + c] = left[c] = (uint8_t)(row[i + c] + (left[c] + up[i + c]) / 2);
        return true;
    case 4:
        for (size_t i = 0; i < n; i += step)
            for (size_t c = 0; c < step; c++) {
                row[i + c] = left[c] = (uint8_t)(row[i + c] + paeth(left[c], up[i + c], corner[c]));
                corner[c] = up[i + c];
            }
        return true;
    default:
        return false;
    }
}

/* `at`: rows of a filter's number and n bytes each, then n zeros -> rows of n bytes. */
static bool unfilter(uint8_t *at, uint32_t height, size_t n, uint32_t step)
{
    const uint8_t *up = at + height * (n + 1);
    bool is_right = true;
    for (size_t y = 0; y < height && is_right; y++) {
        uint8_t *row = at + y * n, filter = at[y * (n + 1)];
        memmove(row, at + y * (n + 1) + 1, n);
        is_right = step == 3 ? unfilter_row(row, up, n, filter, 3) : unfilter_row(row, up, n, filter, 1);
        up = row;
    }
    return is_right;
}

/* ---- the file ---- */

/* What the chunks from *at on hold, which are n bytes. */
static enum ebm_status inflate_chunks(const uint8_t *bytes, size_t size, size_t *at, uint8_t *to, size_t n)
{
    z_stream stream = {.next_out = to, .avail_out = (uInt)n};
    struct chunk chunk;
    int code = inflateInit(&stream);
    if (code != Z_OK)
        return EBM_NO_MEMORY;
    do {
        if (!next_chunk(bytes, size, at, &chunk) || !is_named(&chunk, "IDAT")) {
            code = Z_DATA_ERROR;
            break;
        }
        stream.next_in = chunk.data;
        stream.avail_in = chunk.size;
        code = inflate(&stream, Z_FINISH); /* Z_BUF_ERROR: it goes on in the next one */
    } while ((code == Z_OK || code == Z_BUF_ERROR) && stream.avail_in == 0);
    bool is_whole = code == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0;
    (void)inflateEnd(&stream);
    return is_whole ? EBM_OK : code == Z_MEM_ERROR ? EBM_NO_MEMORY : EBM_INVALID;
}

enum ebm_status png_decode_plain(const uint8_t *bytes, size_t size, const struct image_header *header,
                                 struct pixels *ret_pixels)
{
    size_t at = SIGNATURE_BYTES;
    struct chunk chunk;
    uint32_t step = png_is_one(bytes, size) && next_chunk(bytes, size, &at, &chunk) ? pixel_bytes(&chunk) : 0;
    size_t n = (size_t)header->width * step, all = header->height * (n + 1);
    if (step == 0)
        return EBM_INVALID;
    EBM_AUTO(ebm_freep) uint8_t *rows = malloc(all + n);
    if (rows == NULL)
        return EBM_NO_MEMORY;
    enum ebm_status status = inflate_chunks(bytes, size, &at, rows, all);
    if (status != EBM_OK)
        return status;
    bool ends = next_chunk(bytes, size, &at, &chunk) && is_named(&chunk, "IEND") && chunk.size == 0 && at == size;
    memset(rows + all, 0, n);
    if (!ends || !unfilter(rows, header->height, n, step))
        return EBM_INVALID;
    *ret_pixels = (struct pixels){
        .at = EBM_TAKE_PTR(rows), .channels = step, .height = header->height, .width = header->width};
    return EBM_OK;
}
