/* cudart_stubs.cpp - what the host code that nvcc writes calls beneath a launch: kernels are found by their names among
 * those that ptx2cpp.py translated (GPU_SIM_PTX names the library of them), and arguments are copied as the PTX lays
 * them out. */
#include <cuda_runtime_api.h>

#include "tests/gpu_sim/cuda_api.h"
#include "tests/gpu_sim/ptx_run.h"

#include <dlfcn.h>
#include <stdlib.h>

namespace
{

struct configuration {
    dim3 blocks, threads;
    size_t bytes;
    cudaStream_t stream;
};

thread_local configuration pushed;

std::map<const void *, std::string> &names()
{
    static std::map<const void *, std::string> table;
    return table;
}

struct alignas(16) chunk {
    unsigned char bytes[16];
};

std::vector<chunk> take(const ptx::kernel &k, void **arguments)
{
    std::vector<chunk> copy(1);
    for (size_t i = 0; i < k.parameters.size(); i++) {
        const ptx::kernel::parameter &p = k.parameters[i];
        copy.resize(std::max(copy.size(), (p.begin + p.bytes + 15) / 16));
        memcpy(copy[0].bytes + p.begin, arguments[i], p.bytes);
    }
    return copy;
}

} // namespace

extern "C" {

void **__cudaRegisterFatBinary(void *)
{
    static void *kernels;
    const char *path = getenv("GPU_SIM_PTX");
    if (!kernels)
        kernels = dlopen(path ? path : "", RTLD_NOW | RTLD_LOCAL);
    if (!kernels || !path)
        gpu_sim::fail("GPU_SIM_PTX: %s", path ? dlerror() : "is not set");
    return &kernels;
}

void __cudaRegisterFatBinaryEnd(void **)
{
}

void __cudaUnregisterFatBinary(void **)
{
}

void __cudaRegisterFunction(void **, const char *host, char *, const char *name, int, uint3 *, uint3 *, dim3 *, dim3 *,
                            int *)
{
    names()[host] = name;
}

void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int)
{
}

unsigned __cudaPushCallConfiguration(dim3 blocks, dim3 threads, size_t bytes, void *stream)
{
    pushed = {blocks, threads, bytes, static_cast<cudaStream_t>(stream)};
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *blocks, dim3 *threads, size_t *bytes, void *stream)
{
    *blocks = pushed.blocks;
    *threads = pushed.threads;
    *bytes = pushed.bytes;
    *static_cast<cudaStream_t *>(stream) = pushed.stream;
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *host)
{
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void *>(host));
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 blocks, dim3 threads, void **arguments, size_t bytes,
                               cudaStream_t stream)
{
    auto name = names().find(kernel);
    if (name == names().end())
        return cudaErrorInvalidDeviceFunction;
    auto found = ptx::kernel::all().find(name->second);
    if (found == ptx::kernel::all().end())
        gpu_sim::fail("there is no PTX of the kernel %s", name->second.c_str());
    const ptx::kernel &k = *found->second;
    gpu_sim::grid what = {
        name->second.c_str(), {blocks.x, blocks.y, blocks.z}, {threads.x, threads.y, threads.z}, bytes};
    if (size_t(threads.x) * threads.y * threads.z > k.max_threads)
        gpu_sim::fail("%s: more threads than its __launch_bounds__ of %u", what.name, k.max_threads);
    std::vector<chunk> copy = take(k, arguments);
    return cudaError_t(gpu_sim_launched(&what, kernel, stream, [copy, &k] { k.run(copy[0].bytes); }));
}

cudaError_t cudaLaunchKernel(const void *host, dim3 blocks, dim3 threads, void **arguments, size_t bytes,
                             cudaStream_t stream)
{
    return __cudaLaunchKernel(reinterpret_cast<cudaKernel_t>(const_cast<void *>(host)), blocks, threads, arguments,
                              bytes, stream);
}

} // extern "C"
