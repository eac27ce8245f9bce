/* fuzz_wire.c - bytes that a client sends, over a socket to the real daemon in the real loop: heads and chunks that end
 * where they like, pipelines, clients that leave. A 0xff byte in the input is a pause, in which the server reads what
 * came before; at the end the client closes its sending side when the first byte is odd, and takes what it is sent.
 *
 * What comes back is a row of answers, each with a status and its announced bytes but perhaps the last, and after the
 * client has gone the server holds nothing of it. Slow, as there is a kernel in it; fuzz_http.c has no socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/routes.h"

#define PAUSE 0xff
#define ANSWER_BYTES (1u << 20)
#define PASSES 8 /* of the loop, for all that is on the way to be seen: loopback delivers at once */
#define END_PASSES 10000
#define BODY_TIMEOUT_MS 60000 /* longer than any input takes */
#define PORT_WAIT_MS 3000     /* for a port of this side that is free */

static uv_loop_t loop;
static struct http *http;
static struct routes *routes;

static struct http_budget budget = {.max_bytes = 4 * FUZZ_BODY_BYTES};

static void begin_once(void)
{
    static const struct http_config config = {.host = "127.0.0.1",
                                              .max_connections = 8,
                                              .idle_timeout_s = 60,
                                              .budget = &budget,
                                              .body_timeout_ms = BODY_TIMEOUT_MS};
    struct ebm_error error;
    if (http)
        return;
    routes = fuzz_routes();
    struct http_handler handler = routes_handler(routes);
    EBM_ASSERT(uv_loop_init(&loop) == 0 && http_new(&loop, &config, &handler, &http, &error) == EBM_OK);
}

static int connect_client(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(http_port(http)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger at_once = {.l_onoff = 1}; /* no port waits for a while after its connection */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EBM_ASSERT(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    /* every port of this side may be taken for a moment: others on this machine use them */
    int failed = connect(fd, (const struct sockaddr *)&address, sizeof address);
    for (int ms = 0; failed && errno == EADDRNOTAVAIL && ms < PORT_WAIT_MS; ms++) {
        (void)poll(NULL, 0, 1);
        failed = connect(fd, (const struct sockaddr *)&address, sizeof address);
    }
    EBM_ASSERT(!failed);
    return fd;
}

static void run_loop(int passes)
{
    for (int i = 0; i < passes; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* Up to the next pause, then lets the server look. The server may have closed: then nobody hears. */
static void send_pieces(int fd, const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        const uint8_t *pause = memchr(bytes + at, PAUSE, size - at);
        size_t piece = (pause ? (size_t)(pause - bytes) : size) - at;
        (void)send(fd, bytes + at, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        run_loop(PASSES);
        at += piece + 1;
    }
}

static size_t receive(int fd, char *ret_bytes)
{
    size_t size = 0;
    for (ssize_t n = 1; n > 0 && size<ANSWER_BYTES; size += n> 0 ? (size_t)n : 0) {
        run_loop(PASSES);
        n = recv(fd, ret_bytes + size, ANSWER_BYTES - size, MSG_DONTWAIT);
    }
    ret_bytes[size] = 0;
    return size;
}

/* The server lets go of a connection that was reset. */
static void end_client(int fd)
{
    (void)close(fd);
    for (int i = 0; i < END_PASSES && (!ebm_list_is_empty(&http->peers) || lingering_count(http->lingering) > 0); i++)
        run_loop(1);
    EBM_ASSERT(ebm_list_is_empty(&http->peers) && ebm_list_is_empty(&http->exchanges));
    EBM_ASSERT(lingering_count(http->lingering) == 0 && http->n_pending == 0 && budget.used_bytes == 0);
    EBM_ASSERT(routes->metrics->in_flight == 0);
    run_loop(2); /* what is closed is freed a round later */
}

/* Answers of ours have a length; those of the daemon itself, to what is no HTTP, have one too. */
static void check_answers(const char *bytes, size_t size)
{
    const char *end = bytes + size;
    while (bytes < end) {
        const char *body = strstr(bytes, "\r\n\r\n"), *length = strcasestr(bytes, "\r\nContent-Length: ");
        EBM_ASSERT(strncmp(bytes, "HTTP/1.", strlen("HTTP/1.")) == 0);
        if (!body)
            return;
        bool is_interim = strncmp(bytes + strlen("HTTP/1.1"), " 100 ", strlen(" 100 ")) == 0;
        EBM_ASSERT(is_interim || (length && length < body));
        body += strlen("\r\n\r\n");
        size_t announced = is_interim ? 0 : strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
        if (body[0] == 'H' && announced > 0)
            announced = 0; /* of a HEAD: the next answer follows its head */
        bytes = body + (announced < (size_t)(end - body) ? announced : (size_t)(end - body));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static char answers[ANSWER_BYTES + 1];
    if (size < 2)
        return -1;
    begin_once();
    int fd = connect_client();
    send_pieces(fd, bytes + 1, size - 1);
    if (bytes[0] & 1)
        (void)shutdown(fd, SHUT_WR);
    check_answers(answers, receive(fd, answers));
    end_client(fd);
    return 0;
}
