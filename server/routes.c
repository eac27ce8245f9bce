/* routes.c - the table of routes, and the answers that need no worker.
 *
 *   headers -> may it? 401, 403 -> path in the table? 404 -> method there? 405 -> a type that we read? 415
 *           -> body's limit
 *   body    -> the route's handler: answers now, or hands over to dispatch
 *
 * All that can be refused is refused before the body is kept. A pattern's '*' stand for segments of the path, which
 * the handler gets. Guarantees: every request is answered; nothing here blocks. Does not know: batches, threads. */
#include "server/routes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/version.h"
#include "proto/json_write.h"
#include "models/estimate.h"
#include "proto/npy.h"
#include "proto/oip.h"
#include "proto/openapi.h"
#include "proto/query.h"
#include "server/access_log.h"
#include "server/metrics_text.h"
#include "server/routes_internal.h"
#include "server/stats.h"

#define METRICS_BYTES (64u << 20)      /* of some thousand models */
#define OPTIONS_BYTES (64u << 10)      /* of a query as JSON */
#define SKIPPED_BODY_BYTES (64u << 10) /* where a body means nothing, or little */

static handle_fn start_request, show_index, show_live, show_ready, show_openapi, show_metrics, show_stats,
    show_repository, load_model, unload_model;

#define POST(name, path, summary)                                                                                      \
    {"POST", path, "POST", ROUTE_REQUEST, ACCESS_INFER, start_request, REQUEST_##name, summary, NULL, NULL},
#define POST_TO(role, pattern, body, handle, summary, schema)                                                          \
    {"POST", pattern, "POST", body, ACCESS_##role, handle, 0, summary, schema, schema "Request"},
#define GET(role, pattern, handle, summary, schema)                                                                    \
    {"GET", pattern, "GET, HEAD", ROUTE_NO_BODY, ACCESS_##role, handle, 0, summary, schema, NULL},
#define CONTROL(pattern, handle, summary)                                                                              \
    {"POST", pattern, "POST", ROUTE_CONTROL, ACCESS_ADMIN, handle, 0, summary, "Nothing", "ControlRequest"},

/* clang-format off */
static const struct route table[] = {
    REQUEST_KIND_MAP(POST)
    CONTROL("/v2/repository/models/*/load", load_model, "Loads what is new or was refused of a model")
    CONTROL("/v2/repository/models/*/unload", unload_model, "Takes a model out")
    GET(INFER, "/", show_index, "Routes and models of this server", "Index")
    GET(ANYBODY, "/healthz", show_live, "Does the process answer?", "Live")
    GET(ANYBODY, "/livez", show_live, "Does the process answer?", "Live")
    GET(ANYBODY, "/readyz", show_ready, "Are models loaded, and the server not stopping?", "Ready")
    GET(METRICS, "/metrics", show_metrics, "Counters for Prometheus", "Text")
    GET(METRICS, "/stats", show_stats, "Each model's cost, queue, batches and latest latencies", "Stats")
    GET(INFER, "/openapi.json", show_openapi, "This description", "Anything")
    GET(INFER, "/v2", oip_show_server, "Name, version and extensions of this server", "Server")
    GET(ANYBODY, "/v2/health/live", show_live, "Does the process answer?", "Live")
    GET(ANYBODY, "/v2/health/ready", show_ready, "Are models loaded, and the server not stopping?", "Ready")
    GET(METRICS, "/v2/models/stats", oip_show_all_statistics, "Counts and times of all models", "Statistics")
    GET(INFER, "/v2/models/*", oip_show_model, "A model's versions, inputs and outputs", "Model")
    GET(INFER, "/v2/models/*/ready", oip_show_model_ready, "Can the model be asked?", "ModelReady")
    GET(INFER, "/v2/models/*/config", oip_show_config, "The model's configuration, as Triton has it", "Config")
    GET(METRICS, "/v2/models/*/stats", oip_show_statistics, "Counts and times of the model's versions", "Statistics")
    GET(INFER, "/v2/models/*/versions/*", oip_show_model, "The same of one version", "Model")
    GET(INFER, "/v2/models/*/versions/*/ready", oip_show_model_ready, "Can that version be asked?", "ModelReady")
    GET(INFER, "/v2/models/*/versions/*/config", oip_show_config, "That version's configuration", "Config")
    GET(METRICS, "/v2/models/*/versions/*/stats", oip_show_statistics, "Counts and times of that version", "Statistics")
    POST_TO(INFER, "/v2/models/*/infer", ROUTE_INFER, oip_infer, "Tensors in, tensors out", "Infer")
    POST_TO(INFER, "/v2/models/*/versions/*/infer", ROUTE_INFER, oip_infer, "The same of one version", "Infer")
    POST_TO(ADMIN, "/v2/repository/index", ROUTE_ANY_JSON, show_repository,
            "All versions of all models, and their states", "Repository")
};
/* clang-format on */
_Static_assert(EBM_COUNT_OF(table) <= METRICS_ROUTES, "each is counted");

/* ---- finding ---- */

/* Each '*' of the pattern takes one segment that is not empty; a segment that is longer than any name matches nothing.
 */
static bool match(const char *pattern, const char *path, struct segments *ret_segments)
{
    uint32_t n = 0;
    for (; *pattern; pattern++) {
        if (*pattern != '*') {
            if (*path++ != *pattern)
                return false;
            continue;
        }
        size_t length = strcspn(path, "/");
        if (length == 0 || length >= ROUTES_SEGMENT_BYTES)
            return false;
        memcpy(ret_segments->text[n], path, length);
        ret_segments->text[n++][length] = 0;
        path += length;
    }
    return *path == 0;
}

static const struct route *find(const char *path, struct segments *ret_segments)
{
    for (size_t i = 0; i < EBM_COUNT_OF(table); i++)
        if (match(table[i].pattern, path, ret_segments))
            return &table[i];
    return NULL;
}

static bool allows(const struct route *route, const char *method)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET"; /* the same, and the library leaves the body out */
    return strcmp(method, route->method) == 0;
}

/* JSON, nothing, or what curl -d says when nobody told it. */
static bool is_json_type(const char *type)
{
    return !type || http_is_type(type, "application/json") || http_is_type(type, "application/x-www-form-urlencoded");
}

/* One of the types of an Accept header, whatever weight it has. */
static bool accepts_npy(const char *accept)
{
    while (accept && *accept) {
        accept += strspn(accept, ", \t");
        size_t length = strcspn(accept, ",; \t");
        if (length == strlen(NPY_TYPE) && strncasecmp(accept, NPY_TYPE, length) == 0)
            return true;
        accept += strcspn(accept, ",");
    }
    return false;
}

struct job_form routes_form(const struct http_exchange *exchange)
{
    struct job_form form = {.max_bytes = http_body_limit(exchange)};
    bool is_known = inflate_find(http_header(exchange, "Content-Encoding"), &form.coding);
    EBM_ASSERT(is_known); /* on_head refuses others */
    return form;
}

/* False: none that we read. */
static bool find_body(const char *type, enum job_body *ret_body)
{
    if (is_json_type(type))
        *ret_body = JOB_BODY_JSON;
    else if (http_is_type(type, NPY_TYPE))
        *ret_body = JOB_BODY_NPY;
    else if (http_is_type(type, "image/png") || http_is_type(type, "image/jpeg"))
        *ret_body = JOB_BODY_IMAGE;
    else
        return false;
    return true;
}

static bool is_binary_type(const char *type)
{
    enum job_body body;
    return find_body(type, &body) && body != JOB_BODY_JSON;
}

/* Little bodies are not compressed. */
static bool is_encoding_of(enum route_body body, const char *encoding)
{
    enum inflate_coding coding;
    if (body == ROUTE_NO_BODY)
        return true;
    bool is_known = inflate_find(encoding, &coding), may_be_small = body == ROUTE_REQUEST || body == ROUTE_INFER;
    return is_known && (may_be_small || coding == INFLATE_NONE);
}

static void limit_body(const struct routes *routes, struct http_exchange *exchange, enum route_body body)
{
    switch (body) {
    case ROUTE_NO_BODY:
        http_skip_body(exchange, SKIPPED_BODY_BYTES);
        return;
    case ROUTE_CONTROL:
    case ROUTE_ANY_JSON:
        http_keep_body(exchange, SKIPPED_BODY_BYTES);
        return;
    case ROUTE_INFER:
        if (http_header(exchange, OIP_LENGTH_HEADER)) {
            http_keep_body(exchange, routes->max_binary_bytes);
            return;
        }
        break;
    case ROUTE_REQUEST:
        if (is_binary_type(http_header(exchange, "Content-Type"))) {
            http_keep_body(exchange, routes->max_binary_bytes);
            return;
        }
        break;
    }
    http_keep_body(exchange, routes->max_body_bytes);
}

/* Of a request that may come in. */
static void check_head(const struct routes *routes, struct http_exchange *exchange, const struct route *route)
{
    enum job_body body;
    limit_body(routes, exchange, route ? route->body : ROUTE_NO_BODY);
    if (!route)
        reply_refuse(exchange, REPLY_NOT_FOUND, "", "there is nothing at this path, GET / lists what there is");
    else if (!allows(route, http_method(exchange)))
        reply_not_allowed(exchange, route->allow);
    else if (route->body == ROUTE_REQUEST && !find_body(http_header(exchange, "Content-Type"), &body))
        reply_refuse(exchange, REPLY_UNSUPPORTED_TYPE, "Content-Type",
                     "expected application/json, " NPY_TYPE ", image/png or image/jpeg");
    else if (route->body == ROUTE_CONTROL && !access_let_change(routes->access, exchange))
        return; /* it was answered */
    else if (!is_encoding_of(route->body, http_header(exchange, "Content-Encoding")))
        reply_refuse(exchange, REPLY_UNSUPPORTED_TYPE, "Content-Encoding",
                     "expected gzip or deflate, or a body that is not compressed");
}

static void on_head(void *user, struct http_exchange *exchange)
{
    struct routes *routes = user;
    struct segments segments;
    const struct route *route = find(http_path(exchange), &segments);
    metrics_begin(routes->metrics);
    http_skip_body(exchange, SKIPPED_BODY_BYTES); /* of whoever is not let in */
    const struct http_fault *fault = http_fault(exchange);
    if (fault)
        reply_refuse(exchange, REPLY_INVALID, fault->where, fault->expected);
    else if (!access_let_read(routes->access, exchange) &&
             access_let_in(routes->access, exchange, route ? route->role : ACCESS_ANY_KEY))
        check_head(routes, exchange, route);
}

static void on_request(void *user, struct http_exchange *exchange)
{
    struct segments segments;
    const struct route *route = find(http_path(exchange), &segments);
    EBM_ASSERT(route); /* on_head answers all others */
    route->handle(user, exchange, route, &segments);
}

static void on_refusal(void *user, struct http_exchange *exchange, enum http_refusal why)
{
    const struct routes *routes = user;
    struct ebm_error error;
    enum reply_kind kind = REPLY_INVALID;
    switch (why) {
    case HTTP_TOO_LARGE:
        kind = REPLY_TOO_LARGE;
        (void)ebm_error_set(&error, EBM_TOO_LARGE, "body", "larger than %" PRIu64 " bytes", http_body_limit(exchange));
        break;
    case HTTP_NO_ROOM:
        kind = REPLY_BUSY;
        (void)ebm_error_set(&error, EBM_BUSY, "body",
                            "no room now: requests in progress take %" PRIu64
                            " bytes, --max-inflight-bytes is %" PRIu64,
                            http_inflight_bytes(exchange), routes->max_inflight_bytes);
        break;
    case HTTP_TOO_SLOW:
        kind = REPLY_BODY_TIMEOUT;
        (void)ebm_error_set(&error, EBM_TIMEOUT, "body", "not there after %" PRIu64 " ms, got %" PRIu64 " bytes",
                            routes->body_timeout_ms, http_body_bytes(exchange));
        break;
    case HTTP_BROKEN:
        (void)ebm_error_set(&error, EBM_INVALID, "body", "expected the size of a chunk and the end of its line");
        break;
    }
    reply_error(exchange, kind, &error);
}

static void on_end(void *user, struct http_exchange *exchange, bool sent)
{
    struct routes *routes = user;
    struct segments segments;
    const struct route *route = find(http_path(exchange), &segments);
    routes->n_requests++;
    metrics_end(routes->metrics, route ? (uint32_t)(route - table) : METRICS_ROUTES, http_answered_status(exchange),
                http_started_us(exchange), http_user(exchange));
    access_log_write(&routes->log_line, exchange, route ? route->pattern : NULL, http_user(exchange), sent);
    dispatch_end(routes->dispatch, exchange);
    repository_routes_end(&routes->repository, exchange);
}

struct http_handler routes_handler(struct routes *routes)
{
    return (struct http_handler){routes, on_head, on_request, on_refusal, on_end};
}

/* ---- short answers ---- */

void routes_refuse_not_ready(struct http_exchange *exchange)
{
    reply_refuse(exchange, REPLY_NOT_READY, "", "not ready: the server is starting or stopping, or has no model");
}

static bool add_argument(void *user, const char *name, const char *value)
{
    return query_add(user, name, value);
}

/* What a JSON body would have beside the rows. */
static enum ebm_status read_query(const struct http_exchange *exchange, enum request_kind kind, struct ebm_buf *options,
                                  struct ebm_error *reterr)
{
    struct query query = {.n = 0};
    http_each_argument(exchange, add_argument, &query);
    query_write(&query, kind, options);
    if (query.error.status != EBM_OK)
        *reterr = query.error;
    else if (options->status == EBM_NO_MEMORY)
        (void)ebm_error_set(reterr, EBM_NO_MEMORY, "query", "no memory");
    else if (options->status != EBM_OK)
        (void)ebm_error_set(reterr, EBM_INVALID, "query", "too long");
    return query.error.status != EBM_OK ? query.error.status : options->status;
}

static void start_body(struct routes *routes, struct http_exchange *exchange, enum request_kind kind)
{
    struct job_form form = routes_form(exchange);
    struct ebm_buf options;
    struct ebm_error error;
    bool is_known = find_body(http_header(exchange, "Content-Type"), &form.body);
    EBM_ASSERT(is_known); /* on_head refuses others */
    form.wants_npy = accepts_npy(http_header(exchange, "Accept"));
    ebm_buf_init(&options, OPTIONS_BYTES);
    if (form.body != JOB_BODY_JSON && read_query(exchange, kind, &options, &error) != EBM_OK) {
        reply_error(exchange, reply_kind_of(error.status), &error);
    } else {
        form.options = options.bytes;
        dispatch_request(routes->dispatch, exchange, kind, &form);
    }
    ebm_buf_done(&options);
}

static void start_request(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                          const struct segments *segments)
{
    (void)segments;
    if (routes->store)
        start_body(routes, exchange, route->kind);
    else
        routes_refuse_not_ready(exchange);
}

void routes_show_text(struct http_exchange *exchange, const char *text)
{
    struct ebm_buf body;
    ebm_buf_init(&body, ROUTES_ANSWER_BYTES);
    (void)ebm_buf_text(&body, text);
    reply_json(exchange, &body);
}

static void show_live(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                      const struct segments *segments)
{
    (void)route;
    (void)routes;
    (void)segments;
    routes_show_text(exchange, "{\"live\":true}\n");
}

/* Serving, and there is a model to ask. */
static bool is_ready(const struct routes *routes)
{
    if (!routes_state_is_ready(routes->state))
        return false;
    struct model_list *models = model_store_list(routes->store);
    bool has_any = models->n_available > 0;
    (void)model_list_unref(models);
    return has_any;
}

static void show_ready(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                       const struct segments *segments)
{
    (void)route;
    (void)segments;
    if (is_ready(routes))
        routes_show_text(exchange, "{\"ready\":true}\n");
    else
        routes_refuse_not_ready(exchange);
}

static void write_entry(struct ebm_buf *body, const struct model_store_entry *entry)
{
    (void)ebm_buf_text(body, "{\"name\":");
    (void)ebm_buf_json_text(body, entry->name);
    (void)ebm_buf_printf(body, ",\"version\":%" PRIu64 ",\"available\":%s", entry->version,
                         entry->model ? "true" : "false");
    if (!entry->model) {
        char reason[MODEL_STORE_REASON_BYTES];
        model_store_entry_reason(entry, reason);
        (void)ebm_buf_text(body, ",\"reason\":");
        json_write_text(body, reason);
    }
    (void)ebm_buf_text(body, "}");
}

static void show_index(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                       const struct segments *segments)
{
    (void)route;
    (void)segments;
    struct ebm_buf body;
    ebm_buf_init(&body, ROUTES_ANSWER_BYTES);
    (void)ebm_buf_text(&body, "{\"name\":\"ebm-server\",\"routes\":[");
    for (size_t i = 0; i < EBM_COUNT_OF(table); i++)
        (void)ebm_buf_printf(&body, "%s\"%s %s\"", i ? "," : "", table[i].method, table[i].pattern);
    (void)ebm_buf_text(&body, "],\"models\":[");
    struct model_list *models = routes->store ? model_store_list(routes->store) : NULL;
    for (size_t i = 0; models && i < models->n; i++) {
        (void)ebm_buf_text(&body, i ? "," : "");
        write_entry(&body, models->entries[i]);
    }
    (void)model_list_unref(models);
    (void)ebm_buf_text(&body, "]}\n");
    reply_json(exchange, &body);
}

/* ---- POST /v2/repository/... ---- */

static void show_repository(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                            const struct segments *segments)
{
    (void)route;
    (void)segments;
    repository_routes_index(&routes->repository, exchange);
}

static void load_model(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                       const struct segments *segments)
{
    (void)route;
    repository_routes_order(&routes->repository, exchange, segments->text[0], true);
}

static void unload_model(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                         const struct segments *segments)
{
    (void)route;
    repository_routes_order(&routes->repository, exchange, segments->text[0], false);
}

/* ---- GET /metrics ---- */

static void show_metrics(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                         const struct segments *segments)
{
    (void)route;
    (void)segments;
    const char *patterns[EBM_COUNT_OF(table)];
    struct model_list *models = routes->store ? model_store_list(routes->store) : NULL;
    uint64_t events[MODEL_EVENTS];
    for (uint32_t i = 0; models && i < MODEL_EVENTS; i++)
        events[i] = model_store_events(routes->store, i);
    struct metrics_now now = {
        .routes = patterns,
        .n_routes = EBM_COUNT_OF(table),
        .n_asked = REQUEST_KINDS, /* they stand first */
        .queue_rows = batcher_stats(routes->batcher).waiting_rows,
        .in_flight_bytes = http_inflight_bytes(exchange),
        .models = models,
        .batcher = routes->batcher,
        .model_events = models ? events : NULL,
        .ready = routes_state_is_ready(routes->state),
        .devices = routes->state->devices.ops->n_devices,
        .failed_devices = devices_count_failed(&routes->state->devices),
        .triton = routes->triton_metrics,
    };
    struct ebm_buf body;
    for (size_t i = 0; i < EBM_COUNT_OF(table); i++)
        patterns[i] = table[i].pattern;
    ebm_buf_init(&body, METRICS_BYTES);
    metrics_write(routes->all_metrics, routes->n_loops, &now, &body);
    (void)model_list_unref(models);
    reply_text(exchange, METRICS_TEXT_TYPE, &body);
}

static void show_stats(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                       const struct segments *segments)
{
    (void)route;
    (void)segments;
    struct model_list *models = routes->store ? model_store_list(routes->store) : NULL;
    struct ebm_buf body;
    ebm_buf_init(&body, METRICS_BYTES);
    stats_write(&body, models, routes->batcher);
    (void)model_list_unref(models);
    reply_json(exchange, &body);
}

/* ---- GET /openapi.json ---- */

static struct openapi_model describe(const struct ebm_model *model)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    const struct ebm_input_config *input = &ebm_model_config(model)->input;
    bool reads_images = input->is_image && (input->shape.channels == 1 || input->shape.channels == 3);
    static const struct {
        enum request_estimator word;
        enum ebm_estimator estimator;
    } estimators[] = {{REQUEST_ESTIMATOR_EXACT, EBM_ESTIMATE_EXACT},
                      {REQUEST_ESTIMATOR_QUADRATURE, EBM_ESTIMATE_QUADRATURE},
                      {REQUEST_ESTIMATOR_IMPORTANCE, EBM_ESTIMATE_IMPORTANCE},
                      {REQUEST_ESTIMATOR_MIXTURE, EBM_ESTIMATE_MIXTURE}};
    uint32_t bits = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(estimators); i++)
        if (ebm_estimator_applies(net, estimators[i].estimator))
            bits |= 1u << estimators[i].word | 1u << REQUEST_ESTIMATOR_AUTO;
    return (struct openapi_model){net->X, net->D, net->has_energy, net->K > 0, reads_images, bits};
}

static bool is_same_model(const struct openapi_model *a, const struct openapi_model *b)
{
    return a->X == b->X && a->D == b->D && a->has_energy == b->has_energy && a->has_proposal == b->has_proposal &&
           a->reads_images == b->reads_images && a->estimators == b->estimators;
}

/* The only available model; NULL when there are several, or versions of it that differ in what is described. */
static const struct openapi_model *describe_model(const struct model_list *models, struct openapi_model *ret_model)
{
    struct model_store_entry *entry;
    struct ebm_error error;
    if (!models || model_list_find(models, NULL, 0, &entry, &error) != EBM_OK)
        return NULL;
    *ret_model = describe(entry->model);
    for (size_t i = 0; i < models->n; i++) {
        const struct model_store_entry *other = models->entries[i];
        struct openapi_model described = other->model ? describe(other->model) : *ret_model;
        if (!is_same_model(&described, ret_model))
            return NULL;
    }
    return ret_model;
}

static void show_openapi(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                         const struct segments *segments)
{
    (void)route;
    (void)segments;
    struct openapi_route gets[EBM_COUNT_OF(table)];
    struct openapi_model model;
    struct model_list *models = routes->store ? model_store_list(routes->store) : NULL;
    struct openapi_info info = {EBM_VERSION, routes->limits, describe_model(models, &model), gets, 0};
    (void)model_list_unref(models);
    struct ebm_buf body;
    for (size_t i = 0; i < EBM_COUNT_OF(table); i++)
        if (table[i].schema)
            gets[info.n_routes++] = (struct openapi_route){table[i].pattern, table[i].summary, table[i].schema,
                                                           table[i].request};
    ebm_buf_init(&body, ROUTES_ANSWER_BYTES);
    openapi_write(&body, &info);
    reply_json(exchange, &body);
}
