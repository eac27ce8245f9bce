/* cores.c - affinity by the kernel's mask, quota by the control group as a container sees it.
 *
 * More threads than processors take turns: each answer of a busy server then waits for its neighbours' too, and the
 * slowest come later. */
#include "core/cores.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define QUOTA_FILE "/sys/fs/cgroup/cpu.max" /* the own group's in a container; the root has none */
#define MASK_CPUS 8192                      /* above what a kernel is built for */

static uint32_t allowed(void)
{
    cpu_set_t *mask = CPU_ALLOC(MASK_CPUS);
    size_t size = CPU_ALLOC_SIZE(MASK_CPUS);
    int n = mask && sched_getaffinity(0, size, mask) == 0 ? CPU_COUNT_S(size, mask) : 1;
    CPU_FREE(mask);
    return n < 1 ? 1 : (uint32_t)n;
}

uint32_t ebm_cores_of_quota(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long quota = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != ' ')
        return UINT32_MAX;
    const char *second = end + 1;
    unsigned long long period = strtoull(second, &end, 10);
    if (errno != 0 || end == second || quota == 0 || period == 0)
        return UINT32_MAX;
    unsigned long long cores = (quota - 1) / period + 1;
    return cores < UINT32_MAX ? (uint32_t)cores : UINT32_MAX;
}

static uint32_t quota(void)
{
    char text[64] = "";
    FILE *file = fopen(QUOTA_FILE, "re");
    if (!file)
        return UINT32_MAX;
    uint32_t cores = fgets(text, sizeof text, file) ? ebm_cores_of_quota(text) : UINT32_MAX;
    (void)fclose(file);
    return cores;
}

uint32_t ebm_cores(void)
{
    uint32_t n = allowed(), most = quota();
    return n < most ? n : most;
}
