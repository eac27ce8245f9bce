/* net_desc.h - a network as plain arrays: models/ makes it, devices read it.
 *
 * All parameters of a model lie in one flat block of floats, `params` (P), each tensor 64-byte aligned within it
 * (offsets are multiples of 16 floats; the gaps are zero and stay zero).  Tensors are ordered by part, so that a part
 * (enum ebm_part) is one contiguous range; what is measured instead of learned (running statistics) lies behind all
 * parts.  Everything here is standardised: units are models' business.
 * An ensemble is several networks of one shape, whose density is the mean of the members' densities; their parameters
 * lie one member after the other. */
#ifndef EBM_CORE_NET_DESC_H
#define EBM_CORE_NET_DESC_H

#include "core/base.h"

#define EBM_ACTIVATION_MAP(X)                                                                                          \
    X(IDENTITY, "identity")                                                                                            \
    X(RELU, "relu")                                                                                                    \
    X(TANH, "tanh")                                                                                                    \
    X(SILU, "silu")                                                                                                    \
    X(SOFTPLUS, "softplus")

enum ebm_activation {
#define X(name, word) EBM_ACT_##name,
    EBM_ACTIVATION_MAP(X)
#undef X
};

/* out = act(W v + b), plus v when residual (then in == out). */
struct ebm_layer {
    uint32_t in, out;
    enum ebm_activation activation;
    bool residual;
    size_t weight; /* offset in params of (out, in), row-major */
    size_t bias;   /* offset in params of (out) */
};

struct ebm_net {
    uint32_t n_layers; /* 0: the net is the identity */
    const struct ebm_layer *layers;
};

struct ebm_range {
    size_t first, count;
};

/* An image as numbers: (channels, height, width), width inner. */
struct ebm_shape {
    uint32_t channels, height, width;
};

static inline size_t ebm_shape_count(const struct ebm_shape *shape)
{
    return (size_t)shape->channels * shape->height * shape->width;
}

enum ebm_image_kind {
    EBM_IMAGE_CONV,     /* correlation with weight (to.channels, from.channels, kernel, kernel), zeros around */
    EBM_IMAGE_MAX_POOL, /* largest of kernel x kernel, nothing around */
    EBM_IMAGE_MEAN,     /* over height and width: to is (channels, 1, 1) */
    EBM_IMAGE_PASS,     /* as it is: for what follows */
};

#define EBM_IMAGE_NONE UINT32_MAX
#define EBM_NO_TENSOR SIZE_MAX
#define EBM_NORM_EPSILON 1e-5 /* beside a variance, as in torch.nn.BatchNorm2d */

/* out = relu(norm(kind(in) + bias) + add), each where there is one.
 * Values are numbered: 0 is the image, i + 1 what operation i gives.
 * norm, a channel: scale (z - mean) / sqrt(variance + EBM_NORM_EPSILON) + shift; in training by the batch's mean and
 * biased variance, which move the running ones. */
struct ebm_image_op {
    enum ebm_image_kind kind;
    uint32_t in;  /* the value that it reads */
    uint32_t add; /* the value that is added, of the shape `to`; EBM_IMAGE_NONE: none */
    bool has_norm, has_relu;
    struct ebm_shape from, to;
    uint32_t kernel, stride, padding; /* of CONV and MAX_POOL */
    size_t weight, bias;              /* offsets in params, of CONV; EBM_NO_TENSOR: no bias */
    size_t scale, shift;              /* (to.channels) each, with a norm */
    size_t mean, variance;            /* (to.channels) each: running, not learned */
};

/* What makes numbers of an image: operations in order. The last value, (channels, height, width), is what it gives. */
struct ebm_trunk {
    uint32_t n_ops; /* 0: inputs are vectors */
    const struct ebm_image_op *ops;
    struct ebm_shape in;
    uint32_t out;             /* numbers that it gives */
    struct ebm_range learned; /* its tensors that are learned: first in the feature part */
};

/* The parts of a model, in the order in which their tensors lie in params. */
enum ebm_part {
    EBM_PART_FEATURE,
    EBM_PART_TARGET,
    EBM_PART_ENERGY,
    EBM_PART_PROPOSAL, /* features of its own, mean, log variance and weight nets */
    EBM_PARTS
};

/* Where one target dimension lives, standardised. */
enum ebm_support_kind {
    EBM_SUPPORT_REAL,     /* the line; finite lower and upper are where scalar densities are integrated */
    EBM_SUPPORT_BOUNDED,  /* density 0 outside of [lower, upper]; proposals and noise are truncated to it */
    EBM_SUPPORT_PERIODIC, /* period upper - lower; proposals and noise are wrapped */
};

struct ebm_support {
    enum ebm_support_kind kind;
    double lower, upper; /* lower < upper; -inf, +inf: none stated (REAL only) */
};

/* h = feature(trunk(x)) (H), the trunk of images alone;  g = target(y) (G);  f = energy([h, g]), h first.
 * Mixture over y: mean(h) and log_variance(h) are (D, K), K inner; weight(h) gives K logits; diagonal. With features of
 * its own the mixture reads own(x) (own_H) in place of h. */
struct ebm_net_desc {
    uint32_t members; /* networks of an ensemble, all of this shape; 0 and 1: a single one */
    uint32_t X;       /* numbers of one input; of an image (channels, height, width) */
    uint32_t D;       /* target dimensions */
    uint32_t H, G;    /* features of x (X or trunk.out without layers), of y (D without a target net) */
    uint32_t K;       /* components, 0 without a proposal */
    uint32_t own_H;   /* 0: the proposal reads h; else so many features of its own, made of x by `own` */
    bool has_energy;
    bool trains_features;                   /* the proposal's gradient reaches the feature net */
    const struct ebm_support *support;      /* (D); NULL: the whole line in every dimension */
    struct ebm_trunk trunk;                 /* before the feature net, of images */
    struct ebm_net feature, target, energy; /* energy.n_layers 0 exactly when !has_energy */
    struct ebm_net own; /* in training alone, where a mixture learns beside a teacher: part of the proposal */
    struct ebm_net mean, log_variance, weight;
    size_t n_params; /* P, of one member */
    struct ebm_range part[EBM_PARTS];
};

/* Numbers that reach the feature net's layers: those of an input, or what the trunk makes of an image. */
static inline uint32_t ebm_net_reach(const struct ebm_net_desc *net)
{
    return net->trunk.n_ops > 0 ? net->trunk.out : net->X;
}

/* Parameters of all members: member i's lie at i * P. */
static inline size_t ebm_net_all_params(const struct ebm_net_desc *net)
{
    return net->n_params * (net->members > 1 ? net->members : 1);
}

#endif
