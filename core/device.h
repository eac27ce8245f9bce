/* device.h - the coarse table: what a model may ask of hardware.
 *
 * Fused CPU code and a GPU implement this table; it owns packed weights, workspaces and streams. On a CPU it is built
 * from the fine table of kernels (device_generic.c over kernels.h).
 *
 *   plan   immutable while it serves, counted: one per (model version, device): weights as this hardware wants them
 *   ctx    one per worker: all memory and handles; one thread at a time
 *
 * Behind one table may be several devices, all alike: a plan is on each, a ctx on one.
 *
 * An image goes through the network's trunk first: a part of features when a plan serves, a batch at a time in
 * training. A prediction is features -> propose -> score -> estimate -> fetch; `predict` does all of it for a batch.
 * Calls enqueue and return; results in host memory are valid after `sync`. A CPU is always synchronous.
 * Nothing is allocated after ctx_prepare and, in training, train_prepare. Nothing of size B x M x width is ever
 * materialised. Pointers named h_ are host memory. Shapes: B rows, M samples, D target dimensions, K components, H
 * features, X numbers of an input, P parameters. Everything is standardised: units are models' business.
 *
 * Same seed, same bytes: what a row gets depends on the plan, the row's input, its struct ebm_row and its spec, never
 * on the other rows of the batch, the position in it, the thread or the load. */
#ifndef EBM_CORE_DEVICE_H
#define EBM_CORE_DEVICE_H

#include "core/limits.h"
#include "core/net_desc.h"
#include "core/rng.h"
#include "core/status.h"

#define EBM_DEVICE_ABI 4u

struct ebm_plan;
struct ebm_ctx;

struct ebm_ctx_limits {
    uint32_t max_rows;    /* B of features and predict */
    uint32_t max_samples; /* M of one row */
    bool training;        /* backward will be called: keep activations of one row */
    uint32_t device;      /* below the table's n_devices */
};

/* EXACT and QUADRATURE: D = 1, no draws (core/scalar.h). EXACT needs linear layers with relu or identity on the
 * target's way; beyond the plan's limit of pieces it answers by QUADRATURE, and says so in the estimate. */
enum ebm_estimator { EBM_ESTIMATE_IMPORTANCE, EBM_ESTIMATE_MIXTURE, EBM_ESTIMATE_EXACT, EBM_ESTIMATE_QUADRATURE };

/* How importance sampling draws: words of Philox, or one scrambled Sobol set in D + 1 dimensions, whose first
 * coordinate picks the component; M is rounded up to 8, 16, 32, ..., and the spread of 8 parts is the error estimate.
 */
enum ebm_draw_scheme { EBM_SCHEME_INDEPENDENT, EBM_SCHEME_SOBOL };

/* Draws to give out. FAIR: n_draws independent draws of p: importance chooses among its own by their weights, with
 * replacement; a mixture draws them. WEIGHTED: importance's own, all of them, with their weights. */
enum ebm_draws { EBM_DRAWS_NONE, EBM_DRAWS_FAIR, EBM_DRAWS_WEIGHTED };

#define EBM_MAX_PROBABILITIES (LIMIT_QUANTILES + 3u) /* quantiles, the median, two ends of an interval */
#define EBM_MAX_INTERVALS LIMIT_INTERVALS            /* of one highest-density region */

/* Moves of targets on f(x, .), each target by itself, one forward and one backward pass in y a step. Bounded targets
 * stay inside, periodic ones are wrapped. Borrows the lengths until the call returns. */
struct ebm_moves {
    uint32_t steps;
    const double *step_length; /* (D), > 0 */
    double decay;              /* of ascent, in (0, 1): what a refused step leaves of a start's lengths, for good */
};

/* What to compute for a row. Borrows the probabilities until the call returns. */
struct ebm_estimate_spec {
    enum ebm_estimator estimator; /* importance needs energy and proposal, mixture the proposal */
    uint32_t n_probabilities;     /* at most EBM_MAX_PROBABILITIES */
    const double *probabilities;  /* each in (0, 1) */
    enum ebm_draws draws;
    uint32_t n_draws;            /* of EBM_DRAWS_FAIR; with mixture at most the context's max_samples */
    enum ebm_draw_scheme scheme; /* of importance */
    double defensive;            /* of importance: share of a wide Gaussian mixed into the proposal, 0: none */
    double target_ess;           /* of importance: `samples` are doubled until ess reaches it; 0: they are not */
    uint32_t max_samples;        /* then at most so many draws */
    bool smooth_weights;         /* of importance: PSIS replaces the largest weights */
    bool or_importance;          /* of exact and quadrature: predict answers by importance, where there is a proposal
                                  * and the integral over a side without a recorded end is infinite */
    double region_level;         /* in (0, 1): mass of a highest-density region, D = 1; 0: not wanted */
    const struct ebm_moves *langevin; /* of EBM_DRAWS_FAIR, with an energy net: the draws then take these many
                                       * Metropolis-adjusted Langevin steps on p; NULL: none */
};

/* One row's answer, in standardised units. The caller gives the arrays; NULL where it does not want one.
 * status: OK, CANCELLED (no longer wanted), or INVALID (the network gave no finite number; all numbers are NaN). */
struct ebm_estimate {
    enum ebm_status status;
    double *mean;       /* (D) */
    double *variance;   /* (D), >= 0 */
    double *covariance; /* (D, D) */
    double *mcse_mean;  /* (D), Monte Carlo standard error of the mean; 0 without draws */
    double *quantiles;  /* (n_probabilities, D): the smallest y with cumulative weight >= p, per coordinate */
    double *mode;       /* (D): where the density is highest; by draws, the best of them */
    double *entropy;    /* 1 number, of the standardised density, nats */
    double *region;     /* (EBM_MAX_INTERVALS, 2): lower and upper end of each interval, ascending */
    uint32_t n_intervals;
    double *cdf, *crps; /* (task's n_at): at its points; D = 1 */
    double log_z;       /* of the standardised density; 0 for mixture */
    double log_z_std_error;
    double ess;        /* effective samples, 1 .. M; 0 without draws */
    double max_weight; /* largest normalised weight; 0 without draws */
    double pareto_k;   /* shape of the largest weights' tail; NaN with fewer than 25 draws, or without */
    uint32_t samples;  /* draws that the answer rests on; 0 without */
    double acceptance; /* share of Langevin steps that were accepted */
    uint32_t pieces;   /* of exact: pieces of f; of quadrature: panels */
    bool proper;       /* false: only the recorded support makes the integral finite */
    double support[2]; /* D = 1: where the density lives; of exact and quadrature what was integrated. Maybe infinite */
    enum ebm_estimator used;
    float *draws;       /* (n_draws, D) fair, (M, D) weighted */
    float *log_weights; /* (M), normalised; of weighted draws */
};

/* Gradient ascent on f(x, .) from the n_starts starts of highest f among the task's n_y targets, or among row.samples
 * draws when n_y is 0: y' = y + lambda * step_length * grad_y f, taken when f does not fall, else lambda *= decay.
 * A start has converged, and stops, where the slope along every coordinate that is free to move is at most
 * EBM_ASCENT_TOLERANCE, or where a step that short was refused. Needs an energy net. The caller gives the arrays. */
#define EBM_ASCENT_TOLERANCE 1e-3 /* standardised: nats per unit, and units */
struct ebm_ascent {
    struct ebm_moves moves;
    uint32_t n_starts; /* 1 .. candidates; at most LIMIT_STARTS unless all n_y targets start */
    float *h_y;      /* (n_starts, D) where they came to; in the order of the targets when all start, else best first */
    float *h_f;      /* (n_starts); no less than at the start; NaN: the network gave no finite number there */
    uint32_t *steps; /* (n_starts) taken, refused ones counted */
    bool *converged; /* (n_starts) */
    float *h_path;   /* (n_starts, moves.steps + 1, D): after every step taken, the start first; NULL: not wanted */
};

/* One row of a batch that is predicted. `wanted` and `hurried` (may be NULL) are asked between tiles, on the calling
 * thread. A row that is hurried draws no further for importance, once it has a tile: its answer is that of `samples`
 * being what out->samples says, to the byte.
 * With n_y > 0 its density is taken at given targets too, n_y at most the context's max_samples. */
struct ebm_task {
    struct ebm_row row;
    const struct ebm_estimate_spec *spec;
    struct ebm_estimate *out;
    uint32_t n_y;
    const float *h_y;                /* (n_y, D) */
    float *h_f;                      /* (n_y); not by mixture */
    float *h_log_q;                  /* (n_y); NaN without a proposal */
    uint32_t n_at;                   /* points at which cdf and crps are wanted; D = 1 */
    const double *h_at;              /* (n_at) */
    const struct ebm_ascent *ascent; /* instead of a prediction: spec is not looked at, out has its status alone (OK
                                      * when a start has a finite f); NULL: a prediction */
    bool (*wanted)(const void *who);
    bool (*hurried)(const void *who);
    const void *who;
};

enum ebm_fetch {
    EBM_FETCH_FEATURES,             /* (H) */
    EBM_FETCH_MIXTURE_MEAN,         /* (D, K) */
    EBM_FETCH_MIXTURE_LOG_VARIANCE, /* (D, K) */
    EBM_FETCH_MIXTURE_LOG_WEIGHT,   /* (K), normalised */
    EBM_FETCH_TARGETS,              /* (M, D), as proposed or given */
    EBM_FETCH_LOG_Q,                /* (M) */
    EBM_FETCH_F,                    /* (M), after score */
    EBM_FETCH_GRAD_Y,               /* (M, D), after score with want_grad_y */
    EBM_FETCH_LOG_WEIGHTS,          /* (M), normalised, after score */
};

/* Training losses of one row; formulas in docs/MATHEMATICS.md. Noise is where their draws come from: FIXED, the mixture
 * of `sigmas` around the true target; PROPOSAL, the proposal; NONE, no density at all. */
enum ebm_noise { EBM_NOISE_NONE, EBM_NOISE_FIXED, EBM_NOISE_PROPOSAL };

#define EBM_LOSS_MAP(X)                                                                                                \
    X(ML_IS, "ml_is", FIXED)                                                                                           \
    X(KLD_IS, "kld_is", FIXED)                                                                                         \
    X(NCE, "nce", FIXED)                                                                                               \
    X(NCE_PLUS, "nce_plus", FIXED)                                                                                     \
    X(ML_MCMC, "ml_mcmc", NONE)                                                                                        \
    X(SM, "sm", NONE)                                                                                                  \
    X(DSM, "dsm", FIXED)                                                                                               \
    X(ML_EXACT, "ml_exact", NONE)                                                                                      \
    X(NCE_KL, "nce_kl", PROPOSAL)                                                                                      \
    X(JOINT, "joint", PROPOSAL)                                                                                        \
    X(KL_PROPOSAL, "kl_proposal", PROPOSAL)                                                                            \
    X(MDN_NLL, "mdn_nll", PROPOSAL)                                                                                    \
    X(MDN_KL_TEACHER, "mdn_kl_teacher", PROPOSAL)

enum ebm_loss {
#define X(name, word, noise) EBM_LOSS_##name,
    EBM_LOSS_MAP(X)
#undef X
};

/* Borrows its arrays. All standardised; what a loss does not read may be anything. */
struct ebm_loss_spec {
    enum ebm_loss loss;
    uint32_t samples;           /* M draws a row; ignored by sm, ml_exact and mdn_nll */
    uint32_t n_sigmas;          /* fixed noise: components; of dsm one */
    const float *sigmas;        /* (n_sigmas, D) */
    const float *label_sigma;   /* (D), of kld_is: width of the density that the true target is taken for */
    double beta;                /* of nce_plus: the true target is moved by noise whose sigmas are so much narrower */
    uint32_t langevin_steps;    /* of ml_mcmc: L, at least 1 */
    const float *langevin_step; /* (D): a */
    bool proposal_beside;       /* the proposal is trained too, by kl_proposal with draws of its own: any loss whose
                                   noise is not PROPOSAL */
    bool proposal_trains_features; /* the proposal's gradient reaches the feature net */
    double scale;                  /* of the gradient: 1 / rows of the whole batch */
};

/* Rows to train on; h_samples (B, M, D) replaces the draws (of ml_mcmc: the ends of the chains), NULL draws them from
 * rows[b]; h_label_noise (B, D) likewise, by how much nce_plus moves the true target. */
struct ebm_train_rows {
    uint32_t B;
    const float *h_x; /* (B, X); of images (B, trunk.out), features that were kept. NULL: the features that the last
                       * trunk_forward left of its images `first` .. first + B - 1; where it learns, the gradient in
                       * them, times scale, is left for trunk_backward: = of each image, which is in one chunk alone */
    uint32_t first;
    const float *h_y;           /* (B, D) */
    const float *h_samples;     /* (B, M, D) or NULL */
    const float *h_label_noise; /* (B, D) or NULL */
    const struct ebm_row *rows; /* (B); NULL when all that is drawn is given */
};

/* Who does tasks 0 .. n - 1, in any order, each on a thread with a context of its own, and returns after the last. */
struct ebm_threads {
    void (*run)(void *pool, void (*task)(void *user, uint32_t i, struct ebm_ctx *ctx), void *user, uint32_t n);
    void *pool;
    uint32_t n; /* threads, at least 1 */
};

struct ebm_adam {
    double learning_rate, beta1, beta2, epsilon;
    uint64_t step[EBM_PARTS]; /* steps taken by each part including this one; 0: the part is not updated */
};

/* What bounds a launch's time, beside memory: the numbers it computes with; of a copy between host and device the link.
 */
enum ebm_launch_kind { EBM_LAUNCH_FP32, EBM_LAUNCH_TF32, EBM_LAUNCH_BF16, EBM_LAUNCH_FP64, EBM_LAUNCH_COPY };

/* All launches of one name in a batch. flop, bytes: what they have to do at least, bytes those of the device's memory
 * that each launch by itself must read or write, of a copy those that go over the link. */
#define EBM_LAUNCH_NAME_BYTES 40u
struct ebm_launch_times {
    char name[EBM_LAUNCH_NAME_BYTES]; /* of the kernel; of a product or convolution its shape, too */
    enum ebm_launch_kind kind;
    uint32_t launches;
    double flop, bytes, seconds;
};

enum ebm_train_state { EBM_TRAIN_PARAMS, EBM_TRAIN_ADAM_M, EBM_TRAIN_ADAM_V, EBM_TRAIN_GRADIENT };

struct ebm_device_ops {
    uint32_t abi, bytes; /* EBM_DEVICE_ABI and sizeof(struct ebm_device_ops): a plug-in that differs is refused */
    const char *name;
    uint32_t n_devices; /* at least 1; a row's bytes are the same on each. Plans in training are on the first */
    uint32_t device_numbers[LIMIT_DEVICES]; /* (n_devices), as whoever has chosen them knows them */
    double slack; /* error of f beside that of float, relative to f's range: of inputs that are rounded; 0 on a CPU */

    /* Weights for this device, from params (P); copies what it needs. New: plan_unref. With n_slots > 0 the plan can be
     * trained: it has n_slots gradient buffers and Adam's moments. plan_ref and plan_unref: any thread. */
    enum ebm_status (*plan_new)(const struct ebm_net_desc *net, const float *h_params, uint32_t n_slots,
                                struct ebm_plan **ret_plan, struct ebm_error *reterr);
    struct ebm_plan *(*plan_ref)(struct ebm_plan *plan);
    struct ebm_plan *(*plan_unref)(struct ebm_plan *plan); /* NULL is fine; returns NULL */
    /* Rows that take little longer together than half as many by themselves: what a batch is best a multiple of. 1: any
     * number does. Answers do not depend on it. */
    uint32_t (*plan_group)(const struct ebm_plan *plan);

    enum ebm_status (*ctx_new)(const struct ebm_ctx_limits *limits, struct ebm_ctx **ret_ctx, struct ebm_error *reterr);
    /* Allocates all that this plan will need on this ctx. Once per plan, before its first use; keeps nothing of it. */
    enum ebm_status (*ctx_prepare)(struct ebm_ctx *ctx, const struct ebm_plan *plan, struct ebm_error *reterr);
    struct ebm_ctx *(*ctx_free)(struct ebm_ctx *ctx); /* NULL is fine; returns NULL */
    enum ebm_status (*sync)(struct ebm_ctx *ctx);

    /* x side of B rows: features, the x part of the first energy layer, mixture parameters. They stay until the next
     * call. */
    enum ebm_status (*features)(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x, uint32_t B);
    /* Targets for row b of the last features call: draws of `row` when h_y is NULL, else h_y (row->samples, D); and
     * their log q when there is a proposal. They stay until the next propose. */
    enum ebm_status (*propose)(struct ebm_ctx *ctx, uint32_t b, const struct ebm_row *row, const float *h_y);
    /* f at the targets of the last propose and, when asked, its gradient in y. */
    enum ebm_status (*score)(struct ebm_ctx *ctx, bool want_grad_y);
    /* The answer of `spec` for the row last proposed (and scored, unless mixture). */
    enum ebm_status (*estimate)(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out);
    /* features, propose, score and estimate for B rows, and f and log q at their targets; every out->status is set. */
    enum ebm_status (*predict)(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                               const struct ebm_task *tasks, uint32_t B);
    /* What a predict of these rows launches, by the device's own clock; NULL on a CPU. Each launch comes by itself,
     * without graphs, so that their sum is not a batch's time: seconds are medians of `runs` batches after one that
     * does not count. The first one, "nothing", is what measuring adds to each. In the order of their first launches;
     * TOO_LARGE where `room` is too small for all. Allocates. */
    enum ebm_status (*profile)(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                               const struct ebm_task *tasks, uint32_t B, uint32_t runs,
                               struct ebm_launch_times *ret_times, uint32_t room, uint32_t *ret_n);
    /* Copies a result of row b (targets and what belongs to them: of the row last proposed, b ignored). */
    enum ebm_status (*fetch)(struct ebm_ctx *ctx, enum ebm_fetch what, uint32_t b, float *h_dst);

    /* Makes anew what is derived of the weights (the kinks of EXACT and ml_exact), after update or params_write; nobody
     * else uses the plan meanwhile. Until it is called EXACT and ml_exact go by quadrature: right, but slower. */
    enum ebm_status (*refresh)(struct ebm_plan *plan);
    /* Training; NULL where a device does not train. prepare: memory for chunks of at most max_rows rows by such a loss;
     * after ctx_prepare, for several losses one after the other. NO_MEMORY where a device has less. What is not
     * prepared for, and draws that are given, take theirs with the first chunk. */
    enum ebm_status (*train_prepare)(struct ebm_ctx *ctx, const struct ebm_plan *plan, const struct ebm_loss_spec *spec,
                                     uint32_t max_rows, struct ebm_error *reterr);
    /* Losses (B) of the rows, and their gradient times spec->scale added into gradient buffer `slot`. Several ctx may
     * run this at once on one plan, each with a slot of its own. */
    enum ebm_status (*backward)(struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                                const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows, double *h_loss);
    /* The trunk in training, a batch at a time on one plan; NULL where a device does not train. prepare: memory for
     * max_rows images, before contexts are prepared. forward: features (B, trunk.out) of B images, norms by the batch's
     * statistics, which move the running ones; they stay in the plan, for chunks of `backward`, until it is asked for
     * other features. Faster unless it learns, but then no gradient in them is left and no trunk_backward follows.
     * run: features h_out (B, trunk.out) of any number of images by the running statistics, as `features` computes
     * them. backward: from the gradient in the features, which chunks of all images left, that of the trunk's tensors,
     * = into the gradient. The same bytes for any threads. */
    enum ebm_status (*trunk_prepare)(struct ebm_plan *plan, uint32_t max_rows, struct ebm_error *reterr);
    enum ebm_status (*trunk_forward)(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x,
                                     uint32_t B, bool learns);
    enum ebm_status (*trunk_run)(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x, uint32_t B,
                                 float *h_out);
    enum ebm_status (*trunk_backward)(struct ebm_plan *plan, const struct ebm_threads *threads);
    /* Sum of the slots 0 .. n_slots - 1, in that order, into the gradient, for parameters of `range`; the slots become
     * 0. The trunk's tensors, whose gradient trunk_backward left there, are passed over. */
    enum ebm_status (*reduce)(struct ebm_plan *plan, uint32_t n_slots, struct ebm_range range);
    /* One Adam step on the parameters of `range`. Ranges of one step may run on several threads; for the same bytes
     * whatever the ranges are, cut at multiples of 16 parameters. */
    enum ebm_status (*update)(struct ebm_plan *plan, const struct ebm_adam *adam, struct ebm_range range);
    /* Copies (P) numbers out of, or into, the plan. */
    enum ebm_status (*params_read)(const struct ebm_plan *plan, enum ebm_train_state what, float *h_dst);
    enum ebm_status (*params_write)(struct ebm_plan *plan, enum ebm_train_state what, const float *h_src);
};

/* The CPU: kernels chosen for this machine at the first call. Borrow: static. Any thread. */
const struct ebm_device_ops *ebm_device_cpu(void);
/* The CPU by the reference kernels alone: slow, obvious, the truth. For tests. Borrow: static. */
const struct ebm_device_ops *ebm_device_reference(void);

/* Once, first thing in every worker thread: one BLAS thread, and what else a library keeps per thread. */
void ebm_device_thread_init(void);

#endif
