/* trunk_still.c - a batch through a trunk that stands still, images in lanes (kernels.h).
 *
 *   images -> groups of GROUP in lanes -> operation by operation:
 *             convolution, pool, mean, or a copy              a group and some channels, or some tiles, a part
 *             statistics of its channels -> norm, what is added, relu, in place         some channels a part
 *
 * A value lies in a slot, group behind group; a slot is free again after the last operation that reads its value.
 * Convolutions of 3 x 3 whose tiles take fewer products than their windows go tile by tile: for each point of the tiles
 * a matrix product over channels, as many tiles at once as stay in cache. Padding costs windows nothing, so that small
 * images, of which most windows lie half outside, go by windows. */
#include "core/trunk_still.h"

#include <stdlib.h>
#include <string.h>

#include "core/trunk_internal.h"

#define GROUP 32u                /* images: two registers of lanes */
#define CHANNELS 32u             /* of a part */
#define CACHED_FLOATS (1u << 18) /* of tiles before and after their products */
#define IMAGE_PARTS 8u           /* of a group's images on their way into lanes */

struct still_op {
    struct ebm_image_op op;
    float *points;              /* (EBM_TILE_POINTS, to.channels, from.channels) weights; NULL: by windows */
    uint32_t tiles_down, steps; /* rows of tiles, steps of a row */
    uint32_t step;              /* tiles at once, at most */
    uint32_t in, add, out;      /* slots */
};

struct ebm_trunk_still {
    const struct ebm_kernels *kernels;
    struct ebm_shape in;
    uint32_t n_ops, n_slots, max_groups;
    struct still_op *ops;
    float **slots;
    size_t scratch;
    uint32_t image_slot;

    /* the work at hand */
    uint32_t B, n_groups;
    float *params;
    const float *weights; /* of load */
    const float *x;       /* (B, X) */
    float *h;             /* (B, out) */
    const struct still_op *at;
};

/* ---- memory ---- */

/* Aligned, and not written, as ebm_alloc_aligned's is: it stays with the system until a batch comes this way. */
static float *untouched(size_t floats)
{
    return aligned_alloc(EBM_ALIGNMENT, ebm_round_up(floats * sizeof(float), EBM_ALIGNMENT));
}

/* Taps that fall on inputs, of all places along a line of `size`. */
static uint32_t taps_along(const struct ebm_image_op *op, uint32_t size)
{
    uint32_t sum = 0;
    for (uint32_t at = 0; at < size; at++) {
        struct ebm_taps taps = ebm_taps_of(op, at, size);
        sum += taps.end - taps.first;
    }
    return sum;
}

static bool goes_by_tiles(const struct ebm_image_op *op)
{
    if (op->kind != EBM_IMAGE_CONV || op->kernel != 3 || op->stride != 1 || op->padding != 1)
        return false;
    uint32_t tiles = ((op->to.height + 1) / 2) * ((op->to.width + 1) / 2);
    return tiles * EBM_TILE_POINTS < taps_along(op, op->to.height) * taps_along(op, op->to.width);
}

static bool lay_tiles(struct ebm_trunk_still *t, struct still_op *still)
{
    const struct ebm_image_op *op = &still->op;
    if (!goes_by_tiles(op))
        return true;
    uint32_t across = (op->to.width + 1) / 2, channels = op->from.channels + op->to.channels;
    uint32_t most = CACHED_FLOATS / (EBM_TILE_POINTS * GROUP * channels);
    still->step = most < 1 ? 1 : most < across ? most : across;
    still->tiles_down = (op->to.height + 1) / 2;
    still->steps = (across + still->step - 1) / still->step;
    size_t scratch = (size_t)EBM_TILE_POINTS * GROUP * channels * still->step;
    t->scratch = scratch > t->scratch ? scratch : t->scratch;
    size_t weights = (size_t)EBM_TILE_POINTS * op->to.channels * op->from.channels;
    still->points = untouched(weights);
    return still->points != NULL;
}

/* The last operation that reads each value; the last value is read by who asked for it. */
static void find_last_reads(const struct ebm_trunk *trunk, uint32_t *ret_last)
{
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        ret_last[i + 1] = i;
        ret_last[trunk->ops[i].in] = i;
        if (trunk->ops[i].add != EBM_IMAGE_NONE)
            ret_last[trunk->ops[i].add] = i;
    }
    ret_last[trunk->n_ops] = EBM_IMAGE_NONE;
}

/* A slot whose value is not read by operation `now` or later ones; it is taken until `last`. */
static uint32_t take_slot(struct ebm_trunk_still *t, uint32_t *until, uint32_t now, uint32_t last)
{
    uint32_t slot = 0;
    while (slot < t->n_slots && until[slot] >= now)
        slot++;
    t->n_slots = slot < t->n_slots ? t->n_slots : slot + 1;
    until[slot] = last;
    return slot;
}

static enum ebm_status lay_slots(struct ebm_trunk_still *t, const struct ebm_trunk *trunk)
{
    size_t n = (size_t)trunk->n_ops + 1, largest = ebm_shape_count(&t->in);
    EBM_AUTO(ebm_freep) uint32_t *space = calloc(3 * n, sizeof *space);
    if (space == NULL)
        return EBM_NO_MEMORY;
    uint32_t *last = space, *until = space + n, *slot_of = space + 2 * n;
    find_last_reads(trunk, last);
    t->image_slot = slot_of[0] = take_slot(t, until, 0, last[0]);
    for (uint32_t i = 0; i < t->n_ops; i++) {
        struct still_op *still = &t->ops[i];
        size_t count = ebm_shape_count(&still->op.to);
        largest = count > largest ? count : largest;
        still->in = slot_of[still->op.in];
        still->out = slot_of[i + 1] = take_slot(t, until, i, last[i + 1]);
        still->add = still->op.add != EBM_IMAGE_NONE ? slot_of[still->op.add] : still->out;
    }
    t->slots = calloc(t->n_slots, sizeof *t->slots);
    for (uint32_t i = 0; t->slots != NULL && i < t->n_slots; i++) {
        t->slots[i] = untouched(largest * t->max_groups * GROUP);
        if (t->slots[i] == NULL)
            return EBM_NO_MEMORY;
    }
    return t->slots != NULL ? EBM_OK : EBM_NO_MEMORY;
}

enum ebm_status ebm_trunk_still_new(const struct ebm_trunk *trunk, const struct ebm_kernels *kernels, uint32_t max_rows,
                                    struct ebm_trunk_still **ret_still, struct ebm_error *reterr)
{
    struct ebm_trunk_still *t = calloc(1, sizeof *t);
    struct still_op *ops = calloc(trunk->n_ops, sizeof *ops);
    enum ebm_status status = t != NULL && ops != NULL ? EBM_OK : EBM_NO_MEMORY;
    if (status == EBM_OK) {
        *t = (struct ebm_trunk_still){.kernels = kernels, .in = trunk->in, .n_ops = trunk->n_ops, .ops = ops};
        t->max_groups = (max_rows + GROUP - 1) / GROUP;
        for (uint32_t i = 0; i < t->n_ops; i++)
            ops[i].op = trunk->ops[i];
        status = lay_slots(t, trunk);
    }
    for (uint32_t i = 0; status == EBM_OK && i < trunk->n_ops; i++)
        status = lay_tiles(t, &ops[i]) ? EBM_OK : EBM_NO_MEMORY;
    if (status == EBM_OK) {
        *ret_still = t;
        return EBM_OK;
    }
    if (t == NULL || t->ops == NULL)
        free(ops);
    (void)ebm_trunk_still_free(t);
    return ebm_error_set(reterr, status, "feature_net", "no memory for batches of %u images", max_rows);
}

struct ebm_trunk_still *ebm_trunk_still_free(struct ebm_trunk_still *t)
{
    if (t == NULL)
        return NULL;
    for (uint32_t i = 0; t->ops != NULL && i < t->n_ops; i++)
        free(t->ops[i].points);
    for (uint32_t i = 0; t->slots != NULL && i < t->n_slots; i++)
        free(t->slots[i]);
    free(t->ops);
    free(t->slots);
    free(t);
    return NULL;
}

size_t ebm_trunk_still_scratch(const struct ebm_trunk_still *t)
{
    return t->scratch;
}

/* ---- weights ---- */

/* G w G' of 3 x 3 weights (kernels.h): `stride` numbers from point to point. */
static void points_of(float *to, size_t stride, const float *w)
{
    double half[4][3];
    for (int i = 0; i < 3; i++) {
        double w0 = (double)w[i], w1 = (double)w[3 + i], w2 = (double)w[6 + i];
        half[0][i] = w0;
        half[1][i] = 0.5 * (w0 + w1 + w2);
        half[2][i] = 0.5 * (w0 - w1 + w2);
        half[3][i] = w2;
    }
    for (size_t i = 0; i < 4; i++) {
        const double *row = half[i];
        float *at = to + 4 * i * stride;
        at[0] = (float)row[0];
        at[stride] = (float)(0.5 * (row[0] + row[1] + row[2]));
        at[2 * stride] = (float)(0.5 * (row[0] - row[1] + row[2]));
        at[3 * stride] = (float)row[2];
    }
}

static void load_part(void *user, uint32_t i, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct still_op *still = &t->ops[i];
    (void)scratch;
    if (still->points == NULL)
        return;
    size_t n = (size_t)still->op.to.channels * still->op.from.channels;
    for (size_t j = 0; j < n; j++)
        points_of(still->points + j, n, t->weights + still->op.weight + 9 * j);
}

void ebm_trunk_still_load(struct ebm_trunk_still *t, const float *params, const struct ebm_trunk_threads *threads)
{
    t->weights = params;
    threads->run(threads->who, load_part, t, t->n_ops);
}

/* ---- groups ---- */

static uint32_t rows_of(const struct ebm_trunk_still *t, uint32_t group)
{
    uint32_t left = t->B - group * GROUP;
    return left < GROUP ? left : GROUP;
}

static uint32_t lanes_of(const struct ebm_trunk_still *t, uint32_t group)
{
    return (uint32_t)ebm_round_up(rows_of(t, group), EBM_LANES);
}

/* Channel c of a group's value of this shape. */
static float *channel_of(const struct ebm_trunk_still *t, uint32_t slot, const struct ebm_shape *shape, uint32_t group,
                         size_t c)
{
    return t->slots[slot] + group * GROUP * ebm_shape_count(shape) +
           c * shape->height * shape->width * lanes_of(t, group);
}

static uint32_t channel_parts(uint32_t channels)
{
    return (channels + CHANNELS - 1) / CHANNELS;
}

static uint32_t channels_from(uint32_t first, uint32_t channels)
{
    return channels - first < CHANNELS ? channels - first : CHANNELS;
}

/* Lanes without an image are 0. */
static void images_part(void *user, uint32_t part, float *scratch)
{
    struct ebm_trunk_still *t = user;
    uint32_t group = part / IMAGE_PARTS, rows = rows_of(t, group), L = lanes_of(t, group);
    size_t X = ebm_shape_count(&t->in), first = X * (part % IMAGE_PARTS) / IMAGE_PARTS;
    size_t end = X * (part % IMAGE_PARTS + 1) / IMAGE_PARTS;
    const float *x = t->x + group * GROUP * X;
    float *to = channel_of(t, t->image_slot, &t->in, group, 0);
    (void)scratch;
    for (size_t i = first; i < end; i++)
        for (uint32_t l = 0; l < L; l++)
            to[i * L + l] = l < rows ? x[l * X + i] : 0.0f;
}

static void give_part(void *user, uint32_t group, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct still_op *last = &t->ops[t->n_ops - 1];
    size_t out = ebm_shape_count(&last->op.to), L = lanes_of(t, group);
    const float *from = channel_of(t, last->out, &last->op.to, group, 0);
    (void)scratch;
    for (uint32_t l = 0; l < rows_of(t, group); l++)
        for (size_t i = 0; i < out; i++)
            t->h[(group * GROUP + l) * out + i] = from[i * L + l];
}

/* ---- operations ---- */

static void tiles_part(void *user, uint32_t part, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct still_op *at = t->at;
    const struct ebm_image_op *op = &at->op;
    uint32_t group = part / (at->tiles_down * at->steps), L = lanes_of(t, group), across = (op->to.width + 1) / 2;
    struct ebm_tiles tiles = {.row = part / at->steps % at->tiles_down, .first = part % at->steps * at->step};
    tiles.n = across - tiles.first < at->step ? across - tiles.first : at->step;
    uint32_t from = op->from.channels, to = op->to.channels, lanes = tiles.n * L;
    float *v = scratch, *m = v + (size_t)EBM_TILE_POINTS * from * lanes;
    t->kernels->tiles_in(v, channel_of(t, at->in, &op->from, group, 0), &op->from, &tiles, L);
    for (size_t p = 0; p < EBM_TILE_POINTS; p++)
        t->kernels->linear(m + p * to * lanes, at->points + p * to * from, from, NULL, v + p * from * lanes, to, from,
                           lanes);
    t->kernels->tiles_out(channel_of(t, at->out, &op->to, group, 0), m, &op->to, &tiles, L);
}

static void mean_of_places(float *to, const float *from, size_t places, uint32_t L)
{
    for (uint32_t l = 0; l < L; l++) {
        double sum = 0.0;
        for (size_t p = 0; p < places; p++)
            sum += (double)from[p * L + l];
        to[l] = (float)(sum / (double)places);
    }
}

static void channels_part(void *user, uint32_t part, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct ebm_image_op *op = &t->at->op;
    uint32_t parts = channel_parts(op->to.channels), group = part / parts, first = part % parts * CHANNELS;
    uint32_t n = channels_from(first, op->to.channels), L = lanes_of(t, group);
    size_t places = (size_t)op->from.height * op->from.width;
    size_t weights = (size_t)op->from.channels * op->kernel * op->kernel;
    float *to = channel_of(t, t->at->out, &op->to, group, first);
    bool reads_all = op->kind == EBM_IMAGE_CONV;
    const float *from = channel_of(t, t->at->in, &op->from, group, reads_all ? 0 : first);
    (void)scratch;
    switch (op->kind) {
    case EBM_IMAGE_CONV:
        t->kernels->convolve(to, op, t->params + op->weight + first * weights, from, n, L);
        break;
    case EBM_IMAGE_MAX_POOL:
        t->kernels->pool(to, op, from, n, L);
        break;
    case EBM_IMAGE_MEAN:
        for (uint32_t c = 0; c < n; c++)
            mean_of_places(to + c * L, from + c * places * L, places, L);
        break;
    case EBM_IMAGE_PASS:
        memcpy(to, from, n * places * L * sizeof *to);
        break;
    }
}

/* The norm of channel c over the batch, a bias included; lanes without an image do not count. */
static struct ebm_norm_now norm_of(const struct ebm_trunk_still *t, const struct still_op *at, size_t c, double bias)
{
    const struct ebm_image_op *op = &at->op;
    size_t places = (size_t)op->to.height * op->to.width;
    double sums[GROUP], squares[GROUP], sum = 0.0, square = 0.0, n = (double)t->B * (double)places;
    for (uint32_t group = 0; group < t->n_groups; group++) {
        t->kernels->sum_places(sums, squares, channel_of(t, at->out, &op->to, group, c), places, lanes_of(t, group));
        for (uint32_t l = 0; l < rows_of(t, group); l++) {
            sum += sums[l];
            square += squares[l];
        }
    }
    return ebm_norm_settle(t->params, op, c, sum + n * bias, square + bias * (2.0 * sum + n * bias), n);
}

static void finish_part(void *user, uint32_t part, float *scratch)
{
    struct ebm_trunk_still *t = user;
    const struct still_op *at = t->at;
    const struct ebm_image_op *op = &at->op;
    uint32_t first = part * CHANNELS;
    (void)scratch;
    for (size_t c = first; c < first + channels_from(first, op->to.channels); c++) {
        double bias = op->bias != EBM_NO_TENSOR ? (double)t->params[op->bias + c] : 0.0, factor = 1.0, offset = bias;
        if (op->has_norm) {
            struct ebm_norm_now now = norm_of(t, at, c, bias);
            factor = (double)t->params[op->scale + c] * now.inverse;
            offset = (double)t->params[op->shift + c] + (bias - now.mean) * factor;
        }
        for (uint32_t group = 0; group < t->n_groups; group++) {
            const float *add = channel_of(t, at->add, &op->to, group, c);
            t->kernels->affine(channel_of(t, at->out, &op->to, group, c), op->add != EBM_IMAGE_NONE ? add : NULL,
                               (float)factor, (float)offset, op->has_relu,
                               (size_t)op->to.height * op->to.width * lanes_of(t, group));
        }
    }
}

static bool needs_finish(const struct ebm_image_op *op)
{
    return op->has_norm || op->has_relu || op->add != EBM_IMAGE_NONE ||
           (op->kind == EBM_IMAGE_CONV && op->bias != EBM_NO_TENSOR);
}

void ebm_trunk_still_forward(struct ebm_trunk_still *t, float *params, const struct ebm_trunk_threads *threads,
                             const float *x, uint32_t B, float *h)
{
    EBM_ASSERT(B >= 1 && B <= t->max_groups * GROUP);
    t->params = params;
    t->x = x;
    t->B = B;
    t->h = h;
    t->n_groups = (B + GROUP - 1) / GROUP;
    threads->run(threads->who, images_part, t, t->n_groups * IMAGE_PARTS);
    for (uint32_t i = 0; i < t->n_ops; i++) {
        const struct still_op *at = t->at = &t->ops[i];
        uint32_t parts = channel_parts(at->op.to.channels);
        if (at->points != NULL)
            threads->run(threads->who, tiles_part, t, t->n_groups * at->tiles_down * at->steps);
        else
            threads->run(threads->who, channels_part, t, t->n_groups * parts);
        if (needs_finish(&at->op))
            threads->run(threads->who, finish_part, t, parts);
    }
    threads->run(threads->who, give_part, t, t->n_groups);
}
