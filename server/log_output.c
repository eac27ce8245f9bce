/* log_output.c - stderr that never waits.
 *
 *   pipe      opened anew, so that O_NONBLOCK is ours alone and not of all who write to it; where that is not allowed
 *             (it was made by another user, as a container's is) it is set for all
 *   socket    the same for all: a service manager's, which is made for us
 *   others    as they are: a file and a terminal do not wait for a reader
 *
 * A line is written whole or not at all; only one longer than PIPE_BUF (4 KiB) may be cut, when the reader is behind.
 */
#include "server/log_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIPE_BYTES (1 << 20) /* thousands of lines, for a reader that pauses */

static void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void own_pipe(void)
{
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        set_nonblocking(STDERR_FILENO);
    else {
        (void)dup2(fd, STDERR_FILENO);
        (void)close(fd);
    }
    (void)fcntl(STDERR_FILENO, F_SETPIPE_SZ, PIPE_BYTES);
}

void log_output_never_wait(void)
{
    struct stat kind;
    if (fstat(STDERR_FILENO, &kind) != 0)
        return;
    if (S_ISFIFO(kind.st_mode))
        own_pipe();
    else if (S_ISSOCK(kind.st_mode))
        set_nonblocking(STDERR_FILENO);
}
