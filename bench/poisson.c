/* poisson.c - an open loop: requests come as a Poisson process, whether answers come or not.
 *
 *   bench-poisson PORT RATE SECONDS FILE [ROUTE] [CONNECTIONS]
 *
 * POSTs FILE's bytes to ROUTE (/predict) of 127.0.0.1, RATE times a second on average, over connections that are kept:
 * as many as wait at once, up to CONNECTIONS (1000), beyond which arrivals wait here, and that is counted. The time of
 * a request runs from when it was due, so that a driver or a server that falls behind shows. Prints one line of JSON:
 *
 *   rate        of the answers 200, a second          sent, ok, refused (429, 503), late (504), other, broken
 *   unsent      arrivals that found no connection     (with a RATE beyond all, CONNECTIONS clients in a closed loop)
 *   ok_ms, refused_ms   [p50, p95, p99, max]          behind_ms   the same of how late a request was sent
 *
 * One thread, epoll; meant for a core of its own: taskset -c 1 bench-poisson ... The arrivals are the same each time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_BODY_BYTES (1u << 20)
#define ANSWER_BYTES (1u << 16) /* of which the head must be within */
#define EVENTS 256
#define LOOK_S 0.05
#define GRACE_S 40.0 /* for the last answers */

struct connection {
    int fd;
    double due;
    size_t n_sent, n_read, n_answer; /* n_answer: of head and body, 0 while unknown */
    int status;
    char head[ANSWER_BYTES];
};

struct times {
    float *ms;
    size_t n, room;
};

struct run {
    uint16_t port;
    int epoll_fd;
    char *request;
    size_t request_bytes;
    struct connection **idle;
    size_t n_idle, n_open, max_open, n_waiting; /* waiting: for an answer */
    struct times ok, refused, behind;
    uint64_t n_sent, n_late, n_other, n_broken;
};

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what)
{
    (void)fprintf(stderr, "bench-poisson: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *must(void *memory)
{
    if (!memory)
        die("memory");
    return memory;
}

/* ---- times ---- */

static void add(struct times *times, double ms)
{
    if (times->n == times->room) {
        times->room = times->room ? 2 * times->room : 4096;
        times->ms = must(realloc(times->ms, times->room * sizeof *times->ms));
    }
    times->ms[times->n++] = (float)ms;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, struct times *times)
{
    static const double parts[] = {0.5, 0.95, 0.99, 1.0};
    if (times->n > 0)
        qsort(times->ms, times->n, sizeof *times->ms, compare);
    (void)printf(", \"%s\": [", name);
    for (size_t i = 0; i < 4 && times->n > 0; i++)
        (void)printf("%s%.3f", i ? ", " : "", (double)times->ms[(size_t)(parts[i] * (double)(times->n - 1))]);
    (void)printf("]");
}

/* splitmix64 -> exponential gaps */
static double gap_s(uint64_t *state, double rate)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return -log(((double)(z >> 11) + 0.5) * 0x1p-53) / rate;
}

/* ---- connections ---- */

static struct connection *open_connection(struct run *run)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(run->port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        die("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    struct connection *connection = must(malloc(sizeof *connection));
    connection->fd = fd;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll");
    run->n_open++;
    return connection;
}

static void drop(struct run *run, struct connection *connection)
{
    (void)close(connection->fd);
    free(connection);
    run->n_open--;
}

static void flush_request(struct run *run, struct connection *connection)
{
    while (connection->n_sent < run->request_bytes) {
        ssize_t n = send(connection->fd, run->request + connection->n_sent, run->request_bytes - connection->n_sent,
                         MSG_NOSIGNAL);
        if (n < 0)
            return; /* later; or reading tells why */
        connection->n_sent += (size_t)n;
    }
}

static void begin_request(struct run *run, double due)
{
    struct connection *connection = run->n_idle > 0 ? run->idle[--run->n_idle] : open_connection(run);
    connection->due = due;
    connection->n_sent = connection->n_read = connection->n_answer = 0;
    run->n_waiting++;
    run->n_sent++;
    add(&run->behind, 1e3 * (now_s() - due));
    flush_request(run, connection);
}

static void count_answer(struct run *run, const struct connection *connection)
{
    double ms = 1e3 * (now_s() - connection->due);
    if (connection->status == 200)
        add(&run->ok, ms);
    else if (connection->status == 429 || connection->status == 503)
        add(&run->refused, ms);
    else if (connection->status == 504)
        run->n_late++;
    else
        run->n_other++;
}

/* The head is there once its empty line is: status and size of the whole. */
static void read_head(struct connection *connection)
{
    connection->head[connection->n_read < ANSWER_BYTES ? connection->n_read : ANSWER_BYTES - 1] = 0;
    const char *end = strstr(connection->head, "\r\n\r\n");
    const char *length = strcasestr(connection->head, "\r\ncontent-length:");
    if (!end || !length || strncmp(connection->head, "HTTP/1.1 ", 9) != 0)
        return;
    connection->status = (int)strtol(connection->head + 9, NULL, 10);
    connection->n_answer = (size_t)(end + 4 - connection->head) + strtoul(length + 17, NULL, 10);
}

/* The body's bytes beyond the buffer are read over each other. -> whether the connection is there still */
static bool receive(struct run *run, struct connection *connection)
{
    for (;;) {
        size_t at = connection->n_answer > 0 ? 0 : connection->n_read;
        ssize_t n = recv(connection->fd, connection->head + at, ANSWER_BYTES - 1 - at, 0);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        connection->n_read += (size_t)n;
        if (connection->n_answer == 0)
            read_head(connection);
        if (connection->n_answer > 0 && connection->n_read >= connection->n_answer) {
            count_answer(run, connection);
            connection->due = -1.0;
            connection->n_read = connection->n_answer = 0;
            run->n_waiting--;
            run->idle[run->n_idle++] = connection;
            return true;
        }
    }
}

static void lose(struct run *run, struct connection *connection)
{
    if (connection->due >= 0.0) {
        run->n_broken++;
        run->n_waiting--;
    }
    for (size_t i = 0; i < run->n_idle; i++)
        if (run->idle[i] == connection)
            run->idle[i--] = run->idle[--run->n_idle];
    drop(run, connection);
}

static void wait_events(struct run *run, double until)
{
    struct epoll_event events[EVENTS];
    double wait_s = until - now_s();
    struct timespec wait = {0};
    if (wait_s > 0) {
        wait.tv_sec = (time_t)wait_s;
        wait.tv_nsec = (long)(1e9 * (wait_s - (double)wait.tv_sec));
    }
    int n = epoll_pwait2(run->epoll_fd, events, EVENTS, &wait, NULL);
    for (int i = 0; i < n; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->due >= 0.0 && (events[i].events & EPOLLOUT))
            flush_request(run, connection);
        if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !receive(run, connection))
            lose(run, connection);
    }
}

/* ---- a run ---- */

static void print_run(struct run *run, double seconds, uint64_t n_unsent)
{
    (void)printf("{\"rate\": %.1f, \"seconds\": %.2f, \"sent\": %" PRIu64 ", \"unsent\": %" PRIu64
                 ", \"ok\": %zu, \"refused\": %zu, \"late\": %" PRIu64 ", \"other\": %" PRIu64 ", \"broken\": %" PRIu64
                 ", \"unanswered\": %zu, \"connections\": %zu",
                 (double)run->ok.n / seconds, seconds, run->n_sent, n_unsent, run->ok.n, run->refused.n, run->n_late,
                 run->n_other, run->n_broken, run->n_waiting, run->n_open);
    print_times("ok_ms", &run->ok);
    print_times("refused_ms", &run->refused);
    print_times("behind_ms", &run->behind);
    (void)puts("}");
}

static bool has_connection(const struct run *run)
{
    return run->n_idle > 0 || run->n_open < run->max_open;
}

static void drive(struct run *run, double rate, double seconds)
{
    double begin = now_s(), due = begin, end = begin + seconds, now = begin;
    uint64_t state = 1, n_unsent = 0;
    while (now < end || (run->n_waiting > 0 && now < end + GRACE_S)) {
        while (now < end && due <= now && has_connection(run)) {
            begin_request(run, due);
            due += gap_s(&state, rate);
            now = now_s();
        }
        double look = now + LOOK_S; /* at the clock */
        wait_events(run, now < end && has_connection(run) && due < look ? due : look);
        now = now_s();
    }
    for (; due < end; due += gap_s(&state, rate))
        n_unsent++;
    print_run(run, now - begin, n_unsent);
}

static void read_request(struct run *run, const char *path, const char *route)
{
    char *body = must(malloc(MAX_BODY_BYTES));
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(body, 1, MAX_BODY_BYTES, file) : 0;
    if (!file || n == 0 || n == MAX_BODY_BYTES)
        die(path);
    (void)fclose(file);
    int size = asprintf(&run->request,
                        "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n%.*s",
                        route, n, (int)n, body);
    if (size < 0)
        die("memory");
    run->request_bytes = (size_t)size;
    free(body);
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 7) {
        (void)fprintf(stderr, "bench-poisson PORT RATE SECONDS FILE [ROUTE] [CONNECTIONS]\n");
        return 2;
    }
    double rate = strtod(argv[2], NULL), seconds = strtod(argv[3], NULL);
    struct run run = {.port = (uint16_t)strtoul(argv[1], NULL, 10), .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    run.max_open = argc > 6 ? strtoul(argv[6], NULL, 10) : 1000;
    if (run.port == 0 || !(rate > 0) || !(seconds > 0) || run.max_open == 0 || run.max_open > 60000) {
        (void)fprintf(stderr, "bench-poisson: expected a port, a rate, seconds and at most 60000 connections\n");
        return 2;
    }
    run.idle = must(calloc(run.max_open, sizeof(struct connection *)));
    read_request(&run, argv[4], argc > 5 ? argv[5] : "/predict");
    drive(&run, rate, seconds);
    return run.n_broken > 0 || run.n_waiting > 0;
}
