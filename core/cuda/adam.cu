/* adam.cu - what is learned, on the device: one block of numbers each for parameters, moments and gradients, laid out
 * as the CPU's, so that a checkpoint is a copy. A range of them takes a launch to sum up the chunks' gradients in their
 * order, and one to update, whatever tensors lie in it. */
#include <math.h>

#include <new>

#include "core/cuda/training_internal.h"

/* ---- kernels ---- */

/* to (n) += from (n). */
KERNEL void add_all_k(float *to, const float *from, size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        to[i] += from[i];
}

/* sum (n) = over the slots, `apart` numbers apart, in order; the slots become 0. */
KERNEL void reduce_k(float *sum, float *slots, size_t apart, uint32_t n_slots, size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float all = 0.0f;
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        all += slots[slot * apart + i];
        slots[slot * apart + i] = 0.0f;
    }
    sum[i] = all;
}

/* Parameters first .. end - 1, and what Adam makes of their moments. */
struct adam_part {
    uint64_t first, end;
    float rate, scale; /* learning rate / (1 - beta1^t); 1 / sqrt(1 - beta2^t) */
};

struct adam_step {
    struct adam_part parts[EBM_PARTS];
    float beta1, beta2, rest1, rest2, epsilon;
};

/* Arrays from parameter `first` on; what lies in no part stays. The CPU's operations in its
 * order, but that nvcc may join a product and a sum. */
KERNEL void adam_k(struct adam_step step, float *params, float *m, float *v, const float *gradient, uint64_t first,
                   size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    float rate = 0.0f, scale = 0.0f;
    bool learns = false;
    if (i >= n)
        return;
#pragma unroll
    for (int part = 0; part < EBM_PARTS; part++)
        if (first + i >= step.parts[part].first && first + i < step.parts[part].end) {
            rate = step.parts[part].rate;
            scale = step.parts[part].scale;
            learns = true;
        }
    if (!learns)
        return;
    float g = gradient[i], m_i = step.beta1 * m[i] + step.rest1 * g, v_i = step.beta2 * v[i] + step.rest2 * g * g;
    m[i] = m_i;
    v[i] = v_i;
    params[i] -= rate * m_i / (sqrtf(v_i) * scale + step.epsilon);
}

/* ---- memory ---- */

namespace
{

bool make(ebm_gpu_trained *t)
{
    float **blocks[] = {&t->params, &t->m, &t->v, &t->gradient};
    bool ok = gpu_enter(t->space) &&
              gpu_fine(t->space, cudaEventCreateWithFlags(&t->ready, cudaEventDisableTiming), "an event") &&
              gpu_device_floats(t->space, &t->memory, &t->slots, t->n_slots * gpu_slot_count(t));
    for (float **block : blocks)
        ok = ok && gpu_device_floats(t->space, &t->memory, block, t->count);
    return ok && gpu_trained_ready(t);
}

float *block_of(const ebm_gpu_trained *t, enum ebm_train_state what)
{
    float *const blocks[] = {t->params, t->m, t->v, t->gradient};
    return blocks[what];
}

bool launched(ebm_gpu_trained *t, const char *what)
{
    return gpu_fine(t->space, cudaGetLastError(), what) && gpu_trained_ready(t);
}

struct adam_part part_of(const ebm_gpu_trained *t, const struct ebm_adam *adam, int part)
{
    struct adam_part to = {};
    double steps = (double)adam->step[part];
    if (adam->step[part] == 0)
        return to;
    to.first = t->net->part[part].first;
    to.end = to.first + t->net->part[part].count;
    to.rate = (float)(adam->learning_rate / (1.0 - pow(adam->beta1, steps)));
    to.scale = (float)(1.0 / sqrt(1.0 - pow(adam->beta2, steps)));
    return to;
}

} // namespace

enum ebm_status ebm_gpu_trained_new(const struct ebm_net_desc *net, uint32_t n_slots,
                                    struct ebm_gpu_trained **ret_trained, struct ebm_error *reterr)
{
    ebm_gpu_trained *t = new (std::nothrow) ebm_gpu_trained();
    if (t == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory to train");
    t->net = net;
    t->n_slots = n_slots;
    t->count = net->n_params;
    t->learned = net->trunk.learned.count;
    enum ebm_status status = ebm_gpu_space_new(1, 1, 0, &t->space, reterr);
    bool ok = false;
    try {
        ok = status == EBM_OK && make(t);
    } catch (const std::bad_alloc &) {
        ok = gpu_fine(t->space, cudaErrorMemoryAllocation, "training");
    }
    if (ok) {
        *ret_trained = t;
        return EBM_OK;
    }
    if (status == EBM_OK)
        status = gpu_end_making(t->space, reterr);
    (void)ebm_gpu_trained_free(t);
    return status;
}

struct ebm_gpu_trained *ebm_gpu_trained_free(struct ebm_gpu_trained *t)
{
    if (t == NULL)
        return NULL;
    if (t->space != NULL) {
        (void)gpu_enter(t->space);
        (void)cudaStreamSynchronize(t->space->compute);
    }
    if (t->ready != NULL)
        (void)cudaEventDestroy(t->ready);
    gpu_memory_free(&t->kinks.memory);
    gpu_memory_free(&t->memory);
    (void)ebm_gpu_space_free(t->space);
    delete t;
    return NULL;
}

/* ---- copies, sums and steps ---- */

bool ebm_gpu_trained_put(struct ebm_gpu_trained *t, enum ebm_train_state what, const float *h_from)
{
    ebm_gpu_space *space = t->space;
    return !space->failed && gpu_enter(space) &&
           gpu_copy(space, space->compute, block_of(t, what), h_from, t->count * sizeof(float),
                    cudaMemcpyHostToDevice) &&
           gpu_fine(space, cudaStreamSynchronize(space->compute), "parameters");
}

bool ebm_gpu_trained_get(struct ebm_gpu_trained *t, enum ebm_train_state what, struct ebm_range range, float *h_to)
{
    ebm_gpu_space *space = t->space;
    return !space->failed && gpu_enter(space) &&
           gpu_copy(space, space->compute, h_to + range.first, block_of(t, what) + range.first,
                    range.count * sizeof(float), cudaMemcpyDeviceToHost) &&
           gpu_fine(space, cudaStreamSynchronize(space->compute), "parameters");
}

bool ebm_gpu_trained_reduce(struct ebm_gpu_trained *t, uint32_t n_slots, struct ebm_range range)
{
    size_t first = range.first > t->learned ? range.first : t->learned, end = range.first + range.count;
    if (first >= end)
        return !t->space->failed;
    if (t->space->failed || !gpu_enter(t->space))
        return false;
    LAUNCH(reduce_k, gpu_blocks(end - first), dim3(GPU_THREADS), 0, t->space->compute, t->gradient + first,
           t->slots + (first - t->learned), gpu_slot_count(t), n_slots, end - first);
    return launched(t, "the gradient");
}

bool ebm_gpu_trained_update(struct ebm_gpu_trained *t, const struct ebm_adam *adam, struct ebm_range range)
{
    struct adam_step step = {};
    if (range.count == 0)
        return !t->space->failed;
    if (t->space->failed || !gpu_enter(t->space))
        return false;
    for (int part = 0; part < EBM_PARTS; part++)
        step.parts[part] = part_of(t, adam, part);
    step.beta1 = (float)adam->beta1, step.rest1 = (float)(1.0 - adam->beta1);
    step.beta2 = (float)adam->beta2, step.rest2 = (float)(1.0 - adam->beta2);
    step.epsilon = (float)adam->epsilon;
    LAUNCH(adam_k, gpu_blocks(range.count), dim3(GPU_THREADS), 0, t->space->compute, step, t->params + range.first,
           t->m + range.first, t->v + range.first, t->gradient + range.first, (uint64_t)range.first, range.count);
    return launched(t, "Adam");
}

bool gpu_trained_ready(ebm_gpu_trained *t)
{
    return gpu_fine(t->space, cudaEventRecord(t->ready, t->space->compute), "an event");
}

bool gpu_trained_wait(ebm_gpu_trained *t, ebm_gpu_space *space)
{
    return gpu_fine(space, cudaStreamWaitEvent(space->compute, t->ready, 0), "an event");
}

bool gpu_trained_add(ebm_gpu_trained *t, ebm_gpu_space *space, uint32_t slot, const float *gradient)
{
    const size_t count = gpu_slot_count(t);
    LAUNCH(add_all_k, gpu_blocks(count), dim3(GPU_THREADS), 0, space->compute, t->slots + slot * count, gradient,
           count);
    return gpu_fine(space, cudaGetLastError(), "the gradient");
}

static const gpu_kernels loaded = {GPU_KERNEL(add_all_k), GPU_KERNEL(reduce_k), GPU_KERNEL(adam_k)};
