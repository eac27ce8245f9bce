/* cuda_api.h - between cuda_api.cpp, blaslt.cpp and cudart_stubs.cpp. Include CUDA's names first. */
#ifndef GPU_SIM_CUDA_API_H
#define GPU_SIM_CUDA_API_H

#include "tests/gpu_sim/sim.h"

/* The stream behind the handle; NULL is the default stream. */
gpu_sim::stream *gpu_sim_stream(cudaStream_t s);
/* 0: queued; else the error that cudaGetLastError then tells of. */
extern "C" int gpu_sim_launched(const gpu_sim::grid *what, const void *function, cudaStream_t stream,
                                gpu_sim::work kernel);

#endif
