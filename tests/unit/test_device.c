/* test_device.c - the coarse table of the CPU and of the reference: the same numbers, gradients against differences, a
 * row's bytes in every place of a batch, log space at absurd scales, and what is refused. Networks are made by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"

#define MAX_LAYERS 20

/* A network with random weights: x (X) -> H, y (D) -> G, energy, K components. */
struct fixture {
    struct ebm_net_desc net;
    struct ebm_layer layers[MAX_LAYERS];
    uint32_t n_layers;
    float *params;
};

static void add_layer(struct fixture *f, struct ebm_net *net, uint32_t in, uint32_t out, enum ebm_activation act,
                      bool residual)
{
    struct ebm_layer *layer = &f->layers[f->n_layers++];
    cr_assert(f->n_layers <= MAX_LAYERS);
    layer->in = in;
    layer->out = out;
    layer->activation = act;
    layer->residual = residual;
    layer->weight = f->net.n_params;
    layer->bias = layer->weight + ebm_round_up((size_t)in * out, 16);
    f->net.n_params = layer->bias + ebm_round_up(out, 16);
    if (net->n_layers++ == 0)
        net->layers = layer;
}

static void end_part(struct fixture *f, enum ebm_part part, size_t first)
{
    f->net.part[part] = (struct ebm_range){first, f->net.n_params - first};
}

static void fill(struct fixture *f)
{
    f->params = ebm_alloc_aligned((f->net.n_params + 1) * sizeof(float));
    for (uint32_t i = 0; i < f->n_layers; i++) {
        const struct ebm_layer *layer = &f->layers[i];
        for (size_t j = 0; j < (size_t)layer->in * layer->out + layer->out; j++) {
            uint32_t words[4];
            ebm_philox(7, i, (uint32_t)j, EBM_STREAM_INIT, 0, words);
            size_t at = j < (size_t)layer->in * layer->out ? layer->weight + j
                                                           : layer->bias + j - (size_t)layer->in * layer->out;
            f->params[at] = (float)((2.0 * ebm_uniform(words[0]) - 1.0) / sqrt(layer->in));
        }
    }
}

static struct fixture *make(uint32_t X, uint32_t D, uint32_t K, uint32_t width, enum ebm_activation act,
                            bool has_target)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ebm_net_desc *net = &f->net;
    *net = (struct ebm_net_desc){.X = X, .D = D, .K = K, .H = width, .G = has_target ? width : D, .has_energy = true};
    add_layer(f, &net->feature, X, width, act, false);
    add_layer(f, &net->feature, width, width, act, true);
    end_part(f, EBM_PART_FEATURE, 0);
    size_t first = net->n_params;
    if (has_target) {
        add_layer(f, &net->target, D, width, act, false);
        add_layer(f, &net->target, width, width, act, true);
    }
    end_part(f, EBM_PART_TARGET, first);
    first = net->n_params;
    uint32_t joined = net->H + net->G;
    add_layer(f, &net->energy, joined, joined, act, true); /* residual over [h, g] */
    add_layer(f, &net->energy, joined, width, act, false);
    add_layer(f, &net->energy, width, 1, EBM_ACT_IDENTITY, false);
    end_part(f, EBM_PART_ENERGY, first);
    first = net->n_params;
    struct ebm_net *heads[] = {&net->mean, &net->log_variance, &net->weight};
    for (uint32_t i = 0; i < 3 && K > 0; i++) {
        add_layer(f, heads[i], width, width, act, false);
        add_layer(f, heads[i], width, i < 2 ? D * K : K, EBM_ACT_IDENTITY, false);
    }
    end_part(f, EBM_PART_PROPOSAL, first);
    fill(f);
    return f;
}

static void drop(struct fixture *f)
{
    free(f->params);
    free(f);
}

static float *numbers(size_t n, uint32_t stream)
{
    float *p = calloc(n + 1, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        uint32_t words[4];
        ebm_philox(43, (uint32_t)i, stream, 99, 0, words);
        p[i] = (float)ebm_normal(words[0]);
    }
    return p;
}

/* A device with one plan and one context. */
struct machine {
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
};

static struct machine start(const struct ebm_device_ops *ops, const struct fixture *f, uint32_t rows, uint32_t samples,
                            uint32_t slots)
{
    struct machine m = {.ops = ops};
    struct ebm_error error = {0};
    struct ebm_ctx_limits limits = {rows, samples, slots > 0};
    cr_assert_eq(ops->plan_new(&f->net, f->params, slots, &m.plan, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ops->ctx_new(&limits, &m.ctx, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ops->ctx_prepare(m.ctx, m.plan, &error), EBM_OK, "%s", error.text);
    return m;
}

static void stop(struct machine *m)
{
    m->ctx = m->ops->ctx_free(m->ctx);
    m->plan = m->ops->plan_unref(m->plan);
}

/* ---- predictions ---- */

enum { MOST_D = 3, QUANTILES = 3 };
struct answer {
    double mean[MOST_D], variance[MOST_D], mcse[MOST_D], quantiles[QUANTILES * MOST_D];
    struct ebm_estimate out;
};

static const double probabilities[QUANTILES] = {0.05, 0.5, 0.95};
static const struct ebm_estimate_spec by_importance = {EBM_ESTIMATE_IMPORTANCE, QUANTILES, probabilities};
static const struct ebm_estimate_spec by_mixture = {EBM_ESTIMATE_MIXTURE, QUANTILES, probabilities};

static void wire(struct answer *a)
{
    memset(a, 0, sizeof *a);
    a->out = (struct ebm_estimate){
        .mean = a->mean, .variance = a->variance, .mcse_mean = a->mcse, .quantiles = a->quantiles};
}

static struct ebm_task task_of(struct answer *a, uint32_t row, uint32_t samples, const struct ebm_estimate_spec *spec)
{
    wire(a);
    return (struct ebm_task){
        .row = {.seed = 5, .row_in_request = row, .samples = samples}, .spec = spec, .out = &a->out};
}

Test(device, cpu_predicts_what_the_reference_predicts)
{
    for (uint32_t D = 1; D <= 3; D++) {
        struct fixture *f = make(4, D, 4, 12, D == 2 ? EBM_ACT_SILU : EBM_ACT_RELU, D != 3);
        struct machine cpu = start(ebm_device_cpu(), f, 20, 500, 0), ref = start(ebm_device_reference(), f, 20, 500, 0);
        float *x = numbers(20 * 4, 1);
        struct answer a[20], b[20];
        struct ebm_task ta[20], tb[20];
        for (uint32_t i = 0; i < 20; i++) {
            const struct ebm_estimate_spec *spec = i % 4 == 3 ? &by_mixture : &by_importance;
            ta[i] = task_of(&a[i], i, 500, spec);
            tb[i] = task_of(&b[i], i, 500, spec);
        }
        cr_assert_eq(cpu.ops->predict(cpu.ctx, cpu.plan, x, ta, 20), EBM_OK);
        cr_assert_eq(ref.ops->predict(ref.ctx, ref.plan, x, tb, 20), EBM_OK);
        for (uint32_t i = 0; i < 20; i++) {
            cr_assert_eq(a[i].out.status, EBM_OK);
            cr_assert_float_eq(a[i].out.log_z, b[i].out.log_z, 1e-5, "D %u row %u", D, i);
            cr_assert_float_eq(a[i].out.ess, b[i].out.ess, 1e-3, "D %u row %u", D, i);
            for (uint32_t d = 0; d < D; d++) {
                cr_assert_float_eq(a[i].mean[d], b[i].mean[d], 2e-5, "D %u row %u: %g %g", D, i, a[i].mean[d],
                                   b[i].mean[d]);
                cr_assert_float_eq(a[i].variance[d], b[i].variance[d], 5e-5);
                cr_assert_float_eq(a[i].quantiles[D + d], b[i].quantiles[D + d], 0.05);
            }
        }
        free(x), stop(&cpu), stop(&ref), drop(f);
    }
}

Test(device, a_row_has_the_same_bytes_in_every_place_of_a_batch)
{
    enum { B = 64, WIDTH = 150 };
    struct fixture *f = make(6, 2, 4, WIDTH, EBM_ACT_RELU, true);
    struct machine m = start(ebm_device_cpu(), f, B, 300, 0);
    float *probe = numbers(6, 1), *x = numbers(B * 6, 2);
    struct answer alone, a[B];
    struct ebm_task one = task_of(&alone, 9, 300, &by_importance), many[B];
    cr_assert_eq(m.ops->predict(m.ctx, m.plan, probe, &one, 1), EBM_OK);
    for (uint32_t place = 0; place < B; place++) {
        float *batch = malloc(B * 6 * sizeof *batch);
        memcpy(batch, x, B * 6 * sizeof *batch);
        memcpy(batch + place * 6, probe, 6 * sizeof *batch);
        for (uint32_t b = 0; b < B; b++)
            many[b] = task_of(&a[b], b == place ? 9 : 100 + b, b == place ? 300 : 16, &by_importance);
        cr_assert_eq(m.ops->predict(m.ctx, m.plan, batch, many, B), EBM_OK);
        cr_assert_eq(memcmp(alone.mean, a[place].mean, sizeof alone.mean), 0, "mean moved at place %u", place);
        cr_assert_eq(memcmp(alone.quantiles, a[place].quantiles, sizeof alone.quantiles), 0, "place %u", place);
        cr_assert_eq(memcmp(&alone.out.log_z, &a[place].out.log_z, sizeof(double)), 0, "log Z moved at place %u",
                     place);
        free(batch);
    }
    free(probe), free(x), stop(&m), drop(f);
}

static bool never(const void *who)
{
    (*(int *)(uintptr_t)who)++;
    return false;
}

Test(device, a_row_that_nobody_wants_is_left_and_the_others_are_answered)
{
    struct fixture *f = make(1, 1, 4, 8, EBM_ACT_RELU, true);
    struct machine m = start(ebm_device_cpu(), f, 2, 1000, 0);
    float x[2] = {0.1f, 0.2f};
    int asked = 0;
    struct answer a[2];
    struct ebm_task tasks[2] = {task_of(&a[0], 0, 1000, &by_importance), task_of(&a[1], 1, 1000, &by_importance)};
    tasks[0].wanted = never;
    tasks[0].who = &asked;
    cr_assert_eq(m.ops->predict(m.ctx, m.plan, x, tasks, 2), EBM_OK);
    cr_assert_eq(a[0].out.status, EBM_CANCELLED);
    cr_assert_eq(asked, 1);
    cr_assert_eq(a[1].out.status, EBM_OK);
    stop(&m), drop(f);
}

Test(device, numbers_that_are_not_finite_are_an_invalid_row_not_a_wrong_answer)
{
    struct fixture *f = make(1, 1, 4, 8, EBM_ACT_RELU, true);
    struct machine m = start(ebm_device_cpu(), f, 3, 100, 0);
    float x[3] = {1e38f, NAN, 0.5f};
    struct answer a[3];
    struct ebm_task tasks[3];
    for (uint32_t i = 0; i < 3; i++)
        tasks[i] = task_of(&a[i], i, 100, &by_importance);
    cr_assert_eq(m.ops->predict(m.ctx, m.plan, x, tasks, 3), EBM_OK);
    cr_assert_eq(a[0].out.status, EBM_INVALID);
    cr_assert(isnan(a[0].mean[0]) && isnan(a[0].out.log_z) && isnan(a[0].quantiles[2]));
    cr_assert_eq(a[1].out.status, EBM_INVALID);
    cr_assert_eq(a[2].out.status, EBM_OK);
    stop(&m), drop(f);
}

/* One component of the proposal as narrow as exp(-150): its standard deviation is 0 in float, its inverse infinite. */
Test(device, a_collapsed_component_is_an_invalid_row_not_a_confident_one)
{
    struct fixture *f = make(1, 1, 4, 8, EBM_ACT_RELU, true);
    const struct ebm_layer *last = &f->net.log_variance.layers[f->net.log_variance.n_layers - 1];
    f->params[last->bias + 2] = -300.0f;
    struct machine m = start(ebm_device_cpu(), f, 1, 100, 0), ref = start(ebm_device_reference(), f, 1, 100, 0);
    const struct machine *both[] = {&m, &ref};
    const struct ebm_estimate_spec *specs[] = {&by_importance, &by_mixture};
    float x = 0.5f;
    for (int i = 0; i < 4; i++) {
        struct answer a;
        struct ebm_task task = task_of(&a, 0, 100, specs[i / 2]);
        cr_assert_eq(both[i % 2]->ops->predict(both[i % 2]->ctx, both[i % 2]->plan, &x, &task, 1), EBM_OK);
        cr_assert_eq(a.out.status, EBM_INVALID, "case %d: mean %g", i, a.mean[0]);
        cr_assert(isnan(a.mean[0]) && isnan(a.out.ess));
    }
    stop(&m), stop(&ref), drop(f);
}

Test(device, sample_m_does_not_depend_on_how_many_are_drawn)
{
    struct fixture *f = make(2, 2, 4, 8, EBM_ACT_RELU, true);
    struct machine m = start(ebm_device_cpu(), f, 1, 1000, 0);
    float x[2] = {0.3f, -0.4f}, few[2 * 37], many[2 * 1000], f_few[37], f_many[1000], part[2 * 200];
    struct ebm_row row = {.seed = 3, .row_in_request = 4, .samples = 37};
    cr_assert_eq(m.ops->features(m.ctx, m.plan, x, 1), EBM_OK);
    cr_assert_eq(m.ops->propose(m.ctx, 0, &row, NULL), EBM_OK);
    cr_assert_eq(m.ops->score(m.ctx, false), EBM_OK);
    (void)m.ops->fetch(m.ctx, EBM_FETCH_TARGETS, 0, few);
    (void)m.ops->fetch(m.ctx, EBM_FETCH_F, 0, f_few);
    row.samples = 1000;
    cr_assert_eq(m.ops->propose(m.ctx, 0, &row, NULL), EBM_OK);
    cr_assert_eq(m.ops->score(m.ctx, false), EBM_OK);
    (void)m.ops->fetch(m.ctx, EBM_FETCH_TARGETS, 0, many);
    (void)m.ops->fetch(m.ctx, EBM_FETCH_F, 0, f_many);
    cr_assert_eq(memcmp(few, many, sizeof few), 0);
    cr_assert_eq(memcmp(f_few, f_many, sizeof f_few), 0);
    row.first_sample = 800;
    row.samples = 200;
    cr_assert_eq(m.ops->propose(m.ctx, 0, &row, NULL), EBM_OK);
    (void)m.ops->fetch(m.ctx, EBM_FETCH_TARGETS, 0, part);
    cr_assert_eq(memcmp(part, many + 2 * 800, sizeof part), 0);
    stop(&m), drop(f);
}

/* ---- log space ---- */

/* Weighted mean, log Z and ess of the fetched f and log q, in long double. */
static void long_double_truth(const float *y, const float *f, const float *log_q, uint32_t M, long double *ret_mean,
                              long double *ret_log_z, long double *ret_ess)
{
    long double max = -INFINITY, sum = 0.0L, first = 0.0L, squares = 0.0L;
    for (uint32_t m = 0; m < M; m++)
        max = fmaxl(max, (long double)f[m] - (long double)log_q[m]);
    for (uint32_t m = 0; m < M; m++) {
        long double w = expl((long double)f[m] - (long double)log_q[m] - max);
        sum += w;
        first += w * (long double)y[m];
        squares += w * w;
    }
    *ret_mean = first / sum;
    *ret_log_z = max + logl(sum) - logl((long double)M);
    *ret_ess = sum * sum / squares;
}

/* The energy head's last layer times 1000, targets 50 standard deviations out. */
static struct fixture *make_absurd(uint32_t D)
{
    struct fixture *f = make(3, D, 4, 16, EBM_ACT_RELU, true);
    const struct ebm_layer *last = &f->net.energy.layers[f->net.energy.n_layers - 1];
    for (size_t i = 0; i < last->in; i++)
        f->params[last->weight + i] *= 1000.0f;
    f->params[last->bias] *= 1000.0f;
    return f;
}

Test(device, log_space_holds_at_energies_of_thousands_and_fifty_standard_deviations)
{
    enum { M = 256 };
    for (uint32_t D = 1; D <= 3; D++) {
        struct fixture *f = make_absurd(D);
        struct machine m = start(ebm_device_cpu(), f, 1, M, 0), ref = start(ebm_device_reference(), f, 1, M, 0);
        float *x = numbers(3, 1), *y = numbers((size_t)M * D, 2), got_f[M], ref_f[M], log_q[M], ref_q[M];
        struct ebm_row row = {.samples = M};
        struct answer a;
        long double mean, log_z, ess, magnitude = 0.0L;
        for (size_t i = 0; i < (size_t)M * D; i++)
            y[i] += y[i] < 0.0f ? -50.0f : 50.0f;
        wire(&a);
        struct machine *both[] = {&m, &ref};
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(both[i]->ops->features(both[i]->ctx, both[i]->plan, x, 1), EBM_OK);
            cr_assert_eq(both[i]->ops->propose(both[i]->ctx, 0, &row, y), EBM_OK);
            cr_assert_eq(both[i]->ops->score(both[i]->ctx, false), EBM_OK);
            (void)both[i]->ops->fetch(both[i]->ctx, EBM_FETCH_F, 0, i == 0 ? got_f : ref_f);
            (void)both[i]->ops->fetch(both[i]->ctx, EBM_FETCH_LOG_Q, 0, i == 0 ? log_q : ref_q);
        }
        for (uint32_t i = 0; i < M; i++)
            magnitude = fmaxl(magnitude, fabsl((long double)ref_f[i]));
        cr_assert(magnitude > 300.0L, "energies of only %Lg", magnitude);
        for (uint32_t i = 0; i < M; i++) {
            cr_assert_float_eq(got_f[i], ref_f[i], (float)(1e-5L * magnitude), "f %g, not %g", (double)got_f[i],
                               (double)ref_f[i]);
            cr_assert_float_eq(log_q[i], ref_q[i], 1e-5f * fabsf(ref_q[i]), "log q %g, not %g", (double)log_q[i],
                               (double)ref_q[i]);
        }
        cr_assert_eq(m.ops->estimate(m.ctx, &by_importance, &a.out), EBM_OK);
        long_double_truth(y, got_f, log_q, M, &mean, &log_z, &ess);
        if (D == 1)
            cr_assert_float_eq(a.mean[0], (double)mean, 1e-4 * fabs((double)mean), "%g, not %Lg", a.mean[0], mean);
        cr_assert_float_eq(a.out.log_z, (double)log_z, 1e-6 * fabs((double)log_z), "%g, not %Lg", a.out.log_z, log_z);
        cr_assert_float_eq(a.out.ess, (double)ess, 1e-2 * (double)ess, "%g, not %Lg", a.out.ess, ess);
        free(x), free(y), stop(&m), stop(&ref), drop(f);
    }
}

/* ---- training ---- */

static const float sigmas[6] = {0.5f, 0.7f, 0.6f, 1.2f, 1.1f, 1.3f};
static const float label_sigma[3] = {0.4f, 0.4f, 0.5f}, dsm_sigma[3] = {0.9f, 1.1f, 0.8f};
static const float langevin_step[3] = {0.05f, 0.1f, 0.07f};

static struct ebm_loss_spec spec_of(enum ebm_loss loss, uint32_t M, uint32_t B)
{
    return (struct ebm_loss_spec){.loss = loss,
                                  .samples = M,
                                  .n_sigmas = loss == EBM_LOSS_DSM ? 1 : 2,
                                  .sigmas = loss == EBM_LOSS_DSM ? dsm_sigma : sigmas,
                                  .label_sigma = label_sigma,
                                  .beta = 0.5,
                                  .langevin_steps = 4,
                                  .langevin_step = langevin_step,
                                  .scale = 1.0 / B,
                                  .proposal_trains_features = true};
}

static double batch_loss(struct machine *m, const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows)
{
    double losses[8], sum = 0.0;
    cr_assert_eq(m->ops->backward(m->ctx, m->plan, 0, spec, rows, losses), EBM_OK);
    for (uint32_t b = 0; b < rows->B; b++)
        sum += losses[b];
    return sum * spec->scale;
}

static bool in_range(struct ebm_range r, size_t i)
{
    return i >= r.first && i < r.first + r.count;
}

/* Some losses are no function whose gradient they give: the energy part of nce_kl stops the gradient into q and the
 * proposal part that into f. Then only the parameters of the part that the finite difference sees are compared. */
static bool is_comparable(const struct fixture *f, enum ebm_loss loss, size_t i)
{
    if (loss == EBM_LOSS_KL_PROPOSAL)
        return in_range(f->net.part[EBM_PART_PROPOSAL], i);
    if (loss == EBM_LOSS_NCE_KL || loss == EBM_LOSS_MDN_KL_TEACHER)
        return false;
    return true;
}

static void check_gradient(enum ebm_loss loss, enum ebm_activation act, uint32_t D)
{
    enum { B = 3, M = 20 };
    struct fixture *f = make(2, D, 3, 6, act, D != 2);
    struct machine m = start(ebm_device_reference(), f, B, M, 1), cpu = start(ebm_device_cpu(), f, B, M, 1);
    float *x = numbers(B * 2, 1), *y = numbers((size_t)B * D, 2), *samples = numbers((size_t)B * M * D, 3);
    float *moved = numbers((size_t)B * D, 4);
    struct ebm_loss_spec spec = spec_of(loss, M, B);
    struct ebm_train_rows rows = {.B = B, .h_x = x, .h_y = y, .h_samples = samples, .h_label_noise = moved};
    struct ebm_range all = {0, f->net.n_params};
    float *gradient = calloc(f->net.n_params, sizeof *gradient), *fast = calloc(f->net.n_params, sizeof *fast);
    float *params = calloc(f->net.n_params, sizeof *params);
    (void)batch_loss(&m, &spec, &rows);
    (void)m.ops->reduce(m.plan, 1, all);
    (void)m.ops->params_read(m.plan, EBM_TRAIN_GRADIENT, gradient);
    (void)batch_loss(&cpu, &spec, &rows);
    (void)cpu.ops->reduce(cpu.plan, 1, all);
    (void)cpu.ops->params_read(cpu.plan, EBM_TRAIN_GRADIENT, fast);
    double largest = 0.0;
    for (size_t i = 0; i < f->net.n_params; i++)
        largest = fmax(largest, fabs((double)gradient[i]));
    for (size_t i = 0; i < f->net.n_params; i++) {
        cr_assert_float_eq(fast[i], gradient[i], (float)(2e-5 * largest), "loss %d: cpu %g, reference %g", (int)loss,
                           (double)fast[i], (double)gradient[i]);
        if (i % 7 != 0 || !is_comparable(f, loss, i))
            continue;
        double side[2];
        const float h = 4e-3f;
        for (int s = 0; s < 2; s++) {
            memcpy(params, f->params, f->net.n_params * sizeof *params);
            params[i] += s == 0 ? -h : h;
            (void)m.ops->params_write(m.plan, EBM_TRAIN_PARAMS, params);
            side[s] = batch_loss(&m, &spec, &rows);
        }
        double difference = (side[1] - side[0]) / (2.0 * (double)h);
        cr_assert_float_eq(difference, (double)gradient[i], 5e-3 * fmax(largest, 0.1),
                           "loss %d parameter %zu: %g, not %g", loss, i, (double)gradient[i], difference);
    }
    free(x), free(y), free(samples), free(moved), free(gradient), free(fast), free(params);
    stop(&m), stop(&cpu), drop(f);
}

Test(device, gradients_agree_with_differences)
{
    for (int loss = EBM_LOSS_ML_IS; loss <= EBM_LOSS_MDN_KL_TEACHER; loss++) {
        check_gradient((enum ebm_loss)loss, EBM_ACT_TANH, 1);
        if (loss == EBM_LOSS_ML_EXACT) /* of scalar targets */
            continue;
        check_gradient((enum ebm_loss)loss, EBM_ACT_SOFTPLUS, 2);
        check_gradient((enum ebm_loss)loss, EBM_ACT_SILU, 3);
    }
}

Test(device, draws_in_training_are_those_of_prediction_and_steps_descend)
{
    enum { B = 8, M = 64 };
    struct fixture *f = make(2, 1, 3, 8, EBM_ACT_RELU, true);
    struct machine m = start(ebm_device_cpu(), f, B, M, 2);
    float *x = numbers(B * 2, 1), *y = numbers(B, 2);
    struct ebm_row rows_of[B];
    for (uint32_t b = 0; b < B; b++)
        rows_of[b] = (struct ebm_row){.seed = 1, .row_in_request = b, .samples = M};
    struct ebm_loss_spec spec = {.loss = EBM_LOSS_NCE_KL, .samples = M, .scale = 1.0 / B};
    struct ebm_train_rows rows = {.B = B, .h_x = x, .h_y = y, .rows = rows_of};
    struct ebm_adam adam = {1e-2, 0.9, 0.999, 1e-8, {0}};
    double first = batch_loss(&m, &spec, &rows), last = first;
    for (uint64_t t = 1; t <= 60; t++) {
        for (int part = 0; part < EBM_PARTS; part++)
            adam.step[part] = t;
        (void)m.ops->reduce(m.plan, 2, (struct ebm_range){0, f->net.n_params});
        (void)m.ops->update(m.plan, &adam, (struct ebm_range){0, f->net.n_params});
        last = batch_loss(&m, &spec, &rows);
    }
    cr_assert(last < first - 0.2, "the loss went from %g to %g", first, last);
    free(x), free(y), stop(&m), drop(f);
}

Test(device, what_a_network_cannot_do_is_refused)
{
    struct fixture *f = make(1, 1, 0, 8, EBM_ACT_RELU, true); /* no proposal */
    struct machine m = start(ebm_device_cpu(), f, 2, 100, 1);
    float x[2] = {0.1f, 0.2f};
    double loss[2];
    struct answer a;
    struct ebm_task task = task_of(&a, 0, 100, &by_importance);
    struct ebm_row row = {.samples = 100};
    struct ebm_loss_spec spec = {.loss = EBM_LOSS_NCE_KL, .samples = 100, .scale = 1.0};
    struct ebm_train_rows rows = {.B = 1, .h_x = x, .h_y = x, .rows = &row};
    struct ebm_ctx *ctx = NULL;
    struct ebm_ctx_limits none = {0, 100, false}, too_many = {1, LIMIT_SAMPLES + 1, false};
    cr_assert_eq(m.ops->predict(m.ctx, m.plan, x, &task, 1), EBM_INVALID);
    cr_assert_eq(m.ops->features(m.ctx, m.plan, x, 1), EBM_OK);
    cr_assert_eq(m.ops->propose(m.ctx, 0, &row, NULL), EBM_INVALID);
    cr_assert_eq(m.ops->backward(m.ctx, m.plan, 0, &spec, &rows, loss), EBM_INVALID);
    spec.loss = EBM_LOSS_NCE; /* fixed noise without sigmas */
    cr_assert_eq(m.ops->backward(m.ctx, m.plan, 0, &spec, &rows, loss), EBM_INVALID);
    cr_assert_eq(m.ops->ctx_new(&none, &ctx, NULL), EBM_INVALID);
    cr_assert_eq(m.ops->ctx_new(&too_many, &ctx, NULL), EBM_INVALID);
    stop(&m), drop(f);
}
