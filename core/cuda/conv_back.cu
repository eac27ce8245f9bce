/* conv_back.cu - the way back of what conv.cu computes, and weights where they are learned. A thread gathers all that
 * one number is made of, over the windows that read it: nothing is atomic, and its sum has one order.
 *
 *   windows_back_k     what a convolution read, from the gradient of its windows
 *   weights_pack_k     weights as parameters lie -> as windows lie;   weights_back_k   and back, summed over parts
 *   pool_back_k        to the first largest number of each window
 *   mean_back_k        a share to every place */
#include "core/cuda/trunk_train_internal.h"

/* ---- convolutions ---- */

/* din = or += what its copies in windows got; a thread a number of the n that are read. */
KERNEL void windows_back_k(struct ebm_image_op op, float *din, const float *dwindows, uint32_t ld, uint32_t n,
                           bool adds)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x, C = op.from.channels, c = i % C, place = i / C;
    uint32_t x = place % op.from.width + op.padding, y = place / op.from.width % op.from.height + op.padding;
    uint32_t image = place / (op.from.width * op.from.height);
    float sum = 0.0f;
    if (i >= n)
        return;
    for (uint32_t row = y % op.stride; row < op.kernel && row <= y; row += op.stride)
        for (uint32_t column = x % op.stride; column < op.kernel && column <= x; column += op.stride) {
            uint32_t to_y = (y - row) / op.stride, to_x = (x - column) / op.stride;
            size_t window = ((size_t)image * op.to.height + to_y) * op.to.width + to_x;
            if (to_y < op.to.height && to_x < op.to.width)
                sum += dwindows[window * ld + (row * op.kernel + column) * C + c];
        }
    din[i] = adds ? din[i] + sum : sum;
}

/* packed (out, ld) = weight (out, C, taps), then zeros; n numbers of packed. */
KERNEL void weights_pack_k(float *packed, const float *weight, uint32_t C, uint32_t taps, uint32_t ld, uint32_t n)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x, number = i % ld, tap = number / C;
    if (i < n)
        packed[i] = tap < taps ? weight[((size_t)(i / ld) * C + number % C) * taps + tap] : 0.0f;
}

/* dweight (out, C, taps) = the sum over parts (n_parts, out, ld), in order; n numbers of a part. */
KERNEL void weights_back_k(float *dweight, const float *parts, uint32_t n_parts, uint32_t C, uint32_t taps, uint32_t ld,
                           uint32_t n)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x, number = i % ld, tap = number / C;
    float sum = 0.0f;
    if (i >= n || tap >= taps)
        return;
    for (uint32_t part = 0; part < n_parts; part++)
        sum += parts[(size_t)part * n + i];
    dweight[((size_t)(i / ld) * C + number % C) * taps + tap] = sum;
}

/* ---- pools ---- */

/* A window of a pool: its result's place. */
struct pool_window {
    uint32_t image, y, x;
};

/* Is tap `own` of this window, channel c, the first one as large as the window's result? */
DEVICE bool is_first_largest(const struct ebm_image_op *op, const float *in, const struct pool_window *w, uint32_t own,
                             uint32_t c, float result)
{
    for (uint32_t tap = 0; tap < own; tap++) {
        uint32_t y = w->y * op->stride + tap / op->kernel - op->padding;
        uint32_t x = w->x * op->stride + tap % op->kernel - op->padding;
        size_t place = ((size_t)w->image * op->from.height + y) * op->from.width + x;
        if (y < op->from.height && x < op->from.width && in[place * op->from.channels + c] == result) /* they wrap */
            return false;
    }
    return true;
}

/* din = or +=: a thread a number of the n that are read, over the windows that read it, as windows_back_k. */
KERNEL void pool_back_k(struct ebm_image_op op, float *din, const float *dout, const float *in, const float *out,
                        uint32_t n, bool adds)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x, C = op.from.channels, c = i % C, place = i / C;
    uint32_t x = place % op.from.width + op.padding, y = place / op.from.width % op.from.height + op.padding;
    float sum = 0.0f;
    if (i >= n)
        return;
    for (uint32_t row = y % op.stride; row < op.kernel && row <= y; row += op.stride)
        for (uint32_t column = x % op.stride; column < op.kernel && column <= x; column += op.stride) {
            struct pool_window w = {place / (op.from.width * op.from.height), (y - row) / op.stride,
                                    (x - column) / op.stride};
            if (w.y >= op.to.height || w.x >= op.to.width)
                continue;
            size_t to = (((size_t)w.image * op.to.height + w.y) * op.to.width + w.x) * C + c;
            if (in[i] == out[to] && is_first_largest(&op, in, &w, row * op.kernel + column, c, out[to]))
                sum += dout[to];
        }
    din[i] = adds ? din[i] + sum : sum;
}

/* din (image, place, channel) of `plane` places. */
KERNEL void mean_back_k(float *din, const float *dout, uint32_t C, uint32_t plane, uint32_t n, bool adds)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float share = dout[i / (plane * C) * C + i % C] / (float)plane;
    din[i] = adds ? din[i] + share : share;
}

/* ---- launches ---- */

void gpu_windows_back(cudaStream_t stream, const ebm_image_op *op, float *din, const float *dwindows, uint32_t n,
                      bool adds)
{
    const uint32_t all = n * (uint32_t)ebm_shape_count(&op->from);
    LAUNCH(windows_back_k, gpu_blocks(all), dim3(GPU_THREADS), 0, stream, *op, din, dwindows, gpu_window_ld(op), all,
           adds);
}

void gpu_weights_pack(cudaStream_t stream, const ebm_image_op *op, float *packed, const float *weight)
{
    const uint32_t ld = gpu_window_ld(op), all = op->to.channels * ld;
    LAUNCH(weights_pack_k, gpu_blocks(all), dim3(GPU_THREADS), 0, stream, packed, weight, op->from.channels,
           op->kernel * op->kernel, ld, all);
}

void gpu_weights_back(cudaStream_t stream, const ebm_image_op *op, float *dweight, const float *parts, uint32_t n_parts)
{
    const uint32_t ld = gpu_window_ld(op), all = op->to.channels * ld;
    LAUNCH(weights_back_k, gpu_blocks(all), dim3(GPU_THREADS), 0, stream, dweight, parts, n_parts, op->from.channels,
           op->kernel * op->kernel, ld, all);
}

void gpu_max_pool_back(cudaStream_t stream, const ebm_image_op *op, float *din, const float *dout, const float *in,
                       const float *out, uint32_t n, bool adds)
{
    const uint32_t all = n * (uint32_t)ebm_shape_count(&op->from);
    LAUNCH(pool_back_k, gpu_blocks(all), dim3(GPU_THREADS), 0, stream, *op, din, dout, in, out, all, adds);
}

void gpu_image_mean_back(cudaStream_t stream, const ebm_image_op *op, float *din, const float *dout, uint32_t n,
                         bool adds)
{
    const uint32_t all = n * (uint32_t)ebm_shape_count(&op->from);
    LAUNCH(mean_back_k, gpu_blocks(all), dim3(GPU_THREADS), 0, stream, din, dout, op->from.channels,
           gpu_plane(&op->from), all, adds);
}

static const gpu_kernels loaded = {GPU_KERNEL(windows_back_k), GPU_KERNEL(weights_pack_k), GPU_KERNEL(weights_back_k),
                                   GPU_KERNEL(pool_back_k), GPU_KERNEL(mean_back_k)};
