/* lingering.c - reads and throws away until the client closes its side too.
 *
 *   lingering_before_close --a client that is done, nothing unsent--> no
 *                       --otherwise--> a second descriptor, watched: end or error -> closed
 *                                      every LOOK_MS: all delivered, or nothing moved -> closed
 *
 * The descriptor that the owner closes meanwhile is only a name; the connection lives as long as ours does.
 * Guarantees: at most LINGERING_SOCKETS, each for at most LOOKS looks. Does not know: HTTP. */
#include "server/lingering.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "server/socket_state.h"
#include "server/timeouts.h"

#define LOOK_MS 1000u
#define LOOKS 30u
#define READ_BYTES (16u << 10)
#define READS 16u /* of one event, so that a client that sends fast does not hold the loop */

struct lingering {
    uv_loop_t *loop;
    struct timeouts timeouts;
    struct ebm_list sockets;
    uint32_t n_sockets, n_open_handles;
    char nowhere[READ_BYTES]; /* nobody reads it */
};

struct lingering_socket {
    struct ebm_list link;
    struct deadline look;
    struct lingering *lingering;
    uv_poll_t poll;
    int fd;
    int unsent_bytes; /* at the last look */
    uint32_t n_looks;
};

/* ---- sockets ---- */

/* True: the client has closed its side, or the connection is broken: nothing can be lost any more. */
static bool is_finished(struct lingering *lingering, int fd, bool *ret_has_read)
{
    for (uint32_t i = 0; i < READS; i++) {
        ssize_t n = recv(fd, lingering->nowhere, sizeof lingering->nowhere, MSG_DONTWAIT);
        if (n == 0)
            return true;
        if (n < 0)
            return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
        *ret_has_read = true;
    }
    return false;
}

/* ---- lingering ---- */

static void free_if_last(struct lingering *lingering)
{
    if (--lingering->n_open_handles == 0)
        free(lingering);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct lingering_socket *socket = handle->data;
    struct lingering *lingering = socket->lingering;
    (void)close(socket->fd);
    free(socket);
    free_if_last(lingering);
}

static void end(struct lingering_socket *socket)
{
    deadline_remove(&socket->look);
    ebm_list_remove(&socket->link);
    socket->lingering->n_sockets--;
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct lingering_socket *socket = poll->data;
    bool has_read = false;
    (void)events;
    if (status < 0 || is_finished(socket->lingering, socket->fd, &has_read))
        end(socket);
}

static void set_look(struct lingering_socket *socket)
{
    timeouts_set(&socket->lingering->timeouts, &socket->look, ebm_clock_us() + LOOK_MS * 1000u);
}

/* A client that is still taking our answer may go on for a while. */
static void on_look(void *user, struct deadline *due)
{
    (void)user;
    if (!due)
        return;
    struct lingering_socket *socket = EBM_CONTAINER_OF(due, struct lingering_socket, look);
    int unsent = socket_state_unsent_bytes(socket->fd);
    if (unsent == 0 || unsent >= socket->unsent_bytes || ++socket->n_looks == LOOKS) {
        end(socket);
        return;
    }
    socket->unsent_bytes = unsent;
    set_look(socket);
}

static void keep(struct lingering *lingering, int fd)
{
    struct lingering_socket *socket = calloc(1, sizeof *socket);
    int own = dup(fd);
    if (!socket || own < 0 || uv_poll_init(lingering->loop, &socket->poll, own) != 0) {
        if (own >= 0)
            (void)close(own);
        free(socket);
        return;
    }
    socket->lingering = lingering;
    socket->fd = own;
    socket->unsent_bytes = socket_state_unsent_bytes(own);
    socket->poll.data = socket;
    deadline_init(&socket->look);
    ebm_list_append(&lingering->sockets, &socket->link);
    lingering->n_sockets++;
    lingering->n_open_handles++;
    set_look(socket);
    (void)uv_poll_start(&socket->poll, UV_READABLE, on_event);
}

void lingering_before_close(struct lingering *lingering, int fd, bool is_cut)
{
    bool has_read = false;
    if (lingering->n_sockets == LINGERING_SOCKETS || is_finished(lingering, fd, &has_read))
        return;
    if (is_cut || has_read || socket_state_unsent_bytes(fd) > 0)
        keep(lingering, fd);
}

uint32_t lingering_count(const struct lingering *lingering)
{
    return lingering->n_sockets;
}

/* ---- life ---- */

enum ebm_status lingering_new(uv_loop_t *loop, struct lingering **ret_lingering)
{
    struct lingering *lingering = calloc(1, sizeof *lingering);
    if (!lingering)
        return EBM_NO_MEMORY;
    lingering->loop = loop;
    ebm_list_init(&lingering->sockets);
    timeouts_init(&lingering->timeouts, loop, on_look, lingering);
    lingering->n_open_handles = 1;
    *ret_lingering = lingering;
    return EBM_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
    const struct timeouts *timeouts = handle->data;
    free_if_last(timeouts->user);
}

struct lingering *lingering_close(struct lingering *lingering)
{
    if (!lingering)
        return NULL;
    while (!ebm_list_is_empty(&lingering->sockets))
        end(EBM_CONTAINER_OF(lingering->sockets.next, struct lingering_socket, link));
    timeouts_close(&lingering->timeouts, on_timer_closed);
    return NULL;
}
