/* routes.c - the table of routes, and the answers that need no worker.
 *
 *   headers -> path in the table? 404 -> method there? 405 -> a type that we read? 415 -> body's limit
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
#include "proto/openapi.h"
#include "server/access_log.h"
#include "server/metrics_text.h"
#include "server/reply.h"

#define SHORT_ANSWER_BYTES (1u << 20)
#define METRICS_BYTES (16u << 20) /* of as many models as a store may have */
#define SEGMENTS 2                /* free ones in a pattern */
#define SEGMENT_BYTES (LIMIT_NAME_BYTES + 1)
#define SKIPPED_BODY_BYTES (64u << 10) /* where a body means nothing */

/* What the '*' of a pattern stand for. */
struct segments {
    char text[SEGMENTS][SEGMENT_BYTES];
};

struct route;
typedef void handle_fn(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                       const struct segments *segments);

struct route {
    const char *method, *pattern, *allow;
    bool has_json_body;
    handle_fn *handle;
    enum request_kind kind;       /* of a POST */
    const char *summary, *schema; /* of a GET, for the interface's description; schema Text: text/plain */
};

static handle_fn start_request, show_index, show_live, show_ready, show_model, show_model_ready, show_openapi,
    show_metrics, show_repository, load_model, unload_model;

#define POST(name, path, summary) {"POST", path, "POST", true, start_request, REQUEST_##name, summary, NULL},
#define CONTROL(pattern, handle, summary) {"POST", pattern, "POST", true, handle, 0, summary, NULL},
#define GET(pattern, handle, summary, schema) {"GET", pattern, "GET, HEAD", false, handle, 0, summary, schema},

/* clang-format off */
static const struct route table[] = {
    REQUEST_KIND_MAP(POST)
    CONTROL("/v2/repository/index", show_repository, "All versions of all models, and their states")
    CONTROL("/v2/repository/models/*/load", load_model, "Loads what is new or was refused of a model")
    CONTROL("/v2/repository/models/*/unload", unload_model, "Takes a model out")
    GET("/", show_index, "Routes and models of this server", "Index")
    GET("/healthz", show_live, "Does the process answer?", "Live")
    GET("/livez", show_live, "Does the process answer?", "Live")
    GET("/readyz", show_ready, "Are models loaded, and the server not stopping?", "Ready")
    GET("/metrics", show_metrics, "Counters for Prometheus", "Text")
    GET("/openapi.json", show_openapi, "This description", "Anything")
    GET("/v2/models/*", show_model, "A model's versions, inputs and outputs", "Model")
    GET("/v2/models/*/ready", show_model_ready, "Can the model be asked?", "ModelReady")
    GET("/v2/models/*/versions/*", show_model, "The same of one version", "Model")
    GET("/v2/models/*/versions/*/ready", show_model_ready, "Can that version be asked?", "ModelReady")
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
        if (length == 0 || length >= SEGMENT_BYTES)
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
    if (!type)
        return true;
    size_t length = strcspn(type, "; \t");
    static const char *const known[] = {"application/json", "application/x-www-form-urlencoded"};
    for (size_t i = 0; i < EBM_COUNT_OF(known); i++)
        if (strlen(known[i]) == length && strncasecmp(type, known[i], length) == 0)
            return true;
    return false;
}

static bool is_plain_encoding(const char *encoding)
{
    return !encoding || strcasecmp(encoding, "identity") == 0;
}

static void refuse(struct http_exchange *exchange, enum reply_kind kind, const char *where, const char *text)
{
    struct ebm_error error;
    (void)ebm_error_set(&error, EBM_INVALID, where, "%s", text);
    reply_error(exchange, kind, &error);
}

static void on_head(void *user, struct http_exchange *exchange)
{
    struct routes *routes = user;
    struct segments segments;
    const struct route *route = find(http_path(exchange), &segments);
    metrics_begin(routes->metrics);
    if (route && route->has_json_body)
        http_keep_body(exchange, routes->max_body_bytes);
    else
        http_skip_body(exchange, SKIPPED_BODY_BYTES);
    const struct http_fault *fault = http_fault(exchange);
    if (fault)
        refuse(exchange, REPLY_INVALID, fault->where, fault->expected);
    else if (!route)
        refuse(exchange, REPLY_NOT_FOUND, "", "there is nothing at this path, GET / lists what there is");
    else if (!allows(route, http_method(exchange)))
        reply_not_allowed(exchange, route->allow);
    else if (route->has_json_body && !is_json_type(http_header(exchange, "Content-Type")))
        refuse(exchange, REPLY_UNSUPPORTED_TYPE, "Content-Type", "expected application/json");
    else if (route->has_json_body && !is_plain_encoding(http_header(exchange, "Content-Encoding")))
        refuse(exchange, REPLY_UNSUPPORTED_TYPE, "Content-Encoding", "expected a body that is not compressed");
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
    access_log_write(exchange, http_user(exchange), sent);
    dispatch_end(routes->dispatch, exchange);
    repository_routes_end(&routes->repository, exchange);
}

struct http_handler routes_handler(struct routes *routes)
{
    return (struct http_handler){routes, on_head, on_request, on_refusal, on_end};
}

/* ---- short answers ---- */

static void refuse_not_ready(struct http_exchange *exchange)
{
    refuse(exchange, REPLY_NOT_READY, "", "not ready: the server is starting or stopping, or has no model");
}

static void start_request(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                          const struct segments *segments)
{
    (void)segments;
    if (routes->store)
        dispatch_request(routes->dispatch, exchange, route->kind);
    else
        refuse_not_ready(exchange);
}

static void show_text(struct http_exchange *exchange, const char *text)
{
    struct ebm_buf body;
    ebm_buf_init(&body, SHORT_ANSWER_BYTES);
    (void)ebm_buf_text(&body, text);
    reply_json(exchange, &body);
}

static void show_live(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                      const struct segments *segments)
{
    (void)route;
    (void)routes;
    (void)segments;
    show_text(exchange, "{\"live\":true}\n");
}

/* Serving, and there is a model to ask. */
static bool is_ready(const struct routes *routes)
{
    if (!routes->ready)
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
        show_text(exchange, "{\"ready\":true}\n");
    else
        refuse_not_ready(exchange);
}

static void write_entry(struct ebm_buf *body, const struct model_store_entry *entry)
{
    (void)ebm_buf_text(body, "{\"name\":");
    (void)ebm_buf_json_text(body, entry->name);
    (void)ebm_buf_printf(body, ",\"version\":%" PRIu64 ",\"available\":%s", entry->version,
                         entry->model ? "true" : "false");
    if (!entry->model) {
        const struct ebm_error *error = &entry->error;
        char reason[sizeof error->where + sizeof error->text + 2];
        (void)snprintf(reason, sizeof reason, "%s%s%s", error->where, error->where[0] ? ": " : "", error->text);
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
    ebm_buf_init(&body, SHORT_ANSWER_BYTES);
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
        .model_events = models ? events : NULL,
        .ready = routes->ready,
    };
    struct ebm_buf body;
    for (size_t i = 0; i < EBM_COUNT_OF(table); i++)
        patterns[i] = table[i].pattern;
    ebm_buf_init(&body, METRICS_BYTES);
    metrics_write(routes->metrics, &now, &body);
    (void)model_list_unref(models);
    reply_text(exchange, METRICS_TEXT_TYPE, &body);
}

/* ---- GET /openapi.json ---- */

static struct openapi_model describe_net(const struct ebm_net_desc *net)
{
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
    return (struct openapi_model){net->X, net->D, net->has_energy, net->K > 0, bits};
}

static bool is_same_model(const struct openapi_model *a, const struct openapi_model *b)
{
    return a->X == b->X && a->D == b->D && a->has_energy == b->has_energy && a->has_proposal == b->has_proposal &&
           a->estimators == b->estimators;
}

/* The only available model; NULL when there are several, or versions of it that differ in what is described. */
static const struct openapi_model *describe_model(const struct model_list *models, struct openapi_model *ret_model)
{
    struct model_store_entry *entry;
    struct ebm_error error;
    if (!models || model_list_find(models, NULL, 0, &entry, &error) != EBM_OK)
        return NULL;
    *ret_model = describe_net(ebm_model_net(entry->model));
    for (size_t i = 0; i < models->n; i++) {
        const struct model_store_entry *other = models->entries[i];
        struct openapi_model described = other->model ? describe_net(ebm_model_net(other->model)) : *ret_model;
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
            gets[info.n_routes++] = (struct openapi_route){table[i].pattern, table[i].summary, table[i].schema};
    ebm_buf_init(&body, SHORT_ANSWER_BYTES);
    openapi_write(&body, &info);
    reply_json(exchange, &body);
}

/* ---- GET /v2/models/M, as the Open Inference Protocol has it ---- */

static void write_names(struct ebm_buf *body, const char *key, char *const *names, uint32_t n)
{
    if (!names)
        return;
    (void)ebm_buf_printf(body, ",\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++) {
        (void)ebm_buf_text(body, i ? "," : "");
        json_write_text(body, names[i]);
    }
    (void)ebm_buf_text(body, "]");
}

static void write_versions(struct ebm_buf *body, struct model_store *store, const char *name)
{
    bool first = true;
    struct model_list *models = model_store_list(store);
    (void)ebm_buf_text(body, ",\"versions\":[");
    for (size_t i = models->n; i-- > 0;) { /* ascending */
        const struct model_store_entry *entry = models->entries[i];
        if (!entry->model || strcmp(entry->name, name) != 0)
            continue;
        (void)ebm_buf_printf(body, "%s\"%" PRIu64 "\"", first ? "" : ",", entry->version);
        first = false;
    }
    (void)model_list_unref(models);
    (void)ebm_buf_text(body, "]");
}

static void write_metadata(struct ebm_buf *body, struct model_store *store, const struct model_store_entry *entry)
{
    const struct ebm_config *config = ebm_model_config(entry->model);
    static const char *const outputs[] = {"mean", "std", "variance", "median", "mode"};
    (void)ebm_buf_text(body, "{\"name\":");
    (void)ebm_buf_json_text(body, entry->name);
    write_versions(body, store, entry->name);
    (void)ebm_buf_printf(body, ",\"platform\":\"ebm_safetensors\"");
    (void)ebm_buf_printf(body, ",\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,%" PRIu32 "]}]",
                         config->input.size);
    (void)ebm_buf_text(body, ",\"outputs\":[");
    for (size_t i = 0; i < EBM_COUNT_OF(outputs); i++)
        (void)ebm_buf_printf(body, "{\"name\":\"%s\",\"datatype\":\"FP32\",\"shape\":[-1,%" PRIu32 "]},", outputs[i],
                             config->target.dim);
    (void)ebm_buf_printf(body, "{\"name\":\"quantiles\",\"datatype\":\"FP32\",\"shape\":[-1,-1,%" PRIu32 "]},",
                         config->target.dim);
    (void)ebm_buf_printf(body,
                         "{\"name\":\"covariance\",\"datatype\":\"FP32\",\"shape\":[-1,%" PRIu32 ",%" PRIu32 "]},",
                         config->target.dim, config->target.dim);
    if (config->target.dim == 1)
        (void)ebm_buf_text(body, "{\"name\":\"cdf\",\"datatype\":\"FP32\",\"shape\":[-1,-1]},"
                                 "{\"name\":\"crps\",\"datatype\":\"FP32\",\"shape\":[-1,-1]},");
    if (config->target.dim == 1 || config->net.has_energy)
        (void)ebm_buf_text(body, "{\"name\":\"entropy\",\"datatype\":\"FP32\",\"shape\":[-1]},");
    (void)ebm_buf_text(body, "{\"name\":\"log_normalizer\",\"datatype\":\"FP32\",\"shape\":[-1]}]");
    write_names(body, "input_names", config->input.names, config->input.size);
    write_names(body, "target_names", config->target.names, config->target.dim);
    (void)ebm_buf_text(body, "}\n");
}

/* A version as its folder is called; 0: no such name. */
static uint64_t version_of(const char *text)
{
    size_t length = strlen(text);
    bool is_number = length > 0 && length <= 15 && text[0] != '0' && strspn(text, "0123456789") == length;
    return is_number ? strtoull(text, NULL, 10) : 0;
}

/* The model, or its version, that the path names; NULL: the exchange was answered. */
static struct model_store_entry *find_model(const struct routes *routes, struct http_exchange *exchange,
                                            const struct segments *segments)
{
    struct model_store_entry *entry;
    struct ebm_error error;
    bool names_version = strstr(http_path(exchange), "/versions/") != NULL;
    uint64_t version = names_version ? version_of(segments->text[1]) : 0;
    if (!routes->store) {
        refuse_not_ready(exchange);
        return NULL;
    }
    if (names_version && version == 0) {
        refuse(exchange, REPLY_NOT_FOUND, "version", "expected a whole number from 1 on");
        return NULL;
    }
    enum ebm_status status = model_store_find(routes->store, segments->text[0], version, &entry, &error);
    if (status == EBM_OK)
        return entry;
    reply_error(exchange, reply_kind_of(status), &error);
    return NULL;
}

static void show_model(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                       const struct segments *segments)
{
    (void)route;
    struct model_store_entry *entry = find_model(routes, exchange, segments);
    if (!entry)
        return;
    struct ebm_buf body;
    ebm_buf_init(&body, SHORT_ANSWER_BYTES);
    write_metadata(&body, routes->store, entry);
    (void)model_store_entry_unref(entry);
    reply_json(exchange, &body);
}

static void show_model_ready(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                             const struct segments *segments)
{
    (void)route;
    if (!routes->ready) {
        refuse_not_ready(exchange);
        return;
    }
    struct model_store_entry *entry = find_model(routes, exchange, segments);
    if (!entry)
        return;
    struct ebm_buf body;
    ebm_buf_init(&body, SHORT_ANSWER_BYTES);
    (void)ebm_buf_text(&body, "{\"name\":");
    (void)ebm_buf_json_text(&body, entry->name);
    (void)ebm_buf_printf(&body, ",\"version\":\"%" PRIu64 "\",\"ready\":true}\n", entry->version);
    (void)model_store_entry_unref(entry);
    reply_json(exchange, &body);
}
