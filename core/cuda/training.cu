/* training.cu - a chunk of rows in training, there and back, as one graph.
 *
 *   x side, all rows   x -> features -> h; W_h h + bias of the first energy layer; the proposal's nets
 *   for pieces of the rows, which are as many as fit into EBM_GPU_PIECE bytes
 *     losses.cu        noise, candidates
 *     sample side      all candidates of the piece -> target net -> energy net -> f
 *     losses.cu        losses, df, gradient of the mixtures
 *     backward         energy net, target net; sums over a row's candidates are what the x side gets
 *   x side backward    the proposal's nets, the first energy layer's x part, the feature net
 *
 * A layer is a product of cublasLt and a kernel of a thread a number. Gradients of weights are a product for each row
 * of a piece, by its candidates, and then sums over the rows in their order: so there is work for a whole device, and a
 * step has the same bytes whenever it is taken. A chunk's shape is run as it comes the first time, recorded the second
 * time. */
#include <stdint.h>
#include <string.h>

#include <new>

#include "core/cuda/training_internal.h"

#ifndef EBM_GPU_PIECE              /* tests have smaller ones */
#define EBM_GPU_PIECE (256u << 20) /* bytes of a piece's activations and weights' gradients */
#endif
#define COLUMNS 32u     /* of a block of columns_k */
#define COLUMN_PARTS 8u /* of a column's samples, summed side by side */
#define SHAPES 32u      /* of chunks whose graphs are kept */

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

/* What a layer adds to its product: the same numbers to every sample, or a row's to `per` samples. */
struct gpu_bias {
    const float *p;
    uint32_t ld, per; /* ld 0: the same */
};

/* z (sample, ld) += bias; a = act(z), plus in (sample, ld_in) unless it is NULL. a may be z: then z is lost. */
KERNEL void finish_k(int activation, float *z, float *a, uint32_t ld, struct gpu_bias bias, const float *in,
                     uint32_t ld_in, uint32_t n, size_t samples)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= samples * n)
        return;
    size_t sample = at / n, i = at % n;
    float value = z[sample * ld + i] + bias.p[sample / bias.per * bias.ld + i];
    if (a != z)
        z[sample * ld + i] = value;
    value = activate(activation, value);
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

/* to (sample, ld) += from (sample, ld_from). */
KERNEL void plus_k(float *to, uint32_t ld, const float *from, uint32_t ld_from, uint32_t n, size_t samples)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < samples * n)
        to[at / n * ld + at % n] += from[at / n * ld_from + at % n];
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
KERNEL void parts_k(float *to, uint32_t ld, const float *from, uint32_t columns, size_t n, uint32_t parts)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n)
        return;
    float sum = 0.0f;
    for (uint32_t part = 0; part < parts; part++)
        sum += from[part * n + at];
    to[at / columns * ld + at % columns] += sum;
}

/* ---- memory ---- */

/* A layer's outputs; z is a where the derivative is seen from the output. */
struct kept_layer {
    const ebm_layer *layer;
    uint32_t in, skip; /* inputs that it reads here, behind so many that the x side did */
    struct gpu_rows z, a;
};

struct kept_net {
    std::vector<kept_layer> layers;
    bool is_exact; /* float, whatever the precision */
};

/* A shape of chunks; exec NULL: it came once. */
struct shape_graph {
    ebm_gpu_chunk chunk;
    cudaGraphExec_t exec;
};

struct ebm_gpu_training {
    ebm_gpu_space *space;
    ebm_gpu_trained *trained;
    const ebm_net_desc *net;
    gpu_memory memory;
    uint32_t max_rows, max_candidates, piece; /* piece: rows of one, of the most candidates */
    kept_net feature, own, heads[3], target, energy;
    struct ebm_gpu_rows host, there; /* pinned; the same on the device */
    struct gpu_rows x, hx, y, da, dz, dhx, dh, down, dheads[3], heads_out[3];
    struct gpu_rows h, reads; /* of the chunk that is enqueued: the features, and what the proposal's nets read */
    float *mixtures, *gradient, *parts;
    float *log_q, *log_label, *df, *dlog_q;
    std::vector<shape_graph> graphs;
};

namespace
{

/* One number lies without gaps: f does. */
uint32_t ld_of(uint32_t width)
{
    return width == 1 ? 1 : gpu_round_up(width, 4);
}

bool keeps_z(const ebm_layer *l)
{
    return l->activation != EBM_ACT_IDENTITY && (l->activation != EBM_ACT_RELU || l->residual);
}

/* A buffer of `rows` rows of `width` numbers. */
bool make_rows(ebm_gpu_training *t, gpu_rows *ret, uint32_t width, size_t rows)
{
    ret->ld = ld_of(width);
    return gpu_device_floats(t->space, &t->memory, &ret->p, rows * ret->ld);
}

bool make_net(ebm_gpu_training *t, kept_net *to, const ebm_net *net, uint32_t skip, size_t rows)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < net->n_layers; i++) {
        const ebm_layer *l = &net->layers[i];
        kept_layer kept = {l, i == 0 ? l->in - skip : l->in, i == 0 ? skip : 0, {}, {}};
        ok = make_rows(t, &kept.a, l->out, rows);
        kept.z = kept.a;
        if (ok && keeps_z(l))
            ok = make_rows(t, &kept.z, l->out, rows);
        to->layers.push_back(kept);
    }
    return ok;
}

uint32_t widest_of(const ebm_net *net, uint32_t at_least)
{
    for (uint32_t i = 0; i < net->n_layers; i++)
        at_least = net->layers[i].out > at_least ? net->layers[i].out : at_least;
    return at_least;
}

/* Numbers of the largest weights on the sample side. */
size_t heaviest_of(const ebm_net *net, size_t at_least)
{
    for (uint32_t i = 0; i < net->n_layers; i++) {
        size_t count = (size_t)net->layers[i].out * (net->layers[i].in + 1);
        at_least = count > at_least ? count : at_least;
    }
    return at_least;
}

/* Bytes of a candidate's activations. */
size_t bytes_of(const ebm_net *net)
{
    size_t n = 0;
    for (uint32_t i = 0; i < net->n_layers; i++)
        n += ld_of(net->layers[i].out) * (keeps_z(&net->layers[i]) ? 2u : 1u);
    return n * sizeof(float);
}

uint32_t piece_of(const ebm_gpu_training *t, uint32_t widest, size_t heaviest)
{
    size_t candidate = bytes_of(&t->net->target) + bytes_of(&t->net->energy) + 2 * ld_of(widest) * sizeof(float);
    size_t rows = EBM_GPU_PIECE / (candidate * t->max_candidates + heaviest * sizeof(float));
    return rows < 1 ? 1 : rows > t->max_rows ? t->max_rows : (uint32_t)rows;
}

bool make_sample_side(ebm_gpu_training *t)
{
    const ebm_net_desc *net = t->net;
    uint32_t widest = widest_of(&net->energy, widest_of(&net->target, net->D)), x_widest = net->H;
    size_t heaviest = heaviest_of(&net->energy, heaviest_of(&net->target, 1));
    const ebm_net *nets[] = {&net->feature, &net->own, &net->mean, &net->log_variance, &net->weight};
    for (const ebm_net *one : nets)
        x_widest = widest_of(one, x_widest);
    x_widest = ebm_net_reach(net) > x_widest ? ebm_net_reach(net) : x_widest;
    t->piece = piece_of(t, widest, heaviest);
    size_t candidates = (size_t)t->piece * t->max_candidates, wide = candidates * ld_of(widest);
    wide = (size_t)t->max_rows * ld_of(x_widest) > wide ? (size_t)t->max_rows * ld_of(x_widest) : wide;
    bool ok = make_net(t, &t->target, &net->target, 0, candidates) &&
              make_net(t, &t->energy, &net->energy, net->has_energy ? net->H : 0, candidates) &&
              make_rows(t, &t->y, net->D, candidates) && gpu_device_floats(t->space, &t->memory, &t->da.p, wide) &&
              gpu_device_floats(t->space, &t->memory, &t->dz.p, wide) &&
              gpu_device_floats(t->space, &t->memory, &t->parts, t->piece * heaviest);
    for (float **buffer : {&t->log_q, &t->log_label, &t->df, &t->dlog_q})
        ok = ok && gpu_device_floats(t->space, &t->memory, buffer, candidates);
    return ok;
}

bool make_x_side(ebm_gpu_training *t)
{
    const ebm_net_desc *net = t->net;
    uint32_t E = net->has_energy ? net->energy.layers[0].out : 1, most_K = LIMIT_COMPONENTS;
    const ebm_net *heads[] = {&net->mean, &net->log_variance, &net->weight};
    size_t rows = t->max_rows;
    t->feature.is_exact = t->own.is_exact = true;
    bool ok = make_net(t, &t->feature, &net->feature, 0, rows) && make_net(t, &t->own, &net->own, 0, rows) &&
              make_rows(t, &t->hx, E, rows) && make_rows(t, &t->dhx, E, rows) && make_rows(t, &t->dh, net->H, rows) &&
              make_rows(t, &t->down, net->own_H, rows) &&
              gpu_device_floats(t->space, &t->memory, &t->gradient, t->trained->count) &&
              gpu_device_floats(t->space, &t->memory, &t->mixtures, rows * gpu_mixture_count(net->D, most_K));
    for (int i = 0; ok && i < 3 && net->K > 0; i++) {
        t->heads[i].is_exact = true;
        ok = make_net(t, &t->heads[i], heads[i], 0, rows) &&
             make_rows(t, &t->dheads[i], i < 2 ? net->D * net->K : net->K, rows);
    }
    return ok;
}

/* Both sides of one array of what goes up or comes down. */
struct array {
    float **host, **there;
    size_t count;
};

bool make_arrays(ebm_gpu_training *t)
{
    const size_t rows = t->max_rows, D = t->net->D, X = ebm_net_reach(t->net), n = rows * t->max_candidates;
    struct ebm_gpu_rows *h = &t->host, *d = &t->there;
    float *h_draws = NULL, *d_draws = NULL;
    const array arrays[] = {{&h->x, &d->x, rows * X},
                            {&h_draws, &d_draws, rows * sizeof(ebm_gpu_draw) / sizeof(float)},
                            {&h->y_0, &d->y_0, rows * D},
                            {&h->center, &d->center, rows * D},
                            {&h->noise, &d->noise, (2 * D + 2) * LIMIT_COMPONENTS},
                            {&h->label, &d->label, D + 1},
                            {&h->y, &d->y, n * D},
                            {&h->log_q, &d->log_q, n},
                            {&h->log_label, &d->log_label, n},
                            {&h->loss, &d->loss, rows},
                            {&h->beside, &d->beside, rows},
                            {&h->dx, &d->dx, rows * X}};
    for (const array &a : arrays)
        if (!gpu_pinned_floats(t->space, &t->memory, a.host, a.count) ||
            !gpu_device_floats(t->space, &t->memory, a.there, a.count))
            return false;
    h->draws = reinterpret_cast<ebm_gpu_draw *>(h_draws);
    d->draws = reinterpret_cast<ebm_gpu_draw *>(d_draws);
    t->x = {d->x, (uint32_t)X};
    return true;
}

/* ---- layers ---- */

const float *param(const ebm_gpu_training *t, size_t offset)
{
    return t->trained->params + (offset - t->trained->first);
}

float *gradient_at(const ebm_gpu_training *t, size_t offset)
{
    return t->gradient + (offset - t->trained->first);
}

gpu_matrix weights_of(const ebm_gpu_training *t, const kept_layer *l, bool is_turned)
{
    return {param(t, l->layer->weight + l->skip), l->in, l->layer->out, l->layer->in, is_turned};
}

/* Layers on n samples of `in`; `row` is added by the first one, unless its p is NULL, in place of its bias. Where the
 * last output lies. */
bool run_net(ebm_gpu_training *t, const kept_net *net, gpu_rows in, size_t n, gpu_bias row, gpu_rows *ret)
{
    for (size_t i = 0; i < net->layers.size(); i++) {
        const kept_layer *l = &net->layers[i];
        gpu_product p = {};
        gpu_bias bias = i == 0 && row.p != NULL ? row : gpu_bias{param(t, l->layer->bias), 0, 1};
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

/* How a way back goes on a net's samples. */
struct way_back {
    size_t n;             /* samples, of all parts */
    uint32_t parts;       /* whose weights' gradients are products of their own */
    bool wants_input;     /* the gradient of what the first layer reads */
    gpu_rows *row;        /* gets the first layer's sums, a row a part, in place of its bias; NULL: the bias does */
    const kept_layer *no; /* its bias learns nothing; NULL: all do */
};

void sum_parts(ebm_gpu_training *t, float *to, uint32_t ld, uint32_t columns, size_t n, uint32_t parts)
{
    LAUNCH(parts_k, gpu_blocks(n), dim3(GPU_THREADS), 0, t->space->compute, to, ld, t->parts, columns, n, parts);
}

/* += in the layer's bias, of dz; or what the x side gets. */
void bias_backward(ebm_gpu_training *t, const kept_layer *l, const way_back *way, bool is_first, gpu_rows dz)
{
    uint32_t out = l->layer->out, samples = (uint32_t)(way->n / way->parts);
    dim3 grid((out + COLUMNS - 1) / COLUMNS, way->parts);
    bool by_row = is_first && way->row != NULL, is_direct = by_row || way->parts == 1;
    float *bias = gradient_at(t, l->layer->bias);
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

/* += in the layer's weights: dz^T in. */
bool weight_backward(ebm_gpu_training *t, const kept_layer *l, bool is_exact, const way_back *way, gpu_rows in,
                     gpu_rows dz)
{
    uint32_t out = l->layer->out, samples = (uint32_t)(way->n / way->parts);
    float *weight = gradient_at(t, l->layer->weight + l->skip);
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

/* da of what a layer reads: W^T dz, and da itself where it is residual. */
bool input_backward(ebm_gpu_training *t, const kept_layer *l, bool is_exact, size_t n, gpu_rows dz, gpu_rows da)
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

/* From da of the last output, which is lost; where that of the input lies, if it is wanted. */
bool net_backward(ebm_gpu_training *t, const kept_net *net, gpu_rows in, gpu_rows da, const way_back *way,
                  gpu_rows *ret)
{
    for (size_t i = net->layers.size(); i-- > 0;) {
        const kept_layer *l = &net->layers[i];
        gpu_rows reads = i > 0 ? net->layers[i - 1].a : in, dz = {t->dz.p, ld_of(l->layer->out)};
        LAUNCH(dact_k, gpu_blocks(way->n * l->layer->out), dim3(GPU_THREADS), 0, t->space->compute,
               l->layer->activation, da.p, da.ld, l->z.p, l->z.ld, dz.p, dz.ld, l->layer->out, way->n);
        bias_backward(t, l, way, i == 0, dz);
        if (!weight_backward(t, l, net->is_exact, way, reads, dz))
            return false;
        if (i == 0 && !way->wants_input)
            return true;
        if (!l->layer->residual)
            da = {t->da.p, ld_of(l->in)};
        if (!input_backward(t, l, net->is_exact, way->n, dz, da))
            return false;
    }
    *ret = da;
    return true;
}

/* ---- the x side ---- */

bool has_proposal(const ebm_gpu_chunk *c)
{
    return c->noise_K == 0 || c->beside > 0;
}

bool heads_forward(ebm_gpu_training *t, uint32_t B)
{
    const gpu_bias none = {NULL, 0, 1};
    t->reads = t->h;
    bool ok = t->net->own_H == 0 || run_net(t, &t->own, t->x, B, none, &t->reads);
    for (int i = 0; ok && i < 3; i++)
        ok = run_net(t, &t->heads[i], t->reads, B, none, &t->heads_out[i]);
    return ok;
}

bool x_forward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const gpu_bias none = {NULL, 0, 1};
    bool ok = run_net(t, &t->feature, t->x, c->B, none, &t->h);
    if (ok && t->net->has_energy) {
        const ebm_layer *l = &t->net->energy.layers[0];
        gpu_product p = {};
        p.a = {param(t, l->weight), t->net->H, l->out, l->in, true};
        p.b = {t->h.p, t->net->H, c->B, t->h.ld, false};
        p.d = t->hx.p;
        p.ld_d = t->hx.ld;
        p.is_exact = true;
        ok = gpu_multiply(t->space, &p);
        LAUNCH(finish_k, gpu_blocks((size_t)c->B * l->out), dim3(GPU_THREADS), 0, t->space->compute, EBM_ACT_IDENTITY,
               t->hx.p, t->hx.p, t->hx.ld, (gpu_bias{param(t, l->bias), 0, 1}), (const float *)NULL, 0u, l->out,
               (size_t)c->B);
    }
    return ok && (!has_proposal(c) || heads_forward(t, c->B));
}

bool clear(ebm_gpu_training *t, float *p, size_t count)
{
    return count == 0 ||
           gpu_fine(t->space, cudaMemsetAsync(p, 0, count * sizeof(float), t->space->compute), "a gradient");
}

void add(ebm_gpu_training *t, gpu_rows to, gpu_rows from, uint32_t n, size_t rows)
{
    LAUNCH(plus_k, gpu_blocks(rows * n), dim3(GPU_THREADS), 0, t->space->compute, to.p, to.ld, from.p, from.ld, n,
           rows);
}

bool heads_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    bool has_own = t->net->own_H > 0;
    way_back way = {c->B, 1, c->by_proposal || has_own, NULL, NULL};
    gpu_rows to = has_own ? t->down : t->dh, da = {};
    for (int i = 0; i < 3; i++) {
        if (!net_backward(t, &t->heads[i], t->reads, t->dheads[i], &way, &da))
            return false;
        if (way.wants_input)
            add(t, to, da, has_own ? t->net->own_H : t->net->H, c->B);
    }
    way.wants_input = false;
    return !has_own || net_backward(t, &t->own, t->x, t->down, &way, &da);
}

/* Does the last bias do no more than shift f, which the loss does not see? Its gradient is 0 then, and what rounding
 * leaves of the sum would make Adam wander. */
bool shifts(const ebm_gpu_training *t, uint32_t loss)
{
    return t->energy.layers.back().layer->activation == EBM_ACT_IDENTITY && loss != EBM_LOSS_KLD_IS;
}

/* The first energy layer's part that reads h, from dhx. */
bool joint_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const kept_layer joint = {&t->net->energy.layers[0], t->net->H, 0, {}, {}};
    const way_back way = {c->B, 1, true, NULL, t->energy.layers.size() == 1 && shifts(t, c->loss) ? &joint : NULL};
    gpu_rows da = {t->da.p, ld_of(t->net->H)};
    bias_backward(t, &joint, &way, true, t->dhx);
    if (!weight_backward(t, &joint, true, &way, t->h, t->dhx) || !input_backward(t, &joint, true, c->B, t->dhx, da))
        return false;
    add(t, t->dh, da, t->net->H, c->B);
    return true;
}

bool trains_energy(const ebm_gpu_chunk *c)
{
    return c->loss != EBM_LOSS_MDN_NLL && c->loss != EBM_LOSS_KL_PROPOSAL;
}

bool x_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const way_back way = {c->B, 1, c->wants_dx != 0, NULL, NULL};
    const uint32_t X = ebm_net_reach(t->net);
    const gpu_rows dx = {t->there.dx, X};
    gpu_rows da = {};
    bool reaches = trains_energy(c) || (c->by_proposal && t->net->own_H == 0);
    bool ok = (!trains_energy(c) || joint_backward(t, c)) && (!has_proposal(c) || heads_backward(t, c)) &&
              (!reaches || net_backward(t, &t->feature, t->x, t->dh, &way, &da)) &&
              (!c->wants_dx || clear(t, dx.p, (size_t)c->B * X));
    if (ok && reaches && c->wants_dx)
        add(t, dx, da, X, c->B);
    return ok;
}

/* ---- the sample side ---- */

/* f, of rows `first` on. */
bool sample_forward(ebm_gpu_training *t, gpu_pass *pass, uint32_t first, gpu_rows *ret_g)
{
    const gpu_bias none = {NULL, 0, 1}, row = {t->hx.p + (size_t)first * t->hx.ld, t->hx.ld, pass->n};
    size_t n = (size_t)pass->rows * pass->n;
    gpu_rows f;
    bool ok = run_net(t, &t->target, t->y, n, none, ret_g) && run_net(t, &t->energy, *ret_g, n, row, &f);
    pass->f = f.p;
    return ok;
}

bool sample_backward(ebm_gpu_training *t, const gpu_pass *pass, uint32_t first, gpu_rows g)
{
    const kept_layer *last = &t->energy.layers.back();
    gpu_rows row = {t->dhx.p + (size_t)first * t->dhx.ld, t->dhx.ld}, da = {t->df, 1};
    way_back way = {(size_t)pass->rows * pass->n, pass->rows, true, &row, shifts(t, pass->loss) ? last : NULL};
    if (!net_backward(t, &t->energy, g, da, &way, &da))
        return false;
    way.row = NULL;
    way.no = NULL;
    way.wants_input = false;
    return net_backward(t, &t->target, t->y, da, &way, &da);
}

gpu_pass pass_of(const ebm_gpu_training *t, const ebm_gpu_chunk *c, uint32_t loss, uint32_t first)
{
    const struct ebm_gpu_rows *there = &t->there;
    const uint32_t D = t->net->D, is_beside = loss != c->loss,
                   K = c->noise_K > 0 && !is_beside ? c->noise_K : t->net->K;
    const size_t at = (size_t)first * c->n;
    bool has_label = loss == EBM_LOSS_KLD_IS;
    gpu_pass p = {};
    p.loss = loss, p.rows = c->B - first < t->piece ? c->B - first : t->piece;
    p.D = D, p.K = K, p.M = c->M, p.n = c->n, p.scale = c->scale;
    p.first_sample = is_beside ? c->beside : 0;
    p.draws = there->draws + first;
    p.mixtures = t->mixtures + first * gpu_mixture_count(D, K);
    p.y_0 = there->y_0 + (size_t)first * D;
    p.center = there->center + (size_t)first * D;
    p.label = has_label ? there->label : NULL;
    p.given_y = c->is_given ? there->y + at * D : NULL;
    p.given_log_q = c->has_density ? there->log_q + at : NULL;
    p.given_log_label = c->has_density && has_label ? there->log_label + at : NULL;
    p.y = t->y, p.log_q = t->log_q, p.log_label = t->log_label, p.df = t->df, p.dlog_q = t->dlog_q;
    p.value = (is_beside ? there->beside : there->loss) + first;
    return p;
}

void bind(ebm_gpu_training *t, const ebm_gpu_chunk *c, bool is_fixed)
{
    const uint32_t D = t->net->D;
    if (is_fixed)
        gpu_bind_noise(t->space->compute, t->mixtures, t->there.noise, t->there.center, D, c->noise_K, c->B);
    else
        gpu_bind_proposal(t->space->compute, t->mixtures, t->heads_out[0], t->heads_out[1], t->heads_out[2], D,
                          t->net->K, c->B);
}

/* One loss of all rows, but for the x side. */
bool run_loss(ebm_gpu_training *t, const ebm_gpu_chunk *c, uint32_t loss)
{
    cudaStream_t stream = t->space->compute;
    bool is_fixed = loss == c->loss && c->noise_K > 0, ok = true;
    bool back = loss != EBM_LOSS_MDN_NLL && loss != EBM_LOSS_KL_PROPOSAL;
    bind(t, c, is_fixed);
    for (uint32_t first = 0; ok && first < c->B; first += t->piece) {
        gpu_pass pass = pass_of(t, c, loss, first);
        gpu_rows g = {}, heads[3];
        gpu_candidates(stream, &pass);
        if (loss != EBM_LOSS_MDN_NLL)
            ok = sample_forward(t, &pass, first, &g);
        gpu_losses(stream, &pass);
        for (int i = 0; i < 3; i++)
            heads[i] = {t->dheads[i].p + (size_t)first * t->dheads[i].ld, t->dheads[i].ld};
        if (!is_fixed)
            gpu_mixture_gradient(stream, &pass, heads[0], heads[1], heads[2]);
        ok = ok && (!back || sample_backward(t, &pass, first, g));
    }
    return ok;
}

bool enqueue(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    bool ok = clear(t, t->gradient, t->trained->count) && clear(t, t->dh.p, (size_t)c->B * t->dh.ld) &&
              clear(t, t->down.p, (size_t)c->B * t->down.ld) && x_forward(t, c) && run_loss(t, c, c->loss) &&
              (c->beside == 0 || run_loss(t, c, EBM_LOSS_KL_PROPOSAL)) && x_backward(t, c);
    return ok && gpu_fine(t->space, cudaGetLastError(), "training");
}

/* ---- a chunk ---- */

/* As it comes, or by its graph. */
bool launch(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    for (shape_graph &shape : t->graphs) {
        if (memcmp(&shape.chunk, c, sizeof *c) != 0)
            continue;
        if (shape.exec == NULL && !gpu_record(t->space, &shape.exec, [&] { return enqueue(t, c); }))
            return false;
        return gpu_fine(t->space, cudaGraphLaunch(shape.exec, t->space->compute), "training");
    }
    if (t->graphs.size() < SHAPES)
        t->graphs.push_back({*c, NULL});
    return enqueue(t, c);
}

bool up(ebm_gpu_training *t, void *to, const void *from, size_t bytes)
{
    return gpu_copy(t->space, t->space->compute, to, from, bytes, cudaMemcpyHostToDevice);
}

bool upload(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const struct ebm_gpu_rows *h = &t->host, *d = &t->there;
    const size_t one = sizeof(float), B = c->B, D = t->net->D, n = B * c->n;
    bool has_label = c->loss == EBM_LOSS_KLD_IS;
    return up(t, d->x, h->x, B * t->x.ld * one) && up(t, d->draws, h->draws, B * sizeof *h->draws) &&
           up(t, d->y_0, h->y_0, B * D * one) && up(t, d->center, h->center, B * D * one) &&
           up(t, d->noise, h->noise, (2 * D + 2) * c->noise_K * one) &&
           up(t, d->label, h->label, has_label ? (D + 1) * one : 0) &&
           up(t, d->y, h->y, c->is_given ? n * D * one : 0) &&
           up(t, d->log_q, h->log_q, c->has_density ? n * one : 0) &&
           up(t, d->log_label, h->log_label, c->has_density && has_label ? n * one : 0);
}

bool down(ebm_gpu_training *t, void *to, const void *from, size_t bytes)
{
    return gpu_copy(t->space, t->space->compute, to, from, bytes, cudaMemcpyDeviceToHost);
}

bool download(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t rows = c->B * sizeof(float);
    return down(t, t->host.loss, t->there.loss, rows) &&
           down(t, t->host.beside, t->there.beside, c->beside > 0 ? rows : 0) &&
           down(t, t->host.dx, t->there.dx, c->wants_dx ? rows * ebm_net_reach(t->net) : 0) &&
           gpu_fine(t->space, cudaStreamSynchronize(t->space->compute), "training");
}

} // namespace

enum ebm_status ebm_gpu_training_new(struct ebm_gpu_space *space, struct ebm_gpu_trained *trained, uint32_t max_rows,
                                     uint32_t max_candidates, struct ebm_gpu_training **ret_training,
                                     struct ebm_error *reterr)
{
    if (space->failed)
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s", space->failure);
    ebm_gpu_training *t = new (std::nothrow) ebm_gpu_training();
    if (t == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory to train");
    t->space = space;
    t->trained = trained;
    t->net = trained->net;
    t->max_rows = max_rows;
    t->max_candidates = max_candidates;
    bool ok;
    try {
        ok = gpu_enter(space) && make_sample_side(t) && make_x_side(t) && make_arrays(t);
    } catch (const std::bad_alloc &) {
        ok = gpu_fail(space, "training", "no memory");
    }
    if (!ok) {
        enum ebm_status status = gpu_end_making(space, reterr);
        (void)ebm_gpu_training_free(t);
        return status;
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
    for (const shape_graph &shape : t->graphs)
        if (shape.exec != NULL)
            (void)cudaGraphExecDestroy(shape.exec);
    gpu_memory_free(&t->memory);
    delete t;
    return NULL;
}

struct ebm_gpu_rows *ebm_gpu_training_rows(struct ebm_gpu_training *t)
{
    return &t->host;
}

bool ebm_gpu_training_run(struct ebm_gpu_training *t, const struct ebm_gpu_chunk *c, uint32_t slot)
{
    if (t->space->failed || !gpu_enter(t->space))
        return false;
    try {
        return gpu_trained_wait(t->trained, t->space) && upload(t, c) && launch(t, c) &&
               gpu_trained_add(t->trained, t->space, slot, t->gradient) && download(t, c);
    } catch (const std::bad_alloc &) {
        return gpu_fail(t->space, "training", "no memory");
    }
}
