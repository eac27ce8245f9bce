/* samples.cu - the sample side: tiles -> draw_k -> narrow nets by layers_k, wide ones by products of cublasLt or by
 * wide.cu -> f.
 *
 *   draw_k     tiles that are not given: targets of the row's mixture, and their log q
 *   layers_k   a net whose layers are narrow, y -> its last layer, activations in shared memory; with the energy net
 *              behind it, y -> f
 *   add_k      the first energy layer of a wide net: act(z + hx of the tile's row), z by a matrix product
 *   dot_k      the last energy layer, one output, straight from a wide layer's z or output: a warp a sample
 *
 * y lies (tile, D, EBM_GPU_TILE); activations (sample, features), rows `ld` apart. Words of Philox are those of
 * philox.h; normal numbers are of the same fit as the CPU's. */
#include "core/cuda/mixture.h"
#include "core/cuda/philox.h"
#include "core/cuda/profile_internal.h"
#include "core/cuda/program_internal.h"
#include "core/sobol.h"

#define NARROWEST_SPACE (48u << 10) /* bytes of shared memory that a block of layers_k may take anywhere */
#define NARROW_SPACE (56u << 10)    /* that it takes: four blocks of it fit into compute capability 9.0 */
#define FEWEST 32u                  /* samples of a block of layers_k: a quarter of a tile */
#define BETWEEN 4u  /* floats behind a feature's samples in shared memory: float4 of 8 threads fall on 32 banks */
#define TOGETHER 8u /* samples of a thread of layers_k */
#define DOT_THREADS 256u
#define DRAW_FLOP 80.0 /* of a draw, about; and of its log q, of each component and coordinate */
#define DENSITY_FLOP 40.0

/* What layers_k runs: `target` layers of the target net, then `energy` layers of the energy net. */
struct gpu_narrow {
    const struct gpu_layer *layers; /* device memory, the target net's first */
    uint32_t target, energy, D, H, energy_out;
    uint32_t even; /* the widest of y and of every other layer's outputs, but for the last layer's */
    bool is_bf16;  /* g is written as bfloat16 */
};

/* ---- draws ---- */

/* One slot's mixture, as it was uploaded. */
struct gpu_mixture {
    uint32_t K;
    const float *mean, *std, *inv_std, *log_const;
    const uint32_t *below, *sobol;
};

DEVICE struct gpu_mixture mixture_at(const float *from, uint32_t D)
{
    struct gpu_mixture q;
    q.K = *reinterpret_cast<const uint32_t *>(from);
    q.mean = from + 4;
    q.std = q.mean + D * q.K;
    q.inv_std = q.std + D * q.K;
    q.log_const = q.inv_std + D * q.K;
    q.below = reinterpret_cast<const uint32_t *>(q.log_const + q.K);
    q.sobol = q.below + q.K;
    return q;
}

EBM_SOBOL_SCRAMBLE(DEVICE, sobol_scramble, uint32_t)

/* Dimension d of point `sample`: ebm_sobol_word. */
DEVICE uint32_t sobol_word(const struct gpu_mixture *q, uint32_t d, uint32_t sample)
{
    const uint32_t *of = q->sobol + d * EBM_GPU_SOBOL_WORDS;
    uint32_t digits = 0;
    for (uint32_t bit = 0; bit < EBM_SOBOL_BITS; bit++) {
        uint32_t direction = of[2 + bit / 2] >> (bit % 2 * 16) & 0xffffu;
        digits ^= sample >> bit & 1u ? direction : 0u;
    }
    return sobol_scramble(digits, of[0], of[1]);
}

/* Word 0 picks the component, word 1 + d makes coordinate d. */
DEVICE void draw_targets(float *y, const struct gpu_mixture *q, const struct ebm_gpu_tile *tile, uint32_t sample,
                         uint32_t D)
{
    struct gpu_words words = {};
    uint32_t k = 0;
    for (uint32_t at = 0; at <= D; at++) {
        if (!tile->by_sobol && at % 4 == 0)
            words = philox(tile->seed, tile->row_in_request, sample, EBM_STREAM_DRAWS, at / 4);
        uint32_t word = tile->by_sobol ? sobol_word(q, at, sample) : word_of(words, at % 4);
        while (at == 0 && k + 1 < q->K && word >= q->below[k])
            k++;
        if (at > 0)
            y[(at - 1) * EBM_GPU_TILE] = q->mean[(at - 1) * q->K + k] + q->std[(at - 1) * q->K + k] * normal_of(word);
    }
}

/* A block a tile, a thread a sample. */
KERNEL void __launch_bounds__(EBM_GPU_TILE) draw_k(const struct ebm_gpu_tile *tiles, const float *mixtures,
                                                   uint32_t mixture_floats, uint32_t D, float *y, float *log_q)
{
    const struct ebm_gpu_tile *tile = tiles + blockIdx.x;
    if (tile->is_given)
        return;
    struct gpu_mixture q = mixture_at(mixtures + (size_t)tile->mixture * mixture_floats, D);
    float *own = y + (size_t)blockIdx.x * D * EBM_GPU_TILE + threadIdx.x;
    draw_targets(own, &q, tile, tile->first_sample + threadIdx.x, D);
    const struct gpu_density density = {D, q.K, q.mean, q.inv_std, q.log_const};
    log_q[(size_t)blockIdx.x * EBM_GPU_TILE + threadIdx.x] = log_density(own, EBM_GPU_TILE, &density);
}

/* ---- narrow layers ---- */

/* TOGETHER samples of output o: z = bias + W in, `in` features `apart` floats apart. */
DEVICE void multiply(float z[TOGETHER], const struct gpu_layer *layer, float bias, uint32_t o, const float *in,
                     uint32_t apart)
{
    for (uint32_t s = 0; s < TOGETHER; s++)
        z[s] = bias;
    for (uint32_t i = 0; i < layer->in; i++) {
        float w = layer->weight_t[(size_t)i * layer->out + o];
        const float4 *x = reinterpret_cast<const float4 *>(in + i * apart);
        float4 low = x[0], high = x[1];
        z[0] += w * low.x;
        z[1] += w * low.y;
        z[2] += w * low.z;
        z[3] += w * low.w;
        z[4] += w * high.x;
        z[5] += w * high.y;
        z[6] += w * high.z;
        z[7] += w * high.w;
    }
}

/* The row's part of the first energy layer: what it starts from, and h, which a residual one adds before g. NULL in
 * other layers. */
struct narrow_join {
    const float *hx, *h;
    uint32_t H;
};

/* a = act(z), and what a residual layer adds: of the same place, or, where it joins, of [h, g]. */
DEVICE void finish(float a[TOGETHER], const struct gpu_layer *layer, const struct narrow_join *join, uint32_t o,
                   const float *in, uint32_t apart)
{
    bool is_of_h = join->h != NULL && o < join->H;
    uint32_t same = o - (join->h != NULL ? join->H : 0);
    for (uint32_t s = 0; s < TOGETHER; s++) {
        a[s] = activate(layer->activation, a[s]);
        if (layer->residual)
            a[s] += is_of_h ? join->h[o] : in[same * apart + s];
    }
}

/* Where outputs go: to shared memory as they came, or, of the last layer, to g or f (sample, ld) in global memory. */
struct narrow_out {
    float *shared;
    void *last;
    uint32_t ld;
    bool is_bf16;
};

DEVICE void put_last(const struct narrow_out *out, size_t sample, uint32_t o, float value)
{
    size_t at = sample * out->ld + o;
    if (out->is_bf16)
        static_cast<__nv_bfloat16 *>(out->last)[at] = __float2bfloat16_rn(value);
    else
        static_cast<float *>(out->last)[at] = value;
}

/* One layer of a block's samples, the first of which is `sample`. */
template <uint32_t SAMPLES>
DEVICE void narrow_layer(const struct gpu_layer *layer, const struct narrow_join *join, const float *in,
                         const struct narrow_out *out, size_t sample)
{
    const uint32_t apart = SAMPLES + BETWEEN;
    for (uint32_t item = threadIdx.x; item < layer->out * (SAMPLES / TOGETHER); item += blockDim.x) {
        uint32_t o = item % layer->out, first = item / layer->out * TOGETHER;
        float a[TOGETHER];
        multiply(a, layer, join->hx != NULL ? join->hx[o] : layer->bias[o], o, in + first, apart);
        finish(a, layer, join, o, in + first, apart);
        if (out->shared != NULL) {
            float4 *to = reinterpret_cast<float4 *>(out->shared + o * apart + first);
            to[0] = make_float4(a[0], a[1], a[2], a[3]);
            to[1] = make_float4(a[4], a[5], a[6], a[7]);
        } else {
            for (uint32_t s = 0; s < TOGETHER; s++)
                put_last(out, sample + first + s, o, a[s]);
        }
    }
}

constexpr unsigned narrow_threads(unsigned samples)
{
    return samples < 64 ? 128 : 2 * samples;
}

/* A block has SAMPLES samples of a tile. Gives g (sample, ld_g), or f where the energy net is run too. */
template <uint32_t SAMPLES>
KERNEL void __launch_bounds__(narrow_threads(SAMPLES), 1024 / narrow_threads(SAMPLES))
    layers_k(struct gpu_narrow net, const struct ebm_gpu_tile *tiles, const float *y, const float *hx, const float *h,
             float *g, uint32_t ld_g, float *f)
{
    DYN_SHARED(float, space);
    const uint32_t parts = EBM_GPU_TILE / SAMPLES, row = tiles[blockIdx.x / parts].row, n = net.target + net.energy,
                   apart = SAMPLES + BETWEEN;
    const float *from = y + (size_t)(blockIdx.x / parts) * net.D * EBM_GPU_TILE + blockIdx.x % parts * SAMPLES;
    const size_t sample = (size_t)blockIdx.x * SAMPLES;
    float *in = space, *out = space + (size_t)net.even * apart;
    for (uint32_t i = threadIdx.x; i < net.D * SAMPLES; i += blockDim.x)
        in[i / SAMPLES * apart + i % SAMPLES] = from[i / SAMPLES * EBM_GPU_TILE + i % SAMPLES];
    __syncthreads();
    for (uint32_t i = 0; i < n; i++) {
        bool is_last = i + 1 == n, joins = i == net.target;
        struct narrow_join join = {joins ? hx + (size_t)row * net.energy_out : NULL,
                                   joins ? h + (size_t)row * net.H : NULL, net.H};
        struct narrow_out to = {is_last ? NULL : out, net.energy > 0 ? f : g, net.energy > 0 ? 1 : ld_g, net.is_bf16};
        narrow_layer<SAMPLES>(net.layers + i, &join, in, &to, sample);
        __syncthreads();
        float *done = in;
        in = out;
        out = done;
    }
    const struct narrow_out to = {NULL, g, ld_g, net.is_bf16};
    for (uint32_t i = threadIdx.x; n == 0 && i < net.D * SAMPLES; i += blockDim.x)
        put_last(&to, sample + i / net.D, i % net.D, in[i % net.D * apart + i / net.D]);
}

/* ---- wide layers ---- */

/* What stands between the product and the activation, and what is added behind it. */
struct gpu_join {
    const struct ebm_gpu_tile *tiles;
    const float *hx, *h, *g; /* rows of the batch, energy_out and H apart; g (sample, ld_g) */
    uint32_t H, ld_g;
};

/* a (sample, ld_a) = act(z + hx) and, of a residual layer, + [h, g]. A thread a number; a may be z. */
KERNEL void add_k(struct gpu_join join, int activation, bool residual, const float *z, uint32_t ld_z, float *a,
                  uint32_t ld_a, uint32_t n, uint32_t samples)
{
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, i = at % n;
    if (at >= samples * n)
        return;
    size_t sample = at / n, row = join.tiles[sample / EBM_GPU_TILE].row;
    float value = activate(activation, z[sample * ld_z + i] + join.hx[row * n + i]);
    if (residual)
        value += i < join.H ? join.h[row * join.H + i] : join.g[sample * join.ld_g + i - join.H];
    a[sample * ld_a + i] = value;
}

/* f (sample) = act(w a + bias) with a (sample, ld), or with a = before(a + hx) where tiles are given. */
KERNEL void __launch_bounds__(DOT_THREADS)
    dot_k(const struct gpu_layer *layers, uint32_t last, const struct ebm_gpu_tile *tiles, const float *hx,
          const float *a, uint32_t ld, float *f)
{
    const struct gpu_layer *layer = layers + last;
    size_t sample = (size_t)blockIdx.x * (DOT_THREADS / 32) + threadIdx.x / 32;
    uint32_t lane = threadIdx.x % 32, n = layer->in;
    const float *own = a + sample * ld, *row = hx;
    float sum = 0.0f;
    if (tiles != NULL) {
        row += (size_t)tiles[sample / EBM_GPU_TILE].row * n;
        for (uint32_t i = lane; i < n; i += 32)
            sum += layer->weight[i] * activate(layers[last - 1].activation, own[i] + row[i]);
    } else {
        for (uint32_t i = lane; i < n; i += 32)
            sum += layer->weight[i] * own[i];
    }
    for (uint32_t apart = 16; apart > 0; apart /= 2)
        sum += __shfl_xor_sync(ALL_LANES, sum, apart);
    if (lane == 0)
        f[sample] = activate(layer->activation, sum + layer->bias[0]) + (layer->residual ? own[0] : 0.0f);
}

/* ---- what runs them ---- */

bool gpu_narrow_fits(uint32_t widest)
{
    return 2 * widest * (FEWEST + BETWEEN) * sizeof(float) <= NARROWEST_SPACE;
}

cudaError_t gpu_samples_open(void)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(layers_k<128>),
                                cudaFuncAttributeMaxDynamicSharedMemorySize, (int)NARROW_SPACE);
}

namespace
{

/* And how wide its two buffers are together. */
struct gpu_narrow narrow_of(const ebm_gpu_net *net, uint32_t *ret_both)
{
    struct gpu_narrow narrow = {};
    const gpu_layer *layers = net->target();
    uint32_t widest[2] = {net->D, 0};
    narrow.layers = net->d_layers + (layers - net->layers.data());
    narrow.target = net->target_is_narrow ? net->n_target : 0;
    narrow.energy = net->energy_is_narrow ? net->n_energy : 0;
    narrow.D = net->D, narrow.H = net->H, narrow.energy_out = net->energy_out;
    narrow.is_bf16 = gpu_g_is_bf16(net);
    for (uint32_t i = 0; i + 1 < narrow.target + narrow.energy; i++)
        widest[(i + 1) % 2] = layers[i].out > widest[(i + 1) % 2] ? layers[i].out : widest[(i + 1) % 2];
    narrow.even = widest[0];
    *ret_both = widest[0] + widest[1];
    return narrow;
}

/* Weights once, and not what a tile's row gives: hx, and h of residual ones. */
gpu_work narrow_work(const ebm_gpu_net *net, const struct gpu_narrow *narrow, uint32_t tiles, uint32_t ld_g)
{
    const double samples = (double)tiles * EBM_GPU_TILE;
    double weights = 0.0, out = narrow->is_bf16 ? 2.0 * ld_g : 4.0 * ld_g;
    for (uint32_t i = 0; i < narrow->target + narrow->energy; i++)
        weights += (double)net->target()[i].in * net->target()[i].out;
    if (narrow->energy > 0)
        out = sizeof(float);
    return {"layers_k", EBM_LAUNCH_FP32, 2.0 * samples * weights,
            samples * (sizeof(float) * net->D + out) + sizeof(float) * weights};
}

template <uint32_t SAMPLES>
bool enqueue_narrow(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, gpu_device_slot *slot,
                    uint32_t tiles, gpu_rows g)
{
    uint32_t both;
    struct gpu_narrow narrow = narrow_of(net, &both);
    size_t bytes = (size_t)both * (SAMPLES + BETWEEN) * sizeof(float);
    const float *h = net->n_feature > 0 ? own->x.h : own->x.x;
    if (bytes > (SAMPLES == EBM_GPU_TILE ? NARROW_SPACE : NARROWEST_SPACE))
        return false;
    const gpu_timed timed(space, space->compute, [&] { return narrow_work(net, &narrow, tiles, g.ld); });
    LAUNCH(layers_k<SAMPLES>, dim3(tiles * (EBM_GPU_TILE / SAMPLES)), dim3(narrow_threads(SAMPLES)), bytes,
           space->compute, narrow, slot->tiles, slot->y, own->x.hx, h, g.p, g.ld, slot->f);
    return true;
}

gpu_work draw_work(const ebm_gpu_net *net, uint32_t tiles)
{
    const double samples = (double)tiles * EBM_GPU_TILE, D = net->D;
    return {"draw_k", EBM_LAUNCH_FP32, samples * (DRAW_FLOP + DENSITY_FLOP * D * net->K),
            sizeof(float) * samples * (D + 1.0)};
}

gpu_work add_work(const gpu_layer *first, double samples)
{
    const double numbers = samples * first->out;
    return {"add_k", EBM_LAUNCH_FP32, 3.0 * numbers, sizeof(float) * (first->residual ? 3.0 : 2.0) * numbers};
}

gpu_work dot_work(double width, double samples, bool is_fused)
{
    const double numbers = samples * width;
    return {"dot_k", EBM_LAUNCH_FP32, (is_fused ? 4.0 : 2.0) * numbers, sizeof(float) * (numbers + samples + width)};
}

/* g in one of the two buffers -> f: layers of the energy net from the first one's product on. */
bool enqueue_energy(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, gpu_device_slot *slot,
                    uint32_t tiles, gpu_rows g)
{
    const gpu_layer *first = net->energy();
    const gpu_layer *d_energy = net->d_layers + (first - net->layers.data());
    uint32_t last = net->n_energy - 1, samples = tiles * EBM_GPU_TILE, most = net->max_tiles * EBM_GPU_TILE;
    const float *h = net->n_feature > 0 ? own->x.h : own->x.x;
    struct gpu_join join = {slot->tiles, own->x.hx, h, g.p, net->H, g.ld};
    float *other = g.p == space->a ? space->b : space->a;
    gpu_rows z = {other, gpu_round_up(first->out, 4)}, done = z;
    if (net->wide != EBM_GPU_FP32) {
        gpu_wide_score(space, net, slot->tiles, tiles, own->x.hx, g.p, g.ld, slot->f);
        return true;
    }
    if (!gpu_multiply_layer(space, first, NULL, g, z, samples, most, false))
        return false;
    bool is_fused = last == 1 && !first->residual && !first[1].residual;
    if (last == 0)
        done = {slot->f, 1};
    if (!is_fused) {
        const gpu_timed timed(space, space->compute, [&] { return add_work(first, samples); });
        LAUNCH(add_k, gpu_blocks((size_t)samples * first->out), dim3(GPU_THREADS), 0, space->compute, join,
               first->activation, first->residual, z.p, z.ld, done.p, done.ld, first->out, samples);
    }
    if (last > 1 && !gpu_run_layers(space, first + 1, last - 1, done, samples, most, false, g.p, other, NULL, &done))
        return false;
    if (last > 0) {
        const gpu_timed timed(space, space->compute, [&] { return dot_work(first[last].in, samples, is_fused); });
        LAUNCH(dot_k, dim3(samples / (DOT_THREADS / 32)), dim3(DOT_THREADS), 0, space->compute, d_energy, last,
               is_fused ? slot->tiles : NULL, own->x.hx, done.p, done.ld, slot->f);
    }
    return true;
}

} // namespace

bool gpu_samples_enqueue(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, gpu_device_slot *slot,
                         uint32_t tiles)
{
    if (net->K > 0) {
        const gpu_timed timed(space, space->compute, [&] { return draw_work(net, tiles); });
        LAUNCH(draw_k, dim3(tiles), dim3(EBM_GPU_TILE), 0, space->compute, slot->tiles, slot->mixtures,
               ebm_gpu_mixture_floats(net->D, net->K + 1), net->D, slot->y, slot->log_q);
    }
    gpu_rows g = {space->a, gpu_round_up(net->target_is_narrow ? net->G : net->D, gpu_g_is_bf16(net) ? 8 : 4)};
    /* As many samples as fit share what is read of the weights; a sample's numbers are the same among any. */
    if (net->n_energy > 0 && !enqueue_narrow<128>(space, net, own, slot, tiles, g) &&
        !enqueue_narrow<64>(space, net, own, slot, tiles, g))
        (void)enqueue_narrow<FEWEST>(space, net, own, slot, tiles, g);
    if (net->n_energy == 0 || net->energy_is_narrow)
        return gpu_fine(space, cudaGetLastError(), "the sample side");
    uint32_t samples = tiles * EBM_GPU_TILE, most = net->max_tiles * EBM_GPU_TILE;
    bool ok = net->target_is_narrow || gpu_run_layers(space, net->target(), net->n_target, g, samples, most, false,
                                                      space->b, space->a, NULL, &g);
    return ok && enqueue_energy(space, net, own, slot, tiles, g) &&
           gpu_fine(space, cudaGetLastError(), "the sample side");
}

bool gpu_g_is_bf16(const ebm_gpu_net *net)
{
    return net->target_is_narrow && net->wide == EBM_GPU_BF16;
}

bool gpu_samples_multiply(const ebm_gpu_net *net)
{
    return net->n_energy > 0 && !net->energy_is_narrow && (!net->target_is_narrow || net->wide == EBM_GPU_FP32);
}

static const gpu_kernels loaded = {GPU_KERNEL(draw_k),        GPU_KERNEL(layers_k<32>), GPU_KERNEL(layers_k<64>),
                                   GPU_KERNEL(layers_k<128>), GPU_KERNEL(add_k),        GPU_KERNEL(dot_k)};
