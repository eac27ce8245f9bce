/* oip_inputs.c - tensors of an infer request -> arrays of doubles -> rows, quantiles, targets and points of a request.
 *
 *   an input's JSON -> its name, shape and datatype -> data: flat or nested numbers, or the next bytes of the body
 *
 * Guarantees: sizes are checked before memory is taken; binary data are used to the last byte; numbers are finite, and
 * as their datatype has them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/oip_internal.h"

const char *oip_input_word(enum oip_input input)
{
    static const char *const words[OIP_INPUTS] = {[OIP_INPUT_X] = "x",
                                                  [OIP_INPUT_QUANTILES] = "quantiles",
                                                  [OIP_INPUT_TARGETS] = "targets",
                                                  [OIP_INPUT_CDF] = "cdf",
                                                  [OIP_INPUT_CRPS_AT] = "crps_at"};
    return words[input];
}

/* ---- the data of one input ---- */

static enum ebm_status fail_element(const struct oip_reading *reading, const struct oip_tensor *tensor, size_t i)
{
    char where[OIP_WHERE_BYTES];
    (void)snprintf(where, sizeof where, "inputs[%u].data", tensor->index);
    return ebm_error_set(reading->reterr, EBM_INVALID, where,
                         tensor->type >= TENSOR_FP32
                             ? "element %zu: expected a finite number within the range of %s"
                             : "element %zu: expected a whole number within the range of %s, below 2^53",
                         i, tensor_type_word(tensor->type));
}

static enum ebm_status make_room(const struct oip_reading *reading, struct oip_tensor *tensor, const char *where)
{
    tensor->numbers = EBM_ARENA_NEW(reading->arena, double, tensor->n);
    return tensor->numbers ? EBM_OK : ebm_error_set(reading->reterr, EBM_NO_MEMORY, where, "no memory");
}

/* Images, an eighth of the size that they would have as numbers. */
static enum ebm_status keep_bytes(const struct oip_reading *reading, struct oip_tensor *tensor, const char *where,
                                  const char *data)
{
    uint8_t *bytes = EBM_ARENA_NEW(reading->arena, uint8_t, tensor->n);
    if (!bytes)
        return ebm_error_set(reading->reterr, EBM_NO_MEMORY, where, "no memory");
    memcpy(bytes, data, tensor->n);
    tensor->bytes = bytes;
    return EBM_OK;
}

static enum ebm_status read_binary(struct oip_reading *reading, struct oip_tensor *tensor, const char *where,
                                   uint64_t size)
{
    size_t bytes = tensor->n * tensor_type_bytes(tensor->type), left = reading->body->size - reading->at;
    if (size != bytes)
        return ebm_error_set(reading->reterr, EBM_INVALID, where,
                             "binary_data_size is %" PRIu64 ", its shape and datatype make %zu", size, bytes);
    if (size > left)
        return ebm_error_set(reading->reterr, EBM_INVALID, where,
                             "binary_data_size is %" PRIu64 ", the body has %zu more bytes", size, left);
    const char *data = reading->body->bytes + reading->at;
    reading->at += bytes;
    if (tensor->type == TENSOR_UINT8 && tensor == &reading->inputs[OIP_INPUT_X])
        return keep_bytes(reading, tensor, where, data);
    enum ebm_status status = make_room(reading, tensor, where);
    if (status != EBM_OK)
        return status;
    size_t good = tensor_read(tensor->type, data, tensor->n, tensor->numbers);
    return good == tensor->n ? EBM_OK : fail_element(reading, tensor, good);
}

/* A list of numbers, elements from `first` on. */
static enum ebm_status read_flat(const struct oip_reading *reading, const struct oip_tensor *tensor,
                                 const struct json_t *list, size_t first, size_t n)
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
static enum ebm_status read_nested(const struct oip_reading *reading, const struct oip_tensor *tensor,
                                   const char *where, const struct json_t *list, const uint64_t *dims, uint32_t n_dims,
                                   size_t *at)
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

static enum ebm_status read_json(const struct oip_reading *reading, struct oip_tensor *tensor, const char *where,
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

static enum ebm_status read_shape(const struct oip_reading *reading, const struct json_t *value, const char *where,
                                  struct tensor_shape *ret_shape)
{
    size_t n;
    enum ebm_status status = json_read_list(value, where, 1, TENSOR_DIMS, "whole numbers", &n, reading->reterr);
    for (size_t i = 0; status == EBM_OK && i < n; i++)
        status = json_read_integer(json_read_at(value, i), where, 0, OIP_WHOLE_MAX, &ret_shape->dims[i],
                                   reading->reterr);
    if (status == EBM_OK)
        ret_shape->n_dims = (uint32_t)n;
    return status;
}

static enum ebm_status read_type(const struct oip_reading *reading, const struct json_t *value, const char *where,
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

static enum ebm_status find_input(struct oip_reading *reading, const struct json_t *value, const char *where,
                                  struct oip_tensor **ret_tensor)
{
    const char *word;
    enum ebm_status status = json_read_text(value, where, LIMIT_NAME_BYTES, &word, reading->reterr);
    for (uint32_t i = 0; status == EBM_OK && i < OIP_INPUTS; i++) {
        if (strcmp(word, oip_input_word(i)) != 0)
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
static enum ebm_status read_binary_size(const struct oip_reading *reading, struct json_t *parameters, const char *where,
                                        bool *ret_has, uint64_t *ret_size)
{
    static const char *const names[] = {"binary_data_size"};
    struct json_t *size = NULL;
    enum ebm_status status = EBM_OK;
    if (parameters)
        status = oip_gather(reading, parameters, where, names, EBM_COUNT_OF(names), &size);
    *ret_has = size != NULL;
    if (status != EBM_OK || !size)
        return status;
    return json_read_integer(size, where, 0, OIP_WHOLE_MAX, ret_size, reading->reterr);
}

enum { NAME, SHAPE, DATATYPE, PARAMETERS, DATA, INPUT_MEMBERS };
static const char *const input_members[] = {"name", "shape", "datatype", "parameters", "data"};

static enum ebm_status read_data(struct oip_reading *reading, struct oip_tensor *tensor, const char *where,
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

static enum ebm_status read_input(struct oip_reading *reading, struct json_t *value, uint32_t index)
{
    char where[OIP_WHERE_BYTES];
    struct json_t *values[INPUT_MEMBERS];
    struct oip_tensor *tensor = NULL;
    (void)snprintf(where, sizeof where, "inputs[%u]", index);
    enum ebm_status status = oip_gather(reading, value, where, input_members, INPUT_MEMBERS, values);
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

enum ebm_status oip_read_inputs(struct oip_reading *reading, const struct json_t *list)
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

/* The whole body is one row; of what type, the model knows. */
enum ebm_status oip_read_raw(struct oip_reading *reading)
{
    struct oip_tensor *x = &reading->inputs[OIP_INPUT_X];
    size_t size = reading->body->size;
    if (size == 0)
        return ebm_error_set(reading->reterr, EBM_INVALID, "body", "expected the numbers of one row, got 0 bytes");
    *x = (struct oip_tensor){.is_given = true, .type = TENSOR_UINT8, .shape = {2, {1, size}}, .n = size};
    return read_binary(reading, x, "body", size);
}

enum ebm_status oip_raw_floats(struct field_rows *rows, struct ebm_arena *arena, struct ebm_error *reterr)
{
    uint32_t X = rows->X / (uint32_t)sizeof(float);
    double *numbers = EBM_ARENA_NEW(arena, double, X);
    if (!numbers)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "body", "no memory");
    size_t good = tensor_read(TENSOR_FP32, (const char *)rows->bytes, X, numbers);
    if (good < X)
        return ebm_error_set(reterr, EBM_INVALID, "body", "element %zu: expected a finite number", good);
    *rows = (struct field_rows){.n = 1, .X = X, .numbers = numbers};
    return EBM_OK;
}

/* ---- inputs -> fields of the request ---- */

static enum ebm_status fail_shape(const struct oip_reading *reading, const struct oip_tensor *tensor,
                                  const char *expected)
{
    char where[OIP_WHERE_BYTES];
    (void)snprintf(where, sizeof where, "inputs[%u].shape", tensor->index);
    return ebm_error_set(reading->reterr, EBM_INVALID, where, "expected %s", expected);
}

static enum ebm_status set_rows(const struct oip_reading *reading, struct request *request)
{
    const struct oip_tensor *x = &reading->inputs[OIP_INPUT_X];
    const struct tensor_shape *shape = &x->shape;
    uint64_t max_rows = reading->limits->max_rows < LIMIT_ROWS ? reading->limits->max_rows : LIMIT_ROWS;
    struct field_rows rows = {.numbers = x->numbers, .bytes = x->bytes};
    char expected[OIP_WHERE_BYTES];
    if (!x->is_given)
        return ebm_error_set(reading->reterr, EBM_INVALID, "inputs", "expected a tensor 'x'");
    (void)snprintf(expected, sizeof expected,
                   "[rows, numbers of a row], of images [rows, channels, height, width], 1 to %" PRIu64 " rows",
                   max_rows);
    bool fits = (shape->n_dims == 2 || shape->n_dims == TENSOR_DIMS) && shape->dims[0] > 0 &&
                shape->dims[0] <= max_rows && x->n > 0 && x->n / shape->dims[0] <= UINT32_MAX;
    if (!fits)
        return fail_shape(reading, x, expected);
    rows.n = (uint32_t)shape->dims[0];
    rows.X = (uint32_t)(x->n / rows.n);
    for (uint32_t i = 0; shape->n_dims == TENSOR_DIMS && i < FIELD_ROW_DIMS; i++)
        rows.dims[i] = (uint32_t)shape->dims[i + 1];
    request->inputs = rows;
    return EBM_OK;
}

static enum ebm_status set_quantiles(const struct oip_reading *reading, struct request *request)
{
    static const double standard[] = {0.05, 0.5, 0.95};
    const struct oip_tensor *tensor = &reading->inputs[OIP_INPUT_QUANTILES];
    if (!tensor->is_given) {
        if (request->outputs & 1u << OIP_QUANTILES)
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
static enum ebm_status set_targets(const struct oip_reading *reading, struct request *request)
{
    const struct oip_tensor *tensor = &reading->inputs[OIP_INPUT_TARGETS];
    const struct tensor_shape *shape = &tensor->shape;
    if (!tensor->is_given)
        return EBM_OK;
    uint64_t D = shape->n_dims == 3 ? shape->dims[2] : 1;
    if (shape->n_dims < 2 || shape->n_dims > 3 || shape->dims[0] != request->inputs.n || shape->dims[1] < 1 ||
        shape->dims[1] > reading->limits->max_samples || D < 1 || D > LIMIT_TARGET_DIM)
        return fail_shape(reading, tensor,
                          "[rows, targets of a row, numbers of a target] with as many rows as x, within --max-samples");
    request->targets = (struct field_targets){request->inputs.n, (uint32_t)shape->dims[1], (uint32_t)D,
                                              tensor->numbers};
    return EBM_OK;
}

/* [points] for all rows, or [rows, points]. */
static enum ebm_status set_points(const struct oip_reading *reading, enum oip_input input, uint32_t rows,
                                  struct field_targets *ret_points)
{
    const struct oip_tensor *tensor = &reading->inputs[input];
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

enum ebm_status oip_set_inputs(const struct oip_reading *reading, struct request *request)
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
