/* base.c - the few functions behind base.h.
 *
 * Guarantees: a failed assertion always says where before it aborts, without allocating and without the log callback
 * (which may be what is broken). Any thread. */
#include "core/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void ebm_assert_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

void ebm_freep(void *pointer_to_pointer)
{
    void **pointer = pointer_to_pointer;
    free(*pointer);
    *pointer = NULL;
}

#define LARGE ((size_t)1 << 21)

/* Weights that are read once a batch cost more for their pages than for their bytes: fewer pages, where the system has
 * larger ones. A wish: nothing depends on it. */
static void ask_for_large_pages(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 65536, first = ebm_round_up((uintptr_t)memory, page);
    const uintptr_t end = ((uintptr_t)memory + bytes) / page * page;
    (void)madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)memory;
    (void)bytes;
#endif
}

void *ebm_alloc_untouched(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = bytes ? ebm_round_up(bytes, EBM_ALIGNMENT) : EBM_ALIGNMENT;
    void *memory = aligned_alloc(EBM_ALIGNMENT, rounded);
    if (memory != NULL && rounded >= LARGE)
        ask_for_large_pages(memory, rounded);
    return memory;
}

void *ebm_alloc_aligned(size_t bytes)
{
    void *memory = ebm_alloc_untouched(bytes);
    if (memory != NULL)
        memset(memory, 0, ebm_round_up(bytes, EBM_ALIGNMENT));
    return memory;
}
