/* log_output.h - where lines of the log go, stderr, must not hold up whoever writes them. */
#ifndef EBM_SERVER_LOG_OUTPUT_H
#define EBM_SERVER_LOG_OUTPUT_H

/* From now on a line that stderr has no room for is lost, where it would otherwise wait: of a pipe and a socket. A pipe
 * becomes as large as the system allows, up to 1 MiB. Before threads start. */
void log_output_never_wait(void);

#endif
