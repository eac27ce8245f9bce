/* oip.c - a body of the Open Inference Protocol -> struct request.
 *
 *   body -> JSON | tensors -> members of every object, by name -> parameters by their table (fields.h)
 *        -> inputs, each an array of doubles -> the fields of the request that they stand for -> outputs
 *
 * Guarantees: every size is checked before memory is taken; tensors take exactly the bytes that are there; what is
 * returned is complete, within every bound, and finite. Does not know: models. */
#include "proto/oip.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/json_read.h"

#define WHERE_BYTES 96
#define WHOLE_MAX ((1ull << 53) - 1)

/* An input as it was sent. */
struct tensor {
    bool is_given;
    uint32_t index; /* in inputs */
    enum tensor_type type;
    struct tensor_shape shape;
    size_t n;
    double *numbers; /* (n) */
};

struct reading {
    const struct oip_body *body;
    size_t at; /* of the body: the next binary tensor */
    const struct request_limits *limits;
    struct ebm_arena *arena;
    struct ebm_error *reterr;
    struct tensor inputs[OIP_INPUTS];
};

/* Which outputs an input is for, and which of them it brings when none are named. */
static const struct {
    const char *word;
    uint32_t uses, brings;
    bool is_needed; /* by the outputs that use it */
} inputs[OIP_INPUTS] = {
#define BIT(name) (1u << OIP_##name)
    [OIP_INPUT_X] = {"x", ~0u, 0, true},
    [OIP_INPUT_QUANTILES] = {"quantiles", BIT(QUANTILES), BIT(QUANTILES), false},
    [OIP_INPUT_TARGETS] = {"targets", BIT(UNNORMALIZED_LOG_PROB) | BIT(LOG_PROB) | BIT(PROPOSAL_LOG_PROB),
                           BIT(UNNORMALIZED_LOG_PROB) | BIT(LOG_PROB), true},
    [OIP_INPUT_CDF] = {"cdf", BIT(CDF), BIT(CDF), true},
    [OIP_INPUT_CRPS_AT] = {"crps_at", BIT(CRPS), BIT(CRPS), true},
};

bool oip_read_length(const char *text, uint64_t *ret_length)
{
    uint64_t length = 0;
    if (!text[0])
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || length > WHOLE_MAX / 10)
            return false;
        length = length * 10 + (uint64_t)(*text - '0');
    }
    *ret_length = length;
    return length <= WHOLE_MAX;
}

/* ---- objects ---- */

/* The members of an object by their names; NULL: not there. What has no name here is refused. */
static enum ebm_status gather(const struct reading *reading, struct json_t *object, const char *where,
                              const char *const *names, uint32_t n, struct json_t **ret_values)
{
    enum ebm_status status = json_read_object(object, where, reading->reterr);
    void *member = status == EBM_OK ? json_read_first(object) : NULL;
    memset(ret_values, 0, n * sizeof(struct json_t *));
    for (; member; member = json_read_next(object, member)) {
        uint32_t i = 0;
        while (i < n && strcmp(json_read_key(member), names[i]) != 0)
            i++;
        if (i == n)
            return ebm_error_set(reading->reterr, EBM_INVALID, where, "unknown member '%.40s'", json_read_key(member));
        ret_values[i] = json_read_value(member);
    }
    return status;
}

static enum ebm_status fail_no_memory(const struct reading *reading, const char *where)
{
    return ebm_error_set(reading->reterr, EBM_NO_MEMORY, where, "no memory");
}

/* ---- parameters ---- */

#define X(name, word, available) {word, available},
static const struct field_word estimators[] = {REQUEST_ESTIMATOR_MAP(X)};
static const struct field_word draws[] = {REQUEST_DRAWS_MAP(X)};
static const struct field_word weights[] = {REQUEST_WEIGHTS_MAP(X)};
#undef X

struct parameters {
    struct request request;
    uint64_t timeout_us, num_samples, num_proposals;
    bool binary_data_output;
};

#define AT(member) .at = offsetof(struct parameters, member)
#define UNLIMITED .limit_at = FIELD_NO_LIMIT
#define SAMPLES .min = 1, .max = LIMIT_SAMPLES, .limit_at = offsetof(struct request_limits, max_samples)
#define WORDS(table) .words = (table), .n_words = EBM_COUNT_OF(table), .has_standard = true

enum { SEED, MAX_SAMPLES, ESTIMATOR, DRAWS, WEIGHTS };
static const struct field parameter_fields[] = {
    [SEED] = {"seed", FIELD_WHOLE, AT(request.seed), .max = REQUEST_MAX_SEED, UNLIMITED, .help = "as in /predict"},
    [MAX_SAMPLES] = {"max_samples", FIELD_WHOLE, AT(request.max_samples), SAMPLES, .standard = 16384,
                     .has_standard = true, .help = "as in /predict"},
    [ESTIMATOR] = {"estimator", FIELD_WORD, AT(request.estimator), UNLIMITED, WORDS(estimators),
                   .help = "as in /predict"},
    [DRAWS] = {"draws", FIELD_WORD, AT(request.draws), UNLIMITED, WORDS(draws), .help = "as in /predict"},
    [WEIGHTS] = {"weights", FIELD_WORD, AT(request.weights), UNLIMITED, WORDS(weights), .help = "as in /predict"},
    {"num_samples", FIELD_WHOLE, AT(num_samples), SAMPLES,
     .help = "draws of the proposal a row, 1024 when left out; with the outputs samples or log_weights as in /sample: "
             "samples to return, 100 when left out"},
    {"num_proposals", FIELD_WHOLE, AT(num_proposals), SAMPLES,
     .help = "with the outputs samples or log_weights: draws of the proposal a row, 1024 when left out"},
    {"target_ess", FIELD_WHOLE, AT(request.target_ess), SAMPLES, .help = "as in /predict"},
    {"timeout", FIELD_WHOLE, AT(timeout_us), .max = WHOLE_MAX,
     .limit_at = offsetof(struct request_limits, max_timeout_us),
     .help = "longest time in the queue and computing, in microseconds; 0: the server's"},
    {"priority", FIELD_WHOLE, AT(request.priority), .max = UINT32_MAX, UNLIMITED,
     .help = "1 leaves the model's queue first; 0, and more than the model's priority_levels, is its default"},
    {"binary_data_output", FIELD_FLAG, AT(binary_data_output), UNLIMITED,
     .help = "outputs as binary data, unless their own parameter binary_data says otherwise"},
};

const struct field *oip_parameters(uint32_t *ret_n)
{
    *ret_n = EBM_COUNT_OF(parameter_fields);
    return parameter_fields;
}

/* Weights are those of num_proposals draws. */
static enum ebm_status check_weights(const struct reading *reading, const struct request *request)
{
    if (!(request->outputs & BIT(LOG_WEIGHTS)))
        return EBM_OK;
    if (request->target_ess > 0)
        return ebm_error_set(reading->reterr, EBM_INVALID, "parameters.target_ess",
                             "does not go with the output 'log_weights': those are of num_proposals draws");
    if (request->estimator != REQUEST_ESTIMATOR_AUTO && request->estimator != REQUEST_ESTIMATOR_IMPORTANCE)
        return ebm_error_set(reading->reterr, EBM_INVALID, "parameters.estimator",
                             "the output 'log_weights' needs 'importance' or 'auto'");
    return EBM_OK;
}

/* Needs the outputs: with samples among them the two numbers are those of /sample. */
static enum ebm_status set_numbers(const struct reading *reading, const struct parameters *parameters,
                                   struct request *request)
{
    const uint64_t standard_draws = 1024, standard_samples = 100;
    const uint64_t max = reading->limits->max_samples;
    uint64_t n = parameters->num_samples, proposals = parameters->num_proposals;
    bool returns_samples = (request->outputs & (BIT(SAMPLES) | BIT(LOG_WEIGHTS))) != 0;
    if (!returns_samples && proposals > 0)
        return ebm_error_set(reading->reterr, EBM_INVALID, "parameters.num_proposals",
                             "goes with the outputs 'samples' and 'log_weights', use num_samples");
    uint64_t draws_given = returns_samples ? proposals : n;
    request->has_num_draws = draws_given > 0;
    request->num_draws = draws_given > 0 ? draws_given : standard_draws < max ? standard_draws : max;
    request->num_samples = n > 0 ? n : standard_samples < max ? standard_samples : max;
    request->resample = !(request->outputs & BIT(LOG_WEIGHTS));
    return EBM_OK;
}

static enum ebm_status finish_parameters(const struct reading *reading, struct parameters *parameters, field_seen seen)
{
    struct request *request = &parameters->request;
    request->has_seed = (seen >> SEED & 1u) != 0;
    request->has_estimator = (seen >> ESTIMATOR & 1u) != 0;
    request->has_draws = (seen >> DRAWS & 1u) != 0;
    request->has_weights = (seen >> WEIGHTS & 1u) != 0;
    request->timeout_ms = parameters->timeout_us / 1000 + (parameters->timeout_us % 1000 > 0);
    if (request->target_ess == 0 && seen >> MAX_SAMPLES & 1u)
        return ebm_error_set(reading->reterr, EBM_INVALID, "parameters.max_samples",
                             "says where target_ess stops: give target_ess too, or num_samples instead");
    return EBM_OK;
}

/* `object` NULL: all are left out; `empty` is an object without members. */
static enum ebm_status read_parameters(const struct reading *reading, struct json_t *object, struct json_t *empty,
                                       struct parameters *parameters)
{
    field_seen seen = 0;
    enum ebm_status status = EBM_OK;
    if (object)
        status = json_read_object(object, "parameters", reading->reterr);
    if (status != EBM_OK)
        return status;
    status = fields_read(parameter_fields, EBM_COUNT_OF(parameter_fields), object ? object : empty, NULL,
                         reading->limits, reading->arena, parameters, &seen, reading->reterr);
    if (status != EBM_OK) {
        (void)ebm_error_prefix(reading->reterr, "parameters");
        return status;
    }
    return finish_parameters(reading, parameters, seen);
}

/* ---- the data of one input ---- */

static enum ebm_status fail_element(const struct reading *reading, const struct tensor *tensor, size_t i)
{
    char where[WHERE_BYTES];
    (void)snprintf(where, sizeof where, "inputs[%u].data", tensor->index);
    return ebm_error_set(reading->reterr, EBM_INVALID, where,
                         tensor->type >= TENSOR_FP32
                             ? "element %zu: expected a finite number within the range of %s"
                             : "element %zu: expected a whole number within the range of %s, below 2^53",
                         i, tensor_type_word(tensor->type));
}

static enum ebm_status make_room(const struct reading *reading, struct tensor *tensor, const char *where)
{
    tensor->numbers = EBM_ARENA_NEW(reading->arena, double, tensor->n);
    return tensor->numbers ? EBM_OK : fail_no_memory(reading, where);
}

static enum ebm_status read_binary(struct reading *reading, struct tensor *tensor, const char *where, uint64_t size)
{
    size_t bytes = tensor->n * tensor_type_bytes(tensor->type), left = reading->body->size - reading->at;
    if (size != bytes)
        return ebm_error_set(reading->reterr, EBM_INVALID, where,
                             "binary_data_size is %" PRIu64 ", its shape and datatype make %zu", size, bytes);
    if (size > left)
        return ebm_error_set(reading->reterr, EBM_INVALID, where,
                             "binary_data_size is %" PRIu64 ", the body has %zu more bytes", size, left);
    enum ebm_status status = make_room(reading, tensor, where);
    if (status != EBM_OK)
        return status;
    size_t good = tensor_read(tensor->type, reading->body->bytes + reading->at, tensor->n, tensor->numbers);
    reading->at += bytes;
    return good == tensor->n ? EBM_OK : fail_element(reading, tensor, good);
}

/* A list of numbers, elements from `first` on. */
static enum ebm_status read_flat(const struct reading *reading, const struct tensor *tensor, const struct json_t *list,
                                 size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct json_t *value = json_read_at(list, i);
        if (!json_read_is_number(value) ||
            !tensor_convert(tensor->type, json_read_double(value), &tensor->numbers[first + i]))
            return fail_element(reading, tensor, first + i);
    }
    return EBM_OK;
}

/* Lists in lists, of these dims; *at is the next element. */
static enum ebm_status read_nested(const struct reading *reading, const struct tensor *tensor, const char *where,
                                   const struct json_t *list, const uint64_t *dims, uint32_t n_dims, size_t *at)
{
    size_t n;
    enum ebm_status status = json_read_list(list, where, dims[0], dims[0], "values, as its shape says", &n,
                                            reading->reterr);
    if (status == EBM_OK && n_dims == 1) {
        status = read_flat(reading, tensor, list, *at, n);
        *at += n;
        return status;
    }
    for (size_t i = 0; status == EBM_OK && i < n; i++)
        status = read_nested(reading, tensor, where, json_read_at(list, i), dims + 1, n_dims - 1, at);
    return status;
}

static enum ebm_status read_json(const struct reading *reading, struct tensor *tensor, const char *where,
                                 const struct json_t *data)
{
    size_t n = tensor->n, at = 0;
    if (n > LIMIT_JSON_VALUES)
        return ebm_error_set(reading->reterr, EBM_INVALID, where, "a shape of %zu numbers: at most %u in JSON", n,
                             LIMIT_JSON_VALUES);
    bool is_nested = json_read_is_list(data) && json_read_length(data) > 0 && json_read_is_list(json_read_at(data, 0));
    enum ebm_status status = EBM_OK;
    if (!is_nested)
        status = json_read_list(data, where, n, n, "numbers, as its shape says", &at, reading->reterr);
    if (status == EBM_OK)
        status = make_room(reading, tensor, where);
    if (status != EBM_OK)
        return status;
    at = 0;
    return is_nested ? read_nested(reading, tensor, where, data, tensor->shape.dims, tensor->shape.n_dims, &at)
                     : read_flat(reading, tensor, data, 0, n);
}

/* ---- one input ---- */

static enum ebm_status read_shape(const struct reading *reading, const struct json_t *value, const char *where,
                                  struct tensor_shape *ret_shape)
{
    size_t n;
    enum ebm_status status = json_read_list(value, where, 1, TENSOR_DIMS, "whole numbers", &n, reading->reterr);
    for (size_t i = 0; status == EBM_OK && i < n; i++)
        status = json_read_integer(json_read_at(value, i), where, 0, WHOLE_MAX, &ret_shape->dims[i], reading->reterr);
    if (status == EBM_OK)
        ret_shape->n_dims = (uint32_t)n;
    return status;
}

static enum ebm_status read_type(const struct reading *reading, const struct json_t *value, const char *where,
                                 enum tensor_type *ret_type)
{
    const char *word;
    enum ebm_status status = json_read_text(value, where, LIMIT_NAME_BYTES, &word, reading->reterr);
    if (status != EBM_OK)
        return status;
    if (tensor_type_find(word, ret_type) && *ret_type != TENSOR_BOOL)
        return EBM_OK;
    return ebm_error_set(reading->reterr, EBM_INVALID, where,
                         "'%.20s' is not a datatype of inputs, expected FP32, FP64, or INT and UINT of 8 to 64 bits",
                         word);
}

static enum ebm_status find_input(struct reading *reading, const struct json_t *value, const char *where,
                                  struct tensor **ret_tensor)
{
    const char *word;
    enum ebm_status status = json_read_text(value, where, LIMIT_NAME_BYTES, &word, reading->reterr);
    for (uint32_t i = 0; status == EBM_OK && i < OIP_INPUTS; i++) {
        if (strcmp(word, inputs[i].word) != 0)
            continue;
        if (reading->inputs[i].is_given)
            return ebm_error_set(reading->reterr, EBM_INVALID, where, "'%s' stands there twice", word);
        *ret_tensor = &reading->inputs[i];
        return EBM_OK;
    }
    if (status != EBM_OK)
        return status;
    return ebm_error_set(reading->reterr, EBM_INVALID, where,
                         "unknown input '%.40s', expected x, quantiles, targets, cdf or crps_at", word);
}

/* parameters.binary_data_size; *ret_has false: not there. */
static enum ebm_status read_binary_size(const struct reading *reading, struct json_t *parameters, const char *where,
                                        bool *ret_has, uint64_t *ret_size)
{
    static const char *const names[] = {"binary_data_size"};
    struct json_t *size = NULL;
    enum ebm_status status = EBM_OK;
    if (parameters)
        status = gather(reading, parameters, where, names, EBM_COUNT_OF(names), &size);
    *ret_has = size != NULL;
    if (status != EBM_OK || !size)
        return status;
    return json_read_integer(size, where, 0, WHOLE_MAX, ret_size, reading->reterr);
}

enum { NAME, SHAPE, DATATYPE, PARAMETERS, DATA, INPUT_MEMBERS };
static const char *const input_members[] = {"name", "shape", "datatype", "parameters", "data"};

static enum ebm_status read_data(struct reading *reading, struct tensor *tensor, const char *where,
                                 struct json_t *const values[INPUT_MEMBERS])
{
    bool is_binary = false;
    uint64_t size = 0;
    size_t bytes;
    if (!tensor_bytes(&tensor->shape, sizeof(double), &bytes))
        return ebm_error_set(reading->reterr, EBM_INVALID, where, "a shape of more numbers than there can be");
    tensor->n = bytes / sizeof(double);
    enum ebm_status status = read_binary_size(reading, values[PARAMETERS], where, &is_binary, &size);
    if (status != EBM_OK)
        return status;
    if (is_binary == (values[DATA] != NULL))
        return ebm_error_set(reading->reterr, EBM_INVALID, where,
                             "expected either data or the parameter binary_data_size%s", is_binary ? ", got both" : "");
    return is_binary ? read_binary(reading, tensor, where, size) : read_json(reading, tensor, where, values[DATA]);
}

static enum ebm_status read_input(struct reading *reading, struct json_t *value, uint32_t index)
{
    char where[WHERE_BYTES];
    struct json_t *values[INPUT_MEMBERS];
    struct tensor *tensor = NULL;
    (void)snprintf(where, sizeof where, "inputs[%u]", index);
    enum ebm_status status = gather(reading, value, where, input_members, INPUT_MEMBERS, values);
    for (uint32_t i = 0; status == EBM_OK && i <= DATATYPE; i++)
        if (!values[i])
            status = ebm_error_set(reading->reterr, EBM_INVALID, where, "has no %s", input_members[i]);
    if (status == EBM_OK)
        status = find_input(reading, values[NAME], where, &tensor);
    if (status != EBM_OK)
        return status;
    tensor->index = index;
    tensor->is_given = true;
    (void)snprintf(where, sizeof where, "inputs[%u].shape", index);
    status = read_shape(reading, values[SHAPE], where, &tensor->shape);
    (void)snprintf(where, sizeof where, "inputs[%u].datatype", index);
    if (status == EBM_OK)
        status = read_type(reading, values[DATATYPE], where, &tensor->type);
    (void)snprintf(where, sizeof where, "inputs[%u]", index);
    return status == EBM_OK ? read_data(reading, tensor, where, values) : status;
}

static enum ebm_status read_inputs(struct reading *reading, const struct json_t *list)
{
    size_t n;
    if (!list)
        return ebm_error_set(reading->reterr, EBM_INVALID, "inputs", "missing, expected a list of tensors");
    enum ebm_status status = json_read_list(list, "inputs", 1, OIP_INPUTS, "tensors", &n, reading->reterr);
    for (uint32_t i = 0; status == EBM_OK && i < n; i++)
        status = read_input(reading, json_read_at(list, i), i);
    if (status == EBM_OK && reading->at != reading->body->size)
        status = ebm_error_set(reading->reterr, EBM_INVALID, "body", "%zu bytes follow the last tensor",
                               reading->body->size - reading->at);
    return status;
}

/* The whole body is one row of floats. */
static enum ebm_status read_raw(struct reading *reading)
{
    struct tensor *x = &reading->inputs[OIP_INPUT_X];
    size_t size = reading->body->size, element = sizeof(float);
    if (size == 0 || size % element != 0)
        return ebm_error_set(reading->reterr, EBM_INVALID, "body",
                             "expected the numbers of one row as FP32, 4 bytes each, got %zu bytes", size);
    *x = (struct tensor){true, 0, TENSOR_FP32, {2, {1, size / element}}, size / element, NULL};
    return read_binary(reading, x, "body", size);
}

/* ---- inputs -> fields of the request ---- */

static enum ebm_status fail_shape(const struct reading *reading, const struct tensor *tensor, const char *expected)
{
    char where[WHERE_BYTES];
    (void)snprintf(where, sizeof where, "inputs[%u].shape", tensor->index);
    return ebm_error_set(reading->reterr, EBM_INVALID, where, "expected %s", expected);
}

static enum ebm_status set_rows(const struct reading *reading, struct request *request)
{
    const struct tensor *x = &reading->inputs[OIP_INPUT_X];
    char expected[WHERE_BYTES];
    if (!x->is_given)
        return ebm_error_set(reading->reterr, EBM_INVALID, "inputs", "expected a tensor 'x'");
    (void)snprintf(expected, sizeof expected, "[rows, numbers of a row], 1 to %" PRIu64 " rows",
                   reading->limits->max_rows < LIMIT_ROWS ? reading->limits->max_rows : LIMIT_ROWS);
    uint64_t rows = x->shape.dims[0], X = x->shape.dims[1];
    bool fits = x->shape.n_dims == 2 && rows > 0 && rows <= reading->limits->max_rows && rows <= LIMIT_ROWS && X > 0 &&
                X <= UINT32_MAX;
    if (!fits)
        return fail_shape(reading, x, expected);
    request->inputs = (struct field_rows){(uint32_t)rows, (uint32_t)X, x->numbers};
    return EBM_OK;
}

static enum ebm_status set_quantiles(const struct reading *reading, struct request *request)
{
    static const double standard[] = {0.05, 0.5, 0.95};
    const struct tensor *tensor = &reading->inputs[OIP_INPUT_QUANTILES];
    if (!tensor->is_given) {
        if (request->outputs & BIT(QUANTILES))
            request->quantiles = (struct field_numbers){EBM_COUNT_OF(standard), standard};
        return EBM_OK;
    }
    if (tensor->shape.n_dims != 1 || tensor->n < 1 || tensor->n > LIMIT_QUANTILES)
        return fail_shape(reading, tensor, "[n], 1 to 64 probabilities");
    for (size_t i = 0; i < tensor->n; i++)
        if (!(tensor->numbers[i] > 0.0 && tensor->numbers[i] < 1.0))
            return ebm_error_set(reading->reterr, EBM_INVALID, "quantiles",
                                 "expected numbers between 0 and 1, both excluded, got %g", tensor->numbers[i]);
    request->quantiles = (struct field_numbers){(uint32_t)tensor->n, tensor->numbers};
    return EBM_OK;
}

/* [rows, targets, numbers of a target], or without the last for one number. */
static enum ebm_status set_targets(const struct reading *reading, struct request *request)
{
    const struct tensor *tensor = &reading->inputs[OIP_INPUT_TARGETS];
    const struct tensor_shape *shape = &tensor->shape;
    if (!tensor->is_given)
        return EBM_OK;
    uint64_t D = shape->n_dims == 3 ? shape->dims[2] : 1;
    if (shape->n_dims < 2 || shape->dims[0] != request->inputs.n || shape->dims[1] < 1 ||
        shape->dims[1] > reading->limits->max_samples || D < 1 || D > LIMIT_TARGET_DIM)
        return fail_shape(reading, tensor,
                          "[rows, targets of a row, numbers of a target] with as many rows as x, within --max-samples");
    request->targets = (struct field_targets){request->inputs.n, (uint32_t)shape->dims[1], (uint32_t)D,
                                              tensor->numbers};
    return EBM_OK;
}

/* [points] for all rows, or [rows, points]. */
static enum ebm_status set_points(const struct reading *reading, enum oip_input input, uint32_t rows,
                                  struct field_targets *ret_points)
{
    const struct tensor *tensor = &reading->inputs[input];
    const struct tensor_shape *shape = &tensor->shape;
    if (!tensor->is_given)
        return EBM_OK;
    bool is_shared = shape->n_dims == 1;
    uint64_t n = shape->dims[is_shared ? 0 : 1];
    if (shape->n_dims > 2 || (!is_shared && shape->dims[0] != rows) || n < 1 || n > reading->limits->max_samples)
        return fail_shape(reading, tensor, "[targets] for all rows, or [rows, targets] with as many rows as x");
    *ret_points = (struct field_targets){is_shared ? 0 : rows, (uint32_t)n, 1, tensor->numbers};
    return EBM_OK;
}

static enum ebm_status set_inputs(const struct reading *reading, struct request *request)
{
    enum ebm_status status = set_rows(reading, request);
    if (status == EBM_OK)
        status = set_quantiles(reading, request);
    if (status == EBM_OK)
        status = set_targets(reading, request);
    if (status == EBM_OK)
        status = set_points(reading, OIP_INPUT_CDF, request->inputs.n, &request->cdf);
    if (status == EBM_OK)
        status = set_points(reading, OIP_INPUT_CRPS_AT, request->inputs.n, &request->crps_at);
    return status;
}

/* ---- outputs ---- */

static enum ebm_status find_output(const struct reading *reading, const struct json_t *value, const char *where,
                                   enum oip_output *ret_output)
{
    const char *word;
    enum ebm_status status = json_read_text(value, where, LIMIT_NAME_BYTES, &word, reading->reterr);
    for (uint32_t i = 0; status == EBM_OK && i < OIP_OUTPUTS; i++)
        if (strcmp(word, oip_output_word(i)) == 0) {
            *ret_output = i;
            return EBM_OK;
        }
    if (status != EBM_OK)
        return status;
    char known[240];
    size_t used = 0;
    for (uint32_t i = 0; i < OIP_OUTPUTS && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", oip_output_word(i));
    return ebm_error_set(reading->reterr, EBM_INVALID, where, "unknown output '%.40s', expected one of: %s", word,
                         known);
}

static enum ebm_status read_output(const struct reading *reading, struct json_t *value, uint32_t index, bool binary,
                                   struct request *request, struct oip_wanted *wanted)
{
    static const char *const names[] = {"name", "parameters"}, *const parameter_names[] = {"binary_data"};
    char where[WHERE_BYTES];
    struct json_t *values[2], *flag = NULL;
    enum oip_output output = OIP_MEAN;
    (void)snprintf(where, sizeof where, "outputs[%u]", index);
    enum ebm_status status = gather(reading, value, where, names, EBM_COUNT_OF(names), values);
    if (status == EBM_OK && !values[0])
        status = ebm_error_set(reading->reterr, EBM_INVALID, where, "has no name");
    if (status == EBM_OK)
        status = find_output(reading, values[0], where, &output);
    if (status == EBM_OK && request->outputs >> output & 1u)
        status = ebm_error_set(reading->reterr, EBM_INVALID, where, "'%s' stands there twice", oip_output_word(output));
    if (status == EBM_OK && values[1])
        status = gather(reading, values[1], where, parameter_names, 1, &flag);
    if (status == EBM_OK && flag)
        status = json_read_bool(flag, where, &binary, reading->reterr);
    if (status != EBM_OK)
        return status;
    request->outputs |= 1u << output;
    wanted->outputs[wanted->n_outputs].output = output;
    wanted->outputs[wanted->n_outputs++].binary = binary;
    return EBM_OK;
}

/* Those that the inputs bring, and the standard ones. */
static void want_standard(const struct reading *reading, bool binary, struct request *request,
                          struct oip_wanted *wanted)
{
    request->outputs = OIP_STANDARD_OUTPUTS;
    for (uint32_t i = 0; i < OIP_INPUTS; i++)
        request->outputs |= reading->inputs[i].is_given ? inputs[i].brings : 0;
    for (uint32_t i = 0; i < OIP_OUTPUTS; i++)
        if (request->outputs >> i & 1u) {
            wanted->outputs[wanted->n_outputs].output = i;
            wanted->outputs[wanted->n_outputs++].binary = binary;
        }
}

/* Inputs that outputs need, outputs that inputs are for. */
static enum ebm_status check_use(const struct reading *reading, uint32_t outputs)
{
    for (uint32_t i = 0; i < OIP_INPUTS; i++) {
        bool is_used = (outputs & inputs[i].uses) != 0;
        if (reading->inputs[i].is_given && !is_used)
            return ebm_error_set(reading->reterr, EBM_INVALID, "inputs",
                                 "'%s' is there, and no output that needs it is asked for", inputs[i].word);
        if (is_used && inputs[i].is_needed && !reading->inputs[i].is_given)
            return ebm_error_set(reading->reterr, EBM_INVALID, "inputs",
                                 "missing '%s', which an output that is asked for needs", inputs[i].word);
    }
    return EBM_OK;
}

static enum ebm_status read_outputs(const struct reading *reading, const struct json_t *list, bool binary,
                                    struct request *request, struct oip_wanted *wanted)
{
    size_t n = 0;
    enum ebm_status status = EBM_OK;
    if (list)
        status = json_read_list(list, "outputs", 0, OIP_OUTPUTS, "outputs", &n, reading->reterr);
    for (uint32_t i = 0; status == EBM_OK && i < n; i++)
        status = read_output(reading, json_read_at(list, i), i, binary, request, wanted);
    if (status == EBM_OK && n == 0)
        want_standard(reading, binary, request, wanted);
    return status == EBM_OK ? check_use(reading, request->outputs) : status;
}

/* ---- the whole ---- */

static enum ebm_status read_id(const struct reading *reading, const struct json_t *value, struct request *request)
{
    const char *text;
    if (!value)
        return EBM_OK;
    enum ebm_status status = json_read_text(value, "id", REQUEST_ID_CHARACTERS, &text, reading->reterr);
    if (status != EBM_OK || !text[0])
        return status;
    request->id = ebm_arena_text(reading->arena, text, strlen(text));
    return request->id ? EBM_OK : fail_no_memory(reading, "id");
}

/* Some clients repeat what stands in the path. */
static enum ebm_status check_name(const struct reading *reading, const struct json_t *value, const char *where)
{
    const char *text;
    return value ? json_read_text(value, where, LIMIT_NAME_BYTES, &text, reading->reterr) : EBM_OK;
}

/* What the JSON, or for a raw body nothing, says. */
static enum ebm_status read_message(struct reading *reading, struct json_t *root, bool is_raw,
                                    struct request *ret_request, struct oip_wanted *ret_wanted)
{
    enum { ID, OPTIONS, TENSORS, OUTPUTS, MODEL_NAME, MODEL_VERSION, MEMBERS };
    static const char *const names[] = {"id", "parameters", "inputs", "outputs", "model_name", "model_version"};
    EBM_AUTO(json_read_freep) struct json_t *empty = NULL;
    static const struct json_read_limits small = {1, 2};
    struct json_t *values[MEMBERS];
    struct parameters parameters = {.request = {.kind = REQUEST_INFER, .has_outputs = true}};
    struct oip_wanted wanted = {.is_raw = is_raw};
    struct request *request = &parameters.request;
    enum ebm_status status = gather(reading, root, "body", names, MEMBERS, values);
    if (status == EBM_OK)
        status = json_read_parse("{}", 2, &small, &empty, reading->reterr);
    if (status == EBM_OK)
        status = read_parameters(reading, values[OPTIONS], empty, &parameters);
    if (status == EBM_OK)
        status = read_id(reading, values[ID], request);
    if (status == EBM_OK)
        status = check_name(reading, values[MODEL_NAME], names[MODEL_NAME]);
    if (status == EBM_OK)
        status = check_name(reading, values[MODEL_VERSION], names[MODEL_VERSION]);
    if (status == EBM_OK)
        status = is_raw ? read_raw(reading) : read_inputs(reading, values[TENSORS]);
    if (status == EBM_OK)
        status = read_outputs(reading, values[OUTPUTS], is_raw || parameters.binary_data_output, request, &wanted);
    if (status == EBM_OK)
        status = set_inputs(reading, request);
    if (status == EBM_OK)
        status = check_weights(reading, request);
    if (status == EBM_OK)
        status = set_numbers(reading, &parameters, request);
    if (status != EBM_OK)
        return status;
    *ret_request = *request;
    *ret_wanted = wanted;
    return EBM_OK;
}

enum ebm_status oip_read(const struct oip_body *body, const struct request_limits *limits, struct ebm_arena *arena,
                         struct request *ret_request, struct oip_wanted *ret_wanted, struct ebm_error *reterr)
{
    static const struct json_read_limits bounds = {LIMIT_JSON_DEPTH, LIMIT_JSON_VALUES};
    EBM_AUTO(json_read_freep) struct json_t *root = NULL;
    bool is_raw = body->has_json_bytes && body->json_bytes == 0;
    size_t json_bytes = body->size;
    if (body->has_json_bytes && body->json_bytes > body->size)
        return ebm_error_set(reterr, EBM_INVALID, OIP_LENGTH_HEADER,
                             "expected at most the %zu bytes of the body, got %" PRIu64, body->size, body->json_bytes);
    if (body->has_json_bytes)
        json_bytes = (size_t)body->json_bytes;
    struct reading reading = {body, json_bytes, limits, arena, reterr, {{false}}};
    enum ebm_status status = is_raw ? json_read_parse("{}", 2, &bounds, &root, reterr)
                                    : json_read_parse(body->bytes, json_bytes, &bounds, &root, reterr);
    return status == EBM_OK ? read_message(&reading, root, is_raw, ret_request, ret_wanted) : status;
}
