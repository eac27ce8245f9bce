/* blas.c - the one file that knows OpenBLAS.
 *
 * OpenBLAS runs one thread a call: we parallelise over rows, and two single-threaded products beat one on two threads.
 * Its bytes depend on shape and position (0.3.21), so callers keep shapes fixed and lanes in place; see the x tile of
 * device_generic.c. */
#include "core/blas.h"

#include <cblas.h>
#include <pthread.h>

static void init_once(void)
{
    openblas_set_num_threads(1);
}

void ebm_blas_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_once);
}

void ebm_blas_nn(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m, uint32_t n,
                 uint32_t k, float beta)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f, a, (blasint)lda, b,
                (blasint)ldb, beta, c, (blasint)ldc);
}

void ebm_blas_tn(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m, uint32_t n,
                 uint32_t k)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f, a, (blasint)lda, b,
                (blasint)ldb, 0.0f, c, (blasint)ldc);
}

void ebm_blas_nt_add(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m,
                     uint32_t n, uint32_t k)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f, a, (blasint)lda, b,
                (blasint)ldb, 1.0f, c, (blasint)ldc);
}

void ebm_blas_nn_add_double(double *c, size_t ldc, const double *a, size_t lda, const double *b, size_t ldb, uint32_t m,
                            uint32_t n, uint32_t k)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1.0, a, (blasint)lda, b,
                (blasint)ldb, 1.0, c, (blasint)ldc);
}
