/* test_png_plain.c - the usual PNG by every filter against the pixels that were written; all else is left to others. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "images/image_internal.h"

#define FILE_BYTES (1u << 20)
#define MOST_PIXELS (1u << 16)

struct file {
    uint8_t bytes[FILE_BYTES];
    size_t size;
};

struct kind {
    uint32_t width, height, channels;
    int filter;        /* of all rows; -1: by turns */
    uint32_t n_chunks; /* of pixels */
};

static uint8_t value(const struct kind *kind, uint32_t y, size_t i)
{
    return (uint8_t)(i / kind->channels * 7 + y * y * 3 + i % kind->channels * 90 + (i * y) % 13);
}

static void put_number(struct file *file, uint32_t n)
{
    for (uint32_t i = 0; i < 4; i++)
        file->bytes[file->size++] = (uint8_t)(n >> (24 - 8 * i));
}

static void put_chunk(struct file *file, const char *name, const uint8_t *data, size_t size)
{
    put_number(file, (uint32_t)size);
    uint8_t *begin = file->bytes + file->size;
    memcpy(begin, name, 4);
    memcpy(begin + 4, data, size);
    file->size += 4 + size;
    put_number(file, (uint32_t)crc32(0, begin, (uInt)size + 4));
}

static int predictor(int filter, int left, int up, int corner)
{
    int p = left + up - corner, to_left = abs(p - left), to_up = abs(p - up), to_corner = abs(p - corner);
    int nearest = to_left <= to_up && to_left <= to_corner ? left : to_up <= to_corner ? up : corner;
    const int predicted[] = {0, left, up, (left + up) / 2, nearest};
    return filter < 5 ? predicted[filter] : 0;
}

/* Rows as a PNG has them before they are deflated. */
static size_t filter_rows(const struct kind *kind, uint8_t *to)
{
    size_t n = (size_t)kind->width * kind->channels, at = 0;
    for (uint32_t y = 0; y < kind->height; y++) {
        int filter = kind->filter >= 0 ? kind->filter : (int)(y % 5);
        to[at++] = (uint8_t)filter;
        for (size_t i = 0; i < n; i++) {
            bool has_left = i >= kind->channels;
            int left = has_left ? value(kind, y, i - kind->channels) : 0, up = y > 0 ? value(kind, y - 1, i) : 0;
            int corner = has_left && y > 0 ? value(kind, y - 1, i - kind->channels) : 0;
            to[at++] = (uint8_t)(value(kind, y, i) - predictor(filter, left, up, corner));
        }
    }
    return at;
}

static void write_file(const struct kind *kind, const char *besides, struct file *file)
{
    static uint8_t rows[4 * MOST_PIXELS], packed[4 * MOST_PIXELS];
    uLongf size = sizeof packed, done = 0;
    static struct file head;
    head.size = 0;
    put_number(&head, kind->width);
    put_number(&head, kind->height);
    memcpy(head.bytes + head.size, (const uint8_t[]){8, kind->channels == 3 ? 2 : 0, 0, 0, 0}, 5);
    cr_assert_eq(compress2(packed, &size, rows, filter_rows(kind, rows), 6), Z_OK);
    memcpy(file->bytes, "\x89PNG\r\n\x1a\n", 8);
    file->size = 8;
    put_chunk(file, "IHDR", head.bytes, head.size + 5);
    if (besides != NULL)
        put_chunk(file, besides, (const uint8_t *)"a\0b", 3);
    for (uint32_t i = 0; i < kind->n_chunks; i++) {
        size_t n = i + 1 == kind->n_chunks ? size - done : size / kind->n_chunks;
        put_chunk(file, "IDAT", packed + done, n);
        done += n;
    }
    put_chunk(file, "IEND", packed, 0);
}

static enum ebm_status read_file(const struct kind *kind, const struct file *file, struct pixels *ret_pixels)
{
    const struct image_header header = {
        .format = IMAGE_PNG, .width = kind->width, .height = kind->height, .channels = kind->channels};
    return png_decode_plain(file->bytes, file->size, &header, ret_pixels);
}

Test(png_plain, every_filter_gives_what_was_written)
{
    static struct file file;
    static const uint32_t widths[] = {1, 2, 7, 64, 300}, heights[] = {1, 2, 11};
    for (uint32_t i = 0; i < 5 * 3 * 2 * 6 * 2; i++) {
        const struct kind kind = {.width = widths[i % 5],
                                  .height = heights[i / 5 % 3],
                                  .channels = i / 15 % 2 ? 3 : 1,
                                  .filter = (int)(i / 30 % 6) - 1,
                                  .n_chunks = i / 180 ? 3 : 1};
        struct pixels pixels = {.at = NULL};
        size_t n = (size_t)kind.width * kind.channels;
        write_file(&kind, NULL, &file);
        cr_assert_eq(read_file(&kind, &file, &pixels), EBM_OK, "%u x %u x %u, filter %d", kind.width, kind.height,
                     kind.channels, kind.filter);
        cr_assert(pixels.width == kind.width && pixels.height == kind.height && pixels.channels == kind.channels);
        for (size_t p = 0; p < n * kind.height; p++)
            cr_assert_eq(pixels.at[p], value(&kind, (uint32_t)(p / n), p % n), "filter %d, number %zu", kind.filter, p);
        free(pixels.at);
    }
}

static void expect_left_alone(const struct kind *kind, const struct file *file, const char *what, size_t at)
{
    struct pixels pixels = {.at = NULL};
    cr_assert_eq(read_file(kind, file, &pixels), EBM_INVALID, "%s %zu", what, at);
    cr_assert_null(pixels.at);
}

Test(png_plain, a_damaged_file_is_left_alone)
{
    static struct file file;
    const struct kind kind = {.width = 7, .height = 5, .channels = 3, .filter = -1, .n_chunks = 2};
    write_file(&kind, NULL, &file);
    for (size_t i = 0; i < file.size; i++) {
        file.bytes[i] ^= 0x10;
        expect_left_alone(&kind, &file, "byte", i);
        file.bytes[i] ^= 0x10;
    }
    for (size_t whole = file.size--; file.size > 0; file.size--)
        expect_left_alone(&kind, &file, "cut off at", whole - file.size);
}

/* Rows that say the truth of their checksums, and not of anything else. */
Test(png_plain, another_kind_is_left_alone)
{
    static struct file file;
    const struct kind kind = {.width = 7, .height = 5, .channels = 3, .filter = 2, .n_chunks = 1};
    struct kind wrong = kind;
    write_file(&kind, "tEXt", &file);
    expect_left_alone(&kind, &file, "a chunk besides", 0);
    wrong.filter = 5;
    write_file(&wrong, NULL, &file);
    expect_left_alone(&kind, &file, "a filter that is none", 0);
    write_file(&kind, NULL, &file);
    file.size++;
    expect_left_alone(&kind, &file, "bytes behind the end", 0);
    for (uint32_t more = 0; more < 2; more++) {
        wrong = kind;
        wrong.height = more ? kind.height + 1 : kind.height - 1;
        write_file(&wrong, NULL, &file);
        expect_left_alone(&kind, &file, more ? "a row too many" : "a row too few", 0);
    }
}
