/* nets.cu - networks on the device: what runs where, and weights as kernels and products want them.
 *
 * All tensors of a net lie in one block of device memory. */
#include <math.h>
#include <string.h>

#include <atomic>
#include <mutex>
#include <new>

#include "core/cuda/trunk_internal.h"

namespace
{

std::atomic<uint64_t> nets_made;

/* Numbers of nets that are there. */
std::mutex live_mutex;
std::vector<uint64_t> live;

} // namespace

bool gpu_net_is_live(uint64_t number)
{
    std::lock_guard<std::mutex> lock(live_mutex);
    for (uint64_t other : live)
        if (other == number)
            return true;
    return false;
}

namespace
{

void set_live(uint64_t number)
{
    std::lock_guard<std::mutex> lock(live_mutex);
    live.push_back(number);
}

/* A float's bits, rounded so that the lowest `drop` are zero. */
uint32_t bits_of(float x, uint32_t drop)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return isfinite(x) ? (bits + (1u << (drop - 1))) >> drop << drop : bits;
}

/* How tensors lie there: `n` rows of `length` numbers, `stride` apart as they come. */
struct packing : gpu_tensors {
    const float *params;

    const float *rows(const float *from, size_t stride, uint32_t n, uint32_t length, uint32_t ld)
    {
        const float *tensor;
        float *to = add((size_t)n * ld, &tensor);
        for (uint32_t i = 0; i < n; i++)
            memcpy(to + (size_t)i * ld, from + i * stride, length * sizeof(float));
        return tensor;
    }
    /* As wide_k wants them: bfloat16, or floats that TF32 has. */
    const float *rounded(const float *from, size_t stride, uint32_t n, uint32_t length, bool is_bf16)
    {
        const uint32_t deep = gpu_wide_deep(length), in_word = 1 + is_bf16;
        const float *tensor;
        float *to = add((size_t)n * (deep / in_word), &tensor);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < deep; j += in_word, to++) {
                uint32_t low = bits_of(j < length ? from[i * stride + j] : 0.0f, is_bf16 ? 16 : 13), high = 0;
                if (is_bf16)
                    high = bits_of(j + 1 < length ? from[i * stride + j + 1] : 0.0f, 16), low >>= 16;
                low |= high;
                memcpy(to, &low, sizeof low);
            }
        return tensor;
    }
    const float *columns(const float *from, size_t stride, uint32_t n, uint32_t length)
    {
        const float *tensor;
        float *to = add((size_t)n * length, &tensor);
        for (uint32_t j = 0; j < length; j++)
            for (uint32_t i = 0; i < n; i++)
                *to++ = from[i * stride + j];
        return tensor;
    }
};

/* Inputs first .. first + count - 1 of a layer. */
gpu_layer pack(packing *all, const struct ebm_layer *layer, uint32_t first, uint32_t count, bool is_narrow)
{
    const float *from = all->params + layer->weight + first;
    gpu_layer packed = {};
    packed.in = count;
    packed.out = layer->out;
    packed.ld = gpu_round_up(count, 4);
    packed.activation = layer->activation;
    packed.residual = layer->residual;
    if (is_narrow)
        packed.weight_t = all->columns(from, layer->in, layer->out, count);
    else
        packed.weight = all->rows(from, layer->in, layer->out, count, packed.ld);
    packed.bias = all->rows(all->params + layer->bias, layer->out, 1, layer->out, layer->out);
    return packed;
}

void pack_net(ebm_gpu_net *to, packing *all, const struct ebm_net *net, bool is_narrow)
{
    for (uint32_t i = 0; i < net->n_layers; i++)
        to->layers.push_back(pack(all, &net->layers[i], 0, net->layers[i].in, is_narrow));
}

void pack_x_side(ebm_gpu_net *to, packing *all, const struct ebm_net_desc *net)
{
    pack_net(to, all, &net->feature, false);
    if (net->has_energy) {
        gpu_layer of_h = pack(all, &net->energy.layers[0], 0, net->H, false);
        of_h.activation = EBM_ACT_IDENTITY;
        of_h.residual = false;
        to->layers.push_back(of_h);
    }
    pack_net(to, all, &net->own, false);
    pack_net(to, all, &net->mean, false);
    pack_net(to, all, &net->log_variance, false);
    pack_net(to, all, &net->weight, false);
}

void pack_all(ebm_gpu_net *to, packing *all, const struct ebm_net_desc *net)
{
    pack_x_side(to, all, net);
    pack_net(to, all, &net->target, to->target_is_narrow);
    for (uint32_t i = 0; i < net->energy.n_layers; i++)
        to->layers.push_back(pack(all, &net->energy.layers[i], i == 0 ? net->H : 0,
                                  i == 0 ? net->G : net->energy.layers[i].in, to->energy_is_narrow));
    const struct ebm_layer *first = net->energy.layers;
    if (to->wide != EBM_GPU_FP32)
        to->layers[to->layers.size() - 2].weight_wide = all->rounded(all->params + first->weight + net->H, first->in,
                                                                     first->out, net->G, to->wide == EBM_GPU_BF16);
}

/* What runs where, and how large it gets. */
void shape_of(ebm_gpu_net *to, const struct ebm_net_desc *net)
{
    const struct ebm_net *heads[] = {&net->mean, &net->log_variance, &net->weight};
    to->X = ebm_net_reach(net);
    to->D = net->D, to->H = net->H, to->G = net->G, to->K = net->K, to->own_H = net->own_H;
    to->n_feature = net->feature.n_layers, to->n_target = net->target.n_layers, to->n_own = net->own.n_layers;
    to->n_energy = net->has_energy ? net->energy.n_layers : 0;
    to->energy_out = net->has_energy ? net->energy.layers[0].out : 0;
    to->x_widest = gpu_widest(&net->feature, to->X > to->energy_out ? to->X : to->energy_out);
    to->x_widest = gpu_widest(&net->own, to->x_widest);
    for (uint32_t i = 0; i < 3; i++) {
        to->n_head[i] = heads[i]->n_layers;
        to->x_widest = gpu_widest(heads[i], to->x_widest);
    }
    uint32_t target = gpu_widest(&net->target, net->D), energy = gpu_widest(&net->energy, target);
    to->target_is_narrow = gpu_narrow_fits(target);
    to->energy_is_narrow = net->has_energy && gpu_narrow_fits(energy);
    const struct ebm_layer *energy_layers = net->energy.layers;
    bool is_two = net->has_energy && !to->energy_is_narrow && net->energy.n_layers == 2 && !energy_layers[0].residual &&
                  !energy_layers[1].residual;
    to->wide = is_two && gpu_wide_fits(gpu_precision(), net->G) ? gpu_precision() : EBM_GPU_FP32;
    to->widest_ld = gpu_round_up(energy > net->G ? energy : net->G, 4);
    uint32_t most = (uint32_t)(GPU_ACTIVATIONS / ((size_t)to->widest_ld * EBM_GPU_TILE * sizeof(float)));
    to->max_tiles = 1;
    while (to->max_tiles < EBM_GPU_TILES && 2 * to->max_tiles <= most)
        to->max_tiles *= 2;
}

cudaError_t upload(ebm_gpu_net *net, const packing *all)
{
    const size_t bytes = net->layers.size() * sizeof(gpu_layer);
    cudaError_t error = all->upload(net->device, &net->block);
    for (gpu_layer &layer : net->layers)
        for (const float **tensor : {&layer.weight, &layer.weight_t, &layer.weight_wide, &layer.bias})
            gpu_place(net->block, tensor);
    if (error == cudaSuccess)
        error = cudaMalloc((void **)&net->d_layers, bytes);
    return error == cudaSuccess ? gpu_put(net->d_layers, net->layers.data(), bytes) : error;
}

} // namespace

enum ebm_status ebm_gpu_net_new(const struct ebm_net_desc *desc, const float *h_params, uint32_t device,
                                struct ebm_gpu_net **ret_net, struct ebm_error *reterr)
{
    ebm_gpu_net *net = new (std::nothrow) ebm_gpu_net();
    if (net == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a network");
    net->device = device;
    packing all = {{}, h_params};
    cudaError_t error;
    try {
        shape_of(net, desc);
        pack_all(net, &all, desc);
        net->number = ++nets_made;
        set_live(net->number);
        error = upload(net, &all);
    } catch (const std::bad_alloc &) {
        (void)ebm_gpu_net_free(net);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a network");
    }
    enum ebm_status status = EBM_OK;
    if (error != cudaSuccess)
        status = gpu_refuse(reterr, "weights cannot be put onto the device", error);
    else if (desc->trunk.n_ops > 0)
        status = gpu_trunk_new(&desc->trunk, h_params, device, &net->trunk, reterr);
    if (status != EBM_OK) {
        (void)ebm_gpu_net_free(net);
        return status;
    }
    *ret_net = net;
    return EBM_OK;
}

struct ebm_gpu_net *ebm_gpu_net_free(struct ebm_gpu_net *net)
{
    if (net == NULL)
        return NULL;
    {
        std::lock_guard<std::mutex> lock(live_mutex);
        for (size_t i = live.size(); i-- > 0;)
            if (live[i] == net->number)
                live.erase(live.begin() + (ptrdiff_t)i);
    }
    (void)gpu_set_device(net->device);
    (void)cudaFree(net->block);
    (void)cudaFree(net->d_layers);
    (void)cudaFree(net->exact);
    (void)gpu_trunk_free(net->trunk);
    delete net;
    return NULL;
}
