/* addresses.h - how many connections each client's address has open, against one limit. Any thread. */
#ifndef EBM_SERVER_ADDRESSES_H
#define EBM_SERVER_ADDRESSES_H

#include <sys/socket.h>

#include "core/status.h"

struct addresses;
struct address;

/* max_connections >= 1 of one address. NULL: no memory. New: addresses_free. */
struct addresses *addresses_new(uint32_t max_connections);
/* All have left. NULL is fine; returns NULL. */
struct addresses *addresses_free(struct addresses *addresses);

/* One more of that client (IPv4 or IPv6, whatever its port); NULL: it has as many as it may, or no memory. Give back:
 * addresses_leave. */
struct address *addresses_enter(struct addresses *addresses, const struct sockaddr *client);
/* NULL is fine. */
void addresses_leave(struct addresses *addresses, struct address *address);

#endif
