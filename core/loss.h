/* loss.h - the training losses of one row and their gradients in (f, log q). Private to core.
 * Formulas: docs/MATHEMATICS.md, after arXiv 1909.12297, 2005.01698 and 2110.11948. */
#ifndef EBM_CORE_LOSS_H
#define EBM_CORE_LOSS_H

#include "core/device.h"
#include "core/kernels.h"

/* One row's candidates: M draws at 0 .. M - 1 and the true target at M. Arrays hold ebm_round_up(M + 1, EBM_LANES). */
struct ebm_loss_row {
    uint32_t M;
    const float *f;         /* energies; NULL for mdn_nll */
    const float *log_q;     /* of the noise: fixed or proposal; unused without noise */
    const float *log_label; /* of kld_is: log N(y_m; y_0, label sigma^2) */
    float *df, *dlog_q;     /* =: gradients times scale, 0 in the padding; dlog_q of the proposal, 0 for fixed noise */
    float *scratch;         /* as long as the others */
};

/* The row's loss; NaN when f or log_q hold no finite weights. Not of sm and dsm, which see grad f: train_score.c; not
 * of ml_exact, whose candidates are its own: train_exact.c. */
double ebm_loss_row(enum ebm_loss loss, const struct ebm_kernels *kernels, const struct ebm_loss_row *row,
                    double scale);

enum ebm_noise ebm_loss_noise(enum ebm_loss loss);
bool ebm_loss_draws(enum ebm_loss loss); /* M is not 0 */
bool ebm_loss_uses_energy(enum ebm_loss loss);
bool ebm_loss_trains_energy(enum ebm_loss loss);
bool ebm_loss_trains_proposal(enum ebm_loss loss);

#endif
