/* method_joint.c - energy and proposal by one loss, the likelihood with log Z by importance sampling from the proposal
 * (arXiv 2110.11948). The warm-up is that of nce_kl. */
#include "trainer/method.h"

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    const struct ebm_loss_spec loss = {.loss = EBM_LOSS_JOINT};
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_needs_proposal(method, net, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_joint = {
    .name = "joint",
    .summary = "energy-based model and proposal by one likelihood",
    .plan = plan,
};
