/* rng.h - random numbers that are functions of what they belong to, never of the order of calls.
 *
 * Philox 4x32-10 (Salmon et al. 2011; Debian's librandom123-dev): the key is the seed, the counter is
 * (sample, row, stream, block). A draw is therefore the same on any thread, in any batch, on any device. */
#ifndef EBM_CORE_RNG_H
#define EBM_CORE_RNG_H

#include "core/base.h"

/* All that a random draw may depend on. */
struct ebm_row {
    uint64_t seed;
    uint32_t row_in_request; /* in training: the row's number in the data set */
    uint32_t first_sample;   /* draws first_sample .. first_sample + samples - 1 */
    uint32_t samples;
};

/* Streams keep uses apart that share a seed. Numbers are part of "same seed, same bytes": append only. */
enum ebm_stream {
    EBM_STREAM_DRAWS = 0,    /* proposal or noise draws */
    EBM_STREAM_RESAMPLE = 1, /* choosing among weighted draws */
    EBM_STREAM_INIT = 2,     /* initial weights */
    EBM_STREAM_SHUFFLE = 3,  /* order of training rows */
    EBM_STREAM_SPLIT = 4,    /* training and validation rows */
    EBM_STREAM_DEQUANTIZE = 5,
    EBM_STREAM_GENERATE = 6, /* synthetic data */
    EBM_STREAM_SEED = 7,     /* seeds derived from seeds */
    EBM_STREAM_SCRAMBLE = 8, /* keys of scrambled Sobol points */
    EBM_STREAM_LANGEVIN = 9, /* moves of draws */
    EBM_STREAM_AUGMENT = 10, /* changes of training images */
};

/* Four words for (seed, row, sample, stream, block). Pure; any thread. */
void ebm_philox(uint64_t seed, uint32_t row, uint32_t sample, uint32_t stream, uint32_t block, uint32_t ret_words[4]);

/* A word as a uniform number in (0, 1), never 0 or 1. */
static inline double ebm_uniform(uint32_t word)
{
    return ((double)word + 0.5) * 0x1p-32;
}

/* A standard normal number from one word, by the inverse of the distribution function; |value| < 6.4. */
double ebm_normal(uint32_t word);

/* An independent seed for sub-task `index` of `seed` (an epoch, a member). */
uint64_t ebm_seed_derive(uint64_t seed, uint32_t index);

/* Fill `ret_order` (n) with a permutation of 0..n-1 given by (seed, stream). */
void ebm_shuffle(uint64_t seed, uint32_t stream, uint32_t *ret_order, uint32_t n);

/* A seed from the operating system, in 0 .. 2^53 - 1 (exact in JSON). Any thread. */
uint64_t ebm_seed_random(void);

#endif
