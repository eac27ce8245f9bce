/* trunk_backward.cu - gradients of a batch of images, from the last operation to the first, as core/trunk_backward.c:
 *
 *   ds = da [a > 0], which is also the gradient of what was added; sums -> scale, shift, bias; dz   (norms.cu)
 *   of a convolution, piece by piece of the batch:
 *       windows of the piece -> dweight parts (+)= dz^T windows, a product a part -> windows' gradient = dz weight
 *       -> din (+)= what each number's windows say                                                  (conv_back.cu)
 *   dweight = sum of the parts, in order
 *
 * A value's gradient is written by the first operation that has something to say of it, the last in order, and added
 * to by the others. */
#include "core/cuda/trunk_train_internal.h"

namespace
{

float *gradient_at(const ebm_gpu_trunk_train *t, size_t offset)
{
    return t->trained->gradient + offset;
}

/* ---- norms ---- */

void relu_and_norm(ebm_gpu_trunk_train *t, const gpu_image_op *op, uint32_t B)
{
    const ebm_image_op *o = &op->op;
    bool is_added = o->add != EBM_IMAGE_NONE && o->add > 0;
    gpu_norm_back back = {};
    back.ds = op->da;
    back.a = o->has_relu ? op->a : NULL;
    back.add = is_added ? gpu_gradient_of(t, o->add, 0) : NULL;
    back.adds = !op->is_first_add;
    back.C = o->to.channels;
    back.places = B * gpu_plane(&o->to);
    back.dbias = o->bias != EBM_NO_TENSOR ? gradient_at(t, o->bias) : NULL;
    back.sums = t->sums;
    if (o->has_norm) {
        back.z = op->z;
        back.mean = op->norm.mean;
        back.inverse = op->norm.inverse;
        back.scale = op->norm.scale;
        back.dscale = gradient_at(t, o->scale);
        back.dshift = gradient_at(t, o->shift);
        back.slopes = t->slopes;
    }
    if (o->has_relu || is_added || o->has_norm || back.dbias != NULL)
        gpu_norm_backward(t->space->compute, &back);
}

/* ---- convolutions ---- */

/* Images of a batch whose windows are there, or, of a pointwise convolution, what it reads; rows of both `ld` apart. */
struct piece {
    uint32_t first, n;
    const float *windows;
    uint32_t ld;
};

/* Parts from number `part` on, `batches` of `places` each, (+)= dz^T windows. */
bool multiply_parts(ebm_gpu_trunk_train *t, const gpu_image_op *op, const piece *of, uint32_t part, uint32_t places,
                    uint32_t batches)
{
    const uint32_t C = op->op.to.channels, ld = gpu_window_ld(&op->op);
    const size_t before = (size_t)part * op->part, place = (size_t)of->first * gpu_plane(&op->op.to) + before;
    gpu_product p = {};
    p.a = {of->windows + before * of->ld, gpu_window_count(&op->op), places, of->ld, false};
    p.b = {op->da + place * C, C, places, C, true};
    p.d = t->parts + (size_t)part * C * ld;
    p.ld_d = ld;
    p.adds = of->first > 0;
    p.batches = batches;
    if (batches > 1) { /* else they would only lower the alignment that is promised */
        p.stride_a = (size_t)places * of->ld;
        p.stride_b = (size_t)places * C;
        p.stride_d = (size_t)C * ld;
    }
    return gpu_multiply(t->space, &p);
}

/* Whole parts at once, then what is left of the piece. */
bool weight_gradient(ebm_gpu_trunk_train *t, const gpu_image_op *op, const piece *of)
{
    const uint32_t places = of->n * gpu_plane(&op->op.to), whole = places / op->part, left = places % op->part;
    return (whole == 0 || multiply_parts(t, op, of, 0, op->part, whole)) &&
           (left == 0 || multiply_parts(t, op, of, whole, left, 1));
}

/* Gradient of what the piece's images read; their windows are lost. */
bool input_gradient(ebm_gpu_trunk_train *t, const gpu_image_op *op, const piece *of)
{
    const uint32_t C = op->op.to.channels, plane = gpu_plane(&op->op.to);
    const bool is_pointwise = gpu_is_pointwise(&op->op);
    float *din = gpu_gradient_of(t, op->op.in, of->first);
    gpu_product p = {};
    p.a = {op->packed, gpu_window_count(&op->op), C, gpu_window_ld(&op->op), false};
    p.b = {op->da + (size_t)of->first * plane * C, C, of->n * plane, C, false};
    p.d = is_pointwise ? din : t->windows;
    p.ld_d = of->ld;
    p.adds = is_pointwise && !op->is_first_in;
    if (!gpu_multiply(t->space, &p))
        return false;
    if (!is_pointwise)
        gpu_windows_back(t->space->compute, &op->op, din, t->windows, of->n, !op->is_first_in);
    return true;
}

bool convolution(ebm_gpu_trunk_train *t, const gpu_image_op *op, uint32_t B)
{
    const ebm_image_op *o = &op->op;
    const uint32_t plane = gpu_plane(&o->to), most = (B < op->piece ? B : op->piece) * plane;
    const bool is_pointwise = gpu_is_pointwise(o);
    piece of = {0, 0, t->windows, is_pointwise ? o->from.channels : gpu_window_ld(o)};
    for (; of.first < B; of.first += of.n) {
        of.n = B - of.first < op->piece ? B - of.first : op->piece;
        if (is_pointwise)
            of.windows = gpu_value_of(t, o->in, of.first);
        else
            gpu_windows(t->space, o, t->windows, gpu_value_of(t, o->in, 0), (size_t)of.first * plane, of.n * plane);
        if (!weight_gradient(t, op, &of) || (op->needs_input && !input_gradient(t, op, &of)))
            return false;
    }
    gpu_weights_back(t->space->compute, o, gradient_at(t, o->weight), t->parts, (most + op->part - 1) / op->part);
    return true;
}

/* ---- the rest ---- */

bool operation(ebm_gpu_trunk_train *t, const gpu_image_op *op, uint32_t B)
{
    const ebm_image_op *o = &op->op;
    cudaStream_t stream = t->space->compute;
    if (o->kind == EBM_IMAGE_CONV)
        return convolution(t, op, B);
    if (!op->needs_input)
        return true;
    float *din = gpu_gradient_of(t, o->in, 0);
    const bool adds = !op->is_first_in;
    if (o->kind == EBM_IMAGE_MAX_POOL)
        gpu_max_pool_back(stream, o, din, op->da, gpu_value_of(t, o->in, 0), op->a, B, adds);
    else if (o->kind == EBM_IMAGE_MEAN)
        gpu_image_mean_back(stream, o, din, op->da, B, adds);
    else
        gpu_pass_backward(stream, din, op->da, B * ebm_shape_count(&o->to), adds);
    return true;
}

} // namespace

bool gpu_trunk_back(ebm_gpu_trunk_train *t, uint32_t B)
{
    const ebm_shape *last = &t->ops.back().op.to;
    gpu_to_inner(t->space, t->ops.back().da, t->dh, last, B);
    for (size_t i = t->ops.size(); i-- > 0;) {
        relu_and_norm(t, &t->ops[i], B);
        if (!operation(t, &t->ops[i], B))
            return false;
    }
    return gpu_fine(t->space, cudaGetLastError(), "the trunk");
}
