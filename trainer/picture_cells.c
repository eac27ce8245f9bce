/* picture_cells.c - nuclei onto a plane of 256 x 256, then light, background and noise, then the mean of 4 x 4 pixels.
 *
 * A nucleus's outline is a circle with four harmonics. Out of focus by s, it fades at its edge as a Gaussian of std s
 * smears a straight edge: Phi(distance inside / s). Two nuclei at one place add up like two slides of film: what the
 * first leaves dark the second lights. */
#include <math.h>

#include "trainer/picture.h"

#define SIDE 256u
#define BLOCK 4u /* pixels of a side that become one */
#define RADIUS 5.0
#define IRREGULARITY 0.1
#define HARMONICS 4u
#define OCTAVES 3u
#define MOST_CELLS 200u

struct cell {
    double x, y, radius, focus, light;
    double height[HARMONICS], phase[HARMONICS]; /* of the outline's waves 2 to 5 */
    uint32_t texture;
};

static struct cell draw_cell(struct picture_draws *d)
{
    struct cell cell = {.x = picture_uniform(d, 0.0, SIDE), .y = picture_uniform(d, 0.0, SIDE)};
    cell.radius = RADIUS * picture_between(picture_normal(d, 1.0, IRREGULARITY), 0.7, 1.3);
    cell.focus = picture_uniform(d, 0.6, 1.6);
    cell.light = picture_uniform(d, 0.6, 1.0);
    for (uint32_t k = 0; k < HARMONICS; k++) {
        cell.height[k] = picture_normal(d, 0.0, IRREGULARITY / sqrt(HARMONICS / 2.0) / (1.0 + 0.5 * k));
        cell.phase[k] = picture_uniform(d, 0.0, 2.0 * M_PI);
    }
    cell.texture = picture_word(d);
    return cell;
}

static double outline(const struct cell *cell, double angle)
{
    double r = 1.0;
    for (uint32_t k = 0; k < HARMONICS; k++)
        r += cell->height[k] * cos((k + 2) * angle + cell->phase[k]);
    return cell->radius * fmax(r, 0.4);
}

/* 0.6 .. 1, octaves of half the height each. */
static double texture(const struct cell *cell, double x, double y)
{
    double sum = 0.0, height = 1.0, all = 0.0, scale = 2.0 / RADIUS;
    for (uint32_t i = 0; i < OCTAVES; i++, height *= 0.5, scale *= 2.0) {
        sum += height * picture_noise(cell->texture + i, x * scale, y * scale);
        all += height;
    }
    return 0.6 + 0.4 * sum / all;
}

static void add_cell(const struct cell *cell, float *plane)
{
    double reach = 1.5 * cell->radius + 3.0 * cell->focus;
    int left = (int)fmax(0.0, floor(cell->x - reach)), right = (int)fmin(SIDE - 1.0, ceil(cell->x + reach));
    int top = (int)fmax(0.0, floor(cell->y - reach)), bottom = (int)fmin(SIDE - 1.0, ceil(cell->y + reach));
    for (int y = top; y <= bottom; y++)
        for (int x = left; x <= right; x++) {
            double dx = x + 0.5 - cell->x, dy = y + 0.5 - cell->y, distance = sqrt(dx * dx + dy * dy);
            if (distance > reach)
                continue;
            double inside = (outline(cell, atan2(dy, dx)) - distance) / cell->focus;
            double light = 0.5 * erfc(-inside * M_SQRT1_2) * cell->light * texture(cell, dx, dy);
            float *at = &plane[(uint32_t)y * SIDE + (uint32_t)x];
            *at = (float)(1.0 - (1.0 - (double)*at) * (1.0 - light));
        }
}

/* Light, background and noise over the plane, and its means. */
static void develop(struct picture_draws *d, const float *plane, uint8_t *pixels)
{
    double background = picture_uniform(d, 0.1, 0.25), falloff = picture_uniform(d, 0.1, 0.4);
    double middle_x = picture_normal(d, 0.5, 0.15), middle_y = picture_normal(d, 0.5, 0.15);
    for (uint32_t i = 0; i < (SIDE / BLOCK) * (SIDE / BLOCK); i++) {
        uint32_t left = i % (SIDE / BLOCK) * BLOCK, top = i / (SIDE / BLOCK) * BLOCK;
        double sum = 0.0;
        for (uint32_t j = 0; j < BLOCK * BLOCK; j++) {
            uint32_t x = left + j % BLOCK, y = top + j / BLOCK;
            double off_x = (x + 0.5) / SIDE - middle_x, off_y = (y + 0.5) / SIDE - middle_y;
            double light = 1.0 - falloff * fmin(2.0 * (off_x * off_x + off_y * off_y), 1.5);
            double value = light * (background + (1.0 - background) * (double)plane[y * SIDE + x]);
            sum += picture_between(value + picture_normal(d, 0.0, 0.01), 0.0, 1.0);
        }
        pixels[i] = picture_byte(sum / (BLOCK * BLOCK));
    }
}

static void draw(const struct picture_material *material, uint64_t seed, uint32_t row, float *space,
                 uint8_t *ret_pixels, double *ret_columns)
{
    struct picture_draws d = picture_begin(seed, row, 0);
    uint32_t count = 1 + (uint32_t)picture_uniform(&d, 0.0, MOST_CELLS);
    (void)material;
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        space[i] = 0.0f;
    for (uint32_t i = 0; i < count; i++) {
        struct cell cell = draw_cell(&d);
        add_cell(&cell, space);
    }
    develop(&d, space, ret_pixels);
    ret_columns[0] = count;
}

static const char *const columns[] = {"count"};

const struct picture_kind picture_cells = {.name = "cells",
                                           .shape = {1, SIDE / BLOCK, SIDE / BLOCK},
                                           .columns = columns,
                                           .n_columns = EBM_COUNT_OF(columns),
                                           .space = (size_t)SIDE * SIDE,
                                           .draw = draw};
