/* scalar.h - what can be asked of a density over one real number, however it is represented. Private to core.
 *
 *   pieces    f piecewise linear: every integral of exp f in closed form          (exact)
 *   panels    f smooth: Gauss-Kronrod panels, f between their nodes by interpolation   (quadrature)
 *   circle    either of them closed to a ring: what has a period                   (circle.h)
 *
 * One table of questions over all of them, so that whoever answers a request does not know which it is. Everything is
 * standardised and in double. A density belongs to whoever bound it, in memory of one thread, until the next bind.
 * Normalised by its largest f: nothing overflows, whatever the slopes. */
#ifndef EBM_CORE_SCALAR_H
#define EBM_CORE_SCALAR_H

#include "core/base.h"

struct ebm_scalar_summary {
    double log_z, mean, variance;
    double entropy; /* nats */
    double mode;    /* where f is highest; the leftmost of equals */
    uint32_t pieces;
    double lower, upper; /* what was integrated, maybe infinite */
    bool proper;         /* false: without the recorded bounds the integral would be infinite */
};

struct ebm_scalar_ops {
    void (*summary)(const void *density, struct ebm_scalar_summary *ret_summary);
    double (*log_density)(const void *density, double y); /* f - log Z; -inf outside */
    double (*cdf)(const void *density, double y);         /* in [0, 1], monotone */
    /* The smallest y with cdf(y) >= p, p in (0, 1). */
    double (*quantile)(const void *density, double p);
    /* The smallest set of mass `level` in (0, 1): intervals (lower, upper), ascending, at most `max` of them: where
     * there are more, those with the smallest gaps between them are joined. Returns their number. */
    uint32_t (*region)(const void *density, double level, double *ret_ends, uint32_t max);
    double (*crps)(const void *density, double y);
    /* E cos and E sin of turn (y - origin); nothing of the density reaches beyond finite ends. */
    void (*resultant)(const void *density, double origin, double turn, double ret_resultant[2]);
};

/* A bound density: borrow of whoever bound it. */
struct ebm_scalar {
    const struct ebm_scalar_ops *ops;
    const void *density;
};

#endif
