/* reply.h - what a refusal looks like: {"error": "...", "code": "...", "request_id": "..."} with a fitting status. */
#ifndef EBM_SERVER_REPLY_H
#define EBM_SERVER_REPLY_H

#include "server/http.h"

/* name, HTTP status, code */
#define REPLY_MAP(X)                                                                                                   \
    X(OK, 200, "ok")                                                                                                   \
    X(INVALID, 400, "invalid")                                                                                         \
    X(LOAD_FAILED, 400, "load_failed")                                                                                 \
    X(UNAUTHORIZED, 401, "unauthorized")                                                                               \
    X(FORBIDDEN, 403, "forbidden")                                                                                     \
    X(NOT_FOUND, 404, "not_found")                                                                                     \
    X(METHOD_NOT_ALLOWED, 405, "method_not_allowed")                                                                   \
    X(NOT_ACCEPTABLE, 406, "not_acceptable")                                                                           \
    X(BODY_TIMEOUT, 408, "body_timeout")                                                                               \
    X(TOO_LARGE, 413, "too_large")                                                                                     \
    X(UNSUPPORTED_TYPE, 415, "unsupported_type")                                                                       \
    X(QUEUE_FULL, 429, "queue_full")                                                                                   \
    X(BUSY, 429, "busy")                                                                                               \
    X(INTERNAL, 500, "internal")                                                                                       \
    X(NOT_READY, 503, "not_ready")                                                                                     \
    X(TIMEOUT, 504, "timeout")

enum reply_kind {
#define X(name, status, code) REPLY_##name,
    REPLY_MAP(X)
#undef X
        REPLY_KINDS
};

/* The one place where statuses become HTTP. Pure. */
enum reply_kind reply_kind_of(enum ebm_status status);
int reply_http_status(enum reply_kind kind);

/* Answers an exchange with an error; `error` says where and what. Loop thread. */
void reply_error(struct http_exchange *exchange, enum reply_kind kind, const struct ebm_error *error);
/* The same of a fixed text; where "" when it is no place in particular. */
void reply_refuse(struct http_exchange *exchange, enum reply_kind kind, const char *where, const char *text);
/* 429, queue_full, of what waits about so long: Retry-After in seconds, at least 1, and retry_after_ms. */
void reply_queue_full(struct http_exchange *exchange, const struct ebm_error *error, uint64_t wait_ms);
/* The same with the Allow header of 405. `allow` is static. */
void reply_not_allowed(struct http_exchange *exchange, const char *allow);
/* The same with the WWW-Authenticate header of 401. */
void reply_unauthorized(struct http_exchange *exchange, const struct ebm_error *error);
/* Answers 200 with JSON, or with a text of another type (static); takes the body's bytes. When the body failed: 500. */
void reply_json(struct http_exchange *exchange, struct ebm_buf *body);
void reply_text(struct http_exchange *exchange, const char *content_type, struct ebm_buf *body);
/* The same of JSON, json_bytes, that binary tensors follow; 0: of a body without such parts. */
void reply_parts(struct http_exchange *exchange, const char *content_type, struct ebm_buf *body, size_t json_bytes);

#endif
