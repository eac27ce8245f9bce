/* piece_forms.h - the integrals of exp(linear) over one interval, on [0, 1] from its heavier end. Private to core.
 *
 * t >= 0 is by how much f falls over the interval, e = exp(-t). Direct formulas cancel for small t: below
 * PIECE_SMALL the Taylor series, whose coefficients are Bernoulli numbers over factorials (1 / (e^t - 1) generates
 * them); relative errors below 1e-13 on both sides. Derivations: docs/MATHEMATICS.md. */
#ifndef EBM_CORE_PIECE_FORMS_H
#define EBM_CORE_PIECE_FORMS_H

#include <math.h>

#define PIECE_SMALL 0.5
#define PIECE_NEGLIGIBLE 1e-9 /* share of the mass: what has less is left out of a gradient */

/* What a function of another kind of hardware begins with, before this is included. */
#ifndef PIECE_FUNCTION
#define PIECE_FUNCTION static inline
#endif

/* integral of exp(-t u) over [0, 1]: (1 - e) / t */
PIECE_FUNCTION double piece_phi(double t, double e)
{
    if (t >= PIECE_SMALL)
        return (1.0 - e) / t;
    static const double term[] = {1.0 / 2,         1.0 / 6,          1.0 / 24,         1.0 / 120,     1.0 / 720,
                                  1.0 / 5040,      1.0 / 40320,      1.0 / 362880,     1.0 / 3628800, 1.0 / 39916800,
                                  1.0 / 479001600, 1.0 / 6227020800, 1.0 / 87178291200};
    double p = term[12];
    for (int k = 11; k >= 0; k--)
        p = term[k] - t * p;
    return 1.0 - t * p;
}

/* mean of u under exp(-t u) on [0, 1]: 1 / t - e / (1 - e) */
PIECE_FUNCTION double piece_psi(double t, double e)
{
    if (t >= PIECE_SMALL)
        return 1.0 / t - e / (1.0 - e);
    double s = t * t, p = 691.0 / 1307674368000.0;
    p = p * s - 1.0 / 47900160.0;
    p = p * s + 1.0 / 1209600.0;
    p = p * s - 1.0 / 30240.0;
    p = p * s + 1.0 / 720.0;
    p = p * s - 1.0 / 12.0;
    return 0.5 + t * p;
}

/* variance of u: 1 / t^2 - e / (1 - e)^2 */
PIECE_FUNCTION double piece_variance(double t, double e)
{
    if (t >= PIECE_SMALL)
        return 1.0 / (t * t) - e / ((1.0 - e) * (1.0 - e));
    double s = t * t, p = 13.0 / 74724249600.0;
    p = p * s - 7601.0 / 1307674368000.0;
    p = p * s + 9.0 / 47900160.0;
    p = p * s - 7.0 / 1209600.0;
    p = p * s + 5.0 / 30240.0;
    p = p * s - 3.0 / 720.0;
    return p * s + 1.0 / 12.0;
}

/* integral of G^2 over [0, 1], G the distribution function of u: (1 - 2 phi(t) + phi(2 t)) / (1 - e)^2.
 * Below 1/4 six points of Gauss and Legendre, exact to the eleventh power of u. */
PIECE_FUNCTION double piece_square(double t, double e)
{
    static const double node[3] = {0.23861918608319690863, 0.66120938646626451366, 0.93246951420315202781};
    static const double weight[3] = {0.46791393457269104739, 0.36076157304813860757, 0.17132449237917034504};
    if (t >= 0.25)
        return (1.0 - 2.0 * piece_phi(t, e) + piece_phi(2.0 * t, e * e)) / ((1.0 - e) * (1.0 - e));
    double sum = 0.0, whole = t > 0.0 ? expm1(-t) : 1.0;
    for (int i = 0; i < 3; i++) {
        double low = 0.5 - 0.5 * node[i], high = 0.5 + 0.5 * node[i];
        double a = t > 0.0 ? expm1(-t * low) / whole : low, b = t > 0.0 ? expm1(-t * high) / whole : high;
        sum += 0.5 * weight[i] * (a * a + b * b);
    }
    return sum;
}

/* Where in [0, 1] a share `u` of the mass of exp(d v) lies below: any sign of d; growth is expm1(d). */
PIECE_FUNCTION double piece_point(double d, double growth, double u)
{
    if (d == 0.0)
        return u;
    if (d > 500.0) /* exp(d) near the end of the numbers; what exp(-d) adds to u is nothing */
        return fmax(0.0, 1.0 + log(u) / d);
    double point = log1p(u * growth) / d;
    return point < 1.0 ? point : 1.0;
}

#endif
