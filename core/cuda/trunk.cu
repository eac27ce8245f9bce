/* trunk.cu - a trunk that stands still: its weights on the device, and images on their way through it.
 *
 *   h_x -> pinned memory -> x, of two pieces in turn -> channels inner -> one graph: operation -> ... -> channels outer
 *       -> reach
 *
 * Which convolutions cuDNN does is chosen before graphs are recorded (cudnn_internal.h).
 * While the device computes one piece, the next one goes up on a stream of its own, and the host copies the one after
 * it into pinned memory; events tie the three together. No graph reads x, so that one does for both turns. Operations
 * are conv.cu's. */
#include <string.h>

#include <new>

#include "core/cuda/cudnn_internal.h"
#include "core/cuda/profile_internal.h"
#include "core/cuda/program_internal.h"

extern "C" {
#include "core/trunk_layout.h"
}

#define TURNS 2u
#define PIECE 64u /* images at most, so that a full batch goes in several: the upload of all but one costs no time */

namespace
{

struct gpu_trunk_op {
    ebm_image_op op;
    ebm_trunk_slots at;
    const float *weight, *dense; /* of CONV (conv_internal.h) */
    const float *factor, *offset;
};

} // namespace

struct ebm_gpu_trunk {
    ebm_shape in;
    uint32_t device, out, image_slot;
    std::vector<gpu_trunk_op> ops;
    std::vector<size_t> slots; /* numbers of an image in each */
    float *block;              /* device memory of all tensors */
};

/* ---- weights ---- */

namespace
{

/* Rows that are full already need not lie there twice. */
void pack_weights(gpu_tensors *all, gpu_trunk_op *op, const float *params, const float *factor)
{
    const size_t C = op->op.to.channels, ld = gpu_window_ld(&op->op), count = gpu_window_count(&op->op);
    float *to = all->add(C * ld, &op->weight);
    gpu_pack_windows(to, &op->op, params + op->op.weight, factor);
    op->dense = op->weight;
    if (ld == count)
        return;
    std::vector<float> padded(to, to + C * ld);
    to = all->add(C * count, &op->dense);
    for (size_t o = 0; o < C; o++)
        memcpy(to + o * count, padded.data() + o * ld, count * sizeof(float));
}

void pack_op(gpu_tensors *all, gpu_trunk_op *op, const float *params)
{
    const size_t C = op->op.to.channels;
    std::vector<float> factor(C), offset(C);
    ebm_trunk_fold(&op->op, params, factor.data(), offset.data());
    if (op->op.kind == EBM_IMAGE_CONV)
        pack_weights(all, op, params, factor.data());
    memcpy(all->add(C, &op->factor), factor.data(), C * sizeof(float));
    memcpy(all->add(C, &op->offset), offset.data(), C * sizeof(float));
}

enum ebm_status lay_slots(ebm_gpu_trunk *to, const ebm_trunk *trunk)
{
    std::vector<ebm_trunk_slots> slots(trunk->n_ops);
    uint32_t n = 0;
    enum ebm_status status = ebm_trunk_lay_slots(trunk, slots.data(), &to->image_slot, &n);
    if (status != EBM_OK)
        return status;
    to->slots.assign(n, 0);
    to->slots[to->image_slot] = ebm_shape_count(&trunk->in);
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        gpu_trunk_op op = {};
        op.op = trunk->ops[i];
        op.at = slots[i];
        if (op.op.kind == EBM_IMAGE_CONV && gpu_window_places(&op.op, 1) == 0)
            return EBM_TOO_LARGE;
        size_t count = ebm_shape_count(&op.op.to), *slot = &to->slots[op.at.out];
        *slot = count > *slot ? count : *slot;
        to->ops.push_back(op);
    }
    return EBM_OK;
}

enum ebm_status make_trunk(ebm_gpu_trunk *to, const ebm_trunk *trunk, const float *h_params, ebm_error *reterr)
{
    enum ebm_status status = lay_slots(to, trunk);
    if (status != EBM_OK)
        return ebm_error_set(reterr, status, "cuda", "%s",
                             status == EBM_TOO_LARGE ? "a window of a convolution takes more memory than all may"
                                                     : "no memory for a trunk");
    gpu_tensors all;
    for (gpu_trunk_op &op : to->ops)
        pack_op(&all, &op, h_params);
    cudaError_t error = all.upload(to->device, &to->block);
    for (gpu_trunk_op &op : to->ops)
        for (const float **tensor : {&op.weight, &op.dense, &op.factor, &op.offset})
            gpu_place(to->block, tensor);
    return error == cudaSuccess ? EBM_OK : gpu_refuse(reterr, "a trunk's weights cannot be put onto the device", error);
}

} // namespace

enum ebm_status gpu_trunk_new(const ebm_trunk *trunk, const float *h_params, uint32_t device, ebm_gpu_trunk **ret_trunk,
                              ebm_error *reterr)
{
    enum ebm_status status = EBM_NO_MEMORY;
    ebm_gpu_trunk *to = new (std::nothrow) ebm_gpu_trunk();
    try {
        if (to != NULL) {
            to->in = trunk->in, to->out = trunk->out, to->device = device;
            status = make_trunk(to, trunk, h_params, reterr);
        }
    } catch (const std::bad_alloc &) {
        to = gpu_trunk_free(to);
        status = EBM_NO_MEMORY;
    }
    if (to == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory for a trunk");
    if (status != EBM_OK) {
        (void)gpu_trunk_free(to);
        return status;
    }
    *ret_trunk = to;
    return EBM_OK;
}

ebm_gpu_trunk *gpu_trunk_free(ebm_gpu_trunk *trunk)
{
    if (trunk == NULL)
        return NULL;
    (void)gpu_set_device(trunk->device);
    (void)cudaFree(trunk->block);
    delete trunk;
    return NULL;
}

/* ---- images ---- */

namespace
{

/* A piece on its way up: (piece, X), channels outer. */
struct turn {
    float *host, *x;
    cudaEvent_t uploaded, taken; /* after the copy from host to x; after the last kernel that reads x */
};

} // namespace

struct gpu_images {
    ebm_gpu_space *space;
    const ebm_gpu_trunk *trunk;
    uint32_t piece; /* images at once */
    gpu_memory memory;
    float *reach, *windows; /* (piece, out) */
    std::vector<float *> slots;
    std::vector<bool> by_dnn; /* operations */
    turn turns[TURNS];
    cudaGraphExec_t graphs[GPU_POWERS];
};

namespace
{

gpu_convolution convolution_of(const gpu_images *images, size_t i)
{
    const gpu_trunk_op *op = &images->trunk->ops[i];
    gpu_convolution c = {};
    c.op = &op->op;
    c.weight = op->weight;
    c.dense = op->dense;
    c.bias = op->offset;
    c.in = images->slots[op->at.in];
    c.out = images->slots[op->at.out];
    c.windows = images->windows;
    c.most = images->piece;
    c.adds = op->op.add != EBM_IMAGE_NONE;
    c.has_relu = op->op.has_relu;
    return c;
}

bool enqueue_op(gpu_images *images, size_t i, uint32_t n)
{
    ebm_gpu_space *space = images->space;
    const gpu_trunk_op *op = &images->trunk->ops[i];
    float *out = images->slots[op->at.out];
    const float *in = images->slots[op->at.in];
    const size_t bytes = n * ebm_shape_count(&op->op.to) * sizeof(float);
    if (op->at.add != op->at.out &&
        !gpu_copy(space, space->compute, out, images->slots[op->at.add], bytes, cudaMemcpyDeviceToDevice))
        return false;
    switch (op->op.kind) {
    case EBM_IMAGE_CONV: {
        gpu_convolution c = convolution_of(images, i);
        c.by_dnn = images->by_dnn[i];
        return gpu_convolve(space, &c, n);
    }
    case EBM_IMAGE_MAX_POOL:
        gpu_max_pool(space, &op->op, out, in, n);
        break;
    case EBM_IMAGE_MEAN:
        gpu_image_mean(space, &op->op, out, in, n);
        break;
    case EBM_IMAGE_PASS:
        gpu_lines(space, out, in, op->op.add != EBM_IMAGE_NONE ? out : NULL, op->factor, op->offset, op->op.has_relu,
                  op->op.to.channels, n * ebm_shape_count(&op->op.to));
        break;
    }
    return gpu_fine(space, cudaGetLastError(), "a trunk");
}

/* The n images in their slot, channels inner, into `reach`. */
bool enqueue_images(gpu_images *images, uint32_t n)
{
    const ebm_gpu_trunk *trunk = images->trunk;
    ebm_gpu_space *space = images->space;
    const gpu_trunk_op *last = &trunk->ops.back();
    for (size_t i = 0; i < trunk->ops.size(); i++)
        if (!enqueue_op(images, i, n))
            return false;
    gpu_to_outer(space, images->reach, images->slots[last->at.out], &last->op.to, n);
    return gpu_fine(space, cudaGetLastError(), "a trunk");
}

/* Images whose values fit, a power of two. */
uint32_t piece_of(const ebm_gpu_trunk *trunk, uint32_t max_rows)
{
    size_t each = TURNS * ebm_shape_count(&trunk->in) + trunk->out;
    uint32_t piece = 1;
    for (size_t slot : trunk->slots)
        each += slot;
    while (piece < max_rows && piece < PIECE && 2 * piece * each * sizeof(float) <= EBM_GPU_IMAGES)
        piece *= 2;
    return piece;
}

size_t windows_of(const ebm_gpu_trunk *trunk, uint32_t piece)
{
    size_t most = 0;
    for (const gpu_trunk_op &op : trunk->ops)
        if (op.op.kind == EBM_IMAGE_CONV && !gpu_is_pointwise(&op.op)) {
            size_t count = (size_t)gpu_window_places(&op.op, piece) * gpu_window_ld(&op.op);
            most = count > most ? count : most;
        }
    return most;
}

bool make_memory(gpu_images *images)
{
    ebm_gpu_space *space = images->space;
    const ebm_gpu_trunk *trunk = images->trunk;
    const size_t n = images->piece, X = ebm_shape_count(&trunk->in);
    bool ok = gpu_device_floats(space, &images->memory, &images->reach, n * trunk->out) &&
              gpu_device_floats(space, &images->memory, &images->windows, windows_of(trunk, images->piece));
    images->slots.assign(trunk->slots.size(), NULL);
    for (size_t i = 0; ok && i < images->slots.size(); i++)
        ok = gpu_device_floats(space, &images->memory, &images->slots[i], n * trunk->slots[i]);
    for (turn &t : images->turns)
        ok = ok && gpu_pinned_floats(space, &images->memory, &t.host, n * X) &&
             gpu_device_floats(space, &images->memory, &t.x, n * X) &&
             gpu_fine(space, cudaEventCreateWithFlags(&t.uploaded, cudaEventDisableTiming), "an event") &&
             gpu_fine(space, cudaEventCreateWithFlags(&t.taken, cudaEventDisableTiming), "an event");
    return ok;
}

bool choose(gpu_images *images)
{
    const size_t n = images->trunk->ops.size();
    images->by_dnn.assign(n, false);
    for (size_t i = 0; i < n && !images->space->failed; i++) {
        const gpu_convolution c = convolution_of(images, i);
        images->by_dnn[i] = c.op->kind == EBM_IMAGE_CONV && gpu_dnn_wins(images->space, &c);
    }
    return !images->space->failed;
}

} // namespace

bool gpu_images_new(ebm_gpu_space *space, const ebm_gpu_trunk *trunk, uint32_t max_rows, gpu_images **ret_images)
{
    gpu_images *images = *ret_images = new gpu_images();
    images->space = space;
    images->trunk = trunk;
    images->piece = piece_of(trunk, max_rows);
    bool ok = make_memory(images) && choose(images);
    for (uint32_t n = 1; ok && n <= images->piece; n *= 2) /* products are loaded as in engine.cu */
        ok = enqueue_images(images, n);
    ok = ok && gpu_fine(space, cudaStreamSynchronize(space->compute), "the first run");
    for (uint32_t i = 0; ok && 1u << i <= images->piece; i++)
        ok = gpu_record(space, &images->graphs[i], [&] { return enqueue_images(images, 1u << i); });
    return ok;
}

gpu_images *gpu_images_free(gpu_images *images)
{
    if (images == NULL)
        return NULL;
    gpu_graphs_free(images->graphs);
    for (const turn &t : images->turns)
        for (cudaEvent_t event : {t.uploaded, t.taken})
            if (event != NULL)
                (void)cudaEventDestroy(event);
    gpu_memory_free(&images->memory);
    delete images;
    return NULL;
}

namespace
{

/* Waits until the piece before last has left the turn's pinned memory; the upload waits until it has left x. */
bool upload_piece(ebm_gpu_space *space, const turn *t, const float *h_x, size_t count)
{
    if (!gpu_fine(space, cudaEventSynchronize(t->uploaded), "images"))
        return false;
    memcpy(t->host, h_x, count * sizeof(float));
    return gpu_fine(space, cudaStreamWaitEvent(space->up, t->taken, 0), "an event") &&
           gpu_copy(space, space->up, t->x, t->host, count * sizeof(float), cudaMemcpyHostToDevice) &&
           gpu_fine(space, cudaEventRecord(t->uploaded, space->up), "an event");
}

/* Of x, n images into their slot. */
bool take_piece(gpu_images *images, const turn *t, uint32_t n)
{
    ebm_gpu_space *space = images->space;
    const ebm_gpu_trunk *trunk = images->trunk;
    if (!gpu_fine(space, cudaStreamWaitEvent(space->compute, t->uploaded, 0), "an event"))
        return false;
    gpu_to_inner(space, images->slots[trunk->image_slot], t->x, &trunk->in, n);
    return gpu_fine(space, cudaGetLastError(), "images") &&
           gpu_fine(space, cudaEventRecord(t->taken, space->compute), "an event");
}

} // namespace

bool gpu_images_enqueue(gpu_images *images, const float *h_x, uint32_t B, float *reach)
{
    ebm_gpu_space *space = images->space;
    const size_t X = ebm_shape_count(&images->trunk->in), out = images->trunk->out;
    bool ok = true;
    for (uint32_t first = 0, n, i = 0; ok && first < B; first += n, i++) {
        const turn *t = &images->turns[i % TURNS];
        n = B - first < images->piece ? B - first : images->piece;
        ok = upload_piece(space, t, h_x + first * X, n * X) && take_piece(images, t, n) &&
             gpu_launch_graph(space, images->graphs[gpu_power_of(n)], "a trunk",
                              [&] { return enqueue_images(images, gpu_next_power(n)); }) &&
             gpu_copy(space, space->compute, reach + first * out, images->reach, n * out * sizeof(float),
                      cudaMemcpyDeviceToDevice);
    }
    return ok;
}
