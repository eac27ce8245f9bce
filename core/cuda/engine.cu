/* engine.cu - spaces: streams, programs and graphs of CUDA behind engine.h.
 *
 *   device.cu     the device, errors, memory
 *   nets.cu       weights
 *   products.cu   matrix products
 *   x_side.cu     rows;  samples.cu, slots.cu  their samples;  answers.cu, exact.cu  what is made of them
 *
 * Nothing is allocated after prepare. What differs from call to call (seeds, rows, mixtures) lies in device buffers,
 * never in a graph. */
#include <new>

#include "core/cuda/cudnn_internal.h"
#include "core/cuda/program_internal.h"

namespace
{

/* ---- graphs ---- */

/* Products of each number of rows once: cublasLt loads its kernels when they come first, which must not be while
 * graphs are recorded. */
bool run_products(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own)
{
    uint32_t tiles = gpu_samples_multiply(net) ? ebm_gpu_tiles(space, net) : 0;
    bool ok = true;
    for (uint32_t rows = 1; ok && rows <= own->x_rows; rows *= 2)
        ok = gpu_x_enqueue(space, net, own, rows);
    for (uint32_t n = 1; ok && n <= tiles; n *= 2)
        ok = gpu_samples_enqueue(space, net, own, &own->slots[0], n);
    return ok && gpu_fine(space, cudaStreamSynchronize(space->compute), "the first run");
}

bool record_all(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own)
{
    uint32_t tiles = ebm_gpu_tiles(space, net);
    bool ok = run_products(space, net, own);
    for (uint32_t i = 0; ok && 1u << i <= own->x_rows; i++)
        ok = gpu_record(space, &own->x.graphs[i], [&] { return gpu_x_enqueue(space, net, own, 1u << i); });
    for (gpu_device_slot &slot : own->slots)
        for (uint32_t i = 0; ok && 1u << i <= tiles; i++)
            ok = gpu_record(space, &slot.graphs[i],
                            [&] { return gpu_samples_enqueue(space, net, own, &slot, 1u << i); });
    return ok;
}

void wait_for_all(ebm_gpu_space *space)
{
    for (cudaStream_t stream : {space->compute, space->up, space->down})
        if (stream != NULL)
            (void)cudaStreamSynchronize(stream);
}

/* Nothing of it runs. */
void free_program(gpu_program *own)
{
    gpu_graphs_free(own->x.graphs);
    for (gpu_device_slot &slot : own->slots)
        gpu_slot_free(&slot);
    (void)gpu_images_free(own->images);
    gpu_memory_free(&own->memory);
    delete own;
}

bool make_program(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own)
{
    bool is_wide = net->n_energy > 0 && !net->energy_is_narrow, ok = true;
    own->net = net->number;
    own->x_rows = gpu_next_power(space->max_rows);
    for (float **buffer : {&space->a, &space->b})
        if (is_wide && *buffer == NULL)
            ok = ok && gpu_fine(space, cudaMalloc((void **)buffer, GPU_ACTIVATIONS), "memory of the device");
    ok = ok && gpu_x_make(space, net, own);
    for (gpu_device_slot &slot : own->slots)
        ok = ok && gpu_slot_make(space, net, own, &slot);
    ok = ok && gpu_exact_make(space, &own->memory, net, space->max_rows, &own->exact);
    ok = ok && (net->trunk == NULL || gpu_images_new(space, net->trunk, space->max_rows, &own->images));
    return ok && record_all(space, net, own);
}

} // namespace

gpu_program *gpu_program_of(const ebm_gpu_space *space, const ebm_gpu_net *net)
{
    for (gpu_program *own : space->programs)
        if (own->net == net->number)
            return own;
    return NULL;
}

gpu_exact *gpu_exact_of(ebm_gpu_space *space, const ebm_gpu_net *net, const float **ret_hx)
{
    gpu_program *own = gpu_program_of(space, net);
    *ret_hx = own->x.hx;
    return &own->exact;
}

namespace
{

void drop_dead(ebm_gpu_space *space)
{
    for (size_t i = space->programs.size(); i-- > 0;)
        if (!gpu_net_is_live(space->programs[i]->net)) {
            wait_for_all(space);
            free_program(space->programs[i]);
            space->programs.erase(space->programs.begin() + (ptrdiff_t)i);
        }
}

} // namespace

enum ebm_status ebm_gpu_space_new(uint32_t max_rows, size_t max_tiles, uint32_t device,
                                  struct ebm_gpu_space **ret_space, struct ebm_error *reterr)
{
    ebm_gpu_space *space = new (std::nothrow) ebm_gpu_space();
    if (space == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a context");
    space->device = device;
    space->max_rows = max_rows;
    space->max_tiles = max_tiles;
    bool ok = gpu_enter(space);
    for (cudaStream_t *stream : {&space->compute, &space->up, &space->down})
        ok = ok && gpu_fine(space, cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "a stream");
    ok = ok &&
         gpu_fine(space, cudaEventCreateWithFlags(&space->idle, cudaEventDisableTiming | cudaEventBlockingSync),
                  "an event") &&
         gpu_fine(space, cublasLtCreate(&space->lt), "cuBLASLt") &&
         gpu_fine(space, cudaMalloc(&space->workspace, GPU_WORKSPACE), "memory of the device");
    if (!ok) {
        enum ebm_status status = gpu_end_making(space, reterr);
        (void)ebm_gpu_space_free(space);
        return status;
    }
    *ret_space = space;
    return EBM_OK;
}

enum ebm_status ebm_gpu_space_prepare(struct ebm_gpu_space *space, const struct ebm_gpu_net *net,
                                      struct ebm_error *reterr)
{
    if (space->failed)
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s", space->failure);
    if (!gpu_enter(space))
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s", space->failure);
    drop_dead(space);
    if (gpu_program_of(space, net) != NULL)
        return EBM_OK;
    gpu_program *own = new (std::nothrow) gpu_program();
    if (own == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a context");
    bool ok;
    try {
        space->programs.reserve(space->programs.size() + 1);
        ok = make_program(space, net, own);
    } catch (const std::bad_alloc &) {
        ok = gpu_fine(space, cudaErrorMemoryAllocation, "a context");
    }
    if (ok) {
        space->programs.push_back(own);
        return EBM_OK;
    }
    enum ebm_status status = gpu_end_making(space, reterr);
    wait_for_all(space);
    free_program(own);
    return status;
}

struct ebm_gpu_space *ebm_gpu_space_free(struct ebm_gpu_space *space)
{
    if (space == NULL)
        return NULL;
    (void)gpu_set_device(space->device);
    wait_for_all(space);
    for (gpu_program *own : space->programs)
        free_program(own);
    (void)cudaFree(space->a);
    (void)cudaFree(space->b);
    (void)cudaFree(space->workspace);
    gpu_dnn_free(space);
    if (space->lt != NULL)
        (void)cublasLtDestroy(space->lt);
    if (space->idle != NULL)
        (void)cudaEventDestroy(space->idle);
    for (cudaStream_t stream : {space->compute, space->up, space->down})
        if (stream != NULL)
            (void)cudaStreamDestroy(stream);
    delete space;
    return NULL;
}

bool gpu_sleep(ebm_gpu_space *space, const char *what)
{
    return gpu_fine(space, cudaEventRecord(space->idle, space->compute), what) &&
           gpu_fine(space, cudaEventSynchronize(space->idle), what);
}

uint32_t ebm_gpu_tiles(const struct ebm_gpu_space *space, const struct ebm_gpu_net *net)
{
    return space->max_tiles < net->max_tiles ? gpu_next_power((uint32_t)space->max_tiles) : net->max_tiles;
}
