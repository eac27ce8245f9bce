/* exact_table.c - u(y) = W_g g(y) of the first energy layer at its knots, for all x at once.
 *
 *   rows (lower, upper), or a direction row on an open side; both open: (-1 | 0 | +1)
 *   each layer of the target net:   z = W a + b at every row
 *                                   a new row wherever a unit of a relu layer crosses 0, its z between its neighbours'
 *                                   a = relu(z) (+ the layer's input)
 *   at last:                        u = W_g a, rounded to float
 *
 * All in double. Between neighbouring rows no unit of the target net changes its sign, so u is linear there. The slopes
 * of f at infinity are those of direction rows pushed through the energy net too, where no h and no bias comes in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/blas.h"
#include "core/exact_internal.h"
#include "core/limits.h"

#define SMALL_PRODUCT 512u /* weights; fewer than this are not worth a call of BLAS */

/* ---- does it apply ---- */

static bool is_piecewise_linear(const struct ebm_net *net)
{
    for (uint32_t i = 0; i < net->n_layers; i++)
        if (net->layers[i].activation != EBM_ACT_RELU && net->layers[i].activation != EBM_ACT_IDENTITY)
            return false;
    return true;
}

bool ebm_exact_applies(const struct ebm_net_desc *net)
{
    if (net->D != 1 || !net->has_energy || !is_piecewise_linear(&net->target) || !is_piecewise_linear(&net->energy))
        return false;
    const struct ebm_layer *last = &net->energy.layers[net->energy.n_layers - 1];
    return last->activation == EBM_ACT_IDENTITY && !last->residual;
}

/* ---- kinks ---- */

/* Shell's sort: allocates nothing, and its gaps suit the few kinks of a segment and the hundreds of a ray. */
void exact_kinks_sort(struct exact_kink *kinks, uint32_t n)
{
    static const uint32_t gaps[] = {9841, 3280, 1093, 364, 121, 40, 13, 4, 1};
    if (n < 2)
        return;
    for (size_t g = 0; g < EBM_COUNT_OF(gaps); g++) {
        uint32_t gap = gaps[g];
        for (uint32_t i = gap; i < n; i++) {
            struct exact_kink kink = kinks[i];
            uint32_t at = i;
            for (; at >= gap && kinks[at - gap].t > kink.t; at -= gap)
                kinks[at] = kinks[at - gap];
            kinks[at] = kink;
        }
    }
}

/* ---- rows in double ---- */

struct rows {
    uint32_t n, width;
    size_t room; /* numbers of a */
    double *y;   /* (room of rows) */
    size_t room_y;
    double *a; /* (n, width) */
};

struct exact_build {
    struct ebm_exact_table *table;
    const float *params;
    struct rows in, out;
    double *z; /* (in.n, out.width) */
    size_t room_z;
    double *weight; /* a layer's, transposed */
    struct exact_kink *kinks;
};

static bool reserve(double **array, size_t *room, size_t count)
{
    if (*room >= count)
        return true;
    size_t more = 2 * *room > count ? 2 * *room : count;
    double *p = realloc(*array, more * sizeof *p);
    if (p == NULL)
        return false;
    *array = p;
    *room = more;
    return true;
}

static bool reserve_rows(struct rows *rows, size_t n)
{
    return reserve(&rows->y, &rows->room_y, n) && reserve(&rows->a, &rows->room, n * rows->width);
}

static void build_done(struct exact_build *b)
{
    free(b->in.y);
    free(b->in.a);
    free(b->out.y);
    free(b->out.a);
    free(b->z);
    free(b->weight);
    free(b->kinks);
}

/* z (n, out) = a W^T (+ bias at finite rows), W (out, in) inside of rows of ldw floats. */
static void product(struct exact_build *b, const float *w, size_t ldw, uint32_t out, const float *bias)
{
    uint32_t in = b->in.width;
    for (uint32_t i = 0; i < in; i++)
        for (uint32_t o = 0; o < out; o++)
            b->weight[(size_t)i * out + o] = (double)w[o * ldw + i];
    bool is_small = (size_t)in * out < SMALL_PRODUCT;
    for (uint32_t p = 0; p < b->in.n; p++) {
        const double *a = b->in.a + (size_t)p * in;
        double *restrict z = b->z + (size_t)p * out;
        bool biased = bias != NULL && !exact_is_direction(b->table, p, b->in.n);
        for (uint32_t o = 0; o < out; o++)
            z[o] = biased ? (double)bias[o] : 0.0;
        for (uint32_t i = 0; is_small && i < in; i++) {
            const double *restrict row = b->weight + (size_t)i * out;
            for (uint32_t o = 0; a[i] != 0.0 && o < out; o++)
                z[o] += a[i] * row[o];
        }
    }
    if (!is_small)
        ebm_blas_nn_add_double(b->z, out, b->in.a, in, b->weight, out, b->in.n, out, in);
}

static uint32_t find_kinks(const double *p, const double *q, enum exact_segment segment, uint32_t n,
                           struct exact_kink *kinks)
{
    const double *anchor = segment == EXACT_LEFT_RAY ? q : p, *end = segment == EXACT_LEFT_RAY ? p : q;
    uint32_t count = 0;
    for (uint32_t j = 0; j < n; j++) {
        if (!((anchor[j] < 0.0 && end[j] > 0.0) || (anchor[j] > 0.0 && end[j] < 0.0)))
            continue;
        double delta = segment == EXACT_BETWEEN ? end[j] - anchor[j] : end[j];
        kinks[count++] = (struct exact_kink){.t = -anchor[j] / delta, .delta = fabs(delta), .unit = j};
    }
    exact_kinks_sort(kinks, count);
    return count;
}

static double relu(double z)
{
    return z > 0.0 ? z : 0.0;
}

/* Row p of z and, where the layer is residual, of its input, both at t of the segment after p; unit `zero` is 0. */
static void emit(struct exact_build *b, const struct ebm_layer *layer, enum exact_segment segment, uint32_t p, double t,
                 uint32_t zero)
{
    const double *z = b->z + (size_t)p * layer->out, *a = b->in.a + (size_t)p * layer->in;
    double share = segment == EXACT_BETWEEN ? 1.0 - t : segment == EXACT_LEFT_RAY ? t : 1.0;
    double next = segment == EXACT_LEFT_RAY ? 1.0 : t;
    double *out = b->out.a + (size_t)b->out.n * layer->out;
    for (uint32_t j = 0; j < layer->out; j++) {
        double value = share * z[j] + next * z[layer->out + j];
        out[j] = j == zero ? 0.0 : relu(value);
        if (layer->residual)
            out[j] += share * a[j] + next * a[layer->in + j];
    }
    b->out.y[b->out.n++] = exact_y_at(segment, b->in.y, p, t);
}

static void emit_row(struct exact_build *b, const struct ebm_layer *layer, uint32_t p)
{
    const double *z = b->z + (size_t)p * layer->out, *a = b->in.a + (size_t)p * layer->in;
    double *out = b->out.a + (size_t)b->out.n * layer->out;
    for (uint32_t j = 0; j < layer->out; j++)
        out[j] = (layer->activation == EBM_ACT_RELU ? relu(z[j]) : z[j]) + (layer->residual ? a[j] : 0.0);
    b->out.y[b->out.n++] = b->in.y[p];
}

/* in -> out through one layer of the target net. */
static enum ebm_status through_layer(struct exact_build *b, const struct ebm_layer *layer)
{
    if (!reserve(&b->z, &b->room_z, (size_t)b->in.n * layer->out))
        return EBM_NO_MEMORY;
    product(b, b->params + layer->weight, layer->in, layer->out, b->params + layer->bias);
    b->out.n = 0;
    b->out.width = layer->out;
    for (uint32_t p = 0; p < b->in.n; p++) {
        const double *z = b->z + (size_t)p * layer->out;
        enum exact_segment segment = exact_segment_of(b->table, p, b->in.n);
        uint32_t k = 0;
        if (layer->activation == EBM_ACT_RELU && p + 1 < b->in.n)
            k = find_kinks(z, z + layer->out, segment, layer->out, b->kinks);
        if (b->out.n + k + (b->in.n - p) > b->table->max_knots)
            return EBM_TOO_LARGE;
        if (!reserve_rows(&b->out, (size_t)b->out.n + k + 1))
            return EBM_NO_MEMORY;
        emit_row(b, layer, p);
        for (uint32_t i = 0; i < k; i++) {
            const struct exact_kink *kink = &b->kinks[segment == EXACT_LEFT_RAY ? k - 1 - i : i];
            emit(b, layer, segment, p, kink->t, kink->unit);
        }
    }
    struct rows in = b->in;
    b->in = b->out;
    b->out = in;
    return EBM_OK;
}

static enum ebm_status first_rows(struct exact_build *b)
{
    const struct ebm_exact_table *t = b->table;
    b->in.width = 1;
    if (!reserve_rows(&b->in, 3))
        return EBM_NO_MEMORY;
    if (t->is_open[EBM_LEFT])
        b->in.a[b->in.n++] = -1.0;
    for (int side = EBM_LEFT; side <= EBM_RIGHT; side++)
        if (!t->is_open[side])
            b->in.a[b->in.n++] = t->bound[side];
    if (t->is_open[EBM_LEFT] && t->is_open[EBM_RIGHT])
        b->in.a[b->in.n++] = 0.0;
    if (t->is_open[EBM_RIGHT])
        b->in.a[b->in.n++] = 1.0;
    memcpy(b->in.y, b->in.a, b->in.n * sizeof *b->in.y);
    return EBM_OK;
}

/* ---- the table ---- */

static bool reserve_table(struct ebm_exact_table *t, uint32_t n)
{
    if (t->capacity >= n)
        return true;
    uint32_t capacity = 2 * t->capacity > n ? 2 * t->capacity : n;
    bool keeps_g = t->net->energy.layers[0].residual;
    double *y = calloc(capacity, sizeof *y);
    float *u = ebm_alloc_aligned((size_t)capacity * t->stride * sizeof *u);
    float *g = keeps_g ? calloc((size_t)capacity * t->net->G, sizeof *g) : NULL;
    if (y == NULL || u == NULL || (keeps_g && g == NULL)) {
        free(y);
        free(u);
        free(g);
        return false;
    }
    free(t->y);
    free(t->u);
    free(t->g);
    t->y = y;
    t->u = u;
    t->g = g;
    t->capacity = capacity;
    return true;
}

static enum ebm_status keep_rows(struct exact_build *b)
{
    struct ebm_exact_table *t = b->table;
    const struct ebm_layer *layer = &t->net->energy.layers[0];
    if (!reserve_table(t, b->in.n) || !reserve(&b->z, &b->room_z, (size_t)b->in.n * layer->out))
        return EBM_NO_MEMORY;
    product(b, b->params + layer->weight + t->net->H, layer->in, layer->out, NULL);
    t->n = b->in.n;
    memcpy(t->y, b->in.y, t->n * sizeof *t->y);
    for (uint32_t p = 0; p < t->n; p++)
        for (uint32_t o = 0; o < layer->out; o++)
            t->u[(size_t)p * t->stride + o] = (float)b->z[(size_t)p * layer->out + o];
    for (size_t i = 0; t->g != NULL && i < (size_t)t->n * t->net->G; i++)
        t->g[i] = (float)b->in.a[i];
    return EBM_OK;
}

static void copy_layers(struct ebm_exact_table *t, const float *params)
{
    for (uint32_t l = 1; l < t->n_layers; l++) {
        const struct ebm_layer *from = &t->net->energy.layers[l];
        struct exact_layer *to = &t->layers[l];
        for (uint32_t o = 0; o < from->out; o++) {
            to->bias[o] = params[from->bias + o];
            for (uint32_t i = 0; i < from->in; i++)
                to->weight[(size_t)i * to->out_stride + o] = params[from->weight + (size_t)o * from->in + i];
        }
        if (t->n_layers == 2)
            memcpy(t->last, params + from->weight, from->in * sizeof *t->last);
    }
}

/* ---- slopes at infinity ---- */

static uint32_t widest_of(const struct ebm_net_desc *net)
{
    uint32_t widest = net->H + net->G;
    const struct ebm_net *nets[] = {&net->target, &net->energy};
    for (size_t k = 0; k < EBM_COUNT_OF(nets); k++)
        for (uint32_t i = 0; i < nets[k]->n_layers; i++)
            widest = nets[k]->layers[i].out > widest ? nets[k]->layers[i].out : widest;
    return widest;
}

/* a (in), 0 before `first` -> a (out), no bias. */
static void direction_through(const struct ebm_layer *layer, const float *params, uint32_t first, double *a, double *z)
{
    for (uint32_t o = 0; o < layer->out; o++) {
        const float *w = params + layer->weight + (size_t)o * layer->in;
        double sum = 0.0;
        for (uint32_t i = first; i < layer->in; i++)
            sum += (double)w[i] * a[i];
        z[o] = layer->activation == EBM_ACT_RELU ? relu(sum) : sum;
    }
    for (uint32_t o = 0; o < layer->out; o++)
        a[o] = z[o] + (layer->residual ? a[o] : 0.0);
}

/* Derivative of f along a direction, infinitely far out. `space` (2, widest). */
static double direction_slope(const struct ebm_net_desc *net, const float *params, double direction, double *space)
{
    double *a = space, *z = space + widest_of(net);
    a[0] = direction;
    for (uint32_t i = 0; i < net->target.n_layers; i++)
        direction_through(&net->target.layers[i], params, 0, a, z);
    memmove(a + net->H, a, net->G * sizeof *a);
    memset(a, 0, net->H * sizeof *a);
    for (uint32_t i = 0; i < net->energy.n_layers; i++)
        direction_through(&net->energy.layers[i], params, i == 0 ? net->H : 0, a, z);
    return a[0];
}

static enum ebm_status find_tails(struct ebm_exact_table *t, const float *params)
{
    double *space = calloc(2 * (size_t)widest_of(t->net), sizeof *space);
    if (space == NULL)
        return EBM_NO_MEMORY;
    t->tails.slope[EBM_LEFT] = -direction_slope(t->net, params, -1.0, space);
    t->tails.slope[EBM_RIGHT] = direction_slope(t->net, params, 1.0, space);
    free(space);
    bool falls = t->tails.slope[EBM_LEFT] > 0.0 && t->tails.slope[EBM_RIGHT] < 0.0;
    t->tails.is_proper = falls || (t->net->support != NULL && t->net->support[0].kind != EBM_SUPPORT_REAL);
    t->tails.knots = t->n;
    return EBM_OK;
}

/* ---- life ---- */

static enum ebm_status build(struct exact_build *b)
{
    const struct ebm_net_desc *net = b->table->net;
    uint32_t widest = widest_of(net);
    size_t weights = (size_t)net->G * net->energy.layers[0].out;
    for (uint32_t i = 0; i < net->target.n_layers; i++) {
        size_t count = (size_t)net->target.layers[i].in * net->target.layers[i].out;
        weights = count > weights ? count : weights;
    }
    b->kinks = calloc(widest, sizeof *b->kinks);
    b->weight = calloc(weights, sizeof *b->weight);
    if (b->kinks == NULL || b->weight == NULL)
        return EBM_NO_MEMORY;
    enum ebm_status status = first_rows(b);
    for (uint32_t i = 0; status == EBM_OK && i < net->target.n_layers; i++)
        status = through_layer(b, &net->target.layers[i]);
    return status == EBM_OK ? keep_rows(b) : status;
}

enum ebm_status ebm_exact_table_update(struct ebm_exact_table *t, const float *params)
{
    struct exact_build b = {.table = t, .params = params};
    t->is_usable = false;
    enum ebm_status status = build(&b);
    build_done(&b);
    if (status == EBM_OK)
        status = find_tails(t, params);
    if (status != EBM_OK)
        return status;
    copy_layers(t, params);
    status = exact_segments_lay(t);
    t->is_usable = status == EBM_OK;
    return status;
}

static bool make_layers(struct ebm_exact_table *t)
{
    const struct ebm_net *energy = &t->net->energy;
    t->stride = (uint32_t)ebm_round_up(energy->layers[0].out, EBM_EXACT_LANES);
    t->widest = t->stride;
    t->n_layers = energy->n_layers;
    t->layers = calloc(t->n_layers, sizeof *t->layers);
    for (uint32_t l = 0; t->layers != NULL && l < t->n_layers; l++) {
        const struct ebm_layer *from = &energy->layers[l];
        struct exact_layer *to = &t->layers[l];
        *to = (struct exact_layer){.in = from->in,
                                   .out = from->out,
                                   .out_stride = (uint32_t)ebm_round_up(from->out, EBM_EXACT_LANES),
                                   .is_relu = from->activation == EBM_ACT_RELU,
                                   .is_residual = from->residual};
        if (l == 0)
            continue;
        t->widest = l + 1 < t->n_layers && to->out_stride > t->widest ? to->out_stride : t->widest;
        to->weight = ebm_alloc_aligned(ebm_round_up(to->in, EBM_EXACT_LANES) * to->out_stride * sizeof *to->weight);
        to->bias = ebm_alloc_aligned(to->out_stride * sizeof *to->bias);
        if (to->weight == NULL || to->bias == NULL)
            return false;
    }
    t->last = calloc(t->stride, sizeof *t->last);
    return t->layers != NULL && t->last != NULL;
}

static void set_support(struct ebm_exact_table *t)
{
    const struct ebm_support *support = t->net->support;
    t->bound[EBM_LEFT] = support != NULL ? support[0].lower : -(double)INFINITY;
    t->bound[EBM_RIGHT] = support != NULL ? support[0].upper : (double)INFINITY;
    t->is_open[EBM_LEFT] = isinf(t->bound[EBM_LEFT]);
    t->is_open[EBM_RIGHT] = isinf(t->bound[EBM_RIGHT]);
}

enum ebm_status ebm_exact_table_new(const struct ebm_net_desc *net, const float *params, uint32_t max_knots,
                                    struct ebm_exact_table **ret_table, struct ebm_error *reterr)
{
    EBM_ASSERT(ebm_exact_applies(net) && max_knots >= 4 && max_knots <= LIMIT_PIECES);
    struct ebm_exact_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "energy_net", "no memory for a table of knots");
    t->net = net;
    t->kernels = ebm_kernels_cpu();
    t->max_knots = max_knots;
    set_support(t);
    enum ebm_status status = make_layers(t) ? ebm_exact_table_update(t, params) : EBM_NO_MEMORY;
    if (status == EBM_OK) {
        *ret_table = t;
        return EBM_OK;
    }
    (void)ebm_exact_table_free(t);
    if (status == EBM_TOO_LARGE)
        return ebm_error_set(reterr, status, "target_net", "it has more than %u kinks, the most that are kept",
                             max_knots);
    return ebm_error_set(reterr, status, "energy_net", "no memory for a table of knots");
}

struct ebm_exact_table *ebm_exact_table_free(struct ebm_exact_table *t)
{
    if (t == NULL)
        return NULL;
    for (uint32_t l = 0; t->layers != NULL && l < t->n_layers; l++) {
        free(t->layers[l].weight);
        free(t->layers[l].bias);
    }
    free(t->layers);
    free(t->y);
    free(t->u);
    free(t->g);
    free(t->u_lanes);
    free(t->last);
    free(t);
    return NULL;
}

struct ebm_exact_tails ebm_exact_tails(const struct ebm_exact_table *table)
{
    return table->tails;
}

void ebm_exact_use(struct ebm_exact_table *table, const struct ebm_kernels *kernels)
{
    table->kernels = kernels;
}
