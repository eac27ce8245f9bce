/* device_internal.h - what the files of the generic device share. Private to core.
 *
 *   device_plan.c      the plan: weights, training state, the position self-test
 *   device_nets.c      layers forward and backward, and their memory
 *   mixture.c          a row's mixture, ready for the kernels
 *   device_generic.c   the context: x side, draws, scores; the table
 *   device_importance.c   estimates by weighted draws
 *   device_ensemble.c  several networks of one shape answer as one density
 *   device_refine.c    targets that climb or wander on f
 *   device_trunk.c     images: the trunk before the x side, served and trained (trunk.h, trunk_train.h)
 *   device_train.c     the backward pass of a chunk of rows; its other files: train_internal.h
 *   cuda/              another device: this one, whose contexts have an accelerator for the hot part
 *
 * Lanes: see kernels.h. The x side runs tiles of EBM_LANES rows, the sample side tiles of EBM_TILE samples of one row.
 */
#ifndef EBM_CORE_DEVICE_INTERNAL_H
#define EBM_CORE_DEVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/circle.h"
#include "core/device.h"
#include "core/kernels.h"
#include "core/exact.h"
#include "core/quadrature.h"
#include "core/quantile.h"
#include "core/trunk.h"
#include "core/trunk_still.h"
#include "core/trunk_train.h"
#include "core/weighted.h"

#define EBM_TANGENT_BUFFERS 9u  /* tangents.c: two more of da, dz and dx; three derivatives of the activation */
#define EBM_PLAN_KNOTS 8192u    /* of f(x, .): with more of them quadrature answers */
#define EBM_SEGMENT_LANES 1024u /* of ml_exact by segments; a table with more goes node by node */
#define EBM_TILE 128u           /* 512 x 128 floats of a wide layer stay in L2 */

/* What a row's draws and weights come to, for importance: sums that need not be made on the CPU. Weights w are relative
 * to exp(max), with max the largest f - log q; what the task does not ask for may be anything. */
struct ebm_row_sums {
    double max;                  /* NaN: the network gave no finite number, and nothing else counts */
    double sum, squares, energy; /* of w, w^2, and w f */
    const double *parts;         /* (EBM_SOBOL_PARTS) sums of w over parts of consecutive draws; of Sobol points */
    const double *coordinates;   /* (D, EBM_SUMS): enum ebm_sum, and behind it the parts' sums of w (y - mean) */
    const double *covariance;    /* (D, D), of which the lower triangle counts */
    const double *quantiles;     /* (n_probabilities, D) */
    const float *tail, *draws;   /* (n_tail) weights above the cutoff, as they lie; (n_draws, D) fair ones */
    uint32_t n_tail;
    float cutoff;
};
enum ebm_sum { EBM_SUM_MEAN, EBM_SUM_VARIANCE, EBM_SUM_SQUARED_ERROR, EBM_SUM_MODE, EBM_SUM_PARTS };
#define EBM_SUMS ((uint32_t)EBM_SUM_PARTS + EBM_SOBOL_PARTS)

/* What a piecewise linear f comes to, of a task that asks for no more than this. */
struct ebm_exact_answer {
    struct ebm_scalar_summary summary;
    const double *quantiles; /* (n_probabilities) */
    const float *draws;      /* (n_draws) */
};

/* Hardware beside the CPU that does the hot part of a context's work; all else, and whatever it does not do, is done
 * here. NULL on a CPU. The functions are called on the context's thread. */
struct ebm_accelerator {
    /* The x side of x (B, X), of images with their trunk, into h, hx and, with K > 0, the mixtures. False: it failed.
     */
    bool (*features)(struct ebm_ctx *ctx, const float *h_x, uint32_t B);
    /* These rows come next, in this order: work may begin. The tasks stay until the next call, or one with B = 0. */
    void (*expect)(struct ebm_ctx *ctx, const struct ebm_task *tasks, uint32_t B);
    /* Targets, log q and f of the row begun from sample `at` on, a multiple of EBM_TILE: draws, or with is_given f
     * alone of what lies in y. Up to where they are done, at most M rounded up to whole tiles; 0: it failed. */
    size_t (*score)(struct ebm_ctx *ctx, enum ebm_draw_scheme scheme, size_t at, bool is_given);
    /* What the draws of the row begun come to, where they were expected and that is all that its task asks for; it
     * stays until the next call. False: the draws are to be asked for. */
    bool (*sums)(struct ebm_ctx *ctx, struct ebm_row_sums *ret_sums);
    /* The exact answer for the row begun, where it was expected; it stays until the next call. False: it is to be found
     * here. */
    bool (*exact)(struct ebm_ctx *ctx, struct ebm_exact_answer *ret_answer);
    bool has_failed; /* for good: the device's calls return EBM_DEVICE */
};

/* What the trunk made of the last batch in training, and the gradient of its losses in that. Where an accelerator
 * trains the trunk, it has both, and here are those of chunks that are computed here. */
struct ebm_trunk_batch {
    uint32_t max_rows, B; /* B: images of the last trunk_forward whose features are there */
    bool learns;          /* it was called to */
    float *h, *dh;        /* (max_rows, trunk.out) */
};

struct ebm_plan {
    _Atomic uint32_t references;
    const struct ebm_kernels *kernels;
    struct ebm_net_desc net; /* its layers lie in `layers`, its support in `support`, its trunk's in `image_ops` */
    struct ebm_layer *layers;
    struct ebm_image_op *image_ops;
    struct ebm_trunk_plan *trunk; /* of images; NULL: of vectors, and in an ensemble the members' */
    _Atomic bool trunk_is_stale;  /* it is of older weights: the next features load it anew, under the mutex */
    pthread_mutex_t trunk_mutex;
    struct ebm_trunk_batch *trunk_batch; /* after trunk_prepare */
    struct ebm_trunk_train *trunk_train; /* likewise, unless an accelerator trains the trunk */
    struct ebm_trunk_still *trunk_still; /* likewise, but of the reference device */
    _Atomic bool still_is_stale;         /* it is of older weights */
    struct ebm_support *support;         /* (D) */
    float *params;                       /* (P) */
    uint32_t x_tile;     /* rows in a tile of the x side: EBM_LANES, fewer if a row's bytes depend on its place */
    uint32_t energy_out; /* outputs of the first energy layer, 0 without an energy net */
    uint32_t widest_x, widest_y;   /* numbers a lane of the largest input or output on each side */
    struct ebm_exact_table *exact; /* f piecewise linear; NULL: it is not, or has too many pieces */
    _Atomic bool is_stale;         /* the table is of older weights */
    bool is_bounded;               /* f stays bounded however far y goes: improper on the whole line */
    uint32_t n_slots;              /* 0: not for training */
    float *gradient;               /* (P), and behind it the slots' numbers */
    float *slots;                  /* gradients of chunks: ebm_plan_slot */
    float *adam_m, *adam_v;        /* (P) */
    uint32_t n_members;            /* of an ensemble; 0: a single network */
    struct ebm_plan **members;     /* (n_members): plans of one network each. The ensemble has no params of its own,
                                      and net.K counts the components of all members */
    void *accelerated;             /* the weights where an accelerator wants them, of a plan in training its moments
                                      and gradients, too; NULL: the CPU computes */
    void (*free_accelerated)(void *accelerated);
    /* reach (B, trunk.out) of images by the running statistics, where an accelerator trains the trunk. Any thread.
     * NULL: the CPU computes it. */
    enum ebm_status (*reach_there)(const struct ebm_plan *plan, const float *h_x, uint32_t B, float *reach);
};

/* Gradients that chunks leave in slot `slot`: numbers (P), of which those of the trunk's learned tensors, the first,
 * have no place: they are a batch's, not a chunk's, and go into plan->gradient. */
static inline size_t ebm_plan_slot_count(const struct ebm_plan *plan)
{
    return plan->net.n_params - plan->net.trunk.learned.count;
}

static inline float *ebm_plan_slot(const struct ebm_plan *plan, uint32_t slot)
{
    return plan->slots + slot * ebm_plan_slot_count(plan);
}

/* A buffer of floats that only ctx_prepare grows. */
struct ebm_slab {
    float *p;
    size_t count;
};

/* Lanes of activations of one net: for every layer its output and, where the derivative needs it, z. */
struct ebm_tape {
    float *a[LIMIT_LAYERS], *z[LIMIT_LAYERS];
};

/* Activations of a chunk's x side. */
struct ebm_x_tapes {
    struct ebm_tape feature, own, mean, log_variance, weight;
};

struct ebm_train_space {
    struct ebm_x_tapes x_tapes;
    struct ebm_slab x_tape, y_tape; /* activations of a chunk's x side, of one row's sample side */
    struct ebm_slab dhx, dh, down, dmean, dlog_variance, dlogit; /* (n, lanes of the chunk); down: of own features */
    struct ebm_slab df, dlog_q, scratch;                         /* (M + 1 padded) */
    struct ebm_slab da, dz, dx;                                  /* (widest, lanes) */
    struct ebm_slab noise, label; /* arrays of fixed mixtures: the noise, and what narrows or moves the true target */
    struct ebm_slab log_label;    /* (M + 1 padded) */
    struct ebm_slab moves;        /* (D, EBM_TILE) */
    struct ebm_slab curve;        /* TANGENT_BUFFERS times (widest, EBM_TILE) */
    struct ebm_slab sums_u;       /* (2 energy_out, EBM_SEGMENT_LANES) and (energy_out): ml_exact by segments */
    struct ebm_slab middle;       /* the target net at EBM_SEGMENT_LANES segments, values and derivatives */
    double *sums;                 /* (2 D K + K) gradient of one row's mixture */
    size_t n_sums;
};

/* A piecewise linear log density of a member: knots ascending, slopes beyond them. */
struct ebm_line {
    uint32_t n; /* 0: the network is asked */
    double left, right;
    double y[EBM_PLAN_KNOTS], f[EBM_PLAN_KNOTS];
};

struct ebm_ctx {
    const struct ebm_kernels *kernels;
    struct ebm_ctx_limits limits;
    size_t stride; /* between coordinates of y: max_samples + 1, or what Sobol makes of it, in whole tiles */

    /* the last features */
    const struct ebm_plan *plan;
    uint32_t B;
    bool has_mixtures;                                     /* of these rows, or there are none */
    struct ebm_slab h, hx, mean, log_variance, log_weight; /* (B, H), (B, energy_out), (B, D, K) twice, (B, K) */
    struct ebm_slab x_lanes, h_lanes, x_a, x_b;            /* one tile */
    struct ebm_slab reach, trunk_space; /* of images: what trunks make of them (B, trunk.out), and their memory */

    /* the last propose: row b, M targets */
    uint32_t b, M;
    struct ebm_row row;
    bool is_scored, has_gradient;
    bool has_density; /* the row's mixture is bound and finite, or there is none */
    struct ebm_mixture mixture;
    struct ebm_slab mixture_space;
    struct ebm_slab y, grad_y;                                        /* (D, stride) */
    struct ebm_slab log_q, f, s, w;                                   /* (stride) */
    struct ebm_slab tile_y, tile_a, tile_b, tile_tape, tile_residual; /* one tile */
    struct ebm_slab walk;               /* (3 D + 1, EBM_TILE): where moving targets are */
    uint64_t *pairs;                    /* (4, stride) for sorting */
    const struct ebm_task *task;        /* that predict works on; NULL when its steps are called one by one */
    struct ebm_panels panels;           /* of D = 1 */
    struct ebm_exact_space *exact;      /* of plans with a table */
    struct ebm_slab wide;               /* the parameters of a mixture with one component more */
    struct ebm_slab joined;             /* the parameters of a row's mixture of all members of an ensemble */
    struct ebm_slab member_f;           /* (members, stride) f of each */
    double member_log_z[LIMIT_MEMBERS]; /* of the row last settled */
    struct ebm_line *lines;             /* (n_lines): piecewise linear f of each, D = 1 */
    uint32_t n_lines;
    struct ebm_sobol sobol;
    uint32_t words[EBM_SOBOL_DIMS * EBM_TILE]; /* (D + 1, EBM_TILE) */

    struct ebm_accelerator *accelerator; /* borrow: of whoever made the context; NULL: none */
    struct ebm_train_space train;
};

/* Grows `slab` to `count` floats; what it held is lost. */
bool ebm_slab_reserve(struct ebm_slab *slab, size_t count);

/* Does the derivative of this layer need z besides the output? */
bool ebm_layer_keeps_z(const struct ebm_layer *layer);
/* Floats a lane that a tape of `net` takes; lays the tape out over `lanes` lanes at `base`, returns its end. */
size_t ebm_tape_count(const struct ebm_net *net);
float *ebm_tape_lay(struct ebm_tape *tape, const struct ebm_net *net, float *base, uint32_t lanes);

/* Where the last output lies after a run on `in`: `in` itself when there is no layer. */
static inline const float *ebm_tape_output(const struct ebm_tape *tape, const struct ebm_net *net, const float *in)
{
    return net->n_layers > 0 ? tape->a[net->n_layers - 1] : in;
}

/* The two buffers change places. */
static inline void ebm_swap(float **a, float **b)
{
    float *c = *a;
    *a = *b;
    *b = c;
}

/* Runs layers first .. n of `net` on in (n, lanes). With a tape, keeps everything there; without, uses a and b in turn.
 * Returns where the last output lies; `in` itself when there is no layer left. */
const float *ebm_net_run(const struct ebm_plan *plan, const struct ebm_net *net, uint32_t first, const float *in,
                         uint32_t lanes, const struct ebm_tape *tape, float *a, float *b);

/* Derived arrays of a mixture over `support` (D; NULL: the whole line; borrow) in `space` (ebm_mixture_count floats).
 * False when it holds no finite density. */
bool ebm_mixture_bind(struct ebm_mixture *q, float *space, const float *mean, const float *log_variance,
                      const float *log_weight, const struct ebm_support *support, uint32_t D, uint32_t K);
size_t ebm_mixture_count(uint32_t D, uint32_t K);
/* The same with a component more, which takes `share` of the weight: a Gaussian of the mixture's mean and
 * EBM_DEFENSIVE_WIDTH times its standard deviation in every dimension. raw: (2 D + 1)(K + 1) floats. */
#define EBM_DEFENSIVE_WIDTH 1.5
bool ebm_mixture_defend(struct ebm_mixture *q, float *space, float *raw, const float *mean, const float *log_variance,
                        const float *log_weight, const struct ebm_support *support, uint32_t D, uint32_t K,
                        double share);

/* Normalises logits (K) in double. */
void ebm_log_softmax(float *log_weight, const float *logits, size_t logit_stride, uint32_t K);

/* First energy layer and the rest on one tile: g (G, lanes) -> f. hx (energy_out) of the row; h (H) for a residual. */
const float *ebm_energy_run(const struct ebm_plan *plan, const float *hx, const float *h, const float *g,
                            uint32_t lanes, const struct ebm_tape *tape, float *a, float *b, float *residual);

/* Gradient pass over layers n .. first of a net: da (out, lanes) in space->da is consumed. grads: += parameters, NULL
 * to skip. Leaves the gradient of `in` in space->da when `wants_input`. The three buffers change places. */
struct ebm_backward_space {
    float *da, *dz, *dx; /* (widest, lanes) each */
};
void ebm_net_backward(const struct ebm_plan *plan, const struct ebm_net *net, uint32_t first, const float *in,
                      uint32_t lanes, const struct ebm_tape *tape, float *grads, bool wants_input,
                      struct ebm_backward_space *space);
/* The energy net's backward pass down to g, from df in space->da (1, lanes); dhx (energy_out) += and, when the first
 * layer is residual, dh (H) +=, both unless NULL. Leaves dg (G, lanes) in space->da. */
void ebm_energy_backward(const struct ebm_plan *plan, const float *g, uint32_t lanes, const struct ebm_tape *tape,
                         float *grads, float *dhx, float *dh, struct ebm_backward_space *space);

/* A row's mixture parameters: (D, K) twice and (K). Of an ensemble those of all members. Borrow: of the context. */
struct ebm_row_mixture {
    const float *mean, *log_variance, *log_weight;
};
struct ebm_row_mixture ebm_row_mixture(struct ebm_ctx *ctx, uint32_t b);
/* Those of all rows of the last features, unless they are there. Of a single network. */
void ebm_mixtures(struct ebm_ctx *ctx);

/* device_ensemble.c. Plans of the members; the mixture of row b over all of them. */
enum ebm_status ebm_ensemble_plan(struct ebm_plan *plan, const struct ebm_kernels *kernels,
                                  const struct ebm_device_ops *ops, const struct ebm_net_desc *net,
                                  const float *h_params, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_row_mixture ebm_ensemble_mixture(struct ebm_ctx *ctx, uint32_t b);
/* Where row b of member i lies among the rows of the x side. */
uint32_t ebm_ensemble_row(const struct ebm_ctx *ctx, uint32_t i, uint32_t b);
/* f of every member at targets at .. at + lanes - 1 of the row begun, into member_f. */
void ebm_ensemble_score_lanes(struct ebm_ctx *ctx, size_t at, uint32_t lanes);
/* From member_f and log q of the M draws: every member's log Z, then ctx->f as below. */
void ebm_ensemble_settle(struct ebm_ctx *ctx);
/* ctx->f = log of the mean of the members' densities at the M targets, by member_f and member_log_z. */
void ebm_ensemble_blend(struct ebm_ctx *ctx);
/* Memory that a scalar target of an ensemble takes. */
enum ebm_status ebm_ensemble_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan) EBM_MUST_USE;
/* A scalar target: panels of the members' mean density for the row begun. OK, CANCELLED or INVALID. */
enum ebm_status ebm_ensemble_bind(struct ebm_ctx *ctx) EBM_MUST_USE;
/* Panels of the row begun for f at points given by the caller, split as the row's proposal says and at further points
 * (n, at most EBM_SCALAR_SPLITS). */
#define EBM_SCALAR_SPLITS 448u
enum ebm_status ebm_scalar_bind_fn(struct ebm_ctx *ctx, ebm_quadrature_fn *f, const double *more, uint32_t n)
    EBM_MUST_USE;
/* f at y (n) of the row begun, through the network. */
void ebm_scalar_f(struct ebm_ctx *ctx, const double *y, uint32_t n, double *ret_f);
/* log of the mean of exp of n numbers; NaN when one is. */
double ebm_ensemble_log_mean(const double *values, uint32_t n);

/* rows (count, n) -> lanes (n, L), zeros beyond the last row; and back. */
static inline void ebm_rows_to_lanes(float *lanes, const float *rows, size_t n, uint32_t count, uint32_t L)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t b = 0; b < L; b++)
            lanes[i * L + b] = b < count ? rows[b * n + i] : 0.0f;
}

static inline void ebm_lanes_to_rows(float *rows, const float *lanes, size_t n, uint32_t count, uint32_t L)
{
    for (uint32_t b = 0; b < count; b++)
        for (size_t i = 0; i < n; i++)
            rows[b * n + i] = lanes[i * L + b];
}

/* to (n) += sums over lanes of (n, lanes). */
void ebm_add_lane_sums(float *to, const float *lanes_of, uint32_t n, uint32_t lanes);

/* What the estimators share (device_generic.c). Starts the targets of row b: its mixture is bound, M is row->samples.
 */
void ebm_row_begin(struct ebm_ctx *ctx, uint32_t b, const struct ebm_row *row);
/* The same in two steps; where no mixture is asked for the first one is enough. */
void ebm_row_begin_unbound(struct ebm_ctx *ctx, uint32_t b, const struct ebm_row *row);
void ebm_row_bind(struct ebm_ctx *ctx);
/* Targets at .. at + EBM_TILE - 1 and their log q: draws when h_y is NULL, else h_y (M, D). */
void ebm_row_propose_tile(struct ebm_ctx *ctx, const struct ebm_row *row, const float *h_y, size_t at);
/* f, and its gradient in y, of the same. */
void ebm_row_score_tile(struct ebm_ctx *ctx, size_t at, bool want_grad_y);
/* The same of at .. at + lanes - 1; lanes at most EBM_TILE. */
void ebm_row_score_lanes(struct ebm_ctx *ctx, size_t at, uint32_t lanes, bool want_grad_y);
/* f of the row begun at the targets in ctx->tile_y; tapes and where g lies, unless NULL. Borrow: of the tile. */
const float *ebm_row_run_lanes(struct ebm_ctx *ctx, uint32_t lanes, struct ebm_tape *target, struct ebm_tape *energy,
                               const float **ret_g);
/* Mixes a wide Gaussian into the proposal of the row begun, for its draws and their log q. False: no finite density. */
bool ebm_row_defend(struct ebm_ctx *ctx, double share);
/* Does an accelerator compute this plan's rows, on contexts that have one? */
static inline bool ebm_plan_is_served_there(const struct ebm_plan *plan)
{
    return plan->accelerated != NULL && plan->n_slots == 0;
}

/* The accelerator that computes this plan's rows on this context; NULL: the CPU does. */
static inline struct ebm_accelerator *ebm_ctx_accelerator(const struct ebm_ctx *ctx)
{
    return ebm_plan_is_served_there(ctx->plan) ? ctx->accelerator : NULL;
}
/* dst (M, D) from lanes (D, stride) */
void ebm_row_copy(float *dst, const struct ebm_ctx *ctx, const float *lanes);
/* What an estimate is before its estimator fills it: nothing drawn, no error. */
void ebm_estimate_begin(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out);
/* An estimate without any number: all NaN. */
void ebm_estimate_invalid(const struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out);
bool ebm_task_is_wanted(const struct ebm_task *task);

/* Of the row last proposed and scored, whose mixture is finite. */
void ebm_importance_estimate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out);
/* Draws for the task's row b, as many as it wants, scores them and answers. False: no longer wanted. */
bool ebm_importance_row(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b);
/* Normalised log weights (M) of the same. */
void ebm_importance_log_weights(float *h_dst, const struct ebm_ctx *ctx);

/* The task's ascent on row b; sets out->status. False: no longer wanted. */
bool ebm_ascent_row(struct ebm_ctx *ctx, const struct ebm_task *task, uint32_t b);
/* Moves the fair draws of the row last estimated; sets out->acceptance. False: no longer wanted. */
bool ebm_langevin_draws(struct ebm_ctx *ctx, const struct ebm_task *task);

/* Mean, spread and cut of periodic coordinate d under the weights ctx->w, which sum to `sum`. */
struct ebm_circular ebm_weighted_circular(const struct ebm_ctx *ctx, uint32_t d, double sum);
/* Of the row's draws under these weights, after out->log_z: all but moments of coordinates. */
void ebm_weighted_answer(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, double sum,
                         struct ebm_estimate *out);

/* By the mixture of the row last begun, which is finite; its draws where they are asked for. */
void ebm_mixture_estimate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out);

/* Scalar targets. Memory, once a plan; the answer for the row last begun, status CANCELLED when it is no longer wanted;
 * of the row's mixture what has no closed form: mode, entropy, region, cdf, crps. */
enum ebm_status ebm_scalar_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan) EBM_MUST_USE;
/* Panels of the row last begun: of ctx->b of the last features. Status as ebm_quadrature_run. */
enum ebm_status ebm_scalar_bind_quadrature(struct ebm_ctx *ctx) EBM_MUST_USE;
void ebm_scalar_estimate(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out);
enum ebm_status ebm_scalar_mixture(struct ebm_ctx *ctx, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
    EBM_MUST_USE;

/* device_trunk.c. The trunk of a plan, unless it reads vectors; what it makes of B images: h_x itself of vectors. */
enum ebm_status ebm_plan_trunk(struct ebm_plan *plan, const float *h_params, struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status ebm_reach(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x, uint32_t B,
                          const float **ret_reach) EBM_MUST_USE;
/* Floats of memory that they take on a context; none where an accelerator runs the trunk. After trunk_prepare. */
size_t ebm_reach_space(const struct ebm_plan *plan);

enum ebm_status ebm_train_prepare(struct ebm_ctx *ctx, const struct ebm_plan *plan);
void ebm_train_done(struct ebm_train_space *space);

/* Entries of the table that live outside device_generic.c. */
enum ebm_status ebm_plan_new_with(const struct ebm_kernels *kernels, const struct ebm_device_ops *ops,
                                  const struct ebm_net_desc *net, const float *h_params, uint32_t n_slots,
                                  struct ebm_plan **ret_plan, struct ebm_error *reterr);
struct ebm_plan *ebm_plan_ref(struct ebm_plan *plan);
struct ebm_plan *ebm_plan_unref(struct ebm_plan *plan);
uint32_t ebm_plan_group(const struct ebm_plan *plan);
/* Does f fall far out, as far as the weights alone say? */
bool ebm_plan_falls(const struct ebm_plan *plan);
/* Has the first target dimension a side without an end? */
bool ebm_plan_is_open(const struct ebm_plan *plan);
enum ebm_status ebm_plan_refresh(struct ebm_plan *plan);
/* The table of the weights as they are now, or NULL. Borrow. */
const struct ebm_exact_table *ebm_plan_exact(const struct ebm_plan *plan);
/* Memory of plan->trunk_batch: of a plan that trains a trunk, once. */
enum ebm_status ebm_trunk_batch_new(struct ebm_plan *plan, uint32_t max_rows, struct ebm_error *reterr);
struct ebm_trunk_batch *ebm_trunk_batch_free(struct ebm_trunk_batch *batch); /* NULL is fine; returns NULL */
enum ebm_status ebm_trunk_prepare(struct ebm_plan *plan, uint32_t max_rows, struct ebm_error *reterr);
enum ebm_status ebm_trunk_forward(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x,
                                  uint32_t B, bool learns);
enum ebm_status ebm_trunk_run_batch(struct ebm_plan *plan, const struct ebm_threads *threads, const float *h_x,
                                    uint32_t B, float *h_out);
enum ebm_status ebm_trunk_backward(struct ebm_plan *plan, const struct ebm_threads *threads);
enum ebm_status ebm_plan_reduce(struct ebm_plan *plan, uint32_t n_slots, struct ebm_range range);
enum ebm_status ebm_plan_update(struct ebm_plan *plan, const struct ebm_adam *adam, struct ebm_range range);
enum ebm_status ebm_plan_params_read(const struct ebm_plan *plan, enum ebm_train_state what, float *h_dst);
enum ebm_status ebm_plan_params_write(struct ebm_plan *plan, enum ebm_train_state what, const float *h_src);
enum ebm_status ebm_train_backward(struct ebm_ctx *ctx, const struct ebm_plan *plan, uint32_t slot,
                                   const struct ebm_loss_spec *spec, const struct ebm_train_rows *rows, double *h_loss);

#endif
