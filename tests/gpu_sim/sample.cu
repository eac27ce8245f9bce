/* sample.cu - see sample.h. Ordinary kernels in what core/cuda is written with: a reduction of blocks through shared
 * memory and shuffles, draws by Philox, a row of dot products a warp, a batched product, streams, events, a graph. */
#include "core/cuda/compat.h"
#include "tests/gpu_sim/sample.h"

namespace
{

const unsigned THREADS = 256, WARPS = THREADS / 32, ALL = 0xffffffffu;

struct Largest {
    DEVICE float of(float a, float b)
    {
        return fmaxf(a, b);
    }
};

struct Sum {
    DEVICE float of(float a, float b)
    {
        return a + b;
    }
};

/* Of the whole block, to every thread. `part` may still be read by the reduction before: hence the first barrier. */
template <class Op> DEVICE float reduce(float value, float *part)
{
    for (int bits = 16; bits; bits >>= 1)
        value = Op::of(value, __shfl_xor_sync(ALL, value, bits));
    __syncthreads(); /* what was read before */
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = value;
    __syncthreads(); /* what is read next */
    float all = part[0];
    for (unsigned i = 1; i < WARPS; i++)
        all = Op::of(all, part[i]);
    return all;
}

/* A block a row of M: log of the sum of exp(f - y), and the effective number of its terms. */
template <int UNROLL>
__launch_bounds__(256) KERNEL void log_sum_k(const float *f, const float *y, float *lse, float *ess, int M)
{
    SHARED(float, part, [8]);
    const float *fs = f + size_t(blockIdx.x) * M, *ys = y + size_t(blockIdx.x) * M;
    float largest = -INFINITY, sum = 0.0f, squares = 0.0f;
#pragma unroll UNROLL
    for (int i = threadIdx.x; i < M; i += THREADS)
        largest = fmaxf(largest, fs[i] - ys[i]);
    largest = reduce<Largest>(largest, part);
    for (int i = threadIdx.x; i < M; i += THREADS) {
        float e = __expf(fs[i] - ys[i] - largest);
        sum += e;
        squares += e * e;
    }
    sum = reduce<Sum>(sum, part);
    squares = reduce<Sum>(squares, part);
    if (threadIdx.x == 0) {
        lse[blockIdx.x] = largest + logf(sum);
        ess[blockIdx.x] = sum * sum / squares;
    }
}

DEVICE uint4 philox(uint4 c, uint2 key)
{
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xd2511f53u, c.x), low0 = 0xd2511f53u * c.x;
        unsigned high1 = __umulhi(0xcd9e8d57u, c.z), low1 = 0xcd9e8d57u * c.z;
        c = make_uint4(high1 ^ c.y ^ key.x, low1, high0 ^ c.w ^ key.y, low0);
        key.x += 0x9e3779b9u;
        key.y += 0xbb67ae85u;
    }
    return c;
}

/* y (B, M), one thread a draw. */
KERNEL void draw_k(const float *mean, const float *deviation, float *y, int M, unsigned long long seed)
{
    DYN_SHARED(float, moments);
    if (threadIdx.x == 0)
        moments[0] = mean[blockIdx.y];
    if (threadIdx.x == 32)
        moments[1] = deviation[blockIdx.y];
    __syncthreads(); /* moments */
    int m = blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M)
        return;
    uint4 words = philox(make_uint4(m, blockIdx.y, 0, 0), make_uint2(unsigned(seed), unsigned(seed >> 32)));
    float u = (float(words.x >> 8) + 0.5f) * 0x1p-24f, angle = float(words.y >> 8) * 0x1p-23f, s, c;
    sincospif(angle, &s, &c);
    y[size_t(blockIdx.y) * M + m] = moments[0] + moments[1] * sqrtf(-2.0f * logf(u)) * c;
}

/* A warp a row: f = h . v, and total += f. */
KERNEL void dot_k(const float *h, const float *v, float *f, double *total, int rows, int out)
{
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    const float4 *hs = reinterpret_cast<const float4 *>(h + size_t(row) * out);
    const float4 *vs = reinterpret_cast<const float4 *>(v);
    float sum = 0.0f;
    for (int i = lane; i < out / 4; i += 32) {
        float4 a = hs[i], b = vs[i];
        sum = fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, sum))));
    }
    for (int by = 16; by; by >>= 1)
        sum += __shfl_down_sync(ALL, sum, by);
    if (lane == 0) {
        f[row] = sum;
        atomicAdd(total, double(sum));
    }
}

/* -- host -- */

struct blas {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t weight, x, h;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
};

struct run {
    const struct sample *s;
    cudaStream_t stream, copies;
    cudaEvent_t uploaded;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float *x, *weight, *bias, *v, *mean, *deviation, *h, *f, *y, *lse, *ess;
    double *total, h_total;
    char *workspace;
    blas b;
};

const size_t WORKSPACE = 4096;

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        int error_ = int(call);                                                                                        \
        if (error_)                                                                                                    \
            return error_;                                                                                             \
    } while (0)
#define TRY_BLAS(call)                                                                                                 \
    do {                                                                                                               \
        int error_ = int(call);                                                                                        \
        if (error_)                                                                                                    \
            return -error_;                                                                                            \
    } while (0)

template <class T> int upload(run *r, T **to, const T *from, size_t n)
{
    TRY(cudaMalloc(to, n * sizeof(T)));
    TRY(cudaMemcpyAsync(*to, from, n * sizeof(T), cudaMemcpyHostToDevice, r->copies));
    return 0;
}

int batched(cublasLtMatrixLayout_t *layout, int rows, int cols, int64_t stride, int32_t batch)
{
    TRY_BLAS(cublasLtMatrixLayoutCreate(layout, CUDA_R_32F, rows, cols, rows));
    TRY_BLAS(cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof(batch)));
    TRY_BLAS(cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                              sizeof(stride)));
    return 0;
}

int blas_new(blas *b, const struct sample *s, const float *bias)
{
    cublasOperation_t turned = CUBLAS_OP_T;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_RELU_BIAS;
    int64_t bias_stride = s->out;
    int n = 0;
    TRY_BLAS(cublasLtCreate(&b->handle));
    TRY_BLAS(cublasLtMatmulDescCreate(&b->product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    TRY_BLAS(cublasLtMatmulDescSetAttribute(b->product, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof(turned)));
    TRY_BLAS(cublasLtMatmulDescSetAttribute(b->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue)));
    TRY_BLAS(cublasLtMatmulDescSetAttribute(b->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias)));
    TRY_BLAS(cublasLtMatmulDescSetAttribute(b->product, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, &bias_stride,
                                            sizeof(bias_stride)));
    TRY(batched(&b->weight, s->in, s->out, 0, s->B));
    TRY(batched(&b->x, s->in, s->M, int64_t(s->in) * s->M, s->B));
    TRY(batched(&b->h, s->out, s->M, int64_t(s->out) * s->M, s->B));
    TRY_BLAS(cublasLtMatmulPreferenceCreate(&b->preference));
    TRY_BLAS(cublasLtMatmulPreferenceSetAttribute(b->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE,
                                                  sizeof(WORKSPACE)));
    TRY_BLAS(cublasLtMatmulAlgoGetHeuristic(b->handle, b->product, b->weight, b->x, b->h, b->h, b->preference, 1,
                                            &b->found, &n));
    return n ? 0 : -1;
}

int prepare(run *r)
{
    const struct sample *s = r->s;
    size_t rows = size_t(s->B) * s->M;
    TRY(cudaStreamCreateWithFlags(&r->stream, cudaStreamNonBlocking));
    TRY(cudaStreamCreateWithFlags(&r->copies, cudaStreamNonBlocking));
    TRY(cudaEventCreateWithFlags(&r->uploaded, cudaEventDisableTiming));
    TRY(upload(r, &r->x, s->x, rows * s->in));
    TRY(upload(r, &r->weight, s->weight, size_t(s->out) * s->in));
    TRY(upload(r, &r->bias, s->bias, size_t(s->B) * s->out));
    TRY(upload(r, &r->v, s->v, s->out));
    TRY(upload(r, &r->mean, s->mean, s->B));
    TRY(upload(r, &r->deviation, s->deviation, s->B));
    TRY(cudaEventRecord(r->uploaded, r->copies));
    TRY(cudaStreamWaitEvent(r->stream, r->uploaded, 0));
    TRY(cudaMalloc(&r->h, rows * s->out * sizeof(float)));
    TRY(cudaMalloc(&r->f, rows * sizeof(float)));
    TRY(cudaMalloc(&r->y, rows * sizeof(float)));
    TRY(cudaMalloc(&r->lse, s->B * sizeof(float)));
    TRY(cudaMalloc(&r->ess, s->B * sizeof(float)));
    TRY(cudaMalloc(&r->total, sizeof(double)));
    TRY(cudaMalloc(&r->workspace, WORKSPACE));
    return blas_new(&r->b, s, r->bias);
}

int enqueue(run *r)
{
    const struct sample *s = r->s;
    float one = 1.0f, none = 0.0f;
    unsigned rows = unsigned(s->B * s->M);
    TRY_BLAS(cublasLtMatmul(r->b.handle, r->b.product, &one, r->weight, r->b.weight, r->x, r->b.x, &none, r->h, r->b.h,
                            r->h, r->b.h, &r->b.found.algo, r->workspace, WORKSPACE, r->stream));
    TRY(cudaMemsetAsync(r->total, 0, sizeof(double), r->stream));
    LAUNCH(dot_k, dim3((rows * 32 + 127) / 128), dim3(128), 0, r->stream, r->h, r->v, r->f, r->total, int(rows),
           s->out);
    LAUNCH(draw_k, dim3((s->M + 127) / 128, s->B), dim3(128), 2 * sizeof(float), r->stream, r->mean, r->deviation, r->y,
           s->M, s->seed);
    LAUNCH((log_sum_k<2>), dim3(s->B), dim3(THREADS), 0, r->stream, r->f, r->y, r->lse, r->ess, s->M);
    return int(cudaGetLastError());
}

int capture(run *r)
{
    TRY(cudaStreamBeginCapture(r->stream, cudaStreamCaptureModeThreadLocal));
    int error = enqueue(r), end = int(cudaStreamEndCapture(r->stream, &r->graph));
    if (error || end)
        return error ? error : end;
    return int(cudaGraphInstantiate(&r->exec, r->graph, 0));
}

int fetch(run *r)
{
    const struct sample *s = r->s;
    size_t rows = size_t(s->B) * s->M;
    TRY(cudaMemcpyAsync(s->h, r->h, rows * s->out * sizeof(float), cudaMemcpyDeviceToHost, r->stream));
    TRY(cudaMemcpyAsync(s->f, r->f, rows * sizeof(float), cudaMemcpyDeviceToHost, r->stream));
    TRY(cudaMemcpyAsync(s->y, r->y, rows * sizeof(float), cudaMemcpyDeviceToHost, r->stream));
    TRY(cudaMemcpyAsync(s->lse, r->lse, s->B * sizeof(float), cudaMemcpyDeviceToHost, r->stream));
    TRY(cudaMemcpyAsync(s->ess, r->ess, s->B * sizeof(float), cudaMemcpyDeviceToHost, r->stream));
    TRY(cudaMemcpyAsync(&r->h_total, r->total, sizeof(double), cudaMemcpyDeviceToHost, r->stream));
    return int(cudaStreamSynchronize(r->stream));
}

int all(run *r)
{
    TRY(prepare(r));
    TRY(enqueue(r));
    TRY(cudaStreamSynchronize(r->stream));
    TRY(capture(r));
    TRY(cudaGraphLaunch(r->exec, r->stream));
    return fetch(r);
}

void clean(run *r)
{
    void *memory[] = {r->x, r->weight, r->bias, r->v,   r->mean,  r->deviation, r->h,
                      r->f, r->y,      r->lse,  r->ess, r->total, r->workspace};
    for (void *m : memory)
        cudaFree(m);
    if (r->exec)
        cudaGraphExecDestroy(r->exec);
    if (r->graph)
        cudaGraphDestroy(r->graph);
    if (r->b.preference)
        cublasLtMatmulPreferenceDestroy(r->b.preference);
    cublasLtMatrixLayout_t layouts[] = {r->b.weight, r->b.x, r->b.h};
    for (cublasLtMatrixLayout_t layout : layouts)
        if (layout)
            cublasLtMatrixLayoutDestroy(layout);
    if (r->b.product)
        cublasLtMatmulDescDestroy(r->b.product);
    if (r->b.handle)
        cublasLtDestroy(r->b.handle);
    if (r->uploaded)
        cudaEventDestroy(r->uploaded);
    if (r->copies)
        cudaStreamDestroy(r->copies);
    if (r->stream)
        cudaStreamDestroy(r->stream);
}

} // namespace

extern "C" __attribute__((visibility("default"))) int sample_run(const struct sample *s)
{
    run r = {};
    int devices = 0;
    TRY(cudaGetDeviceCount(&devices));
    r.s = s;
    int error = all(&r);
    *s->total = r.h_total;
    clean(&r);
    cudaGetLastError();
    return error;
}
