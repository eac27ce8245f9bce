/* net_desc.h - a network as plain arrays: models/ makes it, devices read it.
 *
 * All parameters of a model lie in one flat block of floats, `params` (P), each tensor 64-byte aligned within it
 * (offsets are multiples of 16 floats; the gaps are zero and stay zero).  Tensors are ordered by part, so that a part
 * (enum ebm_part) is one contiguous range.  Everything here is standardised: units are models' business.
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

/* The parts of a model, in the order in which their tensors lie in params. */
enum ebm_part {
    EBM_PART_FEATURE,
    EBM_PART_TARGET,
    EBM_PART_ENERGY,
    EBM_PART_PROPOSAL, /* features of its own, mean, log variance and weight nets */
    EBM_PARTS
};

struct ebm_range {
    size_t first, count;
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

/* h = feature(x) (H);  g = target(y) (G);  f = energy([h, g]), h first.
 * Mixture over y: mean(h) and log_variance(h) are (D, K), K inner; weight(h) gives K logits; diagonal. With features of
 * its own the mixture reads own(x) (own_H) in place of h. */
struct ebm_net_desc {
    uint32_t members; /* networks of an ensemble, all of this shape; 0 and 1: a single one */
    uint32_t X;       /* numbers of one input */
    uint32_t D;       /* target dimensions */
    uint32_t H, G;    /* features of x (X without a feature net), of y (D without a target net) */
    uint32_t K;       /* components, 0 without a proposal */
    uint32_t own_H;   /* 0: the proposal reads h; else so many features of its own, made of x by `own` */
    bool has_energy;
    bool trains_features;                   /* the proposal's gradient reaches the feature net */
    const struct ebm_support *support;      /* (D); NULL: the whole line in every dimension */
    struct ebm_net feature, target, energy; /* energy.n_layers 0 exactly when !has_energy */
    struct ebm_net own; /* in training alone, where a mixture learns beside a teacher: part of the proposal */
    struct ebm_net mean, log_variance, weight;
    size_t n_params; /* P, of one member */
    struct ebm_range part[EBM_PARTS];
};

/* Parameters of all members: member i's lie at i * P. */
static inline size_t ebm_net_all_params(const struct ebm_net_desc *net)
{
    return net->n_params * (net->members > 1 ? net->members : 1);
}

#endif
