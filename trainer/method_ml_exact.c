/* method_ml_exact.c - maximum likelihood of a scalar target with log Z integrated: no draws, no noise, no error of
 * either. In closed form where every layer on the target's way is relu or identity, else by quadrature; over the range
 * of range.h. A proposal, where the model has one, is trained beside it as by nce_kl. */
#include "trainer/method.h"

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    const struct ebm_loss_spec loss = {.loss = EBM_LOSS_ML_EXACT};
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status != EBM_OK)
        return status;
    if (net->D != 1)
        return ebm_error_set(reterr, EBM_INVALID, "training.method",
                             "ml_exact integrates over one target, and there are %u: use joint, nce_kl or nce", net->D);
    return method_energy_phases(net, settings, loss, plan, reterr);
}

const struct method method_ml_exact = {
    .name = "ml_exact",
    .summary = "maximum likelihood of one target, log Z integrated: nothing is drawn",
    .plan = plan,
};
