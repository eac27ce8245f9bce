/* trunk_internal.h - a batch in training: what its ways forward and its backward pass share. Private to core. */
#ifndef EBM_CORE_TRUNK_INTERNAL_H
#define EBM_CORE_TRUNK_INTERNAL_H

#include <stdatomic.h>

#include "core/trunk.h"
#include "core/trunk_train.h"

/* A channel's mean and 1 / sigma over a batch. */
struct ebm_norm_now {
    double mean, inverse;
};

/* trunk_train.c. Of the sum of n numbers of channel c, as the norm reads them, and of their squares; the running
 * statistics among params move. */
struct ebm_norm_now ebm_norm_settle(float *params, const struct ebm_image_op *op, size_t c, double sum, double squares,
                                    double n);

struct ebm_train_op {
    struct ebm_image_op op;
    struct ebm_conv *forward, *input, *weight;
    float *packed_forward, *packed_input;
    float *packed_gradient; /* (n_parts, gradient_count) */
    size_t gradient_count;
    uint32_t n_parts;               /* of the weights' gradient */
    float *z;                       /* (rows, to) with a norm of a convolution; else where z is anyway */
    float *a;                       /* (rows, to) */
    float *da;                      /* (rows, to), in a slot of gradients */
    double *mean, *inverse;         /* (to.channels) 1 / sigma; of the batch */
    double *mean_ds, *mean_ds_xhat; /* (to.channels) */
    bool is_first_in, is_first_add; /* this operation's word on that value's gradient is the first */
    bool needs_input;               /* somebody learns behind its input */
};

struct ebm_trunk_train {
    const struct ebm_conv_backend *backend;
    struct ebm_shape in;
    uint32_t n_ops, rows, n_chunks; /* rows: of all chunks */
    struct ebm_train_op *ops;
    float *images;     /* (rows, X), channels inner */
    float **gradients; /* (n_gradients): slots that values' gradients lie in */
    uint32_t n_gradients;
    double *sums;                             /* (n_chunks, 2, most channels) */
    size_t most_channels, scratch, temporary; /* scratch memory: of convolutions, then one chunk of a value */

    /* the work at hand */
    uint32_t B;
    float *params;       /* read but for running statistics, which forward writes */
    const float *x, *dh; /* (B, X), (B, out) */
    float *h, *gradient; /* (B, out), (P) */
    struct ebm_train_op *at;
    _Atomic int status; /* the first that failed */
};

/* A value, or its gradient, from image `first` of the batch on. */
static inline float *ebm_trunk_value_of(const struct ebm_trunk_train *t, uint32_t value, size_t first)
{
    if (value == 0)
        return t->images + first * ebm_shape_count(&t->in);
    const struct ebm_train_op *op = &t->ops[value - 1];
    return op->a + first * ebm_shape_count(&op->op.to);
}

static inline float *ebm_trunk_gradient_of(const struct ebm_trunk_train *t, uint32_t value, size_t first)
{
    const struct ebm_train_op *op = &t->ops[value - 1];
    return op->da + first * ebm_shape_count(&op->op.to);
}

/* What the norm reads of the operation. */
static inline float *ebm_trunk_z_of(const struct ebm_trunk_train *t, const struct ebm_train_op *op, size_t first)
{
    return op->z != NULL ? op->z + first * ebm_shape_count(&op->op.to) : ebm_trunk_value_of(t, op->op.in, first);
}

/* Images of the batch in a chunk: those behind them only fill it up. */
static inline size_t ebm_trunk_rows_of(const struct ebm_trunk_train *t, uint32_t chunk)
{
    uint32_t first = chunk * EBM_TRUNK_CHUNK;
    if (first >= t->B)
        return 0;
    return t->B - first < EBM_TRUNK_CHUNK ? t->B - first : EBM_TRUNK_CHUNK;
}

static inline size_t ebm_trunk_places_of(const struct ebm_trunk_train *t, const struct ebm_train_op *op, uint32_t chunk)
{
    return ebm_trunk_rows_of(t, chunk) * op->op.to.height * op->op.to.width;
}

static inline double *ebm_trunk_sums_of(const struct ebm_trunk_train *t, uint32_t chunk)
{
    return t->sums + chunk * 2 * t->most_channels;
}

static inline void ebm_trunk_fail_with(struct ebm_trunk_train *t, enum ebm_status status)
{
    int none = EBM_OK;
    if (status != EBM_OK)
        (void)atomic_compare_exchange_strong(&t->status, &none, (int)status);
}

/* Sum over chunks of number c of the first or second kind, in their order. */
static inline double ebm_trunk_total(const struct ebm_trunk_train *t, uint32_t kind, size_t c)
{
    double total = 0.0;
    for (uint32_t chunk = 0; chunk < t->n_chunks; chunk++)
        total += ebm_trunk_sums_of(t, chunk)[kind * t->most_channels + c];
    return total;
}

#endif
