/* request.h - bodies of POST /predict, /sample, /density and /refine -> struct request (docs/API.md).
 *
 * One table of fields a kind of request (request.c) says name, bounds, default and meaning; it drives the checks, the
 * texts of errors and the interface's description. What a later version will know is refused by name. Any thread. */
#ifndef EBM_PROTO_REQUEST_H
#define EBM_PROTO_REQUEST_H

#include "proto/fields.h"

/* name, word, available in this version */
#define REQUEST_PREDICT_OUTPUT_MAP(X)                                                                                  \
    X(MEAN, "mean", true)                                                                                              \
    X(STD, "std", true)                                                                                                \
    X(VARIANCE, "variance", true)                                                                                      \
    X(MEDIAN, "median", true)                                                                                          \
    X(QUANTILES, "quantiles", true)                                                                                    \
    X(INTERVAL, "interval", true)                                                                                      \
    X(LOG_NORMALIZER, "log_normalizer", true)                                                                          \
    X(COVARIANCE, "covariance", true)                                                                                  \
    X(MODE, "mode", true)                                                                                              \
    X(ENTROPY, "entropy", true)                                                                                        \
    X(CDF, "cdf", true)                                                                                                \
    X(CRPS, "crps", true)

#define REQUEST_DENSITY_OUTPUT_MAP(X)                                                                                  \
    X(UNNORMALIZED_LOG_PROB, "unnormalized_log_prob", true)                                                            \
    X(LOG_PROB, "log_prob", true)                                                                                      \
    X(PROPOSAL_LOG_PROB, "proposal_log_prob", true)                                                                    \
    X(LOG_NORMALIZER, "log_normalizer", true)

#define REQUEST_ESTIMATOR_MAP(X)                                                                                       \
    X(AUTO, "auto", true)                                                                                              \
    X(IMPORTANCE, "importance", true)                                                                                  \
    X(MIXTURE, "mixture", true)                                                                                        \
    X(EXACT, "exact", true)                                                                                            \
    X(QUADRATURE, "quadrature", true)

#define REQUEST_MOVES_MAP(X) X(LANGEVIN, "langevin", true)

#define REQUEST_DRAWS_MAP(X) X(SOBOL, "sobol", true) X(INDEPENDENT, "independent", true)

#define REQUEST_WEIGHTS_MAP(X) X(RAW, "raw", true) X(SMOOTHED, "smoothed", true)

#define REQUEST_INTERVAL_MAP(X) X(EQUAL_TAILED, "equal_tailed", true) X(HIGHEST_DENSITY, "highest_density", true)

#define X(name, word, available) REQUEST_PREDICT_##name,
enum request_predict_output { REQUEST_PREDICT_OUTPUT_MAP(X) REQUEST_PREDICT_OUTPUTS };
#undef X
#define X(name, word, available) REQUEST_DENSITY_##name,
enum request_density_output { REQUEST_DENSITY_OUTPUT_MAP(X) REQUEST_DENSITY_OUTPUTS };
#undef X
#define X(name, word, available) REQUEST_ESTIMATOR_##name,
enum request_estimator { REQUEST_ESTIMATOR_MAP(X) REQUEST_ESTIMATORS };
#undef X
#define X(name, word, available) REQUEST_DRAWS_##name,
enum request_draws { REQUEST_DRAWS_MAP(X) REQUEST_DRAWS };
#undef X
#define X(name, word, available) REQUEST_MOVES_##name,
enum request_moves { REQUEST_MOVES_MAP(X) REQUEST_MOVES };
#undef X
#define X(name, word, available) REQUEST_WEIGHTS_##name,
enum request_weights { REQUEST_WEIGHTS_MAP(X) REQUEST_WEIGHTS };
#undef X
#define X(name, word, available) REQUEST_INTERVAL_##name,
enum request_interval { REQUEST_INTERVAL_MAP(X) REQUEST_INTERVALS };
#undef X

/* path, what it answers */
#define REQUEST_KIND_MAP(X)                                                                                            \
    X(PREDICT, "/predict", "Mean, spread and quantiles of p(y given x)")                                               \
    X(SAMPLE, "/sample", "Samples from p(y given x)")                                                                  \
    X(DENSITY, "/density", "The density p(y given x) at given targets or on a grid")                                   \
    X(REFINE, "/refine", "The most likely target near given or proposed starts, by gradient ascent on f(x, .)")

#define X(name, path, summary) REQUEST_##name,
enum request_kind {
    REQUEST_KIND_MAP(X) REQUEST_KINDS,
    REQUEST_INFER = REQUEST_KINDS /* of the Open Inference Protocol: read by oip.h, without a table here */
};
#undef X

/* What the table of oip.c takes too. */
extern const struct field_word request_estimator_words[REQUEST_ESTIMATORS], request_draws_words[REQUEST_DRAWS],
    request_weights_words[REQUEST_WEIGHTS];
extern const struct json_read_limits request_json_bounds;
#define REQUEST_STANDARD_DRAWS 1024u
#define REQUEST_STANDARD_SAMPLES 100u
#define REQUEST_STANDARD_MOST 16384u /* draws, with target_ess */

#define REQUEST_ID_CHARACTERS 256u
#define REQUEST_MAX_SEED ((1ull << 53) - 1)

/* What the server allows; within the hard limits. */
struct request_limits {
    uint64_t max_rows, max_samples, max_steps, max_timeout_ms, max_timeout_us;
};

/* A body that was understood. Texts and arrays lie in the arena. Members of other kinds are 0. */
struct request {
    enum request_kind kind;
    const char *model, *id;   /* NULL: not given */
    uint64_t version;         /* 0: the highest */
    struct field_rows inputs; /* in the model's units */
    uint32_t estimator, draws, weights;
    uint64_t num_draws;   /* for importance: num_samples; of sample: num_proposals */
    uint64_t target_ess;  /* predict and density: more draws until there are so many effective ones; 0: num_draws */
    uint64_t max_samples; /* then at most so many */
    uint64_t seed;        /* meaningless unless has_seed */
    uint64_t timeout_ms;  /* 0: the server's */
    uint64_t priority;    /* 1 is the highest; 0: the model's default */
    bool partial;         /* predict: at its deadline it is answered by the draws that there are */
    bool has_num_draws, has_seed, has_outputs, has_estimator, has_draws, has_weights; /* they were given */
    uint32_t outputs; /* bits 1 << REQUEST_PREDICT_x, REQUEST_DENSITY_x or OIP_x */

    struct field_numbers quantiles; /* predict */
    uint32_t interval_kind;
    double interval_level;
    struct field_targets cdf, crps_at; /* n 0: not asked for; rows 0: the same for all rows of inputs */

    uint64_t num_samples; /* sample: to return */
    bool resample;

    struct field_targets targets; /* density; of a grid: one row, for all rows of inputs */
    bool has_grid;
    double grid_lower, grid_upper;
    uint64_t grid_points;

    struct field_targets initial; /* refine; numbers NULL: none given */
    uint64_t starts;
    double decay;
    bool trajectory;

    bool moves_samples; /* sample */
    uint32_t moves;
    uint64_t steps; /* refine; sample that moves */
    struct field_numbers step_length;
};

/* INVALID or NO_MEMORY with where = the field ("inputs[3][0]") or the byte. Borrows nothing of `body` afterwards. */
enum ebm_status request_read(enum request_kind kind, const char *body, size_t body_bytes,
                             const struct request_limits *limits, struct ebm_arena *arena, struct request *ret_request,
                             struct ebm_error *reterr) EBM_MUST_USE;

/* The same for rows that came in another way, which it borrows; the body has all other members. */
enum ebm_status request_read_rows(enum request_kind kind, const struct field_rows *rows, const char *body,
                                  size_t body_bytes, const struct request_limits *limits, struct ebm_arena *arena,
                                  struct request *ret_request, struct ebm_error *reterr) EBM_MUST_USE;

/* The most draws of a row that the request may lead to. */
uint64_t request_draws(const struct request *request);

/* The targets of row `row` (targets.n, D); NULL when the request has none. */
const double *request_targets(const struct request *request, uint32_t row);
/* Those of request->cdf or request->crps_at (points->n); NULL: none. */
const double *request_points(const struct field_targets *points, uint32_t row);
/* The starts of row `row` (initial.n, D); NULL when the request has none. */
const double *request_initial(const struct request *request, uint32_t row);

/* The table of a kind, for the interface's description. Borrow: static. */
const struct field *request_fields(enum request_kind kind, uint32_t *ret_n);
const char *request_interval_word(uint32_t interval_kind);
const char *request_output_word(enum request_kind kind, uint32_t output); /* of PREDICT or DENSITY */
const char *request_path(enum request_kind kind);
const char *request_summary(enum request_kind kind);

#endif
