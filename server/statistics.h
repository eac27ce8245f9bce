/* statistics.h - what GET /v2/models/M/stats tells of one version of a model, as the statistics extension of the Open
 * Inference Protocol has it: requests and their parts, batches by their size. Counters begin at 0 and never go down. */
#ifndef EBM_SERVER_STATISTICS_H
#define EBM_SERVER_STATISTICS_H

#include <stdatomic.h>

#include "core/buf.h"
#include "core/limits.h"

struct job;

/* name, word; of successes all that follow have a part */
#define STATISTICS_MAP(X)                                                                                              \
    X(SUCCESS, "success")       /* headers read to answer sent */                                                      \
    X(FAIL, "fail")             /* the same of what was refused, given up or left */                                   \
    X(QUEUE, "queue")           /* accepted to first row taken by a worker */                                          \
    X(INPUT, "compute_input")   /* the body read and checked */                                                        \
    X(INFER, "compute_infer")   /* first row taken to last row computed */                                             \
    X(OUTPUT, "compute_output") /* the answer written */                                                               \
    X(CACHE_HIT, "cache_hit")   /* there is no cache: 0 */                                                             \
    X(CACHE_MISS, "cache_miss")

enum statistics_part {
#define X(name, word) STATISTICS_##name,
    STATISTICS_MAP(X)
#undef X
        STATISTICS_PARTS
};

struct statistics {
    /* loop thread */
    struct {
        uint64_t count, us;
    } parts[STATISTICS_PARTS];
    uint64_t last_ms; /* since 1970: the end of the last success; 0: none */
    /* any thread: batches of i + 1 rows */
    struct {
        _Atomic uint64_t count, input_ns, infer_ns, output_ns;
    } batches[LIMIT_BATCH_ROWS];
};

/* A request whose model is known is over. Loop thread. */
void statistics_end(struct statistics *statistics, bool is_success, uint64_t total_us, const struct job *job);

/* A batch of 1 .. LIMIT_BATCH_ROWS rows was gathered and computed; its answers were written. Worker. */
void statistics_batch(struct statistics *statistics, uint32_t rows, uint64_t input_ns, uint64_t infer_ns);
void statistics_output(struct statistics *statistics, uint32_t rows, uint64_t output_ns);

/* An element of model_stats; rows were predicted. Loop thread. */
void statistics_write(const struct statistics *statistics, const char *model, uint64_t version, uint64_t rows,
                      struct ebm_buf *buf);

#endif
