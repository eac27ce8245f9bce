/* predict_msg.c - the words of POST /predict.
 *
 *   body -> json_read_parse -> every member through the table of fields -> struct predict_request
 *   answer + rows -> JSON text, members in the order of the documentation
 *
 * The table is the one source of what a client may send. A field with bounds is a whole number and is read by the table
 * alone; one with a reader has its own; one with neither belongs to a later version and is refused by name, as are the
 * words of outputs, estimator and draws that are marked so.
 * Guarantees: a request that is returned is complete, within every bound, and finite. */
#include "proto/predict_msg.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/json_read.h"
#include "proto/json_write.h"

#define LATER "not available in this version"

struct reader {
    const struct predict_limits *limits;
    struct ebm_arena *arena;
    struct predict_request request;
    uint32_t seen; /* bits: fields of the table that stood in the body */
};

typedef enum ebm_status read_fn(struct reader *reader, const struct json_t *value, struct ebm_error *reterr);

struct word {
    const char *word;
    bool available;
};

#define X(name, text, is_available) {text, is_available},
static const struct word outputs[] = {PREDICT_OUTPUT_MAP(X)};
static const struct word estimators[] = {PREDICT_ESTIMATOR_MAP(X)};
static const struct word draws[] = {PREDICT_DRAWS_MAP(X)};
#undef X

static const double default_quantiles[] = {0.05, 0.5, 0.95};

/* ---- words ---- */

static void list_words(const struct word *words, size_t n, char *text, size_t text_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < n; i++)
        if (words[i].available && used < text_bytes)
            used += (size_t)snprintf(text + used, text_bytes - used, "%s%s", used ? ", " : "", words[i].word);
}

static enum ebm_status read_word(const struct json_t *value, const char *where, const struct word *words, size_t n,
                                 uint32_t *ret_index, struct ebm_error *reterr)
{
    const char *text;
    enum ebm_status status = json_read_text(value, where, LIMIT_NAME_BYTES, &text, reterr);
    if (status != EBM_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, words[i].word) == 0) {
            if (!words[i].available)
                return ebm_error_set(reterr, EBM_INVALID, where, "'%s' is " LATER, text);
            *ret_index = (uint32_t)i;
            return EBM_OK;
        }
    char known[160];
    list_words(words, n, known, sizeof known);
    return ebm_error_set(reterr, EBM_INVALID, where, "unknown word '%.40s', expected one of: %s", text, known);
}

static enum ebm_status read_estimator(struct reader *reader, const struct json_t *value, struct ebm_error *reterr)
{
    return read_word(value, "estimator", estimators, EBM_COUNT_OF(estimators), &reader->request.estimator, reterr);
}

static enum ebm_status read_draws(struct reader *reader, const struct json_t *value, struct ebm_error *reterr)
{
    return read_word(value, "draws", draws, EBM_COUNT_OF(draws), &reader->request.draws, reterr);
}

static enum ebm_status read_outputs(struct reader *reader, const struct json_t *value, struct ebm_error *reterr)
{
    size_t n;
    enum ebm_status status = json_read_list(value, "outputs", 1, EBM_COUNT_OF(outputs), "words", &n, reterr);
    for (size_t i = 0; status == EBM_OK && i < n; i++) {
        char where[32];
        uint32_t bit = 0;
        (void)snprintf(where, sizeof where, "outputs[%zu]", i);
        status = read_word(json_read_at(value, i), where, outputs, EBM_COUNT_OF(outputs), &bit, reterr);
        reader->request.outputs |= 1u << bit;
    }
    return status;
}

/* ---- texts and numbers ---- */

static enum ebm_status read_copy(struct reader *reader, const struct json_t *value, const char *where, size_t max_bytes,
                                 const char **ret_text, struct ebm_error *reterr)
{
    const char *text;
    enum ebm_status status = json_read_text(value, where, max_bytes, &text, reterr);
    if (status != EBM_OK)
        return status;
    const char *copy = ebm_arena_text(reader->arena, text, strlen(text));
    if (!copy)
        return ebm_error_set(reterr, EBM_NO_MEMORY, where, "no memory");
    *ret_text = copy;
    return EBM_OK;
}

static enum ebm_status read_model(struct reader *reader, const struct json_t *value, struct ebm_error *reterr)
{
    return read_copy(reader, value, "model", LIMIT_NAME_BYTES, &reader->request.model, reterr);
}

static enum ebm_status read_id(struct reader *reader, const struct json_t *value, struct ebm_error *reterr)
{
    return read_copy(reader, value, "id", PREDICT_ID_BYTES, &reader->request.id, reterr);
}

static enum ebm_status read_quantiles(struct reader *reader, const struct json_t *value, struct ebm_error *reterr)
{
    size_t n;
    enum ebm_status status = json_read_list(value, "quantiles", 1, LIMIT_QUANTILES, "probabilities", &n, reterr);
    if (status != EBM_OK)
        return status;
    double *probabilities = EBM_ARENA_NEW(reader->arena, double, n);
    if (!probabilities)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "quantiles", "no memory");
    for (size_t i = 0; i < n; i++) {
        const struct json_t *number = json_read_at(value, i);
        double p = json_read_is_number(number) ? json_read_double(number) : NAN;
        if (!(p > 0.0 && p < 1.0)) {
            char where[32];
            (void)snprintf(where, sizeof where, "quantiles[%zu]", i);
            return ebm_error_set(reterr, EBM_INVALID, where, "expected a probability between 0 and 1, both excluded");
        }
        probabilities[i] = p;
    }
    reader->request.quantiles = probabilities;
    reader->request.n_quantiles = (uint32_t)n;
    return EBM_OK;
}

/* ---- inputs ---- */

static enum ebm_status fail_input(size_t row, size_t column, const struct json_t *value, struct ebm_error *reterr)
{
    char where[64];
    (void)snprintf(where, sizeof where, "inputs[%zu][%zu]", row, column);
    return ebm_error_set(reterr, EBM_INVALID, where, "expected a number, got %s", json_read_kind(value));
}

static enum ebm_status fail_row(size_t row, struct ebm_error *reterr, const char *text)
{
    char where[32];
    (void)snprintf(where, sizeof where, "inputs[%zu]", row);
    return ebm_error_set(reterr, EBM_INVALID, where, "%s", text);
}

/* A row is a list of X numbers, or the bare number when X is 1. */
static enum ebm_status read_row(double *ret_numbers, size_t X, const struct json_t *row, size_t index,
                                struct ebm_error *reterr)
{
    char text[96];
    size_t length = json_read_is_list(row) ? json_read_length(row) : 1;
    if (!json_read_is_list(row) && !json_read_is_number(row)) {
        (void)snprintf(text, sizeof text, "expected a list of numbers, got %s", json_read_kind(row));
        return fail_row(index, reterr, text);
    }
    if (length != X) {
        (void)snprintf(text, sizeof text, "expected %zu numbers as in inputs[0], got %zu", X, length);
        return fail_row(index, reterr, text);
    }
    if (json_read_is_number(row)) {
        ret_numbers[0] = json_read_double(row);
        return EBM_OK;
    }
    for (size_t x = 0; x < X; x++) {
        const struct json_t *number = json_read_at(row, x);
        if (!json_read_is_number(number))
            return fail_input(index, x, number, reterr);
        ret_numbers[x] = json_read_double(number);
    }
    return EBM_OK;
}

static enum ebm_status read_inputs(struct reader *reader, const struct json_t *value, struct ebm_error *reterr)
{
    size_t rows;
    enum ebm_status status = json_read_list(value, "inputs", 1, reader->limits->max_rows, "rows", &rows, reterr);
    if (status != EBM_OK)
        return status;
    const struct json_t *first = json_read_at(value, 0);
    size_t X = json_read_is_list(first) ? json_read_length(first) : 1;
    if (X == 0)
        return fail_row(0, reterr, "expected numbers, got an empty list");
    double *numbers = ebm_arena_alloc(reader->arena, rows * X, sizeof *numbers);
    if (!numbers)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "inputs", "no memory for %zu rows of %zu numbers", rows, X);
    for (size_t i = 0; status == EBM_OK && i < rows; i++)
        status = read_row(numbers + i * X, X, json_read_at(value, i), i, reterr);
    reader->request.inputs = numbers;
    reader->request.rows = (uint32_t)rows;
    reader->request.X = (uint32_t)X;
    return status;
}

/* ---- the table ---- */

struct field {
    const char *name;
    read_fn *read;     /* NULL: a whole number, or of a later version when max is 0 */
    uint64_t min, max; /* of a whole number */
    size_t at;         /* of the uint64_t in struct predict_request */
    size_t lower_at;   /* of the server's own maximum in struct predict_limits; SIZE_MAX: none */
};

#define AT(member) offsetof(struct predict_request, member)
#define LOWER(member) offsetof(struct predict_limits, member)

static const struct field fields[] = {
    {"inputs", read_inputs, 0, 0, 0, 0},
    {"model", read_model, 0, 0, 0, 0},
    {"version", NULL, 1, PREDICT_MAX_SEED, AT(version), SIZE_MAX},
    {"outputs", read_outputs, 0, 0, 0, 0},
    {"estimator", read_estimator, 0, 0, 0, 0},
    {"num_samples", NULL, 1, LIMIT_SAMPLES, AT(num_samples), LOWER(max_samples)},
    {"draws", read_draws, 0, 0, 0, 0},
    {"seed", NULL, 0, PREDICT_MAX_SEED, AT(seed), SIZE_MAX},
    {"quantiles", read_quantiles, 0, 0, 0, 0},
    {"timeout_ms", NULL, 1, 86400000, AT(timeout_ms), LOWER(max_timeout_ms)},
    {"id", read_id, 0, 0, 0, 0},
    {"target_ess", NULL, 0, 0, 0, 0},
    {"max_samples", NULL, 0, 0, 0, 0},
    {"interval", NULL, 0, 0, 0, 0},
    {"cdf", NULL, 0, 0, 0, 0},
    {"crps_at", NULL, 0, 0, 0, 0},
};

static bool is_later(const struct field *field)
{
    return !field->read && field->max == 0;
}

static enum ebm_status read_integer(struct reader *reader, const struct field *field, const struct json_t *value,
                                    struct ebm_error *reterr)
{
    uint64_t max = field->max, integer;
    if (field->lower_at != SIZE_MAX) {
        uint64_t lower;
        memcpy(&lower, (const char *)reader->limits + field->lower_at, sizeof lower);
        max = lower < max ? lower : max;
    }
    enum ebm_status status = json_read_integer(value, field->name, field->min, max, &integer, reterr);
    if (status == EBM_OK)
        memcpy((char *)&reader->request + field->at, &integer, sizeof integer);
    return status;
}

static enum ebm_status fail_unknown(const char *name, struct ebm_error *reterr)
{
    char known[160];
    size_t used = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(fields); i++)
        if (!is_later(&fields[i]) && used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", fields[i].name);
    return ebm_error_set(reterr, EBM_INVALID, name, "unknown field, expected one of: %s", known);
}

static enum ebm_status read_member(struct reader *reader, const char *name, const struct json_t *value,
                                   struct ebm_error *reterr)
{
    for (size_t i = 0; i < EBM_COUNT_OF(fields); i++) {
        if (strcmp(name, fields[i].name) != 0)
            continue;
        if (is_later(&fields[i]))
            return ebm_error_set(reterr, EBM_INVALID, name, LATER);
        reader->seen |= 1u << i;
        return fields[i].read ? fields[i].read(reader, value, reterr) : read_integer(reader, &fields[i], value, reterr);
    }
    return fail_unknown(name, reterr);
}

static bool has_seen(const struct reader *reader, const char *name)
{
    for (size_t i = 0; i < EBM_COUNT_OF(fields); i++)
        if (strcmp(name, fields[i].name) == 0)
            return (reader->seen >> i & 1u) != 0;
    return false;
}

static enum ebm_status read_members(struct reader *reader, struct json_t *root, struct ebm_error *reterr)
{
    enum ebm_status status = json_read_object(root, "body", reterr);
    if (status != EBM_OK)
        return status;
    void *member = json_read_first(root);
    for (; status == EBM_OK && member; member = json_read_next(root, member))
        status = read_member(reader, json_read_key(member), json_read_value(member), reterr);
    if (status == EBM_OK && !has_seen(reader, "inputs"))
        status = ebm_error_set(reterr, EBM_INVALID, "inputs", "missing, expected 1 to %" PRIu64 " rows of numbers",
                               reader->limits->max_rows);
    return status;
}

/* What was left out. */
static void fill_defaults(struct reader *reader)
{
    struct predict_request *request = &reader->request;
    request->has_num_samples = has_seen(reader, "num_samples");
    request->has_seed = has_seen(reader, "seed");
    if (request->outputs == 0)
        request->outputs = PREDICT_OUTPUT(MEAN) | PREDICT_OUTPUT(STD);
    if (has_seen(reader, "quantiles"))
        request->outputs |= PREDICT_OUTPUT(QUANTILES);
    else if (request->outputs & PREDICT_OUTPUT(QUANTILES)) {
        request->quantiles = default_quantiles;
        request->n_quantiles = EBM_COUNT_OF(default_quantiles);
    }
}

enum ebm_status predict_msg_read(const char *body, size_t body_bytes, const struct predict_limits *limits,
                                 struct ebm_arena *arena, struct predict_request *ret_request, struct ebm_error *reterr)
{
    static const struct json_read_limits bounds = {LIMIT_JSON_DEPTH, LIMIT_JSON_VALUES};
    EBM_AUTO(json_read_freep) struct json_t *root = NULL;
    enum ebm_status status = json_read_parse(body, body_bytes, &bounds, &root, reterr);
    if (status != EBM_OK)
        return status;
    struct reader reader = {.limits = limits, .arena = arena};
    reader.request.num_samples = limits->max_samples < 1024 ? limits->max_samples : 1024;
    status = read_members(&reader, root, reterr);
    if (status != EBM_OK)
        return status;
    fill_defaults(&reader);
    *ret_request = reader.request;
    return EBM_OK;
}

/* ---- answers ---- */

void predict_msg_begin(struct ebm_buf *buf, const struct predict_answer *answer)
{
    (void)ebm_buf_text(buf, "{\"model\":");
    (void)ebm_buf_json_text(buf, answer->model);
    (void)ebm_buf_printf(buf, ",\"version\":%" PRIu64, answer->version);
    if (answer->id) {
        (void)ebm_buf_text(buf, ",\"id\":");
        (void)ebm_buf_json_text(buf, answer->id);
    }
    (void)ebm_buf_printf(buf, ",\"seed\":%" PRIu64 ",\"predictions\":[", answer->seed);
}

static void write_vector(struct ebm_buf *buf, const char *name, const double *values,
                         const struct predict_answer *answer)
{
    if (!values)
        return;
    (void)ebm_buf_text(buf, name);
    json_write_numbers(buf, values, answer->D, answer->digits);
    (void)ebm_buf_append(buf, ",", 1);
}

static void write_quantiles(struct ebm_buf *buf, const struct predict_answer *answer, const double *values)
{
    (void)ebm_buf_text(buf, "\"quantiles\":[");
    for (uint32_t q = 0; q < answer->n_quantiles; q++) {
        (void)ebm_buf_text(buf, q ? ",{\"probability\":" : "{\"probability\":");
        (void)ebm_buf_json_number(buf, answer->quantiles[q]);
        (void)ebm_buf_text(buf, ",\"value\":");
        json_write_numbers(buf, values + (size_t)q * answer->D, answer->D, answer->digits);
        (void)ebm_buf_append(buf, "}", 1);
    }
    (void)ebm_buf_text(buf, "],");
}

static void write_number(struct ebm_buf *buf, const char *name, double value)
{
    (void)ebm_buf_text(buf, name);
    json_write_number(buf, value, JSON_WRITE_FLOAT_DIGITS);
}

static void write_draws(struct ebm_buf *buf, const struct predict_answer *answer, const struct predict_row *row)
{
    (void)ebm_buf_printf(buf, "\"importance\",\"num_samples\":%" PRIu32, row->num_samples);
    write_number(buf, ",\"ess\":", row->ess);
    write_number(buf, ",\"ess_ratio\":", row->ess / row->num_samples);
    write_number(buf, ",\"max_weight\":", row->max_weight);
    (void)ebm_buf_text(buf, ",\"mcse_mean\":");
    json_write_numbers(buf, row->mcse_mean, answer->D, JSON_WRITE_FLOAT_DIGITS);
}

static void write_diagnostics(struct ebm_buf *buf, const struct predict_answer *answer, const struct predict_row *row)
{
    (void)ebm_buf_text(buf, "\"diagnostics\":{\"estimator\":");
    if (row->drew)
        write_draws(buf, answer, row);
    else
        (void)ebm_buf_text(buf,
                           answer->num_samples_ignored ? "\"mixture\",\"num_samples_ignored\":true" : "\"mixture\"");
    (void)ebm_buf_text(buf, row->reliable ? ",\"reliable\":true,\"reason\":" : ",\"reliable\":false,\"reason\":");
    if (row->reason)
        (void)ebm_buf_json_text(buf, row->reason);
    else
        (void)ebm_buf_text(buf, "null");
    (void)ebm_buf_append(buf, "}", 1);
}

void predict_msg_row(struct ebm_buf *buf, const struct predict_answer *answer, const struct predict_row *row,
                     uint32_t index)
{
    (void)ebm_buf_text(buf, index ? ",{" : "{");
    write_vector(buf, "\"mean\":", row->mean, answer);
    write_vector(buf, "\"std\":", row->std, answer);
    write_vector(buf, "\"variance\":", row->variance, answer);
    write_vector(buf, "\"median\":", row->median, answer);
    if (row->quantile_values)
        write_quantiles(buf, answer, row->quantile_values);
    if (row->has_log_normalizer) {
        write_number(buf, "\"log_normalizer\":", row->log_normalizer);
        (void)ebm_buf_append(buf, ",", 1);
    }
    write_diagnostics(buf, answer, row);
    (void)ebm_buf_append(buf, "}", 1);
}

enum ebm_status predict_msg_end(struct ebm_buf *buf)
{
    return ebm_buf_text(buf, "]}\n");
}

size_t predict_msg_bound(const struct predict_request *request, uint32_t D)
{
    const size_t number_bytes = 26, row_bytes = 512, quantile_bytes = 64;
    size_t vectors = 5 + (size_t)request->n_quantiles; /* mean std variance median mcse_mean, quantiles */
    return 1024 + PREDICT_ID_BYTES * 6 +
           request->rows * (row_bytes + request->n_quantiles * quantile_bytes + vectors * D * number_bytes);
}
