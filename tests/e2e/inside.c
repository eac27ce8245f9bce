/* inside.c - a library to be preloaded: does in the server's process what a test asks, byte by byte.
 *
 *   EBM_INSIDE_ASK     a pipe with a name, of bytes
 *       c   makes the calls of the table below
 *       h   holds the second loop: it does not wait for its sockets any more
 *       r   lets it go
 *   EBM_INSIDE_TELL    a file: "name errno" for each call, then "end"
 *
 * Calls have arguments that no kernel takes, or do no harm: what counts is whether they are refused before that. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int ask = -1, tell = -1;
static _Atomic int is_held;

/* name, call, its arguments; what may be called comes last */
#define CALLS(X)                                                                                                       \
    X(execve, SYS_execve, "/nowhere", NULL, NULL)                                                                      \
    X(execveat, SYS_execveat, -1, "nowhere", NULL, NULL, 0)                                                            \
    X(clone, SYS_clone, -1, 0, 0, 0, 0)                                                                                \
    X(ptrace, SYS_ptrace, -1, 0, 0, 0)                                                                                 \
    X(kill, SYS_kill, getpid(), 0)                                                                                     \
    X(tgkill_others, SYS_tgkill, 1, 1, 0)                                                                              \
    X(socket_inet, SYS_socket, AF_INET, SOCK_STREAM, 0)                                                                \
    X(socket_inet6, SYS_socket, AF_INET6, SOCK_DGRAM, 0)                                                               \
    X(connect, SYS_connect, -1, NULL, 0)                                                                               \
    X(bind, SYS_bind, -1, NULL, 0)                                                                                     \
    X(open_to_write, SYS_openat, AT_FDCWD, "/nowhere/file", O_WRONLY, 0)                                               \
    X(open_to_make, SYS_openat, AT_FDCWD, "/nowhere/file", O_RDONLY | O_CREAT, 0600)                                   \
    X(unlink, SYS_unlinkat, AT_FDCWD, "/nowhere/file", 0)                                                              \
    X(rename, SYS_renameat2, AT_FDCWD, "/nowhere/file", AT_FDCWD, "/nowhere/other", 0)                                 \
    X(map_code, SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)                       \
    X(make_code, SYS_mprotect, NULL, 0, PROT_READ | PROT_EXEC)                                                         \
    X(memfd, SYS_memfd_create, NULL, -1)                                                                               \
    X(bpf, SYS_bpf, -1, NULL, 0)                                                                                       \
    X(mount, SYS_mount, NULL, NULL, NULL, 0, NULL)                                                                     \
    X(unshare, SYS_unshare, -1)                                                                                        \
    X(setuid, SYS_setuid, -1)                                                                                          \
    X(prctl, SYS_prctl, -1, 0, 0, 0, 0)                                                                                \
    X(allowed_open, SYS_openat, AT_FDCWD, "/nowhere/file", O_RDONLY, 0)                                                \
    X(allowed_socket, SYS_socket, AF_UNIX, SOCK_DGRAM, 0)

static void write_all(const char *text)
{
    if (write(tell, text, strlen(text)) < 0)
        abort();
}

static void say(const char *name, long result)
{
    char line[128];
    (void)snprintf(line, sizeof line, "%s %d\n", name, result < 0 ? errno : 0);
    write_all(line);
}

static void make_calls(void)
{
#define X(name, ...) say(#name, syscall(__VA_ARGS__));
    CALLS(X)
#undef X
    write_all("end\n");
}

static void *run(void *argument)
{
    char byte;
    while (read(ask, &byte, 1) == 1) {
        if (byte == 'c')
            make_calls();
        else
            atomic_store(&is_held, byte == 'h');
    }
    return argument;
}

__attribute__((constructor)) static void begin(void)
{
    const char *from = getenv("EBM_INSIDE_ASK"), *to = getenv("EBM_INSIDE_TELL");
    pthread_t thread;
    if (!from || !to)
        return;
    ask = open(from, O_RDWR | O_CLOEXEC); /* so that it has no end */
    tell = open(to, O_WRONLY | O_CLOEXEC);
    if (ask < 0 || tell < 0 || pthread_create(&thread, NULL, run, NULL) != 0)
        abort();
}

/* libuv's and the daemon's way to wait; only loops come here, and the first is the main thread's. */
int epoll_wait(int epoll, struct epoll_event *events, int n, int timeout_ms)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    while (atomic_load(&is_held) && gettid() != getpid())
        (void)nanosleep(&moment, NULL);
    return epoll_pwait(epoll, events, n, timeout_ms, NULL);
}
