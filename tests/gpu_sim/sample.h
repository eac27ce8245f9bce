/* sample.h - a small CUDA program that the simulator is tested with, as a plug-in with one function. */
#ifndef GPU_SIM_SAMPLE_H
#define GPU_SIM_SAMPLE_H

#include <stdint.h>

/* h = relu(W x + b of the row's batch), f = h . v, y = draws of N(mean, deviation), lse and ess of the rows' f - y;
 * total = sum of all f. All of it twice, the second time by a graph. Shapes: B batches of M rows of `in` numbers. */
struct sample {
    int B, M, in, out; /* out a multiple of 4 */
    uint64_t seed;
    const float *x, *weight, *bias, *v; /* (B, M, in), (out, in), (B, out), (out) */
    const float *mean, *deviation;      /* (B) */
    float *h, *f, *y, *lse, *ess;       /* out: (B, M, out), (B, M), (B, M), (B), (B) */
    double *total;                      /* out */
};

/* 0, or an error of CUDA or (negative) of cuBLAS; nothing is left behind either way. */
typedef int sample_run_fn(const struct sample *s);

#endif
