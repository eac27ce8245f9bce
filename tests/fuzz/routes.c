/* routes.c - routes whose store was never loaded. */
#include "tests/fuzz/routes.h"

#include "server/batcher.h"

struct routes *fuzz_routes(void)
{
    static const struct request_limits limits = {
        .max_rows = 64, .max_samples = 4096, .max_steps = 100, .max_timeout_ms = 5000, .max_timeout_us = 5000000};
    static const struct batcher_limits none = {.max_rows = 1};
    static struct metrics metrics;
    static struct routes_state state;
    static struct access access = {.config = {"", "a.example", "http://a.example"}};
    static struct routes routes = {.state = &state,
                                   .access = &access,
                                   .max_body_bytes = FUZZ_BODY_BYTES,
                                   .max_inflight_bytes = 4 * FUZZ_BODY_BYTES,
                                   .body_timeout_ms = 1000,
                                   .limits = &limits,
                                   .metrics = &metrics,
                                   .all_metrics = &metrics,
                                   .n_loops = 1};
    if (!routes.batcher) {
        EBM_ASSERT(batcher_new(&none, &routes.batcher) == EBM_OK);
        metrics_init(&metrics, 1);
        state.devices.ops = ebm_device_cpu();
        repository_routes_init(&routes.repository);
        routes.repository.stopping = &state.stopping;
    }
    return &routes;
}
