/* method_ml_mcmc.c - maximum likelihood, the gradient of log Z by short Langevin chains from the true target
 * (arXiv 2005.01698). langevin_steps networks forward and backward for each draw: the dearest method by far. */
#include "trainer/method.h"

static const struct method_parameter parameters[] = {
    {.name = "langevin_steps",
     .kind = METHOD_COUNT,
     .least = 1,
     .most = 65536,
     .published = {16},
     .n_published = 1,
     .help = "steps of a chain"},
    {.name = "langevin_step",
     .kind = METHOD_WIDTH,
     .least = 1e-12,
     .most = 1e12,
     .published = {0.05},
     .n_published = 1,
     .help = "length a of a step: y += (a^2 / 2) grad f + a noise; 0.05 for set 1 of the paper, 0.0125 for its set 2"},
};

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    struct ebm_loss_spec loss = {.loss = EBM_LOSS_ML_MCMC,
                                 .samples = settings->samples,
                                 .langevin_steps = (uint32_t)method_number(method, settings, "langevin_steps")};
    uint32_t one;
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_needs_line(method, net, "walks without bounds", reterr);
    if (status == EBM_OK)
        status = method_widths(method, net, settings, "langevin_step", plan, &loss.langevin_step, &one, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_ml_mcmc = {
    .name = "ml_mcmc",
    .summary = "maximum likelihood with short Langevin chains",
    .parameters = parameters,
    .n_parameters = EBM_COUNT_OF(parameters),
    .plan = plan,
};
