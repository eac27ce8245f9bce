/* exact.h - f(x, .) of a scalar target through relu and identity layers, as a piecewise linear function.
 *
 *   table   once for all x: u = W_g g(y), the target's way into the first energy layer, is piecewise linear in y; its
 *           values at its knots. Immutable while it is read: any number of threads.
 *   bind    once a row: adds the row's W_h h + b, finds the kinks of the energy layers between the knots, and leaves
 *           the density of this row in the space of this thread
 *
 * On an open side the table has a row of slopes instead of a last knot. Those never see x: whether f falls towards
 * infinity is a property of the weights. Parameters and rows are float, knots, f and integrals double. Private to core,
 * but for ebm_exact_applies. Method: docs/MATHEMATICS.md. */
#ifndef EBM_CORE_EXACT_H
#define EBM_CORE_EXACT_H

#include "core/net_desc.h"
#include "core/pieces.h"
#include "core/status.h"

struct ebm_exact_table;
struct ebm_exact_space;

/* Is f(x, .) piecewise linear: one target dimension, an energy net, target and energy net of relu and identity? */
bool ebm_exact_applies(const struct ebm_net_desc *net);

/* The table of these weights on the net's support: net->support[0], or the whole line. Copies what it needs of both;
 * net->layers must outlive it. New: ebm_exact_table_free. TOO_LARGE: more than max_knots knots, before any x is seen;
 * max_knots, at most LIMIT_PIECES, also bounds the knots of every f(x, .). The net applies. */
enum ebm_status ebm_exact_table_new(const struct ebm_net_desc *net, const float *params, uint32_t max_knots,
                                    struct ebm_exact_table **ret_table, struct ebm_error *reterr) EBM_MUST_USE;
/* The same table for other weights, nobody reading it meanwhile. On failure the table cannot be bound any more, until
 * an update goes well. */
enum ebm_status ebm_exact_table_update(struct ebm_exact_table *table, const float *params) EBM_MUST_USE;
struct ebm_exact_table *ebm_exact_table_free(struct ebm_exact_table *table); /* NULL is fine; returns NULL */

struct ebm_exact_tails {
    double slope[2]; /* df/dy towards -inf and towards +inf, of every x */
    bool is_proper;  /* f falls on both sides, or the support is bounded or periodic */
    uint32_t knots;  /* rows of the table */
};
struct ebm_exact_tails ebm_exact_tails(const struct ebm_exact_table *table);
/* The finite knots of the table, ascending, at most `max`, spread evenly over them. Returns their number. */
uint32_t ebm_exact_knots(const struct ebm_exact_table *table, double *ret_y, uint32_t max);

/* Other kernels than the best of this machine, before the table is used. Borrow: static. */
struct ebm_kernels;
void ebm_exact_use(struct ebm_exact_table *table, const struct ebm_kernels *kernels);

/* Memory of one thread for all tables that were reserved. New: ebm_exact_space_free. */
struct ebm_exact_space *ebm_exact_space_new(void);
enum ebm_status ebm_exact_space_reserve(struct ebm_exact_space *space, const struct ebm_exact_table *table)
    EBM_MUST_USE;
struct ebm_exact_space *ebm_exact_space_free(struct ebm_exact_space *space); /* NULL is fine; returns NULL */

/* f(x, .) of the row with hx = W_h h + b (E) of the first energy layer, and its features h (H), read only when that
 * layer is residual: integrated, ready for questions; a borrow of `space` until its next bind. Allocates nothing.
 * TOO_LARGE: more knots than the table's maximum; INVALID: f is not finite somewhere. */
enum ebm_status ebm_exact_bind(const struct ebm_exact_table *table, const float *hx, const float *h,
                               struct ebm_exact_space *space, struct ebm_scalar *ret_density) EBM_MUST_USE;
/* The same without what only questions need; for training. Borrow: of space. */
enum ebm_status ebm_exact_bind_pieces(const struct ebm_exact_table *table, const float *hx, const float *h,
                                      struct ebm_exact_space *space, struct ebm_pieces **ret_pieces) EBM_MUST_USE;

/* ---- training: the gradient of log Z by segments ----
 *
 * Where the energy net is one hidden relu layer (E units), u is linear in y between neighbouring knots of the table,
 * and the gradient of log Z in it is two numbers a unit and segment, summed over any number of rows. Segments are lanes
 * (some of them stand for none), tau runs from 0 at a segment's start to 1 at its end; on a ray it is the distance. */

/* 0: the energy net is of another kind. Of the table as it is now. */
uint32_t ebm_exact_lanes(const struct ebm_exact_table *table);
/* u (E, lanes) at a segment's start; at its end in the next lane. Borrow: until the next update. */
const float *ebm_exact_lane_values(const struct ebm_exact_table *table);
/* y at tau = 1/2, and dy/dtau (lanes); 0 where a lane is no segment */
void ebm_exact_lane_centres(const struct ebm_exact_table *table, float *ret_y, float *ret_slope);

struct ebm_exact_sums {
    float *mass;   /* (E, lanes) += share of exp f where the unit is active */
    float *moment; /* (E, lanes) += mean of tau - 1/2 there */
    float *active; /* (E) = the row's own sum of mass over lanes */
};
/* Adds `scale` times what the row that `space` holds (of ebm_exact_bind_pieces with this hx) gives; its total is
 * finite.
 */
void ebm_exact_spread(const struct ebm_exact_table *table, const float *hx, struct ebm_exact_space *space, double scale,
                      const struct ebm_exact_sums *sums);

#endif
