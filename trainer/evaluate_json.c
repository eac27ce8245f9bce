/* evaluate_json.c - an evaluation of rows as JSON; docs/evaluation.md lists the members. New members may come, none
 * changes its meaning under one format_version. Numbers read back the same; what is no number is null. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/sobol.h"
#include "trainer/evaluate.h"
#include "trainer/html.h"

uint32_t evaluation_draws(const struct evaluation *e)
{
    return score_chosen(e->spec) == EBM_ESTIMATE_IMPORTANCE ? ebm_sobol_count(e->spec->samples) : 0;
}

const char *evaluation_estimator(const struct evaluation *e)
{
    return ebm_estimator_word(score_chosen(e->spec));
}

const char *evaluation_hint(const struct evaluation *e)
{
    static const struct {
        const char *reason, *hint;
    } hints[] = {
        {"improper",
         "The energy does not fall off on both sides: train longer, or state target.lower and target.upper."},
        {"not_finite", "The network gives no usable numbers there: are these rows far from the training data?"},
        {"low_ess", "The proposal does not fit the energy there; more --num-samples rarely help."},
    };
    if (e->figures->n_reasons == 0)
        return NULL;
    for (size_t i = 0; i < EBM_COUNT_OF(hints); i++)
        if (strcmp(e->figures->reasons[0].word, hints[i].reason) == 0)
            return hints[i].hint;
    return evaluation_draws(e) > 0 ? "More --num-samples may help." : "docs/diagnostics.md has the reasons.";
}

const char *evaluation_name(const struct evaluation *e, uint32_t d, char *space)
{
    char *const *names = e->config->target.names != NULL ? e->config->target.names : e->data->target_names;
    if (names == NULL || names[d] == NULL || names[d][0] == '\0') {
        (void)snprintf(space, EVALUATION_NAME_BYTES, "target %u", d + 1);
        return space;
    }
    return html_clean(names[d], space, EVALUATION_NAME_BYTES);
}

static void put_number(struct ebm_buf *json, const char *key, double value)
{
    (void)ebm_buf_printf(json, ", \"%s\": ", key);
    if (isfinite(value))
        (void)ebm_buf_json_number(json, value);
    else
        (void)ebm_buf_text(json, "null");
}

static void put_levels(struct ebm_buf *json, const struct figures_target *t, uint32_t n)
{
    (void)ebm_buf_text(json, ", \"intervals\": [");
    for (uint32_t i = 0; i < SCORE_LEVELS; i++) {
        (void)ebm_buf_printf(json, "%s{\"level\": %g", i > 0 ? ", " : "", score_levels[i]);
        put_number(json, "coverage", t->coverage[i]);
        put_number(json, "coverage_std_error", figures_share_error(score_levels[i], n));
        put_number(json, "mean_width", t->mean_width[i]);
        put_number(json, "width_without_inputs", t->own_width[i]);
        (void)ebm_buf_text(json, "}");
    }
    (void)ebm_buf_text(json, "], \"calibration\": [");
    for (uint32_t i = 0; i < FIGURES_LEVELS; i++) {
        (void)ebm_buf_printf(json, "%s{\"level\": %g", i > 0 ? ", " : "", (i + 1.0) / (FIGURES_LEVELS + 1.0));
        put_number(json, "coverage", t->curve[i]);
        (void)ebm_buf_text(json, "}");
    }
    (void)ebm_buf_text(json, "]");
}

static void put_pit(struct ebm_buf *json, const struct figures_target *t, uint32_t n)
{
    (void)ebm_buf_text(json, ", \"pit\": {\"bins\": [");
    for (uint32_t i = 0; i < FIGURES_BINS; i++)
        (void)ebm_buf_printf(json, "%s%u", i > 0 ? ", " : "", t->bins[i]);
    (void)ebm_buf_text(json, "]");
    put_number(json, "mean", t->pit_mean);
    put_number(json, "ks", t->ks);
    put_number(json, "ks_p_value", t->ks_p_value);
    put_number(json, "ks_usual", figures_ks_usual(n));
    (void)ebm_buf_text(json, "}, \"spread_groups\": [");
    for (uint32_t g = 0; g < t->n_groups; g++) {
        (void)ebm_buf_printf(json, "%s{\"rows\": %u", g > 0 ? ", " : "", t->groups[g].n_rows);
        put_number(json, "predicted_std", t->groups[g].std);
        put_number(json, "rmse", t->groups[g].rmse);
        (void)ebm_buf_text(json, "}");
    }
    (void)ebm_buf_text(json, "]");
}

static void put_target(const struct evaluation *e, uint32_t d, struct ebm_buf *json)
{
    static const char *const verdicts[] = {
        [FIGURES_CALIBRATED] = "calibrated", [FIGURES_NARROW] = "too_narrow", [FIGURES_WIDE] = "too_wide",
        [FIGURES_HIGH] = "too_high",         [FIGURES_LOW] = "too_low",       [FIGURES_SHAPE] = "other_shape"};
    const struct figures_target *t = &e->figures->targets[d];
    char name[EVALUATION_NAME_BYTES];
    (void)ebm_buf_printf(json, "%s\n  {\"name\": ", d > 0 ? "," : "");
    (void)ebm_buf_json_text(json, evaluation_name(e, d, name));
    put_number(json, "rmse", t->rmse);
    put_number(json, "mae", t->mae);
    put_number(json, "mae_of_mode", t->mae_mode);
    put_number(json, "crps", t->crps);
    put_number(json, "mean_std", t->mean_std);
    (void)ebm_buf_printf(json, ", \"verdict\": \"%s\"", verdicts[t->verdict]);
    put_levels(json, t, e->figures->n);
    put_pit(json, t, e->figures->n);
    (void)ebm_buf_text(json, "}");
}

static void put_doubts(const struct figures *f, struct ebm_buf *json)
{
    (void)ebm_buf_printf(json, ",\n \"unreliable\": {\"rows\": %u", f->n_unreliable);
    put_number(json, "share", (double)f->n_unreliable / f->n);
    (void)ebm_buf_text(json, ", \"reasons\": {");
    for (uint32_t i = 0; i < f->n_reasons; i++)
        (void)ebm_buf_printf(json, "%s\"%s\": %u", i > 0 ? ", " : "", f->reasons[i].word, f->reasons[i].n_rows);
    (void)ebm_buf_text(json, "}}");
}

static void put_worst(const struct evaluation *e, uint32_t i, struct ebm_buf *json)
{
    uint32_t row = e->figures->worst[i];
    const char *doubt = e->rows->doubts[row];
    (void)ebm_buf_printf(json, "%s\n  {\"row\": %u", i > 0 ? "," : "", e->data->numbers[row]);
    put_number(json, "nll", e->rows->nll[row]);
    if (doubt != NULL)
        (void)ebm_buf_printf(json, ", \"reason\": \"%s\"", doubt);
    else
        (void)ebm_buf_text(json, ", \"reason\": null");
    (void)ebm_buf_text(json, ", \"targets\": [");
    for (uint32_t d = 0; d < e->data->D; d++) {
        const struct score_target *t = &e->rows->targets[(size_t)row * e->data->D + d];
        (void)ebm_buf_printf(json, "%s{\"level\": 0.9", d > 0 ? ", " : "");
        put_number(json, "target", e->data->y[(size_t)row * e->data->D + d]);
        put_number(json, "mean", t->mean);
        put_number(json, "std", t->std);
        put_number(json, "lower", t->lower[2]);
        put_number(json, "upper", t->upper[2]);
        put_number(json, "pit", t->pit);
        (void)ebm_buf_text(json, "}");
    }
    (void)ebm_buf_text(json, "]}");
}

enum ebm_status evaluate_json(const struct evaluation *e, struct ebm_buf *json)
{
    const struct figures *f = e->figures;
    (void)ebm_buf_printf(json,
                         "{\"format_version\": 1, \"protocol\": \"rows\", \"rows\": %u, \"estimator\": \"%s\", "
                         "\"num_samples\": %u, \"seed\": %llu",
                         f->n, evaluation_estimator(e), evaluation_draws(e), (unsigned long long)e->spec->seed);
    put_number(json, "dequantize_step", e->spec->jitter->step);
    put_number(json, "nll", f->nll);
    put_number(json, "nll_std_error", f->nll_error);
    (void)ebm_buf_text(json, ",\n \"targets\": [");
    for (uint32_t d = 0; d < f->D; d++)
        put_target(e, d, json);
    (void)ebm_buf_text(json, "]");
    put_doubts(f, json);
    (void)ebm_buf_text(json, ",\n \"worst_rows\": [");
    for (uint32_t i = 0; i < f->n_worst; i++)
        put_worst(e, i, json);
    return ebm_buf_text(json, "]}\n");
}
