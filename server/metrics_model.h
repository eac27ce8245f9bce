/* metrics_model.h - what is counted of one version of a model, and its families of GET /metrics: ours, and those of
 * Triton (nv_inference_*), so that dashboards made for it find what they ask for.
 *
 *   each loop     requests as they end: counters of its own, which are summed when somebody asks
 *   any thread    rows and batches: relaxed atomics; a batch adds up on the stack first
 */
#ifndef EBM_SERVER_METRICS_MODEL_H
#define EBM_SERVER_METRICS_MODEL_H

#include "core/buf.h"
#include "server/statistics.h"

#define METRICS_REASONS 16u /* words for why a row is not reliable, at most; a further one is not counted */
#define METRICS_TIMES 18u   /* bounds of durations */
#define METRICS_RECENT 512u /* requests of a model whose times are kept */
#define METRICS_SIZES 11u   /* bounds of batches: 1, 2, 4, ... */
#define METRICS_BOUNDS 14u  /* of each of METRICS_VALUE_MAP */

struct batcher;
struct ebm_item;
struct job;
struct model_list;

/* Durations; one thread writes. */
struct metrics_times {
    _Atomic uint64_t counts[METRICS_TIMES + 1], sum_us;
};

/* The latest requests, from headers read to answer sent, in no order. Any thread. */
struct metrics_recent {
    _Atomic uint64_t n; /* since the start */
    _Atomic uint32_t us[METRICS_RECENT];
};

/* What a row's distribution was like: name, the family's name, its help. Sums must not go down, so that a value below 0
 * counts as 0; one above 1000 counts as 1000; one that is not a number is left out. */
#define METRICS_VALUE_MAP(X)                                                                                           \
    X(ESS_RATIO, "ebm_model_ess_ratio", "Effective samples as a share of the draws, of rows by importance")            \
    X(PARETO_K, "ebm_model_pareto_k",                                                                                  \
      "Shape of the tail of the weights, of rows by importance; below 0, where tails are light, as 0")                 \
    X(RELATIVE_STD, "ebm_model_relative_std",                                                                          \
      "Predicted std, as a share of that of the training targets, of rows that were asked for it; the mean over "      \
      "target numbers")

enum metrics_value {
#define X(name, family, help) METRICS_##name,
    METRICS_VALUE_MAP(X)
#undef X
        METRICS_VALUES
};

/* name, Triton's reason for a failure */
#define METRICS_FAILURE_MAP(X)                                                                                         \
    X(REJECTED, "REJECTED") /* no room, or no answer in time */                                                        \
    X(CANCELED, "CANCELED") /* its client left */                                                                      \
    X(BACKEND, "BACKEND")   /* could not be computed */                                                                \
    X(OTHER, "OTHER")

enum metrics_failure {
#define X(name, word) METRICS_##name,
    METRICS_FAILURE_MAP(X)
#undef X
        METRICS_FAILURES
};

/* Requests of one version of a model that came by one loop, whose thread alone writes. */
struct metrics_requests {
    struct statistics_requests statistics;
    struct metrics_times request, queue, compute;
    _Atomic uint64_t failures[METRICS_FAILURES];
};

/* Of one version of a model, through all that is loaded for it; counted. Any thread. */
struct metrics_model {
    _Atomic uint32_t references;
    _Atomic uint64_t rows;                                   /* that were predicted */
    _Atomic uint64_t batches[METRICS_SIZES + 1], batch_rows; /* by size */
    struct {
        const char *_Atomic word; /* static; NULL: free, the first row with a new word takes it */
        _Atomic uint64_t rows;
    } unreliable[METRICS_REASONS];
    struct {
        _Atomic uint64_t counts[METRICS_BOUNDS + 1], sum_millionths;
    } values[METRICS_VALUES];
    struct statistics statistics;
    struct metrics_recent recent;
    struct metrics_requests loops[LIMIT_IO_THREADS];
};

/* A batch that was predicted: rows of one model. Borrows. */
struct metrics_batch {
    const struct ebm_item *items;
    uint32_t n;
    const double *target_std; /* (D), of the training targets */
    uint32_t D;
};

struct metrics_model *metrics_model_new(void); /* NULL: no memory. New: unref */
struct metrics_model *metrics_model_ref(struct metrics_model *model);
struct metrics_model *metrics_model_unref(struct metrics_model *model); /* NULL is fine; returns NULL */

/* Before the batch's jobs go on, which own the answers of the items. Worker. */
void metrics_model_count_batch(struct metrics_model *model, const struct metrics_batch *batch);
/* A request whose model is known is over, after total_us; `job` as for metrics_end. The thread of that loop. */
void metrics_model_end(struct metrics_model *model, uint32_t loop, int status, uint64_t total_us, const struct job *job,
                       uint64_t now_us);

uint64_t metrics_model_batches(const struct metrics_model *model); /* of any size. Any thread */
/* Those of all loops. Any thread. */
struct statistics_requests metrics_model_statistics(const struct metrics_model *model);

/* One more duration. The thread that writes, as for the next. */
void metrics_observe(struct metrics_times *times, uint64_t us);
/* Of a request that waited for a worker: until one took it, or it was given up. */
void metrics_observe_job(struct metrics_times *queue, struct metrics_times *compute, int status, const struct job *job,
                         uint64_t now_us);

/* Adds another's to a sum that nobody else knows. */
void metrics_times_add(struct metrics_times *sum, const struct metrics_times *times);

/* Bounds of durations in seconds (METRICS_TIMES), of batches in rows (METRICS_SIZES). */
extern const double metrics_time_bounds[METRICS_TIMES], metrics_size_bounds[METRICS_SIZES];
/* Of METRICS_VALUE_MAP. */
extern const double metrics_value_bounds[METRICS_VALUES][METRICS_BOUNDS];
uint32_t metrics_bucket(double value, const double *bounds, uint32_t n);

/* The families of all models that are loaded; distributions of one are there from its first request on. `models` NULL:
 * none yet. */
void metrics_models_write(const struct model_list *models, struct ebm_buf *buf);
/* Triton's families of the same. */
void metrics_models_write_triton(const struct model_list *models, struct batcher *batcher, struct ebm_buf *buf);

#endif
