/* loop.c - what a loop owns, in the order in which it comes and goes.
 *
 *   main thread: wanted = stage, wake -> the loop's thread: obey
 *
 *   DRAIN: quiesce -> looks after every round and every LOOK_MS: has every answer come to its client's kernel? -> CLOSE
 *   CLOSE: exchanges end, their jobs are abandoned; mailboxes stay, for what workers and the keeper still hold
 *   END:   mail is taken and dropped, handles are closed; uv_run returns
 *
 * Does not know: signals, models' files, the other loops. */
#include "server/loop.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "server/quiet.h"
#include "server/server_parts.h"

#define LOOK_MS 10u

/* ---- stages ---- */

static void serve(struct loop *loop)
{
    const struct loop_shared *shared = loop->shared;
    ebm_device_thread_init(); /* this thread computes too */
    dispatch_set_compute(loop->dispatch, loop->compute);
    loop->routes.store = loop->routes.repository.store = shared->service.store;
    loop->routes.repository.keeper = shared->keeper;
    shared->on_stage(shared->user, LOOP_SERVE);
}

static void close_http(struct loop *loop)
{
    loop->stage = LOOP_CLOSE;
    loop->n_lost = http_pending(loop->http);
    (void)uv_prepare_stop(&loop->round);
    (void)uv_timer_stop(&loop->look);
    dispatch_set_http(loop->dispatch, NULL);
    loop->routes.repository.http = NULL;
    loop->http = http_close(loop->http);
    loop->shared->on_stage(loop->shared->user, LOOP_CLOSE);
}

static void close_if_drained(struct loop *loop)
{
    if (http_is_drained(loop->http))
        close_http(loop);
}

/* Before the loop waits again: whatever sent the last answer, a socket, a worker's mail or a timer, came before this.
 */
static void on_round(uv_prepare_t *round)
{
    close_if_drained(round->data);
}

/* Clients take their answers without telling. */
static void on_look(uv_timer_t *timer)
{
    close_if_drained(timer->data);
}

static void drain(struct loop *loop)
{
    http_quiesce(loop->http);
    (void)uv_prepare_start(&loop->round, on_round);
    (void)uv_timer_start(&loop->look, on_look, 0, LOOK_MS);
}

static void close_queues(struct loop *loop)
{
    loop->mailbox = mailbox_close(loop->mailbox);
    loop->keeper_mailbox = mailbox_close(loop->keeper_mailbox);
    loop->dispatch = dispatch_close(loop->dispatch);
    uv_close((uv_handle_t *)&loop->told, NULL);
    uv_close((uv_handle_t *)&loop->round, NULL);
    uv_close((uv_handle_t *)&loop->look, NULL);
}

static void end(struct loop *loop)
{
    mailbox_drain(loop->keeper_mailbox);
    mailbox_drain(loop->mailbox);
    close_queues(loop);
}

static void obey(struct loop *loop)
{
    enum loop_stage wanted = (enum loop_stage)atomic_load(&loop->wanted);
    if (wanted <= loop->stage)
        return;
    loop->stage = wanted;
    switch (wanted) {
    case LOOP_PROBE:
        return;
    case LOOP_SERVE:
        serve(loop);
        return;
    case LOOP_DRAIN:
        drain(loop);
        return;
    case LOOP_CLOSE:
        close_http(loop);
        return;
    case LOOP_END:
        end(loop);
        return;
    }
}

static void on_told(uv_async_t *told)
{
    struct loop *loop = told->data;
    if (atomic_exchange(&loop->is_asked, false) && loop->stage < LOOP_CLOSE)
        loop->shared->on_turn(loop->shared->user);
    obey(loop);
}

void loop_tell(struct loop *loop, enum loop_stage stage)
{
    atomic_store(&loop->wanted, stage);
    if (loop->has_thread)
        (void)uv_async_send(&loop->told);
    else
        obey(loop);
}

void loop_ask(struct loop *loop)
{
    atomic_store(&loop->is_asked, true);
    (void)uv_async_send(&loop->told);
}

/* ---- making ---- */

/* A number in the arena is a double: 8 bytes for 1 of a body, of an array of bytes. */
static size_t arena_bytes(const struct options *options)
{
    uint64_t body_bytes = options->max_body_bytes > options->max_binary_bytes ? options->max_body_bytes
                                                                              : options->max_binary_bytes;
    return body_bytes * 8 + options->max_response_bytes * 2 + (1u << 20);
}

static enum ebm_status build_queues(struct loop *loop)
{
    struct loop_shared *shared = loop->shared;
    struct dispatch_config config = {
        .service = &shared->service,
        .batcher = shared->batcher,
        .read_lane = &shared->read_lane,
        .max_arena_bytes = arena_bytes(shared->options),
        .timeout_ms = shared->options->timeout_ms,
        .max_queue_ms = shared->options->max_queue_ms ? shared->options->max_queue_ms : shared->options->timeout_ms,
    };
    enum ebm_status status = dispatch_new(&loop->uv, &config, &loop->dispatch);
    if (status == EBM_OK)
        status = mailbox_new(&loop->uv, dispatch_on_mail, loop->dispatch, &loop->mailbox);
    if (status == EBM_OK)
        status = mailbox_new(&loop->uv, repository_routes_on_mail, &loop->routes.repository, &loop->keeper_mailbox);
    if (status == EBM_OK)
        dispatch_set_home(loop->dispatch, loop->mailbox);
    return status;
}

static void init_routes(struct loop *loop, uint32_t index)
{
    struct loop_shared *shared = loop->shared;
    const struct options *options = shared->options;
    loop->routes = (struct routes){
        .state = &shared->state,
        .access = &shared->access,
        .dispatch = loop->dispatch,
        .max_body_bytes = options->max_body_bytes,
        .max_binary_bytes = options->max_binary_bytes,
        .max_inflight_bytes = options->max_inflight_bytes,
        .body_timeout_ms = options->body_timeout_ms,
        .n_workers = shared->n_workers,
        .limits = &shared->service.limits,
        .batcher = shared->batcher,
        .triton_metrics = strcmp(options->triton_metrics, "on") == 0,
        .metrics = &shared->metrics[index],
        .all_metrics = shared->metrics,
        .n_loops = shared->n_loops,
    };
    repository_routes_init(&loop->routes.repository);
    loop->routes.repository.may_control = server_parts_may_control(options);
    loop->routes.repository.stopping = &shared->state.stopping;
    loop->routes.repository.mailbox = loop->keeper_mailbox;
}

static enum ebm_status build_http(struct loop *loop, uint32_t index, uint16_t port, struct ebm_error *reterr)
{
    struct loop_shared *shared = loop->shared;
    const struct options *options = shared->options;
    struct http_config config = {
        .tls = shared->tls,
        .host = options->host,
        .port = port,
        .sharing = shared->n_loops == 1 ? LISTEN_ALONE
                   : index == 0         ? LISTEN_FIRST
                                        : LISTEN_NEXT,
        .max_connections = (uint32_t)(options->max_connections + shared->n_loops - 1) / shared->n_loops,
        .addresses = shared->addresses,
        .budget = &shared->budget,
        .idle_timeout_s = (uint32_t)options->idle_timeout_s,
        .body_timeout_ms = options->body_timeout_ms,
    };
    struct http_handler handler = routes_handler(&loop->routes);
    enum ebm_status status = http_new(&loop->uv, &config, &handler, &loop->http, reterr);
    if (status != EBM_OK)
        return status;
    dispatch_set_http(loop->dispatch, loop->http);
    loop->routes.repository.http = loop->http;
    return EBM_OK;
}

static void init_handles(struct loop *loop)
{
    (void)uv_async_init(&loop->uv, &loop->told, on_told);
    (void)uv_prepare_init(&loop->uv, &loop->round);
    (void)uv_timer_init(&loop->uv, &loop->look);
    loop->told.data = loop->round.data = loop->look.data = loop;
}

enum ebm_status loop_new(struct loop_shared *shared, uint32_t index, uint16_t port, struct loop **ret_loop,
                         struct ebm_error *reterr)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop || uv_loop_init(&loop->uv) != 0) {
        free(loop);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no event loop");
    }
    loop->shared = shared;
    init_handles(loop);
    enum ebm_status status = build_queues(loop);
    init_routes(loop, index);
    if (status != EBM_OK)
        (void)ebm_error_set(reterr, status, "", "no memory to start");
    else
        status = build_http(loop, index, port, reterr);
    if (status == EBM_OK)
        *ret_loop = loop;
    else
        (void)loop_free(loop);
    return status;
}

struct loop *loop_free(struct loop *loop)
{
    if (!loop)
        return NULL;
    if (loop->has_thread)
        (void)uv_thread_join(&loop->thread);
    if (loop->stage < LOOP_END) { /* it never ran */
        if (loop->http)
            dispatch_set_http(loop->dispatch, NULL);
        (void)http_close(loop->http);
        close_queues(loop);
    }
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT); /* until every handle is closed */
    int open = uv_loop_close(&loop->uv);
    EBM_ASSERT(open == 0);
    (void)compute_free(loop->compute);
    ebm_buf_done(&loop->routes.log_line);
    free(loop);
    return NULL;
}

/* ---- its thread ---- */

static void run(void *argument)
{
    struct loop *loop = argument;
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
}

enum ebm_status loop_start(struct loop *loop)
{
    sigset_t before;
    quiet_begin(&before);
    loop->has_thread = uv_thread_create(&loop->thread, run, loop) == 0;
    quiet_end(&before);
    return loop->has_thread ? EBM_OK : EBM_NO_MEMORY;
}
