/* block.h - sums, largest numbers and cumulative sums of a block of threads, in an order that the number of threads
 * alone gives. */
#ifndef EBM_CORE_CUDA_BLOCK_H
#define EBM_CORE_CUDA_BLOCK_H

#include "core/cuda/compat.h"

#define MOST_WARPS 8u /* of a block */

/* Numbers of warps in shared memory: two sets in turn, so that one barrier a sum is enough. */
struct block_space {
    double (*part)[MOST_WARPS];
    uint32_t turn;
};

DEVICE double warp_sum(double value)
{
    for (uint32_t apart = 16; apart > 0; apart /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, apart);
    return value;
}

/* The same for all threads. */
DEVICE double block_sum(struct block_space *space, double value)
{
    double *part = space->part[space->turn], sum = 0.0;
    space->turn = 1 - space->turn;
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = value;
    __syncthreads(); /* before parts are read */
    for (uint32_t i = 0; i < blockDim.x / 32; i++)
        sum += part[i];
    return sum;
}

DEVICE double larger(double a, double b)
{
    return a > b ? a : b;
}

DEVICE double block_largest(struct block_space *space, double value)
{
    double *part = space->part[space->turn];
    space->turn = 1 - space->turn;
    for (uint32_t apart = 16; apart > 0; apart /= 2)
        value = larger(value, __shfl_xor_sync(ALL_LANES, value, apart));
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = value;
    __syncthreads(); /* before they are compared */
    for (uint32_t i = 0; i < blockDim.x / 32; i++)
        value = larger(value, part[i]);
    return value;
}

/* to[i] = from[0] + .. + from[i], or, from the right, from[i] + .. + from[n - 1]; it never falls along the way where
 * nothing is negative. A thread has neighbours, all behind the sum of the threads before it. starts: a number a thread,
 * shared. Behind it stands a barrier. */
template <class From, class To> DEVICE void cumulate(const From *from, uint32_t n, bool from_right, To *starts, To *to)
{
    uint32_t own = (n + blockDim.x - 1) / blockDim.x, first = threadIdx.x * own;
    To sum = 0;
    for (uint32_t i = first; i < first + own && i < n; i++)
        sum += (To)from[from_right ? n - 1 - i : i];
    starts[threadIdx.x] = sum;
    __syncthreads(); /* before they are summed */
    sum = 0;
    for (uint32_t i = 0; threadIdx.x == 0 && i < blockDim.x; i++) {
        To next = sum + starts[i];
        starts[i] = sum;
        sum = next;
    }
    __syncthreads(); /* before they are read */
    sum = 0;
    for (uint32_t i = first; i < first + own && i < n; i++) {
        sum += (To)from[from_right ? n - 1 - i : i];
        to[from_right ? n - 1 - i : i] = starts[threadIdx.x] + sum;
    }
    __syncthreads(); /* before what is cumulated is read, and starts are written again */
}

#endif
