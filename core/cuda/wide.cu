/* wide.cu - a wide first energy layer and the last one behind it in a single pass, by tensor cores: g -> f.
 *
 *   f = act(w act(W g + hx) + bias),  W (N, G) the part of the first layer that reads g, hx of the tile's row
 *
 * A block has one tile, so that its samples share hx. Their g lies in shared memory, rounded, for all of the block's
 * life; W comes by pieces of COLUMNS outputs and DEEP inputs, the next one on its way while one is multiplied, and what
 * pieces give is used up where it comes out: nothing of N numbers a sample ever reaches global memory. Eight warps have
 * ROWS_OF_WARP samples and COLUMNS_OF_WARP outputs of a piece each.
 *
 * Products are of bfloat16 or TF32 numbers, sums of floats, in an order that depends on N and G alone. Only what
 * nvcuda::wmma gives: where in a fragment a number lies is not known, so that a fragment goes through shared memory. */
#include "core/cuda/profile_internal.h"

namespace wmma = nvcuda::wmma;

#define WIDE_THREADS 256u
#define COLUMNS 128u
#define PIECE_BYTES 64u /* of an output in a piece */
#define ROWS_OF_WARP 32u
#define COLUMNS_OF_WARP 64u
#define SIDE 16u          /* of a fragment's results */
#define RESULTS_APART 20u /* floats, of a fragment's rows in shared memory */
#define RESULTS (SIDE * RESULTS_APART)
#define ACROSS (COLUMNS / COLUMNS_OF_WARP)                    /* warps side by side */
#define GRAIN 16u                                             /* bytes that a thread copies at once */
#define GRAINS (COLUMNS * PIECE_BYTES / GRAIN / WIDE_THREADS) /* of a thread, in a piece */
#define APART_BYTES (PIECE_BYTES + GRAIN)
#define PIECE (COLUMNS * APART_BYTES) /* bytes of one in shared memory, and of all warps' fragments of results */
#define WIDE_SPACE (96u << 10) /* bytes of shared memory of a block, at most: two fit into compute capability 9.0 */

/* How inputs are rounded. STEP: the depth of a fragment; DEEP: that of a piece; APART: numbers behind a row in shared
 * memory. */
struct as_bf16 {
    typedef __nv_bfloat16 number;
    typedef __nv_bfloat16 kind;
    static const uint32_t STEP = 16, DEEP = PIECE_BYTES / 2, APART = GRAIN / 2;
    DEVICE number rounded(float x)
    {
        return __float2bfloat16_rn(x);
    }
};

struct as_tf32 {
    typedef float number;
    typedef wmma::precision::tf32 kind;
    static const uint32_t STEP = 8, DEEP = PIECE_BYTES / 4, APART = GRAIN / 4;
    DEVICE number rounded(float x)
    {
        return fabsf(x) < INFINITY ? __uint_as_float((__float_as_uint(x) + 0x1000u) & 0xffffe000u) : x;
    }
};

/* What wide_k reads. */
struct gpu_wide {
    const struct gpu_layer *first, *last; /* device memory; first->weight_wide has the kernel's numbers */
    const struct ebm_gpu_tile *tiles;
    const float *hx; /* (rows, N) */
    const void *g;   /* (sample, G), ld_g apart: float, or what wide_k multiplies */
    uint32_t ld_g, G, deep;
    bool is_rounded; /* g is bfloat16 */
};

template <class As> static size_t shared_bytes(uint32_t deep)
{
    return (size_t)EBM_GPU_TILE * (deep + As::APART) * sizeof(typename As::number) + 2 * PIECE;
}

/* The tile's g, four numbers of floats at once, zero behind G. */
template <class As> DEVICE void put_samples(typename As::number *to, const struct gpu_wide &w)
{
    const float *g = static_cast<const float *>(w.g) + (size_t)blockIdx.x * EBM_GPU_TILE * w.ld_g;
    for (uint32_t i = threadIdx.x; i < EBM_GPU_TILE * w.deep / 4; i += WIDE_THREADS) {
        uint32_t sample = i / (w.deep / 4), at = i % (w.deep / 4) * 4;
        float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (at < w.G)
            four = *reinterpret_cast<const float4 *>(g + (size_t)sample * w.ld_g + at);
        typename As::number *own = to + sample * (w.deep + As::APART) + at;
        own[0] = As::rounded(four.x);
        own[1] = As::rounded(at + 1 < w.G ? four.y : 0.0f);
        own[2] = As::rounded(at + 2 < w.G ? four.z : 0.0f);
        own[3] = As::rounded(at + 3 < w.G ? four.w : 0.0f);
    }
}

/* The same of bfloat16, eight at once. */
DEVICE void put_rounded(__nv_bfloat16 *to, const struct gpu_wide &w)
{
    const __nv_bfloat16 *g = static_cast<const __nv_bfloat16 *>(w.g) + (size_t)blockIdx.x * EBM_GPU_TILE * w.ld_g;
    for (uint32_t i = threadIdx.x; i < EBM_GPU_TILE * w.deep / 8; i += WIDE_THREADS) {
        uint32_t sample = i / (w.deep / 8), at = i % (w.deep / 8) * 8;
        __nv_bfloat16 *own = to + sample * (w.deep + as_bf16::APART) + at;
        uint4 eight = {0, 0, 0, 0};
        if (at < w.G)
            eight = *reinterpret_cast<const uint4 *>(g + (size_t)sample * w.ld_g + at);
        *reinterpret_cast<uint4 *>(own) = eight;
        for (uint32_t behind = w.G > at ? w.G - at : 0; behind < 8; behind++)
            own[behind] = __float2bfloat16_rn(0.0f);
    }
}

/* A thread's part of outputs n .. n + COLUMNS - 1 and inputs k .. of a piece: on its way, and in shared memory. */
struct wide_piece {
    uint4 grains[GRAINS];
};

template <class As> DEVICE void fetch(struct wide_piece *piece, const struct gpu_wide &w, uint32_t n, uint32_t k)
{
    const typename As::number *weight = reinterpret_cast<const typename As::number *>(w.first->weight_wide);
    const uint32_t N = w.first->out;
#pragma unroll
    for (uint32_t i = 0; i < GRAINS; i++) {
        uint32_t at = i * WIDE_THREADS + threadIdx.x, o = n + at / (PIECE_BYTES / GRAIN);
        const uint4 *row = reinterpret_cast<const uint4 *>(weight + (size_t)o * w.deep + k);
        piece->grains[i] = o < N ? row[at % (PIECE_BYTES / GRAIN)] : uint4{0, 0, 0, 0};
    }
}

DEVICE void put(unsigned char *to, const struct wide_piece *piece)
{
#pragma unroll
    for (uint32_t i = 0; i < GRAINS; i++) {
        uint32_t at = i * WIDE_THREADS + threadIdx.x;
        *reinterpret_cast<uint4 *>(to + at / (PIECE_BYTES / GRAIN) * APART_BYTES +
                                   at % (PIECE_BYTES / GRAIN) * GRAIN) = piece->grains[i];
    }
}

/* One piece of inputs into a warp's sums, two fragments of samples by four of outputs; both inputs are the warp's.
 */
template <class As, class Sum>
DEVICE void multiply(Sum sums[2][4], const typename As::number *samples, uint32_t samples_apart,
                     const typename As::number *weights)
{
    wmma::fragment<wmma::matrix_a, SIDE, SIDE, As::STEP, typename As::kind, wmma::row_major> a[2];
    wmma::fragment<wmma::matrix_b, SIDE, SIDE, As::STEP, typename As::kind, wmma::col_major> b;
    for (uint32_t k = 0; k < As::DEEP; k += As::STEP) {
#pragma unroll
        for (uint32_t i = 0; i < 2; i++)
            wmma::load_matrix_sync(a[i], samples + i * SIDE * samples_apart + k, samples_apart);
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
            wmma::load_matrix_sync(b, weights + j * SIDE * (As::DEEP + As::APART) + k, As::DEEP + As::APART);
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

DEVICE void put_tile(__nv_bfloat16 *to, const struct gpu_wide &w)
{
    if (w.is_rounded)
        put_rounded(to, w);
    else
        put_samples<as_bf16>(to, w);
}

DEVICE void put_tile(float *to, const struct gpu_wide &w)
{
    put_samples<as_tf32>(to, w);
}

/* A block a tile. Two pieces in shared memory in turn: one is multiplied, the other one is filled when all have
 * multiplied it, or has results in it, where a row of pieces is at its end. */
template <class As> KERNEL void __launch_bounds__(WIDE_THREADS, 2) wide_k(struct gpu_wide w, float *f)
{
    DYN_SHARED(float, space);
    typedef typename As::number number;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, apart = w.deep + As::APART, N = w.first->out;
    const uint32_t row = warp / ACROSS * ROWS_OF_WARP, column = warp % ACROSS * COLUMNS_OF_WARP;
    const float *hx = w.hx + (size_t)w.tiles[blockIdx.x].row * N;
    number *samples = reinterpret_cast<number *>(space);
    unsigned char *pieces = reinterpret_cast<unsigned char *>(samples + EBM_GPU_TILE * apart), *other = pieces + PIECE;
    float *results, sum[2] = {0.0f, 0.0f};
    struct wide_piece next;
    fetch<As>(&next, w, 0, 0);
    put_tile(samples, w);
    put(pieces, &next);
    for (uint32_t n = 0; n < N; n += COLUMNS) {
        wmma::fragment<wmma::accumulator, SIDE, SIDE, As::STEP, float> sums[2][4];
#pragma unroll
        for (uint32_t i = 0; i < 8; i++)
            wmma::fill_fragment(sums[i / 4][i % 4], 0.0f);
        for (uint32_t k = 0; k < w.deep; k += As::DEEP) {
            bool is_last = k + As::DEEP == w.deep;
            __syncthreads(); /* the piece is there, and the samples; nobody needs the last one */
            fetch<As>(&next, w, is_last ? n + COLUMNS : n, is_last ? 0 : k + As::DEEP);
            multiply<As>(sums, samples + row * apart + k, apart,
                         reinterpret_cast<const number *>(pieces) + column * (As::DEEP + As::APART));
            if (!is_last) {
                unsigned char *done = pieces;
                put(other, &next);
                pieces = other;
                other = done;
            }
        }
        results = reinterpret_cast<float *>(other);
#pragma unroll
        for (uint32_t i = 0; i < 8; i++)
            sum[i / 4] += used_up(sums[i / 4][i % 4], results + warp * RESULTS, w, hx, n + column + i % 4 * SIDE);
        __syncthreads(); /* of all results only the sums are kept */
        put(other, &next);
        other = pieces;
        pieces = reinterpret_cast<unsigned char *>(results);
    }
    results = reinterpret_cast<float *>(other);
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
    return shared_bytes<As>(gpu_wide_deep(G)) <= WIDE_SPACE;
}

bool gpu_wide_fits(enum ebm_gpu_precision precision, uint32_t G)
{
    return precision == EBM_GPU_TF32 ? fits<as_tf32>(G) : precision == EBM_GPU_BF16 && fits<as_bf16>(G);
}

uint32_t gpu_wide_deep(uint32_t G)
{
    return gpu_round_up(G, as_bf16::DEEP); /* of both kinds whole pieces */
}

cudaError_t gpu_wide_open(void)
{
    cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void *>(wide_k<as_bf16>),
                                             cudaFuncAttributeMaxDynamicSharedMemorySize, (int)WIDE_SPACE);
    return error != cudaSuccess ? error
                                : cudaFuncSetAttribute(reinterpret_cast<const void *>(wide_k<as_tf32>),
                                                       cudaFuncAttributeMaxDynamicSharedMemorySize, (int)WIDE_SPACE);
}

/* Weights once, and not what a tile's row gives, hx. */
static gpu_work work_of(const ebm_gpu_net *net, const struct gpu_wide *w, uint32_t n_tiles)
{
    const double samples = (double)n_tiles * EBM_GPU_TILE, N = net->energy()->out;
    const double of_g = w->is_rounded ? 2.0 : 4.0, of_weights = net->wide == EBM_GPU_BF16 ? 2.0 : 4.0;
    return {"wide_k", gpu_product_kind(false), samples * 2.0 * N * (w->G + 2.0),
            samples * (of_g * w->ld_g + sizeof(float)) + N * (of_weights * w->deep + 2.0 * sizeof(float))};
}

void gpu_wide_score(ebm_gpu_space *space, const ebm_gpu_net *net, const ebm_gpu_tile *tiles, uint32_t n_tiles,
                    const float *hx, const float *g, uint32_t ld_g, float *f)
{
    const gpu_layer *first = net->d_layers + (net->energy() - net->layers.data());
    struct gpu_wide w = {
        first, first + 1, tiles, hx, g, ld_g, net->energy()->in, gpu_wide_deep(net->energy()->in), gpu_g_is_bf16(net)};
    const gpu_timed timed(space, space->compute, [&] { return work_of(net, &w, n_tiles); });
    if (net->wide == EBM_GPU_BF16)
        LAUNCH(wide_k<as_bf16>, dim3(n_tiles), dim3(WIDE_THREADS), shared_bytes<as_bf16>(w.deep), space->compute, w, f);
    else
        LAUNCH(wide_k<as_tf32>, dim3(n_tiles), dim3(WIDE_THREADS), shared_bytes<as_tf32>(w.deep), space->compute, w, f);
}

static const gpu_kernels loaded = {GPU_KERNEL(wide_k<as_bf16>), GPU_KERNEL(wide_k<as_tf32>)};
