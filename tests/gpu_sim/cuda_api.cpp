/* cuda_api.cpp - the run-time's functions over sim.h.
 *
 * With GPU_SIM_TOOLKIT it is compiled against CUDA's own headers and takes libcudart's place beneath a plug-in that
 * nvcc built; else against cuda_sim.h, beneath one that g++ built.
 *
 * What CUDA answers with an error is answered with that error and, where it can only be a mistake of the program, told
 * of on stderr. What CUDA leaves undefined ends the process. */
#ifdef GPU_SIM_TOOLKIT
#include <cuda_runtime_api.h>
#else
#include "tests/gpu_sim/cuda_sim.h"
#endif
#include "tests/gpu_sim/count.h"
#include "tests/gpu_sim/cuda_api.h"

#include <utility>
#include <stdio.h>
#include <stdlib.h>

namespace
{

struct call { /* of the API: under the lock, counted */
    std::lock_guard<std::recursive_mutex> hold{gpu_sim::lock()};
};

thread_local cudaError_t last_error;

cudaError_t give(cudaError_t error)
{
    if (error != cudaSuccess && error != cudaErrorNotReady)
        last_error = error;
    return error;
}

cudaError_t complain(cudaError_t error, const char *what)
{
    fprintf(stderr, "gpu_sim: %s: %s\n", what, cudaGetErrorString(error));
    return give(error);
}

/* Memory and waits are not for a thread that captures: the capture would be lost. */
void not_in_capture(const char *what)
{
    if (gpu_sim::thread_captures())
        gpu_sim::fail("%s while this thread captures a graph", what);
}

/* Nobody promises that a graph takes a node without work. */
bool is_empty(size_t bytes, cudaStream_t stream, const char *what)
{
    if (!bytes && gpu_sim::captures(gpu_sim_stream(stream)))
        gpu_sim::fail("%s of 0 bytes in a capture", what);
    return !bytes;
}

bool fits(cudaMemcpyKind kind, bool to_device, bool from_device)
{
    switch (kind) {
    case cudaMemcpyHostToHost:
        return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
        return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
        return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
        return to_device && from_device;
    default:
        return true;
    }
}

gpu_sim::event *of(cudaEvent_t e)
{
    return reinterpret_cast<gpu_sim::event *>(e);
}

gpu_sim::graph *of(cudaGraph_t g)
{
    return reinterpret_cast<gpu_sim::graph *>(g);
}

gpu_sim::graph *of(cudaGraphExec_t g)
{
    return reinterpret_cast<gpu_sim::graph *>(g);
}

int device_count()
{
    int count = int(gpu_sim::setting("GPU_SIM_DEVICES", 1));
    return count < gpu_sim::MOST_DEVICES ? count : gpu_sim::MOST_DEVICES;
}

int attribute(cudaDeviceAttr which)
{
    int capability = int(gpu_sim::setting("GPU_SIM_CC", 90));
    switch (which) {
    case cudaDevAttrMaxThreadsPerBlock:
        return int(gpu_sim::THREADS_MAX);
    case cudaDevAttrMaxSharedMemoryPerBlock:
        return int(gpu_sim::STATIC_SHARED_MAX);
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        return int(gpu_sim::SHARED_MAX);
    case cudaDevAttrWarpSize:
        return int(gpu_sim::WARP);
    case cudaDevAttrMultiProcessorCount:
        return 4;
    case cudaDevAttrComputeCapabilityMajor:
        return capability / 10;
    case cudaDevAttrComputeCapabilityMinor:
        return capability % 10;
    default:
        gpu_sim::fail("cudaDeviceGetAttribute: number %d is not simulated", int(which));
    }
}

} // namespace

gpu_sim::stream *gpu_sim_stream(cudaStream_t s)
{
    static gpu_sim::stream *none[gpu_sim::MOST_DEVICES];
    gpu_sim::stream **own = &none[gpu_sim::device()];
    if (!s && !*own)
        *own = gpu_sim::stream_new();
    return s ? reinterpret_cast<gpu_sim::stream *>(s) : *own;
}

int gpu_sim_launched(const gpu_sim::grid *what, const void *function, cudaStream_t stream, gpu_sim::work kernel)
{
    call c;
    if (gpu_sim::must_fail(__func__))
        return give(cudaErrorLaunchFailure);
    cudaError_t error = cudaError_t(gpu_sim::check_grid(*what, function));
    if (error == cudaSuccess && gpu_sim::device_of(gpu_sim_stream(stream)) != gpu_sim::device())
        error = cudaErrorInvalidResourceHandle; /* the stream of another device than the thread's */
    if (error != cudaSuccess)
        return complain(error, what->name);
    gpu_sim::first_use(gpu_sim_stream(stream), function, what->name);
    gpu_sim::grid copy = *what;
    gpu_sim::enqueue(gpu_sim_stream(stream), [copy, kernel] { gpu_sim::run_grid(copy, kernel); });
    return cudaSuccess;
}

/* Everything that CUDA can fail goes through this. */
#define BEGIN(error)                                                                                                   \
    call c_;                                                                                                           \
    if (gpu_sim::must_fail(__func__))                                                                                  \
    return give(error)

extern "C" {

cudaError_t cudaGetDeviceCount(int *count)
{
    BEGIN(cudaErrorInsufficientDriver);
    *count = device_count();
    return *count ? cudaSuccess : give(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
    call c;
    int before = gpu_sim::device();
    if (device < 0 || device >= device_count())
        return give(cudaErrorInvalidDevice);
    gpu_sim::set_device(device);
    if (!gpu_sim::must_fail(__func__))
        return cudaSuccess;
    gpu_sim::set_device(before);
    return give(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    BEGIN(cudaErrorUnknown);
    *device = gpu_sim::device();
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned)
{
    BEGIN(cudaErrorUnknown);
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    BEGIN(cudaErrorUnknown);
    if (device < 0 || device >= device_count())
        return give(cudaErrorInvalidDevice);
    size_t free_bytes;
    memset(properties, 0, sizeof(*properties));
    bool is_other = device == 1 && gpu_sim::setting("GPU_SIM_UNLIKE", 0) != 0;
    snprintf(properties->name, sizeof(properties->name), "%s GPU on the CPU", is_other ? "another" : "a");
    gpu_sim::device_memory(&free_bytes, &properties->totalGlobalMem);
    properties->sharedMemPerBlock = gpu_sim::STATIC_SHARED_MAX;
    properties->sharedMemPerBlockOptin = gpu_sim::SHARED_MAX;
    properties->major = attribute(cudaDevAttrComputeCapabilityMajor);
    properties->minor = attribute(cudaDevAttrComputeCapabilityMinor);
    properties->multiProcessorCount = attribute(cudaDevAttrMultiProcessorCount);
    properties->warpSize = int(gpu_sim::WARP);
    properties->maxThreadsPerBlock = int(gpu_sim::THREADS_MAX);
    properties->l2CacheSize = 50 << 20;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr which, int device)
{
    BEGIN(cudaErrorUnknown);
    if (device < 0 || device >= device_count())
        return give(cudaErrorInvalidDevice);
    *value = attribute(which);
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    BEGIN(cudaErrorUnknown);
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    BEGIN(cudaErrorUnknown);
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    BEGIN(cudaErrorUnknown);
    gpu_sim::device_memory(free_bytes, total);
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return std::exchange(last_error, cudaSuccess);
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorInvalidValue:
        return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
        return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
        return "cudaErrorNoDevice";
    case cudaErrorInvalidResourceHandle:
        return "cudaErrorInvalidResourceHandle";
    case cudaErrorLaunchFailure:
        return "cudaErrorLaunchFailure";
    default:
        return "another CUDA error";
    }
}

const char *cudaGetErrorString(cudaError_t error)
{
    return cudaGetErrorName(error);
}

cudaError_t cudaMalloc(void **pointer, size_t bytes)
{
    BEGIN(cudaErrorMemoryAllocation);
    not_in_capture("cudaMalloc");
    *pointer = bytes ? gpu_sim::device_alloc(bytes) : nullptr;
    if (!*pointer && bytes)
        return give(cudaErrorMemoryAllocation);
    gpu_sim::alive(bytes > 0);
    return cudaSuccess;
}

cudaError_t cudaFree(void *pointer)
{
    call c;
    not_in_capture("cudaFree");
    gpu_sim::wait_all();
    if (pointer && !gpu_sim::device_free(pointer))
        gpu_sim::fail("cudaFree of %p, which cudaMalloc did not give", pointer);
    gpu_sim::alive(pointer ? -1 : 0);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned)
{
    BEGIN(cudaErrorMemoryAllocation);
    not_in_capture("cudaHostAlloc");
    *pointer = malloc(bytes);
    if (!*pointer)
        return give(cudaErrorMemoryAllocation);
    memset(*pointer, 0xff, bytes);
    gpu_sim::alive(1);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes)
{
    return cudaHostAlloc(pointer, bytes, 0);
}

cudaError_t cudaFreeHost(void *pointer)
{
    call c;
    not_in_capture("cudaFreeHost");
    gpu_sim::wait_all();
    free(pointer);
    gpu_sim::alive(pointer ? -1 : 0);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    BEGIN(cudaErrorUnknown);
    if (is_empty(bytes, stream, "cudaMemcpyAsync"))
        return cudaSuccess;
    bool to_device = gpu_sim::on_device(to, bytes, "cudaMemcpy, to"),
         from_device = gpu_sim::on_device(from, bytes, "cudaMemcpy, from");
    if (!fits(kind, to_device, from_device))
        return complain(cudaErrorInvalidValue, "the kind of a cudaMemcpy is not that of its pointers");
    const char *name = to_device && from_device ? "copy there" : to_device ? "copy up" : "copy down";
    gpu_sim::enqueue(gpu_sim_stream(stream), [to, from, bytes, name] {
        memmove(to, from, bytes);
        if (gpu_sim::counts)
            gpu_sim::count_copy(name, bytes);
    });
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    BEGIN(cudaErrorUnknown);
    if (is_empty(bytes, stream, "cudaMemsetAsync"))
        return cudaSuccess;
    if (!gpu_sim::on_device(to, bytes, "cudaMemset"))
        return complain(cudaErrorInvalidValue, "cudaMemset of what is no device memory");
    gpu_sim::enqueue(gpu_sim_stream(stream), [to, value, bytes] { memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    call c;
    gpu_sim::stream *s = gpu_sim_stream(stream);
    not_in_capture("cudaStreamSynchronize");
    if (gpu_sim::must_fail(__func__)) {
        gpu_sim::drop(s);
        return give(cudaErrorLaunchFailure);
    }
    gpu_sim::wait_stream(s);
    return cudaSuccess;
}

/* Onto the device CUDA returns when it has read pageable memory, and the device may have it later: here it has it when
 * somebody waits for the default stream. */
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    if (kind == cudaMemcpyHostToDevice) {
        BEGIN(cudaErrorUnknown);
        if (!gpu_sim::on_device(to, bytes, "cudaMemcpy, to") || gpu_sim::on_device(from, bytes, "cudaMemcpy, from"))
            return complain(cudaErrorInvalidValue, "the kind of a cudaMemcpy is not that of its pointers");
        std::vector<char> staged(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
        gpu_sim::enqueue(gpu_sim_stream(nullptr), [to, staged] { memcpy(to, staged.data(), staged.size()); });
        return cudaSuccess;
    }
    cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
    return error == cudaSuccess ? cudaStreamSynchronize(nullptr) : error;
}

cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
    return cudaMemsetAsync(to, value, bytes, nullptr);
}

cudaError_t cudaDeviceSynchronize(void)
{
    BEGIN(cudaErrorLaunchFailure);
    not_in_capture("cudaDeviceSynchronize");
    gpu_sim::wait_all();
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    BEGIN(cudaErrorMemoryAllocation);
    *stream = reinterpret_cast<cudaStream_t>(gpu_sim::stream_new());
    gpu_sim::alive(1);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    call c;
    gpu_sim::stream_free(reinterpret_cast<gpu_sim::stream *>(stream));
    gpu_sim::alive(-1);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    BEGIN(cudaErrorLaunchFailure);
    gpu_sim::stream *s = gpu_sim_stream(stream);
    if (gpu_sim::idle(s))
        return cudaSuccess;
    gpu_sim::wait_stream(s); /* whoever asks often enough comes to an end */
    return cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    BEGIN(cudaErrorUnknown);
    gpu_sim::stream_wait(gpu_sim_stream(stream), of(event));
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    BEGIN(cudaErrorMemoryAllocation);
    *event = reinterpret_cast<cudaEvent_t>(gpu_sim::event_new(!(flags & cudaEventDisableTiming)));
    gpu_sim::alive(1);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    call c;
    gpu_sim::event_free(of(event));
    gpu_sim::alive(-1);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    BEGIN(cudaErrorUnknown);
    if (gpu_sim::device_of(of(event)) != gpu_sim::device_of(gpu_sim_stream(stream)))
        return complain(cudaErrorInvalidResourceHandle, "an event of another device than the stream's");
    gpu_sim::event_record(of(event), gpu_sim_stream(stream));
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    BEGIN(cudaErrorLaunchFailure);
    not_in_capture("cudaEventSynchronize");
    gpu_sim::event_wait(of(event));
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    BEGIN(cudaErrorLaunchFailure);
    if (gpu_sim::event_done(of(event)))
        return cudaSuccess;
    gpu_sim::event_wait(of(event));
    return cudaErrorNotReady;
}

/* Time means nothing here: a millisecond for each piece of work. */
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    BEGIN(cudaErrorUnknown);
    uint64_t spent;
    if (!gpu_sim::event_spent(of(from), of(to), &spent))
        return complain(cudaErrorInvalidResourceHandle, "the time between events that have none");
    if (!gpu_sim::event_done(of(from)) || !gpu_sim::event_done(of(to)))
        return give(cudaErrorNotReady);
    *ms = float(spent);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    BEGIN(cudaErrorStreamCaptureUnsupported);
    if (!stream)
        return complain(cudaErrorStreamCaptureUnsupported, "capture of the default stream");
    gpu_sim::capture_begin(gpu_sim_stream(stream), mode != cudaStreamCaptureModeRelaxed);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    call c;
    gpu_sim::graph *captured = gpu_sim::capture_end(gpu_sim_stream(stream));
    *graph = nullptr;
    if (gpu_sim::must_fail(__func__)) {
        gpu_sim::graph_free(captured);
        return give(cudaErrorUnknown);
    }
    *graph = reinterpret_cast<cudaGraph_t>(captured);
    gpu_sim::alive(captured != nullptr);
    return captured ? cudaSuccess : complain(cudaErrorInvalidValue, "the end of a capture that did not begin");
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    BEGIN(cudaErrorMemoryAllocation);
    *exec = reinterpret_cast<cudaGraphExec_t>(gpu_sim::graph_copy(of(graph)));
    gpu_sim::alive(1);
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t)
{
    BEGIN(cudaErrorUnknown);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    BEGIN(cudaErrorLaunchFailure);
    if (gpu_sim::device_of(of(exec)) != gpu_sim::device_of(gpu_sim_stream(stream)))
        return complain(cudaErrorInvalidResourceHandle, "a graph of another device than the stream's");
    gpu_sim::enqueue_graph(gpu_sim_stream(stream), of(exec));
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    call c;
    gpu_sim::graph_free(of(graph));
    gpu_sim::alive(-1);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    call c;
    gpu_sim::graph_free(of(exec));
    gpu_sim::alive(-1);
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *function)
{
    BEGIN(cudaErrorInvalidDeviceFunction);
    not_in_capture("cudaFuncGetAttributes");
    memset(attributes, 0, sizeof(*attributes));
    attributes->maxThreadsPerBlock = int(gpu_sim::THREADS_MAX);
    gpu_sim::load(function);
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute which, int value)
{
    BEGIN(cudaErrorInvalidValue);
    if (which != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || size_t(value) > gpu_sim::SHARED_MAX)
        return complain(cudaErrorInvalidValue, "cudaFuncSetAttribute");
    gpu_sim::allow_shared(function, size_t(value));
    return cudaSuccess;
}

} // extern "C"
