/* http.c - libmicrohttpd inside a libuv loop. This file, http_peer.c and http_exchange.c are all that know it.
 *
 * The daemon has no thread: its epoll descriptor is watched by uv_poll, and everything leads to http_pump, which runs
 * it, asks when it wants to run again and arms a timer. Resuming is done on the loop thread only, and only followed by
 * a pump.
 *
 * Does not know: routes, jobs, JSON. */
#include "server/http.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/log.h"
#include "core/rng.h"
#include "server/http_internal.h"
#include "server/listen.h"
#include "server/socket_state.h"
#include "server/tls.h"

#define PUMP_PASSES 16
#define QUIET_PASSES 256

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

void http_pump(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    enum MHD_Result wants = MHD_NO;
    for (int pass = 0; pass < PUMP_PASSES; pass++) {
        http->has_closed = false;
        (void)MHD_run(http->daemon);
        wants = MHD_get_timeout(http->daemon, &wait_ms);
        /* without room for a descriptor it accepts again in the run after one was closed, but asks for none */
        if (!http->has_closed && (wants != MHD_YES || wait_ms > 0))
            break;
    }
    if (wants == MHD_YES && wait_ms == 0)
        http_cut_stuck(http);
    /* Never 0: libuv runs timers that are due before anything else, and so one that is always due for ever. */
    if (wants == MHD_YES || http->has_closed)
        (void)uv_timer_start(&http->timer, on_timer, wants == MHD_YES && wait_ms > 0 ? wait_ms : 1, 0);
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

static bool start_daemon(struct http *http, const struct http_config *config, int listen_fd)
{
    struct MHD_OptionItem encryption[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)tls_retrieve()},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (http->is_encrypted)
        flags |= MHD_USE_TLS;
    else
        encryption[0].option = MHD_OPTION_END;
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_on_access, http, MHD_OPTION_EXTERNAL_LOGGER, on_daemon_log, NULL,
        MHD_OPTION_UNESCAPE_CALLBACK, http_unescape, NULL, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)config->max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)config->idle_timeout_s, MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, http_on_connection, http, MHD_OPTION_ARRAY, encryption, MHD_OPTION_END);
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
    watch(http, loop, &http->leaver_poll, http->leaver_fd, http_on_leavers);
    (void)uv_timer_init(loop, &http->timer);
    http->timer.data = http;
    timeouts_init(&http->timeouts, loop, http_on_due, http);
    http->n_open_handles += 2;
    http_pump(http);
}

/* The daemon and our own epoll; on failure nothing is left open. */
static enum ebm_status start(struct http *http, const struct http_config *config, struct ebm_error *reterr)
{
    int listen_fd;
    enum ebm_status status = listen_on(config->host, config->port, config->sharing, &listen_fd, &http->port, reterr);
    if (status != EBM_OK)
        return status;
    http->leaver_fd = epoll_create1(EPOLL_CLOEXEC);
    if (http->leaver_fd >= 0 && start_daemon(http, config, listen_fd))
        return EBM_OK;
    status = ebm_error_set(reterr, EBM_INTERNAL, "http", "the HTTP library did not start: %s", strerror(errno));
    if (http->leaver_fd >= 0)
        (void)close(http->leaver_fd);
    (void)close(listen_fd);
    return status;
}

enum ebm_status http_new(uv_loop_t *loop, const struct http_config *config, const struct http_handler *handler,
                         struct http **ret_http, struct ebm_error *reterr)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "http", "no memory");
    http->handler = *handler;
    http->id_base = ebm_seed_random() & ((1ull << 52) - 1);
    ebm_list_init(&http->peers);
    ebm_list_init(&http->exchanges);
    http->is_encrypted = config->tls != NULL;
    http->budget = config->budget;
    http->addresses = config->addresses;
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
            http_cut(exchange);
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
    return atomic_load_explicit(&http->n_pending, memory_order_relaxed);
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
    return http_pending(http) == 0 && lingering_count(http->lingering) == 0 && !has_unsent_bytes(http);
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
