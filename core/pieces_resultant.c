/* pieces_resultant.c - E exp(i turn (y - origin)) of a piecewise linear f without rays, in closed form.
 *
 * A piece measured from its heavier end e, over its length L, falls by t; s = 1 when it lies right of e, else -1:
 *
 *   exp(f(e)) exp(i turn (e - origin)) L phi(t - i s turn L),   phi(z) = (1 - exp(-z)) / z
 *
 * phi by its Taylor series where z is small. */
#include <complex.h>
#include <math.h>

#include "core/pieces_internal.h"

#define TERMS 14 /* 0.5^14 / 15! is 5e-17 */

static double complex phi(double complex z)
{
    double complex sum = 0.0;
    if (cabs(z) >= PIECE_SMALL)
        return (1.0 - cexp(-z)) / z;
    for (int k = TERMS; k > 0; k--) /* 1 - z/2 (1 - z/3 (1 - ...)) */
        sum = -z / (k + 1.0) * (1.0 + sum);
    return 1.0 + sum;
}

void ebm_pieces_resultant(const void *density, double origin, double turn, double ret_resultant[2])
{
    const struct ebm_pieces *p = density;
    double complex sum = 0.0;
    EBM_DASSERT(!p->is_open[EBM_LEFT] && !p->is_open[EBM_RIGHT]);
    for (uint32_t i = 1; i < p->n; i++) {
        struct piece piece = ebm_pieces_piece(p, i);
        double length = piece.b - piece.a, heavy = piece.d > 0.0 ? piece.b : piece.a, side = piece.d > 0.0 ? -1.0 : 1.0;
        double complex z = piece.t - I * (side * turn * length);
        sum += piece.height * length * phi(z) * cexp(I * (turn * (heavy - origin)));
    }
    ret_resultant[0] = creal(sum) / p->total;
    ret_resultant[1] = cimag(sum) / p->total;
}
