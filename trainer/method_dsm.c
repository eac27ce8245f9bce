/* method_dsm.c - denoising score matching: the gradient of f points from a moved target back to the true one (Vincent
 * 2011; arXiv 2005.01698). What is learned is the density blurred by sigma. */
#include "trainer/method.h"

static const struct method_parameter parameters[] = {
    {.name = "sigma",
     .kind = METHOD_WIDTH,
     .least = 1e-12,
     .most = 1e12,
     .published = {0.2},
     .n_published = 1,
     .help = "standard deviation of the moves; 0.2 for set 1 of the paper, 0.075 for its set 2"},
};

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    struct ebm_loss_spec loss = {.loss = EBM_LOSS_DSM, .samples = settings->samples};
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_needs_line(method, net, "moves targets without bounds", reterr);
    if (status == EBM_OK)
        status = method_widths(method, net, settings, "sigma", plan, &loss.sigmas, &loss.n_sigmas, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_dsm = {
    .name = "dsm",
    .summary = "denoising score matching",
    .parameters = parameters,
    .n_parameters = EBM_COUNT_OF(parameters),
    .plan = plan,
};
