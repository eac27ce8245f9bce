/* exact_rows.c - the hidden energy layers of one x: from z of a layer at its rows to z of the next one at more rows.
 *
 * The product W a + b is taken only at the rows that there are; at a kink inside a segment one unit changes its slope,
 * so the next layer's z moves on with one row of W^T:
 *
 *   right after p:   S = z'(q) - z'(p) - sum over kinks j of (1 - t_j) |delta_j| W_j     on a ray: z'(inf) - sum
 *   at kink j:       z' += (t_j - t) S;   S += |delta_j| W_j                             relu always bends upwards
 *
 * Both ends of a segment come from products of their own, so rounding does not build up along y. */
#include <math.h>
#include <string.h>

#include "core/blas.h"
#include "core/exact_internal.h"

#define SMALL_PRODUCT 4096u /* weights; fewer than this are not worth a call of BLAS */

void exact_rows_signs(const struct ebm_exact_table *table, const struct exact_rows *rows, uint32_t stride,
                      struct ebm_exact_space *space)
{
    if (rows->n > 1)
        table->kernels->rows_signs(space->signs, rows->z, rows->n, stride);
}

uint32_t exact_rows_kinks(const struct exact_rows *rows, uint32_t p, enum exact_segment segment, uint32_t stride,
                          const uint16_t *signs, struct exact_kink *kinks)
{
    const float *z = rows->z + (size_t)p * stride;
    const float *anchor = segment == EXACT_LEFT_RAY ? z + stride : z, *end = segment == EXACT_LEFT_RAY ? z : z + stride;
    uint32_t count = 0;
    signs += (size_t)p * (stride / EBM_EXACT_LANES);
    for (uint32_t first = 0; first < stride; first += EBM_EXACT_LANES)
        for (uint32_t bits = *signs++; bits != 0; bits &= bits - 1) {
            uint32_t j = first + (uint32_t)__builtin_ctz(bits);
            if (!((anchor[j] < 0.0f && end[j] > 0.0f) || (anchor[j] > 0.0f && end[j] < 0.0f)))
                continue;
            double delta = (double)end[j] - (segment == EXACT_BETWEEN ? (double)anchor[j] : 0.0);
            kinks[count++] = (struct exact_kink){.t = -(double)anchor[j] / delta, .delta = fabs(delta), .unit = j};
        }
    exact_kinks_sort(kinks, count);
    return count;
}

/* product (n, out_stride) = a (n, in_stride) W^T + bias, no bias for direction rows */
static void product(const struct ebm_exact_table *table, struct ebm_exact_space *space, const struct exact_layer *layer,
                    uint32_t n, uint32_t in_stride)
{
    for (uint32_t p = 0; p < n; p++) {
        float *out = space->product + (size_t)p * layer->out_stride;
        if (exact_is_direction(table, p, n))
            memset(out, 0, layer->out_stride * sizeof *out);
        else
            memcpy(out, layer->bias, layer->out_stride * sizeof *out);
    }
    if (layer->in * layer->out_stride < SMALL_PRODUCT)
        table->kernels->rows_product(space->product, layer->weight, space->a, in_stride, n, layer->in,
                                     layer->out_stride);
    else
        ebm_blas_nn(space->product, layer->out_stride, space->a, in_stride, layer->weight, layer->out_stride, n,
                    layer->out_stride, layer->in, 1.0f);
}

/* a of all rows: act(z) (+ v) */
static void activate(const struct exact_rows *rows, const struct exact_layer *layer, float *a)
{
    for (size_t i = 0; i < (size_t)rows->n * layer->out_stride; i++) {
        float z = rows->z[i];
        a[i] = (layer->is_relu && z < 0.0f ? 0.0f : z) + (layer->is_residual ? rows->v[i] : 0.0f);
    }
}

/* One step through a segment: what its parts share. */
struct walk {
    const struct exact_layer *layer, *next;
    const struct exact_rows *in;
    struct exact_rows *out;
    enum exact_segment segment;
    uint32_t p, n_kinks;
    const struct exact_kink *kinks;
};

/* The layer's output at kink k, for a next layer that adds it. */
static void output_at(const struct walk *w, const struct exact_kink *kink, float *restrict a)
{
    uint32_t stride = w->layer->out_stride;
    const float *z = w->in->z + (size_t)w->p * stride, *v = w->in->v + (size_t)w->p * stride;
    float share = w->segment == EXACT_BETWEEN ? (float)(1.0 - kink->t) : 1.0f, next = (float)kink->t;
    if (w->segment == EXACT_LEFT_RAY) {
        share = (float)kink->t;
        next = 1.0f;
    }
    for (uint32_t j = 0; j < stride; j++) {
        float value = share * z[j] + next * z[stride + j];
        a[j] = value < 0.0f ? 0.0f : value;
    }
    a[kink->unit] = 0.0f;
    for (uint32_t j = 0; w->layer->is_residual && j < stride; j++)
        a[j] += share * v[j] + next * v[stride + j];
}

static void first_slope(const struct walk *w, const float *here, float *restrict slope)
{
    uint32_t O = w->next->out_stride;
    const float *there = here + O;
    for (uint32_t o = 0; o < O; o++)
        slope[o] = w->segment == EXACT_BETWEEN ? there[o] - here[o] : w->segment == EXACT_LEFT_RAY ? here[o] : there[o];
    for (uint32_t k = 0; k < w->n_kinks; k++) {
        const struct exact_kink *kink = &w->kinks[k];
        const float *restrict column = w->next->weight + (size_t)kink->unit * O;
        float d = (float)(kink->delta * (w->segment == EXACT_BETWEEN ? 1.0 - kink->t : 1.0));
        for (uint32_t o = 0; o < O; o++)
            slope[o] -= d * column[o];
    }
}

/* Rows at the kinks of the segment whose ends have the next layer's z at `here` and behind it. */
static void walk_kinks(struct walk *w, const float *here, float *slope)
{
    uint32_t O = w->next->out_stride;
    first_slope(w, here, slope);
    const float *before = w->segment == EXACT_LEFT_RAY ? here + O : here;
    double t = 0.0;
    for (uint32_t k = 0; k < w->n_kinks; k++) {
        const struct exact_kink *kink = &w->kinks[k];
        uint32_t at = w->out->n + (w->segment == EXACT_LEFT_RAY ? w->n_kinks - 1 - k : k);
        const float *restrict column = w->next->weight + (size_t)kink->unit * O;
        float step = (float)(kink->t - t), d = (float)kink->delta, *z = w->out->z + (size_t)at * O;
        for (uint32_t o = 0; o < O; o++) {
            z[o] = before[o] + step * slope[o];
            slope[o] += d * column[o];
        }
        if (w->next->is_residual)
            output_at(w, kink, w->out->v + (size_t)at * O);
        w->out->y[at] = exact_y_at(w->segment, w->in->y, w->p, kink->t);
        before = z;
        t = kink->t;
    }
    w->out->n += w->n_kinks;
}

static bool has_room(const struct ebm_exact_space *space, const struct ebm_exact_table *table, size_t n,
                     uint32_t stride)
{
    return n <= table->max_knots && n * stride <= space->max_floats;
}

/* From z of `layer` to z of `next`. False: too many rows. */
static bool advance(const struct ebm_exact_table *table, struct ebm_exact_space *space, const struct exact_layer *layer,
                    const struct exact_layer *next, const struct exact_rows *in, struct exact_rows *out)
{
    uint32_t O = next->out_stride;
    struct walk w = {.layer = layer, .next = next, .in = in, .out = out, .kinks = space->kinks};
    if (!has_room(space, table, in->n, O))
        return false;
    activate(in, layer, space->a);
    product(table, space, next, in->n, layer->out_stride);
    exact_rows_signs(table, in, layer->out_stride, space);
    out->n = 0;
    for (uint32_t p = 0; p < in->n; p++) {
        const float *here = space->product + (size_t)p * O;
        w.p = p;
        w.segment = exact_segment_of(table, p, in->n);
        w.n_kinks = 0;
        if (layer->is_relu && p + 1 < in->n)
            w.n_kinks = exact_rows_kinks(in, p, w.segment, layer->out_stride, space->signs, space->kinks);
        if (!has_room(space, table, (size_t)out->n + w.n_kinks + 1, O))
            return false;
        memcpy(out->z + (size_t)out->n * O, here, O * sizeof *here);
        if (next->is_residual)
            memcpy(out->v + (size_t)out->n * O, space->a + (size_t)p * layer->out_stride, O * sizeof *here);
        out->y[out->n++] = in->y[p];
        if (w.n_kinks > 0)
            walk_kinks(&w, here, space->slope);
    }
    return true;
}

const struct exact_rows *exact_rows_run(const struct ebm_exact_table *table, struct ebm_exact_space *space)
{
    uint32_t at = 0;
    for (uint32_t l = 0; l + 2 < table->n_layers; l++, at = 1 - at)
        if (!advance(table, space, &table->layers[l], &table->layers[l + 1], &space->rows[at], &space->rows[1 - at]))
            return NULL;
    return &space->rows[at];
}
