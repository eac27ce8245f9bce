/* socket_state.h - what the kernel knows of a TCP connection, and no library tells. Any thread. */
#ifndef EBM_SERVER_SOCKET_STATE_H
#define EBM_SERVER_SOCKET_STATE_H

#include "core/base.h"

struct socket_state {
    uint64_t received_bytes; /* since the connection began, read or not */
    uint32_t silent_ms;      /* since bytes last came; coarse, see SOCKET_STATE_CLOCK_MS */
};

#define SOCKET_STATE_CLOCK_MS 20u

/* False: it is no TCP connection any more, or the kernel is too old to tell. */
bool socket_state_get(int fd, struct socket_state *ret_state);

/* Given to the kernel and not yet acknowledged by the other side; 0 for a connection that is broken. */
int socket_state_unsent_bytes(int fd);

#endif
