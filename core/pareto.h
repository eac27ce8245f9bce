/* pareto.h - what every form of the generalised Pareto fit shares (Zhang and Stephens 2009, with the prior of psis.h).
 * Private to core.
 *
 * The estimate is the posterior mean of b = -k / sigma over a grid, weighted by the profile likelihood of n excesses x;
 * given b, k is the mean of log(1 - b x). */
#ifndef EBM_CORE_PARETO_H
#define EBM_CORE_PARETO_H

#include <math.h>

#include "core/base.h"

#define EBM_PARETO_TAIL (3u * 256u + 1u) /* most excesses: 3 sqrt(LIMIT_SAMPLES), rounded up */
#define EBM_PARETO_GRID (30u + 28u)      /* most points of a grid: 30 + sqrt(EBM_PARETO_TAIL) */

static inline uint32_t ebm_pareto_grid(uint32_t n)
{
    return 30 + (uint32_t)sqrt(n);
}

/* The place of the first quartile in ascending order. */
static inline uint32_t ebm_pareto_quartile(uint32_t n)
{
    return (uint32_t)(n / 4.0 + 0.5) - 1;
}

/* Point j of the grid for b, from the largest excess and the first quartile; number 0 is the least. */
static inline double ebm_pareto_point(uint32_t j, uint32_t grid, double largest, double quartile)
{
    const double scale = 3.0; /* of Zhang and Stephens' prior, in quartiles */
    return 1.0 / largest + (1.0 - sqrt(grid / (j + 0.5))) / (scale * quartile);
}

/* n observations say k; the prior is ten more of shape 1/2. */
static inline double ebm_pareto_shrunk(double k, uint32_t n)
{
    return (n * k + 10.0 * 0.5) / (n + 10.0);
}

#endif
