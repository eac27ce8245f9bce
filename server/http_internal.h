/* http_internal.h - what the three files of HTTP share. Private to them.
 *
 *   http.c           the daemon in the loop: pump, start, drain, stop
 *   http_peer.c      a connection, from accept to close: its time, its client's leaving
 *   http_exchange.c  a request and its answer, between the daemon and the handler
 */
#ifndef EBM_SERVER_HTTP_INTERNAL_H
#define EBM_SERVER_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "core/list.h"
#include "server/http.h"
#include "server/lingering.h"
#include "server/timeouts.h"

enum exchange_state { READING, WAITING, GONE, ANSWERED, SENDING, CUT };

struct http {
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_poll_t leaver_poll;
    int leaver_fd;            /* epoll over all connections: did their clients leave? */
    struct timeouts timeouts; /* of peers */
    struct lingering *lingering;
    uint32_t n_open_handles;
    uint64_t body_timeout_us;
    struct http_handler handler;
    struct ebm_list peers, exchanges;
    _Atomic uint32_t n_pending; /* this thread writes */
    struct http_budget *budget; /* that exchanges are charged to */
    struct addresses *addresses;
    bool is_encrypted;
    bool quiesced, closing;
    bool has_closed; /* a connection, since the daemon last began to run */
    uint16_t port;
    uint64_t id_base, id_count; /* of request ids that we make */
    uint64_t n_traced;          /* requests that belong to a trace */
};

struct peer {
    struct ebm_list link;
    struct http *http;
    struct address *address; /* NULL: there is no limit for one */
    int fd;
    struct deadline deadline;
    uint64_t passed_bytes;          /* by the daemon to us: heads, bodies, and about what stands between chunks */
    uint64_t passed_us;             /* when it last did */
    struct http_exchange *exchange; /* NULL: between requests */
    bool has_asked;                 /* there was one */
    bool has_left;                  /* its client sends nothing any more */
    bool is_cut;                    /* it was told to stop in the middle of a body */
    /* between requests */
    uint64_t idle_us; /* since when */
    bool is_asking;   /* a head has begun */
};

struct http_exchange {
    struct ebm_list link;
    struct http *http;
    struct peer *peer;
    struct MHD_Connection *connection;
    enum exchange_state state;
    bool is_pending, is_sent; /* is_sent: by us */
    const char *method, *path;
    const struct http_fault *fault; /* NULL: none */
    const char *origin;             /* whose pages may read the answer; NULL: nobody's */
    char request_id[HTTP_REQUEST_ID_BYTES + 1];
    struct trace trace;
    struct ebm_buf body;
    bool keeps_body;
    uint64_t body_bytes, body_limit;
    uint64_t charged_bytes; /* the body as it comes, then what the handler reserved, then the answer */
    uint64_t started_us;
    struct http_answer answer;
    struct ebm_buf answer_body;
    uint64_t answer_bytes;
    void *user;
};

/* http_exchange.c: the daemon's callbacks, and what others may do to an exchange. */
enum MHD_Result http_on_access(void *user, struct MHD_Connection *connection, const char *path, const char *method,
                               const char *version, const char *bytes, size_t *size, void **state);
void http_on_completed(void *user, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code);
size_t http_unescape(void *user, struct MHD_Connection *connection, char *text);
/* Writes the answer in the middle of a body, and ends the connection. */
void http_cut(struct http_exchange *exchange);
/* Its client is seen to have left, while it waits. */
void http_abandon(struct http_exchange *exchange);

/* http_peer.c */
void http_on_connection(void *user, struct MHD_Connection *connection, void **peer,
                        enum MHD_ConnectionNotificationCode code);
void http_on_leavers(uv_poll_t *poll, int status, int events);
void http_on_due(void *user, struct deadline *due);
struct peer *http_peer_of(struct MHD_Connection *connection); /* NULL: there was no memory for one */
void http_peer_begin(struct peer *peer, struct http_exchange *exchange);
void http_peer_end(struct peer *peer); /* its exchange is over */
/* To take an answer of so many bytes. */
void http_peer_give_time(struct peer *peer, uint64_t bytes);
/* The daemon passed these bytes on to us. */
void http_peer_note_passed(struct peer *peer, size_t bytes);
/* Ends uploads that keep the daemon busy with nothing. */
void http_cut_stuck(struct http *http);

#endif
