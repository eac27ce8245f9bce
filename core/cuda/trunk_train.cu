/* trunk_train.cu - memory for a batch of images in training, and its way forward.
 *
 *   x -> channels inner -> operation by operation:
 *       convolution -> z, pool, mean                                                                       (conv.cu)
 *       norm: sums of z in parts -> mean, sigma, running statistics -> a = relu(factor z + offset + add)  (norms.cu)
 *   -> channels outer -> h
 *
 * Kept for each operation: z, where there is a norm, and a; windows are copied again on the way back. Gradients lie in
 * a few slots in turn (trunk_layout.h). Images go up as they lie in host memory. h stays: chunks on other streams read
 * it, once what makes it has run, and leave the gradient in it. A batch's size is enqueued as it comes the first time,
 * and recorded as a graph the second time: small nets are launches and little else. */
#include <new>

#include "core/cuda/trunk_train_internal.h"

extern "C" {
#include "core/trunk_layout.h"
}

#define MOST_NUMBERS ((size_t)1 << 31) /* of a value of a batch: kernels count in words */
#define GRAPHS 32u

namespace
{

/* ---- memory ---- */

bool make(ebm_gpu_trunk_train *t, float **ret, size_t count)
{
    return gpu_device_floats(t->space, &t->memory, ret, count);
}

bool make_doubles(ebm_gpu_trunk_train *t, double **ret, size_t count)
{
    float *floats = NULL;
    bool ok = make(t, &floats, 2 * count);
    *ret = reinterpret_cast<double *>(floats);
    return ok;
}

float *param(const ebm_gpu_trunk_train *t, size_t offset)
{
    return t->trained->params + offset;
}

bool make_norm(ebm_gpu_trunk_train *t, gpu_norm *norm, const ebm_image_op *op)
{
    const uint32_t C = op->to.channels;
    norm->scale = param(t, op->scale);
    norm->shift = param(t, op->shift);
    norm->running_mean = param(t, op->mean);
    norm->running_variance = param(t, op->variance);
    return make_doubles(t, &norm->mean, C) && make_doubles(t, &norm->inverse, C) && make(t, &norm->factor, C) &&
           make(t, &norm->offset, C);
}

bool make_op(ebm_gpu_trunk_train *t, gpu_image_op *op)
{
    const size_t count = (size_t)t->max_rows * ebm_shape_count(&op->op.to);
    const bool is_conv = op->op.kind == EBM_IMAGE_CONV;
    bool ok = make(t, &op->a, count);
    op->z = op->a;
    if (ok && op->op.has_norm && is_conv)
        ok = make(t, &op->z, count);
    else if (op->op.has_norm)
        op->z = gpu_value_of(t, op->op.in, 0);
    if (ok && is_conv)
        ok = make(t, &op->packed, (size_t)op->op.to.channels * gpu_window_ld(&op->op));
    return ok && (!op->op.has_norm || make_norm(t, &op->norm, &op->op));
}

/* Pieces of the way back, whose windows take EBM_GPU_WINDOWS_BACK bytes or an image's; and parts of the weights'
 * gradient: so many that a device has enough to do. */
void cut(const ebm_gpu_trunk_train *t, gpu_image_op *op)
{
    const uint32_t ld = gpu_window_ld(&op->op), plane = gpu_plane(&op->op.to);
    const uint32_t rows = (op->op.to.channels + EBM_GPU_WEIGHT_TILE - 1) / EBM_GPU_WEIGHT_TILE;
    const uint32_t tiles = rows * ((ld + EBM_GPU_WEIGHT_TILE - 1) / EBM_GPU_WEIGHT_TILE),
                   wanted = (EBM_GPU_WEIGHT_TILES + tiles - 1) / tiles;
    size_t fit = gpu_is_pointwise(&op->op) ? t->max_rows : EBM_GPU_WINDOWS_BACK / ((size_t)plane * ld * sizeof(float));
    op->piece = fit < 1 ? 1 : fit < t->max_rows ? (uint32_t)fit : t->max_rows;
    op->part = (op->piece * plane + wanted - 1) / wanted;
    op->n_parts = (op->piece * plane + op->part - 1) / op->part;
}

/* Numbers that all operations share. */
bool make_shared(ebm_gpu_trunk_train *t)
{
    size_t windows = 0, parts = 0, most_channels = 0;
    for (const gpu_image_op &op : t->ops) {
        most_channels = op.op.to.channels > most_channels ? op.op.to.channels : most_channels;
        if (op.op.kind != EBM_IMAGE_CONV)
            continue;
        size_t ld = gpu_window_ld(&op.op), back = (size_t)op.piece * gpu_plane(&op.op.to);
        size_t forward = gpu_window_places(&op.op, t->max_rows), weights = op.n_parts * op.op.to.channels * ld;
        size_t places = gpu_is_pointwise(&op.op) ? 0 : back > forward ? back : forward;
        windows = places * ld > windows ? places * ld : windows;
        parts = weights > parts ? weights : parts;
    }
    return make(t, &t->windows, windows) && make(t, &t->parts, parts) && make(t, &t->slopes, 3 * most_channels) &&
           make_doubles(t, &t->sums, 2 * GPU_SUM_PARTS * most_channels);
}

/* Memory of gradients that are never there at once is the same. */
bool make_gradients(ebm_gpu_trunk_train *t)
{
    std::vector<uint32_t> of(t->ops.size() + 1);
    std::vector<size_t> counts(t->ops.size() + 1);
    uint32_t n;
    if (ebm_trunk_lay_gradients(t->trunk, of.data(), counts.data(), &n) != EBM_OK)
        return gpu_fine(t->space, cudaErrorMemoryAllocation, "the trunk");
    std::vector<float *> slots(n, NULL);
    for (uint32_t i = 0; i < n; i++)
        if (!make(t, &slots[i], t->max_rows * counts[i]))
            return false;
    for (size_t i = 0; i < t->ops.size(); i++)
        t->ops[i].da = slots[of[i + 1]];
    return true;
}

bool make_all(ebm_gpu_trunk_train *t)
{
    const size_t X = ebm_shape_count(&t->trunk->in), rows = t->max_rows;
    bool ok = make(t, &t->x, rows * X) && make(t, &t->images, rows * X) && make(t, &t->h, rows * t->trunk->out) &&
              make(t, &t->dh, rows * t->trunk->out);
    for (gpu_image_op &op : t->ops)
        ok = ok && make_op(t, &op);
    return ok && make_gradients(t) && make_shared(t);
}

/* What kernels can count, and windows of which one fits. */
enum ebm_status check(const ebm_trunk *trunk, uint32_t max_rows, struct ebm_error *reterr)
{
    size_t largest = ebm_shape_count(&trunk->in);
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        size_t count = ebm_shape_count(&trunk->ops[i].to);
        largest = count > largest ? count : largest;
        if (trunk->ops[i].kind == EBM_IMAGE_CONV && gpu_window_places(&trunk->ops[i], 1) == 0)
            return ebm_error_set(reterr, EBM_TOO_LARGE, "feature_net",
                                 "a window of a convolution takes more than %u MiB", EBM_GPU_WINDOWS >> 20);
    }
    if (max_rows * largest >= MOST_NUMBERS)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "feature_net",
                             "%u images at once have a value of %zu numbers, the device's limit is %zu", max_rows,
                             max_rows * largest, MOST_NUMBERS - 1);
    return EBM_OK;
}

/* ---- forward ---- */

bool convolve(ebm_gpu_trunk_train *t, const gpu_image_op *op, uint32_t B)
{
    const ebm_image_op *o = &op->op;
    gpu_convolution c = {};
    c.op = o;
    c.weight = op->packed;
    c.bias = o->bias != EBM_NO_TENSOR ? param(t, o->bias) : NULL;
    c.in = gpu_value_of(t, o->in, 0);
    c.out = op->z;
    c.windows = t->windows;
    c.most = B;
    gpu_weights_pack(t->space->compute, o, op->packed, param(t, o->weight));
    return gpu_convolve(t->space, &c, B);
}

/* Before its norm. A copy is left to what follows. */
bool compute(ebm_gpu_trunk_train *t, const gpu_image_op *op, uint32_t B)
{
    const ebm_image_op *o = &op->op;
    const float *in = gpu_value_of(t, o->in, 0);
    switch (o->kind) {
    case EBM_IMAGE_CONV:
        return convolve(t, op, B);
    case EBM_IMAGE_MAX_POOL:
        gpu_max_pool(t->space, o, op->a, in, B);
        break;
    case EBM_IMAGE_MEAN:
        gpu_image_mean(t->space, o, op->a, in, B);
        break;
    case EBM_IMAGE_PASS:
        break;
    }
    return true;
}

void finish(ebm_gpu_trunk_train *t, const gpu_image_op *op, bool by_batch, uint32_t B)
{
    const ebm_image_op *o = &op->op;
    const uint32_t C = o->to.channels, places = B * gpu_plane(&o->to);
    const float *add = o->add != EBM_IMAGE_NONE ? gpu_value_of(t, o->add, 0) : NULL;
    const float *z = o->kind == EBM_IMAGE_PASS ? gpu_value_of(t, o->in, 0) : op->z;
    cudaStream_t stream = t->space->compute;
    if (o->has_norm && !by_batch) {
        gpu_norm_running(stream, &op->norm, C);
    } else if (o->has_norm) {
        gpu_norm_sums(stream, z, t->sums, C, places);
        gpu_norm_settle(stream, &op->norm, t->sums, C, places);
    }
    if (z != op->a || o->has_relu || add != NULL)
        gpu_lines(t->space, op->a, z, add, op->norm.factor, op->norm.offset, o->has_relu, C, (size_t)places * C);
}

bool enqueue_forward(ebm_gpu_trunk_train *t, bool by_batch, uint32_t B)
{
    const ebm_shape *last = &t->ops.back().op.to;
    gpu_to_inner(t->space, t->images, t->x, &t->trunk->in, B);
    for (const gpu_image_op &op : t->ops) {
        if (!compute(t, &op, B))
            return false;
        finish(t, &op, by_batch, B);
    }
    gpu_to_outer(t->space, t->h, gpu_value_of(t, t->trunk->n_ops, 0), last, B);
    return gpu_fine(t->space, cudaGetLastError(), "the trunk");
}

/* ---- a batch ---- */

bool enqueue(ebm_gpu_trunk_train *t, gpu_trunk_way way, uint32_t B)
{
    return way == GPU_TRUNK_BACK ? gpu_trunk_back(t, B) : enqueue_forward(t, way == GPU_TRUNK_FORWARD, B);
}

bool run(ebm_gpu_trunk_train *t, gpu_trunk_way way, uint32_t B)
{
    try {
        return gpu_run_shape(t->space, &t->graphs, GRAPHS, trunk_shape{B, uint32_t(way)}, "the trunk",
                             [&] { return enqueue(t, way, B); });
    } catch (const std::bad_alloc &) {
        return gpu_fine(t->space, cudaErrorMemoryAllocation, "the trunk");
    }
}

bool put_images(ebm_gpu_trunk_train *t, const float *h_x, uint32_t B)
{
    const size_t bytes = B * ebm_shape_count(&t->trunk->in) * sizeof(float);
    if (B < 1 || B > t->max_rows)
        return gpu_fail(t->space, "the trunk", "more images than it is prepared for");
    return !t->space->failed && gpu_enter(t->space) &&
           gpu_copy(t->space, t->space->compute, t->x, h_x, bytes, cudaMemcpyHostToDevice);
}

/* n rows of h or dh, to host memory or from it. */
bool copy_rows(ebm_gpu_trunk_train *t, void *to, const void *from, uint32_t n, cudaMemcpyKind kind)
{
    return !t->space->failed && gpu_enter(t->space) &&
           gpu_copy(t->space, t->space->compute, to, from, n * t->trunk->out * sizeof(float), kind) &&
           gpu_sleep(t->space, "the trunk");
}

} // namespace

enum ebm_status ebm_gpu_trunk_train_new(struct ebm_gpu_trained *trained, uint32_t max_rows,
                                        struct ebm_gpu_trunk_train **ret_train, struct ebm_error *reterr)
{
    const ebm_trunk *trunk = &trained->net->trunk;
    if (trained->space->failed)
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s", trained->space->failure);
    enum ebm_status status = check(trunk, max_rows, reterr);
    if (status != EBM_OK)
        return status;
    ebm_gpu_trunk_train *t = new (std::nothrow) ebm_gpu_trunk_train();
    if (t == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory to train a trunk");
    t->trained = trained;
    t->space = trained->space;
    t->trunk = trunk;
    t->max_rows = max_rows;
    bool ok;
    try {
        t->ops.resize(trunk->n_ops);
        for (uint32_t i = 0; i < trunk->n_ops; i++) {
            t->ops[i].op = trunk->ops[i];
            t->ops[i].needs_input = trunk->ops[i].in > 0;
            ebm_trunk_first_words(trunk, i, &t->ops[i].is_first_in, &t->ops[i].is_first_add);
            if (trunk->ops[i].kind == EBM_IMAGE_CONV)
                cut(t, &t->ops[i]);
        }
        ok = gpu_enter(t->space) && make_all(t);
    } catch (const std::bad_alloc &) {
        ok = gpu_fine(t->space, cudaErrorMemoryAllocation, "the trunk");
    }
    if (ok) {
        trained->h = t->h, trained->dh = t->dh;
        *ret_train = t;
        return EBM_OK;
    }
    status = gpu_end_making(t->space, reterr);
    if (status == EBM_NO_MEMORY)
        status = ebm_error_set(reterr, status, "feature_net",
                               "the device has no memory to train %u images at once: %zu MiB were not enough", max_rows,
                               t->memory.bytes >> 20);
    (void)ebm_gpu_trunk_train_free(t);
    return status;
}

struct ebm_gpu_trunk_train *ebm_gpu_trunk_train_free(struct ebm_gpu_trunk_train *t)
{
    if (t == NULL)
        return NULL;
    gpu_work_free(t->space, t->graphs, &t->memory);
    delete t;
    return NULL;
}

uint32_t ebm_gpu_trunk_train_rows(const struct ebm_gpu_trunk_train *t)
{
    return t->max_rows;
}

bool ebm_gpu_trunk_train_forward(struct ebm_gpu_trunk_train *t, const float *h_x, uint32_t B)
{
    ebm_gpu_space *space = t->space;
    t->B = B;
    return put_images(t, h_x, B) && gpu_fine(space, cudaEventRecord(space->idle, space->compute), "images") &&
           run(t, GPU_TRUNK_FORWARD, B) && gpu_trained_ready(t->trained) &&
           gpu_fine(space, cudaEventSynchronize(space->idle), "images");
}

bool ebm_gpu_trunk_train_run(struct ebm_gpu_trunk_train *t, const float *h_x, uint32_t B, float *h_out)
{
    t->B = 0;
    return put_images(t, h_x, B) && run(t, GPU_TRUNK_RUN, B) && copy_rows(t, h_out, t->h, B, cudaMemcpyDeviceToHost);
}

bool ebm_gpu_trunk_train_backward(struct ebm_gpu_trunk_train *t)
{
    if (t->B == 0)
        return gpu_fail(t->space, "the trunk", "no batch went forward");
    return !t->space->failed && gpu_enter(t->space) && run(t, GPU_TRUNK_BACK, t->B) && gpu_trained_ready(t->trained);
}

bool ebm_gpu_trunk_train_get(struct ebm_gpu_trunk_train *t, uint32_t first, uint32_t n, float *h_to)
{
    return copy_rows(t, h_to, t->h + (size_t)first * t->trunk->out, n, cudaMemcpyDeviceToHost);
}

bool ebm_gpu_trunk_train_put(struct ebm_gpu_trunk_train *t, uint32_t first, uint32_t n, const float *h_from)
{
    return copy_rows(t, t->dh + (size_t)first * t->trunk->out, h_from, n, cudaMemcpyHostToDevice);
}
