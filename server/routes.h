/* routes.h - which request goes where: the table of routes and the short answers. Loop thread only. */
#ifndef EBM_SERVER_ROUTES_H
#define EBM_SERVER_ROUTES_H

#include "server/access.h"
#include "server/dispatch.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/repository_routes.h"

struct routes {
    struct access access;
    struct dispatch *dispatch;
    struct model_store *store; /* NULL until the models are loaded */
    bool ready;                /* /readyz answers 200 */
    uint64_t max_body_bytes, max_binary_bytes, max_inflight_bytes, body_timeout_ms;
    uint32_t n_workers;                  /* what a model's configuration says */
    const struct request_limits *limits; /* what /openapi.json says; borrow */
    struct batcher *batcher;             /* what /metrics says of it; borrow, as the next */
    struct metrics *metrics;
    struct repository_routes repository;
    uint64_t n_requests; /* that are over */
};

/* The callbacks for http_new. Borrow: routes as long as http. */
struct http_handler routes_handler(struct routes *routes);

#endif
