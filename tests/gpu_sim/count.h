/* count.h - GPU_SIM_COUNT=1: what kernels, products and copies move, told at the end, a line for each of them and its
 * size.
 *
 * Counted are different sectors of 32 bytes of global memory, by kernels out of PTX alone: in a whole launch, which
 * memory must give or take at least, and in each of its blocks, which is what goes through the second-level cache where
 * a block reads nothing twice. A product counts its matrices once. */
#ifndef GPU_SIM_COUNT_H
#define GPU_SIM_COUNT_H

#include <stddef.h>
#include <stdint.h>

namespace gpu_sim
{

extern const bool counts;
/* A load or a store of the thread that runs. */
void count_access(const void *at, size_t bytes, bool stores);
void count_block();
void count_launch(const char *name, size_t blocks);
void count_product(uint64_t rows, uint64_t columns, uint64_t depth, double read, double written);
void count_copy(const char *name, size_t bytes);

} // namespace gpu_sim

#endif
