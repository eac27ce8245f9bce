/* engine_internal.h - what the .cu files share: layers and nets on the device, a space's handles, errors, products. */
#ifndef EBM_CORE_CUDA_ENGINE_INTERNAL_H
#define EBM_CORE_CUDA_ENGINE_INTERNAL_H

#include <string.h>

#include <initializer_list>
#include <vector>

#include "core/cuda/compat.h"
#include "core/cuda/engine.h"
#include "core/cuda/sizes.h"

#define GPU_ACTIVATIONS (32u << 20) /* bytes, of one of the sample side's two buffers: one tile of the widest layer */

/* Rows of numbers, `ld` apart. */
struct gpu_rows {
    float *p;
    uint32_t ld;
};

/* A layer on the device. */
struct gpu_layer {
    const float *weight;      /* (out, in), rows `ld` apart: for matrix products; NULL where layers_k runs it */
    const float *weight_t;    /* (in, out): for layers_k; NULL where it does not */
    const float *weight_wide; /* of the first energy layer, for wide_k (wide.cu): rounded, rows gpu_wide_deep apart */
    const float *bias;        /* (out) */
    uint32_t in, out, ld;
    int activation; /* enum ebm_activation */
    bool residual;
};

DEVICE float activate(int kind, float z)
{
    switch (kind) {
    case EBM_ACT_RELU:
        return z < 0.0f ? 0.0f : z; /* a NaN stays */
    case EBM_ACT_TANH:
        return tanhf(z);
    case EBM_ACT_SILU:
        return z / (1.0f + expf(-z));
    case EBM_ACT_SOFTPLUS:
        return (z > 0.0f ? z : 0.0f) + log1pf(expf(-fabsf(z)));
    default:
        return z;
    }
}

struct ebm_gpu_trunk;

struct ebm_gpu_net {
    uint32_t device;
    uint64_t number; /* of all nets ever made: what graphs are kept by */
    uint32_t X, D, H, G, K, own_H, energy_out;
    uint32_t n_feature, n_target, n_energy, n_own, n_head[3]; /* layers: mean, log variance, weight */
    uint32_t x_widest, widest_ld; /* of the x side; of what the sample side writes to global memory, padded */
    bool target_is_narrow, energy_is_narrow;
    enum ebm_gpu_precision wide;   /* of wide_k, which runs its energy net; FP32: it does not */
    uint32_t max_tiles;            /* that the sample side's two buffers have room for, EBM_GPU_TILES at most */
    std::vector<gpu_layer> layers; /* feature, W_h of the energy net, own, heads, target, energy; pointers: device */
    gpu_layer *d_layers;
    float *block; /* device memory of all tensors */
    void *exact;  /* device memory of its table of kinks (exact.cu), NULL: none */
    uint32_t exact_rows, exact_widest;
    bool exact_is_deep;   /* more than one hidden energy layer */
    ebm_gpu_trunk *trunk; /* of images (trunk_internal.h), NULL: of vectors */

    const gpu_layer *feature() const
    {
        return layers.data();
    }
    const gpu_layer *of_h() const
    {
        return feature() + n_feature;
    }
    const gpu_layer *own() const
    {
        return of_h() + (n_energy > 0);
    }
    const gpu_layer *head(uint32_t i) const
    {
        const gpu_layer *at = own() + n_own;
        for (uint32_t before = 0; before < i; before++)
            at += n_head[before];
        return at;
    }
    const gpu_layer *target() const
    {
        return head(3);
    }
    const gpu_layer *energy() const
    {
        return target() + n_target;
    }
};

struct gpu_program;
struct gpu_profile;

struct ebm_gpu_space {
    uint32_t device, max_rows;
    size_t max_tiles;
    bool failed;
    enum ebm_status harmless; /* what it failed of is no failure of the device; OK: it is */
    char failure[EBM_GPU_FAILURE_BYTES];
    cublasLtHandle_t lt;
    cudaStream_t compute, up, down; /* up and down: copies of slots, which overlap what is computed */
    cudaEvent_t idle;               /* of gpu_sleep */
    void *workspace;
    float *a, *b; /* activations of the sample side; NULL until a wide net is there */
    void *dnn;    /* cuDNN's handle (cudnn.cu), NULL: none */
    bool has_asked_dnn;
    gpu_profile *profile; /* while launches are timed (profile_internal.h), else NULL */
    std::vector<gpu_program *> programs;
};

/* Memory that is given back together: the device's, and pinned. */
struct gpu_memory {
    std::vector<void *> device, pinned;
    size_t bytes; /* of the device, those asked for last with them */
};

/* ---- device.cu ---- */

/* Sets the space's failure, unless there is one. Returns false. */
bool gpu_fail(ebm_gpu_space *space, const char *what, const char *why);
/* The same, of what harms nothing but what is being made. */
bool gpu_lack(ebm_gpu_space *space, enum ebm_status status, const char *what, const char *why);
bool gpu_fine(ebm_gpu_space *space, cudaError_t error, const char *what);
bool gpu_fine(ebm_gpu_space *space, cublasStatus_t status, const char *what);
/* After something could not be made, before what there is of it is freed. Device memory that was not there, or a
 * product that nobody has, is no failure of the device, and CUDA goes on after it: so does the space then, NO_MEMORY or
 * INVALID. Else DEVICE. */
enum ebm_status gpu_end_making(ebm_gpu_space *space, struct ebm_error *reterr);
/* Something went wrong where no space is: NO_MEMORY or DEVICE. */
enum ebm_status gpu_refuse(struct ebm_error *reterr, const char *what, cudaError_t error);
enum ebm_gpu_precision gpu_precision(void); /* that devices were opened with */
/* From pageable memory; waits. */
cudaError_t gpu_put(void *to, const void *from, size_t bytes);
/* The thread's device from now on. */
cudaError_t gpu_set_device(uint32_t device);
bool gpu_enter(ebm_gpu_space *space); /* the space's, and no error of before */

/* Kernels of a file, which the device has once it is open. CUDA would load each when it comes first: while somebody
 * waits, or within a capture, where nothing may be loaded. One object a file, made before there is a device. */
struct gpu_kernels {
    gpu_kernels(std::initializer_list<const void *> kernels);
};
#define GPU_KERNEL(kernel) reinterpret_cast<const void *>(kernel)

/* `count` zeroed floats, at a multiple of 256 bytes. */
bool gpu_device_floats(ebm_gpu_space *space, gpu_memory *memory, float **ret, size_t count);
bool gpu_pinned_floats(ebm_gpu_space *space, gpu_memory *memory, float **ret, size_t count);
void gpu_memory_free(gpu_memory *memory);
bool gpu_copy(ebm_gpu_space *space, cudaStream_t stream, void *to, const void *from, size_t bytes, cudaMemcpyKind kind);

/* Tensors on their way into one block of device memory, each at a multiple of 256 bytes. Until that is there, a pointer
 * to one holds where in the block it will lie, and 1. */
struct gpu_tensors {
    std::vector<float> numbers;

    /* Zeros for one more, to be filled before the next one comes. */
    float *add(size_t count, const float **ret_tensor);
    /* Waits. What ret_block then is, the caller frees, after an error, too. */
    cudaError_t upload(uint32_t device, float **ret_block) const;
};
void gpu_place(const float *block, const float **tensor); /* NULL stays */

/* ---- nets.cu ---- */

bool gpu_net_is_live(uint64_t number); /* graphs of others are dropped */

/* ---- products.cu ---- */

/* A matrix in columns of `rows` numbers, `ld` apart; turned: its transpose is meant. What lies row-major (n, length) is
 * one of n columns. */
struct gpu_matrix {
    const float *p;
    uint32_t rows, columns, ld;
    bool is_turned;
};

/* d = a b, plus bias (of a column's length) to each column unless NULL, plus d itself where it adds. */
struct gpu_product {
    gpu_matrix a, b;
    float *d;
    uint32_t ld_d;
    const float *bias;
    bool adds;
    bool has_relu; /* then d = max(d, 0); with a bias alone */
    uint32_t most; /* columns of b for which the algorithm is chosen, and taken for all numbers of them that it does; b
                    * is not turned. 0: those that there are */
    bool is_exact; /* float, whatever the precision */
    uint32_t batches; /* so many products whose matrices lie so many numbers apart; 0 and 1: one */
    size_t stride_a, stride_b, stride_d;
};
bool gpu_multiply(ebm_gpu_space *space, const gpu_product *p);
/* z (rows, l->out) = x W^T + bias, by the algorithm of most_rows rows. */
bool gpu_multiply_layer(ebm_gpu_space *space, const gpu_layer *l, const float *bias, gpu_rows x, gpu_rows z,
                        uint32_t rows, uint32_t most_rows, bool is_exact);
/* Layers one after the other, in `a` and `b` in turn; the last one's output goes to `to` unless it is NULL. Where it
 * lies. */
bool gpu_run_layers(ebm_gpu_space *space, const gpu_layer *layers, uint32_t n, gpu_rows in, uint32_t rows,
                    uint32_t most_rows, bool is_exact, float *a, float *b, float *to, gpu_rows *ret);

/* What `enqueue` enqueues, as a graph, with the device memory that it needs: none is taken when it is launched. */
template <class Enqueue> bool gpu_record(ebm_gpu_space *space, cudaGraphExec_t *ret, Enqueue enqueue)
{
    cudaGraph_t graph = NULL;
    if (!gpu_fine(space, cudaStreamBeginCapture(space->compute, cudaStreamCaptureModeThreadLocal), "a graph"))
        return false;
    bool ok = enqueue();
    ok = gpu_fine(space, cudaStreamEndCapture(space->compute, &graph), "a graph") && ok;
    ok = ok && gpu_fine(space, cudaGraphInstantiate(ret, graph, 0), "a graph");
    ok = ok && gpu_fine(space, cudaGraphUpload(*ret, space->compute), "a graph");
    if (graph != NULL)
        (void)cudaGraphDestroy(graph);
    return ok;
}

/* Work of shapes that come again. exec NULL: the shape came once. */
template <class Shape> struct gpu_recorded {
    Shape shape; /* without gaps between its members */
    cudaGraphExec_t exec;
};

/* What `enqueue` enqueues for such a shape: as it comes the first time, recorded from the second time on, while there
 * are fewer than `most` of them. */
template <class Shape, class Enqueue>
bool gpu_run_shape(ebm_gpu_space *space, std::vector<gpu_recorded<Shape>> *graphs, size_t most, const Shape &shape,
                   const char *what, Enqueue enqueue)
{
    for (gpu_recorded<Shape> &one : *graphs) {
        if (memcmp(&one.shape, &shape, sizeof shape) != 0)
            continue;
        if (one.exec == NULL && !gpu_record(space, &one.exec, enqueue))
            return false;
        return gpu_fine(space, cudaGraphLaunch(one.exec, space->compute), what);
    }
    if (graphs->size() < most)
        graphs->push_back({shape, NULL});
    return enqueue();
}

/* Once nothing of it runs any more, graphs and memory of a space's work are given back. */
template <class Shape>
void gpu_work_free(ebm_gpu_space *space, const std::vector<gpu_recorded<Shape>> &graphs, gpu_memory *memory)
{
    (void)gpu_enter(space);
    (void)cudaStreamSynchronize(space->compute);
    for (const gpu_recorded<Shape> &one : graphs)
        if (one.exec != NULL)
            (void)cudaGraphExecDestroy(one.exec);
    gpu_memory_free(memory);
}

/* ---- engine.cu ---- */

/* Waits for what is computed as gpu_fine says, without a core: for what takes longer than waking up does. */
bool gpu_sleep(ebm_gpu_space *space, const char *what);

/* ---- samples.cu ---- */

cudaError_t gpu_samples_open(void);         /* once for each device */
bool gpu_narrow_fits(uint32_t widest);      /* whether layers_k runs layers of so many numbers */
bool gpu_g_is_bf16(const ebm_gpu_net *net); /* whether that is what g is, rather than float */

/* ---- wide.cu ---- */

/* An energy net of a wide layer and a last one, neither residual. */
cudaError_t gpu_wide_open(void);                                  /* once for each device */
bool gpu_wide_fits(enum ebm_gpu_precision precision, uint32_t G); /* whether it takes G numbers of g */
uint32_t gpu_wide_deep(uint32_t G);                               /* how many there are in a row of weight_wide */
/* f of n_tiles tiles from g (sample, G), rows ld_g numbers apart. */
void gpu_wide_score(ebm_gpu_space *space, const ebm_gpu_net *net, const ebm_gpu_tile *tiles, uint32_t n_tiles,
                    const float *hx, const float *g, uint32_t ld_g, float *f);

/* Outputs of the widest layer, or at_least. */
inline uint32_t gpu_widest(const struct ebm_net *net, uint32_t at_least)
{
    for (uint32_t i = 0; i < net->n_layers; i++)
        at_least = net->layers[i].out > at_least ? net->layers[i].out : at_least;
    return at_least;
}

inline uint32_t gpu_round_up(uint32_t n, uint32_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

#define GPU_THREADS 256u

inline dim3 gpu_blocks(size_t n)
{
    return dim3((unsigned)((n + GPU_THREADS - 1) / GPU_THREADS));
}

#endif
