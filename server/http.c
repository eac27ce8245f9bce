/* http.c - the one file that knows libmicrohttpd.
 *
 *   READING --body complete--> WAITING (suspended) --http_answer--> ANSWERED (resumed) --queued--> SENDING --> on_end
 *      |  |                          \--client left--> GONE (resumed) --> on_end
 *      |  \--on_request answers at once-------------------------------^
 *      |\--refused by its headers or its size--> ANSWERED; the rest of the body is read and thrown away, up to
 *      |   DISCARD_BYTES more than its limit, so that the client can read the answer;
 *      |   one that is announced to be longer is answered at once and closed
 *      \--body_timeout_ms are over, or it goes on and on--> CUT: the daemon takes no answer while a body comes, so we
 *         write it to the socket ourselves, and close
 *
 * The daemon has no thread: its epoll descriptor is watched by uv_poll, and everything leads to http_pump, which runs
 * it, asks when it wants to run again and arms a timer. Resuming is done on the loop thread only, and only followed by
 * a pump. A suspended connection never times out, and the daemon does not notice that its client left: time is the
 * handler's business. Nor does it notice an end that came together with bytes that it waits to see continued. So an
 * epoll of our own watches every connection for its client to leave. One that ends its sending side alone cannot be
 * told from one that left, and counts as gone while its answer is not there; bytes of its next request do not.
 *
 * A peer is a connection, from accept to close. Its deadline is one time for all that the client has to send: from
 * accept to the first request's head, and from a head to the body's end; between requests it looks now and then whether
 * a head has begun and does not end. Closing is left to the daemon, which sees what shutdown did, and lingering.c holds
 * on to a connection whose client could lose an answer by it.
 *
 * Guarantees: on_end comes exactly once for every exchange that on_head saw, after which nothing refers to it; bodies
 * are kept only up to their limit; an answer is queued once. Does not know: routes, jobs, JSON. */
#include "server/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/list.h"
#include "core/log.h"
#include "core/rng.h"
#include "server/lingering.h"
#include "server/socket_state.h"
#include "server/timeouts.h"

#define DISCARD_BYTES (1u << 20)
#define PUMP_PASSES 16
#define QUIET_PASSES 256
#define LISTEN_BACKLOG 1024
#define LEAVERS 64 /* looked at with one call */
#define HEAD_BYTES 4096u
#define STUCK_MS 100u
#define CHUNK_FRAME_BYTES 32u  /* size and ends of lines of a chunk, about */
#define CHUNK_SIZE_BYTES 4096u /* of a size with its extensions; no client sends so many */
#define CUT_MS 1000u           /* for a client to take an answer that came early, and close */

enum state { READING, WAITING, GONE, ANSWERED, SENDING, CUT };

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
    uint32_t n_pending;
    uint64_t inflight_bytes, max_inflight_bytes; /* what exchanges are charged with, together */
    bool quiesced, closing;
    uint16_t port;
    int listen_fd;              /* the daemon's; ours again after http_quiesce; -1: closed */
    uint64_t id_base, id_count; /* of request ids that we make */
};

struct peer {
    struct ebm_list link;
    struct http *http;
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
    enum state state;
    bool is_pending, is_sent; /* is_sent: by us */
    const char *method, *path;
    const struct http_fault *fault; /* NULL: none */
    char request_id[HTTP_REQUEST_ID_BYTES + 1];
    struct ebm_buf body;
    bool keeps_body;
    uint64_t body_bytes, body_limit;
    uint64_t charged_bytes; /* body: announced, or as it comes; and answer */
    uint64_t started_us;
    struct http_answer answer;
    struct ebm_buf answer_body;
    uint64_t answer_bytes;
    void *user;
};

/* ---- what handlers ask ---- */

const char *http_method(const struct http_exchange *exchange)
{
    return exchange->method;
}

const char *http_path(const struct http_exchange *exchange)
{
    return exchange->path;
}

const char *http_header(const struct http_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

const struct http_fault *http_fault(const struct http_exchange *exchange)
{
    return exchange->fault;
}

const char *http_request_id(const struct http_exchange *exchange)
{
    return exchange->request_id;
}

uint64_t http_started_us(const struct http_exchange *exchange)
{
    return exchange->started_us;
}

uint64_t http_body_bytes(const struct http_exchange *exchange)
{
    return exchange->body_bytes;
}

uint64_t http_inflight_bytes(const struct http_exchange *exchange)
{
    return exchange->http->inflight_bytes;
}

void http_keep_body(struct http_exchange *exchange, uint64_t max_bytes)
{
    exchange->keeps_body = true;
    exchange->body_limit = max_bytes;
    ebm_buf_init(&exchange->body, max_bytes);
}

void http_skip_body(struct http_exchange *exchange, uint64_t max_bytes)
{
    exchange->body_limit = max_bytes;
}

uint64_t http_body_limit(const struct http_exchange *exchange)
{
    return exchange->body_limit;
}

void http_take_body(struct http_exchange *exchange, struct ebm_buf *ret_body)
{
    *ret_body = exchange->body;
    ebm_buf_init(&exchange->body, 0);
}

void http_set_user(struct http_exchange *exchange, void *user)
{
    exchange->user = user;
}

void *http_user(const struct http_exchange *exchange)
{
    return exchange->user;
}

int http_answered_status(const struct http_exchange *exchange)
{
    return exchange->state >= ANSWERED ? exchange->answer.status : 0;
}

uint64_t http_answered_bytes(const struct http_exchange *exchange)
{
    return exchange->answer_bytes;
}

/* ---- bytes in flight ---- */

static void charge(struct http_exchange *exchange, uint64_t bytes)
{
    exchange->charged_bytes += bytes;
    exchange->http->inflight_bytes += bytes;
}

/* For a body. One that is alone always fits: it would never otherwise. */
static bool try_charge(struct http_exchange *exchange, uint64_t bytes)
{
    const struct http *http = exchange->http;
    bool is_alone = http->inflight_bytes == exchange->charged_bytes;
    bool fits = is_alone || http->inflight_bytes + bytes <= http->max_inflight_bytes;
    if (fits)
        charge(exchange, bytes);
    return fits;
}

/* ---- waiting ---- */

/* Its client has ended its sending side, or is gone. */
static void on_leaver(struct peer *peer)
{
    struct http_exchange *exchange = peer->exchange;
    peer->has_left = true;
    if (exchange && exchange->state == WAITING) {
        exchange->state = GONE;
        MHD_resume_connection(exchange->connection);
    } else if (!exchange || exchange->state == READING) {
        /* The daemon may have read all bytes that came with the end, and then waits for more: this wakes it. */
        (void)shutdown(peer->fd, SHUT_RD);
    }
}

static void on_leavers(uv_poll_t *poll, int status, int events)
{
    struct http *http = poll->data;
    (void)status;
    (void)events;
    struct epoll_event leavers[LEAVERS];
    int n = epoll_wait(http->leaver_fd, leavers, LEAVERS, 0);
    for (int i = 0; i < n; i++)
        on_leaver(leavers[i].data.ptr); /* which frees no peer: that is the pump's */
    http_pump(http);
}

void http_answer(struct http_exchange *exchange, const struct http_answer *answer, struct ebm_buf *body)
{
    EBM_ASSERT(exchange->state < ANSWERED);
    if (exchange->state == GONE) {
        ebm_buf_done(body);
        return;
    }
    bool was_waiting = exchange->state == WAITING;
    exchange->answer = *answer;
    exchange->answer_body = *body;
    exchange->answer_bytes = body->size;
    charge(exchange, body->size);
    ebm_buf_init(body, 0);
    exchange->state = ANSWERED;
    if (was_waiting)
        MHD_resume_connection(exchange->connection);
}

/* ---- request ids ---- */

static bool may_stand_in_id(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr("._:/+=@-", c) != NULL);
}

static void choose_id(struct http_exchange *exchange)
{
    struct http *http = exchange->http;
    const char *given = http_header(exchange, "X-Request-Id");
    size_t n = 0;
    for (; given && given[n] && n < HTTP_REQUEST_ID_BYTES; n++)
        exchange->request_id[n] = may_stand_in_id(given[n]) ? given[n] : '_';
    exchange->request_id[n] = 0;
    if (n == 0)
        (void)snprintf(exchange->request_id, sizeof exchange->request_id, "%013" PRIx64 "-%" PRIu64, http->id_base,
                       ++http->id_count);
}

/* ---- sending ---- */

typedef bool add_header_fn(void *to, const char *name, const char *value);

static bool add_headers(const struct http_exchange *exchange, bool closes, add_header_fn *add, void *to)
{
    const struct http_answer *answer = &exchange->answer;
    char seconds[16];
    (void)snprintf(seconds, sizeof seconds, "%" PRIu32, answer->retry_after_s);
    return add(to, "Content-Type", answer->content_type) && add(to, "X-Request-Id", exchange->request_id) &&
           (!answer->allow || add(to, "Allow", answer->allow)) &&
           (answer->retry_after_s == 0 || add(to, "Retry-After", seconds)) &&
           (!closes || add(to, "Connection", "close"));
}

static bool add_to_response(void *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_to_text(void *text, const char *name, const char *value)
{
    return ebm_buf_printf(text, "%s: %s\r\n", name, value) == EBM_OK;
}

/* Read whole, or answered earlier: it must not be lost from now on. */
static void set_pending(struct http_exchange *exchange)
{
    if (exchange->is_pending)
        return;
    exchange->is_pending = true;
    exchange->http->n_pending++;
    deadline_remove(&exchange->peer->deadline);
}

/* MHD_NO closes the connection. */
static enum MHD_Result send_answer(struct http_exchange *exchange)
{
    set_pending(exchange);
    struct ebm_buf *body = &exchange->answer_body;
    enum MHD_ResponseMemoryMode mode = body->bytes ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT;
    static char nothing[1];
    struct MHD_Response *response = MHD_create_response_from_buffer(body->size, body->bytes ? body->bytes : nothing,
                                                                    mode);
    if (!response)
        return MHD_NO;
    ebm_buf_init(body, 0); /* the bytes are the response's */
    bool closes = exchange->http->quiesced || exchange->fault;
    enum MHD_Result result = MHD_NO;
    if (add_headers(exchange, closes, add_to_response, response))
        result = MHD_queue_response(exchange->connection, (unsigned)exchange->answer.status, response);
    MHD_destroy_response(response);
    exchange->state = SENDING;
    return result;
}

/* All of it at once, or not whole: is_sent. */
static void write_to_socket(struct http_exchange *exchange, const struct ebm_buf *head)
{
    const struct ebm_buf *body = &exchange->answer_body;
    bool has_body = strcmp(exchange->method, "HEAD") != 0;
    struct iovec parts[2] = {{head->bytes, head->size}, {body->bytes, has_body ? body->size : 0}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(exchange->peer->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    exchange->is_sent = sent >= 0 && (size_t)sent == parts[0].iov_len + parts[1].iov_len;
}

/* An answer in the middle of a body, and the end of the connection. */
static void cut(struct http_exchange *exchange)
{
    unsigned status = (unsigned)exchange->answer.status;
    struct ebm_buf head;
    ebm_buf_init(&head, HEAD_BYTES);
    (void)ebm_buf_printf(&head, "HTTP/1.1 %u %s\r\nContent-Length: %" PRIu64 "\r\n", status,
                         MHD_get_reason_phrase_for(status), exchange->answer_bytes);
    (void)add_headers(exchange, true, add_to_text, &head);
    if (ebm_buf_text(&head, "\r\n") == EBM_OK)
        write_to_socket(exchange, &head);
    ebm_buf_done(&head);
    ebm_buf_done(&exchange->answer_body);
    ebm_buf_done(&exchange->body);
    exchange->state = CUT;
    exchange->peer->is_cut = true;
    (void)shutdown(exchange->peer->fd, SHUT_WR);
    timeouts_set(&exchange->http->timeouts, &exchange->peer->deadline, ebm_clock_us() + CUT_MS * 1000u);
}

/* ---- peers ---- */

static struct peer *peer_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void peer_new(struct http *http, struct MHD_Connection *connection, void **ret_peer)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return; /* its first request will end it */
    peer->http = http;
    peer->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    deadline_init(&peer->deadline);
    ebm_list_append(&http->peers, &peer->link);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = peer}; /* errors come unasked */
    (void)epoll_ctl(http->leaver_fd, EPOLL_CTL_ADD, peer->fd, &event);
    timeouts_set(&http->timeouts, &peer->deadline, ebm_clock_us() + http->body_timeout_us);
    *ret_peer = peer;
}

static void peer_free(struct peer *peer)
{
    (void)epoll_ctl(peer->http->leaver_fd, EPOLL_CTL_DEL, peer->fd, NULL);
    deadline_remove(&peer->deadline);
    ebm_list_remove(&peer->link);
    if (!peer->http->closing)
        lingering_before_close(peer->http->lingering, peer->fd, peer->is_cut);
    free(peer);
}

/* On CLOSED the socket is still open, and its sending side is shut. */
static void on_connection(void *user, struct MHD_Connection *connection, void **peer,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        peer_new(user, connection, peer);
    else if (*peer)
        peer_free(*peer);
}

/* Its exchange is over. */
static void look_later(struct peer *peer)
{
    peer->exchange = NULL;
    peer->is_asking = false;
    peer->idle_us = ebm_clock_us();
    timeouts_set(&peer->http->timeouts, &peer->deadline, peer->idle_us + peer->http->body_timeout_us);
}

/* Since it fell idle. */
static bool has_sent_bytes(const struct peer *peer)
{
    struct socket_state state;
    uint64_t idle_ms = (ebm_clock_us() - peer->idle_us) / 1000;
    return socket_state_get(peer->fd, &state) && state.silent_ms + SOCKET_STATE_CLOCK_MS < idle_ms;
}

static void note_passed(struct peer *peer, size_t bytes)
{
    peer->passed_bytes += bytes;
    peer->passed_us = ebm_clock_us();
}

/* Bytes came, and the daemon does not pass them on: it looks for the end of a chunk's size. */
static bool is_stuck(const struct http_exchange *exchange)
{
    const struct peer *peer = exchange->peer;
    struct socket_state state;
    return exchange->state == READING && !http_header(exchange, "Content-Length") &&
           ebm_clock_us() - peer->passed_us > STUCK_MS * 1000u && socket_state_get(peer->fd, &state) &&
           state.received_bytes > peer->passed_bytes + CHUNK_SIZE_BYTES;
}

/* The daemon does not tell when a head begins, but the kernel knows when bytes came: such a head has until the next
 * look. True: that is over. */
static bool is_stalling(struct peer *peer)
{
    if (!peer->has_asked || peer->is_asking)
        return true;
    peer->is_asking = has_sent_bytes(peer);
    return false;
}

static void on_due(void *user, struct deadline *due)
{
    struct http *http = user;
    if (!due)
        return;
    struct peer *peer = EBM_CONTAINER_OF(due, struct peer, deadline);
    struct http_exchange *exchange = peer->exchange;
    if (exchange && exchange->state == READING)
        http->handler.on_refusal(http->handler.user, exchange, HTTP_TOO_SLOW);
    if (exchange && exchange->state == ANSWERED)
        cut(exchange);
    else if (exchange || is_stalling(peer))
        (void)shutdown(peer->fd, SHUT_RDWR);
    else
        timeouts_set(&http->timeouts, &peer->deadline, ebm_clock_us() + http->body_timeout_us);
}

/* ---- receiving ---- */

/* Decodes %41 in place, but not a text with %00 in it: what is compared must not end early. */
static size_t unescape(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

struct framing {
    uint32_t n_lengths, n_hosts;
    const char *coding;
};

static enum MHD_Result note_framing(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct framing *framing = user;
    (void)kind;
    if (strcasecmp(name, "Content-Length") == 0)
        framing->n_lengths++;
    else if (strcasecmp(name, "Host") == 0)
        framing->n_hosts++;
    else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        framing->n_lengths++;
        framing->coding = value ? value : "";
    }
    return MHD_YES;
}

static const struct http_fault *find_fault(struct MHD_Connection *connection, const char *version)
{
    static const struct http_fault ambiguous = {"Content-Length", "expected one length, or chunks: not both, not two"},
                                   coded = {"Transfer-Encoding", "expected chunked"},
                                   homeless = {"Host", "expected one such header"};
    struct framing framing = {0};
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, note_framing, &framing);
    if (framing.n_lengths > 1)
        return &ambiguous;
    if (framing.coding && strcasecmp(framing.coding, "chunked") != 0)
        return &coded;
    bool needs_host = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    return framing.n_hosts > 1 || (needs_host && framing.n_hosts == 0) ? &homeless : NULL;
}

static struct http_exchange *exchange_new(struct http *http, struct MHD_Connection *connection, const char *method,
                                          const char *path, const char *version)
{
    struct peer *peer = peer_of(connection);
    struct http_exchange *exchange = peer ? calloc(1, sizeof *exchange) : NULL;
    if (!exchange)
        return NULL;
    exchange->http = http;
    exchange->peer = peer;
    exchange->connection = connection;
    exchange->method = method;
    exchange->path = path;
    exchange->fault = find_fault(connection, version);
    exchange->started_us = ebm_clock_us();
    ebm_buf_init(&exchange->body, 0);
    ebm_buf_init(&exchange->answer_body, 0);
    ebm_list_append(&http->exchanges, &exchange->link);
    peer->exchange = exchange;
    peer->has_asked = true;
    timeouts_set(&http->timeouts, &peer->deadline, exchange->started_us + http->body_timeout_us);
    choose_id(exchange);
    return exchange;
}

/* The announced size of the body; 0 for none and for chunks. */
static uint64_t announced_bytes(const struct http_exchange *exchange)
{
    const char *length = http_header(exchange, "Content-Length");
    return length ? strtoull(length, NULL, 10) : 0; /* the daemon refused what is not a number */
}

/* A refused request whose client has not sent the body yet, or is about to send too much: answer at once. */
static bool must_answer_at_once(const struct http_exchange *exchange)
{
    const char *expect = http_header(exchange, "Expect");
    return exchange->http->quiesced || exchange->fault ||
           announced_bytes(exchange) > exchange->body_limit + DISCARD_BYTES ||
           (expect && strcasecmp(expect, "100-continue") == 0);
}

/* Room for the body that is announced; what comes in chunks finds its room as it comes. */
static void admit_body(struct http_exchange *exchange)
{
    const struct http_handler *handler = &exchange->http->handler;
    uint64_t announced = announced_bytes(exchange);
    if (announced > exchange->body_limit)
        handler->on_refusal(handler->user, exchange, HTTP_TOO_LARGE);
    else if (exchange->keeps_body && announced > 0 && !try_charge(exchange, announced))
        handler->on_refusal(handler->user, exchange, HTTP_NO_ROOM);
    else if (exchange->keeps_body && announced > 0)
        ebm_buf_init(&exchange->body, announced); /* no larger than it has to be */
}

static size_t head_bytes(const struct http_exchange *exchange)
{
    return MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
}

static enum MHD_Result begin(struct http_exchange *exchange)
{
    const struct http_handler *handler = &exchange->http->handler;
    handler->on_head(handler->user, exchange);
    if (exchange->state == READING)
        admit_body(exchange);
    note_passed(exchange->peer, head_bytes(exchange));
    if (exchange->state != ANSWERED || !must_answer_at_once(exchange))
        return MHD_YES;
    exchange->peer->is_cut = true;
    return send_answer(exchange);
}

/* More of a body that is read; refuses it when that is too much. */
static void keep(struct http_exchange *exchange, const char *bytes, size_t size)
{
    const struct http_handler *handler = &exchange->http->handler;
    bool has_room = exchange->body_bytes <= exchange->charged_bytes || try_charge(exchange, exchange->body_bytes);
    bool fits = exchange->body_bytes <= exchange->body_limit;
    if (fits && has_room && ebm_buf_append(&exchange->body, bytes, size) == EBM_OK)
        return;
    ebm_buf_done(&exchange->body);
    ebm_buf_init(&exchange->body, 0);
    if (fits)
        handler->on_refusal(handler->user, exchange, HTTP_NO_ROOM);
    else
        handler->on_refusal(handler->user, exchange, HTTP_TOO_LARGE);
}

static enum MHD_Result receive(struct http_exchange *exchange, const char *bytes, size_t size)
{
    const struct http_handler *handler = &exchange->http->handler;
    exchange->body_bytes += size;
    note_passed(exchange->peer, size + CHUNK_FRAME_BYTES);
    if (exchange->state == READING && exchange->keeps_body)
        keep(exchange, bytes, size);
    else if (exchange->state == READING && exchange->body_bytes > exchange->body_limit)
        handler->on_refusal(handler->user, exchange, HTTP_TOO_LARGE);
    bool is_endless = exchange->body_bytes > exchange->body_limit + DISCARD_BYTES;
    if (exchange->state == ANSWERED && (is_endless || exchange->http->quiesced))
        cut(exchange);
    return exchange->state == CUT ? MHD_NO : MHD_YES;
}

static enum MHD_Result finish(struct http_exchange *exchange)
{
    struct http *http = exchange->http;
    if (http->closing || exchange->state == GONE || exchange->state == CUT)
        return MHD_NO;
    set_pending(exchange);
    if (exchange->state == READING)
        http->handler.on_request(http->handler.user, exchange);
    if (exchange->state == ANSWERED)
        return send_answer(exchange);
    if (exchange->peer->has_left) {
        exchange->state = GONE;
        return MHD_NO;
    }
    exchange->state = WAITING;
    MHD_suspend_connection(exchange->connection);
    return MHD_YES;
}

static enum MHD_Result on_access(void *user, struct MHD_Connection *connection, const char *path, const char *method,
                                 const char *version, const char *bytes, size_t *size, void **state)
{
    struct http_exchange *exchange = *state;
    if (!exchange) {
        *state = exchange = exchange_new(user, connection, method, path, version);
        return exchange ? begin(exchange) : MHD_NO;
    }
    if (*size == 0)
        return finish(exchange);
    enum MHD_Result result = receive(exchange, bytes, *size);
    *size = 0;
    return result;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)connection;
    struct http *http = user;
    struct http_exchange *exchange = *state;
    if (!exchange)
        return;
    *state = NULL;
    bool is_sent = exchange->is_sent || code == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    http->handler.on_end(http->handler.user, exchange, is_sent);
    if (exchange->is_pending)
        http->n_pending--;
    http->inflight_bytes -= exchange->charged_bytes;
    look_later(exchange->peer);
    ebm_list_remove(&exchange->link);
    ebm_buf_done(&exchange->body);
    ebm_buf_done(&exchange->answer_body);
    free(exchange);
}

/* ---- the daemon in the loop ---- */

static void on_timer(uv_timer_t *timer)
{
    http_pump(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status; /* whatever it was, the daemon looks itself */
    (void)events;
    http_pump(poll->data);
}

/* A chunk's size that does not end fills the daemon's buffer, and then it wants to run for ever and does nothing. */
static void cut_stuck(struct http *http)
{
    struct ebm_list *next;
    for (struct ebm_list *link = http->exchanges.next; link != &http->exchanges; link = next) {
        struct http_exchange *exchange = EBM_CONTAINER_OF(link, struct http_exchange, link);
        next = link->next;
        if (!is_stuck(exchange))
            continue;
        http->handler.on_refusal(http->handler.user, exchange, HTTP_BROKEN);
        cut(exchange);
    }
}

void http_pump(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    enum MHD_Result wants = MHD_NO;
    for (int pass = 0; pass < PUMP_PASSES; pass++) {
        (void)MHD_run(http->daemon);
        wants = MHD_get_timeout(http->daemon, &wait_ms);
        if (wants != MHD_YES || wait_ms > 0)
            break;
    }
    if (wants == MHD_YES && wait_ms == 0)
        cut_stuck(http);
    /* Never 0: libuv runs timers that are due before anything else, and so one that is always due for ever. */
    if (wants == MHD_YES)
        (void)uv_timer_start(&http->timer, on_timer, wait_ms > 0 ? wait_ms : 1, 0);
    else
        (void)uv_timer_stop(&http->timer);
}

__attribute__((format(printf, 2, 0))) static void on_daemon_log(void *user, const char *format, va_list arguments)
{
    (void)user;
    char line[256];
    (void)vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = 0;
    ebm_log_debug("http library: %s", line);
}

/* ---- starting ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static enum ebm_status read_address(const struct http_config *config, union address *ret_address, socklen_t *ret_bytes,
                                    struct ebm_error *reterr)
{
    union address address = {.any.sa_family = AF_UNSPEC};
    if (inet_pton(AF_INET, config->host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(config->port);
        *ret_bytes = sizeof address.v4;
    } else if (inet_pton(AF_INET6, config->host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(config->port);
        *ret_bytes = sizeof address.v6;
    } else {
        return ebm_error_set(reterr, EBM_INVALID, "--host", "'%.60s' is not a numeric address such as 127.0.0.1 or ::1",
                             config->host);
    }
    *ret_address = address;
    return EBM_OK;
}

static enum ebm_status listen_on(const struct http_config *config, int *ret_fd, uint16_t *ret_port,
                                 struct ebm_error *reterr)
{
    union address address;
    socklen_t bytes;
    enum ebm_status status = read_address(config, &address, &bytes, reterr);
    if (status != EBM_OK)
        return status;
    int one = 1, fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              bind(fd, &address.any, bytes) == 0 && listen(fd, LISTEN_BACKLOG) == 0 &&
              getsockname(fd, &address.any, &bytes) == 0;
    if (!ok) {
        status = ebm_error_set(reterr, EBM_INVALID, "--port", "cannot listen on %.60s port %u: %s", config->host,
                               config->port, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return status;
    }
    *ret_fd = fd;
    *ret_port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    return EBM_OK;
}

static bool start_daemon(struct http *http, const struct http_config *config)
{
    http->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                                    on_access, http, MHD_OPTION_EXTERNAL_LOGGER, on_daemon_log, NULL,
                                    MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_LISTEN_SOCKET,
                                    (MHD_socket)http->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
                                    (unsigned)config->max_connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                                    (unsigned)config->max_connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT,
                                    (unsigned)config->idle_timeout_s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
                                    MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
    return http->daemon != NULL;
}

static void watch(struct http *http, uv_loop_t *loop, uv_poll_t *poll, int fd, uv_poll_cb on_event)
{
    int failed = uv_poll_init(loop, poll, fd);
    EBM_ASSERT(failed == 0);
    poll->data = http;
    http->n_open_handles++;
    (void)uv_poll_start(poll, UV_READABLE, on_event);
}

static void watch_all(struct http *http, uv_loop_t *loop)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    watch(http, loop, &http->poll, info->epoll_fd, on_poll);
    watch(http, loop, &http->leaver_poll, http->leaver_fd, on_leavers);
    (void)uv_timer_init(loop, &http->timer);
    http->timer.data = http;
    timeouts_init(&http->timeouts, loop, on_due, http);
    http->n_open_handles += 2;
    http_pump(http);
}

/* The daemon and our own epoll; on failure nothing is left open. */
static enum ebm_status start(struct http *http, const struct http_config *config, struct ebm_error *reterr)
{
    enum ebm_status status = listen_on(config, &http->listen_fd, &http->port, reterr);
    if (status != EBM_OK)
        return status;
    http->leaver_fd = epoll_create1(EPOLL_CLOEXEC);
    if (http->leaver_fd >= 0 && start_daemon(http, config))
        return EBM_OK;
    status = ebm_error_set(reterr, EBM_INTERNAL, "http", "the HTTP library did not start: %s", strerror(errno));
    if (http->leaver_fd >= 0)
        (void)close(http->leaver_fd);
    (void)close(http->listen_fd);
    return status;
}

enum ebm_status http_new(uv_loop_t *loop, const struct http_config *config, const struct http_handler *handler,
                         struct http **ret_http, struct ebm_error *reterr)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "http", "no memory");
    http->handler = *handler;
    http->id_base = ebm_seed_random();
    ebm_list_init(&http->peers);
    ebm_list_init(&http->exchanges);
    http->max_inflight_bytes = config->max_inflight_bytes;
    http->body_timeout_us = config->body_timeout_ms * 1000;
    enum ebm_status status = lingering_new(loop, &http->lingering);
    if (status != EBM_OK)
        (void)ebm_error_set(reterr, status, "http", "no memory");
    else
        status = start(http, config, reterr);
    if (status != EBM_OK) {
        (void)lingering_close(http->lingering);
        free(http);
        return status;
    }
    watch_all(http, loop);
    *ret_http = http;
    return EBM_OK;
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}

/* ---- stopping ---- */

/* Answers that wait for the end of a body wait no longer. */
static void cut_refused(struct http *http)
{
    for (struct ebm_list *link = http->exchanges.next; link != &http->exchanges; link = link->next) {
        struct http_exchange *exchange = EBM_CONTAINER_OF(link, struct http_exchange, link);
        if (exchange->state == ANSWERED && !exchange->is_pending)
            cut(exchange);
    }
}

static void pump_until_quiet(struct http *http)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd events = {.fd = info->epoll_fd, .events = POLLIN};
    for (int pass = 0; pass < QUIET_PASSES && poll(&events, 1, 0) > 0; pass++)
        http_pump(http);
}

void http_quiesce(struct http *http)
{
    if (http->quiesced)
        return;
    http->quiesced = true;
    cut_refused(http);
    pump_until_quiet(http); /* what stands in the queue of connections, or was sent by now */
    MHD_socket fd = MHD_quiesce_daemon(http->daemon);
    if (fd != MHD_INVALID_SOCKET)
        (void)close(fd);
    http_pump(http);
}

uint32_t http_pending(const struct http *http)
{
    return http->n_pending;
}

static bool has_unsent_bytes(const struct http *http)
{
    for (struct ebm_list *link = http->peers.next; link != &http->peers; link = link->next)
        if (socket_state_unsent_bytes(EBM_CONTAINER_OF(link, struct peer, link)->fd) > 0)
            return true;
    return false;
}

bool http_is_drained(const struct http *http)
{
    return http->n_pending == 0 && lingering_count(http->lingering) == 0 && !has_unsent_bytes(http);
}

static void handle_closed(struct http *http)
{
    if (--http->n_open_handles > 0)
        return;
    (void)close(http->leaver_fd);
    free(http);
}

static void on_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void on_timeouts_closed(uv_handle_t *handle)
{
    handle_closed(((const struct timeouts *)handle->data)->user);
}

struct http *http_close(struct http *http)
{
    if (!http)
        return NULL;
    http_quiesce(http);
    http->closing = true; /* a connection that is resumed without an answer is closed */
    for (struct ebm_list *link = http->exchanges.next; link != &http->exchanges; link = link->next) {
        struct http_exchange *exchange = EBM_CONTAINER_OF(link, struct http_exchange, link);
        if (exchange->state == WAITING)
            MHD_resume_connection(exchange->connection);
    }
    uv_close((uv_handle_t *)&http->poll, on_closed);
    uv_close((uv_handle_t *)&http->leaver_poll, on_closed);
    uv_close((uv_handle_t *)&http->timer, on_closed);
    timeouts_close(&http->timeouts, on_timeouts_closed);
    http->lingering = lingering_close(http->lingering);
    MHD_stop_daemon(http->daemon);
    return NULL;
}
