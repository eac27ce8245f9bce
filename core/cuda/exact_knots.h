/* exact_knots.h - knots of f of rows whose f is piecewise linear, and its integrals over the pieces between them, by a
 * block a row. Included by exact.cu (answers) and exact_train.cu (training).
 *
 *   rows of the table + hx -> kinks of a layer, sorted along each segment -> the layer's outputs at rows and kinks ->
 *   the next layer at all of them -> ... -> knots of f -> masses and centroids
 *
 * What a row, a segment and a kink are core/exact_internal.h says. The mathematics are the CPU's (exact_rows.c,
 * exact.c, pieces.c) but for one thing: at the kinks of a hidden layer the next one is a product of its own instead of
 * a step from the kink before, since threads do not wait for each other. Networks are float, y, f and integrals double.
 */
#ifndef EBM_CORE_CUDA_EXACT_KNOTS_H
#define EBM_CORE_CUDA_EXACT_KNOTS_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "core/cuda/block.h"
#include "core/cuda/exact_internal.h"

#define PIECE_FUNCTION DEVICE
#include "core/piece_forms.h"

#define THREADS 128u
#define WARPS (THREADS / 32u)
#define KNOTS EBM_GPU_EXACT_KNOTS
#define TOGETHER 4u              /* rows of a thread in a product */
#define SHORT_ARRAY (KNOTS + 2u) /* numbers */

/* A block's memory, in global memory. */
struct scratch {
    double *even_y, *odd_y; /* of rows, layer by layer in turn */
    float *even_z, *odd_z;  /* (rows, widest) a layer before its activation */
    float *even_a, *odd_a;  /* and outputs */
    double *t, *delta;      /* of kinks as they are found; then the heights of knots */
    double *sorted_t, *sorted_delta;
    double *knot_y, *knot_f;
    double *mass, *centroid, *below, *above; /* of pieces; mass: before, f of rows */
    uint32_t *unit, *segment, *sorted_unit, *sorted_segment;
    uint32_t *count, *first; /* of kinks in each segment, and those before it */
};

#define DOUBLES 12u /* arrays of each kind */
#define WORDS 6u

DEVICE struct scratch scratch_at(unsigned char *p, uint32_t widest)
{
    double *d = reinterpret_cast<double *>(p);
    uint32_t *w = reinterpret_cast<uint32_t *>(d + DOUBLES * SHORT_ARRAY);
    float *f = reinterpret_cast<float *>(w + WORDS * SHORT_ARRAY);
    const size_t n = SHORT_ARRAY, rows = (size_t)KNOTS * widest;
    return {d,         d + n,     f,         f + rows,  f + 2 * rows, f + 3 * rows, d + 2 * n,  d + 3 * n,
            d + 4 * n, d + 5 * n, d + 6 * n, d + 7 * n, d + 8 * n,    d + 9 * n,    d + 10 * n, d + 11 * n,
            w,         w + n,     w + 2 * n, w + 3 * n, w + 4 * n,    w + 5 * n};
}

inline size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* A block's scratch memory. */
inline size_t block_bytes(bool is_deep, uint32_t widest)
{
    return rounded(SHORT_ARRAY * (DOUBLES * sizeof(double) + WORDS * sizeof(uint32_t)) +
                   (is_deep ? 4 * (size_t)KNOTS * widest * sizeof(float) : 0));
}

/* ---- rows ---- */

enum segment_kind { BETWEEN, LEFT_RAY, RIGHT_RAY };

/* Rows of one layer: z, and with hx what comes to it but for direction rows. */
struct layer_rows {
    const struct ebm_gpu_exact_table *table;
    uint32_t n, stride;
    const double *y;
    const float *z, *hx, *added; /* hx NULL: z is whole; added (n, stride): of a residual layer */
};

DEVICE bool is_direction(const struct layer_rows *rows, uint32_t p)
{
    return (p == 0 && rows->table->is_open[0]) || (p == rows->n - 1 && rows->table->is_open[1]);
}

DEVICE enum segment_kind kind_of(const struct layer_rows *rows, uint32_t p)
{
    if (p == 0 && rows->table->is_open[0])
        return LEFT_RAY;
    return p + 2 == rows->n && rows->table->is_open[1] ? RIGHT_RAY : BETWEEN;
}

DEVICE float z_at(const struct layer_rows *rows, uint32_t p, uint32_t j)
{
    float z = rows->z[(size_t)p * rows->stride + j];
    return rows->hx == NULL || is_direction(rows, p) ? z : z + rows->hx[j];
}

DEVICE double y_of(const struct layer_rows *rows, uint32_t p, double t)
{
    enum segment_kind kind = kind_of(rows, p);
    if (kind == LEFT_RAY)
        return rows->y[p + 1] - t;
    if (kind == RIGHT_RAY)
        return rows->y[p] + t;
    double at = rows->y[p] + t * (rows->y[p + 1] - rows->y[p]);
    return at < rows->y[p + 1] ? at : rows->y[p + 1];
}

/* ---- kinks ---- */

/* Where unit j changes its sign along the segment after row p: t and its slope. */
DEVICE bool crosses(const struct layer_rows *rows, uint32_t p, uint32_t j, double *ret_t, double *ret_delta)
{
    enum segment_kind kind = kind_of(rows, p);
    float anchor = z_at(rows, kind == LEFT_RAY ? p + 1 : p, j), end = z_at(rows, kind == LEFT_RAY ? p : p + 1, j);
    double delta = (double)end - (kind == BETWEEN ? (double)anchor : 0.0);
    *ret_t = -(double)anchor / delta;
    *ret_delta = fabs(delta);
    return (anchor < 0.0f && end > 0.0f) || (anchor > 0.0f && end < 0.0f);
}

/* A warp a segment: counts its kinks or, where `places` are known, keeps them in the order of units. */
DEVICE void visit_kinks(const struct layer_rows *rows, uint32_t units, const uint32_t *places, const struct scratch *s)
{
    uint32_t lane = threadIdx.x % 32;
    for (uint32_t p = threadIdx.x / 32; p < rows->n; p += WARPS) {
        uint32_t found = 0;
        for (uint32_t j = lane; p + 1 < rows->n && j - lane < units; j += 32) {
            double t = 0.0, delta = 0.0;
            bool here = j < units && crosses(rows, p, j, &t, &delta);
            uint32_t votes = __ballot_sync(ALL_LANES, here);
            if (here && places != NULL) {
                uint32_t at = places[p] + found + (uint32_t)__popc(votes & ((1u << lane) - 1));
                s->t[at] = t;
                s->delta[at] = delta;
                s->unit[at] = j;
                s->segment[at] = p;
            }
            found += (uint32_t)__popc(votes);
        }
        if (lane == 0 && places == NULL)
            s->count[p] = found;
    }
    __syncthreads(); /* before others read them */
}

/* Along each segment, by rank; equals in the order of units. */
DEVICE void sort_kinks(uint32_t n, const struct scratch *s)
{
    for (uint32_t k = threadIdx.x; k < n; k += THREADS) {
        uint32_t p = s->segment[k], end = s->first[p] + s->count[p], at = s->first[p];
        double t = s->t[k];
        for (uint32_t i = s->first[p]; i < end; i++)
            at += s->t[i] < t || (s->t[i] == t && i < k);
        s->sorted_t[at] = t;
        s->sorted_delta[at] = s->delta[k];
        s->sorted_unit[at] = s->unit[k];
        s->sorted_segment[at] = p;
    }
    __syncthreads(); /* before they are read in order */
}

/* Kinks of a layer between its rows; more than KNOTS with the rows: there are too many. */
DEVICE uint32_t find_kinks(const struct layer_rows *rows, uint32_t units, bool is_relu, uint32_t *starts,
                           const struct scratch *s)
{
    visit_kinks(rows, is_relu ? units : 0, NULL, s);
    cumulate(s->count, rows->n, false, starts, s->first);
    uint32_t n = s->first[rows->n - 1];
    __syncthreads(); /* before they become those before each segment */
    for (uint32_t p = threadIdx.x; p < rows->n; p += THREADS)
        s->first[p] -= s->count[p];
    __syncthreads(); /* before others read them */
    if (n + rows->n > KNOTS)
        return n;
    visit_kinks(rows, is_relu ? units : 0, s->first, s);
    sort_kinks(n, s);
    return n;
}

/* ---- from layer to layer ---- */

/* Where kink k goes among rows and kinks: along a left ray they lie outward. */
DEVICE uint32_t place_of(const struct layer_rows *rows, const struct scratch *s, uint32_t k)
{
    uint32_t p = s->sorted_segment[k], off = k - s->first[p];
    return p + 1 + s->first[p] + (kind_of(rows, p) == LEFT_RAY ? s->count[p] - 1 - off : off);
}

/* The layer's output at t of the segment after row p, whose unit `zero` is 0 there. */
DEVICE float output_between(const struct layer_rows *rows, uint32_t p, double t, uint32_t j, uint32_t zero)
{
    enum segment_kind kind = kind_of(rows, p);
    float here = kind == BETWEEN ? (float)(1.0 - t) : kind == LEFT_RAY ? (float)t : 1.0f;
    float there = kind == LEFT_RAY ? 1.0f : (float)t;
    float z = here * z_at(rows, p, j) + there * z_at(rows, p + 1, j);
    float out = j == zero || z < 0.0f ? 0.0f : z;
    if (rows->added != NULL)
        out += here * rows->added[(size_t)p * rows->stride + j] +
               there * rows->added[(size_t)(p + 1) * rows->stride + j];
    return out;
}

/* Outputs of a layer (units) at its rows and at n kinks: a (rows + n, stride), y. A warp a row. */
DEVICE void put_outputs(const struct layer_rows *rows, uint32_t units, bool is_relu, uint32_t n, uint32_t stride,
                        const struct scratch *s, float *a, double *y)
{
    for (uint32_t i = threadIdx.x / 32; i < rows->n + n; i += WARPS) {
        bool is_row = i < rows->n;
        uint32_t k = is_row ? 0 : i - rows->n, p = is_row ? i : s->sorted_segment[k];
        uint32_t at = is_row ? p + s->first[p] : place_of(rows, s, k);
        double t = is_row ? 0.0 : s->sorted_t[k];
        for (uint32_t j = threadIdx.x % 32; j < stride; j += 32) {
            float out = 0.0f;
            if (j < units && !is_row) {
                out = output_between(rows, p, t, j, s->sorted_unit[k]);
            } else if (j < units) {
                float z = z_at(rows, p, j);
                out = (is_relu && z < 0.0f ? 0.0f : z) +
                      (rows->added != NULL ? rows->added[(size_t)p * rows->stride + j] : 0.0f);
            }
            a[(size_t)at * stride + j] = out;
        }
        if (threadIdx.x % 32 == 0)
            y[at] = is_row ? rows->y[p] : y_of(rows, p, t);
    }
    __syncthreads(); /* before others read them */
}

/* z (n, layer's stride) = W a + bias of rows a (n, ld); none of direction rows. */
DEVICE void multiply_rows(const struct ebm_gpu_exact_table *table, const struct ebm_gpu_exact_layer *layer,
                          const float *a, uint32_t ld, uint32_t n, float *z)
{
    uint32_t groups = (n + TOGETHER - 1) / TOGETHER;
    for (uint32_t item = threadIdx.x; item < groups * layer->stride; item += THREADS) {
        uint32_t o = item % layer->stride, first = item / layer->stride * TOGETHER;
        float sum[TOGETHER] = {};
        for (uint32_t i = 0; i < layer->in; i++) {
            float w = layer->weight[(size_t)i * layer->stride + o];
            for (uint32_t r = 0; r < TOGETHER; r++)
                sum[r] += w * (first + r < n ? a[(size_t)(first + r) * ld + i] : 0.0f);
        }
        for (uint32_t r = 0; r < TOGETHER; r++) {
            bool is_slope = (first + r == 0 && table->is_open[0]) || (first + r == n - 1 && table->is_open[1]);
            if (first + r < n)
                z[(size_t)(first + r) * layer->stride + o] = sum[r] + (is_slope ? 0.0f : layer->bias[o]);
        }
    }
    __syncthreads(); /* before others read them */
}

/* ---- f ---- */

/* f of rows of the last hidden layer, along direction rows its slope: a warp a row. */
DEVICE void f_of_rows(const struct layer_rows *rows, const struct ebm_gpu_exact_layer *layer,
                      const struct ebm_gpu_exact_layer *last, double *f)
{
    for (uint32_t p = threadIdx.x / 32; p < rows->n; p += WARPS) {
        double sum = 0.0;
        for (uint32_t j = threadIdx.x % 32; j < layer->out; j += 32) {
            float z = z_at(rows, p, j), a = layer->is_relu && z < 0.0f ? 0.0f : z;
            if (rows->added != NULL)
                a += rows->added[(size_t)p * rows->stride + j];
            sum += (double)(last->weight[(size_t)j * last->stride] * a);
        }
        sum = warp_sum(sum);
        if (is_direction(rows, p))
            sum = p == 0 ? -rows->table->slope[0] : rows->table->slope[1];
        else
            sum += (double)last->bias[0];
        if (threadIdx.x % 32 == 0)
            f[p] = sum;
    }
    __syncthreads(); /* before others read them */
}

/* Knots at the kinks of the segment after row p, from its f at both ends and the jumps of its slope: exact_walk. */
DEVICE void walk(const struct layer_rows *rows, uint32_t p, const struct ebm_gpu_exact_layer *last,
                 const struct scratch *s, const double *f_rows)
{
    enum segment_kind kind = kind_of(rows, p);
    uint32_t first = s->first[p], n = s->count[p], open = rows->table->is_open[0];
    uint32_t base = kind == LEFT_RAY ? 0 : p - open + first + 1;
    double slope = kind == BETWEEN ? f_rows[p + 1] - f_rows[p] : f_rows[kind == LEFT_RAY ? p : p + 1];
    double f = f_rows[kind == LEFT_RAY ? p + 1 : p], before = 0.0;
    for (uint32_t k = first; k < first + n; k++)
        slope -= s->sorted_delta[k] * (double)last->weight[(size_t)s->sorted_unit[k] * last->stride] *
                 (kind == BETWEEN ? 1.0 - s->sorted_t[k] : 1.0);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t at = base + (kind == LEFT_RAY ? n - 1 - k : k);
        double t = s->sorted_t[first + k];
        f += (t - before) * slope;
        before = t;
        slope += s->sorted_delta[first + k] * (double)last->weight[(size_t)s->sorted_unit[first + k] * last->stride];
        s->knot_y[at] = y_of(rows, p, t);
        s->knot_f[at] = f;
    }
}

/* Knots of f; their number. */
DEVICE uint32_t put_knots(const struct layer_rows *rows, const struct ebm_gpu_exact_layer *last, uint32_t n_kinks,
                          const struct scratch *s)
{
    uint32_t open = rows->table->is_open[0];
    for (uint32_t p = threadIdx.x; p < rows->n; p += THREADS) {
        if (!is_direction(rows, p)) {
            s->knot_y[p - open + s->first[p]] = rows->y[p];
            s->knot_f[p - open + s->first[p]] = s->mass[p];
        }
        if (p + 1 < rows->n)
            walk(rows, p, last, s, s->mass);
    }
    __syncthreads(); /* before others read them */
    return rows->n - open - rows->table->is_open[1] + n_kinks;
}

/* All knots of f of the row with hx; 0: too many. */
DEVICE uint32_t knots_of(const struct ebm_gpu_exact_table *t, const float *hx, uint32_t *starts,
                         const struct scratch *s)
{
    struct layer_rows rows = {t, t->n, t->stride, t->y, t->u, hx, NULL};
    for (uint32_t l = 0; l + 1 < t->n_layers; l++) {
        const struct ebm_gpu_exact_layer *layer = &t->layers[l], *next = &t->layers[l + 1];
        uint32_t n = find_kinks(&rows, layer->out, layer->is_relu != 0, starts, s);
        bool is_even = l % 2 == 0;
        float *a = is_even ? s->even_a : s->odd_a, *z = is_even ? s->even_z : s->odd_z;
        double *y = is_even ? s->even_y : s->odd_y;
        if (n + rows.n > KNOTS)
            return 0;
        if (l + 2 == t->n_layers) {
            f_of_rows(&rows, layer, next, s->mass);
            return put_knots(&rows, next, n, s);
        }
        put_outputs(&rows, layer->out, layer->is_relu != 0, n, layer->stride, s, a, y);
        multiply_rows(t, next, a, layer->stride, rows.n + n, z);
        rows = {t, rows.n + n, next->stride, y, z, NULL, next->is_residual ? a : NULL};
    }
    return 0;
}

/* ---- integrals ---- */

/* What the questions to a row's density share. */
struct density {
    const struct ebm_gpu_exact_table *table;
    const struct scratch *s;
    uint32_t n; /* knots; pieces are 0 .. n */
    double peak, total;
};

DEVICE double rate_of(const struct density *p, uint32_t side)
{
    return side == 0 ? p->table->slope[0] : -p->table->slope[1];
}

/* Mass and centroid of piece i, and the variance and the mean of f - peak within. */
struct piece_numbers {
    double mass, centroid, variance, f;
};

DEVICE struct piece_numbers ray(const struct density *p, uint32_t i)
{
    uint32_t side = i > 0, knot = i > 0 ? i - 1 : 0;
    double rate = rate_of(p, side), y = p->s->knot_y[knot];
    if (!p->table->is_open[side])
        return {0.0, y, 0.0, 0.0};
    if (!(rate > 0.0))
        return {INFINITY, y, 0.0, 0.0};
    return {p->s->t[knot] / rate, y + (side == 0 ? -1.0 : 1.0) / rate, 1.0 / (rate * rate),
            p->s->knot_f[knot] - p->peak - 1.0};
}

DEVICE struct piece_numbers piece(const struct density *p, uint32_t i)
{
    if (i == 0 || i == p->n)
        return ray(p, i);
    const double *y = p->s->knot_y, *f = p->s->knot_f, *height = p->s->t;
    double d = f[i] - f[i - 1], t = fabs(d), length = y[i] - y[i - 1];
    double high = d > 0.0 ? height[i] : height[i - 1], low = d > 0.0 ? height[i - 1] : height[i];
    double e = high > 0.0 ? low / high : 0.0, psi = piece_psi(t, e), inside = length * psi;
    return {high * length * piece_phi(t, e), d > 0.0 ? y[i] - inside : y[i - 1] + inside,
            length * length * piece_variance(t, e), (d > 0.0 ? f[i] : f[i - 1]) - p->peak - t * psi};
}

/* Heights exp(f - peak) of the knots, and the peak. False: f is not finite somewhere. Behind it stands a barrier. */
DEVICE bool put_heights(struct density *p, struct block_space *space)
{
    const struct scratch *s = p->s;
    double peak = -INFINITY, wrong = 0.0;
    for (uint32_t i = threadIdx.x; i < p->n; i += THREADS) {
        wrong += fabs(s->knot_f[i]) <= DBL_MAX ? 0.0 : 1.0;
        peak = larger(peak, s->knot_f[i]);
    }
    wrong = block_sum(space, wrong);
    p->peak = block_largest(space, peak);
    for (uint32_t i = threadIdx.x; i < p->n; i += THREADS)
        s->t[i] = exp(s->knot_f[i] - p->peak);
    __syncthreads(); /* before heights are read */
    return !(wrong > 0.0);
}

#endif
