/* test_picture.c - generated images: their bytes, what their numbers mean, and that nothing else decides. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/picture.h"
#include "trainer/picture_pose.c" /* its inside: a head that is turned as the test says */

#define PIXELS (3 * 64 * 64)

static const char *const names[] = {"cells", "digits-angle", "pose", "steering"};
static struct picture_material digits;

static void read_digits(void)
{
    char folder[512];
    struct ebm_error error = {.text = ""};
    (void)snprintf(folder, sizeof folder, "%s/examples/digits", getenv("EBM_SOURCE_ROOT"));
    cr_assert_eq(picture_read_digits(folder, &digits, &error), EBM_OK, "%s: %s", error.where, error.text);
}

static void free_digits(void)
{
    picture_material_done(&digits);
}

static void make(const char *name, uint64_t seed, uint32_t row, uint8_t *pixels, double *numbers)
{
    const struct picture_kind *kind = picture_find(name);
    float *space = calloc(kind->space + 1, sizeof *space);
    cr_assert(image_size(&kind->shape) <= PIXELS && kind->n_columns <= PICTURE_COLUMNS);
    kind->draw(&digits, seed, row, space, pixels, numbers);
    free(space);
}

static uint32_t checksum(const uint8_t *bytes, size_t n)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return hash;
}

TestSuite(picture, .init = read_digits, .fini = free_digits);

/* The same seed, the same bytes: for ever. */
Test(picture, known_bytes_and_numbers)
{
    static const struct {
        uint32_t checksum;
        double numbers[3];
    } expected[] = {{0x94b8df0eu, {166}},
                    {0x82413161u, {56, 1, 112.697252}},
                    {0xce675110u, {36.3481381, -56.5640284, -5.88029529}},
                    {0xfadd9984u, {1, 86.7545453}}};
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++) {
        const struct picture_kind *kind = picture_find(names[i]);
        uint8_t pixels[PIXELS];
        double numbers[PICTURE_COLUMNS];
        make(names[i], 7, 3, pixels, numbers);
        uint32_t got = checksum(pixels, image_size(&kind->shape));
        cr_expect_eq(got, expected[i].checksum, "%s: 0x%08xu", names[i], got);
        for (uint32_t j = 0; j < kind->n_columns; j++)
            cr_expect_float_eq(numbers[j], expected[i].numbers[j], 1e-6, "%s, %s: %.9g", names[i], kind->columns[j],
                               numbers[j]);
    }
    cr_assert_null(picture_find("toy1"));
}

Test(picture, rows_and_seeds_differ)
{
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++) {
        size_t size = image_size(&picture_find(names[i])->shape);
        uint8_t a[PIXELS], b[PIXELS];
        double numbers[PICTURE_COLUMNS];
        make(names[i], 7, 0, a, numbers);
        make(names[i], 7, 1, b, numbers);
        cr_assert_neq(memcmp(a, b, size), 0, "%s", names[i]);
        make(names[i], 8, 0, b, numbers);
        cr_assert_neq(memcmp(a, b, size), 0, "%s", names[i]);
        make(names[i], 7, 0, b, numbers);
        cr_assert_eq(memcmp(a, b, size), 0, "%s", names[i]);
    }
}

static double mean_of(const uint8_t *pixels, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += pixels[i];
    return sum / n;
}

/* Counts from 1 to 200, all alike; what stands out of the background grows with them. */
Test(picture, cells_are_as_many_as_are_told)
{
    enum { ROWS = 300 };
    double sum = 0.0, xy = 0.0, xx = 0.0, yy = 0.0, light[ROWS], counts[ROWS], mean_light = 0.0;
    uint8_t pixels[PIXELS];
    for (uint32_t row = 0; row < ROWS; row++) {
        make("cells", 1, row, pixels, &counts[row]);
        cr_assert(counts[row] >= 1 && counts[row] <= 200 && counts[row] == floor(counts[row]));
        uint32_t n[256] = {0}, seen = 0, dark = 0;
        for (uint32_t i = 0; i < 4096; i++)
            n[pixels[i]]++;
        while (seen < 410) /* the darkest tenth is background */
            seen += n[dark++];
        light[row] = mean_of(pixels, 4096) - dark;
        sum += counts[row] / ROWS;
        mean_light += light[row] / ROWS;
    }
    for (uint32_t row = 0; row < ROWS; row++) {
        xy += (counts[row] - sum) * (light[row] - mean_light);
        xx += (counts[row] - sum) * (counts[row] - sum);
        yy += (light[row] - mean_light) * (light[row] - mean_light);
    }
    cr_assert_float_eq(sum, 100.5, 10.0, "mean count %g", sum);
    cr_assert_gt(xy / sqrt(xx * yy), 0.9, "correlation %g", xy / sqrt(xx * yy));
}

/* Turned back by its angle, a picture looks like its digit. */
Test(picture, digits_are_turned_by_their_angle)
{
    uint8_t pixels[PIXELS];
    double numbers[PICTURE_COLUMNS], worst = 1.0;
    for (uint32_t row = 0; row < 50; row++) {
        make("digits-angle", 2, row, pixels, numbers);
        const unsigned char *digit = digits.images.bytes + (size_t)numbers[0] * 64;
        cr_assert_eq(numbers[1], digits.labels.bytes[(size_t)numbers[0]]);
        double c = cos(numbers[2] * M_PI / 180.0), s = sin(numbers[2] * M_PI / 180.0), n = 64.0;
        double x = 0.0, y = 0.0, xy = 0.0, xx = 0.0, yy = 0.0;
        for (int i = 0; i < 64; i++) {
            double u = (i % 8 - 3.5) * 5.5, v = (3.5 - i / 8) * 5.5; /* v upwards: against the clock */
            double got = pixels[(int)floor(32.0 - (s * u + c * v)) * 64 + (int)floor(32.0 + c * u - s * v)];
            x += digit[i];
            y += got;
            xy += digit[i] * got;
            xx += digit[i] * digit[i];
            yy += got * got;
        }
        worst = fmin(worst, (xy - x * y / n) / sqrt((xx - x * x / n) * (yy - y * y / n)));
    }
    cr_assert_gt(worst, 0.85, "correlation %g", worst);
}

/* The mirror image of (yaw, pitch, roll) is (-yaw, pitch, -roll) under the mirrored light. */
Test(picture, a_mirrored_head_has_other_signs)
{
    const double angles[3] = {33.0, -21.0, 17.0}, mirrored[3] = {-33.0, -21.0, -17.0};
    struct picture_draws d = picture_begin(1, 2, 3), again = d;
    struct scene a = draw_scene(&d, angles), b = draw_scene(&again, mirrored);
    b.light.x = -a.light.x;
    for (int i = 0; i < 400; i++) {
        double x = (i % 20 - 9.3) / 8.0, y = (i / 20 - 9.6) / 8.0, left[3], right[3];
        look(&a, x, y, left);
        look(&b, -x, y, right);
        for (int c = 0; c < 3; c++)
            cr_assert_float_eq(left[c], right[c], 1e-9, "(%g, %g), channel %d: %g, %g", x, y, c, left[c], right[c]);
    }
}

/* Yaw to the right moves the nose to the right, pitch upwards lifts it, roll against the clock moves the chin to the
 * right. */
Test(picture, heads_turn_as_their_angles_say)
{
    static const struct {
        double angles[3];
        struct vector of, least, most;
    } cases[] = {{{40.0, 0.0, 0.0}, {0.0, 0.0, 1.0}, {0.6, -0.01, 0.7}, {0.7, 0.01, 0.8}},
                 {{0.0, 40.0, 0.0}, {0.0, 0.0, 1.0}, {-0.01, 0.6, 0.7}, {0.01, 0.7, 0.8}},
                 {{0.0, 0.0, 40.0}, {0.0, -1.0, 0.0}, {0.6, -0.8, -0.01}, {0.7, -0.7, 0.01}}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct scene s = {.scale = 1.0};
        turn(cases[i].angles[0], cases[i].angles[1], cases[i].angles[2], s.axes);
        struct vector v = out_of_head(&s, cases[i].of), low = cases[i].least, high = cases[i].most;
        cr_assert(v.x > low.x && v.x < high.x && v.y > low.y && v.y < high.y && v.z > low.z && v.z < high.z,
                  "case %zu: %g %g %g", i, v.x, v.y, v.z);
    }
}

/* Where the road forks the wheel is turned to either side, each about half of the times, and seldom straight on. */
Test(picture, forks_have_two_ways)
{
    uint32_t n_forks = 0, n_left = 0, n_straight = 0;
    uint8_t pixels[PIXELS];
    double numbers[PICTURE_COLUMNS], squares = 0.0;
    for (uint32_t row = 0; row < 400; row++) {
        make("steering", 3, row, pixels, numbers);
        cr_assert(isfinite(numbers[1]) && fabs(numbers[1]) < 300.0, "%g", numbers[1]);
        if (numbers[0] == 1.0) {
            n_forks++;
            n_left += numbers[1] < 0.0;
            n_straight += fabs(numbers[1]) < 10.0;
        } else {
            squares += numbers[1] * numbers[1];
        }
    }
    cr_assert(n_forks > 80 && n_forks < 160, "%u forks", n_forks);
    cr_assert(n_left > 0.35 * n_forks && n_left < 0.65 * n_forks, "%u of %u to the left", n_left, n_forks);
    cr_assert_lt(n_straight, 0.1 * n_forks, "%u of %u straight on", n_straight, n_forks);
    cr_assert(squares > 0.0);
}
