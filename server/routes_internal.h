/* routes_internal.h - what the files of routes share. Private to them.
 *
 *   routes.c       the table, what is refused by its headers, the short answers
 *   oip_routes.c   /v2: the Open Inference Protocol
 */
#ifndef EBM_SERVER_ROUTES_INTERNAL_H
#define EBM_SERVER_ROUTES_INTERNAL_H

#include "server/reply.h"
#include "server/routes.h"

#define ROUTES_ANSWER_BYTES (1u << 20) /* of a short answer, at most */
#define ROUTES_STATISTICS_BYTES (64u << 20)
#define ROUTES_SEGMENTS 2 /* free ones in a pattern */
#define ROUTES_SEGMENT_BYTES (LIMIT_NAME_BYTES + 1)

/* What the '*' of a pattern stand for. */
struct segments {
    char text[ROUTES_SEGMENTS][ROUTES_SEGMENT_BYTES];
};

/* What a route reads of a body. */
enum route_body {
    ROUTE_NO_BODY,
    ROUTE_REQUEST, /* one of the kinds of requests: JSON, an array, an image */
    ROUTE_INFER,   /* JSON, maybe with tensors after it, whatever its content type says */
    ROUTE_CONTROL, /* little JSON, or nothing: changes what is served */
    ROUTE_ANY_JSON /* the same, whatever its content type says: changes nothing */
};

struct route;
typedef void handle_fn(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                       const struct segments *segments);

struct route {
    const char *method, *pattern, *allow;
    enum route_body body;
    enum access_role role; /* that a key needs */
    handle_fn *handle;
    enum request_kind kind;       /* of a REQUEST */
    const char *summary, *schema; /* of others, for the interface's description; schema Text: text/plain */
    const char *request;          /* schema of a body, likewise; NULL: a GET */
};

/* What an exchange's headers say of its body: compression and limit. */
struct job_form routes_form(const struct http_exchange *exchange);
/* Answers with the error of a server that starts or stops. */
void routes_refuse_not_ready(struct http_exchange *exchange);
/* Answers with this JSON. */
void routes_show_text(struct http_exchange *exchange, const char *text);

/* oip_routes.c */
handle_fn oip_show_server, oip_show_model, oip_show_model_ready, oip_show_config, oip_show_statistics,
    oip_show_all_statistics, oip_infer;

#endif
