/* asan.h - ASAN(...) is there under AddressSanitizer alone, with what it lends to mark memory. */
#ifndef EBM_GPU_SIM_ASAN_H
#define EBM_GPU_SIM_ASAN_H

#include <stddef.h>

#if defined(GPU_SIM_ASAN)
extern "C" {
void __asan_poison_memory_region(const volatile void *, size_t);
void __asan_unpoison_memory_region(const volatile void *, size_t);
}
#define ASAN(...) __VA_ARGS__
#else
#define ASAN(...)
#endif

#endif
