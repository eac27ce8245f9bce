/* temperature.c - a search for one number: each try is the model with other parameters, scored on all rows.
 *
 *   T = 1 -> 2, 4, ... or 1/2, 1/4, ... as long as the NLL falls -> a bracket in log T -> golden section
 *
 * For an energy whose targets are known exactly, the NLL is convex in 1 / T (log Z is), so that this finds its only
 * minimum; for mixtures, bins and ensembles it finds the one downhill from where training ended. */
#include "trainer/temperature.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/options.h"

#define STEP 0.69314718055994531 /* of the first tries, in log T */
#define GOLDEN 0.61803398874989485
#define PRECISION 1e-3 /* of log T */

/* The layer whose output is f, or a mixture's log variances; NULL: none. */
static const struct ebm_layer *last_layer(const struct ebm_net *net)
{
    return net->n_layers > 0 ? &net->layers[net->n_layers - 1] : NULL;
}

static bool is_linear(const struct ebm_layer *layer)
{
    return layer != NULL && layer->activation == EBM_ACT_IDENTITY && !layer->residual;
}

enum ebm_status temperature_check(const struct ebm_net_desc *net, struct ebm_error *reterr)
{
    if (is_linear(last_layer(net->has_energy ? &net->energy : &net->log_variance)))
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, net->has_energy ? "model.energy_net" : "model.proposal.log_variance_net",
                         "its last layer has an activation or is residual: a temperature cannot be made part of it");
}

static void apply_to_member(const struct ebm_net_desc *net, double T, float *params)
{
    const struct ebm_layer *f = last_layer(&net->energy), *log_variance = last_layer(&net->log_variance);
    if (net->has_energy) {
        for (size_t i = 0; i < (size_t)f->in * f->out; i++)
            params[f->weight + i] = (float)((double)params[f->weight + i] / T);
        for (size_t i = 0; i < f->out; i++)
            params[f->bias + i] = (float)((double)params[f->bias + i] / T);
    }
    if (is_linear(log_variance))
        for (size_t i = 0; i < log_variance->out; i++)
            params[log_variance->bias + i] = (float)((double)params[log_variance->bias + i] + log(T));
}

void temperature_apply(const struct ebm_net_desc *net, double T, float *params)
{
    for (size_t first = 0; first < ebm_net_all_params(net); first += net->n_params)
        apply_to_member(net, T, params + first);
}

/* ---- the search ---- */

struct search {
    const struct ebm_model *model;
    const struct temperature_rows *rows;
    float *params; /* (all P) of the try */
    double *nll;   /* (n) */
};

static void search_done(struct search *search)
{
    free(search->params);
    free(search->nll);
}

static void copy_params(const struct ebm_model *model, double T, float *ret_params)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    memcpy(ret_params, ebm_model_params(model), ebm_net_all_params(net) * sizeof *ret_params);
    if (T != 1.0)
        temperature_apply(net, T, ret_params);
}

/* Mean NLL of the rows at exp(log_T); infinite when a row has no finite density there. */
static enum ebm_status try_one(struct search *s, double log_T, double *ret_nll, struct ebm_error *reterr)
{
    const struct temperature_rows *r = s->rows;
    const struct ebm_ctx_limits limits = {.max_rows = SCORE_ROWS,
                                          .max_samples = r->samples > SCORE_TARGETS ? r->samples : SCORE_TARGETS};
    struct score_spec spec = {.ops = r->ops,
                              .config = ebm_model_config(s->model),
                              .jitter = r->jitter,
                              .samples = r->samples,
                              .integrates_all = true,
                              .seed = r->seed};
    const struct score_rows out = {.nll = s->nll};
    EBM_AUTO(pool_freep) struct pool *pool = NULL;
    double error;
    copy_params(s->model, exp(log_T), s->params);
    enum ebm_status status = r->ops->plan_new(ebm_model_net(s->model), s->params, 0, &spec.plan, reterr);
    if (status != EBM_OK)
        return status;
    status = pool_new(r->ops, &limits, spec.plan, r->n_threads, &pool, reterr);
    if (status == EBM_OK && score_rows(pool, &spec, r->data, r->rows, r->n, &out) != EBM_OK)
        status = ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses to score the rows");
    pool = pool_free(pool);
    (void)r->ops->plan_unref(spec.plan);
    if (status != EBM_OK)
        return status;
    score_mean(s->nll, r->n, ret_nll, &error);
    if (!isfinite(*ret_nll))
        *ret_nll = (double)INFINITY;
    return EBM_OK;
}

struct point {
    double log_T, nll;
};

/* From point[1] on in one direction as long as the NLL falls: afterwards the least is in the middle, or at a bound. */
static enum ebm_status walk(struct search *s, double step, struct point point[3], struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    while (status == EBM_OK && point[2].nll < point[1].nll &&
           fabs(point[2].log_T) < log(TEMPERATURE_MOST) - 0.5 * STEP) {
        point[0] = point[1];
        point[1] = point[2];
        point[2].log_T += step;
        status = try_one(s, point[2].log_T, &point[2].nll, reterr);
    }
    return status;
}

/* Three points around a minimum, or with the least of them at a bound. */
static enum ebm_status bracket(struct search *s, double nll_at_1, struct point point[3], struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < 2; i++) {
        double step = i == 0 ? STEP : -STEP;
        point[0] = (struct point){-step, (double)INFINITY};
        point[1] = (struct point){0.0, nll_at_1};
        point[2] = (struct point){step, 0.0};
        enum ebm_status status = try_one(s, step, &point[2].nll, reterr);
        if (status == EBM_OK && point[2].nll < nll_at_1)
            return walk(s, step, point, reterr);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK; /* neither side is better: 1 is in the middle */
}

/* Between the outer points; *best has the least that was seen. */
static enum ebm_status narrow(struct search *s, double low, double high, struct point *best, struct ebm_error *reterr)
{
    struct point a = {.log_T = high - GOLDEN * (high - low)}, b = {.log_T = low + GOLDEN * (high - low)};
    enum ebm_status status = try_one(s, a.log_T, &a.nll, reterr);
    if (status == EBM_OK)
        status = try_one(s, b.log_T, &b.nll, reterr);
    while (status == EBM_OK && high - low > PRECISION) {
        bool is_left = a.nll <= b.nll;
        if (is_left) {
            high = b.log_T;
            b = a;
            a.log_T = high - GOLDEN * (high - low);
        } else {
            low = a.log_T;
            a = b;
            b.log_T = low + GOLDEN * (high - low);
        }
        status = try_one(s, is_left ? a.log_T : b.log_T, is_left ? &a.nll : &b.nll, reterr);
    }
    const struct point least = a.nll <= b.nll ? a : b;
    if (status == EBM_OK && least.nll < best->nll)
        *best = least;
    return status;
}

static enum ebm_status find(struct search *s, struct temperature *ret_temperature, struct ebm_error *reterr)
{
    struct point point[3], best = {0.0, 0.0};
    enum ebm_status status = try_one(s, 0.0, &best.nll, reterr);
    if (status == EBM_OK && !isfinite(best.nll))
        return ebm_error_set(reterr, EBM_INVALID, "calibration",
                             "the network gives no finite density at a row: is it far from the training data?");
    double before = best.nll;
    if (status == EBM_OK)
        status = bracket(s, before, point, reterr);
    for (uint32_t i = 0; status == EBM_OK && i < 3; i++)
        if (point[i].nll < best.nll)
            best = point[i];
    if (status == EBM_OK)
        status = narrow(s, fmin(point[0].log_T, point[2].log_T), fmax(point[0].log_T, point[2].log_T), &best, reterr);
    if (status == EBM_OK)
        *ret_temperature = (struct temperature){
            .value = exp(best.log_T), .nll_before = before, .nll_after = best.nll, .rows = s->rows->n};
    return status;
}

enum ebm_status temperature_find(const struct ebm_model *model, const struct temperature_rows *rows,
                                 struct temperature *ret_temperature, struct ebm_error *reterr)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    enum ebm_status status = temperature_check(net, reterr);
    if (status == EBM_OK && !score_is_possible(net))
        status = ebm_error_set(reterr, EBM_INVALID, "calibration",
                               "the model has several targets and no proposal: nothing normalises its density");
    if (status == EBM_OK && rows->n == 0)
        status = ebm_error_set(reterr, EBM_INVALID, "calibration", "no rows to choose a temperature by");
    if (status != EBM_OK)
        return status;
    EBM_AUTO(search_done)
    struct search search = {.model = model,
                            .rows = rows,
                            .params = ebm_alloc_aligned(ebm_net_all_params(net) * sizeof(float)),
                            .nll = calloc(rows->n, sizeof(double))};
    if (search.params == NULL || search.nll == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "calibration", "no memory");
    return find(&search, ret_temperature, reterr);
}

/* ---- the model ---- */

enum ebm_status temperature_model(const struct ebm_model *model, const struct temperature *temperature,
                                  struct ebm_model **ret_model, struct ebm_error *reterr)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    EBM_AUTO(ebm_freep) float *params = ebm_alloc_aligned(ebm_net_all_params(net) * sizeof *params);
    EBM_AUTO(ebm_freep) char *text = NULL;
    EBM_AUTO(ebm_freep) char *training = NULL;
    EBM_AUTO(ebm_config_freep) struct ebm_config *config = NULL;
    if (params == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "calibration", "no memory");
    copy_params(model, temperature->value, params);
    enum ebm_status status = ebm_config_text(ebm_model_config(model), &text, reterr);
    if (status == EBM_OK)
        status = ebm_config_parse(text, strlen(text), NULL, &config, reterr);
    if (status == EBM_OK)
        status = options_record_temperature(config->training, temperature, &training, reterr);
    if (status == EBM_OK)
        status = ebm_config_set_training(config, training, reterr);
    if (status == EBM_OK)
        status = ebm_model_new(config, params, ret_model, reterr);
    if (status == EBM_OK)
        config = NULL; /* the model's now */
    return status;
}

void temperature_print(const struct temperature *temperature, const char *which)
{
    (void)printf("calibrated on %u %s: temperature %.4f (%s), their NLL %.4f -> %.4f\n", temperature->rows, which,
                 temperature->value,
                 temperature->value > 1.0   ? "wider"
                 : temperature->value < 1.0 ? "narrower"
                                            : "nothing is better than as it was",
                 temperature->nll_before, temperature->nll_after);
}
