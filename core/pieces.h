/* pieces.h - a continuous, piecewise linear f of one real number: every integral of exp f in closed form.
 *
 *      f
 *      |      /\  knots y_0 <= y_1 <= ... <= y_n-1 with their f, straight lines between them;
 *      |  ___/  \        beyond the first and the last one either nothing, or a ray with a slope
 *      | /       \__
 *      |/           \    log Z, mean, variance, entropy, mode, quantiles, regions, CRPS: docs/MATHEMATICS.md
 *      +--------------- y
 *
 * Everything is normalised by the highest f, which is always that of a knot: no exponent is above 0, whatever the
 * slopes. Pieces are numbered 0 .. n: the left ray, n - 1 pieces between knots, the right ray; a ray that is not there
 * has mass 0. Where an open side does not fall outwards the integral is infinite: log Z is then inf, and every other
 * answer NaN (no interval of a region). The same, with NaN, where an f is no finite number. Private to core. One
 * thread. */
#ifndef EBM_CORE_PIECES_H
#define EBM_CORE_PIECES_H

#include "core/scalar.h"

enum { EBM_LEFT, EBM_RIGHT };

struct ebm_pieces {
    uint32_t max_knots;

    /* the caller fills: */
    uint32_t n;      /* knots, 1 .. max_knots; 1 only with both rays */
    double *y, *f;   /* (n), y finite and ascending, equal neighbours allowed */
    bool is_open[2]; /* a ray on the left, on the right */
    double slope[2]; /* df/dy on each ray */
    bool is_proper;  /* what summary.proper says: finite without a recorded support */

    /* ebm_pieces_integrate fills: */
    double peak, log_z;
    double total;            /* of exp(f - peak); inf: improper, NaN: f is not finite */
    double *height;          /* (n) exp(f - peak) */
    double *mass, *centroid; /* (n + 1) of each piece; the centroid of one without mass is a point of it */
    /* and ebm_pieces_accumulate: */
    double *below, *above; /* (n + 2) mass of the pieces before number i, of i and those after it */
    double *growth[2]; /* (n + 1) quantiles' own: expm1 of f's rise over the piece, seen from either end; 0: not yet */
};

/* Numbers of `space` that so many knots take; lays the arrays out there. The space is a borrow. */
size_t ebm_pieces_count(uint32_t max_knots);
void ebm_pieces_init(struct ebm_pieces *pieces, uint32_t max_knots, double *space);

/* After n, y, f, the rays: masses, centroids, log Z. All that training asks. */
void ebm_pieces_integrate(struct ebm_pieces *pieces);
/* After integrate: what the questions of the table below need. */
void ebm_pieces_accumulate(struct ebm_pieces *pieces);

/* Over a struct ebm_pieces that is integrated and accumulated. */
extern const struct ebm_scalar_ops ebm_pieces_ops;

#endif
