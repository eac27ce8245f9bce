/* loss.c - every loss here is built from two sums over candidates, with s = f - log q:
 *
 *   draws   LSE over the M draws of s          -> softmax p_m over draws
 *   all     LSE over the draws and the target  -> the same weights, scaled by sigma = sum of draws / sum of all
 *
 *   nce          all - s_0          df_m = sigma p_m, df_0 = -sigma
 *   kl           draws - log M      dlog_q_m = -p_m
 *   nce_kl       nce + kl
 *   ml_is        draws - log M - f_0     df_m = p_m, df_0 = -1
 *   joint        ml_is with the proposal as noise, and dlog_q_m = -p_m
 *   mdn_nll      -log q_0                dlog_q_0 = -1
 *
 * NCE is softmax cross-entropy with the target as class 0: 1 - p_0 = sigma. */
#include "core/loss.h"

#include <math.h>
#include <string.h>

#define FIXED_NOISE(name, word, fixed) [EBM_LOSS_##name] = fixed,

bool ebm_loss_has_fixed_noise(enum ebm_loss loss)
{
    static const bool fixed[] = { EBM_LOSS_MAP(FIXED_NOISE) };
    return fixed[loss];
}

bool ebm_loss_uses_energy(enum ebm_loss loss)
{
    return loss != EBM_LOSS_MDN_NLL;
}

bool ebm_loss_trains_energy(enum ebm_loss loss)
{
    return loss != EBM_LOSS_MDN_NLL && loss != EBM_LOSS_KL_PROPOSAL;
}

bool ebm_loss_uses_proposal(enum ebm_loss loss)
{
    return !ebm_loss_has_fixed_noise(loss);
}

static double log_add(double a, double b)
{
    double high = fmax(a, b), low = fmin(a, b);
    return isinf(high) ? high : high + log1p(exp(low - high));
}

/* p_m = softmax of f - log q over the draws, not normalised, into scratch; ret_lse its log-sum-exp. */
static void softmax_draws(const struct ebm_kernels *kernels, const struct ebm_loss_row *row, size_t padded,
                          double *ret_sum, double *ret_lse)
{
    double max, squares;
    float *s = row->df; /* free until the gradients are written */
    for (size_t i = 0; i < padded; i++)
        s[i] = i < row->M ? row->f[i] - row->log_q[i] : -INFINITY;
    kernels->softmax(row->scratch, s, (uint32_t)padded, &max, ret_sum, &squares);
    *ret_lse = max + log(*ret_sum);
}

/* dst = factor * p over the draws, at_target at M, 0 in the padding */
static void spread(float *dst, const struct ebm_loss_row *row, size_t padded, double factor, double at_target)
{
    float share = (float)factor;
    for (size_t i = 0; i < padded; i++)
        dst[i] = share * row->scratch[i];
    for (size_t i = row->M; i < padded; i++)
        dst[i] = 0.0f;
    dst[row->M] = (float)at_target;
}

static double energy_loss(enum ebm_loss loss, const struct ebm_kernels *kernels, const struct ebm_loss_row *row,
                          size_t padded, double scale)
{
    double sum, draws, log_m = log((double)row->M);
    softmax_draws(kernels, row, padded, &sum, &draws);
    double f_0 = (double)row->f[row->M], s_0 = f_0 - (double)row->log_q[row->M];
    double all = log_add(draws, s_0), sigma = exp(draws - all), value = 0.0;
    double energy = 0.0; /* |df| summed over the draws */
    if (loss == EBM_LOSS_NCE || loss == EBM_LOSS_NCE_KL) {
        value = all - s_0;
        energy = sigma;
    } else if (loss == EBM_LOSS_ML_IS || loss == EBM_LOSS_JOINT) {
        value = draws - log_m - f_0;
        energy = 1.0;
    }
    if (loss == EBM_LOSS_NCE_KL || loss == EBM_LOSS_KL_PROPOSAL)
        value += draws - log_m;
    spread(row->df, row, padded, scale * energy / sum, -scale * energy);
    spread(row->dlog_q, row, padded, ebm_loss_uses_proposal(loss) ? -scale / sum : 0.0, 0.0);
    return isfinite(value) ? value : (double)NAN;
}

double ebm_loss_row(enum ebm_loss loss, const struct ebm_kernels *kernels, const struct ebm_loss_row *row, double scale)
{
    size_t padded = ebm_round_up((size_t)row->M + 1, EBM_LANES);
    if (ebm_loss_uses_energy(loss))
        return energy_loss(loss, kernels, row, padded, scale);
    memset(row->df, 0, padded * sizeof *row->df);
    memset(row->dlog_q, 0, padded * sizeof *row->dlog_q);
    row->dlog_q[row->M] = (float)-scale;
    double value = -(double)row->log_q[row->M];
    return isfinite(value) ? value : (double)NAN;
}
