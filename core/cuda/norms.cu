/* norms.cu - norms of a trunk in training, by the statistics of a batch, forward and back, as core/trunk_train.c and
 * core/trunk_backward.c have them: sums in double, of parts of the batch's places, and then over the parts in an order
 * that their number alone gives. */
#include <math.h>

#include "core/cuda/block.h"
#include "core/cuda/trunk_train_internal.h"
#include "core/trunk_train.h"

#define SUM_THREADS 256u
#define PART_PLACES 64u /* fewest of a part, but for the last one */

/* Which numbers a block of SUM_THREADS sums: `across` channels, a power of two of at most 32, of `per` places. */
struct sum_shape {
    uint32_t C, across, places, per;
};

/* Sums of a thread: over the block's rows, which lie in shared memory, into its part. */
DEVICE void put_sums(const struct sum_shape *s, double (*shared)[SUM_THREADS], double *sums, double first,
                     double second)
{
    uint32_t c = blockIdx.x * s->across + threadIdx.x % s->across;
    double *to = sums + (size_t)blockIdx.y * 2 * s->C;
    shared[0][threadIdx.x] = first;
    shared[1][threadIdx.x] = second;
    __syncthreads(); /* before rows are summed */
    if (threadIdx.x >= s->across || c >= s->C)
        return;
    for (uint32_t i = threadIdx.x + s->across; i < SUM_THREADS; i += s->across) {
        first += shared[0][i];
        second += shared[1][i];
    }
    to[c] = first;
    to[s->C + c] = second;
}

/* Of z (places, C) and of its squares. */
KERNEL void __launch_bounds__(SUM_THREADS) norm_sums_k(const float *z, double *sums, struct sum_shape s)
{
    SHARED(double, shared, [2][SUM_THREADS]);
    uint32_t c = blockIdx.x * s.across + threadIdx.x % s.across, first = blockIdx.y * s.per;
    uint32_t end = first + s.per < s.places ? first + s.per : s.places;
    double sum = 0.0, squares = 0.0;
    for (uint32_t p = first + threadIdx.x / s.across; c < s.C && p < end; p += SUM_THREADS / s.across) {
        double value = (double)z[(size_t)p * s.C + c];
        sum += value;
        squares += value * value;
    }
    put_sums(&s, shared, sums, sum, squares);
}

/* A channel's sum number `which` over the parts, of which a thread has one. */
DEVICE double sum_parts(struct block_space *space, const double *sums, uint32_t which, uint32_t C, uint32_t parts)
{
    bool is_there = threadIdx.x < parts;
    return block_sum(space, is_there ? sums[((size_t)threadIdx.x * 2 + which) * C + blockIdx.x] : 0.0);
}

DEVICE float toward(float running, double now)
{
    return (float)((1.0 - EBM_NORM_MOMENTUM) * (double)running + EBM_NORM_MOMENTUM * now);
}

DEVICE void set_line(const struct gpu_norm *norm, uint32_t c, double mean, double inverse)
{
    double factor = (double)norm->scale[c] * inverse;
    norm->factor[c] = (float)factor;
    norm->offset[c] = (float)((double)norm->shift[c] - mean * factor);
}

/* A block a channel, of n places. */
KERNEL void __launch_bounds__(SUM_THREADS)
    norm_settle_k(struct gpu_norm norm, const double *sums, uint32_t C, uint32_t parts, double n)
{
    SHARED(double, shared, [2][MOST_WARPS]);
    struct block_space space = {shared, 0};
    uint32_t c = blockIdx.x;
    double mean = sum_parts(&space, sums, 0, C, parts) / n, squares = sum_parts(&space, sums, 1, C, parts) / n;
    if (threadIdx.x > 0)
        return;
    double variance = squares - mean * mean > 0.0 ? squares - mean * mean : 0.0;
    norm.running_mean[c] = toward(norm.running_mean[c], mean);
    norm.running_variance[c] = toward(norm.running_variance[c], n > 1.0 ? variance * n / (n - 1.0) : variance);
    norm.mean[c] = mean;
    norm.inverse[c] = 1.0 / sqrt(variance + EBM_NORM_EPSILON);
    set_line(&norm, c, mean, norm.inverse[c]);
}

/* A thread a channel. */
KERNEL void norm_running_k(struct gpu_norm norm, uint32_t C)
{
    uint32_t c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c < C)
        set_line(&norm, c, (double)norm.running_mean[c],
                 1.0 / sqrt((double)norm.running_variance[c] + EBM_NORM_EPSILON));
}

/* ---- back ---- */

/* ds = da where a > 0, what was added gets it too; sums of ds and of ds (z - mean). */
KERNEL void __launch_bounds__(SUM_THREADS) back_sums_k(struct gpu_norm_back b, struct sum_shape s)
{
    SHARED(double, shared, [2][SUM_THREADS]);
    uint32_t c = blockIdx.x * s.across + threadIdx.x % s.across, first = blockIdx.y * s.per;
    uint32_t end = first + s.per < s.places ? first + s.per : s.places;
    double sum = 0.0, products = 0.0, mean = b.z != NULL && c < s.C ? b.mean[c] : 0.0;
    for (uint32_t p = first + threadIdx.x / s.across; c < s.C && p < end; p += SUM_THREADS / s.across) {
        size_t i = (size_t)p * s.C + c;
        float ds = b.a == NULL || b.a[i] > 0.0f ? b.ds[i] : 0.0f;
        if (b.a != NULL)
            b.ds[i] = ds;
        if (b.add != NULL)
            b.add[i] = b.adds ? b.add[i] + ds : ds;
        sum += (double)ds;
        if (b.z != NULL)
            products += (double)ds * ((double)b.z[i] - mean);
    }
    put_sums(&s, shared, b.sums, sum, products);
}

/* A block a channel, of n places. A bias before a norm has no gradient: the norm takes away whatever it adds. */
KERNEL void __launch_bounds__(SUM_THREADS) back_settle_k(struct gpu_norm_back b, uint32_t parts, double n)
{
    SHARED(double, shared, [2][MOST_WARPS]);
    struct block_space space = {shared, 0};
    uint32_t c = blockIdx.x;
    double sum = sum_parts(&space, b.sums, 0, b.C, parts), product = sum_parts(&space, b.sums, 1, b.C, parts);
    if (threadIdx.x > 0)
        return;
    if (b.dbias != NULL)
        b.dbias[c] = b.z != NULL ? 0.0f : (float)sum;
    if (b.z == NULL)
        return;
    product *= b.inverse[c];
    b.dscale[c] = (float)product;
    b.dshift[c] = (float)sum;
    double scale = (double)b.scale[c] * b.inverse[c], slope = scale * (product / n) * b.inverse[c];
    b.slopes[c] = (float)scale;
    b.slopes[b.C + c] = (float)slope;
    b.slopes[2 * b.C + c] = (float)(scale * (sum / n) - slope * b.mean[c]);
}

/* dz where ds was. */
KERNEL void back_line_k(float *ds, const float *z, const float *slopes, uint32_t C, size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    uint32_t c = (uint32_t)i % C;
    ds[i] = ds[i] * slopes[c] - (z[i] * slopes[C + c] + slopes[2 * C + c]);
}

KERNEL void pass_back_k(float *din, const float *from, size_t n, bool adds)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        din[i] = adds ? din[i] + from[i] : from[i];
}

/* ---- launches ---- */

namespace
{

struct sum_shape shape_of(uint32_t C, uint32_t places)
{
    struct sum_shape s = {C, 1, places, PART_PLACES};
    while (s.across < C && s.across < 32)
        s.across *= 2;
    if (places > GPU_SUM_PARTS * PART_PLACES)
        s.per = (places + GPU_SUM_PARTS - 1) / GPU_SUM_PARTS;
    return s;
}

uint32_t parts_of(const struct sum_shape *s)
{
    return (s->places + s->per - 1) / s->per;
}

dim3 grid_of(const struct sum_shape *s)
{
    return dim3((s->C + s->across - 1) / s->across, parts_of(s));
}

} // namespace

void gpu_norm_sums(cudaStream_t stream, const float *z, double *sums, uint32_t C, uint32_t places)
{
    const struct sum_shape s = shape_of(C, places);
    LAUNCH(norm_sums_k, grid_of(&s), dim3(SUM_THREADS), 0, stream, z, sums, s);
}

void gpu_norm_settle(cudaStream_t stream, const gpu_norm *norm, const double *sums, uint32_t C, uint32_t places)
{
    const struct sum_shape s = shape_of(C, places);
    LAUNCH(norm_settle_k, dim3(C), dim3(SUM_THREADS), 0, stream, *norm, sums, C, parts_of(&s), (double)places);
}

void gpu_norm_running(cudaStream_t stream, const gpu_norm *norm, uint32_t C)
{
    LAUNCH(norm_running_k, gpu_blocks(C), dim3(GPU_THREADS), 0, stream, *norm, C);
}

void gpu_norm_backward(cudaStream_t stream, const gpu_norm_back *back)
{
    const struct sum_shape s = shape_of(back->C, back->places);
    LAUNCH(back_sums_k, grid_of(&s), dim3(SUM_THREADS), 0, stream, *back, s);
    LAUNCH(back_settle_k, dim3(back->C), dim3(SUM_THREADS), 0, stream, *back, parts_of(&s), (double)back->places);
    if (back->z == NULL)
        return;
    size_t n = (size_t)back->places * back->C;
    LAUNCH(back_line_k, gpu_blocks(n), dim3(GPU_THREADS), 0, stream, back->ds, back->z, back->slopes, back->C, n);
}

void gpu_pass_backward(cudaStream_t stream, float *din, const float *from, size_t n, bool adds)
{
    LAUNCH(pass_back_k, gpu_blocks(n), dim3(GPU_THREADS), 0, stream, din, from, n, adds);
}

static const gpu_kernels loaded = {GPU_KERNEL(norm_sums_k), GPU_KERNEL(norm_settle_k), GPU_KERNEL(norm_running_k),
                                   GPU_KERNEL(back_sums_k), GPU_KERNEL(back_settle_k), GPU_KERNEL(back_line_k),
                                   GPU_KERNEL(pass_back_k)};
