/* region.c - intervals from left to right; a full list gives up its smallest gap, so that of all gaps the widest stay,
 * whatever the order in which they came. */
#include "core/region.h"

#include <math.h>
#include <string.h>

#define TOUCH 1e-12 /* relative: a gap that rounding makes */

/* Interval i takes in the one after it. */
static void join(struct ebm_region *region, uint32_t i)
{
    region->ends[2 * i + 1] = region->ends[2 * i + 3];
    memmove(&region->ends[2 * i + 2], &region->ends[2 * i + 4], (size_t)(region->n - i - 2) * 2 * sizeof *region->ends);
    region->n--;
}

void ebm_region_add(struct ebm_region *region, double lower, double upper)
{
    double *ends = region->ends, *last = region->n > 0 ? &ends[2 * region->n - 1] : NULL;
    if (last != NULL && lower <= *last + TOUCH * fmax(fabs(lower), fabs(*last))) {
        *last = upper;
        return;
    }
    if (region->n == region->max) {
        uint32_t smallest = region->n - 1; /* the gap before the new one */
        double gap = lower - *last;
        for (uint32_t i = 0; i + 1 < region->n; i++)
            if (ends[2 * i + 2] - ends[2 * i + 1] < gap) {
                gap = ends[2 * i + 2] - ends[2 * i + 1];
                smallest = i;
            }
        if (smallest == region->n - 1) {
            *last = upper;
            return;
        }
        join(region, smallest);
    }
    ends[2 * region->n] = lower;
    ends[2 * region->n + 1] = upper;
    region->n++;
}
