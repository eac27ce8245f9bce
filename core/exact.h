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

#endif
