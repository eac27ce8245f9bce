/* training.cu - the sample side of one row in training: f at its candidates, and the gradient of a weighted sum of f.
 *
 *   y, hx of the row -> target net -> energy net -> f        every layer's z and output stay
 *   df -> energy net and target net backward -> gradients of their tensors, and dhx
 *
 * Layers are products of cublasLt, wide or narrow; between them stand kernels of a thread a number. Sums over samples
 * are in a fixed order, so that a step has the same bytes whenever it is taken. One graph each way for each number of
 * candidates, recorded when that number comes for the first time. */
#include <stdint.h>
#include <string.h>

#include <new>

#include "core/cuda/engine_internal.h"

#define COLUMNS 32u     /* of a block of columns_k */
#define COLUMN_PARTS 8u /* of a column's samples, summed side by side */
#define SHAPES 4u       /* numbers of candidates whose graphs are kept */

/* ---- kernels ---- */

/* act'(z), as core/kernels_ref.c has it. */
DEVICE float derivative(int kind, float z)
{
    float s, t;
    switch (kind) {
    case EBM_ACT_RELU:
        return z > 0.0f ? 1.0f : 0.0f;
    case EBM_ACT_TANH:
        t = tanhf(z);
        return 1.0f - t * t;
    case EBM_ACT_SILU:
        s = 1.0f / (1.0f + expf(-z));
        return s * (1.0f + z * (1.0f - s));
    case EBM_ACT_SOFTPLUS:
        return 1.0f / (1.0f + expf(-z));
    default:
        return 1.0f;
    }
}

/* a (sample, ld) = act(z), plus in (sample, ld_in) unless it is NULL. */
KERNEL void keep_act_k(int activation, const float *z, float *a, uint32_t ld, const float *in, uint32_t ld_in,
                       uint32_t n, size_t samples)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= samples * n)
        return;
    size_t sample = at / n, i = at % n;
    float value = activate(activation, z[sample * ld + i]);
    a[sample * ld + i] = in != NULL ? value + in[sample * ld_in + i] : value;
}

/* dz (sample, ld_dz) = da (sample, ld_da) act'(z), z (sample, ld). */
KERNEL void dact_k(int activation, const float *da, uint32_t ld_da, const float *z, uint32_t ld, float *dz,
                   uint32_t ld_dz, uint32_t n, size_t samples)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= samples * n)
        return;
    size_t sample = at / n, i = at % n;
    dz[sample * ld_dz + i] = da[sample * ld_da + i] * derivative(activation, z[sample * ld + i]);
}

/* sums (n) = over samples of dz (sample, ld): 32 columns a block, in eight parts each. */
KERNEL void __launch_bounds__(COLUMNS *COLUMN_PARTS)
    columns_k(const float *dz, uint32_t ld, float *sums, uint32_t n, uint32_t samples)
{
    SHARED(float, part, [COLUMN_PARTS][COLUMNS]);
    uint32_t column = blockIdx.x * COLUMNS + threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS;
    float sum = 0.0f;
    for (uint32_t s = row; column < n && s < samples; s += COLUMN_PARTS)
        sum += dz[(size_t)s * ld + column];
    part[row][threadIdx.x % COLUMNS] = sum;
    __syncthreads();
    if (row > 0 || column >= n)
        return;
    for (uint32_t i = 1; i < COLUMN_PARTS; i++)
        sum += part[i][threadIdx.x];
    sums[column] = sum;
}

/* ---- memory ---- */

/* A layer's activations and gradients on the device. */
struct kept_layer {
    float *z, *a;   /* (samples, ld); a is z where the layer is the identity */
    float *dw, *db; /* (out, layer's ld), (out), in the block of gradients */
    uint32_t ld;
};

/* Graphs for one number of candidates. */
struct shape_graphs {
    uint32_t n;
    cudaGraphExec_t forward, backward;
};

struct ebm_gpu_training {
    ebm_gpu_space *space;
    const ebm_gpu_net *net;
    gpu_memory memory;
    uint32_t max_samples, ld_y, n; /* n: of the last forward */
    std::vector<kept_layer> layers;
    float *y, *hx, *da, *dz, *f, *gradient;
    size_t n_gradient; /* floats of the block: of each layer dw, db */
    float *host_y, *host_hx, *host_f, *host_gradient;
    struct shape_graphs graphs[SHAPES];
};

namespace
{

const gpu_layer *layer_of(const ebm_gpu_training *t, uint32_t i)
{
    return t->net->target() + i;
}

uint32_t layers_of(const ebm_gpu_net *net)
{
    return net->n_target + net->n_energy;
}

/* One output lies without gaps: it is f. */
uint32_t ld_of(const gpu_layer *l)
{
    return l->out == 1 ? 1 : gpu_round_up(l->out, 4);
}

bool make_layers(ebm_gpu_training *t)
{
    bool ok = true;
    t->layers.resize(layers_of(t->net));
    for (uint32_t i = 0; ok && i < t->layers.size(); i++) {
        const gpu_layer *l = layer_of(t, i);
        kept_layer *kept = &t->layers[i];
        kept->ld = ld_of(l);
        ok = gpu_device_floats(t->space, &t->memory, &kept->z, (size_t)t->max_samples * kept->ld);
        kept->a = kept->z;
        if (ok && (l->activation != EBM_ACT_IDENTITY || l->residual))
            ok = gpu_device_floats(t->space, &t->memory, &kept->a, (size_t)t->max_samples * kept->ld);
    }
    return ok;
}

/* Where each layer's gradient lies in the block, whose tensors begin at multiples of 16 bytes. */
bool make_gradient(ebm_gpu_training *t)
{
    size_t n = 0;
    for (uint32_t i = 0; i < t->layers.size(); i++)
        n += (size_t)layer_of(t, i)->out * layer_of(t, i)->ld + gpu_round_up(layer_of(t, i)->out, 4);
    t->n_gradient = n;
    if (!gpu_device_floats(t->space, &t->memory, &t->gradient, n) ||
        !gpu_pinned_floats(t->space, &t->memory, &t->host_gradient, n))
        return false;
    float *at = t->gradient;
    for (uint32_t i = 0; i < t->layers.size(); i++) {
        const gpu_layer *l = layer_of(t, i);
        t->layers[i].dw = at;
        t->layers[i].db = at + (size_t)l->out * l->ld;
        at = t->layers[i].db + gpu_round_up(l->out, 4);
    }
    return true;
}

bool make(ebm_gpu_training *t)
{
    uint32_t widest = t->net->D;
    for (uint32_t i = 0; i < layers_of(t->net); i++)
        widest = layer_of(t, i)->out > widest ? layer_of(t, i)->out : widest;
    size_t wide = (size_t)t->max_samples * gpu_round_up(widest, 4), rows = (size_t)t->max_samples * t->ld_y;
    return make_layers(t) && make_gradient(t) && gpu_device_floats(t->space, &t->memory, &t->y, rows) &&
           gpu_device_floats(t->space, &t->memory, &t->hx, t->net->energy_out) &&
           gpu_device_floats(t->space, &t->memory, &t->da, wide) &&
           gpu_device_floats(t->space, &t->memory, &t->dz, wide) &&
           gpu_pinned_floats(t->space, &t->memory, &t->host_y, rows) &&
           gpu_pinned_floats(t->space, &t->memory, &t->host_hx, t->net->energy_out) &&
           gpu_pinned_floats(t->space, &t->memory, &t->host_f, t->max_samples);
}

/* ---- both ways ---- */

/* What layer i reads. */
gpu_matrix input_of(const ebm_gpu_training *t, uint32_t i, uint32_t n)
{
    if (i == 0)
        return {t->y, t->net->D, n, t->ld_y, false};
    return {t->layers[i - 1].a, layer_of(t, i)->in, n, t->layers[i - 1].ld, false};
}

bool enqueue_forward(ebm_gpu_training *t, uint32_t n)
{
    cudaStream_t stream = t->space->compute;
    for (uint32_t i = 0; i < t->layers.size(); i++) {
        const gpu_layer *l = layer_of(t, i);
        const kept_layer *kept = &t->layers[i];
        gpu_product p = {};
        p.a = {l->weight, l->in, l->out, l->ld, true};
        p.b = input_of(t, i, n);
        p.d = kept->z;
        p.ld_d = kept->ld;
        p.bias = i == t->net->n_target ? t->hx : l->bias;
        if (!gpu_multiply(t->space, &p))
            return false;
        if (kept->a != kept->z)
            LAUNCH(keep_act_k, gpu_blocks((size_t)n * l->out), dim3(GPU_THREADS), 0, stream, l->activation, kept->z,
                   kept->a, kept->ld, l->residual ? p.b.p : NULL, p.b.ld, l->out, (size_t)n);
    }
    return gpu_fine(t->space, cudaGetLastError(), "training forward");
}

/* dw, db from dz; from layer 1 on also da of what it read: W^T dz, and da itself where it is residual. */
bool enqueue_layer_backward(ebm_gpu_training *t, uint32_t i, uint32_t n)
{
    const gpu_layer *l = layer_of(t, i);
    const kept_layer *kept = &t->layers[i];
    uint32_t ld_in = gpu_round_up(l->in, 4), ld = gpu_round_up(l->out, 4);
    gpu_product weights = {}, inputs = {};
    weights.a = input_of(t, i, n);
    weights.b = {t->dz, l->out, n, ld, true};
    weights.d = kept->dw;
    weights.ld_d = l->ld;
    LAUNCH(columns_k, dim3((l->out + COLUMNS - 1) / COLUMNS), dim3(COLUMNS * COLUMN_PARTS), 0, t->space->compute, t->dz,
           ld, kept->db, l->out, n);
    if (!gpu_multiply(t->space, &weights))
        return false;
    if (i == 0)
        return true;
    inputs.a = {l->weight, l->in, l->out, l->ld, false};
    inputs.b = {t->dz, l->out, n, ld, false};
    inputs.d = t->da;
    inputs.ld_d = ld_in;
    inputs.adds = l->residual;
    return gpu_multiply(t->space, &inputs);
}

bool enqueue_backward(ebm_gpu_training *t, uint32_t n)
{
    uint32_t ld_da = 1; /* df comes without gaps */
    for (uint32_t i = (uint32_t)t->layers.size(); i-- > 0;) {
        const gpu_layer *l = layer_of(t, i);
        LAUNCH(dact_k, gpu_blocks((size_t)n * l->out), dim3(GPU_THREADS), 0, t->space->compute, l->activation, t->da,
               ld_da, t->layers[i].z, t->layers[i].ld, t->dz, gpu_round_up(l->out, 4), l->out, (size_t)n);
        if (!enqueue_layer_backward(t, i, n))
            return false;
        ld_da = gpu_round_up(l->in, 4);
    }
    return gpu_fine(t->space, cudaGetLastError(), "training backward");
}

/* The graphs of n candidates; NULL where too many numbers came, or one failed. */
struct shape_graphs *graphs_of(ebm_gpu_training *t, uint32_t n)
{
    for (struct shape_graphs &graphs : t->graphs) {
        if (graphs.n == n)
            return &graphs;
        if (graphs.n != 0)
            continue;
        bool ok = enqueue_forward(t, n) && enqueue_backward(t, n) &&
                  gpu_fine(t->space, cudaStreamSynchronize(t->space->compute), "the first step") &&
                  gpu_record(t->space, &graphs.forward, [&] { return enqueue_forward(t, n); }) &&
                  gpu_record(t->space, &graphs.backward, [&] { return enqueue_backward(t, n); });
        graphs.n = ok ? n : 0;
        return ok ? &graphs : NULL;
    }
    return NULL;
}

} // namespace

enum ebm_status ebm_gpu_training_new(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t max_samples,
                                     struct ebm_gpu_training **ret_training, struct ebm_error *reterr)
{
    ebm_gpu_training *t = new (std::nothrow) ebm_gpu_training();
    if (t == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory to train");
    t->space = space;
    t->net = net;
    t->max_samples = max_samples;
    t->ld_y = gpu_round_up(net->D, 4);
    bool ok;
    try {
        ok = gpu_enter(space) && make(t);
    } catch (const std::bad_alloc &) {
        ok = gpu_fail(space, "training", "no memory");
    }
    if (!ok) {
        (void)ebm_gpu_training_free(t);
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s", space->failure);
    }
    *ret_training = t;
    return EBM_OK;
}

struct ebm_gpu_training *ebm_gpu_training_free(struct ebm_gpu_training *t)
{
    if (t == NULL)
        return NULL;
    (void)gpu_enter(t->space);
    (void)cudaStreamSynchronize(t->space->compute);
    for (struct shape_graphs &graphs : t->graphs) {
        if (graphs.forward != NULL)
            (void)cudaGraphExecDestroy(graphs.forward);
        if (graphs.backward != NULL)
            (void)cudaGraphExecDestroy(graphs.backward);
    }
    gpu_memory_free(&t->memory);
    delete t;
    return NULL;
}

bool ebm_gpu_training_forward(struct ebm_gpu_training *t, const float *h_y, size_t stride, const float *h_hx,
                              uint32_t n, float *h_f)
{
    ebm_gpu_space *space = t->space;
    uint32_t D = t->net->D;
    if (space->failed || n > t->max_samples || !gpu_enter(space))
        return gpu_fail(space, "training", "more candidates than it was made for");
    struct shape_graphs *graphs = graphs_of(t, n);
    for (uint32_t m = 0; m < n; m++)
        for (uint32_t d = 0; d < D; d++)
            t->host_y[(size_t)m * t->ld_y + d] = h_y[d * stride + m];
    memcpy(t->host_hx, h_hx, t->net->energy_out * sizeof *h_hx);
    t->n = n;
    bool ok = !space->failed &&
              gpu_copy(space, space->compute, t->y, t->host_y, (size_t)n * t->ld_y * sizeof(float),
                       cudaMemcpyHostToDevice) &&
              gpu_copy(space, space->compute, t->hx, t->host_hx, t->net->energy_out * sizeof(float),
                       cudaMemcpyHostToDevice);
    if (ok)
        ok = graphs != NULL ? gpu_fine(space, cudaGraphLaunch(graphs->forward, space->compute), "training forward")
                            : enqueue_forward(t, n);
    ok = ok &&
         gpu_copy(space, space->compute, t->host_f, t->layers.back().a, n * sizeof(float), cudaMemcpyDeviceToHost) &&
         gpu_fine(space, cudaStreamSynchronize(space->compute), "training forward");
    if (ok)
        memcpy(h_f, t->host_f, n * sizeof *h_f);
    return ok;
}

/* A layer's block of gradients into params' layout, whose rows are `stride` apart. */
static void add_layer(float *dw, size_t stride, float *db, const gpu_layer *l, const float *from)
{
    for (uint32_t o = 0; o < l->out; o++)
        for (uint32_t i = 0; i < l->in; i++)
            dw[o * stride + i] += from[(size_t)o * l->ld + i];
    from += (size_t)l->out * l->ld;
    for (uint32_t o = 0; o < l->out; o++)
        db[o] += from[o];
}

bool ebm_gpu_training_backward(struct ebm_gpu_training *t, const struct ebm_net_desc *desc, const float *h_df,
                               float *h_dhx, float *grads)
{
    ebm_gpu_space *space = t->space;
    if (space->failed || !gpu_enter(space))
        return false;
    struct shape_graphs *graphs = graphs_of(t, t->n);
    memcpy(t->host_f, h_df, t->n * sizeof *h_df);
    bool ok = !space->failed &&
              gpu_copy(space, space->compute, t->da, t->host_f, t->n * sizeof(float), cudaMemcpyHostToDevice);
    if (ok)
        ok = graphs != NULL ? gpu_fine(space, cudaGraphLaunch(graphs->backward, space->compute), "training backward")
                            : enqueue_backward(t, t->n);
    ok = ok &&
         gpu_copy(space, space->compute, t->host_gradient, t->gradient, t->n_gradient * sizeof(float),
                  cudaMemcpyDeviceToHost) &&
         gpu_fine(space, cudaStreamSynchronize(space->compute), "training backward");
    for (uint32_t i = 0; ok && i < t->layers.size(); i++) {
        bool is_first = i == t->net->n_target; /* of the energy net: its bias is the x side's */
        const struct ebm_layer *to = i < t->net->n_target ? &desc->target.layers[i]
                                                          : &desc->energy.layers[i - t->net->n_target];
        add_layer(grads + to->weight + (is_first ? desc->H : 0), to->in, is_first ? h_dhx : grads + to->bias,
                  layer_of(t, i), t->host_gradient + (t->layers[i].dw - t->gradient));
    }
    return ok;
}
