/* metrics_process.h - what the kernel knows of this process, under the names that all Prometheus clients use. */
#ifndef EBM_SERVER_METRICS_PROCESS_H
#define EBM_SERVER_METRICS_PROCESS_H

#include "core/buf.h"

/* Families process_...; start_time_s since 1970. What the kernel does not tell is left out. Any thread. */
void metrics_process_write(double start_time_s, struct ebm_buf *buf);

#endif
