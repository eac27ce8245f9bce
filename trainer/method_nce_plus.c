/* method_nce_plus.c - nce for targets that are themselves noisy: the true target is moved by noise that is narrower by
 * the factor beta (arXiv 2005.01698). Beta to 0 is nce. */
#include "trainer/method.h"

static const struct method_parameter parameters[] = {
    METHOD_PARAMETER_SIGMAS(0.1, 0.8),
    {.name = "beta",
     .kind = METHOD_NUMBER,
     .least = 1e-9,
     .most = 1.0,
     .published = {0.025},
     .n_published = 1,
     .help = "how much narrower the noise on the true target is than sigmas"},
};

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    struct ebm_loss_spec loss = {
        .loss = EBM_LOSS_NCE_PLUS, .samples = settings->samples, .beta = method_number(method, settings, "beta")};
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_widths(method, net, settings, "sigmas", plan, &loss.sigmas, &loss.n_sigmas, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_nce_plus = {
    .name = "nce_plus",
    .summary = "nce with noise on the true target as well",
    .parameters = parameters,
    .n_parameters = EBM_COUNT_OF(parameters),
    .plan = plan,
};
