/* method_kld_is.c - the KL divergence from a narrow Gaussian around the true target, by importance sampling from fixed
 * noise (arXiv 2005.01698).
 *
 * The ratio of that Gaussian to the noise must stay bounded: a label sigma that is wider than every component of the
 * noise is refused. */
#include "trainer/method.h"

static const struct method_parameter parameters[] = {
    METHOD_PARAMETER_SIGMAS(0.2, 1.6),
    {.name = "label_sigma",
     .kind = METHOD_WIDTH,
     .least = 1e-12,
     .most = 1e12,
     .published = {0.025},
     .n_published = 1,
     .help = "standard deviation of the Gaussian that the true target is taken for"},
};

static enum ebm_status check_widths(const struct ebm_net_desc *net, const struct ebm_loss_spec *loss,
                                    struct ebm_error *reterr)
{
    for (uint32_t d = 0; d < net->D; d++) {
        bool is_covered = false;
        for (uint32_t k = 0; k < loss->n_sigmas; k++)
            is_covered = is_covered || loss->label_sigma[d] <= loss->sigmas[k * net->D + d];
        if (!is_covered)
            return ebm_error_set(reterr, EBM_INVALID, "training.parameters.label_sigma",
                                 "wider than every one of sigmas: the noise would not cover it; an eighth of the "
                                 "narrowest is usual");
    }
    return EBM_OK;
}

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    struct ebm_loss_spec loss = {.loss = EBM_LOSS_KLD_IS, .samples = settings->samples};
    uint32_t one;
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_widths(method, net, settings, "sigmas", plan, &loss.sigmas, &loss.n_sigmas, reterr);
    if (status == EBM_OK)
        status = method_widths(method, net, settings, "label_sigma", plan, &loss.label_sigma, &one, reterr);
    if (status == EBM_OK)
        status = check_widths(net, &loss, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_kld_is = {
    .name = "kld_is",
    .summary = "KL divergence from a narrow Gaussian at the target, by importance sampling from fixed noise",
    .parameters = parameters,
    .n_parameters = EBM_COUNT_OF(parameters),
    .plan = plan,
};
