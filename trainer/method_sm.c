/* method_sm.c - score matching: the gradient of log p in y, without Z and without draws (Hyvarinen 2005; arXiv
 * 2005.01698).
 *
 * Its loss is second derivatives of f in y. With relu on the target's way those are 0 wherever they exist: the loss
 * would only flatten f, and is refused. */
#include "trainer/method.h"

/* The first relu of a net, as a layer's number; n_layers when there is none. */
static uint32_t first_relu(const struct ebm_net *net)
{
    uint32_t i = 0;
    while (i < net->n_layers && net->layers[i].activation != EBM_ACT_RELU)
        i++;
    return i;
}

static enum ebm_status needs_smooth(const char *name, const struct ebm_net *net, struct ebm_error *reterr)
{
    uint32_t i = first_relu(net);
    if (i == net->n_layers)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "training.method",
                         "sm needs second derivatives of the energy, and relu in model.%s[%u] has none but 0: use "
                         "tanh, silu or softplus in target_net and energy_net, or the method dsm",
                         name, i);
}

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    const struct ebm_loss_spec loss = {.loss = EBM_LOSS_SM};
    enum ebm_status status = method_needs_energy(method, net, reterr);
    if (status == EBM_OK)
        status = method_needs_line(method, net, "holds for densities without edges", reterr);
    if (status == EBM_OK)
        status = needs_smooth("target_net", &net->target, reterr);
    if (status == EBM_OK)
        status = needs_smooth("energy_net", &net->energy, reterr);
    return status == EBM_OK ? method_energy_phases(net, settings, loss, plan, reterr) : status;
}

const struct method method_sm = {
    .name = "sm",
    .summary = "score matching, for smooth activations",
    .plan = plan,
};
