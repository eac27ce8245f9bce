/* http.h - HTTP over libmicrohttpd inside a libuv loop; the one page that hides both the daemon and its rules.
 *
 * An exchange is one request and its answer. Everything here is loop thread only. */
#ifndef EBM_SERVER_HTTP_H
#define EBM_SERVER_HTTP_H

#include <stdatomic.h>
#include <uv.h>

#include "core/buf.h"
#include "server/addresses.h"
#include "server/listen.h"
#include "server/trace.h"

struct http;
struct tls;
struct http_exchange;

#define HTTP_REQUEST_ID_BYTES 128u

enum http_refusal {
    HTTP_TOO_LARGE, /* more than the body's limit */
    HTTP_NO_ROOM,   /* beside what other exchanges hold */
    HTTP_TOO_SLOW,  /* not there after body_timeout_ms */
    HTTP_BROKEN,    /* a chunk without a size */
};

/* How an exchange goes by. http_answer is called at most once for each, at any time from on_head to on_end. */
struct http_handler {
    void *user;
    /* The headers are read: set the body's limit, or answer at once. */
    void (*on_head)(void *user, struct http_exchange *exchange);
    /* The whole body is read, and nobody has answered yet: answer now or later. */
    void (*on_request)(void *user, struct http_exchange *exchange);
    /* The body will not be read, or not further: answer now. */
    void (*on_refusal)(void *user, struct http_exchange *exchange, enum http_refusal why);
    /* The exchange is over: sent (true), or its client is gone, while it waits for an answer too, or it is not wanted
     * any more. Let go of everything. */
    void (*on_end)(void *user, struct http_exchange *exchange, bool sent);
};

/* Of bodies, announced or there, and answers, until their exchanges are over; of all servers that share it. */
struct http_budget {
    _Atomic uint64_t used_bytes;
    uint64_t max_bytes; /* fixed */
};

struct http_config {
    struct tls *tls;  /* NULL: without encryption; borrow */
    const char *host; /* a numeric address */
    uint16_t port;    /* 0: any free one */
    enum listen_sharing sharing;
    uint32_t max_connections, idle_timeout_s;
    struct addresses *addresses; /* NULL: no limit for one address; borrow, as the next */
    struct http_budget *budget;
    uint64_t body_timeout_ms; /* from accept to the end of the first head, from a head to the end of its body */
};

/* Listens and serves. INVALID with a sentence when the address cannot be listened on. New: http_close. */
enum ebm_status http_new(uv_loop_t *loop, const struct http_config *config, const struct http_handler *handler,
                         struct http **ret_http, struct ebm_error *reterr) EBM_MUST_USE;
uint16_t http_port(const struct http *http);

/* No new connections; answers say Connection: close. Requests on connections that are open are still read. */
void http_quiesce(struct http *http);
/* Requests that were read whole, or are being answered, and whose answers the kernel does not have yet. Any thread. */
uint32_t http_pending(const struct http *http);
/* Nothing is pending, and the clients' kernels have every byte of every answer: closing now loses nothing. */
bool http_is_drained(const struct http *http);
/* Ends every exchange (on_end), and frees in the loop's next rounds. NULL is fine; returns NULL. */
struct http *http_close(struct http *http);

/* Lets the daemon work: after http_answer on an exchange that was waiting. */
void http_pump(struct http *http);

/* ---- one exchange; texts are borrowed until on_end ---- */

const char *http_method(const struct http_exchange *exchange); /* "GET", ... */
const char *http_path(const struct http_exchange *exchange);   /* decoded, without the query; any bytes */
const char *http_header(const struct http_exchange *exchange, const char *name); /* NULL: none */
/* Is a Content-Type, whatever its parameters, this type? NULL is none. Pure; any thread. */
bool http_is_type(const char *header, const char *type);
/* Calls `each` for every argument of the query, decoded (not one with %00), as long as it answers true; value NULL: it
 * has no '='. */
typedef bool http_argument_fn(void *user, const char *name, const char *value);
void http_each_argument(const struct http_exchange *exchange, http_argument_fn *each, void *user);
/* What makes it unclear where the request ends or for whom it is, so that a proxy may have read it in another way;
 * NULL: nothing. The answer closes the connection. */
struct http_fault {
    const char *where, *expected; /* static */
};
const struct http_fault *http_fault(const struct http_exchange *exchange);
const char *http_request_id(const struct http_exchange *exchange); /* [A-Za-z0-9._:/+=@-] only */
/* By its header traceparent; NULL: it has none, or one that is not valid. The answer has it too, with a span of ours.
 */
const struct trace *http_trace(const struct http_exchange *exchange);
uint64_t http_started_us(const struct http_exchange *exchange); /* when the headers were read */
uint64_t http_body_bytes(const struct http_exchange *exchange); /* that arrived */

/* One of these in on_head, or no body is accepted: keep it for http_take_body, or read it and throw it away. */
void http_keep_body(struct http_exchange *exchange, uint64_t max_bytes);
void http_skip_body(struct http_exchange *exchange, uint64_t max_bytes);
uint64_t http_body_limit(const struct http_exchange *exchange);
uint64_t http_inflight_bytes(const struct http_exchange *exchange); /* of all that share its budget */
/* From now on it takes so many bytes, body, work and answer together, until http_answer, which knows the answer's size.
 * False: beside what others take there is no room. */
bool http_reserve(struct http_exchange *exchange, uint64_t bytes) EBM_MUST_USE;
/* Hands out the body, once. New: ebm_buf_done. */
void http_take_body(struct http_exchange *exchange, struct ebm_buf *ret_body);

/* The handler's own pointer. */
void http_set_user(struct http_exchange *exchange, void *user);
void *http_user(const struct http_exchange *exchange);

/* A header of an answer; a list of them ends with a name of NULL. */
struct http_field {
    const char *name, *value;
};

struct http_answer {
    int status;
    const char *content_type;        /* static */
    const char *allow;               /* static; NULL: no such header */
    const struct http_field *fields; /* static: what it has besides; NULL: nothing */
    uint32_t retry_after_s;          /* 0: no such header */
    uint64_t json_bytes; /* of the body, before binary tensors: Inference-Header-Content-Length; 0: no such header */
};

/* The answer will say that pages of this origin may read it. Borrow: as long as the exchange. */
void http_allow_origin(struct http_exchange *exchange, const char *origin);
/* Takes the bytes of `body` (it is empty afterwards). Nothing is sent when the client was just seen to leave. */
void http_answer(struct http_exchange *exchange, const struct http_answer *answer, struct ebm_buf *body);
int http_answered_status(const struct http_exchange *exchange); /* 0: not yet */
uint64_t http_answered_bytes(const struct http_exchange *exchange);

#endif
