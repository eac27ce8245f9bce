/* exact_internal.h - what exact_table.c, exact_rows.c, exact_segments.c and exact.c share. Private to core.
 *
 * A row is the value of a layer at one y: (width) numbers. On an open side the outermost row is a direction row: the
 * derivative along that ray, per unit of distance. Between two neighbouring rows every unit is linear: a segment. Along
 * a segment a unit's value is anchor + t * delta, with
 *
 *   between two finite rows p, q:   anchor p, delta q - p, t in (0, 1)
 *   on a ray:                       anchor its finite row, delta the direction row, t > 0 the distance
 *
 * Every layer treats all rows alike, but gives a direction row no bias. */
#ifndef EBM_CORE_EXACT_INTERNAL_H
#define EBM_CORE_EXACT_INTERNAL_H

#include "core/exact.h"
#include "core/kernels.h"

#define EBM_EXACT_LANES 16u /* rows of floats are padded with zeros to a multiple */

/* An energy layer after the first. Weights transposed, so that a unit's influence on the next layer is one row. */
struct exact_layer {
    uint32_t in, out, out_stride;
    bool is_relu, is_residual;
    float *weight; /* (in, out_stride) */
    float *bias;   /* (out_stride) */
};

struct ebm_exact_table {
    const struct ebm_net_desc *net; /* borrow: until the table is freed */
    uint32_t max_knots;
    bool is_usable;
    bool is_open[2];
    double bound[2]; /* where a side is not open */
    struct ebm_exact_tails tails;

    uint32_t n, stride; /* rows; floats from one row to the next */
    uint32_t capacity;
    double *y; /* (n) of finite rows */
    float *u;  /* (n, stride) of the first energy layer: W_g g(y) */
    float *g;  /* (n, G), when that layer is residual, else NULL */

    uint32_t n_layers; /* of the energy net */
    struct exact_layer *layers;
    uint32_t widest; /* stride of the widest hidden energy layer */

    /* of an energy net with one hidden relu layer (exact_segments.c) */
    const struct ebm_kernels *kernels;
    uint32_t lanes, lanes_capacity;
    float *u_lanes; /* (units, lanes): u of a unit at neighbouring knots, in blocks; EBM_LANES numbers more behind it */
    float *last;    /* (units): weights of the last layer */
};

/* Does row p of n lie at infinity? */
static inline bool exact_is_direction(const struct ebm_exact_table *table, uint32_t p, uint32_t n)
{
    return (p == 0 && table->is_open[EBM_LEFT]) || (p == n - 1 && table->is_open[EBM_RIGHT]);
}

enum exact_segment { EXACT_BETWEEN, EXACT_LEFT_RAY, EXACT_RIGHT_RAY };

/* Of the rows p and p + 1. */
static inline enum exact_segment exact_segment_of(const struct ebm_exact_table *table, uint32_t p, uint32_t n)
{
    if (p == 0 && table->is_open[EBM_LEFT])
        return EXACT_LEFT_RAY;
    return p + 2 == n && table->is_open[EBM_RIGHT] ? EXACT_RIGHT_RAY : EXACT_BETWEEN;
}

/* Where a unit changes its sign along a segment. */
struct exact_kink {
    double t;
    double delta; /* |delta| of the unit: its slope along t, on one side of the kink */
    uint32_t unit;
    bool rises;
};

/* By t; of equals in any order. */
void exact_kinks_sort(struct exact_kink *kinks, uint32_t n);

/* y at t of the segment between p and p + 1; y holds the knots of finite rows. */
static inline double exact_y_at(enum exact_segment segment, const double *y, uint32_t p, double t)
{
    if (segment == EXACT_LEFT_RAY)
        return y[p + 1] - t;
    if (segment == EXACT_RIGHT_RAY)
        return y[p] + t;
    double at = y[p] + t * (y[p + 1] - y[p]);
    return at < y[p + 1] ? at : y[p + 1];
}

/* Rows of one layer of one x: z before its activation. */
struct exact_rows {
    uint32_t n;
    double *y; /* (n) of finite rows */
    float *z;  /* (n, stride of the layer) */
    float *v;  /* (n, stride) what the layer adds to its output, when it is residual */
};

/* Memory for a row of exact_segments.c. */
struct exact_segments {
    double *f;           /* (lanes) */
    float *weights;      /* (2, lanes) */
    uint16_t *crossings; /* (units, lanes / EBM_LANES) */
    struct exact_kink *found;
    uint32_t *found_at;       /* the row of the table before each */
    struct exact_kink *kinks; /* by segments, and along each */
    uint32_t *first;          /* kinks before the segment after row p */
};

struct ebm_exact_space {
    struct ebm_pieces pieces;
    struct exact_segments segments;
    uint32_t max_knots;        /* of pieces, and of y of each rows */
    size_t max_floats;         /* of each of the buffers below */
    double *doubles;           /* the block behind pieces and y */
    struct exact_rows rows[2]; /* in turn */
    float *a, *product;        /* a layer's outputs; the next layer's z at the same rows */
    uint16_t *signs;           /* (max_floats / EBM_EXACT_LANES), where the units of a layer change theirs */
    double *f;                 /* (max_knots) of rows */
    float *slope;              /* (widest) */
    struct exact_kink *kinks;
    uint32_t widest;
};

/* rows[0] holds z (and v) of the first energy layer: takes them through all hidden layers. Returns the rows of the last
 * hidden layer, NULL: there are too many. */
const struct exact_rows *exact_rows_run(const struct ebm_exact_table *table, struct ebm_exact_space *space);
/* Into space->signs, for exact_rows_kinks: which units have another sign in the next row. */
void exact_rows_signs(const struct ebm_exact_table *table, const struct exact_rows *rows, uint32_t stride,
                      struct ebm_exact_space *space);
/* Kinks of a relu layer along the segment after row p of z, sorted. */
uint32_t exact_rows_kinks(const struct exact_rows *rows, uint32_t p, enum exact_segment segment, uint32_t stride,
                          const uint16_t *signs, struct exact_kink *kinks);

/* Knots of f at the kinks of the segment after row p, f_p and f_q being f (or, of a direction row, its slope) at both
 * ends; y (rows) holds the knots of finite rows. exact.c */
void exact_walk(struct ebm_pieces *pieces, const double *y, uint32_t p, enum exact_segment segment, double f_p,
                double f_q, const struct exact_kink *kinks, uint32_t n, const struct exact_layer *last);

/* exact_segments.c: is the energy net one hidden relu layer? Lays u out in lanes after the table is made. */
bool exact_segments_apply(const struct ebm_exact_table *table);
enum ebm_status exact_segments_lay(struct ebm_exact_table *table) EBM_MUST_USE;
bool exact_segments_reserve(struct exact_segments *segments, uint32_t max_knots, uint32_t units);
void exact_segments_release(struct exact_segments *segments);
/* The knots of f. False: there are too many. */
bool exact_segments_run(const struct ebm_exact_table *table, const float *hx, struct exact_segments *segments,
                        struct ebm_pieces *pieces);

#endif
