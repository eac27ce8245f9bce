/* blas.h - the three matrix products of a wide layer, by OpenBLAS. Private to core; the only users of cblas.h. */
#ifndef EBM_CORE_BLAS_H
#define EBM_CORE_BLAS_H

#include "core/base.h"

/* All row-major. A thread calls these at any time; each call runs on the calling thread alone. */
void ebm_blas_init(void); /* idempotent */

/* c (m, n) = beta c + a (m, k) b (k, n); row strides lda, ldb, ldc. */
void ebm_blas_nn(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m, uint32_t n,
                 uint32_t k, float beta);
/* c (m, n) = a (k, m)^T b (k, n) */
void ebm_blas_tn(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m, uint32_t n,
                 uint32_t k);
/* c (m, n) += a (m, k) b (n, k)^T */
void ebm_blas_nt_add(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m,
                     uint32_t n, uint32_t k);
/* c (m, n) += a (m, k) b (k, n), in double */
void ebm_blas_nn_add_double(double *c, size_t ldc, const double *a, size_t lda, const double *b, size_t ldb, uint32_t m,
                            uint32_t n, uint32_t k);

#endif
