/* sandbox.c - no capability in any thread, and no way back to one.
 *
 *   this thread                     gives up its own
 *   others there are by now         a signal each, whose handler does the same: a thread can only change itself.
 *                                   OpenBLAS starts some before main
 *   those that are started later    inherit
 *
 * Guarantees: when it fails, the server has not started yet. Does not: change the user, who is the system's to choose.
 */
#include "server/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"

#define LONGEST_WAIT_MS 1000u
#ifdef __SANITIZE_THREAD__
#define DEAF_THREADS 1 /* its own, which blocks all signals */
#else
#define DEAF_THREADS 0
#endif

static _Atomic int n_waiting; /* threads that were asked and have not answered */
static _Atomic int failure;   /* errno of a thread that could not; 0: all could */

/* The calling thread's. False: errno says why. Where there is none, a service manager may forbid to set them. */
static bool give_up(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3];
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_capget, &header, now) != 0)
        return false;
    return memcmp(now, none, sizeof now) == 0 || syscall(SYS_capset, &header, none) == 0;
}

static void on_asked(int number)
{
    int before = errno;
    (void)number;
    if (!give_up())
        atomic_store(&failure, errno);
    atomic_fetch_sub(&n_waiting, 1);
    errno = before;
}

/* Every thread but this one. False: the list cannot be read. */
static bool ask_others(void)
{
    DIR *folder = opendir("/proc/self/task");
    if (!folder)
        return false;
    const struct dirent *item;
    while ((item = readdir(folder)) != NULL) {
        long thread = strtol(item->d_name, NULL, 10); /* 0: "." and ".." */
        if (thread <= 0 || thread == gettid())
            continue;
        atomic_fetch_add(&n_waiting, 1);
        if (tgkill(getpid(), (pid_t)thread, SIGRTMIN) != 0)
            atomic_fetch_sub(&n_waiting, 1); /* it ended */
    }
    (void)closedir(folder);
    return true;
}

static void wait_for_others(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (uint32_t ms = 0; ms < LONGEST_WAIT_MS && atomic_load(&n_waiting) > DEAF_THREADS; ms++)
        (void)nanosleep(&moment, NULL);
}

enum ebm_status sandbox_drop_rights(struct ebm_error *reterr)
{
    struct sigaction asked = {.sa_handler = on_asked, .sa_flags = SA_RESTART};
    (void)sigfillset(&asked.sa_mask);
    (void)sigaction(SIGRTMIN, &asked, NULL);
    bool is_listed = ask_others();
    wait_for_others();
    if (!give_up())
        atomic_store(&failure, errno);
    if (atomic_load(&failure) != 0)
        return ebm_error_set(reterr, EBM_INTERNAL, "capabilities", "cannot be given up: %s",
                             strerror(atomic_load(&failure)));
    if (!is_listed || atomic_load(&n_waiting) > DEAF_THREADS)
        ebm_log_warning("threads of libraries may still have capabilities: threads=%d%s", atomic_load(&n_waiting),
                        is_listed ? "" : " reason='/proc is not there'");
    return EBM_OK;
}
