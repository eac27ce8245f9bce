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

/* c (16, 16) += a (16, deep) b (deep, 16), of each lane its own numbers; deep is 8 or 16. */
void multiply_matrices(unsigned deep, float *c, const float *a, const float *b, const char *file, int line);

} // namespace gpu_sim

#endif
