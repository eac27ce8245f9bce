/* request.c - the tables of fields of every kind of request, and what must hold between fields.
 *
 *   body -> json_read_parse -> fields_read by the kind's table -> checks between fields, defaults that depend
 *
 * Guarantees: a request that is returned is complete, within every bound, and finite. Does not know: models. */
#include "proto/request.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/limits.h"
#include "core/sobol.h"

#define DEFAULT_LEVEL 0.9
#define DEFAULT_DECAY 0.5
#define DEFAULT_STEPS 10

#define X(name, word, available) {word, available},
static const struct field_word predict_outputs[] = {REQUEST_PREDICT_OUTPUT_MAP(X)};
static const struct field_word density_outputs[] = {REQUEST_DENSITY_OUTPUT_MAP(X)};
const struct field_word request_estimator_words[REQUEST_ESTIMATORS] = {REQUEST_ESTIMATOR_MAP(X)};
const struct field_word request_draws_words[REQUEST_DRAWS] = {REQUEST_DRAWS_MAP(X)};
const struct field_word request_weights_words[REQUEST_WEIGHTS] = {REQUEST_WEIGHTS_MAP(X)};
static const struct field_word intervals[] = {REQUEST_INTERVAL_MAP(X)};
static const struct field_word moves[] = {REQUEST_MOVES_MAP(X)};
#undef X

/* ---- the tables ---- */

#define AT(member) .at = offsetof(struct request, member)
#define UNLIMITED .limit_at = FIELD_NO_LIMIT
#define LIMITED(member) .limit_at = offsetof(struct request_limits, member)
#define STANDARD(value) .standard = (value), .has_standard = true
#define WORDS(table) .words = (table), .n_words = EBM_COUNT_OF(table)
#define MEMBERS(table) .members = (table), .n_members = EBM_COUNT_OF(table)
#define LATER(word)                                                                                                    \
    {                                                                                                                  \
        word, FIELD_LATER, UNLIMITED, .help = "of a later version"                                                     \
    }

/* What every kind has. */
#define COMMON_FIELDS                                                                                                  \
    {"inputs",                                                                                                         \
     FIELD_ROWS,                                                                                                       \
     AT(inputs),                                                                                                       \
     .max = LIMIT_ROWS,                                                                                                \
     LIMITED(max_rows),                                                                                                \
     .required = true,                                                                                                 \
     .help =                                                                                                           \
         "rows of as many numbers as the model has inputs, in its units; or images, a PNG or JPEG in base64 each"},    \
        {"model",   FIELD_TEXT,                                                                                        \
         AT(model), .max = LIMIT_NAME_BYTES,                                                                           \
         UNLIMITED, .help = "the model's name; needed when the server has several"},                                   \
        {"version",                                                                                                    \
         FIELD_WHOLE,                                                                                                  \
         AT(version),                                                                                                  \
         .min = 1,                                                                                                     \
         .max = REQUEST_MAX_SEED,                                                                                      \
         UNLIMITED,                                                                                                    \
         .help = "the model's version; the highest when left out"},                                                    \
        {"seed",    FIELD_WHOLE,                                                                                       \
         AT(seed),  .max = REQUEST_MAX_SEED,                                                                           \
         UNLIMITED, .help = "of the draws; picked and told when left out"},                                            \
        {"timeout_ms",                                                                                                 \
         FIELD_WHOLE,                                                                                                  \
         AT(timeout_ms),                                                                                               \
         .min = 1,                                                                                                     \
         .max = 86400000,                                                                                              \
         LIMITED(max_timeout_ms),                                                                                      \
         .help = "longest time in the queue and computing, in milliseconds"},                                          \
        {"priority",                                                                                                   \
         FIELD_WHOLE,                                                                                                  \
         AT(priority),                                                                                                 \
         .max = LIMIT_PRIORITIES,                                                                                      \
         UNLIMITED,                                                                                                    \
         .help = "before whom it leaves the model's queue: 1 is first, 0 the model's default; up to the model's "      \
                 "priority_levels"},                                                                                   \
    {                                                                                                                  \
        "id", FIELD_TEXT, AT(id), .max = REQUEST_ID_CHARACTERS, UNLIMITED, .help = "comes back in the answer"          \
    }

/* Draws of the proposal; num_draws goes by two names. */
#define NUM_DRAWS_FIELD(draws_name, draws_help)                                                                        \
    {                                                                                                                  \
        draws_name, FIELD_WHOLE, AT(num_draws), .min = 1, .max = LIMIT_SAMPLES, LIMITED(max_samples),                  \
                                                STANDARD(REQUEST_STANDARD_DRAWS), .help = draws_help                   \
    }

/* How a density is normalised. */
#define ESTIMATOR_FIELDS(draws_name, draws_help)                                                                       \
    {"estimator",                                                                                                      \
     FIELD_WORD,                                                                                                       \
     AT(estimator),                                                                                                    \
     UNLIMITED,                                                                                                        \
     STANDARD(REQUEST_ESTIMATOR_AUTO),                                                                                 \
     WORDS(request_estimator_words),                                                                                   \
     .help = "how to normalise: exact integrates a piecewise linear energy of a scalar target, quadrature any energy " \
             "of a scalar target, importance weighs draws of the proposal by the energy, mixture takes the proposal "  \
             "itself, auto takes the first that the model allows"},                                                    \
        NUM_DRAWS_FIELD(draws_name, draws_help),                                                                       \
        {"draws",                                                                                                      \
         FIELD_WORD,                                                                                                   \
         AT(draws),                                                                                                    \
         UNLIMITED,                                                                                                    \
         STANDARD(REQUEST_DRAWS_SOBOL),                                                                                \
         WORDS(request_draws_words),                                                                                   \
         .help = "how the proposal is drawn from: sobol spreads the draws evenly, independent is as in the papers"},   \
    {                                                                                                                  \
        "weights", FIELD_WORD, AT(weights), UNLIMITED, STANDARD(REQUEST_WEIGHTS_RAW), WORDS(request_weights_words),    \
            .help = "smoothed replaces the largest weights by quantiles of a Pareto distribution fitted to them"       \
    }

#define DRAWS_HELP "draws of the proposal a row, for importance; sobol rounds up to 8, 16, 32, ..."

#define ADAPTIVE_FIELDS                                                                                                \
    {"target_ess",                                                                                                     \
     FIELD_WHOLE,                                                                                                      \
     AT(target_ess),                                                                                                   \
     .min = 1,                                                                                                         \
     .max = LIMIT_SAMPLES,                                                                                             \
     LIMITED(max_samples),                                                                                             \
     .help = "the number of draws of a row is doubled until it has so many effective samples"},                        \
    {                                                                                                                  \
        "max_samples", FIELD_WHOLE, AT(max_samples), .min = 1, .max = LIMIT_SAMPLES, LIMITED(max_samples),             \
                                                     STANDARD(REQUEST_STANDARD_MOST),                                  \
                                                     .help = "with target_ess: at most so many draws of a row"         \
    }

static const struct field interval_fields[] = {
    {"kind", FIELD_WORD, AT(interval_kind), UNLIMITED, STANDARD(REQUEST_INTERVAL_EQUAL_TAILED), WORDS(intervals),
     .help = "equal_tailed leaves the same mass on both sides; highest_density is the smallest set, maybe of several "
             "intervals, when the target is one number"},
    {"level", FIELD_FRACTION, AT(interval_level), UNLIMITED, .help = "mass inside, 0.9 when left out"},
};

static const struct field predict_fields[] = {
    COMMON_FIELDS,
    ESTIMATOR_FIELDS("num_samples", DRAWS_HELP),
    {"outputs", FIELD_WORDS, AT(outputs), UNLIMITED, STANDARD(1u << REQUEST_PREDICT_MEAN | 1u << REQUEST_PREDICT_STD),
     WORDS(predict_outputs),
     .help = "what to answer; quantiles, interval, cdf and crps also come when their own field is given"},
    {"quantiles", FIELD_FRACTIONS, AT(quantiles), .max = LIMIT_QUANTILES, UNLIMITED,
     .help = "probabilities; 0.05, 0.5 and 0.95 when asked for by name"},
    {"interval", FIELD_OBJECT, UNLIMITED, MEMBERS(interval_fields), .help = "an interval that holds a given mass"},
    ADAPTIVE_FIELDS,
    {"partial", FIELD_FLAG, AT(partial), UNLIMITED, STANDARD(0),
     .help = "true: at its deadline importance answers by the draws that it has"},
    {"cdf", FIELD_POINTS, AT(cdf), .max = LIMIT_SAMPLES, LIMITED(max_samples),
     .help = "targets at which to give the cumulative probability, when the target is one number: a list for all rows, "
             "or one list for each"},
    {"crps_at", FIELD_POINTS, AT(crps_at), .max = LIMIT_SAMPLES, LIMITED(max_samples),
     .help = "targets at which to give the continuous ranked probability score, likewise"},
};

#define STEPS_HELP "a forward and a backward pass through the network each"
#define LENGTH_HELP "one number, or one for each number of the target, where its standard deviation in training is 1; "

static const struct field moves_fields[] = {
    {"method", FIELD_WORD, AT(moves), UNLIMITED, STANDARD(REQUEST_MOVES_LANGEVIN), WORDS(moves),
     .help = "a Metropolis-adjusted Langevin chain, which leaves p(y given x) as it is"},
    {"steps", FIELD_WHOLE, AT(steps), .min = 1, .max = LIMIT_STEPS, LIMITED(max_steps), STANDARD(DEFAULT_STEPS),
     .help = STEPS_HELP},
    {"step_length", FIELD_LENGTHS, AT(step_length), .max = LIMIT_TARGET_DIM, UNLIMITED,
     .help = LENGTH_HELP "0.05 when left out"},
};

static const struct field sample_fields[] = {
    COMMON_FIELDS,
    ESTIMATOR_FIELDS("num_proposals", DRAWS_HELP),
    {"num_samples", FIELD_WHOLE, AT(num_samples), .min = 1, .max = LIMIT_SAMPLES, LIMITED(max_samples),
     STANDARD(REQUEST_STANDARD_SAMPLES), .help = "samples to return a row; ignored when resample is false"},
    {"resample", FIELD_FLAG, AT(resample), UNLIMITED, STANDARD(1),
     .help = "true: samples chosen by weight, with replacement; false: every proposal draw with its log weight"},
    {"refine", FIELD_OBJECT, UNLIMITED, MEMBERS(moves_fields),
     .help = "moves the samples towards p(y given x) before they are returned"},
};

static const struct field grid_fields[] = {
    {"lower", FIELD_NUMBER, AT(grid_lower), UNLIMITED, .required = true, .help = "the first target"},
    {"upper", FIELD_NUMBER, AT(grid_upper), UNLIMITED, .required = true, .help = "the last target"},
    {"points", FIELD_WHOLE, AT(grid_points), .min = 1, .max = LIMIT_SAMPLES, LIMITED(max_samples), .required = true,
     .help = "number of targets, evenly spaced"},
};

static const struct field density_fields[] = {
    COMMON_FIELDS,
    ESTIMATOR_FIELDS("num_samples", DRAWS_HELP),
    {"outputs", FIELD_WORDS, AT(outputs), UNLIMITED, STANDARD((1u << REQUEST_DENSITY_OUTPUTS) - 1),
     WORDS(density_outputs), .help = "what to answer"},
    ADAPTIVE_FIELDS,
    {"targets", FIELD_TARGETS, AT(targets), .max = LIMIT_SAMPLES, LIMITED(max_samples),
     .help = "for every row of inputs a list of targets, each of as many numbers as the model's target has"},
    {"grid", FIELD_OBJECT, UNLIMITED, MEMBERS(grid_fields),
     .help = "evenly spaced targets for all rows instead, when the target is one number"},
};

static const struct field refine_fields[] = {
    COMMON_FIELDS,
    NUM_DRAWS_FIELD("num_samples", "draws of the proposal a row, among which starts are chosen"),
    {"initial", FIELD_TARGETS, AT(initial), .max = LIMIT_SAMPLES, LIMITED(max_samples),
     .help = "for every row of inputs a list of starts, each of as many numbers as the model's target has; without it "
             "the best draws of the proposal"},
    {"starts", FIELD_WHOLE, AT(starts), .min = 1, .max = LIMIT_STARTS, LIMITED(max_samples), STANDARD(4),
     .help = "how many of the draws, those of highest f; not together with initial"},
    {"steps", FIELD_WHOLE, AT(steps), .min = 1, .max = LIMIT_STEPS, LIMITED(max_steps), STANDARD(DEFAULT_STEPS),
     .help = STEPS_HELP},
    {"step_length", FIELD_LENGTHS, AT(step_length), .max = LIMIT_TARGET_DIM, UNLIMITED,
     .help = LENGTH_HELP "0.01 when left out"},
    {"decay", FIELD_FRACTION, AT(decay), UNLIMITED,
     .help = "what a step that would go down leaves of its start's step length; 0.5 when left out"},
    {"trajectory", FIELD_FLAG, AT(trajectory), UNLIMITED, STANDARD(0), .help = "true: the way from the best start too"},
};

#define TABLE(fields)                                                                                                  \
    {                                                                                                                  \
        fields, EBM_COUNT_OF(fields)                                                                                   \
    }
static const struct {
    const struct field *fields;
    uint32_t n;
} tables[REQUEST_KINDS] = {
    [REQUEST_PREDICT] = TABLE(predict_fields),
    [REQUEST_SAMPLE] = TABLE(sample_fields),
    [REQUEST_DENSITY] = TABLE(density_fields),
    [REQUEST_REFINE] = TABLE(refine_fields),
};

const struct field *request_fields(enum request_kind kind, uint32_t *ret_n)
{
    *ret_n = tables[kind].n;
    return tables[kind].fields;
}

const char *request_interval_word(uint32_t interval_kind)
{
    return intervals[interval_kind].word;
}

const char *request_output_word(enum request_kind kind, uint32_t output)
{
    return kind == REQUEST_PREDICT ? predict_outputs[output].word : density_outputs[output].word;
}

const char *request_path(enum request_kind kind)
{
#define X(name, path, summary) path,
    static const char *const paths[] = {REQUEST_KIND_MAP(X)};
#undef X
    return paths[kind];
}

const char *request_summary(enum request_kind kind)
{
#define X(name, path, summary) summary,
    static const char *const summaries[] = {REQUEST_KIND_MAP(X)};
#undef X
    return summaries[kind];
}

/* ---- between fields ---- */

static bool has_seen(const struct request *request, field_seen seen, const char *name)
{
    uint32_t n;
    const struct field *fields = request_fields(request->kind, &n);
    const struct field *field = fields_find(fields, n, name, strlen(name));
    return field && (seen >> (field - fields) & 1u) != 0;
}

/* Output `bit` comes with its field, and not without it. */
static enum ebm_status finish_points(struct request *request, const char *name, struct field_targets *points,
                                     uint32_t bit, struct ebm_error *reterr)
{
    if (points->n == 0 && request->outputs >> bit & 1u)
        return ebm_error_set(reterr, EBM_INVALID, name, "missing, expected the targets at which '%s' is asked for",
                             predict_outputs[bit].word);
    if (points->n > 0)
        request->outputs |= 1u << bit;
    if (points->rows == 0 || points->rows == request->inputs.n)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, name,
                         "expected a list of numbers for all rows, or %" PRIu32
                         " lists, one for each row of inputs; got "
                         "%" PRIu32 " lists",
                         request->inputs.n, points->rows);
}

static enum ebm_status finish_predict(struct request *request, field_seen seen, struct ebm_error *reterr)
{
    static const double default_quantiles[] = {0.05, 0.5, 0.95};
    if (has_seen(request, seen, "interval"))
        request->outputs |= 1u << REQUEST_PREDICT_INTERVAL;
    if (has_seen(request, seen, "quantiles"))
        request->outputs |= 1u << REQUEST_PREDICT_QUANTILES;
    else if (request->outputs & 1u << REQUEST_PREDICT_QUANTILES)
        request->quantiles = (struct field_numbers){EBM_COUNT_OF(default_quantiles), default_quantiles};
    enum ebm_status status = finish_points(request, "cdf", &request->cdf, REQUEST_PREDICT_CDF, reterr);
    if (status == EBM_OK)
        status = finish_points(request, "crps_at", &request->crps_at, REQUEST_PREDICT_CRPS, reterr);
    return status;
}

/* As numpy.linspace, and without overflow between far ends. Whole steps between whole ends are whole. */
static enum ebm_status lay_grid(struct request *request, struct ebm_arena *arena, struct ebm_error *reterr)
{
    uint32_t n = (uint32_t)request->grid_points;
    double *targets = EBM_ARENA_NEW(arena, double, n);
    if (!targets)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "grid.points", "no memory for %" PRIu32 " targets", n);
    for (uint32_t i = 0; i < n; i++) {
        double part = n > 1 ? i / (n - 1.0) : 0.0;
        double way = (request->grid_upper - request->grid_lower) * i;
        targets[i] = isfinite(way) && part < 1.0 ? request->grid_lower + way / fmax(n - 1.0, 1.0)
                                                 : request->grid_lower * (1.0 - part) + request->grid_upper * part;
    }
    request->targets = (struct field_targets){1, n, 1, targets};
    return EBM_OK;
}

static enum ebm_status finish_density(struct request *request, field_seen seen, struct ebm_arena *arena,
                                      struct ebm_error *reterr)
{
    request->has_grid = has_seen(request, seen, "grid");
    if (request->has_grid == has_seen(request, seen, "targets"))
        return ebm_error_set(reterr, EBM_INVALID, "targets", "expected either targets or a grid%s",
                             request->has_grid ? ", got both" : "");
    if (request->has_grid)
        return lay_grid(request, arena, reterr);
    if (request->targets.rows != request->inputs.n)
        return ebm_error_set(reterr, EBM_INVALID, "targets", "expected %" PRIu32 " rows as in inputs, got %" PRIu32,
                             request->inputs.n, request->targets.rows);
    return EBM_OK;
}

static void default_length(struct request *request, const double *length)
{
    if (request->step_length.n == 0)
        request->step_length = (struct field_numbers){1, length};
}

static void finish_sample(struct request *request, field_seen seen)
{
    static const double length = 0.05;
    request->moves_samples = has_seen(request, seen, "refine");
    default_length(request, &length);
}

static enum ebm_status finish_refine(struct request *request, field_seen seen, struct ebm_error *reterr)
{
    static const double length = 0.01;
    default_length(request, &length);
    if (!request->initial.numbers)
        return EBM_OK;
    if (has_seen(request, seen, "starts"))
        return ebm_error_set(reterr, EBM_INVALID, "starts", "expected either initial or starts, got both");
    if (request->initial.rows != request->inputs.n)
        return ebm_error_set(reterr, EBM_INVALID, "initial", "expected %" PRIu32 " rows as in inputs, got %" PRIu32,
                             request->inputs.n, request->initial.rows);
    return EBM_OK;
}

static enum ebm_status finish(struct request *request, field_seen seen, struct ebm_arena *arena,
                              struct ebm_error *reterr)
{
    request->has_seed = has_seen(request, seen, "seed");
    request->has_outputs = has_seen(request, seen, "outputs");
    request->has_estimator = has_seen(request, seen, "estimator");
    request->has_draws = has_seen(request, seen, "draws");
    request->has_weights = has_seen(request, seen, "weights");
    request->has_num_draws = has_seen(request, seen, request->kind == REQUEST_SAMPLE ? "num_proposals" : "num_samples");
    if (request->target_ess == 0 && request->kind != REQUEST_SAMPLE && has_seen(request, seen, "max_samples"))
        return ebm_error_set(reterr, EBM_INVALID, "max_samples",
                             "says where target_ess stops: give target_ess too, or num_samples instead");
    switch (request->kind) {
    case REQUEST_PREDICT:
        return finish_predict(request, seen, reterr);
    case REQUEST_SAMPLE:
        finish_sample(request, seen);
        return EBM_OK;
    case REQUEST_DENSITY:
        return finish_density(request, seen, arena, reterr);
    case REQUEST_REFINE:
        return finish_refine(request, seen, reterr);
    case REQUEST_INFER:
        break;
    }
    return EBM_OK;
}

const struct json_read_limits request_json_bounds = {LIMIT_JSON_DEPTH, LIMIT_JSON_VALUES};

static struct request blank(enum request_kind kind)
{
    return (struct request){.kind = kind, .interval_level = DEFAULT_LEVEL, .decay = DEFAULT_DECAY};
}

/* By the fast way (json_lists.h), which does not say what is wrong, or by the plain one. */
static enum ebm_status read_body(bool is_fast, const char *body, size_t body_bytes, const struct request_limits *limits,
                                 struct ebm_arena *arena, struct request *request, struct ebm_error *reterr)
{
    EBM_AUTO(json_read_freep) struct json_t *root = NULL;
    const struct field *fields = tables[request->kind].fields;
    uint32_t n = tables[request->kind].n;
    const char *names[JSON_LISTS];
    struct json_lists lists;
    field_seen seen = 0;
    enum ebm_status status;
    if (is_fast)
        status = json_lists_parse(body, body_bytes, &request_json_bounds, names, fields_lists(fields, n, names), arena,
                                  &lists, &root);
    else
        status = json_read_parse(body, body_bytes, &request_json_bounds, &root, reterr);
    if (status == EBM_OK)
        status = fields_read(fields, n, root, is_fast ? &lists : NULL, limits, arena, request, &seen, reterr);
    return status == EBM_OK ? finish(request, seen, arena, reterr) : status;
}

enum ebm_status request_read(enum request_kind kind, const char *body, size_t body_bytes,
                             const struct request_limits *limits, struct ebm_arena *arena, struct request *ret_request,
                             struct ebm_error *reterr)
{
    struct request request = blank(kind);
    enum ebm_status status = read_body(true, body, body_bytes, limits, arena, &request, NULL);
    if (status != EBM_OK) {
        request = blank(kind);
        status = read_body(false, body, body_bytes, limits, arena, &request, reterr);
    }
    if (status == EBM_OK)
        *ret_request = request;
    return status;
}

enum ebm_status request_read_rows(enum request_kind kind, const struct field_rows *rows, const char *body,
                                  size_t body_bytes, const struct request_limits *limits, struct ebm_arena *arena,
                                  struct request *ret_request, struct ebm_error *reterr)
{
    EBM_AUTO(json_read_freep) struct json_t *root = NULL;
    struct request request = blank(kind);
    const struct field *fields = tables[kind].fields;
    field_seen seen = 0;
    EBM_ASSERT(fields[0].kind == FIELD_ROWS); /* the first of all tables, and left out here */
    request.inputs = *rows;
    enum ebm_status status = json_read_parse(body, body_bytes, &request_json_bounds, &root, reterr);
    if (status == EBM_OK)
        status = fields_read(fields + 1, tables[kind].n - 1, root, NULL, limits, arena, &request, &seen, reterr);
    if (status == EBM_OK)
        status = finish(&request, seen << 1, arena, reterr);
    if (status == EBM_OK)
        *ret_request = request;
    return status;
}

uint64_t request_draws(const struct request *request)
{
    uint64_t n = request->num_draws;
    if (request->target_ess > 0 && request->max_samples > n)
        n = request->max_samples;
    bool by_sobol = request->kind != REQUEST_REFINE && request->draws == REQUEST_DRAWS_SOBOL;
    return by_sobol ? ebm_sobol_count((uint32_t)n) : n;
}

static const double *row_of_targets(const struct field_targets *targets, uint32_t row)
{
    size_t row_numbers = (size_t)targets->n * targets->D;
    return targets->numbers ? targets->numbers + (targets->rows > 1 ? row * row_numbers : 0) : NULL;
}

const double *request_targets(const struct request *request, uint32_t row)
{
    return row_of_targets(&request->targets, row);
}

const double *request_initial(const struct request *request, uint32_t row)
{
    return row_of_targets(&request->initial, row);
}

const double *request_points(const struct field_targets *points, uint32_t row)
{
    return points->numbers ? points->numbers + (size_t)(points->rows > 0 ? row : 0) * points->n : NULL;
}
