/* exact_segments.c - an energy net of one hidden relu layer: units outside, knots in SIMD lanes.
 *
 *   table     u of every unit at the table's finite knots, in blocks of EBM_LANES that share a knot with the next one
 *             (kernels.h); a block more for the rays: an end knot and a point at distance 1 beyond it
 *   run       one pass: f at all knots, and which unit changes its sign in which segment. The kinks are gathered unit
 *             by unit, then laid out segment by segment, and f is walked through each segment as in exact.c
 *   spread    for training: what exp f weighs in every segment goes to the units that are active there
 *
 * In a segment u is linear in y, so the gradient of log Z in u is known from two sums a unit: of the mass where it is
 * active, and of mass times tau - 1/2, tau running from 0 to 1 along the segment (on a ray: the distance). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/exact_internal.h"

#define SEGMENTS (EBM_LANES - 1u) /* of a block */

/* ---- the table ---- */

bool exact_segments_apply(const struct ebm_exact_table *t)
{
    return t->n_layers == 2 && t->layers[0].is_relu && !t->layers[0].is_residual;
}

static uint32_t finite_knots(const struct ebm_exact_table *t)
{
    return t->n - t->is_open[EBM_LEFT] - t->is_open[EBM_RIGHT];
}

/* Lanes of so many finite knots, the block of the rays included. */
static uint32_t lanes_of(uint32_t knots)
{
    uint32_t blocks = knots > 1 ? (knots - 2) / SEGMENTS + 1 : 1;
    return (blocks + 1) * EBM_LANES;
}

/* Lane of a finite knot as the start of a segment, as the end of one; knot 0 ends none. */
static uint32_t lane_of_start(uint32_t knot)
{
    return knot / SEGMENTS * EBM_LANES + knot % SEGMENTS;
}

static uint32_t lane_of_knot(uint32_t knot)
{
    return knot == 0 ? 0 : lane_of_start(knot - 1) + 1;
}

/* Lane where the segment after row p of the table starts. */
static uint32_t lane_of_segment(const struct ebm_exact_table *t, uint32_t p)
{
    switch (exact_segment_of(t, p, t->n)) {
    case EXACT_LEFT_RAY:
        return t->lanes - EBM_LANES;
    case EXACT_RIGHT_RAY:
        return t->lanes - EBM_LANES + 2;
    case EXACT_BETWEEN:
        break;
    }
    return lane_of_start(p - t->is_open[EBM_LEFT]);
}

/* Unit j of the knot in lane l, all lanes beyond the last knot standing for it. */
static void lay_unit(struct ebm_exact_table *t, uint32_t j)
{
    uint32_t knots = finite_knots(t), first = t->is_open[EBM_LEFT], rays = t->lanes - EBM_LANES;
    float *to = t->u_lanes + (size_t)j * t->lanes;
    const float *u = t->u + j;
    for (uint32_t l = 0; l < rays; l++) {
        uint32_t knot = l / EBM_LANES * SEGMENTS + l % EBM_LANES;
        to[l] = u[(size_t)(first + (knot < knots ? knot : knots - 1)) * t->stride];
    }
    memset(to + rays, 0, EBM_LANES * sizeof *to);
    for (uint32_t p = 0; p + 1 < t->n; p++) {
        enum exact_segment segment = exact_segment_of(t, p, t->n);
        if (segment == EXACT_BETWEEN)
            continue;
        uint32_t at = lane_of_segment(t, p), anchor = segment == EXACT_LEFT_RAY ? p + 1 : p;
        to[at] = u[(size_t)anchor * t->stride];
        to[at + 1] = to[at] + u[(size_t)(segment == EXACT_LEFT_RAY ? p : p + 1) * t->stride];
    }
}

enum ebm_status exact_segments_lay(struct ebm_exact_table *t)
{
    if (!exact_segments_apply(t))
        return EBM_OK;
    uint32_t lanes = lanes_of(finite_knots(t)), E = t->layers[0].out;
    if (t->lanes_capacity < lanes) {
        free(t->u_lanes);
        t->u_lanes = ebm_alloc_aligned(((size_t)E * lanes + EBM_LANES) * sizeof *t->u_lanes);
        t->lanes_capacity = t->u_lanes != NULL ? lanes : 0;
    }
    if (t->u_lanes == NULL)
        return EBM_NO_MEMORY;
    t->lanes = lanes;
    for (uint32_t j = 0; j < E; j++)
        lay_unit(t, j);
    return EBM_OK;
}

uint32_t ebm_exact_lanes(const struct ebm_exact_table *t)
{
    return exact_segments_apply(t) ? t->lanes : 0;
}

const float *ebm_exact_lane_values(const struct ebm_exact_table *t)
{
    return t->u_lanes;
}

void ebm_exact_lane_centres(const struct ebm_exact_table *t, float *ret_y, float *ret_slope)
{
    uint32_t first = t->is_open[EBM_LEFT];
    for (uint32_t l = 0; l < t->lanes; l++) {
        ret_y[l] = (float)t->y[first];
        ret_slope[l] = 0.0f;
    }
    for (uint32_t p = 0; p + 1 < t->n; p++) {
        enum exact_segment segment = exact_segment_of(t, p, t->n);
        uint32_t at = lane_of_segment(t, p);
        double start = t->y[segment == EXACT_LEFT_RAY ? p + 1 : p], length = 1.0;
        if (segment == EXACT_BETWEEN)
            length = t->y[p + 1] - start;
        ret_slope[at] = (float)(segment == EXACT_LEFT_RAY ? -length : length);
        ret_y[at] = (float)(start + (segment == EXACT_LEFT_RAY ? -0.5 : 0.5) * length);
    }
}

/* ---- memory of a thread ---- */

bool exact_segments_reserve(struct exact_segments *s, uint32_t max_knots, uint32_t units)
{
    size_t lanes = lanes_of(max_knots);
    *s = (struct exact_segments){
        .f = calloc(lanes, sizeof *s->f),
        .weights = ebm_alloc_aligned(2 * lanes * sizeof *s->weights),
        .crossings = calloc(ebm_round_up(units * (lanes / EBM_LANES), 4), sizeof *s->crossings),
        .found = calloc(max_knots, sizeof *s->found),
        .found_at = calloc(max_knots, sizeof *s->found_at),
        .kinks = calloc(max_knots, sizeof *s->kinks),
        .first = calloc((size_t)max_knots + 3, sizeof *s->first),
    };
    return s->f && s->weights && s->crossings && s->found && s->found_at && s->kinks && s->first;
}

void exact_segments_release(struct exact_segments *s)
{
    free(s->f);
    free(s->weights);
    free(s->crossings);
    free(s->found);
    free(s->found_at);
    free(s->kinks);
    free(s->first);
}

/* ---- one row ---- */

/* What bind shares. */
struct row {
    const struct ebm_exact_table *t;
    struct exact_segments *s;
    const float *hx;
    uint32_t n_found, max;
};

/* A unit with z at the start of the segment after row p, delta along it; only where it changes its sign. False: there
 * are too many. */
static bool add_kink(struct row *r, uint32_t unit, uint32_t p, float z, double delta)
{
    if (r->n_found == r->max)
        return false;
    r->s->found_at[r->n_found] = p;
    r->s->found[r->n_found++] = (struct exact_kink){
        .t = -(double)z / delta, .delta = fabs(delta), .unit = unit, .rises = delta > 0.0};
    r->s->first[p + 2]++;
    return true;
}

/* The crossings of one block, a bit each. */
static bool add_block(struct row *r, uint32_t unit, uint32_t block, uint32_t bits)
{
    const struct ebm_exact_table *t = r->t;
    const float *u = t->u_lanes + (size_t)unit * t->lanes + block * EBM_LANES;
    for (; bits != 0; bits &= bits - 1) {
        uint32_t l = (uint32_t)__builtin_ctz(bits);
        float z = u[l] + r->hx[unit], next = u[l + 1] + r->hx[unit];
        if (z == 0.0f || next == 0.0f)
            continue;
        if (!add_kink(r, unit, block * SEGMENTS + l + t->is_open[EBM_LEFT], z, (double)next - (double)z))
            return false;
    }
    return true;
}

/* Of all segments between finite knots. Most words are 0: four are looked at together. */
static bool add_crossings(struct row *r)
{
    uint32_t blocks = r->t->lanes / EBM_LANES, E = r->t->layers[0].out;
    size_t n = (size_t)blocks * E;
    for (size_t i = 0; i < n; i += 4) {
        uint64_t words;
        memcpy(&words, r->s->crossings + i, sizeof words);
        for (size_t k = i; words != 0 && k < i + 4 && k < n; k++) {
            uint32_t block = (uint32_t)(k % blocks);
            if (block + 1 < blocks && !add_block(r, (uint32_t)(k / blocks), block, r->s->crossings[k]))
                return false;
        }
    }
    return true;
}

static bool add_rays(struct row *r)
{
    const struct ebm_exact_table *t = r->t;
    uint32_t ends[2] = {0, t->n - 2};
    for (int side = EBM_LEFT; side <= EBM_RIGHT; side++) {
        const float *row = t->u + (size_t)ends[side] * t->stride;
        const float *u = side == EBM_LEFT ? row + t->stride : row, *slope = side == EBM_LEFT ? row : row + t->stride;
        for (uint32_t j = 0; t->is_open[side] && j < t->layers[0].out; j++) {
            float z = u[j] + r->hx[j];
            if (((z < 0.0f && slope[j] > 0.0f) || (z > 0.0f && slope[j] < 0.0f)) &&
                !add_kink(r, j, ends[side], z, (double)slope[j]))
                return false;
        }
    }
    return true;
}

/* found -> kinks, segment by segment, each sorted: those of the segment after row p are first[p] .. first[p + 1] - 1.
 */
static void sort_kinks(struct row *r)
{
    struct exact_segments *s = r->s;
    for (uint32_t p = 0; p < r->t->n; p++)
        s->first[p + 2] += s->first[p + 1];
    for (uint32_t i = 0; i < r->n_found; i++)
        s->kinks[s->first[s->found_at[i] + 1]++] = s->found[i];
    for (uint32_t p = 0; p + 1 < r->t->n; p++)
        exact_kinks_sort(s->kinks + s->first[p], s->first[p + 1] - s->first[p]);
}

static double f_of(const struct ebm_exact_table *t, const struct exact_segments *s, uint32_t p)
{
    if (exact_is_direction(t, p, t->n))
        return p == 0 ? -t->tails.slope[EBM_LEFT] : t->tails.slope[EBM_RIGHT];
    return s->f[lane_of_knot(p - t->is_open[EBM_LEFT])] + (double)t->layers[1].bias[0];
}

bool exact_segments_run(const struct ebm_exact_table *t, const float *hx, struct exact_segments *s,
                        struct ebm_pieces *pieces)
{
    uint32_t E = t->layers[0].out;
    struct row r = {.t = t, .s = s, .hx = hx, .max = t->max_knots};
    memset(s->first, 0, ((size_t)t->n + 2) * sizeof *s->first);
    t->kernels->knots(s->f, s->crossings, t->u_lanes, hx, t->last, E, t->lanes);
    if (!add_crossings(&r) || !add_rays(&r) || r.n_found + t->n > t->max_knots)
        return false;
    sort_kinks(&r);
    double f = f_of(t, s, 0), next = 0.0;
    pieces->n = 0;
    for (uint32_t p = 0; p < t->n; p++, f = next) {
        if (!exact_is_direction(t, p, t->n)) {
            pieces->y[pieces->n] = t->y[p];
            pieces->f[pieces->n++] = f;
        }
        if (p + 1 == t->n)
            break;
        next = f_of(t, s, p + 1);
        exact_walk(pieces, t->y, p, exact_segment_of(t, p, t->n), f, next, s->kinks + s->first[p],
                   s->first[p + 1] - s->first[p], &t->layers[1]);
    }
    return true;
}

/* ---- spread ---- */

/* Mass of a piece and its mass times tau - 1/2, each times `scale`. */
struct weight {
    double mass, moment;
};

/* The segment after row p, whose first piece along t is number `piece`; the pieces go on by `step`. */
struct span {
    enum exact_segment segment;
    double start, length;
    uint32_t piece;
    int step;
};

static struct span span_of(const struct ebm_exact_table *t, const struct exact_segments *s, uint32_t p)
{
    uint32_t before = p + s->first[p]; /* rows and kinks on the left of this segment */
    uint32_t n_kinks = s->first[p + 1] - s->first[p];
    switch (exact_segment_of(t, p, t->n)) {
    case EXACT_LEFT_RAY:
        return (struct span){EXACT_LEFT_RAY, t->y[p + 1], -1.0, n_kinks, -1};
    case EXACT_RIGHT_RAY:
        return (struct span){EXACT_RIGHT_RAY, t->y[p], 1.0, before + 1 - t->is_open[EBM_LEFT], 1};
    case EXACT_BETWEEN:
        break;
    }
    return (struct span){EXACT_BETWEEN, t->y[p], t->y[p + 1] - t->y[p], before + 1 - t->is_open[EBM_LEFT], 1};
}

static struct weight weight_of(const struct ebm_pieces *pieces, const struct span *span, uint32_t k, double scale)
{
    uint32_t i = span->step > 0 ? span->piece + k : span->piece - k;
    double mass = scale * pieces->mass[i];
    if (!(mass > 0.0) || span->length == 0.0)
        return (struct weight){.mass = mass > 0.0 ? mass : 0.0};
    return (struct weight){mass, mass * ((pieces->centroid[i] - span->start) / span->length - 0.5)};
}

/* A unit that changes its sign in the segment is active on one side of its kink. */
static void spread_kinks(const struct ebm_exact_table *t, const struct exact_segments *s, const struct span *span,
                         uint32_t p, const struct ebm_pieces *pieces, double scale, struct weight all,
                         const struct ebm_exact_sums *sums)
{
    struct weight before = {0.0, 0.0};
    uint32_t lane = lane_of_segment(t, p);
    for (uint32_t k = s->first[p]; k < s->first[p + 1]; k++) {
        const struct exact_kink *kink = &s->kinks[k];
        struct weight piece = weight_of(pieces, span, k - s->first[p], scale);
        before.mass += piece.mass;
        before.moment += piece.moment;
        double mass = kink->rises ? all.mass - before.mass : before.mass;
        size_t at = (size_t)kink->unit * t->lanes + lane;
        sums->mass[at] += (float)mass;
        sums->moment[at] += (float)(kink->rises ? all.moment - before.moment : before.moment);
        sums->active[kink->unit] += (float)mass;
    }
}

/* Units that are active all along a ray. */
static void spread_ray(const struct ebm_exact_table *t, const float *hx, uint32_t p, struct weight all,
                       const struct ebm_exact_sums *sums)
{
    uint32_t lane = lane_of_segment(t, p);
    bool is_left = exact_segment_of(t, p, t->n) == EXACT_LEFT_RAY;
    const float *row = t->u + (size_t)p * t->stride;
    const float *u = is_left ? row + t->stride : row, *slope = is_left ? row : row + t->stride;
    for (uint32_t j = 0; j < t->layers[0].out; j++) {
        float z = u[j] + hx[j];
        if (!(z >= 0.0f && slope[j] >= 0.0f && z + slope[j] > 0.0f))
            continue;
        sums->mass[(size_t)j * t->lanes + lane] += (float)all.mass;
        sums->moment[(size_t)j * t->lanes + lane] += (float)all.moment;
        sums->active[j] += (float)all.mass;
    }
}

void ebm_exact_spread(const struct ebm_exact_table *t, const float *hx, struct ebm_exact_space *space, double scale,
                      const struct ebm_exact_sums *sums)
{
    struct exact_segments *s = &space->segments;
    const struct ebm_pieces *pieces = &space->pieces;
    float *mass = s->weights, *moment = mass + t->lanes;
    struct weight *whole = (struct weight *)(void *)s->found; /* of each segment; its kinks are laid out already */
    _Static_assert(sizeof *whole <= sizeof *s->found, "room");
    scale /= pieces->total;
    memset(mass, 0, 2 * (size_t)t->lanes * sizeof *mass);
    for (uint32_t p = 0; p + 1 < t->n; p++) {
        struct span span = span_of(t, s, p);
        whole[p] = (struct weight){0.0, 0.0};
        for (uint32_t k = 0; k <= s->first[p + 1] - s->first[p]; k++) {
            struct weight piece = weight_of(pieces, &span, k, scale);
            whole[p].mass += piece.mass;
            whole[p].moment += piece.moment;
        }
        if (span.segment == EXACT_BETWEEN) {
            mass[lane_of_segment(t, p)] = (float)whole[p].mass;
            moment[lane_of_segment(t, p)] = (float)whole[p].moment;
        }
    }
    t->kernels->spread(sums->mass, sums->moment, sums->active, mass, moment, t->u_lanes, hx, t->layers[0].out,
                       t->lanes);
    for (uint32_t p = 0; p + 1 < t->n; p++) {
        struct span span = span_of(t, s, p);
        if (span.segment != EXACT_BETWEEN)
            spread_ray(t, hx, p, whole[p], sums);
        spread_kinks(t, s, &span, p, pieces, scale, whole[p], sums);
    }
}
