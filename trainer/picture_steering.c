/* picture_steering.c - a flat world with a road on it, through a camera behind a windscreen.
 *
 *   ground: x to the right, z ahead, in metres; a row of the picture below the horizon is one z
 *   path:   the middle of the lane is at offset + heading z + curvature z^2 / 2; behind a fork two branches bend away
 *           from that for BEND metres and go on straight
 *   road:   two lanes, of which the car has either; one lane where it forks
 *
 * The wheel is turned as pure pursuit would (Coulter 1992): the wheels follow the circle through the point of the road
 * AHEAD metres away, curvature 2 x / (x^2 + z^2), by a wheelbase of 2.7 m and a gear of 15. */
#include <math.h>

#include "trainer/picture.h"

#define SIDE 64u
#define SAMPLES 3u     /* of a pixel, each way */
#define CAMERA 1.6     /* metres above the ground */
#define FOCUS 0.9      /* focal length in widths of the picture: 58 degrees from side to side */
#define FARTHEST 120.0 /* metres; beyond it the road is haze */
#define LANE 3.4       /* metres */
#define BEND 8.0       /* metres */
#define AHEAD 12.0     /* metres */
#define WHEELBASE 2.7  /* metres */
#define GEAR 15.0      /* of the steering wheel to the wheels */
#define HAND 1.5       /* degrees: nobody's is still */
#define FORK_SHARE 0.3

struct world {
    double offset, heading, curvature;
    double lane; /* its middle, from that of the road */
    bool forks;
    double fork, left, right; /* metres ahead, and the branches' own curvatures */
    double horizon;           /* of the picture's height */
    double sky[2][3], grass[3], asphalt, sun, hills;
    uint32_t key; /* of its noise */
};

static double path(const struct world *w, double z, int branch)
{
    double own = branch == 0 ? w->left : w->right, beyond = fmax(0.0, z - w->fork), bent = fmin(beyond, BEND);
    double x = w->offset + w->heading * z + 0.5 * w->curvature * z * z;
    return w->forks ? x + own * bent * (beyond - 0.5 * bent) : x;
}

static double wheel_angle(const struct world *w, int branch)
{
    double x = path(w, AHEAD, branch), curvature = 2.0 * x / (x * x + AHEAD * AHEAD);
    return GEAR * atan(WHEELBASE * curvature) * 180.0 / M_PI;
}

static void draw_colors(struct picture_draws *d, struct world *w)
{
    double gloom = picture_uniform(d, 0.0, 1.0);
    static const double clear[3] = {0.36, 0.58, 0.88}, grey[3] = {0.62, 0.65, 0.68}, green[3] = {0.24, 0.42, 0.16};
    static const double dry[3] = {0.55, 0.50, 0.28};
    double dryness = picture_uniform(d, 0.0, 1.0);
    for (int c = 0; c < 3; c++) {
        w->sky[0][c] = clear[c] + gloom * (grey[c] - clear[c]);
        w->sky[1][c] = 0.5 * w->sky[0][c] + 0.45;
        w->grass[c] = green[c] + dryness * (dry[c] - green[c]);
    }
    w->asphalt = picture_uniform(d, 0.28, 0.45);
    w->sun = picture_uniform(d, 0.7, 1.1);
    w->hills = picture_uniform(d, 0.02, 0.10);
    w->key = picture_word(d);
}

static struct world draw_world(struct picture_draws *d)
{
    struct world w = {.offset = picture_normal(d, 0.0, 0.3),
                      .heading = picture_normal(d, 0.0, 0.03),
                      .curvature = picture_normal(d, 0.0, 0.012),
                      .horizon = picture_uniform(d, 0.36, 0.44)};
    w.forks = picture_uniform(d, 0.0, 1.0) < FORK_SHARE;
    w.fork = picture_uniform(d, 3.0, 6.0);
    w.left = -picture_uniform(d, 0.05, 0.09);
    w.right = picture_uniform(d, 0.05, 0.09);
    w.lane = picture_uniform(d, 0.0, 1.0) < 0.5 ? -0.5 * LANE : 0.5 * LANE;
    if (w.forks) {
        w.curvature *= 0.4; /* a junction is seldom in a bend */
        w.lane = 0.0;
    }
    draw_colors(d, &w);
    return w;
}

/* ---- what is seen ---- */

static void above(const struct world *w, double u, double v, double color[3])
{
    double up = (w->horizon - v) / w->horizon;
    double ridge = w->hills * (0.4 + picture_noise(w->key, u * 4.0, 0.5)) +
                   0.03 * picture_noise(w->key + 1, u * 25.0, 0.5);
    double clouds = picture_between(2.0 * picture_noise(w->key + 2, u * 3.0, v * 9.0) - 1.1, 0.0, 0.5);
    for (int c = 0; c < 3; c++) {
        double sky = w->sky[1][c] + up * (w->sky[0][c] - w->sky[1][c]);
        color[c] = up < ridge ? 0.55 * w->grass[c] * w->sun + 0.15 : sky + clouds * (0.95 - sky);
    }
}

/* How a point of the ground looks that lies `across` metres from the middle of a road, of which a metre is `blur` wide
 * in the picture's own grain; -1: grass. */
static double road_shade(const struct world *w, double across, double x, double z, double blur)
{
    double half = w->forks ? 0.65 * LANE : LANE + 0.3, wide = fmax(0.09, blur);
    double edge = fabs(fabs(across) - (half - 0.25));
    if (fabs(across) > half)
        return -1.0;
    bool dashed = !w->forks && fmod(z + 0.37 * (w->key % 16), 6.0) < 3.0;
    double paint = edge < wide || (dashed && fabs(across) < wide) ? 0.09 / wide : 0.0;
    double grain = 0.10 * (picture_noise(w->key + 3, x * 2.0, z * 1.2) - 0.5);
    return (w->asphalt + grain) * (1.0 - paint) + 0.92 * paint;
}

/* Where two branches are one there is no edge between them: the darker, which is the road. */
static double join(double a, double b)
{
    return a < 0.0 ? b : b < 0.0 ? a : fmin(a, b);
}

static void below(const struct world *w, double u, double v, double color[3])
{
    double z = fmin(CAMERA * FOCUS / (v - w->horizon), 1e6), x = (u - 0.5) * z / FOCUS, shade = -1.0;
    double haze = picture_between(z / FARTHEST, 0.0, 1.0), blur = z / (FOCUS * SIDE * SAMPLES);
    for (int branch = 0; branch < (w->forks ? 2 : 1) && z < FARTHEST; branch++)
        shade = join(shade, road_shade(w, x - path(w, z, branch) + w->lane, x, z, blur));
    double tufts = 0.7 + 0.6 * picture_noise(w->key + 4, x * 1.5, z * 0.8) +
                   0.2 * picture_noise(w->key + 5, x * 6, z * 3);
    for (int c = 0; c < 3; c++) {
        double near = shade >= 0.0 ? shade * (c == 2 ? 1.04 : 1.0) : w->grass[c] * (tufts + (0.8 - tufts) * haze);
        color[c] = near * w->sun * (1.0 - 0.5 * haze) + 0.5 * haze * w->sky[1][c];
    }
}

static void render(const struct world *w, struct picture_draws *d, uint8_t *pixels)
{
    for (uint32_t i = 0; i < SIDE * SIDE; i++) {
        double sum[3] = {0.0}, color[3];
        for (uint32_t j = 0; j < SAMPLES * SAMPLES; j++) {
            double u = (i % SIDE + (j % SAMPLES + 0.5) / SAMPLES) / SIDE;
            double v = (i / SIDE + (j / SAMPLES + 0.5) / SAMPLES) / SIDE;
            if (v > w->horizon)
                below(w, u, v, color);
            else
                above(w, u, v, color);
            for (int c = 0; c < 3; c++)
                sum[c] += color[c] / (SAMPLES * SAMPLES);
        }
        for (uint32_t c = 0; c < 3; c++)
            pixels[c * SIDE * SIDE + i] = picture_byte(sum[c] + picture_normal(d, 0.0, 0.012));
    }
}

static void draw(const struct picture_material *material, uint64_t seed, uint32_t row, float *space,
                 uint8_t *ret_pixels, double *ret_columns)
{
    struct picture_draws d = picture_begin(seed, row, 3);
    int branch = picture_uniform(&d, 0.0, 1.0) < 0.5 ? 0 : 1; /* the driver's own affair */
    double hand = picture_normal(&d, 0.0, HAND);
    struct world world = draw_world(&d);
    (void)material;
    (void)space;
    render(&world, &d, ret_pixels);
    ret_columns[0] = world.forks ? 1.0 : 0.0;
    ret_columns[1] = wheel_angle(&world, branch) + hand;
}

static const char *const columns[] = {"fork", "steering"};

const struct picture_kind picture_steering = {
    .name = "steering", .shape = {3, SIDE, SIDE}, .columns = columns, .n_columns = EBM_COUNT_OF(columns), .draw = draw};
