/* training_internal.h - what the .cu files of training share. */
#ifndef EBM_CORE_CUDA_TRAINING_INTERNAL_H
#define EBM_CORE_CUDA_TRAINING_INTERNAL_H

#include "core/cuda/engine_internal.h"
#include "core/cuda/training.h"

struct ebm_gpu_trained {
    ebm_gpu_space *space;
    const ebm_net_desc *net;
    gpu_memory memory;
    size_t count, learned; /* parameters; those first that a trunk learns, which chunks have no gradient of */
    uint32_t n_slots;
    float *params, *m, *v, *gradient; /* (count) */
    float *slots;                     /* (n_slots, gpu_slot_count) */
    float *h, *dh; /* (images, trunk.out): what a trunk made of its last batch, and the gradient in it; borrowed from
                    * the trunk in training, NULL: there is none */
    struct {
        gpu_memory memory;
        unsigned char *host, *there;
    } kinks;           /* the table of ml_exact, pinned and on the device (exact_train.cu); NULL: none */
    cudaEvent_t ready; /* after all that was enqueued here */
};

/* Numbers of a chunk's gradient: all parameters behind those that a trunk learns. */
inline size_t gpu_slot_count(const ebm_gpu_trained *trained)
{
    return trained->count - trained->learned;
}

/* Ends what is enqueued on the trained parameters' stream: chunks that begin later see it. */
bool gpu_trained_ready(ebm_gpu_trained *trained);
/* A chunk's stream waits for all of that. */
bool gpu_trained_wait(ebm_gpu_trained *trained, ebm_gpu_space *space);
/* Adds a chunk's gradient (gpu_slot_count) to a slot, on the chunk's stream. */
bool gpu_trained_add(ebm_gpu_trained *trained, ebm_gpu_space *space, uint32_t slot, const float *gradient);

/* ---- layers.cu ---- */

/* What a layer adds to its product: the same numbers to every sample, or a row's to `per` samples. */
struct gpu_bias {
    const float *p;
    uint32_t ld, per; /* ld 0: the same */
};

/* A layer's outputs; z is a where the derivative is seen from the output. */
struct kept_layer {
    const ebm_layer *layer;
    uint32_t in, skip; /* inputs that it reads here, behind so many that the x side did */
    struct gpu_rows z, a;
};

struct kept_net {
    std::vector<kept_layer> layers;
    bool is_exact; /* float, whatever the precision */
};

/* Derivatives of one order of all that the sample side has, along a direction of each candidate's own. */
struct carried_side {
    kept_net target, energy;
    struct gpu_rows y; /* of order 1 the directions, of order 2 zeros */
    float *da, *dz;
};

/* Lists of points (rows, EBM_GPU_POINTS): y and share of the mass, of which a row has so many; its log Z, NaN: it has
 * none. */
struct gpu_points {
    float *y, *share;
    double *log_z;
    uint32_t *count;
};

struct ebm_gpu_training {
    ebm_gpu_space *space;
    ebm_gpu_trained *trained;
    const ebm_net_desc *net;
    gpu_memory memory;
    uint32_t max_rows, max_candidates;
    size_t most_candidates, most_parts; /* that fit into a piece, of all its rows; rows whose weights' gradients do */
    uint32_t families;                  /* of losses that it has memory for: enum ebm_gpu_family */
    kept_net feature, own, heads[3], target, energy;
    struct ebm_gpu_rows host, there; /* pinned; the same on the device */
    float *dx;                       /* as x, on the device: of the chunk that is enqueued */
    struct gpu_rows x, hx, y, da, dz, dhx, dh, down, dheads[3], heads_out[3];
    struct gpu_rows h, reads; /* of the chunk that is enqueued: the features, and what the proposal's nets read */
    float *mixtures, *gradient, *parts;
    float *log_q, *log_label, *df, *dlog_q;
    carried_side carried[2];  /* of dsm the first, of sm both */
    struct gpu_points points; /* of ml_exact, and what its kernel needs: memory of as many rows as run at once */
    unsigned char *point_scratch;
    size_t point_bytes;
    uint32_t point_blocks, *point_counts; /* counts: pinned */
    std::vector<gpu_recorded<ebm_gpu_chunk>> graphs;
};

/* One number lies without gaps: f does. */
inline uint32_t gpu_ld_of(uint32_t width)
{
    return width == 1 ? 1 : gpu_round_up(width, 4);
}

inline const float *gpu_param(const ebm_gpu_training *t, size_t offset)
{
    return t->trained->params + offset;
}

inline float *gpu_gradient_at(const ebm_gpu_training *t, size_t offset)
{
    return t->gradient + (offset - t->trained->learned);
}

/* z (sample, n) += bias. */
void gpu_bias_add(ebm_gpu_training *t, gpu_rows z, gpu_bias bias, uint32_t n, size_t samples);
/* to (sample, n) += from. */
void gpu_rows_add(ebm_gpu_training *t, gpu_rows to, gpu_rows from, uint32_t n, size_t rows);
/* Layers on n samples of `in`; `row` is added by the first one, unless its p is NULL, in place of its bias. Where the
 * last output lies. */
bool gpu_net_run(ebm_gpu_training *t, const kept_net *net, gpu_rows in, size_t n, gpu_bias row, gpu_rows *ret);

/* z = W in of n samples, in float or as the precision has it. */
bool gpu_layer_multiply(ebm_gpu_training *t, const kept_layer *l, gpu_rows in, size_t n);

/* How a way back goes on a net's samples. */
struct way_back {
    size_t n;             /* samples, of all parts */
    uint32_t parts;       /* whose weights' gradients are products of their own */
    bool wants_input;     /* the gradient of what the first layer reads */
    gpu_rows *row;        /* gets the first layer's sums, a row a part, in place of its bias; NULL: the bias does */
    const kept_layer *no; /* its bias learns nothing; NULL: all do */
};

/* From da of the last output, which is lost; where that of the input lies, if it is wanted. */
bool gpu_net_back(ebm_gpu_training *t, const kept_net *net, gpu_rows in, gpu_rows da, const way_back *way,
                  gpu_rows *ret);
/* The same without gradients of weights: da becomes that of the input. */
bool gpu_net_slope(ebm_gpu_training *t, const kept_net *net, size_t n, gpu_rows *da);
/* Steps of it for one layer: += in its bias, of dz, or what the x side gets; += in its weights, dz^T in; da of what it
 * reads, W^T dz, and da itself where it is residual. */
void gpu_bias_back(ebm_gpu_training *t, const kept_layer *l, const way_back *way, bool is_first, gpu_rows dz);
bool gpu_weight_back(ebm_gpu_training *t, const kept_layer *l, bool is_exact, const way_back *way, gpu_rows in,
                     gpu_rows dz);
bool gpu_input_back(ebm_gpu_training *t, const kept_layer *l, bool is_exact, size_t n, gpu_rows dz, gpu_rows da);

/* ---- training.cu ---- */

bool gpu_clear(ebm_gpu_training *t, float *p, size_t count); /* p (count) = 0 */

/* ---- training_memory.cu ---- */

/* Rows of a piece whose rows have n candidates: of the net, the loss and n alone, so that a chunk has the same sums
 * whatever chunks there were before it. */
uint32_t gpu_piece_of(const ebm_gpu_training *t, uint32_t loss, uint32_t n);

/* ---- training_x.cu ---- */

/* Features, W_h h + bias of the first energy layer, and what the proposal's nets give where the chunk reads it; then
 * from dhx, the gradients of the proposal's outputs and what is in dh already all gradients, and dx. */
bool gpu_x_forward(ebm_gpu_training *t, const ebm_gpu_chunk *chunk);
bool gpu_x_backward(ebm_gpu_training *t, const ebm_gpu_chunk *chunk);

/* ---- training_samples.cu ---- */

struct gpu_pass;
/* One loss of all rows, but for the x side. */
bool gpu_loss_run(ebm_gpu_training *t, const ebm_gpu_chunk *chunk, uint32_t loss);
/* f of the pass's candidates, rows `first` on; ret_g: what the target net gave. */
bool gpu_sample_run(ebm_gpu_training *t, gpu_pass *pass, uint32_t first, gpu_rows *ret_g);
/* The last layer, where its bias does no more than shift f, which the loss does not see: its gradient is 0 then, and
 * what rounding leaves of the sum would make Adam wander. Else NULL. */
const kept_layer *gpu_idle_bias(const ebm_gpu_training *t, uint32_t loss);

/* ---- losses.cu ---- */

/* Rows of one loss, by device memory. */
struct gpu_pass {
    uint32_t loss, rows, D, K, M, n, first_sample;
    float scale;
    const struct ebm_gpu_draw *draws; /* (rows) */
    const float *mixtures;            /* (rows), gpu_mixture_count apart */
    const float *y_0, *center, *label;
    const float *given_y, *given_log_q, *given_log_label; /* (rows, n, ...); NULL: not given */
    struct gpu_rows y;                                    /* (rows, n) of D */
    float *log_q, *log_label, *df, *dlog_q;               /* (rows, n) */
    const float *f;                                       /* (rows, n) */
    float *value;                                         /* (rows) */
};

/* mean, std, inv_std (D, K each), log_const, log_weight and below (K each). */
inline size_t gpu_mixture_count(uint32_t D, uint32_t K)
{
    return (3 * (size_t)D + 3) * K;
}

/* Mixtures of `rows` rows: of fixed noise around centers (rows, D); of what the proposal's nets gave. */
void gpu_bind_noise(cudaStream_t stream, float *mixtures, const float *noise, const float *center, uint32_t D,
                    uint32_t K, uint32_t rows);
void gpu_bind_proposal(cudaStream_t stream, float *mixtures, gpu_rows mean, gpu_rows log_variance, gpu_rows logits,
                       uint32_t D, uint32_t K, uint32_t rows);
/* y, log q and log label of all candidates; then, with f, value, df and dlog_q. */
void gpu_candidates(cudaStream_t stream, const gpu_pass *pass);
void gpu_losses(cudaStream_t stream, const gpu_pass *pass);
/* Gradient of each row's mixture, = (rows, D K) twice and (rows, K), from dlog_q. */
void gpu_mixture_gradient(cudaStream_t stream, const gpu_pass *pass, gpu_rows dmean, gpu_rows dlog_variance,
                          gpu_rows dlogits);

/* ---- exact_train.cu ---- */

bool gpu_points_make(ebm_gpu_training *t); /* memory */
/* Lists of the first B rows, whose x side is there. */
void gpu_points_list(ebm_gpu_training *t, uint32_t B);
/* y of all candidates of rows `first` on; then, with f, value and df. */
void gpu_points_place(ebm_gpu_training *t, const gpu_pass *pass, uint32_t first);
void gpu_points_judge(ebm_gpu_training *t, const gpu_pass *pass, uint32_t first);

/* ---- score_train.cu ---- */

/* f of the pass's candidates, rows `first` on, and its gradient in their y. */
bool gpu_slope(ebm_gpu_training *t, gpu_pass *pass, uint32_t first, gpu_rows *ret_dy);
/* sm and dsm of the pass's candidates, whose y is there: values, and gradients of the sample side. */
bool gpu_score_run(ebm_gpu_training *t, gpu_pass *pass, uint32_t first);

/* ---- langevin_train.cu ---- */

/* Moves the draws of all rows of the pass, which stand at the true target; then, with f, value and df. */
bool gpu_chains_walk(ebm_gpu_training *t, gpu_pass *pass, uint32_t first, uint32_t steps);
void gpu_chains_judge(ebm_gpu_training *t, const gpu_pass *pass);

#endif
