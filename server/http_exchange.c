/* http_exchange.c - one request and its answer, between the daemon's callbacks and the handler's.
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
 * Guarantees: on_end comes exactly once for every exchange that on_head saw, after which nothing refers to it; bodies
 * are kept only up to their limit, and together only up to the budget; an answer is queued once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/clock.h"
#include "core/hex.h"
#include "server/http_internal.h"
#include "server/tls.h"

#define DISCARD_BYTES (1u << 20)
#define HEAD_BYTES 4096u
#define CHUNK_FRAME_BYTES 32u /* size and ends of lines of a chunk, about */
#define CUT_MS 1000u          /* for a client to take an answer that came early, and close */

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

bool http_is_type(const char *header, const char *type)
{
    size_t length = strlen(type);
    return header && strcspn(header, "; \t") == length && strncasecmp(header, type, length) == 0;
}

struct arguments {
    http_argument_fn *each;
    void *user;
};

static enum MHD_Result pass_argument(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
    const struct arguments *arguments = user;
    (void)kind;
    return arguments->each(arguments->user, name, value) ? MHD_YES : MHD_NO;
}

void http_each_argument(const struct http_exchange *exchange, http_argument_fn *each, void *user)
{
    struct arguments arguments = {each, user};
    (void)MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, pass_argument, &arguments);
}

const struct http_fault *http_fault(const struct http_exchange *exchange)
{
    return exchange->fault;
}

const char *http_request_id(const struct http_exchange *exchange)
{
    return exchange->request_id;
}

const struct trace *http_trace(const struct http_exchange *exchange)
{
    return exchange->trace.id[0] ? &exchange->trace : NULL;
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
    return atomic_load_explicit(&exchange->http->budget->used_bytes, memory_order_relaxed);
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

void http_allow_origin(struct http_exchange *exchange, const char *origin)
{
    exchange->origin = origin;
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

/* From now on it is charged with so many bytes. */
static void recharge(struct http_exchange *exchange, uint64_t bytes)
{
    if (bytes != exchange->charged_bytes)
        (void)atomic_fetch_add_explicit(&exchange->http->budget->used_bytes, bytes - exchange->charged_bytes,
                                        memory_order_relaxed);
    exchange->charged_bytes = bytes;
}

/* Beside used_bytes, its own among them. One that is alone always fits: it would never otherwise. */
static bool fits(const struct http_exchange *exchange, uint64_t used_bytes, uint64_t bytes)
{
    uint64_t others = used_bytes - exchange->charged_bytes;
    return others == 0 || others + bytes <= exchange->http->budget->max_bytes;
}

bool http_reserve(struct http_exchange *exchange, uint64_t bytes)
{
    _Atomic uint64_t *used = &exchange->http->budget->used_bytes;
    uint64_t before = atomic_load_explicit(used, memory_order_relaxed);
    do {
        if (!fits(exchange, before, bytes))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(used, &before, before - exchange->charged_bytes + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    exchange->charged_bytes = bytes;
    return true;
}

/* ---- answering ---- */

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
    recharge(exchange, body->size);
    ebm_buf_init(body, 0);
    exchange->state = ANSWERED;
    if (was_waiting)
        MHD_resume_connection(exchange->connection);
}

void http_abandon(struct http_exchange *exchange)
{
    exchange->state = GONE;
    MHD_resume_connection(exchange->connection);
}

/* ---- request ids ---- */

static bool may_stand_in_id(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr("._:/+=@-", c) != NULL);
}

/* "%013x-%u" of base and count, without printf's time. */
static void make_id(uint64_t base, uint64_t count, char *ret_id)
{
    const size_t base_digits = 13; /* of 52 bits */
    for (size_t i = base_digits; i-- > 0; base >>= 4)
        ret_id[i] = ebm_hex_digit(base);
    ret_id[base_digits] = '-';
    size_t n = 1;
    for (uint64_t rest = count / 10; rest > 0; rest /= 10)
        n++;
    ret_id[base_digits + 1 + n] = 0;
    for (size_t i = n; i > 0; i--, count /= 10)
        ret_id[base_digits + i] = (char)('0' + count % 10);
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
        make_id(http->id_base, ++http->id_count, exchange->request_id);
}

/* ---- sending ---- */

typedef bool add_header_fn(void *to, const char *name, const char *value);

static bool add_fields(const struct http_field *fields, add_header_fn *add, void *to)
{
    for (; fields && fields->name; fields++)
        if (!add(to, fields->name, fields->value))
            return false;
    return true;
}

static bool add_origin(const char *origin, add_header_fn *add, void *to)
{
    return add(to, "Access-Control-Allow-Origin", origin) && add(to, "Vary", "Origin") &&
           add(to, "Access-Control-Expose-Headers", "X-Request-Id, Retry-After, Inference-Header-Content-Length");
}

static bool add_headers(const struct http_exchange *exchange, bool closes, add_header_fn *add, void *to)
{
    const struct http_answer *answer = &exchange->answer;
    const struct trace *trace = http_trace(exchange);
    char seconds[16] = "", json_bytes[24] = "", parent[TRACE_TEXT_BYTES] = "";
    if (trace)
        trace_write(trace, parent);
    if (answer->retry_after_s > 0)
        (void)snprintf(seconds, sizeof seconds, "%" PRIu32, answer->retry_after_s);
    if (answer->json_bytes > 0)
        (void)snprintf(json_bytes, sizeof json_bytes, "%" PRIu64, answer->json_bytes);
    return add(to, "Content-Type", answer->content_type) && add(to, "X-Request-Id", exchange->request_id) &&
           (!trace || add(to, "traceparent", parent)) && (!answer->allow || add(to, "Allow", answer->allow)) &&
           (answer->retry_after_s == 0 || add(to, "Retry-After", seconds)) &&
           (answer->json_bytes == 0 || add(to, "Inference-Header-Content-Length", json_bytes)) &&
           add_fields(answer->fields, add, to) && (!exchange->origin || add_origin(exchange->origin, add, to)) &&
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

/* Others only read. */
static void change_pending(struct http *http, int by)
{
    atomic_store_explicit(&http->n_pending, http_pending(http) + (uint32_t)by, memory_order_relaxed);
}

/* Read whole, or answered earlier: it must not be lost from now on. */
static void set_pending(struct http_exchange *exchange)
{
    if (exchange->is_pending)
        return;
    exchange->is_pending = true;
    change_pending(exchange->http, 1);
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
    http_peer_give_time(exchange->peer, exchange->answer_bytes);
    return result;
}

/* All of it at once, or not whole: is_sent. */
static void write_to_socket(struct http_exchange *exchange, const struct ebm_buf *head)
{
    const struct ebm_buf *body = &exchange->answer_body;
    bool has_body = strcmp(exchange->method, "HEAD") != 0;
    struct iovec parts[2] = {{head->bytes, head->size}, {body->bytes, has_body ? body->size : 0}};
    if (exchange->http->is_encrypted) {
        gnutls_session_t session =
            MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
        exchange->is_sent = tls_send(session, parts[0].iov_base, parts[0].iov_len) &&
                            tls_send(session, parts[1].iov_base, parts[1].iov_len);
        tls_end(session);
        return;
    }
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(exchange->peer->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    exchange->is_sent = sent >= 0 && (size_t)sent == parts[0].iov_len + parts[1].iov_len;
}

void http_cut(struct http_exchange *exchange)
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

/* ---- receiving ---- */

/* Decodes %41 in place, but not a text with %00 in it: what is compared must not end early. */
size_t http_unescape(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

/* Of headers that may stand once. */
struct framing {
    uint32_t n_lengths, n_hosts, n_traces;
    const char *coding, *trace;
};

static enum MHD_Result note_framing(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct framing *framing = user;
    (void)kind;
    if (strcasecmp(name, "Content-Length") == 0)
        framing->n_lengths++;
    else if (strcasecmp(name, "Host") == 0)
        framing->n_hosts++;
    else if (strcasecmp(name, "traceparent") == 0) {
        framing->n_traces++;
        framing->trace = value;
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        framing->n_lengths++;
        framing->coding = value ? value : "";
    }
    return MHD_YES;
}

static const struct http_fault *find_fault(const struct framing *framing, const char *version)
{
    static const struct http_fault ambiguous = {"Content-Length", "expected one length, or chunks: not both, not two"},
                                   coded = {"Transfer-Encoding", "expected chunked"},
                                   homeless = {"Host", "expected one such header"};
    if (framing->n_lengths > 1)
        return &ambiguous;
    if (framing->coding && strcasecmp(framing->coding, "chunked") != 0)
        return &coded;
    bool needs_host = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    return framing->n_hosts > 1 || (needs_host && framing->n_hosts == 0) ? &homeless : NULL;
}

/* Two of them are none. */
static void choose_trace(struct http_exchange *exchange, const struct framing *framing)
{
    struct http *http = exchange->http;
    if (framing->n_traces == 1 && framing->trace)
        http->n_traced += trace_read(framing->trace, http->id_base + http->n_traced, &exchange->trace);
}

static struct http_exchange *exchange_new(struct http *http, struct MHD_Connection *connection, const char *method,
                                          const char *path, const char *version)
{
    struct peer *peer = http_peer_of(connection);
    struct http_exchange *exchange = peer ? calloc(1, sizeof *exchange) : NULL;
    if (!exchange)
        return NULL;
    struct framing framing = {0};
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, note_framing, &framing);
    exchange->http = http;
    exchange->peer = peer;
    exchange->connection = connection;
    exchange->method = method;
    exchange->path = path;
    exchange->fault = find_fault(&framing, version);
    exchange->started_us = ebm_clock_us();
    ebm_buf_init(&exchange->body, 0);
    ebm_buf_init(&exchange->answer_body, 0);
    ebm_list_append(&http->exchanges, &exchange->link);
    http_peer_begin(peer, exchange);
    choose_id(exchange);
    choose_trace(exchange, &framing);
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

/* A body that is announced and would not fit is refused before it comes; it is charged as it comes. */
static void admit_body(struct http_exchange *exchange)
{
    const struct http_handler *handler = &exchange->http->handler;
    uint64_t announced = announced_bytes(exchange);
    if (announced > exchange->body_limit)
        handler->on_refusal(handler->user, exchange, HTTP_TOO_LARGE);
    else if (exchange->keeps_body && announced > 0 && !fits(exchange, http_inflight_bytes(exchange), announced))
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
    http_peer_note_passed(exchange->peer, head_bytes(exchange));
    if (exchange->state != ANSWERED || !must_answer_at_once(exchange))
        return MHD_YES;
    exchange->peer->is_cut = true;
    return send_answer(exchange);
}

/* More of a body that is read; refuses it when that is too much. */
static void keep(struct http_exchange *exchange, const char *bytes, size_t size)
{
    const struct http_handler *handler = &exchange->http->handler;
    bool is_too_large = exchange->body_bytes > exchange->body_limit;
    if (!is_too_large && http_reserve(exchange, exchange->body_bytes) &&
        ebm_buf_append(&exchange->body, bytes, size) == EBM_OK)
        return;
    ebm_buf_done(&exchange->body);
    ebm_buf_init(&exchange->body, 0);
    handler->on_refusal(handler->user, exchange, is_too_large ? HTTP_TOO_LARGE : HTTP_NO_ROOM);
}

static enum MHD_Result receive(struct http_exchange *exchange, const char *bytes, size_t size)
{
    const struct http_handler *handler = &exchange->http->handler;
    exchange->body_bytes += size;
    http_peer_note_passed(exchange->peer, size + CHUNK_FRAME_BYTES);
    if (exchange->state == READING && exchange->keeps_body)
        keep(exchange, bytes, size);
    else if (exchange->state == READING && exchange->body_bytes > exchange->body_limit)
        handler->on_refusal(handler->user, exchange, HTTP_TOO_LARGE);
    bool is_endless = exchange->body_bytes > exchange->body_limit + DISCARD_BYTES;
    if (exchange->state == ANSWERED && (is_endless || exchange->http->quiesced))
        http_cut(exchange);
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

enum MHD_Result http_on_access(void *user, struct MHD_Connection *connection, const char *path, const char *method,
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

void http_on_completed(void *user, struct MHD_Connection *connection, void **state,
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
        change_pending(http, -1);
    recharge(exchange, 0);
    http_peer_end(exchange->peer);
    ebm_list_remove(&exchange->link);
    ebm_buf_done(&exchange->body);
    ebm_buf_done(&exchange->answer_body);
    free(exchange);
}
