/* cores.h - how many threads can run at once here. Any thread. */
#ifndef EBM_CORE_CORES_H
#define EBM_CORE_CORES_H

#include "core/base.h"

/* Processors that the calling thread may run on (taskset, cpusets), fewer where a quota of the control group leaves
 * less CPU time than they have (`docker run --cpus 1.5` is 2); at least 1. Reads a file: ask once. */
uint32_t ebm_cores(void);

/* Of the text of cgroup v2's cpu.max: "QUOTA PERIOD" in microseconds, rounded up; UINT32_MAX: "max", or no such text.
 */
uint32_t ebm_cores_of_quota(const char *text);

#endif
