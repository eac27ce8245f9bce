/* matrix.h - tensor cores: what nvcuda::wmma and its PTX stand on.
 *
 * A fragment of a matrix is spread over the 32 lanes of a warp, in an order that CUDA does not tell; here number i, row
 * by row, is lane i % 32's number i / 32. All lanes come for a product together, and see what the others brought. */
#ifndef GPU_SIM_MATRIX_H
#define GPU_SIM_MATRIX_H

#include "tests/gpu_sim/sim.h"

namespace gpu_sim
{

const unsigned SIDE = 16; /* rows of a, columns of b, both of the result */

/* How many numbers of a matrix of `deep` rows or columns a lane has. */
constexpr unsigned lane_numbers(unsigned deep)
{
    return SIDE * deep / WARP;
}

/* Calls with (number of the lane's fragment, row, column) for each of a matrix of so many columns. */
template <class F> GPU_SIM_INLINE void each_number(unsigned count, unsigned columns, F what)
{
    for (unsigned i = 0; i < count; i++)
        what(i, (i * WARP + lane()) / columns, (i * WARP + lane()) % columns);
}

/* Loads want addresses of 32 bytes and rows of a multiple of 16. */
inline void check_matrix(const void *at, size_t row_bytes, const char *file, int line)
{
    if (reinterpret_cast<uintptr_t>(at) % 32 || row_bytes % 16)
        fail("%s:%d: a matrix whose address or rows are misaligned", file, line);
}

struct brought_numbers {
    const float *a, *b;
};

/* c (16, 16) += a (16, DEEP) b (DEEP, 16), of each lane its own numbers. Meetings order what it reads, so that
 * ThreadSanitizer need not look at it. */
template <unsigned DEEP>
__attribute__((no_sanitize_thread)) void multiply_matrices(float *c, const float *a, const float *b, const char *file,
                                                           int line)
{
    brought_numbers mine = {a, b};
    const uint64_t *brought = warp_exchange(~0u, uint64_t(reinterpret_cast<uintptr_t>(&mine)), WARP_MATRIX, file, line);
    const brought_numbers *all[WARP];
    for (unsigned i = 0; i < WARP; i++)
        all[i] = reinterpret_cast<const brought_numbers *>(uintptr_t(brought[i]));
    float sums[lane_numbers(SIDE)];
    for (unsigned i = 0; i < lane_numbers(SIDE); i++) {
        unsigned row = (i * WARP + lane()) / SIDE, column = (i * WARP + lane()) % SIDE;
        double sum = double(c[i]);
        for (unsigned k = 0; k < DEEP; k++) {
            unsigned in_a = row * DEEP + k, in_b = k * SIDE + column;
            sum += double(all[in_a % WARP]->a[in_a / WARP]) * double(all[in_b % WARP]->b[in_b / WARP]);
        }
        sums[i] = float(sum);
    }
    warp_exchange(~0u, 0, WARP_MATRIX, file, line); /* nobody needs what this lane brought */
    memcpy(c, sums, sizeof(sums));
}

} // namespace gpu_sim

#endif
