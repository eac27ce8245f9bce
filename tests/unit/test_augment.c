/* test_augment.c - what may be drawn for an image and its targets, how often, and that nothing else is changed. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "trainer/augment.h"

#define SIDE 8u
#define PIXELS (3 * SIDE * SIDE)

static char yaw[] = "yaw", pitch[] = "pitch", roll[] = "roll", jaw[] = "jaw";
static char *names[] = {yaw, pitch, roll}, *turned[] = {roll, yaw};
static const struct image_shape shape = {3, SIDE, SIDE};

static void make_image(uint8_t *pixels)
{
    for (uint32_t i = 0; i < PIXELS; i++)
        pixels[i] = (uint8_t)(1 + i);
}

static struct augment *new_augment(const struct augment_options *options)
{
    struct augment *augment = NULL;
    cr_assert_eq(augment_check(options, names, 3, NULL), EBM_OK);
    cr_assert_eq(augment_new(options, &shape, names, 3, &augment), EBM_OK);
    return augment;
}

Test(augment, half_of_the_images_are_mirrored_and_their_signs_turn)
{
    const struct augment_options options = {.flip = true, .negate = turned, .n_negate = 2};
    struct augment *augment = new_augment(&options);
    uint8_t pixels[PIXELS], kept[PIXELS], out[PIXELS];
    double y[3] = {10.0, 20.0, -30.0}, got[3];
    uint32_t n_mirrored = 0;
    make_image(pixels);
    memcpy(kept, pixels, PIXELS);
    for (uint32_t number = 0; number < 2000; number++) {
        augment_row(augment, 5, number, pixels, y, out, got);
        bool mirrored = out[0] == pixels[SIDE - 1];
        n_mirrored += mirrored;
        for (uint32_t i = 0; i < PIXELS; i++)
            cr_assert_eq(out[i], pixels[mirrored ? i / SIDE * SIDE + SIDE - 1 - i % SIDE : i], "number %u", number);
        cr_assert_eq(got[0], mirrored ? -10.0 : 10.0);
        cr_assert_eq(got[1], 20.0);
        cr_assert_eq(got[2], mirrored ? 30.0 : -30.0);
    }
    cr_assert(n_mirrored > 900 && n_mirrored < 1100, "%u of 2000", n_mirrored);
    cr_assert_eq(memcmp(pixels, kept, PIXELS), 0, "the data set's image was changed");
    cr_assert_eq(y[0], 10.0, "the data set's target was changed");
    (void)augment_free(augment);
}

/* Either way with probability 1/2, independently: four images, all equally likely. */
Test(augment, upside_down_and_mirrored)
{
    const struct augment_options options = {.flip = true, .flip_vertical = true, .negate = turned, .n_negate = 2};
    struct augment *augment = new_augment(&options);
    uint8_t pixels[PIXELS], out[PIXELS];
    double y[3] = {10.0, 20.0, -30.0}, got[3];
    uint32_t counts[4] = {0};
    make_image(pixels);
    for (uint32_t number = 0; number < 4000; number++) {
        augment_row(augment, 5, number, pixels, y, out, got);
        bool mirrored = got[0] < 0.0, over = out[mirrored ? SIDE - 1 : 0] != pixels[0];
        counts[2 * mirrored + over]++;
        for (uint32_t i = 0; i < PIXELS; i++) {
            uint32_t plane = i / (SIDE * SIDE), row = i / SIDE % SIDE, column = i % SIDE;
            uint32_t from = (plane * SIDE + (over ? SIDE - 1 - row : row)) * SIDE +
                            (mirrored ? SIDE - 1 - column : column);
            cr_assert_eq(out[i], pixels[from], "number %u", number);
        }
    }
    for (uint32_t i = 0; i < 4; i++)
        cr_assert(counts[i] > 900 && counts[i] < 1100, "%u: %u of 4000", i, counts[i]);
    (void)augment_free(augment);
}

/* Smaller: in the upper left corner, black beside. Larger: a window at any place that fits. */
Test(augment, scales_and_windows)
{
    double scales[] = {0.5, 1.0, 1.5};
    const struct augment_options options = {.scales = scales, .n_scales = 3};
    struct augment *augment = new_augment(&options);
    uint8_t pixels[PIXELS], out[PIXELS];
    double y[3] = {0.0}, got[3];
    uint32_t counts[3] = {0}, tops = 0, lefts = 0;
    for (uint32_t i = 0; i < PIXELS; i++)
        pixels[i] = (uint8_t)(10 + i % SIDE * 20 + i / SIDE % SIDE * 2);
    for (uint32_t number = 0; number < 3000; number++) {
        augment_row(augment, 6, number, pixels, y, out, got);
        uint32_t which = out[SIDE - 1] == 0 ? 0 : memcmp(out, pixels, PIXELS) == 0 ? 1 : 2;
        counts[which]++;
        for (uint32_t i = 0; which == 0 && i < PIXELS; i++)
            cr_assert_eq(out[i] > 0, i % SIDE < 4 && i / SIDE % SIDE < 4);
        if (which == 2) { /* a step of a pixel is 20 / 1.5 to the right and 2 / 1.5 down */
            lefts |= 1u << (uint32_t)lround((out[3] - 50) / 13.33);
            tops |= 1u << (uint32_t)((out[3 * SIDE] - out[0]) > 0);
        }
    }
    for (uint32_t i = 0; i < 3; i++)
        cr_assert(counts[i] > 850 && counts[i] < 1150, "scale %g: %u of 3000", scales[i], counts[i]);
    cr_assert_geq(__builtin_popcount(lefts), 5, "%x", lefts);
    cr_assert(tops != 0);
    (void)augment_free(augment);
}

Test(augment, brightness_stays_within_its_bounds)
{
    const struct augment_options options = {.brightness = 0.25};
    struct augment *augment = new_augment(&options);
    uint8_t pixels[PIXELS], out[PIXELS];
    double y[3] = {0.0}, got[3];
    uint8_t least = 255, most = 0;
    memset(pixels, 160, PIXELS);
    pixels[1] = 240;
    for (uint32_t number = 0; number < 2000; number++) {
        augment_row(augment, 7, number, pixels, y, out, got);
        least = out[0] < least ? out[0] : least;
        most = out[0] > most ? out[0] : most;
        cr_assert(out[0] >= 120 && out[0] <= 200, "%u", out[0]);
        cr_assert(out[1] >= 180, "%u", out[1]);
    }
    cr_assert(least < 122 && most > 198, "%u to %u", least, most);
    (void)augment_free(augment);
}

Test(augment, a_row_is_a_function_of_seed_and_number)
{
    double scales[] = {0.7, 1.1, 1.5};
    const struct augment_options options = {.flip = true, .scales = scales, .n_scales = 3, .brightness = 0.2};
    struct augment *one = new_augment(&options), *other = new_augment(&options);
    uint8_t pixels[PIXELS], a[PIXELS], b[PIXELS];
    double y[3] = {0.0}, got[3];
    uint32_t n_equal = 0;
    make_image(pixels);
    for (uint32_t number = 50; number-- > 0;)
        augment_row(other, 9, number, pixels, y, b, got); /* whatever was asked before */
    for (uint32_t number = 0; number < 50; number++) {
        augment_row(one, 8, number, pixels, y, a, got);
        augment_row(other, 8, number, pixels, y, b, got);
        cr_assert_eq(memcmp(a, b, PIXELS), 0);
        augment_row(other, 9, number, pixels, y, b, got);
        n_equal += memcmp(a, b, PIXELS) == 0;
    }
    cr_assert_lt(n_equal, 5, "%u rows are the same under another seed", n_equal);
    (void)augment_free(one);
    (void)augment_free(other);
}

Test(augment, options_are_checked)
{
    static char *unknown[] = {jaw};
    static double small[] = {0.01};
    static const struct {
        struct augment_options options;
        const char *where;
    } cases[] = {{{.negate = turned, .n_negate = 2}, "data.augment.negate"},
                 {{.flip = true, .negate = unknown, .n_negate = 1}, "data.augment.negate"},
                 {{.scales = small, .n_scales = 1}, "data.augment.scales"},
                 {{.scales = small, .n_scales = 65}, "data.augment.scales"}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_error error;
        cr_assert_neq(augment_check(&cases[i].options, names, 3, &error), EBM_OK);
        cr_assert_str_eq(error.where, cases[i].where);
    }
}
