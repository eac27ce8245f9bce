/* server_parts.c - what options say of each part of a server.
 *
 * Does not know: a server that runs. */
#include "server/server_parts.h"

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "core/cores.h"
#include "core/device_plugin.h"
#include "core/log.h"
#include "server/lingering.h"
#include "server/listen.h"
#include "server/sandbox.h"
#include "server/server.h"
#include "server/tls.h"

#define OTHER_FILES 48u
#define WORKERS_OF_GPU 2u
#define LOOP_FILES (16u + LINGERING_SOCKETS)

/* A GPU has memory of its own for each worker, and two keep it busy. */
static uint32_t default_workers(const struct ebm_device_ops *ops)
{
    uint32_t n = ops == ebm_device_cpu() ? ebm_cores() : WORKERS_OF_GPU * ops->n_devices;
    return n > LIMIT_WORKERS ? LIMIT_WORKERS : n;
}

enum ebm_status server_parts_workers(const struct options *options, const struct ebm_device_ops *ops, uint32_t *ret_n,
                                     struct ebm_error *reterr)
{
    *ret_n = options->workers > 0 ? (uint32_t)options->workers : default_workers(ops);
    if (*ret_n >= ops->n_devices)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "--workers", "expected at least one for each of %u GPUs, got %u",
                         ops->n_devices, *ret_n);
}

bool server_parts_may_control(const struct options *options)
{
    return strcmp(options->model_control, "on") == 0;
}

bool server_parts_loads_later(const struct options *options)
{
    return options->poll_seconds > 0 || server_parts_may_control(options);
}

bool server_parts_filters_calls(const struct options *options)
{
    return strcmp(options->seccomp, "on") == 0;
}

/* Whether the process will be able to speak to a driver. */
static enum ebm_status may_open(const struct options *options, struct ebm_error *reterr)
{
    if (!server_parts_filters_calls(options))
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "--device",
                         "a GPU's driver needs calls that --seccomp on refuses: --device cpu, or leave it off");
}

static enum ebm_status choose_device(const struct options *options, struct ebm_device_choice *ret_choice,
                                     struct ebm_error *reterr)
{
    enum ebm_status status = ebm_device_choose(options->device, options->precision, ret_choice, reterr);
    ret_choice->file = options->device_plugin;
    return status == EBM_OK && ret_choice->by_plugin && !ret_choice->may_fail ? may_open(options, reterr) : status;
}

enum ebm_status server_parts_device(const struct options *options, const struct ebm_device_ops **ret_ops,
                                    struct ebm_error *reterr)
{
    struct ebm_device_choice choice;
    struct ebm_error why;
    char name[EBM_DEVICE_NAME_BYTES];
    *ret_ops = ebm_device_cpu();
    enum ebm_status status = choose_device(options, &choice, reterr);
    if (status != EBM_OK || !choice.by_plugin)
        return status;
    status = may_open(options, &why);
    if (status == EBM_OK)
        status = ebm_device_open(&choice, EBM_CUDA_DRIVER, ret_ops, name, &why);
    if (status == EBM_OK) {
        ebm_log_info("device: %s: %s precision=%s", (*ret_ops)->name, name, options->precision);
        return EBM_OK;
    }
    *ret_ops = ebm_device_cpu();
    if (!choice.may_fail)
        return ebm_error_set(reterr, status, "--device", "%s", why.text);
    ebm_log_warning("no GPU, computing on the CPU: %s", why.text);
    return EBM_OK;
}

enum ebm_status server_parts_new_store(const struct options *options, const struct ebm_device_ops *ops,
                                       const struct request_limits *limits, const _Atomic bool *stop,
                                       struct model_store **ret_store, struct model_loader **ret_loader,
                                       struct ebm_error *reterr)
{
    struct batcher_lane_limits lane = {
        .max_rows = (uint32_t)options->max_batch_size,
        .max_delay_us = options->max_queue_delay_microseconds,
    };
    struct serving *standard = serving_new(&lane, options->versions);
    struct model_store *store = model_store_new();
    struct model_loader_config config = {
        .folder = options->model_repository,
        .ops = ops,
        .standard = standard,
        .limits = limits,
        .stop = stop,
        .may_be_empty = server_parts_loads_later(options),
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

void server_parts_raise_file_limit(uint64_t connections, uint32_t n_loops)
{
    struct rlimit limit;
    rlim_t wanted = connections + OTHER_FILES + n_loops * LOOP_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        ebm_log_warning("fewer open files are allowed than --max-connections needs: allowed=%" PRIu64
                        " needed=%" PRIu64,
                        (uint64_t)limit.rlim_cur, (uint64_t)wanted);
}

struct access_config server_parts_access(const struct options *options)
{
    return (struct access_config){options->api_keys, options->host_names, options->cors_origin};
}

enum ebm_status server_parts_new_tls(const struct options *options, struct tls **ret_tls, struct ebm_error *reterr)
{
    if (!options->tls_cert[0] && !options->tls_key[0])
        return EBM_OK;
    return tls_new(options->tls_cert, options->tls_key, ret_tls, reterr);
}

struct request_limits server_parts_limits(const struct options *options)
{
    return (struct request_limits){
        .max_rows = options->max_queue_rows < LIMIT_ROWS ? options->max_queue_rows : LIMIT_ROWS,
        .max_samples = options->max_samples,
        .max_steps = options->max_steps,
        .max_timeout_ms = options->timeout_ms,
        .max_timeout_us = options->timeout_ms * 1000,
    };
}

/* ---- without a server ---- */

static enum ebm_status check_access(const struct options *options, struct ebm_error *reterr)
{
    struct access access;
    struct tls *tls = NULL;
    const struct access_config config = server_parts_access(options);
    enum ebm_status status = access_init(&access, &config, reterr);
    if (status != EBM_OK)
        return status;
    access_done(&access);
    status = server_parts_new_tls(options, &tls, reterr);
    (void)tls_free(tls);
    return status;
}

enum ebm_status server_check(const struct options *options, struct ebm_error *reterr)
{
    _Atomic bool stop = false;
    const struct request_limits limits = server_parts_limits(options);
    struct model_store *store = NULL;
    struct model_loader *loader = NULL;
    struct ebm_device_choice choice;
    enum ebm_status status = listen_check(options->host, reterr);
    if (status == EBM_OK)
        status = sandbox_drop_rights(reterr); /* it can read what a server that runs can */
    if (status == EBM_OK)
        status = check_access(options, reterr);
    if (status == EBM_OK && server_parts_filters_calls(options))
        status = sandbox_can_filter(reterr);
    if (status == EBM_OK)
        status = choose_device(options, &choice, reterr);
    if (status == EBM_OK)
        status = server_parts_new_store(options, ebm_device_cpu(), &limits, &stop, &store, &loader, reterr);
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
