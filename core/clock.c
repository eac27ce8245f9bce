/* clock.c - CLOCK_MONOTONIC behind a pointer that a test may replace.
 *
 * Time here measures distances: it has no date and never goes back. The pointer is set before threads start and only
 * read afterwards. */
#include "core/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;
    int failed = clock_gettime(id, &now);
    EBM_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t read_system(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t ebm_clock_thread_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static ebm_clock_fn *current_clock = read_system;

uint64_t ebm_clock_ns(void)
{
    return current_clock();
}

void ebm_clock_set(ebm_clock_fn *clock)
{
    current_clock = clock ? clock : read_system;
}
