/* weighted_circle.c - weighted draws of a number with a period, in the order that ebm_weighted_sort gives them: nothing
 * is sorted anew. Going round from the cut, draws that lie below it come after all others. */
#include <math.h>

#include "core/circle.h"
#include "core/weighted.h"
#include "core/weighted_internal.h"

/* Weight of the draws below the cut. */
static double below_cut(const struct ebm_weighted *draws, double cut)
{
    uint32_t n = ebm_weighted_count_up_to(draws, nextafter(cut, -INFINITY));
    return n > 0 ? draws->weight[n - 1] : 0.0;
}

double ebm_weighted_cut_quantile(const struct ebm_weighted *draws, double p, double cut)
{
    double all = draws->weight[draws->n - 1], wanted = below_cut(draws, cut) + p * all;
    return ebm_weighted_value(draws, ebm_weighted_reach(draws, wanted > all ? wanted - all : wanted));
}

double ebm_weighted_cut_cdf(const struct ebm_weighted *draws, double y, double cut)
{
    double share = ebm_weighted_cdf(draws, y) - below_cut(draws, cut) / draws->weight[draws->n - 1];
    return fmin(fmax(y < cut ? share + 1.0 : share, 0.0), 1.0);
}

/* Of the pairs i < j those further apart than half a period are nearer over the seam: a second finger follows behind
 * them. */
double ebm_weighted_circle_crps(const struct ebm_weighted *draws, double y, double period)
{
    double pairs = 0.0, off = 0.0, all = draws->weight[draws->n - 1];
    uint32_t far = 0; /* draws more than half a period below the one that is looked at */
    for (uint32_t j = 0; j < draws->n; j++) {
        double value = ebm_weighted_value(draws, j), before = j > 0 ? draws->weight[j - 1] : 0.0;
        double own = draws->weight[j] - before;
        while (ebm_weighted_value(draws, far) < value - 0.5 * period)
            far++;
        double w_far = far > 0 ? draws->weight[far - 1] : 0.0, m_far = far > 0 ? draws->moment[far - 1] : 0.0;
        double w_near = before - w_far, m_near = (j > 0 ? draws->moment[j - 1] : 0.0) - m_far;
        pairs += own * (value * w_near - m_near + (period - value) * w_far + m_far);
        off += own * fabs(ebm_circular_way(value, y, period));
    }
    bool has_pairs = 1.0 - draws->squares > EBM_WEIGHTED_LEAST_PAIRS;
    return off / all - (has_pairs ? pairs / (all * all * (1.0 - draws->squares)) : 0.0);
}
