/* openapi.c - tables -> JSON Schema.
 *
 *   kinds of requests -> POST operations; their fields -> schemas of bodies; answer_members -> schemas of answers
 *   routes            -> GET operations
 *
 * Fixed parts are written with ' for ", which say() turns. Guarantees: the schema of a body accepts what fields_read
 * accepts, but for what JSON Schema has no words for: rows that must be as many or as long as other rows, and products
 * of sizes. */
#include "proto/openapi.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/answer.h"
#include "proto/openapi_internal.h"

#define SAY_BYTES 1024
#define say openapi_say

void openapi_say(struct ebm_buf *buf, const char *format, ...)
{
    char text[SAY_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    EBM_ASSERT(length >= 0 && (size_t)length < sizeof text);
    for (char *at = text; (at = strchr(at, '\'')) != NULL;)
        *at = '"';
    (void)ebm_buf_text(buf, text);
}

static void say_text(struct ebm_buf *buf, const char *name, const char *text)
{
    say(buf, "'%s':", name);
    (void)ebm_buf_json_text(buf, text);
}

/* ---- bodies ---- */

/* A vector of `size` numbers; of any for 0. One number may stand without its list. */
static void write_vector(struct ebm_buf *buf, uint32_t size)
{
    static const char number[] = "{'type':'number'}";
    if (size == 0)
        say(buf, "{'anyOf':[%s,{'type':'array','minItems':1,'items':%s}]}", number, number);
    else if (size == 1)
        say(buf, "{'anyOf':[%s,{'type':'array','minItems':1,'maxItems':1,'items':%s}]}", number, number);
    else
        say(buf, "{'type':'array','minItems':%" PRIu32 ",'maxItems':%" PRIu32 ",'items':%s}", size, size, number);
}

/* One positive number, or one for each of D; of any for 0. */
static void write_lengths(struct ebm_buf *buf, uint32_t D, uint64_t max)
{
    static const char number[] = "{'type':'number','exclusiveMinimum':0}";
    say(buf, "'anyOf':[%s,{'type':'array','minItems':1,'maxItems':%" PRIu64 ",'items':%s}", number,
        D > 0 ? (uint64_t)1 : max, number);
    if (D > 1)
        say(buf, ",{'type':'array','minItems':%" PRIu32 ",'maxItems':%" PRIu32 ",'items':%s}", D, D, number);
    say(buf, "]");
}

/* Does the model of the description have what this word asks for? */
static bool has_word(const struct field *field, uint32_t i, const struct openapi_info *info)
{
    const struct openapi_model *model = info->model;
    const char *word = field->words[i].word;
    if (!field->words[i].available)
        return false;
    if (!model)
        return true;
    if (strcmp(field->name, "estimator") == 0)
        return (model->estimators >> i & 1u) != 0;
    if (model->D > 1 && (strcmp(word, "cdf") == 0 || strcmp(word, "crps") == 0 || strcmp(word, "highest_density") == 0))
        return false;
    return strcmp(word, "proposal_log_prob") != 0 || model->has_proposal;
}

static void write_words(struct ebm_buf *buf, const struct field *field, const struct openapi_info *info)
{
    bool first = true;
    say(buf, "'enum':[");
    for (uint32_t i = 0; i < field->n_words; i++) {
        if (!has_word(field, i, info))
            continue;
        say(buf, "%s'%s'", first ? "" : ",", field->words[i].word);
        first = false;
    }
    say(buf, "]");
}

static void write_default(struct ebm_buf *buf, const struct field *field, const struct openapi_info *info)
{
    if (field->kind == FIELD_WHOLE) {
        uint64_t max = field_max(field, info->limits);
        say(buf, ",'default':%" PRIu64, field->standard < max ? field->standard : max);
    } else if (field->kind == FIELD_FLAG) {
        say(buf, ",'default':%s", field->standard ? "true" : "false");
    } else if (field->kind == FIELD_WORD) {
        say(buf, ",'default':'%s'", field->words[field->standard].word);
    } else {
        bool first = true;
        for (uint32_t i = 0; i < field->n_words; i++)
            if (field->standard >> i & 1u && has_word(field, i, info)) {
                say(buf, first ? ",'default':['%s'" : ",'%s'", field->words[i].word);
                first = false;
            }
        say(buf, "]");
    }
}

/* Vectors; or images, all of a list, where the model reads them. */
static void write_rows(struct ebm_buf *buf, const struct openapi_model *model, uint64_t max)
{
    bool may_be_images = !model || model->reads_images;
    if (may_be_images)
        say(buf,
            "'anyOf':[{'type':'array','minItems':1,'maxItems':%" PRIu64
            ",'items':{'type':'object','additionalProperties':false,'required':['b64'],'properties':{'b64':{"
            "'type':'string','contentEncoding':'base64'}}}},{",
            max);
    say(buf, "'type':'array','minItems':1,'maxItems':%" PRIu64 ",'items':", max);
    write_vector(buf, model ? model->X : 0);
    say(buf, may_be_images ? "}]" : "");
}

/* The keywords of a field's kind, without braces. */
static void write_kind(struct ebm_buf *buf, const struct field *field, const struct openapi_info *info)
{
    const struct openapi_model *model = info->model;
    uint64_t max = field_max(field, info->limits);
    switch (field->kind) {
    case FIELD_ROWS:
        write_rows(buf, model, max);
        return;
    case FIELD_TARGETS:
        say(buf,
            "'type':'array','minItems':1,'maxItems':%u,'items':{'type':'array','minItems':1,'maxItems':%" PRIu64
            ",'items':",
            LIMIT_ROWS, max);
        write_vector(buf, model ? model->D : 0);
        say(buf, "}");
        return;
    case FIELD_POINTS:
        say(buf,
            "'anyOf':[{'type':'array','minItems':1,'maxItems':%" PRIu64
            ",'items':{'type':'number'}},{'type':'array','minItems':1,'maxItems':%u,'items':{'type':'array',"
            "'minItems':1,'maxItems':%" PRIu64 ",'items':{'type':'number'}}}]",
            max, LIMIT_ROWS, max);
        return;
    case FIELD_TEXT:
        say(buf, "'type':'string','maxLength':%" PRIu64 ",'pattern':'^[^\\\\u0000]*$'", max);
        return;
    case FIELD_WHOLE:
        say(buf, "'type':'integer','minimum':%" PRIu64 ",'maximum':%" PRIu64, field->min, max);
        return;
    case FIELD_NUMBER:
        say(buf, "'type':'number'");
        return;
    case FIELD_FRACTION:
        say(buf, "'type':'number','exclusiveMinimum':0,'exclusiveMaximum':1");
        return;
    case FIELD_FRACTIONS:
        say(buf,
            "'type':'array','minItems':1,'maxItems':%" PRIu64
            ",'items':{'type':'number','exclusiveMinimum':0,'exclusiveMaximum':1}",
            max);
        return;
    case FIELD_LENGTHS:
        write_lengths(buf, model ? model->D : 0, max);
        return;
    case FIELD_FLAG: /* without an energy net or a proposal draws have no weights */
        say(buf, model && !(model->has_energy && model->has_proposal) && strcmp(field->name, "resample") == 0
                     ? "'const':true"
                     : "'type':'boolean'");
        return;
    case FIELD_WORD:
        write_words(buf, field, info);
        return;
    case FIELD_WORDS:
        say(buf, "'type':'array','minItems':1,'maxItems':%" PRIu32 ",'items':{", field->n_words);
        write_words(buf, field, info);
        say(buf, "}");
        return;
    case FIELD_OBJECT:
        openapi_write_object(buf, field->members, field->n_members, info);
        return;
    case FIELD_LATER:
        return;
    }
}

static void write_property(struct ebm_buf *buf, const struct field *field, const struct openapi_info *info)
{
    say(buf, "'%s':{", field->name);
    say_text(buf, "description", field->help);
    say(buf, ",");
    write_kind(buf, field, info);
    if (field->has_standard)
        write_default(buf, field, info);
    say(buf, "}");
}

void openapi_write_object(struct ebm_buf *buf, const struct field *fields, uint32_t n, const struct openapi_info *info)
{
    bool first = true;
    say(buf, "'type':'object','additionalProperties':false,'properties':{");
    for (uint32_t i = 0; i < n; i++) {
        if (fields[i].kind == FIELD_LATER)
            continue;
        say(buf, first ? "" : ",");
        write_property(buf, &fields[i], info);
        first = false;
    }
    say(buf, "}");
    for (uint32_t i = 0, n_required = 0; i < n; i++)
        if (fields[i].required)
            say(buf, n_required++ ? ",'%s'" : ",'required':['%s'", fields[i].name);
    for (uint32_t i = 0; i < n; i++)
        if (fields[i].required) {
            say(buf, "]");
            break;
        }
}

static const char *kind_name(enum request_kind kind)
{
    static const char *const names[REQUEST_KINDS] = {[REQUEST_PREDICT] = "Predict",
                                                     [REQUEST_SAMPLE] = "Sample",
                                                     [REQUEST_DENSITY] = "Density",
                                                     [REQUEST_REFINE] = "Refine"};
    return names[kind];
}

/* The outputs cdf and crps come with their fields; both, and the entropy of a mixture, are those of one number. */
static void write_predict_rules(struct ebm_buf *buf, const struct openapi_model *model)
{
    if (model && model->D > 1)
        say(buf, ",'not':{'anyOf':[{'required':['cdf']},{'required':['crps_at']},{'required':['outputs','estimator'],"
                 "'properties':{'outputs':{'contains':{'const':'entropy'}},'estimator':{'const':'mixture'}}}]}");
    else
        say(buf, ",'allOf':[{'if':{'required':['outputs'],'properties':{'outputs':{'contains':{'const':'cdf'}}}},"
                 "'then':{'required':['cdf']}},"
                 "{'if':{'required':['outputs'],'properties':{'outputs':{'contains':{'const':'crps'}}}},"
                 "'then':{'required':['crps_at']}}]");
}

/* What must hold between fields, as keywords with a comma in front. */
static void write_rules(struct ebm_buf *buf, enum request_kind kind, const struct openapi_model *model)
{
    bool climbs = !model || model->has_energy;
    if (kind == REQUEST_PREDICT || kind == REQUEST_DENSITY)
        say(buf, ",'dependentRequired':{'max_samples':['target_ess']}");
    if (kind == REQUEST_PREDICT)
        write_predict_rules(buf, model);
    else if (kind == REQUEST_DENSITY)
        say(buf, ",'oneOf':[{'required':['targets']},{'required':['grid']}]%s",
            model && model->D > 1 ? ",'not':{'required':['grid']}" : "");
    else if (kind == REQUEST_SAMPLE)
        say(buf,
            ",'not':{'anyOf':[%s{'required':['resample','estimator'],"
            "'properties':{'resample':{'const':false},'estimator':{'enum':['exact','quadrature','mixture']}}},"
            "{'required':['resample','refine'],'properties':{'resample':{'const':false}}},"
            "{'required':['estimator','refine'],'properties':{'estimator':{'const':'mixture'}}}]}",
            climbs ? "" : "{'required':['refine']},");
    else if (kind == REQUEST_REFINE)
        say(buf, climbs ? ",'not':{'required':['initial','starts']}" : ",'not':{}");
}

static void write_request(struct ebm_buf *buf, enum request_kind kind, const struct openapi_info *info)
{
    uint32_t n;
    const struct field *fields = request_fields(kind, &n);
    say(buf, "'%sRequest':{", kind_name(kind));
    openapi_write_object(buf, fields, n, info);
    write_rules(buf, kind, info->model);
    say(buf, "}");
}

/* ---- answers ---- */

#define NUMBER "{'type':['number','null']}"
#define NUMBERS "{'type':'array','items':" NUMBER "}"
#define VECTORS "{'type':'array','items':" NUMBERS "}"

static const char *shape_schema(enum answer_shape shape)
{
    switch (shape) {
    case ANSWER_VECTOR:
    case ANSWER_SAMPLE_VALUES:
    case ANSWER_TARGET_VALUES:
    case ANSWER_CDF:
    case ANSWER_CRPS:
        return NUMBERS;
    case ANSWER_QUANTILES:
        return "{'type':'array','items':{'type':'object','additionalProperties':false,"
               "'required':['probability','value'],"
               "'properties':{'probability':{'type':'number'},'value':" NUMBERS "}}}";
    case ANSWER_INTERVAL:
        return "{'type':'object','additionalProperties':false,'required':['kind','level','intervals'],'properties':{"
               "'kind':{'enum':['equal_tailed','highest_density']},'level':{'type':'number'},"
               "'intervals':{'type':'array','items':{'type':'object','additionalProperties':false,"
               "'required':['lower','upper'],'properties':{"
               "'lower':" NUMBERS ",'upper':" NUMBERS "}}}}}";
    case ANSWER_SAMPLES:
    case ANSWER_TARGETS:
    case ANSWER_MATRIX:
    case ANSWER_PATH:
        return VECTORS;
    case ANSWER_VALUE:
        return NUMBER;
    case ANSWER_FLAG:
        return "{'type':'boolean'}";
    case ANSWER_WHOLE:
        return "{'type':'integer','minimum':0}";
    }
    return NUMBER;
}

static void write_answer(struct ebm_buf *buf, enum request_kind kind)
{
    uint32_t n;
    const struct answer_member *members = answer_members(&n);
    say(buf,
        "'%sAnswer':{'type':'object','additionalProperties':false,'required':['model','version','seed','predictions'],"
        "'properties':{'model':{'type':'string'},'version':{'type':'integer'},'id':{'type':'string'},"
        "'seed':{'type':'integer'},'predictions':{'type':'array','minItems':1,'items':{'type':'object',"
        "'additionalProperties':false,'required':[%s],'properties':{",
        kind_name(kind),
        kind == REQUEST_REFINE ? "'mode','unnormalized_log_prob','converged','steps'" : "'diagnostics'");
    const char *comma = "";
    for (uint32_t i = 0; i < n; i++) {
        if (!(members[i].kinds >> kind & 1u))
            continue;
        say(buf, "%s'%s':{", comma, members[i].name);
        say_text(buf, "description", members[i].help);
        say(buf, ",%s", shape_schema(members[i].shape) + 1); /* one object with the description */
        comma = ",";
    }
    if (kind != REQUEST_REFINE)
        say(buf, "%s'diagnostics':{'$ref':'#/components/schemas/Diagnostics'}", comma);
    say(buf, "}}}}}");
}

static const char fixed_schemas[] =
    "'Diagnostics':{'type':'object','additionalProperties':false,'required':['estimator','reliable','reason'],"
    "'properties':{'estimator':{'enum':['exact','quadrature','importance','mixture']},'pieces':{'type':'integer'},"
    "'support':{'type':'array','minItems':2,'maxItems':2,'items':" NUMBER
    "},'proper':{'type':'boolean'},'num_samples':{'type':'integer'},'ess':" NUMBER ","
    "'ess_ratio':" NUMBER ",'max_weight':" NUMBER ",'acceptance_rate':" NUMBER ",'mcse_mean':" NUMBERS
    ",'pareto_k':" NUMBER ",'num_samples_ignored':{'const':true},"
    "'num_proposals_ignored':{'const':true},'targets_outside':{'type':'integer','minimum':1},"
    "'reliable':{'type':'boolean'},"
    "'reason':{'enum':[null,'low_ess','dominant_weight','no_spread','noisy_mean','coarse_energies','not_finite',"
    "'improper','not_converged']}}},";

static const char fixed_schemas_2[] =
    "'Error':{'type':'object','additionalProperties':false,'required':['error','code','request_id'],'properties':{"
    "'error':{'type':'string'},'code':{'type':'string'},'request_id':{'type':'string'},"
    "'retry_after_ms':{'type':'integer','minimum':1}}},"
    "'Live':{'type':'object','required':['live'],'properties':{'live':{'const':true}}},"
    "'Ready':{'type':'object','required':['ready'],'properties':{'ready':{'const':true}}},"
    "'ModelReady':{'type':'object','required':['name','version','ready'],'properties':{'name':{'type':'string'},"
    "'version':{'type':'string'},'ready':{'const':true}}},"
    "'Anything':{'type':'object'},'Text':{'type':'string'},"
    "'Index':{'type':'object','required':['name','routes','models'],'properties':{'name':{'type':'string'},"
    "'routes':{'type':'array','items':{'type':'string'}},'models':{'type':'array','items':{'type':'object',"
    "'required':['name','version','available'],'properties':{'name':{'type':'string'},'version':{'type':'integer'},"
    "'available':{'type':'boolean'},'reason':{'type':'string'}}}}}},";

static const char stats_schemas[] =
    "'Stats':{'type':'object','required':['models','queue_rows'],'properties':{'queue_rows':{'type':'integer'},"
    "'models':{'type':'array','items':{'$ref':'#/components/schemas/ModelStats'}}}},"
    "'RowCost':{'type':'object','required':['row_us','number_us','factor'],'properties':{'row_us':{'type':'number'},"
    "'number_us':{'type':'number'},'factor':{'type':'number'}}},";

static const char model_stats_schema[] =
    "'ModelStats':{'type':'object','required':['name','version','cost','batch_us','max_batch_rows','queue_rows','rows',"
    "'batches','batch_sizes','recent'],'properties':{'name':{'type':'string'},'version':{'type':'integer'},"
    "'cost':{'type':'object','additionalProperties':{'$ref':'#/components/schemas/RowCost'}},"
    "'batch_us':{'type':'number'},'max_batch_rows':{'type':'integer'},'queue_rows':{'type':'integer'},"
    "'rows':{'type':'integer'},'batches':{'type':'integer'},'batch_sizes':{'type':'array','items':{'type':'object',"
    "'required':['up_to','batches'],'properties':{'up_to':{'type':'integer'},'batches':{'type':'integer'}}}},"
    "'recent':{'type':'object','required':['requests'],'properties':{'requests':{'type':'integer'},"
    "'p50_us':{'type':'integer'},'p90_us':{'type':'integer'},'p99_us':{'type':'integer'},"
    "'max_us':{'type':'integer'}}}}},";

static void write_schemas(struct ebm_buf *buf, const struct openapi_info *info)
{
    say(buf, "'schemas':{");
    for (enum request_kind kind = 0; kind < REQUEST_KINDS; kind++) {
        write_request(buf, kind, info);
        say(buf, ",");
        write_answer(buf, kind);
        say(buf, ",");
    }
    say(buf, "%s", fixed_schemas);
    say(buf, "%s", fixed_schemas_2);
    say(buf, "%s", stats_schemas);
    say(buf, "%s", model_stats_schema);
    openapi_oip_schemas(buf, info);
    say(buf, "}");
}

/* ---- statuses ---- */

/* name of the component, text, a further header and its schema */
static const struct {
    int status;
    const char *text, *header, *header_schema;
    bool of_get; /* may it answer a GET? */
} errors[] = {
    {400, "Not what the interface describes", NULL, NULL, true},
    {401, "No key, or one that the server does not know", "WWW-Authenticate", "{'type':'string'}", true},
    {403, "A key without the role that the route asks for", NULL, NULL, true},
    {404, "No such path, model or version", NULL, NULL, true},
    {405, "Another method is needed", "Allow", "{'type':'string'}", true},
    {406, "The answer is not one array, as Accept wants it", NULL, NULL, false},
    {408, "The body did not arrive in time", NULL, NULL, false},
    {413, "The body is too large", NULL, NULL, true},
    {415, "A type of body that is not read", NULL, NULL, false},
    {429, "No room now: the queue or the memory for requests is full", "Retry-After", "{'type':'integer','minimum':1}",
     false},
    {500, "Our fault", NULL, NULL, true},
    {503, "Not ready", "Retry-After", "{'type':'integer','minimum':1}", true},
    {504, "No answer in time", NULL, NULL, false},
};

static void write_error(struct ebm_buf *buf, size_t i)
{
    say(buf, "'E%d':{'description':'%s','headers':{'X-Request-Id':{'required':true,'schema':{'type':'string'}}",
        errors[i].status, errors[i].text);
    if (errors[i].header)
        say(buf, ",'%s':{'required':true,'schema':%s}", errors[i].header, errors[i].header_schema);
    say(buf, "},'content':{'application/json':{'schema':{'$ref':'#/components/schemas/Error'}}}}");
}

/* The bodies of an answer that went well, as a keyword with a comma in front; "Nothing" has none. */
static void write_content(struct ebm_buf *buf, const char *schema, bool may_be_npy)
{
    if (strcmp(schema, "Nothing") == 0)
        return;
    say(buf, ",'content':{'%s':{'schema':{'$ref':'#/components/schemas/%s'}}%s}",
        strcmp(schema, "Text") == 0 ? "text/plain" : "application/json", schema,
        strcmp(schema, "Infer") == 0 ? ",'application/octet-stream':{}"
        : may_be_npy                 ? ",'application/x-npy':{}"
                                     : "");
}

static void write_responses(struct ebm_buf *buf, const char *schema, const char *links, bool is_get)
{
    say(buf, "'responses':{'200':{'description':'The answer','headers':{'X-Request-Id':{'required':true,"
             "'schema':{'type':'string'}}}");
    write_content(buf, schema, links[0] != 0);
    say(buf, "%s}", links);
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++)
        if (errors[i].of_get || !is_get)
            say(buf, ",'%d':{'$ref':'#/components/responses/E%d'}", errors[i].status, errors[i].status);
    say(buf, "}");
}

/* ---- operations ---- */

static void write_post(struct ebm_buf *buf, enum request_kind kind, const struct openapi_model *model)
{
    char schema[64];
    (void)snprintf(schema, sizeof schema, "%sAnswer", kind_name(kind));
    say(buf, "'%s':{'post':{'operationId':'%s',", request_path(kind), request_path(kind) + 1);
    say_text(buf, "summary", request_summary(kind));
    say(buf,
        ",'requestBody':{'required':true,'content':{'application/json':{'schema':"
        "{'$ref':'#/components/schemas/%sRequest'}}%s}},",
        kind_name(kind), model && model->reads_images ? ",'image/png':{},'image/jpeg':{}" : "");
    write_responses(buf, schema,
                    ",'links':{'model':{'operationId':'Model','parameters':{'model':'$response.body#/model'}}}", false);
    say(buf, "}}");
}

static void write_route(struct ebm_buf *buf, const struct openapi_route *route)
{
    static const char *const names[] = {"model", "version"};
    uint32_t n = 0;
    say(buf, "'");
    for (const char *at = route->pattern; *at; at++)
        if (*at == '*')
            say(buf, "{%s}", names[n++]);
        else
            (void)ebm_buf_append(buf, at, 1);
    say(buf, route->request ? "':{'post':{" : "':{'get':{");
    say_text(buf, "summary", route->summary);
    if (strcmp(route->pattern, "/v2/models/*") == 0)
        say(buf, ",'operationId':'Model'"); /* where links lead */
    for (uint32_t i = 0; i < n; i++)
        say(buf, "%s{'name':'%s','in':'path','required':true,'schema':{'type':'string'}}%s",
            i ? "," : ",'parameters':[", names[i], i + 1 == n ? "]" : "");
    if (route->request)
        say(buf,
            ",'requestBody':{'required':%s,'content':{'application/json':{'schema':"
            "{'$ref':'#/components/schemas/%s'}}}}",
            strcmp(route->request, "InferRequest") == 0 ? "true" : "false", route->request);
    say(buf, ",");
    write_responses(buf, route->schema, "", !route->request);
    say(buf, "}}");
}

void openapi_write(struct ebm_buf *buf, const struct openapi_info *info)
{
    say(buf,
        "{'openapi':'3.1.0','info':{'title':'ebm-server','version':'%s','description':"
        "'Regression with honest uncertainty: p(y given x) by energy-based models'},'paths':{",
        info->version);
    for (enum request_kind kind = 0; kind < REQUEST_KINDS; kind++) {
        say(buf, kind ? "," : "");
        write_post(buf, kind, info->model);
    }
    for (uint32_t i = 0; i < info->n_routes; i++) {
        say(buf, ",");
        write_route(buf, &info->routes[i]);
    }
    say(buf, "},'components':{");
    write_schemas(buf, info);
    say(buf, ",'responses':{");
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++) {
        say(buf, i ? "," : "");
        write_error(buf, i);
    }
    say(buf, "},'securitySchemes':{'key':{'type':'http','scheme':'bearer'}}},'security':[{},{'key':[]}]}\n");
}
