/* kernels.h - the fine table: what the generic device is made of. Private to core.
 *
 * Everything lies "in lanes": a quantity of n numbers for L lanes (rows of a batch, or samples of one row) is an array
 * (n, L), lanes inner, L a multiple of EBM_LANES. So every kernel runs along lanes without shuffles, each lane gets the
 * same operations wherever it stands, and the same code serves x side and sample side.
 * Gradients: parameters and what several consumers share are `+=`, all else is `=`.
 * kernels_ref.c is the truth; kernels_cpu.c is fast and compared with it. */
#ifndef EBM_CORE_KERNELS_H
#define EBM_CORE_KERNELS_H

#include <math.h>

#include "core/net_desc.h"
#include "core/rng.h"
#include "core/sobol.h"

#define EBM_LANES 16u

/* A component on a coordinate that is no line (core/support.h). Bounded: t = (y - anchor) / std, and its density is
 * exp(-t (t + slope) / 2) / (std integral). Periodic: a sum over the nearest image and `images` on each side of it, or
 * (1 + harmonic cos(2 pi (y - mean) / period)) / period where images is 0. */
struct ebm_confined {
    float anchor, slope, first, second; /* bounded: E t, E t (t + slope) */
    float ratio, harmonic;              /* periodic: period / std */
    uint32_t images;
    bool is_far;               /* bounded: below, mass and above are too small to draw by */
    double below, mass, above; /* bounded: of the normal below, within and above the bounds */
    double mean, std, alpha;   /* bounded: alpha = slope / 2 */
    double share;              /* bounded and far: of the mass beyond the anchor, that within the bounds */
};

/* One row's mixture, borrowed. */
struct ebm_mixture {
    uint32_t D, K;
    const float *mean;                   /* (D, K), of a periodic coordinate in [lower, upper) */
    const float *inv_std;                /* (D, K) exp(-log_variance / 2) */
    const float *std;                    /* (D, K) */
    const float *log_weight;             /* (K) normalised */
    const float *log_const;              /* (K) log_weight - sum_d log_variance / 2 - D/2 log(2 pi), on the line */
    const uint32_t *below;               /* (K) a sample is of the first component whose number is above its word, the
                                          * last one if none: see ebm_words_below */
    const struct ebm_support *support;   /* (D); NULL: the whole line in every dimension */
    const struct ebm_confined *confined; /* (D, K), used where the coordinate is no line; NULL: all are lines */
};

/* Gradient of log q in a row's mixture, summed over lanes with weights. */
struct ebm_mixture_grad {
    double *dmean, *dlog_variance; /* (D, K) += */
    double *dlogit;                /* (K) += */
};

/* correction1 = 1 - beta1^t, correction2 = 1 - beta2^t */
struct ebm_adam_step {
    double learning_rate, beta1, beta2, epsilon, correction1, correction2;
};

/* W (n_out, n_in) with row stride ldw; bias (n_out), NULL is 0. Borrow. */
struct ebm_linear {
    const float *w;
    size_t ldw;
    const float *bias;
    uint32_t n_out, n_in;
};

/* A convolution of 3 x 3 with stride 1, padded by 1, by tiles: `points` x `points` products of a tile, number by
 * number, give its `out` x `out` places, from `in` x `in` that begin `before` places before the first of them. Each
 * line of a tile, then each column, with d what is read, w the weights, m = (G w) (B d) the products:
 *
 *   TWO    F(2, 3) of Winograd (Lavin and Gray, arXiv 1509.09308), of the points 0, 1, -1 and infinity
 *          B d = (d0 - d2, d1 + d2, d2 - d1, d1 - d3)
 *          G w = (w0, (w0 + w1 + w2) / 2, (w0 - w1 + w2) / 2, w2)
 *          A m = (m0 + m1 + m2, m1 - m2 - m3)
 *   FOUR   F(4, 3), of 0, a, -a, b, -b and infinity, a = sqrt(1/2), b = sqrt(2): half the error of 1 and 2
 *          B d = (d0 - 5/2 d2 + d4, e + a f, e - a f, g + b h, g - b h, d1 - 5/2 d3 + d5) with
 *                e = d4 - 2 d2, f = d3 - 2 d1, g = d4 - d2 / 2, h = d3 - d1 / 2
 *          G w = (w0, -2/3 (w0 + a w1 + w2 / 2), the same of -a, (w0 + b w1 + 2 w2) / 6, the same of -b, w2)
 *          A m = (m0 + s + t, a u + b v, s / 2 + 2 t, a u / 2 + 2 b v + m5) with
 *                s = m1 + m2, u = m1 - m2, t = m3 + m4, v = m3 - m4
 *   WHOLE  an image of 2 x 2, of which four of nine windows' numbers are padding
 *          B d = (d0 + d1, d1, d0);  G w = (w1, w2 - w1, w0 - w1);  A m = (m0 + m1, m0 + m2) */
enum ebm_tile { EBM_TILE_TWO, EBM_TILE_FOUR, EBM_TILE_WHOLE };

struct ebm_tile_size {
    uint32_t in, before, points, out;
};

static inline struct ebm_tile_size ebm_tile_size(enum ebm_tile tile)
{
    return tile == EBM_TILE_TWO    ? (struct ebm_tile_size){4, 1, 4, 2}
           : tile == EBM_TILE_FOUR ? (struct ebm_tile_size){6, 1, 6, 4}
                                   : (struct ebm_tile_size){2, 0, 3, 2};
}

#define EBM_MOST_IN 36u  /* places that a tile reads */
#define EBM_MOST_OUT 16u /* places that it gives */

/* Rows of a product, `next` numbers from one to the next, each of `runs` runs of `run` numbers, `step` apart. Borrow.
 */
struct ebm_rows {
    const float *first;
    size_t next, step;
    uint32_t n, runs, run;
};

/* What follows the products of a convolution: out = act(product + bias (+ what out held)), act relu or none. Borrow. */
struct ebm_finish {
    const float *bias; /* a channel */
    bool adds, has_relu;
};

/* What a norm comes to: a factor and an offset a channel, and relu or none. Borrow. */
struct ebm_norm {
    const float *factor, *offset;
    bool has_relu;
};

/* Weights of 3 x 3: (output o, input i) at w + o out + i in; turned: the last first. */
struct ebm_filters {
    const float *w;
    size_t out, in;
    bool is_turned;
};

struct ebm_kernels {
    const char *name;
    uint32_t panel; /* outputs side by side in panels of weights, a multiple of which pads their number */
    /* out (n_out, L) = W x + bias; W (n_out, n_in) with row stride ldw; x (n_in, L). bias (n_out), NULL is 0. */
    void (*linear)(float *out, const float *w, size_t ldw, const float *bias, const float *x, uint32_t n_out,
                   uint32_t n_in, uint32_t L);
    /* a (n_out, L) = act(z) (+ residual (n_out, L), unless NULL) with z = W x + bias; z is kept unless NULL, and may be
     * a where act's derivative is seen from its output. x (n_in, L) is not a, residual may be x. */
    void (*layer)(enum ebm_activation kind, float *a, float *z, const struct ebm_linear *linear, const float *x,
                  const float *residual, uint32_t L);
    /* dx (n_in, L) = W^T dz (+ residual (n_in, L), unless NULL) */
    void (*linear_backward_input)(float *dx, const float *w, size_t ldw, const float *dz, const float *residual,
                                  uint32_t n_out, uint32_t n_in, uint32_t L);
    /* dw (n_out, n_in; stride ldw) += dz x^T; db (n_out) += sum over lanes of dz, unless NULL */
    void (*linear_backward_weight)(float *dw, size_t ldw, float *db, const float *dz, const float *x, uint32_t n_out,
                                   uint32_t n_in, uint32_t L);
    /* a (n) = act(z) (+ residual, unless NULL); a may be z; n a multiple of EBM_LANES */
    void (*activation)(enum ebm_activation kind, float *a, const float *z, const float *residual, size_t n);
    /* dz (n) = da * act'(z); dz may be da */
    void (*activation_backward)(enum ebm_activation kind, float *dz, const float *da, const float *z, size_t n);
    /* act'(z), act''(z), act'''(z), (n) each; for relu and identity z may be the output */
    void (*activation_curve)(enum ebm_activation kind, float *d1, float *d2, float *d3, const float *z, size_t n);
    /* draws first .. first + L - 1 of (seed, row): y (D, L), rows `stride` apart. Word 0 of a sample picks its
     * component, word 1 + d makes coordinate d; 4 words a block of the stream EBM_STREAM_DRAWS. */
    void (*draw)(float *y, size_t stride, const struct ebm_mixture *q, uint64_t seed, uint32_t row, uint32_t first,
                 uint32_t L);
    /* The same from given uniform words (1 + D, L), rows `word_stride` apart, of which row 0 picks the component and
     * row 1 + d makes coordinate d: whatever makes words (Philox, a Sobol set) makes targets by this. */
    void (*place)(float *y, size_t stride, const struct ebm_mixture *q, const uint32_t *words, size_t word_stride,
                  uint32_t L);
    /* words (set->dims, L), rows `word_stride` apart, of samples first .. first + L - 1 of scrambled Sobol points;
     * first a multiple of EBM_LANES */
    void (*sobol_words)(uint32_t *words, size_t word_stride, const struct ebm_sobol *set, uint32_t first, uint32_t L);
    /* log_q (L) of y (D, L) whose rows are `stride` apart */
    void (*mixture_log_density)(float *log_q, const struct ebm_mixture *q, const float *y, size_t stride, uint32_t L);
    /* += sum over lanes of dlog_q (L) times the gradient of log q(y) */
    void (*mixture_backward)(struct ebm_mixture_grad *grad, const struct ebm_mixture *q, const float *y, size_t stride,
                             const float *log_q, const float *dlog_q, uint32_t L);
    /* w (n) = exp(s - max), not normalised; max, sum of w and sum of w^2. -inf is weight 0; max is NaN when there is
     * a NaN or +inf in s, or nothing above -inf. n is a multiple of EBM_LANES: pad s with -inf. */
    void (*softmax)(float *w, const float *s, uint32_t n, double *ret_max, double *ret_sum, double *ret_sum_squares);
    /* mean, sum w (y - mean)^2 and sum w^2 (y - mean)^2 of y (n) under normalised weights w / sum; n as in softmax */
    void (*moments)(const float *y, const float *w, uint32_t n, double sum, double *ret_mean, double *ret_variance,
                    double *ret_squared_error);
    /* The weights of w (n), finite and >= 0, that are above the one with `most` (< n) before it in descending order,
     * which is ret_cutoff: at most `most`, as they lie. Returns their number; ret_tail has room for n + EBM_LANES. */
    uint32_t (*tail)(float *ret_tail, const float *w, uint32_t n, uint32_t most, float *ret_cutoff);
    /* The generalised Pareto distribution of the excesses of tail (n, 5 .. EBM_PARETO_TAIL) over the cutoff (psis.h,
     * pareto.h): its shape k, and sigma of the fit before the prior. */
    double (*pareto_fit)(const float *tail, uint32_t n, float cutoff, double *ret_sigma);
    /* A layer of relu units over knots, which lie in blocks of EBM_LANES: neighbours in a block are the ends of a
     * segment, the last knot of a block stands again as the first of the next one. z (n, L) = u + hx, hx (n), L lanes.
     * f (L) = sum over units of v relu(z), v (n). crossings (n, L / EBM_LANES): bit l is set where z is positive at one
     * of the knots l and l + 1 of the block and not at the other. */
    void (*knots)(double *f, uint16_t *crossings, const float *u, const float *hx, const float *v, uint32_t n,
                  uint32_t L);
    /* For units that are active all along a segment (z not negative at both ends, positive at one): sums0, sums1 (n, L)
     * += weight0, weight1 (L) there, active (n) = the sum of weight0. Weights of the last lane of a block are 0; behind
     * u lie EBM_LANES numbers more. */
    void (*spread)(float *sums0, float *sums1, float *active, const float *weight0, const float *weight1,
                   const float *u, const float *hx, uint32_t n, uint32_t L);
    /* Rows of O numbers one behind the other, O a multiple of EBM_LANES. out (n, O) += a (n, n_in; stride lda) w (n_in,
     * O) */
    void (*rows_product)(float *out, const float *w, const float *a, size_t lda, uint32_t n, uint32_t n_in, uint32_t O);
    /* signs (n - 1, O / EBM_LANES): bit l of a word is set where z (n, O) has another sign in this row and the next */
    void (*rows_signs)(uint16_t *signs, const float *z, uint32_t n, uint32_t O);
    /* f (n) = w (O) . (act(z) (+ v, unless NULL)) of z, v (n, O), act relu or none; products are floats, sums double */
    void (*rows_output)(double *f, const float *w, const float *z, const float *v, bool is_relu, uint32_t n,
                        uint32_t O);
    /* Images with channels inner. out (rows->n, n_panels panel; stride ldo) = rows w, w (n_panels, runs run, panel). A
     * row gets the same operations wherever it stands. */
    void (*panels_product)(float *out, size_t ldo, const struct ebm_rows *rows, const float *w, uint32_t n_panels);
    /* out (n, C) = act(z + bias (+ out)) of z (n, C; stride ldz) */
    void (*finish_rows)(float *out, const float *z, size_t ldz, const struct ebm_finish *finish, size_t n, uint32_t C);
    /* A tile: point p of v, C numbers and up to panel - 1 more, at v + p stride; at (in, in) places of C numbers. */
    void (*tile_in)(float *v, size_t stride, const float *const *at, uint32_t C, enum ebm_tile tile);
    /* and from point p at m + p stride to (out, out) places of C numbers; NULL: there is none. */
    void (*tile_out)(float *const *to, const float *m, size_t stride, const struct ebm_finish *finish, uint32_t C,
                     enum ebm_tile tile);
    /* Weights of one panel, G w G': point p (n_in, panel) at packed + p stride; outputs from n_out on are 0. */
    void (*tile_weights)(float *packed, size_t stride, const struct ebm_filters *filters, uint32_t n_out, uint32_t n_in,
                         enum ebm_tile tile);
    /* One image: out (op->to), the largest of each window; of channels whose sign (C) is negative, unless NULL, the
     * smallest. What is no number is in front of all. */
    void (*max_pool)(float *out, const struct ebm_image_op *op, const float *in, const float *sign);
    /* sums, squares (C) += sums over places of z (places, C) and of its squares, place after place */
    void (*channel_sums)(double *sums, double *squares, const float *z, size_t places, uint32_t C);
    /* a (places, C) = act(factor z + offset (+ add (places, C), unless NULL)); a may be z */
    void (*norm_places)(float *a, const float *z, const float *add, const struct ebm_norm *norm, size_t places,
                        uint32_t C);
    /* one Adam step on n parameters */
    void (*adam)(float *p, float *m, float *v, const float *g, size_t n, const struct ebm_adam_step *step);
};

/* A set from the functions of one file, which bear the fields' names. */
#define EBM_KERNELS_TABLE(set_name)                                                                                    \
    {                                                                                                                  \
        .name = set_name, .panel = CONV_PANEL, .linear = linear, .layer = layer,                                       \
        .linear_backward_input = linear_backward_input, .linear_backward_weight = linear_backward_weight,              \
        .activation = activation, .activation_backward = activation_backward, .activation_curve = activation_curve,    \
        .draw = draw, .place = place, .sobol_words = sobol_words, .mixture_log_density = mixture_log_density,          \
        .mixture_backward = mixture_backward, .softmax = softmax, .moments = moments, .tail = tail,                    \
        .pareto_fit = pareto_fit, .knots = knots, .spread = spread, .rows_product = rows_product,                      \
        .rows_signs = rows_signs, .rows_output = rows_output, .panels_product = panels_product,                        \
        .finish_rows = finish_rows, .tile_in = tile_in, .tile_out = tile_out, .tile_weights = tile_weights,            \
        .max_pool = max_pool, .channel_sums = channel_sums, .norm_places = norm_places, .adam = adam,                  \
    }

/* Which numbers of a kernel's line fall on the `size` inputs of a line at output `at`: first .. end - 1, the first of
 * them on input `in`. */
struct ebm_taps {
    uint32_t first, end, in;
};

static inline struct ebm_taps ebm_taps_of(const struct ebm_image_op *op, uint32_t at, uint32_t size)
{
    uint32_t start = at * op->stride, first = start < op->padding ? op->padding - start : 0;
    uint32_t left = size + op->padding > start ? size + op->padding - start : 0;
    uint32_t end = left < op->kernel ? left : op->kernel;
    first = first < end ? first : end;
    return (struct ebm_taps){first, end, first < end ? start + first - op->padding : 0};
}

/* How many words make uniform numbers below `share`, as far as a word can count. */
static inline uint32_t ebm_words_below(double share)
{
    double words = ceil(share * 0x1p32 - 0.5);
    return words > 0.0 ? words < 0x1p32 ? (uint32_t)words : UINT32_MAX : 0;
}

/* Coordinate d of component k at y, in double: log of its density but for the constant, and derivatives of that
 * density, constant and all. mixture.c */
struct ebm_score {
    double log_density;
    double pull;         /* -std d/dy */
    double mean, spread; /* std d/d mean, 2 d/d log variance */
};
struct ebm_score ebm_mixture_score(const struct ebm_mixture *q, uint32_t d, uint32_t k, double y);

/* A draw of a component that is_far, of one word. mixture.c */
float ebm_confined_far(const struct ebm_confined *component, const struct ebm_support *support, uint32_t word);

const struct ebm_kernels *ebm_kernels_ref(void);
const struct ebm_kernels *ebm_kernels_cpu(void); /* the best for this machine */

#endif
