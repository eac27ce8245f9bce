/* crps.c - CRPS = E|Y - y| - E|Y - Y'| / 2 with Y, Y' independent draws of p (Gneiting & Raftery 2007), from a sample:
 *
 *   sum_i w_i |y_i - y|  -  sum_{i<j} w_i w_j |y_i - y_j| / (1 - sum_i w_i^2)
 *
 * The divisor leaves out the pairs of a draw with itself: with equal weights the estimate is unbiased for any number of
 * draws. In order of y the double sum is one pass over sums of what came before. */
#include "trainer/crps.h"

#include <math.h>
#include <stdlib.h>

#define LEAST_PAIRS 1e-9 /* below, one draw has all the weight: there is no pair */

static int by_value(const void *a, const void *b)
{
    double left = ((const struct crps_draw *)a)->y, right = ((const struct crps_draw *)b)->y;
    return (left > right) - (left < right);
}

double crps_of_draws(struct crps_draw *draws, uint32_t n, double y)
{
    double off = 0.0, pairs = 0.0, squares = 0.0, weight_before = 0.0, sum_before = 0.0;
    qsort(draws, n, sizeof *draws, by_value);
    for (uint32_t i = 0; i < n; i++) {
        double w = draws[i].weight, d = draws[i].y - y;
        off += w * fabs(d);
        pairs += w * (d * weight_before - sum_before);
        weight_before += w;
        sum_before += w * d;
        squares += w * w;
    }
    return 1.0 - squares > LEAST_PAIRS ? off - pairs / (1.0 - squares) : off;
}
