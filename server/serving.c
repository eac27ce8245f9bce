/* serving.c - settings of a model, counted. */
#include "server/serving.h"

#include <stdlib.h>

struct serving *serving_new(const struct batcher_lane_limits *lane, uint64_t n_latest)
{
    struct serving *serving = calloc(1, sizeof *serving);
    if (!serving)
        return NULL;
    atomic_init(&serving->references, 1);
    serving->lane = *lane;
    serving->policy = n_latest > 0 ? SERVING_LATEST : SERVING_ALL;
    serving->n_latest = n_latest;
    return serving;
}

struct serving *serving_ref(struct serving *serving)
{
    (void)atomic_fetch_add_explicit(&serving->references, 1, memory_order_relaxed);
    return serving;
}

struct serving *serving_unref(struct serving *serving)
{
    if (serving && atomic_fetch_sub_explicit(&serving->references, 1, memory_order_acq_rel) == 1)
        free(serving);
    return NULL;
}

bool serving_wants(const struct serving *serving, uint64_t version, uint64_t n_available)
{
    (void)version;
    return serving->policy != SERVING_LATEST || n_available < serving->n_latest;
}
