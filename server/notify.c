/* notify.c - what a server needs of sd_notify(3): a datagram for each state, to the socket that the environment names.
 *
 *   READY=1                                  serving
 *   WATCHDOG=1                               every loop turns
 *   STOPPING=1, EXTEND_TIMEOUT_USEC=...      stopping, and how long that may take
 *
 * Guarantees: never waits, for the loop calls it; a message that nobody takes is lost with a warning. */
#include "server/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/log.h"

#define US_PER_MS 1000u
#define MESSAGE_BYTES 128u

/* "/path", or "@name" of Linux's abstract sockets, whose first byte is 0 and which end where the length says. */
static bool socket_address(const char *name, struct sockaddr_un *ret_address, socklen_t *ret_size)
{
    size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length >= sizeof ret_address->sun_path)
        return false;
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, name, length);
    if (name[0] == '@')
        ret_address->sun_path[0] = 0;
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return true;
}

static void send_state(const char *state)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t size;
    if (!name || !name[0])
        return;
    if (!socket_address(name, &address, &size)) {
        ebm_log_warning("NOTIFY_SOCKET: expected '/path' or '@name' of at most %zu bytes, got '%.120s'",
                        sizeof address.sun_path - 1, name);
        return;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, size) < 0)
        ebm_log_warning("NOTIFY_SOCKET: '%.120s' does not take '%.10s...': %s", name, state, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
}

void notify_ready(void)
{
    send_state("READY=1");
}

void notify_stopping(uint64_t longest_ms)
{
    char state[MESSAGE_BYTES];
    (void)snprintf(state, sizeof state, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64, longest_ms * US_PER_MS);
    send_state(state);
}

uint64_t notify_alive_every_ms(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!us || !getenv("NOTIFY_SOCKET") || (pid && strtoimax(pid, NULL, 10) != getpid()))
        return 0;
    uint64_t every_ms = strtoumax(us, NULL, 10) / US_PER_MS / 2;
    return every_ms > 0 || us[0] < '1' || us[0] > '9' ? every_ms : 1;
}

void notify_alive(void)
{
    send_state("WATCHDOG=1");
}
