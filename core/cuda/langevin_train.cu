/* langevin_train.cu - ml_mcmc: candidates are the ends of Langevin chains that begin at the true target, as
 * core/train_langevin.c has them, and weigh the same.
 *
 * A step is the way of all candidates to f and back to y, then walk_k; the words of Philox are the CPU's. */
#include <math.h>

#include "core/cuda/block.h"
#include "core/cuda/philox.h"
#include "core/cuda/training_internal.h"

#define ROW_THREADS 256u

/* A seed derived from a seed: ebm_seed_derive. */
DEVICE uint64_t derived(uint64_t seed, uint32_t index)
{
    struct gpu_words words = philox(seed, index, 0, EBM_STREAM_SEED, 0);
    return (uint64_t)words.w1 << 32 | words.w0;
}

/* y += a^2 / 2 grad_y f + a eps of the chains; sizes a (D). What stands behind them stays. A thread a candidate,
 * blockIdx.y a row. */
KERNEL void walk_k(struct gpu_pass p, const float *sizes, struct gpu_rows dy, uint32_t step)
{
    uint32_t row = blockIdx.y, m = blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= p.M)
        return;
    const struct ebm_gpu_draw *draw = p.draws + row;
    const uint64_t seed = derived(draw->seed, step);
    const size_t at = (size_t)row * p.n + m;
    struct gpu_words words = {};
    for (uint32_t d = 0; d < p.D; d++) {
        uint32_t word = d + 1;
        if (d == 0 || word % 4 == 0)
            words = philox(seed, draw->row_in_request, draw->first_sample + m, EBM_STREAM_DRAWS, word / 4);
        float a = sizes[d];
        p.y.p[at * p.y.ld + d] += 0.5f * a * a * dy.p[at * dy.ld + d] + a * normal_of(word_of(words, word % 4));
    }
}

/* Mean of f at the ends of the chains less f at the true target. Rows without a finite loss give no gradient, and NaN.
 * A block a row. */
KERNEL void __launch_bounds__(ROW_THREADS) chains_k(struct gpu_pass p)
{
    SHARED(double, part, [2][MOST_WARPS]);
    struct block_space space = {part, 0};
    const size_t at = (size_t)blockIdx.x * p.n;
    double sum = 0.0;
    for (uint32_t m = threadIdx.x; m < p.M; m += ROW_THREADS)
        sum += (double)p.f[at + m];
    float value = (float)(block_sum(&space, sum) / (double)p.M - (double)p.f[at + p.M]);
    bool is_finite = fabsf(value) < INFINITY;
    float scale = is_finite ? p.scale : 0.0f;
    for (uint32_t m = threadIdx.x; m < p.n; m += ROW_THREADS)
        p.df[at + m] = m < p.M ? scale / (float)p.M : m == p.M ? -scale : 0.0f;
    if (threadIdx.x == 0)
        p.value[blockIdx.x] = is_finite ? value : NAN;
}

bool gpu_chains_walk(ebm_gpu_training *t, gpu_pass *pass, uint32_t first, uint32_t steps)
{
    const dim3 grid((pass->M + GPU_THREADS - 1) / GPU_THREADS, pass->rows);
    for (uint32_t step = 0; step < steps; step++) {
        gpu_rows dy;
        if (!gpu_slope(t, pass, first, &dy))
            return false;
        LAUNCH(walk_k, grid, dim3(GPU_THREADS), 0, t->space->compute, *pass, (const float *)t->there.label, dy, step);
    }
    return true;
}

void gpu_chains_judge(ebm_gpu_training *t, const gpu_pass *pass)
{
    LAUNCH(chains_k, dim3(pass->rows), dim3(ROW_THREADS), 0, t->space->compute, *pass);
}

static const gpu_kernels loaded = {GPU_KERNEL(walk_k), GPU_KERNEL(chains_k)};
