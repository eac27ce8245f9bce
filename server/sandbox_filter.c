/* sandbox_filter.c - the system calls of a server that runs, as a filter in the kernel, by libseccomp.
 *
 * The table was made by watching: every end-to-end test under strace, from `listening and ready` on. What is not in it
 * fails with ENOSYS, as on a kernel that does not have it: a library that knows an older way takes that, a request that
 * needs it fails as one that finds no memory does, and the others go on. Killing the process would let one unexpected
 * call of a library that was updated end the service for all.
 *
 * So there is no way to execute a file, to start a process or a thread, to write to a file that is not open, or to open
 * a connection to anywhere; nor to make memory executable. */
#include "server/sandbox.h"

#ifdef EBM_SECCOMP

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Libraries and kernels of other machines use one of each pair. */
/* clang-format off */
static const int always[] = {
    /* threads, memory, time */
    SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
    SCMP_SYS(rseq), SCMP_SYS(set_robust_list), SCMP_SYS(membarrier), SCMP_SYS(sched_getaffinity), SCMP_SYS(brk),
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    /* signals, and what abort needs to end a broken process */
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(getpid), SCMP_SYS(gettid),
    /* sockets that are there, and those of new connections */
    SCMP_SYS(accept4), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(poll), SCMP_SYS(ppoll),
    /* files */
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(close),
    SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(getdents64), SCMP_SYS(fcntl),
    SCMP_SYS(dup),
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    /* they look for leaks from a process of their own, and write reports to files of their own */
    SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(ptrace), SCMP_SYS(wait4), SCMP_SYS(prctl), SCMP_SYS(sigaltstack),
    SCMP_SYS(readlink), SCMP_SYS(access), SCMP_SYS(stat), SCMP_SYS(getppid), SCMP_SYS(tgkill), SCMP_SYS(prlimit64),
    SCMP_SYS(process_vm_readv), SCMP_SYS(getdents), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
#endif
};
/* clang-format on */

/* What is left of `call` when an argument's bits under `mask` are `value`. */
static const struct {
    int call;
    unsigned argument;
    uint64_t mask, value;
} only[] = {
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    {SCMP_SYS(openat), 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
    {SCMP_SYS(open), 1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, FIONBIO},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, FIONREAD},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, TIOCOUTQ},
    {SCMP_SYS(prlimit64), 2, UINT64_MAX, 0},    /* to read, not to set */
    {SCMP_SYS(socket), 0, UINT32_MAX, AF_UNIX}, /* a service manager's and the system log's */
};

/* 0, or an error's number, negative. */
static int add_rules(scmp_filter_ctx filter)
{
    int failed = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(always) && failed == 0; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, always[i], 0);
    for (size_t i = 0; i < EBM_COUNT_OF(only) && failed == 0; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, only[i].call, 1,
                                  SCMP_CMP(only[i].argument, SCMP_CMP_MASKED_EQ, only[i].mask, only[i].value));
    if (failed == 0) /* abort's signal to itself */
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint64_t)getpid()));
    return failed;
}

enum ebm_status sandbox_can_filter(struct ebm_error *reterr)
{
    (void)reterr;
    return EBM_OK;
}

enum ebm_status sandbox_filter(struct ebm_error *reterr)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--seccomp", "no memory");
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (failed == 0)
        failed = add_rules(filter);
    if (failed == 0)
        failed = seccomp_load(filter);
    seccomp_release(filter);
    if (failed != 0)
        return ebm_error_set(reterr, EBM_INVALID, "--seccomp", "the kernel takes no filter of system calls: %s",
                             strerror(-failed));
    return EBM_OK;
}

#else

enum ebm_status sandbox_can_filter(struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_INVALID, "--seccomp", "this program was built without libseccomp");
}

enum ebm_status sandbox_filter(struct ebm_error *reterr)
{
    return sandbox_can_filter(reterr);
}

#endif
