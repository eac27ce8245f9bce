/* kernels_cpu_draw.h - random words and the targets that they make, EBM_LANES samples at a time. A part of
 * kernels_cpu_lanes.c: included there and nowhere else, so that it is compiled for each instruction set. */
#ifndef EBM_CORE_KERNELS_CPU_DRAW_H
#define EBM_CORE_KERNELS_CPU_DRAW_H

#include "core/kernels.h"
#include "core/kernels_cpu_confined.h"
#include "core/lanes.h"

/* Lanes of 64 bits, of which the products use the lower 32 and the rest may hold anything. */
typedef uint64_t wide __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t half __attribute__((vector_size(WIDTH * 2), aligned(4), may_alias));
#define WIDE_LANES (WIDTH / 2)
#define PHILOX_ROUNDS 10

static inline wide product_of_low_halves(wide a, uint32_t b)
{
#if defined(__AVX512F__)
    return (wide)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__)
    return (wide)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#else
    return (a & 0xffffffffu) * b;
#endif
}

/* The key of each round. */
struct philox_keys {
    uint64_t key[PHILOX_ROUNDS][2];
};

static struct philox_keys philox_keys_of(uint64_t seed)
{
    struct philox_keys keys;
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        keys.key[round][0] = key0;
        keys.key[round][1] = key1;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return keys;
}

/* One block of words of each of so many samples. */
#define RUN 64u
struct words {
    uint32_t of[4][RUN];
};

/* Philox 4x32-10 for the samples `first` .. first + EBM_LANES - 1, put down from `to` on; the same words as ebm_philox.
 */
static inline void philox_lanes(struct words *words, uint32_t to, const struct philox_keys *keys, uint32_t row,
                                uint32_t first, uint32_t block_no)
{
    for (uint32_t at = 0; at < EBM_LANES; at += WIDE_LANES) {
        wide w0, w1 = (wide){0} + row, w2 = (wide){0} + EBM_STREAM_DRAWS, w3 = (wide){0} + block_no;
        for (uint32_t l = 0; l < WIDE_LANES; l++)
            w0[l] = first + at + l;
        for (int round = 0; round < PHILOX_ROUNDS; round++) {
            wide p0 = product_of_low_halves(w0, 0xD2511F53u), p1 = product_of_low_halves(w2, 0xCD9E8D57u);
            w0 = (p1 >> 32) ^ w1 ^ keys->key[round][0];
            w1 = p1;
            w2 = (p0 >> 32) ^ w3 ^ keys->key[round][1];
            w3 = p0;
        }
        *(half *)&words->of[0][to + at] = __builtin_convertvector(w0, half);
        *(half *)&words->of[1][to + at] = __builtin_convertvector(w1, half);
        *(half *)&words->of[2][to + at] = __builtin_convertvector(w2, half);
        *(half *)&words->of[3][to + at] = __builtin_convertvector(w3, half);
    }
}

/* Coordinate d of EBM_LANES draws on the line: mean and std of each lane's component, which `picks` choose, plus its
 * normal number. */
static inline void draw_line(float *y, const struct ebm_mixture *q, uint32_t d, const uint32_t *picks,
                             const uint32_t *words)
{
    const float *means = q->mean + (size_t)d * q->K, *stds = q->std + (size_t)d * q->K;
    for (uint32_t at = 0; at < EBM_LANES; at += WIDTH) {
        vec mean = vec_all(means[0]), std = vec_all(stds[0]);
        for (uint32_t k = 1; k < q->K; k++) {
            vec_mask is_later = vec_reaches(vec_load_words(picks + at), (vec_words){0} + q->below[k - 1]);
            mean = vec_select(is_later, vec_all(means[k]), mean);
            std = vec_select(is_later, vec_all(stds[k]), std);
        }
        vec_store(y + at, mean + std * lanes_normal(vec_load_words(words + at)));
    }
}

static inline void draw_coordinate(float *y, const struct ebm_mixture *q, uint32_t d, const uint32_t *picks,
                                   const uint32_t *words, bool is_confined)
{
    if (is_confined && q->support[d].kind != EBM_SUPPORT_REAL)
        draw_confined(y, q, d, picks, words);
    else
        draw_line(y, q, d, picks, words);
}

/* Block `block_no` of n samples. */
static inline void philox_run(struct words *words, const struct philox_keys *keys, uint32_t row, uint32_t first,
                              uint32_t block_no, uint32_t n)
{
    for (uint32_t l = 0; l < n; l += EBM_LANES)
        philox_lanes(words, l, keys, row, first + l, block_no);
}

/* At most RUN samples: first the words of all, then their numbers, since both are long chains of operations of which
 * the machine does several side by side when they follow each other. Compiled twice: is_confined is a constant where
 * this is used. */
static inline __attribute__((always_inline)) void draw_run(float *y, size_t stride, const struct ebm_mixture *q,
                                                           const struct philox_keys *keys, uint32_t row, uint32_t first,
                                                           uint32_t n, bool is_confined)
{
    struct words words;
    uint32_t picks[RUN];
    philox_run(&words, keys, row, first, 0, n);
    memcpy(picks, words.of[0], n * sizeof *picks);
    for (uint32_t d = 0; d < q->D; d++) {
        if ((d + 1) % 4 == 0)
            philox_run(&words, keys, row, first, (d + 1) / 4, n);
        for (uint32_t l = 0; l < n; l += EBM_LANES)
            draw_coordinate(y + d * stride + l, q, d, picks + l, words.of[(d + 1) % 4] + l, is_confined);
    }
}

static void draw(float *y, size_t stride, const struct ebm_mixture *q, uint64_t seed, uint32_t row, uint32_t first,
                 uint32_t L)
{
    const struct philox_keys keys = philox_keys_of(seed);
    for (uint32_t at = 0; at < L; at += RUN) {
        uint32_t n = L - at < RUN ? L - at : RUN;
        if (q->confined != NULL)
            draw_run(y + at, stride, q, &keys, row, first + at, n, true);
        else
            draw_run(y + at, stride, q, &keys, row, first + at, n, false);
    }
}

static void place(float *y, size_t stride, const struct ebm_mixture *q, const uint32_t *words, size_t word_stride,
                  uint32_t L)
{
    for (uint32_t at = 0; at < L; at += EBM_LANES)
        for (uint32_t d = 0; d < q->D; d++)
            draw_coordinate(y + d * stride + at, q, d, words + at, words + (d + 1) * word_stride + at,
                            q->confined != NULL);
}

EBM_SOBOL_SCRAMBLE(static inline, sobol_scramble, vec_words)

/* Dimension d of EBM_LANES samples from `first` on, whose indices differ in the lowest four bits: those give `low`. */
static inline void sobol_lanes(uint32_t *words, const struct ebm_sobol *set, uint32_t d, uint32_t first,
                               const uint32_t *low)
{
    uint32_t high = 0;
    for (uint32_t bit = 4; first >> bit != 0; bit++)
        high ^= first >> bit & 1u ? ebm_sobol_directions[d][bit] : 0u;
    for (uint32_t l = 0; l < EBM_LANES; l += WIDTH)
        *(vec_words *)(words + l) = sobol_scramble(vec_load_words(low + l) ^ high, set->shift[d], set->factor[d]);
}
_Static_assert(EBM_LANES == 16, "four bits of an index");

static void sobol_words(uint32_t *words, size_t word_stride, const struct ebm_sobol *set, uint32_t first, uint32_t L)
{
    for (uint32_t d = 0; d < set->dims; d++) {
        uint32_t low[EBM_LANES];
        for (uint32_t l = 0; l < EBM_LANES; l++)
            low[l] = ebm_sobol_digits(d, l);
        for (uint32_t at = 0; at < L; at += EBM_LANES)
            sobol_lanes(words + d * word_stride + at, set, d, first + at, low);
    }
}

#endif
