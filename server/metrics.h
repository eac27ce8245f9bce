/* metrics.h - what the server counts of itself, and how GET /metrics tells it.
 *
 *   each loop     requests as they begin and end, by route and status: numbers of its own
 *   any thread    rows and batches: relaxed atomics, a few additions a batch, no lock
 *
 * An array has one for each loop, and who asks gets their sums.
 * Counters begin at 0 when the server starts, and never go down. Times are microseconds inside, seconds outside. */
#ifndef EBM_SERVER_METRICS_H
#define EBM_SERVER_METRICS_H

#include "core/buf.h"
#include "server/metrics_model.h"
#include "server/reply.h"

#define METRICS_ROUTES 64u /* of the table of routes, at most */

struct metrics {
    uint32_t loop;       /* which one's; fixed */
    double start_time_s; /* since 1970; fixed */
    /* the loop's thread writes */
    _Atomic uint64_t in_flight; /* requests whose headers are read and which are not over */
    struct {
        _Atomic uint64_t by_kind[REPLY_KINDS + 1]; /* the first kind of each status; the last: left before an answer */
        struct metrics_times duration;
    } routes[METRICS_ROUTES + 1]; /* the last: no such path */
    struct metrics_times queue, compute;
    /* any thread writes */
    _Atomic uint64_t batches[METRICS_SIZES + 1], batch_rows;
};

/* (n), of all loops: n <= LIMIT_IO_THREADS. */
void metrics_init(struct metrics *metrics, uint32_t n);

/* A request's headers are read. The loop's thread. */
void metrics_begin(struct metrics *metrics);
/* A request is over: at `route` of the table, METRICS_ROUTES for a path that is not there; `status` 0: left before its
 * answer. `job` NULL: it never became one. The loop's thread. */
void metrics_end(struct metrics *metrics, uint32_t route, int status, uint64_t started_us, const struct job *job);

/* A batch was predicted; before its jobs go on, which own the answers of the items. Worker. */
void metrics_count_batch(struct metrics *metrics, struct metrics_model *model, const struct metrics_batch *batch);

/* That were predicted, by all n loops and the workers. Any thread. */
uint64_t metrics_batches(const struct metrics *metrics, uint32_t n);
uint64_t metrics_batch_rows(const struct metrics *metrics, uint32_t n);
uint64_t metrics_size_bound(uint32_t i); /* rows of the largest batch that is counted at i */

/* What is so now, and what others know. Borrows. */
struct metrics_now {
    const char *const *routes; /* (n_routes): their patterns */
    uint32_t n_routes;
    uint32_t n_asked; /* the first so many are there from the start, others from their first request */
    uint64_t queue_rows, in_flight_bytes;
    const struct model_list *models;  /* NULL: not loaded yet */
    struct batcher *batcher;          /* where requests of models wait */
    const uint64_t *model_events;     /* (MODEL_EVENTS) of server/model_store.h; NULL: none yet */
    bool ready;                       /* models can be asked */
    uint32_t devices, failed_devices; /* where rows are computed */
    bool triton;                      /* with its families */
};

/* Everything of all n loops, as text. Any thread: some 0.2 ms, and up to 60 us for each model that was asked. */
void metrics_write(const struct metrics *metrics, uint32_t n, const struct metrics_now *now, struct ebm_buf *buf);

#endif
