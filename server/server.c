/* server.c - owns all parts, in the order in which they come and go.
 *
 *   STARTING  listening; probes answer; a thread loads the models and starts the workers; a signal cuts it short
 *   SERVING   ready
 *   LEAVING   not ready, and all else as before, for pre_stop_ms: whoever balances load may look elsewhere
 *   DRAINING  no new connections; every request that was read is answered, Connection: close
 *   STOPPED   exchanges ended, workers joined, mail drained, all freed
 *
 *   loop.c, a thread each, the first is ours: http, routes, dispatch, mailbox     workers: batcher, engines
 *
 * Loops are told how far to go, and tell when all have come there. A drain ends when every answer has come to its
 * client's kernel, or after the longest time that a request may take, or with a second signal. Guarantees: everything
 * started is stopped, on every path. */
#include "server/server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/log.h"
#include "server/loop.h"
#include "server/notify.h"
#include "server/sandbox.h"
#include "server/server_parts.h"
#include "server/tls.h"
#include "server/worker.h"

#define DRAIN_GRACE_MS 5000u
#define NOTICE_MS 2000u /* beyond our own limits, before a service manager loses patience */

static const int signal_numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

enum phase { STARTING, SERVING, LEAVING, DRAINING, STOPPED };

struct server {
    const struct options *options;
    enum phase phase;
    uint32_t n_running; /* loops, the first among them */
    struct loop *loops[LIMIT_IO_THREADS];
    struct loop_shared shared;
    uv_signal_t signals[EBM_COUNT_OF(signal_numbers)]; /* all handles are the first loop's */
    enum ebm_log_level log_level;                      /* as it was started with */
    uv_async_t started;                                /* from the starting thread */
    uv_async_t come;                                   /* all loops have come to a stage */
    uv_timer_t limit;                                  /* of LEAVING, then of DRAINING */
    uv_timer_t alive;                                  /* for a watchdog, while serving: asks all loops */
    uv_async_t turned;                                 /* all loops have answered */
    uv_thread_t starter;

    /* any thread */
    _Atomic bool stop_requested;
    _Atomic uint32_t n_serving, n_closed; /* loops that have come so far */
    _Atomic uint32_t n_asked;             /* loops that have not answered the watchdog's question yet */

    /* the starting thread's until `started` */
    struct model_store *store;
    struct model_loader *loader;
    struct worker_pool *workers;
    enum ebm_status start_status;
    struct ebm_error start_error;
};

/* ---- loops ---- */

/* The first, which obeys at once, comes last. */
static void tell_all(struct server *server, enum loop_stage stage)
{
    for (uint32_t i = server->n_running; i-- > 0;)
        loop_tell(server->loops[i], stage);
}

/* On a loop's thread. */
static void on_stage(void *user, enum loop_stage stage)
{
    struct server *server = user;
    _Atomic uint32_t *n = stage == LOOP_SERVE ? &server->n_serving : &server->n_closed;
    if (atomic_fetch_add(n, 1) + 1 == server->n_running)
        (void)uv_async_send(&server->come);
}

/* On a loop's thread. */
static void on_turn(void *user)
{
    struct server *server = user;
    if (atomic_fetch_sub(&server->n_asked, 1) == 1)
        (void)uv_async_send(&server->turned);
}

static void on_turned(uv_async_t *turned)
{
    (void)turned;
    notify_alive();
}

/* One loop that does not come round holds up the next question, and with it the message: the watchdog bites. A drain
 * has a limit of its own, and loops end one by one. */
static void on_alive(uv_timer_t *timer)
{
    struct server *server = timer->data;
    if (server->phase == DRAINING)
        notify_alive();
    if (server->phase == DRAINING || atomic_load(&server->n_asked) > 0)
        return;
    atomic_store(&server->n_asked, server->n_running);
    for (uint32_t i = 0; i < server->n_running; i++)
        loop_ask(server->loops[i]);
}

/* Before they are told to drain. */
static uint32_t pending_beside_first(const struct server *server)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < server->n_running; i++)
        n += http_pending(server->loops[i]->http);
    return n;
}

/* ---- stopping ---- */

static void log_lost(const struct server *server)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < server->n_running; i++)
        lost += server->loops[i]->n_lost;
    if (lost > 0)
        ebm_log_warning("stopped with requests that were not answered: requests=%" PRIu32, lost);
}

/* A closed uv_signal_t leaves the default action behind; one more SIGTERM while the last memory is freed must not turn
 * an orderly stop into a killed process. */
static void close_signals(struct server *server)
{
    for (size_t i = 0; i < EBM_COUNT_OF(server->signals); i++) {
        uv_close((uv_handle_t *)&server->signals[i], NULL);
        (void)signal(signal_numbers[i], SIG_IGN);
    }
}

static void close_handles(struct server *server)
{
    close_signals(server);
    uv_close((uv_handle_t *)&server->started, NULL);
    uv_close((uv_handle_t *)&server->come, NULL);
    uv_close((uv_handle_t *)&server->limit, NULL);
    uv_close((uv_handle_t *)&server->alive, NULL);
    uv_close((uv_handle_t *)&server->turned, NULL);
}

/* No loop has an exchange any more. */
static void finish(struct server *server)
{
    server->phase = STOPPED;
    log_lost(server);
    server->shared.keeper = model_keeper_free(server->shared.keeper); /* it may wait for workers */
    batcher_stop(server->shared.batcher);
    server->workers = worker_pool_free(server->workers);
    tell_all(server, LOOP_END);
    close_handles(server);
}

static void stop(struct server *server)
{
    tell_all(server, LOOP_CLOSE);
}

static void on_drain_limit(uv_timer_t *timer)
{
    stop(timer->data);
}

static uint64_t drain_ms(const struct server *server)
{
    return server->options->timeout_ms + DRAIN_GRACE_MS;
}

static void set_stopping(struct server *server)
{
    atomic_store(&server->shared.state.ready, false);
    atomic_store(&server->shared.state.stopping, true);
}

static void drain(struct server *server)
{
    server->phase = DRAINING;
    set_stopping(server);
    notify_stopping(drain_ms(server) + NOTICE_MS);
    uint32_t pending = pending_beside_first(server);
    tell_all(server, LOOP_DRAIN);
    ebm_log_info("stopping: answering what was accepted: requests=%" PRIu32,
                 pending + http_pending(server->loops[0]->http));
    (void)uv_timer_start(&server->limit, on_drain_limit, drain_ms(server), 0);
}

static void on_left(uv_timer_t *timer)
{
    drain(timer->data);
}

static void leave(struct server *server)
{
    server->phase = LEAVING;
    set_stopping(server);
    notify_stopping(server->options->pre_stop_ms + NOTICE_MS);
    ebm_log_info("not ready any more, stopping later: pre_stop_ms=%" PRIu64, server->options->pre_stop_ms);
    (void)uv_timer_start(&server->limit, on_left, server->options->pre_stop_ms, 0);
}

/* Asked to, by a signal. */
static void end(struct server *server)
{
    atomic_store(&server->stop_requested, true); /* STARTING: the starting thread looks */
    if (server->phase == SERVING && server->options->pre_stop_ms > 0)
        leave(server);
    else if (server->phase == SERVING)
        drain(server);
    else if (server->phase == LEAVING || server->phase == DRAINING)
        stop(server); /* asked twice: now, answered or not */
}

/* One level more, or as it was started. Nothing that comes over the network may quieten the log. */
static void change_log_level(const struct server *server, bool is_up)
{
    enum ebm_log_level now = ebm_log_level();
    ebm_log_set_level(!is_up ? server->log_level : now < EBM_LOG_DEBUG ? now + 1 : now);
    ebm_log_warning("log level: %s", ebm_log_level_word(ebm_log_level()));
}

/* What all loops share. */
static void reload(struct server *server)
{
    access_reload(&server->shared.access);
    if (server->shared.tls)
        tls_reload(server->shared.tls);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct server *server = signal->data;
    ebm_log_info("signal received: number=%d", number);
    if (number == SIGHUP)
        reload(server);
    else if (number == SIGUSR1 || number == SIGUSR2)
        change_log_level(server, number == SIGUSR1);
    else
        end(server);
}

/* ---- starting ---- */

/* What is computed is counted with that loop. */
static struct compute_config compute_config(struct server *server, uint32_t loop, uint32_t max_rows)
{
    return (struct compute_config){
        .devices = &server->shared.state.devices,
        .limits = {.device = loop % server->shared.state.devices.ops->n_devices,
                   .max_rows = max_rows,
                   .max_samples = (uint32_t)server->options->max_samples},
        .service = &server->shared.service,
        .metrics = &server->shared.metrics[loop],
    };
}

/* Every loop is on a device that has failed: by an engine on one that works, which then goes again. */
static enum ebm_status measure_elsewhere(struct server *server, struct model_store_entry *entry,
                                         struct ebm_error *reterr)
{
    struct compute_config config = compute_config(server, 0, DISPATCH_HERE_ROWS);
    struct compute *compute = NULL;
    config.limits.device = devices_next_fit(config.devices, config.limits.device);
    enum ebm_status status = compute_new(&config, &compute, reterr);
    if (status == EBM_OK)
        status = compute_prepare_measured(compute, entry, reterr);
    (void)compute_free(compute);
    return status;
}

/* The first engine whose device works measures what the model's rows cost. */
static enum ebm_status prepare_loops(struct server *server, struct model_store_entry *entry, struct ebm_error *reterr)
{
    bool is_measured = false;
    for (uint32_t i = 0; i < server->n_running; i++) {
        struct compute *compute = server->loops[i]->compute;
        enum ebm_status status = is_measured ? compute_prepare(compute, entry->model, entry->plan, reterr)
                                             : compute_prepare_measured(compute, entry, reterr);
        if (status != EBM_OK && !compute_is_over(compute))
            return status;
        is_measured = is_measured || status == EBM_OK;
    }
    return is_measured ? EBM_OK : measure_elsewhere(server, entry, reterr);
}

static enum ebm_status new_computes(struct server *server, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < server->n_running; i++) {
        struct compute_config config = compute_config(server, i, DISPATCH_HERE_ROWS);
        status = compute_new(&config, &server->loops[i]->compute, reterr);
    }
    return status;
}

static enum ebm_status prepare_everywhere(void *user, struct model_store_entry *entry, struct ebm_error *reterr)
{
    struct server *server = user;
    enum ebm_status status = worker_pool_prepare(server->workers, entry->model, entry->plan, reterr);
    return status == EBM_OK ? prepare_loops(server, entry, reterr) : status;
}

static enum ebm_status start_keeper(struct server *server, struct ebm_error *reterr)
{
    if (!server_parts_loads_later(server->options))
        return EBM_OK;
    return model_keeper_new(server->loader, server->store, server->options->poll_seconds * 1000, &server->shared.keeper,
                            reterr);
}

static enum ebm_status start_workers(struct server *server, struct ebm_error *reterr)
{
    struct loop_shared *shared = &server->shared;
    struct worker_config config = {
        .n_workers = shared->n_workers,
        .compute = compute_config(server, 0, (uint32_t)server->options->max_batch_size),
        .read_lane = &shared->read_lane,
    };
    config.compute.batcher = shared->batcher;
    return worker_pool_new(&config, &server->workers, reterr);
}

/* All that computes is there before the first model, which is made ready on each of them as any later one is. */
static enum ebm_status load_and_start(struct server *server, struct ebm_error *reterr)
{
    struct loop_shared *shared = &server->shared;
    enum ebm_status status = server_parts_new_store(server->options, shared->state.devices.ops, &shared->service.limits,
                                                    &server->stop_requested, &server->store, &server->loader, reterr);
    if (status != EBM_OK)
        return status;
    shared->service.store = server->store;
    status = new_computes(server, reterr);
    if (status == EBM_OK)
        status = start_workers(server, reterr);
    if (status != EBM_OK)
        return status;
    model_loader_set_prepare(server->loader, prepare_everywhere, server);
    status = model_loader_start(server->loader, reterr);
    return status == EBM_OK ? start_keeper(server, reterr) : status;
}

static void run_starter(void *argument)
{
    struct server *server = argument;
    server->start_status = load_and_start(server, &server->start_error);
    (void)uv_async_send(&server->started);
}

static void on_started(uv_async_t *async)
{
    struct server *server = async->data;
    (void)uv_thread_join(&server->starter);
    if (server->start_status != EBM_OK || atomic_load(&server->stop_requested))
        drain(server);
    else
        tell_all(server, LOOP_SERVE);
}

/* All threads have been started, all files that are written to are open. False: then there is no server either. */
static bool confine(struct server *server)
{
    if (server_parts_filters_calls(server->options))
        server->start_status = sandbox_filter(&server->start_error);
    return server->start_status == EBM_OK;
}

/* Every loop has the models. */
static void serve(struct server *server)
{
    server->phase = SERVING;
    atomic_store(&server->shared.state.ready, true);
    notify_ready();
    uint64_t every_ms = notify_alive_every_ms();
    if (every_ms > 0)
        (void)uv_timer_start(&server->alive, on_alive, every_ms, every_ms);
    struct model_list *models = model_store_list(server->store);
    ebm_log_info("listening and ready: host=%s port=%u models=%zu workers=%" PRIu32, server->options->host,
                 http_port(server->loops[0]->http), models->n, server->shared.n_workers);
    (void)model_list_unref(models);
}

static void on_come(uv_async_t *async)
{
    struct server *server = async->data;
    if (atomic_load(&server->n_closed) == server->n_running)
        finish(server);
    else if (server->phase == STARTING && (atomic_load(&server->stop_requested) || !confine(server)))
        drain(server);
    else if (server->phase == STARTING)
        serve(server);
}

static void init_handles(struct server *server)
{
    uv_loop_t *uv = &server->loops[0]->uv;
    for (size_t i = 0; i < EBM_COUNT_OF(server->signals); i++) {
        (void)uv_signal_init(uv, &server->signals[i]);
        server->signals[i].data = server;
        (void)uv_signal_start(&server->signals[i], on_signal, signal_numbers[i]);
    }
    (void)uv_async_init(uv, &server->started, on_started);
    (void)uv_async_init(uv, &server->come, on_come);
    (void)uv_timer_init(uv, &server->limit);
    (void)uv_timer_init(uv, &server->alive);
    (void)uv_async_init(uv, &server->turned, on_turned);
    server->started.data = server->come.data = server->limit.data = server->alive.data = server;
}

/* The first takes the port, and all others the same. */
static enum ebm_status build_loops(struct server *server, struct ebm_error *reterr)
{
    uint16_t port = (uint16_t)server->options->port;
    for (uint32_t i = 0; i < server->shared.n_loops; i++) {
        enum ebm_status status = loop_new(&server->shared, i, port, &server->loops[i], reterr);
        if (status != EBM_OK)
            return status;
        port = http_port(server->loops[i]->http);
    }
    return EBM_OK;
}

static enum ebm_status build(struct server *server, struct ebm_error *reterr)
{
    const struct options *options = server->options;
    struct loop_shared *shared = &server->shared;
    struct batcher_limits limits = {.max_rows = options->max_queue_rows, .n_threads = shared->n_workers};
    batcher_lane_init(&shared->read_lane, &(struct batcher_lane_limits){.max_rows = 1});
    shared->metrics = calloc(shared->n_loops, sizeof *shared->metrics);
    if (!shared->metrics || batcher_new(&limits, &shared->batcher) != EBM_OK)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no memory to start");
    metrics_init(shared->metrics, shared->n_loops);
    if (options->max_connections_per_address > 0) {
        shared->addresses = addresses_new((uint32_t)options->max_connections_per_address);
        if (!shared->addresses)
            return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no memory to start");
    }
    enum ebm_status status = server_parts_new_tls(options, &shared->tls, reterr);
    return status == EBM_OK ? build_loops(server, reterr) : status;
}

static void free_all(struct server *server)
{
    struct loop_shared *shared = &server->shared;
    for (uint32_t i = 0; i < shared->n_loops; i++)
        (void)loop_free(server->loops[i]);
    shared->tls = tls_free(shared->tls);
    access_done(&shared->access);
    (void)batcher_free(shared->batcher);
    (void)model_loader_free(server->loader);
    (void)model_store_free(server->store);
    (void)addresses_free(shared->addresses);
    free(shared->metrics);
}

static void log_end(const struct server *server)
{
    const struct loop_shared *shared = &server->shared;
    uint64_t requests = 0;
    for (uint32_t i = 0; i < server->n_running; i++)
        requests += server->loops[i]->routes.n_requests;
    ebm_log_info("stopped: requests=%" PRIu64 " batches=%" PRIu64 " rows=%" PRIu64, requests,
                 metrics_batches(shared->metrics, shared->n_loops),
                 metrics_batch_rows(shared->metrics, shared->n_loops));
}

/* The first is this thread's. */
static enum ebm_status start_loops(struct server *server)
{
    enum ebm_status status = EBM_OK;
    server->n_running = 1;
    while (status == EBM_OK && server->n_running < server->shared.n_loops) {
        status = loop_start(server->loops[server->n_running]);
        server->n_running += status == EBM_OK;
    }
    return status;
}

static enum ebm_status run(struct server *server, struct ebm_error *reterr)
{
    init_handles(server);
    if (start_loops(server) != EBM_OK || uv_thread_create(&server->starter, run_starter, server) != 0) {
        server->start_status = ebm_error_set(&server->start_error, EBM_NO_MEMORY, "", "no thread to start with");
        stop(server);
    }
    (void)uv_run(&server->loops[0]->uv, UV_RUN_DEFAULT);
    bool cut_short = server->start_status == EBM_CANCELLED; /* by a signal: nothing went wrong */
    if (server->start_status != EBM_OK && reterr)
        *reterr = server->start_error;
    return cut_short ? EBM_OK : server->start_status;
}

static void init_shared(struct server *server)
{
    const struct options *options = server->options;
    struct loop_shared *shared = &server->shared;
    shared->options = options;
    shared->n_loops = (uint32_t)options->io_threads;
    shared->service.limits = server_parts_limits(options);
    shared->service.max_work = options->max_request_numbers;
    shared->service.max_image_pixels = options->max_image_pixels;
    shared->service.max_response_bytes = options->max_response_bytes;
    shared->budget.max_bytes = options->max_inflight_bytes;
    shared->on_stage = on_stage;
    shared->on_turn = on_turn;
    shared->user = server;
}

enum ebm_status server_run(const struct options *options, struct ebm_error *reterr)
{
    struct server server = {.options = options, .log_level = ebm_log_level()};
    const struct access_config access = server_parts_access(options);
    init_shared(&server);
    enum ebm_status status = access_init(&server.shared.access, &access, reterr);
    if (status != EBM_OK)
        return status;
    server_parts_raise_file_limit(options->max_connections, server.shared.n_loops);
    status = server_parts_filters_calls(options) ? sandbox_can_filter(reterr) : EBM_OK;
    if (status == EBM_OK)
        status = server_parts_device(options, &server.shared.state.devices.ops, reterr);
    if (status == EBM_OK)
        status = server_parts_workers(options, server.shared.state.devices.ops, &server.shared.n_workers, reterr);
    if (status == EBM_OK)
        status = build(&server, reterr);
    if (status == EBM_OK)
        status = sandbox_drop_rights(reterr);
    if (status == EBM_OK)
        status = run(&server, reterr);
    if (server.n_running > 0)
        log_end(&server);
    free_all(&server);
    return status;
}
