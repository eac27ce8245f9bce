/* answers.cu - what a row's draws come to: answers.h.
 *
 *   weigh_k        log weights, their largest, weights, their sums, the best draw
 *   moments_k      mean, variance and errors of a coordinate
 *   covariance_k   a row of the lower triangle
 *   rank_k         one weighted quantile of one coordinate: the smallest y whose cumulative weight reaches p; or the
 *                  largest weights
 *   choose_k       fair draws: a draw's place among cumulative weights by a uniform number of Philox
 *
 * A block has one row, or one coordinate of it; a warp has one quantile. Parts of a sum are every 256th (of ranks:
 * 32nd) draw, and lanes and warps are added in one order, so that a row's bytes depend on its draws alone. Ranks are
 * found bit by bit from the top, each bit by one sum: nothing is sorted, and nothing is atomic. */
#include <math.h>
#include <stdint.h>

#include "core/cuda/answers_internal.h"
#include "core/cuda/block.h"
#include "core/cuda/philox.h"
#include "core/cuda/profile_internal.h"

#define THREADS 256u
#define WARPS (THREADS / 32u)
#define FIRST_BIT 29u   /* of a weight: it is at most 1, and 1 has the bits 0x3f800000 */
#define WEIGH_FLOP 30.0 /* of a draw, about */
#define MOMENTS_FLOP 10.0
#define QUANTILE_SUMS 33.0 /* over all draws, of an addition and a comparison each: one more than bits */
#define TAIL_SUMS (FIRST_BIT + 2.0)

static_assert(WARPS == EBM_GPU_PARTS, "a warp for each part");

/* What all kernels read and write; y, log q, f, weights and cumulative ones lie as the slot's tiles do. */
struct gpu_draws {
    const struct ebm_gpu_question *questions;
    const double *probabilities;
    const float *y, *log_q, *f;
    float *weights;
    double *cumulative, *answers;
    uint32_t D;
};

/* ---- a row ---- */

struct row_draws {
    uint32_t M;
    const float *y; /* of coordinate 0: see y_at */
    float *w;
    double *head;
};

DEVICE struct row_draws row_of(const struct gpu_draws *all, const struct ebm_gpu_question *q)
{
    size_t first = (size_t)q->first_tile * EBM_GPU_TILE;
    return {q->M, all->y + first * all->D, all->weights + first, all->answers + q->head};
}

/* Coordinate d of draw m. */
DEVICE float y_at(const float *y, uint32_t D, uint32_t d, uint32_t m)
{
    return y[((size_t)(m / EBM_GPU_TILE) * D + d) * EBM_GPU_TILE + m % EBM_GPU_TILE];
}

/* ---- weights ---- */

/* Largest f - log q; NaN where there is none, or one is no finite number. */
DEVICE double largest_of(struct block_space *space, const float *f, const float *log_q, uint32_t M)
{
    double wrong = 0.0, most = -INFINITY;
    for (uint32_t m = threadIdx.x; m < M; m += THREADS) {
        float s = f[m] - log_q[m];
        wrong += s < INFINITY ? 0.0 : 1.0;
        most = larger(most, (double)s);
    }
    wrong = block_sum(space, wrong);
    most = block_largest(space, most);
    return wrong > 0.0 || most == -INFINITY ? (double)NAN : most;
}

/* The first draw of the highest f. */
DEVICE double best_of(struct block_space *space, const float *f, uint32_t M)
{
    double most = -INFINITY, first = -INFINITY;
    for (uint32_t m = threadIdx.x; m < M; m += THREADS)
        most = larger(most, (double)f[m]);
    most = block_largest(space, most);
    for (uint32_t m = threadIdx.x; m < M; m += THREADS)
        first = larger(first, (double)f[m] == most ? -(double)m : -INFINITY);
    return -block_largest(space, first);
}

/* A block a question. */
KERNEL void __launch_bounds__(THREADS) weigh_k(struct gpu_draws all)
{
    SHARED(double, part, [2][MOST_WARPS]);
    struct block_space space = {part, 0};
    const struct ebm_gpu_question *q = all.questions + blockIdx.x;
    const float *f = all.f + (size_t)q->first_tile * EBM_GPU_TILE, *log_q = all.log_q + (f - all.f);
    struct row_draws row = row_of(&all, q);
    double max = largest_of(&space, f, log_q, q->M), sum = 0.0, squares = 0.0, energy = 0.0;
    if (threadIdx.x == 0)
        row.head[EBM_GPU_MAX] = max;
    if (isnan(max))
        return;
    for (uint32_t m = threadIdx.x; m < q->M; m += THREADS) {
        float w = expf((f[m] - log_q[m]) - (float)max);
        row.w[m] = w;
        sum += (double)w;
        squares += (double)w * (double)w;
        energy += w > 0.0f ? (double)w * (double)f[m] : 0.0;
    }
    sum = block_sum(&space, sum);
    squares = block_sum(&space, squares);
    energy = block_sum(&space, energy);
    double best = best_of(&space, f, q->M);
    if (q->has_parts) {
        const float *own = row.w + threadIdx.x / 32 * (q->M / EBM_GPU_PARTS);
        double part_sum = 0.0;
        for (uint32_t m = threadIdx.x % 32; m < q->M / EBM_GPU_PARTS; m += 32)
            part_sum += (double)own[m];
        part_sum = warp_sum(part_sum);
        if (threadIdx.x % 32 == 0)
            row.head[EBM_GPU_PART_SUMS + threadIdx.x / 32] = part_sum;
    }
    if (threadIdx.x > 0)
        return;
    row.head[EBM_GPU_SUM] = sum;
    row.head[EBM_GPU_SQUARES] = squares;
    row.head[EBM_GPU_ENERGY] = energy;
    row.head[EBM_GPU_BEST] = best;
}

/* ---- moments ---- */

/* A block a question and coordinate. */
KERNEL void __launch_bounds__(THREADS) moments_k(struct gpu_draws all)
{
    SHARED(double, part, [2][MOST_WARPS]);
    struct block_space space = {part, 0};
    const struct ebm_gpu_question *q = all.questions + blockIdx.x;
    struct row_draws row = row_of(&all, q);
    uint32_t d = blockIdx.y, D = all.D;
    double *out = all.answers + q->coordinates + d * (uint32_t)EBM_GPU_SUMS, mean = 0.0, variance = 0.0, error = 0.0;
    if (isnan(row.head[EBM_GPU_MAX]))
        return;
    double sum = row.head[EBM_GPU_SUM];
    for (uint32_t m = threadIdx.x; m < q->M; m += THREADS)
        mean += (double)row.w[m] * (double)y_at(row.y, D, d, m);
    mean = block_sum(&space, mean) / sum;
    for (uint32_t m = threadIdx.x; m < q->M; m += THREADS) {
        double off = (double)y_at(row.y, D, d, m) - mean, weighted = (double)row.w[m] * off;
        variance += weighted * off;
        error += weighted * weighted;
    }
    variance = block_sum(&space, variance) / sum;
    error = block_sum(&space, error) / (sum * sum);
    if (q->has_parts) {
        uint32_t n = q->M / EBM_GPU_PARTS, first = threadIdx.x / 32 * n;
        double moment = 0.0;
        for (uint32_t m = first + threadIdx.x % 32; m < first + n; m += 32)
            moment += (double)row.w[m] * ((double)y_at(row.y, D, d, m) - mean);
        moment = warp_sum(moment);
        if (threadIdx.x % 32 == 0)
            out[EBM_GPU_PART_MOMENTS + threadIdx.x / 32] = moment;
    }
    if (threadIdx.x > 0)
        return;
    out[EBM_GPU_MEAN] = mean;
    out[EBM_GPU_VARIANCE] = variance;
    out[EBM_GPU_SQUARED_ERROR] = error;
    out[EBM_GPU_MODE] = (double)y_at(row.y, D, d, (uint32_t)row.head[EBM_GPU_BEST]);
}

/* A block a question and coordinate d, a warp a coordinate e <= d. After moments_k. */
KERNEL void __launch_bounds__(THREADS) covariance_k(struct gpu_draws all)
{
    const struct ebm_gpu_question *q = all.questions + blockIdx.x;
    struct row_draws row = row_of(&all, q);
    uint32_t d = blockIdx.y, D = all.D;
    const double *coordinates = all.answers + q->coordinates;
    if (q->covariance == 0 || isnan(row.head[EBM_GPU_MAX]))
        return;
    double mean = coordinates[d * (uint32_t)EBM_GPU_SUMS];
    for (uint32_t e = threadIdx.x / 32; e <= d; e += WARPS) {
        double other = coordinates[e * (uint32_t)EBM_GPU_SUMS], product = 0.0;
        for (uint32_t m = threadIdx.x % 32; m < q->M; m += 32)
            product += (double)row.w[m] * ((double)y_at(row.y, D, d, m) - mean) *
                       ((double)y_at(row.y, D, e, m) - other);
        product = warp_sum(product);
        if (threadIdx.x % 32 == 0)
            all.answers[q->covariance + d * D + e] = product / row.head[EBM_GPU_SUM];
    }
}

/* ---- ranks ---- */

/* Bits of the weight that has `most` others before it in descending order: more than `most` reach it. */
DEVICE uint32_t cutoff_of(const struct row_draws *row, uint32_t most)
{
    uint32_t level = 0;
    for (uint32_t bit = 1u << FIRST_BIT; bit != 0; bit >>= 1) {
        uint32_t count = 0;
        for (uint32_t m = threadIdx.x; m < row->M; m += 32)
            count += __float_as_uint(row->w[m]) >= (level | bit);
        for (uint32_t apart = 16; apart > 0; apart /= 2)
            count += __shfl_xor_sync(ALL_LANES, count, apart);
        if (count > most)
            level |= bit;
    }
    return level;
}

/* Weights above the cutoff into `to`, as they lie; their number. */
DEVICE uint32_t keep_above(const struct row_draws *row, uint32_t cutoff, float *to)
{
    uint32_t kept = 0;
    for (uint32_t first = 0; first < row->M; first += 32) {
        uint32_t m = first + threadIdx.x;
        bool keeps = m < row->M && __float_as_uint(row->w[m]) > cutoff;
        uint32_t votes = __ballot_sync(ALL_LANES, keeps);
        if (keeps)
            to[kept + (uint32_t)__popc(votes & ((1u << threadIdx.x) - 1))] = row->w[m];
        kept += (uint32_t)__popc(votes);
    }
    return kept;
}

/* Floats compare as their images do. */
DEVICE uint32_t image(float value)
{
    uint32_t bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

DEVICE float preimage(uint32_t bits)
{
    return __uint_as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

/* Of draws whose image is at most `most`. */
DEVICE double weight_up_to(const struct row_draws *row, uint32_t D, uint32_t d, uint32_t most)
{
    double sum = 0.0;
    for (uint32_t m = threadIdx.x; m < row->M; m += 32)
        sum += image(y_at(row->y, D, d, m)) <= most ? (double)row->w[m] : 0.0;
    return warp_sum(sum);
}

/* The smallest y of a draw at which a share p of the weight is reached. */
DEVICE float quantile(const struct row_draws *row, uint32_t D, uint32_t d, double p)
{
    uint32_t level = 0;
    double wanted = p * weight_up_to(row, D, d, 0xffffffffu);
    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1)
        if (weight_up_to(row, D, d, level | (bit - 1)) < wanted) /* of the largest image without this bit */
            level |= bit;
    return preimage(level);
}

/* A warp a question and (probability, coordinate), and a last one for the tail. */
KERNEL void __launch_bounds__(32) rank_k(struct gpu_draws all)
{
    const struct ebm_gpu_question *q = all.questions + blockIdx.x;
    struct row_draws row = row_of(&all, q);
    uint32_t n = q->n_probabilities * all.D, number = blockIdx.y;
    if (isnan(row.head[EBM_GPU_MAX]) || number > n)
        return;
    if (number < n) {
        double p = all.probabilities[q->probability + number / all.D];
        float y = quantile(&row, all.D, number % all.D, p);
        if (threadIdx.x == 0)
            all.answers[q->quantiles + number] = (double)y;
        return;
    }
    uint32_t cutoff = q->most_tail > 0 ? cutoff_of(&row, q->most_tail) : 0xffffffffu;
    uint32_t n_tail = keep_above(&row, cutoff, reinterpret_cast<float *>(all.answers + q->tail));
    if (threadIdx.x > 0)
        return;
    row.head[EBM_GPU_N_TAIL] = (double)n_tail;
    row.head[EBM_GPU_CUTOFF] = (double)__uint_as_float(cutoff);
}

/* ---- fair draws ---- */

/* A block a question, a thread a draw: the first whose cumulative weight passes a uniform number. */
KERNEL void __launch_bounds__(THREADS) choose_k(struct gpu_draws all)
{
    SHARED(double, starts, [THREADS]);
    const struct ebm_gpu_question *q = all.questions + blockIdx.x;
    struct row_draws row = row_of(&all, q);
    double *cumulative = all.cumulative + (row.w - all.weights);
    float *out = reinterpret_cast<float *>(all.answers + q->draws);
    if (q->n_draws == 0 || isnan(row.head[EBM_GPU_MAX]))
        return;
    cumulate(row.w, q->M, false, starts, cumulative);
    double sum = cumulative[q->M - 1];
    for (uint32_t i = threadIdx.x; i < q->n_draws; i += THREADS) {
        struct gpu_words words = philox(q->seed, q->row_in_request, i, EBM_STREAM_RESAMPLE, 0);
        double at = sum * ((double)(((uint64_t)words.w0 << 32 | words.w1) >> 11) * 0x1p-53);
        uint32_t low = 0, high = q->M - 1;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (cumulative[middle] > at)
                high = middle;
            else
                low = middle + 1;
        }
        for (uint32_t d = 0; d < all.D; d++)
            out[(size_t)i * all.D + d] = y_at(row.y, all.D, d, low);
    }
}

/* ---- the host's side ---- */

bool gpu_answers_make(ebm_gpu_space *space, gpu_memory *memory, uint32_t tiles, uint32_t D, gpu_answers *own,
                      struct ebm_gpu_slot *host)
{
    const size_t samples = (size_t)tiles * EBM_GPU_TILE, room = ebm_gpu_answer_room(tiles, D);
    const size_t questions = tiles * (sizeof(struct ebm_gpu_question) / sizeof(float));
    const size_t probabilities = 2 * (size_t)tiles * EBM_GPU_MAX_PROBABILITIES;
    float *device[4] = {}, *pinned[3] = {};
    bool ok = gpu_device_floats(space, memory, &device[0], questions) &&
              gpu_device_floats(space, memory, &device[1], probabilities) &&
              gpu_device_floats(space, memory, &device[2], 2 * room) &&
              gpu_device_floats(space, memory, &device[3], 2 * samples) &&
              gpu_device_floats(space, memory, &own->weights, samples) &&
              gpu_pinned_floats(space, memory, &pinned[0], questions) &&
              gpu_pinned_floats(space, memory, &pinned[1], probabilities) &&
              gpu_pinned_floats(space, memory, &pinned[2], 2 * room);
    own->questions = reinterpret_cast<struct ebm_gpu_question *>(device[0]);
    own->probabilities = reinterpret_cast<double *>(device[1]);
    own->answers = reinterpret_cast<double *>(device[2]);
    own->cumulative = reinterpret_cast<double *>(device[3]);
    host->questions = reinterpret_cast<struct ebm_gpu_question *>(pinned[0]);
    host->probabilities = reinterpret_cast<double *>(pinned[1]);
    host->answers = reinterpret_cast<double *>(pinned[2]);
    return ok;
}

bool gpu_answers_upload(ebm_gpu_space *space, cudaStream_t stream, const gpu_answers *own,
                        const struct ebm_gpu_slot *host, const struct ebm_gpu_load *load)
{
    return gpu_copy(space, stream, own->questions, host->questions, load->n_questions * sizeof *own->questions,
                    cudaMemcpyHostToDevice) &&
           gpu_copy(space, stream, own->probabilities, host->probabilities,
                    load->n_probabilities * sizeof *own->probabilities, cudaMemcpyHostToDevice);
}

/* What the questions of a slot need besides weights and moments. */
struct answers_wanted {
    uint32_t n, most_probabilities;
    bool covariance, draws;
};

/* What each kernel has to do for all questions of a slot. Weights and targets count once a launch: blocks of the same
 * row find them in L2. */
struct answers_work {
    gpu_work weigh, moments, covariance, rank, choose;
};

static struct answers_work work_of(const struct ebm_gpu_question *questions, const struct answers_wanted &wanted,
                                   double D)
{
    double draws = 0.0, products = 0.0, ranked = 0.0, chosen = 0.0;
    for (uint32_t i = 0; i < wanted.n; i++) {
        const struct ebm_gpu_question *q = &questions[i];
        const double M = q->M, sums = QUANTILE_SUMS * q->n_probabilities * D + (q->most_tail > 0 ? TAIL_SUMS : 1.0);
        draws += M;
        products += q->covariance > 0 ? M * D * (D + 1.0) / 2.0 : 0.0;
        ranked += M * sums;
        chosen += q->n_draws > 0 ? M : 0.0;
    }
    const double weights = 4.0 * draws, both = weights * (1.0 + D);
    return {{"weigh_k", EBM_LAUNCH_FP64, WEIGH_FLOP * draws, 3.0 * weights},
            {"moments_k", EBM_LAUNCH_FP64, MOMENTS_FLOP * draws * D, both},
            {"covariance_k", EBM_LAUNCH_FP64, 5.0 * products, both},
            {"rank_k", EBM_LAUNCH_FP64, 2.0 * ranked, wanted.most_probabilities > 0 ? both : weights},
            {"choose_k", EBM_LAUNCH_FP64, chosen, 12.0 * chosen, {}}};
}

static bool launch(ebm_gpu_space *space, const struct gpu_draws &all, const struct answers_wanted &wanted,
                   const struct ebm_gpu_question *questions)
{
    const dim3 rows(wanted.n), coordinates(wanted.n, all.D), threads(THREADS);
    const cudaStream_t stream = space->compute;
    const auto work = [&] { return work_of(questions, wanted, all.D); };
    {
        const gpu_timed timed(space, stream, [&] { return work().weigh; });
        LAUNCH(weigh_k, rows, threads, 0, stream, all);
    }
    {
        const gpu_timed timed(space, stream, [&] { return work().moments; });
        LAUNCH(moments_k, coordinates, threads, 0, stream, all);
    }
    if (wanted.covariance) {
        const gpu_timed timed(space, stream, [&] { return work().covariance; });
        LAUNCH(covariance_k, coordinates, threads, 0, stream, all);
    }
    {
        const gpu_timed timed(space, stream, [&] { return work().rank; });
        LAUNCH(rank_k, dim3(wanted.n, wanted.most_probabilities * all.D + 1), dim3(32), 0, stream, all);
    }
    if (wanted.draws) {
        const gpu_timed timed(space, stream, [&] { return work().choose; });
        LAUNCH(choose_k, rows, threads, 0, stream, all);
    }
    return gpu_fine(space, cudaGetLastError(), "answers");
}

bool gpu_answers_enqueue(ebm_gpu_space *space, const gpu_answers *own, const struct ebm_gpu_slot *host,
                         const struct ebm_gpu_load *load, uint32_t D, const float *y, const float *log_q,
                         const float *f)
{
    const struct gpu_draws all = {own->questions,  own->probabilities, y, log_q, f, own->weights,
                                  own->cumulative, own->answers,       D};
    struct answers_wanted wanted = {load->n_questions, 0, false, false};
    for (uint32_t i = 0; i < wanted.n; i++) {
        const struct ebm_gpu_question *q = &host->questions[i];
        if (q->n_probabilities > wanted.most_probabilities)
            wanted.most_probabilities = q->n_probabilities;
        wanted.covariance = wanted.covariance || q->covariance > 0;
        wanted.draws = wanted.draws || q->n_draws > 0;
    }
    return wanted.n == 0 || launch(space, all, wanted, host->questions);
}

bool gpu_answers_download(ebm_gpu_space *space, cudaStream_t stream, const gpu_answers *own,
                          const struct ebm_gpu_slot *host, const struct ebm_gpu_load *load)
{
    return gpu_copy(space, stream, host->answers, own->answers, load->n_answers * sizeof *own->answers,
                    cudaMemcpyDeviceToHost);
}

static const gpu_kernels loaded = {GPU_KERNEL(weigh_k), GPU_KERNEL(moments_k), GPU_KERNEL(covariance_k),
                                   GPU_KERNEL(rank_k), GPU_KERNEL(choose_k)};
