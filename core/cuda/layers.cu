/* layers.cu - the layers of a net in training, there and back: a product of cublasLt and a kernel of a thread a number.
 *
 * Gradients of weights are a product for each part of the samples, and then sums over the parts in their order: so
 * there is work for a whole device, and a step has the same bytes whenever it is taken. */
#include "core/cuda/training_internal.h"

#define COLUMNS 32u     /* of a block of columns_k */
#define COLUMN_PARTS 8u /* of a column's samples, summed side by side */

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

/* z (sample, ld) += bias; a = act(z), plus in (sample, ld_in) unless it is NULL. a may be z: then z is lost. */
KERNEL void finish_k(int activation, float *z, float *a, uint32_t ld, struct gpu_bias bias, const float *in,
                     uint32_t ld_in, uint32_t n, uint32_t samples)
{
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, i = at % n;
    if (at >= samples * n)
        return;
    size_t sample = at / n;
    float value = z[sample * ld + i] + bias.p[(size_t)(at / n / bias.per) * bias.ld + i];
    if (a != z)
        z[sample * ld + i] = value;
    value = activate(activation, value);
    a[sample * ld + i] = in != NULL ? value + in[sample * ld_in + i] : value;
}

/* dz (sample, ld_dz) = da (sample, ld_da) act'(z), z (sample, ld). */
KERNEL void dact_k(int activation, const float *da, uint32_t ld_da, const float *z, uint32_t ld, float *dz,
                   uint32_t ld_dz, uint32_t n, uint32_t samples)
{
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, i = at % n;
    if (at >= samples * n)
        return;
    size_t sample = at / n;
    dz[sample * ld_dz + i] = da[sample * ld_da + i] * derivative(activation, z[sample * ld + i]);
}

/* to (sample, ld) += from (sample, ld_from). */
KERNEL void plus_k(float *to, uint32_t ld, const float *from, uint32_t ld_from, uint32_t n, uint32_t samples)
{
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, i = at % n;
    size_t sample = at / n;
    if (at < samples * n)
        to[sample * ld + i] += from[sample * ld_from + i];
}

/* sums (part, ld_sums) = or += over `samples` samples each of dz (sample, ld), n columns: 32 of them a block, in eight
 * parts each; blockIdx.y the part. */
KERNEL void __launch_bounds__(COLUMNS *COLUMN_PARTS)
    columns_k(const float *dz, uint32_t ld, float *sums, uint32_t ld_sums, uint32_t n, uint32_t samples, bool adds)
{
    SHARED(float, part, [COLUMN_PARTS][COLUMNS]);
    uint32_t column = blockIdx.x * COLUMNS + threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS;
    const float *from = dz + (size_t)blockIdx.y * samples * ld;
    float *to = sums + (size_t)blockIdx.y * ld_sums;
    float sum = 0.0f;
    for (uint32_t s = row; column < n && s < samples; s += COLUMN_PARTS)
        sum += from[(size_t)s * ld + column];
    part[row][threadIdx.x % COLUMNS] = sum;
    __syncthreads();
    if (row > 0 || column >= n)
        return;
    for (uint32_t i = 1; i < COLUMN_PARTS; i++)
        sum += part[i][threadIdx.x];
    to[column] = adds ? to[column] + sum : sum;
}

/* to (rows, columns), rows `ld` apart, += over parts of from (part, rows, columns), in order. */
KERNEL void parts_k(float *to, uint32_t ld, const float *from, uint32_t columns, uint32_t n, uint32_t parts)
{
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n)
        return;
    float sum = 0.0f;
    for (uint32_t part = 0; part < parts; part++)
        sum += from[(size_t)part * n + at];
    to[(size_t)(at / columns) * ld + at % columns] += sum;
}

/* ---- launches ---- */

void gpu_bias_add(ebm_gpu_training *t, gpu_rows z, gpu_bias bias, uint32_t n, size_t samples)
{
    LAUNCH(finish_k, gpu_blocks(samples * n), dim3(GPU_THREADS), 0, t->space->compute, EBM_ACT_IDENTITY, z.p, z.p, z.ld,
           bias, (const float *)NULL, 0u, n, samples);
}

void gpu_rows_add(ebm_gpu_training *t, gpu_rows to, gpu_rows from, uint32_t n, size_t rows)
{
    LAUNCH(plus_k, gpu_blocks(rows * n), dim3(GPU_THREADS), 0, t->space->compute, to.p, to.ld, from.p, from.ld, n,
           rows);
}

static gpu_matrix weights_of(const ebm_gpu_training *t, const kept_layer *l, bool is_turned)
{
    return {gpu_param(t, l->layer->weight + l->skip), l->in, l->layer->out, l->layer->in, is_turned};
}

bool gpu_layer_multiply(ebm_gpu_training *t, const kept_layer *l, gpu_rows in, size_t n)
{
    gpu_product p = {};
    p.a = weights_of(t, l, true);
    p.b = {in.p, l->in, (uint32_t)n, in.ld, false};
    p.d = l->z.p;
    p.ld_d = l->z.ld;
    return gpu_multiply(t->space, &p);
}

bool gpu_net_run(ebm_gpu_training *t, const kept_net *net, gpu_rows in, size_t n, gpu_bias row, gpu_rows *ret)
{
    for (size_t i = 0; i < net->layers.size(); i++) {
        const kept_layer *l = &net->layers[i];
        gpu_product p = {};
        gpu_bias bias = i == 0 && row.p != NULL ? row : gpu_bias{gpu_param(t, l->layer->bias), 0, 1};
        p.a = weights_of(t, l, true);
        p.b = {in.p, l->in, (uint32_t)n, in.ld, false};
        p.d = l->z.p;
        p.ld_d = l->z.ld;
        p.is_exact = net->is_exact;
        if (!gpu_multiply(t->space, &p))
            return false;
        LAUNCH(finish_k, gpu_blocks(n * l->layer->out), dim3(GPU_THREADS), 0, t->space->compute, l->layer->activation,
               l->z.p, l->a.p, l->a.ld, bias, l->layer->residual ? in.p : NULL, in.ld, l->layer->out, n);
        in = l->a;
    }
    *ret = in;
    return true;
}

static void sum_parts(ebm_gpu_training *t, float *to, uint32_t ld, uint32_t columns, size_t n, uint32_t parts)
{
    LAUNCH(parts_k, gpu_blocks(n), dim3(GPU_THREADS), 0, t->space->compute, to, ld, t->parts, columns, n, parts);
}

void gpu_bias_back(ebm_gpu_training *t, const kept_layer *l, const way_back *way, bool is_first, gpu_rows dz)
{
    uint32_t out = l->layer->out, samples = (uint32_t)(way->n / way->parts);
    dim3 grid((out + COLUMNS - 1) / COLUMNS, way->parts);
    bool by_row = is_first && way->row != NULL, is_direct = by_row || way->parts == 1;
    float *bias = gpu_gradient_at(t, l->layer->bias);
    if (l == way->no && !by_row)
        return;
    LAUNCH(columns_k, grid, dim3(COLUMNS * COLUMN_PARTS), 0, t->space->compute, dz.p, dz.ld,
           by_row      ? way->row->p
           : is_direct ? bias
                       : t->parts,
           by_row ? way->row->ld : out, out, samples, is_direct && !by_row);
    if (!is_direct)
        sum_parts(t, bias, out, out, out, way->parts);
}

bool gpu_weight_back(ebm_gpu_training *t, const kept_layer *l, bool is_exact, const way_back *way, gpu_rows in,
                     gpu_rows dz)
{
    uint32_t out = l->layer->out, samples = (uint32_t)(way->n / way->parts);
    float *weight = gpu_gradient_at(t, l->layer->weight + l->skip);
    gpu_product p = {};
    p.a = {in.p, l->in, samples, in.ld, false};
    p.b = {dz.p, out, samples, dz.ld, true};
    p.d = way->parts > 1 ? t->parts : weight;
    p.ld_d = way->parts > 1 ? l->in : l->layer->in;
    p.adds = way->parts == 1;
    p.is_exact = is_exact;
    p.batches = way->parts;
    if (way->parts > 1) { /* else they would only lower the alignment that is promised */
        p.stride_a = (size_t)samples * in.ld;
        p.stride_b = (size_t)samples * dz.ld;
        p.stride_d = (size_t)out * l->in;
    }
    if (!gpu_multiply(t->space, &p))
        return false;
    if (way->parts > 1)
        sum_parts(t, weight, l->layer->in, l->in, (size_t)out * l->in, way->parts);
    return true;
}

bool gpu_input_back(ebm_gpu_training *t, const kept_layer *l, bool is_exact, size_t n, gpu_rows dz, gpu_rows da)
{
    gpu_product p = {};
    p.a = weights_of(t, l, false);
    p.b = {dz.p, l->layer->out, (uint32_t)n, dz.ld, false};
    p.d = da.p;
    p.ld_d = da.ld;
    p.adds = l->layer->residual;
    p.is_exact = is_exact;
    return gpu_multiply(t->space, &p);
}

static void activation_back(ebm_gpu_training *t, const kept_layer *l, size_t n, gpu_rows da, gpu_rows dz)
{
    LAUNCH(dact_k, gpu_blocks(n * l->layer->out), dim3(GPU_THREADS), 0, t->space->compute, l->layer->activation, da.p,
           da.ld, l->z.p, l->z.ld, dz.p, dz.ld, l->layer->out, n);
}

bool gpu_net_back(ebm_gpu_training *t, const kept_net *net, gpu_rows in, gpu_rows da, const way_back *way,
                  gpu_rows *ret)
{
    for (size_t i = net->layers.size(); i-- > 0;) {
        const kept_layer *l = &net->layers[i];
        gpu_rows reads = i > 0 ? net->layers[i - 1].a : in, dz = {t->dz.p, gpu_ld_of(l->layer->out)};
        activation_back(t, l, way->n, da, dz);
        gpu_bias_back(t, l, way, i == 0, dz);
        if (!gpu_weight_back(t, l, net->is_exact, way, reads, dz))
            return false;
        if (i == 0 && !way->wants_input)
            return true;
        if (!l->layer->residual)
            da = {t->da.p, gpu_ld_of(l->in)};
        if (!gpu_input_back(t, l, net->is_exact, way->n, dz, da))
            return false;
    }
    *ret = da;
    return true;
}

bool gpu_net_slope(ebm_gpu_training *t, const kept_net *net, size_t n, gpu_rows *da)
{
    for (size_t i = net->layers.size(); i-- > 0;) {
        const kept_layer *l = &net->layers[i];
        gpu_rows dz = {t->dz.p, gpu_ld_of(l->layer->out)};
        activation_back(t, l, n, *da, dz);
        if (!l->layer->residual)
            *da = {t->da.p, gpu_ld_of(l->in)};
        if (!gpu_input_back(t, l, net->is_exact, n, dz, *da))
            return false;
    }
    return true;
}
static const gpu_kernels loaded = {GPU_KERNEL(finish_k), GPU_KERNEL(dact_k), GPU_KERNEL(plus_k), GPU_KERNEL(columns_k),
                                   GPU_KERNEL(parts_k)};
