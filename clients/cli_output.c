/* cli_output.c - columns, and the three ways to print them.
 *
 *   answer -> columns (a name, an array, its strides) -> a line for each (row, item), as a table or CSV
 *   answer -> JSON (cli_json.c)
 *
 * Items are what a row has many of: samples, targets; a prediction has one. Coordinates of a target of several numbers
 * are columns of their own: mean[0], mean[1]. In a table numbers have 6 digits, in CSV all. */
#include "clients/cli_output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli_json.h"
#include "clients/client_http.h"

#define NAME_BYTES 64
#define CELL_COLUMNS 11
#define LONGEST_NAMELESS 16 /* columns without names that have a line each */

/* value = at[row * row_stride + item * item_stride] */
struct column {
    char name[NAME_BYTES];
    const double *at;
    size_t row_stride, item_stride;
};

struct columns {
    struct column *columns; /* (most) */
    size_t n, most, D;
};

enum ebm_client_status cli_output_format(const struct cli_args *args, enum cli_format *ret_format,
                                         struct ebm_client_error *reterr)
{
    static const char *const words[] = {[CLI_TABLE] = "table", [CLI_JSON] = "json", [CLI_CSV] = "csv"};
    const char *word = args->values[CLI_OPTION_FORMAT];
    for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i]) == 0) {
            *ret_format = (enum cli_format)i;
            return EBM_CLIENT_OK;
        }
    if (word)
        return client_fail(reterr, EBM_CLIENT_INVALID, "format", "--format is '%.40s', expected table, json or csv",
                           word);
    *ret_format = CLI_TABLE;
    return EBM_CLIENT_OK;
}

/* ---- columns ---- */

/* A column a coordinate of an array (rows, items, width); width 0: plain numbers. Nothing for NULL. */
static void add(struct columns *columns, const char *name, const double *values, size_t row_stride, size_t item_stride,
                size_t width)
{
    for (size_t d = 0; values && d < (width ? width : 1) && columns->n < columns->most; d++) {
        struct column *column = &columns->columns[columns->n++];
        *column = (struct column){.at = values + d, .row_stride = row_stride, .item_stride = item_stride};
        if (width > 1)
            (void)snprintf(column->name, sizeof column->name, "%.32s[%zu]", name, d);
        else
            (void)snprintf(column->name, sizeof column->name, "%.40s", name);
    }
}

static void add_prediction(struct columns *columns, const struct ebm_client_answer *a)
{
    char name[NAME_BYTES];
    add(columns, "mean", a->mean, a->D, 0, a->D);
    add(columns, "std", a->std, a->D, 0, a->D);
    add(columns, "variance", a->variance, a->D, 0, a->D);
    add(columns, "median", a->median, a->D, 0, a->D);
    for (size_t q = 0; q < a->n_quantiles; q++) {
        (void)snprintf(name, sizeof name, "q%.10g", a->probabilities[q]);
        add(columns, name, a->quantiles + q * a->D, a->n_quantiles * a->D, 0, a->D);
    }
    for (size_t i = 0; i < a->n_intervals; i++) {
        const char *suffix = a->n_intervals > 1 ? (char[]){'_', (char)('0' + i % 10), '\0'} : "";
        (void)snprintf(name, sizeof name, "lower%s", suffix);
        add(columns, name, a->interval_lower + i * a->D, a->n_intervals * a->D, 0, a->D);
        (void)snprintf(name, sizeof name, "upper%s", suffix);
        add(columns, name, a->interval_upper + i * a->D, a->n_intervals * a->D, 0, a->D);
    }
    for (size_t d = 0; a->covariance && d < a->D; d++) {
        (void)snprintf(name, sizeof name, a->D > 1 ? "covariance[%zu]" : "covariance", d);
        add(columns, name, a->covariance + d * a->D, a->D * a->D, 0, a->D);
    }
    add(columns, "mode", a->mode, a->D, 0, a->D);
    add(columns, "entropy", a->entropy, 1, 0, 0);
    for (size_t i = 0; i < a->n_cdf; i++) {
        (void)snprintf(name, sizeof name, "cdf_%zu", i);
        add(columns, name, a->cdf + i, a->n_cdf, 0, 0);
    }
    for (size_t i = 0; i < a->n_crps; i++) {
        (void)snprintf(name, sizeof name, "crps_%zu", i);
        add(columns, name, a->crps + i, a->n_crps, 0, 0);
    }
    add(columns, "log_normalizer", a->log_normalizer, 1, 0, 0);
    add(columns, "ess_ratio", a->ess_ratio, 1, 0, 0);
}

static void add_samples(struct columns *columns, const struct ebm_client_answer *a)
{
    add(columns, "sample", a->samples, a->n_samples * a->D, a->D, a->D);
    add(columns, "log_weight", a->log_weights, a->n_samples, 1, 0);
}

static void add_density(struct columns *columns, const struct ebm_client_answer *a)
{
    add(columns, "target", a->targets, a->n_targets * a->D, a->D, a->D);
    add(columns, "unnormalized_log_prob", a->unnormalized_log_prob, a->n_targets, 1, 0);
    add(columns, "log_prob", a->log_prob, a->n_targets, 1, 0);
    add(columns, "proposal_log_prob", a->proposal_log_prob, a->n_targets, 1, 0);
    add(columns, "log_normalizer", a->log_normalizer, 1, 0, 0);
    add(columns, "log_normalizer_std_error", a->log_normalizer_std_error, 1, 0, 0);
}

static void add_refinement(struct columns *columns, const struct ebm_client_answer *a)
{
    add(columns, "mode", a->mode, a->D, 0, a->D);
    add(columns, "unnormalized_log_prob", a->mode_log_prob, 1, 0, 0);
}

/* ---- lines ---- */

static int width_of(const struct column *column)
{
    size_t n = strlen(column->name);
    return n > CELL_COLUMNS ? (int)n : CELL_COLUMNS;
}

static void print_header(const struct cli_output *output, const struct columns *columns)
{
    bool is_csv = output->format == CLI_CSV;
    (void)printf(is_csv ? "row" : "%6s", "row");
    for (size_t i = 0; i < columns->n; i++)
        if (is_csv)
            (void)printf(",%s", columns->columns[i].name);
        else
            (void)printf("  %*s", width_of(&columns->columns[i]), columns->columns[i].name);
    if (output->kind == CLI_PREDICT)
        (void)fputs(is_csv ? ",reliable,reason" : "  reliable", stdout);
    if (output->kind == CLI_REFINE)
        (void)fputs(is_csv ? ",converged,steps" : "  converged  steps", stdout);
    (void)putchar('\n');
}

static void print_line(const struct cli_output *output, const struct columns *columns, size_t row, size_t item)
{
    (void)printf(output->format == CLI_CSV ? "%zu" : "%6zu", output->n_rows + row);
    for (size_t i = 0; i < columns->n; i++) {
        const struct column *column = &columns->columns[i];
        double value = column->at[row * column->row_stride + item * column->item_stride];
        if (output->format == CLI_TABLE) {
            (void)printf("  %*.6g", width_of(column), value);
            continue;
        }
        (void)putchar(',');
        cli_json_number(value, "nan");
    }
}

static void print_verdict(const struct cli_output *output, const struct ebm_client_answer *answer, size_t row)
{
    const char *reason = answer->reason[row] ? answer->reason[row] : "";
    if (output->format == CLI_CSV)
        (void)printf(",%d,%s", answer->reliable[row], reason);
    else
        (void)printf("  %s%s", answer->reliable[row] ? "yes" : "no: ", reason);
}

static void print_progress(const struct cli_output *output, const struct ebm_client_answer *answer, size_t row)
{
    if (output->format == CLI_CSV)
        (void)printf(",%d,%" PRIu64, answer->converged[row], answer->steps[row]);
    else
        (void)printf("  %-9s  %5" PRIu64, answer->converged[row] ? "yes" : "no", answer->steps[row]);
}

static void print_lines(const struct cli_output *output, const struct columns *columns,
                        const struct ebm_client_answer *answer)
{
    size_t n_items = output->kind == CLI_PREDICT || output->kind == CLI_REFINE ? 1
                     : output->kind == CLI_SAMPLE                              ? answer->n_samples
                                                                               : answer->n_targets;
    for (size_t row = 0; row < answer->n_rows; row++)
        for (size_t item = 0; item < (n_items ? n_items : 1); item++) {
            print_line(output, columns, row, item);
            if (output->kind == CLI_PREDICT)
                print_verdict(output, answer, row);
            else if (output->kind == CLI_REFINE)
                print_progress(output, answer, row);
            (void)putchar('\n');
        }
}

/* Lines of samples and densities have no room for it. */
static void warn(const struct cli_output *output, const struct ebm_client_answer *answer)
{
    for (size_t row = 0; row < answer->n_rows; row++)
        if (!answer->reliable[row])
            (void)fprintf(stderr, "ebm-client: row %zu: not reliable: %s\n", output->n_rows + row,
                          answer->reason[row] ? answer->reason[row] : "no reason given");
}

static enum ebm_client_status print_columns(const struct cli_output *output, const struct ebm_client_answer *answer,
                                            struct ebm_client_error *reterr)
{
    struct columns columns = {.D = answer->D};
    columns.most = 10 + answer->n_cdf + answer->n_crps +
                   answer->D * (10 + answer->D + answer->n_quantiles + 2 * answer->n_intervals);
    columns.columns = calloc(columns.most, sizeof *columns.columns);
    if (!columns.columns)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "output", "no memory");
    if (output->kind == CLI_PREDICT)
        add_prediction(&columns, answer);
    else if (output->kind == CLI_SAMPLE)
        add_samples(&columns, answer);
    else if (output->kind == CLI_REFINE)
        add_refinement(&columns, answer);
    else
        add_density(&columns, answer);
    if (output->n_rows == 0)
        print_header(output, &columns);
    print_lines(output, &columns, answer);
    if (output->kind == CLI_SAMPLE || output->kind == CLI_DENSITY)
        warn(output, answer);
    free(columns.columns);
    return EBM_CLIENT_OK;
}

enum ebm_client_status cli_output_add(struct cli_output *output, const struct ebm_client_answer *answer,
                                      struct ebm_client_error *reterr)
{
    enum ebm_client_status status = EBM_CLIENT_OK;
    if (output->format == CLI_JSON) {
        if (output->n_rows == 0)
            cli_json_head(answer);
        for (size_t row = 0; row < answer->n_rows; row++) {
            (void)fputs(output->n_rows + row > 0 ? "," : "", stdout);
            cli_json_row(answer, row);
        }
    } else {
        status = print_columns(output, answer, reterr);
    }
    output->n_rows += answer->n_rows;
    return status;
}

void cli_output_end(const struct cli_output *output)
{
    if (output->format == CLI_JSON && output->n_rows > 0)
        (void)printf("]}\n");
}

/* ---- models and health ---- */

static void csv_text(const char *text)
{
    (void)putchar('"');
    for (; *text; text++)
        (void)fputs(*text == '"' ? "\"\"" : (char[]){*text, '\0'}, stdout);
    (void)putchar('"');
}

static void model_entry(const struct ebm_client_model_entry *entry, enum cli_format format)
{
    const char *reason = entry->reason ? entry->reason : "";
    if (format == CLI_TABLE) {
        (void)printf("%-24s %8" PRIu64 "  %-9s  %s\n", entry->name, entry->version, entry->available ? "yes" : "no",
                     reason);
        return;
    }
    if (format == CLI_CSV) {
        csv_text(entry->name);
        (void)printf(",%" PRIu64 ",%d,", entry->version, entry->available);
        csv_text(reason);
        (void)putchar('\n');
        return;
    }
    (void)printf("{\"name\":");
    cli_json_text(entry->name);
    (void)printf(",\"version\":%" PRIu64 ",\"available\":%s", entry->version, entry->available ? "true" : "false");
    if (entry->reason) {
        (void)printf(",\"reason\":");
        cli_json_text(reason);
    }
    (void)putchar('}');
}

void cli_output_models(const struct ebm_client_models *models, enum cli_format format)
{
    if (format == CLI_TABLE)
        (void)printf("%-24s %8s  %-9s  %s\n", "model", "version", "available", "reason");
    else
        (void)printf(format == CLI_CSV ? "model,version,available,reason\n" : "{\"models\":[");
    for (size_t i = 0; i < models->n_models; i++) {
        (void)fputs(format == CLI_JSON && i > 0 ? "," : "", stdout);
        model_entry(&models->models[i], format);
    }
    if (format == CLI_JSON)
        (void)printf("]}\n");
}

/* One line a column: which side it is on, its number and its name. In a table many that have no names, as pixels, are
 * one line. */
static void model_side(const char *side, const char *const *names, size_t n, enum cli_format format)
{
    if (format == CLI_TABLE && !names && n > LONGEST_NAMELESS) {
        (void)printf("%-8s 0..%zu\n", side, n - 1);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = names ? names[i] : "";
        if (format == CLI_TABLE) {
            (void)printf("%-8s %6zu  %s\n", side, i, name);
            continue;
        }
        (void)printf("%s,%zu,", side, i);
        csv_text(name);
        (void)putchar('\n');
    }
}

void cli_output_model(const struct ebm_client_model *model, enum cli_format format)
{
    if (format == CLI_JSON) {
        (void)printf("{\"name\":");
        cli_json_text(model->name);
        (void)putchar(',');
        cli_json_texts("versions", model->versions, model->n_versions);
        (void)printf(",\"n_inputs\":%zu,\"n_targets\":%zu,", model->n_inputs, model->D);
        cli_json_texts("input_names", model->input_names, model->input_names ? model->n_inputs : 0);
        (void)putchar(',');
        cli_json_texts("target_names", model->target_names, model->target_names ? model->D : 0);
        (void)printf("}\n");
        return;
    }
    if (format == CLI_TABLE) {
        (void)printf("%s, version", model->name);
        for (size_t i = 0; i < model->n_versions; i++)
            (void)printf(" %s", model->versions[i]);
        (void)printf("\n%-8s %6s  %s\n", "side", "number", "name");
    } else {
        (void)printf("side,number,name\n");
    }
    model_side("input", model->input_names, model->n_inputs, format);
    model_side("target", model->target_names, model->D, format);
}

void cli_output_health(bool is_live, bool is_ready, enum cli_format format)
{
    const char *live = is_live ? "true" : "false", *ready = is_ready ? "true" : "false";
    if (format == CLI_JSON)
        (void)printf("{\"live\":%s,\"ready\":%s}\n", live, ready);
    else
        (void)printf(format == CLI_CSV ? "live,ready\n%s,%s\n" : "live  ready\n%-5s %s\n", live, ready);
}
