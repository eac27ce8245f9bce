/* wmma_sim.h - nvcuda::wmma for kernels that a C++ compiler builds: fragments of 16 x 16 results, bfloat16 and TF32. */
#ifndef GPU_SIM_WMMA_SIM_H
#define GPU_SIM_WMMA_SIM_H

#include "tests/gpu_sim/matrix.h"

namespace nvcuda
{
namespace wmma
{

struct matrix_a {
};
struct matrix_b {
};
struct accumulator {
};
struct row_major {
};
struct col_major {
};
namespace precision
{
struct tf32 {
};
} // namespace precision
enum layout_t { mem_row_major, mem_col_major };

/* Numbers as floats; a matrix has `deep` where it is not 16 long. */
template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment {
    static_assert(M == 16 && N == 16, "fragments of 16 x 16 results are simulated");
    static const unsigned DEEP = std::is_same<Use, accumulator>::value ? 16 : K;
    float x[gpu_sim::lane_numbers(DEEP)];
};

inline float number_of(float value)
{
    return gpu_sim::from_bits<float>(gpu_sim::to_bits(value) &
                                     0xffffe000u); /* TF32: the lowest bits are not looked at */
}

inline float number_of(__nv_bfloat16 value)
{
    return __bfloat162float(value);
}

template <int K, class T, class S>
void load_matrix_sync(fragment<matrix_a, 16, 16, K, T, row_major> &to, const S *from, unsigned apart)
{
    gpu_sim::check_matrix(from, apart * sizeof(S), __FILE__, __LINE__);
    gpu_sim::each_number(gpu_sim::lane_numbers(K), K,
                         [&](unsigned i, unsigned row, unsigned k) { to.x[i] = number_of(from[row * apart + k]); });
}

template <int K, class T, class S>
void load_matrix_sync(fragment<matrix_b, 16, 16, K, T, col_major> &to, const S *from, unsigned apart)
{
    gpu_sim::check_matrix(from, apart * sizeof(S), __FILE__, __LINE__);
    gpu_sim::each_number(gpu_sim::lane_numbers(K), 16, [&](unsigned i, unsigned k, unsigned column) {
        to.x[i] = number_of(from[column * apart + k]);
    });
}

template <int K> void fill_fragment(fragment<accumulator, 16, 16, K, float> &to, float value)
{
    for (float &x : to.x)
        x = value;
}

template <int K>
void store_matrix_sync(float *to, const fragment<accumulator, 16, 16, K, float> &from, unsigned apart, layout_t layout)
{
    gpu_sim::check_matrix(to, apart * sizeof(float), __FILE__, __LINE__);
    if (layout != mem_row_major)
        gpu_sim::fail("store_matrix_sync: results by columns are not simulated");
    gpu_sim::each_number(gpu_sim::lane_numbers(16), 16,
                         [&](unsigned i, unsigned row, unsigned column) { to[row * apart + column] = from.x[i]; });
}

template <int K, class T>
void mma_sync(fragment<accumulator, 16, 16, K, float> &d, const fragment<matrix_a, 16, 16, K, T, row_major> &a,
              const fragment<matrix_b, 16, 16, K, T, col_major> &b, const fragment<accumulator, 16, 16, K, float> &c)
{
    d = c;
    gpu_sim::multiply_matrices(K, d.x, a.x, b.x, __FILE__, __LINE__);
}

} // namespace wmma
} // namespace nvcuda

#endif
