/* server_parts.h - from options to the parts of a server. Before threads start, but for what only reads the options. */
#ifndef EBM_SERVER_SERVER_PARTS_H
#define EBM_SERVER_SERVER_PARTS_H

#include "server/access.h"
#include "server/model_loader.h"
#include "server/options.h"

struct tls;

/* Threads that compute on these devices: as many as --workers says, INVALID when these are fewer than devices. */
enum ebm_status server_parts_workers(const struct options *options, const struct ebm_device_ops *ops, uint32_t *ret_n,
                                     struct ebm_error *reterr) EBM_MUST_USE;
bool server_parts_may_control(const struct options *options); /* are models loaded and unloaded by request? */
bool server_parts_loads_later(const struct options *options); /* may the models that are served change? */
struct request_limits server_parts_limits(const struct options *options);
struct access_config server_parts_access(const struct options *options); /* borrow, from options */

/* Where models compute: opens what --device asks for and says so in one line. "auto" falls back to the CPU, and tells
 * why; else what is missing is an error. Borrow: static. */
enum ebm_status server_parts_device(const struct options *options, const struct ebm_device_ops **ret_ops,
                                    struct ebm_error *reterr) EBM_MUST_USE;

/* A store and what fills it; NO_MEMORY: neither. Borrows all but the results. New: model_store_free, and before it
 * model_loader_free. */
enum ebm_status server_parts_new_store(const struct options *options, const struct ebm_device_ops *ops,
                                       const struct request_limits *limits, const _Atomic bool *stop,
                                       struct model_store **ret_store, struct model_loader **ret_loader,
                                       struct ebm_error *reterr) EBM_MUST_USE;
/* Leaves *ret_tls as it is when there is to be no encryption. As tls_new. New: tls_free. */
enum ebm_status server_parts_new_tls(const struct options *options, struct tls **ret_tls, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Are calls of the system to be filtered? */
bool server_parts_filters_calls(const struct options *options);

/* A connection is a file; the usual soft limit of 1024 is below our default. Warns when the system allows fewer. */
void server_parts_raise_file_limit(uint64_t connections, uint32_t n_loops);

#endif
