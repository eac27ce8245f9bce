/* sobol.h - scrambled Sobol points: draws that fill the unit cube evenly. Private to core, but for ebm_sobol_count.
 *
 * Sobol's sequence with direction numbers of Joe and Kuo (2008), in as many dimensions as a draw has words. Sample m is
 * point m: the first samples of a larger set are the smaller set. The scramble is Owen's (1995) nested one by a hash
 * (Laine and Karras 2011; constants of N. Vegdahl 2021; Burley 2020): each binary digit of a coordinate is flipped as a
 * hash of the digits before it says, keyed by two words of Philox of (seed, row, dimension). A point alone is uniform,
 * so that averages are unbiased; 2^k points from a multiple of 2^k on keep the net property. Owen's, and not a linear
 * scramble: it costs a few multiplications a coordinate and no matrix for each row.
 *
 * One scramble, and not eight of an eighth of the points each: those made 1.4 to 2.5 times the error at D = 1 to 3
 * (bench/draws.c). The error is told by the spread of the EBM_SOBOL_PARTS consecutive parts, each a net as well. They
 * are spread around the whole more than independent sets would be, since they complement each other: so the error is
 * rather over than understated. */
#ifndef EBM_CORE_SOBOL_H
#define EBM_CORE_SOBOL_H

#include "core/limits.h"
#include "core/rng.h"

#define EBM_SOBOL_PARTS 8u
#define EBM_SOBOL_DIMS (LIMIT_TARGET_DIM + 1u) /* the component and the target's coordinates */
#define EBM_SOBOL_BITS 16u                     /* at most 2^16 points */

/* Row d holds the direction numbers of dimension d, bits reversed: the first binary digit is bit 0. sobol_table.c. */
extern const uint16_t ebm_sobol_directions[EBM_SOBOL_DIMS][EBM_SOBOL_BITS];

/* The scramble of one row. */
struct ebm_sobol {
    uint32_t dims;
    uint32_t shift[EBM_SOBOL_DIMS];  /* added to the reversed digits */
    uint32_t factor[EBM_SOBOL_DIMS]; /* odd, multiplied with them */
};

/* Pure; any thread. dims at most EBM_SOBOL_DIMS. */
void ebm_sobol_bind(struct ebm_sobol *set, uint64_t seed, uint32_t row, uint32_t dims);

/* Digits of point `index` (below 2^EBM_SOBOL_BITS) in dimension d before any scramble, reversed: bit 0 is worth 1/2. */
uint32_t ebm_sobol_digits(uint32_t d, uint32_t index);

/* Coordinate d of sample m as a word: (word + 1/2) 2^-32 is in (0, 1). */
uint32_t ebm_sobol_word(const struct ebm_sobol *set, uint32_t d, uint32_t m);

/* The number of samples that stands for `samples` (1 .. LIMIT_SAMPLES): the next of 8, 16, 32, ... */
uint32_t ebm_sobol_count(uint32_t samples);

/* Reversed digits -> the scrambled word; `word` may be a vector of them, as the kernels have it. `kind`: what a
 * function begins with. */
#define EBM_SOBOL_SCRAMBLE(kind, name, word)                                                                           \
    kind word name(word x, uint32_t shift, uint32_t factor)                                                            \
    {                                                                                                                  \
        x ^= x * 0x3d20adeau;                                                                                          \
        x += shift;                                                                                                    \
        x *= factor;                                                                                                   \
        x ^= x * 0x05526c56u;                                                                                          \
        x ^= x * 0x53a22864u;                                                                                          \
        x = x >> 16 | x << 16;                                                                                         \
        x = (x >> 8 & 0x00ff00ffu) | (x & 0x00ff00ffu) << 8;                                                           \
        x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;                                                           \
        x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;                                                           \
        return (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;                                                        \
    }
EBM_SOBOL_SCRAMBLE(static inline, ebm_sobol_scramble, uint32_t)

#endif
