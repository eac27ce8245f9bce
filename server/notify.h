/* notify.h - tells a service manager (systemd's Type=notify) how the server is. Nobody listens unless the environment
 * names a socket, NOTIFY_SOCKET; then all of this does nothing. A message that cannot be sent is a line in the log. */
#ifndef EBM_SERVER_NOTIFY_H
#define EBM_SERVER_NOTIFY_H

#include "core/base.h"

/* Models are loaded, requests are answered. */
void notify_ready(void);

/* A stop has begun, and takes `longest_ms` at the most: the manager waits that long before it kills. */
void notify_stopping(uint64_t longest_ms);

/* How often notify_alive is wanted, a half of what WATCHDOG_USEC allows; 0: not at all. */
uint64_t notify_alive_every_ms(void);
void notify_alive(void); /* every thread that must answer is well */

#endif
