/* sandbox.h - what the process gives up when it has what it needs: capabilities, and system calls that a server which
 * runs never makes. Main thread. */
#ifndef EBM_SERVER_SANDBOX_H
#define EBM_SERVER_SANDBOX_H

#include "core/status.h"

/* Of every thread there is, and of those that they start: no capability, and none by executing a file
 * (PR_SET_NO_NEW_PRIVS). When the ports are taken: what only a privileged user may read cannot be read any more. Warns
 * of threads that do not hear of it. INTERNAL: the kernel refuses. */
enum ebm_status sandbox_drop_rights(struct ebm_error *reterr) EBM_MUST_USE;

/* INVALID when this program was built without libseccomp. */
enum ebm_status sandbox_can_filter(struct ebm_error *reterr) EBM_MUST_USE;

/* From here on all threads make only the system calls of sandbox_filter.c; any other fails with ENOSYS. When all
 * threads there will be have been started, and after sandbox_drop_rights. INVALID as above, or when the kernel
 * refuses. */
enum ebm_status sandbox_filter(struct ebm_error *reterr) EBM_MUST_USE;

#endif
