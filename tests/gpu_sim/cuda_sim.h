/* cuda_sim.h - what nvcc has built in, for a C++ compiler: the same kernels and host code run on the CPU (sim.h).
 *
 * Only what core/cuda uses. The functions have the signatures and the numbers of CUDA 13, against whose own headers
 * cuda_api.cpp and blaslt.cpp are compiled too where there is a toolkit.
 *
 *   kernels   threadIdx and its kin, __syncthreads, __syncwarp, shuffles and votes over 32 lanes, atomics, float2,
 *             float4, uint2, uint4, bfloat16, nvcuda::wmma, mathematics
 *   host      memory, streams, events, graphs, errors; cublasLt
 *
 * A copy reads and writes host memory when its stream is waited for, pageable memory too. */
#ifndef GPU_SIM_CUDA_SIM_H
#define GPU_SIM_CUDA_SIM_H

#include "tests/gpu_sim/sim.h"

#include <math.h>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __constant__ static const
#define __align__(n) alignas(n)

#define CUDNN_FILE "libcudnn_sim.so" /* fake/cudnn.cpp, where a test has it in LD_LIBRARY_PATH */
#define KERNEL static
#define DEVICE static inline
#define SHARED(T, name, dims)                                                                                          \
    static char name##_key;                                                                                            \
    using name##_type = T dims;                                                                                        \
    name##_type &name = *static_cast<name##_type *>(gpu_sim::static_shared(&name##_key, sizeof(name##_type)))
#define DYN_SHARED(T, name) T *name = static_cast<T *>(gpu_sim::dynamic_shared())
#define LAUNCH(kernel, blocks, threads, bytes, stream, ...)                                                            \
    gpu_sim_launch(#kernel, kernel, (blocks), (threads), (bytes), (stream), ##__VA_ARGS__)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

static inline float2 make_float2(float x, float y)
{
    return {x, y};
}

static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

/* -- threads of a block -- */

#define threadIdx (gpu_sim::self->index)
#define blockIdx (gpu_sim::block_index)
#define blockDim (gpu_sim::block_dim)
#define gridDim (gpu_sim::grid_dim)
const int warpSize = 32;

#define __syncthreads() gpu_sim::sync_block(__FILE__, __LINE__)
#define __syncwarp gpu_sim_place{__FILE__, __LINE__}.sync_warp
#define __shfl_sync(mask, value, from) gpu_sim_index(mask, value, from, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, bits) gpu_sim_xor(mask, value, bits, __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, by) gpu_sim_down(mask, value, by, __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, by) gpu_sim_up(mask, value, by, __FILE__, __LINE__)
#define __ballot_sync(mask, predicate) gpu_sim_ballot(mask, predicate, __FILE__, __LINE__)
#define __any_sync(mask, predicate) (gpu_sim_ballot(mask, predicate, __FILE__, __LINE__) != 0)
#define __all_sync(mask, predicate) (gpu_sim_ballot(mask, predicate, __FILE__, __LINE__) == (mask))

struct gpu_sim_place {
    const char *file;
    int line;

    void sync_warp(unsigned mask = 0xffffffffu) const
    {
        gpu_sim::warp_exchange(mask, 0, gpu_sim::WARP_SYNC, file, line);
    }
};

template <class T> T gpu_sim_index(unsigned mask, T value, unsigned from, const char *file, int line)
{
    return gpu_sim::shuffle(mask, value, from % 32, gpu_sim::WARP_INDEX, file, line);
}

template <class T> T gpu_sim_xor(unsigned mask, T value, unsigned bits, const char *file, int line)
{
    return gpu_sim::shuffle(mask, value, (gpu_sim::lane() ^ bits) % 32, gpu_sim::WARP_XOR, file, line);
}

/* A lane that would read beyond the warp keeps its own value. */
template <class T> T gpu_sim_down(unsigned mask, T value, unsigned by, const char *file, int line)
{
    unsigned lane = gpu_sim::lane();
    return gpu_sim::shuffle(mask, value, lane + by < 32 ? lane + by : lane, gpu_sim::WARP_DOWN, file, line);
}

template <class T> T gpu_sim_up(unsigned mask, T value, unsigned by, const char *file, int line)
{
    unsigned lane = gpu_sim::lane();
    return gpu_sim::shuffle(mask, value, lane >= by ? lane - by : lane, gpu_sim::WARP_UP, file, line);
}

static inline unsigned gpu_sim_ballot(unsigned mask, int predicate, const char *file, int line)
{
    const uint64_t *brought = gpu_sim::warp_exchange(mask, predicate != 0, gpu_sim::WARP_BALLOT, file, line);
    unsigned votes = 0;
    for (unsigned i = 0; i < 32; i++)
        if ((mask >> i & 1) && brought[i])
            votes |= 1u << i;
    return votes;
}

#define atomicAdd gpu_sim::atomic_add
#define atomicMax gpu_sim::atomic_max
#define atomicMin gpu_sim::atomic_min
#define atomicExch gpu_sim::atomic_exch
#define atomicCAS gpu_sim::atomic_cas
#define __threadfence() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* -- mathematics; the C library has functions of some of these names -- */

#define __expf(x) gpu_sim::approximate(expf(x), true)
#define __logf(x) gpu_sim::approximate(logf(x), false)
#define __fdividef(a, b) gpu_sim::approximate((a) / (b), true)

static inline float rsqrtf(float x)
{
    return gpu_sim::approximate(1.0f / sqrtf(x), true);
}

static inline void sincospif(float x, float *ret_sin, float *ret_cos)
{
    double angle = 3.14159265358979323846 * fmod(double(x), 2.0);
    *ret_sin = float(sin(angle));
    *ret_cos = float(cos(angle));
}

static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

static inline float __int_as_float(int bits)
{
    return gpu_sim::from_bits<float>(uint32_t(bits));
}

static inline float __uint_as_float(unsigned bits)
{
    return gpu_sim::from_bits<float>(bits);
}

static inline int __float_as_int(float value)
{
    return int(uint32_t(gpu_sim::to_bits(value)));
}

static inline unsigned __float_as_uint(float value)
{
    return unsigned(gpu_sim::to_bits(value));
}

static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return unsigned(uint64_t(a) * b >> 32);
}

static inline int __popc(unsigned bits)
{
    return __builtin_popcount(bits);
}

static inline int __ffs(int bits)
{
    return __builtin_ffs(bits);
}

static inline int __clz(int bits)
{
    return bits ? __builtin_clz(unsigned(bits)) : 32;
}

template <class T> T __ldg(const T *at)
{
    return *at;
}

#define GPU_SIM_MIN_MAX(T)                                                                                             \
    static inline T min(T a, T b)                                                                                      \
    {                                                                                                                  \
        return b < a ? b : a;                                                                                          \
    }                                                                                                                  \
    static inline T max(T a, T b)                                                                                      \
    {                                                                                                                  \
        return a < b ? b : a;                                                                                          \
    }
GPU_SIM_MIN_MAX(int)
GPU_SIM_MIN_MAX(unsigned)
GPU_SIM_MIN_MAX(long)
GPU_SIM_MIN_MAX(unsigned long)

struct __nv_bfloat16 {
    uint16_t bits;
};

static inline __nv_bfloat16 __float2bfloat16_rn(float value)
{
    uint32_t bits = __float_as_uint(value);
    if (value != value)
        return {0x7fff};
    return {uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

static inline float __bfloat162float(__nv_bfloat16 value)
{
    return __uint_as_float(uint32_t(value.bits) << 16);
}

#include "tests/gpu_sim/wmma_sim.h"

/* -- the run-time -- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInitializationError = 3,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDeviceFunction = 98,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorUnknown = 999
};
enum cudaMemcpyKind {
    cudaMemcpyHostToHost = 0,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault = 4
};
enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
enum { cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2 };
enum { cudaHostAllocDefault = 0, cudaHostAllocPortable = 1 };
enum {
    cudaDeviceScheduleAuto = 0,
    cudaDeviceScheduleSpin = 1,
    cudaDeviceScheduleYield = 2,
    cudaDeviceScheduleBlockingSync = 4
};
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal = 0,
    cudaStreamCaptureModeThreadLocal = 1,
    cudaStreamCaptureModeRelaxed = 2
};
enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1,
    cudaDevAttrMaxSharedMemoryPerBlock = 8,
    cudaDevAttrWarpSize = 10,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
struct cudaFuncAttributes {
    size_t sharedSizeBytes, constSizeBytes, localSizeBytes;
    int maxThreadsPerBlock, numRegs;
};
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount, warpSize, maxThreadsPerBlock, l2CacheSize;
};
using cudaStream_t = struct CUstream_st *;
using cudaEvent_t = struct CUevent_st *;
using cudaGraph_t = struct CUgraph_st *;
using cudaGraphExec_t = struct CUgraphExec_st *;

extern "C" {
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDeviceFlags(unsigned flags);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorName(cudaError_t error);
const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaMalloc(void **pointer, size_t bytes);
cudaError_t cudaFree(void *pointer);
cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags);
cudaError_t cudaMallocHost(void **pointer, size_t bytes);
cudaError_t cudaFreeHost(void *pointer);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void *to, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream = nullptr);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaStreamCreate(cudaStream_t *stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *function);
cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value);
/* 0: queued; else the error that cudaGetLastError tells of. Not CUDA's. */
int gpu_sim_launched(const gpu_sim::grid *what, const void *function, cudaStream_t stream, gpu_sim::work kernel);
}

template <class T> cudaError_t cudaMalloc(T **pointer, size_t bytes)
{
    return cudaMalloc(reinterpret_cast<void **>(pointer), bytes);
}

template <class T> cudaError_t cudaHostAlloc(T **pointer, size_t bytes, unsigned flags)
{
    return cudaHostAlloc(reinterpret_cast<void **>(pointer), bytes, flags);
}

template <class T> cudaError_t cudaMallocHost(T **pointer, size_t bytes)
{
    return cudaMallocHost(reinterpret_cast<void **>(pointer), bytes);
}

template <class... P> cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute, int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), attribute, value);
}

/* The arguments are taken now, as the kernel's own types. */
template <class... P, class... A>
void gpu_sim_launch(const char *name, void (*kernel)(P...), dim3 blocks, dim3 threads, size_t bytes,
                    cudaStream_t stream, A... arguments)
{
    std::tuple<std::decay_t<P>...> taken(arguments...);
    gpu_sim::grid what = {name, {blocks.x, blocks.y, blocks.z}, {threads.x, threads.y, threads.z}, bytes};
    gpu_sim_launched(&what, reinterpret_cast<const void *>(kernel), stream,
                     [kernel, taken] { std::apply(kernel, taken); });
}

/* -- cublasLt -- */

enum cublasStatus_t {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_ALLOC_FAILED = 3,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_INTERNAL_ERROR = 14,
    CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasComputeType_t {
    CUBLAS_COMPUTE_32F = 68,
    CUBLAS_COMPUTE_32F_PEDANTIC = 69,
    CUBLAS_COMPUTE_32F_FAST_16BF = 75,
    CUBLAS_COMPUTE_32F_FAST_TF32 = 77
};
enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_16BF = 14 };
using cudaDataType = cudaDataType_t;
enum cublasLtEpilogue_t {
    CUBLASLT_EPILOGUE_DEFAULT = 1,
    CUBLASLT_EPILOGUE_RELU = 2,
    CUBLASLT_EPILOGUE_BIAS = 4,
    CUBLASLT_EPILOGUE_RELU_BIAS = 6
};
enum cublasLtOrder_t { CUBLASLT_ORDER_COL = 0 };
enum cublasLtReductionScheme_t { CUBLASLT_REDUCTION_SCHEME_NONE = 0 };
enum cublasLtMatmulDescAttributes_t {
    CUBLASLT_MATMUL_DESC_COMPUTE_TYPE = 0,
    CUBLASLT_MATMUL_DESC_SCALE_TYPE = 1,
    CUBLASLT_MATMUL_DESC_TRANSA = 3,
    CUBLASLT_MATMUL_DESC_TRANSB = 4,
    CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
    CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8,
    CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE = 10,
    CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE = 26
};
enum cublasLtMatrixLayoutAttribute_t {
    CUBLASLT_MATRIX_LAYOUT_TYPE = 0,
    CUBLASLT_MATRIX_LAYOUT_ORDER = 1,
    CUBLASLT_MATRIX_LAYOUT_ROWS = 2,
    CUBLASLT_MATRIX_LAYOUT_COLS = 3,
    CUBLASLT_MATRIX_LAYOUT_LD = 4,
    CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5,
    CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6
};
enum cublasLtMatmulPreferenceAttributes_t {
    CUBLASLT_MATMUL_PREF_SEARCH_MODE = 0,
    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
    CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};
struct cublasLtMatmulAlgo_t {
    uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
    int reserved[4];
};
using cublasLtHandle_t = struct cublasLtContext *;
using cublasLtMatmulDesc_t = struct cublasLtMatmulDescOpaque_t *;
using cublasLtMatrixLayout_t = struct cublasLtMatrixLayoutOpaque_t *;
using cublasLtMatmulPreference_t = struct cublasLtMatmulPreferenceOpaque_t *;

extern "C" {
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle);
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle);
const char *cublasLtGetStatusName(cublasStatus_t status);
const char *cublasLtGetStatusString(cublasStatus_t status);
size_t cublasLtGetVersion(void);
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale);
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc);
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t which,
                                              const void *value, size_t bytes);
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld);
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout);
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t which,
                                                const void *value, size_t bytes);
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference);
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference);
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t which, const void *value,
                                                    size_t bytes);
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int asked,
                                              cublasLtMatmulHeuristicResult_t results[], int *found);
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo, cublasLtMatmulHeuristicResult_t *result);
cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream);
}

#endif
