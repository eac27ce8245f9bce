/* test_image_rows.c - images of a request: read out of JSON, counted by their headers, decoded into rows. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/request.h"
#include "server/image_rows.h"

#define SIDE 4u
#define PIXELS (SIDE * SIDE)
#define TEXT_BYTES 4096u

static const struct request_limits limits = {
    .max_rows = 3, .max_samples = 65536, .max_steps = 10000, .max_timeout_ms = 30000};
static struct ebm_arena arena;
static struct ebm_buf png;
static uint8_t pixels[PIXELS];
static uint32_t n_asked, n_wanted;

static bool is_wanted(const void *who)
{
    (void)who;
    return n_asked++ < n_wanted;
}

static struct image_rows how;

static void set_up(void)
{
    const struct image_shape shape = {1, SIDE, SIDE};
    for (uint32_t i = 0; i < PIXELS; i++)
        pixels[i] = (uint8_t)(i * 13 + 5);
    ebm_arena_init(&arena, 1 << 20);
    ebm_buf_init(&png, TEXT_BYTES);
    cr_assert_eq(image_encode_png(pixels, &shape, &png, NULL), EBM_OK);
    n_asked = 0;
    n_wanted = 100;
    how = (struct image_rows){.shape = shape, .max_pixels = 1000, .wanted = is_wanted};
}

static void tear_down(void)
{
    ebm_arena_done(&arena);
    ebm_buf_done(&png);
}

TestSuite(image_rows, .init = set_up, .fini = tear_down);

/* The PNG as text. */
static void write_base64(char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *bytes = (const uint8_t *)png.bytes;
    for (size_t at = 0; at < png.size; at += 3) {
        size_t n = png.size - at < 3 ? png.size - at : 3;
        uint32_t bits = 0;
        for (size_t i = 0; i < n; i++)
            bits |= (uint32_t)bytes[at + i] << (16 - 8 * i);
        for (size_t i = 0; i < 4; i++)
            *text++ = i <= n ? letters[bits >> (18 - 6 * i) & 63] : '=';
    }
    *text = 0;
}

static enum ebm_status read(const char *body, struct request *ret_request, struct ebm_error *reterr)
{
    return request_read(REQUEST_PREDICT, body, strlen(body), &limits, &arena, ret_request, reterr);
}

Test(image_rows, images_of_json_become_rows)
{
    char base64[TEXT_BYTES], body[3 * TEXT_BYTES];
    struct request request;
    struct ebm_error error;
    write_base64(base64);
    (void)snprintf(body, sizeof body, "{\"inputs\":[{\"b64\":\"%s\"},{\"b64\":\"%s\"}],\"seed\":1}", base64, base64);
    cr_assert_eq(read(body, &request, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert(request.inputs.n == 2 && request.inputs.X == 0 && !request.inputs.numbers && !request.inputs.bytes);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(request.inputs.images[i].size, png.size);
        cr_assert(memcmp(request.inputs.images[i].bytes, png.bytes, png.size) == 0);
    }
    cr_assert_eq(image_rows_decode(&how, &request.inputs, &arena, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert(request.inputs.n == 2 && request.inputs.X == PIXELS && !request.inputs.images);
    cr_assert(request.inputs.dims[0] == 1 && request.inputs.dims[1] == SIDE && request.inputs.dims[2] == SIDE);
    cr_assert(memcmp(request.inputs.bytes, pixels, PIXELS) == 0);
    cr_assert(memcmp(request.inputs.bytes + PIXELS, pixels, PIXELS) == 0);
}

Test(image_rows, lists_that_are_not_images_are_refused)
{
    static const struct {
        const char *inputs, *where, *fragment;
    } cases[] = {
        {"[{}]", "inputs[0]", "expected one member"},
        {"[{\"png\":\"\"}]", "inputs[0]", "expected one member: {\"b64\""},
        {"[{\"b64\":\"\",\"x\":1}]", "inputs[0]", "expected one member"},
        {"[{\"b64\":7}]", "inputs[0].b64", "expected a text, got a number"},
        {"[{\"b64\":\"Zm9v\"},[1]]", "inputs[1]", "expected an image as before it"},
        {"[{\"b64\":\"Zm9v\"},7]", "inputs[1]", "got a number"},
        {"[[1],{\"b64\":\"Zm9v\"}]", "inputs[1]", "got an object"},
        {"[{\"b64\":\"Zm9\"}]", "inputs[0].b64", "cut off"},
        {"[{\"b64\":\"Zm9v\\nZm9v\"}]", "inputs[0].b64", "without line breaks, got one at character 4"},
        {"[{\"b64\":\"data:image/png;base64,Zm9v\"}]", "inputs[0].b64", "expected base64 alone"},
        {"[{\"b64\":\"Zm9*\"}]", "inputs[0].b64", "character 3 does not belong"},
        {"[{\"b64\":\"\"},{\"b64\":\"\"},{\"b64\":\"\"},{\"b64\":\"\"}]", "inputs", "1 to 3"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        char body[256];
        struct request request;
        struct ebm_error error = {.status = EBM_OK};
        (void)snprintf(body, sizeof body, "{\"inputs\":%s}", cases[i].inputs);
        cr_expect_eq(read(body, &request, &error), EBM_INVALID, "%s", body);
        cr_expect_str_eq(error.where, cases[i].where, "%s", body);
        cr_expect(strstr(error.text, cases[i].fragment), "%s: %s", body, error.text);
    }
}

static enum ebm_status decode(const struct field_image *images, uint32_t n, struct ebm_error *reterr)
{
    struct field_rows rows = {.n = n, .images = images};
    *reterr = (struct ebm_error){.status = EBM_OK};
    return image_rows_decode(&how, &rows, &arena, reterr);
}

Test(image_rows, pixels_of_all_images_together_are_counted)
{
    const struct field_image image = {(const uint8_t *)png.bytes, png.size}, images[] = {image, image, image};
    struct ebm_error error;
    how.max_pixels = 3 * PIXELS;
    cr_assert_eq(decode(images, 3, &error), EBM_OK, "%s", error.text);
    how.max_pixels = 3 * PIXELS - 1;
    cr_assert_eq(decode(images, 3, &error), EBM_TOO_LARGE);
    cr_expect_str_eq(error.where, "inputs");
    cr_expect(strstr(error.text, "48 pixels so far, at most 47"), "%s", error.text);
    how.max_pixels = PIXELS - 1;
    cr_assert_eq(decode(images, 3, &error), EBM_TOO_LARGE);
    cr_expect_str_eq(error.where, "inputs[0]");
    how.shape = (struct image_shape){3, 8, 8};
    how.max_pixels = 3 * 64 - 1;
    cr_assert_eq(decode(images, 3, &error), EBM_TOO_LARGE, "what they become counts where it is more");
    cr_assert_eq(decode(images, 2, &error), EBM_OK);
}

Test(image_rows, a_strip_counts_as_it_is_while_it_is_resized)
{
    uint8_t strip[30] = {0};
    struct ebm_error error;
    ebm_buf_done(&png);
    ebm_buf_init(&png, TEXT_BYTES);
    cr_assert_eq(image_encode_png(strip, &(struct image_shape){1, 30, 1}, &png, NULL), EBM_OK);
    const struct field_image image = {(const uint8_t *)png.bytes, png.size};
    how.max_pixels = 30 * SIDE - 1;
    cr_assert_eq(decode(&image, 1, &error), EBM_TOO_LARGE);
    cr_expect(strstr(error.text, "1 images of 120 pixels so far"), "%s", error.text);
    how.max_pixels = 30 * SIDE;
    cr_assert_eq(decode(&image, 1, &error), EBM_OK, "%s", error.text);
}

Test(image_rows, refusals_say_which_image)
{
    const struct field_image good = {(const uint8_t *)png.bytes, png.size},
                             cut = {(const uint8_t *)png.bytes, png.size - 20}, other = {(const uint8_t *)"GIF89a", 6},
                             nothing = {NULL, 0};
    const struct field_image lists[][2] = {{good, cut}, {good, other}, {good, nothing}};
    struct ebm_error error;
    for (size_t i = 0; i < EBM_COUNT_OF(lists); i++) {
        cr_expect_eq(decode(lists[i], 2, &error), EBM_INVALID);
        cr_expect_str_eq(error.where, "inputs[1]");
    }
    how.is_body = true;
    cr_expect_eq(decode(&other, 1, &error), EBM_INVALID);
    cr_expect_str_eq(error.where, "body");
    cr_expect(strstr(error.text, "a GIF, expected"), "%s", error.text);
}

Test(image_rows, nothing_is_decoded_for_nobody)
{
    const struct field_image image = {(const uint8_t *)png.bytes, png.size}, images[] = {image, image, image};
    struct ebm_error error;
    n_wanted = 1;
    cr_expect_eq(decode(images, 3, &error), EBM_CANCELLED);
    cr_expect_eq(n_asked, 2);
}
