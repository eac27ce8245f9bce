/* test_breaches.cpp - programs that break CUDA's rules: each must end with the message that says so.
 *
 * Every case runs in a process of its own, whose stderr is read. `fine` cases must end well. */
#include "tests/gpu_sim/cuda_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace
{

const unsigned ALL = 0xffffffffu;

/* -- kernels; `on` is one number of device memory -- */

KERNEL void fine_k(float *on, int)
{
    SHARED(float, part, [32]);
    part[threadIdx.x] = float(threadIdx.x);
    __syncthreads();
    float sum = part[31 - threadIdx.x];
    for (int by = 16; by; by >>= 1)
        sum += __shfl_xor_sync(ALL, sum, by);
    __syncwarp();
    if (threadIdx.x == 0)
        *on = sum + float(__ballot_sync(1u, 1));
}

/* Halves of a warp that meet apart from each other, a different number of times. */
KERNEL void halves_k(float *on, int)
{
    unsigned half = threadIdx.x / 16, mask = half ? 0xffff0000u : 0xffffu, sum = 0;
    for (unsigned i = 0; i < 3 + 4 * half; i++)
        sum += __shfl_xor_sync(mask, threadIdx.x, 1);
    unsigned other = __shfl_sync(ALL, sum, 31);
    if (threadIdx.x == 0)
        *on = float(sum * 1000 + other); /* 3 * 1, 7 * 30 */
}

KERNEL void two_barriers_k(float *, int)
{
    if (threadIdx.x < 16)
        __syncthreads();
    else
        __syncthreads();
}

KERNEL void early_return_k(float *, int)
{
    if (threadIdx.x == 3)
        return;
    __syncthreads();
}

KERNEL void half_a_warp_k(float *, int)
{
    if (threadIdx.x < 16)
        (void)__shfl_down_sync(ALL, 1, 1);
}

KERNEL void full_mask_k(float *, int)
{
    (void)__shfl_xor_sync(ALL, 1, 1);
}

KERNEL void not_in_mask_k(float *, int)
{
    (void)__shfl_sync(0xffff0000u, 1, 20);
}

KERNEL void beyond_mask_k(float *, int)
{
    if (threadIdx.x < 16)
        (void)__shfl_down_sync(0xffffu, 1, 1);
}

KERNEL void two_operations_k(float *, int)
{
    if (threadIdx.x < 16)
        (void)__shfl_xor_sync(ALL, 1, 1);
    else
        (void)__ballot_sync(ALL, 1);
}

KERNEL void behind_k(float *on, int)
{
    on[threadIdx.x * 8] = 1.0f;
}

KERNEL void behind_shared_k(float *on, int n)
{
    SHARED(float, part, [32]);
    part[n * int(threadIdx.x)] = 1.0f;
    *on = part[0];
}

KERNEL void behind_dynamic_k(float *on, int n)
{
    DYN_SHARED(float, part);
    part[n * int(threadIdx.x)] = 1.0f;
    *on = part[0];
}

KERNEL void unwritten_k(float *on, int)
{
    SHARED(float, part, [32]);
    *on = part[threadIdx.x];
}

KERNEL void two_functions_k(float *, int)
{
    if (threadIdx.x == 0)
        __syncthreads();
    else
        __syncwarp();
}

/* -- host -- */

cudaStream_t stream;
float *on;

float get()
{
    float value = 0.0f;
    cudaMemcpyAsync(&value, on, sizeof(value), cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    return value;
}

using kernel = void (*)(float *, int);

void launch(kernel k, unsigned threads, size_t bytes = 0, int n = 1)
{
    gpu_sim_launch("k", k, dim3(2), dim3(threads), bytes, stream, on, n);
    if (cudaGetLastError() != cudaSuccess)
        exit(3);
    cudaStreamSynchronize(stream);
}

void expect(float value, float right)
{
    if (value != right) {
        fprintf(stderr, "%g, expected %g\n", double(value), double(right));
        exit(4);
    }
}

void fine()
{
    launch(fine_k, 32);
    expect(get(), 31.0f * 16.0f + 1.0f);
}

void halves()
{
    launch(halves_k, 32);
    expect(get(), 3210.0f);
}

void no_wait()
{
    float value = 5.0f, *pinned;
    cudaHostAlloc(&pinned, sizeof(*pinned), cudaHostAllocDefault);
    cudaMemcpyAsync(on, &value, sizeof(value), cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(pinned, on, sizeof(value), cudaMemcpyDeviceToHost, stream);
    if (*pinned == *pinned)
        exit(5);
    cudaStreamSynchronize(stream);
    expect(*pinned, 5.0f);
    cudaFreeHost(pinned);
}

/* Two streams are ordered by the event alone. */
void events()
{
    float value = 1.0f, *pinned;
    cudaStream_t other;
    cudaEvent_t event;
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaHostAlloc(&pinned, sizeof(*pinned), cudaHostAllocDefault);
    cudaMemcpyAsync(on, &value, sizeof(value), cudaMemcpyHostToDevice, other);
    cudaMemcpyAsync(pinned, on, sizeof(value), cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    if (*pinned == *pinned)
        exit(6);
    cudaEventRecord(event, other);
    cudaStreamWaitEvent(stream, event, 0);
    expect(get(), 1.0f);
    cudaEventDestroy(event);
    cudaStreamDestroy(other);
    cudaFreeHost(pinned);
}

/* Time is between events that have it and are done. */
void times()
{
    float value = 1.0f, ms = 0.0f;
    cudaEvent_t from, to, quiet;
    cudaEventCreate(&from);
    cudaEventCreate(&to);
    cudaEventCreateWithFlags(&quiet, cudaEventDisableTiming);
    cudaEventRecord(from, stream);
    cudaMemcpyAsync(on, &value, sizeof(value), cudaMemcpyHostToDevice, stream);
    if (cudaEventElapsedTime(&ms, from, to) != cudaErrorInvalidResourceHandle)
        exit(6);
    cudaEventRecord(to, stream);
    cudaEventRecord(quiet, stream);
    if (cudaEventElapsedTime(&ms, from, to) != cudaErrorNotReady)
        exit(6);
    cudaStreamSynchronize(stream);
    if (cudaEventElapsedTime(&ms, from, quiet) != cudaErrorInvalidResourceHandle)
        exit(6);
    (void)cudaGetLastError();
    if (cudaEventElapsedTime(&ms, from, to) != cudaSuccess)
        exit(6);
    expect(ms, 1.0f);
    for (cudaEvent_t event : {from, to, quiet})
        cudaEventDestroy(event);
}

void graphs()
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaFuncAttributes attributes;
    cudaFuncGetAttributes(&attributes, reinterpret_cast<const void *>(fine_k));
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    LAUNCH(fine_k, dim3(1), dim3(32), 0, stream, on, 0);
    cudaStreamEndCapture(stream, &graph);
    if (get() == get())
        exit(7);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    cudaGraphLaunch(exec, stream);
    cudaGraphExecDestroy(exec);
    expect(get(), 31.0f * 16.0f + 1.0f);
}

void memory_ends()
{
    void *memory;
    while (cudaMalloc(&memory, size_t(1) << 20) == cudaSuccess)
        ;
    if (cudaGetLastError() != cudaErrorMemoryAllocation)
        exit(8);
}

void refused()
{
    LAUNCH(fine_k, dim3(1), dim3(2048), 0, stream, on, 0);
    if (cudaGetLastError() != cudaErrorInvalidConfiguration)
        exit(9);
    LAUNCH(fine_k, dim3(1, 70000), dim3(32), 0, stream, on, 0);
    if (cudaGetLastError() != cudaErrorInvalidConfiguration)
        exit(10);
    LAUNCH(fine_k, dim3(1), dim3(32), 60 << 10, stream, on, 0);
    if (cudaGetLastError() != cudaErrorInvalidValue)
        exit(11);
    cudaFuncSetAttribute(fine_k, cudaFuncAttributeMaxDynamicSharedMemorySize, 60 << 10);
    LAUNCH(fine_k, dim3(1), dim3(32), 60 << 10, stream, on, 0);
    if (cudaGetLastError() != cudaSuccess)
        exit(12);
    float host;
    if (cudaMemcpyAsync(&host, on, sizeof(host), cudaMemcpyHostToDevice, stream) != cudaErrorInvalidValue)
        exit(13);
}

void unwritten()
{
    launch(unwritten_k, 32);
    float value = get();
    if (value == value)
        exit(14);
}

void two_barriers()
{
    launch(two_barriers_k, 32);
}

void early_return()
{
    launch(early_return_k, 32);
}

void half_a_warp()
{
    launch(half_a_warp_k, 32);
}

void tail_of_block()
{
    launch(full_mask_k, 40);
}

void not_in_mask()
{
    launch(not_in_mask_k, 32);
}

void beyond_mask()
{
    launch(beyond_mask_k, 32);
}

void two_operations()
{
    launch(two_operations_k, 32);
}

void behind()
{
    launch(behind_k, 64);
}

void behind_shared()
{
    launch(behind_shared_k, 32, 0, 2);
}

void behind_dynamic()
{
    launch(behind_dynamic_k, 32, 32 * sizeof(float), 2);
}

void two_functions()
{
    launch(two_functions_k, 32);
}

void host_reads()
{
    volatile float *there = on;
    exit(there[0] == 0.0f ? 15 : 16);
}

void copy_behind()
{
    float two[2] = {};
    cudaMemcpyAsync(on, two, sizeof(two), cudaMemcpyHostToDevice, stream);
}

void free_twice()
{
    cudaFree(on);
    cudaFree(on);
}

void alloc_in_capture()
{
    void *memory;
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudaMalloc(&memory, 4);
}

void wait_in_capture()
{
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudaStreamSynchronize(stream);
}

void load_in_capture()
{
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    LAUNCH(fine_k, dim3(1), dim3(32), 0, stream, on, 0);
}

void nothing_in_capture()
{
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudaMemsetAsync(on, 0, 0, stream);
}

struct test {
    const char *name;
    void (*run)();
    const char *message; /* NULL: ends well */
    bool by_guard;       /* a guard page says so: under a sanitizer it is the sanitizer that does */
};

const test TESTS[] = {
    {"fine", fine, nullptr, false},
    {"halves of a warp", halves, nullptr, false},
    {"nothing runs before a wait", no_wait, nullptr, false},
    {"events order streams", events, nullptr, false},
    {"events have times", times, nullptr, false},
    {"graphs", graphs, nullptr, false},
    {"memory ends", memory_ends, nullptr, false},
    {"what CUDA refuses", refused, nullptr, false},
    {"shared memory is not zero", unwritten, nullptr, false},
    {"barrier at two places", two_barriers, "in __syncthreads at", false},
    {"return before a barrier", early_return, "__syncthreads", false},
    {"half a warp for a full mask", half_a_warp, "the mask ffffffff names lane", false},
    {"a mask beyond the block", tail_of_block, "the mask ffffffff names lane 8, which is not there", false},
    {"a lane outside its mask", not_in_mask, "is not in the mask ffff0000", false},
    {"a shuffle out of its mask", beyond_mask, "a shuffle reads lane 16, which is not in its mask 0000ffff", false},
    {"two operations meet", two_operations, "which came for the warp operation at", false},
    {"barrier for some, warp for others", two_functions, "no thread can go on", false},
    {"behind an allocation", behind, "a kernel or a copy is out of bounds at byte", true},
    {"behind shared memory", behind_shared, "fault at", true},
    {"behind dynamic shared memory", behind_dynamic, "fault at", true},
    {"host reads device memory", host_reads, "host code touches device memory", true},
    {"a copy behind an allocation", copy_behind, "bytes 0 to 8 of allocation 0, which has 4", false},
    {"free twice", free_twice, "which cudaMalloc did not give", false},
    {"allocation in a capture", alloc_in_capture, "cudaMalloc while this thread captures", false},
    {"wait in a capture", wait_in_capture, "cudaStreamSynchronize while this thread captures", false},
    {"a kernel comes first in a capture", load_in_capture, "fine_k is loaded in a capture", false},
    {"a memset of nothing in a capture", nothing_in_capture, "cudaMemsetAsync of 0 bytes in a capture", false},
};

/* What the test wrote to stderr, and how it ended. */
std::string run(const test &t, int *ret_status)
{
    int ends[2];
    std::string text;
    char buffer[512];
    if (pipe(ends))
        exit(2);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        dup2(ends[1], 2);
        close(ends[0]);
        setenv("GPU_SIM_MEMORY", "8000000", 1);
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaMalloc(&on, sizeof(*on));
        t.run();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;)
        text.append(buffer, size_t(n));
    close(ends[0]);
    waitpid(child, ret_status, 0);
    return text;
}

bool as_expected(const test &t, const std::string &text, int status)
{
    if (!t.message)
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
#ifdef GPU_SIM_ASAN
    if (t.by_guard)
        return text.find("AddressSanitizer") != std::string::npos;
#endif
    return text.find(t.message) != std::string::npos;
}

} // namespace

int main()
{
    int failures = 0;
    for (const test &t : TESTS) {
        int status;
        std::string text = run(t, &status);
        bool fine = as_expected(t, text, status);
        printf("%s %s\n", fine ? "ok  " : "FAIL", t.name);
        if (!fine)
            printf("%s(status %d)\n", text.c_str(), status);
        failures += !fine;
    }
    return failures ? 1 : 0;
}
