/* exact.c - binds one x: table rows + hx -> hidden layers (exact_rows.c) -> knots of f -> integrals (pieces.c). One
 * hidden relu layer goes its own way: exact_segments.c.
 *
 * The last hidden layer is left with the same recurrence as the others, its output being one number: f in double, from
 * the sums at both ends of a segment and the jumps of the slope between them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/exact_internal.h"
#include "core/limits.h"

/* ---- memory ---- */

struct ebm_exact_space *ebm_exact_space_new(void)
{
    return calloc(1, sizeof(struct ebm_exact_space));
}

static void release(struct ebm_exact_space *s)
{
    float *const floats[] = {s->rows[0].z, s->rows[1].z, s->rows[0].v, s->rows[1].v, s->a, s->product, s->slope};
    for (size_t i = 0; i < EBM_COUNT_OF(floats); i++)
        free(floats[i]);
    free(s->doubles);
    free(s->signs);
    free(s->kinks);
    exact_segments_release(&s->segments);
    *s = (struct ebm_exact_space){.max_knots = 0};
}

struct ebm_exact_space *ebm_exact_space_free(struct ebm_exact_space *space)
{
    if (space != NULL)
        release(space);
    free(space);
    return NULL;
}

/* Floats of a buffer: all knots of a narrow net, fewer of a wide one, as many as the table has anyway. */
static size_t wanted_floats(const struct ebm_exact_table *t)
{
    size_t all = (size_t)t->max_knots * t->widest, table = (size_t)t->n * t->widest;
    size_t most = table > LIMIT_PIECE_FLOATS ? table : LIMIT_PIECE_FLOATS;
    return all < most ? all : most;
}

/* Memory that is never written stays with the system: most of it, for most nets. */
static bool take(struct ebm_exact_space *s)
{
    float **const floats[] = {&s->rows[0].z, &s->rows[1].z, &s->rows[0].v, &s->rows[1].v, &s->a, &s->product};
    size_t bytes = ebm_round_up(s->max_floats * sizeof(float), EBM_ALIGNMENT);
    bool ok = true;
    for (size_t i = 0; i < EBM_COUNT_OF(floats); i++) {
        *floats[i] = aligned_alloc(EBM_ALIGNMENT, bytes);
        ok = ok && *floats[i] != NULL;
    }
    s->slope = ebm_alloc_aligned(s->widest * sizeof *s->slope);
    s->kinks = calloc(s->widest, sizeof *s->kinks);
    s->signs = calloc(s->max_floats / EBM_EXACT_LANES + 1, sizeof *s->signs);
    s->doubles = calloc(ebm_pieces_count(s->max_knots) + 3 * (size_t)s->max_knots, sizeof *s->doubles);
    ok = exact_segments_reserve(&s->segments, s->max_knots, s->widest) && ok;
    if (!ok || s->slope == NULL || s->signs == NULL || s->kinks == NULL || s->doubles == NULL)
        return false;
    ebm_pieces_init(&s->pieces, s->max_knots, s->doubles);
    s->rows[0].y = s->doubles + ebm_pieces_count(s->max_knots);
    s->rows[1].y = s->rows[0].y + s->max_knots;
    s->f = s->rows[1].y + s->max_knots;
    return true;
}

enum ebm_status ebm_exact_space_reserve(struct ebm_exact_space *space, const struct ebm_exact_table *table)
{
    size_t floats = wanted_floats(table);
    if (space->max_knots >= table->max_knots && space->max_floats >= floats && space->widest >= table->widest)
        return EBM_OK;
    struct ebm_exact_space larger = {
        .max_knots = space->max_knots > table->max_knots ? space->max_knots : table->max_knots,
        .max_floats = space->max_floats > floats ? space->max_floats : floats,
        .widest = space->widest > table->widest ? space->widest : table->widest,
    };
    if (!take(&larger)) {
        release(&larger);
        return EBM_NO_MEMORY;
    }
    release(space);
    *space = larger;
    return EBM_OK;
}

/* ---- the first layer ---- */

/* z = u + hx, padded with zeros. */
static void add_rows(float *restrict z, const float *restrict u, const float *restrict hx, uint32_t n, uint32_t stride)
{
    for (uint32_t j = 0; j < n; j++)
        z[j] = u[j] + hx[j];
    memset(z + n, 0, (stride - n) * sizeof *z);
}

/* z = u + hx, v = [h, g] when the layer is residual; direction rows are the table's. False: too many rows. */
static bool first_layer(const struct ebm_exact_table *t, const float *hx, const float *h, struct ebm_exact_space *s)
{
    const struct exact_layer *layer = &t->layers[0];
    struct exact_rows *rows = &s->rows[0];
    size_t H = t->net->H, G = t->net->G;
    if ((size_t)t->n * t->stride > s->max_floats)
        return false;
    rows->n = t->n;
    memcpy(rows->y, t->y, t->n * sizeof *t->y);
    for (uint32_t p = 0; p < t->n; p++) {
        const float *u = t->u + (size_t)p * t->stride;
        float *z = rows->z + (size_t)p * t->stride, *v = rows->v + (size_t)p * t->stride;
        bool is_direction = exact_is_direction(t, p, t->n);
        if (is_direction)
            memcpy(z, u, t->stride * sizeof *z);
        else
            add_rows(z, u, hx, layer->out, t->stride);
        if (!layer->is_residual)
            continue;
        memset(v, 0, t->stride * sizeof *v);
        if (!is_direction)
            memcpy(v, h, H * sizeof *v);
        memcpy(v + H, t->g + (size_t)p * G, G * sizeof *v);
    }
    return true;
}

/* ---- the last layer ---- */

void exact_walk(struct ebm_pieces *pieces, const double *y, uint32_t p, enum exact_segment segment, double f_p,
                double f_q, const struct exact_kink *kinks, uint32_t n, const struct exact_layer *last)
{
    bool between = segment == EXACT_BETWEEN, left = segment == EXACT_LEFT_RAY;
    double slope = between ? f_q - f_p : left ? f_p : f_q, f = left ? f_q : f_p, t = 0.0;
    for (uint32_t k = 0; k < n; k++)
        slope -= kinks[k].delta * (double)last->weight[(size_t)kinks[k].unit * last->out_stride] *
                 (between ? 1.0 - kinks[k].t : 1.0);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t at = pieces->n + (left ? n - 1 - k : k);
        f += (kinks[k].t - t) * slope;
        t = kinks[k].t;
        slope += kinks[k].delta * (double)last->weight[(size_t)kinks[k].unit * last->out_stride];
        pieces->y[at] = exact_y_at(segment, y, p, t);
        pieces->f[at] = f;
    }
    pieces->n += n;
}

/* f of all rows, and the slope of f along direction rows. */
static void f_of_rows(const struct ebm_exact_table *t, const struct exact_rows *rows, struct ebm_exact_space *s)
{
    const struct exact_layer *layer = &t->layers[t->n_layers - 2], *last = &t->layers[t->n_layers - 1];
    float *w = s->slope;
    for (uint32_t j = 0; j < layer->out_stride; j++)
        w[j] = j < layer->out ? last->weight[(size_t)j * last->out_stride] : 0.0f;
    t->kernels->rows_output(s->f, w, rows->z, layer->is_residual ? rows->v : NULL, layer->is_relu, rows->n,
                            layer->out_stride);
    for (uint32_t p = 0; p < rows->n; p++)
        s->f[p] += (double)last->bias[0];
    if (t->is_open[EBM_LEFT])
        s->f[0] = -t->tails.slope[EBM_LEFT];
    if (t->is_open[EBM_RIGHT])
        s->f[rows->n - 1] = t->tails.slope[EBM_RIGHT];
}

/* Rows of the last hidden layer -> knots of f. False: too many. */
static bool last_layer(const struct ebm_exact_table *t, const struct exact_rows *rows, struct ebm_exact_space *s)
{
    const struct exact_layer *layer = &t->layers[t->n_layers - 2], *last = &t->layers[t->n_layers - 1];
    struct ebm_pieces *pieces = &s->pieces;
    f_of_rows(t, rows, s);
    exact_rows_signs(t, rows, layer->out_stride, s);
    pieces->n = 0;
    for (uint32_t p = 0; p < rows->n; p++) {
        enum exact_segment segment = exact_segment_of(t, p, rows->n);
        uint32_t k = 0;
        if (p + 1 < rows->n && layer->is_relu)
            k = exact_rows_kinks(rows, p, segment, layer->out_stride, s->signs, s->kinks);
        if (pieces->n + k + 1 > t->max_knots)
            return false;
        if (!exact_is_direction(t, p, rows->n)) {
            pieces->y[pieces->n] = rows->y[p];
            pieces->f[pieces->n++] = s->f[p];
        }
        if (p + 1 < rows->n)
            exact_walk(pieces, rows->y, p, segment, s->f[p], s->f[p + 1], s->kinks, k, last);
    }
    return true;
}

/* The energy net is one layer: f = u + hx. */
static void only_layer(const struct ebm_exact_table *t, const float *hx, struct ebm_pieces *pieces)
{
    pieces->n = 0;
    for (uint32_t p = 0; p < t->n; p++)
        if (!exact_is_direction(t, p, t->n)) {
            pieces->y[pieces->n] = t->y[p];
            pieces->f[pieces->n++] = (double)t->u[(size_t)p * t->stride] + (double)hx[0];
        }
}

uint32_t ebm_exact_knots(const struct ebm_exact_table *t, double *ret_y, uint32_t max)
{
    uint32_t first = t->is_open[EBM_LEFT], n = t->n - first - t->is_open[EBM_RIGHT], count = n < max ? n : max;
    for (uint32_t i = 0; i < count; i++)
        ret_y[i] = t->y[first + (uint32_t)((uint64_t)i * n / count)];
    return count;
}

/* ---- bind ---- */

enum ebm_status ebm_exact_bind_pieces(const struct ebm_exact_table *t, const float *hx, const float *h,
                                      struct ebm_exact_space *space, struct ebm_pieces **ret_pieces)
{
    EBM_ASSERT(t->is_usable && space->max_knots >= t->max_knots && space->widest >= t->widest);
    struct ebm_pieces *pieces = &space->pieces;
    if (t->n_layers == 1) {
        only_layer(t, hx, pieces);
    } else if (exact_segments_apply(t)) {
        if (!exact_segments_run(t, hx, &space->segments, pieces))
            return EBM_TOO_LARGE;
    } else {
        const struct exact_rows *rows = first_layer(t, hx, h, space) ? exact_rows_run(t, space) : NULL;
        if (rows == NULL || !last_layer(t, rows, space))
            return EBM_TOO_LARGE;
    }
    for (int side = EBM_LEFT; side <= EBM_RIGHT; side++) {
        pieces->is_open[side] = t->is_open[side];
        pieces->slope[side] = t->tails.slope[side];
    }
    pieces->is_proper = t->tails.is_proper;
    ebm_pieces_integrate(pieces);
    if (isnan(pieces->total) || !isfinite(pieces->peak))
        return EBM_INVALID;
    *ret_pieces = pieces;
    return EBM_OK;
}

enum ebm_status ebm_exact_bind(const struct ebm_exact_table *table, const float *hx, const float *h,
                               struct ebm_exact_space *space, struct ebm_scalar *ret_density)
{
    struct ebm_pieces *pieces;
    enum ebm_status status = ebm_exact_bind_pieces(table, hx, h, space, &pieces);
    if (status != EBM_OK)
        return status;
    ebm_pieces_accumulate(pieces);
    *ret_density = (struct ebm_scalar){.ops = &ebm_pieces_ops, .density = pieces};
    return EBM_OK;
}
