/* statistics.h - what GET /v2/models/M/stats tells of one version of a model, as the statistics extension of the Open
 * Inference Protocol has it: requests and their parts, batches by their size. Counters begin at 0 and never go down. */
#ifndef EBM_SERVER_STATISTICS_H
#define EBM_SERVER_STATISTICS_H

#include "core/buf.h"
#include "core/limits.h"
#include "server/counter.h"

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

/* Requests of one loop, whose thread alone writes; or a sum of such. */
struct statistics_requests {
    struct {
        _Atomic uint64_t count, us;
    } parts[STATISTICS_PARTS];
    _Atomic uint64_t last_ms; /* since 1970: the end of the last success; 0: none */
};

/* Batches. Any thread. */
struct statistics {
    struct { /* of i + 1 rows */
        _Atomic uint64_t count, input_ns, infer_ns, output_ns;
    } batches[LIMIT_BATCH_ROWS];
};

/* A request whose model is known is over. The loop's thread. */
void statistics_end(struct statistics_requests *requests, bool is_success, uint64_t total_us, const struct job *job);
/* Adds another loop's to a sum that nobody else knows. */
void statistics_add(struct statistics_requests *sum, const struct statistics_requests *requests);

/* A batch of 1 .. LIMIT_BATCH_ROWS rows was gathered and computed; its answers were written. Worker. */
void statistics_batch(struct statistics *statistics, uint32_t rows, uint64_t input_ns, uint64_t infer_ns);
void statistics_output(struct statistics *statistics, uint32_t rows, uint64_t output_ns);

/* An element of model_stats, with the requests of all loops; rows were predicted. */
void statistics_write(const struct statistics *statistics, const struct statistics_requests *requests,
                      const char *model, uint64_t version, uint64_t rows, struct ebm_buf *buf);

#endif
