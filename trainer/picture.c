/* picture.c - random numbers and noise for pictures, the digits that some are made of, and the list of kinds. */
#include "trainer/picture.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "trainer/files.h"

#define BLOCK 1u /* of the Philox counter: block 0 is that of tables (generate.c) */

const struct picture_kind *picture_find(const char *name)
{
    static const struct picture_kind *const kinds[] = {&picture_cells, &picture_digits, &picture_pose,
                                                       &picture_steering};
    for (size_t i = 0; i < EBM_COUNT_OF(kinds); i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

/* ---- random numbers ---- */

struct picture_draws picture_begin(uint64_t seed, uint32_t row, uint32_t which)
{
    return (struct picture_draws){.seed = seed, .row = row, .stream = which};
}

uint32_t picture_word(struct picture_draws *draws)
{
    if (draws->next % 4 == 0)
        ebm_philox(draws->seed, draws->row, draws->next / 4, EBM_STREAM_GENERATE, BLOCK + draws->stream, draws->words);
    return draws->words[draws->next++ % 4];
}

double picture_uniform(struct picture_draws *draws, double from, double to)
{
    return from + (to - from) * ebm_uniform(picture_word(draws));
}

double picture_normal(struct picture_draws *draws, double mean, double std)
{
    return mean + std * ebm_normal(picture_word(draws));
}

/* ---- noise ---- */

/* A number in [0, 1) of a point: the mixing of MurmurHash3's end. */
static double lattice(uint32_t key, int32_t x, int32_t y)
{
    uint32_t h = key ^ ((uint32_t)x * 0x9e3779b1u) ^ ((uint32_t)y * 0x85ebca77u);
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return (h ^ h >> 16) * 0x1p-32;
}

static double smooth(double t)
{
    return t * t * (3.0 - 2.0 * t);
}

double picture_noise(uint32_t key, double x, double y)
{
    double left = floor(x), top = floor(y), u = smooth(x - left), v = smooth(y - top);
    int32_t i = (int32_t)left, j = (int32_t)top;
    double above = (1.0 - u) * lattice(key, i, j) + u * lattice(key, i + 1, j);
    double below = (1.0 - u) * lattice(key, i, j + 1) + u * lattice(key, i + 1, j + 1);
    return (1.0 - v) * above + v * below;
}

/* ---- numbers ---- */

double picture_between(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

uint8_t picture_byte(double value)
{
    return (uint8_t)(picture_between(value, 0.0, 1.0) * 255.0 + 0.5);
}

/* ---- digits ---- */

void picture_material_done(struct picture_material *material)
{
    array_done(&material->images);
    array_done(&material->labels);
}

static enum ebm_status read_array(const char *folder, const char *name, struct array *ret_array,
                                  struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *path = files_join(folder, name);
    if (path == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, folder, "no memory");
    return array_read_npy(path, ret_array, reterr);
}

enum ebm_status picture_read_digits(const char *folder, struct picture_material *ret_material, struct ebm_error *reterr)
{
    EBM_AUTO(picture_material_done) struct picture_material m = {.images = {.bytes = NULL}};
    enum ebm_status status = read_array(folder, "digits_images.npy", &m.images, reterr);
    if (status == EBM_OK)
        status = read_array(folder, "digits_labels.npy", &m.labels, reterr);
    if (status != EBM_OK)
        return status;
    const struct array *a = &m.images, *b = &m.labels;
    if (a->number_bytes != 1 || a->n_dims != 3 || a->shape[1] != 8 || a->shape[2] != 8 || b->number_bytes != 1 ||
        b->n_dims != 1 || b->shape[0] != a->shape[0] || a->shape[0] > LIMIT_DATA_ROWS)
        return ebm_error_set(reterr, EBM_INVALID, folder,
                             "expected images (n, 8, 8) and labels (n) of 8-bit numbers in digits_images.npy and "
                             "digits_labels.npy");
    *ret_material = m;
    m = (struct picture_material){.images = {.bytes = NULL}};
    return EBM_OK;
}
