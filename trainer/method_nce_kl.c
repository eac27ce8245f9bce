/* method_nce_kl.c - noise-contrastive estimation with a learned proposal (arXiv 2110.11948), the default.
 *
 *   epochs 0 .. warmup - 1   mdn_nll on detached features: the proposal alone finds where the targets are
 *   then                     nce_kl: the energy by NCE against the proposal, the proposal by KL against the energy
 *
 * In the second phase every part learns; the proposal reads features with the gradient stopped, unless the model says
 * "trains_features". During the warm-up feature, target and energy nets stand still, and so do their Adam steps. */
#include "trainer/method.h"

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    const struct ebm_loss_spec loss = {.loss = EBM_LOSS_NCE_KL};
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_needs_proposal(method, net, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_nce_kl = {
    .name = "nce_kl",
    .summary = "energy-based model and proposal, trained together (default)",
    .plan = plan,
};
