/* augment.c - what is drawn, then what is done with it. The four words of one Philox block decide about a row:
 *
 *   words[0]   flip (lowest bit), scale (the bits above)      words[1], words[2]   the window's place
 *   words[3]   vertical flip (lowest bit), brightness (all of them)
 *
 * Memory is taken once: a resampler for every scale. */
#include "trainer/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"
#include "core/rng.h"
#include "images/resample.h"

struct augment {
    const struct augment_options *options;
    struct image_shape shape;
    uint32_t D;
    bool *negates;               /* (D) */
    struct resampler *resampler; /* (n_scales) */
    struct image_shape *sizes;   /* (n_scales) what comes out of each; channels 1 */
    uint8_t *mirrored;           /* an image */
    uint8_t *plane;              /* of the largest size */
};

bool augment_is_on(const struct augment_options *options)
{
    return options->flip || options->flip_vertical || options->n_scales > 0 || options->brightness > 0.0;
}

bool augment_negates(const struct augment_options *options, const char *name)
{
    for (uint32_t i = 0; i < options->n_negate; i++)
        if (strcmp(options->negate[i], name) == 0)
            return true;
    return false;
}

enum ebm_status augment_check(const struct augment_options *options, char *const *target_names, uint32_t D,
                              struct ebm_error *reterr)
{
    if (options->n_negate > 0 && !options->flip)
        return ebm_error_set(reterr, EBM_INVALID, "data.augment.negate",
                             "targets change their sign when the image is mirrored: set data.augment.flip to true");
    for (uint32_t i = 0; i < options->n_negate; i++) {
        if (ebm_names_find(options->negate[i], (const char *const *)target_names, D) == D)
            return ebm_error_set(reterr, EBM_NOT_FOUND, "data.augment.negate",
                                 "'%.64s' is no target; the first is '%.64s'", options->negate[i], target_names[0]);
    }
    if (options->n_scales > AUGMENT_SCALES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "data.augment.scales", "%u sizes, at most %u", options->n_scales,
                             AUGMENT_SCALES);
    for (uint32_t i = 0; i < options->n_scales; i++)
        if (!(options->scales[i] >= 0.1 && options->scales[i] <= 10.0))
            return ebm_error_set(reterr, EBM_INVALID, "data.augment.scales", "%g, expected 0.1 to 10",
                                 options->scales[i]);
    return EBM_OK;
}

/* ---- memory ---- */

static uint32_t scaled(uint32_t side, double scale)
{
    double size = round(side * scale);
    return size < 1.0 ? 1 : (uint32_t)size;
}

static bool make_sizes(struct augment *a)
{
    uint32_t n = a->options->n_scales;
    size_t largest = 1;
    a->resampler = calloc((size_t)n + 1, sizeof *a->resampler);
    a->sizes = calloc((size_t)n + 1, sizeof *a->sizes);
    bool whole = a->resampler != NULL && a->sizes != NULL;
    for (uint32_t i = 0; whole && i < n; i++) {
        double scale = a->options->scales[i];
        a->sizes[i] = (struct image_shape){1, scaled(a->shape.height, scale), scaled(a->shape.width, scale)};
        size_t size = image_size(&a->sizes[i]);
        largest = size > largest ? size : largest;
        whole = resampler_init(&a->resampler[i], a->shape.width, a->shape.height, a->sizes[i].width, a->sizes[i].height,
                               IMAGE_BILINEAR) == EBM_OK;
    }
    a->plane = whole ? malloc(largest) : NULL;
    return a->plane != NULL;
}

enum ebm_status augment_new(const struct augment_options *options, const struct image_shape *shape,
                            char *const *target_names, uint32_t D, struct augment **ret_augment)
{
    struct augment *a = calloc(1, sizeof *a);
    if (a == NULL)
        return EBM_NO_MEMORY;
    *a = (struct augment){.options = options, .shape = *shape, .D = D};
    a->negates = calloc(D, sizeof *a->negates);
    a->mirrored = malloc(image_size(shape));
    if (a->negates == NULL || a->mirrored == NULL || !make_sizes(a)) {
        (void)augment_free(a);
        return EBM_NO_MEMORY;
    }
    for (uint32_t d = 0; d < D; d++)
        a->negates[d] = augment_negates(options, target_names[d]);
    *ret_augment = a;
    return EBM_OK;
}

struct augment *augment_free(struct augment *augment)
{
    if (augment == NULL)
        return NULL;
    for (uint32_t i = 0; augment->resampler != NULL && i < augment->options->n_scales; i++)
        resampler_done(&augment->resampler[i]);
    free(augment->resampler);
    free(augment->sizes);
    free(augment->negates);
    free(augment->mirrored);
    free(augment->plane);
    free(augment);
    return NULL;
}

/* ---- one row ---- */

/* Left and right, upside and down change places, each where it is asked for. */
static void mirror(const struct augment *a, bool sideways, bool upside_down, const uint8_t *from, uint8_t *to)
{
    uint32_t width = a->shape.width, height = a->shape.height, n = a->shape.channels * height;
    for (uint32_t i = 0; i < n; i++, to += width) {
        uint32_t y = i % height;
        const uint8_t *line = from + (size_t)(upside_down ? i - y + (height - 1 - y) : i) * width;
        for (uint32_t x = 0; x < width; x++)
            to[x] = line[sideways ? width - 1 - x : x];
    }
}

/* The place of a window of `inner` in `outer`, when it fits. */
static uint32_t place(uint32_t outer, uint32_t inner, uint32_t word)
{
    return outer > inner ? (uint32_t)(((uint64_t)word * (outer - inner + 1)) >> 32) : 0;
}

static void rescale(const struct augment *a, uint32_t which, const uint32_t words[4], const uint8_t *from, uint8_t *to)
{
    const struct image_shape *size = &a->sizes[which];
    uint32_t height = a->shape.height, width = a->shape.width;
    uint32_t top = place(size->height, height, words[1]), left = place(size->width, width, words[2]);
    uint32_t rows = size->height < height ? size->height : height, columns = size->width < width ? size->width : width;
    memset(to, 0, image_size(&a->shape));
    for (uint32_t c = 0; c < a->shape.channels; c++) {
        resampler_run(&a->resampler[which], from + (size_t)c * height * width, width, 1, a->plane);
        for (uint32_t y = 0; y < rows; y++)
            memcpy(to + ((size_t)c * height + y) * width, a->plane + (size_t)(top + y) * size->width + left, columns);
    }
}

static void brighten(const struct augment *a, uint32_t word, uint8_t *pixels)
{
    double factor = 1.0 + a->options->brightness * (2.0 * ebm_uniform(word) - 1.0);
    uint8_t table[256];
    for (uint32_t v = 0; v < EBM_COUNT_OF(table); v++)
        table[v] = (uint8_t)fmin(255.0, round(v * factor));
    for (size_t i = 0; i < image_size(&a->shape); i++)
        pixels[i] = table[pixels[i]];
}

void augment_row(struct augment *augment, uint64_t seed, uint32_t number, const uint8_t *pixels, const double *y,
                 uint8_t *ret_pixels, double *ret_y)
{
    const struct augment_options *o = augment->options;
    uint32_t words[4];
    ebm_philox(seed, number, 0, EBM_STREAM_AUGMENT, 0, words);
    bool flips = o->flip && (words[0] & 1) != 0;
    bool turns_over = o->flip_vertical && (words[3] & 1) != 0;
    if (flips || turns_over)
        mirror(augment, flips, turns_over, pixels, augment->mirrored);
    const uint8_t *from = flips || turns_over ? augment->mirrored : pixels;
    for (uint32_t d = 0; d < augment->D; d++)
        ret_y[d] = flips && augment->negates[d] ? -y[d] : y[d];
    if (o->n_scales > 0)
        rescale(augment, (words[0] >> 1) % o->n_scales, words, from, ret_pixels);
    else
        memcpy(ret_pixels, from, image_size(&augment->shape));
    if (o->brightness > 0.0)
        brighten(augment, words[3], ret_pixels);
}
