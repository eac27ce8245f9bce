/* clock.h - monotonic time, replaceable by tests. Any thread. */
#ifndef EBM_CORE_CLOCK_H
#define EBM_CORE_CLOCK_H

#include "core/base.h"

typedef uint64_t ebm_clock_fn(void);

uint64_t ebm_clock_ns(void);             /* monotonic nanoseconds */
uint64_t ebm_clock_thread_ns(void);      /* CPU time of the calling thread; a system call */
void ebm_clock_set(ebm_clock_fn *clock); /* of ebm_clock_ns; NULL: the system's. Before threads start. */

static inline uint64_t ebm_clock_us(void)
{
    return ebm_clock_ns() / 1000;
}

#endif
