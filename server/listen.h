/* listen.h - a socket that listens. */
#ifndef EBM_SERVER_LISTEN_H
#define EBM_SERVER_LISTEN_H

#include "core/status.h"

/* One port may have several sockets of this process, among which the kernel spreads the connections. */
enum listen_sharing {
    LISTEN_ALONE,
    LISTEN_FIRST, /* nobody else has the port; others of this user may join */
    LISTEN_NEXT   /* joins */
};

/* host: a numeric address, IPv4 or IPv6; port 0: any free one. INVALID with a sentence when that cannot be listened on.
 * New: close. Not blocking, closed on exec. */
enum ebm_status listen_on(const char *host, uint16_t port, enum listen_sharing sharing, int *ret_fd, uint16_t *ret_port,
                          struct ebm_error *reterr) EBM_MUST_USE;

/* INVALID when host is no numeric address. */
enum ebm_status listen_check(const char *host, struct ebm_error *reterr) EBM_MUST_USE;

#endif
