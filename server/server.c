/* server.c - owns all parts, in the order in which they come and go.
 *
 *   STARTING  listening; probes answer; a thread loads the models and starts the workers; a signal cuts it short
 *   SERVING   ready
 *   LEAVING   not ready, and all else as before, for pre_stop_ms: whoever balances load may look elsewhere
 *   DRAINING  no new connections; every request that was read is answered, Connection: close
 *   STOPPED   exchanges ended, workers joined, mail drained, all freed
 *
 *   loop thread: http, routes, dispatch, mailbox     workers: batcher, engines
 *
 * A drain ends when every answer has come to its client's kernel, which is looked at after every round of the loop and
 * every LOOK_MS, or after the longest time that a request may take, or with a second signal. Guarantees: everything
 * started is stopped, on every path. */
#include "server/server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/log.h"
#include "server/lingering.h"
#include "server/listen.h"
#include "server/model_loader.h"
#include "server/notify.h"
#include "server/routes.h"
#include "server/tls.h"
#include "server/worker.h"

#define DRAIN_GRACE_MS 5000u
#define LOOK_MS 10u
#define NOTICE_MS 2000u /* beyond our own limits, before a service manager loses patience */
#define OTHER_FILES (64u + LINGERING_SOCKETS)

enum phase { STARTING, SERVING, LEAVING, DRAINING, STOPPED };

struct server {
    const struct options *options;
    uv_loop_t loop;
    enum phase phase;
    uv_signal_t signals[5];
    enum ebm_log_level log_level; /* as it was started with */
    uv_async_t started;           /* from the starting thread */
    uv_prepare_t round;           /* while draining, as is look */
    uv_timer_t look, limit;       /* limit: of LEAVING, then of DRAINING */
    uv_timer_t alive;             /* for a watchdog, while serving */
    uv_thread_t starter;

    struct batcher *batcher;
    struct batcher_lane read_lane;
    struct mailbox *mailbox, *keeper_mailbox;
    struct dispatch *dispatch;
    struct http *http;
    struct tls *tls; /* NULL: without encryption */
    struct routes routes;
    struct metrics metrics;

    _Atomic bool stop_requested; /* any thread */

    /* the starting thread's until `started` */
    struct operation_service service;
    struct model_store *store;
    struct model_loader *loader;
    struct worker_pool *workers;
    struct compute *compute;     /* the loop's */
    struct model_keeper *keeper; /* NULL: nothing is loaded later */
    enum ebm_status start_status;
    struct ebm_error start_error;
};

/* ---- stopping ---- */

static void stop(struct server *server)
{
    if (server->phase == STOPPED)
        return;
    server->phase = STOPPED;
    uint32_t lost = http_pending(server->http);
    if (lost > 0)
        ebm_log_warning("stopped with requests that were not answered: requests=%" PRIu32, lost);
    dispatch_set_http(server->dispatch, NULL);
    server->routes.repository.http = NULL;
    server->http = http_close(server->http);
    server->keeper = model_keeper_free(server->keeper); /* it may wait for workers */
    mailbox_drain(server->keeper_mailbox);
    server->keeper_mailbox = mailbox_close(server->keeper_mailbox);
    batcher_stop(server->batcher);
    server->workers = worker_pool_free(server->workers);
    mailbox_drain(server->mailbox);
    server->mailbox = mailbox_close(server->mailbox);
    server->dispatch = dispatch_close(server->dispatch);
    for (size_t i = 0; i < EBM_COUNT_OF(server->signals); i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    uv_close((uv_handle_t *)&server->started, NULL);
    uv_close((uv_handle_t *)&server->round, NULL);
    uv_close((uv_handle_t *)&server->look, NULL);
    uv_close((uv_handle_t *)&server->limit, NULL);
    uv_close((uv_handle_t *)&server->alive, NULL);
}

static void stop_if_drained(struct server *server)
{
    if (http_is_drained(server->http))
        stop(server);
}

/* Before the loop waits again: whatever sent the last answer, a socket, a worker's mail or a timer, came before this.
 */
static void on_round(uv_prepare_t *round)
{
    stop_if_drained(round->data);
}

/* Clients take their answers without telling. */
static void on_look(uv_timer_t *timer)
{
    stop_if_drained(timer->data);
}

static void on_drain_limit(uv_timer_t *timer)
{
    stop(timer->data);
}

static uint64_t drain_ms(const struct server *server)
{
    return server->options->timeout_ms + DRAIN_GRACE_MS;
}

static void drain(struct server *server)
{
    server->phase = DRAINING;
    server->routes.ready = false;
    server->routes.repository.stopping = true;
    notify_stopping(drain_ms(server) + NOTICE_MS);
    http_quiesce(server->http);
    ebm_log_info("stopping: answering what was accepted: requests=%" PRIu32, http_pending(server->http));
    (void)uv_prepare_start(&server->round, on_round);
    (void)uv_timer_start(&server->look, on_look, 0, LOOK_MS);
    (void)uv_timer_start(&server->limit, on_drain_limit, drain_ms(server), 0);
}

static void on_left(uv_timer_t *timer)
{
    drain(timer->data);
}

static void leave(struct server *server)
{
    server->phase = LEAVING;
    server->routes.ready = false;
    server->routes.repository.stopping = true;
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

static void reload(struct server *server)
{
    access_reload(&server->routes.access);
    if (server->tls)
        tls_reload(server->tls);
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

static uint32_t worker_count(const struct options *options)
{
    if (options->workers > 0)
        return (uint32_t)options->workers;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > 256 ? 256 : (uint32_t)cores;
}

static bool may_control(const struct options *options)
{
    return strcmp(options->model_control, "on") == 0;
}

static bool loads_later(const struct options *options)
{
    return options->poll_seconds > 0 || may_control(options);
}

/* A store and what fills it; NO_MEMORY: neither. */
static enum ebm_status new_store(const struct options *options, const struct request_limits *limits,
                                 const _Atomic bool *stop, struct model_store **ret_store,
                                 struct model_loader **ret_loader, struct ebm_error *reterr)
{
    struct batcher_lane_limits lane = {
        .max_rows = (uint32_t)options->max_batch_size,
        .max_delay_us = options->max_queue_delay_microseconds,
    };
    struct serving *standard = serving_new(&lane, options->versions);
    struct model_store *store = model_store_new();
    struct model_loader_config config = {
        .folder = options->model_repository,
        .ops = ebm_device_cpu(),
        .standard = standard,
        .limits = limits,
        .stop = stop,
        .may_be_empty = loads_later(options),
    };
    struct model_loader *loader = standard && store ? model_loader_new(&config, store) : NULL;
    (void)serving_unref(standard);
    if (!loader) {
        (void)model_store_free(store);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "model store", "no memory");
    }
    *ret_store = store;
    *ret_loader = loader;
    return EBM_OK;
}

static struct compute_config compute_config(struct server *server, uint32_t max_rows)
{
    return (struct compute_config){
        .ops = ebm_device_cpu(),
        .limits = {.max_rows = max_rows, .max_samples = (uint32_t)server->options->max_samples},
        .service = &server->service,
        .metrics = &server->metrics,
    };
}

/* The loop's own, and what the models cost. */
static enum ebm_status new_compute(struct server *server, struct ebm_error *reterr)
{
    struct compute_config config = compute_config(server, DISPATCH_HERE_ROWS);
    enum ebm_status status = compute_new(&config, &server->compute, reterr);
    struct model_list *models = model_store_list(server->store);
    for (size_t i = 0; status == EBM_OK && i < models->n; i++)
        if (atomic_load(&server->stop_requested))
            status = ebm_error_set(reterr, EBM_CANCELLED, "", "told to stop");
        else if (models->entries[i]->model)
            status = compute_prepare_measured(server->compute, models->entries[i], reterr);
    (void)model_list_unref(models);
    return status;
}

static enum ebm_status prepare_everywhere(void *user, struct model_store_entry *entry, struct ebm_error *reterr)
{
    struct server *server = user;
    enum ebm_status status = worker_pool_prepare(server->workers, entry->model, entry->plan, reterr);
    return status == EBM_OK ? compute_prepare_measured(server->compute, entry, reterr) : status;
}

static enum ebm_status start_keeper(struct server *server, struct ebm_error *reterr)
{
    if (!loads_later(server->options))
        return EBM_OK;
    model_loader_set_prepare(server->loader, prepare_everywhere, server);
    return model_keeper_new(server->loader, server->store, server->keeper_mailbox, server->options->poll_seconds * 1000,
                            &server->keeper, reterr);
}

static enum ebm_status load_and_start(struct server *server, struct ebm_error *reterr)
{
    const struct options *options = server->options;
    enum ebm_status status = new_store(options, &server->service.limits, &server->stop_requested, &server->store,
                                       &server->loader, reterr);
    if (status == EBM_OK)
        status = model_loader_start(server->loader, reterr);
    if (status != EBM_OK)
        return status;
    server->service.store = server->store;
    struct worker_config config = {
        .n_workers = worker_count(options),
        .compute = compute_config(server, (uint32_t)options->max_batch_size),
        .read_lane = &server->read_lane,
        .mailbox = server->mailbox,
        .stop = &server->stop_requested,
    };
    config.compute.batcher = server->batcher;
    status = new_compute(server, reterr);
    if (status == EBM_OK)
        status = worker_pool_new(&config, &server->workers, reterr);
    return status == EBM_OK ? start_keeper(server, reterr) : status;
}

static void run_starter(void *argument)
{
    struct server *server = argument;
    server->start_status = load_and_start(server, &server->start_error);
    (void)uv_async_send(&server->started);
}

static void on_alive(uv_timer_t *timer)
{
    (void)timer;
    notify_alive();
}

static void on_started(uv_async_t *async)
{
    struct server *server = async->data;
    (void)uv_thread_join(&server->starter);
    if (server->start_status != EBM_OK || atomic_load(&server->stop_requested)) {
        drain(server);
        return;
    }
    server->phase = SERVING;
    ebm_device_thread_init(); /* this thread computes too */
    dispatch_set_compute(server->dispatch, server->compute);
    server->routes.store = server->store;
    server->routes.ready = true;
    server->routes.repository.store = server->store;
    server->routes.repository.keeper = server->keeper;
    notify_ready();
    uint64_t every_ms = notify_alive_every_ms();
    if (every_ms > 0)
        (void)uv_timer_start(&server->alive, on_alive, every_ms, every_ms);
    struct model_list *models = model_store_list(server->store);
    ebm_log_info("listening and ready: host=%s port=%u models=%zu workers=%" PRIu32, server->options->host,
                 http_port(server->http), models->n, worker_count(server->options));
    (void)model_list_unref(models);
}

/* A connection is a file; the usual soft limit of 1024 is below our default. */
static void raise_file_limit(uint64_t connections)
{
    struct rlimit limit;
    rlim_t wanted = connections + OTHER_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        ebm_log_warning("fewer open files are allowed than --max-connections needs: allowed=%" PRIu64
                        " needed=%" PRIu64,
                        (uint64_t)limit.rlim_cur, (uint64_t)wanted);
}

static void init_handles(struct server *server)
{
    static const int numbers[EBM_COUNT_OF(server->signals)] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < EBM_COUNT_OF(numbers); i++) {
        (void)uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        (void)uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
    (void)uv_async_init(&server->loop, &server->started, on_started);
    (void)uv_prepare_init(&server->loop, &server->round);
    (void)uv_timer_init(&server->loop, &server->look);
    (void)uv_timer_init(&server->loop, &server->limit);
    (void)uv_timer_init(&server->loop, &server->alive);
    server->started.data = server->round.data = server->look.data = server->limit.data = server;
}

/* A number of a body is a double in the arena: 8 bytes for 1, of an array of bytes. */
static size_t arena_bytes(const struct options *options)
{
    uint64_t body_bytes = options->max_body_bytes > options->max_binary_bytes ? options->max_body_bytes
                                                                              : options->max_binary_bytes;
    return body_bytes * 8 + options->max_response_bytes * 2 + (1u << 20);
}

static enum ebm_status build_queues(struct server *server)
{
    const struct options *options = server->options;
    struct batcher_limits limits = {.max_rows = options->max_queue_rows, .n_threads = worker_count(options)};
    struct dispatch_config config = {
        .service = &server->service,
        .read_lane = &server->read_lane,
        .max_arena_bytes = arena_bytes(options),
        .timeout_ms = options->timeout_ms,
        .max_queue_ms = options->max_queue_ms ? options->max_queue_ms : options->timeout_ms,
    };
    batcher_lane_init(&server->read_lane, &(struct batcher_lane_limits){.max_rows = 1});
    enum ebm_status status = batcher_new(&limits, &server->batcher);
    config.batcher = server->batcher;
    if (status == EBM_OK)
        status = dispatch_new(&server->loop, &config, &server->dispatch);
    if (status == EBM_OK)
        status = mailbox_new(&server->loop, dispatch_on_mail, server->dispatch, &server->mailbox);
    if (status == EBM_OK)
        status = mailbox_new(&server->loop, repository_routes_on_mail, &server->routes.repository,
                             &server->keeper_mailbox);
    return status;
}

static struct access_config access_config(const struct options *options)
{
    return (struct access_config){options->api_keys, options->host_names, options->cors_origin};
}

/* Leaves NULL when there is to be no encryption. */
static enum ebm_status new_tls(const struct options *options, struct tls **ret_tls, struct ebm_error *reterr)
{
    if (!options->tls_cert[0] && !options->tls_key[0])
        return EBM_OK;
    return tls_new(options->tls_cert, options->tls_key, ret_tls, reterr);
}

static enum ebm_status build_http(struct server *server, struct ebm_error *reterr)
{
    const struct options *options = server->options;
    struct http_config config = {
        .host = options->host,
        .port = (uint16_t)options->port,
        .max_connections = (uint32_t)options->max_connections,
        .max_connections_per_address = (uint32_t)options->max_connections_per_address,
        .max_inflight_bytes = options->max_inflight_bytes,
        .idle_timeout_s = (uint32_t)options->idle_timeout_s,
        .body_timeout_ms = options->body_timeout_ms,
    };
    server->routes.repository.may_control = may_control(options);
    server->routes.dispatch = server->dispatch;
    server->routes.batcher = server->batcher;
    server->routes.metrics = &server->metrics;
    server->routes.max_body_bytes = options->max_body_bytes;
    server->routes.max_binary_bytes = options->max_binary_bytes;
    server->routes.n_workers = worker_count(options);
    server->routes.limits = &server->service.limits;
    server->routes.max_inflight_bytes = options->max_inflight_bytes;
    server->routes.body_timeout_ms = options->body_timeout_ms;
    struct http_handler handler = routes_handler(&server->routes);
    const struct access_config access = access_config(options);
    enum ebm_status status = access_init(&server->routes.access, &access, reterr);
    if (status == EBM_OK)
        status = new_tls(options, &server->tls, reterr);
    if (status != EBM_OK)
        return status;
    config.tls = server->tls;
    status = http_new(&server->loop, &config, &handler, &server->http, reterr);
    if (status == EBM_OK)
        dispatch_set_http(server->dispatch, server->http);
    server->routes.repository.http = server->http;
    return status;
}

static void free_all(struct server *server)
{
    (void)mailbox_close(server->mailbox); /* all NULL after stop */
    (void)mailbox_close(server->keeper_mailbox);
    (void)dispatch_close(server->dispatch);
    (void)uv_run(&server->loop, UV_RUN_DEFAULT); /* until every handle is closed */
    int open = uv_loop_close(&server->loop);
    EBM_ASSERT(open == 0);
    server->tls = tls_free(server->tls);
    access_done(&server->routes.access);
    (void)batcher_free(server->batcher);
    (void)compute_free(server->compute);
    (void)model_loader_free(server->loader);
    (void)model_store_free(server->store);
}

static void log_end(const struct server *server)
{
    ebm_log_info("stopped: requests=%" PRIu64 " batches=%" PRIu64 " rows=%" PRIu64, server->routes.n_requests,
                 metrics_batches(&server->metrics), atomic_load(&server->metrics.batch_rows));
}

static enum ebm_status serve(struct server *server, struct ebm_error *reterr)
{
    init_handles(server);
    if (uv_thread_create(&server->starter, run_starter, server) != 0) {
        stop(server);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no thread to load the models");
    }
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    bool cut_short = server->start_status == EBM_CANCELLED; /* by a signal: nothing went wrong */
    if (server->start_status != EBM_OK && reterr)
        *reterr = server->start_error;
    return cut_short ? EBM_OK : server->start_status;
}

static struct request_limits limits_of(const struct options *options)
{
    return (struct request_limits){
        .max_rows = options->max_queue_rows < LIMIT_ROWS ? options->max_queue_rows : LIMIT_ROWS,
        .max_samples = options->max_samples,
        .max_steps = options->max_steps,
        .max_timeout_ms = options->timeout_ms,
        .max_timeout_us = options->timeout_ms * 1000,
    };
}

enum ebm_status server_run(const struct options *options, struct ebm_error *reterr)
{
    struct server server = {.options = options, .log_level = ebm_log_level()};
    metrics_init(&server.metrics);
    repository_routes_init(&server.routes.repository);
    server.service.limits = limits_of(options);
    server.service.max_work = options->max_request_numbers;
    server.service.max_response_bytes = options->max_response_bytes;
    if (uv_loop_init(&server.loop) != 0)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no event loop");
    raise_file_limit(options->max_connections);
    enum ebm_status status = build_queues(&server);
    if (status != EBM_OK)
        (void)ebm_error_set(reterr, status, "", "no memory to start");
    if (status == EBM_OK)
        status = build_http(&server, reterr);
    if (status == EBM_OK) {
        status = serve(&server, reterr);
        log_end(&server);
    }
    free_all(&server);
    return status;
}

static enum ebm_status check_access(const struct options *options, struct ebm_error *reterr)
{
    struct access access;
    struct tls *tls = NULL;
    const struct access_config config = access_config(options);
    enum ebm_status status = access_init(&access, &config, reterr);
    if (status != EBM_OK)
        return status;
    access_done(&access);
    status = new_tls(options, &tls, reterr);
    (void)tls_free(tls);
    return status;
}

enum ebm_status server_check(const struct options *options, struct ebm_error *reterr)
{
    _Atomic bool stop = false;
    const struct request_limits limits = limits_of(options);
    struct model_store *store = NULL;
    struct model_loader *loader = NULL;
    enum ebm_status status = listen_check(options->host, reterr);
    if (status == EBM_OK)
        status = check_access(options, reterr);
    if (status == EBM_OK)
        status = new_store(options, &limits, &stop, &store, &loader, reterr);
    if (status != EBM_OK)
        return status;
    status = model_loader_start(loader, reterr);
    struct model_list *models = model_store_list(store);
    for (size_t i = 0; status == EBM_OK && i < models->n; i++) {
        const struct model_store_entry *entry = models->entries[i];
        char reason[MODEL_STORE_REASON_BYTES];
        model_store_entry_reason(entry, reason);
        if (!entry->model)
            status = ebm_error_set(reterr, EBM_DAMAGED, entry->name, "version %" PRIu64 " is not available: %s",
                                   entry->version, reason);
    }
    if (status == EBM_OK)
        ebm_log_info("all is well: models=%zu", models->n);
    (void)model_list_unref(models);
    (void)model_loader_free(loader);
    (void)model_store_free(store);
    return status;
}
