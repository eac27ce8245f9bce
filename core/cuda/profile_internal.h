/* profile_internal.h - what the .cu files say of their launches, for profile.h.
 *
 *     gpu_timed timed(space, space->compute, [&] { return gpu_work{"some_k", EBM_LAUNCH_FP32, flop, bytes}; });
 *     LAUNCH(some_k, ...);
 *
 * Work is what a launch has to do at least, counted as docs/GPU.md says. Where nobody profiles it is not even counted:
 * that is one comparison a launch. */
#ifndef EBM_CORE_CUDA_PROFILE_INTERNAL_H
#define EBM_CORE_CUDA_PROFILE_INTERNAL_H

#include "core/cuda/engine_internal.h"
#include "core/cuda/profile.h"

struct gpu_work {
    const char *name;
    enum ebm_launch_kind kind;
    double flop, bytes;
    uint32_t shape[3] = {0, 0, 0}; /* of a product: rows, columns and depth; 0: no part of the name */
};

/* Numbers of products, where they are rounded as the device was opened, or not at all. */
enum ebm_launch_kind gpu_product_kind(bool is_exact);

void gpu_launch_begins(ebm_gpu_space *space, cudaStream_t stream, const gpu_work &work);
void gpu_launch_ends(ebm_gpu_space *space, cudaStream_t stream);

/* Times what is launched on the stream while it lives. */
class gpu_timed
{
    ebm_gpu_space *const space; /* NULL: it does not */
    const cudaStream_t stream;

  public:
    template <class Work>
    gpu_timed(ebm_gpu_space *of, cudaStream_t on, Work work) : space(of->profile != NULL ? of : NULL), stream(on)
    {
        if (space != NULL)
            gpu_launch_begins(space, stream, work());
    }
    ~gpu_timed()
    {
        if (space != NULL)
            gpu_launch_ends(space, stream);
    }
    gpu_timed(const gpu_timed &) = delete;
    gpu_timed &operator=(const gpu_timed &) = delete;
};

/* A graph; where launches are timed, what it was recorded of. */
template <class Enqueue>
bool gpu_launch_graph(ebm_gpu_space *space, cudaGraphExec_t graph, const char *what, Enqueue enqueue)
{
    return space->profile != NULL ? enqueue() : gpu_fine(space, cudaGraphLaunch(graph, space->compute), what);
}

#endif
