/* method_mdn_kl_teacher.c - a mixture density network that learns from an energy-based model, its teacher, as much as
 * from the data (arXiv 2110.11948).
 *
 *   teacher   nce with draws of the mixture as noise; networks of its own, thrown away in the end
 *   mixture   half the KL divergence from the teacher, half the likelihood; both train its own features
 *
 * The network that is trained is both at once (trainer/teacher.h): the mixture and its features are the proposal.
 * A warm-up by mdn_nll, as in nce_kl, gives the teacher noise that lies where the targets are. */
#include "trainer/method.h"

static const struct method_parameter parameters[] = {
    {.name = "teacher",
     .kind = METHOD_NETS,
     .nets = "{\"feature_net\":[{\"type\":\"linear\",\"out\":16,\"activation\":\"relu\"},"
             "{\"type\":\"linear\",\"out\":16,\"activation\":\"relu\"}],"
             "\"target_net\":[{\"type\":\"linear\",\"out\":16,\"activation\":\"relu\"},"
             "{\"type\":\"linear\",\"out\":16,\"activation\":\"relu\"}],"
             "\"energy_net\":[{\"type\":\"linear\",\"out\":16,\"activation\":\"relu\"},"
             "{\"type\":\"linear\",\"out\":16,\"activation\":\"relu\",\"residual\":true},{\"type\":\"linear\"}]}",
     .help = "the teacher's feature_net, target_net and energy_net, as in model"},
};

static enum ebm_status plan(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr)
{
    (void)method;
    EBM_ASSERT(net->has_energy && net->K > 0 && net->own_H > 0);
    const struct ebm_loss_spec loss = {.loss = EBM_LOSS_MDN_KL_TEACHER};
    return method_energy_phases(net, settings, loss, plan, reterr);
}

const struct method method_mdn_kl_teacher = {
    .name = "mdn_kl_teacher",
    .summary = "mixture density network with an energy-based teacher",
    .parameters = parameters,
    .n_parameters = EBM_COUNT_OF(parameters),
    .has_teacher = true,
    .plan = plan,
};
