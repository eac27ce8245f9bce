/* test_method.c - which loss trains which parts when, what parameters become, and what is refused with which words. */
#include <criterion/criterion.h>
#include <string.h>

#include "trainer/method.h"
#include "trainer/methods.h"

static enum ebm_status plan(const char *name, const struct ebm_net_desc *net, const struct method_settings *settings,
                            struct method_plan *ret_plan, struct ebm_error *error)
{
    const struct method *method = NULL;
    enum ebm_status status = method_find(name, &method, error);
    return status == EBM_OK ? method_lay(method, net, settings, ret_plan, error) : status;
}

static const struct ebm_layer smooth_layer = {.in = 1, .out = 1, .activation = EBM_ACT_SOFTPLUS};
static const struct ebm_layer relu_layers[2] = {{.in = 1, .out = 1, .activation = EBM_ACT_TANH},
                                                {.in = 1, .out = 1, .activation = EBM_ACT_RELU}};
static const struct ebm_net_desc both = {.X = 1, .D = 1, .H = 1, .G = 1, .K = 4, .has_energy = true};
static const struct ebm_net_desc mixture = {.X = 1, .D = 1, .H = 1, .G = 1, .K = 4};
static const struct ebm_net_desc energy = {
    .X = 1, .D = 1, .H = 1, .G = 1, .has_energy = true, .energy = {.n_layers = 1, .layers = &smooth_layer}};
static const struct ebm_net_desc energy_2d = {.X = 1, .D = 2, .H = 1, .G = 2, .has_energy = true};
static const struct ebm_net_desc kinked = {
    .X = 1, .D = 1, .H = 1, .G = 1, .has_energy = true, .energy = {.n_layers = 2, .layers = relu_layers}};
static const struct ebm_support circle = {EBM_SUPPORT_PERIODIC, -1.0, 1.0};
static const struct ebm_net_desc round_target = {
    .X = 1, .D = 1, .H = 1, .G = 1, .has_energy = true, .support = &circle};

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
    cr_assert_not(second->loss.proposal_beside, "the loss trains the proposal itself");
    for (int part = 0; part < EBM_PARTS; part++)
        cr_assert(second->trains[part], "part %d", part);
    cr_assert_eq(method_phase_at(&p, 1000000), second);
    method_plan_done(&p);
}

Test(method, nce_kl_without_warm_up_has_one_phase)
{
    struct method_plan p;
    struct ebm_error error;
    const struct method_settings settings = {.epochs = 10, .samples = 64};
    cr_assert_eq(plan("nce_kl", &both, &settings, &p, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(p.n_phases, 1);
    cr_assert_eq(method_phase_at(&p, 0)->loss.loss, EBM_LOSS_NCE_KL);
    method_plan_done(&p);
}

Test(method, heads_may_learn_alone_at_first)
{
    struct method_plan p;
    struct ebm_error error;
    struct method_settings settings = {.epochs = 10, .warmup_epochs = 1, .samples = 64, .heads_only_epochs = 4};
    cr_assert_eq(plan("nce_kl", &both, &settings, &p, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(p.n_phases, 3);
    cr_assert_eq(p.phases[1].first_epoch, 1);
    cr_assert_eq(p.phases[2].first_epoch, 4);
    cr_assert_eq(p.phases[1].loss.loss, EBM_LOSS_NCE_KL);
    cr_assert_not(p.phases[1].trains[EBM_PART_FEATURE]);
    cr_assert(p.phases[1].trains[EBM_PART_ENERGY] && p.phases[1].trains[EBM_PART_PROPOSAL]);
    cr_assert(p.phases[2].trains[EBM_PART_FEATURE]);
    method_plan_done(&p);
    settings.warmup_epochs = 5;
    cr_assert_eq(plan("nce_kl", &both, &settings, &p, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(p.n_phases, 2, "the warm-up trains heads alone anyway");
    method_plan_done(&p);
    cr_assert_eq(plan("mdn_nll", &mixture, &settings, &p, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(p.n_phases, 2);
    cr_assert_not(p.phases[0].loss.proposal_trains_features);
    cr_assert(p.phases[1].loss.proposal_trains_features);
    method_plan_done(&p);
    settings.heads_only_epochs = 11;
    cr_assert_eq(plan("nce_kl", &both, &settings, &p, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "training.heads_only_epochs");
}

Test(method, heads_may_learn_alone_in_all_epochs)
{
    struct method_plan p;
    struct ebm_error error;
    const struct method_settings settings = {.epochs = 10, .warmup_epochs = 1, .samples = 64, .heads_only_epochs = 10};
    cr_assert_eq(plan("nce_kl", &both, &settings, &p, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(p.n_phases, 2);
    cr_assert_not(p.phases[1].trains[EBM_PART_FEATURE]);
    cr_assert_str_eq(p.phases[1].word, "", "the method's own phase, of which the best epoch is kept");
    method_plan_done(&p);
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
    method_plan_done(&p);
}

/* The energy alone has one phase and no warm-up; with a proposal that one warms up, and learns beside. */
Test(method, a_proposal_learns_beside_fixed_noise)
{
    static const struct {
        const char *name;
        enum ebm_loss loss;
    } cases[] = {{"ml_is", EBM_LOSS_ML_IS},       {"kld_is", EBM_LOSS_KLD_IS}, {"nce", EBM_LOSS_NCE},
                 {"nce_plus", EBM_LOSS_NCE_PLUS}, {"sm", EBM_LOSS_SM},         {"dsm", EBM_LOSS_DSM},
                 {"ml_mcmc", EBM_LOSS_ML_MCMC}};
    const struct method_settings settings = {.epochs = 10, .warmup_epochs = 2, .samples = 32};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct method_plan p;
        struct ebm_error error;
        cr_assert_eq(plan(cases[i].name, &energy, &settings, &p, &error), EBM_OK, "%s", error.text);
        cr_assert_eq(p.n_phases, 1, "%s", cases[i].name);
        cr_assert_eq(p.phases[0].loss.loss, cases[i].loss);
        cr_assert_not(p.phases[0].loss.proposal_beside);
        cr_assert_not(p.phases[0].trains[EBM_PART_PROPOSAL]);
        cr_assert_eq(p.phases[0].loss.samples, cases[i].loss == EBM_LOSS_SM ? 0 : 32);
        method_plan_done(&p);
        cr_assert_eq(plan(cases[i].name, &both, &settings, &p, &error), EBM_OK, "%s", error.text);
        cr_assert_eq(p.n_phases, 2, "%s", cases[i].name);
        cr_assert_eq(p.phases[0].loss.loss, EBM_LOSS_MDN_NLL);
        cr_assert_eq(p.phases[1].first_epoch, 2);
        cr_assert(p.phases[1].loss.proposal_beside, "%s", cases[i].name);
        cr_assert(p.phases[1].trains[EBM_PART_PROPOSAL]);
        cr_assert_eq(p.phases[1].loss.samples, 32, "the proposal draws, whatever the loss does");
        method_plan_done(&p);
    }
}

/* ---- parameters ---- */

static struct method_value value_of(char *name, double *numbers, uint32_t dims, uint32_t rows, uint32_t columns)
{
    return (struct method_value){.name = name, .dims = dims, .rows = rows, .columns = columns, .numbers = numbers};
}

Test(method, what_is_left_out_is_published)
{
    static const struct {
        const char *name;
        double first, second;
    } cases[] = {{"ml_is", 0.2, 1.6}, {"kld_is", 0.2, 1.6}, {"nce", 0.1, 0.8}, {"nce_plus", 0.1, 0.8}};
    static const double std[] = {0.5};
    const struct method_settings settings = {.epochs = 1, .samples = 1, .target_std = std};
    struct method_plan p;
    struct ebm_error error;
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        cr_assert_eq(plan(cases[i].name, &energy, &settings, &p, &error), EBM_OK, "%s", error.text);
        const struct ebm_loss_spec *loss = &p.phases[0].loss;
        cr_assert_eq(loss->n_sigmas, 2);
        cr_assert_float_eq((double)loss->sigmas[0], cases[i].first / 0.5, 1e-7, "%s", cases[i].name);
        cr_assert_float_eq((double)loss->sigmas[1], cases[i].second / 0.5, 1e-6, "%s", cases[i].name);
        method_plan_done(&p);
    }
    cr_assert_eq(plan("kld_is", &energy, &settings, &p, &error), EBM_OK);
    cr_assert_float_eq((double)p.phases[0].loss.label_sigma[0], 0.05, 1e-8);
    method_plan_done(&p);
    cr_assert_eq(plan("nce_plus", &energy, &settings, &p, &error), EBM_OK);
    cr_assert_eq(p.phases[0].loss.beta, 0.025, "a factor has no unit");
    method_plan_done(&p);
    cr_assert_eq(plan("dsm", &energy, &settings, &p, &error), EBM_OK);
    cr_assert_float_eq((double)p.phases[0].loss.sigmas[0], 0.4, 1e-7);
    method_plan_done(&p);
    cr_assert_eq(plan("ml_mcmc", &energy, &settings, &p, &error), EBM_OK);
    cr_assert_eq(p.phases[0].loss.langevin_steps, 16);
    cr_assert_float_eq((double)p.phases[0].loss.langevin_step[0], 0.1, 1e-8);
    method_plan_done(&p);
}

Test(method, widths_are_of_components_and_targets)
{
    char name[] = "sigmas", width[] = "sigma";
    double list[] = {1.0, 2.0, 4.0}, table[] = {1.0, 2.0, 3.0, 4.0}, each[] = {3.0, 5.0};
    static const double std[] = {2.0, 10.0};
    struct method_value value = value_of(name, list, 1, 3, 1);
    struct method_settings settings = {.epochs = 1, .samples = 1, .values = &value, .n_values = 1, .target_std = std};
    struct method_plan p;
    struct ebm_error error;
    cr_assert_eq(plan("nce", &energy_2d, &settings, &p, &error), EBM_OK, "%s", error.text);
    const struct ebm_loss_spec *loss = &p.phases[0].loss;
    cr_assert_eq(loss->n_sigmas, 3);
    for (int k = 0; k < 3; k++) {
        cr_assert_float_eq((double)loss->sigmas[2 * k], list[k] / 2.0, 1e-6);
        cr_assert_float_eq((double)loss->sigmas[2 * k + 1], list[k] / 10.0, 1e-6);
    }
    method_plan_done(&p);
    value = value_of(name, table, 2, 2, 2);
    cr_assert_eq(plan("nce", &energy_2d, &settings, &p, &error), EBM_OK, "%s", error.text);
    loss = &p.phases[0].loss;
    cr_assert_eq(loss->n_sigmas, 2);
    for (int i = 0; i < 4; i++)
        cr_assert_float_eq((double)loss->sigmas[i], table[i] / std[i % 2], 1e-6);
    method_plan_done(&p);
    value = value_of(width, each, 1, 2, 1);
    cr_assert_eq(plan("dsm", &energy_2d, &settings, &p, &error), EBM_OK, "%s", error.text);
    loss = &p.phases[0].loss;
    cr_assert_eq(loss->n_sigmas, 1);
    cr_assert_float_eq((double)loss->sigmas[0], 1.5, 1e-6);
    cr_assert_float_eq((double)loss->sigmas[1], 0.5, 1e-6);
    method_plan_done(&p);
}

Test(method, refusals_say_why)
{
    static double one[] = {1.0}, zero[] = {0.0}, half[] = {1.5}, wide[] = {9.0}, three[] = {1.0, 1.0, 1.0};
    static double many[METHOD_SIGMAS + 1];
    static char beta[] = "beta", sigma[] = "sigma", sigmas[] = "sigmas", label[] = "label_sigma";
    static char steps[] = "langevin_steps", teacher[] = "teacher";
    static const double far[] = {113.0};
    for (size_t i = 0; i < EBM_COUNT_OF(many); i++)
        many[i] = 1.0;
    const struct {
        const char *name;
        const struct ebm_net_desc *net;
        struct method_value value;
        const char *where, *says;
    } cases[] = {
        {"nce_kl", &mixture, {.name = NULL}, "training.method", "model.energy_net is missing"},
        {"nce_kl", &energy, {.name = NULL}, "training.method", "model.proposal is missing"},
        {"joint", &energy, {.name = NULL}, "training.method", "or use nce"},
        {"nce", &mixture, {.name = NULL}, "training.method", "model.energy_net is missing"},
        {"sm", &mixture, {.name = NULL}, "training.method", "model.energy_net is missing"},
        {"mdn_nll", &energy, {.name = NULL}, "training.method", "model.proposal is missing"},
        {"mdn_nll", &both, {.name = NULL}, "training.method", "does not train an energy net"},
        {"sm", &kinked, {.name = NULL}, "training.method", "relu in model.energy_net[1] has none but 0: use tanh"},
        {"sm", &round_target, {.name = NULL}, "training.method", "bounds or a period"},
        {"dsm", &round_target, {.name = NULL}, "training.method", "moves targets without bounds"},
        {"ml_mcmc", &round_target, {.name = NULL}, "training.method", "walks without bounds"},
        {"nce_kl", &both, value_of(beta, one, 0, 1, 1), "training.parameters.beta", "nce_kl has none"},
        {"mdn_nll", &mixture, value_of(beta, one, 0, 1, 1), "training.parameters.beta", "mdn_nll has none"},
        {"nce", &energy, value_of(sigma, one, 0, 1, 1), "training.parameters.sigma", "did you mean 'sigmas'?"},
        {"kld_is", &energy, value_of(beta, one, 0, 1, 1), "training.parameters.beta", "kld_is has 'sigmas'"},
        {"nce", &energy, value_of(sigmas, one, 0, 1, 1), "training.parameters.sigmas", "expected a list"},
        {"nce", &energy, value_of(sigmas, zero, 1, 1, 1), "training.parameters.sigmas", "numbers from 1e-12"},
        {"nce", &energy, value_of(sigmas, many, 1, METHOD_SIGMAS + 1, 1), "training.parameters.sigmas", "at most 16"},
        {"nce", &energy, value_of(sigmas, three, 2, 1, 3), "training.parameters.sigmas", "3 numbers for the targets"},
        {"dsm", &energy, value_of(sigma, three, 1, 3, 1), "training.parameters.sigma", "and there are 1"},
        {"dsm", &energy, value_of(sigma, three, 2, 3, 1), "training.parameters.sigma", "expected a number, or a list"},
        {"nce_plus", &energy, value_of(beta, wide, 0, 1, 1), "training.parameters.beta", "to 1"},
        {"nce_plus", &energy, value_of(beta, three, 1, 3, 1), "training.parameters.beta", "expected a number"},
        {"kld_is", &energy, value_of(label, wide, 0, 1, 1), "training.parameters.label_sigma", "wider than every one"},
        {"ml_mcmc", &energy, value_of(steps, half, 0, 1, 1), "training.parameters.langevin_steps", "whole number"},
        {"ml_mcmc", &energy, value_of(steps, zero, 0, 1, 1), "training.parameters.langevin_steps", "from 1"},
        {"mdn_kl_teacher", &both, value_of(teacher, one, 0, 1, 1), "training.parameters.teacher", "object of networks"},
        {"ml_exact", &mixture, {.name = NULL}, "training.method", "model.energy_net is missing"},
        {"ml_exact", &energy_2d, {.name = NULL}, "training.method", "integrates over one target, and there are 2"},
        {"nce-kl", &both, {.name = NULL}, "training.method", "did you mean 'nce_kl'?"},
        {"zzzzzzzz", &both, {.name = NULL}, "training.method", "there are nce_kl, joint"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct method_plan p;
        struct ebm_error error;
        const struct method_settings settings = {
            .epochs = 1, .samples = 1, .values = &cases[i].value, .n_values = cases[i].value.name != NULL};
        cr_assert_eq(plan(cases[i].name, cases[i].net, &settings, &p, &error), EBM_INVALID, "case %zu", i);
        cr_assert_str_eq(error.where, cases[i].where, "case %zu: '%s'", i, error.where);
        cr_assert(strstr(error.text, cases[i].says) != NULL, "case %zu: '%s'", i, error.text);
    }
    struct method_plan p;
    struct ebm_error error;
    const struct method_settings all_warm_up = {.epochs = 3, .warmup_epochs = 3, .samples = 1};
    cr_assert_eq(plan("nce_kl", &both, &all_warm_up, &p, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "training.warmup_epochs");
    const struct method_settings wide_targets = {.epochs = 1, .samples = 1, .target_std = far};
    cr_assert_eq(plan("nce", &energy, &wide_targets, &p, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "[11, 90] to begin with") != NULL, "%s", error.text);
    cr_assert_eq(plan("dsm", &energy, &wide_targets, &p, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "23 to begin with") != NULL, "%s", error.text);
}

Test(method, every_method_and_parameter_is_told)
{
    const struct method *const *all;
    struct ebm_error error;
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    EBM_AUTO(ebm_buf_done) struct ebm_buf one;
    ebm_buf_init(&buf, 65536);
    ebm_buf_init(&one, 65536);
    size_t n = method_all(&all);
    cr_assert_eq(methods_text(NULL, &buf, &error), EBM_OK);
    for (size_t i = 0; i < n; i++) {
        cr_assert_not_null(strstr(buf.bytes, all[i]->summary), "%s", all[i]->name);
        for (uint32_t j = 0; j < all[i]->n_parameters; j++)
            cr_assert_not_null(strstr(buf.bytes, all[i]->parameters[j].help), "%s", all[i]->parameters[j].name);
    }
    cr_assert_eq(methods_text("nce_plus", &one, &error), EBM_OK);
    cr_assert_not_null(strstr(one.bytes, "sigmas [0.1, 0.8]"), "%s", one.bytes);
    cr_assert_not_null(strstr(one.bytes, "beta 0.025"), "%s", one.bytes);
    cr_assert_null(strstr(one.bytes, "ml_mcmc"), "%s", one.bytes);
    cr_assert_eq(methods_text("nceplus", &one, &error), EBM_INVALID);
}
