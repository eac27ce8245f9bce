/* method.c - the table of methods, and what they share.
 *
 * A method is looked up by the name in the configuration. */
#include "trainer/method.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/names.h"

static const struct method *const methods[] = {
    &method_nce_kl,  &method_joint,  &method_mdn_nll, &method_mdn_kl_teacher,
    &method_ml_is,   &method_kld_is, &method_nce,     &method_nce_plus,
    &method_ml_mcmc, &method_sm,     &method_dsm,     &method_ml_exact,
};

size_t method_all(const struct method *const **ret_methods)
{
    *ret_methods = methods;
    return EBM_COUNT_OF(methods);
}

/* "nce_kl, joint, ..." */
static void put_names(struct ebm_buf *buf)
{
    for (size_t i = 0; i < EBM_COUNT_OF(methods); i++)
        (void)ebm_buf_printf(buf, "%s%s", i > 0 ? ", " : "", methods[i]->name);
}

static enum ebm_status unknown_method(const char *name, struct ebm_error *reterr)
{
    const char *names[EBM_COUNT_OF(methods)];
    EBM_AUTO(ebm_buf_done) struct ebm_buf all;
    ebm_buf_init(&all, 4096);
    put_names(&all);
    for (size_t i = 0; i < EBM_COUNT_OF(methods); i++)
        names[i] = methods[i]->name;
    const char *near = ebm_names_near(name, names, EBM_COUNT_OF(names));
    if (near != NULL)
        return ebm_error_set(reterr, EBM_INVALID, "training.method", "unknown method '%.40s', did you mean '%s'?", name,
                             near);
    return ebm_error_set(reterr, EBM_INVALID, "training.method", "unknown method '%.40s'; there are %s", name,
                         all.bytes != NULL ? all.bytes : "others");
}

enum ebm_status method_find(const char *name, const struct method **ret_method, struct ebm_error *reterr)
{
    for (size_t i = 0; i < EBM_COUNT_OF(methods); i++) {
        if (strcmp(methods[i]->name, name) == 0) {
            *ret_method = methods[i];
            return EBM_OK;
        }
    }
    return unknown_method(name, reterr);
}

enum ebm_status method_lay(const struct method *method, const struct ebm_net_desc *net,
                           const struct method_settings *settings, struct method_plan *ret_plan,
                           struct ebm_error *reterr)
{
    struct method_plan plan = {.n_phases = 0};
    if (settings->heads_only_epochs > 0 && method->has_teacher)
        return ebm_error_set(reterr, EBM_INVALID, "training.heads_only_epochs",
                             "with a teacher features learn from the first epoch on: leave it out");
    if (settings->heads_only_epochs > settings->epochs)
        return ebm_error_set(reterr, EBM_INVALID, "training.heads_only_epochs", "%u of %u epochs: at most all of them",
                             settings->heads_only_epochs, settings->epochs);
    enum ebm_status status = method_check_values(method, settings->values, settings->n_values, reterr);
    if (status == EBM_OK)
        status = method->plan(method, net, settings, &plan, reterr);
    if (status != EBM_OK) {
        method_plan_done(&plan);
        return status;
    }
    *ret_plan = plan;
    return EBM_OK;
}

void method_plan_done(struct method_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_arrays; i++)
        free(plan->arrays[i]);
    *plan = (struct method_plan){.n_phases = 0};
}

const struct method_phase *method_phase_at(const struct method_plan *plan, uint32_t epoch)
{
    uint32_t at = plan->n_phases - 1;
    while (at > 0 && plan->phases[at].first_epoch > epoch)
        at--;
    return &plan->phases[at];
}

/* ---- what methods ask of a model ---- */

enum ebm_status method_needs_energy(const struct method *method, const struct ebm_net_desc *net,
                                    struct ebm_error *reterr)
{
    if (net->has_energy)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "training.method",
                         "%s trains an energy net, and model.energy_net is missing: add one, or use mdn_nll",
                         method->name);
}

enum ebm_status method_needs_proposal(const struct method *method, const struct ebm_net_desc *net,
                                      struct ebm_error *reterr)
{
    if (net->K > 0)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "training.method",
                         "%s draws its noise from a learned proposal, and model.proposal is missing: add one, or use "
                         "nce, whose noise is fixed",
                         method->name);
}

enum ebm_status method_needs_line(const struct method *method, const struct ebm_net_desc *net, const char *why,
                                  struct ebm_error *reterr)
{
    for (uint32_t d = 0; net->support != NULL && d < net->D; d++)
        if (net->support[d].kind != EBM_SUPPORT_REAL)
            return ebm_error_set(reterr, EBM_INVALID, "training.method",
                                 "%s %s, and model.target.support has bounds or a period: make it real, or use nce",
                                 method->name, why);
    return EBM_OK;
}

#define NOISE_OF(name, word, noise) [EBM_LOSS_##name] = EBM_NOISE_##noise,

static bool draws_from_proposal(enum ebm_loss loss)
{
    static const enum ebm_noise noises[] = { EBM_LOSS_MAP(NOISE_OF) };
    return noises[loss] == EBM_NOISE_PROPOSAL;
}

void method_add_phase(struct method_plan *plan, const struct method_settings *settings, struct method_phase phase)
{
    struct method_phase heads = phase;
    bool is_all = settings->heads_only_epochs == settings->epochs;
    if (phase.first_epoch < settings->heads_only_epochs && phase.trains[EBM_PART_FEATURE]) {
        heads.word = is_all ? phase.word : "heads";
        heads.trains[EBM_PART_FEATURE] = false;
        heads.loss.proposal_trains_features = false;
        plan->phases[plan->n_phases++] = heads;
        phase.first_epoch = settings->heads_only_epochs;
        if (is_all)
            return;
    }
    plan->phases[plan->n_phases++] = phase;
}

enum ebm_status method_energy_phases(const struct ebm_net_desc *net, const struct method_settings *settings,
                                     struct ebm_loss_spec loss, struct method_plan *plan, struct ebm_error *reterr)
{
    bool has_proposal = net->K > 0;
    uint32_t warmup = has_proposal ? settings->warmup_epochs : 0;
    if (warmup >= settings->epochs)
        return ebm_error_set(reterr, EBM_INVALID, "training.warmup_epochs",
                             "%u of %u epochs: none is left to train the energy net", warmup, settings->epochs);
    loss.proposal_beside = has_proposal && !draws_from_proposal(loss.loss);
    loss.proposal_trains_features = has_proposal && net->trains_features;
    if (has_proposal)
        loss.samples = settings->samples;
    if (warmup > 0)
        method_add_phase(plan, settings,
                         (struct method_phase){
                             .word = "warm-up",
                             .loss = {.loss = EBM_LOSS_MDN_NLL, .proposal_trains_features = false},
                             .trains = {[EBM_PART_PROPOSAL] = true},
                         });
    method_add_phase(plan, settings,
                     (struct method_phase){
                         .word = "",
                         .first_epoch = warmup,
                         .loss = loss,
                         .trains = {true, true, true, has_proposal},
                     });
    return EBM_OK;
}
