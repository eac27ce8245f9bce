/* conv.cu - convolutions by windows and products, pools, means and layouts of images. conv_internal.h tells how numbers
 * lie.
 *
 *   windows_k   windows of places, out of a batch of images: a block WINDOWS places, threads along a window's numbers,
 *               four of a time where channels allow it
 *   turn_k      channels from outer to inner and back
 *   pool_k      the largest number of each window
 *   mean_k      the mean of a channel's plane
 *   pass_k      norm, what is added, relu, of what is no convolution */
#include "core/cuda/cudnn_internal.h"
#include "core/cuda/profile_internal.h"

#define WINDOWS 32u
#define MEAN_PARTS 8u /* warps of mean_k: each takes every MEAN_PARTS-th place */

namespace
{

/* An operation's geometry, as kernels read it. */
struct gpu_window {
    uint32_t channels, height, width, to_width, plane; /* of its input; of its output */
    uint32_t kernel, stride, padding;
};

gpu_window window_of(const ebm_image_op *op)
{
    return {op->from.channels,  op->from.height, op->from.width, op->to.width,
            gpu_plane(&op->to), op->kernel,      op->stride,     op->padding};
}

/* Where a window begins: its image's first number, its upper row and its left column, which wrap when negative. */
struct gpu_corner {
    const float *image;
    uint32_t row, column;
};

DEVICE struct gpu_corner corner_of(const struct gpu_window *w, const float *in, size_t place)
{
    uint32_t at = (uint32_t)(place % w->plane);
    struct gpu_corner corner;
    corner.image = in + place / w->plane * w->channels * w->height * w->width;
    corner.row = at / w->to_width * w->stride - w->padding;
    corner.column = at % w->to_width * w->stride - w->padding;
    return corner;
}

/* One number's kind, or four numbers' at once. */
DEVICE void set_zero(float *to)
{
    *to = 0.0f;
}

DEVICE void set_zero(float4 *to)
{
    *to = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

/* Rows of `ld` numbers; behind a window's own they are 0. */
template <class Numbers>
KERNEL void __launch_bounds__(GPU_THREADS)
    windows_k(struct gpu_window w, const float *in, size_t first, uint32_t count, float *windows, uint32_t ld)
{
    SHARED(struct gpu_corner, corners, [WINDOWS]);
    const uint32_t each = sizeof(Numbers) / sizeof(float), row = ld / each, before = blockIdx.x * WINDOWS;
    const uint32_t n = count - before < WINDOWS ? count - before : WINDOWS;
    if (threadIdx.x < n)
        corners[threadIdx.x] = corner_of(&w, in, first + before + threadIdx.x);
    __syncthreads(); /* before corners are read */
    Numbers *to = reinterpret_cast<Numbers *>(windows + (size_t)before * ld);
    for (uint32_t item = threadIdx.x; item < n * row; item += blockDim.x) {
        struct gpu_corner corner = corners[item / row];
        uint32_t number = item % row * each, tap = number / w.channels;
        uint32_t y = corner.row + tap / w.kernel, x = corner.column + tap % w.kernel;
        Numbers value;
        set_zero(&value);
        if (tap < w.kernel * w.kernel && y < w.height && x < w.width)
            value = *reinterpret_cast<const Numbers *>(corner.image + ((size_t)y * w.width + x) * w.channels +
                                                       number % w.channels);
        to[item] = value;
    }
}

/* to (image, a, b) of from (image, b, a). A thread a number. */
KERNEL void turn_k(float *to, const float *from, uint32_t a, uint32_t b, size_t n)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n)
        return;
    size_t image = at / ((size_t)a * b) * a * b;
    uint32_t rest = (uint32_t)(at - image);
    to[at] = from[image + (size_t)(rest % b) * a + rest / b];
}

/* A thread a number; a NaN stays. */
KERNEL void pool_k(struct gpu_window w, const float *in, float *out, size_t n)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n)
        return;
    struct gpu_corner corner = corner_of(&w, in, at / w.channels);
    const float *from = corner.image + at % w.channels;
    float most = -INFINITY;
    for (uint32_t tap = 0; tap < w.kernel * w.kernel; tap++) {
        uint32_t y = corner.row + tap / w.kernel, x = corner.column + tap % w.kernel;
        if (y >= w.height || x >= w.width)
            continue;
        float value = from[((size_t)y * w.width + x) * w.channels];
        most = value > most || isnan(value) ? value : most;
    }
    out[at] = most;
}

/* A block 32 channels of an image, a warp every MEAN_PARTS-th place; parts are summed in their order. */
KERNEL void __launch_bounds__(32 * MEAN_PARTS) mean_k(const float *in, float *out, uint32_t channels, uint32_t plane)
{
    SHARED(double, parts, [MEAN_PARTS][32]);
    const uint32_t groups = (channels + 31) / 32, lane = threadIdx.x % 32, part = threadIdx.x / 32;
    const uint32_t image = blockIdx.x / groups, channel = blockIdx.x % groups * 32 + lane;
    const float *from = in + (size_t)image * plane * channels + channel;
    double sum = 0.0;
    for (uint32_t place = part; channel < channels && place < plane; place += MEAN_PARTS)
        sum += (double)from[(size_t)place * channels];
    parts[part][lane] = sum;
    __syncthreads(); /* before parts are summed */
    if (part > 0 || channel >= channels)
        return;
    for (uint32_t i = 1; i < MEAN_PARTS; i++)
        sum += parts[i][lane];
    out[(size_t)image * channels + channel] = (float)(sum / (double)plane);
}

/* a = relu(factor z + offset + add), each where there is one. A thread a number. */
KERNEL void pass_k(float *a, const float *z, const float *add, const float *factor, const float *offset, bool has_relu,
                   uint32_t C, size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    uint32_t c = (uint32_t)i % C; /* a value has fewer than 2^32 numbers */
    float value = factor != NULL ? fmaf(factor[c], z[i], offset[c]) : z[i];
    value = add != NULL ? value + add[i] : value;
    a[i] = has_relu && value < 0.0f ? 0.0f : value; /* a NaN stays */
}

} // namespace

/* ---- convolutions ---- */

uint32_t gpu_window_places(const ebm_image_op *op, uint32_t n)
{
    size_t all = (size_t)n * gpu_plane(&op->to), most = EBM_GPU_WINDOWS / (gpu_window_ld(op) * sizeof(float));
    return (uint32_t)(gpu_is_pointwise(op) || most > all ? all : most);
}

void gpu_pack_windows(float *to, const ebm_image_op *op, const float *weight, const float *factor)
{
    const size_t ld = gpu_window_ld(op), count = gpu_window_count(op), C = op->from.channels, taps = count / C;
    for (size_t o = 0; o < op->to.channels; o++)
        for (size_t i = 0; i < ld; i++) {
            float value = i < count ? weight[o * count + i % C * taps + i / C] : 0.0f;
            to[o * ld + i] = factor != NULL ? value * factor[o] : value;
        }
}

/* Their share of the images, once, and the windows. */
static gpu_work windows_work(const ebm_image_op *op, double count)
{
    const double in = count / gpu_plane(&op->to) * (double)ebm_shape_count(&op->from);
    return {"windows_k", EBM_LAUNCH_FP32, 0.0, sizeof(float) * (in + count * gpu_window_ld(op))};
}

void gpu_windows(ebm_gpu_space *space, const ebm_image_op *op, float *windows, const float *in, size_t first,
                 uint32_t count)
{
    const dim3 blocks((count + WINDOWS - 1) / WINDOWS);
    const gpu_timed timed(space, space->compute, [&] { return windows_work(op, count); });
    if (op->from.channels % 4 == 0)
        LAUNCH(windows_k<float4>, blocks, dim3(GPU_THREADS), 0, space->compute, window_of(op), in, first, count,
               windows, gpu_window_ld(op));
    else
        LAUNCH(windows_k<float>, blocks, dim3(GPU_THREADS), 0, space->compute, window_of(op), in, first, count, windows,
               gpu_window_ld(op));
}

namespace
{

bool convolve_by_dnn(ebm_gpu_space *space, const gpu_convolution *c, uint32_t n)
{
    const char *why;
    if (space->dnn == NULL)
        return gpu_lack(space, EBM_NO_MEMORY, "cuDNN", "it gives no handle, for want of memory as a rule");
    return gpu_dnn_convolve(space, c, n, &why) || gpu_fail(space, "cuDNN", why);
}

} // namespace

bool gpu_convolve(ebm_gpu_space *space, const gpu_convolution *c, uint32_t n)
{
    if (c->by_dnn)
        return convolve_by_dnn(space, c, n);
    const ebm_image_op *op = c->op;
    const bool is_pointwise = gpu_is_pointwise(op);
    const uint32_t most = gpu_window_places(op, c->most), ld = gpu_window_ld(op);
    const size_t places = (size_t)n * gpu_plane(&op->to);
    for (size_t first = 0; first < places; first += most) {
        uint32_t count = places - first < most ? (uint32_t)(places - first) : most;
        if (!is_pointwise)
            gpu_windows(space, op, c->windows, c->in, first, count);
        gpu_product p = {};
        p.a = {c->weight, gpu_window_count(op), op->to.channels, ld, true};
        p.b = {is_pointwise ? c->in + first * op->from.channels : c->windows, gpu_window_count(op), count,
               is_pointwise ? op->from.channels : ld, false};
        p.d = c->out + first * op->to.channels;
        p.ld_d = op->to.channels;
        p.bias = c->bias;
        p.adds = c->adds;
        p.has_relu = c->has_relu;
        p.most = most;
        if (!gpu_multiply(space, &p))
            return false;
    }
    return true;
}

/* ---- the others ---- */

/* `in` and `out` numbers. */
static gpu_work image_work(const char *name, enum ebm_launch_kind kind, double flop, size_t in, size_t out)
{
    return {name, kind, flop, sizeof(float) * (double)(in + out)};
}

static void turn(ebm_gpu_space *space, float *to, const float *from, uint32_t a, uint32_t b, size_t all)
{
    const gpu_timed timed(space, space->compute, [&] { return image_work("turn_k", EBM_LAUNCH_FP32, 0.0, all, all); });
    LAUNCH(turn_k, gpu_blocks(all), dim3(GPU_THREADS), 0, space->compute, to, from, a, b, all);
}

void gpu_to_inner(ebm_gpu_space *space, float *to, const float *from, const ebm_shape *shape, uint32_t n)
{
    turn(space, to, from, gpu_plane(shape), shape->channels, n * ebm_shape_count(shape));
}

void gpu_to_outer(ebm_gpu_space *space, float *to, const float *from, const ebm_shape *shape, uint32_t n)
{
    turn(space, to, from, shape->channels, gpu_plane(shape), n * ebm_shape_count(shape));
}

void gpu_max_pool(ebm_gpu_space *space, const ebm_image_op *op, float *out, const float *in, uint32_t n)
{
    size_t all = n * ebm_shape_count(&op->to);
    const gpu_timed timed(space, space->compute, [&] {
        return image_work("pool_k", EBM_LAUNCH_FP32, (double)all * op->kernel * op->kernel,
                          n * ebm_shape_count(&op->from), all);
    });
    LAUNCH(pool_k, gpu_blocks(all), dim3(GPU_THREADS), 0, space->compute, window_of(op), in, out, all);
}

void gpu_image_mean(ebm_gpu_space *space, const ebm_image_op *op, float *out, const float *in, uint32_t n)
{
    const uint32_t channels = op->from.channels;
    const gpu_timed timed(space, space->compute, [&] {
        const size_t all = n * ebm_shape_count(&op->from);
        return image_work("mean_k", EBM_LAUNCH_FP64, (double)all, all, (size_t)n * channels);
    });
    LAUNCH(mean_k, dim3(n * ((channels + 31) / 32)), dim3(32 * MEAN_PARTS), 0, space->compute, in, out, channels,
           gpu_plane(&op->from));
}

void gpu_lines(ebm_gpu_space *space, float *a, const float *z, const float *add, const float *factor,
               const float *offset, bool has_relu, uint32_t C, size_t n)
{
    const gpu_timed timed(space, space->compute, [&] {
        return image_work("pass_k", EBM_LAUNCH_FP32, 4.0 * (double)n, add != NULL ? 2 * n : n, n);
    });
    LAUNCH(pass_k, gpu_blocks(n), dim3(GPU_THREADS), 0, space->compute, a, z, add, factor, offset, has_relu, C, n);
}

static const gpu_kernels loaded = {GPU_KERNEL(windows_k<float4>),
                                   GPU_KERNEL(windows_k<float>),
                                   GPU_KERNEL(turn_k),
                                   GPU_KERNEL(pool_k),
                                   GPU_KERNEL(mean_k),
                                   GPU_KERNEL(pass_k)};
