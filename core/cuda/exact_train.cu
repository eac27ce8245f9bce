/* exact_train.cu - ml_exact: log Z(x) - f(x, y_0) of a scalar target, as core/train_exact.c has it for pieces.
 *
 *   table of kinks     made by the CPU before a step, put here once for all of its chunks
 *   points_k           a block a row: knots of f, the masses of its pieces, log Z; a list of points, each of them a
 *                      piece's centroid with its share of the mass
 *   place_k, judge_k   the points are the row's candidates and their shares df; behind them the true target, with -1
 *
 * In a piece the gradient of f in the parameters is linear in y, so that its mean is that at the centroid: what follows
 * is the way of drawn candidates. Rows have as many candidates as the longest list of their chunk needs, in whole
 * steps: a number of the chunk alone, so that a chunk has the same bytes whatever came before it. */
#include <string.h>

#include "core/cuda/exact_knots.h"
#include "core/cuda/training_internal.h"

#define MOST_BLOCKS 64u          /* rows at a time */
#define LEAST_BLOCKS 8u          /* with fewer most of a device would idle */
#define MOST_SCRATCH (64u << 20) /* bytes of all blocks */

/* ---- kernels ---- */

struct points_work {
    const struct ebm_gpu_exact_table *table; /* device memory */
    struct gpu_rows hx;
    uint32_t rows;
    unsigned char *scratch;
    size_t block_bytes;
    struct gpu_points to;
};

/* Masses and centroids of all pieces; their sum. */
DEVICE double put_pieces(const struct density *p, struct block_space *space)
{
    double total = 0.0;
    for (uint32_t i = threadIdx.x; i <= p->n; i += THREADS) {
        struct piece_numbers numbers = piece(p, i);
        p->s->mass[i] = numbers.mass;
        p->s->centroid[i] = numbers.centroid;
        total += numbers.mass;
    }
    return block_sum(space, total);
}

/* The list of one row with p->n knots. */
DEVICE void put_points(struct density *p, struct block_space *space, uint32_t *starts, const struct gpu_points *to,
                       uint32_t row)
{
    const struct scratch *s = p->s;
    const bool is_finite = put_heights(p, space);
    const double total = put_pieces(p, space), log_z = p->peak + log(total);
    const bool is_fine = is_finite && fabs(log_z) <= DBL_MAX;
    float *y = to->y + (size_t)row * EBM_GPU_POINTS, *share = to->share + (size_t)row * EBM_GPU_POINTS;
    for (uint32_t i = threadIdx.x; i <= p->n; i += THREADS)
        s->count[i] = is_fine && s->mass[i] > PIECE_NEGLIGIBLE * total;
    __syncthreads(); /* before they are counted */
    cumulate(s->count, p->n + 1, false, starts, s->first);
    for (uint32_t i = threadIdx.x; i <= p->n; i += THREADS) {
        uint32_t at = s->first[i] - s->count[i];
        if (s->count[i] == 0 || at >= EBM_GPU_POINTS)
            continue;
        y[at] = (float)s->centroid[i];
        share[at] = (float)(s->mass[i] / total);
    }
    if (threadIdx.x != 0)
        return;
    to->count[row] = s->first[p->n];
    to->log_z[row] = is_fine ? log_z : (double)NAN;
}

/* Rows in turn, a block each. */
KERNEL void __launch_bounds__(THREADS, 4) points_k(struct points_work work)
{
    SHARED(double, part, [2][MOST_WARPS]);
    SHARED(uint32_t, starts, [THREADS]);
    struct block_space space = {part, 0};
    struct scratch s = scratch_at(work.scratch + blockIdx.x * work.block_bytes, work.table->widest);
    for (uint32_t row = blockIdx.x; row < work.rows; row += gridDim.x) {
        struct density p = {work.table, &s, 0, 0.0, 0.0};
        p.n = knots_of(work.table, work.hx.p + (size_t)row * work.hx.ld, starts, &s);
        if (p.n > 0)
            put_points(&p, &space, starts, &work.to, row);
        else if (threadIdx.x == 0)
            work.to.count[row] = EBM_GPU_POINTS;
        __syncthreads(); /* before the next row is written over this one */
    }
}

/* A thread a candidate, blockIdx.y a row. */
KERNEL void place_k(struct gpu_pass p, struct gpu_points from)
{
    uint32_t row = blockIdx.y, m = blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= p.n)
        return;
    bool is_point = m < from.count[row];
    p.y.p[((size_t)row * p.n + m) * p.y.ld] = is_point ? from.y[(size_t)row * EBM_GPU_POINTS + m] : p.y_0[row];
}

/* df and the row's loss. Rows without a finite one give no gradient, and NaN. A thread a candidate, blockIdx.y a row.
 */
KERNEL void judge_k(struct gpu_pass p, struct gpu_points from)
{
    uint32_t row = blockIdx.y, m = blockIdx.x * blockDim.x + threadIdx.x;
    size_t at = (size_t)row * p.n;
    if (m >= p.n)
        return;
    float value = (float)(from.log_z[row] - (double)p.f[at + p.M]), df = 0.0f;
    bool is_finite = fabsf(value) < INFINITY;
    if (is_finite && m < from.count[row])
        df = p.scale * from.share[(size_t)row * EBM_GPU_POINTS + m];
    else if (is_finite && m == p.M)
        df = -p.scale;
    p.df[at + m] = df;
    if (m == 0)
        p.value[row] = is_finite ? value : NAN;
}

/* ---- the table ---- */

namespace
{

/* Arrays of a table one behind the other, with room for KNOTS rows. */
struct places {
    size_t y, u, layers[EBM_GPU_EXACT_LAYERS][2], bytes;
};

size_t take(size_t *at, size_t bytes)
{
    size_t here = *at;
    *at += rounded(bytes);
    return here;
}

places places_of(const struct ebm_gpu_exact_table *table)
{
    places to = {};
    to.bytes = rounded(sizeof *table);
    for (uint32_t l = 1; l < table->n_layers; l++) {
        const struct ebm_gpu_exact_layer *layer = &table->layers[l];
        to.layers[l][0] = take(&to.bytes, (size_t)layer->in * layer->stride * sizeof(float));
        to.layers[l][1] = take(&to.bytes, layer->stride * sizeof(float));
    }
    to.y = take(&to.bytes, KNOTS * sizeof(double));
    to.u = take(&to.bytes, (size_t)KNOTS * table->stride * sizeof(float));
    return to;
}

/* Into the host's memory, with pointers as they will be there. */
void pack(const struct ebm_gpu_exact_table *from, const places *at, unsigned char *host, const unsigned char *there)
{
    struct ebm_gpu_exact_table table = *from;
    for (uint32_t l = 1; l < from->n_layers; l++) {
        const struct ebm_gpu_exact_layer *layer = &from->layers[l];
        memcpy(host + at->layers[l][0], layer->weight, (size_t)layer->in * layer->stride * sizeof(float));
        memcpy(host + at->layers[l][1], layer->bias, layer->stride * sizeof(float));
        table.layers[l].weight = reinterpret_cast<const float *>(there + at->layers[l][0]);
        table.layers[l].bias = reinterpret_cast<const float *>(there + at->layers[l][1]);
    }
    memcpy(host + at->y, from->y, from->n * sizeof(double));
    memcpy(host + at->u, from->u, (size_t)from->n * from->stride * sizeof(float));
    table.y = reinterpret_cast<const double *>(there + at->y);
    table.u = reinterpret_cast<const float *>(there + at->u);
    memcpy(host, &table, sizeof table);
}

bool make_kinks(ebm_gpu_trained *t, size_t bytes)
{
    float *host = NULL, *there = NULL;
    bool ok = gpu_enter(t->space) && gpu_pinned_floats(t->space, &t->kinks.memory, &host, bytes / sizeof(float)) &&
              gpu_device_floats(t->space, &t->kinks.memory, &there, bytes / sizeof(float));
    t->kinks.host = reinterpret_cast<unsigned char *>(host);
    t->kinks.there = reinterpret_cast<unsigned char *>(there);
    return ok;
}

} // namespace

/* Once: then it stays where graphs know it. */
enum ebm_status ebm_gpu_trained_kinks_new(struct ebm_gpu_trained *t, const struct ebm_gpu_exact_table *table,
                                          struct ebm_error *reterr)
{
    const size_t bytes = places_of(table).bytes;
    bool ok = t->kinks.there != NULL;
    if (t->space->failed)
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s", t->space->failure);
    try {
        ok = ok || make_kinks(t, bytes);
    } catch (const std::bad_alloc &) {
        ok = gpu_fine(t->space, cudaErrorMemoryAllocation, "the table of kinks");
    }
    if (ok)
        return EBM_OK;
    enum ebm_status status = gpu_end_making(t->space, reterr);
    gpu_memory_free(&t->kinks.memory);
    t->kinks = {};
    if (status == EBM_NO_MEMORY)
        status = ebm_error_set(reterr, status, "training", "the device has no memory for %zu KiB of kinks",
                               bytes >> 10);
    return status;
}

bool ebm_gpu_trained_kinks(struct ebm_gpu_trained *t, const struct ebm_gpu_exact_table *table)
{
    const places at = places_of(table);
    if (t->space->failed || !gpu_enter(t->space))
        return false;
    pack(table, &at, t->kinks.host, t->kinks.there);
    return gpu_copy(t->space, t->space->compute, t->kinks.there, t->kinks.host,
                    at.u + (size_t)table->n * table->stride * sizeof(float), cudaMemcpyHostToDevice) &&
           gpu_fine(t->space, cudaStreamSynchronize(t->space->compute), "the table of kinks");
}

/* ---- rows ---- */

/* Stride of the widest energy layer but the last: struct ebm_exact_table's. */
static uint32_t widest_of(const ebm_net_desc *net)
{
    uint32_t widest = 0;
    for (uint32_t l = 0; l + 1 < net->energy.n_layers; l++)
        widest = net->energy.layers[l].out > widest ? net->energy.layers[l].out : widest;
    return gpu_round_up(widest, 16);
}

static size_t bytes_of_block(const ebm_net_desc *net)
{
    return block_bytes(net->energy.n_layers > 2, widest_of(net));
}

bool ebm_gpu_points_fit(const struct ebm_net_desc *net)
{
    return LEAST_BLOCKS * bytes_of_block(net) <= MOST_SCRATCH;
}

bool gpu_points_make(ebm_gpu_training *t)
{
    struct gpu_points *p = &t->points;
    const size_t rows = t->max_rows, numbers = rows * EBM_GPU_POINTS;
    float *scratch = NULL, *log_z = NULL, *count = NULL, *host = NULL;
    t->point_bytes = bytes_of_block(t->net);
    t->point_blocks = (uint32_t)(MOST_SCRATCH / t->point_bytes);
    t->point_blocks = t->point_blocks > MOST_BLOCKS ? MOST_BLOCKS : t->point_blocks;
    t->point_blocks = t->point_blocks > rows ? (uint32_t)rows : t->point_blocks;
    bool ok = gpu_device_floats(t->space, &t->memory, &scratch, t->point_blocks * t->point_bytes / sizeof(float)) &&
              gpu_device_floats(t->space, &t->memory, &p->y, numbers) &&
              gpu_device_floats(t->space, &t->memory, &p->share, numbers) &&
              gpu_device_floats(t->space, &t->memory, &log_z, 2 * rows) &&
              gpu_device_floats(t->space, &t->memory, &count, rows) &&
              gpu_pinned_floats(t->space, &t->memory, &host, rows);
    t->point_scratch = reinterpret_cast<unsigned char *>(scratch);
    p->log_z = reinterpret_cast<double *>(log_z);
    p->count = reinterpret_cast<uint32_t *>(count);
    t->point_counts = reinterpret_cast<uint32_t *>(host);
    return ok;
}

/* Of rows `first` on. */
static struct gpu_points points_of(const ebm_gpu_training *t, uint32_t first)
{
    const size_t at = (size_t)first * EBM_GPU_POINTS;
    return {t->points.y + at, t->points.share + at, t->points.log_z + first, t->points.count + first};
}

void gpu_points_list(ebm_gpu_training *t, uint32_t B)
{
    const struct points_work work = {reinterpret_cast<const struct ebm_gpu_exact_table *>(t->trained->kinks.there),
                                     t->hx,
                                     B,
                                     t->point_scratch,
                                     t->point_bytes,
                                     t->points};
    LAUNCH(points_k, dim3(B < t->point_blocks ? B : t->point_blocks), dim3(THREADS), 0, t->space->compute, work);
}

static dim3 grid_of(const gpu_pass *pass)
{
    return dim3((pass->n + GPU_THREADS - 1) / GPU_THREADS, pass->rows);
}

void gpu_points_place(ebm_gpu_training *t, const gpu_pass *pass, uint32_t first)
{
    LAUNCH(place_k, grid_of(pass), dim3(GPU_THREADS), 0, t->space->compute, *pass, points_of(t, first));
}

void gpu_points_judge(ebm_gpu_training *t, const gpu_pass *pass, uint32_t first)
{
    LAUNCH(judge_k, grid_of(pass), dim3(GPU_THREADS), 0, t->space->compute, *pass, points_of(t, first));
}

static const gpu_kernels loaded = {GPU_KERNEL(points_k), GPU_KERNEL(place_k), GPU_KERNEL(judge_k)};
