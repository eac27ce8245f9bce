/* cudnn_api.h - what is used of cuDNN 9, which is opened at run time: types, numbers and functions as its headers have
 * them, so that neither a build nor a machine needs it.
 *
 * It is the older interface of convolutions, one call for convolution, bias, sum and activation. The newer one, graphs
 * of operations, would have to be built and planned for the same one operation, at many times the code; cuDNN 9 has
 * both. */
#ifndef EBM_CORE_CUDA_CUDNN_API_H
#define EBM_CORE_CUDA_CUDNN_API_H

#include <stddef.h>

#define GPU_DNN_VERSION 9u /* cudnnGetVersion() / 10000 */
enum gpu_dnn_numbers {
    GPU_DNN_SUCCESS = 0,
    GPU_DNN_NOT_INITIALIZED = 1001,
    GPU_DNN_NOT_SUPPORTED = 3000,
    GPU_DNN_EXECUTION_FAILED = 5000,
    GPU_DNN_FLOAT = 0,             /* CUDNN_DATA_FLOAT */
    GPU_DNN_NHWC = 1,              /* CUDNN_TENSOR_NHWC */
    GPU_DNN_CROSS_CORRELATION = 1, /* CUDNN_CROSS_CORRELATION */
    GPU_DNN_DEFAULT_MATH = 0,      /* CUDNN_DEFAULT_MATH: TF32, of floats */
    GPU_DNN_FMA_MATH = 3,          /* CUDNN_FMA_MATH: float */
    GPU_DNN_PRECOMP_GEMM = 1,      /* CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM */
    GPU_DNN_RELU = 1,              /* CUDNN_ACTIVATION_RELU */
    GPU_DNN_IDENTITY = 5,          /* CUDNN_ACTIVATION_IDENTITY */
    GPU_DNN_NOT_PROPAGATE_NAN = 0, /* CUDNN_NOT_PROPAGATE_NAN: this function has no other */
};

/* cudnnHandle_t; descriptors of tensors, filters, convolutions, activations. */
using gpu_dnn_handle = struct cudnnContext *;
using gpu_dnn_tensor = struct cudnnTensorStruct *;
using gpu_dnn_filter = struct cudnnFilterStruct *;
using gpu_dnn_convolution = struct cudnnConvolutionStruct *;
using gpu_dnn_activation = struct cudnnActivationStruct *;

/* X(result, name, arguments); an int is a status, or an enumeration's number. */
#define GPU_DNN_FUNCTIONS(X)                                                                                           \
    X(size_t, cudnnGetVersion, (void))                                                                                 \
    X(const char *, cudnnGetErrorString, (int status))                                                                 \
    X(int, cudnnCreate, (gpu_dnn_handle * ret))                                                                        \
    X(int, cudnnDestroy, (gpu_dnn_handle handle))                                                                      \
    X(int, cudnnSetStream, (gpu_dnn_handle handle, struct CUstream_st * stream))                                       \
    X(int, cudnnCreateTensorDescriptor, (gpu_dnn_tensor * ret))                                                        \
    X(int, cudnnSetTensor4dDescriptor, (gpu_dnn_tensor to, int format, int type, int n, int c, int h, int w))          \
    X(int, cudnnDestroyTensorDescriptor, (gpu_dnn_tensor tensor))                                                      \
    X(int, cudnnCreateFilterDescriptor, (gpu_dnn_filter * ret))                                                        \
    X(int, cudnnSetFilter4dDescriptor, (gpu_dnn_filter to, int type, int format, int k, int c, int h, int w))          \
    X(int, cudnnDestroyFilterDescriptor, (gpu_dnn_filter filter))                                                      \
    X(int, cudnnCreateConvolutionDescriptor, (gpu_dnn_convolution * ret))                                              \
    X(int, cudnnSetConvolution2dDescriptor,                                                                            \
      (gpu_dnn_convolution to, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, int dilation_w,       \
       int mode, int type))                                                                                            \
    X(int, cudnnSetConvolutionMathType, (gpu_dnn_convolution to, int math))                                            \
    X(int, cudnnDestroyConvolutionDescriptor, (gpu_dnn_convolution convolution))                                       \
    X(int, cudnnCreateActivationDescriptor, (gpu_dnn_activation * ret))                                                \
    X(int, cudnnSetActivationDescriptor, (gpu_dnn_activation to, int mode, int nan, double ceiling))                   \
    X(int, cudnnDestroyActivationDescriptor, (gpu_dnn_activation activation))                                          \
    X(int, cudnnGetConvolutionForwardWorkspaceSize,                                                                    \
      (gpu_dnn_handle handle, gpu_dnn_tensor x, gpu_dnn_filter w, gpu_dnn_convolution convolution, gpu_dnn_tensor y,   \
       int algorithm, size_t *ret_bytes))                                                                              \
    X(int, cudnnConvolutionBiasActivationForward,                                                                      \
      (gpu_dnn_handle handle, const void *alpha_1, gpu_dnn_tensor x, const void *at_x, gpu_dnn_filter w,               \
       const void *at_w, gpu_dnn_convolution convolution, int algorithm, void *workspace, size_t bytes,                \
       const void *alpha_2, gpu_dnn_tensor z, const void *at_z, gpu_dnn_tensor bias, const void *at_bias,              \
       gpu_dnn_activation activation, gpu_dnn_tensor y, void *at_y))

#endif
