/* http_peer.c - a connection, from accept to close.
 *
 * Its deadline is one time for all that the client has to send: from accept to the first request's head, and from a
 * head to the body's end; then one for taking the answer, by its size; between requests it looks now and then whether a
 * head has begun and does not end. Closing is
 * left to the daemon, which sees what shutdown did, and lingering.c holds on to a connection whose client could lose an
 * answer by it.
 *
 * A suspended connection never times out, and the daemon does not notice that its client left; nor an end that came
 * together with bytes that it waits to see continued. So an epoll of our own watches every connection for its client to
 * leave. One that ends its sending side alone cannot be told from one that left, and counts as gone while its answer is
 * not there; bytes of its next request do not.
 *
 * Guarantees: nothing refers to a peer after its socket is closed. Does not know: what a request says. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "core/log.h"
#include "server/http_internal.h"
#include "server/socket_state.h"
#include "server/tls.h"

#define LEAVERS 64                          /* looked at with one call */
#define SLOWEST_BYTES_A_SECOND (256u << 10) /* a client that takes an answer; and body_timeout_ms besides */
#define STUCK_MS 100u
#define CHUNK_SIZE_BYTES 4096u /* of a size with its extensions; no client sends so many */

/* ---- from accept to close ---- */

struct peer *http_peer_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static int socket_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* False: its address has as many as it may. */
static bool enter(struct peer *peer, struct MHD_Connection *connection)
{
    struct addresses *addresses = peer->http->addresses;
    if (!addresses)
        return true;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    peer->address = addresses_enter(addresses, info->client_addr);
    return peer->address != NULL;
}

static void peer_new(struct http *http, struct MHD_Connection *connection, void **ret_peer)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return; /* its first request will end it */
    peer->http = http;
    peer->fd = socket_of(connection);
    if (!enter(peer, connection)) {
        (void)shutdown(peer->fd, SHUT_RDWR);
        free(peer);
        return;
    }
    deadline_init(&peer->deadline);
    ebm_list_append(&http->peers, &peer->link);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = peer}; /* errors come unasked */
    if (epoll_ctl(http->leaver_fd, EPOLL_CTL_ADD, peer->fd, &event) != 0)
        ebm_log_warning("a connection is not watched, its client may leave unseen: %s", strerror(errno));
    timeouts_set(&http->timeouts, &peer->deadline, ebm_clock_us() + http->body_timeout_us);
    *ret_peer = peer;
}

static void peer_free(struct peer *peer)
{
    (void)epoll_ctl(peer->http->leaver_fd, EPOLL_CTL_DEL, peer->fd, NULL);
    deadline_remove(&peer->deadline);
    ebm_list_remove(&peer->link);
    addresses_leave(peer->http->addresses, peer->address);
    if (!peer->http->closing)
        lingering_before_close(peer->http->lingering, peer->fd, peer->is_cut);
    free(peer);
}

/* On CLOSED the socket is still open, and its sending side is shut. */
void http_on_connection(void *user, struct MHD_Connection *connection, void **peer,
                        enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        peer_new(user, connection, peer);
    else if (*peer)
        peer_free(*peer);
    if (code == MHD_CONNECTION_NOTIFY_CLOSED)
        ((struct http *)user)->has_closed = true;
}

void http_peer_begin(struct peer *peer, struct http_exchange *exchange)
{
    peer->exchange = exchange;
    peer->has_asked = true;
    timeouts_set(&peer->http->timeouts, &peer->deadline, exchange->started_us + peer->http->body_timeout_us);
}

void http_peer_end(struct peer *peer)
{
    peer->exchange = NULL;
    peer->is_asking = false;
    peer->idle_us = ebm_clock_us();
    timeouts_set(&peer->http->timeouts, &peer->deadline, peer->idle_us + peer->http->body_timeout_us);
}

void http_peer_give_time(struct peer *peer, uint64_t bytes)
{
    uint64_t us = peer->http->body_timeout_us + bytes * 1000000u / SLOWEST_BYTES_A_SECOND;
    timeouts_set(&peer->http->timeouts, &peer->deadline, ebm_clock_us() + us);
}

/* Since it fell idle. */
static bool has_sent_bytes(const struct peer *peer)
{
    struct socket_state state;
    uint64_t idle_ms = (ebm_clock_us() - peer->idle_us) / 1000;
    return socket_state_get(peer->fd, &state) && state.silent_ms + SOCKET_STATE_CLOCK_MS < idle_ms;
}

void http_peer_note_passed(struct peer *peer, size_t bytes)
{
    peer->passed_bytes += bytes + (peer->http->is_encrypted ? TLS_RECORD_BYTES : 0);
    peer->passed_us = ebm_clock_us();
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

void http_on_due(void *user, struct deadline *due)
{
    struct http *http = user;
    if (!due)
        return;
    struct peer *peer = EBM_CONTAINER_OF(due, struct peer, deadline);
    struct http_exchange *exchange = peer->exchange;
    if (exchange && exchange->state == READING)
        http->handler.on_refusal(http->handler.user, exchange, HTTP_TOO_SLOW);
    if (exchange && exchange->state == ANSWERED)
        http_cut(exchange);
    else if (exchange || is_stalling(peer))
        (void)shutdown(peer->fd, SHUT_RDWR);
    else
        timeouts_set(&http->timeouts, &peer->deadline, ebm_clock_us() + http->body_timeout_us);
}

/* ---- clients that leave ---- */

/* Its client has ended its sending side, or is gone. */
static void on_leaver(struct peer *peer)
{
    struct http_exchange *exchange = peer->exchange;
    peer->has_left = true;
    if (exchange && exchange->state == WAITING) {
        http_abandon(exchange);
    } else if (!exchange || exchange->state == READING) {
        /* The daemon may have read all bytes that came with the end, and then waits for more: this wakes it. */
        (void)shutdown(peer->fd, SHUT_RD);
    }
}

void http_on_leavers(uv_poll_t *poll, int status, int events)
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

/* ---- uploads that stand still ---- */

/* Bytes came, and the daemon does not pass them on: it looks for the end of a chunk's size. */
static bool is_stuck(const struct http_exchange *exchange)
{
    const struct peer *peer = exchange->peer;
    struct socket_state state;
    uint64_t others = CHUNK_SIZE_BYTES + (exchange->http->is_encrypted ? TLS_HANDSHAKE_BYTES : 0);
    return exchange->state == READING && !http_header(exchange, "Content-Length") &&
           ebm_clock_us() - peer->passed_us > STUCK_MS * 1000u && socket_state_get(peer->fd, &state) &&
           state.received_bytes > peer->passed_bytes + others;
}

/* A chunk's size that does not end fills the daemon's buffer, and then it wants to run for ever and does nothing. */
void http_cut_stuck(struct http *http)
{
    struct ebm_list *next;
    for (struct ebm_list *link = http->exchanges.next; link != &http->exchanges; link = next) {
        struct http_exchange *exchange = EBM_CONTAINER_OF(link, struct http_exchange, link);
        next = link->next;
        if (!is_stuck(exchange))
            continue;
        http->handler.on_refusal(http->handler.user, exchange, HTTP_BROKEN);
        http_cut(exchange);
    }
}
