/* picture.h - synthetic images whose targets are known. A picture is a function of (kind, seed, row number): more rows
 * begin with the same pictures, and no thread or order changes one. */
#ifndef EBM_TRAINER_PICTURE_H
#define EBM_TRAINER_PICTURE_H

#include "images/image.h"
#include "trainer/array.h"

/* What some pictures are made of: the handwritten digits. Owns its arrays: picture_material_done. Zeroed is fine. */
struct picture_material {
    struct array images; /* (n, 8, 8) of 0 .. 16 */
    struct array labels; /* (n) */
};

void picture_material_done(struct picture_material *material);
/* digits_images.npy and digits_labels.npy of a folder. New: picture_material_done. */
enum ebm_status picture_read_digits(const char *folder, struct picture_material *ret_material, struct ebm_error *reterr)
    EBM_MUST_USE;

struct picture_kind {
    const char *name;
    struct image_shape shape;
    const char *const *columns; /* (n_columns) numbers that are told of each, targets last */
    uint32_t n_columns;
    bool needs_digits;
    size_t space; /* floats that draw works in */
    void (*draw)(const struct picture_material *material, uint64_t seed, uint32_t row, float *space,
                 uint8_t *ret_pixels, double *ret_columns);
};

#define PICTURE_COLUMNS 4u /* most of a kind */

/* cells: fluorescence cells after SIMCEP (Lehmussola et al. 2007) with the settings of CcGAN's Cell-200. 1 to 200
 * nuclei of a radius of about 5 pixels, 10 % irregular, with a texture of three octaves, anywhere, over each other,
 * each out of focus by 0.6 to 1.6 pixels; light that falls off from some middle; background 0.1 to 0.25; noise of
 * variance 1e-4. Drawn at 256 x 256, averaged to 64 x 64. count is the number drawn. digits-angle: a real digit,
 * enlarged to 64 x 64 and turned by an angle of -180 to 180 degrees, positive against the clock. image is its number
 * among the digits, so that a split can keep copies of one together. pose: a head of ellipsoids under a light from
 * somewhere, turned by yaw (-75 to 75 degrees, positive: it looks to the right of the picture), pitch (-60 to 60,
 * positive: up) and roll (-50 to 50, positive: against the clock), in this order. Mirrored, a picture shows (-yaw,
 * pitch, -roll). steering: a road seen from a car, and the angle of its steering wheel in degrees, positive to the
 * right: towards a point 12 m ahead on the road, give or take 1.5. On three tenths of the pictures the road forks (fork
 * 1), and nothing tells which branch is taken. */
extern const struct picture_kind picture_cells, picture_digits, picture_pose, picture_steering;

/* NULL when there is none of that name. */
const struct picture_kind *picture_find(const char *name);

/* ---- what pictures are drawn with ---- */

/* Random numbers of one picture, one after another. */
struct picture_draws {
    uint64_t seed;
    uint32_t row, stream, next; /* number of the next word */
    uint32_t words[4];
};

/* `which` keeps kinds apart that share a seed. */
struct picture_draws picture_begin(uint64_t seed, uint32_t row, uint32_t which);
uint32_t picture_word(struct picture_draws *draws);
double picture_uniform(struct picture_draws *draws, double from, double to);
double picture_normal(struct picture_draws *draws, double mean, double std);

/* Smooth noise in [0, 1) over the plane, x and y within +-2^30: random numbers at the whole points, by `key`, and a
 * smooth way between. */
double picture_noise(uint32_t key, double x, double y);

/* 0 .. 1 to 0 .. 255, rounded; outside: the nearest. */
uint8_t picture_byte(double value);

double picture_between(double value, double low, double high); /* the nearest number within */

#endif
