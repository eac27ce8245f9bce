/* test_method.c - which loss trains which parts when, and what is refused with which words. */
#include <criterion/criterion.h>
#include <string.h>

#include "trainer/method.h"

static enum ebm_status plan(const char *name, const struct ebm_net_desc *net, const struct method_settings *settings,
                            struct method_plan *ret_plan, struct ebm_error *error)
{
    const struct method *method = NULL;
    enum ebm_status status = method_find(name, &method, error);
    return status == EBM_OK ? method->plan(net, settings, ret_plan, error) : status;
}

static const struct ebm_net_desc both = {.X = 1, .D = 1, .H = 1, .G = 1, .K = 4, .has_energy = true};
static const struct ebm_net_desc mixture = {.X = 1, .D = 1, .H = 1, .G = 1, .K = 4};
static const struct ebm_net_desc energy = {.X = 1, .D = 1, .H = 1, .G = 1, .has_energy = true};

Test(method, nce_kl_warms_the_proposal_up_on_detached_features)
{
    struct method_plan p;
    struct ebm_error error;
    const struct method_settings settings = {.epochs = 10, .warmup_epochs = 2, .samples = 64};
    cr_assert_eq(plan("nce_kl", &both, &settings, &p, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(p.n_phases, 2);
    const struct method_phase *first = method_phase_at(&p, 1), *second = method_phase_at(&p, 2);
    cr_assert_eq(first, &p.phases[0]);
    cr_assert_eq(second, &p.phases[1]);
    cr_assert_eq(first->loss.loss, EBM_LOSS_MDN_NLL);
    cr_assert_not(first->loss.proposal_trains_features);
    cr_assert(first->trains[EBM_PART_PROPOSAL]);
    cr_assert_not(first->trains[EBM_PART_FEATURE]);
    cr_assert_not(first->trains[EBM_PART_ENERGY]);
    cr_assert_eq(second->loss.loss, EBM_LOSS_NCE_KL);
    cr_assert_eq(second->loss.samples, 64);
    for (int part = 0; part < EBM_PARTS; part++)
        cr_assert(second->trains[part], "part %d", part);
    cr_assert_eq(method_phase_at(&p, 1000000), second);
}

Test(method, nce_kl_without_warm_up_has_one_phase)
{
    struct method_plan p;
    struct ebm_error error;
    const struct method_settings settings = {.epochs = 10, .samples = 64};
    cr_assert_eq(plan("nce_kl", &both, &settings, &p, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(p.n_phases, 1);
    cr_assert_eq(method_phase_at(&p, 0)->loss.loss, EBM_LOSS_NCE_KL);
}

Test(method, mdn_nll_always_trains_the_features)
{
    struct method_plan p;
    struct ebm_error error;
    const struct method_settings settings = {.epochs = 10, .warmup_epochs = 1};
    cr_assert_eq(plan("mdn_nll", &mixture, &settings, &p, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(p.n_phases, 1);
    cr_assert(p.phases[0].loss.proposal_trains_features);
    cr_assert(p.phases[0].trains[EBM_PART_FEATURE]);
    cr_assert(p.phases[0].trains[EBM_PART_PROPOSAL]);
    cr_assert_not(p.phases[0].trains[EBM_PART_ENERGY]);
}

Test(method, refusals_say_why)
{
    char name[] = "beta";
    struct method_parameter parameter = {.name = name, .value = 1.0};
    const struct method_settings plain = {.epochs = 1, .samples = 1};
    const struct method_settings with_parameter = {
        .epochs = 1, .samples = 1, .parameters = &parameter, .n_parameters = 1};
    const struct method_settings all_warm_up = {.epochs = 3, .warmup_epochs = 3, .samples = 1};
    const struct {
        const char *name;
        const struct ebm_net_desc *net;
        const struct method_settings *settings;
        const char *where, *says;
    } cases[] = {
        {"nce_kl", &both, &all_warm_up, "training.warmup_epochs", "none is left"},
        {"nce_kl", &mixture, &plain, "training.method", "model.energy_net is missing"},
        {"nce_kl", &energy, &plain, "training.method", "model.proposal is missing"},
        {"mdn_nll", &energy, &plain, "training.method", "model.proposal is missing"},
        {"mdn_nll", &both, &plain, "training.method", "does not train an energy net"},
        {"nce_kl", &both, &with_parameter, "training.parameters", "unknown parameter 'beta'"},
        {"mdn_nll", &mixture, &with_parameter, "training.parameters", "unknown parameter 'beta'"},
        {"nce", &both, &plain, "training.method", "not available in this version"},
        {"ml_mcmc", &both, &plain, "training.method", "not available in this version"},
        {"nce-kl", &both, &plain, "training.method", "did you mean 'nce_kl'?"},
        {"zzzzzzzz", &both, &plain, "training.method", "there are nce_kl and mdn_nll"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct method_plan p;
        struct ebm_error error;
        cr_assert_eq(plan(cases[i].name, cases[i].net, cases[i].settings, &p, &error), EBM_INVALID, "case %zu", i);
        cr_assert_str_eq(error.where, cases[i].where, "case %zu: '%s'", i, error.where);
        cr_assert(strstr(error.text, cases[i].says) != NULL, "case %zu: '%s'", i, error.text);
    }
}
