/* method_ml_is.c - maximum likelihood, log Z by importance sampling from fixed noise around the true target
 * (arXiv 1909.12297, 2005.01698). Wants many draws: with few the estimate of log Z is far too low. */
#include "trainer/method.h"

static const struct method_parameter parameters[] = {METHOD_PARAMETER_SIGMAS(0.2, 1.6)};

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    struct ebm_loss_spec loss = {.loss = EBM_LOSS_ML_IS, .samples = settings->samples};
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_widths(method, net, settings, "sigmas", plan, &loss.sigmas, &loss.n_sigmas, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_ml_is = {
    .name = "ml_is",
    .summary = "maximum likelihood, log Z by importance sampling from fixed noise",
    .parameters = parameters,
    .n_parameters = EBM_COUNT_OF(parameters),
    .plan = plan,
};
