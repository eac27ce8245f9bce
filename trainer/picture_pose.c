/* picture_pose.c - a head of ellipsoids, seen from far away: a ray through every pixel meets the nearest of them.
 *
 *   head's axes: x to its left ear (the picture's right when it looks at us), y up, z out of its face
 *   world = roll pitch yaw head:  yaw about y, then pitch about x, then roll about z; the viewer looks along -z
 *
 * An ellipsoid belongs to the head, or to the body, which does not turn. The head is the same on both sides, so that
 * the mirror image of (yaw, pitch, roll) is (-yaw, pitch, -roll) when light and place are mirrored, too. */
#include <math.h>

#include "trainer/picture.h"

#define SIDE 64u
#define SAMPLES 2u   /* of a pixel, each way */
#define REACH 1.45   /* from the middle of the picture to its edge, in the head's unit */
#define AMBIENT 0.35 /* light from everywhere */

enum paint { SKIN, LIPS, HAIR, EYE, IRIS, BROW, CLOTH, PAINTS };

struct vector {
    double x, y, z;
};

struct ellipsoid {
    struct vector center, radius;
    enum paint paint;
    bool is_body;
};

static const struct ellipsoid parts[] = {
    {{0.0, 0.08, 0.0}, {0.70, 0.88, 0.80}, SKIN, false},
    {{0.0, -0.38, 0.20}, {0.50, 0.56, 0.56}, SKIN, false},   /* jaw */
    {{0.0, -0.10, 0.80}, {0.12, 0.24, 0.24}, SKIN, false},   /* nose */
    {{0.0, -0.24, 0.88}, {0.15, 0.10, 0.16}, SKIN, false},   /* its tip */
    {{0.26, 0.14, 0.66}, {0.15, 0.085, 0.11}, EYE, false},   /* eyes */
    {{-0.26, 0.14, 0.66}, {0.15, 0.085, 0.11}, EYE, false},  /* the other */
    {{0.26, 0.14, 0.74}, {0.07, 0.075, 0.06}, IRIS, false},  /* what they look with */
    {{-0.26, 0.14, 0.74}, {0.07, 0.075, 0.06}, IRIS, false}, /* the other */
    {{0.27, 0.31, 0.69}, {0.19, 0.045, 0.10}, BROW, false},  /* brows */
    {{-0.27, 0.31, 0.69}, {0.19, 0.045, 0.10}, BROW, false}, /* the other */
    {{0.0, -0.52, 0.68}, {0.23, 0.06, 0.10}, LIPS, false},   /* mouth */
    {{0.70, 0.02, -0.05}, {0.09, 0.22, 0.15}, SKIN, false},  /* ears */
    {{-0.70, 0.02, -0.05}, {0.09, 0.22, 0.15}, SKIN, false}, /* the other */
    {{0.0, 0.28, -0.20}, {0.78, 0.84, 0.80}, HAIR, false},   /* hair: above and behind */
    {{0.0, -1.05, -0.15}, {0.36, 0.75, 0.36}, SKIN, true},   /* neck */
    {{0.0, -2.0, -0.20}, {1.25, 0.80, 0.55}, CLOTH, true},   /* shoulders */
};

/* Everything about one picture. */
struct scene {
    double axes[3][3]; /* world of the head's axes: columns */
    struct vector light;
    double colors[PAINTS][3];
    double ground[2][3]; /* behind the head: above, below */
    double shift_x, shift_y, scale;
};

static double dot(struct vector a, struct vector b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

/* World to head, and back. */
static struct vector into_head(const struct scene *s, struct vector v)
{
    return (struct vector){s->axes[0][0] * v.x + s->axes[1][0] * v.y + s->axes[2][0] * v.z,
                           s->axes[0][1] * v.x + s->axes[1][1] * v.y + s->axes[2][1] * v.z,
                           s->axes[0][2] * v.x + s->axes[1][2] * v.y + s->axes[2][2] * v.z};
}

static struct vector out_of_head(const struct scene *s, struct vector v)
{
    return (struct vector){s->axes[0][0] * v.x + s->axes[0][1] * v.y + s->axes[0][2] * v.z,
                           s->axes[1][0] * v.x + s->axes[1][1] * v.y + s->axes[1][2] * v.z,
                           s->axes[2][0] * v.x + s->axes[2][1] * v.y + s->axes[2][2] * v.z};
}

/* ---- what is drawn ---- */

/* roll (about z) pitch (about x) yaw (about y), in degrees; positive pitch lifts the face. */
static void turn(double yaw, double pitch, double roll, double axes[3][3])
{
    double cy = cos(yaw * M_PI / 180.0), sy = sin(yaw * M_PI / 180.0), cp = cos(pitch * M_PI / 180.0);
    double sp = sin(-pitch * M_PI / 180.0), cr = cos(roll * M_PI / 180.0), sr = sin(roll * M_PI / 180.0);
    double tilted[3][3] = {{cy, 0.0, sy}, {sp * sy, cp, -sp * cy}, {-cp * sy, sp, cp * cy}};
    for (int j = 0; j < 3; j++) {
        axes[0][j] = cr * tilted[0][j] - sr * tilted[1][j];
        axes[1][j] = sr * tilted[0][j] + cr * tilted[1][j];
        axes[2][j] = tilted[2][j];
    }
}

static void mix(double to[3], const double a[3], const double b[3], double share)
{
    for (int c = 0; c < 3; c++)
        to[c] = (1.0 - share) * a[c] + share * b[c];
}

static void draw_colors(struct picture_draws *d, struct scene *s)
{
    static const double pale[3] = {0.96, 0.80, 0.69}, dark[3] = {0.36, 0.22, 0.15};
    static const double black[3] = {0.07, 0.06, 0.06}, blond[3] = {0.78, 0.62, 0.36};
    static const double white[3] = {0.93, 0.93, 0.92}, red[3] = {0.70, 0.25, 0.25};
    mix(s->colors[SKIN], pale, dark, picture_uniform(d, 0.0, 1.0));
    mix(s->colors[HAIR], black, blond, pow(picture_uniform(d, 0.0, 1.0), 2.0));
    mix(s->colors[BROW], s->colors[HAIR], black, 0.5);
    mix(s->colors[LIPS], s->colors[SKIN], red, 0.7);
    mix(s->colors[EYE], white, black, 0.0);
    mix(s->colors[IRIS], black, blond, picture_uniform(d, 0.0, 0.3));
    double wall = picture_uniform(d, 0.25, 0.85);
    for (int c = 0; c < 3; c++) {
        s->colors[CLOTH][c] = picture_uniform(d, 0.1, 0.8);
        s->ground[0][c] = picture_between(picture_normal(d, wall, 0.10), 0.0, 1.0);
        s->ground[1][c] = picture_between(picture_normal(d, s->ground[0][c], 0.10), 0.0, 1.0);
    }
}

static struct scene draw_scene(struct picture_draws *d, const double angles[3])
{
    struct scene s = {.shift_x = picture_normal(d, 0.0, 0.06), .shift_y = picture_normal(d, 0.0, 0.06)};
    double side = picture_uniform(d, -1.0, 1.0), height = picture_uniform(d, -0.2, 1.0), length;
    s.scale = picture_uniform(d, 0.92, 1.1);
    length = sqrt(side * side + height * height + 1.0);
    s.light = (struct vector){side / length, height / length, 1.0 / length};
    draw_colors(d, &s);
    turn(angles[0], angles[1], angles[2], s.axes);
    return s;
}

/* ---- what is seen ---- */

/* A ray at (x, y) of the world, as an ellipsoid's own frame has it: origin + t direction, t against the viewer. */
struct ray {
    struct vector origin, direction;
};

/* Where the ray meets the ellipsoid first: z of the world, and the normal in the ellipsoid's frame. */
static bool meet(const struct ellipsoid *e, const struct ray *ray, double *ret_z, struct vector *ret_normal)
{
    struct vector r = e->radius, o = ray->origin, v = ray->direction;
    struct vector from = {(o.x - e->center.x) / r.x, (o.y - e->center.y) / r.y, (o.z - e->center.z) / r.z};
    struct vector along = {v.x / r.x, v.y / r.y, v.z / r.z};
    double a = dot(along, along), b = dot(from, along), root = b * b - a * (dot(from, from) - 1.0);
    if (root < 0.0)
        return false;
    double z = (-b + sqrt(root)) / a;
    *ret_z = z;
    *ret_normal = (struct vector){(from.x + z * along.x) / r.x, (from.y + z * along.y) / r.y,
                                  (from.z + z * along.z) / r.z};
    return true;
}

static void look(const struct scene *s, double x, double y, double color[3])
{
    const struct vector here = {x, y, 0.0}, back = {0.0, 0.0, 1.0};
    const struct ray world = {here, back}, head = {into_head(s, here), into_head(s, back)};
    const struct ellipsoid *nearest = NULL;
    struct vector normal = {0.0, 0.0, 1.0}, found;
    double z, nearest_z = -1e9;
    for (size_t i = 0; i < EBM_COUNT_OF(parts); i++)
        if (meet(&parts[i], parts[i].is_body ? &world : &head, &z, &found) && z > nearest_z) {
            nearest = &parts[i];
            nearest_z = z;
            normal = parts[i].is_body ? found : out_of_head(s, found);
        }
    if (nearest == NULL) {
        mix(color, s->ground[0], s->ground[1], picture_between(0.5 - y / (2.0 * REACH), 0.0, 1.0));
        return;
    }
    double toward = fmax(0.0, dot(normal, s->light) / sqrt(dot(normal, normal)));
    double shine = nearest->paint == HAIR ? 0.0 : 0.12 * pow(toward, 12.0);
    for (int c = 0; c < 3; c++)
        color[c] = s->colors[nearest->paint][c] * (AMBIENT + (1.0 - AMBIENT) * toward) + shine;
}

static void render(const struct scene *s, struct picture_draws *d, uint8_t *pixels)
{
    for (uint32_t i = 0; i < SIDE * SIDE; i++) {
        double sum[3] = {0.0}, color[3];
        for (uint32_t j = 0; j < SAMPLES * SAMPLES; j++) {
            double x = ((i % SIDE + (j % SAMPLES + 0.5) / SAMPLES) / SIDE * 2.0 - 1.0) * REACH;
            double y = (1.0 - (i / SIDE + (j / SAMPLES + 0.5) / SAMPLES) / SIDE * 2.0) * REACH;
            look(s, (x - s->shift_x) / s->scale, (y - s->shift_y) / s->scale, color);
            for (int c = 0; c < 3; c++)
                sum[c] += color[c] / (SAMPLES * SAMPLES);
        }
        for (uint32_t c = 0; c < 3; c++)
            pixels[c * SIDE * SIDE + i] = picture_byte(sum[c] + picture_normal(d, 0.0, 0.01));
    }
}

static void draw(const struct picture_material *material, uint64_t seed, uint32_t row, float *space,
                 uint8_t *ret_pixels, double *ret_columns)
{
    struct picture_draws d = picture_begin(seed, row, 2);
    (void)material;
    (void)space;
    ret_columns[0] = picture_uniform(&d, -75.0, 75.0);
    ret_columns[1] = picture_uniform(&d, -60.0, 60.0);
    ret_columns[2] = picture_uniform(&d, -50.0, 50.0);
    struct scene scene = draw_scene(&d, ret_columns);
    render(&scene, &d, ret_pixels);
}

static const char *const columns[] = {"yaw", "pitch", "roll"};

const struct picture_kind picture_pose = {
    .name = "pose", .shape = {3, SIDE, SIDE}, .columns = columns, .n_columns = EBM_COUNT_OF(columns), .draw = draw};
