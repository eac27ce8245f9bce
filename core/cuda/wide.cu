/* wide.cu - a wide first energy layer and the last one behind it in a single pass, by tensor cores: g -> f.
 *
 *   f = act(w act(W g + hx) + bias),  W (N, G) the part of the first layer that reads g, hx of the tile's row
 *
 * A block has one tile, so that its samples share hx. Their g lies in shared memory, rounded, for all of the block's
 * life; W comes by pieces of COLUMNS outputs and DEEP inputs, and what a piece gives is used up where it comes out:
 * nothing of N numbers a sample ever reaches global memory. Eight warps have a piece of ROWS_OF_WARP samples and
 * COLUMNS_OF_WARP outputs each.
 *
 * Products are of bfloat16 or TF32 numbers, sums of floats, in an order that depends on N and G alone. Only what
 * nvcuda::wmma gives: where in a fragment a number lies is not known, so that a fragment goes through shared memory. */
#include "core/cuda/engine_internal.h"

namespace wmma = nvcuda::wmma;

#define WIDE_THREADS 256u
#define COLUMNS 128u
#define DEEP 32u
#define ROWS_OF_WARP 32u
#define COLUMNS_OF_WARP 64u
#define SIDE 16u          /* of a fragment's results */
#define RESULTS_APART 20u /* floats, of a fragment's rows in shared memory */
#define RESULTS (SIDE * RESULTS_APART)
#define ACROSS (COLUMNS / COLUMNS_OF_WARP) /* warps side by side */
#define WIDE_SPACE                                                                                                     \
    (96u << 10) /* bytes of shared memory of a block, at most: two of them fit into compute capability 9.0 */

/* How inputs are rounded. STEP: the depth of a fragment; APART: numbers behind a row in shared memory. */
struct as_bf16 {
    typedef __nv_bfloat16 number;
    typedef __nv_bfloat16 kind;
    static const uint32_t STEP = 16, APART = 8;
    DEVICE number rounded(float x)
    {
        return __float2bfloat16_rn(x);
    }
};

struct as_tf32 {
    typedef float number;
    typedef wmma::precision::tf32 kind;
    static const uint32_t STEP = 8, APART = 4;
    DEVICE number rounded(float x)
    {
        return fabsf(x) < INFINITY ? __uint_as_float((__float_as_uint(x) + 0x1000u) & 0xffffe000u) : x;
    }
};

/* What wide_k reads. */
struct gpu_wide {
    const struct gpu_layer *first, *last; /* device memory; first->weight_wide has the kernel's numbers */
    const struct ebm_gpu_tile *tiles;
    const float *hx, *g;    /* (rows, N); (sample, G), ld_g apart */
    uint32_t ld_g, G, deep; /* deep: G up to a multiple of DEEP */
};

template <class As> static size_t shared_bytes(uint32_t deep)
{
    size_t numbers = (size_t)EBM_GPU_TILE * (deep + As::APART) + (size_t)COLUMNS * (DEEP + As::APART);
    return numbers * sizeof(typename As::number) + WIDE_THREADS / 32 * RESULTS * sizeof(float);
}

/* The tile's g, zero behind G. */
template <class As> DEVICE void put_samples(typename As::number *to, const struct gpu_wide &w)
{
    const float *g = w.g + (size_t)blockIdx.x * EBM_GPU_TILE * w.ld_g;
    for (uint32_t i = threadIdx.x; i < EBM_GPU_TILE * w.deep; i += WIDE_THREADS) {
        uint32_t sample = i / w.deep, at = i % w.deep;
        to[sample * (w.deep + As::APART) + at] = As::rounded(at < w.G ? g[(size_t)sample * w.ld_g + at] : 0.0f);
    }
}

/* Outputs n .. n + COLUMNS - 1 of the first layer's N, inputs k .. k + DEEP - 1. */
template <class As>
DEVICE void put_weights(typename As::number *to, const struct gpu_wide &w, uint32_t N, uint32_t n, uint32_t k)
{
    const typename As::number *weight = reinterpret_cast<const typename As::number *>(w.first->weight_wide);
    for (uint32_t i = threadIdx.x; i < COLUMNS * DEEP; i += WIDE_THREADS) {
        uint32_t o = n + i / DEEP, at = i % DEEP;
        to[i / DEEP * (DEEP + As::APART) + at] = o < N ? weight[(size_t)o * w.deep + k + at] : As::rounded(0.0f);
    }
}

/* One piece of DEEP inputs into a warp's sums, two fragments of samples by four of outputs; both inputs are the warp's.
 */
template <class As, class Sum>
DEVICE void multiply(Sum sums[2][4], const typename As::number *samples, uint32_t samples_apart,
                     const typename As::number *weights)
{
    wmma::fragment<wmma::matrix_a, SIDE, SIDE, As::STEP, typename As::kind, wmma::row_major> a[2];
    wmma::fragment<wmma::matrix_b, SIDE, SIDE, As::STEP, typename As::kind, wmma::col_major> b;
    for (uint32_t k = 0; k < DEEP; k += As::STEP) {
#pragma unroll
        for (uint32_t i = 0; i < 2; i++)
            wmma::load_matrix_sync(a[i], samples + i * SIDE * samples_apart + k, samples_apart);
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
            wmma::load_matrix_sync(b, weights + j * SIDE * (DEEP + As::APART) + k, DEEP + As::APART);
#pragma unroll
            for (uint32_t i = 0; i < 2; i++)
                wmma::mma_sync(sums[i][j], a[i], b, sums[i][j]);
        }
    }
}

/* What a fragment of outputs n .. n + SIDE - 1 adds to f of the lane's sample: half of them. */
template <class Sum>
DEVICE float used_up(const Sum &sum, float *results, const struct gpu_wide &w, const float *hx, uint32_t n)
{
    uint32_t lane = threadIdx.x % 32, first = lane % 2 * (SIDE / 2);
    float f = 0.0f;
    wmma::store_matrix_sync(results, sum, RESULTS_APART, wmma::mem_row_major);
    __syncwarp(); /* the fragment is there */
    for (uint32_t i = first; i < first + SIDE / 2 && n + i < w.first->out; i++)
        f += w.last->weight[n + i] * activate(w.first->activation, results[lane / 2 * RESULTS_APART + i] + hx[n + i]);
    __syncwarp(); /* and may be overwritten */
    return f;
}

/* A block a tile. */
template <class As> KERNEL void __launch_bounds__(WIDE_THREADS, 2) wide_k(struct gpu_wide w, float *f)
{
    DYN_SHARED(float, space);
    typedef typename As::number number;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, apart = w.deep + As::APART, N = w.first->out;
    const uint32_t row = warp / ACROSS * ROWS_OF_WARP, column = warp % ACROSS * COLUMNS_OF_WARP;
    const float *hx = w.hx + (size_t)w.tiles[blockIdx.x].row * N;
    number *samples = reinterpret_cast<number *>(space), *weights = samples + EBM_GPU_TILE * apart;
    float *results = reinterpret_cast<float *>(weights + COLUMNS * (DEEP + As::APART)), sum[2] = {0.0f, 0.0f};
    put_samples<As>(samples, w);
    for (uint32_t n = 0; n < N; n += COLUMNS) {
        wmma::fragment<wmma::accumulator, SIDE, SIDE, As::STEP, float> sums[2][4];
#pragma unroll
        for (uint32_t i = 0; i < 8; i++)
            wmma::fill_fragment(sums[i / 4][i % 4], 0.0f);
        for (uint32_t k = 0; k < w.deep; k += DEEP) {
            __syncthreads(); /* nobody needs the last piece */
            put_weights<As>(weights, w, N, n, k);
            __syncthreads(); /* the next one is there, and the samples */
            multiply<As>(sums, samples + row * apart + k, apart, weights + column * (DEEP + As::APART));
        }
#pragma unroll
        for (uint32_t i = 0; i < 8; i++)
            sum[i / 4] += used_up(sums[i / 4][i % 4], results + warp * RESULTS, w, hx, n + column + i % 4 * SIDE);
    }
    __syncthreads(); /* of all results only the sums are kept */
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        float both = sum[i] + __shfl_xor_sync(ALL_LANES, sum[i], 1);
        if (lane % 2 == 0)
            results[warp % ACROSS * EBM_GPU_TILE + row + i * SIDE + lane / 2] = both;
    }
    __syncthreads(); /* all sums are there */
    if (threadIdx.x < EBM_GPU_TILE)
        f[(size_t)blockIdx.x * EBM_GPU_TILE + threadIdx.x] = activate(
            w.last->activation, results[threadIdx.x] + results[EBM_GPU_TILE + threadIdx.x] + w.last->bias[0]);
}

template <class As> static bool fits(uint32_t G)
{
    return shared_bytes<As>(gpu_round_up(G, DEEP)) <= WIDE_SPACE;
}

bool gpu_wide_fits(enum ebm_gpu_precision precision, uint32_t G)
{
    return precision == EBM_GPU_TF32 ? fits<as_tf32>(G) : precision == EBM_GPU_BF16 && fits<as_bf16>(G);
}

uint32_t gpu_wide_deep(uint32_t G)
{
    return gpu_round_up(G, DEEP);
}

cudaError_t gpu_wide_open(void)
{
    cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void *>(wide_k<as_bf16>),
                                             cudaFuncAttributeMaxDynamicSharedMemorySize, (int)WIDE_SPACE);
    return error != cudaSuccess ? error
                                : cudaFuncSetAttribute(reinterpret_cast<const void *>(wide_k<as_tf32>),
                                                       cudaFuncAttributeMaxDynamicSharedMemorySize, (int)WIDE_SPACE);
}

void gpu_wide_score(ebm_gpu_space *space, const ebm_gpu_net *net, const ebm_gpu_tile *tiles, uint32_t n_tiles,
                    const float *hx, const float *g, uint32_t ld_g, float *f)
{
    const gpu_layer *first = net->d_layers + (net->energy() - net->layers.data());
    struct gpu_wide w = {first, first + 1, tiles, hx, g, ld_g, net->energy()->in, gpu_wide_deep(net->energy()->in)};
    if (net->wide == EBM_GPU_BF16)
        LAUNCH(wide_k<as_bf16>, dim3(n_tiles), dim3(WIDE_THREADS), shared_bytes<as_bf16>(w.deep), space->compute, w, f);
    else
        LAUNCH(wide_k<as_tf32>, dim3(n_tiles), dim3(WIDE_THREADS), shared_bytes<as_tf32>(w.deep), space->compute, w, f);
}

static const gpu_kernels loaded = {GPU_KERNEL(wide_k<as_bf16>), GPU_KERNEL(wide_k<as_tf32>)};
