/* device.cu - devices themselves, what goes wrong on them, and memory: what all .cu files stand on. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <atomic>
#include <mutex>

#include "core/cuda/cudnn_internal.h"
#include "core/cuda/profile_internal.h"

#define ALIGNED 64u /* floats, of every tensor */

namespace
{

uint32_t devices[LIMIT_DEVICES], n_devices; /* their numbers */
enum ebm_gpu_precision precision;
std::atomic<bool> lost[LIMIT_DEVICES]; /* what CUDA says after an error is about the error, whatever is asked */

/* What spaces of a device failed of, the latest time. */
std::mutex failure_mutex;
char latest_failure[LIMIT_DEVICES][EBM_GPU_FAILURE_BYTES];

std::vector<const void *> &all_kernels()
{
    static std::vector<const void *> kernels;
    return kernels;
}

/* A question about a kernel loads it. */
cudaError_t load_kernels()
{
    cudaFuncAttributes attributes;
    cudaError_t error = cudaSuccess;
    for (const void *kernel : all_kernels())
        if (error == cudaSuccess)
            error = cudaFuncGetAttributes(&attributes, kernel);
    return error;
}

} // namespace

gpu_kernels::gpu_kernels(std::initializer_list<const void *> kernels)
{
    all_kernels().insert(all_kernels().end(), kernels);
}

enum ebm_status gpu_refuse(struct ebm_error *reterr, const char *what, cudaError_t error)
{
    return ebm_error_set(reterr, error == cudaErrorMemoryAllocation ? EBM_NO_MEMORY : EBM_DEVICE, "cuda", "%s: %s",
                         what, cudaGetErrorString(error));
}

/* ---- devices ---- */

namespace
{

enum ebm_status look_at(uint32_t number, int count, cudaDeviceProp *ret_device, struct ebm_error *reterr)
{
    if (number >= uint32_t(count))
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "there is no device %u, only %d of them", number, count);
    cudaError_t error = cudaGetDeviceProperties(ret_device, int(number));
    if (error != cudaSuccess)
        return gpu_refuse(reterr, "the device says nothing of itself", error);
    if (ret_device->major >= 8)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s has compute capability %d.%d, expected at least 8.0",
                         ret_device->name, ret_device->major, ret_device->minor);
}

/* Others choose other algorithms for products, whose sums have other last digits. */
bool is_alike(const cudaDeviceProp *a, const cudaDeviceProp *b)
{
    return strcmp(a->name, b->name) == 0 && a->major == b->major && a->minor == b->minor &&
           a->multiProcessorCount == b->multiProcessorCount;
}

enum ebm_status make_ready(uint32_t number, struct ebm_error *reterr)
{
    cudaError_t error = cudaSetDevice(int(number));
    /* A batch takes some ten microseconds, about what it takes to wake a thread up: so threads ask again and again, but
     * whoever has work for the core goes first. By default they would hold it. */
    if (error == cudaSuccess)
        error = cudaSetDeviceFlags(cudaDeviceScheduleYield);
    if (error != cudaSuccess)
        return gpu_refuse(reterr, "the device cannot be used", error);
    error = load_kernels();
    if (error == cudaSuccess)
        error = gpu_samples_open();
    if (error == cudaSuccess)
        error = gpu_wide_open();
    return error == cudaSuccess ? EBM_OK : gpu_refuse(reterr, "the device refuses a kernel", error);
}

} // namespace

enum ebm_status ebm_gpu_open(const uint32_t *numbers, uint32_t n, enum ebm_gpu_precision wanted, uint32_t *ret_n,
                             char *ret_name, size_t bytes, struct ebm_error *reterr)
{
    int count = 0;
    cudaDeviceProp first = {}, device = {};
    enum ebm_status status = gpu_dnn_open(reterr);
    if (status != EBM_OK)
        return status;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
        return gpu_refuse(reterr, "the driver gives no device", error);
    precision = wanted;
    n_devices = n > 0 ? n : uint32_t(count);
    n_devices = n_devices < LIMIT_DEVICES ? n_devices : LIMIT_DEVICES;
    for (uint32_t i = 0; i < n_devices; i++) {
        devices[i] = n > 0 ? numbers[i] : i;
        status = look_at(devices[i], count, i == 0 ? &first : &device, reterr);
        if (status == EBM_OK && i > 0 && !is_alike(&device, &first))
            status = ebm_error_set(reterr, EBM_INVALID, "cuda",
                                   "device %u (%s) is not like device %u (%s), and would answer differently: start a "
                                   "server for each kind",
                                   devices[i], device.name, devices[0], first.name);
        if (status == EBM_OK)
            status = make_ready(devices[i], reterr);
        if (status != EBM_OK)
            return status;
    }
    *ret_n = n_devices;
    char several[16] = "";
    if (n_devices > 1)
        (void)snprintf(several, sizeof several, "%u x ", n_devices);
    (void)snprintf(ret_name, bytes, "%s%s, compute capability %d.%d, %zu MiB", several, first.name, first.major,
                   first.minor, first.totalGlobalMem >> 20);
    return EBM_OK;
}

/* ---- what goes wrong ---- */

/* With the device's number, where there are several. */
static void name_device(uint32_t device, const char *text, char ret_text[EBM_GPU_FAILURE_BYTES])
{
    char number[16] = "";
    if (n_devices > 1)
        (void)snprintf(number, sizeof number, "device %u: ", devices[device]);
    (void)snprintf(ret_text, EBM_GPU_FAILURE_BYTES, "%s%s", number, text);
}

/* What a device is lost by stays what is told of it. */
static void note(uint32_t device, const char *text, bool loses)
{
    std::lock_guard<std::mutex> lock(failure_mutex);
    if (!lost[device])
        (void)snprintf(latest_failure[device], sizeof latest_failure[device], "%s", text);
    if (loses)
        lost[device] = true;
}

bool gpu_fail(ebm_gpu_space *space, const char *what, const char *why)
{
    char text[EBM_GPU_FAILURE_BYTES];
    if (space->failed)
        return false;
    space->failed = true;
    (void)snprintf(text, sizeof text, "%s: %s", what, why);
    name_device(space->device, text, space->failure);
    note(space->device, space->failure, space->harmless == EBM_OK);
    return false;
}

void ebm_gpu_lose(uint32_t device, const char *why)
{
    char text[EBM_GPU_FAILURE_BYTES];
    name_device(device, why, text);
    note(device, text, true);
}

bool gpu_lack(ebm_gpu_space *space, enum ebm_status status, const char *what, const char *why)
{
    if (!space->failed)
        space->harmless = status;
    return gpu_fail(space, what, why);
}

bool gpu_fine(ebm_gpu_space *space, cudaError_t error, const char *what)
{
    if (error == cudaErrorMemoryAllocation)
        return gpu_lack(space, EBM_NO_MEMORY, what, cudaGetErrorString(error));
    return error == cudaSuccess || gpu_fail(space, what, cudaGetErrorString(error));
}

bool gpu_fine(ebm_gpu_space *space, cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_ALLOC_FAILED)
        return gpu_lack(space, EBM_NO_MEMORY, what, cublasLtGetStatusString(status));
    return status == CUBLAS_STATUS_SUCCESS || gpu_fail(space, what, cublasLtGetStatusString(status));
}

void ebm_gpu_failure(uint32_t device, char *ret_text, size_t bytes)
{
    std::lock_guard<std::mutex> lock(failure_mutex);
    (void)snprintf(ret_text, bytes, "%s", latest_failure[device]);
}

bool ebm_gpu_is_lost(uint32_t device)
{
    return lost[device];
}

enum ebm_gpu_precision gpu_precision(void)
{
    return precision;
}

cudaError_t gpu_set_device(uint32_t device)
{
    return cudaSetDevice(int(devices[device]));
}

/* An error of an earlier call, of another space maybe, stays the thread's last one until somebody takes it: what checks
 * launches must not find it. */
bool gpu_enter(ebm_gpu_space *space)
{
    (void)cudaGetLastError();
    return gpu_fine(space, gpu_set_device(space->device), "the device");
}

enum ebm_status gpu_end_making(ebm_gpu_space *space, struct ebm_error *reterr)
{
    (void)cudaGetLastError();
    enum ebm_status status = space->harmless;
    if (status == EBM_OK || cudaStreamSynchronize(space->compute) != cudaSuccess)
        status = EBM_DEVICE;
    space->harmless = EBM_OK;
    space->failed = status == EBM_DEVICE;
    if (space->failed)
        note(space->device, space->failure, true);
    return ebm_error_set(reterr, status, "cuda", "%s", space->failure);
}

/* ---- memory ---- */

/* Of pageable memory cudaMemcpy returns when it has read it, which may be before the device has it, and streams that
 * do not block wait for nothing of it: hence the wait. */
cudaError_t gpu_put(void *to, const void *from, size_t bytes)
{
    cudaError_t error = cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice);
    return error == cudaSuccess ? cudaStreamSynchronize(NULL) : error;
}

bool gpu_device_floats(ebm_gpu_space *space, gpu_memory *memory, float **ret, size_t count)
{
    size_t bytes = (count + 4) * sizeof(float);
    void *p = NULL;
    memory->bytes += bytes;
    if (!gpu_fine(space, cudaMalloc(&p, bytes), "memory of the device"))
        return false;
    memory->device.push_back(p);
    *ret = static_cast<float *>(p);
    return gpu_fine(space, cudaMemsetAsync(p, 0, bytes, space->compute), "memory of the device");
}

bool gpu_pinned_floats(ebm_gpu_space *space, gpu_memory *memory, float **ret, size_t count)
{
    void *p = NULL;
    if (!gpu_fine(space, cudaHostAlloc(&p, (count + 4) * sizeof(float), cudaHostAllocDefault), "pinned memory"))
        return false;
    memory->pinned.push_back(p);
    memset(p, 0, (count + 4) * sizeof(float));
    *ret = static_cast<float *>(p);
    return true;
}

void gpu_memory_free(gpu_memory *memory)
{
    for (void *p : memory->device)
        (void)cudaFree(p);
    for (void *p : memory->pinned)
        (void)cudaFreeHost(p);
}

float *gpu_tensors::add(size_t count, const float **ret_tensor)
{
    const size_t at = (numbers.size() + ALIGNED - 1) / ALIGNED * ALIGNED;
    numbers.resize(at + count);
    *ret_tensor = reinterpret_cast<const float *>((at + 1) * sizeof(float));
    return numbers.data() + at;
}

cudaError_t gpu_tensors::upload(uint32_t device, float **ret_block) const
{
    const size_t bytes = numbers.size() * sizeof(float);
    cudaError_t error = gpu_set_device(device);
    if (error == cudaSuccess)
        error = cudaMalloc((void **)ret_block, bytes);
    return error == cudaSuccess ? gpu_put(*ret_block, numbers.data(), bytes) : error;
}

void gpu_place(const float *block, const float **tensor)
{
    if (*tensor != NULL)
        *tensor = block + (reinterpret_cast<uintptr_t>(*tensor) / sizeof(float) - 1);
}

static gpu_work copy_work(cudaMemcpyKind kind, double bytes)
{
    if (kind == cudaMemcpyDeviceToDevice)
        return {"copy there", EBM_LAUNCH_FP32, 0.0, 2.0 * bytes};
    return {kind == cudaMemcpyHostToDevice ? "copy up" : "copy down", EBM_LAUNCH_COPY, 0.0, bytes};
}

bool gpu_copy(ebm_gpu_space *space, cudaStream_t stream, void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    if (bytes == 0)
        return true;
    const gpu_timed timed(space, stream, [&] { return copy_work(kind, (double)bytes); });
    return gpu_fine(space, cudaMemcpyAsync(to, from, bytes, kind, stream), "a copy");
}
