/* method_mdn_nll.c - a plain mixture density network: minus log q(y|x), nothing drawn.
 *
 * Trains the proposal and always the features, whatever "trains_features" says. A model with an energy net is refused:
 * its energy would stay as random as it started, and yet be served. */
#include "trainer/method.h"

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    (void)method;
    if (net->K == 0)
        return ebm_error_set(reterr, EBM_INVALID, "training.method",
                             "mdn_nll trains a mixture density, and model.proposal is missing");
    if (net->has_energy)
        return ebm_error_set(
            reterr, EBM_INVALID, "training.method",
            "mdn_nll does not train an energy net: leave out model.energy_net and model.target_net, or "
            "use nce_kl");
    method_add_phase(plan, settings,
                     (struct method_phase){
                         .word = "",
                         .loss = {.loss = EBM_LOSS_MDN_NLL, .proposal_trains_features = true},
                         .trains = {[EBM_PART_FEATURE] = true, [EBM_PART_PROPOSAL] = true},
                     });
    return EBM_OK;
}

const struct method method_mdn_nll = {
    .name = "mdn_nll",
    .summary = "mixture density network by maximum likelihood",
    .plan = plan,
};
