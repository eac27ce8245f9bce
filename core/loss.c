/* loss.c - losses of f and log q at a row's candidates. Most are built from two sums, with s = f - log q:
 *
 *   draws   LSE over the M draws of s          -> softmax p_m over draws
 *   all     LSE over the draws and the target  -> the same weights, scaled by sigma = sum of draws / sum of all
 *
 *   nce, nce_plus  all - s_0             df_m = sigma p_m, df_0 = -sigma
 *   kl_proposal    draws - log M         dlog_q_m = -p_m
 *   nce_kl         nce + kl_proposal
 *   mdn_kl_teacher nce + (kl_proposal + mdn_nll) / 2
 *   ml_is          draws - log M - f_0   df_m = p_m, df_0 = -1
 *   joint          ml_is with the proposal as noise, and dlog_q_m = -p_m
 *   mdn_nll        -log q_0              dlog_q_0 = -1
 *
 * The others are plain means over the draws:
 *
 *   kld_is         draws - log M - mean f_m r_m      df_m = p_m - r_m / M, r_m = N(y_m; y_0, label sigma^2) / q(y_m)
 *   ml_mcmc        mean f_m - f_0                    df_m = 1 / M, df_0 = -1
 *
 * NCE is softmax cross-entropy with the target as class 0: 1 - p_0 = sigma. */
#include "core/loss.h"

#include <math.h>
#include <string.h>

#define NOISE_OF(name, word, noise) [EBM_LOSS_##name] = EBM_NOISE_##noise,

enum ebm_noise ebm_loss_noise(enum ebm_loss loss)
{
    static const enum ebm_noise noises[] = { EBM_LOSS_MAP(NOISE_OF) };
    return noises[loss];
}

bool ebm_loss_draws(enum ebm_loss loss)
{
    return loss != EBM_LOSS_MDN_NLL && loss != EBM_LOSS_SM && loss != EBM_LOSS_ML_EXACT;
}

bool ebm_loss_uses_energy(enum ebm_loss loss)
{
    return loss != EBM_LOSS_MDN_NLL;
}

bool ebm_loss_trains_energy(enum ebm_loss loss)
{
    return loss != EBM_LOSS_MDN_NLL && loss != EBM_LOSS_KL_PROPOSAL;
}

bool ebm_loss_trains_proposal(enum ebm_loss loss)
{
    return ebm_loss_noise(loss) == EBM_NOISE_PROPOSAL;
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

/* How much of each sum a loss has. */
static const struct shares {
    bool nce, ml;     /* all - s_0; draws - log M - f_0 */
    double kl, nll;   /* draws - log M for the proposal; -log q_0 */
    bool moves_draws; /* the gradient of ml runs through log q as well */
} shares[] = {
    [EBM_LOSS_ML_IS] = {.ml = true},
    [EBM_LOSS_NCE] = {.nce = true},
    [EBM_LOSS_NCE_PLUS] = {.nce = true},
    [EBM_LOSS_NCE_KL] = {.nce = true, .kl = 1.0},
    [EBM_LOSS_JOINT] = {.ml = true, .moves_draws = true},
    [EBM_LOSS_KL_PROPOSAL] = {.kl = 1.0},
    [EBM_LOSS_MDN_KL_TEACHER] = {.nce = true, .kl = 0.5, .nll = 0.5},
};

static double candidates_loss(enum ebm_loss loss, const struct ebm_kernels *kernels, const struct ebm_loss_row *row,
                              size_t padded, double scale)
{
    struct shares share = shares[loss];
    double sum, draws, log_m = log((double)row->M), log_q_0 = (double)row->log_q[row->M];
    softmax_draws(kernels, row, padded, &sum, &draws);
    double f_0 = (double)row->f[row->M], s_0 = f_0 - log_q_0;
    double all = log_add(draws, s_0), value = 0.0;
    double energy = 0.0; /* |df| summed over the draws */
    if (share.nce) {
        value = all - s_0;
        energy = exp(draws - all);
    } else if (share.ml) {
        value = draws - log_m - f_0;
        energy = 1.0;
    }
    value += share.kl * (draws - log_m) - share.nll * log_q_0;
    double proposal = share.kl + (share.moves_draws ? 1.0 : 0.0);
    spread(row->df, row, padded, scale * energy / sum, -scale * energy);
    spread(row->dlog_q, row, padded, -scale * proposal / sum, -scale * share.nll);
    return value;
}

static double kld_is_loss(const struct ebm_kernels *kernels, const struct ebm_loss_row *row, size_t padded,
                          double scale)
{
    double sum, draws, labels = 0.0, M = (double)row->M;
    softmax_draws(kernels, row, padded, &sum, &draws);
    spread(row->df, row, padded, scale / sum, 0.0);
    for (size_t m = 0; m < row->M; m++) {
        double ratio = exp((double)row->log_label[m] - (double)row->log_q[m]) / M;
        labels += (double)row->f[m] * ratio;
        row->df[m] -= (float)(scale * ratio);
    }
    return draws - log(M) - labels;
}

static double ml_mcmc_loss(const struct ebm_loss_row *row, size_t padded, double scale)
{
    double mean = 0.0, M = (double)row->M;
    for (size_t m = 0; m < row->M; m++)
        mean += (double)row->f[m] / M;
    for (size_t m = 0; m < padded; m++)
        row->df[m] = m < row->M ? (float)(scale / M) : 0.0f;
    row->df[row->M] = (float)-scale;
    return mean - (double)row->f[row->M];
}

static double mdn_nll_loss(const struct ebm_loss_row *row, size_t padded, double scale)
{
    memset(row->df, 0, padded * sizeof *row->df);
    memset(row->dlog_q, 0, padded * sizeof *row->dlog_q);
    row->dlog_q[row->M] = (float)-scale;
    return -(double)row->log_q[row->M];
}

double ebm_loss_row(enum ebm_loss loss, const struct ebm_kernels *kernels, const struct ebm_loss_row *row, double scale)
{
    size_t padded = ebm_round_up((size_t)row->M + 1, EBM_LANES);
    double value;
    if (loss == EBM_LOSS_MDN_NLL)
        value = mdn_nll_loss(row, padded, scale);
    else if (loss == EBM_LOSS_ML_MCMC)
        value = ml_mcmc_loss(row, padded, scale);
    else if (loss == EBM_LOSS_KLD_IS)
        value = kld_is_loss(kernels, row, padded, scale);
    else
        value = candidates_loss(loss, kernels, row, padded, scale);
    return isfinite(value) ? value : (double)NAN;
}
