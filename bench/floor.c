/* floor.c - the least that a request costs with the libraries that the server uses: libmicrohttpd inside a libuv loop,
 * a hand-over to a worker thread and back, a small JSON object read by jansson, 200 bytes of JSON written by printf.
 *
 *   bench-floor PORT
 *
 *   loop thread   body complete -> suspend -> inbox       ...  outbox -> resume -> answer
 *   worker                                 read, write
 *
 * Nothing is checked that an honest client does not need. Ends by a signal. */
#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BODY_BYTES 4096u
#define ANSWER_BYTES 512u

struct exchange {
    struct MHD_Connection *connection;
    struct exchange *next;
    bool is_answered;
    size_t n_body, n_answer;
    char body[BODY_BYTES], answer[ANSWER_BYTES];
};

static struct MHD_Daemon *http;
static uv_loop_t loop;
static uv_poll_t readable;
static uv_timer_t again;
static uv_async_t answered;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static struct exchange *inbox, *outbox; /* under the mutex; newest first */

/* ---- worker ---- */

static double sum_of(const json_t *numbers)
{
    double sum = 0.0;
    for (size_t i = 0; i < json_array_size(numbers); i++)
        sum += json_number_value(json_array_get(numbers, i));
    return sum;
}

static void work(struct exchange *e)
{
    json_t *body = json_loadb(e->body, e->n_body, 0, NULL);
    double s = sum_of(json_array_get(json_object_get(body, "inputs"), 0));
    json_decref(body);
    int n = snprintf(e->answer, sizeof e->answer,
                     "{\"model\":\"floor\",\"version\":1,\"seed\":1,\"predictions\":[{\"mean\":[%.9g],\"std\":[%.9g],"
                     "\"quantiles\":[%.9g,%.9g,%.9g,%.9g,%.9g],\"interval\":[%.9g,%.9g],\"reliable\":true}]}",
                     s, s + 0.1, s + 0.2, s + 0.3, s + 0.4, s + 0.5, s + 0.6, s + 0.7, s + 0.8);
    e->n_answer = (size_t)n;
    e->is_answered = true;
}

static __attribute__((noreturn)) void *run_worker(void *unused)
{
    (void)unused;
    for (;;) {
        (void)pthread_mutex_lock(&mutex);
        while (!inbox)
            (void)pthread_cond_wait(&filled, &mutex);
        struct exchange *taken = inbox, *last = NULL;
        inbox = NULL;
        (void)pthread_mutex_unlock(&mutex);
        for (struct exchange *e = taken; e; last = e, e = e->next)
            work(e);
        (void)pthread_mutex_lock(&mutex);
        last->next = outbox;
        outbox = taken;
        (void)pthread_mutex_unlock(&mutex);
        (void)uv_async_send(&answered);
    }
}

/* ---- loop ---- */

static void on_again(uv_timer_t *timer);

static void pump(void)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    (void)MHD_run(http);
    if (MHD_get_timeout(http, &wait_ms) == MHD_YES)
        (void)uv_timer_start(&again, on_again, wait_ms, 0);
    else
        (void)uv_timer_stop(&again);
}

static void on_again(uv_timer_t *timer)
{
    (void)timer;
    pump();
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)poll, (void)status, (void)events;
    pump();
}

static void on_answered(uv_async_t *async)
{
    (void)async;
    (void)pthread_mutex_lock(&mutex);
    struct exchange *e = outbox;
    outbox = NULL;
    (void)pthread_mutex_unlock(&mutex);
    while (e) {
        struct exchange *next = e->next; /* a resumed exchange may be over at once */
        MHD_resume_connection(e->connection);
        e = next;
    }
    pump();
}

static enum MHD_Result reply(struct exchange *e)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(e->n_answer, e->answer, MHD_RESPMEM_MUST_COPY);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    enum MHD_Result queued = MHD_queue_response(e->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result on_request(void *unused, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *n_data, void **user)
{
    struct exchange *e = *user;
    (void)unused, (void)url, (void)method, (void)version;
    if (!e) {
        *user = e = calloc(1, sizeof *e);
        if (e)
            e->connection = connection;
        return e ? MHD_YES : MHD_NO;
    }
    if (*n_data > 0) {
        if (*n_data > sizeof e->body - e->n_body)
            return MHD_NO;
        memcpy(e->body + e->n_body, data, *n_data);
        e->n_body += *n_data;
        *n_data = 0;
        return MHD_YES;
    }
    if (e->is_answered)
        return reply(e);
    MHD_suspend_connection(connection);
    (void)pthread_mutex_lock(&mutex);
    e->next = inbox;
    inbox = e;
    (void)pthread_cond_signal(&filled);
    (void)pthread_mutex_unlock(&mutex);
    return MHD_YES;
}

static void on_over(void *unused, struct MHD_Connection *connection, void **user, enum MHD_RequestTerminationCode why)
{
    (void)unused, (void)connection, (void)why;
    free(*user);
    *user = NULL;
}

int main(int argc, char **argv)
{
    pthread_t worker;
    if (argc != 2) {
        fprintf(stderr, "usage: bench-floor PORT\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    http = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, (uint16_t)strtoul(argv[1], NULL, 10), NULL, NULL,
                            on_request, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_over, NULL, MHD_OPTION_CONNECTION_LIMIT,
                            1024u, MHD_OPTION_END);
    if (!http || uv_loop_init(&loop) != 0 || pthread_create(&worker, NULL, run_worker, NULL) != 0) {
        fprintf(stderr, "bench-floor: cannot serve on port %s\n", argv[1]);
        return 1;
    }
    int epoll = MHD_get_daemon_info(http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    (void)uv_timer_init(&loop, &again);
    (void)uv_async_init(&loop, &answered, on_answered);
    (void)uv_poll_init(&loop, &readable, epoll);
    (void)uv_poll_start(&readable, UV_READABLE, on_readable);
    return uv_run(&loop, UV_RUN_DEFAULT);
}
