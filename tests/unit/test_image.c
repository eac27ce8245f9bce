/* test_image.c - PNG and JPEG of every kind against formulas and Pillow; what is refused, and why. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images/image.h"
#include "tests/unit/image_values.h"

#define WIDTH 7u
#define HEIGHT 5u
#define FILE_BYTES 65536u

/* As tests/make_images.py wrote it. */
static uint8_t value(uint32_t x, uint32_t y, uint32_t c)
{
    return (uint8_t)(x * 37 + y * 59 + c * 83 + x * y * 11);
}

static size_t read_image(const char *name, uint8_t *bytes)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/images/%s", getenv("EBM_SOURCE_ROOT"), name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    size_t size = fread(bytes, 1, FILE_BYTES, file);
    (void)fclose(file);
    return size;
}

static enum ebm_status decode(const char *name, const struct image_shape *shape, enum image_resize how, uint8_t *pixels,
                              struct ebm_error *error)
{
    static uint8_t bytes[FILE_BYTES];
    size_t size = read_image(name, bytes);
    *error = (struct ebm_error){.status = EBM_OK};
    return image_decode(bytes, size, LIMIT_DECODED_PIXELS, shape, how, pixels, error);
}

static void expect(const char *name, const struct image_shape *shape, enum image_resize how, const uint8_t *expected,
                   int within)
{
    struct ebm_error error;
    uint8_t pixels[1024];
    cr_assert_leq(image_size(shape), sizeof pixels);
    cr_assert_eq(decode(name, shape, how, pixels, &error), EBM_OK, "%s: %s", name, error.text);
    for (size_t i = 0; i < image_size(shape); i++)
        cr_assert_leq(abs(pixels[i] - expected[i]), within, "%s %ux%u, number %zu: %u, expected %u", name, shape->width,
                      shape->height, i, pixels[i], expected[i]);
}

Test(image, every_png_of_colours_is_what_was_written)
{
    static const char *const names[] = {"rgb.png",          "rgb_16.png",  "rgb_interlaced.png", "rgb_alpha.png",
                                        "rgb_alpha_16.png", "palette.png", "palette_alpha.png"};
    const struct image_shape shape = {3, HEIGHT, WIDTH};
    uint8_t expected[3 * HEIGHT * WIDTH], *at = expected;
    for (uint32_t c = 0; c < 3; c++)
        for (uint32_t y = 0; y < HEIGHT; y++)
            for (uint32_t x = 0; x < WIDTH; x++)
                *at++ = value(x, y, c);
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++)
        expect(names[i], &shape, IMAGE_BILINEAR, expected, 0);
}

Test(image, every_grey_png_is_what_was_written)
{
    static const char *const names[] = {"grey.png", "grey_16.png", "grey_alpha.png", "grey_1.png"};
    uint8_t expected[3 * HEIGHT * WIDTH];
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++) {
        for (uint32_t p = 0; p < 3 * HEIGHT * WIDTH; p++) {
            uint8_t v = value(p % WIDTH, p / WIDTH % HEIGHT, 0);
            expected[p] = strcmp(names[i], "grey_1.png") == 0 ? (v >= 128 ? 255 : 0) : v;
        }
        expect(names[i], &(struct image_shape){1, HEIGHT, WIDTH}, IMAGE_BILINEAR, expected, 0);
        expect(names[i], &(struct image_shape){3, HEIGHT, WIDTH}, IMAGE_BILINEAR, expected, 0);
    }
}

Test(image, sizes_and_grey_are_pillows)
{
    static const struct {
        uint32_t width, height;
        const uint8_t *bilinear, *area;
    } cases[] = {{3, 2, bilinear_3_2, area_3_2}, {10, 4, bilinear_10_4, area_10_4}, {7, 11, bilinear_7_11, area_7_11}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        const struct image_shape shape = {3, cases[i].height, cases[i].width};
        expect("rgb.png", &shape, IMAGE_BILINEAR, cases[i].bilinear, 0);
        expect("rgb.png", &shape, IMAGE_AREA, cases[i].area, 0);
    }
    expect("rgb.png", &(struct image_shape){1, HEIGHT, WIDTH}, IMAGE_BILINEAR, grey_of_rgb, 0);
}

Test(image, jpegs_are_pillows)
{
    const struct image_shape colours = {3, 16, 16}, grey = {1, 16, 16};
    expect("rgb.jpg", &colours, IMAGE_BILINEAR, rgb_jpg, 1); /* versions of libjpeg differ in the last bit */
    expect("rgb_420.jpg", &colours, IMAGE_BILINEAR, rgb_420_jpg, 1);
    expect("progressive.jpg", &colours, IMAGE_BILINEAR, progressive_jpg, 1);
    expect("grey.jpg", &grey, IMAGE_BILINEAR, grey_jpg, 1);
}

Test(image, headers_alone)
{
    static const struct {
        const char *name;
        struct image_header header;
    } cases[] = {{"rgb.png", {IMAGE_PNG, WIDTH, HEIGHT, 3}},
                 {"grey_alpha.png", {IMAGE_PNG, WIDTH, HEIGHT, 1}},
                 {"palette.png", {IMAGE_PNG, WIDTH, HEIGHT, 3}},
                 {"grey.jpg", {IMAGE_JPEG, 16, 16, 1}},
                 {"rgb_420.jpg", {IMAGE_JPEG, 16, 16, 3}}};
    static uint8_t bytes[FILE_BYTES];
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct image_header header;
        size_t size = read_image(cases[i].name, bytes);
        cr_assert_eq(image_read_header(bytes, size, LIMIT_DECODED_PIXELS, &header, NULL), EBM_OK, "%s", cases[i].name);
        cr_assert_eq(memcmp(&header, &cases[i].header, sizeof header), 0, "%s: %u x %u x %u", cases[i].name,
                     header.channels, header.height, header.width);
    }
}

static void refuse(const char *what, const uint8_t *bytes, size_t size, enum ebm_status expected, const char *words)
{
    const struct image_shape shape = {3, 4, 4};
    uint8_t pixels[48];
    struct ebm_error error = {.text = ""};
    enum ebm_status status = image_decode(bytes, size, LIMIT_DECODED_PIXELS, &shape, IMAGE_BILINEAR, pixels, &error);
    cr_assert_eq(status, expected, "%s: %s, %s", what, ebm_status_name(status), error.text);
    cr_assert_str_eq(error.where, "image");
    cr_assert_not_null(strstr(error.text, words), "%s: '%s' has no '%s'", what, error.text, words);
}

Test(image, refusals_say_why)
{
    static uint8_t bytes[FILE_BYTES];
    size_t size = read_image("huge.png", bytes);
    refuse("12000 x 12000", bytes, size, EBM_TOO_LARGE, "12000 x 12000 pixels, at most 67108864");
    refuse("the header alone", bytes, 33, EBM_TOO_LARGE, "12000 x 12000");
    size = read_image("cmyk.jpg", bytes);
    refuse("CMYK", bytes, size, EBM_INVALID, "CMYK");
    refuse("nothing", bytes, 0, EBM_INVALID, "neither");
    refuse("text", (const uint8_t *)"some text..", 11, EBM_INVALID, "neither");
    refuse("GIF", (const uint8_t *)"GIF89a.....", 11, EBM_INVALID, "a GIF, expected a PNG or a JPEG");
    refuse("WebP", (const uint8_t *)"RIFF\0\0\0\0WEBPVP8 ", 16, EBM_INVALID, "WebP");
    refuse("text of a PNG", (const uint8_t *)"iVBORw0KGgoAAAA", 15, EBM_INVALID, "base64");
    size = read_image("rgb.png", bytes);
    for (size_t n = 8; n + 4 < size; n++) /* the last four are the checksum of nothing */
        refuse("a PNG cut off", bytes, n, EBM_INVALID, "PNG");
    bytes[50] ^= 0x40;
    refuse("a damaged PNG", bytes, size, EBM_INVALID, "not a whole PNG");
    size = read_image("rgb.jpg", bytes);
    for (size_t n = 3; n < size; n += 7)
        refuse("a JPEG cut off", bytes, n, EBM_INVALID, "JPEG");
}

/* A chunk acTL behind the header, as APNG has it. */
Test(image, animated_png_is_refused)
{
    static const uint8_t animation[20] = {0, 0, 0, 8, 'a', 'c', 'T', 'L', 0, 0, 0, 2};
    static uint8_t bytes[FILE_BYTES];
    const size_t head = 33;
    size_t size = read_image("rgb.png", bytes);
    memmove(bytes + head + sizeof animation, bytes + head, size - head);
    memcpy(bytes + head, animation, sizeof animation);
    refuse("APNG", bytes, size + sizeof animation, EBM_INVALID, "an animated PNG");
}

/* Scans of a few bytes that each go over all pixels; a thumbnail's, and what phones put behind an image, are none. */
Test(image, scans_of_a_jpeg_are_counted)
{
    static uint8_t bytes[2 * FILE_BYTES];
    const struct image_shape shape = {3, 2, 2};
    uint8_t pixels[12];
    struct ebm_error error = {.text = ""};
    size_t size = read_image("progressive.jpg", bytes), scan = size - 2;
    while (bytes[scan] != 0xff || bytes[scan + 1] != 0xda)
        scan--;
    size_t n = size - 2 - scan;
    memset(bytes + size, 0xff, 1000);
    for (size_t i = 0; i < 500; i++)
        bytes[size + 2 * i + 1] = 0xda;
    cr_assert_eq(image_decode(bytes, size + 1000, 256, &shape, IMAGE_AREA, pixels, &error), EBM_OK, "%s", error.text);
    for (uint32_t i = 1; i <= 64; i++)
        memcpy(bytes + size - 2 + (i - 1) * n, bytes + scan, n);
    memcpy(bytes + size - 2 + 64 * n, "\xff\xd9", 2);
    cr_assert_eq(image_decode(bytes, size + 64 * n, 256, &shape, IMAGE_AREA, pixels, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "more than 64 scans"), "%s", error.text);
}

Test(image, limits_of_pixels_are_the_callers)
{
    static uint8_t bytes[FILE_BYTES];
    struct image_header header;
    struct ebm_error error;
    size_t size = read_image("rgb.png", bytes);
    cr_assert_eq(image_read_header(bytes, size, WIDTH * HEIGHT, &header, &error), EBM_OK);
    cr_assert_eq(image_read_header(bytes, size, WIDTH * HEIGHT - 1, &header, &error), EBM_TOO_LARGE);
}

Test(image, what_is_written_reads_back)
{
    for (uint32_t channels = 1; channels <= 3; channels += 2) {
        const struct image_shape shape = {channels, 9, 13};
        uint8_t pixels[3 * 9 * 13], again[3 * 9 * 13];
        struct ebm_buf png;
        ebm_buf_init(&png, FILE_BYTES);
        for (size_t i = 0; i < image_size(&shape); i++)
            pixels[i] = (uint8_t)(i * 41 + i * i);
        cr_assert_eq(image_encode_png(pixels, &shape, &png, NULL), EBM_OK);
        cr_assert_eq(image_decode(png.bytes, png.size, LIMIT_DECODED_PIXELS, &shape, IMAGE_AREA, again, NULL), EBM_OK);
        cr_assert_eq(memcmp(pixels, again, image_size(&shape)), 0);
        ebm_buf_done(&png);
    }
}

Test(image, weights_sum_to_one_at_any_size)
{
    uint8_t from[97], to[300];
    memset(from, 201, sizeof from);
    const struct image_view view = {
        .at = from, .channels = 1, .height = 1, .width = 97, .row_step = 97, .pixel_step = 1};
    for (uint32_t width = 1; width <= sizeof to; width++)
        for (int how = IMAGE_BILINEAR; how <= IMAGE_AREA; how++) {
            const struct image_shape shape = {1, 1, width};
            cr_assert_eq(image_convert(&view, &shape, (enum image_resize)how, to, NULL), EBM_OK);
            for (uint32_t x = 0; x < width; x++)
                cr_assert_eq(to[x], 201, "width %u, pixel %u: %u", width, x, to[x]);
        }
}
