/* method_nce_kl.c - noise-contrastive estimation with a learned proposal (arXiv 2110.11948), the default.
 *
 *   epochs 0 .. warmup - 1   mdn_nll on detached features: the proposal alone finds where the targets are
 *   then                     nce_kl: the energy by NCE against the proposal, the proposal by KL against the energy
 *
 * In the second phase every part learns; the proposal reads features with the gradient stopped, unless the model says
 * "trains_features". During the warm-up feature, target and energy nets stand still, and so do their Adam steps. */
#include "trainer/method.h"

static enum ebm_status plan(const struct ebm_net_desc *net, const struct method_settings *settings,
                            struct method_plan *ret_plan, struct ebm_error *reterr)
{
    enum ebm_status status = method_no_parameters("nce_kl", settings, reterr);
    if (status != EBM_OK)
        return status;
    if (!net->has_energy)
        return ebm_error_set(reterr, EBM_INVALID, "training.method",
                             "nce_kl trains an energy net, and model.energy_net is missing: add one, or use mdn_nll");
    if (net->K == 0)
        return ebm_error_set(reterr, EBM_INVALID, "training.method",
                             "nce_kl draws its noise from a learned proposal, and model.proposal is missing");
    if (settings->warmup_epochs >= settings->epochs)
        return ebm_error_set(reterr, EBM_INVALID, "training.warmup_epochs",
                             "%u of %u epochs: none is left to train the energy net", settings->warmup_epochs,
                             settings->epochs);
    struct method_plan p = {.n_phases = 0};
    if (settings->warmup_epochs > 0)
        p.phases[p.n_phases++] = (struct method_phase){
            .word = "warm-up",
            .loss = {.loss = EBM_LOSS_MDN_NLL, .proposal_trains_features = false},
            .trains = {[EBM_PART_PROPOSAL] = true},
        };
    p.phases[p.n_phases++] = (struct method_phase){
        .word = "",
        .first_epoch = settings->warmup_epochs,
        .loss = {.loss = EBM_LOSS_NCE_KL,
                 .samples = settings->samples,
                 .proposal_trains_features = net->trains_features},
        .trains = {true, true, true, true},
    };
    *ret_plan = p;
    return EBM_OK;
}

const struct method method_nce_kl = {
    .name = "nce_kl",
    .summary = "energy-based model and proposal, trained together (default)",
    .plan = plan,
};
