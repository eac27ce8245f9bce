/* base.c - the few functions behind base.h.
 *
 * Guarantees: a failed assertion always says where before it aborts, without allocating and without the log callback
 * (which may be what is broken). Any thread. */
#include "core/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void *ebm_alloc_aligned(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = bytes ? ebm_round_up(bytes, EBM_ALIGNMENT) : EBM_ALIGNMENT;
    void *memory = aligned_alloc(EBM_ALIGNMENT, rounded);
    if (memory)
        memset(memory, 0, rounded);
    return memory;
}
