/* philox.h - random words on the device, those of core/rng.h bit by bit, and normal numbers. */
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

/* ebm_normal by the float fits of Wichura's AS 241 (PPND7): the top bit is the sign, the others a tail probability. */
DEVICE float normal_of(uint32_t word)
{
    float p = ((float)(int32_t)(word & 0x7fffffffu) + 0.5f) * 0x1p-32f;
    float q = 0.5f - p, magnitude;
    if (q <= 0.425f) {
        float r = 0.180625f - q * q;
        float above = ((59.109374720f * r + 159.29113202f) * r + 50.434271938f) * r + 3.3871327179f;
        float below = ((67.187563600f * r + 78.757757664f) * r + 17.895169469f) * r + 1.0f;
        magnitude = q * above / below;
    } else {
        float t = sqrtf(-logf(p)) - 1.6f;
        float above = ((0.17023821103f * t + 1.3067284816f) * t + 2.7568153900f) * t + 1.4234372777f;
        magnitude = above / ((0.12021132975f * t + 0.73700164250f) * t + 1.0f);
    }
    return word & 0x80000000u ? magnitude : -magnitude;
}

#endif
