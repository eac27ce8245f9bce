/* exact.cu - log Z, moments, quantiles and draws of rows whose f is piecewise linear: a block a row, whose knots are
 * those of exact_knots.h. */
#include <string.h>

#include <new>

#include "core/cuda/exact_knots.h"
#include "core/cuda/philox.h"
#include "core/cuda/profile_internal.h"

#define UNIT_FLOP 12.0           /* of a hidden unit at a row of the table, about */
#define MOST_BLOCKS 128u         /* rows at a time */
#define LEAST_BLOCKS 24u         /* with fewer most of a device would idle */
#define MOST_SCRATCH (64u << 20) /* bytes of all blocks */

DEVICE void integrate(struct density *p, struct block_space *space, double *starts, double *head)
{
    const struct scratch *s = p->s;
    const bool is_finite = put_heights(p, space);
    double total = 0.0, mean = 0.0, variance = 0.0, f = 0.0, mode = -INFINITY;
    for (uint32_t i = threadIdx.x; i < p->n; i += THREADS)
        mode = larger(mode, s->knot_f[i] == p->peak ? -(double)i : -INFINITY);
    mode = -block_largest(space, mode);
    for (uint32_t i = threadIdx.x; i <= p->n; i += THREADS) {
        struct piece_numbers numbers = piece(p, i);
        s->mass[i] = numbers.mass;
        total += numbers.mass;
        mean += numbers.mass * numbers.centroid;
    }
    p->total = total = block_sum(space, total);
    mean = block_sum(space, mean) / total;
    for (uint32_t i = threadIdx.x; i <= p->n; i += THREADS) {
        struct piece_numbers numbers = piece(p, i);
        double off = numbers.centroid - mean;
        variance += numbers.mass > 0.0 ? numbers.mass * (numbers.variance + off * off) : 0.0;
        f += numbers.mass > 0.0 ? numbers.mass * numbers.f : 0.0;
    }
    variance = block_sum(space, variance) / total;
    f = block_sum(space, f) / total;
    cumulate(s->mass, p->n + 1, false, starts,
             s->below + 1); /* below[i], above[i]: of the pieces before i, from i on */
    cumulate(s->mass, p->n + 1, true, starts, s->above);
    if (threadIdx.x == 0) {
        s->below[0] = s->above[p->n + 1] = 0.0;
        head[EBM_GPU_EXACT_N] = is_finite ? (double)p->n : 0.0;
        head[EBM_GPU_EXACT_PEAK] = p->peak;
        head[EBM_GPU_EXACT_TOTAL] = total;
        head[EBM_GPU_EXACT_MEAN] = mean;
        head[EBM_GPU_EXACT_VARIANCE] = variance;
        head[EBM_GPU_EXACT_F] = f;
        head[EBM_GPU_EXACT_MODE] = s->knot_y[is_finite ? (uint32_t)mode : 0];
    }
    __syncthreads(); /* before ends of sums are read */
}

/* ---- quantiles: as pieces.c ---- */

DEVICE uint32_t first_with(const struct density *p, double mass)
{
    uint32_t low = 0;
    for (uint32_t n = p->n; n > 0;) {
        uint32_t half = (n + 1) / 2;
        low += p->s->below[low + half] < mass ? half : 0;
        n -= half;
    }
    return low;
}

DEVICE uint32_t last_with(const struct density *p, double mass)
{
    uint32_t high = p->n;
    for (uint32_t n = p->n; n > 0;) {
        uint32_t half = (n + 1) / 2;
        high -= p->s->above[high - half + 1] < mass ? half : 0;
        n -= half;
    }
    return high;
}

DEVICE double point(const struct density *p, uint32_t i, double u, bool from_left)
{
    const double *y = p->s->knot_y, *f = p->s->knot_f;
    u = u < 1.0 ? u : 1.0;
    if (i == 0)
        return y[0] + (from_left ? log(u) : log1p(-u)) / p->table->slope[0];
    if (i == p->n)
        return y[i - 1] + (from_left ? log1p(-u) : log(u)) / p->table->slope[1];
    double a = y[i - 1], b = y[i], d = from_left ? f[i] - f[i - 1] : f[i - 1] - f[i];
    double off = (b - a) * piece_point(d, expm1(d), u);
    if (from_left)
        return a + off < b ? a + off : b;
    return b - off > a ? b - off : a;
}

DEVICE double quantile_of(const struct density *p, double probability)
{
    bool from_left = probability <= 0.5;
    double mass = (from_left ? probability : 1.0 - probability) * p->total;
    uint32_t i = from_left ? first_with(p, mass) : last_with(p, mass);
    double before = from_left ? p->s->below[i] : p->s->above[i + 1];
    return point(p, i, (mass - before) / p->s->mass[i], from_left);
}

/* Rows in turn, a block each. */
struct exact_work {
    const struct ebm_gpu_exact_table *table; /* device memory */
    const struct ebm_gpu_exact_question *questions;
    const double *probabilities;
    const float *hx; /* (rows, out of the first layer) */
    double *answers;
    unsigned char *scratch;
    size_t block_bytes;
    uint32_t n;
};

/* Probabilities first, then draws: uniform numbers of (seed, row, number). */
DEVICE void ask(const struct exact_work *work, const struct ebm_gpu_exact_question *q, const struct density *p)
{
    float *draws = reinterpret_cast<float *>(work->answers + q->draws);
    for (uint32_t i = threadIdx.x; i < q->n_probabilities + q->n_draws; i += THREADS) {
        bool is_draw = i >= q->n_probabilities;
        uint32_t draw = i - q->n_probabilities;
        double probability;
        if (is_draw) {
            struct gpu_words words = philox(q->seed, q->row_in_request, draw, EBM_STREAM_RESAMPLE, 0);
            probability = ((double)(((uint64_t)words.w0 << 32 | words.w1) >> 12) + 0.5) * 0x1p-52;
        } else {
            probability = work->probabilities[q->probability + i];
        }
        double y = quantile_of(p, probability);
        if (is_draw)
            draws[draw] = (float)y;
        else
            work->answers[q->quantiles + i] = y;
    }
}

KERNEL void __launch_bounds__(THREADS, 4) exact_k(struct exact_work work)
{
    SHARED(double, part, [2][MOST_WARPS]);
    SHARED(double, starts, [THREADS]);
    struct block_space space = {part, 0};
    struct scratch s = scratch_at(work.scratch + blockIdx.x * work.block_bytes, work.table->widest);
    for (uint32_t i = blockIdx.x; i < work.n; i += gridDim.x) {
        const struct ebm_gpu_exact_question *q = work.questions + i;
        const float *hx = work.hx + (size_t)q->row * work.table->layers[0].out;
        struct density p = {work.table, &s, 0, 0.0, 0.0};
        p.n = knots_of(work.table, hx, reinterpret_cast<uint32_t *>(starts), &s);
        if (p.n > 0)
            integrate(&p, &space, starts, work.answers + q->head);
        else if (threadIdx.x == 0)
            work.answers[q->head + EBM_GPU_EXACT_N] = 0.0;
        if (p.n > 0)
            ask(&work, q, &p);
        __syncthreads(); /* before the next row is written over this one */
    }
}

/* ---- the table ---- */

/* Arrays one behind the other: counted, and copied where there is somewhere to. */
struct blob {
    unsigned char *to, *base; /* host memory, and where it will lie */
    size_t bytes;

    template <class T> const T *add(const T *from, size_t count)
    {
        const size_t at = bytes;
        bytes += rounded(count * sizeof(T));
        if (to != NULL)
            memcpy(to + at, from, count * sizeof(T));
        return reinterpret_cast<const T *>(base + at);
    }
};

static void add_table(struct blob *all, const struct ebm_gpu_exact_table *from)
{
    struct ebm_gpu_exact_table table = *from;
    all->bytes = rounded(sizeof table);
    table.y = all->add(from->y, from->n);
    table.u = all->add(from->u, (size_t)from->n * from->stride);
    for (uint32_t l = 1; l < from->n_layers; l++) {
        const struct ebm_gpu_exact_layer *layer = &from->layers[l];
        table.layers[l].weight = all->add(layer->weight, (size_t)layer->in * layer->stride);
        table.layers[l].bias = all->add(layer->bias, layer->stride);
    }
    if (all->to != NULL)
        memcpy(all->to, &table, sizeof table);
}

enum ebm_status ebm_gpu_exact_load(struct ebm_gpu_net *net, const struct ebm_gpu_exact_table *table,
                                   struct ebm_error *reterr)
{
    struct blob all = {};
    add_table(&all, table);
    unsigned char *host = new (std::nothrow) unsigned char[all.bytes];
    if (host == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a table of kinks");
    all.to = host;
    cudaError_t error = gpu_set_device(net->device);
    if (error == cudaSuccess)
        error = cudaMalloc(&net->exact, all.bytes);
    if (error == cudaSuccess) {
        all.base = static_cast<unsigned char *>(net->exact);
        add_table(&all, table);
        error = gpu_put(net->exact, host, all.bytes);
    }
    net->exact_widest = table->widest;
    net->exact_is_deep = table->n_layers > 2;
    delete[] host;
    return error == cudaSuccess ? EBM_OK : gpu_refuse(reterr, "a table of kinks cannot be put onto the device", error);
}

/* ---- rows ---- */

bool ebm_gpu_exact_fits(uint32_t n_layers, uint32_t widest)
{
    return LEAST_BLOCKS * block_bytes(n_layers > 2, widest) <= MOST_SCRATCH;
}

static const size_t ANSWER = EBM_GPU_EXACT_HEAD + EBM_GPU_MAX_PROBABILITIES + EBM_GPU_EXACT_DRAWS / 2;

/* The hidden layers at each row of the table, and the answers. What its pieces take nobody knows before, nor what kinks
 * of deeper layers add to them. */
static gpu_work work_of(const ebm_gpu_net *net, double n)
{
    const gpu_layer *energy = net->energy();
    double units = net->energy_out, weights = 0.0;
    for (uint32_t i = 1; i + 1 < net->n_energy; i++)
        weights += (double)energy[i].in * energy[i].out;
    const double table = (double)net->exact_rows * units;
    return {"exact_k", EBM_LAUNCH_FP32, n * (UNIT_FLOP * table + 2.0 * net->exact_rows * weights),
            sizeof(float) * (table + weights + n * units) + sizeof(double) * n * EBM_GPU_EXACT_HEAD};
}

static bool launch(ebm_gpu_space *space, const ebm_gpu_net *net, const gpu_exact *own, const float *hx, uint32_t n)
{
    const struct exact_work work = {static_cast<const struct ebm_gpu_exact_table *>(net->exact),
                                    own->questions,
                                    own->probabilities,
                                    hx,
                                    own->answers,
                                    own->scratch,
                                    own->block_bytes,
                                    n};
    const gpu_timed timed(space, space->compute, [&] { return work_of(net, n); });
    LAUNCH(exact_k, dim3(n < own->blocks ? n : own->blocks), dim3(THREADS), 0, space->compute, work);
    return gpu_fine(space, cudaGetLastError(), "exact answers");
}

bool gpu_exact_make(ebm_gpu_space *space, gpu_memory *memory, const ebm_gpu_net *net, uint32_t rows, gpu_exact *own)
{
    if (net->exact == NULL)
        return true;
    const size_t questions = rows * (sizeof(struct ebm_gpu_exact_question) / sizeof(float));
    const size_t probabilities = 2 * (size_t)rows * EBM_GPU_MAX_PROBABILITIES, answers = 2 * rows * ANSWER;
    float *device[4] = {}, *pinned[3] = {};
    own->block_bytes = block_bytes(net->exact_is_deep, net->exact_widest);
    own->blocks = (uint32_t)(MOST_SCRATCH / own->block_bytes);
    own->blocks = own->blocks > MOST_BLOCKS ? MOST_BLOCKS : own->blocks;
    own->blocks = own->blocks > rows ? rows : own->blocks;
    bool ok = gpu_device_floats(space, memory, &device[0], questions) &&
              gpu_device_floats(space, memory, &device[1], probabilities) &&
              gpu_device_floats(space, memory, &device[2], answers) &&
              gpu_device_floats(space, memory, &device[3], own->blocks * own->block_bytes / sizeof(float)) &&
              gpu_pinned_floats(space, memory, &pinned[0], questions) &&
              gpu_pinned_floats(space, memory, &pinned[1], probabilities) &&
              gpu_pinned_floats(space, memory, &pinned[2], answers);
    own->questions = reinterpret_cast<struct ebm_gpu_exact_question *>(device[0]);
    own->probabilities = reinterpret_cast<double *>(device[1]);
    own->answers = reinterpret_cast<double *>(device[2]);
    own->scratch = reinterpret_cast<unsigned char *>(device[3]);
    own->host.questions = reinterpret_cast<struct ebm_gpu_exact_question *>(pinned[0]);
    own->host.probabilities = reinterpret_cast<double *>(pinned[1]);
    own->host.answers = reinterpret_cast<double *>(pinned[2]);
    return ok;
}

struct ebm_gpu_exact_rows *ebm_gpu_exact_rows(struct ebm_gpu_space *space, const struct ebm_gpu_net *net)
{
    const float *hx;
    return net->exact != NULL ? &gpu_exact_of(space, net, &hx)->host : NULL;
}

bool ebm_gpu_exact_submit(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, uint32_t n_questions,
                          uint32_t n_probabilities, uint32_t n_answers)
{
    const float *hx;
    const gpu_exact *own = gpu_exact_of(space, net, &hx);
    const cudaMemcpyKind in = cudaMemcpyHostToDevice;
    return !space->failed && gpu_enter(space) &&
           gpu_copy(space, space->compute, own->questions, own->host.questions, n_questions * sizeof *own->questions,
                    in) &&
           gpu_copy(space, space->compute, own->probabilities, own->host.probabilities,
                    n_probabilities * sizeof(double), in) &&
           launch(space, net, own, hx, n_questions) &&
           gpu_copy(space, space->compute, own->host.answers, own->answers, n_answers * sizeof(double),
                    cudaMemcpyDeviceToHost);
}

bool ebm_gpu_exact_wait(struct ebm_gpu_space *space)
{
    return !space->failed && gpu_fine(space, cudaStreamSynchronize(space->compute), "exact answers");
}

static const gpu_kernels loaded = {GPU_KERNEL(exact_k)};
