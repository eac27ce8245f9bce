/* trunk_train_internal.h - what the .cu files of a trunk in training share. Numbers of images, windows and weights lie
 * as conv_internal.h tells. */
#ifndef EBM_CORE_CUDA_TRUNK_TRAIN_INTERNAL_H
#define EBM_CORE_CUDA_TRUNK_TRAIN_INTERNAL_H

#include "core/cuda/conv_internal.h"
#include "core/cuda/training_internal.h"
#include "core/cuda/trunk_train.h"

/* ---- conv_back.cu ---- */

/* packed (to.channels, window_ld) of weights as parameters lie; and dweight, as these, = the sum of parts
 * (n_parts, to.channels, window_ld). */
void gpu_weights_pack(cudaStream_t stream, const ebm_image_op *op, float *packed, const float *weight);
void gpu_weights_back(cudaStream_t stream, const ebm_image_op *op, float *dweight, const float *parts,
                      uint32_t n_parts);

/* din (n, from) = or +=: from the gradient of the windows of n images, whose places begin there; from the gradient of
 * what an operation gave, of a pool to the first largest number of each window. */
void gpu_windows_back(cudaStream_t stream, const ebm_image_op *op, float *din, const float *dwindows, uint32_t n,
                      bool adds);
void gpu_max_pool_back(cudaStream_t stream, const ebm_image_op *op, float *din, const float *dout, const float *in,
                       const float *out, uint32_t n, bool adds);
void gpu_image_mean_back(cudaStream_t stream, const ebm_image_op *op, float *din, const float *dout, uint32_t n,
                         bool adds);

/* ---- norms.cu ---- */

#define GPU_SUM_PARTS 256u /* of a batch's places, most */

/* A norm of C channels; all arrays (C). */
struct gpu_norm {
    const float *scale, *shift;
    float *running_mean, *running_variance;
    double *mean, *inverse; /* of the batch; 1 / sigma */
    float *factor, *offset; /* a = factor z + offset */
};

/* Sums of z (places, C) and of its squares, in parts; sums: (GPU_SUM_PARTS, 2, C). */
void gpu_norm_sums(cudaStream_t stream, const float *z, double *sums, uint32_t C, uint32_t places);
/* From these all arrays but scale and shift; or factor and offset by the running statistics. */
void gpu_norm_settle(cudaStream_t stream, const gpu_norm *norm, const double *sums, uint32_t C, uint32_t places);
void gpu_norm_running(cudaStream_t stream, const gpu_norm *norm, uint32_t C);

/* The way back to what stands before a norm, or before what is added and relu alone. */
struct gpu_norm_back {
    float *ds;      /* (places, C): da, and then ds */
    const float *a; /* (places, C): relu's result; NULL: there is none */
    const float *z; /* (places, C): what the norm read; NULL: there is none */
    float *add;     /* (places, C): gradient of what was added; NULL: nobody asks for it */
    bool adds;      /* to it; else = */
    uint32_t C, places;
    const double *mean, *inverse;   /* of the norm */
    const float *scale;             /* likewise */
    float *dscale, *dshift, *dbias; /* (C) out; NULL: there is none */
    float *slopes;                  /* (3, C) out, of the norm: dz = ds k - z m - b */
    double *sums;                   /* (GPU_SUM_PARTS, 2, C) */
};
/* ds, what was added, and sums; then the gradients of C numbers each, and dz where ds was. */
void gpu_norm_backward(cudaStream_t stream, const gpu_norm_back *back);
/* din (n) += from, or =. */
void gpu_pass_backward(cudaStream_t stream, float *din, const float *from, size_t n, bool adds);

/* ---- trunk_train.cu, trunk_backward.cu ---- */

struct gpu_image_op {
    ebm_image_op op;
    float *z, *a, *da; /* (rows, to); z: of a convolution with a norm, else what the norm reads, or a; da: a slot */
    float *packed;     /* (to.channels, window_ld) */
    gpu_norm norm;
    bool is_first_in, is_first_add; /* this operation's word on that value's gradient is the first */
    bool needs_input;               /* somebody learns behind its input */
    uint32_t piece;                 /* on the way back of a convolution: images whose windows are there at once */
    uint32_t part, n_parts;         /* places in a part of the weights' gradient; parts of a piece */
};

/* Forward, norms by the batch's statistics or by the running ones; back. */
enum gpu_trunk_way { GPU_TRUNK_FORWARD, GPU_TRUNK_RUN, GPU_TRUNK_BACK };

struct trunk_shape {
    uint32_t B;
    uint32_t way; /* enum gpu_trunk_way */
};

struct ebm_gpu_trunk_train {
    ebm_gpu_trained *trained;
    ebm_gpu_space *space;
    const ebm_trunk *trunk;
    gpu_memory memory;
    uint32_t max_rows, B; /* B: of the last forward */
    std::vector<gpu_image_op> ops;
    float *x, *images;               /* (rows, X) as it comes, and channels inner */
    float *h, *dh;                   /* (rows, trunk.out) as chunks read it, and the gradient that they leave */
    float *windows, *parts, *slopes; /* of a piece; of the weights' gradient; (3, most channels) */
    double *sums;                    /* (GPU_SUM_PARTS, 2, most channels) */
    std::vector<gpu_recorded<trunk_shape>> graphs;
};

/* A value, and its gradient, from image `first` on. */
inline float *gpu_value_of(const ebm_gpu_trunk_train *t, uint32_t value, size_t first)
{
    if (value == 0)
        return t->images + first * ebm_shape_count(&t->trunk->in);
    return t->ops[value - 1].a + first * ebm_shape_count(&t->ops[value - 1].op.to);
}

inline float *gpu_gradient_of(const ebm_gpu_trunk_train *t, uint32_t value, size_t first)
{
    return t->ops[value - 1].da + first * ebm_shape_count(&t->ops[value - 1].op.to);
}

/* The way back of B images, from `dh`, enqueued. */
bool gpu_trunk_back(ebm_gpu_trunk_train *train, uint32_t B);
#endif
