/* test_losses.c - every training loss and its gradient in every parameter, beside a second implementation: plain
 * double, the formulas of docs/MATHEMATICS.md one after the other, gradients by differences. Both devices; networks
 * with and without kinks, residual layers, features of the proposal's own. Then what training does besides: chains, a
 * proposal beside, and what is refused. */
#include <stdio.h>

#include "tests/unit/plain_losses.h"

/* ---- side by side ---- */

static double device_loss(const struct ebm_device_ops *ops, const struct fixture *f, const struct ebm_loss_spec *spec,
                          float *ret_gradient)
{
    const struct ebm_ctx_limits limits = {.max_rows = B, .max_samples = M, .training = true};
    const struct ebm_train_rows rows = {
        .B = B, .h_x = f->x, .h_y = f->y, .h_samples = f->samples, .h_label_noise = f->moved};
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    struct ebm_error error;
    double losses[B], sum = 0.0;
    cr_assert_eq(ops->plan_new(f->net, f->params, 1, &plan, &error), EBM_OK);
    cr_assert_eq(ops->ctx_new(&limits, &ctx, &error), EBM_OK);
    cr_assert_eq(ops->ctx_prepare(ctx, plan, &error), EBM_OK);
    cr_assert_eq(ops->backward(ctx, plan, 0, spec, &rows, losses), EBM_OK, "loss %d", (int)spec->loss);
    cr_assert_eq(ops->reduce(plan, 1, (struct ebm_range){0, f->net->n_params}), EBM_OK);
    cr_assert_eq(ops->params_read(plan, EBM_TRAIN_GRADIENT, ret_gradient), EBM_OK);
    for (uint32_t b = 0; b < B; b++)
        sum += losses[b] / B;
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    return sum;
}

/* d loss / d parameter i by a difference of the fourth order. */
static double difference(const struct fixture *f, double *live, const double *still, size_t i, enum ebm_loss loss,
                         bool beside)
{
    const struct twin t = {f, live, still};
    const double side = 1e-4, at = live[i], factors[4] = {1.0, -8.0, 8.0, -1.0}, places[4] = {-2.0, -1.0, 1.0, 2.0};
    double sum = 0.0;
    for (int k = 0; k < 4; k++) {
        live[i] = at + places[k] * side;
        sum += factors[k] * whole_loss(&t, loss, beside);
    }
    live[i] = at;
    return sum / (12.0 * side);
}

static void compare(const struct fixture *f, enum ebm_loss loss, bool beside)
{
    size_t P = f->net->n_params;
    double *live = calloc(P, sizeof *live), *still = calloc(P, sizeof *still), *truth = calloc(P, sizeof *truth);
    float *gradient = calloc(P, sizeof *gradient);
    const struct ebm_device_ops *const devices[] = {ebm_device_cpu(), ebm_device_reference()};
    const struct twin t = {f, live, still};
    struct ebm_loss_spec spec = spec_of(f, loss, beside);
    double largest = 0.0;
    for (size_t i = 0; i < P; i++)
        live[i] = still[i] = (double)f->params[i];
    double value = whole_loss(&t, loss, beside);
    for (size_t i = 0; i < P; i++) {
        truth[i] = f->params[i] != 0.0f ? difference(f, live, still, i, loss, beside) : 0.0; /* 0: a gap */
        largest = fmax(largest, fabs(truth[i]));
    }
    for (size_t d = 0; d < EBM_COUNT_OF(devices); d++) {
        double got = device_loss(devices[d], f, &spec, gradient), worst = 0.0;
        cr_assert_float_eq(got, value, 2e-6 * fmax(1.0, fabs(value)), "%s, loss %d: %.9g, not %.9g", devices[d]->name,
                           (int)loss, got, value);
        for (size_t i = 0; i < P; i++) {
            worst = fmax(worst, fabs((double)gradient[i] - truth[i]));
            cr_assert_float_eq((double)gradient[i], truth[i], 2e-6 * fmax(largest, 0.1),
                               "%s, loss %d, parameter %zu of %zu: %.8g, not %.8g", devices[d]->name, (int)loss, i, P,
                               (double)gradient[i], truth[i]);
        }
        (void)printf("%-9s loss %2d: %zu parameters, largest gradient %.3g, worst error %.1e\n", devices[d]->name,
                     (int)loss, P, largest, worst);
    }
    free(live), free(still), free(truth), free(gradient);
}

Test(losses, gradients_of_smooth_networks)
{
    for (size_t i = 0; i < EBM_COUNT_OF(smooth); i++) {
        struct fixture *f = open_net(smooth[i], NULL, 1 + i % 2);
        for (int loss = 0; loss <= EBM_LOSS_MDN_KL_TEACHER; loss++)
            if (loss != EBM_LOSS_ML_EXACT) /* draws nothing: tests/unit/test_train_exact.c */
                compare(f, (enum ebm_loss)loss, false);
        close_net(f);
    }
}

Test(losses, gradients_of_networks_with_kinks)
{
    struct fixture *f = open_net(kinked, NULL, 2);
    for (int loss = 0; loss <= EBM_LOSS_MDN_KL_TEACHER; loss++)
        if (loss != EBM_LOSS_ML_EXACT && loss != EBM_LOSS_SM)
            compare(f, (enum ebm_loss)loss, false);
    close_net(f);
}

Test(losses, a_teacher_and_a_mixture_with_features_of_its_own)
{
    struct fixture *f = open_net(mixture_alone, teacher_nets, 2);
    cr_assert_eq(f->net->own_H, 4);
    const enum ebm_loss losses[] = {EBM_LOSS_MDN_KL_TEACHER, EBM_LOSS_MDN_NLL, EBM_LOSS_NCE_KL, EBM_LOSS_JOINT};
    for (size_t i = 0; i < EBM_COUNT_OF(losses); i++)
        compare(f, losses[i], false);
    close_net(f);
}

Test(losses, a_proposal_beside_adds_its_own_loss)
{
    static const enum ebm_loss losses[] = {EBM_LOSS_ML_IS, EBM_LOSS_KLD_IS,  EBM_LOSS_NCE, EBM_LOSS_NCE_PLUS,
                                           EBM_LOSS_SM,    EBM_LOSS_ML_MCMC, EBM_LOSS_DSM};
    struct fixture *f = open_net(smooth[1], NULL, 2);
    for (size_t i = 0; i < EBM_COUNT_OF(losses); i++)
        compare(f, losses[i], true);
    close_net(f);
}

/* ---- chains ---- */

enum { CHAINS = 300 };

/* The loss of rows whose chains are walked by the device; `first` of the batch alone when `alone`. */
static void walked(const struct fixture *f, const struct ebm_loss_spec *spec, uint32_t first, uint32_t n_rows,
                   double *ret_losses, float *ret_gradient)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    const struct ebm_ctx_limits limits = {.max_rows = B, .max_samples = CHAINS, .training = true};
    struct ebm_row rows_of[B];
    for (uint32_t b = 0; b < B; b++)
        rows_of[b] = (struct ebm_row){.seed = 8, .row_in_request = b, .samples = CHAINS};
    const struct ebm_train_rows rows = {
        .B = n_rows, .h_x = f->x + (size_t)first * X, .h_y = f->y + (size_t)first * f->net->D, .rows = rows_of + first};
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    struct ebm_error error;
    cr_assert_eq(ops->plan_new(f->net, f->params, 1, &plan, &error), EBM_OK);
    cr_assert_eq(ops->ctx_new(&limits, &ctx, &error), EBM_OK);
    cr_assert_eq(ops->ctx_prepare(ctx, plan, &error), EBM_OK);
    cr_assert_eq(ops->backward(ctx, plan, 0, spec, &rows, ret_losses), EBM_OK);
    cr_assert_eq(ops->reduce(plan, 1, (struct ebm_range){0, f->net->n_params}), EBM_OK);
    cr_assert_eq(ops->params_read(plan, EBM_TRAIN_GRADIENT, ret_gradient), EBM_OK);
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
}

/* With f = w y + c the chain is a sum: y + L a^2 / 2 w + a (eps_1 + ... + eps_L), and the loss w (mean y_L - y). */
Test(losses, a_chain_on_a_slope_is_a_sum)
{
    struct fixture *f = open_net(BEGIN "\"energy_net\": [{\"type\": \"linear\"}]}", NULL, 1);
    float *gradient = calloc(f->net->n_params, sizeof *gradient);
    struct ebm_loss_spec spec = spec_of(f, EBM_LOSS_ML_MCMC, false);
    double losses[B], w = (double)f->params[f->net->energy.layers[0].weight + X], a = (double)f->step[0];
    spec.samples = CHAINS;
    spec.langevin_steps = 5;
    walked(f, &spec, 0, B, losses, gradient);
    double slope = 0.0;
    for (uint32_t b = 0; b < B; b++) {
        double noise = 0.0;
        for (uint32_t m = 0; m < CHAINS; m++)
            for (uint32_t t = 0; t < spec.langevin_steps; t++) {
                uint32_t words[4];
                ebm_philox(ebm_seed_derive(8, t), b, m, EBM_STREAM_DRAWS, 0, words);
                noise += a * ebm_normal(words[1]) / CHAINS;
            }
        double expected = 5.0 * 0.5 * a * a * w + noise;
        cr_assert_float_eq(losses[b], w * expected, 1e-6, "row %u: %g, not %g", b, losses[b], w * expected);
        slope += expected / B;
    }
    cr_assert_float_eq((double)gradient[f->net->energy.layers[0].weight + X], slope, 1e-6);
    free(gradient);
    close_net(f);
}

Test(losses, a_chain_knows_neither_its_neighbours_nor_their_number)
{
    struct fixture *f = open_net(smooth[0], NULL, 2);
    float *gradient = calloc(f->net->n_params, sizeof *gradient);
    struct ebm_loss_spec spec = spec_of(f, EBM_LOSS_ML_MCMC, false);
    double both[B], one[B], again[B];
    spec.samples = CHAINS;
    walked(f, &spec, 0, B, both, gradient);
    walked(f, &spec, 0, B, again, gradient);
    cr_assert_arr_eq(both, again, sizeof both);
    for (uint32_t b = 0; b < B; b++) {
        walked(f, &spec, b, 1, one, gradient);
        cr_assert_eq(one[0], both[b], "row %u: %.17g, not %.17g", b, one[0], both[b]);
    }
    free(gradient);
    close_net(f);
}

/* ---- refusals ---- */

Test(losses, a_spec_without_what_its_loss_reads_is_refused)
{
    struct fixture *all = open_net(smooth[0], NULL, 2), *kinks = open_net(kinked, NULL, 2);
    struct fixture *plain = open_net(BEGIN "\"energy_net\": [{\"type\": \"linear\"}]}", NULL, 2);
    const struct {
        const struct fixture *f;
        enum ebm_loss loss;
        int missing; /* 0: nothing; what else: see below */
    } cases[] = {
        {all, EBM_LOSS_NCE, 1},       {all, EBM_LOSS_NCE, 2},     {all, EBM_LOSS_KLD_IS, 3},
        {all, EBM_LOSS_NCE_PLUS, 4},  {all, EBM_LOSS_ML_MCMC, 5}, {all, EBM_LOSS_ML_MCMC, 6},
        {all, EBM_LOSS_DSM, 7},       {all, EBM_LOSS_NCE, 8},     {all, EBM_LOSS_NCE_KL, 9},
        {plain, EBM_LOSS_NCE, 9},     {plain, EBM_LOSS_JOINT, 0}, {kinks, EBM_LOSS_SM, 0},
        {plain, EBM_LOSS_MDN_NLL, 0}, {all, EBM_LOSS_SM, 10},
    };
    const struct ebm_device_ops *ops = ebm_device_cpu();
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        const struct fixture *f = cases[i].f;
        const struct ebm_ctx_limits limits = {.max_rows = B, .max_samples = M, .training = true};
        const struct ebm_train_rows rows = {
            .B = B, .h_x = f->x, .h_y = f->y, .h_samples = f->samples, .h_label_noise = f->moved};
        struct ebm_loss_spec spec = spec_of(f, cases[i].loss, cases[i].missing == 9 || cases[i].missing == 10);
        struct ebm_plan *plan = NULL;
        struct ebm_ctx *ctx = NULL;
        double losses[B];
        spec.sigmas = cases[i].missing == 1 ? NULL : spec.sigmas;
        spec.n_sigmas = cases[i].missing == 2 ? 0 : cases[i].missing == 7 ? 2 : spec.n_sigmas;
        spec.label_sigma = cases[i].missing == 3 ? NULL : spec.label_sigma;
        spec.beta = cases[i].missing == 4 ? 0.0 : spec.beta;
        spec.langevin_steps = cases[i].missing == 5 ? 0 : spec.langevin_steps;
        spec.langevin_step = cases[i].missing == 6 ? NULL : spec.langevin_step;
        spec.samples = cases[i].missing == 8 || cases[i].missing == 10 ? 0 : spec.samples;
        cr_assert_eq(ops->plan_new(f->net, f->params, 1, &plan, NULL), EBM_OK);
        cr_assert_eq(ops->ctx_new(&limits, &ctx, NULL), EBM_OK);
        cr_assert_eq(ops->ctx_prepare(ctx, plan, NULL), EBM_OK);
        cr_assert_eq(ops->backward(ctx, plan, 0, &spec, &rows, losses), EBM_INVALID, "case %zu", i);
        (void)ops->ctx_free(ctx);
        (void)ops->plan_unref(plan);
    }
    close_net(all), close_net(kinks), close_net(plain);
}

Test(losses, a_teacher_that_does_not_fit_is_refused)
{
    static const struct {
        const char *mixture, *nets, *where, *says;
    } cases[] = {
        {WHOLE("tanh"), teacher_nets, "training.method", "move model.energy_net"},
        {mixture_alone, "{}", "training.parameters.teacher", "energy_net"},
        {mixture_alone, "{ }", "training.parameters.teacher", "energy_net"},
        {mixture_alone, "{\"target_net\": []}", "training.parameters.teacher", ""},
        {mixture_alone, "{\"energy_nett\": []}", "training.parameters.teacher.energy_nett", "did you mean"},
        {mixture_alone, "{\"energy_net\": [{\"type\": \"linear\", \"out\": 3}]}",
         "training.parameters.teacher.energy_net[0].out", "3"},
        {mixture_alone, WHOLE("tanh"), "training.parameters.teacher", ""},
    };
    const struct ebm_config_defaults defaults = {.name = "t", .X = X, .D = 2};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_config *config = NULL;
        struct teacher teacher = {.config = NULL};
        struct ebm_error error;
        cr_assert_eq(ebm_config_parse(cases[i].mixture, strlen(cases[i].mixture), &defaults, &config, &error), EBM_OK);
        cr_assert_neq(teacher_make(config, cases[i].nets, &teacher, &error), EBM_OK, "case %zu", i);
        (void)printf("%s: %s\n", error.where, error.text);
        cr_assert(strncmp(error.where, cases[i].where, strlen(cases[i].where)) == 0, "case %zu: %s", i, error.where);
        cr_assert_not_null(strstr(error.text, cases[i].says), "case %zu: %s", i, error.text);
        teacher_done(&teacher);
        (void)ebm_config_free(config);
    }
}
