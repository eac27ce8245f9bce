/* resample.c - first along each row, then down each column, rounded to 8 bits after both:
 *
 *   output i looks at the inputs around (i + 1/2) scale, scale = inputs / outputs
 *   weight of input j: filter((j + 1/2 - center) / max(scale, 1)), then all divided by their sum
 *
 * When it shrinks the filter is as wide as the outputs lie apart (no input is skipped); when it grows the filter has
 * the width of an input. Weights are integers of 22 bits, so that every machine gives the same bytes. */
#include "images/resample.h"

#include <math.h>
#include <stdlib.h>

#define WEIGHT_BITS 22
#define WEIGHT_ONE (1 << WEIGHT_BITS)
#define BESIDE 128u

static double triangle(double x)
{
    return fabs(x) < 1.0 ? 1.0 - fabs(x) : 0.0;
}

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double reach(enum image_resize how)
{
    return how == IMAGE_BILINEAR ? 1.0 : 0.5;
}

static uint32_t most_taps(uint32_t from, uint32_t to, enum image_resize how)
{
    return 2 * (uint32_t)ceil(reach(how) * fmax((double)from / to, 1.0)) + 1;
}

/* ---- weights ---- */

/* Output i: where its inputs begin, how many, and their weights. */
static void make_taps(struct resample_taps *taps, uint32_t i, uint32_t from, enum image_resize how)
{
    double scale = (double)from / taps->n, spread = fmax(scale, 1.0), center = (i + 0.5) * scale, sum = 0.0;
    double low = center - reach(how) * spread + 0.5, high = center + reach(how) * spread + 0.5;
    uint32_t first = low > 0.0 ? (uint32_t)low : 0, end = high < from ? (uint32_t)high : from;
    int32_t *weights = taps->weights + (size_t)i * taps->width;
    double (*filter)(double) = how == IMAGE_BILINEAR ? triangle : box;
    for (uint32_t j = first; j < end; j++)
        sum += filter((j - center + 0.5) / spread);
    for (uint32_t j = first; j < end; j++)
        weights[j - first] = (int32_t)(0.5 + filter((j - center + 0.5) / spread) / sum * WEIGHT_ONE);
    taps->first[i] = first;
    taps->count[i] = end - first;
}

static enum ebm_status taps_init(struct resample_taps *taps, uint32_t from, uint32_t to, enum image_resize how)
{
    taps->n = to;
    taps->width = most_taps(from, to, how);
    taps->first = calloc(to, sizeof *taps->first);
    taps->count = calloc(to, sizeof *taps->count);
    taps->weights = calloc((size_t)to * taps->width, sizeof *taps->weights);
    if (taps->first == NULL || taps->count == NULL || taps->weights == NULL)
        return EBM_NO_MEMORY;
    for (uint32_t i = 0; i < to; i++)
        make_taps(taps, i, from, how);
    return EBM_OK;
}

static void taps_done(struct resample_taps *taps)
{
    free(taps->first);
    free(taps->count);
    free(taps->weights);
}

enum ebm_status resampler_init(struct resampler *resampler, uint32_t from_width, uint32_t from_height,
                               uint32_t to_width, uint32_t to_height, enum image_resize how)
{
    EBM_ASSERT(from_width > 0 && from_height > 0 && to_width > 0 && to_height > 0);
    *resampler = (struct resampler){.from_height = from_height};
    resampler->rows = malloc((size_t)from_height * to_width);
    enum ebm_status status = resampler->rows != NULL ? taps_init(&resampler->across, from_width, to_width, how)
                                                     : EBM_NO_MEMORY;
    if (status == EBM_OK)
        status = taps_init(&resampler->down, from_height, to_height, how);
    if (status != EBM_OK)
        resampler_done(resampler);
    return status;
}

void resampler_done(struct resampler *resampler)
{
    taps_done(&resampler->across);
    taps_done(&resampler->down);
    free(resampler->rows);
    *resampler = (struct resampler){.from_height = 0};
}

/* ---- sums ---- */

/* Inputs and weights are not negative and the weights sum to about 1: a sum stays below 2^31. */
static uint8_t round_sum(int32_t sum)
{
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum > 255 ? 255 : sum);
}

static uint8_t weigh(const uint8_t *from, size_t step, const int32_t *weights, uint32_t n)
{
    int32_t sum = WEIGHT_ONE / 2;
    for (uint32_t j = 0; j < n; j++)
        sum += weights[j] * from[j * step];
    return round_sum(sum);
}

/* One output row out of n rows; many pixels beside each other at a time. */
static void weigh_rows(const uint8_t *rows, uint32_t width, const int32_t *weights, uint32_t n, uint8_t *to)
{
    int32_t sums[BESIDE];
    for (uint32_t first = 0; first < width; first += BESIDE) {
        uint32_t count = width - first < BESIDE ? width - first : BESIDE;
        for (uint32_t x = 0; x < count; x++)
            sums[x] = WEIGHT_ONE / 2;
        for (uint32_t j = 0; j < n; j++)
            for (uint32_t x = 0; x < count; x++)
                sums[x] += weights[j] * rows[(size_t)j * width + first + x];
        for (uint32_t x = 0; x < count; x++)
            to[first + x] = round_sum(sums[x]);
    }
}

void resampler_run(const struct resampler *resampler, const uint8_t *from, size_t row_step, size_t pixel_step,
                   uint8_t *to)
{
    const struct resample_taps *across = &resampler->across, *down = &resampler->down;
    uint32_t width = across->n;
    for (uint32_t y = 0; y < resampler->from_height; y++)
        for (uint32_t x = 0; x < width; x++)
            resampler->rows[(size_t)y * width + x] = weigh(from + y * row_step + across->first[x] * pixel_step,
                                                           pixel_step, across->weights + (size_t)x * across->width,
                                                           across->count[x]);
    for (uint32_t y = 0; y < down->n; y++)
        weigh_rows(resampler->rows + (size_t)down->first[y] * width, width, down->weights + (size_t)y * down->width,
                   down->count[y], to + (size_t)y * width);
}
