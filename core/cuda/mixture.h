/* mixture.h - the density of a Gaussian mixture of diagonal covariances, bound to a row: mean and inv_std (D, K),
 * log_const (K). Coordinates of y lie `apart` numbers from each other. */
#ifndef EBM_CORE_CUDA_MIXTURE_H
#define EBM_CORE_CUDA_MIXTURE_H

#include <math.h>
#include <stdint.h>

#include "core/cuda/compat.h"

struct gpu_density {
    uint32_t D, K;
    const float *mean, *inv_std, *log_const;
};

/* log of component k's share of the density. */
DEVICE float log_share(const float *y, uint32_t apart, const struct gpu_density *q, uint32_t k)
{
    float squares = 0.0f;
    for (uint32_t d = 0; d < q->D; d++) {
        float z = (y[d * apart] - q->mean[d * q->K + k]) * q->inv_std[d * q->K + k];
        squares += z * z;
    }
    return q->log_const[k] - 0.5f * squares;
}

/* log of the sum of the components' shares in one pass; a NaN in any of them shows in the sum. */
DEVICE float log_density(const float *y, uint32_t apart, const struct gpu_density *q)
{
    float max = -INFINITY, sum = 0.0f;
    for (uint32_t k = 0; k < q->K; k++) {
        float share = log_share(y, apart, q, k);
        if (share > max) {
            sum = sum * expf(max - share) + 1.0f;
            max = share;
        } else if (share != -INFINITY) {
            sum += expf(share - max);
        }
    }
    return max + logf(sum);
}

#endif
