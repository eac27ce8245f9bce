/* oip.c - a body of the Open Inference Protocol -> struct request.
 *
 *   body -> JSON | tensors -> members of every object, by name -> parameters by their table (fields.h)
 *        -> inputs (oip_inputs.c) -> outputs -> what must hold between them
 *
 * Guarantees: what is returned is complete, within every bound, and finite; nothing that was sent is passed over in
 * silence. Does not know: models. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/oip_internal.h"

/* Which outputs an input is for, and which of them it brings when none are named. */
static const struct {
    uint32_t uses, brings;
    bool is_needed; /* by the outputs that use it */
} inputs[OIP_INPUTS] = {
#define BIT(name) (1u << OIP_##name)
    [OIP_INPUT_X] = {~0u, 0, true},
    [OIP_INPUT_QUANTILES] = {BIT(QUANTILES), BIT(QUANTILES), false},
    [OIP_INPUT_TARGETS] = {BIT(UNNORMALIZED_LOG_PROB) | BIT(LOG_PROB) | BIT(PROPOSAL_LOG_PROB),
                           BIT(UNNORMALIZED_LOG_PROB) | BIT(LOG_PROB), true},
    [OIP_INPUT_CDF] = {BIT(CDF), BIT(CDF), true},
    [OIP_INPUT_CRPS_AT] = {BIT(CRPS), BIT(CRPS), true},
};

bool oip_read_length(const char *text, uint64_t *ret_length)
{
    uint64_t length = 0;
    if (!text[0])
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || length > OIP_WHOLE_MAX / 10)
            return false;
        length = length * 10 + (uint64_t)(*text - '0');
    }
    *ret_length = length;
    return length <= OIP_WHOLE_MAX;
}

/* ---- objects ---- */

/* The members of an object by their names; NULL: not there. What has no name here is refused. */
enum ebm_status oip_gather(const struct oip_reading *reading, struct json_t *object, const char *where,
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

/* ---- parameters ---- */

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
    [MAX_SAMPLES] = {"max_samples", FIELD_WHOLE, AT(request.max_samples), SAMPLES, .standard = REQUEST_STANDARD_MOST,
                     .has_standard = true, .help = "as in /predict"},
    [ESTIMATOR] = {"estimator", FIELD_WORD, AT(request.estimator), UNLIMITED, WORDS(request_estimator_words),
                   .help = "as in /predict"},
    [DRAWS] = {"draws", FIELD_WORD, AT(request.draws), UNLIMITED, WORDS(request_draws_words), .help = "as in /predict"},
    [WEIGHTS] = {"weights", FIELD_WORD, AT(request.weights), UNLIMITED, WORDS(request_weights_words),
                 .help = "as in /predict"},
    {"num_samples", FIELD_WHOLE, AT(num_samples), SAMPLES,
     .help = "draws of the proposal a row, 1024 when left out; with the outputs samples or log_weights as in /sample: "
             "samples to return, 100 when left out"},
    {"num_proposals", FIELD_WHOLE, AT(num_proposals), SAMPLES,
     .help = "with the outputs samples or log_weights: draws of the proposal a row, 1024 when left out"},
    {"target_ess", FIELD_WHOLE, AT(request.target_ess), SAMPLES, .help = "as in /predict"},
    {"timeout", FIELD_WHOLE, AT(timeout_us), .max = OIP_WHOLE_MAX,
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
static enum ebm_status check_weights(const struct oip_reading *reading, const struct request *request)
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
static enum ebm_status set_numbers(const struct oip_reading *reading, const struct parameters *parameters,
                                   struct request *request)
{
    const uint64_t standard_draws = REQUEST_STANDARD_DRAWS, standard_samples = REQUEST_STANDARD_SAMPLES;
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

static enum ebm_status finish_parameters(const struct oip_reading *reading, struct parameters *parameters,
                                         field_seen seen)
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

/* `object` NULL: all are left out. */
static enum ebm_status read_parameters(const struct oip_reading *reading, struct json_t *object,
                                       struct parameters *parameters)
{
    field_seen seen = 0;
    enum ebm_status status = EBM_OK;
    if (object)
        status = json_read_object(object, "parameters", reading->reterr);
    if (status != EBM_OK)
        return status;
    status = fields_read(parameter_fields, EBM_COUNT_OF(parameter_fields), object, NULL, reading->limits,
                         reading->arena, parameters, &seen, reading->reterr);
    if (status != EBM_OK) {
        (void)ebm_error_prefix(reading->reterr, "parameters");
        return status;
    }
    return finish_parameters(reading, parameters, seen);
}

/* ---- outputs ---- */

static enum ebm_status find_output(const struct oip_reading *reading, const struct json_t *value, const char *where,
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

static enum ebm_status read_output(const struct oip_reading *reading, struct json_t *value, uint32_t index, bool binary,
                                   struct request *request, struct oip_wanted *wanted)
{
    static const char *const names[] = {"name", "parameters"}, *const parameter_names[] = {"binary_data"};
    char where[OIP_WHERE_BYTES];
    struct json_t *values[2], *flag = NULL;
    enum oip_output output = OIP_MEAN;
    (void)snprintf(where, sizeof where, "outputs[%u]", index);
    enum ebm_status status = oip_gather(reading, value, where, names, EBM_COUNT_OF(names), values);
    if (status == EBM_OK && !values[0])
        status = ebm_error_set(reading->reterr, EBM_INVALID, where, "has no name");
    if (status == EBM_OK)
        status = find_output(reading, values[0], where, &output);
    if (status == EBM_OK && request->outputs >> output & 1u)
        status = ebm_error_set(reading->reterr, EBM_INVALID, where, "'%s' stands there twice", oip_output_word(output));
    if (status == EBM_OK && values[1])
        status = oip_gather(reading, values[1], where, parameter_names, 1, &flag);
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
static void want_standard(const struct oip_reading *reading, bool binary, struct request *request,
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
static enum ebm_status check_use(const struct oip_reading *reading, uint32_t outputs)
{
    for (uint32_t i = 0; i < OIP_INPUTS; i++) {
        bool is_used = (outputs & inputs[i].uses) != 0;
        if (reading->inputs[i].is_given && !is_used)
            return ebm_error_set(reading->reterr, EBM_INVALID, "inputs",
                                 "'%s' is there, and no output that needs it is asked for", oip_input_word(i));
        if (is_used && inputs[i].is_needed && !reading->inputs[i].is_given)
            return ebm_error_set(reading->reterr, EBM_INVALID, "inputs",
                                 "missing '%s', which an output that is asked for needs", oip_input_word(i));
    }
    return EBM_OK;
}

static enum ebm_status read_outputs(const struct oip_reading *reading, const struct json_t *list, bool binary,
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

static enum ebm_status read_id(const struct oip_reading *reading, const struct json_t *value, struct request *request)
{
    const char *text;
    if (!value)
        return EBM_OK;
    enum ebm_status status = json_read_text(value, "id", REQUEST_ID_CHARACTERS, &text, reading->reterr);
    if (status != EBM_OK || !text[0])
        return status;
    request->id = ebm_arena_text(reading->arena, text, strlen(text));
    return request->id ? EBM_OK : ebm_error_set(reading->reterr, EBM_NO_MEMORY, "id", "no memory");
}

/* Some clients repeat what stands in the path. */
static enum ebm_status check_name(const struct oip_reading *reading, const struct json_t *value, const char *where)
{
    const char *text;
    return value ? json_read_text(value, where, LIMIT_NAME_BYTES, &text, reading->reterr) : EBM_OK;
}

/* What the JSON says; `root` NULL: there is none, the body is raw. */
static enum ebm_status read_message(struct oip_reading *reading, struct json_t *root, struct request *ret_request,
                                    struct oip_wanted *ret_wanted)
{
    enum { ID, OPTIONS, TENSORS, OUTPUTS, MODEL_NAME, MODEL_VERSION, MEMBERS };
    static const char *const names[] = {"id", "parameters", "inputs", "outputs", "model_name", "model_version"};
    struct json_t *values[MEMBERS] = {NULL};
    struct parameters parameters = {.request = {.kind = REQUEST_INFER, .has_outputs = true}};
    struct oip_wanted wanted = {.is_raw = root == NULL};
    struct request *request = &parameters.request;
    enum ebm_status status = EBM_OK;
    if (root)
        status = oip_gather(reading, root, "body", names, MEMBERS, values);
    if (status == EBM_OK)
        status = read_parameters(reading, values[OPTIONS], &parameters);
    if (status == EBM_OK)
        status = read_id(reading, values[ID], request);
    if (status == EBM_OK)
        status = check_name(reading, values[MODEL_NAME], names[MODEL_NAME]);
    if (status == EBM_OK)
        status = check_name(reading, values[MODEL_VERSION], names[MODEL_VERSION]);
    if (status == EBM_OK)
        status = wanted.is_raw ? oip_read_raw(reading) : oip_read_inputs(reading, values[TENSORS]);
    if (status == EBM_OK)
        status = read_outputs(reading, values[OUTPUTS], wanted.is_raw || parameters.binary_data_output, request,
                              &wanted);
    if (status == EBM_OK)
        status = oip_set_inputs(reading, request);
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
    EBM_AUTO(json_read_freep) struct json_t *root = NULL;
    bool is_raw = body->has_json_bytes && body->json_bytes == 0;
    size_t json_bytes = body->size;
    if (body->has_json_bytes && body->json_bytes > body->size)
        return ebm_error_set(reterr, EBM_INVALID, OIP_LENGTH_HEADER,
                             "expected at most the %zu bytes of the body, got %" PRIu64, body->size, body->json_bytes);
    if (body->has_json_bytes)
        json_bytes = (size_t)body->json_bytes;
    struct oip_reading reading = {body, json_bytes, limits, arena, reterr, {{false}}};
    enum ebm_status status = EBM_OK;
    if (!is_raw)
        status = json_read_parse(body->bytes, json_bytes, &request_json_bounds, &root, reterr);
    return status == EBM_OK ? read_message(&reading, root, ret_request, ret_wanted) : status;
}
