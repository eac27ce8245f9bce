/* blaslt.cpp - cublasLt: matrix products by plain loops, queued on a stream.
 *
 * D = epilogue(alpha * op(A) op(B) + beta * C), column-major, batches by strides. TF32 and bfloat16 are emulated by
 * rounding the inputs to 10 and 7 bits of mantissa; sums are in double, so that their order does not matter. Shapes,
 * leading dimensions, strides, alignment and the attributes' sizes are checked as cublasLt checks them. */
#ifdef GPU_SIM_TOOLKIT
#include <cublasLt.h>
#else
#include "tests/gpu_sim/cuda_sim.h"
#endif
#include "tests/gpu_sim/count.h"
#include "tests/gpu_sim/cuda_api.h"

#include <stdio.h>

namespace
{

struct product {
    cublasComputeType_t compute;
    int32_t trans_a, trans_b;
    uint32_t epilogue;
    const float *bias;
    int64_t bias_stride;
};

struct matrix {
    uint32_t type;
    uint64_t rows, cols;
    int64_t ld;
    int32_t batch;
    int64_t stride;
};

struct preference {
    uint64_t workspace_bytes;
};

struct operand { /* a matrix in memory */
    const void *data;
    matrix shape;
    bool transposed;
};

/* Mantissa bits that the hardware keeps of a float. */
unsigned kept_bits(cublasComputeType_t compute)
{
    if (compute == CUBLAS_COMPUTE_32F_FAST_TF32)
        return 10;
    return compute == CUBLAS_COMPUTE_32F_FAST_16BF ? 7 : 23;
}

float round_to(float value, unsigned bits)
{
    if (bits == 23 || !(__builtin_fabsf(value) < __builtin_inff()))
        return value;
    uint32_t raw = uint32_t(gpu_sim::to_bits(value)), drop = 23 - bits;
    raw += (1u << (drop - 1)) - 1 + (raw >> drop & 1);
    return gpu_sim::from_bits<float>(raw >> drop << drop);
}

float load(const void *data, uint32_t type, int64_t at)
{
    if (type == CUDA_R_16BF)
        return gpu_sim::from_bits<float>(uint64_t(static_cast<const uint16_t *>(data)[at]) << 16);
    return static_cast<const float *>(data)[at];
}

void store(void *data, uint32_t type, int64_t at, float value)
{
    if (type == CUDA_R_16BF)
        static_cast<uint16_t *>(data)[at] = uint16_t(gpu_sim::to_bits(round_to(value, 7)) >> 16);
    else
        static_cast<float *>(data)[at] = value;
}

uint64_t rows_of(const operand &o)
{
    return o.transposed ? o.shape.cols : o.shape.rows;
}

uint64_t cols_of(const operand &o)
{
    return o.transposed ? o.shape.rows : o.shape.cols;
}

/* op(matrix) of one batch, a row after the other, as the hardware rounds it. */
std::vector<float> take(const operand &o, int batch, unsigned bits)
{
    uint64_t rows = rows_of(o), cols = cols_of(o);
    std::vector<float> out(rows * cols);
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < cols; j++) {
            int64_t at = o.transposed ? int64_t(j) + int64_t(i) * o.shape.ld : int64_t(i) + int64_t(j) * o.shape.ld;
            out[i * cols + j] = round_to(load(o.data, o.shape.type, batch * o.shape.stride + at), bits);
        }
    return out;
}

/* Columns of op(B) one after the other, so that the inner loop runs along memory. */
std::vector<float> take_columns(const operand &o, int batch, unsigned bits)
{
    operand turned = o;
    turned.transposed = !o.transposed;
    return take(turned, batch, bits);
}

float finish(const product &p, float value, uint64_t row, int batch)
{
    if (p.epilogue & CUBLASLT_EPILOGUE_BIAS)
        value += p.bias[batch * p.bias_stride + int64_t(row)];
    return (p.epilogue & CUBLASLT_EPILOGUE_RELU) && !(value > 0.0f) ? 0.0f : value; /* so a NaN is 0 */
}

struct job {
    product p;
    operand a, b, c;
    void *d;
    matrix d_shape;
    float alpha, beta;
};

/* Of n products: eight sums side by side, which a compiler puts into wide registers. */
double dot(const float *x, const float *y, uint64_t n)
{
    double sums[8] = {}, sum = 0.0;
    uint64_t k = 0;
    for (; k + 8 <= n; k += 8)
        for (unsigned i = 0; i < 8; i++)
            sums[i] += double(x[k + i]) * double(y[k + i]);
    for (; k < n; k++)
        sum += double(x[k]) * double(y[k]);
    for (double part : sums)
        sum += part;
    return sum;
}

void multiply_batch(const job &j, int batch)
{
    unsigned bits = kept_bits(j.p.compute);
    std::vector<float> a = take(j.a, batch, bits), b = take_columns(j.b, batch, bits);
    uint64_t inner = cols_of(j.a);
    for (uint64_t col = 0; col < j.d_shape.cols; col++)
        for (uint64_t row = 0; row < j.d_shape.rows; row++) {
            const float *x = &a[row * inner], *y = &b[col * inner];
            double sum = dot(x, y, inner);
            int64_t at = batch * j.d_shape.stride + int64_t(row) + int64_t(col) * j.d_shape.ld;
            float value = j.alpha * float(sum);
            if (j.beta != 0.0f)
                value += j.beta * load(j.c.data, j.c.shape.type,
                                       batch * j.c.shape.stride + int64_t(row) + int64_t(col) * j.c.shape.ld);
            store(j.d, j.d_shape.type, at, finish(j.p, value, row, batch));
        }
}

double bytes_of(const matrix &m)
{
    return double(m.rows) * double(m.cols) * m.batch * (m.type == CUDA_R_16BF ? 2.0 : 4.0);
}

void count(const job &j)
{
    double before = j.beta != 0.0f ? bytes_of(j.d_shape) : 0.0;
    gpu_sim::count_product(j.d_shape.rows, j.d_shape.cols, cols_of(j.a),
                           bytes_of(j.a.shape) + bytes_of(j.b.shape) + before, bytes_of(j.d_shape));
}

/* What decides which kernel of the library runs: loaded when it comes first. */
std::string kind_of(const job &j)
{
    const uint64_t parts[] = {j.d_shape.rows,        j.d_shape.cols,        cols_of(j.a), uint64_t(j.p.compute),
                              uint64_t(j.p.trans_a), uint64_t(j.p.trans_b), j.p.epilogue, uint64_t(j.d_shape.batch)};
    std::string name;
    for (uint64_t part : parts)
        name += (name.empty() ? "" : " x ") + std::to_string(part);
    return name;
}

cublasStatus_t refuse(cublasStatus_t status, const char *why)
{
    fprintf(stderr, "gpu_sim: cublasLt: %s\n", why);
    return status;
}

bool shape_is_sound(const matrix &m)
{
    return m.rows && m.cols && m.ld >= int64_t(m.rows) && m.batch >= 1;
}

/* What is wrong with the shapes, NULL: nothing. */
const char *shapes_fault(const product &p, const matrix &a, const matrix &b, const matrix &c, const matrix &d)
{
    uint64_t m = p.trans_a ? a.cols : a.rows, k = p.trans_a ? a.rows : a.cols;
    uint64_t k_of_b = p.trans_b ? b.cols : b.rows, n = p.trans_b ? b.rows : b.cols;
    if (!shape_is_sound(a) || !shape_is_sound(b) || !shape_is_sound(c) || !shape_is_sound(d))
        return "an empty matrix, or a leading dimension below the rows";
    if (k != k_of_b || d.rows != m || d.cols != n || c.rows != m || c.cols != n)
        return "shapes that do not match";
    if (a.batch != d.batch || b.batch != d.batch || c.batch != d.batch)
        return "batch counts that differ";
    if (a.type != b.type || (a.type != CUDA_R_32F && a.type != CUDA_R_16BF))
        return "types of A and B that are not simulated";
    if (c.type != d.type || (d.type != CUDA_R_32F && d.type != CUDA_R_16BF))
        return "types of C and D that are not simulated";
    if (d.batch > 1 && d.stride < int64_t(d.ld * int64_t(d.cols - 1) + int64_t(d.rows)))
        return "batches of D that overlap";
    return nullptr;
}

size_t type_bytes(uint32_t type)
{
    return type == CUDA_R_16BF ? 2 : 4;
}

/* The bytes from the first element to the last one, all batches; fails when they are not on the device. */
void check_memory(const void *data, const matrix &m, const char *name)
{
    int64_t last = (m.batch - 1) * m.stride + int64_t(m.cols - 1) * m.ld + int64_t(m.rows);
    char what[40];
    snprintf(what, sizeof(what), "cublasLtMatmul, %s", name);
    if (!gpu_sim::on_device(data, size_t(last) * type_bytes(m.type), what))
        gpu_sim::fail("cublasLtMatmul: %s is not on the device", name);
    if (reinterpret_cast<uintptr_t>(data) % type_bytes(m.type))
        gpu_sim::fail("cublasLtMatmul: %s is misaligned", name);
}

/* Whether an attribute of `size` bytes was set from as many; cublasLt refuses others. */
template <class T> cublasStatus_t set(T *member, const void *value, size_t bytes)
{
    if (!value || bytes != sizeof(*member))
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "an attribute of another size");
    memcpy(member, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

product *of(cublasLtMatmulDesc_t p)
{
    return reinterpret_cast<product *>(p);
}

matrix *of(cublasLtMatrixLayout_t m)
{
    return reinterpret_cast<matrix *>(m);
}

preference *of(cublasLtMatmulPreference_t p)
{
    return reinterpret_cast<preference *>(p);
}

void lost()
{
    std::lock_guard<std::recursive_mutex> hold(gpu_sim::lock());
    gpu_sim::alive(-1);
}

const uint64_t ALGORITHM = 0x6770757369ull;  /* in the first word of an algorithm that the heuristic gave */
const uint64_t WORKSPACE_NEEDED = 256 << 10; /* bytes, of every algorithm that may have so many */

} // namespace

#define BEGIN(status)                                                                                                  \
    std::lock_guard<std::recursive_mutex> hold_(gpu_sim::lock());                                                      \
    if (gpu_sim::must_fail(__func__))                                                                                  \
    return status

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    BEGIN(CUBLAS_STATUS_NOT_INITIALIZED);
    *handle = reinterpret_cast<cublasLtHandle_t>(new int(gpu_sim::device()));
    gpu_sim::alive(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    lost();
    delete reinterpret_cast<int *>(handle);
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusName(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "a cuBLAS error";
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return cublasLtGetStatusName(status);
}

size_t cublasLtGetVersion(void)
{
    return 130000;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale)
{
    BEGIN(CUBLAS_STATUS_ALLOC_FAILED);
    if (scale != CUDA_R_32F)
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "scale type");
    *desc = reinterpret_cast<cublasLtMatmulDesc_t>(
        new product{compute, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr, 0});
    gpu_sim::alive(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    lost();
    delete of(desc);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t which,
                                              const void *value, size_t bytes)
{
    BEGIN(CUBLAS_STATUS_INVALID_VALUE);
    int32_t bias_type = CUDA_R_32F;
    cublasStatus_t status;
    switch (which) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
        return set(&of(desc)->compute, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(&of(desc)->trans_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return set(&of(desc)->trans_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return set(&of(desc)->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return set(&of(desc)->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
        return set(&of(desc)->bias_stride, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        status = set(&bias_type, value, bytes);
        return bias_type == CUDA_R_32F ? status : refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a bias that is not of floats");
    default:
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "an attribute of a product that is not simulated");
    }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    BEGIN(CUBLAS_STATUS_ALLOC_FAILED);
    *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new matrix{uint32_t(type), rows, cols, ld, 1, 0});
    gpu_sim::alive(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    lost();
    delete of(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t which,
                                                const void *value, size_t bytes)
{
    BEGIN(CUBLAS_STATUS_INVALID_VALUE);
    int32_t order = CUBLASLT_ORDER_COL;
    cublasStatus_t status;
    switch (which) {
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
        return set(&of(layout)->rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
        return set(&of(layout)->cols, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
        return set(&of(layout)->ld, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return set(&of(layout)->batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return set(&of(layout)->stride, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
        status = set(&order, value, bytes);
        return order == CUBLASLT_ORDER_COL ? status : refuse(CUBLAS_STATUS_NOT_SUPPORTED, "order");
    default:
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "an attribute of a layout that is not simulated");
    }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *result)
{
    BEGIN(CUBLAS_STATUS_ALLOC_FAILED);
    *result = reinterpret_cast<cublasLtMatmulPreference_t>(new preference{0});
    gpu_sim::alive(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    lost();
    delete of(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t which, const void *value,
                                                    size_t bytes)
{
    BEGIN(CUBLAS_STATUS_INVALID_VALUE);
    uint32_t ignored;
    if (which == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return set(&of(p)->workspace_bytes, value, bytes);
    return set(&ignored, value, bytes);
}

/* As hardware may answer. GPU_SIM_NO_BATCH_BIAS=1: no algorithm adds a bias of its own to each batch. GPU_SIM_PICKY=1:
 * none adds a bias to columns of less than four numbers, none rounds what is not aligned to 16 bytes, and every other
 * one that is found cannot be used after all. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t p, int asked,
                                              cublasLtMatmulHeuristicResult_t results[], int *found)
{
    BEGIN(CUBLAS_STATUS_NOT_SUPPORTED);
    const char *fault = shapes_fault(*of(desc), *of(a), *of(b), *of(c), *of(d));
    *found = 0;
    if (fault)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, fault);
    static const bool is_picky = gpu_sim::setting("GPU_SIM_PICKY", 0) != 0;
    bool has_bias = (of(desc)->epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
    if (asked < 1 || (of(desc)->bias_stride && gpu_sim::setting("GPU_SIM_NO_BATCH_BIAS", 0)) ||
        (is_picky && has_bias && of(d)->rows < 4) ||
        (is_picky && of(desc)->compute != CUBLAS_COMPUTE_32F && (of(a)->ld % 4 || of(b)->ld % 4 || of(d)->ld % 4)))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    memset(&results[0], 0, sizeof(results[0]));
    results[0].algo.data[0] = ALGORITHM;
    results[0].workspaceSize = of(p)->workspace_bytes < WORKSPACE_NEEDED ? of(p)->workspace_bytes : WORKSPACE_NEEDED;
    results[0].algo.data[1] = results[0].workspaceSize;
    results[0].state = CUBLAS_STATUS_SUCCESS;
    static thread_local unsigned found_before;
    if (is_picky && found_before++ % 2 == 0) {
        results[0].algo.data[0] = 0;
        results[0].state = CUBLAS_STATUS_NOT_SUPPORTED;
    }
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo, cublasLtMatmulHeuristicResult_t *result)
{
    BEGIN(CUBLAS_STATUS_NOT_SUPPORTED);
    const char *fault = shapes_fault(*of(desc), *of(a), *of(b), *of(c), *of(d));
    if (fault || algo->data[0] != ALGORITHM)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, fault ? fault : "an algorithm that the heuristic did not give");
    memset(result, 0, sizeof(*result));
    result->algo = *algo;
    result->workspaceSize = size_t(algo->data[1]);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream)
{
    BEGIN(CUBLAS_STATUS_EXECUTION_FAILED);
    int device = gpu_sim::device_of(gpu_sim_stream(stream));
    if (*reinterpret_cast<int *>(handle) != device || gpu_sim::device() != device)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "a handle or a stream of another device than the thread's");
    product p = *of(desc);
    job j = {p,
             {a, *of(a_layout), p.trans_a != CUBLAS_OP_N},
             {b, *of(b_layout), p.trans_b != CUBLAS_OP_N},
             {c, *of(c_layout), false},
             d,
             *of(d_layout),
             *static_cast<const float *>(alpha),
             *static_cast<const float *>(beta)};
    const char *fault = shapes_fault(p, j.a.shape, j.b.shape, j.c.shape, j.d_shape);
    if (fault)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, fault);
    if (algo && algo->data[0] != ALGORITHM)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "an algorithm that the heuristic did not give");
    if (algo && workspace_bytes < algo->data[1])
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "a workspace smaller than the algorithm's");
    check_memory(a, j.a.shape, "A");
    check_memory(b, j.b.shape, "B");
    check_memory(d, j.d_shape, "D");
    if (j.beta != 0.0f)
        check_memory(c, j.c.shape, "C");
    if (p.epilogue & CUBLASLT_EPILOGUE_BIAS)
        check_memory(p.bias, {CUDA_R_32F, j.d_shape.rows, 1, int64_t(j.d_shape.rows), j.d_shape.batch, p.bias_stride},
                     "the bias");
    if (workspace_bytes && !gpu_sim::on_device(workspace, workspace_bytes, "cublasLtMatmul, workspace"))
        gpu_sim::fail("cublasLtMatmul: the workspace is not on the device");
    uint64_t used = algo ? algo->data[1] : workspace_bytes; /* it is the library's to write */
#ifdef GPU_SIM_TSAN                                         /* which is told of each byte */
    used = used < 4096 ? used : 4096;
#endif
    gpu_sim::first_use(gpu_sim_stream(stream), kind_of(j));
    gpu_sim::enqueue(gpu_sim_stream(stream), [j, workspace, used] {
        if (used)
            memset(workspace, 0xff, used);
        if (gpu_sim::counts)
            count(j);
        for (int batch = 0; batch < j.d_shape.batch; batch++)
            multiply_batch(j, batch);
    });
    return CUBLAS_STATUS_SUCCESS;
}

} // extern "C"
