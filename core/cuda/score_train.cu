/* score_train.cu - losses of grad_y f, as core/train_score.c has them, by derivatives carried along directions of y, as
 * core/tangents.c does; its formulas are those of the two kernels of layers here.
 *
 *   sm    a row's candidates are the true target, once for each coordinate: along it f's first and second derivative
 *   dsm   candidates are draws: f, its gradient in y, and with it r; then f's first derivative along 2 r
 *
 * Values run first, then each order of derivatives by products of its own; back go all orders together, a layer at a
 * time. What layers do not keep (relu, identity) is multiplied by derivatives that are 0. */
#include <math.h>

#include "core/cuda/block.h"
#include "core/cuda/training_internal.h"

#define ROW_THREADS 256u

/* ---- layers ---- */

/* act'(z), act''(z), act'''(z). */
struct curve {
    float d1, d2, d3;
};

DEVICE struct curve curve_of(int kind, float z)
{
    float s = 1.0f / (1.0f + expf(-z)), u = s * (1.0f - s), w = u * (1.0f - 2.0f * s), t;
    switch (kind) {
    case EBM_ACT_RELU:
        return {z > 0.0f ? 1.0f : 0.0f, 0.0f, 0.0f};
    case EBM_ACT_TANH:
        t = tanhf(z);
        return {1.0f - t * t, -2.0f * t * (1.0f - t * t), (1.0f - t * t) * (6.0f * t * t - 2.0f)};
    case EBM_ACT_SILU:
        return {s * (1.0f + z * (1.0f - s)), 2.0f * u + z * w,
                3.0f * w + z * u * ((1.0f - 2.0f * s) * (1.0f - 2.0f * s) - 2.0f * u)};
    case EBM_ACT_SOFTPLUS:
        return {s, u, w};
    default:
        return {1.0f, 0.0f, 0.0f};
    }
}

/* Of one layer, rows `ld` apart: z as it is kept, derivatives z and a, what it adds where it is residual (sample,
 * ld_in). */
struct carried_layer {
    int activation;
    uint32_t n, ld, ld_in;
    const float *z0;
    float *z[2], *a[2];
    const float *in[2]; /* NULL: it adds nothing */
};

/* a' and, of order 2, a'' from z' and z''. A thread a number. */
KERNEL void carry_k(struct carried_layer l, uint32_t order, size_t samples)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= samples * l.n)
        return;
    size_t sample = at / l.n, i = at % l.n, own = sample * l.ld + i;
    struct curve c = curve_of(l.activation, l.z0[own]);
    float z1 = l.z[0][own], a2 = order == 2 ? c.d1 * l.z[1][own] + c.d2 * z1 * z1 : 0.0f, a1 = c.d1 * z1;
    if (l.in[0] != NULL) {
        a1 += l.in[0][sample * l.ld_in + i];
        a2 += order == 2 ? l.in[1][sample * l.ld_in + i] : 0.0f;
    }
    l.a[0][own] = a1;
    if (order == 2)
        l.a[1][own] = a2;
}

struct three {
    float *p[3];
};

/* dz (sample, ld_dz) of all orders from da (sample, ld_da). A thread a number. */
KERNEL void carry_back_k(struct carried_layer l, uint32_t order, struct three da, uint32_t ld_da, struct three dz,
                         uint32_t ld_dz, size_t samples)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= samples * l.n)
        return;
    size_t sample = at / l.n, i = at % l.n, own = sample * l.ld + i, from = sample * ld_da + i;
    struct curve c = curve_of(l.activation, l.z0[own]);
    float da0 = da.p[0][from], da1 = da.p[1][from], z1 = l.z[0][own];
    float dz0 = c.d1 * da0 + c.d2 * z1 * da1, dz1 = c.d1 * da1;
    if (order == 2) {
        float da2 = da.p[2][from];
        dz0 += (c.d2 * l.z[1][own] + c.d3 * z1 * z1) * da2;
        dz1 += 2.0f * c.d2 * z1 * da2;
        dz.p[2][sample * ld_dz + i] = c.d1 * da2;
    }
    dz.p[0][sample * ld_dz + i] = dz0;
    dz.p[1][sample * ld_dz + i] = dz1;
}

/* ---- losses ---- */

/* Directions of sm: candidate d moves along coordinate d. A thread a number of (rows, n, D). */
KERNEL void axes_k(struct gpu_rows to, uint32_t D, uint32_t n, uint32_t rows)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < (size_t)rows * n * D)
        to.p[at / D * to.ld + at % D] = at / D % n == at % D ? 1.0f : 0.0f;
}

/* 1 for f of all candidates. */
KERNEL void ones_k(float *df, size_t samples)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < samples)
        df[at] = 1.0f;
}

/* The row's loss of sm, and the gradients in f, f' and f'' of its candidates. A thread a row. */
KERNEL void sm_k(struct gpu_pass p, const float *f1, const float *f2, struct three df)
{
    uint32_t row = blockIdx.x * blockDim.x + threadIdx.x;
    double value = 0.0;
    if (row >= p.rows)
        return;
    for (uint32_t m = 0; m < p.n; m++) {
        size_t at = (size_t)row * p.n + m;
        value += (double)f2[at] + 0.5 * (double)f1[at] * (double)f1[at];
        df.p[0][at] = 0.0f;
        df.p[1][at] = p.scale * f1[at];
        df.p[2][at] = p.scale;
    }
    p.value[row] = fabs(value) < INFINITY ? (float)value : NAN;
}

/* Directions 2 r of dsm from the gradient in y, and the row's loss; candidates behind the draws stand still. A block a
 * row; inv_std of the noise (D). */
KERNEL void __launch_bounds__(ROW_THREADS)
    residual_k(struct gpu_pass p, const float *inv_std, struct gpu_rows dy, struct gpu_rows to)
{
    SHARED(double, part, [2][MOST_WARPS]);
    struct block_space space = {part, 0};
    const size_t row = blockIdx.x, first = row * p.n;
    double sum = 0.0;
    for (uint32_t i = threadIdx.x; i < p.n * p.D; i += ROW_THREADS) {
        uint32_t m = i / p.D, d = i % p.D;
        float off = p.y.p[(first + m) * p.y.ld + d] - p.center[row * p.D + d];
        float r = m < p.M ? dy.p[(first + m) * dy.ld + d] + off * inv_std[d] * inv_std[d] : 0.0f;
        to.p[(first + m) * to.ld + d] = 2.0f * r;
        sum += (double)r * (double)r;
    }
    sum = block_sum(&space, sum) / (double)p.M;
    if (threadIdx.x == 0)
        p.value[row] = fabs(sum) < INFINITY ? (float)sum : NAN;
}

/* Gradients in f and f' of dsm. A thread a candidate. */
KERNEL void draws_k(struct gpu_pass p, struct three df)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (size_t)p.rows * p.n)
        return;
    df.p[0][at] = 0.0f;
    df.p[1][at] = at % p.n < p.M ? p.scale / (float)p.M : 0.0f;
}

namespace
{

/* A net with what is carried, and what it reads; of each order. */
struct carried_net {
    const kept_net *nets[3];
    gpu_rows in[3];
};

struct carried_layer layer_of(const carried_net *net, size_t i, uint32_t order)
{
    const kept_layer *l = &net->nets[0]->layers[i];
    struct carried_layer to = {};
    to.activation = l->layer->activation;
    to.n = l->layer->out;
    to.ld = l->z.ld;
    to.z0 = l->z.p;
    for (uint32_t k = 0; k < order; k++) {
        const kept_layer *own = &net->nets[k + 1]->layers[i];
        gpu_rows in = i > 0 ? net->nets[k + 1]->layers[i - 1].a : net->in[k + 1];
        to.z[k] = own->z.p;
        to.a[k] = own->a.p;
        to.ld_in = in.ld;
        to.in[k] = l->layer->residual ? in.p : NULL;
    }
    return to;
}

carried_net target_of(const ebm_gpu_training *t)
{
    return {{&t->target, &t->carried[0].target, &t->carried[1].target}, {t->y, t->carried[0].y, t->carried[1].y}};
}

gpu_rows output_of(const kept_net *net, gpu_rows in)
{
    return net->layers.empty() ? in : net->layers.back().a;
}

carried_net energy_of(const ebm_gpu_training *t)
{
    carried_net to = target_of(t);
    for (int k = 0; k < 3; k++)
        to.in[k] = output_of(to.nets[k], to.in[k]);
    to.nets[0] = &t->energy;
    to.nets[1] = &t->carried[0].energy;
    to.nets[2] = &t->carried[1].energy;
    return to;
}

/* Derivatives through a net whose values are there. */
bool run_net(ebm_gpu_training *t, const carried_net *net, uint32_t order, size_t n)
{
    for (size_t i = 0; i < net->nets[0]->layers.size(); i++) {
        for (uint32_t k = 1; k <= order; k++) {
            gpu_rows in = i > 0 ? net->nets[k]->layers[i - 1].a : net->in[k];
            if (!gpu_layer_multiply(t, &net->nets[k]->layers[i], in, n))
                return false;
        }
        struct carried_layer l = layer_of(net, i, order);
        LAUNCH(carry_k, gpu_blocks(n * l.n), dim3(GPU_THREADS), 0, t->space->compute, l, order, n);
    }
    return true;
}

/* Gradients of a net's weights from da of all orders of its last output, which is lost; da of the input takes its
 * place, if it is wanted. */
bool net_back(ebm_gpu_training *t, const carried_net *net, uint32_t order, const way_back *way, gpu_rows da[3])
{
    float *buffers[] = {t->da.p, t->carried[0].da, t->carried[1].da};
    struct three dz = {{t->dz.p, t->carried[0].dz, t->carried[1].dz}};
    for (size_t i = net->nets[0]->layers.size(); i-- > 0;) {
        const kept_layer *l = &net->nets[0]->layers[i];
        uint32_t ld = gpu_ld_of(l->layer->out);
        LAUNCH(carry_back_k, gpu_blocks(way->n * l->layer->out), dim3(GPU_THREADS), 0, t->space->compute,
               layer_of(net, i, order), order, (three{{da[0].p, da[1].p, da[2].p}}), da[0].ld, dz, ld, way->n);
        gpu_bias_back(t, l, way, i == 0, {dz.p[0], ld});
        for (uint32_t k = 0; k <= order; k++) {
            gpu_rows reads = i > 0 ? net->nets[k]->layers[i - 1].a : net->in[k];
            if (!gpu_weight_back(t, l, false, way, reads, {dz.p[k], ld}))
                return false;
            if (i == 0 && !way->wants_input)
                continue;
            if (!l->layer->residual)
                da[k] = {buffers[k], gpu_ld_of(l->in)};
            if (!gpu_input_back(t, l, false, way->n, {dz.p[k], ld}, da[k]))
                return false;
        }
    }
    return true;
}

/* f's derivatives along the directions in carried y. */
bool carry(ebm_gpu_training *t, uint32_t order, size_t n)
{
    const carried_net target = target_of(t), energy = energy_of(t);
    return run_net(t, &target, order, n) && run_net(t, &energy, order, n);
}

/* From the gradients in f and its derivatives, (n) each. */
bool carry_back(ebm_gpu_training *t, const gpu_pass *pass, uint32_t first, uint32_t order, const struct three *df)
{
    const carried_net target = target_of(t), energy = energy_of(t);
    gpu_rows row = {t->dhx.p + (size_t)first * t->dhx.ld, t->dhx.ld};
    gpu_rows da[3] = {{df->p[0], 1}, {df->p[1], 1}, {df->p[2], 1}};
    way_back way = {(size_t)pass->rows * pass->n, pass->rows, true, &row, gpu_idle_bias(t, pass->loss)};
    if (!net_back(t, &energy, order, &way, da))
        return false;
    way.row = NULL;
    way.no = NULL;
    way.wants_input = false;
    return net_back(t, &target, order, &way, da);
}

struct three start_of(const ebm_gpu_training *t)
{
    return {{t->da.p, t->carried[0].da, t->carried[1].da}};
}

bool sm(ebm_gpu_training *t, gpu_pass *pass, uint32_t first)
{
    const size_t n = (size_t)pass->rows * pass->n;
    const struct three df = start_of(t);
    gpu_rows g;
    LAUNCH(axes_k, gpu_blocks(n * pass->D), dim3(GPU_THREADS), 0, t->space->compute, t->carried[0].y, pass->D, pass->n,
           pass->rows);
    if (!gpu_sample_run(t, pass, first, &g) || !carry(t, 2, n))
        return false;
    LAUNCH(sm_k, gpu_blocks(pass->rows), dim3(GPU_THREADS), 0, t->space->compute, *pass,
           (const float *)t->carried[0].energy.layers.back().a.p, (const float *)t->carried[1].energy.layers.back().a.p,
           df);
    return carry_back(t, pass, first, 2, &df);
}

bool dsm(ebm_gpu_training *t, gpu_pass *pass, uint32_t first)
{
    const size_t n = (size_t)pass->rows * pass->n;
    const struct three df = start_of(t);
    gpu_rows dy;
    if (!gpu_slope(t, pass, first, &dy))
        return false;
    LAUNCH(residual_k, dim3(pass->rows), dim3(ROW_THREADS), 0, t->space->compute, *pass,
           (const float *)t->there.noise + pass->D, dy, t->carried[0].y);
    if (!carry(t, 1, n))
        return false;
    LAUNCH(draws_k, gpu_blocks(n), dim3(GPU_THREADS), 0, t->space->compute, *pass, df);
    return carry_back(t, pass, first, 1, &df);
}

} // namespace

bool gpu_slope(ebm_gpu_training *t, gpu_pass *pass, uint32_t first, gpu_rows *ret_dy)
{
    const size_t n = (size_t)pass->rows * pass->n;
    gpu_rows g, da = {t->df, 1};
    if (!gpu_sample_run(t, pass, first, &g))
        return false;
    LAUNCH(ones_k, gpu_blocks(n), dim3(GPU_THREADS), 0, t->space->compute, t->df, n);
    return gpu_net_slope(t, &t->energy, n, &da) && gpu_net_slope(t, &t->target, n, &da) && (*ret_dy = da, true);
}

bool gpu_score_run(ebm_gpu_training *t, gpu_pass *pass, uint32_t first)
{
    return pass->loss == EBM_LOSS_SM ? sm(t, pass, first) : dsm(t, pass, first);
}

static const gpu_kernels loaded = {GPU_KERNEL(carry_k), GPU_KERNEL(carry_back_k), GPU_KERNEL(axes_k),
                                   GPU_KERNEL(ones_k),  GPU_KERNEL(sm_k),         GPU_KERNEL(residual_k),
                                   GPU_KERNEL(draws_k)};
