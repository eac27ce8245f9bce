/* routes.h - which request goes where: the table of routes and the short answers. The loop's thread only. */
#ifndef EBM_SERVER_ROUTES_H
#define EBM_SERVER_ROUTES_H

#include "server/access.h"
#include "server/devices.h"
#include "server/dispatch.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/repository_routes.h"

/* What is so for the whole server. */
struct routes_state {
    _Atomic bool ready; /* /readyz answers 200; every loop has the models then */
    _Atomic bool stopping;
    struct devices devices; /* once none is fit, /readyz answers 503 */
};

static inline bool routes_state_is_ready(const struct routes_state *state)
{
    return atomic_load(&state->ready) && devices_any_fit(&state->devices);
}

/* One for each loop; borrows all that it points to. */
struct routes {
    const struct routes_state *state;
    struct access *access;
    struct dispatch *dispatch;
    struct model_store *store; /* NULL until the models are loaded */
    uint64_t max_body_bytes, max_binary_bytes, max_inflight_bytes, body_timeout_ms;
    uint32_t n_workers;                  /* what a model's configuration says */
    const struct request_limits *limits; /* what /openapi.json says */
    struct batcher *batcher;             /* what /metrics says of it */
    bool triton_metrics;                 /* does it speak Triton's names too */
    struct metrics *metrics;             /* the loop's, one of all_metrics (n_loops) */
    const struct metrics *all_metrics;
    uint32_t n_loops;
    struct repository_routes repository;
    uint64_t n_requests;     /* that are over */
    struct ebm_buf log_line; /* the access log's */
};

/* The callbacks for http_new. Borrow: routes as long as http. */
struct http_handler routes_handler(struct routes *routes);

#endif
