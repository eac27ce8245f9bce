/* serving.h - how the versions of one model are served: which of them, in what batches, with what defaults. Made once,
 * never changed, counted; any thread. */
#ifndef EBM_SERVER_SERVING_H
#define EBM_SERVER_SERVING_H

#include <stdatomic.h>

#include "core/limits.h"
#include "server/batcher.h"

enum serving_policy { SERVING_LATEST, SERVING_ALL, SERVING_SPECIFIC };

struct serving {
    _Atomic uint32_t references;
    struct batcher_lane_limits lane;
    enum serving_policy policy;
    uint64_t n_latest; /* the highest so many that can be loaded */
};

/* What the server's options say; serving.h's reader begins with it. NULL: no memory. New: unref. */
struct serving *serving_new(const struct batcher_lane_limits *lane, uint64_t n_latest); /* 0: all */
struct serving *serving_ref(struct serving *serving);
struct serving *serving_unref(struct serving *serving); /* NULL is fine; returns NULL */

/* May this version be served? With SERVING_LATEST all may, as long as there are not enough. */
bool serving_wants(const struct serving *serving, uint64_t version, uint64_t n_available);

#endif
