/* repository_routes.c - the index of all versions, and orders to the keeper.
 *
 *   load, unload -> allowed? 403 -> body as expected? 400 -> an order to the keeper's thread; the exchange waits
 *   mailbox      -> the order as it went -> answer: 200 and nothing, or an error that says what was refused and why
 *
 * A name from the path is looked for in the repository and never becomes part of a path unless it is one that a folder
 * may have. Files cannot be sent: what is served is what lies in the repository. */
#include "server/repository_routes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/fields.h"
#include "proto/json_write.h"
#include "server/reply.h"

#define INDEX_BYTES (16u << 20)
#define BODY_ARENA_BYTES (64u << 10)

/* A request to load or unload. */
struct pending {
    struct model_keeper_order order; /* the keeper's until it is mail */
    struct ebm_list link;            /* in waiting */
    struct http_exchange *exchange;  /* NULL: over */
};

void repository_routes_init(struct repository_routes *routes)
{
    *routes = (struct repository_routes){.store = NULL};
    ebm_list_init(&routes->waiting);
}

/* ---- bodies: nothing, or an object ---- */

struct message {
    bool ready, unload_dependents;
};

#define FLAG(name, member, text)                                                                                       \
    {                                                                                                                  \
        name, FIELD_FLAG, .at = offsetof(struct message, member), .limit_at = FIELD_NO_LIMIT, .has_standard = true,    \
                          .help = (text)                                                                               \
    }

static const struct field index_fields[] = {FLAG("ready", ready, "true: only what can be asked")};
static const struct field parameter_fields[] = {
    FLAG("unload_dependents", unload_dependents, "models here depend on no others: changes nothing"),
    {"config", FIELD_LATER, .limit_at = FIELD_NO_LIMIT, .help = "serving.json beside the versions says it"},
};
static const struct field order_fields[] = {{"parameters", FIELD_OBJECT, .limit_at = FIELD_NO_LIMIT,
                                             .members = parameter_fields, .n_members = EBM_COUNT_OF(parameter_fields)}};

/* False: the exchange was answered. */
static bool read_body(struct http_exchange *exchange, const struct field *fields, uint32_t n,
                      struct message *ret_message)
{
    static const struct json_read_limits bounds = {LIMIT_JSON_DEPTH, 256};
    EBM_AUTO(json_read_freep) struct json_t *root = NULL;
    struct ebm_error error;
    struct ebm_buf body;
    struct ebm_arena arena;
    field_seen seen;
    *ret_message = (struct message){.ready = false};
    http_take_body(exchange, &body);
    enum ebm_status status = EBM_OK;
    if (body.size > 0) {
        ebm_arena_init(&arena, BODY_ARENA_BYTES);
        status = json_read_parse(body.bytes, body.size, &bounds, &root, &error);
        if (status == EBM_OK)
            status = fields_read(fields, n, root, NULL, NULL, &arena, ret_message, &seen, &error);
        ebm_arena_done(&arena);
    }
    ebm_buf_done(&body);
    if (status != EBM_OK)
        reply_error(exchange, reply_kind_of(status), &error);
    return status == EBM_OK;
}

/* ---- the index ---- */

static void write_row(struct ebm_buf *body, const struct model_store_row *row)
{
    static const char *const words[] = {
#define X(name, word) word,
        MODEL_STATE_MAP(X)
#undef X
    };
    (void)ebm_buf_printf(body, "{\"name\":\"%s\",\"version\":\"%" PRIu64 "\",\"state\":\"%s\",\"reason\":", row->name,
                         row->version, words[row->state]);
    json_write_text(body, row->reason);
    (void)ebm_buf_text(body, "}");
}

void repository_routes_index(struct repository_routes *routes, struct http_exchange *exchange)
{
    struct message message;
    struct model_store_row *rows = NULL;
    struct ebm_buf body;
    size_t n = 0;
    bool is_first = true;
    if (!read_body(exchange, index_fields, EBM_COUNT_OF(index_fields), &message))
        return;
    ebm_buf_init(&body, INDEX_BYTES);
    if (routes->store && model_store_index(routes->store, &rows, &n) != EBM_OK)
        body.status = EBM_NO_MEMORY;
    (void)ebm_buf_text(&body, "[");
    for (size_t i = 0; i < n; i++) {
        if (message.ready && rows[i].state != MODEL_READY)
            continue;
        (void)ebm_buf_text(&body, is_first ? "" : ",");
        is_first = false;
        write_row(&body, &rows[i]);
    }
    (void)ebm_buf_text(&body, "]\n");
    free(rows);
    reply_json(exchange, &body);
}

/* ---- load and unload ---- */

/* The one gate of all that changes what is served. False: the exchange was answered. */
static bool may_control(const struct repository_routes *routes, struct http_exchange *exchange)
{
    if (!routes->may_control)
        reply_refuse(exchange, REPLY_FORBIDDEN, "", "loading and unloading by request is off: --model-control on");
    else if (!routes->keeper || atomic_load(routes->stopping))
        reply_refuse(exchange, REPLY_NOT_READY, "", "not ready: the server is starting or stopping");
    else
        return true;
    return false;
}

void repository_routes_order(struct repository_routes *routes, struct http_exchange *exchange, const char *name,
                             bool loads)
{
    struct message message;
    if (!may_control(routes, exchange) || !read_body(exchange, order_fields, EBM_COUNT_OF(order_fields), &message))
        return;
    struct pending *pending = calloc(1, sizeof *pending);
    if (!pending) {
        reply_refuse(exchange, REPLY_INTERNAL, "", "no memory for one more request");
        return;
    }
    pending->order.home = routes->mailbox;
    pending->order.loads = loads;
    pending->exchange = exchange;
    ebm_list_init(&pending->order.link);
    (void)snprintf(pending->order.name, sizeof pending->order.name, "%s", name);
    if (model_keeper_order(routes->keeper, &pending->order) != EBM_OK) {
        free(pending);
        reply_refuse(exchange, REPLY_BUSY, "", "too many requests to load or unload wait already");
        return;
    }
    ebm_list_append(&routes->waiting, &pending->link);
}

void repository_routes_end(struct repository_routes *routes, struct http_exchange *exchange)
{
    for (struct ebm_list *link = routes->waiting.next; link != &routes->waiting; link = link->next) {
        struct pending *pending = EBM_CONTAINER_OF(link, struct pending, link);
        if (pending->exchange == exchange)
            pending->exchange = NULL;
    }
}

static void answer(struct http_exchange *exchange, const struct ebm_error *error)
{
    struct ebm_buf nothing;
    ebm_buf_init(&nothing, 0);
    switch (error->status) {
    case EBM_OK:
        reply_json(exchange, &nothing);
        return;
    case EBM_INVALID:
        reply_error(exchange, REPLY_LOAD_FAILED, error);
        return;
    case EBM_CANCELLED:
        reply_error(exchange, REPLY_NOT_READY, error);
        return;
    default:
        reply_error(exchange, reply_kind_of(error->status), error);
    }
}

void repository_routes_on_mail(void *user, struct ebm_list *mail)
{
    struct repository_routes *routes = user;
    struct ebm_list *link;
    while ((link = ebm_list_pop(mail)) != NULL) {
        struct model_keeper_order *order = EBM_CONTAINER_OF(link, struct model_keeper_order, link);
        struct pending *pending = EBM_CONTAINER_OF(order, struct pending, order);
        if (pending->exchange)
            answer(pending->exchange, &order->error);
        ebm_list_remove(&pending->link);
        free(pending);
    }
    if (routes->http)
        http_pump(routes->http);
}
