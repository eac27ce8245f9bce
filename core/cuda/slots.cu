/* slots.cu - slots of the sample side: their memory, and tiles on their way there and back.
 *
 * Copies up and down have a stream each, so that they overlap each other and what the device computes for another slot;
 * events tie them to the stream that computes. */
#include "core/cuda/profile_internal.h"
#include "core/cuda/program_internal.h"

/* ---- memory ---- */

bool gpu_slot_make(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, gpu_device_slot *slot)
{
    size_t tiles = ebm_gpu_tiles(space, net), samples = tiles * EBM_GPU_TILE,
           words = sizeof(ebm_gpu_tile) / sizeof(float);
    size_t mixtures = tiles * ebm_gpu_mixture_floats(net->D, net->K + 1);
    float *d_tiles = NULL, *h_tiles = NULL;
    const unsigned quiet = cudaEventDisableTiming;
    bool ok = gpu_device_floats(space, &own->memory, &d_tiles, tiles * words) &&
              gpu_pinned_floats(space, &own->memory, &h_tiles, tiles * words) &&
              gpu_device_floats(space, &own->memory, &slot->mixtures, mixtures) &&
              gpu_pinned_floats(space, &own->memory, &slot->host.mixtures, mixtures) &&
              gpu_device_floats(space, &own->memory, &slot->y, samples * net->D) &&
              gpu_pinned_floats(space, &own->memory, &slot->host.y, samples * net->D) &&
              gpu_device_floats(space, &own->memory, &slot->log_q, samples) &&
              gpu_pinned_floats(space, &own->memory, &slot->host.log_q, samples) &&
              gpu_device_floats(space, &own->memory, &slot->f, samples) &&
              gpu_pinned_floats(space, &own->memory, &slot->host.f, samples) &&
              gpu_answers_make(space, &own->memory, (uint32_t)tiles, net->D, &slot->answers, &slot->host) &&
              gpu_fine(space, cudaEventCreateWithFlags(&slot->uploaded, quiet), "an event") &&
              gpu_fine(space, cudaEventCreateWithFlags(&slot->computed, quiet), "an event") &&
              gpu_fine(space, cudaEventCreateWithFlags(&slot->done, quiet), "an event");
    slot->tiles = reinterpret_cast<struct ebm_gpu_tile *>(d_tiles);
    slot->host.tiles = reinterpret_cast<struct ebm_gpu_tile *>(h_tiles);
    return ok;
}

void gpu_slot_free(gpu_device_slot *slot)
{
    gpu_graphs_free(slot->graphs);
    for (cudaEvent_t event : {slot->uploaded, slot->computed, slot->done})
        if (event != NULL)
            (void)cudaEventDestroy(event);
}

/* ---- running ---- */

struct ebm_gpu_slot *ebm_gpu_slot(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t slot)
{
    gpu_program *own = gpu_program_of(space, net);
    return own != NULL ? &own->slots[slot].host : NULL;
}

/* Tiles that fill a power of two: given ones of row 0, which nobody reads. */
static void fill_up(struct ebm_gpu_slot *host, uint32_t n_tiles)
{
    for (uint32_t i = n_tiles; i < gpu_next_power(n_tiles); i++) {
        host->tiles[i] = {};
        host->tiles[i].is_given = 1;
    }
}

namespace
{

bool upload_slot(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_device_slot *s, const struct ebm_gpu_load *load)
{
    const size_t samples = load->any_given ? (size_t)load->n_tiles * EBM_GPU_TILE * sizeof(float) : 0;
    const size_t mixtures = (size_t)load->n_mixtures * ebm_gpu_mixture_floats(net->D, net->K + 1) * sizeof(float);
    const cudaMemcpyKind in = cudaMemcpyHostToDevice;
    fill_up(&s->host, load->n_tiles);
    return gpu_copy(space, space->up, s->tiles, s->host.tiles, gpu_next_power(load->n_tiles) * sizeof *s->tiles, in) &&
           gpu_copy(space, space->up, s->mixtures, s->host.mixtures, mixtures, in) &&
           gpu_copy(space, space->up, s->y, s->host.y, samples * net->D, in) &&
           gpu_copy(space, space->up, s->log_q, s->host.log_q, samples, in) &&
           gpu_answers_upload(space, space->up, &s->answers, &s->host, load) &&
           gpu_fine(space, cudaEventRecord(s->uploaded, space->up), "an event") &&
           gpu_fine(space, cudaStreamWaitEvent(space->compute, s->uploaded, 0), "an event");
}

bool download_slot(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_device_slot *s, const struct ebm_gpu_load *load)
{
    const size_t first = (size_t)load->first_wanted * EBM_GPU_TILE;
    const size_t bytes = (size_t)(load->end_wanted - load->first_wanted) * EBM_GPU_TILE * sizeof(float);
    const cudaMemcpyKind out = cudaMemcpyDeviceToHost;
    return gpu_fine(space, cudaStreamWaitEvent(space->down, s->computed, 0), "an event") &&
           gpu_copy(space, space->down, s->host.y + first * net->D, s->y + first * net->D, bytes * net->D, out) &&
           gpu_copy(space, space->down, s->host.log_q + first, s->log_q + first, bytes, out) &&
           gpu_copy(space, space->down, s->host.f + first, s->f + first, bytes, out) &&
           gpu_answers_download(space, space->down, &s->answers, &s->host, load) &&
           gpu_fine(space, cudaEventRecord(s->done, space->down), "an event");
}

} // namespace

bool ebm_gpu_submit(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t number,
                    const struct ebm_gpu_load *load)
{
    gpu_program *own = gpu_program_of(space, net);
    if (space->failed || own == NULL || load->n_tiles > ebm_gpu_tiles(space, net))
        return gpu_fail(space, "the sample side", "the context is not prepared for it");
    gpu_device_slot *s = &own->slots[number];
    return gpu_enter(space) && upload_slot(space, net, s, load) &&
           gpu_launch_graph(space, s->graphs[gpu_power_of(load->n_tiles)], "the sample side",
                            [&] { return gpu_samples_enqueue(space, net, own, s, gpu_next_power(load->n_tiles)); }) &&
           gpu_answers_enqueue(space, &s->answers, &s->host, load, net->D, s->y, s->log_q, s->f) &&
           gpu_fine(space, cudaEventRecord(s->computed, space->compute), "an event") &&
           download_slot(space, net, s, load);
}

bool ebm_gpu_wait(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t slot)
{
    gpu_program *own = gpu_program_of(space, net);
    return own != NULL && !space->failed &&
           gpu_fine(space, cudaEventSynchronize(own->slots[slot].done), "the sample side");
}
