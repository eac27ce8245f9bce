/* cli_json.c - an answer's structs as the JSON that the server sent, member by member in its order.
 *
 * Numbers are printed with as many digits as give them back, which are those that the server wrote. */
#include "clients/cli_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cli_json_number(double value, const char *missing)
{
    char text[40] = "";
    if (!isfinite(value)) {
        (void)fputs(missing, stdout);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (!(strtod(text, NULL) < value) && !(strtod(text, NULL) > value))
            break;
    }
    (void)fputs(text, stdout);
}

void cli_json_text(const char *text)
{
    (void)putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            (void)printf("\\%c", *c);
        else if (*c < 0x20)
            (void)printf("\\u%04x", *c);
        else
            (void)putchar(*c);
    }
    (void)putchar('"');
}

/* ---- members ---- */

static void vector(const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)putchar(i ? ',' : '[');
        cli_json_number(values[i], "null");
    }
    (void)putchar(']');
}

void cli_json_numbers(const char *name, const double *values, size_t n, size_t width)
{
    if (!values)
        return;
    (void)printf("\"%s\":", name);
    if (width == 0) {
        vector(values, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            (void)putchar(i ? ',' : '[');
            vector(values + i * width, width);
        }
        (void)putchar(']');
    }
    (void)putchar(',');
}

void cli_json_value(const char *name, const double *value)
{
    if (!value)
        return;
    (void)printf("\"%s\":", name);
    cli_json_number(*value, "null");
    (void)putchar(',');
}

void cli_json_texts(const char *name, const char *const *texts, size_t n)
{
    (void)printf("\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        (void)fputs(i ? "," : "", stdout);
        cli_json_text(texts[i]);
    }
    (void)putchar(']');
}

/* ---- rows ---- */

static const double *row_of(const double *values, size_t row, size_t width)
{
    return values ? values + row * width : NULL;
}

static void quantiles(const struct ebm_client_answer *answer, size_t row)
{
    const size_t n = answer->n_quantiles, D = answer->D;
    if (!answer->quantiles)
        return;
    (void)printf("\"quantiles\":[");
    for (size_t q = 0; q < n; q++) {
        (void)printf("%s{\"probability\":", q ? "," : "");
        cli_json_number(answer->probabilities[q], "null");
        (void)printf(",\"value\":");
        vector(answer->quantiles + (row * n + q) * D, D);
        (void)putchar('}');
    }
    (void)printf("],");
}

static void intervals(const struct ebm_client_answer *answer, size_t row)
{
    const size_t n = answer->n_intervals, D = answer->D;
    if (!answer->interval_lower)
        return;
    (void)printf("\"interval\":{\"kind\":");
    cli_json_text(answer->interval_kind);
    (void)printf(",\"level\":");
    cli_json_number(answer->interval_level, "null");
    (void)printf(",\"intervals\":[");
    for (size_t i = 0; i < n; i++) {
        if (n > 1 && isnan(answer->interval_lower[(row * n + i) * D]))
            continue; /* a row with fewer than others */
        (void)printf("%s{\"lower\":", i ? "," : "");
        vector(answer->interval_lower + (row * n + i) * D, D);
        (void)printf(",\"upper\":");
        vector(answer->interval_upper + (row * n + i) * D, D);
        (void)putchar('}');
    }
    (void)printf("]},");
}

static void diagnostics(const struct ebm_client_answer *answer, size_t row)
{
    (void)printf("\"diagnostics\":{\"estimator\":");
    cli_json_text(answer->estimator[row]);
    (void)putchar(',');
    if (answer->num_samples[row] > 0)
        (void)printf("\"num_samples\":%" PRIu64 ",", answer->num_samples[row]);
    cli_json_value("ess", row_of(answer->ess, row, 1));
    cli_json_value("ess_ratio", row_of(answer->ess_ratio, row, 1));
    cli_json_value("max_weight", row_of(answer->max_weight, row, 1));
    cli_json_numbers("mcse_mean", row_of(answer->mcse_mean, row, answer->D), answer->D, 0);
    cli_json_value("pareto_k", row_of(answer->pareto_k, row, 1));
    if (answer->draws_ignored && answer->num_samples[row] == 0)
        (void)printf("\"%s_ignored\":true,", answer->samples ? "num_proposals" : "num_samples");
    if (answer->pieces && !isnan(answer->pieces[row])) {
        cli_json_value("pieces", row_of(answer->pieces, row, 1));
        cli_json_numbers("support", row_of(answer->support, row, 2), 2, 0);
    }
    if (strcmp(answer->estimator[row], "mixture") != 0)
        (void)printf("\"proper\":%s,", answer->proper[row] ? "true" : "false");
    cli_json_value("acceptance_rate", row_of(answer->acceptance_rate, row, 1));
    (void)printf("\"reliable\":%s,\"reason\":", answer->reliable[row] ? "true" : "false");
    if (answer->reason[row])
        cli_json_text(answer->reason[row]);
    else
        (void)fputs("null", stdout);
    (void)putchar('}');
}

static void refinement(const struct ebm_client_answer *answer, size_t row)
{
    const size_t D = answer->D, places = answer->n_places;
    cli_json_numbers("mode", answer->mode + row * D, D, 0);
    cli_json_value("unnormalized_log_prob", answer->mode_log_prob + row);
    (void)printf("\"converged\":%s,\"steps\":%" PRIu64, answer->converged[row] ? "true" : "false", answer->steps[row]);
    if (!answer->trajectory)
        return;
    (void)printf(",\"trajectory\":");
    for (size_t i = 0; i <= answer->steps[row]; i++) {
        (void)putchar(i ? ',' : '[');
        vector(answer->trajectory + (row * places + i) * D, D);
    }
    (void)putchar(']');
}

void cli_json_row(const struct ebm_client_answer *answer, size_t row)
{
    const size_t D = answer->D, M = answer->n_samples, T = answer->n_targets;
    (void)putchar('{');
    if (answer->mode_log_prob) {
        refinement(answer, row);
        (void)putchar('}');
        return;
    }
    cli_json_numbers("mean", row_of(answer->mean, row, D), D, 0);
    cli_json_numbers("std", row_of(answer->std, row, D), D, 0);
    cli_json_numbers("variance", row_of(answer->variance, row, D), D, 0);
    cli_json_numbers("median", row_of(answer->median, row, D), D, 0);
    quantiles(answer, row);
    intervals(answer, row);
    cli_json_numbers("covariance", row_of(answer->covariance, row, D * D), D, D);
    cli_json_value("entropy", row_of(answer->entropy, row, 1));
    cli_json_numbers("cdf", row_of(answer->cdf, row, answer->n_cdf), answer->n_cdf, 0);
    cli_json_numbers("crps", row_of(answer->crps, row, answer->n_crps), answer->n_crps, 0);
    cli_json_numbers("samples", row_of(answer->samples, row, M * D), M, D);
    cli_json_numbers("log_weights", row_of(answer->log_weights, row, M), M, 0);
    cli_json_numbers("targets", row_of(answer->targets, row, T * D), T, D);
    cli_json_numbers("unnormalized_log_prob", row_of(answer->unnormalized_log_prob, row, T), T, 0);
    cli_json_numbers("log_prob", row_of(answer->log_prob, row, T), T, 0);
    cli_json_numbers("proposal_log_prob", row_of(answer->proposal_log_prob, row, T), T, 0);
    cli_json_value("log_normalizer", row_of(answer->log_normalizer, row, 1));
    cli_json_value("log_normalizer_std_error", row_of(answer->log_normalizer_std_error, row, 1));
    cli_json_numbers("mode", row_of(answer->mode, row, D), D, 0);
    diagnostics(answer, row);
    (void)putchar('}');
}

void cli_json_head(const struct ebm_client_answer *answer)
{
    (void)printf("{\"model\":");
    cli_json_text(answer->model);
    (void)printf(",\"version\":%" PRIu64, answer->version);
    if (answer->id) {
        (void)printf(",\"id\":");
        cli_json_text(answer->id);
    }
    (void)printf(",\"seed\":%" PRIu64 ",\"predictions\":[", answer->seed);
}
