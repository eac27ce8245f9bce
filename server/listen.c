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

enum ebm_status listen_on(const char *host, uint16_t port, int *ret_fd, uint16_t *ret_port, struct ebm_error *reterr)
{
    union address address;
    socklen_t bytes;
    enum ebm_status status = read_address(host, port, &address, &bytes, reterr);
    if (status != EBM_OK)
        return status;
    int one = 1, fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              bind(fd, &address.any, bytes) == 0 && listen(fd, LISTEN_BACKLOG) == 0 &&
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
