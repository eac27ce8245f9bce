/* estimate.h - from a request's words to a device's numbers and back into the user's units.
 *
 * Chooses the estimator, standardises inputs (in double), runs the device's predict on a batch whose rows may belong to
 * different requests, and turns the answers into the target's units. Holds no loop over samples.
 * A struct ebm_engine belongs to one thread. */
#ifndef EBM_MODELS_ESTIMATE_H
#define EBM_MODELS_ESTIMATE_H

#include "core/arena.h"
#include "core/device.h"
#include "models/model.h"
#include "models/refine.h"

#define EBM_DEFENSIVE_SHARE 0.1 /* of the draws by Sobol points, for a wide Gaussian: docs/MATHEMATICS.md */

#define EBM_OUTPUT_MAP(X)                                                                                              \
    X(MEAN, "mean")                                                                                                    \
    X(STD, "std")                                                                                                      \
    X(VARIANCE, "variance")                                                                                            \
    X(MEDIAN, "median")                                                                                                \
    X(QUANTILES, "quantiles")                                                                                          \
    X(INTERVAL, "interval")                                                                                            \
    X(COVARIANCE, "covariance")                                                                                        \
    X(MODE, "mode")                                                                                                    \
    X(ENTROPY, "entropy")                                                                                              \
    X(SAMPLES, "samples")                                                                                              \
    X(UNNORMALIZED_LOG_PROB, "unnormalized_log_prob")                                                                  \
    X(LOG_PROB, "log_prob")                                                                                            \
    X(PROPOSAL_LOG_PROB, "proposal_log_prob")                                                                          \
    X(LOG_NORMALIZER, "log_normalizer")

enum ebm_output {
#define X(name, word) EBM_OUTPUT_BIT_##name,
    EBM_OUTPUT_MAP(X)
#undef X
        EBM_OUTPUTS
};
#define EBM_OUTPUT(name) (1u << EBM_OUTPUT_BIT_##name)

enum ebm_choice {
    EBM_CHOICE_AUTO, /* the first that applies of exact, quadrature, importance; mixture for a model without energy */
    EBM_CHOICE_EXACT,
    EBM_CHOICE_QUADRATURE,
    EBM_CHOICE_IMPORTANCE,
    EBM_CHOICE_MIXTURE
};

/* What a request asks of every one of its rows; user's words, checked for bounds already. */
struct ebm_query {
    enum ebm_choice choice;
    uint32_t outputs;     /* EBM_OUTPUT bits */
    uint32_t num_samples; /* draws of importance; by Sobol rounded up to 8, 16, 32, ... */
    uint64_t seed;
    uint32_t n_quantiles;
    const double *quantiles; /* (n_quantiles), in (0, 1); borrow: as long as the query */
    double interval_level;   /* in (0, 1): the mass of the interval */
    bool highest_density;    /* the interval is that of highest density, maybe several: D = 1; else equal-tailed */
    uint32_t n_fair;         /* independent draws of p to return as samples */
    enum ebm_draw_scheme scheme;
    double target_ess;      /* draws are doubled until ess reaches it; 0: num_samples draws */
    uint32_t max_samples;   /* then at most so many */
    bool smooth_weights;    /* by PSIS */
    bool weighted;          /* return the num_samples weighted draws as samples instead: needs importance */
    uint32_t n_targets;     /* at which densities are asked for, in every row; 0: none */
    uint32_t n_cdf, n_crps; /* targets at which the cdf and the CRPS are asked for, in every row; D = 1 */
    const struct ebm_refine_query *refine; /* NULL: none; by ascent: nothing else is answered */
};

/* A query made ready for one model: estimator chosen, probabilities laid out. */
struct ebm_resolved_query {
    struct ebm_query query;
    struct ebm_estimate_spec spec;
    uint32_t median_at, interval_at; /* indices among spec.probabilities, where those are asked for */
    uint32_t n_samples;              /* rows of samples that an answer has */
    const struct ebm_refine *refine; /* NULL: none */
};

/* One row's answer in the user's units. Arrays in the arena given to ebm_prediction_init; NULL where not asked for. */
struct ebm_prediction {
    double *mean, *std, *variance, *median; /* (D) */
    double *quantiles;                      /* (n_quantiles, D) */
    double *intervals;                      /* (n_intervals, 2, D): lower, upper, ascending */
    uint32_t n_intervals;                   /* 1 unless by highest density, where a row that is not finite has none */
    double *covariance;                     /* (D, D) */
    double *mode;                           /* (D) */
    double *entropy;                        /* 1 number, nats, of the density per unit of the target */
    double *cdf, *crps;                     /* (n_cdf), (n_crps) */
    double *samples;                        /* (n_samples, D) */
    double *log_weights;                    /* (n_samples), normalised, of weighted samples */
    double *unnormalized_log_prob, *log_prob, *proposal_log_prob; /* (n_targets) */
    double log_normalizer;                                        /* log Z of the standardised density */
    double log_normalizer_std_error;  /* Monte Carlo; of quadrature a bound of its error; else 0 */
    enum ebm_estimator estimator;     /* that answered: exact may have left it to quadrature, auto to importance */
    uint32_t num_samples;             /* 0 without draws */
    uint32_t pieces;                  /* of exact: of f; of quadrature: panels */
    bool proper;                      /* false: only the recorded support, or range, makes the integral finite */
    double support[2];                /* of exact and quadrature: what was integrated, maybe infinite */
    double ess, max_weight, pareto_k; /* pareto_k may be NaN or infinite */
    double *mcse_mean;                /* (D) */
    bool reliable;
    const char *reason; /* why not reliable: a static word, or NULL */

    struct ebm_refinement refinement; /* of an ascent, instead of all above */
    uint32_t targets_outside;         /* targets beyond bounds, where the density is 0 */
    double acceptance;                /* of samples that moved: share of steps that were taken */

    /* between ebm_prediction_init and ebm_engine_predict */
    struct ebm_estimate raw;
    float *y, *f, *log_q; /* (n_targets, D), (n_targets) twice; NULL without targets */
    double *at;           /* (n_cdf + n_crps), standardised */
};

/* v -> float((v - mean) / std), n numbers: what networks see. */
void ebm_standardize(float *to, const double *from, const double *mean, const double *std, size_t n);
void ebm_standardize_bytes(float *to, const uint8_t *from, const double *mean, const double *std, size_t n);

/* As users write it. Borrow: static. */
const char *ebm_estimator_word(enum ebm_estimator estimator);
/* Can this network be asked that way? */
bool ebm_estimator_applies(const struct ebm_net_desc *net, enum ebm_estimator estimator);
/* What `auto` is for this network. Without a proposal and with D > 1 nothing applies: importance, which is refused. */
enum ebm_estimator ebm_estimator_auto(const struct ebm_net_desc *net);

/* Chooses; INVALID with where = "estimator", "resample", or a field that needs a scalar target, and a sentence when the
 * model cannot do what is asked. Memory from `arena`; borrows query->quantiles. */
enum ebm_status ebm_query_resolve(const struct ebm_query *query, const struct ebm_model *model, struct ebm_arena *arena,
                                  struct ebm_resolved_query *ret_resolved, struct ebm_error *reterr) EBM_MUST_USE;

/* Lays out the arrays of `n` predictions in `arena`. NO_MEMORY when it does not fit. */
enum ebm_status ebm_prediction_init(struct ebm_prediction *predictions, uint32_t n,
                                    const struct ebm_resolved_query *resolved, const struct ebm_model *model,
                                    struct ebm_arena *arena) EBM_MUST_USE;

/* What the device left in p->raw, by the query's spec, into the target's units, and judged: all members above `raw`.
 * For who calls the device itself; ebm_engine_predict does it. */
void ebm_prediction_finish(struct ebm_prediction *p, const struct ebm_resolved_query *resolved,
                           const struct ebm_target_config *target);

/* One row of a batch. */
struct ebm_item {
    const double *x;          /* (X), user's units; NULL: x_bytes */
    const uint8_t *x_bytes;   /* (X), the same as numbers of 8 bits */
    const double *targets;    /* (n_targets, D), or an ascent's starts (n_initial, D), user's units; NULL without */
    const double *cdf, *crps; /* (n_cdf), (n_crps), user's units */
    uint32_t row_in_request;
    const struct ebm_resolved_query *resolved;
    struct ebm_prediction *out;
    bool (*wanted)(const void *who);  /* as in struct ebm_task */
    bool (*hurried)(const void *who); /* likewise */
    const void *who;
};

/* One thread's device context and staging memory. */
struct ebm_engine;

enum ebm_status ebm_engine_new(const struct ebm_device_ops *ops, const struct ebm_ctx_limits *limits,
                               struct ebm_engine **ret_engine, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_engine *ebm_engine_free(struct ebm_engine *engine); /* NULL is fine; returns NULL */

/* Memory for this model on this engine; once a model, before its first use. */
enum ebm_status ebm_engine_prepare(struct ebm_engine *engine, const struct ebm_model *model,
                                   const struct ebm_plan *plan, struct ebm_error *reterr) EBM_MUST_USE;

/* Does this engine compute what the model's file says (models/parity.h)? OK too when it says nothing; DAMAGED where,
 * and what it computes instead. After prepare. */
enum ebm_status ebm_engine_check(struct ebm_engine *engine, const struct ebm_model *model, const struct ebm_plan *plan,
                                 struct ebm_error *reterr) EBM_MUST_USE;

/* Predicts n rows (1 .. limits.max_rows) of one model. A row that is no longer wanted is left without an answer.
 * Other failures of the device concern the whole batch. */
enum ebm_status ebm_engine_predict(struct ebm_engine *engine, const struct ebm_model *model,
                                   const struct ebm_plan *plan, const struct ebm_item *items, uint32_t n) EBM_MUST_USE;

#endif
