/* picture_digits.c - every pixel of the picture is looked up in the digit, turned back by the angle: its 8 x 8 numbers
 * joined by cubics (Catmull-Rom), so that strokes stay round, and made steeper, so that they have an edge. */
#include <math.h>

#include "trainer/picture.h"

#define SIDE 64u
#define CELLS 8         /* numbers of a digit's side */
#define BRIGHTEST 16.0  /* of them */
#define CELL_PIXELS 5.5 /* 8 of them, turned, stay within 64 pixels */
#define SAMPLES 2u      /* of a pixel, each way */
#define PAPER 0.04      /* darkest and brightest of the picture */
#define INK 0.96

static double number_at(const unsigned char *digit, int x, int y)
{
    return x >= 0 && x < CELLS && y >= 0 && y < CELLS ? digit[y * CELLS + x] / BRIGHTEST : 0.0;
}

/* Weights of the four numbers around, at t behind the second. */
static void cubic(double t, double weights[4])
{
    weights[0] = 0.5 * t * (-1.0 + t * (2.0 - t));
    weights[1] = 0.5 * (2.0 + t * t * (-5.0 + 3.0 * t));
    weights[2] = 0.5 * t * (1.0 + t * (4.0 - 3.0 * t));
    weights[3] = 0.5 * t * t * (-1.0 + t);
}

/* The digit at (x, y), its numbers standing in the middle of their squares. */
static double ink_at(const unsigned char *digit, double x, double y)
{
    double left = floor(x - 0.5), top = floor(y - 0.5), across[4], down[4], sum = 0.0;
    if (x < -1.5 || x > CELLS + 1.5 || y < -1.5 || y > CELLS + 1.5)
        return 0.0;
    cubic(x - 0.5 - left, across);
    cubic(y - 0.5 - top, down);
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 4; i++)
            sum += down[j] * across[i] * number_at(digit, (int)left - 1 + i, (int)top - 1 + j);
    double edge = picture_between((sum - 0.2) / 0.5, 0.0, 1.0);
    return edge * edge * (3.0 - 2.0 * edge);
}

static void draw(const struct picture_material *material, uint64_t seed, uint32_t row, float *space,
                 uint8_t *ret_pixels, double *ret_columns)
{
    struct picture_draws d = picture_begin(seed, row, 1);
    uint32_t n = (uint32_t)material->images.shape[0], image = (uint32_t)picture_uniform(&d, 0.0, n);
    double degrees = picture_uniform(&d, -180.0, 180.0), c = cos(degrees * M_PI / 180.0),
           s = sin(degrees * M_PI / 180.0);
    const unsigned char *digit = material->images.bytes + (size_t)image * CELLS * CELLS;
    (void)space;
    for (uint32_t i = 0; i < SIDE * SIDE; i++) {
        double sum = 0.0;
        for (uint32_t j = 0; j < SAMPLES * SAMPLES; j++) {
            double x = (i % SIDE + (j % SAMPLES + 0.5) / SAMPLES - SIDE / 2.0) / CELL_PIXELS;
            double y = (i / SIDE + (j / SAMPLES + 0.5) / SAMPLES - SIDE / 2.0) / CELL_PIXELS;
            sum += ink_at(digit, c * x - s * y + CELLS / 2.0, s * x + c * y + CELLS / 2.0);
        }
        ret_pixels[i] = picture_byte(PAPER + (INK - PAPER) * sum / (SAMPLES * SAMPLES));
    }
    ret_columns[0] = image;
    ret_columns[1] = material->labels.bytes[image];
    ret_columns[2] = degrees;
}

static const char *const columns[] = {"image", "digit", "angle"};

const struct picture_kind picture_digits = {.name = "digits-angle",
                                            .shape = {1, SIDE, SIDE},
                                            .columns = columns,
                                            .n_columns = EBM_COUNT_OF(columns),
                                            .needs_digits = true,
                                            .draw = draw};
