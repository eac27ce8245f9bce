/* cudnn.cu - cuDNN, opened when it is needed, and the comparison that it has to win.
 *
 * What was chosen for a shape stays in a table, since times differ from one comparison to the next. */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mutex>

#include "core/cuda/cudnn_api.h"
#include "core/cuda/cudnn_internal.h"
#include "core/cuda/profile_internal.h"

#define RUNS 3u /* that are timed together */

namespace
{

/* ---- the library ---- */

#define X(result, name, arguments) result(*name) arguments;
struct gpu_dnn {
    GPU_DNN_FUNCTIONS(X)
};
#undef X

bool is_off; /* set before there is a space */

/* NULL: there is none. Stays open until the process ends. */
const gpu_dnn *library(void)
{
    static gpu_dnn dnn;
    static std::once_flag once;
    static bool is_there = false;
    std::call_once(once, [] {
        void *file = dlopen(CUDNN_FILE, RTLD_NOW | RTLD_LOCAL);
        bool ok = file != NULL;
#define X(result, name, arguments)                                                                                     \
    dnn.name = ok ? reinterpret_cast<result(*) arguments>(dlsym(file, #name)) : NULL;                                  \
    ok = ok && dnn.name != NULL;
        GPU_DNN_FUNCTIONS(X)
#undef X
        is_there = ok && dnn.cudnnGetVersion() / 10000 == GPU_DNN_VERSION;
    });
    return is_there ? &dnn : NULL;
}

gpu_dnn_handle handle_of(const ebm_gpu_space *space)
{
    return static_cast<gpu_dnn_handle>(space->dnn);
}

/* ---- a convolution ---- */

struct descriptors {
    gpu_dnn_tensor in, out, bias;
    gpu_dnn_filter weight;
    gpu_dnn_convolution convolution;
    gpu_dnn_activation activation;
};

int set_tensor(const gpu_dnn *dnn, gpu_dnn_tensor *ret, const ebm_shape *shape, uint32_t n)
{
    int status = dnn->cudnnCreateTensorDescriptor(ret);
    return status != GPU_DNN_SUCCESS
               ? status
               : dnn->cudnnSetTensor4dDescriptor(*ret, GPU_DNN_NHWC, GPU_DNN_FLOAT, (int)n, (int)shape->channels,
                                                 (int)shape->height, (int)shape->width);
}

int set_operation(const gpu_dnn *dnn, descriptors *d, const gpu_convolution *c)
{
    const ebm_image_op *op = c->op;
    const int k = (int)op->kernel, stride = (int)op->stride, padding = (int)op->padding;
    int status = dnn->cudnnCreateFilterDescriptor(&d->weight);
    if (status == GPU_DNN_SUCCESS)
        status = dnn->cudnnSetFilter4dDescriptor(d->weight, GPU_DNN_FLOAT, GPU_DNN_NHWC, (int)op->to.channels,
                                                 (int)op->from.channels, k, k);
    if (status == GPU_DNN_SUCCESS)
        status = dnn->cudnnCreateConvolutionDescriptor(&d->convolution);
    if (status == GPU_DNN_SUCCESS)
        status = dnn->cudnnSetConvolution2dDescriptor(d->convolution, padding, padding, stride, stride, 1, 1,
                                                      GPU_DNN_CROSS_CORRELATION, GPU_DNN_FLOAT);
    if (status == GPU_DNN_SUCCESS)
        status = dnn->cudnnSetConvolutionMathType(
            d->convolution, gpu_precision() == EBM_GPU_FP32 ? GPU_DNN_FMA_MATH : GPU_DNN_DEFAULT_MATH);
    if (status == GPU_DNN_SUCCESS)
        status = dnn->cudnnCreateActivationDescriptor(&d->activation);
    return status != GPU_DNN_SUCCESS
               ? status
               : dnn->cudnnSetActivationDescriptor(d->activation, c->has_relu ? GPU_DNN_RELU : GPU_DNN_IDENTITY,
                                                   GPU_DNN_NOT_PROPAGATE_NAN, 0.0);
}

int set_all(const gpu_dnn *dnn, descriptors *d, const gpu_convolution *c, uint32_t n)
{
    const ebm_shape bias = {c->op->to.channels, 1, 1};
    int status = set_tensor(dnn, &d->in, &c->op->from, n);
    if (status == GPU_DNN_SUCCESS)
        status = set_tensor(dnn, &d->out, &c->op->to, n);
    if (status == GPU_DNN_SUCCESS)
        status = set_tensor(dnn, &d->bias, &bias, 1);
    return status == GPU_DNN_SUCCESS ? set_operation(dnn, d, c) : status;
}

void drop(const gpu_dnn *dnn, descriptors *d)
{
    for (gpu_dnn_tensor tensor : {d->in, d->out, d->bias})
        if (tensor != NULL)
            (void)dnn->cudnnDestroyTensorDescriptor(tensor);
    if (d->weight != NULL)
        (void)dnn->cudnnDestroyFilterDescriptor(d->weight);
    if (d->convolution != NULL)
        (void)dnn->cudnnDestroyConvolutionDescriptor(d->convolution);
    if (d->activation != NULL)
        (void)dnn->cudnnDestroyActivationDescriptor(d->activation);
}

/* A convolution's numbers once: no windows. With bf16 it multiplies in TF32. */
gpu_work work_of(const gpu_convolution *c, uint32_t n)
{
    const double places = (double)n * gpu_plane(&c->op->to), C = c->op->to.channels, depth = gpu_window_count(c->op);
    const double in = (double)n * (double)ebm_shape_count(&c->op->from), weights = C * depth;
    return {"cuDNN",
            gpu_precision() == EBM_GPU_FP32 ? EBM_LAUNCH_FP32 : EBM_LAUNCH_TF32,
            2.0 * places * weights,
            sizeof(float) * (in + weights + C + (c->adds ? 2.0 : 1.0) * places * C),
            {c->op->to.channels, n * gpu_plane(&c->op->to), gpu_window_count(c->op)}};
}

int run(const gpu_dnn *dnn, ebm_gpu_space *space, const descriptors *d, const gpu_convolution *c, uint32_t n)
{
    const float one = 1.0f, before = c->adds ? 1.0f : 0.0f;
    size_t bytes = 0;
    int status = dnn->cudnnGetConvolutionForwardWorkspaceSize(handle_of(space), d->in, d->weight, d->convolution,
                                                              d->out, GPU_DNN_PRECOMP_GEMM, &bytes);
    if (status == GPU_DNN_SUCCESS && bytes > GPU_WORKSPACE)
        status = GPU_DNN_NOT_SUPPORTED;
    if (status != GPU_DNN_SUCCESS)
        return status;
    const gpu_timed timed(space, space->compute, [&] { return work_of(c, n); });
    return dnn->cudnnConvolutionBiasActivationForward(
        handle_of(space), &one, d->in, c->in, d->weight, c->dense, d->convolution, GPU_DNN_PRECOMP_GEMM,
        space->workspace, bytes, &before, d->out, c->out, d->bias, c->bias, d->activation, d->out, c->out);
}

/* Is it there? Makes the space's handle, once. */
bool is_there(ebm_gpu_space *space)
{
    const gpu_dnn *dnn = space->has_asked_dnn || is_off ? NULL : library();
    space->has_asked_dnn = true;
    gpu_dnn_handle handle = NULL;
    if (dnn == NULL || dnn->cudnnCreate(&handle) != GPU_DNN_SUCCESS)
        return space->dnn != NULL;
    if (dnn->cudnnSetStream(handle, space->compute) == GPU_DNN_SUCCESS)
        space->dnn = handle;
    else
        (void)dnn->cudnnDestroy(handle);
    return space->dnn != NULL;
}

} // namespace

enum ebm_status gpu_dnn_open(ebm_error *reterr)
{
    const char *word = getenv("EBM_CUDNN");
    is_off = word != NULL && strcmp(word, "off") == 0;
    if (word == NULL || *word == '\0' || is_off || strcmp(word, "auto") == 0)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "EBM_CUDNN", "expected auto or off, got '%.40s'", word);
}

void gpu_dnn_free(ebm_gpu_space *space)
{
    if (space->dnn != NULL)
        (void)library()->cudnnDestroy(handle_of(space));
    space->dnn = NULL;
}

bool gpu_dnn_convolve(ebm_gpu_space *space, const gpu_convolution *c, uint32_t n, const char **ret_why)
{
    const gpu_dnn *dnn = library();
    descriptors d = {};
    int status = set_all(dnn, &d, c, n);
    if (status == GPU_DNN_SUCCESS)
        status = run(dnn, space, &d, c, n);
    drop(dnn, &d);
    *ret_why = dnn->cudnnGetErrorString(status);
    return status == GPU_DNN_SUCCESS;
}

/* ---- the comparison ---- */

namespace
{

/* One convolution, both ways of it, on images that are all the same. */
struct trial {
    ebm_gpu_space *space;
    const gpu_convolution *c;
    std::vector<float> in, before;  /* an image; what its output held */
    std::vector<float> own, by_dnn; /* its output, of one of c->most images */
};

/* Numbers of [-1, 1) without order. */
void fill(std::vector<float> *numbers, size_t n)
{
    numbers->resize(n);
    for (size_t i = 0; i < n; i++)
        (*numbers)[i] = (float)((uint32_t)(i + 1) * 2654435761u) * 0x1p-31f - 1.0f;
}

/* n times the image: one goes up, and doubles there. */
bool put(const trial *t, const float *to, const std::vector<float> &image, uint32_t n)
{
    const size_t each = image.size() * sizeof(float);
    float *at = const_cast<float *>(to);
    bool ok = gpu_copy(t->space, t->space->compute, at, image.data(), each, cudaMemcpyHostToDevice);
    for (uint32_t have = 1, more; ok && have < n; have += more) {
        more = n - have < have ? n - have : have;
        ok = gpu_copy(t->space, t->space->compute, at + have * image.size(), at, more * each, cudaMemcpyDeviceToDevice);
    }
    return ok && gpu_fine(t->space, cudaStreamSynchronize(t->space->compute), "a convolution");
}

bool enqueue(const trial *t, bool by_dnn, uint32_t n)
{
    const char *why;
    return by_dnn ? gpu_dnn_convolve(t->space, t->c, n, &why) : gpu_convolve(t->space, t->c, n);
}

/* n images by either way, as a graph; NULL: that cannot be done. Run once before: kernels are loaded then. */
cudaGraphExec_t record(const trial *t, bool by_dnn, uint32_t n)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t ready = NULL;
    const cudaStream_t stream = t->space->compute;
    if (!enqueue(t, by_dnn, n) || !gpu_fine(t->space, cudaStreamSynchronize(stream), "a convolution") ||
        !gpu_fine(t->space, cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "a graph"))
        return NULL;
    bool ok = enqueue(t, by_dnn, n);
    ok = cudaStreamEndCapture(stream, &graph) == cudaSuccess && ok;
    if (ok && cudaGraphInstantiate(&ready, graph, 0) != cudaSuccess)
        ready = NULL;
    if (graph != NULL)
        (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    return ready;
}

bool launch(const trial *t, cudaGraphExec_t graph)
{
    return gpu_fine(t->space, cudaGraphLaunch(graph, t->space->compute), "a convolution");
}

/* The same, computed anew; milliseconds of RUNS runs. False: it failed, or cannot be done. */
bool run_trial(const trial *t, bool by_dnn, uint32_t n, float *ret_ms)
{
    ebm_gpu_space *space = t->space;
    cudaEvent_t from = NULL, to = NULL;
    cudaGraphExec_t graph = record(t, by_dnn, n);
    bool ok = graph != NULL && gpu_fine(space, cudaEventCreate(&from), "an event") &&
              gpu_fine(space, cudaEventCreate(&to), "an event") && launch(t, graph) &&
              gpu_fine(space, cudaEventRecord(from, space->compute), "an event");
    for (uint32_t i = 0; ok && i < RUNS; i++)
        ok = launch(t, graph);
    ok = ok && gpu_fine(space, cudaEventRecord(to, space->compute), "an event") &&
         gpu_fine(space, cudaEventSynchronize(to), "a convolution") &&
         gpu_fine(space, cudaEventElapsedTime(ret_ms, from, to), "an event") && put(t, t->c->out, t->before, n) &&
         launch(t, graph) && gpu_fine(space, cudaStreamSynchronize(space->compute), "a convolution");
    for (cudaEvent_t event : {from, to})
        if (event != NULL)
            (void)cudaEventDestroy(event);
    if (graph != NULL)
        (void)cudaGraphExecDestroy(graph);
    return ok;
}

/* Output of n images from `first` on, computed last. */
bool take(const trial *t, uint32_t first, uint32_t n, std::vector<float> *to)
{
    const size_t each = t->before.size();
    to->resize(n * each);
    return gpu_copy(t->space, t->space->compute, to->data(), t->c->out + first * each, n * each * sizeof(float),
                    cudaMemcpyDeviceToHost) &&
           gpu_fine(t->space, cudaStreamSynchronize(t->space->compute), "a convolution");
}

/* Have n images, computed last, the bytes of by_dnn? */
bool are_same(const trial *t, uint32_t n)
{
    const size_t each = t->before.size();
    std::vector<float> images;
    bool are = take(t, 0, n, &images);
    for (uint32_t i = 0; are && i < n; i++)
        are = memcmp(images.data() + i * each, t->by_dnn.data(), each * sizeof(float)) == 0;
    return are;
}

/* Relative to the largest number; what rounding a product's inputs does, ten times. */
bool is_right(const trial *t)
{
    static const double allowed[] = {1e-4, 5e-3, 4e-2}; /* of each precision */
    double largest = 0.0, error = 0.0;
    for (size_t i = 0; i < t->own.size(); i++) {
        double off = fabs((double)t->own[i] - (double)t->by_dnn[i]);
        largest = fmax(largest, fabs((double)t->own[i]));
        error = off <= error ? error : off; /* a NaN stays */
    }
    return error <= allowed[gpu_precision()] * largest;
}

/* Is it right for calls of up to c->most images? Then milliseconds of c->most images and of one together, by both. */
bool try_both(ebm_gpu_space *space, const gpu_convolution *c, float *ret_own, float *ret_dnn)
{
    float own_ms[2], dnn_ms[2];
    trial t = {space, c, {}, {}, {}, {}};
    fill(&t.in, ebm_shape_count(&c->op->from));
    fill(&t.before, ebm_shape_count(&c->op->to));
    if (!put(&t, c->in, t.in, c->most) || !run_trial(&t, false, 1, &own_ms[0]) ||
        !run_trial(&t, false, c->most, &own_ms[1]) || !take(&t, c->most - 1, 1, &t.own) ||
        !run_trial(&t, true, c->most, &dnn_ms[1]) || !take(&t, 0, 1, &t.by_dnn) || !is_right(&t) ||
        !are_same(&t, c->most))
        return false;
    dnn_ms[0] = dnn_ms[1];
    for (uint32_t n = 1; n < c->most; n *= 2) {
        float ms;
        if (!run_trial(&t, true, n, &ms) || !are_same(&t, n))
            return false;
        dnn_ms[0] = n == 1 ? ms : dnn_ms[0];
    }
    *ret_own = own_ms[0] + own_ms[1];
    *ret_dnn = dnn_ms[0] + dnn_ms[1];
    return true;
}

/* ---- what was chosen ---- */

/* What a convolution's time depends on; the precision is the process's, and its devices are alike. No gaps between
 * members. */
struct shape {
    ebm_shape from, to;
    uint32_t kernel, stride, padding, adds, has_relu;
};

struct choice {
    shape of;
    uint32_t most; /* images at once that it was tried for */
    bool is_dnn;
};

std::mutex choices_mutex; /* held while it is tried: one trial at a time, by a device that does less else */
std::vector<choice> choices;

choice *find_choice(const shape *of)
{
    for (choice &one : choices)
        if (memcmp(&one.of, of, sizeof *of) == 0)
            return &one;
    return NULL;
}

} // namespace

bool gpu_dnn_wins(ebm_gpu_space *space, const gpu_convolution *c)
{
    const ebm_image_op *op = c->op;
    const shape of = {op->from, op->to, op->kernel, op->stride, op->padding, c->adds, c->has_relu};
    const bool is_here = is_there(space);
    std::lock_guard<std::mutex> lock(choices_mutex);
    choice *known = find_choice(&of);
    if (known != NULL && (!known->is_dnn || !is_here || c->most <= known->most))
        return known->is_dnn;
    float own_ms = 0.0f, dnn_ms = 0.0f;
    bool wins = is_here && try_both(space, c, &own_ms, &dnn_ms) && (known != NULL || dnn_ms <= GPU_DNN_SHARE * own_ms);
    if (space->failed)
        return false;
    if (known == NULL)
        choices.push_back({of, c->most, wins});
    else if (wins)
        known->most = c->most;
    else
        known->is_dnn = false;
    return wins;
}
