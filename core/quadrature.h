/* quadrature.h - panels (panels.h) for a density over one real number whose f can only be asked at points: adaptive
 * Gauss-Kronrod 7-15. Private to core.
 *
 * Wherever the support has no end the range is looked for: from [-8, 8] (or 16 from the end that there is) it doubles
 * until f has fallen by 40 below its largest value, at most 6 times. Otherwise, or where f does not fall any more far
 * out, only the range makes the integral finite: proper is false. */
#ifndef EBM_CORE_QUADRATURE_H
#define EBM_CORE_QUADRATURE_H

#include "core/net_desc.h"
#include "core/panels.h"

#define EBM_QUADRATURE_POINTS 128u /* asked for at once, at most */
#define EBM_QUADRATURE_SPLITS 512u

/* f at y (n). False: the answer is no longer wanted. */
typedef bool ebm_quadrature_fn(void *user, const double *y, uint32_t n, double *ret_f);

struct ebm_quadrature {
    ebm_quadrature_fn *f;
    void *user;
    double epsilon; /* relative rounding of y and f: 2^-24 for floats */
    struct ebm_support support;
    bool is_bounded;      /* f has an upper and a lower bound on the whole line: improper there */
    const double *splits; /* (n_splits): where a panel should end, in any order; those beyond the limit are left out */
    uint32_t n_splits;
};

/* Does f of these nets stay bounded however far y goes? tanh does that to all that comes after it. */
bool ebm_quadrature_is_bounded(const struct ebm_net_desc *net);

/* OK; CANCELLED: no longer wanted; INVALID: f is NaN or +inf somewhere. Only with OK the panels are a density. */
enum ebm_status ebm_quadrature_run(const struct ebm_quadrature *quadrature, struct ebm_panels *panels) EBM_MUST_USE;

#endif
