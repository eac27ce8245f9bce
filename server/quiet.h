/* quiet.h - threads that hear no signals: those are the main thread's. What a thread itself does wrong it hears all the
 * same, since a fault that is blocked ends the process before a sanitizer or a debugger can say where. */
#ifndef EBM_SERVER_QUIET_H
#define EBM_SERVER_QUIET_H

#include <signal.h>

/* Threads that are made now inherit the silence; ret_before: for quiet_end. */
static inline void quiet_begin(sigset_t *ret_before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGTRAP, SIGABRT};
    sigset_t all;
    (void)sigfillset(&all);
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
        (void)sigdelset(&all, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &all, ret_before);
}

static inline void quiet_end(const sigset_t *before)
{
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

#endif
