/* listen.c - a numeric address and a port -> a socket that listens. */
#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static enum ebm_status read_address(const char *host, uint16_t port, union address *ret_address, socklen_t *ret_bytes,
                                    struct ebm_error *reterr)
{
    union address address = {.any.sa_family = AF_UNSPEC};
    if (inet_pton(AF_INET, host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        *ret_bytes = sizeof address.v4;
    } else if (inet_pton(AF_INET6, host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        *ret_bytes = sizeof address.v6;
    } else {
        return ebm_error_set(reterr, EBM_INVALID, "--host", "'%.60s' is not a numeric address such as 127.0.0.1 or ::1",
                             host);
    }
    *ret_address = address;
    return EBM_OK;
}

static bool set(int fd, int option)
{
    int one = 1;
    return setsockopt(fd, SOL_SOCKET, option, &one, sizeof one) == 0;
}

/* The first asks to share only once it is bound, so that it never shares a port that another process has. */
static bool bind_to(int fd, const union address *address, socklen_t bytes, enum listen_sharing sharing)
{
    return set(fd, SO_REUSEADDR) && (sharing != LISTEN_NEXT || set(fd, SO_REUSEPORT)) &&
           bind(fd, &address->any, bytes) == 0 && (sharing != LISTEN_FIRST || set(fd, SO_REUSEPORT));
}

enum ebm_status listen_on(const char *host, uint16_t port, enum listen_sharing sharing, int *ret_fd, uint16_t *ret_port,
                          struct ebm_error *reterr)
{
    union address address;
    socklen_t bytes;
    enum ebm_status status = read_address(host, port, &address, &bytes, reterr);
    if (status != EBM_OK)
        return status;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd >= 0 && bind_to(fd, &address, bytes, sharing) && listen(fd, LISTEN_BACKLOG) == 0 &&
              getsockname(fd, &address.any, &bytes) == 0;
    if (!ok) {
        status = ebm_error_set(reterr, EBM_INVALID, "--port", "cannot listen on %.60s port %u: %s", host, port,
                               strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return status;
    }
    *ret_fd = fd;
    *ret_port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    return EBM_OK;
}

enum ebm_status listen_check(const char *host, struct ebm_error *reterr)
{
    union address address;
    socklen_t bytes;
    return read_address(host, 0, &address, &bytes, reterr);
}
