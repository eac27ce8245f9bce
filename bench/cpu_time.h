/* cpu_time.h - CPU time of this process, all of its threads, in seconds: a busy machine makes work late, but hardly
 * dearer. */
#ifndef EBM_BENCH_CPU_TIME_H
#define EBM_BENCH_CPU_TIME_H

#include <time.h>

static inline double cpu_seconds(void)
{
    struct timespec spent;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + (double)spent.tv_nsec * 1e-9;
}

#endif
