/* sobol.c - the keys of a row's scramble, and points one by one. The fast way along lanes is in
 * kernels_cpu_lanes.c. */
#include "core/sobol.h"

void ebm_sobol_bind(struct ebm_sobol *set, uint64_t seed, uint32_t row, uint32_t dims)
{
    EBM_ASSERT(dims <= EBM_SOBOL_DIMS);
    set->dims = dims;
    for (uint32_t d = 0; d < dims; d += 2) { /* four words of a block: two dimensions */
        uint32_t words[4];
        ebm_philox(seed, row, 0, EBM_STREAM_SCRAMBLE, d / 2, words);
        set->shift[d] = words[0];
        set->factor[d] = words[1] | 1u;
        if (d + 1 < dims) {
            set->shift[d + 1] = words[2];
            set->factor[d + 1] = words[3] | 1u;
        }
    }
}

uint32_t ebm_sobol_digits(uint32_t d, uint32_t index)
{
    uint32_t digits = 0;
    for (uint32_t bit = 0; index >> bit != 0; bit++)
        digits ^= index >> bit & 1u ? ebm_sobol_directions[d][bit] : 0u;
    return digits;
}

uint32_t ebm_sobol_word(const struct ebm_sobol *set, uint32_t d, uint32_t m)
{
    return ebm_sobol_scramble(ebm_sobol_digits(d, m), set->shift[d], set->factor[d]);
}

uint32_t ebm_sobol_count(uint32_t samples)
{
    uint32_t count = EBM_SOBOL_PARTS;
    while (count < samples)
        count *= 2;
    return count;
}
