/* answer.h - answers of /predict, /sample, /density and /refine -> JSON (docs/API.md).
 *
 * One table of members (answer.c) says name, shape and meaning; it writes the rows and describes them. Any thread. */
#ifndef EBM_PROTO_ANSWER_H
#define EBM_PROTO_ANSWER_H

#include "core/buf.h"
#include "proto/request.h"

/* What all rows of an answer share. */
struct answer {
    const char *model;
    uint64_t version;
    const char *id; /* NULL: none */
    uint64_t seed;
    uint32_t D, n_samples, n_targets, n_cdf, n_crps; /* sizes of a row's arrays */
    struct field_numbers quantiles;                  /* the probabilities */
    const char *interval_kind;                       /* a word */
    double interval_level;
    int digits;                           /* significant digits of numbers in the target's unit */
    const char *ignored;                  /* a field that the client gave and the estimator does not use; NULL: none */
    const struct ebm_buf *shared_targets; /* by answer_write_targets, of all rows alike; NULL: each has its own */
};

/* One row, in the target's unit; NULL: not asked for. */
struct answer_row {
    const double *mean, *std, *variance, *median; /* (D) */
    const double *quantiles;                      /* (quantiles.n, D) */
    const double *interval;                       /* (n_intervals, 2, D): lower, upper */
    uint32_t n_intervals;
    const double *covariance;                                           /* (D, D) */
    const double *entropy;                                              /* one number */
    const double *cdf, *crps;                                           /* (n_cdf), (n_crps) */
    const double *samples;                                              /* (n_samples, D) */
    const double *log_weights;                                          /* (n_samples) */
    const double *targets;                                              /* (n_targets, D) */
    const double *unnormalized_log_prob, *log_prob, *proposal_log_prob; /* (n_targets) */
    const double *log_normalizer, *log_normalizer_std_error;            /* one number */
    const double *mode;                                                 /* (D) */
    const double *mode_log_prob;                                        /* one number */
    const bool *converged;
    const uint32_t *steps;    /* of a refined row, which has no diagnostics; others: NULL */
    const double *trajectory; /* (*steps + 1, D) */

    /* diagnostics */
    const char *estimator; /* a word */
    bool drew;             /* importance: num_samples to pareto_k stand */
    bool integrated;       /* exact, quadrature: pieces, support stand */
    bool proper;           /* of both */
    uint32_t pieces;
    double support[2]; /* in the target's unit, maybe infinite */
    uint32_t num_samples;
    double ess, max_weight, pareto_k;
    const double *mcse_mean;       /* (D) */
    const double *acceptance_rate; /* of samples that moved; NULL: they did not */
    uint32_t targets_outside; /* beyond bounds: their log_prob is null because the density is 0; 0 is not written */
    bool reliable;
    const char *reason; /* a word, or NULL */
};

/* (n, D) targets as rows write theirs, once for all of them. */
void answer_write_targets(struct ebm_buf *buf, const double *targets, uint32_t n, uint32_t D);

/* begin, row by row, end. A failure (too large, no memory) stays in buf->status. */
void answer_begin(struct ebm_buf *buf, const struct answer *answer);
void answer_add_row(struct ebm_buf *buf, const struct answer *answer, const struct answer_row *row, uint32_t index);
enum ebm_status answer_end(struct ebm_buf *buf) EBM_MUST_USE;

/* An upper bound of the bytes that the answer to a request takes for a target of D numbers of so many digits. */
size_t answer_bound(const struct request *request, uint32_t D, int digits);

enum answer_shape {
    ANSWER_VECTOR,        /* D numbers */
    ANSWER_QUANTILES,     /* objects of probability and value */
    ANSWER_INTERVAL,      /* an object */
    ANSWER_SAMPLES,       /* vectors, one a sample */
    ANSWER_SAMPLE_VALUES, /* numbers, one a sample */
    ANSWER_TARGETS,       /* vectors, one a target */
    ANSWER_TARGET_VALUES, /* numbers, one a target */
    ANSWER_MATRIX,        /* D vectors */
    ANSWER_CDF,           /* probabilities, one a point */
    ANSWER_CRPS,          /* numbers, one a point */
    ANSWER_VALUE,         /* one number */
    ANSWER_FLAG,          /* true or false */
    ANSWER_WHOLE,         /* a whole number */
    ANSWER_PATH,          /* vectors, one a step and one more */
};

/* Sizes of what a row has of this shape, ret_dims[0 .. n); returns n. An interval is one, of equal tails. */
uint32_t answer_dims(const struct answer *answer, enum answer_shape shape, uint32_t ret_dims[2]);
/* Are its numbers in the target's unit, so that they may need answer->digits? */
bool answer_is_in_unit(enum answer_shape shape);

/* A member of a row. */
struct answer_member {
    const char *name;
    enum answer_shape shape;
    size_t at;      /* of its pointer in struct answer_row */
    uint32_t kinds; /* bits 1 << enum request_kind that may have it */
    const char *help;
};

/* Borrow: static. */
const struct answer_member *answer_members(uint32_t *ret_n);

#endif
