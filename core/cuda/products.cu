/* products.cu - matrix products by cuBLASLt, and layers made of them.
 *
 * Same bytes: a product has one algorithm for all its numbers of rows, chosen for the largest, without split sums, so
 * that what a row gets does not depend on how many there are beside it.
 *
 * Where cuBLASLt has no algorithm, as for columns of one number or rows that are not aligned, the bias is added by a
 * kernel, and then inputs are not rounded. A relu in a product makes 0 of a NaN. */
#include <stdint.h>

#include "core/cuda/profile_internal.h"

/* ---- products ---- */

namespace
{

struct product_handles {
    cublasLtMatmulDesc_t what;
    cublasLtMatrixLayout_t a, b, d, most_b, most_d;
    cublasLtMatmulPreference_t wish;
};

bool set(ebm_gpu_space *space, const product_handles *h, cublasLtMatmulDescAttributes_t name, const void *value,
         size_t bytes)
{
    return gpu_fine(space, cublasLtMatmulDescSetAttribute(h->what, name, value, bytes), "a product");
}

bool lay_out(ebm_gpu_space *space, const gpu_product *p, cublasLtMatrixLayout_t *ret, uint32_t rows, uint32_t columns,
             uint32_t ld, size_t stride)
{
    const int32_t batches = (int32_t)p->batches;
    const int64_t apart = (int64_t)stride;
    return gpu_fine(space, cublasLtMatrixLayoutCreate(ret, CUDA_R_32F, rows, columns, ld), "a matrix") &&
           (batches <= 1 || (gpu_fine(space,
                                      cublasLtMatrixLayoutSetAttribute(*ret, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                                       &batches, sizeof batches),
                                      "a matrix") &&
                             gpu_fine(space,
                                      cublasLtMatrixLayoutSetAttribute(
                                          *ret, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &apart, sizeof apart),
                                      "a matrix")));
}

bool describe(ebm_gpu_space *space, const gpu_product *p, product_handles *h)
{
    static const cublasComputeType_t types[] = {CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32,
                                                CUBLAS_COMPUTE_32F_FAST_16BF};
    cublasComputeType_t type = types[p->is_exact ? EBM_GPU_FP32 : gpu_precision()];
    cublasOperation_t a = p->a.is_turned ? CUBLAS_OP_T : CUBLAS_OP_N, b = p->b.is_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = p->has_relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    uint32_t rows = p->a.is_turned ? p->a.columns : p->a.rows, columns = p->b.is_turned ? p->b.rows : p->b.columns;
    uint32_t most = p->most > 0 ? p->most : columns;
    return gpu_fine(space, cublasLtMatmulDescCreate(&h->what, type, CUDA_R_32F), "a product") &&
           lay_out(space, p, &h->a, p->a.rows, p->a.columns, p->a.ld, p->stride_a) &&
           lay_out(space, p, &h->b, p->b.rows, p->b.columns, p->b.ld, p->stride_b) &&
           lay_out(space, p, &h->d, rows, columns, p->ld_d, p->stride_d) &&
           lay_out(space, p, &h->most_b, p->b.rows, p->b.is_turned ? p->b.columns : most, p->b.ld, p->stride_b) &&
           lay_out(space, p, &h->most_d, rows, most, p->ld_d, p->stride_d) &&
           set(space, h, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a) &&
           set(space, h, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b) &&
           (p->bias == NULL || (set(space, h, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) &&
                                set(space, h, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias)));
}

uint32_t alignment_of(const void *p, uint32_t ld, size_t stride)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0 && ld % 4 == 0 && stride % 4 == 0 ? 16 : 4;
}

/* Bounds of the workspace and of alignments, and no split sums. */
bool state_wishes(ebm_gpu_space *space, const gpu_product *p, product_handles *h)
{
    uint64_t workspace = GPU_WORKSPACE;
    uint32_t unsplit = CUBLASLT_REDUCTION_SCHEME_NONE, a = alignment_of(p->a.p, p->a.ld, p->stride_a);
    uint32_t b = alignment_of(p->b.p, p->b.ld, p->stride_b), d = alignment_of(p->d, p->ld_d, p->stride_d);
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } wishes[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
                  {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &unsplit, sizeof unsplit},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof b},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &d, sizeof d},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &d, sizeof d}};
    bool ok = gpu_fine(space, cublasLtMatmulPreferenceCreate(&h->wish), "a product's wishes");
    for (const auto &wish : wishes)
        ok = ok && gpu_fine(space, cublasLtMatmulPreferenceSetAttribute(h->wish, wish.name, wish.value, wish.bytes),
                            "a product's wishes");
    return ok;
}

bool is_found(cublasStatus_t status, int n, const cublasLtMatmulHeuristicResult_t &found)
{
    return status == CUBLAS_STATUS_SUCCESS && n == 1 && found.state == CUBLAS_STATUS_SUCCESS;
}

/* The algorithm of the most columns, where there is one that does fewer too; else that of so many. */
cublasStatus_t choose(ebm_gpu_space *space, const product_handles *h, cublasLtMatmulAlgo_t *ret)
{
    cublasLtMatmulHeuristicResult_t found = {};
    int n = 0;
    cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(space->lt, h->what, h->a, h->most_b, h->most_d, h->most_d,
                                                           h->wish, 1, &found, &n);
    *ret = found.algo;
    if (is_found(status, n, found) &&
        cublasLtMatmulAlgoCheck(space->lt, h->what, h->a, h->b, h->d, h->d, ret, &found) == CUBLAS_STATUS_SUCCESS &&
        found.workspaceSize <= GPU_WORKSPACE)
        return CUBLAS_STATUS_SUCCESS;
    status = cublasLtMatmulAlgoGetHeuristic(space->lt, h->what, h->a, h->b, h->d, h->d, h->wish, 1, &found, &n);
    *ret = found.algo;
    return status != CUBLAS_STATUS_SUCCESS || is_found(status, n, found) ? status : CUBLAS_STATUS_NOT_SUPPORTED;
}

void drop(product_handles *h)
{
    if (h->what != NULL)
        (void)cublasLtMatmulDescDestroy(h->what);
    for (cublasLtMatrixLayout_t layout : {h->a, h->b, h->d, h->most_b, h->most_d})
        if (layout != NULL)
            (void)cublasLtMatrixLayoutDestroy(layout);
    if (h->wish != NULL)
        (void)cublasLtMatmulPreferenceDestroy(h->wish);
}

} // namespace

/* d (column, ld) += bias (n), then activated. A thread a number. */
KERNEL void bias_k(int activation, float *d, uint32_t ld, const float *bias, uint32_t n, uint32_t columns)
{
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, i = at % n;
    float *to = d + (size_t)(at / n) * ld + i;
    if (at < n * columns)
        *to = activate(activation, *to + bias[i]);
}

static void add_bias(ebm_gpu_space *space, const gpu_product *p)
{
    uint32_t n = p->a.is_turned ? p->a.columns : p->a.rows, columns = p->b.is_turned ? p->b.rows : p->b.columns;
    const gpu_timed timed(space, space->compute, [&] {
        const double numbers = (double)n * columns;
        return gpu_work{"bias_k", EBM_LAUNCH_FP32, 2.0 * numbers, 8.0 * numbers + 4.0 * n};
    });
    LAUNCH(bias_k, gpu_blocks((size_t)n * columns), dim3(GPU_THREADS), 0, space->compute,
           p->has_relu ? EBM_ACT_RELU : EBM_ACT_IDENTITY, p->d, p->ld_d, p->bias, n, columns);
}

/* What there is an algorithm for: all that is asked; without its bias; nor with rounded inputs. */
struct settled {
    cublasLtMatmulAlgo_t algorithm;
    bool lacks_bias, is_exact;
};

static bool settle(ebm_gpu_space *space, const gpu_product *p, const product_handles *h, settled *ret)
{
    const cublasLtEpilogue_t none = CUBLASLT_EPILOGUE_DEFAULT;
    const cublasComputeType_t exact = CUBLAS_COMPUTE_32F;
    cublasStatus_t status = choose(space, h, &ret->algorithm);
    ret->lacks_bias = status != CUBLAS_STATUS_SUCCESS && p->bias != NULL;
    ret->is_exact = p->is_exact;
    if (ret->lacks_bias) {
        if (!set(space, h, CUBLASLT_MATMUL_DESC_EPILOGUE, &none, sizeof none))
            return false;
        status = choose(space, h, &ret->algorithm);
    }
    if (status != CUBLAS_STATUS_SUCCESS && !p->is_exact) {
        if (!set(space, h, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, &exact, sizeof exact))
            return false;
        ret->is_exact = true;
        status = choose(space, h, &ret->algorithm);
    }
    return status == CUBLAS_STATUS_SUCCESS ||
           gpu_lack(space, EBM_INVALID, "the choice of a product", cublasLtGetStatusString(status));
}

/* Each matrix once. */
static gpu_work product_work(const gpu_product *p, bool is_exact)
{
    const uint32_t rows = p->a.is_turned ? p->a.columns : p->a.rows, depth = p->a.is_turned ? p->a.rows : p->a.columns;
    const uint32_t columns = p->b.is_turned ? p->b.rows : p->b.columns;
    const double m = rows, n = columns, k = depth, batches = p->batches > 1 ? p->batches : 1;
    const double numbers = m * k + k * n + (p->adds ? 2.0 : 1.0) * m * n + (p->bias != NULL ? m : 0.0);
    return {"product",
            gpu_product_kind(is_exact),
            2.0 * batches * m * n * k,
            4.0 * batches * numbers,
            {rows, columns, depth}};
}

static bool run(ebm_gpu_space *space, const gpu_product *p, const product_handles *h, const settled *how)
{
    const float one = 1.0f, before = p->adds ? 1.0f : 0.0f;
    const gpu_timed timed(space, space->compute, [&] { return product_work(p, how->is_exact); });
    return gpu_fine(space,
                    cublasLtMatmul(space->lt, h->what, &one, p->a.p, h->a, p->b.p, h->b, &before, p->d, h->d, p->d,
                                   h->d, &how->algorithm, space->workspace, GPU_WORKSPACE, space->compute),
                    "a product");
}

bool gpu_multiply(ebm_gpu_space *space, const gpu_product *p)
{
    product_handles h = {};
    settled how = {};
    bool ok = describe(space, p, &h) && state_wishes(space, p, &h) && settle(space, p, &h, &how) &&
              run(space, p, &h, &how);
    drop(&h);
    if (ok && how.lacks_bias)
        add_bias(space, p);
    return ok;
}

/* ---- layers ---- */

/* a (sample, ld) = act(a), and plus in (sample, ld_in) unless it is NULL. */
KERNEL void act_k(int activation, float *a, uint32_t ld, const float *in, uint32_t ld_in, uint32_t n, uint32_t samples)
{
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, i = at % n;
    if (at >= samples * n)
        return;
    size_t sample = at / n;
    float value = activate(activation, a[sample * ld + i]);
    a[sample * ld + i] = in != NULL ? value + in[sample * ld_in + i] : value;
}

namespace
{

void activate_rows(ebm_gpu_space *space, const gpu_layer *l, float *a, uint32_t ld, const float *in, uint32_t ld_in,
                   uint32_t rows)
{
    const float *added = l->residual ? in : NULL;
    if (l->activation == EBM_ACT_IDENTITY && added == NULL)
        return;
    const gpu_timed timed(space, space->compute, [&] {
        const double numbers = (double)rows * l->out;
        return gpu_work{"act_k", EBM_LAUNCH_FP32, 2.0 * numbers, (added != NULL ? 12.0 : 8.0) * numbers};
    });
    LAUNCH(act_k, gpu_blocks((size_t)rows * l->out), dim3(GPU_THREADS), 0, space->compute, l->activation, a, ld, added,
           ld_in, l->out, rows);
}

} // namespace

bool gpu_multiply_layer(ebm_gpu_space *space, const gpu_layer *l, const float *bias, gpu_rows x, gpu_rows z,
                        uint32_t rows, uint32_t most_rows, bool is_exact)
{
    gpu_product p = {};
    p.a = {l->weight, l->in, l->out, l->ld, true};
    p.b = {x.p, l->in, rows, x.ld, false};
    p.d = z.p;
    p.ld_d = z.ld;
    p.bias = bias;
    p.most = most_rows;
    p.is_exact = is_exact;
    return gpu_multiply(space, &p);
}

bool gpu_run_layers(ebm_gpu_space *space, const gpu_layer *layers, uint32_t n, gpu_rows in, uint32_t rows,
                    uint32_t most_rows, bool is_exact, float *a, float *b, float *to, gpu_rows *ret)
{
    for (uint32_t i = 0; i < n; i++) {
        const gpu_layer *l = &layers[i];
        bool is_last = i + 1 == n && to != NULL;
        gpu_rows out = {is_last ? to : i % 2 == 0 ? a : b, is_last && is_exact ? l->out : gpu_round_up(l->out, 4)};
        if (!gpu_multiply_layer(space, l, l->bias, in, out, rows, most_rows, is_exact))
            return false;
        activate_rows(space, l, out.p, out.ld, in.p, in.ld, rows);
        in = out;
    }
    *ret = in;
    return true;
}

static const gpu_kernels loaded = {GPU_KERNEL(bias_k), GPU_KERNEL(act_k)};
