/* compat.h - the only place where nvcc and the build that runs kernels on a CPU (tests/gpu_sim) differ.
 *
 *   KERNEL      a function that LAUNCH starts;  DEVICE a function that kernels call
 *   LAUNCH      (kernel, grid, block, bytes of dynamic shared memory, stream, arguments...), grid and block as dim3
 *   SHARED      (T, name, dims): an array in shared memory
 *   CUDNN_FILE  the library of cuDNN, which is opened at run time
 *   DYN_SHARED  (T, name): names the dynamic shared memory of a kernel as an array of T
 *
 * Files that include this keep to what both builds have (of tensor cores nvcuda::wmma): no <<<>>>, no __shared__, no
 * inline PTX, no cooperative groups, no CUB, C++17. */
#ifndef EBM_CORE_CUDA_COMPAT_H
#define EBM_CORE_CUDA_COMPAT_H

#ifdef EBM_GPU_SIM
#include "tests/gpu_sim/cuda_sim.h"
#else
#define CUDNN_FILE "libcudnn.so.9"
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <mma.h>

#define KERNEL static __global__
#define DEVICE static __device__ __forceinline__
#define LAUNCH(kernel, grid, block, bytes, stream, ...) kernel<<<(grid), (block), (bytes), (stream)>>>(__VA_ARGS__)
#define SHARED(T, name, dims) __shared__ T name dims
#define DYN_SHARED(T, name)                                                                                            \
    extern __shared__ __align__(32) unsigned char name##_bytes[];                                                      \
    T *name = reinterpret_cast<T *>(name##_bytes)
#endif

#define ALL_LANES 0xffffffffu /* of a warp, as a mask */

#endif
