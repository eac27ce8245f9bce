/* cudnn.cpp - a libcudnn: one convolution by plain loops, queued on a stream of the simulator.
 *
 * The plug-in that calls knows the simulator, in itself or beneath it (libcudart): what is needed of it is looked up
 * there. FAKE_CUDNN says how good it is:
 *
 *   right    it is, and takes one piece of work, where our own way takes two or more
 *   wrong    its numbers are off by a hundredth
 *   moody    an image's numbers depend on how many there are beside it, a little
 *   slow     right, in a hundred pieces of work
 *   greedy   it wants more workspace than anybody has
 *   none     not there: no handle (and so without FAKE_CUDNN)
 *
 * Shapes, layouts and nulls are checked; sums are double; TF32 rounds what is multiplied. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "core/cuda/cudnn_api.h"
#if defined(GPU_SIM_TOOLKIT) && __has_include(<cudnn.h>)
#include <cudnn.h>
static_assert(CUDNN_MAJOR == GPU_DNN_VERSION && CUDNN_DATA_FLOAT == int(GPU_DNN_FLOAT) &&
                  CUDNN_TENSOR_NHWC == int(GPU_DNN_NHWC) && CUDNN_CROSS_CORRELATION == int(GPU_DNN_CROSS_CORRELATION) &&
                  CUDNN_DEFAULT_MATH == int(GPU_DNN_DEFAULT_MATH) && CUDNN_FMA_MATH == int(GPU_DNN_FMA_MATH) &&
                  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM == int(GPU_DNN_PRECOMP_GEMM) &&
                  CUDNN_ACTIVATION_RELU == int(GPU_DNN_RELU) && CUDNN_ACTIVATION_IDENTITY == int(GPU_DNN_IDENTITY) &&
                  CUDNN_NOT_PROPAGATE_NAN == int(GPU_DNN_NOT_PROPAGATE_NAN) &&
                  CUDNN_STATUS_NOT_INITIALIZED == int(GPU_DNN_NOT_INITIALIZED),
              "the numbers of cuDNN");
#endif

namespace
{

/* What a descriptor says; of a tensor and a filter the four sizes, of the others what they are set to. */
struct descriptor {
    int is_set, n, c, h, w;
};

struct handle {
    void *stream;
};

struct job {
    int n, C, H, W, K, R, S, P, Q, stride, padding, has_relu, adds, keeps;
    float off;
    const float *x, *w, *bias;
    float *y;
};

void (*enqueue)(void *, void (*)(const void *), const void *, size_t);
long computed, calls, failing, living;

/* One more call of those that may fail. */
bool must_fail()
{
    return ++calls == failing;
}

bool is(const char *word)
{
    const char *mode = getenv("FAKE_CUDNN");
    return mode != NULL && strcmp(mode, word) == 0;
}

/* The simulator of who calls. */
bool find_simulator(const void *caller)
{
    Dl_info from;
    void *file = enqueue == NULL && dladdr(caller, &from) ? dlopen(from.dli_fname, RTLD_NOW | RTLD_NOLOAD) : NULL;
    if (file != NULL)
        *reinterpret_cast<void **>(&enqueue) = dlsym(file, "gpu_sim_enqueue");
    return enqueue != NULL;
}

template <class T> descriptor *of(T *opaque)
{
    return reinterpret_cast<descriptor *>(opaque);
}

template <class T> int make(T **ret)
{
    if (must_fail())
        return GPU_DNN_EXECUTION_FAILED;
    *ret = reinterpret_cast<T *>(new descriptor());
    living++;
    return GPU_DNN_SUCCESS;
}

template <class T> int set(T *to, descriptor what)
{
    if (must_fail())
        return GPU_DNN_EXECUTION_FAILED;
    *of(to) = what;
    of(to)->is_set = 1;
    return GPU_DNN_SUCCESS;
}

template <class T> int destroy(T *opaque)
{
    delete of(opaque);
    living--;
    return GPU_DNN_SUCCESS;
}

/* The lowest bits of the mantissa that stay are of `keeps` bits. */
double rounded(float value, int keeps)
{
    uint32_t bits, drop = uint32_t(23 - keeps);
    memcpy(&bits, &value, sizeof bits);
    if (drop > 0)
        bits = (bits + (1u << (drop - 1))) >> drop << drop;
    memcpy(&value, &bits, sizeof bits);
    return double(value);
}

double window_sum(const job &j, int image, int p, int q, int k)
{
    double sum = 0.0;
    for (int r = 0; r < j.R; r++)
        for (int s = 0; s < j.S; s++) {
            int row = p * j.stride + r - j.padding, column = q * j.stride + s - j.padding;
            if (row < 0 || row >= j.H || column < 0 || column >= j.W)
                continue;
            const float *x = j.x + ((long(image) * j.H + row) * j.W + column) * j.C;
            const float *w = j.w + ((long(k) * j.R + r) * j.S + s) * j.C;
            for (int c = 0; c < j.C; c++)
                sum += rounded(x[c], j.keeps) * rounded(w[c], j.keeps);
        }
    return sum;
}

void compute(const void *what)
{
    const job &j = *static_cast<const job *>(what);
    computed++;
    for (int image = 0; image < j.n; image++)
        for (int p = 0; p < j.P; p++)
            for (int q = 0; q < j.Q; q++)
                for (int k = 0; k < j.K; k++) {
                    float *y = j.y + ((long(image) * j.P + p) * j.Q + q) * j.K + k;
                    double value = window_sum(j, image, p, q, k) * double(1.0f + j.off) + double(j.bias[k]) +
                                   (j.adds ? double(*y) : 0.0);
                    *y = float(j.has_relu && !(value > 0.0) ? 0.0 : value);
                }
}

void idle(const void *)
{
}

int complain(const char *what)
{
    fprintf(stderr, "cudnn: %s\n", what);
    return GPU_DNN_NOT_SUPPORTED;
}

} // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

/* For tests: convolutions that were computed; the n-th call from now fails (0: none), and how many there were since;
 * handles and descriptors that were not given back. */
EXPORT long fake_cudnn_computed(void)
{
    return computed;
}

EXPORT void fake_cudnn_fail_at(long n)
{
    failing = n;
    calls = 0;
}

EXPORT long fake_cudnn_alive(void)
{
    return living;
}

EXPORT long fake_cudnn_calls(void)
{
    return calls;
}

#define NAMED(result, name, arguments)                                                                                 \
    EXPORT result fake_##name arguments __asm__(#name);                                                                \
    result fake_##name arguments

NAMED(size_t, cudnnGetVersion, (void))
{
    return GPU_DNN_VERSION * 10000 + 1900;
}

NAMED(const char *, cudnnGetErrorString, (int status))
{
    return status == GPU_DNN_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "CUDNN_STATUS_EXECUTION_FAILED";
}

NAMED(int, cudnnCreate, (gpu_dnn_handle * ret))
{
    if (getenv("FAKE_CUDNN") == NULL || is("none") || !find_simulator(__builtin_return_address(0)) || must_fail())
        return GPU_DNN_NOT_INITIALIZED;
    *ret = reinterpret_cast<gpu_dnn_handle>(new handle());
    living++;
    return GPU_DNN_SUCCESS;
}

NAMED(int, cudnnDestroy, (gpu_dnn_handle h))
{
    delete reinterpret_cast<handle *>(h);
    living--;
    return GPU_DNN_SUCCESS;
}

NAMED(int, cudnnSetStream, (gpu_dnn_handle h, struct CUstream_st *stream))
{
    if (must_fail())
        return GPU_DNN_EXECUTION_FAILED;
    reinterpret_cast<handle *>(h)->stream = stream;
    return GPU_DNN_SUCCESS;
}

NAMED(int, cudnnCreateTensorDescriptor, (gpu_dnn_tensor * ret))
{
    return make(ret);
}

NAMED(int, cudnnCreateFilterDescriptor, (gpu_dnn_filter * ret))
{
    return make(ret);
}

NAMED(int, cudnnCreateConvolutionDescriptor, (gpu_dnn_convolution * ret))
{
    return make(ret);
}

NAMED(int, cudnnCreateActivationDescriptor, (gpu_dnn_activation * ret))
{
    return make(ret);
}

NAMED(int, cudnnDestroyTensorDescriptor, (gpu_dnn_tensor tensor))
{
    return destroy(tensor);
}

NAMED(int, cudnnDestroyFilterDescriptor, (gpu_dnn_filter filter))
{
    return destroy(filter);
}

NAMED(int, cudnnDestroyConvolutionDescriptor, (gpu_dnn_convolution convolution))
{
    return destroy(convolution);
}

NAMED(int, cudnnDestroyActivationDescriptor, (gpu_dnn_activation activation))
{
    return destroy(activation);
}

NAMED(int, cudnnSetTensor4dDescriptor, (gpu_dnn_tensor to, int format, int type, int n, int c, int h, int w))
{
    if (format != GPU_DNN_NHWC || type != GPU_DNN_FLOAT || n < 1 || c < 1 || h < 1 || w < 1)
        return complain("a tensor that is not of floats, channels inner");
    return set(to, {1, n, c, h, w});
}

NAMED(int, cudnnSetFilter4dDescriptor, (gpu_dnn_filter to, int type, int format, int k, int c, int h, int w))
{
    if (format != GPU_DNN_NHWC || type != GPU_DNN_FLOAT)
        return complain("a filter that is not of floats, channels inner");
    return set(to, {1, k, c, h, w});
}

/* n: padding, c: stride, h: what of a float's mantissa is multiplied. */
NAMED(int, cudnnSetConvolution2dDescriptor,
      (gpu_dnn_convolution to, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
       int mode, int type))
{
    if (pad_h != pad_w || stride_h != stride_w || dilation_h != 1 || dilation_w != 1 ||
        mode != GPU_DNN_CROSS_CORRELATION || type != GPU_DNN_FLOAT)
        return complain("a convolution that it does not have");
    return set(to, {1, pad_h, stride_h, 10, 0});
}

NAMED(int, cudnnSetConvolutionMathType, (gpu_dnn_convolution to, int math))
{
    if (must_fail())
        return GPU_DNN_EXECUTION_FAILED;
    of(to)->h = math == GPU_DNN_FMA_MATH ? 23 : 10;
    return GPU_DNN_SUCCESS;
}

NAMED(int, cudnnSetActivationDescriptor, (gpu_dnn_activation to, int mode, int nan, double))
{
    if ((mode != GPU_DNN_RELU && mode != GPU_DNN_IDENTITY) || nan != GPU_DNN_NOT_PROPAGATE_NAN)
        return complain("an activation that it does not have");
    return set(to, {1, mode == GPU_DNN_RELU, 0, 0, 0});
}

NAMED(int, cudnnGetConvolutionForwardWorkspaceSize,
      (gpu_dnn_handle, gpu_dnn_tensor, gpu_dnn_filter, gpu_dnn_convolution, gpu_dnn_tensor, int, size_t *ret_bytes))
{
    if (must_fail())
        return GPU_DNN_EXECUTION_FAILED;
    *ret_bytes = is("greedy") ? size_t(1) << 40 : 1024;
    return GPU_DNN_SUCCESS;
}

NAMED(int, cudnnConvolutionBiasActivationForward,
      (gpu_dnn_handle h, const void *alpha_1, gpu_dnn_tensor x, const void *at_x, gpu_dnn_filter w, const void *at_w,
       gpu_dnn_convolution convolution, int algorithm, void *workspace, size_t bytes, const void *alpha_2,
       gpu_dnn_tensor z, const void *at_z, gpu_dnn_tensor bias, const void *at_bias, gpu_dnn_activation activation,
       gpu_dnn_tensor y, void *at_y))
{
    const descriptor *in = of(x), *weight = of(w), *how = of(convolution), *out = of(y), *act = of(activation);
    const float one = *static_cast<const float *>(alpha_1), before = *static_cast<const float *>(alpha_2);
    if (must_fail())
        return GPU_DNN_EXECUTION_FAILED;
    if (!in->is_set || !weight->is_set || !how->is_set || !out->is_set || !act->is_set || of(bias)->c != out->c ||
        weight->n != out->c || weight->c != in->c || in->n != out->n || of(z) != out || at_z != at_y ||
        algorithm != GPU_DNN_PRECOMP_GEMM || workspace == NULL || bytes < 1024 || one != 1.0f ||
        (in->h + 2 * how->n - weight->h) / how->c + 1 != out->h ||
        (in->w + 2 * how->n - weight->w) / how->c + 1 != out->w)
        return complain("shapes that do not go together");
    float off = is("wrong") ? 0.01f : is("moody") ? float(in->n) * 1e-6f : 0.0f;
    job j = {in->n,
             in->c,
             in->h,
             in->w,
             out->c,
             weight->h,
             weight->w,
             out->h,
             out->w,
             how->c,
             how->n,
             act->n,
             before != 0.0f,
             how->h,
             off,
             static_cast<const float *>(at_x),
             static_cast<const float *>(at_w),
             static_cast<const float *>(at_bias),
             static_cast<float *>(at_y)};
    void *stream = reinterpret_cast<handle *>(h)->stream;
    for (int i = 0; is("slow") && i < 100; i++)
        enqueue(stream, idle, "", 1);
    enqueue(stream, compute, &j, sizeof j);
    return GPU_DNN_SUCCESS;
}
