/* philox.h - random words on the device: those of core/rng.h, bit by bit. */
#ifndef EBM_CORE_CUDA_PHILOX_H
#define EBM_CORE_CUDA_PHILOX_H

#include "core/cuda/compat.h"
#include "core/rng.h"

struct gpu_words {
    uint32_t w0, w1, w2, w3;
};

/* Word i of four. Not by an index: that would put them into memory. */
DEVICE uint32_t word_of(const struct gpu_words &words, uint32_t i)
{
    uint32_t low = i % 2 == 0 ? words.w0 : words.w1, high = i % 2 == 0 ? words.w2 : words.w3;
    return i < 2 ? low : high;
}

/* Philox 4x32-10: the words of ebm_philox. */
DEVICE struct gpu_words philox(uint64_t seed, uint32_t row, uint32_t sample, uint32_t stream, uint32_t block)
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t w0 = sample, w1 = row, w2 = stream, w3 = block;
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)w0 * 0xD2511F53u, p1 = (uint64_t)w2 * 0xCD9E8D57u;
        w0 = (uint32_t)(p1 >> 32) ^ w1 ^ key0;
        w1 = (uint32_t)p1;
        w2 = (uint32_t)(p0 >> 32) ^ w3 ^ key1;
        w3 = (uint32_t)p0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return {w0, w1, w2, w3};
}

#endif
