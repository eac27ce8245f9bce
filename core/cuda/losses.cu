/* losses.cu - the training losses of a chunk's rows, as core/loss.c and core/mixture.c have them: noise, candidates,
 * each row's loss and its gradients in f and log q, the gradient of each row's mixture. What is exponentiated is float,
 * and differences of large numbers are taken before they are rounded together: see loss_k. */
#include <math.h>

#include "core/cuda/block.h"
#include "core/cuda/mixture.h"
#include "core/cuda/philox.h"
#include "core/cuda/training_internal.h"

#define CANDIDATES 128u /* of a block of candidates_k */
#define ROW_THREADS 256u
#ifndef SHARED_OUT       /* tests have fewer */
#define SHARED_OUT 1024u /* candidates whose shares a warp keeps */
#endif
#define HALF_LOG_2_PI 0.91893853320467274f

/* ---- noise ---- */

struct gpu_mixture_parts {
    float *mean, *std, *inv_std, *log_const, *log_weight;
    uint32_t *below;
};

DEVICE struct gpu_density density_of(const struct gpu_mixture_parts *q, uint32_t D, uint32_t K)
{
    return {D, K, q->mean, q->inv_std, q->log_const};
}

DEVICE struct gpu_mixture_parts parts_at(float *at, uint32_t D, uint32_t K)
{
    struct gpu_mixture_parts q;
    q.mean = at;
    q.std = q.mean + D * K;
    q.inv_std = q.std + D * K;
    q.log_const = q.inv_std + D * K;
    q.log_weight = q.log_const + K;
    q.below = reinterpret_cast<uint32_t *>(q.log_weight + K);
    return q;
}

/* The row of a thread's warp. */
DEVICE uint32_t row_of_warp()
{
    return blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
}

/* noise: std, inv_std, log_const, below. A warp a row. */
KERNEL void bind_noise_k(float *mixtures, size_t apart, const float *noise, const float *center, uint32_t D, uint32_t K,
                         uint32_t rows)
{
    const uint32_t row = row_of_warp(), lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    struct gpu_mixture_parts q = parts_at(mixtures + row * apart, D, K);
    const uint32_t *below = reinterpret_cast<const uint32_t *>(noise + (2 * D + 1) * K);
    for (uint32_t i = lane; i < D * K; i += 32) {
        q.mean[i] = center[(size_t)row * D + i / K];
        q.std[i] = noise[i];
        q.inv_std[i] = noise[D * K + i];
    }
    for (uint32_t k = lane; k < K; k += 32) {
        q.log_const[k] = noise[2 * D * K + k];
        q.log_weight[k] = 0.0f; /* nobody learns them */
        q.below[k] = below[k];
    }
}

/* Words that make uniform numbers below `share`: ebm_words_below. */
DEVICE uint32_t words_below(float share)
{
    float words = share * 0x1p32f;
    return words < 0x1p32f ? (uint32_t)words : 0xffffffffu;
}

/* Weights, thresholds and constants of one row's mixture. Each lane has all weights of its components anew: sums go in
 * the components' order, and no lane waits. */
DEVICE void bind_weights(struct gpu_mixture_parts *q, const float *log_variance, const float *logits, uint32_t D,
                         uint32_t K)
{
    float max = -INFINITY, sum = 0.0f, below = 0.0f;
    uint32_t summed = 0;
    for (uint32_t k = 0; k < K; k++)
        max = fmaxf(max, logits[k]);
    for (uint32_t k = 0; k < K; k++)
        sum += expf(logits[k] - max);
    for (uint32_t k = threadIdx.x % 32; k < K; k += 32) {
        float constant = logits[k] - max - logf(sum);
        for (; summed <= k; summed++)
            below += expf(logits[summed] - max - logf(sum));
        q->log_weight[k] = constant;
        q->below[k] = words_below(below);
        for (uint32_t d = 0; d < D; d++)
            constant -= 0.5f * log_variance[d * K + k] + HALF_LOG_2_PI;
        q->log_const[k] = constant;
    }
}

/* A warp a row. */
KERNEL void bind_proposal_k(float *mixtures, size_t apart, struct gpu_rows mean, struct gpu_rows log_variance,
                            struct gpu_rows logits, uint32_t D, uint32_t K, uint32_t rows)
{
    const uint32_t row = row_of_warp();
    if (row >= rows)
        return;
    struct gpu_mixture_parts q = parts_at(mixtures + row * apart, D, K);
    const float *variance = log_variance.p + (size_t)row * log_variance.ld;
    for (uint32_t i = threadIdx.x % 32; i < D * K; i += 32) {
        q.mean[i] = mean.p[(size_t)row * mean.ld + i];
        q.std[i] = expf(0.5f * variance[i]);
        q.inv_std[i] = expf(-0.5f * variance[i]);
    }
    bind_weights(&q, variance, logits.p + (size_t)row * logits.ld, D, K);
}

/* ---- candidates ---- */

DEVICE struct gpu_mixture_parts mixture_of(const struct gpu_pass *p, uint32_t row)
{
    return parts_at(const_cast<float *>(p->mixtures) + (size_t)row * (3 * p->D + 3) * p->K, p->D, p->K);
}

DEVICE void draw(float *y, const struct gpu_mixture_parts *q, const struct ebm_gpu_draw *draw, uint32_t sample,
                 uint32_t D, uint32_t K)
{
    struct gpu_words words = philox(draw->seed, draw->row_in_request, sample, EBM_STREAM_DRAWS, 0);
    uint32_t k = 0;
    while (k + 1 < K && words.w0 >= q->below[k])
        k++;
    for (uint32_t d = 0; d < D; d++) {
        uint32_t at = d + 1;
        if (at % 4 == 0)
            words = philox(draw->seed, draw->row_in_request, sample, EBM_STREAM_DRAWS, at / 4);
        y[d] = q->mean[d * K + k] + q->std[d * K + k] * normal_of(word_of(words, at % 4));
    }
}

DEVICE float label_density(const float *y, const float *center, const float *label, uint32_t D)
{
    float squares = 0.0f;
    for (uint32_t d = 0; d < D; d++) {
        float z = (y[d] - center[d]) * label[d];
        squares += z * z;
    }
    return label[D] - 0.5f * squares;
}

DEVICE void place(float *y, const struct gpu_pass *p, const struct gpu_mixture_parts *q, uint32_t row, uint32_t m)
{
    if (m < p->M && p->given_y == NULL)
        draw(y, q, p->draws + row, p->draws[row].first_sample + p->first_sample + m, p->D, p->K);
    for (uint32_t d = 0; d < p->D && m < p->M && p->given_y != NULL; d++)
        y[d] = p->given_y[((size_t)row * p->n + m) * p->D + d];
    for (uint32_t d = 0; d < p->D && m >= p->M; d++)
        y[d] = p->y_0[(size_t)row * p->D + d];
}

/* A thread a candidate, blockIdx.y a row. */
KERNEL void __launch_bounds__(CANDIDATES) candidates_k(struct gpu_pass p)
{
    uint32_t row = blockIdx.y, m = blockIdx.x * CANDIDATES + threadIdx.x;
    if (m >= p.n)
        return;
    size_t at = (size_t)row * p.n + m;
    float *y = p.y.p + at * p.y.ld;
    struct gpu_mixture_parts q = mixture_of(&p, row);
    place(y, &p, &q, row, m);
    const struct gpu_density density = density_of(&q, p.D, p.K);
    if (p.K > 0)
        p.log_q[at] = p.given_log_q != NULL ? p.given_log_q[at] : log_density(y, 1, &density);
    if (p.label != NULL)
        p.log_label[at] = p.given_log_label != NULL ? p.given_log_label[at]
                                                    : label_density(y, p.center + (size_t)row * p.D, p.label, p.D);
}

/* ---- losses ---- */

/* How much of each sum a loss has: core/loss.c. */
struct gpu_shares {
    bool nce, ml, kld, moves_draws;
    float kl, nll;
};

DEVICE struct gpu_shares shares_of(uint32_t loss)
{
    struct gpu_shares s = {};
    s.nce = loss == EBM_LOSS_NCE || loss == EBM_LOSS_NCE_PLUS || loss == EBM_LOSS_NCE_KL ||
            loss == EBM_LOSS_MDN_KL_TEACHER;
    s.ml = loss == EBM_LOSS_ML_IS || loss == EBM_LOSS_JOINT;
    s.kld = loss == EBM_LOSS_KLD_IS;
    s.moves_draws = loss == EBM_LOSS_JOINT;
    s.kl = loss == EBM_LOSS_NCE_KL || loss == EBM_LOSS_KL_PROPOSAL ? 1.0f
           : loss == EBM_LOSS_MDN_KL_TEACHER                       ? 0.5f
                                                                   : 0.0f;
    s.nll = loss == EBM_LOSS_MDN_NLL ? 1.0f : loss == EBM_LOSS_MDN_KL_TEACHER ? 0.5f : 0.0f;
    return s;
}

/* What a row's draws come to. */
struct gpu_sums {
    float max, sum, labels; /* of f - log q: the largest, and of exp below it; sum of f r, r = N_label / q */
};

DEVICE struct gpu_sums sums_of(const struct gpu_pass *p, size_t row, bool labels, struct block_space *space)
{
    const float *f = p->f + row * p->n, *log_q = p->log_q + row * p->n;
    struct gpu_sums to = {-INFINITY, 0.0f, 0.0f};
    for (uint32_t m = threadIdx.x; m < p->M; m += ROW_THREADS) /* passes over a NaN, which the sum shows */
        to.max = fmaxf(to.max, f[m] - log_q[m]);
    to.max = (float)block_largest(space, (double)to.max);
    for (uint32_t m = threadIdx.x; m < p->M; m += ROW_THREADS) {
        to.sum += expf(f[m] - log_q[m] - to.max);
        if (labels)
            to.labels += f[m] * expf(p->log_label[row * p->n + m] - log_q[m]);
    }
    to.sum = (float)block_sum(space, (double)to.sum);
    if (labels)
        to.labels = (float)block_sum(space, (double)to.labels);
    return to;
}

/* The row's loss; ret_energy: |df| summed over the draws. above: log of draws over the target's, where all the large
 * numbers cancel. */
DEVICE float value_of(const struct gpu_shares *share, const struct gpu_sums *sums, float f_0, float log_q_0, float M,
                      float *ret_energy)
{
    float value = -share->nll * log_q_0, draws = sums->max + logf(sums->sum);
    *ret_energy = share->ml || share->kld ? 1.0f : 0.0f;
    if (share->nce) {
        float above = sums->max - (f_0 - log_q_0) + logf(sums->sum);
        value += fmaxf(above, 0.0f) + log1pf(expf(-fabsf(above)));
        *ret_energy = 1.0f / (1.0f + expf(-above));
    } else if (share->ml) {
        value += sums->max - f_0 + logf(sums->sum) - logf(M);
    } else if (share->kld) {
        value += draws - logf(M) - sums->labels / M;
    }
    return share->kl > 0.0f ? value + share->kl * (draws - logf(M)) : value;
}

/* A block a row. Rows without a finite loss give no gradient, and NaN. */
KERNEL void __launch_bounds__(ROW_THREADS) loss_k(struct gpu_pass p)
{
    SHARED(double, part, [2][MOST_WARPS]);
    struct block_space space = {part, 0};
    const size_t row = blockIdx.x, at = row * p.n;
    const struct gpu_shares share = shares_of(p.loss);
    struct gpu_sums sums = {0.0f, 1.0f, 0.0f};
    float energy, f_0 = 0.0f;
    if (p.M > 0) {
        sums = sums_of(&p, row, share.kld, &space);
        f_0 = p.f[at + p.M];
    }
    float value = value_of(&share, &sums, f_0, p.log_q[at + p.M], (float)p.M, &energy);
    bool is_finite = fabsf(value) < INFINITY;
    float scale = is_finite ? p.scale : 0.0f, by_target = share.kld ? 0.0f : -scale * energy;
    float proposal = scale * (share.kl + (share.moves_draws ? 1.0f : 0.0f));
    for (uint32_t m = threadIdx.x; m < p.n; m += ROW_THREADS) {
        float df = m == p.M ? by_target : 0.0f, dlog_q = m == p.M ? -scale * share.nll : 0.0f;
        if (m < p.M && is_finite) {
            float weight = expf(p.f[at + m] - p.log_q[at + m] - sums.max) / sums.sum;
            df = scale * energy * weight;
            if (share.kld)
                df -= scale * expf(p.log_label[at + m] - p.log_q[at + m]) / (float)p.M;
            dlog_q = -proposal * weight;
        }
        p.df[at + m] = df;
        p.dlog_q[at + m] = dlog_q;
    }
    if (threadIdx.x == 0)
        p.value[row] = is_finite ? value : NAN;
}

/* ---- the mixture's gradient ---- */

/* Sums of the three numbers over the warp's lanes. */
DEVICE void sum_lanes(float *a, float *b, float *c)
{
    for (uint32_t apart = 16; apart > 0; apart /= 2) {
        *a += __shfl_xor_sync(ALL_LANES, *a, apart);
        *b += __shfl_xor_sync(ALL_LANES, *b, apart);
        *c += __shfl_xor_sync(ALL_LANES, *c, apart);
    }
}

/* What candidates first .. end - 1 of a row give to component k: `own`, a number a candidate, gets dlog q times the
 * component's share, each lane's for itself. Returns the logit's gradient. */
DEVICE float share_out(const struct gpu_pass *p, const struct gpu_mixture_parts *q, size_t row, uint32_t k,
                       uint32_t first, uint32_t end, float *own)
{
    const struct gpu_density density = density_of(q, p->D, p->K);
    const float weight = expf(q->log_weight[k]);
    float by_weight = 0.0f;
    for (uint32_t m = first + threadIdx.x % 32; m < end; m += 32) {
        const size_t at = row * p->n + m;
        const float g = p->dlog_q[at];
        float r = g == 0.0f ? 0.0f : expf(log_share(p->y.p + at * p->y.ld, 1, &density, k) - p->log_q[at]);
        own[m - first] = g * r;
        if (g != 0.0f)
            by_weight += g * (r - weight);
    }
    return by_weight;
}

/* The gradients of component k of a row, from candidates first .. end - 1: added to what those before gave. */
DEVICE void gather(const struct gpu_pass *p, const struct gpu_mixture_parts *q, size_t row, uint32_t k, uint32_t first,
                   uint32_t end, float *own, float *mean, float *log_variance, float *logit)
{
    const uint32_t lane = threadIdx.x % 32;
    float by_weight = share_out(p, q, row, k, first, end, own);
    for (uint32_t d = 0; d < p->D; d++) {
        const float inv_std = q->inv_std[d * p->K + k], center = q->mean[d * p->K + k];
        float by_mean = 0.0f, by_spread = 0.0f, by_logit = d == 0 ? by_weight : 0.0f;
        for (uint32_t m = first + lane; m < end; m += 32) {
            if (own[m - first] == 0.0f)
                continue;
            float z = (p->y.p[(row * p->n + m) * p->y.ld + d] - center) * inv_std;
            by_mean += own[m - first] * z * inv_std;
            by_spread += own[m - first] * 0.5f * (z * z - 1.0f);
        }
        sum_lanes(&by_mean, &by_spread, &by_logit);
        if (lane > 0)
            continue;
        mean[d * p->K + k] = first > 0 ? mean[d * p->K + k] + by_mean : by_mean;
        log_variance[d * p->K + k] = first > 0 ? log_variance[d * p->K + k] + by_spread : by_spread;
        if (d == 0)
            logit[k] = first > 0 ? logit[k] + by_logit : by_logit;
    }
}

/* A block a row, a warp a component, whose shares of SHARED_OUT candidates are taken once for all coordinates. */
KERNEL void __launch_bounds__(ROW_THREADS)
    mixture_gradient_k(struct gpu_pass p, struct gpu_rows dmean, struct gpu_rows dlog_variance, struct gpu_rows dlogits)
{
    SHARED(float, own, [ROW_THREADS / 32][SHARED_OUT]);
    const size_t row = blockIdx.x;
    const struct gpu_mixture_parts q = mixture_of(&p, (uint32_t)row);
    for (uint32_t k = threadIdx.x / 32; k < p.K; k += ROW_THREADS / 32)
        for (uint32_t first = 0; first < p.n; first += SHARED_OUT)
            gather(&p, &q, row, k, first, first + SHARED_OUT < p.n ? first + SHARED_OUT : p.n, own[threadIdx.x / 32],
                   dmean.p + row * dmean.ld, dlog_variance.p + row * dlog_variance.ld, dlogits.p + row * dlogits.ld);
}

/* ---- launches ---- */

void gpu_bind_noise(cudaStream_t stream, float *mixtures, const float *noise, const float *center, uint32_t D,
                    uint32_t K, uint32_t rows)
{
    LAUNCH(bind_noise_k, gpu_blocks((size_t)rows * 32), dim3(GPU_THREADS), 0, stream, mixtures, gpu_mixture_count(D, K),
           noise, center, D, K, rows);
}

void gpu_bind_proposal(cudaStream_t stream, float *mixtures, gpu_rows mean, gpu_rows log_variance, gpu_rows logits,
                       uint32_t D, uint32_t K, uint32_t rows)
{
    LAUNCH(bind_proposal_k, gpu_blocks((size_t)rows * 32), dim3(GPU_THREADS), 0, stream, mixtures,
           gpu_mixture_count(D, K), mean, log_variance, logits, D, K, rows);
}

void gpu_candidates(cudaStream_t stream, const gpu_pass *pass)
{
    LAUNCH(candidates_k, dim3((pass->n + CANDIDATES - 1) / CANDIDATES, pass->rows), dim3(CANDIDATES), 0, stream, *pass);
}

void gpu_losses(cudaStream_t stream, const gpu_pass *pass)
{
    LAUNCH(loss_k, dim3(pass->rows), dim3(ROW_THREADS), 0, stream, *pass);
}

void gpu_mixture_gradient(cudaStream_t stream, const gpu_pass *pass, gpu_rows dmean, gpu_rows dlog_variance,
                          gpu_rows dlogits)
{
    LAUNCH(mixture_gradient_k, dim3(pass->rows), dim3(ROW_THREADS), 0, stream, *pass, dmean, dlog_variance, dlogits);
}

static const gpu_kernels loaded = {GPU_KERNEL(bind_noise_k), GPU_KERNEL(bind_proposal_k), GPU_KERNEL(candidates_k),
                                   GPU_KERNEL(loss_k), GPU_KERNEL(mixture_gradient_k)};
