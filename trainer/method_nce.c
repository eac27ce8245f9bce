/* method_nce.c - noise-contrastive estimation: which of M + 1 candidates is the true target, the others being fixed
 * noise around it (arXiv 2005.01698, 2012.04634). Few draws do. */
#include "trainer/method.h"

static const struct method_parameter parameters[] = {METHOD_PARAMETER_SIGMAS(0.1, 0.8)};

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    struct ebm_loss_spec loss = {.loss = EBM_LOSS_NCE, .samples = settings->samples};
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_widths(method, net, settings, "sigmas", plan, &loss.sigmas, &loss.n_sigmas, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_nce = {
    .name = "nce",
    .summary = "noise-contrastive estimation with fixed noise around the target",
    .parameters = parameters,
    .n_parameters = EBM_COUNT_OF(parameters),
    .plan = plan,
};
