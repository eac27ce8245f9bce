/* ebm_client.h - asks an ebm-server: predictions, samples, densities, most likely targets, models, health.
 *
 *   struct ebm_client_options options = ebm_client_defaults();
 *   struct ebm_client *client;
 *   struct ebm_client_error error;
 *   if (ebm_client_new(&options, &client, &error) != EBM_CLIENT_OK) ...
 *
 *   double x[] = {80};
 *   struct ebm_client_predict_request request = {.rows = {.inputs = x, .n_rows = 1, .n_inputs = 1}};
 *   struct ebm_client_answer answer;
 *   if (ebm_client_predict(client, &request, &answer, &error) == EBM_CLIENT_OK) {
 *       printf("%g\n", answer.mean[0]);
 *       ebm_client_answer_done(&answer);
 *   }
 *   client = ebm_client_free(client);
 *
 * Threads. One client may be used by any number of threads at once: each call takes a connection out of the client's
 * pool and puts it back, so calls run side by side and connections are reused. Only ebm_client_new and ebm_client_free
 * stand alone: no other call may run on the client that is freed. Requests are only read; answers and errors belong to
 * the caller. No signal is used; with https a program ignores SIGPIPE.
 *
 * Ownership. What a function makes the caller frees: clients by ebm_client_free, answers by the ebm_client_..._done of
 * their type, which takes all their arrays and texts together. Texts of options are copied; requests are borrowed for
 * the call alone.
 *
 * Errors. Functions that can fail return an ebm_client_status, fill `*reterr` (NULL is fine) and leave their `ret_`
 * arguments untouched. Nothing is ever printed.
 *
 * Again. 429 (the queue is full) and 503 (starting or stopping) are asked again, as all requests may be: an answer
 * depends on nothing that came before. The wait is what Retry-After says or doubles from 100 ms, at most max_wait_ms,
 * with up to a quarter more by chance, so that many clients do not come back together. A call never takes longer than
 * timeout_ms: where the next wait would end too late, the refusal is returned at once. Failed connections are not tried
 * again, but for one that was kept and that the server has closed meanwhile.
 *
 * An answer's unknown members are ignored: a newer server can say more. null in place of a number is NAN. */
#ifndef EBM_CLIENT_H
#define EBM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EBM_CLIENT_STATUS_MAP(X)                                                                                       \
    X(OK, "ok")                                                                                                        \
    X(INVALID, "the request or an option makes no sense; nothing was sent")                                            \
    X(CONNECT, "no connection, or it broke")                                                                           \
    X(TIMEOUT, "the time is up")                                                                                       \
    X(REFUSED, "the server answered with an error")                                                                    \
    X(BAD_ANSWER, "the answer is not one of an ebm-server")                                                            \
    X(TOO_LARGE, "the answer is larger than max_answer_bytes")                                                         \
    X(NO_MEMORY, "out of memory")

enum ebm_client_status {
#define X(name, text) EBM_CLIENT_##name,
    EBM_CLIENT_STATUS_MAP(X)
#undef X
};

/* The status as a sentence. Borrow: static. Any thread. */
const char *ebm_client_status_text(enum ebm_client_status status);

struct ebm_client_error {
    enum ebm_client_status status;
    int http_status;      /* of the last answer; 0: there was none */
    uint32_t n_attempts;  /* 0: nothing was sent */
    char code[32];        /* REFUSED: the server's word for programs ("queue_full"); empty: the answer had none */
    char request_id[136]; /* REFUSED: the line of the server's log */
    char where[128];      /* the address, a field ("inputs[3][0]"), a member of the answer ("predictions[0].mean") */
    char text[512];       /* what was wrong, what was expected, what helps */
};

struct ebm_client_options {
    const char *server;          /* "http://127.0.0.1:8080"; https and a path in front of the routes are fine */
    const char *api_key;         /* NULL: none; sent as a Bearer token: over a network only with https */
    uint32_t connect_timeout_ms; /* 3000: for a connection to stand */
    uint32_t timeout_ms;         /* 60000: for a whole call, with everything that is asked again; at least 1 */
    uint32_t max_retries;        /* 4: times to ask again after 429 and 503; 0: never */
    uint32_t max_wait_ms;        /* 5000: longest wait before asking again, whatever Retry-After says */
    size_t max_answer_bytes;     /* 64 MiB; reading an answer takes up to about 25 times its bytes for a moment */
};

struct ebm_client;

struct ebm_client_options ebm_client_defaults(void);

/* Connects to nothing yet. New: ebm_client_free. */
enum ebm_client_status ebm_client_new(const struct ebm_client_options *options, struct ebm_client **ret_client,
                                      struct ebm_client_error *reterr);
struct ebm_client *ebm_client_free(struct ebm_client *client); /* NULL is fine; returns NULL */

/* ---- requests ----
 * A member that is 0 or NULL is not sent, and the server's default holds. Words are the server's own (docs/API.md). */

/* A PNG or JPEG file, whole. */
struct ebm_client_image {
    const void *bytes;
    size_t n_bytes;
};

struct ebm_client_rows {
    const double *inputs; /* (n_rows, n_inputs) finite, in the model's units */
    size_t n_rows, n_inputs;
    const struct ebm_client_image *images; /* (n_rows), instead of inputs: of a model that reads images */
    const char *model;                     /* NULL: the only one of the server */
    uint64_t version;
    const char *estimator, *draws, *weights, *id;
    bool has_seed;
    uint64_t seed; /* up to 2^53 - 1 */
    uint64_t num_samples;
    uint64_t target_ess, max_samples; /* predict and density: draws are added until there are so many effective ones */
    uint64_t timeout_ms;              /* the server's time for it; the client's own is in its options */
    uint64_t priority;                /* in the model's queue: 1 is first */
};

struct ebm_client_predict_request {
    struct ebm_client_rows rows;
    const char *const *outputs;
    size_t n_outputs;
    const double *quantiles; /* probabilities */
    size_t n_quantiles;
    const char *interval_kind;
    double interval_level;
    const double *cdf, *crps_at; /* (n_cdf), (n_crps) targets of one number, the same for all rows */
    size_t n_cdf, n_crps;
};

struct ebm_client_sample_request {
    struct ebm_client_rows rows;
    uint64_t num_proposals;
    bool is_weighted;           /* all proposals with their log_weights: "resample": false */
    uint64_t steps;             /* of a Langevin chain that moves the samples; 0: they stay */
    const double *step_lengths; /* (n_step_lengths): 1 or D */
    size_t n_step_lengths;
};

struct ebm_client_density_request {
    struct ebm_client_rows rows;
    const double *targets; /* (rows.n_rows, n_targets, D) */
    size_t n_targets, D;
    double grid_lower, grid_upper; /* instead of targets */
    uint64_t grid_points;          /* 0: no grid */
    const char *const *outputs;
    size_t n_outputs;
};

struct ebm_client_refine_request {
    struct ebm_client_rows rows; /* without estimator and draws */
    const double *initial;       /* (rows.n_rows, n_initial, D) starts; NULL: draws of the proposal */
    size_t n_initial, D;
    uint64_t starts, steps;
    const double *step_lengths; /* (n_step_lengths): 1 or D */
    size_t n_step_lengths;
    double decay;
    bool with_trajectory;
};

/* ---- answers ---- */

/* Arrays that were not asked for, or that this kind of request does not have, are NULL. B = n_rows. */
struct ebm_client_answer {
    const char *model, *id; /* id NULL: none was sent */
    uint64_t version, seed;
    size_t n_rows, D, n_quantiles, n_intervals, n_samples, n_targets, n_cdf, n_crps;

    double *mean, *std, *variance, *median;  /* (B, D) */
    double *probabilities;                   /* (n_quantiles) */
    double *quantiles;                       /* (B, n_quantiles, D) */
    const char *interval_kind;               /* NULL: no intervals */
    double interval_level;                   /* 0: no intervals */
    double *interval_lower, *interval_upper; /* (B, n_intervals, D); NAN where a row has fewer than n_intervals. Of an
                                              * angle lower > upper: over the seam */
    double *covariance;                      /* (B, D, D) */
    double *entropy;                         /* (B) nats, of the density per unit of the target */
    double *cdf;                             /* (B, n_cdf) */
    double *crps;                            /* (B, n_crps) */
    double *mode;                            /* (B, D) of a refinement too */
    double *samples;                         /* (B, n_samples, D) */
    double *log_weights;                     /* (B, n_samples) */
    double *targets;                         /* (B, n_targets, D) */
    double *unnormalized_log_prob;           /* (B, n_targets) */
    double *log_prob, *proposal_log_prob;    /* (B, n_targets) */
    double *log_normalizer;                  /* (B) */
    double *log_normalizer_std_error;        /* (B) */

    /* of a refinement, which has no diagnostics */
    double *mode_log_prob; /* (B) unnormalized_log_prob at the mode */
    bool *converged;       /* (B) */
    uint64_t *steps;       /* (B) */
    size_t n_places;       /* 1 + the most steps; 0: no trajectory */
    double *trajectory;    /* (B, n_places, D) NAN behind a row's steps + 1 places */

    /* diagnostics */
    const char **estimator;               /* (B) "exact", "quadrature", "importance", "mixture" */
    uint64_t *num_samples;                /* (B) draws; 0: nothing was drawn */
    double *ess, *ess_ratio, *max_weight; /* (B) NULL: nothing was drawn; NaN in rows without draws */
    double *mcse_mean;                    /* (B, D) the same */
    double *acceptance_rate;              /* (B) NULL: no samples moved */
    double *pareto_k;                     /* (B) the same; NaN: the tail has no fit */
    double *pieces;                       /* (B) that were integrated; NULL: nothing was; NaN in rows without */
    double *support;                      /* (B, 2) ends of what was integrated, NaN: without end; NULL: nothing was */
    size_t n_ends;                        /* 2 with support */
    bool *proper;                         /* (B) false: only recorded bounds make the integral finite */
    bool *reliable;                       /* (B) */
    const char **reason;                  /* (B) NULL: none */
    bool draws_ignored;                   /* num_samples or num_proposals was sent, and the estimator draws nothing */

    struct ebm_client_memory *memory; /* everything above lies there */
};

struct ebm_client_model_entry {
    const char *name;
    uint64_t version;
    bool available;
    const char *reason; /* why not; NULL: none */
};

struct ebm_client_models { /* GET / */
    const char *server;    /* "ebm-server" */
    struct ebm_client_model_entry *models;
    size_t n_models;
    const char **routes;
    size_t n_routes;
    struct ebm_client_memory *memory;
};

struct ebm_client_model { /* GET /v2/models/M */
    const char *name, *platform;
    const char **versions;
    size_t n_versions;
    size_t n_inputs, D;
    const char **input_names, **target_names; /* (n_inputs), (D); NULL: the model has none */
    struct ebm_client_memory *memory;
};

enum ebm_client_status ebm_client_predict(struct ebm_client *client, const struct ebm_client_predict_request *request,
                                          struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr);
enum ebm_client_status ebm_client_sample(struct ebm_client *client, const struct ebm_client_sample_request *request,
                                         struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr);
enum ebm_client_status ebm_client_density(struct ebm_client *client, const struct ebm_client_density_request *request,
                                          struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr);
enum ebm_client_status ebm_client_refine(struct ebm_client *client, const struct ebm_client_refine_request *request,
                                         struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr);
void ebm_client_answer_done(struct ebm_client_answer *answer); /* zeroed is fine */

enum ebm_client_status ebm_client_list_models(struct ebm_client *client, struct ebm_client_models *ret_models,
                                              struct ebm_client_error *reterr);
void ebm_client_models_done(struct ebm_client_models *models);
enum ebm_client_status ebm_client_get_model(struct ebm_client *client, const char *name,
                                            struct ebm_client_model *ret_model, struct ebm_client_error *reterr);
void ebm_client_model_done(struct ebm_client_model *model);

/* Probes; asked once. live: does the process answer? ready: are models loaded? REFUSED with 503 when not. */
enum ebm_client_status ebm_client_live(struct ebm_client *client, struct ebm_client_error *reterr);
enum ebm_client_status ebm_client_ready(struct ebm_client *client, struct ebm_client_error *reterr);

#ifdef __cplusplus
}
#endif

#endif
