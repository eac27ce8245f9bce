/* predict_msg.h - POST /predict: body -> struct predict_request, answers -> JSON (docs/API.md).
 *
 * One table of fields (predict_msg.c) says name, meaning, default and bounds; it drives the checks and the texts of
 * errors. What a later version will know is refused by name. Any thread. */
#ifndef EBM_PROTO_PREDICT_MSG_H
#define EBM_PROTO_PREDICT_MSG_H

#include "core/arena.h"
#include "core/buf.h"

/* name, word, available in this version */
#define PREDICT_OUTPUT_MAP(X)                                                                                          \
    X(MEAN, "mean", true)                                                                                              \
    X(STD, "std", true)                                                                                                \
    X(VARIANCE, "variance", true)                                                                                      \
    X(MEDIAN, "median", true)                                                                                          \
    X(QUANTILES, "quantiles", true)                                                                                    \
    X(LOG_NORMALIZER, "log_normalizer", true)                                                                          \
    X(COVARIANCE, "covariance", false)                                                                                 \
    X(MODE, "mode", false)                                                                                             \
    X(INTERVAL, "interval", false)                                                                                     \
    X(ENTROPY, "entropy", false)                                                                                       \
    X(CDF, "cdf", false)                                                                                               \
    X(CRPS, "crps", false)

#define PREDICT_ESTIMATOR_MAP(X)                                                                                       \
    X(AUTO, "auto", true)                                                                                              \
    X(IMPORTANCE, "importance", true)                                                                                  \
    X(MIXTURE, "mixture", true)                                                                                        \
    X(EXACT, "exact", false)                                                                                           \
    X(QUADRATURE, "quadrature", false)

#define PREDICT_DRAWS_MAP(X) X(INDEPENDENT, "independent", true) X(SOBOL, "sobol", false)

enum predict_output {
#define X(name, word, available) PREDICT_OUTPUT_##name,
    PREDICT_OUTPUT_MAP(X)
#undef X
};
#define PREDICT_OUTPUT(name) (1u << PREDICT_OUTPUT_##name)

enum predict_estimator {
#define X(name, word, available) PREDICT_ESTIMATOR_##name,
    PREDICT_ESTIMATOR_MAP(X)
#undef X
};

enum predict_draws {
#define X(name, word, available) PREDICT_DRAWS_##name,
    PREDICT_DRAWS_MAP(X)
#undef X
};

#define PREDICT_ID_BYTES 256u
#define PREDICT_MAX_SEED ((1ull << 53) - 1)

/* What the server allows; within the hard limits. */
struct predict_limits {
    uint64_t max_rows, max_samples, max_timeout_ms;
};

/* A body that was understood. Texts and arrays lie in the arena. */
struct predict_request {
    const char *model, *id; /* NULL: not given */
    uint64_t version;       /* 0: the highest */
    uint32_t rows, X;       /* every row has X numbers */
    const double *inputs;   /* (rows, X), finite */
    uint32_t outputs;       /* PREDICT_OUTPUT bits */
    uint32_t estimator, draws;
    uint64_t num_samples;
    bool has_num_samples, has_seed;
    uint64_t seed; /* meaningless unless has_seed */
    uint32_t n_quantiles;
    const double *quantiles;
    uint64_t timeout_ms; /* 0: the server's */
};

/* INVALID or NO_MEMORY with where = the field ("inputs[3][0]") or the byte. Borrows nothing of `body` afterwards. */
enum ebm_status predict_msg_read(const char *body, size_t body_bytes, const struct predict_limits *limits,
                                 struct ebm_arena *arena, struct predict_request *ret_request, struct ebm_error *reterr)
    EBM_MUST_USE;

/* What all rows of an answer share. */
struct predict_answer {
    const char *model;
    uint64_t version;
    const char *id; /* NULL: none */
    uint64_t seed;
    uint32_t D, n_quantiles;
    const double *quantiles;  /* the probabilities */
    bool num_samples_ignored; /* the client gave num_samples, and the estimator draws nothing */
    int digits;               /* significant digits of numbers in the target's unit */
};

/* One row, in the target's unit. NULL, or has_log_normalizer false: not asked for. */
struct predict_row {
    const double *mean, *std, *variance, *median; /* (D) */
    const double *quantile_values;                /* (n_quantiles, D) */
    bool has_log_normalizer;
    double log_normalizer;
    bool drew; /* importance: num_samples to mcse_mean stand */
    uint32_t num_samples;
    double ess, max_weight;
    const double *mcse_mean; /* (D) */
    bool reliable;
    const char *reason; /* a word, or NULL */
};

/* begin, row by row, end. A failure (too large, no memory) stays in buf->status. */
void predict_msg_begin(struct ebm_buf *buf, const struct predict_answer *answer);
void predict_msg_row(struct ebm_buf *buf, const struct predict_answer *answer, const struct predict_row *row,
                     uint32_t index);
enum ebm_status predict_msg_end(struct ebm_buf *buf) EBM_MUST_USE;

/* An upper bound of the bytes that such an answer takes, from its numbers alone. */
size_t predict_msg_bound(const struct predict_request *request, uint32_t D);

#endif
