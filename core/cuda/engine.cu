/* engine.cu - memory, streams, products and graphs of CUDA behind engine.h.
 *
 *   x side        x -> feature net -> h -> W_h h + bias of the first energy layer, the proposal's nets; one graph for
 *                 each power of two of rows
 *   sample side   tiles -> draw_k -> narrow nets by layers_k, wide ones by products of cublasLt -> f; one graph for
 * each slot and power of two of tiles
 *
 * A slot's copies have a stream of their own, so that they overlap what the device computes for another slot; events
 * tie them to the one stream that computes. Nothing is allocated after prepare. What differs from call to call (seeds,
 * rows, mixtures) lies in device buffers, never in a graph.
 *
 * Same bytes: a product has one algorithm for all its numbers of rows, chosen for the largest, without split sums, so
 * that what a row gets does not depend on how many there are beside it. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <mutex>
#include <new>

#include "core/cuda/answers_internal.h"
#include "core/cuda/exact_internal.h"
#include "core/cuda/kernels.h"

#define NARROWEST_SPACE (48u << 10) /* bytes of shared memory that a block of layers_k may take anywhere */
#define WORKSPACE (32u << 20)       /* bytes, of cublasLt */
#define ACTIVATIONS (32u << 20)     /* bytes, of one of the sample side's two buffers: one tile of the widest layer */
#define ALIGNED 64u                 /* floats, of every tensor */
#define X_ROWS 64u                  /* for which the x side's products are chosen */

namespace
{

int device_index;
enum ebm_gpu_precision precision;

/* What a space failed of, the latest one of all. */
std::mutex failure_mutex;
char latest_failure[EBM_GPU_FAILURE_BYTES];

uint32_t next_power(uint32_t n)
{
    uint32_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

enum ebm_status refuse(struct ebm_error *reterr, const char *what, cudaError_t error)
{
    return ebm_error_set(reterr, error == cudaErrorMemoryAllocation ? EBM_NO_MEMORY : EBM_DEVICE, "cuda", "%s: %s",
                         what, cudaGetErrorString(error));
}

} // namespace

/* ---- the device ---- */

enum ebm_status ebm_gpu_open(int index, enum ebm_gpu_precision wanted, char *ret_name, size_t bytes,
                             struct ebm_error *reterr)
{
    int count = 0;
    struct cudaDeviceProp device;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
        return refuse(reterr, "the driver gives no device", error);
    if (index < 0 || index >= count)
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "there is no device %d, only %d of them", index, count);
    error = cudaGetDeviceProperties(&device, index);
    if (error != cudaSuccess)
        return refuse(reterr, "the device says nothing of itself", error);
    if (device.major < 8)
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s has compute capability %d.%d, expected at least 8.0",
                             device.name, device.major, device.minor);
    device_index = index;
    precision = wanted;
    error = cudaSetDevice(index);
    if (error == cudaSuccess)
        error = gpu_wide_open();
    if (error != cudaSuccess)
        return refuse(reterr, "the device refuses a kernel's shared memory", error);
    (void)snprintf(ret_name, bytes, "%s, compute capability %d.%d, %zu MiB", device.name, device.major, device.minor,
                   device.totalGlobalMem >> 20);
    return EBM_OK;
}

/* ---- weights ---- */

namespace
{

std::atomic<uint64_t> nets_made;

/* Numbers of nets that are there: graphs of others are dropped. */
std::mutex live_mutex;
std::vector<uint64_t> live;

bool is_live(uint64_t number)
{
    std::lock_guard<std::mutex> lock(live_mutex);
    for (uint64_t other : live)
        if (other == number)
            return true;
    return false;
}

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

/* Tensors on their way to the device: what layers hold are offsets + 1 until it is known where they lie. */
struct packing {
    std::vector<float> numbers;
    const float *params;

    const float *start()
    {
        numbers.resize((numbers.size() + ALIGNED - 1) / ALIGNED * ALIGNED);
        return reinterpret_cast<const float *>((numbers.size() + 1) * sizeof(float));
    }
    const float *rows(const float *from, size_t stride, uint32_t n, uint32_t length, uint32_t ld)
    {
        const float *at = start();
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < ld; j++)
                numbers.push_back(j < length ? from[i * stride + j] : 0.0f);
        return at;
    }
    /* As wide_k wants them: bfloat16, or floats that TF32 has. */
    const float *rounded(const float *from, size_t stride, uint32_t n, uint32_t length, bool is_bf16)
    {
        const float *at = start();
        uint32_t deep = gpu_wide_deep(length);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < deep; j += 1 + is_bf16) {
                uint32_t low = bits_of(j < length ? from[i * stride + j] : 0.0f, is_bf16 ? 16 : 13), high = 0;
                if (is_bf16)
                    high = bits_of(j + 1 < length ? from[i * stride + j + 1] : 0.0f, 16), low >>= 16;
                low |= high;
                float both;
                memcpy(&both, &low, sizeof both);
                numbers.push_back(both);
            }
        return at;
    }
    const float *columns(const float *from, size_t stride, uint32_t n, uint32_t length)
    {
        const float *at = start();
        for (uint32_t j = 0; j < length; j++)
            for (uint32_t i = 0; i < n; i++)
                numbers.push_back(from[i * stride + j]);
        return at;
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

uint32_t widest_of(const struct ebm_net *net, uint32_t at_least)
{
    for (uint32_t i = 0; i < net->n_layers; i++)
        at_least = net->layers[i].out > at_least ? net->layers[i].out : at_least;
    return at_least;
}

bool fits_shared(uint32_t widest)
{
    return 2 * widest * LANES_APART * sizeof(float) <= NARROWEST_SPACE;
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
    to->x_widest = widest_of(&net->feature, to->X > to->energy_out ? to->X : to->energy_out);
    to->x_widest = widest_of(&net->own, to->x_widest);
    for (uint32_t i = 0; i < 3; i++) {
        to->n_head[i] = heads[i]->n_layers;
        to->x_widest = widest_of(heads[i], to->x_widest);
    }
    uint32_t target = widest_of(&net->target, net->D), energy = widest_of(&net->energy, target);
    to->target_is_narrow = fits_shared(target);
    to->energy_is_narrow = net->has_energy && fits_shared(energy);
    const struct ebm_layer *energy_layers = net->energy.layers;
    bool is_two = net->has_energy && !to->energy_is_narrow && net->energy.n_layers == 2 && !energy_layers[0].residual &&
                  !energy_layers[1].residual;
    to->wide = is_two && gpu_wide_fits(precision, net->G) ? precision : EBM_GPU_FP32;
    to->narrow_widest = to->energy_is_narrow ? energy : to->target_is_narrow ? target : net->D;
    to->widest_ld = gpu_round_up(energy > net->G ? energy : net->G, 4);
    uint32_t most = (uint32_t)(ACTIVATIONS / ((size_t)to->widest_ld * EBM_GPU_TILE * sizeof(float)));
    to->max_tiles = 1;
    while (to->max_tiles < EBM_GPU_TILES && 2 * to->max_tiles <= most)
        to->max_tiles *= 2;
}

const float *place(const float *block, const float *offset)
{
    return offset != NULL ? block + (reinterpret_cast<uintptr_t>(offset) / sizeof(float) - 1) : NULL;
}

/* Of pageable memory cudaMemcpy returns when it has read it, which may be before the device has it, and streams that
 * do not block wait for nothing of it: hence the wait. */
cudaError_t put(void *to, const void *from, size_t bytes)
{
    cudaError_t error = cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice);
    return error == cudaSuccess ? cudaStreamSynchronize(NULL) : error;
}

cudaError_t upload(ebm_gpu_net *net, const packing *all)
{
    size_t bytes = all->numbers.size() * sizeof(float), layer_bytes = net->layers.size() * sizeof(gpu_layer);
    cudaError_t error = cudaSetDevice(device_index);
    if (error == cudaSuccess)
        error = cudaMalloc((void **)&net->block, bytes);
    if (error == cudaSuccess)
        error = cudaMalloc((void **)&net->d_layers, layer_bytes);
    if (error == cudaSuccess)
        error = put(net->block, all->numbers.data(), bytes);
    for (gpu_layer &layer : net->layers) {
        layer.weight = place(net->block, layer.weight);
        layer.weight_t = place(net->block, layer.weight_t);
        layer.weight_wide = place(net->block, layer.weight_wide);
        layer.bias = place(net->block, layer.bias);
    }
    return error == cudaSuccess ? put(net->d_layers, net->layers.data(), layer_bytes) : error;
}

} // namespace

enum ebm_status ebm_gpu_net_new(const struct ebm_net_desc *desc, const float *h_params, struct ebm_gpu_net **ret_net,
                                struct ebm_error *reterr)
{
    ebm_gpu_net *net = new (std::nothrow) ebm_gpu_net();
    if (net == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a network");
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
    if (error != cudaSuccess) {
        (void)ebm_gpu_net_free(net);
        return refuse(reterr, "weights cannot be put onto the device", error);
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
    (void)cudaSetDevice(device_index);
    (void)cudaFree(net->block);
    (void)cudaFree(net->d_layers);
    (void)cudaFree(net->exact);
    delete net;
    return NULL;
}

/* ---- a thread's memory ---- */

#define POWERS 11u /* of two, 1 .. LIMIT_BATCH_ROWS */

struct device_slot {
    struct ebm_gpu_tile *tiles;
    float *mixtures, *y, *log_q, *f;
    gpu_answers answers;
    struct ebm_gpu_slot host;
    cudaStream_t copies;
    cudaEvent_t uploaded, computed, done;
    cudaGraphExec_t graphs[POWERS];
};

/* The x side's buffers: on the device, and what goes in and out in pinned memory. */
struct x_buffers {
    float *x, *h, *own, *hx, *mean, *log_variance, *logits, *a, *b;
    float *host_x, *host_out;
    cudaGraphExec_t graphs[POWERS];
};

/* What one net has on one space. */
struct gpu_program {
    uint64_t net;
    uint32_t x_rows; /* most rows of the x side: a power of two */
    struct x_buffers x;
    struct device_slot slots[EBM_GPU_SLOTS];
    gpu_exact exact;
    gpu_memory memory;
};

bool gpu_fail(ebm_gpu_space *space, const char *what, const char *why)
{
    if (space->failed)
        return false;
    space->failed = true;
    (void)snprintf(space->failure, sizeof space->failure, "%s: %s", what, why);
    std::lock_guard<std::mutex> lock(failure_mutex);
    memcpy(latest_failure, space->failure, sizeof latest_failure);
    return false;
}

bool gpu_fine(ebm_gpu_space *space, cudaError_t error, const char *what)
{
    if (error == cudaErrorMemoryAllocation && !space->failed)
        space->lacks_memory = true;
    return error == cudaSuccess || gpu_fail(space, what, cudaGetErrorString(error));
}

bool gpu_fine(ebm_gpu_space *space, cublasStatus_t status, const char *what)
{
    return status == CUBLAS_STATUS_SUCCESS || gpu_fail(space, what, cublasLtGetStatusString(status));
}

cudaError_t gpu_set_device(void)
{
    return cudaSetDevice(device_index);
}

/* An error of an earlier call, of another space maybe, stays the thread's last one until somebody takes it: what checks
 * launches must not find it. */
bool gpu_enter(ebm_gpu_space *space)
{
    (void)cudaGetLastError();
    return gpu_fine(space, cudaSetDevice(device_index), "the device");
}

enum ebm_status gpu_end_making(ebm_gpu_space *space, struct ebm_error *reterr)
{
    (void)cudaGetLastError();
    bool goes_on = space->lacks_memory && cudaStreamSynchronize(space->compute) == cudaSuccess;
    space->lacks_memory = false;
    if (goes_on)
        space->failed = false;
    return ebm_error_set(reterr, goes_on ? EBM_NO_MEMORY : EBM_DEVICE, "cuda", "%s", space->failure);
}

/* ---- memory ---- */

bool gpu_device_floats(ebm_gpu_space *space, gpu_memory *memory, float **ret, size_t count)
{
    size_t bytes = (count + 4) * sizeof(float);
    void *p = NULL;
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

bool gpu_copy(ebm_gpu_space *space, cudaStream_t stream, void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    return bytes == 0 || gpu_fine(space, cudaMemcpyAsync(to, from, bytes, kind, stream), "a copy");
}

/* ---- products ---- */

namespace
{

struct product_handles {
    cublasLtMatmulDesc_t what;
    cublasLtMatrixLayout_t a, b, d, most_b, most_d;
    cublasLtMatmulPreference_t wish;
};

bool set(ebm_gpu_space *space, product_handles *h, cublasLtMatmulDescAttributes_t name, const void *value, size_t bytes)
{
    return gpu_fine(space, cublasLtMatmulDescSetAttribute(h->what, name, value, bytes), "a product");
}

bool lay_out(ebm_gpu_space *space, const gpu_product *p, cublasLtMatrixLayout_t *ret, uint32_t rows, uint32_t columns,
             uint32_t ld, size_t stride)
{
    const int32_t batches = (int32_t)p->batches;
    const int64_t apart = (int64_t)stride;
    return gpu_fine(space, cublasLtMatrixLayoutCreate(ret, CUDA_R_32F, rows, columns, ld), "a matrix") &&
           (batches <= 1 || (gpu_fine(space,
                                      cublasLtMatrixLayoutSetAttribute(*ret, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                                       &batches, sizeof batches),
                                      "a matrix") &&
                             gpu_fine(space,
                                      cublasLtMatrixLayoutSetAttribute(
                                          *ret, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &apart, sizeof apart),
                                      "a matrix")));
}

bool describe(ebm_gpu_space *space, const gpu_product *p, product_handles *h)
{
    static const cublasComputeType_t types[] = {CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32,
                                                CUBLAS_COMPUTE_32F_FAST_16BF};
    cublasComputeType_t type = types[p->is_exact ? EBM_GPU_FP32 : precision];
    cublasOperation_t a = p->a.is_turned ? CUBLAS_OP_T : CUBLAS_OP_N, b = p->b.is_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    uint32_t rows = p->a.is_turned ? p->a.columns : p->a.rows, columns = p->b.is_turned ? p->b.rows : p->b.columns;
    uint32_t most = p->most > 0 ? p->most : columns;
    return gpu_fine(space, cublasLtMatmulDescCreate(&h->what, type, CUDA_R_32F), "a product") &&
           lay_out(space, p, &h->a, p->a.rows, p->a.columns, p->a.ld, p->stride_a) &&
           lay_out(space, p, &h->b, p->b.rows, p->b.columns, p->b.ld, p->stride_b) &&
           lay_out(space, p, &h->d, rows, columns, p->ld_d, p->stride_d) &&
           lay_out(space, p, &h->most_b, p->b.rows, p->b.is_turned ? p->b.columns : most, p->b.ld, p->stride_b) &&
           lay_out(space, p, &h->most_d, rows, most, p->ld_d, p->stride_d) &&
           set(space, h, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a) &&
           set(space, h, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b) &&
           (p->bias == NULL || (set(space, h, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) &&
                                set(space, h, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias)));
}

uint32_t alignment_of(const void *p, uint32_t ld, size_t stride)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0 && ld % 4 == 0 && stride % 4 == 0 ? 16 : 4;
}

/* Bounds of the workspace and of alignments, and no split sums. */
bool state_wishes(ebm_gpu_space *space, const gpu_product *p, product_handles *h)
{
    uint64_t workspace = WORKSPACE;
    uint32_t unsplit = CUBLASLT_REDUCTION_SCHEME_NONE, a = alignment_of(p->a.p, p->a.ld, p->stride_a);
    uint32_t b = alignment_of(p->b.p, p->b.ld, p->stride_b), d = alignment_of(p->d, p->ld_d, p->stride_d);
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } wishes[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
                  {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &unsplit, sizeof unsplit},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof b},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &d, sizeof d},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &d, sizeof d}};
    bool ok = gpu_fine(space, cublasLtMatmulPreferenceCreate(&h->wish), "a product's wishes");
    for (const auto &wish : wishes)
        ok = ok && gpu_fine(space, cublasLtMatmulPreferenceSetAttribute(h->wish, wish.name, wish.value, wish.bytes),
                            "a product's wishes");
    return ok;
}

/* The algorithm of the most columns, where there is one that does fewer too; else that of so many. */
bool choose(ebm_gpu_space *space, const product_handles *h, cublasLtMatmulAlgo_t *ret)
{
    cublasLtMatmulHeuristicResult_t found = {};
    int n = 0;
    cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(space->lt, h->what, h->a, h->most_b, h->most_d, h->most_d,
                                                           h->wish, 1, &found, &n);
    *ret = found.algo;
    if (status == CUBLAS_STATUS_SUCCESS && n == 1 &&
        cublasLtMatmulAlgoCheck(space->lt, h->what, h->a, h->b, h->d, h->d, ret, &found) == CUBLAS_STATUS_SUCCESS &&
        found.workspaceSize <= WORKSPACE)
        return true;
    status = cublasLtMatmulAlgoGetHeuristic(space->lt, h->what, h->a, h->b, h->d, h->d, h->wish, 1, &found, &n);
    *ret = found.algo;
    return gpu_fine(space, status, "the choice of a product") &&
           (n == 1 || gpu_fail(space, "the choice of a product", "cuBLASLt has none"));
}

void drop(product_handles *h)
{
    if (h->what != NULL)
        (void)cublasLtMatmulDescDestroy(h->what);
    for (cublasLtMatrixLayout_t layout : {h->a, h->b, h->d, h->most_b, h->most_d})
        if (layout != NULL)
            (void)cublasLtMatrixLayoutDestroy(layout);
    if (h->wish != NULL)
        (void)cublasLtMatmulPreferenceDestroy(h->wish);
}

} // namespace

bool gpu_multiply(ebm_gpu_space *space, const gpu_product *p)
{
    const float one = 1.0f, before = p->adds ? 1.0f : 0.0f;
    product_handles h = {};
    cublasLtMatmulAlgo_t algorithm;
    bool ok = describe(space, p, &h) && state_wishes(space, p, &h) && choose(space, &h, &algorithm);
    ok = ok && gpu_fine(space,
                        cublasLtMatmul(space->lt, h.what, &one, p->a.p, h.a, p->b.p, h.b, &before, p->d, h.d, p->d, h.d,
                                       &algorithm, space->workspace, WORKSPACE, space->compute),
                        "a product");
    drop(&h);
    return ok;
}

namespace
{

/* ---- layers by products ---- */

void activate_rows(ebm_gpu_space *space, const gpu_layer *l, float *a, uint32_t ld, const float *in, uint32_t ld_in,
                   size_t rows)
{
    const float *added = l->residual ? in : NULL;
    if (l->activation != EBM_ACT_IDENTITY || added != NULL)
        LAUNCH(act_k, gpu_blocks(rows * l->out), dim3(GPU_THREADS), 0, space->compute, l->activation, a, ld, added,
               ld_in, l->out, rows);
}

/* Rows of numbers, `ld` apart. */
struct rows_of {
    float *p;
    uint32_t ld;
};

/* z (rows, l->out) = x W^T + bias. */
bool multiply_layer(ebm_gpu_space *space, const gpu_layer *l, const float *bias, rows_of x, rows_of z, uint32_t rows,
                    uint32_t most_rows, bool is_exact)
{
    gpu_product p = {};
    p.a = {l->weight, l->in, l->out, l->ld, true};
    p.b = {x.p, l->in, rows, x.ld, false};
    p.d = z.p;
    p.ld_d = z.ld;
    p.bias = bias;
    p.most = most_rows;
    p.is_exact = is_exact;
    return gpu_multiply(space, &p);
}

/* Layers one after the other, in `a` and `b` in turn; the last one's output goes to `to` unless it is NULL. Where it
 * lies. */
bool run_layers(ebm_gpu_space *space, const gpu_layer *layers, uint32_t n, rows_of in, uint32_t rows,
                uint32_t most_rows, bool is_exact, float *a, float *b, float *to, rows_of *ret)
{
    for (uint32_t i = 0; i < n; i++) {
        const gpu_layer *l = &layers[i];
        bool is_last = i + 1 == n && to != NULL;
        rows_of out = {is_last ? to : i % 2 == 0 ? a : b, is_last && is_exact ? l->out : gpu_round_up(l->out, 4)};
        if (!multiply_layer(space, l, l->bias, in, out, rows, most_rows, is_exact))
            return false;
        activate_rows(space, l, out.p, out.ld, in.p, in.ld, rows);
        in = out;
    }
    *ret = in;
    return true;
}

/* ---- the x side ---- */

bool enqueue_x(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, uint32_t rows)
{
    struct x_buffers *x = &own->x;
    rows_of reach = {x->x, net->X}, h = reach, reads, done;
    const uint32_t most = X_ROWS;
    float *const outs[] = {x->mean, x->log_variance, x->logits};
    bool ok = true;
    if (net->n_feature > 0)
        ok = run_layers(space, net->feature(), net->n_feature, reach, rows, most, true, x->a, x->b, x->h, &h);
    if (ok && net->n_energy > 0)
        ok = run_layers(space, net->of_h(), 1, h, rows, most, true, x->a, x->b, x->hx, &done);
    reads = h;
    if (ok && net->own_H > 0)
        ok = run_layers(space, net->own(), net->n_own, reach, rows, most, true, x->a, x->b, x->own, &reads);
    for (uint32_t i = 0; i < 3 && ok && net->K > 0; i++)
        ok = run_layers(space, net->head(i), net->n_head[i], reads, rows, most, true, x->a, x->b, outs[i], &done);
    return ok && gpu_fine(space, cudaGetLastError(), "the x side");
}

/* ---- the sample side ---- */

struct gpu_narrow narrow_of(const ebm_gpu_net *net)
{
    struct gpu_narrow narrow = {};
    narrow.layers = net->d_layers + (net->target() - net->layers.data());
    narrow.target = net->target_is_narrow ? net->n_target : 0;
    narrow.energy = net->energy_is_narrow ? net->n_energy : 0;
    narrow.D = net->D, narrow.H = net->H, narrow.energy_out = net->energy_out;
    narrow.G = net->target_is_narrow ? net->G : net->D;
    narrow.widest = net->narrow_widest;
    return narrow;
}

void enqueue_narrow(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, device_slot *slot, uint32_t tiles,
                    rows_of g)
{
    struct gpu_narrow narrow = narrow_of(net);
    size_t bytes = 2 * (size_t)narrow.widest * LANES_APART * sizeof(float);
    const float *h = net->n_feature > 0 ? own->x.h : own->x.x;
    LAUNCH(layers_k, dim3(tiles * (EBM_GPU_TILE / SAMPLES)), dim3(LAYERS_THREADS), bytes, space->compute, narrow,
           slot->tiles, slot->y, own->x.hx, h, g.p, g.ld, slot->f);
}

/* g in one of the two buffers -> f: layers of the energy net from the first one's product on. */
bool enqueue_energy(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, device_slot *slot, uint32_t tiles,
                    rows_of g)
{
    const gpu_layer *first = net->energy();
    const gpu_layer *d_energy = net->d_layers + (first - net->layers.data());
    uint32_t last = net->n_energy - 1, samples = tiles * EBM_GPU_TILE, most = net->max_tiles * EBM_GPU_TILE;
    const float *h = net->n_feature > 0 ? own->x.h : own->x.x;
    struct gpu_join join = {slot->tiles, own->x.hx, h, g.p, net->H, g.ld};
    float *other = g.p == space->a ? space->b : space->a;
    rows_of z = {other, gpu_round_up(first->out, 4)}, done = z;
    if (net->wide != EBM_GPU_FP32) {
        gpu_wide_score(space, net, slot->tiles, tiles, own->x.hx, g.p, g.ld, slot->f);
        return true;
    }
    if (!multiply_layer(space, first, NULL, g, z, samples, most, false))
        return false;
    bool is_fused = last == 1 && !first->residual && !first[1].residual;
    if (last == 0)
        done = {slot->f, 1};
    if (!is_fused)
        LAUNCH(add_k, gpu_blocks((size_t)samples * first->out), dim3(GPU_THREADS), 0, space->compute, join,
               first->activation, first->residual, z.p, z.ld, done.p, done.ld, first->out, (size_t)samples);
    if (last > 1 && !run_layers(space, first + 1, last - 1, done, samples, most, false, g.p, other, NULL, &done))
        return false;
    if (last > 0)
        LAUNCH(dot_k, dim3(samples / (DOT_THREADS / 32)), dim3(DOT_THREADS), 0, space->compute, d_energy, last,
               is_fused ? slot->tiles : NULL, own->x.hx, done.p, done.ld, slot->f);
    return true;
}

bool enqueue_samples(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, device_slot *slot, uint32_t tiles)
{
    if (net->K > 0)
        LAUNCH(draw_k, dim3(tiles), dim3(EBM_GPU_TILE), 0, space->compute, slot->tiles, slot->mixtures,
               ebm_gpu_mixture_floats(net->D, net->K + 1), net->D, slot->y, slot->log_q);
    rows_of g = {space->a, gpu_round_up(net->target_is_narrow ? net->G : net->D, 4)};
    if (net->n_energy > 0)
        enqueue_narrow(space, net, own, slot, tiles, g);
    if (net->n_energy == 0 || net->energy_is_narrow)
        return gpu_fine(space, cudaGetLastError(), "the sample side");
    uint32_t samples = tiles * EBM_GPU_TILE, most = net->max_tiles * EBM_GPU_TILE;
    bool ok = net->target_is_narrow ||
              run_layers(space, net->target(), net->n_target, g, samples, most, false, space->b, space->a, NULL, &g);
    return ok && enqueue_energy(space, net, own, slot, tiles, g) &&
           gpu_fine(space, cudaGetLastError(), "the sample side");
}

/* ---- graphs ---- */

/* Everything is run once before, so that nothing is loaded for the first time while it is recorded. */
bool record_all(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own)
{
    uint32_t tiles = ebm_gpu_tiles(space, net);
    bool ok = enqueue_x(space, net, own, 1) && enqueue_samples(space, net, own, &own->slots[0], 1) &&
              gpu_answers_warm(space, &own->slots[0].answers, net->D) &&
              gpu_fine(space, cudaStreamSynchronize(space->compute), "the first run");
    for (uint32_t i = 0; ok && 1u << i <= own->x_rows; i++)
        ok = gpu_record(space, &own->x.graphs[i], [&] { return enqueue_x(space, net, own, 1u << i); });
    for (device_slot &slot : own->slots)
        for (uint32_t i = 0; ok && 1u << i <= tiles; i++)
            ok = gpu_record(space, &slot.graphs[i], [&] { return enqueue_samples(space, net, own, &slot, 1u << i); });
    return ok;
}

/* ---- memory ---- */

size_t x_out_floats(const ebm_gpu_net *net)
{
    return net->H + net->energy_out + (2 * (size_t)net->D + 1) * net->K;
}

bool make_x(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own)
{
    size_t rows = own->x_rows, DK = (size_t)net->D * net->K, widest = gpu_round_up(net->x_widest, 4);
    struct x_buffers *x = &own->x;
    const struct {
        float **to;
        size_t count;
    } wants[] = {{&x->x, net->X},           {&x->h, net->H}, {&x->own, net->own_H},
                 {&x->hx, net->energy_out}, {&x->mean, DK},  {&x->log_variance, DK},
                 {&x->logits, net->K},      {&x->a, widest}, {&x->b, widest}};
    bool ok = true;
    for (const auto &want : wants)
        ok = ok && gpu_device_floats(space, &own->memory, want.to, rows * want.count);
    return ok && gpu_pinned_floats(space, &own->memory, &x->host_x, rows * net->X) &&
           gpu_pinned_floats(space, &own->memory, &x->host_out, rows * x_out_floats(net));
}

bool make_slot(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, device_slot *slot)
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
              gpu_fine(space, cudaStreamCreateWithFlags(&slot->copies, cudaStreamNonBlocking), "a stream") &&
              gpu_fine(space, cudaEventCreateWithFlags(&slot->uploaded, quiet), "an event") &&
              gpu_fine(space, cudaEventCreateWithFlags(&slot->computed, quiet), "an event") &&
              gpu_fine(space, cudaEventCreateWithFlags(&slot->done, quiet), "an event");
    slot->tiles = reinterpret_cast<struct ebm_gpu_tile *>(d_tiles);
    slot->host.tiles = reinterpret_cast<struct ebm_gpu_tile *>(h_tiles);
    return ok;
}

void free_slot(device_slot *slot)
{
    for (cudaGraphExec_t graph : slot->graphs)
        if (graph != NULL)
            (void)cudaGraphExecDestroy(graph);
    for (cudaEvent_t event : {slot->uploaded, slot->computed, slot->done})
        if (event != NULL)
            (void)cudaEventDestroy(event);
    if (slot->copies != NULL) {
        (void)cudaStreamSynchronize(slot->copies);
        (void)cudaStreamDestroy(slot->copies);
    }
}

void free_program(gpu_program *own)
{
    for (cudaGraphExec_t graph : own->x.graphs)
        if (graph != NULL)
            (void)cudaGraphExecDestroy(graph);
    for (device_slot &slot : own->slots)
        free_slot(&slot);
    gpu_memory_free(&own->memory);
    delete own;
}

bool make_program(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own)
{
    bool is_wide = net->n_energy > 0 && !net->energy_is_narrow, ok = true;
    own->net = net->number;
    own->x_rows = next_power(space->max_rows);
    for (float **buffer : {&space->a, &space->b})
        if (is_wide && *buffer == NULL)
            ok = ok && gpu_fine(space, cudaMalloc((void **)buffer, ACTIVATIONS), "memory of the device");
    ok = ok && make_x(space, net, own);
    for (device_slot &slot : own->slots)
        ok = ok && make_slot(space, net, own, &slot);
    ok = ok && gpu_exact_make(space, &own->memory, net, space->max_rows, &own->exact);
    return ok && record_all(space, net, own);
}

gpu_program *program_of(const ebm_gpu_space *space, const ebm_gpu_net *net)
{
    for (gpu_program *own : space->programs)
        if (own->net == net->number)
            return own;
    return NULL;
}

} // namespace

gpu_exact *gpu_exact_of(ebm_gpu_space *space, const ebm_gpu_net *net, const float **ret_hx)
{
    gpu_program *own = program_of(space, net);
    *ret_hx = own->x.hx;
    return &own->exact;
}

namespace
{

void drop_dead(ebm_gpu_space *space)
{
    for (size_t i = space->programs.size(); i-- > 0;)
        if (!is_live(space->programs[i]->net)) {
            free_program(space->programs[i]);
            space->programs.erase(space->programs.begin() + (ptrdiff_t)i);
        }
}

} // namespace

enum ebm_status ebm_gpu_space_new(uint32_t max_rows, size_t max_tiles, struct ebm_gpu_space **ret_space,
                                  struct ebm_error *reterr)
{
    ebm_gpu_space *space = new (std::nothrow) ebm_gpu_space();
    if (space == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a context");
    space->max_rows = max_rows;
    space->max_tiles = max_tiles;
    bool ok = gpu_enter(space) &&
              gpu_fine(space, cudaStreamCreateWithFlags(&space->compute, cudaStreamNonBlocking), "a stream") &&
              gpu_fine(space, cublasLtCreate(&space->lt), "cuBLASLt") &&
              gpu_fine(space, cudaMalloc(&space->workspace, WORKSPACE), "memory of the device");
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
    if (program_of(space, net) != NULL)
        return EBM_OK;
    gpu_program *own = new (std::nothrow) gpu_program();
    if (own == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a context");
    bool ok;
    try {
        space->programs.reserve(space->programs.size() + 1);
        ok = make_program(space, net, own);
    } catch (const std::bad_alloc &) {
        ok = gpu_fail(space, "a context", "no memory");
    }
    if (ok) {
        space->programs.push_back(own);
        return EBM_OK;
    }
    enum ebm_status status = gpu_end_making(space, reterr);
    free_program(own);
    return status;
}

struct ebm_gpu_space *ebm_gpu_space_free(struct ebm_gpu_space *space)
{
    if (space == NULL)
        return NULL;
    (void)cudaSetDevice(device_index);
    if (space->compute != NULL)
        (void)cudaStreamSynchronize(space->compute);
    for (gpu_program *own : space->programs)
        free_program(own);
    (void)cudaFree(space->a);
    (void)cudaFree(space->b);
    (void)cudaFree(space->workspace);
    if (space->lt != NULL)
        (void)cublasLtDestroy(space->lt);
    if (space->compute != NULL)
        (void)cudaStreamDestroy(space->compute);
    delete space;
    return NULL;
}

uint32_t ebm_gpu_tiles(const struct ebm_gpu_space *space, const struct ebm_gpu_net *net)
{
    return space->max_tiles < net->max_tiles ? next_power((uint32_t)space->max_tiles) : net->max_tiles;
}

void ebm_gpu_failure(char *ret_text, size_t bytes)
{
    std::lock_guard<std::mutex> lock(failure_mutex);
    (void)snprintf(ret_text, bytes, "%s", latest_failure);
}

/* ---- running ---- */

namespace
{

uint32_t power_of(uint32_t n)
{
    uint32_t i = 0;
    while (1u << i < n)
        i++;
    return i;
}

/* Rows of one array: out of the device into pinned memory, and from there, after a wait, to where they are wanted. */
struct way_out {
    const float *from;
    float *to;
    size_t n;
};

} // namespace

bool ebm_gpu_features(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, const float *h_x, uint32_t B,
                      const struct ebm_gpu_x_side *out)
{
    gpu_program *own = program_of(space, net);
    size_t DK = (size_t)net->D * net->K;
    if (space->failed || own == NULL || B > own->x_rows)
        return gpu_fail(space, "the x side", "the context is not prepared for it");
    struct x_buffers *x = &own->x;
    const way_out ways[] = {{net->n_feature > 0 ? x->h : x->x, out->h, net->H},
                            {x->hx, out->hx, net->energy_out},
                            {x->mean, out->mean, DK},
                            {x->log_variance, out->log_variance, DK},
                            {x->logits, out->logits, net->K}};
    memcpy(x->host_x, h_x, (size_t)B * net->X * sizeof(float));
    bool ok = gpu_enter(space) &&
              gpu_copy(space, space->compute, x->x, x->host_x, (size_t)B * net->X * sizeof(float),
                       cudaMemcpyHostToDevice) &&
              gpu_fine(space, cudaGraphLaunch(x->graphs[power_of(B)], space->compute), "the x side");
    float *pinned = x->host_out;
    for (const way_out &way : ways) {
        ok = ok && gpu_copy(space, space->compute, pinned, way.from, B * way.n * sizeof(float), cudaMemcpyDeviceToHost);
        pinned += B * way.n;
    }
    ok = ok && gpu_fine(space, cudaStreamSynchronize(space->compute), "the x side");
    pinned = x->host_out;
    for (const way_out &way : ways) {
        if (ok && way.n > 0)
            memcpy(way.to, pinned, B * way.n * sizeof(float));
        pinned += B * way.n;
    }
    return ok;
}

struct ebm_gpu_slot *ebm_gpu_slot(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t slot)
{
    gpu_program *own = program_of(space, net);
    return own != NULL ? &own->slots[slot].host : NULL;
}

/* Tiles that fill a power of two: given ones of row 0, which nobody reads. */
static void fill_up(struct ebm_gpu_slot *host, uint32_t n_tiles)
{
    for (uint32_t i = n_tiles; i < next_power(n_tiles); i++) {
        host->tiles[i] = {};
        host->tiles[i].is_given = 1;
    }
}

namespace
{

bool upload_slot(ebm_gpu_space *space, const ebm_gpu_net *net, device_slot *s, const struct ebm_gpu_load *load)
{
    const size_t samples = load->any_given ? (size_t)load->n_tiles * EBM_GPU_TILE * sizeof(float) : 0;
    const size_t mixtures = (size_t)load->n_mixtures * ebm_gpu_mixture_floats(net->D, net->K + 1) * sizeof(float);
    const cudaMemcpyKind in = cudaMemcpyHostToDevice;
    fill_up(&s->host, load->n_tiles);
    return gpu_copy(space, s->copies, s->tiles, s->host.tiles, next_power(load->n_tiles) * sizeof *s->tiles, in) &&
           gpu_copy(space, s->copies, s->mixtures, s->host.mixtures, mixtures, in) &&
           gpu_copy(space, s->copies, s->y, s->host.y, samples * net->D, in) &&
           gpu_copy(space, s->copies, s->log_q, s->host.log_q, samples, in) &&
           gpu_answers_upload(space, s->copies, &s->answers, &s->host, load) &&
           gpu_fine(space, cudaEventRecord(s->uploaded, s->copies), "an event") &&
           gpu_fine(space, cudaStreamWaitEvent(space->compute, s->uploaded, 0), "an event");
}

bool download_slot(ebm_gpu_space *space, const ebm_gpu_net *net, device_slot *s, const struct ebm_gpu_load *load)
{
    const size_t first = (size_t)load->first_wanted * EBM_GPU_TILE;
    const size_t bytes = (size_t)(load->end_wanted - load->first_wanted) * EBM_GPU_TILE * sizeof(float);
    const cudaMemcpyKind out = cudaMemcpyDeviceToHost;
    return gpu_fine(space, cudaStreamWaitEvent(s->copies, s->computed, 0), "an event") &&
           gpu_copy(space, s->copies, s->host.y + first * net->D, s->y + first * net->D, bytes * net->D, out) &&
           gpu_copy(space, s->copies, s->host.log_q + first, s->log_q + first, bytes, out) &&
           gpu_copy(space, s->copies, s->host.f + first, s->f + first, bytes, out) &&
           gpu_answers_download(space, s->copies, &s->answers, &s->host, load) &&
           gpu_fine(space, cudaEventRecord(s->done, s->copies), "an event");
}

} // namespace

bool ebm_gpu_submit(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t number,
                    const struct ebm_gpu_load *load)
{
    gpu_program *own = program_of(space, net);
    if (space->failed || own == NULL || load->n_tiles > ebm_gpu_tiles(space, net))
        return gpu_fail(space, "the sample side", "the context is not prepared for it");
    device_slot *s = &own->slots[number];
    return gpu_enter(space) && upload_slot(space, net, s, load) &&
           gpu_fine(space, cudaGraphLaunch(s->graphs[power_of(load->n_tiles)], space->compute), "the sample side") &&
           gpu_answers_enqueue(space, &s->answers, &s->host, load, net->D, s->y, s->log_q, s->f) &&
           gpu_fine(space, cudaEventRecord(s->computed, space->compute), "an event") &&
           download_slot(space, net, s, load);
}

bool ebm_gpu_wait(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t slot)
{
    gpu_program *own = program_of(space, net);
    return own != NULL && !space->failed &&
           gpu_fine(space, cudaEventSynchronize(own->slots[slot].done), "the sample side");
}
